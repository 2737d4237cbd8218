// SPDX-License-Identifier: GPL-2.0

//! Histograms against a sorted list of what was put into them.

mod common;

use common::{seeds, Rng};
use core_crate::histogram::{
    bucket, span, Histogram, Span, Stage, BUCKETS, LONGEST_NS, OCTAVES, STAGES, UNIT_NS,
};

/// Times as they come: of every magnitude, often the same, some right at a boundary.
fn time(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0 => rng.below(2 * UNIT_NS),
        1 => 1_000_000,
        2 => {
            let b = rng.below(BUCKETS as u64) as usize;
            span(b).unwrap().low.saturating_sub(rng.below(2))
        }
        3 => rng.next(),
        _ => rng.next() >> rng.below(64),
    }
}

fn list(rng: &mut Rng, most: u64) -> Vec<u64> {
    let n = rng.below(most + 1);
    (0..n).map(|_| time(rng)).collect()
}

fn histogram(times: &[u64]) -> Histogram {
    let mut h = Histogram::new();
    times.iter().for_each(|t| h.record(*t));
    h
}

fn sum(times: &[u64]) -> u64 {
    times.iter().fold(0, |s, t| s.wrapping_add(*t))
}

#[test]
fn buckets_cover_all_times_once() {
    let mut next = 0;
    for b in 0..BUCKETS {
        let Span { low, high } = span(b).unwrap();
        assert_eq!(low, next, "no gap in front of bucket {b}");
        assert!(high > low);
        assert_eq!((bucket(low), bucket(high - 1)), (b, b));
        if b + 1 < BUCKETS {
            let width = high - low;
            assert!(
                width == UNIT_NS || width * 8 == 1 << low.ilog2(),
                "bucket {b}: {width} wide at {low}"
            );
        }
        next = high;
    }
    assert_eq!(next, u64::MAX);
    assert_eq!(span(BUCKETS - 1).unwrap().low, LONGEST_NS);
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    assert_eq!(span(BUCKETS), None);
    assert_eq!(span(usize::MAX), None);
}

/// The table at the head of the file.
#[test]
fn documented_boundaries() {
    let low = |b| span(b).unwrap().low;
    assert_eq!((low(8), low(16), low(24)), (512, 1024, 2048));
    for k in 9..40 {
        assert_eq!(low(8 * (k - 8)), 1 << k);
    }
}

#[test]
fn counts_and_sums_are_exact() {
    seeds(300, |rng| {
        let times = list(rng, 500);
        let h = histogram(&times);
        assert_eq!(h.count(), times.len() as u64);
        assert_eq!(h.sum(), sum(&times));
        for (b, n) in h.counts().iter().enumerate() {
            let Span { low, high } = span(b).unwrap();
            let last = b + 1 == BUCKETS;
            let there = times
                .iter()
                .filter(|t| **t >= low && (**t < high || last))
                .count();
            assert_eq!(*n, there as u64, "bucket {b}");
        }
    });
}

#[test]
fn a_merge_is_one_list_after_the_other() {
    seeds(300, |rng| {
        let mut all = Vec::new();
        let mut merged = Histogram::new();
        for _ in 0..rng.below(5) {
            let times = list(rng, 100);
            merged.merge(&histogram(&times));
            all.extend(times);
        }
        assert_eq!(merged, histogram(&all));
    });
}

/// As a kernel keeps them: counts and sums apart, on several processors.
#[test]
fn counts_from_elsewhere() {
    seeds(300, |rng| {
        let times = list(rng, 300);
        let mut h = Histogram::new();
        for t in &times {
            h.add(bucket(*t), 1);
        }
        h.add_sum(sum(&times));
        h.add(BUCKETS, 5);
        assert_eq!(h, histogram(&times));
    });
}

#[test]
fn quantiles_against_a_sorted_list() {
    seeds(600, |rng| {
        let mut times = list(rng, 400);
        let h = histogram(&times);
        times.sort_unstable();
        for one_in in [1, 2, 3, 10, 100, 1000, u64::MAX] {
            let Some(got) = h.quantile(one_in) else {
                assert!(times.is_empty());
                continue;
            };
            let n = times.len() as u64;
            let place = (n - n / one_in).max(1);
            let exact = times[place as usize - 1];
            assert!(
                got.low <= exact && (exact < got.high || got.high == u64::MAX),
                "1 in {one_in} of {n}: {exact} is not in {got:?}"
            );
            // The error that the documentation promises.
            if exact < LONGEST_NS {
                let error = got.high - exact;
                assert!(
                    error <= UNIT_NS.max(exact / 8 + 1),
                    "1 in {one_in}: {got:?} for {exact}"
                );
            }
        }
        assert_eq!(
            h.quantile(0),
            h.quantile(u64::MAX),
            "0 asks for the largest"
        );
    });
}

#[test]
fn powers_of_two_against_a_list() {
    seeds(300, |rng| {
        let times = list(rng, 400);
        let mut want = [0u64; OCTAVES];
        for t in &times {
            want[t.checked_ilog2().unwrap_or(0).clamp(5, 39) as usize] += 1;
        }
        assert_eq!(histogram(&times).octaves(), want);
    });
}

#[test]
fn stages_have_their_places() {
    assert_eq!(Stage::ALL.len(), STAGES);
    for (i, s) in Stage::ALL.iter().enumerate() {
        assert_eq!(s.index(), i);
    }
    let words: Vec<_> = Stage::ALL.iter().map(|s| s.to_string()).collect();
    assert_eq!(
        words.join(" "),
        "logged mirrored local completed shipped retired"
    );
}
