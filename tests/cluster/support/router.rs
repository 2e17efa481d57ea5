//! The router of the LAN (place gw) as a BGP speaker, FRR, and the client behind it (place far), who reaches the addresses of Services
//! only by what the router was told. The nodes are its neighbours at 10.77.0.11, fd77::11 and so on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Cluster;
use crate::support::place::run_in;
use crate::support::routers::Frr;

/// The AS of the nodes.
pub(crate) const NODES_AS: u32 = 64500;
/// The AS of the router.
pub(crate) const ROUTER_AS: u32 = 64501;

/// A namespace of the cluster, as the routers of the lab take it.
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

/// What the routers of the lab wait with.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test's patience is real time")]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited 10 s in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// FRR at a place of the cluster.
pub(crate) struct Router<'a> {
    pub(crate) frr: Frr,
    cluster: &'a Cluster,
    place: &'static str,
}

impl Cluster {
    /// FRR as the router of the LAN, AS [`ROUTER_AS`]: each node is a neighbour by both its addresses, in the peer group `nodes`, and
    /// several ways to one prefix are all taken. BFD watches nobody before [`Router::watch`].
    pub(crate) fn router(&self) -> Router<'_> {
        self.speaker("gw", ROUTER_AS)
    }

    /// FRR on a machine of the LAN, of the nodes' own AS.
    pub(crate) fn reflector(&self) -> Router<'_> {
        self.speaker("cl", NODES_AS)
    }

    fn speaker(&self, place: &'static str, own_as: u32) -> Router<'_> {
        let mut bgp = format!(
            "router bgp {own_as}\n no bgp ebgp-requires-policy\n bgp bestpath as-path multipath-relax\n bgp graceful-restart\n \
             neighbor nodes peer-group\n neighbor nodes remote-as {NODES_AS}\n"
        );
        let mut add = |line: &str| writeln!(bgp, " {line}").expect("a text takes all");
        let neighbours = self.nodes().flat_map(|node| addresses(node.name)).filter(|address| !address.starts_with("fe80"));
        neighbours.for_each(|address| add(&format!("neighbor {address} peer-group nodes")));
        for family in ["ipv4", "ipv6"] {
            add(&format!("address-family {family} unicast"));
            ["neighbor nodes activate", "maximum-paths 8", "maximum-paths ibgp 8", "exit-address-family"].iter().for_each(|line| add(line));
        }
        let bfd = "bfd\n profile nodes\n  receive-interval 300\n  transmit-interval 300\n  detect-multiplier 3\n exit\nexit\n";
        let namespace = Namespace(self.namespace(place));
        Router { frr: Frr::run(&namespace, &[("bfdd", bfd), ("bgpd", &format!("{bgp}exit\n"))]), cluster: self, place }
    }

    /// The nodes that the kernel of this place sends what is for this address to, by what BGP has told.
    #[track_caller]
    pub(crate) fn ways(&self, place: &str, address: IpAddr) -> BTreeSet<String> {
        let family = if address.is_ipv4() { "-4" } else { "-6" };
        let command = ["ip", family, "-j", "route", "show", "exact", &address.to_string(), "proto", "bgp"];
        let shown = run_in(&self.namespace(place), &command).unwrap_or_else(|why| panic!("ip route: {why}"));
        let routes: Value = serde_json::from_str(&shown).unwrap_or_default();
        // One way stands in the route itself.
        let routes = routes.as_array().map(Vec::as_slice).unwrap_or_default();
        let hops = routes.iter().flat_map(|route| route["nexthops"].as_array().map_or(std::slice::from_ref(route), Vec::as_slice));
        let gateways: Vec<&str> = hops.filter_map(|hop| hop["gateway"].as_str()).collect();
        let node = |gateway: &str| self.nodes().find(|node| addresses(node.name).iter().any(|address| address == gateway));
        gateways.into_iter().map(|gateway| node(gateway).unwrap_or_else(|| panic!("{gateway} in {shown}")).name.to_owned()).collect()
    }

    /// Connects so often to port 80 of this address from behind the router, each time anew. What was answered.
    #[track_caller]
    pub(crate) fn ask_afar(&self, times: usize, address: IpAddr) -> Vec<String> {
        let url = format!("{}[1-{times}]", crate::support::service::url(address));
        let answers = self.far.run(&["curl", "-sSf", "--max-time", "20", "-H", "Connection: close", &url]);
        answers.unwrap_or_else(|why| panic!("{url}: {why}")).lines().map(str::to_owned).collect()
    }

    /// How many TCP connections to port 80, and how many datagrams, the router has given to each node meanwhile.
    #[track_caller]
    pub(crate) fn shares<T>(&self, meanwhile: impl FnOnce() -> T) -> (BTreeMap<String, [u64; 2]>, T) {
        let kinds = [("tcp", "tcp dport 80 tcp flags & (syn | ack) == syn"), ("udp", "udp dport 80")];
        let (mut counters, mut rules) = (String::new(), String::new());
        for node in self.nodes() {
            for (kind, matches) in kinds {
                writeln!(counters, "counter {}-{kind} {{}}", node.name).expect("a text takes all");
                writeln!(rules, "iifname \"gw-eth0\" oifname \"{}-*\" {matches} counter name {0}-{kind}", node.name)
                    .expect("a text takes all");
            }
        }
        let file = self.path("shares.nft");
        let chain = format!("chain seen {{ type filter hook forward priority 0;\n{rules} }}");
        std::fs::write(&file, format!("table bridge shares {{\n{counters}{chain}\n}}\n")).expect("a file of ours");
        self.switch(&["nft", "-f", &file.to_string_lossy()]);
        let result = meanwhile();
        let listed: Value = serde_json::from_str(&self.switch(&["nft", "-j", "list", "counters"])).expect("nft prints JSON");
        self.switch(&["nft", "delete", "table", "bridge", "shares"]);
        let counted = |name: String| {
            let all = listed["nftables"].as_array().into_iter().flatten();
            let packets = all.filter(|entry| entry["counter"]["name"] == name.as_str()).find_map(|it| it["counter"]["packets"].as_u64());
            packets.unwrap_or_else(|| panic!("no counter {name} in {listed}"))
        };
        let share = |node: &str| kinds.map(|(kind, _)| counted(format!("{node}-{kind}")));
        (self.nodes().map(|node| (node.name.to_owned(), share(node.name))).collect(), result)
    }
}

impl Router<'_> {
    /// BFD watches every node from now on, every 300 ms, three times; waits until it does. Not with `check-control-plane-failure`: from a
    /// peer that asks for graceful restart, and whose BFD ends with its BGP, FRR would then believe no loss at all.
    #[track_caller]
    pub(crate) fn watch(&self) {
        self.frr.change(&[&format!("router bgp {ROUTER_AS}"), "neighbor nodes bfd profile nodes"]);
        self.wait_watched();
    }

    /// Waits until BFD is up with every node, over both families.
    #[track_caller]
    pub(crate) fn wait_watched(&self) {
        let up = |address: &str| self.frr.peer(address.parse().expect("an address"), "status") == "up";
        let all = || self.cluster.nodes().all(|node| addresses(node.name)[..2].iter().all(|address| up(address)));
        self.cluster.wait_until(20, "BFD watches every session", all);
    }

    /// See [`Cluster::ways`].
    #[track_caller]
    pub(crate) fn ways(&self, address: IpAddr) -> BTreeSet<String> {
        self.cluster.ways(self.place, address)
    }

    /// Waits until the kernel of this machine has exactly these ways to each of these addresses.
    #[track_caller]
    pub(crate) fn wait_ways(&self, seconds: u64, addresses: &[IpAddr], nodes: &[&str]) {
        let wanted: BTreeSet<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        let mut found = Vec::new();
        self.cluster.wait_until(seconds, &format!("{} sends what is for {addresses:?} to {nodes:?}", self.place), || {
            found = addresses.iter().map(|address| self.ways(*address)).collect();
            found.iter().all(|ways| *ways == wanted)
        });
    }

    /// What BGP here knows of every way to this address: AS path, origin, MED, local preference, communities, large communities, by the
    /// node that told it. Next hops are the nodes' own addresses.
    #[track_caller]
    pub(crate) fn attributes(&self, address: IpAddr) -> BTreeMap<String, [String; 6]> {
        let (family, length) = if address.is_ipv4() { ("ipv4", 32) } else { ("ipv6", 128) };
        let route = self.frr.json(&format!("show bgp {family} unicast {address}/{length} json"));
        let paths = route["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |path: &Value| {
            let peer = path["peer"]["peerId"].as_str().unwrap_or_default();
            let node = self.cluster.nodes().find(|node| addresses(node.name).iter().any(|address| address == peer));
            let node = node.unwrap_or_else(|| panic!("{peer} is a node: {path}")).name;
            let hops = path["nexthops"].as_array().into_iter().flatten().filter_map(|hop| hop["ip"].as_str());
            assert!(hops.clone().count() > 0 && hops.clone().all(|hop| addresses(node).iter().any(|it| it == hop)), "{path}");
            let told = [&path["aspath"]["string"], &path["origin"], &path["metric"], &path["locPrf"]];
            let told = [told[0], told[1], told[2], told[3], &path["community"]["string"], &path["largeCommunity"]["string"]];
            (node.to_owned(), told.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        };
        paths.iter().map(of).collect()
    }

    /// The state of BGP with a node at this address, and how often it was established.
    pub(crate) fn session(&self, address: &str) -> (String, u64) {
        let state = self.frr.neighbour(address, "bgpState").as_str().unwrap_or_default().to_owned();
        (state, self.frr.neighbour(address, "connectionsEstablished").as_u64().unwrap_or_default())
    }

    /// Waits until every node has a session by each of its addresses.
    #[track_caller]
    pub(crate) fn wait_established(&self) {
        let all: Vec<String> =
            self.cluster.nodes().flat_map(|node| addresses(node.name)).filter(|address| !address.starts_with("fe80")).collect();
        self.cluster.wait_until(20, "BGP is established with every node", || all.iter().all(|it| self.session(it).0 == "Established"));
    }
}

/// The addresses of a node on the LAN: IPv4, IPv6, and the link-local one that its hardware address makes.
pub(crate) fn addresses(node: &str) -> [String; 3] {
    let host = 10 + node.trim_start_matches('n').parse::<u8>().expect("n1, n2, …");
    [format!("10.77.0.{host}"), format!("fd77::{host}"), format!("fe80::77:ff:fe00:{host:x}")]
}
