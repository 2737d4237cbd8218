// SPDX-License-Identifier: GPL-2.0

//! A module that answers from a list: answers are written as JSON, go through real attributes, and come
//! out as the tool reads them.

// Each test file uses another part of this.
#![allow(dead_code)]

use rcopy_crate::{
    error::{Error, Exit, Result},
    nl::{
        names::{
            Attrs, Kind, Op, OP_INFO_GET, OP_LINK_GET, OP_LOG_GET, OP_SET_GET, OP_STATS_GET,
            OP_VOLUME_GET,
        },
        wire::{object, Attributes, Object},
        Kernel,
    },
};
use serde_json::{json, Value};

/// Attributes from JSON.
pub fn encode(attrs: &'static Attrs, json: &Value) -> Attributes {
    let mut all = Attributes::default();
    for (key, v) in json.as_object().unwrap() {
        let a = attrs
            .by_name(&key.replace('_', "-"))
            .unwrap_or_else(|| panic!("{}: no {key}", attrs.name));
        let n = || v.as_u64().unwrap_or_else(|| panic!("{key}: {v}"));
        match a.kind {
            Kind::U8 => all.raw(a.id, &[n() as u8]),
            Kind::U16 => all.raw(a.id, &(n() as u16).to_ne_bytes()),
            Kind::U32 => all.u32(a.id, n() as u32),
            // As the kernel does: four bytes if they are enough.
            Kind::Uint => match u32::try_from(n()) {
                Ok(n) => all.u32(a.id, n),
                Err(_) => all.raw(a.id, &n().to_ne_bytes()),
            },
            Kind::Str => all.text(a.id, v.as_str().unwrap()),
            Kind::Flag => all.raw(a.id, &[]),
            Kind::Uuid => {
                let hex = v.as_str().unwrap().replace('-', "");
                let bytes: Vec<u8> = (0..16)
                    .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                    .collect();
                all.raw(a.id, &bytes)
            }
            Kind::U64s => {
                let row = v
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|n| n.as_u64().unwrap().to_ne_bytes());
                all.raw(a.id, &row.collect::<Vec<u8>>())
            }
            Kind::Enum(words) => {
                let word = v.as_str().unwrap();
                let n = words
                    .words
                    .iter()
                    .position(|w| *w == word)
                    .unwrap_or_else(|| panic!("{key}: no {word}"));
                all.u32(a.id, n as u32)
            }
            Kind::Nest(inner) => all.nest(a.id, &encode(inner, v)),
            Kind::Nests(inner) => {
                for one in v.as_array().unwrap() {
                    all.nest(a.id, &encode(inner, one));
                }
                &mut all
            }
        };
    }
    all
}

/// An answer as the tool reads it.
pub fn answer(attrs: &'static Attrs, json: &Value) -> Object {
    object(encode(attrs, json).bytes(), attrs).unwrap()
}

/// What was asked, and what it answers.
#[derive(Default)]
pub struct Fake {
    pub sets: Vec<Value>,
    pub volumes: Vec<Value>,
    pub links: Vec<Value>,
    pub logs: Vec<Value>,
    pub stats: Vec<Value>,
    pub info: Value,
    /// Name of the operation, and its attributes.
    pub asked: Vec<(&'static str, Object)>,
    pub refuse: Option<(Exit, &'static str)>,
}

impl Fake {
    fn list(&self, op: &'static Op) -> Vec<Object> {
        let list = match op.name {
            n if n == OP_SET_GET.name => &self.sets,
            n if n == OP_VOLUME_GET.name => &self.volumes,
            n if n == OP_LINK_GET.name => &self.links,
            n if n == OP_LOG_GET.name => &self.logs,
            n if n == OP_STATS_GET.name => &self.stats,
            n if n == OP_INFO_GET.name => return vec![answer(op.attrs, &self.info)],
            _ => return vec![],
        };
        list.iter().map(|j| answer(op.attrs, j)).collect()
    }
}

impl Kernel for Fake {
    fn ask(&mut self, op: &'static Op, attrs: &Attributes) -> Result<Vec<Object>> {
        let o = object(attrs.bytes(), op.attrs).unwrap();
        let name = o.text("name").to_string();
        self.asked.push((op.name, o));
        if let Some((exit, text)) = self.refuse.filter(|_| !op.name.ends_with("-get")) {
            return Err(Error::new(exit, text));
        }
        let mut all = self.list(op);
        if op.name == OP_SET_GET.name {
            all.retain(|s| s.text("name") == name);
            if all.is_empty() {
                return Err(Error::new(
                    Exit::NotFound,
                    "name: no such set (No such file or directory)",
                ));
            }
        }
        Ok(all)
    }

    fn dump(&mut self, op: &'static Op, _: &Attributes) -> Result<Vec<Object>> {
        Ok(self.list(op))
    }
}

/// 2026-11-23 05:25:40 UTC.
pub const NOW: u64 = 1_795_411_540;

/// An owner whose partner has everything, and whose remote is a little behind.
pub fn owner() -> Value {
    json!({
        "name": "s1", "uuid": "10213243-5465-7687-98a9-bacbdcedfe0f", "state": "serving", "since": NOW - 7384,
        "role": "owner", "generation": 7, "reign": 7, "node": 168_496_141, "mode": "async", "partner_lost": "wait",
        "takeover": "manual", "fencing": "reservation", "ping_ms": 1000, "ping_misses": 5, "partner": "connected",
        "mirror": "mirrored", "record": "mine", "record_generation": 7, "record_mirror": "up-to-date",
        "remote": "behind", "shipping": "running", "behind": 12, "behind_bytes": 49152, "behind_ns": 3_100_000,
        "seq_last": 6_000_000_012_u64, "seq_acked": 6_000_000_012_u64, "seq_remote": 6_000_000_000_u64,
        "seq_retired": 5_999_999_936_u64, "log_records": 76, "log_records_max": 15878, "log_bytes": 311_296,
        "log_bytes_max": 32_514_048, "throttled": 0, "volumes": 1, "volumes_wanted": 1,
        "counters": {"writes": 6_000_000_012_u64, "shipped": 6_000_000_003_u64, "mirrored": 0, "log_full": 0,
            "local_errors": 0, "replayed": 0},
        "event_seq": 9, "events_suppressed": 0,
        "last_event": {"set_seq": 9, "time": (NOW - 123) * 1_000_000_000, "kind": "mirror", "old": "finishing",
            "new": "mirrored", "generation": 7}
    })
}

/// The same set on its partner, which has lost it.
pub fn standby() -> Value {
    json!({
        "name": "s1", "uuid": "10213243-5465-7687-98a9-bacbdcedfe0f", "state": "standby", "since": NOW - 60,
        "role": "standby", "generation": 7, "node": 5, "mode": "async", "partner_lost": "continue",
        "takeover": "auto", "fencing": "reservation", "ping_ms": 1000, "ping_misses": 5, "partner": "disconnected",
        "mirror": "complete", "record": "partner", "record_generation": 8, "record_mirror": "out-of-date",
        "out_of_date_since": 41, "out_of_date_generation": 8, "volumes": 1, "volumes_wanted": 1,
        "counters": {"writes": 0, "shipped": 0, "mirrored": 40, "log_full": 0, "local_errors": 0, "replayed": 0}
    })
}

/// A module with that owner.
pub fn fake() -> Fake {
    Fake {
        sets: vec![owner()],
        volumes: vec![
            json!({"set": "s1", "member": 0, "sectors": 131_072, "local": "253:3",
            "remote": "/dev/mapper/remote", "suspended": 0}),
        ],
        links: vec![
            json!({"set": "s1", "kind": "partner", "state": "connected", "address": "10.99.0.2:7001",
                "listen": "10.99.0.1:7001", "heard_ms": 240, "patience_ms": 5000}),
            json!({"set": "s1", "kind": "remote", "member": 0, "state": "connected", "address": "/dev/mapper/remote"}),
        ],
        logs: vec![
            json!({"set": "s1", "path": "/dev/pmem0", "device": "259:0", "offset": 0, "size": 33_554_432,
            "records": 76, "records_max": 15878, "bytes": 311_296, "bytes_max": 32_514_048, "mark_counter": 90,
            "mark_shipped": 5, "mark_retired": 4, "mark_acked": 6,
            "lane": [{"index": 0, "tail": 3, "head": 40, "records": 37, "bytes": 151_552},
                {"index": 1, "tail": 8, "head": 47, "records": 39, "bytes": 159_744}]}),
        ],
        stats: vec![json!({"set": "s1", "counters": {"writes": 100},
            "latency": [{"stage": "logged", "count": 100, "sum_ns": 250_000, "buckets": buckets()},
                {"stage": "shipped", "count": 0, "sum_ns": 0, "buckets": vec![0u64; 40]}]})],
        info: json!({"module_version": "1.0", "format_version": 2, "protocol_version": 4, "sets": 1, "event_seq": 9,
            "events_suppressed": 2}),
        ..Fake::default()
    }
}

/// 60 from 1024 to 2048 ns, 39 to 4096, 1 to 2^21.
pub fn buckets() -> Vec<u64> {
    let mut b = vec![0; 40];
    (b[10], b[11], b[20]) = (60, 39, 1);
    b
}

/// An event: s1 takes over.
pub fn notice(seq: u64) -> Value {
    json!({"seq": seq, "set": "s1", "what": {"set_seq": seq, "time": NOW * 1_000_000_000 + 250_000_000,
        "kind": "state", "old": "standby", "new": "taking-over", "reason": "takeover asked for", "generation": 8,
        "seq_first": 3, "seq_last": 9}})
}
