//! Events as `kubectl describe` and `kubectl get events` show them: what happened to whom, why, and what to do.

use super::{NodeName, ObjectKey, ServiceKey, Uid};

/// The object an Event is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// A Service.
    Service(ServiceKey, Uid),
    /// A Node.
    Node(NodeName, Uid),
    /// A ConfigMap (namespace, name, uid).
    ConfigMap(String, String, Uid),
    /// A custom resource.
    Object(ObjectKey, Uid),
}

/// `type` of an Event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// A person may have to act.
    Warning,
}

/// An Event to be written once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Event {
    /// The object.
    pub subject: Subject,
    /// Normal or Warning.
    pub kind: EventKind,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What, why, and what to do; at most 1,024 bytes reach the API server.
    pub message: String,
}

/// The command that shows our agents, in whatever namespace somebody has put them.
pub const PODS: &str = "kubectl get pods -A -l app=lanlord -o wide";

/// The reasons of Events, one CamelCase word each; on which objects, and what for. `docs/reference/events.md` is made of this.
pub mod reason {
    /// Service. Addresses were assigned, or kept from before: which, from which pool, and who announces them; a Warning if nobody does yet.
    pub const IP_ALLOCATED: &str = "IPAllocated";
    /// Service. No address, or not all that were asked for: why, and what to do.
    pub const ALLOCATION_FAILED: &str = "AllocationFailed";
    /// Service. An address was taken away: which, and why.
    pub const CLEAR_ASSIGNMENT: &str = "ClearAssignment";
    /// Service. Who announces it changed: by which node and link, to which BGP peers, and what it moved from and why.
    pub const NODE_ASSIGNED: &str = "nodeAssigned";
    /// Service. It has an address that nobody announces (any more): why, and what to do.
    pub const NOT_ANNOUNCED: &str = "NotAnnounced";
    /// Service. Another machine of the LAN uses its address: the machine's hardware address, and what was done about it.
    pub const ADDRESS_IN_USE: &str = "AddressInUse";
    /// Service. Somebody else changed its address in the status, and it was written back: who, and how to stop that.
    pub const STATUS_OVERWRITTEN: &str = "StatusOverwritten";
    /// Service. An annotation that cannot be read: where, and what to write instead.
    pub const INVALID_ANNOTATION: &str = "InvalidAnnotation";
    /// Service. k3s ServiceLB is on and serves it: how to switch.
    pub const LEFT_TO_SERVICELB: &str = "LeftToServiceLB";
    /// Service. Another load balancer writes to Services of ours: which, and how to stop it.
    pub const OTHER_LOAD_BALANCER: &str = "OtherLoadBalancer";
    /// ConfigMap, custom resource. An edit is in force: what it says, and which addresses are left out.
    pub const CONFIG_LOADED: &str = "ConfigLoaded";
    /// ConfigMap, custom resource. An edit is wrong, and the configuration before it stays in force: where, what, and what to write.
    pub const CONFIG_REJECTED: &str = "ConfigRejected";
    /// ConfigMap, custom resource. No node can announce the pool: why, and what to do.
    pub const POOL_NOT_ANNOUNCED: &str = "PoolNotAnnounced";
    /// ConfigMap, custom resource. A BGPPeer that no node speaks with: which label is missing.
    pub const PEER_MATCHES_NOTHING: &str = "PeerMatchesNothing";
    /// ConfigMap, custom resource. An advertisement that matches no node or no interface: which.
    pub const ADVERTISEMENT_MATCHES_NOTHING: &str = "AdvertisementMatchesNothing";
    /// ConfigMap, or a Node. All nodes carry the label that keeps them from announcing, so it is not honoured.
    pub const EXCLUDE_LABEL_IGNORED: &str = "ExcludeLabelIgnored";
    /// Node, ConfigMap. No liveness packets pass between two nodes although both run: a firewall, or an agent that does not run.
    pub const LIVENESS_BLOCKED: &str = "LivenessBlocked";
    /// Node. k3s ServiceLB runs beside Lanlord: on which servers, and how to switch it off.
    pub const SERVICELB_ACTIVE: &str = "ServiceLBActive";
    /// Node. The kernel of a node answers for addresses of Services: kube-proxy in IPVS mode without strictARP, or an
    /// address put there by hand.
    pub const KERNEL_ANSWERS_ARP: &str = "KernelAnswersARP";
    /// Node. A BGP session is established: with whom.
    pub const BGP_SESSION_UP: &str = "BGPSessionUp";
    /// Node. A BGP session was lost: why, and what to check.
    pub const BGP_SESSION_DOWN: &str = "BGPSessionDown";
    /// Node. A BGP session does not come up: why, and what to check.
    pub const BGP_SESSION_REFUSED: &str = "BGPSessionRefused";
    /// Node. BFD does not watch a BGP session although it was asked to: what to check.
    pub const BGP_WITHOUT_BFD: &str = "BGPWithoutBFD";
    /// Node. Some routes are not sent to a peer: why, and what to do.
    pub const BGP_ROUTES_LEFT_OUT: &str = "BGPRoutesLeftOut";
}
