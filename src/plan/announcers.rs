//! Who announces an address over BGP, and if nobody does: why.
//!
//! Every node that may announces it, at the same time: routers spread flows over equal routes. *May* = living ∧ an advertisement of the
//! address's pool lets this node and this Service, for a peer that the node speaks with in that family ∧ not `NetworkUnavailable` ∧ not
//! excluded by `exclude-from-external-load-balancers` (unless all that may are). It *does* while serving endpoints are in reach.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::eligible::{in_reach, matches_any, pool_name};
use super::group::{Group, holders};
use super::peers::{peers_of, speaks};
use super::reason::NotAnnounced;
use crate::addr::Family;
use crate::config::{BgpAdvertisement, BgpPeer, Config, PoolName};
use crate::facts::{Claim, Living, Node, NodeName, Service, Snapshot};

/// Who announces an address, all at the same time, and to whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Announcers {
    /// The nodes.
    pub nodes: BTreeSet<NodeName>,
    /// The names of the peers that at least one of them tells.
    pub peers: BTreeSet<String>,
}

/// The announcers of each address, or why there is none.
pub type OverBgp = BTreeMap<IpAddr, Result<Announcers, NotAnnounced>>;

/// Everything that is known.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What the API server says.
    pub snapshot: &'a Snapshot,
    /// Who may announce.
    pub living: &'a Living,
}

/// How far a node is on the way to announcing something: the last step that it does not get over, in the order in which a person would
/// put it right.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way<'a> {
    /// No advertisement matches it.
    NoMatch,
    /// It speaks with none of the peers.
    NoSession,
    /// Not in that family.
    NoFamily,
    /// `NetworkUnavailable`.
    Unavailable,
    /// Nothing is in the way to these peers.
    Open(BTreeSet<&'a str>),
}

impl<'a> View<'a> {
    /// The Services of ours that have the address.
    pub(super) fn services(self, claim: &Claim) -> impl Iterator<Item = &'a Service> {
        holders(self.config, self.snapshot, claim).into_iter().filter_map(move |key| self.snapshot.services.get(&key).map(AsRef::as_ref))
    }

    fn of_pool(self, pool: &PoolName) -> impl Iterator<Item = &'a BgpAdvertisement> {
        self.config.bgp.advertisements.iter().filter(move |it| it.pools.contains(pool))
    }

    /// The advertisements of the address's pool that apply to `service`.
    pub(super) fn advertisements(self, claim: &Claim, service: &Service) -> impl Iterator<Item = &'a BgpAdvertisement> {
        let pool = pool_name(self.config, claim);
        let all = self.config.bgp.advertisements.iter().filter(move |it| it.pools.contains(&pool));
        all.filter(|it| matches_any(&it.service_selectors, &service.labels))
    }

    pub(super) fn is_in_reach(self, service: &Service, node: &Node) -> bool {
        self.snapshot.endpoints.get(&service.key).is_some_and(|endpoints| in_reach(service, endpoints, &node.name))
    }

    /// Living members' Node objects.
    fn nodes(self) -> impl Iterator<Item = &'a Node> {
        self.living.members.keys().filter_map(move |name| self.snapshot.nodes.get(name).map(AsRef::as_ref))
    }

    /// Whether a node that is not excluded may announce the address, to whichever peer: then those that are do not.
    pub(super) fn has_other(self, claim: &Claim, service: &Service) -> bool {
        let (advertisements, family): (Vec<&BgpAdvertisement>, _) =
            (self.advertisements(claim, service).collect(), Family::of(claim.address));
        self.nodes().filter(|node| !node.excluded && !node.network_unavailable).any(|node| {
            let peers: Vec<&BgpPeer> = peers_of(self.config, node).collect();
            advertisements.iter().any(|it| lets(it, node, &peers, family))
        })
    }

    /// Who announces the address to any of `peers` for the sake of `service`.
    ///
    /// # Errors
    /// Why nobody does.
    pub fn announcers(self, claim: &Claim, service: &Service, peers: &[&BgpPeer]) -> Result<Announcers, NotAnnounced> {
        let (pool, address) = (pool_name(self.config, claim), claim.address);
        if self.of_pool(&pool).next().is_none() {
            return Err(NotAnnounced::NoAdvertisement { pool });
        }
        let of_service: Vec<&BgpAdvertisement> = self.advertisements(claim, service).collect();
        if of_service.is_empty() {
            return Err(NotAnnounced::NoServiceMatch { pool });
        }
        let is_for_any = |it: &&BgpAdvertisement| peers.iter().any(|peer| it.is_for(&peer.name));
        let for_peers: Vec<&BgpAdvertisement> = of_service.into_iter().filter(is_for_any).collect();
        if for_peers.is_empty() {
            return Err(NotAnnounced::NoPeer { pool });
        }
        let ways: Vec<(&Node, Way<'_>)> = self.nodes().map(|node| (node, way(node, &for_peers, peers, Family::of(address)))).collect();
        match ways.iter().map(|(_, way)| way).max() {
            None => Err(NotAnnounced::NoMember),
            Some(Way::NoMatch) => {
                let selectors: BTreeSet<String> = for_peers.iter().flat_map(|it| &it.node_selectors).map(ToString::to_string).collect();
                Err(NotAnnounced::NoNodeMatch { pool, selector: selectors.into_iter().collect::<Vec<_>>().join(" or ") })
            }
            Some(Way::NoSession) => Err(NotAnnounced::NoSession { pool }),
            Some(Way::NoFamily) => Err(NotAnnounced::FamilyNotSpoken { address }),
            Some(Way::Unavailable) => Err(NotAnnounced::NetworkUnavailable),
            Some(Way::Open(_)) => self.serving(claim, service, &ways),
        }
    }

    /// Those to whom the way is open, without those that leave it to others, and with endpoints in reach.
    fn serving(self, claim: &Claim, service: &Service, ways: &[(&Node, Way<'_>)]) -> Result<Announcers, NotAnnounced> {
        let Some(endpoints) = self.snapshot.endpoints.get(&service.key) else { return Err(NotAnnounced::EndpointsUnknown) };
        if !endpoints.serving {
            return Err(NotAnnounced::NoServingEndpoint { any: endpoints.any });
        }
        let leaves = ways.iter().any(|(node, _)| node.excluded) && self.has_other(claim, service);
        let (mut announcers, mut may) = (Announcers::default(), false);
        for (node, way) in ways.iter().filter(|(node, _)| !(node.excluded && leaves)) {
            let Way::Open(peers) = way else { continue };
            may = true;
            if in_reach(service, endpoints, &node.name) {
                announcers.nodes.insert(node.name.clone());
                announcers.peers.extend(peers.iter().map(ToString::to_string));
            }
        }
        if !announcers.nodes.is_empty() {
            Ok(announcers)
        } else if may {
            Err(NotAnnounced::NoLocalEndpoint { nodes: endpoints.nodes.keys().map(ToString::to_string).collect() })
        } else {
            Err(NotAnnounced::Excluded)
        }
    }

    /// Who announces the addresses of `group`; nothing where no BGPAdvertisement is.
    pub fn of_group(self, group: &Group) -> OverBgp {
        if self.config.bgp.advertisements.is_empty() {
            return OverBgp::new();
        }
        group.claims.values().map(|claim| (claim.address, self.of_claim(claim, self.services(claim)))).collect()
    }

    /// Who announces the addresses of `group` that `service` has, for its own sake.
    pub fn of_service(self, group: &Group, service: &Service) -> OverBgp {
        let its = |claim: &&Arc<Claim>| claim.holders.iter().any(|holder| holder.service == service.key);
        let claims = group.claims.values().filter(its).filter(|_| !self.config.bgp.advertisements.is_empty());
        claims.map(|claim| (claim.address, self.of_claim(claim, std::iter::once(service)))).collect()
    }

    fn of_claim<'s>(self, claim: &Claim, services: impl Iterator<Item = &'s Service>) -> Result<Announcers, NotAnnounced> {
        let peers: Vec<&BgpPeer> = self.config.bgp.peers.iter().collect();
        let (mut together, mut why) = (Announcers::default(), None);
        for service in services {
            match self.announcers(claim, service, &peers) {
                Ok(announcers) => {
                    together.nodes.extend(announcers.nodes);
                    together.peers.extend(announcers.peers);
                }
                Err(reason) => drop(why.get_or_insert(reason)),
            }
        }
        if together.nodes.is_empty() { Err(why.unwrap_or(NotAnnounced::NotPlaced)) } else { Ok(together) }
    }

    /// Whether any living member may announce addresses of `pool` and `family`, to whichever peer.
    pub fn reaches(self, pool: &PoolName, family: Family) -> bool {
        let advertisements: Vec<&BgpAdvertisement> = self.of_pool(pool).collect();
        !advertisements.is_empty()
            && self.nodes().any(|node| {
                let peers: Vec<&BgpPeer> = peers_of(self.config, node).collect();
                advertisements.iter().any(|it| lets(it, node, &peers, family))
            })
    }
}

fn way<'a>(node: &Node, advertisements: &[&BgpAdvertisement], peers: &[&'a BgpPeer], family: Family) -> Way<'a> {
    let matching = || advertisements.iter().filter(|it| matches_any(&it.node_selectors, &node.labels));
    let speaking = peers.iter().filter(|peer| matches_any(&peer.node_selectors, &node.labels));
    let sessions: Vec<&&BgpPeer> = speaking.filter(|peer| matching().any(|it| it.is_for(&peer.name))).collect();
    let open: BTreeSet<&str> = sessions.iter().filter(|peer| speaks(peer, family)).map(|peer| peer.name.as_str()).collect();
    if matching().next().is_none() {
        Way::NoMatch
    } else if sessions.is_empty() {
        Way::NoSession
    } else if open.is_empty() {
        Way::NoFamily
    } else if node.network_unavailable {
        Way::Unavailable
    } else {
        Way::Open(open)
    }
}

/// Whether `advertisement` lets `node` tell any of `peers`, its own, of an address of `family`.
pub(super) fn lets(advertisement: &BgpAdvertisement, node: &Node, peers: &[&BgpPeer], family: Family) -> bool {
    matches_any(&advertisement.node_selectors, &node.labels)
        && peers.iter().any(|peer| advertisement.is_for(&peer.name) && speaks(peer, family))
}
