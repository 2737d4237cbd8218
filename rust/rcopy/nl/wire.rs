// SPDX-License-Identifier: GPL-2.0

//! Netlink messages as bytes. Whatever the bytes are, reading them ends with a value or an error.

use super::names::{Attrs, Kind, Op};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Bytes of a message's header, and of the generic one behind it.
pub const HEADER: usize = 16;
const GENERIC: usize = 4;

/// Kinds of messages that every family has.
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
pub const NLMSG_NOOP: u16 = 1;

/// Flags of requests and answers.
pub const NLM_F_REQUEST: u16 = 0x001;
pub const NLM_F_ACK: u16 = 0x004;
pub const NLM_F_DUMP_INTR: u16 = 0x010;
pub const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

const TYPE_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

/// What an attribute holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Number(u64),
    /// One of a list of words, or text.
    Text(String),
    Flag,
    Numbers(Vec<u64>),
    Object(Object),
    Objects(Vec<Object>),
}

/// A set of attributes that was received: names as in the specification, in the order in which they came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Object(pub Vec<(&'static str, Value)>);

/// What is wrong with a message, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub String);

impl Object {
    /// An attribute.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// A word, or text; "" if there is none.
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Value::Text(t)) => t,
            _ => "",
        }
    }

    /// Attributes within an attribute.
    pub fn object(&self, name: &str) -> Option<&Object> {
        match self.get(name)? {
            Value::Object(o) => Some(o),
            _ => None,
        }
    }

    /// The same, many times.
    pub fn objects(&self, name: &str) -> &[Object] {
        match self.get(name) {
            Some(Value::Objects(o)) => o,
            _ => &[],
        }
    }

    /// A row of numbers.
    pub fn numbers(&self, name: &str) -> &[u64] {
        match self.get(name) {
            Some(Value::Numbers(n)) => n,
            _ => &[],
        }
    }
}

/// The name of an attribute as `dmsetup status`, JSON and metrics spell it.
pub fn spelled(name: &str) -> String {
    name.replace('-', "_")
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(&spelled(name), value)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Number(n) => s.serialize_u64(*n),
            Value::Text(t) => s.serialize_str(t),
            Value::Flag => s.serialize_bool(true),
            Value::Numbers(n) => n.serialize(s),
            Value::Object(o) => o.serialize(s),
            Value::Objects(o) => o.serialize(s),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Walks attributes: number and payload of each.
pub struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Over these bytes.
    pub fn new(bytes: &'a [u8]) -> Walk<'a> {
        Walk { rest: bytes }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (len, kind) = match (u16_at(self.rest, 0), u16_at(self.rest, 2)) {
            (Some(len), Some(kind)) => (usize::from(len), kind & TYPE_MASK),
            _ => (0, 0),
        };
        let Some(payload) = self.rest.get(4..len) else {
            let text = format!("an attribute claims {len} bytes of {}", self.rest.len());
            self.rest = &[];
            return Some(Err(Malformed(text)));
        };
        let next = len.next_multiple_of(4).min(self.rest.len());
        self.rest = &self.rest[next..];
        Some(Ok((kind, payload)))
    }
}

fn number(payload: &[u8], name: &str, sizes: &[usize]) -> Result<u64, Malformed> {
    let wrong = || Malformed(format!("{name} has {} bytes", payload.len()));
    if !sizes.contains(&payload.len()) {
        return Err(wrong());
    }
    Ok(match *payload {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(wrong()),
    })
}

fn value(payload: &[u8], name: &str, kind: &Kind) -> Result<Value, Malformed> {
    Ok(match kind {
        Kind::U8 => Value::Number(number(payload, name, &[1])?),
        Kind::U16 => Value::Number(number(payload, name, &[2])?),
        Kind::U32 => Value::Number(number(payload, name, &[4])?),
        Kind::Uint => Value::Number(number(payload, name, &[4, 8])?),
        Kind::Enum(words) => {
            let n = number(payload, name, &[4])?;
            let word = usize::try_from(n).ok().and_then(|i| words.words.get(i));
            // A newer module may have more words.
            Value::Text(word.map_or_else(|| n.to_string(), |w| (*w).to_string()))
        }
        Kind::Str => {
            let text = payload.split(|b| *b == 0).next().unwrap_or(&[]);
            Value::Text(String::from_utf8_lossy(text).into_owned())
        }
        Kind::Flag => Value::Flag,
        Kind::Uuid => {
            let bytes = payload
                .try_into()
                .map_err(|_| Malformed(format!("{name} has {} bytes", payload.len())))?;
            Value::Text(crate::units::uuid(bytes))
        }
        Kind::U64s => {
            let chunks = payload.chunks_exact(8);
            if !chunks.remainder().is_empty() {
                return Err(Malformed(format!("{name} has {} bytes", payload.len())));
            }
            Value::Numbers(
                chunks
                    .map(|c| number(c, name, &[8]))
                    .collect::<Result<_, _>>()?,
            )
        }
        Kind::Nest(attrs) => Value::Object(object(payload, attrs)?),
        Kind::Nests(attrs) => Value::Objects(vec![object(payload, attrs)?]),
    })
}

/// Reads a set of attributes. Those that this tool does not know are left out: they are a newer module's.
///
/// # Errors
///
/// The bytes are none.
pub fn object(bytes: &[u8], attrs: &'static Attrs) -> Result<Object, Malformed> {
    let mut o = Object::default();
    for a in Walk::new(bytes) {
        let (id, payload) = a?;
        let Some(attr) = attrs.by_id(id) else {
            continue;
        };
        let v = value(payload, attr.name, &attr.kind)?;
        match (o.0.iter_mut().find(|(n, _)| *n == attr.name), v) {
            (Some((_, Value::Objects(all))), Value::Objects(one)) => all.extend(one),
            (Some((_, old)), v) => *old = v,
            (None, v) => o.0.push((attr.name, v)),
        }
    }
    Ok(o)
}

/// Attributes of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Appends one as bytes.
    pub fn raw(&mut self, id: u16, payload: &[u8]) -> &mut Attributes {
        let len = 4 + payload.len();
        self.0.extend((len as u16).to_ne_bytes());
        self.0.extend(id.to_ne_bytes());
        self.0.extend(payload);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends text, with the zero behind it.
    pub fn text(&mut self, id: u16, text: &str) -> &mut Attributes {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.raw(id, &bytes)
    }

    /// Appends a number of four bytes.
    pub fn u32(&mut self, id: u16, n: u32) -> &mut Attributes {
        self.raw(id, &n.to_ne_bytes())
    }

    /// Appends attributes within an attribute.
    pub fn nest(&mut self, id: u16, inner: &Attributes) -> &mut Attributes {
        self.raw(id | NESTED, &inner.0)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A request to a family.
pub fn request(
    family: u16,
    op: u8,
    version: u8,
    flags: u16,
    seq: u32,
    attrs: &Attributes,
) -> Vec<u8> {
    let len = HEADER + GENERIC + attrs.0.len();
    let mut m = Vec::with_capacity(len);
    m.extend((len as u32).to_ne_bytes());
    m.extend(family.to_ne_bytes());
    m.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    m.extend(seq.to_ne_bytes());
    m.extend(0u32.to_ne_bytes());
    m.extend([op, version, 0, 0]);
    m.extend(&attrs.0);
    m
}

/// What the kernel says of a request that it refuses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refusal {
    /// The error's number, above 0.
    pub errno: i32,
    /// Its words.
    pub text: Option<String>,
    /// The name of the attribute that it is about.
    pub attribute: Option<&'static str>,
    /// Whether that one is missing.
    pub missing: bool,
}

/// One message of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Done, or refused.
    End(Result<(), Refusal>),
    /// Attributes, behind the generic header; which operation, and whether a dump was disturbed.
    Data {
        /// The operation.
        op: u8,
        /// Its attributes.
        attrs: &'a [u8],
        /// The dump was disturbed.
        disturbed: bool,
    },
    /// Of no interest.
    Other,
}

/// The attribute of a request at this offset.
fn attribute_at(sent: &[u8], offset: usize, op: &Op) -> Option<&'static str> {
    let mut at = HEADER + GENERIC;
    for a in Walk::new(sent.get(at..)?) {
        let (id, payload) = a.ok()?;
        let end = at + (4 + payload.len()).next_multiple_of(4);
        if (at..end).contains(&offset) {
            return op.attrs.by_id(id).map(|a| a.name);
        }
        at = end;
    }
    None
}

/// The extended acknowledgement behind an error.
fn refusal(errno: i32, tlvs: &[u8], sent: &[u8], op: &Op) -> Refusal {
    const MSG: u16 = 1;
    const OFFS: u16 = 2;
    const MISS_TYPE: u16 = 5;
    let mut r = Refusal {
        errno,
        ..Refusal::default()
    };
    for (id, payload) in Walk::new(tlvs).flatten() {
        match id {
            MSG => {
                let text = payload.split(|b| *b == 0).next().unwrap_or(&[]);
                r.text = Some(String::from_utf8_lossy(text).into_owned());
            }
            OFFS => {
                let at = u32_at(payload, 0).and_then(|n| usize::try_from(n).ok());
                r.attribute = at.and_then(|at| attribute_at(sent, at, op));
            }
            MISS_TYPE => {
                let id = u32_at(payload, 0).and_then(|n| u16::try_from(n).ok());
                r.attribute = id.and_then(|id| op.attrs.by_id(id)).map(|a| a.name);
                r.missing = true;
            }
            _ => {}
        }
    }
    r
}

/// Splits what was received into messages, with their sequence numbers. `sent`: the request that it
/// answers.
///
/// # Errors
///
/// The bytes are none.
pub fn messages<'a>(
    bytes: &'a [u8],
    sent: &[u8],
    op: &Op,
) -> Result<Vec<(u32, Message<'a>)>, Malformed> {
    let mut all = vec![];
    let mut rest = bytes;
    while !rest.is_empty() {
        let short = || {
            Malformed(format!(
                "a message is cut off, {} bytes are left",
                rest.len()
            ))
        };
        let len = u32_at(rest, 0).ok_or_else(short)? as usize;
        let kind = u16_at(rest, 4).ok_or_else(short)?;
        let flags = u16_at(rest, 6).ok_or_else(short)?;
        let seq = u32_at(rest, 8).ok_or_else(short)?;
        let payload = rest.get(HEADER..len).ok_or_else(short)?;
        let tlvs = |at: usize| match flags & NLM_F_ACK_TLVS {
            0 => &[],
            _ => payload.get(at..).unwrap_or(&[]),
        };
        let errno = |n: u32| (n as i32).checked_neg().unwrap_or(i32::MAX);
        let message = match kind {
            NLMSG_NOOP => Message::Other,
            NLMSG_ERROR => {
                let n = errno(u32_at(payload, 0).ok_or_else(short)?);
                // Behind the number stands the request: its header, or all of it.
                let quoted = match flags & NLM_F_CAPPED {
                    0 => u32_at(payload, 4).map_or(HEADER, |n| (n as usize).next_multiple_of(4)),
                    _ => HEADER,
                };
                let at = quoted.saturating_add(4);
                Message::End(if n == 0 {
                    Ok(())
                } else {
                    Err(refusal(n, tlvs(at), sent, op))
                })
            }
            NLMSG_DONE => {
                let n = u32_at(payload, 0).map_or(0, errno);
                Message::End(if n == 0 {
                    Ok(())
                } else {
                    Err(refusal(n, tlvs(4), sent, op))
                })
            }
            _ => Message::Data {
                op: *payload.first().ok_or_else(short)?,
                attrs: payload.get(GENERIC..).ok_or_else(short)?,
                disturbed: flags & NLM_F_DUMP_INTR != 0,
            },
        };
        all.push((seq, message));
        rest = &rest[len.next_multiple_of(4).min(rest.len())..];
    }
    Ok(all)
}
