//! Planned moves, as the operator makes them: cordon and drain, `lanlord move`, a label, a kube-proxy that dies. What moves, where to,
//! what is said of it, and that a client loses no packet.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use serde_json::json;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::place::lanlord;
use crate::support::seen::service;

const POOL: &str = "addresses: 10.77.0.240-10.77.0.250";

/// `lanlord move` at a place, with the rights of a kubeconfig: its exit code, and what it printed.
fn ask(cluster: &Cluster, place: &str, kubeconfig: PathBuf, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &cluster.namespace(place), &lanlord(), "move"]).args(arguments);
    let output = command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).output().expect("ip runs");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap_or(-1), said)
}

/// As administrator, from the control plane's machine.
fn ask_as_administrator(cluster: &Cluster, arguments: &[&str]) -> (i32, String) {
    ask(cluster, "cp", cluster.path("kubeconfig"), arguments)
}

#[track_caller]
fn move_to(cluster: &Cluster, service: &str, node: &str) {
    let (code, said) = ask_as_administrator(cluster, &[service, node]);
    assert_eq!(code, 0, "{said}");
    cluster.wait_owner(service, "it is where it was asked to be", |owner| owner == node);
}

/// A Service with TCP and UDP in front of the Pods of this app.
fn create(cluster: &Cluster, name: &str, app: &str) {
    let ports = json!([{"name": "tcp", "port": 80}, {"name": "udp", "port": 80, "protocol": "UDP"}]);
    cluster.apply(&service(name, &json!({"ports": ports, "selector": {"app": app}}), &json!({})).to_string());
    cluster.wait_announced(name);
}

/// How often a node has fallen silent for this address.
fn withdrawals(cluster: &Cluster, node: &str, address: IpAddr) -> usize {
    let words = format!("address={address}");
    cluster.log(node).lines().filter(|line| line.contains("msg=withdrawn") && line.contains(&words)).count()
}

/// Three nodes, a Service `web` whose only Pod is on n3.
fn home(config: &str) -> Cluster {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n3"]);
    cluster.configure("config.yaml", config);
    cluster.agents_start();
    create(&cluster, "web", "web");
    cluster
}

/// Waits until everything that was to happen because of what was done before has happened: later things happen.
#[track_caller]
fn wait_seen(cluster: &Cluster, name: &str) {
    create(cluster, name, "web");
    cluster.wait_owner(name, "a later Service is announced", |_| true);
}

#[track_caller]
fn wait_told(cluster: &Cluster, service: &str, from: &str, why: &str) {
    let words = ["nodeAssigned", &format!("moved from \"{from}\": {why}")];
    cluster.wait_until(10, &format!("an Event says {words:?}"), || cluster.told(service, &words));
    assert_eq!(cluster.condition(service)[0], "True");
}

#[test]
fn a_service_is_moved_by_hand_then_by_a_drain_and_a_client_loses_no_packet() {
    let cluster = home(POOL);
    cluster.backend("solo", &["n1", "n3"]);
    create(&cluster, "solo", "solo");
    let address = cluster.addresses_of("web")[0];
    cluster.wait_served(10, address);

    let first = cluster.announcer("web").expect("it is announced");
    let second = if first == "n1" { "n2" } else { "n1" };
    let meter = cluster.meter(address);
    let (code, said) = ask_as_administrator(&cluster, &["web", second]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("{address} of default/web: {second} recorded as owner")), "{said}");
    assert!(said.contains(&format!("default/web is announced by {second} (before: {first}), after ")), "{said}");
    cluster.wait_until(5, "the old one is silent", || withdrawals(&cluster, &first, address) == 1);
    let report = meter.stop();
    report.print("moved by hand");
    assert_eq!(report.lost, 0, "{report:?}");
    cluster.wait_owner("web", "it is there", |node| node == second);
    wait_told(&cluster, "web", &first, "asked for by `lanlord move`");

    // With the rights of the agents, and refusals.
    for service in ["default/web", "solo"] {
        let (code, said) = ask(&cluster, "n2", cluster.path("agent/n2/kubeconfig"), &[service, "n1"]);
        assert_eq!(code, 0, "{said}");
        cluster.wait_owner(service.trim_start_matches("default/"), "it is there", |node| node == "n1");
    }
    for (arguments, code, words) in [
        (["web", "n1"], 0, "default/web is announced by n1 already; nothing to do"),
        (["web", "n7"], 1, "default/web cannot be on n7: there is no node of that name; there are n1, n2, n3"),
        (["media/web", "n1"], 1, "there is no Service media/web of type LoadBalancer; did you mean default/web?"),
        (["a/b/c", "n1"], 2, "is neither NAME nor NAMESPACE/NAME"),
    ] {
        let (exited, said) = ask_as_administrator(&cluster, &arguments);
        assert!(exited == code && said.contains(words), "{exited}: {said}");
    }
    drain(&cluster);
}

/// n1 owns both; `web` has no endpoint there, `solo` has one.
fn drain(cluster: &Cluster) {
    let address = cluster.addresses_of("web")[0];
    let before = withdrawals(cluster, "n1", address);
    let meter = cluster.meter(address);
    cluster.kubectl(&["cordon", "n1"]);
    cluster.wait_until(10, "web is announced by another node", || cluster.announcer("web").is_some_and(|node| node != "n1"));
    cluster.wait_until(5, "the old one is silent", || withdrawals(cluster, "n1", address) > before);
    let report = meter.stop();
    report.print("cordoned without an endpoint there");
    assert_eq!(report.lost, 0, "{report:?}");
    wait_told(cluster, "web", "n1", "it is cordoned and no endpoint serves there");
    assert_eq!(cluster.announcer("solo").as_deref(), Some("n1"), "it is served there");
    let (code, said) = ask_as_administrator(cluster, &["web", "n1"]);
    assert!(code == 1 && said.contains("kubectl uncordon it"), "{code}: {said}");

    cluster.kubectl(&["drain", "n1", "--force", "--ignore-daemonsets", "--grace-period=1", "--timeout=30s"]);
    cluster.wait_owner("solo", "it left with its last endpoint", |node| node != "n1");
    wait_told(cluster, "solo", "n1", "it is cordoned and no endpoint serves there");
    let places = ["web", "solo"].map(|service| cluster.announcer(service));
    cluster.kubectl(&["uncordon", "n1"]);
    wait_seen(cluster, "later");
    assert_eq!(["web", "solo"].map(|service| cluster.announcer(service)), places, "nothing moves back");
    cluster.wait_reachable("web");
}

#[test]
fn a_cordon_moves_nothing_or_everything_at_once_where_the_configuration_says_so() {
    let cluster = home(&format!("{POOL}\nonCordon: stay\n"));
    move_to(&cluster, "web", "n1");
    cluster.kubectl(&["cordon", "n1"]);
    wait_seen(&cluster, "later");
    assert_eq!(cluster.announcer("web").as_deref(), Some("n1"), "onCordon: stay");
    cluster.kubectl(&["uncordon", "n1"]);
    move_to(&cluster, "web", "n3");
    cluster.configure("config.yaml", &format!("{POOL}\nonCordon: move\n"));
    cluster.kubectl(&["cordon", "n3"]);
    cluster.wait_owner("web", "it moves, although its endpoint is there", |node| node != "n3");
    wait_told(&cluster, "web", "n3", "it is cordoned");
    cluster.wait_reachable("web");
}

#[test]
fn a_node_that_is_excluded_or_whose_kube_proxy_dies_hands_over_and_gets_nothing_back() {
    let cluster = home(POOL);
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    move_to(&cluster, "web", "n1");
    cluster.kubectl(&["label", "node", "n1", &format!("{label}=")]);
    let second = cluster.wait_owner("web", "another announces it", |node| node != "n1");
    wait_told(&cluster, "web", "n1", &format!("it is labelled {label}"));
    cluster.kubectl(&["label", "node", "n1", &format!("{label}-")]);
    wait_seen(&cluster, "after-the-label");
    assert_eq!(cluster.announcer("web"), Some(second), "nothing moves back");

    move_to(&cluster, "web", "n1");
    let dataplane =
        || cluster.json(&["get", "lease", "-n", "lanlord", "node.n1"])["metadata"]["annotations"]["lanlord.dev/dataplane"].clone();
    assert_eq!(dataplane(), json!(null));
    cluster.node("n1").proxy("stop");
    cluster.wait_until(20, "the Lease says so", || dataplane() == "unhealthy");
    let second = cluster.wait_owner("web", "another announces it", |node| node != "n1");
    wait_told(&cluster, "web", "n1", "its kube-proxy fails its health check");
    let (code, said) = ask_as_administrator(&cluster, &["web", "n1"]);
    assert!(code == 1 && said.contains("its kube-proxy fails its health check"), "{code}: {said}");
    cluster.node("n1").proxy("start");
    cluster.wait_until(20, "it is healthy again", || dataplane() == json!(null));
    wait_seen(&cluster, "after-the-proxy");
    assert_eq!(cluster.announcer("web"), Some(second), "nothing moves back");

    // Everywhere at once there is no better node: it stays.
    for node in cluster.nodes() {
        node.proxy("stop");
    }
    let all = || {
        cluster.nodes().all(|node| {
            cluster
                .kubectl(&["get", "lease", "-n", "lanlord", &format!("node.{}", node.name), "-o", "yaml"])
                .contains("lanlord.dev/dataplane: unhealthy")
        })
    };
    cluster.wait_until(20, "all Leases say so", all);
    cluster.wait_owner("web", "somebody announces it", |_| true);
}
