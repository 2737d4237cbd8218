// SPDX-License-Identifier: GPL-2.0

//! `rcopy metrics` against a strict parser of the text exposition format, written from its description
//! (prometheus.io, "Exposition formats", version 0.0.4).

#![recursion_limit = "256"]

mod common;
#[path = "common/fake.rs"]
mod fake;

use common::{rcopy, Folder};
use fake::{fake, owner, standby};
use rcopy_crate::{
    cli::MetricsArgs,
    error::{Error, Exit},
    metrics::{page, page_without_answer, run, Kind, CATALOGUE, PREFIX},
    nl::{
        names::Op,
        wire::{Attributes, Object},
        Kernel,
    },
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    process::{Command, Stdio},
};

/// A sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

#[derive(Default, Debug)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

fn is_name(text: &str, colon: bool) -> bool {
    let ok = |c: char| c.is_ascii_alphabetic() || c == '_' || (colon && c == ':');
    text.starts_with(ok) && text.chars().all(|c| ok(c) || c.is_ascii_digit())
}

/// Labels up to the closing brace; what follows it.
fn parse_labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut all = BTreeMap::new();
    let mut rest = text;
    loop {
        if let Some(r) = rest.strip_prefix('}') {
            return Ok((all, r));
        }
        let (name, r) = rest.split_once("=\"").ok_or("a label without value")?;
        if !is_name(name, false) {
            return Err(format!("label '{name}'"));
        }
        let mut value = String::new();
        let mut chars = r.char_indices();
        let end = loop {
            match chars.next() {
                Some((i, '"')) => break i,
                Some((_, '\\')) => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => value.push(c),
                    other => return Err(format!("escape {other:?}")),
                },
                Some((_, '\n')) | None => return Err("a value without end".into()),
                Some((_, c)) => value.push(c),
            }
        };
        if all.insert(name.to_string(), value).is_some() {
            return Err(format!("label '{name}' twice"));
        }
        rest = &r[end + 1..];
        match rest.strip_prefix(',') {
            Some(r) => rest = r,
            None if rest.starts_with('}') => {}
            None => return Err(format!("'{rest}' behind a label")),
        }
    }
}

fn parse_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let name = &line[..end];
    if !is_name(name, true) {
        return Err(format!("name '{name}'"));
    }
    let (labels, rest) = match line[end..].strip_prefix('{') {
        Some(r) => parse_labels(r)?,
        None => (BTreeMap::new(), &line[end..]),
    };
    let value = rest
        .strip_prefix(' ')
        .ok_or("no blank in front of the value")?;
    // Neither a time nor anything else follows.
    if value.is_empty()
        || !value
            .chars()
            .all(|c| c.is_ascii_digit() || "+-.eE".contains(c))
    {
        return Err(format!("value '{value}'"));
    }
    let value = value.parse().map_err(|_| format!("value '{value}'"))?;
    Ok((name.to_string(), labels, value))
}

fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".into());
    }
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    for (n, line) in text.lines().enumerate() {
        let wrong = |e: String| format!("line {}: {e}: {line}", n + 1);
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or(wrong("no help".into()))?;
            if all.contains_key(name) {
                return Err(wrong("its samples do not stand together".into()));
            }
            current = name.to_string();
            all.entry(current.clone()).or_default().help = help.to_string();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(wrong("no type".into()))?;
            let f = all.get_mut(name).ok_or(wrong("TYPE without HELP".into()))?;
            if name != current || !f.samples.is_empty() || !f.kind.is_empty() {
                return Err(wrong("TYPE at a wrong place".into()));
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return Err(wrong("unknown type".into()));
            }
            f.kind = kind.to_string();
        } else {
            let s = parse_sample(line).map_err(wrong)?;
            let f = all.get_mut(&current).ok_or(wrong("no HELP".into()))?;
            let suffixes: &[&str] = match f.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                "" => return Err(wrong("no TYPE".into())),
                _ => &[""],
            };
            if !suffixes.iter().any(|x| s.0 == format!("{current}{x}")) {
                return Err(wrong(format!("not of {current}")));
            }
            if f.kind == "counter" && !current.ends_with("_total") {
                return Err(wrong("a counter's name ends in _total".into()));
            }
            if !seen.insert((s.0.clone(), s.1.clone())) {
                return Err(wrong("twice".into()));
            }
            f.samples.push(s);
        }
    }
    for (name, f) in &all {
        if f.samples.is_empty() {
            return Err(format!("{name} has no samples"));
        }
        lint(name, f)?;
        if f.kind == "histogram" {
            histogram(name, f)?;
        }
    }
    Ok(all)
}

/// Parts of names that are units which Prometheus does not want, because there is a base unit.
const NOT_BASE: &[&str] = &[
    "nanoseconds",
    "microseconds",
    "milliseconds",
    "minutes",
    "hours",
    "days",
    "kilobytes",
    "megabytes",
    "kibibytes",
    "mebibytes",
    "bits",
    "percent",
    "ns",
    "us",
    "ms",
    "sec",
    "mins",
    "hrs",
    "kb",
    "mb",
    "gb",
    "kib",
    "mib",
    "gib",
    "b",
    "s",
    "m",
    "h",
    "d",
];

/// What `promtool check metrics` complains about in names (its promlint): see `promtool_agrees`.
fn lint(name: &str, f: &Family) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{name}: {why}"));
    if f.help.trim().is_empty() {
        return wrong("no help");
    }
    if f.kind != "counter" && name.ends_with("_total") {
        return wrong("only a counter's name ends in _total");
    }
    let reserved = ["_bucket", "_count", "_sum"];
    if f.kind != "histogram" && reserved.iter().any(|r| name.ends_with(r)) {
        return wrong("an end that is a histogram's");
    }
    let labels = || f.samples.iter().flat_map(|s| s.1.keys());
    if f.kind != "histogram" && labels().any(|l| l == "le") {
        return wrong("a label that is a histogram's");
    }
    if labels().any(|l| l == "quantile") {
        return wrong("a label that is a summary's");
    }
    if name.contains(':') {
        return wrong("a colon, which is for recording rules");
    }
    let camel = |n: &str| {
        n.as_bytes()
            .windows(2)
            .any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase())
    };
    if camel(name) || labels().any(|l| camel(l)) {
        return wrong("camelCase");
    }
    let parts: Vec<&str> = name.split('_').collect();
    if parts
        .iter()
        .any(|p| ["counter", "gauge", "histogram", "summary", "untyped"].contains(p))
    {
        return wrong("its type in its name");
    }
    match parts.iter().find(|p| NOT_BASE.contains(p)) {
        Some(unit) => wrong(&format!("the unit {unit}")),
        None => Ok(()),
    }
}

/// Buckets rise in their ends and counts, the last is +Inf and as large as the count.
fn histogram(name: &str, f: &Family) -> Result<(), String> {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for (n, labels, v) in f.samples.iter().filter(|s| s.0.ends_with("_bucket")) {
        let mut rest = labels.clone();
        let le = rest.remove("le").ok_or(format!("{n} without le"))?;
        let le = if le == "+Inf" {
            f64::INFINITY
        } else {
            le.parse().map_err(|_| format!("le {le}"))?
        };
        series.entry(rest).or_default().push((le, *v));
    }
    for (labels, buckets) in &series {
        if !buckets
            .windows(2)
            .all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1)
        {
            return Err(format!("{name} {labels:?} does not rise"));
        }
        let of = |suffix: &str| {
            let is = |s: &&Sample| s.0 == format!("{name}{suffix}") && s.1 == *labels;
            f.samples.iter().find(is).map(|s| s.2)
        };
        let last = buckets.last().copied();
        if last.map(|b| b.0) != Some(f64::INFINITY)
            || last.map(|b| b.1) != of("_count")
            || of("_sum").is_none()
        {
            return Err(format!("{name} {labels:?}: +Inf, count and sum"));
        }
    }
    Ok(())
}

#[test]
fn the_parser_is_strict() {
    let good = "# HELP a_total x\n# TYPE a_total counter\na_total{s=\"q\\\"\\\\\\n\"} 1\n";
    assert_eq!(parse(good).unwrap()["a_total"].samples[0].1["s"], "q\"\\\n");
    for bad in BAD {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

/// Pages that are wrong each in one way.
const BAD: &[&str] = &[
        "a 1\n",
        "# HELP a x\na 1\n",
        "# HELP a x\n# TYPE a gauge\n",
        "# HELP a x\n# TYPE a gauge\na 1",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a x\n# TYPE a gauge\na{s=\"x} 1\n",
        "# HELP a x\n# TYPE a gauge\na{s=\"\\x\"} 1\n",
        "# HELP a x\n# TYPE a gauge\na one\n",
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
        "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
        "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a_ms x\n# TYPE a_ms gauge\na_ms 1\n",
        "# HELP a_ns_total x\n# TYPE a_ns_total counter\na_ns_total 1\n",
        "# HELP a_milliseconds x\n# TYPE a_milliseconds gauge\na_milliseconds 1\n",
        "# HELP a_count x\n# TYPE a_count gauge\na_count 1\n",
        "# HELP a_sum x\n# TYPE a_sum gauge\na_sum 1\n",
        "# HELP a x\n# TYPE a gauge\na{le=\"1\"} 1\n",
        "# HELP a x\n# TYPE a gauge\na{quantile=\"1\"} 1\n",
        "# HELP a:b x\n# TYPE a:b gauge\na:b 1\n",
        "# HELP aSet x\n# TYPE aSet gauge\naSet 1\n",
        "# HELP a x\n# TYPE a gauge\na{aSet=\"1\"} 1\n",
        "# HELP a_gauge x\n# TYPE a_gauge gauge\na_gauge 1\n",
        "# HELP a x\n# TYPE a gauge\na{1s=\"x\"} 1\n",
        "# HELP 1a x\n# TYPE 1a gauge\n1a 1\n",
        "# HELP a x\n# TYPE a gauge\na{s=\"x\"s=\"y\"} 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\n# HELP a x\na 2\n",
        "# HELP a x\n# TYPE a thing\na 1\n",
        "# TYPE a gauge\na 1\n",
];

/// Which of the wrong pages the real promtool lets pass: ours is stricter there.
const PROMTOOL_TAKES: &[&str] = &[
    "# HELP a x\na 1\n",
    "# HELP a x\n# TYPE a gauge\n",
    "# HELP a x\n# TYPE a gauge\na 1\na 1\n",
    "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
    "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
];

/// With DMRC_PROMTOOL=<program>: what it says of our pages, and of those that are wrong.
#[test]
fn promtool_agrees() {
    let Ok(program) = std::env::var("DMRC_PROMTOOL") else {
        eprintln!("DMRC_PROMTOOL names no promtool: not tried");
        return;
    };
    let complaint = |text: &str| {
        let mut child = Command::new(&program)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (!out.status.success()).then_some(said)
    };
    let mut k = fake();
    k.links[0]["address"] = json!("/dev/\"odd\\name\"\nx");
    let mut second = standby();
    second["name"] = json!("s2");
    k.sets.push(second);
    for good in [
        page(&mut k).unwrap(),
        page(&mut fake()).unwrap(),
        page_without_answer(),
    ] {
        assert_eq!(complaint(&good), None);
    }
    let mut taken = vec![];
    for bad in BAD {
        let said = complaint(bad);
        eprintln!("{bad:?}: {}", said.as_deref().unwrap_or("-").trim());
        if said.is_none() {
            taken.push(*bad);
        }
    }
    assert_eq!(taken, PROMTOOL_TAKES);
}

fn value(all: &BTreeMap<String, Family>, name: &str, with: &[(&str, &str)]) -> f64 {
    let f = &all[&format!(
        "{PREFIX}{}",
        name.trim_end_matches("_bucket")
            .trim_end_matches("_count")
            .trim_end_matches("_sum")
    )];
    let is = |s: &&Sample| {
        s.0 == format!("{PREFIX}{name}")
            && with
                .iter()
                .all(|(k, v)| s.1.get(*k).map(String::as_str) == Some(*v))
    };
    let mut found = f.samples.iter().filter(is);
    let one = found.next().unwrap_or_else(|| panic!("no {name} {with:?}"));
    assert!(found.next().is_none(), "{name} {with:?} is not one");
    one.2
}

#[test]
fn metrics_of_an_owner() {
    let all = parse(&page(&mut fake()).unwrap()).unwrap();
    let s1 = [("set", "s1")];
    for (name, with, v) in [
        ("up", &[] as &[(&str, &str)], 1.0),
        (
            "info",
            &[("module_version", "1.0"), ("format_version", "2")],
            1.0,
        ),
        ("events_total", &[], 9.0),
        ("events_suppressed_total", &[], 2.0),
        ("state", &[("set", "s1"), ("state", "serving")], 1.0),
        ("state", &[("set", "s1"), ("state", "fenced")], 0.0),
        ("mirror", &[("set", "s1"), ("mirror", "mirrored")], 1.0),
        ("role", &[("set", "s1"), ("role", "standby")], 0.0),
        ("degraded", &s1, 0.0),
        ("behind_records", &s1, 12.0),
        ("behind_seconds", &s1, 0.0031),
        ("writes_total", &s1, 6_000_000_012.0),
        ("log_bytes_max", &s1, 32_514_048.0),
        ("link_up", &[("kind", "partner")], 1.0),
        ("link_heard_seconds", &[("kind", "partner")], 0.24),
        ("stage_seconds_count", &[("stage", "logged")], 100.0),
        ("stage_seconds_sum", &[("stage", "logged")], 0.00025),
        (
            "stage_seconds_bucket",
            &[("stage", "logged"), ("le", "0.000002048")],
            60.0,
        ),
        (
            "stage_seconds_bucket",
            &[("stage", "logged"), ("le", "0.000004096")],
            99.0,
        ),
        (
            "stage_seconds_bucket",
            &[("stage", "logged"), ("le", "0.001048576")],
            99.0,
        ),
        (
            "stage_seconds_bucket",
            &[("stage", "logged"), ("le", "0.002097152")],
            100.0,
        ),
        ("stage_seconds_count", &[("stage", "shipped")], 0.0),
    ] {
        let found = value(&all, name, with);
        assert!(
            (found - v).abs() < 1e-12,
            "{name} {with:?}: {found}, not {v}"
        );
    }
    // One state, and only one.
    let states = &all["remote_copy_state"].samples;
    assert_eq!(states.iter().map(|s| s.2).sum::<f64>(), 1.0);
    assert_eq!(states.len(), 10);
}

#[test]
fn all_of_the_catalogue_is_printed() {
    let mut k = fake();
    let mut set = owner();
    set["counters"]["takeover_records"] = json!(3);
    set["counters"]["takeover_ms"] = json!(1500);
    let mut second = standby();
    second["name"] = json!("s2");
    k.sets = vec![set, second];
    let all = parse(&page(&mut k).unwrap()).unwrap();
    for m in CATALOGUE {
        let f = all
            .get(&format!("{PREFIX}{}", m.name))
            .unwrap_or_else(|| panic!("{} is never printed", m.name));
        let kind = match m.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!((f.kind.as_str(), f.help.as_str()), (kind, m.help));
    }
    assert_eq!(all.len(), CATALOGUE.len());
    assert_eq!(value(&all, "takeover_seconds", &[("set", "s1")]), 1.5);
    // A standby knows no sequences.
    assert_eq!(all["remote_copy_sequence_last"].samples.len(), 1);
    assert_eq!(value(&all, "degraded", &[("set", "s2")]), 1.0);
}

#[test]
fn labels_are_escaped() {
    let mut k = fake();
    k.links[0]["address"] = json!("/dev/\"odd\\name\"\nx");
    let all = parse(&page(&mut k).unwrap()).unwrap();
    assert_eq!(
        value(&all, "link_up", &[("address", "/dev/\"odd\\name\"\nx")]),
        1.0
    );
}

/// A kernel that answers the first question only.
struct Refuses;

impl Kernel for Refuses {
    fn ask(&mut self, op: &'static Op, attrs: &Attributes) -> Result<Vec<Object>, Error> {
        fake().ask(op, attrs)
    }

    fn dump(&mut self, _: &'static Op, _: &Attributes) -> Result<Vec<Object>, Error> {
        Err(Error::new(Exit::Failed, "Cannot allocate memory"))
    }
}

#[test]
fn a_file_is_replaced_at_once() {
    let f = Folder::new();
    let file = f.write("rcopy.prom", "old\n");
    // Whoever has the old one open keeps it whole.
    let old = fs::File::open(&file).unwrap();
    let args = MetricsArgs {
        output: Some(file.clone().into()),
    };
    assert_eq!(run(Ok(fake()), &args, &mut vec![]).unwrap(), Exit::Ok);
    parse(&f.read("rcopy.prom")).unwrap();
    assert_eq!(std::io::read_to_string(old).unwrap(), "old\n");
    assert_eq!(fs::read_dir(&f.0).unwrap().count(), 1);
    // Without a module the collector still learns that.
    let none = || Err::<fake::Fake, _>(Error::new(Exit::NoModule, "the module is not loaded"));
    assert_eq!(
        run(none(), &args, &mut vec![]).unwrap_err().exit,
        Exit::NoModule
    );
    assert_eq!(f.read("rcopy.prom"), page_without_answer());
    assert_eq!(
        value(&parse(&page_without_answer()).unwrap(), "up", &[]),
        0.0
    );
    // A kernel that refuses: nothing old is left to be believed.
    f.write("rcopy.prom", "remote_copy_degraded{set=\"s1\"} 0\n");
    assert_eq!(
        run(Ok(Refuses), &args, &mut vec![]).unwrap_err().exit,
        Exit::Failed
    );
    assert_eq!(f.read("rcopy.prom"), page_without_answer());
    // What cannot be written is said, and the old file stays.
    let a = rcopy(&["metrics", "--output", &f.path("no/such/folder")]);
    assert_eq!(a.exit, 3);
    assert!(a.err.contains("its folder does not exist"), "{}", a.err);
}
