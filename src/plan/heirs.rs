//! Heirs: who would own the addresses of a member if it were lost. Above a full mesh they watch it, for they are the ones who have to
//! act within a second.
//!
//! Computed from what the API server says alone. What the senses say is left out on purpose: who is suspected owns nothing, so it would
//! have no heirs, nobody would watch it any more, and it would live again. And all agents see the same Leases, so that both ends of a
//! session want it.

use super::eligible::candidates;
use super::group::groups;
use super::owner::owner;
use crate::config::Config;
use crate::facts::{FULL_MESH, Heirs, Living, LivingMember, Snapshot};

/// For each owner, who comes after it in each of its groups; nobody while everybody watches everybody anyway.
pub fn heirs(config: &Config, snapshot: &Snapshot) -> Heirs {
    let mut heirs = Heirs::new();
    if snapshot.members.values().filter(|member| member.instance.is_some()).count() <= FULL_MESH {
        return heirs;
    }
    let mut living = recorded(snapshot);
    for group in groups(config, snapshot) {
        let Ok(first) = owner(&group, &candidates(config, snapshot, &living, &group)) else { continue };
        let Some(member) = living.members.remove(&first.node) else { continue };
        if let Ok(second) = owner(&group, &candidates(config, snapshot, &living, &group)) {
            heirs.entry(first.node.clone()).or_default().insert(second.node);
        }
        living.members.insert(first.node, member);
    }
    heirs
}

/// The members that hold their Leases.
fn recorded(snapshot: &Snapshot) -> Living {
    let holders = snapshot.members.values().filter(|member| member.instance.is_some() && snapshot.against(member).is_none());
    let members = holders.map(|member| (member.node.clone(), LivingMember::of(member)));
    Living { members: members.collect(), ..Living::default() }
}
