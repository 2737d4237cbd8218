// SPDX-License-Identifier: GPL-2.0

//! Asynchronous I/O straight out of persistent memory, and bulk I/O that waits.
//!
//! Bios come from a set with a reserve, so that a submission never fails for lack of memory: it
//! waits for an earlier one to end.
//!
//! C header: [`include/linux/bio.h`](srctree/include/linux/bio.h)

use core::mem::{offset_of, size_of, ManuallyDrop};
use core::ptr::NonNull;

use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::atomic::ordering::{Acquire, Full, Relaxed};
use kernel::sync::atomic::Atomic;
use kernel::sync::{rcu, Arc};
use kernel::types::Opaque;

use crate::bindings;
use crate::bio::{BlkStatus, PayloadRef};
use crate::blkdev::BlockDevice;
use crate::event::Event;
use crate::iobuf::IoBuf;
use crate::log::warn_once;
use crate::new_event;
use crate::pmem::PmemSpan;

/// Bios that a pool keeps in reserve.
pub const RESERVED: u32 = 64;

/// Who is told that an I/O has ended.
pub trait IoDone: Send + Sync + 'static {
    /// The I/O that was submitted with `token` has ended.
    ///
    /// A device that another node has reserved fails writes and flushes with an error of their own:
    /// see [`is_reservation_conflict`](crate::pr::is_reservation_conflict).
    ///
    /// Context: any, also hard interrupt.
    fn done(&self, token: u64, result: Result);
}

/// A source of bios.
///
/// Dropping it waits for what is in flight.
pub struct IoPool(Pin<KBox<Inner>>);

#[pin_data(PinnedDrop)]
struct Inner {
    #[pin]
    set: Opaque<bindings::bio_set>,
    /// Bios that were submitted and whose `end_io` has not ended.
    in_flight: Atomic<i64>,
    #[pin]
    idle: Event,
}

// SAFETY: A bio set may be used from any thread.
unsafe impl Send for Inner {}
// SAFETY: As above.
unsafe impl Sync for Inner {}

#[pinned_drop]
impl PinnedDrop for Inner {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised by `bioset_init()`, and `IoPool::drop` has waited for all its bios.
        unsafe { bindings::bioset_exit(self.set.get()) };
    }
}

/// What stands before each bio of the set.
///
/// # Invariants
///
/// From submission to the end of the bio: `pool` is valid, `device` and `done` own a reference
/// each, and `call` is for `done`.
#[repr(C)]
struct Request {
    pool: NonNull<Inner>,
    device: ManuallyDrop<Arc<BlockDevice>>,
    done: *const c_void,
    call: unsafe fn(*const c_void, u64, Result),
    token: u64,
    payload: ManuallyDrop<Option<PayloadRef>>,
    /// The bio itself: the set allocates this much before it (`front_pad`).
    bio: bindings::bio,
}

impl IoPool {
    /// Makes a pool with [`RESERVED`] bios in reserve.
    ///
    /// Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        let inner = KBox::try_pin_init(
            try_pin_init!(Inner {
                set <- Opaque::try_ffi_init(|slot: *mut bindings::bio_set| {
                    // SAFETY: `slot` is valid for writes and pinned; all zeroes is what
                    // `bioset_init()` expects to find.
                    kernel::error::to_result(unsafe {
                        slot.write_bytes(0, 1);
                        bindings::bioset_init(
                            slot,
                            RESERVED,
                            offset_of!(Request, bio) as c_uint,
                            bindings::BIOSET_NEED_BVECS as c_int,
                        )
                    })
                }),
                in_flight: Atomic::new(0),
                idle <- new_event!("kapi::IoPool::idle"),
            }? Error),
            GFP_KERNEL,
        )?;
        Ok(Self(inner))
    }

    /// Writes `span` to `sector` of `device`; with `fua`, durably. `done` hears of it with `token`,
    /// perhaps before this returns.
    ///
    /// The memory of `span` stays there until then, and so do `device` and `done`. That nobody
    /// changes what is in the span, and that it is aligned as the device wants it, is up to the
    /// caller. A span of length 0 is done at once.
    ///
    /// Do not let the last reference on `done` or `device` go while something is in flight: it
    /// cannot be dropped where an I/O ends, and is leaked, with a warning. [`IoPool::drain`] first.
    ///
    /// Context: process, may sleep (for a bio in the reserve, for the device).
    pub fn write<D: IoDone>(
        &self,
        device: &Arc<BlockDevice>,
        sector: u64,
        span: &PmemSpan<'_>,
        fua: bool,
        token: u64,
        done: &Arc<D>,
    ) {
        let mut opf = bindings::req_op_REQ_OP_WRITE | bindings::KAPI_CONST_REQ_SYNC;
        if fua {
            opf |= bindings::KAPI_CONST_REQ_FUA;
        }
        if span.is_empty() {
            return done.done(token, Ok(()));
        }
        self.submit(device, opf, sector, Some(span), token, done);
    }

    /// Makes all writes to `device` that have ended durable. Otherwise as [`IoPool::write`].
    pub fn flush<D: IoDone>(&self, device: &Arc<BlockDevice>, token: u64, done: &Arc<D>) {
        let opf = bindings::req_op_REQ_OP_WRITE
            | bindings::KAPI_CONST_REQ_PREFLUSH
            | bindings::KAPI_CONST_REQ_SYNC;
        self.submit(device, opf, 0, None, token, done);
    }

    fn submit<D: IoDone>(
        &self,
        device: &Arc<BlockDevice>,
        opf: bindings::blk_opf_t,
        sector: u64,
        span: Option<&PmemSpan<'_>>,
        token: u64,
        done: &Arc<D>,
    ) {
        let inner: &Inner = &self.0;
        // SAFETY: The set is initialised. With `GFP_NOIO`, in process context, it waits rather
        // than fail.
        let bio = unsafe {
            bindings::bio_alloc_bioset(
                device.bdev_ptr(),
                1,
                opf,
                bindings::KAPI_CONST_GFP_NOIO,
                inner.set.get(),
            )
        };
        if bio.is_null() {
            return done.done(token, Err(ENOMEM));
        }
        inner.in_flight.fetch_add(1, Relaxed);
        let request = request_of(bio);
        // SAFETY: The set leaves room for the front of a `Request` before each bio, which is ours
        // and uninitialised, hence no assignment that would drop what was there.
        unsafe {
            // INVARIANT: The references are taken here and put in `end_io`.
            (&raw mut (*request).pool).write(NonNull::from(inner));
            (&raw mut (*request).device).write(ManuallyDrop::new(device.clone()));
            (&raw mut (*request).done).write(Arc::into_raw(done.clone()).cast());
            (&raw mut (*request).call).write(call::<D>);
            (&raw mut (*request).token).write(token);
            (&raw mut (*request).payload).write(ManuallyDrop::new(span.map(PayloadRef::new)));
            (*bio).bi_iter.bi_sector = sector;
            (*bio).bi_end_io = Some(end_io);
            if let Some(span) = span {
                let bvec = span.bvec();
                // The bio has room for one vector, and is empty.
                bindings::__bio_add_page(bio, bvec.bv_page, bvec.bv_len, bvec.bv_offset);
            }
            bindings::submit_bio(bio);
        }
    }

    /// Reads the first `len` bytes of `buf` from `sector` of `device`, and waits.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `len` is 0, not a multiple of the logical block size or more than `buf` has;
    /// `EIO` and what else the device answers.
    pub fn read_wait(
        &self,
        device: &BlockDevice,
        sector: u64,
        buf: &mut IoBuf,
        len: usize,
    ) -> Result {
        let mem = buf.as_mut_slice();
        // SAFETY: `mem` is a whole `IoBuf`, borrowed to be written to until the I/O is over.
        unsafe { self.io_wait(device, bindings::req_op_REQ_OP_READ, sector, mem, len) }
    }

    /// Writes the first `len` bytes of `buf` to `sector` of `device`, with `fua` durably, and
    /// waits.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// As for [`IoPool::read_wait`].
    pub fn write_wait(
        &self,
        device: &BlockDevice,
        sector: u64,
        buf: &IoBuf,
        len: usize,
        fua: bool,
    ) -> Result {
        let mut opf = bindings::req_op_REQ_OP_WRITE | bindings::KAPI_CONST_REQ_SYNC;
        if fua {
            opf |= bindings::KAPI_CONST_REQ_FUA;
        }
        // SAFETY: `buf` is borrowed until the I/O is over, which only reads from it.
        unsafe { self.io_wait(device, opf, sector, buf.as_slice(), len) }
    }

    /// # Safety
    ///
    /// `mem` is all of an [`IoBuf`], and may be written to if `opf` says read.
    unsafe fn io_wait(
        &self,
        device: &BlockDevice,
        opf: bindings::blk_opf_t,
        sector: u64,
        mem: *const [u8],
        len: usize,
    ) -> Result {
        let block = device.logical_block_size() as usize;
        if len == 0 || len > mem.len() || len.checked_rem(block) != Some(0) {
            return Err(EINVAL);
        }
        // SAFETY: The set is initialised, and waits rather than fail. The bio is ours until it is
        // put, and gets as many pages of a vmalloc area as it has room for. They stay there while
        // `submit_bio_wait()` runs.
        unsafe {
            let bio = bindings::bio_alloc_bioset(
                device.bdev_ptr(),
                len.div_ceil(PAGE_SIZE) as c_ushort,
                opf,
                bindings::KAPI_CONST_GFP_NOIO,
                self.0.set.get(),
            );
            if bio.is_null() {
                return Err(ENOMEM);
            }
            (*bio).bi_iter.bi_sector = sector;
            let all = bindings::bio_add_vmalloc(bio, mem.cast_mut().cast(), len as c_uint);
            let result = if all {
                bindings::submit_bio_wait(bio)
            } else {
                EINVAL.to_errno()
            };
            bindings::bio_put(bio);
            kernel::error::to_result(result)
        }
    }

    /// Waits until nothing is in flight. What others submit meanwhile may or may not be waited for.
    ///
    /// Context: process, sleeps.
    pub fn drain(&self) {
        // ORDERING: What the endings did comes before what follows this.
        while self.0.in_flight.load(Acquire) != 0 {
            self.0.idle.wait_unstoppable();
        }
    }
}

impl Drop for IoPool {
    fn drop(&mut self) {
        self.drain();
        // The last `end_io` may still be about to signal `idle`: it is in a read section of RCU.
        rcu::synchronize_rcu();
    }
}

#[inline]
fn request_of(bio: *mut bindings::bio) -> *mut Request {
    bio.wrapping_byte_sub(offset_of!(Request, bio)).cast()
}

// The set aligns the start of what it allocates as the kernel's allocator does, at least to this.
const _: () = assert!(offset_of!(Request, bio) % 8 == 0 && size_of::<Request>() % 8 == 0);

/// # Safety
///
/// `bio` was submitted by [`IoPool::submit`] and has ended.
unsafe extern "C" fn end_io(bio: *mut bindings::bio) {
    let request = request_of(bio);
    // SAFETY: The bio is ours again, with its request initialised; the `ManuallyDrop`s are taken
    // once, here.
    let (pool, device, done, call, token, payload, status) = unsafe {
        (
            (*request).pool,
            ManuallyDrop::take(&mut (*request).device),
            (*request).done,
            (*request).call,
            (*request).token,
            ManuallyDrop::take(&mut (*request).payload),
            BlkStatus::from_raw((*bio).bi_status),
        )
    };
    drop(payload);
    // SAFETY: Allocated by `submit`, with one reference.
    unsafe { bindings::bio_put(bio) };
    // SAFETY: `done` owns a reference and `call` is for its type.
    unsafe { call(done, token, status.to_result()) };
    put_in_end_io(device);
    let guard = rcu::read_lock();
    // SAFETY: The pool waits until `in_flight` is 0, and then for this read section.
    let pool = unsafe { pool.as_ref() };
    if pool.in_flight.fetch_sub(1, Full) == 1 {
        pool.idle.signal();
    }
    drop(guard);
}

/// # Safety
///
/// `done` owns a reference on a `D`.
unsafe fn call<D: IoDone>(done: *const c_void, token: u64, result: Result) {
    // SAFETY: By the contract.
    let done = unsafe { Arc::<D>::from_raw(done.cast()) };
    done.done(token, result);
    put_in_end_io(done);
}

/// Puts a reference where nothing can be dropped that might sleep. If it is the last one the object
/// is leaked: that is a bug of the driver, see [`IoPool::write`].
fn put_in_end_io<T>(arc: Arc<T>) {
    if let Some(last) = Arc::into_unique_or_drop(arc) {
        warn_once!("the last reference went while an I/O was in flight: it is leaked");
        core::mem::forget(last);
    }
}
