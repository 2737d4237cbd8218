// SPDX-License-Identifier: GPL-2.0

//! Which sets there are. Names are scoped to the network namespace of whoever makes a volume, so that
//! one kernel can host all controllers of a deployment.

use crate::{events, set::Set, sets};
use core_crate::{events::Kind, table::Table};
use kapi_crate::{global::Global, net::NetNs};
use kernel::{prelude::*, sync::Arc};

/// One set and how many volumes (table lines) use it.
struct Entry {
    set: Arc<Set>,
    users: usize,
}

static REGISTRY: Global<KVec<Entry>> = Global::new(KVec::new());

/// Finds the set of a table line in the caller's namespace, or makes it with `make`.
///
/// # Errors
///
/// `make`'s; `ENOMEM`; what [`Set::check_joins`] finds wrong, in which case `say` was told.
pub(crate) fn join(
    table: &Table<'_>,
    say: &mut dyn FnMut(core::fmt::Arguments<'_>),
    make: impl FnOnce(NetNs, &mut dyn FnMut(core::fmt::Arguments<'_>)) -> Result<Arc<Set>>,
) -> Result<Arc<Set>> {
    let ns = NetNs::current();
    REGISTRY.with(|entries| {
        for e in entries.iter_mut() {
            if e.set.is(&ns, table.set.as_str()) {
                e.set.check_joins(table, say)?;
                e.users += 1;
                return Ok(e.set.clone());
            }
        }
        let set = make(ns, say)?;
        for e in entries.iter() {
            if e.set.log_overlaps(&set) {
                say(format_args!(
                    "the log region overlaps that of set '{}'; choose another log_offset or log_size",
                    e.set.name.as_str()
                ));
                return Err(EBUSY);
            }
            if e.set.record_overlaps(&set) {
                say(format_args!(
                    "the ownership record overlaps that of set '{}'; choose another metadata_offset",
                    e.set.name.as_str()
                ));
                return Err(EBUSY);
            }
        }
        sets::add(&set)?;
        let entry = Entry { set: set.clone(), users: 1 };
        if entries.push(entry, GFP_KERNEL).is_err() {
            sets::remove(&set);
            return Err(ENOMEM);
        }
        let state = set.phase().as_str();
        events::note(&set, Kind::Created, "", state, format_args!("its first volume is made"));
        events::flush(&set);
        Ok(set)
    })
}

/// A volume is gone. With the last one the set ends: its threads are joined before this returns, and
/// the registry stays locked meanwhile, so that nobody opens the same log twice.
pub(crate) fn leave(set: &Arc<Set>) {
    REGISTRY.with(|entries| {
        let Some(i) = entries.iter().position(|e| Arc::ptr_eq(&e.set, set)) else {
            return;
        };
        if let Some(e) = entries.get_mut(i) {
            e.users = e.users.saturating_sub(1);
            if e.users > 0 {
                return;
            }
        }
        sets::close(set);
        set.stop();
        events::note(
            set,
            Kind::Removed,
            "stopping",
            "",
            format_args!("its last volume is gone"),
        );
        events::flush(set);
        sets::remove(set);
        let _ = entries.remove(i);
        if entries.is_empty() {
            // An empty vector keeps its memory otherwise, also over the end of the module.
            *entries = KVec::new();
        }
    });
}
