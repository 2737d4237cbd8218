// SPDX-License-Identifier: GPL-2.0

//! What the host may find, by what it was told: the naive model that crash images are compared with.

use crate::client::{look, name, plan, Plan, Value, REGION};
use std::collections::HashMap;

/// When things happened: numbers of events in the trace, from 1.
pub type Time = usize;

#[derive(Clone, Copy)]
struct Write {
    plan: Plan,
    submitted: Time,
    /// 0: not yet.
    told: Time,
}

/// All writes of the load so far.
pub struct Oracle {
    writes: HashMap<u64, Write>,
    /// Those that cover a sector, in the order in which they were submitted.
    of_sector: Vec<Vec<u64>>,
    /// When the newest of those was submitted that the host was told of.
    newest: Vec<Time>,
    told: usize,
}

impl Oracle {
    /// No writes.
    pub fn new() -> Oracle {
        Oracle {
            writes: HashMap::new(),
            of_sector: vec![vec![]; REGION],
            newest: vec![0; REGION],
            told: 0,
        }
    }

    /// The host submits a write.
    pub fn submitted(&mut self, id: u64, now: Time) {
        let write = Write {
            plan: plan(id),
            submitted: now,
            told: 0,
        };
        for s in &mut self.of_sector[write.plan.first..write.plan.first + write.plan.sectors] {
            s.push(id);
        }
        self.writes.insert(id, write);
    }

    /// The host is told that it is there.
    pub fn told(&mut self, id: u64, now: Time) {
        let Some(w) = self.writes.get_mut(&id) else {
            return;
        };
        w.told = now;
        self.told += 1;
        for n in &mut self.newest[w.plan.first..w.plan.first + w.plan.sectors] {
            *n = (*n).max(w.submitted);
        }
    }

    /// Writes that the host was told of.
    pub fn acknowledged(&self) -> usize {
        self.told
    }

    /// Whether the host was told of this one.
    pub fn was_told(&self, id: u64) -> bool {
        self.writes.get(&id).is_some_and(|w| w.told != 0)
    }

    /// What the write does, if it was submitted.
    pub fn plan(&self, id: u64) -> Option<Plan> {
        self.writes.get(&id).map(|w| w.plan)
    }

    /// Whether a write that zeroes these sectors, and perhaps more, was submitted.
    pub fn zeroes(&self, first: usize, sectors: usize) -> bool {
        let one = |id: &u64| {
            let p = self.writes[id].plan;
            p.zero && first + sectors <= p.first + p.sectors
        };
        self.of_sector
            .get(first)
            .is_some_and(|ids| ids.iter().any(one))
    }

    /// Whether the write may be the newest one of a sector of which all that were submitted up to
    /// `floor` and acknowledged must be there: it is one of them, or was still open then, or came later.
    fn new_enough(w: &Write, floor: Time) -> bool {
        w.told == 0 || w.told > floor
    }

    /// Checks one sector.
    fn sector(&self, n: usize, value: Value, floor: Time) -> Result<(), String> {
        let zero = |id: &u64| {
            let w = &self.writes[id];
            w.plan.zero && Self::new_enough(w, floor)
        };
        match value {
            Value::Garbage => Err(format!("sector {n} holds bytes that were never written")),
            Value::Zero if floor == 0 || self.of_sector[n].iter().any(zero) => Ok(()),
            Value::Zero => Err(format!(
                "sector {n} is empty, but a write to it was acknowledged"
            )),
            Value::Of { id, index } => {
                let Some(w) = self.writes.get(&id) else {
                    return Err(format!(
                        "sector {n} holds {}, which was never submitted",
                        name(id)
                    ));
                };
                if w.plan.zero || w.plan.first + index != n {
                    return Err(format!(
                        "sector {n} holds sector {index} of {}, which belongs elsewhere",
                        name(id)
                    ));
                }
                if !Self::new_enough(w, floor) {
                    return Err(format!(
                        "sector {n} holds {}, but a later write to it was acknowledged",
                        name(id)
                    ));
                }
                Ok(())
            }
        }
    }

    /// Checks that all that was acknowledged is there.
    ///
    /// # Errors
    ///
    /// What is not.
    pub fn has_all<'a>(&self, sector: impl Fn(usize) -> &'a [u8]) -> Result<(), String> {
        (0..REGION).try_for_each(|n| self.sector(n, look(sector(n)), self.newest[n]))
    }

    /// Checks that this is a state which the host could have observed: with a write, all that had been
    /// acknowledged when it was submitted.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn is_a_prefix<'a>(&self, sector: impl Fn(usize) -> &'a [u8]) -> Result<(), String> {
        let values: Vec<Value> = (0..REGION).map(|n| look(sector(n))).collect();
        let newest = values
            .iter()
            .filter_map(|v| match v {
                Value::Of { id, .. } => self.writes.get(id).map(|w| w.submitted),
                _ => None,
            })
            .max()
            .unwrap_or(0);
        for (n, value) in values.iter().enumerate() {
            let before = |id: &&u64| {
                let w = &self.writes[*id];
                w.told != 0 && w.told < newest
            };
            let floor = self.of_sector[n]
                .iter()
                .rev()
                .find(before)
                .map_or(0, |id| self.writes[id].submitted);
            self.sector(n, *value, floor)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::SECTOR;

    /// Ids of two writes that overlap and do not zero, and a sector of both.
    fn overlapping() -> (u64, u64, usize) {
        let (a, pa) = (1..)
            .map(|id| (id, plan(id)))
            .find(|(_, p)| !p.zero)
            .unwrap();
        let (b, _) = (a + 1..)
            .map(|id| (id, plan(id)))
            .find(|(_, p)| !p.zero && (p.first..p.first + p.sectors).contains(&pa.first))
            .unwrap();
        (a, b, pa.first)
    }

    #[test]
    fn an_older_write_may_not_come_back() {
        let (a, b, n) = overlapping();
        let value = |id| Value::Of {
            id,
            index: n - plan(id).first,
        };
        let mut o = Oracle::new();
        o.submitted(a, 1);
        assert!(o.sector(n, Value::Zero, o.newest[n]).is_ok());
        assert!(o.sector(n, value(b), o.newest[n]).is_err());
        o.told(a, 2);
        assert!(o.sector(n, Value::Zero, o.newest[n]).is_err());
        o.submitted(b, 3);
        assert!(o.sector(n, value(a), o.newest[n]).is_ok());
        assert!(o.sector(n, value(b), o.newest[n]).is_ok());
        o.told(b, 4);
        assert!(o.sector(n, value(a), o.newest[n]).is_err());
        assert!(o.sector(n, value(b), o.newest[n]).is_ok());
        assert!(o.sector(n, Value::Garbage, o.newest[n]).is_err());
    }

    #[test]
    fn of_two_at_once_either_may_be_the_last() {
        let (a, b, n) = overlapping();
        let mut o = Oracle::new();
        o.submitted(a, 1);
        o.submitted(b, 2);
        o.told(b, 3);
        o.told(a, 4);
        for id in [a, b] {
            let index = n - plan(id).first;
            assert!(o.sector(n, Value::Of { id, index }, o.newest[n]).is_ok());
        }
    }

    #[test]
    fn nothing_stands_there_without_what_came_before() {
        let apart =
            |p: Plan, q: Plan| p.first + p.sectors <= q.first || q.first + q.sectors <= p.first;
        let b = (2..)
            .find(|id| apart(plan(1), plan(*id)) && !plan(*id).zero)
            .unwrap();
        let mut o = Oracle::new();
        o.submitted(1, 1);
        o.told(1, 2);
        o.submitted(b, 3);
        o.told(b, 4);
        let bytes = |write: u64, n: usize| {
            let p = plan(write);
            let index = n.checked_sub(p.first).filter(|i| *i < p.sectors)?;
            Some(crate::client::tests::sector_of(write, index))
        };
        let with = |ids: &[u64]| -> Vec<Vec<u8>> {
            (0..REGION)
                .map(|n| {
                    ids.iter()
                        .find_map(|id| bytes(*id, n))
                        .unwrap_or(vec![0; SECTOR])
                })
                .collect()
        };
        let (none, first, both, second) = (with(&[]), with(&[1]), with(&[1, b]), with(&[b]));
        assert!(!plan(1).zero);
        for ok in [&none, &first, &both] {
            o.is_a_prefix(|n| &ok[n]).unwrap();
        }
        o.is_a_prefix(|n| &second[n]).unwrap_err();
        o.has_all(|n| &both[n]).unwrap();
        for missing in [&none, &first, &second] {
            o.has_all(|n| &missing[n]).unwrap_err();
        }
    }
}
