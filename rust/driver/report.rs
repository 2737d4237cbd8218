// SPDX-License-Identifier: GPL-2.0

//! What an administrator is told: status, table, counters. Words, not bit masks.

use crate::{
    events,
    journal::Journal,
    set::{Phase, Set},
    target::Volume,
};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use core_crate::{
    format::{Copy_, Role, Super},
    ownership::{Found, Ownership, PartnerLost},
    table::Mode,
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

    /// Whether writes wait for space in the log just now.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Of the last takeover, how many records it found and how many nanoseconds it took.
    pub(crate) fn last_takeover(&self) -> Option<(u64, u64)> {
        (self.takeover_began.load(Ordering::Relaxed) != 0).then(|| {
            (
                self.takeover_records.load(Ordering::Relaxed),
                self.takeover_ns.load(Ordering::Relaxed),
            )
        })
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
    write!(
        out,
        "set {} role {} state {} since {} generation {}",
        set.name.as_str(),
        role_word(durable.as_ref()),
        set.phase().as_str(),
        set.since(),
        durable.map_or(0, |d| d.generation.0),
    )?;
    write!(out, " partner {}", partner_word(set))?;
    if let Some(d) = durable {
        write!(
            out,
            " mirror {}",
            mirror_word(set, Some(&d)).unwrap_or("unknown")
        )?;
        ownership(set, &d, out)?;
    }
    write!(
        out,
        " mode {} shipping {}",
        mode_word(set.settings_now().mode),
        shipping_word(set)
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
    if let Some((records, ns)) = c.last_takeover() {
        write!(
            out,
            " takeover_records {records} takeover_ms {}",
            ns / 1_000_000
        )?;
    }
    Ok(())
}

/// What keeps two nodes from serving at once, and what the ownership record says.
fn ownership(set: &Set, mine: &Super, out: &mut dyn fmt::Write) -> fmt::Result {
    let lost = partner_lost_word(set.settings.partner_lost());
    let fencing = fencing_word(set, Some(mine));
    write!(out, " fencing {fencing} partner_lost {lost}")?;
    let found = set.known_record();
    if found == Found::Unused {
        return Ok(());
    }
    write!(out, " record {}", record_word(&found, mine.node))?;
    let Found::Record(r) = found else {
        return Ok(());
    };
    write!(
        out,
        " record_generation {} record_mirror {}",
        r.generation,
        record_mirror_word(&r)
    )?;
    match r.stale {
        None => Ok(()),
        Some(s) => write!(
            out,
            " out_of_date_since {} out_of_date_generation {}",
            s.since, s.generation
        ),
    }
}

// Words. All of them stand in `Documentation/netlink/specs/remote-copy.yaml`, in the enumeration named,
// which is where netlink takes their numbers from (`core_crate::netlink::words`).

/// `set-role`.
pub(crate) fn role_word(durable: Option<&Super>) -> &'static str {
    match durable.map(|d| d.role) {
        Some(Role::Owner) => "owner",
        Some(Role::Standby) => "standby",
        None => "blank",
    }
}

/// `mirror-state`; none while the log is blank.
pub(crate) fn mirror_word(set: &Set, durable: Option<&Super>) -> Option<&'static str> {
    Some(match durable.map(|d| (d.role, d.copy))? {
        (Role::Standby, Copy_::Complete) => "complete",
        (Role::Standby, Copy_::Incomplete) => "incomplete",
        (Role::Owner, _) => set.mirror().map_or("unknown", |m| m.as_str()),
    })
}

/// `fencing`.
pub(crate) fn fencing_word(set: &Set, mine: Option<&Super>) -> &'static str {
    if mine.is_some_and(|m| m.unfenced) {
        "unfenced"
    } else {
        set.fencing().as_str()
    }
}

/// `partner-lost`.
pub(crate) fn partner_lost_word(lost: PartnerLost) -> &'static str {
    match lost {
        PartnerLost::Wait => "wait",
        PartnerLost::Continue => "continue",
    }
}

/// `takeover-policy`.
pub(crate) fn takeover_word(auto: bool) -> &'static str {
    if auto {
        "auto"
    } else {
        "manual"
    }
}

/// `mode`.
pub(crate) fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Async => "async",
        Mode::Sync => "sync",
    }
}

/// `shipping-state`.
pub(crate) fn shipping_word(set: &Set) -> &'static str {
    if set.paused.load(Ordering::Relaxed) {
        "paused"
    } else {
        "running"
    }
}

/// `record-state`, as the node of that number sees it.
pub(crate) fn record_word(found: &Found, node: u32) -> &'static str {
    match found {
        Found::Unused => "unused",
        Found::Blank => "blank",
        Found::Unreadable => "unreadable",
        Found::Record(r) if r.node == node => "mine",
        Found::Record(_) => "partner",
    }
}

/// `record-mirror`.
pub(crate) fn record_mirror_word(r: &Ownership) -> &'static str {
    if r.stale.is_some() {
        "out-of-date"
    } else {
        "up-to-date"
    }
}

/// `remote-state`.
pub(crate) fn remote_word(set: &Set, journal: &Journal) -> &'static str {
    if set.out_of_step.load(Ordering::Relaxed) {
        "out-of-step"
    } else if set.counters.remote_lost.load(Ordering::Relaxed) {
        "lost"
    } else if seq_remote(journal) >= journal.order.last() {
        "in-step"
    } else {
        "behind"
    }
}

/// Every sequence up to this one is durable at the remote.
pub(crate) fn seq_remote(journal: &Journal) -> Seq {
    Seq(journal.durable_remote.load(Ordering::Relaxed))
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

/// How far the remote is behind, and how full the log is.
pub(crate) struct Progress {
    pub(crate) last: Seq,
    pub(crate) remote: Seq,
    pub(crate) behind_bytes: u64,
    pub(crate) behind_ns: u64,
    pub(crate) records: u64,
    pub(crate) records_max: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
}

impl Progress {
    pub(crate) fn of(set: &Set, journal: &Journal) -> Progress {
        let remote = seq_remote(journal);
        let last = journal.order.last();
        let (records, bytes) = journal.used();
        let g = &journal.geometry;
        Progress {
            last,
            remote,
            behind_bytes: journal.bytes_behind(remote),
            behind_ns: events::behind_ns(set, last, remote),
            records,
            records_max: u64::from(g.lanes()).saturating_mul(u64::from(g.lane_records())),
            bytes,
            bytes_max: u64::from(g.lanes()).saturating_mul(g.lane_data()),
        }
    }

    /// Records that the remote has not got.
    pub(crate) fn behind(&self) -> u64 {
        self.last.0.saturating_sub(self.remote.0)
    }
}

/// Where each sequence stands, and how full the log is; of an owner only.
fn progress(set: &Set, out: &mut dyn fmt::Write) -> fmt::Result {
    let Some(journal) = set.journal() else {
        return Ok(());
    };
    let mark = journal.marks.lock().mark;
    let p = Progress::of(set, journal);
    write!(
        out,
        " remote {} behind {} behind_bytes {} behind_ns {} seq_last {} seq_acked {} seq_remote {} \
         seq_retired {} log_records {}/{} log_bytes {}/{} throttled {}",
        remote_word(set, journal),
        p.behind(),
        p.behind_bytes,
        p.behind_ns,
        p.last,
        journal.order.acked(),
        p.remote,
        mark.retired,
        p.records,
        p.records_max,
        p.bytes,
        p.bytes_max,
        u8::from(set.counters.is_full()),
    )
}

/// `partner-state`.
pub(crate) fn partner_word(set: &Set) -> &'static str {
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
