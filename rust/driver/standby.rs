// SPDX-License-Identifier: GPL-2.0

//! The other side of the partner link: a listener that answers HELLO and keeps the mirror.

use crate::{
    frames,
    set::{Phase, Set},
};
use core::sync::atomic::Ordering;
use core_crate::{
    format::{Copy_, Super, MARK_BYTES, RECORD_HEADER_BYTES},
    layout::MARK_OFFSET,
    limits::MAX_FRAME_PAYLOAD,
    partner::{self, Answer, Heartbeat},
    receiver::{Receiver, Reject},
    units::Generation,
    wire::{Hello, Kind, Reason, Refusal, ACK_BYTES, HELLO_BYTES},
};
use kapi_crate::{
    net::{TcpListener, TcpStream},
    pmem::crc32c,
    thread::StopToken,
    time,
};
use kernel::{prelude::*, sync::Arc};

/// The listener thread. It serves one connection at a time; a dead one is noticed by its heartbeat.
pub(crate) fn run(set: &Arc<Set>, stop: &StopToken) {
    let Some(addr) = set.listen.as_ref() else {
        return;
    };
    let mut buffer = match KVVec::from_elem(0u8, MAX_FRAME_PAYLOAD as usize, GFP_KERNEL) {
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
    let mut body = [0u8; HELLO_BYTES];
    let until = time::now_ns().saturating_add(patience);
    let late = || {
        if time::now_ns() < until && set.phase() != Phase::Stopping {
            Ok(())
        } else {
            Err(ETIMEDOUT)
        }
    };
    let (frame, payload) = frames::recv(conn, &mut body, late)?;
    if frame.kind != Kind::Hello {
        return Err(EBADMSG);
    }
    let bytes: &[u8; HELLO_BYTES] = payload.try_into().map_err(|_| EBADMSG)?;
    let hello = Hello::open(bytes).map_err(|_| EBADMSG)?;
    let Some((durable, trusted)) = decide(set, conn, &hello)? else {
        return Ok(());
    };
    let result = set.link.hold(conn).and_then(|()| {
        frames::send(
            conn,
            Kind::Welcome,
            trusted,
            durable.generation,
            &hello.seal(),
        )?;
        set.link.hear();
        set.link.set_up(true);
        pr_info!(
            "set {}: mirroring for the owner in generation {}, this copy is {}\n",
            set.name.as_str(),
            durable.generation.0,
            if trusted {
                "complete"
            } else {
                "to be brought up to date"
            }
        );
        receive(set, conn, &durable, buffer)
    });
    set.link.set_up(false);
    set.link.drop_conn();
    set.keep.signal();
    result
}

/// Answers a HELLO. `Ok(Some)`: welcome, and durably so.
#[inline(never)]
fn decide(set: &Arc<Set>, conn: &TcpStream, hello: &Hello) -> Result<Option<(Super, bool)>> {
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
            frames::send(conn, Kind::Refuse, false, known, &refusal.seal())?;
            Ok(None)
        }
        Answer::Welcome {
            durable: new,
            trusted,
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
            set.write_super(&mut durable, new)?;
            if step_down {
                // Never replayed (rule 7): a later takeover reads the mirror.
                set.forget_journal();
                set.enter(
                    Phase::Standby,
                    format_args!("the partner owns the set in generation {}", hello.reign),
                );
            }
            Ok(Some((new, trusted)))
        }
    }
}

#[inline(never)]
fn receive(set: &Arc<Set>, conn: &TcpStream, durable: &Super, buffer: &mut [u8]) -> Result {
    let key = Set::key(&durable.uuid);
    let mut receiver = Receiver::new(key, durable.geometry, durable.generation);
    let (interval, misses) = set.settings.heartbeat();
    let mut beat = Heartbeat::new(interval, misses, time::now_ns());
    let mut trusted = durable.copy == Copy_::Complete;
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
        let (frame, payload) = frames::recv(conn, buffer, idle)?;
        if set.phase() != Phase::Standby || frame.generation != durable.generation {
            // Taking over, or a frame of another reign: this connection is revoked (rule 7).
            return Err(ESTALE);
        }
        beat.heard(time::now_ns());
        set.link.hear();
        match frame.kind {
            Kind::Begin => {
                let bytes: &[u8; MARK_BYTES] = payload.try_into().map_err(|_| EBADMSG)?;
                let mark = receiver.begin(crc32c, bytes).map_err(reject)?;
                if !trusted {
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
            Kind::Record => {
                let store = receiver.record(crc32c, payload).map_err(reject)?;
                let (head, data) = payload
                    .split_at_checked(RECORD_HEADER_BYTES)
                    .ok_or(EBADMSG)?;
                if !data.is_empty() {
                    set.log.write(store.data_at as usize, data)?;
                }
                set.log.write(store.header_at as usize, head)?;
                set.log.fence();
                receiver.stored(store);
                set.counters.mirrored.fetch_add(1, Ordering::Relaxed);
            }
            Kind::Mark => {
                let bytes: &[u8; MARK_BYTES] = payload.try_into().map_err(|_| EBADMSG)?;
                let mark = receiver.mark(crc32c, bytes).map_err(reject)?;
                set.write_mark(key, &mark)?;
            }
            Kind::Synced => {
                trusted = true;
                complete(set, durable)?;
                acknowledge(conn, &receiver, durable.generation)?;
                frames::send(conn, Kind::Complete, false, durable.generation, &[])?;
                continue;
            }
            Kind::Ping => {}
            Kind::Handover if trusted => {
                pr_info!("set {}: the owner hands over\n", set.name.as_str());
                set.link.forget_heard();
                set.handed.store(true, Ordering::Release);
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
        // Cumulative: while more is waiting to be read, one acknowledgement will do for all of it.
        if frame.kind == Kind::Record && conn.wait_readable_ms(0).unwrap_or(false) {
            continue;
        }
        acknowledge(conn, &receiver, durable.generation)?;
    }
}

fn acknowledge(conn: &TcpStream, receiver: &Receiver, reign: Generation) -> Result {
    let mut bytes = [0u8; ACK_BYTES];
    frames::send(
        conn,
        Kind::Ack,
        false,
        reign,
        receiver.ack().seal(&mut bytes),
    )
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
