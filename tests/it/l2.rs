//! The ARP and NDP machines: scripts of events and the exact actions they bring.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::{MacAddr, solicited_node};
use lanlord::facts::{Answer, Question};
use lanlord::l2::arp::{self, Arp};
use lanlord::l2::asker::{self, Asker};
use lanlord::l2::conflicts::{self, Conflicts};
use lanlord::l2::desired::LinkDesired;
use lanlord::l2::ndp::{self, Ndp};
use lanlord::l2::{Action, Protocol, Purpose, Reason, State};
use lanlord::machine::{Instant, Machine};
use lanlord::wire::arp::{Operation, Packet};
use lanlord::wire::ndp::{Message, Packet as NdpPacket};

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0b]);
const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0c]);
const THIRD: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0d]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 240);
const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200);
const CLIENT_IP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
const START: Instant = Instant::from_nanos(1_000_000_000);

fn desired<const N: usize>(addresses: [IpAddr; N]) -> LinkDesired {
    let addresses = addresses.into_iter().map(|address| (address, Arc::from("default/nginx"))).collect();
    LinkDesired {
        index: 2,
        mac: OWN,
        known_macs: BTreeSet::from([OWN]),
        addresses,
        announce_interval: Some(Duration::from_secs(60)),
        ..LinkDesired::default()
    }
}

fn set<P: Protocol>(machine: &mut P, desired: LinkDesired, now: Instant) -> Vec<Action<P::Packet>> {
    let mut out = Vec::new();
    machine.set(Arc::new(desired), now, &mut out);
    out
}

fn handle<P: Protocol>(machine: &mut P, event: P::Event) -> Vec<Action<P::Packet>> {
    let mut out = Vec::new();
    machine.handle(event, START, &mut out);
    out
}

/// Lets time pass until the next deadline; returns it and what happened.
fn next<P: Protocol>(machine: &mut P) -> (Instant, Vec<Action<P::Packet>>) {
    let (now, mut out) = (machine.poll_timeout().expect("a timer runs"), Vec::new());
    machine.handle_timeout(now, &mut out);
    (now, out)
}

fn owning<P: Protocol, const N: usize>(addresses: [IpAddr; N]) -> P {
    let mut machine = P::new(1);
    set(&mut machine, desired(addresses), START);
    machine
}

fn changed<P>(address: impl Into<IpAddr>, from: State, to: State, reason: Reason) -> Action<P> {
    Action::StateChanged { address: address.into(), from, to, reason }
}

fn request(destination: MacAddr, sha: MacAddr, spa: Ipv4Addr, tpa: Ipv4Addr) -> arp::Event {
    arp::Event::Received { destination, packet: Packet { operation: Operation::Request, sha, spa, tha: MacAddr::ZERO, tpa } }
}

fn reply(sha: MacAddr, spa: Ipv4Addr, tpa: Ipv4Addr) -> arp::Event {
    arp::Event::Received { destination: OWN, packet: Packet { operation: Operation::Reply, sha, spa, tha: OWN, tpa } }
}

fn answer(tpa: Ipv4Addr) -> Action<Packet> {
    let packet = Packet { operation: Operation::Reply, sha: OWN, spa: VIP, tha: CLIENT, tpa };
    Action::Send { address: VIP.into(), purpose: Purpose::Answer, to: CLIENT, packet }
}

/// Both forms: every system listens to at least one.
fn announcement(address: Ipv4Addr, sha: MacAddr) -> [Action<Packet>; 2] {
    [(Operation::Request, MacAddr::ZERO), (Operation::Reply, sha)].map(|(operation, tha)| Action::Send {
        address: address.into(),
        purpose: Purpose::Announcement,
        to: MacAddr::BROADCAST,
        packet: Packet { operation, sha, spa: address, tha, tpa: address },
    })
}

#[test]
fn a_takeover_is_announced_at_once_then_in_steps_of_1100_ms_then_about_once_a_minute() {
    let mut arp = Arp::new(1);
    let [a, b] = announcement(VIP, OWN);
    assert_eq!(
        set(&mut arp, desired([VIP.into()]), START),
        [changed(VIP, State::Silent, State::Announcing, Reason::Desired), a.clone(), b.clone()]
    );
    for step in 1..5 {
        assert_eq!(next(&mut arp), (START + Duration::from_millis(1100) * step, vec![a.clone(), b.clone()]));
    }
    let mut last = START + Duration::from_millis(4400);
    for _ in 0..100 {
        let (now, actions) = next(&mut arp);
        assert_eq!(actions, [a.clone(), b.clone()]);
        assert!((45..=75).contains(&now.since(last).as_secs()), "{:?}", now.since(last));
        last = now;
    }
}

#[test]
fn without_an_interval_an_address_at_rest_is_silent_until_asked() {
    let mut arp = Arp::new(1);
    set(&mut arp, LinkDesired { announce_interval: None, ..desired([VIP.into()]) }, START);
    for _ in 1..5 {
        next(&mut arp);
    }
    assert_eq!(arp.poll_timeout(), None);
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), [answer(CLIENT_IP)]);
    set(&mut arp, desired([VIP.into()]), START);
    assert!(arp.poll_timeout().is_some(), "a new interval applies to what is owned already");
}

#[test]
fn requests_are_answered_to_the_one_who_asked_broadcast_unicast_and_probe() {
    let mut arp: Arp = owning([VIP.into()]);
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), [answer(CLIENT_IP)]);
    assert_eq!(handle(&mut arp, request(OWN, CLIENT, CLIENT_IP, VIP)), [answer(CLIENT_IP)]);
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, Ipv4Addr::UNSPECIFIED, VIP)), [answer(Ipv4Addr::UNSPECIFIED)]);
}

#[test]
fn what_does_not_ask_for_an_owned_address_is_not_answered() {
    let mut arp: Arp = owning([VIP.into(), VIP6.into()]);
    for event in [
        request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, Ipv4Addr::new(192, 0, 2, 241)),
        request(OTHER, CLIENT, CLIENT_IP, VIP),
        request(MacAddr::BROADCAST, OWN, CLIENT_IP, VIP),
        request(MacAddr::BROADCAST, MacAddr::BROADCAST, CLIENT_IP, VIP),
        request(MacAddr::BROADCAST, MacAddr::ZERO, CLIENT_IP, VIP),
        request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, CLIENT_IP),
        reply(CLIENT, CLIENT_IP, VIP),
    ] {
        assert_eq!(handle(&mut arp, event), [], "{event:?}");
    }
}

fn at(millis: u64) -> Instant {
    START + Duration::from_millis(millis)
}

fn handle_at<P: Protocol>(machine: &mut P, event: P::Event, now: Instant) -> Vec<Action<P::Packet>> {
    let mut out = Vec::new();
    machine.handle(event, now, &mut out);
    machine.handle_timeout(now, &mut out);
    out
}

/// `mac` tells everyone that the address is its own.
fn gratuitous(mac: MacAddr) -> arp::Event {
    request(MacAddr::BROADCAST, mac, VIP, VIP)
}

#[test]
fn a_foreign_claim_is_told_and_answered_by_one_announcement_in_ten_seconds() {
    let mut arp: Arp = owning([VIP.into()]);
    while arp.poll_timeout().is_some_and(|due| due < at(5000)) {
        next(&mut arp);
    }
    let told_and_defended = [vec![Action::Conflict { address: VIP.into(), mac: OTHER }], announcement(VIP, OWN).to_vec()].concat();
    assert_eq!(handle_at(&mut arp, gratuitous(OTHER), at(5000)), told_and_defended);
    for millis in 5001..5100 {
        assert_eq!(handle_at(&mut arp, reply(OTHER, VIP, VIP), at(millis)), [], "a fight helps nobody");
    }
    assert_eq!(handle_at(&mut arp, reply(OTHER, VIP, CLIENT_IP), at(15_000)), told_and_defended);
}

#[test]
fn what_a_member_or_another_of_our_links_says_is_no_conflict_but_told_once_a_second() {
    let mut arp = Arp::new(1);
    set(&mut arp, LinkDesired { known_macs: BTreeSet::from([OWN, OTHER]), ..desired([VIP.into()]) }, START);
    assert_eq!(handle(&mut arp, gratuitous(OTHER)), [Action::MemberClaim { address: VIP.into(), mac: OTHER }]);
    assert_eq!(handle(&mut arp, gratuitous(OTHER)), []);
    assert_eq!(handle(&mut arp, reply(OTHER, VIP, CLIENT_IP)), [], "an answer to somebody is no announcement");
}

#[test]
fn an_address_that_another_member_takes_over_is_answered_until_that_member_announces_it() {
    let mut arp: Arp = owning([VIP.into()]);
    let successors = Arc::new([(VIP.into(), [OTHER].into())].into());
    let moved = LinkDesired { successors, known_macs: [OWN, OTHER].into(), ..desired([]) };
    let yields = changed(VIP, State::Announcing, State::Yielding, Reason::Withdrawn);
    assert_eq!(set(&mut arp, moved.clone(), START), [yields]);
    assert_eq!(set(&mut arp, moved.clone(), at(10)), [], "the same again");
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), [answer(CLIENT_IP)]);
    for event in [gratuitous(CLIENT), reply(OTHER, VIP, CLIENT_IP)] {
        assert_eq!(handle(&mut arp, event), [], "not the successor, or no announcement: {event:?}");
    }
    let silent = |reason| changed(VIP, State::Yielding, State::Silent, reason);
    assert_eq!(handle(&mut arp, gratuitous(OTHER)), [silent(Reason::HandedOver)]);
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), []);
    assert!(arp.is_silent() && arp.poll_timeout().is_none());

    let mut arp: Arp = owning([VIP.into()]);
    set(&mut arp, moved.clone(), START);
    assert_eq!(next(&mut arp), (START + Duration::from_secs(1), vec![silent(Reason::HandOverExpired)]));

    let mut arp: Arp = owning([VIP.into()]);
    set(&mut arp, moved.clone(), START);
    assert_eq!(set(&mut arp, desired([]), START), [silent(Reason::Withdrawn)], "nobody takes over any more");

    let mut arp: Arp = owning([VIP.into()]);
    set(&mut arp, moved, START);
    let back = set(&mut arp, LinkDesired { fresh: [VIP.into()].into(), ..desired([VIP.into()]) }, START);
    assert_eq!(back[0], changed(VIP, State::Yielding, State::Announcing, Reason::Desired));
    assert_eq!(back[1..], announcement(VIP, OWN), "back before it was gone");
}

/// Another member owns it as far as this node knows, which does not reach the API server.
fn until_heard(address: IpAddr) -> LinkDesired {
    let successors = Arc::new([(address, [OTHER].into())].into());
    LinkDesired { successors, known_macs: [OWN, OTHER, THIRD].into(), until_heard: true, ..desired([]) }
}

#[test]
fn an_address_whose_owner_is_not_known_for_sure_is_answered_and_asked_for_until_a_member_says_that_it_has_it() {
    let yielding = || {
        let mut arp: Arp = owning([VIP.into()]);
        let yields = changed(VIP, State::Announcing, State::Yielding, Reason::Withdrawn);
        assert_eq!(set(&mut arp, until_heard(VIP.into()), START), [yields]);
        arp
    };
    for heard in [gratuitous(OTHER), gratuitous(THIRD), reply(OTHER, VIP, Ipv4Addr::UNSPECIFIED)] {
        let mut arp = yielding();
        for second in 1..=100 {
            assert_eq!(next(&mut arp), (START + Duration::from_secs(second), vec![probe()]));
            assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), [answer(CLIENT_IP)]);
            for foreign in [gratuitous(CLIENT), reply(CLIENT, VIP, Ipv4Addr::UNSPECIFIED)] {
                assert_eq!(handle(&mut arp, foreign), [], "no member: {foreign:?}");
            }
        }
        assert_eq!(handle(&mut arp, heard), [changed(VIP, State::Yielding, State::Silent, Reason::HandedOver)], "{heard:?}");
        assert!(arp.is_silent() && arp.poll_timeout().is_none());
    }
    let mut arp = yielding();
    next(&mut arp);
    assert_eq!(set(&mut arp, LinkDesired { until_heard: false, ..until_heard(VIP.into()) }, at(1900)), [], "it is known for sure again");
    assert_eq!(next(&mut arp), (at(2000), vec![changed(VIP, State::Yielding, State::Silent, Reason::HandOverExpired)]));
}

fn probe() -> Action<Packet> {
    let packet = Packet { operation: Operation::Request, sha: OWN, spa: Ipv4Addr::UNSPECIFIED, tha: MacAddr::ZERO, tpa: VIP };
    Action::Send { address: VIP.into(), purpose: Purpose::Probe, to: MacAddr::BROADCAST, packet }
}

fn fresh() -> LinkDesired {
    LinkDesired { fresh: [VIP.into(), VIP6.into()].into(), ..desired([VIP.into()]) }
}

#[test]
fn a_fresh_address_is_answered_at_once_and_announced_after_three_silent_probes() {
    let mut arp = Arp::new(1);
    assert_eq!(set(&mut arp, fresh(), START), [changed(VIP, State::Silent, State::Announcing, Reason::Desired), probe()]);
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), [answer(CLIENT_IP)]);
    assert_eq!(set(&mut arp, fresh(), START), []);
    assert_eq!([next(&mut arp), next(&mut arp)], [80, 160].map(|millis| (at(millis), vec![probe()])));
    let announced = |arp: &mut Arp| (0..5).map(|_| next(arp)).collect::<Vec<_>>();
    let expected: Vec<_> = (0..5).map(|step| (at(240) + Duration::from_millis(1100) * step, announcement(VIP, OWN).to_vec())).collect();
    assert_eq!(announced(&mut arp), expected);
}

#[test]
fn a_probe_that_is_answered_is_a_conflict_and_nothing_is_announced_until_a_later_one_is_silent() {
    let mut arp = Arp::new(1);
    set(&mut arp, fresh(), START);
    assert_eq!(
        handle_at(&mut arp, reply(OTHER, VIP, Ipv4Addr::UNSPECIFIED), START),
        [Action::Conflict { address: VIP.into(), mac: OTHER }]
    );
    let asked = |arp: &mut Arp| handle(arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP));
    assert_eq!(asked(&mut arp), [], "it is the other machine's");
    assert_eq!(next(&mut arp), (at(60_000), vec![probe()]));
    assert_eq!(asked(&mut arp), [answer(CLIENT_IP)], "as any that is probed");
    assert_eq!([next(&mut arp).1, next(&mut arp).1], [vec![probe()], vec![probe()]]);
    assert_eq!(next(&mut arp).1, announcement(VIP, OWN));
}

#[test]
fn a_probe_that_a_member_answers_is_a_takeover() {
    let mut arp = Arp::new(1);
    set(&mut arp, LinkDesired { known_macs: [OWN, OTHER].into(), ..fresh() }, START);
    assert_eq!(handle_at(&mut arp, reply(OTHER, VIP, Ipv4Addr::UNSPECIFIED), at(1)), announcement(VIP, OWN));
}

#[test]
fn a_watched_address_in_use_by_somebody_unknown_is_told_and_who_asks_from_it_is_answered_all_the_same() {
    let mut arp = Arp::new(1);
    let watched = ["192.0.2.0/28".parse().unwrap()].into_iter().collect();
    set(&mut arp, LinkDesired { watched, known_macs: [OWN, OTHER].into(), ..desired([VIP.into()]) }, START);
    let sighted = Action::Sighted { address: CLIENT_IP.into(), mac: CLIENT };
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), [sighted, answer(CLIENT_IP)]);
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, Ipv4Addr::new(192, 0, 2, 16), CLIENT_IP)), []);
    assert_eq!(handle(&mut arp, reply(OTHER, CLIENT_IP, VIP)), [], "a member");
}

#[test]
fn a_withdrawn_address_falls_silent_at_once_and_the_rest_goes_on() {
    let other = Ipv4Addr::new(192, 0, 2, 241);
    let mut arp: Arp = owning([VIP.into(), other.into()]);
    let withdrawn = changed(VIP, State::Announcing, State::Silent, Reason::Withdrawn);
    assert_eq!(set(&mut arp, desired([other.into()]), START), [withdrawn]);
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), []);
    assert_eq!(next(&mut arp).1, announcement(other, OWN));
    let again = set(&mut arp, desired([VIP.into(), other.into()]), START);
    assert_eq!(again[0], changed(VIP, State::Silent, State::Announcing, Reason::Desired));
    assert_eq!(again[1..], announcement(VIP, OWN));
}

#[test]
fn who_leaves_still_answers_but_announces_nothing_and_takes_no_claim_for_a_conflict() {
    let mut arp: Arp = owning([VIP.into()]);
    assert_eq!(set(&mut arp, LinkDesired { leaving: true, ..desired([VIP.into()]) }, START), []);
    assert_eq!(arp.poll_timeout(), None);
    assert_eq!(handle(&mut arp, reply(OTHER, VIP, VIP)), []);
    assert_eq!(handle(&mut arp, request(MacAddr::BROADCAST, CLIENT, CLIENT_IP, VIP)), [answer(CLIENT_IP)]);
}

#[test]
fn another_service_for_the_same_address_announces_nothing_and_another_mac_announces_everything() {
    let mut arp: Arp = owning([VIP.into()]);
    let mut renamed = desired([VIP.into()]);
    renamed.addresses.insert(VIP.into(), "media/jellyfin".into());
    assert_eq!(set(&mut arp, renamed.clone(), START), []);
    let [a, b] = announcement(VIP, OTHER);
    let moved = changed(VIP, State::Announcing, State::Announcing, Reason::MacChanged);
    assert_eq!(set(&mut arp, LinkDesired { mac: OTHER, ..renamed }, START), [moved, a, b]);
}

#[test]
fn many_addresses_are_announced_in_small_portions() {
    let addresses: [IpAddr; 1000] = std::array::from_fn(|i| Ipv4Addr::from(0x0a00_0000 + u32::try_from(i).unwrap()).into());
    let mut arp = Arp::new(1);
    let sent = |actions: &[Action<Packet>]| actions.iter().filter(|action| matches!(action, Action::Send { .. })).count();
    let mut total = sent(&set(&mut arp, desired(addresses), START));
    assert_eq!(total, 128);
    while total < 2000 {
        let (now, actions) = next(&mut arp);
        assert!(now <= START + Duration::from_millis(40), "everything is announced within 40 ms");
        assert!(sent(&actions) <= 128);
        total += sent(&actions);
    }
}

fn solicitation(from: Ipv6Addr, source: MacAddr, option: Option<MacAddr>, destination: Ipv6Addr) -> ndp::Event {
    let message = Message::NeighborSolicitation { target: VIP6, source_link_layer_address: option };
    ndp::Event::Received { source, packet: NdpPacket { source: from, destination, message } }
}

fn advertisement(purpose: Purpose, to: MacAddr, destination: Ipv6Addr, solicited: bool) -> Action<NdpPacket> {
    let message =
        Message::NeighborAdvertisement { router: false, solicited, override_: true, target: VIP6, target_link_layer_address: Some(OWN) };
    Action::Send { address: VIP6.into(), purpose, to, packet: NdpPacket { source: VIP6, destination, message } }
}

#[test]
fn the_group_is_joined_before_the_first_advertisement_and_left_with_the_last_address() {
    let mut ndp = Ndp::new(1);
    let group = solicited_node(VIP6);
    assert_eq!(
        set(&mut ndp, desired([VIP6.into(), VIP.into()]), START),
        [
            changed(VIP6, State::Silent, State::Announcing, Reason::Desired),
            Action::JoinGroup(group),
            advertisement(Purpose::Announcement, ALL_NODES_MAC, ALL_NODES, false),
        ]
    );
    let same_group: Ipv6Addr = "fd78::200".parse().unwrap();
    assert_eq!(solicited_node(same_group), group);
    let taken_over = set(&mut ndp, desired([same_group.into()]), START);
    assert!(!taken_over.iter().any(|action| matches!(action, Action::JoinGroup(_) | Action::LeaveGroup(_))));
    assert_eq!(
        set(&mut ndp, desired([]), START),
        [changed(same_group, State::Announcing, State::Silent, Reason::Withdrawn), Action::LeaveGroup(group)]
    );
    assert_eq!(ndp.poll_timeout(), None);
}

#[test]
fn solicitations_are_answered_multicast_unicast_without_option_and_dad_probe() {
    let mut ndp: Ndp = owning([VIP6.into()]);
    let to_client = [advertisement(Purpose::Answer, CLIENT, CLIENT_IP6, true)];
    assert_eq!(handle(&mut ndp, solicitation(CLIENT_IP6, OTHER, Some(CLIENT), solicited_node(VIP6))), to_client);
    assert_eq!(handle(&mut ndp, solicitation(CLIENT_IP6, CLIENT, None, VIP6)), to_client);
    let to_all = [advertisement(Purpose::Answer, ALL_NODES_MAC, ALL_NODES, false)];
    assert_eq!(handle(&mut ndp, solicitation(Ipv6Addr::UNSPECIFIED, CLIENT, None, solicited_node(VIP6))), to_all);
    assert_eq!(handle(&mut ndp, solicitation(CLIENT_IP6, OWN, None, VIP6)), []);
    set(&mut ndp, desired([]), START);
    assert_eq!(handle(&mut ndp, solicitation(CLIENT_IP6, CLIENT, None, VIP6)), []);
}

fn probe6() -> Action<NdpPacket> {
    let group = solicited_node(VIP6);
    let message = Message::NeighborSolicitation { target: VIP6, source_link_layer_address: None };
    let packet = NdpPacket { source: Ipv6Addr::UNSPECIFIED, destination: group, message };
    Action::Send { address: VIP6.into(), purpose: Purpose::Probe, to: MacAddr::of_ipv6_multicast(group), packet }
}

/// `mac` says that it has the address.
fn told(mac: MacAddr, solicited: bool) -> ndp::Event {
    let option = Some(mac);
    let message =
        Message::NeighborAdvertisement { router: false, solicited, override_: true, target: VIP6, target_link_layer_address: option };
    ndp::Event::Received { source: mac, packet: NdpPacket { source: VIP6, destination: ALL_NODES, message } }
}

#[test]
fn an_ipv6_address_is_probed_by_duplicate_address_detection_and_yields_to_an_unsolicited_advertisement() {
    let mut ndp = Ndp::new(1);
    let group = solicited_node(VIP6);
    let probe = probe6();
    let begun = set(&mut ndp, LinkDesired { addresses: desired([VIP6.into()]).addresses, ..fresh() }, START);
    assert_eq!(begun[1..], [Action::JoinGroup(group), probe.clone()]);
    assert_eq!([next(&mut ndp).1, next(&mut ndp).1], [vec![probe.clone()], vec![probe]]);
    assert_eq!(next(&mut ndp), (at(240), vec![advertisement(Purpose::Announcement, ALL_NODES_MAC, ALL_NODES, false)]));

    let successors = Arc::new([(VIP6.into(), [OTHER].into())].into());
    set(&mut ndp, LinkDesired { successors, ..desired([]) }, START);
    assert_eq!(handle(&mut ndp, told(OTHER, true)), []);
    let silent = changed(VIP6, State::Yielding, State::Silent, Reason::HandedOver);
    assert_eq!(handle(&mut ndp, told(OTHER, false)), [silent, Action::LeaveGroup(group)]);
}

#[test]
fn who_owns_a_contested_ipv6_address_and_boots_is_not_kept_from_it() {
    let mut ndp = Ndp::new(1);
    set(&mut ndp, LinkDesired { addresses: desired([VIP6.into()]).addresses, ..fresh() }, START);
    assert_eq!(handle_at(&mut ndp, told(OTHER, false), START), [Action::Conflict { address: VIP6.into(), mac: OTHER }]);
    let Action::Send { packet, .. } = probe6() else { unreachable!() };
    let asked = |ndp: &mut Ndp| handle(ndp, ndp::Event::Received { source: OTHER, packet });
    assert_eq!(asked(&mut ndp), [], "RFC 4862 §5.4.3: an answer would take it away");
    let successors = Arc::new([(VIP6.into(), [THIRD].into())].into());
    let silent = changed(VIP6, State::Announcing, State::Silent, Reason::Withdrawn);
    assert_eq!(set(&mut ndp, LinkDesired { successors, ..desired([]) }, START)[0], silent, "nor while another node takes over");
    assert_eq!(asked(&mut ndp), []);
}

#[test]
fn an_ipv6_address_whose_owner_is_not_known_for_sure_is_answered_and_asked_for_until_a_member_says_that_it_has_it() {
    let group = solicited_node(VIP6);
    let gone = |reason| [changed(VIP6, State::Yielding, State::Silent, reason), Action::LeaveGroup(group)];
    for heard in [told(OTHER, false), told(OTHER, true), told(THIRD, false)] {
        let mut ndp: Ndp = owning([VIP6.into()]);
        set(&mut ndp, until_heard(VIP6.into()), START);
        for second in 1..=100 {
            assert_eq!(next(&mut ndp), (START + Duration::from_secs(second), vec![probe6()]));
            let to_client = [advertisement(Purpose::Answer, CLIENT, CLIENT_IP6, true)];
            assert_eq!(handle(&mut ndp, solicitation(CLIENT_IP6, CLIENT, None, VIP6)), to_client);
            assert_eq!(handle(&mut ndp, told(CLIENT, false)), [], "no member");
        }
        assert_eq!(handle(&mut ndp, heard), gone(Reason::HandedOver), "{heard:?}");
    }
    let mut ndp: Ndp = owning([VIP6.into()]);
    set(&mut ndp, until_heard(VIP6.into()), START);
    next(&mut ndp);
    assert_eq!(set(&mut ndp, LinkDesired { until_heard: false, ..until_heard(VIP6.into()) }, at(1900)), []);
    assert_eq!(next(&mut ndp), (at(2000), gone(Reason::HandOverExpired).to_vec()));
}

#[test]
fn a_foreign_advertisement_for_an_owned_address_is_a_conflict() {
    let mut ndp: Ndp = owning([VIP6.into()]);
    let message =
        Message::NeighborAdvertisement { router: false, solicited: false, override_: true, target: VIP6, target_link_layer_address: None };
    let event = ndp::Event::Received { source: OTHER, packet: NdpPacket { source: VIP6, destination: ALL_NODES, message } };
    assert_eq!(handle(&mut ndp, event), [Action::Conflict { address: VIP6.into(), mac: OTHER }]);
    assert_eq!(handle(&mut ndp, event), []);
    let mut ndp: Ndp = owning([VIP6.into()]);
    let claim = solicitation(VIP6, OTHER, Some(OTHER), solicited_node(VIP6));
    assert_eq!(handle(&mut ndp, claim), [Action::Conflict { address: VIP6.into(), mac: OTHER }]);
}

fn millis(machine: &Asker) -> u128 {
    machine.poll_timeout().expect("a timer runs").since(START).as_millis()
}

/// Lets the asker's time pass until `end` milliseconds after the start; returns when it asked, and each answer as it was told.
fn ask_until(asker: &mut Asker, end: u128) -> (Vec<u128>, Vec<Answer>) {
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    while millis(asker) <= end {
        let (at, mut out) = (millis(asker), Vec::new());
        asker.handle_timeout(asker.poll_timeout().unwrap(), &mut out);
        asked.extend(out.iter().filter(|action| matches!(action, asker::Action::Ask(_))).map(|_| at));
        told.extend(out.iter().filter(|action| **action == asker::Action::AnswersChanged).map(|_| asker.answers().next().unwrap().1));
    }
    (asked, told)
}

#[test]
fn a_question_is_asked_three_times_at_once_then_twice_a_second_and_silence_is_counted_after_50_ms() {
    let (mut asker, mut out) = (Asker::default(), Vec::new());
    let question = Question { link: "eth0".into(), address: VIP.into(), mac: Some(OTHER) };
    asker.set(Arc::new([question.clone()].into()), START, &mut out);
    assert_eq!(out, [asker::Action::AnswersChanged, asker::Action::Ask(question)]);
    let unanswered = |unanswered| Answer { unanswered, mac: None };
    let (asked, told) = ask_until(&mut asker, 1200);
    assert_eq!(asked, [40, 80, 580, 1080]);
    assert_eq!(told, [1, 2, 3, 4, 5].map(unanswered));
    out.clear();
    let heard = |mac| asker::Event::Heard { address: VIP.into(), mac };
    let later = START + Duration::from_millis(1600);
    asker.handle(heard(CLIENT), later, &mut out);
    assert_eq!(out, [], "only who is asked answers");
    asker.handle(heard(OTHER), later, &mut out);
    asker.handle(heard(OTHER), later, &mut out);
    assert_eq!(out, [asker::Action::AnswersChanged], "told once");
    assert_eq!(asker.answers().next().unwrap().1, Answer { unanswered: 0, mac: Some(OTHER) });
    assert_eq!(ask_until(&mut asker, 2200).1, [1, 2].map(|unanswered| Answer { unanswered, mac: Some(OTHER) }));
    asker.set(Arc::default(), START, &mut out);
    assert_eq!(asker.poll_timeout(), None);
}

#[test]
fn an_answer_takes_back_every_request_under_way_and_a_late_wake_up_does_not_ask_in_bursts() {
    let (mut asker, mut out) = (Asker::default(), Vec::new());
    let question = Question { link: "eth0".into(), address: VIP.into(), mac: None };
    asker.set(Arc::new([question.clone()].into()), START, &mut out);
    assert_eq!(ask_until(&mut asker, 45), (vec![40], vec![]));
    asker.handle(asker::Event::Heard { address: VIP.into(), mac: OTHER }, START + Duration::from_millis(46), &mut out);
    assert_eq!(ask_until(&mut asker, 100), (vec![80], vec![]));
    out.clear();
    asker.handle_timeout(START + Duration::from_secs(60), &mut out);
    assert_eq!(out, [asker::Action::Ask(question), asker::Action::AnswersChanged]);
    assert_eq!(asker.answers().next().unwrap().1.unanswered, 1);
}

#[test]
fn a_question_goes_out_from_the_links_own_address_to_whom_it_is_asked() {
    let own = ["192.0.2.1/24", "fd77::1/64", "fe80::1/64"].map(|net| net.parse().unwrap()).into();
    let (to, packet) = Arp::question(OWN, &own, VIP.into(), Some(OTHER)).unwrap();
    assert_eq!((to, packet.sha, packet.spa, packet.tpa), (OTHER, OWN, Ipv4Addr::new(192, 0, 2, 1), VIP));
    let (to, packet) = Arp::question(OWN, &own, "10.0.0.1".parse().unwrap(), None).unwrap();
    assert_eq!((to, packet.spa), (MacAddr::BROADCAST, Ipv4Addr::UNSPECIFIED));
    let source = |own: &[&str], target: &str, whom| {
        let own = own.iter().map(|net| net.parse().unwrap()).collect();
        let (to, packet) = Ndp::question(OWN, &own, target.parse().unwrap(), whom).unwrap();
        let mut frame = Vec::new();
        packet.encode_frame(OWN, to, &mut frame);
        assert_eq!(NdpPacket::decode_frame(&frame).unwrap().1, packet, "a valid solicitation");
        (to, packet.source.to_string(), packet.destination)
    };
    let group = MacAddr::of_ipv6_multicast(solicited_node(VIP6));
    assert_eq!(source(&["fd77::1/64", "fe80::1/64"], "fd77::200", Some(OTHER)), (OTHER, "fd77::1".to_owned(), VIP6));
    assert_eq!(source(&["fd78::1/64", "fe80::1/64"], "fd77::200", None), (group, "fe80::1".to_owned(), solicited_node(VIP6)));
    assert_eq!(source(&[], "fd77::200", Some(OTHER)), (OTHER, "::".to_owned(), solicited_node(VIP6)));
}

/// A machine that may ask on `eth0`, and the question it asks about [`VIP`].
fn conflicts() -> (Conflicts, Question) {
    let mut conflicts = Conflicts::default();
    conflicts.set(Arc::new(["eth0".into()].into()), START, &mut Vec::new());
    (conflicts, Question { link: "eth0".into(), address: VIP.into(), mac: Some(OTHER) })
}

fn feed(conflicts: &mut Conflicts, event: conflicts::Event, now: Instant) -> Vec<conflicts::Action> {
    let mut out = Vec::new();
    conflicts.handle(event, now, &mut out);
    out
}

fn claim(address: IpAddr) -> conflicts::Event {
    conflicts::Event::Claimed { link: "eth0".into(), address, mac: OTHER }
}

#[test]
fn a_claim_is_asked_for_and_listed_only_when_it_is_answered() {
    let (mut conflicts, question) = conflicts();
    let answered = |unanswered, mac| conflicts::Event::Answered(question.clone(), Answer { unanswered, mac });
    assert_eq!(feed(&mut conflicts, claim(VIP.into()), START), [conflicts::Action::QuestionsChanged]);
    assert_eq!((conflicts.questions(), conflicts.listed().len()), ([question.clone()].into(), 0));
    assert_eq!(feed(&mut conflicts, answered(2, None), START), []);
    assert_eq!(feed(&mut conflicts, answered(3, None), START), [conflicts::Action::QuestionsChanged]);
    assert_eq!((conflicts.questions().len(), conflicts.listed().len(), conflicts.poll_timeout()), (0, 0, None), "forged");
    feed(&mut conflicts, claim(VIP.into()), START);
    let listed = conflicts::Action::Listed { address: VIP.into(), mac: OTHER };
    assert_eq!(feed(&mut conflicts, answered(0, Some(OTHER)), START), [conflicts::Action::QuestionsChanged, listed]);
    assert_eq!(conflicts.listed(), [(VIP.into(), OTHER)].into());
}

#[test]
fn a_listed_address_is_asked_every_30_s_and_cleared_after_three_silent_rounds() {
    let (mut conflicts, question) = conflicts();
    let silent = || conflicts::Event::Answered(question.clone(), Answer { unanswered: 3, mac: Some(OTHER) });
    feed(&mut conflicts, claim(VIP.into()), START);
    feed(&mut conflicts, conflicts::Event::Answered(question.clone(), Answer { unanswered: 0, mac: Some(OTHER) }), START);
    for round in 1..=2 {
        let (due, mut out) = (conflicts.poll_timeout().unwrap(), Vec::new());
        assert_eq!(due, START + Duration::from_secs(30) * round);
        conflicts.handle_timeout(due, &mut out);
        assert_eq!((out, conflicts.questions()), (vec![conflicts::Action::QuestionsChanged], [question.clone()].into()));
        assert_eq!(feed(&mut conflicts, silent(), due), [conflicts::Action::QuestionsChanged]);
        assert_eq!(conflicts.listed().len(), 1);
    }
    let due = conflicts.poll_timeout().unwrap();
    conflicts.handle_timeout(due, &mut Vec::new());
    let cleared = conflicts::Action::Cleared { address: VIP.into(), mac: OTHER };
    assert_eq!(feed(&mut conflicts, silent(), due), [conflicts::Action::QuestionsChanged, cleared]);
    assert_eq!((conflicts.listed().len(), conflicts.poll_timeout()), (0, None));
}

#[test]
fn a_flood_of_claims_is_asked_for_a_few_at_a_time() {
    let (mut conflicts, _) = conflicts();
    for number in 0..10_000_u32 {
        feed(&mut conflicts, claim(Ipv4Addr::from(0x0a00_0000 + number).into()), START);
    }
    assert_eq!(conflicts.questions().len(), 16);
}
