// SPDX-License-Identifier: GPL-2.0

//! The other side of the partner link: a listener that answers HELLO and keeps the mirror.

use crate::{
    frames::{Inbox, Outbox},
    journal::Region,
    set::{Phase, Set},
};
use core::sync::atomic::Ordering;
use core_crate::{
    format::{Copy_, Super, MARK_BYTES},
    layout::MARK_OFFSET,
    limits::MAX_FRAME_PAYLOAD,
    partner::{self, Answer, Heartbeat},
    receiver::{Receiver, Records, Reject},
    units::Generation,
    wire::{Hello, Kind, Reason, Refusal, Turn, ACK_BYTES, FRAME_BYTES, HELLO_BYTES},
};
use kapi_crate::{
    net::{TcpListener, TcpStream},
    pmem::crc32c,
    thread::StopToken,
    time,
};
use kernel::{prelude::*, sync::Arc};

/// Room for the largest frame, and as much again so that what is left in front of the end has to be
/// moved seldom.
const BUFFER_BYTES: usize = 2 * (FRAME_BYTES + MAX_FRAME_PAYLOAD as usize);
/// While more arrives all the time, the owner hears at least after so many bytes.
const UNACKNOWLEDGED_BYTES: usize = 256 << 10;

/// The listener thread. It serves one connection at a time; a dead one is noticed by its heartbeat.
pub(crate) fn run(set: &Arc<Set>, stop: &StopToken) {
    let Some(addr) = set.listen.as_ref() else {
        return;
    };
    let mut buffer = match KVVec::from_elem(0u8, BUFFER_BYTES, GFP_KERNEL) {
        Ok(b) => b,
        Err(_) => {
            return set.enter(
                Phase::Failed,
                format_args!("no memory for the mirror's buffer"),
            )
        }
    };
    let mut told = false;
    while !stop.should_stop() {
        match listen(set, addr, stop, &mut buffer) {
            Ok(()) => return,
            Err(e) => {
                if !told {
                    pr_err!(
                        "set {}: cannot listen at {addr}: {e:?}\n",
                        set.name.as_str()
                    );
                    told = true;
                }
                time::msleep(200);
            }
        }
    }
}

fn listen(
    set: &Arc<Set>,
    addr: &kapi_crate::net::SockAddr,
    stop: &StopToken,
    buffer: &mut [u8],
) -> Result {
    let listener = Arc::new(TcpListener::bind(&set.ns, addr)?, GFP_KERNEL)?;
    set.link.hold_listener(&listener)?;
    while !stop.should_stop() {
        let conn = match listener.accept_timeout_ms(1000) {
            Ok(c) => c,
            Err(e) if e == ETIMEDOUT || e == EAGAIN => continue,
            Err(e) if stop.should_stop() || set.phase() == Phase::Stopping => {
                let _ = e;
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let Ok(conn) = Arc::new(conn, GFP_KERNEL) else {
            continue;
        };
        let end = serve(set, &conn, buffer);
        conn.shutdown();
        if let Err(e) = end {
            pr_info!(
                "set {}: the owner's session ends: {e:?}\n",
                set.name.as_str()
            );
        }
    }
    Ok(())
}

#[inline(never)]
fn serve(set: &Arc<Set>, conn: &Arc<TcpStream>, buffer: &mut [u8]) -> Result {
    let (interval, misses) = set.settings.heartbeat();
    let patience = interval.saturating_mul(u64::from(misses));
    conn.set_recv_timeout_ms((interval / 1_000_000).max(1));
    conn.set_user_timeout_ms(u32::try_from(patience / 1_000_000).unwrap_or(u32::MAX));
    let mut inbox = Inbox::new(buffer, Turn::default());
    let mut out = Outbox::new(conn);
    let until = time::now_ns().saturating_add(patience);
    let late = || {
        if time::now_ns() < until && set.phase() != Phase::Stopping {
            Ok(())
        } else {
            Err(ETIMEDOUT)
        }
    };
    let (frame, payload) = inbox.next(conn, late)?;
    if frame.kind != Kind::Hello {
        return Err(EBADMSG);
    }
    let bytes: &[u8; HELLO_BYTES] = payload.try_into().map_err(|_| EBADMSG)?;
    let hello = Hello::open(bytes).map_err(|_| EBADMSG)?;
    out.frames.hears(&frame);
    let Some(mut welcome) = decide(set, &mut out, &hello)? else {
        return Ok(());
    };
    let durable = welcome.durable;
    let result = set.link.hold(conn).and_then(|()| {
        let mut have = [0u8; ACK_BYTES];
        out.send(
            Kind::Welcome,
            welcome.trusted,
            durable.generation,
            welcome.receiver.ack().seal(&mut have),
        )?;
        set.link.set_up(true);
        pr_info!(
            "set {}: mirroring for the owner in generation {}, this copy is {}\n",
            set.name.as_str(),
            durable.generation.0,
            if welcome.trusted {
                "complete"
            } else {
                "to be brought up to date"
            }
        );
        receive(set, conn, &mut out, &mut welcome, inbox)
    });
    if welcome.trusted {
        *set.receiver.lock() = Some(welcome.receiver);
    }
    set.link.set_up(false);
    set.link.drop_conn();
    set.keep.signal();
    result
}

/// A session that may begin.
struct Welcome {
    /// This node's superblock.
    durable: Super,
    /// The copy is complete.
    trusted: bool,
    receiver: KBox<Receiver>,
}

/// Finds out where this node's copy ends, which is complete: as the last session left it, or by reading
/// it. `None`: it is damaged; the kernel log says how.
#[inline(never)]
fn resume(
    set: &Set,
    mine: &Super,
    known: Option<KBox<Receiver>>,
    mut receiver: KBox<Receiver>,
) -> Option<KBox<Receiver>> {
    let key = Set::key(&mine.uuid);
    if let Some(mut known) = known {
        if known.again(key, mine.geometry, mine.generation) {
            return Some(known);
        }
    }
    match receiver.read(crc32c, &Region(&set.log)) {
        Ok(()) => Some(receiver),
        Err(damage) => {
            pr_err!(
                "set {}: this copy is damaged and will be written anew: {}\n",
                set.name.as_str(),
                format_args!("{damage}")
            );
            None
        }
    }
}

#[inline(never)]
fn new_receiver(mine: &Super) -> Result<KBox<Receiver>> {
    Ok(KBox::new(
        Receiver::new(Set::key(&mine.uuid), mine.geometry, mine.generation),
        GFP_KERNEL,
    )?)
}

/// Answers a HELLO. `Ok(Some)`: welcome, and durably so.
#[inline(never)]
fn decide(set: &Arc<Set>, out: &mut Outbox, hello: &Hello) -> Result<Option<Welcome>> {
    // A takeover or a step-down does not happen at the same time.
    let _control = set.control.lock();
    let mut durable = set.durable.lock();
    let known = durable.as_ref().map_or(Generation(0), |s| s.generation);
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
            drop(durable);
            out.send(Kind::Refuse, false, known, &refusal.seal())?;
            Ok(None)
        }
        Answer::Welcome {
            durable: mut new,
            mut trusted,
            step_down,
        } => {
            if step_down && set.phase() != Phase::Waiting {
                // This node still serves (or is about to). It stops at once; whoever made the device
                // makes it anew, and it will stand by then.
                set.enter(
                    Phase::Fenced,
                    format_args!("the partner owns the set in generation {}", hello.reign),
                );
                set.write_super(&mut durable, new)?;
                return Ok(None);
            }
            let mut receiver = new_receiver(&new)?;
            let known = set.receiver.lock().take();
            if trusted {
                match resume(set, &new, known, receiver) {
                    Some(found) => receiver = found,
                    None => {
                        trusted = false;
                        new.copy = Copy_::Incomplete;
                        receiver = new_receiver(&new)?;
                    }
                }
            }
            // Before it is answered, and no takeover has begun: the owner may go by it.
            set.link.hear();
            set.write_super(&mut durable, new)?;
            if step_down {
                // Never replayed (rule 7): a later takeover reads the mirror.
                set.forget_journal();
                set.enter(
                    Phase::Standby,
                    format_args!("the partner owns the set in generation {}", hello.reign),
                );
            }
            Ok(Some(Welcome {
                durable: new,
                trusted,
                receiver,
            }))
        }
    }
}

#[inline(never)]
fn receive(
    set: &Arc<Set>,
    conn: &TcpStream,
    out: &mut Outbox,
    session: &mut Welcome,
    mut inbox: Inbox<'_>,
) -> Result {
    let durable = session.durable;
    let receiver = &mut *session.receiver;
    let key = Set::key(&durable.uuid);
    let (interval, misses) = set.settings.heartbeat();
    let mut beat = Heartbeat::new(interval, misses, time::now_ns());
    let mut unacknowledged = 0usize;
    loop {
        let idle = || {
            if beat.lost(time::now_ns()) {
                Err(ETIMEDOUT)
            } else if set.phase() != Phase::Standby {
                Err(ESHUTDOWN)
            } else {
                Ok(())
            }
        };
        let (frame, payload) = inbox.next(conn, idle)?;
        if set.phase() != Phase::Standby || frame.generation != durable.generation {
            // Taking over, or a frame of another reign: this connection is revoked (rule 7).
            return Err(ESTALE);
        }
        beat.heard(set.link.hear());
        out.frames.hears(&frame);
        match frame.kind {
            Kind::Begin => {
                let bytes: &[u8; MARK_BYTES] = payload.try_into().map_err(|_| EBADMSG)?;
                let mark = receiver.begin(crc32c, bytes).map_err(reject)?;
                if !session.trusted {
                    // Marks of an earlier life may have larger counters. The copy is durably
                    // incomplete, so nobody will miss them.
                    set.log.zero(
                        MARK_OFFSET as usize,
                        2 * core_crate::layout::SLOT_BYTES as usize,
                    )?;
                    set.log.fence();
                }
                set.write_mark(key, &mark)?;
            }
            Kind::Records => {
                store(set, receiver, frame.records, payload)?;
                set.counters
                    .mirrored
                    .fetch_add(u64::from(frame.records), Ordering::Relaxed);
            }
            Kind::Mark => {
                let bytes: &[u8; MARK_BYTES] = payload.try_into().map_err(|_| EBADMSG)?;
                let mark = receiver.mark(crc32c, bytes).map_err(reject)?;
                set.write_mark(key, &mark)?;
            }
            Kind::Synced => {
                receiver.synced().map_err(reject)?;
                complete(set, &durable)?;
                session.trusted = true;
                acknowledge(out, receiver, durable.generation)?;
                out.send(Kind::Complete, false, durable.generation, &[])?;
                continue;
            }
            Kind::Ping => {}
            Kind::Handover if session.trusted => {
                pr_info!("set {}: the owner hands over\n", set.name.as_str());
                set.link.forget_heard();
                let counter = set.durable.lock().map_or(0, |s| s.counter);
                set.handed.store(counter, Ordering::Release);
                set.keep.signal();
                return Ok(());
            }
            Kind::Bye => {
                pr_info!("set {}: the owner leaves in order\n", set.name.as_str());
                // Nobody died: no takeover without being asked.
                set.link.forget_heard();
                return Ok(());
            }
            _ => return Err(EBADMSG),
        }
        // Cumulative: while more is there to be read, one acknowledgement will do for all of it.
        unacknowledged = unacknowledged.saturating_add(payload.len());
        if frame.kind == Kind::Records
            && unacknowledged < UNACKNOWLEDGED_BYTES
            && (inbox.has_more() || conn.readable())
        {
            continue;
        }
        unacknowledged = 0;
        acknowledge(out, receiver, durable.generation)?;
    }
}

/// Stores the records of one frame.
fn store(set: &Set, receiver: &mut Receiver, records: u16, payload: &[u8]) -> Result {
    let mut left = Records::new(records, payload).ok_or(EBADMSG)?;
    while let Some((head, data, place)) = receiver.next_of(crc32c, &mut left).map_err(reject)? {
        let mut crc = 0;
        if !data.is_empty() {
            // One pass copies and verifies.
            crc = set
                .log
                .write_crc(place.data_at as usize, data, receiver.seed())?;
        }
        let store = place.verified(crc).map_err(|r| {
            // What stands there wrongly must not come down on what somebody else will write there.
            set.log.fence();
            reject(r)
        })?;
        set.log.write(store.header_at as usize, head)?;
        // Before the next one begins: a lane has no hole.
        set.log.fence();
        receiver.stored(store);
    }
    Ok(())
}

fn acknowledge(out: &mut Outbox, receiver: &Receiver, reign: Generation) -> Result {
    let mut bytes = [0u8; ACK_BYTES];
    out.send(Kind::Ack, false, reign, receiver.ack().seal(&mut bytes))
}

/// The owner has sent all: from now on this copy may be replayed.
#[inline(never)]
fn complete(set: &Set, session: &Super) -> Result {
    let mut durable = set.durable.lock();
    let mine = durable.ok_or(EINVAL)?;
    if mine.generation != session.generation {
        return Err(ESTALE);
    }
    if mine.copy != Copy_::Complete {
        let new = Super {
            counter: mine.counter.saturating_add(1),
            copy: Copy_::Complete,
            ..mine
        };
        set.write_super(&mut durable, new)?;
        pr_info!("set {}: this copy is complete\n", set.name.as_str());
    }
    Ok(())
}

fn reject(r: Reject) -> Error {
    pr_warn!("the owner sent what does not belong into this log: {r:?}\n");
    EBADMSG
}
