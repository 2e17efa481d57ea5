//! OPEN (RFC 4271 §4.2) with its optional parameters, extended ones included (RFC 9072).
//!
//! ```text
//!  Version=4 │ My Autonomous System (2) │ Hold Time (2) │ BGP Identifier (4) │ Opt Parm Len (1) │ parameters: type, length (1), value
//!                                                      extended (RFC 9072):  255 │ 255 │ length (2) │ type, length (2), value
//! ```
//!
//! The only parameter is Capabilities (2). Everything of §6.2 that needs no configuration is checked here: whoever holds an [`Open`] that
//! was decoded has an AS that is not 0, an acceptable hold time and an identifier.

use std::net::Ipv4Addr;

use super::{AS_TRANS, Capability, Code, DecodeError, OPEN, TooLong};
use crate::wire::Reader;

const VERSION: u8 = 4;
const CAPABILITIES: u8 = 2;
/// RFC 9072 §2: this length and, in the first place, this type.
const EXTENDED: u8 = 255;

/// An OPEN of version 4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// My Autonomous System; [`AS_TRANS`] if two octets cannot hold it.
    pub my_as: u16,
    /// Hold Time, seconds: 0 or at least 3.
    pub hold_time: u16,
    /// BGP Identifier, not 0.0.0.0 (RFC 6286).
    pub identifier: Ipv4Addr,
    /// Of all parameters, in order.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// The AS: that of the capability if there is one (RFC 6793 §4.1), the last if there are several.
    pub fn asn(&self) -> u32 {
        let four_octets = self.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            Capability::Multiprotocol(_)
            | Capability::RouteRefresh
            | Capability::ExtendedNextHop(_)
            | Capability::ExtendedMessage
            | Capability::GracefulRestart { .. }
            | Capability::EnhancedRouteRefresh
            | Capability::Unknown { .. } => None,
        });
        four_octets.unwrap_or(self.my_as.into())
    }

    /// What stands in My Autonomous System for `asn`.
    pub fn two_octets(asn: u32) -> u16 {
        u16::try_from(asn).unwrap_or(AS_TRANS)
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let cut = |_| DecodeError::new(Code::OPEN_MESSAGE_ERROR, [], "the OPEN is cut short");
        let mut reader = Reader::new(body);
        if reader.u8().map_err(cut)? != VERSION {
            return Err(DecodeError::new(Code::UNSUPPORTED_VERSION_NUMBER, [0, VERSION], "another version than BGP-4"));
        }
        let (my_as, hold_time) = (reader.u16().map_err(cut)?, reader.u16().map_err(cut)?);
        let identifier = Ipv4Addr::from(reader.array::<4>().map_err(cut)?);
        let open = Self { my_as, hold_time, identifier, capabilities: parameters(reader)? };
        if my_as == 0 || open.asn() == 0 {
            return Err(DecodeError::new(Code::BAD_PEER_AS, [], "AS 0 (RFC 7607)"));
        }
        if matches!(hold_time, 1 | 2) {
            return Err(DecodeError::new(Code::UNACCEPTABLE_HOLD_TIME, [], "a hold time of less than three seconds"));
        }
        if identifier.is_unspecified() {
            return Err(DecodeError::new(Code::BAD_BGP_IDENTIFIER, [], "the BGP identifier 0.0.0.0"));
        }
        Ok(open)
    }

    /// Capabilities share one parameter; if that gets too long for it, it is an extended one.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) -> Result<u8, TooLong> {
        bytes.push(VERSION);
        bytes.extend(self.my_as.to_be_bytes());
        bytes.extend(self.hold_time.to_be_bytes());
        bytes.extend(self.identifier.octets());
        let mut value = Vec::new();
        for capability in &self.capabilities {
            capability.encode(&mut value)?;
        }
        let length = u16::try_from(value.len()).map_err(|_| TooLong)?;
        match (u8::try_from(length), u8::try_from(value.len() + 2)) {
            _ if value.is_empty() => bytes.push(0),
            (Ok(length), Ok(parameters)) => bytes.extend([parameters, CAPABILITIES, length]),
            _ => {
                bytes.extend([EXTENDED, EXTENDED]);
                bytes.extend(length.checked_add(3).ok_or(TooLong)?.to_be_bytes());
                bytes.push(CAPABILITIES);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend(value);
        Ok(OPEN)
    }
}

/// From Opt Parm Len to the end.
fn parameters(mut reader: Reader<'_>) -> Result<Vec<Capability>, DecodeError> {
    let malformed = |what| DecodeError::new(Code::OPEN_MESSAGE_ERROR, [], what);
    let cut = |_| malformed("the optional parameters do not have the length they should have");
    let mut length = usize::from(reader.u8().map_err(cut)?);
    let extended = length > 0 && reader.rest().first() == Some(&EXTENDED);
    if extended {
        reader.u8().map_err(cut)?;
        length = reader.u16().map_err(cut)?.into();
    }
    if reader.rest().len() != length {
        return Err(cut(crate::wire::DecodeError::Truncated));
    }
    let mut capabilities = Vec::new();
    while !reader.rest().is_empty() {
        let kind = reader.u8().map_err(cut)?;
        let length = if extended { reader.u16().map_err(cut)? } else { reader.u8().map_err(cut)?.into() };
        let value = reader.bytes(length.into()).map_err(cut)?;
        if kind != CAPABILITIES {
            return Err(DecodeError::new(Code::UNSUPPORTED_OPTIONAL_PARAMETER, [], "an optional parameter other than capabilities"));
        }
        capabilities.extend(Capability::decode_all(value).map_err(|_| malformed("a capability does not have the length it should have"))?);
    }
    Ok(capabilities)
}
