// SPDX-License-Identifier: GPL-2.0

//! Persistent reservations on what both partners reach: the ownership record's device first, whose
//! holder is the owner, then the local units. Remote units are seized when they are opened
//! (`shipper.rs`). Process context; a unit that does not answer is waited for.

use crate::set::Set;
use core_crate::{
    format::NodeKey,
    ownership::{seize as how, Claim, Hold, Kind, Left, Seize},
    units::Generation,
};
use kapi_crate::{
    blkdev::BlockDevice,
    pr::{self, PrError, Reservations},
};
use kernel::prelude::*;

/// Why a unit could not be made this node's own.
pub(crate) enum Failed {
    /// The device has no reservations.
    Unsupported,
    /// The partner holds it, and it has not been decided that this node may take it.
    PartnerHolds(NodeKey),
    /// Somebody else does.
    ForeignHolds(NodeKey),
    /// The device fails.
    Device(PrError),
}

impl Failed {
    /// As an errno.
    pub(crate) fn errno(&self) -> Error {
        match self {
            Failed::Unsupported => EOPNOTSUPP,
            Failed::PartnerHolds(_) => EBADE,
            Failed::ForeignHolds(_) => EBUSY,
            Failed::Device(_) => EIO,
        }
    }
}

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Failed::Unsupported => f.write_str(
                "it has no persistent reservations (a partition never has); use a whole device that has, or \
                 `fencing external`",
            ),
            Failed::PartnerHolds(k) => write!(f, "the partner has reserved it (key {k})"),
            Failed::ForeignHolds(k) => write!(
                f,
                "it is reserved with key {k}, which is no node's of this set; find out who holds it"
            ),
            Failed::Device(e) => write!(f, "its reservations fail: {e}"),
        }
    }
}

impl From<PrError> for Failed {
    fn from(e: PrError) -> Failed {
        match e {
            PrError::Unsupported => Failed::Unsupported,
            e => Failed::Device(e),
        }
    }
}

fn kind_of(kind: Kind) -> pr::Kind {
    match kind {
        Kind::Holder => pr::Kind::WriteExclusive,
        Kind::Registrants => pr::Kind::WriteExclusiveRegistrants,
    }
}

fn reservations(device: &BlockDevice) -> core::result::Result<Reservations<'_>, Failed> {
    device.reservations().ok_or(Failed::Unsupported)
}

/// The key under which a device is reserved.
fn holder(device: &BlockDevice) -> core::result::Result<Option<u64>, Failed> {
    Ok(reservations(device)?.holder()?.map(|h| h.key))
}

/// Makes one device this node's own; answers the reign of its key there.
///
/// # Errors
///
/// [`Failed`].
pub(crate) fn seize_device(
    device: &BlockDevice,
    me: NodeKey,
    kind: Kind,
    claim: Claim,
) -> core::result::Result<Generation, Failed> {
    let r = reservations(device)?;
    let mut registered = None;
    let mut register = |key: NodeKey| {
        registered = Some(key);
        r.register(key.0)
    };
    let mut failed = Failed::Device(PrError::Conflict);
    // Again if somebody else was quicker, or has just let go.
    for _ in 0..3 {
        let hold = Hold::of(me, r.holder()?.map(|h| h.key));
        let done = match how(me, hold, claim) {
            Seize::Held(key) => {
                register(key)?;
                // Who preempted this node just before that has the device now.
                if Hold::of(me, r.holder()?.map(|h| h.key)) == Hold::Mine {
                    return Ok(key.reign());
                }
                continue;
            }
            Seize::Reserve(key) => register(key).and_then(|()| r.reserve(key.0, kind_of(kind))),
            // What the old owner has at the unit is aborted or over when this returns. The victim is
            // named: if somebody else holds the unit by now, nothing happens.
            Seize::Preempt(key, k) => {
                register(key).and_then(|()| r.preempt(key.0, k.0, kind_of(kind), true))
            }
            Seize::PartnerHolds(k) => {
                failed = Failed::PartnerHolds(k);
                break;
            }
            Seize::ForeignHolds(k) => {
                failed = Failed::ForeignHolds(k);
                break;
            }
            Seize::Unknown => {
                failed = Failed::Device(PrError::Failed(EIO));
                break;
            }
        };
        match done {
            Ok(()) | Err(PrError::Conflict) => {}
            Err(e) => return Err(e.into()),
        }
    }
    // Where a key alone gives the right to write, it does not stay with who holds nothing.
    if let (Kind::Registrants, Some(key)) = (kind, registered) {
        r.unregister(key.0)?;
    }
    Err(failed)
}

/// Calls `f` for each device that both partners reach, the record's first, until it fails.
fn each(
    set: &Set,
    mut f: impl FnMut(&BlockDevice, &str) -> core::result::Result<(), Failed>,
) -> core::result::Result<(), Failed> {
    if let Some(record) = &set.record {
        f(&record.device, record.path())?;
    }
    let mut name = [0u8; 32];
    for m in set.members.iter().filter_map(|m| m.as_ref()) {
        let name = m.local.name(&mut name);
        f(&m.local, name)?;
    }
    Ok(())
}

/// Whether all of them say who holds them; without reservations there is nothing to say.
///
/// # Errors
///
/// [`Failed::Device`]; `say` was told which and why.
pub(crate) fn answer(
    set: &Set,
    say: &mut dyn FnMut(core::fmt::Arguments<'_>),
) -> core::result::Result<(), Failed> {
    if set.reservation.is_none() {
        return Ok(());
    }
    each(set, |device, name| {
        match holder(device) {
            Err(e @ Failed::Device(_)) => {
                say(format_args!("{name}: {e}"));
                Err(e)
            }
            // What a forced takeover does without them is decided later.
            _ => Ok(()),
        }
    })
}

/// Makes all of them this node's own, as far as `claim` goes; answers the newest reign of its keys. One
/// that has no reservations does not keep it from seizing the others.
///
/// # Errors
///
/// [`Failed`]; `say` was told which and why. What was seized by then stays so: [`release`].
pub(crate) fn seize(
    set: &Set,
    me: NodeKey,
    claim: Claim,
    say: &mut dyn FnMut(core::fmt::Arguments<'_>),
) -> core::result::Result<Generation, Failed> {
    let mut newest = Generation(0);
    let Some(kind) = set.reservation else {
        return Ok(newest);
    };
    let mut lacking = Ok(());
    each(set, |device, name| {
        let done =
            seize_device(device, me, kind, claim).inspect_err(|e| say(format_args!("{name}: {e}")));
        match done {
            Err(Failed::Unsupported) => {
                lacking = Err(Failed::Unsupported);
                Ok(())
            }
            done => done.map(|keys| newest = newest.max(keys)),
        }
    })?;
    lacking.map(|()| newest)
}

/// Shows early that reservations work, and makes this node known where that alone gives no right to
/// write.
///
/// # Errors
///
/// [`Failed`]; `say` was told which and why.
pub(crate) fn register(
    set: &Set,
    me: Option<NodeKey>,
    say: &mut dyn FnMut(core::fmt::Arguments<'_>),
) -> core::result::Result<(), Failed> {
    let Some(kind) = set.reservation else {
        return Ok(());
    };
    each(set, |device, name| {
        let one = || {
            let r = reservations(device)?;
            match (me, kind) {
                (Some(me), Kind::Holder) => r.register(me.0)?,
                _ => drop(r.holder()?),
            }
            Ok(())
        };
        one().inspect_err(|e: &Failed| say(format_args!("{name}: {e}")))
    })
}

/// Who holds them: the worst answer of all.
pub(crate) fn hold(set: &Set, me: NodeKey) -> Hold {
    if set.reservation.is_none() {
        return Hold::Unused;
    }
    let rank = |h: Hold| match h {
        Hold::Unused | Hold::Mine => 0,
        Hold::Unknown => 1,
        Hold::Nobody => 2,
        Hold::Partner(_) => 3,
        Hold::Foreign(_) => 4,
    };
    let mut worst = Hold::Mine;
    let _ = each(set, |device, _| {
        let hold = holder(device).map_or(Hold::Unknown, |held| Hold::of(me, held));
        if rank(hold) > rank(worst) {
            worst = hold;
        }
        Ok(())
    });
    worst
}

/// Gives all of them up: this node leaves, or hands over. Answers whether that is certain: each of them
/// says so.
pub(crate) fn release(set: &Set, me: NodeKey) -> bool {
    let Some(kind) = set.reservation else {
        return true;
    };
    let mut certain = true;
    let _ = each(set, |device, name| {
        certain &= release_device(set, device, name, me, kind);
        Ok(())
    });
    certain
}

/// The same of a node that keeps the mirror from now on: if it is not certain, the keeper goes on with
/// it.
pub(crate) fn leave(set: &Set, me: NodeKey) {
    if !release(set, me) {
        *set.left.lock() = Some(me);
        set.keep.signal();
    }
}

/// Gives up what this node still has at any of them; the others are only looked at. Answers whether it
/// is certain that there is nothing left.
pub(crate) fn let_go(set: &Set, me: NodeKey) -> bool {
    let Some(kind) = set.reservation else {
        return true;
    };
    let mut certain = true;
    let _ = each(set, |device, _| {
        certain &= match left(device, me, kind) {
            Ok(Left::Nothing) => true,
            Ok(_) => give_up(device, me, kind).is_ok(),
            Err(_) => false,
        };
        Ok(())
    });
    certain
}

/// Gives one device up, if this node holds it; answers whether that is certain.
pub(crate) fn release_device(
    set: &Set,
    device: &BlockDevice,
    name: &str,
    me: NodeKey,
    kind: Kind,
) -> bool {
    give_up(device, me, kind)
        .inspect_err(|e| {
            pr_info!(
                "set {}: {name}: the reservation stays: {e}\n",
                set.name.as_str()
            );
        })
        .is_ok()
}

/// What this node has at a device. One whose driver has no reservations has nothing; of one that
/// answers as if it had none, which is what a dm device does whose table is another for a while, nothing
/// is certain.
fn left(device: &BlockDevice, me: NodeKey, kind: Kind) -> core::result::Result<Left, PrError> {
    let Some(r) = device.reservations() else {
        return Ok(Left::Nothing);
    };
    let holder = r.holder()?.map(|h| h.key);
    // A key that gives no right stays as it is.
    let registered = match kind {
        Kind::Holder => None,
        Kind::Registrants => r.registered(|k| NodeKey(k).same_node(me))?,
    };
    Ok(Left::of(me, kind, holder, registered))
}

/// `Ok`: this node has nothing left there.
fn give_up(device: &BlockDevice, me: NodeKey, kind: Kind) -> core::result::Result<(), PrError> {
    let Some(r) = device.reservations() else {
        return Ok(());
    };
    // Under whatever key this node holds it, or is known.
    let key = match left(device, me, kind)? {
        Left::Reservation(k) => {
            r.release(k.0, kind_of(kind))?;
            k
        }
        Left::Key(k) => k,
        Left::Nothing => me,
    };
    r.unregister(key.0)?;
    match left(device, me, kind)? {
        Left::Nothing => Ok(()),
        _ => Err(PrError::Conflict),
    }
}
