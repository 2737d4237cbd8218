// SPDX-License-Identifier: GPL-2.0

//! Block devices, opened by the kernel itself.
//!
//! The synchronous helpers here are for metadata: they go through a bounce page and wait. Data
//! goes by [`HostBio::remap`](crate::bio::HostBio::remap) and [`iopool`](crate::iopool).
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use kernel::page::{Page, PAGE_SIZE};
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::atomic::{Atomic, Relaxed};

use crate::bindings;
use crate::dm::{DmDev, TargetId};
use crate::noio::NoIo;
use crate::{SECTOR_SHIFT, SECTOR_SIZE};

/// Says who has a device to itself: the address of a `static`.
///
/// Who opens a device again with the same holder gets it.
pub struct Holder(u8);

impl Holder {
    /// A new holder, to be put in a `static`.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        // Not of size 0: each static must have an address of its own.
        Self(0)
    }

    pub(crate) fn as_ptr(&'static self) -> *mut c_void {
        ptr::from_ref(&self.0).cast_mut().cast()
    }
}

/// An open block device. To be dropped in process context.
///
/// # Invariants
///
/// `file` is a block device's file, with a reference of our own; without a `target` we opened it
/// ourselves. `bdev` is its device, valid as long as the file.
pub struct BlockDevice {
    file: NonNull<bindings::file>,
    bdev: NonNull<bindings::block_device>,
    /// The number of the target that got the device from dm, or of the one that has followed it; 0: it
    /// is not dm's.
    target: Atomic<u64>,
}

// SAFETY: A block device may be used from any thread.
unsafe impl Send for BlockDevice {}
// SAFETY: As above.
unsafe impl Sync for BlockDevice {}

impl BlockDevice {
    /// Opens the block device at `path`, as the current task sees the file system; for reading,
    /// and for writing if `write`. With `exclusive`, nobody but the same holder can have it so.
    ///
    /// A kernel thread sees paths as the init process does.
    ///
    /// Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTBLK`, `ENXIO`: there is no such device. `EBUSY`: somebody else has it.
    /// `EACCES`, `EROFS`: not for writing. `ENOMEM`; `EINVAL` if `path` contains a NUL byte.
    pub fn open(path: &str, exclusive: Option<&'static Holder>, write: bool) -> Result<Self> {
        let path = CString::try_from_fmt(fmt!("{path}"))?;
        let mut mode = bindings::KAPI_CONST_BLK_OPEN_READ;
        if write {
            mode |= bindings::KAPI_CONST_BLK_OPEN_WRITE;
        }
        let holder = exclusive.map_or(ptr::null_mut(), Holder::as_ptr);
        // SAFETY: `path` is a string; a holder lives for ever and may be null.
        let file = kernel::error::from_err_ptr(unsafe {
            bindings::kapi_bdev_open(path.as_char_ptr(), mode, holder)
        })?;
        // SAFETY: An open file of a block device.
        unsafe { Self::from_file(file, None) }
    }

    /// Another view of a device that dm has opened for a target.
    ///
    /// Context: any.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn from_dm(dev: &DmDev) -> Result<Self> {
        // SAFETY: `dev` holds a reference on the file, which is one of a block device.
        unsafe {
            let file = bindings::get_file(dev.file.as_ptr());
            Self::from_file(file, Some(dev.target()))
        }
    }

    /// # Safety
    ///
    /// `file` is a block device's, with a reference that the result takes over; of `target`'s list
    /// if there is one.
    unsafe fn from_file(file: *mut bindings::file, target: Option<TargetId>) -> Result<Self> {
        // SAFETY: By the contract.
        let bdev = unsafe { bindings::file_bdev(file) };
        match (NonNull::new(file), NonNull::new(bdev)) {
            // INVARIANT: By the contract.
            (Some(file), Some(bdev)) => Ok(Self {
                file,
                bdev,
                target: Atomic::new(target.map_or(0, TargetId::number)),
            }),
            _ => Err(ENXIO),
        }
    }

    pub(crate) fn bdev_ptr(&self) -> *mut bindings::block_device {
        self.bdev.as_ptr()
    }

    /// Whether `target` got the device from dm.
    #[inline]
    pub(crate) fn is_of_target(&self, target: TargetId) -> bool {
        self.target.load(Relaxed) == target.number()
    }

    /// Another table has taken the place of the one whose target got this device from dm; its own
    /// target got it as `newer`. From here on it takes that one's bios, and none of the old target's:
    /// there is none left. Answers whether both are the same device.
    ///
    /// Context: any.
    pub fn follow(&self, newer: &BlockDevice) -> bool {
        let same = self.bdev == newer.bdev;
        if same {
            self.target.store(newer.target.load(Relaxed), Relaxed);
        }
        same
    }

    /// The length in sectors. Context: any.
    pub fn sectors(&self) -> u64 {
        // SAFETY: The device is open.
        unsafe { bindings::kapi_bdev_nr_sectors(self.bdev_ptr()) }
    }

    /// The logical block size in bytes: the unit of all I/O. Context: any.
    pub fn logical_block_size(&self) -> u32 {
        // SAFETY: The device is open.
        unsafe { bindings::kapi_bdev_logical_block_size(self.bdev_ptr()) }
    }

    /// The alignment that addresses in memory need, in bytes, minus one. Context: any.
    pub fn dma_alignment_mask(&self) -> u32 {
        // SAFETY: The device is open.
        unsafe { bindings::kapi_bdev_dma_alignment(self.bdev_ptr()) }
    }

    /// Whether completed writes may be lost until a flush. Context: any.
    pub fn has_volatile_cache(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::kapi_bdev_write_cache(self.bdev_ptr()) }
    }

    /// Whether the device can write through its cache; if not, the block layer flushes after a
    /// write with FUA. Context: any.
    pub fn fua(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::kapi_bdev_fua(self.bdev_ptr()) }
    }

    /// Whether it is a zoned device. Context: any.
    pub fn is_zoned(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::kapi_bdev_is_zoned(self.bdev_ptr()) }
    }

    /// Whether the device was removed: I/O fails, and will. Context: any.
    pub fn is_dead(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::kapi_bdev_dead(self.bdev_ptr()) }
    }

    /// The device's number as `dev_t` has it in the kernel: major << 20 | minor. Context: any.
    pub fn dev_t(&self) -> u32 {
        // SAFETY: The device is open; the number does not change.
        unsafe { (*self.bdev_ptr()).bd_dev }
    }

    /// Writes the kernel's name of the device (`sda1`) to `buf` and returns it, cut off if `buf`
    /// is too short. 32 bytes always do. Context: any.
    pub fn name<'a>(&self, buf: &'a mut [u8]) -> &'a str {
        // SAFETY: The device is open; `buf` is valid for writes of its length.
        let n = unsafe {
            bindings::kapi_bdev_name(self.bdev_ptr(), buf.as_mut_ptr().cast(), buf.len())
        };
        let name = buf.get(..usize::try_from(n).unwrap_or(0)).unwrap_or(&[]);
        core::str::from_utf8(name).unwrap_or("?")
    }

    /// Makes all completed writes durable.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// `EIO` and what else the device answers.
    pub fn flush(&self) -> Result {
        // SAFETY: The device is open.
        kernel::error::to_result(unsafe { bindings::blkdev_issue_flush(self.bdev_ptr()) })
    }

    /// Writes zeroes, by the device's own means if it has any; the range stays allocated or not,
    /// as the device likes. Allocates bios with `GFP_NOIO`.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the range is not aligned to logical blocks; `EIO` and what else the device
    /// answers.
    pub fn zeroout(&self, sector: u64, sectors: u64) -> Result {
        // SAFETY: The device is open; the block layer checks the range.
        kernel::error::to_result(unsafe {
            bindings::blkdev_issue_zeroout(
                self.bdev_ptr(),
                sector,
                sectors,
                bindings::KAPI_CONST_GFP_NOIO,
                0,
            )
        })
    }

    /// The longest discard in sectors; 0 if the device has none. Context: any.
    pub fn max_discard_sectors(&self) -> u32 {
        // SAFETY: The device is open.
        unsafe { bindings::kapi_bdev_max_discard_sectors(self.bdev_ptr()) }
    }

    /// Discards a range: its contents are undefined afterwards. Allocates bios with `GFP_NOIO`.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if the device has no discard; `EINVAL` if the range is not aligned to logical
    /// blocks; `EIO` and what else the device answers.
    pub fn discard(&self, sector: u64, sectors: u64) -> Result {
        // SAFETY: The device is open; the block layer checks the range.
        kernel::error::to_result(unsafe {
            bindings::blkdev_issue_discard(
                self.bdev_ptr(),
                sector,
                sectors,
                bindings::KAPI_CONST_GFP_NOIO,
            )
        })
    }

    /// Reads whole logical blocks from `sector` on.
    ///
    /// Context: process, sleeps. Allocates one page.
    ///
    /// # Errors
    ///
    /// `EINVAL` if not aligned to logical blocks; `EIO` and what else the device answers, also past
    /// the end; `ENOMEM`.
    pub fn read(&self, sector: u64, buf: &mut [u8]) -> Result {
        self.check_aligned(sector, buf.len())?;
        let _noio = NoIo::enter();
        let page = Page::alloc_page(GFP_KERNEL)?;
        let mut at = sector;
        for chunk in buf.chunks_mut(PAGE_SIZE) {
            self.page_io(bindings::req_op_REQ_OP_READ, at, &page, chunk.len())?;
            // SAFETY: `chunk` is valid for writes; the page is ours and no I/O on it is going on.
            unsafe { page.read_raw(chunk.as_mut_ptr(), 0, chunk.len()) }?;
            // Checked above not to leave the device.
            at = at.wrapping_add((chunk.len() / SECTOR_SIZE) as u64);
        }
        Ok(())
    }

    /// Writes whole logical blocks from `sector` on. Durable after [`BlockDevice::flush`].
    ///
    /// Context: process, sleeps. Allocates one page.
    ///
    /// # Errors
    ///
    /// As for [`BlockDevice::read`].
    pub fn write(&self, sector: u64, buf: &[u8]) -> Result {
        self.check_aligned(sector, buf.len())?;
        let _noio = NoIo::enter();
        let page = Page::alloc_page(GFP_KERNEL)?;
        let mut at = sector;
        for chunk in buf.chunks(PAGE_SIZE) {
            // SAFETY: `chunk` is valid for reads; the page is ours and no I/O on it is going on.
            unsafe { page.write_raw(chunk.as_ptr(), 0, chunk.len()) }?;
            let opf = bindings::req_op_REQ_OP_WRITE | bindings::KAPI_CONST_REQ_SYNC;
            self.page_io(opf, at, &page, chunk.len())?;
            // Checked above not to leave the device.
            at = at.wrapping_add((chunk.len() / SECTOR_SIZE) as u64);
        }
        Ok(())
    }

    fn check_aligned(&self, sector: u64, len: usize) -> Result {
        let block = u64::from(self.logical_block_size());
        let bytes = len as u64;
        let start = sector.checked_mul(SECTOR_SIZE as u64).ok_or(EINVAL)?;
        let end = start.checked_add(bytes).ok_or(EINVAL)?;
        if block == 0 || start % block != 0 || bytes % block != 0 {
            return Err(EINVAL);
        }
        if end >> SECTOR_SHIFT > self.sectors() {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Reads or writes the first `len` bytes of `page`, and waits.
    fn page_io(&self, opf: bindings::blk_opf_t, sector: u64, page: &Page, len: usize) -> Result {
        let len = u32::try_from(len)?;
        if len as usize > PAGE_SIZE {
            return Err(EINVAL);
        }
        let mut bio = MaybeUninit::<bindings::bio>::uninit();
        let mut bvec = MaybeUninit::<bindings::bio_vec>::uninit();
        let bio = bio.as_mut_ptr();
        // SAFETY: The bio and its vector live until `submit_bio_wait()` has returned, when the
        // I/O is over. The page has room for `len` bytes, and nobody else uses it.
        unsafe {
            bindings::bio_init(bio, self.bdev_ptr(), bvec.as_mut_ptr(), 1, opf);
            (*bio).bi_iter.bi_sector = sector;
            bindings::__bio_add_page(bio, page.as_ptr(), len, 0);
            let result = bindings::submit_bio_wait(bio);
            bindings::bio_uninit(bio);
            kernel::error::to_result(result)
        }
    }
}

impl Drop for BlockDevice {
    fn drop(&mut self) {
        if self.target.load(Relaxed) == 0 {
            // SAFETY: We have opened the file: this ends the claim and puts it. Process context.
            unsafe { bindings::bdev_fput(self.file.as_ptr()) };
        } else {
            // SAFETY: A reference beside that of dm.
            unsafe { bindings::fput(self.file.as_ptr()) };
        }
    }
}
