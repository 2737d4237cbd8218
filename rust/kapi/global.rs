// SPDX-License-Identifier: GPL-2.0

//! A value for the whole module, under a mutex.
//!
//! The kernel crate's `global_lock!` has to be initialised at run time; this has not, because its
//! mutex is initialised by the C compiler. All globals share it: they are for set-up and tear-down.
//!
//! C header: [`include/linux/mutex.h`](srctree/include/linux/mutex.h)

use core::cell::UnsafeCell;

use crate::bindings;

/// A global value.
///
/// # Invariants
///
/// The value is only accessed by who holds the mutex.
pub struct Global<T>(UnsafeCell<T>);

// SAFETY: By the type invariant, one thread at a time accesses the value.
unsafe impl<T: Send> Sync for Global<T> {}

struct Unlock;

impl Drop for Unlock {
    fn drop(&mut self) {
        // SAFETY: Made only by who has just locked it.
        unsafe { bindings::kapi_global_unlock() };
    }
}

impl<T> Global<T> {
    /// A value, to be put in a `static`. It is never dropped: what it owns at the end of the module
    /// is leaked.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Calls `f` with the value. `f` must not use this or another [`Global`]: it would wait for
    /// itself.
    ///
    /// Context: process, may sleep.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: The mutex is initialised statically.
        unsafe { bindings::kapi_global_lock() };
        let _unlock = Unlock;
        // SAFETY: By the type invariant; the mutex is held until `_unlock` is dropped.
        f(unsafe { &mut *self.0.get() })
    }
}
