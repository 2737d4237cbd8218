// SPDX-License-Identifier: GPL-2.0

//! The host: threads that make one request after the other, at whichever node takes them.

use crate::{
    bio::{Bio, BioOp, Status},
    exec::{self, violate, Event, MS},
    media::Tag,
    oracle::End,
    set::{Phase, Set},
    target,
    world::World,
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

/// A request: what, which volume, first sector, sectors.
pub type Request = (BioOp, u16, u64, u32);

#[derive(Default)]
pub struct Thread {
    todo: RefCell<VecDeque<Request>>,
    more: Event,
    busy: Cell<bool>,
}

impl Thread {
    pub fn give(&self, request: Request) {
        self.todo.borrow_mut().push_back(request);
        self.more.signal();
    }

    /// Whether all that was given is done.
    pub fn rests(&self) -> bool {
        !self.busy.get() && self.todo.borrow().is_empty()
    }
}

/// A thread of the host.
pub async fn run(world: Rc<World>, thread: Rc<Thread>) {
    loop {
        let request = thread.todo.borrow_mut().pop_front();
        thread.busy.set(request.is_some());
        match request {
            Some(request) => make(&world, request).await,
            None => drop(thread.more.wait_until(u64::MAX).await),
        }
    }
}

/// Makes a request until it works.
async fn make(world: &Rc<World>, request: Request) {
    loop {
        if let Some(set) = choose(world) {
            let done = submit(world, &set, request);
            drop(set);
            while done.status.borrow().is_none() {
                done.end.wait_until(u64::MAX).await;
            }
            if matches!(*done.status.borrow(), Some(Status::Ok(_))) {
                return;
            }
        }
        exec::pass(2 * MS, 30 * MS).await;
    }
}

/// The node that serves, mostly; now and then the other one is tried.
fn choose(world: &World) -> Option<Rc<Set>> {
    let up: Vec<Rc<Set>> = (0..2)
        .filter_map(|n| world.set(n))
        .filter(|s| !s.suspended.get())
        .collect();
    let serving = up.iter().find(|s| s.phase() == Phase::Serving);
    match serving {
        Some(s) if !exec::rand(|r| r.one_in(8)) => Some(s.clone()),
        _ if up.is_empty() => None,
        _ => {
            let n = up.len() as u64;
            Some(up[exec::rand(|r| r.below(n)) as usize].clone())
        }
    }
}

fn submit(world: &Rc<World>, set: &Rc<Set>, request: Request) -> Rc<crate::bio::Done> {
    let (op, member, sector, sectors) = request;
    let (place, since, tag): (usize, u64, Tag) = {
        let mut oracle = world.oracle.borrow_mut();
        let place = oracle.place(member, sector);
        match op {
            BioOp::Write | BioOp::Zero => {
                let tag = oracle.submit(place, sectors, op == BioOp::Zero);
                (place, 0, tag)
            }
            _ => (place, oracle.now(), 0),
        }
    };
    set.say(|| format!("host: {op:?} {tag} of volume {member}, {sector}+{sectors}"));
    set.inflight.set(set.inflight.get() + 1);
    let node = set.node;
    let (w, inflight) = (Rc::downgrade(world), set.inflight.clone());
    let told = move |status: &Status| {
        inflight.set(inflight.get() - 1);
        let Some(world) = w.upgrade() else { return };
        exec::log(|| format!("node {node}: host: {op:?} {tag}: {status:?}"));
        match (op, status) {
            (BioOp::Write | BioOp::Zero, _) => {
                let end = match status {
                    Status::Ok(_) => End::Ok,
                    Status::Refused => End::Refused,
                    Status::Error | Status::Lost => End::Unknown,
                };
                world.oracle.borrow_mut().told(tag, end);
                if end == End::Ok {
                    world.acknowledged(node, tag);
                }
            }
            (BioOp::Read, Status::Ok(tags)) => {
                if !world.reads_count(node, since) {
                    return;
                }
                for (n, found) in tags.iter().enumerate() {
                    world.oracle.borrow_mut().read(place + n, *found, since);
                }
                if tags.len() != sectors as usize {
                    violate("a short read".into());
                }
            }
            _ => {}
        }
    };
    let (bio, done) = Bio::new(request, tag, set.alive.clone(), told);
    // In a thread of the node's: it dies with it, in the middle of an append if need be.
    let set = set.clone();
    exec::spawn(Some(node), async move { target::map(&set, bio) });
    done
}

/// A read of everything, at a node that serves; the checks are in its end.
pub async fn read_all(world: &Rc<World>) {
    for member in 0..world.cfg.members {
        make(world, (BioOp::Read, member, 0, world.cfg.sectors as u32)).await;
    }
}
