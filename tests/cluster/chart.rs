//! The Helm chart: what it renders is what the manifests and overlays say, object for object, and Helm itself installs, changes and
//! removes it on a real API server.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::Cluster;
use crate::support::Options;
use crate::support::cluster::result;
use crate::support::seen::service;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Kind, namespace and name, and the object.
type Objects = BTreeMap<[String; 3], Value>;

fn read(text: &str) -> Objects {
    let documents = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).expect("YAML"));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = |object: &Value| [word(&object["kind"]), word(&object["metadata"]["namespace"]), word(&object["metadata"]["name"])];
    documents.filter(|object| !object.is_null()).map(|object| (key(&object), object)).collect()
}

/// Helm, with nothing of the machine's own settings.
fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let tools = Command::new(format!("{ROOT}/scripts/tools.sh")).stdin(Stdio::null()).output().expect("bash runs");
    let tools = result(&tools).expect("scripts/tools.sh builds Helm");
    let (home, kubeconfig) = (cluster.path("helm"), cluster.path("kubeconfig"));
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &cluster.namespace("cp"), &format!("{tools}/helm")]).args(arguments).current_dir(ROOT);
    command.envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|variable| (variable, &home)));
    result(&command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).output().expect("ip runs"))
}

/// What the chart renders with these values, and the namespace.
#[track_caller]
fn rendered(cluster: &Cluster, values: &[&str]) -> Objects {
    let template = ["template", "lanlord", "manifests/chart", "--namespace", "lanlord", "--set", "namespace.create=true"];
    let values: Vec<&str> = values.iter().flat_map(|value| ["--set", *value]).collect();
    read(&helm(cluster, &[&template[..], &values].concat()).expect("the chart renders"))
}

fn kustomized(cluster: &Cluster, overlay: &str) -> Objects {
    read(&cluster.kubectl(&["kustomize", &format!("{ROOT}/manifests/overlays/{overlay}")]))
}

#[track_caller]
fn assert_same(what: &str, chart: &Objects, manifests: &Objects) {
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(chart), names(manifests), "{what}");
    for (name, object) in chart {
        assert_eq!(object, &manifests[name], "{what}: {name:?}");
    }
}

fn what_it_renders(cluster: &Cluster) {
    let plain = read(&std::fs::read_to_string(format!("{ROOT}/manifests/lanlord.yaml")).expect("the manifest"));
    assert_same("the defaults", &rendered(cluster, &[]), &plain);
    assert_same("hardened", &rendered(cluster, &["hardened.enabled=true"]), &kustomized(cluster, "hardened"));
    assert_same("metallb", &rendered(cluster, &["crds.enabled=true,crds.install=false"]), &kustomized(cluster, "metallb"));
    let mut with_crds = rendered(cluster, &["crds.enabled=true"]);
    for object in with_crds.values_mut().filter(|object| object["kind"] == "CustomResourceDefinition") {
        let annotations = object["metadata"].as_object_mut().expect("an object").remove("annotations");
        assert_eq!(annotations, Some(json!({"helm.sh/resource-policy": "keep"})), "everybody's pools stay when the chart goes");
    }
    assert_same("crds", &with_crds, &kustomized(cluster, "crds"));
    let switches = ["podMonitor", "rules", "dashboard"].map(|switch| format!("prometheus.{switch}.enabled=true"));
    let mut monitored = plain.clone();
    monitored.extend(kustomized(cluster, "prometheus"));
    assert_same("prometheus", &rendered(cluster, &switches.each_ref().map(String::as_str)), &monitored);

    // The other values, in another namespace.
    let values = "image.digest=sha256:ab,logLevel=debug,logFormat=json,pageFor=everyone,imagePullSecrets[0].name=pull,podLabels.a=b,podAnnotations.c=d,\
                  crds.enabled=true,hardened.enabled=true,addresses={10.0.0.1,10.0.0.2},config.rebalance=true,config.config\\.yaml.pools=";
    let other = helm(cluster, &["template", "any", "manifests/chart", "--namespace", "other", "--set", values]).expect("it renders");
    assert!(!other.contains("namespace: lanlord") && !other.contains("serviceaccount:lanlord:"), "{other}");
    let other = read(&other);
    let object = |kind: &str| other.iter().find(|([is, _, name], _)| is == kind && name == "lanlord").expect("it is there").1;
    let pod = &object("DaemonSet")["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], "ghcr.io/lanlord/lanlord@sha256:ab");
    let arguments = ["run", "--config", "configmap:other/lanlord", "--config", "crds:other,metallb-system", "--namespace=other"];
    let more = ["--log=debug", "--log-format=json", "--page-for=everyone", "--health-socket", "/run/lanlord/health.sock"];
    assert_eq!(container["args"], json!([&arguments[..], &more].concat()));
    assert_eq!((&pod["metadata"]["labels"]["a"], &pod["metadata"]["annotations"]["c"]), (&json!("b"), &json!("d")));
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    let data = &object("ConfigMap")["data"];
    assert_eq!((&data["addresses"], &data["rebalance"]), (&json!("10.0.0.1,10.0.0.2"), &json!("true")));
    assert!(data["config.yaml"].as_str().is_some_and(|text| text.starts_with("pools:")), "{data}");

    // In a file of values every number is a float.
    let file = cluster.path("values.yaml");
    std::fs::write(&file, "config: {asn: 4200000000, rebalance: true, empty: null, config.yaml: {bgp: {asn: 4200000001}}}\n")
        .expect("it is written");
    let text = helm(cluster, &["template", "lanlord", "manifests/chart", "--values", &file.display().to_string()]).expect("it renders");
    let numbers = read(&text);
    let data = &numbers.iter().find(|([kind, _, _], _)| kind == "ConfigMap").expect("it is there").1["data"];
    assert_eq!(data["asn"], "4200000000");
    assert!(data["config.yaml"].as_str().is_some_and(|text| text.contains("asn: 4200000001\n")), "{data}");
    assert!(!text.contains("<nil>"), "{text}");

    for (values, words) in [
        ("prometheus.podMonitor.enabled=true,prometheus.serviceMonitor.enabled=true", "take one"),
        ("loglevel=debug", "loglevel"),
        ("image.pullPolicy=Often", "pullPolicy"),
    ] {
        let complaint = helm(cluster, &["template", "lanlord", "manifests/chart", "--set", values]).expect_err("it is refused");
        assert!(complaint.contains(words), "{complaint}");
    }
    let old = ["template", "lanlord", "manifests/chart", "--kube-version", "1.29.0", "--set", "hardened.enabled=true"];
    assert!(helm(cluster, &old).expect_err("it is refused").contains("1.30"));
    helm(cluster, &["lint", "--strict", "manifests/chart"]).expect("helm lint is content");
}

#[test]
fn the_chart_is_the_manifests_and_helm_installs_changes_and_removes_it() {
    let cluster = Cluster::bare(&Options { nodes: 1, ..Options::default() });
    what_it_renders(&cluster);

    cluster.backend("web", &["n1"]);
    let release = ["lanlord", "manifests/chart", "--namespace", "lanlord"];
    let said = helm(&cluster, &[&["install"], &release[..], &["--create-namespace"]].concat()).expect("it installs");
    assert!(said.contains("kubectl create configmap lanlord -n lanlord"), "the next step is told: {said}");
    cluster.agents_start();
    cluster.configure("addresses", "10.77.0.240");
    cluster.create(&service("web", &json!({}), &json!({})));
    cluster.wait_announced("web");

    // A ConfigMap that the chart did not make is not taken from its owner.
    let addresses = ["--set", "addresses=10.77.0.240-10.77.0.241,hardened.enabled=true"];
    let upgrade = [&["upgrade"], &release[..], &addresses].concat();
    let complaint = helm(&cluster, &upgrade).expect_err("there is one already");
    assert!(complaint.contains("lanlord"), "{complaint}");
    cluster.kubectl(&["delete", "configmap", "lanlord", "-n", "lanlord"]);
    helm(&cluster, &upgrade).expect("it is upgraded");
    cluster.create(&service("more", &json!({}), &json!({})));
    cluster.wait_until(20, "both have an address", || cluster.addresses().len() == 2);
    assert_eq!(cluster.address("web").as_deref(), Some("10.77.0.240"));

    helm(&cluster, &["uninstall", "lanlord", "--namespace", "lanlord", "--wait"]).expect("it goes");
    cluster.kubectl(&["delete", "namespace", "lanlord"]);
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let left = cluster.kubectl(&["get", kinds, "-o", "name"]);
    assert!(!left.contains("lanlord"), "{left}");
    assert_eq!(cluster.addresses().len(), 2, "the addresses stay");
}
