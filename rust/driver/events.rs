// SPDX-License-Identifier: GPL-2.0

//! What happens to a set is told to who listens. [`core_crate::events`] numbers and keeps it; this looks
//! what has changed, and sends.
//!
//! Noting never sleeps and never allocates. Sending does not wait for memory (rule 11): what cannot be
//! sent now stays, and the keeper tries again.

use crate::{
    report,
    set::{Phase, Set},
};
use core::fmt;
use core_crate::{
    events::{Event, Events, Kind, Text, KEPT},
    format::Missing,
    lag::Lag,
    netlink,
    news::{self, Reach, Span},
    units::Seq,
};
use kapi_crate::{
    genl::{self, Message},
    irqlock::IrqLock,
    time,
};
use kernel::{new_mutex, new_spinlock_irq, prelude::*, sync::Mutex};

/// See the head of this file.
#[pin_data]
pub(crate) struct Notes {
    #[pin]
    events: IrqLock<Events<Kept>>,
    /// What status said when it was looked at last. Held over looking and noting, so that nobody notes an
    /// older look behind a newer one. Only `Set::durable` is tried, and `Journal::mirror` taken, within.
    #[pin]
    seen: Mutex<Seen>,
    /// Held over sending, so that events leave in order. A leaf.
    #[pin]
    sending: Mutex<()>,
    /// How old what the remote has not got is. A leaf.
    #[pin]
    lag: Mutex<Lag>,
}

/// The events that are kept.
pub(crate) struct Kept(KVec<Event>);

impl AsRef<[Event]> for Kept {
    fn as_ref(&self) -> &[Event] {
        &self.0
    }
}

impl AsMut<[Event]> for Kept {
    fn as_mut(&mut self) -> &mut [Event] {
        &mut self.0
    }
}

#[derive(Clone, Copy)]
struct Seen {
    partner: &'static str,
    mirror: &'static str,
    remote: &'static str,
    log_full: bool,
    missing: Option<Missing>,
}

impl Notes {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<impl PinInit<Notes, Error>> {
        let kept = Kept(KVec::from_elem(Event::default(), KEPT, GFP_KERNEL)?);
        Ok(try_pin_init!(Notes {
            events <- new_spinlock_irq!(Events::new(kept)),
            seen <- new_mutex!(Seen {
                partner: "",
                mirror: "",
                remote: "",
                log_full: false,
                missing: None,
            }),
            sending <- new_mutex!(()),
            lag <- new_mutex!(Lag::new()),
        }))
    }
}

/// Notes an event. Any context but a hard interrupt with the event lock held.
pub(crate) fn note(set: &Set, kind: Kind, old: &str, new: &str, why: fmt::Arguments<'_>) {
    // The newest there was: what the event divides from what comes later.
    let span = Span {
        first: Seq::ZERO,
        last: set.journal().map_or(Seq::ZERO, |j| j.order.last()),
    };
    note_sequences(set, kind, old, new, why, span);
}

fn note_sequences(
    set: &Set,
    kind: Kind,
    old: &str,
    new: &str,
    why: fmt::Arguments<'_>,
    span: Span,
) {
    let event = Event {
        time: time::wall_clock_ns(),
        kind,
        old: Text::of(format_args!("{old}")),
        new: Text::of(format_args!("{new}")),
        reason: Text::of(why),
        generation: set.journal().map_or(set.known_generation(), |j| j.reign()),
        first: span.first,
        last: span.last,
        ..Event::default()
    };
    set.notes.events.lock().note(time::now_ns(), event);
}

/// Looks what has changed since the last look, and notes that. Process context.
pub(crate) fn observe(set: &Set) {
    let Some(mut seen) = set.notes.seen.try_lock() else {
        return set.keep.signal();
    };
    let Some(durable) = set.durable.try_lock().map(|d| *d) else {
        return set.keep.signal();
    };
    let before = *seen;
    let reach = set.journal().map(|j| Reach {
        last: j.order.last(),
        acked: j.order.acked(),
        remote: report::seq_remote(j),
    });
    *seen = Seen {
        partner: report::partner_word(set),
        mirror: report::mirror_word(set, durable.as_ref()).unwrap_or("unknown"),
        remote: set.journal().map_or("", |j| report::remote_word(set, j)),
        log_full: set.counters.is_full(),
        missing: durable.and_then(|d| d.missing),
    };
    for (kind, news) in [
        (Kind::Partner, news::partner(before.partner, seen.partner)),
        (
            Kind::Mirror,
            news::mirror(before.mirror, seen.mirror, reach),
        ),
        (
            Kind::Remote,
            news::remote(before.remote, seen.remote, reach),
        ),
        (Kind::Log, news::log(before.log_full, seen.log_full, reach)),
        (Kind::Missing, news::missing(before.missing, seen.missing)),
    ] {
        if let Some(n) = news {
            note_sequences(set, kind, n.old, n.new, format_args!("{}", n.why), n.span);
        }
    }
}

/// Now and then: looks, and says what was held back. The keeper's thread.
pub(crate) fn tick(set: &Set) {
    if let Some(j) = set.journal() {
        let remote = report::seq_remote(j);
        let mut lag = set.notes.lag.lock();
        lag.note(time::now_ns(), j.order.last(), remote);
    } else {
        set.notes.lag.lock().forget();
    }
    observe(set);
    set.notes.events.lock().settle(time::now_ns());
    flush(set);
}

/// How old the oldest record is that the remote has not got, in nanoseconds.
pub(crate) fn behind_ns(set: &Set, last: Seq, remote: Seq) -> u64 {
    let now = time::now_ns();
    let mut lag = set.notes.lag.lock();
    lag.note(now, last, remote);
    lag.behind(now, remote)
}

/// Sends what was noted, as far as there is memory. Process context.
pub(crate) fn flush(set: &Set) {
    let _sending = set.notes.sending.lock();
    loop {
        let Some(event) = set.notes.events.lock().next() else {
            return;
        };
        let sent = genl::send_event(&set.ns, netlink::cmd::EVENT, &mut |seq, m| {
            m.uint(netlink::notice::SEQ, seq)?;
            m.text(netlink::notice::SET, set.name.as_str())?;
            m.nest(netlink::notice::WHAT, |m| put(&event, m))
        });
        if sent.is_err() {
            // The keeper comes back to it.
            return;
        }
        set.notes.events.lock().sent();
    }
}

/// The number of the last event, how many were suppressed, and the last one.
pub(crate) fn newest(set: &Set) -> (u64, u64, Option<Event>) {
    let events = set.notes.events.lock();
    let last = events.last();
    (last.map_or(0, |e| e.set_seq), events.suppressed(), last)
}

/// The attributes of an event.
pub(crate) fn put(e: &Event, m: &mut Message<'_>) -> Result {
    use netlink::event as a;
    m.uint(a::SET_SEQ, e.set_seq)?;
    m.uint(a::TIME, e.time)?;
    m.u32(a::KIND, e.kind as u32)?;
    if !e.old.as_str().is_empty() {
        m.text(a::OLD, e.old.as_str())?;
    }
    if !e.new.as_str().is_empty() {
        m.text(a::NEW, e.new.as_str())?;
    }
    m.text(a::REASON, e.reason.as_str())?;
    m.u32(a::GENERATION, e.generation.0)?;
    if e.first != Seq::ZERO {
        m.uint(a::SEQ_FIRST, e.first.0)?;
    }
    if e.last != Seq::ZERO {
        m.uint(a::SEQ_LAST, e.last.0)?;
    }
    if e.suppressed != 0 {
        m.uint(a::SUPPRESSED, e.suppressed)?;
    }
    Ok(())
}

/// The set has changed its state.
pub(crate) fn note_state(set: &Set, from: Phase, to: Phase, why: fmt::Arguments<'_>) {
    note(set, Kind::State, from.as_str(), to.as_str(), why);
}
