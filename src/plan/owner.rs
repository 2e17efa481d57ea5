//! The owner of a group: a pure function every agent computes alike.
//!
//! The recorded node while it is eligible and of the same generation, for moving an address breaks established connections; else the
//! best eligible one. That the recorded node is cordoned or its kube-proxy fails does not matter here: the leader records a better one
//! then (see [`super::departure`]), and all turn to it with the same write. A group that was never recorded waits for the leader, who
//! spreads groups evenly: it was never announced, so nothing is lost by waiting.

use std::cmp::Reverse;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::eligible::{Candidate, Candidates};
use super::group::Group;
use super::{NotAnnounced, Owner};

use crate::facts::{Living, NodeName};

/// Chooses the owner of `group` among `candidates`.
pub fn owner(group: &Group, candidates: &Candidates) -> Result<Owner, NotAnnounced> {
    if !candidates.nodes.values().any(|candidate| candidate.eligible) {
        return Err(candidates.otherwise.clone());
    }
    let placement = group.placement().ok_or(NotAnnounced::NotPlaced)?;
    let eligible = || candidates.nodes.iter().filter(|(_, candidate)| candidate.eligible);
    let recorded = eligible().find(|(name, candidate)| **name == placement.node && candidate.generation == placement.generation);
    let best = || eligible().min_by_key(|(name, candidate)| (standing(candidate), Reverse(weight(group, name))));
    let (node, candidate) = recorded.or_else(best).ok_or(NotAnnounced::NotPlaced)?;
    Ok(Owner { node: node.clone(), generation: candidate.generation, links: candidate.links.clone() })
}

/// Gives way to a member that announces the group and knows more: this agent does not reach the API server, and the other does, or this
/// one hears nobody at all and was evicted, most likely.
pub fn concede(owner: Owner, group: &Group, candidates: &Candidates, living: &Living) -> Owner {
    let contested = group.claims.keys().find_map(|address| living.contested.get(address));
    let Some((other, candidate)) = contested.and_then(|other| candidates.nodes.get_key_value(other)) else { return owner };
    let alone = living.members.values().filter(|member| member.heard).count() <= 1;
    let attached = living.members.get(other).is_some_and(|member| member.heard && !member.detached);
    if living.detached && candidate.eligible && (alone || attached) {
        return Owner { node: other.clone(), generation: candidate.generation, links: candidate.links.clone() };
    }
    owner
}

/// Where a candidate stands by what the API server says of it; lower is better.
type Standing = (bool, Reverse<u32>, bool, bool, bool, bool);

/// First whether the group could stay there at all: from a node to be left the leader would move it on at once. Then preference, Ready,
/// dataplane healthy, uncordoned, wired. None of them leaves an address to nobody.
fn standing(candidate: &Candidate) -> Standing {
    let Candidate { leave, preference, ready, dataplane_unhealthy, cordoned, wired, .. } = candidate;
    (leave.is_some(), Reverse(*preference), !ready, *dataplane_unhealthy, *cordoned, !wired)
}

/// Where a candidate stands when the leader chooses: a detached member would not hear of it. Only he may look at that: members become
/// detached one after the other, and where everybody chooses, the address would follow them around.
pub fn rank(candidate: &Candidate) -> (bool, Standing) {
    (candidate.detached, standing(candidate))
}

/// The rendezvous weight of `node` for `group`: the same on every build, architecture and node, and spread evenly. When a node
/// goes, only its own groups move, and they scatter over all others.
pub fn weight(group: &Group, node: &NodeName) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(group.name().as_bytes());
    hasher.write(&[0]);
    hasher.write(node.as_str().as_bytes());
    hasher.finish()
}
