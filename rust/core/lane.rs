// SPDX-License-Identifier: GPL-2.0

//! One lane of the log, as its owner remembers it: where the next record goes, which records are
//! live, and what has happened to each. The media holds the same records; this holds what the media
//! does not say.
//!
//! A lane's records are positions `tail .. head` of an endless row; `position % lane_records` is the
//! slot. Appenders hold the lane's append lock over reserve, copy, fence and publish, so a lane never
//! has a hole: a record that does not verify is the lane's end, or the log is damaged.
//! Everybody else reads slots below `head` without a lock.

use crate::{
    format::{Header, Tail},
    layout::Geometry,
    limits,
    units::{Extent, Op, Seq},
};
use core::{
    ops::Deref,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// What has happened to a record. Bits only ever get set, until the slot is used again.
pub mod stage {
    /// Durable in the partner's log as well (or the owner serves alone).
    pub const MIRRORED: u32 = 1;
    /// Written to the local device (durable there once flushed).
    pub const LOCAL: u32 = 2;
    /// Durable at the remote, as is everything before it.
    pub const REMOTE: u32 = 4;
    /// The host has been told.
    pub const ACKED: u32 = 8;
    /// The local write failed; a cancel record is in the log; never to be shipped.
    pub const CANCELLED: u32 = 16;
}

/// One record in memory. `P` is where the driver keeps the host's bio until it is acknowledged.
#[derive(Default)]
pub struct Slot<P> {
    seq: AtomicU64,
    sector: AtomicU64,
    after: AtomicU64,
    data_pos: AtomicU64,
    sectors: AtomicU32,
    kind: AtomicU32,
    stage: AtomicU32,
    /// The driver's part.
    pub host: P,
}

impl<P> Slot<P> {
    /// What has happened to the record ([`stage`]).
    #[inline]
    pub fn stage(&self) -> u32 {
        self.stage.load(Ordering::Acquire)
    }

    /// Sets `bits` and answers what was set before. Of several parties that each set one, exactly
    /// one sees itself complete the set.
    #[inline]
    pub fn reach(&self, bits: u32) -> u32 {
        self.stage.fetch_or(bits, Ordering::AcqRel)
    }
}

/// A record as its slot remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its sequence.
    pub seq: Seq,
    /// What it does.
    pub op: Op,
    /// Where.
    pub extent: Extent,
    /// Its look-ahead limit.
    pub after: Seq,
    /// Where its data stands in the lane's data.
    pub data_pos: u64,
    /// What had happened to it when it was read.
    pub stage: u32,
}

impl Record {
    /// Bytes of data in the log.
    pub fn data_bytes(&self) -> u32 {
        if self.op.has_data() {
            self.extent
                .sectors
                .saturating_mul(crate::units::SECTOR_SIZE)
        } else {
            0
        }
    }
}

/// Where the next record of a lane goes. Guarded by the lane's append lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// Its position.
    pub lane_seq: u64,
    /// First free byte of data.
    pub data_pos: u64,
}

/// A place for one record, found by [`Lane::reserve`]. Nothing is taken until [`Lane::publish`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Place {
    /// The record's position.
    pub lane_seq: u64,
    /// Where its data goes.
    pub data_pos: u64,
}

/// Records that follow each other both in the lane's headers and in its data: one frame to the partner,
/// in three pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Run {
    /// How many records.
    pub records: u16,
    /// Byte offset of the first header in the region.
    pub headers_at: u64,
    /// Byte offset of the data.
    pub data_at: u64,
    /// Bytes of data.
    pub data_bytes: u32,
}

/// There is no room: the write has to wait until something is retired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// One lane.
///
/// # Invariants
///
/// - `tail <= head` and `head - tail <= lane_records`.
/// - Slots of positions in `tail .. head` hold their record's fields, which do not change.
pub struct Lane<P, S: Deref<Target = [Slot<P>]>> {
    index: u16,
    geometry: Geometry,
    slots: S,
    head: AtomicU64,
    tail: AtomicU64,
    tail_data: AtomicU64,
}

impl<P, S: Deref<Target = [Slot<P>]>> Lane<P, S> {
    /// An empty lane whose records will start at `tail`. `None` unless there are exactly as many
    /// slots as the geometry has records in a lane.
    pub fn new(index: u16, geometry: Geometry, slots: S, tail: Tail) -> Option<Self> {
        if slots.len() != usize::try_from(geometry.lane_records()).ok()? {
            return None;
        }
        // INVARIANT: `tail == head`.
        Some(Lane {
            index,
            geometry,
            slots,
            head: AtomicU64::new(tail.lane_seq),
            tail: AtomicU64::new(tail.lane_seq),
            tail_data: AtomicU64::new(tail.data_pos),
        })
    }

    /// Makes the lane as empty as [`Lane::new`] does. Only while nobody goes by what is in it.
    pub fn restart(&self, tail: Tail) {
        // INVARIANT: `tail == head`.
        self.tail_data.store(tail.data_pos, Ordering::Release);
        self.head.store(tail.lane_seq, Ordering::Release);
        self.tail.store(tail.lane_seq, Ordering::Release);
    }

    /// Which lane it is.
    #[inline]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The position that the next record will get; everything below is published.
    #[inline]
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// The position of the oldest live record.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.tail.load(Ordering::Acquire)
    }

    /// Live records.
    pub fn used_records(&self) -> u64 {
        self.head().saturating_sub(self.tail())
    }

    /// The slot of a position. Total: any position has a slot.
    #[inline]
    pub fn slot(&self, lane_seq: u64) -> Option<&Slot<P>> {
        let i = self.geometry.slot(lane_seq);
        self.slots.get(usize::try_from(i).ok()?)
    }

    /// The sequence of a published record.
    #[inline]
    pub fn seq_at(&self, lane_seq: u64) -> Option<Seq> {
        (lane_seq < self.head()).then_some(())?;
        Some(Seq(self.slot(lane_seq)?.seq.load(Ordering::Relaxed)))
    }

    /// A published record that is still live.
    pub fn record(&self, lane_seq: u64) -> Option<Record> {
        if lane_seq >= self.head() || lane_seq < self.tail() {
            return None;
        }
        let slot = self.slot(lane_seq)?;
        let kind = slot.kind.load(Ordering::Relaxed);
        Some(Record {
            seq: Seq(slot.seq.load(Ordering::Relaxed)),
            op: Op::from_code((kind & 0xff) as u8)?,
            extent: Extent {
                member: (kind >> 16) as u16,
                sector: slot.sector.load(Ordering::Relaxed),
                sectors: slot.sectors.load(Ordering::Relaxed),
            },
            after: Seq(slot.after.load(Ordering::Relaxed)),
            data_pos: slot.data_pos.load(Ordering::Relaxed),
            stage: slot.stage(),
        })
    }

    /// The records from `first` on, in front of `stop`, that make one frame. `None` if the first is not
    /// live.
    pub fn run(&self, first: u64, stop: u64) -> Option<Run> {
        let mut run = Run {
            headers_at: self.geometry.header_offset(self.index, first),
            ..Run::default()
        };
        let mut lane_seq = first;
        while lane_seq < stop && run.records < limits::MAX_FRAME_RECORDS {
            let Some(r) = self.record(lane_seq) else {
                break;
            };
            // Neither part may wrap in between; the headers of one slot after the other do not.
            if run.records > 0 && self.geometry.slot(lane_seq) == 0 {
                break;
            }
            let bytes = r.data_bytes();
            if bytes > 0 {
                let at = self.geometry.data_offset(self.index, r.data_pos);
                let end = run.data_at.checked_add(u64::from(run.data_bytes));
                let sum = run.data_bytes.saturating_add(bytes);
                if run.data_bytes == 0 {
                    run.data_at = at;
                } else if end != Some(at) || sum > limits::MAX_RECORD_BYTES {
                    break;
                }
                run.data_bytes = sum;
            }
            run.records = run.records.saturating_add(1);
            lane_seq = lane_seq.saturating_add(1);
        }
        (run.records > 0).then_some(run)
    }

    /// How many records are live, for who would append the next one.
    #[inline]
    fn used(&self, cursor: &Cursor) -> u64 {
        let tail = self.tail.load(Ordering::Acquire);
        cursor.lane_seq.saturating_sub(tail)
    }

    /// Whether fewer than `most` records are live, for who would append the next one.
    #[inline]
    pub fn is_below(&self, cursor: &Cursor, most: u32) -> bool {
        self.used(cursor) < u64::from(most)
    }

    /// Finds room for a record with `bytes` of data. Host writes leave [`limits::CANCEL_RESERVE`]
    /// headers free; only a cancel record may use those.
    #[inline]
    pub fn reserve(&self, cursor: &Cursor, bytes: u32, op: Op) -> Result<Place, Full> {
        let keep = if op == Op::Cancel {
            0
        } else {
            limits::CANCEL_RESERVE
        };
        if self.used(cursor).saturating_add(u64::from(keep))
            >= u64::from(self.geometry.lane_records())
        {
            return Err(Full);
        }
        let data_pos = self.geometry.place(cursor.data_pos, bytes).ok_or(Full)?;
        let end = data_pos.checked_add(u64::from(bytes)).ok_or(Full)?;
        let live = end.saturating_sub(self.tail_data.load(Ordering::Acquire));
        if live > self.geometry.lane_data() {
            return Err(Full);
        }
        Ok(Place {
            lane_seq: cursor.lane_seq,
            data_pos,
        })
    }

    /// Makes a record visible whose header and data are durable in the log, with the driver's part
    /// put in place by `host` first. Also how recovery fills a lane.
    #[inline]
    pub fn publish(&self, cursor: &mut Cursor, header: &Header, stage: u32, host: impl FnOnce(&P)) {
        let Some(slot) = self.slot(header.lane_seq) else {
            return;
        };
        slot.seq.store(header.seq.0, Ordering::Relaxed);
        let sector = if header.op == Op::Cancel {
            header.cancels.0
        } else {
            header.extent.sector
        };
        slot.sector.store(sector, Ordering::Relaxed);
        slot.after.store(header.after.0, Ordering::Relaxed);
        slot.data_pos.store(header.data_pos, Ordering::Relaxed);
        slot.sectors.store(header.extent.sectors, Ordering::Relaxed);
        slot.kind.store(
            (u32::from(header.extent.member) << 16) | u32::from(header.op as u8),
            Ordering::Relaxed,
        );
        slot.stage.store(stage, Ordering::Relaxed);
        host(&slot.host);
        cursor.lane_seq = header.lane_seq.saturating_add(1);
        cursor.data_pos = header
            .data_pos
            .saturating_add(u64::from(header.data_bytes()));
        // INVARIANT: `reserve` left room, so `head - tail <= lane_records`; Release makes the slot's
        // fields visible to whoever sees the new head.
        self.head.store(cursor.lane_seq, Ordering::Release);
    }

    /// Frees everything below `tail`, which must be durable in a mark here and at the partner.
    pub fn free_to(&self, tail: &Tail) {
        // INVARIANT: a mark's tail is never beyond a published record.
        if tail.lane_seq >= self.tail() && tail.lane_seq <= self.head() {
            self.tail_data.store(tail.data_pos, Ordering::Release);
            self.tail.store(tail.lane_seq, Ordering::Release);
        }
    }

    /// Bytes of data that are live or skipped, given where the next would go.
    pub fn used_bytes(&self) -> u64 {
        let head = self.head();
        let last = match head.checked_sub(1) {
            Some(p) if p >= self.tail() => self.record(p),
            _ => None,
        };
        last.map_or(0, |r| {
            (r.data_pos.saturating_add(u64::from(r.data_bytes())))
                .saturating_sub(self.tail_data.load(Ordering::Acquire))
        })
    }
}
