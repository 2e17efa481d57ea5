//! MetalLB's own end-to-end scenarios (reference §7.1) as its users write them: custom resources and Services on a real API server, one
//! after the other in one cluster. Those of single nodes and links stand in `journey`, `links` and `moves`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::crds::{agents_start, cluster, counters, object};
use crate::support::Cluster;
use crate::support::Options;
use crate::support::seen::{ingress, items, name, service};

const NAMESPACE: &str = "metallb-system";

#[track_caller]
fn apply(cluster: &Cluster, kind: &str, name: &str, spec: &Value) {
    cluster.apply(&object(kind, name, spec).to_string());
}

#[track_caller]
fn pool(cluster: &Cluster, name: &str, addresses: &[&str], more: &Value) {
    let mut spec = json!({"addresses": addresses});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    apply(cluster, "IPAddressPool", name, &spec);
}

/// `kubectl create` of a Service in a namespace, with labels.
#[track_caller]
fn create(cluster: &Cluster, namespace: &str, name: &str, spec: &Value, labels: &Value) {
    let mut object = service(name, spec, &json!({}));
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["labels"] = labels.clone();
    cluster.create(&object);
}

#[track_caller]
fn plain(cluster: &Cluster, name: &str) {
    create(cluster, "default", name, &json!({}), &json!({}));
}

/// Waits until the Service has exactly these addresses, in this order.
#[track_caller]
fn has(cluster: &Cluster, name: &str, addresses: &[&str]) {
    has_in(cluster, "default", name, addresses);
}

#[track_caller]
fn has_in(cluster: &Cluster, namespace: &str, name: &str, addresses: &[&str]) {
    let what = format!("{namespace}/{name} has {addresses:?}");
    cluster.wait_until(10, &what, || ingress(&cluster.json(&["get", "service", name, "-n", namespace])) == addresses);
}

#[track_caller]
fn waits(cluster: &Cluster, name: &str, why: &str) {
    cluster.wait_until(10, &format!("{name} is told: {why}"), || cluster.told(name, &["Warning AllocationFailed", why]));
    assert_eq!(cluster.address(name), None, "{name}");
}

#[track_caller]
fn patch(cluster: &Cluster, service: &str, spec: &Value) {
    cluster.kubectl(&["patch", "service", service, "--type=merge", "-p", &json!({ "spec": spec }).to_string()]);
}

/// Nothing of one scenario is left for the next.
#[track_caller]
fn clean(cluster: &Cluster) {
    let services = cluster.json(&["get", "services", "-A"]);
    for service in items(&services).filter(|service| service["spec"]["type"] != "ClusterIP" || name(service) != "kubernetes") {
        let namespace = service["metadata"]["namespace"].as_str().expect("every Service has one");
        cluster.kubectl(&["delete", "service", &name(service), "-n", namespace]);
    }
    cluster.kubectl(&["delete", "ipaddresspools,l2advertisements", "--all", "-n", NAMESPACE]);
}

#[test]
fn metallb_scenarios_of_assignment() {
    let cluster = cluster(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    agents_start(&cluster);
    for scenario in [freed_addresses, allocation, removed_pools, families, families_that_change, sharing_that_ends] {
        scenario(&cluster);
        clean(&cluster);
    }
}

/// An address freed by a change of type, or by deletion, goes to who waits.
fn freed_addresses(cluster: &Cluster) {
    pool(cluster, "small", &["10.77.0.230/32"], &json!({}));
    plain(cluster, "first");
    has(cluster, "first", &["10.77.0.230"]);
    plain(cluster, "second");
    waits(cluster, "second", "all IPv4 addresses of small are taken");
    patch(cluster, "first", &json!({"type": "ClusterIP"}));
    has(cluster, "second", &["10.77.0.230"]);
    has(cluster, "first", &[]);
    plain(cluster, "third");
    waits(cluster, "third", "all IPv4 addresses of small are taken");
    cluster.kubectl(&["delete", "service", "second"]);
    has(cluster, "third", &["10.77.0.230"]);
    cluster.wait_until(5, "the status of the pool says so", || counters(cluster, "small") == [1, 0]);
}

/// By namespace, by its labels, by the Service's labels, by priority.
fn allocation(cluster: &Cluster) {
    for namespace in ["red", "blue"] {
        cluster.kubectl(&["create", "namespace", namespace]);
    }
    cluster.kubectl(&["label", "namespace", "blue", "team=blue"]);
    let for_services = |allocation: Value| json!({ "serviceAllocation": allocation });
    pool(cluster, "a-plain", &["10.77.0.231-10.77.0.232"], &json!({}));
    pool(cluster, "namespace", &["10.77.0.233-10.77.0.234"], &for_services(json!({"priority": 20, "namespaces": ["red"]})));
    let blue = json!({"priority": 20, "namespaceSelectors": [{"matchLabels": {"team": "blue"}}]});
    pool(cluster, "label", &["10.77.0.235-10.77.0.236"], &for_services(blue));
    let gold = json!({"priority": 10, "serviceSelectors": [{"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold"]}]}]});
    pool(cluster, "gold", &["10.77.0.237-10.77.0.238"], &for_services(gold));
    let both = json!({"priority": 5, "namespaces": ["blue"], "serviceSelectors": [{"matchLabels": {"tier": "gold"}}]});
    pool(cluster, "both", &["10.77.0.239"], &for_services(both));
    let (none, gold) = (json!({}), json!({"tier": "gold"}));
    let expected = [
        ("default", "unlabelled", &none, "10.77.0.231"),
        ("red", "by-namespace", &none, "10.77.0.233"),
        ("blue", "by-label-of-namespace", &none, "10.77.0.235"),
        ("default", "by-label", &gold, "10.77.0.237"),
        ("red", "by-priority", &gold, "10.77.0.238"),
        ("blue", "by-both", &gold, "10.77.0.239"),
    ];
    for (namespace, name, labels, address) in expected {
        create(cluster, namespace, name, &json!({}), labels);
        has_in(cluster, namespace, name, &[address]);
    }
    // A Service that no longer may have its address moves.
    cluster.kubectl(&["label", "namespace", "blue", "team-"]);
    has_in(cluster, "blue", "by-label-of-namespace", &["10.77.0.232"]);
    cluster.kubectl(&["delete", "namespace", "red", "blue", "--wait=false"]);
}

/// A Service of a pool that goes gets an address of another; with the last pool it loses it.
fn removed_pools(cluster: &Cluster) {
    pool(cluster, "one", &["10.77.0.240"], &json!({}));
    plain(cluster, "moving");
    has(cluster, "moving", &["10.77.0.240"]);
    pool(cluster, "two", &["10.77.0.241"], &json!({}));
    cluster.kubectl(&["delete", "ipaddresspool", "one", "-n", NAMESPACE]);
    has(cluster, "moving", &["10.77.0.241"]);
    cluster.kubectl(&["delete", "ipaddresspool", "two", "-n", NAMESPACE]);
    has(cluster, "moving", &[]);
    pool(cluster, "one", &["10.77.0.240"], &json!({}));
    has(cluster, "moving", &["10.77.0.240"]);
}

/// PreferDualStack takes both families from a pool that has both, in the order of the Service.
fn families(cluster: &Cluster) {
    pool(cluster, "a-four", &["10.77.0.242"], &json!({}));
    pool(cluster, "b-both", &["10.77.0.243-10.77.0.245", "fd77::243-fd77::245"], &json!({}));
    create(cluster, "default", "prefers", &json!({"ipFamilyPolicy": "PreferDualStack"}), &json!({}));
    has(cluster, "prefers", &["10.77.0.243", "fd77::243"]);
    let turned = json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]});
    create(cluster, "default", "turned", &turned, &json!({}));
    has(cluster, "turned", &["fd77::244", "10.77.0.244"]);
    plain(cluster, "single");
    has(cluster, "single", &["10.77.0.242"]);
    cluster.wait_until(5, "the status of the pool says so", || counters(cluster, "b-both") == [2, 1]);
    let status = cluster.json(&["get", "ipaddresspool", "b-both", "-n", NAMESPACE])["status"].clone();
    assert_eq!((&status["assignedIPv6"], &status["availableIPv6"]), (&json!(2), &json!(1)), "{status}");
    cluster.wait_reachable("turned");
}

/// A pool that becomes dual adds the second family and touches nothing else; so does a pool that is added. What is required and not to
/// be had is told, and nothing is taken away for it.
fn families_that_change(cluster: &Cluster) {
    pool(cluster, "only", &["10.77.0.246"], &json!({}));
    create(cluster, "default", "grows", &json!({"ipFamilyPolicy": "PreferDualStack"}), &json!({}));
    has(cluster, "grows", &["10.77.0.246"]);
    patch(cluster, "grows", &json!({"ipFamilyPolicy": "RequireDualStack"}));
    cluster.wait_until(10, "what is missing is told", || cluster.told("grows", &["Warning AllocationFailed", "IPv6"]));
    patch(cluster, "grows", &json!({"ipFamilyPolicy": "PreferDualStack"}));
    has(cluster, "grows", &["10.77.0.246"]);
    pool(cluster, "only", &["10.77.0.246", "fd77::246"], &json!({}));
    has(cluster, "grows", &["10.77.0.246", "fd77::246"]);
    // Another pool with both changes nothing.
    pool(cluster, "another", &["10.77.0.247", "fd77::247"], &json!({}));
    patch(cluster, "grows", &json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}));
    has(cluster, "grows", &["10.77.0.246"]);
    patch(cluster, "grows", &json!({"ipFamilyPolicy": "PreferDualStack"}));
    has(cluster, "grows", &["10.77.0.246", "fd77::246"]);
}

/// Services that may not share any longer part: the one that was there first keeps the address.
fn sharing_that_ends(cluster: &Cluster) {
    pool(cluster, "shared", &["10.77.0.248-10.77.0.249"], &json!({}));
    let key = json!({"metallb.io/allow-shared-ip": "one"});
    let on = |name: &str, port: u16| service(name, &json!({"ports": [{"port": port}]}), &key);
    cluster.create(&on("eighty", 80));
    has(cluster, "eighty", &["10.77.0.248"]);
    cluster.create(&on("ninety", 90));
    has(cluster, "ninety", &["10.77.0.248"]);
    let node = cluster.wait_owner("eighty", "it is announced", |_| true);
    assert_eq!(cluster.wait_owner("ninety", "the other by the same node", |_| true), node);
    // Endpoints on three nodes: with the policy Local the address cannot be where all of them are.
    patch(cluster, "ninety", &json!({"externalTrafficPolicy": "Local"}));
    has(cluster, "ninety", &["10.77.0.249"]);
    has(cluster, "eighty", &["10.77.0.248"]);
}

#[test]
fn metallb_scenarios_of_layer_2() {
    let cluster = cluster(&Options { two_links: vec!["n1"], ..Options::default() });
    cluster.backend("web", &["n1", "n2", "n3"]);
    agents_start(&cluster);
    for scenario in [both_protocols, unavailable_nodes, interfaces, selectors, preferences] {
        scenario(&cluster);
        clean(&cluster);
    }
}

fn l2(cluster: &Cluster, name: &str, spec: &Value) {
    apply(cluster, "L2Advertisement", name, spec);
}

fn on(node: &str) -> Value {
    json!([{"matchLabels": {"kubernetes.io/hostname": node}}])
}

/// TCP and UDP ports of one Service.
fn both_protocols(cluster: &Cluster) {
    pool(cluster, "mixed", &["10.77.0.230"], &json!({}));
    l2(cluster, "all", &json!({}));
    let ports = json!({"ports": [{"name": "tcp", "port": 80}, {"name": "udp", "port": 80, "protocol": "UDP"}]});
    create(cluster, "default", "mixed", &ports, &json!({}));
    cluster.wait_owner("mixed", "it is announced", |_| true);
    let address = cluster.addresses_of("mixed")[0];
    cluster.wait_served(10, address);
    let meter = cluster.meter(address);
    // How long it measures.
    std::thread::sleep(Duration::from_millis(500));
    let report = meter.stop();
    report.print("TCP and UDP on one address");
    assert!(report.sent > report.lost, "{report:?}");
}

/// A node without a network, or labelled not to be a load balancer's target, announces nothing.
fn unavailable_nodes(cluster: &Cluster) {
    pool(cluster, "any", &["10.77.0.231"], &json!({}));
    l2(cluster, "all", &json!({}));
    plain(cluster, "web");
    let first = cluster.wait_owner("web", "it is announced", |_| true);
    let condition = |status: &str| {
        let patch = json!({"status": {"conditions": [{"type": "NetworkUnavailable", "status": status, "reason": "Test", "message": ""}]}});
        cluster.kubectl(&["patch", "node", &first, "--subresource=status", "-p", &patch.to_string()]);
    };
    condition("True");
    let second = cluster.wait_owner("web", "another node has it", |node| node != first);
    condition("False");
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    cluster.kubectl(&["label", "node", &second, &format!("{label}=")]);
    let third = cluster.wait_owner("web", "a third node, or the first again", |node| node != second);
    cluster.kubectl(&["label", "node", &second, &format!("{label}-")]);
    assert_eq!(cluster.wait_owner("web", "it stays: a move ends connections", |_| true), third);
    cluster.wait_reachable("web");
}

/// Named interfaces of two advertisements are used together, edits take effect, and one that no node has is told.
fn interfaces(cluster: &Cluster) {
    pool(cluster, "any", &["10.77.0.232"], &json!({}));
    l2(cluster, "one", &json!({"interfaces": ["eth0"], "nodeSelectors": on("n1")}));
    plain(cluster, "named");
    cluster.wait_owner("named", "the node of the selector announces it", |node| node == "n1");
    let address = cluster.addresses_of("named")[0];
    let answering = |links: &[&str]| {
        let mut ports = cluster.answering_ports(address);
        ports.sort();
        ports == links
    };
    cluster.wait_until(10, "it answers on eth0 alone", || answering(&["n1-eth0"]));
    l2(cluster, "one", &json!({"interfaces": ["eth1"], "nodeSelectors": on("n1")}));
    cluster.wait_until(10, "it answers on eth1 alone", || answering(&["n1-eth1"]));
    cluster.wait_until(10, "clients learn the address of eth1", || cluster.client.mac_of(address) == Some(cluster.node("n1").mac("eth1")));
    l2(cluster, "two", &json!({"interfaces": ["eth0", "eth1"], "nodeSelectors": on("n1")}));
    cluster.wait_until(10, "it answers on both", || answering(&["n1-eth0", "n1-eth1"]));
    cluster.kubectl(&["delete", "l2advertisement", "two", "-n", NAMESPACE]);
    l2(cluster, "one", &json!({"interfaces": ["eth7"]}));
    cluster.wait_until(10, "an interface that no node has", || cluster.condition("named")[1] == "NoInterface");
    cluster.wait_until(10, "nobody answers", || cluster.client.owner_of(address).is_none());
    cluster.wait_until(10, "that is told", || cluster.told("named", &["Warning", "eth7"]));
}

/// Selectors of Services and of nodes, several of them, and both together.
fn selectors(cluster: &Cluster) {
    pool(cluster, "any", &["10.77.0.233-10.77.0.236"], &json!({}));
    let services = |label: &str| json!([{"matchLabels": {"tier": label}}]);
    l2(cluster, "gold", &json!({"serviceSelectors": services("gold"), "nodeSelectors": on("n2")}));
    l2(cluster, "other", &json!({"serviceSelectors": services("silver"), "nodeSelectors": on("n3")}));
    create(cluster, "default", "gold", &json!({}), &json!({"tier": "gold"}));
    create(cluster, "default", "silver", &json!({}), &json!({"tier": "silver"}));
    plain(cluster, "lead");
    cluster.wait_owner("gold", "its advertisement's node", |node| node == "n2");
    cluster.wait_owner("silver", "its advertisement's node", |node| node == "n3");
    cluster.wait_until(10, "no advertisement is for this one", || cluster.condition("lead")[1] == "NoServiceMatch");
    assert_eq!(cluster.client.owner_of(cluster.addresses_of("lead")[0]), None);
    cluster.kubectl(&["label", "service", "lead", "tier=silver"]);
    cluster.wait_owner("lead", "it has the label now", |node| node == "n3");
    // Several selectors: any of them.
    let any = json!([{"matchLabels": {"tier": "gold"}}, {"matchLabels": {"tier": "silver"}}]);
    cluster.kubectl(&["delete", "l2advertisement", "other", "-n", NAMESPACE]);
    l2(cluster, "gold", &json!({"serviceSelectors": any, "nodeSelectors": on("n2")}));
    for name in ["gold", "silver", "lead"] {
        cluster.wait_owner(name, "all are announced by the one node", |node| node == "n2");
    }
}

/// Preferred nodes, while they are fit; followed at run time.
fn preferences(cluster: &Cluster) {
    pool(cluster, "any", &["10.77.0.237"], &json!({}));
    let prefer = |entries: &[(&str, u32)]| {
        let preference = |node: &str| json!({"matchLabels": {"kubernetes.io/hostname": node}});
        let entries: Vec<Value> = entries.iter().map(|(node, weight)| json!({"weight": weight, "preference": preference(node)})).collect();
        l2(cluster, "soft", &json!({ "preferredNodeSelectors": entries }));
    };
    prefer(&[("n2", 10)]);
    plain(cluster, "preferring");
    cluster.wait_owner("preferring", "the preferred node", |node| node == "n2");
    cluster.node("n2").link("cut", "eth0");
    cluster.wait_owner("preferring", "another, while it is away", |node| node != "n2");
    cluster.node("n2").link("heal", "eth0");
    cluster.wait_until(60, "the preferred node has it again", || cluster.announcer("preferring").as_deref() == Some("n2"));
    prefer(&[("n2", 10), ("n3", 20)]);
    cluster.wait_owner("preferring", "the heavier weight", |node| node == "n3");
    l2(cluster, "more", &json!({"preferredNodeSelectors": [{"weight": 15, "preference": on("n2")[0]}]}));
    cluster.wait_owner("preferring", "weights of all advertisements together", |node| node == "n2");
    l2(cluster, "soft", &json!({"nodeSelectors": on("n1")}));
    cluster.kubectl(&["delete", "l2advertisement", "more", "-n", NAMESPACE]);
    cluster.wait_owner("preferring", "nodeSelectors are no mere preference", |node| node == "n1");
    cluster.wait_reachable("preferring");
}
