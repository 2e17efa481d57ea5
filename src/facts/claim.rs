//! Claims: the address Leases `ip.<address>`. What a claim says is so, because an object's name exists once in the API server.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{NodeName, ServiceKey, Uid};

/// The Service an address belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// Namespace and name.
    pub service: ServiceKey,
    /// Its uid; another uid under the same name is another Service.
    pub uid: Uid,
    /// Of a shared address: a digest of what the Service brought along (key, ports, policy) when sharing was last found in order, so that
    /// whoever changes it gives way. Else empty.
    #[serde(default)]
    pub terms: String,
}

/// Where an address is announced.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Placement {
    /// The member.
    pub node: NodeName,
    /// The generation of its Lease when the address was placed there.
    pub generation: u32,
}

/// The last move of an address, for people; never read back for a decision about ownership.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moved {
    /// The node it left.
    pub from: NodeName,
    /// Why, as the second half of a sentence.
    pub why: String,
}

/// An address Lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// Whom it belongs to; several when it is shared; none when it is free again.
    pub holders: Vec<Holder>,
    /// The pool it was taken from.
    pub pool: String,
    /// Where it is announced, as recorded by the leader.
    pub placement: Option<Placement>,
    /// Where it was before, and why it moved; `None`: it never did.
    pub moved: Option<Moved>,
    /// Of a free address: who had it, so that a Service deleted and created again gets it back.
    pub last_holder: Option<ServiceKey>,
    /// Of a free address: when it became free, in seconds since 1970. Only ever compared with the same field of other claims.
    pub freed: Option<i64>,
    /// `metadata.resourceVersion`, for compare-and-swap.
    pub resource_version: String,
}
