// SPDX-License-Identifier: GPL-2.0

//! What an owner does when part of the protection is gone: it goes on without its partner, or its remote
//! is in step again after a takeover that had to leave it out.

use crate::{
    journal::Journal,
    mirror,
    recovery::{apply_limit, first_mark, make_durable, Say},
    set::{Phase, Set},
    units,
};
use core::sync::atomic::Ordering;
use core_crate::{
    format::Super,
    ownership::{self, Claim, Fencing, Found, Hold},
    units::Generation,
};
use kapi_crate::time;
use kernel::{prelude::*, sync::Arc};

/// An owner goes on without its partner: by policy, once it has not been heard for too long, or because
/// an administrator says that it is off and will not take over by itself (`forced`).
///
/// # Errors
///
/// `EBUSY` when the partner is not lost; `EIO`; `say` was told.
pub(crate) fn go_alone(set: &Arc<Set>, forced: bool, say: Say<'_>) -> Result {
    let _control = set.control.lock();
    let Some(journal) = set.journal().filter(|_| {
        matches!(
            set.phase(),
            Phase::Waiting | Phase::Replaying | Phase::Serving
        )
    }) else {
        say(format_args!(
            "detach: this node does not own the set, it is {}",
            set.phase().as_str()
        ));
        return Err(EBUSY);
    };
    journal.leave().inspect_err(|_| {
        say(format_args!(
            "detach: the partner's copy is {}, not lost",
            journal.mirror().as_str()
        ));
    })?;
    let result = leave_behind(set, journal, forced, say);
    journal.left(result.is_ok());
    let generation = result?;
    pr_warn!(
        "set {}: {}, generation {}: the partner's mirror is out of date since sequence {}\n",
        set.name.as_str(),
        if forced {
            "detached from its partner by force"
        } else {
            "the partner is lost, writes go on without it"
        },
        generation.0,
        journal.order.acked().next().0
    );
    if set.phase() == Phase::Waiting {
        journal.begin(generation);
        first_mark(set, journal)?;
        set.enter(
            Phase::Replaying,
            format_args!("this node owns the set, without its partner"),
        );
    } else {
        journal.set_reign(generation);
        journal.settle_appends();
        let mut heads = [0u64; core_crate::limits::MAX_LANES];
        for (h, l) in heads.iter_mut().zip(journal.lanes.iter()) {
            *h = l.lane.head();
        }
        mirror::draw_on(set, journal, &heads);
        set.ship.signal();
        set.event();
    }
    Ok(())
}

/// Whether the ownership record lets this node go on alone.
fn check_record(mine: &Super, found: &Found, say: Say<'_>) -> Result {
    if *found == Found::Unreadable {
        say(format_args!(
            "cannot go on alone: the ownership record cannot be read, and has to say that the partner's \
             mirror is out of date; make its device work"
        ));
        return Err(EIO);
    }
    match found.of(&mine.uuid) {
        Some(r) if r.node != mine.node && r.generation >= mine.generation => {
            say(format_args!(
                "cannot go on alone: the ownership record says that the partner owns the set in generation \
                 {}; remove the device and make it anew: it will stand by, and can be sent `takeover force`",
                r.generation
            ));
            Err(EPERM)
        }
        _ => Ok(()),
    }
}

/// Makes durable that the partner's mirror is out of date (rule 8): before any write goes on.
#[inline(never)]
fn leave_behind(set: &Set, journal: &Journal, forced: bool, say: Say<'_>) -> Result<Generation> {
    let mine = (*set.durable.lock()).ok_or(EINVAL)?;
    let me = set.node_key().ok_or(EINVAL)?;
    let serving = set.phase() != Phase::Waiting;
    let mut hold = units::hold(set, me);
    let mut found = set.read_record();
    check_record(&mine, &found, say)?;
    if forced && matches!(hold, Hold::Partner(_)) {
        if serving {
            say(format_args!("detach: the partner has taken the units over"));
            return Err(EPERM);
        }
        // It was about to take over when it died, says the administrator. Behind the fence the record
        // is read again.
        units::seize(set, me, Claim::Takeover, say).map_err(|e| e.errno())?;
        hold = units::hold(set, me);
        found = set.read_record();
        check_record(&mine, &found, say).inspect_err(|_| {
            let _ = units::release(set, me);
        })?;
    }
    let lost = set.settings.partner_lost();
    if !forced && !ownership::may_go_alone(&mine, lost, serving, &found, hold) {
        say(format_args!(
            "the partner is lost, and this node may not go on alone: {}",
            match hold {
                Hold::Mine | Hold::Unused if serving || hold == Hold::Mine =>
                    "the ownership record does not name it as the last owner",
                Hold::Unused => "the partner may have taken over, and only it knows",
                _ => "it does not hold the units",
            }
        ));
        return Err(EAGAIN);
    }
    let unfenced = forced && set.fencing() == Fencing::None;
    let new = ownership::go_alone(&mine, &found, &journal.reach(), unfenced).ok_or(EOVERFLOW)?;
    make_durable(set, &new)?;
    apply_limit(journal, &new);
    Ok(new.mine.generation)
}

/// The remote holds what the local unit holds, says an administrator who has copied it: shipping goes
/// on from here.
///
/// # Errors
///
/// `EBUSY` unless the remote is out of step, all volumes are suspended and the log is empty; `EIO`;
/// `say` was told.
pub(crate) fn back_in_step(set: &Arc<Set>, say: Say<'_>) -> Result {
    let _control = set.control.lock();
    let mine = (*set.durable.lock()).ok_or(EINVAL)?;
    let journal = set.journal().filter(|_| set.phase() == Phase::Serving);
    let (Some(journal), true) = (journal, mine.missing.is_some()) else {
        say(format_args!(
            "in_step: the set is {} and its remote is not out of step",
            set.phase().as_str()
        ));
        return Err(EBUSY);
    };
    if !set.all_suspended() {
        say(format_args!(
            "in_step: suspend all volumes of the set first (dmsetup suspend), before the copy is made, so \
             that the copy is what the local unit holds"
        ));
        return Err(EBUSY);
    }
    // Nothing is written, and the shipper has nothing to wait for.
    let until = time::now_ns().saturating_add(IN_STEP_NS);
    while journal.used().0 > 0 && time::now_ns() < until {
        set.ship.signal();
        time::msleep(5);
    }
    if journal.used().0 > 0 {
        say(format_args!(
            "in_step: {} records are still in the log; try again when there are none",
            journal.used().0
        ));
        return Err(EBUSY);
    }
    let found = set.read_record_to_change()?;
    make_durable(set, &ownership::back_in_step(&mine, &found))?;
    for m in set.members.iter().filter_map(|m| m.as_ref()) {
        m.missing_first.store(0, Ordering::Relaxed);
    }
    pr_info!(
        "set {}: the remote is in step again, an administrator says\n",
        set.name.as_str()
    );
    // The partner learns it from the next HELLO.
    set.link.drop_conn();
    set.event();
    Ok(())
}

/// How long retiring what is left may take.
const IN_STEP_NS: u64 = 5_000_000_000;
