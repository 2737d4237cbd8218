// SPDX-License-Identifier: GPL-2.0

//! Quantities have types.
//!
//! A sequence number, a lane position and a generation are all integers, and mixing them up is how a
//! log loses data. Arithmetic on them is checked: in the kernel a plain `+` that overflows panics.

use core::fmt;

/// The unit of the block layer: 512 bytes.
pub const SECTOR_SIZE: u32 = 512;

/// A place in the one order of all writes of a set. The first write of a set has sequence 1;
/// 0 means "before every write".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// Before every write.
    pub const ZERO: Seq = Seq(0);
    /// After every write; used as "nothing is in the way".
    pub const MAX: Seq = Seq(u64::MAX);

    /// The next sequence. Saturates: 2^64 writes do not happen, and saturation cannot panic.
    #[inline]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// The sequence before this one, or [`Seq::ZERO`].
    #[inline]
    pub fn prev(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a reign. Each start of an owner and each takeover raises it, durably, before
/// anything else happens (rule 7); what carries an older one is rejected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation that follows, or `None` when the 32 bits are used up.
    #[inline]
    pub fn next(self) -> Option<Generation> {
        self.0.checked_add(1).map(Generation)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a record does to its volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    /// Store the record's data at its extent.
    Write = 1,
    /// Store zeroes at its extent. A host's discard becomes this as well: what a discarded sector
    /// reads as is up to each device, and local and remote have to hold the same bytes (rule 3).
    Zero = 2,
    /// The write with the sequence that stands in the record's `sector` field failed locally, the
    /// host was told so, and it must never be replayed.
    Cancel = 3,
}

impl Op {
    /// The operation with this code on the media, or `None` for a code that no version ever wrote.
    #[inline]
    pub fn from_code(code: u8) -> Option<Op> {
        match code {
            1 => Some(Op::Write),
            2 => Some(Op::Zero),
            3 => Some(Op::Cancel),
            _ => None,
        }
    }

    /// Whether data follows the header.
    #[inline]
    pub fn has_data(self) -> bool {
        matches!(self, Op::Write)
    }
}

/// A range of sectors of one member volume of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// Which volume of the set, 0 for the first.
    pub member: u16,
    /// First sector, in units of 512 bytes.
    pub sector: u64,
    /// Length in units of 512 bytes.
    pub sectors: u32,
}

impl Extent {
    /// Whether the two extents share a sector.
    #[inline]
    pub fn overlaps(&self, other: &Extent) -> bool {
        self.member == other.member
            && self.sectors != 0
            && other.sectors != 0
            && self.sector < other.end()
            && other.sector < self.end()
    }

    /// The first sector behind the extent.
    #[inline]
    pub fn end(&self) -> u64 {
        self.sector.saturating_add(u64::from(self.sectors))
    }
}
