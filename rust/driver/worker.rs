// SPDX-License-Identifier: GPL-2.0

//! Bios that cannot go on where they are, and the thread that takes them further: I/O that waits for
//! the set to serve, writes that wait for space in the log or for an overlapping one, zeroes (which
//! may need writing by hand), and writes that failed locally.

use crate::{
    append,
    set::{Phase, Set},
};
use core_crate::units::Seq;
use kapi_crate::{
    bio::{BioQueue, BlkStatus, HostBio},
    irqlock::IrqLock,
    ratelimited,
    thread::StopToken,
};
use kernel::{new_spinlock_irq, prelude::*, sync::Arc};

/// What the driver keeps in each bio.
#[derive(Default)]
pub(crate) struct Io {
    /// Which volume of the set.
    pub(crate) member: u16,
    /// The lane of its record.
    pub(crate) lane: u16,
    /// 1: the range lock is held for it.
    pub(crate) locked: bool,
    /// The local device's error, once it failed.
    pub(crate) failed: Option<BlkStatus>,
    /// The position of its record in the lane.
    pub(crate) lane_seq: u64,
    /// The sequence of its record; [`Seq::ZERO`] before it has one.
    pub(crate) seq: Seq,
    /// Where its data stands in the lane.
    pub(crate) data_pos: u64,
    /// When the set took it on: see [`crate::stages`].
    pub(crate) accepted: u64,
    /// When its last stage ended.
    pub(crate) since: u64,
}

/// What waits for the worker. Each lock is a leaf.
#[pin_data]
pub(crate) struct Queues {
    /// Arrived while the set did not serve yet.
    #[pin]
    held: IrqLock<BioQueue<Io>>,
    /// Hold their range and wait for space in the log.
    #[pin]
    full: IrqLock<BioQueue<Io>>,
    /// Were granted their range just now.
    #[pin]
    ready: IrqLock<BioQueue<Io>>,
    /// Zeroes to be written locally.
    #[pin]
    zero: IrqLock<BioQueue<Io>>,
    /// Failed locally; the log has to say so before the host is told.
    #[pin]
    failed: IrqLock<BioQueue<Io>>,
    /// Reads that are done, when it has to be looked who owned the units then. The keeper's.
    #[pin]
    doubted: IrqLock<BioQueue<Io>>,
}

impl Queues {
    pub(crate) fn new() -> impl PinInit<Queues> {
        pin_init!(Queues {
            held <- new_spinlock_irq!(BioQueue::new()),
            full <- new_spinlock_irq!(BioQueue::new()),
            ready <- new_spinlock_irq!(BioQueue::new()),
            zero <- new_spinlock_irq!(BioQueue::new()),
            failed <- new_spinlock_irq!(BioQueue::new()),
            doubted <- new_spinlock_irq!(BioQueue::new()),
        })
    }

    /// Fails whatever is left; only when the set ends.
    pub(crate) fn fail_all(&self) {
        for q in [
            &self.held,
            &self.full,
            &self.ready,
            &self.zero,
            &self.failed,
            &self.doubted,
        ] {
            drain(q, |bio| bio.complete(BlkStatus::IOERR));
        }
    }
}

fn drain(queue: &IrqLock<BioQueue<Io>>, mut f: impl FnMut(HostBio<Io>)) {
    let mut all = BioQueue::new();
    all.append(&mut queue.lock());
    while let Some(bio) = all.pop() {
        f(bio);
    }
}

impl Set {
    /// Keeps a bio until the set serves.
    pub(crate) fn hold(&self, bio: HostBio<Io>) {
        self.queues.held.lock().push(bio);
        self.work.signal();
    }

    /// Keeps a write until the log has space.
    pub(crate) fn wait_for_space(&self, bio: HostBio<Io>) {
        self.queues.full.lock().push(bio);
        self.ship.signal();
    }

    /// Space became free.
    pub(crate) fn space_freed(&self) {
        if self.counters.log_is_full(false) {
            ratelimited!(
                pr_info,
                "set {}: the log has space again\n",
                self.name.as_str()
            );
            self.event();
        }
        if !self.queues.full.lock().is_empty() || !self.queues.failed.lock().is_empty() {
            self.work.signal();
        }
    }

    /// How the shipper knows that somebody waits for space: a write, or the cancel record of one that
    /// failed, behind which nothing is shipped.
    pub(crate) fn waits_for_space(&self) -> bool {
        !self.queues.full.lock().is_empty() || !self.queues.failed.lock().is_empty()
    }

    /// Writes were granted their ranges.
    pub(crate) fn run_ready(&self, mut ready: BioQueue<Io>) {
        if !ready.is_empty() {
            self.queues.ready.lock().append(&mut ready);
            self.work.signal();
        }
    }

    /// Zeroes are to be written locally, by the worker.
    pub(crate) fn zero_locally(&self, bio: HostBio<Io>) {
        self.queues.zero.lock().push(bio);
        self.work.signal();
    }

    /// A local write failed.
    pub(crate) fn failed_locally(&self, bio: HostBio<Io>) {
        self.queues.failed.lock().push(bio);
        self.work.signal();
    }

    /// A read is done, and is answered when the keeper has seen that this node still owned the units.
    pub(crate) fn doubt(&self, bio: HostBio<Io>) {
        self.queues.doubted.lock().push(bio);
        self.keep.signal();
    }

    /// The reads that wait for that. The caller answers them, or puts them back.
    pub(crate) fn doubted(&self) -> BioQueue<Io> {
        let mut all = BioQueue::new();
        all.append(&mut self.queues.doubted.lock());
        all
    }

    /// They wait on.
    pub(crate) fn doubt_again(&self, mut all: BioQueue<Io>) {
        self.queues.doubted.lock().append(&mut all);
    }

    /// A volume begins or ends a suspend without flush. Until it ends, the worker gives back whatever
    /// of it waits, again and again: a write may have been on its way into a queue when it began.
    pub(crate) fn give_back(&self, member: u16, begins: bool) {
        self.giving_back.put(member, begins);
        self.work.signal();
    }

    /// Whether the bio's volume is in a suspend without flush.
    pub(crate) fn gives_back(&self, bio: &HostBio<Io>) -> bool {
        self.giving_back.has(bio.io().member)
    }

    /// Gives back what waits: what has no record yet, and what has one that is not mirrored.
    fn requeue_waiting(&self) {
        for queue in [&self.queues.held, &self.queues.full] {
            let mut kept = BioQueue::new();
            drain(queue, |mut bio| {
                if self.gives_back(&bio) {
                    append::give_up(self, &mut bio, BlkStatus::DM_REQUEUE);
                    bio.complete(BlkStatus::DM_REQUEUE);
                } else {
                    kept.push(bio);
                }
            });
            queue.lock().append(&mut kept);
        }
        if let Some(journal) = self.journal() {
            append::requeue_logged(self, journal);
        }
    }
}

/// The worker thread.
pub(crate) fn run(set: &Arc<Set>, stop: &StopToken) {
    while !stop.should_stop() {
        let _ = set.work.wait_timeout_ms(tick_ms(set));
        if set.phase() == Phase::Replaying {
            crate::recovery::replay_and_serve(set);
        }
        pass(set);
        if set.giving_back.any() {
            set.requeue_waiting();
        }
    }
    pass(set);
}

/// Cancels what failed locally, as far as that can be noted in the log now. Those that have to wait
/// for an older one of their lane, or for space, stay.
fn cancel_failed(set: &Set) {
    loop {
        let mut kept = BioQueue::new();
        let mut progress = false;
        drain(&set.queues.failed, |bio| match append::cancel(set, bio) {
            Ok(()) => progress = true,
            Err(bio) => kept.push(bio),
        });
        set.queues.failed.lock().append(&mut kept);
        if !progress {
            return;
        }
    }
}

/// How long the worker may sleep.
fn tick_ms(set: &Set) -> u64 {
    if set.giving_back.any() {
        20
    } else {
        1000
    }
}

fn pass(set: &Arc<Set>) {
    set.announce_preemption();
    let phase = set.phase();
    let dead = matches!(
        phase,
        Phase::Fenced | Phase::Failed | Phase::Standby | Phase::Stopping
    );
    if dead {
        for q in [&set.queues.held, &set.queues.doubted] {
            drain(q, |bio| bio.complete(BlkStatus::IOERR));
        }
        for q in [
            &set.queues.full,
            &set.queues.ready,
            &set.queues.zero,
            &set.queues.failed,
        ] {
            drain(q, |mut bio| {
                append::give_up(set, &mut bio, BlkStatus::IOERR);
                bio.complete(BlkStatus::IOERR);
            });
        }
        if let Some(journal) = set.journal().filter(|_| phase != Phase::Standby) {
            append::fail_waiting(set, journal);
        }
        return;
    }
    if phase != Phase::Serving {
        return;
    }
    drain(&set.queues.zero, |bio| append::zero_local(set, bio));
    cancel_failed(set);
    drain(&set.queues.ready, |bio| append::start(set, bio));
    drain(&set.queues.full, |bio| append::start(set, bio));
    drain(&set.queues.held, |bio| crate::target::resume_held(set, bio));
}
