//! The overlay `hardened`: with its policies everything works that Lanlord does, and what its account could do beside is refused.
//!
//! The forbidden writes are tried with the token of a real agent, and first without the overlay: what is refused later goes through then.

use std::net::IpAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::Cluster;
use crate::support::Options;
use crate::support::cluster::result;
use crate::support::place::{lanlord, run_in};
use crate::support::seen::{ingress, items, name, service};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The agent whose token was stolen.
const THIEF: &str = "n1";

fn kubeconfig(cluster: &Cluster) -> String {
    cluster.path("agent").join(THIEF).join("kubeconfig").display().to_string()
}

/// kubectl with the stolen token.
fn stolen(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let kubeconfig = format!("--kubeconfig={}", kubeconfig(cluster));
    cluster.try_kubectl(&[&[kubeconfig.as_str()], arguments].concat())
}

/// A merge patch with the stolen token; `object` is `services/web` (its status is written) or a Lease. By curl, for kubectl reads the
/// status first, and that is no right of the agents'.
fn patch(cluster: &Cluster, object: &str, patch: &Value) -> Result<Value, String> {
    let path = match object.split_once('/') {
        Some(("leases", _)) => format!("apis/coordination.k8s.io/v1/namespaces/lanlord/{object}"),
        Some(_) | None => format!("api/v1/namespaces/default/{object}/status"),
    };
    let token = cluster.path("agent").join(THIEF).join("run/secrets/kubernetes.io/serviceaccount/token");
    let token = std::fs::read_to_string(token).expect("the agent has one");
    let (bearer, url) = (format!("Authorization: Bearer {token}"), format!("https://10.77.0.2:6443/{path}"));
    let content = "Content-Type: application/merge-patch+json";
    let command = ["curl", "-sSk", "-X", "PATCH", "-H", content, "-H", &bearer, "-d", &patch.to_string(), &url];
    let answer = run_in(&cluster.namespace("cp"), &command).expect("the API server answers");
    let answer: Value = serde_json::from_str(&answer).expect("in JSON");
    if answer["kind"] == "Status" { Err(answer["message"].to_string()) } else { Ok(answer) }
}

fn annotation(key: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "Forged", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// Object, patch, and what the refusal says.
fn forbidden() -> Vec<(&'static str, Value, &'static str)> {
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "0b0b0b0b-0000-4000-8000-000000000000"}]);
    let status = |ingress: Value| json!({"status": {"loadBalancer": {"ingress": [ingress]}}});
    let mine_alone = "an agent may write the Lease of its own node";
    vec![
        ("services/web", json!({"metadata": {"labels": {"app": "other"}}}), "labels"),
        ("services/web", json!({"metadata": {"finalizers": ["example.com/never"]}}), "finalizers"),
        ("services/web", json!({"metadata": {"ownerReferences": owner}}), "owners"),
        ("services/web", annotation("metallb.io/address-pool", "other"), "no annotation"),
        ("services/web", annotation("lanlord.dev/ignore", "true"), "no annotation"),
        ("services/web", json!({"metadata": {"annotations": {"example.com/theirs": null}}}), "no annotation"),
        ("services/web", json!({"status": {"conditions": [condition("example.com/Ready")]}}), "no condition"),
        ("services/web", status(json!({"hostname": "evil.example.com"})), "addresses into the status"),
        ("services/web", status(json!({"ip": "10.77.0.240", "ports": [{"port": 80, "protocol": "TCP"}]})), "addresses into the status"),
        ("services/plain", annotation("lanlord.dev/announced", "forged"), "type: LoadBalancer only"),
        ("leases/leader", json!({"spec": {"holderIdentity": "n2/0000"}}), "no other agent the leader"),
        ("leases/node.n1", json!({"spec": {"holderIdentity": "n2/0000"}}), mine_alone),
        ("leases/node.n2", json!({"spec": {"holderIdentity": "n1/0000"}}), mine_alone),
        ("leases/node.n2", json!({"spec": {"holderIdentity": null, "acquireTime": null}}), mine_alone),
        ("leases/node.n2", annotation("lanlord.dev/links", "[]"), mine_alone),
        ("leases/node.n2", annotation("lanlord.dev/suspect", "n3/0000"), mine_alone),
    ]
}

/// What goes through without the overlay, by one example: the label can be written, and the spec cannot.
fn what_the_rights_alone_allow(cluster: &Cluster) {
    patch(cluster, "services/web", &json!({"metadata": {"labels": {"forged": "yes"}}})).expect("nothing forbids it");
    cluster.kubectl(&["label", "service", "web", "forged-"]);
    patch(cluster, "services/web", &json!({"spec": {"externalTrafficPolicy": "Local"}})).expect("it does nothing");
    let policy = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.externalTrafficPolicy}"]);
    assert_eq!(policy, "Cluster", "a write of the status changes no spec");
}

fn everything_else_is_refused(cluster: &Cluster) {
    let mut wrong = Vec::new();
    for (object, change, words) in forbidden() {
        match patch(cluster, object, &change) {
            Ok(_) => wrong.push(format!("{object} is written: {change}")),
            Err(complaint) if !complaint.contains(words) => wrong.push(format!("{object} {change} without {words:?}: {complaint}")),
            Err(_) => {}
        }
    }
    for (lease, words) in [("node.n1", "of addresses only"), ("leader", "of addresses only")] {
        let complaint = stolen(cluster, &["delete", "lease", lease, "-n", "lanlord"]).expect_err("it is refused");
        assert!(complaint.contains(words), "{complaint}");
    }
    let complaint = stolen(cluster, &["create", "-n", "lanlord", "-f", &lease(cluster, "mine")]).expect_err("it is refused");
    assert!(complaint.contains("no Lease of this name"), "{complaint}");
    // The same account without a node: what `kubectl create token` gives to everyone who may ask for it.
    let token = cluster.kubectl(&["create", "token", "lanlord", "-n", "lanlord"]);
    let unbound = format!("--token={token}");
    let complaint = cluster.try_kubectl(&["--kubeconfig", &bare(cluster), &unbound, "delete", "lease", "ip.10.77.0.240", "-n", "lanlord"]);
    let complaint = complaint.expect_err("it is refused");
    assert!(complaint.contains("this token names no node"), "{complaint}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file with a Lease of this name.
fn lease(cluster: &Cluster, name: &str) -> String {
    let file = cluster.path("lease.json");
    let lease =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "lanlord"}, "spec": {}});
    std::fs::write(&file, lease.to_string()).expect("its directory is there");
    file.display().to_string()
}

/// A kubeconfig that holds nobody's credentials.
fn bare(cluster: &Cluster) -> String {
    let text = std::fs::read_to_string(kubeconfig(cluster)).expect("the agent has one");
    let without = text.lines().filter(|line| !line.starts_with("users:")).collect::<Vec<_>>().join("\n");
    let file = cluster.path("bare.kubeconfig");
    std::fs::write(&file, format!("{without}\nusers: [{{name: lab, user: {{}}}}]\n")).expect("its directory is there");
    file.display().to_string()
}

/// The member Lease of a node: who holds it.
fn holder(cluster: &Cluster, node: &str) -> Option<String> {
    let leases = cluster.json(&["get", "leases", "-n", "lanlord"]);
    let lease = items(&leases).find(|lease| name(lease) == format!("node.{node}"))?.clone();
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// Assign, share out, give back, move, lose a node, change the leader.
fn everything_works(cluster: &Cluster) {
    cluster.apply(&service("more", &json!({"ipFamilyPolicy": "RequireDualStack"}), &json!({})).to_string());
    cluster.wait_announced("more");
    cluster.wait_reachable("more");
    // Left alone from now on, and then deleted: the last word, and the record that goes.
    cluster.kubectl(&["annotate", "service", "more", "lanlord.dev/ignore=true"]);
    cluster.wait_until(10, "the last word on it", || cluster.condition("more")[1] == "NotServed");
    let address = ingress(&cluster.json(&["get", "service", "more"])).swap_remove(0);
    cluster.kubectl(&["delete", "service", "more"]);
    cluster.wait_until(10, "nobody has its address", || cluster.claims().get(&address).is_none_or(|claim| claim.holder.is_none()));

    let address: IpAddr = "10.77.0.240".parse().expect("an address");
    let owner = cluster.wait_owner("web", "somebody announces it", |_| true);
    let target = if owner == "n3" { "n2" } else { "n3" };
    let mut moved = Command::new("ip");
    moved.args(["netns", "exec", &cluster.namespace(THIEF), &lanlord(), "move", "web", target]).env("KUBECONFIG", kubeconfig(cluster));
    result(&moved.output().expect("ip runs")).expect("an agent may move an address");
    cluster.wait_owner("web", "it is where it was asked to be", |owner| owner == target);

    cluster.power("off", &[target]);
    cluster.wait_until(10, "another node answers", || cluster.client.owner_of(address).is_some_and(|owner| owner != target));
    cluster.wait_until(10, "the lost node is no member", || holder(cluster, target).is_none());
    cluster.wait_owner("web", "another node is recorded", |owner| owner != target);
    cluster.power("on", &[target]);
    cluster.node(target).agent_start("configmap:lanlord/lanlord");
    cluster.wait_until(20, "it is a member again", || cluster.leader().is_some());

    let leader = cluster.leader().expect("somebody leads");
    let leader = leader.split('/').next().expect("its node").to_owned();
    cluster.node(&leader).agent_stop();
    cluster.wait_until(20, "another one leads", || {
        let lease = cluster.json(&["get", "lease", "leader", "-n", "lanlord"]);
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        !holder.is_empty() && !holder.starts_with(&format!("{leader}/"))
    });
    cluster.node(&leader).agent_start("configmap:lanlord/lanlord");
    cluster.wait_until(20, "all are members", || cluster.leader().is_some());
    cluster.wait_reachable("web");
}

#[test]
fn the_hardened_overlay_hinders_nothing_that_lanlord_does_and_everything_else() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.configure("addresses", "10.77.0.240-10.77.0.249,fd77::f0-fd77::f9");
    cluster.agents_start();
    cluster.create(&service("web", &json!({}), &json!({"example.com/theirs": "yes"})));
    cluster.wait_announced("web");
    cluster.create(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "plain"}, "spec": {"ports": [{"port": 80}]}}));
    cluster.kubectl(&[
        "patch",
        "service",
        "web",
        "--subresource=status",
        "--type=strategic",
        "-p",
        &json!({"status": {"conditions": [condition("example.com/Theirs")]}}).to_string(),
    ]);
    what_the_rights_alone_allow(&cluster);

    cluster.kubectl(&["apply", "-k", &format!("{ROOT}/manifests/overlays/hardened")]);
    for (object, words) in [("services/web", "no annotation"), ("leases/node.n2", "its own node")] {
        let mut tries = 0;
        cluster.wait_until(20, &format!("the policy on {object} is in force"), || {
            tries += 1;
            patch(&cluster, object, &annotation("example.com/try", &tries.to_string())).is_err_and(|complaint| complaint.contains(words))
        });
    }
    for policy in ["lanlord-services", "lanlord-leases"] {
        let policy = cluster.json(&["get", "validatingadmissionpolicy", policy]);
        assert!(policy["status"]["typeChecking"]["expressionWarnings"].is_null(), "{policy}");
    }
    everything_else_is_refused(&cluster);
    everything_works(&cluster);
    for node in cluster.nodes() {
        assert!(!node.log().contains("ValidatingAdmissionPolicy"), "the agent on {} was refused something: {}", node.name, node.log());
    }
}
