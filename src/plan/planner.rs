//! The plan, made anew only where something has changed: in a cluster of ten thousand Services one changed EndpointSlice costs one group.
//!
//! Configuration, Nodes and members concern every group; when one of them has changed, everything is planned anew. Services, endpoints and
//! claims concern the groups they belong to. What comes out is what [`plan`] says of the same facts (`tests/it/planner.rs`), in the same
//! [`Arc`] as before where nothing is different.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::eligible::configurations_differ;
use super::group::groups_of;
use super::{Plan, plan, planned};
use crate::config::Config;
use crate::facts::{Claim, Living, ServiceKey, Snapshot};

/// The last plan and what it was made from.
#[derive(Debug, Default)]
pub struct Planner {
    seen: Option<Seen>,
    plan: Arc<Plan>,
    /// The first Service of the group of each Service.
    group_of: BTreeMap<ServiceKey, ServiceKey>,
}

#[derive(Debug)]
struct Seen {
    config: Arc<Config>,
    snapshot: Snapshot,
    living: Arc<Living>,
}

impl Planner {
    /// The plan for these facts.
    pub fn plan(&mut self, config: &Arc<Config>, snapshot: &Snapshot, living: &Arc<Living>) -> Arc<Plan> {
        match self.seen.take() {
            Some(seen) if seen.concerns_few(config, snapshot, living) => self.mend(&seen.snapshot, config, snapshot, living),
            Some(_) | None => self.replace(plan(config, snapshot, living)),
        }
        self.seen = Some(Seen { config: config.clone(), snapshot: snapshot.clone(), living: living.clone() });
        self.plan.clone()
    }

    fn replace(&mut self, plan: Plan) {
        if *self.plan != plan {
            let of_group =
                plan.groups.iter().flat_map(|(first, plan)| plan.group.services.iter().map(|service| (service.clone(), first.clone())));
            self.group_of = of_group.collect();
            self.plan = Arc::new(plan);
        }
    }

    /// Plans the groups anew that have to do with what differs from `before`.
    fn mend(&mut self, before: &Snapshot, config: &Config, snapshot: &Snapshot, living: &Living) {
        let edited = differing(&before.services, &snapshot.services);
        let moved = differing(&before.claims, &snapshot.claims);
        let mut services = differing(&before.endpoints, &snapshot.endpoints);
        services.extend(edited.iter().cloned());
        // A Service that was none of ours, or not there, may hold claims that are in no group, or in that of others who share them.
        let strangers = || edited.iter().any(|service| !self.group_of.contains_key(service));
        let found = if strangers() { held_by(snapshot, &edited) } else { BTreeSet::new() };
        let mut addresses: BTreeSet<IpAddr> = moved.into_iter().chain(found).collect();
        let claims = addresses.iter().flat_map(|address| [before.claims.get(address), snapshot.claims.get(address)]).flatten();
        services.extend(claims.flat_map(|claim| &claim.holders).map(|holder| holder.service.clone()));
        let concerned: BTreeSet<ServiceKey> = services.iter().filter_map(|service| self.group_of.get(service)).cloned().collect();
        if concerned.is_empty() && addresses.is_empty() {
            return;
        }
        let plan = Arc::make_mut(&mut self.plan);
        for first in concerned {
            let Some(old) = plan.groups.remove(&first) else { continue };
            addresses.extend(old.group.claims.keys());
            for service in &old.group.services {
                self.group_of.remove(service);
            }
        }
        let claims = addresses.iter().filter_map(|address| snapshot.claims.get(address));
        for group in groups_of(config, snapshot, claims) {
            let Some(first) = group.services.first().cloned() else { continue };
            self.group_of.extend(group.services.iter().map(|service| (service.clone(), first.clone())));
            plan.groups.insert(first, Arc::new(planned(config, snapshot, living, group)));
        }
    }
}

impl Seen {
    /// Whether nothing has changed that concerns every group.
    fn concerns_few(&self, config: &Arc<Config>, snapshot: &Snapshot, living: &Arc<Living>) -> bool {
        Arc::ptr_eq(&self.config, config)
            && self.living == *living
            && self.snapshot.nodes == snapshot.nodes
            && configurations_differ(&self.snapshot, living) == configurations_differ(snapshot, living)
    }
}

/// The keys that two maps do not have with the same value. Values that are shared are not looked into.
pub fn differing<K: Ord + Clone, V: Eq>(before: &BTreeMap<K, Arc<V>>, now: &BTreeMap<K, Arc<V>>) -> BTreeSet<K> {
    if std::ptr::eq(before, now) {
        return BTreeSet::new();
    }
    let mut differing = BTreeSet::new();
    let (mut old, mut new) = (before.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return differing,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let old = if order.is_le() { old.next() } else { None };
        let new = if order.is_ge() { new.next() } else { None };
        if old != new {
            differing.extend(old.or(new).map(|(key, _)| key.clone()));
        }
    }
}

/// The addresses whose claims name one of `services`.
fn held_by(snapshot: &Snapshot, services: &BTreeSet<ServiceKey>) -> BTreeSet<IpAddr> {
    let named = |claim: &&Arc<Claim>| claim.holders.iter().any(|holder| services.contains(&holder.service));
    snapshot.claims.values().filter(named).map(|claim| claim.address).collect()
}
