//! The examples in manifests/examples: each is applied, with the addresses of this LAN, and does what its comments say.

use std::fs;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::seen::ingress;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Applies an example; there, the LAN is 192.168.1.0/24.
#[track_caller]
fn apply(cluster: &Cluster, name: &str) {
    let text = fs::read_to_string(format!("{ROOT}/manifests/examples/{name}.yaml")).expect("an example");
    cluster.apply(&text.replace("192.168.1.", "10.77.0."));
}

fn address(cluster: &Cluster, namespace: &str, service: &str) -> Vec<String> {
    ingress(&cluster.json(&["get", "service", service, "-n", namespace]))
}

#[test]
fn each_example_does_what_it_says() {
    let cluster = Cluster::start(&Options { nodes: 2, ..Options::default() });
    cluster.configure("addresses", "10.77.0.240-10.77.0.250,fd77::f0-fd77::ff");
    cluster.agents_start();
    apply(&cluster, "ingress-fixed-address");
    cluster.wait_until(10, "the ingress has its address", || {
        address(&cluster, "ingress-nginx", "ingress-nginx-controller") == ["10.77.0.240"]
    });
    apply(&cluster, "shared-address");
    for service in ["pihole-dns", "pihole-web"] {
        cluster.wait_announced(service);
    }
    for example in ["nginx", "dual-stack", "game-server"] {
        apply(&cluster, example);
    }
    cluster.wait_announced("nginx");
    let nginx = address(&cluster, "default", "nginx").swap_remove(0);
    cluster.wait_until(20, "nginx answers", || cluster.client.http(&format!("http://{nginx}/")).is_ok());
    for service in ["both", "minetest"] {
        cluster.wait_announced(service);
    }
    for service in ["pihole-dns", "pihole-web"] {
        assert_eq!(address(&cluster, "default", service), ["10.77.0.241"]);
    }
    let both = address(&cluster, "default", "both");
    assert!(both.len() == 2 && both[0].starts_with("10.77.0.") && both[1].starts_with("fd77::"), "{both:?}");
    let node = ["get", "pods", "-l", "app=minetest", "-o", "jsonpath={.items[0].spec.nodeName}"];
    assert_eq!(cluster.announcer("minetest"), Some(cluster.kubectl(&node)), "the node where the pod runs");

    apply(&cluster, "pool-per-namespace");
    for (namespace, pool) in [("media", "10.77.0.22"), ("games", "10.77.0.23"), ("office", "10.77.0.2")] {
        cluster.kubectl(&["create", "namespace", namespace]);
        cluster.kubectl(&["create", "service", "loadbalancer", "any", "--tcp=80", "-n", namespace]);
        let given = || address(&cluster, namespace, "any").first().is_some_and(|given| given.starts_with(pool));
        cluster.wait_until(10, &format!("a Service in {namespace} has an address of its pool"), given);
    }
    assert!(address(&cluster, "office", "any")[0].as_str() >= "10.77.0.240");
    let count = fs::read_dir(format!("{ROOT}/manifests/examples")).expect("the examples").count();
    assert_eq!(count, 6, "every example is applied here");
}
