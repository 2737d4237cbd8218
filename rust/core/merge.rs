// SPDX-License-Identifier: GPL-2.0

//! Reads the lanes as one row in sequence order.

use crate::{
    limits::MAX_LANES,
    plant::{planted, Plant},
    units::Seq,
};

/// What a merge needs to see of the lanes.
pub trait Lanes {
    /// How many there are.
    fn lanes(&self) -> u16;
    /// The sequence of the record at a position, or `None` when it is not published yet.
    fn seq_at(&self, lane: u16, lane_seq: u64) -> Option<Seq>;
}

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    /// Its lane.
    pub lane: u16,
    /// Its position in the lane.
    pub lane_seq: u64,
}

/// A cursor over all lanes in sequence order.
///
/// Sequences that this owner gave out are dense: the merge waits for the next one. What was found
/// by recovery may have holes (writes that nobody was told of), so up to `sparse_to` the smallest
/// sequence present is the next.
///
/// # Invariants
///
/// In each lane, `cursor` is the position of the first record whose sequence is `>= next`.
#[derive(Clone, Debug)]
pub struct Merge {
    next: Seq,
    sparse_to: Seq,
    cursor: [u64; MAX_LANES],
    hint: u16,
}

impl Merge {
    /// Starts at the lanes' positions `cursor`, whose records have sequences `>= next`.
    pub fn new(next: Seq, sparse_to: Seq, cursor: [u64; MAX_LANES]) -> Merge {
        Merge {
            next,
            sparse_to,
            cursor,
            hint: 0,
        }
    }

    /// The next record in sequence order, or `None` if it is not published yet.
    pub fn peek(&mut self, view: &impl Lanes) -> Option<(Seq, Position)> {
        if self.next <= self.sparse_to {
            return self.peek_sparse(view);
        }
        let n = view.lanes();
        // Neighbours in the order often share a lane: look where the last one was first.
        for lane in (self.hint..n).chain(0..self.hint) {
            let lane_seq = self.at(lane);
            if view.seq_at(lane, lane_seq) == Some(self.next) {
                self.hint = lane;
                return Some((self.next, Position { lane, lane_seq }));
            }
        }
        None
    }

    fn peek_sparse(&mut self, view: &impl Lanes) -> Option<(Seq, Position)> {
        let first = (0..view.lanes())
            .filter_map(|lane| {
                let lane_seq = self.at(lane);
                view.seq_at(lane, lane_seq)
                    .map(|s| (s, Position { lane, lane_seq }))
            })
            .min_by_key(|(s, at)| match planted(Plant::ReplayByLane) {
                true => (u64::from(at.lane), *s),
                false => (0, *s),
            });
        match first {
            Some((s, p)) if s <= self.sparse_to => {
                self.next = s;
                self.hint = p.lane;
                Some((s, p))
            }
            _ => {
                // Nothing of the recovered part is left: from here on sequences are dense.
                self.next = self.sparse_to.next();
                self.peek(view)
            }
        }
    }

    /// Steps over the record that [`Merge::peek`] answered.
    pub fn advance(&mut self, position: Position) {
        // INVARIANT: the record at the lane's cursor had sequence `next`; the one behind it in the
        // same lane has a larger one, and so have the other lanes' as none of theirs was smaller.
        if let Some(c) = self.cursor.get_mut(usize::from(position.lane)) {
            *c = position.lane_seq.saturating_add(1);
        }
        self.next = self.next.next();
    }

    /// The position of the first record of `lane` that has not been stepped over.
    pub fn at(&self, lane: u16) -> u64 {
        self.cursor
            .get(usize::from(lane))
            .copied()
            .unwrap_or(u64::MAX)
    }

    /// The sequence that comes next; everything before it has been stepped over.
    pub fn next(&self) -> Seq {
        self.next
    }
}
