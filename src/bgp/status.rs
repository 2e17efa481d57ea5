//! What BGP shows of its peers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use super::desired::PeerKey;
use super::next_hops::NextHops;
use crate::addr::{Family, Prefix};
use crate::bfd::status::SessionStatus as BfdStatus;
use crate::facts::{BgpMessages, LinkName};
use crate::machine::Instant;
use crate::wire::bgp::Notification;

/// Every peer. Published on every change of state, else at most once a second and only if something happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// When this was so: every "until" counts from here.
    pub at: Instant,
    /// As desired; one that the node does not speak with is Idle.
    pub peers: BTreeMap<PeerKey, PeerStatus>,
}

/// One peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerStatus {
    /// Its address and port; `None`: it is not spoken with.
    pub remote: Option<SocketAddr>,
    /// The link of a link-local `remote`.
    pub zone: Option<LinkName>,
    /// The device that it is reached through, if one is configured.
    pub vrf: Option<LinkName>,
    /// The session.
    pub session: SessionStatus,
    /// Since when its state is as it is.
    pub since: Option<Timestamp>,
    /// Our address on the last connection.
    pub local: Option<IpAddr>,
    /// Its link, if the peer or our address is on one.
    pub link: Option<LinkName>,
    /// Through which addresses routes go there.
    pub next_hops: NextHops,
    /// BFD with it, if that is wanted and there was a connection; with `ups` 0 it never came Up, and watches nothing.
    pub bfd: Option<BfdStatus>,
    /// What is amiss.
    pub troubles: Vec<Trouble>,
}

/// Something that is not as the configuration wants it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Trouble {
    /// The `reason` of an Event about it.
    pub reason: &'static str,
    /// What is so, and what it means.
    pub what: String,
    /// What to do about it.
    pub action: String,
}

/// The states of RFC 4271 §8.2.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum State {
    /// No connection, and none is being made: not wanted, or waiting before another attempt.
    #[default]
    Idle,
    /// TCP connects.
    Connect,
    /// The connection was lost before the peer said anything; waiting before another attempt.
    Active,
    /// Connected, our OPEN is sent.
    OpenSent,
    /// The peer's OPEN is accepted, its KEEPALIVE is missing.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoConnection {
    /// RST in answer to our SYN.
    #[error("the peer refuses connections")]
    Refused,
    /// RST later on.
    #[error("the peer reset the connection")]
    Reset,
    /// FIN without a NOTIFICATION before.
    #[error("the peer closed the connection")]
    Closed,
    /// No SYN is answered: a firewall, a wrong password and a packet with too small a TTL all look like this.
    #[error("the peer does not answer")]
    Unanswered,
    /// Nobody answers ARP or NDP, or a router says that it cannot reach the peer.
    #[error("nobody has the peer's address on the link")]
    HostUnreachable,
    /// No route here.
    #[error("there is no route to the peer")]
    NetworkUnreachable,
    /// BFD says so before there was a session.
    #[error("BFD has lost the peer")]
    BfdDown,
    /// What the kernel says, or what is amiss on our side.
    #[error("{0}")]
    Other(String),
}

impl From<&str> for NoConnection {
    fn from(text: &str) -> Self {
        Self::Other(text.to_owned())
    }
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// There is no connection, or it is lost.
    #[error("{0}")]
    Connection(NoConnection),
    /// The peer said why it closes.
    #[error("the peer sent {0}")]
    Received(Notification),
    /// We refused what the peer did.
    #[error("{why}: sent {notification}")]
    Sent {
        /// What it was told.
        notification: Notification,
        /// In words.
        why: String,
    },
}

/// Why a state changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The session is wanted (ManualStart).
    Wanted,
    /// The wait is over (AutomaticStart, or ConnectRetryTimer_Expires).
    Retry,
    /// TCP has connected.
    Connected,
    /// The peer's OPEN is acceptable.
    OpenAccepted,
    /// The peer accepted ours.
    Confirmed,
    /// The session is not wanted any more, or wanted in another way (ManualStop).
    Unwanted,
    /// Something went wrong.
    Failed(Failure),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wanted => f.write_str("wanted"),
            Self::Retry => f.write_str("the wait is over"),
            Self::Connected => f.write_str("connected"),
            Self::OpenAccepted => f.write_str("the peer's OPEN is accepted"),
            Self::Confirmed => f.write_str("the peer accepted our OPEN"),
            Self::Unwanted => f.write_str("not wanted any more in this way"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

/// What both OPENs agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// The peer's AS.
    pub remote_as: u32,
    /// Its BGP Identifier.
    pub identifier: Ipv4Addr,
    /// It is of our AS.
    pub internal: bool,
    /// Hold time in force; `None`: neither KEEPALIVEs nor a hold timer.
    pub hold_time: Option<Duration>,
    /// Time between KEEPALIVEs, before jitter.
    pub keepalive_time: Duration,
    /// Families whose routes are exchanged.
    pub families: BTreeSet<Family>,
    /// How long the peer keeps our routes while we restart, as far as it helps: it announced Graceful Restart.
    pub graceful_restart: bool,
    /// NOTIFICATIONs leave routes in place unless they are Hard Resets (RFC 8538): both announced it.
    pub graceful_notification: bool,
    /// The peer may ask for all routes again (RFC 2918).
    pub route_refresh: bool,
    /// It is told where that begins and ends (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// UPDATEs of up to 65535 octets may be sent (RFC 8654).
    pub extended_messages: bool,
    /// IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
}

/// One session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionStatus {
    /// Its state.
    pub state: State,
    /// From the peer's OPEN on.
    pub agreed: Option<Agreed>,
    /// ConnectRetryCounter (RFC 4271 §8): failures since the session is wanted, without those that it does not count.
    pub connect_retry_counter: u32,
    /// `last_failure` is of the session as it is wanted now.
    pub failed: bool,
    /// Until the next attempt.
    pub retry_in: Option<Duration>,
    /// Until the peer counts as lost.
    pub hold_in: Option<Duration>,
    /// Until our next KEEPALIVE.
    pub keepalive_in: Option<Duration>,
    /// Routes that the peer was told.
    pub announced: usize,
    /// Routes that it is still to be told, or to be told that they are gone.
    pub pending: usize,
    /// Families that were agreed on, but whose routes have no next hop here: no address of that family is on the connection's link.
    pub without_next_hop: BTreeSet<Family>,
    /// Routes whose attributes alone fill a message: never sent (RFC 4271 §9.2).
    pub too_long: BTreeSet<Prefix>,
    /// Messages sent.
    pub sent: BgpMessages,
    /// Messages received.
    pub received: BgpMessages,
    /// Errors in UPDATEs that the session survived (RFC 7606).
    pub faults: u64,
    /// Times it came to Established.
    pub established: u64,
    /// Times it left Established.
    pub lost: u64,
    /// What went wrong last, however long ago.
    pub last_failure: Option<Failure>,
}
