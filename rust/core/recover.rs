// SPDX-License-Identifier: GPL-2.0

//! Reads a log after a crash. One scanner serves the owner's start, the partner's takeover, the tools
//! and the tests.
//!
//! It never guesses. Either the log is what some crash can have left, and every record is found, or
//! it is damaged, and what is damaged is said; nothing of a damaged log is replayed.

use crate::{
    format::{
        first_torn, newest, Crc, Header, Key, Mark, MarkError, Super, SuperError, Tail, MARK_BYTES,
        RECORD_HEADER_BYTES, SUPER_BYTES,
    },
    layout::{mark_offset, superblock_offset, Geometry, SLOT_BYTES},
    limits::MAX_LANES,
    merge::{Lanes, Merge, Position},
    plant::{planted, Plant},
    ship::ShipView,
    units::{Generation, Seq},
};
use core::fmt;

/// The media could not be read at this offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// Byte offset in the region.
    pub offset: u64,
}

/// A log region that can be read.
pub trait Media {
    /// Reads bytes.
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Unreadable>;
    /// The raw CRC32C of a range, continued from `seed`.
    fn crc(&self, offset: u64, bytes: u32, seed: u32) -> Result<u32, Unreadable>;
}

/// What is wrong with a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// The media answers with an error.
    Unreadable {
        /// Byte offset in the region.
        offset: u64,
    },
    /// Neither superblock slot is valid, but it is one of ours.
    Superblock,
    /// A superblock of a version that this driver does not know.
    Version(u32),
    /// The region holds something else.
    Foreign,
    /// Neither mark slot is valid.
    Mark,
    /// The mark says another number of lanes, or a newer reign, than the superblock.
    MarkMismatch,
    /// In this lane, a record does not verify although records behind it do: it was written whole and
    /// has been damaged since.
    Broken {
        /// The lane.
        lane: u16,
        /// Position in the lane of the record that does not verify.
        lane_seq: u64,
        /// The last sequence of the lane that is readable in front of it.
        before: Seq,
        /// The first sequence that is readable behind it.
        behind: Seq,
    },
    /// A lane ends in front of its floor: an earlier recovery found the records in between whole, or
    /// the owner sent them before it sent the floor.
    Short {
        /// The lane.
        lane: u16,
        /// Position in the lane of the first record that does not verify.
        lane_seq: u64,
        /// The lane's floor.
        floor: u64,
        /// The last sequence of the lane that is readable in front of it.
        before: Seq,
    },
    /// A record verifies, but contradicts its neighbours.
    Contradiction {
        /// The lane.
        lane: u16,
        /// Its position.
        lane_seq: u64,
        /// Its sequence.
        seq: Seq,
        /// In which way.
        what: &'static str,
    },
    /// These sequences had been acknowledged to the host and are not in the log.
    Missing {
        /// First that is missing.
        first: Seq,
        /// Last of the first run that is missing.
        last: Seq,
        /// Everything up to this one had been acknowledged.
        acked: Seq,
    },
}

impl From<Unreadable> for Damage {
    fn from(e: Unreadable) -> Damage {
        Damage::Unreadable { offset: e.offset }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Unreadable { offset } => {
                write!(f, "the log's media cannot be read at byte {offset} of the region")
            }
            Damage::Superblock => f.write_str("both superblock slots of the log are damaged"),
            Damage::Version(v) => write!(
                f,
                "the log has format version {v}, this driver knows version {}",
                crate::format::FORMAT_VERSION
            ),
            Damage::Foreign => f.write_str(
                "the log region holds something that is not a log of remote-copy; if it may be \
                 overwritten, zero its first 16 KiB",
            ),
            Damage::Mark => f.write_str("both low-water marks of the log are damaged"),
            Damage::MarkMismatch => {
                f.write_str("the log's low-water mark contradicts its superblock")
            }
            Damage::Broken { lane, lane_seq, before, behind } => write!(
                f,
                "lane {lane}: the record at position {lane_seq} is damaged; sequences behind \
                 {before} and before {behind} are affected"
            ),
            Damage::Short { lane, lane_seq, floor, before } => write!(
                f,
                "lane {lane}: the records from position {lane_seq} to in front of {floor} are missing; \
                 sequences behind {before} are affected"
            ),
            Damage::Contradiction { lane, lane_seq, seq, what } => write!(
                f,
                "lane {lane}: the record at position {lane_seq} (sequence {seq}) {what}"
            ),
            Damage::Missing { first, last, acked } => write!(
                f,
                "sequences {first} to {last} are missing, although everything up to {acked} had been \
                 acknowledged to the host"
            ),
        }
    }
}

/// Reads the valid superblock. `Ok(None)`: the region is blank, or claimed, and what stands in it may be
/// some of a first superblock ([`crate::creation`]).
#[inline(never)]
pub fn read_super(media: &impl Media, crc: Crc) -> Result<Option<Super>, Damage> {
    let mut found = [None, None];
    let mut errors = [SuperError::Blank; 2];
    for slot in 0..2usize {
        let mut bytes = [0u8; SUPER_BYTES];
        media.read(superblock_offset(slot), &mut bytes)?;
        match Super::open(crc, &bytes) {
            Ok(s) => {
                if let Some(f) = found.get_mut(slot) {
                    *f = Some(s);
                }
            }
            Err(e) => {
                if let Some(x) = errors.get_mut(slot) {
                    *x = e;
                }
            }
        }
    }
    if let Some((_, s)) = newest(found, |s| s.counter) {
        return Ok(Some(s));
    }
    if matches!(errors, [SuperError::Claimed, _]) && only_claimed(media)? {
        return Ok(None);
    }
    let version = errors.iter().find_map(|e| match e {
        SuperError::Version(v) => Some(*v),
        _ => None,
    });
    match (version, errors) {
        (Some(v), _) => Err(Damage::Version(v)),
        // Partition tables and filesystems begin a little later. Of zeroes only, a raw checksum is 0.
        (None, [SuperError::Blank, SuperError::Blank]) => {
            match media.crc(0, 2 * SLOT_BYTES as u32, 0)? {
                0 => Ok(None),
                _ => Err(Damage::Foreign),
            }
        }
        (None, e) if e.contains(&SuperError::Damaged) => Err(Damage::Superblock),
        _ => Err(Damage::Foreign),
    }
}

/// Whether nothing stands in a region that begins with a claim but what its creation can have left: in
/// slot 0 nothing else, in slot 1 a torn first superblock at most.
#[inline(never)]
fn only_claimed(media: &impl Media) -> Result<bool, Damage> {
    let mut bytes = [0u8; SUPER_BYTES];
    media.read(superblock_offset(1), &mut bytes)?;
    if !first_torn(&bytes) {
        return Ok(false);
    }
    for slot in 0..2 {
        let behind = superblock_offset(slot).saturating_add(SUPER_BYTES as u64);
        // Of zeroes only, a raw checksum is 0.
        if media.crc(behind, SLOT_BYTES as u32 - SUPER_BYTES as u32, 0)? != 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the valid mark. `Ok(None)`: none was ever written.
pub fn read_mark(media: &impl Media, crc: Crc, key: Key) -> Result<Option<Mark>, Damage> {
    let mut best: Option<Mark> = None;
    let mut blank = 0;
    for slot in 0..2 {
        match mark_in_slot(media, crc, key, slot)? {
            Ok(m) => {
                let newer = |b: &Mark| (m.generation, m.counter) > (b.generation, b.counter);
                if best
                    .as_ref()
                    .is_none_or(|b| newer(b) != planted(Plant::OlderMark))
                {
                    best = Some(m);
                }
            }
            Err(MarkError::Blank) => blank |= 1u32 << slot,
            Err(MarkError::Damaged) => {}
        }
    }
    match best {
        None if blank != 0b11 => Err(Damage::Mark),
        best => Ok(best),
    }
}

// Not inlined: a mark is large, and a kernel stack small.
#[inline(never)]
fn mark_in_slot(
    media: &impl Media,
    crc: Crc,
    key: Key,
    slot: usize,
) -> Result<Result<Mark, MarkError>, Damage> {
    let mut bytes = [0u8; MARK_BYTES];
    media.read(mark_offset(slot), &mut bytes)?;
    Ok(Mark::open(crc, key, &bytes))
}

/// Where a lane's records end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneEnd {
    /// The position that the next record gets.
    pub lane_seq: u64,
    /// The first free byte of data.
    pub data_pos: u64,
    /// The largest sequence found, or [`Seq::ZERO`].
    pub last: Seq,
    /// The largest "all acknowledged up to" found.
    pub acked: Seq,
    /// The reign of the last record, or 0.
    pub generation: Generation,
}

/// Where a whole log ends: of each lane that was scanned, [`Ends::lane`]; of all of them, [`Ends::check`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ends {
    /// The largest sequence that was ever given, as far as the log knows.
    pub last: Seq,
    /// The largest "all acknowledged up to" that the mark or a record names.
    pub acked: Seq,
}

impl Ends {
    /// What the mark knows by itself.
    pub fn of(mark: &Mark) -> Ends {
        Ends {
            last: mark.retired.max(mark.acked),
            acked: mark.acked,
        }
    }

    /// A lane was scanned.
    pub fn lane(&mut self, end: &LaneEnd) {
        self.last = self.last.max(end.last);
        self.acked = self.acked.max(end.acked);
    }

    /// All of them were, and `view` shows what was found: whether something is missing that the host
    /// had been told of.
    ///
    /// # Errors
    ///
    /// [`Damage`]; nothing of this log may be replayed.
    pub fn check(&self, view: &impl ShipView, mark: &Mark) -> Result<(), Damage> {
        check_holes(view, mark, self.acked, self.last)?;
        check_named(view, mark)
    }
}

/// A log to be scanned.
pub struct Scan<'a, M: Media> {
    /// Its region.
    pub media: &'a M,
    /// The checksum function.
    pub crc: Crc,
    /// The set's key.
    pub key: Key,
    /// Its shape, from the superblock.
    pub geometry: Geometry,
    /// The reign that the superblock names; no record is newer.
    pub reign: Generation,
    /// Its valid mark.
    pub mark: &'a Mark,
}

impl<M: Media> Scan<'_, M> {
    /// Walks one lane from its tail, checks every record, and calls `found` with each, in lane order.
    ///
    /// # Errors
    ///
    /// [`Damage`]; what `found` was told of by then must be forgotten.
    #[inline(never)]
    pub fn lane(&self, lane: u16, mut found: impl FnMut(&Header)) -> Result<LaneEnd, Damage> {
        let Scan {
            media,
            key,
            ref geometry,
            reign: newest_reign,
            mark,
            ..
        } = *self;
        if mark.lanes != geometry.lanes() || mark.generation > newest_reign {
            return Err(Damage::MarkMismatch);
        }
        let tail = mark.tail(lane);
        let records = u64::from(geometry.lane_records());
        let stop = tail
            .lane_seq
            .checked_add(records)
            .ok_or(Damage::MarkMismatch)?;
        let mut end = LaneEnd {
            lane_seq: tail.lane_seq,
            data_pos: tail.data_pos,
            last: Seq::ZERO,
            acked: Seq::ZERO,
            generation: Generation(0),
        };
        while end.lane_seq < stop {
            let wrapped = end.lane_seq > tail.lane_seq && geometry.slot(end.lane_seq) == 0;
            if wrapped && planted(Plant::EndsAtWrap) {
                return Ok(end);
            }
            let Some(h) = self.header(lane, end.lane_seq)? else {
                break;
            };
            if !speaks(&h, mark, &tail, end.generation) {
                break;
            }
            let wrong = |what| Damage::Contradiction {
                lane,
                lane_seq: h.lane_seq,
                seq: h.seq,
                what,
            };
            if h.generation > newest_reign {
                return Err(wrong("is of a newer generation than the superblock"));
            }
            if h.seq <= end.last || h.seq <= mark.retired {
                return Err(wrong("does not follow the sequence of the one before it"));
            }
            if geometry.place(end.data_pos, h.data_bytes()) != Some(h.data_pos) {
                return Err(wrong(
                    "has its data at another place than the log's order gives",
                ));
            }
            let data_end = h
                .data_pos
                .checked_add(u64::from(h.data_bytes()))
                .ok_or_else(|| wrong("has its data beyond every position"))?;
            if data_end.saturating_sub(tail.data_pos) > geometry.lane_data() {
                return Err(wrong("has data that overwrites live data"));
            }
            if h.op.has_data() {
                let at = geometry.data_offset(lane, h.data_pos);
                let sum = media.crc(at, h.data_bytes(), key.0)?;
                if sum != h.data_crc && !planted(Plant::DataUnchecked) {
                    // Torn: its header reached the media, not all of its data. Only the last may be.
                    break;
                }
            }
            end = LaneEnd {
                lane_seq: h.lane_seq.saturating_add(1),
                data_pos: data_end,
                last: h.seq,
                acked: end.acked.max(h.acked),
                generation: h.generation,
            };
            found(&h);
        }
        // An append begins only after the one before it was fenced. So nothing whole can stand behind
        // the end; if it does, the record at the end was whole once.
        let mut probe = end.lane_seq.saturating_add(1);
        while probe < stop {
            if let Some(h) = self.header(lane, probe)? {
                if speaks(&h, mark, &tail, end.generation)
                    && h.seq > end.last
                    && h.seq > mark.retired
                {
                    return Err(Damage::Broken {
                        lane,
                        lane_seq: end.lane_seq,
                        before: end.last.max(mark.retired),
                        behind: h.seq,
                    });
                }
            }
            probe = probe.saturating_add(1);
        }
        // What is in front of the floor was whole when the floor was set.
        if end.lane_seq < tail.floor {
            return Err(Damage::Short {
                lane,
                lane_seq: end.lane_seq,
                floor: tail.floor,
                before: end.last.max(mark.retired),
            });
        }
        Ok(end)
    }

    /// The header at a position if it verifies and says that it belongs there.
    fn header(&self, lane: u16, lane_seq: u64) -> Result<Option<Header>, Damage> {
        let mut bytes = [0u8; RECORD_HEADER_BYTES];
        self.media
            .read(self.geometry.header_offset(lane, lane_seq), &mut bytes)?;
        Ok(Header::open(self.crc, self.key, &bytes)
            .ok()
            .filter(|h| h.lane == lane && (h.lane_seq == lane_seq || planted(Plant::StaleLap))))
    }
}

/// Whether the record belongs to this life of the log (rule 6): reigns never go down along a lane,
/// and from the floor on they are the mark's or newer.
fn speaks(h: &Header, mark: &Mark, tail: &Tail, reign: Generation) -> bool {
    h.generation >= reign
        && (h.lane_seq < tail.floor
            || h.generation >= mark.generation
            || planted(Plant::FloorIgnored))
}

/// Looks for acknowledged sequences that are not there, once all lanes are scanned and `view` shows
/// what was found. `acked`: the largest that the mark or any record named; `last`: the largest found.
///
/// A reign that begins takes everything that its recovery found for acknowledged, and steps over
/// holes that nobody was told of. When the next recovery meets those holes, they lie below a limit
/// and are no damage all the same; that the records around them are still there is checked by the
/// floors ([`Damage::Short`]). So holes count only behind the newest sequence in front of a floor.
#[inline(never)]
pub fn check_holes(view: &impl Lanes, mark: &Mark, acked: Seq, last: Seq) -> Result<(), Damage> {
    if planted(Plant::HolesUnchecked) {
        return Ok(());
    }
    let settled = settled(view, mark);
    // What is at the remote had been in the log, and still is unless it is retired.
    let known = acked.max(mark.shipped);
    let mut cursor = [0u64; MAX_LANES];
    for (c, t) in cursor.iter_mut().zip(&mark.tails) {
        *c = t.lane_seq;
    }
    let mut merge = Merge::new(mark.retired.next(), last, cursor);
    let mut expected = settled.next();
    let mut before = Seq::ZERO;
    loop {
        let next = match merge.peek(view).filter(|(seq, _)| *seq <= last) {
            Some((seq, at)) if seq == before => return Err(twice(seq, at)),
            Some((seq, at)) => {
                merge.advance(at);
                before = seq;
                seq
            }
            None if expected > known => break,
            None => Seq::MAX,
        };
        if next > expected && expected <= known {
            return Err(Damage::Missing {
                first: expected,
                last: next.prev().min(known),
                acked: known,
            });
        }
        if next == expected {
            expected = next.next();
        }
    }
    // Behind the last one nothing is looked at.
    for lane in 0..view.lanes() {
        let lane_seq = merge.at(lane);
        if let Some(seq) = view.seq_at(lane, lane_seq) {
            return Err(twice(seq, Position { lane, lane_seq }));
        }
    }
    Ok(())
}

/// Only one of the two would ever be replayed, and the other one's space never be free.
fn twice(seq: Seq, at: Position) -> Damage {
    Damage::Contradiction {
        lane: at.lane,
        lane_seq: at.lane_seq,
        seq,
        what: "has the sequence of a record in another lane",
    }
}

/// The newest sequence in front of a floor: everything up to it was settled when a reign began.
fn settled(view: &impl Lanes, mark: &Mark) -> Seq {
    (0..view.lanes())
        .filter_map(|lane| {
            let t = mark.tail(lane);
            let before = t.floor.checked_sub(1).filter(|p| *p >= t.lane_seq)?;
            view.seq_at(lane, before)
        })
        .fold(mark.retired, Seq::max)
}

/// Looks for records that others name as acknowledged, by their look-ahead limit, and that are not
/// there. It finds what [`check_holes`] cannot: the newest record of a lane, when it was damaged and
/// looks like one that was torn.
///
/// # Errors
///
/// [`Damage::Missing`].
#[inline(never)]
fn check_named(view: &impl ShipView, mark: &Mark) -> Result<(), Damage> {
    if planted(Plant::NamesUnchecked) {
        return Ok(());
    }
    let settled = settled(view, mark);
    let mut known = settled;
    for lane in 0..view.lanes() {
        let mut at = Position {
            lane,
            lane_seq: mark.tail(lane).lane_seq,
        };
        while let Some(r) = view.record(at) {
            if r.after > settled && r.after != known {
                if !present(view, mark, r.after) {
                    return Err(Damage::Missing {
                        first: r.after,
                        last: r.after,
                        acked: r.after,
                    });
                }
                known = r.after;
            }
            at.lane_seq = at.lane_seq.saturating_add(1);
        }
    }
    Ok(())
}

/// Whether a record with this sequence is in one of the lanes. Sequences rise along a lane.
fn present(view: &impl Lanes, mark: &Mark, seq: Seq) -> bool {
    (0..view.lanes()).any(|lane| {
        let mut low = mark.tail(lane).lane_seq;
        let mut step = 1u64;
        // Gallop to an end that is behind the sequence or the head, then halve.
        while view
            .seq_at(lane, low.saturating_add(step))
            .is_some_and(|s| s <= seq)
        {
            low = low.saturating_add(step);
            step = step.saturating_mul(2);
        }
        let mut high = low.saturating_add(step);
        while low < high {
            let mid = low.midpoint(high);
            if view.seq_at(lane, mid).is_some_and(|s| s < seq) {
                low = mid.saturating_add(1);
            } else {
                high = mid;
            }
        }
        view.seq_at(lane, low) == Some(seq)
    })
}
