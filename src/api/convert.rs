//! Kubernetes objects → our facts: total functions. What cannot be read is left out, and said by the caller.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node as NodeObject, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::managed::traces;
use crate::addr::Family;
use crate::facts::{
    AnnouncedCondition, EXCLUDE_LABEL, Endpoints, FamilyPolicy, Node, NodeName, Protocol, Service, ServiceKey, ServicePort, Traces,
    TrafficPolicy, Uid,
};

/// Our condition type on Services.
pub const CONDITION: &str = "lanlord.dev/Announced";

/// Taint by which an operator says that a node is gone for good.
const OUT_OF_SERVICE_TAINT: &str = "node.kubernetes.io/out-of-service";

/// The arguments with which k3s was started on a Node, its configuration file included: a list of texts in JSON.
const K3S_ARGUMENTS: &str = "k3s.io/node-args";

const ANNOTATION_PREFIXES: &[&str] = &["lanlord.dev/", "metallb.io/", "metallb.universe.tf/", "kube-vip.io/"];

fn text(value: Option<String>) -> String {
    value.unwrap_or_default()
}

/// A Service, if it is of `type: LoadBalancer`.
pub fn service(object: ServiceObject) -> Option<Service> {
    let spec = object.spec?;
    if spec.type_.as_deref() != Some("LoadBalancer") {
        return None;
    }
    let meta = object.metadata;
    let annotations = meta.annotations.unwrap_or_default();
    let traces = traces(&meta.managed_fields.unwrap_or_default());
    let status = object.status.unwrap_or_default();
    let ingress = status.load_balancer.unwrap_or_default().ingress.unwrap_or_default();
    // What is written by hand has only the older field.
    let cluster_ips = spec.cluster_ips.filter(|ips| !ips.is_empty()).unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
    Some(Service {
        key: ServiceKey::new(&text(meta.namespace), &text(meta.name)),
        uid: Uid(text(meta.uid).into()),
        resource_version: text(meta.resource_version),
        created: meta.creation_timestamp.map_or(0, |time| time.0.as_second()),
        labels: meta.labels.unwrap_or_default(),
        annotations: annotations.into_iter().filter(|(key, _)| ANNOTATION_PREFIXES.iter().any(|prefix| key.starts_with(prefix))).collect(),
        class: spec.load_balancer_class,
        family_policy: match spec.ip_family_policy.as_deref() {
            Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
            Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
            Some(_) | None => FamilyPolicy::SingleStack,
        },
        families: cluster_ips.iter().filter_map(|ip| ip.parse().ok()).map(Family::of).collect(),
        traffic_policy: if spec.external_traffic_policy.as_deref() == Some("Local") {
            TrafficPolicy::Local
        } else {
            TrafficPolicy::Cluster
        },
        load_balancer_ip: spec.load_balancer_ip.filter(|ip| !ip.is_empty()),
        selector: selector_text(spec.selector.unwrap_or_default()),
        ports: spec.ports.unwrap_or_default().into_iter().filter_map(|port| port_of(port.protocol.as_deref(), port.port)).collect(),
        deleting: meta.deletion_timestamp.is_some(),
        foreign_ingress: ingress.iter().any(|entry| {
            let parsed = entry.ip.as_ref().and_then(|ip| ip.parse::<IpAddr>().ok());
            let vip = entry.ip_mode.as_deref().is_none_or(|mode| mode == "VIP");
            parsed.is_none() || !vip || entry.hostname.is_some() || entry.ports.as_ref().is_some_and(|ports| !ports.is_empty())
        }),
        ingress: ingress.into_iter().filter_map(|entry| entry.ip?.parse().ok()).collect(),
        traces: (traces != Traces::default()).then(|| Box::new(traces)),
        condition: status.conditions.unwrap_or_default().into_iter().find(|condition| condition.type_ == CONDITION).map(condition),
    })
}

fn selector_text(selector: BTreeMap<String, String>) -> String {
    selector.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn port_of(protocol: Option<&str>, port: i32) -> Option<ServicePort> {
    let protocol = match protocol {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) | None => Protocol::Tcp,
    };
    Some(ServicePort { protocol, port: u16::try_from(port).ok()? })
}

fn condition(condition: Condition) -> AnnouncedCondition {
    AnnouncedCondition {
        announced: condition.status == "True",
        reason: condition.reason,
        message: condition.message,
        since: condition.last_transition_time.0.to_string(),
    }
}

/// The Service a slice belongs to, and what the slice says of its endpoints.
pub fn endpoints(slice: EndpointSlice) -> Option<(ServiceKey, Endpoints)> {
    let meta = slice.metadata;
    let service = meta.labels?.remove("kubernetes.io/service-name")?;
    let mut endpoints = Endpoints::default();
    for endpoint in slice.endpoints {
        endpoints.any = true;
        let conditions = endpoint.conditions.unwrap_or_default();
        // `ready` unset means ready; a terminating pod that still serves is not ready, but `serving`.
        if !conditions.ready.unwrap_or(true) && !conditions.serving.unwrap_or(false) {
            continue;
        }
        endpoints.serving = true;
        if let Some(node) = endpoint.node_name {
            *endpoints.nodes.entry(NodeName::new(&node)).or_default() += 1;
        }
    }
    Some((ServiceKey::new(&text(meta.namespace), &service), endpoints))
}

/// What all slices of a Service say together.
pub fn merged<'a>(slices: impl Iterator<Item = &'a Endpoints>) -> Endpoints {
    slices.fold(Endpoints::default(), |mut all, slice| {
        for (node, count) in &slice.nodes {
            *all.nodes.entry(node.clone()).or_default() += count;
        }
        all.serving |= slice.serving;
        all.any |= slice.any;
        all
    })
}

/// Whether `arguments` are those of a k3s server that runs its ServiceLB. `--disable-cloud-controller` leaves that part of the controller on.
fn has_servicelb(arguments: &str) -> bool {
    let arguments: Vec<String> = serde_json::from_str(arguments).unwrap_or_default();
    let words: Vec<&str> = arguments.iter().flat_map(|argument| argument.split('=')).collect();
    let is_off =
        |pair: &[&str]| matches!(pair[0], "--disable" | "--no-deploy") && pair[1].split(',').any(|name| name.trim() == "servicelb");
    words.first() == Some(&"server") && !words.windows(2).any(is_off)
}

/// A Node.
pub fn node(object: NodeObject) -> Node {
    let meta = object.metadata;
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let labels: BTreeMap<String, String> = meta.labels.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let is_true = |name: &str| conditions.iter().any(|condition| condition.type_ == name && condition.status == "True");
    let addresses = status.addresses.unwrap_or_default();
    Node {
        name: NodeName::new(&text(meta.name)),
        uid: Uid(text(meta.uid).into()),
        excluded: labels.contains_key(EXCLUDE_LABEL),
        servicelb: meta.annotations.and_then(|mut annotations| annotations.remove(K3S_ARGUMENTS)).is_some_and(|text| has_servicelb(&text)),
        labels,
        addresses: addresses
            .into_iter()
            .filter(|address| address.type_.ends_with("IP"))
            .filter_map(|address| address.address.parse().ok())
            .collect(),
        ready: is_true("Ready"),
        network_unavailable: is_true("NetworkUnavailable"),
        unschedulable: spec.unschedulable.unwrap_or(false),
        out_of_service: spec.taints.unwrap_or_default().iter().any(|taint| taint.key == OUT_OF_SERVICE_TAINT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn services_of_other_types_are_left_out() {
        let json = serde_json::json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}});
        assert!(service(parse(json)).is_none());
    }

    #[test]
    fn a_service_keeps_only_what_we_need() {
        let json = serde_json::json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"metallb.universe.tf/address-pool": "p", "kubectl.kubernetes.io/last-applied-configuration": "long"}},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["fd96::1", "10.96.0.9"], "ipFamilyPolicy": "RequireDualStack", "externalTrafficPolicy": "Local",
                "ports": [{"port": 53, "protocol": "UDP"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.168.1.240", "ipMode": "VIP"}, {"hostname": "x.example"}]},
                "conditions": [{"type": CONDITION, "status": "True", "reason": "Announcing", "message": "m", "lastTransitionTime": "2026-01-02T00:00:00Z"}]}
        });
        let service = service(parse(json)).unwrap();
        assert_eq!(service.annotation("address-pool"), Some("p"));
        assert_eq!(service.annotations.len(), 1);
        assert_eq!(service.families, [Family::V6, Family::V4]);
        assert!(service.foreign_ingress && service.ingress.len() == 1);
        assert_eq!(service.condition.unwrap().since, "2026-01-02T00:00:00Z");
        assert_eq!(service.ports, [ServicePort { protocol: Protocol::Udp, port: 53 }]);
    }

    #[test]
    fn terminating_pods_that_serve_count_and_unready_ones_do_not() {
        let slice = |conditions: serde_json::Value| {
            let json = serde_json::json!({"metadata": {"name": "s", "namespace": "b", "labels": {"kubernetes.io/service-name": "a"}}, "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "n1", "conditions": conditions}]});
            endpoints(parse(json)).unwrap().1
        };
        assert!(slice(serde_json::json!({})).serving);
        assert!(slice(serde_json::json!({"ready": false, "serving": true, "terminating": true})).nodes.contains_key("n1"));
        let unready = slice(serde_json::json!({"ready": false, "serving": false}));
        assert!(unready.any && !unready.serving && unready.nodes.is_empty());
    }

    #[test]
    fn a_k3s_server_runs_servicelb_unless_its_arguments_say_otherwise() {
        let table = [
            (r#"["server"]"#, true),
            (r#"["server","--disable","traefik"]"#, true),
            (r#"["server","--disable",""]"#, true),
            (r#"["server","--disable","traefik","--disable","servicelb"]"#, false),
            (r#"["server","--disable=traefik,servicelb"]"#, false),
            (r#"["server","--disable","servicelb,traefik"]"#, false),
            (r#"["server","--no-deploy","servicelb"]"#, false),
            (r#"["server","--disable-cloud-controller"]"#, true),
            (r#"["server","--disable-cloud-controller","--disable","servicelb"]"#, false),
            (r#"["server","--servicelb-namespace","servicelb"]"#, true),
            (r#"["agent","--node-label","a=b"]"#, false),
            ("[]", false),
            ("no list", false),
        ];
        for (arguments, expected) in table {
            assert_eq!(has_servicelb(arguments), expected, "{arguments}");
            let json = serde_json::json!({"metadata": {"name": "n1", "annotations": {K3S_ARGUMENTS: arguments}}});
            assert_eq!(node(parse(json)).servicelb, expected, "{arguments}");
        }
    }

    #[test]
    fn a_node_tells_its_labels_taints_and_conditions() {
        let json = serde_json::json!({
            "metadata": {"name": "n1", "labels": {EXCLUDE_LABEL: ""}},
            "spec": {"unschedulable": true, "taints": [{"key": OUT_OF_SERVICE_TAINT, "effect": "NoExecute"}]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.168.1.11"}, {"type": "Hostname", "address": "n1"}],
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "NetworkUnavailable", "status": "False"}]}
        });
        let node = node(parse(json));
        assert!(node.excluded && node.unschedulable && node.out_of_service && node.ready && !node.network_unavailable);
        assert_eq!(node.addresses.len(), 1);
    }
}
