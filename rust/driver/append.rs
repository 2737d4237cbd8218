// SPDX-License-Identifier: GPL-2.0

//! The hot path: a write gets its place in the order and in the log; later the local device answers
//! and the host is told. *Patent: figure 8A, steps 805 to 825.*

use crate::{
    journal::{HostSlot, Journal, LockedLane},
    mirror,
    set::{Phase, Set},
    worker::Io,
};
use core::sync::atomic::Ordering;
use core_crate::{
    control,
    lane::{stage, Slot},
    merge::Position,
    units::{Extent, Op, Seq},
};
use kapi_crate::{
    bio::{BioQueue, BlkStatus, HostBio, Op as BioOp},
    blkdev::BlockDevice,
    cpu,
    pmem::crc32c,
    pr::is_reservation_conflict,
    ratelimited,
};
use kernel::{prelude::*, sync::Arc};

/// What became of a write in the log.
enum Appended {
    /// It may go to the local device now.
    Go(HostBio<Io>),
    /// Its slot keeps it until the partner has the record.
    Waits,
    /// There is no space anywhere.
    Full(HostBio<Io>),
    /// The log cannot be written.
    Broken(HostBio<Io>, Error),
}

/// A write that holds its range goes into the log, or waits for space there. From `map`: answers the
/// bio if it may be sent to the local device by the caller.
#[inline]
pub(crate) fn map(set: &Set, journal: &Journal, bio: HostBio<Io>) -> Option<HostBio<Io>> {
    match append(set, journal, bio) {
        Appended::Go(bio) => {
            if set.link.is_up() {
                // The partner is catching up.
                set.send.signal();
            }
            Some(bio)
        }
        Appended::Waits => {
            mirror::send_or_signal(set, journal);
            None
        }
        Appended::Full(bio) => {
            if set.counters.log_is_full(true) {
                ratelimited!(
                    pr_warn,
                    "set {}: {}\n",
                    set.name.as_str(),
                    if journal.below_limit() && set.settings.records() < control::UNLIMITED {
                        "the log is full, or has as many records as are allowed (records): writes wait \
                         until the remote and the partner allow to free space"
                    } else if journal.below_limit() {
                        "the log is full: writes wait until the remote and the partner allow to free space"
                    } else {
                        "writes wait until the ownership record allows more sequences"
                    }
                );
                set.event();
            }
            set.wait_for_space(bio);
            None
        }
        Appended::Broken(mut bio, e) => {
            set.enter(
                Phase::Failed,
                format_args!("the log cannot be written: {e:?}"),
            );
            give_up(set, &mut bio, BlkStatus::IOERR);
            bio.complete(BlkStatus::IOERR);
            None
        }
    }
}

/// The same for a bio that dm gave to us before.
pub(crate) fn start(set: &Arc<Set>, mut bio: HostBio<Io>) {
    let Some(journal) = set.journal() else {
        give_up(set, &mut bio, BlkStatus::IOERR);
        return bio.complete(BlkStatus::IOERR);
    };
    if let Some(bio) = map(set, journal, bio) {
        write_local(set, journal, bio);
    }
}

fn append(set: &Set, journal: &Journal, mut bio: HostBio<Io>) -> Appended {
    if !journal.below_limit() {
        // The keeper extends it when it looks after the units.
        return Appended::Full(bio);
    }
    let mut number = journal.geometry.lane_of(cpu::this_cpu());
    for _ in 0..journal.geometry.lanes() {
        let Some(lane) = journal.lane(number) else {
            continue;
        };
        number = journal.geometry.lane_after(number);
        match append_to(set, journal, lane, bio) {
            Appended::Full(back) => bio = back,
            done => return done,
        }
    }
    Appended::Full(bio)
}

#[inline]
fn append_to(set: &Set, journal: &Journal, locked: &LockedLane, mut bio: HostBio<Io>) -> Appended {
    let op = if bio.op() == BioOp::Write {
        Op::Write
    } else {
        Op::Zero
    };
    let extent = Extent {
        member: bio.io().member,
        sector: bio.sector(),
        sectors: bio.sectors(),
    };
    let bytes = if op.has_data() {
        bio.len_bytes() as u32
    } else {
        0
    };
    let lane = locked.lane.index();
    let mut cursor = locked.append.lock();
    let most = set.settings.lane_limit(journal.geometry.lanes());
    if !locked.lane.is_below(&cursor, most) {
        return Appended::Full(bio);
    }
    let Ok(place) = locked.lane.reserve(&cursor, bytes, op) else {
        return Appended::Full(bio);
    };
    // One pass over the data, one fence for data and header.
    let mut data_crc = 0;
    if op.has_data() {
        let at = journal.geometry.data_offset(lane, place.data_pos);
        match set.log.write_from_bio(at as usize, &bio, journal.key.0) {
            Ok(crc) => data_crc = crc,
            Err(e) => return Appended::Broken(bio, e),
        }
    }
    let header = journal.header(lane, place, op, extent, Seq::ZERO, data_crc);
    let sealed = header.seal(crc32c, journal.key);
    if let Err(e) = set.log.write(
        journal.geometry.header_offset(lane, place.lane_seq) as usize,
        &sealed,
    ) {
        return Appended::Broken(bio, e);
    }
    set.log.fence();
    let io = bio.io_mut();
    io.lane = lane;
    io.lane_seq = place.lane_seq;
    io.seq = header.seq;
    io.data_pos = place.data_pos;
    set.logged(io, &header);
    let accepted = io.accepted;
    // Read under the lane's lock: see Journal::settle_appends.
    if journal.writes_wait() {
        locked.lane.publish(&mut cursor, &header, 0, |host| {
            host.accepted.set(accepted);
            drop(host.put(bio));
        });
        Appended::Waits
    } else {
        locked
            .lane
            .publish(&mut cursor, &header, stage::MIRRORED, |host| {
                host.accepted.set(accepted)
            });
        Appended::Go(bio)
    }
}

/// Makes the local write out of the log's own copy, so that local and remote get the same bytes even
/// if the host changes its pages meanwhile.
///
/// # Errors
///
/// `EINVAL` when the place is outside the log, which the geometry rules out.
#[inline]
pub(crate) fn prepare_local(
    set: &Set,
    journal: &Journal,
    local: &BlockDevice,
    bio: &mut HostBio<Io>,
) -> Result {
    let span = journal.data(
        &set.log,
        bio.io().lane,
        bio.io().data_pos,
        bio.len_bytes() as u32,
    )?;
    let sector = bio.sector();
    // The log is durable: the local device need not be, until the record retires.
    bio.strip_fua_preflush();
    bio.set_payload(span)?;
    bio.remap(local, sector);
    Ok(())
}

/// Sends a logged (and mirrored) write to the local device. Process context.
pub(crate) fn write_local(set: &Set, journal: &Journal, mut bio: HostBio<Io>) {
    if bio.op() != BioOp::Write {
        return set.zero_locally(bio);
    }
    let member = set
        .members
        .get(usize::from(bio.io().member))
        .and_then(|m| m.as_ref());
    match member.map(|m| prepare_local(set, journal, &m.local, &mut bio)) {
        Some(Ok(())) => bio.submit(),
        _ => {
            give_up(set, &mut bio, BlkStatus::IOERR);
            bio.complete(BlkStatus::IOERR);
        }
    }
}

/// Zeroes go through the block layer's helper, which writes pages of zeroes where a device can't do
/// better. Worker context.
pub(crate) fn zero_local(set: &Arc<Set>, mut bio: HostBio<Io>) {
    let member = set
        .members
        .get(usize::from(bio.io().member))
        .and_then(|m| m.as_ref());
    let result = match member {
        Some(m) => m.local.zeroout(bio.sector(), u64::from(bio.sectors())),
        None => Err(ENODEV),
    };
    match result {
        Ok(()) if set.phase() != Phase::Serving => {
            // Fenced or failed meanwhile: no acknowledgement after that.
            give_up(set, &mut bio, BlkStatus::IOERR);
            bio.complete(BlkStatus::IOERR);
        }
        Ok(()) => {
            if let Some(bio) = local_done(set, bio) {
                bio.complete(BlkStatus::OK);
            }
        }
        Err(e) if is_reservation_conflict(e) => {
            set.preempted();
            set.local_failed(&bio, BlkStatus::from(e));
            give_up(set, &mut bio, BlkStatus::IOERR);
            bio.complete(BlkStatus::IOERR);
        }
        Err(e) => {
            bio.io_mut().failed = Some(BlkStatus::IOERR);
            set.local_failed(&bio, BlkStatus::from(e));
            set.failed_locally(bio);
        }
    }
}

/// The local device has the write. Answers the bio if the host may be told now; otherwise the slot
/// keeps it until the remote has it too. Any context.
#[inline]
pub(crate) fn local_done(set: &Set, bio: HostBio<Io>) -> Option<HostBio<Io>> {
    let Some(journal) = set.journal() else {
        return Some(bio);
    };
    let at = Position {
        lane: bio.io().lane,
        lane_seq: bio.io().lane_seq,
    };
    let Some(slot) = journal.slot(at) else {
        return Some(bio);
    };
    let now = set.local(&bio);
    let bio = if set.settings.sync.load(Ordering::Relaxed) {
        // Whoever of this and the shipper comes second finds the bio in the slot.
        drop(slot.host.put(bio));
        let before = slot.reach(stage::LOCAL);
        if set.settings.held_in_vain() {
            set.ship.signal();
        }
        set.tell_shipper();
        if before & stage::REMOTE == 0 {
            return None;
        }
        slot.host.take()?
    } else {
        slot.reach(stage::LOCAL);
        bio
    };
    Some(acknowledge(set, journal, slot, bio, now))
}

/// The host is about to be told: its overlap may go on, and later writes come after this one. The
/// caller completes the bio. `now` is the moment. Any context.
#[inline(always)]
pub(crate) fn acknowledge(
    set: &Set,
    journal: &Journal,
    slot: &Slot<HostSlot>,
    mut bio: HostBio<Io>,
    now: u64,
) -> HostBio<Io> {
    journal.order.acknowledge(bio.io().seq);
    slot.reach(stage::ACKED);
    set.completed(&bio, now);
    unlock(set, &mut bio);
    set.tell_shipper();
    bio
}

/// A write that is not acknowledged: gives up its range, if it has one. The caller tells the host so.
pub(crate) fn give_up(set: &Set, bio: &mut HostBio<Io>, status: BlkStatus) {
    if bio.io().locked {
        set.completed_with(bio, status);
    }
    unlock(set, bio);
}

/// Gives up the range of a bio, if it has one.
fn unlock(set: &Set, bio: &mut HostBio<Io>) {
    if !bio.io().locked {
        return;
    }
    bio.io_mut().locked = false;
    let mut ready = BioQueue::new();
    set.ranges.unlock(bio, &mut ready);
    set.run_ready(ready);
}

/// A write failed locally. It is in the log and would be replayed; so a cancel record is logged (and
/// mirrored), and then the host is told. Worker context.
///
/// The oldest of a lane goes first, into the same lane: the headers that a full lane keeps for this
/// are few, but the lane can always be cut off behind a record that was cancelled before everything
/// after it. `Err`: not yet.
pub(crate) fn cancel(set: &Set, bio: HostBio<Io>) -> core::result::Result<(), HostBio<Io>> {
    let lane = set
        .journal()
        .and_then(|j| j.lane(bio.io().lane).map(|l| (j, l)));
    let Some((journal, locked)) = lane else {
        bio.complete(BlkStatus::IOERR);
        return Ok(());
    };
    let lane = &locked.lane;
    let done = |p| lane.slot(p).is_some_and(|s| s.stage() & stage::LOCAL != 0);
    if !(lane.tail()..bio.io().lane_seq).all(done) {
        return Err(bio);
    }
    let (member, seq) = (bio.io().member, bio.io().seq);
    let mut bio = Some(bio);
    // Until the cancel record is mirrored, its slot keeps the bio.
    let logged = log_cancel(set, journal, locked, member, seq, &mut |host| {
        bio = bio.take().and_then(|b| host.put(b));
    });
    match (logged, bio) {
        (Logged::Full, Some(bio)) => {
            set.ship.signal();
            return Err(bio);
        }
        (Logged::Done, Some(bio)) => {
            settle_cancel(journal, seq);
            tell_failure(set, bio);
        }
        _ => set.send.signal(),
    }
    Ok(())
}

/// What became of a cancel record.
enum Logged {
    /// There is no space for it yet.
    Full,
    /// It has to be mirrored; then [`settle_cancel`] follows.
    Waits,
    /// It is durable.
    Done,
}

/// Logs that the write with this sequence is never to be replayed. `keep` puts into the record's slot
/// what has to wait until it is mirrored.
fn log_cancel(
    set: &Set,
    journal: &Journal,
    locked: &LockedLane,
    member: u16,
    seq: Seq,
    keep: &mut dyn FnMut(&HostSlot),
) -> Logged {
    let mut cursor = locked.append.lock();
    let Ok(place) = locked.lane.reserve(&cursor, 0, Op::Cancel) else {
        return Logged::Full;
    };
    let lane = locked.lane.index();
    let extent = Extent {
        member,
        sector: 0,
        sectors: 0,
    };
    let header = journal.header(lane, place, Op::Cancel, extent, seq, 0);
    let sealed = header.seal(crc32c, journal.key);
    let at = journal.geometry.header_offset(lane, place.lane_seq);
    if set.log.write(at as usize, &sealed).is_err() {
        return Logged::Full;
    }
    set.log.fence();
    set.logged_cancel(&header);
    if journal.writes_wait() {
        locked.lane.publish(&mut cursor, &header, 0, |host| {
            host.accepted.forget();
            keep(host);
        });
        Logged::Waits
    } else {
        let done = stage::MIRRORED | stage::LOCAL | stage::ACKED;
        locked
            .lane
            .publish(&mut cursor, &header, done, |host| host.accepted.forget());
        Logged::Done
    }
}

/// A cancel record is durable wherever it has to be: the write that it names is done with.
pub(crate) fn settle_cancel(journal: &Journal, seq: Seq) {
    if let Some(slot) = journal.find(seq).and_then(|at| journal.slot(at)) {
        journal.order.acknowledge(seq);
        slot.reach(stage::CANCELLED | stage::LOCAL | stage::ACKED);
    }
}

/// The host is told that its write failed locally.
pub(crate) fn tell_failure(set: &Set, mut bio: HostBio<Io>) {
    set.counters.local_errors.fetch_add(1, Ordering::Relaxed);
    let status = bio.io().failed.unwrap_or(BlkStatus::IOERR);
    give_up(set, &mut bio, status);
    set.tell_shipper();
    bio.complete(status);
}

/// A suspend that does not wait for I/O: what waits for the partner or the remote goes back to
/// device-mapper, which will submit it again, as another write. The record that it has is cancelled,
/// so that only the later one counts; if this node dies before, either outcome is one that a host
/// which was told nothing can meet.
pub(crate) fn requeue_logged(set: &Set, journal: &Journal) {
    // Nobody draws on acknowledgements meanwhile.
    let _mirrored = journal.mirrored.lock();
    for locked in journal.lanes.iter() {
        let lane = &locked.lane;
        for lane_seq in lane.tail()..lane.head() {
            let Some(slot) = lane.slot(lane_seq) else {
                continue;
            };
            if lane.record(lane_seq).is_none_or(|r| r.op == Op::Cancel) {
                continue;
            }
            let Some(mut bio) = slot.host.take() else {
                continue;
            };
            if !set.gives_back(&bio) {
                drop(slot.host.put(bio));
                // The shipper may have looked for it meanwhile (synchronous mode).
                if slot.stage() & stage::REMOTE != 0 {
                    if let Some(bio) = slot.host.take() {
                        acknowledge(set, journal, slot, bio, set.latency.now())
                            .complete(BlkStatus::OK);
                    }
                }
                continue;
            }
            let (member, seq) = (bio.io().member, bio.io().seq);
            if slot.stage() & stage::LOCAL != 0 {
                // Synchronous, and only the remote is missing: it goes on without the host.
                journal.order.acknowledge(seq);
                slot.reach(stage::ACKED);
            } else {
                match log_cancel(set, journal, locked, member, seq, &mut |_| ()) {
                    Logged::Full => {
                        drop(slot.host.put(bio));
                        continue;
                    }
                    Logged::Waits => {}
                    Logged::Done => settle_cancel(journal, seq),
                }
            }
            give_up(set, &mut bio, BlkStatus::DM_REQUEUE);
            bio.complete(BlkStatus::DM_REQUEUE);
        }
    }
    set.send.signal();
}

/// This node may not acknowledge anything any more: what waits for the partner or the remote fails.
/// Worker context.
pub(crate) fn fail_waiting(set: &Set, journal: &Journal) {
    for locked in journal.lanes.iter() {
        for lane_seq in locked.lane.tail()..locked.lane.head() {
            let bio = locked.lane.slot(lane_seq).and_then(|s| s.host.take());
            if let Some(mut bio) = bio {
                give_up(set, &mut bio, BlkStatus::IOERR);
                bio.complete(BlkStatus::IOERR);
            }
        }
    }
}
