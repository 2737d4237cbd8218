// SPDX-License-Identifier: GPL-2.0

//! When space may be used again: below one low-water mark for the whole set (rule 4).

use crate::{
    format::{Mark, Tail},
    lane::stage,
    limits::{self, MAX_LANES},
    merge::Merge,
    plant::{planted, Plant},
    ship::ShipView,
    units::Seq,
};

/// A record that has all of these has no use any more, once the local device is flushed.
const DONE: u32 = stage::LOCAL | stage::REMOTE | stage::ACKED;

/// Space is given back in pieces of this many records, unless somebody waits for it: each piece costs a
/// mark, and a flush of the local devices.
const PIECE: u64 = limits::SHIP_WINDOW as u64 / 2;

/// However much room a log has, so many records retire: a takeover would replay them all.
const PLENTY: u64 = 4096;

/// What there is to gain by another mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gain {
    /// Sequences that are durable at the remote behind the last mark's `shipped`.
    pub shipped: u64,
    /// Sequences that could retire behind the last mark's `retired`.
    pub retired: u64,
    /// The shipper asks for one ([`Shipper::wants_mark`](crate::ship::Shipper::wants_mark)).
    pub wanted: bool,
    /// A write waits for space.
    pub waited_for: bool,
    /// The log is full enough for space to be wanted soon.
    pub tight: bool,
    /// No write has come for a while.
    pub idle: bool,
}

/// What the next mark should say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// No mark is worth it now.
    Nothing,
    /// How far the remote is.
    Shipped,
    /// And what is retired, once the local devices are flushed.
    Retired,
}

impl Gain {
    /// Decides. A mark is 832 bytes and a fence here and at the partner, and a message: many records
    /// share one, and at the latest a rest of the host brings it.
    pub fn due(&self) -> Due {
        let space = self.waited_for
            || self.idle
            || (self.tight && self.retired >= PIECE)
            || self.retired >= PLENTY;
        if self.retired > 0 && space {
            Due::Retired
        } else if self.shipped > 0 && (self.wanted || self.idle) {
            Due::Shipped
        } else {
            Due::Nothing
        }
    }
}

/// Notices when the host rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rest {
    newest: Seq,
    since: u64,
}

impl Rest {
    /// `last`: the newest sequence; `now`: nanoseconds of one monotonic clock. Whether none was given for
    /// [`REST_NS`](limits::REST_NS).
    pub fn looks(&mut self, last: Seq, now: u64) -> bool {
        if last != self.newest {
            *self = Rest {
                newest: last,
                since: now,
            };
        }
        now.saturating_sub(self.since) > limits::REST_NS
    }
}

/// Walks behind the shipper and finds how far the log can be cut off.
pub struct Retirer {
    merge: Merge,
    data: [u64; MAX_LANES],
}

impl Retirer {
    /// Starts where `merge` stands, which is where `mark` says.
    pub fn new(merge: Merge, mark: &Mark) -> Retirer {
        let mut data = [0; MAX_LANES];
        for (d, t) in data.iter_mut().zip(&mark.tails) {
            *d = t.data_pos;
        }
        Retirer { merge, data }
    }

    /// Steps over every record that is done locally and remotely, and answers the new low-water
    /// sequence. It may go into a mark only after the local devices were flushed, and the flush must
    /// begin after this returned.
    ///
    /// `shipped` is the newest sequence that the same mark will say is at the remote. Records behind it
    /// may have got there through an earlier shipper, whose marks did not come so far: their slots know,
    /// and the shipper that has to send them again would find them gone.
    pub fn advance(&mut self, view: &impl ShipView, shipped: Seq) -> Seq {
        let behind = |seq: Seq| seq > shipped && !planted(Plant::RetireUnshipped);
        while let Some((_, at)) = self.merge.peek(view).filter(|(seq, _)| !behind(*seq)) {
            let Some(r) = view.record(at) else { break };
            let done = if planted(Plant::RetireUnshipped) {
                DONE & !stage::REMOTE
            } else {
                DONE
            };
            if r.stage & done != done {
                break;
            }
            if let Some(d) = self.data.get_mut(usize::from(at.lane)) {
                *d = r.data_pos.saturating_add(u64::from(r.data_bytes()));
            }
            self.merge.advance(at);
        }
        self.merge.next().prev().min(shipped)
    }

    /// Cuts off in `mark` what [`Retirer::advance`] has stepped over; `low` is what it answered.
    pub fn cut(&self, mark: &mut Mark, low: Seq) {
        mark.retired = low;
        for (lane, t) in (0..mark.lanes).zip(&mut mark.tails) {
            *t = self.tail(lane, t.floor);
        }
    }

    /// The lane's tail that goes with what [`Retirer::advance`] answered.
    pub fn tail(&self, lane: u16, floor: u64) -> Tail {
        Tail {
            lane_seq: self.merge.at(lane),
            data_pos: self.data.get(usize::from(lane)).copied().unwrap_or(0),
            floor,
        }
    }
}

/// Follows how far the host has been told of everything.
pub struct AckTracker {
    merge: Merge,
}

impl AckTracker {
    /// Starts where `merge` stands.
    pub fn new(merge: Merge) -> AckTracker {
        AckTracker { merge }
    }

    /// Steps over what has been acknowledged; answers the sequence up to which all has.
    pub fn advance(&mut self, view: &impl ShipView) -> Seq {
        while let Some((_, at)) = self.merge.peek(view) {
            match view.record(at) {
                Some(r) if r.stage & stage::ACKED == 0 => break,
                // A record that is gone was acknowledged: only those retire.
                _ => self.merge.advance(at),
            }
        }
        self.merge.next().prev()
    }
}
