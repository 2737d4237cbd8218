// SPDX-License-Identifier: GPL-2.0

//! What netlink says of sets, volumes, links and logs: the same words as [`report`], by their numbers.

use crate::{
    events, report,
    set::{Member, Set},
};
use core::{fmt, sync::atomic::Ordering};
use core_crate::{
    control::{self, Settings},
    events::Text,
    format::Missing,
    histogram::{Histogram, Stage, OCTAVES},
    netlink::{self as nl, words},
    ownership::Found,
    units::Seq,
};
use kapi_crate::{genl::Message, time};
use kernel::prelude::*;

/// A word, by its number in the catalogue. A word that is not in it would be a mistake, which the tests
/// look for; it is left out.
fn word(m: &mut Message<'_>, attr: u16, list: &[&str], word: &str) -> Result {
    match list.iter().position(|w| *w == word) {
        Some(n) => m.u32(attr, n as u32),
        None => Ok(()),
    }
}

/// Settings in words.
pub(crate) fn setting_words(s: &Settings) -> [Text<40>; 7] {
    let of = |what: fmt::Arguments<'_>| Text::of(what);
    [
        of(format_args!("mode {}", report::mode_word(s.mode))),
        of(format_args!(
            "partner-lost {}",
            report::partner_lost_word(s.partner_lost)
        )),
        of(format_args!(
            "takeover {}",
            report::takeover_word(s.auto_takeover)
        )),
        of(format_args!("fencing {}", s.fencing.as_str())),
        of(format_args!("ping-ms {}", s.ping_ms)),
        of(format_args!("ping-misses {}", s.ping_misses)),
        of(format_args!("records {}", s.records)),
    ]
}

/// A set.
#[inline(never)]
pub(crate) fn set(set: &Set, m: &mut Message<'_>) -> Result {
    use nl::set as a;
    let durable = *set.durable.lock();
    let settings = set.settings_now();
    m.text(a::NAME, set.name.as_str())?;
    word(m, a::STATE, words::SET_STATE, set.phase().as_str())?;
    m.uint(a::SINCE, set.since())?;
    word(
        m,
        a::ROLE,
        words::SET_ROLE,
        report::role_word(durable.as_ref()),
    )?;
    m.u32(a::GENERATION, durable.map_or(0, |d| d.generation.0))?;
    word(m, a::MODE, words::MODE, report::mode_word(settings.mode))?;
    let lost = report::partner_lost_word(settings.partner_lost);
    word(m, a::PARTNER_LOST, words::PARTNER_LOST, lost)?;
    let takeover = report::takeover_word(settings.auto_takeover);
    word(m, a::TAKEOVER, words::TAKEOVER_POLICY, takeover)?;
    let fencing = report::fencing_word(set, durable.as_ref());
    word(m, a::FENCING, words::FENCING, fencing)?;
    m.u32(a::PING_MS, settings.ping_ms)?;
    m.u32(a::PING_MISSES, settings.ping_misses)?;
    word(
        m,
        a::PARTNER,
        words::PARTNER_STATE,
        report::partner_word(set),
    )?;
    if let Some(d) = &durable {
        m.bytes(a::UUID, &d.uuid)?;
        m.u32(a::NODE, d.node)?;
        record(set, d.node, m)?;
    }
    if let Some(mirror) = report::mirror_word(set, durable.as_ref()) {
        word(m, a::MIRROR, words::MIRROR_STATE, mirror)?;
    }
    word(
        m,
        a::SHIPPING,
        words::SHIPPING_STATE,
        report::shipping_word(set),
    )?;
    progress(set, m)?;
    missing(
        durable.and_then(|d| d.missing),
        None,
        m,
        a::MISSING_FIRST,
        a::MISSING_LAST,
    )?;
    m.u32(a::VOLUMES, set.volumes())?;
    m.u32(a::VOLUMES_WANTED, u32::from(set.members_wanted))?;
    m.nest(a::COUNTERS, |m| counters(set, m))?;
    let (seq, suppressed, last) = events::newest(set);
    m.uint(a::EVENT_SEQ, seq)?;
    m.uint(a::EVENTS_SUPPRESSED, suppressed)?;
    if let Some(e) = last {
        m.nest(a::LAST_EVENT, |m| events::put(&e, m))?;
    }
    if settings.records < control::UNLIMITED {
        m.u32(a::RECORDS, settings.records)?;
    }
    Ok(())
}

fn record(set: &Set, node: u32, m: &mut Message<'_>) -> Result {
    use nl::set as a;
    let found = set.known_record();
    word(
        m,
        a::RECORD,
        words::RECORD_STATE,
        report::record_word(&found, node),
    )?;
    let Found::Record(r) = found else {
        return Ok(());
    };
    m.u32(a::RECORD_GENERATION, r.generation.0)?;
    let mirror = report::record_mirror_word(&r);
    word(m, a::RECORD_MIRROR, words::RECORD_MIRROR, mirror)?;
    if let Some(s) = r.stale {
        m.uint(a::OUT_OF_DATE_SINCE, s.since.0)?;
        m.u32(a::OUT_OF_DATE_GENERATION, s.generation.0)?;
    }
    Ok(())
}

/// Where the sequences stand; of an owner.
fn progress(set: &Set, m: &mut Message<'_>) -> Result {
    use nl::set as a;
    let Some(j) = set.journal() else {
        return Ok(());
    };
    let mark = j.marks.lock().mark;
    let p = report::Progress::of(set, j);
    m.u32(a::REIGN, j.reign().0)?;
    word(
        m,
        a::REMOTE,
        words::REMOTE_STATE,
        report::remote_word(set, j),
    )?;
    m.uint(a::BEHIND, p.behind())?;
    m.uint(a::BEHIND_BYTES, p.behind_bytes)?;
    m.uint(a::BEHIND_NS, p.behind_ns)?;
    m.uint(a::SEQ_LAST, p.last.0)?;
    m.uint(a::SEQ_ACKED, j.order.acked().0)?;
    m.uint(a::SEQ_REMOTE, p.remote.0)?;
    m.uint(a::SEQ_RETIRED, mark.retired.0)?;
    m.uint(a::LOG_RECORDS, p.records)?;
    m.uint(a::LOG_RECORDS_MAX, p.records_max)?;
    m.uint(a::LOG_BYTES, p.bytes)?;
    m.uint(a::LOG_BYTES_MAX, p.bytes_max)?;
    m.u8(a::THROTTLED, u8::from(set.counters.is_full()))
}

/// What the remote may miss; `first`: as far as is known of one volume.
fn missing(
    of: Option<Missing>,
    first: Option<Seq>,
    m: &mut Message<'_>,
    first_attr: u16,
    last_attr: u16,
) -> Result {
    let Some(missing) = of else { return Ok(()) };
    m.uint(first_attr, first.unwrap_or(missing.first).0)?;
    if missing.last != Seq::MAX {
        m.uint(last_attr, missing.last.0)?;
    }
    Ok(())
}

fn counters(set: &Set, m: &mut Message<'_>) -> Result {
    use nl::counters as a;
    let c = &set.counters;
    for (attr, n) in [
        (a::WRITES, &c.writes),
        (a::SHIPPED, &c.shipped),
        (a::MIRRORED, &c.mirrored),
        (a::LOG_FULL, &c.log_full),
        (a::LOCAL_ERRORS, &c.local_errors),
        (a::REPLAYED, &c.replayed),
    ] {
        m.uint(attr, n.load(Ordering::Relaxed))?;
    }
    if let Some((records, ns)) = c.last_takeover() {
        m.uint(a::TAKEOVER_RECORDS, records)?;
        m.uint(a::TAKEOVER_MS, ns / 1_000_000)?;
    }
    Ok(())
}

/// The counters of a set, and how long the stages of its writes take.
pub(crate) fn stats(set: &Set, m: &mut Message<'_>) -> Result {
    m.text(nl::stats::SET, set.name.as_str())?;
    m.nest(nl::stats::COUNTERS, |m| counters(set, m))?;
    for stage in Stage::ALL {
        let taken = set.latency.snapshot(stage)?;
        m.nest(nl::stats::LATENCY, |m| latency(stage, &taken, m))?;
    }
    Ok(())
}

fn latency(stage: Stage, taken: &Histogram, m: &mut Message<'_>) -> Result {
    use nl::latency as a;
    m.text(a::STAGE, stage.as_str())?;
    m.uint(a::COUNT, taken.count())?;
    m.uint(a::SUM_NS, taken.sum())?;
    let mut buckets = [0u8; 8 * OCTAVES];
    for (to, n) in buckets.chunks_exact_mut(8).zip(taken.octaves()) {
        to.copy_from_slice(&n.to_ne_bytes());
    }
    m.bytes(a::BUCKETS, &buckets)
}

fn member(set: &Set, n: u64) -> Option<&Member> {
    set.members.get(usize::try_from(n).ok()?)?.as_ref()
}

/// How many volumes a set may have.
pub(crate) fn volume_slots(set: &Set) -> u64 {
    set.members.len() as u64
}

/// Whether a volume is there.
pub(crate) fn has_volume(set: &Set, n: u64) -> bool {
    member(set, n).is_some()
}

/// Puts `<major>:<minor>`.
fn device(m: &mut Message<'_>, attr: u16, dev_t: u32) -> Result {
    m.print(attr, format_args!("{}:{}", dev_t >> 20, dev_t & 0xf_ffff))
}

/// A volume.
pub(crate) fn volume(set: &Set, n: u64, m: &mut Message<'_>) -> Result {
    use nl::volume as a;
    let v = member(set, n).ok_or(ENOENT)?;
    m.text(a::SET, set.name.as_str())?;
    m.u32(a::MEMBER, n as u32)?;
    m.uint(a::SECTORS, v.sectors)?;
    device(m, a::LOCAL, v.local.dev_t())?;
    m.text(a::REMOTE, v.remote_path.to_str().unwrap_or(""))?;
    m.u8(a::SUSPENDED, u8::from(set.suspended.has(n as u16)))?;
    let of = set.durable.lock().and_then(|d| d.missing);
    let first = Some(Seq(v.missing_first.load(Ordering::Relaxed))).filter(|s| *s != Seq::ZERO);
    missing(of, first, m, a::MISSING_FIRST, a::MISSING_LAST)
}

/// How many links a set may have: one to the partner, then one to the remote of each volume.
pub(crate) fn link_slots(set: &Set) -> u64 {
    volume_slots(set).saturating_add(1)
}

/// Whether a link is there.
pub(crate) fn has_link(set: &Set, n: u64) -> bool {
    match n.checked_sub(1) {
        None => set.partner.is_some(),
        Some(n) => has_volume(set, n),
    }
}

/// A link.
pub(crate) fn link(set: &Set, n: u64, m: &mut Message<'_>) -> Result {
    use nl::link as a;
    m.text(a::SET, set.name.as_str())?;
    if let Some(n) = n.checked_sub(1) {
        let v = member(set, n).ok_or(ENOENT)?;
        word(m, a::KIND, words::LINK_KIND, "remote")?;
        m.u32(a::MEMBER, n as u32)?;
        let state = match set.journal().map(|j| report::remote_word(set, j)) {
            None => "disconnected",
            Some("lost") => "failing",
            Some(_) => "connected",
        };
        word(m, a::STATE, words::LINK_STATE, state)?;
        return m.text(a::ADDRESS, v.remote_path.to_str().unwrap_or(""));
    }
    word(m, a::KIND, words::LINK_KIND, "partner")?;
    word(m, a::STATE, words::LINK_STATE, report::partner_word(set))?;
    if let Some(p) = &set.partner {
        m.print(a::ADDRESS, format_args!("{p}"))?;
    }
    if let Some(l) = &set.listen {
        m.print(a::LISTEN, format_args!("{l}"))?;
    }
    let heard = set.link.heard();
    if heard != 0 {
        m.uint(
            a::HEARD_MS,
            time::now_ns().saturating_sub(heard) / 1_000_000,
        )?;
    }
    m.uint(a::PATIENCE_MS, set.settings.patience() / 1_000_000)
}

/// A log.
#[inline(never)]
pub(crate) fn log(set: &Set, m: &mut Message<'_>) -> Result {
    use nl::log as a;
    m.text(a::SET, set.name.as_str())?;
    m.text(a::PATH, set.log_path())?;
    device(m, a::DEVICE, set.log_dev())?;
    m.uint(a::OFFSET, set.log_offset())?;
    m.uint(a::SIZE, set.log.len() as u64)?;
    let Some(j) = set.journal() else {
        return Ok(());
    };
    let p = report::Progress::of(set, j);
    let mark = j.marks.lock().mark;
    m.uint(a::RECORDS, p.records)?;
    m.uint(a::RECORDS_MAX, p.records_max)?;
    m.uint(a::BYTES, p.bytes)?;
    m.uint(a::BYTES_MAX, p.bytes_max)?;
    m.uint(a::MARK_COUNTER, mark.counter)?;
    m.uint(a::MARK_SHIPPED, mark.shipped.0)?;
    m.uint(a::MARK_RETIRED, mark.retired.0)?;
    m.uint(a::MARK_ACKED, mark.acked.0)?;
    for l in j.lanes.iter() {
        m.nest(a::LANE, |m| {
            use nl::lane as a;
            m.u32(a::INDEX, u32::from(l.lane.index()))?;
            m.uint(a::TAIL, l.lane.tail())?;
            m.uint(a::HEAD, l.lane.head())?;
            m.uint(a::RECORDS, l.lane.used_records())?;
            m.uint(a::BYTES, l.lane.used_bytes())
        })?;
    }
    Ok(())
}
