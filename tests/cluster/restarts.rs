//! Agents and control plane that die and come back: no Service loses its address or its owner, and no address is ever on two.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures real time, for people")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::place::Node;
use crate::support::seen::services;

const CONFIG: &str = "configmap:lanlord/lanlord";

fn names(kind: &str, count: usize) -> Vec<String> {
    (1..=count).map(|i| format!("{kind}-{i}")).collect()
}

/// Who answers the client's question for each address.
fn owners(cluster: &Cluster) -> BTreeMap<String, Option<String>> {
    let addresses = cluster.addresses().into_values().flatten();
    addresses.map(|address| (address.clone(), cluster.client.owner_of(address.parse::<IpAddr>().expect("an address")))).collect()
}

/// Lines of all agents about addresses that were given, taken or moved.
fn changes(cluster: &Cluster) -> Vec<String> {
    let logs: Vec<String> = cluster.nodes().map(|node| node.log()).collect();
    let told = ["msg=assigned", "msg=released", "msg=\"owner recorded\""];
    logs.iter().flat_map(|log| log.lines()).filter(|line| told.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
}

fn kill_all(cluster: &Cluster) {
    for node in cluster.nodes() {
        node.agent_kill();
    }
}

#[test]
fn every_service_keeps_address_and_owner_when_everything_is_killed_with_a_full_pool_and_one_pending() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.configure("addresses", "10.77.0.240-10.77.0.245");
    cluster.agents_start();
    cluster.create(&services(&names("web", 6)));
    cluster.wait_until(10, "six Services have an address", || cluster.addresses().len() == 6);
    cluster.create(&services(&names("late", 1)));
    cluster.wait_until(10, "the seventh is told that the pool is full", || cluster.told("late-1", &["AllocationFailed", "are taken"]));
    cluster.wait_until(10, "every address is announced", || owners(&cluster).values().all(Option::is_some));

    let (addresses, owned, changed) = (cluster.addresses(), owners(&cluster), changes(&cluster).len());
    let mut nodes: Vec<_> = owned.values().flatten().collect();
    nodes.sort();
    assert_eq!(nodes, ["n1", "n1", "n2", "n2", "n3", "n3"], "spread evenly: {owned:?}");
    let same = |when: &str| {
        cluster.wait_until(20, &format!("all answer again {when}"), || owners(&cluster).values().all(Option::is_some));
        assert_eq!(owners(&cluster), owned, "{when}");
        assert_eq!(cluster.addresses(), addresses, "{when}");
        assert_eq!(changes(&cluster)[changed..], [""; 0], "{when}");
    };

    let before = cluster.leader();
    kill_all(&cluster);
    assert!(owners(&cluster).values().all(Option::is_none), "the dead do not answer");
    cluster.agents_start();
    assert_ne!(cluster.leader(), before, "another instance leads");
    same("after all agents were killed");

    cluster.control_plane("stop");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        for (address, owner) in &owned {
            assert_eq!(cluster.client.owner_of(address.parse().expect("an address")), *owner, "{address} without a control plane");
            assert!(cluster.client.http(&format!("http://{address}/")).is_ok_and(|body| body.starts_with("pod=web-")), "{address}");
        }
    }
    cluster.control_plane("start");
    same("after the control plane was stopped and started");

    cluster.control_plane("stop");
    kill_all(&cluster);
    cluster.control_plane("start");
    cluster.agents_start();
    same("after everything was stopped and started");

    cluster.kubectl(&["delete", "service", "web-1"]);
    cluster
        .wait_until(20, "the one that waited gets what became free", || cluster.address("late-1") == addresses["web-1"].first().cloned());
}

/// Each address is on one Service at most, in status and Leases alike, and both agree.
fn assert_nothing_is_shared(cluster: &Cluster) {
    let mut holders = BTreeMap::new();
    for (service, addresses) in cluster.addresses() {
        for address in addresses {
            if let Some(other) = holders.insert(address.clone(), service.clone()) {
                panic!("{address} is on {service} and on {other}");
            }
        }
    }
    for (address, claim) in cluster.claims() {
        let holder = claim.holder.as_deref().and_then(|holder| holder.strip_prefix("default/")).map(str::to_owned);
        if let (Some(on), Some(held)) = (holders.get(&address), &holder) {
            assert_eq!(on, held, "status and Lease of {address}");
        }
    }
}

fn node_of<'a>(cluster: &'a Cluster, leader: &'a str) -> Node<'a> {
    cluster.node(leader.split_once('/').expect("node/instance").0)
}

/// Creates Services, and stops their leader as soon as it has assigned some of them. When that was.
fn pause_while_assigning<'a>(cluster: &Cluster, leader: Node<'a>, names: &[String]) -> Instant {
    let assigned = |log: &str| log.matches("msg=assigned").count();
    let before = assigned(&leader.log());
    thread::scope(|scope| {
        let creating = scope.spawn(|| cluster.create(&services(names)));
        cluster.wait_until(20, "the leader assigns", || assigned(&leader.log()) > before + 3);
        leader.agent_pause();
        let paused = Instant::now();
        let missing = names.len() - (assigned(&leader.log()) - before);
        assert!(missing > names.len() / 4, "only {missing} of {} were not assigned when the leader was stopped", names.len());
        creating.join().expect("kubectl");
        paused
    })
}

fn settled(cluster: &Cluster, names: &[String]) -> bool {
    let addresses = cluster.addresses();
    names.iter().all(|name| addresses.get(name).is_some_and(|addresses| addresses.len() == 1))
}

#[test]
fn two_leaders_never_put_one_address_on_two_services() {
    let cluster = Cluster::start(&Options::default());
    cluster.configure("addresses", "10.77.0.120-10.77.0.250");
    cluster.agents_start();
    let took = |log: &str| log.matches("took the Lease").count();

    // A silent leader whose node answers is given `restartHold` to come back, then it is replaced.
    let first = cluster.leader().expect("somebody leads");
    let leader = node_of(&cluster, &first);
    let early = names("early", 60);
    let terms = || cluster.nodes().map(|node| took(&node.log())).sum::<usize>();
    let before = terms();
    let paused = pause_while_assigning(&cluster, leader, &early);
    cluster.wait_until(60, "another leader", || terms() > before);
    let silent = paused.elapsed();
    println!("a leader that fell silent was replaced after {:.1} s", silent.as_secs_f64());
    assert!(silent > Duration::from_secs(4), "its node answered all the time: {silent:?}");
    cluster.wait_until(30, "the new leader finishes what the old one began", || settled(&cluster, &early));
    assert_nothing_is_shared(&cluster);
    let addresses = cluster.addresses();
    leader.agent_resume();
    cluster.wait_until(20, "the old leader knows that it leads no more", || leader.log().contains("leader=false"));
    assert_nothing_is_shared(&cluster);
    assert_eq!(cluster.addresses(), addresses, "nothing moved");
    cluster.wait_until(20, "the old leader is a member again", || cluster.leader().is_some());

    // One whose member Lease is gone is replaced at once, in the middle of its work.
    let second = cluster.leader().expect("somebody leads");
    let leader = node_of(&cluster, &second);
    let late = names("late", 60);
    pause_while_assigning(&cluster, leader, &late);
    let before: usize = cluster.nodes().map(|node| took(&node.log())).sum();
    let lost = Instant::now();
    cluster.kubectl(&["delete", "lease", "-n", "lanlord", &format!("node.{}", leader.name)]);
    cluster.wait_until(10, "another leader at once", || cluster.nodes().map(|node| took(&node.log())).sum::<usize>() > before);
    println!("a leader that was lost was replaced after {:.1} s", lost.elapsed().as_secs_f64());
    cluster.wait_until(30, "the new leader finishes", || settled(&cluster, &late));
    leader.agent_resume();
    cluster.wait_until(20, "all are members and one leads", || cluster.leader().is_some());
    assert_nothing_is_shared(&cluster);
    assert_eq!(cluster.addresses().len(), 120);
    assert_eq!(cluster.claims().values().filter(|claim| claim.holder.is_some()).count(), 120, "a Lease for each, and none left over");
}

#[test]
fn a_newer_instance_on_a_node_takes_over_in_place() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.configure("addresses", "10.77.0.240-10.77.0.245");
    cluster.agents_start();
    cluster.create(&services(&names("web", 6)));
    cluster.wait_until(10, "every address is announced", || {
        let owned = owners(&cluster);
        owned.len() == 6 && owned.values().all(Option::is_some)
    });
    let (addresses, owned, changed) = (cluster.addresses(), owners(&cluster), changes(&cluster).len());
    let leader = cluster.leader().expect("somebody leads");
    let node = node_of(&cluster, &leader);
    let mine = |address: &String| owned[address].as_deref() == Some(node.name);
    let own: Vec<&String> = owned.keys().filter(|address| mine(address)).collect();
    assert_eq!(own.len(), 2, "{owned:?}");

    node.agent_beside(CONFIG);
    let holder =
        || cluster.kubectl(&["get", "lease", "-n", "lanlord", &format!("node.{}", node.name), "-o", "jsonpath={.spec.holderIdentity}"]);
    cluster.wait_until(10, "the newer instance holds the node's Lease", || holder() != leader);
    cluster.wait_until(10, "the older one knows", || node.log().contains("a newer instance took the Lease"));
    let withdrawn = |log: &str| {
        own.iter().all(|address| log.lines().any(|line| line.contains("withdrawn") && line.contains(&format!("address={address}"))))
    };
    cluster.wait_until(10, "the older one is silent", || withdrawn(&node.log()));
    cluster.wait_until(10, "a living instance leads", || cluster.leader().is_some());
    assert_eq!(owners(&cluster), owned, "answered all the time");
    node.agent_succeed();
    assert_eq!(owners(&cluster), owned, "after the older one ended");
    assert_eq!(cluster.addresses(), addresses);
    assert_eq!(changes(&cluster)[changed..], [""; 0]);
    assert_eq!(holder(), holder());
    for address in owned.keys() {
        assert!(cluster.client.http(&format!("http://{address}/")).is_ok(), "{address}");
    }
}
