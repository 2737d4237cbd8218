// SPDX-License-Identifier: GPL-2.0

//! Which changes of what status says are news, why they came about, and which sequences they concern.
//! States are the words of `Documentation/netlink/specs/remote-copy.yaml`; an empty one: there is none.

use crate::{format::Missing, units::Seq};

/// A change that somebody who listens wants to hear of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct News {
    /// The old state; empty if there was none.
    pub old: &'static str,
    /// The new one.
    pub new: &'static str,
    /// Why, as far as the states tell.
    pub why: &'static str,
    /// The sequences concerned.
    pub span: Span,
}

/// Sequences that an event concerns, as it says them: never a first one behind the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The first one; [`Seq::ZERO`]: none.
    pub first: Seq,
    /// The last one; [`Seq::ZERO`]: none, or not known yet.
    pub last: Seq,
}

impl Span {
    /// Those behind `after`, up to `last`, if there are any.
    pub fn behind(after: Seq, last: Seq) -> Span {
        if after >= last {
            return Span::default();
        }
        let first = after.next();
        Span { first, last }
    }

    /// Those behind `after` that are there or will be: the end is not known.
    pub fn from(after: Seq) -> Span {
        Span {
            first: after.next(),
            last: Seq::ZERO,
        }
    }

    /// What the remote may miss.
    fn of(missing: Missing) -> Span {
        let known = missing.last != Seq::MAX && missing.last >= missing.first;
        Span {
            first: missing.first,
            last: if known { missing.last } else { Seq::ZERO },
        }
    }
}

/// How far an owner's sequences are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// The newest one.
    pub last: Seq,
    /// Up to this one the host was told of everything.
    pub acked: Seq,
    /// Up to this one everything is durable at the remote.
    pub remote: Seq,
}

impl Reach {
    fn unacknowledged(of: Option<Reach>) -> Span {
        of.map_or(Span::default(), |r| Span::behind(r.acked, r.last))
    }

    fn unshipped(of: Option<Reach>) -> Span {
        of.map_or(Span::default(), |r| Span::behind(r.remote, r.last))
    }
}

/// The connection to the partner (`partner-state`).
pub fn partner(old: &'static str, new: &'static str) -> Option<News> {
    if old == new || old.is_empty() {
        return None;
    }
    let why = match new {
        "connected" => "a session with the partner has begun",
        _ => "the session with the partner has ended",
    };
    Some(News {
        old,
        new,
        why,
        span: Span::default(),
    })
}

/// What a copy of the log counts for (`mirror-state`). Concerned is what is in the log and the host was
/// not told of; but of a copy that falls out of date, whatever comes behind what the host was told of.
pub fn mirror(old: &'static str, new: &'static str, reach: Option<Reach>) -> Option<News> {
    if old == new || old.is_empty() {
        return None;
    }
    let span = match (new, reach) {
        ("out-of-date", Some(r)) => Span::from(r.acked),
        _ => Reach::unacknowledged(reach),
    };
    let why = mirror_why(old, new);
    Some(News {
        old,
        new,
        why,
        span,
    })
}

fn mirror_why(old: &str, new: &str) -> &'static str {
    match (old, new) {
        (_, "mirrored") => "the partner's copy of the log counts for complete: it has all of it",
        ("mirrored", "lost") => {
            "the partner's copy of the log no longer counts for complete: the session has ended; writes wait"
        }
        (_, "lost") => "there is no session to complete the partner's copy of the log; writes wait",
        ("mirrored" | "lost", "out-of-date") => {
            "the partner's copy of the log no longer counts for complete: writes go on without the partner"
        }
        (_, "out-of-date") => "the partner's copy of the log was not completed; writes go on without the partner",
        (_, "catching-up") => "the partner is sent what its copy of the log lacks",
        (_, "finishing") => "the partner was sent all of the log and is to call its copy complete",
        ("incomplete", "complete") => {
            "this node's copy of the log counts for complete: the owner has sent all of it"
        }
        (_, "complete") => "this node stands by; its copy of the log counts for complete",
        ("complete", "incomplete") => {
            "this node's copy of the log no longer counts for complete: the owner sends it anew"
        }
        (_, "incomplete") => "this node stands by; its copy of the log is not complete yet",
        (_, "none") => "this node owns the set and has no partner",
        _ => "this node has begun or ended to own the set",
    }
}

/// The remote (`remote-state`). Whether it is behind or in step changes with every write, which is not
/// news; and neither is that this node does not own the set any more, which its state says.
pub fn remote(old: &'static str, new: &'static str, reach: Option<Reach>) -> Option<News> {
    let plain = |word: &str| matches!(word, "" | "in-step" | "behind");
    if old == new || new.is_empty() || (plain(old) && plain(new)) {
        return None;
    }
    let why = match new {
        "lost" => "the remote device fails or cannot be reached; it is tried again",
        "out-of-step" => "a takeover by force left something out; nothing is shipped",
        _ if old == "lost" => "the remote device works again",
        _ => "the remote has what the local unit has, an administrator says",
    };
    Some(News {
        old,
        new,
        why,
        span: Reach::unshipped(reach),
    })
}

/// Space in the log.
pub fn log(was_full: bool, is_full: bool, reach: Option<Reach>) -> Option<News> {
    if was_full == is_full {
        return None;
    }
    let word = |full| if full { "full" } else { "free" };
    Some(News {
        old: word(was_full),
        new: word(is_full),
        why: if is_full {
            "writes wait for space in the log"
        } else {
            "the log has space again"
        },
        span: Reach::unshipped(reach),
    })
}

/// What the remote may miss; when it misses nothing any more, what it missed.
pub fn missing(old: Option<Missing>, new: Option<Missing>) -> Option<News> {
    if old == new {
        return None;
    }
    Some(News {
        old: if old.is_some() { "out-of-step" } else { "" },
        new: if new.is_some() {
            "out-of-step"
        } else {
            "in-step"
        },
        why: if new.is_some() {
            "what the remote may miss since a takeover by force"
        } else {
            "the remote has what it may have missed, an administrator says"
        },
        span: new.or(old).map_or(Span::default(), Span::of),
    })
}
