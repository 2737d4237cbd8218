// SPDX-License-Identifier: GPL-2.0

//! What the tool knows of the netlink family is what the specification says: every name, every number.

use rcopy_crate::nl::names::{Kind, ATTRS, EVENTS, FAMILY, OPS, VERSION, WORDS};
use std::collections::BTreeMap;
use yaml_rust2::{Yaml, YamlLoader};

fn spec() -> Yaml {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../Documentation/netlink/specs/remote-copy.yaml"
    );
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

fn name(y: &Yaml) -> String {
    let y = if y["name"].is_badvalue() {
        y
    } else {
        &y["name"]
    };
    y.as_str()
        .unwrap_or_else(|| panic!("no name: {y:?}"))
        .to_string()
}

fn list<'a>(y: &'a Yaml, what: &str) -> &'a [Yaml] {
    y[what].as_vec().map_or(&[], Vec::as_slice)
}

/// Numbers go up by one from where one is named.
fn numbered(entries: &[Yaml], first: i64) -> Vec<(i64, &Yaml)> {
    let mut next = first;
    let number = |y| {
        let y: &Yaml = y;
        let n = y["value"].as_i64().unwrap_or(next);
        next = n + 1;
        (n, y)
    };
    entries.iter().map(number).collect()
}

#[test]
fn family() {
    let s = spec();
    assert_eq!(s["name"].as_str(), Some(FAMILY));
    assert_eq!(s["protocol"].as_str(), Some("genetlink"));
    assert_eq!(s["version"].as_i64().unwrap_or(1), i64::from(VERSION));
    assert_eq!(
        list(&s["mcast-groups"], "list")
            .iter()
            .map(name)
            .collect::<Vec<_>>(),
        [EVENTS]
    );
}

#[test]
fn words() {
    let s = spec();
    let all: BTreeMap<String, Vec<(i64, String)>> = list(&s, "definitions")
        .iter()
        .filter(|d| d["type"].as_str() == Some("enum"))
        .map(|d| {
            let first = d["value-start"].as_i64().unwrap_or(0);
            let entries = numbered(list(d, "entries"), first);
            (
                name(d),
                entries.into_iter().map(|(n, e)| (n, name(e))).collect(),
            )
        })
        .collect();
    let mine: BTreeMap<String, Vec<(i64, String)>> = WORDS
        .iter()
        .map(|w| {
            (
                w.name.to_string(),
                (0..).zip(w.words.iter().map(|w| w.to_string())).collect(),
            )
        })
        .collect();
    assert!(all.len() > 10);
    assert_eq!(all, mine);
}

/// What the specification says of an attribute, in one string.
fn kind_of(a: &Yaml) -> String {
    let nest = || a["nested-attributes"].as_str().unwrap();
    match (a["type"].as_str().unwrap(), a["enum"].as_str()) {
        ("u32", Some(words)) => format!("word of {words}"),
        ("nest", None) if a["multi-attr"].as_bool() == Some(true) => format!("many {}", nest()),
        ("nest", None) => format!("one {}", nest()),
        ("binary", None) => match a["sub-type"].as_str() {
            Some(of) => format!("row of {of}"),
            None => a["display-hint"].as_str().unwrap().to_string(),
        },
        (plain, None) => plain.to_string(),
        (t, e) => panic!("{t} {e:?}"),
    }
}

fn kind(k: &Kind) -> String {
    match k {
        Kind::U8 => "u8".into(),
        Kind::U16 => "u16".into(),
        Kind::U32 => "u32".into(),
        Kind::Uint => "uint".into(),
        Kind::Str => "string".into(),
        Kind::Flag => "flag".into(),
        Kind::Uuid => "uuid".into(),
        Kind::U64s => "row of u64".into(),
        Kind::Enum(w) => format!("word of {}", w.name),
        Kind::Nest(a) => format!("one {}", a.name),
        Kind::Nests(a) => format!("many {}", a.name),
    }
}

type Attributes = BTreeMap<String, Vec<(i64, String, String)>>;

#[test]
fn attributes() {
    let s = spec();
    let sets = list(&s, "attribute-sets");
    let mut all = Attributes::new();
    for set in sets.iter().filter(|x| x["subset-of"].is_badvalue()) {
        let attrs = numbered(list(set, "attributes"), 1);
        all.insert(
            name(set),
            attrs
                .into_iter()
                .map(|(n, a)| (n, name(a), kind_of(a)))
                .collect(),
        );
    }
    for set in sets.iter().filter(|x| !x["subset-of"].is_badvalue()) {
        let whole = all[set["subset-of"].as_str().unwrap()].clone();
        let wanted: Vec<String> = list(set, "attributes").iter().map(name).collect();
        all.insert(
            name(set),
            whole
                .into_iter()
                .filter(|(_, n, _)| wanted.contains(n))
                .collect(),
        );
    }
    let mine: Attributes = ATTRS
        .iter()
        .map(|a| {
            let list = a
                .attrs
                .iter()
                .map(|a| (i64::from(a.id), a.name.to_string(), kind(&a.kind)));
            (a.name.to_string(), list.collect())
        })
        .collect();
    assert!(all.values().map(Vec::len).sum::<usize>() > 90);
    assert_eq!(all, mine);
}

#[test]
fn operations() {
    let s = spec();
    let ops = &s["operations"];
    assert!(ops["enum-model"].is_badvalue() || ops["enum-model"].as_str() == Some("unified"));
    let all: Vec<(i64, String, String)> = numbered(list(ops, "list"), 1)
        .into_iter()
        .map(|(n, o)| (n, name(o), o["attribute-set"].as_str().unwrap().to_string()))
        .collect();
    let mine: Vec<(i64, String, String)> = OPS
        .iter()
        .map(|o| {
            (
                i64::from(o.id),
                o.name.to_string(),
                o.attrs.name.to_string(),
            )
        })
        .collect();
    assert_eq!(all, mine);
}

#[test]
fn every_operation_has_its_command() {
    use clap::CommandFactory;
    let cli = rcopy_crate::cli::Cli::command();
    let commands: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    for op in OPS.iter().filter(|o| !o.name.ends_with("-get")) {
        assert!(commands.contains(&op.command()), "{}", op.name);
    }
}
