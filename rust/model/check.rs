// SPDX-License-Identifier: GPL-2.0

//! The properties, and what has to be reached for them to mean anything.

use crate::state::{below, each, Cut, Job, Life, State, PLACE, PLACES};
use core_crate::partner::Mirror;

impl State {
    /// What is wrong in this state.
    pub fn violation(&self) -> Option<&'static str> {
        if self.bad.is_some() {
            return self.bad;
        }
        let owner = usize::from(self.newest.1);
        let node = &self.nodes[owner];
        if node.sup.is_some_and(|s| s.gen == self.newest.0) {
            if node.life == Life::Serving {
                if let Some(bad) = self.served(owner) {
                    return Some(bad);
                }
            }
            if matches!(node.life, Life::Serving | Life::Replaying) {
                if let Some(bad) = self.shipped(owner) {
                    return Some(bad);
                }
            }
        }
        if self.forced {
            return None;
        }
        self.prefix()
    }

    /// What the host was told of is what it reads.
    fn served(&self, owner: usize) -> Option<&'static str> {
        // A forced takeover takes the local unit as it is, be it in the middle of a replay.
        let missing = self.nodes[owner].sup.and_then(|s| s.missing);
        let reported = |w: u8| {
            let seq = self.seqs[usize::from(w)];
            self.forced && missing.is_some_and(|(a, b)| (a..=b).contains(&seq))
        };
        let stale =
            each(self.acked).any(|w| self.local[PLACE[usize::from(w)]] < w + 1 && !reported(w));
        stale.then_some("(a) an acknowledged write is not at the local unit")
    }

    /// What the host was told of, and what stands on the local unit, is at the remote, or will be, or is
    /// known to be missing there.
    fn shipped(&self, owner: usize) -> Option<&'static str> {
        let node = &self.nodes[owner];
        let missing = node.sup.and_then(|s| s.missing);
        let there = |w: u8| {
            let place = PLACE[usize::from(w)];
            let seq = self.seqs[usize::from(w)];
            self.durable[place] > w
                || node.log & (1 << w) != 0
                // Overwritten by one that is in the log.
                || each(node.log & !below(w + 1)).any(|o| PLACE[usize::from(o)] == place)
                || missing.is_some_and(|(a, b)| (a..=b).contains(&seq))
        };
        if !each(self.acked).all(there) {
            return Some("(a) an acknowledged write will never be at the remote");
        }
        let local = self.local.iter().filter(|w| **w != 0).map(|w| w - 1);
        if !local.into_iter().all(there) {
            return Some("(3) local and remote differ for ever");
        }
        None
    }

    /// What the remote holds is what the host could have seen at one moment.
    fn prefix(&self) -> Option<&'static str> {
        for content in [&self.visible, &self.durable] {
            for place in 0..PLACES {
                let Some(w) = content[place].checked_sub(1) else {
                    continue;
                };
                for before in each(self.after[usize::from(w)]) {
                    if content[PLACE[usize::from(before)]] < before + 1 {
                        return Some("(c) the remote is no prefix");
                    }
                }
            }
        }
        None
    }

    /// What is special in this state, a bit each of [`FEATURES`].
    pub fn features(&self) -> u32 {
        let any = |f: &dyn Fn(&crate::state::Node) -> bool| self.nodes.iter().any(f);
        let life = |l: Life| any(&|n| n.life == l);
        let serves = |m: Mirror| any(&|n| n.life == Life::Serving && n.mirror == m);
        let list = [
            life(Life::Down),
            life(Life::Starting),
            life(Life::Standby),
            life(Life::Waiting(false)) && life(Life::Waiting(true))
                || any(&|n| matches!(n.life, Life::Waiting(_))),
            life(Life::Taking),
            life(Life::Replaying),
            life(Life::Serving),
            life(Life::Fenced),
            self.nodes[1].life == Life::Serving,
            serves(Mirror::Alone),
            self.newest.0 > 2 && serves(Mirror::Mirrored),
            matches!(self.cut, Cut::Storage(_)),
            self.acked != 0 && self.given == self.acked.count_ones() as u8,
            any(&|n| n.job == Job::GoAlone(false)),
            self.forced && self.nodes[1].life == Life::Serving,
            any(&|n| n.job == Job::HandedOver),
        ];
        list.iter()
            .enumerate()
            .fold(0, |bits, (i, b)| bits | (u32::from(*b) << i))
    }
}

/// See [`State::features`].
pub const FEATURES: [&str; 16] = [
    "a node is down",
    "a node starts",
    "a node stands by",
    "an owner asks its partner",
    "a takeover",
    "a replay",
    "a node serves",
    "a node is fenced",
    "the other node serves",
    "an owner serves alone",
    "the copy is complete again",
    "storage is cut",
    "all writes so far are acknowledged",
    "an owner goes on alone",
    "a takeover was forced",
    "an owner was handed the set",
];
