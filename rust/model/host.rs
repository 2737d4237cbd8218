// SPDX-License-Identifier: GPL-2.0

//! The way of the host's writes.

use crate::{
    config::Config,
    state::{below, each, Job, Life, State, PLACE},
};
use core_crate::plant::{planted, Plant};

impl State {
    /// The host writes.
    pub(crate) fn accept(&mut self, cfg: &Config, n: usize) -> bool {
        let node = &self.nodes[n];
        if node.life != Life::Serving || node.job == Job::HandOver || self.given == cfg.writes {
            return false;
        }
        let w = self.given;
        let busy =
            each(node.log & !node.told).any(|o| PLACE[usize::from(o)] == PLACE[usize::from(w)]);
        let seq = self.last(n) + 1;
        if busy || (node.limit != u8::MAX && seq > node.limit) {
            return false;
        }
        self.given += 1;
        self.seqs[usize::from(w)] = seq;
        self.after[usize::from(w)] = self.acked;
        self.nodes[n].log |= 1 << w;
        self.send(n, 1 << w, None);
        true
    }

    /// It is told that its write is done.
    pub(crate) fn acknowledge(&mut self, n: usize, w: u8) -> bool {
        let node = &mut self.nodes[n];
        let bit = 1 << w;
        if node.life != Life::Serving || node.done & !node.told & bit == 0 {
            return false;
        }
        node.told |= bit;
        self.acked |= bit;
        true
    }

    /// Issues the next write to the remote: in order, one at a time; over an older one only when that
    /// is durably known to be there.
    pub(crate) fn ship(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.life != Life::Serving || node.fly_remote != 0 || node.unflushed != 0 {
            return;
        }
        let Some(w) = each(node.log & !below(node.shipped)).next() else {
            return;
        };
        if node.done & (1 << w) == 0 {
            return;
        }
        let known = if node.mirror.marks_wait() && !planted(Plant::RetireBeforePartner) {
            node.heard_mark
        } else {
            node.mark
        };
        let waits = (known..w).any(|o| PLACE[usize::from(o)] == PLACE[usize::from(w)]);
        if !waits {
            node.fly_remote = w + 1;
        }
    }

    /// The mark follows what is at the remote, written locally and acknowledged.
    pub(crate) fn cut_off(&mut self, n: usize) -> bool {
        let node = &mut self.nodes[n];
        let k = node.shipped;
        if node.life != Life::Serving || k <= node.mark || node.log & below(k) & !node.told != 0 {
            return false;
        }
        for w in each(node.log & below(k)) {
            node.mark_seq = node.mark_seq.max(self.seqs[usize::from(w)]);
        }
        node.mark = k;
        node.log &= !below(k);
        let mark = (k, node.mark_seq);
        self.send(n, 0, Some(mark));
        true
    }
}
