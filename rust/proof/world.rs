// SPDX-License-Identifier: GPL-2.0

//! A small world: where it begins, and what the host and the administrator do in it.

use crate::{
    crc,
    host::pattern,
    journal::{write_mark, write_super},
    owner::Owner,
    pmem::Pmem,
    recovery::{boot, How},
    site::{Broken, Moment, Site},
};
use core_crate::{
    format::{Copy_, Header, Key, Mark, Role, SetName, Super, Tail},
    layout::Geometry,
    units::{Extent, Generation, Op, Seq},
};
use std::fmt;

/// What the log looks like in the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Terrain {
    /// Nothing was ever written to it.
    Fresh,
    /// It has gone round: each lane holds a whole lap of old headers, the second record from here wraps the
    /// headers and a long one the data; and behind the floor of lane 0 stand whole records of a reign that
    /// was overthrown before its partner had them.
    Aged,
}

/// One thing that happens. All numbers of sectors are chosen so that most of these overlap another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A write of one sector.
    Write,
    /// One over it, from another processor.
    Over,
    /// A longer one, which wraps the data of an aged lane.
    Span,
    /// Zeroes over part of that.
    Zeroes,
    /// A discard of what the first one writes.
    Discard,
    /// Two writes at once, of which the later one ends first.
    Pair,
    /// Three writes, of which the first is slow at the local unit: it ends last.
    Slow,
    /// A flush.
    Flush,
    /// A write with FUA and flush.
    Fua,
    /// A write in synchronous mode, over the first one.
    Sync,
    /// A write that fails locally.
    Fail,
    /// The log is shipped.
    Ship,
    /// The log is shipped and cut off.
    Retire,
    /// The superblock is written.
    Super,
    /// The partner is lost, a write waits, the partner comes back.
    Reconnect,
}

/// All of them.
pub const ACTS: &[Act] = &[
    Act::Write,
    Act::Over,
    Act::Span,
    Act::Pair,
    Act::Ship,
    Act::Retire,
    Act::Fail,
    Act::Sync,
    Act::Zeroes,
    Act::Discard,
    Act::Fua,
    Act::Super,
    Act::Slow,
    Act::Reconnect,
    Act::Flush,
];

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct World {
    /// How it begins.
    pub terrain: Terrain,
    /// Whether there is a partner.
    pub mirrored: bool,
    /// What happens, in this order; in the end the log is shipped and cut off.
    pub acts: Vec<Act>,
}

/// How a world has gone.
pub struct Story {
    /// The logs in the beginning.
    pub blank: Pmem,
    /// Every moment at which it could have stopped.
    pub moments: Vec<Moment>,
    /// Before the log was cut off in the end.
    pub before_end: Site,
    /// The records that were live then, and the mark.
    pub live: Vec<Header>,
    /// See above.
    pub mark: Mark,
}

const UUID: [u8; 16] = *b"\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe\x0f";

/// The smallest shape with two lanes.
fn geometry() -> Geometry {
    Geometry::new(2, 16, 512 * 1024).expect("a shape")
}

/// The set's key.
pub fn key() -> Key {
    Key::new(crc, &UUID)
}

fn superblock() -> Super {
    Super {
        counter: 1,
        uuid: UUID,
        name: SetName::new("small").expect("a name"),
        generation: Generation(0),
        role: Role::Owner,
        copy: Copy_::Complete,
        alone: false,
        unfenced: false,
        geometry: geometry(),
        node: 1,
        missing: None,
    }
}

/// Where the lanes of an aged log stand: in slot 15 of 16, with two sectors of data left in front of the wrap.
const AGED: Tail = Tail {
    lane_seq: 31,
    data_pos: 2 * 512 * 1024 - 1024,
    floor: 0,
};
const AGED_SEQ: u64 = 100;

/// A record of somebody who has no say any more.
fn ghost(site: &mut Site, lane: u16, lane_seq: u64, seq: u64, sector: u64, data_pos: u64) {
    let g = geometry();
    let data = pattern(200 + seq % 50, sector);
    let h = Header {
        seq: Seq(seq),
        lane,
        lane_seq,
        data_pos,
        generation: Generation(1),
        op: Op::Write,
        extent: Extent {
            member: 0,
            sector,
            sectors: 1,
        },
        cancels: Seq::ZERO,
        after: Seq(seq - 1),
        acked: Seq(seq - 1),
        data_crc: crc(key().0, &data),
    };
    for log in &mut site.nodes {
        log.poke(g.data_offset(lane, data_pos), &data);
        log.poke(g.header_offset(lane, lane_seq), &h.seal(crc, key()));
    }
}

impl Terrain {
    /// Makes the log and begins a reign.
    fn begin(self, mirrored: bool) -> Result<(Site, Owner), Broken> {
        let mut site = Site::new(geometry().bytes(), mirrored);
        let mut sup = superblock();
        let mut mark = Mark::first(Generation(0), 2);
        if self == Terrain::Aged {
            sup.generation = Generation(1);
            mark.generation = Generation(1);
            mark.counter = 40;
            (mark.retired, mark.shipped) = (Seq(AGED_SEQ), Seq(AGED_SEQ));
            mark.acked = Seq(AGED_SEQ);
            mark.tails[..2].fill(AGED);
            for p in 15..31 {
                for lane in 0..2 {
                    let seq = AGED_SEQ - 62 + 2 * p + u64::from(lane);
                    ghost(&mut site, lane, p, seq, p % 8, 512 * p);
                }
            }
        }
        write_mark(&mut site.nodes[0], key(), &mark).expect("no fuse");
        write_super(&mut site.nodes[0], &sup).expect("no fuse");
        let o = boot(&mut site, How::Restart)?;
        if self == Terrain::Aged {
            for n in 0..2 {
                let seq = AGED_SEQ + 1 + n;
                let data_pos = AGED.data_pos + 512 * n;
                ghost(&mut site, 0, AGED.lane_seq + n, seq, 3 + n, data_pos);
            }
        }
        Ok((site, o))
    }
}

impl Act {
    fn run(self, o: &mut Owner, site: &mut Site) -> Result<(), Broken> {
        match self {
            Act::Write => o.write(site, 0, false, (0, 1)),
            Act::Over => o.write(site, 1, false, (0, 2)),
            Act::Span => o.write(site, 0, false, (4, 3)),
            Act::Zeroes => o.write(site, 1, true, (5, 2)),
            Act::Discard => o.write(site, 0, true, (0, 1)),
            Act::Fua => o.write(site, 1, false, (10, 1)),
            Act::Pair => {
                let first = o.submit(site, 0, false, (8, 1));
                let second = o.submit(site, 1, false, (9, 1));
                for way in [second, first] {
                    o.append(site, &way)?;
                    o.write_local(site, &way.header);
                    o.tell(site, &way, false);
                }
                Ok(())
            }
            Act::Slow => {
                let slow = o.submit(site, 0, false, (8, 1));
                o.append(site, &slow)?;
                o.write(site, 1, false, (9, 1))?;
                o.write(site, 0, false, (3, 1))?;
                o.write_local(site, &slow.header);
                o.tell(site, &slow, false);
                Ok(())
            }
            Act::Flush => {
                // Nothing is to be done: whatever the host was told of is durable in the log.
                site.event(format_args!("host told of a flush"));
                Ok(())
            }
            Act::Sync => o.write_sync(site, 0, (0, 1)),
            Act::Fail => o.fail(site, 1, (1, 1)),
            Act::Ship => o.ship(site, false),
            Act::Retire => o.ship(site, true),
            Act::Super => {
                let new = Super {
                    counter: o.sup.counter + 1,
                    unfenced: !o.sup.unfenced,
                    ..o.sup
                };
                o.put_super(site, new);
                Ok(())
            }
            Act::Reconnect => {
                if !site.mirrored {
                    return Ok(());
                }
                o.disconnect()?;
                let way = o.submit(site, 1, false, (11, 1));
                o.append(site, &way)?;
                o.connect(site)?;
                o.write_local(site, &way.header);
                o.tell(site, &way, false);
                Ok(())
            }
        }
    }
}

impl World {
    /// Lets it happen.
    ///
    /// # Errors
    ///
    /// A rule does not hold although nothing has crashed.
    pub fn story(&self) -> Result<Story, Broken> {
        let (mut site, mut o) = self.terrain.begin(self.mirrored)?;
        let blank = site.nodes[0].clone();
        site.tape = Some(vec![]);
        site.event(format_args!("begun"));
        for act in &self.acts {
            act.run(&mut o, &mut site)?;
        }
        let live = o.live(&site);
        let mark = o.j.mark;
        let mut before_end = site.clone();
        before_end.tape = None;
        o.ship(&mut site, true)?;
        Ok(Story {
            blank,
            moments: site.tape.take().unwrap_or_default(),
            before_end,
            live,
            mark,
        })
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = if self.mirrored { "mirrored" } else { "single" };
        let acts: Vec<String> = self.acts.iter().map(|a| format!("{a:?}")).collect();
        write!(f, "{:?}/{pair}/{}", self.terrain, acts.join("+"))
    }
}

impl std::str::FromStr for World {
    type Err = String;

    fn from_str(text: &str) -> Result<World, String> {
        let bad = || format!("no world: {text}");
        let mut words = text.split('/');
        let mut next = || words.next().ok_or_else(bad);
        let terrain = match next()? {
            "Fresh" => Terrain::Fresh,
            "Aged" => Terrain::Aged,
            _ => return Err(bad()),
        };
        let mirrored = match next()? {
            "mirrored" => true,
            "single" => false,
            _ => return Err(bad()),
        };
        let named = |name: &str| ACTS.iter().find(|a| format!("{a:?}") == name).copied();
        let acts = next()?.split('+').filter(|n| !n.is_empty());
        let acts: Option<Vec<Act>> = acts.map(named).collect();
        Ok(World {
            terrain,
            mirrored,
            acts: acts.ok_or_else(bad)?,
        })
    }
}
