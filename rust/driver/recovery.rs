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
//! The standby's way in is [`takeover`]; it joins at 4.

use crate::{
    journal::{Journal, LoadError, Region},
    mirror,
    set::{Phase, Set},
    shipper, standby, worker,
};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core_crate::{
    format::{Copy_, Role, Super},
    lane::stage,
    merge::{Merge, Position},
    partner::{self, Asked, Mirror},
    recover,
    ship::ShipView,
    units::{Extent, Generation, Op},
    wire::Refusal,
};
use kapi_crate::{event::Event, iopool::IoDone, pmem::crc32c, thread::Thread, time};
use kernel::{prelude::*, sync::Arc};

/// Takes what went wrong, in words.
pub(crate) type Say<'a> = &'a mut dyn FnMut(core::fmt::Arguments<'_>);

/// Reads and checks this node's log.
///
/// # Errors
///
/// `EUCLEAN` when it is damaged, `ENOMEM`; `say` was told.
#[inline(never)]
fn load(set: &Set, mine: &Super, say: Say<'_>) -> Result<KBox<Journal>> {
    let key = Set::key(&mine.uuid);
    let loaded = recover::read_mark(&Region(&set.log), crc32c, key)
        .and_then(|m| m.ok_or(recover::Damage::Mark))
        .map_err(LoadError::Damage)
        .and_then(|mark| Journal::load(&set.log, key, mine.geometry, mine.generation, &mark));
    match loaded {
        Ok(journal) => Ok(journal),
        Err(LoadError::Damage(d)) => {
            say(format_args!(
                "the log is refused, nothing was replayed: {d}"
            ));
            Err(EUCLEAN)
        }
        Err(LoadError::Kernel(e)) => {
            say(format_args!("the log cannot be read: {e:?}"));
            Err(e)
        }
    }
}

/// Starts the set once all of its volumes are there.
///
/// # Errors
///
/// [`load`]'s; `ENOMEM`; those of starting threads.
pub(crate) fn start(set: &Arc<Set>, say: Say<'_>) -> Result {
    let mut control = set.control.lock();
    if control.started || set.members.iter().any(|m| m.as_ref().is_none()) {
        return Ok(());
    }
    let mine = *set.durable.lock();
    match mine.filter(|m| m.role == Role::Owner) {
        Some(m) => {
            let journal = load(set, &m, say)?;
            pr_info!(
                "set {}: the log is whole: {} records outstanding, generation {}\n",
                set.name.as_str(),
                journal.recovered_records,
                m.generation.0
            );
            set.install(journal)?;
        }
        None => {
            // Fails now rather than at the takeover if the mirror is damaged already.
            if let Some(m) = mine.filter(|m| m.copy == Copy_::Complete) {
                drop(load(set, &m, say)?);
            }
        }
    }
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
    spawn("ship", shipper::run)?;
    spawn("work", worker::run)?;
    drop(control);
    let Some(journal) = set.journal() else {
        set.enter(Phase::Standby, format_args!("this node keeps the mirror"));
        return Ok(());
    };
    let alone = mine.is_some_and(|m| m.alone);
    journal.start_mirror(Mirror::at_start(set.partner.is_some(), alone));
    if set.partner.is_some() && !alone {
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

/// Begins a reign of a node whose partner has agreed.
///
/// # Errors
///
/// `ESTALE` when the node has stepped down meanwhile; `EIO` when the log cannot be written.
pub(crate) fn begin_reign(set: &Set, journal: &Journal, reign: Generation, alone: bool) -> Result {
    if journal.reign_has_begun() {
        return Ok(());
    }
    let _control = set.control.lock();
    begin_in(set, journal, reign, alone, Phase::Waiting)
}

fn begin_in(set: &Set, journal: &Journal, reign: Generation, alone: bool, phase: Phase) -> Result {
    let mut durable = set.durable.lock();
    let mine = durable.ok_or(EINVAL)?;
    if mine.role != Role::Owner || set.phase() != phase {
        return Err(ESTALE);
    }
    let new = Super {
        counter: mine.counter.saturating_add(1),
        generation: reign,
        alone,
        ..mine
    };
    set.write_super(&mut durable, new)?;
    journal.begin(reign);
    Ok(())
}

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
        return set.enter(
            Phase::Fenced,
            format_args!(
                "the partner owns the set in generation {}",
                refusal.generation
            ),
        );
    }
    let new = Super {
        counter: mine.counter.saturating_add(1),
        role: Role::Standby,
        copy: Copy_::Incomplete,
        alone: false,
        ..mine
    };
    if let Err(e) = set.write_super(&mut durable, new) {
        return set.enter(
            Phase::Failed,
            format_args!("the log cannot be written: {e:?}"),
        );
    }
    set.forget_journal();
    set.enter(
        Phase::Standby,
        format_args!(
            "the partner owns the set in generation {}; this node's generation {} is outdated and its \
             log will not be replayed",
            refusal.generation, mine.generation
        ),
    );
}

/// The standby becomes the owner. May sleep; takes as long as reading the log does.
///
/// # Errors
///
/// `EBUSY` when the set is not a standby, `EPERM` when [`partner::takeover`] refuses, `EUCLEAN` when the
/// mirror is damaged; `say` was told.
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
    let (interval, misses) = set.settings.heartbeat();
    let silent = time::now_ns().saturating_sub(set.link.heard());
    let alive = set.link.is_up() && silent < interval.saturating_mul(u64::from(misses));
    let mine = *set.durable.lock();
    let new =
        partner::takeover(mine.as_ref(), set.settings.fencing(), alive, asked).map_err(|e| {
            say(format_args!("takeover refused: {e}"));
            EPERM
        })?;
    // The mirror connection is revoked before the mirror is read (rule 7): the phase makes the
    // session refuse frames, the shutdown wakes it, and it is waited for.
    set.enter(Phase::TakingOver, format_args!("{}", asked_words(asked)));
    set.link.drop_conn();
    while set.link.is_up() {
        time::msleep(1);
    }
    match take(set, new, say) {
        Ok(records) => {
            set.counters.takeover(began, records);
            set.enter(
                Phase::Replaying,
                format_args!(
                    "taken over in generation {}, {records} records to replay",
                    new.generation
                ),
            );
            Ok(())
        }
        Err(e) => {
            set.enter(Phase::Standby, format_args!("the takeover failed: {e:?}"));
            Err(e)
        }
    }
}

fn asked_words(asked: Asked) -> &'static str {
    match asked {
        Asked::Timeout => "the owner has not been heard for too long",
        Asked::Message => "an administrator asked for it",
        Asked::Force => "an administrator forced it",
    }
}

#[inline(never)]
fn take(set: &Arc<Set>, new: Super, say: Say<'_>) -> Result<u64> {
    let mut durable = set.durable.lock();
    let mine = durable.ok_or(EINVAL)?;
    let journal = load(set, &mine, say)?;
    // The new reign is durable before anything is replayed: an owner that comes back meets it.
    set.write_super(&mut durable, new)?;
    journal.begin(new.generation);
    first_mark(set, &journal)?;
    journal.start_mirror(Mirror::Alone);
    let records = journal.recovered_records;
    set.install(journal)?;
    if new.unfenced {
        pr_warn!(
            "set {}: UNFENCED takeover: the old owner must be off, or both will write\n",
            set.name.as_str()
        );
    }
    Ok(records)
}

/// The administrator says that the partner is off and will not take over by itself.
///
/// # Errors
///
/// `EBUSY` when the partner is not lost; `EIO`; `say` was told.
pub(crate) fn detach(set: &Arc<Set>, say: Say<'_>) -> Result {
    let _control = set.control.lock();
    let Some(journal) = set
        .journal()
        .filter(|_| matches!(set.phase(), Phase::Waiting | Phase::Serving))
    else {
        say(format_args!(
            "detach: this node does not own the set, it is {}",
            set.phase().as_str()
        ));
        return Err(EBUSY);
    };
    let mut durable = set.durable.lock();
    let mine = durable.ok_or(EINVAL)?;
    let next = mine.generation.next().ok_or(EOVERFLOW)?;
    let new = Super {
        counter: mine.counter.saturating_add(1),
        generation: next,
        alone: true,
        unfenced: true,
        ..mine
    };
    journal
        .detach(|| set.write_super(&mut durable, new))
        .inspect_err(|_| {
            say(format_args!(
                "detach: the partner's copy is {}, not lost",
                journal.mirror().as_str()
            ));
        })?;
    pr_warn!(
        "set {}: detached from its partner by force, generation {}: the partner's copy is out of date\n",
        set.name.as_str(),
        next.0
    );
    if set.phase() == Phase::Waiting {
        journal.begin(next);
        first_mark(set, journal)?;
        set.enter(
            Phase::Replaying,
            format_args!("an administrator said that the partner is off"),
        );
    } else {
        journal.set_reign(next);
        journal.settle_appends();
        let mut heads = [0u64; core_crate::limits::MAX_LANES];
        for (h, l) in heads.iter_mut().zip(journal.lanes.iter()) {
            *h = l.lane.head();
        }
        mirror::draw_on(set, journal, &heads);
        set.ship.signal();
    }
    Ok(())
}

/// A standby looks whether its owner was heard in time. Worker context.
pub(crate) fn watch_owner(set: &Arc<Set>) {
    let heard = set.link.heard();
    if heard == 0 || !set.settings.auto_takeover.load(Ordering::Relaxed) {
        return;
    }
    let (interval, misses) = set.settings.heartbeat();
    let beat = partner::Heartbeat::new(interval, misses, heard);
    if !beat.lost(time::now_ns()) {
        return;
    }
    // Not again before the owner was heard again, whatever comes of it.
    set.link.forget_heard();
    let name = set.name;
    let mut say = |what: core::fmt::Arguments<'_>| pr_err!("set {}: {what}\n", name.as_str());
    let _ = takeover(set, Asked::Timeout, &mut say);
}

/// Local writes of a replay that are under way.
#[pin_data]
struct Flight {
    count: AtomicU32,
    failed: AtomicBool,
    #[pin]
    landed: Event,
}

impl IoDone for Flight {
    fn done(&self, _token: u64, result: Result) {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
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
            landed <- Event::new(c"rcopy replay", kernel::static_lock_class!()),
        }),
        GFP_KERNEL,
    )?;
    let mark = journal.marks.lock().mark;
    let mut merge = from_tails(journal, &mark);
    let mut window = [Extent::default(); REPLAY_WINDOW];
    let mut in_window = 0usize;
    let mut n = 0u64;
    while merge.next() <= journal.recovered {
        let Some((seq, at)) = merge.peek(journal) else {
            break;
        };
        if seq > journal.recovered {
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
    while merge.next() <= journal.recovered {
        let Some((seq, at)) = merge.peek(journal) else {
            break;
        };
        if seq > journal.recovered {
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
    Merge::new(mark.retired.next(), journal.recovered, cursor)
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
