// SPDX-License-Identifier: GPL-2.0

//! Mistakes on purpose, one at a time: each is found.

use core_crate::plant::{plant, Plant, OWNERSHIP};
use model::{config, explore, state::State};

/// More states than any of them takes.
const MOST: usize = 4_000_000;

#[test]
fn every_mistake_is_found() {
    let only = std::env::var("DMRC_ONLY").ok();
    let mut missed = vec![];
    for mistake in OWNERSHIP {
        let name = format!("{mistake:?}");
        if only.as_ref().is_some_and(|o| *o != name) {
            continue;
        }
        plant(Some(*mistake));
        let found = look_for(*mistake);
        plant(None);
        match found {
            Some(line) => println!("{name:24} {line}"),
            None => {
                println!("{name:24} NOT FOUND");
                missed.push(name);
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Where a mistake matters: words from the name of a run.
fn where_it_matters(mistake: Plant) -> [&'static str; 2] {
    use Plant::*;
    match mistake {
        RetireBeforeFlush => ["external, no record, wait", "the remote loses its cache"],
        RetireBeforePartner => ["external, no record, wait", "wide"],
        ForcedInStep => ["external, record, continue", "forced"],
        HandoverUnsaid => ["external, record, continue", "swap"],
        NoOutOfDateMark | LateOutOfDateMark | RecordNotRead | MarkTakenBackTooEarly => {
            ["external, record, continue", "the link is cut"]
        }
        OlderFrames | OlderWelcomed => ["external, no record, wait", "wide"],
        AloneTooLong => ["external, record, continue", "two deaths"],
        RecordBeforeFence => ["reservation, record, continue", "the link is cut"],
        StartUnread => ["external, record, continue", "forced"],
        NoFence | PreemptBack | RemoteNotFenced => {
            ["reservation, no record, wait", "the link is cut"]
        }
        UntrustedAcks => ["external, record, continue", "two deaths"],
        _ => ["external, no record, wait", "two deaths"],
    }
}

/// Which property breaks, in which run, and the length of the shortest way there.
fn look_for(mistake: Plant) -> Option<String> {
    let [set, theme] = where_it_matters(mistake);
    let mut runs = config::all(false);
    runs.extend(config::wide());
    let cfg = runs
        .into_iter()
        .find(|c| c.set == set && c.theme == theme)?;
    let starts = [State::running(&cfg)];
    let found = explore::explore(&cfg, &starts, MOST);
    let bad = found.violation.filter(|v| *v != explore::TOO_MANY)?;
    if std::env::var("DMRC_VERBOSE").is_ok() {
        for ((n, what), _) in explore::way(&cfg, &starts) {
            println!("  node {n} {what}");
        }
    }
    Some(format!(
        "{bad}: {} steps ({set}; {theme}; {} states)",
        found.depth, found.states
    ))
}
