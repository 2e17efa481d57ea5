//! Layer 2: answering for addresses by ARP and NDP, and telling the LAN when they move.
//!
//! `arp` and `ndp` are machines, one of each per link; what they have in common is in `owned`. `asker` asks the LAN what others want to
//! know, `conflicts` judges who uses an address that is ours. `task` owns the sockets of all links.
//!
//! Giving an address up is silent: there is no packet that says "not here any more", and a wrong one would cut off whoever comes next.

pub mod arp;
pub mod asker;
pub mod conflicts;
pub mod desired;
pub mod ndp;
mod owned;
pub mod status;
pub mod task;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::addr::{Family, MacAddr};
use crate::machine::Machine;
use desired::LinkDesired;

/// Whether an address is answered for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// No packet names it.
    Silent,
    /// Solicitations are answered and announcements sent (a fresh address is probed before).
    Announcing,
    /// Withdrawn, and still answered until the new owner announces it, so that nobody asks in vain in between.
    Yielding,
}

/// Why a [`State`] was entered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// It is desired here.
    Desired,
    /// It is not desired here any more.
    Withdrawn,
    /// Its new owner has announced it.
    HandedOver,
    /// Its new owner was not heard in time.
    HandOverExpired,
    /// The link has another MAC, so everyone has to be told again.
    MacChanged,
}

/// Why a packet is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Purpose {
    /// Somebody asked.
    Answer,
    /// Somebody here wants to know who has it.
    Question,
    /// Does somebody have the address that is to be announced?
    Probe,
    /// Unasked: takeover and its repetitions, or the refresh of an address at rest.
    Announcement,
}

/// What the owner of a layer 2 machine has to do; `P` is the packet of its protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action<P> {
    /// Send a packet.
    Send {
        /// The address it is about.
        address: IpAddr,
        /// What for.
        purpose: Purpose,
        /// Ethernet destination.
        to: MacAddr,
        /// The packet.
        packet: P,
    },
    /// Join a solicited-node group (NDP only).
    JoinGroup(Ipv6Addr),
    /// Leave a solicited-node group (NDP only).
    LeaveGroup(Ipv6Addr),
    /// For the log, the metrics and the status.
    StateChanged {
        /// Which address.
        address: IpAddr,
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        reason: Reason,
    },
    /// Somebody unknown says that an address we answer for is theirs. At most once in `DEFEND_INTERVAL` per address.
    Conflict {
        /// Which address.
        address: IpAddr,
        /// Who.
        mac: MacAddr,
    },
    /// A member announces an address we answer for. At most once a second per address.
    MemberClaim {
        /// Which address.
        address: IpAddr,
        /// One of its MACs.
        mac: MacAddr,
    },
    /// Somebody unknown uses a watched address.
    Sighted {
        /// Which address.
        address: IpAddr,
        /// Who.
        mac: MacAddr,
    },
}

/// A layer 2 machine as `task` runs it: the machine and the frames it speaks.
pub trait Protocol: Machine<Desired = LinkDesired, Action = Action<Self::Packet>> {
    /// What it sends.
    type Packet;
    /// Which addresses are its.
    const FAMILY: Family;
    /// A machine without addresses; `seed` jitters its announcements.
    fn new(seed: u64) -> Self;
    /// Nothing is answered for.
    fn is_silent(&self) -> bool;
    /// Reads a received Ethernet frame; `None`: not for this protocol, or not valid.
    fn decode(frame: &[u8]) -> Option<Self::Event>;
    /// Who says in this packet that it has which address; nobody in one that is forged or comes from who has none yet.
    fn speaker(event: &Self::Event) -> Option<(IpAddr, MacAddr)>;
    /// Asks for `address`, and where `whom` is named only there, from `mac` and one of the link's `own` addresses. Returns the Ethernet
    /// destination with it; `None`: the address is of the other family.
    fn question(mac: MacAddr, own: &BTreeSet<IpNet>, address: IpAddr, whom: Option<MacAddr>) -> Option<(MacAddr, Self::Packet)>;
    /// Appends the Ethernet frame of `packet`, from the link's own MAC.
    fn encode(packet: &Self::Packet, from: MacAddr, to: MacAddr, frame: &mut Vec<u8>);
}
