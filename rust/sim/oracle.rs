// SPDX-License-Identifier: GPL-2.0

//! What a host may find, told by what it was told, and by nothing that the log says: no sequence, no
//! mark. Deliberately naive: all writes that ever were are kept, and compared with each other.
//!
//! One write is before another if it was acknowledged before that one was submitted. What is neither
//! before nor behind may have happened in either order.

use crate::{
    disk::Disk,
    exec::violate,
    media::{Tag, GARBAGE},
};
use std::{collections::BTreeMap, rc::Rc};

const NEVER: u64 = u64::MAX;

/// A write of the host.
struct Write {
    first: usize,
    len: usize,
    zero: bool,
    submit: u64,
    acked: u64,
    /// When the host was told anything, or its node died.
    ended: u64,
    refused: bool,
    /// The host was told that it failed and will never be made.
    cancelled: bool,
    /// When it was first seen in a place.
    seen: BTreeMap<usize, u64>,
    /// Places in which it was looked for, after its end, in vain.
    absent: Vec<usize>,
}

impl Write {
    fn covers(&self, place: usize) -> bool {
        (self.first..self.first + self.len).contains(&place)
    }

    /// Since when it is certainly there.
    fn there(&self, place: usize) -> u64 {
        self.acked
            .min(self.seen.get(&place).copied().unwrap_or(NEVER))
    }
}

/// The places of a request: those of all volumes stand in one row.
pub struct Oracle {
    clock: u64,
    sectors: usize,
    writes: Vec<Write>,
    by_place: Vec<Vec<usize>>,
    /// A forced takeover has given up what its mirror missed, and the remote.
    forced: bool,
    pub acked: u64,
    pub reads: u64,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Ok,
    Refused,
    /// It failed, or its node is gone: it may be made or not.
    Unknown,
}

impl Oracle {
    pub fn new(members: u16, sectors: u64) -> Oracle {
        let sectors = sectors as usize;
        Oracle {
            clock: 1,
            sectors,
            writes: vec![],
            by_place: vec![vec![]; usize::from(members) * sectors],
            forced: false,
            acked: 0,
            reads: 0,
        }
    }

    /// The moment that begins now.
    pub fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Where the sectors of a volume stand.
    pub fn place(&self, member: u16, sector: u64) -> usize {
        usize::from(member) * self.sectors + sector as usize
    }

    /// A write is submitted; answers the number with which it fills its sectors.
    pub fn submit(&mut self, first: usize, len: u32, zero: bool) -> Tag {
        let submit = self.now();
        for p in first..first + len as usize {
            self.by_place[p].push(self.writes.len());
        }
        self.writes.push(Write {
            first,
            len: len as usize,
            zero,
            submit,
            acked: NEVER,
            ended: NEVER,
            refused: false,
            cancelled: false,
            seen: BTreeMap::new(),
            absent: vec![],
        });
        self.writes.len() as Tag
    }

    /// The host is told.
    pub fn told(&mut self, tag: Tag, end: End) {
        let now = self.now();
        let w = &mut self.writes[tag as usize - 1];
        w.ended = now;
        match end {
            End::Ok => {
                w.acked = now;
                self.acked += 1;
                if w.cancelled {
                    violate(format!("write {tag} was cancelled and acknowledged"));
                }
            }
            End::Refused => w.refused = true,
            End::Unknown => {}
        }
    }

    /// The host is about to be told that the write failed and will never be made. Some of it may be at
    /// the local unit all the same.
    pub fn cancelled(&mut self, tag: Tag, local: &[Rc<Disk>]) {
        let w = tag as usize - 1;
        self.writes[w].cancelled = true;
        let (first, len) = (self.writes[w].first, self.writes[w].len);
        for place in first..first + len {
            let disk = &local[place / self.sectors];
            let found = disk.candidates((place % self.sectors) as u64);
            if !found.contains(&tag) {
                self.writes[w].absent.push(place);
            }
        }
    }

    /// What was cancelled is not written any more.
    pub fn check_local(&self, disks: &[Rc<Disk>]) {
        for (member, disk) in (0u16..).zip(disks) {
            for sector in 0..disk.sectors() {
                let (place, tag) = (self.place(member, sector), disk.visible(sector));
                let write = tag.checked_sub(1).and_then(|w| self.writes.get(w as usize));
                if write.is_some_and(|w| w.cancelled && w.absent.contains(&place)) {
                    return violate(format!(
                        "write {tag} was cancelled and is written to place {place} of the local unit"
                    ));
                }
            }
        }
    }

    pub fn submitted_at(&self, tag: Tag) -> u64 {
        self.writes[tag as usize - 1].submit
    }

    /// A takeover was forced.
    pub fn forced(&mut self) {
        self.forced = true;
    }

    fn before(&self, a: usize, b: usize) -> bool {
        self.writes[a].acked < self.writes[b].submit
    }

    /// The writes that a sector with this number may show; `None` is the beginning.
    fn candidates(&self, place: usize, tag: Tag) -> Result<Vec<Option<usize>>, String> {
        if tag == 0 {
            let zeroes = self.by_place[place]
                .iter()
                .filter(|w| self.writes[**w].zero && !self.writes[**w].refused)
                .map(|w| Some(*w));
            return Ok(std::iter::once(None).chain(zeroes).collect());
        }
        if tag == GARBAGE {
            return Err("bytes that no write has written".into());
        }
        let w = tag as usize - 1;
        match self.writes.get(w) {
            Some(write) if write.covers(place) && !write.refused && !write.zero => {
                Ok(vec![Some(w)])
            }
            _ => Err(format!("write {tag}, which never was to be there")),
        }
    }

    /// A host has read a place; `since`: when it began to.
    pub fn read(&mut self, place: usize, tag: Tag, since: u64) {
        self.reads += 1;
        if self.forced {
            return;
        }
        let candidates = match self.candidates(place, tag) {
            Ok(c) => c,
            Err(what) => return violate(format!("a read of place {place} finds {what}")),
        };
        let mut newer = None;
        let fits = candidates.into_iter().filter(|c| {
            let older = self.by_place[place].iter().copied().find(|b| {
                self.writes[*b].there(place) < since
                    && Some(*b) != *c
                    && c.is_none_or(|c| self.before(c, *b))
            });
            newer = newer.or(older);
            older.is_none()
        });
        let fits: Vec<_> = fits.collect();
        if fits.is_empty() {
            let lost = newer.map_or(0, |w| w + 1);
            return violate(format!(
                "(1) place {place}: a read finds write {tag}, but write {lost} was there before"
            ));
        }
        let now = self.now();
        if let [Some(only)] = fits[..] {
            if self.writes[only].absent.contains(&place) {
                return violate(format!(
                    "(6) place {place}: write {tag} comes back after it was looked for in vain"
                ));
            }
            if self.writes[only].cancelled {
                return;
            }
            self.writes[only].seen.entry(place).or_insert(now);
        }
        if let [only] = fits[..] {
            for i in 0..self.by_place[place].len() {
                let x = self.by_place[place][i];
                let gone = self.writes[x].ended < since
                    && Some(x) != only
                    && self.writes[x].acked == NEVER
                    && only.is_none_or(|c| self.before(c, x));
                if gone && !self.writes[x].zero && !self.writes[x].absent.contains(&place) {
                    self.writes[x].absent.push(place);
                }
            }
        }
    }

    /// What is at the remote, and what its cache may leave of it, is what the host could have seen at one
    /// moment (rule 2).
    pub fn check_remote(&self, disks: &[Rc<Disk>]) {
        if self.forced {
            return;
        }
        let mut all = vec![];
        for (member, disk) in (0u16..).zip(disks) {
            for sector in 0..disk.sectors() {
                let place = self.place(member, sector);
                for tag in disk.candidates(sector) {
                    match self.candidates(place, tag) {
                        Ok(c) => all.push((place, tag, c)),
                        Err(what) => {
                            return violate(format!("the remote shows {what} in place {place}"))
                        }
                    }
                }
            }
        }
        // The newest submission of which the remote shows anything, in any place and in any other.
        let (mut newest, mut newest_at, mut second) = (0, usize::MAX, 0);
        for (place, tag, _) in all.iter().filter(|(_, tag, _)| *tag != 0) {
            let w = &self.writes[*tag as usize - 1];
            if w.cancelled {
                return violate(format!("write {tag} was cancelled and is at the remote"));
            }
            if w.absent.contains(place) {
                return violate(format!(
                    "(3) write {tag} is at the remote, and is known not to be at the local unit"
                ));
            }
            if w.submit > newest {
                if newest_at != *place {
                    second = newest;
                }
                (newest, newest_at) = (w.submit, *place);
            } else if newest_at != *place {
                second = second.max(w.submit);
            }
        }
        for (place, tag, candidates) in &all {
            let limit = if newest_at == *place { second } else { newest };
            let missed = |c: &Option<usize>| {
                self.by_place[*place].iter().copied().find(|b| {
                    self.writes[*b].acked < limit
                        && Some(*b) != *c
                        && c.is_none_or(|c| self.before(c, *b))
                })
            };
            if let Some(lost) = candidates.iter().map(missed).min().flatten() {
                if candidates.iter().all(|c| missed(c).is_some()) {
                    return violate(format!(
                        "(2) the remote is no prefix: place {place} may show write {tag} and not write {}, \
                         which was acknowledged before a write that is there",
                        lost + 1
                    ));
                }
            }
        }
    }

    /// Synchronous: the remote has it, whatever becomes of its cache.
    pub fn check_sync(&self, tag: Tag, disks: &[Rc<Disk>]) {
        let w = tag as usize - 1;
        let write = &self.writes[w];
        for place in write.first..write.first + write.len {
            let disk = &disks[place / self.sectors];
            for found in disk.candidates((place % self.sectors) as u64) {
                let ok = self.candidates(place, found).is_ok_and(|c| {
                    c.iter()
                        .any(|c| *c == Some(w) || c.is_some_and(|c| !self.before(c, w)))
                });
                if !ok && !self.forced {
                    violate(format!(
                        "(1) write {tag} is acknowledged, and the remote may have write {found} in place \
                         {place}"
                    ));
                }
            }
        }
    }

    /// At rest both sides hold the same, and nothing of it is in a cache (rule 3).
    pub fn check_converged(&self, local: &[Rc<Disk>], remote: &[Rc<Disk>]) {
        if self.forced {
            return;
        }
        for place in 0..self.by_place.len() {
            let (member, sector) = (place / self.sectors, (place % self.sectors) as u64);
            let (l, r) = (
                local[member].visible(sector),
                remote[member].visible(sector),
            );
            let broken = l.checked_sub(1).and_then(|w| self.writes.get(w as usize));
            if broken.is_some_and(|w| w.cancelled) {
                continue;
            }
            if l != r {
                return violate(format!(
                    "(3) at rest, place {place} has write {l} locally and write {r} at the remote"
                ));
            }
            for (disk, what) in [(&local[member], "local"), (&remote[member], "remote")] {
                if disk.candidates(sector).iter().any(|c| *c != l) {
                    return violate(format!(
                        "(3) at rest, place {place} is in the cache of the {what} unit only"
                    ));
                }
            }
        }
    }
}
