// SPDX-License-Identifier: GPL-2.0

//! Bios that cannot go on where they are, and the thread that takes them further.

use crate::{
    append,
    bio::{Bio, Status},
    exec::{self, MS},
    media::Tag,
    plant::{is, Mistake},
    recovery,
    set::{Phase, Set},
    target,
};
use std::{cell::RefCell, rc::Rc};

type Queue = RefCell<Vec<Bio>>;

#[derive(Default)]
pub struct Queues {
    /// Arrived while the set did not serve yet.
    held: Queue,
    /// Hold their range and wait for space in the log.
    full: Queue,
    /// Were granted their range just now.
    ready: Queue,
    /// Failed locally; the log has to say so before the host is told.
    failed: Queue,
    /// Reads that are done, and what they found: it has to be looked who owned the unit then.
    doubted: RefCell<Vec<(Bio, Vec<Tag>)>>,
}

impl Set {
    pub fn hold(&self, bio: Bio) {
        self.queues.held.borrow_mut().push(bio);
        self.work.signal();
    }

    pub fn wait_for_space(&self, bio: Bio) {
        self.queues.full.borrow_mut().push(bio);
        self.ship.signal();
    }

    pub fn space_freed(&self) {
        let waits = |q: &Queue| !q.borrow().is_empty();
        if waits(&self.queues.full) || waits(&self.queues.failed) {
            self.work.signal();
        }
    }

    pub fn waits_for_space(&self) -> bool {
        let cancels = !self.queues.failed.borrow().is_empty();
        !self.queues.full.borrow().is_empty() || cancels && !is(Mistake::CancelsUnseen)
    }

    pub fn run_ready(&self, ready: Vec<Bio>) {
        if !ready.is_empty() {
            self.queues.ready.borrow_mut().extend(ready);
            self.work.signal();
        }
    }

    pub fn failed_locally(&self, bio: Bio) {
        self.queues.failed.borrow_mut().push(bio);
        self.work.signal();
    }

    /// Keeps a read until the keeper has seen that this node still owns the units.
    pub fn doubt(&self, bio: Bio, found: Vec<Tag>) {
        self.queues.doubted.borrow_mut().push((bio, found));
    }

    pub fn doubted(&self) -> Vec<(Bio, Vec<Tag>)> {
        self.queues.doubted.take()
    }
}

/// The worker thread.
pub async fn run(set: Rc<Set>) {
    while set.phase() != Phase::Stopping {
        set.work.wait_timeout(1000 * MS).await;
        if set.phase() == Phase::Replaying {
            recovery::replay_and_serve(&set).await;
        }
        exec::preempt().await;
        pass(&set);
    }
    pass(&set);
}

fn cancel_failed(set: &Set) {
    loop {
        let mut kept = vec![];
        let mut progress = false;
        for bio in set.queues.failed.take() {
            match append::cancel(set, bio) {
                Ok(()) => progress = true,
                Err(bio) => kept.push(bio),
            }
        }
        set.queues.failed.borrow_mut().extend(kept);
        if !progress {
            return;
        }
    }
}

/// Takes everything that waits as far as it gets.
pub fn pass(set: &Rc<Set>) {
    let phase = set.phase();
    let dead = matches!(
        phase,
        Phase::Fenced | Phase::Failed | Phase::Standby | Phase::Stopping
    );
    if dead {
        for q in [
            &set.queues.held,
            &set.queues.full,
            &set.queues.ready,
            &set.queues.failed,
        ] {
            for mut bio in q.take() {
                set.unlock(&mut bio);
                bio.complete(Status::Error);
            }
        }
        for (bio, _) in set.doubted() {
            bio.complete(Status::Error);
        }
        if let Some(journal) = set.journal().filter(|_| phase != Phase::Standby) {
            append::fail_waiting(set, &journal);
        }
        return;
    }
    if phase != Phase::Serving {
        return;
    }
    cancel_failed(set);
    for bio in set.queues.ready.take() {
        append::start(set, bio);
    }
    for bio in set.queues.full.take() {
        append::start(set, bio);
    }
    for bio in set.queues.held.take() {
        target::resume_held(set, bio);
    }
}
