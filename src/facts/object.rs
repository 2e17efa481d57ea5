//! Custom resources of group `metallb.io` (CRs), as the API server has them: one object, one piece of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Uid;

/// Kinds that configure something: kind, plural, and the version that is read.
pub const OBJECT_KINDS: [(&str, &str, &str); 6] = [
    ("IPAddressPool", "ipaddresspools", "v1beta1"),
    ("L2Advertisement", "l2advertisements", "v1beta1"),
    ("BGPAdvertisement", "bgpadvertisements", "v1beta1"),
    ("BGPPeer", "bgppeers", "v1beta2"),
    ("BFDProfile", "bfdprofiles", "v1beta1"),
    ("Community", "communities", "v1beta1"),
];

/// Which object. Prints as `IPAddressPool metallb-system/first-pool`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// From texts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// `apiVersion` as it is read.
    pub fn api_version(&self) -> String {
        let version = OBJECT_KINDS.iter().find(|(kind, ..)| *kind == self.kind).map_or("v1beta1", |(_, _, version)| version);
        format!("metallb.io/{version}")
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What matters of an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Object {
    /// `metadata.uid`, for Events about it.
    pub uid: Uid,
    /// `metadata.creationTimestamp` as written (RFC 3339, so the order of texts is that of time): of two that contradict each
    /// other the older one stays.
    pub created: String,
    /// What a person wrote, as JSON: without `status` and what the API server adds to `metadata`.
    pub text: String,
    /// Of an IPAddressPool: its `status`, if it is complete.
    pub counters: Option<Counters>,
}

/// `status` of an IPAddressPool. A number that does not fit is the largest that does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// IPv4 addresses that Services have.
    #[serde(rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses that Services have.
    #[serde(rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses that a Service could get.
    #[serde(rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// IPv6 addresses that a Service could get.
    #[serde(rename = "availableIPv6")]
    pub available_ipv6: i64,
}

/// All objects of all watched namespaces.
pub type Objects = BTreeMap<ObjectKey, Arc<Object>>;

/// What is known of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ObjectsSeen {
    /// The API server has not answered completely yet.
    #[default]
    NotYet,
    /// These are there; of kinds the API server does not serve, none.
    Present(Arc<Objects>),
}
