// SPDX-License-Identifier: GPL-2.0

//! `rcopy`, the administrator's tool of dm-remote-copy.
//!
//! - [`cli`], [`error`]: what can be said, and how it ends
//! - [`units`]: numbers as people read them
//! - [`image`], [`progress`], [`reading`], [`dump`]: logs, read with core's own scanner
//! - [`devices`], [`volumes`], [`assemble`]: sets that are found by their logs
//! - [`line`], [`dm`], [`klog`], [`create`]: table lines, volumes that come and go, and why they do not
//! - [`nl`]: the module's netlink family, without any of the commands
//! - [`judge`]: whether a set has the protection that is configured
//! - [`status`], [`show`], [`events`], [`control`], [`metrics`]: sets that run
//! - [`man`], [`completion`], [`version`]: about the tool itself
#![forbid(unsafe_code)]

pub mod assemble;
pub mod cli;
pub mod completion;
pub mod control;
pub mod create;
pub mod devices;
pub mod dm;
pub mod dump;
pub mod error;
pub mod events;
pub mod image;
pub mod judge;
pub mod klog;
pub mod line;
pub mod man;
pub mod metrics;
pub mod nl;
pub mod progress;
pub mod reading;
pub mod show;
pub mod status;
pub mod units;
pub mod version;
pub mod volumes;
