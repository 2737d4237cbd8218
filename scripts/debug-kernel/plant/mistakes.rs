// SPDX-License-Identifier: GPL-2.0

//! Mistakes in Rust, with the allocators and the instrumentation that the driver has.

use kernel::prelude::*;

/// Reads what was freed.
#[no_mangle]
pub extern "C" fn plant_rust_use_after_free() -> u32 {
    let Ok(owned) = KBox::new([1u32; 16], GFP_KERNEL) else {
        return 0;
    };
    let freed: *const u32 = owned.as_ptr();
    drop(owned);
    // SAFETY: none, which KASAN is to say.
    unsafe { freed.read_volatile() }
}

/// Reads behind the end.
#[no_mangle]
pub extern "C" fn plant_rust_out_of_bounds(i: usize) -> u32 {
    let Ok(owned) = KBox::new([1u32; 16], GFP_KERNEL) else {
        return 0;
    };
    // SAFETY: none, which KASAN is to say.
    unsafe { owned.as_ptr().add(i).read_volatile() }
}

/// Forgets what it owns.
#[no_mangle]
pub extern "C" fn plant_rust_leak() {
    for capacity in [64usize, 256, 1024, 4096] {
        if let Ok(v) = KVec::<u8>::with_capacity(capacity, GFP_KERNEL) {
            core::mem::forget(v);
        }
        if let Ok(v) = VVec::<u8>::with_capacity(capacity, GFP_KERNEL) {
            core::mem::forget(v);
        }
    }
}

/// Overflows.
#[no_mangle]
pub extern "C" fn plant_rust_overflow(n: u32) -> u32 {
    n + 1
}
