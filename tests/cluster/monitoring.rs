//! A real Prometheus on a machine of the LAN scrapes three real agents: what it is told of a pool without a free address, and by whom.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Cluster, Options};

const WEB: &str = "127.0.0.1:9090";

/// Prometheus on the client; ends with its test.
struct Prometheus<'a> {
    cluster: &'a Cluster,
    child: Child,
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // `ip netns exec` becomes the program it starts.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Prometheus<'a> {
    /// Scrapes all agents each second, over the LAN, and evaluates the alerts of the manifests.
    fn start(cluster: &'a Cluster) -> Self {
        let directory = cluster.path("prometheus");
        fs::create_dir_all(&directory).expect("the cluster has a directory");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/overlays/prometheus/prometheusrule.yaml");
        let manifest = fs::read_to_string(manifest).expect("the rules");
        let rules: Value = serde_yaml::from_str::<Value>(&manifest).expect("YAML")["spec"].take();
        fs::write(directory.join("rules.yaml"), rules.to_string()).expect("the rules are written");
        let targets = ["10.77.0.11:7475", "10.77.0.12:7475", "[fd77::13]:7475"];
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "lanlord", "honor_labels": true, "static_configs": [{"targets": targets}]}],
        });
        fs::write(directory.join("prometheus.yaml"), config.to_string()).expect("the configuration is written");
        let child = Command::new("ip")
            .args(["netns", "exec", &cluster.namespace("cl"), "prometheus", "--config.file=prometheus.yaml"])
            .args(["--storage.tsdb.path=data", "--log.level=warn", &format!("--web.listen-address={WEB}")])
            .current_dir(directory)
            .stdin(Stdio::null())
            .spawn()
            .expect("ip runs");
        Self { cluster, child }
    }

    fn api(&self, path: &str) -> Value {
        let answer = self.cluster.client.http(&format!("http://{WEB}/api/v1/{path}"));
        answer.ok().and_then(|answer| serde_json::from_str(&answer).ok()).unwrap_or_default()
    }

    /// What a query without signs that a URL cannot have results in: labels and value of each row.
    fn query(&self, query: &str) -> Vec<(Value, String)> {
        let answer = self.api(&format!("query?query={query}"));
        let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        rows.into_iter().map(|row| (row["metric"].clone(), row["value"][1].as_str().unwrap_or_default().to_owned())).collect()
    }

    /// Alerts whose expression holds (their time may not be up yet).
    fn alerts(&self, name: &str) -> Vec<Value> {
        let alerts = self.api("alerts")["data"]["alerts"].as_array().cloned().unwrap_or_default();
        alerts.into_iter().filter(|alert| alert["labels"]["alertname"] == name).collect()
    }
}

#[test]
fn prometheus_sees_that_a_pool_is_full_and_that_a_service_waits_until_an_address_is_free() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2"]);
    cluster.configure("addresses", "10.77.0.240/32");
    cluster.agents_start();
    let prometheus = Prometheus::start(&cluster);
    cluster.load_balancer("web", "ipFamilyPolicy: SingleStack");
    cluster.wait_announced("web");
    let owner = cluster.wait_owner("web", "it is announced", |_| true);
    cluster.wait_until(60, "all three agents are scraped, and one leads", || {
        prometheus.query("sum(up)").iter().any(|(_, value)| value == "3")
            && prometheus.query("sum(lanlord_leader)").iter().any(|(_, value)| value == "1")
    });
    cluster.wait_until(20, "the pool is full", || !prometheus.alerts("LanlordAddressPoolExhausted").is_empty());
    let alert = prometheus.alerts("LanlordAddressPoolExhausted").remove(0);
    let labels = ["job", "pool", "family", "severity"].map(|label| alert["labels"][label].as_str().unwrap_or_default().to_owned());
    assert_eq!(labels, ["lanlord", "default", "IPv4", "critical"], "{alert}");
    let summary = alert["annotations"]["summary"].as_str().expect("a summary");
    assert_eq!(summary, "Pool default has no IPv4 address left");
    let announced = prometheus.query("metallb_speaker_announced");
    assert_eq!(announced.len(), 1, "{announced:?}");
    for (label, value) in [("service", "default/web"), ("protocol", "layer2"), ("node", &owner), ("ip", "10.77.0.240")] {
        assert_eq!(announced[0].0[label], value, "{announced:?}");
    }

    assert!(prometheus.alerts("LanlordServicePending").is_empty());
    cluster.load_balancer("other", "ipFamilyPolicy: SingleStack");
    cluster.wait_until(20, "a Service waits", || !prometheus.alerts("LanlordServicePending").is_empty());
    cluster.kubectl(&["delete", "service", "other", "web"]);
    cluster.wait_until(20, "nothing waits, and the pool is free", || {
        ["LanlordServicePending", "LanlordAddressPoolExhausted"].iter().all(|name| prometheus.alerts(name).is_empty())
    });
    for name in ["LanlordNoLeader", "LanlordDetached", "LanlordConfigStale", "LanlordMemberMissing", "LanlordWritesRefused"] {
        assert_eq!(prometheus.alerts(name), Vec::<Value>::new(), "all else is well");
    }
}
