//! MetalLB's rules on BGPPeer, BGPAdvertisement, BFDProfile and Community, one test each, named after the rule. What each message says
//! is in the golden files; here is what is refused, what is accepted, and what comes of it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use lanlord::config::{BgpAdvertisement, BgpPeer, Community, Neighbor, PeerPassword, RemoteAs};

use crate::config::{accepted, one, rejected};

/// A peer with these fields besides the four it needs.
fn peer_text(fields: &str) -> String {
    format!("bgpPeers: [{{name: router, myASN: 64513, peerASN: 64512, peerAddress: 10.0.0.1, {fields}}}]\nbfdProfiles: [{{name: fast}}]\n")
}

fn peer(fields: &str) -> BgpPeer {
    accepted(&peer_text(fields)).bgp.peers.remove(0)
}

/// A peer with these fields only.
fn whole_peer(fields: &str) -> String {
    format!("bgpPeers: [{{name: router, {fields}}}]\n")
}

fn advertisement_text(fields: &str) -> String {
    format!(
        "pools: [{{name: wide, addresses: [10.1.0.0/16, 'fd00:1::/64']}}]\nbgpAdvertisements: [{{ipAddressPools: [wide], {fields}}}]\ncommunities: [{{name: vpn, value: '64512:1'}}]\n"
    )
}

fn advertisement(fields: &str) -> BgpAdvertisement {
    accepted(&advertisement_text(fields)).bgp.advertisements.remove(0)
}

/// Refused with exactly one problem, whose message holds `message`.
#[track_caller]
fn refused(text: &str, message: &str) {
    let problems = rejected(text);
    assert!(problems.len() == 1 && problems.iter().all(|problem| problem.message.contains(message)), "{problems}");
}

/// Accepted with a note that holds `message`.
#[track_caller]
fn noted(text: &str, message: &str) {
    let notes = one(text).unwrap_or_else(|problems| panic!("{problems}")).notes;
    assert!(notes.iter().any(|note| note.message.contains(message)), "{notes:?}");
}

#[test]
fn a_peer_needs_its_own_as_number_and_asn_gives_it() {
    refused(&whole_peer("peerASN: 64512, peerAddress: 10.0.0.1"), "no `myASN`");
    refused(&whole_peer("myASN: 0, peerASN: 64512, peerAddress: 10.0.0.1"), "`myASN` has to be");
    assert_eq!(accepted(&format!("asn: AS64513\n{}", whole_peer("peerASN: 64512, peerAddress: 10.0.0.1"))).bgp.peers[0].my_asn, 64513);
}

#[test]
fn a_peer_has_a_peer_asn_or_a_dynamic_asn_and_not_both() {
    refused(&whole_peer("myASN: 64513, peerAddress: 10.0.0.1"), "no `peerASN`");
    refused(&whole_peer("myASN: 64513, peerASN: 0, peerAddress: 10.0.0.1"), "no `peerASN`");
    refused(&peer_text("dynamicASN: external"), "both `peerASN` and `dynamicASN`");
    refused(&whole_peer("myASN: 64513, dynamicASN: other, peerAddress: 10.0.0.1"), "not a value of `dynamicASN`");
    for (word, remote_as, internal) in [("internal", RemoteAs::Internal, true), ("external", RemoteAs::External, false)] {
        let peer = accepted(&whole_peer(&format!("myASN: 64513, dynamicASN: {word}, peerAddress: 10.0.0.1"))).bgp.peers.remove(0);
        assert_eq!((peer.remote_as, peer.is_internal()), (remote_as, internal));
    }
    assert_eq!(peer("").remote_as, RemoteAs::Number(64512));
}

#[test]
fn a_router_is_internal_if_it_is_of_the_as_it_sees_us_in() {
    let internal = |fields: &str| accepted(&whole_peer(&format!("peerAddress: 10.0.0.1, {fields}"))).bgp.peers[0].is_internal();
    assert!(internal("myASN: 64512, peerASN: 64512"));
    assert!(!internal("myASN: 64512, peerASN: 64512, localASN: 64600"));
    assert!(internal("myASN: 64512, peerASN: 64600, localASN: 64600"));
}

#[test]
fn a_peer_has_an_address_or_an_interface_and_both_for_link_local_addresses_only() {
    let of = |fields: &str| accepted(&whole_peer(&format!("myASN: 64513, peerASN: 64512, {fields}"))).bgp.peers.remove(0).neighbor;
    refused(&whole_peer("myASN: 64513, peerASN: 64512"), "no `peerAddress`");
    refused(&peer_text("interface: eth0"), "both `peerAddress` and `interface`");
    refused(&whole_peer("myASN: 64513, peerASN: 64512, peerAddress: 'fe80::1'"), "means nothing without its link");
    assert_eq!(of("peerAddress: 10.0.0.1"), Neighbor::Address("10.0.0.1".parse().unwrap()));
    assert_eq!(of("peerAddress: 'fd00::1'"), Neighbor::Address("fd00::1".parse().unwrap()));
    assert_eq!(of("interface: eth0").to_string(), "eth0");
    assert_eq!(of("peerAddress: 'fe80::1', interface: eth0").to_string(), "fe80::1%eth0");
}

#[test]
fn a_peer_address_is_an_ip_address_and_nothing_else() {
    for address in ["router.lan", "10.0.0.1:179", "10.0.0.1/32", "'[fd00::1]'", "'fe80::1%eth0'"] {
        refused(&whole_peer(&format!("myASN: 64513, peerASN: 64512, peerAddress: {address}")), "is not an IP address");
    }
}

#[test]
fn a_source_address_is_an_ip_address_of_the_family_of_the_neighbour() {
    assert_eq!(peer("sourceAddress: 10.0.0.9").source_address, Some("10.0.0.9".parse().unwrap()));
    refused(&peer_text("sourceAddress: eth0"), "is not an IP address");
    refused(&peer_text("sourceAddress: 'fd00::1'"), "not of the family");
}

#[test]
fn a_peer_port_is_179_unless_given_and_may_be_any() {
    assert_eq!(peer("").peer_port, 179);
    assert_eq!(peer("peerPort: 0").peer_port, 179, "v1beta1 allowed it");
    assert_eq!(peer("peerPort: 65535").peer_port, 65535, "MetalLB's schema ends at 16384 by mistake");
    refused(&peer_text("peerPort: 65536"), "`peerPort` has to be");
}

#[test]
fn hold_and_keepalive_time_follow_from_each_other() {
    let times = |fields: &str| {
        let peer = peer(fields);
        (peer.hold_time.as_secs(), peer.keepalive_time.as_secs())
    };
    assert_eq!(times(""), (90, 30));
    assert_eq!(times("holdTime: 30s"), (30, 10));
    assert_eq!(times("keepaliveTime: 5s"), (15, 5));
    assert_eq!(times("holdTime: 0s"), (0, 0));
    assert_eq!(times("holdTime: 3999ms"), (3, 1), "rounded down");
    assert_eq!(times("holdTime: 30s, keepaliveTime: 30s"), (30, 30));
    assert_eq!(times("holdTime: 65535s, keepaliveTime: 1m"), (65535, 60));
}

#[test]
fn a_hold_time_is_0_or_at_least_3_seconds() {
    for time in ["1s", "2999ms"] {
        refused(&peer_text(&format!("holdTime: {time}")), "has to be 0s or at least 3s");
    }
    refused(&peer_text("holdTime: 90"), "has to be a time");
    refused(&peer_text("holdTime: 65536s"), "from 0s to 65535s");
}

#[test]
fn a_keepalive_time_is_not_longer_than_the_hold_time() {
    refused(&peer_text("holdTime: 30s, keepaliveTime: 31s"), "is longer than `holdTime`");
    refused(&peer_text("holdTime: 30s, keepaliveTime: 999ms"), "less than a second");
}

#[test]
fn a_connect_time_is_from_1_to_65535_whole_seconds() {
    assert_eq!(peer("").connect_time, None);
    assert_eq!(peer("connectTime: 65535s").connect_time, Some(Duration::from_secs(65535)));
    for time in ["0s", "65536s"] {
        refused(&peer_text(&format!("connectTime: {time}")), "from 1s to 65535s");
    }
}

#[test]
fn a_router_id_is_four_octets_not_all_zero() {
    assert_eq!(peer("routerID: 10.0.0.9").router_id, Some("10.0.0.9".parse().unwrap()));
    for id in ["10.10", "0.0.0.0", "'fd00::1'"] {
        refused(&peer_text(&format!("routerID: {id}")), "cannot be a router ID");
    }
}

#[test]
fn a_password_stands_in_the_peer_or_in_a_secret_and_not_in_both() {
    assert_eq!(peer("").password, None);
    assert!(matches!(peer("password: abc").password, Some(PeerPassword::Text(password)) if password.0 == "abc"));
    let secret = |key: &str| Some(PeerPassword::Secret { name: "routers".to_owned(), key: key.to_owned() });
    assert_eq!(peer("passwordSecret: {name: routers}").password, secret("password"));
    assert_eq!(peer("passwordSecret: {name: routers, key: rack}").password, secret("rack"));
    refused(&peer_text("password: abc, passwordSecret: {name: routers}"), "both `password` and `passwordSecret`");
    refused(&peer_text("passwordSecret: {}"), "has no `name`");
    noted(&peer_text("passwordSecret: {name: routers, namespace: metallb-system}"), "from the namespace Lanlord runs in");
}

#[test]
fn a_password_is_neither_in_debug_output_nor_in_the_hash() {
    let config = |password: &str| accepted(&peer_text(&format!("password: {password}")));
    assert!(!format!("{:?}", config("geheim")).contains("geheim"));
    assert_eq!(config("one").hash, config("two").hash, "whoever reads the hash must not be able to guess the password by it");
    assert_ne!(config("one"), config("two"), "but a new one takes effect");
    assert_ne!(config("one").hash, accepted(&peer_text("")).hash);
}

#[test]
fn a_peer_names_a_bfd_profile_that_exists() {
    assert_eq!(peer("bfdProfile: fast").bfd_profile.as_deref(), Some("fast"));
    refused(&peer_text("bfdProfile: fats"), "there is no BFD profile `fats`");
}

#[test]
fn ebgp_multihop_is_refused_within_an_as() {
    assert!(peer("ebgpMultiHop: true").ebgp_multi_hop);
    refused(&whole_peer("myASN: 64513, peerASN: 64513, peerAddress: 10.0.0.1, ebgpMultiHop: true"), "of our own AS");
    assert!(one(&whole_peer("myASN: 64513, peerASN: 64513, peerAddress: 10.0.0.1, ebgpMultiHop: false")).is_ok());
}

#[test]
fn the_flags_of_a_peer_are_false_unless_given_and_disable_mp_switches_no_check_off() {
    let flags = |peer: &BgpPeer| [peer.graceful_restart, peer.ebgp_multi_hop, peer.disable_mp, peer.dual_stack];
    assert_eq!(flags(&peer("")), [false; 4]);
    let all = "enableGracefulRestart: true, ebgpMultiHop: true, disableMP: true, dualStackAddressFamily: true";
    assert_eq!(flags(&peer(all)), [true; 4]);
    refused(&peer_text("disableMP: true, holdTime: 1s"), "has to be 0s or at least 3s");
}

#[test]
fn a_vrf_is_the_name_of_a_device() {
    assert_eq!(peer("vrf: red").vrf.unwrap().as_str(), "red");
    refused(&peer_text("vrf: a/b"), "cannot be the name of a link");
}

#[test]
fn a_node_opens_one_session_to_a_router() {
    let two = |fields: &str| {
        let peer = "myASN: 64513, peerASN: 64512, peerAddress: 10.0.0.1";
        format!("bgpPeers:\n- {{name: a, {peer}}}\n- {{name: b, {peer}, {fields}}}\n")
    };
    refused(&two(""), "`b` is the same router as peer `a` in line 2");
    refused(&two("nodeSelectors: [{matchLabels: {rack: x}}]"), "the same router");
    assert!(one(&two("peerPort: 1179")).is_ok(), "two daemons on one machine");
    assert!(one(&two("vrf: red")).is_ok());
    let selected =
        two("nodeSelectors: [{matchLabels: {rack: x}}]").replace("10.0.0.1}", "10.0.0.1, nodeSelectors: [{matchLabels: {rack: y}}]}");
    assert!(one(&selected).is_ok(), "different nodes");
}

#[test]
fn peers_of_one_node_may_have_their_own_router_id_and_as() {
    let text = "bgpPeers:\n- {name: a, myASN: 64513, peerASN: 64512, peerAddress: 10.0.0.1, routerID: 10.0.0.8}\n- {name: b, myASN: 64514, peerASN: 64512, peerAddress: 10.0.0.2, routerID: 10.0.0.9}\n";
    assert_eq!(accepted(text).bgp.peers.len(), 2);
}

#[test]
fn names_of_peers_profiles_and_communities_are_unique() {
    let profiles = "bfdProfiles: [{name: a}, {name: a}]\n";
    refused(profiles, "a second BFD profile is called `a`");
    refused("communities: [{name: a, value: '1:1'}, {name: a, value: '1:2'}]\n", "a second community is called `a`");
    let peer = |address: &str| format!("{{name: a, myASN: 64513, peerASN: 64512, peerAddress: {address}}}");
    refused(&format!("bgpPeers: [{}, {}]\n", peer("10.0.0.1"), peer("10.0.0.2")), "a second peer is called `a`");
}

#[test]
fn v1beta1_peers_are_read_like_v1beta2_peers() {
    let document = |version: &str| {
        format!(
            "apiVersion: metallb.io/{version}\nkind: BGPPeer\nmetadata: {{name: router}}\nspec: {{myASN: 64513, peerASN: 64512, peerAddress: 10.0.0.1, nodeSelectors: [{{matchLabels: {{a: b}}, matchExpressions: [{{key: c, operator: In, values: [d]}}]}}]}}\n"
        )
    };
    assert_eq!(accepted(&document("v1beta1")), accepted(&document("v1beta2")));
    refused(&document("v1"), "is of `metallb.io/v1beta2`");
}

#[test]
fn as_numbers_for_documentation_are_noted_once_each() {
    let text = "bgpPeers:\n- {name: a, myASN: 64500, peerASN: 64512, peerAddress: 10.0.0.1}\n- {name: b, myASN: 64500, peerASN: 65551, peerAddress: 10.0.0.2}\n";
    let notes = one(text).unwrap().notes;
    assert_eq!(notes.iter().filter(|note| note.message.contains("RFC 5398")).count(), 2, "{notes:?}");
}

#[test]
fn aggregation_lengths_are_32_and_128_unless_given() {
    let lengths = |fields: &str| {
        let routes = advertisement(fields);
        (routes.aggregation_length, routes.aggregation_length_v6)
    };
    assert_eq!(lengths(""), (32, 128));
    assert_eq!(lengths("aggregationLength: 16, aggregationLengthV6: 64"), (16, 64));
    refused(&advertisement_text("aggregationLength: 0"), "`aggregationLength` has to be");
    refused(&advertisement_text("aggregationLength: 33"), "`aggregationLength` has to be");
    refused(&advertisement_text("aggregationLengthV6: 129"), "`aggregationLengthV6` has to be");
}

#[test]
fn an_aggregate_is_not_larger_than_the_largest_block_of_an_entry() {
    refused(&advertisement_text("aggregationLength: 15"), "a /15 would announce more than `10.1.0.0/16`");
    refused(&advertisement_text("aggregationLengthV6: 63"), "a /63 would announce more than `fd00:1::/64`");
    let range = |length: u8| {
        format!("pools: [{{name: p, addresses: [10.0.0.0-10.0.0.100]}}]\nbgpAdvertisements: [{{aggregationLength: {length}}}]\n")
    };
    assert!(one(&range(26)).is_ok(), "MetalLB's rule: the largest block counts");
    refused(&range(25), "whose largest block is a /26");
}

#[test]
fn a_local_preference_is_any_32_bits_and_0_is_none() {
    assert_eq!(advertisement("").local_pref, None);
    assert_eq!(advertisement("localPref: 0").local_pref, None);
    assert_eq!(advertisement("localPref: 4294967295").local_pref, Some(u32::MAX), "MetalLB's schema ends at 2147483647 by mistake");
    refused(&advertisement_text("localPref: 4294967296"), "`localPref` has to be");
}

#[test]
fn a_local_preference_towards_another_as_is_noted() {
    let text = |asn: u32| {
        format!(
            "{}bgpPeers: [{{name: router, myASN: 64513, peerASN: {asn}, peerAddress: 10.0.0.1}}]\n",
            advertisement_text("localPref: 100")
        )
    };
    noted(&text(64512), "the local preference is not sent to peer `router`");
    assert!(!one(&text(64513)).unwrap().notes.iter().any(|note| note.message.contains("local preference")));
}

#[test]
fn two_local_preferences_for_one_route_are_refused() {
    let two = |first: &str, second: &str| {
        format!(
            "pools: [{{name: v4, addresses: [10.1.0.0/16]}}, {{name: both, addresses: [10.2.0.0/16, 'fd00:1::/64']}}]\nbgpAdvertisements:\n- {{localPref: 100, {first}}}\n- {{localPref: 200, {second}}}\n"
        )
    };
    let message = "another local preference";
    refused(&two("", ""), message);
    refused(&two("peers: [a, b]", "peers: [b]"), message);
    refused(&two("peers: [a]", ""), message);
    refused(&two("", "nodeSelectors: [{matchLabels: {rack: x}}]"), message);
    refused(&two("ipAddressPools: [v4], aggregationLengthV6: 64", "ipAddressPools: [v4]"), message);
    refused(&two("ipAddressPools: [both], aggregationLength: 24", "ipAddressPools: [both]"), message);
    for (first, second) in [
        ("peers: [a]", "peers: [b]"),
        ("ipAddressPools: [v4]", "ipAddressPools: [both]"),
        ("ipAddressPools: [v4], aggregationLength: 24", "ipAddressPools: [v4]"),
        ("ipAddressPools: [both], aggregationLength: 24, aggregationLengthV6: 64", "ipAddressPools: [both]"),
        ("nodeSelectors: [{matchLabels: {rack: x}}]", "nodeSelectors: [{matchLabels: {rack: y}}]"),
        ("serviceSelectors: [{matchLabels: {app: x}}]", ""),
    ] {
        assert!(one(&two(first, second)).is_ok(), "{first} | {second}");
    }
}

#[test]
fn two_numbers_of_prepended_as_numbers_for_one_route_are_refused() {
    assert_eq!(advertisement("").as_path_prepend, 0);
    assert_eq!(advertisement("asPathPrepend: 10").as_path_prepend, 10);
    refused(&advertisement_text("asPathPrepend: 11"), "`asPathPrepend` has to be");
    refused(
        "pools: [{name: v4, addresses: [10.1.0.0/16]}]\nbgpAdvertisements:\n- {asPathPrepend: 1}\n- {asPathPrepend: 2}\n",
        "another number of prepended",
    );
}

#[test]
fn service_selectors_and_aggregation_exclude_each_other() {
    let selectors = "serviceSelectors: [{matchLabels: {app: web}}]";
    refused(&advertisement_text(&format!("{selectors}, aggregationLength: 24")), "cannot aggregate");
    refused(&advertisement_text(&format!("{selectors}, aggregationLengthV6: 64")), "cannot aggregate");
    assert_eq!(advertisement(&format!("{selectors}, aggregationLength: 32, aggregationLengthV6: 128")).service_selectors.len(), 1);
}

#[test]
fn an_advertisement_without_pools_peers_and_nodes_means_all_of_them() {
    let config = accepted("pools: [{name: a, addresses: [10.0.0.1]}, {name: b, addresses: [10.0.0.2]}]\nbgpAdvertisements: [{}]\n");
    let routes = &config.bgp.advertisements[0];
    assert_eq!(routes.pools.len(), 2);
    assert!(routes.is_for("anybody") && routes.node_selectors.is_empty() && routes.service_selectors.is_empty());
    assert!(!advertisement("peers: [a]").is_for("b"));
}

#[test]
fn a_peer_that_does_not_exist_is_noted_and_does_not_become_all_of_them() {
    let text = format!("{}{}", advertisement_text("peers: [ruoter]"), whole_peer("myASN: 64513, peerASN: 64512, peerAddress: 10.0.0.1"));
    noted(&text, "there is no peer `ruoter`; did you mean `router`?");
    assert!(!accepted(&text).bgp.advertisements[0].is_for("router"));
}

#[test]
fn nothing_stands_twice_in_a_list_of_an_advertisement() {
    for (field, entry) in [("peers", "a"), ("communities", "vpn"), ("ipAddressPools", "wide")] {
        let text = format!(
            "pools: [{{name: wide, addresses: [10.1.0.0/16]}}]\nbgpAdvertisements: [{{{field}: [{entry}, {entry}]}}]\ncommunities: [{{name: vpn, value: '64512:1'}}]\n"
        );
        refused(&text, &format!("`{entry}` stands twice in `{field}`"));
    }
    for field in ["nodeSelectors", "serviceSelectors"] {
        refused(
            &advertisement_text(&format!("{field}: [{{matchLabels: {{a: b}}}}, {{matchLabels: {{a: b}}}}]")),
            "the same selector stands twice",
        );
    }
}

#[test]
fn communities_are_values_aliases_and_well_known_names() {
    let routes = advertisement("communities: [vpn, no-export, graceful-shutdown, '65535:65282', 'large:4200000000:2:3']");
    let expected = [
        Community::Standard(64512, 1),
        Community::Standard(65535, 65281),
        Community::Standard(65535, 0),
        Community::Standard(65535, 65282),
        Community::Large(4_200_000_000, 2, 3),
    ];
    assert_eq!(routes.communities, BTreeSet::from(expected));
    for (community, message) in [
        ("'65536:1'", "is not a community"),
        ("'1:2:3'", "is not a community"),
        ("'small:1:2:3'", "is not a community"),
        ("'large:1:2'", "is not a community"),
        ("'1:-2'", "is not a community"),
        ("vnp", "there is no community `vnp`"),
    ] {
        refused(&advertisement_text(&format!("communities: [{community}]")), message);
    }
}

#[test]
fn an_alias_goes_before_a_well_known_name() {
    let text = "pools: [{name: a, addresses: [10.0.0.1]}]\nbgpAdvertisements: [{communities: [no-export]}]\ncommunities: [{name: no-export, value: '1:2'}]\n";
    assert_eq!(accepted(text).bgp.advertisements[0].communities, BTreeSet::from([Community::Standard(1, 2)]));
}

#[test]
fn aliases_are_unique_over_all_documents_and_come_in_any_order() {
    let document = |name: &str, value: &str| {
        format!(
            "apiVersion: metallb.io/v1beta1\nkind: Community\nmetadata: {{name: {name}}}\nspec: {{communities: [{{name: vpn, value: '{value}'}}]}}\n---\n"
        )
    };
    let used = "bgpAdvertisements: [{communities: [vpn]}]\npools: [{name: a, addresses: [10.0.0.1]}]\n---\n";
    assert_eq!(accepted(&format!("{used}{}", document("a", "1:2"))).bgp.communities["vpn"], Community::Standard(1, 2));
    refused(&format!("{}{}", document("a", "1:2"), document("b", "1:3")), "a second community is called `vpn`");
}

#[test]
fn a_bfd_profile_has_metallbs_defaults_and_ranges() {
    let profile = |fields: &str| accepted(&format!("bfdProfiles: [{{name: p, {fields}}}]\n")).bgp.bfd_profiles.remove("p").unwrap();
    let empty = profile("");
    assert_eq!((empty.receive_interval, empty.transmit_interval), (Duration::from_millis(300), Duration::from_millis(300)));
    assert_eq!((empty.detect_multiplier, empty.passive_mode, empty.minimum_ttl), (3, false, 254));
    for (field, least, most) in [
        ("receiveInterval", 10, 60_000),
        ("transmitInterval", 10, 60_000),
        ("echoInterval", 10, 60_000),
        ("detectMultiplier", 2, 255),
        ("minimumTtl", 1, 254),
    ] {
        for inside in [least, most] {
            profile(&format!("{field}: {inside}"));
        }
        for outside in [least - 1, most + 1] {
            refused(
                &format!("bfdProfiles: [{{name: p, {field}: {outside}}}]\n"),
                &format!("`{field}` has to be a whole number from {least} to {most}"),
            );
        }
    }
}

#[test]
fn bfd_echo_is_refused() {
    refused("bfdProfiles: [{name: p, echoMode: true}]\n", "`echoMode` is not spoken here");
    assert!(one("bfdProfiles: [{name: p, echoMode: false, echoInterval: 50}]\n").is_ok());
}

#[test]
fn pools_without_advertisement_are_announced_to_the_peers_too() {
    let peers = "asn: AS64513\npeers: 192.168.1.1 AS64512\n";
    let config = accepted(&format!("{peers}addresses: 192.168.1.240\n"));
    assert_eq!((config.l2_advertisements.len(), config.bgp.advertisements.len()), (1, 1));
    assert_eq!(config.bgp.advertisements[0], BgpAdvertisement::everywhere(config.l2_advertisements[0].pools.clone()));
    let written = accepted(&format!("{peers}addresses: 192.168.1.240\nl2Advertisements: [{{ipAddressPools: [default]}}]\n"));
    assert!(written.bgp.advertisements.is_empty(), "what is written is meant");
}

#[test]
fn that_bgp_is_not_spoken_is_said_once() {
    let notes = one(&format!("{}{}", peer_text(""), advertisement_text(""))).unwrap().notes;
    assert_eq!(notes.iter().filter(|note| note.message.contains("does not speak it yet")).count(), 1, "{notes:?}");
    assert!(!one("addresses: 10.0.0.1\n").unwrap().notes.iter().any(|note| note.message.contains("BGP")));
}
