// SPDX-License-Identifier: GPL-2.0

//! The place of the ownership record: two sectors of a disk that both nodes reach. The disk keeps
//! numbers; what was sealed under each stands in a list of the world's.

use crate::{
    disk::{Handle, Source},
    errno::Result,
    media::crc,
    world::World,
};
use core_crate::ownership::{Found, Ownership, RECORD_BYTES};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Sealed records by their number less one.
pub type Sealed = Rc<RefCell<Vec<[u8; RECORD_BYTES]>>>;

pub struct RecordPlace {
    pub device: Handle,
    sealed: Sealed,
    known: Cell<Found>,
}

impl RecordPlace {
    pub fn new(device: Handle, world: &World) -> RecordPlace {
        RecordPlace {
            device,
            sealed: world.sealed.clone(),
            known: Cell::new(Found::Unreadable),
        }
    }

    /// What was found or written last; without I/O.
    pub fn known(&self) -> Found {
        self.known.get()
    }

    fn bytes(&self, number: u64) -> [u8; RECORD_BYTES] {
        match number.checked_sub(1) {
            Some(i) => self.sealed.borrow()[i as usize],
            None => [0; RECORD_BYTES],
        }
    }

    pub async fn read(&self) -> Found {
        let found = match self.device.read(0, 2).await {
            Ok(numbers) => {
                let (a, b) = (self.bytes(numbers[0]), self.bytes(numbers[1]));
                match Ownership::newest(crc, [&a, &b]) {
                    Ok(Some(record)) => Found::Record(record),
                    Ok(None) => Found::Blank,
                    Err(_) => Found::Unreadable,
                }
            }
            Err(_) => Found::Unreadable,
        };
        self.known.set(found);
        found
    }

    /// Makes a record durable: in one slot, then in the other.
    pub async fn write(&self, record: &Ownership) -> Result {
        let mut record = *record;
        for _ in 0..2 {
            let number = {
                let mut sealed = self.sealed.borrow_mut();
                sealed.push(record.seal(crc));
                sealed.len() as u64
            };
            let write = self
                .device
                .write(record.slot(), 1, Source::Tags(vec![number]));
            let done = match write.await {
                Ok(()) => self.device.flush().await,
                e => e,
            };
            if let Err(e) = done {
                self.known.set(Found::Unreadable);
                return Err(e);
            }
            record.counter += 1;
        }
        record.counter -= 1;
        self.known.set(Found::Record(record));
        Ok(())
    }
}
