//! Who lives, and the evidence that says otherwise.

use std::collections::BTreeMap;

use super::{MemberLink, NodeName};

/// Why a member that holds its Lease is taken for dead. A level, not an edge: it lasts as long as what it states is so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Evidence {
    /// Its Node object does not exist.
    NodeGone,
    /// Its Node is tainted `node.kubernetes.io/out-of-service`.
    OutOfService,
    /// The liveness session was Up with this Lease generation and has expired.
    SessionExpired,
}

/// A member that lives, as the plan needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LivingMember {
    /// The generation of its Lease: an address recorded for an older one is nobody's.
    pub generation: u32,
    /// Its announcing links.
    pub links: Vec<MemberLink>,
}

/// The members that may own addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Living {
    /// By node.
    pub members: BTreeMap<NodeName, LivingMember>,
}
