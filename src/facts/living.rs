//! Who lives, and the evidence that says otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::{Member, MemberLink, NodeName};

/// Why a member that holds its Lease is taken for dead. A level, not an edge: it lasts as long as what it states is so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Evidence {
    /// Its Node object does not exist.
    NodeGone,
    /// Its Node is tainted `node.kubernetes.io/out-of-service`.
    OutOfService,
    /// The liveness session was Up with this Lease generation and has expired, and the node's kernel is silent, too.
    SessionExpired,
    /// The liveness session was Up and has expired; the node's kernel answers, but no agent came back within `restartHold`.
    AgentGone,
    /// No liveness session with it came Up for long, and the node's kernel is silent.
    NeverHeard,
    /// It shares no network with any other member, and its Node is not Ready.
    NodeNotReady,
}

/// The second half of a sentence about the member.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeGone => "its Node object does not exist",
            Self::OutOfService => "its Node is tainted out-of-service",
            Self::SessionExpired => "its liveness packets ceased and its kernel is silent, too",
            Self::AgentGone => "its kernel answers, but its agent did not come back",
            Self::NeverHeard => "it was never heard and its kernel is silent",
            Self::NodeNotReady => "its Node is not Ready, and nobody shares a network with it who could ask it",
        })
    }
}

/// A member that lives, as the plan needs it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LivingMember {
    /// The generation of its Lease: an address recorded for an older one is nobody's.
    pub generation: u32,
    /// Its announcing links.
    pub links: Vec<MemberLink>,
    /// A liveness session with it is up; always so for the asking agent itself.
    pub heard: bool,
    /// It says in its liveness sessions that it does not reach the API server: it keeps what it has and is given nothing new.
    pub detached: bool,
    /// Its kube-proxy fails its health check.
    pub dataplane_unhealthy: bool,
}

impl LivingMember {
    /// As its Lease tells it; nothing is known of what is heard.
    pub fn of(member: &Member) -> Self {
        let (generation, links, dataplane_unhealthy) = (member.generation, member.links.clone(), member.dataplane_unhealthy);
        Self { generation, links, dataplane_unhealthy, ..Self::default() }
    }
}

/// The members that may own addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Living {
    /// By node.
    pub members: BTreeMap<NodeName, LivingMember>,
    /// The asking agent itself does not reach the API server.
    pub detached: bool,
    /// Addresses that another member was heard announcing while the asking agent was detached and announced them, too: what it knows
    /// of who owns them may be old.
    pub contested: BTreeMap<IpAddr, NodeName>,
}
