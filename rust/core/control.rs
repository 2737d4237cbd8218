// SPDX-License-Identifier: GPL-2.0

//! What an administrator may change while a set is at work. Decisions only.

use crate::{
    limits::{PING_MISSES, PING_MS, RECORDS},
    ownership::{Fencing, PartnerLost},
    table::{Mode, Table},
};
use core::fmt;

/// What can be changed without making the set anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// When writes are acknowledged.
    pub mode: Mode,
    /// What an owner does without its partner.
    pub partner_lost: PartnerLost,
    /// Whether the standby takes over by itself.
    pub auto_takeover: bool,
    /// How the old owner is stopped.
    pub fencing: Fencing,
    /// Milliseconds between pings.
    pub ping_ms: u32,
    /// Pings in a row that may be missed.
    pub ping_misses: u32,
    /// Most outstanding records, if the log has room for more.
    pub records: u32,
}

impl Settings {
    /// What a table line says. It has no limit of records: its `records` says how large a new log is.
    pub fn of(table: &Table<'_>) -> Settings {
        Settings {
            mode: table.mode,
            partner_lost: table.partner_lost,
            auto_takeover: table.auto_takeover,
            fencing: table.fencing,
            ping_ms: table.ping_ms,
            ping_misses: table.ping_misses,
            records: UNLIMITED,
        }
    }
}

/// [`Settings::records`] without a limit but the log's size.
pub const UNLIMITED: u32 = *RECORDS.end();

/// How many of the outstanding records that are allowed one of so many lanes may have: the lanes share
/// them evenly. At least one, or nothing could be written by who comes to this lane.
#[inline]
pub fn lane_limit(records: u32, lanes: u16) -> u32 {
    if records >= UNLIMITED {
        return u32::MAX;
    }
    records.checked_div(u32::from(lanes)).unwrap_or(1).max(1)
}

/// Some of them, with their new values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// When writes are acknowledged; `None`, here and below: as it is.
    pub mode: Option<Mode>,
    /// What an owner does without its partner; `Continue` only with an ownership record.
    pub partner_lost: Option<PartnerLost>,
    /// Whether the standby takes over by itself; only where the old owner is stopped.
    pub auto_takeover: Option<bool>,
    /// How the old owner is stopped; what reserves units stays as the table line has it.
    pub fencing: Option<Fencing>,
    /// Milliseconds between pings, within [`PING_MS`].
    pub ping_ms: Option<u32>,
    /// Pings in a row that may be missed, within [`PING_MISSES`].
    pub ping_misses: Option<u32>,
    /// Most outstanding records, within [`RECORDS`].
    pub records: Option<u32>,
}

/// What else counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circumstances {
    /// There is an ownership record.
    pub record: bool,
    /// Shipping is paused.
    pub paused: bool,
    /// The caller knows what it may cost.
    pub force: bool,
}

/// Whether so many outstanding records will soon be as many as are allowed.
pub fn nears_limit(outstanding: u64, records: u32) -> bool {
    records < UNLIMITED && outstanding.saturating_mul(4) > u64::from(records)
}

/// Which setting a refusal is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// [`Settings::mode`].
    Mode,
    /// [`Settings::partner_lost`].
    PartnerLost,
    /// [`Settings::auto_takeover`], in the table line `takeover`.
    Takeover,
    /// [`Settings::fencing`].
    Fencing,
    /// [`Settings::ping_ms`].
    PingMs,
    /// [`Settings::ping_misses`].
    PingMisses,
    /// [`Settings::records`].
    Records,
}

/// Why something is not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No setting was named.
    Nothing,
    /// `takeover auto` where nobody keeps the old owner from writing.
    Unfenced(Setting),
    /// `partner_lost continue` without an ownership record.
    NoRecord,
    /// Reservations come and go with the table line.
    FencingFixed,
    /// A number out of its bounds.
    Bounds(Setting, u32, u32),
    /// Every write would wait: `force`.
    WritesWait(Setting),
    /// It is not this node that ships.
    NotOwner,
}

impl Refused {
    /// Which setting it is about, if one.
    pub fn setting(&self) -> Option<Setting> {
        match self {
            Refused::Unfenced(s) | Refused::Bounds(s, _, _) | Refused::WritesWait(s) => Some(*s),
            Refused::NoRecord => Some(Setting::PartnerLost),
            Refused::FencingFixed => Some(Setting::Fencing),
            Refused::Nothing | Refused::NotOwner => None,
        }
    }
}

/// Short: an extended acknowledgement has room for 79 bytes.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Nothing => "no setting is named",
            Refused::Unfenced(_) => {
                "takeover auto and fencing none: the old owner might still write"
            }
            Refused::NoRecord => "partner-lost continue needs an ownership record (metadata)",
            Refused::FencingFixed => "only none and external can be exchanged; load another table",
            Refused::Bounds(_, low, high) => return write!(f, "{low} to {high} are allowed"),
            Refused::WritesWait(_) => {
                "shipping is paused and mode sync: every write waits; use force"
            }
            Refused::NotOwner => "this node does not own the set: it does not ship",
        })
    }
}

/// The settings after a change: all of it, or nothing.
///
/// # Errors
///
/// Why not.
pub fn change(now: &Settings, to: &Change, at: &Circumstances) -> Result<Settings, Refused> {
    if *to == Change::default() {
        return Err(Refused::Nothing);
    }
    let new = Settings {
        mode: to.mode.unwrap_or(now.mode),
        partner_lost: to.partner_lost.unwrap_or(now.partner_lost),
        auto_takeover: to.auto_takeover.unwrap_or(now.auto_takeover),
        fencing: to.fencing.unwrap_or(now.fencing),
        ping_ms: to.ping_ms.unwrap_or(now.ping_ms),
        ping_misses: to.ping_misses.unwrap_or(now.ping_misses),
        records: to.records.unwrap_or(now.records),
    };
    let plain = |f: Fencing| matches!(f, Fencing::None | Fencing::External);
    if new.fencing != now.fencing && !(plain(new.fencing) && plain(now.fencing)) {
        return Err(Refused::FencingFixed);
    }
    if new.auto_takeover && new.fencing == Fencing::None {
        // Said of what the caller named.
        return Err(Refused::Unfenced(if to.auto_takeover == Some(true) {
            Setting::Takeover
        } else {
            Setting::Fencing
        }));
    }
    if to.partner_lost == Some(PartnerLost::Continue) && !at.record {
        return Err(Refused::NoRecord);
    }
    for (setting, value, bounds) in [
        (Setting::PingMs, new.ping_ms, PING_MS),
        (Setting::PingMisses, new.ping_misses, PING_MISSES),
        (Setting::Records, new.records, RECORDS),
    ] {
        if !bounds.contains(&value) {
            return Err(Refused::Bounds(setting, *bounds.start(), *bounds.end()));
        }
    }
    if new.mode == Mode::Sync && now.mode != Mode::Sync && at.paused && !at.force {
        return Err(Refused::WritesWait(Setting::Mode));
    }
    Ok(new)
}

/// Whether shipping may be paused.
///
/// # Errors
///
/// Why not.
pub fn pause(owner: bool, mode: Mode, force: bool) -> Result<(), Refused> {
    if !owner {
        return Err(Refused::NotOwner);
    }
    if mode == Mode::Sync && !force {
        return Err(Refused::WritesWait(Setting::Mode));
    }
    Ok(())
}
