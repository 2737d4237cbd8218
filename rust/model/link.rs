// SPDX-License-Identifier: GPL-2.0

//! Connections between the nodes. `n` is the one that is, or says that it is, the owner.
//!
//! What an owner sends is on its way at once and arrives whenever it likes, or never: the standby may go
//! on to read from a connection that its owner has given up long ago.

use crate::{
    config::Config,
    state::{
        below, each, Conn, Cut, Greeting, Job, Late, Life, Pipe, Reply, Side, State, Sup, NUMBER,
    },
};
use core_crate::{
    partner::{answer, refused, AfterRefusal, Answer, Here, Mirror, MirrorEvent},
    plant::{planted, Plant},
    units::Generation,
    wire::{Hello, Reason, Refusal},
};

fn hello_of(cfg: &Config, from: usize, g: &Greeting) -> Hello {
    let reign = Generation(u32::from(g.reign));
    Hello::of_owner(&g.sup.open(from), reign, 1, cfg.record)
}

impl State {
    /// Whether messages go through.
    pub(crate) fn linked_up(&self) -> bool {
        !matches!(self.cut, Cut::Link | Cut::Both(_))
    }

    /// An owner connects and says HELLO.
    pub(crate) fn greet(&mut self, n: usize) -> bool {
        let node = &self.nodes[n];
        let conn = &self.conns[n];
        if !node.is_owner()
            || node.job != Job::None
            || conn.side != Side::None
            || !self.linked_up()
            || matches!(
                self.nodes[1 - n].life,
                Life::Down | Life::Starting | Life::Fenced
            )
        {
            return false;
        }
        if planted(Plant::MarkTakenBackTooEarly) {
            if let Some(record) = self.record.as_mut().filter(|r| usize::from(r.node) == n) {
                record.stale = None;
            }
        }
        let node = &self.nodes[n];
        let sup = node.sup();
        let begun = !matches!(node.life, Life::Waiting(false));
        let reign = sup.gen + u8::from(!begun);
        let conn = &mut self.conns[n];
        conn.side = Side::Asking;
        conn.reign = reign;
        conn.linked = false;
        conn.hello = Some(Greeting {
            sup,
            reign,
            live: true,
            again: false,
        });
        true
    }

    /// The partner reads HELLO.
    pub(crate) fn hello_arrives(&mut self, cfg: &Config, n: usize) -> bool {
        let p = 1 - n;
        let Some(hello) = self.conns[n].hello else {
            return false;
        };
        if !self.linked_up() || (hello.again && self.budget.doubles == 0) {
            return false;
        }
        if !(self.nodes[p].life == Life::Standby || self.nodes[p].is_owner())
            || self.nodes[p].job != Job::None
            || self.nodes[p].fly_rec.is_some()
        {
            // Busy: it comes again.
            return false;
        }
        if hello.again {
            self.budget.doubles -= 1;
        }
        let mine = self.nodes[p].sup.map(|s| s.open(p));
        let here = Here {
            region: u64::MAX,
            members: 1,
            record: cfg.record,
            node: NUMBER[p],
        };
        let reply = match answer(mine.as_ref(), &here, &hello_of(cfg, n, &hello)) {
            Answer::Refuse(r) => match r.reason {
                Reason::Outdated => {
                    Some(Reply::Outdated(u8::try_from(r.generation.0).unwrap_or(0)))
                }
                Reason::TwoOwners => Some(Reply::TwoOwners),
                _ => Some(Reply::Retry),
            },
            Answer::Welcome {
                durable,
                trusted,
                step_down,
            } => self.welcome(n, Sup::of(&durable), trusted, step_down, hello.live),
        };
        let conn = &mut self.conns[n];
        conn.hello = None;
        if hello.live {
            conn.reply = reply;
        }
        true
    }

    fn welcome(
        &mut self,
        n: usize,
        durable: Sup,
        trusted: bool,
        step_down: bool,
        live: bool,
    ) -> Option<Reply> {
        let p = 1 - n;
        self.stop_reading(p ^ 1);
        self.stop_reading_of(n);
        if step_down {
            let waits = matches!(self.nodes[p].life, Life::Waiting(_));
            self.hang_up(p);
            self.lose_hello(p);
            self.nodes[p].enter(if waits { Life::Standby } else { Life::Fenced });
            self.nodes[p].sup = Some(durable);
            if !waits {
                return None;
            }
        }
        self.nodes[p].sup = Some(durable);
        let conn = &mut self.conns[n];
        conn.read = Some(durable.gen);
        conn.trusted = trusted;
        conn.linked = live;
        conn.pipe = Pipe::default();
        conn.acked = 0;
        conn.acked_mark = 0;
        conn.complete = false;
        Some(Reply::Welcome(trusted))
    }

    /// The owner reads the answer.
    pub(crate) fn reply_arrives(&mut self, cfg: &Config, n: usize) -> bool {
        let conn = &self.conns[n];
        let (Some(reply), Side::Asking) = (conn.reply, conn.side) else {
            return false;
        };
        let busy = self.nodes[n].job != Job::None || self.nodes[n].fly_rec.is_some();
        if !self.linked_up() || busy {
            return false;
        }
        self.conns[n].reply = None;
        let mine = self.nodes[n].sup();
        let refusal = |reason, gen: u8| Refusal {
            reason,
            generation: Generation(u32::from(gen)),
        };
        let after = match reply {
            Reply::Welcome(_) => {
                let waits = self.nodes[n].life == Life::Waiting(false);
                if self.conns[n].reign != mine.gen + u8::from(waits) {
                    // It has gone on alone meanwhile: the partner has welcomed an older reign.
                    self.hang_up(n);
                } else if waits {
                    self.nodes[n].begin_job(Job::Begin);
                } else {
                    self.open(n);
                }
                return true;
            }
            Reply::Retry => AfterRefusal::Retry,
            Reply::Outdated(gen) => refused(&mine.open(n), &refusal(Reason::Outdated, gen)),
            Reply::TwoOwners => refused(&mine.open(n), &refusal(Reason::TwoOwners, mine.gen)),
        };
        self.hang_up(n);
        match after {
            AfterRefusal::Retry => {}
            AfterRefusal::StandBy if matches!(self.nodes[n].life, Life::Waiting(_)) => {
                self.stand_down(cfg, n);
            }
            AfterRefusal::StandBy => self.fence(n),
            AfterRefusal::Conflict => {
                self.bad = self.bad.or(Some("(e) two owners in one reign"));
                self.fence(n);
            }
        }
        true
    }

    /// The owner begins to mirror.
    pub(crate) fn open(&mut self, n: usize) {
        let trusted = self.conns[n].trusted;
        self.mirror(n, MirrorEvent::Connected { trusted });
        let node = &mut self.nodes[n];
        node.heard = 0;
        node.heard_mark = 0;
        let conn = &mut self.conns[n];
        conn.side = Side::Open;
        conn.reign = 0;
        if conn.linked {
            conn.pipe.begin = Some((node.mark, node.mark_seq));
            conn.pipe.first = node.log;
        }
    }

    /// The sender of a HELLO has gone. It may arrive all the same.
    pub(crate) fn lose_hello(&mut self, n: usize) {
        let late = self.budget.doubles > 0;
        let hello = &mut self.conns[n].hello;
        *hello = hello.filter(|_| late).map(|h| Greeting {
            live: false,
            again: true,
            ..h
        });
    }

    /// The owner's side of a connection is closed.
    pub(crate) fn hang_up(&mut self, n: usize) {
        let was = self.conns[n].side;
        let conn = &mut self.conns[n];
        conn.side = Side::None;
        conn.reply = None;
        conn.linked = false;
        conn.acked = 0;
        conn.acked_mark = 0;
        conn.complete = false;
        conn.reign = 0;
        self.lose_hello(n);
        if was == Side::Open && self.nodes[n].is_owner() {
            self.mirror(n, MirrorEvent::Disconnected);
            let node = &mut self.nodes[n];
            node.heard = 0;
            if matches!(node.job, Job::CatchUp | Job::Complete) {
                node.end_job();
            }
        }
        self.tidy(n);
    }

    /// This node stops to read from its owner.
    pub(crate) fn stop_reading(&mut self, p: usize) {
        self.stop_reading_of(1 - p);
    }

    fn stop_reading_of(&mut self, n: usize) {
        let conn = &mut self.conns[n];
        let Some(_) = conn.read.take() else { return };
        if planted(Plant::OlderFrames) {
            let pipe = &conn.pipe;
            let late = each(pipe.first).next().map(Late::Record);
            let late = late.or(pipe.synced.then_some(Late::Synced));
            if let Some(late) = late {
                self.late = Some(((1 - n) as u8, late));
            }
        }
        conn.pipe = Pipe::default();
        conn.linked = false;
        self.tidy(n);
    }

    /// What nobody looks at any more has no state.
    fn tidy(&mut self, n: usize) {
        let conn = &mut self.conns[n];
        if conn.read.is_none() && conn.side == Side::None {
            *conn = Conn {
                hello: conn.hello,
                ..Conn::default()
            };
        }
    }

    /// The standby reads the next frame: what it does with it.
    pub(crate) fn frame_arrives(&mut self, n: usize) -> bool {
        let p = 1 - n;
        let conn = &self.conns[n];
        let Some(reign) = conn.read else { return false };
        let node = &self.nodes[p];
        if !self.linked_up() || node.life != Life::Standby || node.job != Job::None {
            return false;
        }
        if node.sup().gen != reign {
            self.stop_reading(p);
            return true;
        }
        let Some(sup) = node.sup else { return false };
        let linked = conn.linked;
        let (node, conn) = (&mut self.nodes[p], &mut self.conns[n]);
        let pipe = &mut conn.pipe;
        if let Some((mark, mark_seq)) = pipe.begin.take() {
            node.log = if conn.trusted {
                node.log & !below(mark)
            } else {
                0
            };
            node.mark = mark;
            node.mark_seq = mark_seq;
            conn.trusted = false;
            // What is there already is stored again and changes nothing.
            let there = pipe.first & node.log;
            pipe.first &= !there;
            if linked {
                conn.acked |= there;
                conn.acked_mark = mark;
            }
        } else if let Some(w) = each(pipe.first).next() {
            pipe.first &= !(1 << w);
            node.log |= 1 << w;
            if linked {
                conn.acked |= 1 << w;
            }
        } else if pipe.synced {
            pipe.synced = false;
            pipe.first = pipe.then;
            pipe.then = 0;
            node.sup = Some(Sup {
                complete: true,
                ..sup
            });
            conn.complete = linked;
        } else if pipe.handover && pipe.mark.is_none() {
            pipe.handover = false;
            if sup.complete {
                self.stop_reading(p);
                self.nodes[p].begin_job(Job::HandedOver);
            }
        } else {
            return false;
        }
        true
    }

    /// The standby reads a mark.
    pub(crate) fn mark_arrives(&mut self, n: usize) -> bool {
        let p = 1 - n;
        let conn = &self.conns[n];
        let (Some(reign), Some((mark, mark_seq))) = (conn.read, conn.pipe.mark) else {
            return false;
        };
        let node = &self.nodes[p];
        if !self.linked_up()
            || node.life != Life::Standby
            || node.job != Job::None
            || node.sup().gen != reign
            || conn.pipe.begin.is_some()
            || (conn.pipe.first | conn.pipe.then) & below(mark) != 0
        {
            return false;
        }
        let (node, conn) = (&mut self.nodes[p], &mut self.conns[n]);
        conn.pipe.mark = None;
        node.mark = node.mark.max(mark);
        node.mark_seq = node.mark_seq.max(mark_seq);
        node.log &= !below(mark);
        if conn.linked {
            conn.acked_mark = mark;
        }
        true
    }

    /// The owner reads what is acknowledged.
    pub(crate) fn ack_arrives(&mut self, n: usize) -> bool {
        let conn = &mut self.conns[n];
        let node = &mut self.nodes[n];
        if conn.side != Side::Open || matches!(self.cut, Cut::Link | Cut::Both(_)) {
            return false;
        }
        let new = conn.acked & !node.heard & node.log != 0 || conn.acked_mark > node.heard_mark;
        let complete = conn.complete
            && node.mirror == Mirror::Finishing
            && node.job == Job::None
            && node.fly_rec.is_none();
        if !new && !complete {
            return false;
        }
        node.heard |= conn.acked;
        node.heard_mark = node.heard_mark.max(conn.acked_mark);
        conn.acked = 0;
        conn.acked_mark = 0;
        if complete {
            conn.complete = false;
            node.begin_job(Job::Complete);
        }
        true
    }

    /// An owner that has heard that its partner has all of the log goes on with that.
    pub(crate) fn catch_up(&mut self, n: usize) -> bool {
        let node = &mut self.nodes[n];
        if node.is_owner()
            && node.job == Job::None
            && node.fly_rec.is_none()
            && self.conns[n].side == Side::Open
            && matches!(node.mirror, Mirror::CatchingUp { .. })
            && node.log & !node.heard == 0
        {
            node.begin_job(Job::CatchUp);
            return true;
        }
        false
    }

    /// SYNCED is sent.
    pub(crate) fn send_synced(&mut self, n: usize) {
        let conn = &mut self.conns[n];
        conn.pipe.synced = conn.linked;
    }

    /// A new record, or mark, is sent.
    pub(crate) fn send(&mut self, n: usize, record: u8, mark: Option<(u8, u8)>) {
        let conn = &mut self.conns[n];
        if conn.side != Side::Open || !conn.linked {
            return;
        }
        if conn.pipe.synced {
            conn.pipe.then |= record;
        } else {
            conn.pipe.first |= record;
        }
        conn.pipe.mark = mark.or(conn.pipe.mark);
    }

    /// Whether the owner's side of the connection ends without anything being wrong with it.
    pub(crate) fn owner_may_close(&self, n: usize) -> bool {
        let conn = &self.conns[n];
        match conn.side {
            Side::None => false,
            _ if self.nodes[n].job == Job::Begin || self.nodes[n].job == Job::HandOver => false,
            Side::Asking => {
                let under_way = conn.hello.is_some_and(|h| h.live) || conn.reply.is_some();
                let gone = matches!(
                    self.nodes[1 - n].life,
                    Life::Down | Life::Starting | Life::Fenced
                );
                !self.linked_up() || !under_way || (gone && conn.reply.is_none())
            }
            Side::Open => !self.linked_up() || !conn.linked,
        }
    }

    /// The same of the standby's side.
    pub(crate) fn standby_may_close(&self, n: usize) -> bool {
        let conn = &self.conns[n];
        conn.read.is_some() && (!conn.linked || !self.linked_up())
    }
}
