//! Services of `type: LoadBalancer` and where their endpoints are.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Labels, NodeName};
use crate::addr::Family;

/// Namespace and name of a Service; prints as `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// From the two names.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// From `namespace/name`.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then(|| Self::new(namespace, name))
    }
}

impl TryFrom<String> for ServiceKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not namespace/name"))
    }
}

impl From<ServiceKey> for String {
    fn from(key: ServiceKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The uid of an object: a Service deleted and created again has another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Uid(pub Arc<str>);

impl From<String> for Uid {
    fn from(uid: String) -> Self {
        Self(uid.into())
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0.as_ref().to_owned()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Any node forwards to any endpoint.
    #[default]
    Cluster,
    /// Only nodes with an endpoint forward, and the client's address is kept.
    Local,
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum FamilyPolicy {
    /// One family.
    #[default]
    SingleStack,
    /// Both families where the cluster has both.
    PreferDualStack,
    /// Both families or nothing.
    RequireDualStack,
}

/// `spec.ports[].protocol`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP, the default.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One port of a Service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ServicePort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port clients connect to.
    pub port: u16,
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        };
        write!(f, "{protocol} {}", self.port)
    }
}

/// Our condition `lanlord.dev/Announced` as the Service carries it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AnnouncedCondition {
    /// `status: "True"`.
    pub announced: bool,
    /// `reason`, one CamelCase word.
    pub reason: String,
    /// `message`, a sentence for people.
    pub message: String,
    /// `lastTransitionTime` as written (RFC 3339); kept while `announced` stays the same.
    pub since: String,
}

/// A Service of `type: LoadBalancer`; others never get into a [`super::Snapshot`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Namespace and name.
    pub key: ServiceKey,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`, for compare-and-swap.
    pub resource_version: String,
    /// `metadata.creationTimestamp` in seconds since 1970: of two claimants of one address the older wins.
    pub created: i64,
    /// `metadata.labels`, for selectors.
    pub labels: Labels,
    /// Annotations under `metallb.io/`, `metallb.universe.tf/`, `lanlord.dev/` and `kube-vip.io/`; others are not kept.
    pub annotations: BTreeMap<String, String>,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// `spec.ipFamilyPolicy`.
    pub family_policy: FamilyPolicy,
    /// The families of `spec.clusterIPs`, in order; empty for a headless Service.
    pub families: Vec<Family>,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// `spec.loadBalancerIP` (deprecated by Kubernetes, still used).
    pub load_balancer_ip: Option<String>,
    /// `spec.selector` as `key=value,…` in order; only ever compared with that of another Service.
    #[serde(default)]
    pub selector: String,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Addresses in `status.loadBalancer.ingress`, in order.
    pub ingress: Vec<IpAddr>,
    /// `status.loadBalancer.ingress` says more, or other, than our plain list of `ip` with `ipMode: VIP` (a host name, ports).
    pub foreign_ingress: bool,
    /// Our condition.
    pub condition: Option<AnnouncedCondition>,
    /// What others wrote; `None`: nothing that is known. Rare, so it is boxed.
    #[serde(default)]
    pub traces: Option<Box<Traces>>,
}

/// Traces of other load balancers on a Service.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Traces {
    /// The field manager that wrote `status.loadBalancer.ingress` as it is, if that is somebody else.
    pub ingress_by: Option<String>,
    /// An annotation or condition by which another load balancer marks what it serves, if it was written after our last write.
    pub later_mark: Option<String>,
}

impl Service {
    /// The value of annotation `name` under our prefix or MetalLB's two; ours wins, then `metallb.io`. One that says nothing is none.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        ["lanlord.dev/", "metallb.io/", "metallb.universe.tf/"]
            .iter()
            .filter_map(|prefix| self.annotations.get(&format!("{prefix}{name}")))
            .map(String::as_str)
            .find(|value| !value.trim().is_empty())
    }
}

/// Where the serving endpoints of a Service are, from all its EndpointSlices. *Serving* is `ready` or `serving`: pods that
/// terminate but still serve count (KEP-1669), `publishNotReadyAddresses` makes all ready.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Endpoints {
    /// Nodes with at least one serving endpoint, and how many there are.
    pub nodes: BTreeMap<NodeName, u32>,
    /// At least one endpoint serves, on whatever node or without a node name.
    pub serving: bool,
    /// Endpoints exist at all, serving or not.
    pub any: bool,
}

/// Annotations of a Service. `docs/reference/annotations.md` is made of this. Those without a prefix work with each of `lanlord.dev/`,
/// `metallb.io/` and `metallb.universe.tf/`.
pub mod annotation {
    /// You write it. The addresses the Service shall have, with commas between them: one, or one of each family.
    /// `spec.loadBalancerIP` works, too.
    pub const ADDRESSES: &str = "loadBalancerIPs";
    /// You write it. kube-vip's form of the same.
    pub const KUBE_VIP_ADDRESSES: &str = "kube-vip.io/loadbalancerIPs";
    /// You write it. The pool its addresses shall come from, also one with `autoAssign: false`.
    pub const ADDRESS_POOL: &str = "address-pool";
    /// You write it. Services that have the same text here may share an address, if their ports differ.
    pub const SHARED: &str = "allow-shared-ip";
    /// You write it. `"true"`: Lanlord leaves the Service alone.
    pub const IGNORE: &str = "lanlord.dev/ignore";
    /// You write it. BGP communities of its routes, beside those of the advertisements: `64512:100`, `no-export`, the name of a Community.
    pub const BGP_COMMUNITIES: &str = "bgp-communities";
    /// You write it. MULTI_EXIT_DISC of its routes, 0 to 4294967295.
    pub const BGP_MED: &str = "bgp-med";
    /// You write it. How many times more our AS number stands in the path of its routes, 0 to 10.
    pub const BGP_PREPEND: &str = "bgp-prepend";
    /// You write it. `endpoints`: routers are told how many endpoints serve on a node (Link Bandwidth), so that each pod gets its share.
    pub const BGP_WEIGHT: &str = "bgp-weight";
    /// Lanlord writes it. Who announces what, where, since when. Never read back as truth.
    pub const ANNOUNCED: &str = "lanlord.dev/announced";
    /// Lanlord writes it. The pool of its addresses.
    pub const POOL: &str = "lanlord.dev/ip-allocated-from-pool";
    /// Lanlord writes it. The last address that was taken away, and when; it makes sure that the Service changes before
    /// the address is free.
    pub const RELEASED: &str = "lanlord.dev/released";
}
