// SPDX-License-Identifier: GPL-2.0

//! What a sector holds. A write fills its sectors with its number, over and over, so that eight bytes
//! tell a sector, and a sector of two writes tells itself.

/// A raw CRC32C: no inversion before or after.
pub fn crc(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// The number of a write; 0: nothing, or zeroes.
pub type Tag = u64;

/// A sector that no write has written whole.
pub const GARBAGE: Tag = u64::MAX;

/// The data of a write.
pub fn pattern(tag: Tag, sectors: u32) -> Vec<u8> {
    tag.to_le_bytes().repeat(sectors as usize * SECTOR / 8)
}

/// The write whose sector this is.
pub fn tag_of(sector: &[u8]) -> Tag {
    let first = &sector[..8];
    if sector.chunks_exact(8).all(|w| w == first) {
        let mut word = [0; 8];
        word.copy_from_slice(first);
        u64::from_le_bytes(word)
    } else {
        GARBAGE
    }
}
