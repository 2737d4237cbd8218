// SPDX-License-Identifier: GPL-2.0

//! The thread that looks after who owns the set: a standby's watch over its owner, an owner's over its
//! reservations, its ownership record and its partner.

use crate::{
    alone,
    bio::Status,
    errno::Errno,
    exec::{self, MS},
    handover,
    plant::{is, Mistake},
    recovery,
    set::{Phase, Set},
    takeover, units,
};
use core_crate::{
    ownership::{self, Claim, Found, Hold, PartnerLost, Watch},
    partner::{Heartbeat, Mirror},
    takeover::Asked,
};
use std::rc::Rc;

/// How often an owner looks after its units: more often than the driver, because the record's limit,
/// which it extends then, is closer here.
const WATCH: u64 = 100 * MS;

/// How often a standby tries to give up what it has left at its units.
const REFRESH: u64 = 200 * MS;

/// The keeper's thread.
pub async fn run(set: Rc<Set>) {
    let mut keeper = Keeper {
        set: &set,
        watched: 0,
        lost_since: None,
        again_at: None,
        let_go_at: None,
    };
    while set.phase() != Phase::Stopping {
        let interval = set.cfg().interval();
        set.keep
            .wait_timeout((interval / 2).clamp(5 * MS, WATCH))
            .await;
        keeper.settle_reads().await;
        match set.phase() {
            Phase::Standby => keeper.stand_by().await,
            Phase::Waiting => keeper.miss_partner().await,
            Phase::Replaying | Phase::Serving => {
                keeper.watch().await;
                keeper.miss_partner().await;
            }
            _ => keeper.lost_since = None,
        }
    }
}

struct Keeper<'a> {
    set: &'a Rc<Set>,
    watched: u64,
    lost_since: Option<u64>,
    again_at: Option<u64>,
    let_go_at: Option<u64>,
}

impl Keeper<'_> {
    /// Answers reads that are done, if this node owned the units after that.
    async fn settle_reads(&mut self) {
        let set = self.set;
        let doubted = set.doubted();
        if doubted.is_empty() {
            return;
        }
        let sure = !set.in_doubt() || {
            let me = set.node_key();
            matches!(me, Some(me) if units::hold(set, me).await == Hold::Mine)
        };
        for (bio, found) in doubted {
            match set.phase() {
                Phase::Serving if sure => bio.complete(Status::Ok(found)),
                Phase::Serving => set.doubt(bio, found),
                Phase::Fenced if is(Mistake::ReadsWhileFenced) => bio.complete(Status::Ok(found)),
                _ => bio.complete(Status::Error),
            }
        }
        if !sure {
            // Whoever holds them: it is looked at once.
            self.watched = 0;
        }
    }

    async fn stand_by(&mut self) {
        let set = self.set;
        self.lost_since = None;
        let handed = set.handed.take();
        if handed != 0 {
            handover::accept(set, handed).await;
        } else if set.resume.replace(false) {
            let _ = takeover::takeover(set, Asked::Resume).await;
        } else {
            self.let_go().await;
            self.watch_owner().await;
        }
    }

    /// A takeover or a handover that failed may have left reservations behind, which shut the owner out:
    /// given up as soon as each unit says that it is not this node's.
    async fn let_go(&mut self) {
        let set = self.set;
        let now = exec::now();
        if set.left.get().is_none()
            || is(Mistake::ReservationsKept)
            || self.let_go_at.is_some_and(|at| now < at + REFRESH)
        {
            return;
        }
        self.let_go_at = Some(now);
        if units::answer(set).await.is_err() {
            return;
        }
        let _control = set.control.lock().await;
        let mine = *set.durable.borrow();
        if !ownership::may_let_go(mine.as_ref(), set.phase() == Phase::Standby) {
            return;
        }
        // Another takeover may have come and failed meanwhile.
        let Some(me) = set.left.get() else { return };
        if units::let_go(set, me).await {
            set.left.set(None);
            set.say(|| "the units are given up".into());
        }
    }

    /// Whether the owner was heard in time; if not, and the table line says so, this node takes over.
    async fn watch_owner(&mut self) {
        let set = self.set;
        let heard = set.link.heard();
        if !set.cfg().auto_takeover {
            return;
        }
        if heard == 0 {
            if self.again_at.is_some_and(|at| exec::now() >= at) {
                self.take_over().await;
            }
            return;
        }
        self.again_at = None;
        let misses = set.cfg().misses;
        let misses = match set.cfg().partner_lost {
            PartnerLost::Wait => misses,
            PartnerLost::Continue => misses + misses / 2 + 1,
        };
        if !Heartbeat::new(set.cfg().interval(), misses, heard).lost(exec::now()) {
            return;
        }
        set.link.forget_heard();
        self.take_over().await;
    }

    async fn take_over(&mut self) {
        let set = self.set;
        self.again_at = match takeover::takeover(set, Asked::Timeout).await {
            Err(e) if e != Errno::Perm && e != Errno::Damaged => {
                Some(exec::now() + set.cfg().patience())
            }
            _ => None,
        };
    }

    /// An owner whose partner is lost for too long goes on without it, if it may.
    async fn miss_partner(&mut self) {
        let set = self.set;
        let lost = set.mirror() == Some(Mirror::Lost);
        if !lost || set.cfg().partner_lost != PartnerLost::Continue {
            self.lost_since = None;
            return;
        }
        let now = exec::now();
        let heard = set.link.heard();
        let since = *self
            .lost_since
            .get_or_insert(if heard == 0 { now } else { heard });
        if now.saturating_sub(since.max(heard)) < set.cfg().patience() {
            return;
        }
        self.lost_since = Some(now);
        let _ = alone::go_alone(set, false).await;
    }

    /// Looks whether the units and the record are still this node's.
    async fn watch(&mut self) {
        let set = self.set;
        let now = exec::now();
        if now.saturating_sub(self.watched) < WATCH {
            return;
        }
        self.watched = now;
        let Some(me) = set.node_key() else { return };
        let Some(mine) = *set.durable.borrow() else {
            return;
        };
        let hold = units::hold(set, me).await;
        let found = set.read_record().await;
        let _control = set.control.lock().await;
        if *set.durable.borrow() != Some(mine) || set.known_record() != found {
            return;
        }
        let session = set.mirror() == Some(Mirror::Mirrored);
        match ownership::watch(&mine, &found, hold, session) {
            Watch::Fine => {}
            Watch::Reserve => drop(units::seize(set, me, Claim::Free).await),
            Watch::Rewrite => self.rewrite(&found).await,
            Watch::Fenced(by) => set.enter(Phase::Fenced, || by.to_string()),
        }
        self.extend().await;
    }

    /// An older owner has overwritten the record.
    async fn rewrite(&self, found: &Found) {
        let set = self.set;
        let (Some(mine), Some(journal)) = (*set.durable.borrow(), set.journal()) else {
            return;
        };
        let new = ownership::rewrite(&mine, found, &journal.reach());
        let _ = recovery::write_record(set, new.as_ref()).await;
    }

    /// An owner without its partner gives sequences only as far as the record says.
    async fn extend(&self) {
        let set = self.set;
        let (Some(mine), Some(journal)) = (*set.durable.borrow(), set.journal()) else {
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
        if recovery::write_record(set, Some(&new)).await.is_ok() {
            let durable = ownership::Durable {
                record: Some(new),
                mine,
            };
            recovery::apply_limit(&journal, &durable);
            set.space_freed();
        }
    }
}
