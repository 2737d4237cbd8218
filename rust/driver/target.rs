// SPDX-License-Identifier: GPL-2.0

//! The device-mapper target: one volume.

use crate::{
    alone, append, control, handover, recovery, registry, report,
    set::{Member, Phase, Set},
    takeover,
    worker::Io,
};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use core_crate::{control::Settings, limits, table::Table, takeover::Asked};
use kapi_crate::{
    bio::{BlkStatus, HostBio, Op},
    blkdev::BlockDevice,
    dm::{CtrContext, DmDev, EndIo, Map, QueueLimits, StatusKind, Target, TargetHandle},
    ratelimited,
};
use kernel::{prelude::*, str::CString, sync::Arc};

/// One volume: an instance of the target.
pub(crate) struct Volume {
    pub(crate) set: Arc<Set>,
    member: u16,
    dev: DmDev,
    local: BlockDevice,
    settings: Settings,
    /// They were applied: a table says what holds when it is loaded, not again at each resume.
    applied: AtomicBool,
    handle: TargetHandle,
    /// By which number the set knows its handle.
    watch: u64,
    /// The table line's words, for `dmsetup table`.
    pub(crate) words: CString,
    /// A suspend without flush is under way: writes go back to device-mapper.
    gives_back: AtomicBool,
}

impl Target for Volume {
    const NAME: &'static CStr = c"remote-copy";
    const VERSION: [u32; 3] = crate::VERSION;
    const SINGLETON: bool = true;
    type Io = Io;

    fn ctr(ctx: &mut CtrContext<'_>, args: &[&str]) -> Result<Arc<Self>> {
        let table = match Table::parse(args) {
            Ok(t) => t,
            Err(e) => {
                ctx.set_error(format_args!("{e}"));
                return Err(EINVAL);
            }
        };
        if ctx.begin() != 0 {
            ctx.set_error(format_args!(
                "the target must start at sector 0 of its device, not {}",
                ctx.begin()
            ));
            return Err(EINVAL);
        }
        let dev = ctx.get_device(table.local).inspect_err(|e| {
            ctx.set_error(format_args!(
                "local device '{}': cannot be opened: {e:?}",
                table.local
            ));
        })?;
        let local = BlockDevice::from_dm(&dev)?;
        let sectors = ctx.len_sectors();
        check_local(ctx, &local, table.local, sectors)?;
        if table.metadata == Some(table.local) && table.metadata_offset / 512 < sectors {
            ctx.set_error(format_args!(
                "metadata '{}': at {} the ownership record would stand within the volume; put it behind its \
                 {} bytes, or on another device",
                table.local,
                table.metadata_offset,
                sectors.saturating_mul(512)
            ));
            return Err(EINVAL);
        }
        ctx.set_max_io_len(u64::from(limits::MAX_RECORD_SECTORS))?;
        ctx.set_num_flush_bios(1);
        ctx.set_flush_supported();
        ctx.set_discards();
        ctx.set_write_zeroes();
        let handle = ctx.handle()?;
        let words = words(args)?;
        let mut say = |what: fmt::Arguments<'_>| ctx.set_error(what);
        let set = registry::join(&table, &mut say, |ns, say| Set::make(&table, ns, say))?;
        let joined = add_member(&set, &table, &dev, sectors, &mut say);
        let volume = joined.and_then(|()| {
            let watch = set.watch(handle.clone())?;
            Ok(Arc::new(
                Volume {
                    set: set.clone(),
                    member: table.member,
                    dev,
                    local,
                    settings: Settings::of(&table),
                    applied: AtomicBool::new(false),
                    handle,
                    watch,
                    words,
                    gives_back: AtomicBool::new(false),
                },
                GFP_KERNEL,
            )?)
        });
        if volume.is_err() {
            // A watcher that is left has a handle on a target that is gone: harmless, and rare.
            registry::leave(&set);
        }
        volume
    }

    /// 1. device-mapper has drained the volume: no bio of it is in a queue or a slot.
    /// 2. The set loses a user; with the last one its threads end (see [`Set::stop`]).
    /// 3. The volume's references to the set and its devices are dropped, and with the last volume
    ///    the set: log, connections and remote devices are closed.
    fn dtr(this: Arc<Self>) {
        this.set.unwatch(this.watch);
        registry::leave(&this.set);
    }

    fn map(this: &Arc<Self>, bio: HostBio<Io>) -> Map<Io> {
        // device-mapper keeps it until the resume, as soon as it has blocked I/O.
        if this.gives_back.load(Ordering::Relaxed) && bio.op() != Op::Read {
            return Map::Requeue(bio);
        }
        match this.set.phase() {
            Phase::Serving => this.serve(bio),
            Phase::Assembling | Phase::Waiting | Phase::Replaying | Phase::HandingOver => {
                let mut bio = bio;
                bio.io_mut().member = this.member;
                this.set.hold(bio);
                Map::Submitted
            }
            _ => this.refuse(bio),
        }
    }

    fn end_io(this: &Arc<Self>, mut bio: HostBio<Io>, status: BlkStatus) -> EndIo<Io> {
        let has_record = bio.io().seq.0 != 0;
        if this.set.phase() != Phase::Serving {
            // Fenced or failed meanwhile: no acknowledgement after that; and what was read may be from
            // the midst of the partner's replay.
            append::give_up(&this.set, &mut bio, BlkStatus::IOERR);
            return EndIo::Done(bio, BlkStatus::IOERR);
        }
        if !has_record {
            if status.is_ok() && this.set.in_doubt() {
                this.set.doubt(bio);
                return EndIo::Held;
            }
            return EndIo::Done(bio, status);
        }
        if status.is_reservation_conflict() {
            // The partner has taken the unit over. Nothing is acknowledged after this.
            this.set.preempted();
            this.set.local_failed(&bio, status);
            append::give_up(&this.set, &mut bio, status);
            return EndIo::Done(bio, status);
        }
        if !status.is_ok() {
            bio.io_mut().failed = Some(status);
            this.set.local_failed(&bio, status);
            this.set.failed_locally(bio);
            return EndIo::Held;
        }
        match append::local_done(&this.set, bio) {
            Some(bio) => EndIo::Done(bio, BlkStatus::OK),
            None => EndIo::Held,
        }
    }

    fn presuspend(&self) {
        if self.handle.noflush_suspending() && !self.gives_back.swap(true, Ordering::SeqCst) {
            self.set.give_back(self.member, true);
        }
    }

    fn presuspend_undo(&self) {
        self.keep();
    }

    fn postsuspend(&self) {
        self.keep();
        self.set.suspended.put(self.member, true);
    }

    fn preresume(&self) -> Result {
        if !self.applied.swap(true, Ordering::Relaxed) {
            control::apply_table(&self.set, &self.settings);
        }
        // Writes that had to wait go to the local device from the set, not from here.
        let member = self.set.members.get(usize::from(self.member));
        if !member
            .and_then(|m| m.as_ref())
            .is_some_and(|m| m.local.follow(&self.local))
        {
            return Err(ENODEV);
        }
        self.set.suspended.put(self.member, false);
        recovery::start(&self.set, &mut self.set.complain())
    }

    fn status(&self, kind: StatusKind, out: &mut dyn fmt::Write) {
        // A full buffer ends the text; device-mapper asks again with a larger one.
        let _ = match kind {
            StatusKind::Info => report::status(self, out),
            StatusKind::Table => report::table(self, out),
            StatusKind::Ima => write!(
                out,
                "target_name=remote-copy,set={},member={};",
                self.set.name.as_str(),
                self.member
            ),
        };
    }

    fn message(&self, args: &[&str], out: &mut dyn fmt::Write) -> Result<bool> {
        let mut say = self.set.complain();
        match args {
            ["takeover"] => takeover::takeover(&self.set, Asked::Message, &mut say).map(|()| false),
            ["takeover", "force"] => {
                takeover::takeover(&self.set, Asked::Force, &mut say).map(|()| false)
            }
            ["detach", "force"] => alone::go_alone(&self.set, true, &mut say).map(|()| false),
            ["swap"] => handover::swap(&self.set, &mut say).map(|()| false),
            ["in_step", "force"] => alone::back_in_step(&self.set, &mut say).map(|()| false),
            ["pause"] | ["pause", "force"] => control::pause(&self.set, args.len() > 1, &mut say)
                .map(|()| false)
                .map_err(|_| EBUSY),
            ["resume"] => {
                control::resume(&self.set);
                Ok(false)
            }
            ["stats"] => {
                report::status(self, out).map_err(|_| ENOSPC)?;
                Ok(true)
            }
            _ => {
                say(format_args!(
                    "unknown message '{}'; there are: stats, takeover, takeover force, detach force, swap, \
                     in_step force, pause, pause force, resume",
                    args.first().copied().unwrap_or("")
                ));
                Err(EINVAL)
            }
        }
    }

    fn devices(&self) -> &DmDev {
        &self.dev
    }

    fn io_hints(&self, limits: &mut QueueLimits<'_>) {
        // Pages must not change between the log's copy and the end of the write; and zeroes are
        // written by hand where a device can't do better, so these are always there.
        limits.set_stable_writes();
        limits.set_max_hw_discard_sectors(limits::CHUNK_SECTORS);
        limits.set_discard_granularity(limits.logical_block_size());
        limits.set_max_write_zeroes_sectors(limits::CHUNK_SECTORS);
    }
}

impl Volume {
    /// The suspend is over or did not come about.
    fn keep(&self) {
        if self.gives_back.swap(false, Ordering::SeqCst) {
            self.set.give_back(self.member, false);
        }
    }

    /// The first sequence that the remote may miss, as far as this node found out; 0: it did not.
    pub(crate) fn missing_first(&self) -> u64 {
        let member = self.set.members.get(usize::from(self.member));
        member
            .and_then(|m| m.as_ref())
            .map_or(0, |m| m.missing_first.load(Ordering::Relaxed))
    }

    #[inline]
    fn serve(&self, mut bio: HostBio<Io>) -> Map<Io> {
        let sector = bio.sector();
        match bio.op() {
            Op::Read => {
                bio.remap(&self.local, sector);
                Map::Remapped(bio)
            }
            // Whatever was acknowledged is durable in the log, here and at the partner, until it is
            // durable where it belongs. So there is nothing to flush.
            Op::Flush => {
                bio.complete(BlkStatus::OK);
                Map::Submitted
            }
            Op::Write | Op::Discard | Op::WriteZeroes => self.write(bio),
            _ => {
                bio.complete(BlkStatus::NOTSUPP);
                Map::Submitted
            }
        }
    }

    #[inline]
    fn write(&self, mut bio: HostBio<Io>) -> Map<Io> {
        let set = &self.set;
        let Some(journal) = set.journal() else {
            return self.refuse(bio);
        };
        let io = bio.io_mut();
        io.member = self.member;
        io.locked = true;
        set.accepted(&mut bio);
        // A write that overlaps one which has not been acknowledged waits for it: local order is
        // then the order of sequences (rule 3).
        let Ok(bio) = set.ranges.lock(self.member, bio) else {
            return Map::Submitted;
        };
        match append::map(set, journal, bio) {
            Some(mut bio) if bio.op() == Op::Write => {
                match append::prepare_local(set, journal, &self.local, &mut bio) {
                    Ok(()) => Map::Remapped(bio),
                    Err(_) => {
                        append::give_up(set, &mut bio, BlkStatus::IOERR);
                        bio.complete(BlkStatus::IOERR);
                        Map::Submitted
                    }
                }
            }
            Some(bio) => {
                set.zero_locally(bio);
                Map::Submitted
            }
            None => Map::Submitted,
        }
    }

    fn refuse(&self, bio: HostBio<Io>) -> Map<Io> {
        ratelimited!(
            pr_warn,
            "set {}: I/O refused: {}\n",
            self.set.name.as_str(),
            report::refusal(&self.set)
        );
        bio.complete(BlkStatus::IOERR);
        Map::Submitted
    }
}

/// A bio that came before the set served goes its way. Worker context.
pub(crate) fn resume_held(set: &Arc<Set>, mut bio: HostBio<Io>) {
    let member = set
        .members
        .get(usize::from(bio.io().member))
        .and_then(|m| m.as_ref());
    let Some(member) = member else {
        return bio.complete(BlkStatus::IOERR);
    };
    let sector = bio.sector();
    match bio.op() {
        Op::Read => {
            bio.remap(&member.local, sector);
            bio.submit();
        }
        Op::Flush => bio.complete(BlkStatus::OK),
        Op::Write | Op::Discard | Op::WriteZeroes => {
            let number = bio.io().member;
            bio.io_mut().locked = true;
            set.accepted(&mut bio);
            if let Ok(bio) = set.ranges.lock(number, bio) {
                append::start(set, bio);
            }
        }
        _ => bio.complete(BlkStatus::NOTSUPP),
    }
}

fn words(args: &[&str]) -> Result<CString> {
    let mut all = KVec::new();
    for (i, a) in args.iter().enumerate() {
        if i > 0 {
            all.push(b' ', GFP_KERNEL)?;
        }
        all.extend_from_slice(a.as_bytes(), GFP_KERNEL)?;
    }
    let text = core::str::from_utf8(&all).map_err(|_| EINVAL)?;
    CString::try_from_fmt(fmt!("{text}"))
}

fn check_local(ctx: &mut CtrContext<'_>, local: &BlockDevice, path: &str, sectors: u64) -> Result {
    if local.sectors() < sectors {
        ctx.set_error(format_args!(
            "local device '{path}' has {} sectors, the table line says {sectors}",
            local.sectors()
        ));
        return Err(EINVAL);
    }
    if local.dma_alignment_mask() > 511 {
        ctx.set_error(format_args!(
            "local device '{path}' needs memory aligned to {} bytes; at most 512 can be had",
            u64::from(local.dma_alignment_mask()) + 1
        ));
        return Err(EINVAL);
    }
    if local.is_zoned() {
        ctx.set_error(format_args!(
            "local device '{path}' is zoned: not supported"
        ));
        return Err(EINVAL);
    }
    Ok(())
}

fn add_member(
    set: &Set,
    table: &Table<'_>,
    dev: &DmDev,
    sectors: u64,
    say: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result {
    let slot = set.members.get(usize::from(table.member)).ok_or(EINVAL)?;
    let local = BlockDevice::from_dm(dev)?;
    if let Some(known) = slot.as_ref() {
        // Another table for a volume that is there already.
        let what = if known.local.dev_t() != local.dev_t() {
            "local device"
        } else if known.remote_path.to_str().ok() != Some(table.remote) {
            "remote"
        } else if known.sectors != sectors {
            "length"
        } else {
            return Ok(());
        };
        say(format_args!(
            "{what}: member {} of set '{}' is in use with another value; remove it first",
            table.member,
            set.name.as_str()
        ));
        return Err(EINVAL);
    }
    check_remote(set, table.remote, sectors, local.logical_block_size(), say)?;
    let member = Member {
        local: Arc::new(local, GFP_KERNEL)?,
        remote_path: CString::try_from_fmt(fmt!("{}", table.remote))?,
        sectors,
        missing_first: AtomicU64::new(0),
    };
    slot.populate(member);
    Ok(())
}

/// A remote that is not there may come later; one that is there and too small never fits.
fn check_remote(
    set: &Set,
    path: &str,
    sectors: u64,
    block: u32,
    say: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result {
    match BlockDevice::open(path, None, false) {
        Ok(d) if d.logical_block_size() > block => {
            say(format_args!(
                "remote '{path}' has logical blocks of {} bytes, the local device of {block}; the remote's \
                 must not be larger",
                d.logical_block_size()
            ));
            Err(EINVAL)
        }
        Ok(d) if d.sectors() < sectors => {
            say(format_args!(
                "remote '{path}' has {} sectors, the volume {sectors}",
                d.sectors()
            ));
            Err(EINVAL)
        }
        Ok(_) => Ok(()),
        Err(e) => {
            pr_warn!(
                "set {}: remote '{path}' cannot be opened yet: {e:?}\n",
                set.name.as_str()
            );
            Ok(())
        }
    }
}
