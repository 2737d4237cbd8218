// SPDX-License-Identifier: GPL-2.0

//! The socket: requests, answers, and events.

use super::{
    names::{Attr, Attrs, Kind, Op, EVENTS, FAMILY, OP_EVENT, VERSION},
    wire::{self, Attributes, Malformed, Message, Object, Refusal, Walk, NLM_F_ACK, NLM_F_DUMP},
    Kernel,
};
use crate::{
    error::{plain, Error, Exit, Result},
    version::MODULE,
};
use netlink_sys::{protocols::NETLINK_GENERIC, Socket, SocketAddr};
use std::{io, path::Path};

/// How often a dump that was disturbed is asked for again.
const DUMPS: usize = 20;
/// Bytes of events that may wait for a slow reader.
const EVENT_BYTES: usize = 1 << 20;

const fn attr(id: u16, name: &'static str, kind: Kind) -> Attr {
    Attr { id, name, kind }
}

/// The family that knows the families.
static CONTROL: Attrs = Attrs {
    name: "control",
    attrs: &[
        attr(1, "family-id", Kind::U16),
        attr(2, "family-name", Kind::Str),
    ],
};
static GET_FAMILY: Op = Op {
    id: 3,
    name: "getfamily",
    attrs: &CONTROL,
};
const CONTROL_FAMILY: u16 = 0x10;
const CONTROL_GROUPS: u16 = 7;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EINTR: i32 = 4;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ERANGE: i32 = 34;
const EBADE: i32 = 52;
const EOPNOTSUPP: i32 = 95;
const ENOBUFS: i32 = 105;
const EUCLEAN: i32 = 117;

/// A refusal in words, with its exit status.
pub fn explain(r: &Refusal) -> Error {
    let exit = match (r.errno, &r.text) {
        // Only the check of privileges says nothing.
        (EPERM, None) | (EACCES, _) => Exit::Permission,
        (EPERM | EBUSY | EBADE | EOPNOTSUPP, _) => Exit::Refused,
        (ENOENT | ENODEV, _) => Exit::NotFound,
        (EINVAL | ERANGE, _) => Exit::Usage,
        (EUCLEAN, _) => Exit::Damaged,
        _ => Exit::Failed,
    };
    if exit == Exit::Permission {
        return Error::new(
            exit,
            "it takes an administrator: CAP_NET_ADMIN in the network namespace of the set",
        );
    }
    let errno = plain(&io::Error::from_raw_os_error(r.errno));
    let said = match &r.text {
        Some(text) => format!("{text} ({errno})"),
        None => errno,
    };
    let text = match (r.attribute, r.missing) {
        (Some(a), true) => format!("{a} is missing: {said}"),
        (Some(a), false) => format!("{a}: {said}"),
        (None, _) => said,
    };
    Error::new(exit, text)
}

fn malformed(e: Malformed) -> Error {
    Error::new(
        Exit::Failed,
        format!(
            "the module's answer cannot be read: {}; is it of another version than this tool?",
            e.0
        ),
    )
}

fn failed(what: &str, e: &io::Error) -> Error {
    Error::new(Exit::Failed, format!("netlink: {what}: {}", plain(e)))
}

/// See the module.
pub struct Client {
    socket: Socket,
    family: u16,
    group: Option<u32>,
    seq: u32,
}

impl Client {
    /// Finds the family.
    ///
    /// # Errors
    ///
    /// The module is not loaded.
    pub fn open() -> Result<Client> {
        Client::open_for(Path::new(MODULE))
    }

    fn open_for(module: &Path) -> Result<Client> {
        let mut socket = Socket::new(NETLINK_GENERIC).map_err(|e| failed("socket", &e))?;
        socket.bind_auto().map_err(|e| failed("bind", &e))?;
        // Without these, refusals say less.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let mut client = Client {
            socket,
            family: CONTROL_FAMILY,
            group: None,
            seq: 0,
        };
        let mut name = Attributes::default();
        name.text(2, FAMILY);
        let mut found = None;
        let answer = client.exchange(CONTROL_FAMILY, &GET_FAMILY, NLM_F_ACK, &name, |attrs| {
            let id = wire::object(attrs, &CONTROL)?.number("family-id");
            found = Some((id, group(attrs)?));
            Ok(())
        });
        match (answer, found) {
            (Ok(_), Some((Some(id), group))) => {
                client.family = u16::try_from(id).unwrap_or(0);
                client.group = group;
                Ok(client)
            }
            (Err(e), _) if e.exit != Exit::NotFound => Err(e),
            _ if module.is_dir() => Err(Error::new(
                Exit::NoModule,
                format!("the module that is loaded has no netlink family '{FAMILY}': it is older than this tool"),
            )),
            _ => Err(Error::new(
                Exit::NoModule,
                "the module is not loaded: modprobe dm-remote-copy",
            )),
        }
    }

    /// Sends a request and hands each part of the answer on. Answers whether a dump was disturbed.
    fn exchange(
        &mut self,
        family: u16,
        op: &'static Op,
        flags: u16,
        attrs: &Attributes,
        mut each: impl FnMut(&[u8]) -> std::result::Result<(), Malformed>,
    ) -> Result<bool> {
        self.seq = self.seq.wrapping_add(1);
        let version = if family == CONTROL_FAMILY { 1 } else { VERSION };
        let sent = wire::request(family, op.id, version, flags, self.seq, attrs);
        self.socket
            .send_to(&sent, &SocketAddr::new(0, 0), 0)
            .map_err(|e| failed("send", &e))?;
        let mut disturbed = false;
        loop {
            let (bytes, from) = match self.socket.recv_from_full() {
                Ok(got) => got,
                Err(e) if e.raw_os_error() == Some(EINTR) => continue,
                Err(e) => return Err(failed("receive", &e)),
            };
            // Any process may send here; only the kernel has number 0.
            if from.port_number() != 0 {
                continue;
            }
            for (seq, message) in wire::messages(&bytes, &sent, op).map_err(malformed)? {
                match message {
                    _ if seq != self.seq => {}
                    Message::End(Ok(())) => return Ok(disturbed),
                    Message::End(Err(r)) => return Err(explain(&r)),
                    Message::Data {
                        attrs,
                        disturbed: d,
                        ..
                    } => {
                        disturbed |= d;
                        each(attrs).map_err(malformed)?;
                    }
                    Message::Other => {}
                }
            }
        }
    }

    fn objects(
        &mut self,
        op: &'static Op,
        flags: u16,
        attrs: &Attributes,
    ) -> Result<(Vec<Object>, bool)> {
        let mut all = vec![];
        let family = self.family;
        let disturbed = self.exchange(family, op, flags, attrs, |bytes| {
            all.push(wire::object(bytes, op.attrs)?);
            Ok(())
        })?;
        Ok((all, disturbed))
    }

    /// From now on events are received: see [`Listener`].
    ///
    /// # Errors
    ///
    /// The group cannot be joined.
    pub fn listen() -> Result<Listener> {
        let client = Client::open()?;
        let group = client.group.ok_or_else(|| {
            Error::new(
                Exit::NoModule,
                format!("the module has no multicast group '{EVENTS}'"),
            )
        })?;
        let socket = client.socket;
        let _ = socket.set_rx_buf_sz(EVENT_BYTES as u32);
        socket
            .add_membership(group)
            .map_err(|e| failed("join", &e))?;
        Ok(Listener { socket })
    }
}

/// The number of the group of events in what the control family says.
fn group(attrs: &[u8]) -> std::result::Result<Option<u32>, Malformed> {
    for a in Walk::new(attrs) {
        let (CONTROL_GROUPS, groups) = a? else {
            continue;
        };
        for g in Walk::new(groups) {
            let (mut name, mut id) = (None, None);
            for field in Walk::new(g?.1) {
                match field? {
                    (1, n) => name = Some(n),
                    (2, n) => id = n.try_into().ok().map(u32::from_ne_bytes),
                    _ => {}
                }
            }
            if name.is_some_and(|n| n.split(|b| *b == 0).next() == Some(EVENTS.as_bytes())) {
                return Ok(id);
            }
        }
    }
    Ok(None)
}

impl Kernel for Client {
    fn ask(&mut self, op: &'static Op, attrs: &Attributes) -> Result<Vec<Object>> {
        Ok(self.objects(op, NLM_F_ACK, attrs)?.0)
    }

    fn dump(&mut self, op: &'static Op, attrs: &Attributes) -> Result<Vec<Object>> {
        for _ in 0..DUMPS {
            let (all, disturbed) = self.objects(op, NLM_F_DUMP, attrs)?;
            if !disturbed {
                return Ok(all);
            }
        }
        Err(Error::new(
            Exit::Failed,
            format!("sets came and went while they were listed, {DUMPS} times over: try again"),
        ))
    }
}

/// Hears events.
pub struct Listener {
    socket: Socket,
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// Events, in their order.
    Events(Vec<Object>),
    /// The reader was too slow: some are lost.
    Overrun,
}

impl Listener {
    /// Waits for the next ones.
    ///
    /// # Errors
    ///
    /// The socket fails.
    pub fn hear(&mut self) -> Result<Heard> {
        loop {
            let (bytes, from) = match self.socket.recv_from_full() {
                Ok(got) => got,
                Err(e) if e.raw_os_error() == Some(ENOBUFS) => return Ok(Heard::Overrun),
                Err(e) if e.raw_os_error() == Some(EINTR) => continue,
                Err(e) => return Err(failed("receive", &e)),
            };
            if from.port_number() != 0 {
                continue;
            }
            let mut all = vec![];
            for (_, m) in wire::messages(&bytes, &[], &OP_EVENT).map_err(malformed)? {
                if let Message::Data { op, attrs, .. } = m {
                    if op == OP_EVENT.id {
                        all.push(wire::object(attrs, OP_EVENT.attrs).map_err(malformed)?);
                    }
                }
            }
            return Ok(Heard::Events(all));
        }
    }
}
