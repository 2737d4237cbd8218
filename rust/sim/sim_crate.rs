// SPDX-License-Identifier: GPL-2.0

//! A whole deployment on virtual time, from a seed.
//!
//! Two nodes with a log each, the units and the ownership record that both reach, a remote, the link
//! between the nodes, and a host. What a node decides is decided by core's real code; what the driver
//! does around it is written again here, file by file under the same names, over parts that fail: see
//! `rust/driver`.
//!
//! - [`exec`]: threads and time; [`pmem`], [`disk`], [`net`]: parts that fail; [`rng`], [`media`].
//! - `set`, `target`, `append`, `journal`, `mirror`, `standby`, `shipper`, `recovery`, `takeover`, ...:
//!   the driver.
//! - [`host`], [`schedule`], [`world`]: what happens to it. [`oracle`]: what may come of it.
//! - [`scenarios`]: what once failed, again and again.
//! - [`run`]: a run, and how it is made smaller. [`plant`]: mistakes on purpose. [`proof`]: results.

mod alone;
mod append;
pub mod bio;
pub mod config;
pub mod disk;
mod errno;
pub mod exec;
mod frames;
mod handover;
pub mod host;
mod journal;
mod keeper;
pub mod media;
mod mirror;
pub mod net;
pub mod oracle;
pub mod plant;
pub mod pmem;
pub mod proof;
mod range_lock;
mod record;
mod recovery;
pub mod rng;
pub mod run;
pub mod scenarios;
pub mod schedule;
pub mod set;
mod shipper;
mod standby;
mod takeover;
mod target;
mod units;
mod worker;
pub mod world;
