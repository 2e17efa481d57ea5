//! Path attributes (RFC 4271 §4.3, §5; communities RFC 1997 and RFC 8092), and what RFC 7606 §7 says about each that is malformed.
//!
//! ```text
//!  Optional │ Transitive │ Partial │ Extended Length │ 0000       type       length (1, or 2 if extended)       value
//! ```
//!
//! Those that an announce-only speaker sends are fields; every other one is checked and kept as it came.

use std::net::Ipv4Addr;

use super::update::{Fault, Reaction};
use super::{AS_TRANS, Codec, u32_of};
use crate::wire::Reader;

pub(super) const ORIGIN: u8 = 1;
pub(super) const AS_PATH: u8 = 2;
pub(super) const NEXT_HOP: u8 = 3;
const MULTI_EXIT_DISC: u8 = 4;
const LOCAL_PREF: u8 = 5;
const ATOMIC_AGGREGATE: u8 = 6;
const AGGREGATOR: u8 = 7;
const COMMUNITIES: u8 = 8;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
pub(super) const MP_REACH_NLRI: u8 = 14;
pub(super) const MP_UNREACH_NLRI: u8 = 15;
const EXTENDED_COMMUNITIES: u8 = 16;
const AS4_PATH: u8 = 17;
const AS4_AGGREGATOR: u8 = 18;
const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
const LARGE_COMMUNITIES: u8 = 32;

pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
const PARTIAL: u8 = 0x20;
const EXTENDED_LENGTH: u8 = 0x10;

/// ORIGIN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Origin {
    /// 0
    #[default]
    Igp,
    /// 1
    Egp,
    /// 2
    Incomplete,
}

/// The kinds of path segments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SegmentKind {
    /// 1: AS_SET
    Set,
    /// 2: AS_SEQUENCE
    Sequence,
    /// 3: AS_CONFED_SEQUENCE (RFC 5065)
    ConfedSequence,
    /// 4: AS_CONFED_SET
    ConfedSet,
}

/// One segment of AS_PATH.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Segment {
    /// Its type.
    pub kind: SegmentKind,
    /// Never empty when decoded. More than 255 are written as several segments.
    pub asns: Vec<u32>,
}

/// A large community (RFC 8092): Global Administrator and two parts of local data.
pub type LargeCommunity = (u32, u32, u32);

/// An attribute that is no field of [`Attributes`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Other {
    /// Optional, Transitive, Partial: the three upper bits.
    pub flags: u8,
    /// Its type.
    pub kind: u8,
    /// Its value.
    pub value: Vec<u8>,
}

/// All attributes except the two of RFC 4760.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Option<Origin>,
    /// AS_PATH. Where AS numbers have two octets, larger ones are written as [`AS_TRANS`] and the whole once more as AS4_PATH.
    pub as_path: Option<Vec<Segment>>,
    /// NEXT_HOP, of the IPv4 routes behind the attributes.
    pub next_hop: Option<Ipv4Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF; between routers of one AS only.
    pub local_pref: Option<u32>,
    /// COMMUNITIES; empty: the attribute is not there.
    pub communities: Vec<u32>,
    /// LARGE_COMMUNITY; empty: the attribute is not there.
    pub large_communities: Vec<LargeCommunity>,
    /// Others, in order.
    pub others: Vec<Other>,
}

/// Whether the flags Optional and Transitive of a known attribute are `flags` (RFC 7606 §3 c).
pub(super) fn has_right_flags(kind: u8, flags: u8) -> bool {
    let right = match kind {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => TRANSITIVE,
        MULTI_EXIT_DISC | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI => OPTIONAL,
        AGGREGATOR | COMMUNITIES | EXTENDED_COMMUNITIES | AS4_PATH | AS4_AGGREGATOR | IPV6_EXTENDED_COMMUNITIES | LARGE_COMMUNITIES => {
            OPTIONAL | TRANSITIVE
        }
        _ => return true,
    };
    flags & (OPTIONAL | TRANSITIVE) == right
}

/// Whether an attribute of this type is known or optional; others are an error (RFC 4271 §6.3).
pub(super) fn is_recognized(kind: u8, flags: u8) -> bool {
    matches!(kind, ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE) || flags & OPTIONAL != 0
}

impl Attributes {
    /// Takes one attribute in, or says what RFC 7606 §7 does about it.
    pub(super) fn take(&mut self, kind: u8, flags: u8, value: &[u8], codec: &Codec) -> Result<(), Fault> {
        let withdraw = |what| Fault { attribute: kind, reaction: Reaction::TreatAsWithdraw, what };
        let discard = |what| Fault { attribute: kind, reaction: Reaction::AttributeDiscard, what };
        let number = || value.try_into().map(u32::from_be_bytes).map_err(|_| withdraw("its length is not 4"));
        match kind {
            ORIGIN => self.origin = Some(origin(value).map_err(withdraw)?),
            AS_PATH => self.as_path = Some(as_path(value, codec).map_err(withdraw)?),
            NEXT_HOP => self.next_hop = Some(next_hop(value).map_err(withdraw)?),
            MULTI_EXIT_DISC => self.med = Some(number()?),
            LOCAL_PREF | ORIGINATOR_ID | CLUSTER_LIST if !codec.internal => return Err(discard("it came from another AS")),
            LOCAL_PREF => self.local_pref = Some(number()?),
            COMMUNITIES => self.communities = list(value, u32::from_be_bytes).map_err(withdraw)?,
            LARGE_COMMUNITIES => self.large_communities = list(value, large_community).map_err(withdraw)?,
            _ => {
                other(kind, value, codec).map_err(|(reaction, what)| Fault { attribute: kind, reaction, what })?;
                self.others.push(Other { flags: flags & (OPTIONAL | TRANSITIVE | PARTIAL), kind, value: value.to_vec() });
            }
        }
        Ok(())
    }

    /// Appends all, by ascending type as RFC 4271 §5 asks for, then the others.
    pub(super) fn encode(&self, codec: &Codec, bytes: &mut Vec<u8>) {
        if let Some(origin) = self.origin {
            encode(TRANSITIVE, ORIGIN, &[origin as u8], bytes);
        }
        if let Some(path) = &self.as_path {
            encode(TRANSITIVE, AS_PATH, &path_value(path, codec.four_octet_as), bytes);
        }
        if let Some(next_hop) = self.next_hop {
            encode(TRANSITIVE, NEXT_HOP, &next_hop.octets(), bytes);
        }
        if let Some(med) = self.med {
            encode(OPTIONAL, MULTI_EXIT_DISC, &med.to_be_bytes(), bytes);
        }
        if let Some(local_pref) = self.local_pref {
            encode(TRANSITIVE, LOCAL_PREF, &local_pref.to_be_bytes(), bytes);
        }
        if !self.communities.is_empty() {
            let value: Vec<u8> = self.communities.iter().flat_map(|community| community.to_be_bytes()).collect();
            encode(OPTIONAL | TRANSITIVE, COMMUNITIES, &value, bytes);
        }
        if let Some(path) = self.as_path.as_deref().filter(|path| !codec.four_octet_as && needs_four_octets(path)) {
            encode(OPTIONAL | TRANSITIVE, AS4_PATH, &path_value(path, true), bytes);
        }
        if !self.large_communities.is_empty() {
            let value: Vec<u8> = self.large_communities.iter().flat_map(|(a, b, c)| [*a, *b, *c]).flat_map(u32::to_be_bytes).collect();
            encode(OPTIONAL | TRANSITIVE, LARGE_COMMUNITIES, &value, bytes);
        }
        for Other { flags, kind, value } in &self.others {
            encode(*flags, *kind, value, bytes);
        }
    }
}

/// The Link Bandwidth extended community (draft-ietf-idr-link-bandwidth §2), in octets per second: the share of flows that a router sends
/// over this route, among equal ones that all say so.
pub fn link_bandwidth(asn: u32, octets_per_second: f32) -> Other {
    // Non-transitive, of a two-octet AS (RFC 4360 §3.1).
    let mut value = vec![0x40, 0x04];
    value.extend(u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes());
    value.extend(octets_per_second.to_be_bytes());
    Other { flags: OPTIONAL | TRANSITIVE, kind: EXTENDED_COMMUNITIES, value }
}

/// Appends one attribute. A value that not even the extended length can hold makes the message too long, which its encoder notices.
pub(super) fn encode(flags: u8, kind: u8, value: &[u8], bytes: &mut Vec<u8>) {
    match u8::try_from(value.len()) {
        Ok(length) => bytes.extend([flags & !EXTENDED_LENGTH, kind, length]),
        Err(_) => {
            bytes.extend([flags | EXTENDED_LENGTH, kind]);
            bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    bytes.extend(value);
}

/// The next attribute: flags, type, value; `None`: the octets do not suffice (RFC 7606 §4).
pub(super) fn next<'a>(reader: &mut Reader<'a>) -> Option<(u8, u8, &'a [u8])> {
    let (flags, kind) = (reader.u8().ok()?, reader.u8().ok()?);
    let length = if flags & EXTENDED_LENGTH != 0 { reader.u16().ok()? } else { reader.u8().ok()?.into() };
    Some((flags, kind, reader.bytes(length.into()).ok()?))
}

/// RFC 7606 §7.1
fn origin(value: &[u8]) -> Result<Origin, &'static str> {
    match value {
        [0] => Ok(Origin::Igp),
        [1] => Ok(Origin::Egp),
        [2] => Ok(Origin::Incomplete),
        [_] => Err("its value is undefined"),
        _ => Err("its length is not 1"),
    }
}

/// RFC 7606 §7.2, RFC 7607 §2 (AS 0), RFC 5065 §5 (segments of a confederation from outside it).
fn as_path(value: &[u8], codec: &Codec) -> Result<Vec<Segment>, &'static str> {
    let mut reader = Reader::new(value);
    let mut path = Vec::new();
    while !reader.rest().is_empty() {
        let cut = |_| "a segment is cut short";
        let kind = match reader.u8().map_err(cut)? {
            1 => SegmentKind::Set,
            2 => SegmentKind::Sequence,
            3 if codec.internal => SegmentKind::ConfedSequence,
            4 if codec.internal => SegmentKind::ConfedSet,
            3 | 4 => return Err("a segment of a confederation came from outside"),
            _ => return Err("a segment has an unknown type"),
        };
        let count = reader.u8().map_err(cut)?;
        if count == 0 {
            return Err("a segment is empty");
        }
        let asn = |reader: &mut Reader<'_>| if codec.four_octet_as { u32_of(reader) } else { reader.u16().map(u32::from) };
        let asns: Vec<u32> = (0..count).map(|_| asn(&mut reader).map_err(cut)).collect::<Result<_, _>>()?;
        if asns.contains(&0) {
            return Err("it holds AS 0");
        }
        path.push(Segment { kind, asns });
    }
    Ok(path)
}

fn needs_four_octets(path: &[Segment]) -> bool {
    path.iter().flat_map(|segment| &segment.asns).any(|asn| u16::try_from(*asn).is_err())
}

fn path_value(path: &[Segment], four_octets: bool) -> Vec<u8> {
    let mut value = Vec::new();
    for Segment { kind, asns } in path {
        for asns in asns.chunks(255) {
            value.extend([*kind as u8 + 1, u8::try_from(asns.len()).expect("at most 255")]);
            for asn in asns {
                match four_octets {
                    true => value.extend(asn.to_be_bytes()),
                    false => value.extend(u16::try_from(*asn).unwrap_or(AS_TRANS).to_be_bytes()),
                }
            }
        }
    }
    value
}

/// RFC 7606 §7.3, and "a valid IP host address" (RFC 4271 §6.3).
fn next_hop(value: &[u8]) -> Result<Ipv4Addr, &'static str> {
    let octets: [u8; 4] = value.try_into().map_err(|_| "its length is not 4")?;
    let address = Ipv4Addr::from(octets);
    let host = !(address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback());
    if host { Ok(address) } else { Err("it is not the address of a host") }
}

/// RFC 7606 §7.8, RFC 8092 §6: a multiple of the length of one, and not 0.
fn list<const N: usize, T>(value: &[u8], one: impl Fn([u8; N]) -> T) -> Result<Vec<T>, &'static str> {
    match value.as_chunks::<N>() {
        (chunks, []) if !chunks.is_empty() => Ok(chunks.iter().map(|chunk| one(*chunk)).collect()),
        _ => Err("its length is not a multiple of that of one community, or 0"),
    }
}

fn large_community(octets: [u8; 12]) -> LargeCommunity {
    let (parts, _) = octets.as_chunks::<4>();
    let part = |n: usize| u32::from_be_bytes(parts[n]);
    (part(0), part(1), part(2))
}

/// The attributes that are checked and kept.
fn other(kind: u8, value: &[u8], codec: &Codec) -> Result<(), (Reaction, &'static str)> {
    let multiple = |of: usize| !value.is_empty() && value.len().is_multiple_of(of);
    let asn_length = if codec.four_octet_as { 4 } else { 2 };
    match kind {
        // RFC 7606 §7.6
        ATOMIC_AGGREGATE if !value.is_empty() => Err((Reaction::AttributeDiscard, "its length is not 0")),
        // RFC 7606 §7.7, RFC 7607 §2
        AGGREGATOR if value.len() != asn_length + 4 => Err((Reaction::AttributeDiscard, "its length is not that of an AS and an address")),
        AGGREGATOR if value.iter().take(asn_length).all(|octet| *octet == 0) => Err((Reaction::AttributeDiscard, "it holds AS 0")),
        // RFC 7606 §7.9, §7.10
        ORIGINATOR_ID if value.len() != 4 => Err((Reaction::TreatAsWithdraw, "its length is not 4")),
        CLUSTER_LIST if !multiple(4) => Err((Reaction::TreatAsWithdraw, "its length is not a multiple of 4, or 0")),
        // RFC 7606 §7.14, §7.15
        EXTENDED_COMMUNITIES if !multiple(8) => Err((Reaction::TreatAsWithdraw, "its length is not a multiple of 8, or 0")),
        IPV6_EXTENDED_COMMUNITIES if !multiple(20) => Err((Reaction::TreatAsWithdraw, "its length is not a multiple of 20, or 0")),
        // RFC 6793 §4.1: meaningless where AS numbers have four octets; §6: malformed ones are discarded too.
        AS4_PATH | AS4_AGGREGATOR if codec.four_octet_as => Err((Reaction::AttributeDiscard, "AS numbers have four octets already")),
        AS4_PATH if as_path(value, &Codec { four_octet_as: true, ..*codec }).is_err() => {
            Err((Reaction::AttributeDiscard, "it is malformed"))
        }
        AS4_AGGREGATOR if value.len() != 8 => Err((Reaction::AttributeDiscard, "its length is not 8")),
        _ => Ok(()),
    }
}
