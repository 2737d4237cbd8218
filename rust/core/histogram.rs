// SPDX-License-Identifier: GPL-2.0

//! How long the stages of a write take: histograms of bounded size whose buckets are a fixed part of
//! what they hold.
//!
//! Buckets are log-linear. Up to 8 [`UNIT_NS`] each is one unit wide; behind that, each power of two is
//! divided into 8. So a bucket is never wider than an eighth of where it begins (or than the unit), and
//! which one it is takes a handful of instructions and no table. The last one has whatever is longer
//! than [`LONGEST_NS`].
//!
//! | nanoseconds    | buckets   | width           |
//! |----------------|-----------|-----------------|
//! | 0 .. 512       | 0 .. 8    | 64              |
//! | 512 .. 1024    | 8 .. 16   | 64              |
//! | 1024 .. 2048   | 16 .. 24  | 128             |
//! | 2^k .. 2^(k+1) | 8 (k - 8) | 2^(k-3)         |
//! | [`LONGEST_NS`] | 255       | all that follow |

use core::fmt;

/// What a write goes through. Each ends at most once for a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Stage {
    /// From its acceptance until it is durable in this node's log: what it waits for overlapping
    /// writes and for space in the log is part of it.
    Logged,
    /// From there until the partner has said that it has it.
    Mirrored,
    /// From there until the local device has it. Not of writes that fail there.
    Local,
    /// From its acceptance until the host was told that it succeeded.
    Completed,
    /// From its acceptance until it is durable at the remote, as is everything before it.
    Shipped,
    /// From its acceptance until its space in the log is free.
    Retired,
}

impl Stage {
    /// All of them, in the order in which a write meets them.
    pub const ALL: [Stage; STAGES] = [
        Stage::Logged,
        Stage::Mirrored,
        Stage::Local,
        Stage::Completed,
        Stage::Shipped,
        Stage::Retired,
    ];

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Logged => "logged",
            Stage::Mirrored => "mirrored",
            Stage::Local => "local",
            Stage::Completed => "completed",
            Stage::Shipped => "shipped",
            Stage::Retired => "retired",
        }
    }

    /// Its place in [`Stage::ALL`].
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many stages there are.
pub const STAGES: usize = 6;

/// Buckets of a histogram.
pub const BUCKETS: usize = 256;

/// How many powers of two [`Histogram::octaves`] knows.
pub const OCTAVES: usize = 40;

/// The width of the narrowest buckets, nanoseconds.
pub const UNIT_NS: u64 = 1 << UNIT_BITS;

/// What takes this long or longer is in the last bucket: a little more than 17 minutes.
pub const LONGEST_NS: u64 = low_of(BUCKETS - 1);

const UNIT_BITS: u32 = 6;
/// log2 of the buckets in each power of two.
const SUB_BITS: u32 = 3;
const SUB: u64 = 1 << SUB_BITS;

/// The bucket of a time.
#[inline]
pub fn bucket(ns: u64) -> usize {
    let units = ns >> UNIT_BITS;
    // Both halves of the table above in one: below `SUB` there is nothing to shift away.
    let shift = (units | SUB).ilog2().wrapping_sub(SUB_BITS);
    let i = (u64::from(shift) << SUB_BITS).wrapping_add(units >> shift);
    // Lossless: there are fewer than 2^9.
    (i as usize).min(BUCKETS - 1)
}

/// Where a bucket begins, nanoseconds.
const fn low_of(bucket: usize) -> u64 {
    let i = bucket as u64;
    if i < SUB {
        return i << UNIT_BITS;
    }
    let shift = (i >> SUB_BITS).saturating_sub(1) as u32;
    // By no more than 36 for any bucket that there is.
    (SUB | (i & (SUB - 1))).wrapping_shl(shift.wrapping_add(UNIT_BITS))
}

/// What a bucket holds: from `low` up to, but not including, `high`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Nanoseconds.
    pub low: u64,
    /// Nanoseconds; of the last bucket [`u64::MAX`].
    pub high: u64,
}

/// What a bucket holds; `None` if there is no such bucket.
pub fn span(bucket: usize) -> Option<Span> {
    let high = match bucket.checked_add(1)? {
        BUCKETS => u64::MAX,
        next if next < BUCKETS => low_of(next),
        _ => return None,
    };
    Some(Span {
        low: low_of(bucket),
        high,
    })
}

/// Counts of times, by bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Nothing yet.
    pub const fn new() -> Histogram {
        Histogram {
            counts: [0; BUCKETS],
            sum: 0,
        }
    }

    /// Counts one time.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.add(bucket(ns), 1);
        self.add_sum(ns);
    }

    /// Counts `n` more in a bucket, whose times have to be added as well: for who keeps the counts
    /// elsewhere.
    #[inline]
    pub fn add(&mut self, bucket: usize, n: u64) {
        if let Some(c) = self.counts.get_mut(bucket) {
            *c = c.saturating_add(n);
        }
    }

    /// Adds to the sum of all times. It goes on from 0 after 2^64, as counters of the kernel do.
    #[inline]
    pub fn add_sum(&mut self, ns: u64) {
        self.sum = self.sum.wrapping_add(ns);
    }

    /// Counts what another histogram has counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.add_sum(other.sum);
    }

    /// How many times were counted: exact.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |n, c| n.saturating_add(*c))
    }

    /// Their sum in nanoseconds: exact, modulo 2^64.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The counts.
    pub fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }

    /// The counts by powers of two, for those that are content with 40 numbers: at `i` those from
    /// 2^i up to 2^(i+1) nanoseconds, at 5 also what took less, and at 39 what took longer.
    pub fn octaves(&self) -> [u64; OCTAVES] {
        let mut octaves = [0u64; OCTAVES];
        for (b, n) in self.counts.iter().enumerate() {
            let at = low_of(b).max(UNIT_NS / 2).ilog2() as usize;
            if let Some(o) = octaves.get_mut(at) {
                *o = o.saturating_add(*n);
            }
        }
        octaves
    }

    /// Where the time stands behind which there are no more than `1 / one_in` of all: 2 asks for the
    /// median, 100 for what 99 % stay below. `None` if nothing was counted.
    ///
    /// The answer is a bucket. The time itself, which a sorted list would have at place
    /// `count - count / one_in` (from 1), is in it; so `high` is too large by no more than an eighth or
    /// [`UNIT_NS`], whichever is more, up to [`LONGEST_NS`].
    pub fn quantile(&self, one_in: u64) -> Option<Span> {
        let count = self.count();
        let behind = count.checked_div(one_in).unwrap_or(0);
        // At least the first: "no more than all" asks for nothing else.
        let place = count.saturating_sub(behind).max(1);
        let mut seen = 0u64;
        let at = self.counts.iter().position(|c| {
            seen = seen.saturating_add(*c);
            seen >= place
        })?;
        span(at)
    }
}

const _: () = assert!(LONGEST_NS == 15 << 36);
const _: () = assert!(BUCKETS as u64 % SUB == 0);
