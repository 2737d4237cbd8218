// SPDX-License-Identifier: GPL-2.0

//! What an administrator is told: status, table, counters. Words, not bit masks.

use crate::{
    set::{mode_word, Phase, Set},
    target::Volume,
};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use core_crate::{
    format::{Copy_, Role, Super},
    ownership::{Found, PartnerLost},
    units::Seq,
};
use kapi_crate::time;

/// Counts since the set was made.
pub(crate) struct Counters {
    /// Writes accepted.
    pub(crate) writes: AtomicU64,
    /// Times that a write found the log full.
    pub(crate) log_full: AtomicU64,
    /// Whether a write waits for space just now.
    full: AtomicBool,
    /// Local writes that failed.
    pub(crate) local_errors: AtomicU64,
    /// Records written to the remote, repetitions counted.
    pub(crate) shipped: AtomicU64,
    /// Records stored for the partner.
    pub(crate) mirrored: AtomicU64,
    /// Records written to the local unit by the last replay.
    pub(crate) replayed: AtomicU64,
    /// When the last takeover began, nanoseconds of the monotonic clock; 0: there was none.
    takeover_began: AtomicU64,
    takeover_ns: AtomicU64,
    takeover_records: AtomicU64,
    remote_lost: AtomicBool,
}

impl Counters {
    pub(crate) fn new() -> Counters {
        Counters {
            writes: AtomicU64::new(0),
            log_full: AtomicU64::new(0),
            full: AtomicBool::new(false),
            local_errors: AtomicU64::new(0),
            shipped: AtomicU64::new(0),
            mirrored: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            takeover_began: AtomicU64::new(0),
            takeover_ns: AtomicU64::new(0),
            takeover_records: AtomicU64::new(0),
            remote_lost: AtomicBool::new(false),
        }
    }

    /// A takeover that began then has found so many records.
    pub(crate) fn takeover(&self, began: u64, records: u64) {
        self.takeover_records.store(records, Ordering::Relaxed);
        self.takeover_began.store(began, Ordering::Relaxed);
    }

    /// The replay has ended: if it was part of a takeover, that has ended too.
    pub(crate) fn replay_ended(&self) {
        let began = self.takeover_began.load(Ordering::Relaxed);
        if began != 0 {
            self.takeover_ns
                .store(time::now_ns().saturating_sub(began), Ordering::Relaxed);
        }
    }

    /// A write found the log full, or space became free. Answers whether that is news.
    pub(crate) fn log_is_full(&self, full: bool) -> bool {
        if full {
            self.log_full.fetch_add(1, Ordering::Relaxed);
        }
        self.full.swap(full, Ordering::Relaxed) != full
    }

    /// Notes whether the remote fails; answers whether that is news.
    pub(crate) fn remote_lost(&self, lost: bool) -> bool {
        self.remote_lost.swap(lost, Ordering::Relaxed) != lost
    }
}

/// The line of `dmsetup status`: pairs of a name and a value.
pub(crate) fn status(volume: &Volume, out: &mut dyn fmt::Write) -> fmt::Result {
    let set = &*volume.set;
    let durable = *set.durable.lock();
    let role = match durable.map(|d| d.role) {
        Some(Role::Owner) => "owner",
        Some(Role::Standby) => "standby",
        None => "blank",
    };
    write!(
        out,
        "set {} role {role} state {} since {} generation {}",
        set.name.as_str(),
        set.phase().as_str(),
        set.since(),
        durable.map_or(0, |d| d.generation.0),
    )?;
    write!(out, " partner {}", partner_word(set))?;
    if let Some(d) = durable {
        let copy = match (d.role, d.copy) {
            (Role::Standby, Copy_::Complete) => "complete",
            (Role::Standby, Copy_::Incomplete) => "incomplete",
            (Role::Owner, _) => set.mirror().map_or("unknown", |m| m.as_str()),
        };
        write!(out, " mirror {copy}")?;
        ownership(set, &d, out)?;
    }
    write!(
        out,
        " mode {}",
        mode_word(set.settings.sync.load(Ordering::Relaxed))
    )?;
    progress(set, out)?;
    missing(volume, out)?;
    let c = &set.counters;
    let n = |a: &AtomicU64| a.load(Ordering::Relaxed);
    write!(
        out,
        " writes {} shipped {} mirrored {} log_full {} local_errors {} replayed {}",
        n(&c.writes),
        n(&c.shipped),
        n(&c.mirrored),
        n(&c.log_full),
        n(&c.local_errors),
        n(&c.replayed),
    )?;
    if n(&c.takeover_began) != 0 {
        write!(
            out,
            " takeover_records {} takeover_ms {}",
            n(&c.takeover_records),
            n(&c.takeover_ns) / 1_000_000
        )?;
    }
    Ok(())
}

/// What keeps two nodes from serving at once, and what the ownership record says.
fn ownership(set: &Set, mine: &Super, out: &mut dyn fmt::Write) -> fmt::Result {
    let fencing = if mine.unfenced {
        "unfenced"
    } else {
        set.fencing().as_str()
    };
    let lost = match set.settings.partner_lost() {
        PartnerLost::Wait => "wait",
        PartnerLost::Continue => "continue",
    };
    write!(out, " fencing {fencing} partner_lost {lost}")?;
    match set.known_record() {
        Found::Unused => Ok(()),
        Found::Blank => write!(out, " record blank"),
        Found::Unreadable => write!(out, " record unreadable"),
        Found::Record(r) => {
            let whose = if r.node == mine.node {
                "mine"
            } else {
                "partner"
            };
            write!(out, " record {whose} record_generation {}", r.generation)?;
            match r.stale {
                None => write!(out, " record_mirror up-to-date"),
                Some(s) => write!(
                    out,
                    " record_mirror out-of-date out_of_date_since {} out_of_date_generation {}",
                    s.since, s.generation
                ),
            }
        }
    }
}

/// What a forced takeover left out at the remote, of this volume.
fn missing(volume: &Volume, out: &mut dyn fmt::Write) -> fmt::Result {
    let set = &*volume.set;
    let Some(missing) = set.durable.lock().and_then(|d| d.missing) else {
        return Ok(());
    };
    let first = match volume.missing_first() {
        0 => missing.first,
        n => Seq(n),
    };
    write!(out, " missing_first {first} missing_last ")?;
    if missing.last == Seq::MAX {
        out.write_str("unknown")
    } else {
        write!(out, "{}", missing.last)
    }
}

/// Where each sequence stands, and how full the log is; of an owner only.
fn progress(set: &Set, out: &mut dyn fmt::Write) -> fmt::Result {
    let Some(journal) = set.journal() else {
        return Ok(());
    };
    let (mark, last) = (journal.marks.lock().mark, journal.order.last());
    let remote = Seq(journal.durable_remote.load(Ordering::Relaxed));
    let word = if set.out_of_step.load(Ordering::Relaxed) {
        "out-of-step"
    } else if set.counters.remote_lost.load(Ordering::Relaxed) {
        "lost"
    } else if remote >= last {
        "in-step"
    } else {
        "behind"
    };
    let (records, bytes) = journal.used();
    let g = &journal.geometry;
    write!(
        out,
        " remote {word} behind {} seq_last {last} seq_acked {} seq_remote {remote} seq_retired {} \
         log_records {records}/{} log_bytes {bytes}/{}",
        last.0.saturating_sub(remote.0),
        journal.order.acked(),
        mark.retired,
        u64::from(g.lanes()) * u64::from(g.lane_records()),
        u64::from(g.lanes()) * g.lane_data(),
    )
}

fn partner_word(set: &Set) -> &'static str {
    match (&set.partner, set.link.is_up()) {
        (None, _) => "none",
        (Some(_), true) => "connected",
        (Some(_), false) => "disconnected",
    }
}

/// The table line, as the constructor would take it.
pub(crate) fn table(volume: &Volume, out: &mut dyn fmt::Write) -> fmt::Result {
    out.write_str(volume.words.to_str().unwrap_or(""))
}

/// Why I/O is refused, in words.
pub(crate) fn refusal(set: &Set) -> &'static str {
    match set.phase() {
        Phase::Standby | Phase::TakingOver => {
            "this node is the standby; it serves the volume only after a takeover"
        }
        Phase::Fenced => {
            "the partner owns the volume; remove the device and make it anew to stand by"
        }
        Phase::Failed => "the log or the local unit cannot be used; the kernel log says why",
        _ => "the set is not ready",
    }
}
