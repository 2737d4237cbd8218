// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: a family with operations, dumps and events.
//!
//! The family itself (operations, attribute policies, permissions) is C, generated from its
//! specification; `genl.c` leads each of its entry points here. The kernel has checked permission and
//! policy before a handler is called. All operations may run at once (`parallel_ops`).
//!
//! Whoever handles an operation knows the network namespace of the socket that it came by
//! ([`Request::ns`]), and answers for that one alone.
//!
//! The end of the module: an operation holds the family's lock, for which
//! `genl_unregister_family()` waits; a dump that is open holds a reference on the module.
//!
//! C headers: [`include/net/genetlink.h`](srctree/include/net/genetlink.h),
//! [`include/net/netlink.h`](srctree/include/net/netlink.h)

use core::fmt::{self, Write};
use core::marker::PhantomData;
use core::ptr::NonNull;

use kernel::prelude::*;

use crate::bindings;
use crate::net::NetNs;

/// What handles a family's operations.
pub trait Control: 'static {
    /// An operation on one thing. Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// Goes to the caller.
    fn call(request: &Request<'_>) -> Result;

    /// A piece of a dump: puts messages with [`Dump::put`] until there are no more, or one does not
    /// fit. Called again until nothing is put. Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// Ends the dump; `EMSGSIZE` of [`Dump::put`] only the piece.
    fn dump(dump: &mut Dump<'_>) -> Result;
}

/// An operation that somebody has asked for.
pub struct Request<'a> {
    info: NonNull<bindings::genl_info>,
    is_dump: bool,
    _life: PhantomData<&'a ()>,
}

impl Request<'_> {
    fn as_ptr(&self) -> *const bindings::genl_info {
        self.info.as_ptr()
    }

    /// Which operation.
    pub fn cmd(&self) -> u8 {
        // SAFETY: `info` is valid while a request lives, as for every call of this file with it.
        unsafe { bindings::kapi_genl_cmd(self.as_ptr()) }
    }

    /// The network namespace of the caller's socket.
    pub fn ns(&self) -> NetNs {
        // SAFETY: The socket holds its namespace while it is served.
        unsafe { NetNs::from_raw(bindings::kapi_genl_net(self.as_ptr())) }
    }

    fn attr(&self, attr: u16) -> Option<NonNull<bindings::nlattr>> {
        // SAFETY: As in `cmd()`; the callee does not read behind the end of the attributes.
        let raw = unsafe { bindings::kapi_genl_attr(self.as_ptr(), self.is_dump, u32::from(attr)) };
        NonNull::new(raw.cast_mut())
    }

    fn bytes(&self, attr: u16) -> Option<&[u8]> {
        let raw = self.attr(attr)?.as_ptr();
        // SAFETY: A valid attribute, in a message that stays as it is while the request lives.
        unsafe {
            let len = bindings::kapi_genl_attr_len(raw);
            let data = bindings::kapi_genl_attr_data(raw).cast::<u8>();
            Some(core::slice::from_raw_parts(data, len))
        }
    }

    /// An attribute of four bytes, if it is there.
    pub fn u32(&self, attr: u16) -> Option<u32> {
        let bytes = self.bytes(attr)?.get(..4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// Whether a flag is there.
    pub fn flag(&self, attr: u16) -> bool {
        self.attr(attr).is_some()
    }

    /// A text, if it is there.
    ///
    /// # Errors
    ///
    /// `EINVAL` when it is not UTF-8; the caller is told which attribute that is.
    pub fn text(&self, attr: u16) -> Result<Option<&str>> {
        let Some(bytes) = self.bytes(attr) else {
            return Ok(None);
        };
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        match core::str::from_utf8(bytes.get(..end).unwrap_or(&[])) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.bad(attr, EINVAL, format_args!("not a text"))),
        }
    }

    /// Tells the caller in words what is wrong. A message is cut off after 79 bytes.
    pub fn say(&self, what: fmt::Arguments<'_>) {
        let mut text = Cut::default();
        let _ = text.write_fmt(what);
        // SAFETY: As in `cmd()`; the text is copied.
        unsafe {
            bindings::kapi_genl_say(self.as_ptr(), text.bytes.as_ptr().cast(), text.len);
        }
    }

    /// Names the attribute that is wrong, and says why. Answers `error`.
    #[must_use]
    pub fn bad(&self, attr: u16, error: Error, why: fmt::Arguments<'_>) -> Error {
        self.say(why);
        if let Some(raw) = self.attr(attr) {
            // SAFETY: As in `cmd()`; the attribute is one of the request's.
            unsafe { bindings::kapi_genl_bad_attr(self.as_ptr(), raw.as_ptr()) };
        }
        error
    }

    /// Names the attribute that is missing. Answers `EINVAL`.
    #[must_use]
    pub fn missing(&self, attr: u16, why: fmt::Arguments<'_>) -> Error {
        self.say(why);
        // SAFETY: As in `cmd()`.
        unsafe { bindings::kapi_genl_missing(self.as_ptr(), u32::from(attr)) };
        EINVAL
    }

    /// Answers with one message, which `fill` puts attributes into; it may be called twice, the second
    /// time with more room. Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// `fill`'s; `ENOMEM`; `EMSGSIZE` when the message is too large at last.
    pub fn reply(&self, mut fill: impl FnMut(&mut Message<'_>) -> Result) -> Result {
        let mut result = Err(EMSGSIZE);
        for size in [REPLY_BYTES, LARGE_REPLY_BYTES] {
            let buffer = Buffer::new(size, true)?;
            // SAFETY: Both are valid; the header is ended or cancelled before the buffer goes.
            let header =
                unsafe { bindings::kapi_genl_begin(buffer.0.as_ptr(), self.as_ptr(), false) };
            result = buffer.fill(header, &mut fill);
            match result {
                Ok(()) => {
                    let skb = buffer.into_raw();
                    // SAFETY: As above; the callee takes the buffer over.
                    return kernel::error::to_result(unsafe {
                        bindings::kapi_genl_reply(skb, self.as_ptr())
                    });
                }
                Err(EMSGSIZE) => {}
                Err(e) => return Err(e),
            }
        }
        result
    }
}

/// Enough for most answers, and for one of everything that a set has to say.
const REPLY_BYTES: usize = 4096;
const LARGE_REPLY_BYTES: usize = 32768;
/// Bytes of an event: a few numbers, a name and three short texts.
const EVENT_BYTES: usize = 1024;

/// A text that is cut off.
struct Cut {
    bytes: [u8; 79],
    len: usize,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            bytes: [0; 79],
            len: 0,
        }
    }
}

impl fmt::Write for Cut {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            let mut utf8 = [0; 4];
            let part = c.encode_utf8(&mut utf8).as_bytes();
            let end = self.len.saturating_add(part.len());
            let Some(to) = self.bytes.get_mut(self.len..end) else {
                return Err(fmt::Error);
            };
            to.copy_from_slice(part);
            self.len = end;
        }
        Ok(())
    }
}

/// A message's buffer.
///
/// # Invariants
///
/// Owns a valid `sk_buff`.
struct Buffer(NonNull<bindings::sk_buff>);

impl Buffer {
    fn new(size: usize, may_sleep: bool) -> Result<Buffer> {
        // SAFETY: Any arguments are valid.
        let skb = unsafe { bindings::kapi_genl_new(size, may_sleep) };
        // INVARIANT: A new one.
        Ok(Buffer(NonNull::new(skb).ok_or(ENOMEM)?))
    }

    /// Fills the one message that was begun with `header`.
    fn fill(
        &self,
        header: *mut c_void,
        fill: &mut dyn FnMut(&mut Message<'_>) -> Result,
    ) -> Result {
        if header.is_null() {
            return Err(EMSGSIZE);
        }
        fill(&mut Message {
            skb: self.0,
            _life: PhantomData,
        })?;
        // SAFETY: By the type invariant; `header` is of this buffer.
        unsafe { bindings::kapi_genl_end(self.0.as_ptr(), header) };
        Ok(())
    }

    fn into_raw(self) -> *mut bindings::sk_buff {
        let raw = self.0.as_ptr();
        core::mem::forget(self);
        raw
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::kapi_genl_free(self.0.as_ptr()) };
    }
}

/// A message that is being made. Each `put` fails with `EMSGSIZE` when there is no room.
pub struct Message<'a> {
    skb: NonNull<bindings::sk_buff>,
    _life: PhantomData<&'a ()>,
}

impl Message<'_> {
    fn put(&mut self, attr: u16, bytes: &[u8]) -> Result {
        // SAFETY: The buffer is valid while the message lives, here and below; the callee copies.
        kernel::error::to_result(unsafe {
            bindings::kapi_genl_put(
                self.skb.as_ptr(),
                c_int::from(attr),
                bytes.len(),
                bytes.as_ptr().cast(),
            )
        })
    }

    /// One byte.
    ///
    /// # Errors
    ///
    /// See [`Message`], also for the others.
    pub fn u8(&mut self, attr: u16, value: u8) -> Result {
        self.put(attr, &[value])
    }

    /// Four bytes.
    pub fn u32(&mut self, attr: u16, value: u32) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// Four or eight bytes, as the value needs (`uint`).
    pub fn uint(&mut self, attr: u16, value: u64) -> Result {
        // SAFETY: See `put()`.
        kernel::error::to_result(unsafe {
            bindings::kapi_genl_put_uint(self.skb.as_ptr(), c_int::from(attr), value)
        })
    }

    /// A text; it ends in front of a NUL.
    pub fn text(&mut self, attr: u16, text: &str) -> Result {
        let len = text.bytes().position(|b| b == 0).unwrap_or(text.len());
        // SAFETY: See `put()`; `len` bytes of the text are valid.
        kernel::error::to_result(unsafe {
            bindings::kapi_genl_put_text(
                self.skb.as_ptr(),
                c_int::from(attr),
                text.as_ptr().cast(),
                len,
            )
        })
    }

    /// What can be printed, up to 79 bytes of it.
    pub fn print(&mut self, attr: u16, what: fmt::Arguments<'_>) -> Result {
        let mut text = Cut::default();
        let _ = text.write_fmt(what);
        let bytes = text.bytes.get(..text.len).unwrap_or(&[]);
        self.text(attr, core::str::from_utf8(bytes).unwrap_or(""))
    }

    /// Some bytes.
    pub fn bytes(&mut self, attr: u16, bytes: &[u8]) -> Result {
        self.put(attr, bytes)
    }

    /// Attributes within an attribute.
    ///
    /// # Errors
    ///
    /// `fill`'s too; nothing of the nest is in the message then.
    pub fn nest(&mut self, attr: u16, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        // SAFETY: See `put()`.
        let nest = unsafe { bindings::kapi_genl_nest(self.skb.as_ptr(), c_int::from(attr)) };
        if nest.is_null() {
            return Err(EMSGSIZE);
        }
        let result = fill(&mut Message {
            skb: self.skb,
            _life: PhantomData,
        });
        // SAFETY: See `put()`; the nest was begun just now.
        unsafe {
            match result {
                Ok(()) => bindings::kapi_genl_nest_end(self.skb.as_ptr(), nest),
                Err(_) => bindings::kapi_genl_nest_cancel(self.skb.as_ptr(), nest),
            }
        }
        result
    }
}

/// A dump, or the piece of it that is wanted now.
pub struct Dump<'a> {
    request: Request<'a>,
    skb: NonNull<bindings::sk_buff>,
    cb: NonNull<bindings::netlink_callback>,
}

impl<'a> Dump<'a> {
    /// What was asked for.
    pub fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// Where the dump goes on: the key of the first thing that has not been put. Zeroes at first.
    pub fn cursor(&self) -> [u64; 2] {
        // SAFETY: The callback is valid while the dump lives, and has room for more than two numbers.
        unsafe { *bindings::kapi_genl_cursor(self.cb.as_ptr()).cast::<[u64; 2]>() }
    }

    /// Sets it.
    pub fn set_cursor(&mut self, key: [u64; 2]) {
        // SAFETY: As in `cursor()`.
        unsafe { *bindings::kapi_genl_cursor(self.cb.as_ptr()).cast::<[u64; 2]>() = key };
    }

    /// Which state of affairs this piece shows. If it is another one than the last piece's, the
    /// messages say so (`NLM_F_DUMP_INTR`). To be called before [`Dump::put`].
    pub fn shows(&mut self, state: u32) {
        // SAFETY: As in `cursor()`.
        unsafe { bindings::kapi_genl_dump_seq(self.cb.as_ptr(), state) };
    }

    /// Puts a message.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` when it does not fit: it is not in the piece, and belongs to the next one. `fill`'s.
    pub fn put(&mut self, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        let skb = self.skb.as_ptr();
        // SAFETY: Buffer, request and callback are valid while the dump lives; the header is ended or
        // cancelled below.
        unsafe {
            let header = bindings::kapi_genl_begin(skb, self.request.as_ptr(), true);
            if header.is_null() {
                return Err(EMSGSIZE);
            }
            bindings::kapi_genl_dump_check(self.cb.as_ptr(), header);
            let result = fill(&mut Message {
                skb: self.skb,
                _life: PhantomData,
            });
            match result {
                Ok(()) => bindings::kapi_genl_end(skb, header),
                Err(_) => bindings::kapi_genl_cancel(skb, header),
            }
            result
        }
    }

    fn len(&self) -> c_int {
        // SAFETY: As in `put()`.
        unsafe { bindings::kapi_genl_dump_len(self.skb.as_ptr()) }
    }
}

/// How many events were sent in a namespace.
///
/// Context: process, may sleep.
pub fn events_sent(ns: &NetNs) -> u64 {
    // SAFETY: The namespace is held; the number is read under its lock.
    unsafe {
        let sent = *bindings::kapi_genl_lock_events(ns.as_ptr());
        bindings::kapi_genl_unlock_events(ns.as_ptr());
        sent
    }
}

/// Sends an event to whoever listens in a namespace. `fill` is given the event's number, one more than
/// the last one's. A number whose event did not come about is given again.
///
/// Context: process, may sleep; but does not wait for memory.
///
/// # Errors
///
/// `ENOMEM`, `fill`'s. That a listener had no room is not one: it is told.
pub fn send_event(
    ns: &NetNs,
    cmd: u8,
    fill: &mut dyn FnMut(u64, &mut Message<'_>) -> Result,
) -> Result {
    struct Unlock<'a>(&'a NetNs);
    impl Drop for Unlock<'_> {
        fn drop(&mut self) {
            // SAFETY: Made only by who has locked it.
            unsafe { bindings::kapi_genl_unlock_events(self.0.as_ptr()) };
        }
    }

    // SAFETY: The namespace is held.
    let sent = unsafe { bindings::kapi_genl_lock_events(ns.as_ptr()) };
    let _unlock = Unlock(ns);
    // SAFETY: Accessed under the lock alone.
    let seq = unsafe { *sent }.wrapping_add(1);
    // SAFETY: The namespace is held.
    if unsafe { bindings::kapi_genl_has_listeners(ns.as_ptr()) } {
        let buffer = Buffer::new(EVENT_BYTES, false)?;
        // SAFETY: The buffer is valid; the header is ended before it goes, or goes with it.
        let header = unsafe { bindings::kapi_genl_begin_event(buffer.0.as_ptr(), cmd) };
        buffer.fill(header, &mut |m| fill(seq, m))?;
        // SAFETY: As above; the callee takes the buffer over. What it answers is about listeners: that
        // there is none any more, or that one has no room, which that one hears.
        let _ = unsafe { bindings::kapi_genl_multicast(ns.as_ptr(), buffer.into_raw()) };
    }
    // SAFETY: As above.
    unsafe { *sent = seq };
    Ok(())
}

/// The family is known to the kernel while this lives.
pub struct Registration<T: Control>(PhantomData<fn() -> T>);

impl<T: Control> Registration<T> {
    const HANDLERS: &'static bindings::kapi_genl_handlers = &bindings::kapi_genl_handlers {
        doit: Some(Self::doit),
        dumpit: Some(Self::dumpit),
    };

    /// Registers the family. One registration at a time may live.
    ///
    /// Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// `EEXIST` if the name is taken; `ENOMEM`.
    pub fn new() -> Result<Self> {
        // SAFETY: The handlers live as long as the module.
        kernel::error::to_result(unsafe { bindings::kapi_genl_register(Self::HANDLERS) })?;
        Ok(Self(PhantomData))
    }

    /// # Safety
    ///
    /// Only generic netlink calls it, with a request.
    unsafe extern "C" fn doit(
        _skb: *mut bindings::sk_buff,
        info: *mut bindings::genl_info,
    ) -> c_int {
        let Some(info) = NonNull::new(info) else {
            return EINVAL.to_errno();
        };
        // `info` is valid during the call, and the request does not outlive it.
        let request = Request {
            info,
            is_dump: false,
            _life: PhantomData,
        };
        match T::call(&request) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Only generic netlink calls it, for a dump.
    unsafe extern "C" fn dumpit(
        skb: *mut bindings::sk_buff,
        cb: *mut bindings::netlink_callback,
    ) -> c_int {
        // SAFETY: The callback of a generic netlink dump.
        let info = unsafe { bindings::kapi_genl_dump_info(cb) };
        let (Some(skb), Some(cb), Some(info)) = (
            NonNull::new(skb),
            NonNull::new(cb),
            NonNull::new(info.cast_mut()),
        ) else {
            return EINVAL.to_errno();
        };
        // All are valid during the call, and the dump does not outlive it.
        let request = Request {
            info,
            is_dump: true,
            _life: PhantomData,
        };
        let mut dump = Dump { request, skb, cb };
        match T::dump(&mut dump) {
            // 0 when nothing was put: the end.
            Ok(()) => dump.len(),
            Err(EMSGSIZE) if dump.len() > 0 => dump.len(),
            Err(e) => e.to_errno(),
        }
    }
}

impl<T: Control> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by `new()`.
        unsafe { bindings::kapi_genl_unregister() };
    }
}
