// SPDX-License-Identifier: GPL-2.0

//! A standby becomes the owner. Core's `takeover` says what is done, in which order, and whether; this
//! does it.

use crate::{
    errno::{Errno, Result},
    exec,
    journal::Journal,
    media::crc,
    plant::{is, Mistake},
    recovery,
    set::{Phase, Set},
    units,
};
use core_crate::{
    format::{Mark, Missing, Super},
    layout::{MARK_OFFSET, SLOT_BYTES},
    ownership::{sequences_behind, Claim, Fencing},
    partner::Mirror,
    recover,
    takeover::{self, Act, Asked, Refused, Reign, Source, View},
    units::{Generation, Seq},
};
use std::rc::Rc;

/// The standby becomes the owner.
pub async fn takeover(set: &Rc<Set>, asked: Asked) -> Result {
    let _control = set.control.lock().await;
    if set.phase() != Phase::Standby {
        return Err(Errno::Busy);
    }
    let mut work = Takeover {
        set,
        asked,
        seized: asked == Asked::Resume,
        keys: Generation(0),
        recorded: false,
        mine: None,
        reign: None,
        missing: None,
    };
    for act in takeover::acts() {
        if let Err(e) = work.act(*act).await {
            work.give_up(e).await;
            return Err(e);
        }
    }
    set.left.set(None);
    Ok(())
}

struct Takeover<'a> {
    set: &'a Rc<Set>,
    asked: Asked,
    seized: bool,
    keys: Generation,
    recorded: bool,
    mine: Option<Super>,
    reign: Option<Reign>,
    missing: Option<Missing>,
}

impl Takeover<'_> {
    async fn act(&mut self, act: Act) -> Result {
        self.set.say(|| format!("takeover: {act:?}"));
        exec::preempt().await;
        match act {
            Act::Consider | Act::Decide => self.decide().await,
            Act::Revoke => {
                self.revoke().await;
                Ok(())
            }
            Act::Fence => self.fence().await,
            Act::Load => self.load(),
            Act::WriteRecord => {
                let record = self.durable()?.record;
                recovery::write_record(self.set, record.as_ref()).await?;
                self.recorded = true;
                Ok(())
            }
            Act::WriteSuper => self.write_super(),
            Act::FirstMark => {
                let journal = self.next()?;
                recovery::first_mark(self.set, &journal);
                *self.set.next.borrow_mut() = Some(journal);
                Ok(())
            }
            Act::Replay => self.replay(),
        }
    }

    /// A takeover that does not come about leaves no trace but the end of the session.
    async fn give_up(&self, e: Errno) {
        self.set.say(|| format!("the takeover failed: {e:?}"));
        let begun = match self.set.phase() {
            Phase::TakingOver => true,
            // It was refused before anything was done.
            Phase::Standby => false,
            _ => return,
        };
        if self.recorded {
            let why = || "the takeover is half done".into();
            return self.set.enter(Phase::Failed, why);
        }
        let mine = self.mine.or(*self.set.durable.borrow());
        if let (true, Some(mine)) = (self.seized, mine) {
            units::leave(self.set, Set::key_of(&mine)).await;
        }
        if begun {
            self.set.enter(Phase::Standby, || "no takeover".into());
        }
    }

    async fn decide(&mut self) -> Result {
        let set = self.set;
        let found = set.read_record().await;
        let mine = set.durable.borrow().or(self.mine);
        let silent = exec::now().saturating_sub(set.link.heard());
        let view = View {
            mine: mine.as_ref(),
            fencing: set.cfg().fencing,
            found: &found,
            owner_alive: set.link.is_up() && silent < set.cfg().patience(),
            asked: self.asked,
        };
        let reign = takeover::decide(&view).map_err(|e| {
            set.say(|| format!("takeover refused: {e}"));
            match e {
                Refused::Unreadable => Errno::Io,
                _ => Errno::Perm,
            }
        })?;
        self.mine = mine;
        self.reign = Some(reign.fenced(self.keys));
        Ok(())
    }

    /// The mirror connection is revoked before the mirror is read (rule 7).
    async fn revoke(&self) {
        let set = self.set;
        let asked = self.asked;
        set.enter(Phase::TakingOver, || asked.as_str().into());
        set.revoke_session().await;
    }

    /// An owner that is there after all answers reads until then without a look at its units.
    async fn wait_for_lease(&self) {
        let set = self.set;
        if set.reservation.is_some() && !is(Mistake::LeaseIgnored) {
            exec::sleep_until(set.link.lease_ends(set.cfg().patience())).await;
        }
    }

    async fn fence(&mut self) -> Result {
        let mine = self.mine.ok_or(Errno::Invalid)?;
        if self.set.cfg().fencing == Fencing::External {
            // Somebody else powers the old owner off.
            self.set.world.power_off(1 - self.set.node);
        }
        self.wait_for_lease().await;
        // All or none: half a takeover would stop an owner that serves, and nobody would.
        units::answer(self.set).await.map_err(|e| e.errno())?;
        self.seized |= self.set.reservation.is_some();
        let me = Set::key_of(&mine);
        let seized = units::seize(self.set, me, Claim::Takeover).await;
        self.keys = seized.map_err(|e| e.errno())?;
        Ok(())
    }

    fn load(&mut self) -> Result {
        let mine = self.mine.ok_or(Errno::Invalid)?;
        let reign = self.reign.ok_or(Errno::Invalid)?;
        match reign.source {
            Source::Mirror => recovery::load(self.set, &mine).map(drop),
            Source::LocalUnit => self.new_log(&mine, &reign),
        }
    }

    /// The mirror is out of date: it is not replayed, and a new log begins.
    fn new_log(&mut self, mine: &Super, reign: &Reign) -> Result {
        let set = self.set;
        let key = Set::key(&mine.uuid);
        let old = recover::read_mark(&*set.log, crc, key).ok().flatten();
        let shipped = old.map_or(Seq::ZERO, |m| m.shipped);
        let mut seen = old.map_or(Seq::ZERO, |m| m.acked.max(m.retired));
        let mirror = old.and_then(|mark| {
            Journal::load(&set.log, key, mine.geometry, mine.generation, &mark).ok()
        });
        seen = seen.max(mirror.map_or(Seq::ZERO, |j| j.order.last()));
        let missing = reign.missing(mine, shipped, seen);
        self.missing = Some(missing);
        // From here on this node's copy is not the old one any more, whatever happens.
        let distrusted = takeover::distrusted(mine);
        set.write_super(distrusted);
        self.mine = Some(distrusted);
        let begin = sequences_behind(missing.last, seen);
        let mark = Mark {
            generation: reign.generation,
            retired: begin,
            shipped: begin,
            acked: begin,
            ..Mark::first(reign.generation, mine.geometry.lanes())
        };
        set.log.store(MARK_OFFSET, &[0; 2 * SLOT_BYTES as usize]);
        set.log.fence();
        set.write_mark(key, &mark);
        let journal = Journal::load(&set.log, key, mine.geometry, reign.generation, &mark)
            .map_err(|d| {
                exec::violate(format!("a new log is refused: {d}"));
                Errno::Damaged
            })?;
        *set.next.borrow_mut() = Some(Rc::new(journal));
        Ok(())
    }

    fn next(&self) -> Result<Rc<Journal>> {
        self.set.next.borrow().clone().ok_or(Errno::Invalid)
    }

    fn durable(&self) -> Result<core_crate::ownership::Durable> {
        let mine = self.mine.ok_or(Errno::Invalid)?;
        let reign = self.reign.ok_or(Errno::Invalid)?;
        let reach = self.next()?.reach();
        Ok(reign.durable(&mine, reach.shipped, reach.last, self.missing))
    }

    /// The new reign is durable before anything is replayed: an owner that comes back meets it.
    fn write_super(&self) -> Result {
        let new = self.durable()?;
        self.set.write_super(new.mine);
        let journal = self.next()?;
        journal.begin(new.mine.generation);
        recovery::apply_limit(&journal, &new);
        Ok(())
    }

    fn replay(&self) -> Result {
        let set = self.set;
        self.next()?.start_mirror(Mirror::Alone);
        set.install();
        if self.missing.is_some() {
            set.world.oracle.borrow_mut().forced();
        }
        set.enter(Phase::Replaying, || "taken over".into());
        Ok(())
    }
}
