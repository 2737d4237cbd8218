// SPDX-License-Identifier: GPL-2.0

//! The thread that looks after who owns the set: a standby's watch over its owner, an owner's over its
//! reservations, its ownership record and its partner; and it tells what was held back. It may wait for units as long as they take;
//! nothing else waits for it.

use crate::{
    alone, events, handover, recovery,
    set::{Phase, Set},
    takeover, units,
};
use core::sync::atomic::Ordering;
use core_crate::{
    ownership::{self, Claim, Found, Hold, PartnerLost, Watch},
    partner::{Heartbeat, Mirror},
    takeover::Asked,
};
use kapi_crate::{bio::BlkStatus, ratelimited, thread::StopToken, time};
use kernel::{prelude::*, sync::Arc};

/// How often an owner looks after its units, milliseconds.
const WATCH_MS: u64 = 1000;

/// How often a standby reads the ownership record, milliseconds: only for status. A takeover reads it
/// for itself.
const REFRESH_MS: u64 = 2000;

/// The keeper's thread.
pub(crate) fn run(set: &Arc<Set>, stop: &StopToken) {
    let mut keeper = Keeper {
        set,
        watched: 0,
        lost_since: None,
        again_at: None,
        let_go_at: 0,
        stays: false,
    };
    while !stop.should_stop() {
        let (interval, _) = set.settings.heartbeat();
        set.keep
            .wait_timeout_ms((interval / 2_000_000).clamp(5, WATCH_MS));
        events::tick(set);
        if set.partner.is_none() {
            // Nobody else will ever own it.
            continue;
        }
        keeper.settle_reads();
        match set.phase() {
            Phase::Standby => keeper.stand_by(),
            Phase::Waiting => keeper.miss_partner(),
            Phase::Replaying | Phase::Serving => {
                keeper.watch();
                keeper.miss_partner();
            }
            // Its status tells who owns the set now.
            Phase::Fenced => keeper.refresh(),
            _ => keeper.lost_since = None,
        }
    }
}

struct Keeper<'a> {
    set: &'a Arc<Set>,
    /// When the units, or a standby's record, were last looked after.
    watched: u64,
    /// Since when the partner is lost.
    lost_since: Option<u64>,
    /// A takeover failed because of a unit; the next try.
    again_at: Option<u64>,
    /// When it was last tried to give up what is left at the units, and whether it was said that it
    /// stays.
    let_go_at: u64,
    stays: bool,
}

impl Keeper<'_> {
    /// Answers reads that are done, if the units were this node's after that.
    fn settle_reads(&mut self) {
        let set = self.set;
        let mut doubted = set.doubted();
        if doubted.is_empty() {
            return;
        }
        let sure =
            !set.in_doubt() || set.node_key().map(|me| units::hold(set, me)) == Some(Hold::Mine);
        if !sure && set.phase() == Phase::Serving {
            ratelimited!(
                pr_warn,
                "set {}: reads wait: a unit does not say that it is reserved for this node\n",
                set.name.as_str()
            );
            // Who holds it then is looked at now.
            self.watched = 0;
            return set.doubt_again(doubted);
        }
        let status = match set.phase() {
            Phase::Serving => BlkStatus::OK,
            // What was read may be from the midst of the partner's replay.
            _ => BlkStatus::IOERR,
        };
        while let Some(bio) = doubted.pop() {
            bio.complete(status);
        }
    }

    fn stand_by(&mut self) {
        let set = self.set;
        self.lost_since = None;
        let handed = set.handed.swap(0, Ordering::AcqRel);
        if handed != 0 {
            handover::accept(set, handed);
        } else if set.resume.swap(false, Ordering::AcqRel) {
            let _ = takeover::takeover(set, Asked::Resume, &mut set.complain());
        } else {
            self.refresh();
            self.let_go();
            self.watch_owner();
        }
    }

    /// A takeover or a handover that failed may have left reservations behind, which shut the owner out:
    /// given up as soon as each unit says that it is not this node's.
    fn let_go(&mut self) {
        let set = self.set;
        if set.left.lock().is_none() {
            // Or a takeover has come about since.
            self.stays = false;
            return;
        }
        let now = time::now_ns();
        if now.saturating_sub(self.let_go_at) < REFRESH_MS * 1_000_000 {
            return;
        }
        self.let_go_at = now;
        // A unit that does not answer is waited for here, where nobody waits for this thread.
        if units::answer(set, &mut |_| {}).is_ok() {
            let _control = set.control.lock();
            let mine = *set.durable.lock();
            if !ownership::may_let_go(mine.as_ref(), set.phase() == Phase::Standby) {
                return;
            }
            // Another takeover may have come and failed meanwhile.
            let left = *set.left.lock();
            if left.is_none_or(|me| units::let_go(set, me)) {
                *set.left.lock() = None;
                if core::mem::take(&mut self.stays) {
                    pr_info!("set {}: the units are given up\n", set.name.as_str());
                }
                return;
            }
        }
        if !core::mem::replace(&mut self.stays, true) {
            pr_warn!(
                "set {}: this node stands by, and may still hold units: the owner cannot begin; tried \
                 again until they are given up\n",
                set.name.as_str()
            );
        }
    }

    /// What status says of the record is not older than this.
    fn refresh(&mut self) {
        let now = time::now_ns();
        if now.saturating_sub(self.watched) >= REFRESH_MS * 1_000_000 {
            self.watched = now;
            self.set.read_record();
        }
    }

    /// Whether the owner was heard in time; if not, and the table line says so, this node takes over.
    fn watch_owner(&mut self) {
        let set = self.set;
        let heard = set.link.heard();
        if !set.settings.auto_takeover.load(Ordering::Relaxed) {
            return;
        }
        if heard == 0 {
            if self.again_at.is_some_and(|at| time::now_ns() >= at) {
                self.take_over();
            }
            return;
        }
        self.again_at = None;
        let (interval, misses) = set.settings.heartbeat();
        // An owner that lives and may go on alone is given the time to say so: whoever has the host
        // should keep it.
        let misses = match set.settings.partner_lost() {
            PartnerLost::Wait => misses,
            PartnerLost::Continue => misses.saturating_add(misses / 2).saturating_add(1),
        };
        if !Heartbeat::new(interval, misses, heard).lost(time::now_ns()) {
            return;
        }
        // Not again before the owner was heard again, whatever comes of it.
        set.link.forget_heard();
        self.take_over();
    }

    /// A refusal is final until the owner is heard again; a unit that does not answer may get well.
    fn take_over(&mut self) {
        let set = self.set;
        let result = takeover::takeover(set, Asked::Timeout, &mut set.complain());
        self.again_at = match result {
            Err(e) if e != EPERM && e != EUCLEAN => {
                Some(time::now_ns().saturating_add(set.settings.patience()))
            }
            _ => None,
        };
    }

    /// An owner whose partner is lost for too long goes on without it, if it may.
    fn miss_partner(&mut self) {
        let set = self.set;
        let lost = set.mirror() == Some(Mirror::Lost);
        if !lost || set.settings.partner_lost() != PartnerLost::Continue {
            self.lost_since = None;
            return;
        }
        let now = time::now_ns();
        // From when it was last heard on: that was the patience for which the session lasted already, and
        // a partner that lives takes over soon after it.
        let heard = set.link.heard();
        let since = *self
            .lost_since
            .get_or_insert(if heard == 0 { now } else { heard });
        if now.saturating_sub(since.max(heard)) < set.settings.patience() {
            return;
        }
        // Tried again after as long, if it fails.
        self.lost_since = Some(now);
        let name = set.name;
        let mut say = |what: core::fmt::Arguments<'_>| {
            ratelimited!(pr_warn, "set {}: {what}\n", name.as_str());
        };
        let _ = alone::go_alone(set, false, &mut say);
    }

    /// Looks whether the units and the record are still this node's.
    fn watch(&mut self) {
        let set = self.set;
        let now = time::now_ns();
        if now.saturating_sub(self.watched) < WATCH_MS * 1_000_000 {
            return;
        }
        self.watched = now;
        let Some(me) = set.node_key() else { return };
        let Some(mine) = *set.durable.lock() else {
            return;
        };
        let hold = units::hold(set, me);
        let found = set.read_record();
        let _control = set.control.lock();
        if *set.durable.lock() != Some(mine) || set.known_record() != found {
            // Something happened in between; the next look is soon.
            return;
        }
        let session = set.mirror() == Some(Mirror::Mirrored);
        match ownership::watch(&mine, &found, hold, session) {
            Watch::Fine => {}
            Watch::Reserve => {
                pr_warn!(
                    "set {}: the reservation of a unit is gone; reserving it again\n",
                    set.name.as_str()
                );
                let _ = units::seize(set, me, Claim::Free, &mut set.complain());
            }
            Watch::Rewrite => self.rewrite(&found),
            Watch::Fenced(by) => set.enter(Phase::Fenced, format_args!("{by}")),
        }
        self.extend();
    }

    /// An older owner has overwritten the record.
    fn rewrite(&self, found: &Found) {
        let set = self.set;
        let (Some(mine), Some(journal)) = (*set.durable.lock(), set.journal()) else {
            return;
        };
        pr_warn!(
            "set {}: the ownership record is not this node's: {found:?}; writing it again\n",
            set.name.as_str()
        );
        let new = ownership::rewrite(&mine, found, &journal.reach());
        let _ = recovery::write_record(set, new.as_ref());
    }

    /// An owner without its partner gives sequences only as far as the record says.
    fn extend(&self) {
        let set = self.set;
        let (Some(mine), Some(journal)) = (*set.durable.lock(), set.journal()) else {
            return;
        };
        let Found::Record(record) = set.known_record() else {
            return;
        };
        if !mine.alone || record.node != mine.node {
            return;
        }
        let Some(new) = ownership::extend(&record, journal.order.last()) else {
            return;
        };
        if recovery::write_record(set, Some(&new)).is_ok() {
            let durable = ownership::Durable {
                record: Some(new),
                mine,
            };
            recovery::apply_limit(journal, &durable);
            set.space_freed();
        }
    }
}
