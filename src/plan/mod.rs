//! The brain: who announces what, where, and if nobody: why. Pure, and without time.
//!
//! Every agent computes the same [`Plan`] from the same facts; [`l2_desired`] cuts out what this node has to do. Ownership needs no
//! agreement beyond the claims: see [`owner`].

pub mod announcers;
pub mod departure;
pub mod eligible;
pub mod group;
pub mod heirs;
pub mod kernel;
mod layer2;
pub mod obstacle;
pub mod owner;
pub mod peers;
mod planner;
pub mod reason;
pub mod routes;
mod serve;
pub mod survey;
pub mod task;
pub mod wishes;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use announcers::{Announcers, OverBgp, View};
pub use departure::Departure;
pub use eligible::{Candidate, Candidates};
pub use group::Group;
pub use layer2::l2_desired;
pub use peers::Peers;
pub use planner::{Planner, differing};
pub use reason::NotAnnounced;
pub use routes::bgp_desired;
pub use serve::{OWN_CLASS, Serving, is_served, servicelb};

use crate::config::Config;
use crate::facts::{LinkName, Living, NodeName, ServiceKey, Snapshot};

/// Who owns each group of addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// By their first Service.
    pub groups: BTreeMap<ServiceKey, Arc<GroupPlan>>,
}

/// A plan, and the facts it was made from.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// What the API server says.
    pub snapshot: Arc<Snapshot>,
    /// Who may own addresses.
    pub living: Arc<Living>,
    /// What follows from them.
    pub plan: Arc<Plan>,
}

/// One group and its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupPlan {
    /// Addresses and Services that move together.
    pub group: Group,
    /// The nodes that could announce it, serving endpoints or not.
    pub candidates: Candidates,
    /// The node that announces it on layer 2, or why none does.
    pub owner: Result<Owner, NotAnnounced>,
    /// Who announces each address over BGP, or why nobody does; empty where no BGPAdvertisement is.
    pub bgp: OverBgp,
}

/// The node that announces a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The member.
    pub node: NodeName,
    /// The generation of its Lease.
    pub generation: u32,
    /// Where it announces each address; an address it has no link for is not listed.
    pub links: BTreeMap<IpAddr, Vec<LinkName>>,
}

/// Computes who owns each group.
pub fn plan(config: &Config, snapshot: &Snapshot, living: &Living) -> Plan {
    let groups = group::groups(config, snapshot).into_iter();
    let keyed = groups.filter_map(|group| Some((group.services.first().cloned()?, Arc::new(planned(config, snapshot, living, group)))));
    Plan { groups: keyed.collect() }
}

fn planned(config: &Config, snapshot: &Snapshot, living: &Living, group: Group) -> GroupPlan {
    let candidates = eligible::candidates(config, snapshot, living, &group);
    let owner = owner::owner(&group, &candidates).map(|owner| owner::concede(owner, &group, &candidates, living));
    let bgp = View { config, snapshot, living }.of_group(&group);
    GroupPlan { group, candidates, owner, bgp }
}

impl GroupPlan {
    /// Who announces `address` over BGP.
    pub fn over_bgp(&self, address: IpAddr) -> Option<&Announcers> {
        self.bgp.get(&address)?.as_ref().ok()
    }

    /// Whether anybody announces `address`.
    pub fn is_announced(&self, address: IpAddr) -> bool {
        self.over_bgp(address).is_some() || self.owner.as_ref().is_ok_and(|owner| owner.links.contains_key(&address))
    }
}

impl Plan {
    /// The group of a Service.
    pub fn group_of(&self, service: &ServiceKey) -> Option<&GroupPlan> {
        self.groups.values().map(AsRef::as_ref).find(|plan| plan.group.services.contains(service))
    }

    /// How many groups each node owns.
    pub fn load(&self) -> BTreeMap<NodeName, usize> {
        let mut load = BTreeMap::new();
        for owner in self.groups.values().filter_map(|plan| plan.owner.as_ref().ok()) {
            *load.entry(owner.node.clone()).or_default() += 1;
        }
        load
    }
}
