// SPDX-License-Identifier: GPL-2.0

//! Which records may be in flight to a remote block device (`DESIGN`, section 5; patent, "Note that
//! during a merge operation …" after figure 11: order is kept by bounding what is outstanding).
//!
//! A record is issued when everything up to its look-ahead limit is durable at the remote, and every
//! older record that it overlaps is even *known* to be: durably, here and at the partner, in a mark's
//! `shipped`. The second half is what keeps a replay from taking the remote back (rule 2): whoever
//! replays starts behind `shipped`, and of what is behind it no record overwrites another, so that
//! writing one again, on top of later ones, changes nothing.

use core::ops::DerefMut;

use crate::{
    lane::{stage, Record},
    merge::{Lanes, Merge, Position},
    plant::{planted, Plant},
    units::{Extent, Op, Seq},
};

/// What the shipper needs to see of the log.
pub trait ShipView: Lanes {
    /// The record at a published position.
    fn record(&self, at: Position) -> Option<Record>;
}

/// How far one record has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// To be issued (again).
    Ready,
    /// At the remote device.
    Issued,
    /// The remote device has it, perhaps in a volatile cache.
    Written,
    /// A flush was issued after it had been written.
    Flushing,
    /// It is there to stay.
    #[default]
    Durable,
}

/// A record on its way. [`Shipper::new`] wants [`SHIP_WINDOW`](crate::limits::SHIP_WINDOW) of them, from wherever memory is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    seq: Seq,
    at: Position,
    extent: Extent,
    state: State,
}

/// Names an entry of the window while it is in flight: its sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(pub u64);

/// A record to be written to the remote now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Ship {
    /// To be given back to [`Shipper::completed`].
    pub token: Token,
    /// Where the record stands.
    pub at: Position,
    /// The record.
    pub record: Record,
}

/// Why nothing can be issued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// All of the log has been issued.
    Empty,
    /// The next record is not yet written locally (or mirrored).
    Local,
    /// The next record depends on one that is not durable at the remote, or overwrites one that is
    /// not durably known to be.
    Order,
    /// [`SHIP_WINDOW`](crate::limits::SHIP_WINDOW) records are in flight.
    Window,
}

/// The window of records on their way to the remote.
///
/// # Invariants
///
/// - `window[..len]` is in sequence order and holds every record behind `confirmed` that the merge
///   has stepped over.
/// - The first `settled` of them are durable; the next one, if there is one, is not.
/// - No two entries overlap, so writing any of them again changes nothing; and none was issued before
///   everything that it depends on was durable, so what has been applied is always a state that the
///   host could have seen.
pub struct Shipper<W: DerefMut<Target = [Entry]>> {
    merge: Merge,
    window: W,
    len: usize,
    settled: usize,
    confirmed: Seq,
    /// The next record waits for a mark and for nothing else.
    blocked: bool,
}

impl<W: DerefMut<Target = [Entry]>> Shipper<W> {
    /// Ships from where `merge` stands. `confirmed`: the mark's `shipped`. As many records are in
    /// flight at once as `window` has entries; [`SHIP_WINDOW`](crate::limits::SHIP_WINDOW) is the driver's choice. It stands
    /// outside because a kernel stack has no room for it.
    pub fn new(merge: Merge, confirmed: Seq, window: W) -> Shipper<W> {
        Shipper {
            merge,
            window,
            len: 0,
            settled: 0,
            confirmed,
            blocked: false,
        }
    }

    fn entries(&self) -> &[Entry] {
        self.window.get(..self.len).unwrap_or(&[])
    }

    /// Those that are not durable, or stand behind one that is not.
    fn unsettled(&self) -> &[Entry] {
        self.window.get(self.settled..self.len).unwrap_or(&[])
    }

    fn unsettled_mut(&mut self) -> &mut [Entry] {
        self.window
            .get_mut(self.settled..self.len)
            .unwrap_or(&mut [])
    }

    /// INVARIANT: of `settled`, after entries may have become durable.
    fn settle(&mut self) {
        let more = self
            .unsettled()
            .iter()
            .take_while(|e| e.state == State::Durable)
            .count();
        self.settled = self.settled.saturating_add(more);
    }

    /// The next record to issue: one whose write failed before, or the next of the log.
    pub fn next(&mut self, view: &impl ShipView) -> Result<Ship, Blocked> {
        if let Some(ship) = self.again(view) {
            return Ok(ship);
        }
        loop {
            let (seq, at) = self.merge.peek(view).ok_or(Blocked::Empty)?;
            let record = view.record(at).ok_or(Blocked::Empty)?;
            if record.stage & (stage::LOCAL | stage::CANCELLED) == 0 {
                return Err(Blocked::Local);
            }
            if self.len == self.window.len() {
                self.blocked = self.settled == self.len;
                return Err(Blocked::Window);
            }
            let nothing = record.op == Op::Cancel || record.stage & stage::CANCELLED != 0;
            if !nothing {
                if record.after > self.durable() && !planted(Plant::LimitIgnored) {
                    return Err(Blocked::Order);
                }
                let overlaps = |e: &Entry| {
                    e.extent.overlaps(&record.extent) && !planted(Plant::OverlapShipped)
                };
                if let Some(newest) = self.entries().iter().rposition(overlaps) {
                    self.blocked = newest < self.settled;
                    return Err(Blocked::Order);
                }
            }
            let Some(slot) = self.window.get_mut(self.len) else {
                return Err(Blocked::Window);
            };
            // INVARIANT: the merge goes in sequence order; overlap and dependence were just checked.
            *slot = Entry {
                seq,
                at,
                extent: if nothing {
                    Extent::default()
                } else {
                    record.extent
                },
                state: if nothing {
                    State::Durable
                } else {
                    State::Issued
                },
            };
            self.len = self.len.saturating_add(1);
            self.settle();
            self.merge.advance(at);
            if !nothing {
                return Ok(Ship {
                    token: Token(seq.0),
                    at,
                    record,
                });
            }
        }
    }

    fn again(&mut self, view: &impl ShipView) -> Option<Ship> {
        let e = self
            .unsettled_mut()
            .iter_mut()
            .find(|e| e.state == State::Ready)?;
        let record = view.record(e.at)?;
        e.state = State::Issued;
        Some(Ship {
            token: Token(e.seq.0),
            at: e.at,
            record,
        })
    }

    /// The remote device answered. After an error the record will be issued again.
    pub fn completed(&mut self, token: Token, ok: bool) {
        let mine = |e: &&mut Entry| e.seq.0 == token.0;
        if let Some(e) = self.unsettled_mut().iter_mut().find(mine) {
            if e.state == State::Issued {
                e.state = if ok { State::Written } else { State::Ready };
            }
        }
    }

    /// Whether a flush is due: something is written, and nothing is in flight. Begins it.
    pub fn begin_flush(&mut self) -> bool {
        let busy = |s| matches!(s, State::Ready | State::Issued | State::Flushing);
        if self.unsettled().iter().any(|e| busy(e.state))
            || !self.unsettled().iter().any(|e| e.state == State::Written)
        {
            return false;
        }
        for e in self.unsettled_mut() {
            if e.state == State::Written {
                e.state = State::Flushing;
            }
        }
        true
    }

    /// The flush ended, or was not needed because the remote has no volatile cache. A failed one
    /// may have lost what it was to make durable, so all of it is written again.
    pub fn flushed(&mut self, ok: bool) {
        for e in self.unsettled_mut() {
            if e.state == State::Flushing {
                e.state = if ok { State::Durable } else { State::Ready };
            }
        }
        self.settle();
    }

    /// The remote went away and came back: whatever was not durable there is written again.
    pub fn reconnect(&mut self) {
        for e in self.unsettled_mut() {
            if matches!(e.state, State::Written | State::Flushing) {
                e.state = State::Ready;
            }
        }
    }

    /// Everything up to this sequence is durable at the remote.
    pub fn durable(&self) -> Seq {
        let counts = |e: &&Entry| e.state != State::Written || !planted(Plant::WrittenIsDurable);
        let upto = match self.unsettled().iter().find(counts) {
            Some(e) => e.seq.prev(),
            None => self.merge.next().prev(),
        };
        upto.max(self.confirmed)
    }

    /// A mark with this `shipped` is durable here, and at the partner unless the owner serves alone.
    pub fn confirm(&mut self, shipped: Seq) {
        if shipped <= self.confirmed || shipped > self.durable() {
            return;
        }
        self.confirmed = shipped;
        let gone = self
            .entries()
            .iter()
            .take_while(|e| e.seq <= shipped)
            .count();
        self.window.copy_within(gone..self.len, 0);
        self.len = self.len.saturating_sub(gone);
        // INVARIANT: what is gone was durable.
        self.settled = self.settled.saturating_sub(gone);
        self.blocked = false;
    }

    /// Whether a mark that says what is durable at the remote is due: the next record waits for it, or
    /// it soon would. One mark for many records is what keeps marks cheap; half a window is left so
    /// that the remote does not wait while the mark is on its way.
    pub fn wants_mark(&self) -> bool {
        self.blocked || self.settled >= self.window.len() / 2
    }

    /// The last confirmed sequence.
    pub fn confirmed(&self) -> Seq {
        self.confirmed
    }

    /// Records that are at the remote device right now.
    pub fn in_flight(&self) -> usize {
        self.unsettled()
            .iter()
            .filter(|e| e.state == State::Issued)
            .count()
    }

    /// Whether some record failed and waits to be issued again.
    pub fn has_failed(&self) -> bool {
        self.unsettled().iter().any(|e| e.state == State::Ready)
    }
}
