//! Members: the agents, as their Leases `node.<node>` tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::link::is_link_local;
use super::{Link, LinkName, Medium, NodeName, Role};
use crate::addr::{MacAddr, Prefix};

/// Members up to which everybody watches everybody; above that a member is watched by a few, its heirs among them.
pub const FULL_MESH: usize = 32;

/// For each member that owns addresses, those who would own them if it were lost.
pub type Heirs = BTreeMap<NodeName, BTreeSet<NodeName>>;

/// What a member tells the others of one of its links.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberLink {
    /// Its name.
    pub name: LinkName,
    /// Its link-layer address.
    pub mac: MacAddr,
    /// Wired or wireless.
    pub medium: Medium,
    /// Addresses with on-link prefix lengths (no link-local ones).
    pub addresses: BTreeSet<IpNet>,
}

impl MemberLink {
    /// A link that may announce and has carrier, as others need to know it; `None` for any other.
    pub fn of(link: &Link) -> Option<Self> {
        let addresses = link.addresses.iter().filter(|net| !is_link_local(net.addr())).copied().collect();
        (link.up && link.role == Role::Own).then(|| Self { name: link.name.clone(), mac: link.mac, medium: link.medium, addresses })
    }

    /// The on-link prefixes wide enough to hold a neighbour.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.addresses.iter().filter(|net| net.prefix_len() < net.max_prefix_len()).map(|net| Prefix::new(*net))
    }

    /// Whether `address` is on this link's network.
    pub fn on_link(&self, address: IpAddr) -> bool {
        self.prefixes().any(|prefix| prefix.contains(address))
    }
}

/// A member Lease.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Member {
    /// Its node.
    pub node: NodeName,
    /// The instance that holds the Lease (`holderIdentity` is `<node>/<instance>`); `None` after an orderly leave or an eviction.
    pub instance: Option<String>,
    /// `leaseTransitions`: grows when a member joins after a leave or an eviction, not when it restarts in place.
    pub generation: u32,
    /// Links that may announce and have carrier.
    pub links: Vec<MemberLink>,
    /// Next hops of the node's default routes: never assigned.
    pub gateways: BTreeSet<IpAddr>,
    /// Hash of the configuration the agent runs; `None` before it has any.
    pub config: Option<String>,
    /// Addresses of pools that another machine of the LAN uses, each with that machine's MAC, as this member saw it.
    pub conflicts: BTreeMap<IpAddr, MacAddr>,
    /// The node's kube-proxy answered its health check once and does not now.
    pub dataplane_unhealthy: bool,
    /// The identity (`<node>/<instance>`) of a member that takes this one for dead. A living one removes it itself.
    pub suspect: Option<String>,
    /// `metadata.resourceVersion`, for compare-and-swap.
    pub resource_version: String,
}
