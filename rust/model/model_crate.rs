// SPDX-License-Identifier: GPL-2.0

//! Who owns a set: every history of two nodes within bounds.
//!
//! Two nodes, the units that both reach, the reservations on them, the ownership record, and the
//! connections between the nodes. What a node decides is decided by core's own functions; the model
//! executes it one act at a time, and between any two acts anything else may happen: a node dies, a
//! connection breaks, a message or an I/O that was under way arrives, a timer expires, an
//! administrator says something.
//!
//! [`explore`] visits all states, breadth first, and checks the properties of [`check`] in each. It is
//! not stateright because that keeps one hash map of whole states, actions and parents: with flat
//! states, fingerprints and no parents this visits several times as many states a second, in an eighth of
//! the memory. The shortest way to a violation is found by a second run that keeps parents.
//!
//! - [`state`]: all there is; [`config`]: what may happen; [`steps`]: in which order nodes do things.
//! - [`units`]: the storage; [`node`]: lives and jobs; [`takeover`]; [`link`]: connections;
//!   [`host`]: writes; [`world`]: the rest, and all of it together.

pub mod check;
pub mod config;
pub mod explore;
mod host;
mod link;
mod node;
pub mod state;
pub mod steps;
mod takeover;
mod units;
pub mod world;
