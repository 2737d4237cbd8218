// SPDX-License-Identifier: GPL-2.0

//! Persistent reservations on what both partners reach: the ownership record's device first, whose
//! holder is the owner, then the local units. Remote units are seized when they are opened.

use crate::{
    disk::Handle,
    errno::Errno,
    plant::{is, Mistake},
    set::Set,
};
use core_crate::{
    format::NodeKey,
    ownership::{seize as how, Claim, Hold, Kind, Left, Seize},
    units::Generation,
};

/// Why a unit could not be made this node's own.
pub enum Failed {
    PartnerHolds,
    ForeignHolds(NodeKey),
    Device,
}

impl Failed {
    pub fn errno(&self) -> Errno {
        match self {
            Failed::PartnerHolds => Errno::Conflict,
            Failed::ForeignHolds(_) => Errno::Busy,
            Failed::Device => Errno::Io,
        }
    }
}

impl From<Errno> for Failed {
    fn from(_: Errno) -> Failed {
        Failed::Device
    }
}

/// Makes one device this node's own; answers the reign of its key there.
pub async fn seize_device(
    device: &Handle,
    me: NodeKey,
    kind: Kind,
    claim: Claim,
) -> Result<Generation, Failed> {
    let mut registered = false;
    let mut failed = Failed::Device;
    // Again if somebody else was quicker, or has just let go.
    for _ in 0..3 {
        let hold = Hold::of(me, device.holder().await?);
        let done = match how(me, hold, claim) {
            Seize::Held(key) => {
                registered = true;
                device.register(key.0).await?;
                // Who preempted this node just before that has the device now.
                if is(Mistake::HeldUnproved) || Hold::of(me, device.holder().await?) == Hold::Mine {
                    return Ok(key.reign());
                }
                continue;
            }
            Seize::Reserve(key) => {
                registered = true;
                device.register(key.0).await?;
                device.reserve(key.0, kind).await
            }
            Seize::Preempt(key, k) => {
                registered = true;
                device.register(key.0).await?;
                device.preempt(key.0, k.0, kind).await
            }
            Seize::PartnerHolds(_) => {
                failed = Failed::PartnerHolds;
                break;
            }
            Seize::ForeignHolds(k) => {
                failed = Failed::ForeignHolds(k);
                break;
            }
            Seize::Unknown => break,
        };
        match done {
            Ok(()) | Err(Errno::Conflict) => {}
            Err(e) => return Err(e.into()),
        }
    }
    // Where a key alone gives the right to write, it does not stay with who holds nothing.
    if kind == Kind::Registrants && registered {
        device.unregister().await?;
    }
    Err(failed)
}

/// The devices that both partners reach, the record's first.
fn all(set: &Set) -> impl Iterator<Item = &Handle> {
    let record = set.record.iter().map(|r| &r.device);
    record.chain(&set.locals)
}

/// Whether all of them say who holds them.
pub async fn answer(set: &Set) -> Result<(), Failed> {
    if set.reservation.is_some() {
        for device in all(set) {
            device.holder().await?;
        }
    }
    Ok(())
}

/// Makes all of them this node's own, as far as `claim` goes; answers the newest reign of its keys.
pub async fn seize(set: &Set, me: NodeKey, claim: Claim) -> Result<Generation, Failed> {
    let mut newest = Generation(0);
    let Some(kind) = set.reservation else {
        return Ok(newest);
    };
    for device in all(set) {
        newest = newest.max(seize_device(device, me, kind, claim).await?);
    }
    Ok(newest)
}

/// Makes this node known where that alone gives no right to write.
pub async fn register(set: &Set, me: Option<NodeKey>) -> Result<(), Failed> {
    let Some(kind) = set.reservation else {
        return Ok(());
    };
    for device in all(set) {
        match (me, kind) {
            (Some(me), Kind::Holder) => device.register(me.0).await?,
            _ => drop(device.holder().await?),
        }
    }
    Ok(())
}

/// Who holds them: the worst answer of all.
pub async fn hold(set: &Set, me: NodeKey) -> Hold {
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
    for device in all(set) {
        let held = device.holder().await;
        let hold = held.map_or(Hold::Unknown, |held| Hold::of(me, held));
        if rank(hold) > rank(worst) {
            worst = hold;
        }
    }
    worst
}

/// Gives all of them up: this node leaves, or hands over. Answers whether that is certain.
pub async fn release(set: &Set, me: NodeKey) -> bool {
    let Some(kind) = set.reservation else {
        return true;
    };
    let mut certain = true;
    for device in all(set) {
        certain &= release_device(device, me, kind).await;
    }
    certain
}

/// The same of a node that keeps the mirror from now on: if it is not certain, the keeper goes on.
pub async fn leave(set: &Set, me: NodeKey) {
    if !release(set, me).await {
        set.left.set(Some(me));
        set.keep.signal();
    }
}

/// Gives up what this node still has at any of them; answers whether there is certainly nothing left.
pub async fn let_go(set: &Set, me: NodeKey) -> bool {
    let Some(kind) = set.reservation else {
        return true;
    };
    let mut certain = true;
    for device in all(set) {
        certain &= match left(device, me, kind).await {
            Ok(Left::Nothing) => true,
            Ok(_) => give_up(device, me, kind).await.is_ok(),
            Err(_) => false,
        };
    }
    certain
}

/// Gives one device up, if this node holds it; answers whether that is certain.
pub async fn release_device(device: &Handle, me: NodeKey, kind: Kind) -> bool {
    give_up(device, me, kind).await.is_ok()
}

/// What this node has at a device.
async fn left(device: &Handle, me: NodeKey, kind: Kind) -> Result<Left, Errno> {
    let holder = device.holder().await?;
    let registered = match kind {
        Kind::Holder => None,
        Kind::Registrants => device.registered().await?,
    };
    Ok(Left::of(me, kind, holder, registered))
}

/// `Ok`: this node has nothing left there.
async fn give_up(device: &Handle, me: NodeKey, kind: Kind) -> Result<(), Errno> {
    if let Left::Reservation(k) = left(device, me, kind).await? {
        device.release(k.0).await?;
    }
    device.unregister().await?;
    match left(device, me, kind).await? {
        Left::Nothing => Ok(()),
        _ => Err(Errno::Conflict),
    }
}
