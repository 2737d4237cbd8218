// SPDX-License-Identifier: GPL-2.0

//! Processors.
//!
//! C headers: [`include/linux/smp.h`](srctree/include/linux/smp.h),
//! [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use crate::bindings;

/// The processor that the caller runs on.
///
/// Only a hint where preemption is on: the caller may have moved when it looks at the result.
///
/// Context: any.
#[inline]
pub fn this_cpu() -> u32 {
    kernel::cpu::CpuId::current().as_u32()
}

/// How many processors are online now, at least 1.
///
/// Context: any.
pub fn online_cpus() -> u32 {
    // SAFETY: Reads one counter.
    unsafe { bindings::kapi_num_online_cpus() }
}
