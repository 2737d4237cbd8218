// SPDX-License-Identifier: GPL-2.0

//! The partner link: an honest owner's frames, damaged or forged on their way, and a standby that
//! stores what its receiver lets through, in the way of the driver's `frames.rs` and `standby.rs`.

use crate::{
    crc,
    honest::{data_of, name, Owner, UUID},
    image::Image,
    input::Input,
    log::{forge_header, forge_mark},
    reader::{Outcome, Reader},
    tally,
};
use core_crate::{
    format::{Copy_, Header, Key, Mark, Super, MARK_BYTES},
    layout::{
        mark_offset, superblock_offset, Geometry, HEADER_BYTES, LANES_OFFSET, MARK_OFFSET,
        SLOT_BYTES,
    },
    limits::{MAX_FRAME_PAYLOAD, MAX_RECORD_BYTES},
    partner::{answer, refused, Answer, Here},
    receiver::{Receiver, Records},
    units::{Generation, Seq},
    wire::{
        Ack, Frame, Hello, Kind, Reason, Refusal, ACK_BYTES, FRAME_BYTES, HELLO_BYTES,
        REFUSAL_BYTES,
    },
};
use std::{cell::RefCell, collections::BTreeMap};

thread_local! {
    static BENCH: RefCell<(Image, Reader)> = const { RefCell::new((Image::new(), Reader::new())) };
}

pub fn run(bytes: &[u8]) {
    BENCH.with_borrow_mut(|(image, reader)| {
        let mut input = Input::new(bytes);
        let mut owner = Owner::new(&mut input);
        image.reset(owner.geometry().bytes());
        for _ in 0..input.below(16) {
            owner.append(&mut input);
        }
        let mut standby = Standby::new(image);
        // A bound on one input's time.
        for _ in 0..6 {
            session(&mut owner, &mut standby, &mut input);
            standby.check(&owner, reader);
            if input.is_empty() {
                break;
            }
            if input.below(2) == 0 {
                owner.new_reign();
            }
        }
    });
}

/// A frame on its way.
fn frame(kind: Kind, generation: Generation, payload: &[u8]) -> Vec<u8> {
    sealed(kind, 0, generation, payload)
}

fn sealed(kind: Kind, records: u16, generation: Generation, payload: &[u8]) -> Vec<u8> {
    let head = Frame {
        kind,
        flag: false,
        generation,
        records,
        len: payload.len() as u32,
        // Nobody here goes by it: what it keeps out is sent, and the rest has to cope.
        number: 0,
        heard: 0,
    };
    [&head.seal(crc, payload), payload].concat()
}

/// Their headers, then their data.
fn records(owner: &Owner, reign: Generation, these: &[Header]) -> Vec<u8> {
    let mut payload: Vec<u8> = these.iter().flat_map(|h| h.seal(crc, owner.key)).collect();
    payload.extend(these.iter().flat_map(data_of));
    sealed(Kind::Records, these.len() as u16, reign, &payload)
}

/// What an owner sends in one session.
struct Sender {
    next: Vec<u64>,
    reign: Generation,
}

impl Sender {
    fn next_record(&mut self, owner: &Owner, lane: u16) -> Option<Header> {
        let next = &mut self.next[usize::from(lane)];
        let h = owner.records.get(&(lane, *next))?;
        *next += 1;
        Some(*h)
    }

    fn sent_all(&self, owner: &Owner) -> bool {
        (0..owner.lanes()).all(|l| self.next[usize::from(l)] >= owner.head(l))
    }
}

fn session(owner: &mut Owner, standby: &mut Standby<'_>, input: &mut Input<'_>) {
    let reign = owner.sup.generation;
    let hello = Hello::of_owner(&owner.sup, reign, 1, false);
    let mut payload = hello.seal();
    if input.below(16) == 0 {
        standby.forged = true;
        let at = input.below(HELLO_BYTES);
        payload[at] = input.instead_of(payload[at].into()) as u8;
    }
    if !standby.greet(&frame(Kind::Hello, reign, &payload)) {
        return;
    }
    let mut sender = Sender {
        next: (0..owner.lanes())
            .map(|l| owner.mark.tail(l).lane_seq.max(standby.end(l)))
            .collect(),
        reign,
    };
    let begin = owner.mark.seal(crc, owner.key);
    let mut open = match input.below(16) {
        0 => true,
        1 => {
            standby.forged = true;
            let mark = forge_mark(owner.mark, input).seal(crc, owner.key);
            standby.hear(&frame(Kind::Begin, reign, &mark))
        }
        _ => standby.hear(&frame(Kind::Begin, reign, &begin)),
    };
    for _ in 0..64 {
        if !open || input.is_empty() {
            break;
        }
        let Some(mut bytes) = next_frame(owner, standby, &mut sender, input) else {
            continue;
        };
        open = match input.below(12) {
            0 => {
                // The network.
                let at = (input.word() % bytes.len() as u64) as usize;
                bytes[at] ^= input.byte().max(1);
                standby.hear(&bytes)
            }
            1 => {
                bytes.truncate((input.word() % bytes.len() as u64) as usize);
                standby.hear(&bytes)
            }
            2 => standby.hear(&bytes) && standby.hear(&bytes),
            _ => standby.hear(&bytes),
        };
    }
}

fn next_frame(
    owner: &mut Owner,
    standby: &mut Standby<'_>,
    sender: &mut Sender,
    input: &mut Input<'_>,
) -> Option<Vec<u8>> {
    let reign = sender.reign;
    owner.mirrored = standby.complete().then(|| standby.has(owner));
    let any = |input: &mut Input<'_>, owner: &Owner| {
        let n = input.below(owner.records.len());
        owner.records.values().nth(n).copied()
    };
    Some(match input.below(16) {
        0..=5 => {
            let lane = input.below(usize::from(owner.lanes())) as u16;
            let most = 1 + input.below(3);
            let these: Vec<Header> = (0..most)
                .map_while(|_| sender.next_record(owner, lane))
                .collect();
            if these.is_empty() {
                return None;
            }
            records(owner, reign, &these)
        }
        6 | 7 => {
            if !owner.first_mark_due {
                owner.append(input);
            }
            return None;
        }
        8 => {
            if !owner.first_mark_due {
                owner.retire(1 + input.below(6));
            }
            return None;
        }
        9 if owner.first_mark_due && sender.sent_all(owner) && standby.mirrors(owner) => {
            owner.first_mark();
            frame(Kind::Mark, reign, &owner.mark.seal(crc, owner.key))
        }
        9 => frame(Kind::Mark, reign, &owner.mark.seal(crc, owner.key)),
        10 => {
            // Of the owner's own, but not its turn.
            let h = any(input, owner)?;
            records(owner, reign, &[h])
        }
        11 => {
            if !sender.sent_all(owner) {
                standby.forged = true;
            }
            frame(Kind::Synced, reign, &[])
        }
        12 => {
            standby.forged = true;
            let h = any(input, owner)?;
            let forged = forge_header(h, input, owner);
            let data = match input.below(4) {
                0 => vec![0; input.below(3) * 512],
                1 => vec![0; MAX_RECORD_BYTES as usize],
                _ => data_of(&h),
            };
            let count = [1, 1, 1, 2, 65][input.below(5)];
            sealed(Kind::Records, count, reign, &[&forged[..], &data].concat())
        }
        13 => {
            standby.forged = true;
            let kind = [Kind::Mark, Kind::Begin][input.below(2)];
            let mark = match input.below(3) {
                0 => owner.mark,
                _ => forge_mark(owner.mark, input),
            };
            frame(kind, reign, &mark.seal(crc, owner.key))
        }
        14 => {
            // Any kind, of any length, in any reign, whole.
            standby.forged = true;
            let mut bytes = frame(
                Kind::Ping,
                Generation(reign.0.wrapping_add(input.below(3) as u32)),
                &[],
            );
            let len = input.word() as u32 % 1024;
            bytes[8] = input.byte() % 14;
            bytes[9] = input.byte() % 3;
            bytes[10] = [0, 0, 1, 2, 15][input.below(5)];
            bytes[12..16].copy_from_slice(&len.to_le_bytes());
            bytes.extend((0..len).map(|i| i as u8));
            let sum = crc(
                !0,
                if bytes[8] == 5 {
                    &bytes[8..32]
                } else {
                    &bytes[8..]
                },
            );
            bytes[4..8].copy_from_slice(&sum.to_le_bytes());
            bytes
        }
        _ => frame(
            [Kind::Ping, Kind::Bye, Kind::Handover][input.below(3)],
            reign,
            &[],
        ),
    })
}

/// One connection, as the standby has it.
struct Session {
    receiver: Receiver,
    durable: Super,
    /// The newest mark of this session.
    mark: Option<Mark>,
    /// What was stored since BEGIN, in the order of each lane, and is not retired.
    live: Vec<Header>,
    next: Vec<u64>,
}

struct Standby<'a> {
    image: &'a mut Image,
    durable: Option<Super>,
    session: Option<Session>,
    /// What the last session left of a copy that is complete.
    kept: Option<Session>,
    /// The owner was told that these are safe here.
    promised: BTreeMap<u16, u64>,
    forged: bool,
}

impl<'a> Standby<'a> {
    fn new(image: &'a mut Image) -> Standby<'a> {
        Standby {
            image,
            durable: None,
            session: None,
            kept: None,
            promised: BTreeMap::new(),
            forged: false,
        }
    }

    fn write_super(&mut self, new: Super) {
        let slot = (new.counter % 2) as usize;
        self.image.store(superblock_offset(slot), &new.seal(crc));
        self.durable = Some(new);
    }

    fn write_mark(&mut self, mark: &Mark) {
        let key = Key::new(crc, &self.durable.unwrap().uuid);
        let slot = (mark.counter % 2) as usize;
        self.image.store(mark_offset(slot), &mark.seal(crc, key));
    }

    fn complete(&self) -> bool {
        self.durable.is_some_and(|s| s.copy == Copy_::Complete)
    }

    /// Up to which sequence it has said that it has everything.
    fn has(&self, owner: &Owner) -> Seq {
        let promised = |lane| self.promised.get(&lane).copied().unwrap_or(0);
        let missing = owner.live().filter(|h| h.lane_seq >= promised(h.lane));
        missing.map(|h| h.seq.prev()).min().unwrap_or(Seq::MAX)
    }

    /// Whether it has stored in this session all that the owner has.
    fn mirrors(&self, owner: &Owner) -> bool {
        self.session.as_ref().is_some_and(|s| {
            (0..owner.lanes()).all(|l| s.next.get(usize::from(l)) >= Some(&owner.head(l)))
        })
    }

    /// The session ends.
    fn end_session(&mut self) {
        if let Some(s) = self.session.take() {
            self.kept = Some(s).filter(|s| s.durable.copy == Copy_::Complete);
        }
    }

    /// Where a lane of its complete copy ends, as it says in WELCOME; 0 if it is not complete.
    fn end(&self, lane: u16) -> u64 {
        let session = self.session.as_ref();
        session.map_or(0, |s| s.receiver.ack().at(lane))
    }

    /// HELLO. Answers whether it was welcome.
    fn greet(&mut self, bytes: &[u8]) -> bool {
        tally::one("frames");
        self.end_session();
        let Some((head, payload)) = receive(bytes) else {
            return false;
        };
        let Some(hello) = payload.try_into().ok().and_then(|b| Hello::open(b).ok()) else {
            assert!(self.forged, "an honest HELLO is refused");
            return false;
        };
        assert_eq!(head.kind, Kind::Hello);
        let here = Here {
            region: self.image.size(),
            members: 1,
            record: false,
            node: 2,
        };
        let was = self.durable;
        match answer(was.as_ref(), &here, &hello) {
            Answer::Welcome {
                durable, trusted, ..
            } => {
                let known = was.map_or(Generation(0), |s| s.generation);
                assert!(durable.generation >= known, "a generation goes down");
                assert!(durable.geometry.bytes() <= self.image.size());
                assert!(!trusted || was.is_some_and(|s| s.copy == Copy_::Complete));
                if !trusted {
                    self.promised.clear();
                }
                self.write_super(durable);
                let key = Key::new(crc, &durable.uuid);
                let (g, reign) = (durable.geometry, durable.generation);
                let kept = self.kept.take().filter(|_| trusted);
                let kept = kept.and_then(|mut s| s.receiver.again(key, g, reign).then_some(s));
                assert!(
                    !trusted || kept.is_some(),
                    "nobody has brought it up to date"
                );
                let (receiver, live) = match kept {
                    Some(s) => (s.receiver, s.live),
                    None => (Receiver::new(key, g, reign), vec![]),
                };
                self.session = Some(Session {
                    next: receiver.ack().stored.to_vec(),
                    receiver,
                    durable,
                    mark: None,
                    live,
                });
                true
            }
            Answer::Refuse(refusal) => {
                assert!(self.forged, "an honest HELLO is refused: {refusal:?}");
                let sealed = frame(Kind::Refuse, refusal.generation, &refusal.seal());
                let (_, payload) = receive(&sealed).unwrap();
                let payload: &[u8; REFUSAL_BYTES] = payload.try_into().unwrap();
                assert_eq!(Refusal::open(payload), Ok(refusal));
                if let Some(mine) = was {
                    refused(&mine, &refusal);
                }
                false
            }
        }
    }

    /// One frame, or what is left of it. Answers whether the connection goes on.
    fn hear(&mut self, bytes: &[u8]) -> bool {
        tally::one("frames");
        let Some((head, payload)) = receive(bytes) else {
            self.end_session();
            return false;
        };
        let open = self.take(head, payload).is_some();
        if open {
            self.acknowledge();
        } else {
            self.end_session();
        }
        open
    }

    fn take(&mut self, head: Frame, payload: &[u8]) -> Option<()> {
        let session = self.session.as_mut()?;
        if head.generation != session.durable.generation {
            return None;
        }
        match head.kind {
            Kind::Begin => {
                let mark = session
                    .receiver
                    .begin(crc, payload.try_into().unwrap())
                    .ok()?;
                assert!(session.mark.is_none(), "a session begins twice");
                let ends = session.receiver.ack();
                for (lane, t) in mark.tails.iter().take(ends.lanes.into()).enumerate() {
                    let end = ends.stored[lane];
                    assert!(end >= t.lane_seq && (end == t.lane_seq || session.has(lane, end - 1)));
                }
                session.next = ends.stored.to_vec();
                session
                    .live
                    .retain(|h| h.lane_seq >= mark.tail(h.lane).lane_seq);
                session.mark = Some(mark);
                if session.durable.copy != Copy_::Complete {
                    self.image.store(MARK_OFFSET, &[0; 2 * SLOT_BYTES as usize]);
                }
                self.write_mark(&mark);
            }
            Kind::Records => {
                let mut left = Records::new(head.records, payload).expect("a frame is long enough");
                while let Some((head, mine, place)) =
                    session.receiver.next_of(crc, &mut left).ok()?
                {
                    let h = Header::open(crc, Key::new(crc, &session.durable.uuid), head).unwrap();
                    session.has_room(&h, place.data_at);
                    // Stored before it is known to be right.
                    let mut sum = 0;
                    if !mine.is_empty() {
                        self.image.store(place.data_at, mine);
                        sum = crc(session.receiver.seed(), mine);
                    }
                    let store = place.verified(sum).ok()?;
                    session.has_slot(&h, store.header_at);
                    session.live.push(h);
                    session.next[usize::from(h.lane)] = h.lane_seq + 1;
                    session.receiver.stored(store);
                    self.image.store(store.header_at, head);
                }
            }
            Kind::Mark => {
                let mark = session
                    .receiver
                    .mark(crc, payload.try_into().unwrap())
                    .ok()?;
                let old = session.mark.replace(mark).expect("a mark before BEGIN");
                assert!(mark.counter > old.counter && mark.retired >= old.retired);
                session
                    .live
                    .retain(|h| h.lane_seq >= mark.tail(h.lane).lane_seq);
                self.write_mark(&mark);
            }
            Kind::Synced => {
                if session.receiver.synced().is_err() {
                    return None;
                }
                assert!(session.mark.is_some(), "complete without a log");
                session.durable.copy = Copy_::Complete;
                let mine = self.durable.unwrap();
                if mine.copy != Copy_::Complete {
                    self.write_super(Super {
                        counter: mine.counter + 1,
                        copy: Copy_::Complete,
                        ..mine
                    });
                }
            }
            Kind::Ping => {}
            _ => return None,
        }
        Some(())
    }

    /// Says what is stored, no more.
    fn acknowledge(&mut self) {
        let Some(session) = self.session.as_ref() else {
            return;
        };
        let mut bytes = [0; ACK_BYTES];
        let ack = session.receiver.ack();
        let sealed = frame(Kind::Ack, session.durable.generation, ack.seal(&mut bytes));
        let (_, payload) = receive(&sealed).expect("an honest ACK is refused");
        let lanes = session.durable.geometry.lanes();
        let heard = Ack::open(payload, lanes).unwrap();
        let heard = (heard.mark, &heard.stored[..usize::from(lanes)]);
        assert_eq!(heard, (ack.mark, &ack.stored[..usize::from(lanes)]));
        assert_eq!(ack.mark, session.mark.map_or(0, |m| m.counter));
        for lane in 0..lanes {
            let stored = session.next.get(usize::from(lane)).copied().unwrap_or(0);
            assert_eq!(
                ack.stored[usize::from(lane)],
                stored,
                "acknowledged, not stored"
            );
            if self.complete() {
                let promised = self.promised.entry(lane).or_default();
                *promised = stored.max(*promised);
            }
        }
    }

    /// Somebody takes over: what was promised is there, and nothing else than what the owner wrote.
    fn check(&self, owner: &Owner, reader: &mut Reader) {
        let outcome = reader.read(self.image);
        assert_eq!(outcome, reader.read(self.image), "read twice");
        let complete = self.durable.is_some_and(|s| s.copy == Copy_::Complete);
        if self.forged {
            return;
        }
        match outcome {
            Outcome::Read(log) => {
                assert!(log.sup.name == name() && log.sup.uuid == UUID);
                for h in &log.found {
                    assert_eq!(
                        owner.records.get(&(h.lane, h.lane_seq)),
                        Some(h),
                        "old bytes speak"
                    );
                    let at = log.sup.geometry.data_offset(h.lane, h.data_pos);
                    assert!(self.image.get(at, h.data_bytes() as usize) == data_of(h));
                }
                for (lane, to) in self.promised.iter().filter(|_| complete) {
                    for at in log.mark.tail(*lane).lane_seq..*to {
                        let there = log
                            .found
                            .iter()
                            .any(|h| h.lane == *lane && h.lane_seq == at);
                        assert!(there, "lane {lane}: {at} was acknowledged and is lost");
                    }
                }
            }
            outcome => assert!(!complete, "a complete mirror is refused: {outcome:?}"),
        }
    }
}

impl Session {
    /// Whether the record at this position is here.
    fn has(&self, lane: usize, lane_seq: u64) -> bool {
        self.live
            .iter()
            .any(|h| usize::from(h.lane) == lane && h.lane_seq == lane_seq)
    }

    /// The record's data goes where its lane's is, over nothing that is live. Counted by hand.
    fn has_room(&self, h: &Header, data_at: u64) {
        let g: Geometry = self.durable.geometry;
        let mark = self.mark.as_ref().expect("a record before BEGIN");
        assert!(h.lane < g.lanes() && h.generation <= self.durable.generation);
        let ring = u64::from(g.lane_records()) * HEADER_BYTES;
        let rings = u64::from(g.lanes()) * ring.div_ceil(4096) * 4096;
        let room = LANES_OFFSET + rings + u64::from(h.lane) * g.lane_data();
        let bytes = u64::from(h.data_bytes());
        assert!(data_at >= room && data_at + bytes <= room + g.lane_data());
        assert!(h.lane_seq - mark.tail(h.lane).lane_seq < u64::from(g.lane_records()));
        for l in self.live.iter().filter(|l| l.lane == h.lane) {
            let at = g.data_offset(l.lane, l.data_pos);
            let end = at + u64::from(l.data_bytes());
            assert!(
                end <= data_at || data_at + bytes <= at || bytes == 0,
                "over the data of {l:?}"
            );
        }
    }

    /// The same of its header.
    fn has_slot(&self, h: &Header, header_at: u64) {
        let g: Geometry = self.durable.geometry;
        let ring = u64::from(g.lane_records()) * HEADER_BYTES;
        let ring_at = LANES_OFFSET + u64::from(h.lane) * ring.div_ceil(4096) * 4096;
        assert!(header_at >= ring_at && header_at + HEADER_BYTES <= ring_at + ring);
        assert_eq!((header_at - ring_at) % HEADER_BYTES, 0);
        for l in self.live.iter().filter(|l| l.lane == h.lane) {
            assert!(
                g.header_offset(l.lane, l.lane_seq) != header_at,
                "over the header of {l:?}"
            );
        }
    }
}

/// What the driver's `Inbox` does with the bytes of a connection. `None`: it is closed.
fn receive(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<FRAME_BYTES>()?;
    let frame = Frame::open(head).ok()?;
    assert!(frame.len <= MAX_FRAME_PAYLOAD);
    let body = rest.get(..frame.len as usize)?;
    let covered = if frame.kind == Kind::Records {
        &[]
    } else {
        body
    };
    Frame::verify(crc, head, covered).ok()?;
    match frame.kind {
        // Of these the driver takes the length for granted.
        Kind::Begin | Kind::Mark => assert_eq!(body.len(), MARK_BYTES),
        Kind::Refuse => {
            let body: &[u8; REFUSAL_BYTES] = body.try_into().unwrap();
            if let Ok(refusal) = Refusal::open(body) {
                assert!(!Reason::as_str(refusal.reason).is_empty());
            }
        }
        Kind::Ack => {
            for lanes in [0, 1, 2, 32, 33, u16::MAX] {
                if let Ok(ack) = Ack::open(body, lanes) {
                    assert_eq!(ack.bytes(), body.len());
                }
            }
        }
        _ => {}
    }
    Some((frame, body))
}
