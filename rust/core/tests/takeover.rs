// SPDX-License-Identifier: GPL-2.0

//! Takeovers: the order of the acts, and every decision against plain sentences.

mod common;

use common::{geometry, record, superblock, UUID};
use core_crate::{
    format::{Copy_, Missing, Role, SetName, Super},
    ownership::{Fencing, Found, Kind, Ownership, Stale, LIMIT_STEP},
    takeover::{acts, decide, distrusted, from_nothing, Act, Asked, Refused, Reign, Source, View},
    units::{Generation, Seq},
};

const ME: u32 = 0x0a0b_0c0d;
const THEY: u32 = 9;
const STALE: Stale = Stale {
    since: Seq(61),
    generation: Generation(4),
    limit: Seq(70),
};

fn node(role: Role, copy: Copy_) -> Super {
    Super {
        generation: Generation(3),
        role,
        copy,
        ..superblock(geometry())
    }
}

fn founds() -> Vec<Found> {
    let mut foreign = record(1, THEY);
    foreign.uuid[3] ^= 1;
    let mut all = vec![
        Found::Unused,
        Found::Blank,
        Found::Unreadable,
        Found::Record(foreign),
    ];
    for generation in 1..=5 {
        for node in [ME, THEY] {
            for stale in [None, Some(STALE)] {
                for missing in [None, Missing::new(Seq(5), Seq(6))] {
                    all.push(Found::Record(Ownership {
                        stale,
                        missing,
                        ..record(generation, node)
                    }));
                }
            }
        }
    }
    all
}

const ASKED: [Asked; 4] = [Asked::Timeout, Asked::Message, Asked::Force, Asked::Resume];
const FENCINGS: [Fencing; 4] = [
    Fencing::None,
    Fencing::External,
    Fencing::Reservation(Kind::Holder),
    Fencing::Reservation(Kind::Registrants),
];

#[test]
fn the_order_of_the_acts() {
    let at = |a: Act| acts().iter().position(|b| *b == a).expect("it is done");
    let order = [
        Act::Consider,
        Act::Revoke,
        Act::Fence,
        Act::Decide,
        Act::Load,
        Act::WriteRecord,
        Act::WriteSuper,
        Act::FirstMark,
        Act::Replay,
    ];
    for pair in order.windows(2) {
        assert!(at(pair[0]) < at(pair[1]), "{pair:?}");
    }
    assert_eq!(acts().len(), order.len());
}

#[test]
fn every_decision() {
    let mut cases = 0;
    for found in founds() {
        for fencing in FENCINGS {
            for owner_alive in [false, true] {
                for asked in ASKED {
                    let view = View {
                        mine: None,
                        fencing,
                        found: &found,
                        owner_alive,
                        asked,
                    };
                    assert_eq!(decide(&view), Err(Refused::Blank));
                    for role in [Role::Owner, Role::Standby] {
                        for copy in [Copy_::Complete, Copy_::Incomplete] {
                            let mine = node(role, copy);
                            let mine = Some(&mine);
                            one_decision(&View { mine, ..view });
                            cases += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{cases} cases");
}

/// What is said against the takeover itself, in the order of weight.
fn said_against(v: &View<'_>) -> Option<Refused> {
    let resume = v.asked == Asked::Resume;
    if v.mine.unwrap().role == Role::Owner {
        return Some(Refused::IsOwner);
    }
    match v.found {
        Found::Unreadable => return Some(Refused::Unreadable),
        Found::Record(r) if r.uuid != UUID => return Some(Refused::OtherSet),
        _ => {}
    }
    if v.owner_alive && !resume {
        return Some(Refused::OwnerAlive);
    }
    (v.fencing == Fencing::None && !resume).then_some(Refused::Unfenced)
}

/// Whether the mirror may be replayed.
fn mirror_counts(v: &View<'_>) -> bool {
    v.mine.unwrap().copy == Copy_::Complete
        && match v.found {
            Found::Unused => true,
            // The owner of the last reign was this node: its log has everything.
            Found::Record(r) if r.node == ME => true,
            // An owner that is welcomed writes its record behind this node's superblock: one behind is
            // as it should be.
            Found::Record(r) => r.stale.is_none() && r.generation.0 + 1 >= 3,
            _ => false,
        }
}

fn one_decision(v: &View<'_>) {
    let got = decide(v);
    let what = format!("{v:?}: {got:?}");
    let force = v.asked == Asked::Force;
    let against = said_against(v);
    if let Some(no) = against.filter(|no| !force || !no.can_be_forced()) {
        return assert_eq!(got, Err(no), "{what}");
    }
    let record = v.found.of(&UUID);
    let reign = match got {
        Ok(reign) => reign,
        Err(no) => {
            // Only what speaks against the mirror is left, and only without force.
            assert!(!mirror_counts(v) && !force, "{what}");
            match no {
                Refused::Incomplete => assert_eq!(v.mine.unwrap().copy, Copy_::Incomplete),
                Refused::OutOfDate(s) => assert_eq!(record.unwrap().stale, Some(s)),
                Refused::NoRecord => assert_eq!(*v.found, Found::Blank),
                Refused::OldRecord(has, knows) => {
                    assert_eq!((has, knows), (record.unwrap().generation, Generation(3)));
                    assert!(has.0 + 1 < knows.0);
                }
                _ => panic!("{what}"),
            }
            assert!(no.can_be_forced(), "{what}");
            return;
        }
    };
    if mirror_counts(v) {
        assert_eq!(reign.source, Source::Mirror, "{what}");
    } else {
        // Never replayed; and without force only what was decided before this node died.
        assert_eq!(reign.source, Source::LocalUnit, "{what}");
        let decided = v.asked == Asked::Resume && record.is_some_and(|r| r.missing.is_some());
        assert!(force || decided, "{what}");
    }
    assert!(reign.generation > Generation(3), "{what}");
    assert!(
        record.is_none_or(|r| reign.generation > r.generation),
        "{what}"
    );
    assert_eq!(reign.before, *v.found);
    assert_eq!(reign.unfenced, v.fencing == Fencing::None, "{what}");
}

#[test]
fn the_last_generation() {
    let mine = Super {
        generation: Generation(u32::MAX),
        ..node(Role::Standby, Copy_::Complete)
    };
    for asked in ASKED {
        let view = View {
            mine: Some(&mine),
            fencing: Fencing::External,
            found: &Found::Unused,
            owner_alive: false,
            asked,
        };
        assert_eq!(decide(&view), Err(Refused::Generations));
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    let all = [
        (Refused::IsOwner, false, "already"),
        (Refused::Blank, true, "takeover force"),
        (Refused::Unfenced, true, "fencing reservation"),
        (Refused::OwnerAlive, true, "swap"),
        (Refused::Incomplete, true, "start the old owner"),
        (Refused::OutOfDate(STALE), true, "sequence 61, generation 4"),
        (Refused::OutOfDate(STALE), true, "start the old owner"),
        (Refused::NoRecord, true, "metadata"),
        (Refused::Unreadable, false, "make its device work"),
        (
            Refused::OldRecord(Generation(1), Generation(5)),
            true,
            "generation 1, this node knows generation 5",
        ),
        (Refused::OtherSet, false, "metadata_offset"),
        (Refused::Generations, false, "make the set anew"),
    ];
    for (refused, can_be_forced, say) in all {
        let text = refused.to_string();
        assert!(text.contains(say), "{text}");
        assert_eq!(refused.can_be_forced(), can_be_forced, "{text}");
        assert_eq!(text.contains("takeover force"), can_be_forced, "{text}");
    }
    for asked in ASKED {
        assert!(!asked.as_str().is_empty());
    }
}

fn reign(before: Found, source: Source) -> Reign {
    Reign {
        source,
        before,
        generation: Generation(6),
        unfenced: false,
    }
}

#[test]
fn what_a_takeover_makes_durable() {
    let old = Missing::new(Seq(5), Seq(6));
    let new = Missing::new(Seq(51), Seq(70));
    let mine = node(Role::Standby, Copy_::Incomplete);
    for found in founds().into_iter().filter(|f| *f != Found::Unreadable) {
        for unfenced in [false, true] {
            for missing in [None, new] {
                let reign = Reign {
                    unfenced,
                    ..reign(found, Source::Mirror)
                };
                let d = reign.durable(&mine, Seq(49), Seq(63), missing);
                let was = found.of(&UUID);
                let want = match (missing, was.and_then(|r| r.missing)) {
                    (Some(m), o) => Some(m.and(o)),
                    (None, o) => o,
                };
                let sup = Super {
                    counter: mine.counter + 1,
                    generation: Generation(6),
                    role: Role::Owner,
                    copy: Copy_::Complete,
                    alone: true,
                    unfenced,
                    missing: want,
                    ..mine
                };
                assert_eq!(d.mine, sup);
                let Some(r) = d.record else {
                    assert_eq!(found, Found::Unused);
                    continue;
                };
                assert_eq!((r.generation, r.node), (Generation(6), ME));
                assert_eq!((r.unfenced, r.missing), (unfenced, want));
                assert_eq!(r.counter, was.map_or(0, |w| w.counter + 1));
                assert_eq!(r.shipped, was.map_or(Seq(49), |_| Seq(50)));
                // Whoever comes back has a log that is outdated.
                let s = r.stale.unwrap();
                assert_eq!((s.since, s.generation), (Seq(64), Generation(6)));
                assert_eq!(s.limit, Seq(63 + LIMIT_STEP));
            }
        }
    }
    // What was missing before stays so.
    let mine = Super {
        missing: old,
        ..mine
    };
    let d = reign(Found::Unused, Source::Mirror).durable(&mine, Seq(1), Seq(2), None);
    assert_eq!(d.mine.missing, old);
    let d = reign(Found::Unused, Source::LocalUnit).durable(&mine, Seq(1), Seq(2), new);
    assert_eq!(d.mine.missing, Missing::new(Seq(5), Seq(70)));
}

#[test]
fn a_reign_is_not_older_than_its_keys() {
    for keys in 1..10 {
        let was = reign(Found::Unused, Source::Mirror);
        let now = was.fenced(Generation(keys));
        assert_eq!(now.generation.0, keys.max(6));
        let generation = was.generation;
        assert_eq!(Reign { generation, ..now }, was);
    }
    let mine = node(Role::Standby, Copy_::Complete);
    let given_up = distrusted(&mine);
    assert_eq!(given_up.copy, Copy_::Incomplete);
    assert_eq!(given_up.counter, mine.counter + 1);
}

#[test]
fn what_a_forced_takeover_reports() {
    let mine = node(Role::Standby, Copy_::Incomplete);
    let range = |found, shipped, seen| {
        let m = reign(found, Source::LocalUnit).missing(&mine, Seq(shipped), Seq(seen));
        (m.first.0, m.last.0)
    };
    let stale = Found::Record(Ownership {
        stale: Some(STALE),
        ..record(3, THEY)
    });
    // From behind what is known to be there, to the limit that the old owner kept.
    assert_eq!(range(stale, 40, 60), (51, 70));
    assert_eq!(range(stale, 52, 60), (53, 70));
    assert_eq!(range(stale, 52, 90), (53, 90));
    assert_eq!(range(stale, 95, 90), (96, 96));
    // No mark, so no limit: nobody knows.
    for found in [Found::Unused, Found::Blank, Found::Record(record(3, THEY))] {
        assert_eq!(range(found, 52, 60), (53, u64::MAX));
    }
    assert_eq!(range(Found::Blank, u64::MAX, 1), (u64::MAX, u64::MAX));
}

#[test]
fn a_takeover_from_nothing() {
    let name = SetName::new("set-1.a_b+c:d").unwrap();
    let other = SetName::new("other").unwrap();
    let new = |found: &Found, name| from_nothing(found, name, [7; 16], 5, geometry());
    let r = record(8, THEY);
    let mine = new(&Found::Record(r), name).unwrap();
    assert_eq!((mine.uuid, mine.generation), (UUID, Generation(8)));
    assert_eq!((mine.role, mine.copy), (Role::Standby, Copy_::Incomplete));
    assert_eq!((mine.node, mine.counter, mine.alone), (5, 0, false));
    for found in [Found::Blank, Found::Unused] {
        let mine = new(&found, name).unwrap();
        assert_eq!((mine.uuid, mine.generation), ([7; 16], Generation(0)));
    }
    assert_eq!(new(&Found::Record(r), other), Err(Refused::OtherSet));
    assert_eq!(new(&Found::Unreadable, name), Err(Refused::Unreadable));
}
