// SPDX-License-Identifier: GPL-2.0

//! The fuzzer's bytes, taken as a row of decisions. Behind their end all decisions are 0.

pub struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `n`, which is at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    pub fn word(&mut self) -> u64 {
        let mut word = [0; 8];
        word.fill_with(|| self.byte());
        u64::from_le_bytes(word)
    }

    /// A number that is worth trying where `honest` would stand.
    pub fn instead_of(&mut self, honest: u64) -> u64 {
        match self.below(12) {
            0 => honest.wrapping_add(1),
            1 => honest.wrapping_sub(1),
            2 => 0,
            3 => u64::MAX,
            4 => u64::MAX - u64::from(self.byte()),
            5 => 1 << (self.byte() % 64),
            6 => honest ^ (1 << (self.byte() % 64)),
            7 => u64::from(self.byte()),
            8 => honest.wrapping_add(u64::from(self.byte())),
            9 => honest.wrapping_sub(u64::from(self.byte())),
            10 => honest.wrapping_add(u64::from(self.byte()) * 512),
            _ => self.word(),
        }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}
