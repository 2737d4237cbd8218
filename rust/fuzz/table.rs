// SPDX-License-Identifier: GPL-2.0

//! Table lines: as text, or put together from words that mean something.

use crate::{input::Input, tally};
use core_crate::{
    limits,
    ownership::{Fencing, PartnerLost, RECORD_SLOT},
    table::{Mode, Table, TableError, TableRole},
};

const KEYS: &[&str] = &[
    "log",
    "log_offset",
    "log_size",
    "lanes",
    "records",
    "partner",
    "listen",
    "remote",
    "mode",
    "partner_lost",
    "takeover",
    "fencing",
    "remote_fencing",
    "metadata",
    "metadata_offset",
    "ping_ms",
    "ping_misses",
    "member",
    "members",
    "create",
    "Log",
    "",
];

const VALUES: &[&str] = &[
    "/dev/pmem0",
    "/dev/vda",
    "dev:/dev/vdb",
    "dev:",
    "tcp:10.0.0.1:7001",
    "10.0.0.1:7001",
    "none",
    "sync",
    "async",
    "wait",
    "continue",
    "auto",
    "manual",
    "reservation",
    "reservation-registrants",
    "external",
    "in_step",
    "0",
    "1",
    "2",
    "16",
    "32",
    "33",
    "63",
    "64",
    "65",
    "100",
    "4096",
    "1M",
    "16T",
    "17T",
    "1k",
    "18446744073709551615",
    "18446744073709551616",
    "16777216T",
    "+1",
    "-1",
    "1e3",
    "0x10",
    "K",
    "M",
    "60000",
    "1048576",
    "1048577",
    "\u{e9}",
    "1\u{e9}",
    "",
];

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut text = String::new();
    let words: Vec<&str> = if input.below(2) == 0 {
        text.push_str(&String::from_utf8_lossy(input.rest()));
        text.split(' ').collect()
    } else {
        structured(&mut input)
    };
    tally::one("tables");
    let parsed = Table::parse(&words);
    assert_eq!(parsed, Table::parse(&words));
    match parsed {
        Ok(t) => accepted(&t, &words),
        Err(e) => refused(&e, &words),
    }
}

fn structured(input: &mut Input<'_>) -> Vec<&'static str> {
    const ROLES: &[&str] = &["initiator", "standby", "owner"];
    const COUNTS: &[&str] = &[
        "0", "2", "4", "6", "8", "10", "12", "14", "16", "18", "20", "22", "24", "26", "28", "30",
        "32", "34", "36", "38", "40", "64", "66",
    ];
    let mut words = vec![ROLES[input.below(3)], "s1", "/dev/vda", ""];
    // What no line does without, so that the input need not find it.
    if input.below(4) != 0 {
        words.extend([
            "log",
            "/dev/pmem0",
            "remote",
            "dev:/dev/vdb",
            "partner",
            VALUES[5 + input.below(2)],
        ]);
    }
    while !input.is_empty() && words.len() < 80 {
        words.push(KEYS[input.below(KEYS.len())]);
        words.push(VALUES[input.below(VALUES.len())]);
    }
    words[3] = COUNTS.get((words.len() - 4) / 2).copied().unwrap_or("100");
    words
}

/// What a table line says is within the bounds, and stands in the line.
fn accepted(t: &Table<'_>, words: &[&str]) {
    let value = |key: &str| {
        let mut pairs = words[4..].chunks(2).filter(|p| p[0] == key);
        let first = pairs.next().map(|p| p[1]);
        assert!(pairs.next().is_none(), "{key} twice");
        first
    };
    assert_eq!(words[3].parse(), Ok(words.len() - 4));
    assert_eq!((t.local, t.set.as_str()), (words[2], words[1]));
    assert_eq!(
        words[0],
        if t.role == TableRole::Initiator {
            "initiator"
        } else {
            "standby"
        }
    );
    assert_eq!(Some(t.log), value("log"));
    assert_eq!(
        Some(t.remote),
        value("remote").and_then(|r| r.strip_prefix("dev:"))
    );
    assert_eq!(t.partner, value("partner").filter(|p| *p != "none"));
    assert_eq!((t.listen, t.metadata), (value("listen"), value("metadata")));
    assert_eq!(t.mode == Mode::Sync, value("mode") == Some("sync"));
    assert_eq!(t.auto_takeover, value("takeover") == Some("auto"));
    assert_eq!(t.create, value("create").is_some());
    assert_eq!(t.remote_fenced, value("remote_fencing") != Some("none"));
    if let Some(f) = value("fencing") {
        assert_eq!(t.fencing.as_str(), f);
    }
    let number = |key, default: u64| value(key).map_or(Some(default), naive_number).unwrap();
    assert_eq!(t.log_offset, number("log_offset", 0));
    assert_eq!(t.log_size, number("log_size", 0));
    assert_eq!(t.metadata_offset, number("metadata_offset", 0));
    assert_eq!(u64::from(t.lanes), number("lanes", 0));
    assert_eq!(u64::from(t.records), number("records", 0));
    assert_eq!(u64::from(t.ping_ms), number("ping_ms", 1000));
    assert_eq!(u64::from(t.ping_misses), number("ping_misses", 5));
    assert_eq!(u64::from(t.member), number("member", 0));
    assert_eq!(u64::from(t.members), number("members", 1));

    assert!(t.log_offset % 4096 == 0 && t.log_offset <= limits::MAX_LOG_BYTES);
    assert!(t.log_size % 4096 == 0 && t.log_size <= limits::MAX_LOG_BYTES);
    assert!(t.log_size == 0 || t.log_size >= limits::MIN_LOG_BYTES);
    assert!(
        t.metadata_offset % RECORD_SLOT == 0 && t.metadata_offset <= limits::MAX_METADATA_OFFSET
    );
    assert!(usize::from(t.lanes) <= limits::MAX_LANES && t.records <= limits::MAX_RECORDS);
    assert!(t.member < t.members && usize::from(t.members) <= limits::MAX_MEMBERS);
    assert!((10..=60_000).contains(&t.ping_ms) && (2..=100).contains(&t.ping_misses));
    assert!(!t.log.is_empty() && !t.remote.is_empty());
    assert!(t.partner.is_none() || t.listen.is_some());
    assert!(t.partner.is_some() || (t.metadata.is_none() && t.role == TableRole::Initiator));
    assert!(!t.auto_takeover || t.fencing != Fencing::None);
    assert!(t.partner_lost == PartnerLost::Wait || t.metadata.is_some());

    // The order of the options means nothing.
    let mut turned = words[..4].to_vec();
    turned.extend(words[4..].chunks(2).rev().flatten());
    assert_eq!(Table::parse(&turned).as_ref(), Ok(t));
}

/// Digits, and K, M, G or T.
fn naive_number(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T', 'k', 'm', 'g', 't']);
    let unit: u128 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    let n: u128 = digits.parse().ok()?;
    u64::try_from(n.checked_mul(unit)?).ok()
}

/// The message says what is wrong, in the line's own words.
fn refused(e: &TableError<'_>, words: &[&str]) {
    let text = e.to_string();
    assert!(
        !text.is_empty()
            && !text.contains('\n') == !words.iter().any(|w| w.contains('\n') && text.contains(w))
    );
    if let TableError::Value(key, value, _) = e {
        assert!(words.contains(value), "{key}");
    }
}
