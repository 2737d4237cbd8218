// SPDX-License-Identifier: GPL-2.0

//! What has happened to a set, for who listens: numbered, kept until it is sent, and not more of a kind
//! than anybody can read.
//!
//! Every event takes a number. What an administrator or the set itself does is always kept. What a fault
//! can do over and over (a link that comes and goes, a log that fills and empties) is kept up to
//! [`BURST`] times, then once in [`REFILL_NS`]; the others are counted, the next event that is kept says
//! how many they were, and when it is quiet again, one more says how things stand.

use crate::units::{Generation, Seq};
use core::fmt::{self, Write};

/// A text of at most `N` bytes; what is longer is cut off between two characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// An empty one.
    pub const fn new() -> Self {
        Text {
            bytes: [0; N],
            len: 0,
        }
    }

    /// What can be printed.
    pub fn of(what: fmt::Arguments<'_>) -> Self {
        let mut text = Text::new();
        let _ = text.write_fmt(what);
        text
    }

    /// Its characters, `N` bytes of UTF-8 at most.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("")
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text::new()
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            let mut utf8 = [0; 4];
            let part = c.encode_utf8(&mut utf8).as_bytes();
            let end = self.len.saturating_add(part.len());
            let Some(to) = self.bytes.get_mut(self.len..end) else {
                return Err(fmt::Error);
            };
            to.copy_from_slice(part);
            self.len = end;
        }
        Ok(())
    }
}

/// What has changed; numbers as in `netlink::words::EVENT_KIND`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum Kind {
    /// The set is there.
    #[default]
    Created,
    /// It is gone.
    Removed,
    /// Its state.
    State,
    /// The connection to the partner.
    Partner,
    /// The mirror.
    Mirror,
    /// The remote.
    Remote,
    /// Space in the log.
    Log,
    /// Shipping.
    Shipping,
    /// A setting.
    Settings,
    /// What the remote may miss.
    Missing,
}

/// How many kinds there are.
pub const KINDS: usize = 10;

impl Kind {
    /// Whether a fault can bring it about over and over.
    pub fn may_storm(self) -> bool {
        matches!(
            self,
            Kind::Partner | Kind::Mirror | Kind::Remote | Kind::Log
        )
    }
}

/// Something that has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// Its number, in the set; given by [`Events::note`].
    pub set_seq: u64,
    /// When, nanoseconds since 1970.
    pub time: u64,
    /// What.
    pub kind: Kind,
    /// The old state; empty if there was none.
    pub old: Text<40>,
    /// The new state.
    pub new: Text<40>,
    /// Why.
    pub reason: Text<120>,
    /// In which reign.
    pub generation: Generation,
    /// The first sequence concerned; [`Seq::ZERO`]: none.
    pub first: Seq,
    /// The last one; [`Seq::ZERO`]: none, or not known.
    pub last: Seq,
    /// How many just before it were not kept.
    pub suppressed: u64,
}

/// How many events of a kind may follow each other at once.
pub const BURST: u32 = 10;
/// After how many nanoseconds there may be one more.
pub const REFILL_NS: u64 = 1_000_000_000;

#[derive(Clone, Copy)]
struct Bucket {
    left: u32,
    since: u64,
    /// The newest that was not kept, and how many there were of this kind since one was.
    held_back: Option<(Event, u64)>,
}

impl Bucket {
    fn refill(&mut self, now: u64) {
        let more = now.saturating_sub(self.since) / REFILL_NS;
        self.since = self.since.saturating_add(more.saturating_mul(REFILL_NS));
        let left = u64::from(self.left).saturating_add(more);
        self.left = left.min(u64::from(BURST)) as u32;
    }

    fn take(&mut self, now: u64) -> bool {
        if self.left == BURST {
            self.since = now;
        }
        self.refill(now);
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }
}

/// How many events are kept until they are sent.
pub const KEPT: usize = 64;

/// The events of a set.
///
/// # Invariants
///
/// `sent <= noted <= sent + KEPT`; the events between stand in `kept`, at their number modulo [`KEPT`].
pub struct Events<S> {
    kept: S,
    noted: u64,
    sent: u64,
    last_seq: u64,
    last: Option<Event>,
    buckets: [Bucket; KINDS],
    /// Not kept since the last that was.
    gap: u64,
    suppressed: u64,
}

impl<S: AsRef<[Event]> + AsMut<[Event]>> Events<S> {
    /// None yet. `kept` has room for [`KEPT`]; if it has less, more is lost, and counted.
    pub fn new(kept: S) -> Self {
        Events {
            kept,
            noted: 0,
            sent: 0,
            last_seq: 0,
            last: None,
            buckets: [Bucket {
                left: BURST,
                since: 0,
                held_back: None,
            }; KINDS],
            gap: 0,
            suppressed: 0,
        }
    }

    /// Numbers an event and keeps it, or counts it. `now`: nanoseconds of a clock that does not jump.
    pub fn note(&mut self, now: u64, event: Event) {
        self.last_seq = self.last_seq.saturating_add(1);
        let event = Event {
            set_seq: self.last_seq,
            ..event
        };
        self.last = Some(event);
        let mut may = true;
        if let Some(b) = self.buckets.get_mut(event.kind as usize) {
            may = !event.kind.may_storm() || b.take(now);
        }
        if may && self.keep(event) {
            if let Some(b) = self.buckets.get_mut(event.kind as usize) {
                b.held_back = None;
            }
            return;
        }
        self.gap = self.gap.saturating_add(1);
        self.suppressed = self.suppressed.saturating_add(1);
        if let Some(b) = self.buckets.get_mut(event.kind as usize) {
            let before = b.held_back.map_or(0, |(_, n)| n);
            b.held_back = Some((event, before.saturating_add(1)));
        }
    }

    /// Says how things stand of what was not kept, once there may be an event of that kind again.
    pub fn settle(&mut self, now: u64) {
        for i in 0..KINDS {
            let Some(b) = self.buckets.get_mut(i) else {
                return;
            };
            let Some((held, n)) = b.held_back else {
                continue;
            };
            if held.kind.may_storm() && !b.take(now) {
                continue;
            }
            let number = self.last_seq.saturating_add(1);
            let event = Event {
                set_seq: number,
                reason: Text::of(format_args!(
                    "{n} events of this kind were not sent; {}",
                    held.reason.as_str()
                )),
                ..held
            };
            if !self.keep(event) {
                return;
            }
            self.last_seq = number;
            self.last = Some(event);
            if let Some(b) = self.buckets.get_mut(i) {
                b.held_back = None;
            }
        }
    }

    fn keep(&mut self, event: Event) -> bool {
        if self.noted.saturating_sub(self.sent) >= KEPT as u64 {
            return false;
        }
        let Some(place) = self
            .kept
            .as_mut()
            .get_mut((self.noted % KEPT as u64) as usize)
        else {
            return false;
        };
        *place = Event {
            suppressed: self.gap,
            ..event
        };
        self.gap = 0;
        self.noted = self.noted.saturating_add(1);
        true
    }

    /// The oldest event that was not sent.
    pub fn next(&self) -> Option<Event> {
        if self.sent == self.noted {
            return None;
        }
        self.kept
            .as_ref()
            .get((self.sent % KEPT as u64) as usize)
            .copied()
    }

    /// It was sent.
    pub fn sent(&mut self) {
        if self.sent < self.noted {
            self.sent = self.sent.saturating_add(1);
        }
    }

    /// The newest, whether it was kept or not.
    pub fn last(&self) -> Option<Event> {
        self.last
    }

    /// How many were not kept, ever.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Whether something waits for [`Events::settle`].
    pub fn is_unsettled(&self) -> bool {
        self.buckets.iter().any(|b| b.held_back.is_some())
    }
}
