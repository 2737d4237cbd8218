// SPDX-License-Identifier: GPL-2.0

//! A takeover, act by act.

use crate::{
    config::Config,
    state::{each, seq, small, Job, Life, Rec, State, Sup, LOCAL},
};
use core_crate::{
    ownership::{sequences_behind, Claim, Fencing},
    partner::Mirror,
    takeover::{acts, decide, distrusted, Act, Asked, Reign, Source, View},
    units::Generation,
};

impl State {
    fn decision(&self, cfg: &Config, n: usize, asked: Asked) -> Option<Reign> {
        let mine = self.nodes[n].sup.map(|s| s.open(n));
        let found = self.found(cfg, n);
        decide(&View {
            mine: mine.as_ref(),
            fencing: cfg.fencing,
            found: &found,
            owner_alive: false,
            asked,
        })
        .ok()
    }

    /// Whether somebody has seen to it that this node is off.
    pub(crate) fn is_off(&self, n: usize) -> bool {
        self.nodes[n].life == Life::Down
    }

    /// What a node that was powered off had under way has arrived, or is lost.
    pub(crate) fn lose_flights(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.fly_local = 0;
        node.fly_remote = 0;
        node.fly_rec = None;
    }

    /// A standby begins a takeover, unless it knows already that it will be refused. A timer says that
    /// the owner was not heard, whether it lives or not.
    pub(crate) fn take_over(&mut self, cfg: &Config, n: usize, asked: Asked) -> bool {
        let node = &self.nodes[n];
        let by_others = !matches!(cfg.fencing, Fencing::Reservation(_));
        if node.life != Life::Standby
            || node.job != Job::None
            || (by_others && !self.is_off(1 - n))
            || self.decision(cfg, n, asked).is_none()
        {
            return false;
        }
        if by_others {
            self.lose_flights(1 - n);
        }
        if asked == Asked::Force {
            self.forced = true;
        }
        self.nodes[n].life = Life::Taking;
        self.nodes[n].begin_job(Job::Take(asked));
        self.nodes[n].at = 1;
        true
    }

    fn refused(&mut self, n: usize) {
        self.nodes[n].enter(Life::Standby);
    }

    /// The next act.
    pub(crate) fn act(&mut self, cfg: &Config, n: usize, asked: Asked) -> bool {
        let list = acts();
        let Some(act) = list.get(usize::from(self.nodes[n].at)) else {
            return false;
        };
        match act {
            Act::Consider => {
                if self.decision(cfg, n, asked).is_none() {
                    self.refused(n);
                    return true;
                }
            }
            Act::Revoke => self.stop_reading(n),
            Act::Fence => match self.seize(cfg, n, Claim::Takeover) {
                Some(true) => {}
                Some(false) => return true,
                None => {
                    self.refused(n);
                    return true;
                }
            },
            Act::Decide => match self.decision(cfg, n, asked) {
                Some(reign) => {
                    let keys = self.held[LOCAL].filter(|h| usize::from(h.0) == n);
                    let keys = Generation(keys.map_or(0, |k| u32::from(k.1)));
                    self.plan_reign(n, &reign.fenced(keys));
                }
                None => {
                    self.refused(n);
                    return true;
                }
            },
            Act::Load => {
                if let (Some(Source::LocalUnit), Some(sup)) =
                    (self.nodes[n].source, self.nodes[n].sup)
                {
                    self.nodes[n].sup = Some(Sup::of(&distrusted(&sup.open(n))));
                }
            }
            Act::WriteRecord => return self.issue_record(n),
            // The old log goes first: an owner that starts alone replays what it finds.
            Act::WriteSuper if self.nodes[n].source == Some(Source::LocalUnit) => {
                self.new_log(n);
                self.nodes[n].source = None;
                return true;
            }
            Act::WriteSuper => {
                let node = &mut self.nodes[n];
                node.sup = node.plan_sup.take().or(node.sup);
                self.reign(n);
            }
            Act::FirstMark => {}
            Act::Replay if usize::from(self.nodes[n].at) + 1 < list.len() => {
                for w in each(self.nodes[n].log) {
                    self.nodes[n].fly_local = 1 << w;
                    self.local_arrives(cfg, n, w);
                }
            }
            Act::Replay => {
                self.nodes[n].end_job();
                self.own(cfg, n);
                self.nodes[n].mirror = Mirror::Alone;
                self.nodes[n].source = None;
                self.nodes[n].base = 0;
                return true;
            }
        }
        self.advance(n);
        true
    }

    fn plan_reign(&mut self, n: usize, reign: &Reign) {
        let mine = self.nodes[n].sup().open(n);
        let shipped = seq(self.nodes[n].mark_seq);
        let seen = seq(self.last(n));
        let missing =
            (reign.source == Source::LocalUnit).then(|| reign.missing(&mine, shipped, seen));
        let durable = match missing {
            None => reign.durable(&mine, shipped, seen, None),
            Some(m) => {
                let last = sequences_behind(m.last, seen);
                reign.durable(&mine, shipped, last, missing)
            }
        };
        let node = &mut self.nodes[n];
        node.source = Some(reign.source);
        node.plan_rec = durable.record.as_ref().map(Rec::of);
        node.plan_sup = Some(Sup::of(&durable.mine));
        if let Some(m) = missing {
            node.base = small(sequences_behind(m.last, seen));
        }
    }

    /// A new log: what was in the old one is never replayed.
    fn new_log(&mut self, n: usize) {
        let given = self.given;
        let node = &mut self.nodes[n];
        node.log = 0;
        node.mark = given;
        node.mark_seq = node.mark_seq.max(node.base);
    }
}
