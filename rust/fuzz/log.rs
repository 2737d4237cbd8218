// SPDX-License-Identifier: GPL-2.0

//! Whole log images: superblocks, marks, records.
//!
//! An honest log is written, read, then damaged piece by piece and read again after each.

use crate::{
    crc,
    honest::{data_of, Owner},
    image::Image,
    input::Input,
    reader::{Log, Outcome, Reader},
    tally,
};
use core_crate::{
    format::{
        Header, Mark, Super, CLAIM, FIRST_COUNTER, MARK_BYTES, RECORD_HEADER_BYTES, SUPER_BYTES,
    },
    layout::{mark_offset, superblock_offset, SLOT_BYTES},
    units::Seq,
};
use std::cell::RefCell;

thread_local! {
    static BENCH: RefCell<(Image, Reader)> = const { RefCell::new((Image::new(), Reader::new())) };
}

pub fn run(bytes: &[u8]) {
    BENCH.with_borrow_mut(|(image, reader)| {
        let mut input = Input::new(bytes);
        let owner = write(image, &mut input);
        let mut damaged = Damaged {
            image,
            owner: &owner,
            forged: false,
            rolled_back: false,
            touched: false,
        };
        damaged.check(reader);
        // A bound on one input's time.
        for _ in 0..32 {
            if input.is_empty() {
                break;
            }
            damaged.damage(&mut input);
            damaged.check(reader);
        }
    });
}

/// Writes an honest log, as the input wants it.
fn write(image: &mut Image, input: &mut Input<'_>) -> Owner {
    let mut owner = Owner::new(input);
    image.reset(owner.geometry().bytes());
    store_super(image, &owner);
    store_mark(image, &owner);
    let steps = input.below(40);
    for _ in 0..steps {
        match input.below(16) {
            0 | 1 => {
                owner.retire(1 + input.below(12));
                store_mark(image, &owner);
            }
            2 => {
                owner.restart();
                store_super(image, &owner);
                store_mark(image, &owner);
            }
            3 => owner.lose_one(),
            _ => {
                if let Some(h) = owner.append(input) {
                    store_record(image, &owner, &h);
                }
            }
        }
    }
    if owner.must_restart() && input.below(2) == 0 {
        owner.restart();
        store_super(image, &owner);
        store_mark(image, &owner);
    }
    owner
}

fn store_super(image: &mut Image, owner: &Owner) {
    let slot = (owner.sup.counter % 2) as usize;
    image.store(superblock_offset(slot), &owner.sup.seal(crc));
}

fn store_mark(image: &mut Image, owner: &Owner) {
    let slot = (owner.mark.counter % 2) as usize;
    image.store(mark_offset(slot), &owner.mark.seal(crc, owner.key));
}

fn store_record(image: &mut Image, owner: &Owner, h: &Header) {
    let g = owner.geometry();
    if h.op.has_data() {
        image.store(g.data_offset(h.lane, h.data_pos), &data_of(h));
    }
    image.store(g.header_offset(h.lane, h.lane_seq), &h.seal(crc, owner.key));
}

struct Damaged<'a> {
    image: &'a mut Image,
    owner: &'a Owner,
    /// Something verifies that no honest owner wrote.
    forged: bool,
    /// The newest superblock or mark may not be the one that is read.
    rolled_back: bool,
    touched: bool,
}

impl Damaged<'_> {
    /// Reads the image twice and says what must hold.
    fn check(&mut self, reader: &mut Reader) {
        tally::one("images");
        let outcome = reader.read(self.image);
        assert_eq!(outcome, reader.read(self.image), "read twice");
        if outcome == Outcome::Blank {
            self.nothing_stands();
        }
        if !self.touched {
            self.all_there(&outcome);
        } else if !self.forged {
            if let Outcome::Read(log) = &outcome {
                self.only_what_was_stored(log);
                if !self.rolled_back {
                    self.nothing_known_is_lost(log);
                }
            }
        }
    }

    fn all_there(&self, outcome: &Outcome) {
        let Outcome::Read(log) = outcome else {
            panic!("an honest log is refused: {outcome:?}");
        };
        assert_eq!(log.mark, self.owner.mark);
        assert_eq!(log.sup, self.owner.sup);
        let live: Vec<&Header> = self.owner.live().collect();
        assert_eq!(log.found.iter().collect::<Vec<_>>(), live);
    }

    /// A region is blank if it is zero, or claimed and has a torn first superblock at most. Nothing but a
    /// forgery makes a claim.
    fn nothing_stands(&self) {
        let slot = |n| self.image.get(superblock_offset(n), SLOT_BYTES as usize);
        let zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
        let (one, other) = (slot(0), slot(1));
        if zero(one) && zero(other) {
            return;
        }
        assert!(self.forged && one.starts_with(b"rcopynew") && zero(&one[8..]));
        assert!(zero(&other[..8]) || other.starts_with(b"rcopylog"));
        assert!(zero(&other[8..16]) || other[8..12] == [2, 0, 0, 0]);
        assert!(other[16] <= 1 && zero(&other[17..24]) && zero(&other[SUPER_BYTES..]));
    }

    fn only_what_was_stored(&self, log: &Log) {
        for h in &log.found {
            let stored = self.owner.records.get(&(h.lane, h.lane_seq));
            assert_eq!(stored, Some(h), "old bytes speak");
            let at = log.sup.geometry.data_offset(h.lane, h.data_pos);
            assert!(self.image.get(at, h.data_bytes() as usize) == data_of(h));
        }
    }

    /// What is missing, nobody can have been told of, as far as anything that is left says.
    fn nothing_known_is_lost(&self, log: &Log) {
        let told = |seq: Seq| {
            log.mark.acked.max(log.mark.shipped) >= seq
                || log.found.iter().any(|h| h.acked >= seq || h.after == seq)
        };
        for h in self.owner.live() {
            let there = log
                .found
                .binary_search_by_key(&(h.lane, h.lane_seq), |f| (f.lane, f.lane_seq));
            assert!(there.is_ok() || !told(h.seq), "lost although known: {h:?}");
        }
    }

    fn damage(&mut self, input: &mut Input<'_>) {
        self.touched = true;
        match input.below(10) {
            0 => self.flip(input),
            1 => self.forge_header(input),
            2 => self.forge_mark(input),
            3 => self.forge_super(input),
            4 => self.copy(input),
            5 => self.tear(input),
            6 => self.heal(),
            7 => self.forge_more(input),
            8 => self.raw_header(input),
            _ => self.forge_lane(input),
        }
    }

    /// Somewhere where something stands.
    fn place(&mut self, input: &mut Input<'_>) -> (u64, u64) {
        let slot = input.below(2);
        match input.below(6) {
            0 => {
                self.rolled_back = true;
                (superblock_offset(slot), SUPER_BYTES as u64)
            }
            1 => {
                self.rolled_back = true;
                (mark_offset(slot), MARK_BYTES as u64)
            }
            2 | 3 => (self.header_place(input), RECORD_HEADER_BYTES as u64),
            4 => match self.pick(input) {
                Some(h) if h.op.has_data() => (
                    self.owner.geometry().data_offset(h.lane, h.data_pos),
                    u64::from(h.data_bytes()),
                ),
                _ => (self.header_place(input), RECORD_HEADER_BYTES as u64),
            },
            _ => {
                self.rolled_back = true;
                (input.word() % (self.image.size() - SLOT_BYTES), SLOT_BYTES)
            }
        }
    }

    fn pick(&self, input: &mut Input<'_>) -> Option<Header> {
        let n = input.below(self.owner.records.len());
        self.owner.records.values().nth(n).copied()
    }

    fn header_place(&self, input: &mut Input<'_>) -> u64 {
        let g = self.owner.geometry();
        let lane = input.below(usize::from(g.lanes())) as u16;
        g.header_offset(lane, u64::from(input.byte()))
    }

    fn flip(&mut self, input: &mut Input<'_>) {
        let (at, len) = self.place(input);
        let at = at + input.word() % len;
        let bits = input.byte().max(1);
        let old = self.image.get(at, 1)[0];
        self.image.store(at, &[old ^ bits]);
    }

    /// Bytes of the log, whole, at another place of the same kind.
    fn copy(&mut self, input: &mut Input<'_>) {
        let (from, to, len) = match input.below(3) {
            0 => {
                self.rolled_back = true;
                let slot = input.below(2);
                (
                    superblock_offset(slot),
                    superblock_offset(1 - slot),
                    SUPER_BYTES,
                )
            }
            1 => {
                self.rolled_back = true;
                let slot = input.below(2);
                (mark_offset(slot), mark_offset(1 - slot), MARK_BYTES)
            }
            _ => (
                self.header_place(input),
                self.header_place(input),
                RECORD_HEADER_BYTES,
            ),
        };
        let bytes = self.image.get(from, len).to_vec();
        self.image.store(to, &bytes);
    }

    /// Words that were never written, or not any more.
    fn tear(&mut self, input: &mut Input<'_>) {
        let (at, len) = self.place(input);
        let from = input.word() % len / 8 * 8;
        let words = 1 + input.below(8) as u64;
        let to = len.min(from + 8 * words);
        let fill = [0, 0xff, 0x5a][input.below(3)];
        self.image
            .store(at + from, &vec![fill; (to - from) as usize]);
    }

    /// All of the newest is whole again.
    fn heal(&mut self) {
        let g = self.owner.geometry();
        self.image.reset(g.bytes());
        store_super(self.image, self.owner);
        store_mark(self.image, self.owner);
        // As the owner wrote them: later laps over earlier ones.
        for h in self.owner.records.values() {
            store_record(self.image, self.owner, h);
        }
        self.touched = false;
        self.forged = false;
        self.rolled_back = false;
    }

    fn forge_header(&mut self, input: &mut Input<'_>) {
        let Some(h) = self.pick(input) else { return };
        let at = self.owner.geometry().header_offset(h.lane, h.lane_seq);
        let forged = forge_header(h, input, self.owner);
        self.image.store(at, &forged);
        self.forged = true;
    }

    /// A header of bytes as they come, with its checksum: fields that no seal can write.
    fn raw_header(&mut self, input: &mut Input<'_>) {
        let Some(h) = self.pick(input) else { return };
        let at = self.owner.geometry().header_offset(h.lane, h.lane_seq);
        let mut bytes = h.seal(crc, self.owner.key);
        bytes[4 + input.below(60)] ^= input.byte().max(1);
        let sum = crc(self.owner.key.0, &bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        self.image.store(at, &bytes);
        self.forged = true;
    }

    /// One more record behind the end, consistent but for what the input makes of it.
    fn forge_more(&mut self, input: &mut Input<'_>) {
        let Some(h) = self.pick(input) else { return };
        let more = Header {
            lane_seq: self.owner.head(h.lane).wrapping_add(input.below(3) as u64),
            seq: Seq(input.instead_of(h.seq.0)),
            ..h
        };
        let at = self.owner.geometry().header_offset(h.lane, more.lane_seq);
        let forged = forge_header(more, input, self.owner);
        self.image.store(at, &forged);
        self.forged = true;
    }

    fn forge_mark(&mut self, input: &mut Input<'_>) {
        let forged = forge_mark(self.owner.mark, input);
        let slot = (forged.counter % 2) as usize;
        let mut bytes = forged.seal(crc, self.owner.key);
        if input.below(8) == 0 {
            bytes[16 + input.below(240)] ^= input.byte();
            let sum = crc(self.owner.key.0, &bytes[16..]);
            bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        }
        self.image.store(mark_offset(slot), &bytes);
        self.forged = true;
    }

    /// A lane that begins elsewhere, and whose records are all where that leads to.
    fn forge_lane(&mut self, input: &mut Input<'_>) {
        let g = self.owner.geometry();
        let lane = input.below(usize::from(g.lanes())) as u16;
        let mut mark = self.owner.mark;
        mark.counter += 1;
        let tail = &mut mark.tails[usize::from(lane)];
        let first = tail.lane_seq;
        match input.below(3) {
            0 => tail.lane_seq = input.instead_of(tail.lane_seq),
            1 => tail.data_pos = input.instead_of(tail.data_pos),
            _ => tail.data_pos = tail.data_pos.wrapping_add(input.byte().into()),
        }
        tail.floor = tail.lane_seq;
        let mut pos = tail.data_pos;
        for h in self.owner.live().filter(|h| h.lane == lane) {
            let lane_seq = tail.lane_seq.wrapping_add(h.lane_seq - first);
            let Some(data_pos) = g.place(pos, h.data_bytes()) else {
                break;
            };
            pos = data_pos.wrapping_add(h.data_bytes().into());
            let moved = Header {
                lane_seq,
                data_pos,
                ..*h
            };
            store_record(self.image, self.owner, &moved);
        }
        let slot = (mark.counter % 2) as usize;
        self.image
            .store(mark_offset(slot), &mark.seal(crc, self.owner.key));
        self.forged = true;
    }

    fn forge_super(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        if kind >= 0xf8 {
            return self.claim(kind);
        }
        let mut sup = Super {
            counter: self.owner.sup.counter + u64::from(kind % 3),
            ..self.owner.sup
        };
        if input.below(4) == 0 {
            sup.generation.0 = input.instead_of(sup.generation.0.into()) as u32;
        }
        let mut bytes = sup.seal(crc);
        bytes[16 + input.below(SUPER_BYTES - 16)] ^= input.byte();
        let sum = crc(!0, &bytes[16..]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        let slot = (sup.counter % 2) as usize;
        self.image.store(superblock_offset(slot), &bytes);
        self.forged = true;
    }

    /// A region in which a log was being made: what stood in the slots is gone, or is the first superblock.
    fn claim(&mut self, kind: u8) {
        self.image.store(0, &[0; 2 * SLOT_BYTES as usize]);
        self.image.store(0, &CLAIM);
        if kind & 1 != 0 {
            let counter = FIRST_COUNTER + u64::from((kind >> 1) & 1);
            let first = Super {
                counter,
                ..self.owner.sup
            };
            let torn = if kind & 4 != 0 { 64 } else { SUPER_BYTES };
            let at = superblock_offset(1);
            self.image.store(at, &first.seal(crc)[..torn]);
        }
        self.forged = true;
    }
}

/// A header with some other fields, and its checksum.
pub fn forge_header(
    mut h: Header,
    input: &mut Input<'_>,
    owner: &Owner,
) -> [u8; RECORD_HEADER_BYTES] {
    for _ in 0..1 + input.below(3) {
        match input.below(9) {
            0 => h.seq = Seq(input.instead_of(h.seq.0)),
            1 => h.lane_seq = input.instead_of(h.lane_seq),
            2 => h.data_pos = input.instead_of(h.data_pos),
            3 => h.generation.0 = input.instead_of(h.generation.0.into()) as u32,
            4 => h.extent.sectors = input.instead_of(h.extent.sectors.into()) as u32,
            5 => h.extent.sector = input.instead_of(h.extent.sector),
            6 => h.after = Seq(input.instead_of(h.after.0)),
            7 => h.acked = Seq(input.instead_of(h.acked.0)),
            _ => {
                h.lane = input.byte().into();
                if h.lane >= owner.lanes() {
                    // Where a lane begins of which nobody knows anything.
                    (h.lane_seq, h.data_pos) = (0, 0);
                }
            }
        }
    }
    h.seal(crc, owner.key)
}

/// A mark with some other fields.
pub fn forge_mark(mut mark: Mark, input: &mut Input<'_>) -> Mark {
    mark.counter = mark.counter.wrapping_add(input.byte().into());
    for _ in 0..1 + input.below(4) {
        let tail = &mut mark.tails[input.below(4)];
        match input.below(8) {
            0 => mark.generation.0 = input.instead_of(mark.generation.0.into()) as u32,
            1 => mark.lanes = input.instead_of(mark.lanes.into()) as u16,
            2 => mark.retired = Seq(input.instead_of(mark.retired.0)),
            3 => mark.shipped = Seq(input.instead_of(mark.shipped.0)),
            4 => mark.acked = Seq(input.instead_of(mark.acked.0)),
            5 => tail.lane_seq = input.instead_of(tail.lane_seq),
            6 => tail.data_pos = input.instead_of(tail.data_pos),
            _ => tail.floor = input.instead_of(tail.floor),
        }
    }
    mark
}
