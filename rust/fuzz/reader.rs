// SPDX-License-Identifier: GPL-2.0

//! Reads an image as the driver does when a set starts, with core's own lanes.

use crate::{crc, honest::UUID, image::Image};
use core_crate::{
    format::{Header, Key, Mark, Super},
    lane::{stage, Cursor, Lane, Record, Slot},
    layout::Geometry,
    limits::{MAX_LANES, MAX_RECORD_BYTES},
    merge::{Lanes, Merge, Position},
    recover::{read_mark, read_super, Damage, Ends, Scan},
    retire::{AckTracker, Retirer},
    ship::ShipView,
    units::{Op, Seq},
};

/// What reading an image came to.
#[derive(PartialEq, Debug)]
pub enum Outcome {
    Blank,
    /// The superblock is another set's, or of another shape than the region: the driver refuses it.
    NotOurs,
    Damaged(Damage),
    Read(Log),
}

/// A log that may be replayed.
#[derive(PartialEq, Debug)]
pub struct Log {
    pub sup: Super,
    pub mark: Mark,
    /// In the order of the lanes.
    pub found: Vec<Header>,
    pub ends: Vec<Cursor>,
}

type CoreLane = Lane<(), Vec<Slot<()>>>;

/// The lanes of one shape of log.
struct Journal {
    geometry: Geometry,
    lanes: Vec<CoreLane>,
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

/// Keeps the lanes of the shape that was read last: making them anew would take longer than a scan.
#[derive(Default)]
pub struct Reader {
    journal: Option<Journal>,
}

impl Reader {
    pub const fn new() -> Reader {
        Reader { journal: None }
    }

    fn journal(&mut self, geometry: Geometry) -> &Journal {
        if self.journal.as_ref().is_none_or(|j| j.geometry != geometry) {
            let slots = || (0..geometry.lane_records()).map(|_| Slot::default());
            let lane = |i| Lane::new(i, geometry, slots().collect(), Default::default());
            self.journal = Some(Journal {
                geometry,
                lanes: (0..geometry.lanes()).filter_map(lane).collect(),
            });
        }
        self.journal.as_ref().unwrap()
    }

    /// Reads an image, and checks what holds of any image, however it came about.
    pub fn read(&mut self, image: &Image) -> Outcome {
        image.take_reads();
        let outcome = match self.try_read(image) {
            Ok(outcome) => outcome,
            Err(damage) => {
                // What is said of it can be said.
                assert!(!damage.to_string().is_empty());
                Outcome::Damaged(damage)
            }
        };
        // Superblocks, marks, two looks at each header and one at its data.
        let records = self.journal.as_ref().map_or(0, |j| {
            u64::from(j.geometry.lane_records()) * u64::from(j.geometry.lanes())
        });
        let reads = image.take_reads();
        assert!(
            reads <= 5 + 3 * records,
            "{reads} reads of {records} records"
        );
        outcome
    }

    fn try_read(&mut self, image: &Image) -> Result<Outcome, Damage> {
        let Some(sup) = read_super(image, crc)? else {
            return Ok(Outcome::Blank);
        };
        if sup.uuid != UUID || sup.geometry.bytes() > image.size() {
            return Ok(Outcome::NotOurs);
        }
        let key = Key::new(crc, &sup.uuid);
        let mark = read_mark(image, crc, key)?.ok_or(Damage::Mark)?;
        let geometry = sup.geometry;
        if mark.lanes != geometry.lanes() || mark.generation > sup.generation {
            return Err(Damage::MarkMismatch);
        }
        let journal = self.journal(geometry);
        let scan = Scan {
            media: image,
            crc,
            key,
            geometry,
            reign: sup.generation,
            mark: &mark,
        };
        let mut reached = Ends::of(&mark);
        let mut found = vec![];
        let mut ends = vec![];
        for lane in &journal.lanes {
            let tail = mark.tail(lane.index());
            lane.restart(tail);
            let mut cursor = Cursor {
                lane_seq: tail.lane_seq,
                data_pos: tail.data_pos,
            };
            let end = scan.lane(lane.index(), |h| {
                lane.publish(&mut cursor, h, 0, |()| ());
                found.push(*h);
            })?;
            assert_eq!(
                (cursor.lane_seq, cursor.data_pos),
                (end.lane_seq, end.data_pos)
            );
            assert_eq!(lane.head(), end.lane_seq);
            reached.lane(&end);
            ends.push(cursor);
        }
        reached.check(journal, &mark)?;
        let log = Log {
            sup,
            mark,
            found,
            ends,
        };
        bounded(&log, journal);
        replay(&log, journal, reached.last);
        append(&log, journal);
        Ok(Outcome::Read(log))
    }
}

/// Records stand where their lanes have room for them, and agree with each other and with the mark.
fn bounded(log: &Log, journal: &Journal) {
    let g = journal.geometry;
    let mut before: Option<&Header> = None;
    for h in &log.found {
        let tail = log.mark.tail(h.lane);
        assert!(h.lane < g.lanes() && h.generation <= log.sup.generation);
        assert!((tail.lane_seq..tail.lane_seq + u64::from(g.lane_records())).contains(&h.lane_seq));
        assert!(h.seq > log.mark.retired && h.after < h.seq && h.acked <= h.after);
        let bytes = u64::from(h.data_bytes());
        assert!(h.data_pos >= tail.data_pos && h.data_pos + bytes - tail.data_pos <= g.lane_data());
        // The data does not wrap, and the block layer can be given it where it stands.
        assert!(h.data_pos % g.lane_data() + bytes <= g.lane_data());
        assert!(h.data_pos % 512 == 0, "data at {}", h.data_pos);
        if let Some(b) = before.filter(|b| b.lane == h.lane) {
            assert!(h.lane_seq == b.lane_seq + 1 && h.seq > b.seq && h.generation >= b.generation);
            assert!(h.data_pos >= b.data_pos + u64::from(b.data_bytes()));
        }
        before = Some(h);
    }
}

/// The records can be walked in their order, once each.
fn replay(log: &Log, journal: &Journal, last: Seq) {
    let mut at = [0; MAX_LANES];
    for (c, t) in at.iter_mut().zip(&log.mark.tails) {
        *c = t.lane_seq;
    }
    let merge = Merge::new(log.mark.retired.next(), last, at);
    let (mut walk, mut before, mut steps) = (merge.clone(), Seq::ZERO, 0);
    while let Some((seq, position)) = walk.peek(journal) {
        assert!(steps < log.found.len(), "the order has no end");
        assert!(seq >= before, "{seq} behind {before}");
        assert!(journal.record(position).is_some_and(|r| r.seq == seq));
        walk.advance(position);
        (before, steps) = (seq, steps + 1);
    }
    assert_eq!(steps, log.found.len(), "records that the order steps over");
    for h in &log.found {
        let slot = journal.lanes[usize::from(h.lane)].slot(h.lane_seq).unwrap();
        slot.reach(stage::LOCAL | stage::REMOTE | stage::ACKED);
    }
    assert!(AckTracker::new(merge.clone()).advance(journal) >= last);
    let mut retirer = Retirer::new(merge, &log.mark);
    assert!(retirer.advance(journal, Seq::MAX) >= last);
}

/// What is written next does not touch what is there.
fn append(log: &Log, journal: &Journal) {
    let g = journal.geometry;
    for (lane, end) in journal.lanes.iter().zip(&log.ends) {
        let Ok(place) = lane.reserve(end, MAX_RECORD_BYTES, Op::Write) else {
            continue;
        };
        let from = g.data_offset(lane.index(), place.data_pos);
        let to = from + u64::from(MAX_RECORD_BYTES);
        for h in log.found.iter().filter(|h| h.lane == lane.index()) {
            let at = g.data_offset(h.lane, h.data_pos);
            let end = at + u64::from(h.data_bytes());
            assert!(to <= at || end <= from, "new data over {h:?}");
            assert!(
                g.slot(place.lane_seq) != g.slot(h.lane_seq),
                "a new header over {h:?}"
            );
        }
    }
}
