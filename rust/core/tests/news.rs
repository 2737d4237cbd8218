// SPDX-License-Identifier: GPL-2.0

//! News: every change of every word of the catalogue, with every order of a few sequences. A listener
//! never hears of a range that ends before it begins, of a change that is none, or half a reason.

use core_crate::{
    events::{Event, Text},
    format::Missing,
    netlink::words,
    news::{self, News, Reach, Span},
    units::Seq,
};

fn reaches() -> Vec<Option<Reach>> {
    let mut all = vec![None];
    for last in 0..4 {
        for acked in 0..=last {
            for remote in 0..=last {
                all.push(Some(Reach {
                    last: Seq(last),
                    acked: Seq(acked),
                    remote: Seq(remote),
                }));
            }
        }
    }
    all
}

/// What every one of them keeps to.
fn sane(n: &News) {
    let Span { first, last } = n.span;
    assert!(
        last == Seq::ZERO || first <= last,
        "{n:?}: it ends before it begins"
    );
    assert!(
        first != Seq::ZERO || last == Seq::ZERO,
        "{n:?}: an end without a beginning"
    );
    let whole = Event {
        reason: Text::of(format_args!("{}", n.why)),
        ..Event::default()
    };
    assert_eq!(whole.reason.as_str(), n.why, "the reason is cut off");
    assert!(!n.why.is_empty());
}

/// Those that are in the log behind `done`.
fn outstanding(done: Option<Seq>, reach: Option<Reach>) -> Span {
    let seqs = match (done, reach) {
        (Some(done), Some(r)) => (1..=r.last.0).filter(|s| *s > done.0).collect(),
        _ => Vec::new(),
    };
    Span {
        first: seqs.first().map_or(Seq::ZERO, |s| Seq(*s)),
        last: seqs.last().map_or(Seq::ZERO, |s| Seq(*s)),
    }
}

#[test]
fn the_mirror() {
    for reach in reaches() {
        for old in words::MIRROR_STATE.iter().chain(&[""]) {
            for new in words::MIRROR_STATE {
                let Some(n) = news::mirror(old, new, reach) else {
                    assert!(old == new || old.is_empty(), "{old} -> {new} is not news");
                    continue;
                };
                sane(&n);
                assert_eq!((n.old, n.new), (*old, *new));
                assert_ne!(old, new);
                let wanted = match (*new, reach) {
                    // Also while there is none of them yet: it is from there on that the copy lacks.
                    ("out-of-date", Some(r)) => Span {
                        first: Seq(r.acked.0 + 1),
                        last: Seq::ZERO,
                    },
                    _ => outstanding(reach.map(|r| r.acked), reach),
                };
                assert_eq!(n.span, wanted, "{old} -> {new} {reach:?}");
            }
        }
    }
}

#[test]
fn what_a_copy_counts_for_is_said() {
    let why = |old, new| news::mirror(old, new, None).expect("it is news").why;
    for old in ["lost", "catching-up", "finishing", "out-of-date"] {
        assert!(why(old, "mirrored").contains("partner's copy of the log counts for complete"));
    }
    for new in ["lost", "out-of-date"] {
        assert!(why("mirrored", new).contains("partner's copy of the log no longer counts"));
        // Its copy did not count before either.
        assert!(!why("catching-up", new).contains("no longer"));
    }
    assert!(why("incomplete", "complete").contains("this node's copy of the log counts"));
    assert!(why("complete", "incomplete").contains("this node's copy of the log no longer counts"));
    assert!(why("mirrored", "lost").contains("writes wait"));
    assert!(why("lost", "out-of-date").contains("writes go on"));
}

#[test]
fn the_remote() {
    for reach in reaches() {
        for old in words::REMOTE_STATE.iter().chain(&[""]) {
            for new in words::REMOTE_STATE.iter().chain(&[""]) {
                let plain = |w: &str| ["", "in-step", "behind"].contains(&w);
                match news::remote(old, new, reach) {
                    Some(n) => {
                        sane(&n);
                        assert_eq!((n.old, n.new), (*old, *new));
                        assert!(!plain(old) || !plain(new), "each write would be news");
                        assert_eq!(n.span, outstanding(reach.map(|r| r.remote), reach));
                    }
                    None => assert!(
                        old == new || new.is_empty() || plain(old) && plain(new),
                        "{old} -> {new} is not news"
                    ),
                }
            }
        }
    }
    let why = |old, new| news::remote(old, new, None).expect("it is news").why;
    assert_eq!(why("lost", "behind"), why("lost", "in-step"));
    assert!(why("lost", "behind").contains("works again"));
    assert!(why("out-of-step", "behind").contains("administrator"));
}

#[test]
fn the_partner_and_the_log() {
    let n = news::partner("connected", "disconnected").expect("it is news");
    assert!(n.why.contains("ended"));
    sane(&n);
    let n = news::partner("disconnected", "connected").expect("it is news");
    assert!(n.why.contains("begun"));
    assert_eq!(news::partner("", "connected"), None, "the first look");
    assert_eq!(news::partner("connected", "connected"), None);
    for reach in reaches() {
        let full = news::log(false, true, reach).expect("it is news");
        let free = news::log(true, false, reach).expect("it is news");
        sane(&full);
        sane(&free);
        assert_eq!((full.old, full.new), ("free", "full"));
        assert_eq!((free.old, free.new), ("full", "free"));
        assert_eq!(full.span, outstanding(reach.map(|r| r.remote), reach));
        assert_eq!(news::log(true, true, reach), None);
        assert_eq!(news::log(false, false, reach), None);
    }
}

#[test]
fn what_the_remote_may_miss() {
    let missing = |first, last| Missing::new(Seq(first), Seq(last));
    let (some, more) = (missing(5, 9), missing(5, u64::MAX));
    let n = news::missing(None, some).expect("it is news");
    sane(&n);
    assert_eq!((n.old, n.new), ("", "out-of-step"));
    assert_eq!((n.span.first, n.span.last), (Seq(5), Seq(9)));
    let n = news::missing(some, more).expect("it is news");
    assert_eq!(
        (n.span.first, n.span.last),
        (Seq(5), Seq::ZERO),
        "nobody knows"
    );
    let n = news::missing(some, None).expect("it is news");
    assert_eq!((n.old, n.new), ("out-of-step", "in-step"));
    assert_eq!(
        (n.span.first, n.span.last),
        (Seq(5), Seq(9)),
        "what it was that it missed"
    );
    assert_eq!(news::missing(some, some), None);
    assert_eq!(news::missing(None, None), None);
}
