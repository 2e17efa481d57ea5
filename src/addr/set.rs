//! Sets of addresses.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::range::{next_address, previous_address};
use super::{Family, Range};

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

fn from_u128(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
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
    fn the_ends_of_the_address_space_are_ordinary_addresses() {
        let mut set: RangeSet = [range("0.0.0.0/0")].into_iter().collect();
        set.remove("255.255.255.255".parse().unwrap());
        set.remove("0.0.0.0".parse().unwrap());
        assert_eq!(set.to_string(), "0.0.0.1-255.255.255.254");
        assert_eq!(range("255.255.255.254-255.255.255.255").iter().count(), 2);
        assert_eq!(range("::/0").len(), u128::MAX);
    }
}
