// SPDX-License-Identifier: GPL-2.0

//! The ownership record and reservations: format, and every small case of every decision.

mod common;

use common::{crc, geometry, record, superblock, UUID};
use core_crate::{
    format::{Copy_, Key, Missing, NodeKey, Role, SetName, Super},
    limits::MAX_COUNT,
    ownership::{
        back_in_step, begin, caught_up, completed, extend, go_alone, handed_over, handing_over,
        may_accept, may_go_alone, may_let_go, old_owners_last, rewrite, seize, sequences_behind,
        start, stood_down, watch, Claim, FencedBy, Found, Hold, Kind, Left, Ownership, PartnerLost,
        Reach, RecordError, Seize, Stale, Start, StartRefused, Watch, LIMIT_STEP, RECORD_BYTES,
        RECORD_VERSION,
    },
    units::{Generation, Seq},
};
use proptest::prelude::*;

const ME: u32 = 0x0a0b_0c0d;
const THEY: u32 = 9;

fn node(generation: u32, role: Role) -> Super {
    Super {
        generation: Generation(generation),
        role,
        ..superblock(geometry())
    }
}

fn stale() -> Stale {
    Stale {
        since: Seq(61),
        generation: Generation(4),
        limit: Seq(70),
    }
}

fn foreign() -> Ownership {
    let mut r = record(1, THEY);
    r.uuid[3] ^= 1;
    r
}

/// The key of a node in reign 3.
fn key(node: u32) -> NodeKey {
    NodeKey::new(Key::new(crc, &UUID), node, Generation(3))
}

const STRANGER: NodeKey = NodeKey(1);

fn holds() -> [Hold; 6] {
    [
        Hold::Unused,
        Hold::Mine,
        Hold::Partner(key(THEY)),
        Hold::Foreign(STRANGER),
        Hold::Nobody,
        Hold::Unknown,
    ]
}

/// Every kind of thing that may stand where the record should.
fn founds() -> Vec<Found> {
    let mut all = vec![Found::Unused, Found::Blank, Found::Unreadable];
    all.push(Found::Record(foreign()));
    for generation in 1..=5 {
        for node in [ME, THEY] {
            for stale in [None, Some(stale())] {
                all.push(Found::Record(Ownership {
                    stale,
                    ..record(generation, node)
                }));
            }
        }
    }
    all
}

const REACH: Reach = Reach {
    shipped: Seq(55),
    acked: Seq(60),
    last: Seq(63),
};

#[test]
fn a_record_survives_and_no_flipped_bit_does() {
    for r in [
        record(5, ME),
        Ownership {
            unfenced: true,
            stale: Some(stale()),
            missing: Missing::new(Seq(1), Seq::MAX),
            ..record(u32::MAX, u32::MAX)
        },
    ] {
        let bytes = r.seal(crc);
        assert_eq!(Ownership::open(crc, &bytes), Ok(r));
        for bit in 0..bytes.len() * 8 {
            let mut b = bytes;
            b[bit / 8] ^= 1 << (bit % 8);
            assert!(Ownership::open(crc, &b).is_err(), "bit {bit}");
        }
    }
}

fn patched(at: usize, bytes: &[u8]) -> [u8; RECORD_BYTES] {
    let mut b = Ownership {
        stale: Some(stale()),
        ..record(5, ME)
    }
    .seal(crc);
    b[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = crc(!0, &b[16..]);
    b[12..16].copy_from_slice(&sum.to_le_bytes());
    b
}

#[test]
fn what_is_no_record() {
    let open = |b: &[u8; RECORD_BYTES]| Ownership::open(crc, b).map(|_| ());
    assert_eq!(open(&[0; RECORD_BYTES]), Err(RecordError::Blank));
    assert_eq!(open(&[7; RECORD_BYTES]), Err(RecordError::Foreign));
    assert_eq!(open(&patched(16, &[9])), Ok(()));
    for version in [0u32, 2, u32::MAX] {
        assert_eq!(
            open(&patched(8, &version.to_le_bytes())),
            Err(RecordError::Version(version))
        );
    }
    assert_ne!(RECORD_VERSION, 0);
    // Name, node, name_len, unfenced, stale, missing.
    for (at, bytes) in [
        (40, &[b'/'][..]),
        (108, &[0; 4]),
        (112, &[0]),
        (112, &[64]),
        (113, &[2]),
        (114, &[2]),
        (152, &[1]),
    ] {
        assert_eq!(open(&patched(at, bytes)), Err(RecordError::Damaged), "{at}");
    }
    for (e, say) in [
        (RecordError::Blank, "blank"),
        (RecordError::Foreign, "metadata_offset"),
        (RecordError::Damaged, "both places"),
        (RecordError::Version(9), "version 9"),
    ] {
        assert!(e.to_string().contains(say), "{e}");
    }
}

#[test]
fn the_newest_of_two_slots_counts() {
    let at = |counter| {
        Ownership {
            counter,
            ..record(5, ME)
        }
        .seal(crc)
    };
    let blank = [0; RECORD_BYTES];
    let foreign = [7; RECORD_BYTES];
    let mut torn = at(9);
    torn[20] ^= 1;
    let newest = |a: [u8; RECORD_BYTES], b: [u8; RECORD_BYTES]| {
        Ownership::newest(crc, [&a, &b]).map(|r| r.map(|r| r.counter))
    };
    assert_eq!(newest(at(4), at(5)), Ok(Some(5)));
    assert_eq!(newest(at(6), at(5)), Ok(Some(6)));
    for other in [blank, foreign, torn] {
        assert_eq!(newest(at(4), other), Ok(Some(4)));
        assert_eq!(newest(other, at(4)), Ok(Some(4)));
    }
    assert_eq!(newest(blank, blank), Ok(None));
    assert_eq!(newest(blank, torn), Err(RecordError::Damaged));
    assert_eq!(newest(foreign, blank), Err(RecordError::Foreign));
    assert_eq!(newest(torn, foreign), Err(RecordError::Damaged));
    for counter in 0..4 {
        let r = Ownership {
            counter,
            ..record(5, ME)
        };
        assert_eq!(r.slot(), counter % 2);
    }
}

#[test]
fn a_record_of_another_set_counts_for_nothing() {
    assert_eq!(Found::Record(foreign()).of(&UUID), None);
    assert_eq!(Found::Record(record(5, ME)).of(&UUID), Some(&record(5, ME)));
    for f in [Found::Unused, Found::Blank, Found::Unreadable] {
        assert_eq!(f.of(&UUID), None);
    }
}

#[test]
fn who_holds_a_unit() {
    let me = key(ME);
    assert_eq!(Hold::of(me, None), Hold::Nobody);
    assert_eq!(Hold::of(me, Some(me.0)), Hold::Mine);
    let before = me.in_reign(Generation(2));
    assert_eq!(Hold::of(me, Some(before.0)), Hold::Mine);
    assert_eq!(Hold::of(me, Some(key(THEY).0)), Hold::Partner(key(THEY)));
    assert_eq!(Hold::of(me, Some(1)), Hold::Foreign(STRANGER));
}

#[test]
fn what_is_left_at_a_unit() {
    let me = key(ME);
    let older = me.in_reign(Generation(2));
    let newer = me.in_reign(Generation(4));
    let others = [None, Some(key(THEY).0), Some(STRANGER.0)];
    for kind in [Kind::Holder, Kind::Registrants] {
        for mine in [me, older, newer] {
            for other in others {
                let held = Left::of(me, kind, Some(mine.0), other);
                assert_eq!(held, Left::Reservation(mine));
                // A key that a takeover registered before it failed is of a newer reign.
                let known = match kind {
                    Kind::Holder => Left::Nothing,
                    Kind::Registrants => Left::Key(mine),
                };
                assert_eq!(Left::of(me, kind, other, Some(mine.0)), known);
            }
        }
        for holder in others {
            for registered in others {
                assert_eq!(Left::of(me, kind, holder, registered), Left::Nothing);
            }
        }
    }
}

#[test]
fn who_may_let_go() {
    let (owner, standby) = (node(3, Role::Owner), node(3, Role::Standby));
    assert!(may_let_go(Some(&standby), true));
    // A forced takeover needs no superblock.
    assert!(may_let_go(None, true));
    assert!(!may_let_go(Some(&owner), true));
    for mine in [None, Some(&owner), Some(&standby)] {
        assert!(!may_let_go(mine, false));
    }
}

#[test]
fn every_seizure() {
    for held in 1..=7 {
        let partner = key(THEY).in_reign(Generation(held));
        for agreed in 3..=5 {
            for hold in [
                Hold::Unused,
                Hold::Mine,
                Hold::Partner(partner),
                Hold::Foreign(STRANGER),
                Hold::Nobody,
                Hold::Unknown,
            ] {
                for claim in [
                    Claim::Free,
                    Claim::Agreed(Generation(agreed)),
                    Claim::Takeover,
                ] {
                    one_seizure(hold, claim);
                }
            }
        }
    }
}

fn one_seizure(hold: Hold, claim: Claim) {
    let got = seize(key(ME), hold, claim);
    let what = format!("{hold:?} {claim:?}: {got:?}");
    // Under which key, if it may.
    let mine = |reign: u32| key(ME).in_reign(Generation(reign));
    let held = match hold {
        Hold::Partner(k) => k.reign().0,
        _ => 0,
    };
    let key = match claim {
        Claim::Free => mine(3),
        Claim::Agreed(reign) => mine(reign.0),
        Claim::Takeover => mine(held.max(3) + 1),
    };
    let want = match hold {
        Hold::Unused | Hold::Mine => Seize::Held(key),
        Hold::Nobody => Seize::Reserve(key),
        Hold::Partner(k) => {
            // One who has slept meets a reign that is not older, and keeps away.
            let may = match claim {
                Claim::Free => false,
                Claim::Agreed(reign) => held < reign.0,
                Claim::Takeover => true,
            };
            if may {
                Seize::Preempt(key, k)
            } else {
                Seize::PartnerHolds(k)
            }
        }
        Hold::Foreign(k) => Seize::ForeignHolds(k),
        Hold::Unknown => Seize::Unknown,
    };
    assert_eq!(got, want, "{what}");
}

/// Sentences about a start, for every superblock, record and holder.
#[test]
fn every_start() {
    assert_eq!(
        start(None, true, &Found::Unreadable, Hold::Unknown),
        Ok(Start::StandBy)
    );
    for found in founds() {
        for hold in holds() {
            for partner in [false, true] {
                for alone in [false, true] {
                    for role in [Role::Owner, Role::Standby] {
                        let mine = Super {
                            alone,
                            ..node(3, role)
                        };
                        one_start(&mine, partner, &found, hold);
                    }
                }
            }
        }
    }
}

fn one_start(mine: &Super, partner: bool, found: &Found, hold: Hold) {
    let got = start(Some(mine), partner, found, hold);
    let what = format!("{mine:?} {partner} {found:?} {hold:?}: {got:?}");
    match found {
        Found::Unreadable => return assert_eq!(got, Err(StartRefused::Unreadable), "{what}"),
        Found::Record(r) if r.uuid != UUID => {
            return assert_eq!(got, Err(StartRefused::OtherSet(r.name)), "{what}");
        }
        _ => {}
    }
    let by = found.of(&UUID).map(|r| (r.node == ME, r.generation.0));
    let newer = by.is_some_and(|(mine, g)| !mine && g >= 3);
    match got {
        // Who is behind the record never serves, whatever its log says.
        Ok(Start::Outdated(g)) => {
            assert!(newer && mine.role == Role::Owner, "{what}");
            assert_eq!(by, Some((false, g.0)));
        }
        Ok(Start::Resume) => {
            assert!(by.is_some_and(|(m, _)| m), "{what}");
            assert!(mine.role == Role::Standby && hold == Hold::Mine, "{what}");
        }
        Ok(Start::StandBy) => {
            assert_eq!(mine.role, Role::Standby, "{what}");
            assert!(hold != Hold::Mine || !by.is_some_and(|(m, _)| m), "{what}");
        }
        // Without asking: nobody is there to be asked, or it has served alone durably, and in no case
        // does another one hold the units.
        Ok(Start::Serve) => {
            assert!(mine.role == Role::Owner && !newer, "{what}");
            assert!(!partner || mine.alone, "{what}");
            assert!(!matches!(hold, Hold::Foreign(_)), "{what}");
            assert!(
                !partner || !matches!(hold, Hold::Partner(_) | Hold::Unknown),
                "{what}"
            );
        }
        Ok(Start::Ask) => {
            assert!(mine.role == Role::Owner && !newer && partner, "{what}");
            assert!(
                !mine.alone || matches!(hold, Hold::Partner(_) | Hold::Unknown),
                "{what}"
            );
        }
        Err(StartRefused::Foreign(k)) => {
            assert!(
                hold == Hold::Foreign(k) && mine.role == Role::Owner,
                "{what}"
            );
        }
        Err(_) => panic!("{what}"),
    }
}

#[test]
fn refused_starts_name_what_to_do() {
    for (r, say) in [
        (StartRefused::Unreadable, "make its device work"),
        (
            StartRefused::OtherSet(SetName::new("other").unwrap()),
            "metadata_offset",
        ),
        (StartRefused::Foreign(STRANGER), "find out who holds it"),
    ] {
        assert!(r.to_string().contains(say), "{r}");
    }
}

#[test]
fn every_beginning() {
    for found in founds() {
        for alone in [false, true] {
            for was_alone in [false, true] {
                let mine = Super {
                    alone: was_alone,
                    missing: Missing::new(Seq(5), Seq(6)),
                    ..node(3, Role::Owner)
                };
                let theirs = found.of(&UUID).filter(|r| r.node == THEY);
                let newer = theirs.map(|r| r.generation).filter(|g| g.0 >= 4);
                let d = match begin(&mine, &found, Generation(4), alone, &REACH) {
                    Ok(d) => d,
                    Err(g) => {
                        assert_eq!(Some(g), newer);
                        continue;
                    }
                };
                assert_eq!(newer, None);
                let want = Super {
                    counter: mine.counter + 1,
                    generation: Generation(4),
                    alone,
                    ..mine
                };
                assert_eq!(d.mine, want);
                let Some(r) = d.record else {
                    assert_eq!(found, Found::Unused);
                    continue;
                };
                assert_ne!(found, Found::Unused);
                let before = found.of(&UUID);
                assert_eq!((r.generation, r.node, r.uuid), (Generation(4), ME, UUID));
                assert_eq!(r.counter, before.map_or(0, |b| b.counter + 1));
                assert_eq!(r.shipped, Seq(55));
                assert_eq!(r.missing, mine.missing);
                // A mark of this node's own stays until the partner's copy is complete. One of the
                // partner's was about this node.
                let own = before.filter(|b| b.node == ME).and_then(|b| b.stale);
                assert_eq!(r.stale.is_some(), alone || own.is_some());
                if let (Some(new), Some(old)) = (r.stale, own) {
                    assert!(new.since <= old.since && new.generation == old.generation);
                }
                if let (Some(s), true) = (r.stale, alone) {
                    assert!(s.since <= Seq(61) && s.limit == Seq(63 + LIMIT_STEP));
                }
            }
        }
    }
}

#[test]
fn a_record_is_written_again() {
    for found in founds() {
        for alone in [false, true] {
            let mine = Super {
                alone,
                missing: Missing::new(Seq(5), Seq(6)),
                ..node(3, Role::Owner)
            };
            let Some(r) = rewrite(&mine, &found, &REACH) else {
                assert_eq!(found, Found::Unused);
                continue;
            };
            assert_eq!((r.generation, r.node), (Generation(3), ME));
            assert_eq!((r.missing, r.shipped), (mine.missing, Seq(55)));
            assert_eq!(r.stale.is_some(), alone);
        }
    }
}

#[test]
fn every_going_alone() {
    let last = node(u32::MAX, Role::Owner);
    assert_eq!(go_alone(&last, &Found::Blank, &REACH, false), None);
    for found in founds() {
        for unfenced in [false, true] {
            let mine = node(3, Role::Owner);
            let d = go_alone(&mine, &found, &REACH, unfenced).unwrap();
            // Newer than all that is known.
            let newest = found.of(&UUID).map_or(3, |r| r.generation.0.max(3));
            let want = Super {
                counter: mine.counter + 1,
                generation: Generation(newest + 1),
                alone: true,
                unfenced,
                ..mine
            };
            assert_eq!(d.mine, want);
            let Some(r) = d.record else {
                assert_eq!(found, Found::Unused);
                continue;
            };
            assert_eq!((r.generation, r.node), (Generation(newest + 1), ME));
            assert_eq!(r.unfenced, unfenced);
            let s = r.stale.expect("it says so");
            match found.of(&UUID).and_then(|b| b.stale) {
                Some(b) => assert_eq!((s.since, s.generation), (b.since, b.generation)),
                None => assert_eq!((s.since, s.generation), (Seq(61), Generation(3))),
            }
            assert_eq!(s.limit, Seq(63 + LIMIT_STEP));
        }
    }
}

#[test]
fn who_may_go_alone() {
    for found in founds() {
        for hold in holds() {
            for serving in [false, true] {
                for role in [Role::Owner, Role::Standby] {
                    for policy in [PartnerLost::Wait, PartnerLost::Continue] {
                        let mine = node(3, role);
                        if !may_go_alone(&mine, policy, serving, &found, hold) {
                            continue;
                        }
                        assert_eq!((policy, role), (PartnerLost::Continue, Role::Owner));
                        let r = found.of(&UUID).expect("a record");
                        assert_eq!(r.node, ME);
                        assert!(hold == Hold::Mine || serving && hold == Hold::Unused);
                    }
                }
            }
        }
    }
    let may = |generation, serving, hold| {
        may_go_alone(
            &node(3, Role::Owner),
            PartnerLost::Continue,
            serving,
            &Found::Record(record(generation, ME)),
            hold,
        )
    };
    // Four, or more: the record was written, or half of it, and the superblock was not.
    for g in [2, 3, 4, 7] {
        assert!(may(g, true, Hold::Mine) && may(g, false, Hold::Mine));
        assert!(may(g, true, Hold::Unused) && !may(g, false, Hold::Unused));
    }
}

#[test]
fn room_for_more_sequences() {
    assert_eq!(extend(&record(3, ME), Seq(100)), None);
    let r = Ownership {
        stale: Some(Stale {
            limit: Seq(LIMIT_STEP),
            ..stale()
        }),
        ..record(3, ME)
    };
    assert_eq!(extend(&r, Seq(LIMIT_STEP / 2 - 1)), None);
    for last in [LIMIT_STEP / 2, LIMIT_STEP, LIMIT_STEP + 5] {
        let new = extend(&r, Seq(last)).expect("half of it is used");
        assert_eq!(new.counter, r.counter + 1);
        let s = new.stale.unwrap();
        assert_eq!(s.limit, Seq(last + LIMIT_STEP));
        assert_eq!((s.since, s.generation), (stale().since, stale().generation));
        assert_eq!((new.generation, new.shipped), (r.generation, r.shipped));
    }
    let end = extend(&r, Seq::MAX).and_then(|r| r.stale).map(|s| s.limit);
    assert_eq!(end, Some(Seq::MAX));
}

#[test]
fn caught_up_and_completed() {
    let mine = Super {
        alone: true,
        unfenced: true,
        missing: Missing::new(Seq(5), Seq(6)),
        ..node(3, Role::Owner)
    };
    let caught = caught_up(&mine);
    let want = Super {
        counter: mine.counter + 1,
        alone: false,
        unfenced: false,
        ..mine
    };
    assert_eq!(caught, want);
    for found in [Found::Unused, Found::Blank, Found::Unreadable] {
        assert_eq!(completed(&caught, &found), None);
    }
    let was = Ownership {
        unfenced: true,
        stale: Some(stale()),
        ..record(3, ME)
    };
    let new = completed(&caught, &Found::Record(was)).expect("there is something to take back");
    let want = Ownership {
        counter: was.counter + 1,
        unfenced: false,
        stale: None,
        missing: mine.missing,
        ..was
    };
    assert_eq!(new, want);
    assert_eq!(completed(&caught, &Found::Record(new)), None);
    // The partner's own word is not this node's to take back.
    let theirs = Ownership { node: THEY, ..was };
    assert_eq!(completed(&caught, &Found::Record(theirs)), None);
}

#[test]
fn stepping_down_and_handing_over() {
    let mine = Super {
        alone: true,
        unfenced: true,
        ..node(3, Role::Owner)
    };
    let down = |copy| Super {
        counter: mine.counter + 1,
        role: Role::Standby,
        copy,
        alone: false,
        unfenced: false,
        ..mine
    };
    assert_eq!(stood_down(&mine), down(Copy_::Incomplete));
    assert_eq!(handing_over(&mine), down(Copy_::Complete));
    let standby = node(3, Role::Standby);
    for found in founds() {
        let d = handed_over(&standby, &found);
        assert_eq!((d.mine.role, d.mine.alone), (Role::Owner, false));
        // Its reign begins with the consent of the other one, as any.
        assert_eq!(d.mine.generation, Generation(3));
        assert_eq!(d.record.is_some(), found != Found::Unused);
        if let Some(r) = d.record {
            assert_eq!((r.node, r.generation, r.stale), (ME, Generation(3), None));
            assert_eq!(r.shipped, found.of(&UUID).map_or(Seq::ZERO, |b| b.shipped));
        }
    }
}

#[test]
fn a_handover_counts_until_somebody_has_gone_on() {
    let mine = Super {
        copy: Copy_::Complete,
        ..node(3, Role::Standby)
    };
    let heard = mine.counter;
    let theirs = record(3, THEY);
    assert!(may_accept(&mine, heard, &Found::Unused));
    assert!(may_accept(&mine, heard, &Found::Record(theirs)));
    assert!(may_accept(&mine, heard, &Found::Record(record(3, ME))));
    // This node was welcomed, or took over, since.
    let welcomed = Super {
        counter: heard + 1,
        ..mine
    };
    assert!(!may_accept(&welcomed, heard, &Found::Unused));
    // The partner has begun another reign, or goes on alone.
    assert!(!may_accept(&mine, heard, &Found::Record(record(4, THEY))));
    let alone = Ownership {
        stale: Some(stale()),
        ..theirs
    };
    assert!(!may_accept(&mine, heard, &Found::Record(alone)));
    for no in [
        Super {
            role: Role::Owner,
            ..mine
        },
        Super {
            copy: Copy_::Incomplete,
            ..mine
        },
    ] {
        assert!(!may_accept(&no, heard, &Found::Unused));
    }
}

#[test]
fn back_in_step_again() {
    let missing = Missing::new(Seq(5), Seq(6));
    let mine = Super {
        missing,
        ..node(3, Role::Owner)
    };
    let d = back_in_step(&mine, &Found::Unused);
    assert_eq!((d.record, d.mine.missing), (None, None));
    assert_eq!(d.mine.counter, mine.counter + 1);
    let was = Ownership {
        missing,
        ..record(3, ME)
    };
    let r = back_in_step(&mine, &Found::Record(was)).record.unwrap();
    assert_eq!((r.missing, r.counter), (None, was.counter + 1));
}

#[test]
fn every_watch() {
    for found in founds() {
        for hold in holds() {
            for session in [false, true] {
                let got = watch(&node(3, Role::Owner), &found, hold, session);
                let what = format!("{found:?} {hold:?} {session}: {got:?}");
                let r = found.of(&UUID);
                let newer = r.is_some_and(|r| r.node != ME && r.generation >= Generation(3));
                match got {
                    Watch::Fenced(FencedBy::Record(g)) => {
                        assert!(newer && r.unwrap().generation == g, "{what}");
                    }
                    _ if newer => panic!("{what}"),
                    Watch::Fenced(FencedBy::Partner) => {
                        assert!(matches!(hold, Hold::Partner(_)), "{what}");
                    }
                    Watch::Fenced(FencedBy::Foreign(k)) => assert_eq!(hold, Hold::Foreign(k)),
                    // The record or the session proves that nobody was there in between.
                    Watch::Reserve => {
                        assert_eq!(hold, Hold::Nobody, "{what}");
                        assert!(session || r.is_some_and(|r| r.node == ME), "{what}");
                    }
                    Watch::Fenced(FencedBy::Gone) => {
                        assert!(hold == Hold::Nobody && !session, "{what}");
                    }
                    Watch::Rewrite => {
                        let r = r.expect("a record");
                        assert!(r.node != ME || r.generation < Generation(3), "{what}");
                    }
                    Watch::Fine => {
                        assert!(r.is_none_or(|r| r.node == ME), "{what}");
                        assert!(
                            matches!(hold, Hold::Mine | Hold::Unused | Hold::Unknown),
                            "{what}"
                        );
                    }
                }
            }
        }
    }
    for f in [
        FencedBy::Partner,
        FencedBy::Foreign(STRANGER),
        FencedBy::Gone,
        FencedBy::Record(Generation(4)),
    ] {
        assert!(!f.to_string().is_empty());
    }
    assert!(FencedBy::Gone.to_string().contains("make it anew"));
}

#[test]
fn how_far_the_old_owner_went() {
    let found = Found::Record(Ownership {
        stale: Some(stale()),
        ..record(3, THEY)
    });
    assert_eq!(old_owners_last(&found, &UUID, Seq(1)), Seq(70));
    assert_eq!(old_owners_last(&found, &UUID, Seq(80)), Seq(80));
    for found in [
        Found::Unused,
        Found::Blank,
        Found::Record(foreign()),
        Found::Record(record(3, THEY)),
    ] {
        assert_eq!(old_owners_last(&found, &UUID, Seq(1)), Seq::MAX);
    }
    assert_eq!(sequences_behind(Seq(70), Seq(1)), Seq(70));
    assert!(sequences_behind(Seq::MAX, Seq(1)) > Seq(1 << 32));
    assert_eq!(sequences_behind(Seq::MAX, Seq::MAX), Seq::MAX);
}

/// An owner that took over by such a record would have no sequences left to give.
#[test]
fn a_record_at_the_end_of_all_sequences_is_damaged() {
    let ends: [fn(&mut Ownership); 3] = [
        |r| r.shipped = Seq(MAX_COUNT + 1),
        |r| {
            r.stale = Some(Stale {
                limit: Seq::MAX.prev(),
                ..stale()
            })
        },
        |r| {
            r.stale = Some(Stale {
                since: Seq::MAX,
                ..stale()
            })
        },
    ];
    for end in ends {
        let mut r = record(5, THEY);
        end(&mut r);
        assert_eq!(
            Ownership::open(crc, &r.seal(crc)),
            Err(RecordError::Damaged)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn record_round_trip(
        counter: u64, uuid: [u8; 16], name in "[a-zA-Z0-9_.+:-]{1,63}", generation: u32,
        node in 1u32.., unfenced: bool, shipped in 0..=MAX_COUNT, missing: (u64, u64),
        stale in proptest::option::of((0..=MAX_COUNT, any::<u32>(), 0..=MAX_COUNT)),
    ) {
        let r = Ownership {
            counter, uuid, node, unfenced,
            name: SetName::new(&name).unwrap(),
            generation: Generation(generation),
            stale: stale.map(|(since, generation, limit)| Stale {
                since: Seq(since), generation: Generation(generation), limit: Seq(limit),
            }),
            shipped: Seq(shipped),
            missing: Missing::new(Seq(missing.0), Seq(missing.1)),
        };
        prop_assert_eq!(Ownership::open(crc, &r.seal(crc)), Ok(r));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), RECORD_BYTES)) {
        let mut b: [u8; RECORD_BYTES] = bytes[..].try_into().unwrap();
        let _ = Ownership::open(crc, &b);
        b[..8].copy_from_slice(b"rcopyown");
        b[8..12].copy_from_slice(&RECORD_VERSION.to_le_bytes());
        let sum = crc(!0, &b[16..]);
        b[12..16].copy_from_slice(&sum.to_le_bytes());
        let _ = Ownership::open(crc, &b);
    }
}
