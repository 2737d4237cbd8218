// SPDX-License-Identifier: GPL-2.0

//! The units that both nodes reach: who holds them, and what arrives there.

use crate::{
    config::Config,
    state::{Cut, Life, Node, State, LOCAL, METADATA, NUMBER, PLACE, REMOTE, UUID},
};
use core_crate::{
    format::{Key, NodeKey},
    ownership::{seize, Claim, Found, Hold, Seize},
    plant::{planted, Plant},
    takeover::{acts, Act},
    units::Generation,
};

fn key(node: u8, gen: u8) -> NodeKey {
    let crc: core_crate::format::Crc =
        |seed, data| data.iter().fold(seed, |s, b| s ^ u32::from(*b));
    NodeKey::new(
        Key::new(crc, &UUID),
        NUMBER[usize::from(node)],
        Generation(u32::from(gen)),
    )
}

impl State {
    /// Whether this node reaches the units.
    pub(crate) fn reaches(&self, n: usize) -> bool {
        !matches!(self.cut, Cut::Storage(c) | Cut::Both(c) if usize::from(c) == n)
    }

    /// Whether the unit is there and reserved.
    pub(crate) fn reserved(cfg: &Config, unit: usize) -> bool {
        cfg.reserves()
            && (unit != METADATA || cfg.record)
            && (unit != REMOTE || !planted(Plant::RemoteNotFenced))
    }

    /// The key of this node in its newest reign.
    fn me(&self, n: usize) -> NodeKey {
        key(n as u8, self.nodes[n].sup.map_or(0, |s| s.gen))
    }

    fn holder(&self, cfg: &Config, n: usize, unit: usize) -> Hold {
        if !Self::reserved(cfg, unit) {
            return Hold::Unused;
        }
        if !self.reaches(n) {
            return Hold::Unknown;
        }
        let holder = self.held[unit].map(|(node, gen)| key(node, gen).0);
        Hold::of(self.me(n), holder)
    }

    /// Who holds the units, the worst of them.
    pub(crate) fn hold(&self, cfg: &Config, n: usize) -> Hold {
        let rank = |h: &Hold| match h {
            Hold::Unused => 0,
            Hold::Mine => 1,
            Hold::Nobody => 2,
            Hold::Partner(_) => 3,
            Hold::Foreign(_) => 4,
            Hold::Unknown => 5,
        };
        [LOCAL, REMOTE, METADATA]
            .map(|u| self.holder(cfg, n, u))
            .into_iter()
            .max_by_key(rank)
            .unwrap_or(Hold::Unused)
    }

    /// What this node finds where the record should be.
    pub(crate) fn found(&self, cfg: &Config, n: usize) -> Found {
        match self.record {
            _ if !cfg.record => Found::Unused,
            _ if !self.reaches(n) => Found::Unreadable,
            None => Found::Blank,
            Some(r) => Found::Record(r.open()),
        }
    }

    /// Makes one more unit this node's own. `None`: it can't be; else whether that was the last.
    pub(crate) fn seize(&mut self, cfg: &Config, n: usize, claim: Claim) -> Option<bool> {
        let mut changed = false;
        for unit in [LOCAL, REMOTE, METADATA] {
            let hold = self.holder(cfg, n, unit);
            if hold == Hold::Unused {
                continue;
            }
            let was = self.held[unit];
            let (key, preempted) = match seize(self.me(n), hold, claim) {
                Seize::Held(key) | Seize::Reserve(key) => (key, false),
                Seize::Preempt(key, _) => (key, true),
                Seize::PartnerHolds(_) | Seize::ForeignHolds(_) | Seize::Unknown => return None,
            };
            // A newer reign's key stays.
            let gen = u8::try_from(key.reign().0).unwrap_or(u8::MAX);
            let gen = was
                .filter(|w| usize::from(w.0) == n)
                .map_or(gen, |w| w.1.max(gen));
            self.held[unit] = Some((n as u8, gen));
            if preempted {
                self.abort(1 - n, unit);
            }
            changed |= was != self.held[unit];
            if changed && cfg.one_by_one {
                return Some(self.all_mine(cfg, n));
            }
        }
        Some(true)
    }

    fn all_mine(&self, cfg: &Config, n: usize) -> bool {
        matches!(self.hold(cfg, n), Hold::Mine | Hold::Unused)
    }

    /// What a node had in flight at a unit is gone.
    fn abort(&mut self, n: usize, unit: usize) {
        let node: &mut Node = &mut self.nodes[n];
        match unit {
            LOCAL => node.fly_local = 0,
            REMOTE => node.fly_remote = 0,
            _ => node.fly_rec = None,
        }
    }

    /// Whether the unit refuses this node's write. The node stops, if it lives.
    fn conflict(&mut self, cfg: &Config, n: usize, unit: usize) -> bool {
        let refused =
            Self::reserved(cfg, unit) && self.held[unit].is_some_and(|h| usize::from(h.0) != n);
        if refused {
            self.fence(n);
        }
        refused
    }

    /// Whether the other node takes over, holds the units, and has gone by what it found.
    fn has_decided(&self, cfg: &Config, other: usize) -> bool {
        let holds = !cfg.reserves() || self.held[LOCAL].is_some_and(|h| usize::from(h.0) == other);
        let other = &self.nodes[other];
        let at = acts().iter().position(|a| *a == Act::Load);
        holds && other.life == Life::Taking && at.is_some_and(|at| usize::from(other.at) >= at)
    }

    /// Something of node `n` gets through, which must not be while another one owns the set (`over`).
    fn arrives(&mut self, cfg: &Config, n: usize, over: bool, what: &'static str) {
        if (over || self.has_decided(cfg, 1 - n)) && self.bad.is_none() {
            self.bad = Some(what);
        }
    }

    /// A local write arrives.
    pub(crate) fn local_arrives(&mut self, cfg: &Config, n: usize, write: u8) {
        self.nodes[n].fly_local &= !(1 << write);
        if self.conflict(cfg, n, LOCAL) {
            return;
        }
        let over = usize::from(self.newest.1) != n;
        self.arrives(
            cfg,
            n,
            over,
            "(b) an old owner's write reached the local unit",
        );
        self.local[PLACE[usize::from(write)]] = write + 1;
        if matches!(self.nodes[n].life, Life::Serving | Life::Replaying) {
            self.nodes[n].done |= 1 << write;
        }
    }

    /// A remote write arrives.
    pub(crate) fn remote_arrives(&mut self, cfg: &Config, n: usize) {
        let write = self.nodes[n].fly_remote - 1;
        self.nodes[n].fly_remote = 0;
        if self.conflict(cfg, n, REMOTE) {
            return;
        }
        let over = usize::from(self.newest.1) != n;
        self.arrives(cfg, n, over, "(b) an old owner's write reached the remote");
        let place = &mut self.visible[PLACE[usize::from(write)]];
        if *place > write + 1 && !self.forced && self.bad.is_none() {
            self.bad = Some("(c) the remote went back");
        }
        *place = write + 1;
        if self.budget.losses == 0 {
            self.durable = self.visible;
            let node = &mut self.nodes[n];
            if node.life == Life::Serving {
                node.shipped = write + 1;
            }
            return;
        }
        let node = &mut self.nodes[n];
        if node.life == Life::Serving {
            if planted(Plant::RetireBeforeFlush) {
                node.shipped = write + 1;
            } else {
                node.unflushed = write + 1;
            }
        }
    }

    /// The remote's cache is flushed.
    pub(crate) fn flush_remote(&mut self, n: usize) {
        self.durable = self.visible;
        let node = &mut self.nodes[n];
        node.shipped = node.unflushed;
        node.unflushed = 0;
    }

    /// A record write arrives. Answers whether the node's job goes on.
    pub(crate) fn record_arrives(&mut self, cfg: &Config, n: usize) -> bool {
        let Some(rec) = self.nodes[n].fly_rec.take() else {
            return false;
        };
        if self.conflict(cfg, n, METADATA) {
            return false;
        }
        let over = usize::from(self.newest.1) != n && rec.gen < self.newest.0;
        self.arrives(cfg, n, over, "(b) an old owner's record was written");
        self.record = Some(rec);
        let node = &mut self.nodes[n];
        let mine = node.plan_rec == Some(rec);
        if mine {
            node.limit = rec.stale.map_or(u8::MAX, |s| s.2);
            node.plan_rec = None;
        }
        mine
    }
}
