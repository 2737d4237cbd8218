// SPDX-License-Identifier: GPL-2.0

//! `rcopy log dump`: what stands in a log, what recovery would do with it, and what is damaged.

use crate::{
    cli::{DumpArgs, Records},
    error::{Error, Exit, Result},
    image::{cut_off, unreadable, Image},
    progress::Progress,
    reading::{Plan, Reading, Verdict},
    units::{count, size, uuid},
};
use core_crate::{
    format::{Copy_, Header, Mark, MarkError, Role, Super, SuperError, FORMAT_VERSION},
    limits::MIN_LOG_BYTES,
    recover::{Damage, Unreadable},
    units::{Op, Seq},
};
use serde::Serialize;
use std::io::Write;

/// How often a log that changes under the reader is read.
const READINGS: usize = 6;
/// Records that are printed at each end of a long list.
const SOME: usize = 10;

/// Everything, as `--json` prints it.
#[derive(Serialize)]
pub struct Dump {
    log: Place,
    format_version: u32,
    verdict: &'static str,
    set: Option<SetId>,
    superblocks: Vec<SuperSlot>,
    marks: Vec<MarkSlot>,
    lanes: Vec<Lane>,
    recovery: Option<Recovery>,
    damage: Option<DamageSaid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<RecordLine>>,
}

#[derive(Serialize)]
struct Place {
    path: String,
    offset: u64,
    bytes: u64,
    /// Bytes of the log in it.
    used: Option<u64>,
}

#[derive(Serialize)]
struct SetId {
    name: String,
    uuid: String,
}

#[derive(Serialize)]
struct SuperSlot {
    slot: usize,
    state: &'static str,
    counts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(flatten)]
    content: Option<SuperContent>,
}

#[derive(Serialize)]
struct SuperContent {
    counter: u64,
    generation: u32,
    role: &'static str,
    copy: &'static str,
    alone: bool,
    unfenced: bool,
    node: u32,
    name: String,
    uuid: String,
    lanes: u16,
    lane_records: u32,
    lane_data: u64,
    missing_first: Option<u64>,
    missing_last: Option<u64>,
}

#[derive(Serialize)]
struct MarkSlot {
    slot: usize,
    state: &'static str,
    counts: bool,
    #[serde(flatten)]
    content: Option<MarkContent>,
}

#[derive(Serialize)]
struct MarkContent {
    counter: u64,
    generation: u32,
    lanes: u16,
    retired: u64,
    shipped: u64,
    acked: u64,
}

#[derive(Serialize)]
struct Lane {
    lane: u16,
    from: u64,
    floor: u64,
    /// The position behind the last record; null where the lane is damaged.
    to: Option<u64>,
    data_from: u64,
    data_to: Option<u64>,
    records: usize,
    first_sequence: Option<u64>,
    last_sequence: Option<u64>,
    damage: Option<String>,
}

#[derive(Serialize)]
struct Recovery {
    role: &'static str,
    may_replay: bool,
    says: Vec<String>,
    records: usize,
    first_sequence: Option<u64>,
    last_sequence: Option<u64>,
    replay_records: u64,
    replay_bytes: u64,
    ship_records: u64,
    ship_bytes: u64,
    cancelled: u64,
    acked: u64,
    next_sequence: u64,
    holes: Vec<Hole>,
}

#[derive(Serialize)]
struct Hole {
    first: u64,
    last: u64,
}

#[derive(Serialize)]
struct DamageSaid {
    kind: &'static str,
    text: String,
}

#[derive(Serialize)]
struct RecordLine {
    sequence: u64,
    lane: u16,
    lane_seq: u64,
    generation: u32,
    member: u16,
    op: &'static str,
    sector: u64,
    sectors: u32,
    after: u64,
    acked: u64,
    data_pos: u64,
    cancels: Option<u64>,
    cancelled: bool,
    at_remote: bool,
}

fn super_state(e: SuperError, unfinished: bool) -> (&'static str, Option<u32>) {
    match e {
        SuperError::Blank => ("blank", None),
        SuperError::Claimed => ("claimed", None),
        _ if unfinished => ("torn", None),
        SuperError::Foreign => ("foreign", None),
        SuperError::Damaged => ("damaged", None),
        SuperError::Version(v) => ("other-version", Some(v)),
    }
}

pub(crate) fn role(s: &Super) -> &'static str {
    match s.role {
        Role::Owner => "owner",
        Role::Standby => "standby",
    }
}

fn copy(s: &Super) -> &'static str {
    match s.copy {
        Copy_::Complete => "complete",
        Copy_::Incomplete => "incomplete",
    }
}

fn op(o: Op) -> &'static str {
    match o {
        Op::Write => "write",
        Op::Zero => "zero",
        Op::Cancel => "cancel",
    }
}

fn kind(d: &Damage) -> &'static str {
    match d {
        Damage::Unreadable { .. } => "unreadable",
        Damage::Superblock => "superblock",
        Damage::Version(_) => "other-version",
        Damage::Foreign => "foreign",
        Damage::Mark => "mark",
        Damage::MarkMismatch => "mark-mismatch",
        Damage::Broken { .. } => "broken",
        Damage::Short { .. } => "short-lane",
        Damage::Contradiction { .. } => "contradiction",
        Damage::Missing { .. } => "missing",
    }
}

fn super_slots(r: &Reading) -> Vec<SuperSlot> {
    let slots = r.supers.iter().enumerate();
    slots
        .map(|(slot, s)| match s {
            Err(e) => {
                let (state, version) = super_state(*e, r.verdict == Verdict::Unfinished);
                SuperSlot {
                    slot,
                    state,
                    counts: false,
                    version,
                    content: None,
                }
            }
            Ok(s) => SuperSlot {
                slot,
                state: "valid",
                counts: r.sup.is_some_and(|c| c.counter == s.counter),
                version: None,
                content: Some(SuperContent {
                    counter: s.counter,
                    generation: s.generation.0,
                    role: role(s),
                    copy: copy(s),
                    alone: s.alone,
                    unfenced: s.unfenced,
                    node: s.node,
                    name: s.name.as_str().to_string(),
                    uuid: uuid(&s.uuid),
                    lanes: s.geometry.lanes(),
                    lane_records: s.geometry.lane_records(),
                    lane_data: s.geometry.lane_data(),
                    missing_first: s.missing.map(|m| m.first.0),
                    missing_last: s.missing.filter(|m| m.last != Seq::MAX).map(|m| m.last.0),
                }),
            },
        })
        .collect()
}

fn mark_slots(r: &Reading) -> Vec<MarkSlot> {
    let counts = |m: &Mark| {
        r.mark
            .as_ref()
            .is_some_and(|c| (c.generation, c.counter) == (m.generation, m.counter))
    };
    let slots = r.marks.iter().flatten().enumerate();
    slots
        .map(|(slot, m)| MarkSlot {
            slot,
            state: match m {
                Ok(_) => "valid",
                Err(MarkError::Blank) => "blank",
                Err(MarkError::Damaged) => "damaged",
            },
            counts: m.as_ref().is_ok_and(counts),
            content: m.as_ref().ok().map(|m| MarkContent {
                counter: m.counter,
                generation: m.generation.0,
                lanes: m.lanes,
                retired: m.retired.0,
                shipped: m.shipped.0,
                acked: m.acked.0,
            }),
        })
        .collect()
}

fn lanes(r: &Reading) -> Vec<Lane> {
    let all = r.lanes.iter().zip(0u16..);
    all.map(|(l, lane)| Lane {
        lane,
        from: l.tail.lane_seq,
        floor: l.tail.floor,
        to: l.end.as_ref().ok().map(|e| e.lane_seq),
        data_from: l.tail.data_pos,
        data_to: l.end.as_ref().ok().map(|e| e.data_pos),
        records: l.records.len(),
        first_sequence: l.records.first().map(|h| h.seq.0),
        last_sequence: l.records.last().map(|h| h.seq.0),
        damage: l.end.as_ref().err().map(ToString::to_string),
    })
    .collect()
}

/// What a start or a takeover of this node would do, in sentences.
fn says(s: &Super, mark: &Mark, plan: &Plan) -> (bool, Vec<String>) {
    let mut say = vec![];
    let replays = match (s.role, s.copy) {
        (Role::Owner, _) if s.alone => {
            say.push(format!(
                "this node served without its partner in generation {}, whose copy must not be replayed: a start does \
                 not ask it",
                s.generation
            ));
            true
        }
        (Role::Owner, _) => {
            say.push(
                "a start asks the partner first, if there is one: if that has taken over, this log is forgotten and \
                 never replayed"
                    .to_string(),
            );
            true
        }
        (Role::Standby, Copy_::Complete) => {
            say.push(
                "a start stands by and replays nothing; a takeover of this node would replay this copy, unless the \
                 ownership record says that it is out of date"
                    .to_string(),
            );
            true
        }
        (Role::Standby, Copy_::Incomplete) => {
            say.push(
                "this copy is incomplete: a takeover is refused, and a forced one leaves the copy out".to_string(),
            );
            false
        }
    };
    if replays {
        say.push(match plan.replay.0 {
            0 => "nothing is outstanding: no record would be written to the local unit".to_string(),
            n => format!(
                "{} ({}) would be written to the local unit, in sequence order, behind {}",
                count(n, "record"),
                size(plan.replay.1),
                mark.retired
            ),
        });
        say.push(match (s.missing, plan.ship.0) {
            (Some(m), _) => format!(
                "nothing would be sent to the remote: it is out of step and may miss sequences {m} until 'in_step force'"
            ),
            (None, 0) => "the remote has them all".to_string(),
            (None, n) => format!(
                "{} ({}) would be sent to the remote, behind {}",
                count(n, "record"),
                size(plan.ship.1),
                mark.shipped
            ),
        });
        say.push(format!(
            "new writes would begin with sequence {}",
            plan.last.next()
        ));
    }
    (replays, say)
}

fn recovery(r: &Reading) -> Option<Recovery> {
    let (Verdict::Whole(plan), Some(s), Some(mark)) = (&r.verdict, &r.sup, &r.mark) else {
        return None;
    };
    let (may_replay, says) = says(s, mark, plan);
    Some(Recovery {
        role: role(s),
        may_replay,
        says,
        records: r.lanes.iter().map(|l| l.records.len()).sum(),
        first_sequence: plan.span.map(|s| s.0 .0),
        last_sequence: plan.span.map(|s| s.1 .0),
        replay_records: plan.replay.0,
        replay_bytes: plan.replay.1,
        ship_records: plan.ship.0,
        ship_bytes: plan.ship.1,
        cancelled: plan.cancelled.len() as u64,
        acked: plan.acked.0,
        next_sequence: plan.last.next().0,
        holes: plan
            .holes
            .iter()
            .map(|(a, b)| Hole {
                first: a.0,
                last: b.0,
            })
            .collect(),
    })
}

fn record(h: &Header, plan: Option<&Plan>, mark: Option<&Mark>) -> RecordLine {
    RecordLine {
        sequence: h.seq.0,
        lane: h.lane,
        lane_seq: h.lane_seq,
        generation: h.generation.0,
        member: h.extent.member,
        op: op(h.op),
        sector: h.extent.sector,
        sectors: h.extent.sectors,
        after: h.after.0,
        acked: h.acked.0,
        data_pos: h.data_pos,
        cancels: (h.op == Op::Cancel).then_some(h.cancels.0),
        cancelled: plan.is_some_and(|p| p.cancelled.contains(&h.seq.0)),
        at_remote: mark.is_some_and(|m| h.seq <= m.shipped),
    }
}

/// Which of so many records are printed.
fn chosen(n: usize, which: Records) -> Vec<usize> {
    match which {
        Records::None => vec![],
        Records::Some if n > 2 * SOME => (0..SOME).chain(n - SOME..n).collect(),
        Records::Some | Records::All => (0..n).collect(),
    }
}

impl Dump {
    /// What was read, for printing.
    pub fn new(
        path: &str,
        offset: u64,
        bytes: u64,
        r: &Reading,
        settled: bool,
        which: Records,
    ) -> Dump {
        let (verdict, damage) = match &r.verdict {
            Verdict::Blank => ("blank", None),
            Verdict::Unfinished => ("unfinished", None),
            Verdict::Whole(_) => ("whole", None),
            Verdict::Damaged(d) if !settled => (
                "in-use",
                Some(DamageSaid {
                    kind: "in-use",
                    text: format!(
                        "the log changed each of {READINGS} times that it was read, so it is in use, and this is no \
                         picture of one moment; the last reading met: {d}"
                    ),
                }),
            ),
            Verdict::Damaged(Damage::Foreign) => (
                "foreign",
                Some(DamageSaid {
                    kind: "foreign",
                    text: "what stands there is no log of remote-copy".to_string(),
                }),
            ),
            Verdict::Damaged(d) => (
                "damaged",
                Some(DamageSaid {
                    kind: kind(d),
                    text: d.to_string(),
                }),
            ),
            Verdict::Short { has, needs } => (
                "damaged",
                Some(DamageSaid {
                    kind: "cut-off",
                    text: cut_off(*has, *needs),
                }),
            ),
        };
        let plan = match &r.verdict {
            Verdict::Whole(p) => Some(p),
            _ => None,
        };
        let all = r.in_order();
        let records = chosen(all.len(), which)
            .into_iter()
            .filter_map(|i| all.get(i))
            .map(|h| record(h, plan, r.mark.as_ref()));
        Dump {
            log: Place {
                path: path.to_string(),
                offset,
                bytes,
                used: r.sup.map(|s| s.geometry.bytes()),
            },
            format_version: FORMAT_VERSION,
            verdict,
            set: r.sup.map(|s| SetId {
                name: s.name.as_str().to_string(),
                uuid: uuid(&s.uuid),
            }),
            superblocks: super_slots(r),
            marks: mark_slots(r),
            lanes: lanes(r),
            recovery: recovery(r),
            damage,
            records: (which != Records::None).then(|| records.collect()),
        }
    }

    /// The exit status.
    pub fn exit(&self) -> Exit {
        match self.verdict {
            "blank" | "unfinished" | "whole" => Exit::Ok,
            "in-use" => Exit::Failed,
            _ => Exit::Damaged,
        }
    }

    /// For people.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let at = match self.log.offset {
            0 => String::new(),
            n => format!(" from byte {n} on"),
        };
        writeln!(
            out,
            "log          {}{at}, {}",
            self.log.path,
            size(self.log.bytes)
        )?;
        if let Some(s) = &self.set {
            writeln!(out, "set          {}  {}", s.name, s.uuid)?;
        }
        self.print_supers(out)?;
        self.print_marks(out)?;
        self.print_lanes(out)?;
        self.print_records(out)?;
        self.print_end(out)
    }

    fn print_supers(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for s in &self.superblocks {
            write!(out, "superblock {} ", s.slot)?;
            let Some(c) = &s.content else {
                match s.version {
                    Some(v) => {
                        writeln!(out, "format version {v}; this tool knows {FORMAT_VERSION}")?
                    }
                    None => writeln!(out, "{}", s.state)?,
                }
                continue;
            };
            let alone = if c.alone { ", serves alone" } else { "" };
            let unfenced = if c.unfenced { ", unfenced" } else { "" };
            writeln!(
                out,
                "{} of generation {}, copy {}{alone}{unfenced}, node {:08x}, counter {}{}",
                c.role,
                c.generation,
                c.copy,
                c.node,
                c.counter,
                if s.counts { "  (counts)" } else { "" }
            )?;
            if let (true, Some(first)) = (s.counts, c.missing_first) {
                let last = c
                    .missing_last
                    .map_or("unknown".to_string(), |n| n.to_string());
                writeln!(
                    out,
                    "             the remote is out of step: it may miss {first} to {last}"
                )?;
            }
        }
        if let Some(c) = self
            .superblocks
            .iter()
            .find(|s| s.counts)
            .and_then(|s| s.content.as_ref())
        {
            writeln!(
                out,
                "shape        {}, each with {} and {} of data; {} in all",
                count(u64::from(c.lanes), "lane"),
                count(u64::from(c.lane_records), "record"),
                size(c.lane_data),
                size(self.log.used.unwrap_or(0)),
            )?;
        }
        Ok(())
    }

    fn print_marks(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for m in &self.marks {
            let Some(c) = &m.content else {
                writeln!(out, "mark {}       {}", m.slot, m.state)?;
                continue;
            };
            writeln!(
                out,
                "mark {}       retired {}, at the remote {}, acknowledged {}; generation {}, counter {}{}",
                m.slot,
                c.retired,
                c.shipped,
                c.acked,
                c.generation,
                c.counter,
                if m.counts { "  (counts)" } else { "" }
            )?;
        }
        Ok(())
    }

    fn print_lanes(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for l in &self.lanes {
            write!(out, "{:<13}", format!("lane {}", l.lane))?;
            match l.to {
                Some(to) => write!(out, "positions {} to {to}: ", l.from)?,
                None => write!(out, "from position {}: ", l.from)?,
            }
            write!(out, "{}", count(l.records as u64, "record"))?;
            if let (Some(a), Some(b)) = (l.first_sequence, l.last_sequence) {
                write!(out, ", sequences {a} to {b}")?;
            }
            if let Some(to) = l.data_to {
                write!(out, ", {} of data", size(to.saturating_sub(l.data_from)))?;
            }
            writeln!(out)?;
            if let Some(d) = &l.damage {
                writeln!(out, "             DAMAGED: {d}")?;
            }
        }
        Ok(())
    }

    fn print_records(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Some(records) = self.records.as_ref().filter(|r| !r.is_empty()) else {
            return Ok(());
        };
        let total: usize = self.lanes.iter().map(|l| l.records).sum();
        writeln!(
            out,
            "\n{:>12} {:>4} {:>9} {:>4} {:>6} {:<6} {:>14} {:>7} {:>12}  remarks",
            "sequence", "lane", "position", "gen", "volume", "op", "sector", "sectors", "after"
        )?;
        for (i, r) in records.iter().enumerate() {
            if i == SOME && records.len() < total {
                writeln!(
                    out,
                    "{:>12}   {} more: --records all",
                    "...",
                    total - records.len()
                )?;
            }
            let mut remarks = vec![];
            if let Some(c) = r.cancels {
                remarks.push(format!("cancels {c}"));
            }
            if r.cancelled {
                remarks.push("cancelled".to_string());
            }
            if r.at_remote {
                remarks.push("at the remote".to_string());
            }
            let line = format!(
                "{:>12} {:>4} {:>9} {:>4} {:>6} {:<6} {:>14} {:>7} {:>12}  {}",
                r.sequence,
                r.lane,
                r.lane_seq,
                r.generation,
                r.member,
                r.op,
                r.sector,
                r.sectors,
                r.after,
                remarks.join(", ")
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out)
    }

    fn print_end(&self, out: &mut dyn Write) -> std::io::Result<()> {
        if let Some(r) = &self.recovery {
            for h in &r.holes {
                writeln!(
                    out,
                    "hole         sequences {} to {} are not there; nobody was told of them",
                    h.first, h.last
                )?;
            }
            if r.cancelled > 0 {
                writeln!(
                    out,
                    "cancelled    {}: the local write failed and the host was told so",
                    count(r.cancelled, "write")
                )?;
            }
            for (i, line) in r.says.iter().enumerate() {
                writeln!(
                    out,
                    "{}{line}",
                    if i == 0 {
                        "recovery     "
                    } else {
                        "             "
                    }
                )?;
            }
        }
        match (&self.damage, self.verdict) {
            (Some(d), "damaged") => {
                let replayed = match d.kind {
                    "cut-off" | "other-version" => "",
                    _ => {
                        "\n             the log would be refused as a whole, nothing of it replayed"
                    }
                };
                writeln!(out, "verdict      DAMAGED: {}{replayed}", d.text)
            }
            (Some(d), verdict) => writeln!(out, "verdict      {verdict}: {}", d.text),
            (None, "blank") => writeln!(out, "verdict      blank: never used"),
            (None, "unfinished") => writeln!(
                out,
                "verdict      unfinished: a node began to make a log here and did not come to the end; nothing in \
                 it counts,\n             and the region may be used as a blank one"
            ),
            (None, verdict) => writeln!(out, "verdict      {verdict}"),
        }
    }
}

/// Reads until two readings that meet damage saw the same, or one meets none. Answers whether it settled.
///
/// An owner appends while its log is read: what it wrote between two looks of one reading seems damaged.
pub fn settle(mut read: impl FnMut() -> Reading) -> (Reading, bool) {
    let mut last = read();
    for _ in 1..READINGS {
        if !matches!(last.verdict, Verdict::Damaged(_)) {
            return (last, true);
        }
        let next = read();
        if next.saw_the_same(&last) {
            return (next, true);
        }
        last = next;
    }
    let settled = !matches!(last.verdict, Verdict::Damaged(_));
    (last, settled)
}

fn read_settled(image: &Image) -> (Reading, bool) {
    settle(|| {
        image.forget();
        let r = Reading::of(image, image.size(), |n| image.expect(n));
        image.done();
        r
    })
}

/// The command.
///
/// # Errors
///
/// The log cannot be read. A damaged one is printed, and answered by its exit status.
pub fn run(args: &DumpArgs, json: bool, out: &mut dyn Write) -> Result<Exit> {
    let progress = Progress::new(&args.log, args.progress);
    let image = Image::open(&args.log, args.offset, progress)?;
    let (reading, settled) = read_settled(&image);
    let nothing = matches!(
        reading.verdict,
        Verdict::Blank | Verdict::Unfinished | Verdict::Damaged(Damage::Unreadable { .. })
    );
    if nothing && reading.sup.is_none() && image.size() < MIN_LOG_BYTES {
        return Err(Error::new(
            Exit::Damaged,
            format!(
                "{}: {}, and no superblock in them: a log has at least {} ({MIN_LOG_BYTES} bytes)",
                args.log,
                count(image.size(), "byte"),
                size(MIN_LOG_BYTES)
            ),
        ));
    }
    if let Verdict::Damaged(Damage::Unreadable { offset }) = reading.verdict {
        if reading.sup.is_none() {
            let text = unreadable(&args.log, Unreadable { offset });
            return Err(Error::new(Exit::Failed, text));
        }
    }
    let which = args
        .records
        .unwrap_or(if json { Records::All } else { Records::Some });
    let dump = Dump::new(
        &args.log,
        args.offset,
        image.size(),
        &reading,
        settled,
        which,
    );
    if json {
        serde_json::to_writer_pretty(&mut *out, &dump)?;
        writeln!(out)?;
    } else {
        dump.print(out)?;
    }
    Ok(dump.exit())
}
