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
        len: payload.len() as u32,
    };
    conn.send(&[&frame.seal(crc32c, payload), payload], false)
}

/// Receives one frame; its payload goes to the front of `payload`. `idle` is called whenever nothing
/// arrived for the connection's receive timeout; its error ends the wait.
///
/// # Errors
///
/// `EBADMSG` when the bytes are no frame or do not verify: nothing after them can be found, the
/// caller closes the connection. `idle`'s and the connection's.
pub(crate) fn recv<'a>(
    conn: &TcpStream,
    payload: &'a mut [u8],
    mut idle: impl FnMut() -> Result,
) -> Result<(Frame, &'a [u8])> {
    let mut head = [0u8; FRAME_BYTES];
    fill(conn, &mut head, &mut idle)?;
    let frame = Frame::open(&head).map_err(bad)?;
    let body = payload.get_mut(..frame.len as usize).ok_or(EBADMSG)?;
    fill(conn, body, &mut idle)?;
    Frame::verify(
        crc32c,
        &head,
        if frame.kind == Kind::Record {
            &[]
        } else {
            body
        },
    )
    .map_err(bad)?;
    Ok((frame, body))
}

fn bad(e: FrameError) -> Error {
    ratelimited!(pr_warn, "a peer sent bytes that are no frame: {e:?}\n");
    EBADMSG
}

fn fill(conn: &TcpStream, mut to: &mut [u8], idle: &mut impl FnMut() -> Result) -> Result {
    while !to.is_empty() {
        match conn.recv_some(to) {
            Ok(0) => return Err(ECONNRESET),
            Ok(n) => to = to.get_mut(n..).ok_or(EINVAL)?,
            Err(e) if e == ETIMEDOUT || e == EAGAIN => idle()?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
