// SPDX-License-Identifier: GPL-2.0

//! The device-mapper target `remote-copy`: glue between kapi, which moves bios and bytes, and core,
//! which decides.
//!
//! The way of a write, by files:
//!
//! 1. [`target`]: dm calls `map`
//! 2. [`append`]: range lock, place in the log, one pass of non-temporal stores, one fence
//! 3. [`mirror`]: the sender thread streams the log to the partner, the receiver hears what is durable
//!    there; only then the local write goes out, from the log's own copy
//! 4. [`append`]: the local device answers, the host is told
//! 5. [`shipper`]: remote, low-water mark, space
//!
//! [`stages`] says of each step that it happened, and counts how long it took.
//!
//! The way of a recovery: [`recovery`] (start, scan, takeover, local replay), [`standby`] (the mirror).
//!
//! What an administrator is told and may do: [`report`] (`dmsetup status`), [`control`] and [`answers`]
//! (netlink), [`events`].
//!
//! Locks, in the order in which they may be taken (all sleep but the last three):
//! registry (`REGISTRY`) → list of sets (`SETS`) → `Set::control` → `Set::durable` → `Journal::marks` → `Journal::mirror` →
//! `Journal::mirrored` → a lane's append lock → a bucket of the range lock → the worker's queues.
//! `Set::threads`, `Set::watchers` and the locks of `Link` are leaves among those that sleep.
#![deny(unsafe_code)]

mod alone;
mod answers;
mod append;
mod control;
mod events;
mod frames;
mod handover;
mod journal;
mod keeper;
mod mirror;
mod record;
mod recovery;
mod registry;
mod report;
mod set;
mod sets;
mod shipper;
mod stages;
mod standby;
mod takeover;
mod target;
mod units;
mod worker;

use kapi_crate::{dm, genl};
use kernel::prelude::*;

module! {
    type: Driver,
    name: "dm_remote_copy",
    authors: ["dm-remote-copy developers"],
    description: "device-mapper remote copy with a mirrored micro-log",
    license: "GPL",
}

/// Of the target, and of the module.
pub(crate) const VERSION: [u32; 3] = [0, 1, 0];

/// The loaded module: the netlink family is there before the target and goes before it; the target is known to device-mapper as long as this lives.
#[pin_data]
struct Driver {
    _family: genl::Registration<control::Operations>,
    #[pin]
    registration: dm::Registration<target::Volume>,
}

impl kernel::InPlaceModule for Driver {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _family: genl::Registration::new()?,
            registration <- dm::Registration::new(module),
        })
    }
}
