// SPDX-License-Identifier: GPL-2.0

//! Logs made by core's own code, and the tool run on them.

// Each test file uses another part of this.
#![allow(dead_code, unused_imports)]

pub use proof::{crc, journal::Journal, pmem::Pmem, rng::Rng};

use core_crate::{
    format::{Copy_, Header, Key, Mark, Role, SetName, Super},
    lane::stage,
    layout::Geometry,
    retire::AckTracker,
    units::{Extent, Generation, Op, Seq},
};
use proof::journal::{write_mark, write_super};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

pub const UUID: [u8; 16] = *b"\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe\x0f";

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rcopy-test-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.0.join(name), bytes).unwrap();
        self.path(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// A dmsetup that notes how it is called, and answers as the script says.
    pub fn dmsetup(&self, script: &str) {
        let text = format!(
            "#!/bin/sh\nprintf '%s|' \"$@\" >>'{}'\necho >>'{0}'\n{script}\n",
            self.path("dmsetup.log")
        );
        let file = self.write("dmsetup", text);
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the tool answered.
pub struct Answer {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    fn new(o: &Output) -> Answer {
        Answer {
            exit: o.status.code().expect("not killed"),
            out: String::from_utf8_lossy(&o.stdout).into_owned(),
            err: String::from_utf8_lossy(&o.stderr).into_owned(),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }
}

/// Runs the tool; programs are looked for in `bin` first.
pub fn rcopy_in(bin: Option<&Path>, args: &[&str]) -> Answer {
    let mut cmd = Command::new(env!("CARGO_BIN_EXE_rcopy"));
    if let Some(bin) = bin {
        let path = std::env::var("PATH").unwrap_or_default();
        cmd.env("PATH", format!("{}:{path}", bin.display()));
    }
    Answer::new(&cmd.args(args).output().unwrap())
}

pub fn rcopy(args: &[&str]) -> Answer {
    rcopy_in(None, args)
}

/// A log in the making.
pub struct Log {
    pub pmem: Pmem,
    pub sup: Super,
    pub j: Journal,
    pub written: Vec<Header>,
    acks: AckTracker,
}

pub fn superblock(geometry: Geometry) -> Super {
    Super {
        counter: 6,
        uuid: UUID,
        name: SetName::new("set-1").unwrap(),
        generation: Generation(3),
        role: Role::Owner,
        copy: Copy_::Complete,
        alone: false,
        unfenced: false,
        geometry,
        node: 0x0a0b_0c0d,
        missing: None,
    }
}

impl Log {
    /// An empty log: 2 lanes of 16 records.
    pub fn new() -> Log {
        Log::of(superblock(Geometry::new(2, 16, 512 * 1024).unwrap()))
    }

    pub fn of(sup: Super) -> Log {
        let mut pmem = Pmem::new(sup.geometry.bytes());
        let key = Key::new(crc, &sup.uuid);
        let mark = Mark::first(sup.generation, sup.geometry.lanes());
        write_mark(&mut pmem, key, &mark).unwrap();
        let j = Journal::new(key, sup.geometry, sup.generation, mark);
        let mut log = Log {
            pmem,
            sup,
            acks: j.acks(),
            j,
            written: vec![],
        };
        log.put_super();
        log
    }

    /// Both slots, as the driver does.
    pub fn put_super(&mut self) {
        for _ in 0..2 {
            self.sup.counter += 1;
            write_super(&mut self.pmem, &self.sup).unwrap();
        }
    }

    fn append(&mut self, lane: u16, op: Op, extent: Extent, cancels: Seq, data: &[u8]) -> Header {
        let h = self
            .j
            .accept(lane, op, extent, cancels, data)
            .expect("room");
        self.j.store(&mut self.pmem, &h, data).unwrap();
        self.pmem.fence().unwrap();
        self.j.publish(&h, 0);
        self.written.push(h);
        h
    }

    pub fn write(&mut self, lane: u16, sector: u64, sectors: u32) -> Header {
        let extent = Extent {
            member: 0,
            sector,
            sectors,
        };
        let data = vec![sector as u8 ^ 0x5a; sectors as usize * 512];
        self.append(lane, Op::Write, extent, Seq::ZERO, &data)
    }

    pub fn zero(&mut self, lane: u16, sector: u64, sectors: u32) -> Header {
        let extent = Extent {
            member: 0,
            sector,
            sectors,
        };
        self.append(lane, Op::Zero, extent, Seq::ZERO, &[])
    }

    pub fn cancel(&mut self, lane: u16, seq: Seq) -> Header {
        self.append(lane, Op::Cancel, Extent::default(), seq, &[])
    }

    pub fn acknowledge(&mut self, h: &Header) {
        self.j.order.acknowledge(h.seq);
        self.j.reach(h.lane, h.lane_seq, stage::ACKED);
        self.j.order.acknowledged_all(self.acks.advance(&self.j));
    }

    /// The remote has everything up to `shipped`, and the log is cut off behind `retired`.
    pub fn mark(&mut self, retired: Seq, shipped: Seq) {
        let mut mark = self.j.mark;
        mark.counter += 1;
        (mark.retired, mark.shipped) = (retired, shipped);
        mark.acked = self.j.order.acked();
        for h in self.written.iter().filter(|h| h.seq <= retired) {
            let t = &mut mark.tails[usize::from(h.lane)];
            if t.lane_seq <= h.lane_seq {
                t.lane_seq = h.lane_seq + 1;
                t.data_pos = h.data_pos + u64::from(h.data_bytes());
            }
        }
        write_mark(&mut self.pmem, self.j.key, &mark).unwrap();
        self.j.mark = mark;
        self.j.free();
        self.written.retain(|h| h.seq > retired);
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.pmem.peek(0, self.pmem.bytes() as usize)
    }

    pub fn flip(&mut self, at: u64) {
        self.pmem.flip(at, 3);
    }

    pub fn header_at(&self, h: &Header) -> u64 {
        self.sup.geometry.header_offset(h.lane, h.lane_seq)
    }

    pub fn data_at(&self, h: &Header) -> u64 {
        self.sup.geometry.data_offset(h.lane, h.data_pos)
    }
}
