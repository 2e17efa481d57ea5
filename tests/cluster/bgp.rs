//! BGP on a real cluster: the nodes tell the router of the LAN, a client behind it reaches the Services by nothing else. Its bounds are
//! generous, for the machine is busy; what was lost exactly is printed.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures real time, for people")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::guides;
use crate::support::Cluster;
use crate::support::Options;
use crate::support::meter::Meter;
use crate::support::place::lanlord;
use crate::support::router::{NODES_AS, ROUTER_AS, Router, addresses};
use crate::support::seen::service;
use crate::support::service::url;

pub(crate) const CONFIG: &str = "configmap:lanlord/lanlord";
const ALL: [&str; 3] = ["n1", "n2", "n3"];
const CONNECTIONS: usize = 300;
/// Datagrams, of one each millisecond, that a router may lose while it changes its routes.
const AT_A_CHANGE: u64 = 5;
/// Until a way that has failed is gone: BFD of 300 ms, three times, and a busy machine.
const DETECTION: Duration = Duration::from_secs(3);

/// A pool away from the LAN, told to the router over sessions of both families, in MetalLB's words; and more of the same.
pub(crate) fn documents(peer: &str, advertisement: &str, more: &str) -> String {
    let metallb = |kind: &str, version: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {{{spec}}}\n---\n"
        )
    };
    let router = |name: &str, address: &str| {
        let session = "enableGracefulRestart: true, holdTime: 90s, keepaliveTime: 30s, connectTime: 1s";
        let spec = format!("myASN: {NODES_AS}, peerASN: {ROUTER_AS}, peerAddress: '{address}', {session}, {peer}");
        metallb("BGPPeer", "v1beta2", name, &spec)
    };
    [
        metallb("IPAddressPool", "v1beta1", "fabric", "addresses: [10.99.0.10-10.99.0.20, 'fd99::10-fd99::20']"),
        metallb("BFDProfile", "v1beta1", "steady", "receiveInterval: 300, transmitInterval: 300, detectMultiplier: 3"),
        metallb("BGPAdvertisement", "v1beta1", "fabric", &format!("ipAddressPools: [fabric], {advertisement}")),
        router("router", "10.77.0.1"),
        router("router6", "fd77::1"),
        more.to_owned(),
    ]
    .concat()
}

/// The Service web of both families for TCP and UDP, with its addresses once it has them.
#[track_caller]
pub(crate) fn web(cluster: &Cluster, annotations: &serde_json::Value) -> Vec<IpAddr> {
    let ports = json!([{"name": "tcp", "port": 80}, {"name": "udp", "port": 80, "protocol": "UDP"}]);
    cluster.apply(&service("web", &json!({"ports": ports, "ipFamilyPolicy": "RequireDualStack"}), annotations).to_string());
    cluster.wait_until(10, "web has two addresses", || cluster.addresses_of("web").len() == 2);
    cluster.addresses_of("web")
}

#[track_caller]
fn wait_served_afar(cluster: &Cluster, addresses: &[IpAddr]) {
    let served = || addresses.iter().all(|address| cluster.far.http(&url(*address)).is_ok());
    cluster.wait_until(20, &format!("the client behind the router is served at {addresses:?}"), served);
}

#[test]
fn bgp_shares_the_flows_among_three_nodes_with_every_attribute_as_configured() {
    let cluster = Cluster::start(&Options::default());
    let (router, reflector) = (cluster.router(), cluster.reflector());
    cluster.backend("web", &ALL);
    let more = format!(
        "apiVersion: metallb.io/v1beta1\nkind: Community\nmetadata: {{name: names}}\nspec: {{communities: [{{name: vpn, value: '64500:9'}}, \
         {{name: big, value: 'large:64500:1:2'}}]}}\n---\napiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: inside}}\n\
         spec: {{myASN: {NODES_AS}, peerASN: {NODES_AS}, peerAddress: 10.77.0.100, dualStackAddressFamily: true}}\n"
    );
    let advertisement = "communities: [vpn, big, '64500:100', no-export], localPref: 250, asPathPrepend: 2";
    cluster.configure("metallb.yaml", &documents("", advertisement, &more));
    cluster.agents_start();
    let addresses = web(&cluster, &json!({"lanlord.dev/bgp-med": "50", "lanlord.dev/bgp-communities": "64500:7"}));
    router.wait_established();
    router.wait_ways(20, &addresses, &ALL);
    cluster.wait_announced("web");
    what_is_told(&cluster, &router, &reflector, &addresses);
    for address in &addresses {
        shared_by(&cluster, *address, &ALL);
    }
    local_policy(&cluster, &router, &addresses);

    cluster.kubectl(&["delete", "service", "web"]);
    router.wait_ways(10, &addresses, &[]);
    router.wait_established();
}

fn what_is_told(cluster: &Cluster, router: &Router<'_>, reflector: &Router<'_>, addresses: &[IpAddr]) {
    let communities = ["64500:7 64500:9 64500:100 no-export", "64500:1:2"];
    let [standard, large] = communities;
    for address in addresses {
        let outside = ["64500 64500 64500", "IGP", "50", "null", standard, large].map(str::to_owned);
        let inside = ["Local", "IGP", "50", "250", standard, large].map(str::to_owned);
        for (who, expected) in [(router, outside), (reflector, inside)] {
            cluster.wait_until(10, "three ways to each", || who.attributes(*address).len() == 3);
            for (node, attributes) in who.attributes(*address) {
                assert_eq!(attributes, expected, "{address} by {node}");
            }
        }
    }
}

/// Connections from many ports: each of these nodes, and no other, carries its share.
#[track_caller]
fn shared_by(cluster: &Cluster, address: IpAddr, nodes: &[&str]) {
    cluster.wait_until(10, &format!("{address} answers"), || cluster.far.http(&url(address)).is_ok());
    let (shares, answers) = cluster.shares(|| cluster.ask_afar(CONNECTIONS, address));
    println!("{CONNECTIONS} connections to {address}: {shares:?}");
    assert_eq!(answers.len(), CONNECTIONS, "each is answered");
    for (node, [connections, _]) in &shares {
        let fair = (CONNECTIONS / nodes.len()) as u64;
        let share = if nodes.contains(&node.as_str()) { fair / 2..fair * 2 } else { 0..1 };
        assert!(share.contains(connections), "{node} carries {connections} of {CONNECTIONS}: {shares:?}");
    }
}

/// Who has no Pod is told to nobody, and the Pods see the client.
fn local_policy(cluster: &Cluster, router: &Router<'_>, addresses: &[IpAddr]) {
    let policy = |policy: &str| {
        let patch = json!({"spec": {"externalTrafficPolicy": policy}}).to_string();
        cluster.kubectl(&["patch", "service", "web", "--type=merge", "-p", &patch]);
    };
    cluster.kubectl(&["delete", "pod", "web-n2"]);
    router.wait_ways(10, addresses, &ALL);
    policy("Local");
    router.wait_ways(10, addresses, &["n1", "n3"]);
    for (address, client) in addresses.iter().zip(["10.78.0.100", "fd78::100"]) {
        let seen = || cluster.far.http(&url(*address)).is_ok_and(|body| body.ends_with(&format!("client={client}")));
        cluster.wait_until(10, "kube-proxy keeps the client's address", seen);
        shared_by(cluster, *address, &["n1", "n3"]);
        let expected = ["n1", "n3"].map(|node| format!("pod=web-{node} node={node} client={client}"));
        let answers: BTreeSet<String> = cluster.ask_afar(40, *address).into_iter().collect();
        assert_eq!(answers, expected.into());
    }
    cluster.backend("web", &["n2"]);
    router.wait_ways(10, addresses, &ALL);
    cluster.kubectl(&["delete", "pod", "web-n2"]);
    router.wait_ways(10, addresses, &["n1", "n3"]);
    policy("Cluster");
    router.wait_ways(10, addresses, &ALL);
}

/// What the client behind the router sees of both addresses.
struct Meters([Meter; 2]);

impl Meters {
    fn start(cluster: &Cluster, addresses: &[IpAddr]) -> Meters {
        Meters([0, 1].map(|at| cluster.meter_afar(addresses[at])))
    }

    #[track_caller]
    fn assert_unnoticed(self, what: &str) {
        self.0.into_iter().for_each(|meter| meter.stop().assert_unnoticed(what));
    }

    /// Nobody was without an answer. A connection that comes to another node is reset there: routers spread anew when a way comes or goes,
    /// and may lose what is between two of their routes at that moment.
    #[track_caller]
    fn assert_nothing_lost(self, what: &str) {
        for report in self.0.map(Meter::stop) {
            assert!(report.print(what).lost <= AT_A_CHANGE, "{what}: {report:?}");
        }
    }
}

#[test]
fn bgp_restarts_and_updates_lose_nothing_and_a_lost_node_is_left_out_by_bfd() {
    let cluster = Cluster::start(&Options::default());
    let router = cluster.router();
    // What is lost with a node is then the way and not the Pod.
    cluster.backend("web", &["n3"]);
    cluster.configure("metallb.yaml", &documents("", "", ""));
    cluster.agents_start();
    let addresses = web(&cluster, &json!({}));
    ready(&cluster, &router, &addresses);

    for node in ["n1", "n2", "n3"] {
        killed(&cluster, &router, &addresses, node);
    }
    let meters = Meters::start(&cluster, &addresses);
    update(&cluster, &router);
    ready(&cluster, &router, &addresses);
    meters.assert_unnoticed("all agents updated in place");
    // With what it remembers.
    cluster.control_plane("pause");
    killed(&cluster, &router, &addresses, "n2");
    cluster.control_plane("resume");

    let meters = Meters::start(&cluster, &addresses);
    cluster.node("n1").agent_stop();
    router.wait_ways(5, &addresses, &["n2", "n3"]);
    meters.assert_nothing_lost("an agent that leaves");
    let meters = Meters::start(&cluster, &addresses);
    cluster.node("n1").agent_start(CONFIG);
    ready(&cluster, &router, &addresses);
    meters.assert_nothing_lost("an agent that comes");

    with_bfd(&cluster, &router, &addresses);
}

/// The router keeps the routes (RFC 4724), and the kernel of the node forwards: connections do not notice. The same with BFD, which ends
/// with the agent, but after BGP.
fn killed(cluster: &Cluster, router: &Router<'_>, addresses: &[IpAddr], name: &str) {
    let (node, before, meters) = (cluster.node(name), sessions(router, name), Meters::start(cluster, addresses));
    node.agent_kill();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        addresses.iter().for_each(|address| assert_eq!(router.ways(*address).len(), 3, "{name}"));
    }
    node.agent_start(CONFIG);
    cluster.wait_until(20, "both sessions are new", || sessions(router, name) == before + 2);
    ready(cluster, router, addresses);
    meters.assert_unnoticed(&format!("the agent on {name} killed and started again"));
}

fn with_bfd(cluster: &Cluster, router: &Router<'_>, addresses: &[IpAddr]) {
    cluster.configure("metallb.yaml", &documents("bfdProfile: steady", "", ""));
    router.watch();
    killed(cluster, router, addresses, "n1");
    router.wait_watched();
    // Who takes over sooner than the router's BFD misses the other one has to wait for that.
    let meters = Meters::start(cluster, addresses);
    update(cluster, router);
    ready(cluster, router, addresses);
    router.wait_watched();
    meters.assert_unnoticed("all agents updated in place, with BFD");
    a_lost_node(cluster, router, addresses);
    ready(cluster, router, addresses);
}

/// How many sessions there have been with this node, by either family.
fn sessions(router: &Router<'_>, node: &str) -> u64 {
    addresses(node)[..2].iter().map(|address| router.session(address).1).sum()
}

/// Every agent is replaced by a new instance beside it.
fn update(cluster: &Cluster, router: &Router<'_>) {
    for node in cluster.nodes() {
        let before = sessions(router, node.name);
        node.agent_update(CONFIG);
        cluster.wait_until(20, "both sessions are new", || sessions(router, node.name) >= before + 2);
    }
}

/// All is well: sessions, routes, answers.
#[track_caller]
pub(crate) fn ready(cluster: &Cluster, router: &Router<'_>, addresses: &[IpAddr]) {
    router.wait_established();
    router.wait_ways(20, addresses, &ALL);
    wait_served_afar(cluster, addresses);
}

/// The cable of the node that carries the client's datagrams is cut.
fn a_lost_node(cluster: &Cluster, router: &Router<'_>, both: &[IpAddr]) {
    let (meter, node) = (0..20)
        .find_map(|_| {
            // Each meter is another flow. The Pods are on n3.
            let meter = cluster.meter_afar(both[0]);
            let (shares, ()) = cluster.shares(|| thread::sleep(Duration::from_millis(200)));
            let most = shares.iter().max_by_key(|(_, [_, datagrams])| *datagrams).expect("three nodes").0.clone();
            (most != "n3").then_some((meter, most))
        })
        .expect("one of twenty flows takes another node");
    let rest: Vec<&str> = ALL.into_iter().filter(|it| *it != node).collect();
    cluster.node(&node).link("cut", "eth0");
    let begun = Instant::now();
    while both.iter().any(|address| router.ways(*address).contains(&node)) {
        assert!(begun.elapsed() < DETECTION, "the way by {node} is still there");
    }
    println!("{node} cut off: out of the router's kernel after {:?}", begun.elapsed());
    router.wait_ways(0, both, &rest);
    wait_served_afar(cluster, both);
    both.iter().for_each(|address| shared_by(cluster, *address, &rest));
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    meter.stop().assert_outage("a node lost, with BFD", DETECTION.as_millis() as f64);
    cluster.node(&node).link("heal", "eth0");
}

#[test]
fn bgp_as_the_guide_has_it_and_passwords_and_refusals_told() {
    let cluster = Cluster::start(&Options::default());
    let router = cluster.router();
    cluster.backend("my-app", &ALL);
    // The guide's network is the LAN's here: 192.168.1.1 is the router, 10.77.0.1.
    guides::configure(&cluster, &["bare-metal-pool", "bare-metal-bgp-peer", "bare-metal-bgp-advertisement"]);
    cluster.agents_start();
    cluster.apply(&service("my-app", &json!({"selector": {"app": "my-app"}}), &json!({})).to_string());
    cluster.wait_until(10, "it has an address", || cluster.address("my-app").as_deref() == Some("10.77.0.200"));
    let address: IpAddr = "10.77.0.200".parse().expect("an address");
    let session = |node: &str| router.session(&addresses(node)[0]).0;
    cluster.wait_until(10, "a node without the label does not speak", || session("n1") == "Active" || session("n1") == "Connect");
    for node in ["n1", "n2"] {
        cluster.kubectl(&["label", "node", node, "metallb-role=bgp-speaker"]);
    }
    cluster.wait_until(20, "those with it do", || ["n1", "n2"].iter().all(|node| session(node) == "Established"));
    router.wait_ways(10, &[address], &["n1", "n2"]);
    for (node, attributes) in router.attributes(address) {
        let expected = ["64500", "IGP", "null", "null", "64500:100", "null"];
        assert_eq!(attributes, expected, "by {node}: the local preference stays within the AS");
    }
    let bgp = router.frr.show("show bgp ipv4 unicast");
    assert!(bgp.contains("10.77.0.200/32") && bgp.contains("64500 i"), "{bgp}");
    shared_by(&cluster, address, &["n1", "n2"]);
    assert_ne!(session("n3"), "Established");
    let n1 = cluster.node("n1");
    let timers = |name: &str| router.frr.neighbour("10.77.0.11", name).as_u64();
    assert_eq!((timers("bgpTimerHoldTimeMsecs"), timers("bgpTimerKeepAliveIntervalMsecs")), (Some(90_000), Some(30_000)));
    cluster.wait_until(10, "an Event says that it is up", || events(&cluster, "n1").contains("BGPSessionUp"));
    assert!(up(&cluster, "n1", "10.77.0.1"), "{:?}", n1.metrics());
    let status = n1.run(&[&lanlord(), "status", "bgp"]);
    for part in ["main-router at 10.77.0.1:179 from n1", "Established since", "AS 64501", "hold 90 s, keepalive 30 s", "1 announced"] {
        assert!(status.contains(part), "{part} in {status}");
    }

    passwords(&cluster, &router, address);
    refusals(&cluster, &router, address);
}

fn events(cluster: &Cluster, node: &str) -> String {
    cluster.events("default", "Node", node)
}

/// What the metric says of the session of `node` with the router at `address`.
fn up(cluster: &Cluster, node: &str, address: &str) -> bool {
    let metrics = cluster.node(node).metrics().expect("metrics are served");
    let start = "metallb_bgp_session_up{";
    let line = metrics.lines().find(|line| line.starts_with(start) && line.contains(&format!("peer=\"{address}:179\"")));
    line.unwrap_or_else(|| panic!("{start}… in {metrics}")).ends_with(" 1.0")
}

/// n1 and n2 speak with the router, with more in the peer.
fn peer(cluster: &Cluster, asn: u32, more: &str) {
    let text = format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: production-pool}}\nspec: {{addresses: [10.77.0.200-10.77.0.250]}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {{name: all}}\n---\n\
         apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: main-router}}\nspec: {{myASN: {NODES_AS}, peerASN: {asn}, \
         peerAddress: 10.77.0.1, connectTime: 1s, {more} nodeSelectors: [{{matchLabels: {{metallb-role: bgp-speaker}}}}]}}\n"
    );
    cluster.configure("metallb.yaml", &text);
}

/// The password comes with a Secret, whenever that comes, and changes with it.
fn passwords(cluster: &Cluster, router: &Router<'_>, address: IpAddr) {
    let secret = |password: &str| {
        cluster.apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "router", "namespace": "lanlord"},
                    "type": "kubernetes.io/basic-auth", "stringData": {"password": password}})
            .to_string(),
        );
    };
    let here = |password: &str| {
        let line = format!("neighbor nodes password {password}");
        router.frr.change(&[&format!("router bgp {ROUTER_AS}"), &line]);
    };
    let ways = |nodes: &[&str]| router.wait_ways(30, &[address], nodes);
    here("first");
    peer(cluster, ROUTER_AS, "passwordSecret: {name: router},");
    ways(&[]);
    let told = |words: &[&str]| told(cluster, words);
    told(&["BGPSessionRefused", "main-router", "no Secret router in namespace lanlord"]);
    secret("first");
    ways(&["n1", "n2"]);
    secret("second");
    told(&["BGPSessionRefused", "main-router", "a wrong password looks the same"]);
    assert!(!up(cluster, "n1", "10.77.0.1"));
    here("second");
    ways(&["n1", "n2"]);
    assert!(up(cluster, "n1", "10.77.0.1"));
}

/// Waits until an Event of n1 has all these words.
#[track_caller]
fn told(cluster: &Cluster, words: &[&str]) {
    let has = |line: &str| words.iter().all(|word| line.contains(word));
    cluster.wait_until(30, &format!("n1 is told {words:?}"), || events(cluster, "n1").lines().any(has));
}

/// What a router refuses is told in its words, with what to check.
fn refusals(cluster: &Cluster, router: &Router<'_>, address: IpAddr) {
    let here = |line: &str| router.frr.change(&[&format!("router bgp {ROUTER_AS}"), line]);
    here("no neighbor nodes password second");
    peer(cluster, 64999, "");
    router.wait_ways(30, &[address], &[]);
    let wrong = format!("the peer is of AS {ROUTER_AS}, 64999 is configured");
    told(cluster, &["Warning BGPSessionRefused", &wrong, "set `peerASN`"]);
    assert!(!up(cluster, "n1", "10.77.0.1"));
    // It ends with 1, for there is something to look at.
    let status = cluster.node("n1").run(&["sh", "-c", &format!("{} status bgp; [ $? = 1 ]", lanlord())]);
    assert!(status.contains(&format!("! {wrong}")), "{status}");
    peer(cluster, ROUTER_AS, "");
    router.wait_ways(30, &[address], &["n1", "n2"]);
    here("neighbor nodes shutdown message the cellar is flooded");
    told(cluster, &["Warning BGPSessionDown", "Administrative Shutdown", "the cellar is flooded", "shut down at the router"]);
    here("no neighbor nodes shutdown");
    router.wait_ways(30, &[address], &["n1", "n2"]);
    shared_by(cluster, address, &["n1", "n2"]);
}
