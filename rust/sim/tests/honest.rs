// SPDX-License-Identifier: GPL-2.0

//! The driver as it is: no rule breaks, whatever happens.
//!
//! `SEEDS=<n>` for as many runs as wanted, from `FIRST=<seed>` on; `SEED=<n>` for one with its trace, made
//! smaller when it fails; `EVENTS=<i>,<j>,...` with `SEED` keeps only those of its events.

use sim::{
    proof,
    run::{plan, run, run_seed, shrink},
    schedule::Event,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// Runs at once.
const THREADS: usize = 2;

/// Lines of a trace that are shown at most: the last ones.
const LINES: usize = 20000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|s| s.trim().parse().ok())
}

/// One seed, with all that happens.
fn show(seed: u64, kept: &[usize]) -> Option<String> {
    let (cfg, all) = plan(seed);
    let some: Vec<Event> = kept.iter().map(|i| all[*i].clone()).collect();
    let outcome = run(seed, &cfg, &some, true);
    println!("SEED={seed}: {cfg:?}");
    let skipped = outcome.trace.len().saturating_sub(LINES);
    if skipped > 0 {
        println!("({skipped} lines before)");
    }
    for line in &outcome.trace[skipped..] {
        println!("{line}");
    }
    for (i, e) in kept.iter().zip(&some) {
        println!("event {i:3} at {:9.3} ms: {:?}", e.at as f64 / 1e6, e.what);
    }
    outcome.violation
}

/// Makes a failing seed smaller, and says how to see it again.
fn explain(seed: u64) {
    let (cfg, all) = plan(seed);
    let kept = shrink(seed, &cfg, &all);
    let last = show(seed, &kept);
    let list: Vec<String> = kept.iter().map(|i| i.to_string()).collect();
    println!("{} of {} events are enough", kept.len(), all.len());
    println!("again: make sim SEED={seed} EVENTS={}", list.join(","));
    println!("FAILED: SEED={seed}: {}", last.unwrap_or_default());
}

/// Runs the seeds; answers those that fail, with what broke.
fn all(first: u64, seeds: u64) -> (Vec<(u64, String)>, u64, u64) {
    let (next, acked, reads) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let failed = std::sync::Mutex::new(vec![]);
    std::thread::scope(|s| {
        for _ in 0..THREADS {
            s.spawn(|| loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + seeds {
                    return;
                }
                let o = run_seed(seed);
                acked.fetch_add(o.acked, Ordering::Relaxed);
                reads.fetch_add(o.reads, Ordering::Relaxed);
                if let Some(v) = o.violation {
                    failed.lock().expect("no panic").push((seed, v));
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no panic");
    failed.sort();
    (failed, acked.into_inner(), reads.into_inner())
}

#[test]
fn nothing_breaks() {
    if let Some(seed) = number("SEED") {
        let (cfg, events) = plan(seed);
        let kept: Vec<usize> = match std::env::var("EVENTS") {
            Ok(list) if !list.is_empty() => list.split(',').map(|i| i.parse().unwrap()).collect(),
            _ if run(seed, &cfg, &events, false).violation.is_some() => {
                explain(seed);
                panic!("a rule is broken");
            }
            _ => (0..events.len()).collect(),
        };
        assert_eq!(show(seed, &kept), None);
        return;
    }
    let (first, seeds) = (
        number("FIRST").unwrap_or(0),
        number("SEEDS").unwrap_or(10_000),
    );
    let began = Instant::now();
    let (failed, acked, reads) = all(first, seeds);
    println!(
        "{seeds} seeds from {first} on: {acked} writes acknowledged, {reads} sectors read, {:.1} s, {} failed",
        began.elapsed().as_secs_f64(),
        failed.len()
    );
    proof::seeds(seeds, first, began.elapsed().as_secs_f64(), failed.len());
    for (seed, what) in failed.iter().take(40) {
        println!("SEED={seed}: {what}");
    }
    if let Some((seed, _)) = failed.first() {
        explain(*seed);
    }
    assert!(failed.is_empty(), "{} seeds break a rule", failed.len());
}
