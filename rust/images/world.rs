// SPDX-License-Identifier: GPL-2.0

//! Everything that a crash leaves behind, at each point of the trace.

use crate::{
    client::{look, Value, SECTOR},
    disk::Disk,
    memory::Memory,
    oracle::Oracle,
    recovery::{crc, Region},
    trace::{Event, Trace},
};
use core_crate::{
    format::{Header, Key, Super},
    layout::{HEADER_BYTES, LANES_OFFSET, MARK_OFFSET},
    recover::read_super,
    units::{Op, Seq},
};
use std::{collections::BTreeMap, ops::Range};

/// Bytes of each region of the trace, and their order (`scripts/images/trace.py`).
pub const REGION_BYTES: u64 = 4 << 20;
/// The owner's log.
pub const OWNER: usize = 0;
/// Its partner's.
pub const PARTNER: usize = 1;
/// The local unit.
pub const LOCAL: usize = 2;
/// The remote.
pub const REMOTE: usize = 3;

/// A record as it was stored: what an image must have, or have retired.
#[derive(Clone, Copy)]
pub struct Stored {
    /// Its header.
    pub header: Header,
    /// The write of the load whose data it has, and from which of its sectors on (the block layer may
    /// split it); None: it zeroes, or has none.
    pub of: Option<(u64, usize)>,
}

/// How much was stored in a log for its records.
#[derive(Clone, Copy, Default)]
pub struct Costs {
    /// Records.
    pub records: u64,
    /// Their data.
    pub payload: u64,
    /// Bytes that were stored where records stand.
    pub bytes: u64,
    /// Stores that this took.
    pub stores: u64,
    /// Flushes of lines there.
    pub flushes: u64,
    /// Fences behind such stores.
    pub fences: u64,
}

/// The state.
pub struct World {
    /// Both logs.
    pub logs: [Memory; 2],
    /// Local unit and remote.
    pub disks: [Disk; 2],
    /// What the host was told.
    pub oracle: Oracle,
    /// Records that the owner stored, by sequence.
    pub stored: BTreeMap<Seq, Stored>,
    /// Counted in each log.
    pub costs: [Costs; 2],
    /// Events so far.
    pub now: usize,
    mine: Option<Super>,
}

/// Where a traced address is: the region, and the place in it.
pub fn place(at: u64) -> (usize, u64) {
    ((at / REGION_BYTES) as usize, at % REGION_BYTES)
}

/// Where superblocks stand in a log.
pub const SUPERBLOCKS: Range<u64> = 0..MARK_OFFSET;
/// Where marks do.
pub const MARKS: Range<u64> = MARK_OFFSET..LANES_OFFSET;
/// Where records do.
pub const LANES: Range<u64> = LANES_OFFSET..REGION_BYTES;

impl World {
    /// All blank.
    pub fn new() -> World {
        let bytes = REGION_BYTES as usize;
        World {
            logs: [Memory::new(bytes), Memory::new(bytes)],
            disks: [Disk::new(bytes), Disk::new(bytes)],
            oracle: Oracle::new(),
            stored: BTreeMap::new(),
            costs: [Costs::default(); 2],
            now: 0,
            mine: None,
        }
    }

    /// The next event of the trace.
    pub fn step(&mut self, trace: &Trace, event: &Event) {
        self.now += 1;
        match event {
            Event::Store {
                cpu,
                streamed,
                at,
                stores,
                bytes,
            } => {
                self.store(*cpu, *streamed, *at, trace.bytes(bytes));
                self.count(*at, *stores, bytes.len());
            }
            Event::Flush { cpu, at, at_once } => {
                let (region, at) = place(*at);
                if let Some(log) = self.logs.get_mut(region) {
                    log.flush(*cpu, at as usize, *at_once);
                    self.costs[region].flushes += u64::from(LANES.contains(&at));
                }
            }
            Event::Fence { cpu } => {
                for (log, costs) in self.logs.iter_mut().zip(&mut self.costs) {
                    costs.fences += u64::from(log.awaits(*cpu, LANES));
                    log.fence(*cpu);
                }
            }
            Event::Submitted(id) => self.oracle.submitted(*id, self.now),
            Event::Done(id) => self.oracle.told(*id, self.now),
        }
    }

    /// Bytes are stored.
    pub fn store(&mut self, cpu: u8, streamed: bool, at: u64, bytes: &[u8]) {
        let (region, at) = place(at);
        if let Some(log) = self.logs.get_mut(region) {
            log.store(cpu, streamed, at as usize, bytes);
            if SUPERBLOCKS.contains(&at) {
                self.mine = None;
            }
            self.note_headers(region, at, bytes.len());
        } else if let Some(disk) = self.disks.get_mut(region - LOCAL) {
            disk.store(at as usize, bytes);
        }
    }

    fn count(&mut self, at: u64, stores: u16, bytes: usize) {
        let (region, at) = place(at);
        if region > PARTNER || !LANES.contains(&at) {
            return;
        }
        let ended = self.records_ending_in(region, at, bytes);
        let costs = &mut self.costs[region];
        costs.stores += u64::from(stores);
        costs.bytes += bytes as u64;
        for h in ended {
            costs.records += 1;
            costs.payload += u64::from(h.data_bytes());
        }
    }

    /// Where headers stand in a log; nowhere before there is one.
    pub fn headers(&self) -> Range<u64> {
        let end = self
            .mine
            .map_or(LANES.start, |m| m.geometry.data_offset(0, 0));
        LANES.start..end
    }

    /// The header that stands at a place, if it is one of the owner's set and belongs there.
    fn header_at(&self, region: usize, at: u64) -> Option<Header> {
        let mine = self.mine.as_ref()?;
        let bytes = self.logs[region].now().get(at as usize..)?.first_chunk()?;
        Header::open(crc, Key::new(crc, &mine.uuid), bytes)
            .ok()
            .filter(|h| mine.geometry.header_offset(h.lane, h.lane_seq) == at)
    }

    /// Headers whose last bytes are among these.
    fn records_ending_in(&self, region: usize, at: u64, bytes: usize) -> Vec<Header> {
        let line = |n: u64| n / HEADER_BYTES * HEADER_BYTES;
        (line(at)..line(at + bytes as u64))
            .step_by(HEADER_BYTES as usize)
            .filter(|at| self.headers().contains(at))
            .filter_map(|at| self.header_at(region, at))
            .collect()
    }

    /// A record is one as soon as its header verifies, which may be before its last bytes are stored:
    /// they may be those of the record that stood there before.
    fn note_headers(&mut self, region: usize, at: u64, bytes: usize) {
        if self.mine.is_none() {
            self.mine = read_super(&Region(self.logs[OWNER].now()), crc)
                .ok()
                .flatten();
        }
        let Some(mine) = self.mine else { return };
        if region != OWNER || !self.headers().contains(&at) {
            return;
        }
        for at in (at / HEADER_BYTES..(at + bytes as u64).div_ceil(HEADER_BYTES))
            .map(|n| n * HEADER_BYTES)
        {
            let Some(header) = self.header_at(region, at) else {
                continue;
            };
            let data = mine.geometry.data_offset(header.lane, header.data_pos) as usize;
            // Zeroes may be written by the block layer, as data.
            let of = match look(&self.logs[region].now()[data..data + SECTOR]) {
                Value::Of { id, index } if header.op.has_data() => Some((id, index)),
                _ => None,
            };
            self.stored.insert(header.seq, Stored { header, of });
        }
    }

    /// Writes whatever a recovery would write to both units: the local one gets every record from the
    /// tails on, the remote those behind `shipped`. Until [`Disk::take_back`].
    ///
    /// # Errors
    ///
    /// A record that lies beyond a unit.
    pub fn replay(
        disks: &mut [Disk; 2],
        log: &[u8],
        r: &crate::recovery::Recovered,
    ) -> Result<(), String> {
        for disk in disks.iter_mut() {
            disk.begin();
        }
        for h in &r.records {
            if h.op == Op::Cancel || r.cancelled.contains(&h.seq) {
                continue;
            }
            let (first, sectors) = (h.extent.sector as usize, h.extent.sectors as usize);
            let zeroes;
            let bytes = if h.op == Op::Zero {
                zeroes = vec![0; sectors * SECTOR];
                &zeroes
            } else {
                crate::recovery::data(log, &r.mine, h)
            };
            for (disk, wanted) in disks.iter_mut().zip([true, h.seq > r.mark.shipped]) {
                if !disk.has(first, sectors) {
                    return Err(format!("sequence {} lies beyond the volume", h.seq));
                }
                if wanted {
                    disk.write(first, bytes);
                }
            }
        }
        Ok(())
    }
}
