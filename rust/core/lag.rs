// SPDX-License-Identifier: GPL-2.0

//! How long the remote is behind, in time. A record does not carry the time at which it was accepted;
//! instead it is noted now and then how far the sequences had come.

use crate::units::Seq;

/// How many notes are kept. When they are used up, every second one goes.
const NOTES: usize = 64;

/// Times at which sequences were known to exist.
///
/// # Invariants
///
/// The first `len` notes rise, in sequence and in time.
pub struct Lag {
    notes: [(Seq, u64); NOTES],
    len: usize,
}

impl Default for Lag {
    fn default() -> Self {
        Lag::new()
    }
}

impl Lag {
    /// Without any note.
    pub const fn new() -> Lag {
        Lag {
            notes: [(Seq::ZERO, 0); NOTES],
            len: 0,
        }
    }

    /// At `now`, `last` is the newest sequence, and the remote has all up to `remote`.
    pub fn note(&mut self, now: u64, last: Seq, remote: Seq) {
        let gone = self.live().iter().take_while(|(s, _)| *s <= remote).count();
        self.keep(|i| i >= gone);
        let newest = self.live().last().copied();
        if last <= remote || newest.is_some_and(|(s, t)| s >= last || t > now) {
            return;
        }
        if self.len == NOTES {
            // The oldest stays: it is the one that counts.
            self.keep(|i| i % 2 == 0);
        }
        if let Some(place) = self.notes.get_mut(self.len) {
            *place = (last, now);
            self.len = self.len.saturating_add(1);
        }
    }

    fn keep(&mut self, which: impl Fn(usize) -> bool) {
        let mut kept = 0usize;
        for i in 0..self.len {
            let Some(note) = self.notes.get(i).copied().filter(|_| which(i)) else {
                continue;
            };
            if let Some(place) = self.notes.get_mut(kept) {
                *place = note;
            }
            kept = kept.saturating_add(1);
        }
        self.len = kept;
    }

    /// How old the oldest record is that the remote has not got, in nanoseconds: at least so old, and
    /// older by no more than the time between two notes.
    pub fn behind(&self, now: u64, remote: Seq) -> u64 {
        let oldest = self.live().iter().find(|(s, _)| *s > remote);
        oldest.map_or(0, |(_, t)| now.saturating_sub(*t))
    }

    /// Another reign, with another log.
    pub fn forget(&mut self) {
        self.len = 0;
    }

    fn live(&self) -> &[(Seq, u64)] {
        self.notes.get(..self.len).unwrap_or(&[])
    }
}
