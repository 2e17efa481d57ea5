//! The old ConfigMaps, key by key: MetalLB's before 0.13, and that of kube-vip's cloud provider.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use lanlord::config::{Accepted, BgpAdvertisement, Community, Neighbor, PeerPassword, PoolName, Problems, RemoteAs};
use lanlord::facts::LinkName;

use crate::config::{self, accepted, one, rejected};

const POOL: &str = "address-pools: [{name: default, protocol: layer2, addresses: [192.168.1.240-192.168.1.250]}]\n";

#[test]
fn every_field_of_an_old_peer_is_kept() {
    let text = "
peers:
- my-asn: 64512
  peer-asn: 64513
  peer-address: 10.0.0.1
  source-address: 10.0.0.9
  peer-port: 1179
  hold-time: 30s
  keepalive-time: 5s
  router-id: 10.0.0.8
  node-selectors:
  - match-labels: {rack: a}
    match-expressions: [{key: speed, operator: NotIn, values: [slow]}]
  password: secret
  bfd-profile: fast
  ebgp-multihop: true
- {my-asn: 64512, peer-asn: 64512, peer-address: 10.0.0.2}
bfd-profiles: [{name: fast}]
";
    let peers = accepted(text).bgp.peers;
    assert_eq!(peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["peer1", "peer2"]);
    let peer = &peers[0];
    assert_eq!((peer.my_asn, peer.remote_as, peer.peer_port), (64512, RemoteAs::Number(64513), 1179));
    assert_eq!(peer.neighbor, Neighbor::Address("10.0.0.1".parse().unwrap()));
    assert_eq!((peer.source_address, peer.router_id), (Some("10.0.0.9".parse().unwrap()), Some("10.0.0.8".parse().unwrap())));
    assert_eq!((peer.hold_time.as_secs(), peer.keepalive_time.as_secs()), (30, 5));
    assert_eq!(peer.node_selectors[0].to_string(), "rack=a,speed not in (slow)");
    assert!(matches!(&peer.password, Some(PeerPassword::Text(password)) if password.0 == "secret"));
    assert!(peer.ebgp_multi_hop && peer.bfd_profile.as_deref() == Some("fast"));
    assert_eq!((peers[1].hold_time.as_secs(), peers[1].peer_port), (90, 179), "the defaults of then");
}

#[test]
fn the_old_fields_have_their_old_names_in_messages() {
    let problems = rejected("peers: [{my-asn: 64512, peer-adress: 10.0.0.1, hold-time: 1s}]\n").to_string();
    for message in ["no `peer-asn`", "did you mean `peer-address`?", "`hold-time` has to be"] {
        assert!(problems.contains(message), "{problems}");
    }
    assert!(rejected(&format!("{POOL}peers: [{{peer-asn: 64512, peer-address: 10.0.0.1}}]\n")).to_string().contains("no `my-asn`"));
}

#[test]
fn old_communities_are_a_mapping_and_old_profiles_a_list() {
    let text = format!(
        "{POOL}bgp-communities: {{vpn: 64512:1, big: 'large:1:2:3'}}\nbfd-profiles: [{{name: p, receive-interval: 50, transmit-interval: 60, detect-multiplier: 4, echo-interval: 50, echo-mode: false, passive-mode: true, minimum-ttl: 9}}]\n"
    );
    let bgp = accepted(&text).bgp;
    let expected = [("big".to_owned(), Community::Large(1, 2, 3)), ("vpn".to_owned(), Community::Standard(64512, 1))];
    assert_eq!(bgp.communities, BTreeMap::from(expected));
    let profile = &bgp.bfd_profiles["p"];
    assert_eq!((profile.receive_interval.as_millis(), profile.transmit_interval.as_millis()), (50, 60));
    assert_eq!((profile.detect_multiplier, profile.passive_mode, profile.minimum_ttl), (4, true, 9));
}

#[test]
fn a_layer2_pool_is_announced_without_an_advertisement() {
    let config = accepted(POOL);
    assert_eq!(config.l2_advertisements.len(), 1);
    assert!(config.bgp.advertisements.is_empty() && config.pools[0].auto_assign && !config.pools[0].avoid_buggy_ips);
    let flags = accepted(&POOL.replace("}]", ", auto-assign: false, avoid-buggy-ips: true}]"));
    assert!(!flags.pools[0].auto_assign && flags.pools[0].avoid_buggy_ips);
}

#[test]
fn a_bgp_pool_without_bgp_advertisements_has_one_with_every_default() {
    let config = accepted(&POOL.replace("layer2", "bgp"));
    assert_eq!(config.bgp.advertisements, [BgpAdvertisement::everywhere(BTreeSet::from([PoolName::new("default")]))]);
    assert!(config.l2_advertisements.is_empty());
}

#[test]
fn the_bgp_advertisements_of_a_pool_are_its_own_whatever_its_protocol() {
    for (protocol, l2) in [("bgp", 0), ("layer2", 1)] {
        let text = format!(
            "bgp-communities: {{vpn: 64512:1}}\naddress-pools:\n- {{name: other, protocol: layer2, addresses: [10.9.0.1/32]}}\n- {{name: default, protocol: {protocol}, addresses: [10.1.0.0/16, 'fd00::/64'], bgp-advertisements: [{{aggregation-length: 24, aggregation-length-v6: 64, localpref: 100, communities: [vpn]}}, {{}}]}}\n"
        );
        let config = accepted(&text);
        assert_eq!(config.l2_advertisements.len(), 1 + l2);
        let pools = BTreeSet::from([PoolName::new("default")]);
        let first = BgpAdvertisement {
            aggregation_length: 24,
            aggregation_length_v6: 64,
            local_pref: Some(100),
            communities: BTreeSet::from([Community::Standard(64512, 1)]),
            ..BgpAdvertisement::everywhere(pools.clone())
        };
        assert_eq!(config.bgp.advertisements, [first, BgpAdvertisement::everywhere(pools)]);
    }
}

#[test]
fn names_that_kubernetes_would_not_allow_are_kept() {
    assert_eq!(accepted(&POOL.replace("default", "My_Pool")).pools[0].name.as_str(), "My_Pool");
}

#[test]
fn peer_autodiscovery_is_noted_and_not_read() {
    let text = "peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1, peer-autodiscovery: {from-labels: []}}]\n";
    assert!(one(text).unwrap().notes.iter().any(|note| note.message.contains("never part of MetalLB")));
}

fn kube_vip(keys: &[(&str, &str)]) -> Result<Accepted, Problems> {
    config::keys("ConfigMap kube-system/kubevip", keys)
}

fn pools(keys: &[(&str, &str)]) -> Vec<(String, String, Vec<String>)> {
    let config = kube_vip(keys).unwrap_or_else(|problems| panic!("{problems}")).config;
    let namespaces = |pool: &lanlord::config::Pool| pool.allocation.iter().flat_map(|of| of.namespaces.clone()).collect();
    config.pools.iter().map(|pool| (pool.name.to_string(), pool.addresses.to_string(), namespaces(pool))).collect()
}

#[test]
fn kube_vips_global_addresses_are_a_pool_for_everybody() {
    let global = |addresses: &str| ("global".to_owned(), addresses.to_owned(), Vec::new());
    assert_eq!(pools(&[("range-global", "192.168.0.200-192.168.0.202")]), [global("192.168.0.200-192.168.0.202")]);
    assert_eq!(pools(&[("cidr-global", "192.168.0.220/29")]), [global("192.168.0.216-192.168.0.223")]);
}

#[test]
fn kube_vips_addresses_of_a_namespace_are_a_pool_for_it_that_is_tried_first() {
    let keys = [("cidr-global", "10.0.0.0/30"), ("range-media", "10.0.1.1-10.0.1.9"), ("cidr-lab", "10.0.2.0/30")];
    let of = |name: &str, addresses: &str| (name.to_owned(), addresses.to_owned(), vec![name.to_owned()]);
    let found = pools(&keys);
    assert_eq!(found[..2], [of("lab", "10.0.2.0-10.0.2.3"), of("media", "10.0.1.1-10.0.1.9")]);
    assert_eq!(found[2].0, "global");
}

#[test]
fn kube_vip_takes_a_cidr_before_a_range_of_the_same_scope() {
    let accepted = kube_vip(&[("cidr-media", "10.0.0.0/30"), ("range-media", "10.0.1.1-10.0.1.9")]).unwrap();
    assert_eq!(accepted.config.pools.len(), 1);
    assert_eq!(accepted.config.pools[0].addresses.len(), 4);
    assert!(accepted.notes.iter().any(|note| note.message.contains("`range-media` is not read")));
}

#[test]
fn kube_vips_entries_may_overlap_and_be_of_both_families() {
    let keys = [("range-global", "10.0.0.5-10.0.0.9,10.0.0.1-10.0.0.6,fd00::1-fd00::2")];
    assert_eq!(pools(&keys)[0].1, "10.0.0.1-10.0.0.9, fd00::1-fd00::2");
}

#[test]
fn kube_vips_dhcp_is_refused() {
    for (key, value) in [("cidr-global", "0.0.0.0/32"), ("range-media", "0.0.0.0"), ("cidr-global", "::/128")] {
        let problems = kube_vip(&[(key, value)]).unwrap_err().to_string();
        assert!(problems.contains("asks a DHCP server"), "{problems}");
    }
}

#[test]
fn kube_vips_prefixes_lose_their_ends_when_asked() {
    let count = |cidr: &str, skip: &str| {
        kube_vip(&[("cidr-global", cidr), ("skip-end-ips-in-cidr", skip)]).unwrap().config.pools[0].addresses.len()
    };
    assert_eq!((count("10.0.0.0/29", "true"), count("10.0.0.0/29", "false")), (6, 8));
    assert_eq!((count("10.0.0.0/31", "true"), count("10.0.0.1/32", "true"), count("fd00::/126", "true")), (2, 1, 4));
}

#[test]
fn kube_vips_interfaces_are_where_the_pools_are_announced() {
    let keys = [
        ("range-global", "10.0.0.1-10.0.0.9"),
        ("range-media", "10.0.1.1-10.0.1.9"),
        ("interface-global", "eth0"),
        ("interface-media", "eth1"),
    ];
    let config = kube_vip(&keys).unwrap().config;
    let links = |pool: &str| config.l2_advertisements.iter().find(|l2| l2.pools.contains(pool)).unwrap().interfaces.clone();
    assert_eq!((links("global"), links("media")), (BTreeSet::from([LinkName::new("eth0")]), BTreeSet::from([LinkName::new("eth1")])));
    let shared = kube_vip(&keys[..3]).unwrap().config;
    assert!(shared.l2_advertisements.iter().all(|l2| l2.interfaces.contains("eth0")), "of all pools without their own");
    assert_eq!(kube_vip(&keys[..2]).unwrap().config.l2_advertisements.len(), 1, "every link that holds the addresses");
}

#[test]
fn what_is_not_kept_of_kube_vips_keys_is_noted() {
    let keys =
        [("range-global", "10.0.0.1-10.0.0.9"), ("search-order", "desc"), ("allow-share-media", "true"), ("interface-media", "eth1")];
    assert_eq!(kube_vip(&keys).unwrap().notes.len(), 3);
}

#[test]
fn the_manifest_of_kube_vips_configmap_is_one_of_ours_whatever_it_is_called() {
    for name in ["kubevip", "kube-vip"] {
        let manifest = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: kube-system}}\ndata: {{range-global: 10.0.0.1-10.0.0.9}}\n"
        );
        assert_eq!(accepted(&manifest).pools.len(), 1);
        let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", manifest.trim_end().replace('\n', "\n  "));
        assert_eq!(accepted(&list).pools.len(), 1);
    }
}
