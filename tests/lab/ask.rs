//! Questions to the LAN: a kernel answers them without any agent, is cut off, and is back.

use std::net::Ipv4Addr;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::facts::Answer;
use lanlord::wire::arp::Operation;

use crate::support::{Agent, Lan, Namespace, Prober, eventually, mac_of, within};

/// Where host 2 is asked: by ARP, and by Neighbor Solicitation.
const ADDRESSES: [&str; 2] = ["10.77.0.2", "fd77::2"];

#[test]
fn the_kernel_of_a_node_answers_falls_silent_when_it_is_cut_off_and_answers_again() {
    let lan = Lan::new();
    let (asking, node) = (lan.host(1), Namespace::new("node"));
    let port = lan.attach(&node, "eth0", mac_of(2));
    node.ip("addr add 10.77.0.2/24 dev eth0");
    node.ip("addr add fd77::2/64 dev eth0 nodad");
    let agent = Agent::start(&asking);
    let whom = [None, Some(mac_of(2)), Some(mac_of(9))];
    let all: Vec<_> = ADDRESSES.into_iter().flat_map(|address| whom.map(|whom| (address, whom))).collect();
    agent.ask(&all);
    let answered = Some(Answer { unanswered: 0, mac: Some(mac_of(2)) });
    for address in ADDRESSES {
        eventually("who asks everyone is answered", || agent.answer(address, None) == answered);
        eventually("who asks the node is answered", || agent.answer(address, Some(mac_of(2))) == answered);
        let nobody = || agent.answer(address, Some(mac_of(9))).is_some_and(|answer| answer.unanswered >= 3 && answer.mac.is_none());
        eventually("an answer of another MAC than the one asked is none", nobody);
    }

    // Pulled out of the switch; its carrier stays.
    lan.switch.ip(&format!("link set {port} nomaster"));
    let silent = |address: &str| agent.answer(address, Some(mac_of(2))).is_some_and(|answer| answer.unanswered >= 3);
    eventually("the silence is counted", || ADDRESSES.into_iter().all(silent));
    assert_eq!(agent.answer("10.77.0.2", None).unwrap().mac, Some(mac_of(2)), "who answered last");
    agent.ask(&[]);
    eventually("nothing is asked any more", || ADDRESSES.into_iter().all(|address| agent.answer(address, None).is_none()));
    agent.ask(&all);
    let unheard = |address: &str| agent.answer(address, Some(mac_of(2))).is_some_and(|answer| answer.unanswered >= 3);
    // 130 ms by the clock of the machine; the rest is for busy cores.
    within(Duration::from_secs(1), "three requests of a new question are over soon", || ADDRESSES.into_iter().all(unheard));

    lan.switch.ip(&format!("link set {port} master br0"));
    eventually("it answers again", || ADDRESSES.into_iter().all(|address| agent.answer(address, Some(mac_of(2))) == answered));
}

#[test]
fn a_question_is_asked_from_the_links_own_address_or_else_as_a_probe_and_only_on_links_that_are_up() {
    let lan = Lan::new();
    let (asking, client) = (lan.host(1), lan.host(100));
    let prober = Prober::open(&client, "eth0");
    let agent = Agent::start(&asking);
    agent.ask(&[("10.77.0.100", None), ("10.78.0.100", Some(mac_of(100)))]);
    let asked = |tpa: Ipv4Addr| {
        let (header, packet) =
            prober.arp(Duration::from_secs(3), |packet| packet.tpa == tpa && packet.sha == mac_of(1)).expect("a request");
        assert_eq!(packet.operation, Operation::Request);
        (header.destination, packet.spa)
    };
    assert_eq!(asked(Ipv4Addr::new(10, 77, 0, 100)), (MacAddr::BROADCAST, Ipv4Addr::new(10, 77, 0, 1)));
    assert_eq!(asked(Ipv4Addr::new(10, 78, 0, 100)), (mac_of(100), Ipv4Addr::UNSPECIFIED));
    eventually("the client answers", || agent.answer("10.77.0.100", None).is_some_and(|answer| answer.mac == Some(mac_of(100))));
    asking.ip("link set eth0 down");
    eventually("what cannot be asked has no answer", || agent.answer("10.77.0.100", None).is_none());
    asking.ip("link set eth0 up");
    eventually("it is asked again", || agent.answer("10.77.0.100", None).is_some_and(|answer| answer.mac == Some(mac_of(100))));
}
