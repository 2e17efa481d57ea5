//! Every configuration of the two MetalLB guides, field for field. `bare-metal-*` are those of the bare metal guide, `layer2-*`
//! those of the layer 2 tutorial; where a guide shows an advertisement apart from its pool, the test reads the two together.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lanlord::addr::Family;
use lanlord::config::{
    Accepted, Bgp, BgpAdvertisement, BgpPeer, Community, Config, L2Advertisement, Neighbor, Pool, PoolName, RemoteAs, Settings, Source,
    parse,
};
use lanlord::facts::{LinkName, Operator, Requirement, Selector};

use crate::config::golden;

fn read(names: &[&str]) -> Accepted {
    let sources: Vec<Source> = names
        .iter()
        .map(|name| {
            let name = format!("{name}.yaml");
            Source::file(&name, std::fs::read_to_string(golden().join("guides").join(&name)).unwrap())
        })
        .collect();
    parse(&sources).unwrap_or_else(|problems| panic!("{}", problems.rendered()))
}

/// Read without anything to say about it.
fn plain(names: &[&str]) -> Config {
    let accepted = read(names);
    assert_eq!(accepted.notes, []);
    accepted.config
}

fn pool(name: &str, ranges: &[&str]) -> Pool {
    let ranges: Vec<_> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    Pool {
        name: PoolName::new(name),
        labels: BTreeMap::new(),
        addresses: ranges.iter().copied().collect(),
        ranges,
        auto_assign: true,
        avoid_buggy_ips: false,
        share_across_namespaces: true,
        allocation: None,
    }
}

fn labelled(mut pool: Pool, labels: &[(&str, &str)]) -> Pool {
    pool.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    pool
}

fn pools(names: &[&str]) -> BTreeSet<PoolName> {
    names.iter().map(|name| PoolName::new(name)).collect()
}

fn advertisement(name: &str, reached: &[&str]) -> L2Advertisement {
    L2Advertisement { name: Some(name.to_owned()), ..L2Advertisement::everywhere(pools(reached)) }
}

fn labels(key: &str, values: &[&str]) -> Selector {
    let operator = Operator::In(values.iter().map(ToString::to_string).collect());
    Selector { requirements: vec![Requirement { key: key.to_owned(), operator }] }
}

#[test]
fn bare_metal_a_pool_of_a_range_a_prefix_and_an_address() {
    let config = plain(&["bare-metal-pool"]);
    assert_eq!(config.pools, [pool("production-pool", &["192.168.1.200-192.168.1.250", "192.168.2.0-192.168.2.255", "10.0.0.100"])]);
    assert_eq!(config.pools[0].addresses.len(), 51 + 256 + 1);
    assert_eq!(config.settings, Settings::default());
}

#[test]
fn bare_metal_two_pools_announced_by_one_advertisement_without_fields() {
    let config = plain(&["bare-metal-two-pools", "bare-metal-advertise-all"]);
    let ingress = labelled(pool("ingress-pool", &["192.168.1.200-192.168.1.210"]), &[("tier", "ingress")]);
    assert_eq!(config.pools, [ingress, pool("internal-services-pool", &["192.168.1.220-192.168.1.250"])]);
    assert_eq!(config.l2_advertisements, [advertisement("l2-advert", &["ingress-pool", "internal-services-pool"])]);
}

#[test]
fn bare_metal_one_pool_on_one_interface_of_some_nodes() {
    let accepted = read(&["bare-metal-two-pools", "bare-metal-advertise-ingress"]);
    let expected = L2Advertisement {
        interfaces: BTreeSet::from([LinkName::new("eth0")]),
        node_selectors: vec![labels("kubernetes.io/os", &["linux"])],
        ..advertisement("l2-advert-ingress", &["ingress-pool"])
    };
    assert_eq!(accepted.config.l2_advertisements, [expected]);
    assert_eq!(accepted.notes.len(), 1);
    assert!(accepted.notes[0].message.contains("no advertisement reaches pool `internal-services-pool`"));
}

#[test]
fn bare_metal_bgp_is_read_and_said_not_to_be_spoken() {
    let accepted = read(&["bare-metal-pool", "bare-metal-bgp-peer", "bare-metal-bgp-advertisement"]);
    assert_eq!(accepted.config.pools.len(), 1);
    assert_eq!(accepted.config.l2_advertisements, [], "the pool is for BGP");
    let router = BgpPeer {
        name: "main-router".to_owned(),
        my_asn: 64500,
        local_asn: None,
        remote_as: RemoteAs::Number(64501),
        neighbor: Neighbor::Address("192.168.1.1".parse().unwrap()),
        peer_port: 179,
        source_address: None,
        hold_time: Duration::from_secs(90),
        keepalive_time: Duration::from_secs(30),
        connect_time: None,
        router_id: None,
        node_selectors: vec![labels("metallb-role", &["bgp-speaker"])],
        password: None,
        bfd_profile: None,
        graceful_restart: false,
        ebgp_multi_hop: false,
        ttl_security_hops: None,
        vrf: None,
        disable_mp: false,
        dual_stack: false,
    };
    let routes = BgpAdvertisement {
        name: Some("bgp-advert".to_owned()),
        communities: BTreeSet::from([Community::Standard(64500, 100)]),
        local_pref: Some(100),
        ..BgpAdvertisement::everywhere(pools(&["production-pool"]))
    };
    assert_eq!(accepted.config.bgp, Bgp { peers: vec![router], advertisements: vec![routes], ..Bgp::default() });
    let notes: Vec<&str> = accepted.notes.iter().map(|note| note.message.as_str()).collect();
    assert_eq!(
        notes,
        [
            "AS 64500 is for examples in documents (RFC 5398): numbers for private use are 64512 to 65534 and 4200000000 to 4294967294",
            "AS 64501 is for examples in documents (RFC 5398): numbers for private use are 64512 to 65534 and 4200000000 to 4294967294",
            "the local preference is not sent to peer `main-router`: it stays within an AS (RFC 4271 §5.1.5)",
        ]
    );
}

#[test]
fn layer2_a_pool_and_its_advertisement() {
    let config = plain(&["layer2-pool", "layer2-advertisement"]);
    assert_eq!(config.pools, [pool("local-network-pool", &["192.168.1.240-192.168.1.255"])]);
    assert_eq!(config.l2_advertisements, [advertisement("local-network-advertisement", &["local-network-pool"])]);
}

#[test]
fn layer2_a_pool_of_several_ranges_without_buggy_addresses_on_edge_nodes() {
    let config = plain(&["layer2-pool-with-several-ranges", "layer2-advertisement-by-node"]);
    let expected = Pool {
        avoid_buggy_ips: true,
        ..pool("production-pool", &["192.168.1.100-192.168.1.150", "192.168.1.200-192.168.1.220", "10.0.0.0-10.0.0.15"])
    };
    assert_eq!(config.pools, [expected]);
    assert_eq!(config.pools[0].usable(Family::V4), 51 + 21 + 15, "10.0.0.0 is left out");
    let expected = L2Advertisement {
        node_selectors: vec![
            labels("node-role.kubernetes.io/edge", &["true"]),
            labels("topology.kubernetes.io/zone", &["zone-a", "zone-b"]),
        ],
        ..advertisement("edge-node-advertisement", &["production-pool"])
    };
    assert_eq!(config.l2_advertisements, [expected]);
}

#[test]
fn layer2_a_pool_that_is_used_on_request_only() {
    let config = plain(&["layer2-pool-on-request"]);
    assert_eq!(config.pools, [Pool { auto_assign: false, ..pool("database-pool", &["192.168.1.50-192.168.1.59"]) }]);
}

#[test]
fn layer2_an_advertisement_on_two_interfaces() {
    let config = plain(&["layer2-pool", "layer2-advertisement-by-interface"]);
    let expected = L2Advertisement {
        interfaces: BTreeSet::from([LinkName::new("bond0"), LinkName::new("eth0")]),
        ..advertisement("interface-specific-advertisement", &["local-network-pool"])
    };
    assert_eq!(config.l2_advertisements, [expected]);
}

#[test]
fn layer2_the_complete_example() {
    let config = plain(&["layer2-complete"]);
    assert_eq!(
        config.pools,
        [
            Pool { avoid_buggy_ips: true, ..pool("primary-pool", &["192.168.1.240-192.168.1.255"]) },
            Pool { auto_assign: false, ..pool("priority-pool", &["192.168.1.200-192.168.1.204"]) },
        ]
    );
    assert_eq!(config.pools[0].usable(Family::V4), 15);
    assert_eq!(
        config.l2_advertisements,
        [
            advertisement("primary-l2-advertisement", &["primary-pool"]),
            L2Advertisement {
                node_selectors: vec![labels("node-role.kubernetes.io/worker", &["true"])],
                ..advertisement("priority-l2-advertisement", &["priority-pool"])
            },
        ]
    );
}

#[test]
fn layer2_pools_by_purpose() {
    let config = plain(&["layer2-pools-by-purpose"]);
    let web = labelled(pool("web-services-pool", &["192.168.1.100-192.168.1.119"]), &[("purpose", "web"), ("environment", "production")]);
    let internal = labelled(
        pool("internal-services-pool", &["192.168.1.120-192.168.1.129"]),
        &[("purpose", "internal"), ("environment", "production")],
    );
    assert_eq!(config.pools, [web, Pool { auto_assign: false, ..internal }]);
    assert_eq!(
        config.l2_advertisements,
        [L2Advertisement::everywhere(pools(&["internal-services-pool", "web-services-pool"]))],
        "no advertisement is needed"
    );
}

#[test]
fn no_file_of_the_guides_is_left_out() {
    let text = include_str!("config_guides.rs");
    for entry in std::fs::read_dir(golden().join("guides")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.strip_suffix(".yaml").unwrap();
        if stem.starts_with("bare-metal-") || stem.starts_with("layer2-") {
            assert!(text.contains(&format!("\"{stem}\"")), "{stem} is read by no test");
        }
    }
}
