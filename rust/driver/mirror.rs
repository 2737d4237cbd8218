// SPDX-License-Identifier: GPL-2.0

//! The owner's side of the partner link: one thread sends the log as it grows, another hears what is
//! durable at the partner. *Patent: the cache "mirrored in partner controller A2's non-volatile
//! write-back cache" (figure 8B).*

use crate::{
    append,
    frames::{Inbox, Outbox},
    handover,
    journal::Journal,
    recovery,
    set::{Phase, Set},
};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core_crate::{
    format::{Role, MARK_BYTES, RECORD_HEADER_BYTES},
    lane::{stage, Run},
    lease::{self, in_doubt, Lease},
    limits::MAX_LANES,
    merge::Position,
    ownership::{self, Found},
    partner::{self, AfterRefusal, Heartbeat, Mirror, MirrorEvent},
    sending::Sent,
    units::{Op, Seq},
    wire::{Ack, Hello, Kind, Refusal, Turn, ACK_BYTES, FRAME_BYTES, REFUSAL_BYTES},
};
use kapi_crate::{
    net::{TcpListener, TcpStream},
    pmem::crc32c,
    ratelimited,
    thread::{StopToken, Thread},
    time,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};

/// Records that are sent before marks and pings get their turn.
const BATCH: usize = 64;

/// The connection to the partner, whichever side this node is on.
pub(crate) struct Link {
    conn: Pin<KBox<Mutex<Option<Arc<TcpStream>>>>>,
    listener: Pin<KBox<Mutex<Option<Arc<TcpListener>>>>>,
    up: AtomicBool,
    stopped: AtomicBool,
    /// When the partner was last heard, nanoseconds; 0: not since the module was loaded.
    heard: AtomicU64,
    /// The same, never forgotten.
    last: AtomicU64,
    /// When this was made.
    made: u64,
    /// Until when an owner may answer reads without a look at its units.
    pub(crate) lease: Lease,
    /// Why the partner refused last, in the words of the protocol; 0: it did not.
    refused: AtomicU32,
    /// How far the session has sent the log. Whoever sends records holds it: the sender's thread, or
    /// who submits a write.
    sending: Pin<KBox<Mutex<Option<Sending>>>>,
    /// Who submits a write may send it.
    open: AtomicBool,
}

impl Link {
    pub(crate) fn new() -> Result<Link> {
        Ok(Link {
            conn: KBox::pin_init(new_mutex!(None), GFP_KERNEL)?,
            listener: KBox::pin_init(new_mutex!(None), GFP_KERNEL)?,
            up: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            last: AtomicU64::new(0),
            made: time::now_ns(),
            lease: Lease::default(),
            refused: AtomicU32::new(0),
            sending: KBox::pin_init(new_mutex!(None), GFP_KERNEL)?,
            open: AtomicBool::new(false),
        })
    }

    /// Whether a session is under way.
    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Waits until no session is under way. Somebody has to end it.
    pub(crate) fn wait_down(&self) {
        while self.is_up() {
            time::msleep(1);
        }
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }

    /// Something arrived from the partner: answers when, which is now.
    pub(crate) fn hear(&self) -> u64 {
        let now = time::now_ns();
        self.heard.store(now, Ordering::Release);
        self.last.store(now, Ordering::Release);
        now
    }

    /// Until when an owner that is there after all may answer reads without a look at its units, by the
    /// clock of [`time::now_ns`].
    pub(crate) fn lease_ends(&self, patience: u64) -> u64 {
        lease::ends(self.last.load(Ordering::Acquire), self.made, patience)
    }

    /// When something last did; 0: never.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Acquire)
    }

    /// Counts as never heard: a standby does nothing by itself until the owner is heard again.
    pub(crate) fn forget_heard(&self) {
        self.heard.store(0, Ordering::Release);
    }

    /// Makes a connection known, so that [`Link::hang_up`] reaches it.
    ///
    /// # Errors
    ///
    /// `ESHUTDOWN` when the set ends.
    pub(crate) fn hold(&self, conn: &Arc<TcpStream>) -> Result {
        let mut slot = self.conn.lock();
        if self.stopped.load(Ordering::Acquire) {
            return Err(ESHUTDOWN);
        }
        *slot = Some(conn.clone());
        Ok(())
    }

    /// Forgets and shuts down the connection.
    pub(crate) fn drop_conn(&self) {
        if let Some(c) = self.conn.lock().take() {
            c.shutdown();
        }
    }

    /// Makes the listener known.
    ///
    /// # Errors
    ///
    /// `ESHUTDOWN` when the set ends.
    pub(crate) fn hold_listener(&self, listener: &Arc<TcpListener>) -> Result {
        let mut slot = self.listener.lock();
        if self.stopped.load(Ordering::Acquire) {
            return Err(ESHUTDOWN);
        }
        *slot = Some(listener.clone());
        Ok(())
    }

    /// Ends the connection and the listener, for good.
    pub(crate) fn hang_up(&self) {
        self.stopped.store(true, Ordering::Release);
        self.drop_conn();
        if let Some(l) = self.listener.lock().take() {
            l.shutdown();
        }
    }
}

impl Set {
    /// Whether what was read just now may have been the partner's already: reservations do not keep a
    /// fenced owner from reading. Context: any.
    #[inline]
    pub(crate) fn in_doubt(&self) -> bool {
        self.reservation.is_some()
            && in_doubt(self.journal().is_some_and(Journal::writes_wait), || {
                self.link
                    .lease
                    .holds(time::boot_ns(), self.settings.patience())
            })
    }
}

/// The sender thread of an owner.
pub(crate) fn run(set: &Arc<Set>, stop: &StopToken) {
    let mut pause = 0;
    let mut told = None;
    while !stop.should_stop() {
        if !set.phase().owns() {
            set.send.wait_timeout_ms(1000);
            continue;
        }
        match session(set, stop) {
            Ok(()) => pause = 0,
            Err(e) => {
                if told != Some(e) {
                    pr_warn!(
                        "set {}: no session with the partner: {e:?}\n",
                        set.name.as_str()
                    );
                    told = Some(e);
                }
            }
        }
        // Backoff: 50 ms, doubled up to a second. Appends signal the same event: wait it out.
        pause = (pause * 2).clamp(50, 1000);
        let until = time::now_ns() + pause * 1_000_000;
        while !stop.should_stop() {
            let now = time::now_ns();
            if now >= until {
                break;
            }
            set.send.wait_timeout_ms((until - now).div_ceil(1_000_000));
        }
    }
}

#[inline(never)]
fn session(set: &Arc<Set>, stop: &StopToken) -> Result {
    let addr = set.partner.as_ref().ok_or(EINVAL)?;
    let journal = set.journal().ok_or(EINVAL)?;
    let (interval, misses) = set.settings.heartbeat();
    let patience_ms = interval.saturating_mul(u64::from(misses)) / 1_000_000;
    let conn = Arc::new(TcpStream::connect(&set.ns, addr, patience_ms)?, GFP_KERNEL)?;
    conn.set_recv_timeout_ms((interval / 1_000_000).max(1));
    conn.set_user_timeout_ms(u32::try_from(patience_ms).unwrap_or(u32::MAX));
    set.link.hold(&conn)?;
    let mut out = Outbox::new(&conn);
    let result = greet(set, journal, &conn, &mut out, patience_ms).and_then(|have| match have {
        Some(have) => mirror(set, journal, &conn, out, have, stop),
        None => Ok(()),
    });
    set.link.drop_conn();
    result
}

/// What the partner has already.
struct Have {
    /// What it has welcomed.
    hello: Hello,
    /// Its copy is complete and stays so.
    trusted: bool,
    /// Then, how far it goes.
    ends: Ack,
    /// Which of its frames comes next.
    turn: Turn,
}

/// HELLO and its answer. `Ok(None)`: there is nothing to mirror to; the phase says what happened.
#[inline(never)]
fn greet(
    set: &Arc<Set>,
    journal: &Journal,
    conn: &TcpStream,
    out: &mut Outbox,
    patience_ms: u64,
) -> Result<Option<Have>> {
    let (mine, hello) = {
        let durable = set.durable.lock();
        let mine = durable.ok_or(EINVAL)?;
        if mine.role != Role::Owner {
            // The partner's HELLO came first: this node stands by already.
            return Ok(None);
        }
        let reign = if journal.reign_has_begun() {
            mine.generation
        } else {
            mine.generation.next().ok_or(EOVERFLOW)?
        };
        let hello = Hello::of_owner(&mine, reign, set.members_wanted, set.record.is_some());
        (mine, hello)
    };
    set.link.lease.begin();
    set.link.lease.sends(out.frames.next(), time::boot_ns());
    out.send(Kind::Hello, false, mine.generation, &hello.seal())?;
    let mut buffer = [0u8; FRAME_BYTES + ACK_BYTES];
    let mut inbox = Inbox::new(&mut buffer, Turn::default());
    let until = time::now_ns() + patience_ms * 1_000_000;
    let late = || {
        if time::now_ns() < until {
            Ok(())
        } else {
            Err(ETIMEDOUT)
        }
    };
    let (frame, payload) = inbox.next(conn, late)?;
    set.link.hear();
    match frame.kind {
        Kind::Welcome if frame.generation != hello.reign => Err(EBADMSG),
        Kind::Welcome => {
            set.link.lease.heard(frame.heard);
            set.link.refused.store(0, Ordering::Relaxed);
            let ends = Ack::open(payload, journal.geometry.lanes()).map_err(|_| EBADMSG)?;
            let have = Have {
                hello,
                trusted: frame.flag,
                ends,
                turn: inbox.into_turn(),
            };
            let heads = || journal.lanes.iter().map(|l| l.lane.head());
            if let Some(lane) = ends.ahead(heads()) {
                // What it has was durable here before it was sent.
                ratelimited!(
                    pr_err,
                    "set {}: the partner has {} records of lane {}, this node only {}: this log has lost \
                     some; let the partner take over\n",
                    set.name.as_str(),
                    ends.at(lane),
                    lane,
                    heads().nth(lane.into()).unwrap_or(0)
                );
                return Err(EUCLEAN);
            }
            recovery::begin_reign(set, journal, hello.reign, false)?;
            Ok(Some(have))
        }
        Kind::Refuse => {
            let bytes: &[u8; REFUSAL_BYTES] = payload.try_into().map_err(|_| EBADMSG)?;
            let refusal = Refusal::open(bytes).map_err(|_| EBADMSG)?;
            match partner::refused(&mine, &refusal) {
                AfterRefusal::StandBy => recovery::stand_by(set, &refusal),
                AfterRefusal::Conflict => set.enter(
                    Phase::Fenced,
                    format_args!(
                        "both partners say that they own the set in generation {}; decide which one is \
                         right, and remove the log's superblock of the other",
                        mine.generation
                    ),
                ),
                AfterRefusal::Retry => {
                    // Once for each reason: it is tried every second.
                    let reason = refusal.reason as u32;
                    if set.link.refused.swap(reason, Ordering::Relaxed) != reason {
                        pr_warn!(
                            "set {}: the partner refuses: {}\n",
                            set.name.as_str(),
                            refusal.reason.as_str()
                        );
                    }
                    return Err(EAGAIN);
                }
            }
            Ok(None)
        }
        _ => Err(EBADMSG),
    }
}

/// What both threads of a session share.
struct Session {
    conn: Arc<TcpStream>,
    dead: AtomicBool,
    /// For each lane, what the partner has said that it has.
    stored: [AtomicU64; MAX_LANES],
}

impl Session {
    fn stored(&self) -> impl Iterator<Item = u64> + '_ {
        self.stored.iter().map(|s| s.load(Ordering::Acquire))
    }
}

/// How far a session has sent the log.
struct Sending {
    session: Arc<Session>,
    out: Outbox,
    sent: Sent,
    /// When something was sent last, by the clock of [`time::boot_ns`].
    last: u64,
}

impl Sending {
    /// Sends what the lanes have, of each at most [`BATCH`] records; answers how many.
    #[inline(never)]
    fn records(&mut self, set: &Set, journal: &Journal) -> Result<u64> {
        let mut records = 0u64;
        for locked in journal.lanes.iter() {
            let lane = &locked.lane;
            let mut next = self.sent.next(lane.index());
            let stop = lane.head().min(next.saturating_add(BATCH as u64));
            while next < stop {
                // A record that is not retired can't be gone while the session lasts.
                let run = lane.run(next, stop).ok_or(ESTALE)?;
                if records == 0 {
                    self.sends(set);
                }
                next = next.saturating_add(u64::from(run.records));
                self.send_run(set, journal, &run, next < stop)?;
                self.sent.sent(lane.index(), &run);
                records = records.saturating_add(u64::from(run.records));
            }
        }
        self.sent.gathered(records);
        Ok(records)
    }

    /// Something is about to be sent.
    fn sends(&mut self, set: &Set) {
        self.last = time::boot_ns();
        set.link.lease.sends(self.out.frames.next(), self.last);
    }

    /// Records that follow each other: frame, headers and data, straight from the log.
    fn send_run(&mut self, set: &Set, journal: &Journal, run: &Run, more: bool) -> Result {
        let heads = RECORD_HEADER_BYTES * usize::from(run.records);
        let spans = [
            set.log.span(run.headers_at as usize, heads)?,
            set.log
                .span(run.data_at as usize, run.data_bytes as usize)?,
        ];
        self.out.send_run(run, journal.reign(), &spans, more)
    }
}

/// A write is in the log and has to be at the partner: it is sent here, or the sender's thread is woken
/// ([`Sent::submitter_sends`]).
#[inline]
pub(crate) fn send_or_signal(set: &Set, journal: &Journal) {
    if !(set.link.open.load(Ordering::Acquire) && send_lone(set, journal)) {
        set.send.signal();
    }
}

fn send_lone(set: &Set, journal: &Journal) -> bool {
    let Some(mut sending) = set.link.sending.try_lock() else {
        return false;
    };
    let Some(s) = &mut *sending else {
        return false;
    };
    let pending = journal.lanes.iter().filter_map(|l| {
        let lane = &l.lane;
        lane.run(s.sent.next(lane.index()), lane.head())
    });
    if !s.sent.submitter_sends(s.session.stored(), pending) {
        return false;
    }
    if s.records(set, journal).is_err() {
        s.session.dead.store(true, Ordering::Release);
        s.session.conn.shutdown();
        return false;
    }
    true
}

#[inline(never)]
fn mirror(
    set: &Arc<Set>,
    journal: &Journal,
    conn: &Arc<TcpStream>,
    out: Outbox,
    have: Have,
    stop: &StopToken,
) -> Result {
    // From here on space is only freed when the partner has the mark, so the records behind this
    // mark stay where they are while they are sent.
    let begin = {
        let durable = set.durable.lock();
        if durable.is_none_or(|d| !have.hello.holds(&d)) {
            return Err(EAGAIN);
        }
        let mut marks = journal.marks.lock();
        marks.partner_has = 0;
        let state = journal.connected(have.trusted)?;
        set.link.set_up(true);
        pr_info!(
            "set {}: partner connected, its copy is {}\n",
            set.name.as_str(),
            if matches!(state, Mirror::CatchingUp { trusted: true, .. }) {
                "complete"
            } else {
                "to be brought up to date"
            }
        );
        marks.mark
    };
    let session = Arc::new(
        Session {
            conn: conn.clone(),
            dead: AtomicBool::new(false),
            stored: [const { AtomicU64::new(0) }; MAX_LANES],
        },
        GFP_KERNEL,
    )?;
    let listener = {
        let name = set.name;
        let (set, session, turn) = (set.clone(), session.clone(), have.turn);
        Thread::spawn(format_args!("rcopy_ack/{}", name.as_str()), move |_| {
            let end = hear(&set, &session, turn);
            pr_info!(
                "set {}: the partner's session ends: {end:?}\n",
                set.name.as_str()
            );
            session.dead.store(true, Ordering::Release);
            session.conn.shutdown();
            set.send.signal();
        })
    };
    let result = match &listener {
        Ok(_) => {
            *set.link.sending.lock() = Some(Sending {
                session: session.clone(),
                out,
                sent: Sent::beginning(&begin, &have.ends),
                last: 0,
            });
            let mut sender = Sender {
                set,
                journal,
                session: &session,
                mark_sent: begin.counter,
            };
            sender.run(&begin.seal(crc32c, journal.key), stop)
        }
        Err(e) => Err(*e),
    };
    conn.shutdown();
    if let Ok(l) = listener {
        l.stop();
    }
    // Nobody sends any more, and nobody will.
    set.link.open.store(false, Ordering::Release);
    *set.link.sending.lock() = None;
    set.link.set_up(false);
    let before = journal.mirror();
    let after = journal
        .on_mirror(MirrorEvent::Disconnected)
        .map_err(illegal)?;
    if before == Mirror::Mirrored && after == Mirror::Lost && set.phase() == Phase::Serving {
        pr_warn!(
            "set {}: the partner is lost: writes wait for it\n",
            set.name.as_str()
        );
        set.event();
    }
    set.ship.signal();
    set.keep.signal();
    result
}

fn illegal(e: partner::Illegal) -> Error {
    pr_err!("partner link: {:?} cannot happen in {:?}\n", e.1, e.0);
    EINVAL
}

struct Sender<'a> {
    set: &'a Arc<Set>,
    journal: &'a Journal,
    session: &'a Session,
    mark_sent: u64,
}

impl Sender<'_> {
    fn sending<T>(&self, f: impl FnOnce(&mut Sending) -> Result<T>) -> Result<T> {
        let mut sending = self.set.link.sending.lock();
        match &mut *sending {
            Some(s) => f(s),
            None => Err(ECONNRESET),
        }
    }

    #[inline(never)]
    fn run(&mut self, begin: &[u8; MARK_BYTES], stop: &StopToken) -> Result {
        let trusted = matches!(
            self.journal.mirror(),
            Mirror::CatchingUp { trusted: true, .. }
        );
        self.control(Kind::Begin, trusted, begin)?;
        loop {
            if stop.should_stop() || self.set.phase() == Phase::Stopping {
                return self.control(Kind::Bye, false, &[]);
            }
            if !self.set.phase().owns() {
                return Ok(());
            }
            if self.session.dead.load(Ordering::Acquire) {
                return Err(ECONNRESET);
            }
            // A mark does not wait for the records to end: a busy host would keep it for ever.
            let more = self.records()?;
            self.mark()?;
            if more {
                continue;
            }
            if let Mirror::CatchingUp { alone, .. } = self.journal.mirror() {
                if self.all_stored()? {
                    self.catch_up(alone)?;
                    continue;
                }
            }
            // Not before COMPLETE has come: the thread that hears it waits for what the swap holds.
            if self.set.handover.load(Ordering::Acquire) == handover::WANTED
                && self.journal.mirror() == Mirror::Mirrored
                && self.all_stored()?
            {
                handover::step_down(self.set)?;
                return self.control(Kind::Handover, false, &[]);
            }
            let (interval, _) = self.set.settings.heartbeat();
            let last = self.sending(|s| Ok(s.last))?;
            let idle = time::boot_ns().saturating_sub(last);
            if idle >= interval {
                self.control(Kind::Ping, false, &[])?;
                continue;
            }
            self.set
                .send
                .wait_timeout_ms(((interval - idle) / 1_000_000).max(1));
        }
    }

    fn control(&mut self, kind: Kind, flag: bool, payload: &[u8]) -> Result {
        self.sending(|s| {
            s.sends(self.set);
            s.out.send(kind, flag, self.journal.reign(), payload)
        })
    }

    /// Sends what the lanes have; answers whether there was anything.
    fn records(&mut self) -> Result<bool> {
        Ok(self.sending(|s| s.records(self.set, self.journal))? > 0)
    }

    /// Whether the partner has said that it has whatever was sent. Only then is it worth waiting for.
    fn all_stored(&self) -> Result<bool> {
        self.sending(|s| Ok(s.sent.all_stored(s.session.stored())))
    }

    /// Sends the newest mark, once every record in front of its tails was sent.
    #[inline(never)]
    fn mark(&mut self) -> Result {
        let mark = {
            let marks = self.journal.marks.lock();
            if marks.mark.counter <= self.mark_sent {
                return Ok(());
            }
            marks.mark
        };
        if self.sending(|s| Ok(s.sent.covers(&mark)))? {
            self.control(Kind::Mark, false, &mark.seal(crc32c, self.journal.key))?;
            self.mark_sent = mark.counter;
        }
        Ok(())
    }

    /// The partner has everything that was there. Now writes wait for the partner again; what was
    /// appended in between is sent as well; then the partner may call its copy complete.
    fn catch_up(&mut self, alone: bool) -> Result {
        if alone && self.set.read_record() == Found::Unreadable {
            // It could not take back what it says of the partner's mirror, and writes would wait.
            ratelimited!(
                pr_warn,
                "set {}: the partner has everything, but the ownership record cannot be read: this node \
                 stays alone\n",
                self.set.name.as_str()
            );
            self.control(Kind::Ping, false, &[])?;
            self.set.send.wait_timeout_ms(1000);
            return Ok(());
        }
        self.journal
            .on_mirror(MirrorEvent::CaughtUp)
            .map_err(illegal)?;
        if alone {
            // Durable before the partner can be complete: otherwise this node could come back and
            // serve alone while the partner, rightly, takes over.
            let mut durable = self.set.durable.lock();
            let mine = durable.ok_or(EINVAL)?;
            self.set
                .write_super(&mut durable, ownership::caught_up(&mine))?;
        }
        self.journal.settle_appends();
        while self.records()? {}
        self.mark()?;
        if self.set.phase() == Phase::Waiting {
            // The reign's first mark. This node writes it once the partner has it: nothing is
            // appended before, so it will be the same.
            let mark = self.journal.first_mark();
            self.control(Kind::Mark, false, &mark.seal(crc32c, self.journal.key))?;
            self.mark_sent = mark.counter;
        }
        self.control(Kind::Synced, false, &[])
    }
}

/// The other thread: hears what is durable at the partner until the session ends.
#[inline(never)]
fn hear(set: &Arc<Set>, session: &Session, turn: Turn) -> Result {
    let journal = set.journal().ok_or(EINVAL)?;
    let (interval, misses) = set.settings.heartbeat();
    let mut beat = Heartbeat::new(interval, misses, time::now_ns());
    // Some acknowledgements at once.
    let mut buffer = [0u8; 2 * (FRAME_BYTES + ACK_BYTES)];
    let mut inbox = Inbox::new(&mut buffer, turn);
    let mut stored = [0u64; MAX_LANES];
    loop {
        let dead = &session.dead;
        let (frame, payload) = inbox.next(&session.conn, || {
            if dead.load(Ordering::Acquire) {
                Err(ESHUTDOWN)
            } else if beat.lost(time::now_ns()) {
                Err(ETIMEDOUT)
            } else {
                Ok(())
            }
        })?;
        beat.heard(set.link.hear());
        set.link.lease.heard(frame.heard);
        match frame.kind {
            Kind::Ack => {
                let ack = Ack::open(payload, journal.geometry.lanes()).map_err(|_| EBADMSG)?;
                let news = {
                    let mut marks = journal.marks.lock();
                    let heads = journal.lanes.iter().map(|l| l.lane.head());
                    if !ack.can_be(heads, marks.mark.counter) {
                        ratelimited!(
                            pr_err,
                            "set {}: the partner acknowledges what this node did not send (mark {} of {}): the \
                             session ends\n",
                            set.name.as_str(),
                            ack.mark,
                            marks.mark.counter
                        );
                        return Err(EBADMSG);
                    }
                    let news = ack.mark > marks.partner_has;
                    marks.partner_has = marks.partner_has.max(ack.mark);
                    news
                };
                stored = ack.stored;
                for (s, n) in session.stored.iter().zip(&stored) {
                    s.store(*n, Ordering::Release);
                }
                let handing_over = set.handover.load(Ordering::Relaxed) == handover::WANTED;
                if handing_over || matches!(journal.mirror(), Mirror::CatchingUp { .. }) {
                    set.send.signal();
                }
                if news {
                    set.ship.signal();
                }
                // Cumulative: the newest says it all.
                if !inbox.has_more() && journal.mirror().acks_count() {
                    draw_on(set, journal, &stored);
                }
            }
            Kind::Complete => {
                // First the record takes back what it says of the partner's copy, then that counts: an
                // acknowledged write is never at a partner that may not take over.
                take_back(set)?;
                journal.on_mirror(MirrorEvent::Completed).map_err(illegal)?;
                journal.set_limit(Seq::MAX);
                pr_info!(
                    "set {}: the partner's copy is complete\n",
                    set.name.as_str()
                );
                draw_on(set, journal, &stored);
                set.link.open.store(true, Ordering::Release);
                set.event();
                if set.phase() == Phase::Waiting {
                    recovery::first_mark(set, journal)?;
                    set.enter(
                        Phase::Replaying,
                        format_args!("the partner has the log as well"),
                    );
                }
            }
            Kind::Ping => {}
            _ => return Err(EBADMSG),
        }
    }
}

/// The partner's copy is complete: the ownership record says so.
#[inline(never)]
fn take_back(set: &Set) -> Result {
    // Nobody steps down, and no HELLO is answered, while a record of this node's is on its way: it would
    // land behind the partner's back. Who steps down meanwhile may wait for this session to end.
    let _control = loop {
        if let Some(control) = set.control.try_lock() {
            break control;
        }
        if !set.phase().owns() {
            return Err(ESTALE);
        }
        time::msleep(1);
    };
    if !set.phase().owns() {
        return Err(ESTALE);
    }
    // As it is now: the partner might have taken over in between.
    let found = set.read_record_to_change()?;
    let mine = (*set.durable.lock()).ok_or(EINVAL)?;
    let new = ownership::completed(&mine, &found);
    recovery::write_record(set, new.as_ref())
}

/// The partner has everything in front of these positions: writes that waited for it go on.
pub(crate) fn draw_on(set: &Set, journal: &Journal, stored: &[u64; MAX_LANES]) {
    let mut mirrored = journal.mirrored.lock();
    let mut now = None;
    for locked in journal.lanes.iter() {
        let lane = &locked.lane;
        let i = usize::from(lane.index());
        let (Some(from), Some(to)) = (mirrored.get_mut(i), stored.get(i)) else {
            continue;
        };
        // What is retired already has nobody waiting.
        let start = (*from).max(lane.tail());
        let end = (*to).min(lane.head());
        for lane_seq in start..end {
            let Some(slot) = lane.slot(lane_seq) else {
                continue;
            };
            let record = lane.record(lane_seq);
            if slot.reach(stage::MIRRORED) & stage::MIRRORED != 0 {
                // Logged while nobody was waited for. In synchronous mode its bio waits for the remote.
                continue;
            }
            let mut bio = slot.host.take();
            let at = Position {
                lane: lane.index(),
                lane_seq,
            };
            let now = *now.get_or_insert_with(|| set.latency.now());
            set.mirrored(journal, at, record.as_ref(), bio.as_mut(), now);
            if let Some(r) = record.filter(|r| r.op == Op::Cancel) {
                // Its sequence stands where others have their sector.
                append::settle_cancel(journal, Seq(r.extent.sector));
                slot.reach(stage::LOCAL | stage::ACKED);
                if let Some(bio) = bio {
                    append::tell_failure(set, bio);
                }
            } else if let Some(bio) = bio {
                append::write_local(set, journal, bio);
            }
        }
        *from = (*from).max(end);
    }
}
