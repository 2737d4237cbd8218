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

/// A row of `N` counters, all 0 in the beginning.
///
/// # Invariants
///
/// `base` is what `kapi_percpu_alloc()` returned for `N` counters, and is ours.
pub struct PerCpuCounters<const N: usize> {
    base: NonNull<u64>,
}

// SAFETY: What is counted is numbers; each processor has its own.
unsafe impl<const N: usize> Send for PerCpuCounters<N> {}
// SAFETY: A processor adds to its own with a single instruction, and reads others' with single loads.
unsafe impl<const N: usize> Sync for PerCpuCounters<N> {}

impl<const N: usize> PerCpuCounters<N> {
    /// Makes them.
    ///
    /// Context: process, may sleep (allocates with `GFP_KERNEL`, 8 bytes for each counter and each
    /// processor that the machine could have).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        // The kernel gives no larger piece of each processor's memory: `PCPU_MIN_UNIT_SIZE`.
        const { assert!(N * 8 <= 32768) };
        // SAFETY: Process context; the size was checked.
        let base = unsafe { bindings::kapi_percpu_alloc(N) };
        // INVARIANT: Allocated for as many.
        Ok(Self {
            base: NonNull::new(base).ok_or(ENOMEM)?,
        })
    }

    /// Counts one in `counter`, and adds `amount` to `sum`. Counters that there are not are left alone.
    ///
    /// Context: any.
    #[inline]
    pub fn count(&self, counter: usize, sum: usize, amount: u64) {
        if counter < N && sum < N {
            // SAFETY: By the type invariant, and the checks above.
            unsafe { bindings::kapi_percpu_count(self.base.as_ptr(), counter, sum, amount) };
        }
    }

    /// What all processors have counted. While others count, two counters need not fit together.
    ///
    /// Context: any.
    pub fn sum(&self, counter: usize) -> u64 {
        if counter >= N {
            return 0;
        }
        // SAFETY: By the type invariant, and the check above.
        unsafe { bindings::kapi_percpu_sum(self.base.as_ptr(), counter) }
    }
}

impl<const N: usize> Drop for PerCpuCounters<N> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours, and nobody counts any more.
        unsafe { bindings::kapi_percpu_free(self.base.as_ptr()) };
    }
}
