// SPDX-License-Identifier: GPL-2.0

//! What a standby does with the owner's frames: check, say where to store, keep count.
//!
//! What TCP's 16-bit checksum let through never becomes part of the mirror: a record's header is
//! verified before anything is stored, its data while it is copied to its place, which nothing live
//! covers, and its header is stored last. It is fenced before it is acknowledged, and before the next
//! one is stored: the scanner counts on that a lane has no hole.

use crate::{
    format::{Crc, Header, Key, Mark, MarkError, MARK_BYTES, RECORD_HEADER_BYTES},
    layout::Geometry,
    limits::MAX_LANES,
    recover::{read_mark, Damage, LaneEnd, Media, Scan},
    units::{Generation, Seq},
    wire::Ack,
};

/// Where a record's data goes, whose header is verified. Nothing live is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Place {
    /// Byte offset of its data in the region.
    pub data_at: u64,
    /// Bytes of data.
    pub data_bytes: u32,
    data_crc: u32,
    store: Store,
}

impl Place {
    /// The data has this checksum, continued from the set's key; 0 if there is none.
    ///
    /// # Errors
    ///
    /// [`Reject::Corrupt`]: it is not the record's. What stands at its place belongs to nothing.
    pub fn verified(self, data_crc: u32) -> Result<Store, Reject> {
        if data_crc == self.data_crc {
            Ok(self.store)
        } else {
            Err(Reject::Corrupt)
        }
    }
}

/// Where a verified record's header goes, once its data is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Store {
    /// Byte offset of its header in the region.
    pub header_at: u64,
    lane: u16,
    next_seq: u64,
    next_pos: u64,
    seq: Seq,
    generation: Generation,
}

/// What is left of the records of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    headers: &'a [u8],
    data: &'a [u8],
}

impl<'a> Records<'a> {
    /// Of a frame with so many records. `None` if the payload is too short for their headers.
    pub fn new(records: u16, payload: &'a [u8]) -> Option<Records<'a>> {
        let (headers, data) =
            payload.split_at_checked(usize::from(records).checked_mul(RECORD_HEADER_BYTES)?)?;
        Some(Records { headers, data })
    }
}

/// One of them: its header, its data, and where that goes.
pub type Next<'a> = (&'a [u8; RECORD_HEADER_BYTES], &'a [u8], Place);

/// Why a frame from the owner is not taken. The connection is closed; nothing of it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reject {
    /// A record or mark, or SYNCED, before BEGIN.
    NotBegun,
    /// A second BEGIN: what the first one counted from is acknowledged.
    Begun,
    /// A record's header or data does not verify.
    Corrupt,
    /// A record of a newer reign than the connection's, or of one that is too old to stand there.
    Generation(Generation),
    /// A record that does not follow the one before it in its lane.
    OutOfOrder,
    /// A record that would overwrite one that is not retired.
    Overrun,
    /// A mark that goes back, or does not fit the log.
    Mark,
}

/// The state of one connection from the owner.
///
/// # Invariants
///
/// Everything in front of `next_*[lane]` has been stored and fenced once [`Receiver::stored`] was
/// called for it; `mark` is the newest mark that an owner has sent, if the copy has been complete since
/// or this connection has `begun`.
pub struct Receiver {
    key: Key,
    geometry: Geometry,
    reign: Generation,
    mark: Option<Mark>,
    /// Whether this connection's BEGIN was heard.
    begun: bool,
    next_seq: [u64; MAX_LANES],
    next_pos: [u64; MAX_LANES],
    /// Of the last record in each lane that is here.
    last: [(Seq, Generation); MAX_LANES],
}

impl Receiver {
    /// A connection that has just been welcomed, to a copy that counts for nothing so far.
    pub fn new(key: Key, geometry: Geometry, reign: Generation) -> Receiver {
        Receiver {
            key,
            geometry,
            reign,
            mark: None,
            begun: false,
            next_seq: [0; MAX_LANES],
            next_pos: [0; MAX_LANES],
            last: [(Seq::ZERO, Generation(0)); MAX_LANES],
        }
    }

    /// Of a copy that is complete: where one of its lanes ends. The owner will send what is behind that.
    fn resume(&mut self, lane: u16, end: &LaneEnd) {
        let i = usize::from(lane);
        if let (Some(s), Some(p)) = (self.next_seq.get_mut(i), self.next_pos.get_mut(i)) {
            *s = end.lane_seq;
            *p = end.data_pos;
        }
        if let Some(l) = self.last.get_mut(i) {
            *l = (end.last, end.generation);
        }
    }

    /// The same of all lanes, read from the copy itself, as a takeover would.
    ///
    /// # Errors
    ///
    /// What is wrong with the copy; the receiver is of no more use.
    #[inline(never)]
    pub fn read(&mut self, crc: Crc, media: &impl Media) -> Result<(), Damage> {
        let mark = read_mark(media, crc, self.key)?.ok_or(Damage::Mark)?;
        let scan = Scan {
            media,
            crc,
            key: self.key,
            geometry: self.geometry,
            reign: self.reign,
            mark: &mark,
        };
        for lane in 0..self.geometry.lanes() {
            self.resume(lane, &scan.lane(lane, |_| ())?);
        }
        Ok(())
    }

    /// Another connection to the same copy, which is complete: what it has is known. `false`: it is of
    /// another set, or of another shape.
    #[must_use]
    pub fn again(&mut self, key: Key, geometry: Geometry, reign: Generation) -> bool {
        self.reign = reign;
        self.begun = false;
        self.key == key && self.geometry == geometry
    }

    /// BEGIN: the owner will send every lane from the mark's tail; of a complete copy, from where that
    /// ends. The caller stores the mark.
    ///
    /// # Errors
    ///
    /// [`Reject::Mark`] also if an earlier connection to this copy, which is complete, is known, and the
    /// tails lie in front of those of its last mark, whose space may have been used again, or behind what
    /// is here: nothing retires that a complete copy lacks. (A mark that this node wrote as the owner may
    /// be newer than any that its partner heard of.)
    pub fn begin(&mut self, crc: Crc, payload: &[u8; MARK_BYTES]) -> Result<Mark, Reject> {
        if self.begun {
            return Err(Reject::Begun);
        }
        let mark = self.open_mark(crc, payload)?;
        if self.mark.is_some_and(|old| !self.tails_fit(&mark, &old)) {
            return Err(Reject::Mark);
        }
        let here = (self.next_seq.iter_mut().zip(&mut self.next_pos)).zip(&mut self.last);
        let lanes = usize::from(self.geometry.lanes());
        for (((seq, pos), last), t) in here.zip(&mark.tails).take(lanes) {
            if *seq <= t.lane_seq {
                (*seq, *pos, *last) = (t.lane_seq, t.data_pos, (Seq::ZERO, Generation(0)));
            }
        }
        self.mark = Some(mark);
        self.begun = true;
        Ok(mark)
    }

    /// The newest mark of this connection.
    fn current(&self) -> Result<&Mark, Reject> {
        let mark = self.mark.as_ref().filter(|_| self.begun);
        mark.ok_or(Reject::NotBegun)
    }

    /// Whether the tails of a mark that follows another one are not in front of those, and not behind
    /// what is here.
    fn tails_fit(&self, new: &Mark, old: &Mark) -> bool {
        (0..self.geometry.lanes()).all(|l| {
            let (n, o) = (new.tail(l), old.tail(l));
            let (seq, pos) = self.next(l);
            (o.lane_seq..=seq).contains(&n.lane_seq) && (o.data_pos..=pos).contains(&n.data_pos)
        })
    }

    /// MARK: the caller stores it, then acknowledges.
    pub fn mark(&mut self, crc: Crc, payload: &[u8; MARK_BYTES]) -> Result<Mark, Reject> {
        let old = *self.current()?;
        let mark = self.open_mark(crc, payload)?;
        let back = mark.counter <= old.counter
            || mark.generation < old.generation
            || mark.retired < old.retired
            || mark.shipped < old.shipped
            || mark.acked < old.acked
            || !self.tails_fit(&mark, &old)
            || (0..self.geometry.lanes()).any(|l| {
                let (n, o) = (mark.tail(l).floor, old.tail(l).floor);
                // A floor says that everything in front of it is here.
                n < o || (n > o && n > self.next(l).0)
            });
        if back {
            return Err(Reject::Mark);
        }
        self.mark = Some(mark);
        Ok(mark)
    }

    #[inline(never)]
    fn open_mark(&self, crc: Crc, payload: &[u8; MARK_BYTES]) -> Result<Mark, Reject> {
        let mark = Mark::open(crc, self.key, payload).map_err(|e| match e {
            MarkError::Blank | MarkError::Damaged => Reject::Mark,
        })?;
        if mark.lanes != self.geometry.lanes() || mark.generation > self.reign {
            return Err(Reject::Mark);
        }
        Ok(mark)
    }

    fn next(&self, lane: u16) -> (u64, u64) {
        let i = usize::from(lane);
        (
            self.next_seq.get(i).copied().unwrap_or(0),
            self.next_pos.get(i).copied().unwrap_or(0),
        )
    }

    /// One of RECORDS: `head` is its header, and there are `left` bytes of data behind the data of those
    /// before it. Says where its data goes; nothing changes until [`Receiver::stored`].
    pub fn record(
        &self,
        crc: Crc,
        head: &[u8; RECORD_HEADER_BYTES],
        left: usize,
    ) -> Result<Place, Reject> {
        let mark = self.current()?;
        let h = Header::open(crc, self.key, head).map_err(|_| Reject::Corrupt)?;
        if u64::from(h.data_bytes()) > left as u64 {
            return Err(Reject::Corrupt);
        }
        if h.generation > self.reign {
            return Err(Reject::Generation(h.generation));
        }
        let (seq, pos) = self.next(h.lane);
        let bytes = h.data_bytes();
        if h.lane >= self.geometry.lanes()
            || h.lane_seq != seq
            || self.geometry.place(pos, bytes) != Some(h.data_pos)
        {
            return Err(Reject::OutOfOrder);
        }
        let tail = mark.tail(h.lane);
        let end = h
            .data_pos
            .checked_add(u64::from(bytes))
            .ok_or(Reject::Overrun)?;
        // What the scanner would not take for a record here must not be acknowledged as one.
        let last = self
            .last
            .get(usize::from(h.lane))
            .copied()
            .unwrap_or_default();
        if h.generation < last.1 || (h.lane_seq >= tail.floor && h.generation < mark.generation) {
            return Err(Reject::Generation(h.generation));
        }
        if h.seq <= last.0 || h.seq <= mark.retired {
            return Err(Reject::OutOfOrder);
        }
        if h.lane_seq.saturating_sub(tail.lane_seq) >= u64::from(self.geometry.lane_records())
            || end.saturating_sub(tail.data_pos) > self.geometry.lane_data()
        {
            return Err(Reject::Overrun);
        }
        Ok(Place {
            data_at: self.geometry.data_offset(h.lane, h.data_pos),
            data_bytes: bytes,
            data_crc: if h.op.has_data() { h.data_crc } else { 0 },
            store: Store {
                header_at: self.geometry.header_offset(h.lane, h.lane_seq),
                lane: h.lane,
                next_seq: h.lane_seq.checked_add(1).ok_or(Reject::OutOfOrder)?,
                next_pos: end,
                seq: h.seq,
                generation: h.generation,
            },
        })
    }

    /// The next record of a frame, as [`Receiver::record`] says; `None` behind the last one.
    ///
    /// # Errors
    ///
    /// [`Receiver::record`]'s; [`Reject::Corrupt`] also if there is data that is no record's.
    pub fn next_of<'a>(
        &self,
        crc: Crc,
        records: &mut Records<'a>,
    ) -> Result<Option<Next<'a>>, Reject> {
        let Some((head, headers)) = records.headers.split_first_chunk() else {
            return if records.data.is_empty() {
                Ok(None)
            } else {
                Err(Reject::Corrupt)
            };
        };
        let place = self.record(crc, head, records.data.len())?;
        let (data, rest) = records
            .data
            .split_at_checked(place.data_bytes as usize)
            .ok_or(Reject::Corrupt)?;
        *records = Records {
            headers,
            data: rest,
        };
        Ok(Some((head, data, place)))
    }

    /// What a record's checksum of data is continued from.
    pub fn seed(&self) -> u32 {
        self.key.0
    }

    /// SYNCED: the owner has sent all that it had. The caller may call its copy complete.
    pub fn synced(&self) -> Result<(), Reject> {
        self.current().map(|_| ())
    }

    /// The record was stored and fenced.
    pub fn stored(&mut self, store: Store) {
        let i = usize::from(store.lane);
        if let (Some(s), Some(p)) = (self.next_seq.get_mut(i), self.next_pos.get_mut(i)) {
            *s = store.next_seq;
            *p = store.next_pos;
        }
        if let Some(l) = self.last.get_mut(i) {
            *l = (store.seq, store.generation);
        }
    }

    /// What may be acknowledged now: everything stored, and the newest mark. Before BEGIN, as WELCOME's
    /// payload: where the copy ends that is complete; nothing if it is not.
    pub fn ack(&self) -> Ack {
        Ack {
            mark: self.current().map_or(0, |m| m.counter),
            lanes: self.geometry.lanes(),
            stored: self.next_seq,
        }
    }
}
