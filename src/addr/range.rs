//! Ranges of addresses.
//!
//! Text forms of a [`Range`], as a person writes them: `192.168.1.240-192.168.1.250`, the short end `192.168.1.240-250` (and
//! `fd00::10-20`), CIDR `10.0.0.0/28` (host bits are dropped), a single address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Family, ParseError, Prefix};

/// Consecutive addresses of one family, both ends included, never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    pub(super) first: IpAddr,
    pub(super) last: IpAddr,
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

fn to_u128(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

pub(super) fn next_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|n| IpAddr::V6(n.into())),
    }
}

pub(super) fn previous_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|n| IpAddr::V4(n.into())),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|n| IpAddr::V6(n.into())),
    }
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
    fn ranges_intersect_and_subtract() {
        let (a, b) = (range("10.0.0.1-10.0.0.9"), range("10.0.0.4-10.0.0.6"));
        assert_eq!(a.intersection(b), Some(b));
        assert_eq!(a.difference(b), [range("10.0.0.1-10.0.0.3"), range("10.0.0.7-10.0.0.9")]);
        assert_eq!(b.difference(a), []);
        assert_eq!(a.difference(range("fd00::1")), [a]);
        assert_eq!(range("0.0.0.0/0").difference(range("0.0.0.0/1")), [range("128.0.0.0/1")]);
    }
}
