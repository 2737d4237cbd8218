// SPDX-License-Identifier: GPL-2.0

//! Two nodes with their own pmem: the owner's log flows to the standby, connections break, nodes die,
//! the standby takes over and the old owner comes back. What one of them acknowledged is found by
//! whoever owns the set next, and what was dropped never speaks again.

mod common;

use common::{
    crc, geometry,
    journal::{write_mark, write_super, Journal},
    key,
    pmem::{Crash, Pmem},
    seeds, superblock, Rng, UUID,
};
use core_crate::{
    format::{Copy_, Header, Key, Mark, Role, Super, Tail, MARK_BYTES},
    lane::stage,
    layout::{Geometry, MARK_OFFSET},
    limits::MAX_COUNT,
    ownership::{stood_down, Fencing, Found},
    partner::{answer, refused, AfterRefusal, Answer, Here, Mirror, MirrorEvent},
    receiver::{Place, Receiver, Reject, Store},
    recover::{read_super, Damage},
    retire::{AckTracker, Retirer},
    takeover::{decide, Asked, Source, View},
    units::{Extent, Generation, Op, Seq},
    wire::{Ack, Hello},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone)]
struct Rec {
    header: Header,
    data: Vec<u8>,
    acked: bool,
}

enum Frame {
    Begin([u8; MARK_BYTES]),
    Record(Vec<u8>),
    Mark([u8; MARK_BYTES]),
    Synced,
}

enum Reply {
    Ack(Ack),
    Complete(Ack),
}

struct Session {
    rx: Receiver,
    trusted: bool,
    sent: [u64; 32],
    mark_sent: u64,
    partner_has: u64,
    frames: VecDeque<Frame>,
    replies: VecDeque<Reply>,
}

/// The node that owns the set, as long as it lives.
struct Owner {
    j: Journal,
    mirror: Mirror,
    retirer: Retirer,
    acks: AckTracker,
    begun: bool,
    /// The mark with which the reign begins, while only the partner may have it.
    first: Option<Mark>,
    serving: bool,
    confirmed: bool,
}

struct World {
    nodes: [Pmem; 2],
    at: usize,
    owner: Option<Owner>,
    session: Option<Session>,
    /// What the standby knows of its complete copy from the last session.
    known: Option<Receiver>,
    live: BTreeMap<u64, Rec>,
    torn: BTreeMap<u16, Rec>,
    takeovers: u64,
    lives: u64,
}

fn greeting(mine: &Super, reign: Generation) -> Hello {
    Hello {
        uuid: mine.uuid,
        name: mine.name,
        generation: mine.generation,
        reign,
        role: Role::Owner,
        copy: if mine.alone {
            Copy_::Incomplete
        } else {
            Copy_::Complete
        },
        blank: false,
        geometry: mine.geometry,
        members: 1,
        node: mine.node,
        record: false,
        missing: mine.missing,
    }
}

/// A node with a region of this size, and no ownership record.
fn here(region: u64) -> Here {
    Here {
        region,
        members: 1,
        record: false,
        node: 2,
    }
}

/// What has to be durable for a takeover, if there is no objection to it.
fn takeover(mine: Option<&Super>) -> Option<Super> {
    let view = View {
        mine,
        fencing: Fencing::External,
        found: &Found::Unused,
        owner_alive: false,
        asked: Asked::Timeout,
    };
    let reign = decide(&view).ok()?;
    assert_eq!(reign.source, Source::Mirror);
    let durable = reign.durable(mine?, Seq::ZERO, Seq::ZERO, None);
    assert_eq!(durable.record, None);
    Some(durable.mine)
}

/// Somebody died: this node.
struct Died(usize);

/// A record as a standby takes it: where its data goes and where its header.
#[derive(PartialEq, Eq, Debug)]
struct Taken {
    place: Place,
    store: Store,
}

/// Verifies a record, as the driver does while it copies the data.
fn take(rx: &Receiver, payload: &[u8]) -> Result<Taken, Reject> {
    let (head, data) = payload.split_first_chunk().ok_or(Reject::Corrupt)?;
    let place = rx.record(crc, head, data.len())?;
    let data = &data[..place.data_bytes as usize];
    let sum = if data.is_empty() {
        0
    } else {
        crc(rx.seed(), data)
    };
    let store = place.verified(sum)?;
    Ok(Taken { place, store })
}

/// A standby that finds out where its complete copy ends.
fn resumed(pmem: &Pmem, mine: &Super) -> Receiver {
    let mut rx = Receiver::new(key(), mine.geometry, mine.generation);
    rx.read(crc, pmem).unwrap_or_else(|d| panic!("{d}"));
    rx
}

impl World {
    fn new(rng: &mut Rng, g: Geometry) -> World {
        let mut nodes = [Pmem::new(g.bytes()), Pmem::new(g.bytes())];
        if rng.one_in(2) {
            let mut bytes = vec![0; (g.bytes() - 16384) as usize];
            rng.fill(&mut bytes);
            nodes[1].poke(16384, &bytes);
        }
        let mut sup = superblock(g);
        sup.counter = 1;
        sup.generation = Generation(0);
        let first = Mark::first(Generation(0), g.lanes());
        write_mark(&mut nodes[0], key(), &first).unwrap();
        write_super(&mut nodes[0], &sup).unwrap();
        World {
            nodes,
            at: 0,
            owner: None,
            session: None,
            known: None,
            live: BTreeMap::new(),
            torn: BTreeMap::new(),
            takeovers: 0,
            lives: 0,
        }
    }

    fn sup(&self, node: usize) -> Option<Super> {
        read_super(&self.nodes[node], crc).unwrap()
    }

    /// Reads this node's log and compares it with the model; what is not there is gone for good.
    fn load(&mut self, node: usize) -> Journal {
        let sup = self.sup(node).unwrap();
        let j = Journal::load(&self.nodes[node], key(), &sup).unwrap_or_else(|d| panic!("{d}"));
        for (_, t) in std::mem::take(&mut self.torn) {
            self.live.insert(t.header.seq.0, t);
        }
        let mut seen = BTreeSet::new();
        for h in &j.found {
            let m = self.live.get(&h.seq.0);
            let m = m.unwrap_or_else(|| panic!("old bytes speak: {h:?}"));
            assert_eq!(*h, m.header, "old bytes speak");
            assert!(j.data(&self.nodes[node], h) == m.data);
            seen.insert(h.seq.0);
        }
        for (seq, m) in self.live.range(j.mark.retired.0 + 1..) {
            let lost = m.acked && !seen.contains(seq);
            assert!(!lost, "acknowledged and lost: {:?}", m.header);
        }
        // What is retired by this mark may still be live by the mark that the partner has.
        let retired = j.mark.retired.0;
        self.live.retain(|s, _| *s <= retired || seen.contains(s));
        j
    }

    fn start(&mut self, node: usize, mirror: Mirror) {
        let j = self.load(node);
        self.at = node;
        self.lives += 1;
        self.owner = Some(Owner {
            mirror,
            retirer: j.retirer(),
            acks: j.acks(),
            j,
            begun: false,
            first: None,
            serving: false,
            confirmed: true,
        });
    }

    /// Begins a reign without a partner.
    fn begin_alone(&mut self) -> Result<(), Crash> {
        let mut sup = self.sup(self.at).unwrap();
        let o = self.owner.as_mut().unwrap();
        sup.counter += 1;
        sup.generation = sup.generation.next().unwrap();
        write_super(&mut self.nodes[self.at], &sup)?;
        o.begun = true;
        o.j.reign = sup.generation;
        self.open(sup.generation)
    }

    /// The first mark of a reign is durable: from here on it serves.
    fn open(&mut self, reign: Generation) -> Result<(), Crash> {
        let o = self.owner.as_mut().unwrap();
        let first = o.first.take().unwrap_or_else(|| o.j.first_mark(reign));
        write_mark(&mut self.nodes[self.at], key(), &first)?;
        o.j.mark = first;
        o.serving = true;
        for h in &o.j.found {
            let bits = stage::LOCAL | stage::ACKED | stage::MIRRORED;
            o.j.reach(h.lane, h.lane_seq, bits);
            self.live.get_mut(&h.seq.0).unwrap().acked = true;
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Died> {
        let (me, they) = (self.at, 1 - self.at);
        let mine = self.sup(me).unwrap();
        let o = self.owner.as_mut().unwrap();
        let reign = if o.begun {
            mine.generation
        } else {
            mine.generation.next().unwrap()
        };
        let hello = greeting(&mine, reign);
        let theirs = match read_super(&self.nodes[they], crc) {
            Ok(theirs) => theirs,
            // Its very first superblock is torn. An administrator zeroes it, as the message says.
            Err(d) => {
                assert!(self.takeovers == 0, "{d}");
                self.nodes[they].poke(0, &[0; 16384]);
                None
            }
        };
        let here = here(self.nodes[they].bytes());
        let Answer::Welcome {
            durable, trusted, ..
        } = answer(theirs.as_ref(), &here, &hello)
        else {
            panic!("refused: {hello:?} by {theirs:?}");
        };
        write_super(&mut self.nodes[they], &durable).map_err(|Crash| Died(they))?;
        if !o.begun {
            let new = Super {
                counter: mine.counter + 1,
                generation: reign,
                ..mine
            };
            write_super(&mut self.nodes[me], &new).map_err(|Crash| Died(me))?;
            o.begun = true;
            o.j.reign = reign;
        }
        o.mirror = o.mirror.on(MirrorEvent::Connected { trusted }).unwrap();
        let mut rx = Receiver::new(key(), mine.geometry, reign);
        let known = self.known.take().filter(|_| trusted);
        if trusted {
            rx = resumed(&self.nodes[they], &durable);
            // A standby that did not die knows it without reading.
            if let Some(mut known) = known {
                assert!(known.again(key(), mine.geometry, reign));
                assert_eq!(known.ack(), rx.ack());
                rx = known;
            }
        }
        let have = rx.ack();
        assert_eq!(have.mark, 0);
        let mut s = Session {
            rx,
            trusted,
            sent: [0; 32],
            mark_sent: o.j.mark.counter,
            partner_has: 0,
            frames: VecDeque::new(),
            replies: VecDeque::new(),
        };
        for ((c, t), end) in s.sent.iter_mut().zip(&o.j.mark.tails).zip(have.stored) {
            *c = t.lane_seq.max(end);
        }
        for lane in &o.j.lanes {
            assert!(
                have.at(lane.index()) <= lane.head(),
                "the owner has lost some"
            );
        }
        s.frames.push_back(Frame::Begin(o.j.mark.seal(crc, key())));
        self.session = Some(s);
        Ok(())
    }

    fn disconnect(&mut self) {
        if let Some(s) = self.session.take() {
            self.known = Some(s.rx).filter(|_| s.trusted);
            if let Some(o) = self.owner.as_mut() {
                o.mirror = o.mirror.on(MirrorEvent::Disconnected).unwrap();
                o.first = None;
            }
        }
    }

    /// Sends the next record of a lane that has one.
    fn send_record(&mut self, rng: &mut Rng) -> bool {
        let (Some(o), Some(s)) = (self.owner.as_ref(), self.session.as_mut()) else {
            return false;
        };
        let lanes = o.j.geometry.lanes();
        let first = rng.below(u64::from(lanes)) as u16;
        for i in 0..lanes {
            let lane = (first + i) % lanes;
            let at = s.sent[usize::from(lane)];
            if at >= o.j.lanes[usize::from(lane)].head() {
                continue;
            }
            let seq = o.j.lanes[usize::from(lane)].seq_at(at).unwrap();
            let rec = &self.live[&seq.0];
            let mut payload = rec.header.seal(crc, key()).to_vec();
            payload.extend(&rec.data);
            s.frames.push_back(Frame::Record(payload));
            s.sent[usize::from(lane)] += 1;
            return true;
        }
        false
    }

    fn send_mark(&mut self) {
        let (Some(o), Some(s)) = (self.owner.as_ref(), self.session.as_mut()) else {
            return;
        };
        let m = &o.j.mark;
        let sent = (0..m.lanes).all(|l| m.tail(l).lane_seq <= s.sent[usize::from(l)]);
        if m.counter > s.mark_sent && sent {
            s.frames.push_back(Frame::Mark(m.seal(crc, key())));
            s.mark_sent = m.counter;
        }
    }

    fn catch_up(&mut self, rng: &mut Rng) -> Result<(), Crash> {
        while self.send_record(rng) {}
        let Some(o) = self.owner.as_mut() else {
            return Ok(());
        };
        let (Mirror::CatchingUp { alone, .. }, true) = (o.mirror, self.session.is_some()) else {
            return Ok(());
        };
        if alone {
            let mut sup = self.sup(self.at).unwrap();
            sup.counter += 1;
            sup.alone = false;
            write_super(&mut self.nodes[self.at], &sup)?;
        }
        let o = self.owner.as_mut().unwrap();
        o.mirror = o.mirror.on(MirrorEvent::CaughtUp).unwrap();
        self.send_mark();
        let o = self.owner.as_mut().unwrap();
        let s = self.session.as_mut().unwrap();
        if !o.serving {
            // The mark that raises the floors goes to the partner behind all the records in front of
            // them, and is used here only when the partner has them: a floor that is ahead of a
            // copy makes what stands there by chance look like the log.
            let first = o.j.first_mark(o.j.reign);
            s.frames.push_back(Frame::Mark(first.seal(crc, key())));
            o.first = Some(first);
        }
        s.frames.push_back(Frame::Synced);
        Ok(())
    }

    /// The standby takes the next frame. `Err(None)`: it hangs up.
    fn deliver(&mut self, rng: &mut Rng) -> Result<(), Option<Died>> {
        let they = 1 - self.at;
        let Some(s) = self.session.as_mut() else {
            return Ok(());
        };
        let Some(frame) = s.frames.pop_front() else {
            return Ok(());
        };
        let pmem = &mut self.nodes[they];
        let died = |Crash| Some(Died(they));
        match frame {
            Frame::Begin(bytes) => {
                let mark = s.rx.begin(crc, &bytes).unwrap();
                if !s.trusted {
                    pmem.cpu = 0;
                    pmem.store(MARK_OFFSET, &[0; 8192]).map_err(died)?;
                    pmem.fence().map_err(died)?;
                }
                write_mark(pmem, key(), &mark).map_err(died)?;
            }
            Frame::Mark(bytes) => {
                let mark = s.rx.mark(crc, &bytes).unwrap_or_else(|r| panic!("{r:?}"));
                write_mark(pmem, key(), &mark).map_err(died)?;
            }
            Frame::Record(mut payload) => {
                match rng.below(600) {
                    0 => {
                        let at = rng.below(payload.len() as u64) as usize;
                        payload[at] ^= 1 << rng.below(8);
                        assert_eq!(take(&s.rx, &payload), Err(Reject::Corrupt));
                        // That the data is wrong is seen when it has been copied.
                        let (head, data) = payload.split_first_chunk().unwrap();
                        if let Ok(place) = s.rx.record(crc, head, data.len()) {
                            pmem.cpu = 1;
                            pmem.store(place.data_at, data).map_err(died)?;
                        }
                        return Err(None);
                    }
                    1 => {
                        payload.truncate(rng.below(payload.len() as u64) as usize);
                        assert_eq!(take(&s.rx, &payload), Err(Reject::Corrupt));
                        return Err(None);
                    }
                    _ => {}
                }
                let Taken { place, store } =
                    take(&s.rx, &payload).unwrap_or_else(|r| panic!("{r:?}"));
                let (head, data) = payload.split_at(64);
                pmem.cpu = 1;
                pmem.store(place.data_at, data).map_err(died)?;
                pmem.store(store.header_at, head).map_err(died)?;
                pmem.fence().map_err(died)?;
                s.rx.stored(store);
                if rng.one_in(400) {
                    assert_eq!(take(&s.rx, &payload), Err(Reject::OutOfOrder));
                    return Err(None);
                }
            }
            Frame::Synced => {
                let mut sup = read_super(pmem, crc).unwrap().unwrap();
                if sup.copy != Copy_::Complete {
                    sup.counter += 1;
                    sup.copy = Copy_::Complete;
                    write_super(pmem, &sup).map_err(died)?;
                }
                s.trusted = true;
                let ack = s.rx.ack();
                s.replies.push_back(Reply::Complete(ack));
                return Ok(());
            }
        }
        let ack = s.rx.ack();
        s.replies.push_back(Reply::Ack(ack));
        Ok(())
    }

    fn hear(&mut self) -> Result<(), Crash> {
        let (Some(o), Some(s)) = (self.owner.as_mut(), self.session.as_mut()) else {
            return Ok(());
        };
        let mut open = false;
        let stored = match s.replies.pop_front() {
            None => return Ok(()),
            Some(Reply::Ack(a)) => {
                s.partner_has = s.partner_has.max(a.mark);
                a.stored
            }
            Some(Reply::Complete(a)) => {
                o.mirror = o.mirror.on(MirrorEvent::Completed).unwrap();
                s.partner_has = s.partner_has.max(a.mark);
                open = !o.serving;
                a.stored
            }
        };
        if o.mirror.acks_count() {
            for lane in &o.j.lanes {
                let to = stored[usize::from(lane.index())].min(lane.head());
                for p in lane.tail()..to {
                    lane.slot(p).unwrap().reach(stage::MIRRORED);
                }
            }
        }
        let reign = o.j.reign;
        if open {
            s.mark_sent = o.first.map_or(s.mark_sent, |m| m.counter);
            self.open(reign)?;
        }
        Ok(())
    }

    fn append(&mut self, rng: &mut Rng) -> Result<(), Crash> {
        let Some(o) = self.owner.as_mut().filter(|o| o.serving) else {
            return Ok(());
        };
        let pmem = &mut self.nodes[self.at];
        let lane = rng.below(u64::from(o.j.geometry.lanes())) as u16;
        if let Some(rec) = self.torn.get(&lane) {
            pmem.cpu = lane + 1;
            pmem.fence()?;
            let bits = if o.mirror.writes_wait() {
                0
            } else {
                stage::MIRRORED
            };
            o.j.publish(&rec.header, bits);
            self.live.insert(rec.header.seq.0, rec.clone());
            self.torn.remove(&lane);
            return Ok(());
        }
        let most = if rng.one_in(4) { 512 } else { 8 };
        let extent = Extent {
            member: 0,
            sector: rng.below(99),
            sectors: 1 + rng.below(most) as u32,
        };
        let op = *rng.pick(&[Op::Write, Op::Write, Op::Zero]);
        let len = if op.has_data() {
            extent.sectors as usize * 512
        } else {
            0
        };
        let mut data = vec![0; len];
        if len > 0 {
            rng.fill(&mut data[..64]);
        }
        let Ok(header) = o.j.accept(lane, op, extent, Seq::ZERO, &data) else {
            return Ok(());
        };
        let rec = Rec {
            header,
            data,
            acked: false,
        };
        self.torn.insert(lane, rec);
        o.j.store(pmem, &header, &self.torn[&lane].data)
    }

    fn tell(&mut self, rng: &mut Rng) {
        let Some(o) = self.owner.as_mut().filter(|o| o.serving) else {
            return;
        };
        let ready = |m: &Rec| {
            let h = &m.header;
            let slot = o.j.lanes[usize::from(h.lane)].slot(h.lane_seq).unwrap();
            !m.acked && slot.stage() & stage::MIRRORED != 0
        };
        let ready: Vec<u64> = self
            .live
            .iter()
            .filter_map(|(s, m)| ready(m).then_some(*s))
            .collect();
        if ready.is_empty() {
            return;
        }
        let m = self.live.get_mut(rng.pick(&ready)).unwrap();
        m.acked = true;
        o.j.order.acknowledge(m.header.seq);
        o.j.reach(
            m.header.lane,
            m.header.lane_seq,
            stage::LOCAL | stage::ACKED,
        );
    }

    fn cut(&mut self, rng: &mut Rng) -> Result<(), Crash> {
        let Some(o) = self.owner.as_mut().filter(|o| o.serving) else {
            return Ok(());
        };
        let acked = o.acks.advance(&o.j);
        o.j.order.acknowledged_all(acked);
        if !o.confirmed {
            let has = self.session.as_ref().map_or(0, |s| s.partner_has);
            if !o.mirror.marks_wait() || has >= o.j.mark.counter {
                o.confirmed = true;
                o.j.free();
            }
            return Ok(());
        }
        let shipped = o.j.mark.shipped.0;
        let shipped = Seq(shipped + rng.below(acked.0.max(shipped) - shipped + 1));
        o.j.remote_to(shipped);
        let mut mark = o.j.mark;
        mark.counter += 1;
        mark.acked = mark.acked.max(o.j.order.acked());
        mark.shipped = shipped;
        let low = o.retirer.advance(&o.j, shipped);
        o.retirer.cut(&mut mark, low);
        write_mark(&mut self.nodes[self.at], key(), &mark)?;
        o.j.mark = mark;
        o.confirmed = false;
        Ok(())
    }

    /// The owner's machine is gone; what it sent may still arrive.
    fn owner_dies(&mut self, rng: &mut Rng) {
        self.owner = None;
        while self.session.is_some() && !rng.one_in(4) {
            match self.deliver(rng) {
                Ok(()) => {}
                Err(None) => break,
                Err(Some(_)) => {
                    self.session = None;
                    self.nodes[1 - self.at].crash(rng);
                    break;
                }
            }
        }
        self.known = None;
        self.disconnect();
        self.nodes[self.at].crash(rng);
    }

    fn recover(&mut self, rng: &mut Rng) -> Result<(), Died> {
        let they = 1 - self.at;
        if rng.one_in(2) {
            let theirs = read_super(&self.nodes[they], crc).unwrap_or(None);
            if let Some(new) = takeover(theirs.as_ref()) {
                self.takeovers += 1;
                let before = (self.live.clone(), self.torn.clone());
                self.load(they);
                if write_super(&mut self.nodes[they], &new).is_err() {
                    // It may have happened or not.
                    (self.live, self.torn) = before;
                    return Err(Died(they));
                }
                self.start(they, Mirror::Alone);
                let o = self.owner.as_mut().unwrap();
                o.begun = true;
                o.j.reign = new.generation;
                return self.open(new.generation).map_err(|Crash| Died(they));
            }
        }
        let owns = |n: usize| {
            let sup = read_super(&self.nodes[n], crc).unwrap_or(None);
            sup.filter(|s| s.role == Role::Owner).map(|s| s.generation)
        };
        if owns(they) > owns(self.at) {
            // It had taken over, durably, and died before it could do anything else. The other one
            // is told so if it comes first.
            let (mine, theirs) = (self.sup(self.at).unwrap(), self.sup(they));
            if mine.role == Role::Owner {
                let here = here(self.nodes[they].bytes());
                let hello = greeting(&mine, mine.generation.next().unwrap());
                let Answer::Refuse(r) = answer(theirs.as_ref(), &here, &hello) else {
                    panic!("two owners");
                };
                assert_eq!(refused(&mine, &r), AfterRefusal::StandBy);
                let new = stood_down(&mine);
                write_super(&mut self.nodes[self.at], &new).map_err(|Crash| Died(self.at))?;
            }
            self.at = they;
        }
        let mine = self.sup(self.at).unwrap();
        assert_eq!(mine.role, Role::Owner);
        self.start(self.at, Mirror::at_start(true, mine.alone));
        if mine.alone && rng.one_in(2) {
            return self.begin_alone().map_err(|Crash| Died(self.at));
        }
        Ok(())
    }

    fn step(&mut self, rng: &mut Rng, breaks: u64) -> Result<(), Died> {
        let me = self.at;
        let died = |Crash| Died(me);
        if self.owner.is_none() {
            return self.recover(rng);
        }
        match rng.below(24) {
            0 | 10..=18 if self.session.is_none() && rng.one_in(3) => self.connect()?,
            1..=5 => self.append(rng).map_err(died)?,
            6..=8 => self.tell(rng),
            9 => self.cut(rng).map_err(died)?,
            10..=12 => while self.send_record(rng) && !rng.one_in(6) {},
            13 => self.send_mark(),
            14 => self.catch_up(rng).map_err(died)?,
            15..=18 => {
                while !rng.one_in(8) {
                    match self.deliver(rng) {
                        Ok(()) => {}
                        Err(None) => {
                            self.disconnect();
                            break;
                        }
                        Err(Some(died)) => return Err(died),
                    }
                }
            }
            19..=22 => {
                while !rng.one_in(8) {
                    self.hear().map_err(died)?;
                }
            }
            _ => match rng.below(breaks) {
                0 => self.disconnect(),
                1 => return Err(Died(me)),
                2 => return Err(Died(1 - me)),
                _ => {}
            },
        }
        Ok(())
    }
}

fn run(rng: &mut Rng, steps: u64, fuse: u64, breaks: u64) -> (u64, u64) {
    let mut w = World::new(rng, geometry());
    for _ in 0..steps {
        for n in &mut w.nodes {
            if n.fuse == u64::MAX {
                n.fuse = rng.below(fuse);
            }
        }
        match w.step(rng, breaks) {
            Ok(()) => {}
            Err(Died(n)) if n == w.at => w.owner_dies(rng),
            Err(Died(n)) => {
                w.disconnect();
                w.known = None;
                w.nodes[n].crash(rng);
            }
        }
    }
    (w.lives, w.takeovers)
}

#[test]
fn two_nodes() {
    let total = std::cell::Cell::new((0, 0));
    seeds(60, |rng| {
        let (lives, takeovers) = run(rng, 3000, 400, 20);
        let (l, t) = total.get();
        total.set((l + lives, t + takeovers));
    });
    println!("{:?} lives and takeovers", total.get());
    if std::env::var("SEED").is_err() {
        assert!(
            total.get().1 > 100,
            "too few takeovers to be worth anything"
        );
    }
}

#[test]
fn two_nodes_that_die_often() {
    seeds(120, |rng| {
        run(rng, 1500, 60, 10);
    });
}

/// A trusted copy that holds an old reign's record just where the owner's next one is missing. If the
/// floors went ahead of the copy, that old record would be read as part of the log.
#[test]
fn a_floor_ahead_of_the_copy_is_refused() {
    let g = geometry();
    let key = key();
    let mut pmem = Pmem::new(g.bytes());
    // Reign 1 left a record at position 3 of lane 0, which the mirror of reign 2 never replaced.
    let old = Header {
        seq: Seq(90),
        lane: 0,
        lane_seq: 3,
        data_pos: 0,
        generation: Generation(1),
        op: Op::Zero,
        extent: Extent {
            member: 0,
            sector: 0,
            sectors: 1,
        },
        cancels: Seq::ZERO,
        after: Seq(1),
        acked: Seq(1),
        data_crc: 0,
    };
    let at = g.header_offset(0, 3);
    pmem.store(at, &old.seal(crc, key)).unwrap();
    let mut sup = superblock(g);
    sup.generation = Generation(3);
    let mut mark = Mark::first(Generation(2), 2);
    (mark.retired, mark.shipped) = (Seq(50), Seq(50));
    mark.tails[0] = Tail {
        lane_seq: 3,
        data_pos: 0,
        floor: 2,
    };
    // With the floor that goes with what the copy has: nobody there.
    write_mark(&mut pmem, key, &mark).unwrap();
    let j = Journal::load(&pmem, key, &sup).unwrap();
    assert_eq!(j.found.len(), 0);
    // A floor that is raised in a session needs the records in front of it.
    let mut rx = Receiver::new(key, g, Generation(3));
    rx.begin(crc, &mark.seal(crc, key)).unwrap();
    let mut ahead = mark;
    ahead.counter += 1;
    ahead.generation = Generation(3);
    ahead.tails[0].floor = 4;
    assert_eq!(rx.mark(crc, &ahead.seal(crc, key)), Err(Reject::Mark));
    // And a log that ends in front of its floor is damaged, not short.
    mark.counter += 1;
    mark.tails[0].floor = 5;
    write_mark(&mut pmem, key, &mark).unwrap();
    assert!(matches!(
        Journal::load(&pmem, key, &sup).err(),
        Some(Damage::Short { lane: 0, .. })
    ));
}

fn record(change: impl Fn(&mut Header)) -> Vec<u8> {
    let data = [7; 512];
    let mut h = Header {
        seq: Seq(5),
        lane: 0,
        lane_seq: 0,
        data_pos: 0,
        generation: Generation(4),
        op: Op::Write,
        extent: Extent {
            member: 0,
            sector: 0,
            sectors: 1,
        },
        cancels: Seq::ZERO,
        after: Seq(1),
        acked: Seq(1),
        data_crc: crc(key().0, &data),
    };
    change(&mut h);
    let mut p = h.seal(crc, key()).to_vec();
    p.extend(data);
    p
}

#[test]
fn every_reason_to_reject() {
    let g = geometry();
    let mut rx = Receiver::new(key(), g, Generation(4));
    let good = record(|_| ());
    assert_eq!(take(&rx, &good), Err(Reject::NotBegun));
    let mut mark = Mark::first(Generation(3), 2);
    (mark.retired, mark.shipped, mark.counter) = (Seq(2), Seq(3), 10);
    mark.tails[0].floor = 1;
    let sealed = mark.seal(crc, key());
    assert_eq!(rx.mark(crc, &sealed), Err(Reject::NotBegun));
    assert_eq!(rx.synced(), Err(Reject::NotBegun));
    let bad = |m: &Mark, change: &dyn Fn(&mut Mark)| {
        let mut m = *m;
        change(&mut m);
        m.seal(crc, key())
    };
    assert!(rx.begin(crc, &bad(&mark, &|m| m.lanes = 3)).is_err());
    assert!(rx
        .begin(crc, &bad(&mark, &|m| m.generation = Generation(5)))
        .is_err());
    assert!(rx.begin(crc, &[0; MARK_BYTES]).is_err());
    rx.begin(crc, &sealed).unwrap();
    assert_eq!(rx.begin(crc, &sealed), Err(Reject::Begun));
    assert_eq!(rx.synced(), Ok(()));
    let mut uuid = UUID;
    uuid[3] ^= 1;
    let mut other = Header::open(crc, key(), good[..64].try_into().unwrap())
        .unwrap()
        .seal(crc, Key::new(crc, &uuid))
        .to_vec();
    other.extend(&good[64..]);
    assert_eq!(take(&rx, &other), Err(Reject::Corrupt));
    assert_eq!(take(&rx, &good[..63]), Err(Reject::Corrupt));
    assert_eq!(take(&rx, &good[..575]), Err(Reject::Corrupt));
    let newer = record(|h| h.generation = Generation(5));
    assert_eq!(take(&rx, &newer), Err(Reject::Generation(Generation(5))));
    for change in [
        |h: &mut Header| h.lane = 2,
        |h: &mut Header| h.lane = 31,
        |h: &mut Header| h.lane_seq = 1,
        |h: &mut Header| h.lane_seq = MAX_COUNT,
        |h: &mut Header| h.data_pos = 512,
        |h: &mut Header| h.data_pos = MAX_COUNT,
        |h: &mut Header| h.seq = Seq(2),
    ] {
        assert_eq!(take(&rx, &record(change)), Err(Reject::OutOfOrder));
    }
    // In front of the floor an old reign may stand; behind it, or behind a newer one, it may not.
    let first = record(|h| h.generation = Generation(2));
    let Taken { store, .. } = take(&rx, &first).unwrap();
    rx.stored(store);
    assert_eq!(rx.ack().stored[0], 1);
    let next = |seq: u64, generation: u32| {
        record(move |h| {
            h.seq = Seq(seq);
            h.generation = Generation(generation);
            (h.lane_seq, h.data_pos) = (1, 512);
        })
    };
    assert_eq!(
        take(&rx, &next(6, 2)),
        Err(Reject::Generation(Generation(2)))
    );
    assert_eq!(take(&rx, &next(5, 4)), Err(Reject::OutOfOrder));
    assert!(take(&rx, &next(6, 3)).is_ok());
    let Taken { store, .. } = take(&rx, &next(6, 4)).unwrap();
    rx.stored(store);
    assert_eq!(take(&rx, &next(6, 4)), Err(Reject::OutOfOrder));
    // Marks that go back or ahead.
    let up = |m: &mut Mark| m.counter = 11;
    let bad_marks: &[&dyn Fn(&mut Mark)] = &[
        &|_| (),
        &|m| m.generation = Generation(2),
        &|m| m.retired = Seq(1),
        &|m| m.shipped = Seq(2),
        &|m| m.tails[0].lane_seq = 3,
        &|m| m.tails[0].data_pos = 1025,
        &|m| m.tails[0].floor = 0,
        &|m| m.tails[0].floor = 3,
        &|m| m.lanes = 1,
    ];
    for (i, change) in bad_marks.iter().enumerate() {
        let m = bad(&mark, &|m| {
            if i > 0 {
                up(m);
            }
            change(m);
        });
        assert_eq!(rx.mark(crc, &m), Err(Reject::Mark), "{i}");
    }
    let m = bad(&mark, &|m| {
        up(m);
        m.generation = Generation(4);
        m.tails[0] = Tail {
            lane_seq: 2,
            data_pos: 1024,
            floor: 2,
        };
        (m.retired, m.shipped) = (Seq(6), Seq(6));
    });
    rx.mark(crc, &m).unwrap();
    assert_eq!(rx.ack().mark, 11);
    // Another connection to the same copy, which is complete: its owner's tails are where they were, or
    // further on, up to what is here. (What a lane has that the log has not means nothing.)
    assert!(rx.again(key(), g, Generation(4)));
    assert_eq!(rx.synced(), Err(Reject::NotBegun));
    assert_eq!(rx.mark(crc, &m), Err(Reject::NotBegun));
    assert_eq!((rx.ack().mark, rx.ack().stored[0]), (0, 2));
    for change in [
        |m: &mut Mark| m.tails[0].lane_seq = 1,
        |m: &mut Mark| m.tails[0].lane_seq = 3,
        |m: &mut Mark| m.tails[0].data_pos = 512,
        |m: &mut Mark| m.tails[0].data_pos = 1536,
        |m: &mut Mark| m.tails[1].lane_seq = 1,
    ] {
        let newest = Mark::open(crc, key(), &m).unwrap();
        assert_eq!(rx.begin(crc, &bad(&newest, &change)), Err(Reject::Mark));
    }
    let newest = Mark::open(crc, key(), &m).unwrap();
    let beyond = bad(&newest, &|m| m.tails[2].lane_seq = 9);
    rx.begin(crc, &beyond).unwrap();
    assert_eq!(rx.ack().stored[..3], [2, 0, 0]);
    assert_eq!(rx.synced(), Ok(()));
}

#[test]
fn live_space_is_never_overwritten() {
    seeds(20, |rng| {
        let g = geometry();
        let mut rx = Receiver::new(key(), g, Generation(4));
        let mut mark = Mark::first(Generation(4), 2);
        rx.begin(crc, &mark.seal(crc, key())).unwrap();
        // What the standby holds that is not retired: header offset, data range, end position.
        let mut held: VecDeque<(u64, u64, u64, u64)> = VecDeque::new();
        let (mut seq, mut pos) = (0, 0);
        for _ in 0..300 {
            let sectors = 1 + rng.below(512) as u32;
            let data = vec![1; sectors as usize * 512];
            let h = Header {
                seq: Seq(seq + 1),
                lane: 1,
                lane_seq: seq,
                data_pos: g.place(pos, data.len() as u32).unwrap(),
                generation: Generation(4),
                op: Op::Write,
                extent: Extent {
                    member: 0,
                    sector: 0,
                    sectors,
                },
                cancels: Seq::ZERO,
                after: Seq::ZERO,
                acked: Seq::ZERO,
                data_crc: crc(key().0, &data),
            };
            let mut payload = h.seal(crc, key()).to_vec();
            payload.extend(&data);
            match take(&rx, &payload) {
                Ok(taken) => {
                    in_bounds(&g, &taken);
                    let Taken { place, store } = taken;
                    let from = place.data_at;
                    let to = from + u64::from(place.data_bytes);
                    for (head, a, b, _) in &held {
                        assert!(store.header_at != *head && (to <= *a || *b <= from));
                    }
                    held.push_back((store.header_at, from, to, h.data_pos + data.len() as u64));
                    rx.stored(store);
                    pos = h.data_pos + data.len() as u64;
                    seq += 1;
                }
                Err(Reject::Overrun) => {
                    for _ in 0..1 + rng.below(held.len() as u64) {
                        let (_, _, _, end) = held.pop_front().unwrap();
                        mark.tails[1].lane_seq += 1;
                        mark.tails[1].data_pos = end;
                        mark.retired = mark.retired.next();
                        mark.shipped = mark.retired;
                    }
                    mark.counter += 1;
                    rx.mark(crc, &mark.seal(crc, key())).unwrap();
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(seq > 100);
    });
}

fn in_bounds(g: &Geometry, Taken { place, store }: &Taken) {
    let within = |offset: u64, bytes: u64, start: u64, len: u64| {
        offset >= start && offset + bytes <= start + len
    };
    assert!((0..g.lanes()).any(|l| {
        within(
            store.header_at,
            64,
            g.header_offset(l, 0),
            u64::from(g.lane_records()) * 64,
        ) && (place.data_bytes == 0
            || within(
                place.data_at,
                u64::from(place.data_bytes),
                g.data_offset(l, 0),
                g.lane_data(),
            ))
    }));
}

/// An owner gone mad, with the right key.
#[test]
fn mad_frames_are_survived() {
    seeds(300, |rng| {
        let g = Geometry::new(3, 16, 512 * 1024 + 4096).unwrap();
        let mut rx = Receiver::new(key(), g, Generation(4));
        let wild = |rng: &mut Rng| match rng.below(6) {
            0 => MAX_COUNT - rng.below(2000),
            1 => rng.next(),
            2 => 0,
            3 => (1 << 32) + rng.below(1000),
            _ => rng.below(40),
        };
        let mut mark = Mark::first(Generation(rng.below(6) as u32), 3);
        for round in 0..20 {
            mark.counter = wild(rng);
            mark.shipped = Seq(wild(rng));
            mark.retired = Seq(rng.below(mark.shipped.0.saturating_add(1)));
            mark.acked = Seq(wild(rng));
            for t in &mut mark.tails {
                *t = Tail {
                    lane_seq: wild(rng),
                    data_pos: wild(rng) & !511,
                    floor: wild(rng),
                };
            }
            let sealed = mark.seal(crc, key());
            let _ = if round % 3 == 0 {
                rx = Receiver::new(key(), g, Generation(4));
                rx.begin(crc, &sealed)
            } else {
                rx.mark(crc, &sealed)
            };
            for _ in 0..5 {
                let lane = rng.below(4) as u16;
                let sectors = 1 + rng.below(512) as u32;
                let tail = mark.tail(lane);
                let data = vec![0; sectors as usize * 512];
                let seq = wild(rng).max(1);
                let h = Header {
                    seq: Seq(seq),
                    lane,
                    lane_seq: *rng.pick(&[tail.lane_seq, rx.ack().stored[usize::from(lane)]]),
                    data_pos: if rng.one_in(4) {
                        wild(rng)
                    } else {
                        g.place(tail.data_pos, data.len() as u32).unwrap_or(0)
                    },
                    generation: Generation(rng.below(7) as u32),
                    op: Op::Write,
                    extent: Extent {
                        member: 0,
                        sector: 0,
                        sectors,
                    },
                    cancels: Seq::ZERO,
                    after: Seq(seq - 1),
                    acked: Seq(seq - 1),
                    data_crc: crc(key().0, &data),
                };
                let mut payload = h.seal(crc, key()).to_vec();
                payload.extend(&data);
                if let Ok(taken) = take(&rx, &payload) {
                    in_bounds(&g, &taken);
                    rx.stored(taken.store);
                }
            }
            let mut noise = vec![0; rng.below(200) as usize];
            rng.fill(&mut noise);
            assert!(take(&rx, &noise).is_err());
        }
    });
}
