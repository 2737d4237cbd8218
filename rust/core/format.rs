// SPDX-License-Identifier: GPL-2.0

//! What stands in a log region, byte for byte. `Documentation/on-media-format.rst` draws it.
//!
//! Everything is little-endian and sealed by a CRC32C. A checksum is *raw* here: no inversion before
//! or after, so that pieces chain; the seed of every checksum in a region is its [`Key`], made from
//! the set's UUID, so that another set's bytes never verify (rule 6).

use crate::{
    layout::Geometry,
    limits,
    plant::{planted, Plant},
    units::{Extent, Generation, Op, Seq},
};
use core::fmt;
use zerocopy::{
    little_endian::{U16, U32, U64},
    IntoBytes,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A raw CRC32C (Castagnoli) of `data`, continued from `seed`. The kernel's, or a crate's on the host.
pub type Crc = fn(seed: u32, data: &[u8]) -> u32;

/// The seed of all checksums of one set's region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(pub u32);

impl Key {
    /// The key of the set with this UUID.
    pub fn new(crc: Crc, uuid: &[u8; 16]) -> Key {
        Key(crc(!0, uuid))
    }
}

/// First bytes of a superblock: "rcopylog".
pub const SUPER_MAGIC: [u8; 8] = *b"rcopylog";
/// First bytes of a mark: "rcopymrk".
pub const MARK_MAGIC: [u8; 8] = *b"rcopymrk";
/// Version of all structures in this file. One that is not this is refused.
pub const FORMAT_VERSION: u32 = 2;

/// What a node is, durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Serves the volume; its region is the log.
    Owner,
    /// Keeps the mirror; its region is the owner's log, byte for byte.
    Standby,
}

/// Whether this node's copy of the log may be replayed if the other one's is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copy_ {
    /// Holds every acknowledged write that is not retired.
    Complete,
    /// Misses some, or may.
    Incomplete,
}

/// A superblock, one of two slots. 4096 bytes; the rest of the slot is zero.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawSuper {
    magic: [u8; 8],
    version: U32,
    /// Raw CRC32C of everything behind this field, to the end of the structure, seeded with !0.
    crc: U32,
    /// Counts writes of the superblock. Slot = counter % 2; the larger one that verifies is valid.
    counter: U64,
    uuid: [u8; 16],
    generation: U32,
    /// 1 owner, 2 standby.
    role: u8,
    /// 1 complete, 2 incomplete.
    copy: u8,
    /// 1: the owner acknowledges without its partner, whose copy must not be replayed.
    alone: u8,
    name_len: u8,
    lanes: U16,
    /// 1: the reign began without proof that the old owner was stopped.
    unfenced: u8,
    pad: u8,
    lane_records: U32,
    lane_data: U64,
    name: [u8; 64],
    /// Tells this node from its partner, see [`NodeKey`].
    node: U32,
    pad2: U32,
    /// The remote is out of step: it may miss these sequences. Both 0: it is in step.
    missing_first: U64,
    missing_last: U64,
}

const _: () = assert!(size_of::<RawSuper>() == 152);

/// Bytes of a sealed superblock.
pub const SUPER_BYTES: usize = size_of::<RawSuper>();

/// The first word of a region in which a log is being made: nothing in it counts yet. See
/// [`crate::creation`].
pub const CLAIM: [u8; 8] = *b"rcopynew";

/// [`Super::counter`] of a log's first superblock.
pub const FIRST_COUNTER: u64 = 1;

/// The name of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetName {
    len: u8,
    bytes: [u8; 64],
}

impl SetName {
    /// `None` when the name is empty, too long, or has a byte that is not a letter, a digit or one
    /// of `-_.+:`.
    pub fn new(name: &str) -> Option<SetName> {
        let src = name.as_bytes();
        if src.is_empty() || src.len() > limits::MAX_SET_NAME {
            return None;
        }
        if !src
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.+:".contains(b))
        {
            return None;
        }
        let mut bytes = [0u8; 64];
        for (d, s) in bytes.iter_mut().zip(src) {
            *d = *s;
        }
        Some(SetName {
            len: u8::try_from(src.len()).ok()?,
            bytes,
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.len))
            .and_then(|b| core::str::from_utf8(b).ok())
            .unwrap_or("")
    }

    /// The name as it stands in structures: 64 bytes, padded with zeroes.
    pub fn raw(&self) -> (u8, [u8; 64]) {
        (self.len, self.bytes)
    }

    /// Reads what [`SetName::raw`] wrote.
    pub fn from_raw(len: u8, bytes: &[u8; 64]) -> Option<SetName> {
        let text = core::str::from_utf8(bytes.get(..usize::from(len))?).ok()?;
        let name = SetName::new(text)?;
        (name.bytes == *bytes).then_some(name)
    }
}

/// Sequences that the remote may miss: it is out of step until an administrator says otherwise.
///
/// # Invariants
///
/// `first <= last`, and `first` is not 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Missing {
    /// The first of them.
    pub first: Seq,
    /// The last one that may have been given; [`Seq::MAX`]: nobody knows.
    pub last: Seq,
}

impl Missing {
    /// `None` unless the two make a range.
    pub fn new(first: Seq, last: Seq) -> Option<Missing> {
        // INVARIANT: Checked here.
        (first != Seq::ZERO && first <= last).then_some(Missing { first, last })
    }

    /// What is missing when both are.
    pub fn and(self, other: Option<Missing>) -> Missing {
        match other {
            // INVARIANT: The smaller first, the larger last.
            Some(o) => Missing {
                first: self.first.min(o.first),
                last: self.last.max(o.last),
            },
            None => self,
        }
    }

    /// As it stands in structures: 0, 0 for none.
    pub fn raw(missing: Option<Missing>) -> (u64, u64) {
        missing.map_or((0, 0), |m| (m.first.0, m.last.0))
    }

    /// Reads what [`Missing::raw`] wrote; the outer `None`: no such pair.
    pub fn from_raw(first: u64, last: u64) -> Option<Option<Missing>> {
        if (first, last) == (0, 0) {
            return Some(None);
        }
        Missing::new(Seq(first), Seq(last)).map(Some)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.last == Seq::MAX {
            write!(f, "{}-unknown", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// What a node goes by at the units: its reservation key. 24 bits name the set, so that a key of
/// somebody else is known for one, 8 bits the node, and 32 the reign in which it was registered: a
/// node that has slept through a takeover finds a newer reign there, and keeps away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct NodeKey(pub u64);

impl NodeKey {
    /// The key of node number `node` of the set with these checksums, in a reign.
    pub fn new(key: Key, node: u32, reign: Generation) -> NodeKey {
        let set = u64::from(key.0 >> 8).max(1);
        NodeKey((set << 40) | (u64::from(node & NODE_BITS) << 32) | u64::from(reign.0))
    }

    /// The same node in another reign.
    pub fn in_reign(self, reign: Generation) -> NodeKey {
        NodeKey(((self.0 >> 32) << 32) | u64::from(reign.0))
    }

    /// The reign in which it was registered.
    pub fn reign(self) -> Generation {
        Generation((self.0 & 0xffff_ffff) as u32)
    }

    /// Whether both belong to nodes of one set.
    pub fn same_set(self, other: NodeKey) -> bool {
        self.0 >> 40 == other.0 >> 40
    }

    /// Whether both are one node's.
    pub fn same_node(self, other: NodeKey) -> bool {
        self.0 >> 32 == other.0 >> 32
    }
}

/// The part of a node number by which partners differ at the units.
pub const NODE_BITS: u32 = 0xff;

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// What a node knows durably about its set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Super {
    /// See [`RawSuper::counter`].
    pub counter: u64,
    /// The set.
    pub uuid: [u8; 16],
    /// The set's name in table lines.
    pub name: SetName,
    /// The newest reign that this node began or accepted.
    pub generation: Generation,
    /// What this node is.
    pub role: Role,
    /// Whether this node's log may be replayed.
    pub copy: Copy_,
    /// Whether the owner acknowledges without its partner.
    pub alone: bool,
    /// Whether the reign began without fencing.
    pub unfenced: bool,
    /// The shape of the log.
    pub geometry: Geometry,
    /// Tells this node from its partner; never 0.
    pub node: u32,
    /// What the remote misses, if it is out of step.
    pub missing: Option<Missing>,
}

/// Why a superblock slot is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuperError {
    /// All zero: never written.
    Blank,
    /// The claim, and zeroes: a log is being made.
    Claimed,
    /// Does not start with the magic.
    Foreign,
    /// Starts with the magic, but the checksum or a field is wrong.
    Damaged,
    /// A version that this driver does not know.
    Version(u32),
}

impl Super {
    /// The bytes of this superblock.
    pub fn seal(&self, crc: Crc) -> [u8; SUPER_BYTES] {
        let (name_len, name) = self.name.raw();
        let (missing_first, missing_last) = Missing::raw(self.missing);
        let mut raw = RawSuper {
            magic: SUPER_MAGIC,
            version: U32::new(FORMAT_VERSION),
            crc: U32::new(0),
            counter: U64::new(self.counter),
            uuid: self.uuid,
            generation: U32::new(self.generation.0),
            role: match self.role {
                Role::Owner => 1,
                Role::Standby => 2,
            },
            copy: match self.copy {
                Copy_::Complete => 1,
                Copy_::Incomplete => 2,
            },
            alone: u8::from(self.alone),
            name_len,
            lanes: U16::new(self.geometry.lanes()),
            unfenced: u8::from(self.unfenced),
            pad: 0,
            lane_records: U32::new(self.geometry.lane_records()),
            lane_data: U64::new(self.geometry.lane_data()),
            name,
            node: U32::new(self.node),
            pad2: U32::new(0),
            missing_first: U64::new(missing_first),
            missing_last: U64::new(missing_last),
        };
        raw.crc = U32::new(tail_crc(crc, !0, raw.as_bytes(), 16));
        zerocopy::transmute!(raw)
    }

    /// Reads a slot.
    pub fn open(crc: Crc, bytes: &[u8; SUPER_BYTES]) -> Result<Super, SuperError> {
        if bytes.iter().all(|b| *b == 0) {
            return Err(SuperError::Blank);
        }
        let raw: RawSuper = zerocopy::transmute!(*bytes);
        if raw.magic != SUPER_MAGIC {
            return Err(match bytes.strip_prefix(&CLAIM) {
                Some(rest) if rest.iter().all(|b| *b == 0) => SuperError::Claimed,
                _ => SuperError::Foreign,
            });
        }
        if raw.version.get() != FORMAT_VERSION {
            return Err(SuperError::Version(raw.version.get()));
        }
        if raw.crc.get() != tail_crc(crc, !0, bytes, 16) {
            return Err(SuperError::Damaged);
        }
        let damaged = SuperError::Damaged;
        Ok(Super {
            counter: raw.counter.get(),
            uuid: raw.uuid,
            name: SetName::from_raw(raw.name_len, &raw.name).ok_or(damaged)?,
            generation: Generation(raw.generation.get()),
            role: match raw.role {
                1 => Role::Owner,
                2 => Role::Standby,
                _ => return Err(damaged),
            },
            copy: match raw.copy {
                1 => Copy_::Complete,
                2 => Copy_::Incomplete,
                _ => return Err(damaged),
            },
            alone: flag(raw.alone).ok_or(damaged)?,
            unfenced: flag(raw.unfenced).ok_or(damaged)?,
            geometry: Geometry::new(raw.lanes.get(), raw.lane_records.get(), raw.lane_data.get())
                .map_err(|_| damaged)?,
            node: Some(raw.node.get()).filter(|n| *n != 0).ok_or(damaged)?,
            missing: Missing::from_raw(raw.missing_first.get(), raw.missing_last.get())
                .ok_or(damaged)?,
        })
    }
}

/// Whether a slot that is not valid can be some of the words of a log's first superblock, the others zero.
pub(crate) fn first_torn(bytes: &[u8; SUPER_BYTES]) -> bool {
    let raw: RawSuper = zerocopy::transmute!(*bytes);
    let missing = raw.version.get() == 0 && raw.crc.get() == 0;
    (raw.magic == SUPER_MAGIC || raw.magic == [0; 8])
        && (raw.version.get() == FORMAT_VERSION || missing)
        && matches!(raw.counter.get(), 0 | FIRST_COUNTER)
}

pub(crate) fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The checksum of `bytes` from `from` on.
pub(crate) fn tail_crc(crc: Crc, seed: u32, bytes: &[u8], from: usize) -> u32 {
    crc(seed, bytes.get(from..).unwrap_or(&[]))
}

/// Whether a number can be a sequence or a position.
pub(crate) fn countable(n: u64) -> bool {
    n <= limits::MAX_COUNT
}

/// Whether a number can be a position of data, which is made of whole sectors.
fn data_position(n: u64) -> bool {
    countable(n) && n % u64::from(crate::units::SECTOR_SIZE) == 0
}

/// Where a lane's live records begin.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawTail {
    lane_seq: U64,
    data_pos: U64,
    floor: U64,
}

impl RawTail {
    fn possible(&self) -> bool {
        countable(self.lane_seq.get())
            && countable(self.floor.get())
            && data_position(self.data_pos.get())
    }
}

/// Where the live records of one lane begin, and where the current reign's do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tail {
    /// Position of the oldest record that is not retired (or of the next one to be written).
    pub lane_seq: u64,
    /// Position of the first byte of data that is not free.
    pub data_pos: u64,
    /// Records from this position on belong to the mark's generation or a newer one. What an older
    /// owner left behind there never speaks. All in front of it are whole, so a mark that raises it
    /// reaches a copy that counts only behind the records in front of it: else what stands there
    /// from an older reign would be taken for them.
    pub floor: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawMark {
    magic: [u8; 8],
    version: U32,
    /// Raw CRC32C of everything behind this field, seeded with the set's key.
    crc: U32,
    /// Counts writes of the mark; slot = counter % 2.
    counter: U64,
    generation: U32,
    lanes: U32,
    retired: U64,
    shipped: U64,
    acked: U64,
    pad: U64,
    tails: [RawTail; limits::MAX_LANES],
}

const _: () = assert!(size_of::<RawMark>() == 64 + 24 * limits::MAX_LANES);
const _: () = assert!(size_of::<RawMark>() as u64 <= crate::layout::SLOT_BYTES);

/// Bytes of a sealed mark.
pub const MARK_BYTES: usize = size_of::<RawMark>();

/// The one durable low-water mark of a set, and how far the remote is. All of it changes at once.
///
/// # Invariants
///
/// `retired <= shipped`: what is retired is durable at the remote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// See [`RawMark::counter`].
    pub counter: u64,
    /// The reign in which it was written; also that of every record at or behind a lane's floor.
    pub generation: Generation,
    /// Number of lanes whose tails follow.
    pub lanes: u16,
    /// Every sequence up to this one is durable locally and remotely; its space may be used again.
    pub retired: Seq,
    /// Every sequence up to this one is durable at the remote. Replay to the remote starts behind
    /// it, never at an older one: that would take the remote back to a state it had left (rule 2).
    pub shipped: Seq,
    /// Every sequence up to this one had been told to the host when the mark was made: a log that
    /// misses one of them is damaged (rule 5).
    pub acked: Seq,
    /// One for each lane; the rest is zero.
    pub tails: [Tail; limits::MAX_LANES],
}

/// Why a mark slot is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkError {
    /// All zero: never written.
    Blank,
    /// Magic, version, checksum or a field is wrong.
    Damaged,
}

impl Mark {
    /// The mark with which a reign begins behind this one: where the log is now, and nothing behind its
    /// `heads`, by lane, counts that an older reign left there.
    pub fn beginning(&self, reign: Generation, heads: impl Iterator<Item = u64>) -> Mark {
        let mut mark = Mark {
            counter: self.counter.saturating_add(1),
            generation: reign,
            ..*self
        };
        if !planted(Plant::FloorsLeft) {
            for (t, head) in mark.tails.iter_mut().zip(heads) {
                t.floor = head;
            }
        }
        mark
    }

    /// The mark of a log in which nothing was ever written.
    pub fn first(generation: Generation, lanes: u16) -> Mark {
        Mark {
            counter: 1,
            generation,
            lanes,
            retired: Seq::ZERO,
            shipped: Seq::ZERO,
            acked: Seq::ZERO,
            tails: [Tail::default(); limits::MAX_LANES],
        }
    }

    /// The lane's tail.
    #[inline]
    pub fn tail(&self, lane: u16) -> Tail {
        self.tails
            .get(usize::from(lane))
            .copied()
            .unwrap_or_default()
    }

    /// The bytes of this mark.
    pub fn seal(&self, crc: Crc, key: Key) -> [u8; MARK_BYTES] {
        let mut raw = RawMark {
            magic: MARK_MAGIC,
            version: U32::new(FORMAT_VERSION),
            crc: U32::new(0),
            counter: U64::new(self.counter),
            generation: U32::new(self.generation.0),
            lanes: U32::new(u32::from(self.lanes)),
            retired: U64::new(self.retired.0),
            shipped: U64::new(self.shipped.0),
            acked: U64::new(self.acked.0),
            pad: U64::new(0),
            tails: [RawTail {
                lane_seq: U64::new(0),
                data_pos: U64::new(0),
                floor: U64::new(0),
            }; limits::MAX_LANES],
        };
        for (r, t) in raw.tails.iter_mut().zip(&self.tails) {
            *r = RawTail {
                lane_seq: U64::new(t.lane_seq),
                data_pos: U64::new(t.data_pos),
                floor: U64::new(t.floor),
            };
        }
        raw.crc = U32::new(tail_crc(crc, key.0, raw.as_bytes(), 16));
        zerocopy::transmute!(raw)
    }

    /// Reads a slot.
    pub fn open(crc: Crc, key: Key, bytes: &[u8; MARK_BYTES]) -> Result<Mark, MarkError> {
        if bytes.iter().all(|b| *b == 0) {
            return Err(MarkError::Blank);
        }
        let raw: RawMark = zerocopy::transmute!(*bytes);
        let lanes = u16::try_from(raw.lanes.get()).map_err(|_| MarkError::Damaged)?;
        if raw.magic != MARK_MAGIC
            || raw.version.get() != FORMAT_VERSION
            || raw.crc.get() != tail_crc(crc, key.0, bytes, 16)
            || lanes == 0
            || usize::from(lanes) > limits::MAX_LANES
            || raw.retired.get() > raw.shipped.get()
            || !countable(raw.shipped.get())
            || !countable(raw.acked.get())
            || !raw.tails.iter().all(RawTail::possible)
        {
            return Err(MarkError::Damaged);
        }
        let mut tails = [Tail::default(); limits::MAX_LANES];
        for (t, r) in tails.iter_mut().zip(&raw.tails) {
            *t = Tail {
                lane_seq: r.lane_seq.get(),
                data_pos: r.data_pos.get(),
                floor: r.floor.get(),
            };
        }
        // INVARIANT: `retired <= shipped` was just checked.
        Ok(Mark {
            counter: raw.counter.get(),
            generation: Generation(raw.generation.get()),
            lanes,
            retired: Seq(raw.retired.get()),
            shipped: Seq(raw.shipped.get()),
            acked: Seq(raw.acked.get()),
            tails,
        })
    }
}

/// A record's header: one cache line.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    /// Raw CRC32C of the 60 bytes behind this field, seeded with the set's key.
    crc: U32,
    /// Raw CRC32C of the data, seeded with the set's key; 0 without data.
    data_crc: U32,
    seq: U64,
    lane_seq: U64,
    data_pos: U64,
    /// First sector; of a cancel record, the sequence that is cancelled.
    sector: U64,
    sectors: U32,
    /// `seq` minus the look-ahead limit.
    after_delta: U32,
    /// `seq` minus the sequence up to which all had been acknowledged.
    acked_delta: U32,
    generation: U32,
    member: U16,
    op: u8,
    lane: u8,
    flags: U32,
}

const _: () = assert!(size_of::<RawHeader>() == crate::layout::HEADER_BYTES as usize);

/// Bytes of a sealed record header.
pub const RECORD_HEADER_BYTES: usize = size_of::<RawHeader>();

/// A record, without its data. *Patent: "write transfer LBN extent, as well as the command sequence
/// number and additional context" (figure 8A, step 820).*
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The write's place in the order of the set.
    pub seq: Seq,
    /// The lane it stands in.
    pub lane: u16,
    /// Its position in the lane: 0, 1, 2, … for ever; the header ring has slot `lane_seq % records`.
    pub lane_seq: u64,
    /// Position of its data in the lane's data; where the next would go if it has none.
    pub data_pos: u64,
    /// The reign in which it was accepted.
    pub generation: Generation,
    /// What it does.
    pub op: Op,
    /// Where it does it. Of a cancel record: all zero.
    pub extent: Extent,
    /// The sequence that a cancel record cancels, else [`Seq::ZERO`].
    pub cancels: Seq,
    /// The look-ahead limit (patent, figure 13): the largest sequence that had been acknowledged to
    /// the host when this record was accepted. Nothing of this record may reach the remote before
    /// everything up to that sequence is durable there (rule 2).
    pub after: Seq,
    /// Every sequence up to this one had been acknowledged when this record was accepted, so a log
    /// that misses one of them is damaged (rule 5). Not the same as `after`: writes may be
    /// acknowledged out of order.
    pub acked: Seq,
    /// Checksum of the data.
    pub data_crc: u32,
}

/// Why header bytes are no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// The checksum is wrong: never written, torn, another set's, or damaged.
    Checksum,
    /// The checksum is right, but a field has a value that no driver writes.
    Field,
}

impl Header {
    /// Bytes of data that belong to it.
    #[inline]
    pub fn data_bytes(&self) -> u32 {
        if self.op.has_data() {
            self.extent
                .sectors
                .saturating_mul(crate::units::SECTOR_SIZE)
        } else {
            0
        }
    }

    /// The bytes of this header.
    #[inline]
    pub fn seal(&self, crc: Crc, key: Key) -> [u8; RECORD_HEADER_BYTES] {
        let delta = |s: Seq| {
            // A limit can't be further back than the log is long; if it ever were, claiming less
            // (a larger delta) is the safe side for `acked`, and `after` is never below `retired`.
            U32::new(u32::try_from(self.seq.0.saturating_sub(s.0)).unwrap_or(u32::MAX))
        };
        let mut raw = RawHeader {
            crc: U32::new(0),
            data_crc: U32::new(self.data_crc),
            seq: U64::new(self.seq.0),
            lane_seq: U64::new(self.lane_seq),
            data_pos: U64::new(self.data_pos),
            sector: U64::new(match self.op {
                Op::Cancel => self.cancels.0,
                _ => self.extent.sector,
            }),
            sectors: U32::new(self.extent.sectors),
            after_delta: delta(self.after),
            acked_delta: delta(self.acked),
            generation: U32::new(self.generation.0),
            member: U16::new(self.extent.member),
            op: self.op as u8,
            lane: self.lane as u8,
            flags: U32::new(0),
        };
        raw.crc = U32::new(header_crc(crc, key, raw.as_bytes()));
        zerocopy::transmute!(raw)
    }

    /// Reads and checks a header. The data's checksum is the caller's to check.
    pub fn open(
        crc: Crc,
        key: Key,
        bytes: &[u8; RECORD_HEADER_BYTES],
    ) -> Result<Header, HeaderError> {
        let raw: RawHeader = zerocopy::transmute!(*bytes);
        if raw.crc.get() != header_crc(crc, key, bytes) {
            return Err(HeaderError::Checksum);
        }
        let op = Op::from_code(raw.op).ok_or(HeaderError::Field)?;
        let seq = raw.seq.get();
        let (sector, sectors, cancels) = match op {
            Op::Cancel => (0, raw.sectors.get(), raw.sector.get()),
            _ => (raw.sector.get(), raw.sectors.get(), 0),
        };
        let most = match op {
            Op::Write => limits::MAX_RECORD_SECTORS,
            Op::Zero => limits::CHUNK_SECTORS,
            Op::Cancel => 0,
        };
        let after = seq.checked_sub(u64::from(raw.after_delta.get()));
        let acked = seq.checked_sub(u64::from(raw.acked_delta.get()));
        let (Some(after), Some(acked)) = (after, acked) else {
            return Err(HeaderError::Field);
        };
        if seq == 0
            || !countable(seq)
            || !countable(raw.lane_seq.get())
            || !data_position(raw.data_pos.get())
            || after >= seq
            || acked > after
            || raw.flags.get() != 0
            || usize::from(raw.member.get()) >= limits::MAX_MEMBERS
            || usize::from(raw.lane) >= limits::MAX_LANES
            || sectors > most
            || (sectors == 0) != (op == Op::Cancel)
            || sector.checked_add(u64::from(sectors)).is_none()
            || cancels >= seq
            || (cancels == 0) != (op != Op::Cancel)
        {
            return Err(HeaderError::Field);
        }
        Ok(Header {
            seq: Seq(seq),
            lane: u16::from(raw.lane),
            lane_seq: raw.lane_seq.get(),
            data_pos: raw.data_pos.get(),
            generation: Generation(raw.generation.get()),
            op,
            extent: Extent {
                member: raw.member.get(),
                sector,
                sectors,
            },
            cancels: Seq(cancels),
            after: Seq(after),
            acked: Seq(acked),
            data_crc: raw.data_crc.get(),
        })
    }
}

/// The checksum of a header.
#[inline]
fn header_crc(crc: Crc, key: Key, bytes: &[u8]) -> u32 {
    if planted(Plant::SumWithoutGeneration) {
        let front = crc(key.0, bytes.get(4..52).unwrap_or(&[]));
        return tail_crc(crc, front, bytes, 56);
    }
    tail_crc(crc, key.0, bytes, 4)
}

/// Of two slots, which holds the newest valid value, judged by counters.
pub fn newest<T>(slots: [Option<T>; 2], counter: impl Fn(&T) -> u64) -> Option<(usize, T)> {
    let [a, b] = slots;
    match (a, b) {
        (Some(a), Some(b)) if counter(&b) > counter(&a) => Some((1, b)),
        (Some(a), _) => Some((0, a)),
        (None, Some(b)) => Some((1, b)),
        (None, None) => None,
    }
}
