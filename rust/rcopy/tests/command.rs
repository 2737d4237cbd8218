// SPDX-License-Identifier: GPL-2.0

//! The command line: table lines, volumes, sets that are found, exit statuses.

#![recursion_limit = "256"]

mod common;
#[path = "common/fake.rs"]
mod fake;

use clap::CommandFactory;
use common::{rcopy, rcopy_in, Folder, Log};
use core_crate::{
    format::{SetName, Super},
    ownership::{Ownership, Stale, RECORD_SLOT},
    table::{Table, TableError},
    units::{Generation, Seq},
};
use rcopy_crate::{
    cli::{Cli, Options},
    devices,
    error::Exit,
};
use serde_json::{json, Value};
use std::{fs, path::Path};

const GOOD: &[&str] = &[
    "create",
    "v1",
    "--print",
    "--sectors",
    "131072",
    "--local",
    "/dev/sdb",
    "--log",
    "/dev/pmem0",
    "--remote",
    "dev:/dev/sdc",
    "--partner",
    "10.0.0.2:7000",
    "--listen",
    "10.0.0.1:7000",
];

/// The good line with other options: a value of "-" leaves one out.
fn create(change: &[&str]) -> common::Answer {
    let mut args: Vec<String> = GOOD.iter().map(|s| s.to_string()).collect();
    for pair in change.chunks(2) {
        if let Some(at) = args.iter().position(|a| a == pair[0]) {
            args.drain(at..at + 2);
        }
        if pair[1] != "-" {
            args.extend([pair[0].to_string(), pair[1].to_string()]);
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    rcopy(&args)
}

#[test]
fn a_line_is_what_the_grammar_reads() {
    let a = create(&[
        "--mode",
        "sync",
        "--ping-ms",
        "250",
        "--create",
        "in_step",
        "--log-size",
        "1G",
    ]);
    assert_eq!((a.exit, a.err.as_str()), (0, ""));
    let words: Vec<&str> = a.out.split_whitespace().collect();
    assert_eq!(&words[..3], ["0", "131072", "remote-copy"]);
    let t = Table::parse(&words[3..]).unwrap();
    assert_eq!(t.set.as_str(), "v1");
    assert_eq!((t.log, t.log_size, t.ping_ms), ("/dev/pmem0", 1 << 30, 250));
    assert_eq!(
        (t.partner, t.listen),
        (Some("10.0.0.2:7000"), Some("10.0.0.1:7000"))
    );
    assert!(t.create && t.mode == core_crate::table::Mode::Sync);
}

#[test]
fn every_key_of_the_grammar_has_an_option() {
    // The grammar lists its keys when it meets one that it does not know.
    let e = Table::parse(&["initiator", "s", "/l", "2", "colour", "red"]).unwrap_err();
    assert_eq!(e, TableError::Unknown("colour"));
    let text = e.to_string();
    let listed: Vec<&str> = text
        .split("there are: ")
        .nth(1)
        .unwrap()
        .split(", ")
        .collect();
    let mut mine = Options::KEYS.to_vec();
    let mut listed: Vec<&str> = listed.iter().map(|k| k.trim()).collect();
    mine.sort_unstable();
    listed.sort_unstable();
    assert_eq!(mine, listed);
}

#[test]
fn errors_name_the_option_and_what_is_right() {
    for (change, why) in [
        (
            &["--lanes", "33"] as &[&str],
            "--lanes '33': 1 to 32 are allowed",
        ),
        (
            &["--remote", "dev:/dev/sdb"],
            "--remote '/dev/sdb': it is the local device; the copy has to be on another one",
        ),
        (
            &["--log-size", "64K"],
            "--log-size '64K': bytes, a multiple of 4096, at least 1M",
        ),
        (
            &["--remote", "/dev/sdc"],
            "--remote '/dev/sdc': 'dev:<path of a block device>' is allowed",
        ),
        (
            &["--log", "-"],
            "--log is needed: the persistent memory device",
        ),
        (
            &["--partner", "-"],
            "--partner is needed: the partner's address and port",
        ),
        (&["--listen", "-"], "--listen is needed"),
        (
            &["--partner", "nas:7000"],
            "--partner 'nas:7000': <IPv4 address>:<port>",
        ),
        (
            &["--partner", "10.0.0.2"],
            "--partner '10.0.0.2': <IPv4 address>:<port>",
        ),
        (
            &["--listen", "10.0.0.1:0"],
            "--listen '10.0.0.1:0': port 0 is none",
        ),
        (
            &["--takeover", "auto"],
            "'takeover auto' is refused with 'fencing none'",
        ),
        (&["--partner-lost", "continue"], "--metadata is needed"),
        (
            &["--role", "master"],
            "--role 'master': 'initiator' or 'standby' is allowed",
        ),
        (&["--set", "a/b"], "--set 'a/b': 1 to 63 letters"),
        (
            &["--log", "/dev/my pmem"],
            "--log '/dev/my pmem': a table line is split at blanks",
        ),
        (&["--log", ""], "--log '': a value is needed"),
        (&["--sectors", "0"], "--sectors '0': a number of sectors"),
        (&["--sectors", "-"], "--local '/dev/sdb': "),
        (
            &["--metadata", "/dev/sdb", "--metadata-offset", "4096"],
            "within the volume of 67108864 bytes; 67108864 is the first place behind it",
        ),
    ] {
        let a = create(change);
        assert!([2, 3].contains(&a.exit), "{change:?}: {} {}", a.exit, a.err);
        assert!(
            a.err.starts_with("rcopy: ") && a.err.contains(why),
            "{change:?}: {}",
            a.err
        );
        assert_eq!(a.out, "");
    }
    assert_eq!(
        create(&["--metadata", "/dev/sdb", "--metadata-offset", "67108864"]).exit,
        0
    );
    // The set's name comes from the volume's.
    let a = rcopy(&[&["create", "v/1"], &GOOD[2..]].concat());
    assert!(
        a.err
            .contains("the set is named as the volume unless --set says otherwise"),
        "{}",
        a.err
    );
    let a = create(&["--json", "-"]);
    assert_eq!(a.exit, 0);
    let a = rcopy(&[GOOD, &["--json"]].concat());
    assert_eq!(a.json()["created"], false);
    assert!(a.json()["table"]
        .as_str()
        .unwrap()
        .starts_with("0 131072 remote-copy initiator v1 "));
}

#[test]
fn volumes_go_and_are_forgotten() {
    let f = Folder::new();
    let line = "0 8 remote-copy initiator s1 /dev/l 6 log /dev/p remote dev:/dev/r partner none";
    f.dmsetup(&format!(
        "case $1-$3 in table-v1) echo '{line}' ;; table-root) echo '0 8 linear 8:0 0' ;; table-busy) echo '{line}' ;;
         table-*) echo 'Device does not exist.' >&2; exit 1 ;;
         remove-busy) echo 'device-mapper: remove ioctl on busy  failed: Device or resource busy' >&2; exit 1 ;;
         remove-v1) exit 0 ;; esac"
    ));
    let volumes = f.write("volumes", format!("# mine\nv1: {line}\nv2: {line}\n"));
    let remove = |args: &[&str]| {
        rcopy_in(
            Some(&f.0),
            &[&["remove", "--config", &volumes], args].concat(),
        )
    };
    let a = remove(&["root"]);
    assert_eq!(a.exit, 4);
    assert!(
        a.err
            .contains("a device of target 'linear', none of remote-copy"),
        "{}",
        a.err
    );
    let a = remove(&["nothing"]);
    assert_eq!(a.exit, 3);
    assert!(
        a.err.contains("volume 'nothing': there is no such device"),
        "{}",
        a.err
    );
    let a = remove(&["busy"]);
    assert_eq!(a.exit, 4);
    assert!(
        a.err.contains("volume 'busy': it is in use; unmount it"),
        "{}",
        a.err
    );
    assert!(!f.read("dmsetup.log").contains("remove|--|root"));
    let a = remove(&["v1", "--forget", "--json"]);
    assert_eq!(
        a.json(),
        json!({"volume": "v1", "removed": true, "forgotten": true})
    );
    assert_eq!(f.read("volumes"), format!("# mine\nv2: {line}\n"));
    assert!(f.read("dmsetup.log").contains("remove|--|v1|"));
    // No other file is left beside it.
    assert_eq!(fs::read_dir(&f.0).unwrap().count(), 3);
}

#[test]
fn without_dmsetup_it_says_so() {
    let f = Folder::new();
    let mut cmd = std::process::Command::new(env!("CARGO_BIN_EXE_rcopy"));
    let out = cmd
        .env("PATH", &f.0)
        .args(["remove", "v1"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("dmsetup is not there"));
}

/// A folder with two nodes' logs of s1, one of s2, an ownership record, and something else.
fn site() -> Folder {
    let f = Folder::new();
    let named = |name: &str, node: u32, change: fn(&mut Super)| {
        let mut log = Log::new();
        log.sup.name = SetName::new(name).unwrap();
        log.sup.node = node;
        if name == "s2" {
            log.sup.uuid[0] ^= 1;
        }
        change(&mut log.sup);
        log.put_super();
        log.bytes()
    };
    f.write("pmem0", named("s1", 1, |_| ()));
    f.write("other", vec![0x11; 1 << 20]);
    let mut two = vec![0; 1 << 20];
    two.extend(named("s2", 3, |s| s.alone = true));
    f.write("pmem1", two);
    let r = Ownership {
        counter: 5,
        uuid: common::UUID,
        name: SetName::new("s1").unwrap(),
        generation: Generation(3),
        node: 1,
        unfenced: false,
        stale: Some(Stale {
            since: Seq(77),
            generation: Generation(3),
            limit: Seq(1000),
        }),
        shipped: Seq(5),
        missing: None,
    };
    let mut meta = r.seal(common::crc).to_vec();
    meta.resize(2 * RECORD_SLOT as usize, 0);
    f.write("meta", meta);
    f
}

fn line(set: &str, log: &str, offset: &str) -> String {
    format!(
        "0 8 remote-copy initiator {set} /dev/l {} log {log}{offset} remote dev:/dev/r partner none create in_step",
        if offset.is_empty() { 8 } else { 10 }
    )
}

fn assemble(f: &Folder, args: &[&str]) -> common::Answer {
    let all: Vec<String> = ["pmem0", "pmem1", "other", "meta"]
        .iter()
        .map(|n| f.path(n))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let config = f.path("volumes");
    rcopy_in(
        Some(&f.0),
        &[&["assemble", "--config", &config], &all[..], args].concat(),
    )
}

fn set<'a>(j: &'a Value, name: &str) -> &'a Value {
    let all = j["sets"].as_array().unwrap();
    all.iter()
        .find(|s| s["name"] == name)
        .unwrap_or_else(|| panic!("no set {name} in {j}"))
}

#[test]
fn sets_are_found_by_their_logs() {
    let f = site();
    f.dmsetup("[ $1 != create ] || exit 0");
    // Without --deep only the beginnings are looked at: s2 begins later.
    let j = assemble(&f, &["--json"]).json();
    assert_eq!(j["sets"].as_array().unwrap().len(), 1);
    let a = assemble(&f, &["--json", "--deep"]);
    assert_eq!(a.exit, 0);
    let j = a.json();
    let s1 = set(&j, "s1");
    assert_eq!(s1["uuid"], "10213243-5465-7687-98a9-bacbdcedfe0f");
    assert_eq!(s1["logs"][0]["device"], f.path("pmem0"));
    assert_eq!(s1["logs"][0]["role"], "owner");
    assert_eq!(s1["records"][0]["device"], f.path("meta"));
    assert_eq!(s1["records"][0]["out_of_date_since"], 77);
    assert!(s1["template"].as_str().unwrap().contains(&format!(
        "initiator s1 <local device> 8 log {}",
        f.path("pmem0")
    )));
    assert_eq!(set(&j, "s2")["logs"].as_array().unwrap().len(), 1);
    assert_eq!(set(&j, "s2")["logs"][0]["offset"], 1 << 20);
    assert_eq!(set(&j, "s2")["logs"][0]["alone"], true);
    assert_eq!((&j["damaged"], &j["unread"]), (&json!([]), &json!([])));
    let a = assemble(&f, &[]);
    assert!(a.out.contains(
        "node 00000001 owns the set in generation 3; its partner's mirror is out of date since 77"
    ));
    assert_eq!(assemble(&f, &["--set", "s9"]).exit, 3);
}

#[test]
fn noted_volumes_are_started_with_the_log_where_it_is() {
    let f = site();
    f.dmsetup(
        "case $1 in table) echo 'v9: 0 8 remote-copy initiator s1 /dev/l 6 log x remote dev:/y partner none' ;;
         create) [ $2 != v2 ] || { echo 'device-mapper: create ioctl failed' >&2; exit 1; } ;; esac",
    );
    // s1's log was on another device when it was noted, s2's is where it was; s3 has none.
    let text = [
        format!("v1: {}", line("s1", "/dev/pmem7", "")),
        format!("v2: {}", line("s2", &f.path("pmem1"), " log_offset 1M")),
        format!("v3: {}", line("s3", "/dev/pmem3", "")),
        format!("v9: {}", line("s1", &f.path("pmem0"), "")),
    ];
    f.write("volumes", text.join("\n"));
    let a = assemble(&f, &["--json"]);
    let j = a.json();
    let volumes = set(&j, "s1")["volumes"].as_array().unwrap().clone();
    assert_eq!(volumes[0]["state"], "ready");
    let moved = line("s1", &f.path("pmem0"), "")
        .replace(" create in_step", "")
        .replace("/dev/l 8", "/dev/l 6");
    assert_eq!(volumes[0]["table"], moved);
    assert!(volumes[0]["remark"]
        .as_str()
        .unwrap()
        .contains("not on /dev/pmem7 at 0 as noted"));
    assert_eq!(
        (&volumes[1]["volume"], &volumes[1]["state"]),
        (&json!("v9"), &json!("running"))
    );
    assert_eq!(j["without_log"][0]["state"], "no-log");
    assert!(!f.read("dmsetup.log").contains("create|"));

    let a = assemble(&f, &["--json", "--start"]);
    assert_eq!(a.exit, 1);
    let j = a.json();
    assert_eq!(set(&j, "s1")["volumes"][0]["state"], "started");
    assert_eq!(set(&j, "s2")["volumes"][0]["state"], "failed");
    assert!(set(&j, "s2")["volumes"][0]["why"]
        .as_str()
        .unwrap()
        .contains("create ioctl failed"));
    let log = f.read("dmsetup.log");
    assert!(
        log.contains(&format!("create|v1|--table|{moved}|")),
        "{log}"
    );
    assert!(
        !log.contains("create|v9") && !log.contains("create|v3") && !log.contains("in_step"),
        "{log}"
    );
}

#[test]
fn two_logs_of_one_set_are_told_apart_or_refused() {
    let f = site();
    f.dmsetup("");
    let mut log = Log::new();
    log.sup.name = SetName::new("s1").unwrap();
    log.sup.node = 2;
    log.put_super();
    f.write("other", log.bytes());
    f.write("volumes", format!("v1: {}", line("s1", "/dev/pmem7", "")));
    let j = assemble(&f, &["--json"]).json();
    let v = &set(&j, "s1")["volumes"][0];
    assert_eq!(v["state"], "unclear");
    assert!(
        v["why"].as_str().unwrap().contains("(node 00000002)"),
        "{v}"
    );
    assert_eq!(assemble(&f, &["--start"]).exit, 1);
    f.write(
        "volumes",
        format!("v1: {}", line("s1", &f.path("other"), "")),
    );
    let j = assemble(&f, &["--json"]).json();
    assert_eq!(set(&j, "s1")["volumes"][0]["state"], "ready");
    assert!(set(&j, "s1")["volumes"][0]["table"]
        .as_str()
        .unwrap()
        .contains(&f.path("other")));
}

#[test]
fn damage_and_wrong_files_are_said() {
    let f = site();
    f.dmsetup("");
    let mut bytes = fs::read(f.path("pmem0")).unwrap();
    bytes[40] ^= 1;
    bytes[4096 + 40] ^= 1;
    f.write("pmem0", bytes);
    let a = assemble(&f, &["--json"]);
    assert_eq!(a.exit, 6);
    assert_eq!(
        a.json()["damaged"][0]["text"],
        "both superblock slots of the log are damaged"
    );
    f.write("volumes", "v1: 0 8 linear 8:0 0\n");
    let a = assemble(&f, &[]);
    assert_eq!(a.exit, 2);
    assert!(
        a.err
            .contains("volumes, line 1: target 'linear': remote-copy is needed"),
        "{}",
        a.err
    );
    let l = line("s1", "/dev/p", "");
    f.write("volumes", format!("\n# x\nv1: {l}\nv1: {l}\n"));
    assert!(assemble(&f, &[])
        .err
        .contains("volumes, line 4: volume 'v1' stands twice"));
    f.write(
        "volumes",
        format!("v1: {}", l.replace("none", "none lanes")),
    );
    assert!(assemble(&f, &[])
        .err
        .contains("line 1: #options '8': 9 words follow"));
    assert_eq!(assemble(&f, &["/nowhere"]).exit, 2);
    f.write("volumes", "");
    let a = assemble(&f, &["/nowhere"]);
    assert_eq!(a.exit, 3);
    assert!(a.err.contains("/nowhere: No such file"), "{}", a.err);
}

#[test]
fn half_a_log_cannot_be_started() {
    let f = site();
    f.dmsetup("[ $1 != create ] || exit 0");
    let mut bytes = fs::read(f.path("pmem0")).unwrap();
    bytes.truncate(bytes.len() / 2);
    let half = f.write("half", &bytes);
    let config = f.write("volumes", format!("v1: {}\n", line("s1", &half, "")));
    let a = rcopy_in(
        Some(&f.0),
        &["assemble", "--config", &config, "--start", &half],
    );
    assert_eq!(a.exit, 6);
    assert!(
        a.out
            .contains(&format!("there are {}: this is a part of it", bytes.len())),
        "{}",
        a.out
    );
    assert!(!f.read("dmsetup.log").contains("create|"));
    // One slot of the superblock is enough.
    let mut bytes = fs::read(f.path("pmem0")).unwrap();
    bytes[..4096].fill(0);
    let one = f.write("one", &bytes);
    let a = rcopy_in(
        Some(&f.0),
        &["assemble", "--config", "/nonexistent", &one, "--json"],
    );
    assert_eq!(
        (a.exit, set(&a.json(), "s1")["logs"][0]["role"].as_str()),
        (0, Some("owner"))
    );
    let a = rcopy_in(
        Some(&f.0),
        &[
            "assemble",
            "--config",
            "/nonexistent",
            &f.write("empty", ""),
        ],
    );
    assert_eq!(
        (a.exit, a.out.as_str()),
        (3, "no log of remote-copy was found on 1 device\n")
    );
}

#[test]
fn block_devices_are_listed() {
    let f = Folder::new();
    for (name, size, removable, dm) in [
        ("pmem0", "65536", "0", ""),
        ("sr0", "2048", "1", ""),
        ("loop0", "0", "0", ""),
        ("dm-0", "8", "0", "vg-x"),
        ("cciss!c0d0", "8", "0", ""),
    ] {
        let folder = f.0.join("sys/class/block").join(name);
        fs::create_dir_all(folder.join("dm")).unwrap();
        fs::write(folder.join("size"), format!("{size}\n")).unwrap();
        fs::write(folder.join("removable"), format!("{removable}\n")).unwrap();
        if !dm.is_empty() {
            fs::write(folder.join("dm/name"), format!("{dm}\n")).unwrap();
        }
    }
    fs::create_dir_all(f.0.join("dev/mapper")).unwrap();
    fs::write(f.0.join("dev/mapper/vg-x"), "").unwrap();
    let all = devices::all(&f.0.join("sys"), Path::new(&f.path("dev"))).unwrap();
    let dev = |n: &str| f.path(&format!("dev/{n}"));
    assert_eq!(all, [dev("cciss/c0d0"), dev("mapper/vg-x"), dev("pmem0")]);
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    for args in [
        &[] as &[&str],
        &["log"],
        &["nothing"],
        &["create"],
        &["remove"],
        &["log", "dump"],
        &["assemble", "--deep"],
    ] {
        let a = rcopy(args);
        assert_eq!(a.exit, 2, "{args:?}");
        assert!(a.out.is_empty() && !a.err.is_empty());
    }
    for args in [
        &["--help"] as &[&str],
        &["create", "--help"],
        &["--version"],
        &["version"],
        &["completion", "bash"],
    ] {
        assert_eq!(rcopy(args).exit, 0, "{args:?}");
    }
}

#[test]
fn errors_for_programs() {
    for (args, exit, why) in [
        (
            &["nothing"] as &[&str],
            2,
            "unrecognized subcommand 'nothing'",
        ),
        (&["remove"], 2, "<VOLUME>"),
        (
            &["log", "dump", "/nowhere"],
            3,
            "/nowhere: No such file or directory",
        ),
        (
            &["create", "v", "--local", "/dev/l", "--lanes", "33"],
            2,
            "--lanes '33': 1 to 32 are allowed",
        ),
        (
            &["status", "--watch", "0"],
            2,
            "1 to 3600 seconds are allowed",
        ),
    ] {
        let a = rcopy(&[args, &["--json"]].concat());
        let e: Value = serde_json::from_str(&a.err).unwrap_or_else(|e| panic!("{e}: {}", a.err));
        assert_eq!((a.exit, a.out.as_str()), (exit, ""), "{args:?}");
        assert_eq!((a.err.lines().count(), &e["exit"]), (1, &json!(exit)));
        assert!(e["error"].as_str().unwrap().contains(why), "{e}");
        let means = Exit::ALL.iter().find(|(x, _)| *x as i32 == exit).unwrap().1;
        assert_eq!(e["means"], means);
    }
    // What was asked for is no error.
    assert!(rcopy(&["--help", "--json"]).err.is_empty());
    assert_eq!(rcopy(&["--version", "--json"]).json()["log_format"], 2);
}

#[test]
fn what_is_watched() {
    use clap::Parser;
    use rcopy_crate::cli::Command;
    let asked = |args: &[&str]| {
        let cli = Cli::try_parse_from([&["rcopy", "status"], args].concat())
            .map_err(|e| e.to_string())?;
        let Command::Status(args) = cli.command else {
            panic!()
        };
        let asked = args.asked().map_err(|e| e.text)?;
        Ok::<_, String>((asked.0.map(str::to_string), asked.1))
    };
    let s = |name: &str| Some(name.to_string());
    assert_eq!(asked(&[]), Ok((None, None)));
    assert_eq!(asked(&["--watch"]), Ok((None, Some(1))));
    assert_eq!(asked(&["--watch", "5"]), Ok((None, Some(5))));
    assert_eq!(asked(&["vol1", "--watch", "5"]), Ok((s("vol1"), Some(5))));
    assert_eq!(asked(&["vol1", "--watch"]), Ok((s("vol1"), Some(1))));
    assert_eq!(asked(&["--watch", "5", "vol1"]), Ok((s("vol1"), Some(5))));
    assert_eq!(asked(&["--watch", "vol1"]), Ok((s("vol1"), Some(1))));
    // A watch has no end, and so no exit status that tells.
    assert!(asked(&["--check", "--watch"])
        .unwrap_err()
        .contains("cannot be used with"));
    for wrong in [
        &["vol1", "--watch", "vol2"] as &[&str],
        &["--watch", "0"],
        &["--watch", "3601"],
        &["--watch", "1s"],
    ] {
        let e = asked(wrong).unwrap_err();
        assert!(e.contains("1 to 3600 seconds are allowed"), "{e}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let text = "rcopy man | head -n 1 >/dev/null; echo ${PIPESTATUS[0]}";
    let mut cmd = std::process::Command::new("bash");
    let bin = Path::new(env!("CARGO_BIN_EXE_rcopy")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let out = cmd.env("PATH", path).args(["-c", text]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "0");
}

#[test]
fn versions() {
    let a = rcopy(&["--version"]);
    assert!(
        a.out
            .starts_with(concat!("rcopy ", env!("CARGO_PKG_VERSION"), "\n")),
        "{}",
        a.out
    );
    assert!(
        a.out
            .contains("log format 2, ownership record 1, partner protocol 4"),
        "{}",
        a.out
    );
    let f = Folder::new();
    let none = rcopy_crate::version::Versions::new(&f.0.join("none"));
    assert!(none.lines().contains("module dm_remote_copy: not loaded"));
    f.write("version", "1.2\n");
    let there = rcopy_crate::version::Versions::new(&f.0);
    assert!(there.lines().contains("module dm_remote_copy: 1.2\n"));
    // What the module says of itself, which may be another version than the tool's.
    let mut there = there;
    let info = |format: u32| {
        let all = json!({"module_version": "9", "format_version": format, "protocol_version": 4});
        fake::answer(&rcopy_crate::nl::names::INFO_ATTRS, &all)
    };
    there.told(&info(2));
    let lines = there.lines();
    assert!(
        lines.contains(
            "module dm_remote_copy: 1.2, log format 2, partner protocol 4\nthe tool knows"
        ),
        "{lines}"
    );
    there.told(&info(3));
    assert!(there
        .lines()
        .contains("1.2, log format 3, partner protocol 4\nThis tool cannot read the logs"));
    let j = rcopy(&["version", "--json"]).json();
    assert_eq!(
        (&j["log_format"], &j["tool"]),
        (&json!(2), &json!(env!("CARGO_PKG_VERSION")))
    );
}

/// Every command, with its path.
fn commands() -> Vec<String> {
    fn of(cmd: &clap::Command, path: &str, all: &mut Vec<String>) {
        for sub in cmd.get_subcommands().filter(|s| !s.is_hide_set()) {
            let name = format!("{path}{}", sub.get_name());
            if sub.has_subcommands() {
                of(sub, &format!("{name} "), all);
            } else {
                all.push(name);
            }
        }
    }
    let mut all = vec![];
    of(&Cli::command(), "", &mut all);
    all
}

#[test]
fn the_page_has_every_command_and_every_exit_status() {
    let page = rcopy(&["man"]).out.replace("\\-", "-");
    for c in commands() {
        assert!(
            page.contains(&format!("\\fBrcopy {c}\\fR")),
            "{c} is not in the page"
        );
    }
    for (exit, means) in Exit::ALL {
        assert!(
            page.contains(&format!("\\fB{}\\fR\n{means}", exit as u8)),
            "{exit:?}"
        );
    }
    assert!(page.starts_with(".ie") && page.contains(".TH rcopy 8"));
    assert!(page.contains("\\fB--watch\\fR [SECONDS]") && page.contains("\\fB--offset\\fR BYTES"));
    assert!(page.contains("\n.SH OPTIONS\n.TP\n\\fB--json\\fR\n"));
}

#[test]
fn completion_knows_every_command() {
    let script = rcopy(&["completion", "bash"]).out;
    for c in commands() {
        // Among the words that are offered.
        let last = c.split(' ').next_back().unwrap();
        let offers = |l: &str| l.trim().starts_with("opts=") && l.contains(&format!(" {last} "));
        assert!(script.lines().any(offers), "{c}");
    }
    assert!(script.contains("--ping-misses"));
    let ok = std::process::Command::new("bash")
        .args(["-n", "-c", &script])
        .status()
        .unwrap();
    assert!(ok.success());
}
