// SPDX-License-Identifier: GPL-2.0

//! The place of the ownership record: a few bytes on a device that both partners reach.
//!
//! It is looked after, and written, by process context only, and never while a lock is held that I/O
//! or status need: the device may take long, or for ever.

use core_crate::ownership::{Found, Ownership, RECORD_AREA, RECORD_BYTES, RECORD_SLOT};
use kapi_crate::{blkdev::BlockDevice, pmem::crc32c, SECTOR_SIZE};
use kernel::{new_mutex, prelude::*, str::CString, sync::Mutex};

/// See the head of this file.
pub(crate) struct RecordPlace {
    pub(crate) device: BlockDevice,
    pub(crate) path: CString,
    pub(crate) offset: u64,
    /// Held over I/O. Its content is the buffer: one slot.
    io: Pin<KBox<Mutex<KVec<u8>>>>,
    /// What was there last. A leaf.
    known: Pin<KBox<Mutex<Found>>>,
}

impl RecordPlace {
    /// A place at `offset` bytes of an open device.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it lies behind the end of the device, `ENOMEM`; `say` was told the first.
    pub(crate) fn new(
        device: BlockDevice,
        path: &str,
        offset: u64,
        say: &mut dyn FnMut(core::fmt::Arguments<'_>),
    ) -> Result<RecordPlace> {
        let bytes = device.sectors().saturating_mul(SECTOR_SIZE as u64);
        if offset.saturating_add(RECORD_AREA) > bytes {
            say(format_args!(
                "metadata '{path}': the device has {bytes} bytes, the ownership record needs {RECORD_AREA} \
                 from {offset} on"
            ));
            return Err(EINVAL);
        }
        if u64::from(device.logical_block_size()) > RECORD_SLOT {
            say(format_args!(
                "metadata '{path}': logical blocks of {} bytes, at most {RECORD_SLOT} are allowed",
                device.logical_block_size()
            ));
            return Err(EINVAL);
        }
        let buffer = KVec::from_elem(0u8, RECORD_SLOT as usize, GFP_KERNEL)?;
        Ok(RecordPlace {
            device,
            path: CString::try_from_fmt(fmt!("{path}"))?,
            offset,
            io: KBox::pin_init(new_mutex!(buffer), GFP_KERNEL)?,
            known: KBox::pin_init(new_mutex!(Found::Unreadable), GFP_KERNEL)?,
        })
    }

    /// What was found or written last; without I/O.
    pub(crate) fn known(&self) -> Found {
        *self.known.lock()
    }

    fn sector(&self, slot: u64) -> u64 {
        self.offset.saturating_add(slot.saturating_mul(RECORD_SLOT)) / SECTOR_SIZE as u64
    }

    /// Reads the record. Sleeps as long as the device takes.
    #[inline(never)]
    pub(crate) fn read(&self, set: &str) -> Found {
        let mut buffer = self.io.lock();
        let mut slots = [[0u8; RECORD_BYTES]; 2];
        let mut result: Result = Ok(());
        for (n, slot) in (0u64..).zip(slots.iter_mut()) {
            result = result.and_then(|()| {
                self.device.read(self.sector(n), &mut buffer)?;
                let bytes = buffer.get(..RECORD_BYTES).ok_or(EINVAL)?;
                slot.copy_from_slice(bytes);
                Ok(())
            });
        }
        let [a, b] = &slots;
        let found = match result.map(|()| Ownership::newest(crc32c, [a, b])) {
            Ok(Ok(Some(record))) => Found::Record(record),
            Ok(Ok(None)) => Found::Blank,
            Ok(Err(e)) => {
                pr_err!(
                    "set {set}: metadata '{}': {}\n",
                    self.path(),
                    format_args!("{e}")
                );
                Found::Unreadable
            }
            Err(e) => {
                pr_err!("set {set}: metadata '{}': {e:?}\n", self.path());
                Found::Unreadable
            }
        };
        *self.known.lock() = found;
        found
    }

    /// Makes a record durable: in one slot, then in the other. Sleeps as long as the device takes.
    ///
    /// # Errors
    ///
    /// The device's, `EBADE` when this node was preempted. What stands there then is not known.
    #[inline(never)]
    pub(crate) fn write(&self, record: &Ownership) -> Result {
        let mut buffer = self.io.lock();
        let mut record = *record;
        // INVARIANT of the counter: what follows this record has a larger one than both slots.
        for _ in 0..2 {
            buffer.fill(0);
            buffer
                .get_mut(..RECORD_BYTES)
                .ok_or(EINVAL)?
                .copy_from_slice(&record.seal(crc32c));
            let done = self
                .device
                .write(self.sector(record.slot()), &buffer)
                .and_then(|()| self.device.flush());
            if let Err(e) = done {
                *self.known.lock() = Found::Unreadable;
                return Err(e);
            }
            record.counter = record.counter.saturating_add(1);
        }
        record.counter = record.counter.saturating_sub(1);
        *self.known.lock() = Found::Record(record);
        Ok(())
    }

    /// The device's path in the table line.
    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap_or("?")
    }
}
