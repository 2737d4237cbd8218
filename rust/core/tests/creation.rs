// SPDX-License-Identifier: GPL-2.0

//! A log that is being made: wherever the node dies, and whatever of its stores reached the media, the region
//! is blank as before or holds the whole log. And nothing else is ever taken for blank.

mod common;

use common::{
    crc, key,
    pmem::{Crash, Pmem},
    seeds, superblock, Rng,
};
use core_crate::{
    creation::{claimed, create, release, Store},
    format::{Mark, SetName, Super, CLAIM, FIRST_COUNTER, SUPER_BYTES},
    layout::{superblock_offset, Geometry, LANES_OFFSET, SLOT_BYTES},
    ownership::Found,
    partner::{answer, Answer, Here},
    recover::{read_mark, read_super, Damage},
    takeover::{distrusted, from_nothing},
    units::Generation,
    wire::Hello,
};
use std::{
    cell::Cell,
    collections::{BTreeSet, HashSet},
};

fn geometry() -> Geometry {
    Geometry::new(1, 16, 512 * 1024).unwrap()
}

fn node() -> Super {
    Super {
        counter: FIRST_COUNTER,
        generation: Generation(0),
        ..superblock(geometry())
    }
}

fn mark() -> Mark {
    Mark::first(Generation(0), geometry().lanes())
}

/// A region in which one operation, if one is named, does not happen.
struct Region<'a> {
    pmem: &'a mut Pmem,
    done: usize,
    without: usize,
}

/// None is left out.
const NONE: usize = usize::MAX;

impl Region<'_> {
    fn next(&mut self) -> bool {
        self.done += 1;
        self.done - 1 != self.without
    }
}

impl Store for Region<'_> {
    type Error = Crash;

    fn store(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Crash> {
        match self.next() {
            true => self.pmem.store(offset, bytes),
            false => Ok(()),
        }
    }

    fn zero(&mut self, offset: u64, bytes: u64) -> Result<(), Crash> {
        self.store(offset, &vec![0; bytes as usize])
    }

    fn fence(&mut self) -> Result<(), Crash> {
        match self.next() {
            true => self.pmem.fence(),
            false => Ok(()),
        }
    }
}

/// How a node makes its log.
#[derive(Clone, Copy)]
struct Way {
    first: Super,
    mark: Option<Mark>,
    /// What follows at once goes to the other slot.
    second: bool,
    without: usize,
}

impl Way {
    /// `create in_step`.
    fn initiator() -> Way {
        Way {
            first: node(),
            mark: Some(mark()),
            second: false,
            without: NONE,
        }
    }

    /// A standby, and a takeover by force.
    fn other(first: Super) -> Way {
        Way {
            first,
            mark: None,
            second: true,
            without: NONE,
        }
    }

    fn make(&self, pmem: &mut Pmem) -> Result<(), Crash> {
        let (done, without) = (0, self.without);
        let mut region = Region {
            pmem,
            done,
            without,
        };
        let mut new = create(&mut region, crc, &self.first, self.mark.as_ref())?;
        if self.second {
            new.counter += 1;
            pmem.store(superblock_offset(0), &new.seal(crc))?;
            pmem.fence()?;
        }
        Ok(())
    }

    /// What a crash has left: blank, or the log, which is answered. Else, why not.
    fn outcome(&self, pmem: &Pmem) -> Result<Option<Super>, String> {
        let found = read_super(pmem, crc).map_err(|d| d.to_string())?;
        if let Some(s) = found {
            let counter = s.counter;
            assert!([FIRST_COUNTER, FIRST_COUNTER + 1].contains(&counter));
            assert_eq!(
                s,
                Super {
                    counter,
                    ..self.first
                }
            );
            if read_mark(pmem, crc, key()).map_err(|d| d.to_string())? != self.mark {
                return Err("the superblock is there, its mark is not".into());
            }
        }
        Ok(found)
    }
}

/// Everything that a crash at this moment can leave of the first two slots, and all or nothing of the rest.
fn images(pmem: &Pmem, mut each: impl FnMut(&Pmem)) -> u64 {
    let on_the_way = pmem.on_the_way();
    let [none, all] = [false, true].map(|survives| {
        let mut p = pmem.clone();
        p.cut(
            &on_the_way,
            match survives {
                true => proof::survive::Keep::Everything,
                false => proof::survive::Keep::Nothing,
            },
        );
        p
    });
    let (slots, bytes) = (2 * SLOT_BYTES as usize, pmem.bytes() as usize);
    let word = |p: &Pmem, at: u64| p.peek(at, 8);
    let changed: Vec<u64> = (0..slots as u64)
        .step_by(8)
        .filter(|at| word(&none, *at) != word(&all, *at))
        .collect();
    assert!(changed.len() < 20, "{} words", changed.len());
    let rest = all.peek(slots as u64, bytes - slots);
    let mut count = 0;
    for with_rest in [false, true] {
        let mut base = none.clone();
        if with_rest {
            if base.peek(slots as u64, bytes - slots) == rest {
                continue;
            }
            base.poke(slots as u64, &rest);
        }
        for subset in 0..1u32 << changed.len() {
            let mut p = base.clone();
            for (i, at) in changed.iter().enumerate() {
                if (subset >> i) & 1 == 1 {
                    p.poke(*at, &word(&all, *at));
                }
            }
            each(&p);
            count += 1;
        }
    }
    count
}

/// Every crash of a creation in this region. `each` gets how many operations were done, and what is left.
fn crashes(way: &Way, region: &Pmem, mut each: impl FnMut(u64, &Pmem)) -> u64 {
    let mut count = 0;
    for fuse in 0.. {
        let mut pmem = region.clone();
        pmem.fuse = fuse;
        let died = way.make(&mut pmem).is_err();
        count += images(&pmem, |p| each(fuse, p));
        if !died {
            return count;
        }
    }
    unreachable!()
}

/// The three ways, each as core gives its first superblock.
fn ways() -> [Way; 3] {
    let owner = superblock(geometry());
    let reign = owner.generation.next().unwrap();
    let hello = Hello::of_owner(&owner, reign, 1, false);
    let here = Here {
        region: geometry().bytes(),
        members: 1,
        record: false,
        node: 77,
    };
    let Answer::Welcome { durable, .. } = answer(None, &here, &hello) else {
        panic!("a blank standby refuses");
    };
    let nothing = from_nothing(&Found::Unused, owner.name, owner.uuid, 77, geometry()).unwrap();
    [
        Way::initiator(),
        Way::other(durable),
        Way::other(distrusted(&nothing)),
    ]
}

fn blank() -> Pmem {
    Pmem::new(geometry().bytes())
}

/// Other bytes behind the superblocks, where a region may be anything.
fn behind(rng: &mut Rng) -> Pmem {
    let mut pmem = blank();
    let mut bytes = vec![0; (LANES_OFFSET + 4096 - 2 * SLOT_BYTES) as usize];
    rng.fill(&mut bytes);
    pmem.poke(2 * SLOT_BYTES, &bytes);
    pmem
}

#[test]
fn a_first_superblock_has_the_first_counter() {
    for way in ways() {
        assert_eq!(way.first.counter, FIRST_COUNTER);
        let mut pmem = blank();
        let first = Super {
            counter: 9,
            ..way.first
        };
        Way { first, ..way }.make(&mut pmem).unwrap();
        let found = read_super(&pmem, crc).unwrap().unwrap();
        assert_eq!(found.counter, FIRST_COUNTER + u64::from(way.second));
    }
}

#[test]
fn every_crash_leaves_a_blank_region_or_a_log() {
    let count = Cell::new(0);
    for way in ways() {
        seeds(2, |rng| {
            for region in [blank(), behind(rng)] {
                let mut outcomes = [0u64; 2];
                let tried = crashes(&way, &region, |_, p| {
                    let found = way.outcome(p).unwrap();
                    outcomes[usize::from(found.is_some())] += 1;
                    if found.is_some_and(|s| s.counter == FIRST_COUNTER) && claimed(p).unwrap() {
                        finished(&way, p);
                    }
                });
                assert!(outcomes.iter().all(|n| *n > 3), "{outcomes:?}");
                count.set(count.get() + tried);
            }
        });
    }
    println!("{} images", count.get());
    assert!(count.get() > 10_000, "{}", count.get());
}

/// The node died before it erased its claim. It does so when it comes up again, and may die in that.
fn finished(way: &Way, left: &Pmem) {
    for fuse in 0..=2 {
        let mut pmem = left.clone();
        pmem.fuse = fuse;
        let mut region = Region {
            pmem: &mut pmem,
            done: 0,
            without: NONE,
        };
        let died = release(&mut region).is_err();
        images(&pmem, |p| {
            assert!(way.outcome(p).unwrap().is_some());
            assert!(died || !claimed(p).unwrap());
        });
    }
}

/// A region in which a creation was interrupted serves for another one, whatever it left; and as often as
/// wanted: what a crash before the new superblock leaves is what some crash of the first one can have left.
#[test]
fn a_torn_region_is_used_again() {
    let first = Way::initiator();
    let mut left: Vec<Pmem> = vec![];
    let mut known = HashSet::new();
    let slots = |p: &Pmem| p.peek(0, 2 * SLOT_BYTES as usize);
    crashes(&first, &blank(), |_, p| {
        if first.outcome(p).unwrap().is_none() && known.insert(slots(p)) {
            left.push(p.clone());
        }
    });
    assert!(left.len() > 1000, "{}", left.len());
    let mut again = Way::other(Super {
        uuid: [0x5a; 16],
        name: SetName::new("another-set").unwrap(),
        node: 99,
        ..node()
    });
    again.second = false;
    // Claim, fence, zeroes, fence: from there on all of them are one.
    let zeroed = 4;
    let mut one = None;
    for torn in &left {
        for fuse in 0..=zeroed {
            let mut pmem = torn.clone();
            pmem.fuse = fuse;
            assert!(again.make(&mut pmem).is_err());
            if fuse == zeroed {
                let mut p = pmem.clone();
                p.cut(&pmem.on_the_way(), proof::survive::Keep::Nothing);
                let bytes = slots(&p);
                assert_eq!(one.get_or_insert_with(|| bytes.clone()), &bytes);
            } else {
                images(&pmem, |p| assert!(known.contains(&slots(p))));
            }
        }
    }
    let mut pmem = left.pop().unwrap();
    again.make(&mut pmem).unwrap();
    assert!(again.outcome(&pmem).unwrap().is_some());
}

/// Each operation that matters, left out: some crash leaves what is refused, or a claim behind.
#[test]
fn every_step_is_needed() {
    // In order: claim, fence, zeroes, fence, mark, fence, superblock, fence, zeroes, fence.
    let finds = |without: usize| {
        let mut way = Way::initiator();
        way.without = without;
        let mut found = BTreeSet::new();
        crashes(&way, &blank(), |_, p| found.extend(way.outcome(p).err()));
        found
    };
    assert_eq!(finds(NONE), BTreeSet::new());
    let torn = [Damage::Superblock, Damage::Foreign, Damage::Version(0)].map(|d| d.to_string());
    assert_eq!(finds(0), BTreeSet::from(torn.clone()));
    assert_eq!(finds(7), BTreeSet::from(torn));
    // The superblock is there, its mark is not, or not all of it.
    assert!(!finds(4).is_empty());
    assert!(!finds(5).is_empty());
    // The end: whoever takes part has no claim, whatever was not fenced.
    let stays = |without: usize| {
        let way = Way {
            without,
            ..Way::initiator()
        };
        let mut pmem = blank();
        way.make(&mut pmem).unwrap();
        let mut stays = false;
        images(&pmem, |p| stays |= claimed(p).unwrap());
        stays
    };
    assert!(!stays(NONE));
    assert!(stays(8));
    assert!(stays(9));
}

/// A claim makes nothing blank but what a creation leaves.
#[test]
fn nothing_else_is_blank() {
    let slot1 = superblock_offset(1);
    let claim = || {
        let mut pmem = blank();
        pmem.poke(0, &CLAIM);
        assert_eq!(read_super(&pmem, crc), Ok(None));
        pmem
    };
    // Something behind the claim, or behind the superblock that was being written.
    for at in [8, SUPER_BYTES as u64, 511, 4095] {
        let mut pmem = claim();
        pmem.poke(at, &[1]);
        assert_eq!(read_super(&pmem, crc), Err(Damage::Foreign), "{at}");
    }
    for at in [SUPER_BYTES as u64, 511, 4095] {
        let mut pmem = claim();
        pmem.poke(slot1 + at, &[1]);
        assert_eq!(read_super(&pmem, crc), Err(Damage::Foreign), "{at}");
    }
    // In slot 1 what is no first superblock.
    let mut pmem = claim();
    pmem.poke(slot1, b"somebody");
    assert_eq!(read_super(&pmem, crc), Err(Damage::Foreign));
    pmem.poke(slot1, &CLAIM);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Foreign));
    let mut later = node();
    later.counter = FIRST_COUNTER + 2;
    let mut pmem = claim();
    pmem.poke(slot1, &later.seal(crc));
    assert_eq!(read_super(&pmem, crc), Ok(Some(later)));
    pmem.flip(slot1 + 40, 0);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Superblock));
    let mut newer = node().seal(crc);
    newer[8] = 3;
    let mut pmem = claim();
    pmem.poke(slot1, &newer);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Version(3)));
    newer[8] = 0;
    pmem.poke(slot1, &newer);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Version(0)));
    // A claim in the other slot.
    let mut pmem = blank();
    pmem.poke(slot1, &CLAIM);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Foreign));
    // The same torn superblock with a claim and without.
    let mut pmem = claim();
    pmem.poke(slot1, &node().seal(crc)[..64]);
    assert_eq!(read_super(&pmem, crc), Ok(None));
    pmem.poke(0, &[0; 8]);
    assert_eq!(read_super(&pmem, crc), Err(Damage::Superblock));
}

/// Damage to a log that a node has taken part with is never blank: it has no claim, and its second slot was
/// written.
#[test]
fn a_damaged_log_is_never_blank() {
    let mut pmem = blank();
    Way::initiator().make(&mut pmem).unwrap();
    assert!(!claimed(&pmem).unwrap());
    let torn = Cell::new(0);
    // Of the log as it is made, and of one that has had a reign.
    for reign in [false, true] {
        let mut written = node();
        for counter in [FIRST_COUNTER + 1, FIRST_COUNTER + 2] {
            if reign {
                written.counter = counter;
                let slot = superblock_offset(usize::from(counter % 2 == 1));
                pmem.poke(slot, &written.seal(crc));
            }
        }
        seeds(2000, |rng| {
            let mut bad = pmem.clone();
            for slot in 0..2 {
                let at = superblock_offset(slot);
                if rng.one_in(2) {
                    for word in (0..SUPER_BYTES as u64).step_by(8) {
                        if rng.one_in(2) {
                            bad.poke(at + word, &[0; 8]);
                        }
                    }
                }
                if rng.one_in(2) {
                    bad.flip(at + rng.below(SUPER_BYTES as u64), rng.below(8));
                }
            }
            if bad.peek(0, 8192).iter().any(|b| *b != 0) {
                let found = read_super(&bad, crc);
                assert_ne!(found, Ok(None));
                torn.set(torn.get() + u64::from(found.is_err()));
            }
        });
    }
    assert!(torn.get() > 500, "{}", torn.get());
}
