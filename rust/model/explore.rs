// SPDX-License-Identifier: GPL-2.0

//! Visits all states, breadth first.
//!
//! Of a state that was visited only a fingerprint of 64 bits is kept. Two states with one fingerprint
//! would count as one: with 10^7 states that happens anywhere in one run of 10^5.

use crate::{config::Config, state::State, world::Label};
use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
};

/// Collects the bytes of a state.
struct Pack {
    bytes: [u8; 512],
    len: usize,
}

impl Hasher for Pack {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
    fn write_u8(&mut self, b: u8) {
        self.bytes[self.len] = b;
        self.len += 1;
    }
    // Discriminants and lengths of fixed arrays are small.
    fn write_isize(&mut self, i: isize) {
        self.write_u8(i as u8);
    }
    fn write_usize(&mut self, i: usize) {
        self.write_u8(i as u8);
    }
    fn finish(&self) -> u64 {
        let mut h = 0x9e37_79b9_7f4a_7c15u64 ^ self.len as u64;
        for c in self.bytes[..self.len.next_multiple_of(8)].chunks_exact(8) {
            let w = u64::from_le_bytes(c.try_into().unwrap_or_default());
            let m = u128::from(h ^ w) * u128::from(0xa076_1d64_78bd_642fu64);
            h = (m as u64 ^ (m >> 64) as u64).wrapping_add(w.rotate_left(23));
        }
        let m = u128::from(h ^ 0xe703_7ed1_a0b4_28db) * u128::from(0x8ebc_6af0_9c88_c6e3u64);
        m as u64 ^ (m >> 64) as u64
    }
}

fn fingerprint(s: &State) -> u64 {
    let mut p = Pack {
        bytes: [0; 512],
        len: 0,
    };
    s.hash(&mut p);
    p.finish().max(1)
}

/// A set of fingerprints: open addressing, no deletion.
struct Seen {
    slots: Vec<u64>,
    len: usize,
}

impl Seen {
    fn new() -> Seen {
        Seen {
            slots: vec![0; 1 << 16],
            len: 0,
        }
    }

    fn insert(&mut self, f: u64) -> bool {
        if self.len * 10 > self.slots.len() * 7 {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![0; old.len() * 2];
            for f in old.into_iter().filter(|f| *f != 0) {
                self.put(f);
            }
        }
        let new = self.put(f);
        self.len += usize::from(new);
        new
    }

    fn put(&mut self, f: u64) -> bool {
        let mask = self.slots.len() - 1;
        let mut i = (f >> 7) as usize & mask;
        loop {
            if self.slots[i] == f {
                return false;
            }
            if self.slots[i] == 0 {
                self.slots[i] = f;
                return true;
            }
            i = (i + 1) & mask;
        }
    }
}

/// What a run has found.
#[derive(Debug)]
pub struct Found {
    /// States that were visited.
    pub states: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// What was reached, see [`State::features`].
    pub features: u32,
    /// The property that broke.
    pub violation: Option<&'static str>,
    /// The state in which it did.
    pub state: Option<State>,
}

/// Stopped.
pub const TOO_MANY: &str = "too many states";

/// Visits all states, until a property breaks.
pub fn explore(cfg: &Config, starts: &[State], most: usize) -> Found {
    let mut seen = Seen::new();
    let mut now: Vec<State> = starts.to_vec();
    let mut next = vec![];
    let mut found = Found {
        states: 0,
        depth: 0,
        features: 0,
        violation: None,
        state: None,
    };
    for s in starts {
        seen.insert(fingerprint(s));
    }
    while !now.is_empty() {
        for s in &now {
            found.features |= s.features();
            if let Some(bad) = s.violation() {
                found.violation = Some(bad);
                found.state = Some(*s);
                found.states = seen.len;
                return found;
            }
        }
        for s in &now {
            s.next(cfg, |_, s| {
                if seen.insert(fingerprint(&s)) {
                    next.push(s);
                }
            });
        }
        if seen.len > most {
            found.violation = Some(TOO_MANY);
            break;
        }
        std::mem::swap(&mut now, &mut next);
        next.clear();
        found.depth += usize::from(!now.is_empty());
        if std::env::var("DMRC_VERBOSE").is_ok() {
            eprintln!("{} {} {}", found.depth, now.len(), seen.len);
        }
    }
    found.states = seen.len;
    found
}

/// The shortest way to a violation: what happens, in order.
pub fn way(cfg: &Config, starts: &[State]) -> Vec<(Label, State)> {
    let mut from: HashMap<u64, (u64, Label)> = HashMap::new();
    let mut now: Vec<State> = starts.to_vec();
    for s in starts {
        from.insert(fingerprint(s), (0, (0, "")));
    }
    while !now.is_empty() {
        if let Some(s) = now.iter().find(|s| s.violation().is_some()) {
            return replay(cfg, starts, &from, fingerprint(s));
        }
        let mut next = vec![];
        for s in &now {
            let parent = fingerprint(s);
            s.next(cfg, |label, s| {
                from.entry(fingerprint(&s)).or_insert_with(|| {
                    next.push(s);
                    (parent, label)
                });
            });
        }
        now = next;
    }
    vec![]
}

fn replay(
    cfg: &Config,
    starts: &[State],
    from: &HashMap<u64, (u64, Label)>,
    end: u64,
) -> Vec<(Label, State)> {
    let mut prints = vec![end];
    while let Some((parent, _)) = prints.last().and_then(|p| from.get(p)).filter(|p| p.0 != 0) {
        prints.push(*parent);
    }
    prints.reverse();
    let mut at = starts
        .iter()
        .copied()
        .find(|s| Some(&fingerprint(s)) == prints.first());
    let mut way = vec![];
    for want in prints.iter().skip(1) {
        let mut step = None;
        if let Some(s) = at {
            s.next(cfg, |label, s| {
                if fingerprint(&s) == *want {
                    step = Some((label, s));
                }
            });
        }
        at = step.map(|s| s.1);
        way.extend(step);
    }
    way
}
