//! What `lanlord router-config` prints, given to the real daemons as a person would give it; and the real task with the sessions that the
//! agents would have by the same configuration: routes of the pools come in from all nodes, nothing else does, and nothing goes out.
//!
//! The nodes are 10.77.0.11, fd77::11 and .12; the router is 10.77.0.2, fd77::2.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use lanlord::api::objects::Objects;
use lanlord::bgp::desired::{Desired, Route};
use lanlord::bgp::status::State;
use lanlord::cli::router_config::RouterConfig;
use lanlord::config::{Config, Source, parse};
use lanlord::facts::{Living, NodeName};
use lanlord::plan::routes::bgp_desired;

use crate::support::{BgpAgent, Bird, Frr, Lan, Namespace, eventually};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    verb: RouterConfig,
}

const EBGP: &str = "\
asn: 64600
pools:
  - name: public
    addresses: [203.0.113.0/24]
bgpPeers:
  - name: router
    peerASN: 64512
    peerAddress: 10.77.0.2
    connectTime: 1s
    holdTime: 9s
";

/// Both families on a session over IPv4 and on one over IPv6; everything that a session can have.
const IBGP: &str = "\
asn: 64512
pools:
  - name: public
    addresses: [203.0.113.0/24, '2001:db8:100::/120']
bgpPeers:
  - name: tor.four
    peerASN: 64512
    peerAddress: 10.77.0.2
    connectTime: 1s
    dualStackAddressFamily: true
    bfdProfile: fast
    enableGracefulRestart: true
    password: s3cret
  - name: tor.six
    peerASN: 64512
    peerAddress: fd77::2
    connectTime: 1s
    dualStackAddressFamily: true
    bfdProfile: fast
    ttlSecurityHops: 1
bgpAdvertisements:
  - ipAddressPools: [public]
    aggregationLength: 28
  - ipAddressPools: [public]
bfdProfiles:
  - name: fast
    receiveInterval: 50
    transmitInterval: 100
";

fn nodes() -> String {
    let node = |n: u8| {
        let addresses = format!("[{{type: InternalIP, address: 10.77.0.1{n}}}, {{type: InternalIP, address: 'fd77::1{n}'}}]");
        let status = format!("{{addresses: {addresses}, conditions: [{{type: Ready, status: 'True'}}]}}");
        format!("{{apiVersion: v1, kind: Node, metadata: {{name: n{n}, uid: u{n}}}, status: {status}}}")
    };
    format!("apiVersion: v1\nkind: List\nitems: [{}, {}]\n", node(1), node(2))
}

/// What the command prints, passwords and all.
fn printed(kind: &str, config: &str, peers: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (config, cluster) = (file("config.yaml", config), file("nodes.yaml", &nodes()));
    let mut words = vec!["router-config", kind, "--show-passwords", "--config", &config, "--cluster", &cluster];
    words.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = Cli::parse_from(words).verb.run_on(&mut [].as_slice(), &mut out, &mut err).unwrap();
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&err));
    String::from_utf8(out).unwrap()
}

fn read(config: &str) -> Config {
    parse(&[Source::file("config.yaml", config)]).unwrap_or_else(|problems| panic!("{problems}")).config
}

/// The sessions that the agent of `node` would have, each with these routes.
fn sessions(config: &str, node: &str, routes: &[(&str, Route)]) -> BTreeMap<String, Desired> {
    let config = read(config);
    let mut objects = Objects::new("lanlord");
    objects.read("nodes.yaml", &nodes()).unwrap();
    let peers = bgp_desired(&config, &objects.snapshot(), &Living::default(), &NodeName::new(node));
    let routes = Arc::new(routes.iter().map(|(prefix, route)| (prefix.parse().unwrap(), Arc::new(route.clone()))).collect());
    peers.into_iter().map(|(name, peer)| (name.to_string(), Desired { routes: Arc::clone(&routes), ..peer.desired })).collect()
}

/// A router and two nodes with their agents.
struct Field {
    _lan: Lan,
    router: Namespace,
    agents: [BgpAgent; 2],
    _nodes: [Namespace; 2],
    config: &'static str,
}

impl Field {
    fn new(config: &'static str) -> Self {
        let lan = Lan::new();
        let (router, nodes) = (lan.host(2), [lan.host(11), lan.host(12)]);
        let agents = [BgpAgent::start(&nodes[0]), BgpAgent::start(&nodes[1])];
        Self { _lan: lan, router, agents, _nodes: nodes, config }
    }

    /// What node 1 and node 2 announce.
    fn announce(&self, routes: [&[(&str, Route)]; 2]) {
        for (agent, (node, routes)) in self.agents.iter().zip(["n1", "n2"].into_iter().zip(routes)) {
            let sessions = sessions(self.config, node, routes);
            agent.want(sessions.iter().map(|(name, desired)| (name.as_str(), desired.clone())));
        }
    }

    fn come_up(&self) {
        for (agent, name) in
            self.agents.iter().flat_map(|agent| read(self.config).bgp.peers.into_iter().map(move |peer| (agent, peer.name)))
        {
            agent.comes_up(&name);
        }
    }

    /// The next hops of a prefix in the router's kernel.
    fn ways(&self, prefix: &str) -> Vec<String> {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        let route = self.router.ip(&format!("{family} route show {prefix}"));
        let words: Vec<&str> = route.split_whitespace().collect();
        let mut hops: Vec<String> = words.windows(2).filter(|pair| pair[0] == "via").map(|pair| pair[1].to_owned()).collect();
        hops.sort();
        hops.dedup();
        hops
    }
}

fn leaving() -> Route {
    Route { communities: [0xffff_0000].into(), ..Route::default() }
}

fn plain(prefixes: &[&'static str]) -> Vec<(&'static str, Route)> {
    prefixes.iter().map(|prefix| (*prefix, Route::default())).collect()
}

/// What each test of a router without anything special sees.
fn pools_come_in_from_both(field: &Field) {
    // Of the pool; of the pool in another length; of another net; the default route.
    let both = plain(&["203.0.113.5/32", "203.0.113.128/25", "192.0.2.1/32", "0.0.0.0/0"]);
    field.announce([&both, &both]);
    field.come_up();
    eventually("both nodes carry traffic", || field.ways("203.0.113.5") == ["10.77.0.11", "10.77.0.12"]);
    for foreign in ["203.0.113.128/25", "192.0.2.1", "default"] {
        assert!(field.ways(foreign).is_empty(), "{foreign}");
    }
    let gone = [("203.0.113.5/32", leaving())];
    field.announce([&gone, &both]);
    eventually("who leaves is left out", || field.ways("203.0.113.5") == ["10.77.0.12"]);
    field.announce([&both, &gone]);
    eventually("and comes back", || field.ways("203.0.113.5") == ["10.77.0.11"]);
    assert!(field.agents.iter().all(|agent| agent.peer("router").session.received.updates <= 1), "nothing but End-of-RIB is told to nodes");
}

#[test]
fn frr_takes_the_pools_from_all_nodes_and_nothing_else() {
    let field = Field::new(EBGP);
    let frr = Frr::run(&field.router, &[("bgpd", "")]);
    assert_eq!(frr.load(&printed("frr", EBGP, &[])), "");
    pools_come_in_from_both(&field);
    let advertised = frr.json("show bgp ipv4 unicast neighbors 10.77.0.11 advertised-routes json");
    assert_eq!(advertised["totalPrefixCounter"], 0, "{advertised}");
    let refused = frr.json("show bgp ipv4 unicast neighbors 10.77.0.11 filtered-routes json");
    assert_eq!(refused["totalPrefixCounter"], 3, "{refused}");
}

#[test]
fn bird_takes_the_pools_from_all_nodes_and_nothing_else() {
    let field = Field::new(EBGP);
    let bird = Bird::run_whole(&field.router, &printed("bird", EBGP, &[]));
    pools_come_in_from_both(&field);
    let shown = bird.ask("show protocols all lanlord_router_n1");
    assert!(shown.contains("Description:    n1") && shown.contains("1 imported, 0 exported"), "{shown}");
}

/// What each test of a router with everything sees.
fn both_families_come_in(field: &Field) {
    let both = plain(&["203.0.113.5/32", "203.0.113.16/28", "2001:db8:100::5/128", "2001:db8:100::/120", "2001:db8:200::1/128"]);
    field.announce([&both, &both]);
    field.come_up();
    for prefix in ["203.0.113.5", "203.0.113.16/28"] {
        eventually(prefix, || {
            let ways = field.ways(prefix);
            ways.iter().filter(|way| way.starts_with("10.77.")).count() == 2
        });
    }
    // By their link-local addresses.
    eventually("IPv6, too", || field.ways("2001:db8:100::5").len() == 2);
    for foreign in ["2001:db8:100::/120", "2001:db8:200::1"] {
        assert!(field.ways(foreign).is_empty(), "{foreign}");
    }
    let up = |agent: &BgpAgent, name: &str| agent.peer(name).bfd.is_some_and(|bfd| bfd.ups > 0);
    eventually("BFD watches all", || field.agents.iter().all(|agent| up(agent, "tor.four") && up(agent, "tor.six")));
}

#[test]
fn frr_takes_both_families_passwords_bfd_ttl_security_and_graceful_restart() {
    let field = Field::new(IBGP);
    let frr = Frr::run(&field.router, &[("bfdd", ""), ("bgpd", "")]);
    assert_eq!(frr.load(&printed("frr", IBGP, &["tor.four", "tor.six"])), "");
    both_families_come_in(&field);
    let peer = "10.77.0.11".parse().unwrap();
    assert_eq!(["receive-interval", "transmit-interval", "detect-multiplier"].map(|name| frr.peer(peer, name)), ["100", "50", "3"]);
    let restart = frr.neighbour("10.77.0.11", "gracefulRestartInfo");
    assert_eq!((&restart["localGrMode"], &restart["remoteGrMode"]), (&"Helper*".into(), &"Restart".into()), "{restart}");
    assert!(frr.show("show running-config").contains("ttl-security hops 1"));
}

#[test]
fn bird_takes_both_families_passwords_bfd_ttl_security_and_graceful_restart() {
    let field = Field::new(IBGP);
    let bird = Bird::run_whole(&field.router, &printed("bird", IBGP, &["tor.four", "tor.six"]));
    both_families_come_in(&field);
    let session = bird.peer("10.77.0.11".parse().unwrap());
    assert_eq!(session[1..3], ["eth0", "Up"], "{session:?}");
    let shown = bird.ask("show protocols all lanlord_tor_four_n1");
    assert!(shown.contains("Restart time:") || shown.contains("Graceful restart"), "{shown}");
    assert_eq!(field.agents[0].state("tor.six"), State::Established);
}

#[test]
fn every_printed_configuration_is_taken_as_it_stands() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/router-config");
    let lan = Lan::new();
    let router = lan.host(2);
    for case in ["home/", "rack/", "rack/far-", "pair/"] {
        let text = |kind: &str| fs::read_to_string(golden.join(format!("{case}{kind}.txt"))).unwrap();
        for kind in ["frr", "unifi", "pfsense", "opnsense"] {
            let frr = Frr::run(&router, &[("bfdd", ""), ("bgpd", "")]);
            assert_eq!(frr.load(&text(kind)), "", "{case}{kind}");
            kept(&text(kind), &frr.show("show running-config"), case);
        }
        for kind in ["bird", "bird3", "openwrt"] {
            assert_eq!(Bird::check(&text(kind)), "", "{case}{kind}");
        }
    }
}

/// Each line stands in the running configuration, unless FRR takes it for granted.
fn kept(text: &str, running: &str, case: &str) {
    let granted = |line: &str| {
        // IPv4 is on by itself; the community has a name.
        line.ends_with(" activate") || line == "detect-multiplier 3" || line.ends_with("-interval 300") || line.ends_with("permit 65535:0")
    };
    let running: Vec<&str> = running.lines().map(str::trim).collect();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('!') && !granted(line)) {
        assert!(running.iter().any(|kept| kept.starts_with(line)), "{case}: {line}\n{}", running.join("\n"));
    }
}
