// SPDX-License-Identifier: GPL-2.0

//! `rcopy assemble`: finds sets by what their logs say, and starts their volumes.
//!
//! A log names its set, but no devices: those are in the file of volumes, which `create --save` writes.
//! What is found settles which device is the log (names of persistent memory change from one start to the
//! next), and that the set was made already.

use crate::{
    cli::AssembleArgs,
    devices::{self, Found, Places, What},
    dm::{self, Running},
    dump::role,
    error::{Error, Exit, Result},
    line::Line,
    units::{count, size, uuid},
    volumes::{self, Entry},
};
use core_crate::{
    format::{Copy_, Super},
    ownership::Ownership,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
};

/// What becomes of a volume.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Fate {
    /// Its device is there already.
    Running,
    /// It can be started.
    Ready,
    /// It was.
    Started,
    /// It was to be, and the kernel refused.
    Failed {
        /// Its words.
        why: String,
    },
    /// It is not clear which log is its.
    Unclear {
        /// In words.
        why: String,
    },
    /// No log of its set was found.
    NoLog,
}

/// A volume that is noted.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    volume: String,
    set: String,
    #[serde(flatten)]
    fate: Fate,
    /// The line that creates it, with the log where it was found.
    table: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
}

#[derive(Serialize)]
struct Log {
    device: String,
    offset: u64,
    bytes: u64,
    node: u32,
    role: &'static str,
    generation: u32,
    copy: &'static str,
    alone: bool,
}

#[derive(Serialize)]
struct Record {
    device: String,
    offset: u64,
    generation: u32,
    owner_node: u32,
    mirror: &'static str,
    out_of_date_since: Option<u64>,
}

#[derive(Serialize)]
struct Set {
    name: String,
    uuid: String,
    logs: Vec<Log>,
    records: Vec<Record>,
    volumes: Vec<Volume>,
    /// A line for a set whose volumes are not noted: what is in angle brackets no log knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
}

#[derive(Serialize)]
struct Damaged {
    device: String,
    offset: u64,
    text: String,
}

#[derive(Serialize)]
struct Unread {
    device: String,
    text: String,
}

/// Everything, as `--json` prints it.
#[derive(Serialize)]
pub struct Report {
    sets: Vec<Set>,
    /// Noted volumes of whose set no log was found.
    without_log: Vec<Volume>,
    damaged: Vec<Damaged>,
    unread: Vec<Unread>,
}

fn same_device(a: &str, b: &str) -> bool {
    let real = |p: &str| fs::canonicalize(p).unwrap_or_else(|_| p.into());
    a == b || real(a) == real(b)
}

fn number(text: Option<&str>) -> u64 {
    let Some(text) = text else { return 0 };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => 0,
    };
    digits.parse::<u64>().unwrap_or(0) << shift
}

/// Which log a noted volume has, and what its line becomes.
///
/// # Errors
///
/// In words: it is not clear.
pub fn match_log(
    entry: &Entry,
    logs: &[(String, u64, Super)],
) -> std::result::Result<(Line, Option<String>), Fate> {
    let mine: Vec<_> = logs
        .iter()
        .filter(|(_, _, s)| s.name.as_str() == entry.set())
        .collect();
    let noted = entry.line.option("log").unwrap_or("");
    let noted_at = number(entry.line.option("log_offset"));
    let here = |(device, offset, _): &&(String, u64, Super)| {
        same_device(device, noted) && *offset == noted_at
    };
    let line = entry.line.with("create", None);
    if mine.iter().copied().any(|l| here(&l)) {
        return Ok((line, None));
    }
    match mine.as_slice() {
        [] => Err(Fate::NoLog),
        [(device, offset, _)] => {
            let at = offset.to_string();
            let line = line
                .with("log", Some(device))
                .with("log_offset", (*offset != 0).then_some(at.as_str()));
            Ok((
                line,
                Some(format!(
                    "the log is on {device} at {offset}, not on {noted} at {noted_at} as noted"
                )),
            ))
        }
        many => {
            let places: Vec<String> = many
                .iter()
                .map(|(d, o, s)| format!("{d} at {o} (node {:08x})", s.node))
                .collect();
            Err(Fate::Unclear {
                why: format!(
                    "logs of this set are on {}, and none where the file of volumes says ({noted} at {noted_at}): write \
                     the right one into it",
                    places.join(" and on ")
                ),
            })
        }
    }
}

fn template(logs: &[Log], name: &str) -> String {
    let log = logs.first().map_or("<device>", |l| l.device.as_str());
    let offset = logs.first().map_or(0, |l| l.offset);
    let role = match logs.first().map(|l| l.role) {
        Some("standby") => "standby",
        _ => "initiator",
    };
    let (n, at) = match offset {
        0 => (8, String::new()),
        o => (10, format!(" log_offset {o}")),
    };
    format!(
        "0 <sectors> remote-copy {role} {name} <local device> {n} log {log}{at} remote dev:<device> partner \
         <address:port> listen <address:port>"
    )
}

fn log(device: &str, offset: u64, s: &Super) -> Log {
    Log {
        device: device.to_string(),
        offset,
        bytes: s.geometry.bytes(),
        node: s.node,
        role: role(s),
        generation: s.generation.0,
        copy: match s.copy {
            Copy_::Complete => "complete",
            Copy_::Incomplete => "incomplete",
        },
        alone: s.alone,
    }
}

fn record(device: &str, offset: u64, r: &Ownership) -> Record {
    Record {
        device: device.to_string(),
        offset,
        generation: r.generation.0,
        owner_node: r.node,
        mirror: if r.stale.is_some() {
            "out-of-date"
        } else {
            "up-to-date"
        },
        out_of_date_since: r.stale.map(|s| s.since.0),
    }
}

/// Puts together what was found and what is noted.
pub fn report(
    found: &[Found],
    unread: Vec<(String, String)>,
    noted: &[Entry],
    running: &[Running],
) -> Report {
    let mut sets: BTreeMap<[u8; 16], Set> = BTreeMap::new();
    let mut logs = vec![];
    let mut damaged = vec![];
    for f in found {
        let (name, id) = match &f.what {
            What::Log(s) => (s.name, s.uuid),
            What::Record(r) => (r.name, r.uuid),
            What::Damaged(text) => {
                damaged.push(Damaged {
                    device: f.device.clone(),
                    offset: f.offset,
                    text: text.clone(),
                });
                continue;
            }
        };
        let set = sets.entry(id).or_insert_with(|| Set {
            name: name.as_str().to_string(),
            uuid: uuid(&id),
            logs: vec![],
            records: vec![],
            volumes: vec![],
            template: None,
        });
        match &f.what {
            What::Log(s) => {
                set.logs.push(log(&f.device, f.offset, s));
                logs.push((f.device.clone(), f.offset, **s));
            }
            What::Record(r) => set.records.push(record(&f.device, f.offset, r)),
            What::Damaged(_) => {}
        }
    }
    let mut without_log = vec![];
    for entry in noted {
        let (fate, line, remark) = match match_log(entry, &logs) {
            Ok((line, remark)) => (Fate::Ready, line, remark),
            Err(fate) => (fate, entry.line.with("create", None), None),
        };
        let fate = if running.iter().any(|r| r.volume == entry.volume) {
            Fate::Running
        } else {
            fate
        };
        let volume = Volume {
            volume: entry.volume.clone(),
            set: entry.set().to_string(),
            fate,
            table: line.to_string(),
            remark,
        };
        match sets
            .values_mut()
            .find(|s| s.name == entry.set() && !s.logs.is_empty())
        {
            Some(set) => set.volumes.push(volume),
            None => without_log.push(volume),
        }
    }
    // Volumes that run and are not noted.
    for r in running {
        let words: Vec<&str> = r.line.split(' ').collect();
        let name = words.get(4).copied().unwrap_or("");
        if noted.iter().any(|e| e.volume == r.volume) {
            continue;
        }
        if let Some(set) = sets.values_mut().find(|s| s.name == name) {
            set.volumes.push(Volume {
                volume: r.volume.clone(),
                set: name.to_string(),
                fate: Fate::Running,
                table: r.line.clone(),
                remark: None,
            });
        }
    }
    for set in sets.values_mut() {
        if set.volumes.is_empty() && !set.logs.is_empty() {
            set.template = Some(template(&set.logs, &set.name));
        }
    }
    Report {
        sets: sets.into_values().collect(),
        without_log,
        damaged,
        unread: unread
            .into_iter()
            .map(|(device, text)| Unread { device, text })
            .collect(),
    }
}

impl Report {
    /// Keeps one set.
    pub fn only(&mut self, name: &str) {
        self.sets.retain(|s| s.name == name);
        self.without_log.retain(|v| v.set == name);
    }

    /// Starts what can be, by `start`.
    pub fn start(&mut self, start: impl Fn(&str, &str) -> Result<()>) {
        for v in self.sets.iter_mut().flat_map(|s| &mut s.volumes) {
            if v.fate == Fate::Ready {
                v.fate = match start(&v.volume, &v.table) {
                    Ok(()) => Fate::Started,
                    Err(e) => Fate::Failed { why: e.text },
                };
            }
        }
    }

    /// The exit status.
    pub fn exit(&self, started: bool) -> Exit {
        let volumes = || self.sets.iter().flat_map(|s| &s.volumes);
        if !self.damaged.is_empty() {
            Exit::Damaged
        } else if started
            && volumes().chain(&self.without_log).any(|v| {
                matches!(
                    v.fate,
                    Fate::Failed { .. } | Fate::Unclear { .. } | Fate::NoLog
                )
            })
        {
            Exit::Failed
        } else if self.sets.is_empty() {
            Exit::NotFound
        } else {
            Exit::Ok
        }
    }

    /// For people.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for s in &self.sets {
            writeln!(out, "set {}  {}", s.name, s.uuid)?;
            for l in &s.logs {
                writeln!(
                    out,
                    "  log     {}{}: {} of generation {}, copy {}{}, node {:08x}, {}",
                    l.device,
                    at(l.offset),
                    l.role,
                    l.generation,
                    l.copy,
                    if l.alone { ", serves alone" } else { "" },
                    l.node,
                    size(l.bytes)
                )?;
            }
            for r in &s.records {
                let mirror = match r.out_of_date_since {
                    Some(n) => format!("its partner's mirror is out of date since {n}"),
                    None => "its partner's mirror is up to date".to_string(),
                };
                writeln!(
                    out,
                    "  record  {}{}: node {:08x} owns the set in generation {}; {mirror}",
                    r.device,
                    at(r.offset),
                    r.owner_node,
                    r.generation
                )?;
            }
            for v in &s.volumes {
                v.print(out)?;
            }
            if let Some(t) = &s.template {
                writeln!(out, "  line    {t}")?;
                writeln!(
                    out,
                    "          (no volume of this set is in the file of volumes: 'rcopy create --save' notes it)"
                )?;
            }
        }
        for v in &self.without_log {
            writeln!(out, "set {}", v.set)?;
            v.print(out)?;
        }
        for d in &self.damaged {
            writeln!(out, "damaged   {}{}: {}", d.device, at(d.offset), d.text)?;
        }
        for u in &self.unread {
            writeln!(out, "not read  {}", u.text)?;
        }
        Ok(())
    }
}

impl Volume {
    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let fate = match &self.fate {
            Fate::Running => "runs".to_string(),
            Fate::Ready => "can be started".to_string(),
            Fate::Started => "started".to_string(),
            Fate::Failed { why } => format!("NOT STARTED: {}", why.replace('\n', " ")),
            Fate::Unclear { why } => format!("UNCLEAR: {why}"),
            Fate::NoLog => "NO LOG of its set was found".to_string(),
        };
        writeln!(out, "  volume  {}: {fate}", self.volume)?;
        if let Some(r) = &self.remark {
            writeln!(out, "          {r}")?;
        }
        writeln!(out, "          {}", self.table)
    }
}

fn at(offset: u64) -> String {
    match offset {
        0 => String::new(),
        n => format!(" at {n}"),
    }
}

fn is_volume(device: &str, volume: &str) -> bool {
    device.strip_prefix("/dev/mapper/") == Some(volume)
}

/// The command.
///
/// # Errors
///
/// Nothing could be looked at.
pub fn run(args: &AssembleArgs, json: bool, out: &mut dyn Write) -> Result<Exit> {
    let noted = volumes::read(&args.config)?;
    let running = match dm::running() {
        Ok(all) => all,
        // Images can be looked at anywhere.
        Err(_) if !args.start => vec![],
        Err(e) => return Err(e),
    };
    let list = if args.devices.is_empty() {
        let mut all = devices::all(Path::new("/sys"), Path::new("/dev"))?;
        // A volume has its log beside it, not on it, and a standby's refuses to be read.
        all.retain(|d| !running.iter().any(|r| is_volume(d, &r.volume)));
        all
    } else {
        args.devices.clone()
    };
    let places = if args.deep {
        Places::Everywhere
    } else {
        let keys = ["log_offset", "metadata_offset"];
        let offsets = noted
            .iter()
            .flat_map(|e| keys.map(|k| number(e.line.option(k))));
        Places::At(offsets.chain([0]).collect::<BTreeSet<u64>>())
    };
    let (mut found, mut unread, mut denied) = (vec![], vec![], 0);
    for device in &list {
        match devices::look(device, &places) {
            Ok(mut l) => {
                found.append(&mut l.found);
                unread.extend(l.unread.map(|text| (device.clone(), text)));
            }
            Err(e) => {
                denied += usize::from(e.exit == Exit::Permission);
                // A device that was named has to be there.
                if !args.devices.is_empty() {
                    return Err(e);
                }
                unread.push((device.clone(), e.text));
            }
        }
    }
    if denied > 0 && denied == list.len() {
        return Err(Error::new(
            Exit::Permission,
            "no block device can be read: it takes root",
        ));
    }
    let mut report = report(&found, unread, &noted, &running);
    if let Some(name) = &args.set {
        report.only(name);
    }
    if args.start {
        report.start(dm::create);
    }
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else if report.sets.is_empty() && report.damaged.is_empty() {
        report.print(out)?;
        writeln!(
            out,
            "no log of remote-copy was found on {}",
            count(list.len() as u64, "device")
        )?;
    } else {
        report.print(out)?;
    }
    // Of all devices, some are nobody's business; one that was named is.
    let exit = report.exit(args.start);
    let named = !args.devices.is_empty() && !report.unread.is_empty();
    Ok(if named && matches!(exit, Exit::Ok | Exit::NotFound) {
        Exit::Failed
    } else {
        exit
    })
}
