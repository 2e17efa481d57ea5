//! Which Service gets which address, as people see it: in bulk, by name, by pool, by class, and who is left alone.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures real time, for people")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::seen::ingress;
use crate::support::seen::items;
use crate::support::seen::list;
use crate::support::seen::name;
use crate::support::seen::service;
use crate::support::seen::services;

/// Writes the API server has carried out since it started, by verb and resource.
fn writes(cluster: &Cluster) -> BTreeMap<String, u64> {
    let mut writes = BTreeMap::new();
    for line in cluster.kubectl(&["get", "--raw", "/metrics"]).lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        if ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&label("verb")) && label("code").starts_with('2') {
            let count: f64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number ends the line");
            let resource = [label("resource"), label("subresource")].join("/");
            *writes.entry(format!("{} {}", label("verb"), resource.trim_end_matches('/'))).or_default() += count as u64;
        }
    }
    writes
}

/// What was written between the two.
fn between(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    after.iter().map(|(key, count)| (key.clone(), count - before.get(key).unwrap_or(&0))).filter(|(_, count)| *count > 0).collect()
}

/// Of these, the writes to one resource.
fn to(writes: &BTreeMap<String, u64>, resource: &str) -> u64 {
    writes.iter().filter(|(key, _)| key.split(' ').nth(1) == Some(resource)).map(|(_, count)| count).sum()
}

/// The versions of our Leases, but for the leader's, and of the Services.
fn versions(cluster: &Cluster) -> BTreeMap<String, Value> {
    let (leases, services) = (cluster.json(&["get", "leases", "-n", "lanlord"]), cluster.json(&["get", "services"]));
    let all = items(&leases).filter(|lease| name(lease) != "leader").chain(items(&services));
    all.map(|object| (name(object), object["metadata"]["resourceVersion"].clone())).collect()
}

const MANY: usize = 1000;

#[test]
fn a_thousand_services_get_different_addresses_and_the_same_ones_again_with_few_writes() {
    // Heartbeats of nodes would disturb the counts.
    let cluster = Cluster::start(&Options { grace: 900, ..Options::default() });
    cluster.backend("web", &["n1"]);
    let pools = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: many}\nspec: {addresses: [10.78.0.0/20]}\n---\n\
                 apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: many}\nspec: {interfaces: [eth0]}\n";
    cluster.configure("pools.yaml", pools);
    cluster.agents_start();
    let names: Vec<String> = (0..MANY).map(|i| format!("many-{i}")).collect();
    let (before, begun) = (writes(&cluster), Instant::now());
    create_at_once(&cluster, &names);
    let created = begun.elapsed();
    cluster.wait_until(180, "all have an address", || cluster.addresses().len() == MANY);
    println!("{MANY} Services: created in {:.1} s, all had an address after {:.1} s", created.as_secs_f64(), begun.elapsed().as_secs_f64());
    let addresses = cluster.addresses();
    let different: BTreeSet<&String> = addresses.values().flatten().collect();
    assert_eq!(different.len(), MANY);
    quiet(&cluster);
    let written = between(&before, &writes(&cluster));
    println!("for {MANY} Services: {written:?}");
    let per_service = |resource: &str| to(&written, resource) as f64 / MANY as f64;
    // One Lease each, and a few renewals of the leader's; a second status for Services whose endpoints were seen later than they.
    assert!(per_service("leases") <= 1.05, "{written:?}");
    assert!(per_service("services/status") <= 2.0, "{written:?}");
    assert!((1.0..=2.0).contains(&per_service("events")), "{written:?}");

    let (before, begun) = (versions(&cluster), Instant::now());
    let counted = writes(&cluster);
    thread::sleep(Duration::from_secs(30));
    let written = between(&counted, &writes(&cluster));
    println!("at rest {written:?} in {:.0} s", begun.elapsed().as_secs_f64());
    assert_eq!(versions(&cluster), before);
    assert_eq!(to(&written, "services/status") + to(&written, "events"), 0, "{written:?}");
    // The leader renews every 10 s; nodes every 112 s.
    assert!(to(&written, "leases") <= 4 + 3, "{written:?}");

    let begun = Instant::now();
    cluster.kubectl(&["delete", "services", "--wait=false", "--field-selector", "spec.type=LoadBalancer"]);
    cluster.wait_until(180, "all are given back", || cluster.claims().values().all(|claim| claim.holder.is_none()));
    println!("deleted and given back after {:.1} s", begun.elapsed().as_secs_f64());
    let reversed: Vec<String> = names.iter().rev().cloned().collect();
    create_at_once(&cluster, &reversed);
    cluster.wait_until(180, "all have an address again", || cluster.addresses().len() == MANY);
    assert!(cluster.addresses() == addresses, "each has what it had");
}

/// As fast as the API server takes them: by four lists side by side.
fn create_at_once(cluster: &Cluster, names: &[String]) {
    thread::scope(|scope| {
        for part in names.chunks(names.len().div_ceil(4)) {
            scope.spawn(move || {
                let file = cluster.path(&format!("{}.json", part[0]));
                std::fs::write(&file, services(part).to_string()).expect("its directory is there");
                cluster.kubectl(&["create", "-f", &file.to_string_lossy()]);
            });
        }
    });
}

/// Waits until nothing is written any more but the leader's Lease.
fn quiet(cluster: &Cluster) {
    let mut last = BTreeMap::new();
    cluster.wait_until(60, "nothing more is written", || {
        thread::sleep(Duration::from_secs(1));
        let now = writes(cluster);
        let rests = to(&between(&last, &now), "events") == 0 && to(&between(&last, &now), "services/status") == 0;
        last = now;
        rests
    });
}

const POOLS: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: main}
spec: {addresses: [10.77.0.220-10.77.0.229, 'fd77::220-fd77::229']}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: special}
spec: {addresses: [10.77.0.230-10.77.0.231, 10.77.0.11/32], autoAssign: false}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all}
";

fn annotated(name: &str, annotation: &str, value: &str) -> Value {
    service(name, &json!({}), &json!({ annotation: value }))
}

fn status(cluster: &Cluster, service: &str, address: &str) {
    let patch = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}).to_string();
    cluster.kubectl(&["patch", "service", service, "--subresource=status", "--type=merge", "-p", &patch]);
}

#[test]
fn wishes_classes_and_what_others_wrote_are_respected() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    // What another load balancer left behind, and what is none of ours.
    let other = json!({"loadBalancerClass": "example.com/other"});
    cluster.create(&list(&[
        service("adopted", &json!({}), &json!({})),
        service("elsewhere", &json!({}), &json!({})),
        service("other-class", &other, &json!({})),
        annotated("ignored", "lanlord.dev/ignore", "true"),
    ]));
    status(&cluster, "adopted", "10.77.0.225");
    status(&cluster, "elsewhere", "192.0.2.7");
    status(&cluster, "other-class", "10.77.0.220");
    status(&cluster, "ignored", "192.0.2.8");
    let untouched = || ["other-class", "ignored"].map(|name| cluster.json(&["get", "service", name]));
    let before = untouched();
    cluster.configure("pools.yaml", POOLS);
    cluster.agents_start();
    cluster
        .wait_until(10, "what MetalLB assigned is kept", || cluster.told("adopted", &["IPAllocated", "kept 10.77.0.225 from pool main"]));
    cluster.wait_until(10, "an address of no pool is replaced", || {
        cluster.address("elsewhere").is_some_and(|address| address.starts_with("10.77.0.22"))
    });
    assert_eq!(cluster.address("adopted").as_deref(), Some("10.77.0.225"));
    cluster.kubectl(&["delete", "service", "elsewhere"]);

    // Every spelling of a wish.
    let (dual, by_name) = (json!({"ipFamilyPolicy": "RequireDualStack"}), "metallb.universe.tf/loadBalancerIPs");
    cluster.create(&list(&[
        service("by-field", &json!({"loadBalancerIP": "10.77.0.221"}), &json!({})),
        annotated("by-universe", by_name, "10.77.0.222"),
        annotated("by-metallb", "metallb.io/loadBalancerIPs", "10.77.0.223"),
        annotated("by-lanlord", "lanlord.dev/loadBalancerIPs", "10.77.0.224"),
        annotated("by-kube-vip", "kube-vip.io/loadbalancerIPs", "10.77.0.226"),
        service("by-both", &dual, &json!({by_name: "10.77.0.227,fd77::227"})),
        annotated("two-of-one", by_name, "10.77.0.229,10.77.0.228"),
        annotated("pool-universe", "metallb.universe.tf/address-pool", "special"),
        service("own-class", &json!({"loadBalancerClass": "lanlord.dev/lb"}), &json!({"lanlord.dev/address-pool": "special"})),
    ]));
    let expected = [
        ("by-field", vec!["10.77.0.221"]),
        ("by-universe", vec!["10.77.0.222"]),
        ("by-metallb", vec!["10.77.0.223"]),
        ("by-lanlord", vec!["10.77.0.224"]),
        ("by-kube-vip", vec!["10.77.0.226"]),
        ("by-both", vec!["10.77.0.227", "fd77::227"]),
        ("two-of-one", vec!["10.77.0.229", "10.77.0.228"]),
    ];
    cluster.wait_until(10, "wishes come true", || {
        let addresses = cluster.addresses();
        let special = |name: &str| addresses.get(name).is_some_and(|addresses| addresses[0].starts_with("10.77.0.23"));
        expected.iter().all(|(name, wish)| addresses.get(*name).is_some_and(|addresses| addresses == wish))
            && special("pool-universe")
            && special("own-class")
    });
    for address in ["10.77.0.221", "10.77.0.230", "10.77.0.231", "[fd77::227]"] {
        cluster.wait_until(10, &format!("{address} answers"), || cluster.client.http(&format!("http://{address}/")).is_ok());
    }

    // Refused wishes say why; nothing else is given in their place.
    let refused = [
        ("no-address", by_name, "here", "\"here\" in annotation loadBalancerIPs is not an IP address"),
        ("in-no-pool", by_name, "10.77.0.99", "10.77.0.99 was asked for, but is in no pool"),
        ("taken", by_name, "10.77.0.221", "belongs to Service default/by-field"),
        ("other-family", by_name, "fd77::228", "the Service has no IPv6 cluster IP"),
        ("no-such-pool", "metallb.io/address-pool", "gold", "pool gold was asked for, but there is only main, special"),
        ("pool-full", "metallb.io/address-pool", "special", "all IPv4 addresses of special are taken"),
        ("a-node", "lanlord.dev/loadBalancerIPs", "10.77.0.11", "10.77.0.11 was asked for, but"),
    ];
    let contradictory = service("contradictory", &json!({"loadBalancerIP": "10.77.0.228"}), &json!({by_name: "10.77.0.229"}));
    let wishes = refused.iter().map(|(name, annotation, value, _)| annotated(name, annotation, value));
    cluster.create(&list(&wishes.chain([contradictory]).collect::<Vec<_>>()));
    for (name, _, _, why) in refused.into_iter().chain([("contradictory", "", "", "ask for different addresses; remove one of them")]) {
        cluster.wait_until(10, &format!("{name} is told {why}"), || cluster.told(name, &["Warning AllocationFailed", why]));
        assert_eq!(cluster.address(name), None, "{name}");
        cluster.kubectl(&["delete", "service", name]);
    }

    // 220, 228 and 229 are free then: the fourth has to wait until one stops being a LoadBalancer.
    cluster.kubectl(&["delete", "service", "two-of-one"]);
    let auto: Vec<String> = (1..=4).map(|i| format!("auto-{i}")).collect();
    cluster.create(&services(&auto[..3]));
    cluster.wait_until(10, "three are served", || auto[..3].iter().all(|name| cluster.address(name).is_some()));
    cluster.create(&services(&auto[3..]));
    cluster.wait_until(10, "the fourth waits", || cluster.told("auto-4", &["AllocationFailed", "all IPv4 addresses of main are taken"]));
    let freed = cluster.address("auto-2");
    cluster.kubectl(&["patch", "service", "auto-2", "-p", r#"{"spec":{"type":"ClusterIP"}}"#]);
    cluster.wait_until(10, "the next one gets it", || cluster.address("auto-4") == freed);
    assert_eq!(cluster.address("auto-2"), None);

    // A wiped status is written back, and told once.
    let wiped = r#"{"status":{"loadBalancer":null}}"#;
    cluster.kubectl(&["patch", "service", "by-field", "--subresource=status", "--type=merge", "-p", wiped]);
    cluster.wait_until(10, "the status is written back", || cluster.address("by-field").as_deref() == Some("10.77.0.221"));
    cluster.wait_until(10, "that is told", || cluster.told("by-field", &["Warning StatusOverwritten", "10.77.0.221"]));
    assert_eq!(cluster.events("default", "Service", "by-field").matches("StatusOverwritten").count(), 1);

    // Who overwrites one is known by the API server's managed fields.
    let other = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"10.9.9.9"}]}}}"#;
    let by = "--field-manager=cloud-provider-kind";
    cluster.kubectl(&["patch", "service", "auto-1", "--subresource=status", "--type=merge", by, "-p", other]);
    cluster.wait_until(10, "the other is named", || {
        cluster.told("auto-1", &["Warning StatusOverwritten", "cloud-provider-kind changed the status to 10.9.9.9", "written back"])
    });

    assert_eq!(untouched(), before, "not even a condition");
    for name in ["other-class", "ignored"] {
        assert_eq!(cluster.events("default", "Service", name), "");
    }
    assert_eq!(ingress(&before[0]), ["10.77.0.220"], "it is in our pool and yet not ours");
}
