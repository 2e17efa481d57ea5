//! Raw Ethernet frames in and out of a namespace, independent of `net::packet`.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use lanlord::addr::{MacAddr, solicited_node};
use lanlord::wire::arp::{Operation, Packet};
use lanlord::wire::ethernet;
use lanlord::wire::ndp::{self, Message};
use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Namespace, now};

/// ETH_P_ALL in network byte order: also what this host sends.
const EVERYTHING: i32 = (0x0003_u16).to_be() as i32;
/// ETH_P_ARP in network byte order: only what comes in.
const ARP: i32 = (0x0806_u16).to_be() as i32;

/// A socket that hears every frame of one link.
pub(crate) struct Prober {
    socket: Socket,
    pub(crate) mac: MacAddr,
}

impl Prober {
    pub(crate) fn open(namespace: &Namespace, link: &str) -> Self {
        Self::open_for(namespace, link, EVERYTHING)
    }

    /// Hears only the ARP packets that come in, so that it has little to do.
    pub(crate) fn open_for_arp(namespace: &Namespace, link: &str) -> Self {
        Self::open_for(namespace, link, ARP)
    }

    fn open_for(namespace: &Namespace, link: &str, protocol: i32) -> Self {
        namespace.enter(|| {
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(protocol))).expect("lab tests need root");
            let mut all = getifaddrs().unwrap().filter(|found| found.interface_name == link).filter_map(|found| found.address);
            let address = all.find_map(|address| address.as_link_addr().copied()).expect("the link exists");
            nix::sys::socket::bind(socket.as_raw_fd(), &address).unwrap();
            let _ = socket.set_recv_buffer_size(4 << 20);
            Self { socket, mac: MacAddr(address.addr().unwrap()) }
        })
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        self.socket.send(frame).unwrap();
    }

    /// The first frame within `limit` from somebody else that `read` has a use for.
    pub(crate) fn receive<T>(&self, limit: Duration, mut read: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let deadline = now() + limit;
        let mut buffer = [0; 2048];
        loop {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            match (&self.socket).read(&mut buffer) {
                Ok(length) => {
                    let frame = &buffer[..length];
                    if frame.get(6..12).is_some_and(|source| source != self.mac.0)
                        && let Some(found) = read(frame)
                    {
                        return Some(found);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                // A receive with a timeout is not resumed after the process was stopped for a moment (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("prober: {error}"),
            }
        }
    }

    /// The next ARP packet from somebody else that `wanted` accepts, with the Ethernet addresses it came with.
    pub(crate) fn arp(&self, limit: Duration, wanted: impl Fn(&Packet) -> bool) -> Option<(ethernet::Header, Packet)> {
        self.receive(limit, |frame| Packet::decode_frame(frame).ok().filter(|(_, packet)| wanted(packet)))
    }

    /// The next advertisement for `target` from somebody else.
    pub(crate) fn advertisement(&self, limit: Duration, target: Ipv6Addr) -> Option<(ethernet::Header, ndp::Packet)> {
        self.receive(limit, |frame| {
            let read = ndp::Packet::decode_frame(frame).ok()?;
            matches!(read.1.message, Message::NeighborAdvertisement { target: told, .. } if told == target).then_some(read)
        })
    }

    /// Asks by ARP; `destination` is the Ethernet destination.
    pub(crate) fn request(&self, destination: MacAddr, spa: Ipv4Addr, tpa: Ipv4Addr) {
        let packet = Packet { operation: Operation::Request, sha: self.mac, spa, tha: MacAddr::ZERO, tpa };
        let mut frame = Vec::new();
        packet.encode_frame(self.mac, destination, &mut frame);
        self.send(&frame);
    }

    /// Asks by ARP and waits for the answer to that question.
    pub(crate) fn who_has(&self, destination: MacAddr, spa: Ipv4Addr, tpa: Ipv4Addr) -> Option<(ethernet::Header, Packet)> {
        self.request(destination, spa, tpa);
        self.arp(SILENCE, |packet| packet.operation == Operation::Reply && packet.spa == tpa && packet.tpa == spa)
    }

    /// Solicits `target` by multicast.
    pub(crate) fn solicit(&self, source: Ipv6Addr, target: Ipv6Addr) {
        let group = solicited_node(target);
        let option = (!source.is_unspecified()).then_some(self.mac);
        self.solicitation(MacAddr::of_ipv6_multicast(group), source, group, target, option);
    }

    /// Sends a solicitation made of these parts.
    pub(crate) fn solicitation(&self, to: MacAddr, source: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr, option: Option<MacAddr>) {
        let message = Message::NeighborSolicitation { target, source_link_layer_address: option };
        let mut frame = Vec::new();
        ndp::Packet { source, destination, message }.encode_frame(self.mac, to, &mut frame);
        self.send(&frame);
    }
}

/// How long a question may stay unanswered before we say that nobody answers it.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);
