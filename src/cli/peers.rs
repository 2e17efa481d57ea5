//! What routers are told, as a value: `peers` of `lanlord plan -o json` and of `lanlord explain -o json` are this, field by field, and the
//! tables for people are printed from it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::table::{row, table};
use crate::addr::Family;
use crate::config::{BgpPeer, Community, Config};
use crate::facts::{Claim, Living, NodeName, Service, Snapshot};
use crate::plan::peers::next_hop;
use crate::plan::routes::{bgp_desired, prefixes};
use crate::plan::{GroupPlan, NotAnnounced, View};

/// What one node tells one peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PeerReport {
    /// The peer's name.
    pub name: String,
    /// The node.
    pub node: NodeName,
    /// Every route, ascending; empty: the session is there, and has nothing to tell.
    pub routes: Vec<RouteReport>,
}

/// One route, as this peer gets it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// What is announced.
    pub prefix: String,
    /// Where packets for it are sent: the node's address on the session, as far as the agents' Leases tell it; `null`: not known.
    pub next_hop: Option<IpAddr>,
    /// LOCAL_PREF; `null`: not sent, for the peer is of another AS.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC; `null`: not sent.
    pub med: Option<u32>,
    /// Communities, large ones last.
    pub communities: Vec<String>,
    /// How many times more our AS stands in AS_PATH; always 0 within one AS.
    pub prepend: u8,
    /// Serving endpoints of the node, told as Link Bandwidth; left out if it is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// LOCAL_PREF where none is set.
const LOCAL_PREF: u32 = 100;

/// Every session of every member, by peer and node.
pub fn peers(config: &Config, snapshot: &Snapshot, living: &Living) -> Vec<PeerReport> {
    let mut reports = Vec::new();
    for (node, member) in &living.members {
        let Some(object) = snapshot.nodes.get(node) else { continue };
        for (name, peer) in bgp_desired(config, snapshot, living, node) {
            let Some(configured) = config.bgp.peers.iter().find(|it| it.name == *name.0) else { continue };
            let routes = peer.desired.routes.iter().map(|(prefix, route)| {
                let internal = configured.is_internal();
                let standard = route.communities.iter().map(|it| Community::from(*it));
                let large = route.large_communities.iter().map(|(a, b, c)| Community::Large(*a, *b, *c));
                RouteReport {
                    prefix: prefix.to_string(),
                    next_hop: next_hop(configured, object, member, Family::of(prefix.first())),
                    local_pref: internal.then(|| route.local_pref.unwrap_or(LOCAL_PREF)),
                    med: route.med,
                    communities: standard.chain(large).map(|it| it.to_string()).collect(),
                    prepend: if internal { 0 } else { route.prepend },
                    weight: route.weight,
                }
            });
            reports.push(PeerReport { name: name.to_string(), node: node.clone(), routes: routes.collect() });
        }
    }
    reports.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    reports
}

/// The table for people; `None`: there is no session.
pub(super) fn text(peers: &[PeerReport]) -> Option<String> {
    let mut rows = vec![row(["PEER", "NODE", "ROUTE", "NEXT HOP", "WITH"])];
    for peer in peers {
        if peer.routes.is_empty() {
            rows.push(row([&peer.name, peer.node.as_str(), "none", "-", ""]));
        }
        for route in &peer.routes {
            let next_hop = route.next_hop.map_or_else(|| "-".to_owned(), |it| it.to_string());
            rows.push(row([&peer.name, peer.node.as_str(), &route.prefix, &next_hop, &attributes(route)]));
        }
    }
    (rows.len() > 1).then(|| table(&rows))
}

/// `local preference 200, MED 50, communities 64512:1 65535:65281, AS prepended 2 times`
fn attributes(route: &RouteReport) -> String {
    let communities = (!route.communities.is_empty()).then(|| format!("communities {}", route.communities.join(" ")));
    let prepend = (route.prepend > 0).then(|| format!("AS prepended {} times", route.prepend));
    let local_pref = route.local_pref.map(|it| format!("local preference {it}"));
    let med = route.med.map(|it| format!("MED {it}"));
    [local_pref, med, communities, prepend].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What one peer is told of one Service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PeerRow {
    /// The peer's name.
    pub peer: String,
    /// Its address.
    pub address: String,
    /// The Service's addresses as they are announced.
    pub routes: Vec<String>,
    /// The nodes that do, all at the same time.
    pub nodes: Vec<NodeName>,
    /// Why nobody does, or why not of every address, and what to do; `null`: nothing is in the way.
    pub why: Option<String>,
}

/// A row for each peer.
pub(super) fn of_service(view: View<'_>, group: &GroupPlan, service: &Service) -> Vec<PeerRow> {
    let its: Vec<&Arc<Claim>> =
        group.group.claims.values().filter(|claim| claim.holders.iter().any(|holder| holder.service == service.key)).collect();
    let row = |peer: &BgpPeer| {
        let (mut routes, mut nodes, mut why) = (BTreeSet::new(), BTreeSet::new(), None);
        for claim in &its {
            match view.announcers(claim, service, &[peer]) {
                Ok(announcers) => {
                    routes.extend(prefixes(view, claim, service, peer, &announcers.nodes));
                    nodes.extend(announcers.nodes);
                }
                Err(reason) => why = why.or(Some(told(&reason))),
            }
        }
        PeerRow {
            peer: peer.name.clone(),
            address: peer.neighbor.to_string(),
            routes: routes.iter().map(ToString::to_string).collect(),
            nodes: nodes.into_iter().collect(),
            why,
        }
    };
    view.config.bgp.peers.iter().map(row).collect()
}

/// Why one peer is not told.
fn told(why: &NotAnnounced) -> String {
    match why {
        NotAnnounced::NoAdvertisement { pool } => format!("no BGPAdvertisement reaches pool {pool}"),
        NotAnnounced::NoPeer { pool } => format!("the BGPAdvertisements of pool {pool} are for other peers (`peers`)"),
        NotAnnounced::FamilyNotSpoken { address } => {
            format!("its session carries no {}; set dualStackAddressFamily: true", Family::of(*address))
        }
        NotAnnounced::NoLocalEndpoint { nodes } => {
            format!("externalTrafficPolicy is Local, and no node with ready pods ({}) tells it of anything of this pool", nodes.join(", "))
        }
        NotAnnounced::NoServiceMatch { .. }
        | NotAnnounced::NoNodeMatch { .. }
        | NotAnnounced::NoSession { .. }
        | NotAnnounced::NetworkUnavailable
        | NotAnnounced::Excluded
        | NotAnnounced::EndpointsUnknown
        | NotAnnounced::NoServingEndpoint { .. }
        | NotAnnounced::NoMember
        | NotAnnounced::NoInterface { .. }
        | NotAnnounced::NoLink { .. }
        | NotAnnounced::SharedElsewhere { .. }
        | NotAnnounced::OverBgp { .. }
        | NotAnnounced::NotPlaced => why.to_string(),
    }
}

/// The table for people.
pub(super) fn rows(peers: &[PeerRow]) -> String {
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(",") };
    let mut rows = vec![row(["PEER", "ADDRESS", "ROUTES", "FROM", "WHY NOT"])];
    for peer in peers {
        let nodes: Vec<String> = peer.nodes.iter().map(ToString::to_string).collect();
        rows.push(row([&peer.peer, &peer.address, &list(&peer.routes), &list(&nodes), peer.why.as_deref().unwrap_or("")]));
    }
    table(&rows)
}
