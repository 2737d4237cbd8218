// SPDX-License-Identifier: GPL-2.0

//! The writes of the load, as `scripts/images/client.c` makes them: what a write does follows from its
//! thread and number, and so does what a sector of it holds.

/// Sectors that the load writes to.
pub const REGION: usize = 2048;
/// Bytes of a sector.
pub const SECTOR: usize = 512;

const LENGTHS: [u16; 16] = [1, 1, 2, 3, 4, 8, 8, 8, 8, 8, 16, 16, 24, 32, 64, 128];
const MAGIC: u64 = 0x2165_6c70_6963_6e69;

/// What a write does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Its first sector.
    pub first: usize,
    /// How many.
    pub sectors: usize,
    /// Zeroes.
    pub zero: bool,
}

/// What stands in a sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// Zeroes.
    Zero,
    /// This sector of this write.
    Of {
        /// The write.
        id: u64,
        /// Which of its sectors.
        index: usize,
    },
    /// Bytes that nobody ever wrote together.
    Garbage,
}

/// 64 bits that follow from the write (splitmix64).
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What the write does.
pub fn plan(id: u64) -> Plan {
    let bits = mix(id);
    let sectors = usize::from(LENGTHS[(bits % 16) as usize]);
    Plan {
        first: ((bits >> 8) % (REGION - sectors + 1) as u64) as usize,
        sectors,
        zero: (bits >> 32) % 13 == 0,
    }
}

fn words(sector: &[u8]) -> impl Iterator<Item = u64> + '_ {
    sector
        .chunks_exact(8)
        .map(|w| u64::from_le_bytes(w.try_into().unwrap()))
}

/// Looks at every byte of a sector.
pub fn look(sector: &[u8]) -> Value {
    let mut w = words(sector);
    let head = [w.next(), w.next(), w.next()].map(Option::unwrap_or_default);
    if head[0] != MAGIC {
        return if sector.iter().all(|b| *b == 0) {
            Value::Zero
        } else {
            Value::Garbage
        };
    }
    let [_, id, index] = head;
    let seed = mix((id << 8) ^ index);
    let whole = w
        .zip(3u64..)
        .all(|(word, i)| word == seed.wrapping_mul(2 * i + 1));
    if whole {
        Value::Of {
            id,
            index: index as usize,
        }
    } else {
        Value::Garbage
    }
}

/// Who wrote it, for people: thread and number.
pub fn name(id: u64) -> String {
    format!("write {} of thread {}", id & ((1 << 48) - 1), id >> 48)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What the load writes there.
    pub fn sector_of(id: u64, index: usize) -> Vec<u8> {
        let seed = mix((id << 8) ^ index as u64);
        [MAGIC, id, index as u64]
            .into_iter()
            .chain((3..SECTOR as u64 / 8).map(|i| seed.wrapping_mul(2 * i + 1)))
            .flat_map(u64::to_le_bytes)
            .collect()
    }

    #[test]
    fn every_byte_counts() {
        let whole = sector_of((1 << 48) | 7, 3);
        let value = Value::Of {
            id: (1 << 48) | 7,
            index: 3,
        };
        assert_eq!(look(&whole), value);
        assert_eq!(look(&[0; SECTOR]), Value::Zero);
        for at in 0..SECTOR {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            assert_ne!(look(&torn), value);
        }
    }
}
