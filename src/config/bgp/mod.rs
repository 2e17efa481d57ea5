//! What is said about BGP: peers, advertisements, BFD profiles, communities. Read and resolved here; nothing is spoken here.
//!
//! | file | is |
//! |---|---|
//! | `asn`, `time`, `community` | the text forms of AS numbers, times and communities |
//! | `peer`, `advertisement`, `bfd` | MetalLB's fields of a kind, with its defaults |
//! | `resolve` | names looked up; what only the whole can show |
//! | `effective` | the way back, to YAML |

pub(crate) mod advertisement;
pub(crate) mod asn;
pub(crate) mod bfd;
pub(crate) mod community;
pub(crate) mod effective;
pub(crate) mod peer;
pub(crate) mod resolve;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use self::bfd::BfdProfile;
pub use self::community::Community;

use super::PoolName;
use crate::facts::{LinkName, Selector};

/// Everything about BGP.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bgp {
    /// The routers. Names are unique.
    pub peers: Vec<BgpPeer>,
    /// What is announced to them, the one implied where nothing is written among them (see the rule in `resolve.rs`).
    pub advertisements: Vec<BgpAdvertisement>,
    /// How sessions are watched, by name: whatever [`BgpPeer::bfd_profile`] names is here.
    pub bfd_profiles: BTreeMap<String, BfdProfile>,
    /// The aliases of all `Community` documents. Advertisements hold values, so nobody looks anything up here any more.
    pub communities: BTreeMap<String, Community>,
}

/// A `BGPPeer`: a router, and how to speak to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BgpPeer {
    /// Unique. Peers that were given none are `peer1`, `peer2` and so on.
    pub name: String,
    /// `myASN`: our AS, not 0.
    pub my_asn: u32,
    /// `localASN`: the AS this router sees instead of ours (`local-as … no-prepend replace-as`).
    pub local_asn: Option<u32>,
    /// `peerASN` or `dynamicASN`.
    pub remote_as: RemoteAs,
    /// `peerAddress` and `interface`.
    pub neighbor: Neighbor,
    /// `peerPort`. Default 179.
    pub peer_port: u16,
    /// `sourceAddress`, of the family of the neighbour's address; `None`: the kernel chooses.
    pub source_address: Option<IpAddr>,
    /// `holdTime` in whole seconds: 0 (no keepalives) or 3 s to 65535 s (RFC 4271 §4.2). Default three times `keepaliveTime`, or 90 s.
    pub hold_time: Duration,
    /// `keepaliveTime` in whole seconds, at most [`hold_time`](Self::hold_time), 0 only where that is. Default a third of it.
    pub keepalive_time: Duration,
    /// `connectTime` in whole seconds, 1 s to 65535 s: the ConnectRetryTime of RFC 4271. `None`: jittered back-off from 1 s to 60 s.
    pub connect_time: Option<Duration>,
    /// `routerID`: the BGP identifier, not 0.0.0.0. `None`: chosen per node.
    pub router_id: Option<Ipv4Addr>,
    /// The nodes that speak to this router: any selector; empty: all.
    pub node_selectors: Vec<Selector>,
    /// `password` or `passwordSecret`: the key of TCP MD5 (RFC 2385).
    pub password: Option<PeerPassword>,
    /// `bfdProfile`: the session is watched by BFD as that profile says.
    pub bfd_profile: Option<String>,
    /// `enableGracefulRestart` (RFC 4724). Default false.
    pub graceful_restart: bool,
    /// `ebgpMultiHop`: the router may be more than one hop away. Default false; never for a router of our own AS.
    pub ebgp_multi_hop: bool,
    /// `ttlSecurityHops` (ours; MetalLB has none): GTSM (RFC 5082), the router is at most so many hops away, 1 to 254, and packets that
    /// came further are dropped. `None`: not asked for.
    pub ttl_security_hops: Option<u8>,
    /// `vrf`: the device whose routing table holds session and routes.
    pub vrf: Option<LinkName>,
    /// `disableMP`: no multiprotocol capability (RFC 4760) for the session's own family. Default false; no effect in MetalLB since 0.15.
    pub disable_mp: bool,
    /// `dualStackAddressFamily`: both families on this session. Default false: only that of the neighbour's address.
    pub dual_stack: bool,
}

/// Where a router is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Neighbor {
    /// At an address, reached by routing. Never link-local.
    Address(IpAddr),
    /// At a link-local address on a link.
    LinkLocal(Ipv6Addr, LinkName),
}

impl fmt::Display for Neighbor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::LinkLocal(address, link) => write!(f, "{address}%{}", link.as_str()),
        }
    }
}

/// The AS a router has to be of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoteAs {
    /// This one; not 0.
    Number(u32),
    /// Ours, whatever it says.
    Internal,
    /// Any but ours.
    External,
}

/// Where the key of TCP MD5 is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerPassword {
    /// In the configuration.
    Text(Password),
    /// In a Secret of our own namespace.
    Secret {
        /// Its name.
        name: String,
        /// The key that holds it. Default `password`, as in Secrets of type `kubernetes.io/basic-auth`.
        key: String,
    },
}

/// A password; `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl BgpPeer {
    /// Whether the router is of the AS it sees us in (iBGP).
    pub fn is_internal(&self) -> bool {
        match self.remote_as {
            RemoteAs::Number(remote) => remote == self.local_asn.unwrap_or(self.my_asn),
            RemoteAs::Internal => true,
            RemoteAs::External => false,
        }
    }
}

/// A `BGPAdvertisement`: which routes go to which peers, with what attached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BgpAdvertisement {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The pools it reaches, by name and by selector, resolved.
    pub pools: BTreeSet<PoolName>,
    /// `aggregationLength`: addresses are announced as prefixes of this length, 1 to 32. Default 32.
    pub aggregation_length: u8,
    /// `aggregationLengthV6`: 1 to 128. Default 128.
    pub aggregation_length_v6: u8,
    /// `localPref`: LOCAL_PREF, sent to peers of our own AS only. `None` (0 in MetalLB): not set.
    pub local_pref: Option<u32>,
    /// `communities`, aliases looked up.
    pub communities: BTreeSet<Community>,
    /// `asPathPrepend`: how many times more our own AS stands in AS_PATH, 0 to 10. Default 0.
    pub as_path_prepend: u8,
    /// The peers by name, those that do not exist among them; empty: all.
    pub peers: BTreeSet<String>,
    /// The nodes that announce: any selector; empty: all.
    pub node_selectors: Vec<Selector>,
    /// Services: any selector; empty: all.
    pub service_selectors: Vec<Selector>,
}

impl BgpAdvertisement {
    /// `pools` to every peer, from every node: what is implied where nothing is written.
    pub fn everywhere(pools: BTreeSet<PoolName>) -> Self {
        Self {
            name: None,
            pools,
            aggregation_length: 32,
            aggregation_length_v6: 128,
            local_pref: None,
            communities: BTreeSet::new(),
            as_path_prepend: 0,
            peers: BTreeSet::new(),
            node_selectors: Vec::new(),
            service_selectors: Vec::new(),
        }
    }

    /// Whether it is meant for the peer of that name.
    pub fn is_for(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }
}
