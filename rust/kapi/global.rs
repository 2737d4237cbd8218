// SPDX-License-Identifier: GPL-2.0

//! A value for the whole module, under a mutex.
//!
//! The kernel crate's `global_lock!` has to be initialised at run time; this has not, because its
//! mutex is initialised by the C compiler. There are two of them, for globals of level 0 and 1.
//!
//! C header: [`include/linux/mutex.h`](srctree/include/linux/mutex.h)

use core::cell::UnsafeCell;

use crate::bindings;

/// A global value. One of level 1 may be used within one of level 0.
///
/// # Invariants
///
/// The value is only accessed by who holds the mutex.
pub struct Global<T, const LEVEL: u32 = 0>(UnsafeCell<T>);

// SAFETY: By the type invariant, one thread at a time accesses the value.
unsafe impl<T: Send, const LEVEL: u32> Sync for Global<T, LEVEL> {}

struct Unlock(u32);

impl Drop for Unlock {
    fn drop(&mut self) {
        // SAFETY: Made only by who has just locked it.
        unsafe { bindings::kapi_global_unlock(self.0) };
    }
}

impl<T, const LEVEL: u32> Global<T, LEVEL> {
    /// A value, to be put in a `static`. It is never dropped: what it owns at the end of the module
    /// is leaked.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Calls `f` with the value. `f` must not use this or another [`Global`] of the same level or a
    /// lower one: it would wait for itself.
    ///
    /// Context: process, may sleep.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: The mutex is initialised statically.
        unsafe { bindings::kapi_global_lock(LEVEL) };
        let _unlock = Unlock(LEVEL);
        // SAFETY: By the type invariant; the mutex is held until `_unlock` is dropped.
        f(unsafe { &mut *self.0.get() })
    }
}
