// SPDX-License-Identifier: GPL-2.0

//! What persistent memory holds when the power goes, by what its processors did.
//!
//! The unit that reaches the media or does not is a word of 8 bytes. Of what was stored to a word and
//! is not known to be there, any may have been the last to get there, or none:
//!
//! - a store past the cache is there once its own processor has fenced;
//! - a store into the cache is there once its line was flushed and the processor that flushed has
//!   fenced; without a flush never, but it may be at any time.
//!
//! Stricter than x86 in one point: locked instructions wait for stores past the cache, too, but that
//! is nothing to build upon, and the kernel's own persistent memory code doesn't.

use crate::random::Random;
use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Bytes that reach the media together.
pub const WORD: usize = 8;
const LINE: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Past the cache.
    Streamed(u8),
    /// In the cache.
    Cached,
    /// On its way out of it.
    Flushed(u8),
}

#[derive(Clone, Copy)]
struct Pending {
    value: [u8; WORD],
    way: Way,
}

/// A region of it.
pub struct Memory {
    /// What a reader sees now.
    now: Vec<u8>,
    /// What is there for sure.
    durable: Vec<u8>,
    /// Of each word what may be there instead, in the order of the stores.
    pending: HashMap<usize, Vec<Pending>>,
    /// Words that a fence of this processor settles.
    unfenced: HashMap<u8, Vec<usize>>,
}

/// Which of what is pending survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survivors {
    /// Nothing.
    None,
    /// All.
    All,
    /// Each group of words by chance.
    Some {
        /// So many of 16.
        of_16: u64,
        /// Words that share their fate: one, a line, a page.
        group: usize,
    },
}

impl Survivors {
    /// Some of them.
    pub fn some(random: &mut Random) -> Survivors {
        Survivors::Some {
            of_16: 1 + random.below(15),
            group: [1, 1, LINE / WORD, 4096 / WORD][random.below(4) as usize],
        }
    }
}

impl fmt::Display for Survivors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Survivors::None => f.write_str("nothing"),
            Survivors::All => f.write_str("all"),
            Survivors::Some { of_16, group } => {
                write!(f, "about {of_16}/16, by {} bytes,", group * WORD)
            }
        }
    }
}

impl Memory {
    /// Zeroes.
    pub fn new(bytes: usize) -> Memory {
        Memory {
            now: vec![0; bytes],
            durable: vec![0; bytes],
            pending: HashMap::new(),
            unfenced: HashMap::new(),
        }
    }

    /// What a reader sees now.
    pub fn now(&self) -> &[u8] {
        &self.now
    }

    /// A processor stores.
    pub fn store(&mut self, cpu: u8, streamed: bool, at: usize, bytes: &[u8]) {
        self.now[at..at + bytes.len()].copy_from_slice(bytes);
        for word in at / WORD..(at + bytes.len()).div_ceil(WORD) {
            let value = self.now[word * WORD..(word + 1) * WORD].try_into().unwrap();
            let way = if streamed {
                self.unfenced.entry(cpu).or_default().push(word);
                Way::Streamed(cpu)
            } else {
                Way::Cached
            };
            let pending = self.pending.entry(word).or_default();
            pending.push(Pending { value, way });
        }
    }

    /// A processor flushes a line.
    pub fn flush(&mut self, cpu: u8, at: usize, at_once: bool) {
        let first = at / LINE * LINE / WORD;
        for word in first..first + LINE / WORD {
            let Some(pending) = self.pending.get_mut(&word) else {
                continue;
            };
            for p in pending.iter_mut().filter(|p| p.way == Way::Cached) {
                p.way = Way::Flushed(cpu);
            }
            self.unfenced.entry(cpu).or_default().push(word);
            if at_once {
                self.settle(cpu, word);
            }
        }
    }

    /// A processor fences.
    pub fn fence(&mut self, cpu: u8) {
        for word in self.unfenced.remove(&cpu).unwrap_or_default() {
            self.settle(cpu, word);
        }
    }

    fn settle(&mut self, cpu: u8, word: usize) {
        let Some(pending) = self.pending.get_mut(&word) else {
            return;
        };
        let by = |p: &Pending| p.way == Way::Streamed(cpu) || p.way == Way::Flushed(cpu);
        if let Some(last) = pending.iter().rposition(by) {
            self.durable[word * WORD..(word + 1) * WORD].copy_from_slice(&pending[last].value);
            pending.drain(..=last);
        }
        if pending.is_empty() {
            self.pending.remove(&word);
        }
    }

    /// Whether a fence of this processor would make anything in that range durable.
    pub fn awaits(&self, cpu: u8, range: std::ops::Range<u64>) -> bool {
        self.unfenced.get(&cpu).is_some_and(|words| {
            // The last one speaks for all that was stored together.
            words
                .iter()
                .rev()
                .any(|w| range.contains(&((w * WORD) as u64)))
        })
    }

    /// Shows `look` what the media holds if the power goes now, and a number that tells these survivors
    /// from others. Nothing has changed afterwards.
    pub fn crash<T>(
        &mut self,
        survivors: Survivors,
        random: &mut Random,
        look: impl FnOnce(&[u8], u64) -> T,
    ) -> T {
        let mut words: Vec<usize> = self.pending.keys().copied().collect();
        // So that a seed repeats.
        words.sort_unstable();
        let mut undo = Vec::with_capacity(words.len());
        let mut survived = DefaultHasher::new();
        let mut fate = (usize::MAX, false);
        for word in words {
            let pending = &self.pending[&word];
            let survivor = match survivors {
                Survivors::None => None,
                Survivors::All => pending.last(),
                Survivors::Some { of_16, group } => {
                    if fate.0 != word / group {
                        fate = (word / group, random.below(16) < of_16);
                    }
                    let which = random.below(pending.len() as u64) as usize;
                    pending.get(which).filter(|_| fate.1)
                }
            };
            if let Some(p) = survivor {
                let place = &mut self.durable[word * WORD..(word + 1) * WORD];
                let old: [u8; WORD] = (&*place).try_into().unwrap();
                undo.push((word, old));
                place.copy_from_slice(&p.value);
                if old != p.value {
                    (word, p.value).hash(&mut survived);
                }
            }
        }
        let seen = look(&self.durable, survived.finish());
        for (word, old) in undo {
            self.durable[word * WORD..(word + 1) * WORD].copy_from_slice(&old);
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(m: &mut Memory, survivors: Survivors) -> Vec<u8> {
        m.crash(survivors, &mut Random::new(1), |bytes, _| {
            bytes.iter().step_by(WORD).copied().collect()
        })
    }

    #[test]
    fn a_streamed_store_waits_for_its_own_processor() {
        let mut m = Memory::new(16);
        m.store(0, true, 0, &[1; 16]);
        m.fence(1);
        assert_eq!(left(&mut m, Survivors::None), [0, 0]);
        assert_eq!(left(&mut m, Survivors::All), [1, 1]);
        m.fence(0);
        assert_eq!(left(&mut m, Survivors::None), [1, 1]);
        assert!(m.pending.is_empty());
    }

    #[test]
    fn a_cached_store_waits_for_a_flush_and_a_fence_behind_it() {
        let mut m = Memory::new(64);
        m.store(0, false, 8, &[2; 8]);
        m.fence(0);
        assert_eq!(left(&mut m, Survivors::None)[1], 0);
        m.flush(1, 63, false);
        m.fence(0);
        assert_eq!(left(&mut m, Survivors::None)[1], 0);
        m.fence(1);
        assert_eq!(left(&mut m, Survivors::None)[1], 2);
        // What is stored behind a flush is not flushed.
        m.flush(1, 8, false);
        m.store(0, false, 8, &[3; 8]);
        m.fence(1);
        assert_eq!(left(&mut m, Survivors::None)[1], 2);
        m.flush(0, 8, true);
        assert_eq!(left(&mut m, Survivors::None)[1], 3);
    }

    #[test]
    fn of_several_stores_any_may_be_the_last() {
        let mut m = Memory::new(8);
        for value in 1..=3 {
            m.store(0, true, 0, &[value; 8]);
        }
        let mut seen = [false; 4];
        let some = Survivors::Some { of_16: 8, group: 1 };
        for seed in 0..100 {
            let left = m.crash(some, &mut Random::new(seed), |b, _| b[0]);
            seen[usize::from(left)] = true;
        }
        assert_eq!(seen, [true; 4]);
        m.fence(0);
        assert_eq!(left(&mut m, Survivors::None), [3]);
    }

    #[test]
    fn a_store_of_a_part_keeps_the_rest_of_its_word() {
        let mut m = Memory::new(8);
        m.store(0, true, 0, &[7; 8]);
        m.store(0, true, 4, &[9; 2]);
        m.fence(0);
        m.crash(Survivors::None, &mut Random::new(1), |b, _| {
            assert_eq!(b, [7, 7, 7, 7, 9, 9, 7, 7]);
        });
    }
}
