// SPDX-License-Identifier: GPL-2.0

//! Locks on ranges of sectors, held by host bios.
//!
//! Two bios that overlap must not be on their way at the same time if their order matters. A
//! [`RangeLock`] lets the first one pass and keeps the second until the first unlocks, in the order
//! in which they came. Bios that do not overlap do not meet, except at a bucket's spin lock.
//!
//! A range lies in one chunk of [`CHUNK_SECTORS`]; chunks are hashed to buckets. Links are in the
//! per-bio data of the bios: nothing is allocated.
//!
//! Which list a bio is in:
//!
//! ```text
//!            lock(), nobody in the way ┌─────────┐ unlock()
//!  (owned) ───────────────────────────▶│ holders │──────────▶ (owned)
//!     │                                └─────────┘
//!     │ lock(), overlap                     ▲ unlock() of the last one in its way
//!     ▼                                     │ (moved to `ready`)
//! ┌─────────┐───────────────────────────────┘
//! │ waiters │──────────▶ (owned by `out`)
//! └─────────┘ drain_waiters()
//! ```
//!
//! A holder is owned by whoever has its [`HostBio`], or by a lower device; a waiter is owned by the
//! lock. The driver must unlock before it completes a bio. If it forgets, [`HostBio::complete`]
//! takes the bio out of the list (it would dangle there), warns, and fails those who waited for it.

use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

use kernel::prelude::*;

use crate::bio::{BioQueue, BlkStatus, Head, HostBio};
use crate::irq_lock_array;
use crate::irqlock::{IrqLock, IrqLockArray};
use crate::log::warn_once;

/// Sectors in a chunk (1 MiB). No locked range may cross a multiple of it.
pub const CHUNK_SECTORS: u64 = 2048;

/// The bio now belongs to the lock: it comes back through [`RangeLock::unlock`] of another.
#[derive(Debug)]
pub struct Queued;

/// A bio's place in a bucket.
///
/// # Invariants
///
/// `bucket` is null if and only if the bio is in no list. It is changed only by who owns the bio,
/// who also holds the bucket's lock; the other fields are accessed only under that lock.
pub(crate) struct Link {
    bucket: Cell<*const IrqLock<Bucket>>,
    next: Cell<*mut Head>,
    prev: Cell<*mut Head>,
    member: Cell<u16>,
    waiting: Cell<bool>,
}

impl Link {
    pub(crate) const fn new() -> Self {
        Self {
            bucket: Cell::new(ptr::null()),
            next: Cell::new(ptr::null_mut()),
            prev: Cell::new(ptr::null_mut()),
            member: Cell::new(0),
            waiting: Cell::new(false),
        }
    }

    /// Whether the bio is in a list. To be asked by the owner of the bio.
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        !self.bucket.get().is_null()
    }
}

/// A list of heads, linked both ways through [`Link`].
///
/// # Invariants
///
/// Every head in it is alive: a holder leaves before its clone is finished, a waiter's clone is
/// owned by the lock.
struct List {
    first: *mut Head,
    last: *mut Head,
}

impl List {
    const fn new() -> Self {
        Self {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
        }
    }

    /// # Safety
    ///
    /// `head` is alive, in no list, and leaves this one before it dies.
    unsafe fn push(&mut self, head: *mut Head) {
        // SAFETY: By the contract and the type invariant.
        unsafe {
            (*head).link.next.set(ptr::null_mut());
            (*head).link.prev.set(self.last);
            if self.last.is_null() {
                self.first = head;
            } else {
                (*self.last).link.next.set(head);
            }
        }
        self.last = head;
    }

    /// # Safety
    ///
    /// `head` is in this list.
    unsafe fn remove(&mut self, head: *mut Head) {
        // SAFETY: By the contract and the type invariant.
        unsafe {
            let (next, prev) = ((*head).link.next.get(), (*head).link.prev.get());
            if prev.is_null() {
                self.first = next;
            } else {
                (*prev).link.next.set(next);
            }
            if next.is_null() {
                self.last = prev;
            } else {
                (*next).link.prev.set(prev);
            }
        }
    }

    /// Whether `head` overlaps any of the list, up to but not including `end` (null: all).
    fn overlaps(&self, head: *const Head, end: *const Head) -> bool {
        let mut at: *const Head = self.first;
        while !at.is_null() && at != end {
            // SAFETY: Both are alive, by the type invariant and because the caller has `head`.
            unsafe {
                if overlap(head, at) {
                    return true;
                }
                at = (*at).link.next.get();
            }
        }
        false
    }
}

/// # Safety
///
/// Both are alive.
#[inline]
unsafe fn overlap(a: *const Head, b: *const Head) -> bool {
    // No reference to a whole head: its owner may be writing to other fields.
    // SAFETY: By the contract; these fields are constant or under the bucket's lock.
    unsafe {
        (*a).link.member.get() == (*b).link.member.get()
            && (*a).sector < (*b).sector.saturating_add(u64::from((*b).sectors))
            && (*b).sector < (*a).sector.saturating_add(u64::from((*a).sectors))
    }
}

/// The bios in some of the chunks.
pub(crate) struct Bucket {
    /// Those that have their range. No two overlap.
    holders: List,
    /// Those that wait, in the order in which they came. Each overlaps a holder or an earlier one.
    waiters: List,
}

// SAFETY: The lists hold nothing that belongs to a thread.
unsafe impl Send for Bucket {}

impl Bucket {
    /// Takes a holder out and moves the waiters that can run now to `ready`, as holders.
    ///
    /// # Safety
    ///
    /// `head` is a holder of this bucket and the caller owns its clone. `ready` takes clones of
    /// `Io = T`, as all in this bucket are.
    unsafe fn release<T>(&mut self, head: *mut Head, ready: &mut BioQueue<T>) {
        // SAFETY: By the contract.
        unsafe { self.holders.remove(head) };
        let mut at = self.waiters.first;
        while !at.is_null() {
            // SAFETY: Waiters are alive.
            let next = unsafe { (*at).link.next.get() };
            // Only who overlaps what was released can have waited for it. An earlier waiter that
            // was just made a holder is in the holders' list, one that still waits before `at`.
            // SAFETY: Both are alive.
            if unsafe { overlap(head, at) }
                && !self.holders.overlaps(at, ptr::null())
                && !self.waiters.overlaps(at, at)
            {
                // SAFETY: `at` is a waiter: it belongs to the lock, and moves to `ready`, still
                // linked, as a holder.
                unsafe {
                    self.waiters.remove(at);
                    self.holders.push(at);
                    (*at).link.waiting.set(false);
                    ready.push(HostBio::from_head(NonNull::new_unchecked(at)));
                }
            }
            at = next;
        }
    }

    /// Moves all waiters to `out`, which own nothing then.
    ///
    /// # Safety
    ///
    /// `out` takes clones of `Io = T`, as all in this bucket are.
    unsafe fn drain<T>(&mut self, out: &mut BioQueue<T>) {
        while let Some(at) = NonNull::new(self.waiters.first) {
            // SAFETY: `at` is a waiter: it belongs to the lock, which gives it up here.
            unsafe {
                self.waiters.remove(at.as_ptr());
                let link = &(*at.as_ptr()).link;
                link.waiting.set(false);
                link.bucket.set(ptr::null());
                out.push(HostBio::from_head(at));
            }
        }
    }
}

/// Locks on ranges of sectors of several members (volumes).
///
/// All methods may be called from any context.
pub struct RangeLock<T> {
    /// Leaked if a bio still holds a range when the lock is dropped: the bio points to its bucket.
    buckets: ManuallyDrop<IrqLockArray<Bucket>>,
    mask: usize,
    _io: core::marker::PhantomData<HostBio<T>>,
}

// SAFETY: The lock passes host bios between threads.
unsafe impl<T: Send> Send for RangeLock<T> {}
// SAFETY: As above; everything is under the buckets' locks.
unsafe impl<T: Send> Sync for RangeLock<T> {}

impl<T> RangeLock<T> {
    /// Makes a lock with `buckets` buckets, rounded up to a power of two (at most 65536).
    ///
    /// Context: process, may sleep (allocates with `GFP_KERNEL`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(buckets: usize) -> Result<Self> {
        let len = buckets.clamp(1, 65536).next_power_of_two();
        let buckets = irq_lock_array!(len, |_| Bucket {
            holders: List::new(),
            waiters: List::new(),
        })?;
        Ok(Self {
            buckets: ManuallyDrop::new(buckets),
            mask: len - 1,
            _io: core::marker::PhantomData,
        })
    }

    fn bucket(&self, member: u16, sector: u64) -> Option<&IrqLock<Bucket>> {
        let chunk = sector / CHUNK_SECTORS;
        // Neighbouring chunks go to neighbouring buckets; members are spread by a large odd number.
        let hash = chunk.wrapping_add(u64::from(member).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
        self.buckets.get(hash as usize & self.mask)
    }

    /// Locks the range of `bio` in `member`, or queues the bio behind those in its way.
    ///
    /// A bio without sectors (a flush) is granted at once and holds nothing. A bio that crosses a
    /// chunk's boundary, which the constructor rules out with `set_max_io_len(CHUNK_SECTORS)`,
    /// fails with an I/O error and a warning.
    pub fn lock(&self, member: u16, bio: HostBio<T>) -> Result<HostBio<T>, Queued> {
        if bio.sectors() == 0 {
            return Ok(bio);
        }
        let end = bio.sector().saturating_add(u64::from(bio.sectors()));
        let last = end.wrapping_sub(1);
        let (Some(bucket), true) = (
            self.bucket(member, bio.sector()),
            bio.sector() / CHUNK_SECTORS == last / CHUNK_SECTORS,
        ) else {
            warn_once!("a host bio crosses a chunk's boundary: it fails");
            bio.complete(BlkStatus::IOERR);
            return Err(Queued);
        };

        let head = bio.into_head();
        // SAFETY: The clone is ours, and so is its head.
        let link = unsafe { &(*head.as_ptr()).link };
        if link.is_linked() {
            warn_once!("a host bio was to be locked twice");
            // SAFETY: Back from `into_head` above.
            return Ok(unsafe { HostBio::from_head(head) });
        }
        let mut guard = bucket.lock();
        link.member.set(member);
        let in_the_way = guard.holders.overlaps(head.as_ptr(), ptr::null())
            || guard.waiters.overlaps(head.as_ptr(), ptr::null());
        // INVARIANT: Linked below, under the lock.
        link.bucket.set(bucket);
        link.waiting.set(in_the_way);
        if in_the_way {
            // SAFETY: The clone belongs to the lock from here on.
            unsafe { guard.waiters.push(head.as_ptr()) };
            Err(Queued)
        } else {
            // SAFETY: It is taken out by `unlock` or, before it dies, by `release_forgotten`.
            unsafe { guard.holders.push(head.as_ptr()) };
            // SAFETY: Back from `into_head` above.
            Ok(unsafe { HostBio::from_head(head) })
        }
    }

    /// Gives up the range of `bio`. Those who can run now are added to `ready` in the order in
    /// which they came; they already hold their ranges.
    ///
    /// Nothing happens if `bio` holds no range of this lock.
    pub fn unlock(&self, bio: &mut HostBio<T>, ready: &mut BioQueue<T>) {
        // SAFETY: The clone is ours, and so is its head.
        let bucket = unsafe { (*bio.head_ptr().as_ptr()).link.bucket.get() };
        if bucket.is_null() {
            return;
        }
        if !self.buckets.as_ptr_range().contains(&bucket) {
            warn_once!("a host bio was unlocked from another lock than its own");
            return;
        }
        unlink(bio, ready);
    }

    /// Moves all that wait to `out`. They hold nothing: lock them again, or complete them.
    pub fn drain_waiters(&self, out: &mut BioQueue<T>) {
        for bucket in self.buckets.iter() {
            // SAFETY: All in the bucket are of `Io = T`.
            unsafe { bucket.lock().drain(out) };
        }
    }
}

impl<T> Drop for RangeLock<T> {
    fn drop(&mut self) {
        let mut waiters = BioQueue::<T>::new();
        self.drain_waiters(&mut waiters);
        drop(waiters);
        let held = self
            .buckets
            .iter()
            .any(|bucket| !bucket.lock().holders.first.is_null());
        if held {
            // A bio points to its bucket until it ends. This is a bug of the driver; the memory is
            // lost rather than used after it was freed.
            warn_once!("a range lock was dropped while a host bio holds a range: it is leaked");
        } else {
            // SAFETY: Dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.buckets) };
        }
    }
}

/// Takes a bio that is about to be completed out of the list in which it was forgotten, and fails
/// those who waited for it, and those who waited for them: nobody would ever wake them.
#[cold]
pub(crate) fn release_forgotten<T>(bio: &HostBio<T>) {
    warn_once!("a host bio ends while it holds a range: those who wait for it fail");
    let mut failing = BioQueue::<T>::new();
    unlink(bio, &mut failing);
    while let Some(bio) = failing.pop() {
        unlink(&bio, &mut failing);
        bio.complete(BlkStatus::IOERR);
    }
}

/// Takes a holder out of whatever lock it is in.
fn unlink<T>(bio: &HostBio<T>, ready: &mut BioQueue<T>) {
    let head = bio.head_ptr().as_ptr();
    // SAFETY: The caller has the clone, and so its head.
    let link = unsafe { &(*head).link };
    let bucket = link.bucket.get();
    if bucket.is_null() {
        return;
    }
    // SAFETY: Buckets live as long as a bio is in them: `RangeLock::drop` sees to that.
    let mut guard = unsafe { &*bucket }.lock();
    // SAFETY: The caller owns the clone, so it is a holder, not a waiter.
    unsafe { guard.release(head, ready) };
    // INVARIANT: It is in no list.
    link.bucket.set(ptr::null());
}
