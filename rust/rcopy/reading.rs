// SPDX-License-Identifier: GPL-2.0

//! Reads a whole log with core's scanner, as the driver does when it starts, and keeps what it meets on
//! the way: also of a log that is refused.

use crate::image::crc;
use core_crate::{
    creation::claimed,
    format::{Header, Key, Mark, MarkError, Super, SuperError, Tail, MARK_BYTES, SUPER_BYTES},
    lane::Record,
    layout::{mark_offset, superblock_offset},
    limits::MAX_LANES,
    merge::{Lanes, Merge, Position},
    recover::{read_mark, read_super, Damage, Ends, LaneEnd, Media, Scan},
    ship::ShipView,
    units::{Op, Seq},
};
use std::collections::BTreeSet;

/// One lane.
pub struct LaneRead {
    /// Where the mark says that it begins.
    pub tail: Tail,
    /// Its records up to the end or to what is damaged.
    pub records: Vec<Header>,
    /// Where it ends.
    pub end: Result<LaneEnd, Damage>,
}

/// What recovery would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Sequences that are struck out by a cancel record.
    pub cancelled: BTreeSet<u64>,
    /// Records that are written to the local unit, and their bytes.
    pub replay: (u64, u64),
    /// Records that are sent to the remote, and their bytes.
    pub ship: (u64, u64),
    /// The first and the last sequence that was found.
    pub span: Option<(Seq, Seq)>,
    /// Everything up to here had been acknowledged, by the newest that says so.
    pub acked: Seq,
    /// The sequence behind which new ones begin.
    pub last: Seq,
    /// Sequences that are not there, and that nobody was told of.
    pub holes: Vec<(Seq, Seq)>,
}

/// What a log is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Never used.
    Blank,
    /// A log was being made; as good as blank.
    Unfinished,
    /// It may be replayed.
    Whole(Plan),
    /// It is refused.
    Damaged(Damage),
    /// The device or file is shorter than the log in it.
    Short {
        /// Its bytes.
        has: u64,
        /// Those of the log.
        needs: u64,
    },
}

/// See the module.
pub struct Reading {
    /// Both superblock slots.
    pub supers: [Result<Super, SuperError>; 2],
    /// The superblock that counts.
    pub sup: Option<Super>,
    /// Both mark slots, if there is a superblock that says with which key they are sealed.
    pub marks: Option<[Result<Mark, MarkError>; 2]>,
    /// The mark that counts.
    pub mark: Option<Mark>,
    /// The lanes, if there is a mark that fits.
    pub lanes: Vec<LaneRead>,
    /// What it comes to.
    pub verdict: Verdict,
}

impl Lanes for Reading {
    fn lanes(&self) -> u16 {
        self.lanes.len() as u16
    }

    fn seq_at(&self, lane: u16, lane_seq: u64) -> Option<Seq> {
        self.header(lane, lane_seq).map(|h| h.seq)
    }
}

impl ShipView for Reading {
    fn record(&self, at: Position) -> Option<Record> {
        self.header(at.lane, at.lane_seq).map(|h| Record {
            seq: h.seq,
            op: h.op,
            extent: h.extent,
            after: h.after,
            data_pos: h.data_pos,
            stage: 0,
        })
    }
}

impl Reading {
    fn header(&self, lane: u16, lane_seq: u64) -> Option<&Header> {
        let l = self.lanes.get(usize::from(lane))?;
        let i = lane_seq.checked_sub(l.tail.lane_seq)?;
        l.records.get(usize::try_from(i).ok()?)
    }

    /// The records in sequence order, as far as they were found.
    pub fn in_order(&self) -> Vec<Header> {
        let mut all: Vec<Header> = self
            .lanes
            .iter()
            .flat_map(|l| l.records.iter().copied())
            .collect();
        all.sort_by_key(|h| (h.seq, h.lane));
        all
    }

    /// Reads a log once.
    ///
    /// # Errors
    ///
    /// None: what cannot be read is a kind of damage.
    pub fn of(media: &impl Media, bytes: u64, expect: impl FnOnce(u64)) -> Reading {
        let mut r = Reading {
            supers: [Err(SuperError::Blank); 2],
            sup: None,
            marks: None,
            mark: None,
            lanes: vec![],
            verdict: Verdict::Blank,
        };
        r.verdict = match r.read(media, bytes, expect) {
            Ok(verdict) => verdict,
            Err(damage) => Verdict::Damaged(damage),
        };
        r
    }

    fn read(
        &mut self,
        media: &impl Media,
        bytes: u64,
        expect: impl FnOnce(u64),
    ) -> Result<Verdict, Damage> {
        for (slot, s) in self.supers.iter_mut().enumerate() {
            let mut raw = [0; SUPER_BYTES];
            media.read(superblock_offset(slot), &mut raw)?;
            *s = Super::open(crc, &raw);
        }
        let Some(sup) = read_super(media, crc)? else {
            return Ok(match claimed(media)? {
                true => Verdict::Unfinished,
                false => Verdict::Blank,
            });
        };
        self.sup = Some(sup);
        let key = Key::new(crc, &sup.uuid);
        let mut marks = [Err(MarkError::Blank); 2];
        for (slot, m) in marks.iter_mut().enumerate() {
            let mut raw = [0; MARK_BYTES];
            media.read(mark_offset(slot), &mut raw)?;
            *m = Mark::open(crc, key, &raw);
        }
        self.marks = Some(marks);
        let needs = sup.geometry.bytes();
        if needs > bytes {
            return Ok(Verdict::Short { has: bytes, needs });
        }
        expect(needs);
        let mark = read_mark(media, crc, key)?.ok_or(Damage::Mark)?;
        self.mark = Some(mark);
        let scan = Scan {
            media,
            crc,
            key,
            geometry: sup.geometry,
            reign: sup.generation,
            mark: &mark,
        };
        for lane in 0..sup.geometry.lanes() {
            let mut records = vec![];
            let end = scan.lane(lane, |h| records.push(*h));
            self.lanes.push(LaneRead {
                tail: mark.tail(lane),
                records,
                end,
            });
        }
        self.judge(&mark)
    }

    fn judge(&self, mark: &Mark) -> Result<Verdict, Damage> {
        let mut ends = Ends::of(mark);
        for l in &self.lanes {
            ends.lane(&l.end?);
        }
        ends.check(self, mark)?;
        let mut plan = Plan {
            last: ends.last,
            acked: ends.acked,
            ..Plan::default()
        };
        self.plan(mark, &mut plan);
        Ok(Verdict::Whole(plan))
    }

    /// Walks the records in their order, as the replay does.
    fn plan(&self, mark: &Mark, plan: &mut Plan) {
        let cancels = |h: &&Header| h.op == Op::Cancel;
        let all = self.lanes.iter().flat_map(|l| &l.records);
        plan.cancelled = all.filter(cancels).map(|h| h.cancels.0).collect();
        let mut at = [0; MAX_LANES];
        for (c, t) in at.iter_mut().zip(&mark.tails) {
            *c = t.lane_seq;
        }
        let mut merge = Merge::new(mark.retired.next(), plan.last, at);
        let mut expected = mark.retired.next();
        while let Some((seq, position)) = merge.peek(self).filter(|(seq, _)| *seq <= plan.last) {
            merge.advance(position);
            let Some(h) = self.header(position.lane, position.lane_seq) else {
                break;
            };
            if seq > expected {
                plan.holes.push((expected, seq.prev()));
            }
            expected = seq.next();
            plan.span = Some((plan.span.map_or(seq, |(first, _)| first), seq));
            if h.op == Op::Cancel || plan.cancelled.contains(&seq.0) {
                continue;
            }
            let bytes = u64::from(h.extent.sectors) * 512;
            plan.replay = (plan.replay.0 + 1, plan.replay.1 + bytes);
            if seq > mark.shipped {
                plan.ship = (plan.ship.0 + 1, plan.ship.1 + bytes);
            }
        }
    }

    /// Whether two readings of one log, one after the other, saw the same.
    pub fn saw_the_same(&self, other: &Reading) -> bool {
        let ends = |r: &Reading| r.lanes.iter().map(|l| l.end).collect::<Vec<_>>();
        self.supers == other.supers
            && self.mark == other.mark
            && self.verdict == other.verdict
            && ends(self) == ends(other)
    }
}
