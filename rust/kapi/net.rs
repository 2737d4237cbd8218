// SPDX-License-Identifier: GPL-2.0

//! TCP sockets of the kernel, in a network namespace of choice.
//!
//! A socket made by `sock_create_kern()` holds no reference on its namespace, and TCP goes on
//! working for a socket after its release (it sends what is left, it waits in `FIN_WAIT`). Each
//! socket here therefore gets a counted reference (`sk_net_refcnt_upgrade()`), which goes with the
//! last of it; sockets that a listener accepts inherit that.
//!
//! No call blocks inside TCP. Each tries without waiting and then waits here, on the socket's wait
//! queue, for three things at once: the socket, the time, and
//! [`Thread::stop`](crate::thread::Thread::stop) on the current thread. All calls run with
//! `memalloc_noio_save()`, and the sockets allocate with `GFP_NOIO`: they may be used on the way to
//! free memory.
//!
//! How a call ends early, apart from what TCP itself answers:
//!
//! | error        | because                                                                  |
//! |--------------|--------------------------------------------------------------------------|
//! | `EAGAIN`     | the time that *we* set is over; nothing is lost, call again              |
//! | `ETIMEDOUT`  | connect: the time is over. Else TCP gave the connection up               |
//! | `EINTR`      | the thread is to stop, or a signal came                                  |
//! | `ECONNRESET` | the peer has closed the connection or reset it                           |
//! | `ESHUTDOWN`  | `shutdown()` was called at this end                                      |
//!
//! C headers: [`include/linux/net.h`](srctree/include/linux/net.h),
//! [`include/net/sock.h`](srctree/include/net/sock.h)

use core::fmt;
use core::mem::{size_of, MaybeUninit};
use core::net::{IpAddr, SocketAddr};
use core::ptr::{self, NonNull};

use kernel::prelude::*;
use kernel::sync::atomic::ordering::Relaxed;
use kernel::sync::atomic::Atomic;
use kernel::sync::{new_mutex, Mutex};

use crate::bindings;
use crate::kernel_display;
use crate::noio::NoIo;
use crate::pmem::PmemSpan;
use crate::time;

/// Parts that one [`TcpStream::send`] takes.
pub const MAX_PARTS: usize = 8;

/// A reference on a network namespace. Equal if it is the same namespace.
///
/// # Invariants
///
/// Owns one reference.
pub struct NetNs(NonNull<bindings::net>);

// SAFETY: A namespace may be used from any thread.
unsafe impl Send for NetNs {}
// SAFETY: As above.
unsafe impl Sync for NetNs {}

impl NetNs {
    /// The namespace of the current task. Context: process.
    pub fn current() -> Self {
        // SAFETY: A task that runs in process context has namespaces; `get_net()` does not fail.
        // INVARIANT: A reference was taken.
        Self(unsafe { NonNull::new_unchecked(bindings::kapi_get_current_net()) })
    }

    /// Another reference on a namespace.
    ///
    /// # Safety
    ///
    /// `net` is valid, and somebody else holds it during the call.
    pub(crate) unsafe fn from_raw(net: *mut bindings::net) -> Self {
        // SAFETY: As the caller promises.
        unsafe { bindings::kapi_get_net(net) };
        // SAFETY: As the caller promises.
        // INVARIANT: A reference was taken.
        Self(unsafe { NonNull::new_unchecked(net) })
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::net {
        self.0.as_ptr()
    }

    /// The namespace's inode number, as in `/proc/self/ns/net`. Context: any.
    pub fn inum(&self) -> u32 {
        // SAFETY: We have a reference; the number does not change.
        unsafe { (*self.0.as_ptr()).ns.inum }
    }

    /// The namespace's address, to compare it with that of another that is held.
    pub fn id(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

impl Clone for NetNs {
    fn clone(&self) -> Self {
        // SAFETY: We have a reference to copy.
        unsafe { bindings::kapi_get_net(self.0.as_ptr()) };
        // INVARIANT: A reference was taken.
        Self(self.0)
    }
}

impl PartialEq for NetNs {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for NetNs {}

impl Drop for NetNs {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to put.
        unsafe { bindings::kapi_put_net(self.0.as_ptr()) };
    }
}

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SockAddr(SocketAddr);

impl SockAddr {
    /// Reads `a.b.c.d:port` or `[v6]:port`.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    pub fn parse(text: &str) -> Result<Self> {
        text.parse().map(Self).map_err(|_| EINVAL)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.0.ip()
    }

    fn family(&self) -> c_int {
        match self.0 {
            SocketAddr::V4(_) => bindings::AF_INET as c_int,
            SocketAddr::V6(_) => bindings::AF_INET6 as c_int,
        }
    }

    fn to_raw(self) -> RawAddr {
        // SAFETY: A union of plain numbers, of which all zeroes is a value.
        let mut raw: RawAddr = unsafe { MaybeUninit::zeroed().assume_init() };
        match self.0 {
            SocketAddr::V4(addr) => {
                raw.v4 = bindings::sockaddr_in {
                    sin_family: bindings::AF_INET as u16,
                    sin_port: addr.port().to_be(),
                    sin_addr: bindings::in_addr {
                        s_addr: u32::from_ne_bytes(addr.ip().octets()),
                    },
                    ..pin_init::zeroed()
                }
            }
            SocketAddr::V6(addr) => {
                raw.v6 = bindings::sockaddr_in6 {
                    sin6_family: bindings::AF_INET6 as u16,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo().to_be(),
                    sin6_addr: bindings::in6_addr {
                        in6_u: bindings::in6_addr__bindgen_ty_1 {
                            u6_addr8: addr.ip().octets(),
                        },
                    },
                    sin6_scope_id: addr.scope_id(),
                }
            }
        }
        raw
    }

    fn from_raw(raw: &RawAddr) -> Result<Self> {
        // SAFETY: All variants begin with the family, and all bytes are initialised.
        let family = u32::from(unsafe { raw.v4.sin_family });
        match family {
            bindings::AF_INET => {
                // SAFETY: Plain numbers.
                let v4 = unsafe { raw.v4 };
                let ip = v4.sin_addr.s_addr.to_ne_bytes();
                let port = u16::from_be(v4.sin_port);
                Ok(Self(SocketAddr::new(ip.into(), port)))
            }
            bindings::AF_INET6 => {
                // SAFETY: Plain numbers.
                let (v6, ip) = unsafe { (raw.v6, raw.v6.sin6_addr.in6_u.u6_addr8) };
                Ok(Self(SocketAddr::V6(core::net::SocketAddrV6::new(
                    ip.into(),
                    u16::from_be(v6.sin6_port),
                    u32::from_be(v6.sin6_flowinfo),
                    v6.sin6_scope_id,
                ))))
            }
            _ => Err(EAFNOSUPPORT),
        }
    }
}

impl fmt::Display for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

kernel_display!(SockAddr);

/// What C calls a `struct sockaddr`, as large as the largest (`sockaddr_storage`).
#[repr(C)]
union RawAddr {
    v4: bindings::sockaddr_in,
    v6: bindings::sockaddr_in6,
    storage: [u64; 16],
}

impl RawAddr {
    const LEN: c_int = size_of::<Self>() as c_int;
}

/// A TCP socket.
///
/// # Invariants
///
/// A valid socket of ours with a `struct sock`, which holds a reference on its namespace.
struct Socket(NonNull<bindings::socket>);

// SAFETY: Sockets lock themselves.
unsafe impl Send for Socket {}
// SAFETY: As above.
unsafe impl Sync for Socket {}

impl Socket {
    fn new(ns: &NetNs, family: c_int) -> Result<Self> {
        let mut sock = ptr::null_mut();
        let _noio = NoIo::enter();
        // SAFETY: The namespace is held by the caller during the call, by the socket afterwards.
        kernel::error::to_result(unsafe {
            bindings::sock_create_kern(
                ns.0.as_ptr(),
                family,
                bindings::sock_type_SOCK_STREAM as c_int,
                bindings::IPPROTO_TCP as c_int,
                &mut sock,
            )
        })?;
        let sock = NonNull::new(sock).ok_or(ENOMEM)?;
        // SAFETY: A new socket, which nobody else knows yet.
        unsafe {
            bindings::sk_net_refcnt_upgrade(sock.as_ref().sk);
            bindings::kapi_sock_noio(sock.as_ptr());
        }
        // INVARIANT: The reference was taken just now.
        Ok(Self(sock))
    }

    fn as_ptr(&self) -> *mut bindings::socket {
        self.0.as_ptr()
    }

    fn sk(&self) -> *mut bindings::sock {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }.sk
    }

    fn shutdown(&self) {
        // Fails if there is no connection (any more), and then there is nothing to do.
        // SAFETY: By the type invariant.
        let _ = unsafe {
            bindings::kernel_sock_shutdown(self.as_ptr(), bindings::sock_shutdown_cmd_SHUT_RDWR)
        };
    }

    fn local_addr(&self) -> Result<SockAddr> {
        // SAFETY: A union of plain numbers, of which all zeroes is a value.
        let mut raw: RawAddr = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: `raw` has room for any address.
        let len = unsafe { bindings::kernel_getsockname(self.as_ptr(), (&raw mut raw).cast()) };
        kernel::error::to_result(len.min(0))?;
        SockAddr::from_raw(&raw)
    }

    fn peer_addr(&self) -> Result<SockAddr> {
        // SAFETY: A union of plain numbers, of which all zeroes is a value.
        let mut raw: RawAddr = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: `raw` has room for any address.
        let len = unsafe { bindings::kernel_getpeername(self.as_ptr(), (&raw mut raw).cast()) };
        kernel::error::to_result(len.min(0))?;
        SockAddr::from_raw(&raw)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. What is left to send is still sent.
        unsafe { bindings::sock_release(self.as_ptr()) };
    }
}

/// Something to wait for, as `shim.c` offers it.
type Wait = unsafe extern "C" fn(*mut bindings::socket, c_long) -> c_long;

/// When to stop waiting.
#[derive(Clone, Copy)]
struct Deadline(Option<u64>);

impl Deadline {
    fn after_ms(ms: Option<u64>) -> Self {
        Self(ms.map(|ms| time::now_ns().saturating_add(ms.saturating_mul(1_000_000))))
    }

    fn left_ms(&self) -> Option<u64> {
        self.0
            .map(|at| at.saturating_sub(time::now_ns()).div_ceil(1_000_000))
    }

    /// # Errors
    ///
    /// `EAGAIN` if the time is over, `EINTR` if the thread is to stop or a signal came.
    fn wait(&self, socket: &Socket, wait: Wait) -> Result {
        let left = self.left_ms();
        if left == Some(0) {
            return Err(EAGAIN);
        }
        // SAFETY: `wait` is one of the functions in `shim.c`; the socket is valid. Process context.
        let left = unsafe { wait(socket.as_ptr(), time::jiffies(left)) };
        // SAFETY: Looks at the current task only.
        if left < 0 || unsafe { bindings::kapi_should_stop() } {
            return Err(EINTR);
        }
        if left == 0 {
            return Err(EAGAIN);
        }
        Ok(())
    }
}

/// A socket that waits for connections.
pub struct TcpListener {
    socket: Socket,
    stopped: Atomic<bool>,
}

impl TcpListener {
    /// Listens at `addr` in `ns`, with `SO_REUSEADDR`. Port 0 takes any that is free.
    ///
    /// Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `ENOMEM`, …
    pub fn bind(ns: &NetNs, addr: &SockAddr) -> Result<Self> {
        let socket = Socket::new(ns, addr.family())?;
        let mut raw = addr.to_raw();
        // SAFETY: The socket is valid and `raw` is an address.
        unsafe {
            bindings::sock_set_reuseaddr(socket.sk());
            kernel::error::to_result(bindings::kernel_bind(
                socket.as_ptr(),
                (&raw mut raw).cast(),
                RawAddr::LEN,
            ))?;
            kernel::error::to_result(bindings::kernel_listen(socket.as_ptr(), 16))?;
        }
        Ok(Self {
            socket,
            stopped: Atomic::new(false),
        })
    }

    /// Waits for a connection. Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// `ESHUTDOWN` after [`TcpListener::shutdown`]; `EINTR` if the thread is to stop; `ENOMEM`, …
    pub fn accept(&self) -> Result<TcpStream> {
        self.accept_until(Deadline(None))
    }

    /// As [`TcpListener::accept`], for at most `ms` milliseconds: then `EAGAIN`.
    pub fn accept_timeout_ms(&self, ms: u64) -> Result<TcpStream> {
        self.accept_until(Deadline::after_ms(Some(ms)))
    }

    fn accept_until(&self, deadline: Deadline) -> Result<TcpStream> {
        let _noio = NoIo::enter();
        loop {
            // SAFETY: The socket is valid.
            let listening = unsafe { bindings::kapi_sock_listening(self.socket.as_ptr()) };
            if self.stopped.load(Relaxed) || !listening {
                return Err(ESHUTDOWN);
            }
            let mut new = ptr::null_mut();
            // SAFETY: The socket is valid and listens, or fails.
            let result = unsafe {
                bindings::kernel_accept(
                    self.socket.as_ptr(),
                    &mut new,
                    bindings::O_NONBLOCK as c_int,
                )
            };
            match kernel::error::to_result(result) {
                Ok(()) => {
                    let new = NonNull::new(new).ok_or(ENOMEM)?;
                    // INVARIANT: A new connection inherits the reference on the namespace.
                    return TcpStream::new(Socket(new));
                }
                Err(error) if error == EAGAIN => {
                    deadline.wait(&self.socket, bindings::kapi_wait_acceptable)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends all waits, now and in future. Context: process, may sleep; any thread.
    pub fn shutdown(&self) {
        self.stopped.store(true, Relaxed);
        self.socket.shutdown();
    }

    /// Where it listens: tells the port if 0 was asked for.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` and the like.
    pub fn local_addr(&self) -> Result<SockAddr> {
        self.socket.local_addr()
    }
}

/// A TCP connection.
///
/// One thread may send while another receives; of several senders (or receivers) each has the
/// stream to itself for one call.
pub struct TcpStream {
    inner: Pin<KBox<Inner>>,
}

#[pin_data]
struct Inner {
    socket: Socket,
    /// For each wait of a receiver, in milliseconds; 0: for ever.
    recv_timeout_ms: Atomic<u64>,
    stopped: Atomic<bool>,
    /// Keeps what one call sends together.
    #[pin]
    sending: Mutex<()>,
    /// One call at a time receives.
    #[pin]
    receiving: Mutex<()>,
}

impl TcpStream {
    fn new(socket: Socket) -> Result<Self> {
        // SAFETY: The socket is valid.
        unsafe {
            bindings::kapi_sock_noio(socket.as_ptr());
            bindings::tcp_sock_set_nodelay(socket.sk());
        }
        let inner = KBox::pin_init(
            pin_init!(Inner {
                socket,
                recv_timeout_ms: Atomic::new(0),
                stopped: Atomic::new(false),
                sending <- new_mutex!((), "kapi::TcpStream::sending"),
                receiving <- new_mutex!((), "kapi::TcpStream::receiving"),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self { inner })
    }

    /// Connects to `addr` from `ns` within `timeout_ms` milliseconds. `TCP_NODELAY` is on.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `ECONNREFUSED`, `EHOSTUNREACH`, `ENETUNREACH`, …; `EINTR` if the thread is to
    /// stop.
    pub fn connect(ns: &NetNs, addr: &SockAddr, timeout_ms: u64) -> Result<Self> {
        let socket = Socket::new(ns, addr.family())?;
        let deadline = Deadline::after_ms(Some(timeout_ms));
        let _noio = NoIo::enter();
        let mut raw = addr.to_raw();
        loop {
            // The first call starts, the next ones tell how it went.
            // SAFETY: The socket is valid and `raw` is an address.
            let result = unsafe {
                bindings::kernel_connect(
                    socket.as_ptr(),
                    (&raw mut raw).cast(),
                    RawAddr::LEN,
                    bindings::O_NONBLOCK as c_int,
                )
            };
            match kernel::error::to_result(result) {
                Ok(()) => return Self::new(socket),
                Err(error) if error == EINPROGRESS || error == EALREADY => {
                    deadline
                        .wait(&socket, bindings::kapi_wait_connected)
                        .map_err(|error| if error == EAGAIN { ETIMEDOUT } else { error })?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends all of `parts`, one after the other, at most [`MAX_PARTS`]. With `more`, what does not
    /// fill a segment may wait for the next call.
    ///
    /// After an error it is unknown how much went out: the connection is of no more use.
    ///
    /// Context: process, sleeps while the peer does not read (see
    /// [`TcpStream::set_user_timeout_ms`]).
    ///
    /// # Errors
    ///
    /// See the module's documentation; `E2BIG` for too many parts.
    pub fn send(&self, parts: &[&[u8]], more: bool) -> Result {
        let mut vecs = Vecs::new();
        for part in parts {
            vecs.push(part.as_ptr(), part.len())?;
        }
        // SAFETY: The parts are borrowed for the call.
        unsafe { self.send_vecs(&mut vecs, more) }
    }

    /// Sends `head` and then `spans`, in one go. Otherwise as [`TcpStream::send`].
    ///
    /// The spans are copied: pages of a DAX device have no reference count that the network stack
    /// could use, and the copy may be overwritten as soon as this returns.
    pub fn send_pmem(&self, head: &[u8], spans: &[PmemSpan<'_>], more: bool) -> Result {
        let mut vecs = Vecs::new();
        vecs.push(head.as_ptr(), head.len())?;
        for span in spans {
            vecs.push(span.as_ptr(), span.len())?;
        }
        // SAFETY: All are borrowed for the call, and the memory is mapped.
        unsafe { self.send_vecs(&mut vecs, more) }
    }

    /// # Safety
    ///
    /// What `vecs` points to is valid for reads.
    unsafe fn send_vecs(&self, vecs: &mut Vecs, more: bool) -> Result {
        let _sending = self.inner.sending.lock();
        let _noio = NoIo::enter();
        let mut flags = bindings::MSG_DONTWAIT | bindings::MSG_NOSIGNAL;
        if more {
            flags |= bindings::MSG_MORE;
        }
        // Whether the last try moved nothing although the socket had said that it could.
        let mut stuck = false;
        while let Some((first, n, bytes)) = vecs.left() {
            if self.inner.stopped.load(Relaxed) {
                return Err(ESHUTDOWN);
            }
            let mut msg = message(flags);
            // SAFETY: The socket is valid; the vectors are, by the contract.
            let sent = unsafe {
                bindings::kernel_sendmsg(self.inner.socket.as_ptr(), &mut msg, first, n, bytes)
            };
            match usize::try_from(sent) {
                Ok(sent) => {
                    stuck = false;
                    vecs.advance(sent);
                }
                Err(_) => {
                    let error = Error::from_errno(sent);
                    if error != EAGAIN {
                        return Err(self.why(error));
                    }
                    if stuck {
                        // There is room in the socket but no memory for it: no wake-up tells when.
                        time::msleep(1);
                    }
                    stuck = true;
                    Deadline(None).wait(&self.inner.socket, bindings::kapi_wait_writable)?;
                }
            }
        }
        Ok(())
    }

    /// Receives at least one byte and at most `buf.len()`; returns how many. 0 only for an empty
    /// `buf`.
    ///
    /// Context: process, sleeps.
    ///
    /// # Errors
    ///
    /// See the module's documentation.
    pub fn recv_some(&self, buf: &mut [u8]) -> Result<usize> {
        let _receiving = self.inner.receiving.lock();
        if buf.is_empty() {
            return Ok(0);
        }
        self.recv_within(buf)
    }

    /// Whether [`TcpStream::recv_some`] has something to say at once. Context: any.
    #[inline]
    pub fn readable(&self) -> bool {
        // SAFETY: The socket is valid.
        unsafe { bindings::kapi_sock_readable(self.inner.socket.as_ptr()) }
    }

    fn recv_deadline(&self) -> Deadline {
        match self.inner.recv_timeout_ms.load(Relaxed) {
            0 => Deadline(None),
            ms => Deadline::after_ms(Some(ms)),
        }
    }

    fn recv_within(&self, buf: &mut [u8]) -> Result<usize> {
        let _noio = NoIo::enter();
        let flags = bindings::MSG_DONTWAIT | bindings::MSG_NOSIGNAL;
        // Looking at the clock is left to who has to wait.
        let mut deadline = None;
        let mut wait = !self.readable();
        loop {
            if self.inner.stopped.load(Relaxed) {
                return Err(ESHUTDOWN);
            }
            if wait {
                deadline
                    .get_or_insert_with(|| self.recv_deadline())
                    .wait(&self.inner.socket, bindings::kapi_wait_readable)?;
                wait = false;
                continue;
            }
            let mut msg = message(flags);
            let mut vec = bindings::kvec {
                iov_base: buf.as_mut_ptr().cast(),
                iov_len: buf.len(),
            };
            // SAFETY: The socket is valid, and `buf` for writes of its length.
            let got = unsafe {
                bindings::kernel_recvmsg(
                    self.inner.socket.as_ptr(),
                    &mut msg,
                    &mut vec,
                    1,
                    buf.len(),
                    flags as c_int,
                )
            };
            match usize::try_from(got) {
                Ok(0) => return Err(self.why(ECONNRESET)),
                Ok(got) => return Ok(got),
                Err(_) => {
                    let error = Error::from_errno(got);
                    if error != EAGAIN {
                        return Err(self.why(error));
                    }
                    wait = true;
                }
            }
        }
    }

    fn why(&self, error: Error) -> Error {
        if self.inner.stopped.load(Relaxed) {
            ESHUTDOWN
        } else if error == EPIPE {
            ECONNRESET
        } else {
            error
        }
    }

    /// How long a receiver waits before it returns `EAGAIN`; 0: for ever. Context: any.
    pub fn set_recv_timeout_ms(&self, ms: u64) {
        self.inner.recv_timeout_ms.store(ms, Relaxed);
    }

    /// How long sent data may stay unacknowledged (or unsendable) before TCP gives the connection
    /// up with `ETIMEDOUT`; 0: TCP's own idea. Context: process, may sleep.
    pub fn set_user_timeout_ms(&self, ms: u32) {
        let ms = c_int::try_from(ms).unwrap_or(c_int::MAX);
        // SAFETY: The socket is valid.
        unsafe { bindings::tcp_sock_set_user_timeout(self.inner.socket.sk(), ms) };
    }

    /// Probes an idle connection after `idle_s` seconds, every `interval_s`, and gives it up after
    /// `count` probes without an answer. Context: process, may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for what TCP does not take (0, or more than 32767 s, or more than 127 probes).
    pub fn set_keepalive(&self, idle_s: u32, interval_s: u32, count: u32) -> Result {
        let sk = self.inner.socket.sk();
        let (idle, interval, count) = (
            c_int::try_from(idle_s)?,
            c_int::try_from(interval_s)?,
            c_int::try_from(count)?,
        );
        // SAFETY: The socket is valid.
        unsafe {
            kernel::error::to_result(bindings::tcp_sock_set_keepidle(sk, idle))?;
            kernel::error::to_result(bindings::tcp_sock_set_keepintvl(sk, interval))?;
            kernel::error::to_result(bindings::tcp_sock_set_keepcnt(sk, count))?;
            bindings::sock_set_keepalive(sk);
        }
        Ok(())
    }

    /// Ends the connection in both directions: calls that wait, and all later ones, return
    /// `ESHUTDOWN`. Context: process, may sleep; any thread.
    pub fn shutdown(&self) {
        self.inner.stopped.store(true, Relaxed);
        self.inner.socket.shutdown();
    }

    /// The address at this end.
    ///
    /// # Errors
    ///
    /// `ENOTCONN`.
    pub fn local_addr(&self) -> Result<SockAddr> {
        self.inner.socket.local_addr()
    }

    /// The address at the other end.
    ///
    /// # Errors
    ///
    /// `ENOTCONN`.
    pub fn peer_addr(&self) -> Result<SockAddr> {
        self.inner.socket.peer_addr()
    }
}

/// A message header without address and control data.
fn message(flags: c_uint) -> bindings::msghdr {
    // SAFETY: All zeroes is an empty header: null pointers, lengths and numbers 0.
    let mut msg: bindings::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    msg.msg_flags = flags;
    msg
}

/// What is still to be sent.
struct Vecs {
    vecs: [bindings::kvec; MAX_PARTS],
    first: usize,
    len: usize,
}

impl Vecs {
    fn new() -> Self {
        Self {
            vecs: [const {
                bindings::kvec {
                    iov_base: ptr::null_mut(),
                    iov_len: 0,
                }
            }; MAX_PARTS],
            first: 0,
            len: 0,
        }
    }

    fn push(&mut self, base: *const u8, len: usize) -> Result {
        if len == 0 {
            return Ok(());
        }
        let slot = self.vecs.get_mut(self.len).ok_or(E2BIG)?;
        slot.iov_base = base.cast_mut().cast();
        slot.iov_len = len;
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    /// The vectors that are left: where they are, how many, and how many bytes in all.
    fn left(&mut self) -> Option<(*mut bindings::kvec, usize, usize)> {
        let left = self.vecs.get_mut(self.first..self.len)?;
        if left.is_empty() {
            return None;
        }
        let bytes = left
            .iter()
            .fold(0, |sum: usize, vec| sum.saturating_add(vec.iov_len));
        Some((left.as_mut_ptr(), left.len(), bytes))
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(vec) = self.vecs.get_mut(self.first) {
            if bytes < vec.iov_len {
                vec.iov_base = vec.iov_base.wrapping_byte_add(bytes);
                vec.iov_len = vec.iov_len.saturating_sub(bytes);
                return;
            }
            // Not more than there is.
            bytes = bytes.saturating_sub(vec.iov_len);
            self.first = self.first.saturating_add(1);
            if bytes == 0 {
                return;
            }
        }
    }
}
