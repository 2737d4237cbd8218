// SPDX-License-Identifier: GPL-2.0

//! Who owns the set, and what the owner may count on its partner for. Decisions only.
//!
//! A generation is a reign. It is raised, durably, by every start of an owner and by every takeover
//! (rule 7). An owner that starts asks its partner first: only the partner can know that it has
//! taken over. So a node never replays its own log and never serves while its partner might.

use crate::{
    format::{Copy_, Role, Super, NODE_BITS},
    plant::{planted, Plant},
    units::Generation,
    wire::{Hello, Reason, Refusal},
};

/// What the owner may count on its partner's copy for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Mirror {
    /// No partner is configured.
    Single,
    /// The partner cannot be reached; its copy was complete when it was last heard. Writes wait.
    Lost,
    /// The partner's copy counts for nothing, and this is durable here (`alone`). Writes go on.
    Alone,
    /// Connected; the log is being sent. `trusted`: the copy was complete before and stays so, what
    /// it acknowledges counts at once. `alone`: writes do not wait for it yet.
    CatchingUp {
        /// See above.
        trusted: bool,
        /// See above.
        alone: bool,
    },
    /// All of the log has been sent, writes wait for the partner again, `alone` is durably off, and
    /// the partner has been told to mark its copy complete.
    Finishing,
    /// The partner's copy is complete.
    Mirrored,
}

/// What happens to [`Mirror`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MirrorEvent {
    /// A connection was welcomed; `trusted`: the partner's copy stays complete.
    Connected {
        /// See above.
        trusted: bool,
    },
    /// Everything up to the head has been sent, and writes now wait for the partner.
    CaughtUp,
    /// The partner has marked its copy complete.
    Completed,
    /// The connection is gone.
    Disconnected,
    /// An administrator said that the partner is off and will not take over by itself; a new reign
    /// and `alone` are durable.
    Detached,
}

/// An event that cannot happen in this state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Illegal(pub Mirror, pub MirrorEvent);

impl Mirror {
    /// The state of an owner that begins to serve.
    pub fn at_start(partner: bool, alone: bool) -> Mirror {
        match (partner, alone) {
            (false, _) => Mirror::Single,
            (true, true) => Mirror::Alone,
            (true, false) => Mirror::Lost,
        }
    }

    /// Whether a write has to be in the partner's log before it goes to the local device. It does
    /// even before it is *written* locally, not only before it is acknowledged: if this node dies in
    /// between, nobody else would know that local and remote differ there (rule 3).
    #[inline]
    pub fn writes_wait(self) -> bool {
        !planted(Plant::LocalBeforeMirror)
            && !matches!(
                self,
                Mirror::Single | Mirror::Alone | Mirror::CatchingUp { alone: true, .. }
            )
    }

    /// Whether what the partner acknowledges counts.
    pub fn acks_count(self) -> bool {
        matches!(
            self,
            Mirror::Mirrored | Mirror::CatchingUp { trusted: true, .. }
        ) || (planted(Plant::UntrustedAcks) && matches!(self, Mirror::CatchingUp { .. }))
    }

    /// Whether space may be used again, and the remote be written further, only when the partner has
    /// the mark.
    pub fn marks_wait(self) -> bool {
        !matches!(self, Mirror::Single | Mirror::Alone)
    }

    /// The next state.
    pub fn on(self, event: MirrorEvent) -> Result<Mirror, Illegal> {
        use Mirror::{Alone, CatchingUp, Finishing, Lost, Mirrored};
        use MirrorEvent::{CaughtUp, Completed, Connected, Detached, Disconnected};
        Ok(match (self, event) {
            // A copy that is known to have missed writes is never trusted, whatever it says.
            (Alone, Connected { .. }) => CatchingUp {
                trusted: false,
                alone: true,
            },
            (Lost, Connected { trusted }) => CatchingUp {
                trusted,
                alone: false,
            },
            (CatchingUp { .. }, CaughtUp) => Finishing,
            (Finishing, Completed) => Mirrored,
            (CatchingUp { alone: true, .. }, Disconnected) => Alone,
            // From Finishing there is no way back to Alone: the partner may have marked its copy
            // complete without this node hearing of it.
            (CatchingUp { .. } | Finishing | Mirrored, Disconnected) => Lost,
            (Lost | Alone, Disconnected) => self,
            (Lost, Detached) => Alone,
            (state, event) => return Err(Illegal(state, event)),
        })
    }

    /// In words, for status.
    pub fn as_str(self) -> &'static str {
        match self {
            Mirror::Single => "none",
            Mirror::Lost => "lost",
            Mirror::Alone => "out-of-date",
            Mirror::CatchingUp { .. } => "catching-up",
            Mirror::Finishing => "finishing",
            Mirror::Mirrored => "mirrored",
        }
    }
}

/// What a node does with a HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Welcome: make `durable` durable first, then mirror.
    Welcome {
        /// The superblock to write, counter and all.
        durable: Super,
        /// The copy is complete and stays so.
        trusted: bool,
        /// This node was the owner and steps down: if it serves, it stops at once.
        step_down: bool,
    },
    /// Refuse.
    Refuse(Refusal),
}

/// What a node's table lines and its log region say, for [`answer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Here {
    /// Bytes of the log region.
    pub region: u64,
    /// Volumes of the set.
    pub members: u16,
    /// Whether there is a place for the ownership record.
    pub record: bool,
    /// A number by which to go if the log is blank; never 0.
    pub node: u32,
}

/// Decides on a HELLO. `mine`: this node's superblock, `None`: its log is blank.
pub fn answer(mine: Option<&Super>, here: &Here, hello: &Hello) -> Answer {
    let known = mine.map_or(Generation(0), |m| m.generation);
    let refuse = |reason| {
        Answer::Refuse(Refusal {
            reason,
            generation: known,
        })
    };
    if hello.role != Role::Owner {
        return refuse(Reason::NotOwner);
    }
    if hello.members != here.members
        || mine.is_some_and(|m| m.name != hello.name || m.uuid != hello.uuid)
    {
        return refuse(Reason::OtherSet);
    }
    if hello.geometry.bytes() > here.region {
        return refuse(Reason::Geometry);
    }
    if mine.is_some_and(|m| (m.node ^ hello.node) & NODE_BITS == 0) {
        return refuse(Reason::SameNode);
    }
    if hello.record != here.record {
        return refuse(Reason::Record);
    }
    let mut trusted = false;
    let mut step_down = false;
    match mine {
        None => {}
        Some(m) if m.role == Role::Standby => {
            if hello.reign < m.generation && !planted(Plant::OlderWelcomed) {
                return refuse(Reason::Outdated);
            }
            trusted = m.copy == Copy_::Complete
                && m.geometry == hello.geometry
                && hello.copy == Copy_::Complete
                && (m.generation == hello.generation || m.generation == hello.reign);
        }
        Some(m) => {
            if hello.generation < m.generation {
                return refuse(Reason::Outdated);
            }
            if hello.generation == m.generation {
                return refuse(Reason::TwoOwners);
            }
            step_down = true;
        }
    }
    Answer::Welcome {
        durable: Super {
            counter: mine.map_or(1, |m| m.counter.saturating_add(1)),
            uuid: hello.uuid,
            name: hello.name,
            generation: hello.reign,
            role: Role::Standby,
            copy: if trusted || planted(Plant::CompleteTooEarly) {
                Copy_::Complete
            } else {
                Copy_::Incomplete
            },
            alone: false,
            unfenced: false,
            geometry: hello.geometry,
            node: mine.map_or_else(|| other_than(hello.node, here.node), |m| m.node),
            missing: hello.missing,
        },
        trusted,
        step_down,
    }
}

/// `mine`, unless it could be taken for the partner's number at the units.
pub(crate) fn other_than(partner: u32, mine: u32) -> u32 {
    [mine, mine ^ 1, 2]
        .into_iter()
        .find(|n| *n != 0 && (n ^ partner) & NODE_BITS != 0)
        .unwrap_or(3)
}

/// What the owner does with a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterRefusal {
    /// The partner owns the set in a newer reign: stand by, never replay.
    StandBy,
    /// Two owners in one reign: stop and leave it to an administrator.
    Conflict,
    /// Try again later.
    Retry,
}

/// Decides on a refusal.
pub fn refused(mine: &Super, refusal: &Refusal) -> AfterRefusal {
    match refusal.reason {
        Reason::Outdated if refusal.generation > mine.generation => AfterRefusal::StandBy,
        Reason::TwoOwners => AfterRefusal::Conflict,
        _ => AfterRefusal::Retry,
    }
}

/// Whether the other side was heard in time. Times are nanoseconds of one monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    interval: u64,
    misses: u32,
    heard: u64,
}

impl Heartbeat {
    /// Pings come every `interval` ns; after `misses` of them in a row the other side is lost.
    /// *Patent: figure 6B, steps 635 to 650.*
    pub fn new(interval: u64, misses: u32, now: u64) -> Heartbeat {
        Heartbeat {
            interval: interval.max(1),
            misses: misses.max(1),
            heard: now,
        }
    }

    /// Something arrived.
    pub fn heard(&mut self, now: u64) {
        self.heard = self.heard.max(now);
    }

    /// When it will count as lost.
    pub fn deadline(&self) -> u64 {
        self.heard
            .saturating_add(self.interval.saturating_mul(u64::from(self.misses)))
    }

    /// Whether it counts as lost.
    pub fn lost(&self, now: u64) -> bool {
        now >= self.deadline()
    }
}
