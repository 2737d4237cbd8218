// SPDX-License-Identifier: GPL-2.0

//! An owner that makes no mistakes: a small log, its marks and superblocks as a driver writes them, and
//! everything that it ever wrote, to compare with. It knows nothing of the parsers.

use crate::{crc, input::Input};
use core_crate::{
    format::{Copy_, Header, Key, Mark, Missing, Role, SetName, Super, Tail},
    layout::Geometry,
    units::{Extent, Generation, Op, Seq},
};
use std::collections::BTreeMap;

pub const UUID: [u8; 16] = *b"\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe\x0f";

/// More than the smallest log has in a lane would only be slower.
const LANES: usize = 3;

pub fn name() -> SetName {
    SetName::new("fuzz-1").unwrap()
}

/// The data of the record with this sequence.
pub fn data_of(h: &Header) -> Vec<u8> {
    let word = h.seq.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    word.repeat(h.data_bytes() as usize / 8)
}

#[derive(Clone, Copy)]
struct Cursor {
    lane_seq: u64,
    data_pos: u64,
}

pub struct Owner {
    pub key: Key,
    pub sup: Super,
    pub mark: Mark,
    /// All that was ever stored, by lane and position.
    pub records: BTreeMap<(u16, u64), Header>,
    cursors: Vec<Cursor>,
    last: Seq,
    /// Behind a write that was lost in a crash, nothing counts as acknowledged before the next reign.
    lost_at: Option<Seq>,
    /// With a partner whose copy is complete, nothing counts as acknowledged that it has not.
    pub mirrored: Option<Seq>,
    /// The reign has begun, its first mark is still to be written.
    pub first_mark_due: bool,
}

impl Owner {
    /// A log in which nothing is outstanding. It may be old: positions and sequences are where years of
    /// writes, or a few, have brought them.
    pub fn new(input: &mut Input<'_>) -> Owner {
        let lanes = 1 + input.below(LANES) as u16;
        let records = [16, 17, 24][input.below(3)];
        let geometry = Geometry::new(lanes, records, 512 * 1024).unwrap();
        let key = Key::new(crc, &UUID);
        let flags = input.byte();
        let age = input.byte();
        let base = match age % 4 {
            0 => 0,
            1 => u64::from(age),
            2 => u64::from(age) << 20,
            _ => (1 << 46) + u64::from(age),
        };
        let generation = Generation(1 + u32::from(flags >> 4));
        let mut mark = Mark::first(generation, lanes);
        mark.counter = 1 + base % 7;
        mark.retired = Seq(base);
        mark.shipped = Seq(base);
        mark.acked = Seq(base);
        for i in 0..usize::from(lanes) {
            let at = base + input.below(40) as u64;
            mark.tails[i] = Tail {
                lane_seq: at,
                // Often just in front of the wrap.
                data_pos: base * 4096 + 512 * (1020 - 4 * input.below(16) as u64),
                floor: at,
            };
        }
        let missing = (flags & 4 != 0)
            .then(|| Missing::new(Seq(base + 1), Seq(base + 2)))
            .flatten();
        let sup = Super {
            counter: 1 + base % 5,
            uuid: UUID,
            name: name(),
            generation,
            role: Role::Owner,
            copy: Copy_::Complete,
            alone: flags & 1 != 0,
            unfenced: flags & 2 != 0,
            geometry,
            node: 0x0101,
            missing,
        };
        let cursors = mark.tails.iter().take(usize::from(lanes));
        Owner {
            key,
            sup,
            mark,
            records: BTreeMap::new(),
            cursors: cursors
                .map(|t| Cursor {
                    lane_seq: t.lane_seq,
                    data_pos: t.data_pos,
                })
                .collect(),
            last: Seq(base),
            lost_at: None,
            mirrored: None,
            first_mark_due: false,
        }
    }

    pub fn geometry(&self) -> Geometry {
        self.sup.geometry
    }

    pub fn lanes(&self) -> u16 {
        self.geometry().lanes()
    }

    pub fn head(&self, lane: u16) -> u64 {
        self.cursors[usize::from(lane)].lane_seq
    }

    fn all_acked(&self) -> Seq {
        let told = self.lost_at.unwrap_or(self.last);
        told.min(self.mirrored.unwrap_or(Seq::MAX))
    }

    /// The next record, or `None` if there is no room.
    pub fn append(&mut self, input: &mut Input<'_>) -> Option<Header> {
        let lane = input.below(usize::from(self.lanes())) as u16;
        let what = input.byte();
        let size = input.byte();
        let (op, sectors) = match what % 8 {
            0 | 1 => (Op::Zero, 1 + u32::from(size) * 8),
            2 if self.last > self.mark.retired => (Op::Cancel, 0),
            // The largest now and then: only it meets the end of the data from afar.
            3 if size >= 224 => (Op::Write, 512 - u32::from(size) % 2),
            4 => (Op::Write, 1 + u32::from(size)),
            _ => (Op::Write, 1 + u32::from(size) % 4),
        };
        let g = self.geometry();
        let at = self.cursors[usize::from(lane)];
        let tail = self.mark.tail(lane);
        let bytes = if op == Op::Write { sectors * 512 } else { 0 };
        let mut data_pos = at.data_pos;
        let left = g.lane_data() - data_pos % g.lane_data();
        if u64::from(bytes) > left {
            data_pos += left;
        }
        if at.lane_seq - tail.lane_seq >= u64::from(g.lane_records())
            || data_pos + u64::from(bytes) - tail.data_pos > g.lane_data()
        {
            return None;
        }
        let seq = self.last.next();
        // Some of the newest are on their way, and the host was told of a few of those.
        let open = u64::from(what >> 3) % 4;
        let acked =
            Seq(seq.0 - 1 - open.min(seq.0 - 1 - self.mark.retired.0)).min(self.all_acked());
        let mut after = acked;
        let newest = self.last > after && self.there(self.last) && self.mirrored.is_none();
        if what & 0x80 != 0 && newest {
            after = self.last;
        }
        let mut h = Header {
            seq,
            lane,
            lane_seq: at.lane_seq,
            data_pos,
            generation: self.sup.generation,
            op,
            extent: Extent::default(),
            cancels: Seq::ZERO,
            after,
            acked,
            data_crc: 0,
        };
        if op == Op::Cancel {
            h.cancels = self.last;
        } else {
            h.extent = Extent {
                member: u16::from(size) % 64,
                sector: u64::from(what) << 9,
                sectors,
            };
        }
        if bytes != 0 {
            h.data_crc = crc(self.key.0, &data_of(&h));
        }
        self.last = seq;
        self.cursors[usize::from(lane)] = Cursor {
            lane_seq: at.lane_seq + 1,
            data_pos: data_pos + u64::from(bytes),
        };
        self.records.insert((lane, h.lane_seq), h);
        Some(h)
    }

    fn there(&self, seq: Seq) -> bool {
        self.live().any(|h| h.seq == seq)
    }

    /// What is not retired.
    pub fn live(&self) -> impl Iterator<Item = &Header> {
        self.records
            .values()
            .filter(|h| h.lane_seq >= self.mark.tail(h.lane).lane_seq)
    }

    /// Up to `n` of the oldest records are done here and there: a mark says so.
    pub fn retire(&mut self, n: usize) {
        let most = self.all_acked();
        let mut oldest: Vec<Header> = self.live().copied().filter(|h| h.seq <= most).collect();
        oldest.sort_by_key(|h| h.seq);
        for h in oldest.into_iter().take(n) {
            let tail = &mut self.mark.tails[usize::from(h.lane)];
            tail.lane_seq = h.lane_seq + 1;
            tail.data_pos = h.data_pos + u64::from(h.data_bytes());
            self.mark.retired = h.seq;
        }
        self.mark.counter += 1;
        self.mark.generation = self.sup.generation;
        self.mark.shipped = self.mark.shipped.max(self.mark.retired);
        self.mark.acked = self.all_acked();
    }

    /// Power failed over the next write: nobody was told of it, and a later one in another lane is there.
    /// A new reign follows before anything else.
    pub fn lose_one(&mut self) {
        self.lost_at.get_or_insert(self.last);
        self.last = self.last.next();
    }

    pub fn must_restart(&self) -> bool {
        self.lost_at.is_some()
    }

    /// A new reign: superblock and mark.
    pub fn restart(&mut self) {
        self.new_reign();
        self.first_mark();
    }

    /// The superblock of a new reign. Nothing is appended before its first mark.
    pub fn new_reign(&mut self) {
        self.sup.counter += 1;
        self.sup.generation = self.sup.generation.next().unwrap();
        self.first_mark_due = true;
    }

    /// What was found counts as acknowledged from here on.
    pub fn first_mark(&mut self) {
        self.first_mark_due = false;
        self.lost_at = None;
        let newest = self.live().map(|h| h.seq).max();
        self.last = newest.unwrap_or(self.mark.retired).max(self.mark.acked);
        self.mark.counter += 1;
        self.mark.generation = self.sup.generation;
        for (t, c) in self.mark.tails.iter_mut().zip(&self.cursors) {
            t.floor = c.lane_seq;
        }
    }
}
