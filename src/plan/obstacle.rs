//! Why a group cannot be on a certain node, told to whoever asks for it: what is in the way, and what to do.

use std::fmt;

use super::eligible::candidates;
use super::{Departure, GroupPlan, NotAnnounced};
use crate::addr::Family;
use crate::config::Config;
use crate::facts::{EXCLUDE_LABEL, Living, NodeName, PODS, Snapshot};

/// What is in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// There is no such Node object.
    NoNode {
        /// Those that there are.
        nodes: Vec<NodeName>,
    },
    /// No agent of that node is a member, or it is taken for dead.
    NoMember,
    /// It is suspected of being dead.
    Suspected {
        /// Who says so.
        by: String,
    },
    /// The condition `NetworkUnavailable`.
    NetworkUnavailable,
    /// The label `exclude-from-external-load-balancers`.
    Excluded,
    /// No advertisement or no link lets it announce the addresses; or no endpoint serves them anywhere.
    NotAnnounced(NotAnnounced),
    /// Other nodes can announce more of the addresses.
    Partial,
    /// `externalTrafficPolicy: Local`, and no endpoint there.
    NoLocalEndpoint {
        /// Where it could be.
        nodes: Vec<NodeName>,
    },
    /// The leader would move it away again at once.
    Leaves(Departure),
}

/// What keeps `plan` from being on `node`; `None`: nothing.
pub fn obstacle(config: &Config, snapshot: &Snapshot, living: &Living, plan: &GroupPlan, node: &NodeName) -> Option<Obstacle> {
    let Some(object) = snapshot.nodes.get(node) else {
        return Some(Obstacle::NoNode { nodes: snapshot.nodes.keys().cloned().collect() });
    };
    let Some(member) = living.members.get(node) else { return Some(Obstacle::NoMember) };
    if let Some(by) = snapshot.members.get(node).and_then(|member| member.suspect.clone()) {
        return Some(Obstacle::Suspected { by });
    }
    let Some(candidate) = plan.candidates.nodes.get(node) else {
        let alone = Living { members: [(node.clone(), member.clone())].into(), ..living.clone() };
        let alone = candidates(config, snapshot, &alone, &plan.group);
        let why = if object.network_unavailable {
            Obstacle::NetworkUnavailable
        } else if object.excluded {
            Obstacle::Excluded
        } else if alone.nodes.is_empty() {
            Obstacle::NotAnnounced(alone.otherwise)
        } else {
            Obstacle::Partial
        };
        return Some(why);
    };
    if !candidate.eligible {
        let nodes: Vec<NodeName> = plan.candidates.nodes.iter().filter(|(_, other)| other.eligible).map(|(name, _)| name.clone()).collect();
        let nowhere = nodes.is_empty().then(|| Obstacle::NotAnnounced(plan.candidates.otherwise.clone()));
        return Some(nowhere.unwrap_or(Obstacle::NoLocalEndpoint { nodes }));
    }
    // Who asks for a node by name knows better than a preference.
    let why = candidate.leave.filter(|why| *why != Departure::Preferred)?;
    let others = plan.candidates.nodes.iter().any(|(name, other)| name != node && why.is_improved_by(other));
    others.then_some(Obstacle::Leaves(why))
}

/// One sentence about the node, and what to do.
impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &[NodeName]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::NoNode { nodes } => write!(f, "there is no node of that name; there are {}", list(nodes)),
            Self::NoMember => write!(f, "no agent runs there, or it has not joined; look at {PODS}, and at its log"),
            Self::Suspected { by } => write!(f, "{by} takes it for dead; wait until that is settled"),
            Self::NetworkUnavailable => f.write_str("it has the condition NetworkUnavailable; look at kubectl describe node"),
            Self::Excluded => {
                write!(f, "it is labelled {EXCLUDE_LABEL}; remove the label (kubectl label node NODE {EXCLUDE_LABEL}-)")
            }
            Self::NotAnnounced(NotAnnounced::NoNodeMatch { pool, selector }) => {
                write!(f, "the nodeSelectors for pool {pool} ({selector}) leave it out; label the node or change the selectors")
            }
            Self::NotAnnounced(NotAnnounced::NoInterface { interfaces }) => {
                write!(
                    f,
                    "it has no interface {} that is up; correct `interfaces` in the advertisement or connect it",
                    interfaces.join(" or ")
                )
            }
            Self::NotAnnounced(NotAnnounced::NoLink { address, prefixes }) if prefixes.is_empty() => write!(
                f,
                "it has no {} network for {address} (excludeInterfaces aside); give it one, or name `interfaces` in an L2Advertisement",
                Family::of(*address)
            ),
            Self::NotAnnounced(NotAnnounced::NoLink { address, prefixes }) => {
                write!(f, "{address} is not on its network ({})", prefixes.join(", "))
            }
            Self::NotAnnounced(why) => why.fmt(f),
            Self::Partial => f.write_str("it can announce only some of the addresses, and other nodes can announce more"),
            Self::NoLocalEndpoint { nodes } => write!(
                f,
                "externalTrafficPolicy is Local and no endpoint serves there (but on {}); run a pod there, or use Cluster",
                list(nodes)
            ),
            Self::Leaves(why @ (Departure::Cordoned | Departure::Drained)) => {
                write!(f, "{why}, so the addresses would leave it again at once; kubectl uncordon it, or configure onCordon: stay")
            }
            Self::Leaves(why) => write!(f, "{why}, so the addresses would leave it again at once"),
        }
    }
}
