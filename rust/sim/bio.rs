// SPDX-License-Identifier: GPL-2.0

//! A host's request, as device-mapper hands it over.

use crate::{
    exec::{self, Event},
    media::Tag,
};
use core_crate::units::Seq;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BioOp {
    Read,
    Write,
    Zero,
    Flush,
}

/// What the host is told.
#[derive(Clone, Debug)]
pub enum Status {
    /// Done; what was read.
    Ok(Vec<Tag>),
    /// It failed, or may have.
    Error,
    /// The node did not take it.
    Refused,
    /// The node is gone.
    Lost,
}

/// Called with the end of a request.
type Told = Box<dyn FnOnce(&Status)>;

/// Where the host waits for the end of a request.
#[derive(Default)]
pub struct Done {
    pub status: RefCell<Option<Status>>,
    pub end: Event,
}

/// What the driver keeps in each bio.
#[derive(Default)]
pub struct Io {
    pub lane: u16,
    pub lane_seq: u64,
    pub seq: Seq,
    pub data_pos: u64,
    pub locked: bool,
    pub failed: bool,
}

pub struct Bio {
    pub op: BioOp,
    pub member: u16,
    pub sector: u64,
    pub sectors: u32,
    pub tag: Tag,
    pub io: Io,
    done: Rc<Done>,
    /// Called with the status in the moment in which the host is told.
    told: Option<Told>,
    /// Tells whether the node lives.
    alive: Rc<Cell<bool>>,
}

impl Bio {
    pub fn new(
        (op, member, sector, sectors): (BioOp, u16, u64, u32),
        tag: Tag,
        alive: Rc<Cell<bool>>,
        told: impl FnOnce(&Status) + 'static,
    ) -> (Bio, Rc<Done>) {
        let done = Rc::new(Done::default());
        let bio = Bio {
            op,
            member,
            sector,
            sectors,
            tag,
            io: Io::default(),
            done: done.clone(),
            told: Some(Box::new(told)),
            alive,
        };
        (bio, done)
    }

    pub fn complete(mut self, status: Status) {
        self.tell(status);
    }

    fn tell(&mut self, status: Status) {
        if let Some(told) = self.told.take() {
            told(&status);
            *self.done.status.borrow_mut() = Some(status);
            self.done.end.signal();
        }
    }
}

impl Drop for Bio {
    fn drop(&mut self) {
        if self.told.is_some() {
            if self.alive.get() && !std::thread::panicking() {
                exec::violate(format!("a request was forgotten: write {}", self.tag));
            }
            self.tell(Status::Lost);
        }
    }
}

/// A slot's part for the driver: the host's bio until it is acknowledged.
#[derive(Default)]
pub struct HostSlot(RefCell<Option<Bio>>);

impl HostSlot {
    pub fn put(&self, bio: Bio) {
        *self.0.borrow_mut() = Some(bio);
    }

    pub fn take(&self) -> Option<Bio> {
        self.0.borrow_mut().take()
    }
}
