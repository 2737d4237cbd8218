// SPDX-License-Identifier: GPL-2.0

//! A disk with a volatile cache. A write is seen at once and durable after a flush; until then any of
//! its sectors may have reached the media, or not. A write that is torn is torn between sectors.

use crate::{
    pmem::print,
    survive::{survivors, Depth, Keep},
};
use std::sync::Arc;

/// Bytes of a sector.
pub const SECTOR: usize = 512;

#[derive(Clone)]
struct Cached {
    sector: usize,
    data: Arc<[u8]>,
}

/// A disk.
#[derive(Clone)]
pub struct Disk {
    seen: Vec<u8>,
    durable: Vec<u8>,
    cache: Vec<Cached>,
}

impl Disk {
    /// A disk that holds this, durably.
    pub fn new(bytes: Vec<u8>) -> Disk {
        Disk {
            seen: bytes.clone(),
            durable: bytes,
            cache: vec![],
        }
    }

    /// What a reader sees.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// What is there to stay.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Writes whole sectors.
    ///
    /// # Panics
    ///
    /// When they lie behind the end of the disk.
    pub fn write(&mut self, sector: u64, data: &[u8]) {
        let sector = sector as usize;
        assert!(data.len() % SECTOR == 0);
        put(&mut self.seen, sector, data);
        self.cache.push(Cached {
            sector,
            data: data.into(),
        });
    }

    /// Everything that was written before is durable.
    pub fn flush(&mut self) {
        for w in self.cache.drain(..) {
            put(&mut self.durable, w.sector, &w.data);
        }
    }

    /// Which writes may survive a loss of power, and which parts of them.
    pub fn survivors(&self, depth: Depth) -> Vec<Keep> {
        let sizes: Vec<usize> = self.cache.iter().map(|w| w.data.len() / SECTOR).collect();
        survivors(&sizes, depth)
    }

    /// Power fails, and of what was in the cache these sectors survive.
    pub fn cut(&mut self, keep: Keep) {
        for (g, w) in self.cache.drain(..).enumerate() {
            for (i, sector) in w.data.chunks_exact(SECTOR).enumerate() {
                if keep.keeps(g, i) {
                    put(&mut self.durable, w.sector + i, sector);
                }
            }
        }
        self.seen.copy_from_slice(&self.durable);
    }

    /// A number for what is there, and for what is in the cache.
    pub fn print(&self) -> u64 {
        self.cache.iter().fold(print(1, &self.durable), |sum, w| {
            print(sum ^ w.sector as u64, &w.data)
        })
    }
}

fn put(to: &mut [u8], sector: usize, data: &[u8]) {
    to[sector * SECTOR..][..data.len()].copy_from_slice(data);
}
