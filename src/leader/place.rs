//! Which node a group is given to when it has none: the eligible candidate with the fewest groups, so that the spread is even.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::facts::{NodeName, Placement, Snapshot, TrafficPolicy};
use crate::plan::Candidates;
use crate::plan::group::Group;
use crate::plan::owner::{rank, weight};

/// Chooses a node for `group` and counts it in `load`. Without any serving endpoint a Cluster-policy group is placed all the same, so
/// that it is announced the moment an endpoint serves; a Local one waits for its first endpoints.
pub fn place(snapshot: &Snapshot, group: &Group, candidates: &Candidates, load: &mut BTreeMap<NodeName, usize>) -> Option<Placement> {
    let any_eligible = candidates.nodes.values().any(|candidate| candidate.eligible);
    let local = group
        .services
        .iter()
        .any(|service| snapshot.services.get(service).is_some_and(|service| service.traffic_policy == TrafficPolicy::Local));
    if local && !any_eligible {
        return None;
    }
    let (node, candidate) = candidates
        .nodes
        .iter()
        .filter(|(_, candidate)| candidate.eligible || !any_eligible)
        .min_by_key(|(name, candidate)| (rank(candidate), load.get(*name).copied().unwrap_or(0), Reverse(weight(group, name))))?;
    *load.entry(node.clone()).or_default() += 1;
    Some(Placement { node: node.clone(), generation: candidate.generation })
}
