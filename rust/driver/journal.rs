// SPDX-License-Identifier: GPL-2.0

//! The owner's log at work: lanes, order, mark, and what the partner's copy counts for.

use crate::{set::Set, stages::Accepted, worker::Io};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core_crate::{
    creation::Store,
    format::{Header, Key, Mark, Tail},
    lane::{stage, Cursor, Lane, Place, Record, Slot},
    layout::Geometry,
    limits::MAX_LANES,
    merge::{Lanes, Position},
    order::Order,
    ownership::Reach,
    partner::{Illegal, Mirror, MirrorEvent},
    recover::{Damage, Ends, LaneEnd, Media, Scan, Unreadable},
    ship::ShipView,
    units::{Extent, Generation, Op, Seq},
};
use kapi_crate::{
    bio::{BioSlot, HostBio},
    pmem::{crc32c, Pmem, PmemSpan},
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    new_mutex, new_spinlock,
    prelude::*,
    sync::{Mutex, SpinLock},
};

/// A slot's part for the driver: the host's bio until it is acknowledged, and when it was accepted.
#[derive(Default)]
pub(crate) struct HostSlot {
    bio: BioSlot<Io>,
    pub(crate) accepted: Accepted,
}

impl HostSlot {
    /// See [`BioSlot::put`].
    #[inline]
    pub(crate) fn put(&self, bio: HostBio<Io>) -> Option<HostBio<Io>> {
        self.bio.put(bio)
    }

    /// See [`BioSlot::take`].
    #[inline]
    pub(crate) fn take(&self) -> Option<HostBio<Io>> {
        self.bio.take()
    }
}

/// One lane and the lock that appenders hold.
#[pin_data]
pub(crate) struct LockedLane {
    pub(crate) lane: Lane<HostSlot, KVVec<Slot<HostSlot>>>,
    /// Held over reserve, copy, fence and publish, so that the lane never has a hole. Process
    /// context only.
    #[pin]
    pub(crate) append: SpinLock<Cursor>,
}

/// The mark and who has it.
pub(crate) struct Marks {
    /// The newest mark, durable here.
    pub(crate) mark: Mark,
    /// Whether its consequences (space, further shipping) were drawn.
    pub(crate) confirmed: bool,
    /// The counter of the newest mark that the partner has, as far as it said in this session.
    pub(crate) partner_has: u64,
}

/// See the head of this file.
pub(crate) struct Journal {
    pub(crate) key: Key,
    pub(crate) geometry: Geometry,
    pub(crate) lanes: KVec<Pin<KBox<LockedLane>>>,
    pub(crate) order: Order,
    /// The reign that new records carry.
    reign: AtomicU32,
    /// Whether this node's reign has begun: durably, partner willing.
    begun: AtomicBool,
    /// `Mirror::writes_wait` for the hot path; changes under `mirror`.
    wait: AtomicBool,
    mirror: Pin<KBox<Mutex<Mirror>>>,
    pub(crate) marks: Pin<KBox<Mutex<Marks>>>,
    /// How far, in each lane, the partner's acknowledgements were drawn on.
    pub(crate) mirrored: Pin<KBox<Mutex<[u64; MAX_LANES]>>>,
    /// Up to this sequence, records were found by recovery.
    recovered: AtomicU64,
    /// How many were found.
    recovered_records: AtomicU64,
    /// No sequence behind this one may be given: see `Stale::limit`.
    limit: AtomicU64,
    /// The owner is about to go on alone: no session may begin. Changes under `mirror`.
    leaving: AtomicBool,
    /// How far the remote is durable, for status.
    pub(crate) durable_remote: AtomicU64,
}

/// A log region, as core reads it.
pub(crate) struct Region<'a>(pub(crate) &'a Pmem);

impl Media for Region<'_> {
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Unreadable> {
        self.0
            .read(offset as usize, to)
            .map_err(|_| Unreadable { offset })
    }

    fn crc(&self, offset: u64, bytes: u32, seed: u32) -> Result<u32, Unreadable> {
        self.0
            .crc32c(offset as usize, bytes as usize, seed)
            .map_err(|_| Unreadable { offset })
    }
}

/// And as core makes a log in it.
impl Store for Region<'_> {
    type Error = Error;

    fn store(&mut self, offset: u64, bytes: &[u8]) -> Result {
        self.0.write(offset as usize, bytes)
    }

    fn zero(&mut self, offset: u64, bytes: u64) -> Result {
        self.0.zero(offset as usize, bytes as usize)
    }

    fn fence(&mut self) -> Result {
        self.0.fence();
        Ok(())
    }
}

impl Journal {
    /// A journal for logs of this shape, with nothing in it yet: [`Journal::load`] follows.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(key: Key, geometry: Geometry) -> Result<KBox<Journal>> {
        let mut lanes = KVec::with_capacity(usize::from(geometry.lanes()), GFP_KERNEL)?;
        for i in 0..geometry.lanes() {
            lanes.push(new_lane(i, geometry)?, GFP_KERNEL)?;
        }
        Ok(KBox::new(
            Journal {
                key,
                geometry,
                lanes,
                order: Order::starting_after(Seq::ZERO),
                reign: AtomicU32::new(0),
                begun: AtomicBool::new(false),
                wait: AtomicBool::new(true),
                mirror: KBox::pin_init(new_mutex!(Mirror::Lost), GFP_KERNEL)?,
                marks: new_marks()?,
                mirrored: KBox::pin_init(new_mutex!([0; MAX_LANES]), GFP_KERNEL)?,
                recovered: AtomicU64::new(0),
                recovered_records: AtomicU64::new(0),
                limit: AtomicU64::new(u64::MAX),
                leaving: AtomicBool::new(false),
                durable_remote: AtomicU64::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// Reads the whole log: every record that is not retired is checked and put into its lane, and
    /// acknowledged sequences that are not there are found. Nothing is written. What was in the
    /// journal before is gone; nobody may go by it.
    ///
    /// # Errors
    ///
    /// What is wrong with the log.
    pub(crate) fn load(
        &self,
        log: &Pmem,
        reign: Generation,
        mark: &Mark,
    ) -> core::result::Result<(), Damage> {
        if mark.lanes != self.geometry.lanes() || mark.generation > reign {
            return Err(Damage::MarkMismatch);
        }
        let scan = Scan {
            media: &Region(log),
            crc: crc32c,
            key: self.key,
            geometry: self.geometry,
            reign,
            mark,
        };
        let mut ends = Ends::of(mark);
        let mut found = 0u64;
        for locked in self.lanes.iter() {
            let lane = &locked.lane;
            let tail = mark.tail(lane.index());
            let mut cursor = locked.append.lock();
            lane.restart(tail);
            let mut filled = Cursor {
                lane_seq: tail.lane_seq,
                data_pos: tail.data_pos,
            };
            let end: LaneEnd = scan.lane(lane.index(), |h| {
                found += 1;
                lane.publish(&mut filled, h, 0, |host| host.accepted.forget());
            })?;
            *cursor = Cursor {
                lane_seq: end.lane_seq,
                data_pos: end.data_pos,
            };
            ends.lane(&end);
        }
        self.order.restart_after(ends.last);
        self.reign.store(reign.0, Ordering::Release);
        self.begun.store(false, Ordering::Release);
        self.start_mirror(Mirror::Lost);
        self.note_mark(mark);
        self.recovered.store(ends.last.0, Ordering::Release);
        self.recovered_records.store(found, Ordering::Release);
        self.set_limit(Seq::MAX);
        self.durable_remote.store(mark.shipped.0, Ordering::Release);
        ends.check(self, mark)?;
        self.strike_out_cancelled();
        Ok(())
    }

    #[inline(never)]
    fn note_mark(&self, mark: &Mark) {
        *self.mirrored.lock() = tails(mark);
        let mut marks = self.marks.lock();
        marks.mark = *mark;
        marks.confirmed = true;
        marks.partner_has = 0;
    }

    /// Whether it is one for logs of that shape and set.
    pub(crate) fn fits(&self, key: Key, geometry: Geometry) -> bool {
        self.key == key && self.geometry == geometry
    }

    /// Up to this sequence, records were found by recovery.
    pub(crate) fn recovered(&self) -> Seq {
        Seq(self.recovered.load(Ordering::Acquire))
    }

    /// How many were found.
    pub(crate) fn recovered_records(&self) -> u64 {
        self.recovered_records.load(Ordering::Acquire)
    }

    /// No sequence behind this one may be given from here on.
    pub(crate) fn set_limit(&self, limit: Seq) {
        self.limit.store(limit.0, Ordering::Release);
    }

    /// Whether another sequence may be given. Appenders on other processors may each take one more.
    #[inline]
    pub(crate) fn below_limit(&self) -> bool {
        self.order.last().0 < self.limit.load(Ordering::Relaxed)
    }

    /// Where the log stands, for the ownership record.
    pub(crate) fn reach(&self) -> Reach {
        let shipped = self.marks.lock().mark.shipped;
        Reach {
            shipped,
            acked: self.order.acked(),
            last: self.order.last(),
        }
    }

    /// Records that a later cancel record names are never replayed.
    #[inline(never)]
    fn strike_out_cancelled(&self) {
        for l in self.lanes.iter() {
            for p in l.lane.tail()..l.lane.head() {
                let Some(r) = l.lane.record(p) else { continue };
                if r.op != Op::Cancel {
                    continue;
                }
                // A cancel record keeps the sequence that it cancels where others have their sector.
                if let Some(at) = self.find(Seq(r.extent.sector)) {
                    if let Some(slot) = self.slot(at) {
                        slot.reach(stage::CANCELLED);
                    }
                }
            }
        }
    }

    /// Where the live record with this sequence stands. Slow: only for errors and recovery.
    pub(crate) fn find(&self, seq: Seq) -> Option<Position> {
        for l in self.lanes.iter() {
            let (mut low, mut high) = (l.lane.tail(), l.lane.head());
            // Sequences rise along a lane.
            while low < high {
                let mid = low.midpoint(high);
                if l.lane.seq_at(mid)? < seq {
                    low = mid.saturating_add(1);
                } else {
                    high = mid;
                }
            }
            if l.lane.seq_at(low) == Some(seq) {
                return Some(Position {
                    lane: l.lane.index(),
                    lane_seq: low,
                });
            }
        }
        None
    }

    /// The mark with which a reign begins: where the log is now, and nothing behind it counts that an
    /// older reign left there.
    #[inline(never)]
    pub(crate) fn first_mark(&self) -> Mark {
        let heads = self.lanes.iter().map(|l| l.lane.head());
        self.marks.lock().mark.beginning(self.reign(), heads)
    }

    /// The reign of new records.
    #[inline]
    pub(crate) fn reign(&self) -> Generation {
        Generation(self.reign.load(Ordering::Relaxed))
    }

    /// Whether the reign has begun.
    pub(crate) fn reign_has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Begins the first reign of this journal; no append runs.
    pub(crate) fn begin(&self, reign: Generation) {
        self.set_reign(reign);
        self.begun.store(true, Ordering::Release);
    }

    /// The owner is about to go on without its partner: from here on no session begins, until
    /// [`Journal::left`].
    ///
    /// # Errors
    ///
    /// `EBUSY` unless the partner is lost.
    pub(crate) fn leave(&self) -> Result {
        let m = self.mirror.lock();
        m.on(MirrorEvent::Detached).map_err(|_| EBUSY)?;
        self.leaving.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends what [`Journal::leave`] began: `durable` says whether it became so.
    pub(crate) fn left(&self, durable: bool) {
        let mut m = self.mirror.lock();
        self.leaving.store(false, Ordering::Release);
        if let (true, Ok(next)) = (durable, m.on(MirrorEvent::Detached)) {
            *m = next;
            self.wait.store(next.writes_wait(), Ordering::Release);
        }
    }

    /// A session begins.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the owner is about to go on alone; `EINVAL` when there is one already.
    pub(crate) fn connected(&self, trusted: bool) -> Result<Mirror> {
        let mut m = self.mirror.lock();
        if self.leaving.load(Ordering::Acquire) {
            return Err(EAGAIN);
        }
        let next = m
            .on(MirrorEvent::Connected { trusted })
            .map_err(|_| EINVAL)?;
        *m = next;
        self.wait.store(next.writes_wait(), Ordering::Release);
        Ok(next)
    }

    /// Begins another reign.
    pub(crate) fn set_reign(&self, reign: Generation) {
        self.reign.store(reign.0, Ordering::Release);
    }

    /// Whether a write has to be at the partner before it goes on.
    #[inline]
    pub(crate) fn writes_wait(&self) -> bool {
        self.wait.load(Ordering::Acquire)
    }

    /// What the partner's copy counts for.
    pub(crate) fn mirror(&self) -> Mirror {
        *self.mirror.lock()
    }

    /// Sets the state with which the owner begins.
    pub(crate) fn start_mirror(&self, state: Mirror) {
        let mut m = self.mirror.lock();
        *m = state;
        self.wait.store(state.writes_wait(), Ordering::Release);
    }

    /// Something happened to the partner's copy.
    pub(crate) fn on_mirror(&self, event: MirrorEvent) -> core::result::Result<Mirror, Illegal> {
        let mut m = self.mirror.lock();
        let next = m.on(event)?;
        *m = next;
        self.wait.store(next.writes_wait(), Ordering::Release);
        Ok(next)
    }

    /// Waits until every append that began before has been published: what `wait` said to it then is
    /// settled, and heads read afterwards cover it.
    pub(crate) fn settle_appends(&self) {
        for l in self.lanes.iter() {
            drop(l.append.lock());
        }
    }

    /// The lane with this number.
    #[inline]
    pub(crate) fn lane(&self, lane: u16) -> Option<&LockedLane> {
        self.lanes.get(usize::from(lane)).map(|l| &**l)
    }

    /// The slot of a record.
    #[inline]
    pub(crate) fn slot(&self, at: Position) -> Option<&Slot<HostSlot>> {
        self.lane(at.lane)?.lane.slot(at.lane_seq)
    }

    /// A record's data as it stands in the log.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it lies outside the log, which the geometry rules out.
    #[inline]
    pub(crate) fn data<'a>(
        &self,
        log: &'a Pmem,
        lane: u16,
        data_pos: u64,
        bytes: u32,
    ) -> Result<PmemSpan<'a>> {
        log.span(
            self.geometry.data_offset(lane, data_pos) as usize,
            bytes as usize,
        )
    }

    /// The header of the record that goes to a place. The caller has that under the lane's lock.
    pub(crate) fn header(
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
    pub(crate) fn used(&self) -> (u64, u64) {
        self.lanes.iter().fold((0, 0), |(r, b), l| {
            (r + l.lane.used_records(), b + l.lane.used_bytes())
        })
    }

    /// Bytes of data of the records behind a sequence.
    pub(crate) fn bytes_behind(&self, seq: Seq) -> u64 {
        self.lanes.iter().fold(0, |sum, l| {
            let head = l.lane.head();
            // Sequences rise along a lane.
            let (mut low, mut high) = (l.lane.tail(), head);
            while low < high {
                let mid = low.midpoint(high);
                if l.lane.seq_at(mid).is_some_and(|s| s <= seq) {
                    low = mid.saturating_add(1);
                } else {
                    high = mid;
                }
            }
            let record = |at: Option<u64>| at.and_then(|p| l.lane.record(p));
            match (record(Some(low)), record(head.checked_sub(1))) {
                (Some(first), Some(last)) if low < head => sum.saturating_add(
                    last.data_pos
                        .saturating_add(u64::from(last.data_bytes()))
                        .saturating_sub(first.data_pos),
                ),
                _ => sum,
            }
        })
    }

    /// Draws the consequences of the newest mark if it is durable wherever it has to be: frees space.
    /// Answers the mark if that happened now.
    pub(crate) fn confirm_mark(&self, set: &Set) -> Option<Mark> {
        let mut marks = self.marks.lock();
        if marks.confirmed || (self.mirror().marks_wait() && marks.partner_has < marks.mark.counter)
        {
            return None;
        }
        marks.confirmed = true;
        for l in self.lanes.iter() {
            let tail = marks.mark.tail(l.lane.index());
            self.retire(set, &l.lane, tail.lane_seq);
            l.lane.free_to(&tail);
        }
        Some(marks.mark)
    }

    /// Says of each record of a lane in front of `tail` that it retires.
    fn retire(&self, set: &Set, lane: &Lane<HostSlot, KVVec<Slot<HostSlot>>>, tail: u64) {
        let first = lane.tail();
        if first >= tail {
            return;
        }
        let now = set.latency.now();
        for lane_seq in first..tail {
            let at = Position {
                lane: lane.index(),
                lane_seq,
            };
            if let Some(slot) = lane.slot(lane_seq) {
                set.retired(self, at, slot, now);
            }
        }
    }

    /// Makes a new mark durable here and tells the sender.
    ///
    /// # Errors
    ///
    /// `EIO` when the log cannot be written.
    pub(crate) fn put_mark(&self, set: &Set, mark: Mark) -> Result {
        let mut marks = self.marks.lock();
        set.write_mark(self.key, &mark)?;
        marks.mark = mark;
        marks.confirmed = false;
        drop(marks);
        set.send.signal();
        Ok(())
    }
}

#[inline(never)]
fn new_marks() -> Result<Pin<KBox<Mutex<Marks>>>> {
    KBox::pin_init(
        new_mutex!(Marks {
            mark: Mark::first(Generation(0), 0),
            confirmed: true,
            partner_has: 0
        }),
        GFP_KERNEL,
    )
}

fn tails(mark: &Mark) -> [u64; MAX_LANES] {
    let mut at = [0; MAX_LANES];
    for (a, t) in at.iter_mut().zip(&mark.tails) {
        *a = t.lane_seq;
    }
    at
}

#[inline(never)]
fn new_lane(index: u16, geometry: Geometry) -> Result<Pin<KBox<LockedLane>>> {
    let n = geometry.lane_records() as usize;
    // Without memory the set is refused, and told why: nobody needs the allocator's own backtrace.
    let mut slots = KVVec::with_capacity(n, GFP_KERNEL | __GFP_NOWARN)?;
    for _ in 0..n {
        slots.push(Slot::default(), GFP_KERNEL)?;
    }
    let lane = Lane::new(index, geometry, slots, Tail::default()).ok_or(EINVAL)?;
    KBox::pin_init(
        pin_init!(LockedLane {
            lane,
            append <- new_spinlock!(Cursor::default()),
        }),
        GFP_KERNEL,
    )
}

impl Lanes for Journal {
    fn lanes(&self) -> u16 {
        self.geometry.lanes()
    }

    #[inline]
    fn seq_at(&self, lane: u16, lane_seq: u64) -> Option<Seq> {
        self.lane(lane)?.lane.seq_at(lane_seq)
    }
}

impl ShipView for Journal {
    fn record(&self, at: Position) -> Option<Record> {
        self.lane(at.lane)?.lane.record(at.lane_seq)
    }
}
