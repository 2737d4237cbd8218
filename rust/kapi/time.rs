// SPDX-License-Identifier: GPL-2.0

//! Time.
//!
//! C headers: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h),
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
