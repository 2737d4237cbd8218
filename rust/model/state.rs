// SPDX-License-Identifier: GPL-2.0

//! All there is. Small numbers throughout: sequences and generations fit into a byte, because core's
//! steps between sequences are small in this build.

use core_crate::{
    format::{Copy_, Missing, Role, SetName, Super},
    layout::Geometry,
    ownership::{Ownership, Stale},
    partner::Mirror,
    takeover::{Asked, Source},
    units::{Generation, Seq},
};

/// Most writes of the host.
pub const WRITES: usize = 4;
/// Places that they go to.
pub const PLACES: usize = 2;
/// Where each write goes. A write waits for one before it to the same place.
pub const PLACE: [usize; WRITES] = [0, 0, 1, 0];

/// The node numbers.
pub const NUMBER: [u32; 2] = [10, 11];
/// The set.
pub const UUID: [u8; 16] = [7; 16];

/// A sequence in a byte.
pub fn small(seq: Seq) -> u8 {
    if seq == Seq::MAX {
        return u8::MAX;
    }
    u8::try_from(seq.0).expect("a small sequence")
}

/// And back.
pub fn seq(small: u8) -> Seq {
    match small {
        u8::MAX => Seq::MAX,
        s => Seq(u64::from(s)),
    }
}

/// A range of sequences.
pub type Range = Option<(u8, u8)>;

fn range(m: Option<Missing>) -> Range {
    m.map(|m| (small(m.first), small(m.last)))
}

fn missing(r: Range) -> Option<Missing> {
    r.and_then(|(a, b)| Missing::new(seq(a), seq(b)))
}

fn generation(g: Generation) -> u8 {
    u8::try_from(g.0).expect("a small generation")
}

/// A superblock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Sup {
    /// See [`Super`].
    pub gen: u8,
    /// The role is owner.
    pub owner: bool,
    /// The copy is complete.
    pub complete: bool,
    /// See [`Super`].
    pub alone: bool,
    /// See [`Super`].
    pub unfenced: bool,
    /// See [`Super`].
    pub missing: Range,
}

impl Sup {
    /// As core has it.
    pub fn open(&self, node: usize) -> Super {
        Super {
            counter: 0,
            uuid: UUID,
            name: name(),
            generation: Generation(u32::from(self.gen)),
            role: if self.owner {
                Role::Owner
            } else {
                Role::Standby
            },
            copy: if self.complete {
                Copy_::Complete
            } else {
                Copy_::Incomplete
            },
            alone: self.alone,
            unfenced: self.unfenced,
            geometry: geometry(),
            node: NUMBER[node],
            missing: missing(self.missing),
        }
    }

    /// From what core says.
    pub fn of(s: &Super) -> Sup {
        Sup {
            gen: generation(s.generation),
            owner: s.role == Role::Owner,
            complete: s.copy == Copy_::Complete,
            alone: s.alone,
            unfenced: s.unfenced,
            missing: range(s.missing),
        }
    }
}

/// The name of the set.
pub fn name() -> SetName {
    SetName::new("set").expect("a name")
}

/// The shape of the logs.
pub fn geometry() -> Geometry {
    Geometry::new(1, 16, 512 * 1024).expect("a shape")
}

/// An ownership record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rec {
    /// See [`Ownership`].
    pub gen: u8,
    /// Which node.
    pub node: u8,
    /// See [`Ownership`].
    pub unfenced: bool,
    /// Since, generation, limit.
    pub stale: Option<(u8, u8, u8)>,
    /// See [`Ownership`].
    pub shipped: u8,
    /// See [`Ownership`].
    pub missing: Range,
}

impl Rec {
    /// As core has it.
    pub fn open(&self) -> Ownership {
        Ownership {
            counter: 0,
            uuid: UUID,
            name: name(),
            generation: Generation(u32::from(self.gen)),
            node: NUMBER[usize::from(self.node)],
            unfenced: self.unfenced,
            stale: self.stale.map(|(since, gen, limit)| Stale {
                since: seq(since),
                generation: Generation(u32::from(gen)),
                limit: seq(limit),
            }),
            shipped: seq(self.shipped),
            missing: missing(self.missing),
        }
    }

    /// From what core says.
    pub fn of(r: &Ownership) -> Rec {
        Rec {
            gen: generation(r.generation),
            node: u8::from(r.node == NUMBER[1]),
            unfenced: r.unfenced,
            stale: r
                .stale
                .map(|s| (small(s.since), generation(s.generation), small(s.limit))),
            shipped: small(r.shipped),
            missing: range(r.missing),
        }
    }
}

/// What a node is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Life {
    /// Off, or without the module.
    #[default]
    Down,
    /// Its volumes are there; it looks what it is.
    Starting,
    /// Keeps the mirror.
    Standby,
    /// An owner that asks its partner; whether its reign has begun.
    Waiting(bool),
    /// Takes over.
    Taking,
    /// Writes its log to the local unit.
    Replaying,
    /// Serves the host.
    Serving,
    /// Stopped by a newer reign, until it is made anew.
    Fenced,
}

/// Something that takes several steps; the lists are in [`crate::steps`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Job {
    /// Nothing.
    #[default]
    None,
    /// [`crate::steps::START`].
    Start,
    /// [`crate::steps::BEGIN`].
    Begin,
    /// [`crate::steps::BEGIN_ALONE`].
    BeginAlone,
    /// [`crate::steps::go_alone`]; whether an administrator said so.
    GoAlone(bool),
    /// [`crate::steps::catch_up`].
    CatchUp,
    /// [`crate::steps::COMPLETE`].
    Complete,
    /// [`crate::steps::HAND_OVER`].
    HandOver,
    /// [`crate::steps::HANDED_OVER`].
    HandedOver,
    /// [`crate::steps::REWRITE`]; whether for more sequences.
    Rewrite(bool),
    /// [`core_crate::takeover::acts`].
    Take(Asked),
}

/// A node, what lasts first. Writes are bits, or counts: `mark` 2 means writes 0 and 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// The superblock; `None`: the log is blank.
    pub sup: Option<Sup>,
    /// The writes in the log that are not retired.
    pub log: u8,
    /// The durable mark: these writes are at the remote, and cut off.
    pub mark: u8,
    /// The sequence of that mark.
    pub mark_seq: u8,

    /// Reservation conflicts apart, all that follows is lost with the node's life.
    pub life: Life,
    /// What it is doing.
    pub job: Job,
    /// How far it is with that.
    pub at: u8,
    /// What is to become durable.
    pub plan_rec: Option<Rec>,
    /// The same, of the superblock.
    pub plan_sup: Option<Sup>,
    /// Behind which sequence its new log begins.
    pub base: u8,
    /// Of a takeover.
    pub source: Option<Source>,
    /// What its partner's copy counts for.
    pub mirror: Mirror,
    /// Writes that its partner has said it has, in this session.
    pub heard: u8,
    /// The newest mark that its partner has said it has.
    pub heard_mark: u8,
    /// Writes that were issued to the local unit.
    pub issued: u8,
    /// Those that came back.
    pub done: u8,
    /// Those that the host was told of, or that were replayed.
    pub told: u8,
    /// Writes that are known to be durable at the remote.
    pub shipped: u8,
    /// The write that is at the remote and not flushed yet, plus 1.
    pub unflushed: u8,
    /// No sequence behind this one may be given.
    pub limit: u8,

    /// Local writes in flight. What is in flight outlives the node, but not its next start.
    pub fly_local: u8,
    /// The remote write in flight, plus 1.
    pub fly_remote: u8,
    /// The record write in flight.
    pub fly_rec: Option<Rec>,
}

impl Default for Node {
    fn default() -> Node {
        Node {
            sup: None,
            log: 0,
            mark: 0,
            mark_seq: 0,
            life: Life::Down,
            job: Job::None,
            at: 0,
            plan_rec: None,
            plan_sup: None,
            base: 0,
            source: None,
            mirror: Mirror::Single,
            heard: 0,
            heard_mark: 0,
            issued: 0,
            done: 0,
            told: 0,
            shipped: 0,
            unflushed: 0,
            limit: u8::MAX,
            fly_local: 0,
            fly_remote: 0,
            fly_rec: None,
        }
    }
}

/// A HELLO that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Greeting {
    /// What it says.
    pub sup: Sup,
    /// Of the reign.
    pub reign: u8,
    /// Its connection still exists at the sender's side.
    pub live: bool,
    /// It was delivered already, or its sender has gone.
    pub again: bool,
}

/// The answer to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    /// Welcome; whether the copy is trusted.
    Welcome(bool),
    /// Outdated: the generation known there.
    Outdated(u8),
    /// Two owners.
    TwoOwners,
    /// Anything else.
    Retry,
}

/// The owner's side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Side {
    /// There is none.
    #[default]
    None,
    /// HELLO was sent.
    Asking,
    /// BEGIN was sent.
    Open,
}

/// What an owner has sent and the standby has not yet read, in order: BEGIN, records, SYNCED, records,
/// HANDOVER. A mark comes behind the records that it covers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pipe {
    /// BEGIN with a mark and its sequence.
    pub begin: Option<(u8, u8)>,
    /// Records in front of SYNCED.
    pub first: u8,
    /// SYNCED.
    pub synced: bool,
    /// Records behind it.
    pub then: u8,
    /// A mark and its sequence.
    pub mark: Option<(u8, u8)>,
    /// HANDOVER.
    pub handover: bool,
}

/// Connections from one node as the owner: the newest at its side, and the one that the standby still
/// reads from, which may be an older one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Conn {
    /// HELLO under way.
    pub hello: Option<Greeting>,
    /// Its answer.
    pub reply: Option<Reply>,
    /// The owner's side.
    pub side: Side,
    /// The reign that the owner's side has said.
    pub reign: u8,
    /// Whether the standby reads from a connection, and its reign.
    pub read: Option<u8>,
    /// Both are the same connection.
    pub linked: bool,
    /// The standby's copy is trusted.
    pub trusted: bool,
    /// What is under way to the standby.
    pub pipe: Pipe,
    /// What is under way to the owner: the records acknowledged,
    pub acked: u8,
    /// the mark,
    pub acked_mark: u8,
    /// and COMPLETE.
    pub complete: bool,
}

/// What is cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Cut {
    /// Nothing.
    #[default]
    None,
    /// The link between the partners.
    Link,
    /// This node from the units.
    Storage(u8),
    /// Both.
    Both(u8),
}

/// The units.
pub const LOCAL: usize = 0;
/// The remote.
pub const REMOTE: usize = 1;
/// Where the ownership record stands.
pub const METADATA: usize = 2;

/// A message that was under way when its connection ended (only with
/// [`core_crate::plant::Plant::OlderFrames`], since it is refused otherwise).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Late {
    /// A record.
    Record(u8),
    /// SYNCED.
    Synced,
}

/// All there is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// The nodes.
    pub nodes: [Node; 2],
    /// Connections from each of them.
    pub conns: [Conn; 2],
    /// Who holds each unit: the node, and the reign of its key.
    pub held: [Option<(u8, u8)>; 3],
    /// The ownership record.
    pub record: Option<Rec>,
    /// What stands at each place of the local unit: the write, plus 1.
    pub local: [u8; PLACES],
    /// The same of the remote, cache and all.
    pub visible: [u8; PLACES],
    /// What of it is durable.
    pub durable: [u8; PLACES],
    /// What is cut.
    pub cut: Cut,
    /// What may still happen.
    pub budget: crate::config::Budget,
    /// How many writes there were.
    pub given: u8,
    /// Their sequences.
    pub seqs: [u8; WRITES],
    /// Those that were acknowledged to the host.
    pub acked: u8,
    /// For each, what had been acknowledged before it was submitted.
    pub after: [u8; WRITES],
    /// The newest reign, and whose.
    pub newest: (u8, u8),
    /// An administrator has forced something.
    pub forced: bool,
    /// See [`Late`]: for which node.
    pub late: Option<(u8, Late)>,
    /// A property that was violated on the way here.
    pub bad: Option<&'static str>,
}

/// The bits below this write.
pub fn below(count: u8) -> u8 {
    (1u16 << count).wrapping_sub(1) as u8
}

/// The writes among these bits.
pub fn each(bits: u8) -> impl Iterator<Item = u8> {
    (0..WRITES as u8).filter(move |w| bits & (1 << w) != 0)
}
