// SPDX-License-Identifier: GPL-2.0

//! The logic of `dm-remote-copy`: formats, orders, decisions. No kernel, no I/O, no allocation.
//!
//! It is compiled twice: into the module, and on the host, where tests and simulators run it. Time,
//! memory and I/O come in through arguments and traits; decisions go out as values.
//!
//! Files, in the order in which a write meets them:
//!
//! - [`units`], [`limits`]: quantities and their bounds
//! - [`table`]: what an administrator configured
//! - [`layout`], [`format`], [`creation`]: where things lie in a log, what they look like, and how it is made
//! - [`order`]: a write's place in the order of the set
//! - [`lane`]: its place in the log
//! - [`sending`], [`wire`], [`receiver`]: its way to the partner
//! - [`partner`], [`ownership`], [`takeover`]: who owns the set, and what the partner's copy is good for
//! - [`merge`], [`ship`]: its way to the remote
//! - [`retire`]: when its space is free again
//! - [`recover`]: how it is found again after a crash
//! - [`histogram`]: how long all that takes
//! - [`control`], [`events`], [`news`], [`lag`], [`netlink`]: what an administrator may do, and is told
//! - [`plant`]: mistakes on purpose, for the tests
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

pub mod control;
pub mod creation;
pub mod events;
pub mod format;
pub mod histogram;
pub mod lag;
pub mod lane;
pub mod layout;
pub mod lease;
pub mod limits;
pub mod merge;
pub mod netlink;
pub mod news;
pub mod order;
pub mod ownership;
pub mod partner;
pub mod plant;
pub mod receiver;
pub mod recover;
pub mod retire;
pub mod sending;
pub mod ship;
pub mod table;
pub mod takeover;
pub mod units;
pub mod wire;
