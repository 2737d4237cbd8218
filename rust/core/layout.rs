// SPDX-License-Identifier: GPL-2.0

//! Where things lie in a log region.
//!
//! ```text
//!  0      superblock, slot 0        4 KiB
//!  4 KiB  superblock, slot 1        4 KiB
//!  8 KiB  mark, slot 0              4 KiB
//! 12 KiB  mark, slot 1              4 KiB
//! 16 KiB  lane 0: headers           64 bytes each, rounded up to 4 KiB
//!         lane 1: headers …
//!         lane 0: data              a multiple of 4 KiB
//!         lane 1: data …
//! ```
//!
//! Headers and data of a lane are two rings. They are not one, because data then starts at a multiple
//! of 512 bytes, and local and remote writes go out of the log's own pages: the block layer refuses
//! memory that is aligned to less.

use crate::limits;
use core::{
    fmt,
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
};

/// Bytes of one superblock slot and of one mark slot.
pub const SLOT_BYTES: u64 = 4096;
/// Where the two marks stand.
pub const MARK_OFFSET: u64 = 2 * SLOT_BYTES;
/// Where lane 0's headers start.
pub const LANES_OFFSET: u64 = 4 * SLOT_BYTES;
/// Bytes of a record header.
pub const HEADER_BYTES: u64 = 64;

/// The shape of a log, as the superblock keeps it and as both partners must agree on it.
///
/// # Invariants
///
/// - `1 <= lanes <= MAX_LANES`, `MIN_LANE_RECORDS <= lane_records`, `lanes * lane_records <= MAX_RECORDS`.
/// - `lane_data` is a multiple of 4096 and at least `MIN_LANE_DATA`.
/// - `bytes()` does not overflow and is at most `MAX_LOG_BYTES`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    lanes: NonZeroU16,
    lane_records: NonZeroU32,
    lane_data: NonZeroU64,
}

/// Why a shape is no shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GeometryError {
    /// The number of lanes is out of range.
    Lanes(u64),
    /// The number of records is out of range (value, smallest, largest).
    Records(u64, u64, u64),
    /// A lane's data area is too small or not a multiple of 4096.
    LaneData(u64),
    /// The region has fewer bytes than needed (has, needed).
    Region(u64, u64),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            GeometryError::Lanes(n) => {
                write!(f, "{n} lanes: 1 to {} are allowed", limits::MAX_LANES)
            }
            GeometryError::Records(n, lo, hi) => {
                write!(
                    f,
                    "{n} records: {lo} to {hi} are allowed with this number of lanes"
                )
            }
            GeometryError::LaneData(n) => write!(
                f,
                "{n} bytes of data in each lane: a multiple of 4096 and at least {} is needed; \
                 give the log more bytes or fewer lanes",
                limits::MIN_LANE_DATA
            ),
            GeometryError::Region(has, needs) => {
                write!(f, "the log region has {has} bytes, {needs} are needed")
            }
        }
    }
}

fn round_up(n: u64, to: u64) -> Option<u64> {
    Some(n.checked_add(to.checked_sub(1)?)? / to * to)
}

impl Geometry {
    /// Checks the numbers that a superblock, a peer or [`Geometry::plan`] claims.
    pub fn new(lanes: u16, lane_records: u32, lane_data: u64) -> Result<Geometry, GeometryError> {
        if lanes == 0 || usize::from(lanes) > limits::MAX_LANES {
            return Err(GeometryError::Lanes(u64::from(lanes)));
        }
        let total = u64::from(lanes) * u64::from(lane_records);
        let low = u64::from(lanes) * u64::from(limits::MIN_LANE_RECORDS);
        if lane_records < limits::MIN_LANE_RECORDS || total > u64::from(limits::MAX_RECORDS) {
            return Err(GeometryError::Records(
                total,
                low,
                u64::from(limits::MAX_RECORDS),
            ));
        }
        if lane_data % 4096 != 0
            || lane_data < limits::MIN_LANE_DATA
            || lane_data > limits::MAX_LOG_BYTES / u64::from(lanes)
        {
            return Err(GeometryError::LaneData(lane_data));
        }
        let (Some(lanes), Some(lane_records), Some(lane_data)) = (
            NonZeroU16::new(lanes),
            NonZeroU32::new(lane_records),
            NonZeroU64::new(lane_data),
        ) else {
            return Err(GeometryError::Lanes(u64::from(lanes)));
        };
        // INVARIANT: all three were just checked; the products above and in `bytes()` stay below
        // 2^44 + 2^27.
        Ok(Geometry {
            lanes,
            lane_records,
            lane_data,
        })
    }

    /// Divides a region of `bytes` among `lanes` lanes with `records` records in all
    /// (0: as many as fit with 2 KiB of data each).
    pub fn plan(bytes: u64, lanes: u16, records: u32) -> Result<Geometry, GeometryError> {
        if lanes == 0 || usize::from(lanes) > limits::MAX_LANES {
            return Err(GeometryError::Lanes(u64::from(lanes)));
        }
        if !(limits::MIN_LOG_BYTES..=limits::MAX_LOG_BYTES).contains(&bytes) {
            return Err(GeometryError::Region(bytes, limits::MIN_LOG_BYTES));
        }
        let per_lane = (bytes - LANES_OFFSET) / u64::from(lanes);
        let wanted = if records == 0 {
            (per_lane / (2048 + HEADER_BYTES))
                .min(u64::from(limits::MAX_RECORDS) / u64::from(lanes))
                .max(u64::from(limits::MIN_LANE_RECORDS))
        } else {
            u64::from(records).div_ceil(u64::from(lanes))
        };
        let lane_records = u32::try_from(wanted).unwrap_or(u32::MAX);
        let headers = round_up(wanted.saturating_mul(HEADER_BYTES), 4096).unwrap_or(u64::MAX);
        let lane_data = per_lane.saturating_sub(headers) / 4096 * 4096;
        Geometry::new(lanes, lane_records, lane_data)
    }

    /// Number of lanes.
    #[inline]
    pub fn lanes(&self) -> u16 {
        self.lanes.get()
    }

    /// Records (headers) of one lane.
    #[inline]
    pub fn lane_records(&self) -> u32 {
        self.lane_records.get()
    }

    /// Bytes of data of one lane.
    #[inline]
    pub fn lane_data(&self) -> u64 {
        self.lane_data.get()
    }

    // None of the following can overflow, by the type's invariant. They say `wrapping` all the same, so
    // that no panic is linked into the hot path (overflow checks are on in the kernel).

    #[inline]
    fn lane_header_bytes(&self) -> u64 {
        let bytes = u64::from(self.lane_records.get()).wrapping_mul(HEADER_BYTES);
        bytes.wrapping_add(4095) & !4095
    }

    #[inline]
    fn headers_bytes(&self) -> u64 {
        u64::from(self.lanes.get()).wrapping_mul(self.lane_header_bytes())
    }

    /// Bytes of the whole region.
    pub fn bytes(&self) -> u64 {
        let data = u64::from(self.lanes.get()).wrapping_mul(self.lane_data.get());
        LANES_OFFSET
            .wrapping_add(self.headers_bytes())
            .wrapping_add(data)
    }

    /// Whether a log with so many live records and bytes of data, over all lanes, will soon want space.
    pub fn is_tight(&self, records: u64, bytes: u64) -> bool {
        let lanes = u64::from(self.lanes.get());
        records.saturating_mul(4) > lanes.saturating_mul(u64::from(self.lane_records.get()))
            || bytes.saturating_mul(4) > lanes.saturating_mul(self.lane_data.get())
    }

    /// Which header of the lane's ring a position has.
    #[inline]
    pub fn slot(&self, lane_seq: u64) -> u64 {
        lane_seq % NonZeroU64::from(self.lane_records)
    }

    /// The lane that a CPU uses first.
    #[inline]
    pub fn lane_of(&self, cpu: u32) -> u16 {
        (cpu % NonZeroU32::from(self.lanes)) as u16
    }

    /// The lane that follows, round and round.
    #[inline]
    pub fn lane_after(&self, lane: u16) -> u16 {
        match lane.checked_add(1) {
            Some(next) if next < self.lanes() => next,
            _ => 0,
        }
    }

    /// Where, in the region, the header with this position in its lane stands.
    #[inline]
    pub fn header_offset(&self, lane: u16, lane_seq: u64) -> u64 {
        LANES_OFFSET
            .wrapping_add(u64::from(lane).wrapping_mul(self.lane_header_bytes()))
            .wrapping_add(self.slot(lane_seq).wrapping_mul(HEADER_BYTES))
    }

    /// Where, in the region, the byte with this position in its lane's data stands.
    #[inline]
    pub fn data_offset(&self, lane: u16, data_pos: u64) -> u64 {
        LANES_OFFSET
            .wrapping_add(self.headers_bytes())
            .wrapping_add(u64::from(lane).wrapping_mul(self.lane_data.get()))
            .wrapping_add(data_pos % self.lane_data)
    }

    /// Where `bytes` of data go when the lane's next free byte is `pos`: data never wraps, so what is
    /// left in front of the wrap is skipped when it is too short. `None` on overflow.
    ///
    /// The result is the position of the first byte; the next free one is that plus `bytes`.
    #[inline]
    pub fn place(&self, pos: u64, bytes: u32) -> Option<u64> {
        let left = self.lane_data.get().wrapping_sub(pos % self.lane_data);
        if u64::from(bytes) <= left {
            Some(pos)
        } else {
            pos.checked_add(left)
        }
    }
}

/// Where slot 0 or 1 of the superblock stands.
pub fn superblock_offset(slot: usize) -> u64 {
    if slot == 0 {
        0
    } else {
        SLOT_BYTES
    }
}

/// Where slot 0 or 1 of the mark stands.
pub fn mark_offset(slot: usize) -> u64 {
    if slot == 0 {
        MARK_OFFSET
    } else {
        MARK_OFFSET + SLOT_BYTES
    }
}
