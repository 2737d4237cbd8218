// SPDX-License-Identifier: GPL-2.0

//! `rcopy create`, `rcopy remove`: volumes come and go.

use crate::{
    cli::{CreateArgs, RemoveArgs},
    dm,
    error::{Error, Exit, Result},
    line::{build, Line},
    volumes::{self, Entry},
};
use serde::Serialize;
use std::io::Write;

#[derive(Serialize)]
struct Created<'a> {
    volume: &'a str,
    table: String,
    created: bool,
    saved: bool,
}

#[derive(Serialize)]
struct Removed<'a> {
    volume: &'a str,
    removed: bool,
    forgotten: bool,
}

/// Makes a volume.
///
/// # Errors
///
/// A value is wrong, or the kernel refuses.
pub fn create(args: &CreateArgs, json: bool, out: &mut dyn Write) -> Result<()> {
    let line = build(args)?;
    if !args.print {
        dm::create(&args.volume, &line.to_string()).map_err(|e| taken(&args.volume, e))?;
    }
    let saved = args.save && !args.print;
    if saved {
        save(args, &line)?;
    }
    if json {
        let done = Created {
            volume: &args.volume,
            table: line.to_string(),
            created: !args.print,
            saved,
        };
        serde_json::to_writer_pretty(&mut *out, &done)?;
        writeln!(out)?;
    } else if args.print {
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "/dev/mapper/{} is there: rcopy status", args.volume)?;
        if line.option("create").is_some() && !saved {
            writeln!(
                out,
                "for every later start, leave '--create in_step' out; --save would have noted the line so"
            )?;
        }
    }
    Ok(())
}

/// A name that is in use is what dmsetup calls busy.
fn taken(volume: &str, e: Error) -> Error {
    if e.exit != Exit::Refused || dm::table(volume).is_err() {
        return e;
    }
    Error::new(
        Exit::Refused,
        format!("volume '{volume}': there is a device of that name already ('dmsetup table {volume}'); nothing was done"),
    )
}

/// With `create`, a replaced log would be taken for a new one at the next start.
fn save(args: &CreateArgs, line: &Line) -> Result<()> {
    let entry = Entry {
        volume: args.volume.clone(),
        line: line.with("create", None),
    };
    volumes::save(&args.config, &entry).map_err(|e| Error {
        text: format!("the volume is there, but not noted: {}", e.text),
        ..e
    })
}

/// Removes a volume.
///
/// # Errors
///
/// It is not there, is none of remote-copy, or in use.
pub fn remove(args: &RemoveArgs, json: bool, out: &mut dyn Write) -> Result<()> {
    let table = dm::table(&args.volume).map_err(|e| match e.exit {
        Exit::NotFound => Error::new(
            Exit::NotFound,
            format!(
                "volume '{}': there is no such device ('dmsetup ls' lists them)",
                args.volume
            ),
        ),
        _ => e,
    })?;
    let target = table.split(' ').nth(2).unwrap_or("");
    if target != dm::TARGET {
        return Err(Error::new(
            Exit::Refused,
            format!(
                "volume '{}': it is a device of target '{target}', none of {}; nothing was done",
                args.volume,
                dm::TARGET
            ),
        ));
    }
    dm::remove(&args.volume).map_err(|e| match e.exit {
        Exit::Refused => Error::new(
            Exit::Refused,
            format!(
                "volume '{}': it is in use; unmount it, or end what has it open ('lsof /dev/mapper/{0}')",
                args.volume
            ),
        ),
        _ => e,
    })?;
    let forgotten = args.forget && volumes::forget(&args.config, &args.volume)?;
    if json {
        let done = Removed {
            volume: &args.volume,
            removed: true,
            forgotten,
        };
        serde_json::to_writer_pretty(&mut *out, &done)?;
        writeln!(out)?;
    }
    Ok(())
}
