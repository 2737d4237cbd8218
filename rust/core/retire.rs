// SPDX-License-Identifier: GPL-2.0

//! When space may be used again: below one low-water mark for the whole set (rule 4).

use crate::{
    format::{Mark, Tail},
    lane::stage,
    limits::MAX_LANES,
    merge::Merge,
    ship::ShipView,
    units::Seq,
};

/// A record that has all of these has no use any more, once the local device is flushed.
const DONE: u32 = stage::LOCAL | stage::REMOTE | stage::ACKED;

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
    pub fn advance(&mut self, view: &impl ShipView) -> Seq {
        while let Some((_, at)) = self.merge.peek(view) {
            let Some(r) = view.record(at) else { break };
            if r.stage & DONE != DONE {
                break;
            }
            if let Some(d) = self.data.get_mut(usize::from(at.lane)) {
                *d = r.data_pos.saturating_add(u64::from(r.data_bytes()));
            }
            self.merge.advance(at);
        }
        self.merge.next().prev()
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
