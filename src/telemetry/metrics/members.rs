//! What this agent takes the other members for, and the addresses that moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Figures;
use super::rows::Rows;
use crate::facts::NodeName;

/// What this agent takes the other members for. Counts are since the start of this agent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemberFigures {
    /// One word for each.
    pub states: BTreeMap<NodeName, &'static str>,
    /// Those whose kernel answers and whose liveness packets do not come through.
    pub blocked: BTreeSet<NodeName>,
    /// Nodes that are Ready and whose agent left or was lost.
    pub missing: BTreeSet<NodeName>,
    /// Suspicions by this agent.
    pub suspicions: u64,
    /// Of these, such as the member removed itself.
    pub refutations: u64,
    /// Leases that this agent cleared.
    pub evictions: u64,
}

impl Figures {
    pub(super) fn members(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        let MemberFigures { states, blocked, missing, suspicions, refutations, evictions } = &self.others;
        let states = states.iter().map(|(node, state)| ([("node", node.to_string()), ("state", (*state).to_owned())], 1.0));
        rows.gauges("lanlord_member_state", "1 for what this agent takes another member for", states)?;
        let blocked = blocked.iter().map(|node| ([("node", node.to_string())], 1.0));
        rows.gauges("lanlord_member_blocked", "1 for a member whose kernel answers and whose liveness packets do not come", blocked)?;
        let missing = missing.iter().map(|node| ([("node", node.to_string())], 1.0));
        rows.gauges("lanlord_member_missing", "1 for a Ready node whose agent left or was lost", missing)?;
        rows.counter("lanlord_member_suspicions", "Members suspected by this agent", *suspicions as f64)?;
        rows.counter("lanlord_member_refutations", "Suspicions that the member removed itself", *refutations as f64)?;
        rows.counter("lanlord_member_evictions", "Member Leases cleared by this agent", *evictions as f64)?;
        let moves = self.moves.iter().map(|(reason, count)| ([("reason", *reason)], *count as f64));
        rows.counters("lanlord_moves", "Addresses that moved to another node while this agent led", moves)
    }
}
