// SPDX-License-Identifier: GPL-2.0

//! What an administrator may change: every combination of settings, against rules that are written
//! down once more.

use core_crate::{
    control::{
        change, lane_limit, nears_limit, pause, Change, Circumstances, Refused, Setting, Settings,
        UNLIMITED,
    },
    ownership::{Fencing, Kind, PartnerLost},
    table::Mode,
};

const FENCINGS: [Fencing; 4] = [
    Fencing::None,
    Fencing::External,
    Fencing::Reservation(Kind::Holder),
    Fencing::Reservation(Kind::Registrants),
];

fn options<T: Copy>(all: &[T]) -> Vec<Option<T>> {
    let some = all.iter().map(|x| Some(*x));
    core::iter::once(None).chain(some).collect()
}

/// Changes of everything but the numbers.
fn changes() -> Vec<Change> {
    let mut all = Vec::new();
    for mode in options(&[Mode::Async, Mode::Sync]) {
        for partner_lost in options(&[PartnerLost::Wait, PartnerLost::Continue]) {
            for auto_takeover in options(&[false, true]) {
                for fencing in options(&FENCINGS) {
                    all.push(Change {
                        mode,
                        partner_lost,
                        auto_takeover,
                        fencing,
                        ..Change::default()
                    });
                }
            }
        }
    }
    all
}

fn states() -> Vec<Settings> {
    let mut all = Vec::new();
    for mode in [Mode::Async, Mode::Sync] {
        for partner_lost in [PartnerLost::Wait, PartnerLost::Continue] {
            for auto_takeover in [false, true] {
                for fencing in FENCINGS {
                    // No table has that.
                    if auto_takeover && fencing == Fencing::None {
                        continue;
                    }
                    all.push(Settings {
                        mode,
                        partner_lost,
                        auto_takeover,
                        fencing,
                        ping_ms: 1000,
                        ping_misses: 5,
                        records: UNLIMITED,
                    });
                }
            }
        }
    }
    all
}

#[test]
fn every_change() {
    let (mut made, mut refused) = (0, 0);
    for now in states() {
        for to in changes() {
            for bits in 0..8 {
                let at = Circumstances {
                    record: bits & 1 != 0,
                    paused: bits & 2 != 0,
                    force: bits & 4 != 0,
                };
                let result = change(&now, &to, &at);
                let wanted = |old: Fencing| to.fencing.unwrap_or(old);
                let reservation = |f| matches!(f, Fencing::Reservation(_));
                match result {
                    Ok(new) => {
                        made += 1;
                        assert_eq!(new.mode, to.mode.unwrap_or(now.mode));
                        assert_eq!(
                            new.partner_lost,
                            to.partner_lost.unwrap_or(now.partner_lost)
                        );
                        assert_eq!(
                            new.auto_takeover,
                            to.auto_takeover.unwrap_or(now.auto_takeover)
                        );
                        assert_eq!(new.fencing, wanted(now.fencing));
                        assert!(!new.auto_takeover || new.fencing != Fencing::None);
                        assert!(to.partner_lost != Some(PartnerLost::Continue) || at.record);
                        if reservation(now.fencing) || reservation(new.fencing) {
                            assert_eq!(now.fencing, new.fencing);
                        }
                        let stops = now.mode == Mode::Async && new.mode == Mode::Sync && at.paused;
                        assert!(!stops || at.force);
                    }
                    Err(why) => {
                        refused += 1;
                        let because = match why {
                            Refused::Nothing => to == Change::default(),
                            Refused::FencingFixed => {
                                wanted(now.fencing) != now.fencing
                                    && (reservation(now.fencing)
                                        || reservation(wanted(now.fencing)))
                            }
                            Refused::Unfenced(s) => {
                                assert_eq!(s == Setting::Takeover, to.auto_takeover == Some(true));
                                wanted(now.fencing) == Fencing::None
                                    && to.auto_takeover.unwrap_or(now.auto_takeover)
                            }
                            Refused::NoRecord => {
                                to.partner_lost == Some(PartnerLost::Continue) && !at.record
                            }
                            Refused::WritesWait(Setting::Mode) => {
                                now.mode == Mode::Async
                                    && to.mode == Some(Mode::Sync)
                                    && at.paused
                                    && !at.force
                            }
                            other => panic!("{other:?}"),
                        };
                        assert!(because, "{now:?} {to:?} {at:?}: {why:?}");
                        assert!(why.to_string().len() < 80, "too long to be told: {why}");
                    }
                }
            }
        }
    }
    assert!(
        made > 1000 && refused > 1000,
        "{made} made, {refused} refused"
    );
}

#[test]
fn numbers_have_bounds() {
    let at = Circumstances {
        record: false,
        paused: false,
        force: false,
    };
    let now = states()[0];
    for n in [0, 9, 10, 60_000, 60_001, u32::MAX] {
        let to = Change {
            ping_ms: Some(n),
            ..Change::default()
        };
        assert_eq!(change(&now, &to, &at).is_ok(), (10..=60_000).contains(&n));
    }
    for n in [0, 1, 2, 100, 101, u32::MAX] {
        let to = Change {
            ping_misses: Some(n),
            ..Change::default()
        };
        let result = change(&now, &to, &at);
        assert_eq!(result.is_ok(), (2..=100).contains(&n));
        if let Err(why) = result {
            assert_eq!(why.setting(), Some(Setting::PingMisses));
            assert_eq!(why.to_string(), "2 to 100 are allowed");
        }
    }
}

#[test]
fn records_have_bounds_and_lanes_share_them() {
    let at = Circumstances {
        record: false,
        paused: false,
        force: false,
    };
    for n in [0, 15, 16, 240, UNLIMITED, UNLIMITED + 1, u32::MAX] {
        let to = Change {
            records: Some(n),
            ..Change::default()
        };
        match change(&states()[0], &to, &at) {
            Ok(new) => assert_eq!(new.records, n),
            Err(why) => {
                assert!(!(16..=UNLIMITED).contains(&n));
                assert_eq!(why.setting(), Some(Setting::Records));
                assert_eq!(why.to_string(), "16 to 1048576 are allowed");
            }
        }
    }
    for lanes in 1..=32u16 {
        for records in 16..=300 {
            let each = u64::from(lane_limit(records, lanes));
            let all = each * u64::from(lanes);
            assert!(each >= 1, "a lane that takes nothing");
            assert!(all <= u64::from(records.max(lanes.into())));
            assert!(
                all + u64::from(lanes) > u64::from(records),
                "hardly any is lost"
            );
        }
        assert_eq!(lane_limit(UNLIMITED, lanes), u32::MAX);
    }
    for outstanding in [0, 59, 60, 61, 240, u64::MAX] {
        assert_eq!(nears_limit(outstanding, 240), outstanding > 60);
        assert!(!nears_limit(outstanding, UNLIMITED));
    }
}

#[test]
fn who_may_pause() {
    assert_eq!(pause(false, Mode::Async, true), Err(Refused::NotOwner));
    assert_eq!(pause(true, Mode::Async, false), Ok(()));
    assert!(pause(true, Mode::Sync, false).is_err());
    assert_eq!(pause(true, Mode::Sync, true), Ok(()));
}
