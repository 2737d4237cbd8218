// SPDX-License-Identifier: GPL-2.0

//! Persistent memory.
//!
//! A [`Pmem`] is a range of a DAX device, mapped for good in the kernel's direct map. Stores go past
//! the cache (`movnti`); [`Pmem::fence`] waits for them. What was stored before a fence survives the
//! loss of power after it, provided that the platform flushes its write queues (ADR), which is what
//! makes a DAX device a synchronous one.
//!
//! Nothing here makes a Rust reference to persistent memory: other processors, DMA and media errors
//! change it. It is copied in and out.
//!
//! C headers: [`include/linux/dax.h`](srctree/include/linux/dax.h),
//! [`include/linux/memremap.h`](srctree/include/linux/memremap.h)

use core::fmt;
use core::ptr::{self, NonNull};

use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

use crate::bindings;
use crate::bio::HostBio;
use crate::blkdev::{BlockDevice, Holder};
use crate::kernel_display;

/// CRC32C of `data`, continued from `seed`: the raw register, neither inverted before nor after, so
/// that pieces chain.
///
/// Context: any.
#[inline]
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: `data` is valid for reads of its length.
    unsafe { bindings::crc32c(seed, data.as_ptr().cast(), data.len()) }
}

/// Why a region cannot be used. Its text says what to do about it; it goes on after the name of the
/// device: `/dev/pmem0 has no DAX: …`.
#[derive(Debug)]
pub enum PmemError {
    /// The block device cannot be opened.
    Open(Error),
    /// The block device has no DAX.
    NoDax,
    /// The device's memory is not flushed by processor instructions alone (virtio-pmem).
    NotSynchronous,
    /// The device's memory is in several pieces, or has bad blocks: only so many bytes from the
    /// start of the region are in one.
    NotContiguous {
        /// Bytes that are contiguous.
        got: u64,
        /// Bytes that are needed.
        want: u64,
    },
    /// The driver gives no access.
    Access(Error),
    /// The region is not inside the device.
    Range {
        /// Where the region would begin, in bytes.
        offset: u64,
        /// How long it would be, in bytes.
        len: u64,
        /// How long the device is, in bytes.
        device: u64,
    },
    /// Offset or length is not a multiple of the page size.
    Misaligned {
        /// Where the region would begin, in bytes.
        offset: u64,
        /// How long it would be, in bytes.
        len: u64,
    },
    /// The memory has no page structures, so that no device can read from it.
    NoStructPages,
}

impl PmemError {
    /// The errno that fits best.
    pub fn to_error(&self) -> Error {
        match self {
            Self::Open(error) | Self::Access(error) => *error,
            Self::NoDax | Self::NotSynchronous | Self::NoStructPages => EOPNOTSUPP,
            Self::NotContiguous { .. } => EIO,
            Self::Range { .. } | Self::Misaligned { .. } => EINVAL,
        }
    }
}

impl From<PmemError> for Error {
    fn from(error: PmemError) -> Error {
        error.to_error()
    }
}

impl fmt::Display for PmemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => {
                write!(f, "cannot be opened (error {})", error.to_errno())?;
                if *error == EBUSY {
                    f.write_str(": it is in use by somebody else")?;
                }
                Ok(())
            }
            Self::NoDax => f.write_str(
                "has no DAX: make it with \
                 'ndctl create-namespace -f -e <namespace> -m fsdax --map=dev'",
            ),
            Self::NotSynchronous => f.write_str(
                "needs more than processor instructions to make stores durable: \
                 use an NVDIMM or 'memmap=' region, not virtio-pmem",
            ),
            Self::NotContiguous { got, want } => write!(
                f,
                "is contiguous for {got} bytes only, {want} are needed: use a whole namespace, and \
                 clear bad blocks with 'ndctl clear-errors <namespace>'",
            ),
            Self::Access(error) => write!(
                f,
                "gives no direct access (error {}): clear bad blocks with \
                 'ndctl clear-errors <namespace>'",
                error.to_errno(),
            ),
            Self::Range {
                offset,
                len,
                device,
            } => write!(
                f,
                "has {device} bytes: a region of {len} at {offset} does not fit",
            ),
            Self::Misaligned { offset, len } => write!(
                f,
                "must be used in multiples of {PAGE_SIZE} bytes: a region of {len} at {offset} \
                 is not one",
            ),
            Self::NoStructPages => f.write_str(
                "has no page structures: make it with \
                 'ndctl create-namespace -f -e <namespace> -m fsdax --map=dev'",
            ),
        }
    }
}

kernel_display!(PmemError);

/// A range of persistent memory, open.
///
/// # Invariants
///
/// - `base` to `base + len` is mapped in the kernel's direct map, persistent memory of one
///   `dev_pagemap`, on which `pgmap` is a reference: it stays mapped as long as that. `pfn` is the
///   number of the first page; the pages after it follow in order.
/// - `dax` is a reference on the DAX device, and `device` its block device, open.
pub struct Pmem {
    base: NonNull<u8>,
    len: usize,
    pfn: c_ulong,
    pgmap: NonNull<bindings::dev_pagemap>,
    dax: NonNull<bindings::dax_device>,
    device: BlockDevice,
    /// The processor has `crc32` (SSE4.2).
    has_crc32: bool,
}

// SAFETY: The memory may be accessed from any thread; see the module's documentation for why that
// is no data race.
unsafe impl Send for Pmem {}
// SAFETY: As above.
unsafe impl Sync for Pmem {}

/// A reference on a DAX device while a [`Pmem`] is being made.
struct DaxRef(NonNull<bindings::dax_device>);

impl Drop for DaxRef {
    fn drop(&mut self) {
        // SAFETY: Only made with a reference.
        unsafe { bindings::put_dax(self.0.as_ptr()) };
    }
}

/// A reference on a `dev_pagemap` while a [`Pmem`] is being made.
struct PgmapRef(NonNull<bindings::dev_pagemap>);

impl PgmapRef {
    fn of_page(pfn: c_ulong) -> Option<Self> {
        // SAFETY: Any number may be asked for.
        let pgmap = unsafe { bindings::get_dev_pagemap(pfn) };
        NonNull::new(pgmap).map(Self)
    }
}

impl Drop for PgmapRef {
    fn drop(&mut self) {
        // SAFETY: Only made with a reference.
        unsafe { bindings::kapi_pgmap_put(self.0.as_ptr()) };
    }
}

impl Pmem {
    /// Opens `len` bytes (0: all the rest) from byte `offset` of the block device at `path`, which
    /// must be DAX capable. The device is claimed for `holder`; with the same holder it may be
    /// opened several times, for a region each. That regions do not overlap is up to the caller.
    ///
    /// The memory stays mapped as long as the result, or a bio that reads from it, is there: if the
    /// device is unbound from its driver, that waits.
    ///
    /// Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// See [`PmemError`].
    pub fn open(
        path: &str,
        offset: u64,
        len: u64,
        holder: &'static Holder,
    ) -> Result<Self, PmemError> {
        let device = BlockDevice::open(path, Some(holder), true).map_err(PmemError::Open)?;
        let size = device.sectors() << crate::SECTOR_SHIFT;
        let len = match len {
            0 => size.saturating_sub(offset),
            len => len,
        };
        let inside = offset.checked_add(len).is_some_and(|end| end <= size);
        if !inside || len == 0 {
            return Err(PmemError::Range {
                offset,
                len,
                device: size,
            });
        }
        let page = PAGE_SIZE as u64;
        if offset % page != 0 || len % page != 0 {
            return Err(PmemError::Misaligned { offset, len });
        }

        let mut start = 0;
        // SAFETY: The device is open. Without a holder: the block device has one already, and
        // several regions of the same device may be open.
        let dax = unsafe {
            bindings::fs_dax_get_by_bdev(
                device.bdev_ptr(),
                &mut start,
                ptr::null_mut(),
                ptr::null(),
            )
        };
        let dax = DaxRef(NonNull::new(dax).ok_or(PmemError::NoDax)?);
        // SAFETY: We have a reference.
        if !unsafe { bindings::dax_synchronous(dax.0.as_ptr()) } {
            return Err(PmemError::NotSynchronous);
        }

        let want = len / page;
        let (base, pfn, got) = direct_access(&dax, start.saturating_add(offset) / page, want)
            .map_err(PmemError::Access)?;
        if got < want {
            return Err(PmemError::NotContiguous {
                got: got * page,
                want: len,
            });
        }
        let base = NonNull::new(base.cast()).ok_or(PmemError::NoStructPages)?;
        let last = pfn.wrapping_add((want - 1) as c_ulong);
        let (Some(pgmap), Some(end)) = (PgmapRef::of_page(pfn), PgmapRef::of_page(last)) else {
            return Err(PmemError::NoStructPages);
        };
        // SAFETY: Any number may be asked for.
        let first_page = unsafe { bindings::kapi_pfn_to_page(pfn) };
        if pgmap.0 != end.0 || first_page.is_null() {
            return Err(PmemError::NoStructPages);
        }
        // INVARIANT: dax has given the address and the first page of a contiguous range; the page
        // map of both its ends is the one on which we have a reference.
        Ok(Self {
            base,
            len: len as usize,
            pfn,
            pgmap: core::mem::ManuallyDrop::new(pgmap).0,
            dax: core::mem::ManuallyDrop::new(dax).0,
            device,
            // SAFETY: Reads a flag.
            has_crc32: unsafe { bindings::kapi_cpu_has_crc32() },
        })
    }

    /// The length in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The block device behind it.
    pub fn device(&self) -> &BlockDevice {
        &self.device
    }

    /// The address of `off`, if `len` bytes from there on are inside.
    #[inline]
    fn at(&self, off: usize, len: usize) -> Result<*mut u8> {
        match off.checked_add(len) {
            // SAFETY: Inside, so the sum does not leave the mapping.
            Some(end) if end <= self.len => Ok(unsafe { self.base.as_ptr().add(off) }),
            _ => Err(ERANGE),
        }
    }

    /// Stores `data` at `off`, past the cache. Durable after [`Pmem::fence`].
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// `ERANGE`.
    #[inline]
    pub fn write(&self, off: usize, data: &[u8]) -> Result {
        let dst = self.at(off, data.len())?;
        // SAFETY: `dst` is valid for writes of as many bytes; `data` is elsewhere.
        unsafe { bindings::kapi_memcpy_flushcache(dst.cast(), data.as_ptr().cast(), data.len()) };
        Ok(())
    }

    /// Stores `data` at `off`, past the cache, and returns its CRC32C continued from `seed`. One
    /// pass. Durable after [`Pmem::fence`].
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// `ERANGE`.
    #[inline]
    pub fn write_crc(&self, off: usize, data: &[u8], seed: u32) -> Result<u32> {
        let dst = self.at(off, data.len())?;
        // SAFETY: `dst` is valid for writes and `data` for reads of as many bytes.
        Ok(unsafe { store_crc(self.has_crc32, dst, data.as_ptr(), data.len(), seed) })
    }

    /// Stores what `bio` is to write at `off`, past the cache, and returns its CRC32C continued
    /// from `seed`. Durable after [`Pmem::fence`].
    ///
    /// One pass: each word is loaded once, into a register, from which it goes both into the
    /// checksum and to the memory. The checksum is that of what was stored even if the host changes
    /// its pages meanwhile.
    ///
    /// Must be called before the bio is submitted (a bio that was has nothing left to iterate).
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// `ERANGE`; `EINVAL` if the bio carries no data, or not as many bytes as it should.
    pub fn write_from_bio<T>(&self, off: usize, bio: &HostBio<T>, seed: u32) -> Result<u32> {
        let len = bio.len_bytes();
        let mut dst = self.at(off, len)?;
        if bio.op() != crate::bio::Op::Write {
            return Err(EINVAL);
        }
        let raw = bio.bio_ptr();
        // SAFETY: The clone is owned by `bio`.
        let mut iter = unsafe { (*raw).bi_iter };
        if iter.bi_size as usize != len {
            return Err(EINVAL);
        }
        let mut crc = seed;
        loop {
            let mut piece = 0;
            // SAFETY: The clone is owned by `bio` and `iter` is at one of its pieces, or the end.
            let src = unsafe { bindings::kapi_bio_map_piece(raw, &mut iter, &mut piece) };
            if src.is_null() {
                return Ok(crc);
            }
            // SAFETY: The pieces add up to `bi_size`, which is `len`: `dst` has room for this one.
            // The source is mapped until it is unmapped.
            unsafe {
                crc = store_crc(self.has_crc32, dst, src.cast_const().cast(), piece, crc);
                bindings::kapi_unmap_piece(src);
                dst = dst.add(piece);
            }
        }
    }

    /// Waits until all stores of this processor so far are durable.
    ///
    /// Context: any.
    #[inline]
    pub fn fence(&self) {
        // SAFETY: A barrier.
        unsafe { bindings::kapi_pmem_wmb() };
    }

    /// Copies from `off` to `buf`. Survives bad memory.
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// `ERANGE`; `EIO` if the memory has an error there (then `buf` holds anything).
    #[inline]
    pub fn read(&self, off: usize, buf: &mut [u8]) -> Result {
        let src = self.at(off, buf.len())?;
        let len = c_uint::try_from(buf.len()).map_err(|_| ERANGE)?;
        // SAFETY: `src` is valid for reads and `buf` for writes of as many bytes.
        let left = unsafe {
            bindings::copy_mc_to_kernel(buf.as_mut_ptr().cast(), src.cast_const().cast(), len)
        };
        if left == 0 {
            Ok(())
        } else {
            Err(EIO)
        }
    }

    /// The CRC32C of `len` bytes at `off`, continued from `seed`. Survives bad memory.
    ///
    /// Context: any. Uses 256 bytes of stack.
    ///
    /// # Errors
    ///
    /// `ERANGE`; `EIO` if the memory has an error there.
    pub fn crc32c(&self, off: usize, len: usize, seed: u32) -> Result<u32> {
        self.at(off, len)?;
        let mut bounce = [0; BOUNCE];
        let (mut crc, mut at, mut left) = (seed, off, len);
        while left > 0 {
            let n = left.min(BOUNCE);
            let piece = bounce.get_mut(..n).ok_or(ERANGE)?;
            self.read(at, piece)?;
            crc = crc32c(crc, piece);
            at = at.wrapping_add(n);
            left = left.wrapping_sub(n);
        }
        Ok(crc)
    }

    /// Stores zeroes, past the cache. Durable after [`Pmem::fence`].
    ///
    /// Context: any; takes its time.
    ///
    /// # Errors
    ///
    /// `ERANGE`.
    pub fn zero(&self, off: usize, len: usize) -> Result {
        let mut dst = self.at(off, len)?;
        let mut left = len;
        while left > 0 {
            let n = left.min(PAGE_SIZE);
            // SAFETY: `dst` is valid for writes of `left` bytes, and the zero page is one long.
            unsafe {
                bindings::kapi_memcpy_flushcache(dst.cast(), bindings::kapi_zero_page(), n);
                dst = dst.add(n);
            }
            left = left.wrapping_sub(n);
        }
        Ok(())
    }

    /// The `len` bytes at `off`, as something to be written from.
    ///
    /// Context: any. Costs a comparison.
    ///
    /// # Errors
    ///
    /// `ERANGE`, also for more than 1 GiB.
    #[inline]
    pub fn span(&self, off: usize, len: usize) -> Result<PmemSpan<'_>> {
        self.at(off, len)?;
        if len > 1 << 30 {
            return Err(ERANGE);
        }
        // INVARIANT: Checked above.
        Ok(PmemSpan {
            pmem: self,
            off,
            len,
        })
    }
}

impl Drop for Pmem {
    fn drop(&mut self) {
        // SAFETY: By the type invariant both are references of ours. Nothing can access the memory
        // through `self` any more; bios that still read from it have references of their own.
        unsafe {
            bindings::kapi_pgmap_put(self.pgmap.as_ptr());
            bindings::put_dax(self.dax.as_ptr());
        }
    }
}

/// Part of a [`Pmem`], to be written from.
///
/// # Invariants
///
/// `off + len` is inside `pmem`; `len` fits in 31 bits.
#[derive(Clone, Copy)]
pub struct PmemSpan<'a> {
    pmem: &'a Pmem,
    off: usize,
    len: usize,
}

impl<'a> PmemSpan<'a> {
    /// The length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it begins in its [`Pmem`], in bytes.
    #[inline]
    pub fn offset(&self) -> usize {
        self.off
    }

    /// The [`Pmem`] that it is a part of.
    #[inline]
    pub fn pmem(&self) -> &'a Pmem {
        self.pmem
    }

    #[inline]
    pub(crate) fn pgmap(&self) -> NonNull<bindings::dev_pagemap> {
        self.pmem.pgmap
    }

    /// The address, for a copy while the [`Pmem`] is borrowed.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *const u8 {
        // SAFETY: Inside, by the type invariant.
        unsafe { self.pmem.base.as_ptr().add(self.off) }
    }

    /// One vector over the pages, which follow each other.
    #[inline]
    pub(crate) fn bvec(&self) -> bindings::bio_vec {
        // A page of `pmem`, so this does not wrap.
        let pfn = self
            .pmem
            .pfn
            .wrapping_add((self.off / PAGE_SIZE) as c_ulong);
        bindings::bio_vec {
            // SAFETY: Any number may be asked for; this one has a page, by the invariant of
            // `Pmem`.
            bv_page: unsafe { bindings::kapi_pfn_to_page(pfn) },
            bv_len: self.len as u32,
            bv_offset: (self.off % PAGE_SIZE) as u32,
        }
    }
}

/// Address, number of the first page, and number of pages that are contiguous from there.
fn direct_access(dax: &DaxRef, page: u64, want: u64) -> Result<(*mut c_void, c_ulong, u64)> {
    let mut base = ptr::null_mut();
    let mut pfn = 0;
    // SAFETY: We have a reference on the device; the read section keeps it alive during the call,
    // and the variables take the results.
    let got = unsafe {
        let section = bindings::dax_read_lock();
        let got = bindings::dax_direct_access(
            dax.0.as_ptr(),
            page as usize,
            want as c_long,
            bindings::dax_access_mode_DAX_ACCESS,
            &mut base,
            &mut pfn,
        );
        bindings::dax_read_unlock(section);
        got
    };
    if got < 0 {
        return Err(Error::from_errno(got as c_int));
    }
    Ok((base, pfn, got as u64))
}

/// Bytes that are copied at once where the fast way cannot be taken.
const BOUNCE: usize = 256;

/// Copies `len` bytes past the cache and returns their CRC32C, continued from `crc`. Each byte is
/// loaded once.
///
/// # Safety
///
/// `dst` is valid for writes and `src` for reads of `len` bytes, and they do not overlap. Others
/// may change the source meanwhile.
unsafe fn store_crc(fast: bool, dst: *mut u8, src: *const u8, len: usize, crc: u32) -> u32 {
    if !fast {
        // SAFETY: By the contract.
        return unsafe { store_crc_bounce(dst, src, len, crc) };
    }
    // Only words that are aligned at the destination go the fast way.
    let head = dst.align_offset(8).min(len);
    let words = len.wrapping_sub(head) / 8;
    let tail = len.wrapping_sub(head) % 8;
    // SAFETY: By the contract; the three parts follow each other. The processor has `crc32`.
    unsafe {
        let mut crc = crc;
        if head > 0 {
            crc = store_crc_bounce(dst, src, head, crc);
        }
        crc = store_crc_words(dst.add(head).cast(), src.add(head), words, crc);
        if tail > 0 {
            let done = len.wrapping_sub(tail);
            crc = store_crc_bounce(dst.add(done), src.add(done), tail, crc);
        }
        crc
    }
}

/// As [`store_crc`], through the stack.
///
/// # Safety
///
/// As for [`store_crc`].
unsafe fn store_crc_bounce(dst: *mut u8, src: *const u8, len: usize, crc: u32) -> u32 {
    let mut bounce = [0u8; BOUNCE];
    let (mut crc, mut done) = (crc, 0);
    while done < len {
        // No arithmetic here wraps: `done` grows up to `len`.
        let n = len.wrapping_sub(done).min(BOUNCE);
        // SAFETY: By the contract; `n` is at most the length of `bounce`. The copy out of the
        // source is made by C, once.
        unsafe {
            bindings::memcpy(bounce.as_mut_ptr().cast(), src.add(done).cast(), n);
            crc = bindings::crc32c(crc, bounce.as_ptr().cast(), n);
            bindings::kapi_memcpy_flushcache(dst.add(done).cast(), bounce.as_ptr().cast(), n);
        }
        done = done.wrapping_add(n);
    }
    crc
}

/// As [`store_crc`], for whole words.
///
/// # Safety
///
/// As for [`store_crc`], for `words * 8` bytes; `dst` is aligned. The processor has `crc32`.
#[cfg(CONFIG_X86_64)]
#[inline]
unsafe fn store_crc_words(dst: *mut u64, src: *const u8, words: usize, crc: u32) -> u32 {
    // A cache line at a time, then the rest word by word. The index runs up to 0 from below, so
    // that one register counts and addresses.
    let lines = words & !7;
    let rest = words - lines;
    let mut crc = u64::from(crc);
    // SAFETY: Reads and writes only what the contract allows. No stack, no flags kept.
    unsafe {
        core::arch::asm!(
            "test {i}, {i}",
            "jz 3f",
            "2:",
            "mov {a}, [{src} + {i}]",
            "mov {b}, [{src} + {i} + 8]",
            "mov {c}, [{src} + {i} + 16]",
            "mov {d}, [{src} + {i} + 24]",
            "crc32 {crc}, {a}",
            "movnti [{dst} + {i}], {a}",
            "crc32 {crc}, {b}",
            "movnti [{dst} + {i} + 8], {b}",
            "crc32 {crc}, {c}",
            "movnti [{dst} + {i} + 16], {c}",
            "crc32 {crc}, {d}",
            "movnti [{dst} + {i} + 24], {d}",
            "mov {a}, [{src} + {i} + 32]",
            "mov {b}, [{src} + {i} + 40]",
            "mov {c}, [{src} + {i} + 48]",
            "mov {d}, [{src} + {i} + 56]",
            "crc32 {crc}, {a}",
            "movnti [{dst} + {i} + 32], {a}",
            "crc32 {crc}, {b}",
            "movnti [{dst} + {i} + 40], {b}",
            "crc32 {crc}, {c}",
            "movnti [{dst} + {i} + 48], {c}",
            "crc32 {crc}, {d}",
            "movnti [{dst} + {i} + 56], {d}",
            "add {i}, 64",
            "jnz 2b",
            "3:",
            "test {rest}, {rest}",
            "jz 5f",
            "4:",
            "mov {a}, [{src} + {i}]",
            "crc32 {crc}, {a}",
            "movnti [{dst} + {i}], {a}",
            "add {i}, 8",
            "dec {rest}",
            "jnz 4b",
            "5:",
            i = inout(reg) (lines * 8).wrapping_neg() => _,
            rest = inout(reg) rest => _,
            src = in(reg) src.wrapping_add(lines * 8),
            dst = in(reg) dst.wrapping_add(lines),
            crc = inout(reg) crc,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            options(nostack),
        );
    }
    // The instruction leaves the upper half 0.
    crc as u32
}

/// As [`store_crc`], for whole words.
///
/// # Safety
///
/// As for [`store_crc`], for `words * 8` bytes.
#[cfg(not(CONFIG_X86_64))]
unsafe fn store_crc_words(dst: *mut u64, src: *const u8, words: usize, crc: u32) -> u32 {
    // SAFETY: By the contract.
    unsafe { store_crc_bounce(dst.cast(), src, words.wrapping_mul(8), crc) }
}
