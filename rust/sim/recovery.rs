// SPDX-License-Identifier: GPL-2.0

//! The way of a recovery.

use crate::{
    disk::Source,
    errno::{Errno, Result},
    exec::{self, Event},
    journal::Journal,
    keeper,
    media::crc,
    mirror,
    plant::{is, Mistake},
    set::{Phase, Set},
    shipper, standby,
    units::{self, Failed},
    worker,
};
use core_crate::{
    format::{Copy_, Mark, Role, Super},
    lane::{stage, Record},
    merge::{Merge, Position},
    ownership::{self, Claim, Durable, Hold, Ownership, Start},
    partner::Mirror,
    plant::{planted, Plant},
    recover,
    ship::ShipView,
    units::{Extent, Generation, Op},
    wire::Refusal,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Reads and checks this node's log, into the journal that is used next.
///
/// No run damages a log, so that one which is refused is a violation.
pub fn load(set: &Set, mine: &Super) -> Result<Rc<Journal>> {
    let key = Set::key(&mine.uuid);
    let journal = recover::read_mark(&*set.log, crc, key)
        .and_then(|m| m.ok_or(recover::Damage::Mark))
        .and_then(|mark| Journal::load(&set.log, key, mine.geometry, mine.generation, &mark))
        .map_err(|d| {
            exec::violate(format!("node {}: a whole log is refused: {d}", set.node));
            Errno::Damaged
        })?;
    let journal = Rc::new(journal);
    *set.next.borrow_mut() = Some(journal.clone());
    Ok(journal)
}

/// Starts the set.
pub async fn start(set: &Rc<Set>) -> Result {
    let control = set.control.lock().await;
    let mine = *set.durable.borrow();
    let how = consider(set, mine.as_ref()).await?;
    set.say(|| format!("starts: {how:?}"));
    match how {
        Start::Ask | Start::Serve => {
            load(set, &mine.ok_or(Errno::Invalid)?)?;
            set.install();
        }
        Start::Outdated(_) if planted(Plant::StaleReplay) => {
            load(set, &mine.ok_or(Errno::Invalid)?)?;
            set.install();
        }
        Start::Outdated(_) => {
            let m = mine.ok_or(Errno::Invalid)?;
            set.write_super(ownership::stood_down(&m));
        }
        Start::StandBy | Start::Resume => {
            // Fails now rather than at the takeover if the mirror is damaged already.
            if let Some(m) = mine.filter(|m| m.copy == Copy_::Complete) {
                load(set, &m)?;
            }
        }
    }
    set.resume.set(how == Start::Resume);
    exec::spawn(Some(set.node), standby::run(set.clone()));
    exec::spawn(Some(set.node), mirror::run(set.clone()));
    exec::spawn(Some(set.node), keeper::run(set.clone()));
    exec::spawn(Some(set.node), shipper::run(set.clone()));
    exec::spawn(Some(set.node), worker::run(set.clone()));
    drop(control);
    match how {
        Start::StandBy | Start::Resume => {
            set.enter(Phase::Standby, || "this node keeps the mirror".into());
            Ok(())
        }
        Start::Outdated(newer) if !planted(Plant::StaleReplay) => {
            set.enter(Phase::Standby, || {
                format!("the record names the partner, {newer}")
            });
            Ok(())
        }
        _ => {
            // Who has to ask does not serve alone, whatever it did before.
            let alone = how == Start::Serve && mine.is_some_and(|m| m.alone);
            let journal = set.journal().ok_or(Errno::Invalid)?;
            journal.start_mirror(Mirror::at_start(true, alone));
            if how == Start::Ask {
                set.enter(Phase::Waiting, || "only the partner knows".into());
                return Ok(());
            }
            let next = set.generation().next().ok_or(Errno::Invalid)?;
            begin_in(set, &journal, next, alone, Phase::Assembling).await?;
            first_mark(set, &journal);
            set.enter(Phase::Replaying, || "this node owns the set".into());
            Ok(())
        }
    }
}

/// Decides how this node starts: reservations, then the ownership record, then `ownership::start`.
async fn consider(set: &Set, mine: Option<&Super>) -> Result<Start> {
    let key = set.node_key();
    units::register(set, key).await.map_err(|e| e.errno())?;
    let hold = match key {
        Some(me) if mine.is_some_and(|m| m.role == Role::Owner) => {
            match units::seize(set, me, Claim::Free).await {
                Ok(_) | Err(Failed::PartnerHolds) => units::hold(set, me).await,
                Err(Failed::ForeignHolds(k)) => Hold::Foreign(k),
                Err(e) => return Err(e.errno()),
            }
        }
        Some(me) => units::hold(set, me).await,
        None => Hold::Unused,
    };
    let found = set.read_record().await;
    let how = ownership::start(mine, true, &found, hold).map_err(|_| Errno::Io)?;
    if let (Start::StandBy | Start::Outdated(_), Some(me)) = (how, key) {
        // It was about to take over when it went down, perhaps half-way through the units, and the old
        // owner is still the owner. Or it has just reserved what nobody held.
        if !units::let_go(set, me).await {
            set.left.set(Some(me));
        }
    }
    Ok(how)
}

/// Begins a reign of a node whose partner has agreed.
pub async fn begin_reign(set: &Set, journal: &Journal, reign: Generation, alone: bool) -> Result {
    if journal.reign_has_begun() {
        return Ok(());
    }
    let _control = set.control.lock().await;
    if let Some(me) = set.node_key() {
        let seized = units::seize(set, me, Claim::Agreed(reign)).await;
        seized.map_err(|e| e.errno())?;
    }
    set.read_record_to_change().await?;
    begin_in(set, journal, reign, alone, Phase::Waiting).await
}

/// The record, then the superblock: whoever reads the record is told no less than this node knows.
async fn begin_in(
    set: &Set,
    journal: &Journal,
    reign: Generation,
    alone: bool,
    phase: Phase,
) -> Result {
    let mine = set.durable.borrow().ok_or(Errno::Invalid)?;
    if mine.role != Role::Owner || set.phase() != phase {
        return Err(Errno::Stale);
    }
    let found = set.known_record();
    let new = ownership::begin(&mine, &found, reign, alone, &journal.reach())
        .map_err(|_| Errno::Stale)?;
    make_durable(set, &new).await?;
    journal.begin(reign);
    apply_limit(journal, &new);
    Ok(())
}

/// Makes the record durable, then the superblock.
pub async fn make_durable(set: &Set, new: &Durable) -> Result {
    write_record(set, new.record.as_ref()).await?;
    set.write_super(new.mine);
    Ok(())
}

/// Makes the record durable, if there is one.
pub async fn write_record(set: &Set, record: Option<&Ownership>) -> Result {
    match (&set.record, record) {
        (Some(place), Some(record)) => place.write(record).await,
        _ => Ok(()),
    }
}

/// How far sequences may go. The driver leaves some slack for appenders on other processors; here there
/// is one at a time, and the step is too small for it.
pub fn apply_limit(journal: &Journal, new: &Durable) {
    let stale = new.record.and_then(|r| r.stale).filter(|_| new.mine.alone);
    journal.set_limit(stale.map_or(core_crate::units::Seq::MAX, |s| s.limit));
}

/// What an older reign left behind the end of the log is outdated from here on.
pub fn first_mark(set: &Set, journal: &Journal) {
    let mark = journal.first_mark();
    set.write_mark(journal.key, &mark);
    journal.marks.borrow_mut().mark = mark;
}

/// The partner owns the set in a newer reign.
pub async fn stand_by(set: &Set, refusal: &Refusal) {
    let _control = set.control.lock().await;
    let Some(mine) = *set.durable.borrow() else {
        return;
    };
    if mine.role == Role::Standby {
        return;
    }
    let why = || {
        let newer = refusal.generation;
        format!("the partner owns the set in generation {newer}")
    };
    if planted(Plant::StaleReplay) {
        return set.enter(Phase::Replaying, why);
    }
    if set.phase() != Phase::Waiting {
        return set.enter(Phase::Fenced, why);
    }
    set.write_super(ownership::stood_down(&mine));
    set.forget_journal();
    // It may have reserved some of the units before it asked. The keeper gives them up.
    set.left.set(Some(Set::key_of(&mine)));
    set.enter(Phase::Standby, why);
}

/// Local writes of a replay that are under way.
#[derive(Default)]
struct Flight {
    count: Cell<u32>,
    failed: RefCell<Option<Errno>>,
    landed: Event,
}

impl Flight {
    async fn wait(&self) -> Result {
        while self.count.get() > 0 {
            self.landed.wait_until(u64::MAX).await;
        }
        self.failed.borrow().map_or(Ok(()), Err)
    }
}

/// Writes of a replay in flight at once.
const REPLAY_WINDOW: usize = 4;

/// Writes the log to the local unit, then serves.
pub async fn replay_and_serve(set: &Rc<Set>) {
    let Some(journal) = set.journal() else { return };
    if is(Mistake::ServesBeforeReplay) {
        set.enter(Phase::Serving, || "before the replay".into());
        let _ = replay_local(set, &journal).await;
        return;
    }
    match replay_local(set, &journal).await {
        Ok(n) => set.enter(Phase::Serving, || format!("{n} records replayed")),
        Err(e) if set.phase() != Phase::Replaying => {
            set.say(|| format!("the replay was interrupted: {e:?}"));
        }
        Err(Errno::Conflict) => set.enter(Phase::Fenced, || "a unit refuses writes".into()),
        Err(e) => set.enter(Phase::Failed, || format!("the replay failed: {e:?}")),
    }
}

async fn replay_local(set: &Rc<Set>, journal: &Journal) -> Result<u64> {
    let flight = Rc::new(Flight::default());
    let mark = journal.marks.borrow().mark;
    let mut merge = from_tails(journal, &mark);
    let mut window: Vec<Extent> = vec![];
    let mut n = 0u64;
    while merge.next() <= journal.recovered() {
        let Some((seq, at)) = merge.peek(journal) else {
            break;
        };
        if seq > journal.recovered() {
            break;
        }
        if set.phase() != Phase::Replaying && !is(Mistake::ServesBeforeReplay) {
            flight.wait().await?;
            return Err(Errno::Canceled);
        }
        let record = journal.record(at).ok_or(Errno::Invalid)?;
        let cancelled = record.stage & stage::CANCELLED != 0;
        let skip = record.op == Op::Cancel || (cancelled && !is(Mistake::CancelledReplayed));
        if !skip {
            let overlaps =
                window.iter().any(|w| w.overlaps(&record.extent)) && !is(Mistake::ReplayUnordered);
            if overlaps || window.len() == REPLAY_WINDOW {
                flight.wait().await?;
                window.clear();
            }
            window.push(record.extent);
            replay_one(set, journal, &flight, at, &record);
            n += 1;
        }
        merge.advance(at);
    }
    flight.wait().await?;
    flush_locals(set).await?;
    let mut merge = from_tails(journal, &mark);
    while merge.next() <= journal.recovered() {
        let Some((seq, at)) = merge.peek(journal) else {
            break;
        };
        if seq > journal.recovered() {
            break;
        }
        if let Some(slot) = journal.slot(at) {
            slot.reach(stage::MIRRORED | stage::LOCAL | stage::ACKED);
        }
        merge.advance(at);
    }
    Ok(n)
}

fn replay_one(set: &Rc<Set>, journal: &Journal, flight: &Rc<Flight>, at: Position, r: &Record) {
    let source = if r.op == Op::Zero {
        Source::Tags(vec![0; r.extent.sectors as usize])
    } else {
        let data = journal.geometry.data_offset(at.lane, r.data_pos);
        Source::Log(set.log.clone(), data)
    };
    flight.count.set(flight.count.get() + 1);
    let (set, flight, extent) = (set.clone(), flight.clone(), r.extent);
    set.say(|| format!("replays sequence {}", r.seq));
    exec::spawn(Some(set.node), async move {
        let disk = set.locals[usize::from(extent.member)].clone();
        if let Err(e) = disk.write(extent.sector, extent.sectors, source).await {
            let mut failed = flight.failed.borrow_mut();
            if *failed != Some(Errno::Conflict) {
                *failed = Some(e);
            }
        }
        flight.count.set(flight.count.get() - 1);
        flight.landed.signal();
    });
}

/// A merge over everything that is not retired.
pub fn from_tails(journal: &Journal, mark: &Mark) -> Merge {
    let tails = crate::journal::tails(mark);
    Merge::new(mark.retired.next(), journal.recovered(), tails)
}

/// Makes what was written locally durable.
pub async fn flush_locals(set: &Set) -> Result {
    for d in &set.locals {
        if d.disk.volatile {
            d.flush().await?;
        }
    }
    Ok(())
}
