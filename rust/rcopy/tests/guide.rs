// SPDX-License-Identifier: GPL-2.0

//! The guide's administration chapter has every command, every metric and every exit status, and no others.

use clap::CommandFactory;
use rcopy_crate::{
    cli::Cli,
    error::Exit,
    metrics::{Kind, CATALOGUE},
};

fn guide() -> String {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../Documentation/administration.rst"
    );
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn exit_statuses() {
    let guide = guide();
    let from = guide.find("\nstatus  meaning\n").unwrap();
    let table: Vec<&str> = guide[from..]
        .lines()
        .skip(3)
        .take_while(|l| !l.starts_with('='))
        .collect();
    let all: Vec<String> = Exit::ALL
        .iter()
        .map(|(e, means)| format!("{}       {means}", *e as u8))
        .collect();
    assert_eq!(table, all);
}

#[test]
fn metrics() {
    let guide = guide();
    let from = guide.find(".. list-table:: Metrics").unwrap();
    let end = guide[from..].find("\nThe words of").unwrap();
    let cells: Vec<&str> = guide[from..from + end]
        .lines()
        .filter_map(|l| l.strip_prefix("   * - ").or(l.strip_prefix("     - ")))
        .skip(4)
        .collect();
    let rows: Vec<(&str, &str, &str)> = cells
        .chunks(4)
        .map(|c| (c[0].trim_matches('`'), c[1], c[3]))
        .collect();
    let all: Vec<(&str, &str, &str)> = CATALOGUE
        .iter()
        .map(|m| {
            let kind = match m.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            (m.name, kind, m.help)
        })
        .collect();
    assert_eq!(rows, all);
}

#[test]
fn commands() {
    let guide = guide();
    for c in Cli::command()
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
    {
        let name = c.get_name();
        if !["version", "completion"].contains(&name) {
            assert!(guide.contains(&format!("rcopy {name}")), "{name}");
        }
    }
}
