// SPDX-License-Identifier: GPL-2.0

//! Spin locks that may be taken in interrupt handlers.
//!
//! The kernel crate has them: [`IrqLock`] is its `SpinLockIrq` under a shorter name. What it has
//! not is a convenient array of them, since a lock may not move once it has been initialised.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use core::pin::Pin;

use kernel::prelude::*;
use kernel::sync::{LockClassKey, SpinLockIrq, SpinLockIrqGuard};

/// A spin lock whose holder has interrupts disabled: `lock()` from any context.
///
/// Make one in place with `kernel::new_spinlock_irq!()`.
pub type IrqLock<T> = SpinLockIrq<T>;

/// What [`IrqLock::lock`](kernel::sync::lock::Lock::lock) returns.
pub type IrqLockGuard<'a, T> = SpinLockIrqGuard<'a, T>;

/// A fixed array of [`IrqLock`]s of one lock class.
pub type IrqLockArray<T> = Pin<KVBox<[IrqLock<T>]>>;

/// Makes `len` locks, the `i`-th around `value(i)`.
///
/// Context: process, may sleep (allocates with `GFP_KERNEL`).
///
/// # Errors
///
/// `ENOMEM`.
pub fn new_array<T>(
    len: usize,
    name: &'static CStr,
    key: Pin<&'static LockClassKey>,
    mut value: impl FnMut(usize) -> T,
) -> Result<IrqLockArray<T>> {
    KVBox::pin_slice(
        |i| {
            let lock = IrqLock::new(value(i), name, key);
            // SAFETY: `slot` is what `lock` wants, and is initialised when the closure returns.
            unsafe {
                pin_init::pin_init_from_closure(move |slot| -> Result {
                    pin_init::raw_init(slot, lock);
                    Ok(())
                })
            }
        },
        len,
        GFP_KERNEL,
    )
}

/// Makes an [`IrqLockArray`] with a lock class of its own: `irq_lock_array!(len, |i| value)`.
#[macro_export]
macro_rules! irq_lock_array {
    ($len:expr, $value:expr) => {
        $crate::irqlock::new_array(
            $len,
            ::kernel::optional_name!(),
            ::kernel::static_lock_class!(),
            $value,
        )
    };
}
