// SPDX-License-Identifier: GPL-2.0

//! What the tests share: the checksum, random numbers that name their seed, a set to play with.

// Each test file uses another part of this.
#![allow(dead_code)]

pub mod journal;
pub mod pmem;

use core_crate::{
    format::{Copy_, Header, Key, Role, SetName, Super},
    layout::Geometry,
    ownership::Ownership,
    units::{Extent, Generation, Op, Seq},
};

/// A raw CRC32C: no inversion before or after.
pub fn crc(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

pub const UUID: [u8; 16] = *b"\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe\x0f";

pub fn key() -> Key {
    Key::new(crc, &UUID)
}

/// Random numbers from a seed (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for i in (1..of.len()).rev() {
            of.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for c in bytes.chunks_mut(8) {
            let w = self.next().to_le_bytes();
            c.copy_from_slice(&w[..c.len()]);
        }
    }
}

/// Says which seed failed.
struct Tell(u64);

impl Drop for Tell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SEED={}", self.0);
        }
    }
}

/// Runs `test` with `n` seeds, or with the one in the environment variable SEED.
pub fn seeds(n: u64, test: impl Fn(&mut Rng)) {
    let one = std::env::var("SEED").ok().and_then(|s| s.parse().ok());
    for seed in one.map_or(0..n, |s: u64| s..s + 1) {
        let _tell = Tell(seed);
        test(&mut Rng(seed.wrapping_mul(0xd134_2543_de82_ef95)));
    }
}

pub fn superblock(geometry: Geometry) -> Super {
    Super {
        counter: 7,
        uuid: UUID,
        name: SetName::new("set-1.a_b+c:d").unwrap(),
        generation: Generation(3),
        role: Role::Owner,
        copy: Copy_::Complete,
        alone: false,
        unfenced: false,
        geometry,
        node: 0x0a0b_0c0d,
        missing: None,
    }
}

/// The ownership record of that set, up to date.
pub fn record(generation: u32, node: u32) -> Ownership {
    Ownership {
        counter: 4,
        uuid: UUID,
        name: SetName::new("set-1.a_b+c:d").unwrap(),
        generation: Generation(generation),
        node,
        unfenced: false,
        stale: None,
        shipped: Seq(50),
        missing: None,
    }
}

/// A small log: 2 lanes of 16 records.
pub fn geometry() -> Geometry {
    Geometry::new(2, 16, 512 * 1024).unwrap()
}

pub fn header() -> Header {
    Header {
        seq: Seq(0x0102_0304_0506),
        lane: 1,
        lane_seq: 0x0a0b_0c0d,
        data_pos: 0x1122_3344_0000,
        generation: Generation(0x0708_090a),
        op: Op::Write,
        extent: Extent {
            member: 5,
            sector: 0x0055_6677_8899,
            sectors: 8,
        },
        cancels: Seq::ZERO,
        after: Seq(0x0102_0304_0500),
        acked: Seq(0x0102_0304_04ff),
        data_crc: 0xdead_beef,
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (i, b) in bytes.iter().enumerate() {
        if i != 0 && i % 32 == 0 {
            out.push('\n');
        }
        out.push_str(&format!("{b:02x}"));
    }
    out
}
