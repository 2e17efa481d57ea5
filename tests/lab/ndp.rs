//! NDP on a real LAN: answers, defence against duplicates, takeover, a switch that snoops.

use std::net::Ipv6Addr;
use std::time::Duration;

use lanlord::addr::{MacAddr, solicited_node};
use lanlord::wire::ndp::Message;

use crate::support::{Agent, Lan, Prober, SILENCE, eventually, mac_of, within};

const VIP: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200);
const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What an advertisement says: S, O, R, and the MAC.
fn flags(message: Message) -> (bool, bool, bool, Option<MacAddr>) {
    let Message::NeighborAdvertisement { router, solicited, override_, target_link_layer_address, .. } = message else {
        panic!("an advertisement")
    };
    (solicited, override_, router, target_link_layer_address)
}

#[test]
fn multicast_unicast_and_dad_solicitations_are_answered() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["fd77::200"]);
    agent.at_rest("fd77::200");
    let prober = Prober::open(&client, "eth0");
    prober.solicit(CLIENT, VIP);
    let (header, answer) = prober.advertisement(SILENCE, VIP).expect("an answer to a multicast solicitation");
    assert_eq!((header.source, header.destination), (mac_of(1), mac_of(100)));
    assert_eq!((answer.source, answer.destination), (VIP, CLIENT));
    assert_eq!(flags(answer.message), (true, true, false, Some(mac_of(1))));

    prober.solicitation(mac_of(1), CLIENT, VIP, VIP, None);
    let (header, answer) = prober.advertisement(SILENCE, VIP).expect("an answer to a unicast solicitation without option");
    assert_eq!((header.destination, answer.destination), (mac_of(100), CLIENT));
    prober.solicitation(mac_of(9), CLIENT, VIP, VIP, None);
    assert_eq!(prober.advertisement(SILENCE, VIP), None, "a frame for another host");

    prober.solicit(Ipv6Addr::UNSPECIFIED, VIP);
    let (header, answer) = prober.advertisement(SILENCE, VIP).expect("a defence against a DAD probe");
    assert_eq!((header.destination, answer.destination), (MacAddr::of_ipv6_multicast(ALL_NODES), ALL_NODES));
    assert_eq!(flags(answer.message), (false, true, false, Some(mac_of(1))));

    let other = "fd77::201".parse().unwrap();
    prober.solicit(CLIENT, other);
    assert_eq!(prober.advertisement(SILENCE, other), None);
    agent.announce("eth0", &[]);
    prober.solicit(CLIENT, VIP);
    assert_eq!(prober.advertisement(SILENCE, VIP), None, "withdrawn");
}

#[test]
fn a_linux_client_resolves_probes_and_follows_a_takeover_at_once() {
    let lan = Lan::new();
    let (first, second, client) = (lan.host(1), lan.host(2), lan.host(100));
    let (one, two) = (Agent::start(&first), Agent::start(&second));
    let entry = || client.neighbour("eth0", VIP.into());
    one.announce("eth0", &["fd77::200"]);
    client.send_datagram(VIP.into());
    eventually("the client has resolved the address", || entry().is_some_and(|(mac, _)| mac == mac_of(1)));
    client.ip(&format!("neigh replace {VIP} lladdr {} nud probe dev eth0", mac_of(1)));
    eventually("a unicast probe was answered", || entry() == Some((mac_of(1), "REACHABLE".into())));
    for (from, to, mac) in [(&one, &two, mac_of(2)), (&two, &one, mac_of(1))] {
        from.announce("eth0", &[]);
        to.announce("eth0", &["fd77::200"]);
        within(Duration::from_millis(500), "the client's entry has moved", || entry().is_some_and(|(now, _)| now == mac));
    }
}

#[test]
fn a_linux_host_that_wants_the_address_is_told_that_it_is_taken() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["fd77::200"]);
    agent.at_rest("fd77::200");
    for (key, value) in [("accept_dad", "1"), ("dad_transmits", "1")] {
        client.sysctl(&format!("net/ipv6/conf/eth0/{key}"), value);
    }
    client.ip("addr add fd77::200/64 dev eth0");
    eventually("duplicate address detection failed", || client.ip("-6 addr show dev eth0").contains("dadfailed"));
}

#[test]
fn solicitations_arrive_through_a_switch_that_snoops_mld() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    lan.switch.ip(
        "link set br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_query_response_interval 100 mcast_query_interval 500 mcast_startup_query_interval 100",
    );
    let (at_client, at_node) = (Prober::open(&client, "eth0"), Prober::open(&node, "eth0"));
    // Until the switch has heard who listens it floods; then a group that nobody joined does not reach the node any more.
    let unjoined = "fd77::99:9999".parse().unwrap();
    let group = MacAddr::of_ipv6_multicast(solicited_node(unjoined));
    within(Duration::from_secs(20), "the switch snoops", || {
        at_client.solicit(CLIENT, unjoined);
        at_node.receive(Duration::from_millis(100), |frame| frame.starts_with(&group.0).then_some(())).is_none()
    });
    let agent = Agent::start(&node);
    agent.announce("eth0", &["fd77::200"]);
    within(Duration::from_secs(3), "a solicitation through the snooping switch is answered", || {
        at_client.solicit(CLIENT, VIP);
        at_client
            .receive(Duration::from_millis(100), |frame| {
                let (_, packet) = lanlord::wire::ndp::Packet::decode_frame(frame).ok()?;
                (packet.destination == CLIENT && packet.source == VIP).then_some(())
            })
            .is_some()
    });
}

#[test]
fn more_addresses_than_one_socket_can_join_groups_for_are_all_reachable() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    let addresses: Vec<String> = (0..5000).map(|n| format!("fd77::1:{n:x}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    agent.announce("eth0", &addresses);
    let joined = node.ip("maddr show dev eth0").lines().filter(|line| line.contains("ff02::1:ff")).count();
    assert!(joined >= 5000, "{joined} groups joined");
    let prober = Prober::open(&client, "eth0");
    let last = addresses[4999].parse().unwrap();
    eventually("the last address is answered for", || {
        prober.solicit(CLIENT, last);
        prober.advertisement(SILENCE, last).is_some()
    });
}
