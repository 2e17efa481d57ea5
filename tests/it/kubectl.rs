//! A [`Snapshot`] as `kubectl get svc,endpointslices,nodes,namespaces,leases -A -o json` would print it.

use k8s_openapi::api::coordination::v1::Lease;
use lanlord::addr::Family;
use lanlord::api::lease::{claim_lease, leader_lease, member_lease};
use lanlord::facts::{Endpoints, FamilyPolicy, Node, Protocol, Service, ServiceKey, Snapshot, TrafficPolicy, Uid};
use serde_json::{Value, json};

/// All of it, as one `kind: List`.
pub(crate) fn list(snapshot: &Snapshot) -> Value {
    let mut items: Vec<Value> = snapshot.services.values().map(|it| service(it)).collect();
    items.extend(snapshot.endpoints.iter().map(|(key, it)| slice(key, it)));
    items.extend(snapshot.nodes.values().map(|it| node(it)));
    items.extend(
        snapshot
            .namespaces
            .iter()
            .map(|(name, labels)| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": &**name, "labels": labels}})),
    );
    let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
    let members = snapshot.members.values().map(|it| member_lease(it, &Uid::default(), now));
    let claims = snapshot.claims.values().map(|it| claim_lease(it, now));
    items.extend(members.chain(claims).chain(snapshot.leader.iter().map(|it| leader_lease(it, now))).map(lease));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn lease(mut lease: Lease) -> Value {
    lease.metadata.namespace = Some("lanlord".to_owned());
    serde_json::to_value(lease).unwrap()
}

fn time(seconds: i64) -> String {
    k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

fn service(service: &Service) -> Value {
    let family = |family: &Family| match family {
        Family::V4 => "10.96.0.9",
        Family::V6 => "fd96::9",
    };
    let cluster_ips: Vec<&str> = service.families.iter().map(family).collect();
    let protocol = |protocol| match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    let condition = service.condition.iter().map(|it| {
        let status = if it.announced { "True" } else { "False" };
        // Times of worlds are words.
        json!({"type": "lanlord.dev/Announced", "status": status, "reason": it.reason, "message": it.message, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    });
    let policy = match service.family_policy {
        FamilyPolicy::SingleStack => "SingleStack",
        FamilyPolicy::PreferDualStack => "PreferDualStack",
        FamilyPolicy::RequireDualStack => "RequireDualStack",
    };
    let deleting = service.deleting.then(|| time(service.created));
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": &*service.key.namespace, "name": &*service.key.name, "uid": service.uid, "resourceVersion": service.resource_version,
            "creationTimestamp": time(service.created), "deletionTimestamp": deleting, "labels": service.labels, "annotations": service.annotations},
        "spec": {"type": "LoadBalancer", "loadBalancerClass": service.class, "clusterIPs": cluster_ips, "ipFamilyPolicy": policy,
            "externalTrafficPolicy": if service.traffic_policy == TrafficPolicy::Local { "Local" } else { "Cluster" },
            "loadBalancerIP": service.load_balancer_ip,
            "ports": service.ports.iter().map(|it| json!({"port": it.port, "protocol": protocol(it.protocol)})).collect::<Vec<_>>()},
        "status": {"loadBalancer": {"ingress": service.ingress.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect::<Vec<_>>()},
            "conditions": condition.collect::<Vec<_>>()},
    })
}

fn slice(key: &ServiceKey, endpoints: &Endpoints) -> Value {
    let serving =
        |node: Option<&str>| json!({"addresses": ["10.42.0.9"], "nodeName": node, "conditions": {"ready": true, "serving": true}});
    let each = endpoints.nodes.iter().flat_map(|(node, count)| std::iter::repeat_n(node, *count as usize));
    let mut list: Vec<Value> = each.map(|node| serving(Some(node.as_str()))).collect();
    if endpoints.serving && list.is_empty() {
        list.push(serving(None));
    }
    if endpoints.any && list.is_empty() {
        list.push(json!({"addresses": ["10.42.0.9"], "conditions": {"ready": false, "serving": false}}));
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": list,
        "metadata": {"namespace": &*key.namespace, "name": format!("{}-abcde", key.name), "labels": {"kubernetes.io/service-name": &*key.name}},
    })
}

fn node(node: &Node) -> Value {
    let status = |holds: bool| if holds { "True" } else { "False" };
    let taints: Vec<Value> =
        node.out_of_service.then(|| json!({"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"})).into_iter().collect();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name.as_str(), "uid": node.uid, "labels": node.labels},
        "spec": {"unschedulable": node.unschedulable, "taints": taints},
        "status": {"addresses": node.addresses.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect::<Vec<_>>(),
            "conditions": [{"type": "Ready", "status": status(node.ready)}, {"type": "NetworkUnavailable", "status": status(node.network_unavailable)}]},
    })
}
