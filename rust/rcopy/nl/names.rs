// SPDX-License-Identifier: GPL-2.0

//! What the attributes of the netlink family hold. Their numbers, and the words, are core's catalogue, which
//! the specification gives (make netlink-gen); tests/spec.rs compares the rest with
//! Documentation/netlink/specs/remote-copy.yaml.

use core_crate::netlink::{self as nl, cmd, words};

pub use core_crate::netlink::{FAMILY, VERSION};

/// The multicast group of events.
pub const EVENTS: &str = "events";

/// What an attribute holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    U8,
    U16,
    U32,
    /// 4 or 8 bytes.
    Uint,
    Str,
    /// There or not.
    Flag,
    Uuid,
    /// A row of 64-bit numbers.
    U64s,
    /// A word, by its number.
    Enum(&'static Words),
    Nest(&'static Attrs),
    /// Once for each.
    Nests(&'static Attrs),
}

/// An attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    pub id: u16,
    pub name: &'static str,
    pub kind: Kind,
}

/// A set of attributes.
#[derive(Debug)]
pub struct Attrs {
    pub name: &'static str,
    pub attrs: &'static [Attr],
}

impl Attrs {
    /// The attribute with this number.
    pub fn by_id(&self, id: u16) -> Option<&Attr> {
        self.attrs.iter().find(|a| a.id == id)
    }

    /// The attribute of this name.
    pub fn by_name(&self, name: &str) -> Option<&Attr> {
        self.attrs.iter().find(|a| a.name == name)
    }
}

/// Words that stand for numbers from 0 on.
#[derive(Debug)]
pub struct Words {
    pub name: &'static str,
    pub words: &'static [&'static str],
}

/// An operation.
#[derive(Debug)]
pub struct Op {
    pub id: u8,
    pub name: &'static str,
    pub attrs: &'static Attrs,
}

impl Op {
    /// The tool's verb for it.
    pub fn command(&self) -> &'static str {
        match self.name {
            "set-set" => "set",
            "event" => "events",
            other => other,
        }
    }
}

const fn attr(id: u16, name: &'static str, kind: Kind) -> Attr {
    Attr { id, name, kind }
}

/// Words of `set-state`, by their numbers.
pub const SET_STATE: Words = Words {
    name: "set-state",
    words: words::SET_STATE,
};

/// Words of `set-role`, by their numbers.
pub const SET_ROLE: Words = Words {
    name: "set-role",
    words: words::SET_ROLE,
};

/// Words of `partner-state`, by their numbers.
pub const PARTNER_STATE: Words = Words {
    name: "partner-state",
    words: words::PARTNER_STATE,
};

/// Words of `mirror-state`, by their numbers.
pub const MIRROR_STATE: Words = Words {
    name: "mirror-state",
    words: words::MIRROR_STATE,
};

/// Words of `remote-state`, by their numbers.
pub const REMOTE_STATE: Words = Words {
    name: "remote-state",
    words: words::REMOTE_STATE,
};

/// Words of `shipping-state`, by their numbers.
pub const SHIPPING_STATE: Words = Words {
    name: "shipping-state",
    words: words::SHIPPING_STATE,
};

/// Words of `mode`, by their numbers.
pub const MODE: Words = Words {
    name: "mode",
    words: words::MODE,
};

/// Words of `partner-lost`, by their numbers.
pub const PARTNER_LOST: Words = Words {
    name: "partner-lost",
    words: words::PARTNER_LOST,
};

/// Words of `takeover-policy`, by their numbers.
pub const TAKEOVER_POLICY: Words = Words {
    name: "takeover-policy",
    words: words::TAKEOVER_POLICY,
};

/// Words of `fencing`, by their numbers.
pub const FENCING: Words = Words {
    name: "fencing",
    words: words::FENCING,
};

/// Words of `record-state`, by their numbers.
pub const RECORD_STATE: Words = Words {
    name: "record-state",
    words: words::RECORD_STATE,
};

/// Words of `record-mirror`, by their numbers.
pub const RECORD_MIRROR: Words = Words {
    name: "record-mirror",
    words: words::RECORD_MIRROR,
};

/// Words of `link-kind`, by their numbers.
pub const LINK_KIND: Words = Words {
    name: "link-kind",
    words: words::LINK_KIND,
};

/// Words of `link-state`, by their numbers.
pub const LINK_STATE: Words = Words {
    name: "link-state",
    words: words::LINK_STATE,
};

/// Words of `event-kind`, by their numbers.
pub const EVENT_KIND: Words = Words {
    name: "event-kind",
    words: words::EVENT_KIND,
};

/// Attributes of `counters`.
pub static COUNTERS_ATTRS: Attrs = Attrs {
    name: "counters",
    attrs: &[
        attr(nl::counters::WRITES, "writes", Kind::Uint),
        attr(nl::counters::SHIPPED, "shipped", Kind::Uint),
        attr(nl::counters::MIRRORED, "mirrored", Kind::Uint),
        attr(nl::counters::LOG_FULL, "log-full", Kind::Uint),
        attr(nl::counters::LOCAL_ERRORS, "local-errors", Kind::Uint),
        attr(nl::counters::REPLAYED, "replayed", Kind::Uint),
        attr(
            nl::counters::TAKEOVER_RECORDS,
            "takeover-records",
            Kind::Uint,
        ),
        attr(nl::counters::TAKEOVER_MS, "takeover-ms", Kind::Uint),
    ],
};

/// Attributes of `event`.
pub static EVENT_ATTRS: Attrs = Attrs {
    name: "event",
    attrs: &[
        attr(nl::event::SET_SEQ, "set-seq", Kind::Uint),
        attr(nl::event::TIME, "time", Kind::Uint),
        attr(nl::event::KIND, "kind", Kind::Enum(&EVENT_KIND)),
        attr(nl::event::OLD, "old", Kind::Str),
        attr(nl::event::NEW, "new", Kind::Str),
        attr(nl::event::REASON, "reason", Kind::Str),
        attr(nl::event::GENERATION, "generation", Kind::U32),
        attr(nl::event::SEQ_FIRST, "seq-first", Kind::Uint),
        attr(nl::event::SEQ_LAST, "seq-last", Kind::Uint),
        attr(nl::event::SUPPRESSED, "suppressed", Kind::Uint),
    ],
};

/// Attributes of `lane`.
pub static LANE_ATTRS: Attrs = Attrs {
    name: "lane",
    attrs: &[
        attr(nl::lane::INDEX, "index", Kind::U32),
        attr(nl::lane::TAIL, "tail", Kind::Uint),
        attr(nl::lane::HEAD, "head", Kind::Uint),
        attr(nl::lane::RECORDS, "records", Kind::Uint),
        attr(nl::lane::BYTES, "bytes", Kind::Uint),
    ],
};

/// Attributes of `latency`.
pub static LATENCY_ATTRS: Attrs = Attrs {
    name: "latency",
    attrs: &[
        attr(nl::latency::STAGE, "stage", Kind::Str),
        attr(nl::latency::COUNT, "count", Kind::Uint),
        attr(nl::latency::SUM_NS, "sum-ns", Kind::Uint),
        attr(nl::latency::BUCKETS, "buckets", Kind::U64s),
    ],
};

/// Attributes of `info`.
pub static INFO_ATTRS: Attrs = Attrs {
    name: "info",
    attrs: &[
        attr(nl::info::MODULE_VERSION, "module-version", Kind::Str),
        attr(nl::info::FORMAT_VERSION, "format-version", Kind::U32),
        attr(nl::info::PROTOCOL_VERSION, "protocol-version", Kind::U32),
        attr(nl::info::SETS, "sets", Kind::U32),
        attr(nl::info::EVENT_SEQ, "event-seq", Kind::Uint),
        attr(nl::info::EVENTS_SUPPRESSED, "events-suppressed", Kind::Uint),
    ],
};

/// Attributes of `set`.
pub static SET_ATTRS: Attrs = Attrs {
    name: "set",
    attrs: &[
        attr(nl::set::NAME, "name", Kind::Str),
        attr(nl::set::UUID, "uuid", Kind::Uuid),
        attr(nl::set::STATE, "state", Kind::Enum(&SET_STATE)),
        attr(nl::set::SINCE, "since", Kind::Uint),
        attr(nl::set::ROLE, "role", Kind::Enum(&SET_ROLE)),
        attr(nl::set::GENERATION, "generation", Kind::U32),
        attr(nl::set::REIGN, "reign", Kind::U32),
        attr(nl::set::NODE, "node", Kind::U32),
        attr(nl::set::MODE, "mode", Kind::Enum(&MODE)),
        attr(
            nl::set::PARTNER_LOST,
            "partner-lost",
            Kind::Enum(&PARTNER_LOST),
        ),
        attr(nl::set::TAKEOVER, "takeover", Kind::Enum(&TAKEOVER_POLICY)),
        attr(nl::set::FENCING, "fencing", Kind::Enum(&FENCING)),
        attr(nl::set::PING_MS, "ping-ms", Kind::U32),
        attr(nl::set::PING_MISSES, "ping-misses", Kind::U32),
        attr(nl::set::PARTNER, "partner", Kind::Enum(&PARTNER_STATE)),
        attr(nl::set::MIRROR, "mirror", Kind::Enum(&MIRROR_STATE)),
        attr(nl::set::RECORD, "record", Kind::Enum(&RECORD_STATE)),
        attr(nl::set::RECORD_GENERATION, "record-generation", Kind::U32),
        attr(
            nl::set::RECORD_MIRROR,
            "record-mirror",
            Kind::Enum(&RECORD_MIRROR),
        ),
        attr(nl::set::OUT_OF_DATE_SINCE, "out-of-date-since", Kind::Uint),
        attr(
            nl::set::OUT_OF_DATE_GENERATION,
            "out-of-date-generation",
            Kind::U32,
        ),
        attr(nl::set::REMOTE, "remote", Kind::Enum(&REMOTE_STATE)),
        attr(nl::set::SHIPPING, "shipping", Kind::Enum(&SHIPPING_STATE)),
        attr(nl::set::BEHIND, "behind", Kind::Uint),
        attr(nl::set::BEHIND_BYTES, "behind-bytes", Kind::Uint),
        attr(nl::set::BEHIND_NS, "behind-ns", Kind::Uint),
        attr(nl::set::SEQ_LAST, "seq-last", Kind::Uint),
        attr(nl::set::SEQ_ACKED, "seq-acked", Kind::Uint),
        attr(nl::set::SEQ_REMOTE, "seq-remote", Kind::Uint),
        attr(nl::set::SEQ_RETIRED, "seq-retired", Kind::Uint),
        attr(nl::set::LOG_RECORDS, "log-records", Kind::Uint),
        attr(nl::set::LOG_RECORDS_MAX, "log-records-max", Kind::Uint),
        attr(nl::set::LOG_BYTES, "log-bytes", Kind::Uint),
        attr(nl::set::LOG_BYTES_MAX, "log-bytes-max", Kind::Uint),
        attr(nl::set::THROTTLED, "throttled", Kind::U8),
        attr(nl::set::MISSING_FIRST, "missing-first", Kind::Uint),
        attr(nl::set::MISSING_LAST, "missing-last", Kind::Uint),
        attr(nl::set::VOLUMES, "volumes", Kind::U32),
        attr(nl::set::VOLUMES_WANTED, "volumes-wanted", Kind::U32),
        attr(nl::set::COUNTERS, "counters", Kind::Nest(&COUNTERS_ATTRS)),
        attr(nl::set::EVENT_SEQ, "event-seq", Kind::Uint),
        attr(nl::set::EVENTS_SUPPRESSED, "events-suppressed", Kind::Uint),
        attr(nl::set::LAST_EVENT, "last-event", Kind::Nest(&EVENT_ATTRS)),
        attr(nl::set::FORCE, "force", Kind::Flag),
        attr(nl::set::RECORDS, "records", Kind::U32),
    ],
};

/// Attributes of `volume`.
pub static VOLUME_ATTRS: Attrs = Attrs {
    name: "volume",
    attrs: &[
        attr(nl::volume::SET, "set", Kind::Str),
        attr(nl::volume::MEMBER, "member", Kind::U32),
        attr(nl::volume::SECTORS, "sectors", Kind::Uint),
        attr(nl::volume::LOCAL, "local", Kind::Str),
        attr(nl::volume::REMOTE, "remote", Kind::Str),
        attr(nl::volume::SUSPENDED, "suspended", Kind::U8),
        attr(nl::volume::MISSING_FIRST, "missing-first", Kind::Uint),
        attr(nl::volume::MISSING_LAST, "missing-last", Kind::Uint),
    ],
};

/// Attributes of `link`.
pub static LINK_ATTRS: Attrs = Attrs {
    name: "link",
    attrs: &[
        attr(nl::link::SET, "set", Kind::Str),
        attr(nl::link::KIND, "kind", Kind::Enum(&LINK_KIND)),
        attr(nl::link::MEMBER, "member", Kind::U32),
        attr(nl::link::STATE, "state", Kind::Enum(&LINK_STATE)),
        attr(nl::link::ADDRESS, "address", Kind::Str),
        attr(nl::link::LISTEN, "listen", Kind::Str),
        attr(nl::link::HEARD_MS, "heard-ms", Kind::Uint),
        attr(nl::link::PATIENCE_MS, "patience-ms", Kind::Uint),
    ],
};

/// Attributes of `log`.
pub static LOG_ATTRS: Attrs = Attrs {
    name: "log",
    attrs: &[
        attr(nl::log::SET, "set", Kind::Str),
        attr(nl::log::PATH, "path", Kind::Str),
        attr(nl::log::DEVICE, "device", Kind::Str),
        attr(nl::log::OFFSET, "offset", Kind::Uint),
        attr(nl::log::SIZE, "size", Kind::Uint),
        attr(nl::log::RECORDS, "records", Kind::Uint),
        attr(nl::log::RECORDS_MAX, "records-max", Kind::Uint),
        attr(nl::log::BYTES, "bytes", Kind::Uint),
        attr(nl::log::BYTES_MAX, "bytes-max", Kind::Uint),
        attr(nl::log::MARK_COUNTER, "mark-counter", Kind::Uint),
        attr(nl::log::MARK_SHIPPED, "mark-shipped", Kind::Uint),
        attr(nl::log::MARK_RETIRED, "mark-retired", Kind::Uint),
        attr(nl::log::MARK_ACKED, "mark-acked", Kind::Uint),
        attr(nl::log::LANE, "lane", Kind::Nests(&LANE_ATTRS)),
    ],
};

/// Attributes of `stats`.
pub static STATS_ATTRS: Attrs = Attrs {
    name: "stats",
    attrs: &[
        attr(nl::stats::SET, "set", Kind::Str),
        attr(nl::stats::COUNTERS, "counters", Kind::Nest(&COUNTERS_ATTRS)),
        attr(nl::stats::LATENCY, "latency", Kind::Nests(&LATENCY_ATTRS)),
    ],
};

/// Attributes of `notice`.
pub static NOTICE_ATTRS: Attrs = Attrs {
    name: "notice",
    attrs: &[
        attr(nl::notice::SEQ, "seq", Kind::Uint),
        attr(nl::notice::SET, "set", Kind::Str),
        attr(nl::notice::WHAT, "what", Kind::Nest(&EVENT_ATTRS)),
    ],
};

/// info-get
pub const OP_INFO_GET: Op = Op {
    id: cmd::INFO_GET,
    name: "info-get",
    attrs: &INFO_ATTRS,
};

/// set-get
pub const OP_SET_GET: Op = Op {
    id: cmd::SET_GET,
    name: "set-get",
    attrs: &SET_ATTRS,
};

/// set-set
pub const OP_SET_SET: Op = Op {
    id: cmd::SET_SET,
    name: "set-set",
    attrs: &SET_ATTRS,
};

/// takeover
pub const OP_TAKEOVER: Op = Op {
    id: cmd::TAKEOVER,
    name: "takeover",
    attrs: &SET_ATTRS,
};

/// swap
pub const OP_SWAP: Op = Op {
    id: cmd::SWAP,
    name: "swap",
    attrs: &SET_ATTRS,
};

/// pause
pub const OP_PAUSE: Op = Op {
    id: cmd::PAUSE,
    name: "pause",
    attrs: &SET_ATTRS,
};

/// resume
pub const OP_RESUME: Op = Op {
    id: cmd::RESUME,
    name: "resume",
    attrs: &SET_ATTRS,
};

/// detach
pub const OP_DETACH: Op = Op {
    id: cmd::DETACH,
    name: "detach",
    attrs: &SET_ATTRS,
};

/// in-step
pub const OP_IN_STEP: Op = Op {
    id: cmd::IN_STEP,
    name: "in-step",
    attrs: &SET_ATTRS,
};

/// volume-get
pub const OP_VOLUME_GET: Op = Op {
    id: cmd::VOLUME_GET,
    name: "volume-get",
    attrs: &VOLUME_ATTRS,
};

/// link-get
pub const OP_LINK_GET: Op = Op {
    id: cmd::LINK_GET,
    name: "link-get",
    attrs: &LINK_ATTRS,
};

/// log-get
pub const OP_LOG_GET: Op = Op {
    id: cmd::LOG_GET,
    name: "log-get",
    attrs: &LOG_ATTRS,
};

/// stats-get
pub const OP_STATS_GET: Op = Op {
    id: cmd::STATS_GET,
    name: "stats-get",
    attrs: &STATS_ATTRS,
};

/// event
pub const OP_EVENT: Op = Op {
    id: cmd::EVENT,
    name: "event",
    attrs: &NOTICE_ATTRS,
};

/// All operations.
pub const OPS: &[&Op] = &[
    &OP_INFO_GET,
    &OP_SET_GET,
    &OP_SET_SET,
    &OP_TAKEOVER,
    &OP_SWAP,
    &OP_PAUSE,
    &OP_RESUME,
    &OP_DETACH,
    &OP_IN_STEP,
    &OP_VOLUME_GET,
    &OP_LINK_GET,
    &OP_LOG_GET,
    &OP_STATS_GET,
    &OP_EVENT,
];

/// All sets of attributes.
pub const ATTRS: &[&Attrs] = &[
    &COUNTERS_ATTRS,
    &EVENT_ATTRS,
    &LANE_ATTRS,
    &LATENCY_ATTRS,
    &INFO_ATTRS,
    &SET_ATTRS,
    &VOLUME_ATTRS,
    &LINK_ATTRS,
    &LOG_ATTRS,
    &STATS_ATTRS,
    &NOTICE_ATTRS,
];

/// All lists of words.
pub const WORDS: &[&Words] = &[
    &SET_STATE,
    &SET_ROLE,
    &PARTNER_STATE,
    &MIRROR_STATE,
    &REMOTE_STATE,
    &SHIPPING_STATE,
    &MODE,
    &PARTNER_LOST,
    &TAKEOVER_POLICY,
    &FENCING,
    &RECORD_STATE,
    &RECORD_MIRROR,
    &LINK_KIND,
    &LINK_STATE,
    &EVENT_KIND,
];
