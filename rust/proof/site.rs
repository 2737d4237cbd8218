// SPDX-License-Identifier: GPL-2.0

//! All there is: the logs of two nodes, the unit that both reach, the remote, and the host. Everything
//! durable is written through here, so that each step can be kept as a moment at which to crash.

use crate::{
    disk::Disk,
    host::{contents, untouched, Fate, Host},
    journal::{store_mark, store_super},
    pmem::Pmem,
    rng::mix,
};
use core_crate::{
    format::{Key, Mark, Super},
    plant::{planted, Plant},
};
use std::fmt;

/// A rule does not hold; in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken(pub String);

/// Fails with a message unless a condition holds.
pub fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken(what()))
    }
}

/// A step after which everything may stop.
#[derive(Clone)]
pub struct Moment {
    /// What had just happened.
    pub what: String,
    /// How everything stood.
    pub site: Site,
}

/// See the module.
#[derive(Clone)]
pub struct Site {
    /// The logs of A1 and A2.
    pub nodes: [Pmem; 2],
    /// The local unit.
    pub local: Disk,
    /// The remote.
    pub remote: Disk,
    /// The host.
    pub host: Host,
    /// Whether there is a partner.
    pub mirrored: bool,
    /// The moments so far, if they are wanted.
    pub tape: Option<Vec<Moment>>,
}

impl Site {
    /// Blank logs, equal disks.
    pub fn new(region: u64, mirrored: bool) -> Site {
        Site {
            nodes: [Pmem::new(region), Pmem::new(region)],
            local: Disk::new(untouched()),
            remote: Disk::new(untouched()),
            host: Host::default(),
            mirrored,
            tape: None,
        }
    }

    /// Something has just happened.
    pub fn event(&mut self, what: fmt::Arguments<'_>) {
        let Some(mut tape) = self.tape.take() else {
            return;
        };
        tape.push(Moment {
            what: what.to_string(),
            site: self.clone(),
        });
        self.tape = Some(tape);
    }

    /// A fence on one of a node's processors.
    pub fn fence(&mut self, node: usize, cpu: u16, what: &str) {
        self.nodes[node].cpu = cpu;
        self.nodes[node].fence().expect("no fuse");
        self.event(format_args!("{what}, fenced, node {node}"));
    }

    /// Makes a superblock durable in both slots, as the driver does; answers it with its last counter.
    pub fn write_super(&mut self, node: usize, new: &Super) -> Super {
        let mut new = *new;
        for n in 0..2 {
            new.counter += n;
            store_super(&mut self.nodes[node], &new).expect("no fuse");
            self.event(format_args!("superblock, node {node}"));
            self.fence(node, 0, "superblock");
        }
        new
    }

    /// Makes a mark durable.
    pub fn write_mark(&mut self, node: usize, key: Key, mark: &Mark) {
        store_mark(&mut self.nodes[node], key, mark).expect("no fuse");
        self.event(format_args!("mark, node {node}"));
        if !(planted(Plant::MarkNotFenced) && node == 0) {
            self.fence(node, 0, "mark");
        }
    }

    /// Writes the local unit.
    pub fn write_local(&mut self, sector: u64, data: &[u8]) {
        self.local.write(sector, data);
        self.event(format_args!("local write"));
    }

    /// Flushes the local unit.
    pub fn flush_local(&mut self) {
        self.local.flush();
        self.event(format_args!("local flush"));
    }

    /// Writes the remote.
    ///
    /// # Errors
    ///
    /// It is in no state of which the host could know.
    pub fn write_remote(&mut self, sector: u64, data: &[u8]) -> Result<(), Broken> {
        self.remote.write(sector, data);
        self.event(format_args!("remote write"));
        self.check_remote()
    }

    /// Flushes the remote.
    pub fn flush_remote(&mut self) {
        self.remote.flush();
        self.event(format_args!("remote flush"));
    }

    /// Rule 2, now.
    ///
    /// # Errors
    ///
    /// It does not hold.
    pub fn check_remote(&self) -> Result<(), Broken> {
        let seen = contents(self.remote.seen());
        must(self.host.explains_remote(&seen), || {
            format!("rule 2: the remote holds {seen:?}")
        })
    }

    /// The host learns how a write has ended.
    pub fn tell(&mut self, number: usize, fate: Fate, sync: bool) {
        self.host.writes[number].fate = fate;
        self.host.writes[number].sync = sync;
        self.event(format_args!("host told of write {number}: {fate:?}"));
    }

    /// A number for everything: equal if nobody could tell two apart after a crash.
    pub fn print(&self, blank: &Pmem) -> u64 {
        let nodes = self.nodes.iter().map(|n| n.print(blank));
        let rest = [self.local.print(), self.remote.print(), self.host.print()];
        nodes
            .chain(rest)
            .fold(u64::from(self.mirrored), |sum, n| mix(sum ^ mix(n)))
    }
}
