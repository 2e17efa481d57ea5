//! Nodes, agents, links and the API server lost in every combination, and what a client sees of it: a datagram every millisecond and
//! twenty held TCP connections tell. Bounds are generous, for the machine is busy; what was lost exactly is printed.
//!
//! n1 and n2 may announce, the Pods are on the last node: what a client misses is then the address and not the Pod behind it.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures real time, for people")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZero;
use std::process::Child;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::place::Node;
use crate::support::place::run_in;
use crate::support::seen::items;
use crate::support::seen::name;
use crate::support::seen::service;

const CONFIG: &str = "configmap:lanlord/lanlord";
/// The bounds where the goals are 1 s and, without an API server, 2 s.
const OUTAGE: f64 = 3000.0;
const OUTAGE_WITHOUT_API: f64 = 5000.0;
/// For how long two may answer after a partition has healed.
const TWO_ANSWER: f64 = 3000.0;
/// Longer than any detection: what was to happen has happened.
const SETTLED: Duration = Duration::from_secs(5);

/// A cluster whose first agent leads and owns the address of the Service `web`.
fn lab(options: &Options) -> (Cluster, IpAddr) {
    let cluster = Cluster::start(options);
    let last = format!("n{}", options.nodes);
    cluster.backend("web", &[&last]);
    cluster.configure(
        "metallb.yaml",
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: lan}\nspec: {addresses: [10.77.0.240-10.77.0.245]}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: lan}\nspec: {nodeSelectors: [{matchExpressions: \
         [{key: kubernetes.io/hostname, operator: In, values: [n1, n2]}]}]}\n",
    );
    cluster.node("n1").agent_start(CONFIG);
    create(&cluster, "web");
    cluster.wait_announced("web");
    for node in cluster.nodes().filter(|node| node.name != "n1") {
        node.agent_start(CONFIG);
    }
    cluster.wait_until(20, "all agents are members, and the first one leads", || {
        cluster.leader().is_some_and(|leader| leader.starts_with("n1/"))
    });
    let address = cluster.addresses_of("web")[0];
    cluster.wait_served(10, address);
    wait_mesh(&cluster);
    (cluster, address)
}

fn create(cluster: &Cluster, service_name: &str) {
    let ports = json!([{"name": "tcp", "port": 80}, {"name": "udp", "port": 80, "protocol": "UDP"}]);
    cluster.apply(&service(service_name, &json!({"ports": ports}), &json!({})).to_string());
}

/// Waits until every agent hears every other one.
fn wait_mesh(cluster: &Cluster) {
    cluster.wait_until(20, "every agent hears every other one", || {
        cluster.nodes().all(|node| cluster.nodes().all(|other| node.name == other.name || node.hears(other.name)))
    });
}

/// Who holds the Lease of each node.
fn members(cluster: &Cluster) -> BTreeMap<String, Value> {
    let leases = cluster.json(&["get", "leases", "-n", "lanlord"]);
    let members = items(&leases).filter(|lease| name(lease).starts_with("node."));
    members.map(|lease| (name(lease), lease["spec"]["holderIdentity"].clone())).collect()
}

/// At rest exactly one answers: this node.
fn wait_alone(cluster: &Cluster, address: IpAddr, node: &str) {
    cluster.wait_until(10, &format!("{node} answers for {address}, and no other"), || {
        cluster.answering_ports(address) == [format!("{node}-eth0")]
    });
}

/// The node that lost power boots, and takes part again without taking anything.
fn boots(cluster: &Cluster, places: &[&str]) {
    cluster.power("on", places);
    for node in places.iter().filter(|place| **place != "cp") {
        cluster.node(node).agent_start(CONFIG);
    }
    cluster.wait_until(20, "all are members again", || cluster.leader().is_some());
    wait_mesh(cluster);
    let service = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
    for node in cluster.nodes() {
        let reached = || run_in(&cluster.namespace(node.name), &["curl", "-sSf", "--max-time", "1", &format!("http://{service}/")]).is_ok();
        cluster.wait_until(20, &format!("kube-proxy on {} forwards again", node.name), reached);
    }
}

#[test]
fn agents_that_are_killed_or_updated_are_not_noticed() {
    let (cluster, address) = lab(&Options::default());
    let owner = cluster.node("n1");
    let before = cluster.claims();

    let meter = cluster.meter(address);
    owner.agent_kill();
    thread::sleep(Duration::from_secs(1)); // what a container takes to start again
    owner.agent_start(CONFIG);
    thread::sleep(Duration::from_secs(2));
    meter.stop().assert_unnoticed("the owner's agent killed");
    wait_alone(&cluster, address, "n1");

    let meter = cluster.meter(address);
    for node in cluster.nodes() {
        node.agent_kill();
    }
    thread::sleep(Duration::from_secs(1));
    cluster.agents_start();
    meter.stop().assert_unnoticed("all agents killed");
    wait_alone(&cluster, address, "n1");

    let meter = cluster.meter(address);
    for node in cluster.nodes() {
        node.agent_update(CONFIG);
    }
    cluster.wait_until(20, "all are members and one leads", || cluster.leader().is_some());
    meter.stop().assert_unnoticed("all agents updated in place");
    wait_alone(&cluster, address, "n1");

    let meter = cluster.meter(address);
    cluster.control_plane("stop");
    thread::sleep(SETTLED);
    let announced = |node: &Node| node.log().matches(&format!("msg=announcing address={address} ")).count();
    let times = announced(&owner);
    owner.agent_kill();
    owner.agent_start(CONFIG);
    cluster.wait_until(10, "the agent announces what it announced, without an API server", || announced(&owner) > times);
    cluster.control_plane("start");
    cluster.wait_until(20, "all are members and one leads", || cluster.leader().is_some());
    meter.stop().assert_unnoticed("the owner's agent killed while the API server is down");
    wait_alone(&cluster, address, "n1");
    assert_eq!(cluster.claims(), before, "nothing was recorded anew");
}

#[test]
fn losses_of_the_owner_that_leads_and_of_its_successor() {
    let (cluster, address) = lab(&Options::default());
    let meter = cluster.meter(address);
    let begun = Instant::now();
    cluster.power("off", &["n1"]);
    cluster.wait_served(10, address);
    meter.stop().assert_outage("the owner, who led, lost power", OUTAGE);
    wait_alone(&cluster, address, "n2");
    create(&cluster, "later");
    cluster.wait_announced("later");
    println!("another agent leads and has assigned an address {:.1} s after the power cut", begun.elapsed().as_secs_f64());
    boots(&cluster, &["n1"]);
    wait_alone(&cluster, address, "n2");

    let meter = cluster.meter(address);
    cluster.node("n2").link("down", "eth0");
    cluster.wait_served(10, address);
    thread::sleep(SETTLED);
    cluster.node("n2").link("up", "eth0");
    wait_mesh(&cluster);
    let report = meter.stop();
    report.assert_outage("the owner lost its carrier", OUTAGE);
    assert!(report.two_ms < TWO_ANSWER, "{report:?}");
    wait_alone(&cluster, address, "n1");
}

#[test]
fn losses_of_the_owner_together_with_the_api_server_or_while_it_hangs() {
    // A control plane that heard no kubelet for `grace` would call all nodes NotReady when it comes back.
    let (cluster, address) = lab(&Options { grace: 40, ..Options::default() });
    let meter = cluster.meter(address);
    cluster.power("off", &["n1", "cp"]);
    cluster.wait_served(15, address);
    meter.stop().assert_outage("the owner lost power together with the API server", OUTAGE_WITHOUT_API);
    boots(&cluster, &["n1", "cp"]);
    // Nobody could record the loss before the API server was back: until then n1 may come back as if nothing had been.
    let owner = cluster.wait_owner("web", "one node answers", |_| true);
    wait_alone(&cluster, address, &owner);

    let meter = cluster.meter(address);
    cluster.control_plane("pause");
    thread::sleep(SETTLED);
    meter.stop().assert_unnoticed("the API server hangs");
    let meter = cluster.meter(address);
    cluster.node(&owner).link("cut", "eth0");
    cluster.wait_served(15, address);
    let heal = meter.stop();
    heal.assert_outage("the owner was cut off while the API server hung", OUTAGE_WITHOUT_API);
    let meter = cluster.meter(address);
    cluster.node(&owner).link("heal", "eth0");
    thread::sleep(SETTLED);
    cluster.control_plane("resume");
    wait_mesh(&cluster);
    let heal = meter.stop();
    heal.print("the partition healed while the API server hung");
    assert!(heal.two_ms < TWO_ANSWER, "{heal:?}");
    // Nothing could be recorded: who has the address now is what the Leases say, once they can be read again.
    let owner = cluster.wait_owner("web", "one node answers", |_| true);
    wait_alone(&cluster, address, &owner);

    let meter = cluster.meter(address);
    cluster.node(&owner).api("cut");
    thread::sleep(SETTLED * 2);
    meter.stop().assert_unnoticed("the owner alone is cut off from the API server");
    wait_alone(&cluster, address, &owner);
    cluster.node(&owner).api("heal");
    cluster.wait_until(20, "all are members and one leads", || cluster.leader().is_some());
    wait_alone(&cluster, address, &owner);
}

#[test]
fn partitions_between_two_nodes_move_nothing_and_those_of_the_lan_heal() {
    let (cluster, address) = lab(&Options::default());
    let before = members(&cluster);
    for (what, pairs) in [
        ("n2 does not hear n1, the owner", vec![["n1", "n2"]]),
        ("n1, the owner, does not hear n2", vec![["n2", "n1"]]),
        ("n1 and n2 do not hear each other", vec![["n1", "n2"], ["n2", "n1"]]),
    ] {
        let meter = cluster.meter(address);
        pairs.iter().for_each(|pair| cluster.lan("block", pair));
        thread::sleep(SETTLED);
        wait_alone_unasked(&cluster, address);
        pairs.iter().for_each(|pair| cluster.lan("unblock", pair));
        wait_mesh(&cluster);
        let report = meter.stop();
        assert!(report.print(what).longest_ms < OUTAGE && report.two_ms < TWO_ANSWER, "{report:?}");
        assert_eq!(members(&cluster), before, "{what}: who can prove itself is not evicted");
        wait_alone(&cluster, address, "n1");
    }

    let meter = cluster.meter(address);
    cluster.node("n1").link("cut", "eth0");
    cluster.wait_served(10, address);
    // The meter's own questions tell who answers: the client's kernel is not asked.
    thread::sleep(SETTLED);
    cluster.node("n1").link("heal", "eth0");
    wait_mesh(&cluster);
    let report = meter.stop();
    report.assert_outage("the owner was cut off from the LAN, and found it again", OUTAGE);
    assert!(report.two_ms < TWO_ANSWER, "{report:?}");
    wait_alone(&cluster, address, "n2");
    let evicted: Vec<_> = members(&cluster).into_iter().filter(|(node, holder)| before[node] != *holder).map(|(node, _)| node).collect();
    assert!(evicted.iter().all(|node| node == "node.n1"), "only who could not be reached was evicted: {evicted:?}");
}

/// The Leases name one announcer of the address.
fn wait_alone_unasked(cluster: &Cluster, address: IpAddr) {
    let claims = cluster.claims();
    assert_eq!(claims[&address.to_string()].node.as_deref(), Some("n1"), "{claims:?}");
}

#[test]
fn a_filter_that_stops_the_agents_packets_is_told_once_and_one_node_answers() {
    let options = Options { grace: 4, ..Options::default() };
    let cluster = Cluster::start(&options);
    cluster.lan("filter", &["7474"]);
    cluster.backend("web", &["n3"]);
    cluster.configure("addresses", "10.77.0.240-10.77.0.245");
    cluster.agents_start();
    create(&cluster, "web");
    cluster.wait_announced("web");
    let address = cluster.addresses_of("web")[0];
    cluster.wait_served(10, address);
    let told = || {
        let events = cluster.json(&["get", "events", "-A"]);
        items(&events)
            .filter(|event| event["involvedObject"]["kind"] == "Node")
            .filter(|event| event["message"].as_str().is_some_and(|message| message.contains("UDP 7474")))
            .cloned()
            .collect::<Vec<_>>()
    };
    cluster.wait_until(60, "an Event tells of the filter", || !told().is_empty());
    let owner = cluster.wait_owner("web", "one node answers", |_| true);
    wait_alone(&cluster, address, &owner);
    thread::sleep(SETTLED);
    let about: Vec<_> = told().iter().map(|event| event["involvedObject"]["name"].clone()).collect();
    let once: std::collections::BTreeSet<_> = about.iter().map(ToString::to_string).collect();
    assert_eq!((about.len(), once.len()), (2, 2), "of each node the leader does not hear, once: {about:?}");
    assert!(cluster.nodes().all(|node| !node.log().contains("suspected")), "nobody is suspected who was never heard");
    wait_alone(&cluster, address, &owner);

    cluster.lan("pass", &["7474"]);
    wait_mesh(&cluster);
    wait_alone(&cluster, address, &owner);
}

#[test]
fn losses_in_a_cluster_of_two_nodes() {
    let (cluster, address) = lab(&Options { nodes: 2, ..Options::default() });
    let meter = cluster.meter(address);
    cluster.power("off", &["n1"]);
    cluster.wait_served(10, address);
    meter.stop().assert_outage("the owner of two nodes lost power", OUTAGE);
    wait_alone(&cluster, address, "n2");
    boots(&cluster, &["n1"]);

    // Each is all the other has: without its gateway, which is on the same switch, n1 proves nothing and accuses nobody.
    let meter = cluster.meter(address);
    cluster.node("n1").link("cut", "eth0");
    thread::sleep(SETTLED);
    cluster.node("n1").link("heal", "eth0");
    wait_mesh(&cluster);
    meter.stop().assert_unnoticed("the other node of two was cut off");
    wait_alone(&cluster, address, "n2");
}

#[test]
fn losses_of_everything_and_the_boot_after_them() {
    let (cluster, address) = lab(&Options::default());
    let all = ["n1", "n2", "n3", "cp"];
    cluster.power("off", &all);
    cluster.power("on", &all);
    let begun = Instant::now();
    for node in cluster.nodes() {
        node.agent_start(CONFIG);
    }
    cluster.wait_until(10, "it is announced again", || cluster.client.owner_of(address).is_some());
    println!("announced {:.1} s after the API server answered and the agents started", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    wait_alone(&cluster, address, "n1");
    cluster.wait_served(10, address);
    wait_mesh(&cluster);

    cluster.power("off", &all);
    cluster.power("on", &["n2", "n3", "cp"]);
    let begun = Instant::now();
    for node in ["n2", "n3"] {
        cluster.node(node).agent_start(CONFIG);
    }
    cluster.wait_until(30, "who stays dark is replaced", || cluster.client.owner_of(address).as_deref() == Some("n2"));
    println!("the owner stayed dark: replaced {:.1} s after the boot of the others", begun.elapsed().as_secs_f64());
    // One that boots before its loss is on record takes its address back.
    let recorded = || cluster.claims()[&address.to_string()].node.as_deref() == Some("n2");
    cluster.wait_until(10, "the new owner is on record", recorded);
    boots(&cluster, &["n1"]);
    wait_alone(&cluster, address, "n2");
}

#[test]
fn losses_in_a_cluster_of_one_node() {
    let (cluster, address) = lab(&Options { nodes: 1, ..Options::default() });
    let node = cluster.node("n1");
    let meter = cluster.meter(address);
    cluster.control_plane("stop");
    thread::sleep(SETTLED);
    node.agent_kill();
    node.agent_start(CONFIG);
    thread::sleep(SETTLED);
    meter.stop().assert_unnoticed("the API server killed, and the only agent after it");
    wait_alone(&cluster, address, "n1");

    cluster.power("off", &["n1", "cp"]);
    cluster.power("on", &["n1", "cp"]);
    let begun = Instant::now();
    node.agent_start(CONFIG);
    cluster.wait_until(10, "it is announced again", || cluster.client.owner_of(address).is_some());
    println!("one node: announced {:.1} s after the API server answered and the agent started", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    wait_alone(&cluster, address, "n1");
}

/// Processes that want a core each, killed when this goes.
struct Load(Vec<Child>);

impl Load {
    fn start() -> Self {
        let cores = thread::available_parallelism().map_or(2, NonZero::get);
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh runs");
        Self((0..2 * cores).map(|_| spin()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // They run until then.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The short form of `scripts/bench-failover.sh --busy`.
#[test]
fn with_all_cores_busy_nobody_is_taken_for_lost() {
    let (cluster, address) = lab(&Options::default());
    let (before, claims) = (members(&cluster), cluster.claims());
    let load = Load::start();
    let meter = cluster.meter(address);
    thread::sleep(Duration::from_secs(30));
    meter.stop().print("30 s with all cores busy");
    drop(load);
    for node in cluster.nodes() {
        assert!(!node.log().contains("msg=\"member lost"), "{} took another for lost", node.name);
    }
    assert_eq!(members(&cluster), before);
    assert_eq!(cluster.claims(), claims);
    wait_alone(&cluster, address, "n1");
}
