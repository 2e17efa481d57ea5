//! BGP-4 (RFC 4271 §4): the header, and which message it heads.
//!
//! ```text
//!  Marker (16) = all ones │ Length (2) │ Type (1) │ body      Length 19..=4096, or 65535 with Extended Messages (RFC 8654)
//! ```
//!
//! The bytes come from a stream: [`Message::split`] finds the first message of a buffer and refuses a wrong header before the body is
//! there, so nobody has to buffer what no message can be. What is wrong is told as a [`DecodeError`], and that *is* the NOTIFICATION
//! that RFC 4271 §6 wants for it; what RFC 7606 lets a session survive is a [`Fault`]. Values take at most a constant times the
//! message's length. What decodes is written back as a message that decodes to the same.

mod attributes;
mod capability;
mod nlri;
mod notification;
mod open;
mod update;

use crate::addr::Family;

pub use self::attributes::{Attributes, LargeCommunity, Origin, Other, Segment, SegmentKind, link_bandwidth};
pub use self::capability::{Capability, ExtendedNextHop, RestartFamily};
pub use self::nlri::{NextHop, Nlri, Reachable, encoded_length};
pub use self::notification::{Code, Notification};
pub use self::open::Open;
pub use self::update::{Fault, Reaction, Update};

use super::Reader;

/// TCP port.
pub const PORT: u16 = 179;
/// Length of the header.
pub const HEADER: usize = 19;
/// The longest message without Extended Messages.
pub const LONGEST: usize = 4096;
/// The longest UPDATE, NOTIFICATION or ROUTE-REFRESH with Extended Messages (RFC 8654).
pub const LONGEST_EXTENDED: usize = 65535;
/// Stands where two octets cannot hold an AS number (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;
/// GRACEFUL_SHUTDOWN (RFC 8326 §2), 65535:0.
pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

const MARKER: [u8; 16] = [0xff; 16];
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;
const ROUTE_REFRESH: u8 = 5;

/// An Address Family Identifier and a Subsequent one (RFC 4760 §3), whatever they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AfiSafi {
    /// AFI: 1 is IPv4, 2 is IPv6.
    pub afi: u16,
    /// SAFI: 1 is unicast.
    pub safi: u8,
}

impl AfiSafi {
    /// The family, if this is its unicast.
    pub fn family(self) -> Option<Family> {
        match (self.afi, self.safi) {
            (1, 1) => Some(Family::V4),
            (2, 1) => Some(Family::V6),
            _ => None,
        }
    }
}

impl From<Family> for AfiSafi {
    /// Unicast.
    fn from(family: Family) -> Self {
        Self { afi: afi(family), safi: 1 }
    }
}

/// The family's AFI.
pub fn afi(family: Family) -> u16 {
    match family {
        Family::V4 => 1,
        Family::V6 => 2,
    }
}

/// What the two OPENs agreed on, as far as it changes how messages are read and written. Default: what holds before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Codec {
    /// We announced Extended Messages (RFC 8654): longer ones are taken.
    pub takes_extended: bool,
    /// The peer announced them: longer ones may be sent.
    pub sends_extended: bool,
    /// AS_PATH and AGGREGATOR hold four octets per AS number (RFC 6793).
    pub four_octet_as: bool,
    /// IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer is of our AS: LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST mean something.
    pub internal: bool,
}

impl Codec {
    /// The longest UPDATE that may be sent.
    pub fn longest(&self) -> usize {
        if self.sends_extended { LONGEST_EXTENDED } else { LONGEST }
    }
}

/// Why a message is refused, and the answer to it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}")]
pub struct DecodeError {
    /// What RFC 4271 §6 and its successors want sent.
    pub notification: Notification,
    /// In words.
    pub what: &'static str,
}

impl DecodeError {
    fn new(code: Code, data: impl Into<Vec<u8>>, what: &'static str) -> Self {
        Self { notification: Notification { code, data: data.into() }, what }
    }
}

/// A message does not fit into the longest one that may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message is too long")]
pub struct TooLong;

/// A message.
#[expect(clippy::large_enum_variant, reason = "the large one is the frequent one, and messages are not kept")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Type 1.
    Open(Open),
    /// Type 2.
    Update(Update),
    /// Type 3.
    Notification(Notification),
    /// Type 4.
    Keepalive,
    /// Type 5 (RFC 2918).
    RouteRefresh(RouteRefresh),
}

/// A message as received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// The message, without the attributes that RFC 7606 discards.
    pub message: Message,
    /// What RFC 7606 lets pass; only an UPDATE has any.
    pub faults: Vec<Fault>,
}

impl From<Message> for Received {
    fn from(message: Message) -> Self {
        Self { message, faults: Vec::new() }
    }
}

/// ROUTE-REFRESH (RFC 2918 §3, RFC 7313 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteRefresh {
    /// Of which routes.
    pub family: AfiSafi,
    /// Message Subtype.
    pub subtype: RefreshSubtype,
}

/// Message Subtype of ROUTE-REFRESH.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RefreshSubtype {
    /// 0: send all routes again.
    Request,
    /// 1: Beginning of Route Refresh (BoRR).
    Begin,
    /// 2: End of Route Refresh (EoRR).
    End,
    /// Any other; "MUST ignore" (RFC 7313 §5).
    Unknown(u8),
}

impl RefreshSubtype {
    fn of_octet(octet: u8) -> Self {
        match octet {
            0 => Self::Request,
            1 => Self::Begin,
            2 => Self::End,
            other => Self::Unknown(other),
        }
    }

    fn octet(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Begin => 1,
            Self::End => 2,
            Self::Unknown(octet) => octet,
        }
    }
}

impl Message {
    /// The first message in `buffer`: its bytes, header included; `None`: more are needed. A header that no message can have is
    /// refused as soon as it is there (RFC 4271 §6.1).
    pub fn split<'a>(buffer: &'a [u8], codec: &Codec) -> Result<Option<&'a [u8]>, DecodeError> {
        let marker = &buffer[..buffer.len().min(MARKER.len())];
        if marker.iter().any(|octet| *octet != 0xff) {
            return Err(DecodeError::new(Code::CONNECTION_NOT_SYNCHRONIZED, [], "the marker is not all ones"));
        }
        let Some([.., high, low, kind]) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u16::from_be_bytes([*high, *low]);
        check_length(length, *kind, codec)?;
        Ok(buffer.get(..usize::from(length)))
    }

    /// Reads one whole message, as [`split`](Self::split) gives it.
    pub fn decode(message: &[u8], codec: &Codec) -> Result<Received, DecodeError> {
        let whole = Self::split(message, codec)?.filter(|whole| whole.len() == message.len());
        let Some((header, body)) = whole.and_then(<[u8]>::split_first_chunk::<HEADER>) else {
            let data = message.get(16..18).unwrap_or_default();
            return Err(DecodeError::new(Code::BAD_MESSAGE_LENGTH, data, "the message is cut short"));
        };
        let message = match header[18] {
            OPEN => Self::Open(Open::decode(body)?),
            UPDATE => return Update::decode(body, codec).map(|(update, faults)| Received { message: Self::Update(update), faults }),
            NOTIFICATION => Self::Notification(Notification::decode(body)),
            KEEPALIVE => Self::Keepalive,
            _ => Self::RouteRefresh(RouteRefresh::decode(message, body)?),
        };
        Ok(message.into())
    }

    /// The bytes. Only an OPEN with capabilities without end and an UPDATE with more than fits can be too long.
    pub fn encode(&self, codec: &Codec) -> Result<Vec<u8>, TooLong> {
        let mut bytes = vec![0xff; HEADER];
        let (kind, longest) = match self {
            Self::Open(open) => (open.encode(&mut bytes)?, LONGEST),
            Self::Update(update) => (update.encode(codec, &mut bytes), codec.longest()),
            Self::Notification(notification) => (notification.encode(&mut bytes), LONGEST),
            Self::Keepalive => (KEEPALIVE, LONGEST),
            Self::RouteRefresh(refresh) => (refresh.encode(&mut bytes), LONGEST),
        };
        let length = u16::try_from(bytes.len()).ok().filter(|length| usize::from(*length) <= longest).ok_or(TooLong)?;
        bytes[16..18].copy_from_slice(&length.to_be_bytes());
        bytes[18] = kind;
        Ok(bytes)
    }
}

/// RFC 4271 §6.1, RFC 8654 §4.
fn check_length(length: u16, kind: u8, codec: &Codec) -> Result<(), DecodeError> {
    let longest = if codec.takes_extended { LONGEST_EXTENDED } else { LONGEST };
    let acceptable = match kind {
        OPEN => 29..=LONGEST,
        UPDATE => 23..=longest,
        NOTIFICATION => 21..=longest,
        KEEPALIVE => HEADER..=HEADER,
        // A wrong one has an error of its own (RFC 7313 §5), which wants the whole message.
        ROUTE_REFRESH => HEADER..=longest,
        _ if (HEADER..=longest).contains(&length.into()) => {
            return Err(DecodeError::new(Code::BAD_MESSAGE_TYPE, [kind], "there is no message of this type"));
        }
        _ => HEADER..=longest,
    };
    if acceptable.contains(&length.into()) {
        return Ok(());
    }
    Err(DecodeError::new(Code::BAD_MESSAGE_LENGTH, length.to_be_bytes(), "a message of this type cannot have this length"))
}

impl RouteRefresh {
    fn decode(message: &[u8], body: &[u8]) -> Result<Self, DecodeError> {
        if let [high, low, subtype, safi] = *body {
            let family = AfiSafi { afi: u16::from_be_bytes([high, low]), safi };
            return Ok(Self { family, subtype: RefreshSubtype::of_octet(subtype) });
        }
        let what = "ROUTE-REFRESH with anything but four octets";
        Err(match body.get(2) {
            Some(1 | 2) => DecodeError::new(Code::INVALID_MESSAGE_LENGTH, message, what),
            Some(_) | None => DecodeError::new(Code::BAD_MESSAGE_LENGTH, &message[16..18], what),
        })
    }

    fn encode(self, bytes: &mut Vec<u8>) -> u8 {
        bytes.extend(self.family.afi.to_be_bytes());
        bytes.extend([self.subtype.octet(), self.family.safi]);
        ROUTE_REFRESH
    }
}

/// The next four octets.
fn u32_of(reader: &mut Reader<'_>) -> Result<u32, super::DecodeError> {
    reader.array().map(u32::from_be_bytes)
}
