//! Edits of the configuration while Services live on it: what is right takes effect at once, what is wrong changes nothing.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures real time, for people")]

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::Instant;

use serde_json::json;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::seen::service;
use crate::support::seen::services;

fn names() -> Vec<String> {
    ["one", "two", "three"].map(str::to_owned).into()
}

fn owner(cluster: &Cluster, address: &str) -> Option<String> {
    cluster.client.owner_of(address.parse::<IpAddr>().expect("an address"))
}

fn reachable(cluster: &Cluster, address: &str) -> bool {
    cluster.client.http(&format!("http://{address}/")).is_ok_and(|body| body.starts_with("pod=web-"))
}

/// Waits until an edit has its effect, and prints how long that took, the tools included.
#[track_caller]
fn within_five_seconds(cluster: &Cluster, what: &str, begun: Instant, holds: impl FnMut() -> bool) {
    cluster.wait_until(5, what, holds);
    println!("{what}: {:.2} s after the edit began", begun.elapsed().as_secs_f64());
}

/// No address moved and all of them answer.
#[track_caller]
fn assert_untouched(cluster: &Cluster, owned: &BTreeMap<String, Option<String>>) {
    for (address, node) in owned {
        assert_eq!(&owner(cluster, address), node, "{address}");
        assert!(reachable(cluster, address), "{address}");
    }
}

#[track_caller]
fn owned(cluster: &Cluster) -> BTreeMap<String, Option<String>> {
    cluster.addresses().into_values().flatten().map(|address| (address.clone(), owner(cluster, &address))).collect()
}

/// The memory of an agent goes with its Pod.
fn forget(cluster: &Cluster, node: &str) {
    fs::remove_dir_all(cluster.path(&format!("agent/{node}/run/lanlord"))).expect("it is there");
}

#[test]
fn edits_of_the_configmap_take_effect_at_once_and_broken_ones_not_at_all() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    // Without any configuration a Service is told what to do.
    cluster.create(&services(&names()[..1]));
    cluster.agents_start();
    cluster.wait_until(10, "what to configure is told", || cluster.told("one", &["AllocationFailed", "kubectl create configmap"]));
    let begun = Instant::now();
    cluster.configure("addresses", "10.77.0.240-10.77.0.241");
    within_five_seconds(&cluster, "a first configuration serves who waited", begun, || {
        cluster.address("one").as_deref() == Some("10.77.0.240")
    });
    // One after the other: of two that are created in the same second either may be first.
    cluster.create(&services(&names()[1..2]));
    cluster.wait_until(10, "the pool has one for the second", || cluster.address("two").is_some());
    cluster.create(&services(&names()[2..]));
    cluster.wait_until(10, "the pool is too small for the third", || cluster.told("three", &["AllocationFailed", "are taken"]));

    // A grown pool serves who waits.
    let begun = Instant::now();
    cluster.configure("addresses", "10.77.0.240-10.77.0.242");
    within_five_seconds(&cluster, "a grown pool serves who waited", begun, || cluster.addresses().len() == 3);
    let told = |words: &[&str]| {
        let events = cluster.events("lanlord", "ConfigMap", "lanlord");
        events.lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    cluster.wait_until(10, "the edit is confirmed", || told(&["Normal ConfigLoaded", "10.77.0.240-10.77.0.242"]));
    cluster.wait_until(10, "all are reachable", || cluster.addresses().values().flatten().all(|address| reachable(&cluster, address)));

    // A broken edit is told with its place, and nothing changes.
    let before = (cluster.addresses(), owned(&cluster));
    let broken = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: default}\nspec:\n  adresses: [10.77.0.250/32]\n";
    let begun = Instant::now();
    cluster.configure("pools.yaml", broken);
    within_five_seconds(&cluster, "a rejected edit is told with line and column", begun, || {
        let events = cluster.events("lanlord", "ConfigMap", "lanlord");
        events.contains("Warning ConfigRejected")
            && events.contains("key pools.yaml, line 5, column 3")
            && events.contains("did you mean `addresses`?")
    });
    let described = cluster.kubectl(&["describe", "configmap", "lanlord", "-n", "lanlord"]);
    assert!(described.contains("ConfigRejected") && described.contains("last good configuration stays in force"), "{described}");
    assert_eq!(cluster.addresses(), before.0);
    assert_untouched(&cluster, &before.1);
    // Nor does it go with its ConfigMap.
    cluster.kubectl(&["delete", "configmap", "lanlord", "-n", "lanlord"]);
    cluster.wait_until(5, "its end is seen", || cluster.node("n1").log().contains("it is gone, and the last configuration stays in force"));
    assert_eq!(cluster.addresses(), before.0);
    assert_untouched(&cluster, &before.1);
    // Nor with its container: what was good is remembered.
    cluster.configure("pools.yaml", broken);
    cluster.node("n1").agent_kill();
    cluster.node("n1").agent_start("configmap:lanlord/lanlord");
    cluster.wait_until(20, "it takes part again", || cluster.leader().is_some());
    assert_untouched(&cluster, &before.1);
    // An agent of a new Pod has no configuration at all: the others take over what it cannot announce.
    cluster.node("n1").agent_kill();
    forget(&cluster, "n1");
    cluster.node("n1").agent_start("configmap:lanlord/lanlord");
    cluster.wait_until(10, "all addresses answer from n2 and n3", || {
        owned(&cluster).values().all(|owner| owner.as_deref().is_some_and(|owner| owner != "n1"))
    });
    assert_eq!(cluster.addresses(), before.0);

    // A shrunk pool moves who loses an address, and says why.
    let begun = Instant::now();
    cluster.configure("addresses", "10.77.0.241-10.77.0.243");
    within_five_seconds(&cluster, "a shrunk pool gives another address", begun, || {
        cluster.address("one").as_deref() == Some("10.77.0.243")
    });
    cluster.wait_until(5, "why it moved is told", || {
        cluster.told("one", &["ClearAssignment", "10.77.0.240 is released: it is in no pool any more"])
            && cluster.told("one", &["IPAllocated", "assigned 10.77.0.243"])
    });
    cluster.wait_until(5, "the new address answers and the old one does not", || {
        reachable(&cluster, "10.77.0.243") && owner(&cluster, "10.77.0.240").is_none()
    });
    for stays in ["two", "three"] {
        assert_eq!(cluster.addresses()[stays], before.0[stays]);
    }
    assert!(!cluster.claims().contains_key("10.77.0.240"), "what is in no pool is not remembered");

    // Agents that all start on a broken configuration have nobody who knows better: one leads all the same and tells.
    let rejected = || cluster.events("lanlord", "ConfigMap", "lanlord").matches("ConfigRejected").count();
    for node in cluster.nodes() {
        node.agent_kill();
        forget(&cluster, node.name);
    }
    cluster.configure("pools.yaml", broken);
    let told_before = rejected();
    cluster.agents_start();
    cluster.wait_until(20, "the broken configuration is told", || rejected() > told_before);
}

#[test]
fn a_file_is_followed_when_it_is_edited_in_place_and_when_it_is_replaced() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    let file = cluster.path("lanlord.yaml");
    let write = |text: &str| fs::write(&file, text).expect("its directory is there");
    write("addresses: 10.77.0.240\n");
    for node in cluster.nodes() {
        node.agent_start(&file.to_string_lossy());
    }
    cluster.create(&services(&names()[..1]));
    cluster.wait_until(20, "the file's address", || cluster.address("one").as_deref() == Some("10.77.0.240"));

    let begun = Instant::now();
    write("addresses: 10.77.0.241\n");
    within_five_seconds(&cluster, "a file edited in place", begun, || cluster.address("one").as_deref() == Some("10.77.0.241"));

    let new = cluster.path("lanlord.yaml.new");
    fs::write(&new, "addresses: 10.77.0.242\n").expect("its directory is there");
    let begun = Instant::now();
    fs::rename(&new, &file).expect("one file system");
    within_five_seconds(&cluster, "a file replaced by another", begun, || cluster.address("one").as_deref() == Some("10.77.0.242"));

    let before = cluster.node("n2").log().len();
    write("addresses: 10.77.0.250-10.77.0.240\n");
    cluster.wait_until(5, "a broken edit is told with its place", || {
        cluster.node("n2").log()[before..].lines().any(|line| line.contains("configuration rejected") && line.contains("lanlord.yaml:1:12"))
    });
    cluster.wait_until(5, "it is announced", || reachable(&cluster, "10.77.0.242"));
    assert_eq!(cluster.address("one").as_deref(), Some("10.77.0.242"), "nothing else happened");

    write("addresses: 10.77.0.242-10.77.0.243\n");
    cluster.create(&service("two", &json!({}), &json!({})));
    cluster.wait_until(5, "a good edit after a broken one", || cluster.address("two").as_deref() == Some("10.77.0.243"));
}
