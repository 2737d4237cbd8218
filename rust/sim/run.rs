// SPDX-License-Identifier: GPL-2.0

//! A run, and a smaller one that fails as well.

use crate::{
    config::Config,
    exec,
    rng::Rng,
    schedule::{self, Event},
    world::{self, World},
};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// More steps than any run takes that gets anywhere.
const MOST_STEPS: u64 = 300_000;

/// What came of a run.
#[derive(Default)]
pub struct Outcome {
    pub violation: Option<String>,
    pub trace: Vec<String>,
    pub steps: u64,
    pub acked: u64,
    pub reads: u64,
}

/// Configuration and events of a seed.
pub fn plan(seed: u64) -> (Config, Vec<Event>) {
    let cfg = Config::new(&mut Rng::new(seed, 1));
    let events = schedule::events(&cfg, &mut Rng::new(seed, 2));
    (cfg, events)
}

/// Runs these events with a seed's configuration and numbers.
pub fn run(seed: u64, cfg: &Config, events: &[Event], trace: bool) -> Outcome {
    exec::reset(Rng::new(seed, 3), trace);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let world = World::new(cfg.clone());
        exec::spawn(None, world::play(world.clone(), events.to_vec()));
        while exec::violation().is_none() && !world.done.get() {
            match exec::step() {
                Ok(true) => {}
                Ok(false) => exec::violate("stuck: nobody waits for anything".into()),
                Err(exec::PowerCut(node)) => world::burned(&world, node),
            }
            world.check();
            if exec::steps() > MOST_STEPS {
                exec::violate("stuck: busy for ever".into());
            }
        }
        world.end();
        let oracle = world.oracle.borrow();
        (oracle.acked, oracle.reads)
    }));
    let (acked, reads) = *ran.as_ref().unwrap_or(&(0, 0));
    if ran.is_err() {
        exec::violate("panicked".into());
    }
    let outcome = Outcome {
        violation: exec::violation(),
        trace: exec::traced(),
        steps: exec::steps(),
        acked,
        reads,
    };
    exec::reset(Rng::new(0, 0), false);
    outcome
}

/// Runs a seed.
pub fn run_seed(seed: u64) -> Outcome {
    let (cfg, events) = plan(seed);
    run(seed, &cfg, &events, false)
}

/// Which of the events are enough to break a rule: leaves out as many as it can, in halves, quarters and
/// so on.
pub fn shrink(seed: u64, cfg: &Config, events: &[Event]) -> Vec<usize> {
    let fails = |kept: &[usize]| {
        let some: Vec<Event> = kept.iter().map(|i| events[*i].clone()).collect();
        run(seed, cfg, &some, false).violation.is_some()
    };
    let mut kept: Vec<usize> = (0..events.len()).collect();
    let mut piece = kept.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        let mut smaller = false;
        while from < kept.len() {
            let mut less = kept.clone();
            less.drain(from..(from + piece).min(kept.len()));
            if fails(&less) {
                kept = less;
                smaller = true;
            } else {
                from += piece;
            }
        }
        if piece == 1 && !smaller {
            return kept;
        }
        if !smaller {
            piece = piece.div_ceil(2);
        }
    }
}
