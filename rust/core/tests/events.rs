// SPDX-License-Identifier: GPL-2.0

//! Events: whatever comes, and however slowly it is sent, a listener can tell what it has missed, and is
//! told in the end how things stand. The oracle only looks at what was sent.

mod common;

use common::seeds;
use core_crate::{
    events::{Event, Events, Kind, Text, BURST, KEPT, KINDS, REFILL_NS},
    lag::Lag,
    netlink::{self, words},
    ownership::{Fencing, Kind as Reservation},
    partner::Mirror,
    units::Seq,
};

const ALL: [Kind; KINDS] = [
    Kind::Created,
    Kind::Removed,
    Kind::State,
    Kind::Partner,
    Kind::Mirror,
    Kind::Remote,
    Kind::Log,
    Kind::Shipping,
    Kind::Settings,
    Kind::Missing,
];

fn event(kind: Kind, new: u64) -> Event {
    Event {
        kind,
        new: Text::of(format_args!("{new}")),
        ..Event::default()
    }
}

fn events() -> Events<Vec<Event>> {
    Events::new(vec![Event::default(); KEPT])
}

/// Checks what a listener relies upon.
#[derive(Default)]
struct Listener {
    last: u64,
    explained: u64,
    newest: [Option<String>; KINDS],
    heard: usize,
}

impl Listener {
    fn hear(&mut self, e: &Event) {
        assert_eq!(
            e.set_seq,
            self.last + 1 + e.suppressed,
            "a gap that nothing explains"
        );
        self.last = e.set_seq;
        self.explained += e.suppressed;
        self.newest[e.kind as usize] = Some(e.new.as_str().to_string());
        self.heard += 1;
    }

    fn drain(&mut self, events: &mut Events<Vec<Event>>, most: usize) {
        for _ in 0..most {
            let Some(e) = events.next() else { return };
            self.hear(&e);
            events.sent();
        }
    }
}

#[test]
fn nothing_is_missed_unsaid() {
    seeds(200, |rng| {
        let mut events = events();
        let mut listener = Listener::default();
        let mut now = 0;
        let mut stands: [Option<String>; KINDS] = Default::default();
        for n in 0..2000 {
            now += rng.below(REFILL_NS / 4);
            let kind = ALL[rng.below(KINDS as u64) as usize];
            events.note(now, event(kind, n));
            stands[kind as usize] = Some(n.to_string());
            if rng.below(3) == 0 {
                listener.drain(&mut events, rng.below(8) as usize);
            }
            if rng.below(50) == 0 {
                events.settle(now);
            }
        }
        // It gets quiet.
        for _ in 0..KINDS {
            now += 2 * REFILL_NS;
            listener.drain(&mut events, usize::MAX);
            events.settle(now);
        }
        listener.drain(&mut events, usize::MAX);
        assert!(!events.is_unsettled());
        assert_eq!(listener.newest, stands, "how things stand");
        assert_eq!(listener.explained, events.suppressed());
        assert_eq!(Some(listener.last), events.last().map(|e| e.set_seq));
    });
}

#[test]
fn a_storm_is_held_back_and_nothing_else_is() {
    let mut events = events();
    let mut listener = Listener::default();
    for n in 0..1000 {
        events.note(n, event(Kind::Log, n));
        listener.drain(&mut events, usize::MAX);
    }
    assert_eq!(listener.heard, BURST as usize);
    assert_eq!(events.suppressed(), 1000 - u64::from(BURST));
    // One kind's storm takes nothing from another's.
    events.note(1000, event(Kind::Remote, 7));
    for n in 0..1000 {
        events.note(1001 + n, event(Kind::Settings, n));
        listener.drain(&mut events, usize::MAX);
    }
    assert_eq!(listener.heard, BURST as usize + 1 + 1000);
    events.settle(2001);
    assert!(events.next().is_none(), "not so soon");
    events.settle(REFILL_NS + 2001);
    let said = events.next().expect("how things stand");
    assert_eq!((said.kind, said.new.as_str()), (Kind::Log, "999"));
    assert!(
        said.reason.as_str().starts_with("990 events"),
        "{:?}",
        said.reason
    );
}

#[test]
fn after_a_rest_there_is_a_burst_again() {
    let mut events = events();
    let mut listener = Listener::default();
    for round in 0..5u64 {
        for n in 0..50 {
            events.note(round * 100 * REFILL_NS + n, event(Kind::Partner, n));
            listener.drain(&mut events, usize::MAX);
        }
        assert_eq!(listener.heard, (round as usize + 1) * BURST as usize);
    }
}

#[test]
fn texts_are_cut_between_characters() {
    let t = Text::<10>::of(format_args!("{}", "äöüÄÖÜ"));
    assert_eq!(t.as_str(), "äöüÄÖ");
    let t = Text::<9>::of(format_args!("{}", "äöüÄÖÜ"));
    assert_eq!(t.as_str(), "äöüÄ");
}

#[test]
fn lag_is_never_too_long_and_hardly_too_short() {
    seeds(50, |rng| {
        let mut lag = Lag::new();
        let (mut now, mut remote) = (1, 0);
        // When each sequence came.
        let mut came = vec![0];
        for _ in 0..3000 {
            let before = now;
            now += rng.below(100);
            for _ in 0..rng.below(3) {
                came.push(before + rng.below(now - before + 1));
            }
            came.sort_unstable();
            let last = came.len() as u64 - 1;
            if rng.below(2) == 0 {
                remote += rng.below(last - remote + 1);
            }
            lag.note(now, Seq(last), Seq(remote));
            let said = lag.behind(now, Seq(remote));
            let true_lag = came.get(remote as usize + 1).map_or(0, |t| now - t);
            assert!(said <= true_lag, "{said} of {true_lag}");
            // Notes may have been thinned out, once for each doubling of their number.
            if true_lag < 3000 {
                assert!(true_lag - said <= 100, "{said} of {true_lag}");
            }
        }
    });
}

#[test]
fn every_word_is_in_the_catalogue() {
    let mirrors = [
        Mirror::Single,
        Mirror::Lost,
        Mirror::Alone,
        Mirror::CatchingUp {
            trusted: true,
            alone: false,
        },
        Mirror::Finishing,
        Mirror::Mirrored,
    ];
    for m in mirrors {
        assert!(words::MIRROR_STATE.contains(&m.as_str()), "{m:?}");
    }
    for f in [
        Fencing::None,
        Fencing::External,
        Fencing::Reservation(Reservation::Holder),
        Fencing::Reservation(Reservation::Registrants),
    ] {
        assert!(words::FENCING.contains(&f.as_str()), "{f:?}");
    }
    for (n, k) in ALL.iter().enumerate() {
        assert_eq!(*k as usize, n);
        let word = format!("{k:?}").to_lowercase();
        assert_eq!(words::EVENT_KIND[n], word);
    }
    assert_eq!(words::EVENT_KIND.len(), KINDS);
    assert_eq!(netlink::MAX_SET_NAME, core_crate::limits::MAX_SET_NAME);
}
