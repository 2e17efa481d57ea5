//! What is wanted of BFD: the sessions, whole.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::facts::LinkName;

/// Every session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// By neighbour.
    pub sessions: BTreeMap<SessionKey, SessionDesired>,
    /// Sessions that are not desired any more end without a word, instead of telling AdminDown. For an instance that another one of
    /// this node has superseded: it must not speak for the node any more. Such an instance desires nothing, silently.
    pub silent: bool,
}

impl Desired {
    /// Together with those that somebody else wants: their ports differ.
    pub fn with(&self, others: &Self) -> Self {
        let mut sessions = self.sessions.clone();
        sessions.extend(others.sessions.iter().map(|(key, session)| (key.clone(), session.clone())));
        Self { sessions, silent: self.silent || others.silent }
    }
}

/// What makes a session this one and no other (RFC 5881 §3: one per pair of addresses and link).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionKey {
    /// Packets leave through this link and are taken from it only.
    pub link: LinkName,
    /// The neighbour's address.
    pub peer: IpAddr,
    /// UDP destination port: 3784 (RFC 5881) or 4784 (RFC 5883) with routers, that of the configuration (7474) between members.
    pub port: u16,
}

/// How a session is to be. A change of `index` or `local` begins the session anew; every other change is made while it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionDesired {
    /// The kernel's number of the link: another number under the same name is another link.
    pub index: u32,
    /// Our address.
    pub local: IpAddr,
    /// bfd.DesiredMinTxInterval once Up (RFC 5880 §6.8.1), whole microseconds, never 0; while not Up, at least one second (§6.8.3).
    pub desired_min_tx: Duration,
    /// bfd.RequiredMinRxInterval, whole microseconds.
    pub required_min_rx: Duration,
    /// bfd.DetectMult, never 0. More is advertised while this process runs late.
    pub detect_mult: u8,
    /// Packets that arrive with a smaller TTL or hop limit are discarded: 255 on one hop (RFC 5881 §5).
    pub minimum_ttl: u8,
    /// Waits for the neighbour's first packet (RFC 5880 §6.1).
    pub passive: bool,
    /// What our packets give as the diagnostic while Up: 6 (Concatenated Path Down) tells that something behind us is lost.
    pub concatenated_path_down: bool,
}
