// SPDX-License-Identifier: GPL-2.0

//! The owner's way to the remote, and behind it the log cut off: one pass of the driver's shipper thread
//! after the other.

use crate::{
    journal::Journal,
    owner::Owner,
    site::{Broken, Site},
};
use core_crate::{
    format::Mark,
    lane::stage,
    merge::Merge,
    plant::{planted, Plant},
    retire::{AckTracker, Retirer},
    ship::{Entry, ShipView, Shipper},
    units::{Op, SECTOR_SIZE},
};

/// Records in flight at once: enough for a small world.
const WINDOW: usize = 4;

/// What the shipper thread knows.
pub struct Shipping {
    shipper: Shipper<Vec<Entry>>,
    /// Follows `Shipper::durable`.
    remote: Merge,
    acks: AckTracker,
    retirer: Retirer,
    /// The newest mark was drawn on.
    confirmed: bool,
}

impl Shipping {
    /// Begins where the log's mark says.
    pub fn new(j: &Journal) -> Shipping {
        let known = if planted(Plant::ReshipFromRetired) {
            j.mark.retired
        } else {
            j.mark.shipped
        };
        Shipping {
            shipper: Shipper::new(j.unshipped(), known, vec![Entry::default(); WINDOW]),
            remote: j.merge(),
            acks: j.acks(),
            retirer: j.retirer(),
            confirmed: true,
        }
    }

    /// How far all was acknowledged.
    pub fn note_acked(&mut self, j: &Journal) {
        let acked = self.acks.advance(j);
        j.order.acknowledged_all(acked);
    }

    /// The slots learn how far the remote is.
    fn tell_slots(&mut self, j: &Journal) {
        let durable = self.shipper.durable();
        while self.remote.next() <= durable {
            let Some((seq, at)) = self.remote.peek(j) else {
                break;
            };
            if seq > durable {
                break;
            }
            j.reach(at.lane, at.lane_seq, stage::REMOTE);
            self.remote.advance(at);
        }
    }
}

impl Owner {
    /// Ships whatever can be shipped; `retire`: and cuts the log off behind it.
    ///
    /// # Errors
    ///
    /// The remote is in a state of which no host could know, or the partner rejects a mark.
    pub fn ship(&mut self, site: &mut Site, retire: bool) -> Result<(), Broken> {
        loop {
            // As far as it goes before a mark is drawn on: marks may take their time.
            while self.issue(site)? || self.flush_remote(site) {}
            self.shipping.tell_slots(&self.j);
            self.shipping.note_acked(&self.j);
            if !self.cut(site, retire)? {
                break;
            }
        }
        self.send_mark(site)
    }

    fn flush_remote(&mut self, site: &mut Site) -> bool {
        let due = self.shipping.shipper.begin_flush();
        if due {
            site.flush_remote();
            self.shipping.shipper.flushed(true);
        }
        due
    }

    /// Issues what may be in flight at once; the remote does it in another order. Answers whether there
    /// was anything.
    ///
    /// # Errors
    ///
    /// As [`Owner::ship`].
    pub fn issue(&mut self, site: &mut Site) -> Result<bool, Broken> {
        let mut flight = vec![];
        while let Ok(ship) = self.shipping.shipper.next(&self.j) {
            flight.push(ship);
        }
        let any = !flight.is_empty();
        for ship in flight.into_iter().rev() {
            let r = ship.record;
            let data = if r.op == Op::Zero {
                vec![0; (r.extent.sectors * SECTOR_SIZE) as usize]
            } else {
                let at = self.j.geometry.data_offset(ship.at.lane, r.data_pos);
                site.nodes[self.at].peek(at, r.data_bytes() as usize)
            };
            site.write_remote(r.extent.sector, &data)?;
            self.shipping.shipper.completed(ship.token, true);
        }
        Ok(any)
    }

    /// Draws on the mark that is under way, or makes a new one. Answers whether more can be done.
    fn cut(&mut self, site: &mut Site, retire: bool) -> Result<bool, Broken> {
        if !self.shipping.confirmed {
            if !planted(Plant::MarkAheadOfPartner) {
                self.send_mark(site)?;
                self.mark_is_known()?;
            }
            self.shipping.confirmed = true;
            self.j.free();
            self.shipping.shipper.confirm(self.j.mark.shipped);
            return Ok(true);
        }
        let old = self.j.mark;
        let shipped = self.shipping.shipper.durable();
        let low = self.shipping.retirer.advance(&self.j, shipped);
        let retire = retire && low > old.retired;
        if !retire && shipped == old.shipped {
            return Ok(false);
        }
        let mut mark = Mark {
            counter: old.counter + 1,
            shipped,
            acked: self.j.order.acked().max(old.acked),
            ..old
        };
        if retire {
            if !planted(Plant::RetireUnflushed) {
                site.flush_local();
            }
            if planted(Plant::TailByTail) {
                mark.tails[0] = self.shipping.retirer.tail(0, old.tail(0).floor);
                site.write_mark(self.at, self.j.key, &mark);
                mark.counter += 1;
            }
            self.shipping.retirer.cut(&mut mark, low);
        }
        site.write_mark(self.at, self.j.key, &mark);
        self.j.mark = mark;
        self.shipping.confirmed = false;
        Ok(true)
    }

    /// Whether a record was cancelled.
    pub fn is_cancelled(&self, at: core_crate::merge::Position) -> bool {
        let r = self.j.record(at);
        r.is_none_or(|r| r.op == Op::Cancel || r.stage & stage::CANCELLED != 0)
    }
}
