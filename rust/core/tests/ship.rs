// SPDX-License-Identifier: GPL-2.0

//! Shipping against a remote with a volatile cache: whatever fails and whoever dies, the remote
//! always holds the effect of a downward-closed set of writes, and in the end of all of them.
//!
//! The oracle is naive: of each write it remembers which others had been acknowledged when it was
//! submitted. From what stands on the remote it collects the writes that must have been applied,
//! applies them in order to an empty disk, and wants to see the same disk.

mod common;

use common::{geometry, journal::Journal, key, seeds, Rng};
use core_crate::{
    format::{Header, Mark},
    lane::stage,
    limits::SHIP_WINDOW,
    merge::Position,
    retire::{AckTracker, Due, Gain, Retirer},
    ship::{Blocked, Entry, Ship, ShipView, Shipper},
    units::{Extent, Generation, Op, Seq},
};
use std::collections::BTreeMap;

const SECTORS: usize = 24;

type Disk = [u64; 2 * SECTORS];

fn apply(disk: &mut Disk, e: &Extent, seq: u64) {
    for s in e.sector..e.end() {
        disk[usize::from(e.member) * SECTORS + s as usize] = seq;
    }
}

struct Write {
    header: Header,
    /// How many of `World::told` had been acknowledged when it was submitted.
    before: usize,
    local: bool,
    told: bool,
    cancelled: bool,
    lost: bool,
}

impl Write {
    fn counts(&self) -> bool {
        !self.cancelled && !self.lost && self.header.op != Op::Cancel
    }
}

struct World {
    j: Journal,
    shipper: Shipper<Vec<Entry>>,
    retirer: Retirer,
    acks: AckTracker,
    confirm: bool,
    writes: BTreeMap<u64, Write>,
    /// What was acknowledged, in the order in which it was.
    told: Vec<u64>,
    // The remote.
    durable: Disk,
    cache: Vec<(u64, Extent)>,
    flight: Vec<Ship>,
    /// A flush is under way that covers so many of the cache.
    flush: Option<usize>,
    volatile: bool,
}

fn shipper(j: &Journal) -> Shipper<Vec<Entry>> {
    let window = (0..SHIP_WINDOW).map(|_| Entry::default()).collect();
    Shipper::new(j.unshipped(), j.mark.shipped, window)
}

impl World {
    fn new(rng: &mut Rng) -> World {
        let j = Journal::new(
            key(),
            geometry(),
            Generation(1),
            Mark::first(Generation(1), 2),
        );
        World {
            shipper: shipper(&j),
            retirer: j.retirer(),
            acks: j.acks(),
            j,
            confirm: false,
            writes: BTreeMap::new(),
            told: vec![],
            durable: [0; 2 * SECTORS],
            cache: vec![],
            flight: vec![],
            flush: None,
            volatile: !rng.one_in(4),
        }
    }

    fn seen(&self) -> Disk {
        let mut disk = self.durable;
        for (seq, e) in &self.cache {
            apply(&mut disk, e, *seq);
        }
        disk
    }

    fn check(&self, disk: &Disk) {
        let mut set: Vec<u64> = disk.iter().copied().filter(|s| *s != 0).collect();
        // What had been acknowledged before the one that came last contains what had been before
        // the others.
        let before = set.iter().map(|seq| {
            let w = &self.writes[seq];
            assert!(w.counts(), "{seq} must never reach the remote");
            w.before
        });
        let before = before.max().unwrap_or(0);
        let needed = |s: &&u64| self.writes.get(s).is_some_and(Write::counts);
        set.extend(self.told[..before].iter().filter(needed));
        set.sort_unstable();
        set.dedup();
        let mut want = [0; 2 * SECTORS];
        for seq in &set {
            apply(&mut want, &self.writes[seq].header.extent, *seq);
        }
        assert_eq!(*disk, want, "{set:?}");
    }

    /// What the remote holds, and what it would hold if it lost power now.
    fn check_all(&self, rng: &mut Rng) {
        self.check(&self.seen());
        let mut disk = self.durable;
        for (seq, e) in &self.cache {
            if rng.one_in(2) {
                apply(&mut disk, e, *seq);
            }
        }
        self.check(&disk);
    }

    fn land(&mut self, ship: &Ship) {
        let seq = ship.record.seq.0;
        if self.volatile {
            self.cache.push((seq, ship.record.extent));
        } else {
            apply(&mut self.durable, &ship.record.extent, seq);
        }
    }

    /// Local order is sequence order: a write waits for older ones that overlap it.
    fn submit(&mut self, rng: &mut Rng) {
        let sector = rng.below(SECTORS as u64 - 3);
        let extent = Extent {
            member: rng.below(2) as u16,
            sector,
            sectors: 1 + rng.below(4) as u32,
        };
        if self
            .writes
            .values()
            .any(|w| !w.told && !w.lost && w.header.extent.overlaps(&extent))
        {
            return;
        }
        let op = if rng.one_in(5) { Op::Zero } else { Op::Write };
        self.append(rng, op, extent, Seq::ZERO);
    }

    fn append(&mut self, rng: &mut Rng, op: Op, extent: Extent, cancels: Seq) -> Option<u64> {
        let lane = rng.below(2) as u16;
        let data = vec![
            0;
            if op.has_data() {
                extent.sectors as usize * 512
            } else {
                0
            }
        ];
        let h = self.j.accept(lane, op, extent, cancels, &data).ok()?;
        self.j.publish(&h, 0);
        let cancel = op == Op::Cancel;
        if cancel {
            self.j.reach(lane, h.lane_seq, stage::LOCAL | stage::ACKED);
        }
        let w = Write {
            header: h,
            before: self.told.len(),
            local: cancel,
            told: cancel,
            cancelled: false,
            lost: false,
        };
        self.writes.insert(h.seq.0, w);
        Some(h.seq.0)
    }

    fn some(&self, rng: &mut Rng, which: impl Fn(&Write) -> bool) -> Option<u64> {
        let all: Vec<u64> = self
            .writes
            .values()
            .filter(|w| !w.lost && w.header.op != Op::Cancel && which(w))
            .map(|w| w.header.seq.0)
            .collect();
        (!all.is_empty()).then(|| *rng.pick(&all))
    }

    fn reach(&mut self, seq: u64, bits: u32) {
        let h = self.writes[&seq].header;
        self.j.reach(h.lane, h.lane_seq, bits);
    }

    fn local(&mut self, rng: &mut Rng) {
        if let Some(seq) = self.some(rng, |w| !w.local) {
            if rng.one_in(12) && self.cancel(rng, seq) {
                return;
            }
            self.writes.get_mut(&seq).unwrap().local = true;
            self.reach(seq, stage::LOCAL);
        }
    }

    fn cancel(&mut self, rng: &mut Rng, seq: u64) -> bool {
        let none = Extent::default();
        if self.append(rng, Op::Cancel, none, Seq(seq)).is_none() {
            return false;
        }
        let w = self.writes.get_mut(&seq).unwrap();
        w.cancelled = true;
        w.local = true;
        w.told = true;
        self.told.push(seq);
        self.j.order.acknowledge(Seq(seq));
        self.reach(seq, stage::CANCELLED | stage::LOCAL | stage::ACKED);
        true
    }

    fn tell(&mut self, rng: &mut Rng) {
        if let Some(seq) = self.some(rng, |w| w.local && !w.told) {
            self.j.order.acknowledge(Seq(seq));
            self.reach(seq, stage::ACKED);
            self.told.push(seq);
            self.writes.get_mut(&seq).unwrap().told = true;
        }
    }

    fn issue(&mut self) -> Option<Blocked> {
        match self.shipper.next(&self.j) {
            Ok(ship) => {
                let w = &self.writes[&ship.record.seq.0];
                assert_eq!(ship.record.extent, w.header.extent);
                assert_eq!(ship.token.0, ship.record.seq.0);
                assert!(w.local && w.counts());
                self.flight.push(ship);
                assert_eq!(self.shipper.in_flight(), self.flight.len());
                None
            }
            Err(b) => Some(b),
        }
    }

    fn answer(&mut self, rng: &mut Rng, errors: u64) {
        if self.flight.is_empty() {
            return;
        }
        let ship = self
            .flight
            .swap_remove(rng.below(self.flight.len() as u64) as usize);
        let ok = errors == 0 || !rng.one_in(errors);
        // A write that failed may have happened.
        if ok || rng.one_in(2) {
            self.land(&ship);
        }
        self.shipper.completed(ship.token, ok);
    }

    fn flush(&mut self, rng: &mut Rng, errors: u64) {
        match self.flush.take() {
            None => {
                if self.shipper.begin_flush() {
                    self.flush = Some(self.cache.len());
                }
            }
            Some(n) => {
                let ok = errors == 0 || !rng.one_in(errors);
                let mut i = 0;
                self.cache.retain(|(seq, e)| {
                    i += 1;
                    // What came later, or at all when it failed, may have become durable as well;
                    // a failed flush may also have thrown away what it was to write.
                    let durable = if ok && i <= n {
                        true
                    } else {
                        i <= n && i % 2 == 0
                    };
                    if durable {
                        apply(&mut self.durable, e, *seq);
                    }
                    !durable && (ok || i > n)
                });
                self.shipper.flushed(ok);
            }
        }
    }

    /// The remote loses power.
    fn remote_dies(&mut self, rng: &mut Rng) {
        for ship in std::mem::take(&mut self.flight) {
            if rng.one_in(2) {
                self.land(&ship);
            }
            self.shipper.completed(ship.token, false);
        }
        if self.flush.take().is_some() {
            self.shipper.flushed(false);
        }
        for (seq, e) in std::mem::take(&mut self.cache) {
            if rng.one_in(2) {
                apply(&mut self.durable, &e, seq);
            }
        }
        self.shipper.reconnect();
    }

    /// Makes a mark durable, or draws on the one that is.
    fn cut(&mut self) {
        if std::mem::take(&mut self.confirm) {
            self.shipper.confirm(self.j.mark.shipped);
            assert_eq!(self.shipper.confirmed(), self.j.mark.shipped);
            self.j.free();
            return;
        }
        let acked = self.acks.advance(&self.j);
        self.j.order.acknowledged_all(acked);
        let durable = self.shipper.durable();
        assert!(durable >= self.j.mark.shipped);
        self.j.remote_to(durable);
        let mut mark = self.j.mark;
        mark.counter += 1;
        mark.shipped = durable;
        mark.acked = mark.acked.max(self.j.order.acked());
        let low = self.retirer.advance(&self.j, durable);
        self.retirer.cut(&mut mark, low);
        self.j.mark = mark;
        self.confirm = true;
    }

    /// The owner dies; somebody goes on from the log. What no mirror had is lost.
    fn owner_dies(&mut self, rng: &mut Rng) {
        for ship in std::mem::take(&mut self.flight) {
            if rng.one_in(2) {
                self.land(&ship);
            }
        }
        self.flush = None;
        let mark = self.j.mark;
        let mut j = Journal::new(key(), geometry(), Generation(self.j.reign.0 + 1), mark);
        let mut last = mark.retired;
        for lane in 0..2u16 {
            let mut kept: Vec<Header> = self
                .writes
                .values()
                .filter(|w| w.header.lane == lane && !w.lost && w.header.seq > mark.retired)
                .map(|w| w.header)
                .collect();
            while let Some(h) = kept.last() {
                if self.writes[&h.seq.0].local || rng.one_in(3) {
                    break;
                }
                self.writes.get_mut(&h.seq.0).unwrap().lost = true;
                kept.pop();
            }
            for h in kept {
                // Replayed locally; the host may have read it by now.
                j.publish(&h, stage::LOCAL | stage::ACKED);
                let w = self.writes.get_mut(&h.seq.0).unwrap();
                if !w.told {
                    self.told.push(h.seq.0);
                }
                (w.local, w.told) = (true, true);
                if w.cancelled {
                    j.reach(lane, h.lane_seq, stage::CANCELLED);
                }
                last = last.max(h.seq);
            }
        }
        // A sequence that was lost at the very end is given out again.
        self.writes.retain(|_, w| !(w.lost && w.header.seq > last));
        j.recovered = last;
        j.order = core_crate::order::Order::starting_after(last);
        self.shipper = shipper(&j);
        self.retirer = j.retirer();
        self.acks = j.acks();
        self.confirm = false;
        self.j = j;
    }

    fn finish(&mut self, rng: &mut Rng) {
        for _ in 0..3000 {
            self.local(rng);
            self.tell(rng);
            let blocked = self.issue();
            self.check_all(rng);
            if self.j.mark.retired == self.j.order.last() && !self.confirm {
                break;
            }
            if blocked.is_some() {
                self.answer(rng, 0);
                self.flush(rng, 0);
                self.cut();
            }
        }
        assert_eq!(self.shipper.next(&self.j), Err(Blocked::Empty));
        let last = self.j.order.last();
        assert_eq!(self.shipper.confirmed(), last);
        assert_eq!(self.j.mark.retired, last);
        assert!(!self.shipper.has_failed());
        assert!(self.j.lanes.iter().all(|l| l.used_records() == 0));
        let mut local = [0; 2 * SECTORS];
        for (seq, w) in self.writes.iter().filter(|(_, w)| w.counts()) {
            apply(&mut local, &w.header.extent, *seq);
        }
        assert_eq!(self.seen(), local, "local and remote differ");
    }
}

fn run(rng: &mut Rng, steps: u64, errors: u64, remote_deaths: u64, owner_deaths: u64) {
    let mut w = World::new(rng);
    for _ in 0..steps {
        match rng.below(20) {
            0..=4 => w.submit(rng),
            5..=8 => w.local(rng),
            9..=11 => w.tell(rng),
            12..=14 => {
                let _ = w.issue();
            }
            15..=16 => w.answer(rng, errors),
            17 => w.flush(rng, errors),
            18 => w.cut(),
            _ => {
                if remote_deaths > 0 && rng.one_in(remote_deaths) {
                    w.remote_dies(rng);
                } else if owner_deaths > 0 && rng.one_in(owner_deaths) {
                    w.owner_dies(rng);
                }
            }
        }
        w.check_all(rng);
    }
    w.finish(rng);
}

#[test]
fn all_goes_well() {
    seeds(100, |rng| run(rng, 1000, 0, 0, 0));
}

#[test]
fn the_remote_fails_now_and_then() {
    seeds(300, |rng| run(rng, 1000, 6, 4, 0));
}

#[test]
fn owners_die_and_replay() {
    seeds(400, |rng| run(rng, 1000, 8, 6, 6));
}

#[test]
fn owners_die_during_the_replay() {
    seeds(300, |rng| run(rng, 600, 0, 0, 1));
}

/// A log full of independent writes is in flight up to the window's size.
#[test]
fn independent_writes_are_in_flight_together() {
    let g = core_crate::layout::Geometry::new(2, 128, 512 * 1024).unwrap();
    let mut j = Journal::new(key(), g, Generation(1), Mark::first(Generation(1), 2));
    for i in 0..SHIP_WINDOW as u64 + 20 {
        let e = Extent {
            member: 0,
            sector: i * 8,
            sectors: 1,
        };
        let h = j.accept(i as u16 % 2, Op::Write, e, Seq::ZERO, &[0; 512]);
        j.publish(&h.unwrap(), stage::LOCAL);
    }
    let mut s = shipper(&j);
    for i in 1..=SHIP_WINDOW as u64 {
        assert_eq!(s.next(&j).unwrap().token.0, i);
    }
    assert_eq!(s.next(&j), Err(Blocked::Window));
    assert!(!s.begin_flush());
    assert_eq!(s.durable(), Seq::ZERO);
    // A dependent one waits for the mark, not only for the remote.
    for i in 1..=SHIP_WINDOW as u64 {
        s.completed(core_crate::ship::Token(i), true);
    }
    assert!(!s.wants_mark(), "nothing is durable yet");
    assert!(s.begin_flush());
    s.flushed(true);
    assert_eq!(s.durable(), Seq(SHIP_WINDOW as u64));
    assert!(s.wants_mark());
    assert_eq!(s.next(&j), Err(Blocked::Window));
    s.confirm(Seq(SHIP_WINDOW as u64 + 1));
    assert_eq!(s.confirmed(), Seq::ZERO, "more than is durable");
    s.confirm(Seq(SHIP_WINDOW as u64));
    assert!(!s.wants_mark());
    assert!(s.next(&j).is_ok());
}

/// One mark serves half a window of records that come one by one.
#[test]
fn a_mark_is_wanted_for_many_records() {
    let g = core_crate::layout::Geometry::new(2, 128, 512 * 1024).unwrap();
    let mut j = Journal::new(key(), g, Generation(1), Mark::first(Generation(1), 2));
    let mut s = shipper(&j);
    for i in 0..SHIP_WINDOW as u64 / 2 {
        assert!(!s.wants_mark(), "{i} records are not worth one");
        let e = Extent {
            member: 0,
            sector: i * 8,
            sectors: 1,
        };
        let h = j.accept(0, Op::Write, e, Seq::ZERO, &[0; 512]).unwrap();
        j.publish(&h, stage::LOCAL);
        j.order.acknowledge(h.seq);
        let ship = s.next(&j).unwrap();
        s.completed(ship.token, true);
        assert!(s.begin_flush());
        s.flushed(true);
        assert_eq!(s.durable(), h.seq);
    }
    assert!(s.wants_mark());
}

/// What a mark is worth: nothing for one record of a busy host, and everything in the end.
#[test]
fn a_mark_is_due_when_it_brings_something() {
    let few = Gain {
        shipped: 3,
        retired: 3,
        ..Gain::default()
    };
    assert_eq!(few.due(), Due::Nothing);
    let due = |f: fn(&mut Gain)| {
        let mut gain = few;
        f(&mut gain);
        gain.due()
    };
    assert_eq!(due(|g| g.wanted = true), Due::Shipped);
    assert_eq!(due(|g| g.waited_for = true), Due::Retired);
    assert_eq!(due(|g| g.idle = true), Due::Retired);
    assert_eq!(due(|g| g.tight = true), Due::Nothing);
    assert_eq!(
        due(|g| (g.tight, g.retired) = (true, SHIP_WINDOW as u64)),
        Due::Retired
    );
    assert_eq!(
        due(|g| g.retired = 4096),
        Due::Retired,
        "a takeover would replay them, and the log may be large"
    );
    // Nothing to say is never said.
    assert_eq!(
        due(|g| (g.shipped, g.retired, g.wanted, g.idle) = (0, 0, true, true)),
        Due::Nothing
    );
    assert_eq!(
        due(|g| (g.retired, g.idle) = (0, true)),
        Due::Shipped,
        "a record that is not retired may have been shipped"
    );
}

/// Why a record that was not written locally holds everything behind it.
#[test]
fn blocked_says_why() {
    let mut j = Journal::new(
        key(),
        geometry(),
        Generation(1),
        Mark::first(Generation(1), 2),
    );
    let mut s = shipper(&j);
    assert_eq!(s.next(&j), Err(Blocked::Empty));
    let e = Extent {
        member: 0,
        sector: 0,
        sectors: 2,
    };
    let first = j.accept(0, Op::Write, e, Seq::ZERO, &[0; 1024]).unwrap();
    j.publish(&first, 0);
    assert_eq!(s.next(&j), Err(Blocked::Local));
    j.reach(0, 0, stage::LOCAL);
    j.order.acknowledge(first.seq);
    let ship = s.next(&j).unwrap();
    assert_eq!(
        ship.at,
        Position {
            lane: 0,
            lane_seq: 0
        }
    );
    assert_eq!(j.record(ship.at), Some(ship.record));
    let apart = Extent {
        member: 1,
        sector: 0,
        sectors: 2,
    };
    let second = j.accept(1, Op::Zero, apart, Seq::ZERO, &[]).unwrap();
    assert_eq!(second.after, first.seq);
    j.publish(&second, stage::LOCAL);
    s.completed(ship.token, true);
    assert_eq!(s.next(&j), Err(Blocked::Order));
    assert!(s.begin_flush());
    s.flushed(true);
    assert!(s.next(&j).is_ok(), "durable is enough for what follows");
    let again = j.accept(0, Op::Zero, e, Seq::ZERO, &[]).unwrap();
    j.publish(&again, stage::LOCAL);
    assert_eq!(
        s.next(&j),
        Err(Blocked::Order),
        "what is overwritten must be durably known to be durable"
    );
    assert!(s.wants_mark(), "nothing else can let it go on");
    s.confirm(first.seq);
    assert!(s.next(&j).is_ok());
}
