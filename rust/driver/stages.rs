// SPDX-License-Identifier: GPL-2.0

//! The life of a write, for whoever watches: a tracepoint and a histogram of its stages. Each moment has
//! one function here, called where it happens; `Documentation/tracing.rst` says what is seen.
//!
//! Histograms are always on. What they cost is three looks at the processor's clock for each write,
//! one more with a partner, and two additions at the end of each stage to memory that is the processor's
//! own: no lock, and no cache line that another processor touches. The clock is looked at once for all
//! records that an acknowledgement, a flush of the remote or a mark covers.

use crate::{
    journal::{HostSlot, Journal},
    set::{Phase, Set},
    worker::Io,
};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};
use core_crate::{
    events::Text,
    format::Header,
    histogram::{bucket, Histogram, Stage, BUCKETS, STAGES},
    lane::{stage, Record, Slot},
    merge::Position,
    ship::ShipView,
    units::{Op, SECTOR_SIZE},
};
use kapi_crate::{
    bio::{BlkStatus, HostBio, Op as BioOp},
    percpu::PerCpuCounters,
    time::Stopwatch,
    trace,
};
use kernel::prelude::*;

/// How long the stages of a set's writes took, since the set was made.
pub(crate) struct Latency {
    counters: PerCpuCounters<COUNTERS>,
    watch: Stopwatch,
}

/// Of each stage its buckets, then of each its sum.
const COUNTERS: usize = STAGES * (BUCKETS + 1);

impl Latency {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Latency> {
        Ok(Latency {
            counters: PerCpuCounters::new()?,
            watch: Stopwatch::new(),
        })
    }

    /// The moment, for the functions below.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.watch.now()
    }

    /// Nanoseconds between two moments.
    #[inline]
    fn between(&self, then: u64, now: u64) -> u64 {
        self.watch.ns(now.saturating_sub(then))
    }

    #[inline]
    fn record(&self, stage: Stage, ns: u64) {
        let s = stage.index();
        self.counters
            .count(s * BUCKETS + bucket(ns), STAGES * BUCKETS + s, ns);
    }

    /// What all processors have counted of a stage. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn snapshot(&self, stage: Stage) -> Result<KBox<Histogram>> {
        let mut h = KBox::new(Histogram::new(), GFP_KERNEL)?;
        let s = stage.index();
        for b in 0..BUCKETS {
            h.add(b, self.counters.sum(s * BUCKETS + b));
        }
        h.add_sum(self.counters.sum(STAGES * BUCKETS + s));
        Ok(h)
    }
}

/// When a record's write was accepted: what its slot remembers once the bio is gone.
#[derive(Default)]
pub(crate) struct Accepted(AtomicU64);

impl Accepted {
    /// Before the record is published.
    #[inline]
    pub(crate) fn set(&self, moment: u64) {
        self.0.store(moment, Ordering::Relaxed);
    }

    /// No host waits for the record, or it is of an earlier reign.
    pub(crate) fn forget(&self) {
        self.set(0);
    }

    /// `None` if that is not known.
    #[inline]
    fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|then| *then != 0)
    }
}

fn op_of(op: Op) -> trace::Op {
    match op {
        Op::Write => trace::Op::Write,
        Op::Zero => trace::Op::Zero,
        Op::Cancel => trace::Op::Cancel,
    }
}

impl Set {
    /// A bio of a host, as an event shows it.
    fn trace_bio<'a>(&'a self, bio: &HostBio<Io>, ns: u64, status: BlkStatus) -> trace::Write<'a> {
        let io = bio.io();
        trace::Write {
            set: self.name.as_str(),
            netns: self.ns.inum(),
            member: io.member,
            op: match bio.op() {
                BioOp::Discard => trace::Op::Discard,
                BioOp::WriteZeroes => trace::Op::WriteZeroes,
                _ => trace::Op::Write,
            },
            seq: io.seq.0,
            generation: 0,
            lane: io.lane,
            position: io.lane_seq,
            sector: bio.sector(),
            bytes: bio.sectors().saturating_mul(SECTOR_SIZE),
            ns,
            error: status.to_errno(),
        }
    }

    /// A record of the log, as an event shows it.
    fn trace_record(
        &self,
        journal: &Journal,
        at: Position,
        r: &Record,
        ns: u64,
    ) -> trace::Write<'_> {
        trace::Write {
            set: self.name.as_str(),
            netns: self.ns.inum(),
            member: r.extent.member,
            op: op_of(r.op),
            seq: r.seq.0,
            generation: journal.reign().0,
            lane: at.lane,
            position: at.lane_seq,
            sector: r.extent.sector,
            bytes: r.extent.sectors.saturating_mul(SECTOR_SIZE),
            ns,
            error: 0,
        }
    }

    /// The set takes a write on.
    #[inline]
    pub(crate) fn accepted(&self, bio: &mut HostBio<Io>) {
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        bio.io_mut().accepted = self.latency.now();
        trace::accepted(|| Some(self.trace_bio(bio, 0, BlkStatus::OK)));
    }

    /// Its record is durable in this node's log, and about to be published.
    #[inline]
    pub(crate) fn logged(&self, io: &mut Io, header: &Header) {
        let now = self.latency.now();
        let ns = self.latency.between(io.accepted, now);
        io.since = now;
        self.latency.record(Stage::Logged, ns);
        trace::logged(|| Some(self.trace_header(header, ns)));
    }

    /// A cancel record is.
    pub(crate) fn logged_cancel(&self, header: &Header) {
        trace::logged(|| Some(self.trace_header(header, 0)));
    }

    fn trace_header(&self, h: &Header, ns: u64) -> trace::Write<'_> {
        trace::Write {
            set: self.name.as_str(),
            netns: self.ns.inum(),
            member: h.extent.member,
            op: op_of(h.op),
            seq: h.seq.0,
            generation: h.generation.0,
            lane: h.lane,
            position: h.lane_seq,
            // As slots do.
            sector: if h.op == Op::Cancel {
                h.cancels.0
            } else {
                h.extent.sector
            },
            bytes: h.extent.sectors.saturating_mul(SECTOR_SIZE),
            ns,
            error: 0,
        }
    }

    /// The partner has a record, of which it has said so at `now`; `bio` has waited for it.
    #[inline]
    pub(crate) fn mirrored(
        &self,
        journal: &Journal,
        at: Position,
        record: Option<&Record>,
        bio: Option<&mut HostBio<Io>>,
        now: u64,
    ) {
        let mut ns = 0;
        if let Some(bio) = bio.filter(|b| b.io().failed.is_none()) {
            let io = bio.io_mut();
            ns = self.latency.between(io.since, now);
            io.since = now;
            self.latency.record(Stage::Mirrored, ns);
        }
        trace::mirrored(|| record.map(|r| self.trace_record(journal, at, r, ns)));
    }

    /// The local device has a write. Answers the moment, with which [`Set::completed`] may follow.
    #[inline]
    pub(crate) fn local(&self, bio: &HostBio<Io>) -> u64 {
        let now = self.latency.now();
        let ns = self.latency.between(bio.io().since, now);
        self.latency.record(Stage::Local, ns);
        trace::local(|| Some(self.trace_bio(bio, ns, BlkStatus::OK)));
        now
    }

    /// The local device has not carried a write out.
    #[cold]
    pub(crate) fn local_failed(&self, bio: &HostBio<Io>, status: BlkStatus) {
        trace::local(|| {
            let ns = self.latency.between(bio.io().since, self.latency.now());
            Some(self.trace_bio(bio, ns, status))
        });
    }

    /// The host is about to be told that its write succeeded.
    #[inline(always)]
    pub(crate) fn completed(&self, bio: &HostBio<Io>, now: u64) {
        let ns = self.latency.between(bio.io().accepted, now);
        self.latency.record(Stage::Completed, ns);
        trace::completed(|| Some(self.trace_bio(bio, ns, BlkStatus::OK)));
    }

    /// The host is about to be told of something else.
    #[cold]
    pub(crate) fn completed_with(&self, bio: &HostBio<Io>, status: BlkStatus) {
        trace::completed(|| {
            let ns = self.latency.between(bio.io().accepted, self.latency.now());
            Some(self.trace_bio(bio, ns, status))
        });
    }

    /// A record is durable at the remote, as is everything before it; since `now`.
    #[inline]
    pub(crate) fn shipped(
        &self,
        journal: &Journal,
        at: Position,
        slot: &Slot<HostSlot>,
        before: u32,
        now: u64,
    ) {
        // What never gets there, and what a remote that is out of step was spared.
        if before & stage::CANCELLED != 0 || self.out_of_step.load(Ordering::Relaxed) {
            return;
        }
        let then = slot.host.accepted.get();
        let ago = then.map(|then| self.latency.between(then, now));
        if let Some(ns) = ago {
            self.latency.record(Stage::Shipped, ns);
        }
        trace::shipped(|| {
            let r = journal.record(at).filter(|r| r.op != Op::Cancel)?;
            Some(self.trace_record(journal, at, &r, ago.unwrap_or(0)))
        });
    }

    /// The space of a record is about to be given back, at `now`.
    #[inline]
    pub(crate) fn retired(&self, journal: &Journal, at: Position, slot: &Slot<HostSlot>, now: u64) {
        let then = slot.host.accepted.get();
        let ago = then.map(|then| self.latency.between(then, now));
        if let Some(ns) = ago.filter(|_| slot.stage() & stage::CANCELLED == 0) {
            self.latency.record(Stage::Retired, ns);
        }
        trace::retired(|| {
            let r = journal.record(at)?;
            Some(self.trace_record(journal, at, &r, ago.unwrap_or(0)))
        });
    }

    /// The set is in another state.
    pub(crate) fn state_changed(&self, from: Phase, to: Phase, why: fmt::Arguments<'_>) {
        let reason = &mut Text::<128>::new();
        trace::state(move || {
            *reason = Text::of(why);
            Some(trace::State {
                set: self.name.as_str(),
                netns: self.ns.inum(),
                // Whoever changes the state may hold the superblock's lock.
                generation: self.journal().map_or(0, |j| j.reign().0),
                old: from.as_str(),
                new: to.as_str(),
                reason: reason.as_str(),
            })
        });
    }
}
