// SPDX-License-Identifier: GPL-2.0

//! The table line:
//! `<role> <set> <local device> <#options> [<key> <value> …]`.

use crate::{
    format::SetName,
    limits,
    ownership::{Fencing, Kind, PartnerLost, RECORD_SLOT},
};
use core::fmt;

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Written locally and durable in the log, here and at the partner (patent, figure 8A).
    #[default]
    Async,
    /// And durable at the remote (patent, figure 7).
    Sync,
}

/// Which part a node plays when its log does not say otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableRole {
    /// Serves the volume.
    Initiator,
    /// Keeps the mirror until it takes over.
    Standby,
}

/// A parsed table line. Words are borrowed from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table<'a> {
    /// The part to play.
    pub role: TableRole,
    /// The set.
    pub set: SetName,
    /// Path of the local device.
    pub local: &'a str,
    /// Path of the remote device.
    pub remote: &'a str,
    /// Path of the micro-log device.
    pub log: &'a str,
    /// First byte of the log region on it.
    pub log_offset: u64,
    /// Bytes of the region; 0: the rest of the device.
    pub log_size: u64,
    /// Lanes; 0: one for each CPU, as far as the log is large enough.
    pub lanes: u16,
    /// Most outstanding records; 0: as many as the log has room for.
    pub records: u32,
    /// The partner's address, `None` for a set without one.
    pub partner: Option<&'a str>,
    /// This node's listening address; needed when there is a partner.
    pub listen: Option<&'a str>,
    /// When writes are acknowledged.
    pub mode: Mode,
    /// Whether the standby takes over by itself.
    pub auto_takeover: bool,
    /// How the old owner is stopped.
    pub fencing: Fencing,
    /// Whether the remote is fenced as well, where reservations fence.
    pub remote_fenced: bool,
    /// Path of the device with the ownership record, `None` for a set without one.
    pub metadata: Option<&'a str>,
    /// First byte of the record on it.
    pub metadata_offset: u64,
    /// What an owner does without its partner.
    pub partner_lost: PartnerLost,
    /// Milliseconds between pings.
    pub ping_ms: u32,
    /// Pings in a row that may be missed.
    pub ping_misses: u32,
    /// Which volume of the set this is.
    pub member: u16,
    /// How many the set has.
    pub members: u16,
    /// Make a new log if the region is blank; local and remote hold the same bytes.
    pub create: bool,
}

/// What is wrong with a table line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableError<'a> {
    /// It ends before this word.
    Missing(&'static str),
    /// A word has a value that is not allowed: which, what it is, what is allowed.
    Value(&'a str, &'a str, &'static str),
    /// The number of option words does not match: said, counted.
    Count(&'a str, usize),
    /// An option has no value.
    NoValue(&'a str),
    /// No such option.
    Unknown(&'a str),
    /// An option stands twice.
    Twice(&'a str),
    /// An option is needed.
    Needed(&'static str, &'static str),
    /// Two options contradict each other.
    Conflict(&'static str),
}

const KEYS: &str = "log, log_offset, log_size, lanes, records, partner, listen, remote, mode, \
                    partner_lost, takeover, fencing, remote_fencing, metadata, metadata_offset, ping_ms, ping_misses, member, members, create";

impl fmt::Display for TableError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::Missing(what) => write!(
                f,
                "the table line ends before <{what}>; it is: <initiator|standby> <set> <local device> \
                 <#options> [<key> <value> ...]"
            ),
            TableError::Value(key, value, allowed) => {
                write!(f, "{key} '{value}': {allowed}")
            }
            TableError::Count(said, counted) => write!(
                f,
                "#options '{said}': {counted} words follow; each option counts two, its key and its value"
            ),
            TableError::NoValue(key) => write!(f, "option '{key}' has no value"),
            TableError::Unknown(key) => write!(f, "unknown option '{key}'; there are: {KEYS}"),
            TableError::Twice(key) => write!(f, "option '{key}' stands twice"),
            TableError::Needed(key, why) => write!(f, "option '{key}' is needed: {why}"),
            TableError::Conflict(what) => f.write_str(what),
        }
    }
}

/// A number with an optional binary suffix K, M, G or T.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (text.get(..text.len() - 1)?, 10),
        b'M' | b'm' => (text.get(..text.len() - 1)?, 20),
        b'G' | b'g' => (text.get(..text.len() - 1)?, 30),
        b'T' | b't' => (text.get(..text.len() - 1)?, 40),
        _ => (text, 0),
    };
    decimal(digits)?.checked_mul(1u64 << shift)
}

/// A plain decimal number: `str::parse` would take a leading `+`.
fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn ranged(text: &str, low: u64, high: u64) -> Option<u64> {
    decimal(text).filter(|n| (low..=high).contains(n))
}

fn within(text: &str, bounds: &core::ops::RangeInclusive<u32>) -> Option<u32> {
    let n = ranged(text, u64::from(*bounds.start()), u64::from(*bounds.end()))?;
    u32::try_from(n).ok()
}

impl<'a> Table<'a> {
    /// Parses the words behind the target's name.
    pub fn parse(words: &[&'a str]) -> Result<Table<'a>, TableError<'a>> {
        let word = |i: usize, what| words.get(i).copied().ok_or(TableError::Missing(what));
        let role = word(0, "role")?;
        let role = match role {
            "initiator" => TableRole::Initiator,
            "standby" => TableRole::Standby,
            other => {
                return Err(TableError::Value(
                    "role",
                    other,
                    "'initiator' or 'standby' is allowed",
                ))
            }
        };
        let set = word(1, "set")?;
        let set = SetName::new(set).ok_or(TableError::Value(
            "set",
            set,
            "1 to 63 letters, digits or -_.+: are allowed",
        ))?;
        let local = word(2, "local device")?;
        let said = word(3, "#options")?;
        let options = words.get(4..).unwrap_or(&[]);
        if decimal(said) != Some(options.len() as u64) {
            return Err(TableError::Count(said, options.len()));
        }
        if options.len() > limits::MAX_TABLE_OPTIONS {
            return Err(TableError::Value(
                "#options",
                said,
                "at most 64 are allowed",
            ));
        }
        let mut t = Table {
            role,
            set,
            local,
            remote: "",
            log: "",
            log_offset: 0,
            log_size: 0,
            lanes: 0,
            records: 0,
            partner: None,
            listen: None,
            mode: Mode::Async,
            auto_takeover: false,
            fencing: Fencing::None,
            remote_fenced: true,
            metadata: None,
            metadata_offset: 0,
            partner_lost: PartnerLost::Wait,
            ping_ms: 1000,
            ping_misses: 5,
            member: 0,
            members: 1,
            create: false,
        };
        let mut partner_given = false;
        for (i, pair) in options.chunks(2).enumerate() {
            let &[key, value] = pair else {
                return Err(TableError::NoValue(pair.first().copied().unwrap_or("")));
            };
            if options.chunks(2).take(i).any(|p| p.first() == Some(&key)) {
                return Err(TableError::Twice(key));
            }
            partner_given |= key == "partner";
            t.option(key, value)?;
        }
        t.check(partner_given)?;
        Ok(t)
    }

    fn option(&mut self, key: &'a str, value: &'a str) -> Result<(), TableError<'a>> {
        let bad = |allowed| TableError::Value(key, value, allowed);
        match key {
            "log" => self.log = value,
            "log_offset" => {
                self.log_offset = bytes(value)
                    .filter(|b| b % 4096 == 0 && *b <= limits::MAX_LOG_BYTES)
                    .ok_or(bad(
                        "bytes, a multiple of 4096; K, M, G, T may follow the number",
                    ))?;
            }
            "log_size" => {
                self.log_size = bytes(value)
                    .filter(|b| {
                        b % 4096 == 0 && (limits::MIN_LOG_BYTES..=limits::MAX_LOG_BYTES).contains(b)
                    })
                    .ok_or(bad(
                        "bytes, a multiple of 4096, at least 1M and at most 16T; K, M, G, T may follow \
                         the number",
                    ))?;
            }
            "lanes" => {
                self.lanes = ranged(value, 1, limits::MAX_LANES as u64)
                    .and_then(|n| u16::try_from(n).ok())
                    .ok_or(bad("1 to 32 are allowed"))?;
            }
            "records" => {
                self.records = within(value, &limits::RECORDS)
                    .ok_or(bad("16 to 1048576 are allowed"))?;
            }
            "partner" => self.partner = (value != "none").then_some(value),
            "listen" => self.listen = Some(value),
            "remote" => {
                self.remote = value.strip_prefix("dev:").filter(|p| !p.is_empty()).ok_or(bad(
                    "'dev:<path of a block device>' is allowed (target nodes, tcp: and rdma:, are not \
                     there yet)",
                ))?;
            }
            "mode" => {
                self.mode = match value {
                    "async" => Mode::Async,
                    "sync" => Mode::Sync,
                    _ => return Err(bad("'sync' or 'async' is allowed")),
                }
            }
            "partner_lost" => {
                self.partner_lost = match value {
                    "wait" => PartnerLost::Wait,
                    "continue" => PartnerLost::Continue,
                    _ => return Err(bad(
                        "'wait' (writes wait until the partner is back) or 'continue' (they go on, noted in \
                         the ownership record) is allowed",
                    )),
                }
            }
            "metadata" => self.metadata = Some(value),
            "metadata_offset" => {
                self.metadata_offset = bytes(value)
                    .filter(|b| b % RECORD_SLOT == 0 && *b <= limits::MAX_METADATA_OFFSET)
                    .ok_or(bad(
                        "bytes, a multiple of 4096; K, M, G, T may follow the number",
                    ))?;
            }
            "takeover" => {
                self.auto_takeover = match value {
                    "auto" => true,
                    "manual" => false,
                    _ => return Err(bad("'auto' or 'manual' is allowed")),
                }
            }
            "fencing" => {
                self.fencing = match value {
                    "reservation" => Fencing::Reservation(Kind::Holder),
                    "reservation-registrants" => Fencing::Reservation(Kind::Registrants),
                    "external" => Fencing::External,
                    "none" => Fencing::None,
                    _ => return Err(bad(
                        "'reservation' (the units keep the old owner out), 'reservation-registrants' (the \
                         same for units with several paths), 'external' (somebody else powers the old owner \
                         off) or 'none' is allowed",
                    )),
                }
            }
            "remote_fencing" => {
                self.remote_fenced = match value {
                    "reservation" => true,
                    "none" => false,
                    _ => return Err(bad(
                        "'reservation' (the default where reservations fence) or 'none' (a remote that has no \
                         reservations: an owner that slept through a takeover may still write to it what it \
                         had begun) is allowed",
                    )),
                }
            }
            "ping_ms" => {
                self.ping_ms = within(value, &limits::PING_MS)
                    .ok_or(bad("10 to 60000 milliseconds are allowed"))?;
            }
            "ping_misses" => {
                self.ping_misses = within(value, &limits::PING_MISSES)
                    .ok_or(bad("2 to 100 are allowed"))?;
            }
            "member" => {
                self.member = ranged(value, 0, limits::MAX_MEMBERS as u64 - 1)
                    .and_then(|n| u16::try_from(n).ok())
                    .ok_or(bad("0 to 63 are allowed"))?;
            }
            "members" => {
                self.members = ranged(value, 1, limits::MAX_MEMBERS as u64)
                    .and_then(|n| u16::try_from(n).ok())
                    .ok_or(bad("1 to 64 are allowed"))?;
            }
            "create" => {
                if value != "in_step" {
                    return Err(bad(
                        "only 'in_step' is allowed: local and remote hold the same bytes",
                    ));
                }
                self.create = true;
            }
            _ => return Err(TableError::Unknown(key)),
        }
        Ok(())
    }

    fn check(&self, partner_given: bool) -> Result<(), TableError<'a>> {
        if self.log.is_empty() {
            return Err(TableError::Needed(
                "log",
                "the persistent memory device of the micro-log",
            ));
        }
        if self.remote.is_empty() {
            return Err(TableError::Needed(
                "remote",
                "the device that the volume is copied to",
            ));
        }
        if self.remote == self.local {
            return Err(TableError::Value(
                "remote",
                self.remote,
                "it is the local device; the copy has to be on another one",
            ));
        }
        if !partner_given {
            return Err(TableError::Needed(
                "partner",
                "the partner's address and port, or 'none' for a volume that dies with this node's \
                 persistent memory",
            ));
        }
        if self.partner.is_some() && self.listen.is_none() {
            return Err(TableError::Needed(
                "listen",
                "the address and port where the partner reaches us",
            ));
        }
        if self.role == TableRole::Standby && self.partner.is_none() {
            return Err(TableError::Conflict(
                "a standby without a partner stands by for nobody",
            ));
        }
        if self.auto_takeover && self.fencing == Fencing::None {
            return Err(TableError::Conflict(
                "'takeover auto' is refused with 'fencing none': the old owner might still write; \
                 'fencing reservation' keeps it from the units, 'fencing external' says that somebody else \
                 powers it off",
            ));
        }
        if self.partner_lost == PartnerLost::Continue && self.metadata.is_none() {
            return Err(TableError::Needed(
                "metadata",
                "with 'partner_lost continue', \"the partner's mirror is out of date\" has to be durable \
                 where the partner reads it: a device that both reach",
            ));
        }
        if self.metadata.is_some() && self.partner.is_none() {
            return Err(TableError::Conflict(
                "'metadata' is for two partners, and there is no partner",
            ));
        }
        if self.metadata.is_none() && self.metadata_offset != 0 {
            return Err(TableError::Needed(
                "metadata",
                "'metadata_offset' says where on it the record stands",
            ));
        }
        if self.member >= self.members {
            return Err(TableError::Conflict(
                "'member' counts from 0 and must be less than 'members'",
            ));
        }
        Ok(())
    }
}
