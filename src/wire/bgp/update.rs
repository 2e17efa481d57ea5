//! UPDATE (RFC 4271 §4.3), read by the revised rules of RFC 7606.
//!
//! ```text
//!  length (2) │ withdrawn routes │ length (2) │ path attributes │ reachable IPv4 prefixes
//! ```
//!
//! There are three ways for an UPDATE to be wrong, and the type says which: `Err` is the session reset; a [`Fault`] either discards one
//! attribute or has every route of the message treated as withdrawn. Attributes that a fault is about are not in the value.

use ipnet::Ipv4Net;

use super::attributes::{self, AS_PATH, MP_REACH_NLRI, MP_UNREACH_NLRI, NEXT_HOP, OPTIONAL, ORIGIN};
use super::{Attributes, Code, Codec, DecodeError, Nlri, Reachable, UPDATE, nlri};
use crate::addr::Family;
use crate::wire::Reader;

/// An UPDATE.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    /// Withdrawn Routes.
    pub withdrawn: Vec<Ipv4Net>,
    /// MP_UNREACH_NLRI.
    pub unreachable: Option<Nlri>,
    /// MP_REACH_NLRI.
    pub reachable: Option<Reachable>,
    /// All other path attributes.
    pub attributes: Attributes,
    /// Network Layer Reachability Information.
    pub nlri: Vec<Ipv4Net>,
}

/// What RFC 7606 §2 does about an error, short of a session reset. The stronger one is the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reaction {
    /// The attribute counts as absent.
    AttributeDiscard,
    /// Every route of the message counts as withdrawn.
    TreatAsWithdraw,
}

/// An error that the session survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("path attribute {attribute}: {what}")]
pub struct Fault {
    /// The attribute's type; 0: of the attributes as a whole.
    pub attribute: u8,
    /// What follows from it.
    pub reaction: Reaction,
    /// In words.
    pub what: &'static str,
}

impl Update {
    /// End-of-RIB (RFC 4724 §2).
    pub fn end_of_rib(family: Family) -> Self {
        let unreachable = (family == Family::V6).then(|| Nlri::none(family));
        Self { unreachable, ..Self::default() }
    }

    pub(super) fn decode(body: &[u8], codec: &Codec) -> Result<(Self, Vec<Fault>), DecodeError> {
        let mut reader = Reader::new(body);
        let mut section = || reader.u16().and_then(|length| reader.bytes(length.into()));
        let lengths = |_| DecodeError::new(Code::MALFORMED_ATTRIBUTE_LIST, [], "the lengths within the UPDATE exceed its own");
        let (withdrawn, attributes) = (section().map_err(lengths)?, section().map_err(lengths)?);
        let prefixes = |bytes| {
            nlri::decode_v4(bytes).ok_or_else(|| DecodeError::new(Code::INVALID_NETWORK_FIELD, [], "a prefix that is none (RFC 7606 §5.3)"))
        };
        let update = Self { withdrawn: prefixes(withdrawn)?, nlri: prefixes(reader.rest())?, ..Self::default() };
        let mut reading = Reading { update, faults: Vec::new(), seen: [false; 256], codec };
        reading.attributes(attributes)?;
        reading.whole()?;
        Ok((reading.update, reading.faults))
    }

    /// The two attributes of RFC 4760 go first (RFC 7606 §5.1).
    pub(super) fn encode(&self, codec: &Codec, bytes: &mut Vec<u8>) -> u8 {
        section(bytes, |bytes| nlri::encode_v4(&self.withdrawn, bytes));
        section(bytes, |bytes| {
            let mut value = Vec::new();
            if let Some(reachable) = &self.reachable {
                reachable.encode(&mut value);
                attributes::encode(OPTIONAL, MP_REACH_NLRI, &value, bytes);
                value.clear();
            }
            if let Some(unreachable) = &self.unreachable {
                unreachable.encode_unreachable(&mut value);
                attributes::encode(OPTIONAL, MP_UNREACH_NLRI, &value, bytes);
            }
            self.attributes.encode(codec, bytes);
        });
        nlri::encode_v4(&self.nlri, bytes);
        UPDATE
    }
}

/// Two octets of length and what they count. More than they can count makes the message too long, which its encoder notices.
fn section(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend([0, 0]);
    write(bytes);
    let length = u16::try_from(bytes.len() - start - 2).unwrap_or(u16::MAX);
    bytes[start..start + 2].copy_from_slice(&length.to_be_bytes());
}

/// The path attributes of one UPDATE while they are read.
struct Reading<'a> {
    update: Update,
    faults: Vec<Fault>,
    /// The types that were there.
    seen: [bool; 256],
    codec: &'a Codec,
}

impl Reading<'_> {
    fn withdraw(&mut self, attribute: u8, what: &'static str) {
        self.faults.push(Fault { attribute, reaction: Reaction::TreatAsWithdraw, what });
    }

    fn attributes(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        while !reader.rest().is_empty() {
            let start = reader.rest();
            let Some((flags, kind, value)) = attributes::next(&mut reader) else {
                // RFC 7606 §4: the total length is relied upon, so the prefixes behind are known all the same.
                self.seen[0] = true;
                self.withdraw(0, "the last one exceeds the length of all");
                return Ok(());
            };
            let raw = &start[..start.len() - reader.rest().len()];
            self.attribute(flags, kind, value, raw)?;
        }
        Ok(())
    }

    fn attribute(&mut self, flags: u8, kind: u8, value: &[u8], raw: &[u8]) -> Result<(), DecodeError> {
        let multiprotocol = matches!(kind, MP_REACH_NLRI | MP_UNREACH_NLRI);
        if std::mem::replace(&mut self.seen[usize::from(kind)], true) {
            // RFC 7606 §3 g
            if multiprotocol {
                return Err(DecodeError::new(Code::MALFORMED_ATTRIBUTE_LIST, [], "MP_REACH_NLRI or MP_UNREACH_NLRI stands there twice"));
            }
            self.faults.push(Fault { attribute: kind, reaction: Reaction::AttributeDiscard, what: "it stands there twice" });
            return Ok(());
        }
        if !attributes::is_recognized(kind, flags) {
            return Err(DecodeError::new(Code::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE, raw, "an unknown attribute that is not optional"));
        }
        if multiprotocol {
            self.multiprotocol(kind, value, raw)?;
        }
        if !attributes::has_right_flags(kind, flags) {
            self.withdraw(kind, "its flags are not those of its type");
        } else if !multiprotocol && let Err(fault) = self.update.attributes.take(kind, flags, value, self.codec) {
            self.faults.push(fault);
        }
        Ok(())
    }

    /// RFC 7606 §7.11, §7.12: where the prefixes cannot be relied upon, nothing can.
    fn multiprotocol(&mut self, kind: u8, value: &[u8], raw: &[u8]) -> Result<(), DecodeError> {
        let error = |_| DecodeError::new(Code::OPTIONAL_ATTRIBUTE_ERROR, raw, "a malformed MP_REACH_NLRI or MP_UNREACH_NLRI");
        let known = if kind == MP_REACH_NLRI {
            self.update.reachable = Reachable::decode(value, self.codec).map_err(error)?;
            self.update.reachable.is_some()
        } else {
            self.update.unreachable = Nlri::decode_unreachable(value).map_err(error)?;
            self.update.unreachable.is_some()
        };
        if !known {
            let other = attributes::Other { flags: OPTIONAL, kind, value: value.to_vec() };
            self.update.attributes.others.push(other);
        }
        Ok(())
    }

    /// What only all attributes together can show.
    fn whole(&mut self) -> Result<(), DecodeError> {
        if !self.update.nlri.is_empty() || self.seen[usize::from(MP_REACH_NLRI)] {
            // RFC 7606 §3 d
            for (kind, what) in [(ORIGIN, "there is no ORIGIN"), (AS_PATH, "there is no AS_PATH")] {
                if !self.seen[usize::from(kind)] {
                    self.withdraw(kind, what);
                }
            }
            if !self.update.nlri.is_empty() && !self.seen[usize::from(NEXT_HOP)] {
                self.withdraw(NEXT_HOP, "there is no NEXT_HOP");
            }
            return Ok(());
        }
        // RFC 7606 §5.2: attributes without a reachable route, one of them wrong: the routes may be what was not understood.
        let only_withdraws = self.seen.iter().enumerate().all(|(kind, seen)| !seen || kind == usize::from(MP_UNREACH_NLRI));
        let worst = self.faults.iter().map(|fault| fault.reaction).max();
        if worst == Some(Reaction::TreatAsWithdraw) && !only_withdraws {
            return Err(DecodeError::new(Code::MALFORMED_ATTRIBUTE_LIST, [], "a malformed attribute and no route that it belongs to"));
        }
        Ok(())
    }
}
