// SPDX-License-Identifier: GPL-2.0

//! Why something did not work, in the driver's words.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errno {
    Io,
    /// A reservation conflict (`EBADE`).
    Conflict,
    BadMsg,
    Stale,
    Again,
    Busy,
    Perm,
    /// The log is damaged (`EUCLEAN`).
    Damaged,
    TimedOut,
    Reset,
    Shutdown,
    Invalid,
    Canceled,
}

pub type Result<T = ()> = core::result::Result<T, Errno>;
