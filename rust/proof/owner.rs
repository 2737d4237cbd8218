// SPDX-License-Identifier: GPL-2.0

//! The node that owns the set, put together as the driver does it: a write goes into the log, to the
//! partner, to the local unit, and the host is told. One step after the other; what the driver does at
//! once on several processors is an order of these steps.

use crate::{
    crc,
    host::Fate,
    journal::Journal,
    mirror::Session,
    shipping::Shipping,
    site::{Broken, Site},
};
use core_crate::{
    format::{Header, Super},
    lane::stage,
    partner::Mirror,
    plant::{planted, Plant},
    units::{Extent, Op, Seq, SECTOR_SIZE},
};

/// See the module.
pub struct Owner {
    /// Which node it is.
    pub at: usize,
    /// Its superblock.
    pub sup: Super,
    /// Its log.
    pub j: Journal,
    /// What the partner's copy counts for.
    pub mirror: Mirror,
    /// Its connection to the partner.
    pub session: Option<Session>,
    /// Its way to the remote.
    pub shipping: Shipping,
    /// The reign has begun.
    pub begun: bool,
    /// The reign's first mark is durable: writes are taken.
    pub serving: bool,
}

/// A write on its way: its record, and its number at the host.
pub struct Way {
    /// The record.
    pub header: Header,
    number: usize,
}

impl Owner {
    /// An owner that has just read its log.
    pub fn new(at: usize, sup: Super, j: Journal, mirrored: bool) -> Owner {
        Owner {
            at,
            sup,
            mirror: Mirror::at_start(mirrored, sup.alone),
            session: None,
            shipping: Shipping::new(&j),
            j,
            begun: false,
            serving: false,
        }
    }

    /// Stores a record; it is not durable yet.
    fn store(&mut self, site: &mut Site, lane: u16, op: Op, at: (u64, u32), data: &[u8]) -> Header {
        let (sector, sectors) = at;
        let (extent, cancels) = match op {
            Op::Cancel => (Extent::default(), Seq(sector)),
            _ => (
                Extent {
                    member: 0,
                    sector,
                    sectors,
                },
                Seq::ZERO,
            ),
        };
        let accepted = self.j.accept(lane, op, extent, cancels, data);
        let h = accepted.expect("there is room in so small a world");
        let log = &mut site.nodes[self.at];
        self.j.store(log, &h, data).expect("no fuse");
        site.event(format_args!("record {} stored, lane {lane}", h.seq));
        h
    }

    /// Makes the record durable, here and at the partner.
    fn log(&mut self, site: &mut Site, h: &Header) -> Result<(), Broken> {
        if !planted(Plant::AppendNotFenced) {
            site.fence(self.at, h.lane + 1, "record");
        }
        let bits = if self.mirror.writes_wait() {
            0
        } else {
            stage::MIRRORED
        };
        self.j.publish(h, bits);
        self.send(site)
    }

    /// The host submits a write, and its record is stored.
    pub fn submit(&mut self, site: &mut Site, lane: u16, zero: bool, at: (u64, u32)) -> Way {
        let (number, data) = site.host.submit(zero, at.0, at.1);
        let op = if zero { Op::Zero } else { Op::Write };
        let header = self.store(site, lane, op, at, &data);
        Way { header, number }
    }

    /// The record becomes durable wherever it has to be.
    ///
    /// # Errors
    ///
    /// The partner does not take it.
    pub fn append(&mut self, site: &mut Site, way: &Way) -> Result<(), Broken> {
        if planted(Plant::ToldBeforePartner) {
            site.fence(self.at, way.header.lane + 1, "record");
            site.tell(way.number, Fate::Told, false);
        }
        self.log(site, &way.header)
    }

    /// The write goes to the local unit, out of the log.
    pub fn write_local(&self, site: &mut Site, h: &Header) {
        let data = self.payload(site, h);
        site.write_local(h.extent.sector, &data);
        self.j.reach(h.lane, h.lane_seq, stage::LOCAL);
    }

    /// What a record puts on a disk.
    pub fn payload(&self, site: &Site, h: &Header) -> Vec<u8> {
        if h.op == Op::Zero {
            vec![0; (h.extent.sectors * SECTOR_SIZE) as usize]
        } else {
            self.j.data(&site.nodes[self.at], h)
        }
    }

    /// The host is told.
    pub fn tell(&mut self, site: &mut Site, way: &Way, sync: bool) {
        let h = &way.header;
        self.j.order.acknowledge(h.seq);
        self.j.reach(h.lane, h.lane_seq, stage::ACKED);
        self.shipping.note_acked(&self.j);
        site.tell(way.number, Fate::Told, sync);
    }

    /// All of a write, in asynchronous mode.
    ///
    /// # Errors
    ///
    /// The partner does not take it.
    pub fn write(
        &mut self,
        site: &mut Site,
        lane: u16,
        zero: bool,
        at: (u64, u32),
    ) -> Result<(), Broken> {
        let way = self.submit(site, lane, zero, at);
        self.append(site, &way)?;
        self.write_local(site, &way.header);
        self.tell(site, &way, false);
        Ok(())
    }

    /// A write that the local unit refuses: cancelled by a record, then the host is told.
    ///
    /// # Errors
    ///
    /// The partner does not take it.
    pub fn fail(&mut self, site: &mut Site, lane: u16, at: (u64, u32)) -> Result<(), Broken> {
        let way = self.submit(site, lane, false, at);
        self.append(site, &way)?;
        let seq = way.header.seq;
        if planted(Plant::CancelTooLate) {
            site.tell(way.number, Fate::Failed, false);
        }
        let cancel = self.store(site, lane, Op::Cancel, (seq.0, 0), &[]);
        self.log(site, &cancel)?;
        self.j.order.acknowledge(seq);
        let done = stage::LOCAL | stage::ACKED;
        self.j.settle_cancel(seq, stage::CANCELLED | done);
        self.j.reach(cancel.lane, cancel.lane_seq, done);
        self.shipping.note_acked(&self.j);
        site.tell(way.number, Fate::Failed, false);
        Ok(())
    }

    /// A write in synchronous mode: the host is told when the remote has it.
    ///
    /// # Errors
    ///
    /// A rule does not hold.
    pub fn write_sync(&mut self, site: &mut Site, lane: u16, at: (u64, u32)) -> Result<(), Broken> {
        let way = self.submit(site, lane, false, at);
        self.append(site, &way)?;
        self.write_local(site, &way.header);
        if planted(Plant::SyncFromCache) {
            self.issue(site)?;
        } else {
            self.ship(site, false)?;
        }
        self.tell(site, &way, true);
        Ok(())
    }

    /// Writes the superblock.
    pub fn put_super(&mut self, site: &mut Site, new: Super) {
        self.sup = site.write_super(self.at, &new);
    }

    /// Begins a reign without a partner.
    pub fn begin_alone(&mut self, site: &mut Site) {
        let new = Super {
            counter: self.sup.counter + 1,
            generation: self.sup.generation.next().expect("few reigns"),
            ..self.sup
        };
        self.put_super(site, new);
        self.begin(site);
    }

    /// The superblock of the reign is durable: now its first mark.
    pub fn begin(&mut self, site: &mut Site) {
        self.j.reign = self.sup.generation;
        self.begun = true;
        let first = self.j.first_mark(self.j.reign);
        self.open(site, first);
    }

    /// The first mark becomes durable here: from now on writes are taken.
    pub fn open(&mut self, site: &mut Site, first: core_crate::format::Mark) {
        site.write_mark(self.at, self.j.key, &first);
        self.j.mark = first;
        self.serving = true;
    }

    /// Where each record that is not retired stands: its header, in the log.
    pub fn live(&self, site: &Site) -> Vec<Header> {
        let log = &site.nodes[self.at];
        let lanes = self.j.lanes.iter();
        lanes
            .flat_map(|l| (l.tail()..l.head()).map(|p| (l.index(), p)))
            .filter_map(|(lane, p)| {
                let at = self.j.geometry.header_offset(lane, p);
                let bytes = log.peek(at, 64).try_into().ok()?;
                Header::open(crc, self.j.key, &bytes).ok()
            })
            .collect()
    }
}
