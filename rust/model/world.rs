// SPDX-License-Identifier: GPL-2.0

//! All that can happen next.

use crate::{
    config::Config,
    state::{each, Conn, Cut, Job, Life, Node, Rec, Side, State, Sup},
};
use core_crate::{ownership::Claim, partner::Mirror, plant, takeover::Asked};

/// What happens: to which node, and what.
pub type Label = (u8, &'static str);

impl State {
    /// Node 0 serves, node 1 has a complete copy.
    pub fn running(cfg: &Config) -> State {
        let sup = |owner| Sup {
            gen: 2,
            owner,
            complete: true,
            ..Sup::default()
        };
        let mut s = State {
            budget: cfg.budget,
            newest: (2, 0),
            ..State::default()
        };
        s.nodes[0] = Node {
            sup: Some(sup(true)),
            life: Life::Serving,
            mirror: Mirror::Mirrored,
            ..Node::default()
        };
        s.nodes[1] = Node {
            sup: Some(sup(false)),
            life: Life::Standby,
            ..Node::default()
        };
        s.conns[0] = Conn {
            side: Side::Open,
            read: Some(2),
            linked: true,
            ..Conn::default()
        };
        s.record = cfg.record.then_some(Rec {
            gen: 2,
            node: 0,
            unfenced: false,
            stale: None,
            shipped: 0,
            missing: None,
        });
        while s.seize(cfg, 0, Claim::Free) == Some(false) {}
        s
    }

    /// Node 0 is an owner that was never up, and node 1's log is blank.
    pub fn fresh(cfg: &Config) -> State {
        let mut s = State {
            budget: cfg.budget,
            ..State::default()
        };
        s.nodes[0].sup = Some(Sup {
            owner: true,
            complete: true,
            ..Sup::default()
        });
        s
    }

    /// Everything that can happen next.
    pub fn next(&self, cfg: &Config, mut add: impl FnMut(Label, State)) {
        for n in 0..2 {
            let mut try_ = |label: &'static str, f: &dyn Fn(&mut State) -> bool| {
                let mut s = *self;
                if f(&mut s) {
                    s.settle(cfg, 0);
                    s.settle(cfg, 1);
                    add((n as u8, label), s);
                }
            };
            self.storage(cfg, n, &mut try_);
            self.life(cfg, n, &mut try_);
            self.host(cfg, n, &mut try_);
            self.link(cfg, n, &mut try_);
            self.administrator(cfg, n, &mut try_);
            self.surroundings(n, &mut try_);
        }
    }

    fn storage(&self, cfg: &Config, n: usize, try_: &mut Try<'_>) {
        let node = &self.nodes[n];
        if !self.reaches(n) {
            return;
        }
        for w in each(node.fly_local) {
            try_("a local write arrives", &|s| {
                s.local_arrives(cfg, n, w);
                true
            });
        }
        if node.fly_remote != 0 {
            try_("a remote write arrives", &|s| {
                s.remote_arrives(cfg, n);
                true
            });
        }
        if node.unflushed != 0 {
            try_("the remote is flushed", &|s| {
                s.flush_remote(n);
                true
            });
        }
        if node.fly_rec.is_some() {
            try_("the record is written", &|s| {
                if s.record_arrives(cfg, n) {
                    s.advance(n);
                }
                true
            });
        }
    }

    fn life(&self, cfg: &Config, n: usize, try_: &mut Try<'_>) {
        let node = &self.nodes[n];
        match node.life {
            Life::Down | Life::Fenced => try_("starts", &|s| s.boot(cfg, n)),
            _ if self.budget.crashes > 0 => try_("dies", &|s| {
                s.budget.crashes -= 1;
                s.die(n);
                true
            }),
            _ => {}
        }
        if node.job != Job::None {
            try_(step_name(node.job), &|s| s.step(cfg, n));
        }
        if let Some(job) = self.jobs(cfg, n) {
            try_("begins a job", &|s| {
                s.nodes[n].begin_job(job);
                true
            });
        }
        try_("looks after its units", &|s| s.look_after(cfg, n));
        if self.budget.takeovers > 0 && node.life == Life::Standby {
            try_("begins a takeover", &|s| {
                s.budget.takeovers -= 1;
                s.take_over(cfg, n, Asked::Timeout)
            });
        }
    }

    fn host(&self, cfg: &Config, n: usize, try_: &mut Try<'_>) {
        let node = &self.nodes[n];
        if node.life != Life::Serving {
            return;
        }
        try_("accepts a write", &|s| s.accept(cfg, n));
        for w in each(node.done & !node.told) {
            try_("acknowledges a write", &|s| s.acknowledge(n, w));
        }
        try_("cuts off its log", &|s| s.cut_off(n));
    }

    fn link(&self, cfg: &Config, n: usize, try_: &mut Try<'_>) {
        try_("says HELLO", &|s| s.greet(n));
        try_("its HELLO arrives", &|s| s.hello_arrives(cfg, n));
        try_("hears the answer", &|s| s.reply_arrives(cfg, n));
        try_("its frame arrives", &|s| s.frame_arrives(n));
        try_("its mark arrives", &|s| s.mark_arrives(n));
        try_("hears an acknowledgement", &|s| s.ack_arrives(n));
        if self.owner_may_close(n) {
            try_("gives its connection up", &|s| {
                s.hang_up(n);
                true
            });
        } else if self.budget.resets > 0 && self.conns[n].linked {
            try_("loses its connection", &|s| {
                s.budget.resets -= 1;
                s.hang_up(n);
                true
            });
        }
        if self.standby_may_close(n) {
            try_("is not read any more", &|s| {
                s.stop_reading(1 - n);
                true
            });
        } else if self.budget.resets > 0 && self.conns[n].linked {
            try_("is cut off by its partner", &|s| {
                s.budget.resets -= 1;
                s.stop_reading(1 - n);
                true
            });
        }
        if plant::planted(plant::Plant::OlderFrames) {
            try_("an old frame for it arrives", &|s| s.late_arrives(n));
        }
    }

    fn administrator(&self, cfg: &Config, n: usize, try_: &mut Try<'_>) {
        let node = &self.nodes[n];
        if self.budget.forces > 0 && node.life == Life::Standby {
            try_("is told to take over by force", &|s| {
                s.budget.forces -= 1;
                s.take_over(cfg, n, Asked::Force)
            });
        }
        let lost = node.mirror == Mirror::Lost && node.job == Job::None;
        let may = matches!(node.life, Life::Waiting(_) | Life::Serving)
            && node.fly_rec.is_none()
            && self.conns[n].side == Side::None
            && self.is_off(1 - n);
        if self.budget.detaches > 0 && lost && may {
            try_("is detached by force", &|s| {
                s.budget.detaches -= 1;
                s.lose_flights(1 - n);
                s.nodes[n].begin_job(Job::GoAlone(true));
                true
            });
        }
        let quiet = node.log & !(node.told & node.heard) == 0 && node.fly_remote == 0;
        if self.budget.swaps > 0
            && node.life == Life::Serving
            && node.mirror == Mirror::Mirrored
            && node.job == Job::None
            && self.conns[n].linked
            && quiet
        {
            try_("is told to hand over", &|s| {
                s.budget.swaps -= 1;
                s.nodes[n].begin_job(Job::HandOver);
                true
            });
        }
    }

    fn surroundings(&self, n: usize, try_: &mut Try<'_>) {
        if self.cut != Cut::None {
            if n == 0 {
                try_("the partition heals", &|s| {
                    s.cut = Cut::None;
                    true
                });
            }
        } else if self.budget.partitions > 0 {
            let mut cut = |name, cut| {
                try_(name, &|s| {
                    s.budget.partitions -= 1;
                    s.cut = cut;
                    true
                });
            };
            cut("its storage is cut", Cut::Storage(n as u8));
        }
        if n == 0 && self.budget.losses > 0 && self.visible != self.durable {
            try_("the remote loses its cache", &|s| {
                s.budget.losses -= 1;
                s.visible = s.durable;
                for node in &mut s.nodes {
                    node.unflushed = 0;
                }
                true
            });
        }
    }

    /// A frame of an older session arrives, and is taken.
    fn late_arrives(&mut self, p: usize) -> bool {
        use crate::state::Late;
        let Some((to, late)) = self.late else {
            return false;
        };
        let node = &mut self.nodes[p];
        if usize::from(to) != p || !matches!(node.life, Life::Standby | Life::Taking) {
            return false;
        }
        self.late = None;
        match late {
            Late::Record(w) => node.log |= 1 << w,
            Late::Synced => {
                if let Some(sup) = &mut node.sup {
                    sup.complete = true;
                }
            }
        }
        true
    }
}

type Try<'a> = dyn FnMut(&'static str, &dyn Fn(&mut State) -> bool) + 'a;

fn step_name(job: Job) -> &'static str {
    match job {
        Job::None => "nothing",
        Job::Start => "starts (next step)",
        Job::Begin => "begins its reign (next step)",
        Job::BeginAlone => "begins its reign alone (next step)",
        Job::GoAlone(_) => "goes on alone (next step)",
        Job::CatchUp => "has caught up (next step)",
        Job::Complete => "its partner is complete (next step)",
        Job::HandOver => "hands over (next step)",
        Job::HandedOver => "is handed the set (next step)",
        Job::Rewrite(_) => "writes its record again (next step)",
        Job::Take(_) => "takes over (next act)",
    }
}
