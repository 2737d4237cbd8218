// SPDX-License-Identifier: GPL-2.0

//! A set: the volumes that share one log and one order of writes, and this node's part in it.

use crate::{
    events::{self, Notes},
    journal::{Journal, Region},
    mirror::Link,
    record::RecordPlace,
    report::Counters,
    stages::Latency,
    units,
    worker::{Io, Queues},
};
use core::sync::atomic::{fence, AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core_crate::{
    control, creation,
    format::{Copy_, Key, Mark, NodeKey, Role, SetName, Super, FIRST_COUNTER},
    layout::{mark_offset, superblock_offset, Geometry},
    limits,
    ownership::{Fencing, Found, Kind, PartnerLost},
    partner::{Here, Mirror},
    receiver::Receiver,
    recover,
    table::{Mode, Table, TableRole},
    units::Generation,
};
use kapi_crate::{
    blkdev::{BlockDevice, Holder},
    cpu,
    dm::TargetHandle,
    event::Event,
    iopool::IoPool,
    net::{NetNs, SockAddr},
    pmem::{crc32c, Pmem},
    random,
    range_lock::RangeLock,
    thread::Thread,
    time,
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex, SetOnce},
};

/// What the driver claims exclusive use of devices with.
pub(crate) static HOLDER: Holder = Holder::new();

/// What the set does just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Phase {
    /// Not all of its volumes are there yet.
    Assembling,
    /// This node keeps the mirror; I/O is refused.
    Standby,
    /// This node's log says that it owns the set; it waits to hear from its partner whether that is
    /// still so. I/O waits.
    Waiting,
    /// The mirror is being read and the reign begun. I/O is refused until that is done.
    TakingOver,
    /// The log is being written to the local unit. I/O waits.
    Replaying,
    /// I/O is served.
    Serving,
    /// The partner is about to own the set. I/O waits; there is none, all volumes are suspended.
    HandingOver,
    /// The partner owns the set in a newer reign, or somebody else stopped this node. I/O fails.
    Fenced,
    /// The log or the local unit cannot be used. I/O fails.
    Failed,
    /// The last volume is going away.
    Stopping,
}

impl Phase {
    fn from_code(code: u32) -> Phase {
        match code {
            0 => Phase::Assembling,
            1 => Phase::Standby,
            2 => Phase::Waiting,
            3 => Phase::TakingOver,
            4 => Phase::Replaying,
            5 => Phase::Serving,
            6 => Phase::HandingOver,
            7 => Phase::Fenced,
            8 => Phase::Failed,
            _ => Phase::Stopping,
        }
    }

    /// Whether this node is the owner, as far as it knows, and keeps its partner's mirror up to date.
    pub(crate) fn owns(self) -> bool {
        matches!(
            self,
            Phase::Waiting | Phase::Replaying | Phase::Serving | Phase::HandingOver
        )
    }

    /// In words, for status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Assembling => "assembling",
            Phase::Standby => "standby",
            Phase::Waiting => "waiting-for-partner",
            Phase::TakingOver => "taking-over",
            Phase::Replaying => "replaying",
            Phase::Serving => "serving",
            Phase::HandingOver => "handing-over",
            Phase::Fenced => "fenced",
            Phase::Failed => "failed",
            Phase::Stopping => "stopping",
        }
    }
}

/// One volume of the set.
pub(crate) struct Member {
    /// The local device, as the workers use it.
    pub(crate) local: Arc<BlockDevice>,
    /// Where to find the remote device again after it went away.
    pub(crate) remote_path: CString,
    /// Sectors of the volume.
    pub(crate) sectors: u64,
    /// The first sequence of this volume that the remote may miss since a forced takeover, as far as
    /// this node found out; 0: see the set's.
    pub(crate) missing_first: AtomicU64,
}

/// What can be changed by loading another table.
#[derive(Default)]
pub(crate) struct Settings {
    /// Acknowledge only when the remote has it.
    pub(crate) sync: AtomicBool,
    /// That has ended, and a slot may hold a write back whose host need not wait for the remote any more.
    let_go: AtomicBool,
    /// Whether the standby takes over by itself.
    pub(crate) auto_takeover: AtomicBool,
    /// Whether somebody else fences. With reservations it means nothing.
    pub(crate) fenced_externally: AtomicBool,
    /// Whether an owner goes on without its partner.
    pub(crate) goes_on: AtomicBool,
    /// Milliseconds between pings.
    pub(crate) ping_ms: AtomicU32,
    /// Pings that may be missed.
    pub(crate) ping_misses: AtomicU32,
    /// Most outstanding records, if the log has room for more.
    records: AtomicU32,
}

impl Settings {
    /// These, from the start.
    fn new(s: &control::Settings) -> Settings {
        let new = Settings::default();
        new.put(s);
        new
    }

    /// Takes over what was decided, or what a newly loaded table says.
    pub(crate) fn put(&self, s: &control::Settings) {
        self.put_sync(s.mode == Mode::Sync);
        self.auto_takeover.store(s.auto_takeover, Ordering::Relaxed);
        self.fenced_externally
            .store(s.fencing == Fencing::External, Ordering::Relaxed);
        self.goes_on
            .store(s.partner_lost == PartnerLost::Continue, Ordering::Relaxed);
        self.ping_ms.store(s.ping_ms, Ordering::Relaxed);
        self.ping_misses.store(s.ping_misses, Ordering::Relaxed);
        self.records.store(s.records, Ordering::Relaxed);
    }

    fn put_sync(&self, sync: bool) {
        if self.sync.swap(sync, Ordering::SeqCst) && !sync {
            self.let_go.store(true, Ordering::SeqCst);
        }
    }

    /// A write was put into its slot until the remote has it. `true` if it need not wait any more: the
    /// shipper lets it go.
    #[inline]
    pub(crate) fn held_in_vain(&self) -> bool {
        // ORDERING: With the fence of `lets_go`: either the shipper, which looks at the slots behind
        // it, sees this one, or the mode is seen here.
        fence(Ordering::SeqCst);
        let in_vain = !self.sync.load(Ordering::Relaxed);
        if in_vain {
            self.let_go.store(true, Ordering::SeqCst);
        }
        in_vain
    }

    /// Whether the shipper has to look at the slots for writes that are held in vain. Then it does.
    pub(crate) fn lets_go(&self) -> bool {
        let look = self.let_go.load(Ordering::Relaxed) && self.let_go.swap(false, Ordering::SeqCst);
        if look {
            fence(Ordering::SeqCst);
        }
        look
    }

    /// Most outstanding records, if the log has room for more.
    pub(crate) fn records(&self) -> u32 {
        self.records.load(Ordering::Relaxed)
    }

    /// How many records one of so many lanes may have.
    #[inline]
    pub(crate) fn lane_limit(&self, lanes: u16) -> u32 {
        control::lane_limit(self.records(), lanes)
    }

    /// What an owner does without its partner.
    pub(crate) fn partner_lost(&self) -> PartnerLost {
        if self.goes_on.load(Ordering::Relaxed) {
            PartnerLost::Continue
        } else {
            PartnerLost::Wait
        }
    }

    /// Nanoseconds between pings, and how many may be missed.
    pub(crate) fn heartbeat(&self) -> (u64, u32) {
        (
            u64::from(self.ping_ms.load(Ordering::Relaxed)) * 1_000_000,
            self.ping_misses.load(Ordering::Relaxed),
        )
    }

    /// After how many nanoseconds of silence the partner counts as lost.
    pub(crate) fn patience(&self) -> u64 {
        let (interval, misses) = self.heartbeat();
        interval.saturating_mul(u64::from(misses))
    }
}

/// A set on this node.
#[pin_data]
pub(crate) struct Set {
    pub(crate) name: SetName,
    pub(crate) ns: NetNs,
    /// The log region: the log of an owner, the mirror of a standby.
    pub(crate) log: Pmem,
    log_path: CString,
    log_dev: u32,
    log_offset: u64,
    log_size: u64,
    lanes: u16,
    records: u32,
    /// How many volumes there are to be.
    pub(crate) members_wanted: u16,
    pub(crate) members: KVec<SetOnce<Member>>,
    pub(crate) settings: Settings,
    /// The kind of reservations that fence, if they do.
    pub(crate) reservation: Option<Kind>,
    /// Whether the remote is reserved as well, where there are reservations.
    pub(crate) remote_fenced: bool,
    /// Where the ownership record is, if there is one.
    pub(crate) record: Option<RecordPlace>,
    /// A number by which this node will go if its log is blank.
    pub(crate) new_node: u32,
    pub(crate) partner: Option<SockAddr>,
    pub(crate) listen: Option<SockAddr>,
    phase: AtomicU32,
    /// When the phase began, seconds of the wall clock.
    since: AtomicU64,
    /// Two, because while one is in use for the last time (by a thread that has not noticed yet that
    /// this node stands by), the other one is filled for the next reign.
    journals: [SetOnce<KBox<Journal>>; 2],
    /// [`NO_JOURNAL`], or which one is in use.
    journal_in_use: AtomicUsize,
    /// What a standby knows of its own copy from the last session, while that is complete. A leaf.
    pub(crate) receiver: Pin<KBox<Mutex<Option<KBox<Receiver>>>>>,
    /// Which was used last.
    journal_last: AtomicUsize,
    /// The remote is out of step: nothing is shipped. Follows the superblock.
    pub(crate) out_of_step: AtomicBool,
    /// The shipper has something at the remote, or may.
    pub(crate) shipping: AtomicBool,
    /// An administrator wants the shipper to take no more records.
    pub(crate) paused: AtomicBool,
    /// A unit has told this node that it was preempted; the worker has yet to say so.
    preempted: AtomicBool,
    /// Which volumes are suspended.
    pub(crate) suspended: Volumes,
    /// See [`crate::handover`].
    pub(crate) handover: AtomicU32,
    /// The owner has handed over to this node: the counter of its superblock then; 0: it has not.
    pub(crate) handed: AtomicU64,
    /// This node was taking over when it went down.
    pub(crate) resume: AtomicBool,
    /// A standby may have left something at the units, under this key or one of an older or newer reign.
    /// A leaf.
    #[pin]
    pub(crate) left: Mutex<Option<NodeKey>>,
    /// Writes of the shipper and of replays.
    pub(crate) io: IoPool,
    pub(crate) ranges: RangeLock<Io>,
    #[pin]
    pub(crate) queues: Queues,
    pub(crate) counters: Counters,
    pub(crate) latency: Latency,
    /// What has happened, for who listens.
    #[pin]
    pub(crate) notes: Notes,
    pub(crate) link: Link,
    /// Serialises start, takeover and step-down.
    #[pin]
    pub(crate) control: Mutex<Control>,
    /// This node's superblock; `None` while the region is blank.
    #[pin]
    pub(crate) durable: Mutex<Option<Super>>,
    #[pin]
    threads: Mutex<KVec<Thread>>,
    /// Whose `dmsetup wait` an event ends, each with the number by which it goes. A leaf.
    #[pin]
    watchers: Mutex<KVec<(u64, TargetHandle)>>,
    /// The shipper sleeps and wants to be woken when a write is there to be shipped. While it is at
    /// work it looks by itself, so that a write does not cost a wake-up.
    ship_wanted: AtomicBool,
    /// Which volumes are in a suspend without flush.
    pub(crate) giving_back: Volumes,
    /// Wakes the shipper.
    #[pin]
    pub(crate) ship: Event,
    /// Wakes the worker.
    #[pin]
    pub(crate) work: Event,
    /// Wakes the sender.
    #[pin]
    pub(crate) send: Event,
    /// Wakes the keeper.
    #[pin]
    pub(crate) keep: Event,
    /// Wakes who ends the set, once no operation is under way (see [`crate::sets`]).
    #[pin]
    pub(crate) calls_ended: Event,
}

const NO_JOURNAL: usize = usize::MAX;

/// Some of a set's volumes: a bit for each.
pub(crate) struct Volumes(AtomicU64);

impl Volumes {
    fn new() -> Volumes {
        Volumes(AtomicU64::new(0))
    }

    fn bit(member: u16) -> u64 {
        1u64.checked_shl(u32::from(member)).unwrap_or(0)
    }

    /// Puts a volume in, or takes it out.
    pub(crate) fn put(&self, member: u16, is_in: bool) {
        if is_in {
            self.0.fetch_or(Volumes::bit(member), Ordering::SeqCst);
        } else {
            self.0.fetch_and(!Volumes::bit(member), Ordering::SeqCst);
        }
    }

    /// Whether a volume is in.
    pub(crate) fn has(&self, member: u16) -> bool {
        self.0.load(Ordering::SeqCst) & Volumes::bit(member) != 0
    }

    /// Whether any is.
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// What start, takeover and step-down share.
pub(crate) struct Control {
    /// The set's threads were started.
    pub(crate) started: bool,
}

impl Set {
    /// Opens the log of a table line and reads what this node knows of the set.
    ///
    /// # Errors
    ///
    /// `EINVAL`, `EUCLEAN` (damaged log), `ENODATA` (blank log), `EMEDIUMTYPE` (another set's log),
    /// and those of opening devices; `say` was told which and why.
    pub(crate) fn make(
        t: &Table<'_>,
        ns: NetNs,
        say: &mut dyn FnMut(core::fmt::Arguments<'_>),
    ) -> Result<Arc<Set>> {
        let address =
            |key: &str, text: Option<&str>, say: &mut dyn FnMut(core::fmt::Arguments<'_>)| {
                text.map(|a| {
                    SockAddr::parse(a).inspect_err(|_| {
                        say(format_args!(
                        "{key} '{a}': <IPv4 address>:<port> or [<IPv6 address>]:<port> is allowed"
                    ));
                    })
                })
                .transpose()
            };
        let partner = address("partner", t.partner, say)?;
        let listen = address("listen", t.listen, say)?;
        let log = Pmem::open(t.log, t.log_offset, t.log_size, &HOLDER).map_err(|e| {
            say(format_args!("log '{}': {e}", t.log));
            e.to_error()
        })?;
        if (log.len() as u64) < limits::MIN_LOG_BYTES {
            say(format_args!(
                "log '{}': the region has {} bytes, at least {} are needed",
                t.log,
                log.len(),
                limits::MIN_LOG_BYTES
            ));
            return Err(EINVAL);
        }
        let record = match t.metadata {
            Some(path) => Some(open_record(path, t, say)?),
            None => None,
        };
        let new_node = (random::random_u64() as u32).max(1);
        let mut durable = recover::read_super(&Region(&log), crc32c).map_err(|d| {
            say(format_args!("log '{}': refused: {d}", t.log));
            EUCLEAN
        })?;
        if let Some(s) = &durable {
            if s.name != t.set {
                say(format_args!(
                    "log '{}': the region belongs to set '{}', not to '{}'",
                    t.log,
                    s.name.as_str(),
                    t.set.as_str()
                ));
                return Err(EMEDIUMTYPE);
            }
            if s.geometry.bytes() > log.len() as u64 {
                say(format_args!(
                    "log '{}': the region has {} bytes, the log in it {}; enlarge log_size",
                    t.log,
                    log.len(),
                    s.geometry.bytes()
                ));
                return Err(EINVAL);
            }
            if creation::claimed(&Region(&log)).map_err(|_| EIO)? {
                // The node died when it had just made its log.
                creation::release(&mut Region(&log))?;
            }
        } else if t.role == TableRole::Initiator {
            durable = Some(format(t, &log, new_node, say)?);
        }
        let mut members = KVec::with_capacity(usize::from(t.members), GFP_KERNEL)?;
        for _ in 0..t.members {
            members.push(SetOnce::new(), GFP_KERNEL)?;
        }
        let ranges = RangeLock::new(1024)?;
        let io = IoPool::new()?;
        let log_path = CString::try_from_fmt(fmt!("{}", t.log))?;
        let link = Link::new()?;
        let latency = Latency::new()?;
        Arc::pin_init(
            try_pin_init!(Set {
                name: t.set,
                ns,
                log_path,
                log_dev: log.device().dev_t(),
                log_offset: t.log_offset,
                log_size: t.log_size,
                lanes: t.lanes,
                records: t.records,
                log,
                members_wanted: t.members,
                members,
                settings: Settings::new(&control::Settings::of(t)),
                reservation: t.fencing.kind(),
                remote_fenced: t.remote_fenced,
                record,
                new_node,
                partner,
                listen,
                phase: AtomicU32::new(Phase::Assembling as u32),
                since: AtomicU64::new(time::wall_clock_secs()),
                journals: [SetOnce::new(), SetOnce::new()],
                journal_in_use: AtomicUsize::new(NO_JOURNAL),
                receiver: KBox::pin_init(new_mutex!(None), GFP_KERNEL)?,
                journal_last: AtomicUsize::new(1),
                out_of_step: AtomicBool::new(durable.is_some_and(|d| d.missing.is_some())),
                shipping: AtomicBool::new(false),
                paused: AtomicBool::new(false),
                preempted: AtomicBool::new(false),
                suspended: Volumes::new(),
                handover: AtomicU32::new(0),
                handed: AtomicU64::new(0),
                resume: AtomicBool::new(false),
                left <- new_mutex!(None),
                io,
                ranges,
                queues <- Queues::new(),
                counters: Counters::new(),
                latency,
                notes <- Notes::new()?,
                link,
                control <- new_mutex!(Control { started: false }),
                durable <- new_mutex!(durable),
                threads <- new_mutex!(KVec::new()),
                watchers <- new_mutex!(KVec::new()),
                ship_wanted: AtomicBool::new(true),
                giving_back: Volumes::new(),
                ship <- Event::new(c"rcopy ship", kernel::static_lock_class!()),
                work <- Event::new(c"rcopy work", kernel::static_lock_class!()),
                send <- Event::new(c"rcopy send", kernel::static_lock_class!()),
                keep <- Event::new(c"rcopy keep", kernel::static_lock_class!()),
                calls_ended <- Event::new(c"rcopy calls", kernel::static_lock_class!()),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// What can be changed at run time, as it is.
    pub(crate) fn settings_now(&self) -> control::Settings {
        let s = &self.settings;
        control::Settings {
            mode: if s.sync.load(Ordering::Relaxed) {
                Mode::Sync
            } else {
                Mode::Async
            },
            partner_lost: s.partner_lost(),
            auto_takeover: s.auto_takeover.load(Ordering::Relaxed),
            fencing: self.fencing(),
            ping_ms: s.ping_ms.load(Ordering::Relaxed),
            ping_misses: s.ping_misses.load(Ordering::Relaxed),
            records: s.records(),
        }
    }

    /// How many of its volumes are there.
    pub(crate) fn volumes(&self) -> u32 {
        self.members.iter().filter(|m| m.as_ref().is_some()).count() as u32
    }

    /// The log's device in the table line.
    pub(crate) fn log_path(&self) -> &str {
        self.log_path.to_str().unwrap_or("")
    }

    /// Its number.
    pub(crate) fn log_dev(&self) -> u32 {
        self.log_dev
    }

    /// First byte of the log on it.
    pub(crate) fn log_offset(&self) -> u64 {
        self.log_offset
    }

    /// Whether it is the set of that name in that namespace.
    pub(crate) fn is(&self, ns: &NetNs, name: &str) -> bool {
        self.ns == *ns && self.name.as_str() == name
    }

    /// Whether both sets claim the same bytes.
    pub(crate) fn log_overlaps(&self, other: &Set) -> bool {
        self.log_dev == other.log_dev
            && self.log_offset < other.log_offset.saturating_add(other.log.len() as u64)
            && other.log_offset < self.log_offset.saturating_add(self.log.len() as u64)
    }

    /// Whether both keep their ownership record in the same bytes.
    pub(crate) fn record_overlaps(&self, other: &Set) -> bool {
        match (&self.record, &other.record) {
            (Some(a), Some(b)) => {
                a.device.dev_t() == b.device.dev_t()
                    && a.offset.abs_diff(b.offset) < core_crate::ownership::RECORD_AREA
                    // Two partners in one kernel share it rightly.
                    && self.name != other.name
            }
            _ => false,
        }
    }

    /// Whether a further table line may join the set as it is.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it says something else of the set than the set's first line did.
    pub(crate) fn check_joins(
        &self,
        t: &Table<'_>,
        say: &mut dyn FnMut(core::fmt::Arguments<'_>),
    ) -> Result {
        let same_addr = |mine: &Option<SockAddr>, theirs: Option<&str>| {
            *mine == theirs.and_then(|a| SockAddr::parse(a).ok())
        };
        let what = if t.members != self.members_wanted {
            "members"
        } else if self.log_path.to_str().ok() != Some(t.log) {
            "log"
        } else if t.log_offset != self.log_offset {
            "log_offset"
        } else if t.log_size != self.log_size {
            "log_size"
        } else if t.lanes != self.lanes {
            "lanes"
        } else if t.records != self.records {
            "records"
        } else if !same_addr(&self.partner, t.partner) {
            "partner"
        } else if !same_addr(&self.listen, t.listen) {
            "listen"
        } else if t.fencing.kind() != self.reservation {
            "fencing"
        } else if t.remote_fenced != self.remote_fenced {
            "remote_fencing"
        } else if t.metadata != self.record.as_ref().map(RecordPlace::path) {
            "metadata"
        } else if t.metadata_offset != self.record.as_ref().map_or(0, |r| r.offset) {
            "metadata_offset"
        } else {
            return Ok(());
        };
        say(format_args!(
            "{what}: the set '{}' is in use with another value; remove its volumes first",
            self.name.as_str()
        ));
        Err(EINVAL)
    }

    /// What the set does just now.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_code(self.phase.load(Ordering::Acquire))
    }

    /// Since when, in seconds of the wall clock.
    pub(crate) fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }

    /// Enters a phase and says so. From `Fenced`, `Failed` and `Stopping` only `Stopping` follows.
    pub(crate) fn enter(&self, to: Phase, why: core::fmt::Arguments<'_>) {
        let mut from = self.phase.load(Ordering::Acquire);
        loop {
            let stuck = matches!(
                Phase::from_code(from),
                Phase::Fenced | Phase::Failed | Phase::Stopping
            );
            if stuck && to != Phase::Stopping {
                return;
            }
            match self
                .phase
                .compare_exchange(from, to as u32, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => break,
                Err(now) => from = now,
            }
        }
        self.announce(Phase::from_code(from), to, why);
    }

    fn announce(&self, from: Phase, to: Phase, why: core::fmt::Arguments<'_>) {
        self.since.store(time::wall_clock_secs(), Ordering::Relaxed);
        pr_info!(
            "set {}: {} -> {}: {}\n",
            self.name.as_str(),
            from.as_str(),
            to.as_str(),
            why
        );
        self.state_changed(from, to, why);
        events::note_state(self, from, to, why);
        if !to.owns() && to != Phase::Failed {
            crate::control::go_on(
                self,
                format_args!("this node does not own the set any more"),
            );
        }
        self.work.signal();
        self.ship.signal();
        self.send.signal();
        self.keep.signal();
        self.event();
    }

    /// A unit has refused a write because this node was preempted: nothing is acknowledged from here
    /// on. Any context; the worker says so.
    pub(crate) fn preempted(&self) {
        let serving = Phase::Serving as u32;
        let fenced = Phase::Fenced as u32;
        if self
            .phase
            .compare_exchange(serving, fenced, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.preempted.store(true, Ordering::Release);
        }
        self.work.signal();
    }

    /// Says what [`Set::preempted`] could not. Process context.
    pub(crate) fn announce_preemption(&self) {
        if self.preempted.swap(false, Ordering::AcqRel) {
            self.announce(
                Phase::Serving,
                Phase::Fenced,
                format_args!("a unit refuses writes: the partner has taken it over (preempted)"),
            );
        }
    }

    /// How the old owner is kept from writing.
    pub(crate) fn fencing(&self) -> Fencing {
        match self.reservation {
            Some(kind) => Fencing::Reservation(kind),
            None if self.settings.fenced_externally.load(Ordering::Relaxed) => Fencing::External,
            None => Fencing::None,
        }
    }

    /// Lanes and records as the table line has them, for a new log.
    pub(crate) fn shape_wanted(&self) -> (u16, u32) {
        (self.lanes, self.records)
    }

    /// What this node goes by at the units; `None` while its log is blank.
    pub(crate) fn node_key(&self) -> Option<NodeKey> {
        self.durable.lock().as_ref().map(Set::key_of)
    }

    /// What the node with this superblock goes by at the units.
    pub(crate) fn key_of(mine: &Super) -> NodeKey {
        NodeKey::new(Set::key(&mine.uuid), mine.node, mine.generation)
    }

    /// What [`core_crate::partner::answer`] has to know.
    pub(crate) fn here(&self) -> Here {
        Here {
            region: self.log.len() as u64,
            members: self.members_wanted,
            record: self.record.is_some(),
            node: self.new_node,
        }
    }

    /// Reads the ownership record. Sleeps as long as its device takes.
    pub(crate) fn read_record(&self) -> Found {
        self.record
            .as_ref()
            .map_or(Found::Unused, |r| r.read(self.name.as_str()))
    }

    /// Reads the ownership record, for who is about to write it: what cannot be read is not written over.
    ///
    /// # Errors
    ///
    /// `EIO` when it cannot be read; the kernel log says why.
    pub(crate) fn read_record_to_change(&self) -> Result<Found> {
        match self.read_record() {
            Found::Unreadable => Err(EIO),
            found => Ok(found),
        }
    }

    /// The ownership record as it was read or written last.
    pub(crate) fn known_record(&self) -> Found {
        self.record
            .as_ref()
            .map_or(Found::Unused, RecordPlace::known)
    }

    /// Whether all volumes are suspended, so that no I/O of a host is under way.
    pub(crate) fn all_suspended(&self) -> bool {
        (0..self.members_wanted).all(|m| self.suspended.has(m))
    }

    /// How to say in the kernel log what went wrong.
    pub(crate) fn complain(&self) -> impl FnMut(core::fmt::Arguments<'_>) {
        let name = self.name;
        move |what| pr_err!("set {}: {what}\n", name.as_str())
    }

    /// Something happened that an administrator may wait for: ends `dmsetup wait` on the set's volumes.
    /// Process context.
    pub(crate) fn event(&self) {
        events::observe(self);
        events::flush(self);
        for (_, handle) in self.watchers.lock().iter() {
            handle.table_event();
        }
    }

    /// Adds a volume whose watchers are told of events; answers the number by which it goes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn watch(&self, handle: TargetHandle) -> Result<u64> {
        let mut watchers = self.watchers.lock();
        let number = watchers.last().map_or(0, |(n, _)| n.saturating_add(1));
        watchers.push((number, handle), GFP_KERNEL)?;
        Ok(number)
    }

    /// Takes a volume out again.
    pub(crate) fn unwatch(&self, number: u64) {
        self.watchers.lock().retain(|(n, _)| *n != number);
    }

    /// The key of the set's checksums.
    pub(crate) fn key(uuid: &[u8; 16]) -> Key {
        Key::new(crc32c, uuid)
    }

    /// Makes a superblock durable: the slot that is not in use, a fence, then the other slot. So a
    /// slot that is damaged later never lets an older state speak. In a blank region it makes the log.
    ///
    /// # Errors
    ///
    /// `EIO` when the log cannot be written; the old superblock is still valid then, or the region as
    /// good as blank.
    pub(crate) fn write_super(&self, durable: &mut Option<Super>, new: Super) -> Result {
        let mut new = new;
        self.out_of_step
            .store(new.missing.is_some(), Ordering::Release);
        let mut slots = 2;
        if durable.is_none() {
            let first = creation::create(&mut Region(&self.log), crc32c, &new, None)?;
            *durable = Some(first);
            new.counter = first.counter.saturating_add(1);
            slots = 1;
        }
        for _ in 0..slots {
            let slot = usize::from(new.counter % 2 == 1);
            self.log
                .write(superblock_offset(slot) as usize, &new.seal(crc32c))?;
            self.log.fence();
            *durable = Some(new);
            new.counter = new.counter.saturating_add(1);
        }
        Ok(())
    }

    /// Makes a mark durable.
    ///
    /// # Errors
    ///
    /// `EIO` when the log cannot be written; the old mark is still valid then.
    pub(crate) fn write_mark(&self, key: Key, mark: &Mark) -> Result {
        let slot = usize::from(mark.counter % 2 == 1);
        self.log
            .write(mark_offset(slot) as usize, &mark.seal(crc32c, key))?;
        self.log.fence();
        Ok(())
    }

    /// A write may be shipped. Any context.
    #[inline]
    pub(crate) fn tell_shipper(&self) {
        let sync = self.settings.sync.load(Ordering::Relaxed);
        // SeqCst: see `shipper_sleeps`.
        if sync
            || (self.ship_wanted.load(Ordering::SeqCst)
                && self.ship_wanted.swap(false, Ordering::SeqCst))
        {
            self.ship.signal();
        }
    }

    /// Whether the shipper wants to be woken. It looks once more after it has said so: either it
    /// sees what was written before, or the writer sees that it is wanted.
    pub(crate) fn shipper_sleeps(&self, sleeps: bool) {
        self.ship_wanted.store(sleeps, Ordering::SeqCst);
    }

    /// The same, without waiting for who is changing it: 0 then.
    pub(crate) fn known_generation(&self) -> Generation {
        let durable = self.durable.try_lock().and_then(|d| *d);
        durable.map_or(Generation(0), |s| s.generation)
    }

    /// The generation that this node knows of.
    pub(crate) fn generation(&self) -> Generation {
        self.durable
            .lock()
            .as_ref()
            .map_or(Generation(0), |s| s.generation)
    }

    /// The state of the partner's copy, `None` unless this node is an owner.
    pub(crate) fn mirror(&self) -> Option<Mirror> {
        self.journal().map(Journal::mirror)
    }

    /// The log at work, once this node owns the set (or waits to hear whether it does).
    #[inline]
    pub(crate) fn journal(&self) -> Option<&Journal> {
        let place = self
            .journals
            .get(self.journal_in_use.load(Ordering::Acquire))?;
        place.as_ref().map(|j| &**j)
    }

    /// The journal for the next reign, with nothing in it: not in use before [`Set::install`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY` when the log's shape is another than it was in a reign of this node before.
    pub(crate) fn next_journal(&self, mine: &Super) -> Result<&Journal> {
        let key = Set::key(&mine.uuid);
        let place = self.journals.get(self.next_place()).ok_or(EINVAL)?;
        if place.as_ref().is_none() {
            place.populate(Journal::new(key, mine.geometry)?);
        }
        place
            .as_ref()
            .map(|j| &**j)
            .filter(|j| j.fits(key, mine.geometry))
            .ok_or(EBUSY)
    }

    fn next_place(&self) -> usize {
        1 - self.journal_last.load(Ordering::Acquire).min(1)
    }

    /// Takes what [`Set::next_journal`] gave into use. Under `control`.
    pub(crate) fn install(&self) {
        let place = self.next_place();
        self.journal_last.store(place, Ordering::Release);
        self.journal_in_use.store(place, Ordering::Release);
    }

    /// The log of this node is outdated, or handed over.
    pub(crate) fn forget_journal(&self) {
        self.journal_in_use.store(NO_JOURNAL, Ordering::Release);
    }

    /// Ends the owner's session for good: from here on the copy is this node's own log, and where it ended,
    /// which the end of the session says, means nothing any more.
    pub(crate) fn revoke_session(&self) {
        self.link.drop_conn();
        self.link.wait_down();
        *self.receiver.lock() = None;
    }

    /// Keeps a thread to be joined by [`Set::stop`].
    pub(crate) fn keep(&self, thread: Thread) -> Result {
        self.threads.lock().push(thread, GFP_KERNEL)?;
        Ok(())
    }

    /// Ends the set. No bio of a host is left by then (device-mapper drained the volumes).
    ///
    /// 1. `Stopping` makes every loop end and keeps new sessions and takeovers from beginning.
    /// 2. The sender says BYE, so that the partner does not take this for a death; a partner that
    ///    does not read is not waited for.
    /// 3. Connections are shut down, which wakes whoever waits for the network.
    /// 4. Threads are joined in the order in which they were started; each ends by itself. The
    ///    shipper waits for what it has at the remote device, because that I/O reads the log.
    /// 5. The units are given up: whoever wants them need not take them away. The threads have ended,
    ///    so nothing is written behind it.
    /// 6. Whoever drops the last reference closes the devices.
    pub(crate) fn stop(&self) {
        self.enter(Phase::Stopping, format_args!("its last volume was removed"));
        let until = time::now_ns().saturating_add(BYE_NS);
        while self.journal().is_some() && self.link.is_up() && time::now_ns() < until {
            time::msleep(1);
        }
        self.link.hang_up();
        let threads = core::mem::take(&mut *self.threads.lock());
        for t in threads {
            t.stop();
        }
        self.queues.fail_all();
        let left = *self.left.lock();
        if let Some(me) = self.node_key().or(left) {
            let _ = units::release(self, me);
        }
    }
}

/// How long a partner may take to hear BYE.
const BYE_NS: u64 = 500_000_000;

/// The shape of a log in this region; 0 lanes: one for each CPU.
pub(crate) fn plan(
    lanes: u16,
    records: u32,
    log: &Pmem,
) -> core::result::Result<Geometry, core_crate::layout::GeometryError> {
    let lanes = if lanes != 0 {
        lanes
    } else {
        // One for each CPU, but none of less than 4 MiB.
        let by_cpu = cpu::online_cpus().min(limits::MAX_LANES as u32) as u16;
        let by_size = u16::try_from((log.len() as u64) >> 22).unwrap_or(u16::MAX);
        by_cpu.min(by_size).max(1)
    };
    Geometry::plan(log.len() as u64, lanes, records)
}

/// Opens the device of the ownership record, for this module alone unless it is the volume's own local
/// device, which device-mapper has claimed.
fn open_record(
    path: &str,
    t: &Table<'_>,
    say: &mut dyn FnMut(core::fmt::Arguments<'_>),
) -> Result<RecordPlace> {
    let holder = (path != t.local).then_some(&HOLDER);
    let device = BlockDevice::open(path, holder, true).inspect_err(|e| {
        say(format_args!("metadata '{path}': cannot be opened: {e:?}"));
    })?;
    RecordPlace::new(device, path, t.metadata_offset, say)
}

/// Writes a new, empty log.
fn format(
    t: &Table<'_>,
    log: &Pmem,
    node: u32,
    say: &mut dyn FnMut(core::fmt::Arguments<'_>),
) -> Result<Super> {
    if !t.create {
        say(format_args!(
            "log '{}' is blank: either it is the wrong device, or its content is lost, or the set is \
             new; for a new set, whose local and remote device hold the same bytes, add 'create in_step'",
            t.log
        ));
        return Err(ENODATA);
    }
    let geometry = plan(t.lanes, t.records, log).map_err(|e| {
        say(format_args!("log '{}': {e}", t.log));
        EINVAL
    })?;
    let new = Super {
        counter: FIRST_COUNTER,
        uuid: random::new_uuid(),
        name: t.set,
        generation: Generation(0),
        role: Role::Owner,
        copy: Copy_::Complete,
        alone: false,
        unfenced: false,
        geometry,
        node,
        missing: None,
    };
    let mark = Mark::first(Generation(0), geometry.lanes());
    creation::create(&mut Region(log), crc32c, &new, Some(&mark))
}
