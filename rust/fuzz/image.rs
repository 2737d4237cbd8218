// SPDX-License-Identifier: GPL-2.0

//! A log region. It is used again and again: clearing what was written beats a new one of a megabyte.

use crate::crc;
use core_crate::recover::{Media, Unreadable};
use std::cell::Cell;

pub struct Image {
    bytes: Vec<u8>,
    /// How much of it there is now.
    size: usize,
    written: Vec<(usize, usize)>,
    reads: Cell<u64>,
}

impl Image {
    pub const fn new() -> Image {
        Image {
            bytes: vec![],
            size: 0,
            written: vec![],
            reads: Cell::new(0),
        }
    }

    /// All zeroes, of this size.
    pub fn reset(&mut self, size: u64) {
        for (from, to) in self.written.drain(..) {
            self.bytes[from..to].fill(0);
        }
        self.size = size as usize;
        if self.bytes.len() < self.size {
            self.bytes.resize(self.size, 0);
        }
    }

    pub fn size(&self) -> u64 {
        self.size as u64
    }

    /// # Panics
    ///
    /// When the store lies outside the region: no parser may have sent it there.
    pub fn store(&mut self, at: u64, data: &[u8]) {
        let from = usize::try_from(at).expect("a store far outside the region");
        let to = from + data.len();
        assert!(to <= self.size, "a store outside the region: {from}..{to}");
        self.bytes[from..to].copy_from_slice(data);
        self.written.push((from, to));
    }

    pub fn get(&self, at: u64, len: usize) -> &[u8] {
        &self.bytes[at as usize..at as usize + len]
    }

    /// Whether these are bytes of the region.
    pub fn has(&self, at: u64, len: u64) -> bool {
        at.checked_add(len).is_some_and(|end| end <= self.size())
    }

    fn range(&self, at: u64, len: usize) -> Result<&[u8], Unreadable> {
        self.reads.set(self.reads.get() + 1);
        if self.has(at, len as u64) {
            Ok(self.get(at, len))
        } else {
            Err(Unreadable { offset: at })
        }
    }

    /// Reads since this was last asked.
    pub fn take_reads(&self) -> u64 {
        self.reads.take()
    }
}

impl Default for Image {
    fn default() -> Image {
        Image::new()
    }
}

impl Media for Image {
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Unreadable> {
        to.copy_from_slice(self.range(offset, to.len())?);
        Ok(())
    }

    fn crc(&self, offset: u64, bytes: u32, seed: u32) -> Result<u32, Unreadable> {
        Ok(crc(seed, self.range(offset, bytes as usize)?))
    }
}
