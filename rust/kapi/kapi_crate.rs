// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over the kernel APIs that the `kernel` crate lacks.
//!
//! This is the only crate of the module with `unsafe` in it. One kernel API a file; each file
//! says in its own head what it relies on.
//!
//! | file            | wraps                                    | may be called from                  |
//! |-----------------|------------------------------------------|-------------------------------------|
//! | `dm.rs`         | device-mapper target and its constructor | callbacks: see [`dm::Target`]       |
//! | `bio.rs`        | the clone that dm hands to a target      | completion: any; submission: process|
//! | `range_lock.rs` | (ours) locks on sector ranges            | any                                 |
//! | `irqlock.rs`    | `spin_lock_irqsave()`                    | any                                 |
//! | `blkdev.rs`     | block device files, synchronous I/O      | process, may sleep                  |
//! | `iobuf.rs`      | vmalloc'ed buffers for bulk I/O          | process, may sleep                  |
//! | `iopool.rs`     | bio sets, asynchronous I/O out of pmem   | submit: process; completion: any    |
//! | `pmem.rs`       | DAX devices, non-temporal stores, CRC32C | open: process; access: any          |
//! | `pr.rs`         | persistent reservations                  | process, may sleep                  |
//! | `net.rs`        | network namespaces, TCP sockets          | process, may sleep                  |
//! | `genl.rs`       | generic netlink: operations, dumps, events| process, may sleep                 |
//! | `thread.rs`     | kernel threads                           | process, may sleep                  |
//! | `event.rs`      | wait queues                              | signal: any; wait: process          |
//! | `noio.rs`       | `memalloc_noio_save()`                   | process                             |
//! | `global.rs`     | a value for the whole module under a mutex| process, may sleep                  |
//! | `time.rs`       | clocks and delays                        | clock: any; delay: process          |
//! | `cpu.rs`        | processor numbers                        | any                                 |
//! | `percpu.rs`     | per-processor counters                   | make: process; count: any           |
//! | `random.rs`     | random bytes, UUIDs                      | any                                 |
//! | `log.rs`        | rate-limited messages                    | any                                 |
//! | `trace.rs`      | tracepoints, behind their static keys    | any                                 |
//!
//! *Process* means process context with interrupts on and no spin lock held. *Any* includes hard
//! interrupts. No function allocates memory unless it says so; allocations at set-up time use
//! `GFP_KERNEL`, those on the I/O path come from pools (`GFP_NOIO`).
//!
//! Sectors are units of 512 bytes throughout, whatever the logical block size of a device.

pub mod bio;
pub mod blkdev;
pub mod cpu;
pub mod dm;
pub mod event;
pub mod genl;
pub mod global;
pub mod iobuf;
pub mod iopool;
pub mod irqlock;
pub mod log;
pub mod net;
pub mod noio;
pub mod percpu;
pub mod pmem;
pub mod pr;
pub mod random;
pub mod range_lock;
pub mod thread;
pub mod time;
pub mod trace;

/// What bindgen made of `bindings.h`, on top of the `kernel` crate's own bindings.
#[allow(
    clippy::all,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]
mod bindings {
    use kernel::ffi;
    use pin_init::MaybeZeroable;

    include!(concat!(
        env!("DMRC_OBJ"),
        "/rust/kapi/bindings_generated.rs"
    ));
    // After what was included, which imports the same for itself.
    pub(crate) use kernel::bindings::*;
}

/// Prefix of the messages that this crate prints itself.
pub(crate) const __LOG_PREFIX: &[u8] = b"dm_remote_copy\0";

/// Bytes in a sector.
pub const SECTOR_SIZE: usize = 512;

/// log2 of [`SECTOR_SIZE`].
pub const SECTOR_SHIFT: u32 = 9;

/// Implements the kernel's `Display` for a type that has the core library's, so that both
/// `write!()` and `pr_info!()` can print it.
macro_rules! kernel_display {
    ($($type:ty),* $(,)?) => {
        $(
            impl ::kernel::fmt::Display for $type {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    ::core::fmt::Display::fmt(self, f)
                }
            }
        )*
    };
}
pub(crate) use kernel_display;
