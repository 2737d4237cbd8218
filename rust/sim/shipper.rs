// SPDX-License-Identifier: GPL-2.0

//! The thread that copies the log to the remote, in order, and cuts the log off behind it.

use crate::{
    append,
    bio::Status,
    disk::{Handle, Source},
    errno::{Errno, Result},
    exec::{self, MS},
    journal::Journal,
    plant::{is, Mistake},
    recovery::{flush_locals, from_tails},
    set::{Phase, Set},
    units,
};
use core_crate::{
    format::Mark,
    lane::{stage, Record},
    merge::{Lanes, Merge, Position},
    ownership::Claim,
    plant::{planted, Plant},
    retire::{AckTracker, Due, Gain, Rest, Retirer},
    ship::{Blocked, Entry, Ship, ShipView, Shipper, Token},
    units::{Op, Seq},
};
use std::{cell::RefCell, rc::Rc};

/// How long the shipper naps between looks while there is something to do.
const NAP: u64 = MS;

/// Records in flight at once: few, so that the window is full now and then.
/// How often it looks at everything before it looks at its orders again.
const STEPS: usize = 256;
const WINDOW: usize = 8;

/// The shipper's thread.
pub async fn run(set: Rc<Set>) {
    let mut work: Option<Work> = None;
    let mut pause = 1000 * MS;
    while set.phase() != Phase::Stopping {
        set.ship.wait_timeout(pause).await;
        pause = 1000 * MS;
        if set.phase() != Phase::Serving {
            if let Some(mut w) = work.take() {
                w.come_back().await;
            }
            set.shipping.set(false);
            continue;
        }
        set.shipping.set(true);
        if work.is_none() {
            if let Some(journal) = set.journal() {
                let mut w = Work::new(&set, &journal);
                w.open_all().await;
                work = Some(w);
            }
        }
        if let Some(w) = work.as_mut() {
            pause = w.step().await;
        }
    }
    if let Some(mut w) = work.take() {
        w.come_back().await;
    }
    set.shipping.set(false);
}

/// The log as the shipper is to see it: mistakes lie here.
struct View<'a>(&'a Journal);

impl Lanes for View<'_> {
    fn lanes(&self) -> u16 {
        self.0.lanes()
    }

    fn seq_at(&self, lane: u16, lane_seq: u64) -> Option<Seq> {
        self.0.seq_at(lane, lane_seq)
    }
}

impl ShipView for View<'_> {
    fn record(&self, at: Position) -> Option<Record> {
        let mut r = self.0.record(at)?;
        if is(Mistake::ShipBeforeMirrored) {
            r.stage |= stage::LOCAL;
        }
        if is(Mistake::LookAheadIgnored) {
            r.after = Seq::ZERO;
        }
        Some(r)
    }
}

struct Work {
    set: Rc<Set>,
    journal: Rc<Journal>,
    answers: Rc<RefCell<Vec<(u64, Result)>>>,
    shipper: Shipper<Vec<Entry>>,
    remote: Merge,
    acks: AckTracker,
    retirer: Retirer,
    devices: Vec<Option<Handle>>,
    stale: Vec<bool>,
    retry_at: u64,
    backoff: u64,
    lost: bool,
    rest: Rest,
    busy: bool,
    progress: bool,
}

impl Work {
    fn new(set: &Rc<Set>, journal: &Rc<Journal>) -> Work {
        let mark = journal.marks.borrow().mark;
        // What the mark says is at the remote is not shipped again: see core's ship.rs.
        let mut merge = from_tails(journal, &mark);
        while let Some((seq, at)) = merge.peek(&**journal) {
            let behind = seq > mark.shipped;
            if behind && !(is(Mistake::NothingToMerge) && seq <= journal.recovered()) {
                break;
            }
            merge.advance(at);
        }
        Work {
            set: set.clone(),
            journal: journal.clone(),
            answers: Rc::default(),
            shipper: Shipper::new(merge, mark.shipped, vec![Entry::default(); WINDOW]),
            remote: from_tails(journal, &mark),
            acks: AckTracker::new(from_tails(journal, &mark)),
            retirer: Retirer::new(from_tails(journal, &mark), &mark),
            devices: set.world.remote.iter().map(|_| None).collect(),
            stale: vec![false; set.world.remote.len()],
            retry_at: 0,
            backoff: 0,
            lost: false,
            rest: Rest::default(),
            busy: false,
            progress: false,
        }
    }

    /// Does what can be done; answers after how long to look again without a signal.
    async fn step(&mut self) -> u64 {
        self.busy = false;
        for _ in 0..STEPS {
            self.progress = false;
            self.set.ship.consume();
            self.collect();
            if !self.waits_for_remote() {
                self.issue().await;
                if self.shipper.begin_flush() {
                    let result = self.flush().await;
                    self.shipper.flushed(result.is_ok());
                    if let Err(e) = result {
                        self.remote_failed(e);
                    }
                }
            } else if self.shipper.in_flight() == 0 {
                self.close();
            }
            self.tell_slots();
            let acked = self.acks.advance(&View(&self.journal));
            self.progress |= acked > self.journal.order.acked();
            self.journal.order.acknowledged_all(acked);
            exec::preempt().await;
            self.progress |= self.cut().await;
            if !self.progress {
                break;
            }
            self.busy = true;
        }
        let now = exec::now();
        if self.busy || self.set.phase() != Phase::Serving {
            NAP
        } else if now < self.retry_at {
            self.retry_at - now
        } else if self.journal.used().0 > 0 {
            20 * MS
        } else {
            1000 * MS
        }
    }

    /// What is at the remote device reads the log: it has to come back before this ends.
    async fn come_back(&mut self) {
        while self.shipper.in_flight() > 0 {
            self.collect();
            exec::sleep(MS).await;
        }
        if self.set.phase() != Phase::Failed {
            self.release().await;
        }
        self.close();
    }

    async fn open_all(&mut self) {
        for member in 0..self.devices.len() {
            let _ = self.device(member).await;
        }
    }

    async fn release(&self) {
        let kind = self.set.reservation;
        let (Some(kind), Some(me)) = (kind, self.set.node_key()) else {
            return;
        };
        for d in self.devices.iter().flatten() {
            units::release_device(d, me, kind).await;
        }
    }

    fn waits_for_remote(&self) -> bool {
        exec::now() < self.retry_at
    }

    fn collect(&mut self) {
        for (token, result) in self.answers.take() {
            self.progress = true;
            self.shipper.completed(Token(token), result.is_ok());
            match result {
                Err(e) => self.remote_failed(e),
                Ok(()) => self.remote_works(),
            }
        }
    }

    fn remote_failed(&mut self, e: Errno) {
        if e == Errno::Conflict {
            let why = || "the remote refuses writes".into();
            return self.set.enter(Phase::Fenced, why);
        }
        self.set.say(|| format!("the remote fails: {e:?}"));
        self.lost = true;
        self.stale.fill(true);
        self.backoff = (self.backoff * 2).clamp(100, 5000);
        self.retry_at = exec::now() + self.backoff * MS;
    }

    fn remote_works(&mut self) {
        if self.lost && !self.shipper.has_failed() {
            self.lost = false;
        }
        self.backoff = 0;
    }

    fn close(&mut self) {
        self.devices.iter_mut().for_each(|d| *d = None);
    }

    async fn device(&mut self, member: usize) -> Result<Handle> {
        // The one in flight is the record that is to be written now.
        // Once for each failure: see the driver's. Seed 5871 never ends otherwise.
        if self.stale[member] && self.shipper.in_flight() <= 1 {
            self.stale[member] = false;
            self.devices[member] = None;
        }
        if let Some(d) = &self.devices[member] {
            return Ok(d.clone());
        }
        let d = self.set.world.remote[member].open(self.set.node);
        if let (Some(kind), Some(me)) = (self.set.reservation, self.set.node_key()) {
            let claim = Claim::Agreed(me.reign());
            if !planted(Plant::RemoteNotFenced) {
                let seized = units::seize_device(&d, me, kind, claim).await;
                seized.map_err(|e| e.errno())?;
            }
        }
        self.devices[member] = Some(d.clone());
        // What an earlier device had in its cache may be gone.
        if !is(Mistake::RemoteCacheTrusted) {
            self.shipper.reconnect();
        }
        Ok(d)
    }

    async fn issue(&mut self) {
        while exec::now() >= self.retry_at && self.set.phase() == Phase::Serving {
            if is(Mistake::OverwriteBeforeMark) {
                let durable = self.shipper.durable();
                self.shipper.confirm(durable);
            }
            let ship = match self.shipper.next(&View(&self.journal)) {
                Ok(ship) => ship,
                Err(Blocked::Empty | Blocked::Local | Blocked::Order | Blocked::Window) => return,
            };
            self.progress = true;
            if let Err(e) = self.ship(&ship).await {
                self.shipper.completed(ship.token, false);
                self.remote_failed(e);
            }
        }
    }

    async fn ship(&mut self, ship: &Ship) -> Result {
        let extent = ship.record.extent;
        let member = usize::from(extent.member);
        if self.set.out_of_step.get() {
            // The remote misses what came before: nothing of this belongs there.
            let _ = self.device(member).await;
            self.shipper.completed(ship.token, true);
            return Ok(());
        }
        let device = self.device(member).await?;
        let seq = ship.record.seq;
        self.set.say(|| format!("ships sequence {seq}"));
        if ship.record.op == Op::Zero {
            let zeroes = Source::Tags(vec![0; extent.sectors as usize]);
            device.write(extent.sector, extent.sectors, zeroes).await?;
            self.shipper.completed(ship.token, true);
            self.remote_works();
            return Ok(());
        }
        let at = self
            .journal
            .geometry
            .data_offset(ship.at.lane, ship.record.data_pos);
        let source = Source::Log(self.set.log.clone(), at);
        let (set, answers, token) = (self.set.clone(), self.answers.clone(), ship.token.0);
        exec::spawn(Some(set.node), async move {
            let result = device.write(extent.sector, extent.sectors, source).await;
            answers.borrow_mut().push((token, result));
            set.ship.signal();
        });
        Ok(())
    }

    async fn flush(&mut self) -> Result {
        if is(Mistake::RemoteUnflushed) || planted(Plant::RetireBeforeFlush) {
            return Ok(());
        }
        for d in self.devices.iter().flatten() {
            if d.disk.volatile {
                d.flush().await?;
            }
        }
        Ok(())
    }

    /// Everything up to `durable` is at the remote: the slots learn it, and in synchronous mode the
    /// host does.
    fn tell_slots(&mut self) {
        let durable = self.shipper.durable();
        while self.remote.next() <= durable {
            let Some((seq, at)) = self.remote.peek(&*self.journal) else {
                break;
            };
            if seq > durable {
                break;
            }
            if let Some(slot) = self.journal.slot(at) {
                slot.reach(stage::REMOTE);
                if let Some(bio) = slot.host.take() {
                    let bio = append::acknowledge(&self.set, &self.journal, slot, bio);
                    bio.complete(Status::Ok(vec![]));
                }
            }
            self.remote.advance(at);
        }
    }

    /// Draws on the mark that is under way, or makes a new one. Answers whether more can be done now.
    async fn cut(&mut self) -> bool {
        if let Some(mark) = self.journal.confirm_mark() {
            self.shipper.confirm(mark.shipped);
            self.set.space_freed();
            return true;
        }
        let (mark, confirmed) = {
            let marks = self.journal.marks.borrow();
            (marks.mark, marks.confirmed)
        };
        if !confirmed {
            return false;
        }
        let shipped = self.shipper.durable();
        let most = if is(Mistake::RetireAhead) {
            Seq::MAX
        } else {
            shipped
        };
        let low = self.retirer.advance(&View(&self.journal), most);
        let low = low.min(shipped);
        let retire = match self.gain(&mark, shipped, low).due() {
            Due::Nothing => return false,
            Due::Shipped => false,
            Due::Retired => true,
        };
        let new = Mark {
            counter: mark.counter + 1,
            shipped,
            acked: self.journal.order.acked().max(mark.acked),
            ..mark
        };
        match self.retired(new, retire.then_some(low)).await {
            Ok(new) => {
                self.journal.put_mark(&self.set, new);
                true
            }
            Err(Errno::Conflict) => {
                self.set.preempted();
                false
            }
            Err(_) => {
                // What the device had in its cache may be gone. The log still has all of it.
                let why = || "a local device fails to flush".into();
                self.set.enter(Phase::Failed, why);
                false
            }
        }
    }

    fn gain(&mut self, mark: &Mark, shipped: Seq, low: Seq) -> Gain {
        let (records, bytes) = self.journal.used();
        let last = self.journal.order.last();
        Gain {
            shipped: shipped.0.saturating_sub(mark.shipped.0),
            retired: low.0.saturating_sub(mark.retired.0),
            wanted: self.shipper.wants_mark(),
            waited_for: self.set.waits_for_space(),
            tight: self.journal.geometry.is_tight(records, bytes),
            idle: self.rest.looks(last, exec::now()) && shipped >= last,
        }
    }

    /// Adds the low-water sequence to a mark, after the local devices were flushed.
    async fn retired(&self, mut mark: Mark, low: Option<Seq>) -> Result<Mark> {
        let Some(low) = low else { return Ok(mark) };
        if !is(Mistake::LocalUnflushed) {
            flush_locals(&self.set).await?;
        }
        self.retirer.cut(&mut mark, low);
        Ok(mark)
    }
}
