// SPDX-License-Identifier: GPL-2.0

//! The owner and its standby exchange their parts. Nobody dies, and no write is ever without a mirror:
//!
//! 1. Owner: all volumes are suspended, so no host I/O is under way; the mirror is complete.
//! 2. Owner: the shipper ends, with nothing left at the remote.
//! 3. Owner, sender thread: everything has been sent and acknowledged.
//! 4. Owner: durably a standby from now on, whose log is a complete copy ([`ownership::handing_over`]).
//!    The units are given up.
//! 5. HANDOVER. The session ends.
//! 6. Standby: seizes the units; the record and its superblock say that it is the owner
//!    ([`ownership::handed_over`]).
//! 7. It starts as any owner does: asks its partner, begins a reign, replays, serves.
//!
//! If either dies in between, both have the log, and either can take over.

use crate::{
    recovery,
    set::{Phase, Set},
    units,
};
use core::sync::atomic::Ordering;
use core_crate::{
    ownership::{self, Claim, Found},
    partner::Mirror,
};
use kapi_crate::time;
use kernel::{prelude::*, sync::Arc};

/// Values of `Set::handover`.
pub(crate) const NONE: u32 = 0;
/// The sender shall hand over once everything is sent.
pub(crate) const WANTED: u32 = 1;
/// It has: this node has stepped down.
pub(crate) const DONE: u32 = 2;

/// How long the shipper may need to get its writes back from the remote, beside the partner's patience.
const SHIP_NS: u64 = 10_000_000_000;

/// Hands over to the partner. An administrator's message.
///
/// # Errors
///
/// `EBUSY` when the set is not in a state for it; `ETIMEDOUT`; `say` was told.
pub(crate) fn swap(set: &Arc<Set>, say: recovery::Say<'_>) -> Result {
    let _control = set.control.lock();
    if set.phase() != Phase::Serving || set.mirror() != Some(Mirror::Mirrored) {
        say(format_args!(
            "swap: the set is {} and its mirror is {}; it has to be serving and mirrored",
            set.phase().as_str(),
            set.mirror().map_or("none", |m| m.as_str())
        ));
        return Err(EBUSY);
    }
    if set.record.is_none() {
        // Until the partner's reign begins, both copies are complete. If both nodes took over then, one
        // after the other, nothing would say which of them has gone on since.
        say(format_args!(
            "swap: it needs an ownership record (`metadata` in the table line); without one, remove the \
             volumes here and send `takeover` to the partner"
        ));
        return Err(EOPNOTSUPP);
    }
    if !set.all_suspended() {
        say(format_args!(
            "swap: suspend all volumes of the set first (dmsetup suspend), so that no write is under way"
        ));
        return Err(EBUSY);
    }
    set.enter(
        Phase::HandingOver,
        format_args!("an administrator asked for it"),
    );
    let until = time::now_ns()
        .saturating_add(SHIP_NS)
        .saturating_add(set.settings.patience());
    while set.shipping.load(Ordering::Acquire) && time::now_ns() < until {
        time::msleep(1);
    }
    if set.shipping.load(Ordering::Acquire) {
        say(format_args!(
            "swap: the remote does not answer, and what is on its way there must not be overtaken"
        ));
        set.enter(Phase::Serving, format_args!("the swap was given up"));
        return Err(ETIMEDOUT);
    }
    if set.mirror() != Some(Mirror::Mirrored) {
        // Its copy cannot become complete before this ends.
        say(format_args!(
            "swap: the partner was lost meanwhile; nothing has changed"
        ));
        set.enter(Phase::Serving, format_args!("the swap was given up"));
        return Err(EBUSY);
    }
    set.handover.store(WANTED, Ordering::Release);
    set.send.signal();
    while set.handover.load(Ordering::Acquire) == WANTED
        && set.link.is_up()
        && time::now_ns() < until
    {
        time::msleep(1);
    }
    let wanted = set
        .handover
        .compare_exchange(WANTED, NONE, Ordering::AcqRel, Ordering::Acquire);
    if wanted.is_ok() {
        say(format_args!(
            "swap: the partner has not taken everything in time; nothing has changed"
        ));
        set.enter(Phase::Serving, format_args!("the swap was given up"));
        return Err(ETIMEDOUT);
    }
    set.link.wait_down();
    set.handover.store(NONE, Ordering::Release);
    if set.phase() == Phase::Failed {
        say(format_args!("swap: the log cannot be written"));
        return Err(EIO);
    }
    // The partner's silence while it reads its log is no reason to take over.
    set.link.forget_heard();
    set.forget_journal();
    set.enter(
        Phase::Standby,
        format_args!("handed over; if the partner does not own the set soon, send it `takeover`"),
    );
    Ok(())
}

/// The owner steps down: durably, before the partner is told. Sender thread; everything is sent and
/// acknowledged.
///
/// # Errors
///
/// `ECANCELED` when the swap was given up, or the log can't be written: this node is still the owner.
pub(crate) fn step_down(set: &Set) -> Result {
    if set
        .handover
        .compare_exchange(WANTED, DONE, Ordering::AcqRel, Ordering::Acquire)
        .is_err()
    {
        return Err(ECANCELED);
    }
    let stepped = {
        let mut durable = set.durable.lock();
        let mine = durable.ok_or(EINVAL)?;
        set.write_super(&mut durable, ownership::handing_over(&mine))
    };
    if let Err(e) = stepped {
        set.enter(
            Phase::Failed,
            format_args!("the log cannot be written: {e:?}"),
        );
        return Err(e);
    }
    if let Some(me) = set.node_key() {
        units::leave(set, me);
    }
    Ok(())
}

/// The owner has handed over to this node, whose superblock had the counter `heard` then. Keeper's thread.
pub(crate) fn accept(set: &Arc<Set>, heard: u64) {
    let _control = set.control.lock();
    if set.phase() != Phase::Standby {
        return;
    }
    set.enter(Phase::TakingOver, format_args!("the owner has handed over"));
    set.revoke_session();
    match take(set, heard, &mut set.complain()) {
        Ok(()) => {
            *set.left.lock() = None;
            set.enter(
                Phase::Waiting,
                format_args!("the owner has handed over; its partner is asked to mirror"),
            );
        }
        Err(e) => {
            if let Some(me) = set.node_key() {
                units::leave(set, me);
            }
            set.enter(
                Phase::Standby,
                format_args!("the handover failed: {e:?}; send `takeover`"),
            );
        }
    }
}

#[inline(never)]
fn take(set: &Arc<Set>, heard: u64, say: recovery::Say<'_>) -> Result {
    let mine = (*set.durable.lock()).ok_or(EINVAL)?;
    let may = |found: &Found, say: recovery::Say<'_>| {
        if ownership::may_accept(&mine, heard, found) {
            return Ok(());
        }
        say(format_args!(
            "the handover is void: the owner, or this node, has gone on since"
        ));
        Err(EPERM)
    };
    may(&Found::Unused, say)?;
    let me = set.node_key().ok_or(EINVAL)?;
    // The partner has given them up.
    units::seize(set, me, Claim::Free, say).map_err(|e| e.errno())?;
    let found = set.read_record_to_change()?;
    may(&found, say)?;
    let journal = recovery::load(set, &mine, say)?;
    recovery::make_durable(set, &ownership::handed_over(&mine, &found))?;
    journal.start_mirror(Mirror::Lost);
    set.install();
    Ok(())
}
