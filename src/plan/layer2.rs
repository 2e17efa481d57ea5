//! What one node has to do on layer 2: its part of the plan, and what it needs to know of the others to do it well.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{GroupPlan, Plan};
use crate::addr::{MacAddr, Range, RangeSet};
use crate::config::{Config, Promiscuous};
use crate::facts::{Link, Links, Living, Medium, MemberLink, NodeName, Snapshot};
use crate::l2::desired::{Desired, LinkDesired};

/// What node `me` answers for: nothing unless it lives, for whoever takes over owes an evicted node no hand-over. Links that this host
/// does not have (any more) are left out: the member Lease follows.
pub fn l2_desired(config: &Config, snapshot: &Snapshot, living: &Living, plan: &Plan, links: &Links, me: &NodeName) -> Desired {
    let Some(member) = living.members.get(me) else { return Desired::default() };
    // Members that left count too: they answer on for a moment, so that the new owner can take over first.
    let members = snapshot.members.values().flat_map(|member| &member.links).map(|link| link.mac);
    let known_macs: BTreeSet<MacAddr> = links.links.values().map(|link| link.mac).chain(members).collect();
    let successors = Arc::new(successors(living, plan, me));
    let leads =
        snapshot.leader.as_ref().and_then(|leader| leader.holder.as_deref()).is_some_and(|holder| holder_node(holder) == me.as_str());
    let never = if leads { never_watched(snapshot) } else { BTreeSet::new() };
    let mut desired = Desired::default();
    for (told, link) in member.links.iter().filter_map(|told| Some((told, links.links.get(&told.name).filter(|link| link.up)?))) {
        let watched = if leads { watched(config, told, &never) } else { RangeSet::default() };
        let (known_macs, successors, announce_interval) = (known_macs.clone(), successors.clone(), config.settings.announce_interval);
        let (index, mac) = (link.index, link.mac);
        let until_heard = living.detached;
        let bare = LinkDesired {
            index,
            mac,
            known_macs,
            successors,
            watched,
            announce_interval,
            until_heard,
            promiscuous: promiscuous(config, link),
            ..LinkDesired::default()
        };
        desired.links.insert(link.name.clone(), with_addresses(bare, plan, link, me));
    }
    desired
}

fn promiscuous(config: &Config, link: &Link) -> bool {
    match config.settings.promiscuous {
        Promiscuous::Never => false,
        Promiscuous::Wireless => link.medium == Medium::Wireless,
        Promiscuous::Always => true,
    }
}

/// The addresses that `me` owns on `link`.
fn with_addresses(mut desired: LinkDesired, plan: &Plan, link: &Link, me: &NodeName) -> LinkDesired {
    for (group, owner) in owned(plan).filter(|(_, owner)| owner.node == *me) {
        for (address, _) in owner.links.iter().filter(|(_, names)| names.contains(&link.name)) {
            desired.addresses.insert(*address, Arc::from(group.group.label()));
            let placement = group.group.claims.get(address).and_then(|claim| claim.placement.as_ref());
            if placement.is_some_and(|placement| placement.node == *me && placement.generation == owner.generation) {
                desired.fresh.insert(*address);
            }
        }
    }
    desired
}

fn owned(plan: &Plan) -> impl Iterator<Item = (&GroupPlan, &super::Owner)> {
    plan.groups.values().filter_map(|group| Some((group.as_ref(), group.owner.as_ref().ok()?)))
}

/// Who announces what `me` does not own, by MAC.
fn successors(living: &Living, plan: &Plan, me: &NodeName) -> BTreeMap<IpAddr, BTreeSet<MacAddr>> {
    let others = owned(plan).filter(|(_, owner)| owner.node != *me);
    others
        .filter_map(|(_, owner)| Some((owner, living.members.get(&owner.node)?)))
        .flat_map(|(owner, member)| {
            owner.links.iter().map(|(address, names)| {
                let links = member.links.iter().filter(|link| names.contains(&link.name));
                (*address, links.map(|link| link.mac).collect())
            })
        })
        .collect()
}

/// `<node>/<instance>`
fn holder_node(holder: &str) -> &str {
    holder.split_once('/').map_or(holder, |(node, _)| node)
}

/// Addresses that nobody is told about: whoever has them has them by right, and they are never assigned.
fn never_watched(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let members = || snapshot.members.values();
    let of_links = members().flat_map(|member| &member.links).flat_map(|link| &link.addresses).map(ipnet::IpNet::addr);
    let gateways = members().flat_map(|member| member.gateways.iter().copied());
    let of_nodes = snapshot.nodes.values().flat_map(|node| node.addresses.iter().copied());
    of_links.chain(gateways).chain(of_nodes).collect()
}

/// The addresses of pools on that link. One node of the cluster watches, the leader's: what it hears, all would hear.
fn watched(config: &Config, link: &MemberLink, never: &BTreeSet<IpAddr>) -> RangeSet {
    let ranges = || config.pools.iter().flat_map(|pool| &pool.ranges);
    let mut watched: RangeSet =
        link.prefixes().flat_map(|prefix| ranges().filter_map(move |range| range.intersection(Range::from(prefix)))).collect();
    for address in never {
        watched.remove(*address);
    }
    watched
}
