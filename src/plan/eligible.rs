//! Candidates: the members that could announce a group; and which of them are eligible, for a serving endpoint is in reach.
//!
//! *Candidate* = living ∧ not excluded (unless all are) ∧ not `NetworkUnavailable` ∧ matched by an advertisement ∧ has a link for the
//! address. Interface eligibility decides before ownership, so the owner is always a node that can answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Owner;
use super::announcers::View;
use super::departure::Departure;
use super::group::Group;
use super::reason::NotAnnounced;
use crate::addr::Family;
use crate::config::{Config, L2Advertisement, OnCordon, Pool, PoolName};
use crate::facts::{
    Claim, Endpoints, Labels, Link, LinkName, Living, LivingMember, Medium, MemberLink, Node, NodeName, Service, Snapshot, TrafficPolicy,
};

/// A node that could announce a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The generation of its member Lease.
    pub generation: u32,
    /// Links for each address it can announce.
    pub links: BTreeMap<IpAddr, Vec<LinkName>>,
    /// Sum of matching `preferredNodeSelectors`.
    pub preference: u32,
    /// Node is Ready.
    pub ready: bool,
    /// Node is cordoned.
    pub cordoned: bool,
    /// Its kube-proxy fails its health check.
    pub dataplane_unhealthy: bool,
    /// It does not reach the API server: it would not hear that it was given something.
    pub detached: bool,
    /// Why the group should leave this node although it could be announced there.
    pub leave: Option<Departure>,
    /// All links used are wired.
    pub wired: bool,
    /// Serving endpoints are in reach of this node.
    pub eligible: bool,
}

/// All candidates of a group, and if there are none: why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidates {
    /// By node.
    pub nodes: BTreeMap<NodeName, Candidate>,
    /// Why no candidate is eligible; meaningful only then.
    pub otherwise: NotAnnounced,
    /// All candidates carry the label `exclude-from-external-load-balancers`, which is therefore not honoured.
    pub all_excluded: bool,
}

/// Finds the candidates of `group`.
pub fn candidates(config: &Config, snapshot: &Snapshot, living: &Living, group: &Group) -> Candidates {
    let services: Vec<&Service> = group.services.iter().filter_map(|key| snapshot.services.get(key)).map(AsRef::as_ref).collect();
    let unsettled = configurations_differ(snapshot, living);
    let mut nodes = BTreeMap::new();
    let mut excluded = BTreeMap::new();
    let mut unavailable = false;
    for (name, member) in &living.members {
        let Some(node) = snapshot.nodes.get(name) else { continue };
        let recorded = group.placement().is_some_and(|at| at.node == *name && at.generation == member.generation);
        let Some(mut candidate) = candidate(config, &services, group, node, member, unsettled && recorded) else { continue };
        candidate.leave = leave(config, snapshot, &services, node, member).filter(|_| !unsettled);
        if node.network_unavailable {
            unavailable = true;
        } else if node.excluded {
            excluded.insert(name.clone(), candidate);
        } else {
            nodes.insert(name.clone(), candidate);
        }
    }
    // A single-node kubeadm cluster carries the label on its only node: honouring it would serve nobody.
    let all_excluded = nodes.is_empty() && !excluded.is_empty();
    if all_excluded {
        nodes = excluded;
    }
    // Half of a dual-stack group is better than nothing, but not while a node can announce all of it.
    let coverage = nodes.values().map(|candidate| candidate.links.len()).max().unwrap_or(0);
    nodes.retain(|_, candidate| candidate.links.len() == coverage);
    let otherwise = if nodes.is_empty() {
        if unavailable { NotAnnounced::NetworkUnavailable } else { why_no_candidate(config, snapshot, living, &services, group) }
    } else {
        mark_eligible(&mut nodes, snapshot, &services)
    };
    if !unsettled {
        mark_less_preferred(&mut nodes);
    }
    Candidates { nodes, otherwise, all_excluded }
}

/// While the configurations of living members differ, only loss moves a group: some would follow the new rules and some the old ones.
/// A member that has none yet announces nothing and does not count.
pub fn configurations_differ(snapshot: &Snapshot, living: &Living) -> bool {
    let hashes = living.members.keys().filter_map(|name| snapshot.members.get(name)?.config.as_ref());
    hashes.collect::<BTreeSet<_>>().len() > 1
}

/// `keeps`: whether the configuration lets it announce is not asked, for it may be newer, or older, than that of the others.
fn candidate(config: &Config, services: &[&Service], group: &Group, node: &Node, member: &LivingMember, keeps: bool) -> Option<Candidate> {
    let mut links = BTreeMap::new();
    let mut preference = 0;
    let mut wired = true;
    for claim in group.claims.values() {
        let advertisements: Vec<&L2Advertisement> =
            advertisements_of(config, services, claim).filter(|ad| keeps || matches_any(&ad.node_selectors, &node.labels)).collect();
        let mut chosen = links_for(config, &advertisements, member, claim.address);
        if keeps && chosen.is_empty() {
            chosen = on_link(config, &BTreeSet::new(), member, claim.address);
        }
        if chosen.is_empty() {
            continue;
        }
        wired &= chosen.iter().all(|link| link.medium == Medium::Wired);
        links.insert(claim.address, chosen.iter().map(|link| link.name.clone()).collect());
        let preferred = advertisements.iter().flat_map(|ad| &ad.preferred_node_selectors);
        preference += preferred.filter(|preferred| preferred.selector.matches(&node.labels)).map(|preferred| preferred.weight).sum::<u32>();
    }
    (!links.is_empty()).then_some(Candidate {
        generation: member.generation,
        links,
        preference,
        ready: node.ready,
        cordoned: node.unschedulable,
        dataplane_unhealthy: member.dataplane_unhealthy,
        detached: member.detached,
        leave: None,
        wired,
        eligible: false,
    })
}

/// Why the group should leave `node`, if there is a better one.
fn leave(config: &Config, snapshot: &Snapshot, services: &[&Service], node: &Node, member: &LivingMember) -> Option<Departure> {
    let serves = |service: &Service| snapshot.endpoints.get(&service.key).is_some_and(|endpoints| endpoints.nodes.contains_key(&node.name));
    match config.settings.on_cordon {
        _ if member.dataplane_unhealthy => Some(Departure::DataplaneUnhealthy),
        OnCordon::Move if node.unschedulable => Some(Departure::Cordoned),
        OnCordon::Drained if node.unschedulable && !services.iter().any(|service| serves(service)) => Some(Departure::Drained),
        OnCordon::Move | OnCordon::Drained | OnCordon::Stay => None,
    }
}

/// The advertisements of the address's pool that apply to at least one of its Services.
fn advertisements_of<'a>(config: &'a Config, services: &[&Service], claim: &'a Claim) -> impl Iterator<Item = &'a L2Advertisement> {
    let pool = pool_name(config, claim);
    config
        .l2_advertisements
        .iter()
        .filter(move |ad| ad.pools.contains(&pool))
        .filter(|ad| services.iter().any(|service| matches_any(&ad.service_selectors, &service.labels)))
}

/// The pool that holds the address now; the recorded one only while a reconfiguration is under way.
pub(super) fn pool_name(config: &Config, claim: &Claim) -> PoolName {
    config.pool_of(claim.address).map_or_else(|| PoolName::new(&claim.pool), |pool: &Pool| pool.name.clone())
}

/// Whether any of `selectors` matches; none at all match everything.
pub fn matches_any(selectors: &[crate::facts::Selector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}

/// The links of `member` on which `address` is announced: those that the advertisements name, together; and if one names none, the one
/// link whose on-link prefix holds it, wired first, so that eth0 and wlan0 in one subnet do not both answer.
fn links_for<'a>(config: &Config, advertisements: &[&L2Advertisement], member: &'a LivingMember, address: IpAddr) -> Vec<&'a MemberLink> {
    if advertisements.is_empty() {
        return Vec::new();
    }
    let named: BTreeSet<&LinkName> = advertisements.iter().flat_map(|ad| &ad.interfaces).collect();
    let unnamed = advertisements.iter().any(|ad| ad.interfaces.is_empty());
    let found = if unnamed { on_link(config, &named, member, address) } else { Vec::new() };
    member.links.iter().filter(|link| named.contains(&link.name) || found.contains(link)).collect()
}

fn on_link<'a>(config: &Config, named: &BTreeSet<&LinkName>, member: &'a LivingMember, address: IpAddr) -> Vec<&'a MemberLink> {
    let usable = |link: &&MemberLink| named.contains(&link.name) || !is_excluded(config, &link.name);
    let on_link = member.links.iter().filter(|link| link.on_link(address)).filter(usable);
    on_link.min_by_key(|link| (link.medium, &link.name)).into_iter().collect()
}

/// Whether `excludeInterfaces` covers the link.
pub fn is_excluded(config: &Config, link: &LinkName) -> bool {
    config.settings.exclude_interfaces.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => link.as_str().starts_with(prefix),
        None => link.as_str() == pattern,
    })
}

/// Whether a link is worth telling other members: it has a network and is not excluded, or an advertisement names it. (A link for each
/// pod comes and goes with the pod; the Lease must not follow.)
pub fn may_announce(config: &Config, link: &Link) -> bool {
    let has_network = link.prefixes().next().is_some();
    (has_network && !is_excluded(config, &link.name)) || config.l2_advertisements.iter().any(|ad| ad.interfaces.contains(&link.name))
}

/// Whether traffic that arrives at `node` gets to an endpoint.
pub(super) fn in_reach(service: &Service, endpoints: &Endpoints, node: &NodeName) -> bool {
    match service.traffic_policy {
        TrafficPolicy::Cluster => endpoints.serving,
        TrafficPolicy::Local => endpoints.nodes.contains_key(node),
    }
}

/// What an announcement by `owner` is worth to one of the Services that share the address.
///
/// # Errors
/// Why the Service is not reached although the address is announced.
pub fn reached(snapshot: &Snapshot, service: &Service, owner: &Owner) -> Result<(), NotAnnounced> {
    match snapshot.endpoints.get(&service.key) {
        None => Err(NotAnnounced::EndpointsUnknown),
        Some(endpoints) if !endpoints.serving => Err(NotAnnounced::NoServingEndpoint { any: endpoints.any }),
        Some(endpoints) if !in_reach(service, endpoints, &owner.node) => {
            let nodes = endpoints.nodes.keys().map(ToString::to_string).collect();
            Err(NotAnnounced::SharedElsewhere { node: owner.node.to_string(), nodes })
        }
        Some(_) => Ok(()),
    }
}

/// Marks candidates with serving endpoints in reach, and says why none is, if so. Of Services that share an address, as many as can be
/// are served: one without any serving endpoint in reach does not withdraw the others.
fn mark_eligible(nodes: &mut BTreeMap<NodeName, Candidate>, snapshot: &Snapshot, services: &[&Service]) -> NotAnnounced {
    let none = Endpoints::default();
    let endpoints = |service: &Service| snapshot.endpoints.get(&service.key).map_or(&none, AsRef::as_ref);
    let serving: Vec<&&Service> = services.iter().filter(|service| endpoints(service).serving).collect();
    if serving.is_empty() && !services.iter().any(|service| snapshot.endpoints.contains_key(&service.key)) {
        return NotAnnounced::EndpointsUnknown;
    }
    if serving.is_empty() {
        return NotAnnounced::NoServingEndpoint { any: services.iter().any(|service| endpoints(service).any) };
    }
    let served = |name: &NodeName| serving.iter().filter(|service| in_reach(service, endpoints(service), name)).count();
    let most = nodes.keys().map(served).max().unwrap_or(0);
    for (name, candidate) in nodes {
        candidate.eligible = most > 0 && served(name) == most;
    }
    let local = serving.iter().filter(|service| service.traffic_policy == TrafficPolicy::Local);
    let holders: BTreeSet<String> = local.flat_map(|service| endpoints(service).nodes.keys()).map(ToString::to_string).collect();
    NotAnnounced::NoLocalEndpoint { nodes: holders.into_iter().collect() }
}

/// A group leaves a node when a preferred one is fit to have it.
fn mark_less_preferred(nodes: &mut BTreeMap<NodeName, Candidate>) {
    let fit = nodes.values().filter(|candidate| candidate.leave.is_none() && Departure::Preferred.is_improved_by(candidate));
    let best = fit.map(|candidate| candidate.preference).max().unwrap_or(0);
    for candidate in nodes.values_mut().filter(|candidate| candidate.preference < best) {
        candidate.leave.get_or_insert(Departure::Preferred);
    }
}

/// Why nobody announces the group; if it goes over BGP, why it does not do that.
fn why_no_candidate(config: &Config, snapshot: &Snapshot, living: &Living, services: &[&Service], group: &Group) -> NotAnnounced {
    let Some(claim) = group.claims.values().next() else { return NotAnnounced::NotPlaced };
    let on_layer_2 = why_not_on_layer_2(config, snapshot, living, services, claim);
    match ((View { config, snapshot, living }).of_group(group).remove(&claim.address), on_layer_2) {
        (Some(Ok(_)), _) => NotAnnounced::OverBgp { pool: pool_name(config, claim) },
        (None | Some(Err(NotAnnounced::NoAdvertisement { .. })), on_layer_2) => on_layer_2,
        (Some(Err(over_bgp)), NotAnnounced::NoAdvertisement { .. }) => over_bgp,
        (Some(Err(NotAnnounced::NoServiceMatch { .. })), on_layer_2) => on_layer_2,
        (Some(Err(over_bgp)), _) => over_bgp,
    }
}

/// Walks the conditions in the order in which a person would fix them.
fn why_not_on_layer_2(config: &Config, snapshot: &Snapshot, living: &Living, services: &[&Service], claim: &Claim) -> NotAnnounced {
    let pool = pool_name(config, claim);
    let of_pool: Vec<&L2Advertisement> = config.l2_advertisements.iter().filter(|ad| ad.pools.contains(&pool)).collect();
    if of_pool.is_empty() {
        return NotAnnounced::NoAdvertisement { pool };
    }
    let of_service: Vec<&L2Advertisement> = advertisements_of(config, services, claim).collect();
    if of_service.is_empty() {
        return NotAnnounced::NoServiceMatch { pool };
    }
    let members: Vec<(&Node, &LivingMember)> =
        living.members.iter().filter_map(|(name, member)| Some((snapshot.nodes.get(name)?.as_ref(), member))).collect();
    if members.is_empty() {
        return NotAnnounced::NoMember;
    }
    let of_nodes: Vec<&&L2Advertisement> =
        of_service.iter().filter(|ad| members.iter().any(|(node, _)| matches_any(&ad.node_selectors, &node.labels))).collect();
    if of_nodes.is_empty() {
        let selectors: BTreeSet<String> = of_service.iter().flat_map(|ad| &ad.node_selectors).map(ToString::to_string).collect();
        return NotAnnounced::NoNodeMatch { pool, selector: selectors.into_iter().collect::<Vec<_>>().join(" or ") };
    }
    if of_nodes.iter().all(|ad| !ad.interfaces.is_empty()) {
        let interfaces: BTreeSet<String> = of_nodes.iter().flat_map(|ad| &ad.interfaces).map(ToString::to_string).collect();
        return NotAnnounced::NoInterface { interfaces: interfaces.into_iter().collect() };
    }
    let address = claim.address;
    let links = members.iter().flat_map(|(_, member)| &member.links).filter(|link| !is_excluded(config, &link.name));
    let prefixes: BTreeSet<String> = links
        .flat_map(MemberLink::prefixes)
        .filter(|prefix| Family::of(prefix.first()) == Family::of(address))
        .map(|prefix| prefix.to_string())
        .collect();
    NotAnnounced::NoLink { address, prefixes: prefixes.into_iter().collect() }
}
