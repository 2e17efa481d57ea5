//! Services without a class where k3s' own load balancer is on: it serves them, so Lanlord leaves them alone, and says how to switch.

use std::collections::BTreeSet;

use super::others::Other;
use crate::config::Config;
use crate::facts::{Event, EventKind, NodeName, ServiceKey, Snapshot, Subject, Uid, reason};
use crate::plan::{OWN_CLASS, Serving, is_served, servicelb};

/// The Services that are left to ServiceLB. Another uid is another Service, though it has the name of one before.
pub fn left(config: &Config, snapshot: &Snapshot) -> BTreeSet<(ServiceKey, Uid)> {
    if servicelb(snapshot).is_empty() {
        return BTreeSet::new();
    }
    let left = snapshot.services.values().filter(|service| is_served(config, snapshot, service) == Serving::LeftToServiceLb);
    left.map(|service| (service.key.clone(), service.uid.clone())).collect()
}

/// What is told of one of them.
pub fn event(snapshot: &Snapshot, service: ServiceKey, uid: Uid) -> Event {
    let message = told(&servicelb(snapshot), &service);
    Event { subject: Subject::Service(service, uid), kind: EventKind::Normal, reason: reason::LEFT_TO_SERVICELB, message }
}

/// What is so, and how to switch.
pub fn told(servers: &[NodeName], service: &ServiceKey) -> String {
    let switch_off = Other::ServiceLb(servers.to_vec()).action(service);
    format!(
        "{}; for an address of the LAN, {switch_off}; or keep ServiceLB and create the Service anew with loadBalancerClass: {OWN_CLASS}",
        why(servers)
    )
}

/// What is so where ServiceLB is on.
pub fn why(servers: &[NodeName]) -> String {
    let servers = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("k3s ServiceLB is on ({servers}) and serves Services without a class, so Lanlord leaves this one to it")
}
