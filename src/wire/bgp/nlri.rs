//! Prefixes as UPDATEs carry them (RFC 4271 §4.3), and MP_REACH_NLRI and MP_UNREACH_NLRI around them (RFC 4760 §3, §4).
//!
//! ```text
//!  prefix:   length in bits │ as many octets as that needs
//!  reach:    AFI (2) │ SAFI │ length of next hop │ next hop │ 0 │ prefixes
//!  unreach:  AFI (2) │ SAFI │ prefixes
//! ```
//!
//! Only unicast of the two families becomes values; bits behind a prefix's length are ignored when read and 0 when written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{AfiSafi, Codec};
use crate::addr::{Family, Prefix};
use crate::wire::{DecodeError, Reader};

/// Prefixes of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Nlri {
    /// IPv4 unicast.
    V4(Vec<Ipv4Net>),
    /// IPv6 unicast.
    V6(Vec<Ipv6Net>),
}

impl Nlri {
    /// No prefixes.
    pub fn none(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Vec::new()),
            Family::V6 => Self::V6(Vec::new()),
        }
    }

    /// The family.
    pub fn family(&self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }

    /// Adds `prefix` if it is of the family.
    pub fn push(&mut self, prefix: Prefix) {
        match (self, prefix.first()) {
            (Self::V4(prefixes), IpAddr::V4(first)) => prefixes.push(Ipv4Net::new_assert(first, prefix.length())),
            (Self::V6(prefixes), IpAddr::V6(first)) => prefixes.push(Ipv6Net::new_assert(first, prefix.length())),
            (Self::V4(_), IpAddr::V6(_)) | (Self::V6(_), IpAddr::V4(_)) => {}
        }
    }

    /// Every prefix.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        let (v4, v6): (&[Ipv4Net], &[Ipv6Net]) = match self {
            Self::V4(prefixes) => (prefixes, &[]),
            Self::V6(prefixes) => (&[], prefixes),
        };
        v4.iter().map(|net| Prefix::new((*net).into())).chain(v6.iter().map(|net| Prefix::new((*net).into())))
    }

    /// How many prefixes.
    pub fn len(&self) -> usize {
        match self {
            Self::V4(prefixes) => prefixes.len(),
            Self::V6(prefixes) => prefixes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `None`: not a list of prefixes.
    fn decode(family: Family, bytes: &[u8]) -> Option<Self> {
        match family {
            Family::V4 => decode_v4(bytes).map(Self::V4),
            Family::V6 => prefixes::<16>(bytes)?
                .map(|(octets, length)| Some(Ipv6Net::new(octets.into(), length).ok()?.trunc()))
                .collect::<Option<_>>()
                .map(Self::V6),
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::V4(prefixes) => encode_v4(prefixes, bytes),
            Self::V6(prefixes) => {
                prefixes.iter().for_each(|net| encode_prefix(&net.trunc().addr().octets(), net.prefix_len(), bytes));
            }
        }
    }

    /// What MP_UNREACH_NLRI says; `None`: of another address family.
    pub(super) fn decode_unreachable(value: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(value);
        let family = AfiSafi { afi: reader.u16()?, safi: reader.u8()? };
        let Some(family) = family.family() else { return Ok(None) };
        Self::decode(family, reader.rest()).map(Some).ok_or(DecodeError::Field("NLRI"))
    }

    /// The value of MP_UNREACH_NLRI.
    pub(super) fn encode_unreachable(&self, bytes: &mut Vec<u8>) {
        let AfiSafi { afi, safi } = self.family().into();
        bytes.extend(afi.to_be_bytes());
        bytes.push(safi);
        self.encode(bytes);
    }
}

/// How many octets `prefix` takes.
pub fn encoded_length(prefix: Prefix) -> usize {
    1 + usize::from(prefix.length().div_ceil(8))
}

/// Network Address of Next Hop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NextHop {
    /// Of an IPv4 route.
    V4(Ipv4Addr),
    /// Of an IPv6 route, or of an IPv4 route (RFC 8950).
    V6(Ipv6Addr),
    /// Of the same, with the link-local address of the same router behind (RFC 2545 §3).
    V6LinkLocal(Ipv6Addr, Ipv6Addr),
}

impl NextHop {
    /// Of the length its family may have, by what was negotiated.
    fn decode(family: Family, bytes: &[u8], codec: &Codec) -> Option<Self> {
        let v6 = family == Family::V6 || codec.extended_next_hop;
        let mut reader = Reader::new(bytes);
        match bytes.len() {
            4 if family == Family::V4 => Some(Self::V4(reader.array::<4>().ok()?.into())),
            16 if v6 => Some(Self::V6(reader.array::<16>().ok()?.into())),
            32 if v6 => Some(Self::V6LinkLocal(reader.array::<16>().ok()?.into(), reader.array::<16>().ok()?.into())),
            _ => None,
        }
    }

    fn encode(self, bytes: &mut Vec<u8>) {
        match self {
            Self::V4(address) => {
                bytes.push(4);
                bytes.extend(address.octets());
            }
            Self::V6(address) => {
                bytes.push(16);
                bytes.extend(address.octets());
            }
            Self::V6LinkLocal(address, link_local) => {
                bytes.push(32);
                bytes.extend(address.octets());
                bytes.extend(link_local.octets());
            }
        }
    }
}

/// What MP_REACH_NLRI says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reachable {
    /// Through whom.
    pub next_hop: NextHop,
    /// What.
    pub nlri: Nlri,
}

impl Reachable {
    /// `None`: of another address family.
    pub(super) fn decode(value: &[u8], codec: &Codec) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(value);
        let family = AfiSafi { afi: reader.u16()?, safi: reader.u8()? };
        let length = reader.u8()?;
        let next_hop = reader.bytes(length.into())?;
        let _reserved = reader.u8()?;
        let Some(family) = family.family() else { return Ok(None) };
        let next_hop = NextHop::decode(family, next_hop, codec).ok_or(DecodeError::Field("length of the next hop"))?;
        let nlri = Nlri::decode(family, reader.rest()).ok_or(DecodeError::Field("NLRI"))?;
        Ok(Some(Self { next_hop, nlri }))
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let AfiSafi { afi, safi } = self.nlri.family().into();
        bytes.extend(afi.to_be_bytes());
        bytes.push(safi);
        self.next_hop.encode(bytes);
        bytes.push(0);
        self.nlri.encode(bytes);
    }
}

/// Withdrawn Routes, or Network Layer Reachability Information.
pub(super) fn decode_v4(bytes: &[u8]) -> Option<Vec<Ipv4Net>> {
    prefixes::<4>(bytes)?.map(|(octets, length)| Some(Ipv4Net::new(octets.into(), length).ok()?.trunc())).collect()
}

pub(super) fn encode_v4(prefixes: &[Ipv4Net], bytes: &mut Vec<u8>) {
    prefixes.iter().for_each(|net| encode_prefix(&net.trunc().addr().octets(), net.prefix_len(), bytes));
}

fn encode_prefix(octets: &[u8], length: u8, bytes: &mut Vec<u8>) {
    bytes.push(length);
    bytes.extend(octets.iter().take(length.div_ceil(8).into()));
}

/// Addresses of `N` octets with their lengths; `None` if a length is too large or the bytes end within a prefix.
fn prefixes<const N: usize>(bytes: &[u8]) -> Option<impl Iterator<Item = ([u8; N], u8)>> {
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        next_prefix::<N>(&mut reader)?;
    }
    let mut reader = Reader::new(bytes);
    Some(std::iter::from_fn(move || next_prefix(&mut reader)))
}

fn next_prefix<const N: usize>(reader: &mut Reader<'_>) -> Option<([u8; N], u8)> {
    let length = reader.u8().ok()?;
    let mut octets = [0; N];
    let place = octets.get_mut(..length.div_ceil(8).into())?;
    place.copy_from_slice(reader.bytes(place.len()).ok()?);
    Some((octets, length))
}
