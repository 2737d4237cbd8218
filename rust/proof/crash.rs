// SPDX-License-Identifier: GPL-2.0

//! The crashes of a moment: whose memory loses what, and who goes on.

use crate::{
    recovery::How,
    site::Site,
    survive::{Depth, Keep},
};
use std::fmt;

/// What becomes of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fall {
    /// It goes on, with what is in its cache.
    Stays,
    /// Its power fails, and of its cache this survives.
    Fails(Keep),
}

/// A crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// What survives in the logs of A1 and A2, of what was on its way there.
    pub nodes: [Keep; 2],
    /// What becomes of the local unit.
    pub local: Fall,
    /// What becomes of the remote.
    pub remote: Fall,
    /// Who goes on.
    pub how: How,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "survives: log of A1 {:?}, of A2 {:?}; local unit {:?}, remote {:?}; then {:?}",
            self.nodes[0], self.nodes[1], self.local, self.remote, self.how
        )
    }
}

impl Cut {
    /// What is left.
    pub fn of(&self, site: &Site) -> Site {
        let mut left = Site {
            tape: None,
            ..site.clone()
        };
        for (log, keep) in left.nodes.iter_mut().zip(self.nodes) {
            let on_the_way = log.on_the_way();
            log.cut(&on_the_way, keep);
        }
        let disks = [
            (&mut left.local, self.local),
            (&mut left.remote, self.remote),
        ];
        for (disk, fall) in disks {
            if let Fall::Fails(keep) = fall {
                disk.cut(keep);
            }
        }
        left
    }
}

const DISKS: [(Fall, Fall); 4] = [
    (Fall::Fails(Keep::Nothing), Fall::Fails(Keep::Nothing)),
    (Fall::Stays, Fall::Stays),
    (Fall::Stays, Fall::Fails(Keep::Nothing)),
    (Fall::Fails(Keep::Nothing), Fall::Stays),
];

/// The crashes that are tried of this moment. One memory loses any of the subsets; the others, all or
/// nothing.
pub fn cuts(site: &Site, depth: Depth) -> Vec<Cut> {
    let mut all = vec![];
    let logs: Vec<Vec<Keep>> = site
        .nodes
        .iter()
        .map(|n| n.on_the_way().survivors(depth))
        .collect();
    let (local, remote) = (site.local.survivors(depth), site.remote.survivors(depth));
    let disks = match depth {
        _ if local.len() == 1 && remote.len() == 1 => &DISKS[..1],
        Depth::Full => &DISKS[..],
        _ => &DISKS[..2],
    };
    let hows: &[How] = if site.mirrored {
        &[How::Restart, How::Takeover]
    } else {
        &[How::Restart]
    };
    for how in hows {
        let me = usize::from(*how == How::Takeover);
        let both = |mine, other| {
            if me == 0 {
                [mine, other]
            } else {
                [other, mine]
            }
        };
        let others: &[Keep] = if logs[1 - me].len() > 1 {
            &[Keep::Everything, Keep::Nothing]
        } else {
            &[Keep::Nothing]
        };
        let mut add = |mine, other, local, remote| {
            all.push(Cut {
                nodes: both(mine, other),
                local,
                remote,
                how: *how,
            });
        };
        for other in others {
            for mine in &logs[me] {
                for (local, remote) in disks {
                    add(*mine, *other, *local, *remote);
                }
            }
        }
        let ends = [Keep::Everything, Keep::Nothing];
        let ends = &ends[..if logs[me].len() > 1 { 2 } else { 1 }];
        for mine in ends {
            for keep in local.iter().skip(1) {
                add(*mine, others[0], Fall::Fails(*keep), Fall::Stays);
            }
            for keep in remote.iter().skip(1) {
                add(*mine, others[0], Fall::Stays, Fall::Fails(*keep));
                if depth == Depth::Full {
                    let none = Fall::Fails(Keep::Nothing);
                    add(*mine, others[0], none, Fall::Fails(*keep));
                }
            }
        }
    }
    all
}
