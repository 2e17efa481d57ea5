//! How this node speaks with its BGP peers: a `BGPPeer` of the configuration and a Node become the session that is wanted.
//!
//! The password of a Secret is not known here; whoever reads Secrets puts it in.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use siphasher::sip::SipHasher13;

use super::eligible::matches_any;
use crate::addr::{Family, v4};
use crate::bgp::desired::{Bfd, Desired, Password, PeerKey, RemoteAs, Routes, SessionDesired, Transport};
use crate::config::{self, BfdProfile, BgpPeer, Config, Neighbor, PeerPassword};
use crate::facts::{LivingMember, MemberLink, Node, NodeName, SecretKey, Secrets};

/// How long a router keeps our routes while the agent restarts, seconds: FRR's default, and enough to fetch an image.
pub const RESTART_TIME: u16 = 120;

/// Every peer of one node.
pub type Peers = BTreeMap<PeerKey, Peer>;

/// A peer of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Session and routes. The session has the password if the configuration itself holds it.
    pub desired: Desired,
    /// Where the password is: without it there is no session.
    pub secret: Option<SecretKey>,
}

impl Peer {
    pub(super) fn new(config: &Config, peer: &BgpPeer, node: &Node, routes: Routes) -> Self {
        let secret = match &peer.password {
            Some(PeerPassword::Secret { name, key }) => Some(SecretKey { name: name.clone(), key: key.clone() }),
            Some(PeerPassword::Text(_)) | None => None,
        };
        let bfd = peer.bfd_profile.as_ref().and_then(|name| config.bgp.bfd_profiles.get(name));
        let desired = Desired { session: Some(session(peer, node)), routes: Arc::new(routes), bfd: bfd.map(watched), ..Desired::default() };
        Self { desired, secret }
    }

    /// What is wanted, given what the Secrets say: without its password there is no session, for the router would not answer.
    pub fn with_password(&self, secrets: &Secrets) -> Desired {
        let mut desired = self.desired.clone();
        if let Some(key) = &self.secret {
            match secrets.get(key) {
                Some(Ok(text)) => {
                    let session = desired.session.iter_mut();
                    session.for_each(|session| session.transport.password = Some(Password(text.clone())));
                }
                Some(Err(why)) => (desired.session, desired.withheld) = (None, Some(why.clone())),
                None => (desired.session, desired.withheld) = (None, Some(format!("Secret {} has not been read yet", key.name))),
            }
        }
        desired
    }
}

fn watched(profile: &BfdProfile) -> Bfd {
    Bfd {
        desired_min_tx: profile.transmit_interval,
        required_min_rx: profile.receive_interval,
        detect_mult: profile.detect_multiplier,
        passive: profile.passive_mode,
        minimum_ttl: profile.minimum_ttl,
    }
}

/// The peers that `node` speaks with.
pub fn peers_of<'a>(config: &'a Config, node: &'a Node) -> impl Iterator<Item = &'a BgpPeer> {
    config.bgp.peers.iter().filter(|peer| matches_any(&peer.node_selectors, &node.labels))
}

/// The families that the session with `peer` carries: that of its address, or both.
pub fn speaks(peer: &BgpPeer, family: Family) -> bool {
    let own = match &peer.neighbor {
        Neighbor::Address(address) => Family::of(*address),
        Neighbor::LinkLocal(..) => Family::V6,
    };
    peer.dual_stack || own == family
}

fn session(peer: &BgpPeer, node: &Node) -> SessionDesired {
    let seconds = |time: Duration| u16::try_from(time.as_secs()).expect("the configuration was checked");
    SessionDesired {
        transport: transport(peer),
        local_as: peer.local_asn.unwrap_or(peer.my_asn),
        remote_as: match peer.remote_as {
            config::RemoteAs::Number(number) => RemoteAs::Number(number),
            config::RemoteAs::Internal => RemoteAs::Internal,
            config::RemoteAs::External => RemoteAs::External,
        },
        identifier: peer.router_id.unwrap_or_else(|| identifier(node)),
        hold_time: seconds(peer.hold_time),
        keepalive_time: seconds(peer.keepalive_time),
        connect_retry_time: peer.connect_time.map(seconds),
        families: [Family::V4, Family::V6].into_iter().filter(|family| speaks(peer, *family)).collect(),
        multiprotocol: !peer.disable_mp,
        restart_time: peer.graceful_restart.then_some(RESTART_TIME),
    }
}

fn transport(peer: &BgpPeer) -> Transport {
    let (remote, link) = match &peer.neighbor {
        Neighbor::Address(address) => (*address, None),
        Neighbor::LinkLocal(address, link) => (IpAddr::V6(*address), Some(link.clone())),
    };
    let (ttl, minimum_ttl) = ttl(peer);
    let password = match &peer.password {
        Some(PeerPassword::Text(config::Password(text))) => Some(Password(text.clone())),
        Some(PeerPassword::Secret { .. }) | None => None,
    };
    let (port, local, vrf) = (peer.peer_port, peer.source_address, peer.vrf.clone());
    Transport { remote, port, link, local, vrf, ttl, minimum_ttl, password }
}

/// Our address that routes of `family` are most likely to lead to: `sourceAddress`, else the one on the network that the peer is on, else
/// the node's. What it is for certain, the kernel says when the session comes up.
pub fn next_hop(peer: &BgpPeer, node: &Node, member: &LivingMember, family: Family) -> Option<IpAddr> {
    let of = |wanted: Family| move |address: &IpAddr| Family::of(*address) == wanted;
    let (on_it, own): (Vec<&MemberLink>, Family) = match &peer.neighbor {
        Neighbor::Address(address) => (member.links.iter().filter(|link| link.on_link(*address)).collect(), Family::of(*address)),
        Neighbor::LinkLocal(_, name) => (member.links.iter().filter(|link| link.name == *name).collect(), Family::V6),
    };
    let near = |net: &&IpNet| match &peer.neighbor {
        Neighbor::Address(address) => net.contains(address),
        Neighbor::LinkLocal(..) => false,
    };
    let nets = || on_it.iter().flat_map(|link| &link.addresses);
    let addresses = nets().filter(near).chain(nets()).map(IpNet::addr).chain(node.addresses.iter().copied());
    let ours: Vec<IpAddr> = peer.source_address.into_iter().chain(addresses).collect();
    // IPv4 through IPv6 where there is no IPv4 (RFC 8950).
    ours.iter().copied().find(|it| of(family)(it)).or_else(|| ours.iter().copied().find(|it| family == Family::V4 && of(own)(it)))
}

/// What we send with, and the least we take: a router of another AS is one hop away unless it is said to be further (as every router
/// has it by default), and one of our own AS may be anywhere.
fn ttl(peer: &BgpPeer) -> (u8, u8) {
    match peer.ttl_security_hops {
        Some(hops) => (u8::MAX, u8::MAX - (hops - 1)),
        None if peer.is_internal() || peer.ebgp_multi_hop => (u8::MAX, 0),
        None => (1, 0),
    }
}

/// The BGP Identifier of a node: its first IPv4 address, else one made from its name, the same at every start.
fn identifier(node: &Node) -> Ipv4Addr {
    let mut addresses = node.addresses.iter().copied().filter_map(v4);
    addresses.find(|address| !address.is_unspecified()).unwrap_or_else(|| hashed(&node.name))
}

/// SipHash-1-3 of the name with keys 0, as a number from 1.0.0.0 to 223.255.255.255: older routers take no other.
fn hashed(name: &NodeName) -> Ipv4Addr {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(name.as_str().as_bytes());
    let (first, size) = (0x0100_0000, 0xdf00_0000);
    Ipv4Addr::from_bits(first + u32::try_from(hasher.finish() % size).expect("less than 2^32"))
}
