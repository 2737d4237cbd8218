// SPDX-License-Identifier: GPL-2.0

//! The thread that copies the log to the remote, in order, and cuts the log off behind it.

use crate::{
    append,
    journal::Journal,
    recovery::{flush_locals, from_tails},
    set::{Phase, Set},
    units,
};
use core::sync::atomic::Ordering;
use core_crate::{
    control,
    format::Mark,
    lane::stage,
    limits::SHIP_WINDOW,
    merge::Merge,
    ownership::Claim,
    retire::{AckTracker, Due, Gain, Rest, Retirer},
    ship::{Entry, Ship, Shipper, Token},
    units::{Op, Seq},
};
use kapi_crate::{
    blkdev::BlockDevice, iopool::IoDone, irqlock::IrqLock, pr::is_reservation_conflict,
    ratelimited, thread::StopToken, time,
};
use kernel::{new_spinlock_irq, prelude::*, sync::Arc};

/// Answers of the remote device that the shipper has not looked at yet.
#[pin_data]
pub(crate) struct Answers {
    set: Arc<Set>,
    #[pin]
    list: IrqLock<AnswerList>,
}

struct AnswerList {
    len: usize,
    items: KVec<(u64, Option<Error>)>,
}

impl IoDone for Answers {
    fn done(&self, token: u64, result: Result) {
        let mut l = self.list.lock();
        let at = l.len;
        // No more than SHIP_WINDOW writes are in flight, and each answers once.
        if let Some(i) = l.items.get_mut(at) {
            *i = (token, result.err());
            l.len = at.saturating_add(1);
        }
        drop(l);
        self.set.ship.signal();
    }
}

/// How long the shipper naps between looks while there is something to do, milliseconds.
const NAP_MS: u64 = 1;
/// How often it looks at everything before it looks at its orders again.
const STEPS: usize = 256;

/// The shipper's thread.
pub(crate) fn run(set: &Arc<Set>, stop: &StopToken) {
    let mut work: Option<KBox<Work<'_>>> = None;
    let mut pause = 1000;
    while !stop.should_stop() {
        set.ship.wait_timeout_ms(pause);
        pause = 1000;
        if set.phase() != Phase::Serving {
            // Another reign has another journal; and who hands over has to know when nothing is left.
            if let Some(mut w) = work.take() {
                w.come_back();
            }
            set.shipping.store(false, Ordering::SeqCst);
            continue;
        }
        // First this, then a look at the phase; who hands over does it the other way round, so that one
        // of both sees the other.
        set.shipping.store(true, Ordering::SeqCst);
        if set.phase() != Phase::Serving {
            set.ship.signal();
            continue;
        }
        if work.is_none() {
            match set.journal().map(|j| Work::new(set, j)) {
                Some(Ok(mut w)) => {
                    w.open_all();
                    work = Some(w);
                }
                Some(Err(e)) => pr_err!("set {}: cannot ship: {e:?}\n", set.name.as_str()),
                None => {}
            }
        }
        if let Some(w) = work.as_mut() {
            set.shipper_sleeps(false);
            pause = w.step();
            if pause > NAP_MS && !w.waits_for_remote() {
                set.shipper_sleeps(true);
                pause = w.step();
            }
        }
    }
    if let Some(mut w) = work.take() {
        w.come_back();
    }
}

struct Work<'a> {
    set: &'a Arc<Set>,
    journal: &'a Journal,
    answers: Arc<Answers>,
    shipper: Shipper<KVec<Entry>>,
    /// Follows `Shipper::durable` and tells the slots.
    remote: Merge,
    acks: AckTracker,
    retirer: Retirer,
    devices: KVec<Option<Arc<BlockDevice>>>,
    /// Of each volume, whether its device is opened again before its next use.
    stale: KVec<bool>,
    /// The remote failed; not again before this time.
    retry_at: u64,
    backoff_ms: u64,
    lost: bool,
    rest: Rest,
    /// Something was done in this step.
    busy: bool,
    /// Something was done since the last look at everything.
    progress: bool,
}

impl<'a> Work<'a> {
    #[inline(never)]
    fn new(set: &'a Arc<Set>, journal: &'a Journal) -> Result<KBox<Work<'a>>> {
        let window = KVec::from_elem(Entry::default(), SHIP_WINDOW, GFP_KERNEL)?;
        let items = KVec::from_elem((0, None), SHIP_WINDOW, GFP_KERNEL)?;
        let mark = journal.marks.lock().mark;
        let mut devices = KVec::new();
        for _ in 0..set.members.len() {
            devices.push(None, GFP_KERNEL)?;
        }
        let stale = KVec::from_elem(false, set.members.len(), GFP_KERNEL)?;
        // What the mark says is at the remote is not shipped again: see core's ship.rs.
        let mut merge = from_tails(journal, &mark);
        while let Some((seq, at)) = merge.peek(journal) {
            if seq > mark.shipped {
                break;
            }
            merge.advance(at);
        }
        let work = Work {
            set,
            journal,
            answers: Arc::pin_init(
                pin_init!(Answers {
                    set: set.clone(),
                    list <- new_spinlock_irq!(AnswerList { len: 0, items }),
                }),
                GFP_KERNEL,
            )?,
            shipper: Shipper::new(merge, mark.shipped, window),
            remote: from_tails(journal, &mark),
            acks: AckTracker::new(from_tails(journal, &mark)),
            retirer: Retirer::new(from_tails(journal, &mark), &mark),
            devices,
            stale,
            retry_at: 0,
            backoff_ms: 0,
            lost: false,
            rest: Rest::default(),
            busy: false,
            progress: false,
        };
        Ok(KBox::new(work, GFP_KERNEL)?)
    }

    /// Does what can be done; answers after how many milliseconds to look again without a signal:
    /// [`NAP_MS`] if something was done.
    #[inline(never)]
    fn step(&mut self) -> u64 {
        self.busy = false;
        if self.set.settings.lets_go() {
            self.let_go();
        }
        // A remote that answers at once could keep this going for ever.
        for _ in 0..STEPS {
            self.progress = false;
            // What this look sees need not wake anybody: answers that came during the last one would
            // end the nap that follows.
            self.set.ship.try_consume();
            self.collect();
            if !self.waits_for_remote() {
                self.issue();
                if self.shipper.begin_flush() {
                    let result = self.flush();
                    self.shipper.flushed(result.is_ok());
                    if let Err(e) = result {
                        self.remote_failed(e);
                    }
                }
            } else if self.shipper.in_flight() == 0 {
                self.close();
            }
            self.tell_slots();
            let acked = self.acks.advance(self.journal);
            self.progress |= acked > self.journal.order.acked();
            self.journal.order.acknowledged_all(acked);
            self.progress |= self.cut();
            if !self.progress {
                break;
            }
            self.busy = true;
        }
        let now = time::now_ns();
        // The signal that told of another phase may be consumed.
        if self.busy || self.set.phase() != Phase::Serving {
            NAP_MS
        } else if now < self.retry_at {
            (self.retry_at - now).div_ceil(1_000_000)
        } else if self.journal.used().0 > 0 {
            // Something is left to retire once the set is idle.
            20
        } else {
            1000
        }
    }

    /// What is at the remote device reads the log: it has to come back before this ends.
    fn come_back(&mut self) {
        while self.shipper.in_flight() > 0 {
            self.collect();
            if self.shipper.in_flight() > 0 {
                time::msleep(1);
            }
        }
        // An owner that has failed is still the owner.
        if self.set.phase() != Phase::Failed {
            self.release();
        }
        self.close();
    }

    /// The old owner may write to the remote until this node has seized it: not only when there is
    /// something to ship. A remote that is away is tried again then.
    fn open_all(&mut self) {
        for member in 0..self.set.members_wanted {
            let _ = self.device(member);
        }
    }

    /// Gives the remote up: this node leaves, or hands over.
    #[inline(never)]
    fn release(&self) {
        let kind = self.set.reservation.filter(|_| self.set.remote_fenced);
        let (Some(kind), Some(me)) = (kind, self.set.node_key()) else {
            return;
        };
        for d in self.devices.iter().flatten() {
            let mut name = [0u8; 32];
            let _ = units::release_device(self.set, d, d.name(&mut name), me, kind);
        }
    }

    fn waits_for_remote(&self) -> bool {
        time::now_ns() < self.retry_at
    }

    fn collect(&mut self) {
        loop {
            let answer = {
                let mut l = self.answers.list.lock();
                let Some(last) = l.len.checked_sub(1) else {
                    return;
                };
                l.len = last;
                l.items.get(last).copied()
            };
            let Some((token, error)) = answer else { return };
            self.progress = true;
            self.shipper.completed(Token(token), error.is_none());
            match error {
                Some(e) => self.remote_failed(e),
                None => self.remote_works(),
            }
        }
    }

    fn remote_failed(&mut self, e: Error) {
        if is_reservation_conflict(e) {
            return self.set.enter(
                Phase::Fenced,
                format_args!(
                    "the remote refuses writes: the partner has taken it over (preempted)"
                ),
            );
        }
        if !self.lost {
            self.lost = true;
            pr_warn!(
                "set {}: the remote fails ({e:?}) behind sequence {}: writes go on until the log is full\n",
                self.set.name.as_str(),
                self.shipper.confirmed().0
            );
        }
        if self.set.counters.remote_lost(true) {
            self.set.event();
        }
        self.stale.iter_mut().for_each(|s| *s = true);
        self.backoff_ms = (self.backoff_ms * 2).clamp(100, 5000);
        self.retry_at = time::now_ns() + self.backoff_ms * 1_000_000;
    }

    fn remote_works(&mut self) {
        if self.lost && !self.shipper.has_failed() {
            self.lost = false;
            self.set.counters.remote_lost(false);
            self.set.event();
            pr_info!("set {}: the remote is back\n", self.set.name.as_str());
        }
        self.backoff_ms = 0;
    }

    /// Lets go of remote devices that fail, so that they can be replaced under the same paths.
    fn close(&mut self) {
        if self.devices.iter().any(|d| d.is_some()) {
            self.set.io.drain();
            self.devices.iter_mut().for_each(|d| *d = None);
        }
    }

    /// The remote device of a volume; opened (again) when needed. A device that failed is closed
    /// once nothing is in flight: it may come back as another one under the same path.
    fn device(&mut self, member: u16) -> Result<Arc<BlockDevice>> {
        let i = usize::from(member);
        let path = &self
            .set
            .members
            .get(i)
            .and_then(|m| m.as_ref())
            .ok_or(ENODEV)?
            .remote_path;
        let sectors = self
            .set
            .members
            .get(i)
            .and_then(|m| m.as_ref())
            .map_or(0, |m| m.sectors);
        // The one in flight is the record that is to be written now. Once for each failure: what was
        // written and not flushed is written again after it, and might never come to an end.
        let in_flight = self.shipper.in_flight();
        if let Some(stale) = self.stale.get_mut(i).filter(|s| **s && in_flight <= 1) {
            *stale = false;
            if let Some(d) = self.devices.get_mut(i) {
                self.set.io.drain();
                *d = None;
            }
        }
        if let Some(Some(d)) = self.devices.get(i) {
            return Ok(d.clone());
        }
        let path = path.to_str().map_err(|_| EINVAL)?;
        let d = BlockDevice::open(path, Some(&crate::set::HOLDER), true).inspect_err(|e| {
            ratelimited!(
                pr_warn,
                "set {}: remote {path} cannot be opened: {e:?}\n",
                self.set.name.as_str()
            );
        })?;
        let block = self
            .set
            .members
            .get(i)
            .and_then(|m| m.as_ref())
            .map_or(512, |m| m.local.logical_block_size());
        if d.sectors() < sectors || d.dma_alignment_mask() > 511 || d.logical_block_size() > block {
            ratelimited!(
                pr_err,
                "set {}: remote {path} does not fit: {} sectors, memory aligned to {} bytes, logical blocks \
                 of {} bytes; at least {sectors}, at most 512 and at most {block} are needed\n",
                self.set.name.as_str(),
                d.sectors(),
                u64::from(d.dma_alignment_mask()) + 1,
                d.logical_block_size()
            );
            return Err(EINVAL);
        }
        self.seize(&d, path)?;
        let d = Arc::new(d, GFP_KERNEL)?;
        if let Some(slot) = self.devices.get_mut(i) {
            *slot = Some(d.clone());
        }
        // What an earlier device had in its cache may be gone.
        self.shipper.reconnect();
        Ok(d)
    }

    /// With reservations, nobody but the newest reign writes to the remote either.
    #[inline(never)]
    fn seize(&self, device: &BlockDevice, path: &str) -> Result {
        let kind = self.set.reservation.filter(|_| self.set.remote_fenced);
        let (Some(kind), Some(me)) = (kind, self.set.node_key()) else {
            return Ok(());
        };
        let claim = Claim::Agreed(me.reign());
        match units::seize_device(device, me, kind, claim) {
            Ok(_) => Ok(()),
            Err(e) => {
                ratelimited!(
                    pr_err,
                    "set {}: remote {path}: {}\n",
                    self.set.name.as_str(),
                    format_args!("{e}; or say `remote_fencing none`")
                );
                Err(e.errno())
            }
        }
    }

    fn issue(&mut self) {
        while time::now_ns() >= self.retry_at
            && self.set.phase() == Phase::Serving
            && !self.set.paused.load(Ordering::Relaxed)
        {
            let Ok(ship) = self.shipper.next(self.journal) else {
                return;
            };
            self.progress = true;
            if let Err(e) = self.ship(&ship) {
                self.shipper.completed(ship.token, false);
                self.remote_failed(e);
            }
        }
    }

    fn ship(&mut self, ship: &Ship) -> Result {
        if self.set.out_of_step.load(Ordering::Acquire) {
            // The remote misses what came before: nothing of this belongs there. But nobody else may
            // write there either.
            let _ = self.device(ship.record.extent.member);
            self.shipper.completed(ship.token, true);
            return Ok(());
        }
        let extent = ship.record.extent;
        let device = self.device(extent.member)?;
        if ship.record.op == Op::Zero {
            device.zeroout(extent.sector, u64::from(extent.sectors))?;
            self.shipper.completed(ship.token, true);
            self.remote_works();
            return Ok(());
        }
        let bytes = ship.record.data_bytes();
        let span = self
            .journal
            .data(&self.set.log, ship.at.lane, ship.record.data_pos, bytes)?;
        self.set.counters.shipped.fetch_add(1, Ordering::Relaxed);
        self.set.io.write(
            &device,
            extent.sector,
            &span,
            false,
            ship.token.0,
            &self.answers,
        );
        Ok(())
    }

    fn flush(&mut self) -> Result {
        for d in self.devices.iter().flatten() {
            if d.has_volatile_cache() {
                d.flush()?;
            }
        }
        Ok(())
    }

    /// Everything up to `durable` is at the remote: the slots learn it, and in synchronous mode the
    /// host does.
    fn tell_slots(&mut self) {
        let durable = self.shipper.durable();
        let mut now = None;
        while self.remote.next() <= durable {
            let Some((seq, at)) = self.remote.peek(self.journal) else {
                break;
            };
            if seq > durable {
                break;
            }
            if let Some(slot) = self.journal.slot(at) {
                let now = *now.get_or_insert_with(|| self.set.latency.now());
                let before = slot.reach(stage::REMOTE);
                self.set.shipped(self.journal, at, slot, before, now);
                if let Some(bio) = slot.host.take() {
                    let bio = append::acknowledge(self.set, self.journal, slot, bio, now);
                    bio.complete(kapi_crate::bio::BlkStatus::OK);
                }
            }
            self.remote.advance(at);
        }
        self.journal
            .durable_remote
            .store(durable.0, Ordering::Relaxed);
    }

    /// The mode is async now: writes that were held for the remote are acknowledged. In this thread, which
    /// is the one that retires: no slot is used anew between the look at it and the bio that it gives.
    #[inline(never)]
    fn let_go(&self) {
        let held = |stage| stage & (stage::LOCAL | stage::REMOTE | stage::ACKED) == stage::LOCAL;
        let now = self.set.latency.now();
        for l in self.journal.lanes.iter() {
            let slots = (l.lane.tail()..l.lane.head()).filter_map(|p| l.lane.slot(p));
            for slot in slots.filter(|s| held(s.stage())) {
                if self.set.phase() != Phase::Serving {
                    return;
                }
                if let Some(bio) = slot.host.take() {
                    append::acknowledge(self.set, self.journal, slot, bio, now)
                        .complete(kapi_crate::bio::BlkStatus::OK);
                }
            }
        }
    }

    /// Draws on the mark that is under way, or makes a new one. Answers whether more can be done now.
    #[inline(never)]
    fn cut(&mut self) -> bool {
        if let Some(mark) = self.journal.confirm_mark(self.set) {
            self.shipper.confirm(mark.shipped);
            self.set.space_freed();
            return true;
        }
        let (mark, confirmed) = {
            let marks = self.journal.marks.lock();
            (marks.mark, marks.confirmed)
        };
        if !confirmed {
            return false;
        }
        let shipped = self.shipper.durable();
        let low = self.retirer.advance(self.journal, shipped);
        let retire = match self.gain(&mark, shipped, low).due() {
            Due::Nothing => return false,
            Due::Shipped => false,
            Due::Retired => true,
        };
        let new = Mark {
            counter: mark.counter.saturating_add(1),
            shipped,
            acked: self.journal.order.acked().max(mark.acked),
            ..mark
        };
        match self.retired(new, retire.then_some(low)) {
            Ok(new) => self.journal.put_mark(self.set, new).is_ok(),
            Err(e) => {
                if is_reservation_conflict(e) {
                    self.set.preempted();
                    return false;
                }
                // What the device had in its cache may be gone, and reads would not show it. The log
                // still has all of it: a replay puts it right.
                self.set.enter(
                    Phase::Failed,
                    format_args!(
                        "a local device fails to flush ({e:?}); once it works, remove the volumes and \
                         make them anew: the log will be replayed"
                    ),
                );
                false
            }
        }
    }

    /// What a mark with these two limits would bring.
    fn gain(&mut self, mark: &Mark, shipped: Seq, low: Seq) -> Gain {
        let (records, bytes) = self.journal.used();
        let last = self.journal.order.last();
        Gain {
            shipped: shipped.0.saturating_sub(mark.shipped.0),
            retired: low.0.saturating_sub(mark.retired.0),
            wanted: self.shipper.wants_mark(),
            waited_for: self.set.waits_for_space(),
            tight: self.journal.geometry.is_tight(records, bytes)
                || control::nears_limit(records, self.set.settings.records()),
            idle: self.rest.looks(last, time::now_ns()) && shipped >= last,
        }
    }

    /// Adds the low-water sequence to a mark, after the local devices were flushed: what retires was
    /// written there, but a volatile cache may still have it (rule 3).
    fn retired(&self, mut mark: Mark, low: Option<Seq>) -> Result<Mark> {
        let Some(low) = low else { return Ok(mark) };
        flush_locals(self.set)?;
        self.retirer.cut(&mut mark, low);
        Ok(mark)
    }
}
