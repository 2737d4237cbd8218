// SPDX-License-Identifier: GPL-2.0

//! Whole frames from and to a connection.

use crate::{
    errno::{Errno, Result},
    media::crc,
    net::Stream,
    set::Set,
};
use core_crate::{
    units::Generation,
    wire::{Frame, Kind, FRAME_BYTES},
};

/// Sends a control frame.
pub fn send(
    set: &Set,
    conn: &Stream,
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
    let mut bytes = frame.seal(crc, payload).to_vec();
    bytes.extend_from_slice(payload);
    set.say(|| format!("sends {kind:?} of {generation}"));
    conn.send(&set.world.net, &bytes)
}

/// Receives one frame. `idle` is called whenever nothing arrived for `interval`; its error ends the
/// wait.
pub async fn recv(
    conn: &Stream,
    interval: u64,
    mut idle: impl FnMut() -> Result,
) -> Result<(Frame, Vec<u8>)> {
    let mut head = [0u8; FRAME_BYTES];
    conn.fill(&mut head, interval, &mut idle).await?;
    let frame = Frame::open(&head).map_err(|_| Errno::BadMsg)?;
    let mut body = vec![0; frame.len as usize];
    conn.fill(&mut body, interval, &mut idle).await?;
    let summed: &[u8] = if frame.kind == Kind::Records {
        &[]
    } else {
        &body
    };
    Frame::verify(crc, &head, summed).map_err(|_| Errno::BadMsg)?;
    Ok((frame, body))
}

/// A payload of known length.
pub fn exactly<const N: usize>(payload: &[u8]) -> Result<&[u8; N]> {
    payload.try_into().map_err(|_| Errno::BadMsg)
}
