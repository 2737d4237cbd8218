// SPDX-License-Identifier: GPL-2.0

//! The owner's session with its partner, both ends, with core's own decisions at each.

use crate::{
    crc,
    owner::Owner,
    site::{must, Broken, Site},
};
use core_crate::{
    format::{Copy_, Super, RECORD_HEADER_BYTES},
    lane::stage,
    layout::{MARK_OFFSET, SLOT_BYTES},
    ownership,
    partner::{answer, Answer, Here, Mirror, MirrorEvent},
    plant::{planted, Plant},
    receiver::Receiver,
    recover::read_super,
    sending::Sent,
    wire::Hello,
};

/// A connection.
pub struct Session {
    rx: Receiver,
    sent: Sent,
    mark_sent: u64,
    /// The counter of the newest mark that the partner has acknowledged.
    pub has: u64,
}

/// What a node's table line says.
pub fn here(region: u64) -> Here {
    Here {
        region,
        members: 1,
        record: false,
        node: 2,
    }
}

impl Owner {
    fn on(&mut self, event: MirrorEvent) -> Result<(), Broken> {
        let next = self.mirror.on(event);
        self.mirror = next.map_err(|e| Broken(format!("{e:?}")))?;
        Ok(())
    }

    /// The connection breaks.
    ///
    /// # Errors
    ///
    /// It cannot, in this state.
    pub fn disconnect(&mut self) -> Result<(), Broken> {
        self.session = None;
        self.on(MirrorEvent::Disconnected)
    }

    /// HELLO, BEGIN, the log, the mark, SYNCED and what they are answered with.
    ///
    /// # Errors
    ///
    /// The partner refuses or rejects something.
    pub fn connect(&mut self, site: &mut Site) -> Result<(), Broken> {
        let they = 1 - self.at;
        let theirs = read_super(&site.nodes[they], crc);
        let theirs = theirs.map_err(|d| Broken(format!("the partner's log: {d}")))?;
        let reign = if self.begun {
            self.sup.generation
        } else {
            self.sup.generation.next().expect("few reigns")
        };
        let hello = Hello::of_owner(&self.sup, reign, 1, false);
        let region = site.nodes[they].bytes();
        let (durable, trusted) = match answer(theirs.as_ref(), &here(region), &hello) {
            Answer::Welcome {
                durable, trusted, ..
            } => (durable, trusted),
            Answer::Refuse(r) => return Err(Broken(format!("the partner refuses: {r:?}"))),
        };
        site.write_super(they, &durable);
        if !self.begun {
            let new = Super {
                counter: self.sup.counter + 1,
                generation: reign,
                ..self.sup
            };
            self.put_super(site, new);
            self.begun = true;
            self.j.reign = reign;
        }
        self.on(MirrorEvent::Connected { trusted })?;
        if !self.serving && planted(Plant::FloorsBeforeRecords) {
            let first = self.j.first_mark(reign);
            site.write_mark(self.at, self.j.key, &first);
            self.j.mark = first;
        }
        self.begin_session(site, trusted)?;
        self.send(site)?;
        self.catch_up(site)
    }

    /// BEGIN.
    fn begin_session(&mut self, site: &mut Site, trusted: bool) -> Result<(), Broken> {
        let (they, key) = (1 - self.at, self.j.key);
        let mut rx = Receiver::new(key, self.j.geometry, self.j.reign);
        if trusted {
            rx.read(crc, &site.nodes[they])
                .map_err(|d| Broken(format!("the partner's complete copy: {d}")))?;
        }
        let have = rx.ack();
        let ahead = have.ahead(self.j.lanes.iter().map(|l| l.head()));
        must(ahead.is_none(), || {
            format!("the partner has more than the owner: lane {ahead:?}")
        })?;
        let begun = rx.begin(crc, &self.j.mark.seal(crc, key));
        let mark = begun.map_err(|r| Broken(format!("BEGIN is rejected: {r:?}")))?;
        if !trusted {
            let log = &mut site.nodes[they];
            let none = [0; 2 * SLOT_BYTES as usize];
            log.store(MARK_OFFSET, &none).expect("no fuse");
            site.event(format_args!("marks zeroed at the partner"));
            site.fence(they, 0, "marks zeroed");
        }
        site.write_mark(they, key, &mark);
        self.session = Some(Session {
            rx,
            sent: Sent::beginning(&mark, &have),
            mark_sent: mark.counter,
            has: mark.counter,
        });
        Ok(())
    }

    /// Everything is sent; the partner's copy becomes complete.
    fn catch_up(&mut self, site: &mut Site) -> Result<(), Broken> {
        let they = 1 - self.at;
        if matches!(self.mirror, Mirror::CatchingUp { alone: true, .. }) {
            let new = ownership::caught_up(&self.sup);
            self.put_super(site, new);
        }
        self.on(MirrorEvent::CaughtUp)?;
        self.send_mark(site)?;
        let first = (!self.serving).then(|| self.j.first_mark(self.j.reign));
        if let (Some(first), Some(s)) = (first, self.session.as_mut()) {
            let taken = s.rx.mark(crc, &first.seal(crc, self.j.key));
            taken.map_err(|r| Broken(format!("the first mark is rejected: {r:?}")))?;
            s.mark_sent = first.counter;
            s.has = first.counter;
            site.write_mark(they, self.j.key, &first);
        }
        let theirs = read_super(&site.nodes[they], crc).ok().flatten();
        let theirs = theirs.expect("it has just been written");
        if theirs.copy != Copy_::Complete {
            let complete = Super {
                counter: theirs.counter + 1,
                copy: Copy_::Complete,
                ..theirs
            };
            site.write_super(they, &complete);
        }
        self.on(MirrorEvent::Completed)?;
        self.draw_on();
        if let Some(first) = first {
            self.open(site, first);
        }
        Ok(())
    }

    /// Sends every record that was not sent yet, and hears that it is stored.
    ///
    /// # Errors
    ///
    /// The partner rejects one.
    pub fn send(&mut self, site: &mut Site) -> Result<(), Broken> {
        let they = 1 - self.at;
        let Some(s) = self.session.as_mut() else {
            return Ok(());
        };
        let g = self.j.geometry;
        for lane in &self.j.lanes {
            let mut next = s.sent.next(lane.index());
            while next < lane.head() {
                let r = lane.record(next).expect("not retired yet");
                let log = &site.nodes[self.at];
                let at = g.header_offset(lane.index(), next);
                let head = log.peek(at, RECORD_HEADER_BYTES);
                let head: &[u8; RECORD_HEADER_BYTES] = head[..].try_into().expect("as many");
                let at = g.data_offset(lane.index(), r.data_pos);
                let data = log.peek(at, r.data_bytes() as usize);
                let rejected = |e| Broken(format!("record {} is rejected: {e:?}", r.seq));
                let place = s.rx.record(crc, head, data.len()).map_err(rejected)?;
                let log = &mut site.nodes[they];
                log.cpu = 1;
                let mut sum = 0;
                if !data.is_empty() {
                    sum = crc(s.rx.seed(), &data);
                    log.store(place.data_at, &data).expect("no fuse");
                }
                let store = place.verified(sum).map_err(rejected)?;
                log.store(store.header_at, head).expect("no fuse");
                site.event(format_args!("record {} stored at the partner", r.seq));
                if !planted(Plant::PartnerNotFenced) {
                    site.fence(they, 1, "mirrored record");
                }
                s.rx.stored(store);
                let run = lane.run(next, next + 1).expect("it is live");
                s.sent.sent(lane.index(), &run);
                next += 1;
            }
        }
        self.draw_on();
        Ok(())
    }

    /// What the partner has said that it has counts, if it does.
    fn draw_on(&mut self) {
        let Some(s) = self.session.as_ref().filter(|_| self.mirror.acks_count()) else {
            return;
        };
        let stored = s.rx.ack().stored;
        for lane in &self.j.lanes {
            let to = stored[usize::from(lane.index())].min(lane.head());
            for p in lane.tail()..to {
                self.j.reach(lane.index(), p, stage::MIRRORED);
            }
        }
    }

    /// Sends the newest mark, if there is somebody to send it to, and hears that it is stored.
    ///
    /// # Errors
    ///
    /// The partner rejects it.
    pub fn send_mark(&mut self, site: &mut Site) -> Result<(), Broken> {
        let they = 1 - self.at;
        let Some(s) = self.session.as_mut() else {
            return Ok(());
        };
        if self.j.mark.counter <= s.mark_sent {
            return Ok(());
        }
        let taken = s.rx.mark(crc, &self.j.mark.seal(crc, self.j.key));
        let mark = taken.map_err(|r| Broken(format!("a mark is rejected: {r:?}")))?;
        s.mark_sent = mark.counter;
        site.write_mark(they, self.j.key, &mark);
        s.has = s.rx.ack().mark;
        Ok(())
    }

    /// Whether the newest mark is wherever it has to be.
    pub fn mark_is_known(&self) -> Result<(), Broken> {
        let has = self.session.as_ref().map_or(0, |s| s.has);
        must(
            !self.mirror.marks_wait() || has >= self.j.mark.counter,
            || "nobody has sent the mark".into(),
        )
    }
}
