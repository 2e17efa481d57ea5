//! Configuration: text → `Raw` (what the user wrote, with positions) → [`Config`] (resolved, nothing optional left).
//!
//! Four doors, one model: one line, native YAML, MetalLB's documents, and the old ConfigMaps of MetalLB and kube-vip. After resolving, no
//! later code can meet an invalid combination, and no later code checks again.
//!
//! ```text
//! Source ─► document ─► tree ─► oneline │ native │ metallb │ legacy │ kubevip ─► Raw ─► resolve ─► Config + notes + summary
//!              ▲                            configmap ─┘ (keys hold texts)                 └─────► or all Problems
//! ```

mod bgp;
mod configmap;
mod document;
mod effective;
mod fields;
mod kubevip;
mod legacy;
mod metallb;
mod native;
pub mod objects;
mod oneline;
pub mod origin;
mod problem;
mod raw;
mod resolve;
mod selector;
mod settings;
mod snippet;
mod spec;
mod summary;
pub mod task;
pub mod texts;
mod tree;

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) use self::bgp::asn;
pub use self::bgp::{BfdProfile, Bgp, BgpAdvertisement, BgpPeer, Community, Neighbor, Password, PeerPassword, RemoteAs};
pub use self::effective::{Effective, effective};
pub use self::problem::{Note, Place, Problem, Problems, Source};
pub use self::settings::{ANNOUNCE_INTERVAL, Classes, EXCLUDED_INTERFACES, Liveness, OnCordon, Pace, Promiscuous, RESTART_HOLD, Settings};

pub(crate) use self::summary::summary;
use crate::addr::{Family, Range, RangeSet};
use crate::facts::{Labels, LinkName, Selector};

/// A configuration that can be put in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// The configuration.
    pub config: Config,
    /// What is not wrong but should be said.
    pub notes: Vec<Note>,
    /// What it amounts to, in one line: `1 pool, 11 addresses: default 192.168.1.240-192.168.1.250`.
    pub summary: String,
}

/// Reads all `sources` (files, in this order) as one configuration. No sources, and empty ones, are a configuration without pools.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse(sources: &[Source]) -> Result<Accepted, Problems> {
    texts::Texts::Files(sources.to_vec()).parse()
}

fn accept(reading: raw::Reading, sources: &[Arc<Source>]) -> Result<Accepted, Problems> {
    match resolve::resolve(reading) {
        Ok((config, notes)) => Ok(Accepted { summary: summary(&config), config, notes }),
        Err(mut problems) => {
            problems.sort(sources);
            Err(problems)
        }
    }
}

/// The name of a pool.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(pub Arc<str>);

impl PoolName {
    /// From text.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PoolName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The resolved configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Pools in the order in which they are tried for a Service that asks for none: by priority, then as written. Their
    /// addresses are disjoint.
    pub pools: Vec<Pool>,
    /// Advertisements on layer 2, the implied one among them (see the rule in `resolve.rs`); one may reach no pool.
    pub l2_advertisements: Vec<L2Advertisement>,
    /// Routers, and what is announced to them.
    pub bgp: Bgp,
    /// Everything else.
    pub settings: Settings,
    /// Hash of the meaning, not of the text: equal on two agents that do the same. 16 hexadecimal digits.
    pub hash: String,
}

/// Addresses to assign, and to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Unique.
    pub name: PoolName,
    /// For `ipAddressPoolSelectors`.
    pub labels: Labels,
    /// Disjoint ranges in the order written, not empty: addresses are handed out in this order.
    pub ranges: Vec<Range>,
    /// The same addresses as a set.
    pub addresses: RangeSet,
    /// Used for Services that name neither a pool nor an address. Default true (MetalLB's default).
    pub auto_assign: bool,
    /// Never hands out IPv4 addresses that end in .0 or .255. Default false (MetalLB's default).
    pub avoid_buggy_ips: bool,
    /// Whether Services of different namespaces may share an address of it. Default false, for whoever guesses a sharing key could
    /// join; true for MetalLB's documents, where namespaces do not matter to sharing.
    pub share_across_namespaces: bool,
    /// Restricts the pool to some Services; `None`: all.
    pub allocation: Option<ServiceAllocation>,
}

/// `serviceAllocation`: the Services a pool is for. Namespaces and Services must both match where both are given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceAllocation {
    /// Lower is tried earlier; `None` (0 or unset in MetalLB) is last.
    pub priority: Option<u32>,
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label; any of them.
    pub namespace_selectors: Vec<Selector>,
    /// Services by label; any of them.
    pub service_selectors: Vec<Selector>,
}

/// Which nodes answer for which addresses on which links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct L2Advertisement {
    /// Its name; `None` for the one implied where nothing is written.
    pub name: Option<String>,
    /// The pools it reaches, by name and by selector, resolved.
    pub pools: BTreeSet<PoolName>,
    /// Candidate nodes: any selector; empty: all.
    pub node_selectors: Vec<Selector>,
    /// Links by exact name; empty: the link whose on-link prefix holds the address.
    pub interfaces: BTreeSet<LinkName>,
    /// Services: any selector; empty: all.
    pub service_selectors: Vec<Selector>,
    /// Soft preference among candidates: the weights of matching entries add up.
    pub preferred_node_selectors: Vec<Preferred>,
}

/// One entry of `preferredNodeSelectors`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preferred {
    /// 1 to 100.
    pub weight: u32,
    /// The nodes it prefers.
    pub selector: Selector,
}

impl L2Advertisement {
    /// `pools` on every node and every link that holds their addresses: what is implied where nothing is written.
    pub fn everywhere(pools: BTreeSet<PoolName>) -> Self {
        Self {
            name: None,
            pools,
            node_selectors: Vec::new(),
            interfaces: BTreeSet::new(),
            service_selectors: Vec::new(),
            preferred_node_selectors: Vec::new(),
        }
    }
}

impl Pool {
    /// How many addresses of `family` it can hand out, without those `avoidBuggyIPs` leaves out; saturates.
    pub fn usable(&self, family: Family) -> u128 {
        let left_out = |range| if self.avoid_buggy_ips { buggy(range) } else { 0 };
        let ranges = self.addresses.ranges().filter(|range| range.family() == family);
        ranges.fold(0, |sum, range| sum.saturating_add(range.len() - left_out(range)))
    }

    /// Whether `avoidBuggyIPs` leaves `address` out.
    pub fn avoids(&self, address: IpAddr) -> bool {
        self.avoid_buggy_ips && matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
    }
}

/// How many addresses of `range` are IPv4 and end in .0 or .255.
fn buggy(range: Range) -> u128 {
    let (IpAddr::V4(first), IpAddr::V4(last)) = (range.first(), range.last()) else { return 0 };
    let (first, last) = (u64::from(u32::from(first)), u64::from(u32::from(last)));
    // Numbers from 0 to n (exclusive) that end in 0 or 255, modulo 256.
    let below = |n: u64| n.div_ceil(256) + n / 256;
    u128::from(below(last + 1) - below(first))
}

impl Config {
    /// The pool that holds `address`.
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.addresses.contains(address))
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name.as_str() == name)
    }
}
