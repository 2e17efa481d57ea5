//! What the plan wants of layer 2.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::{Family, MacAddr, RangeSet};
use crate::facts::LinkName;

/// Everything this node answers for, link by link. Links without addresses are listed, too: one may just have left them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// By link name.
    pub links: BTreeMap<LinkName, LinkDesired>,
}

/// What is answered for on one link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinkDesired {
    /// The kernel's number of the link: another number under the same name is another link.
    pub index: u32,
    /// The link's own MAC, in every answer.
    pub mac: MacAddr,
    /// The MACs of this host's links and of the members': what they say of an address is another of our links, or a hand-over, and no
    /// conflict.
    pub known_macs: BTreeSet<MacAddr>,
    /// The addresses, each with the Services it is for, as people read them in log lines and status (`default/nginx`). Another text
    /// for the same address announces nothing.
    pub addresses: BTreeMap<IpAddr, Arc<str>>,
    /// Of these, such as the record already gives to this node: nobody takes them over from a machine that could still have them, so
    /// they are probed (RFC 5227 §2.1, RFC 4862 §5.4) before they are announced. Counts at the moment an address is added.
    pub fresh: BTreeSet<IpAddr>,
    /// Addresses that another living member owns, with its MACs there: one that was ours a moment ago is answered until it is
    /// announced from one of those MACs. Shared by all links.
    pub successors: Arc<BTreeMap<IpAddr, BTreeSet<MacAddr>>>,
    /// Where a packet from an unknown MAC that gives such an address as its own is told: addresses of pools on this link.
    pub watched: RangeSet,
    /// How often an address at rest is announced again (jittered by a quarter); `None`: never.
    pub announce_interval: Option<Duration>,
    /// What is known of who takes over may be old: an address that was ours a moment ago is asked for on the LAN, and answered until a
    /// member says that it has it.
    pub until_heard: bool,
    /// The network card is asked to pass on all packets.
    pub promiscuous: bool,
    /// This node leaves and another takes over: it still answers, but announces nothing, which would draw the LAN back to it, and the
    /// other's claim is no conflict.
    pub leaving: bool,
}

impl Desired {
    /// The same on a node that leaves.
    pub fn leaving(&self) -> Self {
        let leaving = |link: &LinkDesired| LinkDesired { leaving: true, ..link.clone() };
        Self { links: self.links.iter().map(|(name, link)| (name.clone(), leaving(link))).collect() }
    }
}

impl LinkDesired {
    /// Whether there is anything to answer for or to watch in that family.
    pub fn has(&self, family: Family) -> bool {
        let watched = self.watched.ranges().any(|range| range.family() == family);
        watched || self.addresses.keys().any(|address| Family::of(*address) == family)
    }
}
