//! Everything seen through the API server at one moment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Claim, Endpoints, Evidence, Labels, Member, Node, NodeName, Service, ServiceKey};

/// The Lease `leader`, in client-go's words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// `holderIdentity`: `<node>/<instance>`; `None` after a release.
    pub holder: Option<String>,
    /// `leaseDurationSeconds`, in seconds.
    pub lease_duration: u32,
    /// `leaseTransitions`.
    pub transitions: u32,
    /// `acquireTime` as written, to be kept on renewal.
    pub acquired: Option<String>,
    /// `metadata.resourceVersion`: changes with each renewal; expiry is timed from when *we* saw it change.
    pub resource_version: String,
}

/// What the watches have gathered. Cheap to clone: each part is shared until it changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Services of `type: LoadBalancer`.
    pub services: Arc<BTreeMap<ServiceKey, Arc<Service>>>,
    /// Endpoints of those Services that have any EndpointSlice.
    pub endpoints: Arc<BTreeMap<ServiceKey, Arc<Endpoints>>>,
    /// Node objects.
    pub nodes: Arc<BTreeMap<NodeName, Arc<Node>>>,
    /// Labels of Namespaces.
    pub namespaces: Arc<BTreeMap<Arc<str>, Labels>>,
    /// Member Leases.
    pub members: Arc<BTreeMap<NodeName, Arc<Member>>>,
    /// Address Leases.
    pub claims: Arc<BTreeMap<IpAddr, Arc<Claim>>>,
    /// The Lease `leader`; `None` while it does not exist.
    pub leader: Option<LeaderRecord>,
    /// It is what an earlier life of this agent saw: the API server has not been reached since the start. The first complete answer
    /// replaces it.
    pub remembered: bool,
}

impl Snapshot {
    /// What the API server itself says against a member that holds its Lease.
    pub fn against(&self, member: &Member) -> Option<Evidence> {
        match self.nodes.get(&member.node) {
            None => Some(Evidence::NodeGone),
            Some(node) => node.out_of_service.then_some(Evidence::OutOfService),
        }
    }
}
