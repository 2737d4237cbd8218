// SPDX-License-Identifier: GPL-2.0

//! Buffers for bulk I/O.
//!
//! C header: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

/// The longest buffer, in bytes: as many pages as one bio can take.
pub const MAX_LEN: usize = 256 * PAGE_SIZE;

/// Memory that a block device can read to and write from, whatever alignment it needs.
///
/// # Invariants
///
/// `mem` was allocated by vmalloc, hence begins at a page, and is a multiple of the page size and
/// at most [`MAX_LEN`] long. Its length never changes.
pub struct IoBuf {
    mem: VVec<u8>,
}

impl IoBuf {
    /// Makes a buffer of `len` bytes, rounded up to whole pages, full of zeroes.
    ///
    /// Context: process, may sleep (allocates with `GFP_KERNEL`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for 0 and for more than [`MAX_LEN`]; `ENOMEM`.
    pub fn new(len: usize) -> Result<Self> {
        if len == 0 || len > MAX_LEN {
            return Err(EINVAL);
        }
        // INVARIANT: At most `MAX_LEN`, which is a multiple too.
        let len = len.next_multiple_of(PAGE_SIZE);
        Ok(Self {
            mem: VVec::zeroed(len, GFP_KERNEL)?,
        })
    }

    /// The length in bytes. Never 0.
    #[inline]
    #[expect(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.mem.len()
    }

    /// What is in it.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.mem
    }

    /// What is in it, to change it.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.mem
    }
}
