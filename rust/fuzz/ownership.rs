// SPDX-License-Identifier: GPL-2.0

//! The ownership record's two slots, and what is decided by what stands there.

use crate::{
    crc,
    honest::{name, Owner, UUID},
    input::Input,
    tally,
};
use core_crate::{
    format::{Key, Missing, NodeKey, Role, Super},
    ownership::{
        self, Found, Hold, Kind, Ownership, PartnerLost, Reach, RecordError, Stale, RECORD_BYTES,
    },
    partner::{answer, Answer, Here},
    takeover::{decide, Asked, Source, View},
    units::{Generation, Seq},
    wire::Hello,
};

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut mine = Owner::new(&mut input).sup;
    if input.below(2) == 0 {
        mine.role = Role::Standby;
    }
    let mut stored = vec![];
    let mut slots = [[0; RECORD_BYTES]; 2];
    let mut record = honest_record(&mut input, &mine);
    for _ in 0..input.below(4) {
        slots[record.slot() as usize] = record.seal(crc);
        stored.push(record);
        record = Ownership {
            counter: record.counter + 1,
            ..honest_record(&mut input, &mine)
        };
    }
    let mut forged = false;
    for _ in 0..=input.below(16) {
        tally::one("records");
        let newest = Ownership::newest(crc, [&slots[0], &slots[1]]);
        let found = match newest {
            Ok(Some(r)) => Found::Record(r),
            Ok(None) => Found::Blank,
            Err(_) => Found::Unreadable,
        };
        if let (Ok(Some(r)), false) = (&newest, forged) {
            assert!(stored.contains(r), "a record that was never stored");
        }
        if let (Err(e), true) = (&newest, slots.iter().all(|s| *s == [0; RECORD_BYTES])) {
            panic!("a blank area is refused: {e}");
        }
        if let Err(RecordError::Blank) = newest {
            panic!("blank is no error");
        }
        decisions(&mine, &found, &mut input);
        if input.is_empty() {
            break;
        }
        forged |= damage(&mut slots, &mut input);
    }
}

fn honest_record(input: &mut Input<'_>, mine: &Super) -> Ownership {
    let flags = input.byte();
    let since = Seq(1 + u64::from(input.byte()));
    Ownership {
        counter: 1,
        uuid: if flags & 128 != 0 { [7; 16] } else { UUID },
        name: name(),
        generation: Generation(mine.generation.0 + u32::from(flags & 3) - 1),
        node: mine.node + u32::from(flags >> 2 & 1),
        unfenced: flags & 8 != 0,
        stale: (flags & 16 != 0).then_some(Stale {
            since,
            generation: mine.generation,
            limit: Seq(since.0 + 1000),
        }),
        shipped: Seq(input.byte().into()),
        missing: (flags & 32 != 0)
            .then(|| Missing::new(since, since))
            .flatten(),
    }
}

/// Answers whether it is a forgery.
fn damage(slots: &mut [[u8; RECORD_BYTES]; 2], input: &mut Input<'_>) -> bool {
    let which = input.below(2);
    match input.below(5) {
        0 => slots[which][input.below(RECORD_BYTES)] ^= input.byte(),
        1 => slots[which] = slots[1 - which],
        2 => slots[which] = [0; RECORD_BYTES],
        3 => {
            let from = input.below(RECORD_BYTES) / 8 * 8;
            slots[which][from..].fill(0);
        }
        _ => {
            let slot = &mut slots[which];
            let at = 16 + input.below(RECORD_BYTES - 16) / 8 * 8;
            let word = u64::from_le_bytes(slot[at..at + 8].try_into().unwrap());
            slot[at..at + 8].copy_from_slice(&input.instead_of(word).to_le_bytes());
            let sum = crc(!0, &slot[16..]);
            slot[12..16].copy_from_slice(&sum.to_le_bytes());
            return true;
        }
    }
    false
}

fn hold(input: &mut Input<'_>, mine: &Super) -> Hold {
    let me = NodeKey::new(Key::new(crc, &mine.uuid), mine.node, mine.generation);
    match input.below(5) {
        0 => Hold::Unused,
        1 => Hold::Nobody,
        2 => Hold::Unknown,
        3 => Hold::of(me, Some(me.0 ^ (1 << 32))),
        _ => Hold::of(me, Some(input.instead_of(me.0))),
    }
}

/// Whatever the record says, every decision is made, and no generation goes down.
fn decisions(mine: &Super, found: &Found, input: &mut Input<'_>) {
    let flags = input.byte();
    let hold = hold(input, mine);
    let reach = Reach {
        shipped: Seq(3),
        acked: Seq(5),
        last: Seq(8),
    };
    let record = found.of(&mine.uuid);
    let _ = ownership::start(Some(mine), flags & 1 != 0, found, hold);
    let _ = ownership::watch(mine, found, hold, flags & 2 != 0);
    let _ = ownership::rewrite(mine, found, &reach);
    let _ = ownership::completed(mine, found);
    ownership::may_go_alone(mine, PartnerLost::Continue, flags & 4 != 0, found, hold);
    let later = |g: Generation| {
        assert!(g >= mine.generation, "a generation goes down");
        g
    };
    if let Some(next) = mine.generation.next() {
        if let Ok(d) = ownership::begin(mine, found, next, flags & 8 != 0, &reach) {
            later(d.mine.generation);
            let newest = record.filter(|r| r.node != mine.node).map(|r| r.generation);
            assert!(
                newest.is_none_or(|g| d.mine.generation > g),
                "an older reign begins"
            );
        }
    }
    if let Some(d) = ownership::go_alone(mine, found, &reach, flags & 16 != 0) {
        assert!(later(d.mine.generation) > mine.generation && d.mine.alone);
        assert!(record.is_none_or(|r| d.mine.generation > r.generation));
    }
    let view = View {
        mine: Some(mine),
        fencing: match flags >> 6 {
            0 => ownership::Fencing::None,
            1 => ownership::Fencing::External,
            _ => ownership::Fencing::Reservation(Kind::Holder),
        },
        found,
        owner_alive: flags & 32 != 0,
        asked: Asked::Timeout,
    };
    if let Ok(reign) = decide(&view) {
        let stale = record.is_some_and(|r| r.stale.is_some() && r.node != mine.node);
        assert!(
            !(stale && reign.source == Source::Mirror),
            "a mirror that is out of date is replayed"
        );
        let d = reign.durable(mine, Seq(9), Seq(9), None);
        assert!(later(d.mine.generation) > mine.generation);
        assert!(record.is_none_or(|r| d.mine.generation > r.generation));
    }
    let seen = Seq(9);
    let last = ownership::old_owners_last(found, &mine.uuid, seen);
    let begin = ownership::sequences_behind(last, seen);
    assert!(begin >= seen);
    // There are sequences left to give.
    assert!(begin < Seq(u64::MAX / 2), "sequences begin at {begin}");
    greeted(mine, input);
}

/// A HELLO from anybody.
fn greeted(mine: &Super, input: &mut Input<'_>) {
    let mut partner = *mine;
    partner.node ^= 3;
    partner.generation.0 = partner
        .generation
        .0
        .wrapping_add(u32::from(input.byte() % 3))
        .wrapping_sub(1);
    let honest = Hello::of_owner(
        &partner,
        Generation(partner.generation.0.saturating_add(1)),
        1,
        false,
    );
    let mut bytes = honest.seal();
    for _ in 0..input.below(3) {
        let at = input.below(bytes.len());
        bytes[at] = input.instead_of(bytes[at].into()) as u8;
    }
    let Ok(hello) = Hello::open(&bytes) else {
        return;
    };
    assert_eq!(Hello::open(&hello.seal()), Ok(hello));
    let here = Here {
        region: mine.geometry.bytes(),
        members: 1,
        record: false,
        node: 2,
    };
    for known in [Some(mine), None] {
        if let Answer::Welcome {
            durable,
            trusted,
            step_down,
        } = answer(known, &here, &hello)
        {
            let was = known.map_or(Generation(0), |m| m.generation);
            assert!(
                durable.generation >= was,
                "welcomed back from {was} to {}",
                durable.generation
            );
            assert!(durable.geometry.bytes() <= here.region);
            assert!(durable.node != 0 && (durable.node ^ hello.node) & 0xff != 0);
            assert!(!trusted || known.is_some_and(|m| m.role == Role::Standby));
            assert!(
                !step_down || durable.generation > was,
                "steps down for nobody newer"
            );
            assert!(durable.role == Role::Standby && !durable.alone);
        }
    }
}
