// SPDX-License-Identifier: GPL-2.0

//! The module's generic netlink family: names and numbers, bytes, and the socket.

pub mod client;
pub mod names;
pub mod wire;

use crate::error::{Error, Result};
use names::Op;
use wire::{Attributes, Object};

/// Whoever answers requests: the kernel, or a test.
pub trait Kernel {
    /// One request; what is answered, none or one.
    ///
    /// # Errors
    ///
    /// The kernel refuses, in its words.
    fn ask(&mut self, op: &'static Op, attrs: &Attributes) -> Result<Vec<Object>>;

    /// All there are.
    ///
    /// # Errors
    ///
    /// The kernel refuses, in its words.
    fn dump(&mut self, op: &'static Op, attrs: &Attributes) -> Result<Vec<Object>>;
}

/// A set, or all of them.
///
/// # Errors
///
/// There is no such set, or no module.
pub fn sets(kernel: &mut dyn Kernel, set: Option<&str>) -> Result<Vec<Object>> {
    let op = &names::OP_SET_GET;
    match set {
        Some(name) => kernel
            .ask(op, &named(op, "name", name))
            .map_err(|e| about(name, e)),
        None => kernel.dump(op, &Attributes::default()),
    }
}

/// An error with the set that it is about: the attribute that names it is no word of the command line.
pub fn about(set: &str, e: Error) -> Error {
    let text = e.text.strip_prefix("name: ").unwrap_or(&e.text);
    let set = if set.is_empty() { "''" } else { set };
    Error {
        text: format!("{set}: {text}"),
        ..e
    }
}

/// What belongs to a set, or to all of them.
///
/// # Errors
///
/// As for [`sets`].
pub fn parts(kernel: &mut dyn Kernel, op: &'static Op, set: Option<&str>) -> Result<Vec<Object>> {
    // Of these operations some answer one set by a request, all of them answer a dump.
    let mut all = kernel.dump(op, &Attributes::default())?;
    all.retain(|o| set.is_none_or(|s| o.text("set") == s));
    Ok(all)
}

/// A request that names a set.
pub fn named(op: &Op, key: &str, set: &str) -> Attributes {
    let mut attrs = Attributes::default();
    if let Some(a) = op.attrs.by_name(key) {
        attrs.text(a.id, set);
    }
    attrs
}
