// SPDX-License-Identifier: GPL-2.0

//! What a set says of itself has one name in the netlink family, in JSON, and in the documentation: the
//! guide's table of the status line, and the table of what only netlink and JSON have. JSON is made from the
//! family's names (tests/spec.rs compares those with the specification), and selftests/rcopy.sh compares the
//! real status line with all of this.

use rcopy_crate::nl::{
    names::{Attrs, Kind, SET_ATTRS},
    wire::spelled,
};
use std::collections::BTreeSet;

fn read(path: &str) -> String {
    let path = format!("{}/../../Documentation/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// First cells of the simple table behind a line of text, as far as each is one name.
fn table(text: &str, behind: &str) -> BTreeSet<String> {
    let from = text.find(behind).unwrap_or_else(|| panic!("no {behind:?}"));
    // It ends with an edge that an empty line follows; one more may stand below its head.
    let lines: Vec<&str> = text[from..].lines().collect();
    let edge = |i: usize| lines[i].starts_with("===");
    let first = (0..lines.len()).find(|i| edge(*i)).unwrap();
    let last = (first + 1..lines.len())
        .find(|i| edge(*i) && lines.get(i + 1).is_none_or(|l| l.is_empty()))
        .unwrap();
    let names: Vec<&str> = lines[first..last]
        .iter()
        .filter_map(|l| l.strip_prefix("``")?.split_once("``"))
        .map(|(name, _)| name)
        .collect();
    let set: BTreeSet<String> = names.iter().map(|n| n.to_string()).collect();
    assert_eq!(set.len(), names.len(), "a name stands twice: {names:?}");
    set
}

fn status_line() -> BTreeSet<String> {
    table(
        &read("admin-guide/remote-copy.rst"),
        "\nFields are of the set",
    )
}

fn only_netlink() -> BTreeSet<String> {
    table(&read("administration.rst"), "What only they have:")
}

/// Names as JSON has them; those of an object are its own.
fn names(attrs: &Attrs) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for a in attrs.attrs {
        match a.kind {
            // Counters stand in the status line one by one.
            Kind::Nest(inner) if a.name == "counters" => all.extend(names(inner)),
            // What is asked for, never answered.
            Kind::Flag => {}
            _ => {
                all.insert(spelled(a.name));
            }
        }
    }
    all
}

#[test]
fn every_name_is_documented_and_no_other() {
    let (line, more) = (status_line(), only_netlink());
    assert!(line.len() >= 35 && more.len() >= 5, "{line:?} {more:?}");
    assert_eq!(line.intersection(&more).count(), 0);
    let mut documented: BTreeSet<String> = line.union(&more).cloned().collect();
    // The one name that differs, since "set" is what everything else of a set says it belongs to.
    assert!(documented.remove("set") && documented.insert("name".into()));
    assert_eq!(documented, names(&SET_ATTRS));
}

#[test]
fn the_driver_prints_what_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../driver/report.rs");
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    // " name {}" within the format strings of the status line, each of which begins with a blank or "set ".
    let mut printed = BTreeSet::new();
    for literal in text.split('"').skip(1).step_by(2) {
        let words: Vec<&str> = literal.split_whitespace().filter(|w| *w != "\\").collect();
        for pair in words.windows(2).filter(|p| p[1].starts_with('{')) {
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            if pair[0].len() > 1 && pair[0].chars().all(plain) {
                printed.insert(pair[0].to_string());
            }
        }
    }
    let line = status_line();
    assert!(printed.len() >= 25, "{printed:?}");
    let unknown: Vec<&String> = printed.difference(&line).collect();
    assert!(unknown.is_empty(), "not documented: {unknown:?}");
}
