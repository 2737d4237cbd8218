// SPDX-License-Identifier: GPL-2.0

//! device-mapper, by way of dmsetup; and what the kernel says when it refuses.

use crate::error::{plain, Error, Exit, Result};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    process::Command,
};

/// The target's name in table lines.
pub const TARGET: &str = "remote-copy";

/// As on every Linux machine with x86 or the generic numbers.
const O_NONBLOCK: i32 = 0o4000;

/// The kernel's log from a moment on.
struct KernelLog(Option<File>);

impl KernelLog {
    /// From now on. Whoever may not read it does without.
    fn open() -> KernelLog {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open("/dev/kmsg");
        KernelLog(file.ok().and_then(|mut f| {
            f.seek(SeekFrom::End(0)).ok()?;
            Some(f)
        }))
    }

    /// What it has said of remote-copy since.
    fn said(self) -> Vec<String> {
        let Some(mut file) = self.0 else {
            return vec![];
        };
        let mut lines = vec![];
        let mut record = [0; 8192];
        loop {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(n) => lines.extend(reason(&String::from_utf8_lossy(&record[..n]))),
                // Overwritten before it was read.
                Err(e) if e.raw_os_error() == Some(32) || e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        lines
    }
}

/// What a record of the kernel's log says of remote-copy, without what stands in front of it.
pub fn reason(record: &str) -> Option<String> {
    let line = record.split_once(';')?.1.lines().next()?;
    for mark in ["remote-copy: ", "dm_remote_copy: "] {
        if let Some((_, text)) = line.split_once(mark) {
            return Some(text.trim().to_string());
        }
    }
    None
}

/// Runs dmsetup; answers what it printed.
///
/// # Errors
///
/// It is not there, or failed: with its words, and those of the kernel.
pub fn dmsetup(args: &[&str]) -> Result<String> {
    let log = KernelLog::open();
    let done = Command::new("dmsetup").args(args).output();
    let done = done.map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::new(
            Exit::Failed,
            "dmsetup is not there: install the package dmsetup (or device-mapper)",
        ),
        _ => Error::new(Exit::Failed, format!("dmsetup: {}", plain(&e))),
    })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let exit = if said.contains("Permission denied") || said.contains("as non-root") {
        Exit::Permission
    } else if said.contains("busy") || said.contains("exists") {
        Exit::Refused
    } else if said.contains("not exist")
        || said.contains("not found")
        || said.contains("No such device")
    {
        Exit::NotFound
    } else {
        Exit::Failed
    };
    let mut text = log.said();
    let quoted: Vec<&str> = said
        .lines()
        .filter(|l| !l.is_empty() && *l != "Command failed.")
        .collect();
    // The kernel's own words say more than "Invalid argument".
    if text.is_empty() {
        text.push(format!(
            "dmsetup {}: {}",
            args.first().unwrap_or(&""),
            quoted.join("; ")
        ));
    } else {
        text.insert(
            0,
            format!(
                "the kernel refuses (dmsetup {}):",
                args.first().unwrap_or(&"")
            ),
        );
    }
    Err(Error::new(exit, text.join("\n")))
}

/// A volume as device-mapper has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Running {
    /// Its name.
    pub volume: String,
    /// Its table line, from the start sector on.
    pub line: String,
}

/// The remote-copy volumes there are.
///
/// # Errors
///
/// dmsetup's.
pub fn running() -> Result<Vec<Running>> {
    Ok(parse_tables(&dmsetup(&["table", "--target", TARGET])?))
}

/// Reads what `dmsetup table` prints.
pub fn parse_tables(text: &str) -> Vec<Running> {
    let one = |line: &str| {
        let (volume, line) = line.split_once(": ")?;
        let target = line.split(' ').nth(2)?;
        (target == TARGET).then(|| Running {
            volume: volume.to_string(),
            line: line.to_string(),
        })
    };
    text.lines().filter_map(one).collect()
}

/// The table of one device.
///
/// # Errors
///
/// dmsetup's; there is no such device.
pub fn table(volume: &str) -> Result<String> {
    Ok(dmsetup(&["table", "--", volume])?.trim_end().to_string())
}

/// Makes a volume.
///
/// # Errors
///
/// dmsetup's.
pub fn create(volume: &str, line: &str) -> Result<()> {
    dmsetup(&["create", volume, "--table", line]).map(|_| ())
}

/// Removes a volume.
///
/// # Errors
///
/// dmsetup's.
pub fn remove(volume: &str) -> Result<()> {
    dmsetup(&["remove", "--", volume]).map(|_| ())
}

/// Suspends or resumes a volume.
///
/// # Errors
///
/// dmsetup's.
pub fn suspend(volume: &str, suspend: bool) -> Result<()> {
    dmsetup(&[if suspend { "suspend" } else { "resume" }, "--", volume]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let line = "3,812,9120031,-;device-mapper: table: 253:0: remote-copy: lanes '33': 1 to 32 are allowed (-EINVAL)\n";
        assert_eq!(
            reason(line).unwrap(),
            "lanes '33': 1 to 32 are allowed (-EINVAL)"
        );
        let line =
            "4,1,2,-;dm_remote_copy: s1: takeover refused: the owner is alive\n SUBSYSTEM=x\n";
        assert_eq!(
            reason(line).unwrap(),
            "s1: takeover refused: the owner is alive"
        );
        assert_eq!(reason("4,1,2,-;usb 1-1: new device"), None);
        assert_eq!(reason("no record"), None);
    }

    #[test]
    fn tables() {
        let text = "a1-v: 0 32768 remote-copy initiator s1 /dev/x 0\nroot: 0 8 linear 8:0 0\nNo devices found\n";
        let all = parse_tables(text);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].volume, "a1-v");
        assert_eq!(all[0].line, "0 32768 remote-copy initiator s1 /dev/x 0");
    }
}
