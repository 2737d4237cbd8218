// SPDX-License-Identifier: GPL-2.0

//! What happens in a run from outside: requests of the host, faults, orders of an administrator. Each
//! event stands by itself and ends by itself, so that any of them can be left out.

use crate::{bio::BioOp, config::Config, exec::MS, rng::Rng, set::Phase};

#[derive(Clone, Debug)]
pub enum What {
    /// A thread of the host makes a request when it is done with the one before.
    Io {
        thread: usize,
        op: BioOp,
        member: u16,
        sector: u64,
        sectors: u32,
    },
    /// A node dies: at once, or after so many more stores and fences to its log.
    Crash {
        node: usize,
        fuse: u64,
        down: u64,
    },
    /// The same in the moment in which the host is told of the n-th write from now: the node that told
    /// it, or the other one, or both with all local units.
    CrashAtAck {
        nth: u64,
        who: Who,
        down: [u64; 2],
    },
    /// The same when a node enters a phase, or after so many more stores and fences.
    CrashIn {
        phase: Phase,
        who: Who,
        fuse: u64,
        down: [u64; 2],
    },
    /// Nodes and local units lose their power.
    SitePower {
        down: [u64; 2],
    },
    /// The local units alone do.
    LocalPower,
    /// The remote does.
    RemotePower,
    /// What these nodes send does not arrive.
    Partition {
        from: [bool; 2],
        ns: u64,
    },
    /// All connections break.
    Reset,
    /// The link is slow, and breaks again and again.
    Flaky {
        ns: u64,
    },
    /// Of the n-th message from now a bit turns, or it does not come as it was sent.
    Corrupt {
        nth: u64,
        how: Harm,
    },
    SlowLink {
        ns: u64,
    },
    /// 0: local, 1: remote, 2: the record's.
    SlowDisk {
        disk: usize,
        ns: u64,
    },
    FailingDisk {
        disk: usize,
        ns: u64,
    },
    /// A node does not reach the units of its site, or nobody the remote.
    CutDisk {
        node: usize,
        ns: u64,
    },
    CutRemote {
        ns: u64,
    },
    Takeover {
        node: usize,
    },
    Swap {
        node: usize,
    },
    Detach {
        node: usize,
    },
    /// A volume is removed in order and made anew.
    Remake {
        node: usize,
        down: u64,
    },
}

/// What TCP keeps messages from, and what its checksum of 16 bits may let through all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    Bit,
    Lost,
    Twice,
    /// It comes in front of the one before it.
    Overtakes,
}

/// Seen from the node where something happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    That,
    Other,
    Both,
}

#[derive(Clone, Debug)]
pub struct Event {
    /// Nanoseconds from the beginning.
    pub at: u64,
    pub what: What,
}

/// The events of a seed, in order.
pub fn events(cfg: &Config, rng: &mut Rng) -> Vec<Event> {
    let length = 300 * MS + rng.below(1200) * MS;
    let mut all = vec![];
    let mut burst = None;
    for _ in 0..12 + rng.below(70) {
        // Now and then the host comes with all its threads at once.
        burst = match burst {
            Some(at) if !rng.one_in(12) => Some(at),
            _ if rng.one_in(20) => Some(rng.below(length)),
            _ => None,
        };
        let sectors = 1 + rng.below(4) as u32;
        let op = match rng.below(16) {
            0..=9 => BioOp::Write,
            10 => BioOp::Zero,
            11 => BioOp::Flush,
            _ => BioOp::Read,
        };
        // Half of all goes to the first sectors, so that much overlaps.
        let span = cfg.sectors - u64::from(sectors) + 1;
        let sector = match rng.below(2) {
            0 => rng.below(span.min(3)),
            _ => rng.below(span),
        };
        all.push(Event {
            at: burst.unwrap_or_else(|| rng.below(length)),
            what: What::Io {
                thread: rng.below(cfg.threads as u64) as usize,
                op,
                member: rng.below(u64::from(cfg.members)) as u16,
                sector,
                sectors,
            },
        });
    }
    // Faults come in clusters: one alone is what everybody has thought of.
    let mut at = 0;
    for _ in 0..rng.below(11) {
        at = match rng.below(3) {
            0 => at + rng.below(40 * MS),
            _ => rng.below(length),
        };
        all.push(Event {
            at,
            what: fault(cfg, rng),
        });
    }
    all.sort_by_key(|e| e.at);
    all
}

fn fault(cfg: &Config, rng: &mut Rng) -> What {
    let node = rng.below(2) as usize;
    let ns = |rng: &mut Rng| cfg.interval() / 2 + rng.below(cfg.patience() * 4);
    let down = |rng: &mut Rng| MS + rng.below(600) * MS;
    let who = |rng: &mut Rng| rng.pick(&[Who::That, Who::That, Who::Other, Who::Both]);
    let fuse = |rng: &mut Rng| rng.pick(&[0, 1]) * (1 + rng.below(40));
    match rng.below(35) {
        24..=27 => What::CrashAtAck {
            nth: 1 + rng.below(10),
            who: who(rng),
            down: [down(rng), down(rng)],
        },
        28..=30 => What::CrashIn {
            phase: rng.pick(&[
                Phase::Waiting,
                Phase::TakingOver,
                Phase::Replaying,
                Phase::Serving,
                Phase::HandingOver,
                Phase::Standby,
            ]),
            who: who(rng),
            fuse: fuse(rng),
            down: [down(rng), down(rng)],
        },
        31 | 32 => What::Flaky { ns: ns(rng) },
        33 => What::SlowDisk {
            disk: 1,
            ns: ns(rng),
        },
        34 => What::FailingDisk {
            disk: 0,
            ns: ns(rng) / 4,
        },
        0..=4 => What::Crash {
            node,
            fuse: fuse(rng),
            down: down(rng),
        },
        5 => What::SitePower {
            down: [down(rng), down(rng)],
        },
        6 => What::LocalPower,
        7 | 8 => What::RemotePower,
        9 | 10 => What::Partition {
            from: rng.pick(&[[true, true], [true, false], [false, true]]),
            ns: ns(rng),
        },
        11 => What::Reset,
        12 => What::Corrupt {
            nth: 1 + rng.below(20),
            how: rng.pick(&[
                Harm::Bit,
                Harm::Bit,
                Harm::Lost,
                Harm::Twice,
                Harm::Overtakes,
            ]),
        },
        13 => What::SlowLink { ns: ns(rng) },
        14 => What::SlowDisk {
            disk: rng.below(3) as usize,
            ns: ns(rng),
        },
        15 | 16 => What::FailingDisk {
            disk: rng.below(3) as usize,
            ns: ns(rng) / 4,
        },
        17 => What::CutDisk { node, ns: ns(rng) },
        18 => What::CutRemote { ns: ns(rng) },
        19 | 20 => What::Takeover { node },
        21 => What::Swap { node },
        22 => What::Detach { node },
        _ => What::Remake {
            node,
            down: down(rng),
        },
    }
}
