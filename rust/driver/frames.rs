// SPDX-License-Identifier: GPL-2.0

//! Whole frames from and to a connection.

use core_crate::{
    units::Generation,
    wire::{Frame, FrameError, Kind, FRAME_BYTES},
};
use kapi_crate::{net::TcpStream, pmem::crc32c, ratelimited};
use kernel::prelude::*;

/// Sends a control frame.
///
/// # Errors
///
/// The connection's.
pub(crate) fn send(
    conn: &TcpStream,
    kind: Kind,
    flag: bool,
    generation: Generation,
    payload: &[u8],
) -> Result {
    let frame = Frame {
        kind,
        flag,
        generation,
        records: 0,
        len: payload.len() as u32,
    };
    conn.send(&[&frame.seal(crc32c, payload), payload], false)
}

/// What has arrived on a connection. One call takes as much as there is: many frames, or the larger
/// part of one.
pub(crate) struct Inbox<'a> {
    buffer: &'a mut [u8],
    /// Where what was not looked at yet begins and ends.
    begin: usize,
    end: usize,
}

impl<'a> Inbox<'a> {
    /// An empty one. `buffer` has room for the largest frame that may come.
    pub(crate) fn new(buffer: &'a mut [u8]) -> Inbox<'a> {
        Inbox {
            buffer,
            begin: 0,
            end: 0,
        }
    }

    /// The next frame and its payload. `idle` is called whenever nothing arrived for the connection's
    /// receive timeout; its error ends the wait.
    ///
    /// # Errors
    ///
    /// `EBADMSG` when the bytes are no frame or do not verify: nothing after them can be found, the
    /// caller closes the connection. `idle`'s and the connection's.
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
    ratelimited!(pr_warn, "a peer sent bytes that are no frame: {e:?}\n");
    EBADMSG
}
