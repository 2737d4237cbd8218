// SPDX-License-Identifier: GPL-2.0

//! Frames between partners. `Documentation/partner-protocol.rst` describes the conversation.
//!
//! Every frame is a 32-byte header and a payload whose length the header bounds. A control frame's
//! checksum covers header and payload; records are sealed by themselves, and the receiver verifies
//! each before it counts.

use crate::{
    format::{
        flag, Copy_, Crc, Mark, Missing, Role, SetName, Super, MARK_BYTES, RECORD_HEADER_BYTES,
    },
    lane::Run,
    layout::Geometry,
    limits,
    units::Generation,
};
use zerocopy::{
    little_endian::{U16, U32, U64},
    IntoBytes,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of every frame: "rcF1".
pub const FRAME_MAGIC: [u8; 4] = *b"rcF1";
/// Version of the protocol, in HELLO.
pub const PROTOCOL_VERSION: u32 = 4;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Who connects, and what it knows. Payload: [`Hello`].
    Hello = 1,
    /// The answer: yes; `flag` 1: the sender's copy is complete and stays so, and the payload, an
    /// [`Ack`], says how far it goes. Otherwise that is all zero.
    Welcome = 2,
    /// The answer: no. Payload: [`Refusal`].
    Refuse = 3,
    /// The owner begins to send its log; `flag` 1: the receiver's copy stays complete meanwhile.
    /// Payload: a mark.
    Begin = 4,
    /// Records that follow each other in a lane: their headers, then their data, both as they stand in
    /// the log.
    Records = 5,
    /// A new mark. Payload: a mark.
    Mark = 6,
    /// What is durable at the receiver. Payload: [`Ack`].
    Ack = 7,
    /// The owner has sent every record that it ever acknowledged and that is not retired.
    Synced = 8,
    /// The receiver's copy is durably marked complete.
    Complete = 9,
    /// I am here.
    Ping = 10,
    /// The owner leaves in order.
    Bye = 11,
    /// The owner has stepped down, durably; its log is a complete copy, as the receiver's is. The
    /// receiver owns the set from now on.
    Handover = 12,
}

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Hello,
            2 => Kind::Welcome,
            3 => Kind::Refuse,
            4 => Kind::Begin,
            5 => Kind::Records,
            6 => Kind::Mark,
            7 => Kind::Ack,
            8 => Kind::Synced,
            9 => Kind::Complete,
            10 => Kind::Ping,
            11 => Kind::Bye,
            12 => Kind::Handover,
            _ => return None,
        })
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawFrame {
    magic: [u8; 4],
    /// Raw CRC32C of the 24 bytes behind this field and, but for records, the payload; seed !0.
    crc: U32,
    kind: u8,
    flag: u8,
    records: U16,
    len: U32,
    generation: U32,
    heard: U32,
    number: U64,
}

/// Bytes of a frame header.
pub const FRAME_BYTES: usize = size_of::<RawFrame>();
const _: () = assert!(FRAME_BYTES == 32);

/// A frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// One bit of meaning, by kind.
    pub flag: bool,
    /// The sender's reign, or the newest it knows of.
    pub generation: Generation,
    /// How many records are in the payload; 0 in every other kind.
    pub records: u16,
    /// Bytes of payload.
    pub len: u32,
    /// Which frame of its direction of the connection it is, from 0 ([`Turn`]).
    pub number: u64,
    /// A standby's: how many frames of the owner it has heard, modulo 2^32. An owner's: 0.
    pub heard: u32,
}

/// Why bytes are no frame. The connection is closed: what follows cannot be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// Does not start with the magic.
    Magic,
    /// A kind that this version does not know.
    Kind(u8),
    /// A length that this kind cannot have.
    Length(Kind, u32),
    /// The checksum is wrong.
    Checksum,
    /// A field has a value that no driver sends.
    Field,
    /// It is not the one that comes next: one was lost as a whole, came twice or out of turn.
    Turn {
        /// Its number.
        number: u64,
        /// The number of the one that comes next.
        due: u64,
    },
}

/// What one end of a connection sends: the headers, which it numbers.
#[derive(Default, Debug)]
pub struct Outgoing {
    next: u64,
    heard: u32,
}

impl Outgoing {
    /// The number of the next frame.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// A standby's: the owner's frame has come, and what is sent from now on says so.
    pub fn hears(&mut self, frame: &Frame) {
        self.heard = frame.number.wrapping_add(1) as u32;
    }

    fn take(&mut self) -> u64 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// A control frame with so many bytes of payload.
    pub fn control(&mut self, kind: Kind, flag: bool, generation: Generation, len: usize) -> Frame {
        Frame {
            kind,
            flag,
            generation,
            records: 0,
            len: len as u32,
            number: self.take(),
            heard: self.heard,
        }
    }

    /// The frame with these records.
    pub fn records(&mut self, run: &Run, generation: Generation) -> Frame {
        let headers = u32::from(run.records).saturating_mul(RECORD_HEADER_BYTES as u32);
        Frame {
            kind: Kind::Records,
            flag: false,
            generation,
            records: run.records,
            len: headers.saturating_add(run.data_bytes),
            number: self.take(),
            heard: self.heard,
        }
    }
}

/// Which frame of the other end's comes next.
///
/// A frame that is lost, or comes once more, leaves others that verify, and SYNCED would complete a copy
/// that lacks records. TCP does no such thing, but its checksum has 16 bits, and hardware that splits and
/// joins its segments has been seen to.
#[derive(Default, Debug)]
pub struct Turn(u64);

impl Turn {
    /// A verified frame has come, and the next one is due.
    ///
    /// # Errors
    ///
    /// [`FrameError::Turn`]: another one was. The connection is closed.
    pub fn check(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let (number, due) = (frame.number, self.0);
        if number != due {
            return Err(FrameError::Turn { number, due });
        }
        self.0 = due.wrapping_add(1);
        Ok(())
    }
}

impl Frame {
    /// The bytes of the header of a frame with this payload (of records: only its length counts).
    pub fn seal(&self, crc: Crc, payload: &[u8]) -> [u8; FRAME_BYTES] {
        let mut raw = RawFrame {
            magic: FRAME_MAGIC,
            crc: U32::new(0),
            kind: self.kind as u8,
            flag: u8::from(self.flag),
            records: U16::new(self.records),
            len: U32::new(self.len),
            generation: U32::new(self.generation.0),
            heard: U32::new(self.heard),
            number: U64::new(self.number),
        };
        raw.crc = U32::new(Self::sum(crc, self.kind, raw.as_bytes(), payload));
        zerocopy::transmute!(raw)
    }

    fn sum(crc: Crc, kind: Kind, header: &[u8], payload: &[u8]) -> u32 {
        let sum = crc(!0, header.get(8..).unwrap_or(&[]));
        if kind == Kind::Records {
            sum
        } else {
            crc(sum, payload)
        }
    }

    /// Reads a header; its length is within bounds afterwards, its checksum not yet checked.
    pub fn open(bytes: &[u8; FRAME_BYTES]) -> Result<Frame, FrameError> {
        let raw: RawFrame = zerocopy::transmute!(*bytes);
        if raw.magic != FRAME_MAGIC {
            return Err(FrameError::Magic);
        }
        let kind = Kind::from_code(raw.kind).ok_or(FrameError::Kind(raw.kind))?;
        let len = raw.len.get();
        let records = raw.records.get();
        let heads = u32::from(records).saturating_mul(RECORD_HEADER_BYTES as u32);
        let ok = match kind {
            Kind::Hello => len as usize == HELLO_BYTES,
            Kind::Refuse => len as usize == REFUSAL_BYTES,
            Kind::Begin | Kind::Mark => len as usize == MARK_BYTES,
            Kind::Records => (heads..=limits::MAX_FRAME_PAYLOAD).contains(&len),
            Kind::Ack | Kind::Welcome => len as usize <= ACK_BYTES && len >= 16 && len % 8 == 0,
            Kind::Synced | Kind::Complete | Kind::Ping | Kind::Bye | Kind::Handover => len == 0,
        };
        if !ok {
            return Err(FrameError::Length(kind, len));
        }
        let counted = match kind {
            Kind::Records => (1..=limits::MAX_FRAME_RECORDS).contains(&records),
            _ => records == 0,
        };
        if raw.flag > 1 || !counted {
            return Err(FrameError::Field);
        }
        Ok(Frame {
            kind,
            flag: raw.flag == 1,
            generation: Generation(raw.generation.get()),
            records,
            len,
            number: raw.number.get(),
            heard: raw.heard.get(),
        })
    }

    /// Checks the checksum, once the payload is there (of records, the payload does not count).
    pub fn verify(crc: Crc, bytes: &[u8; FRAME_BYTES], payload: &[u8]) -> Result<(), FrameError> {
        let frame = Frame::open(bytes)?;
        let raw: RawFrame = zerocopy::transmute!(*bytes);
        if raw.crc.get() == Self::sum(crc, frame.kind, bytes, payload) {
            Ok(())
        } else {
            Err(FrameError::Checksum)
        }
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHello {
    version: U32,
    generation: U32,
    uuid: [u8; 16],
    name: [u8; 64],
    name_len: u8,
    role: u8,
    copy: u8,
    blank: u8,
    lanes: U16,
    members: U16,
    lane_records: U32,
    reign: U32,
    lane_data: U64,
    node: U32,
    /// 1: the node keeps the set's ownership record.
    record: u8,
    pad: [u8; 3],
    missing_first: U64,
    missing_last: U64,
}

/// Bytes of a HELLO's payload.
pub const HELLO_BYTES: usize = size_of::<RawHello>();
const _: () = assert!(HELLO_BYTES == 136);

/// What a node says of itself when a connection begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The set, all zero when the node's log is blank.
    pub uuid: [u8; 16],
    /// Its name.
    pub name: SetName,
    /// The newest reign that the node began or accepted.
    pub generation: Generation,
    /// Of an owner: the reign it has, or will begin once it is welcomed.
    pub reign: Generation,
    /// What the node is.
    pub role: Role,
    /// Of a standby: whether its copy may be replayed. Of an owner: incomplete says that its partner's
    /// copy must not be trusted, because the owner has served alone.
    pub copy: Copy_,
    /// Its log was never used.
    pub blank: bool,
    /// The shape of its log; of a blank one, the largest that its region allows is not known yet and
    /// the sender's own is taken if it fits.
    pub geometry: Geometry,
    /// How many volumes the set has.
    pub members: u16,
    /// Tells the node from its partner.
    pub node: u32,
    /// Whether the node keeps the ownership record. Both have to, or none.
    pub record: bool,
    /// What the remote misses, as far as the owner knows.
    pub missing: Option<Missing>,
}

impl Hello {
    /// What an owner says that has begun `reign`, or will once it is welcomed. `members`, `record`: what
    /// its table lines say.
    pub fn of_owner(mine: &Super, reign: Generation, members: u16, record: bool) -> Hello {
        Hello {
            uuid: mine.uuid,
            name: mine.name,
            generation: mine.generation,
            reign,
            role: Role::Owner,
            copy: if mine.alone {
                Copy_::Incomplete
            } else {
                Copy_::Complete
            },
            blank: false,
            geometry: mine.geometry,
            members,
            node: mine.node,
            record,
            missing: mine.missing,
        }
    }

    /// Whether an owner, `mine`, has begun the reign of which it said this, and not gone on alone
    /// meanwhile: then its partner, who was told otherwise, has believed its copy complete.
    pub fn holds(&self, mine: &Super) -> bool {
        mine.generation == self.reign && (self.copy == Copy_::Incomplete || !mine.alone)
    }

    /// The payload.
    pub fn seal(&self) -> [u8; HELLO_BYTES] {
        let (name_len, name) = self.name.raw();
        let (missing_first, missing_last) = Missing::raw(self.missing);
        let raw = RawHello {
            version: U32::new(PROTOCOL_VERSION),
            generation: U32::new(self.generation.0),
            uuid: self.uuid,
            name,
            name_len,
            role: match self.role {
                Role::Owner => 1,
                Role::Standby => 2,
            },
            copy: match self.copy {
                Copy_::Complete => 1,
                Copy_::Incomplete => 2,
            },
            blank: u8::from(self.blank),
            lanes: U16::new(self.geometry.lanes()),
            members: U16::new(self.members),
            lane_records: U32::new(self.geometry.lane_records()),
            reign: U32::new(self.reign.0),
            lane_data: U64::new(self.geometry.lane_data()),
            node: U32::new(self.node),
            record: u8::from(self.record),
            pad: [0; 3],
            missing_first: U64::new(missing_first),
            missing_last: U64::new(missing_last),
        };
        zerocopy::transmute!(raw)
    }

    /// Reads a payload.
    pub fn open(bytes: &[u8; HELLO_BYTES]) -> Result<Hello, FrameError> {
        let raw: RawHello = zerocopy::transmute!(*bytes);
        let bad = FrameError::Field;
        if raw.version.get() != PROTOCOL_VERSION || raw.blank > 1 {
            return Err(bad);
        }
        // Else a node could be outdated by the one number and take the other, which is older.
        if raw.role == 1 && raw.reign.get() < raw.generation.get() {
            return Err(bad);
        }
        Ok(Hello {
            uuid: raw.uuid,
            name: SetName::from_raw(raw.name_len, &raw.name).ok_or(bad)?,
            generation: Generation(raw.generation.get()),
            reign: Generation(raw.reign.get()),
            role: match raw.role {
                1 => Role::Owner,
                2 => Role::Standby,
                _ => return Err(bad),
            },
            copy: match raw.copy {
                1 => Copy_::Complete,
                2 => Copy_::Incomplete,
                _ => return Err(bad),
            },
            blank: raw.blank == 1,
            geometry: Geometry::new(raw.lanes.get(), raw.lane_records.get(), raw.lane_data.get())
                .map_err(|_| bad)?,
            members: raw.members.get(),
            node: Some(raw.node.get()).filter(|n| *n != 0).ok_or(bad)?,
            record: flag(raw.record).ok_or(bad)?,
            missing: Missing::from_raw(raw.missing_first.get(), raw.missing_last.get())
                .ok_or(bad)?,
        })
    }
}

/// Why a node will not talk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Reason {
    /// Another set's name or UUID.
    OtherSet = 1,
    /// The caller's generation is older: it stands by from now on.
    Outdated = 2,
    /// Both say that they own the set, in the same generation. An administrator has to decide.
    TwoOwners = 3,
    /// The answering node's log region is too small for the caller's geometry.
    Geometry = 4,
    /// The answering node cannot take part just now (it is starting, stopping or taking over).
    Busy = 5,
    /// The answering node has refused its own log.
    Failed = 6,
    /// The caller is not an owner.
    NotOwner = 7,
    /// The answering node owned the set and was stopped by a newer reign; its device has to be made
    /// anew before it can stand by.
    Fenced = 8,
    /// Both go by the same node number: one log was copied from the other.
    SameNode = 9,
    /// Only one of the two keeps the ownership record.
    Record = 10,
}

impl Reason {
    fn from_code(code: u32) -> Option<Reason> {
        Some(match code {
            1 => Reason::OtherSet,
            2 => Reason::Outdated,
            3 => Reason::TwoOwners,
            4 => Reason::Geometry,
            5 => Reason::Busy,
            6 => Reason::Failed,
            7 => Reason::NotOwner,
            8 => Reason::Fenced,
            9 => Reason::SameNode,
            10 => Reason::Record,
            _ => return None,
        })
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::OtherSet => "it has another set at that address",
            Reason::Outdated => "it knows a newer generation and owns the set",
            Reason::TwoOwners => "it owns the set in the same generation",
            Reason::Geometry => "its log region is smaller than this node's",
            Reason::Busy => "it is busy",
            Reason::Failed => "it has refused its own log",
            Reason::NotOwner => "neither node owns the set",
            Reason::Fenced => {
                "it is fenced, and its device has to be removed and made anew to stand by"
            }
            Reason::SameNode => {
                "its log was copied from this node's: both go by the same node number; make one blank"
            }
            Reason::Record => {
                "only one of the two has `metadata` in its table line; give both the same device"
            }
        }
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawRefusal {
    reason: U32,
    generation: U32,
}

/// Bytes of a refusal's payload.
pub const REFUSAL_BYTES: usize = size_of::<RawRefusal>();

/// A refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The newest reign that the refusing node knows of.
    pub generation: Generation,
}

impl Refusal {
    /// The payload.
    pub fn seal(&self) -> [u8; REFUSAL_BYTES] {
        zerocopy::transmute!(RawRefusal {
            reason: U32::new(self.reason as u32),
            generation: U32::new(self.generation.0),
        })
    }

    /// Reads a payload.
    pub fn open(bytes: &[u8; REFUSAL_BYTES]) -> Result<Refusal, FrameError> {
        let raw: RawRefusal = zerocopy::transmute!(*bytes);
        Ok(Refusal {
            reason: Reason::from_code(raw.reason.get()).ok_or(FrameError::Field)?,
            generation: Generation(raw.generation.get()),
        })
    }
}

/// Most bytes of an acknowledgement's payload.
pub const ACK_BYTES: usize = 8 + 8 * limits::MAX_LANES;

/// What is durable at the receiver. Cumulative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The counter of the newest mark that it has.
    pub mark: u64,
    /// How many lanes follow.
    pub lanes: u16,
    /// For each lane, the position that it expects next.
    pub stored: [u64; limits::MAX_LANES],
}

impl Ack {
    /// Bytes of this payload.
    pub fn bytes(&self) -> usize {
        8 + 8 * usize::from(self.lanes)
    }

    /// The first lane in which the partner has more than the owner, whose `heads` these are: it sends
    /// nothing that is not durable in its own log, so that has lost something.
    pub fn ahead(&self, heads: impl Iterator<Item = u64>) -> Option<u16> {
        let ends = (0..self.lanes).map(|lane| (lane, self.at(lane)));
        let mut both = ends.zip(heads);
        both.find_map(|((lane, end), head)| (end > head).then_some(lane))
    }

    /// Whether an owner with these `heads`, whose newest mark has the counter `mark`, can have sent what
    /// this says is durable. If not, its partner is not to be believed: writes would be acknowledged that
    /// only one node has.
    pub fn can_be(&self, heads: impl Iterator<Item = u64>, mark: u64) -> bool {
        // The first mark of a reign is sent before it counts here.
        self.ahead(heads).is_none() && self.mark <= mark.saturating_add(1)
    }

    /// The position that is expected next in this lane.
    pub fn at(&self, lane: u16) -> u64 {
        self.stored.get(usize::from(lane)).copied().unwrap_or(0)
    }

    /// Writes the payload to the front of `to`.
    pub fn seal<'a>(&self, to: &'a mut [u8; ACK_BYTES]) -> &'a [u8] {
        let lanes = self.stored.iter().take(usize::from(self.lanes));
        let words = core::iter::once(&self.mark).chain(lanes);
        for (d, w) in to.chunks_exact_mut(8).zip(words) {
            d.copy_from_slice(&w.to_le_bytes());
        }
        to.get(..self.bytes()).unwrap_or(&[])
    }

    /// Reads a payload; `lanes` is what the geometry says.
    pub fn open(bytes: &[u8], lanes: u16) -> Result<Ack, FrameError> {
        let mut ack = Ack {
            mark: 0,
            lanes,
            stored: [0; limits::MAX_LANES],
        };
        if usize::from(lanes) > limits::MAX_LANES || bytes.len() != ack.bytes() {
            return Err(FrameError::Field);
        }
        let words = core::iter::once(&mut ack.mark).chain(ack.stored.iter_mut());
        for (s, w) in bytes.chunks_exact(8).zip(words) {
            let mut b = [0u8; 8];
            b.copy_from_slice(s);
            *w = u64::from_le_bytes(b);
        }
        Ok(ack)
    }
}

/// The bytes of a mark as the payload of BEGIN and MARK.
pub fn mark_payload(mark: &Mark, crc: Crc, key: crate::format::Key) -> [u8; MARK_BYTES] {
    mark.seal(crc, key)
}
