// SPDX-License-Identifier: GPL-2.0

//! Recovery: whatever a crash leaves is read as what it is, and damage is never read as a crash.

mod common;

use common::{
    crc,
    journal::{write_mark, write_super, Journal},
    key,
    pmem::{Crash, Pmem},
    seeds, superblock, Rng, UUID,
};
use core_crate::{
    format::{Header, Key, Mark, Super, Tail},
    lane::stage,
    layout::{mark_offset, superblock_offset, Geometry, LANES_OFFSET},
    limits::MAX_COUNT,
    merge::{Lanes, Merge},
    recover::{check_holes, read_mark, read_super, Damage, Scan},
    units::{Extent, Generation, Op, Seq},
};
use std::collections::{BTreeMap, BTreeSet};

/// A record as the model remembers it.
#[derive(Clone)]
struct Rec {
    header: Header,
    data: Vec<u8>,
    acked: bool,
}

struct World {
    pmem: Pmem,
    sup: Super,
    key: Key,
    /// By sequence: what was stored and, as far as anybody knows, is in the log.
    live: BTreeMap<u64, Rec>,
    /// By lane: records that are stored and not fenced yet.
    torn: BTreeMap<u16, Rec>,
    /// Newest mark that is certainly durable.
    durable_retired: Seq,
}

fn garbage(rng: &mut Rng, pmem: &mut Pmem, from: u64) {
    let mut bytes = vec![0; (pmem.bytes() - from) as usize];
    rng.fill(&mut bytes);
    pmem.poke(from, &bytes);
}

fn random_extent(rng: &mut Rng, most: u64) -> Extent {
    Extent {
        member: rng.below(3) as u16,
        sector: rng.below(1000),
        sectors: 1 + rng.below(most) as u32,
    }
}

impl World {
    fn new(rng: &mut Rng, geometry: Geometry) -> World {
        let mut sup = superblock(geometry);
        sup.counter = 1;
        sup.generation = Generation(0);
        let mut pmem = Pmem::new(geometry.bytes());
        match rng.below(3) {
            0 => {}
            1 => garbage(rng, &mut pmem, LANES_OFFSET),
            _ => {
                // Another set's log, at the same places and with the same numbers.
                let mut uuid = UUID;
                uuid[0] ^= 0xff;
                let other = Key::new(crc, &uuid);
                let mut j = Journal::new(
                    other,
                    geometry,
                    Generation(1),
                    Mark::first(Generation(1), 2),
                );
                for i in 0..24u16 {
                    let e = random_extent(rng, 8);
                    let data = vec![0xee; e.sectors as usize * 512];
                    let h = j.accept(i % 2, Op::Write, e, Seq::ZERO, &data);
                    let Ok(h) = h else { continue };
                    j.store(&mut pmem, &h, &data).unwrap();
                    pmem.fence().unwrap();
                    j.publish(&h, 0);
                }
            }
        }
        let key = key();
        write_mark(
            &mut pmem,
            key,
            &Mark::first(Generation(0), geometry.lanes()),
        )
        .unwrap();
        write_super(&mut pmem, &sup).unwrap();
        World {
            pmem,
            sup,
            key,
            live: BTreeMap::new(),
            torn: BTreeMap::new(),
            durable_retired: Seq::ZERO,
        }
    }

    /// Reads the log and compares it with the model.
    fn recover(&mut self) -> Journal {
        let sup = read_super(&self.pmem, crc).unwrap().expect("a superblock");
        assert!(sup.generation >= self.sup.generation || sup.counter + 1 == self.sup.counter);
        self.sup = sup;
        let j = Journal::load(&self.pmem, self.key, &sup).unwrap_or_else(|d| panic!("{d}"));
        assert!(j.mark.retired >= self.durable_retired);
        for (_, t) in std::mem::take(&mut self.torn) {
            self.live.insert(t.header.seq.0, t);
        }
        let mut seen = BTreeSet::new();
        for h in &j.found {
            let m = self
                .live
                .get(&h.seq.0)
                .unwrap_or_else(|| panic!("{h:?} was never written, or is long gone"));
            assert_eq!(*h, m.header);
            assert!(j.data(&self.pmem, h) == m.data, "data of {h:?}");
            assert!(h.seq > j.mark.retired);
            seen.insert(h.seq.0);
        }
        for (seq, m) in self.live.range(j.mark.retired.0 + 1..) {
            assert!(
                seen.contains(seq) || !m.acked,
                "acknowledged and lost: {:?}",
                m.header
            );
        }
        self.live.retain(|seq, _| seen.contains(seq));
        self.durable_retired = j.mark.retired;
        j
    }

    /// One reign, until power fails.
    fn reign(&mut self, rng: &mut Rng, steps: u64) -> Result<Journal, Crash> {
        let mut j = self.recover();
        self.pmem.fuse = rng.below(steps);
        let mut sup = self.sup;
        sup.counter += 1;
        sup.generation = sup.generation.next().unwrap();
        write_super(&mut self.pmem, &sup)?;
        self.sup = sup;
        j.reign = sup.generation;
        let first = j.first_mark(sup.generation);
        write_mark(&mut self.pmem, self.key, &first)?;
        j.mark = first;
        // The replay to the local device: everything that was found counts as acknowledged now.
        for h in &j.found {
            j.reach(h.lane, h.lane_seq, stage::LOCAL | stage::ACKED);
            self.live.get_mut(&h.seq.0).unwrap().acked = true;
        }
        let mut retirer = j.retirer();
        let mut acks = j.acks();
        let big = rng.one_in(2);
        let greedy = rng.below(10);
        for _ in 0..steps {
            match rng.below(10) {
                0..=4 => self.append(rng, &mut j, big)?,
                5..=7 => {
                    // Some write is acknowledged, not always the oldest.
                    let waiting: Vec<u64> = self
                        .live
                        .iter()
                        .filter_map(|(s, m)| (!m.acked).then_some(*s))
                        .collect();
                    if waiting.is_empty() {
                        continue;
                    }
                    let m = self.live.get_mut(rng.pick(&waiting)).unwrap();
                    m.acked = true;
                    j.order.acknowledge(m.header.seq);
                    j.reach(
                        m.header.lane,
                        m.header.lane_seq,
                        stage::LOCAL | stage::ACKED,
                    );
                }
                8 => {
                    let acked = acks.advance(&j);
                    j.order.acknowledged_all(acked);
                }
                _ => {
                    if rng.below(10) < greedy {
                        continue;
                    }
                    let acked = acks.advance(&j);
                    j.order.acknowledged_all(acked);
                    // The remote follows to some point that is local.
                    let shipped = Seq(j.mark.shipped.0
                        + rng.below(acked.0.max(j.mark.shipped.0) - j.mark.shipped.0 + 1));
                    j.remote_to(shipped);
                    let retired = retirer.advance(&j, shipped);
                    let mut mark = j.mark;
                    mark.counter += 1;
                    mark.acked = mark.acked.max(j.order.acked());
                    mark.shipped = shipped;
                    if retired > mark.retired {
                        retirer.cut(&mut mark, retired);
                    }
                    write_mark(&mut self.pmem, self.key, &mark)?;
                    j.mark = mark;
                    self.durable_retired = mark.retired;
                    j.free();
                }
            }
        }
        Ok(j)
    }

    fn append(&mut self, rng: &mut Rng, j: &mut Journal, big: bool) -> Result<(), Crash> {
        let lane = rng.below(u64::from(j.geometry.lanes())) as u16;
        if let Some(rec) = self.torn.get(&lane) {
            self.pmem.cpu = lane + 1;
            self.pmem.fence()?;
            j.publish(&rec.header, 0);
            self.live.insert(rec.header.seq.0, rec.clone());
            self.torn.remove(&lane);
            return Ok(());
        }
        let (op, most) = match rng.below(10) {
            0 => (Op::Zero, 2048),
            1 if !self.live.is_empty() => (Op::Cancel, 1),
            _ if big => (Op::Write, 512),
            _ => (Op::Write, 16),
        };
        let mut extent = random_extent(rng, most);
        let mut cancels = Seq::ZERO;
        if op == Op::Cancel {
            extent = Extent {
                member: 1,
                sector: 0,
                sectors: 0,
            };
            cancels = Seq(*self.live.keys().next().unwrap());
        }
        let mut data = vec![];
        if op.has_data() {
            data = vec![0; extent.sectors as usize * 512];
            rng.fill(&mut data[..512]);
            if rng.one_in(4) {
                // Data that looks like this log's own records.
                let forged = self.forge(rng, j, lane);
                for c in data.chunks_mut(64) {
                    c.copy_from_slice(&forged);
                }
            }
        }
        let Ok(header) = j.accept(lane, op, extent, cancels, &data) else {
            return Ok(());
        };
        let rec = Rec {
            header,
            data,
            acked: false,
        };
        self.torn.insert(lane, rec);
        j.store(&mut self.pmem, &header, &self.torn[&lane].data)
    }

    fn forge(&self, rng: &mut Rng, j: &Journal, lane: u16) -> [u8; 64] {
        let seq = j.order.last().0 + 1 + rng.below(4);
        Header {
            seq: Seq(seq),
            lane,
            lane_seq: j.cursors[usize::from(lane)].lane_seq + rng.below(4),
            data_pos: j.cursors[usize::from(lane)].data_pos,
            generation: j.reign,
            op: Op::Zero,
            extent: random_extent(rng, 8),
            cancels: Seq::ZERO,
            after: Seq(seq - 1),
            acked: Seq(seq - 1),
            data_crc: 0,
        }
        .seal(crc, self.key)
    }
}

fn small() -> Geometry {
    Geometry::new(2, 16, 512 * 1024).unwrap()
}

fn crash_and_recover(n: u64, lives: u64, steps: u64, geometry: Geometry) {
    seeds(n, |rng| {
        let mut w = World::new(rng, geometry);
        for _ in 0..lives {
            let _ = w.reign(rng, steps);
            w.pmem.crash(rng);
        }
        w.recover();
    });
}

#[test]
fn many_crashes() {
    crash_and_recover(60, 12, 300, small());
}

#[test]
fn crashes_soon_after_each_other() {
    crash_and_recover(150, 40, 25, small());
}

#[test]
fn many_lanes() {
    crash_and_recover(30, 10, 400, Geometry::new(7, 17, 516 * 1024).unwrap());
}

/// What stands in front of the end of each lane, and which of it some limit covers.
struct Truth {
    known: Seq,
    last_of_lane: BTreeSet<u64>,
}

/// Damage to one record: refused, unless it can't be told from a torn last append of which nobody
/// was told.
#[test]
fn damage_is_refused_and_named() {
    seeds(40, |rng| {
        let mut w = World::new(rng, small());
        for _ in 0..3 {
            let _ = w.reign(rng, 60);
            w.pmem.crash(rng);
        }
        w.pmem.crash(rng);
        let j = w.recover();
        let good = w.pmem.clone();
        for h in j.found.clone() {
            let others = j.found.iter().filter(|o| o.seq != h.seq);
            let truth = Truth {
                known: others
                    .map(|o| o.acked)
                    .fold(j.mark.acked.max(j.mark.shipped), Seq::max),
                last_of_lane: (0..2)
                    .filter_map(|l| j.found.iter().rfind(|h| h.lane == l).map(|h| h.seq.0))
                    .collect(),
            };
            let header_at = w.sup.geometry.header_offset(h.lane, h.lane_seq);
            let data_at = w.sup.geometry.data_offset(h.lane, h.data_pos);
            for round in 0..24 {
                let at = if round % 2 == 0 || h.data_bytes() == 0 {
                    header_at + rng.below(64)
                } else {
                    data_at + rng.below(u64::from(h.data_bytes()))
                };
                w.pmem.flip(at, rng.below(8));
                let floor = j.mark.tail(h.lane).floor;
                let hidden = truth.last_of_lane.contains(&h.seq.0)
                    && h.seq > truth.known
                    && !j.found.iter().any(|o| o.after == h.seq)
                    && h.lane_seq >= floor;
                match Journal::load(&w.pmem, w.key, &w.sup) {
                    Ok(now) => {
                        assert!(hidden, "damage to {h:?} is not noticed");
                        assert_eq!(now.found.len() + 1, j.found.len());
                    }
                    Err(Damage::Broken {
                        lane,
                        lane_seq,
                        before,
                        behind,
                    }) => {
                        assert_eq!((lane, lane_seq), (h.lane, h.lane_seq));
                        assert!(before < h.seq && h.seq < behind);
                    }
                    Err(Damage::Missing { first, last, acked }) => {
                        assert!(first <= h.seq && h.seq <= last && last <= acked);
                    }
                    Err(Damage::Short {
                        lane,
                        lane_seq,
                        before,
                        ..
                    }) => {
                        assert_eq!((lane, lane_seq), (h.lane, h.lane_seq));
                        assert!(before < h.seq);
                    }
                    Err(other) => panic!("{other:?} for damage to {h:?}"),
                }
                w.pmem = good.clone();
            }
        }
    });
}

/// Whole records disappear, not only single bits.
#[test]
fn erased_records_are_missed() {
    seeds(60, |rng| {
        let mut w = World::new(rng, small());
        let _ = w.reign(rng, 80);
        w.pmem.crash(rng);
        let j = w.recover();
        let before = w.pmem.clone();
        for h in j.found.clone() {
            let at = w.sup.geometry.header_offset(h.lane, h.lane_seq);
            w.pmem.poke(at, &[0; 64]);
            let known = j
                .found
                .iter()
                .filter(|o| o.seq != h.seq)
                .map(|o| o.acked)
                .fold(j.mark.acked.max(j.mark.shipped), Seq::max);
            let refused = Journal::load(&w.pmem, w.key, &w.sup).is_err();
            let named = j.found.iter().any(|o| o.after == h.seq);
            assert!(refused || (h.seq > known && !named));
            w.pmem = before.clone();
        }
    });
}

/// Reads an image to the end, whatever it is; answers without a panic and in bounded time.
fn read_all(pmem: &Pmem) {
    pmem.reads.set(0);
    let Ok(Some(sup)) = read_super(pmem, crc) else {
        return;
    };
    let key = Key::new(crc, &sup.uuid);
    match Journal::load(pmem, key, &sup) {
        Ok(_) => {}
        Err(d) => assert!(!d.to_string().is_empty()),
    }
    let records = u64::from(sup.geometry.lanes()) * u64::from(sup.geometry.lane_records());
    assert!(pmem.reads.get() <= 8 + 3 * records, "{}", pmem.reads.get());
}

#[test]
fn garbage_is_survived() {
    seeds(300, |rng| {
        let mut pmem = Pmem::new(small().bytes());
        let mut bytes = [0; 32768];
        rng.fill(&mut bytes);
        pmem.poke(0, &bytes);
        read_all(&pmem);
        assert_eq!(read_super(&pmem, crc), Err(Damage::Foreign));
    });
}

#[test]
fn damaged_and_truncated_images_are_survived() {
    seeds(60, |rng| {
        let mut w = World::new(rng, small());
        for _ in 0..2 {
            let _ = w.reign(rng, 60);
            w.pmem.crash(rng);
        }
        let used = LANES_OFFSET + 2 * 4096 + 8192;
        for _ in 0..20 {
            let mut bad = w.pmem.clone();
            for _ in 0..1 + rng.below(40) {
                let at = rng.below(used);
                bad.flip(at, rng.below(8));
            }
            if rng.one_in(4) {
                let len = rng.below(bad.bytes()) as usize;
                bad.truncate(len);
            }
            read_all(&bad);
        }
    });
}

/// Everything is sealed correctly and nothing makes sense.
#[test]
fn forged_numbers_are_survived() {
    seeds(400, |rng| {
        let g = small();
        let mut pmem = Pmem::new(g.bytes());
        let wild = |rng: &mut Rng| match rng.below(5) {
            0 => MAX_COUNT - rng.below(40),
            1 => rng.next(),
            2 => 0,
            _ => rng.below(64),
        };
        let mut mark = Mark::first(Generation(wild(rng) as u32), 2);
        mark.counter = wild(rng);
        mark.shipped = Seq(wild(rng));
        mark.retired = Seq(rng.below(mark.shipped.0.max(1)));
        mark.acked = Seq(wild(rng));
        for t in &mut mark.tails {
            *t = Tail {
                lane_seq: wild(rng),
                data_pos: wild(rng) & !511,
                floor: wild(rng),
            };
        }
        // Sometimes a mark of which only one number is wild.
        if rng.one_in(2) {
            mark.tails = [Tail::default(); 32];
            mark.generation = Generation(1);
        }
        let mut sup = superblock(g);
        sup.generation = Generation(wild(rng) as u32);
        write_super(&mut pmem, &sup).unwrap();
        write_mark(&mut pmem, key(), &mark).unwrap();
        for lane in 0..2u16 {
            for i in 0..16u64 {
                let seq = wild(rng).max(1);
                let h = Header {
                    seq: Seq(seq),
                    lane,
                    lane_seq: mark.tail(lane).lane_seq.wrapping_add(i),
                    data_pos: wild(rng) & !511,
                    generation: Generation(wild(rng) as u32),
                    op: *rng.pick(&[Op::Write, Op::Zero]),
                    extent: random_extent(rng, 8),
                    cancels: Seq::ZERO,
                    after: Seq(seq - 1),
                    acked: Seq(seq - 1),
                    data_crc: wild(rng) as u32,
                };
                let at = g.header_offset(lane, h.lane_seq);
                pmem.store(at, &h.seal(crc, key())).unwrap();
            }
        }
        read_all(&pmem);
    });
}

/// Two records with one sequence, whichever of all sequences it is: the order would step over one.
#[test]
fn a_sequence_given_twice_is_damage() {
    for twice in 1..=3 {
        let mut pmem = Pmem::new(small().bytes());
        let sup = superblock(small());
        let mark = Mark::first(sup.generation, 2);
        write_super(&mut pmem, &sup).unwrap();
        write_mark(&mut pmem, key(), &mark).unwrap();
        let mut j = Journal::new(key(), small(), sup.generation, mark);
        let extent = Extent {
            sectors: 8,
            ..Extent::default()
        };
        for lane in [0, 0, 0, 1] {
            let mut h = j.accept(lane, Op::Zero, extent, Seq::ZERO, &[]).unwrap();
            if lane == 1 {
                h.seq = Seq(twice);
                (h.after, h.acked) = (h.seq.prev(), Seq::ZERO);
            }
            j.store(&mut pmem, &h, &[]).unwrap();
            j.publish(&h, 0);
        }
        let damage = Journal::load(&pmem, key(), &sup).err();
        let what = "has the sequence of a record in another lane";
        assert!(
            matches!(damage, Some(Damage::Contradiction { seq, what: w, .. }) if seq == Seq(twice) && w == what),
            "{twice}: {damage:?}"
        );
    }
}

/// Behind the last of all sequences there is no next one: whoever counted on would not come to an end.
#[test]
fn a_mark_at_the_end_of_all_sequences_is_damage() {
    let ends: [fn(&mut Mark); 4] = [
        |m| (m.retired, m.shipped) = (Seq::MAX, Seq::MAX),
        |m| (m.retired, m.shipped) = (Seq::MAX.prev(), Seq::MAX),
        |m| m.acked = Seq::MAX,
        |m| m.tails[1].lane_seq = u64::MAX - 16,
    ];
    for end in ends {
        let mut pmem = Pmem::new(small().bytes());
        let mut mark = Mark::first(Generation(1), 2);
        end(&mut mark);
        write_super(&mut pmem, &superblock(small())).unwrap();
        write_mark(&mut pmem, key(), &mark).unwrap();
        let sup = read_super(&pmem, crc).unwrap().unwrap();
        assert_eq!(Journal::load(&pmem, key(), &sup).err(), Some(Damage::Mark));
    }
}

#[test]
fn superblocks() {
    let g = small();
    let mut pmem = Pmem::new(g.bytes());
    assert_eq!(read_super(&pmem, crc), Ok(None));
    assert_eq!(read_mark(&pmem, crc, key()), Ok(None));
    // Somebody else's partition table or filesystem.
    for at in [200, 510, 1024 + 56, 4096 + 128, 8191] {
        pmem.poke(at, &[0x80]);
        assert_eq!(read_super(&pmem, crc), Err(Damage::Foreign), "{at}");
        pmem.poke(at, &[0]);
    }
    let mut sup = superblock(g);
    write_super(&mut pmem, &sup).unwrap();
    assert_eq!(read_super(&pmem, crc), Ok(Some(sup)));
    let old = sup;
    sup.counter += 1;
    sup.generation = Generation(4);
    write_super(&mut pmem, &sup).unwrap();
    assert_eq!(read_super(&pmem, crc), Ok(Some(sup)));
    // The newer slot torn: the older one counts.
    let at = superblock_offset(usize::from(sup.counter % 2 == 1));
    pmem.flip(at + 20, 0);
    assert_eq!(read_super(&pmem, crc), Ok(Some(old)));
    // Both damaged: ours, and refused.
    let at = superblock_offset(usize::from(old.counter % 2 == 1));
    pmem.flip(at + 20, 0);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Superblock));
    pmem.poke(at + 8, &[3]);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Version(3)));
    pmem.poke(0, &[0x11; 8192]);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Foreign));
    pmem.truncate(100);
    assert_eq!(
        read_super(&pmem, crc),
        Err(Damage::Unreadable { offset: 0 })
    );
}

/// A node that owned the set has marks with large counters; the next owner's are newer all the same.
#[test]
fn a_newer_reigns_mark_wins() {
    let mut pmem = Pmem::new(small().bytes());
    let mut old = Mark::first(Generation(1), 2);
    old.counter = 1001;
    write_mark(&mut pmem, key(), &old).unwrap();
    let mut new = Mark::first(Generation(2), 2);
    new.counter = 14;
    write_mark(&mut pmem, key(), &new).unwrap();
    assert_eq!(read_mark(&pmem, crc, key()), Ok(Some(new)));
    let at = mark_offset(0);
    pmem.flip(at + 40, 0);
    assert_eq!(read_mark(&pmem, crc, key()), Ok(Some(old)));
    let at = mark_offset(1);
    pmem.flip(at + 40, 0);
    assert_eq!(read_mark(&pmem, crc, key()), Err(Damage::Mark));
}

#[test]
fn a_mark_must_fit_its_superblock() {
    let g = small();
    let pmem = Pmem::new(g.bytes());
    for (generation, lanes) in [(2, 2), (1, 1), (1, 3)] {
        let scan = Scan {
            media: &pmem,
            crc,
            key: key(),
            geometry: g,
            reign: Generation(1),
            mark: &Mark::first(Generation(generation), lanes),
        };
        assert_eq!(scan.lane(0, |_| ()), Err(Damage::MarkMismatch));
    }
}

/// The lanes as lists of sequences.
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

/// Holes, against a list of what is there.
#[test]
fn holes_against_a_list() {
    seeds(3000, |rng| {
        let retired = rng.below(5);
        let mut lists = vec![vec![]; 3];
        let mut there = BTreeSet::new();
        for seq in retired + 1..retired + 20 {
            if !rng.one_in(6) {
                lists[rng.below(3) as usize].push(seq);
                there.insert(seq);
            }
        }
        let mut mark = Mark::first(Generation(1), 3);
        mark.retired = Seq(retired);
        mark.shipped = Seq(retired + rng.below(4));
        let mut settled = retired;
        if rng.one_in(2) {
            for (l, list) in lists.iter().enumerate() {
                let floor = rng.below(list.len() as u64 + 1);
                mark.tails[l].floor = floor;
                if floor > 0 {
                    settled = settled.max(list[floor as usize - 1]);
                }
            }
        }
        let acked = rng.below(25);
        let last = there.iter().max().copied().unwrap_or(0);
        let known = acked.max(mark.shipped.0);
        let first = (settled + 1..=known).find(|s| !there.contains(s));
        let view = Lists(lists);
        match check_holes(&view, &mark, Seq(acked), Seq(last)) {
            Ok(()) => assert_eq!(first, None),
            Err(Damage::Missing { first: f, last, .. }) => {
                assert_eq!(Some(f.0), first);
                assert!((f.0..=last.0).all(|s| !there.contains(&s)));
                assert!(last.0 == known || there.contains(&(last.0 + 1)));
            }
            Err(other) => panic!("{other:?}"),
        }
        // And the merge gives the list back in order.
        let mut merge = Merge::new(Seq(retired + 1), Seq(last), [0; 32]);
        let mut order = vec![];
        while let Some((seq, at)) = merge.peek(&view) {
            order.push(seq.0);
            merge.advance(at);
        }
        assert_eq!(order, there.into_iter().collect::<Vec<_>>());
    });
}
