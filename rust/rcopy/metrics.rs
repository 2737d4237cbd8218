// SPDX-License-Identifier: GPL-2.0

//! `rcopy metrics`: the text exposition format of Prometheus, for node_exporter's textfile collector.

use crate::{
    cli::MetricsArgs,
    error::{Exit, Result},
    judge::lacks,
    nl::{
        names::{
            Words, MIRROR_STATE, OP_INFO_GET, OP_LINK_GET, OP_STATS_GET, PARTNER_STATE,
            REMOTE_STATE, SET_ROLE, SET_STATE,
        },
        parts, sets,
        wire::{Attributes, Object},
        Kernel,
    },
    volumes,
};
use std::{fmt::Write as _, io::Write};

/// What kind of metric it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric of the catalogue.
pub struct Metric {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
}

/// In front of every name.
pub const PREFIX: &str = "remote_copy_";

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        help,
    }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        help,
    }
}

/// The catalogue, in the order in which it is printed. The guide is compared with it.
pub const CATALOGUE: &[Metric] = &[
    gauge("up", "1: the module is loaded and answers"),
    gauge(
        "info",
        "1; versions of the module, the log format and the partner protocol",
    ),
    gauge("sets", "sets in this network namespace"),
    counter(
        "events_total",
        "events that were sent in this network namespace",
    ),
    counter(
        "events_suppressed_total",
        "events that were not sent one by one, because there were too many",
    ),
    gauge("set_info", "1; UUID, mode, fencing and policies of a set"),
    gauge(
        "state",
        "1 for the state that the set is in, 0 for the others",
    ),
    gauge("role", "1 for what this node is, 0 for the others"),
    gauge(
        "partner",
        "1 for the state of the connection to the partner, 0 for the others",
    ),
    gauge(
        "mirror",
        "1 for what the partner's copy (a standby: this one) counts for, 0 for the others",
    ),
    gauge("remote", "1 for the state of the remote, 0 for the others"),
    gauge(
        "degraded",
        "1: the set has less protection than is configured",
    ),
    gauge(
        "state_since_seconds",
        "when the state began, seconds since 1970",
    ),
    gauge("generation", "newest reign that this node knows of"),
    gauge("behind_records", "records that the remote is behind"),
    gauge("behind_bytes", "bytes of data in them"),
    gauge("behind_seconds", "age of the oldest of them"),
    gauge("sequence_last", "newest sequence given"),
    gauge(
        "sequence_acked",
        "every sequence up to this one was acknowledged to the host",
    ),
    gauge(
        "sequence_remote",
        "every sequence up to this one is durable at the remote",
    ),
    gauge("sequence_retired", "low-water mark of the log"),
    gauge("log_records", "records in the log"),
    gauge("log_records_max", "most records that the log has room for"),
    gauge("log_bytes", "bytes of data in the log"),
    gauge(
        "log_bytes_max",
        "most bytes of data that the log has room for",
    ),
    gauge("throttled", "1: writes wait for space in the log"),
    gauge("shipping_paused", "1: shipping is paused"),
    gauge(
        "out_of_step",
        "1: the remote may miss sequences since a takeover by force",
    ),
    gauge("volumes", "volumes of the set on this node"),
    gauge("volumes_wanted", "volumes that the set has"),
    counter("writes_total", "writes accepted"),
    counter(
        "shipped_total",
        "records written to the remote, repetitions counted",
    ),
    counter("mirrored_total", "records stored for the partner"),
    counter("log_full_total", "times that a write found the log full"),
    counter("local_errors_total", "local writes that failed"),
    gauge(
        "replayed_records",
        "records written to the local unit by the last replay",
    ),
    gauge(
        "takeover_records",
        "records that the last takeover of this node found",
    ),
    gauge(
        "takeover_seconds",
        "how long the last takeover of this node took",
    ),
    gauge("link_up", "1: the link is connected"),
    gauge(
        "link_heard_seconds",
        "how long ago the other side was heard",
    ),
    Metric {
        name: "stage_seconds",
        kind: Kind::Histogram,
        help: "how long a stage in the life of a write takes",
    },
];

/// The buckets of a histogram that are printed end at 2^n nanoseconds, for these n: 1 µs to 17 s.
const BUCKETS: std::ops::RangeInclusive<usize> = 10..=34;

/// Lines of one metric after the other.
#[derive(Default)]
struct Page {
    /// By place in the catalogue.
    lines: Vec<String>,
}

/// A label's value, as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn labels(all: &[(&str, &str)]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let all: Vec<String> = all
        .iter()
        .map(|(k, v)| format!("{k}=\"{}\"", escaped(v)))
        .collect();
    format!("{{{}}}", all.join(","))
}

fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

impl Page {
    fn line(&mut self, name: &str, suffix: &str, with: &[(&str, &str)], value: &str) {
        self.lines.resize(CATALOGUE.len(), String::new());
        let Some(at) = CATALOGUE.iter().position(|m| m.name == name) else {
            // A test prints all of them.
            debug_assert!(false, "{name} is not in the catalogue");
            return;
        };
        let _ = writeln!(
            self.lines[at],
            "{PREFIX}{name}{suffix}{} {value}",
            labels(with)
        );
    }

    fn put(&mut self, name: &str, with: &[(&str, &str)], value: u64) {
        self.line(name, "", with, &value.to_string());
    }

    fn maybe(&mut self, name: &str, with: &[(&str, &str)], value: Option<u64>) {
        if let Some(v) = value {
            self.put(name, with, v);
        }
    }

    /// One line for each word.
    fn words(&mut self, name: &str, set: &str, words: &Words, is: &str) {
        for w in words.words.iter().filter(|_| !is.is_empty()) {
            self.put(name, &[("set", set), (name, w)], u64::from(*w == is));
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (m, lines) in CATALOGUE
            .iter()
            .zip(&self.lines)
            .filter(|(_, l)| !l.is_empty())
        {
            let kind = match m.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let _ = write!(
                text,
                "# HELP {PREFIX}{0} {1}\n# TYPE {PREFIX}{0} {kind}\n{lines}",
                m.name, m.help
            );
        }
        text
    }

    fn set(&mut self, s: &Object) {
        let set = s.text("name");
        let one = [("set", set)];
        let info: Vec<(&str, &str)> = [("set", set)]
            .into_iter()
            .chain(["uuid", "mode", "fencing", "takeover"].map(|k| (k, s.text(k))))
            .chain([("partner_lost", s.text("partner-lost"))])
            .collect();
        self.put("set_info", &info, 1);
        self.words("state", set, &SET_STATE, s.text("state"));
        self.words("role", set, &SET_ROLE, s.text("role"));
        self.words("partner", set, &PARTNER_STATE, s.text("partner"));
        self.words("mirror", set, &MIRROR_STATE, s.text("mirror"));
        self.words("remote", set, &REMOTE_STATE, s.text("remote"));
        self.put("degraded", &one, u64::from(!lacks(s).is_empty()));
        for (name, key) in [
            ("state_since_seconds", "since"),
            ("generation", "generation"),
            ("behind_records", "behind"),
            ("behind_bytes", "behind-bytes"),
            ("sequence_last", "seq-last"),
            ("sequence_acked", "seq-acked"),
            ("sequence_remote", "seq-remote"),
            ("sequence_retired", "seq-retired"),
            ("log_records", "log-records"),
            ("log_records_max", "log-records-max"),
            ("log_bytes", "log-bytes"),
            ("log_bytes_max", "log-bytes-max"),
            ("throttled", "throttled"),
            ("volumes", "volumes"),
            ("volumes_wanted", "volumes-wanted"),
        ] {
            self.maybe(name, &one, s.number(key));
        }
        if let Some(ns) = s.number("behind-ns") {
            self.line("behind_seconds", "", &one, &seconds(ns));
        }
        if !s.text("shipping").is_empty() {
            self.put(
                "shipping_paused",
                &one,
                u64::from(s.text("shipping") == "paused"),
            );
        }
        self.put(
            "out_of_step",
            &one,
            u64::from(s.number("missing-first").is_some()),
        );
        let none = Object::default();
        let c = s.object("counters").unwrap_or(&none);
        for (name, key) in [
            ("writes_total", "writes"),
            ("shipped_total", "shipped"),
            ("mirrored_total", "mirrored"),
            ("log_full_total", "log-full"),
            ("local_errors_total", "local-errors"),
            ("replayed_records", "replayed"),
            ("takeover_records", "takeover-records"),
        ] {
            self.maybe(name, &one, c.number(key));
        }
        if let Some(ms) = c.number("takeover-ms") {
            self.line(
                "takeover_seconds",
                "",
                &one,
                &seconds(ms.saturating_mul(1_000_000)),
            );
        }
    }

    fn link(&mut self, l: &Object) {
        let member = l
            .number("member")
            .map(|m| m.to_string())
            .unwrap_or_default();
        let mut with = vec![("set", l.text("set")), ("kind", l.text("kind"))];
        if !member.is_empty() {
            with.push(("member", &member));
        }
        with.push(("address", l.text("address")));
        self.put("link_up", &with, u64::from(l.text("state") == "connected"));
        if let Some(ms) = l.number("heard-ms") {
            self.line(
                "link_heard_seconds",
                "",
                &with,
                &seconds(ms.saturating_mul(1_000_000)),
            );
        }
    }

    /// Bucket i of the module counts from 2^i up to 2^(i+1) ns; a bucket here counts all below its end.
    fn histogram(&mut self, set: &str, l: &Object) {
        let with = [("set", set), ("stage", l.text("stage"))];
        let buckets = l.numbers("buckets");
        for n in BUCKETS {
            let below: u64 = buckets.iter().take(n).sum();
            let le = seconds(1 << n);
            self.line(
                "stage_seconds",
                "_bucket",
                &[with[0], with[1], ("le", &le)],
                &below.to_string(),
            );
        }
        // The module adds to them one after the other: the three must agree here.
        let all: u64 = buckets.iter().sum();
        self.line(
            "stage_seconds",
            "_bucket",
            &[with[0], with[1], ("le", "+Inf")],
            &all.to_string(),
        );
        self.line(
            "stage_seconds",
            "_sum",
            &with,
            &seconds(l.number("sum-ns").unwrap_or(0)),
        );
        self.line("stage_seconds", "_count", &with, &all.to_string());
    }
}

/// The page of a kernel that answers.
///
/// # Errors
///
/// It refuses.
pub fn page(kernel: &mut dyn Kernel) -> Result<String> {
    let mut p = Page::default();
    p.put("up", &[], 1);
    let info = kernel.ask(&OP_INFO_GET, &Attributes::default())?;
    if let Some(i) = info.first() {
        let n = |k| i.number(k).unwrap_or(0).to_string();
        let (format, protocol) = (n("format-version"), n("protocol-version"));
        let with = [
            ("module_version", i.text("module-version")),
            ("format_version", &format),
            ("protocol_version", &protocol),
        ];
        p.put("info", &with, 1);
        p.maybe("sets", &[], i.number("sets"));
        p.maybe("events_total", &[], i.number("event-seq"));
        p.maybe(
            "events_suppressed_total",
            &[],
            i.number("events-suppressed"),
        );
    }
    for s in sets(kernel, None)? {
        p.set(&s);
    }
    for l in parts(kernel, &OP_LINK_GET, None)? {
        p.link(&l);
    }
    for s in parts(kernel, &OP_STATS_GET, None)? {
        for l in s.objects("latency") {
            p.histogram(s.text("set"), l);
        }
    }
    Ok(p.text())
}

/// The page when there is no answer: without the module, or because of an error.
pub fn page_without_answer() -> String {
    let mut p = Page::default();
    p.put("up", &[], 0);
    p.text()
}

/// The command. Whatever goes wrong, a page is written that says so: an older one would go on saying that
/// all is well.
///
/// # Errors
///
/// There is no module, the kernel refuses, or the file cannot be written.
pub fn run(kernel: Result<impl Kernel>, args: &MetricsArgs, out: &mut dyn Write) -> Result<Exit> {
    let (text, end) = match kernel.and_then(|mut k| page(&mut k)) {
        Ok(text) => (text, Ok(Exit::Ok)),
        Err(e) => (page_without_answer(), Err(e)),
    };
    match &args.output {
        Some(path) => volumes::replace(path, &text)?,
        None => out.write_all(text.as_bytes())?,
    }
    end
}
