// SPDX-License-Identifier: GPL-2.0

//! What the tests share: a set to play with; and models of memory, shared with the crash proof.

// Each test file uses another part of this.
#![allow(dead_code, unused_imports)]

pub use proof::{
    crc, journal, pmem,
    rng::{seeds, Rng},
};

use core_crate::{
    format::{Copy_, Header, Key, Role, SetName, Super},
    layout::Geometry,
    ownership::Ownership,
    units::{Extent, Generation, Op, Seq},
};

pub const UUID: [u8; 16] = *b"\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe\x0f";

pub fn key() -> Key {
    Key::new(crc, &UUID)
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
