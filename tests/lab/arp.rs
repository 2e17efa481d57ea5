//! ARP on a real LAN: answers, takeover, Linux clients.

use std::net::Ipv4Addr;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::wire::arp::Operation;

use crate::support::{Agent, Lan, Prober, SILENCE, eventually, mac_of, within};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 201);

#[test]
fn broadcast_unicast_and_probe_requests_are_answered_from_the_links_own_mac() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["10.77.0.200"]);
    let prober = Prober::open(&client, "eth0");
    for (destination, spa) in [(MacAddr::BROADCAST, CLIENT), (mac_of(1), CLIENT), (MacAddr::BROADCAST, Ipv4Addr::UNSPECIFIED)] {
        let (header, answer) = prober.who_has(destination, spa, VIP).expect("an answer");
        assert_eq!((header.source, header.destination), (mac_of(1), mac_of(100)));
        assert_eq!((answer.sha, answer.tha), (mac_of(1), mac_of(100)));
    }
    assert_eq!(prober.who_has(MacAddr::BROADCAST, CLIENT, NOBODY), None);
    assert_eq!(prober.who_has(mac_of(9), CLIENT, VIP), None, "a frame for another host");
    agent.announce("eth0", &[]);
    assert_eq!(prober.who_has(MacAddr::BROADCAST, CLIENT, VIP), None, "withdrawn");
}

#[test]
fn a_linux_client_resolves_the_address_and_follows_a_takeover_at_once() {
    let lan = Lan::new();
    let (first, second, client) = (lan.host(1), lan.host(2), lan.host(100));
    let (one, two) = (Agent::start(&first), Agent::start(&second));
    one.announce("eth0", &["10.77.0.200"]);
    client.send_datagram(VIP.into());
    eventually("the client has resolved the address", || client.neighbour("eth0", VIP.into()).is_some_and(|(mac, _)| mac == mac_of(1)));
    // Right after the entry changed, Linux believes only true gratuitous forms (locktime, 1 s): move there and back again.
    for (from, to, mac) in [(&one, &two, mac_of(2)), (&two, &one, mac_of(1))] {
        from.announce("eth0", &[]);
        to.announce("eth0", &["10.77.0.200"]);
        let moved = || client.neighbour("eth0", VIP.into()).is_some_and(|(now, _)| now == mac);
        within(Duration::from_millis(500), "the client's entry has moved", moved);
    }
}

#[test]
fn a_takeover_is_announced_in_both_forms_five_times_in_five_seconds() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let prober = Prober::open(&client, "eth0");
    let agent = Agent::start(&node);
    agent.announce("eth0", &["10.77.0.200"]);
    for round in 0..5 {
        for (operation, tha) in [(Operation::Request, MacAddr::ZERO), (Operation::Reply, mac_of(1))] {
            let limit = Duration::from_millis(if round == 0 { 500 } else { 1500 });
            let (header, packet) = prober.arp(limit, |packet| packet.spa == VIP).expect("an announcement");
            assert_eq!(header.destination, MacAddr::BROADCAST);
            assert_eq!((packet.operation, packet.sha, packet.tha, packet.tpa), (operation, mac_of(1), tha, VIP));
        }
    }
    assert!(prober.arp(Duration::from_secs(2), |packet| packet.spa == VIP).is_none(), "and then it rests");
}

#[test]
fn of_two_links_in_one_subnet_only_the_desired_one_answers() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    lan.attach(&node, "eth1", mac_of(11));
    node.ip("addr add 10.77.0.11/24 dev eth1");
    let agent = Agent::start(&node);
    let prober = Prober::open(&client, "eth0");
    for (link, mac) in [("eth1", mac_of(11)), ("eth0", mac_of(1))] {
        agent.announce(link, &["10.77.0.200"]);
        let (header, answer) = prober.who_has(MacAddr::BROADCAST, CLIENT, VIP).expect("an answer");
        assert_eq!((header.source, answer.sha), (mac, mac));
        let second = prober.arp(Duration::from_millis(200), |packet| packet.tpa == CLIENT);
        assert_eq!(second, None, "a second answer");
    }
}

#[test]
fn somebody_elses_announcement_is_shown_as_a_conflict_with_its_mac_and_answered_by_one_of_ours() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["10.77.0.200"]);
    agent.at_rest("10.77.0.200");
    let prober = Prober::open(&client, "eth0");
    for _ in 0..50 {
        prober.request(MacAddr::BROADCAST, VIP, VIP);
    }
    let ours = |operation| prober.arp(SILENCE, |packet| (packet.sha, packet.spa) == (mac_of(1), VIP) && packet.operation == operation);
    for operation in [Operation::Request, Operation::Reply] {
        assert!(ours(operation).is_some(), "a defence");
    }
    assert_eq!(ours(Operation::Request), None, "only one in ten seconds");
    let conflict = || agent.status().of(VIP.into()).find_map(|(_, address)| address.conflict).map(|conflict| conflict.mac);
    eventually("the conflict is shown", || conflict() == Some(mac_of(100)));
}
