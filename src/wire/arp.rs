//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).
//!
//! ```text
//!  hrd=1 (2) │ pro=0x0800 (2) │ hln=6 │ pln=4 │ op (2) │ sha (6) │ spa (4) │ tha (6) │ tpa (4)
//! ```
//!
//! Other hardware and protocol types are refused. Padding after the 28 bytes is ignored, as Ethernet demands.

use std::net::Ipv4Addr;

use super::ethernet::{self, ETHERTYPE_ARP};
use super::{DecodeError, Reader};
use crate::addr::MacAddr;

/// `ar$hrd`, `ar$pro`, `ar$hln`, `ar$pln` of IPv4 over Ethernet.
const FIXED: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// `ar$op`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operation {
    /// 1: who has `tpa`?
    Request,
    /// 2: `spa` is at `sha`.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Request or reply.
    pub operation: Operation,
    /// Sender hardware address.
    pub sha: MacAddr,
    /// Sender protocol address; 0.0.0.0 in a Probe (RFC 5227 §1.1).
    pub spa: Ipv4Addr,
    /// Target hardware address.
    pub tha: MacAddr,
    /// Target protocol address.
    pub tpa: Ipv4Addr,
}

impl Packet {
    /// Length in bytes.
    pub const LEN: usize = 28;

    /// Reads an ARP packet (what follows the Ethernet header).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.array::<6>()? != FIXED {
            return Err(DecodeError::Field("hardware or protocol type"));
        }
        let operation = match reader.u16()? {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return Err(DecodeError::Field("operation")),
        };
        Ok(Self {
            operation,
            sha: MacAddr(reader.array()?),
            spa: Ipv4Addr::from(reader.array::<4>()?),
            tha: MacAddr(reader.array()?),
            tpa: Ipv4Addr::from(reader.array::<4>()?),
        })
    }

    /// Appends the packet.
    pub fn encode(&self, frame: &mut Vec<u8>) {
        frame.extend_from_slice(&FIXED);
        frame.extend_from_slice(&[0, if self.operation == Operation::Request { 1 } else { 2 }]);
        frame.extend_from_slice(&self.sha.0);
        frame.extend_from_slice(&self.spa.octets());
        frame.extend_from_slice(&self.tha.0);
        frame.extend_from_slice(&self.tpa.octets());
    }

    /// Reads a whole Ethernet frame.
    pub fn decode_frame(frame: &[u8]) -> Result<(ethernet::Header, Self), DecodeError> {
        let (header, payload) = ethernet::Header::decode(frame)?;
        if header.ethertype != ETHERTYPE_ARP {
            return Err(DecodeError::Field("EtherType"));
        }
        Ok((header, Self::decode(payload)?))
    }

    /// Appends a whole Ethernet frame.
    pub fn encode_frame(&self, source: MacAddr, destination: MacAddr, frame: &mut Vec<u8>) {
        ethernet::Header { destination, source, ethertype: ETHERTYPE_ARP }.encode(frame);
        self.encode(frame);
    }
}
