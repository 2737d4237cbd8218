// SPDX-License-Identifier: GPL-2.0

//! Persistent memory: stores are pending until their processor's fence; a crash keeps any subset of the
//! pending 8-byte words. It has a fuse: after so many operations, power fails.

use crate::{
    exec::{self, PowerCut},
    media::crc,
};
use core_crate::{
    creation::Store,
    recover::{Media, Unreadable},
};
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    panic::resume_unwind,
};

/// What was stored and not fenced: by which processor, where, and what stood there before.
type Pending = (usize, usize, Vec<u8>);

/// The log region of a node. It outlives the node's lives.
pub struct Pmem {
    node: usize,
    bytes: RefCell<Vec<u8>>,
    pending: RefCell<Vec<Pending>>,
    fuse: Cell<u64>,
}

impl Pmem {
    pub fn new(node: usize, bytes: u64) -> Pmem {
        Pmem {
            node,
            bytes: RefCell::new(vec![0; bytes as usize]),
            pending: RefCell::default(),
            fuse: Cell::new(u64::MAX),
        }
    }

    /// Bytes of the region.
    pub fn size(&self) -> u64 {
        self.bytes.borrow().len() as u64
    }

    /// Power will fail after so many stores and fences.
    pub fn light(&self, fuse: u64) {
        self.fuse.set(fuse);
    }

    fn burn(&self) {
        match self.fuse.get() {
            u64::MAX => {}
            0 => resume_unwind(Box::new(PowerCut(self.node))),
            n => self.fuse.set(n - 1),
        }
    }

    /// # Panics
    ///
    /// When the store lies outside the region or is not made of 8-byte words.
    pub fn store(&self, offset: u64, data: &[u8]) {
        self.burn();
        let from = offset as usize;
        assert!(from % 8 == 0 && data.len() % 8 == 0);
        let mut bytes = self.bytes.borrow_mut();
        let range = &mut bytes[from..from + data.len()];
        let before = (exec::current(), from, range.to_vec());
        self.pending.borrow_mut().push(before);
        range.copy_from_slice(data);
    }

    pub fn fence(&self) {
        self.burn();
        let cpu = exec::current();
        self.pending.borrow_mut().retain(|(c, _, _)| *c != cpu);
    }

    /// Power fails: of what was not fenced, some words survive.
    pub fn crash(&self) {
        // All or nothing now and then: those are the likely cases in real machines.
        let mode = exec::rand(|r| r.below(4));
        let mut bytes = self.bytes.borrow_mut();
        for (_, from, old) in self.pending.take().into_iter().rev() {
            for (i, word) in old.chunks(8).enumerate() {
                let survives = match mode {
                    0 => false,
                    1 => true,
                    2 => exec::rand(|r| r.one_in(2)),
                    _ => exec::rand(|r| !r.one_in(40)),
                };
                if !survives {
                    let at = from + i * 8;
                    bytes[at..at + word.len()].copy_from_slice(word);
                }
            }
        }
        self.fuse.set(u64::MAX);
    }

    pub fn get(&self, offset: u64, to: &mut [u8]) {
        let from = offset as usize;
        to.copy_from_slice(&self.bytes.borrow()[from..from + to.len()]);
    }

    /// Looks at a range in place.
    pub fn with<T>(&self, offset: u64, bytes: usize, f: impl FnOnce(&[u8]) -> T) -> T {
        let from = offset as usize;
        f(&self.bytes.borrow()[from..from + bytes])
    }
}

impl Media for Pmem {
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Unreadable> {
        let bytes = self.bytes.borrow();
        let range = offset as usize..offset as usize + to.len();
        to.copy_from_slice(bytes.get(range).ok_or(Unreadable { offset })?);
        Ok(())
    }

    fn crc(&self, offset: u64, bytes: u32, seed: u32) -> Result<u32, Unreadable> {
        let all = self.bytes.borrow();
        let range = offset as usize..offset as usize + bytes as usize;
        Ok(crc(seed, all.get(range).ok_or(Unreadable { offset })?))
    }
}

/// A log region, as core makes a log in it.
pub struct Region<'a>(pub &'a Pmem);

impl Store for Region<'_> {
    type Error = Infallible;

    fn store(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.store(offset, bytes);
        Ok(())
    }

    fn zero(&mut self, offset: u64, bytes: u64) -> Result<(), Infallible> {
        self.0.store(offset, &vec![0; bytes as usize]);
        Ok(())
    }

    fn fence(&mut self) -> Result<(), Infallible> {
        self.0.fence();
        Ok(())
    }
}
