//! MetalLB's rules on IPAddressPool and L2Advertisement, one test each, named after the rule; and where the rule is a bug, the right thing.
#![allow(clippy::unwrap_used)]

use lanlord::addr::Family;
use lanlord::config::Pool;

use crate::config::{accepted, one};
use crate::config_peers::refused;

fn pool_text(addresses: &str, fields: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: p, namespace: metallb-system}}\nspec: {{addresses: [{addresses}], {fields}}}\n"
    )
}

fn pool(addresses: &str, fields: &str) -> Pool {
    accepted(&pool_text(addresses, fields)).pools.remove(0)
}

fn l2_text(fields: &str) -> String {
    format!(
        "pools: [{{name: a, labels: {{tier: x}}, addresses: [10.0.0.1]}}, {{name: b, addresses: [10.0.0.2]}}]\nl2Advertisements: [{{{fields}}}]\n"
    )
}

fn reached(fields: &str) -> Vec<String> {
    accepted(&l2_text(fields)).l2_advertisements[0].pools.iter().map(ToString::to_string).collect()
}

#[test]
fn a_pool_has_addresses() {
    refused(&pool_text("", ""), "pool `p` has no addresses");
    refused("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {}\n", "pool `p` has no addresses");
}

#[test]
fn addresses_are_prefixes_ranges_and_single_addresses_of_both_families() {
    let ranges = pool("10.0.0.0/30, ' 10.0.1.1 - 10.0.1.3 ', 10.0.2.1, 'fd00::/126', 'fd01::1-fd01::2'", "").ranges;
    let texts: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.0.0.0-10.0.0.3", "10.0.1.1-10.0.1.3", "10.0.2.1", "fd00::-fd00::3", "fd01::1-fd01::2"]);
}

#[test]
fn host_bits_of_a_prefix_are_masked_off_and_noted() {
    assert_eq!(pool("10.0.0.9/30", "").ranges[0].to_string(), "10.0.0.8-10.0.0.11");
    assert!(one(&pool_text("10.0.0.9/30", "")).unwrap().notes[0].message.contains("is all of 10.0.0.8-10.0.0.11"));
}

#[test]
fn malformed_reversed_and_mixed_ranges_are_refused() {
    refused(&pool_text("10.0.0.0/33", ""), "is not a prefix");
    refused(&pool_text("10.0.0.x-10.0.0.9", ""), "is not an IP address");
    refused(&pool_text("10.0.0.9-10.0.0.1", ""), "runs backwards");
    refused(&pool_text("'10.0.0.1-fd00::1'", ""), "mixes IPv4 and IPv6");
}

#[test]
fn an_address_is_in_one_range_of_one_pool() {
    refused(&pool_text("10.0.0.0/30, 10.0.0.3-10.0.0.9", ""), "overlaps");
    let two = "pools: [{name: a, addresses: [10.0.0.0/24]}, {name: b, addresses: [10.0.0.128/25]}]\n";
    refused(two, "overlaps");
}

#[test]
fn a_pool_is_used_unasked_and_with_buggy_addresses_unless_it_says_otherwise() {
    let plain = pool("10.0.0.0/24", "");
    assert!(plain.auto_assign && !plain.avoid_buggy_ips && plain.allocation.is_none());
    let other = pool("10.0.0.0/24", "autoAssign: false, avoidBuggyIPs: true");
    assert!(!other.auto_assign && other.avoid_buggy_ips);
    assert_eq!((plain.usable(Family::V4), other.usable(Family::V4)), (256, 254));
    assert_eq!(pool("'fd00::/120'", "avoidBuggyIPs: true").usable(Family::V6), 256, "IPv4 only");
}

#[test]
fn an_allocation_with_a_priority_only_is_one_and_0_is_none() {
    let allocation = |fields: &str| pool("10.0.0.1", &format!("serviceAllocation: {{{fields}}}")).allocation.unwrap();
    assert_eq!(allocation("priority: 10").priority, Some(10));
    assert_eq!(allocation("priority: 0").priority, None);
    assert!(allocation("priority: 10").namespaces.is_empty());
}

#[test]
fn nothing_stands_twice_in_an_allocation() {
    let text = |fields: &str| pool_text("10.0.0.1", &format!("serviceAllocation: {{{fields}}}"));
    refused(&text("namespaces: [a, a]"), "`a` stands twice in `namespaces`");
    for field in ["namespaceSelectors", "serviceSelectors"] {
        let twice =
            "[{matchExpressions: [{key: a, operator: In, values: [x, y]}]}, {matchExpressions: [{key: a, operator: In, values: [y, x]}]}]";
        refused(&text(&format!("{field}: {twice}")), &format!("the same selector stands twice in `{field}`"));
    }
}

#[test]
fn selectors_are_kubernetes_own() {
    let text = |selector: &str| l2_text(&format!("nodeSelectors: [{selector}]"));
    for (selector, message) in [
        ("{matchExpressions: [{key: a, operator: Is}]}", "is not an operator"),
        ("{matchExpressions: [{key: a, operator: In}]}", "needs `values`"),
        ("{matchExpressions: [{key: a, operator: Exists, values: [b]}]}", "takes no `values`"),
        ("{matchExpressions: [{operator: Exists}]}", "has no `key`"),
        ("{matchLabels: {'a b': c}}", "cannot be the key of a label"),
        ("{matchLabels: {a: 'b c'}}", "cannot be the value of a label"),
    ] {
        refused(&text(selector), message);
    }
}

#[test]
fn pools_have_names_of_their_own() {
    refused("pools: [{name: a, addresses: [10.0.0.1]}, {name: a, addresses: [10.0.0.2]}]\n", "a second pool is called `a`");
    refused("pools: [{addresses: [10.0.0.1]}]\n", "has no `name`");
}

#[test]
fn an_advertisement_reaches_pools_by_name_or_label_and_all_if_it_names_none() {
    assert_eq!(reached(""), ["a", "b"]);
    assert_eq!(reached("ipAddressPools: [b]"), ["b"]);
    assert_eq!(reached("ipAddressPoolSelectors: [{matchLabels: {tier: x}}]"), ["a"]);
    assert_eq!(reached("ipAddressPools: [b], ipAddressPoolSelectors: [{matchLabels: {tier: x}}]"), ["a", "b"]);
}

#[test]
fn an_unknown_pool_is_noted_with_the_nearest_name() {
    let text = "pools: [{name: production, addresses: [10.0.0.1]}]\nl2Advertisements: [{ipAddressPools: [prodution]}]\n";
    let notes = one(text).unwrap().notes;
    assert!(notes[0].message.contains("there is no pool `prodution`; did you mean `production`?"), "{notes:?}");
}

#[test]
fn nothing_stands_twice_in_an_advertisement() {
    refused(&l2_text("ipAddressPools: [a, a]"), "`a` stands twice in `ipAddressPools`");
    refused(&l2_text("interfaces: [eth0, eth0]"), "`eth0` stands twice in `interfaces`");
    for field in ["nodeSelectors", "serviceSelectors", "ipAddressPoolSelectors"] {
        refused(&l2_text(&format!("{field}: [{{}}, {{}}]")), "the same selector stands twice");
    }
}

#[test]
fn interfaces_are_exact_names() {
    refused(&l2_text("interfaces: ['eth*']"), "interfaces are named exactly here");
    refused(&l2_text("interfaces: [a-name-that-is-too-long]"), "cannot be the name of an interface");
    let config = accepted(&l2_text("interfaces: [eth0, bond0.7]"));
    assert_eq!(config.l2_advertisements[0].interfaces.len(), 2);
}

#[test]
fn a_preference_has_a_weight_from_1_to_100_and_a_selector() {
    let text = |entry: &str| l2_text(&format!("preferredNodeSelectors: [{{{entry}}}]"));
    refused(&text("weight: 0, preference: {}"), "`weight` has to be a whole number from 1 to 100");
    refused(&text("weight: 101, preference: {}"), "`weight` has to be a whole number from 1 to 100");
    refused(&text("preference: {}"), "has no `weight`");
    refused(&text("weight: 1"), "has no `preference`");
    let twice = l2_text("preferredNodeSelectors: [{weight: 1, preference: {}}, {weight: 1, preference: {}}]");
    assert_eq!(accepted(&twice).l2_advertisements[0].preferred_node_selectors.len(), 2, "they stack");
}

#[test]
fn every_kind_comes_in_any_namespace_in_lists_in_several_documents_and_as_json() {
    let spec = |kind: &str| match kind {
        "IPAddressPool" => r#"{"addresses": ["10.0.0.1-10.0.0.9"]}"#,
        "BGPPeer" => r#"{"myASN": 64513, "peerASN": 64512, "peerAddress": "10.0.0.1"}"#,
        "Community" => r#"{"communities": [{"name": "vpn", "value": "64512:1"}]}"#,
        _ => "{}",
    };
    let kinds = ["IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Community"];
    let object = |kind: &str| {
        let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
        format!(
            r#"{{"apiVersion": "metallb.io/{version}", "kind": "{kind}", "metadata": {{"name": "x", "namespace": "anywhere", "resourceVersion": "7"}}, "spec": {}, "status": {{}}}}"#,
            spec(kind)
        )
    };
    let objects: Vec<String> = kinds.iter().map(|kind| object(kind)).collect();
    let documents = objects.iter().map(|object| format!("---\n{object}\n")).collect::<String>();
    let expected = accepted(&documents);
    assert_eq!((expected.pools.len(), expected.l2_advertisements.len(), expected.bgp.peers.len()), (1, 1, 1));
    assert_eq!((expected.bgp.advertisements.len(), expected.bgp.bfd_profiles.len(), expected.bgp.communities.len()), (1, 1, 1));
    let list = format!("{{\"apiVersion\": \"v1\",\n\t\"kind\": \"List\", \"items\": [{}]}}", objects.join(",\n\t"));
    assert_eq!(accepted(&list), expected);
    for (kind, object) in kinds.iter().zip(&objects) {
        let typed = format!(
            r#"{{"apiVersion": "metallb.io/v1beta1", "kind": "{kind}List", "metadata": {{"resourceVersion": "7"}}, "items": [{object}]}}"#
        );
        assert_eq!(one(&typed).is_ok(), one(object).is_ok(), "{kind}");
    }
}
