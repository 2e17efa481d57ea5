//! What goes to which BGP peer: a pure function from the configuration and the facts to every route of every peer, whole.
//!
//! An address goes to a peer from every node that may announce it, at the same time: routers spread flows over equal routes. *May* = living
//! ∧ not excluded (unless all are) ∧ not `NetworkUnavailable` ∧ an advertisement of its pool lets node and Service ∧ the advertisement is
//! for a peer that the node speaks with in that family. It *does* while serving endpoints are in reach.
//!
//! Where advertisements or Services meet on one prefix, their routes become one, in any order the same: all their communities; of the
//! other attributes a value goes before none, and of several the one that routers prefer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::OverBgp;
use super::eligible::{in_reach, matches_any, pool_name};
use super::group::{Group, holders};
use super::peers::{Peer, peers_of, speaks};
use super::reason::NotAnnounced;
use super::wishes::Wishes;
use crate::addr::{Family, Prefix};
use crate::bgp::desired::Route;
use crate::config::{BgpAdvertisement, BgpPeer, Community, Config, PoolName};
use crate::facts::{Claim, Living, Node, NodeName, Service, Snapshot};

/// What is known, wherever it is asked.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What the API server says.
    pub snapshot: &'a Snapshot,
    /// Who may announce.
    pub living: &'a Living,
}

/// What `me` has to tell each of its peers, by name; one that is not among them is not spoken with. Nothing without a Node object.
pub fn bgp_desired(config: &Config, snapshot: &Snapshot, living: &Living, me: &NodeName) -> BTreeMap<String, Peer> {
    let view = View { config, snapshot, living };
    let Some(node) = snapshot.nodes.get(me) else { return BTreeMap::new() };
    let peers: Vec<&BgpPeer> = peers_of(config, node).collect();
    let announced = if peers.is_empty() { Vec::new() } else { view.announced(node, &peers) };
    let mut equal: BTreeSet<Arc<Route>> = BTreeSet::new();
    let with_routes = |peer: &&BgpPeer| {
        let routes = routes(&announced, peer).into_iter().map(|(prefix, route)| (prefix, one(&mut equal, route)));
        (peer.name.clone(), Peer::new(config, peer, node, routes.collect()))
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
        let Self { address, advertisement, wishes } = self;
        let prefix = aggregate(*address, advertisement);
        let mut route = Route { local_pref: advertisement.local_pref, prepend: advertisement.as_path_prepend, ..Route::default() };
        add(&mut route, &advertisement.communities);
        if prefix.first() == prefix.last() {
            add(&mut route, &wishes.communities);
            route.med = wishes.med;
            route.prepend = wishes.prepend.unwrap_or(route.prepend);
        }
        (prefix, route)
    }
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
            for service in self.services(claim).filter(|service| self.is_in_reach(service, &node.name)) {
                let lets = |it: &&BgpAdvertisement| lets(it, node, peers, claim.address);
                let advertisements: Vec<&BgpAdvertisement> = self.advertisements(claim, service).filter(lets).collect();
                if advertisements.is_empty() || (node.excluded && self.has_other(claim, service)) {
                    continue;
                }
                let (address, wishes) = (claim.address, Arc::new(Wishes::of(self.config, service)));
                let each = advertisements.into_iter();
                announced.extend(each.map(|advertisement| Announced { address, advertisement, wishes: Arc::clone(&wishes) }));
            }
        }
        announced
    }

    /// The Services of ours that have the address.
    fn services(self, claim: &Claim) -> impl Iterator<Item = &'a Service> {
        holders(self.config, self.snapshot, claim).into_iter().filter_map(move |key| self.snapshot.services.get(&key).map(AsRef::as_ref))
    }

    /// The advertisements of the address's pool that apply to `service`.
    fn advertisements(self, claim: &Claim, service: &Service) -> impl Iterator<Item = &'a BgpAdvertisement> {
        let pool = pool_name(self.config, claim);
        let all = self.config.bgp.advertisements.iter().filter(move |it| it.pools.contains(&pool));
        all.filter(|it| matches_any(&it.service_selectors, &service.labels))
    }

    fn is_in_reach(self, service: &Service, node: &NodeName) -> bool {
        self.snapshot.endpoints.get(&service.key).is_some_and(|endpoints| in_reach(service, endpoints, node))
    }

    /// Living members and their Node objects.
    fn nodes(self) -> impl Iterator<Item = &'a Node> {
        self.living.members.keys().filter_map(move |name| self.snapshot.nodes.get(name).map(AsRef::as_ref))
    }

    /// Whether a node that is not excluded may announce the address: then those that are do not.
    fn has_other(self, claim: &Claim, service: &Service) -> bool {
        let advertisements: Vec<&BgpAdvertisement> = self.advertisements(claim, service).collect();
        self.nodes().filter(|node| !node.excluded && !node.network_unavailable).any(|node| {
            let peers: Vec<&BgpPeer> = peers_of(self.config, node).collect();
            advertisements.iter().any(|it| lets(it, node, &peers, claim.address))
        })
    }

    /// The nodes that announce the address to any of `peers` for the sake of `service`, or why none does: walks the conditions in the
    /// order in which a person would fix them.
    ///
    /// # Errors
    /// See above.
    pub fn announcers(self, claim: &Claim, service: &Service, peers: &[&BgpPeer]) -> Result<BTreeSet<NodeName>, NotAnnounced> {
        let (pool, address) = (pool_name(self.config, claim), claim.address);
        let of_pool = self.config.bgp.advertisements.iter().filter(|it| it.pools.contains(&pool));
        if of_pool.clone().next().is_none() {
            return Err(NotAnnounced::NoAdvertisement { pool });
        }
        let of_service: Vec<&BgpAdvertisement> = self.advertisements(claim, service).collect();
        if of_service.is_empty() {
            return Err(NotAnnounced::NoServiceMatch { pool });
        }
        let is_for = |it: &&&BgpAdvertisement| peers.iter().any(|peer| it.is_for(&peer.name));
        let for_peers: Vec<&BgpAdvertisement> = of_service.iter().filter(is_for).copied().collect();
        if for_peers.is_empty() {
            return Err(NotAnnounced::NoPeer { pool });
        }
        if self.nodes().next().is_none() {
            return Err(NotAnnounced::NoMember);
        }
        let matches = |it: &BgpAdvertisement, node: &Node| matches_any(&it.node_selectors, &node.labels);
        let of_nodes: Vec<&Node> = self.nodes().filter(|node| for_peers.iter().any(|it| matches(it, node))).collect();
        if of_nodes.is_empty() {
            let selectors: BTreeSet<String> = for_peers.iter().flat_map(|it| &it.node_selectors).map(ToString::to_string).collect();
            return Err(NotAnnounced::NoNodeMatch { pool, selector: selectors.into_iter().collect::<Vec<_>>().join(" or ") });
        }
        let speaking = |node: &Node| peers.iter().filter(|peer| matches_any(&peer.node_selectors, &node.labels)).copied().collect();
        let sessions = |node: &Node| -> Vec<(&BgpAdvertisement, &BgpPeer)> {
            let peers: Vec<&BgpPeer> = speaking(node);
            let both = for_peers.iter().filter(|it| matches(it, node)).flat_map(|it| peers.iter().map(move |peer| (*it, *peer)));
            both.filter(|(it, peer)| it.is_for(&peer.name)).collect()
        };
        let with_session: Vec<&Node> = of_nodes.into_iter().filter(|node| !sessions(node).is_empty()).collect();
        if with_session.is_empty() {
            return Err(NotAnnounced::NoSession { pool });
        }
        let carries = |node: &&Node| sessions(node).iter().any(|(_, peer)| speaks(peer, Family::of(address)));
        let able: Vec<&Node> = with_session.into_iter().filter(carries).collect();
        if able.is_empty() {
            return Err(NotAnnounced::FamilyNotSpoken { address });
        }
        let available: Vec<&Node> = able.into_iter().filter(|node| !node.network_unavailable).collect();
        if available.is_empty() {
            return Err(NotAnnounced::NetworkUnavailable);
        }
        // Among peers of one node there may be no other node: all that may announce count.
        let excluded = self.has_other(claim, service);
        let may: Vec<&Node> = available.into_iter().filter(|node| !(node.excluded && excluded)).collect();
        self.in_reach_of(service, &may)
    }

    /// Those of `nodes` from where endpoints are in reach.
    fn in_reach_of(self, service: &Service, nodes: &[&Node]) -> Result<BTreeSet<NodeName>, NotAnnounced> {
        let Some(endpoints) = self.snapshot.endpoints.get(&service.key) else { return Err(NotAnnounced::EndpointsUnknown) };
        let reach: BTreeSet<NodeName> =
            nodes.iter().filter(|node| in_reach(service, endpoints, &node.name)).map(|node| node.name.clone()).collect();
        if !endpoints.serving {
            Err(NotAnnounced::NoServingEndpoint { any: endpoints.any })
        } else if nodes.is_empty() {
            Err(NotAnnounced::Excluded)
        } else if reach.is_empty() {
            Err(NotAnnounced::NoLocalEndpoint { nodes: endpoints.nodes.iter().map(ToString::to_string).collect() })
        } else {
            Ok(reach)
        }
    }

    /// The nodes that announce each address of `group` over BGP.
    pub fn of_group(self, group: &Group) -> OverBgp {
        if self.config.bgp.advertisements.is_empty() {
            return OverBgp::new();
        }
        let peers: Vec<&BgpPeer> = self.config.bgp.peers.iter().collect();
        let of_claim = |claim: &Arc<Claim>| {
            let each: Vec<_> = self.services(claim).map(|service| self.announcers(claim, service, &peers)).collect();
            let nodes: BTreeSet<NodeName> = each.iter().flatten().flatten().cloned().collect();
            let why = each.into_iter().find_map(Result::err);
            (claim.address, if nodes.is_empty() { Err(why.unwrap_or(NotAnnounced::NotPlaced)) } else { Ok(nodes) })
        };
        group.claims.values().map(of_claim).collect()
    }

    /// Whether any living member may announce addresses of `pool` and `family`, to whichever peer.
    pub fn reaches(self, pool: &PoolName, family: Family) -> bool {
        let advertisements: Vec<&BgpAdvertisement> =
            self.config.bgp.advertisements.iter().filter(|it| it.pools.contains(pool)).collect();
        !advertisements.is_empty()
            && self.nodes().any(|node| {
                let peers: Vec<&BgpPeer> = peers_of(self.config, node).filter(|peer| speaks(peer, family)).collect();
                let lets = |it: &&&BgpAdvertisement| matches_any(&it.node_selectors, &node.labels);
                advertisements.iter().filter(lets).any(|it| peers.iter().any(|peer| it.is_for(&peer.name)))
            })
    }
}

/// Whether `advertisement` lets `node` tell any of `peers`, its own, of `address`.
fn lets(advertisement: &BgpAdvertisement, node: &Node, peers: &[&BgpPeer], address: IpAddr) -> bool {
    let family = Family::of(address);
    matches_any(&advertisement.node_selectors, &node.labels)
        && peers.iter().any(|peer| advertisement.is_for(&peer.name) && speaks(peer, family))
}
