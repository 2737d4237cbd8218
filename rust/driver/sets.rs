// SPDX-License-Identifier: GPL-2.0

//! The sets as netlink sees them. The registry serialises how sets come and go, which may take as long as
//! devices and threads take; this list is locked for a moment only, so that whoever looks does not wait
//! for that.
//!
//! Nobody who looks keeps a set: it is looked at under the lock, or [`call`] holds its end up. So when a
//! volume is gone, its devices are.

use crate::set::Set;
use kapi_crate::{global::Global, net::NetNs};
use kernel::{prelude::*, sync::Arc};

struct Entry {
    /// Rises; never used again. The key by which a dump goes on.
    id: u64,
    set: Arc<Set>,
    /// Operations under way.
    calls: u32,
    /// The set ends as soon as there are none.
    leaving: bool,
}

struct Sets {
    next_id: u64,
    /// By rising `id`.
    entries: KVec<Entry>,
}

static SETS: Global<Sets, 1> = Global::new(Sets {
    next_id: 1,
    entries: KVec::new(),
});

/// A set has been made.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn add(set: &Arc<Set>) -> Result {
    SETS.with(|sets| {
        let id = sets.next_id;
        sets.next_id = id.saturating_add(1);
        let entry = Entry {
            id,
            set: set.clone(),
            calls: 0,
            leaving: false,
        };
        Ok(sets.entries.push(entry, GFP_KERNEL)?)
    })
}

/// A set is about to end: no operation begins any more, and this waits for those under way, as
/// device-mapper does for its messages. Whoever looks still sees it, until [`remove`].
pub(crate) fn close(set: &Arc<Set>) {
    let is_busy = || {
        SETS.with(|sets| {
            let entry = sets.entries.iter_mut().find(|e| Arc::ptr_eq(&e.set, set));
            entry.is_some_and(|e| {
                e.leaving = true;
                e.calls > 0
            })
        })
    };
    while is_busy() {
        set.calls_ended.wait_unstoppable();
    }
}

/// A set has ended.
pub(crate) fn remove(set: &Arc<Set>) {
    SETS.with(|sets| {
        sets.entries.retain(|e| !Arc::ptr_eq(&e.set, set));
        if sets.entries.is_empty() {
            // An empty vector keeps its memory otherwise, also over the end of the module.
            sets.entries = KVec::new();
        }
    });
}

/// Looks at the sets of a namespace, by rising key, from `from` on. First `begin` is given a number that is
/// another one if other sets, or other volumes of them, are there.
pub(crate) fn visit<C>(
    ns: &NetNs,
    from: u64,
    context: &mut C,
    begin: impl FnOnce(&mut C, u32),
    mut f: impl FnMut(&mut C, u64, &Set) -> Result,
) -> Result {
    SETS.with(|sets| {
        let mut state = 0x811c_9dc5u32;
        for e in sets.entries.iter().filter(|e| e.set.ns == *ns) {
            for word in [e.id as u32, e.set.volumes()] {
                state = (state ^ word).wrapping_mul(0x0100_0193);
            }
        }
        begin(context, state);
        for e in sets
            .entries
            .iter()
            .filter(|e| e.set.ns == *ns && e.id >= from)
        {
            f(context, e.id, &e.set)?;
        }
        Ok(())
    })
}

/// Looks at one set.
pub(crate) fn look<R>(ns: &NetNs, name: &str, f: impl FnOnce(&Set) -> R) -> Option<R> {
    SETS.with(|sets| {
        let entry = sets.entries.iter().find(|e| e.set.is(ns, name))?;
        Some(f(&entry.set))
    })
}

/// Does something to a set that takes its time. The set does not end meanwhile.
pub(crate) fn call(ns: &NetNs, name: &str, f: impl FnOnce(&Arc<Set>) -> Result) -> Option<Result> {
    let (id, set) = SETS.with(|sets| {
        let mut all = sets.entries.iter_mut();
        let entry = all.find(|e| e.set.is(ns, name) && !e.leaving)?;
        entry.calls = entry.calls.saturating_add(1);
        Some((entry.id, entry.set.clone()))
    })?;
    let result = f(&set);
    // The reference goes before the count does: nobody but the registry drops the last one.
    drop(set);
    SETS.with(|sets| {
        if let Some(e) = sets.entries.iter_mut().find(|e| e.id == id) {
            e.calls = e.calls.saturating_sub(1);
            if e.leaving && e.calls == 0 {
                // Under the lock: the entry keeps the set until [`close`] has seen this.
                e.set.calls_ended.signal();
            }
        }
    });
    Some(result)
}
