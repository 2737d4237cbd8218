// SPDX-License-Identifier: GPL-2.0

//! Formats: round trips, refusals, and byte maps that must not change unnoticed.

mod common;

use common::{crc, geometry, header, hex, key, superblock, UUID};
use core_crate::{
    format::{
        newest, Copy_, Header, HeaderError, Key, Mark, MarkError, Missing, NodeKey, Role, SetName,
        Super, SuperError, Tail, MARK_BYTES, RECORD_HEADER_BYTES, SUPER_BYTES,
    },
    layout::Geometry,
    limits,
    units::{Extent, Generation, Op, Seq},
    wire::{
        Ack, Frame, FrameError, Hello, Kind, Outgoing, Reason, Refusal, Turn, ACK_BYTES,
        FRAME_BYTES, HELLO_BYTES, REFUSAL_BYTES,
    },
};
use proptest::prelude::*;

fn mark() -> Mark {
    let mut m = Mark::first(Generation(3), 2);
    m.counter = 0x1234;
    m.retired = Seq(100);
    m.shipped = Seq(110);
    m.acked = Seq(120);
    m.tails[0] = Tail {
        lane_seq: 50,
        data_pos: 0x10000,
        floor: 60,
    };
    m.tails[1] = Tail {
        lane_seq: 51,
        data_pos: 0x11000,
        floor: 61,
    };
    m
}

fn hello() -> Hello {
    Hello {
        uuid: UUID,
        name: SetName::new("pair").unwrap(),
        generation: Generation(3),
        reign: Generation(4),
        role: Role::Owner,
        copy: Copy_::Complete,
        blank: false,
        geometry: geometry(),
        members: 2,
        node: 0x0102_0304,
        record: true,
        missing: Missing::new(Seq(5), Seq(9)),
    }
}

fn frame(kind: Kind, len: usize) -> Frame {
    Frame {
        kind,
        flag: true,
        generation: Generation(3),
        records: u16::from(kind == Kind::Records),
        len: len as u32,
        number: 0x0102_0304_0506_0708,
        heard: 0x1112_1314,
    }
}

fn flipped<const N: usize>(bytes: &[u8; N], bit: usize) -> [u8; N] {
    let mut b = *bytes;
    b[bit / 8] ^= 1 << (bit % 8);
    b
}

#[test]
fn sizes() {
    assert_eq!(SUPER_BYTES, 152);
    assert_eq!(MARK_BYTES, 832);
    assert_eq!(RECORD_HEADER_BYTES, 64);
    assert_eq!(FRAME_BYTES, 32);
    assert_eq!(HELLO_BYTES, 136);
    assert_eq!(REFUSAL_BYTES, 8);
    assert_eq!(ACK_BYTES, 264);
}

#[test]
fn the_checksum_is_raw() {
    assert_eq!(!crc(!0, b"123456789"), 0xe306_9283);
    assert_eq!(crc(crc(7, b"1234"), b"56789"), crc(7, b"123456789"));
    assert_eq!(crc(0, &[0; 60]), 0);
}

#[test]
fn super_golden() {
    assert_eq!(hex(&superblock(geometry()).seal(crc)), SUPER_HEX);
}

#[test]
fn mark_golden() {
    assert_eq!(hex(&mark().seal(crc, key())[..128]), MARK_HEX);
    assert!(mark().seal(crc, key())[128..].iter().all(|b| *b == 0));
}

#[test]
fn header_golden() {
    assert_eq!(hex(&header().seal(crc, key())), HEADER_HEX);
    let cancel = Header {
        op: Op::Cancel,
        extent: Extent::default(),
        cancels: Seq(0x0102_0304_0501),
        data_crc: 0,
        ..header()
    };
    assert_eq!(hex(&cancel.seal(crc, key())), CANCEL_HEX);
}

#[test]
fn wire_golden() {
    let payload = hello().seal();
    assert_eq!(hex(&payload), HELLO_HEX);
    let head = frame(Kind::Hello, HELLO_BYTES).seal(crc, &payload);
    assert_eq!(hex(&head), FRAME_HEX);
    let refusal = Refusal {
        reason: Reason::TwoOwners,
        generation: Generation(0x0102_0304),
    };
    assert_eq!(hex(&refusal.seal()), "0300000004030201");
    let mut stored = [0; limits::MAX_LANES];
    stored[..2].copy_from_slice(&[0x0102, 0x0304]);
    let ack = Ack {
        mark: 5,
        lanes: 2,
        stored,
    };
    let mut to = [0; ACK_BYTES];
    assert_eq!(
        hex(ack.seal(&mut to)),
        "050000000000000002010000000000000403000000000000"
    );
}

#[test]
fn codes_golden() {
    let ops = [Op::Write, Op::Zero, Op::Cancel];
    assert_eq!(ops.map(|o| o as u8), [1, 2, 3]);
    for code in 0..=255u8 {
        assert_eq!(
            Op::from_code(code).is_some(),
            (1..=3).contains(&code),
            "{code}"
        );
    }
    use Kind::{
        Ack, Begin, Bye, Complete, Handover, Hello, Mark, Ping, Records, Refuse, Synced, Welcome,
    };
    let kinds = [
        Hello, Welcome, Refuse, Begin, Records, Mark, Ack, Synced, Complete, Ping, Bye, Handover,
    ];
    for (i, k) in kinds.into_iter().enumerate() {
        assert_eq!(k as usize, i + 1);
    }
    let reasons = [
        Reason::OtherSet,
        Reason::Outdated,
        Reason::TwoOwners,
        Reason::Geometry,
        Reason::Busy,
        Reason::Failed,
        Reason::NotOwner,
        Reason::Fenced,
        Reason::SameNode,
        Reason::Record,
    ];
    for (i, r) in reasons.into_iter().enumerate() {
        assert_eq!(r as usize, i + 1);
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let s = superblock(geometry()).seal(crc);
    for bit in 0..s.len() * 8 {
        assert!(Super::open(crc, &flipped(&s, bit)).is_err(), "bit {bit}");
    }
    let m = mark().seal(crc, key());
    for bit in 0..m.len() * 8 {
        assert!(
            Mark::open(crc, key(), &flipped(&m, bit)).is_err(),
            "bit {bit}"
        );
    }
    let h = header().seal(crc, key());
    for bit in 0..h.len() * 8 {
        assert!(
            Header::open(crc, key(), &flipped(&h, bit)).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn frames_come_in_turn() {
    let sent: Vec<Frame> = {
        let mut out = Outgoing::default();
        (0..4)
            .map(|_| out.control(Kind::Ping, false, Generation(3), 0))
            .collect()
    };
    // What arrives, and how many of it are taken: none behind the first that is not the next one.
    for (arrives, taken) in [
        (&[0, 1, 2, 3][..], 4),
        (&[0, 2, 3], 1),
        (&[1, 2], 0),
        (&[0, 1, 1, 2], 2),
        (&[0, 2, 1, 3], 1),
        (&[0, 0], 1),
    ] {
        let mut turn = Turn::default();
        let frames = arrives.iter().map(|i: &usize| &sent[*i]);
        let n = frames.take_while(|f| turn.check(f).is_ok()).count();
        assert_eq!(n, taken, "{arrives:?}");
        let (number, due) = (taken as u64 + 7, taken as u64);
        let wrong = Frame { number, ..sent[0] };
        assert_eq!(turn.check(&wrong), Err(FrameError::Turn { number, due }));
    }
}

#[test]
fn every_flipped_bit_of_a_frame_is_refused() {
    let payload = hello().seal();
    let mut words = [0; ACK_BYTES];
    let ack = Ack {
        mark: 9,
        lanes: 2,
        stored: [3; limits::MAX_LANES],
    };
    let cases: Vec<(Kind, Vec<u8>)> = vec![
        (Kind::Hello, payload.to_vec()),
        (Kind::Begin, mark().seal(crc, key()).to_vec()),
        (Kind::Mark, mark().seal(crc, key()).to_vec()),
        (Kind::Ack, ack.seal(&mut words).to_vec()),
        (Kind::Welcome, ack.seal(&mut words).to_vec()),
        (Kind::Refuse, vec![1, 0, 0, 0, 9, 0, 0, 0]),
        (Kind::Records, vec![0x5a; 64 + 512]),
        (Kind::Synced, vec![]),
        (Kind::Complete, vec![]),
        (Kind::Ping, vec![]),
        (Kind::Bye, vec![]),
        (Kind::Handover, vec![]),
    ];
    for (kind, payload) in cases {
        let f = frame(kind, payload.len());
        let head = f.seal(crc, &payload);
        assert_eq!(Frame::open(&head), Ok(f));
        assert_eq!(Frame::verify(crc, &head, &payload), Ok(()));
        for bit in 0..head.len() * 8 {
            assert!(
                Frame::verify(crc, &flipped(&head, bit), &payload).is_err(),
                "{kind:?} bit {bit}"
            );
        }
        if kind != Kind::Records {
            for bit in 0..payload.len() * 8 {
                let mut p = payload.clone();
                p[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    Frame::verify(crc, &head, &p),
                    Err(FrameError::Checksum),
                    "{kind:?} payload bit {bit}"
                );
            }
        }
    }
}

#[test]
fn another_sets_key_is_refused() {
    let mut uuid = UUID;
    uuid[15] ^= 1;
    let other = Key::new(crc, &uuid);
    assert_eq!(
        Mark::open(crc, other, &mark().seal(crc, key())),
        Err(MarkError::Damaged)
    );
    assert_eq!(
        Header::open(crc, other, &header().seal(crc, key())),
        Err(HeaderError::Checksum)
    );
}

#[test]
fn other_versions_are_refused() {
    for version in [0u32, 1, 5, u32::MAX] {
        let mut s = superblock(geometry()).seal(crc);
        s[8..12].copy_from_slice(&version.to_le_bytes());
        let sum = crc(!0, &s[16..]);
        s[12..16].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Super::open(crc, &s), Err(SuperError::Version(version)));
        let mut m = mark().seal(crc, key());
        m[8..12].copy_from_slice(&version.to_le_bytes());
        assert_eq!(Mark::open(crc, key(), &m), Err(MarkError::Damaged));
        let mut h = hello().seal();
        h[..4].copy_from_slice(&version.to_le_bytes());
        assert_eq!(Hello::open(&h), Err(FrameError::Field));
    }
}

#[test]
fn blank_and_foreign() {
    assert_eq!(Super::open(crc, &[0; SUPER_BYTES]), Err(SuperError::Blank));
    let mut claim = [0; SUPER_BYTES];
    claim[..8].copy_from_slice(b"rcopynew");
    assert_eq!(Super::open(crc, &claim), Err(SuperError::Claimed));
    claim[SUPER_BYTES - 1] = 1;
    assert_eq!(Super::open(crc, &claim), Err(SuperError::Foreign));
    assert_eq!(
        Super::open(crc, &[0xff; SUPER_BYTES]),
        Err(SuperError::Foreign)
    );
    assert_eq!(
        Mark::open(crc, key(), &[0; MARK_BYTES]),
        Err(MarkError::Blank)
    );
    // A set whose key is 0 exists once in 2^32 sets: zeroes must not verify there either.
    assert!(Header::open(crc, Key(0), &[0; RECORD_HEADER_BYTES]).is_err());
}

#[test]
fn missing_ranges() {
    let range = |a, b| Missing::new(Seq(a), Seq(b));
    assert_eq!(range(0, 5), None);
    assert_eq!(range(6, 5), None);
    assert_eq!(range(5, 5).map(|m| m.to_string()), Some("5-5".into()));
    assert_eq!(
        range(1, u64::MAX).map(|m| m.to_string()),
        Some("1-unknown".into())
    );
    assert_eq!(Missing::from_raw(0, 0), Some(None));
    assert_eq!(Missing::from_raw(0, 1), None);
    assert_eq!(Missing::from_raw(2, 1), None);
    for a in 0..5u64 {
        for b in 0..5 {
            let m = range(a, b);
            let (first, last) = Missing::raw(m);
            assert_eq!(Missing::from_raw(first, last), Some(m));
            let Some(m) = m else { continue };
            assert_eq!(m.and(None), m);
            for (c, d) in [(1, 1), (2, 9), (4, 4)] {
                let both = m.and(range(c, d));
                assert_eq!(
                    (both.first.0, both.last.0),
                    (a.min(c), b.max(d)),
                    "{m} and {c}-{d}"
                );
            }
        }
    }
}

#[test]
fn node_keys() {
    let mine = NodeKey::new(key(), 7, Generation(3));
    let later = mine.in_reign(Generation(4));
    assert_eq!(
        (mine.reign(), later.reign()),
        (Generation(3), Generation(4))
    );
    assert!(mine.same_node(later) && mine.same_set(later));
    assert_eq!(later, NodeKey::new(key(), 7, Generation(4)));
    let theirs = NodeKey::new(key(), 9, Generation(3));
    assert!(mine.same_set(theirs) && !mine.same_node(theirs));
    // 24 bits of the set's key count, and 8 of the node's number.
    let other = NodeKey::new(Key(key().0 ^ 0x100), 7, Generation(3));
    assert!(!mine.same_set(other));
    assert_eq!(NodeKey::new(key(), 7 + 256, Generation(3)), mine);
    assert_ne!(NodeKey::new(Key(0), 0, Generation(0)).0, 0);
    assert_eq!(NodeKey(0x12).to_string(), "0x0000000000000012");
}

/// Fields of a superblock that verify but that no driver writes.
#[test]
fn impossible_fields_are_refused() {
    // Offset, value.
    for (at, value) in [
        (44, 0u8),
        (44, 3),
        (45, 0),
        (45, 3),
        (46, 2),
        (47, 0),
        (47, 64),
        (47, 12),
        (48, 0),
        (48, 33),
        (50, 2),
        (56, 1),
        (64, b'/'),
        // A first sequence that is missing, and no last; node number 0.
        (136, 1),
        (128, 0),
    ] {
        let mut s = superblock(geometry()).seal(crc);
        if at == 128 {
            s[128..132].fill(0);
        }
        s[at] = value;
        let sum = crc(!0, &s[16..]);
        s[12..16].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(
            Super::open(crc, &s),
            Err(SuperError::Damaged),
            "byte {at} = {value}"
        );
    }
    let beyond = (limits::MAX_COUNT + 1).to_le_bytes();
    // Headers. What is changed, and that it is refused although the checksum is right.
    let changes: &[(&str, usize, &[u8])] = &[
        ("seq 0", 8, &[0; 8]),
        ("too many sectors", 40, &513u32.to_le_bytes()),
        ("no sectors", 40, &[0; 4]),
        ("after itself", 44, &[0; 4]),
        ("acked beyond after", 48, &[1, 0, 0, 0]),
        ("member", 56, &[64, 0]),
        ("op 0", 58, &[0]),
        ("op 4", 58, &[4]),
        ("lane", 59, &[32]),
        ("flags", 60, &[1]),
        ("sector overflow", 32, &[0xff; 8]),
        ("a cancel with sectors", 58, &[3]),
        ("a sequence beyond counting", 8, &beyond),
        ("a position beyond counting", 16, &beyond),
        (
            "data beyond counting",
            24,
            &(limits::MAX_COUNT + 512).to_le_bytes(),
        ),
        ("data inside a sector", 24, &256u64.to_le_bytes()),
    ];
    for (what, at, bytes) in changes {
        let mut h = header().seal(crc, key());
        h[*at..*at + bytes.len()].copy_from_slice(bytes);
        let sum = crc(key().0, &h[4..]);
        h[..4].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(
            Header::open(crc, key(), &h),
            Err(HeaderError::Field),
            "{what}"
        );
    }
    let beyond = limits::MAX_COUNT + 1;
    let marks: [fn(&mut Mark, u64); 7] = [
        // A remote that is behind what is retired.
        |m, _| m.retired = Seq(111),
        |m, beyond| m.shipped = Seq(beyond),
        |m, beyond| m.acked = Seq(beyond),
        |m, beyond| m.tails[1].lane_seq = beyond,
        |m, beyond| m.tails[1].floor = beyond,
        |m, beyond| m.tails[1].data_pos = beyond + 511,
        |m, _| m.tails[0].data_pos = 256,
    ];
    for (i, change) in marks.iter().enumerate() {
        let mut m = mark();
        change(&mut m, beyond);
        let opened = Mark::open(crc, key(), &m.seal(crc, key()));
        assert_eq!(opened, Err(MarkError::Damaged), "mark {i}");
    }
}

#[test]
fn names() {
    for good in ["a", "A-b_c.d+e:9", &"x".repeat(63)] {
        let n = SetName::new(good).unwrap();
        assert_eq!(n.as_str(), good);
        let (len, raw) = n.raw();
        assert_eq!(SetName::from_raw(len, &raw), Some(n));
        let mut dirty = raw;
        dirty[63] = b'x';
        assert_eq!(SetName::from_raw(len, &dirty), None);
    }
    for bad in ["", "a b", "a/b", "ü", "a\0", &"x".repeat(64)] {
        assert_eq!(SetName::new(bad), None, "{bad:?}");
    }
}

#[test]
fn the_newest_slot_counts() {
    assert_eq!(newest([Some(3), Some(4)], |c| *c), Some((1, 4)));
    assert_eq!(newest([Some(5), Some(4)], |c| *c), Some((0, 5)));
    assert_eq!(newest([None, Some(4)], |c| *c), Some((1, 4)));
    assert_eq!(newest([Some(3), None], |c| *c), Some((0, 3)));
    assert_eq!(newest::<u64>([None, None], |c| *c), None);
}

/// It would outdate its partner by one number, and have it go back to the other.
#[test]
fn an_owner_announces_no_reign_older_than_its_own() {
    let older = Hello {
        reign: hello().generation.min(Generation(2)),
        ..hello()
    };
    assert_eq!(Hello::open(&older.seal()), Err(FrameError::Field));
    let same = Hello {
        reign: hello().generation,
        ..hello()
    };
    assert_eq!(Hello::open(&same.seal()), Ok(same));
}

#[test]
fn frame_lengths_are_bounded() {
    let lens = |kind, records| -> Vec<u32> {
        (0..=limits::MAX_FRAME_PAYLOAD + 64)
            .chain([u32::MAX, 1 << 31])
            .filter(|len| {
                let f = Frame {
                    kind,
                    flag: false,
                    generation: Generation(1),
                    records,
                    len: *len,
                    number: 0,
                    heard: 0,
                };
                Frame::open(&f.seal(crc, &[])).is_ok()
            })
            .collect()
    };
    assert_eq!(lens(Kind::Hello, 0), [136]);
    assert_eq!(lens(Kind::Refuse, 0), [8]);
    assert_eq!(lens(Kind::Begin, 0), [832]);
    assert_eq!(lens(Kind::Ping, 0), [0]);
    // Each record has a header; how many there are is bounded, and only this kind has any.
    for records in [1, limits::MAX_FRAME_RECORDS] {
        let found = lens(Kind::Records, records);
        let least = 64 * u32::from(records);
        let most = 256 * 1024 + 64 * 64;
        assert_eq!((found.first(), found.last()), (Some(&least), Some(&most)));
    }
    assert_eq!(lens(Kind::Records, 0), [0; 0]);
    assert_eq!(lens(Kind::Records, limits::MAX_FRAME_RECORDS + 1), [0; 0]);
    assert_eq!(lens(Kind::Ping, 1), [0; 0]);
    let ack = lens(Kind::Ack, 0);
    assert_eq!(ack.len(), 32);
    assert!(ack.iter().all(|l| *l as usize <= ACK_BYTES && l % 8 == 0));
}

#[test]
fn an_ack_is_of_what_was_sent() {
    let mut stored = [0; limits::MAX_LANES];
    stored[..2].copy_from_slice(&[7, 9]);
    let ack = Ack {
        mark: 4,
        lanes: 2,
        stored,
    };
    let can_be = |heads: [u64; 2], mark| ack.can_be(heads.into_iter(), mark);
    assert!(can_be([7, 9], 4) && can_be([8, 90], 5));
    // The first mark of a reign is sent before it counts; a second one is not.
    assert!(can_be([7, 9], 3) && !can_be([7, 9], 2));
    assert!(!can_be([6, 9], 4) && !can_be([7, 8], 4) && !can_be([0, 0], u64::MAX));
}

#[test]
fn an_ack_needs_the_right_number_of_lanes() {
    let ack = Ack {
        mark: 1,
        lanes: 32,
        stored: [7; limits::MAX_LANES],
    };
    let mut to = [0; ACK_BYTES];
    let bytes = ack.seal(&mut to).to_vec();
    assert_eq!(bytes.len(), ACK_BYTES);
    assert_eq!(Ack::open(&bytes, 32), Ok(ack));
    for lanes in [0, 1, 31, 33, u16::MAX] {
        assert!(Ack::open(&bytes, lanes).is_err(), "{lanes}");
    }
    for cut in 0..bytes.len() {
        assert!(Ack::open(&bytes[..cut], 32).is_err());
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn any_geometry() -> impl Strategy<Value = Geometry> {
    (1u16..=32, 16u32..2000, 128u64..4096)
        .prop_map(|(l, r, d)| Geometry::new(l, r, d * 4096).expect("within limits"))
}

fn any_missing() -> impl Strategy<Value = Option<Missing>> {
    (any::<u64>(), any::<u64>()).prop_map(|(a, b)| Missing::new(Seq(a.min(b)), Seq(a.max(b))))
}

/// A sequence or a position.
fn count() -> impl Strategy<Value = u64> {
    0..=limits::MAX_COUNT
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn super_round_trip(
        counter: u64, uuid: [u8; 16], name in "[a-zA-Z0-9_.+:-]{1,63}", generation: u32,
        owner: bool, complete: bool, alone: bool, unfenced: bool, geometry in any_geometry(),
        node in 1u32.., missing in any_missing(),
    ) {
        let s = Super {
            counter, uuid, alone, unfenced, geometry, node, missing,
            name: SetName::new(&name).unwrap(),
            generation: Generation(generation),
            role: if owner { Role::Owner } else { Role::Standby },
            copy: if complete { Copy_::Complete } else { Copy_::Incomplete },
        };
        prop_assert_eq!(Super::open(crc, &s.seal(crc)), Ok(s));
        let h = Hello {
            uuid, geometry, name: s.name, generation: s.generation, reign: Generation(generation.max(counter as u32)),
            role: s.role, copy: s.copy, blank: alone, members: counter as u16,
            node, record: unfenced, missing,
        };
        prop_assert_eq!(Hello::open(&h.seal()), Ok(h));
    }

    #[test]
    fn mark_round_trip(
        counter: u64, generation: u32, lanes in 1u16..=32, a in count(), b in count(), acked in count(),
        tails in proptest::collection::vec((count(), count(), count()), 32),
    ) {
        let mut m = Mark::first(Generation(generation), lanes);
        m.counter = counter;
        m.retired = Seq(a.min(b));
        m.shipped = Seq(a.max(b));
        m.acked = Seq(acked);
        for (t, (lane_seq, data_pos, floor)) in m.tails.iter_mut().zip(tails) {
            *t = Tail { lane_seq, data_pos: data_pos & !511, floor };
        }
        prop_assert_eq!(Mark::open(crc, key(), &m.seal(crc, key())), Ok(m));
    }

    #[test]
    fn header_round_trip(
        seq in 1u64..1 << 40, back in 1u64..1000, further in 0u64..1000, lane in 0u16..32,
        lane_seq in count(), data_pos in count(), generation: u32, member in 0u16..64, sector in 0u64..1 << 55,
        sectors in 1u32..=512, op in 1u8..=3, data_crc: u32,
    ) {
        let op = Op::from_code(op).unwrap();
        let data_pos = data_pos & !511;
        let after = seq.saturating_sub(back);
        let acked = after.saturating_sub(further);
        prop_assume!(op != Op::Cancel || seq > 1);
        let cancel = op == Op::Cancel;
        let h = Header {
            seq: Seq(seq), lane, lane_seq, data_pos, generation: Generation(generation), op,
            extent: if cancel {
                Extent { member, sector: 0, sectors: 0 }
            } else {
                Extent { member, sector, sectors }
            },
            cancels: if cancel { Seq(seq - 1) } else { Seq::ZERO },
            after: Seq(after), acked: Seq(acked), data_crc,
        };
        prop_assert_eq!(Header::open(crc, key(), &h.seal(crc, key())), Ok(h));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 832)) {
        let s: [u8; SUPER_BYTES] = bytes[..SUPER_BYTES].try_into().unwrap();
        let _ = Super::open(crc, &s);
        let m: [u8; MARK_BYTES] = bytes[..].try_into().unwrap();
        let _ = Mark::open(crc, key(), &m);
        let h: [u8; HELLO_BYTES] = bytes[..HELLO_BYTES].try_into().unwrap();
        let _ = Hello::open(&h);
        let r: [u8; REFUSAL_BYTES] = bytes[..REFUSAL_BYTES].try_into().unwrap();
        let _ = Refusal::open(&r);
        let f: [u8; FRAME_BYTES] = bytes[..FRAME_BYTES].try_into().unwrap();
        let _ = Frame::open(&f);
        let _ = Ack::open(&bytes[..24], 2);
        // With the checksum made right, every field still passes its own check or is refused.
        let mut d: [u8; RECORD_HEADER_BYTES] = bytes[..RECORD_HEADER_BYTES].try_into().unwrap();
        let sum = crc(key().0, &d[4..]);
        d[..4].copy_from_slice(&sum.to_le_bytes());
        if let Ok(h) = Header::open(crc, key(), &d) {
            prop_assert_eq!(h.seal(crc, key()), d);
        }
    }
}

const SUPER_HEX: &str = "\
    72636f70796c6f6702000000d57ae74e07000000000000001021324354657687\n\
    98a9bacbdcedfe0f030000000101000d02000000100000000000080000000000\n\
    7365742d312e615f622b633a6400000000000000000000000000000000000000\n\
    0000000000000000000000000000000000000000000000000000000000000000\n\
    0d0c0b0a0000000000000000000000000000000000000000";
const MARK_HEX: &str = "\
    72636f70796d726b0200000091b0a5f834120000000000000300000002000000\n\
    64000000000000006e0000000000000078000000000000000000000000000000\n\
    320000000000000000000100000000003c000000000000003300000000000000\n\
    00100100000000003d0000000000000000000000000000000000000000000000";
const HEADER_HEX: &str = "\
    c8b3d2eaefbeadde06050403020100000d0c0b0a000000000000443322110000\n\
    99887766550000000800000006000000070000000a0908070500010100000000";
const CANCEL_HEX: &str = "\
    d99c62830000000006050403020100000d0c0b0a000000000000443322110000\n\
    01050403020100000000000006000000070000000a0908070000030100000000";
const HELLO_HEX: &str = "\
    0400000003000000102132435465768798a9bacbdcedfe0f7061697200000000\n\
    0000000000000000000000000000000000000000000000000000000000000000\n\
    0000000000000000000000000000000000000000000000000401010002000200\n\
    1000000004000000000008000000000004030201010000000500000000000000\n\
    0900000000000000";
const FRAME_HEX: &str = "\
    72634631d27480e4010100008800000003000000141312110807060504030201";
