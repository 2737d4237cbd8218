// SPDX-License-Identifier: GPL-2.0

//! `rcopy show`: everything that the module says of a set, and how long its writes take.

use crate::{
    cli::ShowArgs,
    error::{Error, Exit, Result},
    nl::{
        names::{OP_LINK_GET, OP_LOG_GET, OP_STATS_GET, OP_VOLUME_GET},
        parts, sets,
        wire::{spelled, Object, Value},
        Kernel,
    },
    units::{count, date, nanoseconds, size},
};
use serde::Serialize;
use std::io::Write;

#[derive(Serialize)]
struct Shown {
    set: Object,
    volumes: Vec<Object>,
    links: Vec<Object>,
    logs: Vec<Object>,
    stats: Vec<Object>,
}

/// How long a stage takes, from a histogram whose bucket i counts 2^i up to 2^(i+1) nanoseconds.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Spread {
    /// The stage.
    pub stage: String,
    /// How many were measured.
    pub count: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// Half of them took less than this.
    pub p50_ns: u64,
    /// 99 of 100 did.
    pub p99_ns: u64,
    /// All did.
    pub max_ns: u64,
    /// The counts of the buckets.
    pub buckets: Vec<u64>,
}

/// The upper end of a bucket.
pub fn bucket_end(i: usize) -> u64 {
    1u64.checked_shl(i as u32 + 1).unwrap_or(u64::MAX)
}

/// The upper end of the bucket in which the part `n` of `of` lies.
fn quantile(buckets: &[u64], n: u64, of: u64) -> u64 {
    let all: u64 = buckets.iter().sum();
    let rank = (u128::from(all) * u128::from(n)).div_ceil(u128::from(of));
    let mut seen = 0u128;
    for (i, b) in buckets.iter().enumerate() {
        seen += u128::from(*b);
        if seen >= rank && seen > 0 {
            return bucket_end(i);
        }
    }
    0
}

impl Spread {
    /// Of what the module answers for a stage.
    pub fn of(o: &Object) -> Spread {
        let buckets = o.numbers("buckets").to_vec();
        let count = o.number("count").unwrap_or(0);
        Spread {
            stage: o.text("stage").to_string(),
            count,
            mean_ns: o
                .number("sum-ns")
                .unwrap_or(0)
                .checked_div(count)
                .unwrap_or(0),
            p50_ns: quantile(&buckets, 1, 2),
            p99_ns: quantile(&buckets, 99, 100),
            max_ns: quantile(&buckets, 1, 1),
            buckets,
        }
    }
}

/// What a number means, for those whose name says it.
fn remark(name: &str, n: u64) -> String {
    match name {
        // As in a dump of its log and in what assemble prints.
        "node" => format!("  {n:08x}"),
        "since" => format!("  {}", date(n)),
        "time" => format!("  {}", date(n / 1_000_000_000)),
        "sectors" => format!("  {}", size(n.saturating_mul(512))),
        "size" | "bytes" | "bytes_max" | "log_bytes" | "log_bytes_max" | "behind_bytes"
            if n >= 1024 =>
        {
            format!("  {}", size(n))
        }
        "behind_ns" if n >= 1000 => format!("  {}", nanoseconds(n)),
        _ => String::new(),
    }
}

fn lines(out: &mut dyn Write, o: &Object, indent: usize) -> std::io::Result<()> {
    for (name, value) in &o.0 {
        let name = spelled(name);
        let pad = " ".repeat(indent);
        match value {
            Value::Number(n) => writeln!(out, "{pad}{name:<24} {n}{}", remark(&name, *n))?,
            Value::Text(t) => writeln!(out, "{pad}{name:<24} {t}")?,
            Value::Flag => writeln!(out, "{pad}{name:<24} yes")?,
            Value::Numbers(_) => {}
            Value::Object(o) => {
                writeln!(out, "{pad}{name}")?;
                lines(out, o, indent + 2)?;
            }
            Value::Objects(all) => {
                for o in all.iter().filter(|_| name != "latency") {
                    writeln!(out, "{pad}{name}")?;
                    lines(out, o, indent + 2)?;
                }
            }
        }
    }
    Ok(())
}

fn shown(kernel: &mut dyn Kernel, name: Option<&str>) -> Result<Vec<Shown>> {
    let sets = sets(kernel, name)?;
    let volumes = parts(kernel, &OP_VOLUME_GET, name)?;
    let links = parts(kernel, &OP_LINK_GET, name)?;
    let logs = parts(kernel, &OP_LOG_GET, name)?;
    let stats = parts(kernel, &OP_STATS_GET, name)?;
    let of = |all: &[Object], set: &Object| -> Vec<Object> {
        let mine = |o: &&Object| o.text("set") == set.text("name");
        all.iter().filter(mine).cloned().collect()
    };
    let one = |set: Object| Shown {
        volumes: of(&volumes, &set),
        links: of(&links, &set),
        logs: of(&logs, &set),
        stats: of(&stats, &set),
        set,
    };
    Ok(sets.into_iter().map(one).collect())
}

#[derive(Serialize)]
struct Latency {
    set: String,
    stages: Vec<Spread>,
}

fn latency(kernel: &mut dyn Kernel, name: Option<&str>) -> Result<Vec<Latency>> {
    // Whether there is such a set.
    sets(kernel, name)?;
    let stats = parts(kernel, &OP_STATS_GET, name)?;
    let all: Vec<Latency> = stats
        .iter()
        .map(|s| Latency {
            set: s.text("set").to_string(),
            stages: s.objects("latency").iter().map(Spread::of).collect(),
        })
        .collect();
    if !all.is_empty() && all.iter().all(|l| l.stages.is_empty()) {
        return Err(Error::new(
            Exit::NoModule,
            "the module that is loaded measures no latencies",
        ));
    }
    Ok(all)
}

fn print_latency(out: &mut dyn Write, all: &[Latency]) -> std::io::Result<()> {
    const WIDTH: u64 = 40;
    for l in all {
        writeln!(
            out,
            "{}\n  {:<14} {:>10} {:>10} {:>10} {:>10} {:>10}",
            l.set, "stage", "count", "mean", "half <", "99 % <", "all <"
        )?;
        for s in &l.stages {
            let [mean, half, most, all] =
                [s.mean_ns, s.p50_ns, s.p99_ns, s.max_ns].map(|ns| match s.count {
                    // Nothing was measured, which is not the same as no time.
                    0 => "-".to_string(),
                    _ => nanoseconds(ns),
                });
            writeln!(
                out,
                "  {:<14} {:>10} {mean:>10} {half:>10} {most:>10} {all:>10}",
                s.stage, s.count
            )?;
        }
        for s in l.stages.iter().filter(|s| s.count > 0) {
            writeln!(out, "\n  {}, {}", s.stage, count(s.count, "write"))?;
            let most = s.buckets.iter().copied().max().unwrap_or(0).max(1);
            let first = s.buckets.iter().position(|b| *b > 0).unwrap_or(0);
            let last = s.buckets.iter().rposition(|b| *b > 0).unwrap_or(0);
            for (i, b) in s.buckets.iter().enumerate().take(last + 1).skip(first) {
                let bar = (u128::from(*b) * u128::from(WIDTH)).div_ceil(u128::from(most)) as usize;
                let line = format!(
                    "  < {:>10} {b:>10} {}",
                    nanoseconds(bucket_end(i)),
                    "#".repeat(bar)
                );
                writeln!(out, "{}", line.trim_end())?;
            }
        }
    }
    Ok(())
}

/// The command.
///
/// # Errors
///
/// There is no such set, or no module.
pub fn run(
    kernel: &mut dyn Kernel,
    args: &ShowArgs,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let name = args.set.as_deref();
    if args.latency {
        let all = latency(kernel, name)?;
        if json {
            serde_json::to_writer_pretty(&mut *out, &all)?;
            writeln!(out)?;
        } else {
            print_latency(out, &all)?;
        }
        return Ok(());
    }
    let all = shown(kernel, name)?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    for s in &all {
        lines(out, &s.set, 0)?;
        for (what, list) in [("volume", &s.volumes), ("link", &s.links), ("log", &s.logs)] {
            for o in list {
                writeln!(out, "{what}")?;
                lines(out, o, 2)?;
            }
        }
    }
    Ok(())
}
