// SPDX-License-Identifier: GPL-2.0

//! Persistent memory: stores are pending until a fence; a crash keeps any subset of the pending
//! 8-byte words. It has a fuse: after so many operations, power fails.

use super::{crc, Rng};
use core_crate::recover::{Media, Unreadable};
use std::cell::Cell;

/// Power failed.
#[derive(Debug)]
pub struct Crash;

#[derive(Clone)]
pub struct Pmem {
    /// What a reader sees now.
    pub bytes: Vec<u8>,
    /// What was stored since its CPU's last fence: which CPU, where, and what stood there before.
    pending: Vec<(u16, usize, Vec<u8>)>,
    /// Who stores and fences now.
    pub cpu: u16,
    /// Operations until power fails.
    pub fuse: u64,
    /// Reads so far: a bound on the scanner's work.
    pub reads: Cell<u64>,
}

impl Pmem {
    pub fn new(bytes: u64) -> Pmem {
        Pmem {
            bytes: vec![0; bytes as usize],
            pending: vec![],
            cpu: 0,
            fuse: u64::MAX,
            reads: Cell::new(0),
        }
    }

    fn burn(&mut self) -> Result<(), Crash> {
        self.fuse = self.fuse.checked_sub(1).ok_or(Crash)?;
        Ok(())
    }

    /// # Panics
    ///
    /// When the store lies outside the region or is not made of 8-byte words.
    pub fn store(&mut self, offset: u64, data: &[u8]) -> Result<(), Crash> {
        let from = offset as usize;
        assert!(from % 8 == 0 && data.len() % 8 == 0);
        let range = &mut self.bytes[from..from + data.len()];
        self.pending.push((self.cpu, from, range.to_vec()));
        range.copy_from_slice(data);
        self.burn()
    }

    pub fn fence(&mut self) -> Result<(), Crash> {
        self.burn()?;
        let cpu = self.cpu;
        self.pending.retain(|(c, _, _)| *c != cpu);
        Ok(())
    }

    /// Power fails: of what was not fenced, some words survive. Answers whether all did.
    pub fn crash(&mut self, rng: &mut Rng) -> bool {
        // All or nothing now and then: those are the likely cases in real machines.
        let mode = rng.below(4);
        let mut all = true;
        for (_, from, old) in std::mem::take(&mut self.pending).into_iter().rev() {
            for (i, word) in old.chunks(8).enumerate() {
                let survives = match mode {
                    0 => false,
                    1 => true,
                    2 => rng.one_in(2),
                    _ => !rng.one_in(40),
                };
                if !survives {
                    all = false;
                    let at = from + i * 8;
                    self.bytes[at..at + word.len()].copy_from_slice(word);
                }
            }
        }
        self.fuse = u64::MAX;
        self.cpu = 0;
        all
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
