//! Links that come, go and change while the agent runs, and what `net::link` tells of them.

use std::net::Ipv4Addr;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::facts::{Medium, Role};
use lanlord::l2::desired::LinkDesired;

use crate::support::{Agent, Lan, Namespace, Prober, eventually, mac_of, wanted, within};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

#[test]
fn links_are_told_with_role_addresses_carrier_and_gateways() {
    let node = Namespace::new("facts");
    node.ip("link add eth0 address 02:00:00:00:00:01 type veth peer name far");
    node.ip("link add br0 type bridge");
    node.ip("link add port0 type veth peer name far1");
    node.ip("link set port0 master br0 up");
    node.ip("link set eth0 up");
    let agent = Agent::start(&node);
    eventually("all links are told", || agent.links().links.len() == 6);
    let role = |name: &str| agent.links().links[name].role;
    assert_eq!((role("lo"), role("eth0"), role("br0"), role("port0")), (Role::NoArp, Role::Own, Role::Own, Role::Port));
    let eth0 = || agent.links().links["eth0"].clone();
    assert_eq!((eth0().mac, eth0().medium, eth0().up), (mac_of(1), Medium::Wired, false));
    node.ip("link set far up");
    eventually("carrier is told", || eth0().up);
    node.ip("addr add 10.77.0.1/24 dev eth0");
    node.ip("addr add fd77::1/64 dev eth0 nodad");
    eventually("addresses are told", || eth0().on_link(VIP.into()) && eth0().on_link("fd77::200".parse().unwrap()));
    node.ip("route add default via 10.77.0.254");
    node.ip("-6 route add default nexthop via fd77::fe nexthop via fd77::fd");
    let gateways = || agent.links().gateways.iter().map(ToString::to_string).collect::<Vec<_>>();
    eventually("gateways are told", || gateways() == ["10.77.0.254", "fd77::fd", "fd77::fe"]);
    node.ip("addr del 10.77.0.1/24 dev eth0");
    eventually("a lost address is told, and the route that went with it", || {
        !eth0().on_link(VIP.into()) && gateways() == ["fd77::fd", "fd77::fe"]
    });
    node.ip("link set port0 nomaster");
    eventually("a port that left its bridge is told", || role("port0") == Role::Own);
    node.ip("link set far down");
    eventually("lost carrier is told", || !eth0().up);
    node.ip("link del eth0");
    eventually("a vanished link is told", || !agent.links().links.contains_key("eth0") && gateways().is_empty());
}

#[test]
fn a_link_that_appears_vanishes_and_comes_back_announces_each_time() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let prober = Prober::open(&client, "eth0");
    let agent = Agent::start(&node);
    agent.want("eth1", &["10.77.0.200"]);
    assert_eq!(prober.who_has(MacAddr::BROADCAST, CLIENT, VIP), None);
    for _ in 0..2 {
        lan.attach(&node, "eth1", mac_of(11));
        let announcement = prober.arp(Duration::from_secs(3), |packet| packet.spa == VIP);
        assert_eq!(announcement.expect("an announcement").1.sha, mac_of(11));
        assert!(prober.who_has(MacAddr::BROADCAST, CLIENT, VIP).is_some());
        node.ip("link del eth1");
        eventually("the address is withdrawn", || !agent.announces("10.77.0.200"));
    }
}

#[test]
fn a_link_that_loses_carrier_is_left_and_announced_on_again_when_it_is_back() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let port = lan.attach(&node, "eth1", mac_of(11));
    let agent = Agent::start(&node);
    agent.announce("eth1", &["10.77.0.200"]);
    lan.switch.ip(&format!("link set {port} down"));
    eventually("the address is withdrawn", || !agent.announces("10.77.0.200"));
    let prober = Prober::open(&client, "eth0");
    lan.switch.ip(&format!("link set {port} up"));
    let announcement = prober.arp(Duration::from_secs(3), |packet| packet.spa == VIP);
    assert_eq!(announcement.expect("an announcement").1.sha, mac_of(11));
}

#[test]
fn a_link_that_was_down_for_a_moment_is_opened_again() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["10.77.0.200"]);
    let prober = Prober::open(&client, "eth0");
    for _ in 0..3 {
        node.ip("link set eth0 down");
        node.ip("link set eth0 up");
    }
    eventually("it answers again", || prober.who_has(MacAddr::BROADCAST, CLIENT, VIP).is_some());
    eventually("no error remains", || agent.port("eth0").is_some_and(|port| port.error.is_none()));
}

#[test]
fn another_mac_is_announced_and_used_in_answers() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["10.77.0.200"]);
    client.send_datagram(VIP.into());
    let entry = || client.neighbour("eth0", VIP.into()).map(|(mac, _)| mac);
    eventually("the client has resolved the address", || entry() == Some(mac_of(1)));
    agent.at_rest("10.77.0.200");
    node.ip(&format!("link set eth0 address {}", mac_of(77)));
    within(Duration::from_millis(500), "the client knows the new MAC", || entry() == Some(mac_of(77)));
    let (header, answer) = Prober::open(&client, "eth0").who_has(mac_of(77), CLIENT, VIP).expect("an answer");
    assert_eq!((header.source, answer.sha), (mac_of(77), mac_of(77)));
}

#[test]
fn a_network_card_passes_on_all_packets_only_while_that_is_asked_for() {
    let lan = Lan::new();
    let node = lan.host(1);
    let agent = Agent::start(&node);
    let asked = || node.ip("-details link show dev eth0").contains("promiscuity 1");
    for promiscuous in [false, true, false] {
        agent.desire("eth0", LinkDesired { promiscuous, ..wanted(&["10.77.0.200"]) });
        eventually("the address is announced", || agent.announces("10.77.0.200"));
        eventually("the kernel was asked", || asked() == promiscuous);
    }
}

#[test]
fn a_bridge_answers_with_its_own_mac_for_what_comes_through_its_ports() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    node.ip(&format!("link add br9 address {} type bridge mcast_snooping 0", mac_of(99)));
    node.ip("addr flush dev eth0");
    node.ip("link set eth0 master br9");
    node.ip("link set br9 up");
    node.ip("addr add 10.77.0.1/24 dev br9");
    let agent = Agent::start(&node);
    agent.announce("br9", &["10.77.0.200"]);
    let prober = Prober::open(&client, "eth0");
    for destination in [MacAddr::BROADCAST, mac_of(99)] {
        let (header, _) = prober.who_has(destination, CLIENT, VIP).expect("an answer");
        assert_eq!(header.source, mac_of(99));
    }
}
