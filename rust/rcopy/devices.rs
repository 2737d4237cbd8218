// SPDX-License-Identifier: GPL-2.0

//! Block devices, and which of them carry logs and ownership records.

use crate::{
    error::{Error, Result},
    image::{crc, cut_off, unreadable, Image},
    progress::Progress,
};
use core_crate::{
    creation::claimed,
    format::{Super, SUPER_BYTES},
    layout::{superblock_offset, LANES_OFFSET},
    ownership::{Ownership, RecordError, RECORD_BYTES, RECORD_MAGIC, RECORD_SLOT},
    recover::{read_super, Damage, Media, Unreadable},
};
use std::{collections::BTreeSet, fs, path::Path};

/// What was found at a place.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// A log.
    Log(Box<Super>),
    /// An ownership record.
    Record(Box<Ownership>),
    /// One of both, damaged; in words.
    Damaged(String),
}

/// Something of remote-copy on a device.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// Its device, or a file with an image.
    pub device: String,
    /// First byte.
    pub offset: u64,
    /// See [`What`].
    pub what: What,
}

/// All block devices with bytes on them: `sys` is /sys, `dev` is /dev.
///
/// # Errors
///
/// The kernel does not list them.
pub fn all(sys: &Path, dev: &Path) -> Result<Vec<String>> {
    let class = sys.join("class/block");
    let list = fs::read_dir(&class).map_err(|e| Error::io(&class.display().to_string(), &e))?;
    let read = |path: std::path::PathBuf| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_string()
    };
    let mut names = BTreeSet::new();
    for entry in list.flatten() {
        let folder = entry.path();
        let sectors: u64 = read(folder.join("size")).parse().unwrap_or(0);
        // A volume of our own has a log beside it, not on it.
        if sectors == 0 || read(folder.join("removable")) == "1" {
            continue;
        }
        let mapped = read(folder.join("dm/name"));
        let path = if mapped.is_empty() || !dev.join("mapper").join(&mapped).exists() {
            // The kernel writes "!" for "/" in names.
            dev.join(entry.file_name().to_string_lossy().replace('!', "/"))
        } else {
            dev.join("mapper").join(&mapped)
        };
        names.insert(path.display().to_string());
    }
    Ok(names.into_iter().collect())
}

/// Where to look on a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Places {
    /// At these bytes.
    At(BTreeSet<u64>),
    /// At every multiple of 4096.
    Everywhere,
}

/// What a device has, as far as it can be read.
#[derive(Clone, PartialEq, Debug)]
pub struct Look {
    /// In the order in which it stands there.
    pub found: Vec<Found>,
    /// The first place where something might stand that cannot be read, in words.
    pub unread: Option<String>,
}

/// Looks at one device.
///
/// # Errors
///
/// It cannot be opened.
pub fn look(device: &str, places: &Places) -> Result<Look> {
    let mut image = Image::open(device, 0, Progress::new(device, false))?;
    let size = image.size();
    let offsets: Box<dyn Iterator<Item = u64>> = match places {
        Places::At(set) => Box::new(set.clone().into_iter()),
        Places::Everywhere => {
            image.expect(size);
            Box::new((0..size).step_by(4096))
        }
    };
    let mut found = vec![];
    let mut unread = None;
    // What lies within a log that was found is its records.
    let mut behind = 0;
    for offset in offsets {
        if offset < behind || size.saturating_sub(offset) < 4096 {
            continue;
        }
        image = image.move_to(offset);
        if unfinished(&image) {
            // As good as blank, and so is what stands in its second slot.
            behind = offset + LANES_OFFSET;
            continue;
        }
        let what = match log_at(&image) {
            Ok(None) => record_at(&image),
            what => what,
        };
        let what = match what {
            Ok(Some(what)) => what,
            Ok(None) => continue,
            // Behind the end there is nothing to be read.
            Err(e) if e.offset >= image.size() => continue,
            Err(e) => {
                let at = Unreadable {
                    offset: offset + e.offset,
                };
                unread.get_or_insert_with(|| unreadable(device, at));
                continue;
            }
        };
        behind = offset
            + match &what {
                What::Log(s) => s.geometry.bytes(),
                What::Record(_) => 2 * RECORD_SLOT,
                What::Damaged(_) => 4096,
            };
        found.push(Found {
            device: device.to_string(),
            offset,
            what,
        });
    }
    image.done();
    Ok(Look { found, unread })
}

/// Whatever cannot be read is an error, also behind the end: a reader looks at both slots.
type At = std::result::Result<Option<What>, Unreadable>;

fn log_at(image: &Image) -> At {
    Ok(match read_super(image, crc) {
        Ok(Some(s)) if !stands_right(image, &s) => None,
        Ok(Some(s)) if s.geometry.bytes() > image.size() => {
            Some(What::Damaged(cut_off(image.size(), s.geometry.bytes())))
        }
        Ok(Some(s)) => Some(What::Log(Box::new(s))),
        Ok(None) | Err(Damage::Foreign) => None,
        Err(Damage::Unreadable { offset }) => return Err(Unreadable { offset }),
        Err(d) => Some(What::Damaged(d.to_string())),
    })
}

/// Whether a log was being made there.
fn unfinished(image: &Image) -> bool {
    claimed(image) == Ok(true) && read_super(image, crc) == Ok(None)
}

/// Seen from 4096 bytes before or behind it, a log has a superblock as well: in the wrong slot.
fn stands_right(image: &Image, s: &Super) -> bool {
    let slot = usize::from(s.counter % 2 == 1);
    let mut bytes = [0; SUPER_BYTES];
    image.read(superblock_offset(slot), &mut bytes).is_ok()
        && Super::open(crc, &bytes).is_ok_and(|there| there.counter == s.counter)
}

fn record_at(image: &Image) -> At {
    let mut slots = [[0; RECORD_BYTES]; 2];
    for (slot, bytes) in slots.iter_mut().enumerate() {
        image.read(slot as u64 * RECORD_SLOT, bytes)?;
    }
    if !slots.iter().any(|s| s.starts_with(&RECORD_MAGIC)) {
        return Ok(None);
    }
    Ok(match Ownership::newest(crc, [&slots[0], &slots[1]]) {
        Ok(Some(r)) => Some(What::Record(Box::new(r))),
        Ok(None) | Err(RecordError::Blank | RecordError::Foreign) => None,
        Err(e) => Some(What::Damaged(e.to_string())),
    })
}
