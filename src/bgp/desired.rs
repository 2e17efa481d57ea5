//! What is wanted of one peer: how to speak with it, and every route it is to know, whole.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::addr::{Family, Prefix};
use crate::facts::LinkName;
use crate::wire::bgp::LargeCommunity;

/// Every peer.
pub type PeersDesired = BTreeMap<PeerKey, Desired>;

/// The name of a peer in the configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub Arc<str>);

impl From<&str> for PeerKey {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Borrow<str> for PeerKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every route for one peer. Equal routes may share one value.
pub type Routes = BTreeMap<Prefix, Arc<Route>>;

/// One peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// How to speak with it; `None`: not at all.
    pub session: Option<SessionDesired>,
    /// Why there is no session although the configuration asks for one; for people.
    pub withheld: Option<String>,
    /// What it is to know. Routes of families that were not agreed on are left out.
    pub routes: Arc<Routes>,
    /// The node is about to leave: every route says GRACEFUL_SHUTDOWN (RFC 8326 §4), so that routers look for other ways first.
    pub graceful_shutdown: bool,
    /// How BFD watches it, from the first connection on.
    pub bfd: Option<Bfd>,
    /// How a session ends when `session` becomes `None`.
    pub ending: Ending,
}

/// BFD with a peer (RFC 5882). Sessions of either kind are taken from the link of the connection only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bfd {
    /// bfd.DesiredMinTxInterval (RFC 5880 §6.8.1), whole microseconds, never 0.
    pub desired_min_tx: Duration,
    /// bfd.RequiredMinRxInterval, whole microseconds.
    pub required_min_rx: Duration,
    /// bfd.DetectMult, never 0.
    pub detect_mult: u8,
    /// Waits for the peer's first packet.
    pub passive: bool,
    /// Packets of at least this TTL count where the peer is not on the link (RFC 5883 §5); on it they have to come with 255 (RFC 5881 §5).
    pub minimum_ttl: u8,
}

impl Bfd {
    /// After how long the peer misses us, if it has the same intervals (RFC 5880 §6.8.4).
    pub(super) fn detection_time(&self) -> Duration {
        self.desired_min_tx.max(self.required_min_rx) * self.detect_mult.into()
    }
}

/// How a session ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Ending {
    /// The peer is not configured any more: Cease/Peer De-configured.
    #[default]
    Deconfigured,
    /// Cease/Administrative Shutdown with a text for the router's log (RFC 9003); may be empty.
    Shutdown(String),
    /// Without NOTIFICATION: another process takes over, and a router that helps to restart (RFC 4724) keeps the routes until then.
    Silent,
}

/// How to speak. Any change begins the session anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionDesired {
    /// What is dialled.
    pub transport: Transport,
    /// The AS that the peer sees, not 0.
    pub local_as: u32,
    /// The AS it has to be of.
    pub remote_as: RemoteAs,
    /// Our BGP Identifier, not 0.0.0.0.
    pub identifier: Ipv4Addr,
    /// Hold Time to propose, seconds: 0 or at least 3.
    pub hold_time: u16,
    /// Longest time between KEEPALIVEs, seconds; a third of the negotiated hold time if that is shorter.
    pub keepalive_time: u16,
    /// ConnectRetryTime, seconds, not 0; `None`: waits double from 1 s to 60 s.
    pub connect_retry_time: Option<u16>,
    /// Families to agree on, at least one.
    pub families: BTreeSet<Family>,
    /// Announce the Multiprotocol capability where IPv4 alone is spoken; otherwise it always is.
    pub multiprotocol: bool,
    /// Ask the peer to keep the routes while this process restarts (RFC 4724), for so many seconds, at most 4095.
    pub restart_time: Option<u16>,
}

/// The AS of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoteAs {
    /// This one.
    Number(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// What the dialler of connections needs to know; nothing here means anything to the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transport {
    /// The peer.
    pub remote: IpAddr,
    /// Its TCP port.
    pub port: u16,
    /// The link of a link-local `remote`.
    pub link: Option<LinkName>,
    /// Our address; `None`: the kernel chooses.
    pub local: Option<IpAddr>,
    /// The device to bind to.
    pub vrf: Option<LinkName>,
    /// TTL or hop limit of our packets.
    pub ttl: u8,
    /// Packets that arrive with less are dropped (RFC 5082); 0: none are.
    pub minimum_ttl: u8,
    /// The key of TCP MD5 (RFC 2385).
    pub password: Option<Password>,
}

/// A password; `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What goes with a route, as far as the peer has no part in it. ORIGIN is always IGP: routers spread flows over equal routes only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Route {
    /// LOCAL_PREF, towards our own AS only; `None`: 100.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities (RFC 1997).
    pub communities: BTreeSet<u32>,
    /// Large communities (RFC 8092).
    pub large_communities: BTreeSet<LargeCommunity>,
    /// How much of the traffic to send here, in proportion to what other nodes say; sent as Link Bandwidth, a Gbit/s for each.
    pub weight: Option<u32>,
    /// How many times more our AS stands in AS_PATH, towards other ASes only: our own would take it for a loop.
    pub prepend: u8,
}
