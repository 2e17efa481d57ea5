//! From configuration and facts to what each peer is to know: sessions field by field; routes the same for any order of documents, there
//! for exactly those who announce, gone with the last endpoint; and what Services are told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lanlord::addr::{Family, Prefix};
use lanlord::bgp::desired::{Bfd, Desired, Ending, Password, RemoteAs, SessionDesired, Transport};
use lanlord::config::{Config, Source, parse};
use lanlord::facts::{Claim, NodeName, Protocol, SecretKey, Secrets, Service, ServicePort, TrafficPolicy};
use lanlord::plan::peers::{Peer, Peers};
use lanlord::plan::routes::{bgp_desired, prefixes};
use lanlord::plan::{Serving, View, is_served};

use crate::config::golden;
use crate::scenario::{document, pool};
use crate::world::{World, ip};

fn read(text: &str) -> Config {
    parse(&[Source::file("metallb.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}\n{text}")).config
}

fn desired(world: &World, node: &str) -> Peers {
    bgp_desired(&world.config, &world.snapshot, &world.living(), &NodeName::new(node))
}

/// The one peer of n1 that is written so.
fn peer(spec: &str) -> Peer {
    let profile = document("BFDProfile", "fast", "receiveInterval: 50");
    let world = World::new(1, read(&(profile + &document("BGPPeer", "router", spec))));
    desired(&world, "n1").remove("router").unwrap()
}

fn session(spec: &str) -> SessionDesired {
    peer(&format!("myASN: 64513, peerASN: 64512, {spec}")).desired.session.unwrap()
}

const PLAIN: &str = "peerAddress: 192.168.1.1";

#[test]
fn a_plain_peer_has_every_default() {
    let Peer { desired, secret } = peer(&format!("myASN: 64513, peerASN: 64512, {PLAIN}"));
    let transport =
        Transport { remote: ip("192.168.1.1"), port: 179, link: None, local: None, vrf: None, ttl: 1, minimum_ttl: 0, password: None };
    let session = SessionDesired {
        transport,
        local_as: 64513,
        remote_as: RemoteAs::Number(64512),
        identifier: Ipv4Addr::new(192, 168, 1, 11),
        hold_time: 90,
        keepalive_time: 30,
        connect_retry_time: None,
        families: [Family::V4].into(),
        multiprotocol: true,
        restart_time: None,
    };
    assert_eq!(desired, Desired { session: Some(session), ..Desired::default() });
    assert_eq!((desired.ending, desired.graceful_shutdown, secret), (Ending::Deconfigured, false, None));
}

#[test]
fn every_field_of_a_peer_gets_to_its_session() {
    let with = |spec: &str| session(&format!("{PLAIN}, {spec}"));
    assert_eq!(with("localASN: 64600").local_as, 64600);
    let remote = |spec: &str| peer(&format!("myASN: 64513, {PLAIN}, {spec}")).desired.session.unwrap().remote_as;
    assert_eq!((remote("dynamicASN: internal"), remote("dynamicASN: external")), (RemoteAs::Internal, RemoteAs::External));
    let times = |spec: &str| (with(spec).hold_time, with(spec).keepalive_time, with(spec).connect_retry_time);
    assert_eq!(times("holdTime: 30s"), (30, 10, None));
    assert_eq!(times("keepaliveTime: 5s"), (15, 5, None));
    assert_eq!(times("holdTime: 9s, keepaliveTime: 2s, connectTime: 7s"), (9, 2, Some(7)));
    assert_eq!(times("holdTime: 0s"), (0, 0, None));
    assert_eq!(with("routerID: 10.0.0.9").identifier, Ipv4Addr::new(10, 0, 0, 9));
    assert!(!with("disableMP: true").multiprotocol);
    assert_eq!(with("dualStackAddressFamily: true").families, [Family::V4, Family::V6].into());
    assert_eq!(with("enableGracefulRestart: true").restart_time, Some(120));
    let transport = with("peerPort: 20179, sourceAddress: 192.168.1.9, vrf: red").transport;
    assert_eq!((transport.port, transport.local, transport.vrf.unwrap().to_string()), (20179, Some(ip("192.168.1.9")), "red".to_owned()));
    let v6 = session("peerAddress: 'fd00::1'");
    assert_eq!((v6.families, v6.transport.remote), ([Family::V6].into(), ip("fd00::1")));
    let near = session("peerAddress: 'fe80::1', interface: eth0");
    assert_eq!((near.families, near.transport.link.unwrap().as_str()), ([Family::V6].into(), "eth0"));
}

#[test]
fn packets_live_one_hop_towards_another_as_unless_told_otherwise() {
    let ttl = |spec: &str| {
        let transport = peer(&format!("myASN: 64513, {PLAIN}, {spec}")).desired.session.unwrap().transport;
        (transport.ttl, transport.minimum_ttl)
    };
    let table = [
        ("peerASN: 64512", (1, 0)),
        ("dynamicASN: external", (1, 0)),
        ("peerASN: 64512, ebgpMultiHop: true", (255, 0)),
        ("peerASN: 64513", (255, 0)),
        ("dynamicASN: internal", (255, 0)),
        ("peerASN: 64600, localASN: 64600", (255, 0)),
        ("peerASN: 64512, ttlSecurityHops: 1", (255, 255)),
        ("peerASN: 64512, ttlSecurityHops: 3", (255, 253)),
        ("peerASN: 64513, ttlSecurityHops: 254", (255, 2)),
    ];
    for (spec, expected) in table {
        assert_eq!(ttl(spec), expected, "{spec}");
    }
}

#[test]
fn the_identifier_is_the_node_s_ipv4_address_or_made_of_its_name() {
    let mut world = World::new(2, read(&document("BGPPeer", "router", &format!("myASN: 64513, peerASN: 64512, {PLAIN}"))));
    let identifier = |world: &World, node: &str| desired(world, node)["router"].desired.session.as_ref().unwrap().identifier;
    assert_eq!(identifier(&world, "n2"), Ipv4Addr::new(192, 168, 1, 12));
    for node in ["n1", "n2"] {
        world.node(node, |node| node.addresses = vec![ip("fd00::11")]);
    }
    assert_eq!(identifier(&world, "n1"), Ipv4Addr::new(146, 97, 162, 236), "it must never become another one");
    assert_ne!(identifier(&world, "n1"), identifier(&world, "n2"));
    world.node("n1", |node| node.addresses = vec![ip("fd00::11"), ip("10.0.0.1")]);
    assert_eq!(identifier(&world, "n1"), Ipv4Addr::new(10, 0, 0, 1));
}

#[test]
fn passwords_are_there_or_named_and_bfd_profiles_are_looked_up() {
    let with = |spec: &str| peer(&format!("myASN: 64513, peerASN: 64512, {PLAIN}, {spec}"));
    let password = |peer: &Peer| peer.desired.session.as_ref().unwrap().transport.password.clone();
    let plain = with("password: secret");
    assert_eq!((password(&plain), &plain.secret), (Some(Password("secret".to_owned())), &None));
    let named = with("passwordSecret: {name: routers, key: rack}");
    assert_eq!(password(&named), None);
    let key = SecretKey { name: "routers".to_owned(), key: "rack".to_owned() };
    let filled = |found: Option<Result<&str, &str>>| {
        let found = found.map(|found| (key.clone(), found.map(ToOwned::to_owned).map_err(ToOwned::to_owned)));
        let Desired { session, withheld, .. } = named.with_password(&found.into_iter().collect());
        (session.map(|session| session.transport.password.unwrap().0), withheld)
    };
    assert_eq!(filled(Some(Ok("key"))), (Some("key".to_owned()), None));
    assert_eq!(filled(Some(Err("there is no such Secret"))), (None, Some("there is no such Secret".to_owned())), "nobody dials without it");
    assert_eq!(filled(None), (None, Some("Secret routers has not been read yet".to_owned())));
    assert_eq!(plain.with_password(&Secrets::new()), plain.desired);
    assert_eq!(named.secret, Some(key.clone()));
    let fifty = std::time::Duration::from_millis(50);
    let (tx, rx) = (std::time::Duration::from_millis(300), fifty);
    let bfd = Bfd { desired_min_tx: tx, required_min_rx: rx, detect_mult: 3, passive: false, minimum_ttl: 254 };
    assert_eq!(with("bfdProfile: fast").desired.bfd, Some(bfd));
}

#[test]
fn a_peer_of_other_nodes_is_not_spoken_with_nor_by_a_node_that_is_no_object() {
    let spec = format!("myASN: 64513, peerASN: 64512, {PLAIN}, nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: n2}}}}]");
    let world = World::new(2, read(&document("BGPPeer", "router", &spec)));
    assert_eq!(["n1", "n2", "n3"].map(|node| desired(&world, node).len()), [0, 1, 0]);
}

fn routers() -> String {
    let peer = |name: &str, more: &str| document("BGPPeer", name, &format!("myASN: 64513, {more}"));
    let near = "nodeSelectors: [{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [n3]}]}]";
    peer("ex", &format!("peerASN: 64512, {PLAIN}, dualStackAddressFamily: true"))
        + &peer("in", "peerASN: 64513, peerAddress: 192.168.1.2")
        + &peer("near", &format!("peerASN: 64512, peerAddress: 'fd00::3', {near}"))
}

fn routes(world: &World, node: &str, peer: &str) -> Vec<String> {
    desired(world, node).get(peer).into_iter().flat_map(|peer| peer.desired.routes.keys()).map(ToString::to_string).collect()
}

#[test]
fn a_node_whose_kube_proxy_fails_leaves_it_to_others_that_serve() {
    let text = pool("p", "10.1.0.0/24", "") + &routers() + &document("BGPAdvertisement", "r", "");
    let mut world = World::new(3, read(&text));
    world.create("a", |_| ());
    world.endpoints("a", &["n1", "n2"]);
    world.settle();
    let who =
        |world: &World| -> Vec<&str> { ["n1", "n2", "n3"].into_iter().filter(|node| !routes(world, node, "ex").is_empty()).collect() };
    assert_eq!(who(&world), ["n1", "n2", "n3"]);
    world.member("n1", |member| member.dataplane_unhealthy = true);
    assert_eq!(who(&world), ["n2", "n3"]);
    world.edit("a", |service| service.traffic_policy = TrafficPolicy::Local);
    assert_eq!(who(&world), ["n2"]);
    world.member("n2", |member| member.dataplane_unhealthy = true);
    assert_eq!(who(&world), ["n1", "n2"], "where else should it go?");
    world.member("n1", |member| member.dataplane_unhealthy = false);
    assert_eq!(who(&world), ["n1"]);
}

#[test]
fn sharers_with_local_policy_are_announced_each_from_its_own_nodes() {
    let text = pool("p", "10.1.0.0/24", "") + &routers() + &document("BGPAdvertisement", "r", "");
    let mut world = World::new(3, read(&text));
    for (name, port) in [("a", 80), ("b", 81)] {
        world.create(name, |service| {
            service.traffic_policy = TrafficPolicy::Local;
            service.selector = "app=same".to_owned();
            service.annotations.insert("metallb.io/allow-shared-ip".to_owned(), "k".to_owned());
            service.ports = vec![ServicePort { protocol: Protocol::Tcp, port }];
        });
    }
    world.settle();
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec!["10.1.0.0".to_owned()], vec!["10.1.0.0".to_owned()]));
    world.endpoints("b", &["n3"]);
    assert_eq!(["n1", "n2", "n3"].map(|node| routes(&world, node, "ex").len()), [1, 0, 1]);
}

#[test]
fn the_route_goes_with_the_last_endpoint_with_the_service_and_with_the_member() {
    let text = pool("p", "10.1.0.0/24", "") + &routers() + &document("BGPAdvertisement", "r", "");
    let mut world = World::new(3, read(&text));
    world.create("a", |_| ());
    world.settle();
    let there = |world: &World| ["n1", "n2", "n3"].map(|node| routes(world, node, "ex").len());
    assert_eq!(there(&world), [1, 1, 1]);
    world.endpoints("a", &[]);
    assert_eq!(there(&world), [0, 0, 0]);
    world.endpoints("a", &["n2"]);
    assert_eq!(there(&world), [1, 1, 1]);
    world.edit("a", |service| service.traffic_policy = TrafficPolicy::Local);
    assert_eq!(there(&world), [0, 1, 0]);
    world.endpoints("a", &["n1", "n3"]);
    assert_eq!(there(&world), [1, 0, 1]);
    world.leave("n1");
    assert_eq!(there(&world), [0, 0, 1]);
    world.edit("a", |service| service.deleting = true);
    assert_eq!(there(&world), [0, 0, 0], "before it is gone");
    world.edit("a", |service| service.deleting = false);
    assert_eq!(there(&world), [0, 0, 1]);
    world.delete("a");
    assert_eq!(there(&world), [0, 0, 0], "though its claim is still there");
    world.create("a", |_| ());
    assert_eq!(there(&world), [0, 0, 0], "the claim is of another Service of that name");
}

#[test]
fn equal_routes_are_one_value() {
    let text = pool("p", "10.1.0.0/24", "") + &routers() + &document("BGPAdvertisement", "r", "communities: ['1:1']");
    let mut world = World::new(1, read(&text));
    for number in 0..5 {
        world.create(&format!("s{number}"), |_| ());
    }
    world.settle();
    let desired = desired(&world, "n1");
    let all: BTreeSet<*const _> = desired.values().flat_map(|peer| peer.desired.routes.values()).map(Arc::as_ptr).collect();
    assert_eq!((desired["ex"].desired.routes.len(), all.len()), (5, 1));
}

#[test]
fn services_are_told_to_whom_they_are_announced_once_and_not_for_every_node() {
    let text = pool("p", "10.1.0.0/24, 'fd01::/112'", "") + &routers() + &document("BGPAdvertisement", "r", "");
    let mut world = World::new(3, read(&text));
    world.create("a", |_| ());
    let events = world.settle();
    assert_eq!(events, ["IPAllocated: assigned 10.1.0.0 from pool p, announced to ex and in (bgp)"]);
    let condition = |world: &World| {
        let condition = world.service("a").condition.clone().unwrap();
        (condition.announced, condition.reason, condition.message)
    };
    assert_eq!(condition(&world), (true, "Announcing".to_owned(), "10.1.0.0 to ex and in (bgp)".to_owned()));
    let version = world.version();
    world.leave("n3");
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(world.version(), version, "a node comes or goes: nothing is written");
    world.endpoints("a", &[]);
    let why = "10.1.0.0 not announced: the Service has endpoints, but none is ready; look at its pods";
    assert_eq!(world.settle(), [format!("NotAnnounced: {why}")]);
    assert_eq!(condition(&world), (false, "NoServingEndpoint".to_owned(), why.to_owned()));
    world.endpoints("a", &["n1"]);
    assert_eq!(world.settle(), ["nodeAssigned: announcing with protocol \"bgp\" to ex and in: 10.1.0.0"]);
    world.edit("a", |service| drop(service.annotations.insert("lanlord.dev/bgp-med".to_owned(), "low".to_owned())));
    assert_eq!(world.settle(), ["InvalidAnnotation: annotation bgp-med: \"low\" is no number from 0 to 4294967295"]);
}

#[test]
fn a_service_that_goes_both_ways_says_both() {
    let router = document("BGPPeer", "ex", &format!("myASN: 64513, peerASN: 64512, {PLAIN}"));
    let mut world = World::new(2, read(&(pool("p", "192.168.1.240/32", "") + &router)));
    world.create("a", |_| ());
    assert_eq!(world.settle(), ["IPAllocated: assigned 192.168.1.240 from pool p, announced by n1 on eth0 (layer2) and to ex (bgp)"]);
    assert_eq!(world.service("a").condition.as_ref().unwrap().message, "192.168.1.240 by n1 on eth0 (layer2) and to ex (bgp)");
    assert!(
        world.service("a").annotations["lanlord.dev/announced"].starts_with("192.168.1.240 by n1 on eth0 (layer2) and to ex (bgp) since ")
    );
}

#[test]
fn the_bgp_documents_of_the_bare_metal_guide_tell_the_router_of_the_pool_from_the_labelled_nodes() {
    let file = |name: &str| std::fs::read_to_string(golden().join("guides").join(name)).unwrap();
    let names = ["bare-metal-pool.yaml", "bare-metal-bgp-peer.yaml", "bare-metal-bgp-advertisement.yaml"];
    let mut world = World::new(3, read(&names.map(file).join("\n---\n")));
    for node in ["n1", "n3"] {
        world.node(node, |node| drop(node.labels.insert("metallb-role".to_owned(), "bgp-speaker".to_owned())));
    }
    world.create("web", |_| ());
    world.settle();
    assert_eq!(
        ["n1", "n2", "n3"].map(|node| routes(&world, node, "main-router")),
        [vec!["192.168.1.200/32"], vec![], vec!["192.168.1.200/32"]]
    );
    let peer = desired(&world, "n1").remove("main-router").unwrap().desired;
    let (session, route) = (peer.session.unwrap(), peer.routes.values().next().unwrap().clone());
    assert_eq!((session.transport.remote, session.local_as, session.remote_as), (ip("192.168.1.1"), 64500, RemoteAs::Number(64501)));
    assert_eq!((&route.communities, route.local_pref), (&[64500 << 16 | 100].into(), Some(100)));
}

/// Documents by chance.
fn documents(rng: &mut fastrand::Rng) -> Vec<String> {
    let mut documents = vec![pool("p", "10.1.0.0/28, 'fd01::/124'", ""), pool("q", "10.2.0.0/28", "")];
    documents.extend(routers().split_inclusive("---\n").map(str::to_owned));
    for number in 0..rng.u8(1..5) {
        let mut spec = vec![];
        spec.push(rng.choice(["", "ipAddressPools: [p]", "ipAddressPools: [q]"]).unwrap().to_owned());
        spec.push(rng.choice(["", "peers: [ex]", "peers: [in, near]", "peers: [gone]"]).unwrap().to_owned());
        let host = |node: u8| format!("nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: n{node}}}}}]");
        spec.push(if rng.bool() { String::new() } else { host(rng.u8(1..4)) });
        let for_some = rng.u8(..3) == 0;
        spec.push(if for_some { "serviceSelectors: [{matchLabels: {app: web}}]".to_owned() } else { String::new() });
        if !for_some && rng.bool() {
            spec.push(format!("aggregationLength: {}, aggregationLengthV6: {}", rng.u8(28..33), rng.u8(124..129)));
        }
        spec.push(format!("localPref: {}", rng.choice([0, 0, 100, 200]).unwrap()));
        spec.push(format!("asPathPrepend: {}", rng.choice([0, 0, 2, 3]).unwrap()));
        spec.push(rng.choice(["", "communities: ['1:1']", "communities: ['2:2', 'large:1:2:3']"]).unwrap().to_owned());
        spec.retain(|field| !field.is_empty());
        documents.push(document("BGPAdvertisement", &format!("r{number}"), &spec.join(", ")));
    }
    documents
}

/// Services and nodes by chance.
fn fill(world: &mut World, rng: &mut fastrand::Rng) {
    for node in ["n1", "n2", "n3"] {
        let (excluded, unavailable) = (rng.u8(..4) == 0, rng.u8(..6) == 0);
        world.node(node, |it| (it.excluded, it.network_unavailable) = (excluded, unavailable));
        let unhealthy = rng.u8(..6) == 0;
        world.member(node, |member| member.dataplane_unhealthy = unhealthy);
    }
    for number in 0..rng.u8(1..7) {
        let name = format!("s{number}");
        world.create(&name, |service| some(service, rng));
        let with: Vec<&str> = ["n1", "n2", "n3"].into_iter().filter(|_| rng.bool()).collect();
        world.endpoints(&name, &with);
    }
    world.settle();
    if rng.u8(..4) == 0 {
        world.leave("n2");
    }
}

fn some(service: &mut Service, rng: &mut fastrand::Rng) {
    if rng.bool() {
        service.labels.insert("app".to_owned(), "web".to_owned());
    }
    if rng.bool() {
        service.traffic_policy = TrafficPolicy::Local;
    }
    if rng.u8(..3) == 0 {
        service.families = vec![Family::V4, Family::V6];
    }
    match rng.u8(..6) {
        0 => service.deleting = true,
        1 => service.class = Some("example.com/other".to_owned()),
        2 => drop(service.annotations.insert("lanlord.dev/bgp-med".to_owned(), rng.u8(..9).to_string())),
        3 => drop(service.annotations.insert("metallb.io/address-pool".to_owned(), "q".to_owned())),
        _ => {}
    }
}

fn accepted(documents: &[String]) -> Option<Config> {
    parse(&[Source::file("metallb.yaml", documents.concat())]).ok().map(|accepted| accepted.config)
}

/// Worlds by chance, and what they are configured by; not those whose advertisements contradict each other for certain.
fn worlds() -> impl Iterator<Item = (u64, World, Vec<String>, fastrand::Rng)> {
    let worlds = (0..400).filter_map(|seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let documents = documents(&mut rng);
        let mut world = World::new(3, accepted(&documents)?);
        fill(&mut world, &mut rng);
        Some((seed, world, documents, rng))
    });
    worlds.take(150)
}

fn everything(world: &World) -> Vec<Peers> {
    ["n1", "n2", "n3"].map(|node| desired(world, node)).into()
}

#[test]
fn the_order_of_documents_and_of_a_second_time_means_nothing() {
    let mut told = 0;
    for (seed, mut world, mut documents, mut rng) in worlds() {
        let before = everything(&world);
        assert_eq!(everything(&world), before, "seed {seed}");
        told += before.iter().flat_map(BTreeMap::values).map(|peer| peer.desired.routes.len()).sum::<usize>();
        rng.shuffle(&mut documents);
        world.config = accepted(&documents).unwrap();
        assert_eq!(everything(&world), before, "seed {seed}\n{}", documents.concat());
    }
    assert!(told > 300, "{told}");
}

#[test]
fn a_route_is_there_for_exactly_those_who_are_said_to_announce_it() {
    for (seed, world, documents, _) in worlds() {
        let living = world.living();
        let view = View { config: &world.config, snapshot: &world.snapshot, living: &living };
        for node in ["n1", "n2", "n3"] {
            for (name, peer) in desired(&world, node) {
                let configured = world.config.bgp.peers.iter().find(|it| it.name == *name.0).unwrap();
                let me = BTreeSet::from([NodeName::new(node)]);
                let mut said: BTreeSet<Prefix> = BTreeSet::new();
                for (claim, service) in held(&world) {
                    let announcers = view.announcers(claim, service, &[configured]);
                    if announcers.is_ok_and(|it| it.nodes.contains(node)) {
                        said.extend(prefixes(view, claim, service, configured, &me));
                    }
                }
                let is: BTreeSet<Prefix> = peer.desired.routes.keys().copied().collect();
                assert_eq!(is, said, "seed {seed}, {node} to {name}\n{}", documents.concat());
            }
        }
    }
}

/// Every claim and each Service of ours that has it.
fn held(world: &World) -> Vec<(&Claim, &Service)> {
    let mut pairs = Vec::new();
    for claim in world.snapshot.claims.values() {
        for holder in &claim.holders {
            let service = world.snapshot.services.get(&holder.service).filter(|it| it.uid == holder.uid);
            pairs.extend(
                service.filter(|it| is_served(&world.config, &world.snapshot, it) == Serving::Ours).map(|it| (claim.as_ref(), it.as_ref())),
            );
        }
    }
    pairs
}

#[test]
fn without_endpoints_nothing_is_told_and_with_them_again_all_of_it() {
    for (seed, mut world, _, _) in worlds() {
        let (before, endpoints) = (everything(&world), world.snapshot.endpoints.clone());
        for name in (0..7).map(|number| format!("s{number}")) {
            world.endpoints(&name, &[]);
        }
        let left = everything(&world);
        assert!(left.iter().flat_map(BTreeMap::values).all(|peer| peer.desired.routes.is_empty()), "seed {seed}");
        assert!(left.iter().zip(&before).all(|(left, before)| left.keys().eq(before.keys())), "the sessions stay");
        world.snapshot.endpoints = endpoints;
        assert_eq!(everything(&world), before, "seed {seed}");
    }
}

#[test]
fn what_is_told_lies_in_a_pool_and_holds_an_address_of_a_service() {
    for (seed, world, _, _) in worlds() {
        let held: BTreeSet<IpAddr> = held(&world).into_iter().map(|(claim, _)| claim.address).collect();
        for peer in everything(&world).iter().flat_map(BTreeMap::values) {
            for prefix in peer.desired.routes.keys() {
                assert!(held.iter().any(|address| prefix.contains(*address)), "seed {seed}: {prefix}");
                assert!(
                    world.config.pool_of(prefix.first()).is_some() && world.config.pool_of(prefix.last()).is_some(),
                    "seed {seed}: {prefix}"
                );
            }
        }
    }
}
