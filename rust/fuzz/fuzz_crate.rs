// SPDX-License-Identifier: GPL-2.0

//! What the fuzz targets do with their bytes.
//!
//! Checksums keep plain random bytes from every parser, so the bytes are instructions: they build what
//! an honest owner writes, then damage it. Damage comes in two kinds. What a medium or a network can do
//! leaves checksums as they are, and then nothing may be found that was never stored. A *forgery* makes
//! the checksums right again; then the parsers still have to be total, bounded, and keep to their space.
//!
//! - [`table`]: table lines
//! - [`log`]: superblocks, marks, records: the recovery scan over whole images
//! - [`frames`]: the two sides of the partner link, frame by frame
//! - [`ownership`]: ownership records and what is decided by them

#![forbid(unsafe_code)]

pub mod frames;
pub mod honest;
pub mod image;
pub mod input;
pub mod log;
pub mod ownership;
pub mod reader;
pub mod table;
pub mod tally;

/// A raw CRC32C: no inversion before or after.
pub fn crc(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}
