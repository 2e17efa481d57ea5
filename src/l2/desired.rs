//! What the plan wants of layer 2.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::MacAddr;
use crate::facts::LinkName;

/// Everything this node answers for, link by link. Links without addresses are not listed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// By link name.
    pub links: BTreeMap<LinkName, LinkDesired>,
}

/// What is answered for on one link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkDesired {
    /// The kernel's number of the link: another number under the same name is another link.
    pub index: u32,
    /// The link's own MAC, in every answer.
    pub mac: MacAddr,
    /// The addresses, and whom each is for (the Services, for log lines).
    pub addresses: BTreeMap<IpAddr, Arc<str>>,
    /// How often an address at rest is announced again (jittered); `None`: never.
    pub announce_interval: Option<Duration>,
}
