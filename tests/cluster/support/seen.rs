//! What people see of Lanlord: Services with their addresses and Events, Leases, the configuration. In the words of the tests,
//! from what `kubectl get … -o json` prints.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use crate::support::Cluster;

/// The Service `name` of type LoadBalancer in front of the Pods `app=web`, with more in its spec and its annotations.
pub(crate) fn service(name: &str, spec: &Value, annotations: &Value) -> Value {
    let mut whole =
        json!({"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}], "allocateLoadBalancerNodePorts": false});
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations}, "spec": whole})
}

/// Plain Services of these names.
pub(crate) fn services(names: &[String]) -> Value {
    list(&names.iter().map(|name| service(name, &json!({}), &json!({}))).collect::<Vec<_>>())
}

/// Several objects at once.
pub(crate) fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// One Lease of an address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ClaimSeen {
    /// `namespace/name` of the Service that has it.
    pub(crate) holder: Option<String>,
    /// The node it is placed on.
    pub(crate) node: Option<String>,
}

impl Cluster {
    /// Lanlord's ConfigMap, whole, with one key.
    #[track_caller]
    pub(crate) fn configure(&self, key: &str, text: &str) {
        let metadata = json!({"name": "lanlord", "namespace": "lanlord"});
        self.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: text}}).to_string());
    }

    /// Starts all agents with the ConfigMap, and waits until one of them leads.
    #[track_caller]
    pub(crate) fn agents_start(&self) {
        for node in self.nodes() {
            node.agent_start("configmap:lanlord/lanlord");
        }
        self.wait_until(20, "all agents are members and one of them leads", || self.leader().is_some());
    }

    /// What kubectl prints as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[arguments, &["-o", "json"]].concat())).expect("kubectl prints JSON")
    }

    /// The addresses in the status of each Service of the namespace `default` that has any.
    #[track_caller]
    pub(crate) fn addresses(&self) -> BTreeMap<String, Vec<String>> {
        let services = self.json(&["get", "services"]);
        let addresses = items(&services).map(|service| (name(service), ingress(service)));
        addresses.filter(|(_, addresses)| !addresses.is_empty()).collect()
    }

    /// The first address of a Service.
    #[track_caller]
    pub(crate) fn address(&self, service: &str) -> Option<String> {
        ingress(&self.json(&["get", "service", service])).into_iter().next()
    }

    /// The Leases of addresses.
    #[track_caller]
    pub(crate) fn claims(&self) -> BTreeMap<String, ClaimSeen> {
        let leases = self.json(&["get", "leases", "-n", "lanlord"]);
        let claims = items(&leases).filter_map(|lease| {
            let address = name(lease).strip_prefix("ip.")?.to_owned();
            let holder = text(&lease["spec"]["holderIdentity"]);
            Some((address, ClaimSeen { holder, node: text(&lease["metadata"]["annotations"]["lanlord.dev/node"]) }))
        });
        claims.collect()
    }

    /// Node and instance of the agent that leads: `n1/0c4f…`. None while an agent that is no member (any more) holds the Lease, or
    /// some agent is not a member.
    pub(crate) fn leader(&self) -> Option<String> {
        let leases = self.json(&["get", "leases", "-n", "lanlord"]);
        let holder =
            |wanted: &str| items(&leases).find(|lease| name(lease) == wanted).and_then(|lease| text(&lease["spec"]["holderIdentity"]));
        let members: Vec<String> = self.nodes().map(|node| holder(&format!("node.{}", node.name))).collect::<Option<_>>()?;
        holder("leader").filter(|leader| members.contains(leader))
    }

    /// The Events about an object, a line each: `Normal IPAllocated assigned …`.
    #[track_caller]
    pub(crate) fn events(&self, namespace: &str, kind: &str, object: &str) -> String {
        let selector = format!("involvedObject.kind={kind},involvedObject.name={object}");
        let events = self.json(&["get", "events", "-n", namespace, "--field-selector", &selector]);
        let line = |event: &Value| ["type", "reason", "message"].map(|key| event[key].as_str().unwrap_or_default()).join(" ");
        items(&events).map(line).collect::<Vec<_>>().join("\n")
    }

    /// Whether an Event about this Service has all these words.
    #[track_caller]
    pub(crate) fn told(&self, service: &str, words: &[&str]) -> bool {
        self.events("default", "Service", service).lines().any(|line| words.iter().all(|word| line.contains(word)))
    }

    /// `kubectl create` of objects that are too many for `apply`.
    #[track_caller]
    pub(crate) fn create(&self, objects: &Value) {
        let file = self.path("objects.json");
        std::fs::write(&file, objects.to_string()).expect("its directory is there");
        self.kubectl(&["create", "-f", &file.to_string_lossy()]);
    }
}

/// What a list holds.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

/// An object's name.
pub(crate) fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// The addresses in a Service's status.
pub(crate) fn ingress(service: &Value) -> Vec<String> {
    let entries = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["ip"].as_str().map(str::to_owned)).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
