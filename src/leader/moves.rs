//! Planned moves: which groups leave a node that still serves them, and where to.
//!
//! A move breaks established connections, so there has to be a reason (see [`Departure`]) and a node that nothing speaks against; the
//! group then stays there, also when the reason is over. For evenness alone one group moves at a time, when asked (`rebalance: true`)
//! and in quiet (see [`super::quiet`]); each such move makes the sum of the squared loads smaller, so that they come to an end.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::facts::{NodeName, Placement, ServiceKey};
use crate::plan::departure::Departure;
use crate::plan::eligible::Candidate;
use crate::plan::owner::{rank, weight};
use crate::plan::{GroupPlan, Plan};

/// A move to be recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Where to.
    pub to: Placement,
    /// Why.
    pub why: Departure,
}

/// The planned moves, each under the first Service of its group. `load` counts groups by node and follows the moves; `rebalance`:
/// one move for evenness is allowed now.
pub fn moves<'p>(plan: &'p Plan, load: &mut BTreeMap<NodeName, usize>, rebalance: bool) -> BTreeMap<&'p ServiceKey, Move> {
    let mut moves = BTreeMap::new();
    for plan in plan.groups.values() {
        if let (Some(service), Some((from, moving))) = (plan.group.services.first(), relieve(plan, load)) {
            shift(load, from, &moving.to.node);
            moves.insert(service, moving);
        }
    }
    if rebalance && moves.is_empty() {
        moves.extend(even_out(plan, load));
    }
    moves
}

fn shift(load: &mut BTreeMap<NodeName, usize>, from: &NodeName, to: &NodeName) {
    if let Some(count) = load.get_mut(from) {
        *count = count.saturating_sub(1);
    }
    *load.entry(to.clone()).or_default() += 1;
}

fn count(load: &BTreeMap<NodeName, usize>, node: &NodeName) -> usize {
    load.get(node).copied().unwrap_or(0)
}

/// The owner's candidate, if it is recorded: a group that changes its owner by itself is not moved on top of that.
fn recorded(plan: &GroupPlan) -> Option<(&NodeName, &Candidate)> {
    let owner = plan.owner.as_ref().ok()?;
    let placement = plan.group.placement()?;
    let is_recorded = (&placement.node, placement.generation) == (&owner.node, owner.generation);
    plan.candidates.nodes.get_key_value(&owner.node).filter(|_| is_recorded)
}

/// Takes a group off a node that it should leave.
fn relieve<'p>(plan: &'p GroupPlan, load: &BTreeMap<NodeName, usize>) -> Option<(&'p NodeName, Move)> {
    let (from, candidate) = recorded(plan)?;
    let why = candidate.leave.filter(|why| *why != Departure::Preferred || !is_asked_for(plan))?;
    let fit = |other: &Candidate| why.is_improved_by(other) && (why != Departure::Preferred || other.preference > candidate.preference);
    let others = plan.candidates.nodes.iter().filter(|(name, other)| *name != from && fit(other));
    let (node, to) = others.min_by_key(|(name, candidate)| (rank(candidate), count(load, name), Reverse(weight(&plan.group, name))))?;
    Some((from, Move { to: Placement { node: node.clone(), generation: to.generation }, why }))
}

/// Whether it is where it is because a person asked for it: that outweighs a preference.
fn is_asked_for(plan: &GroupPlan) -> bool {
    plan.group.claims.values().any(|claim| claim.moved.as_ref().is_some_and(|moved| Departure::of(&moved.why) == Some(Departure::Asked)))
}

/// The one move that evens out most: between nodes whose loads differ by at least 2, and to one that is no worse.
fn even_out<'p>(plan: &'p Plan, load: &BTreeMap<NodeName, usize>) -> Option<(&'p ServiceKey, Move)> {
    let why = Departure::Rebalance;
    let choices = plan.groups.values().filter_map(|plan| {
        let (from, candidate) = recorded(plan)?;
        let no_worse = |other: &Candidate| why.is_improved_by(other) && other.leave.is_none() && rank(other) <= rank(candidate);
        let others = plan.candidates.nodes.iter().filter(|(_, other)| no_worse(other));
        let (node, to) = others.min_by_key(|(name, _)| (count(load, name), Reverse(weight(&plan.group, name))))?;
        let gain = count(load, from).checked_sub(count(load, node)).filter(|gain| *gain >= 2)?;
        Some((gain, plan.group.services.first()?, Move { to: Placement { node: node.clone(), generation: to.generation }, why }))
    });
    let (_, service, moving) = choices.max_by_key(|(gain, service, _)| (*gain, Reverse(*service)))?;
    Some((service, moving))
}
