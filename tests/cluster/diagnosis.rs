//! Twelve mistakes that people make, made on purpose: within five seconds `kubectl describe` of the Service, or of the ConfigMap, has to
//! say alone what is wrong, why, and what to do. The score is printed with the words it was given for.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures real time, for people")]

use std::time::Instant;

use serde_json::json;

use crate::support::Cluster;
use crate::support::Options;
use crate::support::seen::service;

/// Where a person looks.
#[derive(Clone, Copy)]
enum At {
    Service(&'static str),
    ConfigMap,
}

struct Examination {
    cluster: Cluster,
    /// A line for each mistake: the words, or that they are missing.
    lines: Vec<String>,
    score: usize,
}

impl Examination {
    /// Makes a mistake and looks for an Event with all these words: what is wrong, why, and what to do.
    fn mistake(&mut self, name: &str, at: At, words: &[&str], make: impl FnOnce(&Cluster)) {
        let told = |cluster: &Cluster| {
            let arguments: &[&str] = match at {
                At::Service(name) => &["describe", "service", name],
                At::ConfigMap => &["describe", "configmap", "lanlord", "-n", "lanlord"],
            };
            let described = cluster.try_kubectl(arguments).unwrap_or_default();
            described.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        };
        assert_eq!(told(&self.cluster), None, "{name}: it was said before the mistake was made");
        make(&self.cluster);
        let (begun, mut found) = (Instant::now(), None);
        while found.is_none() && begun.elapsed().as_secs() < 5 {
            found = told(&self.cluster);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let line = found.map_or_else(
            || format!("missing {words:?}"),
            |line| {
                self.score += 1;
                format!("{seconds:.1} s: {}", line.split_whitespace().collect::<Vec<_>>().join(" "))
            },
        );
        println!("{name}: {line}");
        self.lines.push(format!("{name}: {line}"));
    }
}

/// Pool `lan`, announced from the nodes of rack nine.
const RACK: &str = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: lan}\nspec: {addresses: [10.77.0.240-10.77.0.249]}\n---\n\
    apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: lan}\n\
    spec: {ipAddressPools: [lan], nodeSelectors: [{matchLabels: {rack: nine}}]}\n";
const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

#[test]
fn diagnosis_of_twelve_mistakes() {
    let cluster = Cluster::start(&Options::default());
    cluster.backend("web", &["n1", "n2", "n3"]);
    cluster.agents_start();
    let mut exam = Examination { cluster, lines: Vec::new(), score: 0 };
    configuration(&mut exam);
    services(&mut exam);
    nodes(&mut exam);
    println!("\ndiagnosis score: {} of 12", exam.score);
    assert_eq!((exam.score, exam.lines.len()), (12, 12), "\n{}", exam.lines.join("\n"));
}

fn configuration(exam: &mut Examination) {
    exam.mistake(
        "no configuration",
        At::Service("first"),
        &[
            "AllocationFailed",
            "no addresses are configured",
            "kubectl create configmap lanlord -n lanlord --from-literal",
            "addresses=10.77.0.",
        ],
        |cluster| cluster.create(&service("first", &json!({}), &json!({}))),
    );
    let words = ["ConfigRejected", "adresses", "did you mean `addresses`?"];
    exam.mistake("a typo", At::ConfigMap, &words, |cluster| cluster.configure("adresses", "10.77.0.240-10.77.0.242"));
    let words = ["192.168.50.10", "is on no node's network", "10.77.0.0/24", "use a pool inside one of them"];
    exam.mistake("a range that is on no link", At::Service("first"), &words, |cluster| {
        cluster.configure("addresses", "192.168.50.10-192.168.50.20");
    });
    let words = ["ConfigLoaded", "left out", "10.77.0.1 is the gateway"];
    exam.mistake("the gateway in the range", At::ConfigMap, &words, |cluster| cluster.configure("addresses", "10.77.0.1-10.77.0.3"));
    exam.cluster.configure("addresses", "10.77.0.240-10.77.0.242");
    exam.cluster.wait_until(10, "the Service has its address", || exam.cluster.address("first").as_deref() == Some("10.77.0.240"));
}

fn services(exam: &mut Examination) {
    let words = ["AddressInUse", "10.77.0.241", "another machine of the LAN uses it (02:77:", "give that machine another address"];
    exam.mistake("an address that another machine uses", At::Service("second"), &words, |cluster| {
        cluster.client.run(&["ip", "address", "add", "10.77.0.241/24", "dev", "eth0"]).expect("the client takes it");
        cluster.create(&service("second", &json!({}), &json!({})));
    });
    exam.cluster.client.run(&["ip", "address", "delete", "10.77.0.241/24", "dev", "eth0"]).expect("the client gives it up");
    let words = ["LeftToServiceLB", "k3s ServiceLB is on (n1)", "serves Services without a class", "switch it off on n1"];
    exam.mistake("ServiceLB is on", At::Service("third"), &words, |cluster| {
        cluster.kubectl(&["annotate", "node", "n1", "k3s.io/node-args=[\"server\"]"]);
        cluster.create(&service("third", &json!({}), &json!({})));
    });
    exam.cluster.kubectl(&["delete", "service", "third"]);
    exam.cluster.kubectl(&["annotate", "node", "n1", "k3s.io/node-args-"]);
    exam.cluster.wait_announced("second");
    let words = ["AllocationFailed", "all IPv4 addresses of default are taken", "add addresses to the configuration"];
    exam.mistake("a full pool", At::Service("second"), &words, |cluster| cluster.configure("addresses", "10.77.0.240/32"));
    exam.cluster.configure("addresses", "10.77.0.240-10.77.0.249");
    let words = ["AllocationFailed", "10.99.0.1 was asked for, but is in no pool", "ask for another address"];
    exam.mistake("a foreign address is asked for", At::Service("asks"), &words, |cluster| {
        cluster.create(&service("asks", &json!({}), &json!({"metallb.io/loadBalancerIPs": "10.99.0.1"})));
    });
    let words = ["not announced", "has no endpoints", "check that its selector matches running pods"];
    exam.mistake("no endpoints", At::Service("empty"), &words, |cluster| {
        cluster.create(&service("empty", &json!({"selector": {"app": "nothing"}}), &json!({})));
    });
    let words = ["NotAnnounced", "no running node matches the nodeSelectors for pool lan", "rack", "label a node or change the selectors"];
    exam.mistake("an advertisement that matches no node", At::Service("first"), &words, |cluster| cluster.configure("metallb.yaml", RACK));
    exam.cluster.configure("addresses", "10.77.0.240-10.77.0.249");
    exam.cluster.wait_announced("first");
}

fn nodes(exam: &mut Examination) {
    let words = ["LivenessBlocked", "UDP 7474", "although the kernel there answers", "open UDP 7474 between the nodes"];
    exam.mistake("UDP 7474 is blocked", At::ConfigMap, &words, |cluster| cluster.lan("filter", &["7474"]));
    exam.cluster.lan("pass", &["7474"]);
    let words = ["ExcludeLabelIgnored", "all nodes (n1, n2, n3) are labelled", "kubectl label nodes --all"];
    exam.mistake("all nodes are excluded", At::ConfigMap, &words, |cluster| {
        cluster.kubectl(&["label", "nodes", "--all", &format!("{LABEL}=")]);
    });
    exam.cluster.wait_announced("first");
}
