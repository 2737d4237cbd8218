// SPDX-License-Identifier: GPL-2.0

//! The owner and its standby exchange their parts.

use crate::{
    errno::{Errno, Result},
    exec::{self, MS},
    plant::{is, Mistake},
    recovery,
    set::{Phase, Set},
    units,
};
use core_crate::{
    ownership::{self, Claim, Found},
    partner::Mirror,
};
use std::rc::Rc;

/// Values of `Set::handover`.
pub const NONE: u32 = 0;
/// The sender shall hand over once everything is sent.
pub const WANTED: u32 = 1;
/// It has: this node has stepped down.
pub const DONE: u32 = 2;

/// How long the shipper may need to get its writes back from the remote.
const SHIP: u64 = 1000 * MS;

/// Hands over to the partner. An administrator's message.
pub async fn swap(set: &Rc<Set>) -> Result {
    let _control = set.control.lock().await;
    if set.phase() != Phase::Serving
        || set.mirror() != Some(Mirror::Mirrored)
        || set.record.is_none()
        || !set.suspended.get()
    {
        return Err(Errno::Busy);
    }
    set.enter(Phase::HandingOver, || {
        "an administrator asked for it".into()
    });
    let until = exec::now() + SHIP + set.cfg().patience();
    while set.shipping.get() && exec::now() < until {
        exec::sleep(MS).await;
    }
    let given_up = || "the swap was given up".into();
    if set.shipping.get() {
        set.enter(Phase::Serving, given_up);
        return Err(Errno::TimedOut);
    }
    if set.mirror() != Some(Mirror::Mirrored) && !is(Mistake::HandsOverIncomplete) {
        // Its copy cannot become complete before this ends.
        set.enter(Phase::Serving, given_up);
        return Err(Errno::Busy);
    }
    set.handover.set(WANTED);
    set.send.signal();
    while set.handover.get() == WANTED && set.link.is_up() && exec::now() < until {
        exec::sleep(MS).await;
    }
    if set.handover.get() == WANTED {
        set.handover.set(NONE);
        set.enter(Phase::Serving, given_up);
        return Err(Errno::TimedOut);
    }
    set.link.wait_down().await;
    set.handover.set(NONE);
    set.link.forget_heard();
    set.forget_journal();
    set.enter(Phase::Standby, || "handed over".into());
    Ok(())
}

/// The owner steps down: durably, before the partner is told. Sender thread.
pub async fn step_down(set: &Set) -> Result {
    if set.handover.get() != WANTED {
        return Err(Errno::Canceled);
    }
    set.handover.set(DONE);
    let mine = set.durable.borrow().ok_or(Errno::Invalid)?;
    set.write_super(ownership::handing_over(&mine));
    if let Some(me) = set.node_key() {
        units::leave(set, me).await;
    }
    Ok(())
}

/// The owner has handed over to this node. Keeper's thread.
pub async fn accept(set: &Rc<Set>, heard: u64) {
    let _control = set.control.lock().await;
    if set.phase() != Phase::Standby {
        return;
    }
    set.enter(Phase::TakingOver, || "the owner has handed over".into());
    set.revoke_session().await;
    match take(set, heard).await {
        Ok(()) => {
            set.left.set(None);
            set.enter(Phase::Waiting, || "handed over".into());
        }
        Err(e) => {
            if let Some(me) = set.node_key() {
                units::leave(set, me).await;
            }
            set.enter(Phase::Standby, || format!("the handover failed: {e:?}"));
        }
    }
}

async fn take(set: &Rc<Set>, heard: u64) -> Result {
    let mine = set.durable.borrow().ok_or(Errno::Invalid)?;
    let may = |found: &Found| {
        let may = ownership::may_accept(&mine, heard, found) || is(Mistake::HandoverOutlived);
        may.then_some(()).ok_or(Errno::Perm)
    };
    may(&Found::Unused)?;
    let me = set.node_key().ok_or(Errno::Invalid)?;
    // The partner has given them up.
    let seized = units::seize(set, me, Claim::Free).await;
    seized.map_err(|e| e.errno())?;
    let found = set.read_record_to_change().await?;
    may(&found)?;
    let journal = recovery::load(set, &mine)?;
    recovery::make_durable(set, &ownership::handed_over(&mine, &found)).await?;
    journal.start_mirror(Mirror::Lost);
    set.install();
    Ok(())
}
