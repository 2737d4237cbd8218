// SPDX-License-Identifier: GPL-2.0

//! The way of a recovery.
//!
//! 1. [`start`]: all volumes of the set are there; this node's superblock says what it is.
//! 2. Owner: the whole log is read and checked (a damaged one is refused, nothing is written).
//! 3. The partner is asked ([`crate::mirror`]): if it has taken over, this node stands by
//!    ([`stand_by`]); else it begins a new reign ([`begin_reign`]) and brings the partner's copy up to
//!    date. Without a partner, or having served alone durably, it begins at once.
//! 4. [`replay_and_serve`]: every record that is not retired is written to the local unit, in order,
//!    and flushed. *Patent: figure 8B, steps 865 to 890, where "access to the initiator unit by the
//!    host is inhibited until the micro-merge is complete".*
//! 5. The set serves. The micro-merge to the remote is ordinary shipping: it goes on behind the host,
//!    from the first record that the mark does not say is there, so that a remote which is far away
//!    or down does not keep the host waiting.
//!
//! The standby's way in is [`crate::takeover`]; it joins at 4.

use crate::{
    journal::{Journal, Region},
    keeper, mirror,
    set::{Phase, Set},
    shipper, standby,
    units::{self, Failed},
    worker,
};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core_crate::{
    format::{Copy_, Role, Super},
    lane::stage,
    merge::{Merge, Position},
    ownership::{self, Claim, Durable, Hold, Ownership, Start},
    partner::Mirror,
    recover,
    ship::ShipView,
    units::{Extent, Generation, Op, Seq},
    wire::Refusal,
};
use kapi_crate::{
    event::Event, iopool::IoDone, pmem::crc32c, pr::is_reservation_conflict, ratelimited,
    thread::Thread,
};
use kernel::{prelude::*, sync::Arc};

/// Takes what went wrong, in words.
pub(crate) type Say<'a> = &'a mut dyn FnMut(core::fmt::Arguments<'_>);

/// Reads and checks this node's log, into the journal that is used next.
///
/// # Errors
///
/// `EUCLEAN` when it is damaged, `ENOMEM`; `say` was told.
#[inline(never)]
pub(crate) fn load<'a>(set: &'a Set, mine: &Super, say: Say<'_>) -> Result<&'a Journal> {
    let key = Set::key(&mine.uuid);
    let journal = set.next_journal(mine).inspect_err(|e| {
        say(format_args!(
            "the log cannot be read: {e:?}; remove the volumes and make them anew"
        ))
    })?;
    recover::read_mark(&Region(&set.log), crc32c, key)
        .and_then(|m| m.ok_or(recover::Damage::Mark))
        .and_then(|mark| journal.load(&set.log, mine.generation, &mark))
        .map_err(|d| {
            say(format_args!(
                "the log is refused, nothing was replayed: {d}"
            ));
            EUCLEAN
        })?;
    Ok(journal)
}

/// Starts the set once all of its volumes are there.
///
/// # Errors
///
/// [`load`]'s; those of reservations and of the ownership record; `ENOMEM`; those of starting threads.
/// `say` was told.
pub(crate) fn start(set: &Arc<Set>, say: Say<'_>) -> Result {
    let mut control = set.control.lock();
    if control.started || set.members.iter().any(|m| m.as_ref().is_none()) {
        return Ok(());
    }
    let mine = *set.durable.lock();
    let how = consider(set, mine.as_ref(), say)?;
    match how {
        Start::Ask | Start::Serve => {
            let m = mine.ok_or(EINVAL)?;
            let journal = load(set, &m, say)?;
            pr_info!(
                "set {}: the log is whole: {} records outstanding, generation {}\n",
                set.name.as_str(),
                journal.recovered_records(),
                m.generation.0
            );
            set.install();
        }
        Start::Outdated(_) => {
            let mut durable = set.durable.lock();
            let m = durable.ok_or(EINVAL)?;
            set.write_super(&mut durable, ownership::stood_down(&m))?;
        }
        Start::StandBy | Start::Resume => {
            // Fails now rather than at the takeover if the mirror is damaged already.
            if let Some(m) = mine.filter(|m| m.copy == Copy_::Complete) {
                load(set, &m, say)?;
            }
        }
    }
    set.resume.store(how == Start::Resume, Ordering::Relaxed);
    control.started = true;
    let spawn = |name: &str, f: fn(&Arc<Set>, &kapi_crate::thread::StopToken)| -> Result {
        let own = set.clone();
        let t = Thread::spawn(
            format_args!("rcopy_{name}/{}", set.name.as_str()),
            move |stop| f(&own, stop),
        )?;
        set.keep(t)
    };
    if set.partner.is_some() {
        spawn("link", standby::run)?;
        spawn("send", mirror::run)?;
    }
    spawn("keep", keeper::run)?;
    spawn("ship", shipper::run)?;
    spawn("work", worker::run)?;
    drop(control);
    match how {
        Start::StandBy | Start::Resume => {
            set.enter(Phase::Standby, format_args!("this node keeps the mirror"));
            Ok(())
        }
        Start::Outdated(newer) => {
            set.enter(
                Phase::Standby,
                format_args!(
                    "the ownership record says that the partner owns the set in generation {newer}; this \
                     node's generation {} is outdated and its log will not be replayed",
                    mine.map_or(Generation(0), |m| m.generation)
                ),
            );
            Ok(())
        }
        Start::Ask | Start::Serve => {
            // Who has to ask does not serve alone, whatever it did before.
            let alone = how == Start::Serve && mine.is_some_and(|m| m.alone);
            let journal = set.journal().ok_or(EINVAL)?;
            journal.start_mirror(Mirror::at_start(set.partner.is_some(), alone));
            if how == Start::Ask {
                set.enter(
                    Phase::Waiting,
                    format_args!("only the partner knows whether it has taken over"),
                );
                return Ok(());
            }
            let next = set.generation().next().ok_or(EOVERFLOW)?;
            begin_in(set, journal, next, alone, Phase::Assembling)?;
            first_mark(set, journal)?;
            set.enter(Phase::Replaying, format_args!("this node owns the set"));
            Ok(())
        }
    }
}

/// Decides how this node starts: reservations, then the ownership record, then [`ownership::start`].
#[inline(never)]
fn consider(set: &Set, mine: Option<&Super>, say: Say<'_>) -> Result<Start> {
    let key = set.node_key();
    units::register(set, key, say).map_err(|e| e.errno())?;
    let hold = match key {
        // What nobody holds is this node's; what the partner holds is asked about first.
        Some(me) if mine.is_some_and(|m| m.role == Role::Owner) => {
            match units::seize(set, me, Claim::Free, say) {
                Ok(_) | Err(Failed::PartnerHolds(_)) => units::hold(set, me),
                Err(Failed::ForeignHolds(k)) => Hold::Foreign(k),
                Err(e) => return Err(e.errno()),
            }
        }
        Some(me) => units::hold(set, me),
        None => Hold::Unused,
    };
    let found = set.read_record();
    let how = ownership::start(mine, set.partner.is_some(), &found, hold).map_err(|e| {
        say(format_args!("{e}"));
        EIO
    })?;
    if let (Start::StandBy | Start::Outdated(_), Some(me)) = (how, key) {
        // It was about to take over when it went down, perhaps half-way through the units, and the old
        // owner is still the owner. Or it has just reserved what nobody held.
        if !units::let_go(set, me) {
            *set.left.lock() = Some(me);
        }
    }
    Ok(how)
}

/// Begins a reign of a node whose partner has agreed.
///
/// # Errors
///
/// `ESTALE` when the node has stepped down meanwhile; `EIO` when log or ownership record cannot be
/// written; those of reservations.
pub(crate) fn begin_reign(set: &Set, journal: &Journal, reign: Generation, alone: bool) -> Result {
    if journal.reign_has_begun() {
        return Ok(());
    }
    let _control = set.control.lock();
    if let Some(me) = set.node_key() {
        let name = set.name;
        let mut say = |what: core::fmt::Arguments<'_>| {
            ratelimited!(pr_err, "set {}: {what}\n", name.as_str());
        };
        units::seize(set, me, Claim::Agreed(reign), &mut say).map_err(|e| e.errno())?;
    }
    set.read_record_to_change()?;
    begin_in(set, journal, reign, alone, Phase::Waiting)
}

/// The record, then the superblock: whoever reads the record is told no less than this node knows.
fn begin_in(set: &Set, journal: &Journal, reign: Generation, alone: bool, phase: Phase) -> Result {
    let mine = (*set.durable.lock()).ok_or(EINVAL)?;
    if mine.role != Role::Owner || set.phase() != phase {
        return Err(ESTALE);
    }
    let found = set.known_record();
    let new = ownership::begin(&mine, &found, reign, alone, &journal.reach()).map_err(|newer| {
        pr_warn!(
            "set {}: the ownership record says that the partner has begun generation {} meanwhile\n",
            set.name.as_str(),
            newer.0
        );
        ESTALE
    })?;
    make_durable(set, &new)?;
    journal.begin(reign);
    apply_limit(journal, &new);
    Ok(())
}

/// Makes the record durable, then the superblock. Under `control`, so that nobody else changes either.
///
/// # Errors
///
/// The device's, the log's. The superblock is as it was if the record can't be written.
pub(crate) fn make_durable(set: &Set, new: &Durable) -> Result {
    write_record(set, new.record.as_ref())?;
    let mut durable = set.durable.lock();
    set.write_super(&mut durable, new.mine)
}

/// Makes the record durable, if there is one.
///
/// # Errors
///
/// The device's.
pub(crate) fn write_record(set: &Set, record: Option<&Ownership>) -> Result {
    let (Some(place), Some(record)) = (&set.record, record) else {
        return Ok(());
    };
    place.write(record).inspect_err(|e| {
        pr_err!(
            "set {}: metadata '{}': the ownership record cannot be written: {e:?}\n",
            set.name.as_str(),
            place.path()
        );
    })
}

/// How far sequences may go: without the partner no farther than the record says.
pub(crate) fn apply_limit(journal: &Journal, new: &Durable) {
    let stale = new.record.and_then(|r| r.stale).filter(|_| new.mine.alone);
    journal.set_limit(stale.map_or(Seq::MAX, |s| Seq(s.limit.0.saturating_sub(LIMIT_SLACK))));
}

/// Sequences that may be given although the limit is reached: appenders look before they take one,
/// and cancel records do not look.
pub(crate) const LIMIT_SLACK: u64 = 1024;

/// What an older reign left behind the end of the log is outdated from here on.
///
/// With a partner whose copy counts, it gets this mark first, behind every record in front of the
/// floors: a floor vouches for them.
///
/// # Errors
///
/// `EIO` when the log cannot be written.
#[inline(never)]
pub(crate) fn first_mark(set: &Set, journal: &Journal) -> Result {
    let mark = journal.first_mark();
    set.write_mark(journal.key, &mark)?;
    journal.marks.lock().mark = mark;
    Ok(())
}

/// The partner owns the set in a newer reign. This node keeps the mirror from now on; its own log is
/// never replayed (rule 7).
pub(crate) fn stand_by(set: &Set, refusal: &Refusal) {
    let _control = set.control.lock();
    let mut durable = set.durable.lock();
    let Some(mine) = *durable else { return };
    if mine.role == Role::Standby {
        // The partner's own HELLO crossed ours and has said the same.
        return;
    }
    if set.phase() != Phase::Waiting {
        drop(durable);
        return set.enter(
            Phase::Fenced,
            format_args!(
                "the partner owns the set in generation {}",
                refusal.generation
            ),
        );
    }
    if let Err(e) = set.write_super(&mut durable, ownership::stood_down(&mine)) {
        drop(durable);
        return set.enter(
            Phase::Failed,
            format_args!("the log cannot be written: {e:?}"),
        );
    }
    drop(durable);
    set.forget_journal();
    // It may have reserved some of the units before it asked. The keeper gives them up.
    *set.left.lock() = Some(Set::key_of(&mine));
    set.enter(
        Phase::Standby,
        format_args!(
            "the partner owns the set in generation {}; this node's generation {} is outdated and its \
             log will not be replayed",
            refusal.generation, mine.generation
        ),
    );
}

/// Local writes of a replay that are under way.
#[pin_data]
struct Flight {
    count: AtomicU32,
    failed: AtomicBool,
    /// A unit refused: this node was preempted.
    preempted: AtomicBool,
    #[pin]
    landed: Event,
}

impl IoDone for Flight {
    fn done(&self, _token: u64, result: Result) {
        if let Err(e) = result {
            self.failed.store(true, Ordering::Relaxed);
            if is_reservation_conflict(e) {
                self.preempted.store(true, Ordering::Relaxed);
            }
        }
        self.count.fetch_sub(1, Ordering::Release);
        self.landed.signal();
    }
}

impl Flight {
    /// Waits for all of them.
    fn wait(&self) -> Result {
        while self.count.load(Ordering::Acquire) > 0 {
            self.landed.wait_unstoppable();
        }
        if self.preempted.load(Ordering::Relaxed) {
            return Err(EBADE);
        }
        if self.failed.load(Ordering::Relaxed) {
            return Err(EIO);
        }
        Ok(())
    }
}

/// Writes of a replay in flight at once.
const REPLAY_WINDOW: usize = 32;

/// Writes the log to the local unit, then serves. Worker context.
pub(crate) fn replay_and_serve(set: &Arc<Set>) {
    let Some(journal) = set.journal() else { return };
    match replay_local(set, journal) {
        Ok(n) => {
            set.counters.replayed.store(n, Ordering::Relaxed);
            set.counters.replay_ended();
            set.enter(
                Phase::Serving,
                format_args!("{n} records replayed to the local unit"),
            );
        }
        Err(e) if set.phase() != Phase::Replaying => {
            pr_info!(
                "set {}: the replay was interrupted: {e:?}\n",
                set.name.as_str()
            );
        }
        Err(e) if is_reservation_conflict(e) => set.enter(
            Phase::Fenced,
            format_args!("a unit refuses writes: the partner has taken it over (preempted)"),
        ),
        Err(e) => set.enter(
            Phase::Failed,
            format_args!("the log could not be replayed to the local unit: {e:?}; the log is kept"),
        ),
    }
}

#[inline(never)]
fn replay_local(set: &Arc<Set>, journal: &Journal) -> Result<u64> {
    let flight = Arc::pin_init(
        pin_init!(Flight {
            count: AtomicU32::new(0),
            failed: AtomicBool::new(false),
            preempted: AtomicBool::new(false),
            landed <- Event::new(c"rcopy replay", kernel::static_lock_class!()),
        }),
        GFP_KERNEL,
    )?;
    let mark = journal.marks.lock().mark;
    let mut merge = from_tails(journal, &mark);
    let mut window = [Extent::default(); REPLAY_WINDOW];
    let mut in_window = 0usize;
    let mut n = 0u64;
    while merge.next() <= journal.recovered() {
        let Some((seq, at)) = merge.peek(journal) else {
            break;
        };
        if seq > journal.recovered() {
            break;
        }
        if set.phase() != Phase::Replaying {
            flight.wait()?;
            return Err(EINTR);
        }
        let record = journal.record(at).ok_or(EINVAL)?;
        let skip = record.op == Op::Cancel || record.stage & stage::CANCELLED != 0;
        if !skip {
            let overlaps = window
                .iter()
                .take(in_window)
                .any(|w| w.overlaps(&record.extent));
            if overlaps || in_window == REPLAY_WINDOW {
                flight.wait()?;
                in_window = 0;
            }
            if let Some(w) = window.get_mut(in_window) {
                *w = record.extent;
            }
            in_window += 1;
            replay_one(set, journal, &flight, at, &record)?;
            n += 1;
        }
        merge.advance(at);
    }
    flight.wait()?;
    flush_locals(set)?;
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

fn replay_one(
    set: &Arc<Set>,
    journal: &Journal,
    flight: &Arc<Flight>,
    at: Position,
    record: &core_crate::lane::Record,
) -> Result {
    let member = set
        .members
        .get(usize::from(record.extent.member))
        .and_then(|m| m.as_ref())
        .ok_or(ENODEV)?;
    if record.extent.end() > member.sectors {
        pr_err!(
            "set {}: sequence {} lies behind the end of volume {}\n",
            set.name.as_str(),
            record.seq.0,
            record.extent.member
        );
        return Err(ERANGE);
    }
    if record.op == Op::Zero {
        return member
            .local
            .zeroout(record.extent.sector, u64::from(record.extent.sectors));
    }
    let span = journal.data(&set.log, at.lane, record.data_pos, record.data_bytes())?;
    flight.count.fetch_add(1, Ordering::Relaxed);
    set.io.write(
        &member.local,
        record.extent.sector,
        &span,
        false,
        record.seq.0,
        flight,
    );
    Ok(())
}

/// A merge over everything that is not retired.
pub(crate) fn from_tails(journal: &Journal, mark: &core_crate::format::Mark) -> Merge {
    let mut cursor = [0u64; core_crate::limits::MAX_LANES];
    for (c, t) in cursor.iter_mut().zip(&mark.tails) {
        *c = t.lane_seq;
    }
    Merge::new(mark.retired.next(), journal.recovered(), cursor)
}

/// Makes what was written locally durable.
///
/// # Errors
///
/// The device's.
pub(crate) fn flush_locals(set: &Set) -> Result {
    for m in set.members.iter().filter_map(|m| m.as_ref()) {
        if m.local.has_volatile_cache() {
            m.local.flush()?;
        }
    }
    Ok(())
}
