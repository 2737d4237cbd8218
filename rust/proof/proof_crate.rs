// SPDX-License-Identifier: GPL-2.0

//! Crash proof: every crash of a small world, and what core's recovery makes of it.
//!
//! - [`rng`], [`survive`]: random numbers, subsets
//! - [`pmem`], [`disk`]: where bytes are kept, and what a crash leaves of them
//! - [`journal`]: an owner's log, put together as the driver does it
//! - [`host`]: what the host knows, and the rules that follow from it
//! - [`site`]: logs, disks and host together, and every step of them
//! - [`owner`], [`mirror`], [`shipping`], [`recovery`]: the driver's part, around core's decisions
//! - [`world`], [`crash`], [`damage`], [`explore`]: every sequence, every crash, every second crash
//! - [`report`]: what was tried
#![forbid(unsafe_code)]

pub mod crash;
pub mod damage;
pub mod disk;
pub mod explore;
pub mod host;
pub mod journal;
pub mod mirror;
pub mod owner;
pub mod pmem;
pub mod recovery;
pub mod report;
pub mod rng;
pub mod shipping;
pub mod site;
pub mod survive;
pub mod world;

/// A raw CRC32C: no inversion before or after.
pub fn crc(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}
