// SPDX-License-Identifier: GPL-2.0

//! Allocations that must not start I/O.
//!
//! C header: [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use kernel::prelude::*;
use kernel::types::NotThreadSafe;

use crate::bindings;

/// While one of these lives, whatever the current task allocates (with `GFP_KERNEL` too, and in
/// code that it calls) does not start I/O in order to get memory.
///
/// To be dropped in the opposite order of making, like every guard.
///
/// # Invariants
///
/// Holds what `memalloc_noio_save()` returned on this task.
#[must_use = "ends when it is dropped"]
pub struct NoIo(c_uint, NotThreadSafe);

impl NoIo {
    /// Begins such a stretch. Context: process.
    #[inline]
    pub fn enter() -> Self {
        // SAFETY: Changes a flag of the current task.
        let flags = unsafe { bindings::kapi_noio_save() };
        // INVARIANT: As just returned; it cannot leave the task.
        Self(flags, NotThreadSafe)
    }
}

impl Drop for NoIo {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::kapi_noio_restore(self.0) };
    }
}
