// SPDX-License-Identifier: GPL-2.0

//! Says on standard error how far a long read has come.

use crate::units::size;
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// What takes less than this says nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub struct Progress {
    what: String,
    shown: bool,
    always: bool,
    began: Instant,
    next: Instant,
    expected: u64,
    read: u64,
}

impl Progress {
    /// Shown once it takes longer, if standard error is a terminal; `always`: at once, and anywhere.
    pub fn new(what: &str, always: bool) -> Progress {
        let now = Instant::now();
        Progress {
            what: what.to_string(),
            shown: false,
            always,
            began: now,
            next: if always { now } else { now + PATIENCE },
            expected: 0,
            read: 0,
        }
    }

    /// So many bytes are to be read.
    pub fn expect(&mut self, bytes: u64) {
        self.expected = bytes;
        self.read = 0;
    }

    /// So many more were read.
    pub fn read(&mut self, bytes: u64) {
        self.read += bytes;
        let now = Instant::now();
        if now < self.next || self.expected == 0 {
            return;
        }
        self.next = now + PATIENCE / 2;
        if !self.always && !std::io::stderr().is_terminal() {
            return;
        }
        self.shown = true;
        let end = if self.always { '\n' } else { '\r' };
        // Nobody is harmed if it cannot be said.
        let _ = write!(
            std::io::stderr(),
            "{}: {} of at most {} read, {} s  {end}",
            self.what,
            size(self.read),
            size(self.expected),
            self.began.elapsed().as_secs()
        );
    }

    /// Nothing more comes.
    pub fn done(&mut self) {
        if self.shown && !self.always {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.expected = 0;
    }
}
