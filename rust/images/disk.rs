// SPDX-License-Identifier: GPL-2.0

//! A unit below a volume: a region of the same trace, to which whole sectors are copied.
//!
//! A sector is written whole or not at all, and then it is there: what a disk's cache may lose is not
//! looked at here (the simulator does).

use crate::client::SECTOR;
use std::collections::HashMap;

/// A unit.
pub struct Disk {
    bytes: Vec<u8>,
    /// Sectors that are just being copied, and how much of each has been.
    under_way: HashMap<usize, (Vec<u8>, usize)>,
    /// What stood in sectors since [`Disk::begin`], oldest first.
    undo: Vec<(usize, Vec<u8>)>,
}

impl Disk {
    /// Zeroes.
    pub fn new(bytes: usize) -> Disk {
        Disk {
            bytes: vec![0; bytes],
            under_way: HashMap::new(),
            undo: vec![],
        }
    }

    /// The driver of the unit copies bytes there.
    pub fn store(&mut self, mut at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (sector, within) = (at / SECTOR, at % SECTOR);
            let n = bytes.len().min(SECTOR - within);
            let (copy, filled) = self
                .under_way
                .entry(sector)
                .or_insert_with(|| (vec![0; SECTOR], 0));
            copy[within..within + n].copy_from_slice(&bytes[..n]);
            *filled += n;
            if *filled >= SECTOR {
                if let Some((copy, _)) = self.under_way.remove(&sector) {
                    self.bytes[sector * SECTOR..(sector + 1) * SECTOR].copy_from_slice(&copy);
                }
            }
            at += n;
            bytes = &bytes[n..];
        }
    }

    /// Begins changes that [`Disk::take_back`] takes back.
    pub fn begin(&mut self) {
        self.undo.clear();
    }

    /// A recovery writes sectors.
    pub fn write(&mut self, first: usize, bytes: &[u8]) {
        let range = first * SECTOR..first * SECTOR + bytes.len();
        self.undo.push((first, self.bytes[range.clone()].to_vec()));
        self.bytes[range].copy_from_slice(bytes);
    }

    /// As it was at [`Disk::begin`].
    pub fn take_back(&mut self) {
        while let Some((first, bytes)) = self.undo.pop() {
            let at = first * SECTOR;
            self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }

    /// One sector.
    pub fn sector(&self, n: usize) -> &[u8] {
        &self.bytes[n * SECTOR..(n + 1) * SECTOR]
    }

    /// Whether sectors from `n` on are in the unit.
    pub fn has(&self, n: usize, sectors: usize) -> bool {
        n.checked_add(sectors)
            .is_some_and(|end| end <= self.bytes.len() / SECTOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_whole() {
        let mut d = Disk::new(2 * SECTOR);
        d.store(0, &[1; SECTOR + 8]);
        assert_eq!(d.sector(0), [1; SECTOR]);
        assert_eq!(d.sector(1), [0; SECTOR]);
        d.store(SECTOR + 8, &[1; SECTOR - 8]);
        assert_eq!(d.sector(1), [1; SECTOR]);
    }

    #[test]
    fn changes_are_taken_back_in_order() {
        let mut d = Disk::new(2 * SECTOR);
        d.begin();
        d.write(0, &[1; 2 * SECTOR]);
        d.write(1, &[2; SECTOR]);
        assert_eq!((d.sector(0)[0], d.sector(1)[0]), (1, 2));
        d.take_back();
        assert_eq!((d.sector(0)[0], d.sector(1)[0]), (0, 0));
    }
}
