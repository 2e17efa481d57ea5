//! Alerts and dashboard before a real Prometheus: promtool reads every rule and runs each alert's tests, and a Prometheus that scrapes
//! what an agent serves evaluates all of them, MetalLB's own alerts too.
//!
//! Needs `promtool` and `prometheus` (Debian package `prometheus`); nothing but loopback is used.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lanlord::telemetry::guard::Audience;
use lanlord::telemetry::health::Health;
use lanlord::telemetry::live::{Live, State};
use lanlord::telemetry::metrics::Figures;
use lanlord::telemetry::paced::Paced;
use lanlord::telemetry::server::{self, Address, Site};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::figures::{ALERTS_OF_METALLB, everything};
use crate::support::within;

/// Until Prometheus has started, scraped and evaluated, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The rules as Prometheus takes them without its operator: by the command that docs/monitoring.md gives.
fn rules() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/overlays/prometheus/prometheusrule.yaml");
    let command = "sed -n '/^  groups:/,$s/^  //p'";
    assert!(read("docs/monitoring.md").contains(command), "docs/monitoring.md gives the command");
    let output = Command::new("sh").args(["-c", &format!("{command} \"$0\"")]).arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn promtool(arguments: &[&str], directory: &Path, input: &str) -> (Output, String) {
    let file = directory.join("input");
    fs::write(&file, input).unwrap();
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(directory).stdin(fs::File::open(&file).unwrap());
    let output = command.output().expect("promtool runs: apt-get install prometheus");
    let text = [&output.stdout[..], &output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

#[test]
fn promtool_takes_the_rules_and_every_alert_fires_when_it_has_to_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    file("whole.yaml", &rules());
    let (output, text) = promtool(&["check", "rules", "--lint-fatal", "whole.yaml"], directory.path(), "");
    assert!(output.status.success(), "{text}");

    // promtool would compare annotations word by word.
    let mut bare: Value = serde_yaml::from_str(&rules()).unwrap();
    for group in bare["groups"].as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("annotations");
        }
    }
    file("lanlord.yaml", &serde_yaml::to_string(&bare).unwrap());
    file("tests.yaml", &read("tests/lab/rules.yaml"));
    let (output, text) = promtool(&["test", "rules", "tests.yaml"], directory.path(), "");
    assert!(output.status.success(), "{text}");
}

#[test]
fn promtool_takes_the_configurations_of_the_page() {
    let page = read("docs/monitoring.md");
    let fences: String = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(fences.matches("- job_name: lanlord\n").count(), 2);
    let mut jobs: Vec<Value> = serde_yaml::from_str(&fences).unwrap();
    for (number, job) in jobs.iter_mut().enumerate() {
        // Two examples, of which a person takes one; and Debian builds Prometheus without the discovery of pods.
        job["job_name"] = format!("lanlord-{number}").into();
        job.as_object_mut().unwrap().remove("kubernetes_sd_configs");
    }
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("prometheus.yaml"), serde_json::json!({"scrape_configs": jobs}).to_string()).unwrap();
    let (output, text) = promtool(&["check", "config", "--lint-fatal", "prometheus.yaml"], directory.path(), "");
    assert!(output.status.success(), "{text}");
}

/// The same figures in the older text form, in which counters may have any name: the only one promtool checks.
fn in_the_older_form(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        let name = line.split(' ').nth(2).unwrap_or_default();
        let is_counter = text.contains(&format!("# TYPE {name} counter\n"));
        lines.push(match line.strip_prefix("# ") {
            Some(_) if is_counter => line.replacen(name, &format!("{name}_total"), 1),
            Some(_) => line.replace(" unknown", " counter"),
            None => line.to_owned(),
        });
    }
    lines.join("\n") + "\n"
}

#[test]
fn promtool_finds_no_fault_with_our_metrics_but_with_names_of_metallb() {
    let directory = tempfile::tempdir().unwrap();
    let (_, text) = promtool(&["check", "metrics"], directory.path(), &in_the_older_form(&everything().text()));
    let ours: Vec<&str> = text.lines().filter(|line| !line.starts_with("metallb_")).collect();
    assert_eq!(ours, Vec::<&str>::new(), "{text}");
    assert!(text.contains("metallb_allocator_addresses_total"), "it looked: {text}");
}

/// A Prometheus that ends with its test.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Prometheus {
    /// Scrapes `targets` as job `metallb` and evaluates `rules.yaml`, each second.
    fn start(directory: &Path, targets: &[SocketAddr]) -> Self {
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let config = serde_json::json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml", "metallb.yaml"],
            "scrape_configs": [{"job_name": "metallb", "honor_labels": true, "static_configs": [{"targets": targets}]}],
        });
        fs::write(directory.join("prometheus.yaml"), config.to_string()).unwrap();
        let address = free();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory)
            .stdin(Stdio::null())
            .spawn()
            .expect("prometheus runs: apt-get install prometheus");
        Self { child, address }
    }

    /// What its API answers; null while it does not.
    fn api(&self, path: &str, parameters: &[String]) -> Value {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "5", "-G"]);
        for parameter in parameters {
            command.args(["--data-urlencode", parameter]);
        }
        let output = command.arg(format!("http://{}/api/v1/{path}", self.address)).stderr(Stdio::null()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// All rules: name, health, state.
    fn rules(&self) -> Vec<[String; 3]> {
        let answer = self.api("rules", &[]);
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        rules.map(|rule| ["name", "health", "state"].map(|key| rule[key].as_str().unwrap_or_default().to_owned())).collect()
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An agent's server of `figures`, until the runtime ends.
fn served(runtime: &tokio::runtime::Runtime, figures: Figures) -> SocketAddr {
    let address = free();
    let live = Live::new(State::default);
    let (metrics, status) = (Paced::new(move || figures.clone().text()), Paced::new(String::new));
    let site = Site { health: Health::new(), metrics, status, live, audience: Audience::ThisHost };
    runtime.spawn(server::run(Address::Tcp(address), site, CancellationToken::new()));
    address
}

#[test]
fn prometheus_reads_what_agents_serve_and_metallbs_alerts_fire_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The leader tells of pools, the other agents do not.
    let other = Figures { pools: BTreeMap::new(), ..everything() };
    let targets = [served(&runtime, everything()), served(&runtime, other)];
    fs::write(directory.path().join("rules.yaml"), rules()).unwrap();
    let metallb: Vec<Value> = ALERTS_OF_METALLB.iter().map(|(name, expr)| serde_json::json!({"alert": name, "expr": expr})).collect();
    let metallb = serde_json::json!({"groups": [{"name": "metallb", "rules": metallb}]});
    fs::write(directory.path().join("metallb.yaml"), metallb.to_string()).unwrap();
    let prometheus = Prometheus::start(directory.path(), &targets);

    let mut seen = Vec::new();
    within(PATIENCE, "MetalLB's alerts fire", || {
        std::thread::sleep(Duration::from_millis(200));
        seen = prometheus.rules();
        let fires = |name: &str| seen.iter().any(|[rule, _, state]| rule == name && state == "firing");
        ALERTS_OF_METALLB.iter().all(|(name, _)| fires(name))
    });
    within(PATIENCE, "every rule was evaluated without an error", || {
        std::thread::sleep(Duration::from_millis(200));
        seen = prometheus.rules();
        assert!(!seen.iter().any(|[_, health, _]| health == "err"), "{seen:?}");
        seen.iter().all(|[_, health, _]| health == "ok")
    });
    // The first evaluation may have come before the first samples.
    within(PATIENCE, "Lanlord's alerts are pending", || {
        std::thread::sleep(Duration::from_millis(200));
        seen = prometheus.rules();
        let names =
            ["LanlordConfigStale", "LanlordNoLeader", "LanlordAddressPoolExhausted", "LanlordServiceNotAnnounced", "LanlordBGPSessionDown"];
        let raised = |name: &str| seen.iter().any(|[rule, _, state]| rule == name && ["pending", "firing"].contains(&&**state));
        names.into_iter().all(raised)
    });

    let board: Value = serde_json::from_str(&read("manifests/overlays/prometheus/dashboard.json")).unwrap();
    let targets = board["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    for expr in targets.map(|target| target["expr"].as_str().unwrap()) {
        let query = expr.replace("$node", ".*").replace("$__rate_interval", "1m");
        let answer = prometheus.api("query", &[format!("query={query}")]);
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        let rates = expr.contains("rate(") || expr.contains("increase(");
        assert!(rates || !answer["data"]["result"].as_array().unwrap().is_empty(), "a panel stays empty: {expr}");
    }
}
