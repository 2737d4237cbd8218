// SPDX-License-Identifier: GPL-2.0

//! What ends a command, in words, and the exit status that a script goes by.

use serde_json::json;
use std::{fmt, io};

/// The exit statuses. Scripts rely on the numbers: none is ever given another meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Something failed that none of the others names: a device does not answer, a program is not there.
    Failed = 1,
    /// An argument or a value is wrong; nothing was done. Also what clap exits with.
    Usage = 2,
    /// There is no such set, volume, device or log.
    NotFound = 3,
    /// What was asked is not allowed in the state that the set is in; nothing was done.
    Refused = 4,
    /// It takes an administrator.
    Permission = 5,
    /// A log or record is damaged, or something else stands where it should be.
    Damaged = 6,
    /// The module is not loaded, or speaks no netlink.
    NoModule = 7,
    /// `status --check`: a set has less protection than is configured.
    Degraded = 8,
}

impl Exit {
    /// All, with what they mean: the man page and the guide are compared with it.
    pub const ALL: [(Exit, &'static str); 9] = [
        (Exit::Ok, "done"),
        (
            Exit::Failed,
            "it failed: a device does not answer, a program is missing, or something that no other status names",
        ),
        (Exit::Usage, "an argument or a value is wrong; nothing was done"),
        (Exit::NotFound, "there is no such set, volume, device or log"),
        (
            Exit::Refused,
            "not allowed in the state that the set is in; nothing was done",
        ),
        (Exit::Permission, "it takes an administrator (CAP_NET_ADMIN, or root for devices)"),
        (
            Exit::Damaged,
            "a log or an ownership record is damaged, or something else stands where it should be",
        ),
        (Exit::NoModule, "the module is not loaded, or is too old for netlink"),
        (
            Exit::Degraded,
            "status --check: a set has less protection than is configured",
        ),
    ];
}

/// Why a command ended early.
#[derive(Debug)]
pub struct Error {
    /// The exit status.
    pub exit: Exit,
    /// One sentence for each line.
    pub text: String,
}

/// What commands answer.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with its exit status.
    pub fn new(exit: Exit, text: impl Into<String>) -> Error {
        let text = text.into();
        Error { exit, text }
    }

    /// A wrong argument.
    pub fn usage(text: impl Into<String>) -> Error {
        Error::new(Exit::Usage, text)
    }

    /// One line for a program: what stands on standard error with `--json`.
    pub fn json(&self) -> String {
        let means = Exit::ALL.iter().find(|(e, _)| *e == self.exit);
        json!({
            "error": self.text,
            "exit": self.exit as u8,
            "means": means.map(|(_, text)| text),
        })
        .to_string()
    }

    /// A failed system call on a thing with a name.
    pub fn io(what: &str, e: &io::Error) -> Error {
        let exit = match e.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Failed,
        };
        Error::new(exit, format!("{what}: {}", plain(e)))
    }
}

/// An error of the system without Rust's "(os error N)".
pub fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// What was printed could not be: a reader that has gone away is no failure.
impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        if e.kind() == io::ErrorKind::BrokenPipe {
            return Error::new(Exit::Ok, "");
        }
        Error::new(Exit::Failed, format!("standard output: {}", plain(&e)))
    }
}

impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Error {
        io::Error::from(e).into()
    }
}
