//! Addresses that move between members without a gap, and fresh ones that are probed before they are announced.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::l2::desired::LinkDesired;
use lanlord::wire::arp::{Operation, Packet};
use lanlord::wire::ndp::{self, Message};

use crate::support::{Agent, Lan, Prober, SILENCE, eventually, mac_of, wanted, within};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const BOTH: [&str; 2] = ["10.77.0.200", "fd77::200"];

/// Nothing any more: host 2 takes both addresses over.
fn moved_to_host_2() -> LinkDesired {
    let successors = [VIP.into(), VIP6.into()].map(|address: IpAddr| (address, [mac_of(2)].into())).into();
    LinkDesired { successors: Arc::new(successors), known_macs: [mac_of(2)].into(), ..wanted(&[]) }
}

fn fresh(addresses: &[&str]) -> LinkDesired {
    LinkDesired { fresh: addresses.iter().map(|address| address.parse().unwrap()).collect(), ..wanted(addresses) }
}

#[test]
fn a_moved_address_is_answered_by_its_old_owner_until_the_new_one_announces_it_and_never_by_nobody() {
    let lan = Lan::new();
    let (first, second, client) = (lan.host(1), lan.host(2), lan.host(100));
    let (one, two) = (Agent::start(&first), Agent::start(&second));
    one.announce("eth0", &BOTH);
    let prober = Prober::open(&client, "eth0");
    let answered_by = |limit| {
        prober.request(MacAddr::BROADCAST, CLIENT, VIP);
        let answer = prober.arp(limit, |packet| packet.operation == Operation::Reply && packet.tpa == CLIENT);
        answer.map(|(_, packet)| packet.sha)
    };
    one.desire("eth0", moved_to_host_2());
    eventually("it is shown as withdrawn", || BOTH.into_iter().all(|address| !one.announces(address)));
    assert_eq!(answered_by(SILENCE), Some(mac_of(1)), "nobody else does yet");
    two.announce("eth0", &BOTH);
    within(Duration::from_millis(900), "the old owner falls silent before its second is over", || one.port("eth0").is_none());
    for _ in 0..20 {
        assert_eq!(answered_by(SILENCE), Some(mac_of(2)));
    }

    // The new owner is never heard.
    two.announce("eth0", &[]);
    one.announce("eth0", &BOTH);
    one.desire("eth0", moved_to_host_2());
    within(Duration::from_secs(3), "without the new owner it falls silent, too", || answered_by(Duration::from_millis(100)).is_none());
    one.announce("eth0", &BOTH);
    one.desire("eth0", wanted(&[]));
    eventually("without a successor it is withdrawn", || !one.announces("10.77.0.200"));
    assert_eq!(answered_by(SILENCE), None, "at once");
}

#[test]
fn a_fresh_address_is_answered_at_once_and_announced_only_after_three_probes_that_change_no_cache() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let (prober, ndp) = (Prober::open(&client, "eth0"), Prober::open(&client, "eth0"));
    let agent = Agent::start(&node);
    agent.desire("eth0", fresh(&BOTH));
    let of_ours = |packet: &Packet| packet.sha == mac_of(1) && packet.tpa == VIP;
    for _ in 0..3 {
        let (header, probe) = prober.arp(SILENCE, of_ours).expect("a probe");
        assert_eq!((header.destination, probe.operation), (MacAddr::BROADCAST, Operation::Request));
        assert_eq!((probe.spa, probe.tha), (Ipv4Addr::UNSPECIFIED, MacAddr::ZERO));
    }
    let (_, announcement) = prober.arp(SILENCE, of_ours).expect("an announcement");
    assert_eq!(announcement.spa, VIP);
    let of_vip6 = || {
        let read = |frame: &[u8]| {
            let (header, packet) = ndp::Packet::decode_frame(frame).ok()?;
            let (Message::NeighborSolicitation { target, .. } | Message::NeighborAdvertisement { target, .. }) = packet.message;
            (header.source == mac_of(1) && target == VIP6).then_some(packet)
        };
        ndp.receive(SILENCE, read).expect("a packet")
    };
    for _ in 0..3 {
        let probe = of_vip6();
        assert_eq!(probe.source, Ipv6Addr::UNSPECIFIED);
        assert!(matches!(probe.message, Message::NeighborSolicitation { source_link_layer_address: None, .. }));
    }
    assert!(matches!(of_vip6().message, Message::NeighborAdvertisement { override_: true, .. }));
}

#[test]
fn a_fresh_address_that_a_machine_of_the_lan_has_is_not_announced_and_its_mac_is_shown() {
    let lan = Lan::new();
    let (node, squatter, client) = (lan.host(1), lan.host(66), lan.host(100));
    for address in ["10.77.0.200/32", "fd77::200/128"] {
        squatter.ip(&format!("addr add {address} dev eth0"));
    }
    for address in [IpAddr::from(VIP), VIP6.into()] {
        client.send_datagram(address);
        let entry = || client.neighbour("eth0", address).map(|(mac, _)| mac);
        eventually("the client has found the machine", || entry() == Some(mac_of(66)));
    }
    let agent = Agent::start(&node);
    agent.desire("eth0", fresh(&BOTH));
    for address in [IpAddr::from(VIP), VIP6.into()] {
        let conflict = || agent.status().of(address).find_map(|(_, status)| status.conflict).map(|conflict| conflict.mac);
        eventually("the conflict is shown", || conflict() == Some(mac_of(66)));
    }
    let prober = Prober::open(&client, "eth0");
    let told = prober.arp(Duration::from_secs(1), |packet| packet.sha == mac_of(1) && packet.spa == VIP);
    assert_eq!(told, None, "an announcement would cut the machine off");
    for address in [IpAddr::from(VIP), VIP6.into()] {
        assert_eq!(client.neighbour("eth0", address).map(|(mac, _)| mac), Some(mac_of(66)));
        assert!(agent.status().of(address).all(|(_, status)| status.announced == 0));
    }
}
