//! MetalLB's rules on BGPAdvertisement, BFDProfile and Community, one test each, named after the rule, and ours on what is implied.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use lanlord::config::{BgpAdvertisement, Community};

use crate::config::{accepted, one};
use crate::config_peers::{noted, refused, whole_peer};

fn advertisement_text(fields: &str) -> String {
    format!(
        "pools: [{{name: wide, addresses: [10.1.0.0/16, 'fd00:1::/64']}}]\nbgpAdvertisements: [{{ipAddressPools: [wide], {fields}}}]\ncommunities: [{{name: vpn, value: '64512:1'}}]\n"
    )
}

fn advertisement(fields: &str) -> BgpAdvertisement {
    accepted(&advertisement_text(fields)).bgp.advertisements.remove(0)
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
    refused("bfdProfiles: [{name: p, echoMode: true}]\n", "`echoMode` is not supported: Lanlord speaks BFD without echo");
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
