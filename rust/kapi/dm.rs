// SPDX-License-Identifier: GPL-2.0

//! Device-mapper targets.
//!
//! A target type implements [`Target`] and is registered by a [`Registration`] in the module's
//! state. For each table line dm calls the constructor; what it returns is kept in `ti->private`,
//! together with the devices that it got, until the destructor.
//!
//! The order in which dm calls, and from where:
//!
//! | callback          | context                              | I/O at that time              |
//! |-------------------|--------------------------------------|-------------------------------|
//! | `ctr`             | process (ioctl of the table load)    | none                          |
//! | `io_hints`        | process                              | none for this table           |
//! | `preresume`       | process, md's suspend lock           | none for this table           |
//! | `resume`          | process, md's suspend lock           | starts when it returns        |
//! | `map`             | process, inside `submit_bio()`       |                               |
//! | `end_io`          | any, also hard interrupt             |                               |
//! | `status`, `message` | process                            | goes on                       |
//! | `presuspend`      | process, md's suspend lock           | goes on; held bios must end   |
//! | `presuspend_undo` | the same, if the suspend failed      | goes on                       |
//! | `postsuspend`     | process, md's suspend lock           | all ended                     |
//! | `dtr`             | process                              | none                          |
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::atomic::ordering::Relaxed;
use kernel::sync::atomic::Atomic;
use kernel::sync::{new_mutex, Arc, Mutex};
use kernel::types::Opaque;
use kernel::ThisModule;

use crate::bindings;
use crate::bio::{self, BlkStatus, HostBio};
use crate::range_lock;

/// What `map` did with a bio.
#[must_use]
pub enum Map<T> {
    /// dm is to submit it to where [`HostBio::remap`] has directed it.
    Remapped(HostBio<T>),
    /// The target has kept, submitted or completed it.
    Submitted,
    /// dm is to fail it with an I/O error. `end_io` is not called.
    Kill(HostBio<T>),
    /// dm is to queue the original again (during a suspend without flush). `end_io` is not called.
    Requeue(HostBio<T>),
}

/// What `end_io` did with a bio.
#[must_use]
pub enum EndIo<T> {
    /// It ends, with this status.
    Done(HostBio<T>, BlkStatus),
    /// The target has kept it, or has submitted or completed it already.
    Held,
}

/// What a status is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusKind {
    /// `dmsetup status`.
    Info,
    /// `dmsetup table`: what the constructor would take, without start, length and name.
    Table,
    /// The measurement of the integrity subsystem: `name=value,…;`.
    Ima,
}

/// A device-mapper target.
pub trait Target: Send + Sync + Sized + 'static {
    /// The name in table lines.
    const NAME: &'static CStr;

    /// Major, minor, patch level.
    const VERSION: [u32; 3];

    /// A table with this target must have no other target in it.
    const SINGLETON: bool = false;

    /// The target does not work on read-only devices.
    const ALWAYS_WRITEABLE: bool = false;

    /// The target's data for each bio. Plain: it must not need to be dropped.
    type Io: Default + Send;

    /// Makes a target from the arguments of a table line. If it fails, it should say why with
    /// [`CtrContext::set_error`].
    ///
    /// Context: process, may sleep.
    fn ctr(ctx: &mut CtrContext<'_>, args: &[&str]) -> Result<Arc<Self>>;

    /// Takes the target apart. No bio is left, and no other callback runs or will.
    ///
    /// The devices that the constructor got are put when this returns.
    ///
    /// Context: process, may sleep.
    fn dtr(this: Arc<Self>);

    /// Takes a bio. Bios come from several processors at once.
    ///
    /// Context: process. May sleep, but the submitter waits so long.
    fn map(this: &Arc<Self>, bio: HostBio<Self::Io>) -> Map<Self::Io>;

    /// A bio that was remapped or submitted has ended below with `status`.
    ///
    /// Context: any.
    fn end_io(this: &Arc<Self>, bio: HostBio<Self::Io>, status: BlkStatus) -> EndIo<Self::Io> {
        let _ = this;
        EndIo::Done(bio, status)
    }

    /// A suspend begins: what the target holds back must end, or be requeued if
    /// [`TargetHandle::noflush_suspending`], soon and without further calls. Bios still come.
    ///
    /// Context: process, may sleep.
    fn presuspend(&self) {}

    /// The suspend failed: go on as before.
    ///
    /// Context: process, may sleep.
    fn presuspend_undo(&self) {}

    /// All bios have ended, and no more will come before the resume.
    ///
    /// Context: process, may sleep.
    fn postsuspend(&self) {}

    /// The device is to be resumed; an error prevents it.
    ///
    /// Context: process, may sleep.
    fn preresume(&self) -> Result {
        Ok(())
    }

    /// The device is resumed: bios come when this returns.
    ///
    /// Context: process, may sleep.
    fn resume(&self) {}

    /// Writes the status. What does not fit is cut off, and dm asks again with a larger buffer.
    ///
    /// Context: process, may sleep.
    fn status(&self, kind: StatusKind, out: &mut dyn fmt::Write);

    /// Serves `dmsetup message`. `args` has at least one element. `true` if `out` holds a reply.
    ///
    /// A reply that does not fit (in 16 KiB, at first) makes `dmsetup` send the message again with a
    /// larger buffer: a message that changes something should have a short one.
    ///
    /// Context: process, may sleep.
    fn message(&self, args: &[&str], out: &mut dyn fmt::Write) -> Result<bool> {
        let _ = (args, out);
        Err(EINVAL)
    }

    /// The device whose limits and properties the mapped device takes over: sectors 0 to the
    /// target's length of it.
    ///
    /// Context: any that dm likes; must not sleep.
    fn devices(&self) -> &DmDev;

    /// Adjusts the limits that were taken over from [`Target::devices`].
    ///
    /// Context: process, may sleep.
    fn io_hints(&self, limits: &mut QueueLimits<'_>) {
        let _ = limits;
    }
}

/// A number that no other target ever had, of this type or another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TargetId(u64);

impl TargetId {
    fn new() -> Self {
        static NEXT: Atomic<u64> = Atomic::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }

    /// Never 0.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// What `ti->private` points to.
struct Instance<T> {
    id: TargetId,
    target: Arc<T>,
    devices: KVec<NonNull<bindings::dm_dev>>,
    handle: Option<Arc<HandleInner>>,
}

/// A device that a constructor got with [`CtrContext::get_device`].
///
/// The device stays open as long as one of these is there, but belongs to the target only until
/// the target's destructor has returned.
///
/// # Invariants
///
/// `file` is the device's file, with a reference of our own. `dev` is in the list of the instance
/// of `target`, and valid as long as that.
pub struct DmDev {
    pub(crate) file: NonNull<bindings::file>,
    target: TargetId,
    dev: NonNull<bindings::dm_dev>,
}

// SAFETY: A file may be used and put by any thread.
unsafe impl Send for DmDev {}
// SAFETY: As above.
unsafe impl Sync for DmDev {}

impl DmDev {
    pub(crate) fn target(&self) -> TargetId {
        self.target
    }
}

impl Drop for DmDev {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to put. dm has another until after
        // the destructor.
        unsafe { bindings::fput(self.file.as_ptr()) };
    }
}

/// The constructor's view of its target.
///
/// # Invariants
///
/// `ti` is the target that dm is constructing.
pub struct CtrContext<'a> {
    ti: NonNull<bindings::dm_target>,
    id: TargetId,
    devices: KVec<NonNull<bindings::dm_dev>>,
    handle: Option<Arc<HandleInner>>,
    _ti: PhantomData<&'a mut bindings::dm_target>,
}

impl CtrContext<'_> {
    fn ti(&mut self) -> &mut bindings::dm_target {
        // SAFETY: By the type invariant. While the constructor runs nobody else accesses it.
        unsafe { self.ti.as_mut() }
    }

    /// The target's length in sectors.
    pub fn len_sectors(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { self.ti.as_ref() }.len
    }

    /// Where the target begins on the mapped device, in sectors.
    pub fn begin(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { self.ti.as_ref() }.begin
    }

    /// The number of the mapped device, as `major:minor`. Copied; at most 15 bytes.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn device_number(&self) -> Result<CString> {
        // SAFETY: The table is there while the constructor runs, and its device has a name that
        // does not change.
        let name = unsafe {
            let md = bindings::dm_table_get_md(self.ti.as_ref().table);
            CStr::from_char_ptr(bindings::dm_device_name(md))
        };
        Ok(CString::try_from(name)?)
    }

    /// Opens the block device at `path` for reading, and for writing unless the mapped device is
    /// read-only. dm claims it, so that nothing but dm devices can open it exclusively.
    ///
    /// Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTBLK`, `EBUSY`, `ENOMEM`; `EINVAL` if `path` contains a NUL byte.
    pub fn get_device(&mut self, path: &str) -> Result<DmDev> {
        let path = CString::try_from_fmt(fmt!("{path}"))?;
        self.devices.reserve(1, GFP_KERNEL)?;
        let mut dev = ptr::null_mut();
        // SAFETY: `ti` is being constructed, `path` is a string and `dev` takes the result.
        kernel::error::to_result(unsafe {
            let mode = bindings::dm_table_get_mode(self.ti.as_ref().table);
            bindings::dm_get_device(self.ti.as_ptr(), path.as_char_ptr(), mode, &mut dev)
        })?;
        let dev = NonNull::new(dev).ok_or(ENODEV)?;
        // Cannot fail: reserved above. If it did, the device would stay with the table.
        self.devices.push(dev, GFP_KERNEL)?;
        // SAFETY: dm has opened the device, and holds a reference on its file.
        let file = unsafe { bindings::get_file(dev.as_ref().bdev_file) };
        // INVARIANT: A reference was taken above; `dev` is in the list of this target.
        Ok(DmDev {
            file: NonNull::new(file).ok_or(ENODEV)?,
            target: self.id,
            dev,
        })
    }

    /// Says why the constructor fails: dm prints it to the kernel's log. At most 511 bytes.
    pub fn set_error(&mut self, text: fmt::Arguments<'_>) {
        self.ti().error = error_text(text);
    }

    /// No bio shall be longer than `sectors`, nor cross a multiple of it (relative to the begin).
    ///
    /// That goes for every operation: the trampoline of `map` splits what dm does not.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is not a power of two or larger than 4 TiB.
    pub fn set_max_io_len(&mut self, sectors: u64) -> Result {
        if !sectors.is_power_of_two() {
            return Err(EINVAL);
        }
        // SAFETY: By the type invariant.
        kernel::error::to_result(unsafe {
            bindings::dm_set_target_max_io_len(self.ti.as_ptr(), sectors)
        })
    }

    /// How many clones of each flush the target wants: 0 or 1.
    pub fn set_num_flush_bios(&mut self, n: u32) {
        self.ti().num_flush_bios = n.min(1);
    }

    /// Flushes and FUA are to be sent to the target even if the device below needs none.
    pub fn set_flush_supported(&mut self) {
        self.ti().set_flush_supported(true);
    }

    /// The target takes discards, even if the device below does not. Their largest size and their
    /// granularity are limits: see [`QueueLimits`]. Each is split at multiples of the largest size.
    pub fn set_discards(&mut self) {
        let ti = self.ti();
        ti.num_discard_bios = 1;
        ti.set_discards_supported(true);
        ti.set_max_discard_granularity(true);
    }

    /// The target takes write-zeroes. Their largest size is a limit: see [`QueueLimits`].
    pub fn set_write_zeroes(&mut self) {
        self.ti().num_write_zeroes_bios = 1;
    }

    /// A handle on the target that may be kept in it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn handle(&mut self) -> Result<TargetHandle> {
        if let Some(inner) = &self.handle {
            return Ok(TargetHandle(inner.clone()));
        }
        let ti = self.ti;
        let inner = Arc::pin_init(
            pin_init!(HandleInner {
                noflush: Atomic::new(false),
                ti <- new_mutex!(TiPtr(Some(ti)), "kapi::dm::TargetHandle"),
            }),
            GFP_KERNEL,
        )?;
        self.handle = Some(inner.clone());
        Ok(TargetHandle(inner))
    }
}

/// The address of a target, while it exists.
struct TiPtr(Option<NonNull<bindings::dm_target>>);

// SAFETY: Only used under the mutex, and only for what any thread may do.
unsafe impl Send for TiPtr {}

#[pin_data]
struct HandleInner {
    noflush: Atomic<bool>,
    /// Protects the target from being destroyed while it is used.
    #[pin]
    ti: Mutex<TiPtr>,
}

/// A handle on a target that outlives it harmlessly.
#[derive(Clone)]
pub struct TargetHandle(Arc<HandleInner>);

impl TargetHandle {
    /// Whether the suspend in progress is one without flush, in which held bios may be completed
    /// with [`BlkStatus::DM_REQUEUE`]. Says the same from before `presuspend` until the resume.
    ///
    /// Context: any.
    pub fn noflush_suspending(&self) -> bool {
        self.0.noflush.load(Relaxed)
    }

    /// Wakes those who wait with `dmsetup wait`.
    ///
    /// Context: process, may sleep.
    pub fn table_event(&self) {
        let guard = self.0.ti.lock();
        if let Some(ti) = guard.0 {
            // SAFETY: The target exists while the pointer is there, and we hold the mutex.
            unsafe { bindings::dm_table_event(ti.as_ref().table) };
        }
    }
}

/// The limits of a mapped device.
pub struct QueueLimits<'a>(&'a mut bindings::queue_limits);

impl QueueLimits<'_> {
    /// Logical block size in bytes.
    pub fn logical_block_size(&self) -> u32 {
        self.0.logical_block_size
    }

    /// Physical block size in bytes.
    pub fn physical_block_size(&self) -> u32 {
        self.0.physical_block_size
    }

    /// The longest discard of the device below, in sectors; 0 if it has none.
    pub fn max_hw_discard_sectors(&self) -> u32 {
        self.0.max_hw_discard_sectors
    }

    /// The longest write-zeroes of the device below, in sectors; 0 if it has none.
    pub fn max_write_zeroes_sectors(&self) -> u32 {
        self.0.max_write_zeroes_sectors
    }

    /// The discard granularity of the device below, in bytes.
    pub fn discard_granularity(&self) -> u32 {
        self.0.discard_granularity
    }

    /// The alignment which addresses in memory need, minus one.
    pub fn dma_alignment(&self) -> u32 {
        self.0.dma_alignment
    }

    /// Sets the logical block size in bytes; a power of two from 512. The device below must have
    /// the same or a smaller one.
    pub fn set_logical_block_size(&mut self, bytes: u32) {
        self.0.logical_block_size = bytes;
        self.0.physical_block_size = self.0.physical_block_size.max(bytes);
        self.0.io_min = self.0.io_min.max(bytes);
    }

    /// Sets the longest discard in sectors; 0: none.
    pub fn set_max_hw_discard_sectors(&mut self, sectors: u32) {
        self.0.max_hw_discard_sectors = sectors;
    }

    /// Sets the discard granularity in bytes.
    pub fn set_discard_granularity(&mut self, bytes: u32) {
        self.0.discard_granularity = bytes;
        self.0.discard_alignment = 0;
    }

    /// Sets the longest write-zeroes in sectors; 0: none. With the range goes the promise that
    /// zeroes are written, not that the range is unmapped.
    pub fn set_max_write_zeroes_sectors(&mut self, sectors: u32) {
        self.0.max_write_zeroes_sectors = sectors;
        self.0.max_hw_wzeroes_unmap_sectors = 0;
    }

    /// Sets the best size of a bio in bytes; 0: none.
    pub fn set_io_opt(&mut self, bytes: u32) {
        self.0.io_opt = bytes;
    }

    /// Demands that pages do not change while they are written.
    pub fn set_stable_writes(&mut self) {
        self.0.features |= bindings::KAPI_CONST_BLK_FEAT_STABLE_WRITES;
    }
}

/// A registered target type: a field of the module's state.
///
/// # Invariants
///
/// The target type is registered.
#[pin_data(PinnedDrop)]
pub struct Registration<T: Target> {
    #[pin]
    tt: Opaque<bindings::target_type>,
    _target: PhantomData<fn() -> T>,
}

// SAFETY: There is nothing to be done through a reference.
unsafe impl<T: Target> Sync for Registration<T> {}
// SAFETY: A target type may be unregistered by any thread.
unsafe impl<T: Target> Send for Registration<T> {}

impl<T: Target> Registration<T> {
    /// Registers the target type. From then on tables can name it.
    ///
    /// Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the name is taken.
    pub fn new(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            tt <- Opaque::try_ffi_init(|slot: *mut bindings::target_type| {
                let tt = Trampolines::<T>::target_type(module);
                // SAFETY: `slot` is valid for writes and pinned: dm links it into its list. It is
                // taken out before it is dropped. dm holds a reference on the module while a table
                // uses the type.
                unsafe {
                    slot.write(tt);
                    kernel::error::to_result(bindings::dm_register_target(slot))
                }
            }),
            _target: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T: Target> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type invariant. The module cannot go while a table uses it.
        unsafe { bindings::dm_unregister_target(self.tt.get()) };
    }
}

/// The functions that dm calls for a target type.
struct Trampolines<T>(PhantomData<T>);

impl<T: Target> Trampolines<T> {
    fn target_type(module: &'static ThisModule) -> bindings::target_type {
        let mut features = 0;
        if T::SINGLETON {
            features |= bindings::DM_TARGET_SINGLETON;
        }
        if T::ALWAYS_WRITEABLE {
            features |= bindings::DM_TARGET_ALWAYS_WRITEABLE;
        }
        bindings::target_type {
            features: u64::from(features),
            name: T::NAME.as_char_ptr(),
            module: module.as_ptr(),
            version: T::VERSION,
            ctr: Some(Self::ctr),
            dtr: Some(Self::dtr),
            map: Some(Self::map),
            end_io: Some(Self::end_io),
            presuspend: Some(Self::presuspend),
            presuspend_undo: Some(Self::presuspend_undo),
            postsuspend: Some(Self::postsuspend),
            preresume: Some(Self::preresume),
            resume: Some(Self::resume),
            status: Some(Self::status),
            message: Some(Self::message),
            iterate_devices: Some(Self::iterate_devices),
            io_hints: Some(Self::io_hints),
            ..pin_init::zeroed()
        }
    }

    /// # Safety
    ///
    /// `ti` was constructed by [`Self::ctr`] and its destructor has not run.
    #[inline]
    unsafe fn instance<'a>(ti: *const bindings::dm_target) -> &'a Instance<T> {
        // SAFETY: `ctr` has put an `Instance<T>` there.
        unsafe { &*(*ti).private.cast_const().cast() }
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn ctr(
        ti: *mut bindings::dm_target,
        argc: c_uint,
        argv: *mut *mut c_char,
    ) -> c_int {
        let Some(ti) = NonNull::new(ti) else {
            return EINVAL.to_errno();
        };
        // INVARIANT: dm is constructing `ti`.
        let mut ctx = CtrContext {
            ti,
            id: TargetId::new(),
            devices: KVec::new(),
            handle: None,
            _ti: PhantomData,
        };
        // SAFETY: dm passes as many strings.
        let made = match unsafe { arguments(argc, argv) } {
            Ok(args) => Self::construct(&mut ctx, &args),
            Err(error) => {
                ctx.set_error(fmt!("arguments are not valid UTF-8, or no memory"));
                Err(error)
            }
        };
        match made {
            Ok(instance) => {
                let target = ctx.ti();
                target.private = KBox::into_raw(instance).cast();
                0
            }
            Err(error) => {
                if let Some(handle) = ctx.handle.take() {
                    handle.ti.lock().0 = None;
                }
                // SAFETY: `ti` is still there, and these are the devices it got.
                unsafe { put_devices(ti, &ctx.devices) };
                error.to_errno()
            }
        }
    }

    fn construct(ctx: &mut CtrContext<'_>, args: &[&str]) -> Result<KBox<Instance<T>>> {
        let slot = KBox::<Instance<T>>::new_uninit(GFP_KERNEL)?;
        let target = T::ctr(ctx, args)?;
        let per_bio = const { bio::per_bio_size::<T::Io>() };
        let ti = ctx.ti();
        ti.per_io_data_size = u32::try_from(per_bio)?;
        // `HostBio::submit` is `dm_submit_bio_remap()`.
        ti.set_accounts_remapped_io(true);
        Ok(slot.write(Instance {
            id: ctx.id,
            target,
            devices: core::mem::take(&mut ctx.devices),
            handle: ctx.handle.take(),
        }))
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn dtr(ti: *mut bindings::dm_target) {
        // SAFETY: `ctr` has put a box there, and this is the last callback for this target.
        let instance: KBox<Instance<T>> = unsafe { KBox::from_raw((*ti).private.cast()) };
        let Instance {
            id: _,
            target,
            devices,
            handle,
        } = KBox::into_inner(instance);
        T::dtr(target);
        if let Some(handle) = handle {
            handle.ti.lock().0 = None;
        }
        if let Some(ti) = NonNull::new(ti) {
            // SAFETY: `ti` is still there, and these are the devices it got. No bio is left that
            // could be on its way to one.
            unsafe { put_devices(ti, &devices) };
        }
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn map(ti: *mut bindings::dm_target, bio: *mut bindings::bio) -> c_int {
        // SAFETY: `ti` is a target in use.
        let this = unsafe { Self::instance(ti) };
        // SAFETY: dm never passes null.
        let clone = unsafe { NonNull::new_unchecked(bio) };
        // SAFETY: Both are what dm passed.
        unsafe { split(ti, bio) };
        // SAFETY: dm hands the clone over, and it is of a target with `Io = T::Io`.
        let host_bio = unsafe { HostBio::<T::Io>::from_map(this.id, (*ti).begin, clone) };
        let (done, code) = match T::map(&this.target, host_bio) {
            Map::Submitted => return bindings::DM_MAPIO_SUBMITTED as c_int,
            Map::Remapped(host_bio) => {
                if host_bio.bio_ptr() == bio && host_bio.is_routed() {
                    host_bio.into_raw();
                    return bindings::DM_MAPIO_REMAPPED as c_int;
                }
                host_bio.submit();
                return bindings::DM_MAPIO_SUBMITTED as c_int;
            }
            Map::Kill(host_bio) => (host_bio, bindings::DM_MAPIO_KILL),
            Map::Requeue(host_bio) => (host_bio, bindings::DM_MAPIO_REQUEUE),
        };
        // Whoever returns another bio than the one that came means that other one.
        if done.bio_ptr() != bio {
            done.complete(if code == bindings::DM_MAPIO_KILL {
                BlkStatus::IOERR
            } else {
                BlkStatus::DM_REQUEUE
            });
            return bindings::DM_MAPIO_SUBMITTED as c_int;
        }
        done.finish();
        code as c_int
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn end_io(
        ti: *mut bindings::dm_target,
        bio: *mut bindings::bio,
        error: *mut bindings::blk_status_t,
    ) -> c_int {
        // SAFETY: dm never passes null.
        let clone = unsafe { NonNull::new_unchecked(bio) };
        // SAFETY: dm offers the clone, which `map` has seen.
        let Some(host_bio) = (unsafe { HostBio::<T::Io>::from_end_io(clone) }) else {
            return bindings::DM_ENDIO_DONE as c_int;
        };
        // SAFETY: `ti` is a target in use; `error` is valid.
        let (this, status) = unsafe { (Self::instance(ti), BlkStatus::from_raw(*error)) };
        match T::end_io(&this.target, host_bio, status) {
            EndIo::Done(done, status) => {
                if done.bio_ptr() != bio {
                    done.complete(status);
                    return bindings::DM_ENDIO_INCOMPLETE as c_int;
                }
                done.finish();
                // SAFETY: `error` is valid for writes.
                unsafe { *error = status.into_raw() };
                bindings::DM_ENDIO_DONE as c_int
            }
            // From here on the clone may be gone.
            EndIo::Held => bindings::DM_ENDIO_INCOMPLETE as c_int,
        }
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn presuspend(ti: *mut bindings::dm_target) {
        // SAFETY: `ti` is a target in use.
        let (this, noflush) =
            unsafe { (Self::instance(ti), bindings::dm_noflush_suspending(ti) != 0) };
        this.set_noflush(noflush);
        this.target.presuspend();
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn presuspend_undo(ti: *mut bindings::dm_target) {
        // SAFETY: `ti` is a target in use.
        let this = unsafe { Self::instance(ti) };
        this.set_noflush(false);
        this.target.presuspend_undo();
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn postsuspend(ti: *mut bindings::dm_target) {
        // SAFETY: `ti` is a target in use.
        unsafe { Self::instance(ti) }.target.postsuspend();
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn preresume(ti: *mut bindings::dm_target) -> c_int {
        // SAFETY: `ti` is a target in use.
        let this = unsafe { Self::instance(ti) };
        this.set_noflush(false);
        kernel::error::from_result(|| this.target.preresume().map(|()| 0))
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn resume(ti: *mut bindings::dm_target) {
        // SAFETY: `ti` is a target in use.
        unsafe { Self::instance(ti) }.target.resume();
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn status(
        ti: *mut bindings::dm_target,
        kind: bindings::status_type_t,
        _flags: c_uint,
        result: *mut c_char,
        maxlen: c_uint,
    ) {
        let kind = match kind {
            bindings::status_type_t_STATUSTYPE_TABLE => StatusKind::Table,
            bindings::status_type_t_STATUSTYPE_IMA => StatusKind::Ima,
            _ => StatusKind::Info,
        };
        // SAFETY: `result` is valid for writes of `maxlen` bytes.
        let mut out = unsafe { Emitter::new(result, maxlen) };
        // SAFETY: `ti` is a target in use.
        let this = unsafe { Self::instance(ti) };
        if kind == StatusKind::Ima {
            let [major, minor, patch] = T::VERSION;
            out.emit(fmt!(
                "target_name={},target_version={major}.{minor}.{patch},",
                T::NAME
            ));
        }
        this.target.status(kind, &mut out);
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn message(
        ti: *mut bindings::dm_target,
        argc: c_uint,
        argv: *mut *mut c_char,
        result: *mut c_char,
        maxlen: c_uint,
    ) -> c_int {
        kernel::error::from_result(|| {
            // SAFETY: dm passes as many strings.
            let args = unsafe { arguments(argc, argv) }?;
            // SAFETY: `result` is valid for writes of `maxlen` bytes.
            let mut out = unsafe { Emitter::new(result, maxlen) };
            // SAFETY: `ti` is a target in use.
            let replied = unsafe { Self::instance(ti) }
                .target
                .message(&args, &mut out)?;
            Ok(c_int::from(replied))
        })
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn iterate_devices(
        ti: *mut bindings::dm_target,
        callout: bindings::iterate_devices_callout_fn,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: `ti` is a target in use.
        let this = unsafe { Self::instance(ti) };
        let device = this.target.devices();
        let Some(callout) = callout else { return 0 };
        // A `DmDev` may be older than its target: only those of this one are known to be alive.
        if device.target != this.id {
            return 0;
        }
        let dev = device.dev;
        // SAFETY: `dev` belongs to this target, and `data` is for `callout`.
        unsafe { callout(ti, dev.as_ptr(), 0, (*ti).len, data) }
    }

    /// # Safety
    ///
    /// As dm calls it.
    unsafe extern "C" fn io_hints(
        ti: *mut bindings::dm_target,
        limits: *mut bindings::queue_limits,
    ) {
        // SAFETY: `ti` is a target in use.
        let this = unsafe { Self::instance(ti) };
        // SAFETY: dm's own copy of the limits, which nobody else accesses.
        let limits = unsafe { &mut *limits };
        // A bio that is polled for must be on its way to a device, not held back.
        limits.features &= !bindings::KAPI_CONST_BLK_FEAT_POLL;
        this.target.io_hints(&mut QueueLimits(limits));
    }
}

impl<T> Instance<T> {
    fn set_noflush(&self, on: bool) {
        if let Some(handle) = &self.handle {
            handle.noflush.store(on, Relaxed);
        }
    }
}

/// Cuts a bio at the next multiple of `max_io_len`; dm sends the rest as another.
///
/// dm does that by itself for reads, writes and (with `max_discard_granularity`) discards, but
/// only knows a largest size for write-zeroes, not a boundary.
///
/// # Safety
///
/// Called from `map` with what dm passed.
#[inline]
unsafe fn split(ti: *mut bindings::dm_target, bio: *mut bindings::bio) {
    // SAFETY: Both are valid.
    let (iter, begin, op, max_io_len) = unsafe {
        (
            (*bio).bi_iter,
            (*ti).begin,
            (*bio).bi_opf & bindings::KAPI_CONST_REQ_OP_MASK,
            u64::from((*ti).max_io_len),
        )
    };
    // What carries no data is only bound to the chunks of the range lock.
    let max = match op {
        bindings::req_op_REQ_OP_DISCARD | bindings::req_op_REQ_OP_WRITE_ZEROES => {
            max_io_len.max(range_lock::CHUNK_SECTORS)
        }
        _ => max_io_len,
    };
    let sectors = u64::from(iter.bi_size >> crate::SECTOR_SHIFT);
    if max == 0 || sectors <= 1 {
        return;
    }
    // A power of two: see `set_max_io_len`.
    let offset = iter.bi_sector.wrapping_sub(begin) & max.wrapping_sub(1);
    let left = max.wrapping_sub(offset);
    if sectors > left {
        // SAFETY: Called from `map`, for one bio that is no flush and, with one bio an operation,
        // not a duplicate; it is shortened, and not to nothing. Atomic writes are not supported.
        unsafe { bindings::dm_accept_partial_bio(bio, left as c_uint) };
    }
}

/// # Safety
///
/// `devices` are those that `ti` got and has not put.
unsafe fn put_devices(ti: NonNull<bindings::dm_target>, devices: &[NonNull<bindings::dm_dev>]) {
    for dev in devices {
        // SAFETY: By the contract.
        unsafe { bindings::dm_put_device(ti.as_ptr(), dev.as_ptr()) };
    }
}

/// # Safety
///
/// `argv` has `argc` strings, which live as long as the result.
unsafe fn arguments<'a>(argc: c_uint, argv: *mut *mut c_char) -> Result<KVec<&'a str>> {
    let mut args = KVec::with_capacity(argc as usize, GFP_KERNEL)?;
    for i in 0..argc as usize {
        // SAFETY: By the contract.
        let arg = unsafe { CStr::from_char_ptr(*argv.add(i)) };
        args.push(arg.to_str()?, GFP_KERNEL)?;
    }
    Ok(args)
}

/// `DMEMIT`: writes to a result buffer of dm what fits, always ended by NUL.
///
/// It is filled to the brim before anything is dropped: dm takes a full buffer for one that was
/// too small.
///
/// # Invariants
///
/// `buf` is valid for writes of `maxlen` bytes; `len < maxlen`, unless `maxlen` is 0, and the byte
/// at `len` is NUL.
struct Emitter<'a> {
    buf: *mut c_char,
    maxlen: usize,
    len: usize,
    _buf: PhantomData<&'a mut [u8]>,
}

impl Emitter<'_> {
    /// # Safety
    ///
    /// `buf` is valid for writes of `maxlen` bytes while the result lives.
    unsafe fn new(buf: *mut c_char, maxlen: c_uint) -> Self {
        if maxlen > 0 {
            // SAFETY: By the contract.
            unsafe { buf.write(0) };
        }
        // INVARIANT: By the contract, and the first byte is NUL.
        Self {
            buf,
            maxlen: maxlen as usize,
            len: 0,
            _buf: PhantomData,
        }
    }

    fn emit(&mut self, args: fmt::Arguments<'_>) {
        // Never fails: what does not fit is dropped.
        let _ = fmt::Write::write_fmt(self, args);
    }
}

impl fmt::Write for Emitter<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.maxlen.saturating_sub(self.len).saturating_sub(1);
        let n = s.len().min(room);
        if n == 0 {
            return Ok(());
        }
        // SAFETY: `len + n < maxlen`: both the text and the NUL after it fit.
        unsafe {
            let end = self.buf.add(self.len);
            ptr::copy_nonoverlapping(s.as_ptr(), end.cast(), n);
            end.add(n).write(0);
        }
        // INVARIANT: As just written.
        self.len = self.len.saturating_add(n);
        Ok(())
    }
}

const ERROR_LEN: usize = 512;
const ERRORS: usize = 16;

/// Texts for `ti->error`, which dm prints when the constructor has returned: too late to free
/// anything. They are used in turn, so that of as many constructors failing at once each has its
/// own. Each ends in a NUL that is never overwritten; the bytes are atomic because dm may be
/// reading the oldest.
static ERROR_TEXTS: [[Atomic<i8>; ERROR_LEN]; ERRORS] =
    [const { [const { Atomic::new(0) }; ERROR_LEN] }; ERRORS];
static ERROR_TURN: Atomic<u32> = Atomic::new(0);

/// Formats into the next of [`ERROR_TEXTS`].
fn error_text(args: fmt::Arguments<'_>) -> *mut c_char {
    struct Text {
        at: &'static [Atomic<i8>; ERROR_LEN],
        len: usize,
    }
    impl fmt::Write for Text {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            // All but the last byte, which stays NUL.
            let room = self.at.iter().take(ERROR_LEN - 1).skip(self.len);
            for (to, from) in room.zip(s.bytes()) {
                to.store(from as i8, Relaxed);
                self.len = self.len.saturating_add(1);
            }
            Ok(())
        }
    }
    let turn = ERROR_TURN.fetch_add(1, Relaxed) as usize % ERRORS;
    let Some(at) = ERROR_TEXTS.get(turn) else {
        return ptr::null_mut();
    };
    let mut text = Text { at, len: 0 };
    let _ = fmt::Write::write_fmt(&mut text, args);
    if let Some(end) = at.get(text.len) {
        end.store(0, Relaxed);
    }
    at.as_ptr().cast_mut().cast()
}
