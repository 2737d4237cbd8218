// SPDX-License-Identifier: GPL-2.0

//! Where a host's request comes in.

use crate::{
    append,
    bio::{Bio, BioOp, Status},
    exec,
    plant::{is, Mistake},
    set::{Phase, Set},
};
use std::rc::Rc;

pub fn map(set: &Rc<Set>, bio: Bio) {
    match set.phase() {
        Phase::Serving => resume_held(set, bio),
        Phase::Assembling | Phase::Waiting | Phase::Replaying | Phase::HandingOver => set.hold(bio),
        _ if is(Mistake::ReadsWhileStandby) && bio.op == BioOp::Read => read(set, bio),
        _ => bio.complete(Status::Refused),
    }
}

/// A bio goes its way.
pub fn resume_held(set: &Rc<Set>, mut bio: Bio) {
    match bio.op {
        BioOp::Read => read(set, bio),
        // Whatever was acknowledged is durable in the log, here and at the partner.
        BioOp::Flush => bio.complete(Status::Ok(vec![])),
        BioOp::Write | BioOp::Zero => {
            bio.io.locked = true;
            if let Some(bio) = set.ranges.lock(bio) {
                append::start(set, bio);
            }
        }
    }
}

fn read(set: &Rc<Set>, bio: Bio) {
    let (set, disk) = (set.clone(), set.locals[usize::from(bio.member)].clone());
    exec::spawn(Some(set.node), async move {
        let result = disk.read(bio.sector, bio.sectors).await;
        let unchecked = is(Mistake::ReadsWhileFenced) || is(Mistake::ReadsWhileStandby);
        match result {
            // It may be from the midst of the partner's replay.
            _ if set.phase() != Phase::Serving && !unchecked => bio.complete(Status::Error),
            Ok(tags) if set.in_doubt() => {
                set.doubt(bio, tags);
                set.keep.signal();
            }
            Ok(tags) => bio.complete(Status::Ok(tags)),
            Err(_) => bio.complete(Status::Error),
        }
    });
}
