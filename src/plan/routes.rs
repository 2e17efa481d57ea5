//! What goes to which BGP peer: a pure function from the configuration and the facts to every route of every peer of one node, whole.
//!
//! Who announces what is in [`super::announcers`]; here is with what. Where advertisements or Services meet on one prefix, their routes
//! become one, in any order the same: all their communities; of the other attributes a value goes before none, and of several values the
//! one that routers prefer. (Advertisements that contradict each other for certain were refused with the configuration.)

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::announcers::{View, lets};
use super::peers::{Peer, Peers, peers_of, speaks};
use super::wishes::Wishes;
use crate::addr::{Family, Prefix};
use crate::bgp::desired::{PeerKey, Route};
use crate::config::{BgpAdvertisement, BgpPeer, Community, Config};
use crate::facts::{Claim, Living, Node, NodeName, Service, Snapshot};

/// What `me` has to tell each of its peers, by name; one that is not among them is not spoken with. Nothing without a Node object.
pub fn bgp_desired(config: &Config, snapshot: &Snapshot, living: &Living, me: &NodeName) -> Peers {
    let view = View { config, snapshot, living };
    let Some(node) = snapshot.nodes.get(me) else { return Peers::new() };
    let peers: Vec<&BgpPeer> = peers_of(config, node).collect();
    let announced = if peers.is_empty() { Vec::new() } else { view.announced(node, &peers) };
    let mut equal: BTreeSet<Arc<Route>> = BTreeSet::new();
    let with_routes = |peer: &&BgpPeer| {
        let routes = routes(&announced, peer).into_iter().map(|(prefix, route)| (prefix, one(&mut equal, route)));
        (PeerKey::from(&*peer.name), Peer::new(config, peer, node, routes.collect()))
    };
    peers.iter().map(with_routes).collect()
}

/// Equal routes are one value: thousands of Services often have but a few.
fn one(equal: &mut BTreeSet<Arc<Route>>, route: Route) -> Arc<Route> {
    if let Some(known) = equal.get(&route) {
        return Arc::clone(known);
    }
    let route = Arc::new(route);
    equal.insert(Arc::clone(&route));
    route
}

/// An address of a Service, under one of the advertisements that let a node announce it.
struct Announced<'a> {
    address: IpAddr,
    advertisement: &'a BgpAdvertisement,
    wishes: Arc<Wishes>,
    /// Serving endpoints on the node.
    endpoints: u32,
}

fn routes(announced: &[Announced<'_>], peer: &BgpPeer) -> BTreeMap<Prefix, Route> {
    let mut routes: BTreeMap<Prefix, Route> = BTreeMap::new();
    for it in announced.iter().filter(|it| it.advertisement.is_for(&peer.name) && speaks(peer, Family::of(it.address))) {
        let (prefix, route) = it.route();
        match routes.get_mut(&prefix) {
            Some(known) => merge(known, route),
            None => drop(routes.insert(prefix, route)),
        }
    }
    routes
}

impl Announced<'_> {
    /// What a Service wishes for is put on its own addresses only: an aggregate is others', too.
    fn route(&self) -> (Prefix, Route) {
        let Self { address, advertisement, wishes, endpoints } = self;
        let prefix = aggregate(*address, advertisement);
        let mut route = Route { local_pref: advertisement.local_pref, prepend: advertisement.as_path_prepend, ..Route::default() };
        add(&mut route, &advertisement.communities);
        if prefix.first() == prefix.last() {
            add(&mut route, &wishes.communities);
            route.med = wishes.med;
            route.prepend = wishes.prepend.unwrap_or(route.prepend);
            route.weight = wishes.weight.then_some(*endpoints).filter(|endpoints| *endpoints > 0);
        }
        (prefix, route)
    }
}

/// What `nodes`, who announce the address to `peer` for the sake of `service`, announce it as.
pub fn prefixes(view: View<'_>, claim: &Claim, service: &Service, peer: &BgpPeer, nodes: &BTreeSet<NodeName>) -> BTreeSet<Prefix> {
    let nodes: Vec<&Arc<Node>> = nodes.iter().filter_map(|name| view.snapshot.nodes.get(name)).collect();
    let lets = |it: &&BgpAdvertisement| nodes.iter().any(|node| lets(it, node, &[peer], Family::of(claim.address)));
    view.advertisements(claim, service).filter(lets).map(|it| aggregate(claim.address, it)).collect()
}

fn aggregate(address: IpAddr, advertisement: &BgpAdvertisement) -> Prefix {
    let length = match address {
        IpAddr::V4(_) => advertisement.aggregation_length,
        IpAddr::V6(_) => advertisement.aggregation_length_v6,
    };
    Prefix::new(IpNet::new(address, length).expect("the configuration was checked"))
}

fn add(route: &mut Route, communities: &BTreeSet<Community>) {
    for community in communities {
        match *community {
            Community::Standard(high, low) => route.communities.insert(u32::from(high) << 16 | u32::from(low)),
            Community::Large(a, b, c) => route.large_communities.insert((a, b, c)),
        };
    }
}

fn merge(into: &mut Route, other: Route) {
    into.communities.extend(other.communities);
    into.large_communities.extend(other.large_communities);
    into.local_pref = into.local_pref.max(other.local_pref);
    into.weight = into.weight.max(other.weight);
    into.med = [into.med, other.med].into_iter().flatten().min();
    into.prepend = [into.prepend, other.prepend].into_iter().filter(|times| *times > 0).min().unwrap_or(0);
}

impl<'a> View<'a> {
    /// Everything that `node` announces to some of `peers`, its own.
    fn announced(self, node: &Node, peers: &[&BgpPeer]) -> Vec<Announced<'a>> {
        if !self.living.members.contains_key(&node.name) || node.network_unavailable {
            return Vec::new();
        }
        let mut announced = Vec::new();
        for claim in self.snapshot.claims.values() {
            for service in self.services(claim).filter(|service| self.is_in_reach(service, node)) {
                let lets = |it: &&BgpAdvertisement| lets(it, node, peers, Family::of(claim.address));
                let advertisements: Vec<&BgpAdvertisement> = self.advertisements(claim, service).filter(lets).collect();
                if advertisements.is_empty() || (node.excluded && self.has_other(claim, service)) {
                    continue;
                }
                let (address, wishes) = (claim.address, Arc::new(Wishes::of(self.config, service)));
                let endpoints = self.snapshot.endpoints.get(&service.key).and_then(|endpoints| endpoints.nodes.get(&node.name));
                let endpoints = endpoints.copied().unwrap_or_default();
                let each = advertisements.into_iter();
                announced.extend(each.map(|advertisement| Announced { address, advertisement, wishes: Arc::clone(&wishes), endpoints }));
            }
        }
        announced
    }
}
