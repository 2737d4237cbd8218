// SPDX-License-Identifier: GPL-2.0

//! The one order of a set's writes: sequences, and what had been acknowledged when.

use crate::units::Seq;
use core::sync::atomic::{AtomicU64, Ordering};

/// Gives out sequences and keeps the two limits that go into each record.
///
/// Two, because writes may be acknowledged out of order. Take A, B, C in sequence order; B is
/// acknowledged while A is not; then C is submitted. C may not be at the remote without B (rule 2),
/// so its look-ahead limit is B, and A is waited for as well, which costs nothing. But A may be
/// missing after a crash without any damage (rule 5), so "all acknowledged up to" is before A.
#[derive(Default)]
pub struct Order {
    last: AtomicU64,
    newest_acked: AtomicU64,
    acked: AtomicU64,
}

/// What a write gets when it is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Its place in the order.
    pub seq: Seq,
    /// The largest sequence acknowledged before it was accepted.
    pub after: Seq,
    /// All sequences up to this one were acknowledged before.
    pub acked: Seq,
}

impl Order {
    /// Continues behind `last`, everything up to which counts as acknowledged.
    pub fn starting_after(last: Seq) -> Order {
        Order {
            last: AtomicU64::new(last.0),
            newest_acked: AtomicU64::new(last.0),
            acked: AtomicU64::new(last.0),
        }
    }

    /// Starts again behind `last` (a takeover). Only while no write is accepted.
    pub fn restart_after(&self, last: Seq) {
        self.last.store(last.0, Ordering::SeqCst);
        self.newest_acked.store(last.0, Ordering::SeqCst);
        self.acked.store(last.0, Ordering::SeqCst);
    }

    /// Accepts a write. The caller holds the append lock of the lane it goes to and will publish it.
    #[inline]
    pub fn accept(&self) -> Ticket {
        // The limits are read before the sequence is taken: both are then below it, also when a
        // later write overtakes this one.
        let acked = self.acked.load(Ordering::Acquire);
        let after = self.newest_acked.load(Ordering::Acquire);
        let seq = self.last.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        Ticket {
            seq: Seq(seq),
            after: Seq(after),
            acked: Seq(acked.min(after)),
        }
    }

    /// Notes that the host is about to be told of `seq`. Must come before the host is told.
    #[inline]
    pub fn acknowledge(&self, seq: Seq) {
        self.newest_acked.fetch_max(seq.0, Ordering::AcqRel);
    }

    /// Notes that everything up to `seq` has been acknowledged.
    #[inline]
    pub fn acknowledged_all(&self, seq: Seq) {
        self.acked.fetch_max(seq.0, Ordering::AcqRel);
    }

    /// The newest sequence given out.
    #[inline]
    pub fn last(&self) -> Seq {
        Seq(self.last.load(Ordering::Acquire))
    }

    /// Everything up to this one has been acknowledged.
    #[inline]
    pub fn acked(&self) -> Seq {
        Seq(self.acked.load(Ordering::Acquire))
    }
}
