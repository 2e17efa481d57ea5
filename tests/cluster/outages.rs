//! The API server hangs, dies, or is out of one node's reach: what is announced stays announced, also by agents that are killed and
//! started again meanwhile. When it is back nothing moves, and hardly anything is written.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures real time, for people")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use lanlord::api::Api;
use lanlord::api::WriteError;
use lanlord::facts::Member;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::seen::items;
use crate::support::seen::name;
use crate::support::seen::services;

const CONFIG: &str = "configmap:lanlord/lanlord";

/// Six Services, two on each node. Nodes are given time: a controller that could not hear any kubelet for longer than this says
/// that no Pod is ready, and then nothing serves.
fn six_services() -> Cluster {
    let cluster = Cluster::start(&Options { grace: 60, ..Options::default() });
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.configure("addresses", "10.77.0.240-10.77.0.249");
    cluster.agents_start();
    cluster.create(&services(&(1..=6).map(|i| format!("web-{i}")).collect::<Vec<_>>()));
    cluster.wait_until(10, "six Services have an address", || cluster.addresses().len() == 6);
    let addresses = addresses(&cluster);
    cluster.wait_until(10, "every address is announced", || owners(&cluster, &addresses).values().all(Option::is_some));
    cluster
}

fn addresses(cluster: &Cluster) -> Vec<IpAddr> {
    cluster.addresses().into_values().flatten().map(|address| address.parse().expect("an address")).collect()
}

/// Who answers the client's question for each address.
fn owners(cluster: &Cluster, addresses: &[IpAddr]) -> BTreeMap<IpAddr, Option<String>> {
    addresses.iter().map(|address| (*address, cluster.client.owner_of(*address))).collect()
}

/// The version of each Lease and each Service.
fn versions(cluster: &Cluster) -> BTreeMap<String, String> {
    let lists = [cluster.json(&["get", "leases", "-n", "lanlord"]), cluster.json(&["get", "services"])];
    let version = |object| (name(object), object["metadata"]["resourceVersion"].to_string());
    lists.iter().flat_map(items).map(version).collect()
}

/// How often all agents have said this.
fn told(cluster: &Cluster, words: &str) -> usize {
    cluster.nodes().map(|node| node.log().matches(words).count()).sum()
}

/// Successful writes of all agents since each was started.
fn writes(cluster: &Cluster) -> f64 {
    let pages = cluster.nodes().map(|node| node.metrics().expect("its metrics"));
    let ok = |line: &str| line.starts_with("lanlord_api_writes_total{") && line.contains("\"ok\"");
    let count = |line: &str| line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok()).expect("a count");
    pages.map(|page| page.lines().filter(|line| ok(line)).map(count).sum::<f64>()).sum()
}

/// How long until the condition holds, asked a hundred times a second.
#[track_caller]
fn time(cluster: &Cluster, limit: u64, what: &str, mut holds: impl FnMut() -> bool) -> f64 {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(limit) {
        if holds() {
            return begun.elapsed().as_secs_f64();
        }
        thread::sleep(Duration::from_millis(10));
    }
    cluster.wait_until(0, what, || false);
    unreachable!("it panics")
}

const UNREACHABLE: &str = "API server unreachable";
const REACHABLE: &str = "API server reachable";

/// An outage with restarts of agents in it; what it was like for the LAN, and the way back.
fn survives(cluster: &Cluster, begin: &str, end: &str) {
    let addresses = addresses(cluster);
    let (owned, seen, before) = (owners(cluster, &addresses), cluster.addresses(), versions(cluster));
    let (lost, moved) = (told(cluster, UNREACHABLE), told(cluster, "msg=\"owner recorded\""));
    cluster.control_plane(begin);
    let noticed = time(cluster, 10, "all agents notice", || told(cluster, UNREACHABLE) == lost + 3);
    assert!(noticed < 8.0, "{noticed:.2} s");
    assert_eq!(owners(cluster, &addresses), owned, "{begin}: while nobody answers");

    let node = cluster.node("n1");
    node.agent_kill();
    node.agent_start(CONFIG);
    let one = time(cluster, 10, "the one that was killed announces again", || owners(cluster, &addresses) == owned);
    for node in cluster.nodes() {
        node.agent_kill();
    }
    assert!(owners(cluster, &addresses).values().all(Option::is_none), "the dead do not answer");
    for node in cluster.nodes() {
        node.agent_start(CONFIG);
    }
    let all = time(cluster, 10, "all that were killed announce again", || owners(cluster, &addresses) == owned);
    for address in &addresses {
        assert!(cluster.client.http(&format!("http://{address}/")).is_ok_and(|body| body.starts_with("pod=web-")), "{address}");
    }

    let found = told(cluster, REACHABLE);
    cluster.control_plane(end);
    let back = time(cluster, 10, "all agents notice the end", || told(cluster, REACHABLE) >= found + 3);
    cluster.wait_until(10, "all are members and one leads", || cluster.leader().is_some());
    println!(
        "{begin}: noticed after {noticed:.2} s; one agent killed and started announced again after {one:.2} s, all after {all:.2} s; \
         {end} noticed after {back:.2} s"
    );
    // Whatever an agent might do wrong after an outage it does before it has gone through this.
    cluster.load_balancer("late", "");
    cluster.wait_until(10, "a new Service gets an address", || cluster.address("late").is_some());
    cluster.kubectl(&["delete", "service", "late"]);
    cluster.wait_until(10, "the Service is gone", || cluster.addresses() == seen);
    assert_eq!(owners(cluster, &addresses), owned, "{end}: afterwards");
    assert_eq!(told(cluster, "msg=\"owner recorded\""), moved, "nothing moved");
    let after = versions(cluster);
    let changed: Vec<_> = before.iter().filter(|(name, version)| after.get(*name) != Some(version)).map(|(name, _)| &**name).collect();
    println!("{} writes since; of what was there before, changed: {changed:?}", writes(cluster));
    let late = |name: &str| name.starts_with("ip.") && !addresses.iter().any(|address| name == format!("ip.{address}"));
    assert!(changed.iter().all(|name| *name == "leader" || name.starts_with("node.") || late(name)), "{changed:?}");
    assert!(writes(cluster) < 30.0, "three members joined, one leads, one Service came and went: {} writes", writes(cluster));
}

#[test]
fn everything_stays_announced_while_the_api_server_hangs_or_is_dead_and_agents_are_killed() {
    let cluster = six_services();
    survives(&cluster, "pause", "resume");
    survives(&cluster, "kill", "start");
}

#[test]
fn a_node_that_alone_loses_the_api_server_keeps_what_it_has_and_hears_of_changes_as_soon_as_it_is_back() {
    let cluster = six_services();
    let addresses = addresses(&cluster);
    let owned = owners(&cluster, &addresses);
    let leader = cluster.leader().expect("somebody leads");
    let node = cluster.nodes().find(|node| !leader.starts_with(node.name)).expect("three nodes");
    let (lost, found) = (|| node.log().matches(UNREACHABLE).count(), || node.log().matches(REACHABLE).count());
    let (lost_before, found_before) = (lost(), found());
    node.api("cut");
    let noticed = time(&cluster, 10, "the node notices", || lost() > lost_before);
    assert_eq!(owners(&cluster, &addresses), owned);

    // What only a current Snapshot can tell: its own Services are gone.
    let seen = cluster.addresses();
    let mine = |address: &String| owned[&address.parse::<IpAddr>().expect("an address")].as_deref() == Some(node.name);
    let gone: Vec<&str> = seen.iter().filter(|(_, of)| of.iter().any(mine)).map(|(name, _)| &**name).collect();
    assert_eq!(gone.len(), 2, "{owned:?}");
    cluster.kubectl(&[&["delete", "service"], gone.as_slice()].concat());
    assert_eq!(owners(&cluster, &addresses), owned, "it has not heard of it");
    let withdrawn = || node.log().matches("msg=withdrawn").count();
    let before = withdrawn();
    node.api("heal");
    let back = time(&cluster, 10, "the node notices the end", || found() > found_before);
    let current = time(&cluster, 5, "it withdraws both", || withdrawn() == before + 2);
    println!("cut off: noticed after {noticed:.2} s, its end after {back:.2} s; {current:.2} s later the Snapshot was current");
    assert!(back < 5.0 && current < 5.0, "{back:.2} s, {current:.2} s");
}

/// Runs `task` in a network namespace.
fn inside<T: Send>(namespace: &str, task: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            let namespace = File::open(format!("/run/netns/{namespace}")).expect("it exists");
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("we are root");
            task()
        });
        entered.join().expect("it does not panic")
    })
}

#[test]
fn an_agent_may_evict_another_and_the_lease_stays_with_its_node() {
    let cluster = six_services();
    let lease = |of: &str| cluster.json(&["get", "lease", "-n", "lanlord", of]);
    let (node, before) = (cluster.node("n2"), lease("node.n2"));
    node.agent_pause();
    let version = before["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    let seen = Member { node: "n2".into(), resource_version: version, ..Member::default() };
    let kubeconfig = cluster.path("agent/n1/kubeconfig");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (suspected, late, cleared) = inside(&cluster.namespace("n1"), || {
        runtime.block_on(async {
            let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).expect("the agent's own");
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.expect("a configuration");
            let api = Api::new(vec![config], "lanlord").expect("a way");
            let suspected = api.suspect(&seen, "n1/abcd").await.expect("it is allowed");
            (suspected.clone(), api.clear(&seen).await, api.clear(&suspected).await.expect("it is allowed"))
        })
    });
    assert_eq!((suspected.suspect.as_deref(), suspected.instance.is_some()), (Some("n1/abcd"), true));
    assert_eq!(late, Err(WriteError::Conflict), "with the version of before");
    assert_eq!((cleared.suspect, cleared.instance, cleared.generation), (None, None, suspected.generation));
    assert_eq!(cleared.links, suspected.links);
    let after = lease("node.n2");
    assert_eq!(after["metadata"]["ownerReferences"], before["metadata"]["ownerReferences"]);
    assert_eq!(after["spec"]["leaseTransitions"], before["spec"]["leaseTransitions"]);
    node.agent_resume();
    cluster.wait_until(10, "it joins again", || cluster.leader().is_some());
}

/// What k3s has on each node: 127.0.0.1:6444 leads to a living API server.
struct Balancer {
    listener: TcpListener,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Balancer {
    fn start(namespace: &str) -> Balancer {
        let listener = inside(namespace, || TcpListener::bind("127.0.0.1:6444").expect("nobody else listens"));
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (accepting, all, namespace) = (listener.try_clone().expect("a copy"), streams.clone(), namespace.to_owned());
        thread::spawn(move || {
            while let Ok((near, _)) = accepting.accept() {
                let Ok(far) = inside(&namespace, || TcpStream::connect("10.77.0.2:6443")) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
                    all.lock().expect("nobody panics").push(from.try_clone().expect("a copy"));
                    thread::spawn(move || {
                        // One end going away ends both.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Balancer { listener, streams }
    }

    fn used(&self) -> usize {
        self.streams.lock().expect("nobody panics").len()
    }

    fn kill(&self) {
        use std::os::fd::AsRawFd;
        nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both).expect("it listens");
        for stream in self.streams.lock().expect("nobody panics").iter() {
            // Some have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn on_k3s_the_balancer_of_the_node_is_asked_and_when_it_dies_the_service_kubernetes_takes_over() {
    let cluster = Cluster::start(&Options { nodes: 1, ..Options::default() });
    cluster.backend("web", &["n1"]);
    cluster.configure("addresses", "10.77.0.240");
    let balancer = Balancer::start(&cluster.namespace("n1"));
    let node = cluster.node("n1");
    node.agent_start_in_cluster(CONFIG);
    cluster.load_balancer("web", "");
    cluster.wait_announced("web");
    assert!(balancer.used() > 0, "everything went through the balancer");
    let used = balancer.used();
    balancer.kill();
    cluster.kubectl(&["delete", "service", "web"]);
    cluster.wait_until(10, "the agent hears of it over the Service", || node.log().contains("withdrawn"));
    assert!(!node.log().contains(UNREACHABLE), "no outage");
    assert_eq!(balancer.used(), used);
}
