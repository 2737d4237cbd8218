// SPDX-License-Identifier: GPL-2.0

//! Mistakes on purpose in what the driver does: one at a time, to see whether the simulator finds them.
//! Those that belong to core are in its own `plant.rs`.

use std::cell::Cell;

macro_rules! mistakes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A mistake.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mistake {
            $($(#[$doc])* $name,)*
        }

        /// All of them.
        pub const ALL: &[Mistake] = &[$(Mistake::$name),*];
    };
}

mistakes! {
    /// A record is published before a fence has made it durable.
    AppendUnfenced,
    /// Writes that overlap are under way at once.
    OverlapsAtOnce,
    /// The order does not learn of acknowledgements.
    AckUnnoted,
    /// In synchronous mode a write is acknowledged before the remote has it.
    SyncTooEarly,
    /// A write that failed locally is told without a cancel record.
    NoCancelRecord,
    /// A node that does not own the set serves reads.
    ReadsWhileStandby,
    /// The standby acknowledges a record before it stores it.
    AckBeforeStored,
    /// The standby stores a record without a fence.
    MirrorUnfenced,
    /// The standby answers WELCOME before its superblock says so.
    WelcomeBeforeDurable,
    /// What the partner acknowledged in an older session counts in the next.
    OldSessionsAcks,
    /// A write that waits for the remote goes on as if it had waited for the partner.
    DrawnOnTwice,
    /// An owner hands over before it knows that its partner's copy is complete.
    HandsOverIncomplete,
    /// The first mark of a reign is written before the partner has the records in front of its floors.
    FloorsTooEarly,
    /// A record is shipped before the partner and the local unit have it.
    ShipBeforeMirrored,
    /// A record is shipped before what it depends on is durable at the remote.
    LookAheadIgnored,
    /// A record is shipped before a mark says that what it overwrites is there.
    OverwriteBeforeMark,
    /// What an opened-again remote had in its cache counts as written.
    RemoteCacheTrusted,
    /// The remote's cache is not flushed.
    RemoteUnflushed,
    /// Space is freed before the local unit is flushed.
    LocalUnflushed,
    /// A replay writes overlapping records at once.
    ReplayUnordered,
    /// A set serves before its log is replayed.
    ServesBeforeReplay,
    /// A takeover ships from where the log ends, not from where the mark says.
    NothingToMerge,
    /// Cancelled records are replayed.
    CancelledReplayed,
    /// A shipper that begins again cuts off what only the one before it has shipped.
    RetireAhead,
    /// An owner that has gone on alone takes its partner's answer to what it said before.
    AnswerOutlived,
    /// An owner answers a read that ends after it was fenced.
    ReadsWhileFenced,
    /// Who registers again at a device that he held does not look whether he still does.
    HeldUnproved,
    /// A node that has owned the set since goes by where its copy ended before.
    ReceiverKept,
    /// Nobody looks whether a frame is the one that comes next.
    TurnIgnored,
    /// An owner answers a read that the new owner may have overwritten.
    ReadsUndoubted,
    /// A takeover does not wait until the owner answers no read any more without a look at its units.
    LeaseIgnored,
    /// A standby makes its log without claiming the region first.
    Unclaimed,
    /// A standby does not try again to give up what its failed takeover has left at the units.
    ReservationsKept,
    /// The log is not cut off for a cancel record that waits for space.
    CancelsUnseen,
    /// A handover that was heard counts, whatever has happened since.
    HandoverOutlived,
}

thread_local! {
    static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
}

/// Switches a mistake on for this thread, or all off.
pub fn plant(mistake: Option<Mistake>) {
    PLANTED.set(mistake);
}

/// Whether the mistake is to be made.
pub fn is(mistake: Mistake) -> bool {
    PLANTED.get() == Some(mistake)
}
