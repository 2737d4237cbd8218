// SPDX-License-Identifier: GPL-2.0

//! The clones of host bios that device-mapper hands to a target.
//!
//! dm clones each bio that arrives at a mapped device and gives the clone to the target's `map`.
//! A clone is in one of these states:
//!
//! | state      | who has it                       | leaves by                                    |
//! |------------|----------------------------------|----------------------------------------------|
//! | owned      | the target, as a [`HostBio`]     | one of the four below                        |
//! | submitted  | a lower device                   | `end_io`: owned again                        |
//! | finishing  | dm, inside `bio_endio()`         | freed                                        |
//! | given back | dm, by `Map::Kill`, `Requeue`    | freed                                        |
//! | queued     | a [`BioQueue`], [`BioSlot`] or a [`RangeLock`](crate::range_lock::RangeLock) | owned again |
//!
//! dm lets a target keep a clone for as long as it likes (`DM_MAPIO_SUBMITTED`,
//! `DM_ENDIO_INCOMPLETE`) and waits for it before the device is suspended or the target destroyed.
//! This was checked in `drivers/md/dm.c`:
//!
//! - `clone_endio()` is the clone's `bi_end_io` before `map` is called, and stays so. `bio_endio()`
//!   on the clone runs it whether or not the clone was ever submitted.
//! - On `DM_ENDIO_INCOMPLETE`, `clone_endio()` returns without touching anything more, so the next
//!   `bio_endio()` starts again from the top and calls `end_io` once more. [`HostBio::complete`]
//!   therefore sets a flag at which `end_io` steps aside.
//! - The base of an empty flush is a bio on dm's stack, but what the target gets is a clone from
//!   the bio set: the base is used for nothing after `map` returned.
//! - `dm_io_complete()` does the accounting for clones that were completed without submission. The
//!   `dm_io`, in which the first clone lives, has a reference of its own for the submission path,
//!   so completing a clone inside `map` is fine.
//!
//! Each clone has per-bio data before it: a [`Head`] of ours, then the target's `Io`.
//!
//! C headers: [`include/linux/bio.h`](srctree/include/linux/bio.h),
//! [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use core::fmt;
use core::marker::PhantomData;
use core::mem::{align_of, needs_drop, size_of, ManuallyDrop};
use core::ptr::{self, NonNull};

use kernel::prelude::*;
use kernel::sync::atomic::ordering::Full;
use kernel::sync::atomic::Atomic;

use crate::bindings;
use crate::blkdev::BlockDevice;
use crate::dm::TargetId;
use crate::kernel_display;
use crate::log::warn_once;
use crate::pmem::PmemSpan;
use crate::range_lock;
use crate::{SECTOR_SHIFT, SECTOR_SIZE};

/// How an I/O ended: the block layer's `blk_status_t`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlkStatus(bindings::blk_status_t);

impl BlkStatus {
    /// Success.
    pub const OK: Self = Self(0);
    /// The operation is not supported here.
    pub const NOTSUPP: Self = Self(bindings::KAPI_CONST_BLK_STS_NOTSUPP);
    /// Timed out.
    pub const TIMEOUT: Self = Self(bindings::KAPI_CONST_BLK_STS_TIMEOUT);
    /// No space left.
    pub const NOSPC: Self = Self(bindings::KAPI_CONST_BLK_STS_NOSPC);
    /// The path to the device failed; another path may do.
    pub const TRANSPORT: Self = Self(bindings::KAPI_CONST_BLK_STS_TRANSPORT);
    /// The device refuses; another path will not help.
    pub const TARGET: Self = Self(bindings::KAPI_CONST_BLK_STS_TARGET);
    /// A persistent reservation of somebody else is in the way.
    pub const RESV_CONFLICT: Self = Self(bindings::KAPI_CONST_BLK_STS_RESV_CONFLICT);
    /// The medium is bad at this place.
    pub const MEDIUM: Self = Self(bindings::KAPI_CONST_BLK_STS_MEDIUM);
    /// Out of memory or another resource.
    pub const RESOURCE: Self = Self(bindings::KAPI_CONST_BLK_STS_RESOURCE);
    /// I/O error.
    pub const IOERR: Self = Self(bindings::KAPI_CONST_BLK_STS_IOERR);
    /// dm is to queue the original bio again. Only works during a suspend without flush; at other
    /// times dm makes it an I/O error.
    pub const DM_REQUEUE: Self = Self(bindings::KAPI_CONST_BLK_STS_DM_REQUEUE);
    /// It would block, and the bio said not to.
    pub const AGAIN: Self = Self(bindings::KAPI_CONST_BLK_STS_AGAIN);
    /// The device is offline.
    pub const OFFLINE: Self = Self(bindings::KAPI_CONST_BLK_STS_OFFLINE);
    /// The request makes no sense.
    pub const INVAL: Self = Self(bindings::KAPI_CONST_BLK_STS_INVAL);

    pub(crate) fn from_raw(status: bindings::blk_status_t) -> Self {
        Self(status)
    }

    pub(crate) fn into_raw(self) -> bindings::blk_status_t {
        self.0
    }

    /// Whether this is [`BlkStatus::OK`].
    #[inline]
    pub fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Whether another's persistent reservation was in the way: the device has not carried it out,
    /// and will not. The errno of that is `EBADE`, which no other status has.
    #[inline]
    pub fn is_reservation_conflict(self) -> bool {
        self == Self::RESV_CONFLICT
    }

    /// The errno that user space would see, negative; 0 if all is well.
    pub fn to_errno(self) -> i32 {
        // SAFETY: A table look-up that checks its index.
        unsafe { bindings::blk_status_to_errno(self.0) }
    }

    /// The same as a [`Result`].
    pub fn to_result(self) -> Result {
        kernel::error::to_result(self.to_errno())
    }
}

impl From<Error> for BlkStatus {
    fn from(error: Error) -> Self {
        // SAFETY: A table look-up; what it does not know becomes an I/O error.
        Self(unsafe { bindings::errno_to_blk_status(error.to_errno()) })
    }
}

impl fmt::Display for BlkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::OK => "ok",
            Self::NOTSUPP => "operation not supported",
            Self::TIMEOUT => "timeout",
            Self::NOSPC => "no space",
            Self::TRANSPORT => "recoverable transport error",
            Self::TARGET => "critical target error",
            Self::RESV_CONFLICT => "reservation conflict",
            Self::MEDIUM => "critical medium error",
            Self::RESOURCE => "kernel resource",
            Self::IOERR => "I/O error",
            Self::DM_REQUEUE => "requeue",
            Self::AGAIN => "would block",
            Self::OFFLINE => "device offline",
            Self::INVAL => "invalid",
            Self(other) => return write!(f, "block status {other}"),
        };
        f.write_str(text)
    }
}

impl fmt::Debug for BlkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

kernel_display!(BlkStatus, Op);

/// What a bio asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Read.
    Read,
    /// Write, perhaps with FUA; never with a flush before it (dm sends that separately).
    Write,
    /// Make everything completed so far durable. Has neither sector nor length.
    Flush,
    /// The contents are no longer needed.
    Discard,
    /// Make the range read as zeroes.
    WriteZeroes,
    /// As discard, beyond recovery.
    SecureErase,
    /// Something else: the number of the `REQ_OP_*`.
    Other(u8),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Read => f.write_str("read"),
            Self::Write => f.write_str("write"),
            Self::Flush => f.write_str("flush"),
            Self::Discard => f.write_str("discard"),
            Self::WriteZeroes => f.write_str("write-zeroes"),
            Self::SecureErase => f.write_str("secure-erase"),
            Self::Other(op) => write!(f, "op {op}"),
        }
    }
}

/// Flags by which a device's quality of service knows a bio that it must account for at its end.
const SEEN_BY_QOS: c_ushort =
    (1u32 << bindings::BIO_QOS_THROTTLED | 1u32 << bindings::BIO_QOS_MERGED) as c_ushort;

/// What this crate keeps for each clone, in the clone's per-bio data before the target's own.
///
/// # Invariants
///
/// From `map` until the clone is freed: `bio` is the clone, valid; `target` the one that it is for.
/// `sector`, `sectors` and `opf` say what the clone asked for when it came and do not change.
///
/// Who owns the clone has the fields to itself, with these exceptions: `link` belongs to the
/// bucket's list, under the bucket's lock, while `bucket` is not null (see `range_lock.rs`), and
/// `queue_next` to the [`BioQueue`] that the clone is in.
pub(crate) struct Head {
    bio: NonNull<bindings::bio>,
    target: TargetId,
    queue_next: *mut Head,
    pub(crate) link: range_lock::Link,
    /// Relative to the begin of the target.
    pub(crate) sector: u64,
    pub(crate) sectors: u32,
    opf: u32,
    /// [`HostBio::complete`] was called: `end_io` lets the clone pass.
    finishing: bool,
    /// Directed to a device of this target: may be submitted.
    routed: bool,
    /// Has come back from below: must be made anew before it is submitted again.
    spent: bool,
    /// Where the clone's data was when it came; a device that carries it out moves the clone's own.
    iter: bindings::bvec_iter,
    /// A reference on the pages in `bvec`, if [`HostBio::set_payload`] was called.
    payload: Option<PayloadRef>,
    bvec: bindings::bio_vec,
}

/// A reference on the memory of a [`Pmem`](crate::pmem::Pmem), for as long as a bio points to it.
///
/// # Invariants
///
/// Owns one reference on the `dev_pagemap`.
pub(crate) struct PayloadRef(NonNull<bindings::dev_pagemap>);

impl PayloadRef {
    pub(crate) fn new(span: &PmemSpan<'_>) -> Self {
        let pgmap = span.pgmap();
        // SAFETY: The `Pmem` behind `span` holds a reference of its own, so there is one to copy.
        unsafe { bindings::kapi_pgmap_get(pgmap.as_ptr()) };
        // INVARIANT: Taken above.
        Self(pgmap)
    }
}

impl Drop for PayloadRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to put. Any context.
        unsafe { bindings::kapi_pgmap_put(self.0.as_ptr()) };
    }
}

/// The layout of the per-bio data. `head` comes first: a pointer to one is a pointer to both.
#[repr(C)]
struct PerBio<T> {
    head: Head,
    io: T,
}

/// Bytes of per-bio data that a target with `Io = T` needs.
pub(crate) const fn per_bio_size<T>() -> usize {
    // dm puts the data directly before a structure that holds pointers and rounds its size up to
    // that structure's alignment only.
    const { assert!(align_of::<PerBio<T>>() <= align_of::<*const ()>()) };
    // dm frees per-bio data without a word.
    const { assert!(!needs_drop::<T>()) };
    size_of::<PerBio<T>>()
}

/// A clone of a host's bio, owned.
///
/// Every host bio must end: by [`HostBio::complete`], [`HostBio::submit`], or by returning it from
/// `map` or `end_io`. Dropping one completes it with an I/O error and warns, once.
///
/// What it asks for ([`HostBio::op`], [`HostBio::sector`], …) stays the same whatever has happened
/// to the clone meanwhile.
///
/// # Invariants
///
/// Owns the clone of `head` (state *owned* above), whose target has `Io = T`. Both `head` and
/// the `T` behind it are initialised.
#[must_use = "a host bio that is dropped fails with an I/O error"]
pub struct HostBio<T> {
    head: NonNull<Head>,
    _io: PhantomData<T>,
}

// SAFETY: A bio may be completed by any thread; `T` goes with it.
unsafe impl<T: Send> Send for HostBio<T> {}
// SAFETY: Through a `&HostBio<T>` one reads constant fields, and `T`.
unsafe impl<T: Sync> Sync for HostBio<T> {}

impl<T: Default> HostBio<T> {
    /// Takes the clone that dm passed to `map` and initialises its per-bio data.
    ///
    /// # Safety
    ///
    /// `bio` is a clone that dm has just handed to the `map` of a target made by `dm.rs` with
    /// `Io = T`, which begins at sector `begin` and has the number `target`.
    #[inline]
    pub(crate) unsafe fn from_map(
        target: TargetId,
        begin: u64,
        bio: NonNull<bindings::bio>,
    ) -> Self {
        // SAFETY: `bio` is a clone of a target with this much per-bio data.
        let data = unsafe { bindings::dm_per_bio_data(bio.as_ptr(), per_bio_size::<T>()) };
        let per_bio: *mut PerBio<T> = data.cast();
        // SAFETY: `bio` is valid.
        let (iter, opf) = unsafe { ((*bio.as_ptr()).bi_iter, (*bio.as_ptr()).bi_opf) };
        let sectors = iter.bi_size >> SECTOR_SHIFT;
        // An empty flush carries the sector of the write that it precedes, if any.
        let sector = if sectors == 0 {
            0
        } else {
            iter.bi_sector.wrapping_sub(begin)
        };
        // SAFETY: The data is valid for writes and aligned (see `per_bio_size`).
        unsafe {
            per_bio.write(PerBio {
                // INVARIANT: As the type demands.
                head: Head {
                    bio,
                    target,
                    queue_next: ptr::null_mut(),
                    link: range_lock::Link::new(),
                    sector,
                    sectors,
                    opf,
                    finishing: false,
                    routed: false,
                    spent: false,
                    iter,
                    payload: None,
                    bvec: bindings::bio_vec {
                        bv_page: ptr::null_mut(),
                        bv_len: 0,
                        bv_offset: 0,
                    },
                },
                io: T::default(),
            })
        };
        // INVARIANT: dm has handed the clone over; the data was initialised above.
        Self {
            // SAFETY: Per-bio data is never at address 0.
            head: unsafe { NonNull::new_unchecked(per_bio.cast()) },
            _io: PhantomData,
        }
    }
}

impl<T> HostBio<T> {
    /// Takes back the clone that dm passes to `end_io`; [`None`] if it is being completed by
    /// [`HostBio::complete`].
    ///
    /// # Safety
    ///
    /// As for [`HostBio::from_map`], for the `end_io` of a clone that `map` has seen.
    #[inline]
    pub(crate) unsafe fn from_end_io(bio: NonNull<bindings::bio>) -> Option<Self> {
        // SAFETY: `bio` is a clone of a target with this much per-bio data.
        let data = unsafe { bindings::dm_per_bio_data(bio.as_ptr(), per_bio_size::<T>()) };
        let head: *mut Head = data.cast();
        // SAFETY: `map` has initialised the data, and the clone is the target's.
        unsafe {
            if (*head).finishing {
                return None;
            }
            (*head).routed = false;
            (*head).spent = true;
        }
        // INVARIANT: The lower device has ended it and dm offers it to the target.
        Some(Self {
            // SAFETY: Per-bio data is never at address 0.
            head: unsafe { NonNull::new_unchecked(head) },
            _io: PhantomData,
        })
    }

    /// # Safety
    ///
    /// `head` came out of [`HostBio::into_head`] of a `HostBio<T>`, and is used once.
    #[inline]
    pub(crate) unsafe fn from_head(head: NonNull<Head>) -> Self {
        // INVARIANT: Whoever had `head` had the clone.
        Self {
            head,
            _io: PhantomData,
        }
    }

    /// Gives up the handle without ending the bio.
    #[inline]
    pub(crate) fn into_head(self) -> NonNull<Head> {
        ManuallyDrop::new(self).head
    }

    #[inline]
    pub(crate) fn head_ptr(&self) -> NonNull<Head> {
        self.head
    }

    #[inline]
    fn head(&self) -> &Head {
        // SAFETY: By the type invariant the clone is ours and its head initialised. What others
        // change meanwhile, `link`, is made of cells.
        unsafe { self.head.as_ref() }
    }

    #[inline]
    pub(crate) fn bio_ptr(&self) -> *mut bindings::bio {
        self.head().bio.as_ptr()
    }

    /// What the bio asks for.
    #[inline]
    pub fn op(&self) -> Op {
        let head = self.head();
        // `REQ_OP_*` have fewer than 8 bits.
        let op = head.opf & bindings::KAPI_CONST_REQ_OP_MASK;
        match op {
            bindings::req_op_REQ_OP_READ => Op::Read,
            bindings::req_op_REQ_OP_WRITE => {
                if head.sectors == 0 && self.is_preflush() {
                    Op::Flush
                } else {
                    Op::Write
                }
            }
            bindings::req_op_REQ_OP_FLUSH => Op::Flush,
            bindings::req_op_REQ_OP_DISCARD => Op::Discard,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Op::WriteZeroes,
            bindings::req_op_REQ_OP_SECURE_ERASE => Op::SecureErase,
            other => Op::Other(other as u8),
        }
    }

    /// Whether the bio may only be completed when its data is durable.
    #[inline]
    pub fn is_fua(&self) -> bool {
        self.head().opf & bindings::KAPI_CONST_REQ_FUA != 0
    }

    /// Whether what was completed before must be made durable first. dm sends a bio of its own
    /// for that: only [`Op::Flush`] has it.
    #[inline]
    pub fn is_preflush(&self) -> bool {
        self.head().opf & bindings::KAPI_CONST_REQ_PREFLUSH != 0
    }

    /// The first sector, relative to the begin of the target; 0 for a flush.
    #[inline]
    pub fn sector(&self) -> u64 {
        self.head().sector
    }

    /// The number of sectors; 0 for a flush.
    #[inline]
    pub fn sectors(&self) -> u32 {
        self.head().sectors
    }

    /// The number of bytes; 0 for a flush.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.sectors() as usize * SECTOR_SIZE
    }

    /// The target's own data.
    #[inline]
    pub fn io(&self) -> &T {
        let per_bio: *const PerBio<T> = self.head.as_ptr().cast();
        // SAFETY: By the type invariant there is an initialised `T` behind the head, and it is
        // ours.
        unsafe { &(*per_bio).io }
    }

    /// The target's own data, to change it.
    #[inline]
    pub fn io_mut(&mut self) -> &mut T {
        let per_bio: *mut PerBio<T> = self.head.as_ptr().cast();
        // SAFETY: As for `io`. The reference covers nothing of the head.
        unsafe { &mut (*per_bio).io }
    }

    /// Directs the bio to `sector` of `device`, which must be one that this bio's target got with
    /// [`CtrContext::get_device`](crate::dm::CtrContext::get_device): such a device stays open
    /// until dm has seen the last bio end. To any other device the bio does not go: it fails with
    /// an I/O error when it is submitted.
    ///
    /// A bio that came back through `end_io` may be remapped and submitted once more.
    ///
    /// Context: any.
    #[inline]
    pub fn remap(&mut self, device: &BlockDevice, sector: u64) {
        let bio = self.bio_ptr();
        let routed = device.is_of_target(self.head().target);
        // SAFETY: The clone is ours.
        unsafe { (*self.head.as_ptr()).routed = routed };
        if !routed {
            warn_once!("a host bio was remapped to a device of another target: it fails");
            return;
        }
        if self.head().spent {
            self.renew();
        }
        // SAFETY: The clone is ours and not on its way; the device is open until after the clone
        // has ended, as checked above.
        unsafe {
            bindings::kapi_bio_set_dev(bio, device.bdev_ptr());
            (*bio).bi_iter.bi_sector = sector;
        }
    }

    /// Makes a clone that has been carried out one that is to be, as dm's `dm_bio_restore()` does.
    #[cold]
    fn renew(&mut self) {
        let (bio, head) = (self.bio_ptr(), self.head.as_ptr());
        // SAFETY: The clone is ours and not on its way, and so is its head. It has ended, so
        // nothing that was split off it is left to be counted.
        unsafe {
            // A request that it was merged into leaves its link behind.
            (*bio).bi_next = ptr::null_mut();
            (*bio).bi_iter = (*head).iter;
            if (*head).payload.is_some() {
                (*bio).bi_iter.bi_idx = 0;
                (*bio).bi_iter.bi_offset = 0;
            }
            (*bio).bi_flags &= !SEEN_BY_QOS;
            (*bio).bi_status = BlkStatus::OK.into_raw();
            (*bio).__bi_remaining.counter = 1;
            (*head).spent = false;
        }
    }

    /// Takes FUA and preflush off the bio: the target sees to durability by itself. What
    /// [`HostBio::is_fua`] says does not change.
    ///
    /// Context: any.
    #[inline]
    pub fn strip_fua_preflush(&mut self) {
        let flags = bindings::KAPI_CONST_REQ_FUA | bindings::KAPI_CONST_REQ_PREFLUSH;
        // SAFETY: The clone is ours, and its flags with it: the original has its own.
        unsafe { (*self.bio_ptr()).bi_opf &= !flags };
    }

    /// Lets the bio write `span` in place of what the host gave, without a copy: the local write
    /// then goes out of the log, and the host's pages are not read again.
    ///
    /// The pages of `span` stay in memory until the bio has ended. That nobody changes them until
    /// then is up to the caller.
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the bio is not a write or `span` has another length.
    #[inline]
    pub fn set_payload(&mut self, span: PmemSpan<'_>) -> Result {
        if self.op() != Op::Write || span.len() != self.len_bytes() {
            return Err(EINVAL);
        }
        let payload = PayloadRef::new(&span);
        let bvec = span.bvec();
        let bio = self.bio_ptr();
        let head = self.head.as_ptr();
        // SAFETY: The clone is ours and not submitted, and so is its head. Pointing it elsewhere
        // is fine because
        // - a clone does not own its `bi_io_vec`: `__bio_clone()` borrows the original's, with
        //   `bi_max_vecs` 0, at which `bio_free()` frees none;
        // - the new vector lives in the per-bio data, which is freed with the clone, after the
        //   clone has ended; lower clones that borrow it end before that;
        // - the pages have a reference, `payload`, until the clone has ended;
        // - `clone_endio()`, accounting and requeueing use the original bio, which is untouched:
        //   there is nothing to restore;
        // - integrity and crypto contexts describe the host's pages, and the clone has none: the
        //   target type claims neither `DM_TARGET_PASSES_INTEGRITY` nor `_CRYPTO`;
        // - one vector has no gap in it, hence `bi_bvec_gap_bit`.
        unsafe {
            (*head).bvec = bvec;
            (*head).payload = Some(payload);
            (*bio).bi_io_vec = &raw mut (*head).bvec;
            (*bio).bi_bvec_gap_bit = 0;
            (*bio).bi_iter.bi_idx = 0;
            (*bio).bi_iter.bi_offset = 0;
            (*bio).bi_iter.bi_size = bvec.bv_len;
        }
        Ok(())
    }

    /// Submits a bio that `map` (or `end_io`) kept, to where [`HostBio::remap`] has directed it.
    /// It comes back through `end_io`.
    ///
    /// Context: process, may sleep (waits for requests, throttling).
    pub fn submit(self) {
        if !self.is_routed() {
            warn_once!("a host bio was submitted without having been remapped: it fails");
            return self.complete(BlkStatus::IOERR);
        }
        let bio = self.into_raw();
        // SAFETY: A clone that dm handed to the target, which gives it away here. The target has
        // `accounts_remapped_io`, so accounting starts here and only here.
        unsafe { bindings::dm_submit_bio_remap(bio, ptr::null_mut()) };
    }

    /// Ends the bio with `status`. The target's `end_io` is not called for it any more.
    ///
    /// A range lock that is still held is released, with a warning: see
    /// [`RangeLock`](crate::range_lock::RangeLock).
    ///
    /// Context: any. The host's completion runs inside.
    #[inline]
    pub fn complete(self, status: BlkStatus) {
        let bio = self.finish();
        // SAFETY: The clone is ours, and goes away with the call. If a lower device has ended it
        // before, that device's quality-of-service accounting is over and must not see it twice.
        unsafe {
            (*bio).bi_flags &= !SEEN_BY_QOS;
            (*bio).bi_status = status.into_raw();
            bindings::bio_endio(bio);
        }
    }

    /// Undoes what this crate has done to the clone, before dm frees it. The caller sees to it that
    /// it ends now.
    #[inline]
    pub(crate) fn finish(self) -> *mut bindings::bio {
        let head = self.head.as_ptr();
        if self.head().link.is_linked() {
            range_lock::release_forgotten::<T>(&self);
        }
        // SAFETY: The clone is ours.
        unsafe {
            (*head).finishing = true;
            (*head).payload = None;
        }
        self.into_raw()
    }

    /// Gives up the handle without ending the bio.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut bindings::bio {
        ManuallyDrop::new(self).bio_ptr()
    }

    /// Whether the bio was directed to a device of its target.
    #[inline]
    pub(crate) fn is_routed(&self) -> bool {
        self.head().routed
    }
}

impl<T> Drop for HostBio<T> {
    fn drop(&mut self) {
        warn_once!("a host bio was dropped: it fails");
        // INVARIANT: `self` is not used again.
        let bio = Self {
            head: self.head,
            _io: PhantomData,
        };
        bio.complete(BlkStatus::IOERR);
    }
}

/// A place for at most one [`HostBio`], which one side puts and another takes.
///
/// # Invariants
///
/// The pointer is null or what [`HostBio::into_head`] gave, and then the slot owns the clone.
pub struct BioSlot<T> {
    head: Atomic<*mut Head>,
    _io: PhantomData<HostBio<T>>,
}

// SAFETY: A slot passes host bios between threads, so they must be `Send`.
unsafe impl<T: Send> Send for BioSlot<T> {}
// SAFETY: As above; the pointer is only exchanged atomically.
unsafe impl<T: Send> Sync for BioSlot<T> {}

impl<T> BioSlot<T> {
    /// An empty slot.
    pub const fn new() -> Self {
        Self {
            head: Atomic::new(ptr::null_mut()),
            _io: PhantomData,
        }
    }

    /// Puts `bio` in. If there was one already, it is returned.
    ///
    /// Context: any. Fully ordered: what was done to the bio before is visible to who takes it.
    #[inline]
    pub fn put(&self, bio: HostBio<T>) -> Option<HostBio<T>> {
        let old = self.head.xchg(bio.into_head().as_ptr(), Full);
        // SAFETY: By the type invariant, and the exchange took it out.
        NonNull::new(old).map(|head| unsafe { HostBio::from_head(head) })
    }

    /// Takes what is in.
    ///
    /// Context: any.
    #[inline]
    pub fn take(&self) -> Option<HostBio<T>> {
        let old = self.head.xchg(ptr::null_mut(), Full);
        // SAFETY: By the type invariant, and the exchange took it out.
        NonNull::new(old).map(|head| unsafe { HostBio::from_head(head) })
    }
}

impl<T> Default for BioSlot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for BioSlot<T> {
    fn drop(&mut self) {
        if let Some(bio) = self.take() {
            bio.complete(BlkStatus::IOERR);
        }
    }
}

/// A queue of host bios, first in, first out. No allocation: the links are in the bios.
///
/// Dropping it completes what is in it with an I/O error.
///
/// # Invariants
///
/// `first` to `last` is a list through `queue_next`, ended by null, of clones that the queue owns;
/// both are null if it is empty.
pub struct BioQueue<T> {
    first: *mut Head,
    last: *mut Head,
    _io: PhantomData<HostBio<T>>,
}

// SAFETY: The queue owns what is in it.
unsafe impl<T: Send> Send for BioQueue<T> {}
// SAFETY: Nothing can be reached through a `&BioQueue`.
unsafe impl<T> Sync for BioQueue<T> {}

impl<T> BioQueue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
            _io: PhantomData,
        }
    }

    /// Whether nothing is queued.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Adds `bio` at the end. Context: any.
    #[inline]
    pub fn push(&mut self, bio: HostBio<T>) {
        let head = bio.into_head().as_ptr();
        // SAFETY: The clone was handed over by the caller, and those in the list are ours.
        unsafe {
            (*head).queue_next = ptr::null_mut();
            if self.last.is_null() {
                self.first = head;
            } else {
                (*self.last).queue_next = head;
            }
        }
        // INVARIANT: `head` is the new end of the list.
        self.last = head;
    }

    /// Takes the first. Context: any.
    #[inline]
    pub fn pop(&mut self) -> Option<HostBio<T>> {
        let head = NonNull::new(self.first)?;
        // SAFETY: The clones in the list are ours.
        self.first = unsafe { (*head.as_ptr()).queue_next };
        if self.first.is_null() {
            self.last = ptr::null_mut();
        }
        // SAFETY: It came in by `into_head` and has been taken out.
        Some(unsafe { HostBio::from_head(head) })
    }

    /// Moves all of `other` to the end. Context: any.
    #[inline]
    pub fn append(&mut self, other: &mut Self) {
        if other.is_empty() {
            return;
        }
        if self.last.is_null() {
            self.first = other.first;
        } else {
            // SAFETY: The clones in the list are ours.
            unsafe { (*self.last).queue_next = other.first };
        }
        // INVARIANT: The lists are joined, and `other` forgets what it had.
        self.last = other.last;
        other.first = ptr::null_mut();
        other.last = ptr::null_mut();
    }

    /// Completes all with `status`. Context: any.
    pub fn complete_all(&mut self, status: BlkStatus) {
        while let Some(bio) = self.pop() {
            bio.complete(status);
        }
    }
}

impl<T> Default for BioQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for BioQueue<T> {
    fn drop(&mut self) {
        self.complete_all(BlkStatus::IOERR);
    }
}
