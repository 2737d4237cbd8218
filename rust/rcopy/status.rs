// SPDX-License-Identifier: GPL-2.0

//! `rcopy status`: how sets are, at a glance.

use crate::{
    cli::StatusArgs,
    error::{Exit, Result},
    events,
    judge::{behind, lacks},
    nl::{
        names::{OP_LINK_GET, OP_VOLUME_GET},
        parts, sets,
        wire::Object,
        Kernel,
    },
    units::{count, date, duration, size},
};
use serde::Serialize;
use std::{
    io::{IsTerminal, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// All of it.
#[derive(Serialize)]
pub struct Status {
    sets: Vec<OneSet>,
}

#[derive(Serialize)]
struct OneSet {
    #[serde(flatten)]
    set: Object,
    /// What is less than configured.
    lacks: Vec<String>,
    links: Vec<Object>,
    volume: Vec<Object>,
}

/// Now, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

impl Status {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// There is no such set, or no module.
    pub fn get(kernel: &mut dyn Kernel, set: Option<&str>) -> Result<Status> {
        let sets = sets(kernel, set)?;
        let links = parts(kernel, &OP_LINK_GET, set)?;
        let volumes = parts(kernel, &OP_VOLUME_GET, set)?;
        let of = |all: &[Object], name: &str| -> Vec<Object> {
            all.iter()
                .filter(|o| o.text("set") == name)
                .cloned()
                .collect()
        };
        let one = |set: Object| OneSet {
            lacks: lacks(&set),
            links: of(&links, set.text("name")),
            volume: of(&volumes, set.text("name")),
            set,
        };
        Ok(Status {
            sets: sets.into_iter().map(one).collect(),
        })
    }

    /// For people.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn print(&self, now: u64, out: &mut dyn Write) -> std::io::Result<()> {
        if self.sets.is_empty() {
            writeln!(out, "no sets in this network namespace")?;
        }
        for (i, s) in self.sets.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            s.print(now, out)?;
        }
        Ok(())
    }

    /// The exit status for `--check`.
    pub fn check(&self) -> Exit {
        if self.sets.iter().any(|s| !s.lacks.is_empty()) {
            Exit::Degraded
        } else {
            Exit::Ok
        }
    }
}

fn since(seconds: Option<u64>, now: u64) -> String {
    match seconds {
        Some(s) if s > 0 => format!(" since {} ({})", date(s), duration(now.saturating_sub(s))),
        _ => String::new(),
    }
}

fn used(out: &mut dyn Write, set: &Object) -> std::io::Result<()> {
    let (Some(n), Some(most)) = (set.number("log-records"), set.number("log-records-max")) else {
        return Ok(());
    };
    let percent = |n: u64, of: u64| n.saturating_mul(100).checked_div(of).unwrap_or(0);
    let (bytes, bytes_most) = (
        set.number("log-bytes").unwrap_or(0),
        set.number("log-bytes-max").unwrap_or(0),
    );
    let full = if set.number("throttled").unwrap_or(0) != 0 {
        "  FULL"
    } else {
        ""
    };
    writeln!(
        out,
        "  log         {n} of {most} records ({} %), {} of {} ({} %){full}",
        percent(n, most),
        size(bytes),
        size(bytes_most),
        percent(bytes, bytes_most)
    )
}

impl OneSet {
    fn print(&self, now: u64, out: &mut dyn Write) -> std::io::Result<()> {
        let s = &self.set;
        writeln!(
            out,
            "{}  {}, {}{}, generation {}",
            s.text("name"),
            s.text("role"),
            s.text("state"),
            since(s.number("since"), now),
            s.number("generation").unwrap_or(0)
        )?;
        match self.lacks.as_slice() {
            [] => writeln!(out, "  protection  as configured")?,
            [first, rest @ ..] => {
                writeln!(out, "  protection  LESS than configured: {first}")?;
                for l in rest {
                    writeln!(out, "              and {l}")?;
                }
            }
        }
        self.print_partner(out)?;
        self.print_remote(out)?;
        used(out, s)?;
        self.print_ownership(out)?;
        if let Some(c) = s.object("counters") {
            let n = |name| c.number(name).unwrap_or(0);
            writeln!(
                out,
                "  counters    {}, {} shipped, {} mirrored, {}, log full {}",
                count(n("writes"), "write"),
                n("shipped"),
                n("mirrored"),
                count(n("local-errors"), "local error"),
                count(n("log-full"), "time")
            )?;
        }
        if let Some(e) = s.object("last-event") {
            let ago = now.saturating_sub(e.number("time").unwrap_or(0) / 1_000_000_000);
            writeln!(
                out,
                "  last event  {} ago: {}",
                duration(ago),
                events::words(e)
            )?;
        }
        Ok(())
    }

    fn link(&self, kind: &str) -> Option<&Object> {
        self.links.iter().find(|l| l.text("kind") == kind)
    }

    fn print_partner(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let s = &self.set;
        if s.text("partner") == "none" {
            return writeln!(
                out,
                "  partner     none: the log dies with this node's persistent memory"
            );
        }
        let copy = match s.text("role") {
            "standby" => "this copy is",
            _ => "its copy is",
        };
        write!(out, "  partner     {}", s.text("partner"))?;
        if !s.text("mirror").is_empty() {
            write!(out, "; {copy} {}", s.text("mirror"))?;
        }
        if s.text("record-mirror") == "out-of-date" {
            match s.number("out-of-date-since") {
                // The copy's own word says the first half already.
                Some(n) if s.text("mirror") == "out-of-date" => {
                    write!(out, " since sequence {n}")?;
                }
                Some(n) => write!(out, " (out of date since sequence {n})")?,
                None => {}
            }
        }
        if let Some(l) = self.link("partner") {
            write!(out, "; {}", l.text("address"))?;
            if let Some(ms) = l.number("heard-ms") {
                write!(out, ", heard {}.{} s ago", ms / 1000, ms % 1000 / 100)?;
            }
        }
        writeln!(out)
    }

    fn print_remote(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let s = &self.set;
        let devices: Vec<&str> = self.volume.iter().map(|v| v.text("remote")).collect();
        let devices = devices.join(", ");
        let paused = if s.text("shipping") == "paused" {
            "; shipping PAUSED"
        } else {
            ""
        };
        write!(out, "  remote      ")?;
        match s.text("remote") {
            "" => writeln!(out, "{devices} ({})", s.text("mode")),
            "in-step" => writeln!(out, "in step ({}), {devices}{paused}", s.text("mode")),
            "behind" => writeln!(
                out,
                "behind by {} ({}), {devices}{paused}",
                behind(s),
                s.text("mode")
            ),
            word => {
                write!(
                    out,
                    "{word}, behind by {} ({}), {devices}{paused}",
                    behind(s),
                    s.text("mode")
                )?;
                match (s.number("missing-first"), s.number("missing-last")) {
                    (Some(a), Some(b)) => writeln!(out, "; it may miss sequences {a} to {b}"),
                    (Some(a), None) => writeln!(out, "; it may miss sequences from {a} on"),
                    _ => writeln!(out),
                }
            }
        }
    }

    fn print_ownership(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let s = &self.set;
        write!(
            out,
            "  ownership   fencing {}, takeover {}, without its partner: {}",
            s.text("fencing"),
            s.text("takeover"),
            s.text("partner-lost")
        )?;
        match s.text("record") {
            "" | "unused" => writeln!(out),
            r => {
                write!(out, "; record {r}")?;
                if let Some(g) = s.number("record-generation") {
                    write!(out, ", generation {g}")?;
                }
                if !s.text("record-mirror").is_empty() {
                    write!(out, ", mirror {}", s.text("record-mirror"))?;
                }
                writeln!(out)
            }
        }
    }
}

/// The command.
///
/// # Errors
///
/// There is no such set, or no module.
pub fn run(
    kernel: &mut dyn Kernel,
    args: &StatusArgs,
    json: bool,
    out: &mut dyn Write,
) -> Result<Exit> {
    let (set, watch) = args.asked()?;
    loop {
        let status = Status::get(kernel, set)?;
        if json {
            // Watched, one object a line.
            match watch {
                Some(_) => serde_json::to_writer(&mut *out, &status)?,
                None => serde_json::to_writer_pretty(&mut *out, &status)?,
            }
            writeln!(out)?;
        } else {
            if watch.is_some() && std::io::stdout().is_terminal() {
                write!(out, "\x1b[H\x1b[2J")?;
            }
            status.print(now(), out)?;
        }
        let Some(seconds) = watch else {
            return Ok(if args.check { status.check() } else { Exit::Ok });
        };
        if !json {
            writeln!(out, "\n{}  every {}", date(now()), count(seconds, "second"))?;
        }
        out.flush()?;
        std::thread::sleep(Duration::from_secs(seconds));
    }
}
