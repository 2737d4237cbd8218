// SPDX-License-Identifier: GPL-2.0

//! The file of volumes: for each the name and the table line, as `dmsetup table` prints them.
//!
//! ```text
//! # comment
//! vol1: 0 131072 remote-copy initiator vol1 /dev/disk/by-id/wwn-0x600 8 log /dev/pmem0 ...
//! ```

use crate::{
    error::{Error, Exit, Result},
    line::Line,
};
use std::{fs, io::ErrorKind, io::Write, path::Path};

/// One volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub volume: String,
    /// Its table line.
    pub line: Line,
}

impl Entry {
    /// The name of its set.
    pub fn set(&self) -> &str {
        self.line.words.get(1).map_or("", String::as_str)
    }
}

fn parse_line(text: &str) -> std::result::Result<Option<Entry>, String> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (volume, line) = text
        .split_once(": ")
        .ok_or("'<volume>: <table line>' is needed")?;
    Ok(Some(Entry {
        volume: volume.trim().to_string(),
        line: Line::parse(line)?,
    }))
}

/// Reads the text of a file.
///
/// # Errors
///
/// Which line is wrong, and why.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Entry>> {
    let mut all: Vec<Entry> = vec![];
    for (n, line) in text.lines().enumerate() {
        let wrong = |e: String| Error::usage(format!("{}, line {}: {e}", path.display(), n + 1));
        let Some(entry) = parse_line(line).map_err(wrong)? else {
            continue;
        };
        if all.iter().any(|e| e.volume == entry.volume) {
            return Err(wrong(format!("volume '{}' stands twice", entry.volume)));
        }
        all.push(entry);
    }
    Ok(all)
}

/// Reads the file; none is as good as an empty one.
///
/// # Errors
///
/// It cannot be read, or a line is wrong.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(Error::io(&path.display().to_string(), &e)),
    }
}

/// Writes a file so that a reader, or whoever comes after a crash, finds the old or the new one.
///
/// # Errors
///
/// It cannot be written.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let mut name = path
        .file_name()
        .map(ToOwned::to_owned)
        .ok_or_else(|| Error::usage(format!("{}: a file's name is needed", path.display())))?;
    // In the same folder, or it could not be renamed; hidden, and no name that a collector takes.
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(format!(".{}", name.to_string_lossy()));
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&new);
        match e.kind() {
            ErrorKind::NotFound => Error::new(
                Exit::NotFound,
                format!("{}: its folder does not exist", path.display()),
            ),
            _ => Error::io(&path.display().to_string(), &e),
        }
    })
}

/// Notes a volume, in place of an older line of the same name. Comments stay.
///
/// # Errors
///
/// The file cannot be read or written.
pub fn save(path: &Path, entry: &Entry) -> Result<()> {
    let old = read_text(path)?;
    let line = format!("{}: {}", entry.volume, entry.line);
    let mut lines = without(&old, &entry.volume);
    lines.push(&line);
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|e| Error::io(&folder.display().to_string(), &e))?;
    }
    replace(path, &(lines.join("\n") + "\n"))
}

/// Takes a volume out. Answers whether it was there.
///
/// # Errors
///
/// The file cannot be read or written.
pub fn forget(path: &Path, volume: &str) -> Result<bool> {
    let old = read_text(path)?;
    let lines = without(&old, volume);
    if lines.len() == old.lines().count() {
        return Ok(false);
    }
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    replace(path, &text)?;
    Ok(true)
}

fn read_text(path: &Path) -> Result<String> {
    read(path)?;
    match fs::read_to_string(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::io(&path.display().to_string(), &e))
        }
        text => Ok(text.unwrap_or_default()),
    }
}

fn without<'a>(text: &'a str, volume: &str) -> Vec<&'a str> {
    let is = |l: &&str| {
        parse_line(l)
            .ok()
            .flatten()
            .is_some_and(|e| e.volume == volume)
    };
    text.lines().filter(|l| !is(l)).collect()
}
