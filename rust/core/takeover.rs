// SPDX-License-Identifier: GPL-2.0

//! When a standby may become the owner, what it has to do, and in which order.
//! *Patent: figure 6B, steps 635 to 655; figure 8B.*

use crate::{
    format::{Copy_, Missing, Role, Super},
    layout::Geometry,
    ownership::{Fencing, Found, Ownership, Stale},
    plant::{planted, Plant},
    units::{Generation, Seq},
};
use core::fmt;

/// One thing that a takeover does. The next one begins when it is done; if it fails, the node stays a
/// standby, and nothing that follows is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Act {
    /// Looks whether there is any point in it: [`decide`] with what is known so far, the old owner not
    /// fenced yet. So a takeover that will be refused disturbs nobody.
    Consider,
    /// Ends the session with the owner, and waits until nothing that came by it is being stored.
    Revoke,
    /// Takes the units away from the old owner.
    Fence,
    /// Reads the ownership record behind the fence, and decides by it.
    Decide,
    /// Reads the mirror ([`Source::Mirror`]). Nothing is written yet that the old log needs. Or
    /// ([`Source::LocalUnit`]) makes [`distrusted`] durable: if this node dies from here on, what goes on
    /// with the takeover must not replay its mirror after all. Then, with a mark, it cuts off all of the
    /// old log: at the latest before [`Act::WriteSuper`], because an owner that starts alone replays what
    /// it finds.
    Load,
    /// Makes the ownership record durable, with the new generation.
    WriteRecord,
    /// The same with this node's superblock.
    WriteSuper,
    /// Makes the first mark of the reign durable.
    FirstMark,
    /// Writes the log to the local unit, then serves.
    Replay,
}

/// A takeover, in order.
const TAKEOVER: [Act; 9] = [
    Act::Consider,
    Act::Revoke,
    Act::Fence,
    Act::Decide,
    Act::Load,
    Act::WriteRecord,
    Act::WriteSuper,
    Act::FirstMark,
    Act::Replay,
];

/// What a takeover does, in order.
pub fn acts() -> &'static [Act] {
    use Act::{Consider, Decide, Fence, FirstMark, Load, Replay, Revoke, WriteRecord, WriteSuper};
    if planted(Plant::NoFence) {
        return &[
            Consider,
            Revoke,
            Decide,
            Load,
            WriteRecord,
            WriteSuper,
            FirstMark,
            Replay,
        ];
    }
    if planted(Plant::RecordBeforeFence) {
        return &[
            Consider,
            Revoke,
            Decide,
            Fence,
            Load,
            WriteRecord,
            WriteSuper,
            FirstMark,
            Replay,
        ];
    }
    if planted(Plant::ReplayBeforeFence) {
        return &[
            Consider,
            Revoke,
            Decide,
            Load,
            Replay,
            Fence,
            WriteRecord,
            WriteSuper,
            FirstMark,
        ];
    }
    &TAKEOVER
}

/// Who asks for a takeover.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Asked {
    /// The partner was not heard for too long.
    Timeout,
    /// An administrator.
    Message,
    /// An administrator, who knows that something is missing and wants it all the same.
    Force,
    /// This node was taking over when it died, and still holds the units.
    Resume,
}

impl Asked {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Asked::Timeout => "the owner has not been heard for too long",
            Asked::Message => "an administrator asked for it",
            Asked::Force => "an administrator forced it",
            Asked::Resume => "it was begun before this node went down",
        }
    }
}

/// Why a takeover is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// This node owns the set already.
    IsOwner,
    /// The log of this node was never used.
    Blank,
    /// The old owner might still write.
    Unfenced,
    /// The owner is connected and alive.
    OwnerAlive,
    /// The mirror misses writes, says this node's superblock.
    Incomplete,
    /// The mirror misses writes, says the ownership record.
    OutOfDate(Stale),
    /// The ownership record is not there.
    NoRecord,
    /// The ownership record can't be read.
    Unreadable,
    /// The ownership record is older than what this node knows: it is not the one that the owner wrote.
    OldRecord(Generation, Generation),
    /// The ownership record belongs to another set.
    OtherSet,
    /// The generations are used up.
    Generations,
}

impl Refused {
    /// Whether `takeover force` does it all the same.
    pub fn can_be_forced(self) -> bool {
        !matches!(
            self,
            Refused::IsOwner | Refused::Unreadable | Refused::OtherSet | Refused::Generations
        )
    }
}

/// What is said of every takeover that forgoes the mirror.
const FORCED: &str =
    "`takeover force` serves the local unit as it is, without the mirror, and leaves the \
                      remote out of step";

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::IsOwner => f.write_str("this node owns the set already"),
            Refused::Blank => write!(
                f,
                "this node's log was never used: there is no mirror; {FORCED}"
            ),
            Refused::Unfenced => f.write_str(
                "the old owner is not fenced and might still write; with `fencing reservation` in the table \
                 line the units see to that, with `fencing external` somebody else does; or make sure that \
                 it is off and send `takeover force`",
            ),
            Refused::OwnerAlive => f.write_str(
                "the owner is alive and connected; hand over from there with `swap`, or stop it, or send \
                 `takeover force`",
            ),
            Refused::Incomplete => write!(
                f,
                "this node's mirror was being brought up to date and misses writes that the owner \
                 acknowledged; start the old owner, whose log has them; {FORCED}"
            ),
            Refused::OutOfDate(s) => write!(
                f,
                "this node's mirror is {s}, says the ownership record: the owner went on without it; start \
                 the old owner, whose log has the rest; {FORCED}"
            ),
            Refused::NoRecord => write!(
                f,
                "there is no ownership record yet, and it alone says whether this node's mirror is up to \
                 date; see that `metadata` names the device that the owner uses; {FORCED}"
            ),
            Refused::Unreadable => f.write_str(
                "the ownership record cannot be read, and it alone says whether this node's mirror is up to \
                 date; make its device work",
            ),
            Refused::OldRecord(has, knows) => write!(
                f,
                "the ownership record is of generation {has}, this node knows generation {knows}: see that \
                 `metadata` names the device that the owner uses; {FORCED}"
            ),
            Refused::OtherSet => f.write_str(
                "the ownership record belongs to another set: see that `metadata` and `metadata_offset` \
                 name the place that the owner uses",
            ),
            Refused::Generations => {
                f.write_str("all 2^32 generations are used up; make the set anew")
            }
        }
    }
}

/// What the new owner begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Source {
    /// Its mirror, which is replayed.
    Mirror,
    /// The local unit as it is. Its mirror is not replayed: it is out of date, or not there; a new log
    /// begins. The remote is out of step from here on.
    LocalUnit,
}

/// What a standby knows when it decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View<'a> {
    /// Its superblock.
    pub mine: Option<&'a Super>,
    /// Its table line.
    pub fencing: Fencing,
    /// The ownership record.
    pub found: &'a Found,
    /// Whether the owner is connected and was heard in time.
    pub owner_alive: bool,
    /// Who asks.
    pub asked: Asked,
}

/// What is said against a takeover, `None`: nothing. With [`Asked::Force`] what can be forced is.
fn objection(v: &View<'_>, m: &Super) -> Option<Refused> {
    if m.role == Role::Owner {
        return Some(Refused::IsOwner);
    }
    match v.found {
        Found::Unreadable => return Some(Refused::Unreadable),
        Found::Record(r) if r.uuid != m.uuid => return Some(Refused::OtherSet),
        _ => {}
    }
    let resume = v.asked == Asked::Resume;
    if v.owner_alive && !resume {
        return Some(Refused::OwnerAlive);
    }
    if v.fencing == Fencing::None && !resume {
        return Some(Refused::Unfenced);
    }
    None
}

/// What is said against this node's mirror.
fn mirror_objection(found: &Found, m: &Super) -> Option<Refused> {
    if m.copy == Copy_::Incomplete && !planted(Plant::TakeoverIncomplete) {
        return Some(Refused::Incomplete);
    }
    match found {
        _ if planted(Plant::RecordNotRead) => None,
        Found::Blank => Some(Refused::NoRecord),
        Found::Record(r) if r.node != m.node => match r.stale {
            Some(stale) => Some(Refused::OutOfDate(stale)),
            // An owner that is welcomed makes the next generation durable after this node has.
            None if r.generation.0.saturating_add(1) < m.generation.0 => {
                Some(Refused::OldRecord(r.generation, m.generation))
            }
            None => None,
        },
        _ => None,
    }
}

/// The new reign of a node that takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reign {
    /// What it begins with.
    pub source: Source,
    /// The ownership record as it was.
    pub before: Found,
    /// Its generation.
    pub generation: Generation,
    /// Whether the old owner might still write.
    pub unfenced: bool,
}

/// Decides whether a standby may take over, and how.
///
/// # Errors
///
/// [`Refused`].
pub fn decide(v: &View<'_>) -> Result<Reign, Refused> {
    let m = v.mine.ok_or(Refused::Blank)?;
    let forced = v.asked == Asked::Force;
    if let Some(no) = objection(v, m) {
        if !forced || !no.can_be_forced() {
            return Err(no);
        }
    }
    let record = v.found.of(&m.uuid);
    let source = match mirror_objection(v.found, m) {
        None => Source::Mirror,
        // This node had decided so before it died.
        Some(_) if forced => Source::LocalUnit,
        Some(_) if v.asked == Asked::Resume && record.is_some_and(|r| r.missing.is_some()) => {
            Source::LocalUnit
        }
        Some(no) => return Err(no),
    };
    let newest = record.map_or(m.generation, |r| r.generation.max(m.generation));
    let generation = if planted(Plant::SameGeneration) {
        newest
    } else {
        newest.next().ok_or(Refused::Generations)?
    };
    Ok(Reign {
        source,
        before: *v.found,
        generation,
        unfenced: v.fencing == Fencing::None,
    })
}

impl Reign {
    /// The same reign, of a node that has fenced with keys of this one: not older than them. Whoever
    /// fences later has newer keys, so that no two reigns have one generation even if both nodes take
    /// over at once, without a record that would tell them of each other.
    #[must_use]
    pub fn fenced(self, keys: Generation) -> Reign {
        Reign {
            generation: self.generation.max(keys),
            ..self
        }
    }

    /// What has to be durable before anything is replayed: the record, then the superblock. `shipped`
    /// and `last`: how far the log goes that this node begins with; `missing`: of a forced takeover.
    pub fn durable(
        &self,
        mine: &Super,
        shipped: Seq,
        last: Seq,
        missing: Option<Missing>,
    ) -> crate::ownership::Durable {
        let before = self.before.of(&mine.uuid);
        let missing = match (missing, before.and_then(|r| r.missing).or(mine.missing)) {
            (Some(m), old) => Some(m.and(old)),
            (None, old) => old,
        };
        let missing = missing.filter(|_| !planted(Plant::ForcedInStep));
        let new = Super {
            counter: mine.counter.saturating_add(1),
            generation: self.generation,
            role: Role::Owner,
            copy: Copy_::Complete,
            alone: true,
            unfenced: self.unfenced,
            missing,
            ..*mine
        };
        let record = (self.before != Found::Unused).then(|| Ownership {
            counter: before.map_or(0, |r| r.counter.saturating_add(1)),
            uuid: new.uuid,
            name: new.name,
            generation: new.generation,
            node: new.node,
            unfenced: new.unfenced,
            // The old owner's log is outdated from here on.
            stale: Some(Stale {
                since: last.next(),
                generation: new.generation,
                limit: Seq(last.0.saturating_add(crate::ownership::LIMIT_STEP)),
            }),
            shipped: before.map_or(shipped, |r| r.shipped.max(shipped)),
            missing,
        });
        crate::ownership::Durable { record, mine: new }
    }

    /// What the remote may miss when the mirror is not replayed. `mark_shipped`, `seen`: how far the
    /// remote was, and the last sequence, as far as this node's mirror knows.
    pub fn missing(&self, mine: &Super, mark_shipped: Seq, seen: Seq) -> Missing {
        let record = self.before.of(&mine.uuid);
        let shipped = record.map_or(mark_shipped, |r| r.shipped.max(mark_shipped));
        let last = crate::ownership::old_owners_last(&self.before, &mine.uuid, seen);
        let first = shipped.next();
        Missing::new(first, last.max(first)).unwrap_or(Missing {
            first: Seq(1),
            last: Seq::MAX,
        })
    }
}

/// The superblock of a node that takes over without its mirror, from [`Act::Load`] on.
pub fn distrusted(mine: &Super) -> Super {
    Super {
        counter: mine.counter.saturating_add(1),
        copy: Copy_::Incomplete,
        ..*mine
    }
}

/// The superblock of a node whose log was never used, as a forced takeover needs it. `found` names the
/// set if there is an ownership record.
pub fn from_nothing(
    found: &Found,
    name: crate::format::SetName,
    new_uuid: [u8; 16],
    node: u32,
    geometry: Geometry,
) -> Result<Super, Refused> {
    let (uuid, generation) = match found {
        Found::Record(r) if r.name == name => (r.uuid, r.generation),
        Found::Record(_) => return Err(Refused::OtherSet),
        Found::Unreadable => return Err(Refused::Unreadable),
        Found::Unused | Found::Blank => (new_uuid, Generation(0)),
    };
    let node = match found {
        Found::Record(r) => crate::partner::other_than(r.node, node),
        _ => node,
    };
    Ok(Super {
        counter: 0,
        uuid,
        name,
        generation,
        role: Role::Standby,
        copy: Copy_::Incomplete,
        alone: false,
        unfenced: false,
        geometry,
        node,
        missing: None,
    })
}
