// SPDX-License-Identifier: GPL-2.0

//! How a log comes into being in a blank region.
//!
//! The first superblock is the only one that has no valid one beside it. A node that dies while it is
//! being stored leaves some of its words, and no reader can tell those from a superblock that was whole
//! and has been damaged, or from somebody else's bytes. So the region is *claimed* first: one word, which
//! is there or not and never torn, says that a log is being made and that nothing in it counts yet.
//!
//! Nothing but a claim that still stands makes torn bytes blank. It is erased before the node takes part
//! in the set, and stands where the superblock with the next counter goes: no log in which anything was
//! acknowledged has one.

use crate::{
    format::{Crc, Key, Mark, Super, CLAIM, FIRST_COUNTER},
    layout::{mark_offset, superblock_offset, LANES_OFFSET},
    recover::{Media, Unreadable},
};

const CLAIM_BYTES: u64 = CLAIM.len() as u64;

// The claim stands in the slot that the first superblock does not go to.
const CLAIMED_SLOT: usize = 0;
const _: () = assert!(slot(FIRST_COUNTER) != CLAIMED_SLOT);
const _: () = assert!(slot(FIRST_COUNTER + 1) == CLAIMED_SLOT);

/// The slot, of superblocks and of marks, that belongs to a counter.
const fn slot(counter: u64) -> usize {
    (counter % 2) as usize
}

/// A log region that can be written.
pub trait Store {
    /// Why it cannot.
    type Error;
    /// Stores bytes, durable behind the next fence. An aligned word of 8 bytes gets there whole or not at
    /// all, each in any order.
    ///
    /// # Errors
    ///
    /// The region has failed.
    fn store(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Stores zeroes.
    ///
    /// # Errors
    ///
    /// As [`Store::store`].
    fn zero(&mut self, offset: u64, bytes: u64) -> Result<(), Self::Error>;
    /// What was stored is durable behind this.
    ///
    /// # Errors
    ///
    /// As [`Store::store`].
    fn fence(&mut self) -> Result<(), Self::Error>;
}

/// Writes the first superblock of a region that [`crate::recover::read_super`] calls blank, and `mark`, if
/// the log is to have one from the beginning. Answers the superblock, which has the first counter. After a
/// crash on the way the region is blank as before, or the superblock is whole.
///
/// 1. The claim, fenced. The region is zero or claimed: nobody else's bytes are overwritten.
/// 2. Everything else in front of the lanes is zeroed, also what an earlier attempt has left.
/// 3. The mark; without a superblock it says nothing.
/// 4. The superblock. If it is torn, the claim says that it does not count.
/// 5. The claim is erased: from here on a superblock that does not verify is damaged.
///
/// # Errors
///
/// Those of the region; the log is still to be made then.
#[inline(never)]
pub fn create<S: Store>(
    log: &mut S,
    crc: Crc,
    first: &Super,
    mark: Option<&Mark>,
) -> Result<Super, S::Error> {
    log.store(superblock_offset(CLAIMED_SLOT), &CLAIM)?;
    log.fence()?;
    log.zero(CLAIM_BYTES, LANES_OFFSET - CLAIM_BYTES)?;
    log.fence()?;
    if let Some(mark) = mark {
        store_mark(log, crc, Key::new(crc, &first.uuid), mark)?;
    }
    let new = Super {
        counter: FIRST_COUNTER,
        ..*first
    };
    log.store(superblock_offset(slot(new.counter)), &new.seal(crc))?;
    log.fence()?;
    release(log)?;
    Ok(new)
}

// Not inlined: a mark is large, and a kernel stack small.
#[inline(never)]
fn store_mark<S: Store>(log: &mut S, crc: Crc, key: Key, mark: &Mark) -> Result<(), S::Error> {
    log.store(mark_offset(slot(mark.counter)), &mark.seal(crc, key))?;
    log.fence()
}

/// Whether a claim stands in the region. With a whole superblock: the node died between steps 4 and 5 of
/// [`create`], and [`release`] is to follow before it takes part.
///
/// # Errors
///
/// [`Unreadable`].
pub fn claimed(media: &impl Media) -> Result<bool, Unreadable> {
    let mut word = [0; CLAIM.len()];
    media.read(superblock_offset(CLAIMED_SLOT), &mut word)?;
    Ok(word == CLAIM)
}

/// Erases the claim.
///
/// # Errors
///
/// Those of the region.
pub fn release<S: Store>(log: &mut S) -> Result<(), S::Error> {
    log.zero(superblock_offset(CLAIMED_SLOT), CLAIM_BYTES)?;
    log.fence()
}
