// SPDX-License-Identifier: GPL-2.0

//! What may happen in a run.

use core_crate::ownership::{Fencing, Kind, PartnerLost};

/// A configuration of the set, and how often things happen.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The configuration of the set.
    pub set: &'static str,
    /// What the run is about.
    pub theme: &'static str,
    /// The table line's `fencing`.
    pub fencing: Fencing,
    /// Whether there is an ownership record.
    pub record: bool,
    /// The table line's `partner_lost`.
    pub lost: PartnerLost,
    /// How often things happen at most.
    pub budget: Budget,
    /// Whether units are seized one by one, with anything in between; else all at once.
    pub one_by_one: bool,
    /// Writes of the host.
    pub writes: u8,
}

/// How often things happen at most.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    /// Nodes that die.
    pub crashes: u8,
    /// Connections that break although nothing is wrong.
    pub resets: u8,
    /// Partitions, each of which heals.
    pub partitions: u8,
    /// Takeovers that a timer or an administrator begins.
    pub takeovers: u8,
    /// `takeover force`.
    pub forces: u8,
    /// `detach force`.
    pub detaches: u8,
    /// `swap`.
    pub swaps: u8,
    /// The remote loses its cache.
    pub losses: u8,
    /// A HELLO that arrives twice.
    pub doubles: u8,
}

/// The kinds of fencing, for short.
pub const RESERVATION: Fencing = Fencing::Reservation(Kind::Holder);

impl Config {
    /// Whether units are reserved.
    pub fn reserves(&self) -> bool {
        self.fencing.kind().is_some()
    }
}

const NONE: Budget = Budget {
    crashes: 0,
    resets: 0,
    partitions: 0,
    takeovers: 0,
    forces: 0,
    detaches: 0,
    swaps: 0,
    losses: 0,
    doubles: 0,
};

/// What the runs are about, beside the configuration of the set.
const THEMES: [(&str, Budget, u8, bool); 9] = [
    (
        "all at once",
        Budget {
            crashes: 2,
            resets: 1,
            partitions: 0,
            takeovers: 1,
            ..NONE
        },
        2,
        false,
    ),
    (
        "two deaths",
        Budget {
            crashes: 2,
            takeovers: 2,
            ..NONE
        },
        1,
        false,
    ),
    (
        "the link is cut",
        Budget {
            crashes: 1,
            resets: 1,
            takeovers: 1,
            ..NONE
        },
        2,
        false,
    ),
    (
        "storage is cut",
        Budget {
            crashes: 1,
            partitions: 1,
            takeovers: 1,
            ..NONE
        },
        1,
        true,
    ),
    (
        "four writes",
        Budget {
            takeovers: 1,
            ..NONE
        },
        4,
        false,
    ),
    (
        "the remote loses its cache",
        Budget {
            takeovers: 1,
            losses: 1,
            ..NONE
        },
        2,
        false,
    ),
    (
        "a late HELLO",
        Budget {
            crashes: 1,
            resets: 1,
            takeovers: 1,
            doubles: 1,
            ..NONE
        },
        1,
        false,
    ),
    (
        "swap",
        Budget {
            crashes: 1,
            swaps: 1,
            takeovers: 2,
            ..NONE
        },
        1,
        false,
    ),
    (
        "forced",
        Budget {
            crashes: 1,
            resets: 1,
            forces: 1,
            ..NONE
        },
        2,
        false,
    ),
];

/// The configurations of a set.
const SETS: [(&str, Fencing, bool, PartnerLost); 5] = [
    (
        "reservation, record, continue",
        RESERVATION,
        true,
        PartnerLost::Continue,
    ),
    (
        "reservation, record, wait",
        RESERVATION,
        true,
        PartnerLost::Wait,
    ),
    (
        "reservation, no record, wait",
        RESERVATION,
        false,
        PartnerLost::Wait,
    ),
    (
        "external, record, continue",
        Fencing::External,
        true,
        PartnerLost::Continue,
    ),
    (
        "external, no record, wait",
        Fencing::External,
        false,
        PartnerLost::Wait,
    ),
];

/// Every run. `large`: one death, one cut and one write more.
pub fn all(large: bool) -> Vec<Config> {
    let mut runs = vec![];
    for (set, fencing, record, lost) in SETS {
        for (theme, budget, writes, one_by_one) in THEMES {
            // A forced takeover without a record is an administrator's promise altogether, and without
            // one nothing is handed over.
            if budget.forces + budget.swaps > 0 && !record {
                continue;
            }
            let mut budget = budget;
            if large {
                budget.crashes = 2;
                budget.resets = 1;
            }
            runs.push(Config {
                set,
                theme,
                fencing,
                record,
                lost,
                budget,
                writes: if large { writes.max(2) } else { writes },
                one_by_one: one_by_one || large,
            });
        }
    }
    runs
}

/// Two deaths and a link that is cut, for mistakes that need both.
pub fn wide() -> Vec<Config> {
    let mut runs = all(false);
    runs.retain(|c| c.theme == "two deaths");
    for run in &mut runs {
        run.theme = "wide";
        run.budget.resets = 1;
        run.budget.takeovers = 1;
        run.writes = 2;
    }
    runs
}
