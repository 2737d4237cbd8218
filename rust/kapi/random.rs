// SPDX-License-Identifier: GPL-2.0

//! Random numbers and UUIDs.
//!
//! C headers: [`include/linux/random.h`](srctree/include/linux/random.h),
//! [`include/linux/uuid.h`](srctree/include/linux/uuid.h)

use crate::bindings;

/// Fills `buf` with cryptographically strong random bytes.
///
/// Context: any.
pub fn random_bytes(buf: &mut [u8]) {
    // SAFETY: `buf` is valid for writes of its length.
    unsafe { bindings::get_random_bytes(buf.as_mut_ptr().cast(), buf.len()) };
}

/// A random `u64`.
///
/// Context: any.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random_bytes(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A new random UUID (version 4 of RFC 9562), big-endian as it is printed.
///
/// Context: any.
pub fn new_uuid() -> [u8; 16] {
    let mut uuid = [0; 16];
    random_bytes(&mut uuid);
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    uuid
}
