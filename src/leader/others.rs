//! Other load balancers at work on the same Services: who it is, by the traces it leaves, and how to stop it.
//!
//! Two of them undo each other's work without end. Nothing is stopped from here: what is not ours is a person's to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::decide::decide;
use super::suggest::{Advice, Prospect};
use super::tell::Now;
use crate::config::Config;
use crate::facts::{Living, Node, NodeName, Service, ServiceKey, Snapshot};
use crate::plan::{Serving, is_served, plan, servicelb};

/// Who else writes Services.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Other {
    /// k3s's own load balancer, on these servers as far as is known.
    ServiceLb(Vec<NodeName>),
    /// MetalLB.
    MetalLb,
    /// kube-vip, or its cloud provider.
    KubeVip,
    /// LB IPAM of Cilium.
    Cilium,
    /// cloud-provider-kind.
    CloudProviderKind,
    /// A cloud's controller manager.
    Cloud,
    /// A person, with this tool.
    Person(String),
    /// Something else; the name of its field manager, if it is known.
    Unknown(Option<String>),
}

impl Other {
    /// Who wrote the status of `service` as it is.
    fn of_status(snapshot: &Snapshot, service: &Service) -> Self {
        let servers = servicelb(snapshot);
        let nodes = |address: &IpAddr| snapshot.nodes.values().any(|node: &std::sync::Arc<Node>| node.addresses.contains(address));
        let manager = service.traces.as_ref().and_then(|traces| traces.ingress_by.as_deref());
        let known = manager.and_then(|manager| match manager {
            _ if manager.starts_with("k3s") => Some(Self::ServiceLb(servers.clone())),
            _ if manager.starts_with("kube-vip") => Some(Self::KubeVip),
            _ if manager.starts_with("cilium") => Some(Self::Cilium),
            _ if manager.starts_with("cloud-provider-kind") => Some(Self::CloudProviderKind),
            _ if manager.ends_with("cloud-controller-manager") => Some(Self::Cloud),
            _ if manager.starts_with("kubectl") => Some(Self::Person(manager.to_owned())),
            "controller" if service.annotations.keys().any(|key| key.starts_with("metallb.") && key.ends_with(ALLOCATED)) => {
                Some(Self::MetalLb)
            }
            _ => None,
        });
        // Where ServiceLB has no pods for a Service it empties the status.
        let like_servicelb = !servers.is_empty() && service.ingress.iter().all(nodes);
        known
            .or_else(|| Self::of_mark(service))
            .or_else(|| like_servicelb.then_some(Self::ServiceLb(servers)))
            .unwrap_or_else(|| Self::Unknown(manager.map(ToOwned::to_owned)))
    }

    /// Who marked `service` after we wrote it.
    fn of_mark(service: &Service) -> Option<Self> {
        let mark = service.traces.as_ref()?.later_mark.as_deref()?;
        Some(match mark.split_once('/')?.0 {
            "kube-vip.io" => Self::KubeVip,
            "cilium.io" | "io.cilium" => Self::Cilium,
            _ => Self::MetalLb,
        })
    }

    /// How to stop it.
    pub fn action(&self, service: &ServiceKey) -> String {
        let ServiceKey { namespace, name } = service;
        match self {
            Self::ServiceLb(servers) => {
                let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
                let servers = if names.is_empty() { "every k3s server".to_owned() } else { names.join(", ") };
                format!(
                    "switch it off on {servers}: sudo mkdir -p /etc/rancher/k3s/config.yaml.d && printf 'disable+:\\n  - servicelb\\n' | sudo tee \
                     /etc/rancher/k3s/config.yaml.d/90-lanlord.yaml && sudo systemctl restart k3s (where k3s has no --disable among its flags; \
                     otherwise add servicelb to those)"
                )
            }
            Self::MetalLb => {
                "take its programs out, its custom resources may stay: kubectl delete deployment,daemonset --all -n metallb-system \
                 --cascade=foreground"
                    .to_owned()
            }
            Self::KubeVip => {
                "take its cloud provider out (kubectl delete deployment kube-vip-cloud-provider -n kube-system), and run kube-vip with \
                 svc_enable=false"
                    .to_owned()
            }
            Self::Cilium => "delete its pools, it sleeps without: kubectl delete ciliumloadbalancerippools --all".to_owned(),
            Self::CloudProviderKind => "end the program cloud-provider-kind".to_owned(),
            Self::Cloud => "run it with --controllers='*,-service-lb-controller'".to_owned(),
            Self::Person(_) => {
                format!("ask for an address instead: kubectl annotate service -n {namespace} {name} lanlord.dev/loadBalancerIPs=ADDRESS")
            }
            Self::Unknown(_) => format!(
                "see who it is: kubectl get service -n {namespace} {name} -o yaml --show-managed-fields; to leave the Service to it: \
                 kubectl annotate service -n {namespace} {name} lanlord.dev/ignore=true"
            ),
        }
    }
}

/// The end of the annotation by which MetalLB tells the pool.
const ALLOCATED: &str = "/ip-allocated-from-pool";

/// A name to begin a sentence with.
impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServiceLb(_) => "k3s ServiceLB",
            Self::MetalLb => "MetalLB",
            Self::KubeVip => "kube-vip",
            Self::Cilium => "Cilium's LB IPAM",
            Self::CloudProviderKind => "cloud-provider-kind",
            Self::Cloud => "the cloud controller manager",
            Self::Person(tool) => return write!(f, "somebody with {tool}"),
            Self::Unknown(Some(manager)) => return write!(f, "another program ({manager})"),
            Self::Unknown(None) => "something else",
        })
    }
}

/// What was found in the status of `service` instead of `addresses`: who wrote it, and how to stop that.
pub fn overwritten(snapshot: &Snapshot, service: &Service, addresses: &[IpAddr]) -> String {
    let list = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let other = Other::of_status(snapshot, service);
    let now = match &service.ingress[..] {
        [] if service.foreign_ingress => "something that is no address".to_owned(),
        [] => "nothing".to_owned(),
        there => list(there),
    };
    format!("{other} changed the status to {now}; {} written back; {}", list(addresses), other.action(&service.key))
}

/// The Services whose status is another's at this moment, and what is to be said of each.
pub fn all_overwritten(config: &Config, snapshot: &Snapshot, living: &Living) -> BTreeMap<ServiceKey, String> {
    let now = Now { prospect: Prospect::Known(Advice::default()), ..Now::default() };
    let decision = decide(config, snapshot, living, &plan(config, snapshot, living), &now);
    let repairs = decision.work.into_iter().filter(|work| work.repair);
    let text = |ingress: Option<Vec<IpAddr>>, service: &Service| overwritten(snapshot, service, &ingress.unwrap_or_default());
    repairs.map(|work| (work.service.key.clone(), text(work.publish.and_then(|publish| publish.ingress), &work.service))).collect()
}

/// Who marked Services of ours after we wrote them, and which.
pub fn marked(config: &Config, snapshot: &Snapshot) -> BTreeMap<Other, BTreeSet<ServiceKey>> {
    let mut marked: BTreeMap<Other, BTreeSet<ServiceKey>> = BTreeMap::new();
    for service in snapshot.services.values().filter(|service| service.traces.is_some()) {
        if let (Serving::Ours, Some(other)) = (is_served(config, snapshot, service), Other::of_mark(service)) {
            marked.entry(other).or_default().insert(service.key.clone());
        }
    }
    marked
}

/// What is so where ServiceLB runs beside us on `servers`, and what to do.
pub fn two_balancers(servers: Vec<NodeName>, service: &ServiceKey) -> (String, String) {
    let names = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = format!("k3s ServiceLB is on ({names}), and may empty the status of Services that are not its own");
    (what, Other::ServiceLb(servers).action(service))
}

/// What is so where `other` marked `services`.
pub fn at_work(other: &Other, services: &BTreeSet<ServiceKey>) -> String {
    let some: Vec<String> = services.iter().take(3).map(ToString::to_string).collect();
    let more = services.len().saturating_sub(some.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{other} is at work on {}{more}, too: it wrote there after Lanlord did", some.join(", "))
}
