//! What watches Lanlord from outside fits what it serves: alerts, dashboard and MetalLB's own rules name only metrics and labels that
//! `/metrics` has, the reference page lists them all, and docs/monitoring.md speaks of every alert.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it monitoring` writes docs/reference/metrics.md and dashboard.yaml anew.

mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_yaml::Value;

use crate::figures::{ALERTS_OF_METALLB, everything};
use promql::Query;

/// What Prometheus itself puts on every figure of a target, as it is set up by podmonitor.yaml, servicemonitor.yaml and docs/monitoring.md.
const OF_TARGET: [&str; 5] = ["job", "instance", "pod", "namespace", "container"];

/// The metrics of MetalLB 0.16.1 (its pages, its three programs, and the names its frr-k8s metrics are relabelled to).
const METALLB: &str = "
    metallb_allocator_addresses_total metallb_allocator_ipv4_addresses_total metallb_allocator_ipv6_addresses_total
    metallb_allocator_addresses_in_use_total metallb_allocator_ipv4_addresses_in_use_total metallb_allocator_ipv6_addresses_in_use_total
    metallb_allocator_services_allocated_total
    metallb_k8s_client_updates_total metallb_k8s_client_update_errors_total
    metallb_k8s_client_config_loaded_bool metallb_k8s_client_config_stale_bool
    metallb_speaker_announced
    metallb_layer2_requests_received metallb_layer2_responses_sent metallb_layer2_gratuitous_sent
    metallb_bgp_session_up metallb_bgp_announced_prefixes_total metallb_bgp_received_prefixes_total metallb_bgp_pending_prefixes_total
    metallb_bgp_updates_total metallb_bgp_updates_total_received
    metallb_bgp_opens_sent metallb_bgp_opens_received metallb_bgp_notifications_sent
    metallb_bgp_keepalives_sent metallb_bgp_keepalives_received metallb_bgp_route_refresh_sent
    metallb_bgp_total_sent metallb_bgp_total_received
    metallb_bfd_session_up metallb_bfd_control_packet_input metallb_bfd_control_packet_output
    metallb_bfd_echo_packet_input metallb_bfd_echo_packet_output
    metallb_bfd_session_up_events metallb_bfd_session_down_events metallb_bfd_zebra_notifications";

struct Metric {
    type_: String,
    help: String,
    labels: Vec<String>,
}

/// What `/metrics` serves, by the name a query uses.
fn served() -> BTreeMap<String, Metric> {
    let text = everything().text();
    let mut described: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut served: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => described.entry(name).or_default().1 = help,
            ["#", "TYPE", name, type_] => described.entry(name).or_default().0 = type_,
            ["#", ..] => {}
            _ => {
                let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
                let labels = rest.split_once('}').map_or("", |(labels, _)| labels).trim_start_matches('{');
                let labels = labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
                let base = if described.contains_key(name) { name } else { name.strip_suffix("_total").unwrap() };
                let (type_, help) = described[base];
                let new = || Metric { type_: type_.to_owned(), help: help.trim_end_matches('.').to_owned(), labels: Vec::new() };
                let metric = served.entry(name.to_owned()).or_insert_with(new);
                for label in labels {
                    if !metric.labels.contains(&label) {
                        metric.labels.push(label);
                    }
                }
            }
        }
    }
    served
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn overlay(file: &str) -> String {
    read(&format!("manifests/overlays/prometheus/{file}"))
}

fn yaml(file: &str) -> Value {
    Value::deserialize(serde_yaml::Deserializer::from_str(&overlay(file))).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The file is as it should be, or is made so.
fn golden(file: &str, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path(file).parent().unwrap()).unwrap();
        fs::write(path(file), text).unwrap();
    }
    let found = fs::read_to_string(path(file)).unwrap_or_default();
    assert!(found == text, "{file} is not what the code says; UPDATE_GOLDEN=1 cargo test --test it monitoring writes it");
}

#[test]
fn every_metric_is_in_the_reference() {
    let mut page = "\
# Metrics

What each agent serves at `http://NODE:7475/metrics`, in the OpenMetrics text form. Written from the code by a test; how to use it:
[monitoring](../monitoring.md). A metric whose labels name a pool, an address or a peer has one row for each, and none when it is gone.

| metric | type | labels | unit | meaning |
|---|---|---|---|---|
"
    .to_owned();
    for (name, Metric { type_, help, labels }) in served() {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let unit = match &*name {
            _ if name.contains("_seconds") => "seconds",
            _ if name.ends_with("_bytes") => "bytes",
            _ if help.starts_with("1 ") || help.starts_with("1,") => "0 or 1",
            _ => "count",
        };
        page += &format!("| `{name}` | {type_} | {} | {unit} | {help} |\n", labels.join(", "));
    }
    page += "\n\
`unknown` is a counter under a name of MetalLB's that OpenMetrics does not allow for counters; `rate` and `increase` work on it.\n\
`vrf` is there only for peers that have one. Counts begin at the agent's start, those of sessions when the session is configured.\n";
    golden("docs/reference/metrics.md", &page);
}

struct Rule {
    name: String,
    expr: String,
    labels: Vec<String>,
    texts: Vec<String>,
}

/// The rules, and whether each is an alert.
fn rules() -> Vec<(bool, Rule)> {
    let file = yaml("prometheusrule.yaml");
    let groups = file["spec"]["groups"].as_sequence().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap());
    let texts = |rule: &Value| ["summary", "description"].map(|key| rule["annotations"][key].as_str().unwrap_or_default().to_owned());
    let rule = |rule: &Value| {
        let is_alert = rule.get("alert").is_some();
        let name = rule[if is_alert { "alert" } else { "record" }].as_str().unwrap().to_owned();
        let labels = rule["labels"].as_mapping().into_iter().flatten().map(|(key, _)| key.as_str().unwrap().to_owned());
        (is_alert, Rule { name, expr: rule["expr"].as_str().unwrap().to_owned(), labels: labels.collect(), texts: texts(rule).into() })
    };
    rules.map(rule).collect()
}

fn alerts() -> Vec<Rule> {
    rules().into_iter().filter_map(|(is_alert, rule)| is_alert.then_some(rule)).collect()
}

/// What a query may name: what is served, and what rules record from it.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let of_target = || OF_TARGET.map(str::to_owned);
    let mut known: BTreeMap<String, BTreeSet<String>> =
        served().into_iter().map(|(name, metric)| (name, metric.labels.into_iter().chain(of_target()).collect())).collect();
    for (_, rule) in rules().into_iter().filter(|(is_alert, _)| !is_alert) {
        let labels = Query::read(&rule.expr).result(&known).unwrap_or_else(|wrong| panic!("{}: {wrong}", rule.name));
        known.insert(rule.name, labels);
    }
    known
}

#[test]
fn rules_ask_for_metrics_and_labels_that_are_served_and_say_what_is_so_and_what_to_do() {
    let known = known();
    for alert in alerts() {
        let name = &alert.name;
        let labels = Query::read(&alert.expr).result(&known).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        assert_eq!(alert.labels, ["severity"], "{name}");
        assert!(alert.texts[0].len() > 15 && alert.texts[1].len() > 80, "{name} says what, why and what to do");
        for text in &alert.texts {
            for label in text.split("$labels.").skip(1).map(|rest| rest.split([' ', '}']).next().unwrap()) {
                assert!(labels.contains(label), "{name} tells {label}, and its expression has {labels:?}");
            }
        }
    }
}

#[test]
fn a_rule_with_a_wrong_name_is_noticed() {
    let known = known();
    for (expr, wrong) in [
        ("lanlord_leaders == 0", "no metric lanlord_leaders"),
        ("lanlord_leader{node=\"n1\"} == 0", "no label node"),
        ("max by (pool) (lanlord_leader)", "no label pool"),
    ] {
        assert!(Query::read(expr).result(&known).unwrap_err().contains(wrong), "{expr}");
    }
}

#[test]
fn every_alert_is_tested_and_explained() {
    let tests: Value = serde_yaml::from_str(&read("tests/lab/rules.yaml")).unwrap();
    let page = read("docs/monitoring.md");
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let is_it = |test: &&Value| test["name"] == alert.name.as_str();
        let test = tests["tests"].as_sequence().unwrap().iter().find(is_it).unwrap_or_else(|| panic!("no test of {}", alert.name));
        let cases = test["alert_rule_test"].as_sequence().unwrap();
        let fires = |case: &Value| !case["exp_alerts"].as_sequence().unwrap().is_empty();
        assert!(cases.iter().any(fires) && !cases.iter().all(fires), "{} fires once and once does not", alert.name);
        assert!(cases.iter().all(|case| case["alertname"] == alert.name.as_str()), "{}", alert.name);
        let rows = page.lines().filter(|line| line.starts_with('|') && line.contains(&format!("`{}`", alert.name))).count();
        assert_eq!(rows, 1, "rows of {} in docs/monitoring.md", alert.name);
        assert!(names.insert(alert.name.clone()), "{} twice", alert.name);
    }
    for word in page.split(|c: char| !c.is_alphanumeric()).filter(|word| word.starts_with("Lanlord") && word.len() > 7) {
        assert!(names.contains(word), "docs/monitoring.md tells of {word}, and there is no such alert");
    }
}

#[test]
fn the_rules_of_metallb_find_what_they_ask_for() {
    let known = known();
    for (name, expr) in ALERTS_OF_METALLB {
        Query::read(expr).result(&known).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        let ours = name.replace("MetalLB", "Lanlord").replace("StaleConfig", "ConfigStale");
        assert!(alerts().iter().any(|alert| alert.name == ours), "{ours}");
    }
    let page = read("docs/monitoring.md");
    for name in METALLB.split_whitespace() {
        let is_missing = |line: &str| line.contains(&format!("`{name}`")) && line.contains("| not there");
        assert!(known.contains_key(name) != page.lines().any(is_missing), "{name}: served, or docs/monitoring.md says why not");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_are_served_from_the_chosen_datasource() {
    let text = overlay("dashboard.json");
    let board: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&board["uid"], board.get("id"), board.get("__inputs")), (&"lanlord".into(), None, None));
    let known = known();
    let panels = board["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut rows = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: the id is there twice");
        if panel["type"] == "row" {
            rows.push(title);
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for (target, expr) in targets.iter().map(|target| (target, target["expr"].as_str().unwrap())) {
            assert_eq!((&panel["datasource"]["uid"], &target["datasource"]["uid"]), (&"${datasource}".into(), &"${datasource}".into()));
            // A board without the rules shows all the same.
            assert!(!expr.contains("lanlord:"), "{title}: {expr}");
            Query::read(expr).result(&known).unwrap_or_else(|wrong| panic!("{title}: {wrong}"));
        }
    }
    assert_eq!(rows, ["Services and pools", "Who announces", "Layer 2", "Liveness", "BGP", "BFD with routers", "Agent"]);
    let variables: Vec<&str> = board["templating"]["list"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "node"]);

    let packed = overlay("dashboard.yaml");
    let head = packed.split_inclusive("lanlord.json: |\n").next().unwrap();
    let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
    golden("manifests/overlays/prometheus/dashboard.yaml", &format!("{head}{lines}"));
    let map = yaml("dashboard.yaml");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["data"]["lanlord.json"].as_str(), Some(&*text));
}

#[test]
fn monitors_find_the_pods_of_the_manifest_and_the_port_without_declaring_it() {
    let base: Value = serde_yaml::from_str(&read("manifests/base/daemonset.yaml")).unwrap();
    let labels = &base["spec"]["template"]["metadata"]["labels"];
    let has = |wanted: &Value, labels: &Value| wanted.as_mapping().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value));
    let (pods, service, monitor) = (yaml("podmonitor.yaml"), yaml("service.yaml"), yaml("servicemonitor.yaml"));
    assert!(has(&pods["spec"]["selector"]["matchLabels"], labels) && has(&service["spec"]["selector"], labels));
    assert!(has(&monitor["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"]));
    let endpoint = &pods["spec"]["podMetricsEndpoints"][0];
    for key in ["port", "portNumber", "targetPort"] {
        assert!(endpoint.get(key).is_none(), "{key} keeps only containers that declare the port, and ours do not");
    }
    let addresses: Vec<&str> = endpoint["relabelings"]
        .as_sequence()
        .unwrap()
        .iter()
        .filter(|it| it["targetLabel"] == "__address__")
        .map(|it| it["replacement"].as_str().unwrap())
        .collect();
    assert_eq!(addresses, ["$1:7475", "[$1]:7475"]);
    assert_eq!((&service["spec"]["ports"][0]["targetPort"], &service["spec"]["clusterIP"]), (&7475.into(), &"None".into()));
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    for (monitor, endpoints) in [(&pods, "podMetricsEndpoints"), (&monitor, "endpoints")] {
        assert_eq!(monitor["spec"][endpoints][0]["honorLabels"], true, "figures have labels `node` and `service` of their own");
        assert!(labels.get(monitor["spec"]["jobLabel"].as_str().unwrap()).is_some());
    }
    let overlay = yaml("kustomization.yaml");
    assert_eq!(
        overlay["resources"],
        Value::from(vec!["podmonitor.yaml", "prometheusrule.yaml", "dashboard.yaml"]),
        "one monitor, not both"
    );
}
