//! Capabilities (RFC 5492 §4): what a speaker can do, one code, length and value after the other.
//!
//! Those that this speaker knows are values; any other is kept as it came. A known one of a length it cannot have spoils the OPEN. Bits
//! and octets that are reserved are ignored when read and 0 when written.

use super::{AfiSafi, TooLong, u32_of};
use crate::wire::{DecodeError, Reader};

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const EXTENDED_MESSAGE: u8 = 6;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;
const ENHANCED_ROUTE_REFRESH: u8 = 70;

/// R, "Restart State" (RFC 4724 §3).
const RESTARTING: u16 = 0x8000;
/// N, "Graceful Notification" (RFC 8538 §2).
const NOTIFICATION: u16 = 0x4000;
/// The twelve bits of the Restart Time.
const RESTART_TIME: u16 = 0x0fff;
/// F, "Forwarding State" of a family.
const FORWARDING: u8 = 0x80;

/// One capability.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Capability {
    /// 1: Multiprotocol Extensions (RFC 4760 §8).
    Multiprotocol(AfiSafi),
    /// 2: Route Refresh (RFC 2918 §2).
    RouteRefresh,
    /// 5: Extended Next Hop Encoding (RFC 8950 §4).
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// 6: Extended Message (RFC 8654 §3).
    ExtendedMessage,
    /// 64: Graceful Restart (RFC 4724 §3, RFC 8538 §2).
    GracefulRestart {
        /// R: the speaker has restarted, and no End-of-RIB is to be waited for.
        restarting: bool,
        /// N: NOTIFICATIONs other than Hard Reset, and an expired hold timer, leave the routes in place.
        notification: bool,
        /// Restart Time, seconds, 0 to 4095.
        restart_time: u16,
        /// The families it is meant for.
        families: Vec<RestartFamily>,
    },
    /// 65: four-octet AS number (RFC 6793 §3).
    FourOctetAs(u32),
    /// 70: Enhanced Route Refresh (RFC 7313 §3.1).
    EnhancedRouteRefresh,
    /// Any other.
    Unknown {
        /// Its code.
        code: u8,
        /// Its value.
        value: Vec<u8>,
    },
}

/// One tuple of Extended Next Hop Encoding: routes of this family may have next hops of that one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtendedNextHop {
    /// NLRI AFI.
    pub afi: u16,
    /// NLRI SAFI, two octets here.
    pub safi: u16,
    /// Nexthop AFI.
    pub next_hop_afi: u16,
}

/// One family of Graceful Restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestartFamily {
    /// Which.
    pub family: AfiSafi,
    /// F: the forwarding state has been preserved.
    pub forwarding: bool,
}

impl Capability {
    /// Its code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => MULTIPROTOCOL,
            Self::RouteRefresh => ROUTE_REFRESH,
            Self::ExtendedNextHop(_) => EXTENDED_NEXT_HOP,
            Self::ExtendedMessage => EXTENDED_MESSAGE,
            Self::GracefulRestart { .. } => GRACEFUL_RESTART,
            Self::FourOctetAs(_) => FOUR_OCTET_AS,
            Self::EnhancedRouteRefresh => ENHANCED_ROUTE_REFRESH,
            Self::Unknown { code, .. } => *code,
        }
    }

    /// All capabilities of one optional parameter, or of the data of an Unsupported Capability.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut all = Vec::new();
        while !reader.rest().is_empty() {
            let (code, length) = (reader.u8()?, reader.u8()?);
            all.push(Self::decode(code, reader.bytes(length.into())?)?);
        }
        Ok(all)
    }

    fn decode(code: u8, value: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let capability = match code {
            MULTIPROTOCOL => Self::Multiprotocol(multiprotocol(reader.array()?)),
            ROUTE_REFRESH => Self::RouteRefresh,
            EXTENDED_MESSAGE => Self::ExtendedMessage,
            ENHANCED_ROUTE_REFRESH => Self::EnhancedRouteRefresh,
            FOUR_OCTET_AS => Self::FourOctetAs(u32_of(&mut reader)?),
            EXTENDED_NEXT_HOP => {
                let (tuples, []) = value.as_chunks::<6>() else { return Err(DecodeError::Field("length of Extended Next Hop Encoding")) };
                return Ok(Self::ExtendedNextHop(tuples.iter().map(|tuple| extended_next_hop(*tuple)).collect()));
            }
            GRACEFUL_RESTART => {
                let flags = reader.u16()?;
                let (families, []) = reader.rest().as_chunks::<4>() else { return Err(DecodeError::Field("length of Graceful Restart")) };
                return Ok(Self::GracefulRestart {
                    restarting: flags & RESTARTING != 0,
                    notification: flags & NOTIFICATION != 0,
                    restart_time: flags & RESTART_TIME,
                    families: families.iter().map(|family| restart_family(*family)).collect(),
                });
            }
            _ => return Ok(Self::Unknown { code, value: value.to_vec() }),
        };
        if reader.rest().is_empty() { Ok(capability) } else { Err(DecodeError::Field("length of a capability")) }
    }

    /// Appends code, length and value.
    pub fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = bytes.len();
        bytes.extend([self.code(), 0]);
        match self {
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRouteRefresh => {}
            Self::Multiprotocol(family) => {
                bytes.extend(family.afi.to_be_bytes());
                bytes.extend([0, family.safi]);
            }
            Self::FourOctetAs(asn) => bytes.extend(asn.to_be_bytes()),
            Self::ExtendedNextHop(tuples) => {
                for tuple in tuples {
                    bytes.extend([tuple.afi, tuple.safi, tuple.next_hop_afi].into_iter().flat_map(u16::to_be_bytes));
                }
            }
            Self::GracefulRestart { restarting, notification, restart_time, families } => {
                let flag = |set: bool, bit: u16| if set { bit } else { 0 };
                let flags = flag(*restarting, RESTARTING) | flag(*notification, NOTIFICATION) | (*restart_time).min(RESTART_TIME);
                bytes.extend(flags.to_be_bytes());
                for RestartFamily { family, forwarding } in families {
                    bytes.extend(family.afi.to_be_bytes());
                    bytes.extend([family.safi, if *forwarding { FORWARDING } else { 0 }]);
                }
            }
            Self::Unknown { value, .. } => bytes.extend(value),
        }
        bytes[start + 1] = u8::try_from(bytes.len() - start - 2).map_err(|_| TooLong)?;
        Ok(())
    }
}

fn multiprotocol([high, low, _reserved, safi]: [u8; 4]) -> AfiSafi {
    AfiSafi { afi: u16::from_be_bytes([high, low]), safi }
}

fn extended_next_hop([a, b, c, d, e, f]: [u8; 6]) -> ExtendedNextHop {
    let [afi, safi, next_hop_afi] = [[a, b], [c, d], [e, f]].map(u16::from_be_bytes);
    ExtendedNextHop { afi, safi, next_hop_afi }
}

fn restart_family([high, low, safi, flags]: [u8; 4]) -> RestartFamily {
    RestartFamily { family: AfiSafi { afi: u16::from_be_bytes([high, low]), safi }, forwarding: flags & FORWARDING != 0 }
}
