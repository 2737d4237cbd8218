// SPDX-License-Identifier: GPL-2.0

//! Mistakes that are made on purpose, to see whether the tests find them.
//!
//! Only tests build core with the feature `plant`; then one mistake at a time can be switched on. In
//! the module [`planted`] is a constant `false`, and nothing of this is left.

/// Makes the list and the names of all mistakes.
macro_rules! plants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A mistake.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Plant {
            $($(#[$doc])* $name,)*
        }

        /// All of them.
        pub const ALL: &[Plant] = &[$(Plant::$name),*];
    };
}

plants! {
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
