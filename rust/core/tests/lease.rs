// SPDX-License-Identifier: GPL-2.0

//! Until when an owner answers reads by itself: against a partner that counts from when it hears.

use core_crate::{
    lease::{ends, in_doubt, Lease},
    partner::Mirror,
};
use proptest::prelude::*;

const PATIENCE: u64 = 100;

#[test]
fn it_counts_from_when_the_frame_was_sent() {
    let lease = Lease::default();
    assert!(!lease.holds(0, PATIENCE));
    lease.begin();
    lease.sends(0, 1000);
    // Asked about is the first one only, until it is heard.
    lease.sends(1, 1010);
    assert!(!lease.holds(1010, PATIENCE), "nobody has heard anything");
    lease.heard(0);
    assert!(!lease.holds(1010, PATIENCE), "it has heard none");
    lease.heard(2);
    assert!(lease.holds(1099, PATIENCE));
    assert!(!lease.holds(1100, PATIENCE));
    // The next one that is sent is asked about, whatever was heard before.
    lease.sends(2, 1050);
    lease.heard(2);
    assert!(!lease.holds(1100, PATIENCE));
    lease.heard(3);
    assert!(lease.holds(1149, PATIENCE));
    assert!(!lease.holds(1150, PATIENCE));
}

#[test]
fn another_session_begins_without() {
    let lease = Lease::default();
    lease.begin();
    lease.sends(0, 1000);
    lease.heard(1);
    lease.sends(1, 1010);
    lease.begin();
    assert!(!lease.holds(1020, PATIENCE));
    // Of the session before, number 1 is not awaited any more.
    lease.heard(2);
    assert!(!lease.holds(1020, PATIENCE));
    lease.sends(0, 1030);
    lease.heard(1);
    assert!(lease.holds(1129, PATIENCE));
}

#[test]
fn counts_go_round() {
    let lease = Lease::default();
    lease.begin();
    let number = u64::from(u32::MAX);
    lease.sends(number, 1000);
    lease.heard(u32::MAX);
    assert!(!lease.holds(1000, PATIENCE));
    lease.heard(0);
    assert!(lease.holds(1000, PATIENCE));
}

#[test]
fn reads_are_in_doubt_while_the_partner_may_take_over_unasked() {
    let trusted = [true, false];
    for mirror in [Mirror::Lost, Mirror::Finishing, Mirror::Mirrored]
        .into_iter()
        .chain(trusted.map(|trusted| Mirror::CatchingUp {
            trusted,
            alone: false,
        }))
    {
        assert!(in_doubt(mirror.writes_wait(), || false), "{mirror:?}");
        assert!(!in_doubt(mirror.writes_wait(), || true), "{mirror:?}");
    }
    for mirror in [
        Mirror::Single,
        Mirror::Alone,
        Mirror::CatchingUp {
            trusted: false,
            alone: true,
        },
    ] {
        assert!(
            !in_doubt(mirror.writes_wait(), || panic!("nobody asks")),
            "{mirror:?}"
        );
    }
}

#[test]
fn who_was_made_anew_waits_as_if_it_had_heard_the_owner() {
    assert_eq!(ends(500, 0, PATIENCE), 600);
    assert_eq!(ends(0, 500, PATIENCE), 600);
    assert_eq!(ends(u64::MAX, 0, PATIENCE), u64::MAX);
}

proptest! {
    /// Frames and answers take any time, and answers may be lost at the end of a session. Whenever the
    /// lease holds, the partner has not yet waited out its patience.
    #[test]
    fn it_never_outlasts_the_partners_patience(
        steps in prop::collection::vec((0u64..60, 0u64..80, 0u64..80), 1..40),
        looks in prop::collection::vec(0u64..4000, 20),
    ) {
        let lease = Lease::default();
        lease.begin();
        // Of each frame: sent, heard there, answered here. TCP keeps the order.
        let (mut now, mut there, mut here) = (1000, 0, 0);
        let mut events = vec![];
        for (n, (pause, to, back)) in (0u64..).zip(steps) {
            now += pause;
            there = (now + to).max(there);
            here = (there + back).max(here);
            events.push((now, 0, n));
            events.push((there, 1, n));
            events.push((here, 2, n));
        }
        events.extend(looks.iter().map(|at| (1000 + at, 3, 0)));
        events.sort_unstable();
        let mut heard_at = None;
        for (at, what, n) in events {
            match what {
                0 => lease.sends(n, at),
                1 => heard_at = Some(at),
                2 => lease.heard(n as u32 + 1),
                _ if lease.holds(at, PATIENCE) => {
                    let heard_at: u64 = heard_at.expect("it has heard a frame");
                    prop_assert!(at < heard_at + PATIENCE, "{} after {}", at, heard_at);
                }
                _ => {}
            }
        }
    }
}
