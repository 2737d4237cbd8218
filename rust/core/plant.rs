// SPDX-License-Identifier: GPL-2.0

//! Mistakes that are made on purpose, to see whether the tests find them.
//!
//! Only tests build core with the feature `plant`; then one mistake at a time can be switched on. In
//! the module [`planted`] is a constant `false`, and nothing of this is left.

/// Makes the lists and the names of all mistakes.
macro_rules! plants {
    ($($(#[$list_doc:meta])* $list:ident: [$($(#[$doc:meta])* $name:ident,)*])*) => {
        /// A mistake.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Plant {
            $($($(#[$doc])* $name,)*)*
        }

        $($(#[$list_doc])* pub const $list: &[Plant] = &[$(Plant::$name),*];)*
    };
}

plants! {
    /// In who owns a set: found by `rust/model`.
    OWNERSHIP: [
    /// An owner goes on without its partner and does not say so in the ownership record first.
    NoOutOfDateMark,
    /// The out-of-date mark is written only after writes went on.
    LateOutOfDateMark,
    /// A takeover reads the ownership record before it has fenced, and not again.
    RecordBeforeFence,
    /// A takeover does not fence at all.
    NoFence,
    /// A takeover replays before it has fenced.
    ReplayBeforeFence,
    /// A takeover does not look into the ownership record.
    RecordNotRead,
    /// A takeover does not care whether its mirror is complete.
    TakeoverIncomplete,
    /// A takeover keeps the generation.
    SameGeneration,
    /// A standby welcomes an owner of an older generation.
    OlderWelcomed,
    /// Frames of an older session are stored.
    OlderFrames,
    /// An owner that starts does not ask its partner.
    StartUnasked,
    /// An owner that starts does not look into the ownership record.
    StartUnread,
    /// A mirror that is brought up to date counts as complete from the beginning.
    CompleteTooEarly,
    /// The out-of-date mark is taken back before the mirror is complete.
    MarkTakenBackTooEarly,
    /// An owner that served alone goes on to say so until its partner's copy is complete.
    AloneTooLong,
    /// What a mirror acknowledges counts before it is complete.
    UntrustedAcks,
    /// The log is cut off before the remote has flushed its cache.
    RetireBeforeFlush,
    /// The log is cut off before the partner has the mark.
    RetireBeforePartner,
    /// A node that was preempted takes the unit back.
    PreemptBack,
    /// An old owner that meets a newer generation replays its log all the same.
    StaleReplay,
    /// A forced takeover from the local unit goes on shipping as if nothing was missing.
    ForcedInStep,
    /// An owner that hands over does not step down first.
    HandoverUnsaid,
    /// A write goes to the local unit before the partner has it.
    LocalBeforeMirror,
    /// The remote is not fenced.
    RemoteNotFenced,
    ]
    /// In the log, its recovery, its way to the partner and to the remote: found by `rust/proof`.
    LOG: [
    /// A header's checksum leaves its generation out.
    SumWithoutGeneration,
    /// The scanner takes a header from an earlier lap.
    StaleLap,
    /// The scanner takes what an older reign left behind the floor.
    FloorIgnored,
    /// A reign begins with the floors of the one before.
    FloorsLeft,
    /// The scanner does not check the data of a record.
    DataUnchecked,
    /// The scanner stops where the ring of headers wraps.
    EndsAtWrap,
    /// Recovery does not look for holes.
    HolesUnchecked,
    /// Recovery does not look for records that others name by their look-ahead limit.
    NamesUnchecked,
    /// Of two marks the older one counts.
    OlderMark,
    /// Records are replayed lane by lane.
    ReplayByLane,
    /// Records are shipped without regard to their look-ahead limit.
    LimitIgnored,
    /// A record is shipped while an older one that it overlaps is not known to be durable there.
    OverlapShipped,
    /// What the remote has only in its cache counts as durable there.
    WrittenIsDurable,
    /// The log is cut off in front of records that are not shipped.
    RetireUnshipped,
    /// Writes are acknowledged although their record is not fenced.
    AppendNotFenced,
    /// The header is stored through the cache, and the cache not flushed.
    HeaderNotFlushed,
    /// A mark is drawn on although it is not fenced.
    MarkNotFenced,
    /// A mark is written in place of the newest one.
    MarkInPlace,
    /// One lane's tail is raised at a time.
    TailByTail,
    /// The log is cut off although the local device was not flushed.
    RetireUnflushed,
    /// What a cancel record names is replayed all the same.
    CancelIgnored,
    /// A failed write is told to the host before its cancel record is durable.
    CancelTooLate,
    /// After a crash, shipping begins at what was retired and not behind what was shipped.
    ReshipFromRetired,
    /// A mark is drawn on before the partner has it.
    MarkAheadOfPartner,
    /// Writes are acknowledged before the partner has them.
    ToldBeforePartner,
    /// The partner acknowledges what it has not fenced.
    PartnerNotFenced,
    /// The partner gets the floors of a reign before the records in front of them.
    FloorsBeforeRecords,
    /// In synchronous mode a write is acknowledged when the remote has it in its cache.
    SyncFromCache,
    ]
}

#[cfg(feature = "plant")]
static PLANTED: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(u32::MAX);

/// Switches a mistake on, or all off. Tests only; it is one switch for the whole process.
#[cfg(feature = "plant")]
pub fn plant(mistake: Option<Plant>) {
    PLANTED.store(
        mistake.map_or(u32::MAX, |p| p as u32),
        core::sync::atomic::Ordering::SeqCst,
    );
}

/// Whether the mistake is to be made.
#[cfg(feature = "plant")]
#[inline]
pub fn planted(mistake: Plant) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == mistake as u32
}

/// Whether the mistake is to be made: no.
#[cfg(not(feature = "plant"))]
#[inline(always)]
pub const fn planted(_mistake: Plant) -> bool {
    false
}
