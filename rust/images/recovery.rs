// SPDX-License-Identifier: GPL-2.0

//! A recovery from a crash image, by the code that the module runs. What the driver adds to it, the
//! writes themselves, is made here: `rust/driver/journal.rs` `load`, `rust/driver/recovery.rs`.

use core_crate::{
    format::{Header, Key, Mark, Super},
    lane::{Cursor, Lane, Record, Slot},
    limits::MAX_LANES,
    merge::{Lanes, Merge, Position},
    recover::{read_mark, read_super, Damage, Ends, Media, Scan, Unreadable},
    ship::ShipView,
    units::{Op, Seq},
};
use std::collections::HashSet;

/// A raw CRC32C: no inversion before or after.
pub fn crc(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

/// A log region's bytes.
pub struct Region<'a>(pub &'a [u8]);

impl Region<'_> {
    fn range(&self, offset: u64, n: usize) -> Result<&[u8], Unreadable> {
        let from = usize::try_from(offset).map_err(|_| Unreadable { offset })?;
        let to = from.checked_add(n).ok_or(Unreadable { offset })?;
        self.0.get(from..to).ok_or(Unreadable { offset })
    }
}

impl Media for Region<'_> {
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Unreadable> {
        to.copy_from_slice(self.range(offset, to.len())?);
        Ok(())
    }

    fn crc(&self, offset: u64, bytes: u32, seed: u32) -> Result<u32, Unreadable> {
        Ok(crc(seed, self.range(offset, bytes as usize)?))
    }
}

/// What a log says.
pub struct Recovered {
    /// The node.
    pub mine: Super,
    /// Its low-water mark.
    pub mark: Mark,
    /// Every record that is not retired, in the order of the set.
    pub records: Vec<Header>,
    /// Those that must not be replayed.
    pub cancelled: HashSet<Seq>,
}

struct View(Vec<Lane<(), Vec<Slot<()>>>>);

impl Lanes for View {
    fn lanes(&self) -> u16 {
        self.0.len() as u16
    }

    fn seq_at(&self, lane: u16, lane_seq: u64) -> Option<Seq> {
        self.0.get(usize::from(lane))?.seq_at(lane_seq)
    }
}

impl ShipView for View {
    fn record(&self, at: Position) -> Option<Record> {
        self.0.get(usize::from(at.lane))?.record(at.lane_seq)
    }
}

/// Reads a log. `Ok(None)`: it is blank.
///
/// # Errors
///
/// What is damaged.
pub fn recover(bytes: &[u8]) -> Result<Option<Recovered>, Damage> {
    let media = Region(bytes);
    let Some(mine) = read_super(&media, crc)? else {
        return Ok(None);
    };
    let key = Key::new(crc, &mine.uuid);
    let mark = read_mark(&media, crc, key)?.ok_or(Damage::Mark)?;
    let scan = Scan {
        media: &media,
        crc,
        key,
        geometry: mine.geometry,
        reign: mine.generation,
        mark: &mark,
    };
    let mut view = View(vec![]);
    let mut found = vec![];
    let mut ends = Ends::of(&mark);
    for number in 0..mine.geometry.lanes() {
        let tail = mark.tail(number);
        let slots = (0..mine.geometry.lane_records())
            .map(|_| Slot::default())
            .collect();
        let lane = Lane::new(number, mine.geometry, slots, tail).ok_or(Damage::MarkMismatch)?;
        let mut cursor = Cursor {
            lane_seq: tail.lane_seq,
            data_pos: tail.data_pos,
        };
        let end = scan.lane(number, |h| {
            lane.publish(&mut cursor, h, 0, |()| ());
            found.push(*h);
        })?;
        view.0.push(lane);
        ends.lane(&end);
    }
    ends.check(&view, &mark)?;
    Ok(Some(Recovered {
        mine,
        mark,
        records: in_order(&view, &mark, ends.last, &found),
        cancelled: found
            .iter()
            .filter(|h| h.op == Op::Cancel)
            .map(|h| h.cancels)
            .collect(),
    }))
}

/// The merge that the module replays by.
fn in_order(view: &View, mark: &Mark, last: Seq, found: &[Header]) -> Vec<Header> {
    let mut cursor = [0; MAX_LANES];
    for (c, t) in cursor.iter_mut().zip(&mark.tails) {
        *c = t.lane_seq;
    }
    let mut merge = Merge::new(mark.retired.next(), last, cursor);
    let mut records = vec![];
    while merge.next() <= last {
        let Some((seq, at)) = merge.peek(view) else {
            break;
        };
        if seq > last {
            break;
        }
        let header = found
            .iter()
            .find(|h| (h.lane, h.lane_seq) == (at.lane, at.lane_seq));
        records.extend(header.copied());
        merge.advance(at);
    }
    records
}

/// A record's data.
pub fn data<'a>(bytes: &'a [u8], mine: &Super, h: &Header) -> &'a [u8] {
    let at = mine.geometry.data_offset(h.lane, h.data_pos) as usize;
    &bytes[at..at + h.data_bytes() as usize]
}
