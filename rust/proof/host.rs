// SPDX-License-Identifier: GPL-2.0

//! The host, which remembers what it was told; and from that, naively, what may stand on a disk.
//!
//! Nothing of core is used here: no sequence, no limit, no mark. A write is known by its number, and by
//! what had been acknowledged when it was submitted.

use crate::{disk::SECTOR, rng::mix};

/// Sectors of the volume.
pub const SECTORS: usize = 12;

/// What a sector holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Content {
    /// What it held before the first write.
    Untouched,
    /// What the write with this number put there.
    Of(u8),
    /// Zeroes.
    Zeroes,
    /// Something that nobody wrote there: torn, another sector's, or of a life long ago.
    Garbage,
}

/// What each sector of a disk holds.
pub type Contents = [Content; SECTORS];

/// How far a write has come, as the host sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Fate {
    /// The host waits for it.
    Submitted,
    /// The host was told that it is done.
    Told,
    /// The host was told that it failed.
    Failed,
    /// Nobody was told, and a recovery has come to an end without it: it is gone for good.
    Gone,
}

/// One write of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Write {
    /// Whether it writes zeroes.
    pub zero: bool,
    /// First sector.
    pub sector: u64,
    /// How many.
    pub sectors: u32,
    /// By bits: the writes of whose end the host had been told when it submitted this one.
    pub before: u32,
    /// See [`Fate`].
    pub fate: Fate,
    /// It was told only when the remote had it, too.
    pub sync: bool,
}

impl Write {
    fn covers(&self, sector: usize) -> bool {
        (self.sector..self.sector + u64::from(self.sectors)).contains(&(sector as u64))
    }
}

/// The host's memory.
#[derive(Clone, Default)]
pub struct Host {
    /// Its writes; those that overlap are submitted one after the end of the other.
    pub writes: Vec<Write>,
}

/// The bytes that a write puts into a sector; 0 stands for what was there before.
pub fn pattern(number: u64, sector: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    for (i, w) in bytes.chunks_exact_mut(8).enumerate() {
        let word = mix((number << 32) | (sector << 16) | i as u64);
        // The first word names the write; no word is zero.
        let word = if i == 0 {
            (word << 8) | number
        } else {
            word | 1
        };
        w.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A volume that nobody has written to.
pub fn untouched() -> Vec<u8> {
    (0..SECTORS as u64).flat_map(|s| pattern(0, s)).collect()
}

/// Reads a disk.
pub fn contents(disk: &[u8]) -> Contents {
    let mut all = [Content::Garbage; SECTORS];
    for (s, (c, bytes)) in all.iter_mut().zip(disk.chunks_exact(SECTOR)).enumerate() {
        *c = if bytes.iter().all(|b| *b == 0) {
            Content::Zeroes
        } else if *bytes != pattern(u64::from(bytes[0]), s as u64) {
            Content::Garbage
        } else if bytes[0] == 0 {
            Content::Untouched
        } else {
            Content::Of(bytes[0] - 1)
        };
    }
    all
}

impl Host {
    /// Submits a write; answers its number and its data.
    pub fn submit(&mut self, zero: bool, sector: u64, sectors: u32) -> (usize, Vec<u8>) {
        let number = self.writes.len();
        let told = |w: &Write| matches!(w.fate, Fate::Told | Fate::Failed);
        let before = self.bits(told);
        self.writes.push(Write {
            zero,
            sector,
            sectors,
            before,
            fate: Fate::Submitted,
            sync: false,
        });
        let data = (sector..sector + u64::from(sectors))
            .filter(|_| !zero)
            .flat_map(|s| pattern(number as u64 + 1, s))
            .collect();
        (number, data)
    }

    fn bits(&self, which: impl Fn(&Write) -> bool) -> u32 {
        let set = self.writes.iter().enumerate().filter(|(_, w)| which(w));
        set.fold(0, |all, (i, _)| all | (1 << i))
    }

    fn put(&self, number: usize) -> Content {
        if self.writes[number].zero {
            Content::Zeroes
        } else {
            Content::Of(number as u8)
        }
    }

    /// The disk that holds these writes and no others.
    fn with(&self, set: u32) -> Contents {
        let mut all = [Content::Untouched; SECTORS];
        for (i, w) in self.writes.iter().enumerate() {
            if set & (1 << i) != 0 {
                for (s, c) in all.iter_mut().enumerate() {
                    if w.covers(s) {
                        *c = self.put(i);
                    }
                }
            }
        }
        all
    }

    /// Rule 2: whether the remote could hold this. There has to be a set of writes that contains with each
    /// one all of whose end the host knew when it submitted it, whose effect is seen; a write that has
    /// all that in the set, and is not in it itself, may be there in part. Of what was told
    /// synchronously nothing may be missing. What failed or is gone never speaks.
    pub fn explains_remote(&self, seen: &Contents) -> bool {
        let live = self.bits(|w| matches!(w.fate, Fate::Submitted | Fate::Told));
        let sync = self.bits(|w| w.sync && w.fate == Fate::Told);
        let closed = |set: u32, i: usize| self.writes[i].before & live & !set == 0;
        let numbers = 0..self.writes.len();
        (0..1u32 << self.writes.len()).any(|set| {
            if set & !live != 0 || sync & !set != 0 {
                return false;
            }
            if !numbers
                .clone()
                .all(|i| set & (1 << i) == 0 || closed(set, i))
            {
                return false;
            }
            let base = self.with(set);
            let part = |i: usize| live & !set & (1 << i) != 0 && closed(set, i);
            seen.iter().enumerate().all(|(s, c)| {
                let older = |i: usize| {
                    let newer = numbers.clone().skip(i + 1);
                    newer
                        .filter(|n| set & (1 << n) != 0)
                        .any(|n| self.writes[n].covers(s))
                };
                *c == base[s]
                    || numbers.clone().any(|i| {
                        part(i) && self.writes[i].covers(s) && !older(i) && *c == self.put(i)
                    })
            })
        })
    }

    /// Rules 1, 3 and 6, when a recovery has replayed the log: whether the local disk holds everything that
    /// was told, nothing that failed or is gone, and each of the rest whole or not at all. From here on
    /// the rest counts as told, or is gone.
    pub fn settle(&mut self, local: &Contents) -> bool {
        let told = self.bits(|w| w.fate == Fate::Told);
        let open = self.bits(|w| w.fate == Fate::Submitted);
        let fits = |set: &u32| set & !(told | open) == 0 && told & !set == 0;
        let all = 0..1u32 << self.writes.len();
        let Some(set) = all.filter(fits).find(|set| self.with(*set) == *local) else {
            return false;
        };
        for (i, w) in self.writes.iter_mut().enumerate() {
            if w.fate == Fate::Submitted {
                w.fate = if set & (1 << i) != 0 {
                    Fate::Told
                } else {
                    Fate::Gone
                };
            }
        }
        true
    }

    /// A number for what it remembers.
    pub fn print(&self) -> u64 {
        self.writes.iter().fold(1, |sum, w| {
            let fate = match w.fate {
                Fate::Submitted => 1,
                Fate::Told => 2,
                Fate::Failed => 3,
                Fate::Gone => 4,
            };
            let flags = u64::from(w.zero) | (u64::from(w.sync) << 1) | (fate << 2);
            let place = w.sector | (u64::from(w.sectors) << 16) | (flags << 32);
            mix(mix(sum ^ place) ^ u64::from(w.before))
        })
    }
}
