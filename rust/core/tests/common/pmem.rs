// SPDX-License-Identifier: GPL-2.0

//! Persistent memory: stores are pending until a fence; a crash keeps any subset of the pending
//! 8-byte words.

use super::{crc, Rng};
use core_crate::recover::{Media, Unreadable};
use std::{cell::Cell, collections::BTreeMap};

#[derive(Clone)]
pub struct Pmem {
    /// What a reader sees now.
    pub bytes: Vec<u8>,
    /// Words stored since the last fence, with what is durable of each.
    pending: BTreeMap<usize, [u8; 8]>,
    /// Reads so far: a bound on the scanner's work.
    pub reads: Cell<u64>,
}

impl Pmem {
    pub fn new(bytes: u64) -> Pmem {
        Pmem {
            bytes: vec![0; bytes as usize],
            pending: BTreeMap::new(),
            reads: Cell::new(0),
        }
    }

    pub fn store(&mut self, offset: u64, data: &[u8]) {
        let (from, to) = (offset as usize, offset as usize + data.len());
        for word in (from / 8)..to.div_ceil(8) {
            let at = word * 8;
            self.pending.entry(at).or_insert_with(|| {
                let mut w = [0; 8];
                w.copy_from_slice(&self.bytes[at..at + 8]);
                w
            });
        }
        self.bytes[from..to].copy_from_slice(data);
    }

    pub fn fence(&mut self) {
        self.pending.clear();
    }

    /// Power fails: of what was not fenced, some words survive.
    pub fn crash(&mut self, rng: &mut Rng) {
        // All or nothing now and then: those are the likely cases in real machines.
        let mode = rng.below(4);
        for (at, old) in std::mem::take(&mut self.pending) {
            let survives = match mode {
                0 => false,
                1 => true,
                2 => rng.one_in(2),
                _ => !rng.one_in(40),
            };
            if !survives {
                self.bytes[at..at + 8].copy_from_slice(&old);
            }
        }
    }
}

impl Media for Pmem {
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Unreadable> {
        self.reads.set(self.reads.get() + 1);
        let from = self
            .bytes
            .get(offset as usize..offset as usize + to.len())
            .ok_or(Unreadable { offset })?;
        to.copy_from_slice(from);
        Ok(())
    }

    fn crc(&self, offset: u64, bytes: u32, seed: u32) -> Result<u32, Unreadable> {
        self.reads.set(self.reads.get() + 1);
        let range = self
            .bytes
            .get(offset as usize..offset as usize + bytes as usize)
            .ok_or(Unreadable { offset })?;
        Ok(crc(seed, range))
    }
}
