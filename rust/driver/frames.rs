// SPDX-License-Identifier: GPL-2.0

//! Whole frames from and to a connection.

use core_crate::{
    lane::Run,
    units::Generation,
    wire::{Frame, FrameError, Kind, Outgoing, Turn, FRAME_BYTES},
};
use kapi_crate::{
    net::TcpStream,
    pmem::{crc32c, PmemSpan},
    ratelimited,
};
use kernel::{prelude::*, sync::Arc};

/// This node's direction of a connection.
pub(crate) struct Outbox {
    conn: Arc<TcpStream>,
    pub(crate) frames: Outgoing,
}

impl Outbox {
    /// Of a connection on which nothing was sent yet.
    pub(crate) fn new(conn: &Arc<TcpStream>) -> Outbox {
        Outbox {
            conn: conn.clone(),
            frames: Outgoing::default(),
        }
    }

    /// Sends a control frame.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub(crate) fn send(
        &mut self,
        kind: Kind,
        flag: bool,
        generation: Generation,
        payload: &[u8],
    ) -> Result {
        let frame = self.frames.control(kind, flag, generation, payload.len());
        self.conn
            .send(&[&frame.seal(crc32c, payload), payload], false)
    }

    /// Sends records that follow each other: frame, headers and data, these straight from the log.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub(crate) fn send_run(
        &mut self,
        run: &Run,
        generation: Generation,
        spans: &[PmemSpan<'_>; 2],
        more: bool,
    ) -> Result {
        let frame = self.frames.records(run, generation);
        self.conn.send_pmem(&frame.seal(crc32c, &[]), spans, more)
    }
}

/// What has arrived on a connection. One call takes as much as there is: many frames, or the larger
/// part of one.
pub(crate) struct Inbox<'a> {
    buffer: &'a mut [u8],
    /// Where what was not looked at yet begins and ends.
    begin: usize,
    end: usize,
    turn: Turn,
}

impl<'a> Inbox<'a> {
    /// An empty one. `buffer` has room for the largest frame that may come; `turn` says which is due.
    pub(crate) fn new(buffer: &'a mut [u8], turn: Turn) -> Inbox<'a> {
        Inbox {
            buffer,
            begin: 0,
            end: 0,
            turn,
        }
    }

    /// Goes on in another buffer, when nothing is left in this one.
    pub(crate) fn into_turn(self) -> Turn {
        self.turn
    }

    /// The next frame and its payload. `idle` is called whenever nothing arrived for the connection's
    /// receive timeout; its error ends the wait.
    ///
    /// # Errors
    ///
    /// `EBADMSG` when the bytes are no frame, do not verify, or are not the frame that is due: the caller
    /// closes the connection. `idle`'s and the connection's.
    pub(crate) fn next(
        &mut self,
        conn: &TcpStream,
        mut idle: impl FnMut() -> Result,
    ) -> Result<(Frame, &[u8])> {
        self.fill(conn, FRAME_BYTES, &mut idle)?;
        let head = *self.head().ok_or(EINVAL)?;
        let frame = Frame::open(&head).map_err(bad)?;
        let all = FRAME_BYTES.saturating_add(frame.len as usize);
        self.fill(conn, all, &mut idle)?;
        let from = self.begin.saturating_add(FRAME_BYTES);
        self.begin = self.begin.saturating_add(all);
        let body = self.buffer.get(from..self.begin).ok_or(EINVAL)?;
        let sealed = if frame.kind == Kind::Records {
            &[]
        } else {
            body
        };
        Frame::verify(crc32c, &head, sealed).map_err(bad)?;
        self.turn.check(&frame).map_err(bad)?;
        Ok((frame, body))
    }

    fn head(&self) -> Option<&[u8; FRAME_BYTES]> {
        self.buffer.get(self.begin..self.end)?.first_chunk()
    }

    /// Whether another frame is here as a whole.
    pub(crate) fn has_more(&self) -> bool {
        let left = self.end.saturating_sub(self.begin);
        self.head()
            .and_then(|h| Frame::open(h).ok())
            .is_some_and(|f| FRAME_BYTES.saturating_add(f.len as usize) <= left)
    }

    /// Receives until there are `need` bytes.
    fn fill(&mut self, conn: &TcpStream, need: usize, idle: &mut impl FnMut() -> Result) -> Result {
        let left = self.end.checked_sub(self.begin).ok_or(EINVAL)?;
        if left == 0 {
            (self.begin, self.end) = (0, 0);
        } else if self.begin.saturating_add(need) > self.buffer.len() {
            let held = self.buffer.get_mut(..self.end).ok_or(EINVAL)?;
            held.copy_within(self.begin.., 0);
            (self.begin, self.end) = (0, left);
        }
        while self.end.saturating_sub(self.begin) < need {
            let room = self.buffer.get_mut(self.end..).ok_or(EINVAL)?;
            if room.is_empty() {
                // Larger than any frame that may come here.
                return Err(EBADMSG);
            }
            match conn.recv_some(room) {
                Ok(n) => self.end = self.end.saturating_add(n),
                Err(e) if e == ETIMEDOUT || e == EAGAIN => idle()?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn bad(e: FrameError) -> Error {
    ratelimited!(
        pr_warn,
        "a peer sent what is no frame, or not the next one: {e:?}\n"
    );
    EBADMSG
}
