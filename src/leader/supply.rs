//! Free addresses of one pool and family, in the order in which they are given out: those that nobody remembers, then the longest free;
//! addresses that no member can announce only when there is no other.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::net::IpAddr;
use std::vec::IntoIter;

use crate::addr::{Family, Prefix, Range};
use crate::config::{Config, Pool};
use crate::facts::{Claim, Living, MemberLink, Snapshot};
use crate::plan::View;
use crate::plan::eligible::{is_excluded, matches_any};

type Addresses = Box<dyn Iterator<Item = IpAddr>>;

/// See above.
pub struct Supply {
    fresh: Peekable<Addresses>,
    fresh_unreachable: Peekable<Addresses>,
    remembered: Peekable<IntoIter<IpAddr>>,
    remembered_unreachable: Peekable<IntoIter<IpAddr>>,
    reachable: Vec<Range>,
}

impl Supply {
    /// Of `pool`, given the free claims of all pools.
    pub fn new<'a>(
        config: &Config,
        snapshot: &Snapshot,
        living: &Living,
        (pool, family): (&Pool, Family),
        free: impl Iterator<Item = &'a Claim>,
    ) -> Self {
        let over_bgp = View { config, snapshot, living }.reaches(&pool.name, family);
        let reach = if over_bgp { Reach::Anywhere } else { Reach::of(config, snapshot, living, pool) };
        let mut reachable = Vec::new();
        let mut unreachable = Vec::new();
        for range in pool.ranges.iter().filter(|range| range.family() == family) {
            let (inside, outside) = reach.split(*range);
            reachable.extend(inside);
            unreachable.extend(outside);
        }
        let free = free.filter(|claim| pool.addresses.contains(claim.address) && Family::of(claim.address) == family);
        // A claim whose Service has just vanished has no time yet: it became free last of all.
        let mut free: Vec<(i64, IpAddr)> = free.map(|claim| (claim.freed.unwrap_or(i64::MAX), claim.address)).collect();
        free.sort_unstable();
        let (near, far): (Vec<IpAddr>, Vec<IpAddr>) =
            free.into_iter().map(|(_, address)| address).partition(|address| reachable.iter().any(|range| range.contains(*address)));
        Self {
            fresh: every(reachable.clone()).peekable(),
            fresh_unreachable: every(unreachable).peekable(),
            remembered: near.into_iter().peekable(),
            remembered_unreachable: far.into_iter().peekable(),
            reachable,
        }
    }

    /// The next address that members can announce, or (`reachable: false`) that none can. What is `unusable` now is so for good.
    pub fn peek(&mut self, reachable: bool, unusable: impl Fn(&IpAddr) -> bool, is_claimed: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        let fresh = if reachable { &mut self.fresh } else { &mut self.fresh_unreachable };
        let remembered = if reachable { &mut self.remembered } else { &mut self.remembered_unreachable };
        while fresh.peek().is_some_and(|address| unusable(address) || is_claimed(address)) {
            fresh.next();
        }
        while remembered.peek().is_some_and(&unusable) {
            remembered.next();
        }
        fresh.peek().or_else(|| remembered.peek()).copied()
    }

    /// Whether any member can announce `address`.
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.reachable.iter().any(|range| range.contains(address))
    }
}

fn every(ranges: Vec<Range>) -> Addresses {
    Box::new(ranges.into_iter().flat_map(Range::iter))
}

/// Where living members can announce addresses of a pool.
enum Reach {
    /// An interface is named, or a router is told: any address goes.
    Anywhere,
    /// On these networks.
    On(BTreeSet<Prefix>),
}

impl Reach {
    fn of(config: &Config, snapshot: &Snapshot, living: &Living, pool: &Pool) -> Self {
        let advertisements: Vec<_> = config.l2_advertisements.iter().filter(|ad| ad.pools.contains(&pool.name)).collect();
        let mut prefixes = BTreeSet::new();
        for (name, member) in &living.members {
            let Some(node) = snapshot.nodes.get(name) else { continue };
            for ad in advertisements.iter().filter(|ad| matches_any(&ad.node_selectors, &node.labels)) {
                if member.links.iter().any(|link| ad.interfaces.contains(&link.name)) {
                    return Self::Anywhere;
                }
                let links = member.links.iter().filter(|link| ad.interfaces.is_empty() && !is_excluded(config, &link.name));
                prefixes.extend(links.flat_map(MemberLink::prefixes));
            }
        }
        Self::On(prefixes)
    }

    /// The parts of `range` inside and outside of reach, each ascending.
    fn split(&self, range: Range) -> (Vec<Range>, Vec<Range>) {
        let Self::On(prefixes) = self else { return (vec![range], Vec::new()) };
        let mut outside = vec![range];
        for prefix in prefixes {
            outside = outside.into_iter().flat_map(|part| part.difference(Range::from(*prefix))).collect();
        }
        let mut inside = vec![range];
        for part in &outside {
            inside = inside.into_iter().flat_map(|other| other.difference(*part)).collect();
        }
        (inside, outside)
    }
}
