// SPDX-License-Identifier: GPL-2.0

//! A standby becomes the owner. [`core_crate::takeover`] says what is done, in which order, and whether;
//! this does it. *Patent: figure 6B, steps 645 to 655.*

use crate::{
    journal::{Journal, Region},
    recovery::{self, Say},
    set::{plan, Phase, Set},
    units::{self, Failed},
};
use core::sync::atomic::Ordering;
use core_crate::{
    format::{Mark, Missing, Super},
    layout::{MARK_OFFSET, SLOT_BYTES},
    merge::Position,
    ownership::{sequences_behind, Claim, Fencing, Found},
    partner::Mirror,
    recover,
    ship::ShipView,
    takeover::{self, Act, Asked, Refused, Reign, Source, View},
    units::{Generation, Op, Seq},
};
use kapi_crate::{pmem::crc32c, random, time};
use kernel::{prelude::*, sync::Arc};

/// The standby becomes the owner. May sleep; takes as long as the units and reading the log do.
///
/// # Errors
///
/// `EBUSY` when the set is not a standby, `EPERM` when it is refused, `EUCLEAN` when the mirror is
/// damaged, those of units; `say` was told.
pub(crate) fn takeover(set: &Arc<Set>, asked: Asked, say: Say<'_>) -> Result {
    let began = time::now_ns();
    let _control = set.control.lock();
    if set.phase() != Phase::Standby {
        say(format_args!(
            "takeover: the set is {}, not a standby",
            set.phase().as_str()
        ));
        return Err(EBUSY);
    }
    let mut work = Takeover {
        set,
        asked,
        fencing: set.fencing(),
        seized: asked == Asked::Resume,
        keys: Generation(0),
        recorded: false,
        mine: None,
        reign: None,
        missing: None,
    };
    for act in takeover::acts() {
        if let Err(e) = work.act(*act, say) {
            work.give_up(e);
            return Err(e);
        }
    }
    *set.left.lock() = None;
    let records = set.journal().map_or(0, Journal::recovered_records);
    set.counters.takeover(began, records);
    Ok(())
}

struct Takeover<'a> {
    set: &'a Arc<Set>,
    asked: Asked,
    /// What keeps the old owner out: less than was configured if a forced takeover finds that the units
    /// have no reservations.
    fencing: Fencing,
    /// It may hold units.
    seized: bool,
    /// The newest reign of the keys with which that was done.
    keys: Generation,
    recorded: bool,
    mine: Option<Super>,
    reign: Option<Reign>,
    missing: Option<Missing>,
}

impl Takeover<'_> {
    fn act(&mut self, act: Act, say: Say<'_>) -> Result {
        match act {
            Act::Consider => self.decide(say),
            Act::Revoke => {
                self.revoke();
                Ok(())
            }
            Act::Fence => self.fence(say),
            Act::Decide => self.decide(say),
            Act::Load => self.load(say),
            Act::WriteRecord => {
                self.write_record()?;
                self.recorded = true;
                Ok(())
            }
            Act::WriteSuper => self.write_super(),
            Act::FirstMark => self.first_mark(),
            Act::Replay => {
                self.replay();
                Ok(())
            }
        }
    }

    /// A takeover that does not come about leaves no trace but the end of the session.
    fn give_up(&self, e: Error) {
        let begun = match self.set.phase() {
            Phase::TakingOver => true,
            // It was refused before anything was done.
            Phase::Standby => false,
            _ => return,
        };
        if self.recorded {
            // The record, or the superblock, says already that this node is the owner.
            return self.set.enter(
                Phase::Failed,
                format_args!("the log cannot be written: {e:?}; the takeover is half done"),
            );
        }
        let mine = self.mine.or(*self.set.durable.lock());
        if let (true, Some(mine)) = (self.seized, mine) {
            units::leave(self.set, Set::key_of(&mine));
        }
        if begun {
            self.set
                .enter(Phase::Standby, format_args!("the takeover failed: {e:?}"));
        }
    }

    #[inline(never)]
    fn decide(&mut self, say: Say<'_>) -> Result {
        let set = self.set;
        let found = set.read_record();
        let durable = *set.durable.lock();
        let mine = match durable.or(self.mine) {
            // Once: the units are seized under its key.
            None if self.asked == Asked::Force => Some(self.out_of_nothing(&found, say)?),
            mine => mine,
        };
        let silent = time::now_ns().saturating_sub(set.link.heard());
        let view = View {
            mine: mine.as_ref(),
            fencing: self.fencing,
            found: &found,
            owner_alive: set.link.is_up() && silent < set.settings.patience(),
            asked: self.asked,
        };
        let reign = takeover::decide(&view).map_err(|e| {
            say(format_args!("takeover refused: {e}"));
            match e {
                // Its device may get well: tried again.
                Refused::Unreadable => EIO,
                _ => EPERM,
            }
        })?;
        self.mine = mine;
        self.reign = Some(reign.fenced(self.keys));
        Ok(())
    }

    /// A superblock for a node whose log was never used.
    fn out_of_nothing(&self, found: &Found, say: Say<'_>) -> Result<Super> {
        let set = self.set;
        let (lanes, records) = set.shape_wanted();
        let geometry = plan(lanes, records, &set.log).map_err(|e| {
            say(format_args!("log: {e}"));
            EINVAL
        })?;
        let uuid = random::new_uuid();
        takeover::from_nothing(found, set.name, uuid, set.new_node, geometry).map_err(|e| {
            say(format_args!("takeover refused: {e}"));
            EPERM
        })
    }

    /// The mirror connection is revoked before the mirror is read (rule 7): the phase makes the session
    /// refuse frames, the shutdown wakes it, and it is waited for.
    fn revoke(&self) {
        let set = self.set;
        set.enter(Phase::TakingOver, format_args!("{}", self.asked.as_str()));
        set.revoke_session();
    }

    /// An owner that is there after all answers reads until then without a look at its units.
    fn wait_for_lease(&self) -> Result {
        let set = self.set;
        while set.reservation.is_some() {
            let ends = set.link.lease_ends(set.settings.patience());
            let left = ends.saturating_sub(time::now_ns());
            if left == 0 {
                break;
            }
            if set.phase() != Phase::TakingOver {
                return Err(ESHUTDOWN);
            }
            time::msleep(left.div_ceil(1_000_000).min(100) as u32);
        }
        Ok(())
    }

    fn fence(&mut self, say: Say<'_>) -> Result {
        let Some(mine) = self.mine else {
            return Err(EINVAL);
        };
        let me = Set::key_of(&mine);
        self.wait_for_lease()?;
        // All or none: half a takeover would stop an owner that serves, and nobody would.
        units::answer(self.set, say).map_err(|e| e.errno())?;
        self.seized |= self.set.reservation.is_some();
        match units::seize(self.set, me, Claim::Takeover, say) {
            Ok(keys) => {
                self.keys = keys;
                Ok(())
            }
            Err(Failed::Unsupported) if self.asked == Asked::Force => {
                self.fencing = Fencing::None;
                Ok(())
            }
            Err(e) => Err(e.errno()),
        }
    }

    #[inline(never)]
    fn load(&mut self, say: Say<'_>) -> Result {
        let (Some(mine), Some(reign)) = (self.mine, self.reign) else {
            return Err(EINVAL);
        };
        match reign.source {
            Source::Mirror => recovery::load(self.set, &mine, say).map(drop),
            Source::LocalUnit => self.new_log(&mine, &reign, say),
        }
    }

    /// The mirror is out of date, or not there: it is not replayed. What it still says of the remote is
    /// reported; then a new log begins.
    #[inline(never)]
    fn new_log(&mut self, mine: &Super, reign: &Reign, say: Say<'_>) -> Result {
        let set = self.set;
        let key = Set::key(&mine.uuid);
        let old = recover::read_mark(&Region(&set.log), crc32c, key)
            .ok()
            .flatten();
        let shipped = old.map_or(Seq::ZERO, |m| m.shipped);
        let mut seen = old.map_or(Seq::ZERO, |m| m.acked.max(m.retired));
        let mut nobody = |_: core::fmt::Arguments<'_>| {};
        let mirror = match old {
            Some(_) => recovery::load(set, mine, &mut nobody).ok(),
            None => None,
        };
        seen = seen.max(mirror.map_or(Seq::ZERO, |j| j.order.last()));
        let missing = reign.missing(mine, shipped, seen);
        self.missing = Some(missing);
        report_missing(set, &missing, mirror, reign);
        // From here on this node's copy is not the old one any more, whatever happens.
        let distrusted = takeover::distrusted(mine);
        {
            let mut durable = set.durable.lock();
            set.write_super(&mut durable, distrusted)?;
        }
        self.mine = Some(distrusted);
        let begin = sequences_behind(missing.last, seen);
        let mark = Mark {
            generation: reign.generation,
            retired: begin,
            shipped: begin,
            acked: begin,
            ..Mark::first(reign.generation, mine.geometry.lanes())
        };
        set.log
            .zero(MARK_OFFSET as usize, 2 * SLOT_BYTES as usize)?;
        set.log.fence();
        set.write_mark(key, &mark)?;
        let journal = set.next_journal(mine)?;
        journal
            .load(&set.log, reign.generation, &mark)
            .map_err(|d| {
                say(format_args!("the new log is refused: {d}"));
                EUCLEAN
            })
    }

    fn durable(&self) -> Result<core_crate::ownership::Durable> {
        let (Some(mine), Some(reign)) = (self.mine, self.reign) else {
            return Err(EINVAL);
        };
        let reach = self.set.next_journal(&mine)?.reach();
        let unfenced = reign.unfenced || self.fencing == Fencing::None;
        let reign = Reign { unfenced, ..reign };
        Ok(reign.durable(&mine, reach.shipped, reach.last, self.missing))
    }

    #[inline(never)]
    fn write_record(&self) -> Result {
        recovery::write_record(self.set, self.durable()?.record.as_ref())
    }

    /// The new reign is durable before anything is replayed: an owner that comes back meets it.
    #[inline(never)]
    fn write_super(&self) -> Result {
        let new = self.durable()?;
        let journal = self.set.next_journal(&new.mine)?;
        let mut durable = self.set.durable.lock();
        self.set.write_super(&mut durable, new.mine)?;
        drop(durable);
        journal.begin(new.mine.generation);
        recovery::apply_limit(journal, &new);
        if new.mine.unfenced {
            pr_warn!(
                "set {}: UNFENCED takeover: the old owner must be off, or both will write\n",
                self.set.name.as_str()
            );
        }
        Ok(())
    }

    #[inline(never)]
    fn first_mark(&self) -> Result {
        let mine = (*self.set.durable.lock()).ok_or(EINVAL)?;
        let journal = self.set.next_journal(&mine)?;
        recovery::first_mark(self.set, journal)
    }

    fn replay(&self) {
        let set = self.set;
        let Some(mine) = *set.durable.lock() else {
            return;
        };
        if let Ok(journal) = set.next_journal(&mine) {
            journal.start_mirror(Mirror::Alone);
        }
        set.install();
        let records = set.journal().map_or(0, Journal::recovered_records);
        set.enter(
            Phase::Replaying,
            format_args!(
                "taken over in generation {}, {records} records to replay",
                mine.generation
            ),
        );
    }
}

/// Says, for each volume, which sequences the remote may miss: the first one is what the mirror or the
/// ownership record knows, the last one as far as the old owner may have gone.
#[inline(never)]
fn report_missing(set: &Set, missing: &Missing, mirror: Option<&Journal>, reign: &Reign) {
    let stale = match reign.before {
        Found::Record(r) => r.stale,
        _ => None,
    };
    for (n, m) in (0u16..).zip(set.members.iter()) {
        let Some(m) = m.as_ref() else { continue };
        let behind_mirror = stale.map_or(missing.first, |s| s.since.max(missing.first));
        let first = match mirror {
            Some(j) => {
                first_of(j, n, missing.first).map_or(behind_mirror, |s| s.min(behind_mirror))
            }
            None => missing.first,
        };
        m.missing_first.store(first.0, Ordering::Relaxed);
        let range = Missing::new(first, missing.last.max(first)).unwrap_or(*missing);
        pr_warn!(
            "set {}: volume {n}: the remote may miss sequences {}; it is out of step\n",
            set.name.as_str(),
            format_args!("{range}")
        );
    }
}

/// The first sequence from `from` on that a mirror has of a volume.
fn first_of(mirror: &Journal, member: u16, from: Seq) -> Option<Seq> {
    let mut first = None;
    for l in mirror.lanes.iter() {
        for lane_seq in l.lane.tail()..l.lane.head() {
            let at = Position {
                lane: l.lane.index(),
                lane_seq,
            };
            let Some(r) = mirror.record(at) else { continue };
            if r.op != Op::Cancel && r.extent.member == member && r.seq >= from {
                first = Some(first.map_or(r.seq, |f: Seq| f.min(r.seq)));
            }
        }
    }
    first
}
