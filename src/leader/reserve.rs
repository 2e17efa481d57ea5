//! Addresses that are not assigned: those of nodes, gateways, the network and broadcast addresses of on-link prefixes, and those that
//! another machine of the LAN uses, as long as it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use crate::addr::{MacAddr, Prefix};
use crate::config::Config;
use crate::facts::{NodeName, Snapshot};

/// Why an address is not assigned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reserved {
    /// A node has it.
    Node(NodeName),
    /// It is the next hop of a node's default route.
    Gateway,
    /// Another machine of the LAN uses it, as a member saw.
    Conflict(MacAddr),
    /// No host of that prefix may have it.
    Unusable(Prefix),
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "is an address of node {node}"),
            Self::Gateway => f.write_str("is the gateway"),
            Self::Conflict(mac) => write!(f, "is used by another machine of the LAN ({mac})"),
            Self::Unusable(prefix) if prefix.first().is_ipv4() => write!(f, "is the network or broadcast address of {prefix}"),
            Self::Unusable(prefix) => write!(f, "is the subnet-router address of {prefix}"),
        }
    }
}

/// Every reserved address, with the reason a person would find first.
pub fn reserved(snapshot: &Snapshot) -> BTreeMap<IpAddr, Reserved> {
    let mut reserved = BTreeMap::new();
    for member in snapshot.members.values().filter(|member| member.instance.is_some()) {
        reserved.extend(member.conflicts.iter().map(|(address, mac)| (*address, Reserved::Conflict(*mac))));
    }
    for member in snapshot.members.values() {
        let prefixes: BTreeSet<Prefix> = member.links.iter().flat_map(crate::facts::MemberLink::prefixes).collect();
        reserved.extend(
            prefixes.into_iter().flat_map(|prefix| prefix.unusable().into_iter().map(move |address| (address, Reserved::Unusable(prefix)))),
        );
    }
    for member in snapshot.members.values() {
        reserved.extend(member.gateways.iter().map(|gateway| (*gateway, Reserved::Gateway)));
    }
    for member in snapshot.members.values() {
        let addresses = member.links.iter().flat_map(|link| &link.addresses);
        reserved.extend(addresses.map(|net| (net.addr(), Reserved::Node(member.node.clone()))));
    }
    for node in snapshot.nodes.values() {
        reserved.extend(node.addresses.iter().map(|address| (*address, Reserved::Node(node.name.clone()))));
    }
    reserved
}

/// The reserved addresses that lie in a pool, for the Event that confirms a configuration.
pub fn left_out(config: &Config, reserved: &BTreeMap<IpAddr, Reserved>) -> BTreeMap<IpAddr, Reserved> {
    reserved.iter().filter(|(address, _)| config.pool_of(**address).is_some()).map(|(address, why)| (*address, why.clone())).collect()
}
