//! ARP on one link (RFC 826, RFC 5227): answers for owned IPv4 addresses, announces them, notices who else claims them.
//!
//! An announcement is two packets, both broadcast: a request with `tha` 0 and a reply with `tha` = `sha`. Linux ignores the reply
//! with any other `tha` within a second of the entry's last change (`locktime`), other systems listen to only one of the two forms.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::desired::LinkDesired;
use super::owned::{Due, Owned};
use super::{Protocol, Purpose};
use crate::addr::{Family, MacAddr, v4};
use crate::machine::{Instant, Machine};
use crate::wire::arp::{Operation, Packet};

type Action = super::Action<Packet>;

/// What the link tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A packet came in.
    Received {
        /// Its Ethernet destination.
        destination: MacAddr,
        /// The packet.
        packet: Packet,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Arp {
    owned: Owned<Ipv4Addr>,
}

impl Arp {
    fn answer(&self, packet: Packet, out: &mut Vec<Action>) {
        let reply = Packet { operation: Operation::Reply, sha: self.owned.mac(), spa: packet.tpa, tha: packet.sha, tpa: packet.spa };
        out.push(Action::Send { address: reply.spa.into(), purpose: Purpose::Answer, to: packet.sha, packet: reply });
    }

    /// RFC 5227 §2.1.1: `spa` 0 changes nobody's cache.
    fn probe(&self, address: Ipv4Addr, out: &mut Vec<Action>) {
        let (sha, spa) = (self.owned.mac(), Ipv4Addr::UNSPECIFIED);
        let packet = Packet { operation: Operation::Request, sha, spa, tha: MacAddr::ZERO, tpa: address };
        out.push(Action::Send { address: address.into(), purpose: Purpose::Probe, to: MacAddr::BROADCAST, packet });
    }

    fn announce(&self, address: Ipv4Addr, out: &mut Vec<Action>) {
        let mac = self.owned.mac();
        for (operation, tha) in [(Operation::Request, MacAddr::ZERO), (Operation::Reply, mac)] {
            let packet = Packet { operation, sha: mac, spa: address, tha, tpa: address };
            out.push(Action::Send { address: address.into(), purpose: Purpose::Announcement, to: MacAddr::BROADCAST, packet });
        }
    }
}

impl Machine for Arp {
    type Desired = LinkDesired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<LinkDesired>, now: Instant, out: &mut Vec<Action>) {
        let wanted: BTreeSet<Ipv4Addr> = desired.addresses.keys().copied().filter_map(v4).collect();
        self.owned.set(desired, &wanted, now, out);
        self.handle_timeout(now, out);
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        let Event::Received { destination, packet } = event;
        // A group or nobody as sender is forged; our own MAC is our own frame, reflected by an access point.
        if packet.sha.is_group() || packet.sha == MacAddr::ZERO || packet.sha == self.owned.mac() {
            return;
        }
        // RFC 5227 §2.4: any ARP packet that gives an address as its sender's claims it; §3: who announces names it as target, too.
        let ours = self.owned.contains(packet.spa);
        self.owned.claimed(packet.spa, packet.sha, packet.spa == packet.tpa, now, out);
        if ours {
            return;
        }
        let asked = destination == MacAddr::BROADCAST || destination == self.owned.mac();
        if asked && packet.operation == Operation::Request && self.owned.answers(packet.tpa) {
            self.answer(packet, out);
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        while let Some((address, due)) = self.owned.due(now, out) {
            match due {
                Due::Probe => self.probe(address, out),
                Due::Announce => self.announce(address, out),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.owned.poll_timeout()
    }
}

impl Protocol for Arp {
    type Packet = Packet;
    const FAMILY: Family = Family::V4;

    fn new(seed: u64) -> Self {
        Self { owned: Owned::new(seed) }
    }

    fn is_silent(&self) -> bool {
        self.owned.len() == 0
    }

    fn decode(frame: &[u8]) -> Option<Event> {
        let (header, packet) = Packet::decode_frame(frame).ok()?;
        Some(Event::Received { destination: header.destination, packet })
    }

    fn speaker(event: &Event) -> Option<(IpAddr, MacAddr)> {
        let Event::Received { packet: Packet { sha, spa, .. }, .. } = *event;
        let nobody = sha.is_group() || sha == MacAddr::ZERO || spa.is_unspecified();
        (!nobody).then_some((spa.into(), sha))
    }

    /// RFC 826 asks from an address of ours on that network. Without one it is a Probe (RFC 5227 §1.1): `spa` 0 enters no cache.
    fn question(mac: MacAddr, own: &BTreeSet<IpNet>, address: IpAddr, whom: Option<MacAddr>) -> Option<(MacAddr, Packet)> {
        let (tpa, sender) = (v4(address)?, own.iter().find(|net| net.contains(&address)).map(IpNet::addr));
        let spa = sender.and_then(v4).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let packet = Packet { operation: Operation::Request, sha: mac, spa, tha: MacAddr::ZERO, tpa };
        Some((whom.unwrap_or(MacAddr::BROADCAST), packet))
    }

    fn encode(packet: &Packet, from: MacAddr, to: MacAddr, frame: &mut Vec<u8>) {
        packet.encode_frame(from, to, frame);
    }
}
