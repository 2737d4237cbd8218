// SPDX-License-Identifier: GPL-2.0

//! The protocol as it is: no property breaks.

use model::{
    check::FEATURES,
    config::{self, Config},
    explore,
    state::State,
};
use std::{
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    time::Instant,
};

/// Runs at once.
const THREADS: usize = 2;

/// Visits all states of one run; says how it went, and answers what was reached, if nothing broke.
fn run(cfg: &Config) -> Option<u32> {
    let began = Instant::now();
    let starts = [State::running(cfg)];
    let found = explore::explore(cfg, &starts, usize::MAX);
    let mut lines = vec![format!(
        "{}; {}: {} states, {} deep, {:.1} s{}",
        cfg.set,
        cfg.theme,
        found.states,
        found.depth,
        began.elapsed().as_secs_f64(),
        found.violation.map_or(String::new(), |v| format!(", {v}"))
    )];
    if found.violation.is_some() {
        for ((n, what), _) in explore::way(cfg, &starts) {
            lines.push(format!("  node {n} {what}"));
        }
        lines.push(format!("{:?}", found.state));
    }
    println!("{}", lines.join("\n"));
    found.violation.is_none().then_some(found.features)
}

#[test]
fn nothing_breaks() {
    let only = std::env::var("DMRC_ONLY").ok();
    let mut runs = config::all(std::env::var("MODEL").is_ok_and(|m| m == "large"));
    runs.retain(|c| {
        let name = format!("{}; {}", c.set, c.theme);
        only.as_ref().is_none_or(|o| name.contains(o.as_str()))
    });
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let reached = AtomicU32::new(0);
    std::thread::scope(|s| {
        for _ in 0..THREADS {
            s.spawn(|| {
                while let Some(cfg) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match run(cfg) {
                        Some(features) => reached.fetch_or(features, Ordering::Relaxed),
                        None => failed.fetch_add(1, Ordering::Relaxed) as u32,
                    };
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0);
    // Else the properties would hold of nothing.
    let reached = reached.into_inner();
    let missed: Vec<_> = FEATURES
        .iter()
        .enumerate()
        .filter(|(i, _)| reached & (1 << i) == 0)
        .map(|(_, f)| f)
        .collect();
    assert!(
        only.is_some() || missed.is_empty(),
        "not reached: {missed:?}"
    );
}
