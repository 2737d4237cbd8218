// SPDX-License-Identifier: GPL-2.0

//! Events: a wait queue with one bit.
//!
//! A thread that serves many producers sleeps on an [`Event`]; producers make their work visible
//! (in a queue, an atomic) and then signal it. Signals do not count: many of them before the
//! waiter gets up are one.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use kernel::prelude::*;
use kernel::sync::atomic::ordering::{Full, Relaxed};
use kernel::sync::atomic::Atomic;
use kernel::sync::barrier::smp_mb;
use kernel::sync::LockClassKey;
use kernel::types::Opaque;

use crate::bindings;
use crate::time;

/// A wait queue with one bit, *signalled*.
///
/// Each wait that returns `true` has consumed the signal. Everything that a producer stored before
/// [`Event::signal`] is visible to the waiter after the wait which that signal ended.
#[pin_data]
pub struct Event {
    #[pin]
    wq: Opaque<bindings::wait_queue_head>,
    /// 1 if signalled, 0 if not; C's `xchg()` works on it too.
    signalled: Atomic<i32>,
}

// SAFETY: A wait queue is made to be used from several threads at once.
unsafe impl Send for Event {}
// SAFETY: As above; the rest is atomic.
unsafe impl Sync for Event {}

impl Event {
    /// Makes an event that is not signalled. See also [`new_event!`](crate::new_event).
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            wq <- Opaque::ffi_init(|slot: *mut bindings::wait_queue_head| {
                // SAFETY: `slot` is valid for writes, pinned, and `name` and `key` live for ever.
                unsafe {
                    bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
                }
            }),
            signalled: Atomic::new(0),
        })
    }

    /// Signals the event and wakes whoever waits.
    ///
    /// If it is signalled already this costs one barrier and one load, and no other processor's
    /// cache line is taken away.
    ///
    /// Context: any.
    #[inline]
    pub fn signal(&self) {
        // ORDERING: The caller's stores come before the load of the bit. The waiter's `xchg()` is
        // fully ordered: if the load sees 1, the waiter that will turn it to 0 sees the stores.
        smp_mb(Full);
        if self.signalled.load(Relaxed) == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        // ORDERING: The exchange is the full barrier that `kapi_wake_up()` wants.
        if self.signalled.xchg(1, Full) == 0 {
            // SAFETY: `wq` has been initialised and lives as long as `self`.
            unsafe { bindings::kapi_wake_up(self.wq.get()) };
        }
    }

    /// Waits for a signal. `false` if [`Thread::stop`](crate::thread::Thread::stop) was called on
    /// the current thread instead; a signal that is there goes before that.
    ///
    /// Context: process, sleeps (not counted as load).
    pub fn wait(&self) -> bool {
        self.wait_common(true, None)
    }

    /// As [`Event::wait`], for at most `ms` milliseconds; `false` also when the time is over.
    ///
    /// Context: process, sleeps (not counted as load).
    pub fn wait_timeout_ms(&self, ms: u64) -> bool {
        self.wait_common(true, Some(ms))
    }

    /// Waits for a signal, come what may: not ended by a request to stop.
    ///
    /// Context: process, sleeps (not counted as load).
    pub fn wait_unstoppable(&self) {
        while !self.wait_common(false, None) {}
    }

    /// Consumes the signal if there is one. Context: any.
    pub fn try_consume(&self) -> bool {
        self.signalled.xchg(0, Full) == 1
    }

    fn wait_common(&self, stoppable: bool, ms: Option<u64>) -> bool {
        // SAFETY: `wq` is initialised, `signalled` is an `int` that is only accessed atomically,
        // and both outlive the call. Process context, as the documentation demands.
        let left = unsafe {
            bindings::kapi_event_wait(
                self.wq.get(),
                self.signalled.as_ptr(),
                stoppable,
                time::jiffies(ms),
            )
        };
        left > 0
    }
}

/// Makes an [`Event`] with a lock class of its own, in place: `field <- new_event!()`.
#[macro_export]
macro_rules! new_event {
    ($($name:literal)?) => {
        $crate::event::Event::new(
            ::kernel::optional_name!($($name)?),
            ::kernel::static_lock_class!(),
        )
    };
}
