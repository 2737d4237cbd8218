// SPDX-License-Identifier: GPL-2.0

//! `rcopy log dump` on logs that core's own code has made, and on what is left of them.

mod common;

use common::{crc, rcopy, Answer, Folder, Journal, Log};
use core_crate::{
    format::{Copy_, Missing, Role},
    layout::{mark_offset, superblock_offset, Geometry},
    units::{Generation, Seq},
};
use proof::rng::{seeds, Rng};
use rcopy_crate::{
    cli::Records,
    dump::{settle, Dump},
    error::Exit,
    reading::{Reading, Verdict},
};
use serde_json::{json, Value};

fn dump(log: &Log, args: &[&str]) -> Answer {
    let f = Folder::new();
    let image = f.write("log.img", log.bytes());
    rcopy(&[&["log", "dump", &image], args].concat())
}

fn dump_json(log: &Log) -> (i32, Value) {
    let a = dump(log, &["--json"]);
    (a.exit, a.json())
}

/// Three writes, a zero, a write that failed, over two lanes; the first write is at the remote.
fn some() -> Log {
    let mut log = Log::new();
    let a = log.write(0, 100, 8);
    log.acknowledge(&a);
    let b = log.write(1, 200, 1);
    log.acknowledge(&b);
    log.mark(Seq(0), Seq(1));
    let c = log.zero(0, 300, 2048);
    log.acknowledge(&c);
    let d = log.write(1, 400, 16);
    let e = log.cancel(1, d.seq);
    log.acknowledge(&d);
    log.acknowledge(&e);
    log.write(0, 500, 4);
    log
}

fn sequences(j: &Value) -> Vec<u64> {
    let all = j["records"].as_array().unwrap();
    all.iter()
        .map(|r| r["sequence"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_healthy_log() {
    let log = some();
    let (exit, j) = dump_json(&log);
    assert_eq!(exit, 0);
    assert_eq!(j["verdict"], "whole");
    assert_eq!(j["format_version"], 2);
    assert_eq!(j["damage"], Value::Null);
    assert_eq!(
        j["set"],
        json!({"name": "set-1", "uuid": "10213243-5465-7687-98a9-bacbdcedfe0f"})
    );
    assert_eq!(sequences(&j), [1, 2, 3, 4, 5, 6]);
    let by_model: Vec<Value> = log
        .written
        .iter()
        .map(|h| {
            json!([
                h.seq.0,
                h.lane,
                h.lane_seq,
                h.extent.sector,
                h.extent.sectors,
                h.after.0,
                h.data_pos
            ])
        })
        .collect();
    let all = j["records"].as_array().unwrap();
    let dumped: Vec<Value> = all
        .iter()
        .map(|r| {
            json!([
                r["sequence"],
                r["lane"],
                r["lane_seq"],
                r["sector"],
                r["sectors"],
                r["after"],
                r["data_pos"]
            ])
        })
        .collect();
    assert_eq!(dumped, by_model);
    assert_eq!(all[2]["op"], "zero");
    assert_eq!(all[3]["cancelled"], true);
    assert_eq!(all[4]["op"], "cancel");
    assert_eq!(all[4]["cancels"], 4);
    assert_eq!(all[0]["at_remote"], true);
    assert_eq!(all[1]["at_remote"], false);
    let r = &j["recovery"];
    assert_eq!(r["replay_records"], 4);
    assert_eq!(r["replay_bytes"], (8 + 1 + 2048 + 4) * 512);
    assert_eq!(r["ship_records"], 3);
    assert_eq!(r["ship_bytes"], (1 + 2048 + 4) * 512);
    assert_eq!(r["cancelled"], 1);
    assert_eq!(r["next_sequence"], 7);
    assert_eq!(r["acked"], 5);
    assert_eq!(r["holes"], json!([]));
    assert_eq!(r["may_replay"], true);
}

#[test]
fn a_healthy_log_for_people() {
    let a = dump(&some(), &[]);
    assert_eq!(a.exit, 0, "{}", a.err);
    let text: Vec<&str> = a.out.lines().skip(1).collect();
    let golden = "\
set          set-1  10213243-5465-7687-98a9-bacbdcedfe0f
superblock 0 owner of generation 3, copy complete, node 0a0b0c0d, counter 8  (counts)
superblock 1 owner of generation 3, copy complete, node 0a0b0c0d, counter 7
shape        2 lanes, each with 16 records and 512 KiB of data; 1.0 MiB in all
mark 0       retired 0, at the remote 1, acknowledged 2; generation 3, counter 2  (counts)
mark 1       retired 0, at the remote 0, acknowledged 0; generation 3, counter 1
lane 0       positions 0 to 3: 3 records, sequences 1 to 6, 6 KiB of data
lane 1       positions 0 to 3: 3 records, sequences 2 to 5, 8.5 KiB of data

    sequence lane  position  gen volume op             sector sectors        after  remarks
           1    0         0    3      0 write             100       8            0  at the remote
           2    1         0    3      0 write             200       1            1
           3    0         1    3      0 zero              300    2048            2
           4    1         1    3      0 write             400      16            3  cancelled
           5    1         2    3      0 cancel              0       0            3  cancels 4
           6    0         2    3      0 write             500       4            5

cancelled    1 write: the local write failed and the host was told so
recovery     a start asks the partner first, if there is one: if that has taken over, this log is forgotten and never replayed
             4 records (1.0 MiB) would be written to the local unit, in sequence order, behind 0
             3 records (1.0 MiB) would be sent to the remote, behind 1
             new writes would begin with sequence 7
verdict      whole";
    assert_eq!(text.join("\n"), golden);
}

#[test]
fn a_wrapped_log() {
    let mut log = Log::new();
    for i in 0..40u64 {
        let h = log.write((i % 2) as u16, i * 8, 8);
        log.acknowledge(&h);
        if i % 8 == 7 {
            log.mark(h.seq, h.seq);
        }
        if i >= 8 && i % 8 == 3 {
            log.mark(Seq(h.seq.0 - 4), Seq(h.seq.0 - 2));
        }
    }
    for i in 0..10 {
        log.write(i % 2, 1000 + u64::from(i), 1);
    }
    let (exit, j) = dump_json(&log);
    assert_eq!((exit, j["verdict"].as_str()), (0, Some("whole")));
    assert_eq!(sequences(&j), (41..=50).collect::<Vec<_>>());
    // Lanes hold 16: these positions are of the second lap.
    assert_eq!(j["lanes"][0]["from"], 20);
    assert_eq!(j["lanes"][0]["to"], 25);
    assert_eq!(j["recovery"]["first_sequence"], 41);
}

#[test]
fn the_torn_end_is_no_damage() {
    let mut log = some();
    let last = *log.written.last().unwrap();
    for at in [log.header_at(&last) + 9, log.data_at(&last) + 700] {
        log.flip(at);
        let (exit, j) = dump_json(&log);
        assert_eq!((exit, j["verdict"].as_str()), (0, Some("whole")));
        assert_eq!(sequences(&j), [1, 2, 3, 4, 5]);
        log.flip(at);
    }
    assert_eq!(sequences(&dump_json(&log).1), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_hole_is_said() {
    let mut log = some();
    log.write(1, 600, 1);
    // Nobody was told of 6; 7 does not depend on it.
    let h = log.written[5];
    log.flip(log.header_at(&h));
    let (exit, j) = dump_json(&log);
    assert_eq!(exit, 0);
    assert_eq!(j["recovery"]["holes"], json!([{"first": 6, "last": 6}]));
    assert!(dump(&log, &[])
        .out
        .contains("hole         sequences 6 to 6 are not there; nobody was told of them"));
}

#[test]
fn damage_is_named() {
    // A record in the middle of a lane.
    let mut log = some();
    let h = log.written[0];
    log.flip(log.data_at(&h) + 5);
    let a = dump(&log, &[]);
    assert_eq!(a.exit, 6);
    assert!(
        a.out.contains("lane 0: the record at position 0 is damaged; sequences behind 0 and before 3 are affected"),
        "{}",
        a.out
    );
    assert!(a
        .out
        .contains("the log would be refused as a whole, nothing of it replayed"));
    let (_, j) = dump_json(&log);
    assert_eq!(j["verdict"], "damaged");
    assert_eq!(j["damage"]["kind"], "broken");
    assert_eq!(j["recovery"], Value::Null);
    // The other lane is shown all the same.
    assert_eq!(j["lanes"][1]["records"], 3);
    assert_eq!(j["lanes"][0]["to"], Value::Null);

    // The end of a lane, which had been acknowledged.
    let mut log = some();
    let h = log.written[2];
    log.flip(log.header_at(&h));
    let last = *log.written.last().unwrap();
    log.flip(log.header_at(&last));
    let (exit, j) = dump_json(&log);
    assert_eq!((exit, j["damage"]["kind"].as_str()), (6, Some("missing")));
    assert_eq!(
        j["damage"]["text"],
        "sequences 3 to 3 are missing, although everything up to 3 had been acknowledged to the host"
    );
}

#[test]
fn superblocks_and_marks() {
    // One slot: the other one counts.
    let mut log = some();
    log.flip(superblock_offset(0) + 30);
    log.flip(mark_offset(1) + 30);
    let (exit, j) = dump_json(&log);
    assert_eq!((exit, j["verdict"].as_str()), (0, Some("whole")));
    assert_eq!(j["superblocks"][0]["state"], "damaged");
    assert_eq!(j["superblocks"][1]["counts"], true);
    assert_eq!(j["superblocks"][1]["counter"], 7);
    assert_eq!(j["marks"][1]["state"], "damaged");
    assert_eq!(j["marks"][0]["counts"], true);
    // Both.
    log.flip(superblock_offset(1) + 30);
    let (exit, j) = dump_json(&log);
    assert_eq!(
        (exit, j["damage"]["kind"].as_str()),
        (6, Some("superblock"))
    );
    assert_eq!(j["set"], Value::Null);
    log.flip(superblock_offset(1) + 30);
    log.flip(mark_offset(0) + 30);
    let (exit, j) = dump_json(&log);
    assert_eq!((exit, j["damage"]["kind"].as_str()), (6, Some("mark")));
    assert_eq!(j["set"]["name"], "set-1");
    assert_eq!(j["lanes"], json!([]));
    // Another version.
    let mut log = some();
    for slot in 0..2 {
        log.pmem
            .poke(superblock_offset(slot) + 8, &9u32.to_le_bytes());
    }
    let a = dump(&log, &[]);
    assert_eq!(a.exit, 6);
    assert!(
        a.out
            .contains("superblock 0 format version 9; this tool knows 2"),
        "{}",
        a.out
    );
}

#[test]
fn roles_decide_what_recovery_would_do() {
    let of = |change: fn(&mut core_crate::format::Super)| {
        let mut log = some();
        change(&mut log.sup);
        log.put_super();
        let a = dump(&log, &[]);
        assert_eq!(a.exit, 0, "{}", a.out);
        let recovery = a.out.find("recovery").unwrap();
        a.out[recovery..].to_string()
    };
    let text = of(|s| (s.alone, s.generation) = (true, Generation(4)));
    assert!(
        text.contains("served without its partner in generation 4"),
        "{text}"
    );
    let text = of(|s| s.role = Role::Standby);
    assert!(
        text.contains("a start stands by and replays nothing; a takeover"),
        "{text}"
    );
    assert!(
        text.contains("4 records (1.0 MiB) would be written to the local unit"),
        "{text}"
    );
    let text = of(|s| (s.role, s.copy) = (Role::Standby, Copy_::Incomplete));
    assert!(
        text.contains("this copy is incomplete: a takeover is refused"),
        "{text}"
    );
    assert!(!text.contains("would be written"), "{text}");
    let text = of(|s| s.missing = Missing::new(Seq(2), Seq::MAX));
    assert!(
        text.contains("out of step and may miss sequences 2-unknown"),
        "{text}"
    );
}

#[test]
fn two_owners() {
    // A1's log: it died as the owner of generation 3. A2's: it has taken over, generation 4.
    let a1 = some();
    let mut a2 = some();
    a2.sup.generation = Generation(4);
    a2.sup.node = 0x0102_0304;
    a2.put_super();
    let mut mark = a2.j.first_mark(Generation(4));
    mark.counter += 1;
    proof::journal::write_mark(&mut a2.pmem, a2.j.key, &mark).unwrap();
    a2.j.reign = Generation(4);
    a2.j.mark = mark;
    let h = a2.write(0, 700, 8);
    let (exit, old) = dump_json(&a1);
    assert_eq!((exit, &old["superblocks"][0]["generation"]), (0, &json!(3)));
    let (exit, new) = dump_json(&a2);
    assert_eq!(exit, 0);
    assert_eq!(new["superblocks"][0]["generation"], 4);
    assert_eq!(new["lanes"][0]["floor"], 3);
    let last = new["records"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["sequence"], &last["generation"]),
        (&json!(h.seq.0), &json!(4))
    );
    // The same record in A1's log, where its reign is not known, says no more than damage.
    let mut forged = a1;
    forged
        .pmem
        .poke(a2.header_at(&h), &a2.pmem.peek(a2.header_at(&h), 64));
    let (exit, j) = dump_json(&forged);
    assert_eq!(
        (exit, j["damage"]["kind"].as_str()),
        (6, Some("contradiction"))
    );
    assert!(j["damage"]["text"]
        .as_str()
        .unwrap()
        .contains("newer generation than the superblock"));
}

#[test]
fn parts_and_strangers() {
    let f = Folder::new();
    let bytes = some().bytes();
    let part = f.write("part", &bytes[..bytes.len() / 2]);
    let a = rcopy(&["log", "dump", &part]);
    assert_eq!(a.exit, 6);
    assert!(a.out.contains(&format!(
        "the log needs {} bytes by its superblock, there are {}",
        bytes.len(),
        bytes.len() / 2
    )));
    let few = f.write("few", &bytes[..100]);
    let a = rcopy(&["log", "dump", &few]);
    assert_eq!((a.exit, a.out.as_str()), (6, ""));
    assert!(
        a.err.ends_with(
            "few: 100 bytes, and no superblock in them: a log has at least 1 MiB (1048576 bytes)\n"
        ),
        "{}",
        a.err
    );
    let text = f.write("text", "no log at all\n".repeat(10_000));
    let a = rcopy(&["log", "dump", "--json", &text]);
    assert_eq!((a.exit, a.json()["verdict"].as_str()), (6, Some("foreign")));
    let blank = f.write("blank", vec![0; 1 << 20]);
    let a = rcopy(&["log", "dump", &blank]);
    assert_eq!(a.exit, 0);
    assert!(a.out.ends_with("verdict      blank: never used\n"));
    // One whose node died in its first superblock, behind a claim; and the same without one.
    let mut torn = vec![0; 1 << 20];
    torn[4096..4096 + 64].copy_from_slice(&some().sup.seal(crc)[..64]);
    torn[4096 + 16] = 1;
    let refused = f.write("torn", &torn[..]);
    let a = rcopy(&["log", "dump", "--json", &refused]);
    assert_eq!((a.exit, a.json()["verdict"].as_str()), (6, Some("damaged")));
    torn[..8].copy_from_slice(b"rcopynew");
    let unfinished = f.write("unfinished", &torn[..]);
    let a = rcopy(&["log", "dump", &unfinished]);
    assert_eq!(a.exit, 0);
    for line in [
        "superblock 0 claimed\n",
        "superblock 1 torn\n",
        "verdict      unfinished: a node began to make a log here",
    ] {
        assert!(a.out.contains(line), "{}", a.out);
    }
    let j = rcopy(&["log", "dump", "--json", &unfinished]).json();
    assert_eq!(j["verdict"], "unfinished");
    assert_eq!(j["superblocks"][0]["state"], "claimed");
    assert_eq!(j["superblocks"][1]["state"], "torn");
    assert!(j["damage"].is_null() && j["recovery"].is_null());
    let assemble = |image: &str| rcopy(&["assemble", "--config", "/nonexistent", image]);
    assert!(
        assemble(&refused).out.contains("damaged"),
        "{}",
        assemble(&refused).out
    );
    let (blank, unfinished) = (assemble(&blank), assemble(&unfinished));
    assert_eq!((unfinished.exit, &unfinished.out), (blank.exit, &blank.out));
    // A log that begins later on a device.
    let mut late = vec![0xee; 1 << 20];
    late.extend_from_slice(&bytes);
    let late = f.write("late", late);
    let a = rcopy(&["log", "dump", &late, "--offset", "1M", "--json"]);
    assert_eq!((a.exit, a.json()["verdict"].as_str()), (0, Some("whole")));
    assert_eq!(a.json()["log"]["offset"], 1 << 20);
    for (wrong, why) in [
        ("1000", "a multiple of 4096"),
        ("1X", "K, M, G or T may follow"),
        ("-4096", "unexpected argument"),
        ("99999999T", "beyond every device"),
    ] {
        let a = rcopy(&["log", "dump", &late, "--offset", wrong]);
        assert_eq!(a.exit, 2, "{wrong}");
        assert!(a.err.contains(why), "{}", a.err);
    }
    let a = rcopy(&["log", "dump", &late, "--offset", "1G"]);
    assert_eq!(a.exit, 2);
    assert!(a.err.contains("none at offset 1073741824"), "{}", a.err);
}

#[test]
fn what_is_no_log_is_said_plainly() {
    let f = Folder::new();
    let loops = f.path("loops");
    std::os::unix::fs::symlink("loops", &loops).unwrap();
    let short = |n: usize| {
        format!(
            "{n} byte{}, and no superblock in them",
            if n == 1 { "" } else { "s" }
        )
    };
    let files = [0, 1, 511, 4095, 8191, 8192, (1 << 20) - 1];
    let mut cases: Vec<(String, i32, String)> = files
        .iter()
        .map(|n| (f.write(&n.to_string(), vec![0; *n]), 6, short(*n)))
        .collect();
    let text = |s: &str| s.to_string();
    cases.extend([
        (
            f.path("nothing"),
            3,
            text("nothing: No such file or directory"),
        ),
        (String::new(), 3, text("'': No such file or directory")),
        (loops, 1, text("loops: Too many levels of symbolic links")),
        (
            f.path("."),
            2,
            text("it is a folder; the log's block device, or a file with its bytes, is needed"),
        ),
        (
            text("/dev/null"),
            2,
            text("it is neither a block device nor a file;"),
        ),
    ]);
    for (path, exit, why) in cases {
        let a = rcopy(&["log", "dump", &path]);
        assert_eq!((a.exit, a.out.as_str()), (exit, ""), "{path}: {}", a.err);
        assert!(
            a.err.starts_with("rcopy: ") && a.err.contains(&why) && a.err.lines().count() == 1,
            "{path}: {}",
            a.err
        );
        // And for programs.
        let a = rcopy(&["log", "dump", "--json", &path]);
        let e: Value = serde_json::from_str(&a.err).unwrap_or_else(|e| panic!("{e}: {}", a.err));
        assert_eq!((a.exit, &e["exit"]), (exit, &json!(exit)));
        assert!(e["error"].as_str().unwrap().contains(&why), "{e}");
    }
}

/// Whatever stands there: it is read, or it is said why not, with the status that is documented for it.
#[test]
fn damaged_images_never_confuse_it() {
    let f = Folder::new();
    let whole = some().bytes();
    seeds(120, |rng: &mut Rng| {
        let mut bytes = whole.clone();
        let interesting = [0u64, 4096, 8192, 12288, 16384, 20480];
        for _ in 0..1 + rng.below(12) {
            let near = match rng.below(3) {
                0 => rng.below(bytes.len() as u64),
                _ => *rng.pick(&interesting) + rng.below(200),
            } as usize;
            match rng.below(4) {
                0 => bytes[near] ^= 1 << rng.below(8),
                1 => bytes[near] = rng.next() as u8,
                // A torn line, a lost block.
                2 => rng.fill(&mut bytes[near / 64 * 64..][..64]),
                _ => bytes[near / 4096 * 4096..][..4096].fill(0),
            }
        }
        if rng.one_in(4) {
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        }
        let image = f.write("image", &bytes);
        let text = rcopy(&["log", "dump", &image]);
        let j = rcopy(&["log", "dump", "--json", &image]);
        assert_eq!(text.exit, j.exit);
        let verdict = match text.exit {
            0 => {
                assert_eq!((text.err.as_str(), j.err.as_str()), ("", ""));
                j.json()["verdict"].as_str().unwrap().to_string()
            }
            6 if text.out.is_empty() => {
                assert!(
                    text.err.contains("a log has at least 1 MiB"),
                    "{}",
                    text.err
                );
                return;
            }
            6 => {
                assert!(text.out.contains("verdict      "), "{}", text.out);
                assert!(j.json()["damage"]["text"].as_str().unwrap().len() > 10);
                j.json()["verdict"].as_str().unwrap().to_string()
            }
            other => panic!("status {other}: {}", text.err),
        };
        let allowed: &[&str] = match text.exit {
            0 => &["whole", "blank"],
            _ => &["damaged", "foreign"],
        };
        assert!(allowed.contains(&verdict.as_str()), "{verdict}");
        // assemble looks at the superblocks only, and is as calm.
        let a = rcopy(&["assemble", "--config", "/nonexistent", &image]);
        assert!([0, 3, 6].contains(&a.exit), "{}: {}", a.exit, a.err);
        assert!(!a.err.contains("panicked"), "{}", a.err);
    });
}

#[test]
fn many_records_are_shortened() {
    let mut log = Log::of(common::superblock(
        Geometry::new(1, 64, 512 * 1024).unwrap(),
    ));
    for i in 0..50 {
        log.write(0, i * 8, 8);
    }
    let rows = |a: &Answer| a.out.lines().filter(|l| l.contains(" write ")).count();
    let a = dump(&log, &[]);
    assert_eq!(rows(&a), 20);
    assert!(a.out.contains("...   30 more: --records all"), "{}", a.out);
    assert_eq!(rows(&dump(&log, &["--records", "all"])), 50);
    assert_eq!(rows(&dump(&log, &["--records", "none"])), 0);
    let a = dump(&log, &["--json", "--records", "none"]);
    assert_eq!(a.json().get("records"), None);
}

#[test]
fn progress_is_said() {
    let a = dump(&some(), &["--progress"]);
    assert!(a.err.contains("read, 0 s"), "{}", a.err);
    assert!(dump(&some(), &[]).err.is_empty());
}

/// A log that changes while it is read is read again; what is damaged stays damaged.
#[test]
fn a_log_in_use_is_no_damaged_one() {
    let read = |log: &Log| Reading::of(&log.pmem, log.pmem.bytes(), |_| ());
    // The tool meets a record behind one that was not there yet when it looked.
    let torn = |n: u64| {
        let mut log = Log::new();
        for i in 0..n + 2 {
            log.write(0, i * 8, 8);
        }
        let h = log.written[n as usize];
        log.flip(log.header_at(&h));
        log
    };
    assert!(matches!(read(&torn(1)).verdict, Verdict::Damaged(_)));
    let run = |logs: &[Log]| {
        let mut times = 0;
        let (r, settled) = settle(|| {
            times += 1;
            read(&logs[(times - 1).min(logs.len() - 1)])
        });
        (matches!(r.verdict, Verdict::Damaged(_)), settled, times)
    };
    assert_eq!(run(&[some()]), (false, true, 1));
    assert_eq!(run(&[torn(1)]), (true, true, 2));
    assert_eq!(run(&[torn(1), torn(2), some()]), (false, true, 3));
    assert_eq!(run(&[torn(1), torn(2), torn(3), torn(3)]), (true, true, 4));
    let all: Vec<Log> = (1..9).map(torn).collect();
    assert_eq!(run(&all), (true, false, 6));
    let said = Dump::new(
        "/dev/pmem0",
        0,
        1 << 20,
        &read(&all[5]),
        false,
        Records::None,
    );
    assert_eq!(said.exit(), Exit::Failed);
    let mut text = vec![];
    said.print(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("verdict      in-use: the log changed each of 6 times that it was read"),
        "{text}"
    );
}

/// Whatever a log looks like, the tool says what the driver's way of reading it says.
#[test]
fn it_agrees_with_recovery() {
    seeds(40, |rng| {
        let mut log = Log::new();
        for _ in 0..rng.below(60) {
            let lane = rng.below(2) as u16;
            let room = |l: &Log| l.written.iter().filter(|h| h.lane == lane).count() < 11;
            if !room(&log) {
                let to = log.written[log.written.len() / 2].seq;
                log.mark(to, to);
                continue;
            }
            let h = match rng.below(8) {
                0 => log.zero(lane, rng.below(1000), 1 + rng.below(2048) as u32),
                _ => log.write(lane, rng.below(1000), 1 + rng.below(24) as u32),
            };
            if !rng.one_in(4) {
                log.acknowledge(&h);
            }
        }
        for _ in 0..rng.below(3) {
            let places = [0, 4096, 8192, 12288, 16384, 17408];
            let at = *rng.pick(&places) + rng.below(1024);
            log.flip(at);
        }
        let (exit, j) = dump_json(&log);
        let read = core_crate::recover::read_super(&log.pmem, crc);
        match read.and_then(|s| Journal::load(&log.pmem, log.j.key, &s.expect("not blank"))) {
            Ok(journal) => {
                assert_eq!(exit, 0, "{j}");
                let found: Vec<u64> = journal.found.iter().map(|h| h.seq.0).collect();
                assert_eq!(sequences(&j), found);
                assert_eq!(j["recovery"]["next_sequence"], journal.recovered.0 + 1);
            }
            Err(damage) => {
                assert_eq!(exit, 6, "{j}");
                assert_eq!(j["damage"]["text"], damage.to_string());
            }
        }
    });
}
