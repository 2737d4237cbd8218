// SPDX-License-Identifier: GPL-2.0

//! device-mapper, by way of dmsetup.

use crate::{
    error::{plain, Error, Exit, Result},
    klog::KernelLog,
};
use std::{io::ErrorKind, process::Command};

/// The target's name in table lines.
pub const TARGET: &str = "remote-copy";

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
    let mut text = log.said();
    let exit = exit_of(&said, &text);
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

/// What a failure of dmsetup is, by its words and those of the kernel.
fn exit_of(dmsetup: &str, kernel: &[String]) -> Exit {
    let says = |words: &[&str]| words.iter().any(|w| dmsetup.contains(w));
    // EUCLEAN of the constructor, or of the resume.
    let damaged = |l: &String| l.contains("-EUCLEAN") || l.ends_with("error = -117");
    if says(&["Permission denied", "as non-root"]) {
        Exit::Permission
    } else if kernel.iter().any(damaged) {
        Exit::Damaged
    } else if says(&["busy", "exists"]) {
        Exit::Refused
    } else if says(&["not exist", "not found", "No such device"]) {
        Exit::NotFound
    } else {
        Exit::Failed
    }
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
    fn exits() {
        let of = |dmsetup, kernel: &str| exit_of(dmsetup, &[kernel.to_string()]);
        assert_eq!(of("Permission denied", ""), Exit::Permission);
        assert_eq!(
            of("ioctl failed: Device or resource busy", ""),
            Exit::Refused
        );
        assert_eq!(of("Device v1 not found", ""), Exit::NotFound);
        assert_eq!(
            of(
                "Invalid argument",
                "lanes '33': 1 to 32 are allowed (-EINVAL)"
            ),
            Exit::Failed
        );
        assert_eq!(
            of("Structure needs cleaning", "preresume failed, error = -117"),
            Exit::Damaged
        );
        assert_eq!(
            of(
                "",
                "both superblock slots of the log are damaged (-EUCLEAN)"
            ),
            Exit::Damaged
        );
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
