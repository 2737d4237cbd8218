// SPDX-License-Identifier: GPL-2.0

//! Counters that each processor has for itself.
//!
//! To count is one instruction on memory that no other processor touches: no lock, no bus lock, and
//! interrupts may count in the middle of it. To read is to add up what all have.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use core::ptr::NonNull;

use kernel::prelude::*;

use crate::bindings;

/// A row of counters, all 0 in the beginning.
///
/// # Invariants
///
/// `base` is what `kapi_percpu_alloc()` returned for `len` counters, and is ours.
pub struct PerCpuCounters {
    base: NonNull<u64>,
    len: usize,
}

// SAFETY: What is counted is numbers; each processor has its own.
unsafe impl Send for PerCpuCounters {}
// SAFETY: A processor adds to its own with a single instruction, and reads others' with single loads.
unsafe impl Sync for PerCpuCounters {}

impl PerCpuCounters {
    /// The most counters that one row can have: the kernel gives no larger piece of each processor's
    /// memory (`PCPU_MIN_UNIT_SIZE`).
    pub const MOST: usize = 32768 / 8;

    /// Makes `len` counters.
    ///
    /// Context: process, may sleep (allocates with `GFP_KERNEL`, 8 bytes for each counter and each
    /// processor that the machine could have).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` for more than [`PerCpuCounters::MOST`].
    pub fn new(len: usize) -> Result<Self> {
        if len > Self::MOST {
            return Err(EINVAL);
        }
        // SAFETY: Process context; the size was checked.
        let base = unsafe { bindings::kapi_percpu_alloc(len) };
        // INVARIANT: Allocated for as many.
        Ok(Self {
            base: NonNull::new(base).ok_or(ENOMEM)?,
            len,
        })
    }

    /// Counts one in `counter`, and adds `amount` to `sum`. Counters that there are not are left alone.
    ///
    /// Context: any.
    #[inline]
    pub fn count(&self, counter: usize, sum: usize, amount: u64) {
        if counter < self.len && sum < self.len {
            // SAFETY: By the type invariant, and the checks above.
            unsafe { bindings::kapi_percpu_count(self.base.as_ptr(), counter, sum, amount) };
        }
    }

    /// What all processors have counted. While others count, two counters need not fit together.
    ///
    /// Context: any.
    pub fn sum(&self, counter: usize) -> u64 {
        if counter >= self.len {
            return 0;
        }
        // SAFETY: By the type invariant, and the check above.
        unsafe { bindings::kapi_percpu_sum(self.base.as_ptr(), counter) }
    }
}

impl Drop for PerCpuCounters {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours, and nobody counts any more.
        unsafe { bindings::kapi_percpu_free(self.base.as_ptr()) };
    }
}
