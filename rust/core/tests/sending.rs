// SPDX-License-Identifier: GPL-2.0

//! How far a session has sent the log.

mod common;

use core_crate::{
    format::{Mark, Tail},
    lane::Run,
    limits::{LONE_BYTES, MAX_LANES},
    sending::Sent,
    units::Generation,
    wire::Ack,
};

fn mark() -> Mark {
    let mut mark = Mark::first(Generation(3), 2);
    for (t, lane_seq) in mark.tails.iter_mut().zip([5, 7]) {
        *t = Tail {
            lane_seq,
            data_pos: lane_seq * 4096,
            floor: 0,
        };
    }
    mark
}

fn have(first: u64, second: u64) -> Ack {
    let mut stored = [0; MAX_LANES];
    stored[..2].copy_from_slice(&[first, second]);
    Ack {
        mark: 0,
        lanes: 2,
        stored,
    }
}

fn run(records: u16, data_bytes: u32) -> Run {
    Run {
        records,
        data_bytes,
        ..Run::default()
    }
}

#[test]
fn a_session_begins_where_the_copy_ends() {
    let begins = |a, b| {
        let sent = Sent::beginning(&mark(), &have(a, b));
        (sent.next(0), sent.next(1))
    };
    assert_eq!(begins(0, 0), (5, 7), "it has nothing: all that is live");
    assert_eq!(begins(9, 7), (9, 7));
    assert_eq!(begins(4, 8), (5, 8), "what is retired is not sent");
}

#[test]
fn a_mark_follows_its_records() {
    let mut sent = Sent::beginning(&mark(), &have(0, 0));
    assert!(sent.covers(&mark()));
    let mut newer = mark();
    newer.tails[1].lane_seq = 9;
    assert!(!sent.covers(&newer));
    sent.sent(1, &run(1, 512));
    assert!(!sent.covers(&newer));
    sent.sent(1, &run(1, 0));
    assert!(sent.covers(&newer));
    assert_eq!(sent.next(0), 5);
}

#[test]
fn stored_is_stored_in_every_lane() {
    let mut sent = Sent::beginning(&mark(), &have(0, 0));
    sent.sent(0, &run(3, 0));
    assert!(!sent.all_stored([7, 7].into_iter()));
    assert!(!sent.all_stored([8, 6].into_iter()));
    assert!(sent.all_stored([8, 7].into_iter()));
}

#[test]
fn who_sends() {
    let mut sent = Sent::beginning(&mark(), &have(0, 0));
    let stored = || [5, 7].into_iter();
    let small = || [run(1, 4096)].into_iter();
    assert!(
        !sent.submitter_sends(stored(), small()),
        "nothing is known of the host"
    );
    sent.gathered(1);
    assert!(sent.submitter_sends(stored(), small()));
    // Nothing to send says nothing.
    sent.gathered(0);
    assert!(sent.submitter_sends(stored(), small()));
    let large = [run(1, 512), run(1, LONE_BYTES + 512)];
    assert!(!sent.submitter_sends(stored(), large.into_iter()));
    sent.sent(0, &run(1, 4096));
    assert!(!sent.submitter_sends(stored(), small()), "one is under way");
    assert!(sent.submitter_sends([6, 7].into_iter(), small()));
    sent.gathered(16);
    assert!(
        !sent.submitter_sends([6, 7].into_iter(), small()),
        "the host has several under way"
    );
}
