// SPDX-License-Identifier: GPL-2.0

//! What the table lines say, drawn from the seed.

use crate::{exec::MS, rng::Rng};
use core_crate::ownership::{Fencing, Kind, PartnerLost};

#[derive(Clone, Debug)]
pub struct Config {
    pub fencing: Fencing,
    /// Whether there is an ownership record.
    pub record: bool,
    pub partner_lost: PartnerLost,
    pub auto_takeover: bool,
    pub sync: bool,
    pub lanes: u16,
    pub members: u16,
    /// Sectors of each volume.
    pub sectors: u64,
    /// Whether units, and the remote, have volatile caches.
    pub volatile_local: bool,
    pub volatile_remote: bool,
    pub ping_ms: u64,
    pub misses: u32,
    /// Threads of the host.
    pub threads: usize,
    /// Where the data of a lane begins, so that some logs wrap soon.
    pub begin_at: u64,
}

impl Config {
    pub fn new(rng: &mut Rng) -> Config {
        let record = !rng.one_in(3);
        let fencing = match rng.below(4) {
            0 => Fencing::External,
            1 => Fencing::Reservation(Kind::Registrants),
            _ => Fencing::Reservation(Kind::Holder),
        };
        Config {
            fencing,
            record,
            partner_lost: if record && rng.one_in(2) {
                PartnerLost::Continue
            } else {
                PartnerLost::Wait
            },
            auto_takeover: !rng.one_in(3),
            sync: rng.one_in(3),
            lanes: 1 + rng.below(2) as u16,
            members: 1 + u16::from(rng.one_in(3)),
            sectors: 8 + rng.below(17),
            volatile_local: !rng.one_in(4),
            volatile_remote: !rng.one_in(4),
            ping_ms: rng.pick(&[10, 20, 50]),
            misses: 3,
            threads: rng.pick(&[1, 2, 4, 8, 16]),
            begin_at: if rng.one_in(2) {
                0
            } else {
                rng.below(16) * 512
            },
        }
    }

    /// Nanoseconds between pings.
    pub fn interval(&self) -> u64 {
        self.ping_ms * MS
    }

    /// After how many nanoseconds of silence the partner counts as lost.
    pub fn patience(&self) -> u64 {
        self.interval() * u64::from(self.misses)
    }
}
