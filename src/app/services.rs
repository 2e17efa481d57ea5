//! Services and pools as the status shows them: what each Service has, who announces it since when, or why nobody does and what to do.
//!
//! Every agent sees the whole cluster, so every agent gives the same answer. Pure: facts and plan in, texts out. What the leader found
//! stands in the Service's condition; who announces is this agent's own plan, which is right also while nobody can write.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::report::{PoolReport, ServiceReport, UsageReport};
use crate::addr::Family;
use crate::config::{Config, Pool};
use crate::facts::{Counters, Moved, NodeName, Service, ServiceKey, Snapshot};
use crate::leader::counters::counters;
use crate::leader::left;
use crate::plan::{GroupPlan, NotAnnounced, Plan, Serving, is_served, servicelb};

const REJECTED: &str = "the configuration is rejected, and there was none before it; lanlord status says where it is wrong";

/// The pools of `config`, in its order.
pub fn pools(config: &Config, snapshot: &Snapshot) -> Vec<PoolReport> {
    let counters = counters(config, snapshot);
    let report = |pool: &Pool| {
        let Counters { assigned_ipv4, assigned_ipv6, available_ipv4, available_ipv6 } =
            counters.get(&pool.name).copied().unwrap_or_default();
        PoolReport {
            name: pool.name.to_string(),
            ranges: pool.ranges.iter().map(ToString::to_string).collect(),
            auto_assign: pool.auto_assign,
            v4: usage(pool, Family::V4, assigned_ipv4, available_ipv4),
            v6: usage(pool, Family::V6, assigned_ipv6, available_ipv6),
        }
    };
    config.pools.iter().map(report).collect()
}

fn usage(pool: &Pool, family: Family, used: i64, free: i64) -> Option<UsageReport> {
    let total = i64::try_from(pool.usable(family)).unwrap_or(i64::MAX);
    let [total, used, free] = [total, used, free].map(|count| u64::try_from(count).unwrap_or(0));
    (total > 0).then_some(UsageReport { total, used, free })
}

/// Every Service of type LoadBalancer. `rejected`: there is a configuration, and it is wrong.
pub fn services(config: Option<&Config>, rejected: bool, snapshot: &Snapshot, plan: Option<&Plan>) -> Vec<ServiceReport> {
    let groups = plan.iter().flat_map(|plan| plan.groups.values());
    let group_of: BTreeMap<&ServiceKey, &GroupPlan> =
        groups.flat_map(|group| group.group.services.iter().map(move |service| (service, group.as_ref()))).collect();
    snapshot.services.values().map(|service| report(config, rejected, snapshot, service, group_of.get(&service.key).copied())).collect()
}

fn report(config: Option<&Config>, rejected: bool, snapshot: &Snapshot, service: &Service, group: Option<&GroupPlan>) -> ServiceReport {
    let report = ServiceReport {
        service: service.key.to_string(),
        addresses: service.ingress.iter().map(ToString::to_string).collect(),
        ports: service.ports.iter().map(ToString::to_string).collect(),
        local: service.traffic_policy == crate::facts::TrafficPolicy::Local,
        ..ServiceReport::default()
    };
    let condition = service.condition.as_ref();
    let state = |state: &str, why: Option<String>| ServiceReport { state: state.to_owned(), why, ..report.clone() };
    match config.map(|config| is_served(config, snapshot, service)) {
        Some(Serving::Foreign) => return state("foreign", Some(foreign(service))),
        Some(Serving::LeftToServiceLb) => return state("foreign", Some(left::told(&servicelb(snapshot), &service.key))),
        Some(Serving::Deleting) => return state("deleting", None),
        Some(Serving::Ours) => {}
        None if rejected => return state("pending", Some(REJECTED.to_owned())),
        None => return state("new", None),
    }
    match (group, condition.filter(|condition| !condition.announced)) {
        (Some(group), _) => ours(service, group, report),
        (None, Some(condition)) => state("pending", Some(condition.message.clone())),
        (None, None) => state("new", None),
    }
}

fn foreign(service: &Service) -> String {
    match &service.class {
        Some(class) => format!("Lanlord leaves it alone: its class is {class}"),
        None => "Lanlord leaves it alone: its annotation lanlord.dev/ignore says so, or serviceClasses".to_owned(),
    }
}

/// A Service that holds an address.
fn ours(service: &Service, group: &GroupPlan, report: ServiceReport) -> ServiceReport {
    let claims = || group.group.claims.values().filter(|claim| claim.holders.iter().any(|holder| holder.service == service.key));
    let condition = service.condition.as_ref().filter(|condition| condition.announced);
    let announced: Vec<IpAddr> = claims().map(|claim| claim.address).filter(|address| group.is_announced(*address)).collect();
    let over_bgp: BTreeSet<&NodeName> = announced.iter().filter_map(|address| group.over_bgp(*address)).flat_map(|it| &it.nodes).collect();
    let owner = group.owner.as_ref().ok().filter(|owner| announced.iter().any(|address| owner.links.contains_key(address)));
    let pools: BTreeSet<&str> = claims().map(|claim| claim.pool.as_str()).collect();
    let silent = claims().map(|claim| claim.address).filter(|address| !group.is_announced(*address)).collect();
    // What of it the leader could not do.
    let unmet = condition.and_then(|condition| Some(condition.message.split_once("; but ")?.1.to_owned()));
    let why: Vec<String> = not_announced(group, &silent).into_iter().chain(unmet).collect();
    let mut addresses: Vec<IpAddr> = claims().map(|claim| claim.address).collect();
    addresses.sort_by_key(|address| service.ingress.iter().position(|shown| shown == address).unwrap_or(usize::MAX));
    ServiceReport {
        state: if announced.is_empty() { "pending" } else { "announced" }.to_owned(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        pools: pools.into_iter().map(str::to_owned).collect(),
        owner: owner.map(|owner| owner.node.to_string()),
        over_bgp: over_bgp.into_iter().map(ToString::to_string).collect(),
        since: condition.filter(|_| !announced.is_empty()).map(|condition| condition.since.clone()),
        moved: claims().find_map(|claim| claim.moved.as_ref()).map(|Moved { from, why }| format!("from {from}: {why}")),
        why: (!why.is_empty()).then(|| why.join("; ")),
        ..report
    }
}

/// Which of these addresses nobody announces, and why.
pub fn not_announced(group: &GroupPlan, silent: &BTreeSet<IpAddr>) -> Option<String> {
    let first = silent.first()?;
    let list = silent.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let over_bgp = group.bgp.get(first).and_then(|announcers| announcers.as_ref().err());
    Some(match (&group.owner, over_bgp) {
        (Ok(owner), _) => format!("{list} not announced: it is on none of the networks of {}", owner.node),
        (Err(NotAnnounced::OverBgp { .. }), Some(why)) | (Err(why), _) => format!("{list} not announced: {why}"),
    })
}
