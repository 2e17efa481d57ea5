//! Neighbor Solicitation and Neighbor Advertisement (RFC 4861 §4.3, §4.4) with the IPv6 header around them (RFC 8200 §3).
//!
//! ```text
//!  IPv6 (40) │ type │ code=0 │ checksum (2) │ R S O + reserved (4) │ target (16) │ options: type, length/8, value
//! ```
//!
//! The IPv6 header belongs here because the checksum covers its addresses and because the validity rules of RFC 4861 §7.1.1 and
//! §7.1.2 speak of it. A message that breaks one of those rules is refused, so nobody who holds a [`Packet`] checks again.

use std::net::Ipv6Addr;

use super::ethernet::{self, ETHERTYPE_IPV6};
use super::{DecodeError, Reader};
use crate::addr::{MacAddr, solicited_node};

/// IPv6 Next Header of ICMPv6.
const ICMPV6: u8 = 58;
/// RFC 4861 §7.1: proof that no router forwarded the packet.
const HOP_LIMIT: u8 = 255;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

/// An IPv6 packet that carries one of the two messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// IPv6 source; `::` in a probe of duplicate address detection.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
    /// The message.
    pub message: Message,
}

/// An ICMPv6 message of neighbour discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Type 135.
    NeighborSolicitation {
        /// Who is asked for.
        target: Ipv6Addr,
        /// Option 1; absent in DAD probes, optional in unicast solicitations.
        source_link_layer_address: Option<MacAddr>,
    },
    /// Type 136.
    NeighborAdvertisement {
        /// R: the sender is a router.
        router: bool,
        /// S: the answer to a solicitation.
        solicited: bool,
        /// O: replace what is cached.
        override_: bool,
        /// Whose link-layer address is told.
        target: Ipv6Addr,
        /// Option 2.
        target_link_layer_address: Option<MacAddr>,
    },
}

impl Packet {
    /// Reads an IPv6 packet (what follows the Ethernet header) that is a valid solicitation or advertisement.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.array::<4>()?[0] >> 4 != 6 {
            return Err(DecodeError::Field("IP version"));
        }
        let length = reader.u16()?;
        if reader.u8()? != ICMPV6 {
            return Err(DecodeError::Field("next header"));
        }
        if reader.u8()? != HOP_LIMIT {
            return Err(DecodeError::Field("hop limit"));
        }
        let source = Ipv6Addr::from(reader.array::<16>()?);
        let destination = Ipv6Addr::from(reader.array::<16>()?);
        let icmp = reader.bytes(usize::from(length))?;
        if source.is_multicast() {
            return Err(DecodeError::Field("source"));
        }
        if checksum(source, destination, icmp) != 0 {
            return Err(DecodeError::Checksum);
        }
        let packet = Self { source, destination, message: Message::decode(icmp)? };
        packet.validate()?;
        Ok(packet)
    }

    /// RFC 4861 §7.1.1 and §7.1.2, as far as both headers are needed.
    fn validate(&self) -> Result<(), DecodeError> {
        match self.message {
            Message::NeighborSolicitation { target, source_link_layer_address } if self.source.is_unspecified() => {
                if self.destination != solicited_node(target) {
                    return Err(DecodeError::Field("destination of a DAD probe"));
                }
                if source_link_layer_address.is_some() {
                    return Err(DecodeError::Field("source link-layer address of a DAD probe"));
                }
                Ok(())
            }
            Message::NeighborAdvertisement { solicited: true, .. } if self.destination.is_multicast() => {
                Err(DecodeError::Field("solicited flag to a group"))
            }
            Message::NeighborSolicitation { .. } | Message::NeighborAdvertisement { .. } => Ok(()),
        }
    }

    /// Appends the packet, checksum included.
    pub fn encode(&self, frame: &mut Vec<u8>) {
        let length = self.message.len();
        frame.extend_from_slice(&[0x60, 0, 0, 0, 0, length, ICMPV6, HOP_LIMIT]);
        frame.extend_from_slice(&self.source.octets());
        frame.extend_from_slice(&self.destination.octets());
        let start = frame.len();
        self.message.encode(frame);
        let sum = checksum(self.source, self.destination, &frame[start..]);
        frame[start + 2..start + 4].copy_from_slice(&sum.to_be_bytes());
    }

    /// Reads a whole Ethernet frame.
    pub fn decode_frame(frame: &[u8]) -> Result<(ethernet::Header, Self), DecodeError> {
        let (header, payload) = ethernet::Header::decode(frame)?;
        if header.ethertype != ETHERTYPE_IPV6 {
            return Err(DecodeError::Field("EtherType"));
        }
        Ok((header, Self::decode(payload)?))
    }

    /// Appends a whole Ethernet frame.
    pub fn encode_frame(&self, source: MacAddr, destination: MacAddr, frame: &mut Vec<u8>) {
        ethernet::Header { destination, source, ethertype: ETHERTYPE_IPV6 }.encode(frame);
        self.encode(frame);
    }
}

impl Message {
    fn decode(icmp: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(icmp);
        let (kind, code) = (reader.u8()?, reader.u8()?);
        let _checked_by_the_caller = reader.u16()?;
        let [flags, ..] = reader.array::<4>()?;
        let target = Ipv6Addr::from(reader.array::<16>()?);
        if code != 0 {
            return Err(DecodeError::Field("code"));
        }
        if target.is_multicast() {
            return Err(DecodeError::Field("target"));
        }
        match kind {
            NEIGHBOR_SOLICITATION => {
                Ok(Self::NeighborSolicitation { target, source_link_layer_address: link_layer_address(reader, SOURCE_LINK_LAYER_ADDRESS)? })
            }
            NEIGHBOR_ADVERTISEMENT => Ok(Self::NeighborAdvertisement {
                router: flags & 0x80 != 0,
                solicited: flags & 0x40 != 0,
                override_: flags & 0x20 != 0,
                target,
                target_link_layer_address: link_layer_address(reader, TARGET_LINK_LAYER_ADDRESS)?,
            }),
            _ => Err(DecodeError::Field("type")),
        }
    }

    fn encode(&self, frame: &mut Vec<u8>) {
        let (kind, flags, target, option) = match *self {
            Self::NeighborSolicitation { target, source_link_layer_address } => {
                (NEIGHBOR_SOLICITATION, 0, target, source_link_layer_address.map(|mac| (SOURCE_LINK_LAYER_ADDRESS, mac)))
            }
            Self::NeighborAdvertisement { router, solicited, override_, target, target_link_layer_address } => {
                let flags = u8::from(router) << 7 | u8::from(solicited) << 6 | u8::from(override_) << 5;
                (NEIGHBOR_ADVERTISEMENT, flags, target, target_link_layer_address.map(|mac| (TARGET_LINK_LAYER_ADDRESS, mac)))
            }
        };
        frame.extend_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
        frame.extend_from_slice(&target.octets());
        if let Some((kind, mac)) = option {
            frame.extend_from_slice(&[kind, 1]);
            frame.extend_from_slice(&mac.0);
        }
    }

    fn len(&self) -> u8 {
        let (Self::NeighborSolicitation { source_link_layer_address: option, .. }
        | Self::NeighborAdvertisement { target_link_layer_address: option, .. }) = self;
        if option.is_some() { 32 } else { 24 }
    }
}

/// The first option of type `wanted`; others are skipped. RFC 4861 §4.6: an option of length 0 spoils the whole message.
fn link_layer_address(mut reader: Reader<'_>, wanted: u8) -> Result<Option<MacAddr>, DecodeError> {
    let mut found = None;
    while !reader.rest().is_empty() {
        let (kind, units) = (reader.u8()?, reader.u8()?);
        let length = (usize::from(units) * 8).checked_sub(2).ok_or(DecodeError::Field("option length"))?;
        let value = reader.bytes(length)?;
        if kind == wanted && found.is_none() {
            found = value.first_chunk::<6>().map(|octets| MacAddr(*octets));
        }
    }
    Ok(found)
}

/// The Internet checksum over the pseudo-header (RFC 8200 §8.1) and `icmp`; 0 where `icmp` carries a right one.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, icmp: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u64 {
        let (pairs, odd) = bytes.as_chunks::<2>();
        let last = odd.first().map_or(0, |byte| u64::from(*byte) << 8);
        pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>() + last
    };
    let mut sum = words(&source.octets()) + words(&destination.octets()) + icmp.len() as u64 + u64::from(ICMPV6) + words(icmp);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the loop above leaves 16 bits")]
    let folded = sum as u16;
    !folded
}
