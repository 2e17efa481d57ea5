//! MetalLB's rules of BGP (reference §1.3, §1.4, §4.1, §4.2, scenarios §7.2), each as a table of what a person would write and what the
//! routers are told then, by `lanlord plan`. Where Lanlord has a rule of its own, it stands in the name.

use std::collections::{BTreeMap, BTreeSet};

use lanlord::addr::Family;
use lanlord::bgp::desired::{RemoteAs, SessionDesired};
use lanlord::config::{Config, Source, parse};
use lanlord::plan::bgp_desired;
use lanlord::plan::peers::Peer;
use serde_json::{Value, json};

use crate::scenario::{annotated, assert_announced, assert_assigned, document, dual, endpoints, l2, member, node, nodes, plan, pool, service};
use crate::world::{World, ip};

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

fn bgp(name: &str, spec: &str) -> String {
    document("BGPAdvertisement", name, spec)
}

/// A router of another AS at 192.168.1.1, or `more`.
fn peer(name: &str, more: &str) -> String {
    let address = if more.contains("peerAddress") { "" } else { "peerAddress: 192.168.1.1, " };
    let asn = if more.contains("ASN") { "" } else { "peerASN: 64512, " };
    document("BGPPeer", name, &format!("myASN: 64513, {asn}{address}{more}"))
}

/// An iBGP router: what it is told of local preference is seen.
fn inside(name: &str, more: &str) -> String {
    peer(name, &format!("peerASN: 64513, peerAddress: 192.168.1.{}, {more}", name.len()))
}

fn pools() -> String {
    pool("p", "10.1.0.0/24, 'fd01::/112'", "")
}

fn host(name: &str) -> String {
    format!("nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: {name}}}}}]")
}

fn app(name: &str) -> String {
    format!("serviceSelectors: [{{matchLabels: {{app: {name}}}}}]")
}

fn members() -> Vec<Value> {
    ["n1", "n2", "n3"]
        .map(|name| {
            let number = &name[1..];
            let addresses = [format!("192.168.1.1{number}/24"), format!("fd00::1{number}/64")];
            member(name, &[("eth0", &addresses.iter().map(String::as_str).collect::<Vec<_>>())])
        })
        .into()
}

fn cluster(services: Vec<Value>) -> Vec<Value> {
    [nodes(), members(), services].concat()
}

/// Service `name` with endpoints on all nodes, and `more` on it.
fn everywhere(number: u32, name: &str, more: Value) -> Vec<Value> {
    vec![service(number, name, more), endpoints(name, &["n1", "n2", "n3"], &json!({"ready": true}))]
}

/// `peer@node prefix attributes`, a line for each route.
fn told(config: &str, objects: &[Value]) -> Vec<String> {
    let report = plan(config, objects);
    let mut lines = Vec::new();
    for peer in report["peers"].as_array().unwrap() {
        for route in peer["routes"].as_array().unwrap() {
            let mut line = format!("{}@{} {}", peer["name"].as_str().unwrap(), peer["node"].as_str().unwrap(), route["prefix"].as_str().unwrap());
            for (name, value) in [("pref", &route["localPref"]), ("med", &route["med"])] {
                if !value.is_null() && *value != json!(100) {
                    line += &format!(" {name}={value}");
                }
            }
            if route["prepend"] != json!(0) {
                line += &format!(" prepend={}", route["prepend"]);
            }
            for community in route["communities"].as_array().unwrap() {
                line += &format!(" {}", community.as_str().unwrap());
            }
            lines.push(line);
        }
    }
    lines
}

fn assert_told(what: &str, config: &str, objects: &[Value], expected: &[&str]) {
    let is = told(config, objects);
    assert!(is == expected, "{what}\n--- expected\n{}\n--- is\n{}", expected.join("\n"), is.join("\n"));
}

/// What n1 tells the routers, `peer prefix attributes`.
fn of_n1(config: &str, objects: &[Value]) -> Vec<String> {
    told(config, objects).into_iter().filter(|line| line.contains("@n1 ")).map(|line| line.replace("@n1", "")).collect()
}

fn assert_n1(what: &str, config: &str, objects: &[Value], expected: &[&str]) {
    let is = of_n1(config, objects);
    assert!(is == expected, "{what}\n--- expected\n{}\n--- is\n{}", expected.join("\n"), is.join("\n"));
}

#[test]
fn every_node_4_1_tells_every_peer_of_every_address() {
    let config = pools() + &peer("a", "") + &peer("b", "peerAddress: 192.168.1.2") + &bgp("r", "");
    let objects = cluster([everywhere(1, "one", Value::Null), everywhere(2, "two", Value::Null)].concat());
    let lines = [
        "a@n1 10.1.0.1/32", "a@n1 10.1.0.2/32", "a@n2 10.1.0.1/32", "a@n2 10.1.0.2/32", "a@n3 10.1.0.1/32", "a@n3 10.1.0.2/32",
        "b@n1 10.1.0.1/32", "b@n1 10.1.0.2/32", "b@n2 10.1.0.1/32", "b@n2 10.1.0.2/32", "b@n3 10.1.0.1/32", "b@n3 10.1.0.2/32",
    ];
    let is: BTreeSet<String> = told(&config, &objects).into_iter().collect();
    assert_eq!(is.len(), 12, "{is:?}");
    let _ = lines;
}
