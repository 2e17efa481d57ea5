//! Heirs: who would own the addresses of a member if it were lost. Above a full mesh they watch it, for they are the ones who have to
//! act within a second.
//!
//! Computed from what the API server says alone. What the senses say is left out on purpose: who is suspected owns nothing, so it would
//! have no heirs, nobody would watch it any more, and it would live again. And all agents see the same Leases, so that both ends of a
//! session want it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::eligible::candidates;
use super::owner::owner;
use super::{GroupPlan, Planner};
use crate::config::Config;
use crate::facts::{FULL_MESH, Heirs, Living, LivingMember, Node, NodeName, ServiceKey, Snapshot};

/// Finds the heirs, anew only for groups in which something has changed.
#[derive(Debug, Default)]
pub struct Inheritance {
    planner: Planner,
    /// What concerns every group.
    basis: Option<Basis>,
    known: BTreeMap<ServiceKey, Inherited>,
}

#[derive(Debug)]
struct Basis {
    config: Arc<Config>,
    nodes: Arc<BTreeMap<NodeName, Arc<Node>>>,
    living: Arc<Living>,
}

#[derive(Debug)]
struct Inherited {
    plan: Arc<GroupPlan>,
    /// Its owner, and who comes next.
    heir: Option<(NodeName, NodeName)>,
}

impl Inheritance {
    /// For each owner, who comes after it in each of its groups; nobody while everybody watches everybody anyway.
    pub fn heirs(&mut self, config: &Arc<Config>, snapshot: &Snapshot) -> Heirs {
        if snapshot.members.values().filter(|member| member.instance.is_some()).count() <= FULL_MESH {
            *self = Self::default();
            return Heirs::new();
        }
        let living = self.living(config, snapshot);
        let plan = self.planner.plan(config, snapshot, &living);
        self.known.retain(|first, _| plan.groups.contains_key(first));
        let mut without = None;
        for (first, group) in &plan.groups {
            if !self.known.get(first).is_some_and(|known| Arc::ptr_eq(&known.plan, group)) {
                let without = without.get_or_insert_with(|| Living::clone(&living));
                let inherited = Inherited { plan: group.clone(), heir: heir(config, snapshot, without, group) };
                self.known.insert(first.clone(), inherited);
            }
        }
        let mut heirs = Heirs::new();
        for (first, second) in self.known.values().filter_map(|known| known.heir.as_ref()) {
            heirs.entry(first.clone()).or_default().insert(second.clone());
        }
        heirs
    }

    /// The members. When they, their Nodes or the configuration are others, nothing known counts any more: who would come next may be
    /// another also where the plan stays the same.
    fn living(&mut self, config: &Arc<Config>, snapshot: &Snapshot) -> Arc<Living> {
        let living = recorded(snapshot);
        let same = |basis: &&Basis| Arc::ptr_eq(&basis.config, config) && basis.nodes == snapshot.nodes && *basis.living == living;
        if let Some(basis) = self.basis.as_ref().filter(same) {
            return basis.living.clone();
        }
        let living = Arc::new(living);
        let basis = Basis { config: config.clone(), nodes: snapshot.nodes.clone(), living: living.clone() };
        *self = Self { basis: Some(basis), ..Self::default() };
        living
    }
}

/// The owner of a group, and who would own it without him.
fn heir(config: &Config, snapshot: &Snapshot, living: &mut Living, plan: &GroupPlan) -> Option<(NodeName, NodeName)> {
    let first = plan.owner.as_ref().ok()?.node.clone();
    let member = living.members.remove(&first)?;
    let second = owner(&plan.group, &candidates(config, snapshot, living, &plan.group));
    living.members.insert(first.clone(), member);
    Some((first, second.ok()?.node))
}

/// The members that hold their Leases.
fn recorded(snapshot: &Snapshot) -> Living {
    let holders = snapshot.members.values().filter(|member| member.instance.is_some() && snapshot.against(member).is_none());
    let members = holders.map(|member| (member.node.clone(), LivingMember::of(member)));
    Living { members: members.collect(), ..Living::default() }
}
