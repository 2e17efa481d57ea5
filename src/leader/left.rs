//! Services without a class where k3s' own load balancer is on: it serves them, so Lanlord leaves them alone, and says how to switch.

use std::collections::BTreeMap;

use super::others::Other;
use crate::config::Config;
use crate::facts::{Event, EventKind, NodeName, ServiceKey, Snapshot, Subject, Uid, reason};
use crate::plan::{OWN_CLASS, Serving, is_served, servicelb};

/// What is to be told of each Service that is left to ServiceLB. Another uid is another Service, though it has the name of one before.
pub fn left(config: &Config, snapshot: &Snapshot) -> BTreeMap<(ServiceKey, Uid), Event> {
    let servers = servicelb(snapshot);
    if servers.is_empty() {
        return BTreeMap::new();
    }
    let left = snapshot.services.values().filter(|service| is_served(config, snapshot, service) == Serving::LeftToServiceLb);
    let told = left.map(|service| {
        let subject = Subject::Service(service.key.clone(), service.uid.clone());
        let event = Event { subject, kind: EventKind::Normal, reason: reason::LEFT_TO_SERVICELB, message: told(&servers, &service.key) };
        ((service.key.clone(), service.uid.clone()), event)
    });
    told.collect()
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
