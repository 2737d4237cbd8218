// SPDX-License-Identifier: GPL-2.0

//! A set on a node, for one life of that node.

use crate::{
    bio::Bio,
    config::Config,
    disk::Handle,
    exec::{self, Event, Mutex},
    journal::Journal,
    media::crc,
    mirror::Link,
    plant::{is, Mistake},
    pmem::{Pmem, Region},
    range_lock::RangeLock,
    record::RecordPlace,
    worker::Queues,
    world::World,
};
use core_crate::{
    creation,
    format::{Key, Mark, NodeKey, Role, SetName, Super, FIRST_COUNTER},
    layout::{mark_offset, superblock_offset, Geometry},
    ownership::{Found, Kind},
    partner::{Here, Mirror},
    receiver::Receiver,
    units::Generation,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// What the set does just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Assembling,
    Standby,
    Waiting,
    TakingOver,
    Replaying,
    Serving,
    HandingOver,
    Fenced,
    Failed,
    Stopping,
}

impl Phase {
    pub fn owns(self) -> bool {
        matches!(
            self,
            Phase::Waiting | Phase::Replaying | Phase::Serving | Phase::HandingOver
        )
    }
}

pub struct Set {
    pub node: usize,
    pub world: Rc<World>,
    pub alive: Rc<Cell<bool>>,
    pub log: Rc<Pmem>,
    pub locals: Vec<Handle>,
    pub reservation: Option<Kind>,
    pub record: Option<RecordPlace>,
    phase: Cell<Phase>,
    /// When the phase began.
    pub since: Cell<u64>,
    /// The same by the oracle's clock.
    pub entered_at: Cell<u64>,
    journal: RefCell<Option<Rc<Journal>>>,
    /// The journal of the next reign, not in use before [`Set::install`].
    pub next: RefCell<Option<Rc<Journal>>>,
    pub out_of_step: Cell<bool>,
    /// What a standby knows of its own copy from the last session, while that is complete.
    pub receiver: RefCell<Option<Box<Receiver>>>,
    pub shipping: Cell<bool>,
    /// All volumes are suspended.
    pub suspended: Cell<bool>,
    pub handover: Cell<u32>,
    pub handed: Cell<u64>,
    pub resume: Cell<bool>,
    /// A standby may have left something at the units, under this key or one of another reign.
    pub left: Cell<Option<NodeKey>>,
    pub ranges: RangeLock,
    pub queues: Queues,
    pub link: Link,
    pub control: Mutex,
    pub durable: RefCell<Option<Super>>,
    /// Host requests that are not completed yet.
    pub inflight: Rc<Cell<u64>>,
    pub ship: Event,
    pub work: Event,
    pub send: Event,
    pub keep: Event,
}

impl Set {
    pub fn new(world: &Rc<World>, node: usize, durable: Option<Super>) -> Rc<Set> {
        let cfg = &world.cfg;
        Rc::new(Set {
            node,
            world: world.clone(),
            alive: Rc::new(Cell::new(true)),
            log: world.pmem[node].clone(),
            locals: world.local.iter().map(|d| d.open(node)).collect(),
            reservation: cfg.fencing.kind(),
            record: world
                .meta
                .as_ref()
                .map(|d| RecordPlace::new(d.open(node), world)),
            phase: Cell::new(Phase::Assembling),
            since: Cell::new(exec::now()),
            entered_at: Cell::new(u64::MAX),
            journal: RefCell::default(),
            next: RefCell::default(),
            out_of_step: Cell::new(durable.is_some_and(|d| d.missing.is_some())),
            receiver: RefCell::default(),
            shipping: Cell::new(false),
            suspended: Cell::new(false),
            handover: Cell::new(0),
            handed: Cell::new(0),
            resume: Cell::new(false),
            left: Cell::default(),
            ranges: RangeLock::default(),
            queues: Queues::default(),
            link: Link::default(),
            control: Mutex::default(),
            durable: RefCell::new(durable),
            inflight: Rc::default(),
            ship: Event::default(),
            work: Event::default(),
            send: Event::default(),
            keep: Event::default(),
        })
    }

    pub fn cfg(&self) -> &Config {
        &self.world.cfg
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Enters a phase. From `Fenced`, `Failed` and `Stopping` only `Stopping` follows.
    pub fn enter(&self, to: Phase, why: impl FnOnce() -> String) {
        let from = self.phase.get();
        let stuck = matches!(from, Phase::Fenced | Phase::Failed | Phase::Stopping);
        if stuck && to != Phase::Stopping {
            return;
        }
        self.phase.set(to);
        self.since.set(exec::now());
        self.say(|| format!("{from:?} -> {to:?}: {}", why()));
        for event in [&self.work, &self.ship, &self.send, &self.keep] {
            event.signal();
        }
        self.world.entered(self, to);
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        exec::log(|| format!("node {}: {}", self.node, what()));
    }

    /// A unit has refused a write: nothing is acknowledged from here on.
    pub fn preempted(&self) {
        if self.phase.get() == Phase::Serving {
            self.enter(Phase::Fenced, || "a unit refuses writes".into());
        }
        self.work.signal();
    }

    pub fn node_key(&self) -> Option<NodeKey> {
        self.durable.borrow().as_ref().map(Set::key_of)
    }

    pub fn key_of(mine: &Super) -> NodeKey {
        NodeKey::new(Set::key(&mine.uuid), mine.node, mine.generation)
    }

    pub fn key(uuid: &[u8; 16]) -> Key {
        Key::new(crc, uuid)
    }

    pub fn here(&self) -> Here {
        Here {
            region: self.log.size(),
            members: self.cfg().members,
            record: self.record.is_some(),
            node: World::number(self.node),
        }
    }

    pub async fn read_record(&self) -> Found {
        match &self.record {
            Some(r) => r.read().await,
            None => Found::Unused,
        }
    }

    pub async fn read_record_to_change(&self) -> crate::errno::Result<Found> {
        match self.read_record().await {
            Found::Unreadable => Err(crate::errno::Errno::Io),
            found => Ok(found),
        }
    }

    pub fn known_record(&self) -> Found {
        self.record
            .as_ref()
            .map_or(Found::Unused, RecordPlace::known)
    }

    /// Makes a superblock durable: the slot that is not in use, a fence, then the other slot. In a blank
    /// region it makes the log.
    pub fn write_super(&self, new: Super) {
        let mut new = new;
        self.out_of_step.set(new.missing.is_some());
        let mut slots = 2;
        if self.durable.borrow().is_none() && !is(Mistake::Unclaimed) {
            let Ok(first) = creation::create(&mut Region(&self.log), crc, &new, None);
            *self.durable.borrow_mut() = Some(first);
            new.counter = first.counter + 1;
            slots = 1;
        }
        for _ in 0..slots {
            let slot = usize::from(new.counter % 2 == 1);
            self.log.store(superblock_offset(slot), &new.seal(crc));
            self.log.fence();
            *self.durable.borrow_mut() = Some(new);
            new.counter += 1;
        }
    }

    pub fn write_mark(&self, key: Key, mark: &Mark) {
        let slot = usize::from(mark.counter % 2 == 1);
        self.log.store(mark_offset(slot), &mark.seal(crc, key));
        self.log.fence();
    }

    pub fn generation(&self) -> Generation {
        self.durable
            .borrow()
            .as_ref()
            .map_or(Generation(0), |s| s.generation)
    }

    pub fn mirror(&self) -> Option<Mirror> {
        self.journal().map(|j| j.mirror())
    }

    pub fn journal(&self) -> Option<Rc<Journal>> {
        self.journal.borrow().clone()
    }

    pub fn install(&self) {
        *self.journal.borrow_mut() = self.next.borrow_mut().take();
    }

    pub fn forget_journal(&self) {
        self.journal.borrow_mut().take();
    }

    /// Ends the owner's session for good.
    pub async fn revoke_session(&self) {
        self.link.drop_conn(self);
        self.link.wait_down().await;
        if !is(Mistake::ReceiverKept) {
            *self.receiver.borrow_mut() = None;
        }
    }

    /// Gives up the range of a bio, if it has one.
    pub fn unlock(&self, bio: &mut Bio) {
        if bio.io.locked {
            bio.io.locked = false;
            self.run_ready(self.ranges.unlock(bio));
        }
    }
}

/// Writes a new, empty log.
pub fn format(log: &Pmem, geometry: Geometry, mark: &Mark, node: u32) {
    let new = Super {
        counter: FIRST_COUNTER,
        uuid: crate::world::UUID,
        name: name(),
        generation: Generation(0),
        role: Role::Owner,
        copy: core_crate::format::Copy_::Complete,
        alone: false,
        unfenced: false,
        geometry,
        node,
        missing: None,
    };
    let Ok(_) = creation::create(&mut Region(log), crc, &new, Some(mark));
}

/// The set's name.
pub fn name() -> SetName {
    SetName::new("sim").expect("a name")
}
