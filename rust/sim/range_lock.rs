// SPDX-License-Identifier: GPL-2.0

//! Writes that overlap wait for each other, in the order in which they came.

use crate::{
    bio::Bio,
    plant::{is, Mistake},
};
use core_crate::units::Extent;
use std::{cell::RefCell, collections::VecDeque};

#[derive(Default)]
pub struct RangeLock {
    held: RefCell<Vec<Extent>>,
    waiting: RefCell<VecDeque<Bio>>,
}

fn extent(bio: &Bio) -> Extent {
    Extent {
        member: bio.member,
        sector: bio.sector,
        sectors: bio.sectors,
    }
}

impl RangeLock {
    /// Answers the bio if it has its range now.
    pub fn lock(&self, bio: Bio) -> Option<Bio> {
        let e = extent(&bio);
        let mut held = self.held.borrow_mut();
        let mut waiting = self.waiting.borrow_mut();
        let busy =
            held.iter().any(|h| h.overlaps(&e)) || waiting.iter().any(|w| extent(w).overlaps(&e));
        if busy && !is(Mistake::OverlapsAtOnce) {
            waiting.push_back(bio);
            return None;
        }
        held.push(e);
        Some(bio)
    }

    /// Gives a range up; answers who got theirs.
    pub fn unlock(&self, bio: &Bio) -> Vec<Bio> {
        let e = extent(bio);
        let mut held = self.held.borrow_mut();
        if let Some(at) = held.iter().position(|h| *h == e) {
            held.swap_remove(at);
        }
        let mut ready = vec![];
        let mut still = VecDeque::new();
        for w in self.waiting.take() {
            let e = extent(&w);
            let busy =
                held.iter().any(|h| h.overlaps(&e)) || still.iter().any(|s| extent(s).overlaps(&e));
            if busy {
                still.push_back(w);
            } else {
                held.push(e);
                ready.push(w);
            }
        }
        *self.waiting.borrow_mut() = still;
        ready
    }
}
