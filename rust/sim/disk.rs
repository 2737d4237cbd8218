// SPDX-License-Identifier: GPL-2.0

//! A disk with a volatile cache and persistent reservations, which both nodes reach. What is on its way
//! arrives some time between its begin and its end; the disk looks at reservations, and at the writer's
//! memory, when it arrives.

use crate::{
    errno::{Errno, Result},
    exec::{self, MS},
    media::{tag_of, Tag, SECTOR},
    pmem::Pmem,
};
use core_crate::ownership::Kind;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Where the bytes of a write come from.
#[derive(Clone)]
pub enum Source {
    /// A log region: read when the write arrives.
    Log(Rc<Pmem>, u64),
    /// As given.
    Tags(Vec<Tag>),
}

#[derive(Clone)]
struct Flight {
    id: u64,
    node: usize,
    sector: u64,
    sectors: u32,
    source: Source,
}

/// An open device. After the disk lost its power it is of no use.
#[derive(Clone)]
pub struct Handle {
    pub disk: Rc<Disk>,
    pub node: usize,
    epoch: u32,
}

pub struct Disk {
    pub name: &'static str,
    pub volatile: bool,
    durable: RefCell<Vec<Tag>>,
    /// What each sector was written with since it was last flushed.
    cache: RefCell<Vec<Vec<Tag>>>,
    epoch: Cell<u32>,
    flights: RefCell<Vec<Flight>>,
    next_id: Cell<u64>,
    pub slow_until: Cell<u64>,
    pub failing_until: Cell<u64>,
    /// Nodes that do not reach it, until when.
    pub cut_until: [Cell<u64>; 2],
    keys: [Cell<Option<u64>>; 2],
    holder: Cell<Option<(usize, bool)>>,
    /// What arrived so far: the checks look again when it grows.
    pub arrivals: Cell<u64>,
}

impl Disk {
    pub fn new(name: &'static str, sectors: u64, volatile: bool) -> Rc<Disk> {
        Rc::new(Disk {
            name,
            volatile,
            durable: RefCell::new(vec![0; sectors as usize]),
            cache: RefCell::new(vec![vec![]; sectors as usize]),
            epoch: Cell::new(0),
            flights: RefCell::default(),
            next_id: Cell::new(0),
            slow_until: Cell::new(0),
            failing_until: Cell::new(0),
            cut_until: Default::default(),
            keys: Default::default(),
            holder: Cell::new(None),
            arrivals: Cell::new(0),
        })
    }

    pub fn sectors(&self) -> u64 {
        self.durable.borrow().len() as u64
    }

    pub fn open(self: &Rc<Disk>, node: usize) -> Handle {
        Handle {
            disk: self.clone(),
            node,
            epoch: self.epoch.get(),
        }
    }

    /// What a reader would see.
    pub fn visible(&self, sector: u64) -> Tag {
        let i = sector as usize;
        let newest = self.cache.borrow()[i].last().copied();
        newest.unwrap_or_else(|| self.durable.borrow()[i])
    }

    /// All that a reader may see after the disk has lost its power.
    pub fn candidates(&self, sector: u64) -> Vec<Tag> {
        let i = sector as usize;
        let mut all = vec![self.durable.borrow()[i]];
        all.extend(&self.cache.borrow()[i]);
        all
    }

    fn put(&self, sector: u64, tag: Tag) {
        let i = sector as usize;
        if self.volatile {
            self.cache.borrow_mut()[i].push(tag);
        } else {
            self.durable.borrow_mut()[i] = tag;
        }
    }

    fn writes(&self, node: usize) -> bool {
        match self.holder.get() {
            None => true,
            Some((holder, false)) => holder == node,
            Some((_, true)) => self.keys[node].get().is_some(),
        }
    }

    /// A write arrives; torn: only some of its sectors do.
    fn arrive(&self, f: &Flight, torn: bool) {
        for n in 0..f.sectors {
            if torn && exec::rand(|r| r.one_in(2)) {
                continue;
            }
            let tag = match &f.source {
                Source::Tags(tags) => tags[n as usize],
                Source::Log(log, at) => log.with(at + u64::from(n) * SECTOR as u64, SECTOR, tag_of),
            };
            self.put(f.sector + u64::from(n), tag);
        }
        self.arrivals.set(self.arrivals.get() + 1);
    }

    /// A node is dead, or cut off: what it has on its way arrives now, or in part, or never.
    pub fn abort(&self, node: usize) {
        let all = self.flights.take();
        let (gone, kept) = all.into_iter().partition(|f| f.node == node);
        *self.flights.borrow_mut() = kept;
        let gone: Vec<Flight> = gone;
        for f in gone {
            if self.writes(node) {
                match exec::rand(|r| r.below(3)) {
                    0 => self.arrive(&f, false),
                    1 => self.arrive(&f, true),
                    _ => {}
                }
            }
        }
    }

    /// Power fails: of what was not flushed, any subset of sectors survives. Reservations survive, as
    /// they do in arrays.
    pub fn cut(&self) {
        for node in 0..2 {
            self.abort(node);
        }
        self.epoch.set(self.epoch.get() + 1);
        let mut cache = self.cache.borrow_mut();
        for (i, versions) in cache.iter_mut().enumerate() {
            let n = versions.len() as u64;
            if n > 0 {
                let kept = exec::rand(|r| r.below(n + 1));
                if kept > 0 {
                    self.durable.borrow_mut()[i] = versions[kept as usize - 1];
                }
                versions.clear();
            }
        }
        exec::log(|| format!("{} loses its power", self.name));
    }

    /// All faults end.
    pub fn heal(&self) {
        self.slow_until.set(0);
        self.failing_until.set(0);
        for c in &self.cut_until {
            c.set(0);
        }
    }

    async fn travel(&self) {
        let slow = exec::now() < self.slow_until.get();
        let most = if slow { 60 * MS } else { 300_000 };
        exec::pass(20_000, most).await;
    }
}

impl Handle {
    /// The disk has lost its power since this was opened.
    pub fn is_stale(&self) -> bool {
        self.epoch != self.disk.epoch.get()
    }

    /// Whether it answers: a node that is cut off waits for its timeout first.
    async fn reach(&self) -> Result {
        if exec::now() < self.disk.cut_until[self.node].get() {
            exec::pass(5 * MS, 40 * MS).await;
            if exec::now() < self.disk.cut_until[self.node].get() {
                return Err(Errno::Io);
            }
        }
        if self.is_stale() {
            return Err(Errno::Io);
        }
        Ok(())
    }

    pub async fn read(&self, sector: u64, sectors: u32) -> Result<Vec<Tag>> {
        self.disk.travel().await;
        self.reach().await?;
        let tags = (sector..sector + u64::from(sectors)).map(|s| self.disk.visible(s));
        let tags = tags.collect();
        self.disk.travel().await;
        Ok(tags)
    }

    pub async fn write(&self, sector: u64, sectors: u32, source: Source) -> Result {
        let d = &self.disk;
        let id = d.next_id.get();
        d.next_id.set(id + 1);
        d.flights.borrow_mut().push(Flight {
            id,
            node: self.node,
            sector,
            sectors,
            source,
        });
        d.travel().await;
        let reached = self.reach().await;
        let at = d.flights.borrow().iter().position(|f| f.id == id);
        let Some(at) = at else {
            // Aborted: its sender was preempted, or the disk lost its power.
            d.travel().await;
            return Err(if self.is_stale() {
                Errno::Io
            } else {
                Errno::Conflict
            });
        };
        let flight = d.flights.borrow_mut().swap_remove(at);
        reached?;
        if !d.writes(self.node) {
            d.travel().await;
            return Err(Errno::Conflict);
        }
        if exec::now() < d.failing_until.get() {
            d.travel().await;
            return Err(Errno::Io);
        }
        d.arrive(&flight, false);
        d.travel().await;
        Ok(())
    }

    /// What was written before is durable then.
    pub async fn flush(&self) -> Result {
        let d = &self.disk;
        d.travel().await;
        self.reach().await?;
        if exec::now() < d.failing_until.get() {
            return Err(Errno::Io);
        }
        for (i, versions) in d.cache.borrow_mut().iter_mut().enumerate() {
            if let Some(newest) = versions.last() {
                d.durable.borrow_mut()[i] = *newest;
                versions.clear();
            }
        }
        d.travel().await;
        Ok(())
    }

    /// The key of who holds it.
    pub async fn holder(&self) -> Result<Option<u64>> {
        self.disk.travel().await;
        self.reach().await?;
        let (node, _) = match self.disk.holder.get() {
            Some(h) => h,
            None => return Ok(None),
        };
        Ok(self.disk.keys[node].get())
    }

    pub async fn register(&self, key: u64) -> Result {
        self.disk.travel().await;
        self.reach().await?;
        self.disk.keys[self.node].set(Some(key));
        Ok(())
    }

    pub async fn reserve(&self, key: u64, kind: Kind) -> Result {
        self.disk.travel().await;
        self.reach().await?;
        let d = &self.disk;
        if d.keys[self.node].get() != Some(key) || d.holder.get().is_some() {
            return Err(Errno::Conflict);
        }
        d.holder.set(Some((self.node, kind == Kind::Registrants)));
        Ok(())
    }

    /// Takes it from the node with the key `victim`, whose I/O is over when this returns.
    pub async fn preempt(&self, key: u64, victim: u64, kind: Kind) -> Result {
        self.disk.travel().await;
        self.reach().await?;
        let d = &self.disk;
        let other = 1 - self.node;
        if d.keys[self.node].get() != Some(key) || d.keys[other].get() != Some(victim) {
            return Err(Errno::Conflict);
        }
        d.abort(other);
        d.keys[other].set(None);
        d.holder.set(Some((self.node, kind == Kind::Registrants)));
        Ok(())
    }

    pub async fn release(&self, key: u64) -> Result {
        self.disk.travel().await;
        self.reach().await?;
        let d = &self.disk;
        let mine = d.holder.get().is_some_and(|(n, _)| n == self.node);
        if mine && d.keys[self.node].get() == Some(key) {
            d.holder.set(None);
        }
        Ok(())
    }

    /// The key with which this node is registered.
    pub async fn registered(&self) -> Result<Option<u64>> {
        self.disk.travel().await;
        self.reach().await?;
        Ok(self.disk.keys[self.node].get())
    }

    pub async fn unregister(&self) -> Result {
        self.disk.travel().await;
        self.reach().await?;
        let d = &self.disk;
        d.keys[self.node].set(None);
        if d.holder.get().is_some_and(|(n, _)| n == self.node) {
            d.holder.set(None);
        }
        Ok(())
    }
}
