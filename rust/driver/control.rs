// SPDX-License-Identifier: GPL-2.0

//! The netlink family's operations: the same functions that `dmsetup message` calls. What they are, and
//! who may, is in `Documentation/netlink/specs/remote-copy.yaml`; what may be changed when, in
//! [`core_crate::control`].

use crate::{alone, answers, events, handover, set::Set, sets, takeover};
use core::{fmt, sync::atomic::Ordering};
use core_crate::{
    control::{self, Change, Circumstances, Setting},
    events::{Kind, Text},
    format::FORMAT_VERSION,
    netlink::{self as nl, cmd},
    ownership::{Fencing, PartnerLost},
    table::Mode,
    takeover::Asked,
    wire::PROTOCOL_VERSION,
};
use kapi_crate::genl::{self, Dump, Request};
use kernel::{prelude::*, sync::Arc};

/// The family's operations.
pub(crate) struct Operations;

/// How an operation says what is wrong.
type Say<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

impl genl::Control for Operations {
    fn call(r: &Request<'_>) -> Result {
        match r.cmd() {
            cmd::INFO_GET => info(r),
            cmd::SET_GET => one(r, nl::set::NAME, answers::set),
            cmd::LOG_GET => one(r, nl::log::SET, answers::log),
            cmd::STATS_GET => one(r, nl::stats::SET, answers::stats),
            cmd::VOLUME_GET => volume(r),
            cmd::LINK_GET => link(r),
            cmd::SET_SET => with_set(r, |set, _| change(r, set)),
            cmd::TAKEOVER => with_set(r, |set, say| {
                let asked = if r.flag(nl::set::FORCE) {
                    Asked::Force
                } else {
                    Asked::Message
                };
                takeover::takeover(set, asked, say)
            }),
            cmd::SWAP => with_set(r, handover::swap),
            cmd::DETACH => with_set(r, |set, say| {
                forced(r)?;
                alone::go_alone(set, true, say)
            }),
            cmd::IN_STEP => with_set(r, |set, say| {
                forced(r)?;
                alone::back_in_step(set, say)
            }),
            cmd::PAUSE => with_set(r, |set, say| {
                pause(set, r.flag(nl::set::FORCE), say).map_err(|why| {
                    if matches!(why, control::Refused::WritesWait(_)) {
                        let _ = r.missing(nl::set::FORCE, format_args!("pause: {why}"));
                    }
                    EBUSY
                })
            }),
            cmd::RESUME => with_set(r, |set, _| {
                resume(set);
                Ok(())
            }),
            _ => Err(EOPNOTSUPP),
        }
    }

    fn dump(d: &mut Dump<'_>) -> Result {
        match d.request().cmd() {
            cmd::SET_GET => dump_each(d, 0, |_| 1, |_, _| true, |s, _, m| answers::set(s, m)),
            cmd::LOG_GET => dump_each(d, 0, |_| 1, |_, _| true, |s, _, m| answers::log(s, m)),
            cmd::STATS_GET => dump_each(d, 0, |_| 1, |_, _| true, |s, _, m| answers::stats(s, m)),
            cmd::VOLUME_GET => dump_each(
                d,
                nl::volume::SET,
                answers::volume_slots,
                answers::has_volume,
                answers::volume,
            ),
            cmd::LINK_GET => dump_each(
                d,
                nl::link::SET,
                answers::link_slots,
                answers::has_link,
                answers::link,
            ),
            _ => Err(EOPNOTSUPP),
        }
    }
}

fn info(r: &Request<'_>) -> Result {
    let ns = r.ns();
    let sent = genl::events_sent(&ns);
    let mut totals = (0u32, 0u64);
    let add = |(count, suppressed): &mut (u32, u64), _, set: &Set| {
        *count = count.saturating_add(1);
        *suppressed = suppressed.saturating_add(events::newest(set).1);
        Ok(())
    };
    sets::visit(&ns, 0, &mut totals, |_, _| (), add)?;
    let (count, suppressed) = totals;
    let [major, minor, patch] = crate::VERSION;
    r.reply(|m| {
        use nl::info as a;
        m.print(a::MODULE_VERSION, format_args!("{major}.{minor}.{patch}"))?;
        m.u32(a::FORMAT_VERSION, FORMAT_VERSION)?;
        m.u32(a::PROTOCOL_VERSION, PROTOCOL_VERSION)?;
        m.u32(a::SETS, count)?;
        m.uint(a::EVENT_SEQ, sent)?;
        m.uint(a::EVENTS_SUPPRESSED, suppressed)
    })
}

/// The name of the set that a request is about.
fn name<'a>(r: &'a Request<'_>, attr: u16) -> Result<&'a str> {
    r.text(attr)?
        .ok_or_else(|| r.missing(attr, format_args!("which set?")))
}

fn unknown(r: &Request<'_>, attr: u16) -> Error {
    r.bad(
        attr,
        ENOENT,
        format_args!("no such set in this network namespace"),
    )
}

/// Answers with one message about a set.
fn one(
    r: &Request<'_>,
    attr: u16,
    fill: impl Fn(&Set, &mut genl::Message<'_>) -> Result,
) -> Result {
    let name = name(r, attr)?;
    sets::look(&r.ns(), name, |set| r.reply(|m| fill(set, m)))
        .unwrap_or_else(|| Err(unknown(r, attr)))
}

fn volume(r: &Request<'_>) -> Result {
    use nl::volume as a;
    let name = name(r, a::SET)?;
    let Some(member) = r.u32(a::MEMBER) else {
        return Err(r.missing(a::MEMBER, format_args!("which volume of the set?")));
    };
    let found = sets::look(&r.ns(), name, |set| {
        if !answers::has_volume(set, member.into()) {
            return Err(r.bad(
                a::MEMBER,
                ENOENT,
                format_args!("the set has no such volume"),
            ));
        }
        r.reply(|m| answers::volume(set, member.into(), m))
    });
    found.unwrap_or_else(|| Err(unknown(r, a::SET)))
}

fn link(r: &Request<'_>) -> Result {
    use nl::link as a;
    let name = name(r, a::SET)?;
    let Some(kind) = r.u32(a::KIND) else {
        return Err(r.missing(
            a::KIND,
            format_args!("a link to the partner, or to a remote?"),
        ));
    };
    let which = match (kind, r.u32(a::MEMBER)) {
        (0, None) => 0,
        (0, Some(_)) => {
            return Err(r.bad(
                a::MEMBER,
                EINVAL,
                format_args!("only a link to a remote has one"),
            ))
        }
        (_, Some(member)) => u64::from(member).saturating_add(1),
        (_, None) => return Err(r.missing(a::MEMBER, format_args!("the remote of which volume?"))),
    };
    let found = sets::look(&r.ns(), name, |set| {
        if !answers::has_link(set, which) {
            let attr = if which == 0 { a::KIND } else { a::MEMBER };
            return Err(r.bad(attr, ENOENT, format_args!("the set has no such link")));
        }
        r.reply(|m| answers::link(set, which, m))
    });
    found.unwrap_or_else(|| Err(unknown(r, a::SET)))
}

/// Dumps things of sets: of each set those of its `slots` that it `has`, as far as they fit. The key of
/// one is its set's number in [`sets`] and its own in the set: however sets come and go, nothing that is
/// there all the time is missed or told twice. `filter`: the attribute that names a single set, or 0.
fn dump_each(
    d: &mut Dump<'_>,
    filter: u16,
    slots: impl Fn(&Set) -> u64,
    has: impl Fn(&Set, u64) -> bool,
    fill: impl Fn(&Set, u64, &mut genl::Message<'_>) -> Result,
) -> Result {
    let ns = d.request().ns();
    let mut only = None;
    if filter != 0 {
        if let Some(name) = d.request().text(filter)? {
            if d.cursor() == [0; 2] && sets::look(&ns, name, |_| ()).is_none() {
                return Err(unknown(d.request(), filter));
            }
            only = Some(Text::<{ nl::MAX_SET_NAME }>::of(format_args!("{name}")));
        }
    }
    let [from, nth] = d.cursor();
    sets::visit(
        &ns,
        from,
        d,
        |d, state| d.shows(state),
        |d, id, set| {
            if only.is_some_and(|o| o.as_str() != set.name.as_str()) {
                return Ok(());
            }
            let first = if id == from { nth } else { 0 };
            for n in (first..slots(set)).filter(|n| has(set, *n)) {
                d.set_cursor([id, n]);
                d.put(|m| fill(set, n, m))?;
            }
            d.set_cursor([id.saturating_add(1), 0]);
            Ok(())
        },
    )
}

/// Does something to the set that a request names, and tells the caller what went wrong: the kernel log
/// has the whole of it.
fn with_set(r: &Request<'_>, f: impl FnOnce(&Arc<Set>, Say<'_>) -> Result) -> Result {
    let name = name(r, nl::set::NAME)?;
    let result = sets::call(&r.ns(), name, |set| {
        let mut complain = set.complain();
        let mut say = |what: fmt::Arguments<'_>| {
            r.say(what);
            complain(what);
        };
        let result = f(set, &mut say);
        events::flush(set);
        result
    });
    result.unwrap_or_else(|| Err(unknown(r, nl::set::NAME)))
}

/// An operation that only somebody who insists may ask for.
fn forced(r: &Request<'_>) -> Result {
    if r.flag(nl::set::FORCE) {
        return Ok(());
    }
    Err(r.missing(
        nl::set::FORCE,
        format_args!("this believes you where the driver cannot know: it needs force"),
    ))
}

/// A refusal, and the attribute that it is about.
fn refuse(r: &Request<'_>, why: control::Refused) -> Error {
    use nl::set as a;
    let Some(setting) = why.setting() else {
        r.say(format_args!("{why}"));
        return EINVAL;
    };
    let attr = match setting {
        Setting::Mode => a::MODE,
        Setting::PartnerLost => a::PARTNER_LOST,
        Setting::Takeover => a::TAKEOVER,
        Setting::Fencing => a::FENCING,
        Setting::PingMs => a::PING_MS,
        Setting::PingMisses => a::PING_MISSES,
        Setting::Records => a::RECORDS,
    };
    r.bad(attr, EINVAL, format_args!("{why}"))
}

fn change(r: &Request<'_>, set: &Set) -> Result {
    use nl::set as a;
    let to = Change {
        mode: r
            .u32(a::MODE)
            .map(|n| if n == 0 { Mode::Async } else { Mode::Sync }),
        partner_lost: r.u32(a::PARTNER_LOST).map(|n| {
            if n == 0 {
                PartnerLost::Wait
            } else {
                PartnerLost::Continue
            }
        }),
        auto_takeover: r.u32(a::TAKEOVER).map(|n| n != 0),
        fencing: match r.u32(a::FENCING) {
            None => None,
            Some(0) => Some(Fencing::None),
            Some(1) => Some(Fencing::External),
            Some(_) => return Err(refuse(r, control::Refused::FencingFixed)),
        },
        ping_ms: r.u32(a::PING_MS),
        ping_misses: r.u32(a::PING_MISSES),
        records: r.u32(a::RECORDS),
    };
    // Settings and pauses change one after the other.
    let _control = set.control.lock();
    let at = Circumstances {
        record: set.record.is_some(),
        paused: set.paused.load(Ordering::Relaxed),
        force: r.flag(a::FORCE),
    };
    let now = set.settings_now();
    let new = control::change(&now, &to, &at).map_err(|why| refuse(r, why))?;
    set.settings.put(&new);
    tell_settings(set, &now, format_args!("an administrator asked for it"));
    Ok(())
}

/// A table was loaded, and its volume is resumed for the first time: its settings count from here on.
pub(crate) fn apply_table(set: &Set, table: &control::Settings) {
    let _control = set.control.lock();
    let before = set.settings_now();
    set.settings.put(table);
    tell_settings(
        set,
        &before,
        format_args!("a table line that was loaded says so"),
    );
    events::flush(set);
}

/// Says which settings are others than before, and lets who goes by them look.
fn tell_settings(set: &Set, before: &control::Settings, why: fmt::Arguments<'_>) {
    let now = set.settings_now();
    for (old, new) in answers::setting_words(before)
        .iter()
        .zip(answers::setting_words(&now))
    {
        if old.as_str() != new.as_str() {
            events::note(set, Kind::Settings, old.as_str(), new.as_str(), why);
        }
    }
    set.keep.signal();
    set.ship.signal();
    if now.records > before.records {
        set.space_freed();
    }
}

/// The shipper takes no more records. Not durable: this node's next start ships again, and so does the
/// partner after a takeover.
///
/// # Errors
///
/// Why not; `say` was told.
pub(crate) fn pause(
    set: &Set,
    force: bool,
    say: Say<'_>,
) -> core::result::Result<(), control::Refused> {
    let _control = set.control.lock();
    control::pause(set.phase().owns(), set.settings_now().mode, force)
        .inspect_err(|why| say(format_args!("pause: {why}")))?;
    if !set.paused.swap(true, Ordering::SeqCst) {
        tell_shipping(set, true, format_args!("an administrator asked for it"));
    }
    Ok(())
}

/// Shipping goes on.
pub(crate) fn resume(set: &Set) {
    let _control = set.control.lock();
    go_on(set, format_args!("an administrator asked for it"));
}

/// The same, because this node does not own the set any more.
pub(crate) fn go_on(set: &Set, why: fmt::Arguments<'_>) {
    if set.paused.swap(false, Ordering::SeqCst) {
        tell_shipping(set, false, why);
    }
}

fn tell_shipping(set: &Set, paused: bool, why: fmt::Arguments<'_>) {
    let word = |paused| if paused { "paused" } else { "running" };
    pr_info!(
        "set {}: shipping is {}: {}\n",
        set.name.as_str(),
        word(paused),
        why
    );
    events::note(set, Kind::Shipping, word(!paused), word(paused), why);
    set.ship.signal();
    set.event();
}
