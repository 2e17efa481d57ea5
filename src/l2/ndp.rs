//! NDP on one link (RFC 4861 §7.2, RFC 4862 §5.4): answers for owned IPv6 addresses, announces them, notices who else claims them.
//!
//! Everything is sent from the owned address itself, so nothing depends on the link having an address. R is never set: the address is
//! a host's, and RFC 4861 §7.2.5 lets a change of R remove a default router. O is always set, because we are the owner, and the
//! target's link-layer address always told: without it the advertisement has no effect on Linux.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::desired::LinkDesired;
use super::owned::{Due, Owned};
use super::{Protocol, Purpose};
use crate::addr::{Family, MacAddr, solicited_node, v6};
use crate::machine::{Instant, Machine};
use crate::wire::ndp::{Message, Packet};

/// All nodes on the link (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

type Action = super::Action<Packet>;

/// What the link tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A packet came in.
    Received {
        /// Its Ethernet source.
        source: MacAddr,
        /// The packet.
        packet: Packet,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Ndp {
    owned: Owned<Ipv6Addr>,
    groups: BTreeSet<Ipv6Addr>,
}

impl Ndp {
    fn advertise(&self, target: Ipv6Addr, solicited_by: Option<(Ipv6Addr, MacAddr)>, purpose: Purpose, out: &mut Vec<Action>) {
        let (destination, to) = solicited_by.unwrap_or((ALL_NODES, MacAddr::of_ipv6_multicast(ALL_NODES)));
        let message = Message::NeighborAdvertisement {
            router: false,
            solicited: solicited_by.is_some(),
            override_: true,
            target,
            target_link_layer_address: Some(self.owned.mac()),
        };
        out.push(Action::Send { address: target.into(), purpose, to, packet: Packet { source: target, destination, message } });
    }

    fn solicited(&self, from: Ipv6Addr, mac: MacAddr, target: Ipv6Addr, out: &mut Vec<Action>) {
        if self.owned.answers(target) {
            // RFC 4861 §7.2.4: who has no address yet (a DAD probe) is told through the group, without S.
            let solicited_by = (!from.is_unspecified()).then_some((from, mac));
            self.advertise(target, solicited_by, Purpose::Answer, out);
        }
    }

    /// RFC 4862 §5.4.2: from nobody, so that it changes nobody's cache.
    fn probe(&self, target: Ipv6Addr, out: &mut Vec<Action>) {
        let group = solicited_node(target);
        let message = Message::NeighborSolicitation { target, source_link_layer_address: None };
        let packet = Packet { source: Ipv6Addr::UNSPECIFIED, destination: group, message };
        out.push(Action::Send { address: target.into(), purpose: Purpose::Probe, to: MacAddr::of_ipv6_multicast(group), packet });
    }

    /// Joins what is newly needed and leaves what no address needs any more; addresses share groups.
    fn follow_groups(&mut self, out: &mut Vec<Action>) {
        let needed: BTreeSet<Ipv6Addr> = self.owned.iter().map(solicited_node).collect();
        out.extend(self.groups.difference(&needed).map(|group| Action::LeaveGroup(*group)));
        out.extend(needed.difference(&self.groups).map(|group| Action::JoinGroup(*group)));
        self.groups = needed;
    }
}

impl Machine for Ndp {
    type Desired = LinkDesired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<LinkDesired>, now: Instant, out: &mut Vec<Action>) {
        let wanted: BTreeSet<Ipv6Addr> = desired.addresses.keys().copied().filter_map(v6).collect();
        self.owned.set(desired, &wanted, now, out);
        // Before the announcements: they make everyone ask.
        self.follow_groups(out);
        self.handle_timeout(now, out);
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        let Event::Received { source, packet } = event;
        let mac = match packet.message {
            Message::NeighborSolicitation { source_link_layer_address: option, .. }
            | Message::NeighborAdvertisement { target_link_layer_address: option, .. } => option.unwrap_or(source),
        };
        // A group or nobody as sender is forged; our own MAC is our own frame, reflected by an access point.
        if mac.is_group() || mac == MacAddr::ZERO || mac == self.owned.mac() {
            return;
        }
        let before = self.owned.len();
        match packet.message {
            Message::NeighborSolicitation { target, .. } => {
                let ours = self.owned.contains(packet.source);
                self.owned.claimed(packet.source, mac, false, now, out);
                if !ours {
                    self.solicited(packet.source, mac, target, out);
                }
            }
            Message::NeighborAdvertisement { target, solicited, .. } => self.owned.claimed(target, mac, !solicited, now, out),
        }
        if self.owned.len() != before {
            self.follow_groups(out);
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        let before = self.owned.len();
        while let Some((address, due)) = self.owned.due(now, out) {
            match due {
                Due::Probe => self.probe(address, out),
                Due::Announce => self.advertise(address, None, Purpose::Announcement, out),
            }
        }
        if self.owned.len() != before {
            self.follow_groups(out);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.owned.poll_timeout()
    }
}

impl Protocol for Ndp {
    type Packet = Packet;
    const FAMILY: Family = Family::V6;

    fn new(seed: u64) -> Self {
        Self { owned: Owned::new(seed), groups: BTreeSet::new() }
    }

    fn is_silent(&self) -> bool {
        self.owned.len() == 0
    }

    fn decode(frame: &[u8]) -> Option<Event> {
        let (header, packet) = Packet::decode_frame(frame).ok()?;
        Some(Event::Received { source: header.source, packet })
    }

    fn speaker(event: &Event) -> Option<(IpAddr, MacAddr)> {
        let Event::Received { source, packet } = *event;
        let (address, option) = match packet.message {
            Message::NeighborSolicitation { source_link_layer_address, .. } => (packet.source, source_link_layer_address),
            Message::NeighborAdvertisement { target, target_link_layer_address, .. } => (target, target_link_layer_address),
        };
        let mac = option.unwrap_or(source);
        let nobody = mac.is_group() || mac == MacAddr::ZERO || address.is_unspecified();
        (!nobody).then_some((address.into(), mac))
    }

    /// From an address of ours on that network, else from our link-local one. Without either it is a probe of duplicate address
    /// detection (RFC 4862 §5.4.2), which is answered to all nodes.
    fn question(mac: MacAddr, own: &BTreeSet<IpNet>, address: IpAddr, whom: Option<MacAddr>) -> Option<(MacAddr, Packet)> {
        let target = v6(address)?;
        let local = || own.iter().find(|net| matches!(net.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local()));
        let sender = own.iter().find(|net| net.contains(&address)).or_else(local).map(IpNet::addr);
        let source = sender.and_then(v6);
        let group = solicited_node(target);
        let (to, destination) = match (whom, source) {
            (Some(whom), Some(_)) => (whom, target),
            (Some(whom), None) => (whom, group),
            (None, _) => (MacAddr::of_ipv6_multicast(group), group),
        };
        let message = Message::NeighborSolicitation { target, source_link_layer_address: source.map(|_| mac) };
        Some((to, Packet { source: source.unwrap_or(Ipv6Addr::UNSPECIFIED), destination, message }))
    }

    fn encode(packet: &Packet, from: MacAddr, to: MacAddr, frame: &mut Vec<u8>) {
        packet.encode_frame(from, to, frame);
    }
}
