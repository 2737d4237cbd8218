// SPDX-License-Identifier: GPL-2.0

//! Messages that may come in floods.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use kernel::sync::atomic::ordering::Relaxed;
use kernel::sync::atomic::Atomic;

use crate::time;

/// Lets [`RateLimit::BURST`] events pass in each [`RateLimit::INTERVAL_NS`], as the kernel's
/// `printk_ratelimited()` does by default.
pub struct RateLimit {
    /// When the interval began.
    begin: Atomic<u64>,
    passed: Atomic<u32>,
    missed: Atomic<u32>,
}

impl RateLimit {
    /// Events that pass in an interval.
    pub const BURST: u32 = 10;

    /// The length of an interval.
    pub const INTERVAL_NS: u64 = 5_000_000_000;

    /// A limit, to be put in a `static`.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            begin: Atomic::new(0),
            passed: Atomic::new(0),
            missed: Atomic::new(0),
        }
    }

    /// Whether an event may pass: the number of those that could not since the last interval.
    ///
    /// Where several processors race for the start of an interval a few more may pass.
    ///
    /// Context: any.
    pub fn pass(&self) -> Option<u32> {
        let now = time::now_ns();
        let begin = self.begin.load(Relaxed);
        let mut missed = 0;
        if begin == 0 || now.saturating_sub(begin) >= Self::INTERVAL_NS {
            if self.begin.cmpxchg(begin, now.max(1), Relaxed).is_ok() {
                self.passed.store(0, Relaxed);
                missed = self.missed.xchg(0, Relaxed);
            }
        }
        if self.passed.fetch_add(1, Relaxed) < Self::BURST {
            return Some(missed);
        }
        self.missed.fetch_add(1, Relaxed);
        None
    }
}

/// Prints with one of the kernel's macros unless it was done too often:
/// `ratelimited!(pr_warn, "lost {n}\n")`. Each place in the source counts for itself.
#[macro_export]
macro_rules! ratelimited {
    ($print:ident, $($arg:tt)+) => {{
        static LIMIT: $crate::log::RateLimit = $crate::log::RateLimit::new();
        if let Some(missed) = LIMIT.pass() {
            if missed > 0 {
                ::kernel::$print!("{} messages like the next were suppressed\n", missed);
            }
            ::kernel::$print!($($arg)+);
        }
    }};
}

/// Prints `text` and the stack, the first time that the place in the source is reached: this should
/// not have happened.
macro_rules! warn_once {
    ($text:literal) => {
        ::kernel::do_once_lite! {
            ::kernel::pr_warn!("{}\n", $text);
            ::kernel::warn_on!(true);
        }
    };
}
pub(crate) use warn_once;
