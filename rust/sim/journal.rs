// SPDX-License-Identifier: GPL-2.0

//! The owner's log at work: lanes, order, mark, and what the partner's copy counts for.

use crate::{
    bio::HostSlot,
    errno::{Errno, Result},
    media::crc,
    pmem::Pmem,
    set::Set,
};
use core_crate::{
    format::{Header, Key, Mark, Tail},
    lane::{stage, Cursor, Lane, Place, Record, Slot},
    layout::Geometry,
    limits::MAX_LANES,
    merge::{Lanes, Position},
    order::Order,
    ownership::Reach,
    partner::{Mirror, MirrorEvent},
    plant::{planted, Plant},
    recover::{Damage, Ends, Scan},
    ship::ShipView,
    units::{Extent, Generation, Op, Seq},
};
use std::cell::{Cell, RefCell};

/// One lane and where its next record goes.
pub struct LockedLane {
    pub lane: Lane<HostSlot, Vec<Slot<HostSlot>>>,
    pub append: RefCell<Cursor>,
}

/// The mark and who has it.
pub struct Marks {
    pub mark: Mark,
    pub confirmed: bool,
    pub partner_has: u64,
}

pub struct Journal {
    pub key: Key,
    pub geometry: Geometry,
    pub lanes: Vec<LockedLane>,
    pub order: Order,
    reign: Cell<Generation>,
    begun: Cell<bool>,
    mirror: Cell<Mirror>,
    pub marks: RefCell<Marks>,
    pub mirrored: RefCell<[u64; MAX_LANES]>,
    recovered: Cell<Seq>,
    pub recovered_records: Cell<u64>,
    limit: Cell<Seq>,
    leaving: Cell<bool>,
}

impl Journal {
    /// Reads the whole log.
    pub fn load(
        log: &Pmem,
        key: Key,
        geometry: Geometry,
        reign: Generation,
        mark: &Mark,
    ) -> core::result::Result<Journal, Damage> {
        let scan = Scan {
            media: log,
            crc,
            key,
            geometry,
            reign,
            mark,
        };
        let mut ends = Ends::of(mark);
        let mut found = 0u64;
        let mut lanes = vec![];
        for i in 0..geometry.lanes() {
            let tail = mark.tail(i);
            let slots: Vec<Slot<HostSlot>> = (0..geometry.lane_records())
                .map(|_| Slot::default())
                .collect();
            let lane = Lane::new(i, geometry, slots, tail).ok_or(Damage::MarkMismatch)?;
            let mut filled = cursor_at(&tail);
            let end = scan.lane(i, |h| {
                found += 1;
                lane.publish(&mut filled, h, 0, |_| ());
            })?;
            ends.lane(&end);
            lanes.push(LockedLane {
                lane,
                append: RefCell::new(Cursor {
                    lane_seq: end.lane_seq,
                    data_pos: end.data_pos,
                }),
            });
        }
        let journal = Journal {
            key,
            geometry,
            lanes,
            order: Order::starting_after(ends.last),
            reign: Cell::new(reign),
            begun: Cell::new(false),
            mirror: Cell::new(Mirror::Lost),
            marks: RefCell::new(Marks {
                mark: *mark,
                confirmed: true,
                partner_has: 0,
            }),
            mirrored: RefCell::new(tails(mark)),
            recovered: Cell::new(ends.last),
            recovered_records: Cell::new(found),
            limit: Cell::new(Seq::MAX),
            leaving: Cell::new(false),
        };
        ends.check(&journal, mark)?;
        journal.strike_out_cancelled();
        Ok(journal)
    }

    pub fn recovered(&self) -> Seq {
        self.recovered.get()
    }

    pub fn set_limit(&self, limit: Seq) {
        self.limit.set(limit);
    }

    pub fn below_limit(&self) -> bool {
        self.order.last() < self.limit.get()
    }

    pub fn reach(&self) -> Reach {
        Reach {
            shipped: self.marks.borrow().mark.shipped,
            acked: self.order.acked(),
            last: self.order.last(),
        }
    }

    fn strike_out_cancelled(&self) {
        for l in &self.lanes {
            for p in l.lane.tail()..l.lane.head() {
                let Some(r) = l.lane.record(p).filter(|r| r.op == Op::Cancel) else {
                    continue;
                };
                if let Some(slot) = self.find(Seq(r.extent.sector)).and_then(|at| self.slot(at)) {
                    slot.reach(stage::CANCELLED);
                }
            }
        }
    }

    /// Where the live record with this sequence stands.
    pub fn find(&self, seq: Seq) -> Option<Position> {
        for l in &self.lanes {
            for lane_seq in l.lane.tail()..l.lane.head() {
                if l.lane.seq_at(lane_seq) == Some(seq) {
                    return Some(Position {
                        lane: l.lane.index(),
                        lane_seq,
                    });
                }
            }
        }
        None
    }

    pub fn first_mark(&self) -> Mark {
        let heads = self.lanes.iter().map(|l| l.lane.head());
        self.marks.borrow().mark.beginning(self.reign(), heads)
    }

    pub fn reign(&self) -> Generation {
        self.reign.get()
    }

    pub fn reign_has_begun(&self) -> bool {
        self.begun.get()
    }

    pub fn begin(&self, reign: Generation) {
        self.reign.set(reign);
        self.begun.set(true);
    }

    pub fn leave(&self) -> Result {
        self.mirror
            .get()
            .on(MirrorEvent::Detached)
            .map_err(|_| Errno::Busy)?;
        self.leaving.set(true);
        Ok(())
    }

    pub fn left(&self, durable: bool) {
        self.leaving.set(false);
        if let (true, Ok(next)) = (durable, self.mirror.get().on(MirrorEvent::Detached)) {
            self.mirror.set(next);
        }
    }

    pub fn connected(&self, trusted: bool) -> Result<Mirror> {
        if self.leaving.get() {
            return Err(Errno::Again);
        }
        self.on_mirror(MirrorEvent::Connected { trusted })
    }

    pub fn set_reign(&self, reign: Generation) {
        self.reign.set(reign);
    }

    pub fn writes_wait(&self) -> bool {
        self.mirror.get().writes_wait()
    }

    pub fn mirror(&self) -> Mirror {
        self.mirror.get()
    }

    pub fn start_mirror(&self, state: Mirror) {
        self.mirror.set(state);
    }

    pub fn on_mirror(&self, event: MirrorEvent) -> Result<Mirror> {
        let next = self.mirror.get().on(event).map_err(|_| Errno::Invalid)?;
        self.mirror.set(next);
        Ok(next)
    }

    pub fn lane(&self, lane: u16) -> Option<&LockedLane> {
        self.lanes.get(usize::from(lane))
    }

    pub fn slot(&self, at: Position) -> Option<&Slot<HostSlot>> {
        self.lane(at.lane)?.lane.slot(at.lane_seq)
    }

    pub fn header(
        &self,
        lane: u16,
        place: Place,
        op: Op,
        extent: Extent,
        cancels: Seq,
        data_crc: u32,
    ) -> Header {
        let ticket = self.order.accept();
        Header {
            seq: ticket.seq,
            lane,
            lane_seq: place.lane_seq,
            data_pos: place.data_pos,
            generation: self.reign(),
            op,
            extent,
            cancels,
            after: ticket.after,
            acked: ticket.acked,
            data_crc,
        }
    }

    /// Records in the log that are not retired, and bytes of data they hold.
    pub fn used(&self) -> (u64, u64) {
        self.lanes.iter().fold((0, 0), |(r, b), l| {
            (r + l.lane.used_records(), b + l.lane.used_bytes())
        })
    }

    pub fn confirm_mark(&self) -> Option<Mark> {
        let mut marks = self.marks.borrow_mut();
        let waits = self.mirror().marks_wait() && !planted(Plant::RetireBeforePartner);
        if marks.confirmed || (waits && marks.partner_has < marks.mark.counter) {
            return None;
        }
        marks.confirmed = true;
        for l in &self.lanes {
            l.lane.free_to(&marks.mark.tail(l.lane.index()));
        }
        Some(marks.mark)
    }

    pub fn put_mark(&self, set: &Set, mark: Mark) {
        set.write_mark(self.key, &mark);
        let mut marks = self.marks.borrow_mut();
        marks.mark = mark;
        marks.confirmed = false;
        set.send.signal();
    }
}

fn cursor_at(tail: &Tail) -> Cursor {
    Cursor {
        lane_seq: tail.lane_seq,
        data_pos: tail.data_pos,
    }
}

pub fn tails(mark: &Mark) -> [u64; MAX_LANES] {
    let mut at = [0; MAX_LANES];
    for (a, t) in at.iter_mut().zip(&mark.tails) {
        *a = t.lane_seq;
    }
    at
}

impl Lanes for Journal {
    fn lanes(&self) -> u16 {
        self.geometry.lanes()
    }

    fn seq_at(&self, lane: u16, lane_seq: u64) -> Option<Seq> {
        self.lane(lane)?.lane.seq_at(lane_seq)
    }
}

impl ShipView for Journal {
    fn record(&self, at: Position) -> Option<Record> {
        self.lane(at.lane)?.lane.record(at.lane_seq)
    }
}
