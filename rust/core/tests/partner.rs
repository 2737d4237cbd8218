// SPDX-License-Identifier: GPL-2.0

//! Partners: the tables. Their histories are the model's to explore (`rust/model`).

mod common;

use common::{superblock, UUID};
use core_crate::{
    format::{Copy_, Missing, Role, SetName, Super},
    layout::Geometry,
    partner::{
        answer, refused, AfterRefusal, Answer, Heartbeat, Here, Illegal, Mirror, MirrorEvent,
    },
    units::{Generation, Seq},
    wire::{Hello, Reason, Refusal},
};

fn small() -> Geometry {
    Geometry::new(2, 16, 512 * 1024).unwrap()
}

fn node(generation: u32, role: Role, copy: Copy_) -> Super {
    Super {
        generation: Generation(generation),
        role,
        copy,
        ..superblock(small())
    }
}

fn greeting(mine: &Super, reign: u32) -> Hello {
    Hello {
        uuid: mine.uuid,
        name: mine.name,
        generation: mine.generation,
        reign: Generation(reign),
        role: mine.role,
        copy: if mine.alone {
            Copy_::Incomplete
        } else {
            Copy_::Complete
        },
        blank: false,
        geometry: mine.geometry,
        members: 1,
        node: mine.node ^ 1,
        record: true,
        missing: mine.missing,
    }
}

const HERE: Here = Here {
    region: u64::MAX,
    members: 1,
    record: true,
    node: 77,
};

const STATES: [Mirror; 8] = [
    Mirror::Single,
    Mirror::Lost,
    Mirror::Alone,
    Mirror::CatchingUp {
        trusted: false,
        alone: false,
    },
    Mirror::CatchingUp {
        trusted: false,
        alone: true,
    },
    Mirror::CatchingUp {
        trusted: true,
        alone: false,
    },
    Mirror::Finishing,
    Mirror::Mirrored,
];

const EVENTS: [MirrorEvent; 6] = [
    MirrorEvent::Connected { trusted: false },
    MirrorEvent::Connected { trusted: true },
    MirrorEvent::CaughtUp,
    MirrorEvent::Completed,
    MirrorEvent::Disconnected,
    MirrorEvent::Detached,
];

#[test]
fn every_transition() {
    let catching = |trusted, alone| Mirror::CatchingUp { trusted, alone };
    for state in STATES {
        for event in EVENTS {
            let want = match (state, event) {
                (Mirror::Alone, MirrorEvent::Connected { .. }) => Some(catching(false, true)),
                (Mirror::Lost, MirrorEvent::Connected { trusted }) => {
                    Some(catching(trusted, false))
                }
                (Mirror::CatchingUp { .. }, MirrorEvent::CaughtUp) => Some(Mirror::Finishing),
                (Mirror::Finishing, MirrorEvent::Completed) => Some(Mirror::Mirrored),
                (Mirror::Single, _) => None,
                (
                    Mirror::Alone | Mirror::CatchingUp { alone: true, .. },
                    MirrorEvent::Disconnected,
                ) => Some(Mirror::Alone),
                (_, MirrorEvent::Disconnected) => Some(Mirror::Lost),
                (Mirror::Lost, MirrorEvent::Detached) => Some(Mirror::Alone),
                _ => None,
            };
            assert_eq!(
                state.on(event),
                want.ok_or(Illegal(state, event)),
                "{state:?} {event:?}"
            );
        }
    }
}

#[test]
fn what_waits_and_what_counts() {
    // State, writes wait, acknowledgements count, marks wait.
    let table = [
        (false, false, false),
        (true, false, true),
        (false, false, false),
        (true, false, true),
        (false, false, true),
        (true, true, true),
        (true, false, true),
        (true, true, true),
    ];
    for (state, want) in STATES.into_iter().zip(table) {
        let got = (state.writes_wait(), state.acks_count(), state.marks_wait());
        assert_eq!(got, want, "{state:?}");
        // What counts is waited for, and what waits for the mirror lets the mark wait.
        assert!(!state.acks_count() || state.writes_wait());
        assert!(!state.writes_wait() || state.marks_wait());
        assert!(!state.as_str().is_empty());
    }
}

/// Without an administrator's word there is no way from a copy that counts to one that does not.
#[test]
fn only_detaching_leads_to_alone() {
    let mut seen = vec![Mirror::Lost];
    let mut i = 0;
    while let Some(state) = seen.get(i).copied() {
        for event in EVENTS.into_iter().filter(|e| *e != MirrorEvent::Detached) {
            if let Ok(next) = state.on(event) {
                assert!(next.writes_wait(), "{state:?} {event:?}");
                if !seen.contains(&next) {
                    seen.push(next);
                }
            }
        }
        i += 1;
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(Mirror::at_start(false, false), Mirror::Single);
    assert_eq!(Mirror::at_start(false, true), Mirror::Single);
    assert_eq!(Mirror::at_start(true, false), Mirror::Lost);
    assert_eq!(Mirror::at_start(true, true), Mirror::Alone);
}

#[test]
fn answers_to_a_standbys_or_a_strangers_hello() {
    let mine = node(5, Role::Standby, Copy_::Complete);
    let good = greeting(&node(5, Role::Owner, Copy_::Complete), 6);
    let region = small().bytes();
    let reason =
        |mine: Option<&Super>, region, h: &Hello| match answer(mine, &Here { region, ..HERE }, h) {
            Answer::Refuse(r) => {
                assert_eq!(r.generation, mine.map_or(Generation(0), |m| m.generation));
                Some(r.reason)
            }
            Answer::Welcome { .. } => None,
        };
    let refuses = |h: Hello| reason(Some(&mine), region, &h);
    assert_eq!(refuses(good), None);
    let standby = Hello {
        role: Role::Standby,
        ..good
    };
    assert_eq!(refuses(standby), Some(Reason::NotOwner));
    let mut uuid = UUID;
    uuid[0] ^= 1;
    assert_eq!(refuses(Hello { uuid, ..good }), Some(Reason::OtherSet));
    let name = SetName::new("other").unwrap();
    assert_eq!(refuses(Hello { name, ..good }), Some(Reason::OtherSet));
    assert_eq!(
        refuses(Hello { members: 2, ..good }),
        Some(Reason::OtherSet)
    );
    assert_eq!(
        reason(Some(&mine), region - 1, &good),
        Some(Reason::Geometry)
    );
    assert_eq!(reason(None, region - 1, &good), Some(Reason::Geometry));
    assert_eq!(reason(None, region, &good), None);
    let node = mine.node;
    assert_eq!(refuses(Hello { node, ..good }), Some(Reason::SameNode));
    let record = false;
    assert_eq!(refuses(Hello { record, ..good }), Some(Reason::Record));
    assert_eq!(
        reason(None, region, &Hello { record, ..good }),
        Some(Reason::Record)
    );
}

/// All small numbers, against the sentences of the protocol.
#[test]
fn every_answer() {
    for my_gen in 1..=5 {
        for gen in 1..=5 {
            for reign in gen..=gen + 1 {
                for copy in [Copy_::Complete, Copy_::Incomplete] {
                    for alone in [false, true] {
                        let sender = Super {
                            alone,
                            ..node(gen, Role::Owner, Copy_::Complete)
                        };
                        let hello = greeting(&sender, reign);
                        standby_answers(my_gen, copy, &hello);
                        owner_answers(my_gen, &hello);
                    }
                }
            }
        }
    }
}

fn standby_answers(my_gen: u32, copy: Copy_, hello: &Hello) {
    let mine = node(my_gen, Role::Standby, copy);
    let (gen, reign) = (hello.generation.0, hello.reign.0);
    match answer(Some(&mine), &HERE, hello) {
        Answer::Refuse(r) => {
            assert_eq!(r.reason, Reason::Outdated);
            assert!(reign < my_gen);
        }
        Answer::Welcome {
            durable,
            trusted,
            step_down,
        } => {
            assert!(reign >= my_gen && !step_down);
            assert_eq!(durable.generation, hello.reign);
            assert_eq!(durable.role, Role::Standby);
            assert_eq!(durable.counter, mine.counter + 1);
            assert!(!durable.alone && !durable.unfenced);
            assert_eq!((durable.node, durable.missing), (mine.node, hello.missing));
            // Trusted: whole, of this owner's reign, and the owner has not served without it.
            let same = my_gen == gen || my_gen == reign;
            let want = copy == Copy_::Complete && same && hello.copy == Copy_::Complete;
            assert_eq!(trusted, want);
            assert_eq!(trusted, durable.copy == Copy_::Complete);
            let other = Geometry::new(3, 16, 512 * 1024).unwrap();
            let moved = Hello {
                geometry: other,
                ..*hello
            };
            let Answer::Welcome {
                trusted, durable, ..
            } = answer(Some(&mine), &HERE, &moved)
            else {
                panic!("refused");
            };
            assert!(!trusted && durable.geometry == other);
        }
    }
}

fn owner_answers(my_gen: u32, hello: &Hello) {
    let mine = node(my_gen, Role::Owner, Copy_::Complete);
    match answer(Some(&mine), &HERE, hello) {
        Answer::Refuse(r) => {
            let gen = hello.generation.0;
            let want = if gen < my_gen {
                (Reason::Outdated, AfterRefusal::StandBy)
            } else {
                (Reason::TwoOwners, AfterRefusal::Conflict)
            };
            assert!(gen <= my_gen);
            let sender = node(gen, Role::Owner, Copy_::Complete);
            assert_eq!((r.reason, refused(&sender, &r)), want);
        }
        Answer::Welcome {
            durable,
            trusted,
            step_down,
        } => {
            assert!(hello.generation.0 > my_gen && step_down && !trusted);
            assert_eq!(
                (durable.role, durable.copy),
                (Role::Standby, Copy_::Incomplete)
            );
            assert_eq!(durable.generation, hello.reign);
        }
    }
}

/// A node whose log is blank takes its own number, unless the partner has it.
#[test]
fn a_blank_node_joins() {
    let mut sender = node(5, Role::Owner, Copy_::Complete);
    sender.missing = Missing::new(Seq(3), Seq(4));
    // The last eight bits tell nodes apart at the units; 0 is no number.
    for (theirs, number, want) in [
        (5, 6, 6),
        (5, 5, 4),
        (5, 0x105, 0x104),
        (1, 1, 2),
        (1, 0, 2),
        (2, 0, 1),
        (0x102, 0, 1),
        (3, 3, 2),
    ] {
        let here = Here {
            node: number,
            ..HERE
        };
        let hello = Hello {
            node: theirs,
            ..greeting(&sender, 6)
        };
        let Answer::Welcome {
            durable,
            trusted,
            step_down,
        } = answer(None, &here, &hello)
        else {
            panic!("refused");
        };
        assert!(!trusted && !step_down && durable.copy == Copy_::Incomplete);
        assert_eq!((durable.counter, durable.node), (1, want));
        assert_eq!(durable.generation, Generation(6));
        assert_eq!(durable.missing, sender.missing);
    }
}

#[test]
fn an_answer_outlives_its_question() {
    let mine = node(1, Role::Owner, Copy_::Complete);
    let asked = Hello::of_owner(&mine, Generation(2), 1, true);
    assert!(!asked.holds(&mine), "the reign has not begun");
    let begun = Super {
        generation: Generation(2),
        ..mine
    };
    assert!(asked.holds(&begun));
    // It went on alone in the same reign: the partner was not told that its copy counts for nothing.
    let alone = Super {
        alone: true,
        ..begun
    };
    assert!(!asked.holds(&alone));
    assert!(Hello::of_owner(&alone, Generation(2), 1, true).holds(&alone));
    let later = Super {
        generation: Generation(3),
        ..begun
    };
    assert!(!asked.holds(&later));
}

#[test]
fn refusals() {
    let mine = node(5, Role::Owner, Copy_::Complete);
    for (reason, generation, want) in [
        (Reason::Outdated, 6, AfterRefusal::StandBy),
        (Reason::Outdated, 5, AfterRefusal::Retry),
        (Reason::TwoOwners, 5, AfterRefusal::Conflict),
        (Reason::OtherSet, 9, AfterRefusal::Retry),
        (Reason::Geometry, 9, AfterRefusal::Retry),
        (Reason::Busy, 9, AfterRefusal::Retry),
        (Reason::Failed, 9, AfterRefusal::Retry),
        (Reason::NotOwner, 9, AfterRefusal::Retry),
        (Reason::Fenced, 9, AfterRefusal::Retry),
        (Reason::SameNode, 9, AfterRefusal::Retry),
        (Reason::Record, 9, AfterRefusal::Retry),
    ] {
        let r = Refusal {
            reason,
            generation: Generation(generation),
        };
        assert_eq!(refused(&mine, &r), want, "{r:?}");
        assert!(!reason.as_str().is_empty());
    }
}

#[test]
fn heartbeats() {
    let mut h = Heartbeat::new(100, 3, 1000);
    assert_eq!(h.deadline(), 1300);
    assert!(!h.lost(1299) && h.lost(1300));
    h.heard(1250);
    h.heard(1100);
    assert_eq!(h.deadline(), 1550);
    assert!(!Heartbeat::new(u64::MAX, u32::MAX, u64::MAX - 1).lost(u64::MAX - 1));
    assert!(Heartbeat::new(0, 0, 5).lost(6));
}
