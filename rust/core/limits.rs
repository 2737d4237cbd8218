// SPDX-License-Identifier: GPL-2.0

//! Every limit of the driver, and how they depend on each other.

/// A host write is split into records of at most this many sectors (256 KiB): the log's copy of one
/// record is made with preemption off, which bounds the length of that.
pub const MAX_RECORD_SECTORS: u32 = 512;

/// A discard or write-zeroes is split into records of at most this many sectors (1 MiB). Also the
/// grain of the range lock: no bio crosses a multiple of it.
pub const CHUNK_SECTORS: u32 = 2048;

/// Most bytes of data in one record.
pub const MAX_RECORD_BYTES: u32 = MAX_RECORD_SECTORS * 512;

/// Most lanes of a log. A mark names the tail of every lane and has to fit into one page.
pub const MAX_LANES: usize = 32;

/// Most volumes of a set.
pub const MAX_MEMBERS: usize = 64;

/// Most records of a log, over all lanes: what the driver remembers of each costs 64 bytes.
pub const MAX_RECORDS: u32 = 1 << 20;

/// Fewest records in one lane.
pub const MIN_LANE_RECORDS: u32 = 16;

/// Headers of each lane that only a [`crate::units::Op::Cancel`] may use, so that a full log cannot
/// keep a failed write from being told to the host.
pub const CANCEL_RESERVE: u32 = 4;

/// Smallest data area of one lane: a record of the largest size must fit wherever the head stands,
/// which takes two (the space in front of the wrap may be too short for it).
pub const MIN_LANE_DATA: u64 = 2 * MAX_RECORD_BYTES as u64;

/// Smallest log region.
pub const MIN_LOG_BYTES: u64 = 1 << 20;

/// No sequence and no position in a lane is larger: a write each nanosecond takes a century to get
/// there. What is read is refused beyond it, so that arithmetic on it never meets the end of 64 bits,
/// where sequences would stop to rise and "after every write" would be one of them.
pub const MAX_COUNT: u64 = 1 << 62;

/// Largest log region. Positions are 64 bits wide; this bounds what a damaged superblock may claim.
pub const MAX_LOG_BYTES: u64 = 1 << 44;

/// Farthest place of an ownership record, in bytes.
pub const MAX_METADATA_OFFSET: u64 = 1 << 60;

/// Most records that the shipper has in flight at the remote, or there without a mark that says so. A
/// mark is written for half of them: its 832 bytes and its fence are then little for each record.
pub const SHIP_WINDOW: usize = 128;

/// A host that has not written for so long rests, nanoseconds.
pub const REST_NS: u64 = 10_000_000;

/// Longest name of a set, in bytes.
pub const MAX_SET_NAME: usize = 63;

/// Most records in one frame between partners.
pub const MAX_FRAME_RECORDS: u16 = 64;

/// Most payload bytes of a frame between partners: as much data as one record can have, in as many
/// records as a frame can have.
pub const MAX_FRAME_PAYLOAD: u32 = MAX_RECORD_BYTES + 64 * MAX_FRAME_RECORDS as u32;

/// Most bytes of data that who submits a write sends to the partner by itself.
pub const LONE_BYTES: u32 = 8192;

/// Milliseconds between pings.
pub const PING_MS: core::ops::RangeInclusive<u32> = 10..=60_000;

/// Pings in a row that may be missed.
pub const PING_MISSES: core::ops::RangeInclusive<u32> = 2..=100;

/// Outstanding records that an administrator may allow; the most are as good as no limit.
pub const RECORDS: core::ops::RangeInclusive<u32> = 16..=MAX_RECORDS;

/// Most words of a table line.
pub const MAX_TABLE_OPTIONS: usize = 64;

const _: () = assert!(CHUNK_SECTORS % MAX_RECORD_SECTORS == 0);
const _: () = assert!(CANCEL_RESERVE < MIN_LANE_RECORDS);
const _: () = assert!(MIN_LOG_BYTES > MIN_LANE_DATA + 64 * MIN_LANE_RECORDS as u64 + 16384);
