// SPDX-License-Identifier: GPL-2.0

//! Persistent memory as an x86 machine sees it.
//!
//! A store is seen at once and is durable later. A *non-temporal* store is durable after a fence of its
//! processor. A *plain* store stays in a cache: it is durable after its line was flushed and a fence of
//! the processor that flushed. Until then any of its 8-byte words may have reached the media, or not,
//! each by itself; a word is never torn.
//!
//! Hardware leaves less: words of one line that plain stores wrote in some order reach the media in that
//! order, because the line is written back whole. Nothing in core goes by that (a record is valid by its
//! checksums, whatever order its words came in), and what holds for any subset holds for prefixes. So
//! the model does not know it.
//!
//! A crash keeps a subset ([`Pmem::cut`], [`Pmem::crash`]). There is also a fuse: after so many
//! operations, power fails.

use crate::{
    crc,
    rng::{mix, Rng},
    survive::{survivors, Depth, Keep},
};
use core_crate::recover::{Media, Unreadable};
use std::{cell::Cell, sync::Arc};

const PAGE: usize = 4096;
const LINE: usize = 64;
const WORD: usize = 8;

/// Power failed.
#[derive(Debug)]
pub struct Crash;

/// Bytes, in pages that copies share until one is written.
#[derive(Clone)]
struct Image {
    pages: Vec<Arc<[u8; PAGE]>>,
    len: usize,
}

impl Image {
    fn new(len: usize) -> Image {
        let blank = Arc::new([0; PAGE]);
        Image {
            pages: vec![blank; len.div_ceil(PAGE)],
            len,
        }
    }

    /// The pieces of a range that lie in one page each; `None` if it ends behind the region.
    fn pieces(&self, at: usize, len: usize) -> Option<impl Iterator<Item = &[u8]>> {
        let end = at.checked_add(len).filter(|e| *e <= self.len)?;
        let mut at = at;
        Some(std::iter::from_fn(move || {
            let (page, from) = (at / PAGE, at % PAGE);
            let to = PAGE.min(from + end - at);
            at += to - from;
            (to > from).then(|| &self.pages[page][from..to])
        }))
    }

    fn write(&mut self, at: usize, data: &[u8]) {
        assert!(at + data.len() <= self.len, "a store outside the region");
        let mut at = at;
        let mut data = data;
        while !data.is_empty() {
            let from = at % PAGE;
            let n = data.len().min(PAGE - from);
            let (now, rest) = data.split_at(n);
            Arc::make_mut(&mut self.pages[at / PAGE])[from..from + n].copy_from_slice(now);
            at += n;
            data = rest;
        }
    }

    fn word(&self, at: usize) -> [u8; WORD] {
        let mut w = [0; WORD];
        w.copy_from_slice(&self.pages[at / PAGE][at % PAGE..at % PAGE + WORD]);
        w
    }
}

/// A store that is not durable yet.
#[derive(Clone)]
struct Pending {
    cpu: u16,
    at: usize,
    data: Vec<u8>,
    /// The next fence of its processor makes it durable.
    leaving: bool,
}

/// A region of persistent memory.
#[derive(Clone)]
pub struct Pmem {
    /// What a reader sees now.
    seen: Image,
    /// What is durable.
    media: Image,
    pending: Vec<Pending>,
    /// Who stores, flushes and fences now.
    pub cpu: u16,
    /// Operations until power fails.
    pub fuse: u64,
    /// Reads so far: a bound on the scanner's work.
    pub reads: Cell<u64>,
}

/// The words that are on their way, by cache line, in the order in which lines were first stored to.
pub struct OnTheWay {
    lines: Vec<Vec<(usize, [u8; WORD])>>,
}

impl OnTheWay {
    /// What may survive.
    pub fn survivors(&self, depth: Depth) -> Vec<Keep> {
        let sizes: Vec<usize> = self.lines.iter().map(Vec::len).collect();
        survivors(&sizes, depth)
    }
}

impl Pmem {
    /// A region of zeroes.
    pub fn new(bytes: u64) -> Pmem {
        let image = Image::new(bytes as usize);
        Pmem {
            seen: image.clone(),
            media: image,
            pending: vec![],
            cpu: 0,
            fuse: u64::MAX,
            reads: Cell::new(0),
        }
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.seen.len as u64
    }

    /// What is seen there.
    ///
    /// # Panics
    ///
    /// When the range ends behind the region.
    pub fn peek(&self, at: u64, len: usize) -> Vec<u8> {
        let mut all = Vec::with_capacity(len);
        let pieces = self.seen.pieces(at as usize, len);
        for piece in pieces.expect("inside the region") {
            all.extend_from_slice(piece);
        }
        all
    }

    /// What stands there is something else from now on, durably: set-up, or damage.
    pub fn poke(&mut self, at: u64, data: &[u8]) {
        self.seen.write(at as usize, data);
        self.media.write(at as usize, data);
    }

    /// One bit is another one, durably.
    pub fn flip(&mut self, at: u64, bit: u64) {
        let byte = self.peek(at, 1)[0] ^ (1 << bit);
        self.poke(at, &[byte]);
    }

    /// The region ends here.
    pub fn truncate(&mut self, len: usize) {
        for image in [&mut self.seen, &mut self.media] {
            image.len = image.len.min(len);
            image.pages.truncate(image.len.div_ceil(PAGE));
        }
    }

    fn burn(&mut self) -> Result<(), Crash> {
        self.fuse = self.fuse.checked_sub(1).ok_or(Crash)?;
        Ok(())
    }

    fn put(&mut self, offset: u64, data: &[u8], leaving: bool) {
        let at = offset as usize;
        assert!(at % WORD == 0 && data.len() % WORD == 0);
        self.seen.write(at, data);
        let cpu = self.cpu;
        self.pending.push(Pending {
            cpu,
            at,
            data: data.to_vec(),
            leaving,
        });
    }

    /// A non-temporal store, the kernel's `memcpy_flushcache`.
    ///
    /// # Panics
    ///
    /// When the store lies outside the region or is not made of 8-byte words.
    pub fn store(&mut self, offset: u64, data: &[u8]) -> Result<(), Crash> {
        self.put(offset, data, true);
        self.burn()
    }

    /// A plain store: without [`Pmem::flush`], no fence makes it durable.
    ///
    /// # Panics
    ///
    /// As [`Pmem::store`].
    pub fn store_plain(&mut self, offset: u64, data: &[u8]) -> Result<(), Crash> {
        let (mut at, mut data) = (offset, data);
        while !data.is_empty() {
            let n = data.len().min(LINE - at as usize % LINE);
            let (now, rest) = data.split_at(n);
            self.put(at, now, false);
            at += n as u64;
            data = rest;
        }
        self.burn()
    }

    /// Writes back the lines of a range (`clwb`): durable after this processor's next fence.
    pub fn flush(&mut self, offset: u64, len: usize) -> Result<(), Crash> {
        let lines = offset as usize / LINE..(offset as usize + len).div_ceil(LINE);
        for p in &mut self.pending {
            if !p.leaving && lines.contains(&(p.at / LINE)) {
                // Whoever flushes the line has to fence, not whoever stored to it.
                (p.leaving, p.cpu) = (true, self.cpu);
            }
        }
        self.burn()
    }

    /// A fence of the current processor (`sfence`).
    pub fn fence(&mut self) -> Result<(), Crash> {
        self.burn()?;
        let Pmem {
            pending,
            media,
            cpu,
            ..
        } = self;
        pending.retain(|p| {
            let durable = p.leaving && p.cpu == *cpu;
            if durable {
                media.write(p.at, &p.data);
            }
            !durable
        });
        Ok(())
    }

    /// What is not durable yet, as far as it would change anything.
    pub fn on_the_way(&self) -> OnTheWay {
        let mut numbers: Vec<usize> = vec![];
        let mut lines: Vec<Vec<(usize, [u8; WORD])>> = vec![];
        for p in &self.pending {
            for (i, w) in p.data.chunks_exact(WORD).enumerate() {
                let at = p.at + i * WORD;
                let mut word = [0; WORD];
                word.copy_from_slice(w);
                let line = at / LINE;
                let known = numbers.iter().rposition(|n| *n == line);
                let stored = known.is_some_and(|k| lines[k].iter().any(|(a, _)| *a == at));
                if word == self.media.word(at) && !stored {
                    continue;
                }
                let known = known.unwrap_or_else(|| {
                    numbers.push(line);
                    lines.push(vec![]);
                    lines.len() - 1
                });
                lines[known].push((at, word));
            }
        }
        OnTheWay { lines }
    }

    /// Power fails, and of what was on its way these words survive.
    pub fn cut(&mut self, on_the_way: &OnTheWay, keep: Keep) {
        for (g, line) in on_the_way.lines.iter().enumerate() {
            for (i, (at, word)) in line.iter().enumerate() {
                if keep.keeps(g, i) {
                    self.media.write(*at, word);
                }
            }
        }
        self.off();
    }

    fn off(&mut self) {
        self.pending.clear();
        self.seen = self.media.clone();
        self.fuse = u64::MAX;
        self.cpu = 0;
    }

    /// Power fails: of what was not fenced, some words survive. Answers whether all did.
    pub fn crash(&mut self, rng: &mut Rng) -> bool {
        // All or nothing now and then: those are the likely cases in real machines.
        let mode = rng.below(4);
        let mut all = true;
        for p in std::mem::take(&mut self.pending) {
            for (i, word) in p.data.chunks(WORD).enumerate() {
                let survives = match mode {
                    0 => false,
                    1 => true,
                    2 => rng.one_in(2),
                    _ => !rng.one_in(40),
                };
                if survives {
                    self.media.write(p.at + i * WORD, word);
                }
                all &= survives;
            }
        }
        self.off();
        all
    }

    /// A number for what is durable: the same for the same bytes, whatever way they came there. `blank` is
    /// a region that most of it is shared with.
    pub fn print(&self, blank: &Pmem) -> u64 {
        let mut sum = 0u64;
        let pairs = self.media.pages.iter().zip(&blank.media.pages);
        for (number, (page, was)) in pairs.enumerate() {
            if !Arc::ptr_eq(page, was) && page != was {
                sum = sum.wrapping_add(print(number as u64, &**page));
            }
        }
        sum
    }
}

/// A number for these bytes, whose length is a multiple of 32.
pub fn print(seed: u64, bytes: &[u8]) -> u64 {
    let mut sums = [1u64, 2, 3, 4].map(|lane| mix(seed.wrapping_mul(4).wrapping_add(lane)));
    for block in bytes.chunks_exact(4 * WORD) {
        for (sum, word) in sums.iter_mut().zip(block.chunks_exact(WORD)) {
            let mut w = [0; WORD];
            w.copy_from_slice(word);
            *sum =
                (sum.rotate_left(23) ^ u64::from_le_bytes(w)).wrapping_mul(0x9fb2_1c65_1e98_df25);
        }
    }
    sums.into_iter().fold(seed, |all, sum| mix(all ^ mix(sum)))
}

impl Media for Pmem {
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Unreadable> {
        self.reads.set(self.reads.get() + 1);
        let pieces = self.seen.pieces(offset as usize, to.len());
        let mut at = 0;
        for p in pieces.ok_or(Unreadable { offset })? {
            to[at..at + p.len()].copy_from_slice(p);
            at += p.len();
        }
        Ok(())
    }

    fn crc(&self, offset: u64, bytes: u32, seed: u32) -> Result<u32, Unreadable> {
        self.reads.set(self.reads.get() + 1);
        let pieces = self.seen.pieces(offset as usize, bytes as usize);
        let pieces = pieces.ok_or(Unreadable { offset })?;
        Ok(pieces.fold(seed, crc))
    }
}
