// SPDX-License-Identifier: GPL-2.0

//! The other side of the partner link: a listener that answers HELLO and keeps the mirror.

use crate::{
    errno::{Errno, Result},
    exec::{self, MS},
    frames::{exactly, Inbox, Outbox},
    media::crc,
    net::Stream,
    plant::{is, Mistake},
    set::{Phase, Set},
};
use core_crate::{
    format::{Copy_, Super},
    layout::{MARK_OFFSET, SLOT_BYTES},
    partner::{self, Answer, Heartbeat},
    plant::{planted, Plant},
    receiver::{Receiver, Records, Reject},
    units::Generation,
    wire::{Hello, Kind, Reason, Refusal, ACK_BYTES},
};
use std::rc::Rc;

/// The listener thread. It serves one connection at a time.
pub async fn run(set: Rc<Set>) {
    let listener = set.world.net.listen(set.node);
    while set.phase() != Phase::Stopping {
        let Some(conn) = listener.accept(1000 * MS).await else {
            continue;
        };
        let end = serve(&set, &conn).await;
        conn.shutdown(&set.world.net);
        if let Err(e) = end {
            set.say(|| format!("the owner's session ends: {e:?}"));
        }
    }
}

async fn serve(set: &Rc<Set>, conn: &Stream) -> Result {
    let until = exec::now() + set.cfg().patience();
    let late = || {
        if exec::now() < until && set.phase() != Phase::Stopping {
            Ok(())
        } else {
            Err(Errno::TimedOut)
        }
    };
    let mut inbox = Inbox::new(conn);
    let mut out = Outbox::new(conn);
    let (frame, payload) = inbox.next(set.cfg().interval(), late).await?;
    if frame.kind != Kind::Hello {
        return Err(Errno::BadMsg);
    }
    let hello = Hello::open(exactly(&payload)?).map_err(|_| Errno::BadMsg)?;
    out.frames.hears(&frame);
    let Some(mut session) = decide(set, &mut out, &hello).await? else {
        return Ok(());
    };
    let mut result = set.link.hold(set, conn);
    if result.is_ok() {
        result = welcome(set, inbox, &mut out, &mut session).await;
    }
    if session.trusted {
        *set.receiver.borrow_mut() = Some(session.receiver);
    }
    set.link.set_up(false);
    set.link.drop_conn(set);
    set.keep.signal();
    result
}

/// A session that may begin.
struct Welcome {
    durable: Super,
    trusted: bool,
    receiver: Box<Receiver>,
}

async fn welcome(set: &Rc<Set>, inbox: Inbox, out: &mut Outbox, session: &mut Welcome) -> Result {
    let (reign, trusted) = (session.durable.generation, session.trusted);
    let mut bytes = [0u8; ACK_BYTES];
    let have = session.receiver.ack();
    let have = have.seal(&mut bytes);
    out.send(set, Kind::Welcome, trusted, reign, have)?;
    set.link.set_up(true);
    set.say(|| format!("mirrors in generation {reign}, trusted: {trusted}"));
    receive(set, inbox, out, session).await
}

/// Finds out where this node's copy ends, which is complete. `None`: it is damaged.
fn resume(set: &Set, mine: &Super, known: Option<Box<Receiver>>) -> Option<Box<Receiver>> {
    let key = Set::key(&mine.uuid);
    if let Some(mut known) = known {
        if known.again(key, mine.geometry, mine.generation) {
            return Some(known);
        }
    }
    let mut receiver = Box::new(Receiver::new(key, mine.geometry, mine.generation));
    receiver.read(crc, &*set.log).ok()?;
    Some(receiver)
}

/// Answers a HELLO. `Ok(Some)`: welcome, and durably so.
async fn decide(set: &Rc<Set>, out: &mut Outbox, hello: &Hello) -> Result<Option<Welcome>> {
    // A takeover or a step-down does not happen at the same time.
    let _control = set.control.lock().await;
    let durable = *set.durable.borrow();
    let known = durable.map_or(Generation(0), |s| s.generation);
    let busy = match set.phase() {
        Phase::Assembling | Phase::TakingOver | Phase::HandingOver | Phase::Stopping => {
            Some(Reason::Busy)
        }
        Phase::Fenced => Some(Reason::Fenced),
        Phase::Failed => Some(Reason::Failed),
        _ => None,
    };
    let answer = match busy {
        Some(reason) => Answer::Refuse(Refusal {
            reason,
            generation: known,
        }),
        None => partner::answer(durable.as_ref(), &set.here(), hello),
    };
    match answer {
        Answer::Refuse(refusal) => {
            out.send(set, Kind::Refuse, false, known, &refusal.seal())?;
            Ok(None)
        }
        Answer::Welcome {
            durable: mut new,
            mut trusted,
            step_down,
        } => {
            let why = || format!("the partner owns the set in generation {}", hello.reign);
            // Before it is answered, and no takeover has begun: the owner may go by it.
            set.link.hear();
            if step_down && set.phase() != Phase::Waiting {
                set.enter(Phase::Fenced, why);
                set.write_super(new);
                return Ok(None);
            }
            let known = set.receiver.take();
            let mut receiver = Box::new(Receiver::new(
                Set::key(&new.uuid),
                new.geometry,
                new.generation,
            ));
            if trusted {
                match resume(set, &new, known) {
                    Some(found) => receiver = found,
                    None => {
                        set.world.damaged_copy(set.node);
                        trusted = false;
                        new.copy = Copy_::Incomplete;
                    }
                }
            }
            let welcome = Welcome {
                durable: new,
                trusted,
                receiver,
            };
            if is(Mistake::WelcomeBeforeDurable) && !step_down {
                let late = set.clone();
                *set.durable.borrow_mut() = Some(new);
                exec::spawn(Some(set.node), async move {
                    exec::sleep(20 * MS).await;
                    if *late.durable.borrow() == Some(new) {
                        late.write_super(new);
                    }
                });
                return Ok(Some(welcome));
            }
            set.write_super(new);
            if step_down {
                // Never replayed (rule 7): a later takeover reads the mirror.
                set.forget_journal();
                set.enter(Phase::Standby, why);
            }
            Ok(Some(welcome))
        }
    }
}

async fn receive(
    set: &Rc<Set>,
    mut inbox: Inbox,
    out: &mut Outbox,
    session: &mut Welcome,
) -> Result {
    let durable = session.durable;
    let receiver = &mut *session.receiver;
    let key = Set::key(&durable.uuid);
    let (interval, misses) = (set.cfg().interval(), set.cfg().misses);
    let mut beat = Heartbeat::new(interval, misses, exec::now());
    let here = |set: &Set| set.phase() == Phase::Standby;
    let bad = |r| {
        // A bit that turned is found by a checksum.
        if r != Reject::Corrupt {
            set.world
                .refused(set.node, format!("its owner's frame: {r:?}"));
        }
        Errno::BadMsg
    };
    loop {
        let idle = || {
            if beat.lost(exec::now()) {
                Err(Errno::TimedOut)
            } else if !here(set) {
                Err(Errno::Shutdown)
            } else {
                Ok(())
            }
        };
        let (frame, payload) = inbox.next(interval, idle).await?;
        out.frames.hears(&frame);
        exec::preempt().await;
        let older = frame.generation != durable.generation && !planted(Plant::OlderFrames);
        if !here(set) || older {
            // Taking over, or a frame of another reign: this connection is revoked (rule 7).
            return Err(Errno::Stale);
        }
        beat.heard(exec::now());
        set.link.hear();
        match frame.kind {
            Kind::Begin => {
                let mark = receiver.begin(crc, exactly(&payload)?).map_err(bad)?;
                if !session.trusted {
                    // Marks of an earlier life may have larger counters.
                    set.log.store(MARK_OFFSET, &[0; 2 * SLOT_BYTES as usize]);
                    set.log.fence();
                }
                set.write_mark(key, &mark);
            }
            Kind::Records => {
                let mut left = Records::new(frame.records, &payload).ok_or(Errno::BadMsg)?;
                while let Some((head, mine, place)) =
                    receiver.next_of(crc, &mut left).map_err(bad)?
                {
                    let sum = if mine.is_empty() {
                        0
                    } else {
                        crc(receiver.seed(), mine)
                    };
                    if is(Mistake::AckBeforeStored) {
                        receiver.stored(place.verified(sum).map_err(bad)?);
                        acknowledge(set, out, receiver, durable.generation)?;
                        exec::pass(0, 3 * MS).await;
                    }
                    if !mine.is_empty() {
                        set.log.store(place.data_at, mine);
                    }
                    let store = place.verified(sum).map_err(|_| {
                        // What stands there wrongly must not come down on what somebody else will
                        // write there.
                        set.log.fence();
                        Errno::BadMsg
                    })?;
                    set.log.store(store.header_at, head);
                    if !is(Mistake::MirrorUnfenced) {
                        set.log.fence();
                    }
                    if !is(Mistake::AckBeforeStored) {
                        receiver.stored(store);
                    }
                }
            }
            Kind::Mark => {
                let mark = receiver.mark(crc, exactly(&payload)?).map_err(bad)?;
                set.write_mark(key, &mark);
            }
            Kind::Synced => {
                receiver.synced().map_err(bad)?;
                complete(set, &durable)?;
                session.trusted = true;
                acknowledge(set, out, receiver, durable.generation)?;
                out.send(set, Kind::Complete, false, durable.generation, &[])?;
                continue;
            }
            Kind::Ping => {}
            Kind::Handover if session.trusted => {
                set.link.forget_heard();
                set.handed
                    .set(set.durable.borrow().map_or(0, |s| s.counter));
                set.keep.signal();
                return Ok(());
            }
            Kind::Bye => {
                // Nobody died: no takeover without being asked.
                set.link.forget_heard();
                return Ok(());
            }
            _ => return Err(Errno::BadMsg),
        }
        // Cumulative: while more is waiting to be read, one acknowledgement will do for all of it.
        if frame.kind == Kind::Records && inbox.readable() {
            continue;
        }
        acknowledge(set, out, receiver, durable.generation)?;
    }
}

fn acknowledge(set: &Set, out: &mut Outbox, receiver: &Receiver, reign: Generation) -> Result {
    let mut bytes = [0u8; ACK_BYTES];
    let ack = receiver.ack();
    out.send(set, Kind::Ack, false, reign, ack.seal(&mut bytes))
}

/// The owner has sent all: from now on this copy may be replayed.
fn complete(set: &Set, session: &Super) -> Result {
    let mine = set.durable.borrow().ok_or(Errno::Invalid)?;
    if mine.generation != session.generation {
        return Err(Errno::Stale);
    }
    if mine.copy != Copy_::Complete {
        set.write_super(Super {
            counter: mine.counter + 1,
            copy: Copy_::Complete,
            ..mine
        });
    }
    Ok(())
}
