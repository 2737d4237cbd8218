// SPDX-License-Identifier: GPL-2.0

//! Persistent reservations: who of those that share a disk may write to it.
//!
//! A node registers a key with the disk; a registrant may reserve the disk, and may take
//! registration and reservation from another (*preempt*). The disk itself refuses the writes of
//! those that a reservation shuts out. It does not ask whether they are alive, and they need not
//! be told.
//!
//! What stands for the node is its connection to the disk: for NVMe the host (its host identifier,
//! over whatever controllers), for SCSI the path (initiator port and target port). Keys are for the
//! nodes to agree upon. Here they are taken to be different on each node, and never 0.
//!
//! # What is fenced
//!
//! Writes that a reservation forbids (and discards, and write-zeroes) end with
//! [`BlkStatus::RESV_CONFLICT`](crate::bio::BlkStatus::RESV_CONFLICT), which is `EBADE`: nobody
//! repeats them, multipath does not try another path, and through dm they come back as they are.
//! Flushes likewise with Linux's NVMe target; its SCSI target lets those pass of who is not
//! registered. Reads are never refused by the kinds that we use. Nothing else tells a fenced node:
//! it learns of it by its next write, or by asking.
//!
//! # What disks do
//!
//! As seen with Linux's NVMe target (`nvmet`) and its SCSI target, alike if not said otherwise;
//! why, stands in `drivers/nvme/target/pr.c` and `drivers/target/target_core_pr.c`:
//!
//! - Who registers again, with the same key or another, keeps the reservation that he holds; it
//!   shows the new key at once.
//! - When the registration of a holder goes, the reservation goes, of either kind: all may write
//!   again, also those that never registered. (If a preempt takes it, the reservation is the
//!   preemptor's.)
//! - A registrant that does not hold the reservation may write with
//!   [`Kind::WriteExclusiveRegistrants`], and may not with [`Kind::WriteExclusive`].
//! - To preempt a key that is not registered is a conflict and changes nothing. A node whose own
//!   registration was taken gets a conflict for all but [`Reservations::register`]: which it may
//!   do, and then preempt in turn. Whoever must not come back has to know it by other means.
//! - To preempt when nobody holds a reservation takes the victim's registration and makes no
//!   reservation: the victim may still write.
//! - To reserve or release without being registered is a conflict, but an I/O error from the SCSI
//!   target; here it is a conflict too.
//! - The SCSI target keeps registrations over a restart if it may write to `pr` in its `dbroot`
//!   (`/etc/target` if there is one, else `/var/target`); `nvmet` loses them, and the reservation.
//! - The SCSI target never answers a preempt with abort if its commands come from a queue
//!   (`tcm_loop`, say; not iSCSI): its worker waits for itself.
//!
//! # What the kernel makes of it
//!
//! As read in `drivers/nvme/host/pr.c`, `drivers/scsi/sd.c` and `drivers/md/dm.c`:
//!
//! - Both drivers ask with each registration that it outlive a loss of power (NVMe: `CPTPL`, SCSI:
//!   `APTPL`), and the reservation with it. There is no asking for anything else. What a disk that
//!   cannot do it answers is the disk's business: see [`Reservations::register`].
//! - `pr_preempt(bdev, old_key, new_key, …)`: the first key is one's own and the second the
//!   victim's, whatever their names (NVMe: `CRKEY`, `PRKEY`; SCSI: reservation key, service action
//!   reservation key).
//! - To register key 0 is to unregister with SCSI. The NVMe driver sends *replace* with key 0, at
//!   which the host stays a registrant whose key nobody can preempt. See
//!   [`Reservations::unregister`].
//! - An NVMe disk without reservations has `pr_ops`; it fails each command as one that it does not
//!   know (`EINVAL`). A SCSI disk without them likewise, but `sd` makes the same I/O error of it as
//!   of any other failure.
//! - `sd` repeats a command up to five times that ran into a unit attention, such as a node has
//!   waiting that was preempted; and reads and writes too, which then end in a conflict. The NVMe
//!   driver repeats no reservation command.
//! - A dm device has them if its table is one target. It asks that target's devices: to register,
//!   all; otherwise one after the other, until one says yes (to release: no). If one of several
//!   cannot register, all lose their registration. It forgets the *abort* of a preempt. Neither it
//!   nor its targets care for partitions: a dm device on a part of a disk reserves all of the disk.
//!
//! C header: [`include/linux/pr.h`](srctree/include/linux/pr.h)

use core::fmt;

use kernel::prelude::*;

use crate::bindings;
use crate::blkdev::BlockDevice;
use crate::kernel_display;
use crate::noio::NoIo;
use crate::time::msleep;

/// How often a command is sent that fails in a way that may pass.
const TRIES: u32 = 4;

/// The time between two of them.
const PAUSE_MS: u32 = 100;

/// For how many registrants there is room at first; most disks have fewer.
const FEW_KEYS: usize = 31;

/// More registrants than this are an error. `sd` could tell of 8190.
const MAX_KEYS: usize = 4096;

/// Whom a reservation lets write. All may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only the holder.
    WriteExclusive,
    /// All registrants. The reservation goes when the holder's registration does.
    WriteExclusiveRegistrants,
}

impl Kind {
    fn into_raw(self) -> bindings::pr_type {
        match self {
            Self::WriteExclusive => bindings::pr_type_PR_WRITE_EXCLUSIVE,
            Self::WriteExclusiveRegistrants => bindings::pr_type_PR_WRITE_EXCLUSIVE_REG_ONLY,
        }
    }

    fn from_raw(raw: bindings::pr_type) -> Option<Self> {
        match raw {
            bindings::pr_type_PR_WRITE_EXCLUSIVE => Some(Self::WriteExclusive),
            bindings::pr_type_PR_WRITE_EXCLUSIVE_REG_ONLY => Some(Self::WriteExclusiveRegistrants),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteExclusive => "write exclusive",
            Self::WriteExclusiveRegistrants => "write exclusive, registrants only",
        })
    }
}

/// A reservation that somebody holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The holder's key.
    pub key: u64,
    /// [`None`] if it is of a kind that is not ours.
    pub kind: Option<Kind>,
    /// A count that the disk raises when a registration comes, changes or goes.
    pub generation: u32,
}

/// Why a command about reservations failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrError {
    /// The device, or what it is made of, has no reservations, or not this part of them.
    Unsupported,
    /// Another node's reservation is in the way, or one's own key or that of the victim is not
    /// registered.
    Conflict,
    /// The disk could not be reached. The command may have been carried out all the same.
    PathFailed,
    /// Something else; `EIO` if the disk answered with an error. The command may have been carried
    /// out all the same.
    Failed(Error),
}

impl fmt::Display for PrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str("the device does not support reservations"),
            Self::Conflict => {
                f.write_str("another's reservation is in the way, or a key is not registered")
            }
            Self::PathFailed => f.write_str("the device cannot be reached"),
            Self::Failed(EIO) => f.write_str("the device failed the command, or does not know it"),
            Self::Failed(error) => write!(f, "the command failed: error {}", error.to_errno()),
        }
    }
}

impl From<PrError> for Error {
    fn from(error: PrError) -> Self {
        match error {
            PrError::Unsupported => EOPNOTSUPP,
            PrError::Conflict => EBADE,
            PrError::PathFailed => ENOLINK,
            PrError::Failed(error) => error,
        }
    }
}

kernel_display!(Kind, PrError);

/// Whether I/O failed because of another node's reservation: the writer is fenced. No other block
/// status becomes the same errno. See also
/// [`BlkStatus::is_reservation_conflict`](crate::bio::BlkStatus::is_reservation_conflict).
///
/// Context: any.
#[inline]
pub fn is_reservation_conflict(error: Error) -> bool {
    error == EBADE
}

/// What an operation of `pr_ops` returned.
fn outcome(raw: c_int) -> Result<(), PrError> {
    // A status, of which all are positive.
    if raw >= 0 {
        return match raw as bindings::pr_status {
            bindings::pr_status_PR_STS_SUCCESS => Ok(()),
            bindings::pr_status_PR_STS_RESERVATION_CONFLICT => Err(PrError::Conflict),
            bindings::pr_status_PR_STS_RETRY_PATH_FAILURE
            | bindings::pr_status_PR_STS_PATH_FAST_FAILED
            | bindings::pr_status_PR_STS_PATH_FAILED => Err(PrError::PathFailed),
            _ => Err(PrError::Failed(EIO)),
        };
    }
    let error = Error::from_errno(raw);
    Err(match error {
        // Not in the table of dm; not in the driver; not in the device: what is wrong with our
        // arguments is found here.
        EOPNOTSUPP | ENOTTY | EINVAL => PrError::Unsupported,
        EBADE => PrError::Conflict,
        // No path (NVMe), suspended (dm); cancelled by a reset (NVMe); gone.
        EAGAIN | EINTR | ENODEV | ENXIO | ENOLINK | ETIMEDOUT => PrError::PathFailed,
        _ => PrError::Failed(error),
    })
}

/// Whether what an operation returned may be different next time: paths that fail, a dm device
/// that is suspended, and the errors in which a disk says that it is busy with a reset or an abort.
fn may_pass(raw: c_int) -> bool {
    if raw < 0 {
        return matches!(Error::from_errno(raw), EAGAIN | EINTR);
    }
    matches!(
        raw as bindings::pr_status,
        bindings::pr_status_PR_STS_IOERR | bindings::pr_status_PR_STS_RETRY_PATH_FAILURE
    )
}

/// Sends a command, more than once if need be.
fn send(mut command: impl FnMut() -> c_int) -> Result<(), PrError> {
    let mut left = TRIES;
    let _noio = NoIo::enter();
    loop {
        let raw = command();
        left = left.saturating_sub(1);
        if left == 0 || !may_pass(raw) {
            return outcome(raw);
        }
        msleep(PAUSE_MS);
    }
}

/// No key is 0: that stands for none.
fn check_keys(keys: &[u64]) -> Result<(), PrError> {
    if keys.contains(&0) {
        return Err(PrError::Failed(EINVAL));
    }
    Ok(())
}

/// The registrants' keys.
///
/// # Invariants
///
/// `words` is a `struct pr_keys` whose keys begin at the second word, and `1 + len` words long at
/// least.
struct Keys {
    words: KVVec<u64>,
    len: usize,
}

impl Keys {
    fn contains(&self, key: u64) -> bool {
        self.find(|k| k == key).is_some()
    }

    fn find(&self, mut which: impl FnMut(u64) -> bool) -> Option<u64> {
        let mut keys = self.words.get(1..)?.iter().take(self.len).copied();
        keys.find(|k| which(*k))
    }
}

// The keys follow the header of one word.
const _: () = assert!(
    size_of::<bindings::pr_keys>() == size_of::<u64>()
        && align_of::<bindings::pr_keys>() == align_of::<u64>()
);

/// The reservations of a disk.
///
/// Commands are for process context and sleep: until the disk has answered (or its driver's timeout
/// has passed, which may be minutes), and up to four times that, with pauses, if the failure is one
/// that may pass. They allocate little, without I/O.
///
/// # Errors
///
/// All answer [`PrError::Unsupported`] if the disk knows nothing of reservations, except SCSI
/// disks, which answer [`PrError::Failed`] with `EIO`; [`PrError::PathFailed`] and
/// [`PrError::Failed`] as these say, and the latter with `EINVAL` for a key that is 0.
/// [`PrError::Conflict`] is different with each.
#[derive(Clone, Copy)]
pub struct Reservations<'a> {
    device: &'a BlockDevice,
    ops: &'a bindings::pr_ops,
}

impl BlockDevice {
    /// The device's reservations; [`None`] if its driver has none, and for partitions:
    /// reservations are the whole disk's.
    ///
    /// Context: any.
    pub fn reservations(&self) -> Option<Reservations<'_>> {
        // SAFETY: The device is open.
        let ops = unsafe { bindings::kapi_bdev_pr_ops(self.bdev_ptr()) };
        // SAFETY: A constant table of the driver's, which stays as long as the device is open.
        let ops = unsafe { ops.as_ref() }?;
        Some(Reservations { device: self, ops })
    }
}

impl Reservations<'_> {
    /// Registers this node with `key`, in place of the key that it had registered before, if any.
    /// Harmless if it is registered with `key` already. A reservation that it holds it keeps.
    ///
    /// The registration outlives a loss of the disk's power where the disk can do that. The kernel
    /// asks for it always, and what disks that cannot do it make of that differs: Linux's NVMe
    /// target ignores it; Linux's SCSI target fails the command if it has nowhere to write to, but
    /// registers the key, which counts as success here; a SCSI disk that refuses is
    /// [`PrError::Unsupported`], and there is no way to register with it.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// [`PrError::Conflict`]: the disk is reserved by other means.
    pub fn register(&self, key: u64) -> Result<(), PrError> {
        check_keys(&[key])?;
        let mut result = self.set_key(0, key, true);
        if result == Err(PrError::Conflict) {
            // NVMe's command to register must not change the key: to replace is another command.
            // The drivers send that if there is an old key, of which they ignore the value. It
            // cannot come first: Linux's SCSI target takes an old key for one that must be there.
            result = self.set_key(key, key, true);
        }
        match result {
            Err(PrError::Failed(error)) if error == EIO && self.is_registered(key)? => Ok(()),
            result => result,
        }
    }

    /// Undoes [`Reservations::register`]. Fine if no `key` is registered. A reservation that this
    /// node holds goes too.
    ///
    /// With NVMe this is done by preempting oneself (see the head of this file).
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// [`PrError::Conflict`]: `key` is registered, but not by this node.
    pub fn unregister(&self, key: u64) -> Result<(), PrError> {
        check_keys(&[key])?;
        if !self.is_registered(key)? {
            return Ok(());
        }
        let mut name = [0; 32];
        if !self.device.name(&mut name).starts_with("nvme") {
            match self.set_key(key, 0, false) {
                Err(PrError::PathFailed) => return Err(PrError::PathFailed),
                // To be seen below. It may fail and be done all the same.
                _ => {}
            }
            // A dm device may hide one of NVMe: then there is a registration with key 0 now.
            if self.keys()?.contains(0) {
                self.register(key)?;
            }
        }
        for _ in 0..TRIES {
            if !self.is_registered(key)? {
                return Ok(());
            }
            // Who preempts himself as the holder stays registered.
            let mut kind = bindings::pr_type_PR_WRITE_EXCLUSIVE;
            if let Some(held) = self.read_reservation()?.filter(|held| held.key == key) {
                kind = held.type_;
                self.release_raw(key, kind)?;
            }
            self.preempt_raw(key, key, kind, false)?;
        }
        Err(PrError::Conflict)
    }

    /// Reserves the disk. Harmless if this node holds the same reservation already.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// [`PrError::Conflict`]: another node holds a reservation (also if it is one that lets all
    /// registrants write), or this node one of another kind, or `key` is not what it has
    /// registered.
    pub fn reserve(&self, key: u64, kind: Kind) -> Result<(), PrError> {
        check_keys(&[key])?;
        let op = self.ops.pr_reserve.ok_or(PrError::Unsupported)?;
        // SAFETY: The device is open, and the operation its driver's. Process context.
        let result = send(|| unsafe { op(self.device.bdev_ptr(), key, kind.into_raw(), 0) });
        self.unless_unregistered(key, result)
    }

    /// Releases the reservation. Fine if there is none, or another node's: that stays.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// [`PrError::Conflict`]: this node holds one of another kind, or `key` is not what it has
    /// registered.
    pub fn release(&self, key: u64, kind: Kind) -> Result<(), PrError> {
        check_keys(&[key])?;
        match self.release_raw(key, kind.into_raw()) {
            // The wrong kind is a conflict for some disks, and an invalid field for others.
            Err(PrError::Unsupported) if self.read_reservation()?.is_some() => {
                Err(PrError::Conflict)
            }
            result => self.unless_unregistered(key, result),
        }
    }

    /// Takes the registration `theirs` from whoever has it, and the reservation too if they hold
    /// it: that is this node's from then on, with `kind`, and there is no moment without. If they
    /// do not hold it, it stays as it is, or isn't: [`Reservations::reserve`] then.
    ///
    /// The disk refuses writes of theirs that come to it later, if there is a reservation then. It
    /// may still carry out those that it has got already; with `abort` they have ended, one way or
    /// the other, when this returns. A disk that does not support `abort` is asked again without
    /// it, and dm devices leave it out without a word: do not build on it.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// [`PrError::Conflict`]: `theirs` is not registered, or `mine` not by this node (because it
    /// was preempted itself, say). [`PrError::Failed`] with `EINVAL` if the two are the same.
    pub fn preempt(&self, mine: u64, theirs: u64, kind: Kind, abort: bool) -> Result<(), PrError> {
        check_keys(&[mine, theirs])?;
        if mine == theirs {
            return Err(PrError::Failed(EINVAL));
        }
        match self.preempt_raw(mine, theirs, kind.into_raw(), abort) {
            Err(PrError::Unsupported) if abort => {
                self.preempt_raw(mine, theirs, kind.into_raw(), false)
            }
            result => result,
        }
    }

    /// Who holds a reservation.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// As said at the type.
    pub fn holder(&self) -> Result<Option<Held>, PrError> {
        Ok(self.read_reservation()?.map(|held| Held {
            key: held.key,
            kind: Kind::from_raw(held.type_),
            generation: held.generation,
        }))
    }

    /// Whether a node, this one or another, is registered with `key`.
    ///
    /// Context: process, sleeps. Allocates memory for the keys.
    ///
    /// # Errors
    ///
    /// [`PrError::Failed`] with `ENOMEM`, and with `E2BIG` if there are more than 4096
    /// registrants.
    pub fn is_registered(&self, key: u64) -> Result<bool, PrError> {
        check_keys(&[key])?;
        Ok(self.keys()?.contains(key))
    }

    /// A registered key, of this node or another, that is one of `which`.
    ///
    /// Context: process, sleeps. Allocates memory for the keys.
    ///
    /// # Errors
    ///
    /// Those of [`Reservations::is_registered`].
    pub fn registered(&self, which: impl FnMut(u64) -> bool) -> Result<Option<u64>, PrError> {
        Ok(self.keys()?.find(which))
    }

    /// Linux's SCSI target tells those that are not registered that it is not ready.
    fn unless_unregistered(&self, key: u64, result: Result<(), PrError>) -> Result<(), PrError> {
        match result {
            Err(PrError::Failed(error)) if error == EIO && !self.keys()?.contains(key) => {
                Err(PrError::Conflict)
            }
            result => result,
        }
    }

    fn set_key(&self, old: u64, new: u64, ignore: bool) -> Result<(), PrError> {
        let op = self.ops.pr_register.ok_or(PrError::Unsupported)?;
        let flags = if ignore {
            bindings::PR_FL_IGNORE_KEY
        } else {
            0
        };
        // SAFETY: The device is open, and the operation its driver's. Process context.
        send(|| unsafe { op(self.device.bdev_ptr(), old, new, flags) })
    }

    fn release_raw(&self, key: u64, kind: bindings::pr_type) -> Result<(), PrError> {
        let op = self.ops.pr_release.ok_or(PrError::Unsupported)?;
        // SAFETY: The device is open, and the operation its driver's. Process context.
        send(|| unsafe { op(self.device.bdev_ptr(), key, kind) })
    }

    fn preempt_raw(
        &self,
        mine: u64,
        theirs: u64,
        kind: bindings::pr_type,
        abort: bool,
    ) -> Result<(), PrError> {
        let op = self.ops.pr_preempt.ok_or(PrError::Unsupported)?;
        let mut sent = 0u32;
        let result = send(|| {
            sent = sent.saturating_add(1);
            // SAFETY: The device is open, and the operation its driver's. Process context.
            unsafe { op(self.device.bdev_ptr(), mine, theirs, kind, abort) }
        });
        // Done the first time, and the answer was lost: the victim was not found any more.
        if result == Err(PrError::Conflict) && sent > 1 {
            let keys = self.keys()?;
            let held = self.read_reservation()?;
            if !keys.contains(theirs) && held.is_some_and(|held| held.key == mine) {
                return Ok(());
            }
        }
        result
    }

    fn read_reservation(&self) -> Result<Option<bindings::pr_held_reservation>, PrError> {
        let op = self.ops.pr_read_reservation.ok_or(PrError::Unsupported)?;
        let mut held = bindings::pr_held_reservation::default();
        send(|| {
            held = bindings::pr_held_reservation::default();
            // SAFETY: The device is open, and the operation its driver's. Process context.
            unsafe { op(self.device.bdev_ptr(), &mut held) }
        })?;
        // There is no type 0: none is held.
        Ok(Some(held).filter(|held| held.type_ != 0))
    }

    fn keys(&self) -> Result<Keys, PrError> {
        let op = self.ops.pr_read_keys.ok_or(PrError::Unsupported)?;
        let mut room = FEW_KEYS;
        while room <= MAX_KEYS {
            let _noio = NoIo::enter();
            let mut words = KVVec::from_elem(0u64, room.saturating_add(1), GFP_KERNEL)
                .map_err(|_| PrError::Failed(ENOMEM))?;
            let info: *mut bindings::pr_keys = words.as_mut_ptr().cast();
            // SAFETY: `words` is aligned for the header and has room for it and `room` keys. The
            // device is open, and the operation its driver's. Process context.
            send(|| unsafe {
                (*info).num_keys = room as u32;
                op(self.device.bdev_ptr(), info)
            })?;
            // SAFETY: As above.
            let len = unsafe { (*info).num_keys } as usize;
            if len <= room {
                // INVARIANT: As much as the operation has written, which there is room for.
                return Ok(Keys { words, len });
            }
            room = len;
        }
        Err(PrError::Failed(E2BIG))
    }
}
