// SPDX-License-Identifier: GPL-2.0

//! What changes a set: `set`, `takeover`, `swap`, `pause`, `resume`, `detach`, `in-step`.

use crate::{
    cli::{SetArgs, SwapArgs},
    dm,
    error::{Error, Exit, Result},
    klog::{in_full, KernelLog},
    line::{explain, Line},
    nl::{
        about, named,
        names::{Kind, Op, OP_LOG_GET, OP_SET_SET, OP_SWAP},
        parts, sets,
        wire::{Attributes, Object},
        Kernel,
    },
};
use core_crate::table::{Table, TableError};
use serde::Serialize;
use std::io::Write;

/// What can be changed while a set runs.
pub const SETTINGS: &[&str] = &[
    "mode",
    "partner-lost",
    "takeover",
    "fencing",
    "ping-ms",
    "ping-misses",
    "records",
];

#[derive(Serialize)]
struct Done<'a> {
    done: &'a str,
    set: Object,
}

/// The set as it is afterwards.
fn report(
    kernel: &mut dyn Kernel,
    op: &Op,
    set: &str,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let now = sets(kernel, Some(set))?
        .into_iter()
        .next()
        .unwrap_or_default();
    if json {
        let done = Done {
            done: op.command(),
            set: now,
        };
        serde_json::to_writer_pretty(&mut *out, &done)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut words = vec![now.text("role"), now.text("state")];
    if !now.text("mirror").is_empty() {
        words.push(now.text("mirror"));
    }
    let generation = now.number("generation").unwrap_or(0);
    write!(out, "{set}: {}, generation {generation}", words.join(", "))?;
    // A standby has the setting, too, but sends nothing.
    if now.text("role") == "owner" && !now.text("shipping").is_empty() {
        write!(out, ", shipping {}", now.text("shipping"))?;
    }
    writeln!(out)?;
    Ok(())
}

/// Asks, and says of a refusal which set it is about, and all of its reason.
fn ask(kernel: &mut dyn Kernel, op: &'static Op, set: &str, attrs: &Attributes) -> Result<()> {
    let log = KernelLog::open();
    kernel.ask(op, attrs).map(|_| ()).map_err(|e| {
        let e = in_full(e, &log.said());
        // The attribute's name is an option here.
        let text = e
            .text
            .replacen("force is missing:", "--force is missing:", 1);
        about(set, Error { text, ..e })
    })
}

/// An operation on a set, perhaps by force.
///
/// # Errors
///
/// The kernel refuses, in its words.
pub fn act(
    kernel: &mut dyn Kernel,
    op: &'static Op,
    set: &str,
    force: bool,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let mut attrs = named(op, "name", set);
    if let Some(a) = op.attrs.by_name("force").filter(|_| force) {
        attrs.raw(a.id, &[]);
    }
    ask(kernel, op, set, &attrs)?;
    report(kernel, op, set, json, out)
}

/// One setting as an attribute. What is allowed is known by core's grammar of table lines.
fn setting(text: &str, attrs: &mut Attributes) -> Result<&'static str> {
    let (key, value) = text.split_once('=').ok_or_else(|| {
        Error::usage(format!(
            "'{text}': <setting>=<value> is needed, as in mode=sync"
        ))
    })?;
    let name = key.replace('_', "-");
    let known = SETTINGS.iter().find(|s| **s == name).ok_or_else(|| {
        Error::usage(format!(
            "setting '{key}': there are {}; the rest of a table line is fixed while the set runs",
            SETTINGS.join(", ")
        ))
    })?;
    let key = known.replace('-', "_");
    // A whole line, of which only this option can be wrong.
    let line = [
        "initiator",
        "s",
        "l",
        "8",
        "log",
        "l",
        "remote",
        "dev:r",
        "partner",
        "none",
        &key,
        value,
    ];
    if let Err(e @ TableError::Value(..)) = Table::parse(&line) {
        let text = explain(&e);
        return Err(Error::usage(text.trim_start_matches("--").to_string()));
    }
    let a = OP_SET_SET
        .attrs
        .by_name(known)
        .ok_or_else(|| Error::usage("no such attribute"))?;
    let n = match a.kind {
        Kind::Enum(words) => words
            .words
            .iter()
            .position(|w| *w == value)
            .and_then(|n| u32::try_from(n).ok()),
        _ => value.parse().ok(),
    };
    let n = n.ok_or_else(|| {
        Error::usage(format!("{known} '{value}': the module knows no such value"))
    })?;
    attrs.u32(a.id, n);
    Ok(known)
}

/// The words that a setting takes; none if it is a number.
pub fn choices(known: &str) -> Vec<&'static str> {
    let kind = OP_SET_SET.attrs.by_name(known).map(|a| a.kind);
    let Some(Kind::Enum(words)) = kind else {
        return vec![];
    };
    // Some words only ever describe a set.
    let allowed = |w: &&str| setting(&format!("{known}={w}"), &mut Attributes::default()).is_ok();
    words.words.iter().copied().filter(allowed).collect()
}

/// `rcopy set`.
///
/// # Errors
///
/// A value is wrong, or the kernel refuses.
pub fn set(kernel: &mut dyn Kernel, args: &SetArgs, json: bool, out: &mut dyn Write) -> Result<()> {
    let op = &OP_SET_SET;
    let mut attrs = named(op, "name", &args.set);
    let mut seen = vec![];
    for text in &args.settings {
        let name = setting(text, &mut attrs)?;
        if seen.contains(&name) {
            return Err(Error::usage(format!("setting '{name}' stands twice")));
        }
        seen.push(name);
    }
    if let Some(a) = op.attrs.by_name("force").filter(|_| args.force) {
        attrs.raw(a.id, &[]);
    }
    ask(kernel, op, &args.set, &attrs)?;
    report(kernel, op, &args.set, json, out)
}

/// The volumes of the set in this network namespace: those with its log.
fn volumes(kernel: &mut dyn Kernel, set: &str) -> Result<Vec<String>> {
    let logs = parts(kernel, &OP_LOG_GET, Some(set))?;
    let path = logs
        .first()
        .map(|l| l.text("path").to_string())
        .unwrap_or_default();
    let mine = |r: &dm::Running| {
        Line::parse(&r.line).is_ok_and(|l| {
            l.words.get(1).is_some_and(|s| s == set) && l.option("log") == Some(&path)
        })
    };
    let all: Vec<String> = dm::running()?
        .into_iter()
        .filter(mine)
        .map(|r| r.volume)
        .collect();
    if all.is_empty() {
        return Err(Error::new(
            Exit::NotFound,
            format!("{set}: device-mapper has no volume of it"),
        ));
    }
    Ok(all)
}

/// `rcopy swap`.
///
/// # Errors
///
/// The kernel refuses, in its words; the volumes are resumed in any case.
pub fn swap(
    kernel: &mut dyn Kernel,
    args: &SwapArgs,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    if !args.suspend {
        return act(kernel, &OP_SWAP, &args.set, false, json, out);
    }
    sets(kernel, Some(&args.set))?;
    let volumes = volumes(kernel, &args.set)?;
    let mut suspended = vec![];
    let mut done = Ok(());
    for v in &volumes {
        match dm::suspend(v, true) {
            Ok(()) => suspended.push(v),
            Err(e) => {
                done = Err(e);
                break;
            }
        }
    }
    if done.is_ok() {
        done = act(kernel, &OP_SWAP, &args.set, false, json, out);
    }
    for v in suspended {
        if let Err(e) = dm::suspend(v, false) {
            let before = done
                .err()
                .map(|d| format!("{}\n", d.text))
                .unwrap_or_default();
            done = Err(Error {
                text: format!("{before}volume {v} is still suspended: {}", e.text),
                ..e
            });
        }
    }
    done
}
