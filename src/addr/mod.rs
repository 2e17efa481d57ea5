//! Addresses, ranges and prefixes, and their text forms (a leaf: no other module of ours is used here).
//!
//! `Display` prints the shortest form that parses back to the same value.

mod mac;
mod range;
mod set;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
pub use mac::MacAddr;
pub use range::Range;
use serde::{Deserialize, Serialize};
pub use set::RangeSet;

/// The two address families, in the order Kubernetes prefers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Family {
    /// IPv4: announced by ARP.
    V4,
    /// IPv6: announced by NDP.
    V6,
}

impl Family {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An IPv4 address as such.
pub fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}

/// An IPv6 address as such.
pub fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    }
}

/// Why a text is no address, range or prefix. The messages are for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not an IP address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// Not `address/length`.
    #[error("{0:?} is not a prefix such as 192.168.1.0/24")]
    Prefix(String),
    /// One end IPv4, the other IPv6.
    #[error("{0:?} mixes IPv4 and IPv6: both ends of a range must be of one family")]
    Mixed(String),
    /// The last address comes before the first.
    #[error("{text:?} runs backwards: {first} comes after {last}; swap the two ends")]
    Reversed {
        /// As written.
        text: String,
        /// The first address as written.
        first: IpAddr,
        /// The last address as written.
        last: IpAddr,
    },
    /// Not a link-layer address.
    #[error("{0:?} is not a MAC address such as 02:00:5e:00:53:01")]
    Mac(String),
}

/// A network prefix without host bits, such as `192.168.1.0/24`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

impl Prefix {
    /// Host bits of `net` are dropped.
    pub fn new(net: IpNet) -> Self {
        Self(net.trunc())
    }

    /// Whether `address` lies in the prefix.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// The number of leading bits that are fixed.
    pub fn length(self) -> u8 {
        self.0.prefix_len()
    }

    /// The first address; in IPv4 prefixes shorter than /31 the network address, in IPv6 the subnet-router anycast (RFC 4291 §2.6.1).
    pub fn first(self) -> IpAddr {
        self.0.network()
    }

    /// The last address; in IPv4 prefixes shorter than /31 the broadcast address.
    pub fn last(self) -> IpAddr {
        self.0.broadcast()
    }

    /// The addresses of the prefix no host may have: network and broadcast in IPv4 (not in /31 and /32, RFC 3021), the
    /// subnet-router anycast address in IPv6 (not in /127 and /128, RFC 6164).
    pub fn unusable(self) -> Vec<IpAddr> {
        match self.0 {
            IpNet::V4(net) if net.prefix_len() < 31 => vec![self.first(), self.last()],
            IpNet::V6(net) if net.prefix_len() < 127 => vec![self.first()],
            IpNet::V4(_) | IpNet::V6(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse::<IpNet>().map(Self::new).map_err(|_| ParseError::Prefix(text.to_owned()))
    }
}

/// The solicited-node multicast group of `target` (RFC 4291 §2.7.1): `ff02::1:ffXX:XXXX`.
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let o = target.octets();
    let low = u16::from_be_bytes([o[14], o[15]]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(o[13]), low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_broadcast_addresses_are_unusable_where_they_exist() {
        let unusable = |text: &str| text.parse::<Prefix>().unwrap().unusable().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(unusable("192.168.1.77/24"), ["192.168.1.0", "192.168.1.255"]);
        assert!(unusable("192.168.1.0/31").is_empty());
        assert_eq!(unusable("fd00::/64"), ["fd00::"]);
        assert!(unusable("fd00::1/128").is_empty());
    }

    #[test]
    fn multicast_addresses_follow_the_rfcs() {
        let group = solicited_node("fe80::1:2:3456:789a".parse().unwrap());
        assert_eq!(group.to_string(), "ff02::1:ff56:789a");
        assert_eq!(MacAddr::of_ipv6_multicast(group).to_string(), "33:33:ff:56:78:9a");
        assert_eq!("02:00:5e:00:53:01".parse::<MacAddr>().unwrap().to_string(), "02:00:5e:00:53:01");
        assert!("02:00:5e:00:53".parse::<MacAddr>().is_err());
        assert!("02:00:5e:00:53:01:02".parse::<MacAddr>().is_err());
    }
}
