// SPDX-License-Identifier: GPL-2.0

//! What happens after a crash: a node reads its log, begins a reign, replays, ships, and serves. Core
//! decides, step by step as in the driver; the rules are checked on the way.

use crate::{
    crc,
    host::contents,
    journal::Journal,
    owner::Owner,
    rng::mix,
    site::{must, Broken, Site},
};
use core_crate::{
    format::{Copy_, Key, Role, Super},
    lane::stage,
    ownership::{Fencing, Found},
    partner::{answer, refused, AfterRefusal, Answer, Mirror},
    recover::read_super,
    takeover::{decide, Asked, View},
    units::Seq,
    wire::Hello,
};

/// Who goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// A1 starts again; its partner, if there is one, is there.
    Restart,
    /// A2 takes over.
    Takeover,
}

fn superblock(site: &Site, node: usize) -> Result<Option<Super>, Broken> {
    read_super(&site.nodes[node], crc).map_err(|d| Broken(format!("node {node}: {d}")))
}

/// The node that goes on, and its superblock: a new owner does, whoever asks.
fn who(site: &Site, how: How) -> Result<(usize, Super), Broken> {
    let blank = || Broken("a superblock is gone".into());
    let first = superblock(site, 0)?.ok_or_else(blank)?;
    if !site.mirrored {
        return Ok((0, first));
    }
    // In the very beginning A2's log is blank.
    let Some(second) = superblock(site, 1)? else {
        return Ok((0, first));
    };
    if second.role == Role::Owner {
        // A2 has taken over: A1, if it starts, is told so.
        let reign = first.generation.next().expect("few reigns");
        let hello = Hello::of_owner(&first, reign, 1, false);
        let region = site.nodes[1].bytes();
        let Answer::Refuse(r) = answer(Some(&second), &crate::mirror::here(region), &hello) else {
            return Err(Broken("rule 7: two owners".into()));
        };
        must(refused(&first, &r) == AfterRefusal::StandBy, || {
            "rule 7: an outdated owner goes on".into()
        })?;
        return Ok((1, second));
    }
    Ok(match how {
        How::Restart => (0, first),
        How::Takeover => (1, second),
    })
}

/// Reads a log.
fn load(site: &Site, node: usize, sup: &Super) -> Result<Journal, Broken> {
    let key = Key::new(crc, &sup.uuid);
    Journal::load(&site.nodes[node], key, sup).map_err(|d| {
        Broken(format!(
            "rule 5: node {node} refuses the log of a crash: {d}"
        ))
    })
}

/// A number for what a recovery sees; two images that differ only in bytes which it leaves aside have the
/// same.
///
/// # Errors
///
/// It refuses what it sees.
pub fn looks(site: &Site, how: How) -> Result<u64, Broken> {
    let (node, sup) = who(site, how)?;
    let j = load(site, node, &sup)?;
    let mut sum = mix(node as u64 ^ site.local.print()) ^ site.remote.print() ^ site.host.print();
    let mut add = |n: u64| sum = mix(sum ^ n);
    for h in &j.found {
        add(h.seq.0);
        add(u64::from(h.data_crc) | (u64::from(h.generation.0) << 32));
    }
    let m = &j.mark;
    for n in [
        m.counter,
        m.retired.0,
        m.shipped.0,
        u64::from(m.generation.0),
    ] {
        add(n);
    }
    for node in 0..2 {
        let Some(s) = superblock(site, node)? else {
            continue;
        };
        let copy = u64::from(s.copy == Copy_::Complete);
        add((s.counter << 1) | copy);
    }
    Ok(sum)
}

/// Reads the log and begins a reign.
///
/// # Errors
///
/// A log that a crash has left is refused, or a rule of ownership does not hold.
pub fn boot(site: &mut Site, how: How) -> Result<Owner, Broken> {
    let (node, sup) = who(site, how)?;
    if node == 0 || sup.role == Role::Owner {
        let j = load(site, node, &sup)?;
        let mut o = Owner::new(node, sup, j, site.mirrored);
        if o.mirror == Mirror::Lost {
            o.connect(site)?;
        } else {
            o.begin_alone(site);
        }
        return Ok(o);
    }
    let view = View {
        mine: Some(&sup),
        fencing: Fencing::External,
        found: &Found::Unused,
        owner_alive: false,
        asked: Asked::Timeout,
    };
    let reign = decide(&view).map_err(|e| Broken(format!("no takeover: {e:?}")))?;
    let j = load(site, node, &sup)?;
    let durable = reign.durable(&sup, Seq::ZERO, Seq::ZERO, None);
    let mut o = Owner::new(node, durable.mine, j, true);
    o.put_super(site, durable.mine);
    o.begin(site);
    Ok(o)
}

/// Writes everything that was found to the local unit, in order.
fn replay(o: &mut Owner, site: &mut Site) {
    let mut merge = o.j.merge();
    let mut found = vec![];
    while let Some((seq, at)) = merge.peek(&o.j) {
        if seq > o.j.recovered {
            break;
        }
        let h = o.j.found.iter().find(|h| h.seq == seq).copied();
        if let Some(h) = h.filter(|_| !o.is_cancelled(at)) {
            let data = o.payload(site, &h);
            site.write_local(h.extent.sector, &data);
        }
        found.push(at);
        merge.advance(at);
    }
    site.flush_local();
    for at in found {
        let bits = stage::MIRRORED | stage::LOCAL | stage::ACKED;
        o.j.reach(at.lane, at.lane_seq, bits);
    }
    o.shipping.note_acked(&o.j);
}

/// Local and remote hold the same, durably, and nothing is left in the log.
fn converged(o: &Owner, site: &Site) -> Result<(), Broken> {
    must(site.local.durable() == site.remote.durable(), || {
        format!(
            "rule 3: local and remote differ: {:?} and {:?}",
            contents(site.local.durable()),
            contents(site.remote.durable())
        )
    })?;
    must(o.j.lanes.iter().all(|l| l.used_records() == 0), || {
        "the log was not cut off".into()
    })
}

/// Everything from the crash to the next write.
///
/// # Errors
///
/// A rule does not hold.
pub fn recover(site: &mut Site, how: How) -> Result<(), Broken> {
    site.check_remote()?;
    let mut o = boot(site, how)?;
    o.shipping = crate::shipping::Shipping::new(&o.j);
    replay(&mut o, site);
    let local = contents(site.local.durable());
    let whole = site.host.settle(&local);
    site.event(format_args!("replayed"));
    must(whole, || {
        format!(
            "rules 1, 3, 6: the local unit holds {local:?} of {:?}",
            site.host.writes
        )
    })?;
    site.check_remote()?;
    o.ship(site, true)?;
    converged(&o, site)?;
    // Life goes on.
    o.write(site, 1, false, (1, 1))?;
    o.ship(site, true)?;
    converged(&o, site)
}
