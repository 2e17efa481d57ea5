//! MetalLB's rules on BGPPeer, one test each, named after the rule. What each message says is in the golden files; here is what is
//! refused, what is accepted, and what comes of it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use lanlord::config::{BgpPeer, Neighbor, PeerPassword, RemoteAs};

use crate::config::{accepted, one, rejected};

/// A peer with these fields besides the four it needs.
pub(crate) fn peer_text(fields: &str) -> String {
    format!("bgpPeers: [{{name: router, myASN: 64513, peerASN: 64512, peerAddress: 10.0.0.1, {fields}}}]\nbfdProfiles: [{{name: fast}}]\n")
}

fn peer(fields: &str) -> BgpPeer {
    accepted(&peer_text(fields)).bgp.peers.remove(0)
}

/// A peer with these fields only.
pub(crate) fn whole_peer(fields: &str) -> String {
    format!("bgpPeers: [{{name: router, {fields}}}]\n")
}

/// Refused with exactly one problem, whose message holds `message`.
#[track_caller]
pub(crate) fn refused(text: &str, message: &str) {
    let problems = rejected(text);
    assert!(problems.len() == 1 && problems.iter().all(|problem| problem.message.contains(message)), "{problems}");
}

/// Accepted with a note that holds `message`.
#[track_caller]
pub(crate) fn noted(text: &str, message: &str) {
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
fn a_peer_has_an_address_and_an_interface_beside_link_local_ones_only() {
    let of = |fields: &str| accepted(&whole_peer(&format!("myASN: 64513, peerASN: 64512, {fields}"))).bgp.peers.remove(0).neighbor;
    refused(&whole_peer("myASN: 64513, peerASN: 64512"), "no `peerAddress`");
    refused(&peer_text("interface: eth0"), "both `peerAddress` and `interface`");
    refused(&whole_peer("myASN: 64513, peerASN: 64512, peerAddress: 'fe80::1'"), "means nothing without its link");
    assert_eq!(of("peerAddress: 10.0.0.1"), Neighbor::Address("10.0.0.1".parse().unwrap()));
    assert_eq!(of("peerAddress: 'fd00::1'"), Neighbor::Address("fd00::1".parse().unwrap()));
    refused(
        &whole_peer("myASN: 64513, peerASN: 64512, interface: eth0"),
        "(\"unnumbered\") is not supported: it needs router advertisements",
    );
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
fn ttl_security_is_ours_and_counts_hops() {
    assert_eq!(peer("").ttl_security_hops, None);
    assert_eq!(peer("ttlSecurityHops: 1").ttl_security_hops, Some(1));
    refused(&peer_text("ttlSecurityHops: 0"), "`ttlSecurityHops` has to be a whole number from 1 to 254");
    refused(&peer_text("ttlSecurityHops: 2, ebgpMultiHop: true"), "both `ttlSecurityHops` and `ebgpMultiHop`");
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
