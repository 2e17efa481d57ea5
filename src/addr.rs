//! Addresses, ranges and prefixes, and their text forms (a leaf: no other module of ours is used here).
//!
//! Text forms of a [`Range`], as a person writes them: `192.168.1.240-192.168.1.250`, the short end `192.168.1.240-250` (and
//! `fd00::10-20`), CIDR `10.0.0.0/28` (host bits are dropped), a single address. `Display` prints the shortest form that parses
//! back to the same value.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

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

/// A 48-bit link-layer address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`
    pub const ZERO: Self = Self([0; 6]);

    /// Group bit set: broadcast or multicast.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// The Ethernet address of an IPv6 multicast group (RFC 2464 §7).
    pub fn of_ipv6_multicast(group: Ipv6Addr) -> Self {
        let o = group.octets();
        Self([0x33, 0x33, o[12], o[13], o[14], o[15]])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            *octet = parts
                .next()
                .filter(|part| part.len() == 2)
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| ParseError::Mac(text.to_owned()))?;
        }
        if parts.next().is_some() {
            return Err(ParseError::Mac(text.to_owned()));
        }
        Ok(Self(octets))
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

fn to_u128(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn from_u128(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

fn next_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|n| IpAddr::V6(n.into())),
    }
}

fn previous_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|n| IpAddr::V6(n.into())),
    }
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

/// Consecutive addresses of one family, both ends included, never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    /// `None` if the ends are of two families or run backwards.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last).then_some(Self { first, last })
    }

    /// A range of one address.
    pub fn single(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }

    /// The first address.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(self) -> IpAddr {
        self.last
    }

    /// Of both ends.
    pub fn family(self) -> Family {
        Family::of(self.first)
    }

    /// How many addresses; saturates for all of IPv6.
    pub fn len(self) -> u128 {
        (to_u128(self.last) - to_u128(self.first)).saturating_add(1)
    }

    /// Never: kept because a `len` without it surprises.
    pub fn is_empty(self) -> bool {
        false
    }

    /// Whether `address` lies between the ends.
    pub fn contains(self, address: IpAddr) -> bool {
        self.family() == Family::of(address) && self.first <= address && address <= self.last
    }

    /// Whether an address lies in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The addresses in both.
    pub fn intersection(self, other: Self) -> Option<Self> {
        self.overlaps(other).then(|| Self { first: self.first.max(other.first), last: self.last.min(other.last) })
    }

    /// The addresses of `self` that are not in `other`: up to two ranges.
    pub fn difference(self, other: Self) -> Vec<Self> {
        let Some(common) = self.intersection(other) else { return vec![self] };
        let below = previous_address(common.first).and_then(|last| Self::new(self.first, last));
        let above = next_address(common.last).and_then(|first| Self::new(first, self.last));
        below.into_iter().chain(above).collect()
    }

    /// Every address, in order.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> + use<> {
        let mut next = Some(self.first);
        std::iter::from_fn(move || {
            let address = next?;
            next = if address < self.last { next_address(address) } else { None };
            Some(address)
        })
    }
}

impl From<Prefix> for Range {
    fn from(prefix: Prefix) -> Self {
        Self { first: prefix.first(), last: prefix.last() }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Range {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        let address = |part: &str| part.trim().parse::<IpAddr>().map_err(|_| ParseError::Address(part.trim().to_owned()));
        if text.contains('/') {
            return text.parse::<Prefix>().map(Self::from);
        }
        let Some((first, last)) = text.split_once('-') else {
            return address(text).map(Self::single);
        };
        let first = address(first)?;
        let last = match short_end(first, last.trim()) {
            Some(last) => last,
            None => address(last)?,
        };
        if Family::of(first) != Family::of(last) {
            return Err(ParseError::Mixed(text.to_owned()));
        }
        Self::new(first, last).ok_or_else(|| ParseError::Reversed { text: text.to_owned(), first, last })
    }
}

/// The short end of `192.168.1.240-250` (last octet) or `fd00::10-20` (last group), relative to `first`.
fn short_end(first: IpAddr, end: &str) -> Option<IpAddr> {
    match first {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let end = end.strip_prefix('.').unwrap_or(end);
            Some(IpAddr::V4(Ipv4Addr::new(a, b, c, end.parse().ok()?)))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, _] = v6.segments();
            let end = end.strip_prefix(':').unwrap_or(end);
            let end = if end.len() <= 4 { u16::from_str_radix(end, 16).ok()? } else { return None };
            Some(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, end)))
        }
    }
}

/// A set of addresses as disjoint ranges in ascending order, IPv4 first; touching ranges are one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RangeSet(BTreeSet<Range>);

impl RangeSet {
    /// Adds all addresses of `range`.
    pub fn insert(&mut self, range: Range) {
        let first = previous_address(range.first).unwrap_or(range.first);
        let last = next_address(range.last).unwrap_or(range.last);
        let reach = Range { first, last };
        let touching: Vec<Range> = self.0.iter().copied().filter(|other| other.overlaps(reach)).collect();
        let mut union = range;
        for other in touching {
            self.0.remove(&other);
            union = Range { first: union.first.min(other.first), last: union.last.max(other.last) };
        }
        self.0.insert(union);
    }

    /// Removes one address.
    pub fn remove(&mut self, address: IpAddr) {
        let Some(range) = self.find(address) else { return };
        self.0.remove(&range);
        if let Some(last) = previous_address(address).filter(|last| *last >= range.first) {
            self.0.insert(Range { first: range.first, last });
        }
        if let Some(first) = next_address(address).filter(|first| *first <= range.last) {
            self.0.insert(Range { first, last: range.last });
        }
    }

    fn find(&self, address: IpAddr) -> Option<Range> {
        let end = Range { first: address, last: from_u128(Family::of(address), u128::MAX) };
        self.0.range(..=end).next_back().copied().filter(|range| range.contains(address))
    }

    /// Whether `address` is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.find(address).is_some()
    }

    /// The disjoint ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range> {
        self.0.iter().copied()
    }

    /// Every address, ascending.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().flat_map(|range| range.iter())
    }

    /// How many addresses; saturates.
    pub fn len(&self) -> u128 {
        self.0.iter().fold(0, |sum, range| sum.saturating_add(range.len()))
    }

    /// Whether there is no address at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Range> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
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

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn every_text_form_of_a_range_is_read() {
        assert_eq!(range("192.168.1.240-192.168.1.250").len(), 11);
        assert_eq!(range(" 192.168.1.240 - 192.168.1.250 "), range("192.168.1.240-250"));
        assert_eq!(range("192.168.1.240-.250"), range("192.168.1.240-250"));
        assert_eq!(range("10.0.0.7/28"), range("10.0.0.0-10.0.0.15"));
        assert_eq!(range("10.0.0.100"), range("10.0.0.100/32"));
        assert_eq!(range("fd00::10-20"), range("fd00::10-fd00::20"));
        assert_eq!(range("fd00::/64").len(), 1 << 64);
    }

    #[test]
    fn mistakes_in_ranges_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Range>().unwrap_err().to_string();
        assert_eq!(
            error("192.168.1.250-192.168.1.240"),
            "\"192.168.1.250-192.168.1.240\" runs backwards: 192.168.1.250 comes after 192.168.1.240; swap the two ends"
        );
        assert_eq!(error("192.168.1.300"), "\"192.168.1.300\" is not an IP address");
        assert_eq!(error("192.168.1.1-fd00::1"), "\"192.168.1.1-fd00::1\" mixes IPv4 and IPv6: both ends of a range must be of one family");
        assert_eq!(error("10.0.0.0/33"), "\"10.0.0.0/33\" is not a prefix such as 192.168.1.0/24");
    }

    #[test]
    fn ranges_print_what_they_parse() {
        for text in ["10.0.0.1", "10.0.0.1-10.0.0.9", "fd00::1-fd00::ff"] {
            assert_eq!(range(text).to_string(), text);
        }
    }

    #[test]
    fn a_set_joins_touching_ranges_and_splits_on_removal() {
        let mut set: RangeSet = [range("10.0.0.4-10.0.0.6"), range("10.0.0.1-10.0.0.3"), range("fd00::1")].into_iter().collect();
        assert_eq!(set.to_string(), "10.0.0.1-10.0.0.6, fd00::1");
        set.remove("10.0.0.3".parse().unwrap());
        set.remove("fd00::1".parse().unwrap());
        assert_eq!(set.to_string(), "10.0.0.1-10.0.0.2, 10.0.0.4-10.0.0.6");
        assert!(!set.contains("10.0.0.3".parse().unwrap()));
        assert!(set.contains("10.0.0.6".parse().unwrap()));
        assert_eq!(set.len(), 5);
    }

    #[test]
    fn ranges_intersect_and_subtract() {
        let (a, b) = (range("10.0.0.1-10.0.0.9"), range("10.0.0.4-10.0.0.6"));
        assert_eq!(a.intersection(b), Some(b));
        assert_eq!(a.difference(b), [range("10.0.0.1-10.0.0.3"), range("10.0.0.7-10.0.0.9")]);
        assert_eq!(b.difference(a), []);
        assert_eq!(a.difference(range("fd00::1")), [a]);
        assert_eq!(range("0.0.0.0/0").difference(range("0.0.0.0/1")), [range("128.0.0.0/1")]);
    }

    #[test]
    fn the_ends_of_the_address_space_are_ordinary_addresses() {
        let mut set: RangeSet = [range("0.0.0.0/0")].into_iter().collect();
        set.remove("255.255.255.255".parse().unwrap());
        set.remove("0.0.0.0".parse().unwrap());
        assert_eq!(set.to_string(), "0.0.0.1-255.255.255.254");
        assert_eq!(range("255.255.255.254-255.255.255.255").iter().count(), 2);
        assert_eq!(range("::/0").len(), u128::MAX);
    }

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
