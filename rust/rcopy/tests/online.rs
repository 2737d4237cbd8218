// SPDX-License-Identifier: GPL-2.0

//! Commands that ask the module, with answers from a list; and the bytes in between.

#![recursion_limit = "256"]

mod common;
#[path = "common/fake.rs"]
mod fake;

use common::{rcopy, Rng};
use fake::{answer, encode, fake, owner, standby, Fake, NOW};
use proof::rng::seeds;
use rcopy_crate::{
    cli::{EventsArgs, SetArgs, ShowArgs, StatusArgs},
    control,
    error::Exit,
    events::{follow, tell, Follower, Told},
    judge::lacks,
    nl::{
        client::{explain, Heard},
        names::{
            ATTRS, LINK_ATTRS, NOTICE_ATTRS, OP_PAUSE, OP_SET_GET, OP_SET_SET, OP_TAKEOVER,
            SET_ATTRS,
        },
        wire::{messages, object, request, Attributes, Message, Object, Refusal, Walk},
    },
    show::{self, Spread},
    status::{self, Status},
};
use serde_json::{json, Value};
use std::{sync::mpsc::channel, time::Duration};

// --- bytes ----------------------------------------------------------------------------------------

#[test]
fn attributes_come_back() {
    for (attrs, json) in [
        (&SET_ATTRS, owner()),
        (&SET_ATTRS, standby()),
        (&LINK_ATTRS, fake().links[0].clone()),
    ] {
        assert_eq!(serde_json::to_value(answer(attrs, &json)).unwrap(), json);
    }
    let logs = answer(OP_LOG, &fake().logs[0]);
    assert_eq!(logs.objects("lane").len(), 2);
    assert_eq!(logs.objects("lane")[1].number("head"), Some(47));
}

static OP_LOG: &rcopy_crate::nl::names::Attrs = &rcopy_crate::nl::names::LOG_ATTRS;

#[test]
fn what_a_newer_module_adds_is_left_out() {
    let mut a = encode(&SET_ATTRS, &json!({"name": "s1"}));
    a.u32(999, 5);
    let state = SET_ATTRS.by_name("state").unwrap().id;
    a.u32(state, 77);
    let o = object(a.bytes(), &SET_ATTRS).unwrap();
    assert_eq!(
        serde_json::to_value(&o).unwrap(),
        json!({"name": "s1", "state": "77"})
    );
}

#[test]
fn wrong_bytes_are_errors() {
    let id = |n| SET_ATTRS.by_name(n).unwrap().id;
    let mut short = Attributes::default();
    short.raw(id("generation"), &[1, 2]);
    assert!(object(short.bytes(), &SET_ATTRS)
        .unwrap_err()
        .0
        .contains("generation has 2 bytes"));
    let mut uuid = Attributes::default();
    uuid.raw(id("uuid"), &[0; 15]);
    assert!(object(uuid.bytes(), &SET_ATTRS).is_err());
    for bytes in [&[1u8] as &[u8], &[3, 0, 1, 0], &[200, 0, 1, 0, 0, 0, 0, 0]] {
        assert!(object(bytes, &SET_ATTRS).is_err(), "{bytes:?}");
    }
    let good = encode(&SET_ATTRS, &owner());
    assert!(messages(&good.bytes()[..10], &[], &OP_SET_GET).is_err());
}

#[test]
fn random_bytes_never_panic() {
    seeds(300, |rng: &mut Rng| {
        let mut bytes = request(30, 2, 1, 0, 1, &encode(&SET_ATTRS, &owner()));
        for _ in 0..1 + rng.below(20) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next() as u8;
        }
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        for op in rcopy_crate::nl::names::OPS {
            let _ = messages(&bytes, &bytes, op);
        }
        for attrs in ATTRS {
            let _ = object(&bytes, attrs);
        }
        // It ends.
        assert!(Walk::new(&bytes).count() <= bytes.len());
    });
}

/// An error as the kernel sends it.
fn refusal(errno: i32, sent: &[u8], capped: bool, tlvs: &Attributes) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend(if capped { &sent[..16] } else { sent });
    payload.extend(tlvs.bytes());
    let flags: u16 = 0x200 | if capped { 0x100 } else { 0 };
    let mut m = ((16 + payload.len()) as u32).to_ne_bytes().to_vec();
    m.extend(2u16.to_ne_bytes());
    m.extend(flags.to_ne_bytes());
    m.extend(7u32.to_ne_bytes());
    m.extend(0u32.to_ne_bytes());
    m.extend(payload);
    m
}

fn refused(bytes: &[u8], sent: &[u8]) -> Refusal {
    match messages(bytes, sent, &OP_SET_SET).unwrap().as_slice() {
        [(7, Message::End(Err(r)))] => r.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_names_its_attribute() {
    let attrs = encode(&SET_ATTRS, &json!({"name": "s1", "ping_ms": 5}));
    let sent = request(30, OP_SET_SET.id, 1, 4, 7, &attrs);
    // The kernel says at which byte of the request it is.
    let name_first = 20 + Walk::new(attrs.bytes()).next().unwrap().unwrap().1.len() + 4;
    let mut tlvs = Attributes::default();
    tlvs.text(1, "integer out of range")
        .u32(2, name_first.next_multiple_of(4) as u32);
    for capped in [true, false] {
        let r = refused(&refusal(34, &sent, capped, &tlvs), &sent);
        assert_eq!(r.attribute, Some("ping-ms"), "capped {capped}");
        let e = explain(&r);
        assert_eq!(e.exit, Exit::Usage);
        assert_eq!(
            e.text,
            "ping-ms: integer out of range (Numerical result out of range)"
        );
    }
    let mut tlvs = Attributes::default();
    tlvs.u32(5, u32::from(SET_ATTRS.by_name("name").unwrap().id));
    let e = explain(&refused(&refusal(22, &sent, true, &tlvs), &sent));
    assert_eq!(e.text, "name is missing: Invalid argument");
}

#[test]
fn refusals_have_their_exit_statuses() {
    for (errno, text, exit) in [
        (1, None, Exit::Permission),
        (1, Some("the owner is alive and connected"), Exit::Refused),
        (13, None, Exit::Permission),
        (16, Some("not a standby"), Exit::Refused),
        (2, Some("no such set"), Exit::NotFound),
        (22, None, Exit::Usage),
        (34, None, Exit::Usage),
        (52, None, Exit::Refused),
        (95, None, Exit::Refused),
        (117, Some("the mirror is damaged"), Exit::Damaged),
        (5, None, Exit::Failed),
        (110, None, Exit::Failed),
    ] {
        let e = explain(&Refusal {
            errno,
            text: text.map(str::to_string),
            ..Refusal::default()
        });
        assert_eq!(e.exit, exit, "{errno}");
        assert!(
            exit == Exit::Permission || e.text.contains(text.unwrap_or("")),
            "{}",
            e.text
        );
    }
}

// --- status ---------------------------------------------------------------------------------------

fn screen(kernel: &mut Fake) -> String {
    let mut out = vec![];
    Status::get(kernel, None)
        .unwrap()
        .print(NOW, &mut out)
        .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_owner_at_a_glance() {
    assert_eq!(
        screen(&mut fake()),
        "\
s1  owner, serving since 2026-11-23 03:22:36 UTC (2 h 3 min), generation 7
  protection  as configured
  partner     connected; its copy is mirrored; 10.99.0.2:7001, heard 0.2 s ago
  remote      behind by 12 records, 48 KiB, 3.1 ms (async), /dev/mapper/remote
  log         76 of 15878 records (0 %), 304 KiB of 31.0 MiB (0 %)
  ownership   fencing reservation, takeover manual, without its partner: wait; record mine, generation 7, mirror up-to-date
  counters    6000000012 writes, 6000000003 shipped, 0 mirrored, 0 local errors, log full 0 times
  last event  2 min 3 s ago: mirror finishing -> mirrored
"
    );
}

#[test]
fn a_standby_that_cannot_take_over() {
    let mut k = fake();
    k.sets = vec![standby()];
    k.links[0]["state"] = json!("disconnected");
    let text = screen(&mut k);
    assert!(
        text.starts_with(
            "s1  standby, standby since 2026-11-23 05:24:40 UTC (1 min 0 s), generation 7\n"
        ),
        "{text}"
    );
    assert!(text.contains("  protection  LESS than configured: the ownership record says that this node's copy is out of date"));
    assert!(text.contains("              and the owner cannot be reached\n"));
    assert!(
        text.contains("this copy is complete (out of date since sequence 41)"),
        "{text}"
    );
    assert!(!text.contains("records ("), "{text}");
}

#[test]
fn an_owner_without_its_partner() {
    let mut k = fake();
    k.sets[0]["mirror"] = json!("out-of-date");
    k.sets[0]["partner"] = json!("disconnected");
    k.sets[0]["record_mirror"] = json!("out-of-date");
    k.sets[0]["out_of_date_since"] = json!(41);
    let text = screen(&mut k);
    assert!(
        text.contains("disconnected; its copy is out-of-date since sequence 41; 10.99.0.2:7001"),
        "{text}"
    );
}

#[test]
fn every_lack_is_said() {
    let healthy = answer(&SET_ATTRS, &owner());
    assert_eq!(lacks(&healthy), [""; 0]);
    for (key, value, says) in [
        ("state", json!("fenced"), "I/O fails"),
        ("state", json!("failed"), "I/O fails"),
        ("state", json!("waiting-for-partner"), "I/O waits"),
        ("state", json!("assembling"), "1 of 1 volumes"),
        ("state", json!("replaying"), "I/O waits"),
        ("state", json!("taking-over"), "I/O is refused"),
        ("state", json!("handing-over"), "hands over"),
        ("mirror", json!("lost"), "writes wait"),
        ("mirror", json!("out-of-date"), "they die with this node"),
        ("mirror", json!("catching-up"), "being brought up to date"),
        ("remote", json!("lost"), "the remote fails"),
        ("remote", json!("out-of-step"), "out of step"),
        ("shipping", json!("paused"), "paused"),
        ("throttled", json!(1), "the log is full"),
        ("fencing", json!("unfenced"), "without fencing"),
        ("record", json!("unreadable"), "cannot be read"),
    ] {
        let mut set = owner();
        set[key] = value.clone();
        let all = lacks(&answer(&SET_ATTRS, &set));
        assert_eq!(all.len(), 1, "{key} {value}: {all:?}");
        assert!(all[0].contains(says), "{key} {value}: {all:?}");
        let mut k = fake();
        k.sets = vec![set];
        assert_eq!(Status::get(&mut k, None).unwrap().check(), Exit::Degraded);
    }
    let mut set = standby();
    set["mirror"] = json!("incomplete");
    assert!(lacks(&answer(&SET_ATTRS, &set))
        .iter()
        .any(|l| l.contains("incomplete")));
    assert_eq!(Status::get(&mut fake(), None).unwrap().check(), Exit::Ok);
}

#[test]
fn status_as_json() {
    let args = StatusArgs {
        set: Some("s1".into()),
        watch: None,
        check: true,
    };
    let mut out = vec![];
    assert_eq!(
        status::run(&mut fake(), &args, true, &mut out).unwrap(),
        Exit::Ok
    );
    let j: Value = serde_json::from_slice(&out).unwrap();
    let s = &j["sets"][0];
    for (key, value) in owner().as_object().unwrap() {
        assert_eq!(&s[key], value, "{key}");
    }
    assert_eq!(s["lacks"], json!([]));
    assert_eq!(s["links"].as_array().unwrap().len(), 2);
    let args = StatusArgs {
        set: Some("s2".into()),
        ..args
    };
    let e = status::run(&mut fake(), &args, true, &mut vec![]).unwrap_err();
    assert_eq!(e.exit, Exit::NotFound);
    let mut none = Fake::default();
    assert_eq!(screen(&mut none), "no sets in this network namespace\n");
}

// --- show -----------------------------------------------------------------------------------------

fn show(latency: bool, json: bool) -> String {
    let mut out = vec![];
    let args = ShowArgs { set: None, latency };
    show::run(&mut fake(), &args, json, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn show_everything() {
    let j: Value = serde_json::from_str(&show(false, true)).unwrap();
    assert_eq!(j[0]["set"], owner());
    assert_eq!(j[0]["logs"], json!(fake().logs));
    assert_eq!(j[0]["volumes"], json!(fake().volumes));
    assert_eq!(j[0]["stats"], json!(fake().stats));
    let text = show(false, false);
    for line in [
        "seq_last                 6000000012\n",
        "uuid                     10213243-",
        "  path                     /dev/pmem0\n",
        "  size                     33554432  32 MiB\n",
        "since                    1795404156  2026-11-23 03:22:36 UTC\n",
        "    head                     47\n",
        "node                     168496141  0a0b0c0d\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

#[test]
fn latencies() {
    let s = Spread::of(&answer(
        &rcopy_crate::nl::names::LATENCY_ATTRS,
        &fake().stats[0]["latency"][0],
    ));
    assert_eq!((s.count, s.mean_ns), (100, 2500));
    assert_eq!((s.p50_ns, s.p99_ns, s.max_ns), (2048, 4096, 1 << 21));
    let text = show(true, false);
    assert!(
        text.contains("  logged                100     2.5 µs     2.0 µs     4.1 µs     2.1 ms\n"),
        "{text}"
    );
    assert!(
        text.contains("  shipped                 0          -          -          -          -\n"),
        "{text}"
    );
    assert!(
        text.contains(&format!("  <     2.0 µs         60 {}\n", "#".repeat(40))),
        "{text}"
    );
    assert!(
        text.contains(&format!("  <     4.1 µs         39 {}\n", "#".repeat(26))),
        "{text}"
    );
    let j: Value = serde_json::from_str(&show(true, true)).unwrap();
    assert_eq!(j[0]["stages"][0]["p99_ns"], 4096);
    assert_eq!(j[0]["stages"][0]["buckets"], json!(fake::buckets()));
    // The last bucket has no end.
    let s = Spread::of(&Object(vec![(
        "buckets",
        rcopy_crate::nl::wire::Value::Numbers(vec![0; 63].into_iter().chain([1]).collect()),
    )]));
    assert_eq!(s.max_ns, u64::MAX);
}

// --- events ---------------------------------------------------------------------------------------

fn notice(seq: u64, set: &str) -> Object {
    let mut json = fake::notice(seq);
    json["set"] = json!(set);
    answer(&NOTICE_ATTRS, &json)
}

fn heard(seqs: &[u64], start: Option<u64>) -> String {
    let mut f = Follower::new(start, None);
    let told = seqs.iter().flat_map(|n| f.hear(notice(*n, "s1")));
    let short = |t: Told| match t {
        Told::Event(e) => e.number("seq").unwrap().to_string(),
        Told::Missed { first, last } => format!("-{first}..{last}"),
        Told::Anew => "anew".into(),
    };
    told.map(short).collect::<Vec<_>>().join(" ")
}

#[test]
fn gaps_are_found() {
    assert_eq!(heard(&[5, 6, 7], Some(4)), "5 6 7");
    assert_eq!(heard(&[6, 9], Some(4)), "-5..5 6 -7..8 9");
    // Before the number was asked for.
    assert_eq!(heard(&[3, 4, 5], Some(4)), "3 4 5");
    assert_eq!(heard(&[8, 1, 2], Some(7)), "8 anew 1 2");
    assert_eq!(heard(&[8, 9], None), "8 9");
    // Of another set nothing is told, but its numbers count.
    let mut f = Follower::new(Some(0), Some("s2"));
    assert_eq!(f.hear(notice(1, "s1")), []);
    assert_eq!(f.hear(notice(2, "s2")).len(), 1);
    assert_eq!(
        f.hear(notice(4, "s1")),
        [Told::Missed { first: 3, last: 3 }]
    );
}

#[test]
fn events_are_told() {
    let say = |t: &Told, json| {
        let mut out = vec![];
        tell(t, json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let e = Told::Event(notice(5, "s1"));
    assert_eq!(
        say(&e, false),
        "2026-11-23 05:25:40.250 UTC  s1  state standby -> taking-over, sequences 3 to 9: takeover asked for (generation 8)\n"
    );
    let mut next = fake::notice(5);
    next["what"]["seq_first"] = json!(10);
    let e_next = Told::Event(answer(&NOTICE_ATTRS, &next));
    assert!(
        say(&e_next, false).contains(", sequences from 10 on: takeover"),
        "{}",
        say(&e_next, false)
    );
    let j: Value = serde_json::from_str(&say(&e, true)).unwrap();
    assert_eq!(say(&e, true).lines().count(), 1);
    assert_eq!(
        (&j["seq"], &j["set"], &j["kind"], &j["new"]),
        (
            &json!(5),
            &json!("s1"),
            &json!("state"),
            &json!("taking-over")
        )
    );
    assert_eq!(j["time"], NOW * 1_000_000_000 + 250_000_000);
    let m = Told::Missed { first: 3, last: 7 };
    assert_eq!(say(&m, true), "{\"missed\":5,\"first\":3,\"last\":7}\n");
    assert!(say(&m, false).starts_with("MISSED 5 events, numbers 3 to 7"));
}

#[test]
fn following_ends_as_asked() {
    let args = |count, idle| EventsArgs {
        set: None,
        count,
        idle,
    };
    let run = |args: &EventsArgs, events: &[u64]| {
        let (send, heard) = channel();
        send.send(Ok(Heard::Events(
            events.iter().map(|n| notice(*n, "s1")).collect(),
        )))
        .unwrap();
        send.send(Ok(Heard::Overrun)).unwrap();
        send.send(Ok(Heard::Events(vec![notice(20, "s1")])))
            .unwrap();
        let mut out = vec![];
        let began = std::time::Instant::now();
        let exit = follow(
            &heard,
            &mut Follower::new(Some(0), None),
            args,
            true,
            &mut out,
        )
        .unwrap();
        assert_eq!(exit, Exit::Ok);
        (String::from_utf8(out).unwrap(), began.elapsed())
    };
    let (text, _) = run(&args(Some(2), None), &[1, 2, 3]);
    assert_eq!(text.lines().count(), 2);
    // The sender is still there: it ends because nothing comes.
    let (text, took) = run(&args(None, Some(1)), &[1, 2, 3]);
    assert!(took >= Duration::from_secs(1));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[3], "{\"missed\":16,\"first\":4,\"last\":19}");
    assert_eq!(lines.len(), 5);
}

// --- control --------------------------------------------------------------------------------------

#[test]
fn operations_ask_what_they_should() {
    let mut k = fake();
    let mut out = vec![];
    control::act(&mut k, &OP_TAKEOVER, "s1", true, false, &mut out).unwrap();
    let asked: Vec<(&str, Value)> = k
        .asked
        .iter()
        .map(|(n, o)| (*n, serde_json::to_value(o).unwrap()))
        .collect();
    assert_eq!(asked[0], ("takeover", json!({"name": "s1", "force": true})));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "s1: owner, serving, mirrored, generation 7, shipping running\n"
    );
    let mut k = fake();
    let mut out = vec![];
    control::act(&mut k, &OP_PAUSE, "s1", false, true, &mut out).unwrap();
    assert_eq!(
        serde_json::to_value(&k.asked[0].1).unwrap(),
        json!({"name": "s1"})
    );
    let j: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (&j["done"], &j["set"]["name"]),
        (&json!("pause"), &json!("s1"))
    );
    k.refuse = Some((
        Exit::Refused,
        "the set is serving, not a standby (Device or resource busy)",
    ));
    let e = control::act(&mut k, &OP_TAKEOVER, "s1", false, false, &mut vec![]).unwrap_err();
    assert_eq!(e.exit, Exit::Refused);
    assert_eq!(
        e.text,
        "s1: the set is serving, not a standby (Device or resource busy)"
    );
}

#[test]
fn refusals_say_which_set_and_which_option() {
    let mut k = fake();
    let e = control::act(&mut k, &OP_PAUSE, "s9", false, false, &mut vec![]).unwrap_err();
    assert_eq!(
        (e.exit, e.text.as_str()),
        (
            Exit::NotFound,
            "s9: no such set (No such file or directory)"
        )
    );
    k.refuse = Some((
        Exit::Usage,
        "force is missing: it needs force (Invalid argument)",
    ));
    let e = control::act(&mut k, &OP_PAUSE, "s1", false, false, &mut vec![]).unwrap_err();
    assert_eq!(
        e.text,
        "s1: --force is missing: it needs force (Invalid argument)"
    );
    k.refuse = Some((
        Exit::NotFound,
        "name: no such set (No such file or directory)",
    ));
    let e = control::act(&mut k, &OP_PAUSE, "s1", false, false, &mut vec![]).unwrap_err();
    assert_eq!(e.text, "s1: no such set (No such file or directory)");
    // A standby has the setting, but sends nothing.
    let mut k = fake();
    k.sets = vec![standby()];
    k.sets[0]["shipping"] = json!("running");
    let mut out = vec![];
    control::act(&mut k, &OP_PAUSE, "s1", false, false, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "s1: standby, standby, complete, generation 7\n"
    );
    let mut out = vec![];
    let args = SetArgs {
        set: "s1".into(),
        settings: vec!["mode=sync".into()],
        force: false,
    };
    control::set(&mut k, &args, true, &mut out).unwrap();
    let j: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(j["done"], "set");
}

fn set(settings: &[&str]) -> Result<Value, String> {
    let mut k = fake();
    let args = SetArgs {
        set: "s1".into(),
        settings: settings.iter().map(|s| s.to_string()).collect(),
        force: false,
    };
    control::set(&mut k, &args, false, &mut vec![]).map_err(|e| {
        assert_eq!(e.exit, Exit::Usage);
        // Nothing was asked of the kernel.
        assert!(k.asked.is_empty());
        e.text
    })?;
    assert_eq!(k.asked[0].0, "set-set");
    Ok(serde_json::to_value(&k.asked[0].1).unwrap())
}

#[test]
fn settings() {
    assert_eq!(
        set(&["mode=sync"]).unwrap(),
        json!({"name": "s1", "mode": "sync"})
    );
    assert_eq!(
        set(&[
            "ping_ms=250",
            "ping-misses=4",
            "partner_lost=continue",
            "takeover=auto",
            "fencing=external",
            "records=240"
        ])
        .unwrap(),
        json!({"name": "s1", "ping_ms": 250, "ping_misses": 4, "partner_lost": "continue", "takeover": "auto", "fencing": "external", "records": 240})
    );
    for (wrong, why) in [
        ("mode", "'mode': <setting>=<value> is needed"),
        ("mode=semi", "mode 'semi': 'sync' or 'async' is allowed"),
        ("ping-ms=5", "ping-ms '5': 10 to 60000 milliseconds are allowed"),
        ("ping-ms=99999999999", "ping-ms '99999999999': 10 to 60000"),
        ("lanes=4", "setting 'lanes': there are mode, partner-lost, takeover, fencing, ping-ms, ping-misses, records"),
        ("records=15", "records '15': 16 to 1048576 are allowed"),
        ("takeover=perhaps", "takeover 'perhaps': 'auto' or 'manual' is allowed"),
        ("fencing=unfenced", "fencing 'unfenced': "),
    ] {
        let e = set(&[wrong]).unwrap_err();
        assert!(e.starts_with(why), "{e}");
    }
    assert!(set(&["mode=sync", "mode=async"])
        .unwrap_err()
        .contains("stands twice"));
}

// --- without a module -----------------------------------------------------------------------------

#[test]
fn without_the_module_each_command_says_so() {
    if std::path::Path::new(rcopy_crate::version::MODULE).exists() {
        eprintln!("the module is loaded here: not tried");
        return;
    }
    for args in [
        &["status"] as &[&str],
        &["status", "s1", "--json"],
        &["show"],
        &["events"],
        &["set", "s1", "mode=sync"],
        &["takeover", "s1"],
        &["swap", "s1"],
        &["pause", "s1"],
        &["resume", "s1"],
        &["detach", "s1", "--force"],
        &["in-step", "s1", "--force"],
    ] {
        let a = rcopy(args);
        assert_eq!((a.exit, a.out.as_str()), (7, ""), "{args:?}: {}", a.err);
        let why = "the module is not loaded: modprobe dm-remote-copy";
        if args.contains(&"--json") {
            let e: Value = serde_json::from_str(&a.err).unwrap();
            assert_eq!((&e["error"], &e["exit"]), (&json!(why), &json!(7)));
        } else {
            assert_eq!(a.err, format!("rcopy: {why}\n"));
        }
    }
    let a = rcopy(&["metrics"]);
    assert_eq!(a.exit, 7);
    assert!(a.out.ends_with("remote_copy_up 0\n"), "{}", a.out);
}
