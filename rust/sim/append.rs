// SPDX-License-Identifier: GPL-2.0

//! The hot path: a write gets its place in the order and in the log; later the local device answers
//! and the host is told.

use crate::{
    bio::{Bio, BioOp, HostSlot, Status},
    disk::Source,
    errno::{Errno, Result},
    exec,
    journal::{Journal, LockedLane},
    media::{crc, pattern, SECTOR},
    plant::{is, Mistake},
    set::{Phase, Set},
};
use core_crate::{
    lane::{stage, Slot},
    merge::Position,
    units::{Extent, Op, Seq},
};
use std::rc::Rc;

enum Appended {
    Go(Bio),
    Waits,
    Full(Bio),
}

/// A write that holds its range goes into the log, or waits for space there.
pub fn start(set: &Rc<Set>, mut bio: Bio) {
    let Some(journal) = set.journal() else {
        set.unlock(&mut bio);
        return bio.complete(Status::Error);
    };
    match append(set, &journal, bio) {
        Appended::Go(bio) => {
            if set.link.is_up() {
                // The partner is catching up.
                set.send.signal();
            }
            write_local(set, &journal, bio);
        }
        Appended::Waits => set.send.signal(),
        Appended::Full(bio) => set.wait_for_space(bio),
    }
}

fn append(set: &Set, journal: &Journal, mut bio: Bio) -> Appended {
    if !journal.below_limit() {
        return Appended::Full(bio);
    }
    let mut number = exec::rand(|r| r.below(u64::from(journal.geometry.lanes()))) as u16;
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

fn append_to(set: &Set, journal: &Journal, locked: &LockedLane, mut bio: Bio) -> Appended {
    let op = match bio.op {
        BioOp::Write => Op::Write,
        _ => Op::Zero,
    };
    let extent = Extent {
        member: bio.member,
        sector: bio.sector,
        sectors: bio.sectors,
    };
    let bytes = if op.has_data() {
        bio.sectors * SECTOR as u32
    } else {
        0
    };
    let lane = locked.lane.index();
    let mut cursor = locked.append.borrow_mut();
    let Ok(place) = locked.lane.reserve(&cursor, bytes, op) else {
        return Appended::Full(bio);
    };
    let mut data_crc = 0;
    if op.has_data() {
        let data = pattern(bio.tag, bio.sectors);
        data_crc = crc(journal.key.0, &data);
        set.log
            .store(journal.geometry.data_offset(lane, place.data_pos), &data);
    }
    let header = journal.header(lane, place, op, extent, Seq::ZERO, data_crc);
    set.log.store(
        journal.geometry.header_offset(lane, place.lane_seq),
        &header.seal(crc, journal.key),
    );
    if !is(Mistake::AppendUnfenced) {
        set.log.fence();
    }
    bio.io.lane = lane;
    bio.io.lane_seq = place.lane_seq;
    bio.io.seq = header.seq;
    bio.io.data_pos = place.data_pos;
    set.say(|| {
        format!(
            "write {} is sequence {} after {} in lane {lane} at {}",
            bio.tag, header.seq, header.after, place.lane_seq
        )
    });
    if journal.writes_wait() {
        let waits = |host: &HostSlot| host.put(bio);
        locked.lane.publish(&mut cursor, &header, 0, waits);
        Appended::Waits
    } else {
        locked
            .lane
            .publish(&mut cursor, &header, stage::MIRRORED, |_| ());
        Appended::Go(bio)
    }
}

/// Sends a logged (and mirrored) write to the local device, out of the log's own copy.
pub fn write_local(set: &Rc<Set>, journal: &Journal, bio: Bio) {
    let source = if bio.op == BioOp::Write {
        let at = journal.geometry.data_offset(bio.io.lane, bio.io.data_pos);
        Source::Log(set.log.clone(), at)
    } else {
        Source::Tags(vec![0; bio.sectors as usize])
    };
    let set = set.clone();
    exec::spawn(Some(set.node), async move {
        let disk = set.locals[usize::from(bio.member)].clone();
        let result = disk.write(bio.sector, bio.sectors, source).await;
        end_io(&set, bio, result);
    });
}

fn end_io(set: &Rc<Set>, mut bio: Bio, result: Result) {
    if set.phase() != Phase::Serving {
        // Fenced or failed meanwhile: no acknowledgement after that.
        set.unlock(&mut bio);
        return bio.complete(Status::Error);
    }
    match result {
        Err(Errno::Conflict) => {
            set.preempted();
            set.unlock(&mut bio);
            bio.complete(Status::Error);
        }
        Err(_) => {
            bio.io.failed = true;
            set.failed_locally(bio);
        }
        Ok(()) => {
            if let Some(bio) = local_done(set, bio) {
                bio.complete(Status::Ok(vec![]));
            }
        }
    }
}

/// The local device has the write. Answers the bio if the host may be told now.
fn local_done(set: &Set, bio: Bio) -> Option<Bio> {
    let Some(journal) = set.journal() else {
        return Some(bio);
    };
    let at = Position {
        lane: bio.io.lane,
        lane_seq: bio.io.lane_seq,
    };
    let Some(slot) = journal.slot(at) else {
        return Some(bio);
    };
    let bio = if set.cfg().sync && !is(Mistake::SyncTooEarly) {
        // Whoever of this and the shipper comes second finds the bio in the slot.
        slot.host.put(bio);
        let before = slot.reach(stage::LOCAL);
        set.ship.signal();
        if before & stage::REMOTE == 0 {
            return None;
        }
        slot.host.take()?
    } else {
        slot.reach(stage::LOCAL);
        bio
    };
    Some(acknowledge(set, &journal, slot, bio))
}

/// The host is about to be told. The caller completes the bio.
pub fn acknowledge(set: &Set, journal: &Journal, slot: &Slot<HostSlot>, mut bio: Bio) -> Bio {
    if !is(Mistake::AckUnnoted) {
        journal.order.acknowledge(bio.io.seq);
    }
    slot.reach(stage::ACKED);
    set.unlock(&mut bio);
    set.ship.signal();
    bio
}

/// A write failed locally: a cancel record is logged (and mirrored), and then the host is told. `Err`:
/// not yet.
pub fn cancel(set: &Set, bio: Bio) -> core::result::Result<(), Bio> {
    let Some(journal) = set.journal() else {
        bio.complete(Status::Error);
        return Ok(());
    };
    let Some(locked) = journal.lane(bio.io.lane) else {
        bio.complete(Status::Error);
        return Ok(());
    };
    let lane = &locked.lane;
    let done = |p| lane.slot(p).is_some_and(|s| s.stage() & stage::LOCAL != 0);
    if !(lane.tail()..bio.io.lane_seq).all(done) {
        return Err(bio);
    }
    let seq = bio.io.seq;
    if is(Mistake::NoCancelRecord) {
        settle_cancel(&journal, seq);
        tell_failure(set, bio);
        return Ok(());
    }
    let mut cursor = locked.append.borrow_mut();
    let Ok(place) = lane.reserve(&cursor, 0, Op::Cancel) else {
        return Err(bio);
    };
    let extent = Extent {
        member: bio.member,
        sector: 0,
        sectors: 0,
    };
    let header = journal.header(lane.index(), place, Op::Cancel, extent, seq, 0);
    set.log.store(
        journal.geometry.header_offset(lane.index(), place.lane_seq),
        &header.seal(crc, journal.key),
    );
    set.log.fence();
    set.say(|| format!("sequence {} cancels {seq}", header.seq));
    if journal.writes_wait() {
        // Until the cancel record is mirrored, its slot keeps the bio.
        lane.publish(&mut cursor, &header, 0, |host| host.put(bio));
        set.send.signal();
    } else {
        let done = stage::MIRRORED | stage::LOCAL | stage::ACKED;
        lane.publish(&mut cursor, &header, done, |_| ());
        drop(cursor);
        settle_cancel(&journal, seq);
        tell_failure(set, bio);
    }
    Ok(())
}

/// A cancel record is durable wherever it has to be: the write that it names is done with.
pub fn settle_cancel(journal: &Journal, seq: Seq) {
    if let Some(slot) = journal.find(seq).and_then(|at| journal.slot(at)) {
        journal.order.acknowledge(seq);
        slot.reach(stage::CANCELLED | stage::LOCAL | stage::ACKED);
    }
}

/// The host is told that its write failed locally.
pub fn tell_failure(set: &Set, mut bio: Bio) {
    set.unlock(&mut bio);
    set.ship.signal();
    let local = &set.world.local;
    set.world.oracle.borrow_mut().cancelled(bio.tag, local);
    bio.complete(Status::Error);
}

/// This node may not acknowledge anything any more: what waits for the partner or the remote fails.
pub fn fail_waiting(set: &Set, journal: &Journal) {
    for locked in &journal.lanes {
        for lane_seq in locked.lane.tail()..locked.lane.head() {
            let bio = locked.lane.slot(lane_seq).and_then(|s| s.host.take());
            if let Some(mut bio) = bio {
                set.unlock(&mut bio);
                bio.complete(Status::Error);
            }
        }
    }
}
