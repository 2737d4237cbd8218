// SPDX-License-Identifier: GPL-2.0

//! The owner's side of the partner link: one thread sends the log as it grows, another hears what is
//! durable at the partner.

use crate::{
    append,
    errno::{Errno, Result},
    exec::{self, Event, MS},
    frames::{exactly, Inbox, Outbox},
    handover,
    journal::Journal,
    media::crc,
    net::Stream,
    plant::{is, Mistake},
    recovery,
    set::{Phase, Set},
};
use core_crate::{
    format::{Role, Super},
    lane::stage,
    lease::{self, in_doubt, Lease},
    limits::MAX_LANES,
    ownership::{self, Found},
    partner::{self, AfterRefusal, Heartbeat, Mirror, MirrorEvent},
    plant::{planted, Plant},
    sending::Sent,
    units::{Op, Seq},
    wire::{Ack, Hello, Kind, Refusal},
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Records that are sent before marks and pings get their turn.
const BATCH: u64 = 4;

/// The connection to the partner, whichever side this node is on.
pub struct Link {
    conn: RefCell<Option<Stream>>,
    up: Cell<bool>,
    heard: Cell<u64>,
    /// The same, never forgotten.
    last: Cell<u64>,
    /// When this node was made.
    made: u64,
    pub lease: Lease,
    /// What the partner acknowledged in the last session (a mistake needs it).
    old: Cell<[u64; MAX_LANES]>,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            conn: RefCell::default(),
            up: Cell::new(false),
            heard: Cell::new(0),
            last: Cell::new(0),
            made: exec::now(),
            lease: Lease::default(),
            old: Cell::new([0; MAX_LANES]),
        }
    }
}

impl Link {
    pub fn is_up(&self) -> bool {
        self.up.get()
    }

    pub async fn wait_down(&self) {
        while self.is_up() {
            exec::sleep(MS).await;
        }
    }

    pub fn set_up(&self, up: bool) {
        self.up.set(up);
    }

    pub fn hear(&self) {
        self.heard.set(exec::now());
        self.last.set(exec::now());
    }

    /// Until when an owner that is there after all may answer reads without a look at its units.
    pub fn lease_ends(&self, patience: u64) -> u64 {
        lease::ends(self.last.get(), self.made, patience)
    }

    pub fn heard(&self) -> u64 {
        self.heard.get()
    }

    pub fn forget_heard(&self) {
        self.heard.set(0);
    }

    pub fn hold(&self, set: &Set, conn: &Stream) -> Result {
        if set.phase() == Phase::Stopping {
            return Err(Errno::Shutdown);
        }
        *self.conn.borrow_mut() = Some(conn.clone());
        Ok(())
    }

    pub fn drop_conn(&self, set: &Set) {
        if let Some(c) = self.conn.borrow_mut().take() {
            c.shutdown(&set.world.net);
        }
    }
}

impl Set {
    /// Whether what was read just now may have been the partner's already.
    pub fn in_doubt(&self) -> bool {
        let lease = || self.link.lease.holds(exec::now(), self.cfg().patience());
        let waits = self.mirror().is_some_and(Mirror::writes_wait);
        self.reservation.is_some() && in_doubt(waits, lease) && !is(Mistake::ReadsUndoubted)
    }
}

/// The sender thread of an owner.
pub async fn run(set: Rc<Set>) {
    let mut pause = 0;
    while set.phase() != Phase::Stopping {
        if !set.phase().owns() {
            set.send.wait_timeout(1000 * MS).await;
            continue;
        }
        match session(&set).await {
            Ok(()) => pause = 0,
            Err(e) => set.say(|| format!("no session with the partner: {e:?}")),
        }
        pause = (pause * 2).clamp(50, 1000);
        let until = exec::now() + pause * MS;
        while set.phase() != Phase::Stopping && exec::now() < until {
            set.send.wait_until(until).await;
        }
    }
}

async fn session(set: &Rc<Set>) -> Result {
    let journal = set.journal().ok_or(Errno::Invalid)?;
    let patience = set.cfg().patience();
    let conn = set.world.net.connect(set.node, patience).await?;
    set.link.hold(set, &conn)?;
    let mut out = Outbox::new(&conn);
    let result = match greet(set, &journal, &conn, &mut out).await {
        Ok(Some(have)) => mirror(set, &journal, &conn, out, have).await,
        Ok(None) => Ok(()),
        Err(e) => Err(e),
    };
    set.link.drop_conn(set);
    result
}

/// What the partner has already.
struct Have {
    hello: Hello,
    trusted: bool,
    ends: Ack,
    inbox: Inbox,
}

/// HELLO and its answer. `Ok(None)`: there is nothing to mirror to; the phase says what happened.
async fn greet(
    set: &Rc<Set>,
    journal: &Journal,
    conn: &Stream,
    out: &mut Outbox,
) -> Result<Option<Have>> {
    let mine = set.durable.borrow().ok_or(Errno::Invalid)?;
    if mine.role != Role::Owner {
        return Ok(None);
    }
    let reign = if journal.reign_has_begun() {
        mine.generation
    } else {
        mine.generation.next().ok_or(Errno::Invalid)?
    };
    let hello = Hello::of_owner(&mine, reign, set.cfg().members, set.record.is_some());
    set.link.lease.begin();
    set.link.lease.sends(out.frames.next(), exec::now());
    out.send(set, Kind::Hello, false, mine.generation, &hello.seal())?;
    let until = exec::now() + set.cfg().patience();
    let late = || {
        if exec::now() < until {
            Ok(())
        } else {
            Err(Errno::TimedOut)
        }
    };
    let mut inbox = Inbox::new(conn);
    let (frame, payload) = inbox.next(set.cfg().interval(), late).await?;
    set.link.hear();
    match frame.kind {
        Kind::Welcome if frame.generation != hello.reign => Err(Errno::BadMsg),
        Kind::Welcome => {
            set.link.lease.heard(frame.heard);
            let ends = Ack::open(&payload, journal.geometry.lanes()).map_err(|_| Errno::BadMsg)?;
            let trusted = frame.flag;
            let heads = journal.lanes.iter().map(|l| l.lane.head());
            if ends.ahead(heads).is_some() {
                set.world.owner_lost_records(set.node);
                return Err(Errno::Invalid);
            }
            let begins = !journal.reign_has_begun();
            recovery::begin_reign(set, journal, hello.reign, false).await?;
            if begins && is(Mistake::FloorsTooEarly) {
                recovery::first_mark(set, journal);
            }
            Ok(Some(Have {
                hello,
                trusted,
                ends,
                inbox,
            }))
        }
        Kind::Refuse => {
            let refusal = Refusal::open(exactly(&payload)?).map_err(|_| Errno::BadMsg)?;
            match partner::refused(&mine, &refusal) {
                AfterRefusal::StandBy => recovery::stand_by(set, &refusal).await,
                AfterRefusal::Conflict => {
                    set.world.two_owners();
                    set.enter(Phase::Fenced, || "both partners own the set".into());
                }
                AfterRefusal::Retry => {
                    set.say(|| format!("refused: {:?}", refusal.reason));
                    return Err(Errno::Again);
                }
            }
            Ok(None)
        }
        _ => Err(Errno::BadMsg),
    }
}

/// What both threads of a session share.
struct Session {
    conn: Stream,
    dead: Cell<bool>,
    /// For each lane, what the partner has said that it has.
    stored: Cell<[u64; MAX_LANES]>,
    heard_out: Event,
    ended: Cell<bool>,
}

async fn mirror(
    set: &Rc<Set>,
    journal: &Rc<Journal>,
    conn: &Stream,
    out: Outbox,
    have: Have,
) -> Result {
    let holds = |d: Super| {
        have.hello.holds(&d) || is(Mistake::AnswerOutlived) && d.generation == journal.reign()
    };
    if !set.durable.borrow().is_some_and(holds) {
        return Err(Errno::Again);
    }
    let begin = {
        let mut marks = journal.marks.borrow_mut();
        marks.partner_has = 0;
        let state = journal.connected(have.trusted)?;
        set.link.set_up(true);
        set.say(|| format!("partner connected, its copy is {}", state.as_str()));
        marks.mark
    };
    let session = Rc::new(Session {
        conn: conn.clone(),
        dead: Cell::new(false),
        stored: Cell::new([0; MAX_LANES]),
        heard_out: Event::default(),
        ended: Cell::new(false),
    });
    if is(Mistake::OldSessionsAcks) && journal.mirror().acks_count() {
        draw_on(set, journal, &set.link.old.get());
    }
    {
        let (set, journal, session) = (set.clone(), journal.clone(), session.clone());
        let inbox = have.inbox;
        exec::spawn(Some(set.node), async move {
            let end = hear(&set, &journal, &session, inbox).await;
            set.say(|| format!("the partner's session ends: {end:?}"));
            session.dead.set(true);
            session.conn.shutdown(&set.world.net);
            set.send.signal();
            session.ended.set(true);
            session.heard_out.signal();
        });
    }
    let mut sender = Sender {
        set,
        journal,
        session: &session,
        out,
        sent: Sent::beginning(&begin, &have.ends),
        mark_sent: begin.counter,
        last_sent: 0,
    };
    let result = sender.run(&begin.seal(crc, journal.key)).await;
    set.link
        .old
        .set(core::array::from_fn(|l| sender.sent.next(l as u16)));
    conn.shutdown(&set.world.net);
    session.dead.set(true);
    while !session.ended.get() {
        session.heard_out.wait_timeout(100 * MS).await;
    }
    set.link.set_up(false);
    let _ = journal.on_mirror(MirrorEvent::Disconnected)?;
    set.ship.signal();
    set.keep.signal();
    result
}

struct Sender<'a> {
    set: &'a Rc<Set>,
    journal: &'a Journal,
    session: &'a Session,
    out: Outbox,
    sent: Sent,
    mark_sent: u64,
    last_sent: u64,
}

impl Sender<'_> {
    async fn run(&mut self, begin: &[u8]) -> Result {
        let trusted = matches!(
            self.journal.mirror(),
            Mirror::CatchingUp { trusted: true, .. }
        );
        self.control(Kind::Begin, trusted, begin)?;
        loop {
            if self.set.phase() == Phase::Stopping {
                return self.control(Kind::Bye, false, &[]);
            }
            if !self.set.phase().owns() {
                return Ok(());
            }
            if self.session.dead.get() {
                return Err(Errno::Reset);
            }
            let more = self.records()?;
            exec::preempt().await;
            self.mark()?;
            if more {
                continue;
            }
            if let Mirror::CatchingUp { alone, .. } = self.journal.mirror() {
                if self.all_stored() {
                    self.catch_up(alone).await?;
                    continue;
                }
            }
            // Not before COMPLETE has come: the thread that hears it waits for what the swap holds.
            let complete =
                self.journal.mirror() == Mirror::Mirrored || is(Mistake::HandsOverIncomplete);
            if self.set.handover.get() == handover::WANTED && complete && self.all_stored() {
                handover::step_down(self.set).await?;
                return self.control(Kind::Handover, false, &[]);
            }
            let interval = self.set.cfg().interval();
            let idle = exec::now().saturating_sub(self.last_sent);
            if idle >= interval {
                self.control(Kind::Ping, false, &[])?;
                continue;
            }
            self.set.send.wait_timeout(interval - idle).await;
        }
    }

    fn control(&mut self, kind: Kind, flag: bool, payload: &[u8]) -> Result {
        self.last_sent = exec::now();
        let reign = self.journal.reign();
        self.set
            .link
            .lease
            .sends(self.out.frames.next(), self.last_sent);
        self.out.send(self.set, kind, flag, reign, payload)
    }

    /// Sends what the lanes have; answers whether there was anything.
    fn records(&mut self) -> Result<bool> {
        let mut records = 0;
        for locked in &self.journal.lanes {
            let lane = &locked.lane;
            let mut next = self.sent.next(lane.index());
            let stop = lane.head().min(next.saturating_add(BATCH));
            while next < stop {
                let run = lane.run(next, stop).ok_or(Errno::Stale)?;
                self.set
                    .link
                    .lease
                    .sends(self.out.frames.next(), exec::now());
                self.out.send_run(self.set, &run, self.journal.reign())?;
                next += u64::from(run.records);
                self.sent.sent(lane.index(), &run);
                records += u64::from(run.records);
            }
        }
        if records > 0 {
            self.last_sent = exec::now();
        }
        self.sent.gathered(records);
        Ok(records > 0)
    }

    /// Sends the newest mark, once every record in front of its tails was sent.
    fn mark(&mut self) -> Result {
        let mark = self.journal.marks.borrow().mark;
        if mark.counter <= self.mark_sent {
            return Ok(());
        }
        if self.sent.covers(&mark) {
            self.control(Kind::Mark, false, &mark.seal(crc, self.journal.key))?;
            self.mark_sent = mark.counter;
        }
        Ok(())
    }

    fn all_stored(&self) -> bool {
        self.sent.all_stored(self.session.stored.get().into_iter())
    }

    async fn catch_up(&mut self, alone: bool) -> Result {
        if alone && self.set.read_record().await == Found::Unreadable {
            // It could not take back what it says of the partner's mirror, and writes would wait.
            self.control(Kind::Ping, false, &[])?;
            self.set.send.wait_timeout(1000 * MS).await;
            return Ok(());
        }
        self.journal.on_mirror(MirrorEvent::CaughtUp)?;
        if alone {
            // Durable before the partner can be complete.
            let mine = self.set.durable.borrow().ok_or(Errno::Invalid)?;
            self.set.write_super(ownership::caught_up(&mine));
        }
        while self.records()? {}
        self.mark()?;
        if self.set.phase() == Phase::Waiting {
            // The reign's first mark. This node writes it once the partner has it.
            if !is(Mistake::FloorsTooEarly) {
                let mark = self.journal.first_mark();
                self.control(Kind::Mark, false, &mark.seal(crc, self.journal.key))?;
                self.mark_sent = mark.counter;
            }
        }
        if planted(Plant::MarkTakenBackTooEarly) {
            take_back(self.set).await?;
        }
        self.control(Kind::Synced, false, &[])
    }
}

/// The other thread: hears what is durable at the partner until the session ends.
async fn hear(set: &Rc<Set>, journal: &Journal, session: &Session, mut inbox: Inbox) -> Result {
    let (interval, misses) = (set.cfg().interval(), set.cfg().misses);
    let mut beat = Heartbeat::new(interval, misses, exec::now());
    let mut stored = [0u64; MAX_LANES];
    loop {
        let idle = || {
            if session.dead.get() {
                Err(Errno::Shutdown)
            } else if beat.lost(exec::now()) {
                Err(Errno::TimedOut)
            } else {
                Ok(())
            }
        };
        let (frame, payload) = inbox.next(interval, idle).await?;
        exec::preempt().await;
        beat.heard(exec::now());
        set.link.hear();
        set.link.lease.heard(frame.heard);
        match frame.kind {
            Kind::Ack => {
                let ack =
                    Ack::open(&payload, journal.geometry.lanes()).map_err(|_| Errno::BadMsg)?;
                let news = {
                    let mut marks = journal.marks.borrow_mut();
                    let heads = journal.lanes.iter().map(|l| l.lane.head());
                    if !ack.can_be(heads, marks.mark.counter) {
                        set.world.refused(set.node, "its partner's ACK".to_string());
                        return Err(Errno::BadMsg);
                    }
                    let news = ack.mark > marks.partner_has;
                    marks.partner_has = marks.partner_has.max(ack.mark);
                    news
                };
                stored = ack.stored;
                session.stored.set(stored);
                let handing_over = set.handover.get() == handover::WANTED;
                if handing_over || matches!(journal.mirror(), Mirror::CatchingUp { .. }) {
                    set.send.signal();
                }
                if journal.mirror().acks_count() {
                    draw_on(set, journal, &stored);
                }
                if news {
                    set.ship.signal();
                }
            }
            Kind::Complete => {
                take_back(set).await?;
                journal.on_mirror(MirrorEvent::Completed)?;
                journal.set_limit(Seq::MAX);
                set.say(|| "the partner's copy is complete".into());
                draw_on(set, journal, &stored);
                if set.phase() == Phase::Waiting {
                    if !is(Mistake::FloorsTooEarly) {
                        recovery::first_mark(set, journal);
                    }
                    set.enter(Phase::Replaying, || {
                        "the partner has the log as well".into()
                    });
                }
            }
            Kind::Ping => {}
            _ => return Err(Errno::BadMsg),
        }
    }
}

/// The partner's copy is complete: the ownership record says so.
async fn take_back(set: &Set) -> Result {
    let _control = loop {
        if let Some(control) = set.control.try_lock() {
            break control;
        }
        if !set.phase().owns() {
            return Err(Errno::Stale);
        }
        exec::sleep(MS).await;
    };
    if !set.phase().owns() {
        return Err(Errno::Stale);
    }
    let found = set.read_record_to_change().await?;
    let mine = set.durable.borrow().ok_or(Errno::Invalid)?;
    let new = ownership::completed(&mine, &found);
    recovery::write_record(set, new.as_ref()).await
}

/// The partner has everything in front of these positions: writes that waited for it go on.
pub fn draw_on(set: &Rc<Set>, journal: &Journal, stored: &[u64; MAX_LANES]) {
    let mut mirrored = journal.mirrored.borrow_mut();
    for locked in &journal.lanes {
        let lane = &locked.lane;
        let i = usize::from(lane.index());
        let start = mirrored[i].max(lane.tail());
        let end = stored[i].min(lane.head());
        for lane_seq in start..end {
            let Some(slot) = lane.slot(lane_seq) else {
                continue;
            };
            let record = lane.record(lane_seq);
            let before = slot.reach(stage::MIRRORED);
            if before & stage::MIRRORED != 0 && !is(Mistake::DrawnOnTwice) {
                // Logged while nobody was waited for. In synchronous mode its bio waits for the remote.
                continue;
            }
            let bio = slot.host.take();
            if let Some(r) = record.filter(|r| r.op == Op::Cancel) {
                append::settle_cancel(journal, Seq(r.extent.sector));
                slot.reach(stage::LOCAL | stage::ACKED);
                if let Some(bio) = bio {
                    append::tell_failure(set, bio);
                }
            } else if let Some(bio) = bio {
                append::write_local(set, journal, bio);
            }
        }
        mirrored[i] = mirrored[i].max(end);
    }
}
