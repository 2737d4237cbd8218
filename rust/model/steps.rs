// SPDX-License-Identifier: GPL-2.0

//! In which order a node does what takes several steps. Between two of them it may die, and anything
//! else may happen. A step that fails ends the job. What a takeover does is core's to say
//! ([`core_crate::takeover::acts`]).

use crate::state::Job;
use core_crate::plant::{planted, Plant};

/// A step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// An owner reserves what nobody holds. A standby does not: it would shut its owner out of units
    /// that were restarted.
    Reserve,
    /// Reads who holds the units and the ownership record, and decides by them.
    Decide,
    /// Makes all units its own; one after the other.
    Seize,
    /// Writes the record, if there is one.
    WriteRecord,
    /// Writes the superblock.
    WriteSuper,
    /// Begins to mirror: BEGIN is sent.
    Open,
    /// Writes do not wait for the partner any more.
    Detach,
    /// Writes the log to the local unit, and serves.
    Replay,
    /// Writes wait for the partner again.
    CaughtUp,
    /// SYNCED is sent.
    Synced,
    /// Acknowledgements count.
    Completed,
    /// The units are released.
    Release,
    /// HANDOVER is sent; this node keeps the mirror.
    Say,
    /// Starts as any owner does.
    Restart,
}

/// A node starts.
pub const START: &[Step] = &[Step::Reserve, Step::Decide];

/// An owner begins the reign that its partner has agreed to.
pub const BEGIN: &[Step] = &[
    Step::Seize,
    Step::Decide,
    Step::WriteRecord,
    Step::WriteSuper,
    Step::Open,
];

/// An owner that has served alone begins a reign without asking.
pub const BEGIN_ALONE: &[Step] = &[
    Step::Decide,
    Step::WriteRecord,
    Step::WriteSuper,
    Step::Replay,
];

const GO_ALONE: &[Step] = &[
    Step::Decide,
    Step::WriteRecord,
    Step::WriteSuper,
    Step::Detach,
];

/// `detach force`.
pub const DETACH: &[Step] = &[
    Step::Seize,
    Step::Decide,
    Step::WriteRecord,
    Step::WriteSuper,
    Step::Detach,
];

/// An owner goes on without its partner.
pub fn go_alone() -> &'static [Step] {
    if planted(Plant::LateOutOfDateMark) {
        return &[
            Step::Decide,
            Step::Detach,
            Step::WriteRecord,
            Step::WriteSuper,
        ];
    }
    GO_ALONE
}

const CATCH_UP: &[Step] = &[Step::CaughtUp, Step::WriteSuper, Step::Synced];

/// An owner has sent all that it had.
pub fn catch_up() -> &'static [Step] {
    CATCH_UP
}

/// The partner's copy is complete.
pub const COMPLETE: &[Step] = &[Step::Decide, Step::WriteRecord, Step::Completed];

/// An owner hands over. No write is under way, and none is accepted.
pub const HAND_OVER: &[Step] = &[Step::WriteSuper, Step::Release, Step::Say];

/// Its partner takes over from it.
pub const HANDED_OVER: &[Step] = &[
    Step::Seize,
    Step::Decide,
    Step::WriteRecord,
    Step::WriteSuper,
    Step::Restart,
];

/// The record is written again: with room for more sequences, or over an older owner's.
pub const REWRITE: &[Step] = &[Step::Decide, Step::WriteRecord];

/// The steps of a job that is not a takeover.
pub fn of(job: Job) -> &'static [Step] {
    match job {
        Job::None | Job::Take(_) => &[],
        Job::Start => START,
        Job::Begin => BEGIN,
        Job::BeginAlone => BEGIN_ALONE,
        Job::GoAlone(false) => go_alone(),
        Job::GoAlone(true) => DETACH,
        Job::CatchUp => catch_up(),
        Job::Complete => COMPLETE,
        Job::HandOver => HAND_OVER,
        Job::HandedOver => HANDED_OVER,
        Job::Rewrite(_) => REWRITE,
    }
}
