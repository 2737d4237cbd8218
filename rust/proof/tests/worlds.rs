// SPDX-License-Identifier: GPL-2.0

//! Every crash of every small world: no rule breaks.

use proof::{
    explore::{again, explore, Place, Plan, Tally},
    report,
};
use std::{env, sync::atomic::Ordering, thread::available_parallelism, time::Instant};

#[test]
fn nothing_is_lost() {
    let large = env::var("PROOF").is_ok_and(|p| p == "large");
    let plan = if large {
        Plan::large()
    } else {
        Plan::bounded()
    };
    if let Ok(one) = env::var("DMRC_WORLD") {
        let place: Place = one.parse().expect("DMRC_WORLD names a crash");
        match again(&plan, &place) {
            Ok(said) => println!("{}\nnothing breaks", said.join("\n")),
            Err(f) => panic!("{f}"),
        }
        return;
    }
    let threads = env::var("PROOF_THREADS").ok().and_then(|n| n.parse().ok());
    let threads = threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    let (began, tally) = (Instant::now(), Tally::default());
    let failure = explore(&plan, threads, &tally);
    let seconds = began.elapsed().as_secs_f64();
    let [crash, nested, recoveries, damaged] = [
        &tally.crash_images,
        &tally.nested_images,
        &tally.recoveries,
        &tally.damaged_images,
    ]
    .map(|n| n.load(Ordering::Relaxed));
    let lost = u64::from(failure.is_some());
    println!(
        "{} worlds, {crash} crash images, {nested} nested images, {damaged} damaged logs, \
         {recoveries} recoveries, {seconds:.1} s on {threads} threads",
        plan.worlds.len()
    );
    report::write(
        "worlds",
        &format!(
            "{{\"worlds\": {}, \"crash_images\": {crash}, \"nested_images\": {nested}, \
             \"damaged_images\": {damaged}, \"recoveries\": {recoveries}, \"seconds\": {seconds:.1}, \
             \"lost\": {lost}}}",
            plan.worlds.len()
        ),
    );
    if let Some(f) = failure {
        // Numbers of cuts depend on the plan.
        panic!("{f}{}", if large { " PROOF=large" } else { "" });
    }
    // Else the rules would hold of nothing.
    let least = if large { 1_000_000 } else { 50_000 };
    assert!(
        crash >= least,
        "{crash} crash images, {least} were promised"
    );
}
