// SPDX-License-Identifier: GPL-2.0

//! `rcopy events`: follows what happens, and says what it missed.

use crate::{
    cli::EventsArgs,
    error::{Exit, Result},
    nl::{
        client::{Client, Heard},
        names::OP_INFO_GET,
        sets,
        wire::{Attributes, Object},
        Kernel,
    },
    units::{count, date},
};
use serde::Serialize;
use std::{
    io::Write,
    sync::mpsc::{channel, Receiver, RecvTimeoutError},
    time::Duration,
};

/// Something to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// It has happened.
    Event(Object),
    /// These numbers were sent, and did not arrive.
    Missed {
        /// The first of them.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The numbers began anew: the module was loaded anew.
    Anew,
}

/// Finds gaps in what is heard.
#[derive(Default)]
pub struct Follower {
    last: Option<u64>,
    /// Whether `last` was heard, and not asked for.
    heard: bool,
    set: Option<String>,
}

impl Follower {
    /// Behind the event with this number; of one set, or of all.
    pub fn new(last: Option<u64>, set: Option<&str>) -> Follower {
        Follower {
            last,
            heard: false,
            set: set.map(str::to_string),
        }
    }

    /// What there is to be told once this was heard.
    pub fn hear(&mut self, notice: Object) -> Vec<Told> {
        let mut told = vec![];
        if let Some(seq) = notice.number("seq") {
            match self.last {
                Some(last) if seq > last.saturating_add(1) => told.push(Told::Missed {
                    first: last + 1,
                    last: seq - 1,
                }),
                // The first ones may have come before the number was asked for.
                Some(last) if seq <= last && self.heard => told.push(Told::Anew),
                _ => {}
            }
            (self.last, self.heard) = (Some(seq), true);
        }
        if self.set.as_deref().is_none_or(|s| s == notice.text("set")) {
            told.push(Told::Event(notice));
        }
        told
    }
}

/// What has happened, in words; without its time and its set.
pub fn words(event: &Object) -> String {
    let mut text = event.text("kind").to_string();
    match (event.text("old"), event.text("new")) {
        ("", "") => {}
        ("", new) => text.push_str(&format!(" {new}")),
        (old, new) => text.push_str(&format!(" {old} -> {new}")),
    }
    match (event.number("seq-first"), event.number("seq-last")) {
        (Some(a), Some(b)) if a <= b => text.push_str(&format!(", sequences {a} to {b}")),
        // From the next one on, of which there is none yet.
        (Some(a), _) => text.push_str(&format!(", sequences from {a} on")),
        (None, Some(b)) => text.push_str(&format!(", up to sequence {b}")),
        (None, None) => {}
    }
    if !event.text("reason").is_empty() {
        text.push_str(&format!(": {}", event.text("reason")));
    }
    text
}

#[derive(Serialize)]
struct JsonEvent<'a> {
    seq: Option<u64>,
    set: &'a str,
    #[serde(flatten)]
    what: Option<&'a Object>,
}

#[derive(Serialize)]
struct JsonMissed {
    missed: u64,
    first: u64,
    last: u64,
}

#[derive(Serialize)]
struct JsonAnew {
    anew: bool,
}

/// Tells it, in a line.
///
/// # Errors
///
/// It cannot be written.
pub fn tell(told: &Told, json: bool, out: &mut dyn Write) -> Result<()> {
    match told {
        Told::Event(n) if json => {
            let line = JsonEvent {
                seq: n.number("seq"),
                set: n.text("set"),
                what: n.object("what"),
            };
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
        }
        Told::Event(n) => {
            let none = Object::default();
            let e = n.object("what").unwrap_or(&none);
            let time = e.number("time").unwrap_or(0);
            let date = date(time / 1_000_000_000);
            let ms = time / 1_000_000 % 1000;
            let date = date.replace(" UTC", &format!(".{ms:03} UTC"));
            if let Some(n) = e.number("suppressed").filter(|n| *n > 0) {
                writeln!(
                    out,
                    "({} of this kind just before were not sent one by one)",
                    count(n, "event")
                )?;
            }
            write!(out, "{date}  {}  {}", n.text("set"), words(e))?;
            match e.number("generation") {
                Some(g) => writeln!(out, " (generation {g})")?,
                None => writeln!(out)?,
            }
        }
        Told::Missed { first, last } if json => {
            let line = JsonMissed {
                missed: last - first + 1,
                first: *first,
                last: *last,
            };
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)?;
        }
        Told::Missed { first, last } => writeln!(
            out,
            "MISSED {}, numbers {first} to {last}: 'rcopy status' shows how things are",
            count(last - first + 1, "event")
        )?,
        Told::Anew if json => {
            serde_json::to_writer(&mut *out, &JsonAnew { anew: true })?;
            writeln!(out)?;
        }
        Told::Anew => writeln!(
            out,
            "the numbers of events begin anew: the module was loaded anew"
        )?,
    }
    out.flush()?;
    Ok(())
}

/// Tells what comes out of a channel, until enough was told or nothing came for long enough.
///
/// # Errors
///
/// It cannot be written, or the listener failed.
pub fn follow(
    heard: &Receiver<Result<Heard>>,
    follower: &mut Follower,
    args: &EventsArgs,
    json: bool,
    out: &mut dyn Write,
) -> Result<Exit> {
    let mut events = 0;
    loop {
        let next = match args.idle {
            Some(s) => heard.recv_timeout(Duration::from_secs(s)),
            None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let notices = match next {
            Ok(heard) => match heard? {
                Heard::Events(all) => all,
                // The next number says how many are lost.
                Heard::Overrun => continue,
            },
            Err(_) => return Ok(Exit::Ok),
        };
        for notice in notices {
            for told in follower.hear(notice) {
                tell(&told, json, out)?;
                events += u64::from(matches!(told, Told::Event(_)));
                if args.count == Some(events) {
                    return Ok(Exit::Ok);
                }
            }
        }
    }
}

/// The command.
///
/// # Errors
///
/// There is no module.
pub fn run(args: &EventsArgs, json: bool, out: &mut dyn Write) -> Result<Exit> {
    let mut listener = Client::listen()?;
    // Asked once the group is joined: what comes behind this number arrives, or is missed.
    let info = Client::open()?.ask(&OP_INFO_GET, &Attributes::default())?;
    let last = info.first().and_then(|i| i.number("event-seq"));
    // It may come; a name with a slip never does.
    if let Some(name) = args.set.as_deref() {
        match sets(&mut Client::open()?, Some(name)) {
            Err(e) if e.exit == Exit::NotFound => eprintln!("rcopy: {}; it is waited for", e.text),
            _ => {}
        }
    }
    let (send, heard) = channel();
    std::thread::spawn(move || loop {
        let got = listener.hear();
        let failed = got.is_err();
        if send.send(got).is_err() || failed {
            return;
        }
    });
    let mut follower = Follower::new(last, args.set.as_deref());
    follow(&heard, &mut follower, args, json, out)
}
