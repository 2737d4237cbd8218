// SPDX-License-Identifier: GPL-2.0

//! Crash images of the real kernel's own stores.
//!
//! A traced guest (`scripts/images`) leaves every store, flush and fence that the module made to both
//! nodes' logs. This cuts the power at many points of the trace, keeps or loses what was not fenced, and
//! runs the module's recovery on what is left: of the owner's log alone, and of its partner's alone.
//!
//! ```text
//! images <trace> [cuts=<number>] [subsets=<number>] [images=<at least>] [seed=<number>]
//!        [plants=no] [json=<file> [spent=<seconds so far>]]
//! ```

mod check;
mod client;
mod disk;
mod memory;
mod oracle;
mod plant;
mod random;
mod recovery;
mod trace;
mod world;

use core_crate::layout::HEADER_BYTES;
use memory::Survivors;
use plant::Plant;
use random::Random;
use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    process::exit,
    time::Instant,
};
use trace::{Event, Trace};
use world::{place, Costs, World, LANES, MARKS, OWNER, PARTNER, SUPERBLOCKS};

struct Options {
    trace: String,
    /// Points at which the power is cut.
    cuts: usize,
    /// Random survivors at each, beside none and all.
    subsets: usize,
    /// Fewer images than this are a failure.
    images: u64,
    seed: u64,
    json: Option<String>,
    /// Seconds that it took to make the trace.
    spent: f64,
    plants: bool,
}

const NODES: [&str; 2] = ["owner", "partner"];

fn options() -> Result<Options, String> {
    let mut words = std::env::args().skip(1);
    let mut o = Options {
        trace: words.next().ok_or("which trace?")?,
        cuts: 500,
        subsets: 2,
        images: 1,
        seed: 1,
        json: None,
        spent: 0.0,
        plants: true,
    };
    for word in words {
        let (name, value) = word.split_once('=').ok_or(format!("what is {word}?"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{name}: {value} is no number"))
        };
        match name {
            "cuts" => o.cuts = number()? as usize,
            "subsets" => o.subsets = number()? as usize,
            "images" => o.images = number()?,
            "spent" => o.spent = number()? as f64,
            "seed" => o.seed = number()?,
            "json" => o.json = Some(value.into()),
            "plants" => o.plants = value != "no",
            _ => return Err(format!("what is {name}?")),
        }
    }
    Ok(o)
}

/// Where the power is cut: before an event, in the middle of its store, or behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Before,
    After,
    Within,
}

/// What was stored last in a log when the power is cut. Each gets its share of the cuts, as most stores
/// are data; a superblock is rare, and gets more images.
const KINDS: [(Range<u64>, usize); 3] = [(SUPERBLOCKS, 8), (MARKS, 2), (LANES, 1)];

struct Point {
    cut: Cut,
    /// So many times the random images.
    more: usize,
}

/// Points of the trace at which something may be lost, and as many of them as wanted.
fn choose(trace: &Trace, wanted: usize, random: &mut Random) -> BTreeMap<usize, Vec<Point>> {
    let begun = trace
        .events
        .iter()
        .position(|e| matches!(e, Event::Submitted(_)))
        .unwrap_or(usize::MAX);
    let mut all = [const { vec![] }; KINDS.len()];
    let mut last = None;
    for (i, event) in trace.events.iter().enumerate().skip(begun) {
        match event {
            Event::Store { at, .. } => {
                let (region, at) = place(*at);
                if region <= PARTNER {
                    last = KINDS.iter().position(|k| k.0.contains(&at));
                    all[last.unwrap_or(0)].push((i, Cut::Within));
                }
            }
            Event::Fence { .. } | Event::Flush { .. } => {
                if let Some(kind) = last {
                    all[kind].push((i, Cut::Before));
                    all[kind].push((i, Cut::After));
                }
            }
            Event::Done(_) => {
                if let Some(kind) = last {
                    all[kind].push((i, Cut::After));
                }
            }
            Event::Submitted(_) => {}
        }
    }
    let mut chosen = BTreeMap::<usize, Vec<Point>>::new();
    let mut left = wanted;
    for (n, ((_, more), mut of_kind)) in KINDS.iter().zip(all).enumerate() {
        let share = (left / (KINDS.len() - n)).min(of_kind.len());
        left -= share;
        for k in 0..share {
            let other = k + random.below((of_kind.len() - k) as u64) as usize;
            of_kind.swap(k, other);
            let (i, cut) = of_kind[k];
            chosen
                .entry(i)
                .or_default()
                .push(Point { cut, more: *more });
        }
    }
    chosen
}

/// Losses that are told of; after as many no more are looked for.
const ENOUGH: usize = 10;

#[derive(Default)]
struct Found {
    images: [u64; 2],
    cuts: u64,
    lost: Vec<String>,
}

/// Cuts the power here, in every way that is tried.
fn cut(world: &mut World, subsets: usize, random: &mut Random, found: &mut Found) {
    found.cuts += 1;
    if let Err(e) = check::remote(world) {
        found.lost.push(format!("event {}: {e}", world.now));
    }
    for node in [OWNER, PARTNER] {
        let mut ways = vec![Survivors::None, Survivors::All];
        ways.extend((0..subsets).map(|_| Survivors::some(random)));
        let mut seen = HashSet::new();
        for survivors in ways {
            match check::image(world, node, survivors, random, &mut seen) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(e) => found.lost.push(format!(
                    "event {}, the {}'s log, {survivors} of what was not fenced survives: {e}",
                    world.now, NODES[node]
                )),
            }
            found.images[node] += 1;
        }
    }
}

/// Goes through the whole trace; with a mistake, until it is found.
fn run(trace: &Trace, o: &Options, plant: Option<&Plant>) -> (Found, [Costs; 2]) {
    let mut random = Random::new(o.seed);
    let chosen = choose(trace, o.cuts, &mut random);
    let mut world = World::new();
    let mut found = Found::default();
    let mut saboteur = plant.map(Plant::saboteur);
    for (i, event) in trace.events.iter().enumerate() {
        let points = chosen.get(&i).map_or(&[][..], Vec::as_slice);
        let at = |cut| {
            let point = points.iter().find(|p| p.cut == cut)?;
            Some(point.more * o.subsets)
        };
        if let Some(subsets) = at(Cut::Before) {
            cut(&mut world, subsets, &mut random, &mut found);
        }
        let instead = match &mut saboteur {
            Some(s) => s.instead(&world, event),
            None => vec![event.clone()],
        };
        for event in instead {
            if let (
                Some(subsets),
                Event::Store {
                    cpu,
                    streamed,
                    at,
                    bytes,
                    ..
                },
            ) = (at(Cut::Within), &event)
            {
                // Whole words: what is stored at once gets there at once.
                let n = random.below(bytes.len() as u64 / 8) as usize * 8;
                world.store(*cpu, *streamed, *at, &trace.bytes(bytes)[..n]);
                cut(&mut world, subsets, &mut random, &mut found);
            }
            world.step(trace, &event);
        }
        if let Some(subsets) = at(Cut::After) {
            cut(&mut world, subsets, &mut random, &mut found);
        }
        // What was never flushed stays in doubt: with much of it a cut takes long.
        let enough = if plant.is_some() { 1 } else { ENOUGH };
        if found.lost.len() >= enough {
            break;
        }
    }
    (found, world.costs)
}

/// Prints the tests that passed and failed, and counts them.
#[derive(Default)]
struct Tap {
    count: usize,
    failed: usize,
}

impl Tap {
    fn test(&mut self, ok: bool, what: &str) {
        self.count += 1;
        self.failed += usize::from(!ok);
        println!("{}ok {} - {what}", if ok { "" } else { "not " }, self.count);
    }
}

fn per(n: u64, records: u64) -> f64 {
    n as f64 / records.max(1) as f64
}

/// What an append cost.
fn show(tap: &mut Tap, who: &str, c: &Costs) {
    println!(
        "# {who}: {} records with {} bytes of data: {:.4} bytes stored for each, in {:.1} stores, {} flushes and {:.3} fences a record",
        c.records,
        c.payload,
        per(c.bytes, c.payload),
        per(c.stores, c.records),
        c.flushes,
        per(c.fences, c.records)
    );
    // A record that a dying connection cut off is stored again.
    let once = c.bytes <= c.payload + c.records * HEADER_BYTES + c.payload / 50;
    tap.test(
        c.records > 0 && once && c.fences <= c.records && c.flushes == 0,
        &format!("{who}: one copy, no more than one fence, and no flush for a record"),
    );
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|n| format!("\"{n}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

fn main() {
    let o = options().unwrap_or_else(|e| {
        eprintln!("images: {e}");
        exit(2)
    });
    let began = Instant::now();
    let trace = std::fs::read(&o.trace)
        .map_err(|e| e.to_string())
        .and_then(Trace::read)
        .unwrap_or_else(|e| {
            eprintln!("images: {}: {e}", o.trace);
            exit(2)
        });
    let mut tap = Tap::default();
    println!("# seed={}, {} events", o.seed, trace.events.len());
    let (found, costs) = run(&trace, &o, None);
    for lost in found.lost.iter().take(ENOUGH) {
        println!("# LOST: {lost}");
    }
    let images = found.images[OWNER] + found.images[PARTNER];
    tap.test(
        found.lost.is_empty() && images >= o.images,
        &format!(
            "{images} images ({} of the owner's log, {} of its partner's) of {} cuts, at least {} wanted: {} lost",
            found.images[OWNER],
            found.images[PARTNER],
            found.cuts,
            o.images,
            found.lost.len()
        ),
    );
    for (who, c) in NODES.iter().zip(&costs) {
        show(&mut tap, who, c);
    }
    let mut planted = vec![];
    // What is lost anyway shows nothing of a mistake.
    let innocent = found.lost.is_empty();
    for p in plant::ALL.iter().filter(|_| o.plants && innocent) {
        let (found, _) = run(&trace, &o, Some(p));
        if let Some(how) = found.lost.first() {
            println!("# {how}");
            planted.push(p.name);
        }
        tap.test(
            !found.lost.is_empty(),
            &format!("a mistake is found: {}", p.name),
        );
    }
    println!("1..{}", tap.count);
    let own = &costs[OWNER];
    let json = format!(
        "{{\"kernel_images\": {images}, \"seconds\": {:.1}, \"lost\": {}, \
         \"planted\": {{\"found\": [{}], \"of\": [{}]}}, \
         \"per_append\": {{\"copies\": {:.4}, \"stores\": {:.1}, \"flushes\": {:.3}, \"fences\": {:.3}}}}}\n",
        o.spent + began.elapsed().as_secs_f64(),
        found.lost.len(),
        quoted(planted.into_iter()),
        quoted(plant::ALL.iter().filter(|_| o.plants).map(|p| p.name)),
        per(own.bytes, own.payload),
        per(own.stores, own.records),
        per(own.flushes, own.records),
        per(own.fences, own.records)
    );
    if let Some(Err(e)) = o.json.map(|path| std::fs::write(path, json)) {
        eprintln!("images: {e}");
        exit(2);
    }
    exit(i32::from(tap.failed > 0));
}
