//! Other machines of the LAN that use addresses of ours: listed once they prove it, by ARP and NDP, and never on somebody's word alone.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::l2::desired::LinkDesired;

use crate::support::{Agent, Lan, Prober, eventually, mac_of, wanted, within};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const FREE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 210);

/// Addresses that are announced, and a pool around them that is watched.
fn watching(addresses: &[&str]) -> LinkDesired {
    let watched = ["10.77.0.200-10.77.0.220", "fd77::200-fd77::220"].map(|range| range.parse().unwrap());
    LinkDesired { watched: watched.into_iter().collect(), ..wanted(addresses) }
}

#[test]
fn a_machine_that_uses_an_announced_or_a_free_address_is_listed_with_its_mac() {
    let lan = Lan::new();
    let (node, squatter) = (lan.host(1), lan.host(66));
    let agent = Agent::start(&node);
    agent.desire("eth0", watching(&["10.77.0.200", "fd77::200"]));
    agent.at_rest("10.77.0.200");
    for address in ["10.77.0.200", "10.77.0.210", "fd77::210"] {
        squatter.ip(&format!("addr add {address}/{} dev eth0", if address.contains(':') { 128 } else { 32 }));
    }
    // What it asks from those addresses gives it away; nobody has to answer.
    for (address, to) in [("10.77.0.200", "10.77.0.90"), ("10.77.0.210", "10.77.0.91"), ("fd77::210", "fd77::90")] {
        let (address, to): (IpAddr, IpAddr) = (address.parse().unwrap(), to.parse().unwrap());
        squatter.enter(|| drop(std::net::UdpSocket::bind((address, 0)).unwrap().send_to(b"x", (to, 9))));
        eventually("it is listed", || agent.status().conflicts.get(&address) == Some(&mac_of(66)));
    }
    assert_eq!(agent.status().conflicts.len(), 3);
}

#[test]
fn forged_claims_are_asked_for_and_believed_by_nobody() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.desire("eth0", watching(&["10.77.0.200"]));
    agent.at_rest("10.77.0.200");
    let prober = Prober::open(&client, "eth0");
    for address in [VIP, FREE] {
        prober.request(MacAddr::BROADCAST, address, address);
        let asked = prober.arp(Duration::from_secs(3), |packet| packet.tpa == address && packet.spa == Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(asked.expect("a question to whom the packet names as sender").0.destination, mac_of(100));
    }
    // 130 ms by the clock of the machine.
    within(Duration::from_secs(5), "nothing is asked any more", || !agent.asks());
    assert!(agent.status().conflicts.is_empty());
    assert!(prober.who_has(MacAddr::BROADCAST, Ipv4Addr::new(10, 77, 0, 100), VIP).is_some(), "and goes on answering");
}
