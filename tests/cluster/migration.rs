//! From MetalLB to Lanlord and back, by the commands of docs/migration.md, with MetalLB itself: its manifest, its controller and a
//! speaker on each node. Every address stays with its Service on every way, nobody answers beside another, and what Lanlord leaves
//! behind is what the page says.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures real time, for people")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::crds;
use crate::support::Cluster;
use crate::support::Options;
use crate::support::cluster::result;
use crate::support::place::lanlord;
use crate::support::seen::{ingress, items, list, name, service};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const METALLB: &str = "metallb-system";

/// The directory of MetalLB's programs.
fn tools() -> PathBuf {
    let output = Command::new(format!("{ROOT}/scripts/tools.sh")).stdin(Stdio::null()).output().expect("bash runs");
    PathBuf::from(result(&output).expect("scripts/tools.sh builds MetalLB"))
}

/// The code fences of docs/migration.md between this heading and the next, in their order.
fn fences(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(format!("{ROOT}/docs/migration.md")).expect("the page");
    let section = page.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('#'));
    let (mut fences, mut open) = (Vec::new(), None);
    for line in section {
        match (line.trim().starts_with("```"), &mut open) {
            (true, None) => open = Some(String::new()),
            (true, Some(_)) => fences.extend(open.take()),
            (false, Some(text)) => *text += &format!("{line}\n"),
            (false, None) => {}
        }
    }
    assert!(!fences.is_empty(), "docs/migration.md has commands under {heading:?}");
    fences
}

/// A person who has the page open: a directory with what the commands name, on the machine that runs the control plane.
struct Person<'a> {
    cluster: &'a Cluster,
    directory: PathBuf,
}

impl Person<'_> {
    #[track_caller]
    fn types(&self, command: &str) -> String {
        let prepared = format!("cd {0} && PATH={0}:$PATH && set -euo pipefail\n{command}", self.directory.display());
        self.cluster.script(&["exec"], &["cp", "bash", "-c", &prepared])
    }
}

fn person<'a>(cluster: &'a Cluster, tools: &std::path::Path) -> Person<'a> {
    let directory = cluster.path("person");
    fs::create_dir_all(&directory).expect("the cluster's directory is there");
    let links = [(format!("{ROOT}/manifests"), "manifests"), (lanlord(), "lanlord")];
    for (target, link) in links.into_iter().chain([(tools.join("metallb-native.yaml").display().to_string(), "metallb-native.yaml")]) {
        std::os::unix::fs::symlink(target, directory.join(link)).expect("a link of ours");
    }
    // kubectl execs through a kubelet, and there is none here: what the plugin would run in a pod runs beside it.
    let plugin = directory.join("kubectl-lanlord");
    fs::write(&plugin, "#!/bin/sh\nexec lanlord \"$@\"\n").expect("its directory is there");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    Person { cluster, directory }
}

/// MetalLB's processes. Its speakers end with their Pods, as containers do.
struct MetalLb {
    controller: Child,
}

impl MetalLb {
    /// Starts the programs of the Deployment and the DaemonSet that are there, with their accounts and settings. Without webhooks: these
    /// are served in the network of a Pod, and the controller runs beside it.
    fn start(cluster: &Cluster, tools: &std::path::Path) -> MetalLb {
        cluster.kubectl(&["delete", "validatingwebhookconfiguration", "metallb-webhook-configuration", "--ignore-not-found"]);
        let pod = wait_for_pods(cluster, "component=controller", 1).swap_remove(0).1;
        let token = kubeconfig(cluster, "controller", &pod);
        let log = File::options().create(true).append(true).open(cluster.path("log/metallb-controller.log")).expect("a log");
        let controller = Command::new("ip")
            .args(["netns", "exec", &cluster.namespace("cp")])
            .arg(tools.join("controller"))
            .args(["--webhook-mode=disabled", "--disable-cert-rotation", "--port=0"])
            .envs([("METALLB_POD_NAME", pod.as_str()), ("METALLB_ML_SECRET_NAME", "memberlist"), ("METALLB_DEPLOYMENT", "controller")])
            .envs([("METALLB_NAMESPACE", METALLB), ("KUBECONFIG", &token)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("ip runs");
        cluster.wait_until(20, "MetalLB's controller makes the Secret", || {
            cluster.try_kubectl(&["get", "secret", "memberlist", "-n", METALLB]).is_ok()
        });
        let secret = cluster.path("ml_secret_key");
        fs::create_dir_all(&secret).expect("the cluster's directory is there");
        let key = cluster.kubectl(&["get", "secret", "memberlist", "-n", METALLB, "-o", "go-template={{.data.secretkey | base64decode}}"]);
        fs::write(secret.join("secretkey"), key).expect("its directory is there");
        for (node, pod) in wait_for_pods(cluster, "component=speaker", cluster.nodes().count()) {
            let token = kubeconfig(cluster, "speaker", &pod);
            let log = File::options().create(true).append(true).open(cluster.path(&format!("log/speaker-{node}.log"))).expect("a log");
            let address = format!("10.77.0.1{}", node.trim_start_matches('n'));
            let speaker = Command::new("ip")
                .args(["netns", "exec", &cluster.namespace(&node)])
                .arg(tools.join("speaker"))
                .arg("--port=0")
                .envs([("METALLB_NODE_NAME", node.as_str()), ("METALLB_POD_NAME", &pod), ("METALLB_HOST", &address)])
                .envs([("METALLB_ML_BIND_ADDR", address.as_str()), ("METALLB_ML_LABELS", "app=metallb,component=speaker")])
                .envs([("METALLB_ML_SECRET_KEY_PATH", secret.display().to_string()), ("KUBECONFIG", token)])
                .env("METALLB_NAMESPACE", METALLB)
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a log"))
                .stderr(log)
                .spawn()
                .expect("ip runs");
            // Whose process it is, so that it ends when its Pod is deleted.
            fs::write(cluster.path("pods").join(format!("{METALLB}.{pod}")), speaker.id().to_string()).expect("its directory is there");
            std::thread::spawn(move || drop({ speaker }.wait()));
        }
        MetalLb { controller }
    }

    /// What the container of a deleted Pod is told; the speakers were told by their nodes.
    fn ends(mut self, cluster: &Cluster) {
        self.controller.kill().expect("it lives");
        self.controller.wait().expect("it is ours");
        for node in cluster.nodes() {
            let gone = || !node.run(&["ss", "-lnH", "sport", "=", ":7946"]).contains("7946");
            cluster.wait_until(20, &format!("the speaker on {} ends", node.name), gone);
        }
    }
}

/// Node and name of the Pods with this label, once there are so many.
fn wait_for_pods(cluster: &Cluster, label: &str, count: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    cluster.wait_until(20, &format!("{count} Pods with {label}"), || {
        let pods = cluster.json(&["get", "pods", "-n", METALLB, "-l", label]);
        let placed = items(&pods).filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        found = placed.filter_map(|pod| Some((pod["spec"]["nodeName"].as_str()?.to_owned(), name(pod)))).collect();
        found.len() == count
    });
    found
}

/// A kubeconfig with the token of a Pod.
fn kubeconfig(cluster: &Cluster, account: &str, pod: &str) -> String {
    let bound = ["--bound-object-kind=Pod", &format!("--bound-object-name={pod}")];
    let token = cluster.kubectl(&[&["create", "token", account, "-n", METALLB, "--duration=1h"][..], &bound].concat());
    let file = cluster.path(&format!("{pod}.kubeconfig"));
    let administrator = fs::read_to_string(cluster.path("kubeconfig")).expect("the administrator has one");
    let others = administrator.lines().filter(|line| !line.starts_with("users:")).collect::<Vec<_>>().join("\n");
    fs::write(&file, format!("{others}\nusers: [{{name: lab, user: {{token: \"{token}\"}}}}]\n")).expect("its directory is there");
    file.display().to_string()
}

/// What must be the same before and after: addresses, ipMode, and annotations and conditions of others than Lanlord.
fn kept(cluster: &Cluster) -> BTreeMap<String, Value> {
    let services = cluster.json(&["get", "services"]);
    let balanced = items(&services).filter(|service| service["spec"]["type"] == "LoadBalancer");
    balanced
        .map(|service| {
            let annotations = service["metadata"]["annotations"].as_object().into_iter().flatten();
            let theirs: BTreeMap<_, _> = annotations.filter(|(key, _)| !key.starts_with("lanlord.dev/")).collect();
            let conditions = service["status"]["conditions"].as_array().into_iter().flatten();
            let others: Vec<_> = conditions.filter(|condition| condition["type"] != "lanlord.dev/Announced").collect();
            (name(service), json!({"addresses": ingress(service), "annotations": theirs, "conditions": others, "spec": service["spec"]}))
        })
        .collect()
}

/// Plain, asked for in each way, shared, of two families, of another pool, for local traffic; and gaps between the addresses.
fn create_services(cluster: &Cluster) {
    let plain = |name: &str| service(name, &json!({}), &json!({}));
    let (shared, asked) = (json!({"metallb.io/allow-shared-ip": "dns"}), json!({"metallb.io/loadBalancerIPs": "10.77.0.233"}));
    let udp = json!({"ports": [{"port": 53, "protocol": "UDP"}], "loadBalancerIP": "10.77.0.240"});
    let tcp = json!({"ports": [{"port": 80}], "loadBalancerIP": "10.77.0.240"});
    cluster.create(&list(&[plain("gap-1"), plain("one"), plain("gap-2"), plain("two")]));
    cluster.wait_until(20, "MetalLB assigns", || cluster.addresses().len() == 4);
    cluster.kubectl(&["delete", "service", "gap-1", "gap-2"]);
    cluster.create(&list(&[
        service("asked", &json!({}), &asked),
        service("asked-old", &json!({}), &json!({"metallb.universe.tf/loadBalancerIPs": "10.77.0.234"})),
        service("asked-spec", &json!({"loadBalancerIP": "10.77.0.235"}), &json!({})),
        service("dns-tcp", &tcp, &shared),
        service("dns-udp", &udp, &shared),
        service("dual", &json!({"ipFamilyPolicy": "RequireDualStack"}), &json!({"metallb.io/address-pool": "dual"})),
        service("local", &json!({"externalTrafficPolicy": "Local"}), &json!({"example.com/theirs": "kept"})),
    ]));
}

fn addresses(kept: &BTreeMap<String, Value>) -> Vec<IpAddr> {
    let all = kept.values().filter_map(|service| service["addresses"].as_array()).flatten();
    let mut all: Vec<IpAddr> = all.map(|address| address.as_str().expect("a text").parse().expect("an address")).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Each address is answered for by one machine. In IPv6 MetalLB answers from an address of the node, which the switch does not count.
#[track_caller]
fn one_answers_for_each(cluster: &Cluster, kept: &BTreeMap<String, Value>) {
    for address in addresses(kept) {
        cluster.wait_until(20, &format!("one machine answers for {address}"), || match address {
            IpAddr::V4(_) => cluster.answering_ports(address).len() == 1,
            IpAddr::V6(_) => cluster.client.owner_of(address).is_some(),
        });
    }
    for service in ["one", "asked", "dns-tcp", "dual", "local"] {
        cluster.wait_reachable(service);
    }
}

/// Nothing of Lanlord is left but what docs/migration.md names.
fn nothing_is_left(cluster: &Cluster) {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let all = cluster.json(&["get", &kinds.join(","), "-A", "--ignore-not-found"]);
    let of_lanlord = |object: &&Value| {
        let metadata = &object["metadata"];
        metadata.to_string().contains("lanlord") || object["spec"].to_string().contains("lanlord")
    };
    let left: Vec<String> = items(&all).filter(of_lanlord).map(|object| format!("{} {}", object["kind"], name(object))).collect();
    assert!(left.is_empty(), "left of Lanlord: {left:?}");
    let services = cluster.kubectl(&["get", "services", "-A", "-o", "json"]);
    assert!(!services.contains("lanlord"), "{services}");
}

#[test]
fn every_address_is_kept_on_the_way_from_metallb_and_back_and_nothing_is_left_of_lanlord() {
    let tools = tools();
    let cluster = Cluster::bare(&Options::default());
    let person = person(&cluster, &tools);
    cluster.backend("web", &["n1", "n2", "n3"]);
    let [metallb_again] = &fences("## Back to MetalLB")[..] else { panic!("one command") };
    person.types(metallb_again);
    let metallb = MetalLb::start(&cluster, &tools);
    cluster.apply(
        &list(&[
            crds::object("IPAddressPool", "lan", &json!({"addresses": ["10.77.0.220-10.77.0.245"]})),
            crds::object(
                "IPAddressPool",
                "dual",
                &json!({"addresses": ["10.77.0.250-10.77.0.252", "fd77::f0-fd77::f9"], "autoAssign": false}),
            ),
            crds::object("L2Advertisement", "lan", &json!({})),
        ])
        .to_string(),
    );
    create_services(&cluster);
    cluster.wait_until(30, "MetalLB serves all", || {
        let kept = kept(&cluster);
        kept.len() == 9 && kept.values().all(|service| service["addresses"] != json!([]))
    });
    let before = kept(&cluster);
    one_answers_for_each(&cluster, &before);

    // To Lanlord.
    let [write_down, install, look, switch, see] = &fences("## From MetalLB")[..] else { panic!("five steps") };
    person.types(write_down);
    // The rollout is of Pods whose processes the test starts.
    person.types(&install.replace("kubectl rollout", "true kubectl rollout"));
    cluster.agents_start();
    let looked = person.types(look);
    assert!(looked.lines().any(|line| line == "Nothing changes."), "{looked}");
    assert_eq!(kept(&cluster), before, "Lanlord without a configuration leaves all as it is");
    one_answers_for_each(&cluster, &before);
    let begun = Instant::now();
    person.types(switch);
    metallb.ends(&cluster);
    cluster.wait_announced("one");
    println!("announced by Lanlord {:.1} s after the switch began", begun.elapsed().as_secs_f64());
    for service in before.keys() {
        cluster.wait_announced(service);
    }
    one_answers_for_each(&cluster, &before);
    assert_eq!(kept(&cluster), before);
    person.types(see.lines().next().expect("the first command"));

    // And back.
    let uninstall = fences("## Uninstall");
    for command in &uninstall {
        person.types(command);
    }
    nothing_is_left(&cluster);
    assert_eq!(kept(&cluster), before, "the addresses are left");
    person.types(metallb_again);
    let metallb = MetalLb::start(&cluster, &tools);
    one_answers_for_each(&cluster, &before);
    assert_eq!(kept(&cluster), before, "MetalLB has taken them");

    // To Lanlord again, with the custom resources in place.
    person.types(&fences("### Keeping the custom resources")[0]);
    metallb.ends(&cluster);
    crds::agents_start(&cluster);
    for service in before.keys() {
        cluster.wait_announced(service);
    }
    one_answers_for_each(&cluster, &before);
    assert_eq!(kept(&cluster), before);
    cluster.wait_until(5, "the pool's counters are kept", || crds::counters(&cluster, "lan")[0] == 7);
}
