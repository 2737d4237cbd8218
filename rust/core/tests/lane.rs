// SPDX-License-Identifier: GPL-2.0

//! Lanes, order, merge and retirement, against a list of records.

mod common;

use common::{
    journal::{slots, Journal},
    key, seeds, Rng,
};
use core_crate::{
    format::{Mark, Tail},
    lane::{stage, Full, Lane, Slot},
    layout::Geometry,
    limits::{CANCEL_RESERVE, MAX_FRAME_RECORDS, MAX_RECORD_BYTES},
    merge::{Lanes, Merge, Position},
    order::Order,
    ship::ShipView,
    units::{Extent, Generation, Op, Seq},
};

#[derive(Clone, Debug)]
struct Rec {
    seq: u64,
    lane: u16,
    lane_seq: u64,
    data_pos: u64,
    bytes: u64,
    acked: bool,
}

struct World {
    j: Journal,
    /// Everything that is not freed, in sequence order.
    live: Vec<Rec>,
    /// Where each lane's freed data ends.
    freed: Vec<u64>,
    remote: u64,
    full: u64,
    given: u64,
}

impl World {
    fn extent(rng: &mut Rng, big: bool) -> Extent {
        Extent {
            member: rng.below(64) as u16,
            sector: rng.below(1 << 40),
            sectors: 1 + rng.below(if big { 512 } else { 8 }) as u32,
        }
    }

    fn append(&mut self, rng: &mut Rng, big: bool) {
        let lane = rng.below(u64::from(self.j.geometry.lanes())) as u16;
        let op = match rng.below(12) {
            0 => Op::Zero,
            1 if !self.live.is_empty() => Op::Cancel,
            _ => Op::Write,
        };
        let extent = if op == Op::Cancel {
            Extent::default()
        } else {
            Self::extent(rng, big)
        };
        let bytes = if op.has_data() {
            u64::from(extent.sectors) * 512
        } else {
            0
        };
        let cancels = if op == Op::Cancel {
            Seq(self.live[0].seq)
        } else {
            Seq::ZERO
        };
        let l = usize::from(lane);
        let g = self.j.geometry;
        // The naive opinion on whether there is room.
        let mine: Vec<&Rec> = self.live.iter().filter(|r| r.lane == lane).collect();
        let keep = if op == Op::Cancel { 0 } else { CANCEL_RESERVE };
        let from = mine
            .last()
            .map_or(self.freed[l].max(self.j.cursors[l].data_pos), |r| {
                r.data_pos + r.bytes
            });
        let wrap = g.lane_data() - from % g.lane_data();
        let at = if bytes <= wrap { from } else { from + wrap };
        let room = mine.len() as u64 + u64::from(keep) < u64::from(g.lane_records())
            && at + bytes - self.freed[l] <= g.lane_data();
        // Limits, also naively.
        let newest = self.newest_acked();
        match self
            .j
            .accept(lane, op, extent, cancels, &vec![0; bytes as usize])
        {
            Err(Full) => {
                self.full += 1;
                assert!(!room, "full, although there is room");
            }
            Ok(h) => {
                assert!(room, "no room, but a place");
                assert_eq!(h.seq.0, self.given + 1);
                assert_eq!(h.after.0, newest);
                assert!(h.acked <= h.after && h.after < h.seq);
                self.given += 1;
                // Neither the header nor the data lies on anything that is live.
                let r = Rec {
                    seq: h.seq.0,
                    lane,
                    lane_seq: h.lane_seq,
                    data_pos: h.data_pos,
                    bytes,
                    acked: false,
                };
                let head = g.header_offset(lane, h.lane_seq);
                let data = g.data_offset(lane, h.data_pos);
                for o in &mine {
                    assert_ne!(g.header_offset(lane, o.lane_seq), head);
                    let d = g.data_offset(lane, o.data_pos);
                    assert!(
                        bytes == 0 || o.bytes == 0 || data + bytes <= d || d + o.bytes <= data,
                        "{r:?} overwrites {o:?}"
                    );
                }
                // Written locally long before the host is told, or just then.
                let early = rng.one_in(2);
                self.j.publish(&h, if early { stage::LOCAL } else { 0 });
                self.live.push(r);
            }
        }
    }

    /// The frames in which a lane goes to the partner hold each record once, in order, header by header
    /// and data by data.
    fn check_runs(&self, lane: &Lane<(), Vec<Slot<()>>>) {
        let g = &self.j.geometry;
        let mine: Vec<&Rec> = self
            .live
            .iter()
            .filter(|r| r.lane == lane.index())
            .collect();
        let mut at = lane.tail();
        let mut left = &mine[..];
        while at < lane.head() {
            let run = lane.run(at, lane.head()).unwrap();
            let (these, rest) = left.split_at(usize::from(run.records));
            let (mut header, mut data) = (run.headers_at, run.data_at);
            for r in these {
                assert_eq!(g.header_offset(r.lane, r.lane_seq), header);
                header += 64;
                if r.bytes > 0 {
                    assert_eq!(g.data_offset(r.lane, r.data_pos), data);
                    data += r.bytes;
                }
            }
            assert!(run.data_bytes == 0 || data - run.data_at == u64::from(run.data_bytes));
            assert!(run.records <= MAX_FRAME_RECORDS && run.data_bytes <= MAX_RECORD_BYTES);
            assert_eq!(
                lane.run(at, at + 1).unwrap().records,
                1,
                "no more than asked for"
            );
            at += u64::from(run.records);
            left = rest;
        }
        assert!(left.is_empty());
        assert_eq!(lane.run(lane.head(), u64::MAX), None);
    }

    fn newest_acked(&self) -> u64 {
        // What is freed was acknowledged.
        let live = self.live.iter().filter(|r| r.acked).map(|r| r.seq).max();
        let freed = self.live.first().map_or(self.given, |r| r.seq - 1);
        live.unwrap_or(0).max(freed)
    }

    fn dense_acked(&self) -> u64 {
        let first = self.live.iter().find(|r| !r.acked);
        first.map_or(self.given, |r| r.seq - 1)
    }
}

fn run(rng: &mut Rng, g: Geometry, steps: u64, big: bool) -> (u64, u64) {
    let j = Journal::new(
        key(),
        g,
        Generation(1),
        Mark::first(Generation(1), g.lanes()),
    );
    let (mut retirer, mut acks) = (j.retirer(), j.acks());
    let mut shipped = j.merge();
    let mut w = World {
        j,
        live: vec![],
        freed: vec![0; usize::from(g.lanes())],
        remote: 0,
        full: 0,
        given: 0,
    };
    for _ in 0..steps {
        match rng.below(12) {
            0..=5 => w.append(rng, big),
            6..=8 => {
                let i = rng.below(w.live.len() as u64 + 1) as usize;
                if let Some(r) = w.live.get_mut(i).filter(|r| !r.acked) {
                    r.acked = true;
                    w.j.order.acknowledge(Seq(r.seq));
                    w.j.reach(r.lane, r.lane_seq, stage::LOCAL | stage::ACKED);
                }
            }
            9 => {
                let acked = acks.advance(&w.j);
                assert_eq!(acked.0, w.dense_acked());
                w.j.order.acknowledged_all(acked);
                assert_eq!(w.j.order.acked(), acked);
            }
            10 => {
                // The remote follows, in order, without a gap.
                for _ in 0..rng.below(20) {
                    match shipped.peek(&w.j) {
                        Some((seq, at)) => {
                            w.remote += 1;
                            assert_eq!(seq.0, w.remote);
                            let r = w.live.iter().find(|r| r.seq == seq.0).unwrap();
                            assert_eq!((at.lane, at.lane_seq), (r.lane, r.lane_seq));
                            w.j.reach(at.lane, at.lane_seq, stage::REMOTE);
                            shipped.advance(at);
                        }
                        None => assert_eq!(w.remote, w.given),
                    }
                }
            }
            _ => {
                let acked = acks.advance(&w.j);
                w.j.order.acknowledged_all(acked);
                let retired = retirer.advance(&w.j, Seq::MAX);
                assert_eq!(retired.0, w.dense_acked().min(w.remote));
                w.j.mark.retired = retired;
                for lane in 0..g.lanes() {
                    let tail = retirer.tail(lane, 0);
                    let gone = w
                        .live
                        .iter()
                        .filter(|r| r.lane == lane && r.seq <= retired.0);
                    if let Some(r) = gone.last() {
                        w.freed[usize::from(lane)] = r.data_pos + r.bytes;
                        assert_eq!(tail.lane_seq, r.lane_seq + 1);
                    }
                    assert_eq!(tail.data_pos, w.freed[usize::from(lane)]);
                    w.j.mark.tails[usize::from(lane)] = tail;
                }
                w.live.retain(|r| r.seq > retired.0);
                w.j.free();
            }
        }
        for lane in &w.j.lanes {
            let mine = w.live.iter().filter(|r| r.lane == lane.index());
            let used = mine.count();
            assert_eq!(lane.used_records(), used as u64);
            let cursor = &w.j.cursors[usize::from(lane.index())];
            for most in 0..50 {
                assert_eq!(lane.is_below(cursor, most), used < most as usize);
            }
            assert!(lane.is_below(cursor, u32::MAX));
            assert!(lane.used_bytes() <= g.lane_data());
            w.check_runs(lane);
        }
    }
    (w.given, w.full)
}

#[test]
fn against_a_list() {
    seeds(60, |rng| {
        let g = Geometry::new(3, 16, 512 * 1024).unwrap();
        let (given, full) = run(rng, g, 3000, false);
        assert!(given > 100 && full > 10, "{given} {full}");
    });
}

#[test]
fn large_records_wrap() {
    seeds(20, |rng| {
        let g = Geometry::new(2, 40, 520 * 1024).unwrap();
        let (given, full) = run(rng, g, 2000, true);
        assert!(given > 100 && full > 10, "{given} {full}");
    });
}

/// What the host writes one after the other goes to the partner in one frame.
#[test]
fn neighbours_share_a_frame() {
    let g = Geometry::new(1, 128, 1024 * 1024).unwrap();
    let mut j = Journal::new(key(), g, Generation(1), Mark::first(Generation(1), 1));
    let e = Extent {
        member: 0,
        sector: 0,
        sectors: 8,
    };
    for _ in 0..100 {
        let h = j.accept(0, Op::Write, e, Seq::ZERO, &[0; 4096]).unwrap();
        j.publish(&h, 0);
    }
    // As much data as one record may have.
    assert_eq!(j.lanes[0].run(0, 100).unwrap().records, 64);
    assert_eq!(j.lanes[0].run(64, 100).unwrap().records, 36);
    assert_eq!(j.lanes[0].run(0, 16).unwrap().data_bytes, 16 * 4096);
}

/// Even if every write of a full log fails, each can be cancelled, oldest first.
#[test]
fn cancels_have_room() {
    let g = Geometry::new(1, 16, 512 * 1024).unwrap();
    let mut j = Journal::new(key(), g, Generation(1), Mark::first(Generation(1), 1));
    let mut retirer = j.retirer();
    let e = Extent {
        member: 0,
        sector: 0,
        sectors: 1,
    };
    let mut open = vec![];
    while let Ok(h) = j.accept(0, Op::Write, e, Seq::ZERO, &[0; 512]) {
        j.publish(&h, 0);
        open.push(h);
    }
    assert_eq!(open.len(), 16 - CANCEL_RESERVE as usize);
    for failed in &open {
        let cancel = j
            .accept(0, Op::Cancel, Extent::default(), failed.seq, &[])
            .expect("room for a cancel");
        j.publish(&cancel, stage::LOCAL | stage::ACKED);
        j.reach(
            0,
            failed.lane_seq,
            stage::CANCELLED | stage::LOCAL | stage::ACKED,
        );
        let r = j.record(Position {
            lane: 0,
            lane_seq: cancel.lane_seq,
        });
        assert_eq!(r.unwrap().extent.sector, failed.seq.0);
        j.remote_to(j.order.last());
        j.mark.retired = retirer.advance(&j, Seq::MAX);
        j.mark.tails[0] = retirer.tail(0, 0);
        j.free();
        let h = j.accept(0, Op::Write, e, Seq::ZERO, &[0; 512]);
        assert!(h.is_err() || j.mark.retired >= failed.seq);
    }
    assert_eq!(j.lanes[0].used_records(), 0);
}

/// Slots that an earlier shipper has seen through, as far as the marks of the next one have come.
#[test]
fn nothing_retires_ahead_of_the_mark() {
    let g = Geometry::new(1, 16, 512 * 1024).unwrap();
    let mut j = Journal::new(key(), g, Generation(1), Mark::first(Generation(1), 1));
    let mut retirer = j.retirer();
    let e = Extent {
        member: 0,
        sector: 0,
        sectors: 1,
    };
    for _ in 0..3 {
        let h = j.accept(0, Op::Write, e, Seq::ZERO, &[0; 512]).unwrap();
        j.publish(&h, stage::LOCAL | stage::ACKED);
    }
    j.remote_to(j.order.last());
    for shipped in [0, 2, 2, 3] {
        assert_eq!(retirer.advance(&j, Seq(shipped)), Seq(shipped));
        let tail = retirer.tail(0, 0);
        assert_eq!((tail.lane_seq, tail.data_pos), (shipped, shipped * 512));
    }
}

#[test]
fn a_lane_needs_its_slots() {
    let g = Geometry::new(1, 16, 512 * 1024).unwrap();
    let mut few = slots(&g);
    few.pop();
    assert!(Lane::<(), _>::new(0, g, few, Tail::default()).is_none());
    let lane = Lane::<(), _>::new(0, g, slots(&g), Tail::default()).unwrap();
    assert_eq!(lane.seq_at(0), None);
    assert_eq!(lane.record(u64::MAX), None);
    assert!(lane.slot(u64::MAX).is_some());
    // A tail beyond what is published frees nothing.
    lane.free_to(&Tail {
        lane_seq: 1,
        data_pos: 0,
        floor: 0,
    });
    assert_eq!(lane.tail(), 0);
}

#[test]
fn order_keeps_both_limits() {
    let o = Order::starting_after(Seq(7));
    let a = o.accept();
    assert_eq!((a.seq, a.after, a.acked), (Seq(8), Seq(7), Seq(7)));
    let b = o.accept();
    o.acknowledge(b.seq);
    let c = o.accept();
    // B was acknowledged, A was not: C depends on B, but A may still turn out never to have been.
    assert_eq!((c.seq, c.after, c.acked), (Seq(10), Seq(9), Seq(7)));
    o.acknowledge(a.seq);
    o.acknowledged_all(b.seq);
    let d = o.accept();
    assert_eq!((d.after, d.acked), (Seq(9), Seq(9)));
    // A limit never goes back, and "all" is never beyond the newest.
    o.acknowledge(Seq(3));
    o.acknowledged_all(Seq(100));
    let e = o.accept();
    assert_eq!((e.after, e.acked), (Seq(9), Seq(9)));
    o.restart_after(Seq(50));
    assert_eq!(o.accept().seq, Seq(51));
    // The end of all numbers is no panic.
    let end = Order::starting_after(Seq(u64::MAX - 1));
    assert_eq!(end.accept().seq, Seq::MAX);
    end.accept();
}

/// Many threads take sequences: dense, once each, and limits below what they limit.
#[test]
fn order_with_threads() {
    let o = Order::starting_after(Seq::ZERO);
    let mut all: Vec<u64> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                s.spawn(|| {
                    let mut mine = vec![];
                    for _ in 0..20_000 {
                        let t = o.accept();
                        assert!(t.acked <= t.after && t.after < t.seq);
                        if t.seq.0 % 3 == 0 {
                            o.acknowledge(t.seq);
                        }
                        mine.push(t.seq.0);
                    }
                    mine
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    all.sort_unstable();
    assert!(all.iter().copied().eq(1..=80_000));
}

struct Lists(Vec<Vec<u64>>);

impl Lanes for Lists {
    fn lanes(&self) -> u16 {
        self.0.len() as u16
    }

    fn seq_at(&self, lane: u16, lane_seq: u64) -> Option<Seq> {
        let l = &self.0[usize::from(lane)];
        l.get(lane_seq as usize).map(|s| Seq(*s))
    }
}

/// What recovery found has holes; what comes behind it has none, and is waited for.
#[test]
fn sparse_then_dense() {
    seeds(2000, |rng| {
        let lanes = 1 + rng.below(5) as usize;
        let mut lists = vec![vec![]; lanes];
        let mut want = vec![];
        let last = rng.below(30);
        for seq in 1..=last {
            if rng.one_in(2) {
                lists[rng.below(lanes as u64) as usize].push(seq);
                want.push(seq);
            }
        }
        let mut merge = Merge::new(Seq(1), Seq(last), [0; 32]);
        let mut view = Lists(lists);
        let mut got = vec![];
        // New records are published out of order, each lane by itself in order.
        let total = last + 30;
        let mut pending: Vec<(u64, usize)> = (last + 1..=total)
            .map(|s| (s, rng.below(lanes as u64) as usize))
            .collect();
        want.extend(last + 1..=total);
        while got.len() < want.len() {
            while let Some((seq, at)) = merge.peek(&view) {
                assert_eq!(view.seq_at(at.lane, at.lane_seq), Some(seq));
                assert_eq!(merge.next(), seq);
                got.push(seq.0);
                merge.advance(at);
            }
            if !pending.is_empty() {
                let lane = rng.pick(&pending).1;
                let i = pending.iter().position(|p| p.1 == lane).unwrap();
                let (seq, lane) = pending.remove(i);
                view.0[lane].push(seq);
            }
        }
        assert_eq!(got, want);
        assert_eq!(merge.peek(&view), None);
        assert_eq!(merge.next(), Seq(total + 1));
        assert_eq!(merge.at(40), u64::MAX);
    });
}
