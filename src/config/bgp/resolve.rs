//! What the whole configuration shows about BGP: names that mean nothing, peers and advertisements that contradict each other, what
//! will not be sent, and MetalLB's rule on aggregation.
//!
//! A missing pool or peer leaves something unannounced, which is noted; a missing BFD profile or community would announce it otherwise
//! than was asked (unwatched, or further than it may go), which is refused. Where two advertisements meet only on some nodes is not
//! known here; only what meets for certain is told.

use std::collections::BTreeSet;

use ipnet::{Ipv4Subnets, Ipv6Subnets};

use super::peer::RawPeer;
use super::{Bgp, BgpAdvertisement, BgpPeer, asn, community};
use crate::addr::Range;
use crate::config::PoolName;
use crate::config::problem::Place;
use crate::config::raw::{At, Protocol, Raw, RawAdvertisement, RawPool, Reading};
use crate::config::tree::quoted;
use crate::facts::Selector;

/// An advertisement, the pools it reaches, and the peers it names.
type Reached<'r> = (&'r RawAdvertisement, &'r BTreeSet<PoolName>, BTreeSet<&'r str>);

/// Everything about BGP, without what is implied.
pub(crate) fn resolve(raw: &Raw, reached: &[BTreeSet<PoolName>], reading: &mut Reading) -> Bgp {
    let peers = peers(raw, reading);
    let over_bgp = raw.advertisements.iter().zip(reached).filter(|(advertisement, _)| advertisement.protocol == Protocol::Bgp);
    let written: Vec<Reached<'_>> =
        over_bgp.map(|(raw, pools)| (raw, pools, raw.routes.peers.iter().map(|at| at.value.as_str()).collect())).collect();
    for (index, this) in written.iter().enumerate() {
        check_aggregation(this, &raw.pools, reading);
        check_peers(this.0, &peers, reading);
        // The first contradiction is enough to read.
        let _ = written[..index].iter().find(|other| contradict(other, this, &raw.pools, reading));
    }
    Bgp {
        advertisements: written.iter().map(|this| advertisement(this, raw, reading)).collect(),
        peers,
        bfd_profiles: raw.bfd_profiles.iter().map(|raw| (raw.name.value.clone(), raw.profile.clone())).collect(),
        communities: raw.aliases.iter().filter_map(|alias| Some((alias.name.value.clone(), alias.value?))).collect(),
    }
}

fn advertisement((raw, pools, _): &Reached<'_>, all: &Raw, reading: &mut Reading) -> BgpAdvertisement {
    BgpAdvertisement {
        name: raw.name.as_ref().map(|name| name.value.clone()),
        communities: community::resolve(&raw.routes.communities, &all.aliases, reading).into_iter().collect(),
        node_selectors: raw.node_selectors.clone(),
        service_selectors: raw.service_selectors.clone(),
        ..BgpAdvertisement::everywhere((*pools).clone()).with(&raw.routes)
    }
}

fn peers(raw: &Raw, reading: &mut Reading) -> Vec<BgpPeer> {
    remark_numbers(raw, reading);
    let mut names: BTreeSet<&str> = raw.peers.iter().filter_map(|peer| Some(peer.name.as_ref()?.value.as_str())).collect();
    let spare: Vec<String> = (1..=2 * raw.peers.len()).map(|n| format!("peer{n}")).collect();
    let mut spare = spare.iter().filter(|name| !names.contains(name.as_str())).collect::<Vec<_>>().into_iter();
    let mut peers: Vec<(BgpPeer, &Place)> = Vec::new();
    names.clear();
    for raw_peer in &raw.peers {
        let name = match &raw_peer.name {
            Some(name) => name.value.clone(),
            None => spare.next().cloned().expect("there are as many spare names as peers"),
        };
        if let Some(peer) = peer(name, raw_peer, raw, reading) {
            check_second_session(&peer, &raw_peer.place, &peers, reading);
            peers.push((peer, &raw_peer.place));
        }
    }
    peers.into_iter().map(|(peer, _)| peer).collect()
}

fn peer(name: String, raw_peer: &RawPeer, raw: &Raw, reading: &mut Reading) -> Option<BgpPeer> {
    let my_asn = raw_peer.my_asn.as_ref().or(raw.asn.as_ref());
    if let (None, Some(field)) = (my_asn, raw_peer.my_asn_name) {
        let message = if field == "asn" { "there are peers, but no `asn`".to_owned() } else { format!("this peer has no `{field}`") };
        reading.problem(&raw_peer.place, message, format!("add `{field}:` with the AS number of the cluster, such as 64513"));
    }
    if let Some(profile) = &raw_peer.bfd_profile {
        let names = || raw.bfd_profiles.iter().map(|profile| profile.name.value.as_str());
        if !names().any(|name| name == profile.value) {
            let help = reading.guess(&profile.value, names()).map_or_else(
                || "add a BFDProfile of that name, or remove `bfdProfile`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            reading.problem(&profile.place, format!("there is no BFD profile {}", quoted(&profile.value)), help);
        }
    }
    let bfd_profile = raw_peer.bfd_profile.as_ref().map(|profile| profile.value.clone());
    let peer = BgpPeer { name, my_asn: my_asn?.value, bfd_profile, ..raw_peer.peer.clone()? };
    if let (Some(place), true) = (&raw_peer.multi_hop, peer.is_internal()) {
        let message = format!("peer {} is of our own AS, where any number of hops is allowed", quoted(&peer.name));
        reading.problem(place, message, "remove it: it is for routers of another AS");
    }
    Some(peer)
}

/// Each number once, where it stands first.
fn remark_numbers(raw: &Raw, reading: &mut Reading) {
    let mut seen = BTreeSet::new();
    let written = raw.peers.iter().flat_map(|peer| peer.my_asn.iter().chain(&peer.remote_asn));
    for At { value, place } in raw.asn.iter().chain(written) {
        if let (true, Some(remark)) = (seen.insert(*value), asn::remark(*value)) {
            reading.note(place, remark);
        }
    }
}

/// A router takes one session from a node (RFC 4271 §6.8), unless it listens on several ports.
fn check_second_session(peer: &BgpPeer, place: &Place, others: &[(BgpPeer, &Place)], reading: &mut Reading) {
    let same = |other: &BgpPeer| {
        (&other.neighbor, other.peer_port, &other.vrf) == (&peer.neighbor, peer.peer_port, &peer.vrf)
            && meet(&other.node_selectors, &peer.node_selectors)
    };
    if let Some((other, first)) = others.iter().find(|(other, _)| same(other)) {
        let message = format!(
            "peer {} is the same router as peer {} in {}, and a node opens one session to it only",
            quoted(&peer.name),
            quoted(&other.name),
            place.mention(first)
        );
        reading.problem(place, message, "remove one of the two, or give each `nodeSelectors` of its own");
    }
}

/// Whether two lists of node selectors choose a common node for certain (given that each chooses any).
fn meet(a: &[Selector], b: &[Selector]) -> bool {
    a.is_empty() || b.is_empty() || a.iter().any(|selector| b.contains(selector))
}

fn check_peers(raw: &RawAdvertisement, peers: &[BgpPeer], reading: &mut Reading) {
    for name in &raw.routes.peers {
        if !peers.iter().any(|peer| peer.name == name.value) {
            let names = peers.iter().map(|peer| peer.name.as_str());
            let near = reading.guess(&name.value, names).map_or_else(String::new, |near| format!("; did you mean {}?", quoted(near)));
            reading.note(&name.place, format!("there is no peer {}{near}", quoted(&name.value)));
        }
    }
    if raw.routes.peers.is_empty() && peers.is_empty() {
        reading.note(&raw.place, "this BGPAdvertisement has no peer to announce to: add a BGPPeer");
    }
    let Some(local_pref) = &raw.routes.local_pref else { return };
    let named = |peer: &BgpPeer| raw.routes.peers.is_empty() || raw.routes.peers.iter().any(|name| name.value == peer.name);
    let external: Vec<String> = peers.iter().filter(|peer| named(peer) && !peer.is_internal()).map(|peer| quoted(&peer.name)).collect();
    if !external.is_empty() {
        let what = if external.len() == 1 { "peer" } else { "peers" };
        let message =
            format!("the local preference is not sent to {what} {}: it stays within an AS (RFC 4271 §5.1.5)", external.join(", "));
        reading.note(&local_pref.place, message);
    }
}

/// MetalLB's rule: a route must not be longer than the largest block of an entry of `addresses`, or it would be announced in parts
/// that nobody wrote.
fn check_aggregation((raw, pools, _): &Reached<'_>, all: &[RawPool], reading: &mut Reading) {
    let lengths = [&raw.routes.aggregation_length, &raw.routes.aggregation_length_v6];
    for pool in all.iter().filter(|pool| pools.contains(pool.name.value.as_str())) {
        for range in &pool.ranges {
            let (v4, shortest) = shortest_prefix(range.value.range);
            let Some(length) = lengths[usize::from(!v4)] else { continue };
            if length.value < shortest {
                let message = format!(
                    "a /{} would announce more than {} of pool {}, whose largest block is a /{shortest}",
                    length.value,
                    quoted(&range.value.text),
                    quoted(&pool.name.value)
                );
                let help = format!("write {shortest} or more, or give the pool a whole /{}", length.value);
                reading.problem(&length.place, message, help);
            }
        }
    }
}

/// Whether `range` is IPv4, and the length of the largest prefix in it.
fn shortest_prefix(range: Range) -> (bool, u8) {
    match (range.first(), range.last()) {
        (std::net::IpAddr::V4(first), std::net::IpAddr::V4(last)) => {
            (true, Ipv4Subnets::new(first, last, 0).map(|net| net.prefix_len()).min().unwrap_or(32))
        }
        (std::net::IpAddr::V6(first), std::net::IpAddr::V6(last)) => {
            (false, Ipv6Subnets::new(first, last, 0).map(|net| net.prefix_len()).min().unwrap_or(128))
        }
        _ => (true, 32),
    }
}

/// MetalLB's rule: one route to one peer from one node has one value of an attribute. Advertisements for some Services meet at run time.
fn contradict(
    (first, first_pools, a): &Reached<'_>,
    (second, second_pools, b): &Reached<'_>,
    all: &[RawPool],
    reading: &mut Reading,
) -> bool {
    let (one, other) = (first.routes.lengths(), second.routes.lengths());
    let for_services = !first.service_selectors.is_empty() || !second.service_selectors.is_empty();
    let apart = !a.is_empty() && !b.is_empty() && a.is_disjoint(b) || one.0 != other.0 && one.1 != other.1;
    if for_services || apart || !meet(&first.node_selectors, &second.node_selectors) {
        return false;
    }
    let same_route = |pool: &&RawPool| {
        let name = pool.name.value.as_str();
        let has = |v4: bool| pool.ranges.iter().any(|range| range.value.range.first().is_ipv4() == v4);
        let same = has(true) && one.0 == other.0 || has(false) && one.1 == other.1;
        same && first_pools.contains(name) && second_pools.contains(name)
    };
    let Some(pool) = all.iter().find(same_route) else { return false };
    let (one, other) = (&first.routes, &second.routes);
    let prepend = |at: &Option<At<u8>>| at.as_ref().map(|at| (u32::from(at.value), at.place.clone())).filter(|(n, _)| *n > 0);
    let preference = |at: &Option<At<u32>>| at.as_ref().map(|at| (at.value, at.place.clone()));
    let attributes = [
        ("another local preference", preference(&one.local_pref), preference(&other.local_pref)),
        ("another number of prepended AS numbers", prepend(&one.as_path_prepend), prepend(&other.as_path_prepend)),
    ];
    let before = reading.problems.len();
    for (what, one, other) in attributes {
        if one.as_ref().map(|(value, _)| value) != other.as_ref().map(|(value, _)| value) {
            let place = other.map_or_else(|| second.place.clone(), |(_, place)| place);
            let there = place.mention(&one.map_or_else(|| first.place.clone(), |(_, place)| place));
            let message = format!("this gives the routes of pool {} {what} than the advertisement in {there}", quoted(&pool.name.value));
            reading.problem(&place, message, "write the same in both, or give them different peers, nodes or aggregation lengths");
        }
    }
    reading.problems.len() > before
}
