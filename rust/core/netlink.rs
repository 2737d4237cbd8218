// SPDX-License-Identifier: GPL-2.0

//! Names and numbers of the netlink family, made from `Documentation/netlink/specs/remote-copy.yaml`:
//! do not edit, run `make netlink-gen`. Words stand in the order of their numbers.

/// The family's name.
pub const FAMILY: &str = "remote-copy";
/// Its version.
pub const VERSION: u8 = 1;
/// Longest name of a set, in bytes.
pub const MAX_SET_NAME: usize = 63;

/// Operations.
pub mod cmd {
    /// Versions, and where the events stand.
    pub const INFO_GET: u8 = 1;
    /// A set, or all sets of this namespace.
    pub const SET_GET: u8 = 2;
    /// Changes settings at run time. All that are named change, or none. A table that is loaded later says it anew.
    pub const SET_SET: u8 = 3;
    /// Makes this node the owner; with ``force`` also where something is missing or the old owner cannot be kept from writing.
    pub const TAKEOVER: u8 = 4;
    /// Hands the set over to the partner; all its volumes have to be suspended.
    pub const SWAP: u8 = 5;
    /// The shipper takes no more records from the log: the remote stands still at a point of the order of writes, and the log fills. With ``force`` also in mode sync, where writes wait at once.
    pub const PAUSE: u8 = 6;
    /// Shipping goes on.
    pub const RESUME: u8 = 7;
    /// The owner goes on without its partner, which is off and will not take over by itself. Only with ``force``.
    pub const DETACH: u8 = 8;
    /// The remote holds what the local unit holds, says who has copied it, with all volumes suspended. Only with ``force``.
    pub const IN_STEP: u8 = 9;
    /// A volume; or all of this namespace, or of a set.
    pub const VOLUME_GET: u8 = 10;
    /// A link; or all of this namespace, or of a set.
    pub const LINK_GET: u8 = 11;
    /// The log of a set, or of all.
    pub const LOG_GET: u8 = 12;
    /// The counters of a set, or of all.
    pub const STATS_GET: u8 = 13;
    /// Something has happened to a set.
    pub const EVENT: u8 = 14;
}

/// Enumerations: their words.
pub mod words {
    /// What a set does on this node just now.
    pub const SET_STATE: &[&str] = &[
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
    ];
    /// What this node's log says that it is.
    pub const SET_ROLE: &[&str] = &["blank", "owner", "standby"];
    /// The connection between the partners.
    pub const PARTNER_STATE: &[&str] = &["none", "disconnected", "connected"];
    /// Of an owner, what its partner's copy of the log counts for; of a standby, whether its own copy is complete.
    pub const MIRROR_STATE: &[&str] = &[
        "none",
        "lost",
        "out-of-date",
        "catching-up",
        "finishing",
        "mirrored",
        "complete",
        "incomplete",
        "unknown",
    ];
    /// The remote device, as an owner sees it.
    pub const REMOTE_STATE: &[&str] = &["in-step", "behind", "lost", "out-of-step"];
    /// Whether the shipper takes records from the log.
    pub const SHIPPING_STATE: &[&str] = &["running", "paused"];
    /// When a write is acknowledged.
    pub const MODE: &[&str] = &["async", "sync"];
    /// What an owner does without its partner.
    pub const PARTNER_LOST: &[&str] = &["wait", "continue"];
    /// Whether a standby takes over by itself.
    pub const TAKEOVER_POLICY: &[&str] = &["manual", "auto"];
    /// What keeps an old owner from writing.
    pub const FENCING: &[&str] = &[
        "none",
        "external",
        "reservation",
        "reservation-registrants",
        "unfenced",
    ];
    /// What the ownership record says.
    pub const RECORD_STATE: &[&str] = &["unused", "blank", "unreadable", "mine", "partner"];
    /// What the ownership record says of the mirror of the one who is not the owner.
    pub const RECORD_MIRROR: &[&str] = &["up-to-date", "out-of-date"];
    /// Whom a link leads to.
    pub const LINK_KIND: &[&str] = &["partner", "remote"];
    /// Of `link-state`.
    pub const LINK_STATE: &[&str] = &["disconnected", "connected", "failing"];
    /// What has changed.
    pub const EVENT_KIND: &[&str] = &[
        "created", "removed", "state", "partner", "mirror", "remote", "log", "shipping",
        "settings", "missing",
    ];
}

/// Attributes of `info`.
pub mod info {
    /// `module-version`
    pub const MODULE_VERSION: u16 = 1;
    /// Of the log on persistent memory.
    pub const FORMAT_VERSION: u16 = 2;
    /// Of the partners' wire protocol.
    pub const PROTOCOL_VERSION: u16 = 3;
    /// How many there are in this namespace.
    pub const SETS: u16 = 4;
    /// The ``seq`` of the last event in this namespace; 0 if there was none.
    pub const EVENT_SEQ: u16 = 5;
    /// How many events of the sets there are now were not sent one by one.
    pub const EVENTS_SUPPRESSED: u16 = 6;
}

/// Attributes of `set`.
pub mod set {
    /// Name of the set.
    pub const NAME: u16 = 1;
    /// `uuid`
    pub const UUID: u16 = 2;
    /// `state`
    pub const STATE: u16 = 3;
    /// When the state began, seconds since 1970.
    pub const SINCE: u16 = 4;
    /// `role`
    pub const ROLE: u16 = 5;
    /// The newest reign that this node knows of.
    pub const GENERATION: u16 = 6;
    /// The generation that this node's new records carry; of an owner.
    pub const REIGN: u16 = 7;
    /// The number by which this node goes at the units.
    pub const NODE: u16 = 8;
    /// `mode`
    pub const MODE: u16 = 9;
    /// `partner-lost`
    pub const PARTNER_LOST: u16 = 10;
    /// `takeover`
    pub const TAKEOVER: u16 = 11;
    /// `fencing`
    pub const FENCING: u16 = 12;
    /// Milliseconds between pings.
    pub const PING_MS: u16 = 13;
    /// Pings in a row that may be missed.
    pub const PING_MISSES: u16 = 14;
    /// `partner`
    pub const PARTNER: u16 = 15;
    /// `mirror`
    pub const MIRROR: u16 = 16;
    /// `record`
    pub const RECORD: u16 = 17;
    /// `record-generation`
    pub const RECORD_GENERATION: u16 = 18;
    /// `record-mirror`
    pub const RECORD_MIRROR: u16 = 19;
    /// The first sequence that the partner's mirror may miss.
    pub const OUT_OF_DATE_SINCE: u16 = 20;
    /// The reign in which it went out of date.
    pub const OUT_OF_DATE_GENERATION: u16 = 21;
    /// `remote`
    pub const REMOTE: u16 = 22;
    /// `shipping`
    pub const SHIPPING: u16 = 23;
    /// How many records the remote is behind.
    pub const BEHIND: u16 = 24;
    /// How many bytes of data they have.
    pub const BEHIND_BYTES: u16 = 25;
    /// How old the oldest of them is, in nanoseconds; sampled, and so a little less than it is.
    pub const BEHIND_NS: u16 = 26;
    /// The newest sequence given.
    pub const SEQ_LAST: u16 = 27;
    /// Every sequence up to this one was acknowledged to the host.
    pub const SEQ_ACKED: u16 = 28;
    /// Every sequence up to this one is durable at the remote.
    pub const SEQ_REMOTE: u16 = 29;
    /// The low-water mark.
    pub const SEQ_RETIRED: u16 = 30;
    /// Records in the log.
    pub const LOG_RECORDS: u16 = 31;
    /// `log-records-max`
    pub const LOG_RECORDS_MAX: u16 = 32;
    /// Bytes of data in the log.
    pub const LOG_BYTES: u16 = 33;
    /// `log-bytes-max`
    pub const LOG_BYTES_MAX: u16 = 34;
    /// 1 if writes wait for space in the log just now, else 0.
    pub const THROTTLED: u16 = 35;
    /// The first sequence that the remote may miss since a takeover by force.
    pub const MISSING_FIRST: u16 = 36;
    /// The last one; left out while it is not known.
    pub const MISSING_LAST: u16 = 37;
    /// How many there are on this node.
    pub const VOLUMES: u16 = 38;
    /// How many there are to be.
    pub const VOLUMES_WANTED: u16 = 39;
    /// `counters`
    pub const COUNTERS: u16 = 40;
    /// The ``set-seq`` of the set's last event.
    pub const EVENT_SEQ: u16 = 41;
    /// How many events of this set were not sent one by one.
    pub const EVENTS_SUPPRESSED: u16 = 42;
    /// `last-event`
    pub const LAST_EVENT: u16 = 43;
    /// I know what this may cost, and want it all the same.
    pub const FORCE: u16 = 44;
    /// Most outstanding records: writes wait when there are so many, as if the log were full. The lanes share them evenly, at least one each. Left out while nothing but the log's size limits them (1048576).
    pub const RECORDS: u16 = 45;
}

/// Attributes of `volume`.
pub mod volume {
    /// `set`
    pub const SET: u16 = 1;
    /// Which volume of the set; counts from 0.
    pub const MEMBER: u16 = 2;
    /// Its length, in 512 bytes.
    pub const SECTORS: u16 = 3;
    /// Its local device, as `major`:`minor`.
    pub const LOCAL: u16 = 4;
    /// Path of its remote device.
    pub const REMOTE: u16 = 5;
    /// 1 if it is suspended, else 0.
    pub const SUSPENDED: u16 = 6;
    /// The first sequence of this volume that the remote may miss since a takeover by force.
    pub const MISSING_FIRST: u16 = 7;
    /// The last one; left out while it is not known.
    pub const MISSING_LAST: u16 = 8;
}

/// Attributes of `link`.
pub mod link {
    /// `set`
    pub const SET: u16 = 1;
    /// `kind`
    pub const KIND: u16 = 2;
    /// The volume, of a link to a remote.
    pub const MEMBER: u16 = 3;
    /// `state`
    pub const STATE: u16 = 4;
    /// Where the link leads to, address and port or path of a device.
    pub const ADDRESS: u16 = 5;
    /// Where this node listens.
    pub const LISTEN: u16 = 6;
    /// How long ago the other side was heard, in milliseconds; left out if never.
    pub const HEARD_MS: u16 = 7;
    /// After how long a silence the other side counts as lost, in milliseconds.
    pub const PATIENCE_MS: u16 = 8;
}

/// Attributes of `log`.
pub mod log {
    /// `set`
    pub const SET: u16 = 1;
    /// `path`
    pub const PATH: u16 = 2;
    /// The device, as `major`:`minor`.
    pub const DEVICE: u16 = 3;
    /// First byte of the region on it.
    pub const OFFSET: u16 = 4;
    /// Bytes of the region.
    pub const SIZE: u16 = 5;
    /// `records`
    pub const RECORDS: u16 = 6;
    /// `records-max`
    pub const RECORDS_MAX: u16 = 7;
    /// `bytes`
    pub const BYTES: u16 = 8;
    /// `bytes-max`
    pub const BYTES_MAX: u16 = 9;
    /// How many low-water marks were written in this log's life.
    pub const MARK_COUNTER: u16 = 10;
    /// What the newest mark says is durable at the remote.
    pub const MARK_SHIPPED: u16 = 11;
    /// The low-water mark; nothing up to it is replayed.
    pub const MARK_RETIRED: u16 = 12;
    /// What the newest mark says was acknowledged.
    pub const MARK_ACKED: u16 = 13;
    /// `lane`
    pub const LANE: u16 = 14;
}

/// Attributes of `lane`.
pub mod lane {
    /// `index`
    pub const INDEX: u16 = 1;
    /// Position of the oldest record that is not retired.
    pub const TAIL: u16 = 2;
    /// Position of the next record.
    pub const HEAD: u16 = 3;
    /// `records`
    pub const RECORDS: u16 = 4;
    /// `bytes`
    pub const BYTES: u16 = 5;
}

/// Attributes of `stats`.
pub mod stats {
    /// `set`
    pub const SET: u16 = 1;
    /// `counters`
    pub const COUNTERS: u16 = 2;
    /// `latency`
    pub const LATENCY: u16 = 3;
}

/// Attributes of `counters`.
pub mod counters {
    /// Writes accepted.
    pub const WRITES: u16 = 1;
    /// Records written to the remote, repetitions counted.
    pub const SHIPPED: u16 = 2;
    /// Records stored for the partner.
    pub const MIRRORED: u16 = 3;
    /// Times that a write found the log full.
    pub const LOG_FULL: u16 = 4;
    /// Local writes that failed.
    pub const LOCAL_ERRORS: u16 = 5;
    /// Records written to the local unit by the last replay.
    pub const REPLAYED: u16 = 6;
    /// Records that the last takeover found.
    pub const TAKEOVER_RECORDS: u16 = 7;
    /// How long it took, in milliseconds.
    pub const TAKEOVER_MS: u16 = 8;
}

/// Attributes of `latency`.
pub mod latency {
    /// `stage`
    pub const STAGE: u16 = 1;
    /// `count`
    pub const COUNT: u16 = 2;
    /// `sum-ns`
    pub const SUM_NS: u16 = 3;
    /// How many took from 2^i up to 2^(i+1) nanoseconds, for each i from 0; at 5 also those that took less, and the last, at 39, has whatever took longer.
    pub const BUCKETS: u16 = 4;
}

/// Attributes of `notice`.
pub mod notice {
    /// Rises by one with each event that is sent in this network namespace. A gap says that this listener missed some.
    pub const SEQ: u16 = 1;
    /// `set`
    pub const SET: u16 = 2;
    /// `what`
    pub const WHAT: u16 = 3;
}

/// Attributes of `event`.
pub mod event {
    /// Rises by one with each event of this set. A gap that ``suppressed`` does not explain says that this listener missed some.
    pub const SET_SEQ: u16 = 1;
    /// Nanoseconds since 1970.
    pub const TIME: u16 = 2;
    /// `kind`
    pub const KIND: u16 = 3;
    /// The old state, in words; left out where there was none.
    pub const OLD: u16 = 4;
    /// The new state, in words; left out where there is none.
    pub const NEW: u16 = 5;
    /// `reason`
    pub const REASON: u16 = 6;
    /// `generation`
    pub const GENERATION: u16 = 7;
    /// The first sequence concerned; left out where none is. Never behind ``seq-last``.
    pub const SEQ_FIRST: u16 = 8;
    /// The last one, left out where none is or it is not known; without ``seq-first`` the newest there was.
    pub const SEQ_LAST: u16 = 9;
    /// How many events of this set just before this one were not sent, because there were too many of their kind; left out if none. Their numbers are missing in ``set-seq``.
    pub const SUPPRESSED: u16 = 10;
}
