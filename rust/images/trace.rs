// SPDX-License-Identifier: GPL-2.0

//! The trace that the plugin writes (`scripts/images/trace.h`).

use std::ops::Range;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Bytes were stored, in so many stores, which follow each other.
    Store {
        /// Which processor.
        cpu: u8,
        /// Past the cache.
        streamed: bool,
        /// Where, from the begin of what is traced.
        at: u64,
        /// How many stores it took.
        stores: u16,
        /// Where the bytes stand in the trace.
        bytes: Range<usize>,
    },
    /// A line is to leave the cache, once its processor fences (clwb, clflushopt), or at once (clflush).
    Flush {
        /// Which processor.
        cpu: u8,
        /// An address in the line.
        at: u64,
        /// At once.
        at_once: bool,
    },
    /// sfence or mfence.
    Fence {
        /// Which processor.
        cpu: u8,
    },
    /// The load is about to submit this write.
    Submitted(u64),
    /// The load was told that this write is there.
    Done(u64),
}

/// A whole trace.
pub struct Trace {
    bytes: Vec<u8>,
    /// In the order in which they happened.
    pub events: Vec<Event>,
}

const HEAD: usize = 16;

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

impl Trace {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// Where it does not look like a trace. One that ends in the middle of a record is one: the guest
    /// was not ended in order.
    pub fn read(bytes: Vec<u8>) -> Result<Trace, String> {
        let mut events = vec![];
        let mut at = 0;
        while at < bytes.len() {
            let wrong = || format!("byte {at} of the trace is not the begin of a record");
            if bytes.len() - at < HEAD {
                return Err(wrong());
            }
            let (kind, cpu) = (bytes[at], bytes[at + 1]);
            let stores = u16::from_le_bytes(number(&bytes, at + 2));
            let length = u32::from_le_bytes(number(&bytes, at + 4)) as usize;
            let address = u64::from_le_bytes(number(&bytes, at + 8));
            let body = at + HEAD..at + HEAD + length;
            if body.end > bytes.len() {
                return Err(wrong());
            }
            // A mark: what, the thread and the number of its write.
            let (what, id) = (address >> 56, address & ((1 << 56) - 1));
            events.push(match (kind, what) {
                (1 | 2, _) => Event::Store {
                    cpu,
                    streamed: kind == 2,
                    at: address,
                    stores,
                    bytes: body.clone(),
                },
                (3 | 4, _) => Event::Flush {
                    cpu,
                    at: address,
                    at_once: kind == 4,
                },
                (5, _) => Event::Fence { cpu },
                (6, 1) => Event::Submitted(id),
                (6, 2) => Event::Done(id),
                _ => return Err(wrong()),
            });
            at = body.end;
        }
        Ok(Trace { bytes, events })
    }

    /// The bytes of a store.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}
