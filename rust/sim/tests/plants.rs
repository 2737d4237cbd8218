// SPDX-License-Identifier: GPL-2.0

//! Mistakes on purpose, one at a time: each is found, by the first seed that fails.
//!
//! `ONLY=<name>` for one of them.

use core_crate::plant::{self as core_plant, Plant};
use sim::{
    plant::{plant, Mistake, ALL},
    proof,
    run::{run, run_seed},
    scenarios,
};
use std::sync::{
    atomic::{AtomicBool, AtomicU64, Ordering},
    Mutex, PoisonError,
};

/// Seeds within which a mistake is to be found.
const MOST: u64 = 3000;

/// Those of core's own mistakes that make a difference here. The model of ownership finds the others.
const CORES: &[Plant] = &[
    Plant::RecordNotRead,
    Plant::TakeoverIncomplete,
    Plant::LocalBeforeMirror,
    Plant::CompleteTooEarly,
    Plant::NoOutOfDateMark,
    Plant::StartUnasked,
    Plant::RetireBeforeFlush,
    Plant::RetireBeforePartner,
];

/// Seeds of a scenario.
const MOST_OF_SCENARIO: u64 = 500;

/// The first seed of the scenario that is there for a mistake.
fn look_closely(mistake: Mistake) -> Option<(u64, String)> {
    let s = scenarios::all().into_iter().find(|s| s.finds == mistake)?;
    plant(Some(mistake));
    let found = (0..MOST_OF_SCENARIO).find_map(|seed| {
        let what = run(seed, &s.cfg, &s.events, false).violation?;
        Some((seed, format!("in its scenario: {what}")))
    });
    plant(None);
    found
}

/// Core's mistakes are made in all threads.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn scenarios_break_nothing_else() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for s in scenarios::all() {
        for seed in 0..MOST_OF_SCENARIO {
            let outcome = run(seed, &s.cfg, &s.events, false);
            assert_eq!(outcome.violation, None, "{:?}, seed {seed}", s.finds);
        }
    }
}

/// The first seed that fails, and what breaks.
fn look(mistake: Option<Mistake>) -> Option<(u64, String)> {
    let (next, found) = (AtomicU64::new(0), AtomicBool::new(false));
    let best = Mutex::new(None::<(u64, String)>);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                plant(mistake);
                while !found.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= MOST {
                        return;
                    }
                    if let Some(what) = run_seed(seed).violation {
                        found.store(true, Ordering::Relaxed);
                        let mut best = best.lock().expect("no panic");
                        if best.as_ref().is_none_or(|(s, _)| seed < *s) {
                            *best = Some((seed, what));
                        }
                    }
                }
            });
        }
    });
    best.into_inner().expect("no panic")
}

#[test]
fn every_mistake_is_found() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let only = std::env::var("ONLY").ok().filter(|o| !o.is_empty());
    let wanted = |name: &str| only.as_ref().is_none_or(|o| o == name);
    let mut found = vec![];
    let mut missed = vec![];
    let mut tell = |name: String, result: Option<(u64, String)>| match result {
        Some((seed, what)) => {
            println!("{name:24} seed {seed:5}: {what}");
            found.push(name);
        }
        None => {
            println!("{name:24} NOT FOUND");
            missed.push(name);
        }
    };
    for mistake in ALL.iter().filter(|m| wanted(&format!("{m:?}"))) {
        let closely = || look_closely(*mistake);
        tell(
            format!("{mistake:?}"),
            closely().or_else(|| look(Some(*mistake))),
        );
    }
    for mistake in CORES.iter().filter(|m| wanted(&format!("{m:?}"))) {
        core_plant::plant(Some(*mistake));
        tell(format!("{mistake:?}"), look(None));
        core_plant::plant(None);
    }
    if only.is_none() {
        proof::planted(&found, &missed);
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
