// SPDX-License-Identifier: GPL-2.0

//! Mistakes on purpose, one at a time: each is found.

use core_crate::plant::{plant, LOG};
use proof::{
    explore::{explore, Plan, Tally},
    report,
};
use std::{env, panic, thread::available_parallelism, time::Instant};

#[test]
fn every_mistake_is_found() {
    if env::var("DMRC_WORLD").is_ok() {
        println!("only one world is wanted");
        return;
    }
    let only = env::var("DMRC_ONLY").ok();
    let plan = Plan::bounded();
    let threads = available_parallelism().map_or(1, usize::from);
    // A mistake may show as a panic; that is a finding, and no news.
    panic::set_hook(Box::new(|_| ()));
    let (began, mut found, mut missed) = (Instant::now(), vec![], vec![]);
    for mistake in LOG {
        let name = format!("{mistake:?}");
        if only.as_ref().is_some_and(|o| *o != name) {
            continue;
        }
        let (since, tally) = (Instant::now(), Tally::default());
        plant(Some(*mistake));
        let failure = explore(&plan, threads, &tally);
        plant(None);
        let seconds = since.elapsed().as_secs_f64();
        match failure {
            Some(f) => {
                found.push(*mistake);
                println!("{name:22} {seconds:5.1} s  worlds: {}: {}", f.place, f.what);
                if env::var("DMRC_VERBOSE").is_ok() {
                    println!("{f}");
                }
            }
            None => {
                println!("{name:22} {seconds:5.1} s  NOT FOUND");
                missed.push(*mistake);
            }
        }
    }
    let _ = panic::take_hook();
    if only.is_none() {
        report::write(
            "worlds-planted",
            &format!(
                "{{\"seconds\": {:.1}, \"planted\": {{\"found\": {}, \"of\": {}}}}}",
                began.elapsed().as_secs_f64(),
                report::names(&found),
                report::names(LOG)
            ),
        );
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
