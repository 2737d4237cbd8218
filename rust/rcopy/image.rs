// SPDX-License-Identifier: GPL-2.0

//! A log's device, or a file with its bytes, as core's scanner reads it. It is only ever read.
//!
//! A device is read around the page cache where it can be: the driver writes a log past that cache, and
//! what it holds of a log in use is old.

use crate::{
    error::{Error, Result},
    progress::Progress,
};
use core_crate::recover::{Media, Unreadable};
use std::{
    cell::RefCell,
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom},
    os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt},
};

/// As on every Linux machine with x86 or the generic numbers.
const O_DIRECT: i32 = 0o40000;

/// Bytes read at once. A scan reads headers and data in turn, each in its order: two windows.
const WINDOW: u64 = 256 << 10;
const WINDOWS: usize = 2;
/// What direct reads have to be aligned to, wherever they are possible.
const ALIGN: usize = 4096;

/// Bytes in memory that may be read into directly, and where they come from.
struct Window {
    raw: Vec<u8>,
    skip: usize,
    at: u64,
    len: usize,
    used: u64,
}

impl Window {
    fn new() -> Window {
        let raw = vec![0; WINDOW as usize + ALIGN];
        let skip = raw.as_ptr().align_offset(ALIGN);
        Window {
            raw,
            skip,
            at: 0,
            len: 0,
            used: 0,
        }
    }

    fn holds(&self, at: u64) -> bool {
        self.len > 0 && (self.at..self.at + self.len as u64).contains(&at)
    }

    fn bytes(&self, from: u64) -> &[u8] {
        let first = self.skip + (from - self.at) as usize;
        &self.raw[first..self.skip + self.len]
    }
}

struct Windows {
    all: Vec<Window>,
    clock: u64,
}

/// See the module.
pub struct Image {
    file: File,
    /// Bytes of the device or file.
    size: u64,
    /// First byte of the region in it.
    offset: u64,
    /// Whether it is a block device.
    device: bool,
    windows: RefCell<Windows>,
    progress: RefCell<Progress>,
}

impl Image {
    /// Opens a device or a file, for reading only.
    ///
    /// # Errors
    ///
    /// It is not there, is neither, or the region would begin behind its end.
    pub fn open(path: &str, offset: u64, progress: Progress) -> Result<Image> {
        let open = |flags| {
            let mut o = OpenOptions::new();
            o.read(true).custom_flags(flags).open(path)
        };
        let kind = std::fs::metadata(path)
            .map_err(|e| Error::io(if path.is_empty() { "''" } else { path }, &e))?
            .file_type();
        if !kind.is_block_device() && !kind.is_file() {
            let is = if kind.is_dir() {
                "a folder"
            } else {
                "neither a block device nor a file"
            };
            return Err(Error::usage(format!(
                "{path}: it is {is}; the log's block device, or a file with its bytes, is needed"
            )));
        }
        let mut file = match open(O_DIRECT) {
            Ok(file) => file,
            // Not every file system can.
            Err(_) => open(0).map_err(|e| Error::io(path, &e))?,
        };
        let size = file
            .seek(SeekFrom::End(0))
            .map_err(|e| Error::io(path, &e))?;
        // An empty file is no wrong argument: its content is.
        if offset > 0 && offset >= size {
            return Err(Error::usage(format!(
                "{path}: it has {size} bytes, none at offset {offset}"
            )));
        }
        Ok(Image {
            file,
            size,
            offset,
            device: kind.is_block_device(),
            windows: RefCell::new(Windows {
                all: vec![],
                clock: 0,
            }),
            progress: RefCell::new(progress),
        })
    }

    /// Bytes from the region's beginning to the end of the device or file.
    pub fn size(&self) -> u64 {
        self.size - self.offset
    }

    /// Whether it is a block device.
    pub fn is_device(&self) -> bool {
        self.device
    }

    /// Another region of the same device; what was read of it is kept.
    pub fn move_to(mut self, offset: u64) -> Image {
        self.offset = offset.min(self.size);
        self
    }

    /// The next read comes from the media again.
    pub fn forget(&self) {
        for w in &mut self.windows.borrow_mut().all {
            w.len = 0;
        }
    }

    /// How many bytes there are to be read, for whoever watches.
    pub fn expect(&self, bytes: u64) {
        self.progress.borrow_mut().expect(bytes);
    }

    /// The reading is over.
    pub fn done(&self) {
        self.progress.borrow_mut().done();
    }

    /// Hands the bytes of a range on, piece by piece.
    fn each(
        &self,
        offset: u64,
        bytes: u64,
        mut f: impl FnMut(&[u8]),
    ) -> std::result::Result<(), Unreadable> {
        let failed = Unreadable { offset };
        let mut at = self.offset.checked_add(offset).ok_or(failed)?;
        let end = at
            .checked_add(bytes)
            .filter(|e| *e <= self.size)
            .ok_or(failed)?;
        let windows = &mut *self.windows.borrow_mut();
        while at < end {
            let w = self.window(windows, at).ok_or(Unreadable {
                offset: at - self.offset,
            })?;
            let have = w.bytes(at);
            let n = have.len().min((end - at) as usize);
            f(&have[..n]);
            at += n as u64;
        }
        Ok(())
    }

    /// A window with the byte at this place of the device.
    fn window<'a>(&self, windows: &'a mut Windows, at: u64) -> Option<&'a Window> {
        windows.clock += 1;
        let clock = windows.clock;
        let i = match windows.all.iter().position(|w| w.holds(at)) {
            Some(i) => i,
            None => {
                if windows.all.len() < WINDOWS {
                    windows.all.push(Window::new());
                }
                let oldest = windows.all.iter().enumerate().min_by_key(|(_, w)| w.used);
                let i = oldest.map(|(i, _)| i)?;
                self.fill(windows.all.get_mut(i)?, at)?;
                i
            }
        };
        let w = windows.all.get_mut(i)?;
        w.used = clock;
        Some(w)
    }

    fn fill(&self, w: &mut Window, at: u64) -> Option<()> {
        self.fill_from(w, at / WINDOW * WINDOW, WINDOW);
        if !w.holds(at) {
            // A block in front of it is bad.
            self.fill_from(w, at / ALIGN as u64 * ALIGN as u64, ALIGN as u64);
        }
        w.holds(at).then_some(())
    }

    fn fill_from(&self, w: &mut Window, from: u64, bytes: u64) {
        (w.at, w.len) = (from, 0);
        let first = w.skip;
        let full = (self.size - from).min(bytes) as usize;
        while w.len < full {
            // Whole blocks are asked for, also behind the end of a file.
            let to = &mut w.raw[first + w.len..first + bytes as usize];
            match self.file.read_at(to, from + w.len as u64) {
                Ok(0) => break,
                Ok(n) => w.len += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
            if w.len % ALIGN != 0 {
                break;
            }
        }
        w.len = w.len.min(full);
        self.progress.borrow_mut().read(w.len as u64);
    }
}

impl Media for Image {
    fn read(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), Unreadable> {
        let mut done = 0;
        self.each(offset, to.len() as u64, |piece| {
            to[done..done + piece.len()].copy_from_slice(piece);
            done += piece.len();
        })
    }

    fn crc(&self, offset: u64, bytes: u32, seed: u32) -> std::result::Result<u32, Unreadable> {
        let mut sum = seed;
        self.each(offset, u64::from(bytes), |piece| sum = crc(sum, piece))?;
        Ok(sum)
    }
}

/// Raw CRC32C, as core wants it: not inverted before or after.
pub fn crc(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

/// That bytes cannot be read, in words.
pub fn unreadable(path: &str, e: Unreadable) -> String {
    format!(
        "{path}: byte {} cannot be read: the kernel log says why",
        e.offset
    )
}

/// What is wrong with a log of which there are fewer bytes than its superblock says.
pub fn cut_off(has: u64, needs: u64) -> String {
    format!(
        "the log needs {needs} bytes by its superblock, there are {has}: this is a part of it, or not the place where \
         it begins"
    )
}
