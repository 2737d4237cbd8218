// SPDX-License-Identifier: GPL-2.0

//! Time.
//!
//! C headers: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h),
//! [`include/linux/sched/clock.h`](srctree/include/linux/sched/clock.h),
//! [`include/linux/delay.h`](srctree/include/linux/delay.h)

use crate::bindings;

/// Nanoseconds on the monotonic clock, which stands still during suspend to RAM.
///
/// Context: any.
#[inline]
pub fn now_ns() -> u64 {
    // SAFETY: Takes no argument and may be called from any context.
    let now = unsafe { bindings::ktime_get() };
    // The monotonic clock starts at zero and never gets negative.
    now as u64
}

/// Nanoseconds since the machine was started, those included in which it was suspended.
///
/// Context: any but NMI.
#[inline]
pub fn boot_ns() -> u64 {
    // SAFETY: May be called from any context but NMI, which none of this module's code is.
    let now = unsafe { bindings::ktime_get_with_offset(bindings::tk_offsets_TK_OFFS_BOOT) };
    // It starts at zero and never gets negative.
    now as u64
}

/// Takes short times, many of them: a look costs an instruction or two where the processors have counters
/// that are in step, and tens of them where the kernel's scheduler clock has to do.
///
/// Between moments on different processors the time may be wrong by what their counters are apart, and
/// negative: subtract with saturation.
pub struct Stopwatch {
    /// Whether moments are the processor's counter, not the scheduler clock.
    counter: bool,
    /// Nanoseconds that a tick takes, times 2^32.
    tick: u64,
}

impl Stopwatch {
    /// Looks at what this machine has. Context: any.
    pub fn new() -> Self {
        // SAFETY: Reads two variables.
        let khz = unsafe { bindings::kapi_tsc_khz() };
        match (1_000_000u64 << 32).checked_div(u64::from(khz)) {
            Some(tick) => Self {
                counter: true,
                tick,
            },
            None => Self {
                counter: false,
                tick: 1 << 32,
            },
        }
    }

    /// The moment, in ticks of this stopwatch. Context: any.
    #[inline]
    pub fn now(&self) -> u64 {
        #[cfg(CONFIG_X86_64)]
        if self.counter {
            // SAFETY: Every processor of this architecture has the instruction.
            return unsafe { core::arch::x86_64::_rdtsc() };
        }
        // SAFETY: Takes no argument and may be called from any context.
        unsafe { bindings::local_clock() }
    }

    /// Nanoseconds in so many ticks. Context: any.
    #[inline]
    pub fn ns(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.tick)) >> 32) as u64
    }
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Seconds since 1970 (UTC), for what people read; it may jump.
///
/// Context: any.
#[inline]
pub fn wall_clock_secs() -> u64 {
    // SAFETY: Takes no argument and may be called from any context.
    let now = unsafe { bindings::ktime_get_real_seconds() };
    u64::try_from(now).unwrap_or(0)
}

/// Nanoseconds since 1970 (UTC), for what people read; it may jump.
///
/// Context: any.
#[inline]
pub fn wall_clock_ns() -> u64 {
    // SAFETY: Takes no argument and may be called from any context.
    let now = unsafe { bindings::ktime_get_real() };
    u64::try_from(now).unwrap_or(0)
}

/// Sleeps for at least `ms` milliseconds. Not ended by [`Thread::stop`](crate::thread::Thread):
/// a thread that may be stopped waits on an [`Event`](crate::event::Event) instead.
///
/// Context: process, sleeps.
pub fn msleep(ms: u32) {
    // SAFETY: Process context, as the documentation demands.
    unsafe { bindings::msleep(ms) };
}

/// Milliseconds to jiffies, rounded up; [`None`] means for ever.
pub(crate) fn jiffies(ms: Option<u64>) -> kernel::ffi::c_long {
    // `MAX_SCHEDULE_TIMEOUT`.
    let forever = kernel::ffi::c_long::MAX;
    match ms {
        None => forever,
        Some(ms) => {
            // `msecs_to_jiffies()` takes negative numbers for "for ever": stay below.
            let ms = u32::try_from(ms).unwrap_or(u32::MAX).min(i32::MAX as u32);
            // SAFETY: A pure computation.
            let jiffies = unsafe { bindings::kapi_msecs_to_jiffies(ms) };
            kernel::ffi::c_long::try_from(jiffies).unwrap_or(forever)
        }
    }
}
