//! What layer 2 shows of itself: for the status page, metrics and `Announced` conditions. Times are wall clock, for people.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::addr::{Family, MacAddr};
use crate::facts::LinkName;

/// Everything this node answers for, as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// ARP (IPv4) and NDP (IPv6) of each link.
    pub links: BTreeMap<(LinkName, Family), Arc<LinkStatus>>,
    /// Addresses, owned here or watched, that other machines of the LAN proved to use, with their MACs.
    pub conflicts: BTreeMap<IpAddr, MacAddr>,
}

impl Status {
    /// The links that `address` is announced on, with how it goes.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = (&LinkName, &AddressStatus)> {
        self.links.iter().filter_map(move |((link, _), status)| Some((link, status.addresses.get(&address)?)))
    }
}

/// One protocol on one link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// The kernel's number of the link.
    pub index: u32,
    /// The MAC in every answer.
    pub mac: MacAddr,
    /// Why nothing can be sent or received, where that is so; it is tried again until it works.
    pub error: Option<String>,
    /// Since the link was last opened.
    pub counters: Counters,
    /// The addresses that are answered for.
    pub addresses: BTreeMap<IpAddr, AddressStatus>,
}

/// What went over a link; counts frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames of the protocol that reached us (the kernel keeps others away).
    pub received: u64,
    /// Of these, such as broke a rule of the protocol.
    pub invalid: u64,
    /// Answers sent.
    pub answered: u64,
    /// Announcements sent.
    pub announced: u64,
    /// Questions and probes sent.
    pub asked: u64,
    /// Frames lost before we read them.
    pub dropped: u64,
    /// Frames that could not be sent.
    pub unsent: u64,
    /// Conflicts told.
    pub conflicts: u64,
}

/// One address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressStatus {
    /// Whom it is for, as the plan calls it.
    pub service: Arc<str>,
    /// Announced since.
    pub since: Timestamp,
    /// Answers sent.
    pub answered: u64,
    /// Announcements sent.
    pub announced: u64,
    /// The machine that claimed it last and is no member.
    pub conflict: Option<Claimant>,
    /// The member (or other link of this host) that announced it last.
    pub member: Option<Claimant>,
}

/// Who claims an address that we answer for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimant {
    /// Who.
    pub mac: MacAddr,
    /// When.
    pub at: Timestamp,
}
