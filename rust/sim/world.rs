// SPDX-License-Identifier: GPL-2.0

//! All there is: two nodes, what both reach, the link between them, the host, the administrator.

use crate::{
    alone,
    config::Config,
    disk::Disk,
    exec::{self, violate, MS},
    handover,
    host::{self, Thread},
    media::{crc, Tag},
    net::Net,
    oracle::Oracle,
    pmem::{Pmem, Region},
    record::Sealed,
    recovery,
    schedule::{Event, What, Who},
    set::{self, Phase, Set},
    takeover, units, worker,
};
use core_crate::{
    creation, format::Mark, layout::Geometry, partner::Mirror, recover, takeover::Asked,
    units::Generation,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

pub const UUID: [u8; 16] = *b"simulated set  0";

/// A crash that waits for its moment.
struct Trap {
    moment: Moment,
    who: Who,
    fuse: u64,
    down: [u64; 2],
}

enum Moment {
    /// So many writes from now are acknowledged.
    Acked(u64),
    Enters(Phase),
}

/// How long things may take once all faults have ended, in virtual time.
const PATIENCE: u64 = 20_000 * MS;

pub struct World {
    pub cfg: Config,
    pub net: Net,
    pub local: Vec<Rc<Disk>>,
    pub remote: Vec<Rc<Disk>>,
    pub meta: Option<Rc<Disk>>,
    pub sealed: Sealed,
    pub pmem: [Rc<Pmem>; 2],
    sets: [RefCell<Option<Rc<Set>>>; 2],
    /// When a node that is down comes up.
    up_at: [Cell<u64>; 2],
    pub oracle: RefCell<Oracle>,
    threads: Vec<Rc<Thread>>,
    /// When each reign began to serve, by the oracle's clock: which node, which generation.
    reigns: RefCell<Vec<(u64, usize, Generation)>>,
    /// The newest reign that each node has begun.
    begun: [Cell<Generation>; 2],
    healed: Cell<bool>,
    /// Crashes that wait for their moment.
    traps: RefCell<Vec<Trap>>,
    /// Nodes that die before the next step, or with so long a fuse; and when they are up again.
    doomed: RefCell<Vec<(usize, u64, u64)>>,
    /// Local units lose their power before the next step.
    dark: Cell<bool>,
    pub done: Cell<bool>,
    remote_arrivals: Cell<u64>,
    local_arrivals: Cell<u64>,
}

impl World {
    pub fn new(cfg: Config) -> Rc<World> {
        let geometry = Geometry::new(cfg.lanes, 16, 512 * 1024).expect("a legal shape");
        let bytes = geometry.bytes().max(1 << 20);
        let disks = |name, volatile| {
            (0..cfg.members)
                .map(|_| Disk::new(name, cfg.sectors, volatile))
                .collect::<Vec<_>>()
        };
        let world = Rc::new(World {
            net: Net::default(),
            local: disks("local", cfg.volatile_local),
            remote: disks("remote", cfg.volatile_remote),
            meta: cfg.record.then(|| Disk::new("metadata", 2, true)),
            sealed: Sealed::default(),
            pmem: [0, 1].map(|n| Rc::new(Pmem::new(n, bytes))),
            sets: Default::default(),
            up_at: Default::default(),
            oracle: RefCell::new(Oracle::new(cfg.members, cfg.sectors)),
            threads: (0..cfg.threads).map(|_| Rc::default()).collect(),
            reigns: RefCell::default(),
            begun: Default::default(),
            healed: Cell::new(false),
            traps: RefCell::default(),
            doomed: RefCell::default(),
            dark: Cell::new(false),
            done: Cell::new(false),
            remote_arrivals: Cell::new(0),
            local_arrivals: Cell::new(0),
            cfg,
        });
        let mut mark = Mark::first(Generation(0), geometry.lanes());
        if world.cfg.begin_at > 0 {
            for t in mark.tails.iter_mut().take(usize::from(geometry.lanes())) {
                t.data_pos = geometry.lane_data() - world.cfg.begin_at;
            }
        }
        set::format(&world.pmem[0], geometry, &mark, World::number(0));
        for t in &world.threads {
            exec::spawn(None, host::run(world.clone(), t.clone()));
        }
        exec::spawn(None, administrator(world.clone()));
        world.boot(0);
        world.boot(1);
        world
    }

    /// By which number a node goes.
    pub fn number(node: usize) -> u32 {
        0x5100 + node as u32 * 0x11
    }

    pub fn set(&self, node: usize) -> Option<Rc<Set>> {
        self.sets[node].borrow().clone()
    }

    /// A node comes up.
    fn boot(self: &Rc<World>, node: usize) {
        self.net.lives(node);
        let durable = match recover::read_super(&*self.pmem[node], crc) {
            Ok(d) => d,
            Err(d) => return violate(format!("node {node}: its log region is refused: {d}")),
        };
        if durable.is_some() && creation::claimed(&*self.pmem[node]) == Ok(true) {
            let Ok(()) = creation::release(&mut Region(&self.pmem[node]));
        }
        exec::log(|| {
            let what = durable.map(|d| (d.generation.0, d.role, d.copy, d.alone));
            format!("node {node} comes up: {what:?}")
        });
        let set = Set::new(self, node, durable);
        *self.sets[node].borrow_mut() = Some(set.clone());
        exec::spawn(Some(node), async move {
            if let Err(e) = recovery::start(&set).await {
                // The administrator makes it anew.
                set.enter(Phase::Failed, || format!("cannot start: {e:?}"));
            }
        });
    }

    /// A node dies; it comes up again after `down`.
    pub fn crash(&self, node: usize, down: u64) {
        exec::log(|| format!("node {node} dies"));
        self.take_down(node, down);
        self.pmem[node].crash();
    }

    fn take_down(&self, node: usize, down: u64) {
        let Some(set) = self.sets[node].borrow_mut().take() else {
            return;
        };
        set.alive.set(false);
        self.up_at[node].set(exec::now().saturating_add(down));
        exec::kill(node);
        drop(set);
        self.disks().for_each(|d| d.abort(node));
        self.net.died(node);
    }

    /// Somebody who fences powers the node off.
    pub fn power_off(&self, node: usize) {
        if self.set(node).is_some() {
            self.crash(node, 200 * MS);
        }
    }

    fn disks(&self) -> impl Iterator<Item = &Rc<Disk>> {
        self.local.iter().chain(&self.remote).chain(&self.meta)
    }

    /// Springs the traps whose moment has come at a node.
    fn spring(&self, node: usize, came: impl Fn(&mut Moment) -> bool) {
        self.traps.borrow_mut().retain_mut(|t| {
            if !came(&mut t.moment) {
                return true;
            }
            exec::log(|| format!("*** a trap springs at node {node}: {:?}", t.who));
            let mut doomed = self.doomed.borrow_mut();
            if t.who != Who::Other {
                doomed.push((node, t.fuse, t.down[node]));
            }
            if t.who != Who::That {
                doomed.push((1 - node, t.fuse, t.down[1 - node]));
            }
            if t.who == Who::Both && t.fuse == 0 {
                self.dark.set(true);
            }
            false
        });
    }

    /// Those die whose time has come.
    fn die(&self) {
        for (node, fuse, down) in self.doomed.take() {
            match self.set(node) {
                Some(_) if fuse > 0 && !self.healed.get() => {
                    self.up_at[node].set(down);
                    self.pmem[node].light(fuse);
                }
                Some(_) => self.crash(node, down),
                None => {}
            }
        }
        if self.dark.replace(false) {
            self.local.iter().chain(&self.meta).for_each(|d| d.cut());
        }
    }

    /// A set has entered a phase.
    pub fn entered(&self, set: &Set, phase: Phase) {
        self.spring(set.node, |m| matches!(m, Moment::Enters(p) if *p == phase));
        let now = self.oracle.borrow_mut().now();
        set.entered_at.set(now);
        if phase == Phase::Replaying {
            self.begun[set.node].set(set.generation());
        }
        if phase != Phase::Serving {
            return;
        }
        let g = set.generation();
        let mut reigns = self.reigns.borrow_mut();
        if let Some((_, other, _)) = reigns.iter().find(|(_, n, r)| *r == g && *n != set.node) {
            violate(format!(
                "(7) nodes {other} and {} both serve in generation {g}",
                set.node
            ));
        }
        reigns.push((now, set.node, g));
    }

    /// A node has acknowledged a write.
    pub fn acknowledged(&self, node: usize, tag: Tag) {
        self.spring(node, |m| match m {
            Moment::Acked(n) => {
                *n -= 1;
                *n == 0
            }
            Moment::Enters(_) => false,
        });
        let oracle = self.oracle.borrow();
        if self.cfg.sync {
            oracle.check_sync(tag, &self.remote);
        }
        let reign = self.set(node).and_then(|s| s.journal()).map(|j| j.reign());
        let submit = oracle.submitted_at(tag);
        let newer = self.reigns.borrow().iter().any(|(at, other, g)| {
            *other != node && *at < submit && reign.is_none_or(|mine| *g > mine)
        });
        if newer {
            violate(format!(
                "(7) node {node} acknowledges write {tag}, which was submitted in a newer reign"
            ));
        }
    }

    /// Whether a read that a node has answered is looked at: not if it is down.
    pub fn reads_count(&self, node: usize, since: u64) -> bool {
        let Some(set) = self.set(node) else {
            return false;
        };
        if set.phase() == Phase::Standby && set.entered_at.get() < since {
            violate(format!("(7) node {node} serves a read, and stands by"));
        }
        if set.phase() == Phase::Fenced {
            violate(format!(
                "(7) node {node} answers a read, and knows that it is fenced"
            ));
        }
        true
    }

    /// Both say that they own the set, in one generation.
    pub fn two_owners(&self) {
        violate("(7) both nodes own the set in one generation".into());
    }

    /// A complete copy, with which nothing has happened but crashes, cannot be read.
    pub fn damaged_copy(&self, node: usize) {
        violate(format!("(5) the complete copy of node {node} is damaged"));
    }

    /// The partner has records that the owner has not, which sends them only once they are durable.
    pub fn owner_lost_records(&self, node: usize) {
        violate(format!(
            "(1) node {node}'s log has lost records that its partner has"
        ));
    }

    /// A node takes a frame for wrong that the other one meant.
    pub fn refused(&self, node: usize, what: String) {
        violate(format!("node {node} refuses {what}"));
    }

    /// What happens, and is checked, after every step.
    pub fn check(&self) {
        self.die();
        let arrived = |disks: &[Rc<Disk>], before: &Cell<u64>| {
            let sum = disks.iter().map(|d| d.arrivals.get()).sum();
            before.replace(sum) != sum
        };
        if arrived(&self.remote, &self.remote_arrivals) {
            self.oracle.borrow().check_remote(&self.remote);
        }
        if arrived(&self.local, &self.local_arrivals) {
            self.oracle.borrow().check_local(&self.local);
        }
    }

    /// An event of the schedule happens.
    pub fn happens(self: &Rc<World>, what: &What) {
        if !matches!(what, What::Io { .. }) {
            exec::log(|| format!("*** {what:?}"));
        }
        let until = |ns: &u64| exec::now() + ns;
        let disks = |n: usize| match n {
            0 => self.local.clone(),
            1 => self.remote.clone(),
            _ => self.meta.iter().cloned().collect(),
        };
        match what {
            What::Io {
                thread,
                op,
                member,
                sector,
                sectors,
            } => self.threads[*thread].give((*op, *member, *sector, *sectors)),
            What::Crash { node, fuse, down } => match self.set(*node) {
                Some(_) if *fuse > 0 => {
                    self.pmem[*node].light(*fuse);
                    self.up_at[*node].set(*down);
                }
                Some(_) => self.crash(*node, *down),
                None => {}
            },
            What::CrashAtAck { nth, who, down } => self.traps.borrow_mut().push(Trap {
                moment: Moment::Acked(*nth),
                who: *who,
                fuse: 0,
                down: *down,
            }),
            What::CrashIn {
                phase,
                who,
                fuse,
                down,
            } => self.traps.borrow_mut().push(Trap {
                moment: Moment::Enters(*phase),
                who: *who,
                fuse: *fuse,
                down: *down,
            }),
            What::SitePower { down } => {
                for (node, down) in down.iter().enumerate() {
                    if self.set(node).is_some() {
                        self.crash(node, *down);
                    }
                }
                self.local.iter().chain(&self.meta).for_each(|d| d.cut());
            }
            What::LocalPower => self.local.iter().for_each(|d| d.cut()),
            What::RemotePower => self.remote.iter().for_each(|d| d.cut()),
            What::Partition { from, ns } => {
                for (cut, _) in self.net.cut_until.iter().zip(from).filter(|(_, f)| **f) {
                    cut.set(until(ns));
                }
            }
            What::Reset => self.net.reset(),
            What::Flaky { ns } => {
                let (world, ns) = (self.clone(), *ns);
                self.net.slow_until.set(until(&ns));
                exec::spawn(None, async move {
                    for _ in 0..3 {
                        exec::pass(0, ns / 3).await;
                        world.net.reset();
                    }
                });
            }
            What::Corrupt { nth, how } => self.net.corrupt.set(Some((*nth, *how))),
            What::SlowLink { ns } => self.net.slow_until.set(until(ns)),
            What::SlowDisk { disk, ns } => {
                disks(*disk)
                    .iter()
                    .for_each(|d| d.slow_until.set(until(ns)));
            }
            What::FailingDisk { disk, ns } => {
                disks(*disk)
                    .iter()
                    .for_each(|d| d.failing_until.set(until(ns)));
            }
            What::CutDisk { node, ns } => {
                let near = self.local.iter().chain(&self.meta);
                near.for_each(|d| d.cut_until[*node].set(until(ns)));
            }
            What::CutRemote { ns } => {
                for d in &self.remote {
                    d.cut_until.iter().for_each(|c| c.set(until(ns)));
                }
            }
            What::Takeover { node } => self.order(*node, |set| async move {
                let _ = takeover::takeover(&set, Asked::Message).await;
            }),
            What::Swap { node } => self.order(*node, |set| async move {
                if quiesce(&set).await {
                    let _ = handover::swap(&set).await;
                }
                set.suspended.set(false);
            }),
            What::Detach { node } if self.cfg.record => self.order(*node, |set| async move {
                let _ = alone::go_alone(&set, true).await;
            }),
            What::Detach { .. } => {}
            What::Remake { node, down } => {
                let (world, down) = (self.clone(), *down);
                if let Some(set) = self.set(*node) {
                    exec::spawn(None, async move {
                        if quiesce(&set).await {
                            remake(&world, set, down).await;
                        } else {
                            set.suspended.set(false);
                        }
                    });
                }
            }
        }
    }

    /// A message to a set.
    fn order<F: std::future::Future<Output = ()> + 'static>(
        &self,
        node: usize,
        f: impl FnOnce(Rc<Set>) -> F,
    ) {
        if let Some(set) = self.set(node) {
            exec::spawn(Some(node), f(set));
        }
    }

    fn heal(&self) {
        exec::log(|| "*** all faults end".into());
        self.traps.borrow_mut().clear();
        self.net.heal();
        self.disks().for_each(|d| d.heal());
        for node in 0..2 {
            self.pmem[node].light(u64::MAX);
            if self.set(node).is_none() {
                self.up_at[node].set(self.up_at[node].get().min(exec::now() + 5 * MS));
            }
        }
        self.healed.set(true);
    }

    /// Whether nothing is left to do.
    fn rests(&self) -> bool {
        let owner = (0..2).filter_map(|n| self.set(n)).find(|s| {
            s.phase() == Phase::Serving
                && s.mirror() == Some(Mirror::Mirrored)
                && s.journal().is_some_and(|j| j.used().0 == 0)
        });
        owner.is_some() && self.threads.iter().all(|t| t.rests())
    }

    /// Ends all, so that nothing refers to itself any more.
    pub fn end(&self) {
        for node in 0..2 {
            self.take_down(node, u64::MAX);
        }
    }

    fn states(&self) -> String {
        let one = |n: usize| match self.set(n) {
            Some(s) => format!(
                "node {n} is {:?}, its mirror {:?}, {:?} records in its log",
                s.phase(),
                s.mirror(),
                s.journal().map(|j| j.used().0)
            ),
            None => format!("node {n} is down"),
        };
        let busy = self.threads.iter().filter(|t| !t.rests()).count();
        format!("{}; {}; {busy} threads wait", one(0), one(1))
    }
}

/// device-mapper suspends the volumes: new requests wait, those under way end.
async fn quiesce(set: &Rc<Set>) -> bool {
    set.suspended.set(true);
    let until = exec::now() + 300 * MS;
    while set.inflight.get() > 0 && exec::now() < until && set.alive.get() {
        exec::sleep(5 * MS).await;
    }
    set.inflight.get() == 0 && set.alive.get()
}

/// The set ends in order: as `Set::stop` does.
async fn remake(world: &Rc<World>, set: Rc<Set>, down: u64) {
    set.enter(Phase::Stopping, || "its last volume was removed".into());
    let until = exec::now() + 500 * MS;
    while set.journal().is_some() && set.link.is_up() && exec::now() < until {
        exec::sleep(MS).await;
    }
    set.link.drop_conn(&set);
    while set.alive.get() && (set.shipping.get() || set.inflight.get() > 0) {
        // Its threads may never have been started.
        worker::pass(&set);
        exec::sleep(5 * MS).await;
    }
    if let Some(me) = set.node_key().filter(|_| set.alive.get()) {
        units::release(&set, me).await;
    }
    if set.alive.get() {
        let node = set.node;
        drop(set);
        exec::log(|| format!("node {node} was removed"));
        world.take_down(node, down);
    }
}

/// Makes anew what has failed, starts what is down, and lets somebody take over when nobody owns the set.
async fn administrator(world: Rc<World>) {
    let mut turn = 0;
    let mut nobody_since = None;
    loop {
        exec::sleep(10 * MS).await;
        let now = exec::now();
        for node in 0..2 {
            match world.set(node) {
                None if now >= world.up_at[node].get() => world.boot(node),
                None => {}
                Some(set) => {
                    let stuck = matches!(set.phase(), Phase::Fenced | Phase::Failed)
                        && now >= set.since.get() + 100 * MS;
                    // Its devices are not there any more, whether it has noticed or not.
                    let stale = set.phase() != Phase::Stopping
                        && set.locals.iter().any(|d| d.is_stale())
                        && exec::rand(|r| r.one_in(20));
                    if stuck || stale {
                        exec::spawn(None, {
                            let world = world.clone();
                            async move { remake(&world, set, 10 * MS).await }
                        });
                    }
                }
            }
        }
        let ups: Vec<_> = (0..2).filter_map(|n| world.set(n)).collect();
        // The owner is down, and somebody who does not wait for it.
        if let [alone] = &ups[..] {
            let long = now >= alone.since.get() + 60 * MS;
            if alone.phase() == Phase::Standby && long && exec::rand(|r| r.one_in(10)) {
                world.happens(&What::Takeover { node: alone.node });
            }
        }
        let nobody = ups.len() == 2 && ups.iter().all(|s| s.phase() == Phase::Standby);
        if !nobody {
            nobody_since = None;
        } else if now >= *nobody_since.get_or_insert(now) + 500 * MS {
            nobody_since = Some(now);
            turn = 1 - turn;
            world.happens(&What::Takeover { node: turn });
        }
    }
}

/// All that a run does, from outside.
pub async fn play(world: Rc<World>, events: Vec<Event>) {
    let began = exec::now();
    for e in &events {
        exec::sleep_until(began + e.at).await;
        world.happens(&e.what);
    }
    exec::sleep(50 * MS).await;
    world.heal();
    let until = exec::now() + PATIENCE;
    while !world.rests() {
        exec::sleep(20 * MS).await;
        if exec::now() >= until {
            return violate(format!("stuck: {}", world.states()));
        }
    }
    host::read_all(&world).await;
    while !world.rests() {
        exec::sleep(20 * MS).await;
    }
    let oracle = world.oracle.borrow();
    oracle.check_converged(&world.local, &world.remote);
    oracle.check_remote(&world.remote);
    world.done.set(true);
}

/// When a node whose fuse burned down comes up again.
pub fn burned(world: &World, node: usize) {
    let down = world.up_at[node].get();
    world.crash(node, down);
}
