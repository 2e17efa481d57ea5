//! What it means who answers for an address: compared with who should, in words for people. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::addr::MacAddr;
use crate::cli::host::Host;
use crate::facts::NodeName;
use crate::leader::reserve::{Reserved, reserved};
use crate::membership::living::{Senses, living};
use crate::plan::{NotAnnounced, plan};

/// Who should answer for an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The node that announces it for these Services.
    Owner(NodeName, String),
    /// Nobody on the LAN: these Services have it, and why it is not announced there.
    Silence(String, String),
    /// Nobody on the LAN: it is announced over BGP for these Services.
    OverBgp(String),
    /// A node whose own address it is.
    Node(NodeName),
    /// The gateway.
    Gateway,
    /// Nobody: it is in this pool and free.
    Free(String),
    /// Nothing is known of it.
    Unknown,
}

/// Who answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Nodes of this cluster.
    pub nodes: BTreeSet<NodeName>,
    /// Other machines.
    pub strangers: BTreeSet<MacAddr>,
}

/// What it means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// All is as it should be.
    pub well: bool,
    /// In one sentence.
    pub means: String,
    /// What to do about it.
    pub action: Option<String>,
}

impl Expected {
    /// As configuration and Leases tell.
    pub(super) fn of(host: &Host, address: IpAddr) -> Self {
        let config = host.config.clone().unwrap_or_default();
        if let Some(claim) = host.snapshot.claims.get(&address).filter(|claim| !claim.holders.is_empty()) {
            let services: Vec<String> = claim.holders.iter().map(|holder| holder.service.to_string()).collect();
            let services = services.join(" and ");
            let plan = plan(&config, &host.snapshot, &living(&host.snapshot, &Senses::default()));
            let group = plan.groups.values().find(|group| group.group.claims.contains_key(&address));
            return match group.map(|group| &group.owner) {
                Some(Ok(owner)) if owner.links.contains_key(&address) => Self::Owner(owner.node.clone(), services),
                Some(Ok(owner)) => Self::Silence(services, format!("{} has no link on its network", owner.node)),
                Some(Err(NotAnnounced::OverBgp { .. })) => Self::OverBgp(services),
                Some(Err(why)) => Self::Silence(services, why.to_string()),
                None => Self::Silence(services, "the configuration does not serve it".to_owned()),
            };
        }
        match reserved(&host.snapshot).remove(&address) {
            Some(Reserved::Node(node)) => Self::Node(node),
            Some(Reserved::Gateway) => Self::Gateway,
            Some(Reserved::Conflict(_) | Reserved::Unusable(_)) | None if host.links.gateways.contains(&address) => Self::Gateway,
            Some(Reserved::Conflict(_) | Reserved::Unusable(_)) | None => {
                config.pool_of(address).map_or(Self::Unknown, |pool| Self::Free(pool.name.to_string()))
            }
        }
    }
}

const STRICT_ARP: &str = "kube-proxy in IPVS mode binds every address on every node, and answers unless it is told not to: set strictARP \
                          (kubeadm: ipvs.strictARP in ConfigMap kube-proxy; k3s: --kube-proxy-arg=ipvs-strict-arp); if it has just moved, ask again";
const FILTERED: &str = "see lanlord status there; if it announces the address, something on the way keeps its answers back: port security \
                        of a switch, the IP or MAC filter of a hypervisor (Proxmox: IP filter; ESXi: forged transmits), client isolation of Wi-Fi";

/// What it means, asked from node `me`.
pub fn meaning(address: IpAddr, expected: &Expected, seen: &Seen, me: Option<&NodeName>) -> Meaning {
    let bad = |means: String, action: &str| Meaning { well: false, means, action: Some(action.to_owned()) };
    let well = |means: String| Meaning { well: true, means, action: None };
    let nodes = list(seen.nodes.iter());
    let strangers = list(seen.strangers.iter());
    match expected {
        Expected::Owner(owner, services) if !seen.strangers.is_empty() => bad(
            format!("another machine ({strangers}) uses it, which {owner} announces for {services}"),
            "give that machine another address, or take this one out of the pool; a second load balancer or cluster with the same range looks like this, too",
        ),
        Expected::Owner(owner, services) => {
            let others: BTreeSet<&NodeName> = seen.nodes.iter().filter(|node| *node != owner).collect();
            let mine = me == Some(owner);
            if !others.is_empty() && (mine || seen.nodes.contains(owner)) {
                bad(format!("{} answers beside {owner}, which announces it for {services}", list(others.into_iter())), STRICT_ARP)
            } else if !others.is_empty() {
                bad(format!("{nodes} answers, but {owner} should, for {services}"), STRICT_ARP)
            } else if mine {
                well(format!(
                    "this very node announces it for {services}, and nobody else answers; ask from another node whether it is heard"
                ))
            } else if seen.nodes.is_empty() {
                bad(format!("nobody answers, but {owner} should, for {services}"), FILTERED)
            } else {
                well(format!("{owner} answers, which announces it for {services}"))
            }
        }
        Expected::Silence(services, why) if !seen.strangers.is_empty() => bad(
            format!("another machine ({strangers}) uses it, which belongs to {services} and is not announced: {why}"),
            "give that machine another address, or take this one out of the pool",
        ),
        Expected::Silence(services, why) if !seen.nodes.is_empty() => {
            bad(format!("{nodes} answers, but nobody should: it belongs to {services} and is not announced: {why}"), STRICT_ARP)
        }
        Expected::Silence(services, why) => {
            bad(format!("nobody answers: it belongs to {services} and is not announced on layer 2: {why}"), "see lanlord explain SERVICE")
        }
        Expected::OverBgp(services) if seen.nodes.is_empty() && seen.strangers.is_empty() => {
            well(format!("nobody answers, and nobody should: it is announced to routers, over BGP, for {services}"))
        }
        Expected::OverBgp(services) if seen.strangers.is_empty() => {
            bad(format!("{nodes} answers, but nobody should: it is announced over BGP for {services}"), STRICT_ARP)
        }
        Expected::OverBgp(services) => bad(
            format!("another machine ({strangers}) uses it, which is announced over BGP for {services}"),
            "give that machine another address, or take this one out of the pool",
        ),
        Expected::Node(node) if seen.nodes.iter().any(|other| other != node) => bad(
            format!("the address of node {node} is answered for by {nodes}"),
            "give each node an address of its own; machines cloned from one image have the same",
        ),
        Expected::Node(node) if !seen.strangers.is_empty() => {
            bad(format!("another machine ({strangers}) uses the address of node {node}"), "give that machine another address")
        }
        Expected::Node(node) if me == Some(node) => well("it is this very node's own address, and nobody else answers".to_owned()),
        Expected::Node(node) if seen.nodes.is_empty() => bad(
            format!("nobody answers, but it is the address of node {node}"),
            "see whether that node runs (kubectl get nodes), and whether it is on this network",
        ),
        Expected::Node(node) => well(format!("it is the address of node {node}")),
        Expected::Gateway if seen.strangers.len() > 1 => bad(
            format!("{} machines answer for the gateway's address ({strangers})", seen.strangers.len()),
            "see which of them is your router",
        ),
        Expected::Gateway => well(format!("it is the gateway{}", if strangers.is_empty() { ", which does not answer" } else { "" })),
        Expected::Free(_) | Expected::Unknown if seen.strangers.len() + seen.nodes.len() > 1 => {
            let who = [nodes, strangers].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
            bad(format!("several machines answer for it ({who})"), "give each of them an address of its own")
        }
        Expected::Free(pool) if !seen.strangers.is_empty() => bad(
            format!(
                "another machine ({strangers}) uses it, although it is in pool {pool}; Lanlord gives it to no Service as long as that is so"
            ),
            "give that machine another address, or take this one out of the pool; see whether your router's DHCP range overlaps it",
        ),
        Expected::Free(pool) if seen.nodes.is_empty() => well(format!("nobody answers: it is in pool {pool}, and no Service has it")),
        Expected::Free(_) | Expected::Unknown if !seen.nodes.is_empty() => bad(
            format!("{nodes} answers, though no Service has it"),
            "see which program there has bound it (ip address); if a Service was just deleted, ask again",
        ),
        Expected::Free(_) | Expected::Unknown if seen.strangers.is_empty() => {
            well(format!("nobody answers: {address} seems free, or its machine is off; it is in no pool"))
        }
        Expected::Free(_) | Expected::Unknown => {
            well(format!("a machine that is no part of this cluster uses it ({strangers}); it is in no pool"))
        }
    }
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" and ")
}
