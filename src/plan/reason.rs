//! Why an address is not announced: a type, told in one place for Events, conditions, logs and `explain`.

use std::fmt;
use std::net::IpAddr;

use crate::addr::Family;
use crate::config::PoolName;
use crate::facts::{EXCLUDE_LABEL, PODS};

/// The reason a group is announced by nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotAnnounced {
    /// No agent lives.
    NoMember,
    /// No advertisement reaches the pool.
    NoAdvertisement {
        /// The pool.
        pool: PoolName,
    },
    /// Advertisements reach the pool, but none of them this Service.
    NoServiceMatch {
        /// The pool.
        pool: PoolName,
    },
    /// Node selectors leave no member.
    NoNodeMatch {
        /// The pool.
        pool: PoolName,
        /// What the first selector asks for.
        selector: String,
    },
    /// None of the named interfaces is up on any member.
    NoInterface {
        /// The names.
        interfaces: Vec<String>,
    },
    /// The address is on no member's network.
    NoLink {
        /// The address.
        address: IpAddr,
        /// The networks the members are on.
        prefixes: Vec<String>,
    },
    /// Every node that could announce it reports `NetworkUnavailable`.
    NetworkUnavailable,
    /// No EndpointSlice of the Service was seen: the controller that makes them has not come by yet.
    EndpointsUnknown,
    /// No endpoint of the Service serves.
    NoServingEndpoint {
        /// Endpoints exist but are not ready.
        any: bool,
    },
    /// `externalTrafficPolicy: Local`, and no node that could announce it has a serving endpoint.
    NoLocalEndpoint {
        /// The nodes that have endpoints but cannot announce.
        nodes: Vec<String>,
    },
    /// `externalTrafficPolicy: Local`, and the address is, for the sake of Services that share it, on a node without an endpoint.
    SharedElsewhere {
        /// Where the address is.
        node: String,
        /// The nodes that have endpoints.
        nodes: Vec<String>,
    },
    /// No BGPPeer is there that an advertisement of the pool is for.
    NoPeer {
        /// The pool.
        pool: PoolName,
    },
    /// None of the nodes that an advertisement of the pool lets announce speaks with a peer that it is for.
    NoSession {
        /// The pool.
        pool: PoolName,
    },
    /// No session that the address could go to carries its family.
    FamilyNotSpoken {
        /// The address.
        address: IpAddr,
    },
    /// Every node that could tell the peer carries the label `exclude-from-external-load-balancers`, and others announce it elsewhere.
    Excluded,
    /// Not on layer 2, but over BGP.
    OverBgp {
        /// The pool.
        pool: PoolName,
    },
    /// The leader has not chosen a node yet.
    NotPlaced,
}

impl NotAnnounced {
    /// Of the first moments of a Service: over by itself, so it is no news.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::EndpointsUnknown | Self::NotPlaced => true,
            Self::NoMember
            | Self::NoAdvertisement { .. }
            | Self::NoServiceMatch { .. }
            | Self::NoNodeMatch { .. }
            | Self::NoInterface { .. }
            | Self::NoLink { .. }
            | Self::NetworkUnavailable
            | Self::NoServingEndpoint { .. }
            | Self::NoLocalEndpoint { .. }
            | Self::SharedElsewhere { .. }
            | Self::NoPeer { .. }
            | Self::NoSession { .. }
            | Self::FamilyNotSpoken { .. }
            | Self::Excluded
            | Self::OverBgp { .. } => false,
        }
    }

    /// The reason as one CamelCase word, for conditions, Events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoMember => "NoMember",
            Self::NoAdvertisement { .. } => "NoAdvertisement",
            Self::NoServiceMatch { .. } => "NoServiceMatch",
            Self::NoNodeMatch { .. } => "NoNodeMatch",
            Self::NoInterface { .. } => "NoInterface",
            Self::NoLink { .. } => "NoLink",
            Self::NetworkUnavailable => "NetworkUnavailable",
            Self::EndpointsUnknown => "EndpointsUnknown",
            Self::NoServingEndpoint { .. } => "NoServingEndpoint",
            Self::NoLocalEndpoint { .. } => "NoLocalEndpoint",
            Self::SharedElsewhere { .. } => "SharedElsewhere",
            Self::NoPeer { .. } => "NoPeer",
            Self::NoSession { .. } => "NoSession",
            Self::FamilyNotSpoken { .. } => "FamilyNotSpoken",
            Self::Excluded => "Excluded",
            Self::OverBgp { .. } => "OverBGP",
            Self::NotPlaced => "NotPlaced",
        }
    }
}

/// What is wrong and what to do, as the second half of a sentence.
impl fmt::Display for NotAnnounced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMember => write!(f, "no Lanlord agent is running; look at {PODS}"),
            Self::NoAdvertisement { pool } => {
                write!(
                    f,
                    "no advertisement reaches pool {pool}; add an L2Advertisement for it, or one without ipAddressPools, which means all"
                )
            }
            Self::NoServiceMatch { pool } => {
                write!(
                    f,
                    "the serviceSelectors of every advertisement of pool {pool} leave this Service out; change its labels or the selectors"
                )
            }
            Self::NoNodeMatch { pool, selector } => {
                write!(f, "no running node matches the nodeSelectors for pool {pool} ({selector}); label a node or change the selectors")
            }
            Self::NoInterface { interfaces } => {
                write!(f, "no node has interface {} up; correct `interfaces` in the advertisement or connect it", interfaces.join(" or "))
            }
            Self::NoLink { address, prefixes } if prefixes.is_empty() => {
                write!(
                    f,
                    "{address} is on no node's network: the nodes have no {} network (excludeInterfaces aside); give them one, or name `interfaces` in an L2Advertisement",
                    Family::of(*address)
                )
            }
            Self::NoLink { address, prefixes } => write!(
                f,
                "{address} is on no node's network ({}); use a pool inside one of them, or name `interfaces` in an L2Advertisement",
                prefixes.join(", ")
            ),
            Self::NetworkUnavailable => {
                f.write_str("every node that could announce it has the condition NetworkUnavailable; look at kubectl describe node")
            }
            Self::EndpointsUnknown => f.write_str("the Service has no EndpointSlice yet; without a selector it needs one made by hand"),
            Self::NoServingEndpoint { any: true } => f.write_str("the Service has endpoints, but none is ready; look at its pods"),
            Self::NoServingEndpoint { any: false } => {
                f.write_str("the Service has no endpoints; check that its selector matches running pods")
            }
            Self::NoLocalEndpoint { nodes } if nodes.is_empty() => {
                f.write_str("externalTrafficPolicy is Local and no endpoint has a node; use Cluster, or pods instead of plain addresses")
            }
            Self::NoLocalEndpoint { nodes } => write!(
                f,
                "externalTrafficPolicy is Local and the nodes with ready pods ({}) cannot announce the address; use Cluster, or run a pod on a node that can",
                nodes.join(", ")
            ),
            Self::SharedElsewhere { node, nodes } => write!(
                f,
                "externalTrafficPolicy is Local, and no ready pod is on {node} (but on {}), where the address is for the Services that share it; \
                 bring their pods together (podAffinity), or use Cluster",
                nodes.join(", ")
            ),
            Self::NoPeer { pool } => {
                write!(
                    f,
                    "no BGPPeer is there that a BGPAdvertisement of pool {pool} is for; add one, or correct `peers` in the advertisement"
                )
            }
            Self::NoSession { pool } => write!(
                f,
                "no running node that may announce pool {pool} speaks with a peer that it is for; bring the nodeSelectors of BGPPeer and BGPAdvertisement together"
            ),
            Self::FamilyNotSpoken { address } => write!(
                f,
                "no session that it could go to carries {}; set dualStackAddressFamily: true on a peer, or add one at such an address",
                Family::of(*address)
            ),
            Self::Excluded => write!(f, "the nodes that could are labelled {EXCLUDE_LABEL}; remove the label from one"),
            Self::OverBgp { pool } => write!(f, "pool {pool} is announced over BGP, and no node can announce it on layer 2"),
            Self::NotPlaced => f.write_str("a node is being chosen"),
        }
    }
}
