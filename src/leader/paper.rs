//! The leader on paper: carries out its decisions on a copy of what was seen, until nothing is left to do. So `lanlord plan` says what
//! the agents would do because it asks them.
//!
//! On paper every write succeeds, and a Service that is not seen is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::decide::{Decision, Tend, Work, decide};
use super::suggest::{Advice, Prospect};
use super::tell::{Now, Publish};
use crate::addr::MacAddr;
use crate::config::Config;
use crate::facts::{Claim, Endpoints, LinkName, Living, Medium, Member, MemberLink, Node, NodeName, Service, ServiceKey, Snapshot};
use crate::plan::plan;

/// The name of a link of which nothing is known.
pub const UNKNOWN_LINK: &str = "?";
/// After so many rounds it would not come to rest. Three are usual: assign, record, move.
const ROUNDS: usize = 64;

/// The cluster as it would be once the leader has nothing left to write. Texts with a time say `now`.
pub fn settle(config: &Config, snapshot: &Snapshot, living: &Living) -> Snapshot {
    // What is given back on paper was given back after everything else.
    let now = Now { text: "now".to_owned(), seconds: i64::MAX, prospect: Prospect::Known(Advice::default()), ..Now::default() };
    let mut snapshot = snapshot.clone();
    for _ in 0..ROUNDS {
        let decision = decide(config, &snapshot, living, &plan(config, &snapshot, living), &now);
        if decision == Decision::default() {
            break;
        }
        for work in decision.work {
            carry_out(&mut snapshot, work);
        }
        for tend in decision.tend {
            match tend {
                Tend::Replace(claim) | Tend::Release(claim, _) => write(&mut snapshot, claim),
                Tend::Delete(claim) => {
                    Arc::make_mut(&mut snapshot.claims).remove(&claim.address);
                }
            }
        }
    }
    snapshot
}

fn carry_out(snapshot: &mut Snapshot, work: Work) {
    for claim in work.take {
        write(snapshot, claim);
    }
    if let Some(publish) = work.publish {
        let services = Arc::make_mut(&mut snapshot.services);
        services.insert(work.service.key.clone(), Arc::new(published(&work.service, publish)));
    }
    for claim in work.release {
        write(snapshot, claim);
    }
}

fn write(snapshot: &mut Snapshot, claim: Claim) {
    Arc::make_mut(&mut snapshot.claims).insert(claim.address, Arc::new(claim));
}

fn published(service: &Service, publish: Publish) -> Service {
    let mut service = service.clone();
    if let Some(ingress) = publish.ingress {
        service.ingress = ingress;
        service.foreign_ingress = false;
    }
    service.condition = Some(publish.condition);
    for (annotation, value) in publish.annotations {
        match value {
            Some(value) => service.annotations.insert(annotation, value),
            None => service.annotations.remove(&annotation),
        };
    }
    service
}

/// Members where no agent has ever run: one on every Ready node, with a link that holds every address of the node's families, and
/// each interface that an advertisement names. What links there really are, only a running agent can tell.
pub fn assume_members(config: &Config, snapshot: &mut Snapshot) {
    let named: Vec<&LinkName> = config.l2_advertisements.iter().flat_map(|advertisement| &advertisement.interfaces).collect();
    let member = |node: &Node| {
        let link =
            |name: &LinkName, addresses| MemberLink { name: name.clone(), mac: MacAddr::default(), medium: Medium::Wired, addresses };
        let everywhere = node.addresses.iter().filter_map(|address| ipnet::IpNet::new(*address, 0).ok()).collect();
        let mut links: BTreeMap<&LinkName, MemberLink> = named.iter().map(|name| (*name, link(name, [].into()))).collect();
        let unknown = LinkName::new(UNKNOWN_LINK);
        links.insert(&unknown, link(&unknown, everywhere));
        let links = links.into_values().collect();
        Member { node: node.name.clone(), instance: Some(UNKNOWN_LINK.to_owned()), links, ..Member::default() }
    };
    let nodes = snapshot.nodes.values().filter(|node| node.ready && !node.out_of_service);
    let members = nodes.map(|node| (node.name.clone(), Arc::new(member(node)))).collect();
    snapshot.members = Arc::new(members);
}

/// Every agent runs `config`: on paper an edit reaches all at once.
pub fn adopt_configuration(config: &Config, snapshot: &mut Snapshot) {
    for member in Arc::make_mut(&mut snapshot.members).values_mut() {
        if member.config.as_ref().is_some_and(|hash| *hash != config.hash) {
            Arc::make_mut(member).config = Some(config.hash.clone());
        }
    }
}

/// `kubectl drain`: the node is cordoned, and its pods start elsewhere. Returns the Services that have pods nowhere else: where
/// theirs start, nobody knows before.
pub fn drain(snapshot: &mut Snapshot, node: &NodeName) -> Vec<ServiceKey> {
    if let Some(node) = Arc::make_mut(&mut snapshot.nodes).get_mut(node) {
        Arc::make_mut(node).unschedulable = true;
    }
    let mut alone = Vec::new();
    for (service, endpoints) in
        Arc::make_mut(&mut snapshot.endpoints).iter_mut().filter(|(_, endpoints)| endpoints.nodes.contains_key(node))
    {
        let mut left = Endpoints::clone(endpoints);
        left.nodes.remove(node);
        if left.nodes.is_empty() && snapshot.services.contains_key(service) {
            alone.push(service.clone());
        }
        *endpoints = Arc::new(left);
    }
    alone
}
