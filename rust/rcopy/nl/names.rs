// SPDX-License-Identifier: GPL-2.0

//! Names and numbers of the netlink family: the whole of what this tool knows of
//! Documentation/netlink/specs/remote-copy.yaml. tests/spec.rs compares the two.

/// The family's name.
pub const FAMILY: &str = "remote-copy";
/// Version of the family.
pub const VERSION: u8 = 1;
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

const fn attr(id: u16, name: &'static str, kind: Kind) -> Attr {
    Attr { id, name, kind }
}

/// Words of `set-state`, by their numbers.
pub const SET_STATE: Words = Words {
    name: "set-state",
    words: &[
        "assembling",
        "standby",
        "waiting-for-partner",
        "taking-over",
        "replaying",
        "serving",
        "handing-over",
        "fenced",
        "failed",
        "stopping",
    ],
};

/// Words of `set-role`, by their numbers.
pub const SET_ROLE: Words = Words {
    name: "set-role",
    words: &["blank", "owner", "standby"],
};

/// Words of `partner-state`, by their numbers.
pub const PARTNER_STATE: Words = Words {
    name: "partner-state",
    words: &["none", "disconnected", "connected"],
};

/// Words of `mirror-state`, by their numbers.
pub const MIRROR_STATE: Words = Words {
    name: "mirror-state",
    words: &[
        "none",
        "lost",
        "out-of-date",
        "catching-up",
        "finishing",
        "mirrored",
        "complete",
        "incomplete",
        "unknown",
    ],
};

/// Words of `remote-state`, by their numbers.
pub const REMOTE_STATE: Words = Words {
    name: "remote-state",
    words: &["in-step", "behind", "lost", "out-of-step"],
};

/// Words of `shipping-state`, by their numbers.
pub const SHIPPING_STATE: Words = Words {
    name: "shipping-state",
    words: &["running", "paused"],
};

/// Words of `mode`, by their numbers.
pub const MODE: Words = Words {
    name: "mode",
    words: &["async", "sync"],
};

/// Words of `partner-lost`, by their numbers.
pub const PARTNER_LOST: Words = Words {
    name: "partner-lost",
    words: &["wait", "continue"],
};

/// Words of `takeover-policy`, by their numbers.
pub const TAKEOVER_POLICY: Words = Words {
    name: "takeover-policy",
    words: &["manual", "auto"],
};

/// Words of `fencing`, by their numbers.
pub const FENCING: Words = Words {
    name: "fencing",
    words: &[
        "none",
        "external",
        "reservation",
        "reservation-registrants",
        "unfenced",
    ],
};

/// Words of `record-state`, by their numbers.
pub const RECORD_STATE: Words = Words {
    name: "record-state",
    words: &["unused", "blank", "unreadable", "mine", "partner"],
};

/// Words of `record-mirror`, by their numbers.
pub const RECORD_MIRROR: Words = Words {
    name: "record-mirror",
    words: &["up-to-date", "out-of-date"],
};

/// Words of `link-kind`, by their numbers.
pub const LINK_KIND: Words = Words {
    name: "link-kind",
    words: &["partner", "remote"],
};

/// Words of `link-state`, by their numbers.
pub const LINK_STATE: Words = Words {
    name: "link-state",
    words: &["disconnected", "connected", "failing"],
};

/// Words of `event-kind`, by their numbers.
pub const EVENT_KIND: Words = Words {
    name: "event-kind",
    words: &[
        "created", "removed", "state", "partner", "mirror", "remote", "log", "shipping",
        "settings", "missing",
    ],
};

/// Attributes of `counters`.
pub static COUNTERS_ATTRS: Attrs = Attrs {
    name: "counters",
    attrs: &[
        attr(1, "writes", Kind::Uint),
        attr(2, "shipped", Kind::Uint),
        attr(3, "mirrored", Kind::Uint),
        attr(4, "log-full", Kind::Uint),
        attr(5, "local-errors", Kind::Uint),
        attr(6, "replayed", Kind::Uint),
        attr(7, "takeover-records", Kind::Uint),
        attr(8, "takeover-ms", Kind::Uint),
    ],
};

/// Attributes of `event`.
pub static EVENT_ATTRS: Attrs = Attrs {
    name: "event",
    attrs: &[
        attr(1, "set-seq", Kind::Uint),
        attr(2, "time", Kind::Uint),
        attr(3, "kind", Kind::Enum(&EVENT_KIND)),
        attr(4, "old", Kind::Str),
        attr(5, "new", Kind::Str),
        attr(6, "reason", Kind::Str),
        attr(7, "generation", Kind::U32),
        attr(8, "seq-first", Kind::Uint),
        attr(9, "seq-last", Kind::Uint),
        attr(10, "suppressed", Kind::Uint),
    ],
};

/// Attributes of `lane`.
pub static LANE_ATTRS: Attrs = Attrs {
    name: "lane",
    attrs: &[
        attr(1, "index", Kind::U32),
        attr(2, "tail", Kind::Uint),
        attr(3, "head", Kind::Uint),
        attr(4, "records", Kind::Uint),
        attr(5, "bytes", Kind::Uint),
    ],
};

/// Attributes of `latency`.
pub static LATENCY_ATTRS: Attrs = Attrs {
    name: "latency",
    attrs: &[
        attr(1, "stage", Kind::Str),
        attr(2, "count", Kind::Uint),
        attr(3, "sum-ns", Kind::Uint),
        attr(4, "buckets", Kind::U64s),
    ],
};

/// Attributes of `info`.
pub static INFO_ATTRS: Attrs = Attrs {
    name: "info",
    attrs: &[
        attr(1, "module-version", Kind::Str),
        attr(2, "format-version", Kind::U32),
        attr(3, "protocol-version", Kind::U32),
        attr(4, "sets", Kind::U32),
        attr(5, "event-seq", Kind::Uint),
        attr(6, "events-suppressed", Kind::Uint),
    ],
};

/// Attributes of `set`.
pub static SET_ATTRS: Attrs = Attrs {
    name: "set",
    attrs: &[
        attr(1, "name", Kind::Str),
        attr(2, "uuid", Kind::Uuid),
        attr(3, "state", Kind::Enum(&SET_STATE)),
        attr(4, "since", Kind::Uint),
        attr(5, "role", Kind::Enum(&SET_ROLE)),
        attr(6, "generation", Kind::U32),
        attr(7, "reign", Kind::U32),
        attr(8, "node", Kind::U32),
        attr(9, "mode", Kind::Enum(&MODE)),
        attr(10, "partner-lost", Kind::Enum(&PARTNER_LOST)),
        attr(11, "takeover", Kind::Enum(&TAKEOVER_POLICY)),
        attr(12, "fencing", Kind::Enum(&FENCING)),
        attr(13, "ping-ms", Kind::U32),
        attr(14, "ping-misses", Kind::U32),
        attr(15, "partner", Kind::Enum(&PARTNER_STATE)),
        attr(16, "mirror", Kind::Enum(&MIRROR_STATE)),
        attr(17, "record", Kind::Enum(&RECORD_STATE)),
        attr(18, "record-generation", Kind::U32),
        attr(19, "record-mirror", Kind::Enum(&RECORD_MIRROR)),
        attr(20, "out-of-date-since", Kind::Uint),
        attr(21, "out-of-date-generation", Kind::U32),
        attr(22, "remote", Kind::Enum(&REMOTE_STATE)),
        attr(23, "shipping", Kind::Enum(&SHIPPING_STATE)),
        attr(24, "behind", Kind::Uint),
        attr(25, "behind-bytes", Kind::Uint),
        attr(26, "behind-ns", Kind::Uint),
        attr(27, "seq-last", Kind::Uint),
        attr(28, "seq-acked", Kind::Uint),
        attr(29, "seq-remote", Kind::Uint),
        attr(30, "seq-retired", Kind::Uint),
        attr(31, "log-records", Kind::Uint),
        attr(32, "log-records-max", Kind::Uint),
        attr(33, "log-bytes", Kind::Uint),
        attr(34, "log-bytes-max", Kind::Uint),
        attr(35, "throttled", Kind::U8),
        attr(36, "missing-first", Kind::Uint),
        attr(37, "missing-last", Kind::Uint),
        attr(38, "volumes", Kind::U32),
        attr(39, "volumes-wanted", Kind::U32),
        attr(40, "counters", Kind::Nest(&COUNTERS_ATTRS)),
        attr(41, "event-seq", Kind::Uint),
        attr(42, "events-suppressed", Kind::Uint),
        attr(43, "last-event", Kind::Nest(&EVENT_ATTRS)),
        attr(44, "force", Kind::Flag),
    ],
};

/// Attributes of `volume`.
pub static VOLUME_ATTRS: Attrs = Attrs {
    name: "volume",
    attrs: &[
        attr(1, "set", Kind::Str),
        attr(2, "member", Kind::U32),
        attr(3, "sectors", Kind::Uint),
        attr(4, "local", Kind::Str),
        attr(5, "remote", Kind::Str),
        attr(6, "suspended", Kind::U8),
        attr(7, "missing-first", Kind::Uint),
        attr(8, "missing-last", Kind::Uint),
    ],
};

/// Attributes of `link`.
pub static LINK_ATTRS: Attrs = Attrs {
    name: "link",
    attrs: &[
        attr(1, "set", Kind::Str),
        attr(2, "kind", Kind::Enum(&LINK_KIND)),
        attr(3, "member", Kind::U32),
        attr(4, "state", Kind::Enum(&LINK_STATE)),
        attr(5, "address", Kind::Str),
        attr(6, "listen", Kind::Str),
        attr(7, "heard-ms", Kind::Uint),
        attr(8, "patience-ms", Kind::Uint),
    ],
};

/// Attributes of `log`.
pub static LOG_ATTRS: Attrs = Attrs {
    name: "log",
    attrs: &[
        attr(1, "set", Kind::Str),
        attr(2, "path", Kind::Str),
        attr(3, "device", Kind::Str),
        attr(4, "offset", Kind::Uint),
        attr(5, "size", Kind::Uint),
        attr(6, "records", Kind::Uint),
        attr(7, "records-max", Kind::Uint),
        attr(8, "bytes", Kind::Uint),
        attr(9, "bytes-max", Kind::Uint),
        attr(10, "mark-counter", Kind::Uint),
        attr(11, "mark-shipped", Kind::Uint),
        attr(12, "mark-retired", Kind::Uint),
        attr(13, "mark-acked", Kind::Uint),
        attr(14, "lane", Kind::Nests(&LANE_ATTRS)),
    ],
};

/// Attributes of `stats`.
pub static STATS_ATTRS: Attrs = Attrs {
    name: "stats",
    attrs: &[
        attr(1, "set", Kind::Str),
        attr(2, "counters", Kind::Nest(&COUNTERS_ATTRS)),
        attr(3, "latency", Kind::Nests(&LATENCY_ATTRS)),
    ],
};

/// Attributes of `notice`.
pub static NOTICE_ATTRS: Attrs = Attrs {
    name: "notice",
    attrs: &[
        attr(1, "seq", Kind::Uint),
        attr(2, "set", Kind::Str),
        attr(3, "what", Kind::Nest(&EVENT_ATTRS)),
    ],
};

/// info-get
pub const OP_INFO_GET: Op = Op {
    id: 1,
    name: "info-get",
    attrs: &INFO_ATTRS,
};

/// set-get
pub const OP_SET_GET: Op = Op {
    id: 2,
    name: "set-get",
    attrs: &SET_ATTRS,
};

/// set-set
pub const OP_SET_SET: Op = Op {
    id: 3,
    name: "set-set",
    attrs: &SET_ATTRS,
};

/// takeover
pub const OP_TAKEOVER: Op = Op {
    id: 4,
    name: "takeover",
    attrs: &SET_ATTRS,
};

/// swap
pub const OP_SWAP: Op = Op {
    id: 5,
    name: "swap",
    attrs: &SET_ATTRS,
};

/// pause
pub const OP_PAUSE: Op = Op {
    id: 6,
    name: "pause",
    attrs: &SET_ATTRS,
};

/// resume
pub const OP_RESUME: Op = Op {
    id: 7,
    name: "resume",
    attrs: &SET_ATTRS,
};

/// detach
pub const OP_DETACH: Op = Op {
    id: 8,
    name: "detach",
    attrs: &SET_ATTRS,
};

/// in-step
pub const OP_IN_STEP: Op = Op {
    id: 9,
    name: "in-step",
    attrs: &SET_ATTRS,
};

/// volume-get
pub const OP_VOLUME_GET: Op = Op {
    id: 10,
    name: "volume-get",
    attrs: &VOLUME_ATTRS,
};

/// link-get
pub const OP_LINK_GET: Op = Op {
    id: 11,
    name: "link-get",
    attrs: &LINK_ATTRS,
};

/// log-get
pub const OP_LOG_GET: Op = Op {
    id: 12,
    name: "log-get",
    attrs: &LOG_ATTRS,
};

/// stats-get
pub const OP_STATS_GET: Op = Op {
    id: 13,
    name: "stats-get",
    attrs: &STATS_ATTRS,
};

/// event
pub const OP_EVENT: Op = Op {
    id: 14,
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
