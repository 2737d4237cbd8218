// SPDX-License-Identifier: GPL-2.0

//! One crash image: one node's log as the power left it, and both units. What its recovery makes of it
//! is compared with what the host had been told.

use crate::{
    client::{look, name, Plan, Value, REGION, SECTOR},
    memory::Survivors,
    oracle::Oracle,
    random::Random,
    recovery::{data, recover, Recovered},
    world::{Stored, World, OWNER},
};
use core_crate::{
    format::{Copy_, Role},
    units::{Op, Seq},
};
use std::collections::{BTreeMap, HashSet};

/// What was to be seen and is not.
pub type Lost = String;

/// Recovers one node's log if the power goes now. `seen`: images of this log at this point that were
/// looked at before; none is twice. Answers whether this one was new.
///
/// # Errors
///
/// What is wrong with what it finds or makes.
pub fn image(
    world: &mut World,
    node: usize,
    survivors: Survivors,
    random: &mut Random,
    seen: &mut HashSet<u64>,
) -> Result<bool, Lost> {
    let World {
        logs,
        disks,
        oracle,
        stored,
        ..
    } = world;
    let result = logs[node].crash(survivors, random, |bytes, survived| {
        if !seen.insert(survived) {
            return Ok(false);
        }
        let recovered = recover(bytes).map_err(|damage| format!("the log is refused: {damage}"))?;
        let Some(r) = recovered else {
            return if oracle.acknowledged() == 0 {
                Ok(true)
            } else {
                Err("the log is blank".into())
            };
        };
        may_recover(&r, node, oracle)?;
        records(&r, bytes, oracle, stored)?;
        World::replay(disks, bytes, &r)?;
        let [local, remote] = &*disks;
        oracle
            .has_all(|n| local.sector(n))
            .map_err(|e| format!("local unit: {e}"))?;
        for n in 0..REGION {
            if local.sector(n) != remote.sector(n) {
                return Err(format!("local unit and remote differ in sector {n}"));
            }
        }
        Ok(true)
    });
    for disk in disks {
        disk.take_back();
    }
    result
}

/// Whether this node would be asked: an owner starts from its log, a standby takes over with a copy that
/// is complete. It has to be, once anything was acknowledged.
fn may_recover(r: &Recovered, node: usize, oracle: &Oracle) -> Result<(), Lost> {
    let wanted = (
        if node == OWNER {
            Role::Owner
        } else {
            Role::Standby
        },
        Copy_::Complete,
    );
    if oracle.acknowledged() > 0 && (r.mine.role, r.mine.copy) != wanted {
        return Err(format!(
            "the superblock says {:?}, {:?}",
            r.mine.role, r.mine.copy
        ));
    }
    Ok(())
}

/// Every record is one that the owner had stored, with the bytes that the host wrote; and of what the
/// host was told, each is there or retired.
fn records(
    r: &Recovered,
    bytes: &[u8],
    oracle: &Oracle,
    stored: &BTreeMap<Seq, Stored>,
) -> Result<(), Lost> {
    for h in &r.records {
        let Some(s) = stored.get(&h.seq) else {
            return Err(format!("sequence {} was never given", h.seq));
        };
        if s.header != *h {
            return Err(format!(
                "sequence {} is not what was stored: {h:?}, not {:?}",
                h.seq, s.header
            ));
        }
        if h.op == Op::Cancel {
            continue;
        }
        let (first, sectors) = (h.extent.sector as usize, h.extent.sectors as usize);
        let bytes = data(bytes, &r.mine, h);
        match s.of {
            None if oracle.zeroes(first, sectors) && bytes.iter().all(|b| *b == 0) => {}
            None => return Err(format!("sequence {} zeroes what nobody zeroed", h.seq)),
            Some((id, from)) => {
                let fits = |p: Plan| p.first + from == first && from + sectors <= p.sectors;
                if !oracle.plan(id).is_some_and(fits) {
                    return Err(format!(
                        "sequence {} has data of {}, which is for another place",
                        h.seq,
                        name(id)
                    ));
                }
                for (index, sector) in (from..).zip(bytes.chunks_exact(SECTOR)) {
                    if look(sector) != (Value::Of { id, index }) {
                        return Err(format!(
                            "sequence {}: sector {index} of {} is not what was written",
                            h.seq,
                            name(id)
                        ));
                    }
                }
            }
        }
    }
    for (seq, s) in stored.range(r.mark.retired.next()..) {
        let Some((id, _)) = s.of else { continue };
        if oracle.was_told(id) && r.records.binary_search_by_key(seq, |h| h.seq).is_err() {
            return Err(format!(
                "sequence {seq} ({}) was acknowledged, and it is neither there nor retired (up to {})",
                name(id),
                r.mark.retired
            ));
        }
    }
    Ok(())
}

/// The remote as it is now, before anybody recovers.
///
/// # Errors
///
/// What it has although something before it is missing.
pub fn remote(world: &World) -> Result<(), Lost> {
    world
        .oracle
        .is_a_prefix(|n| world.disks[1].sector(n))
        .map_err(|e| format!("the remote is not a prefix: {e}"))
}
