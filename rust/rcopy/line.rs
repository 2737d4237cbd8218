// SPDX-License-Identifier: GPL-2.0

//! Table lines: made from named options, checked by core's own grammar, its complaints said in the words
//! of the command line.

use crate::{
    cli::CreateArgs,
    dm::TARGET,
    error::{Error, Exit, Result},
};
use core_crate::{
    ownership::RECORD_AREA,
    table::{Table, TableError},
};
use std::{
    fs::File,
    io::{Seek, SeekFrom},
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt},
};

/// A line for `dmsetup create`, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Length of the volume.
    pub sectors: u64,
    /// The words behind the target's name.
    pub words: Vec<String>,
}

impl Line {
    /// The words, for core's parser.
    pub fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// What the line says.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn table<'a>(words: &'a [&'a str]) -> std::result::Result<Table<'a>, TableError<'a>> {
        Table::parse(words)
    }

    /// Reads a line as `dmsetup table` prints it.
    ///
    /// # Errors
    ///
    /// In words, what is wrong.
    pub fn parse(text: &str) -> std::result::Result<Line, String> {
        let mut words = text.split_ascii_whitespace();
        let start = words.next().unwrap_or("");
        let length = words.next().unwrap_or("");
        let target = words.next().unwrap_or("");
        if start != "0" {
            return Err(format!("start sector '{start}': 0 is allowed"));
        }
        let sectors = length.parse().ok().filter(|n| *n > 0);
        let sectors =
            sectors.ok_or_else(|| format!("length '{length}': a number of sectors is needed"))?;
        if target != TARGET {
            return Err(format!("target '{target}': {TARGET} is needed"));
        }
        let words: Vec<String> = words.map(str::to_string).collect();
        let line = Line { sectors, words };
        Table::parse(&line.words()).map_err(|e| e.to_string())?;
        Ok(line)
    }

    /// The value of an option.
    pub fn option(&self, key: &str) -> Option<&str> {
        let pairs = self.words.get(4..)?.chunks_exact(2);
        pairs.filter(|p| p[0] == key).map(|p| p[1].as_str()).next()
    }

    /// The same with another value of an option, or without it.
    pub fn with(&self, key: &str, value: Option<&str>) -> Line {
        let mut words: Vec<String> = self.words[..3].to_vec();
        let mut options: Vec<(String, String)> = self.words[4..]
            .chunks_exact(2)
            .map(|p| (p[0].clone(), p[1].clone()))
            .collect();
        let at = options.iter().position(|(k, _)| k == key);
        match (at, value) {
            (Some(i), Some(v)) => options[i].1 = v.to_string(),
            (Some(i), None) => {
                options.remove(i);
            }
            (None, Some(v)) => options.push((key.to_string(), v.to_string())),
            (None, None) => {}
        }
        words.push((2 * options.len()).to_string());
        words.extend(options.into_iter().flat_map(|(k, v)| [k, v]));
        Line {
            sectors: self.sectors,
            words,
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0 {} {TARGET} {}", self.sectors, self.words.join(" "))
    }
}

/// The option of the command line that a key of the table line stands for.
fn flag(key: &str) -> String {
    match key {
        "role" | "set" => format!("--{key}"),
        _ => format!("--{}", key.replace('_', "-")),
    }
}

/// A complaint of the grammar in words of the command line.
pub fn explain(e: &TableError<'_>) -> String {
    match e {
        TableError::Value(key, value, allowed) => format!("{} '{value}': {allowed}", flag(key)),
        TableError::Needed(key, why) => format!("{} is needed: {why}", flag(key)),
        other => other.to_string(),
    }
}

/// device-mapper splits a line at blanks, and would take a part for the whole.
fn one_word(what: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        return Err(Error::usage(format!("{what} '': a value is needed")));
    }
    if value
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || c == '\\')
    {
        return Err(Error::usage(format!(
            "{what} '{value}': a table line is split at blanks; give a {} without blanks and backslashes",
            if value.contains('/') { "path" } else { "name" }
        )));
    }
    Ok(())
}

/// What the kernel's parser takes for an address of a partner.
fn address(key: &str, value: &str) -> Result<()> {
    match value.parse::<SocketAddr>() {
        Ok(a) if a.port() != 0 => Ok(()),
        Ok(_) => Err(Error::usage(format!(
            "{} '{value}': port 0 is none; 1 to 65535 are allowed",
            flag(key)
        ))),
        Err(_) => Err(Error::usage(format!(
            "{} '{value}': <IPv4 address>:<port> or [<IPv6 address>]:<port> is allowed; names are not looked up",
            flag(key)
        ))),
    }
}

/// Sectors of a block device.
fn sectors_of(option: &str, path: &str) -> Result<u64> {
    let what = format!("{option} '{path}'");
    let kind = std::fs::metadata(path).map_err(|e| Error::io(&what, &e))?;
    if !kind.file_type().is_block_device() {
        return Err(Error::usage(format!(
            "{what}: no block device; 'losetup --show -f {path}' makes one of a file"
        )));
    }
    let mut file = File::open(path).map_err(|e| Error::io(&what, &e))?;
    let bytes = file
        .seek(SeekFrom::End(0))
        .map_err(|e| Error::io(&what, &e))?;
    Ok(bytes / 512)
}

/// The table line of these options.
///
/// # Errors
///
/// Which value is wrong, and what would be right.
pub fn build(args: &CreateArgs) -> Result<Line> {
    one_word("volume", &args.volume)?;
    let set = args.set.as_deref().unwrap_or(&args.volume);
    let mut words = vec![args.role.clone(), set.to_string(), args.local.clone()];
    let given = args.options.given();
    for (what, value) in [("--role", &args.role), ("--local", &args.local)] {
        one_word(what, value)?;
    }
    for (key, value) in &given {
        one_word(&flag(key), value)?;
    }
    words.push((2 * given.len()).to_string());
    words.extend(
        given
            .iter()
            .flat_map(|(k, v)| [k.to_string(), v.to_string()]),
    );
    let mut line = Line { sectors: 0, words };
    {
        let words = line.words();
        let table = Table::parse(&words).map_err(|e| {
            let mut text = explain(&e);
            if args.set.is_none() && text.starts_with("--set ") {
                text.push_str(" (the set is named as the volume unless --set says otherwise)");
            }
            Error::usage(text)
        })?;
        for (key, value) in [("partner", table.partner), ("listen", table.listen)] {
            value.map_or(Ok(()), |v| address(key, v))?;
        }
    }
    line.sectors = match args.sectors.as_deref() {
        Some(text) => text.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
            Error::usage(format!(
                "--sectors '{text}': a number of sectors of 512 bytes, at least 1"
            ))
        })?,
        None => sectors_of("--local", &args.local)?,
    };
    check_remote(&line)?;
    check_record(&line)?;
    if !args.print {
        check_devices(&line)?;
    }
    Ok(line)
}

/// A copy on the device itself is none. Under another name the kernel meets it only when it opens the remote.
fn check_remote(line: &Line) -> Result<()> {
    let words = line.words();
    let Ok(t) = Table::parse(&words) else {
        return Ok(());
    };
    let number = |path: &str| {
        let is = std::fs::metadata(path).ok()?;
        is.file_type().is_block_device().then(|| is.rdev())
    };
    if number(t.local).is_some_and(|n| Some(n) == number(t.remote)) {
        return Err(Error::usage(format!(
            "--remote 'dev:{}': it is the local device; the copy has to be on another one",
            t.remote
        )));
    }
    Ok(())
}

/// The ownership record must not stand within the volume.
fn check_record(line: &Line) -> Result<()> {
    let words = line.words();
    let Ok(t) = Table::parse(&words) else {
        return Ok(());
    };
    let end = line.sectors.saturating_mul(512);
    if t.metadata == Some(t.local) && t.metadata_offset < end {
        return Err(Error::usage(format!(
            "--metadata-offset '{}': the ownership record would stand within the volume of {end} bytes; {} is the \
             first place behind it, if the device has {RECORD_AREA} bytes more from there on, else make the volume \
             shorter by --sectors",
            t.metadata_offset,
            end.next_multiple_of(4096)
        )));
    }
    Ok(())
}

/// What can be seen of the devices without opening them for writing. The kernel looks again.
fn check_devices(line: &Line) -> Result<()> {
    let words = line.words();
    let Ok(t) = Table::parse(&words) else {
        return Ok(());
    };
    let has = sectors_of("--local", t.local)?;
    if has < line.sectors {
        return Err(Error::usage(format!(
            "--sectors '{}': the local device {} has {has}",
            line.sectors, t.local
        )));
    }
    let log = sectors_of("--log", t.log)?.saturating_mul(512);
    let given = |key| line.option(key).unwrap_or("0");
    if t.log_offset >= log {
        return Err(Error::usage(format!(
            "--log-offset '{}': {} has {log} bytes",
            given("log_offset"),
            t.log
        )));
    }
    let end = t.log_offset.saturating_add(t.log_size);
    if end > log {
        return Err(Error::usage(format!(
            "--log-size '{}': the region would end at byte {end}, {} has {log}",
            given("log_size"),
            t.log
        )));
    }
    if let Some(path) = t.metadata {
        let has = sectors_of("--metadata", path)?.saturating_mul(512);
        if t.metadata_offset.saturating_add(RECORD_AREA) > has {
            return Err(Error::usage(format!(
                "--metadata-offset '{}': the ownership record needs {RECORD_AREA} bytes from there on, {path} has {has}",
                t.metadata_offset
            )));
        }
    }
    // The remote may be out of reach just now.
    match sectors_of("--remote", t.remote) {
        Ok(has) if has < line.sectors => Err(Error::usage(format!(
            "--remote 'dev:{}': it has {has} sectors, the volume {}",
            t.remote, line.sectors
        ))),
        Err(e) if e.exit == Exit::Usage => Err(e),
        _ => Ok(()),
    }
}
