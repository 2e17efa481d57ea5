//! What `kubectl apply` gets: the manifests in `manifests/` and `k3s/`, read as YAML and held to the promises of
//! docs/security.md. Built-in kinds only, one capability, the listed rights and no others, two pods side by side
//! during an update. The rendered files must be the base's files one after the other (`scripts/render.sh`).

use serde::Deserialize;
use serde_yaml::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(path: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(&read(path)).map(|document| Value::deserialize(document).expect(path)).collect()
}

/// The object of this kind in the rendered manifest; there must be exactly one.
fn object(kind: &str) -> Value {
    let mut found: Vec<Value> = documents("manifests/lanlord.yaml").into_iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "objects of kind {kind}");
    found.remove(0)
}

fn pod() -> Value {
    object("DaemonSet")["spec"]["template"]["spec"].clone()
}

/// The only container, so that a second one cannot slip in unseen.
fn container() -> Value {
    let pod = pod();
    assert!(pod.get("initContainers").is_none(), "init containers");
    let containers = pod["containers"].as_sequence().expect("containers").clone();
    assert_eq!(containers.len(), 1, "containers");
    containers[0].clone()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_sequence().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// One line for each rule: groups, resources, names, verbs.
fn rules(kind: &str) -> Vec<String> {
    let object = object(kind);
    let rules = object["rules"].as_sequence().expect("rules");
    rules
        .iter()
        .map(|rule| {
            let part = |key: &str| words(rule.get(key).unwrap_or(&Value::Null)).join(",");
            format!("{}/{} [{}] {}", part("apiGroups"), part("resources"), part("resourceNames"), part("verbs"))
        })
        .collect()
}

/// The file without the comment it opens with.
fn body(path: &str) -> String {
    let text = read(path);
    let start = text.find("apiVersion:").expect("a document");
    assert!(text[..start].lines().all(|line| line.starts_with('#')), "{path} opens with a comment");
    text[start..].to_owned()
}

#[test]
fn only_kinds_that_every_cluster_has() {
    let kinds: Vec<String> =
        documents("manifests/lanlord.yaml").iter().map(|object| object["kind"].as_str().expect("kind").to_owned()).collect();
    let expected = ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "DaemonSet"];
    assert_eq!(kinds, expected, "no CRD, no webhook, and no ConfigMap: applying again must not touch the user's configuration");
}

#[test]
fn the_rendered_files_are_the_base_one_after_the_other() {
    let kustomization = &documents("manifests/base/kustomization.yaml")[0];
    let files = words(&kustomization["resources"]);
    let joined = files.iter().map(|file| read(&format!("manifests/base/{file}"))).collect::<Vec<_>>().join("---\n");
    assert_eq!(body("manifests/lanlord.yaml"), joined, "run scripts/render.sh");
    assert_eq!(body("k3s/lanlord.yaml"), joined, "run scripts/render.sh");
}

#[test]
fn the_base_lists_all_its_files() {
    let kustomization = &documents("manifests/base/kustomization.yaml")[0];
    let listed: BTreeSet<String> = words(&kustomization["resources"]).into_iter().map(str::to_owned).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base");
    let mut present: BTreeSet<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    present.remove("kustomization.yaml");
    assert_eq!(listed, present);
}

#[test]
fn the_rights_are_exactly_these() {
    assert_eq!(
        rules("ClusterRole"),
        [
            "/services,namespaces,nodes [] get,list,watch",
            "discovery.k8s.io/endpointslices [] get,list,watch",
            "/services/status [] patch",
            "/events [] create",
        ]
    );
    assert_eq!(
        rules("Role"),
        [
            "coordination.k8s.io/leases [] get,list,watch,create,update,patch,delete",
            "/configmaps [lanlord] get,list,watch",
            "/secrets [] get"
        ]
    );
    for (binding, role) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        let binding = object(binding);
        assert_eq!(binding["roleRef"]["kind"], role);
        let subjects = binding["subjects"].as_sequence().unwrap();
        assert_eq!(subjects.len(), 1);
        assert_eq!((&subjects[0]["name"], &subjects[0]["namespace"]), (&"lanlord".into(), &"lanlord".into()));
    }
}

#[test]
fn the_security_page_speaks_of_every_right() {
    let page = read("docs/security.md");
    for kind in ["ClusterRole", "Role"] {
        for rule in object(kind)["rules"].as_sequence().unwrap() {
            for resource in words(&rule["resources"]) {
                let row = page.lines().find(|line| line.starts_with(&format!("| {resource} |")));
                let row = row.unwrap_or_else(|| panic!("docs/security.md has no row for {resource}"));
                assert_eq!(row.split('|').nth(2).unwrap().trim(), words(&rule["verbs"]).join(", "), "verbs of {resource}");
            }
        }
    }
}

#[test]
fn the_container_may_open_raw_sockets_and_nothing_else() {
    let security = &container()["securityContext"];
    assert_eq!(words(&security["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(words(&security["capabilities"]["add"]), ["NET_RAW"]);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert!(security.get("privileged").is_none());
    let pod = pod();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for shared in ["hostPID", "hostIPC", "shareProcessNamespace"] {
        assert!(pod.get(shared).is_none(), "{shared}");
    }
    assert!(!read("manifests/lanlord.yaml").contains("hostPath"), "no folder of the node is mounted");
}

#[test]
fn the_namespace_admits_pods_on_the_hosts_network() {
    assert_eq!(pod()["hostNetwork"], true);
    assert_eq!(object("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "privileged");
}

#[test]
fn an_update_starts_the_new_pod_beside_the_old_one() {
    let update = &object("DaemonSet")["spec"]["updateStrategy"];
    assert_eq!(update["type"], "RollingUpdate");
    assert_eq!((&update["rollingUpdate"]["maxSurge"], &update["rollingUpdate"]["maxUnavailable"]), (&1.into(), &0.into()));
    assert!(container().get("ports").is_none(), "a host port keeps the second pod from being scheduled");
}

#[test]
fn the_probes_run_in_the_pod_they_speak_of() {
    let container = container();
    for (probe, question) in [("startupProbe", "live"), ("livenessProbe", "live"), ("readinessProbe", "ready")] {
        assert_eq!(words(&container[probe]["exec"]["command"]), ["/lanlord", "health", question], "{probe}");
    }
    let volumes = pod()["volumes"].clone();
    assert_eq!(volumes[0]["emptyDir"]["medium"], "Memory", "the probes' socket lies in a volume of this very pod");
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/run/lanlord");
    assert_eq!(container["volumeMounts"][0]["name"], volumes[0]["name"]);
}

#[test]
fn memory_is_limited_and_processor_time_is_not() {
    let resources = &container()["resources"];
    assert!(resources["limits"].get("cpu").is_none(), "a throttled agent looks dead to the others");
    assert!(resources["limits"].get("memory").is_some());
    assert!(resources["requests"].get("cpu").is_some());
}

#[test]
fn the_agent_runs_on_every_node_and_knows_its_name() {
    let pod = pod();
    assert_eq!(pod["nodeSelector"]["kubernetes.io/os"], "linux");
    assert_eq!(pod["priorityClassName"], "system-node-critical");
    let tolerated: BTreeSet<&str> =
        pod["tolerations"].as_sequence().unwrap().iter().filter_map(|toleration| toleration["key"].as_str()).collect();
    for taint in ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master", "CriticalAddonsOnly"] {
        assert!(tolerated.contains(taint), "{taint}");
    }
    let container = container();
    assert_eq!(container["env"][0]["name"], "NODE_NAME");
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "spec.nodeName");
    // The probes ask there: an agent without the socket would be restarted for ever.
    let socket = lanlord::cli::health::SOCKET;
    assert_eq!(words(&container["args"]), ["run", "--config", "configmap:lanlord/lanlord", "--health-socket", socket]);
    assert_eq!(container["image"], concat!("ghcr.io/lanlord/lanlord:", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_selector_finds_the_pods() {
    let set = object("DaemonSet");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    for (key, value) in set["spec"]["selector"]["matchLabels"].as_mapping().unwrap() {
        assert_eq!(labels.get(key), Some(value));
    }
    assert_eq!(labels["app"], "lanlord", "what `kubectl logs -l app=lanlord` of the guides asks for");
}

#[test]
fn the_example_configuration_is_one_line() {
    let example = &documents("manifests/configmap.yaml")[0];
    assert_eq!((&example["metadata"]["name"], &example["metadata"]["namespace"]), (&"lanlord".into(), &"lanlord".into()));
    assert_eq!(example["data"].as_mapping().unwrap().len(), 1);
}

/// The CRDs of `manifests/crds`, in the order of its kustomization.
fn crds() -> Vec<Value> {
    let kustomization = &documents("manifests/crds/kustomization.yaml")[0];
    words(&kustomization["resources"]).iter().flat_map(|file| documents(&format!("manifests/crds/{file}"))).collect()
}

#[test]
fn the_crds_are_those_that_are_read_and_need_no_webhook() {
    let read: Vec<[&str; 2]> = lanlord::facts::OBJECT_KINDS.iter().map(|(kind, plural, _)| [*kind, *plural]).collect();
    let crds = crds();
    let mut names: Vec<[&str; 2]> =
        crds.iter().map(|crd| ["kind", "plural"].map(|key| crd["spec"]["names"][key].as_str().unwrap())).collect();
    names.sort_by_key(|name| read.iter().position(|known| known == name));
    assert_eq!(names, read);
    for (crd, [_, plural]) in crds.iter().map(|crd| (crd, ["", crd["spec"]["names"]["plural"].as_str().unwrap()])) {
        assert_eq!(crd["metadata"]["name"].as_str().unwrap(), format!("{plural}.metallb.io"));
        assert_eq!((&crd["spec"]["conversion"]["strategy"], &crd["spec"]["scope"]), (&"None".into(), &"Namespaced".into()));
        for version in crd["spec"]["versions"].as_sequence().unwrap() {
            assert!(version["subresources"].get("status").is_some(), "{plural}");
        }
    }
    let stored = |crd: &Value| {
        let versions = crd["spec"]["versions"].as_sequence().unwrap().clone();
        versions.iter().find(|version| version["storage"] == true).unwrap()["name"].as_str().unwrap().to_owned()
    };
    for (_, plural, version) in lanlord::facts::OBJECT_KINDS {
        let crd = crds.iter().find(|crd| crd["spec"]["names"]["plural"] == plural).unwrap();
        assert_eq!(stored(crd), version, "{plural}");
    }
}

#[test]
fn the_overlay_reads_custom_resources_beside_the_configmap_and_may_write_nothing_but_their_counters() {
    let overlay = documents("manifests/overlays/crds/rbac.yaml");
    let rule = |rule: &Value| ["resources", "verbs"].map(|key| words(&rule[key]).join(","));
    let rules: Vec<[String; 2]> = overlay[0]["rules"].as_sequence().unwrap().iter().map(rule).collect();
    let all = "ipaddresspools,l2advertisements,bgpadvertisements,bgppeers,bfdprofiles,communities";
    assert_eq!(rules, [[all, "get,list,watch"], ["ipaddresspools/status", "patch"]]);
    let page = read("docs/security.md");
    assert!(page.contains("| ipaddresspools/status | patch |"), "docs/security.md speaks of the overlay");
    let patch = &documents("manifests/overlays/crds/daemonset.yaml")[0]["spec"]["template"]["spec"]["containers"][0];
    let without: Vec<&str> = words(&patch["args"]).into_iter().collect();
    let base = container();
    let at = without.iter().position(|word| *word == "crds:lanlord,metallb-system").unwrap();
    assert_eq!(without[at - 1], "--config");
    let rest: Vec<&str> = without[..at - 1].iter().chain(&without[at + 1..]).copied().collect();
    assert_eq!((rest, &patch["name"]), (words(&base["args"]), &base["name"]), "all else is as in the base");
}

/// A document of the overlay `hardened`.
fn hardened(file: &str, kind: &str) -> Value {
    let documents = documents(&format!("manifests/overlays/hardened/{file}.yaml"));
    documents.into_iter().find(|object| object["kind"] == kind).expect(kind)
}

#[test]
fn the_hardened_overlay_knows_every_annotation_that_is_written() {
    use lanlord::facts::annotation::{ANNOUNCED, POOL, RELEASED};
    let policy = hardened("services", "ValidatingAdmissionPolicy");
    let own = &policy["spec"]["variables"][0];
    assert_eq!((&own["name"], &own["expression"]), (&"own".into(), &format!("['{ANNOUNCED}', '{POOL}', '{RELEASED}']").into()));
    for file in ["services", "leases"] {
        let (policy, binding) = (hardened(file, "ValidatingAdmissionPolicy"), hardened(file, "ValidatingAdmissionPolicyBinding"));
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
        assert_eq!((words(&binding["spec"]["validationActions"]), &policy["spec"]["failurePolicy"]), (vec!["Deny"], &"Fail".into()));
        let account = object("ServiceAccount")["metadata"].clone();
        let [namespace, name] = ["namespace", "name"].map(|key| account[key].as_str().unwrap().to_owned());
        let expected = format!("request.userInfo.username == 'system:serviceaccount:{namespace}:{name}'");
        assert_eq!(policy["spec"]["matchConditions"][0]["expression"], *expected, "{file} binds the account of the base");
    }
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = &documents("manifests/chart/Chart.yaml")[0];
    assert_eq!((&chart["version"], &chart["appVersion"]), (&env!("CARGO_PKG_VERSION").into(), &env!("CARGO_PKG_VERSION").into()));
}
