//! The links (network interfaces) of this host as the kernel tells them.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::addr::{MacAddr, Prefix};

/// The name of a link, such as `eth0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct LinkName(pub Arc<str>);

impl LinkName {
    /// From text.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for LinkName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<String> for LinkName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.as_str().to_owned()
    }
}

impl From<&str> for LinkName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a link's packets travel through: wired links are preferred, wireless ones get slower timers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Medium {
    /// Ethernet and everything that is not wireless.
    #[default]
    Wired,
    /// IEEE 802.11.
    Wireless,
}

/// Whether a link may announce addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Role {
    /// Carries its own addresses: Ethernet, VLAN, bridge, bond.
    #[default]
    Own,
    /// A port of a bridge or a slave of a bond (`IFLA_MASTER` is set): its master announces.
    Port,
    /// Cannot do ARP at all: loopback, tunnel, point-to-point, `IFF_NOARP`.
    NoArp,
}

/// One link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The kernel's number; changes when a link of the same name is made anew.
    pub index: u32,
    /// Its name.
    pub name: LinkName,
    /// Its link-layer address.
    pub mac: MacAddr,
    /// Administratively up and with carrier (`IFF_UP` and `IFF_LOWER_UP`).
    pub up: bool,
    /// Whether it may announce.
    pub role: Role,
    /// Wired or wireless.
    pub medium: Medium,
    /// Its addresses with their on-link prefix lengths, tentative and link-local ones included.
    pub addresses: BTreeSet<IpNet>,
}

impl Link {
    /// Whether `address` is on this link's network (and not only a link-local or host prefix).
    pub fn on_link(&self, address: IpAddr) -> bool {
        self.prefixes().any(|prefix| prefix.contains(address))
    }

    /// The on-link prefixes wide enough to hold a neighbour; without IPv6 link-local.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.addresses
            .iter()
            .filter(|net| net.prefix_len() < net.max_prefix_len() && !is_link_local(net.addr()))
            .map(|net| Prefix::new(*net))
    }
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// All links of this host, and its default gateways.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Links {
    /// By name.
    pub links: BTreeMap<LinkName, Link>,
    /// Next hops of default routes.
    pub gateways: BTreeSet<IpAddr>,
    /// The kernel answers ARP on some announcing link for every IPv4 address of this host, on whatever link that is: `arp_ignore` is 0
    /// there, the kernel's default.
    pub answers_for_all: bool,
}
