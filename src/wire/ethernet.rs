//! Ethernet II headers (RFC 894, RFC 2464).
//!
//! ```text
//!  destination (6) │ source (6) │ EtherType (2) │ payload
//! ```
//!
//! VLAN tags do not appear here: the kernel takes them off before it hands a frame to a link.

use super::{DecodeError, Reader};
use crate::addr::MacAddr;

/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// An Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// To whom.
    pub destination: MacAddr,
    /// From whom.
    pub source: MacAddr,
    /// What follows.
    pub ethertype: u16,
}

impl Header {
    /// Length in bytes.
    pub const LEN: usize = 14;

    /// Splits a frame into header and payload.
    pub fn decode(frame: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = Reader::new(frame);
        let header = Self { destination: MacAddr(reader.array()?), source: MacAddr(reader.array()?), ethertype: reader.u16()? };
        Ok((header, reader.rest()))
    }

    /// Appends the header.
    pub fn encode(&self, frame: &mut Vec<u8>) {
        frame.extend_from_slice(&self.destination.0);
        frame.extend_from_slice(&self.source.0);
        frame.extend_from_slice(&self.ethertype.to_be_bytes());
    }
}
