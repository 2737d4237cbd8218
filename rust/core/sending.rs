// SPDX-License-Identifier: GPL-2.0

//! How far an owner has sent its log in a session, and who sends what comes next.

use crate::{
    format::Mark,
    lane::Run,
    limits::{LONE_BYTES, MAX_LANES},
    wire::Ack,
};

/// How far a session has sent the log.
///
/// # Invariants
///
/// Of each lane, everything in front of `next` is at the partner or on its way there, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    next: [u64; MAX_LANES],
    lone: bool,
}

impl Sent {
    /// A session that begins with this mark, to a partner that has what `have` says: what it has, or
    /// what is in front of the tails, is not sent.
    pub fn beginning(mark: &Mark, have: &Ack) -> Sent {
        let mut next = have.stored;
        for (n, t) in next.iter_mut().zip(&mark.tails) {
            *n = t.lane_seq.max(*n);
        }
        Sent { next, lone: false }
    }

    /// The position of a lane that is sent next.
    #[inline]
    pub fn next(&self, lane: u16) -> u64 {
        self.next
            .get(usize::from(lane))
            .copied()
            .unwrap_or(u64::MAX)
    }

    /// A frame with these records of the lane was sent.
    #[inline]
    pub fn sent(&mut self, lane: u16, run: &Run) {
        if let Some(n) = self.next.get_mut(usize::from(lane)) {
            // INVARIANT: the frame began at `next`.
            *n = n.saturating_add(u64::from(run.records));
        }
    }

    /// All that there was has been sent, so many records.
    #[inline]
    pub fn gathered(&mut self, records: u64) {
        if records > 0 {
            self.lone = records == 1;
        }
    }

    /// Whether the partner has said that it has whatever was sent; `stored` is that, by lane.
    #[inline]
    pub fn all_stored(&self, stored: impl Iterator<Item = u64>) -> bool {
        stored.zip(&self.next).all(|(stored, next)| stored >= *next)
    }

    /// Whether everything in front of the mark's tails was sent: the mark may follow.
    pub fn covers(&self, mark: &Mark) -> bool {
        (0..mark.lanes).all(|l| mark.tail(l).lane_seq <= self.next(l))
    }

    /// Whether who submits a write should send what is `pending` itself, and not leave it to the
    /// sender's thread. That spares a host which waits for each write a change of threads. But records
    /// that gather while others are under way share a frame, which is worth more; and an idle socket
    /// has room for a little only.
    #[inline]
    pub fn submitter_sends(
        &self,
        mut stored: impl Iterator<Item = u64>,
        mut pending: impl Iterator<Item = Run>,
    ) -> bool {
        self.lone && self.all_stored(&mut stored) && pending.all(|run| run.data_bytes <= LONE_BYTES)
    }
}
