// SPDX-License-Identifier: GPL-2.0

//! Whole frames from and to a connection.

use crate::{
    errno::{Errno, Result},
    media::crc,
    net::Stream,
    plant::{is, Mistake},
    set::Set,
};
use core_crate::{
    format::RECORD_HEADER_BYTES,
    lane::Run,
    units::Generation,
    wire::{Frame, Kind, Outgoing, Turn, FRAME_BYTES},
};

/// This node's direction of a connection.
pub struct Outbox {
    conn: Stream,
    pub frames: Outgoing,
}

impl Outbox {
    pub fn new(conn: &Stream) -> Outbox {
        Outbox {
            conn: conn.clone(),
            frames: Outgoing::default(),
        }
    }

    /// Sends a control frame.
    pub fn send(
        &mut self,
        set: &Set,
        kind: Kind,
        flag: bool,
        generation: Generation,
        payload: &[u8],
    ) -> Result {
        let frame = self.frames.control(kind, flag, generation, payload.len());
        let mut bytes = frame.seal(crc, payload).to_vec();
        bytes.extend_from_slice(payload);
        set.say(|| format!("sends {kind:?} of {generation}"));
        self.conn.send(&set.world.net, &bytes)
    }

    /// Sends records that follow each other: frame, headers and data, these straight from the log.
    pub fn send_run(&mut self, set: &Set, run: &Run, generation: Generation) -> Result {
        let heads = RECORD_HEADER_BYTES * usize::from(run.records);
        let frame = self.frames.records(run, generation);
        let mut all = frame.seal(crc, &[]).to_vec();
        set.log
            .with(run.headers_at, heads, |b| all.extend_from_slice(b));
        set.log.with(run.data_at, run.data_bytes as usize, |b| {
            all.extend_from_slice(b)
        });
        set.say(|| format!("sends {} records", run.records));
        self.conn.send(&set.world.net, &all)
    }
}

/// What arrives on a connection.
pub struct Inbox {
    conn: Stream,
    turn: Turn,
}

impl Inbox {
    pub fn new(conn: &Stream) -> Inbox {
        Inbox {
            conn: conn.clone(),
            turn: Turn::default(),
        }
    }

    /// Receives one frame. `idle` is called whenever nothing arrived for `interval`; its error ends the
    /// wait.
    pub async fn next(
        &mut self,
        interval: u64,
        mut idle: impl FnMut() -> Result,
    ) -> Result<(Frame, Vec<u8>)> {
        let mut head = [0u8; FRAME_BYTES];
        self.conn.fill(&mut head, interval, &mut idle).await?;
        let frame = Frame::open(&head).map_err(|_| Errno::BadMsg)?;
        let mut body = vec![0; frame.len as usize];
        self.conn.fill(&mut body, interval, &mut idle).await?;
        let summed: &[u8] = if frame.kind == Kind::Records {
            &[]
        } else {
            &body
        };
        Frame::verify(crc, &head, summed).map_err(|_| Errno::BadMsg)?;
        if !is(Mistake::TurnIgnored) {
            self.turn.check(&frame).map_err(|_| Errno::BadMsg)?;
        }
        Ok((frame, body))
    }

    /// Whether something can be read at once.
    pub fn readable(&self) -> bool {
        self.conn.readable()
    }
}

/// A payload of known length.
pub fn exactly<const N: usize>(payload: &[u8]) -> Result<&[u8; N]> {
    payload.try_into().map_err(|_| Errno::BadMsg)
}
