//! What `/metrics` and `/status` show, read from the wires when somebody asks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Wires;
use crate::addr::Family;
use crate::api::watch::Contact;
use crate::config::Pool;
use crate::facts::{NodeName, ServiceKey, Snapshot};
use crate::telemetry::metrics::{Announced, Count, Figures, Layer2Figures, PoolFigures};

/// Brings every figure up to date.
pub(super) fn figures(figures: &mut Figures, wires: &Wires, node: &NodeName) {
    let snapshot = wires.snapshot.borrow().clone().unwrap_or_default();
    let config = wires.config.borrow().clone();
    figures.config_loaded = config.is_some();
    figures.config_stale = *wires.config_problems.borrow() > 0;
    figures.config_problems = *wires.config_problems.borrow();
    figures.leader = *wires.leading.borrow();
    figures.members = wires.living.borrow().members.len() as u64;
    figures.api_reachable = matches!(wires.api.borrow().contact, Contact::Reachable { .. });
    let assigned = snapshot.services.values().filter(|service| !service.ingress.is_empty()).count() as u64;
    figures.services_assigned = assigned;
    figures.services_pending = snapshot.services.len() as u64 - assigned;
    let pools = config.iter().flat_map(|config| &config.pools);
    figures.pools = pools.map(|pool| (pool.name.to_string(), pool_figures(pool, &snapshot))).collect();
    layer2(figures, wires, node);
}

fn pool_figures(pool: &Pool, snapshot: &Snapshot) -> PoolFigures {
    let size =
        |family| pool.ranges.iter().filter(|range| range.family() == family).fold(0, |sum: u128, range| sum.saturating_add(range.len()));
    let held = || snapshot.claims.values().filter(|claim| !claim.holders.is_empty() && pool.addresses.contains(claim.address));
    let used = |family| held().filter(|claim| Family::of(claim.address) == family).count() as u128;
    PoolFigures {
        usable: Count { v4: size(Family::V4), v6: size(Family::V6) },
        in_use: Count { v4: used(Family::V4), v6: used(Family::V6) },
    }
}

fn layer2(figures: &mut Figures, wires: &Wires, node: &NodeName) {
    let status = wires.l2_status.borrow().clone();
    figures.announced.clear();
    figures.layer2.clear();
    for (address, status) in status.links.values().flat_map(|link| &link.addresses) {
        let services = status.service.split(',').filter_map(ServiceKey::parse);
        figures.announced.extend(services.map(|service| Announced { service, protocol: "layer2", node: node.clone(), ip: *address }));
        let of_address = figures.layer2.entry(*address).or_insert(Layer2Figures { received: 0, responses: 0, gratuitous: 0 });
        of_address.received += status.answered;
        of_address.responses += status.answered;
        of_address.gratuitous += status.announced;
    }
}

/// The status of this agent for `curl localhost:7475/status`.
pub(super) fn json(wires: &Wires, node: &NodeName, instance: &str) -> Value {
    let snapshot = wires.snapshot.borrow().clone().unwrap_or_default();
    let plan = wires.plan.borrow().clone();
    let groups = plan.groups.iter().map(|group| {
        let addresses: Vec<String> = group.group.claims.keys().map(ToString::to_string).collect();
        let services: Vec<String> = group.group.services.iter().map(ToString::to_string).collect();
        let owner = group.owner.as_ref().ok().map(|owner| owner.node.to_string());
        let why = group.owner.as_ref().err().map(ToString::to_string);
        json!({"services": services, "addresses": addresses, "owner": owner, "notAnnounced": why})
    });
    let l2 = wires.l2_status.borrow().clone();
    let links = l2.links.iter().map(|((link, family), status)| {
        let announced = status.addresses.iter().map(|(address, status)| {
            json!({"address": address.to_string(), "service": &*status.service, "since": status.since.to_string(), "answered": status.answered,
                "announced": status.announced, "conflict": status.conflict.as_ref().map(|conflict| conflict.mac.to_string())})
        });
        json!({"link": link.to_string(), "family": family.to_string(), "mac": status.mac.to_string(), "error": status.error, "addresses": announced.collect::<Vec<_>>()})
    });
    json!({
        "node": node.to_string(),
        "instance": instance,
        "version": env!("CARGO_PKG_VERSION"),
        "membership": format!("{:?}", *wires.member.borrow()),
        "leader": snapshot.leader.as_ref().and_then(|leader| leader.holder.clone()),
        "members": wires.living.borrow().members.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "configuration": wires.config.borrow().as_ref().map(|config| config.hash.clone()),
        "groups": groups.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "conflicts": l2.conflicts.iter().map(|(address, mac)| (address.to_string(), mac.to_string())).collect::<BTreeMap<_, _>>(),
        "apiProblems": wires.api.borrow().failing,
    })
}
