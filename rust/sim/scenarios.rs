// SPDX-License-Identifier: GPL-2.0

//! Rare ways to break something, made likely: the events of runs that once failed, made smaller, under
//! many seeds each.

use crate::{
    bio::BioOp,
    config::Config,
    exec::MS,
    plant::Mistake,
    schedule::{Event, What, Who},
};
use core_crate::ownership::{Fencing, Kind, PartnerLost};

pub struct Scenario {
    /// What is found with it.
    pub finds: Mistake,
    pub cfg: Config,
    pub events: Vec<Event>,
}

fn config() -> Config {
    Config {
        fencing: Fencing::Reservation(Kind::Holder),
        record: true,
        partner_lost: PartnerLost::Wait,
        auto_takeover: true,
        sync: false,
        lanes: 1,
        members: 1,
        sectors: 16,
        volatile_local: true,
        volatile_remote: true,
        ping_ms: 20,
        misses: 3,
        threads: 8,
        begin_at: 0,
    }
}

fn io(thread: usize, op: BioOp, sector: u64) -> What {
    What::Io {
        thread,
        op,
        member: 0,
        sector,
        sectors: 2,
    }
}

fn write(thread: usize, sector: u64) -> What {
    io(thread, BioOp::Write, sector)
}

fn read(thread: usize, sector: u64) -> What {
    io(thread, BioOp::Read, sector)
}

fn zero(thread: usize, sector: u64) -> What {
    io(thread, BioOp::Zero, sector)
}

fn at(ms: u64, what: What) -> Event {
    Event { at: ms * MS, what }
}

/// In synchronous mode a write waits for a remote that does not answer, while the partner's copy becomes
/// complete. Then the local unit fails.
fn drawn_on_twice() -> Scenario {
    Scenario {
        finds: Mistake::DrawnOnTwice,
        cfg: Config {
            sync: true,
            fencing: Fencing::External,
            ..config()
        },
        events: vec![
            at(
                20,
                What::Crash {
                    node: 0,
                    fuse: 0,
                    down: 350 * MS,
                },
            ),
            at(200, What::CutRemote { ns: 700 * MS }),
            at(250, write(0, 0)),
            at(
                400,
                What::FailingDisk {
                    disk: 0,
                    ns: 120 * MS,
                },
            ),
        ],
    }
}

/// A connection breaks while writes are on their way to the partner; the owner dies when it tells the
/// first of them after that.
fn old_sessions_acks() -> Scenario {
    let mut events: Vec<Event> = (0..8).map(|t| at(100, write(t, 2 * t as u64))).collect();
    events.insert(0, at(95, What::SlowLink { ns: 400 * MS }));
    events.push(at(102, What::Reset));
    let (nth, who, down) = (1, Who::That, [900 * MS; 2]);
    events.push(at(103, What::CrashAtAck { nth, who, down }));
    // Faults end behind the last event.
    events.push(at(900, What::Flaky { ns: MS }));
    Scenario {
        finds: Mistake::OldSessionsAcks,
        cfg: Config {
            ping_ms: 50,
            ..config()
        },
        events,
    }
}

/// The partner is made anew while a swap waits for the remote.
fn hands_over_incomplete() -> Scenario {
    Scenario {
        finds: Mistake::HandsOverIncomplete,
        cfg: Config {
            auto_takeover: false,
            ..config()
        },
        events: vec![
            at(
                220,
                What::SlowDisk {
                    disk: 1,
                    ns: 170 * MS,
                },
            ),
            at(222, write(0, 0)),
            at(223, write(1, 4)),
            at(232, What::Swap { node: 0 }),
            at(
                240,
                What::Remake {
                    node: 1,
                    down: 10 * MS,
                },
            ),
        ],
    }
}

/// The remote has failed and is slow to come back; meanwhile the partner takes over. Both open it, and
/// whoever is registered there may write.
fn held_unproved() -> Scenario {
    let slow = What::SlowDisk {
        disk: 1,
        ns: 300 * MS,
    };
    let failing = What::FailingDisk {
        disk: 1,
        ns: 60 * MS,
    };
    Scenario {
        finds: Mistake::HeldUnproved,
        cfg: Config {
            fencing: Fencing::Reservation(Kind::Registrants),
            ..config()
        },
        events: vec![
            at(100, write(0, 0)),
            at(199, failing),
            at(200, write(1, 2)),
            at(205, write(2, 4)),
            at(210, What::Flaky { ns: 300 * MS }),
            at(260, slow),
            at(300, write(3, 2)),
            at(320, write(4, 2)),
        ],
    }
}

/// The owner has a record that its partner has not. It comes back, says HELLO, and goes on alone before
/// the slow answer comes; then both lose their power.
fn answer_outlived() -> Scenario {
    let down = [30 * MS; 2];
    let dies = What::Crash {
        node: 0,
        fuse: 0,
        down: 100 * MS,
    };
    Scenario {
        finds: Mistake::AnswerOutlived,
        cfg: Config {
            partner_lost: PartnerLost::Continue,
            auto_takeover: false,
            ..config()
        },
        events: vec![
            at(
                20,
                What::Partition {
                    from: [true, true],
                    ns: 130 * MS,
                },
            ),
            at(22, write(0, 0)),
            at(40, dies),
            at(149, What::SlowLink { ns: 250 * MS }),
            at(260, What::SitePower { down }),
        ],
    }
}

/// A swap is given up while the remote is slow: what was shipped has not come into a mark, and the owner
/// serves on with a shipper that begins again.
fn retire_ahead() -> Scenario {
    let slow = What::SlowDisk {
        disk: 1,
        ns: 300 * MS,
    };
    let mut events: Vec<Event> = (0..6)
        .map(|n| at(20 + n, write(n as usize, 2 * n)))
        .collect();
    events.push(at(30, slow));
    events.extend((0..6).map(|n| at(60 + n, write(n as usize, n))));
    events.push(at(94, What::Swap { node: 0 }));
    events.push(at(96, What::Reset));
    events.extend((0..8).map(|n| at(200 + n, write(n as usize, n))));
    Scenario {
        finds: Mistake::RetireAhead,
        cfg: Config {
            auto_takeover: false,
            ..config()
        },
        events,
    }
}

/// The roles are swapped, and swapped back once the new owner has shipped what its partner never had as a
/// standby.
fn receiver_kept() -> Scenario {
    let writes = |from| (0..6).map(move |n| at(from + n, write(n as usize, 2 * n)));
    let mut events: Vec<Event> = writes(20).collect();
    events.push(at(60, What::Swap { node: 0 }));
    events.extend(writes(160));
    events.extend(writes(190));
    events.push(at(260, What::Swap { node: 1 }));
    events.extend(writes(360));
    Scenario {
        finds: Mistake::ReceiverKept,
        cfg: Config {
            auto_takeover: false,
            ..config()
        },
        events,
    }
}

/// The partners do not hear each other, and one takes over while the other one thinks that it serves: what
/// it replays takes the local unit back for a moment.
fn reads_of_the_overthrown(finds: Mistake, from: u64, to: u64) -> Scenario {
    let both = What::Partition {
        from: [true, true],
        ns: 300 * MS,
    };
    let slow = What::SlowDisk {
        disk: 1,
        ns: 200 * MS,
    };
    let mut events = vec![at(70, slow), at(100, both)];
    events.extend((80..95).map(|ms| at(ms, write(ms as usize % 4, 0))));
    events.extend((from..to).map(|ms| at(ms, read(4 + ms as usize % 4, 0))));
    events.sort_by_key(|e| e.at);
    Scenario {
        finds,
        cfg: config(),
        events,
    }
}

/// The same, but the standby is made anew, and told to take over, before it has missed the owner.
fn lease_ignored() -> Scenario {
    let mut s = reads_of_the_overthrown(Mistake::LeaseIgnored, 104, 160);
    s.cfg.ping_ms = 60;
    let (node, down) = (1, 2 * MS);
    s.events.push(at(104, What::Remake { node, down }));
    s.events
        .extend([120, 125, 130].map(|ms| at(ms, What::Takeover { node })));
    s.events.sort_by_key(|e| e.at);
    s
}

/// The partner's log was never used. It dies in the first stores to it.
fn unclaimed() -> Scenario {
    let (node, down) = (1, 100 * MS);
    Scenario {
        finds: Mistake::Unclaimed,
        cfg: config(),
        events: (0..6)
            .map(|fuse| at(110 * fuse, What::Crash { node, fuse, down }))
            .collect(),
    }
}

/// A takeover comes as far as some of the units, and then reaches none of them. Its owner comes back.
fn reservations_kept() -> Scenario {
    let slow = What::SlowDisk {
        disk: 0,
        ns: 250 * MS,
    };
    let dies = What::Crash {
        node: 0,
        fuse: 0,
        down: 160 * MS,
    };
    let unreachable = What::CutDisk {
        node: 1,
        ns: 120 * MS,
    };
    Scenario {
        finds: Mistake::ReservationsKept,
        cfg: Config {
            auto_takeover: false,
            ..config()
        },
        events: vec![
            at(50, write(0, 0)),
            at(95, slow),
            at(100, dies),
            at(165, What::Takeover { node: 1 }),
            at(235, unreachable),
            at(400, write(1, 2)),
        ],
    }
}

/// The local unit is out of reach for a while, so that each write leaves two records; the last one that
/// failed finds its lane full, and nothing behind it is shipped.
fn cancels_unseen() -> Scenario {
    let (node, ns) = (0, 60 * MS);
    let mut events: Vec<Event> = (0..10)
        .map(|n| at(52 + n, write(n as usize % 8, 2 * (n % 8))))
        .collect();
    events.push(at(62, What::CutDisk { node, ns }));
    events.extend((0..24).map(|n| at(63 + n / 8, write(n as usize % 8, 2 * (n % 7)))));
    Scenario {
        finds: Mistake::CancelsUnseen,
        cfg: Config {
            sync: true,
            auto_takeover: false,
            lanes: 2,
            ..config()
        },
        events,
    }
}

/// The standby is told to take over in the moment in which the owner hands over to it, and waits with
/// that; meanwhile the old owner is told the same.
fn handover_outlived() -> Scenario {
    let takeover = |ms, node| at(ms, What::Takeover { node });
    Scenario {
        finds: Mistake::HandoverOutlived,
        cfg: Config {
            partner_lost: PartnerLost::Continue,
            ..config()
        },
        events: vec![
            at(16, What::Swap { node: 0 }),
            takeover(18, 1),
            takeover(19, 1),
            takeover(46, 0),
        ],
    }
}

/// The owner goes on alone, brings its partner up to date and dies soon after it, in one of its next stores;
/// so does the partner.
fn floors_too_early() -> Scenario {
    let crash = |node, fuse, down| What::Crash {
        node,
        fuse,
        down: down * MS,
    };
    Scenario {
        finds: Mistake::FloorsTooEarly,
        cfg: Config {
            partner_lost: PartnerLost::Continue,
            auto_takeover: false,
            sync: true,
            lanes: 2,
            ping_ms: 10,
            volatile_local: false,
            ..config()
        },
        events: vec![
            at(153, crash(1, 22, 352)),
            at(168, What::RemotePower),
            at(178, What::SlowLink { ns: 57 * MS }),
            at(182, crash(0, 16, 7)),
            at(185, zero(2, 3)),
            at(229, write(1, 0)),
            at(294, zero(1, 1)),
        ],
    }
}

pub fn all() -> Vec<Scenario> {
    vec![
        floors_too_early(),
        handover_outlived(),
        cancels_unseen(),
        reads_of_the_overthrown(Mistake::ReadsUndoubted, 150, 220),
        reads_of_the_overthrown(Mistake::ReadsWhileFenced, 150, 220),
        lease_ignored(),
        unclaimed(),
        reservations_kept(),
        receiver_kept(),
        drawn_on_twice(),
        old_sessions_acks(),
        hands_over_incomplete(),
        held_unproved(),
        retire_ahead(),
        answer_outlived(),
    ]
}
