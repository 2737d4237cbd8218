// SPDX-License-Identifier: GPL-2.0

//! Tries every crash of every world of a list, and every crash of the recovery from it.

use crate::{
    crash::{cuts, Cut},
    damage,
    pmem::Pmem,
    recovery::{looks, recover, How},
    rng::mix,
    site::{Broken, Moment, Site},
    survive::Depth,
    world::{Act, Story, Terrain, World, ACTS},
};
use std::{
    collections::HashSet,
    fmt,
    panic::{catch_unwind, AssertUnwindSafe},
    str::FromStr,
    sync::{
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        Mutex,
    },
};

/// How much is tried.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The worlds, in this order.
    pub worlds: Vec<World>,
    /// Worlds of fewer acts than this are tried in full depth, the others bounded.
    pub full: usize,
    /// Of the images that differ for the recovery, one in so many is crashed again, at every step of it.
    pub nested: u64,
}

const EVERYWHERE: [(Terrain, bool); 4] = [
    (Terrain::Aged, true),
    (Terrain::Aged, false),
    (Terrain::Fresh, true),
    (Terrain::Fresh, false),
];

fn sequences(of: &[Act], length: usize) -> Vec<Vec<Act>> {
    (0..length).fold(vec![vec![]], |shorter, _| {
        let longer = |acts: &Vec<Act>| {
            let acts = acts.clone();
            of.iter().map(move |a| {
                let mut acts = acts.clone();
                acts.push(*a);
                acts
            })
        };
        shorter.iter().flat_map(longer).collect()
    })
}

fn worlds(
    of: &[Act],
    lengths: std::ops::RangeInclusive<usize>,
    where_: &[(Terrain, bool)],
) -> Vec<World> {
    let mut all = vec![];
    for length in lengths {
        for (terrain, mirrored) in where_ {
            for acts in sequences(of, length) {
                // Without a partner nobody reconnects.
                if *mirrored || !acts.contains(&Act::Reconnect) {
                    all.push(World {
                        terrain: *terrain,
                        mirrored: *mirrored,
                        acts,
                    });
                }
            }
        }
    }
    all
}

impl Plan {
    /// For every check: all single acts everywhere, all pairs where there is most to go wrong, and there
    /// the triples of those acts that depend on each other most.
    pub fn bounded() -> Plan {
        let worst = &EVERYWHERE[..1];
        let mut all = worlds(ACTS, 0..=1, &EVERYWHERE);
        all.extend(worlds(&ACTS[..8], 2..=2, worst));
        all.extend(worlds(&ACTS[..4], 3..=3, worst));
        for world in worlds(ACTS, 2..=2, worst) {
            if !all.contains(&world) {
                all.push(world);
            }
        }
        Plan {
            worlds: all,
            full: 0,
            nested: 64,
        }
    }

    /// All pairs everywhere with more subsets of what survives, and all triples where there is most to go
    /// wrong.
    pub fn large() -> Plan {
        let mut all = worlds(ACTS, 0..=2, &EVERYWHERE);
        all.extend(worlds(ACTS, 3..=3, &EVERYWHERE[..1]));
        Plan {
            worlds: all,
            full: 3,
            nested: 16,
        }
    }
}

impl Plan {
    /// What survives the first crash of a world, and what the second.
    fn depths(&self, world: &World) -> [Depth; 2] {
        let full = world.acts.len() < self.full;
        let first = if full { Depth::Full } else { Depth::Bounded };
        [first, Depth::Few]
    }
}

/// Where to find one crash again: world, moment and number of the cut, and the same of a second one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The world.
    pub world: World,
    /// Moment and cut, and those of the recovery.
    pub crashes: Vec<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.world)?;
        self.crashes
            .iter()
            .try_for_each(|(m, c)| write!(f, ":{m}.{c}"))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let mut parts = text.split(':');
        let world = parts.next().unwrap_or("").parse()?;
        let crash = |p: &str| {
            let (m, c) = p.split_once('.')?;
            Some((m.parse().ok()?, c.parse().ok()?))
        };
        let crashes: Option<Vec<_>> = parts.map(crash).collect();
        Ok(Place {
            world,
            crashes: crashes.ok_or_else(|| format!("no crash: {text}"))?,
        })
    }
}

/// A crash from which something did not come back as it has to.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where.
    pub place: Place,
    /// What had just happened at each crash, and what survived.
    pub how: Vec<String>,
    /// Which rule.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        writeln!(f, "  world: {}", self.place.world)?;
        for h in &self.how {
            writeln!(f, "  crash: {h}")?;
        }
        write!(f, "  again: make worlds DMRC_WORLD='{}'", self.place)
    }
}

/// What was tried.
#[derive(Default)]
pub struct Tally {
    /// Different states of everything after a first crash.
    pub crash_images: AtomicU64,
    /// The same after a crash of a recovery, as far as they are not among those.
    pub nested_images: AtomicU64,
    /// Recoveries that were run.
    pub recoveries: AtomicU64,
    /// Damaged logs.
    pub damaged_images: AtomicU64,
}

/// A set that many threads add to.
struct Shared(Vec<Mutex<HashSet<u64>>>);

impl Shared {
    fn new() -> Shared {
        Shared((0..64).map(|_| Mutex::default()).collect())
    }

    fn is_new(&self, n: u64) -> bool {
        let shard = &self.0[(n >> 58) as usize];
        shard.lock().expect("no panic under it").insert(n)
    }
}

struct Explorer<'a> {
    plan: &'a Plan,
    tally: &'a Tally,
    images: Shared,
    runs: Shared,
    seen: Shared,
}

/// Runs a step of core's; a panic is a failure as any other.
fn guarded<T>(run: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|e| {
        let text = e.downcast_ref::<String>().cloned();
        let text = text.or_else(|| e.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(Broken(format!("panic: {}", text.unwrap_or_default())))
    })
}

fn describe(moment: &Moment, cut: &Cut) -> String {
    format!("after '{}'; {cut}", moment.what)
}

impl Explorer<'_> {
    /// Everything about one world.
    fn world(&self, world: &World) -> Result<(), Failure> {
        let fail = |how, crashes, Broken(what)| Failure {
            place: Place {
                world: world.clone(),
                crashes,
            },
            how,
            what,
        };
        let story = guarded(|| world.story()).map_err(|b| fail(vec![], vec![], b))?;
        let damaged = guarded(|| damage::check(&story));
        let damaged = damaged.map_err(|b| fail(vec!["damage".into()], vec![], b))?;
        self.tally
            .damaged_images
            .fetch_add(damaged, Ordering::Relaxed);
        let [depth, _] = self.plan.depths(world);
        for (m, moment) in story.moments.iter().enumerate() {
            for (c, cut) in cuts(&moment.site, depth).iter().enumerate() {
                self.crash(&story, world, moment, cut).map_err(|nested| {
                    let mut how = vec![describe(moment, cut)];
                    let mut crashes = vec![(m, c)];
                    if let Some((place, text)) = nested.second {
                        how.push(text);
                        crashes.push(place);
                    }
                    fail(how, crashes, nested.broken)
                })?;
            }
        }
        Ok(())
    }

    fn key(&self, world: &World, blank: &Pmem, left: &Site) -> u64 {
        mix(left.print(blank) ^ world.terrain as u64)
    }

    /// One crash, the recovery from it, and maybe every crash of that.
    fn crash(
        &self,
        story: &Story,
        world: &World,
        moment: &Moment,
        cut: &Cut,
    ) -> Result<(), Nested> {
        let mut left = cut.of(&moment.site);
        let key = self.key(world, &story.blank, &left);
        if self.images.is_new(key) {
            self.tally.crash_images.fetch_add(1, Ordering::Relaxed);
        }
        if !self.runs.is_new(mix(key ^ cut.how as u64)) {
            return Ok(());
        }
        let looks = guarded(|| looks(&left, cut.how))?;
        let again = self.seen.is_new(looks) && looks % self.plan.nested == 0;
        left.tape = again.then(Vec::new);
        self.tally.recoveries.fetch_add(1, Ordering::Relaxed);
        guarded(|| recover(&mut left, cut.how))?;
        let [_, depth] = self.plan.depths(world);
        for (m, moment) in left.tape.take().unwrap_or_default().iter().enumerate() {
            for (c, cut) in cuts(&moment.site, depth).iter().enumerate() {
                self.crash_again(story, world, moment, cut)
                    .map_err(|broken| Nested {
                        broken,
                        second: Some(((m, c), describe(moment, cut))),
                    })?;
            }
        }
        Ok(())
    }

    fn crash_again(
        &self,
        story: &Story,
        world: &World,
        moment: &Moment,
        cut: &Cut,
    ) -> Result<(), Broken> {
        let mut left = cut.of(&moment.site);
        let key = self.key(world, &story.blank, &left);
        if self.images.is_new(key) {
            self.tally.nested_images.fetch_add(1, Ordering::Relaxed);
        }
        if !self.runs.is_new(mix(key ^ cut.how as u64)) {
            return Ok(());
        }
        self.tally.recoveries.fetch_add(1, Ordering::Relaxed);
        guarded(|| recover(&mut left, cut.how))
    }
}

struct Nested {
    broken: Broken,
    second: Option<((usize, usize), String)>,
}

impl From<Broken> for Nested {
    fn from(broken: Broken) -> Nested {
        Nested {
            broken,
            second: None,
        }
    }
}

/// Tries all of it on so many threads; answers the first failure.
pub fn explore(plan: &Plan, threads: usize, tally: &Tally) -> Option<Failure> {
    let explorer = Explorer {
        plan,
        tally,
        images: Shared::new(),
        runs: Shared::new(),
        seen: Shared::new(),
    };
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let first: Mutex<Option<(usize, Failure)>> = Mutex::new(None);
    std::thread::scope(|s| {
        for _ in 0..threads.max(1) {
            s.spawn(|| loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(world) = plan.worlds.get(n).filter(|_| !stop.load(Ordering::Relaxed))
                else {
                    return;
                };
                if let Err(f) = explorer.world(world) {
                    stop.store(true, Ordering::Relaxed);
                    let mut first = first.lock().expect("no panic under it");
                    if first.as_ref().is_none_or(|(m, _)| n < *m) {
                        *first = Some((n, f));
                    }
                }
            });
        }
    });
    first
        .into_inner()
        .expect("no panic under it")
        .map(|(_, f)| f)
}

/// Runs one crash again and says what happens; `plan`: how the numbers of its cuts were found.
pub fn again(plan: &Plan, place: &Place) -> Result<Vec<String>, Failure> {
    let mut said = vec![];
    let fail = |said: &Vec<String>, Broken(what)| Failure {
        place: place.clone(),
        how: said.clone(),
        what,
    };
    let story = guarded(|| place.world.story()).map_err(|b| fail(&said, b))?;
    guarded(|| damage::check(&story)).map_err(|b| fail(&said, b))?;
    let mut moments = story.moments;
    let depths = plan.depths(&place.world);
    for (i, ((m, c), depth)) in place.crashes.iter().zip(depths).enumerate() {
        let missing = || Broken("there is no such moment or cut".into());
        let moment = moments.get(*m).ok_or_else(|| fail(&said, missing()))?;
        let cuts = cuts(&moment.site, depth);
        let cut = cuts.get(*c).ok_or_else(|| fail(&said, missing()))?;
        said.push(describe(moment, cut));
        let mut left = cut.of(&moment.site);
        left.tape = Some(vec![]);
        let how: How = cut.how;
        let result = guarded(|| recover(&mut left, how));
        moments = left.tape.take().unwrap_or_default();
        let last = i + 1 == place.crashes.len();
        if let (Err(b), true) = (result, last) {
            said.extend(moments.iter().map(|m| format!("    {}", m.what)));
            return Err(fail(&said, b));
        }
    }
    said.extend(moments.iter().map(|m| format!("    {}", m.what)));
    Ok(said)
}
