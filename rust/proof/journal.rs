// SPDX-License-Identifier: GPL-2.0

//! An owner's log put together as the driver does it, over model pmem.
//!
//! Mistakes that live in the driver are planted here: see core's `plant.rs`.

use crate::{
    crc,
    pmem::{Crash, Pmem},
};
use core_crate::{
    format::{Header, Key, Mark, Super, Tail},
    lane::{stage, Cursor, Full, Lane, Record, Slot},
    layout::{mark_offset, superblock_offset, Geometry},
    limits::MAX_LANES,
    merge::{Lanes, Merge, Position},
    order::Order,
    plant::{planted, Plant},
    recover::{read_mark, Damage, Ends, Scan},
    retire::{AckTracker, Retirer},
    ship::ShipView,
    units::{Extent, Generation, Op, Seq},
};

/// What an owner knows of its log.
pub struct Journal {
    /// The set's key.
    pub key: Key,
    /// The log's shape.
    pub geometry: Geometry,
    /// Its lanes.
    pub lanes: Vec<Lane<(), Vec<Slot<()>>>>,
    /// Where each goes on.
    pub cursors: Vec<Cursor>,
    /// The order of writes.
    pub order: Order,
    /// The reign of new records.
    pub reign: Generation,
    /// The newest mark.
    pub mark: Mark,
    /// Up to this sequence, records were found by recovery.
    pub recovered: Seq,
    /// What recovery found, in sequence order.
    pub found: Vec<Header>,
}

impl Lanes for Journal {
    fn lanes(&self) -> u16 {
        self.geometry.lanes()
    }

    fn seq_at(&self, lane: u16, lane_seq: u64) -> Option<Seq> {
        self.lanes[usize::from(lane)].seq_at(lane_seq)
    }
}

impl ShipView for Journal {
    fn record(&self, at: Position) -> Option<Record> {
        self.lanes[usize::from(at.lane)].record(at.lane_seq)
    }
}

/// The slots of one lane.
pub fn slots(g: &Geometry) -> Vec<Slot<()>> {
    (0..g.lane_records()).map(|_| Slot::default()).collect()
}

impl Journal {
    /// An empty log in memory.
    pub fn new(key: Key, geometry: Geometry, reign: Generation, mark: Mark) -> Journal {
        let tails: Vec<Tail> = (0..geometry.lanes()).map(|l| mark.tail(l)).collect();
        Journal {
            key,
            geometry,
            lanes: tails
                .iter()
                .enumerate()
                .map(|(i, t)| Lane::new(i as u16, geometry, slots(&geometry), *t).unwrap())
                .collect(),
            cursors: tails
                .iter()
                .map(|t| Cursor {
                    lane_seq: t.lane_seq,
                    data_pos: t.data_pos,
                })
                .collect(),
            order: Order::starting_after(mark.retired),
            reign,
            mark,
            recovered: mark.retired,
            found: vec![],
        }
    }

    /// Reads a log.
    pub fn load(pmem: &Pmem, key: Key, mine: &Super) -> Result<Journal, Damage> {
        let mark = read_mark(pmem, crc, key)?.ok_or(Damage::Mark)?;
        let mut j = Journal::new(key, mine.geometry, mine.generation, mark);
        let scan = Scan {
            media: pmem,
            crc,
            key,
            geometry: mine.geometry,
            reign: mine.generation,
            mark: &mark,
        };
        let mut ends = Ends::of(&mark);
        for i in 0..mine.geometry.lanes() {
            let l = usize::from(i);
            let (lane, cursor, found) = (&j.lanes[l], &mut j.cursors[l], &mut j.found);
            let end = scan.lane(i, |h| {
                lane.publish(cursor, h, 0, |()| ());
                found.push(*h);
            })?;
            assert_eq!(
                (cursor.lane_seq, cursor.data_pos),
                (end.lane_seq, end.data_pos)
            );
            assert_eq!(lane.head(), end.lane_seq);
            ends.lane(&end);
        }
        ends.check(&j, &mark)?;
        j.found.sort_by_key(|h| h.seq);
        j.recovered = ends.last;
        j.order = Order::starting_after(ends.last);
        j.strike_out_cancelled();
        Ok(j)
    }

    /// Records that a later cancel record names are never replayed.
    fn strike_out_cancelled(&self) {
        if planted(Plant::CancelIgnored) {
            return;
        }
        for h in self.found.iter().filter(|h| h.op == Op::Cancel) {
            self.settle_cancel(h.cancels, stage::CANCELLED);
        }
    }

    /// The write that a cancel record names is done with.
    pub fn settle_cancel(&self, seq: Seq, bits: u32) {
        for lane in &self.lanes {
            for p in lane.tail()..lane.head() {
                if lane.seq_at(p) == Some(seq) {
                    self.reach(lane.index(), p, bits);
                }
            }
        }
    }

    /// A merge from the tails.
    pub fn merge(&self) -> Merge {
        let mut cursor = [0; MAX_LANES];
        for (c, t) in cursor.iter_mut().zip(&self.mark.tails) {
            *c = t.lane_seq;
        }
        Merge::new(self.mark.retired.next(), self.recovered, cursor)
    }

    /// A merge from behind what the mark says is at the remote.
    pub fn unshipped(&self) -> Merge {
        let mut merge = self.merge();
        while let Some((seq, at)) = merge.peek(self) {
            if seq > self.mark.shipped || planted(Plant::ReshipFromRetired) {
                break;
            }
            merge.advance(at);
        }
        merge
    }

    /// Finds how far the log can be cut off.
    pub fn retirer(&self) -> Retirer {
        Retirer::new(self.merge(), &self.mark)
    }

    /// Finds up to where all was acknowledged.
    pub fn acks(&self) -> AckTracker {
        AckTracker::new(self.merge())
    }

    /// Accepts a write of `data` (or without) and fills a header for it, without publishing it.
    pub fn accept(
        &mut self,
        lane: u16,
        op: Op,
        extent: Extent,
        cancels: Seq,
        data: &[u8],
    ) -> Result<Header, Full> {
        let l = usize::from(lane);
        let place = self.lanes[l].reserve(&self.cursors[l], data.len() as u32, op)?;
        let ticket = self.order.accept();
        Ok(Header {
            seq: ticket.seq,
            lane,
            lane_seq: place.lane_seq,
            data_pos: place.data_pos,
            generation: self.reign,
            op,
            extent,
            cancels,
            after: ticket.after,
            acked: ticket.acked,
            data_crc: if op.has_data() {
                crc(self.key.0, data)
            } else {
                0
            },
        })
    }

    /// Makes a durable record visible.
    pub fn publish(&mut self, h: &Header, stage: u32) {
        let l = usize::from(h.lane);
        self.lanes[l].publish(&mut self.cursors[l], h, stage, |()| ());
    }

    /// Stores a record; when it was fenced it may be published. Each lane has its CPU.
    pub fn store(&self, pmem: &mut Pmem, h: &Header, data: &[u8]) -> Result<(), Crash> {
        pmem.cpu = h.lane + 1;
        if !data.is_empty() {
            pmem.store(self.geometry.data_offset(h.lane, h.data_pos), data)?;
        }
        let at = self.geometry.header_offset(h.lane, h.lane_seq);
        let sealed = h.seal(crc, self.key);
        if planted(Plant::HeaderNotFlushed) {
            return pmem.store_plain(at, &sealed);
        }
        pmem.store(at, &sealed)
    }

    /// A record's data as it stands in the log.
    pub fn data(&self, pmem: &Pmem, h: &Header) -> Vec<u8> {
        let at = self.geometry.data_offset(h.lane, h.data_pos);
        pmem.peek(at, h.data_bytes() as usize)
    }

    /// Something happened to a record; answers what had before.
    pub fn reach(&self, lane: u16, lane_seq: u64, bits: u32) -> u32 {
        let lane = &self.lanes[usize::from(lane)];
        lane.slot(lane_seq).unwrap().reach(bits)
    }

    /// Marks everything up to `seq` as being at the remote.
    pub fn remote_to(&self, seq: Seq) {
        for lane in &self.lanes {
            for p in lane.tail()..lane.head() {
                if lane.seq_at(p).unwrap() <= seq {
                    lane.slot(p).unwrap().reach(stage::REMOTE);
                }
            }
        }
    }

    /// The mark with which a reign begins.
    pub fn first_mark(&self, reign: Generation) -> Mark {
        let heads = self.lanes.iter().map(|lane| lane.head());
        self.mark.beginning(reign, heads)
    }

    /// Frees what the mark gives free.
    pub fn free(&self) {
        for lane in &self.lanes {
            lane.free_to(&self.mark.tail(lane.index()));
        }
    }
}

/// Stores a superblock in its slot.
pub fn store_super(pmem: &mut Pmem, s: &Super) -> Result<(), Crash> {
    let slot = usize::from(s.counter % 2 == 1);
    pmem.cpu = 0;
    pmem.store(superblock_offset(slot), &s.seal(crc))
}

/// Makes a superblock durable in its slot. The driver does so with both, one after the other.
pub fn write_super(pmem: &mut Pmem, s: &Super) -> Result<(), Crash> {
    store_super(pmem, s)?;
    pmem.fence()
}

/// Stores a mark in its slot.
pub fn store_mark(pmem: &mut Pmem, key: Key, m: &Mark) -> Result<(), Crash> {
    let slot = usize::from(m.counter % 2 == 1 && !planted(Plant::MarkInPlace));
    pmem.cpu = 0;
    pmem.store(mark_offset(slot), &m.seal(crc, key))
}

/// Makes a mark durable as the driver does.
pub fn write_mark(pmem: &mut Pmem, key: Key, m: &Mark) -> Result<(), Crash> {
    store_mark(pmem, key, m)?;
    pmem.fence()
}
