// SPDX-License-Identifier: GPL-2.0

//! What the kernel's log says of remote-copy while a command runs: why something is refused, in full.

use crate::error::Error;
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

/// As on every Linux machine with x86 or the generic numbers.
const O_NONBLOCK: i32 = 0o4000;

/// The kernel's log from a moment on.
pub struct KernelLog(Option<File>);

impl KernelLog {
    /// From now on. Whoever may not read it does without.
    pub fn open() -> KernelLog {
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
    pub fn said(self) -> Vec<String> {
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

/// Netlink cuts a reason off at this many bytes.
const CUT: usize = 70;

/// A refusal whose reason was cut off, with the rest of it as the kernel's log has it.
pub fn in_full(e: Error, said: &[String]) -> Error {
    match said.iter().find_map(|line| whole(&e.text, line)) {
        Some(text) => Error { text, ..e },
        None => e,
    }
}

/// The text with what the line has behind its cut end.
fn whole(text: &str, line: &str) -> Option<String> {
    // The words of the errno stand behind it, in brackets.
    let open = text.rfind(" (")?;
    let (reason, errno) = text.split_at(open);
    if reason.len() < CUT {
        return None;
    }
    // Where it begins differs: what counts is that the line goes on where the reason ends.
    let tail = reason.get(reason.len() - 30..)?;
    let at = line.find(tail)?;
    let rest = &line[at + tail.len()..];
    (!rest.is_empty()).then(|| format!("{reason}{rest}{errno}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

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
    fn what_was_cut_off_comes_back() {
        let e = || {
            Error::new(
                Exit::Refused,
                "s1: swap: suspend all volumes of the set first (dmsetup suspend), so that no write  (Device or resource busy)",
            )
        };
        let line = "set s1: swap: suspend all volumes of the set first (dmsetup suspend), so that no write is under way";
        let other = "set s1: partner lost".to_string();
        assert_eq!(
            in_full(e(), &[other.clone(), line.to_string()]).text,
            "s1: swap: suspend all volumes of the set first (dmsetup suspend), so that no write is under way (Device or resource busy)"
        );
        assert_eq!(in_full(e(), &[other]).text, e().text);
        let short = || Error::new(Exit::Refused, "s1: not a standby (Device or resource busy)");
        let line = "set s1: not a standby at all".to_string();
        assert_eq!(in_full(short(), &[line]).text, short().text);
    }
}
