// SPDX-License-Identifier: GPL-2.0

//! Where both partners read who owns the set: reservations on the shared units, and the *ownership
//! record*, a few bytes on a device that both reach. Formats and decisions.
//!
//! Neither is needed for a set that waits for its partner and has its nodes powered off by somebody
//! else. With both, a node can take over, or go on alone, without asking anybody:
//!
//! - Only the holder of the reservations can write to the units, and to the record. So whoever has
//!   taken them over reads a record that nobody can change behind its back.
//! - Before an owner acknowledges a write that its partner has not, the record says that the partner's
//!   mirror is out of date (rule 8). Whoever takes over reads it behind the fence and before it touches
//!   its mirror.

use crate::{
    format::{countable, flag, tail_crc, Copy_, Crc, Missing, NodeKey, Role, SetName, Super},
    plant::{planted, Plant},
    units::{Generation, Seq},
};
use core::fmt;
use zerocopy::{
    little_endian::{U32, U64},
    IntoBytes,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of an ownership record: "rcopyown".
pub const RECORD_MAGIC: [u8; 8] = *b"rcopyown";
/// Version of the record. One that is not this is refused.
pub const RECORD_VERSION: u32 = 1;
/// Bytes of one slot. The record stands at the beginning of it, the rest is zero.
pub const RECORD_SLOT: u64 = 4096;
/// Bytes of the whole area: two slots, written one after the other with a flush between.
pub const RECORD_AREA: u64 = 2 * RECORD_SLOT;
/// So many sequences more may be given before the record has to be written again: what a write alone
/// may cost is one such write in a million.
pub const LIMIT_STEP: u64 = if cfg!(feature = "plant") { 2 } else { 1 << 20 };
/// By how much sequences jump when nobody knows how far the old owner went.
const UNKNOWN_JUMP: u64 = if cfg!(feature = "plant") { 8 } else { 1 << 40 };

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawRecord {
    magic: [u8; 8],
    version: U32,
    /// Raw CRC32C of everything behind this field, to the end of the structure, seeded with !0.
    crc: U32,
    /// Counts writes. Slot = counter % 2; the larger one that verifies is valid.
    counter: U64,
    uuid: [u8; 16],
    name: [u8; 64],
    generation: U32,
    /// The node number of the owner.
    node: U32,
    name_len: u8,
    unfenced: u8,
    /// 1: the other node's mirror is out of date; the three fields that follow say more.
    stale: u8,
    pad: [u8; 5],
    stale_since: U64,
    stale_limit: U64,
    stale_generation: U32,
    pad2: U32,
    shipped: U64,
    missing_first: U64,
    missing_last: U64,
}

/// Bytes of a sealed record.
pub const RECORD_BYTES: usize = size_of::<RawRecord>();
const _: () = assert!(RECORD_BYTES == 168);

/// The mirror of the owner's partner is out of date.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Stale {
    /// The first sequence that it may miss.
    pub since: Seq,
    /// The reign in which it fell behind.
    pub generation: Generation,
    /// The owner gives no sequence behind this one before it has written the record again.
    pub limit: Seq,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "out of date since sequence {}, generation {}",
            self.since, self.generation
        )
    }
}

/// The ownership record: who owns the set, and what the other node's mirror is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership {
    /// See [`RawRecord::counter`].
    pub counter: u64,
    /// The set.
    pub uuid: [u8; 16],
    /// Its name.
    pub name: SetName,
    /// The newest reign.
    pub generation: Generation,
    /// The node number of its owner.
    pub node: u32,
    /// Whether the reign began without fencing.
    pub unfenced: bool,
    /// Whether the other node's mirror is out of date.
    pub stale: Option<Stale>,
    /// How far the remote was, at least, when this was written.
    pub shipped: Seq,
    /// What the remote misses, if it is out of step.
    pub missing: Option<Missing>,
}

/// Why a slot is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// All zero.
    Blank,
    /// Something else is there.
    Foreign,
    /// It was a record; the checksum or a field is wrong.
    Damaged,
    /// A version that this driver does not know.
    Version(u32),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Blank => f.write_str("it is blank"),
            RecordError::Foreign => f.write_str(
                "something else stands there; give a device (or metadata_offset) whose 8192 bytes are \
                 free, and zero them",
            ),
            RecordError::Damaged => f.write_str("the ownership record is damaged in both places"),
            RecordError::Version(v) => write!(
                f,
                "the ownership record has version {v}, this module knows {RECORD_VERSION}"
            ),
        }
    }
}

impl Ownership {
    /// The bytes of this record.
    pub fn seal(&self, crc: Crc) -> [u8; RECORD_BYTES] {
        let (name_len, name) = self.name.raw();
        let (missing_first, missing_last) = Missing::raw(self.missing);
        let stale = self.stale.unwrap_or(Stale {
            since: Seq::ZERO,
            generation: Generation(0),
            limit: Seq::ZERO,
        });
        let mut raw = RawRecord {
            magic: RECORD_MAGIC,
            version: U32::new(RECORD_VERSION),
            crc: U32::new(0),
            counter: U64::new(self.counter),
            uuid: self.uuid,
            name,
            generation: U32::new(self.generation.0),
            node: U32::new(self.node),
            name_len,
            unfenced: u8::from(self.unfenced),
            stale: u8::from(self.stale.is_some()),
            pad: [0; 5],
            stale_since: U64::new(stale.since.0),
            stale_limit: U64::new(stale.limit.0),
            stale_generation: U32::new(stale.generation.0),
            pad2: U32::new(0),
            shipped: U64::new(self.shipped.0),
            missing_first: U64::new(missing_first),
            missing_last: U64::new(missing_last),
        };
        raw.crc = U32::new(tail_crc(crc, !0, raw.as_bytes(), 16));
        zerocopy::transmute!(raw)
    }

    /// Reads a slot.
    pub fn open(crc: Crc, bytes: &[u8; RECORD_BYTES]) -> Result<Ownership, RecordError> {
        if bytes.iter().all(|b| *b == 0) {
            return Err(RecordError::Blank);
        }
        let raw: RawRecord = zerocopy::transmute!(*bytes);
        if raw.magic != RECORD_MAGIC {
            return Err(RecordError::Foreign);
        }
        if raw.version.get() != RECORD_VERSION {
            return Err(RecordError::Version(raw.version.get()));
        }
        if raw.crc.get() != tail_crc(crc, !0, bytes, 16) {
            return Err(RecordError::Damaged);
        }
        let damaged = RecordError::Damaged;
        let counts = [&raw.stale_since, &raw.stale_limit, &raw.shipped];
        if !counts.into_iter().all(|n| countable(n.get())) {
            return Err(damaged);
        }
        Ok(Ownership {
            counter: raw.counter.get(),
            uuid: raw.uuid,
            name: SetName::from_raw(raw.name_len, &raw.name).ok_or(damaged)?,
            generation: Generation(raw.generation.get()),
            node: Some(raw.node.get()).filter(|n| *n != 0).ok_or(damaged)?,
            unfenced: flag(raw.unfenced).ok_or(damaged)?,
            stale: flag(raw.stale).ok_or(damaged)?.then_some(Stale {
                since: Seq(raw.stale_since.get()),
                generation: Generation(raw.stale_generation.get()),
                limit: Seq(raw.stale_limit.get()),
            }),
            shipped: Seq(raw.shipped.get()),
            missing: Missing::from_raw(raw.missing_first.get(), raw.missing_last.get())
                .ok_or(damaged)?,
        })
    }

    /// Reads both slots: the newest that is whole. `None`: the area was never used.
    ///
    /// A record is written to both slots before anybody goes by it, so that damage to one of them lets
    /// no older one speak.
    ///
    /// # Errors
    ///
    /// No slot is whole and one is not blank: that one's error.
    pub fn newest(
        crc: Crc,
        slots: [&[u8; RECORD_BYTES]; 2],
    ) -> Result<Option<Ownership>, RecordError> {
        match slots.map(|s| Ownership::open(crc, s)) {
            [Ok(a), Ok(b)] => Ok(Some(if a.counter > b.counter { a } else { b })),
            [Ok(one), Err(_)] | [Err(_), Ok(one)] => Ok(Some(one)),
            [Err(RecordError::Blank), Err(RecordError::Blank)] => Ok(None),
            [Err(RecordError::Blank), Err(e)] | [Err(e), Err(_)] => Err(e),
        }
    }

    /// In which slot it stands.
    pub fn slot(&self) -> u64 {
        self.counter % 2
    }

    /// With the counter that follows: it goes into the slot with the older copy first.
    fn next(self) -> Ownership {
        Ownership {
            counter: self.counter.saturating_add(1),
            ..self
        }
    }
}

/// What was found where the ownership record should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// The table line names no place for it.
    Unused,
    /// It was never written.
    Blank,
    /// It is there.
    Record(Ownership),
    /// The device does not answer, or what stands there is damaged or something else.
    Unreadable,
}

impl Found {
    /// The record, if it is this set's.
    pub fn of(&self, uuid: &[u8; 16]) -> Option<&Ownership> {
        match self {
            Found::Record(r) if r.uuid == *uuid => Some(r),
            _ => None,
        }
    }
}

/// What a node does when its partner is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PartnerLost {
    /// Writes wait until it is back, or an administrator decides.
    #[default]
    Wait,
    /// Writes go on once the ownership record says that the partner's mirror is out of date.
    Continue,
}

/// How the old owner is kept from writing when its partner takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fencing {
    /// It is not.
    #[default]
    None,
    /// Somebody else sees to it, for example a cluster manager that powers nodes off.
    External,
    /// By persistent reservations on the units.
    Reservation(Kind),
}

impl Fencing {
    /// In words, as in the table line.
    pub fn as_str(self) -> &'static str {
        match self {
            Fencing::None => "none",
            Fencing::External => "external",
            Fencing::Reservation(Kind::Holder) => "reservation",
            Fencing::Reservation(Kind::Registrants) => "reservation-registrants",
        }
    }

    /// The kind of reservation, if there is one.
    pub fn kind(self) -> Option<Kind> {
        match self {
            Fencing::Reservation(kind) => Some(kind),
            _ => None,
        }
    }
}

/// A kind of reservation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only the holder writes ("write exclusive"). A node that was preempted can't write even if it
    /// registers again.
    Holder,
    /// Whoever is registered writes ("write exclusive, registrants only"): for SCSI units with several
    /// paths, where the holder would be one path.
    Registrants,
}

/// Who holds a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Reservations are not used.
    Unused,
    /// This node.
    Mine,
    /// The partner, under this key.
    Partner(NodeKey),
    /// Somebody who does not belong to the set.
    Foreign(NodeKey),
    /// Nobody.
    Nobody,
    /// The unit does not say.
    Unknown,
}

impl Hold {
    /// Reads a reservation.
    pub fn of(me: NodeKey, holder: Option<u64>) -> Hold {
        match holder.map(NodeKey) {
            None => Hold::Nobody,
            Some(k) if k.same_node(me) => Hold::Mine,
            Some(k) if k.same_set(me) => Hold::Partner(k),
            Some(k) => Hold::Foreign(k),
        }
    }
}

/// What a node that keeps the mirror still has at a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Nothing that shuts anybody out, or gives it the right to write.
    Nothing,
    /// The reservation, under this key.
    Reservation(NodeKey),
    /// A registration with this key, which alone is the right to write.
    Key(NodeKey),
}

impl Left {
    /// Reads who holds the unit, and what key of this node's is registered there, in whatever reign.
    pub fn of(me: NodeKey, kind: Kind, holder: Option<u64>, registered: Option<u64>) -> Left {
        let mine = |key: Option<u64>| key.map(NodeKey).filter(|k| k.same_node(me));
        match (mine(holder), mine(registered)) {
            (Some(k), _) => Left::Reservation(k),
            (None, Some(k)) if kind == Kind::Registrants => Left::Key(k),
            (None, _) => Left::Nothing,
        }
    }
}

/// Whether a node may give up what a takeover or a handover that failed has left at the units: not if
/// it is the owner, or about to be (`stands_by`: it is neither just now), whatever it once left there.
pub fn may_let_go(mine: Option<&Super>, stands_by: bool) -> bool {
    stands_by && mine.is_none_or(|m| m.role == Role::Standby)
}

/// How much a node may do to make a unit its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Reserve what nobody holds.
    Free,
    /// The partner has agreed to this reign: what an older one holds may be preempted, but not a newer
    /// one, which may have begun while this node slept.
    Agreed(Generation),
    /// A takeover: whatever the partner holds is preempted.
    Takeover,
}

/// How a unit is made this node's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seize {
    /// It is, once this key is registered.
    Held(NodeKey),
    /// Register this key and reserve the unit.
    Reserve(NodeKey),
    /// Register the first key, and preempt the holder of the second.
    Preempt(NodeKey, NodeKey),
    /// It is the partner's, and it has not been decided that this node may take it.
    PartnerHolds(NodeKey),
    /// It belongs to somebody else.
    ForeignHolds(NodeKey),
    /// The unit does not answer.
    Unknown,
}

/// Decides how to seize a unit. `me`: this node's key in its newest reign.
pub fn seize(me: NodeKey, hold: Hold, claim: Claim) -> Seize {
    let key = match claim {
        Claim::Free => me,
        Claim::Agreed(reign) => me.in_reign(reign),
        // Newer than whatever either of both has been.
        Claim::Takeover => {
            let held = match hold {
                Hold::Partner(k) => k.reign(),
                _ => Generation(0),
            };
            let newest = held.max(me.reign());
            me.in_reign(newest.next().unwrap_or(newest))
        }
    };
    match hold {
        Hold::Unused | Hold::Mine => Seize::Held(key),
        Hold::Nobody => Seize::Reserve(key),
        Hold::Partner(k) => match claim {
            Claim::Takeover => Seize::Preempt(key, k),
            Claim::Agreed(reign) if k.reign() < reign || planted(Plant::PreemptBack) => {
                Seize::Preempt(key, k)
            }
            Claim::Agreed(_) | Claim::Free => Seize::PartnerHolds(k),
        },
        Hold::Foreign(k) => Seize::ForeignHolds(k),
        Hold::Unknown => Seize::Unknown,
    }
}

/// What a node does when all of its volumes are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// It keeps the mirror.
    StandBy,
    /// It was the owner, and its partner has taken over: it keeps the mirror from now on and never
    /// replays its own log (rule 7).
    Outdated(Generation),
    /// It was about to take over when it died, and nobody else can have since: it goes on with that.
    Resume,
    /// It asks its partner, which alone may know that it has taken over.
    Ask,
    /// It serves.
    Serve,
}

/// Why a set can't be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartRefused {
    /// The ownership record can't be read.
    Unreadable,
    /// The ownership record is another set's.
    OtherSet(SetName),
    /// Somebody else has reserved a unit.
    Foreign(NodeKey),
}

impl fmt::Display for StartRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartRefused::Unreadable => f.write_str(
                "the ownership record cannot be read, and it alone says whether the partner has taken \
                 over; make its device work",
            ),
            StartRefused::OtherSet(name) => write!(
                f,
                "the ownership record belongs to set '{}' (or to an earlier one of this name); give another \
                 device or metadata_offset, or zero those 8192 bytes",
                name.as_str()
            ),
            StartRefused::Foreign(key) => write!(
                f,
                "a unit is reserved with key {key}, which is no node's of this set; find out who holds it"
            ),
        }
    }
}

/// Decides how a node starts. `partner`: the table line names one. `hold`: of the units, after trying
/// to reserve what nobody holds.
///
/// # Errors
///
/// [`StartRefused`].
pub fn start(
    mine: Option<&Super>,
    partner: bool,
    found: &Found,
    hold: Hold,
) -> Result<Start, StartRefused> {
    let Some(m) = mine else {
        return Ok(Start::StandBy);
    };
    let record = match found {
        Found::Record(r) if r.uuid != m.uuid => return Err(StartRefused::OtherSet(r.name)),
        Found::Record(r) if !planted(Plant::StartUnread) => Some(r),
        Found::Unreadable => return Err(StartRefused::Unreadable),
        _ => None,
    };
    if m.role == Role::Standby {
        // The record is written before the superblock.
        let mine_by_record = record.is_some_and(|r| r.node == m.node);
        return Ok(if mine_by_record && hold == Hold::Mine {
            Start::Resume
        } else {
            Start::StandBy
        });
    }
    if let Some(r) = record {
        if r.node != m.node && r.generation >= m.generation {
            return Ok(Start::Outdated(r.generation));
        }
    }
    Ok(match hold {
        Hold::Foreign(key) => return Err(StartRefused::Foreign(key)),
        // It has taken over, or was about to; what it says decides.
        Hold::Partner(_) | Hold::Unknown if partner => Start::Ask,
        _ if !partner || m.alone || planted(Plant::StartUnasked) => Start::Serve,
        _ => Start::Ask,
    })
}

/// What has to be durable, in this order: the record (where there is one), then the superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Durable {
    /// The ownership record.
    pub record: Option<Ownership>,
    /// This node's superblock.
    pub mine: Super,
}

/// Where the log of an owner stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// Everything up to here is durable at the remote.
    pub shipped: Seq,
    /// Everything up to here was acknowledged, so the mirror has it if writes waited for it.
    pub acked: Seq,
    /// The last sequence that was given.
    pub last: Seq,
}

impl Reach {
    fn stale(&self, generation: Generation, before: Option<Stale>) -> Stale {
        let since = self.acked.next();
        Stale {
            since: before.map_or(since, |b| b.since.min(since)),
            generation: before.map_or(generation, |b| b.generation),
            limit: Seq(self.last.0.saturating_add(LIMIT_STEP)),
        }
    }
}

/// The record of a reign of this node's.
fn record_of(mine: &Super, found: &Found, generation: Generation, shipped: Seq) -> Ownership {
    let before = found.of(&mine.uuid);
    Ownership {
        counter: before.map_or(0, |r| r.counter.saturating_add(1)),
        uuid: mine.uuid,
        name: mine.name,
        generation,
        node: mine.node,
        unfenced: mine.unfenced,
        stale: None,
        shipped: before.map_or(shipped, |r| r.shipped.max(shipped)),
        missing: mine.missing,
    }
}

fn recorded(found: &Found, record: Ownership) -> Option<Ownership> {
    (*found != Found::Unused).then_some(record)
}

/// An owner begins a reign that its partner has agreed to, or that needs nobody's consent (`alone`).
/// `found` was read after the units were seized.
///
/// # Errors
///
/// The partner's reign that has begun meanwhile: this one must not.
pub fn begin(
    mine: &Super,
    found: &Found,
    reign: Generation,
    alone: bool,
    reach: &Reach,
) -> Result<Durable, Generation> {
    if let Some(r) = found.of(&mine.uuid) {
        if r.node != mine.node && r.generation >= reign && !planted(Plant::StartUnread) {
            return Err(r.generation);
        }
    }
    let before = found.of(&mine.uuid).filter(|r| r.node == mine.node);
    let stale = before.and_then(|r| r.stale);
    let record = Ownership {
        stale: if alone {
            Some(reach.stale(mine.generation, stale))
        } else {
            stale
        },
        ..record_of(mine, found, reign, reach.shipped)
    };
    Ok(Durable {
        record: recorded(found, record),
        mine: Super {
            counter: mine.counter.saturating_add(1),
            generation: reign,
            alone,
            ..*mine
        },
    })
}

/// The record of a reign that goes on, to be written again over an older owner's.
pub fn rewrite(mine: &Super, found: &Found, reach: &Reach) -> Option<Ownership> {
    let record = record_of(mine, found, mine.generation, reach.shipped);
    recorded(
        found,
        Ownership {
            stale: mine.alone.then(|| reach.stale(mine.generation, None)),
            ..record
        },
    )
}

/// An owner goes on without its partner. `None`: the generations are used up.
///
/// The new generation outdates a session that the partner may have welcomed meanwhile. `unfenced`: an
/// administrator vouches for the partner.
pub fn go_alone(mine: &Super, found: &Found, reach: &Reach, unfenced: bool) -> Option<Durable> {
    let record = found.of(&mine.uuid);
    let newest = record.map_or(mine.generation, |r| r.generation.max(mine.generation));
    let generation = newest.next()?;
    let before = record.and_then(|r| r.stale);
    let behind = mine.generation;
    let mine = Super {
        counter: mine.counter.saturating_add(1),
        generation,
        alone: true,
        unfenced: mine.unfenced || unfenced,
        ..*mine
    };
    let stale = reach.stale(behind, before);
    let record = Ownership {
        stale: (!planted(Plant::NoOutOfDateMark)).then_some(stale),
        ..record_of(&mine, found, generation, reach.shipped)
    };
    Some(Durable {
        record: recorded(found, record),
        mine,
    })
}

/// Whether an owner that lost its partner may go on by itself.
///
/// One that serves may: with reservations it can write the record only as long as it holds them, and
/// without them its partner takes over only when it is off. One that has just started may only if it
/// holds the units and the record says that it was the last owner: its partner might have taken over.
/// The record may be ahead, if writing it failed in the middle, or this node died behind it.
pub fn may_go_alone(
    mine: &Super,
    policy: PartnerLost,
    serving: bool,
    found: &Found,
    hold: Hold,
) -> bool {
    let last_owner = found.of(&mine.uuid).is_some_and(|r| r.node == mine.node);
    policy == PartnerLost::Continue
        && mine.role == Role::Owner
        && matches!(hold, Hold::Mine | Hold::Unused)
        && if serving {
            last_owner
        } else {
            last_owner && hold == Hold::Mine
        }
}

/// The same record with room for more sequences, when half of what was allowed is used.
pub fn extend(record: &Ownership, last: Seq) -> Option<Ownership> {
    let stale = record.stale?;
    let left = stale.limit.0.saturating_sub(last.0);
    (left <= LIMIT_STEP / 2).then(|| Ownership {
        stale: Some(Stale {
            limit: Seq(last.0.saturating_add(LIMIT_STEP)),
            ..stale
        }),
        ..record.next()
    })
}

/// The owner has sent all that it had, and writes wait for the partner again: it has not served alone
/// any more, which is durable before the partner may call its copy complete.
pub fn caught_up(mine: &Super) -> Super {
    Super {
        counter: mine.counter.saturating_add(1),
        alone: planted(Plant::AloneTooLong) && mine.alone,
        unfenced: false,
        ..*mine
    }
}

/// The partner's copy is complete: the record takes back what it said of it. `None`: there is nothing
/// to take back, or the record is the partner's, which has taken over meanwhile and whose word it is.
pub fn completed(mine: &Super, found: &Found) -> Option<Ownership> {
    let record = found.of(&mine.uuid).filter(|r| r.node == mine.node)?;
    let new = Ownership {
        stale: None,
        unfenced: mine.unfenced,
        missing: mine.missing,
        ..record.next()
    };
    (record.stale.is_some() || record.unfenced != new.unfenced || record.missing != new.missing)
        .then_some(new)
}

/// An owner that learns of a newer reign before it has served keeps the mirror from now on.
pub fn stood_down(mine: &Super) -> Super {
    Super {
        counter: mine.counter.saturating_add(1),
        role: Role::Standby,
        copy: Copy_::Incomplete,
        alone: false,
        unfenced: false,
        ..*mine
    }
}

/// An owner hands over to its partner, whose copy is complete; so is its own log, which no host writes
/// to any more. Durable before the partner is told. Only with an ownership record: until the partner's
/// reign begins, both copies are complete, and without the record nothing says which of two nodes that
/// take over has gone on since.
pub fn handing_over(mine: &Super) -> Super {
    Super {
        counter: mine.counter.saturating_add(1),
        role: if planted(Plant::HandoverUnsaid) {
            Role::Owner
        } else {
            Role::Standby
        },
        copy: Copy_::Complete,
        alone: false,
        unfenced: false,
        ..*mine
    }
}

/// Whether a handover that was heard still counts. `heard`: the counter of this node's superblock then.
/// A takeover that came first, and failed, or the partner's, may have made it void.
pub fn may_accept(mine: &Super, heard: u64, found: &Found) -> bool {
    let gone_on = found.of(&mine.uuid).is_some_and(|r| {
        r.node != mine.node && (r.generation > mine.generation || r.stale.is_some())
    });
    mine.role == Role::Standby && mine.copy == Copy_::Complete && mine.counter == heard && !gone_on
}

/// The partner of an owner that has handed over is an owner from now on, which begins its reign as any
/// that starts: with the other one's consent, so that no write is ever without a mirror.
pub fn handed_over(mine: &Super, found: &Found) -> Durable {
    let new = Super {
        counter: mine.counter.saturating_add(1),
        role: Role::Owner,
        alone: false,
        unfenced: false,
        ..*mine
    };
    let shipped = found.of(&mine.uuid).map_or(Seq::ZERO, |r| r.shipped);
    Durable {
        record: recorded(found, record_of(&new, found, mine.generation, shipped)),
        mine: new,
    }
}

/// The remote holds what the local unit holds, says an administrator.
pub fn back_in_step(mine: &Super, found: &Found) -> Durable {
    let new = Super {
        counter: mine.counter.saturating_add(1),
        missing: None,
        ..*mine
    };
    let record = found.of(&mine.uuid).map(|r| Ownership {
        missing: None,
        ..r.next()
    });
    Durable { record, mine: new }
}

/// What an owner finds when it looks after what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// All is as it was.
    Fine,
    /// The reservation is gone, as after a restart of the unit; nobody can have taken over: reserve it
    /// again.
    Reserve,
    /// An older owner has overwritten the record: write it again.
    Rewrite,
    /// Stop.
    Fenced(FencedBy),
}

/// Why an owner has to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FencedBy {
    /// Its partner holds a unit.
    Partner,
    /// Somebody else does.
    Foreign(NodeKey),
    /// Nobody does, and its partner might have in between.
    Gone,
    /// The record names its partner, in this generation.
    Record(Generation),
}

impl fmt::Display for FencedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FencedBy::Partner => f.write_str("the partner has taken the units over (preempted)"),
            FencedBy::Foreign(key) => write!(
                f,
                "a unit is reserved with key {key}, which is no node's of this set"
            ),
            FencedBy::Gone => f.write_str(
                "the reservation of a unit is gone and the partner, which might have had it, does not \
                 answer; remove the device and make it anew",
            ),
            FencedBy::Record(g) => write!(
                f,
                "the ownership record says that the partner owns the set in generation {g}"
            ),
        }
    }
}

/// Looks after a reign. `hold`: of the units, the worst of them. `session`: the partner mirrors for
/// this node in this very reign, so it has not taken over.
pub fn watch(mine: &Super, found: &Found, hold: Hold, session: bool) -> Watch {
    let record = found.of(&mine.uuid);
    if let Some(r) = record {
        if r.node != mine.node && r.generation >= mine.generation {
            return Watch::Fenced(FencedBy::Record(r.generation));
        }
    }
    match hold {
        Hold::Partner(_) if planted(Plant::PreemptBack) => return Watch::Reserve,
        Hold::Partner(_) => return Watch::Fenced(FencedBy::Partner),
        Hold::Foreign(key) => return Watch::Fenced(FencedBy::Foreign(key)),
        Hold::Nobody if session || record.is_some_and(|r| r.node == mine.node) => {
            return Watch::Reserve
        }
        Hold::Nobody => return Watch::Fenced(FencedBy::Gone),
        Hold::Mine | Hold::Unused | Hold::Unknown => {}
    }
    match record {
        Some(r) if r.node != mine.node || r.generation < mine.generation => Watch::Rewrite,
        _ => Watch::Fine,
    }
}

/// The part of a forced takeover's report that is known before the mirror is looked at: up to which
/// sequence the old owner may have gone. `seen`: the last one in the mirror.
pub fn old_owners_last(found: &Found, uuid: &[u8; 16], seen: Seq) -> Seq {
    match found.of(uuid).and_then(|r| r.stale) {
        Some(s) => s.limit.max(seen),
        None => Seq::MAX,
    }
}

/// Where the sequences of a new log begin, so that none is given twice.
pub fn sequences_behind(last: Seq, seen: Seq) -> Seq {
    if last == Seq::MAX {
        Seq(seen.0.saturating_add(UNKNOWN_JUMP))
    } else {
        last
    }
}
