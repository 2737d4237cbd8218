// SPDX-License-Identifier: GPL-2.0

//! Whether a set has the protection that is configured, and what is less.

use crate::{nl::wire::Object, units::count};

/// What is less than configured, each in a sentence; none: all is well.
pub fn lacks(set: &Object) -> Vec<String> {
    let mut all = vec![];
    let mut say = |text: String| all.push(text);
    match set.text("state") {
        "serving" | "standby" => {}
        "assembling" => say(format!(
            "{} of {} volumes are there: I/O waits",
            set.number("volumes").unwrap_or(0),
            set.number("volumes-wanted").unwrap_or(0)
        )),
        "waiting-for-partner" => say("it waits to hear from the partner whether it is still the owner: I/O waits".into()),
        "taking-over" => say("it takes over: I/O is refused".into()),
        "replaying" => say("the log is being written to the local unit: I/O waits".into()),
        "handing-over" => say("it hands over to the partner: I/O waits".into()),
        "fenced" => say("the partner owns the set, or a unit refuses this node: I/O fails; the kernel log says why".into()),
        "failed" => say("the log or the local unit cannot be used: I/O fails; the kernel log says why".into()),
        other => say(format!("it is {other}")),
    }
    let owner = set.text("role") == "owner";
    if owner {
        match set.text("mirror") {
            "" | "none" | "mirrored" => {}
            "lost" => say("the partner cannot be reached: writes wait".into()),
            "out-of-date" => {
                say("writes go on without the partner: they die with this node".into())
            }
            "catching-up" | "finishing" => say("the partner is being brought up to date".into()),
            other => say(format!("the partner's copy is {other}")),
        }
    } else if set.text("role") == "standby" {
        if set.text("mirror") == "incomplete" {
            say("this node's copy of the log is incomplete: it cannot take over".into());
        }
        if set.text("record") == "partner" && set.text("record-mirror") == "out-of-date" {
            say("the ownership record says that this node's copy is out of date: it cannot take over".into());
        }
        if set.text("partner") == "disconnected" {
            say("the owner cannot be reached".into());
        }
    }
    match set.text("remote") {
        "lost" => say("the remote fails: the log fills".into()),
        "out-of-step" => say("the remote is out of step: nothing is sent there".into()),
        _ => {}
    }
    if set.text("shipping") == "paused" {
        say("shipping is paused: the log fills".into());
    }
    if set.number("throttled").unwrap_or(0) != 0 {
        say("the log is full: writes wait for space".into());
    }
    if set.text("fencing") == "unfenced" {
        say("a takeover was forced without fencing".into());
    }
    if set.text("record") == "unreadable" {
        say("the ownership record cannot be read".into());
    }
    all
}

/// How far the remote is behind, in words.
pub fn behind(set: &Object) -> String {
    let records = set.number("behind").unwrap_or(0);
    let mut parts = vec![count(records, "record")];
    if let Some(bytes) = set.number("behind-bytes") {
        parts.push(crate::units::size(bytes));
    }
    if let Some(ns) = set.number("behind-ns") {
        parts.push(crate::units::nanoseconds(ns));
    }
    parts.join(", ")
}
