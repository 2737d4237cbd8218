// SPDX-License-Identifier: GPL-2.0

//! For how long an owner may answer reads without a look at its units.
//!
//! Reservations keep a fenced owner from writing, not from reading, and nobody tells it: what it reads
//! may have been overwritten by its partner, or come from the midst of its replay. So it answers a read
//! only if its partner cannot have taken over yet. A standby gives an owner that it has heard its whole
//! patience, whoever asks it to take over (`takeover.rs` of the driver waits that long before it seizes a
//! unit). The owner knows since when: each frame of the standby says how many of the owner's it has
//! heard, and the owner remembers when it *sent* one of those, which was before that.
//!
//! Both count with the same patience, and their clocks have to run equally fast, suspend included.

use core::sync::atomic::{AtomicU64, Ordering};

/// What an owner knows of when its partner last heard it. One thread at a time sends; another one hears;
/// any may ask.
#[derive(Default)]
pub struct Lease {
    /// The frame whose being heard is awaited, counted from 1; 0: none.
    asked: AtomicU64,
    /// When it was sent.
    asked_at: AtomicU64,
    /// The partner has heard a frame that was sent then, or one behind it; 0: none of this session.
    since: AtomicU64,
}

impl Lease {
    /// A session begins, and its frames are counted anew. Nobody sends or hears yet.
    pub fn begin(&self) {
        self.since.store(0, Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
    }

    /// The frame with this number ([`Turn`](crate::wire::Turn)) is about to be sent.
    #[inline]
    pub fn sends(&self, number: u64, now: u64) {
        // ORDERING: With the release of `heard`, which reads `asked_at` before it.
        if self.asked.load(Ordering::Acquire) == 0 {
            self.asked_at.store(now, Ordering::Relaxed);
            // ORDERING: With the acquire of `heard`.
            self.asked
                .store(number.saturating_add(1), Ordering::Release);
        }
    }

    /// The partner says how many frames it has heard, modulo 2^32: when it welcomes the owner, or later.
    /// What refuses it gives no lease.
    pub fn heard(&self, frames: u32) {
        // ORDERING: See `sends`.
        let asked = self.asked.load(Ordering::Acquire);
        // Never 2^31 frames are on their way.
        if asked != 0 && frames.wrapping_sub(asked as u32) < 1 << 31 {
            let at = self.asked_at.load(Ordering::Relaxed);
            self.since.store(at, Ordering::Relaxed);
            self.asked.store(0, Ordering::Release);
        }
    }

    /// Whether the partner cannot have taken over by itself, nor by an order that is not a forced one.
    #[inline]
    pub fn holds(&self, now: u64, patience: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != 0 && now.saturating_sub(since) < patience
    }
}

/// Whether what an owner has read may have been another owner's already. `writes_wait`: whether writes
/// wait for the partner ([`Mirror::writes_wait`](crate::partner::Mirror::writes_wait)); `lease`: whether it
/// holds.
///
/// A partner whose copy counts for nothing, which it has to find out, takes over by force only.
#[inline]
pub fn in_doubt(writes_wait: bool, lease: impl FnOnce() -> bool) -> bool {
    writes_wait && !lease()
}

/// Until when who takes over waits before it fences: then an owner that it has `heard`, or may have before
/// it was `made` anew, has no lease any more.
pub fn ends(heard: u64, made: u64, patience: u64) -> u64 {
    heard.max(made).saturating_add(patience)
}
