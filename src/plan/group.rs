//! Groups: addresses and Services connected by sharing or dual stack. A group has one owner and moves as one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::serve::{Serving, is_served};
use crate::config::Config;
use crate::facts::{Claim, Placement, ServiceKey, Snapshot};

/// Addresses and the Services that hold them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Group {
    /// The claims by address; every one is held by at least one of `services`.
    pub claims: BTreeMap<IpAddr, Arc<Claim>>,
    /// The Services; never empty. The first names the group in the rendezvous hash.
    pub services: BTreeSet<ServiceKey>,
}

impl Group {
    /// The name of the group where nodes are ranked: its first Service.
    pub fn name(&self) -> String {
        self.services.first().map(ToString::to_string).unwrap_or_default()
    }

    /// Its Services, for log lines.
    pub fn label(&self) -> String {
        self.services.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Where the leader recorded it: the placement of its first address that has one.
    pub fn placement(&self) -> Option<&Placement> {
        self.claims.values().find_map(|claim| claim.placement.as_ref())
    }
}

/// All groups, ordered by their first Service. A claim counts as long as its Service exists with the same uid and is ours; a claim
/// left behind by a deleted Service is in no group, so nobody announces it.
pub fn groups(config: &Config, snapshot: &Snapshot) -> Vec<Group> {
    groups_of(config, snapshot, snapshot.claims.values())
}

/// The groups that some of the claims are in. All claims of a group have to be among them.
pub fn groups_of<'a>(config: &Config, snapshot: &Snapshot, claims: impl Iterator<Item = &'a Arc<Claim>>) -> Vec<Group> {
    let mut groups: Vec<Option<Group>> = Vec::new();
    let mut group_of: BTreeMap<ServiceKey, usize> = BTreeMap::new();
    for claim in claims {
        let services = holders(config, snapshot, claim);
        let Some(first) = services.first() else { continue };
        let mut joined = Group { claims: BTreeMap::from([(claim.address, claim.clone())]), services: services.clone() };
        let known: BTreeSet<usize> = services.iter().filter_map(|service| group_of.get(service)).copied().collect();
        let index = known.first().copied().unwrap_or(groups.len());
        for other in known.iter().filter_map(|other| groups[*other].take()) {
            joined.claims.extend(other.claims);
            joined.services.extend(other.services);
        }
        debug_assert!(joined.services.contains(first));
        group_of.extend(joined.services.iter().map(|service| (service.clone(), index)));
        if index == groups.len() {
            groups.push(Some(joined));
        } else {
            groups[index] = Some(joined);
        }
    }
    let mut groups: Vec<Group> = groups.into_iter().flatten().collect();
    groups.sort_by(|a, b| a.services.first().cmp(&b.services.first()));
    groups
}

/// Those of the claim's Services that count.
pub(super) fn holders(config: &Config, snapshot: &Snapshot, claim: &Claim) -> BTreeSet<ServiceKey> {
    claim
        .holders
        .iter()
        .filter(|holder| {
            snapshot
                .services
                .get(&holder.service)
                .is_some_and(|service| service.uid == holder.uid && is_served(config, snapshot, service) == Serving::Ours)
        })
        .map(|holder| holder.service.clone())
        .collect()
}
