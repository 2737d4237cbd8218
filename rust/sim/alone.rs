// SPDX-License-Identifier: GPL-2.0

//! An owner goes on without its partner.

use crate::{
    errno::{Errno, Result},
    journal::Journal,
    mirror,
    recovery::{apply_limit, first_mark, make_durable},
    set::{Phase, Set},
    units,
};
use core_crate::{
    format::Super,
    limits::MAX_LANES,
    ownership::{self, Claim, Fencing, Found, Hold},
    plant::{planted, Plant},
    units::Generation,
};
use std::rc::Rc;

/// By policy, or because an administrator says that the partner is off (`forced`).
pub async fn go_alone(set: &Rc<Set>, forced: bool) -> Result {
    let _control = set.control.lock().await;
    let owner = matches!(
        set.phase(),
        Phase::Waiting | Phase::Replaying | Phase::Serving
    );
    let journal = set.journal().filter(|_| owner).ok_or(Errno::Busy)?;
    journal.leave()?;
    if planted(Plant::LateOutOfDateMark) {
        draw_on_all(set, &journal);
    }
    let result = leave_behind(set, &journal, forced).await;
    journal.left(result.is_ok());
    let generation = result?;
    set.say(|| format!("goes on alone in generation {generation}"));
    if set.phase() == Phase::Waiting {
        journal.begin(generation);
        first_mark(set, &journal);
        set.enter(Phase::Replaying, || "without its partner".into());
    } else {
        journal.set_reign(generation);
        draw_on_all(set, &journal);
        set.ship.signal();
    }
    Ok(())
}

/// Writes that wait for the partner go on.
fn draw_on_all(set: &Rc<Set>, journal: &Journal) {
    let mut heads = [0u64; MAX_LANES];
    for (h, l) in heads.iter_mut().zip(&journal.lanes) {
        *h = l.lane.head();
    }
    mirror::draw_on(set, journal, &heads);
}

/// Whether the ownership record lets this node go on alone.
fn check_record(mine: &Super, found: &Found) -> Result {
    match found.of(&mine.uuid) {
        _ if *found == Found::Unreadable => Err(Errno::Io),
        Some(r) if r.node != mine.node && r.generation >= mine.generation => Err(Errno::Perm),
        _ => Ok(()),
    }
}

/// Makes durable that the partner's mirror is out of date (rule 8): before any write goes on.
async fn leave_behind(set: &Set, journal: &Journal, forced: bool) -> Result<Generation> {
    let mine = set.durable.borrow().ok_or(Errno::Invalid)?;
    let me = set.node_key().ok_or(Errno::Invalid)?;
    let serving = set.phase() != Phase::Waiting;
    let mut hold = units::hold(set, me).await;
    let mut found = set.read_record().await;
    check_record(&mine, &found)?;
    if forced && matches!(hold, Hold::Partner(_)) {
        if serving {
            return Err(Errno::Perm);
        }
        let seized = units::seize(set, me, Claim::Takeover).await;
        seized.map_err(|e| e.errno())?;
        hold = units::hold(set, me).await;
        found = set.read_record().await;
        if let Err(e) = check_record(&mine, &found) {
            units::release(set, me).await;
            return Err(e);
        }
    }
    let lost = set.cfg().partner_lost;
    if !forced && !ownership::may_go_alone(&mine, lost, serving, &found, hold) {
        return Err(Errno::Again);
    }
    let unfenced = forced && set.cfg().fencing == Fencing::None;
    let new = ownership::go_alone(&mine, &found, &journal.reach(), unfenced);
    let new = new.ok_or(Errno::Invalid)?;
    make_durable(set, &new).await?;
    apply_limit(journal, &new);
    Ok(new.mine.generation)
}
