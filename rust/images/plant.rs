// SPDX-License-Identifier: GPL-2.0

//! Kernels with a mistake, by way of their trace: what is left out of it or changed in it is what such a
//! kernel would not have done, or differently.

use crate::{
    trace::Event,
    world::{place, World, LANES, LOCAL, MARKS, OWNER, PARTNER, REMOTE, SUPERBLOCKS},
};
use std::{collections::HashMap, ops::Range};

/// A mistake.
pub struct Plant {
    /// Its name.
    pub name: &'static str,
    what: What,
}

enum What {
    /// Behind stores there, no fence.
    NoFence(usize, Range<u64>),
    /// The same, but the fence comes when the host is next told of a write.
    LateFence(usize),
    /// Stores there go into the cache, and nobody flushes it.
    Cached(usize, Range<u64>),
    /// Headers only.
    CachedHeaders(usize),
    /// Data only.
    CachedData(usize),
    /// Of the stores in this region, one run in so many does not happen.
    Omitted(usize, usize),
    /// One in so many comes this many events later.
    Delayed(usize, usize, usize),
    /// The host is told of a write as soon as it has submitted it.
    ToldAtOnce,
}

/// All of them.
pub const ALL: &[Plant] = &[
    Plant {
        name: "owner: no fence before the acknowledgement",
        what: What::NoFence(OWNER, LANES),
    },
    Plant {
        name: "owner: the fence comes after the acknowledgement",
        what: What::LateFence(OWNER),
    },
    Plant {
        name: "owner: cached stores without a flush",
        what: What::Cached(OWNER, LANES),
    },
    Plant {
        name: "owner: headers stored into the cache",
        what: What::CachedHeaders(OWNER),
    },
    Plant {
        name: "owner: data stored into the cache",
        what: What::CachedData(OWNER),
    },
    Plant {
        name: "owner: no fence behind a mark",
        what: What::NoFence(OWNER, MARKS),
    },
    Plant {
        name: "owner: marks stored into the cache",
        what: What::Cached(OWNER, MARKS),
    },
    Plant {
        name: "owner: no fence behind a superblock",
        what: What::NoFence(OWNER, SUPERBLOCKS),
    },
    Plant {
        name: "owner: now and then some words are not stored",
        what: What::Omitted(OWNER, 100),
    },
    Plant {
        name: "partner: no fence before its ACK",
        what: What::NoFence(PARTNER, LANES),
    },
    Plant {
        name: "partner: the fence comes after its ACK",
        what: What::LateFence(PARTNER),
    },
    Plant {
        name: "partner: cached stores without a flush",
        what: What::Cached(PARTNER, LANES),
    },
    Plant {
        name: "partner: no fence behind a mark",
        what: What::NoFence(PARTNER, MARKS),
    },
    Plant {
        name: "partner: superblocks stored into the cache",
        what: What::Cached(PARTNER, SUPERBLOCKS),
    },
    Plant {
        name: "local unit: now and then a write does not arrive",
        what: What::Omitted(LOCAL, 100),
    },
    Plant {
        name: "remote: now and then a write does not arrive",
        what: What::Omitted(REMOTE, 100),
    },
    Plant {
        name: "remote: a write is overtaken by those that depend on it",
        what: What::Delayed(REMOTE, 20, 300),
    },
    Plant {
        name: "a write is acknowledged before it is anywhere",
        what: What::ToldAtOnce,
    },
];

/// What a kernel with the mistake does in place of an event.
pub struct Saboteur<'a> {
    plant: &'a Plant,
    /// Where each processor stored last, if it has not fenced since.
    last: HashMap<u8, (usize, u64)>,
    /// What is to come, and at which event at the earliest.
    owed: Vec<(usize, Event)>,
    /// Stores in the region that is meant.
    count: usize,
}

impl Plant {
    /// The kernel with this mistake, at the begin of its life.
    pub fn saboteur(&self) -> Saboteur<'_> {
        Saboteur {
            plant: self,
            last: HashMap::new(),
            owed: vec![],
            count: 0,
        }
    }
}

impl Saboteur<'_> {
    /// What happens instead of `event`; nothing, if that is empty.
    pub fn instead(&mut self, world: &World, event: &Event) -> Vec<Event> {
        // A fence is the one behind a store if that is the last one which it waits for.
        let behind = match event {
            Event::Fence { cpu } => self.last.remove(cpu),
            Event::Store { cpu, at, .. } => {
                self.last.insert(*cpu, place(*at));
                None
            }
            _ => None,
        };
        let is_behind = |node: usize, range: &Range<u64>| {
            behind.is_some_and(|(region, at)| region == node && range.contains(&at))
        };
        match (&self.plant.what, event) {
            (What::NoFence(node, range), Event::Fence { .. }) if is_behind(*node, range) => vec![],
            (What::LateFence(node), Event::Fence { .. }) if is_behind(*node, &LANES) => {
                self.owed.push((world.now, event.clone()));
                vec![]
            }
            (What::LateFence(_), Event::Done(_)) => {
                let mut all = vec![event.clone()];
                all.extend(self.owed.drain(..).map(|(_, e)| e));
                all
            }
            (What::Delayed(_, _, events), _)
                if self.owed.first().is_some_and(|o| o.0 + events < world.now) =>
            {
                vec![self.owed.remove(0).1, event.clone()]
            }
            (What::ToldAtOnce, Event::Submitted(id)) => vec![event.clone(), Event::Done(*id)],
            (What::ToldAtOnce, Event::Done(_)) => vec![],
            (what, Event::Store { at, .. }) => {
                let (region, at) = place(*at);
                let header = world.headers().contains(&at);
                if matches!(what, What::Omitted(node, _) | What::Delayed(node, _, _) if region == *node)
                {
                    self.count += 1;
                }
                match what {
                    What::Cached(node, range) if region == *node && range.contains(&at) => {
                        vec![cached(event)]
                    }
                    What::CachedHeaders(node)
                        if region == *node && LANES.contains(&at) && header =>
                    {
                        vec![cached(event)]
                    }
                    What::CachedData(node) if region == *node && LANES.contains(&at) && !header => {
                        vec![cached(event)]
                    }
                    What::Omitted(node, often) if region == *node && self.count % often == 0 => {
                        vec![]
                    }
                    What::Delayed(node, often, _) if region == *node && self.count % often == 0 => {
                        self.owed.push((world.now, event.clone()));
                        vec![]
                    }
                    _ => vec![event.clone()],
                }
            }
            _ => vec![event.clone()],
        }
    }
}

fn cached(event: &Event) -> Event {
    let mut event = event.clone();
    if let Event::Store { streamed, .. } = &mut event {
        *streamed = false;
    }
    event
}
