// SPDX-License-Identifier: GPL-2.0

//! The lives of a node, and its jobs.

use crate::{
    config::Config,
    state::{below, each, seq, Job, Life, Node, Rec, Side, State, Sup, LOCAL, METADATA, REMOTE},
    steps::{self, Step},
};
use core_crate::{
    ownership::{
        begin, caught_up, completed, extend, go_alone, handed_over, handing_over, may_go_alone,
        rewrite, start, stood_down, watch, Claim, Durable, Found, PartnerLost, Reach, Start, Watch,
    },
    partner::{Mirror, MirrorEvent},
    plant::{planted, Plant},
    takeover::{acts, Act, Asked, Source},
    units::Generation,
};

impl Node {
    /// The superblock of a node that has one.
    pub(crate) fn sup(&self) -> Sup {
        self.sup.unwrap_or_default()
    }

    /// Whether it is an owner that lives.
    pub(crate) fn is_owner(&self) -> bool {
        matches!(
            self.life,
            Life::Waiting(_) | Life::Replaying | Life::Serving
        )
    }

    /// What lasts, and what is in flight.
    fn without_life(&self) -> Node {
        Node {
            sup: self.sup,
            log: self.log,
            mark: self.mark,
            mark_seq: self.mark_seq,
            fly_local: self.fly_local,
            fly_remote: self.fly_remote,
            fly_rec: self.fly_rec,
            ..Node::default()
        }
    }

    /// Forgets what an owner knows of its log and its partner.
    pub(crate) fn enter(&mut self, life: Life) {
        *self = Node {
            life,
            ..self.without_life()
        };
    }

    pub(crate) fn begin_job(&mut self, job: Job) {
        self.job = job;
        self.at = 0;
        self.plan_rec = None;
        self.plan_sup = None;
    }

    pub(crate) fn end_job(&mut self) {
        self.begin_job(Job::None);
    }
}

impl State {
    /// The last sequence that this node knows of.
    pub(crate) fn last(&self, n: usize) -> u8 {
        let node = &self.nodes[n];
        each(node.log)
            .map(|w| self.seqs[usize::from(w)])
            .fold(node.mark_seq, u8::max)
    }

    /// How far the log of an owner has come.
    pub(crate) fn reach(&self, n: usize) -> Reach {
        let node = &self.nodes[n];
        let mut acked = node.mark_seq;
        for w in each(node.log) {
            if node.told & (1 << w) == 0 {
                break;
            }
            acked = self.seqs[usize::from(w)];
        }
        Reach {
            shipped: seq(node.mark_seq),
            acked: seq(acked),
            last: seq(self.last(n)),
        }
    }

    /// A node dies.
    pub(crate) fn die(&mut self, n: usize) {
        self.leave(n);
        self.nodes[n].enter(Life::Down);
    }

    /// It starts; what an earlier life had in flight is gone. Without reservations it is an
    /// administrator's promise that the old owner stays off until a forced takeover is done.
    pub(crate) fn boot(&mut self, cfg: &Config, n: usize) -> bool {
        if !cfg.reserves() && self.nodes[1 - n].job == Job::Take(Asked::Force) {
            return false;
        }
        self.leave(n);
        let node = &mut self.nodes[n];
        node.enter(Life::Starting);
        self.lose_flights(n);
        let node = &mut self.nodes[n];
        node.begin_job(Job::Start);
        self.step(cfg, n)
    }

    /// Its ends of connections are closed.
    fn leave(&mut self, n: usize) {
        self.hang_up(n);
        self.stop_reading(n);
        self.lose_hello(n);
    }

    /// It has learnt of a newer reign.
    pub(crate) fn fence(&mut self, n: usize) {
        if matches!(
            self.nodes[n].life,
            Life::Down | Life::Starting | Life::Fenced
        ) {
            return;
        }
        if self.nodes[n].life == Life::Standby || self.nodes[n].life == Life::Taking {
            return;
        }
        self.leave(n);
        self.nodes[n].enter(Life::Fenced);
    }

    /// An owner that has not served learns of a newer reign.
    pub(crate) fn stand_down(&mut self, cfg: &Config, n: usize) {
        let sup = self.nodes[n].sup();
        if planted(Plant::StaleReplay) {
            self.hang_up(n);
            self.nodes[n].end_job();
            return self.own(cfg, n);
        }
        self.leave(n);
        let node = &mut self.nodes[n];
        node.enter(Life::Standby);
        node.sup = Some(Sup::of(&stood_down(&sup.open(n))));
    }

    /// Reads its log, as an owner; then [`State::settle`] replays it.
    pub(crate) fn own(&mut self, cfg: &Config, n: usize) {
        let alone = self.nodes[n].sup().alone;
        self.load(cfg, n, Mirror::at_start(true, alone));
        self.nodes[n].life = Life::Replaying;
    }

    /// Reads its log.
    pub(crate) fn load(&mut self, cfg: &Config, n: usize, mirror: Mirror) {
        let limit = match self.record {
            Some(r) if cfg.record && usize::from(r.node) == n => r.stale.map(|s| s.2),
            _ => None,
        };
        let node = &mut self.nodes[n];
        node.issued = 0;
        node.done = 0;
        node.told = 0;
        node.heard = 0;
        node.heard_mark = 0;
        node.shipped = node.mark;
        node.unflushed = 0;
        node.mirror = mirror;
        node.limit = limit.unwrap_or(u8::MAX);
    }

    /// Something happens to what the partner's copy counts for.
    pub(crate) fn mirror(&mut self, n: usize, event: MirrorEvent) {
        match self.nodes[n].mirror.on(event) {
            Ok(next) => self.nodes[n].mirror = next,
            Err(_) => self.bad = self.bad.or(Some("an event that cannot happen")),
        }
    }

    fn plan(&mut self, n: usize, durable: &Durable) {
        let node = &mut self.nodes[n];
        node.plan_rec = durable.record.as_ref().map(Rec::of);
        node.plan_sup = Some(Sup::of(&durable.mine));
    }

    /// The next step of a job; `false`: it cannot be done now.
    pub(crate) fn step(&mut self, cfg: &Config, n: usize) -> bool {
        let job = self.nodes[n].job;
        if let Job::Take(asked) = job {
            return self.act(cfg, n, asked);
        }
        let Some(step) = steps::of(job).get(usize::from(self.nodes[n].at)) else {
            return false;
        };
        match step {
            Step::Reserve => self.reserve(cfg, n),
            Step::Decide => return self.decide_step(cfg, n, job),
            Step::Seize => return self.seize_step(cfg, n, job),
            Step::WriteRecord => return self.issue_record(n),
            Step::WriteSuper => self.write_super(n, job),
            Step::Open => {
                self.nodes[n].end_job();
                self.open(n);
                return true;
            }
            Step::Detach => {
                self.mirror(n, MirrorEvent::Detached);
                if let Life::Waiting(_) = self.nodes[n].life {
                    self.nodes[n].life = Life::Replaying;
                }
            }
            Step::Replay => {
                self.nodes[n].end_job();
                self.own(cfg, n);
                return true;
            }
            Step::CaughtUp => self.mirror(n, MirrorEvent::CaughtUp),
            Step::Synced => self.send_synced(n),
            Step::Completed => {
                self.mirror(n, MirrorEvent::Completed);
                if let Life::Waiting(_) = self.nodes[n].life {
                    self.nodes[n].life = Life::Replaying;
                }
            }
            Step::Release => {
                for unit in [LOCAL, REMOTE, METADATA] {
                    if self.held[unit].is_some_and(|h| usize::from(h.0) == n) && self.reaches(n) {
                        self.held[unit] = None;
                    }
                }
            }
            Step::Say => {
                self.conns[n].pipe.handover = self.conns[n].linked;
                self.hang_up(n);
                self.nodes[n].enter(Life::Standby);
                return true;
            }
            Step::Restart => {
                let node = &mut self.nodes[n];
                node.enter(Life::Starting);
                node.begin_job(Job::Start);
                let _ = self.step(cfg, n);
                return true;
            }
        }
        self.advance(n);
        true
    }

    /// On to the next step; a job whose steps are done is over.
    pub(crate) fn advance(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.job == Job::None {
            return;
        }
        node.at += 1;
        if !matches!(node.job, Job::Take(_)) && usize::from(node.at) >= steps::of(node.job).len() {
            node.end_job();
        }
    }

    fn reserve(&mut self, cfg: &Config, n: usize) {
        if self.nodes[n].sup().owner {
            while self.seize(cfg, n, Claim::Free) == Some(false) {}
        }
    }

    /// Issues the record write, if there is one; the next step comes when it has arrived.
    pub(crate) fn issue_record(&mut self, n: usize) -> bool {
        let node = &mut self.nodes[n];
        if node.fly_rec.is_some() {
            return false;
        }
        match node.plan_rec {
            None => self.advance(n),
            some => node.fly_rec = some,
        }
        true
    }

    fn write_super(&mut self, n: usize, job: Job) {
        let node = &mut self.nodes[n];
        let mine = node.sup().open(n);
        let new = match job {
            Job::CatchUp => Some(Sup::of(&caught_up(&mine))),
            Job::HandOver => Some(Sup::of(&handing_over(&mine))),
            _ => node.plan_sup.take(),
        };
        node.sup = new.or(node.sup);
        if matches!(job, Job::Begin | Job::BeginAlone | Job::GoAlone(_)) {
            self.reign(n);
        }
    }

    /// A reign has begun, durably.
    pub(crate) fn reign(&mut self, n: usize) {
        let gen = self.nodes[n].sup().gen;
        if gen == self.newest.0 && n as u8 != self.newest.1 {
            self.bad = self.bad.or(Some("(e) two reigns with one generation"));
        }
        // An older one is begun too late: its owner's partner has taken over. It must not get to
        // anything.
        self.newest = self.newest.max((gen, n as u8));
    }

    fn seize_step(&mut self, cfg: &Config, n: usize, job: Job) -> bool {
        let gen = self.nodes[n].sup().gen;
        let claim = match job {
            Job::Begin => Claim::Agreed(Generation(u32::from(self.conns[n].reign))),
            Job::GoAlone(_) => Claim::Agreed(Generation(u32::from(gen) + 1)),
            _ => Claim::Free,
        };
        match self.seize(cfg, n, claim) {
            Some(true) => self.advance(n),
            Some(false) => {}
            None => self.give_up(n, job),
        }
        true
    }

    /// A job cannot go on.
    fn give_up(&mut self, n: usize, job: Job) {
        self.nodes[n].end_job();
        if job == Job::Begin {
            self.hang_up(n);
        }
    }

    fn decide_step(&mut self, cfg: &Config, n: usize, job: Job) -> bool {
        let mine = self.nodes[n].sup.map(|s| s.open(n));
        let found = self.found(cfg, n);
        let hold = self.hold(cfg, n);
        if job == Job::Start {
            match start(mine.as_ref(), true, &found, hold) {
                Err(_) => return false,
                Ok(Start::StandBy) => self.nodes[n].enter(Life::Standby),
                Ok(Start::Outdated(_)) => self.stand_down(cfg, n),
                Ok(Start::Resume) => {
                    self.nodes[n].enter(Life::Taking);
                    self.nodes[n].begin_job(Job::Take(Asked::Resume));
                }
                Ok(Start::Ask) => {
                    let alone = self.nodes[n].sup().alone;
                    self.nodes[n].enter(Life::Waiting(false));
                    self.load(cfg, n, Mirror::at_start(true, alone));
                }
                Ok(Start::Serve) => self.nodes[n].begin_job(Job::BeginAlone),
            }
            return true;
        }
        let Some(mine) = mine else { return false };
        if found == Found::Unreadable {
            return false;
        }
        let reach = self.reach(n);
        match job {
            Job::Begin | Job::BeginAlone => {
                let alone = job == Job::BeginAlone;
                let reign = if alone {
                    Generation(mine.generation.0 + 1)
                } else {
                    Generation(u32::from(self.conns[n].reign))
                };
                match begin(&mine, &found, reign, alone, &reach) {
                    Ok(durable) => self.plan(n, &durable),
                    Err(_) if alone => {
                        self.nodes[n].begin_job(Job::Start);
                        return true;
                    }
                    Err(_) => {
                        self.give_up(n, job);
                        return true;
                    }
                }
            }
            Job::GoAlone(forced) => match go_alone(&mine, &found, &reach, forced) {
                Some(durable) => self.plan(n, &durable),
                None => return false,
            },
            Job::Complete => {
                self.nodes[n].plan_rec = completed(&mine, &found).as_ref().map(Rec::of);
            }
            Job::HandedOver => self.plan(n, &handed_over(&mine, &found)),
            Job::Rewrite(more) => {
                let record = found.of(&mine.uuid);
                self.nodes[n].plan_rec = if more {
                    record.and_then(|r| extend(r, reach.last))
                } else {
                    rewrite(&mine, &found, &reach)
                }
                .as_ref()
                .map(Rec::of);
            }
            _ => {}
        }
        self.advance(n);
        true
    }

    /// What an owner may begin by itself.
    pub(crate) fn jobs(&self, cfg: &Config, n: usize) -> Option<Job> {
        let node = &self.nodes[n];
        if node.job != Job::None || node.fly_rec.is_some() || !node.is_owner() {
            return None;
        }
        let mine = node.sup().open(n);
        let found = self.found(cfg, n);
        let serving = node.life == Life::Serving;
        if node.mirror == Mirror::Lost
            && self.conns[n].side == Side::None
            && cfg.lost == PartnerLost::Continue
            && may_go_alone(&mine, cfg.lost, serving, &found, self.hold(cfg, n))
        {
            return Some(Job::GoAlone(false));
        }
        if node.limit != u8::MAX && node.life == Life::Serving {
            let last = seq(self.last(n));
            let record = found.of(&mine.uuid).filter(|r| r.node == mine.node);
            if record.is_some_and(|r| extend(r, last).is_some()) {
                return Some(Job::Rewrite(true));
            }
        }
        None
    }

    /// A serving owner looks after what it holds.
    pub(crate) fn look_after(&mut self, cfg: &Config, n: usize) -> bool {
        let node = &self.nodes[n];
        if !matches!(node.life, Life::Serving | Life::Replaying) || !self.reaches(n) {
            return false;
        }
        let mine = node.sup().open(n);
        let session = self.conns[n].side == Side::Open;
        match watch(&mine, &self.found(cfg, n), self.hold(cfg, n), session) {
            Watch::Fine => false,
            Watch::Fenced(_) => {
                self.fence(n);
                true
            }
            Watch::Reserve => {
                let claim = Claim::Agreed(mine.generation);
                while self.seize(cfg, n, claim) == Some(false) {}
                true
            }
            Watch::Rewrite => {
                let idle = node.job == Job::None && node.fly_rec.is_none();
                if idle {
                    self.nodes[n].begin_job(Job::Rewrite(false));
                }
                idle
            }
        }
    }

    /// What is done at once, whenever it can be: writes that may go on go on, the next one is replayed
    /// or shipped. That they may have waited is covered: they may be on their way as long as one likes.
    pub(crate) fn settle(&mut self, cfg: &Config, n: usize) {
        while self.is_private(n) && self.step(cfg, n) {}
        let copy = self.nodes[1 - n].sup();
        // One that takes over by force has shut this node out before it gives its copy up.
        let whole = copy.owner || copy.complete || self.forced;
        let node = &mut self.nodes[n];
        match node.life {
            Life::Serving => {
                for w in each(node.log & !node.issued) {
                    let bit = 1 << w;
                    let mirrored = node.mirror.acks_count() && node.heard & bit != 0;
                    if mirrored && !whole {
                        self.bad = self
                            .bad
                            .or(Some("(1) a write counts on a copy that is not complete"));
                    }
                    if mirrored || !node.mirror.writes_wait() {
                        node.issued |= bit;
                        node.fly_local |= bit;
                    }
                }
            }
            Life::Replaying if node.fly_local == 0 => {
                if let Some(w) = each(node.log & !node.done & !node.issued).next() {
                    node.issued |= 1 << w;
                    node.fly_local = 1 << w;
                } else if node.log & !node.done == 0 {
                    node.told = node.log;
                    node.life = Life::Serving;
                    return self.settle(cfg, n);
                }
            }
            _ => {}
        }
        self.ship(n);
        if self.catch_up(n) {
            return self.settle(cfg, n);
        }
        let node = &mut self.nodes[n];
        if !node.is_owner() {
            return;
        }
        // What is cut off has no state.
        let live = node.log | !below(self.given);
        node.issued &= live;
        node.done &= live;
        node.told &= live;
        node.heard &= live;
        if !node.mirror.marks_wait() {
            node.heard_mark = 0;
        }
    }

    /// Whether the next step is one that nobody else sees, and behind which the node can die just as
    /// well as before it: then nothing has to be tried in between. To send something, or to issue an
    /// I/O, is one: it arrives later.
    fn is_private(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let at = usize::from(node.at);
        if let Job::Take(_) = node.job {
            return match acts().get(at) {
                Some(Act::Revoke | Act::FirstMark) => true,
                Some(Act::Load) => node.source == Some(Source::Mirror),
                Some(Act::WriteRecord) => node.fly_rec.is_none(),
                Some(Act::Replay) => at + 1 == acts().len(),
                _ => false,
            };
        }
        match steps::of(node.job).get(at) {
            Some(Step::WriteRecord) => node.fly_rec.is_none(),
            Some(
                Step::Open
                | Step::Detach
                | Step::Replay
                | Step::CaughtUp
                | Step::Synced
                | Step::Completed
                | Step::Say
                | Step::Restart,
            ) => true,
            _ => false,
        }
    }
}
