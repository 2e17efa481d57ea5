//! Why a group leaves a node: a type, told in one place for Leases, Events, logs and `lanlord move`.
//!
//! Two sorts. What ends the owner's eligibility (lost, no link, no endpoint …) makes every agent turn to the next owner by itself.
//! What only speaks for another node (cordoned, kube-proxy unhealthy, less preferred) makes the leader record a *planned* move: ownership
//! passes with one write that all see alike, so that views that differ for a moment never make two owners or none.
//!
//! NotReady alone is neither. It says that the kubelet is silent, which forwards nothing, and a control plane that hears no kubelet
//! marks them all; a node that is really gone is lost to the liveness mesh within a second. NotReady counts where a node is chosen.

use std::fmt;

use super::GroupPlan;
use super::eligible::Candidate;
use crate::facts::{EXCLUDE_LABEL, Living, Placement, Snapshot};

/// Why a group left a node, or should.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Departure {
    /// Its member left in order or was lost; perhaps it has come back since.
    Lost,
    /// Its Node has the condition `NetworkUnavailable`.
    NetworkUnavailable,
    /// Its Node is labelled `exclude-from-external-load-balancers`.
    Excluded,
    /// It has no link for the address any more, or no advertisement lets it announce.
    NotCandidate,
    /// `externalTrafficPolicy: Local`, and its last endpoint went.
    NoLocalEndpoint,
    /// Its kube-proxy fails its health check: new connections would go astray.
    DataplaneUnhealthy,
    /// It is cordoned, and `onCordon` is `move`.
    Cordoned,
    /// It is cordoned, and none of the Services has a serving endpoint there (any more).
    Drained,
    /// Another node is preferred (`preferredNodeSelectors`, which MetalLB follows at once, too).
    Preferred,
    /// Nothing speaks against it but the load (`rebalance: true`).
    Rebalance,
    /// Nothing speaks against it: a person asked for another.
    Asked,
}

impl Departure {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Lost,
        Self::NetworkUnavailable,
        Self::Excluded,
        Self::NotCandidate,
        Self::NoLocalEndpoint,
        Self::DataplaneUnhealthy,
        Self::Cordoned,
        Self::Drained,
        Self::Preferred,
        Self::Rebalance,
        Self::Asked,
    ];

    /// The one whose words these are.
    pub fn of(why: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|departure| departure.to_string() == why)
    }

    /// One CamelCase word, for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Lost => "Lost",
            Self::NetworkUnavailable => "NetworkUnavailable",
            Self::Excluded => "Excluded",
            Self::NotCandidate => "NotCandidate",
            Self::NoLocalEndpoint => "NoLocalEndpoint",
            Self::DataplaneUnhealthy => "DataplaneUnhealthy",
            Self::Cordoned => "Cordoned",
            Self::Drained => "Drained",
            Self::Preferred => "Preferred",
            Self::Rebalance => "Rebalance",
            Self::Asked => "Asked",
        }
    }

    /// Whether a node that is as `candidate` is good enough to move to for this reason: nothing may speak against it, or the group
    /// would soon move again. From an unhealthy dataplane a cordoned node is a good refuge.
    pub fn is_improved_by(self, candidate: &Candidate) -> bool {
        let fit = candidate.eligible && candidate.ready && !candidate.dataplane_unhealthy && !candidate.detached;
        fit && (self == Self::DataplaneUnhealthy || !candidate.cordoned)
    }
}

/// Why the group is not where it was recorded.
pub fn departure(snapshot: &Snapshot, living: &Living, plan: &GroupPlan, from: &Placement) -> Departure {
    let (Some(member), Some(node)) = (living.members.get(&from.node), snapshot.nodes.get(&from.node)) else { return Departure::Lost };
    match plan.candidates.nodes.get(&from.node) {
        _ if member.generation != from.generation => Departure::Lost,
        None if node.network_unavailable => Departure::NetworkUnavailable,
        None if node.excluded => Departure::Excluded,
        None => Departure::NotCandidate,
        Some(candidate) if !candidate.eligible => Departure::NoLocalEndpoint,
        Some(candidate) => candidate.leave.unwrap_or(Departure::Asked),
    }
}

/// The second half of a sentence about the node that was left.
impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "it left or was lost",
            Self::NetworkUnavailable => "it has the condition NetworkUnavailable",
            Self::Excluded => return write!(f, "it is labelled {EXCLUDE_LABEL}"),
            Self::NotCandidate => "it cannot announce the address any more",
            Self::NoLocalEndpoint => "externalTrafficPolicy is Local and no endpoint serves there any more",
            Self::DataplaneUnhealthy => "its kube-proxy fails its health check",
            Self::Cordoned => "it is cordoned",
            Self::Drained => "it is cordoned and no endpoint serves there",
            Self::Preferred => "another node is preferred by preferredNodeSelectors",
            Self::Rebalance => "to even out the load",
            Self::Asked => "asked for by `lanlord move`",
        })
    }
}
