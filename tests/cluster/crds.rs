//! MetalLB's custom resources, live: our CRDs refuse what its webhooks refused, and what agents read of the objects takes effect at
//! once, each told of its own mistakes.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures real time, for people")]

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::Cluster;
use crate::support::Options;
use crate::support::place::lanlord;
use crate::support::seen::{service, services};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A cluster with the overlay `crds`: its CRDs, its rights.
pub(crate) fn cluster(options: &Options) -> Cluster {
    let cluster = Cluster::bare(options);
    cluster.kubectl(&["apply", "-k", &format!("{ROOT}/manifests/overlays/crds")]);
    established(&cluster);
    cluster.kubectl(&["create", "namespace", "metallb-system"]);
    cluster
}

#[track_caller]
fn established(cluster: &Cluster) {
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
}

/// Every agent with the arguments of the overlay's DaemonSet.
#[track_caller]
pub(crate) fn agents_start(cluster: &Cluster) {
    let daemon_set = cluster.json(&["get", "daemonset", "lanlord", "-n", "lanlord"]);
    let arguments = daemon_set["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("args").clone();
    let arguments: Vec<&str> = arguments.iter().map(|argument| argument.as_str().expect("a text")).collect();
    for node in cluster.nodes() {
        node.agent_command(&[&[&*lanlord()], &arguments[..]].concat(), &[]);
    }
    cluster.wait_until(20, "all agents are members and one of them leads", || cluster.leader().is_some());
}

/// One of MetalLB's custom resources.
pub(crate) fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    let metadata = json!({"name": name, "namespace": "metallb-system"});
    json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": metadata, "spec": spec})
}

#[track_caller]
fn pool(cluster: &Cluster, name: &str, range: &str) {
    cluster.apply(&object("IPAddressPool", name, &json!({"addresses": [range]})).to_string());
}

/// Waits until an edit has its effect, and prints how long that took, the tools included.
#[track_caller]
fn effective(cluster: &Cluster, what: &str, begun: Instant, holds: impl FnMut() -> bool) {
    cluster.wait_until(5, what, holds);
    println!("{what}: {:.2} s after the edit began", begun.elapsed().as_secs_f64());
}

/// Assigned and available IPv4 addresses, as the status of the pool says.
pub(crate) fn counters(cluster: &Cluster, name: &str) -> [i64; 2] {
    let pool = cluster.json(&["get", "ipaddresspool", name, "-n", "metallb-system"]);
    ["assignedIPv4", "availableIPv4"].map(|key| pool["status"][key].as_i64().unwrap_or(-1))
}

fn told(cluster: &Cluster, kind: &str, name: &str, words: &[&str]) -> bool {
    cluster.events("metallb-system", kind, name).lines().any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn custom_resources_take_effect_at_once_and_each_is_told_of_its_own_mistakes() {
    let cluster = cluster(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    agents_start(&cluster);
    cluster.create(&services(&["one", "two", "three"].map(str::to_owned)));
    let begun = Instant::now();
    pool(&cluster, "first", "10.77.0.240-10.77.0.241");
    effective(&cluster, "a first pool serves who waited", begun, || cluster.addresses().len() == 2);
    cluster.wait_until(5, "the status says that nothing is left", || counters(&cluster, "first") == [2, 0]);

    let begun = Instant::now();
    pool(&cluster, "first", "10.77.0.240-10.77.0.243");
    effective(&cluster, "a grown pool serves who waited", begun, || cluster.addresses().len() == 3);
    cluster.wait_until(5, "the status follows", || counters(&cluster, "first") == [3, 1]);
    cluster.wait_until(5, "the edit is confirmed on the pool", || {
        told(&cluster, "IPAddressPool", "first", &["Normal ConfigLoaded", "10.77.0.240-10.77.0.243"])
    });
    cluster.wait_announced("one");
    cluster.wait_reachable("one");

    // An advertisement for other nodes: nobody announces.
    let nowhere = json!({"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "n9"}}]});
    cluster.apply(&object("L2Advertisement", "l2", &nowhere).to_string());
    cluster.wait_until(5, "no node may announce", || cluster.condition("one")[0] == "False");
    cluster.kubectl(&["delete", "l2advertisement", "l2", "-n", "metallb-system"]);
    cluster.wait_announced("one");

    // What only the whole can show is told on the object, and the rest goes on.
    let before = cluster.addresses();
    pool(&cluster, "clash", "10.77.0.243-10.77.0.250");
    cluster.wait_until(5, "the contradiction is told on the newer pool", || {
        let words = ["Warning ConfigRejected", "this is left out", "overlaps", "IPAddressPool metallb-system/first"];
        told(&cluster, "IPAddressPool", "clash", &words)
    });
    pool(&cluster, "more", "10.77.0.244-10.77.0.245");
    cluster.wait_until(5, "another pool is counted", || counters(&cluster, "more") == [0, 2]);
    cluster.create(&service("four", &json!({}), &json!({"metallb.io/address-pool": "more"})));
    cluster.wait_until(5, "another pool serves", || cluster.address("four").as_deref() == Some("10.77.0.244"));
    // An edit that is no configuration leaves the version of before.
    pool(&cluster, "first", "127.0.0.1/32");
    cluster.wait_until(5, "the mistake is told on the pool", || {
        told(&cluster, "IPAddressPool", "first", &["Warning ConfigRejected", "last good configuration stays in force", "loopback"])
    });
    assert!(before.iter().all(|(service, addresses)| cluster.addresses().get(service) == Some(addresses)));
    pool(&cluster, "first", "10.77.0.240-10.77.0.243");
    cluster.kubectl(&["delete", "ipaddresspool", "clash", "more", "-n", "metallb-system"]);
    cluster.wait_until(5, "a pool that is deleted is meant to go", || cluster.address("four").is_none());

    // The ConfigMap is read beside: settings, and pools of its own.
    cluster.configure("addresses", "10.77.0.247");
    cluster.create(&service("five", &json!({}), &json!({"metallb.io/address-pool": "default"})));
    cluster.wait_until(5, "a pool of the ConfigMap serves", || cluster.address("five").as_deref() == Some("10.77.0.247"));

    // An API server that is away changes nothing.
    let before = cluster.addresses();
    cluster.control_plane("kill");
    cluster.wait_until(20, "its absence is seen", || cluster.log("n1").contains("API server unreachable"));
    assert!(cluster.client.http("http://10.77.0.240/").is_ok());
    cluster.control_plane("start");
    cluster.wait_until(20, "it is back", || cluster.try_kubectl(&["get", "services"]).is_ok());
    assert_eq!(cluster.addresses(), before);

    // CRDs that vanish take their objects along, and come back.
    cluster.kubectl(&["delete", "-k", &format!("{ROOT}/manifests/crds")]);
    cluster.wait_until(10, "only the ConfigMap is left", || {
        cluster.addresses().into_values().flatten().collect::<Vec<_>>() == ["10.77.0.247"]
    });
    cluster.kubectl(&["apply", "-k", &format!("{ROOT}/manifests/crds")]);
    established(&cluster);
    pool(&cluster, "first", "10.77.0.240-10.77.0.243");
    cluster.wait_until(10, "each has what it had", || cluster.addresses() == before);
}

/// A CRD as MetalLB of before installed it: its controller, which converted and checked, is gone.
fn foreign(kind: &str, plural: &str, versions: &[&str]) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}, "status": {"type": "object"}}}});
    let version = |name: &&str| {
        json!({"name": name, "served": true, "storage": versions.last() == Some(name), "schema": schema,
        "subresources": {"status": {}}})
    };
    let service = json!({"namespace": "metallb-system", "name": "metallb-webhook-service", "path": "/convert"});
    let webhook = json!({"clientConfig": {"service": service}, "conversionReviewVersions": ["v1beta1", "v1beta2"]});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.metallb.io")},
        "spec": {"group": "metallb.io", "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "listKind": format!("{kind}List")},
            "conversion": {"strategy": "Webhook", "webhook": webhook}, "versions": versions.iter().map(version).collect::<Vec<_>>()}})
}

#[test]
fn crds_that_are_there_already_are_read_as_they_are() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.kubectl(&["apply", "-f", &format!("{ROOT}/manifests/overlays/crds/rbac.yaml")]);
    cluster.kubectl(&["create", "namespace", "metallb-system"]);
    // No CRD at all is no trouble.
    for node in cluster.nodes() {
        node.agent_start("crds:lanlord,metallb-system");
    }
    cluster.wait_until(20, "one leads without any CRD", || cluster.leader().is_some());
    cluster.apply(&foreign("IPAddressPool", "ipaddresspools", &["v1beta1"]).to_string());
    cluster.apply(&foreign("BGPPeer", "bgppeers", &["v1beta1", "v1beta2"]).to_string());
    established(&cluster);
    cluster.create(&services(&["one".to_owned()]));
    pool(&cluster, "first", "10.77.0.240-10.77.0.241");
    cluster.wait_until(15, "a CRD that came later is read", || cluster.address("one").as_deref() == Some("10.77.0.240"));
    // Nobody checked this one before it was stored.
    cluster.apply(&object("BGPPeer", "router", &json!({"myASN": 64512, "peerAddress": "10.77.0.1"})).to_string());
    cluster.wait_until(10, "a broken object is told on itself", || {
        told(&cluster, "BGPPeer", "router", &["Warning ConfigRejected", "this is left out", "peerASN"])
    });
    cluster.apply(&object("BGPPeer", "router", &json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "10.77.0.1"})).to_string());
    cluster.wait_until(10, "and so is its mending", || told(&cluster, "BGPPeer", "router", &["Normal ConfigLoaded"]));
    cluster.wait_announced("one");
}

/// Kind, what is wrong, a word of the refusal.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let pool = |range: &str| json!({"addresses": [range]});
    let peer = |more: &Value| {
        let mut whole = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1"});
        for (key, value) in more.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        whole
    };
    let selectors = json!([{"matchLabels": {"app": "web"}}]);
    vec![
        ("IPAddressPool", json!({}), "addresses"),
        ("IPAddressPool", json!({"addresses": []}), "at least 1"),
        ("IPAddressPool", pool("10.0.0.300/24"), "write a range"),
        ("IPAddressPool", pool("10.0.0.0/33"), "write a range"),
        ("IPAddressPool", pool("nonsense"), "write a range"),
        ("IPAddressPool", pool("10.0.0.x-10.0.0.9"), "before the dash"),
        ("IPAddressPool", pool("10.0.0.1-10.0.0.x"), "after the dash"),
        ("IPAddressPool", pool("10.0.0.9-10.0.0.1"), "after the last one"),
        ("IPAddressPool", pool("10.0.0.200-10.0.0.30"), "after the last one"),
        ("IPAddressPool", pool("10.0.0.1-fd00::1"), "begin in IPv4"),
        ("IPAddressPool", json!({"addresses": ["10.0.0.1/32"], "autoAssign": "yes"}), "boolean"),
        ("IPAddressPool", json!({"addresses": ["10.0.0.1/32"], "serviceAllocation": {"priority": -1}}), "greater than or equal to 0"),
        ("IPAddressPool", json!({"addresses": ["10.0.0.1/32"], "serviceAllocation": {"namespaces": ["a", "a"]}}), "Duplicate"),
        ("L2Advertisement", json!({"ipAddressPools": ["a", "a"]}), "Duplicate"),
        ("L2Advertisement", json!({"interfaces": ["eth*"]}), "no patterns"),
        ("L2Advertisement", json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}), "need values"),
        ("L2Advertisement", json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Like"}]}]}), "Unsupported"),
        ("L2Advertisement", json!({"preferredNodeSelectors": [{"weight": 101, "preference": {}}]}), "less than or equal to 100"),
        ("BGPAdvertisement", json!({"aggregationLength": 33}), "less than or equal to 32"),
        ("BGPAdvertisement", json!({"aggregationLengthV6": 129}), "less than or equal to 128"),
        ("BGPAdvertisement", json!({"aggregationLength": 24, "serviceSelectors": selectors}), "mutually exclusive"),
        ("BGPAdvertisement", json!({"communities": ["1:2:3"]}), "write two numbers"),
        ("BGPAdvertisement", json!({"communities": ["65536:1"]}), "at most 65535"),
        ("BGPAdvertisement", json!({"communities": ["large:1:2:4294967296"]}), "at most 4294967295"),
        ("BGPAdvertisement", json!({"peers": ["a", "a"]}), "Duplicate"),
        ("BGPPeer", json!({"peerASN": 64513, "peerAddress": "10.0.0.1"}), "myASN"),
        ("BGPPeer", peer(&json!({"myASN": 0})), "greater than or equal to 1"),
        ("BGPPeer", peer(&json!({"peerASN": 0})), "either peerASN or dynamicASN"),
        ("BGPPeer", peer(&json!({"dynamicASN": "external"})), "either peerASN or dynamicASN"),
        ("BGPPeer", peer(&json!({"peerAddress": ""})), "write peerAddress"),
        ("BGPPeer", peer(&json!({"peerAddress": "10.0.0.1:179"})), "one IP address"),
        ("BGPPeer", peer(&json!({"interface": "eth0"})), "mutually exclusive"),
        ("BGPPeer", peer(&json!({"sourceAddress": "10.0.0"})), "one IP address"),
        ("BGPPeer", peer(&json!({"peerPort": 65536})), "less than or equal to 65535"),
        ("BGPPeer", peer(&json!({"holdTime": "90"})), "should match"),
        ("BGPPeer", peer(&json!({"holdTime": "2s"})), "3 to 65535"),
        ("BGPPeer", peer(&json!({"holdTime": "9s", "keepaliveTime": "10s"})), "longer than holdTime"),
        ("BGPPeer", peer(&json!({"connectTime": "100ms"})), "1 to 65535"),
        ("BGPPeer", peer(&json!({"routerID": "fd00::1"})), "IPv4 address"),
        ("BGPPeer", peer(&json!({"ebgpMultiHop": true, "peerASN": 64512})), "within one AS"),
        ("BGPPeer", peer(&json!({"password": "a", "passwordSecret": {"name": "b"}})), "either password"),
        ("BFDProfile", json!({"receiveInterval": 9}), "greater than or equal to 10"),
        ("BFDProfile", json!({"detectMultiplier": 1}), "greater than or equal to 2"),
        ("BFDProfile", json!({"minimumTtl": 255}), "less than or equal to 254"),
        ("Community", json!({"communities": [{"name": "a", "value": "no-export"}]}), "write two numbers"),
        ("Community", json!({"communities": [{"name": "a", "value": "1:1"}, {"name": "a", "value": "1:2"}]}), "once only"),
    ]
}

/// What MetalLB's users have, one object of each kind with every field.
fn admitted() -> Vec<(&'static str, Value)> {
    let selectors = json!([{"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]}]);
    let ranges = json!([
        "10.0.0.0/24",
        "10.0.1.9 - 10.0.1.200",
        "10.0.2.30-10.0.2.200",
        "10.0.3.1-9",
        "10.0.4.1",
        "fd00::/120",
        "fd00:1::1-fd00:1::ff"
    ]);
    vec![
        (
            "IPAddressPool",
            json!({"addresses": ranges, "autoAssign": false, "avoidBuggyIPs": true, "serviceAllocation":
                {"priority": 5, "namespaces": ["a"], "namespaceSelectors": selectors, "serviceSelectors": selectors}}),
        ),
        (
            "L2Advertisement",
            json!({"ipAddressPools": ["a"], "ipAddressPoolSelectors": selectors, "nodeSelectors": selectors, "interfaces": ["eth0.7"],
                "serviceSelectors": selectors, "preferredNodeSelectors": [{"weight": 1, "preference": selectors[0]}]}),
        ),
        (
            "BGPAdvertisement",
            json!({"aggregationLength": 24, "aggregationLengthV6": 64, "localPref": 4_294_967_295_u32, "asPathPrepend": 2,
                "communities": ["65535:65281", "large:4200000000:1:2", "name"], "peers": ["a"], "nodeSelectors": selectors}),
        ),
        (
            "BGPPeer",
            json!({"myASN": 4_200_000_000_u32, "peerASN": 64513, "localASN": 64514, "peerAddress": "fe80::1", "interface": "eth0",
                "sourceAddress": "fd00::1", "peerPort": 17900, "holdTime": "1m30s", "keepaliveTime": "30s", "connectTime": "10s",
                "routerID": "10.0.0.1", "nodeSelectors": selectors, "passwordSecret": {"name": "a"}, "bfdProfile": "b",
                "enableGracefulRestart": true, "ebgpMultiHop": true, "vrf": "red", "disableMP": false, "dualStackAddressFamily": true}),
        ),
        (
            "BFDProfile",
            json!({"receiveInterval": 10, "transmitInterval": 60000, "detectMultiplier": 255, "echoInterval": 50, "echoMode": true,
                "passiveMode": true, "minimumTtl": 254}),
        ),
        ("Community", json!({"communities": [{"name": "a", "value": "65535:65281"}, {"name": "b", "value": "large:1:2:3"}]})),
    ]
}

#[test]
fn our_crds_refuse_what_webhooks_refused_and_admit_what_metallb_admits() {
    let cluster = cluster(&Options { nodes: 1, ..Options::default() });
    let file = cluster.path("object.json");
    let try_object = |object: &Value| {
        std::fs::write(&file, object.to_string()).expect("its directory is there");
        cluster.try_kubectl(&["create", "--dry-run=server", "-o", "json", "-f", &file.to_string_lossy()])
    };
    let mut wrong = Vec::new();
    for (kind, spec) in admitted() {
        match try_object(&object(kind, "good", &spec)) {
            Ok(created) => {
                let created: Value = serde_json::from_str(&created).expect("kubectl prints JSON");
                let lost = spec.as_object().into_iter().flatten().filter(|(key, value)| created["spec"][key] != **value);
                wrong.extend(lost.map(|(key, _)| format!("{kind}: {key} is not kept")));
            }
            Err(complaint) => wrong.push(format!("{kind} is refused: {complaint}")),
        }
    }
    for (kind, spec, words) in refused() {
        match try_object(&object(kind, "bad", &spec)) {
            Ok(_) => wrong.push(format!("{kind} is admitted: {spec}")),
            Err(complaint) if !complaint.contains(words) => wrong.push(format!("{kind} {spec} without {words:?}: {complaint}")),
            Err(_) => {}
        }
    }
    // Both versions are one object.
    let mut old = object("BGPPeer", "old", &json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1", "holdTime": "90s"}));
    old["apiVersion"] = "metallb.io/v1beta1".into();
    cluster.apply(&old.to_string());
    let seen = cluster.json(&["get", "bgppeers.v1beta2.metallb.io", "old", "-n", "metallb-system"]);
    assert_eq!(seen["spec"]["peerAddress"], "10.0.0.1");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
