// SPDX-License-Identifier: GPL-2.0

//! The table line: what is accepted, and what is said about the rest.

use core_crate::{
    limits,
    ownership::{Fencing, Kind, PartnerLost},
    table::{Mode, Table, TableError, TableRole},
};
use proptest::prelude::*;

const SMALLEST: &str = "initiator set /dev/a 6 log /dev/pmem0 remote dev:/dev/b partner none";

fn parse(line: &str) -> Result<Table<'_>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    // The error borrows from `words`' strings, which live as long as `line`.
    Table::parse(&words).map_err(|e| e.to_string())
}

/// [`SMALLEST`] with one more option.
fn with(key: &str, value: &str) -> String {
    SMALLEST.replacen(" 6 ", " 8 ", 1) + " " + key + " " + value
}

/// A line with a partner, and more options.
fn paired(role: &str, more: &str) -> String {
    let options = format!(
        "log /dev/pmem0 remote dev:/dev/b partner 10.0.0.2:7000 listen 10.0.0.1:7000 {more}"
    );
    let n = options.split_whitespace().count();
    format!("{role} set /dev/a {n} {options}")
}

#[test]
fn the_smallest_line() {
    let t = parse(SMALLEST).unwrap();
    assert_eq!(t.role, TableRole::Initiator);
    assert_eq!(t.set.as_str(), "set");
    assert_eq!(
        (t.local, t.remote, t.log),
        ("/dev/a", "/dev/b", "/dev/pmem0")
    );
    assert_eq!((t.log_offset, t.log_size, t.lanes, t.records), (0, 0, 0, 0));
    assert_eq!((t.partner, t.listen), (None, None));
    assert_eq!((t.mode, t.auto_takeover), (Mode::Async, false));
    assert_eq!(t.fencing, Fencing::None);
    assert_eq!((t.metadata, t.metadata_offset), (None, 0));
    assert_eq!(t.partner_lost, PartnerLost::Wait);
    assert_eq!((t.ping_ms, t.ping_misses), (1000, 5));
    assert_eq!((t.member, t.members, t.create), (0, 1, false));
}

#[test]
fn every_option() {
    let line = paired(
        "standby",
        "log_offset 4K log_size 2M lanes 4 records 240 mode sync partner_lost continue takeover auto \
         fencing external metadata /dev/m metadata_offset 8K ping_ms 250 ping_misses 3 member 1 members 2 create in_step",
    );
    let t = parse(&line).unwrap();
    assert_eq!(t.role, TableRole::Standby);
    assert_eq!((t.log_offset, t.log_size), (4096, 2 << 20));
    assert_eq!((t.lanes, t.records), (4, 240));
    assert_eq!(t.partner, Some("10.0.0.2:7000"));
    assert_eq!(t.listen, Some("10.0.0.1:7000"));
    assert_eq!((t.mode, t.auto_takeover), (Mode::Sync, true));
    assert_eq!(t.fencing, Fencing::External);
    assert_eq!((t.metadata, t.metadata_offset), (Some("/dev/m"), 8192));
    assert_eq!(t.partner_lost, PartnerLost::Continue);
    assert_eq!((t.ping_ms, t.ping_misses), (250, 3));
    assert_eq!((t.member, t.members, t.create), (1, 2, true));
}

#[test]
fn good_values() {
    for (key, values) in [
        ("log_offset", "0 4096 4k 4K 1M 1m 1G 1g 16T 16t"),
        ("log_size", "1M 1048576 2G 16T 16384G"),
        ("lanes", "1 2 32"),
        ("records", "16 240 1048576"),
        ("mode", "sync async"),
        ("partner_lost", "wait"),
        ("takeover", "manual"),
        (
            "fencing",
            "none external reservation reservation-registrants",
        ),
        ("ping_ms", "10 60000"),
        ("ping_misses", "2 100"),
        ("member", "0"),
        ("members", "1 64"),
        ("create", "in_step"),
        ("listen", "[::1]:7000"),
    ] {
        for value in values.split(' ') {
            let line = with(key, value);
            assert!(parse(&line).is_ok(), "{line}");
        }
    }
}

#[test]
fn fencing_in_words() {
    for (word, fencing) in [
        ("none", Fencing::None),
        ("external", Fencing::External),
        ("reservation", Fencing::Reservation(Kind::Holder)),
        (
            "reservation-registrants",
            Fencing::Reservation(Kind::Registrants),
        ),
    ] {
        let line = paired("standby", &format!("fencing {word}"));
        assert_eq!(parse(&line).unwrap().fencing, fencing);
        assert_eq!(fencing.as_str(), word);
        assert_eq!(fencing.kind().is_some(), word.starts_with("reservation"));
        // Whoever is kept out may be taken over from without being asked.
        let auto = paired("standby", &format!("takeover auto fencing {word}"));
        assert_eq!(parse(&auto).is_ok(), word != "none");
    }
}

#[test]
fn bad_values_are_named() {
    for (key, values, allowed) in [
        (
            "log_offset",
            "4095 -4096 +4096 4096B 4KK K x 17T 99999999999999999999 18446744073709551615T \
             18014398509481984K 0x1000 4,096 ４K",
            "multiple of 4096",
        ),
        ("log_size", "0 1 512K 1025K0 17T 4097K1 1.5M", "at least 1M"),
        ("log_size", "1048577", "multiple of 4096"),
        ("lanes", "0 33 -1 65537 +1 many", "1 to 32"),
        ("records", "15 0 1048577 4294967312 1K", "16 to 1048576"),
        ("mode", "Sync both", "'sync' or 'async'"),
        ("partner_lost", "go-on alone", "'wait'"),
        (
            "metadata_offset",
            "512 1K 4097 -1 2097152T x",
            "multiple of 4096",
        ),
        ("takeover", "yes", "'auto' or 'manual'"),
        (
            "fencing",
            "pr stonith registrants",
            "'reservation-registrants'",
        ),
        ("ping_ms", "9 60001 1s -1", "10 to 60000"),
        ("ping_misses", "1 101", "2 to 100"),
        ("member", "64 -1", "0 to 63"),
        ("members", "0 65", "1 to 64"),
        ("create", "yes 1", "'in_step'"),
    ] {
        for value in values.split_whitespace() {
            let line = with(key, value);
            let error = parse(&line).expect_err(&line);
            assert!(
                error.starts_with(&format!("{key} '{value}': ")) && error.contains(allowed),
                "{line}: {error}"
            );
        }
    }
    for remote in [
        "/dev/b",
        "dev:",
        "tcp:10.0.0.1:7000",
        "rdma:x",
        "DEV:/dev/b",
    ] {
        let line = SMALLEST.replace("dev:/dev/b", remote);
        let error = parse(&line).expect_err(&line);
        assert!(
            error.starts_with(&format!("remote '{remote}': 'dev:<path")),
            "{error}"
        );
    }
}

#[test]
fn the_front_is_named() {
    for (words, what) in [
        (0, "<role>"),
        (1, "<set>"),
        (2, "<local device>"),
        (3, "<#options>"),
    ] {
        let line: Vec<&str> = SMALLEST.split(' ').take(words).collect();
        let error = parse(&line.join(" ")).unwrap_err();
        assert!(
            error.contains(&format!("ends before {what}")) && error.contains("<initiator|standby>"),
            "{error}"
        );
    }
    let error = parse(&SMALLEST.replace("initiator", "target")).unwrap_err();
    assert!(error.contains("role 'target'") && error.contains("'standby'"));
    for set in ["a/b", "a*", &"x".repeat(64)] {
        let line = SMALLEST.replacen("set", set, 1);
        let error = parse(&line).unwrap_err();
        assert!(
            error.contains(&format!("set '{set}'")) && error.contains("63"),
            "{error}"
        );
    }
}

#[test]
fn counts() {
    for said in [
        "5",
        "7",
        "0",
        "-6",
        "+6",
        "six",
        "06x",
        "18446744073709551622",
    ] {
        let line = SMALLEST.replacen(" 6 ", &format!(" {said} "), 1);
        let error = parse(&line).unwrap_err();
        assert!(
            error.contains(&format!("#options '{said}'")) && error.contains("6 words follow"),
            "{error}"
        );
    }
    let line = SMALLEST.replacen(" 6 ", " 7 ", 1) + " mode";
    assert_eq!(parse(&line).unwrap_err(), "option 'mode' has no value");
    let many = format!(
        "initiator set /dev/a {} {}",
        limits::MAX_TABLE_OPTIONS + 2,
        "x y ".repeat(limits::MAX_TABLE_OPTIONS / 2 + 1)
    );
    assert!(parse(&many).unwrap_err().contains("at most 64"));
}

#[test]
fn options_stand_once_and_are_known() {
    for key in [
        "log",
        "log_offset",
        "mode",
        "create",
        "partner",
        "remote",
        "member",
        "lanes",
    ] {
        let line = "initiator set /dev/a 4 ".to_string() + &format!("{key} 1M ").repeat(2);
        let words: Vec<&str> = line.split_whitespace().collect();
        match Table::parse(&words) {
            // A wrong value is told first.
            Err(TableError::Twice(k)) | Err(TableError::Value(k, _, _)) => assert_eq!(k, key),
            other => panic!("{key}: {other:?}"),
        }
    }
    let twice = with("log", "/dev/pmem1");
    assert_eq!(parse(&twice).unwrap_err(), "option 'log' stands twice");
    let line = with("colour", "blue");
    let error = parse(&line).unwrap_err();
    assert!(error.starts_with("unknown option 'colour'"));
    // The list in the text is the list that there is.
    let listed = error.split("there are: ").nth(1).unwrap();
    for key in listed.split(", ") {
        let line = with(key, "?");
        assert!(
            !parse(&line).is_err_and(|e| e.contains("unknown")),
            "{key} is listed but not known"
        );
    }
}

#[test]
fn what_is_needed_and_what_contradicts() {
    for (drop, key) in [
        ("log /dev/pmem0", "'log'"),
        ("remote dev:/dev/b", "'remote'"),
        ("partner none", "'partner'"),
    ] {
        let line = SMALLEST.replacen(" 6 ", " 4 ", 1).replace(drop, "");
        let error = parse(&line).unwrap_err();
        assert!(
            error.contains(key) && error.contains("is needed"),
            "{error}"
        );
    }
    let line = SMALLEST.replace("dev:/dev/b", "dev:/dev/a");
    let error = parse(&line).unwrap_err();
    assert!(
        error.contains("remote '/dev/a': it is the local device"),
        "{error}"
    );
    let line = SMALLEST.replace("partner none", "partner 10.0.0.2:7000");
    assert!(parse(&line).unwrap_err().contains("'listen' is needed"));
    let line = SMALLEST.replace("initiator", "standby");
    assert!(parse(&line).unwrap_err().contains("stands by for nobody"));
    let error = parse(&paired("initiator", "takeover auto")).unwrap_err();
    assert!(error.contains("'fencing none'"), "{error}");
    assert!(parse(&paired("initiator", "takeover auto fencing external")).is_ok());
    let error = parse(&paired("initiator", "partner_lost continue")).unwrap_err();
    assert!(
        error.contains("'metadata' is needed") && error.contains("both reach"),
        "{error}"
    );
    let error = parse(&with("metadata", "/dev/m")).unwrap_err();
    assert!(error.contains("there is no partner"), "{error}");
    let error = parse(&paired("initiator", "metadata_offset 4K")).unwrap_err();
    assert!(error.contains("'metadata' is needed"), "{error}");
    assert!(parse(&paired(
        "initiator",
        "partner_lost continue metadata /dev/m"
    ))
    .is_ok());
    assert!(parse(&paired("initiator", "metadata_offset 0")).is_ok());
    assert!(parse(&with("member", "1"))
        .unwrap_err()
        .contains("less than 'members'"));
    assert!(parse(&paired("initiator", "member 2 members 2")).is_err());
    assert!(parse(&paired("initiator", "member 1 members 2")).is_ok());
}

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
    "metadata",
    "metadata_offset",
    "partner_lost",
    "ping_ms",
    "ping_misses",
    "member",
    "members",
    "create",
    "",
    "initiator",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(KEYS).prop_map(String::from),
        2 => "[0-9]{1,22}[KMGTkmgt]?",
        1 => "dev:[a-z/]{0,5}",
        1 => "(none|sync|async|auto|manual|wait|continue|external|reservation|in_step)",
        1 => "\\PC{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn random_words_never_panic(words in proptest::collection::vec(word(), 0..80), front: bool) {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let n = words.len().to_string();
        if front {
            words.splice(0..0, ["initiator", "set", "/dev/a", &n]);
        }
        if let Err(e) = Table::parse(&words) {
            prop_assert!(!e.to_string().is_empty());
        }
    }

    /// Whatever is accepted lies within the limits.
    #[test]
    fn what_is_accepted_is_in_bounds(
        offset in "[0-9]{1,6}[KMGT]?", size in "[0-9]{1,6}[KMGT]?", lanes in 0u32..40,
        records in "[0-9]{1,8}",
    ) {
        let line = format!(
            "initiator set /dev/a 14 log /dev/pmem0 remote dev:/dev/b partner none \
             log_offset {offset} log_size {size} lanes {lanes} records {records}"
        );
        if let Ok(t) = parse(&line) {
            prop_assert!(t.log_offset % 4096 == 0 && t.log_offset <= limits::MAX_LOG_BYTES);
            prop_assert!((limits::MIN_LOG_BYTES..=limits::MAX_LOG_BYTES).contains(&t.log_size));
            prop_assert!((1..=limits::MAX_LANES).contains(&usize::from(t.lanes)));
            prop_assert!((16..=limits::MAX_RECORDS).contains(&t.records));
        }
    }
}
