//! Scenarios for `lanlord plan`: MetalLB's documents and Kubernetes objects in, one line for each Service out. What a person would give
//! the command is given to it, so text, conversion, assignment and plan are under test together.

use clap::Parser;
use lanlord::cli::plan::Plan;
use serde_json::{Value, json};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    plan: Plan,
}

/// An object of MetalLB's with this `spec` (what stands in braces).
pub(crate) fn document(kind: &str, name: &str, spec: &str) -> String {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    format!("apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n")
}

/// An `IPAddressPool`.
pub(crate) fn pool(name: &str, addresses: &str, more: &str) -> String {
    document("IPAddressPool", name, &format!("addresses: [{addresses}], {more}"))
}

/// An `L2Advertisement`.
pub(crate) fn l2(name: &str, spec: &str) -> String {
    document("L2Advertisement", name, spec)
}

/// `base` with `more` over it, if there is more.
fn over(mut base: Value, more: Value) -> Value {
    if !more.is_null() {
        merge(&mut base, more);
    }
    base
}

/// Puts `more` into `into`, mapping by mapping.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// A Service `name` (or `namespace/name`) of port 80, the older the less `number` is, with `more` over it.
pub(crate) fn service(number: u32, name: &str, more: Value) -> Value {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "resourceVersion": "1",
            "creationTimestamp": format!("2026-01-01T00:00:{number:02}Z")},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "selector": {"app": name}, "ports": [{"port": 80, "protocol": "TCP"}]},
    });
    over(service, more)
}

/// The annotations `name: value`.
pub(crate) fn annotated(annotations: &[(&str, &str)]) -> Value {
    let annotations: serde_json::Map<String, Value> = annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({"metadata": {"annotations": annotations}})
}

/// Both families, IPv4 first.
pub(crate) fn dual(policy: &str, more: Value) -> Value {
    let dual = json!({"spec": {"clusterIPs": ["10.96.0.9", "fd96::9"], "ipFamilyPolicy": policy}});
    over(dual, more)
}

/// An EndpointSlice with one endpoint for each of `nodes`, under these conditions.
pub(crate) fn endpoints(name: &str, nodes: &[&str], conditions: &Value) -> Value {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    let endpoint = |node: &&str| json!({"addresses": ["10.42.0.9"], "nodeName": node, "conditions": conditions});
    let label = json!({"kubernetes.io/service-name": name});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": namespace, "name": format!("{name}-{}", nodes.join("-")), "labels": label},
        "endpoints": nodes.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// A Ready node with its host name for a label, and `more` over it.
pub(crate) fn node(name: &str, more: Value) -> Value {
    let number = &name[1..];
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [
            {"type": "InternalIP", "address": format!("192.168.1.1{number}")}, {"type": "InternalIP", "address": format!("fd00::1{number}")}]},
    });
    over(node, more)
}

/// Nodes n1 to n3 with nothing special.
pub(crate) fn nodes() -> Vec<Value> {
    ["n1", "n2", "n3"].map(|name| node(name, Value::Null)).into()
}

/// A Namespace with one label.
pub(crate) fn namespace(name: &str, key: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {key: value}}})
}

/// The Lease of a running agent, with its links and their addresses.
pub(crate) fn member(node: &str, links: &[(&str, &[&str])]) -> Value {
    let link = |(number, (name, addresses)): (usize, &(&str, &[&str]))| json!({"name": name, "mac": format!("02:00:00:00:0{number}:{}0", &node[1..]), "addresses": addresses});
    let links: Vec<Value> = links.iter().enumerate().map(link).collect();
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": format!("node.{node}"), "namespace": "lanlord", "resourceVersion": "1",
            "annotations": {"lanlord.dev/links": serde_json::to_string(&links).unwrap()}},
        "spec": {"holderIdentity": format!("{node}/1"), "leaseTransitions": 1},
    })
}

/// What `lanlord plan -o json` says.
pub(crate) fn plan(config: &str, objects: &[Value]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, config).unwrap();
    let cli = Cli::try_parse_from(["plan", "--config", path.to_str().unwrap(), "--cluster", "-", "-o", "json"]).unwrap();
    let cluster = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli.plan.run_on(&mut cluster.as_bytes(), &mut out, &mut err).unwrap();
    assert!(code < 2, "{}", String::from_utf8_lossy(&err));
    serde_json::from_slice(&out).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn name_of(service: &Value) -> String {
    let (namespace, name) = (service["namespace"].as_str().unwrap(), service["name"].as_str().unwrap());
    if namespace == "default" { name.to_owned() } else { format!("{namespace}/{name}") }
}

fn or_none(texts: &[&str], between: &str) -> String {
    if texts.is_empty() { "-".to_owned() } else { texts.join(between) }
}

fn with(line: String, problems: &[&str]) -> String {
    if problems.is_empty() { line } else { format!("{line}: {}", problems.join("; ")) }
}

/// `name addresses pool: why no more`
fn assigned(service: &Value) -> String {
    let problems: Vec<&str> = texts(&service["problems"]).into_iter().filter(|text| !text.contains("not announced")).collect();
    let pool = service["pool"].as_str().unwrap_or("-");
    with(format!("{} {} {pool}", name_of(service), or_none(&texts(&service["addresses"]), ",")), &problems)
}

/// `name owner/links: why not`
fn announced(report: &Value, service: &Value) -> String {
    let mut announced: Vec<String> = texts(&service["addresses"]).iter().filter_map(|address| announcer(report, address)).collect();
    announced.dedup();
    let announced: Vec<&str> = announced.iter().map(String::as_str).collect();
    with(format!("{} {}", name_of(service), or_none(&announced, ",")), &texts(&service["problems"]))
}

/// `n1` or `n1/eth0+eth1`
fn announcer(report: &Value, address: &str) -> Option<String> {
    let of_address = report["addresses"].as_array().unwrap().iter().find(|it| it["address"] == address)?;
    let owner = of_address["owner"].as_str()?;
    let links = texts(&of_address["interfaces"][owner]).join("+");
    Some(if links.is_empty() { owner.to_owned() } else { format!("{owner}/{links}") })
}

/// The candidates of an address, those that are not eligible in brackets.
pub(crate) fn candidates(config: &str, objects: &[Value], address: &str) -> String {
    let report = plan(config, objects);
    let of_address =
        report["addresses"].as_array().unwrap().iter().find(|it| it["address"] == address).unwrap_or_else(|| panic!("{report}"));
    let eligible = texts(&of_address["eligible"]);
    let candidates = texts(&of_address["candidates"]).into_iter();
    candidates.map(|node| if eligible.contains(&node) { node.to_owned() } else { format!("({node})") }).collect::<Vec<_>>().join(" ")
}

fn assert_lines(what: &str, lines: &[String], expected: &[&str]) {
    let fits = |(line, expected): (&String, &&str)| if expected.contains(": ") { line.starts_with(expected) } else { line == expected };
    let fit = lines.len() == expected.len() && lines.iter().zip(expected).all(fits);
    assert!(fit, "{what}\n--- expected\n{}\n--- is\n{}", expected.join("\n"), lines.join("\n"));
}

/// For each Service `name addresses pool`, `-` where there is none; or that and the beginning of why after `: `.
pub(crate) fn assert_assigned(what: &str, config: &str, objects: &[Value], expected: &[&str]) {
    let report = plan(config, objects);
    let lines: Vec<String> = report["services"].as_array().unwrap().iter().map(assigned).collect();
    assert_lines(what, &lines, expected);
}

/// For each Service `name owner`, with links where they are known `name owner/links`; or `name -: ` and the beginning of why.
pub(crate) fn assert_announced(what: &str, config: &str, objects: &[Value], expected: &[&str]) {
    let report = plan(config, objects);
    let lines: Vec<String> = report["services"].as_array().unwrap().iter().map(|service| announced(&report, service)).collect();
    assert_lines(what, &lines, expected);
}
