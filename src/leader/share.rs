//! Which Services may share an address: MetalLB's rules for `allow-shared-ip`, made safe.
//!
//! Both carry the same key, are in one namespace (unless the pool says otherwise), have no port in common, and their traffic policies go
//! together: both `Cluster`, or both `Local` with the same selector. Two `Local` ones with different selectors may join while all their
//! ready pods are on one node, for only there the address serves both; they stay together when the pods part later, and that is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::config::{Pool, PoolName};
use crate::facts::{Claim, NodeName, Service, ServiceKey, ServicePort, Snapshot, TrafficPolicy, annotation};

/// Why two Services may not have one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// The Service itself has no key.
    NoKey,
    /// The other one has none.
    OtherWithoutKey,
    /// The other one has another.
    OtherKey,
    /// They are in different namespaces, and the pool does not allow that.
    Namespace(PoolName),
    /// Both have this port.
    Port(ServicePort),
    /// One is `Local`, and the other is not.
    Policy,
    /// Both are `Local`, and their ready pods are not on one node.
    Apart(BTreeSet<NodeName>),
}

/// The sharing key: any text, compared letter by letter.
pub fn key(service: &Service) -> Option<&str> {
    service.annotation(annotation::SHARED).filter(|key| !key.is_empty())
}

/// What keeps two Services from going on to share an address of `pool`.
pub fn conflict(pool: &Pool, one: &Service, other: &Service) -> Option<Conflict> {
    let Some(own) = key(one) else { return Some(Conflict::NoKey) };
    match key(other) {
        None => return Some(Conflict::OtherWithoutKey),
        Some(theirs) if theirs != own => return Some(Conflict::OtherKey),
        Some(_) => {}
    }
    if one.key.namespace != other.key.namespace && !pool.share_across_namespaces {
        return Some(Conflict::Namespace(pool.name.clone()));
    }
    if let Some(port) = one.ports.iter().find(|port| other.ports.contains(port)) {
        return Some(Conflict::Port(*port));
    }
    // Endpoints made by hand are anywhere: with MetalLB, too, such a Service may join those of policy Cluster.
    let binds = |service: &Service| service.traffic_policy == TrafficPolicy::Local && !service.selector.is_empty();
    let differ = one.traffic_policy != other.traffic_policy && (binds(one) || binds(other));
    differ.then_some(Conflict::Policy)
}

/// What keeps two Services from beginning to share an address of `pool`.
pub fn obstacle(snapshot: &Snapshot, pool: &Pool, one: &Service, other: &Service) -> Option<Conflict> {
    conflict(pool, one, other).or_else(|| apart(snapshot, one, other))
}

fn apart(snapshot: &Snapshot, one: &Service, other: &Service) -> Option<Conflict> {
    let local = [one, other].iter().all(|service| service.traffic_policy == TrafficPolicy::Local);
    if !local || one.selector == other.selector {
        return None;
    }
    let nodes =
        [one, other].map(|service| snapshot.endpoints.get(&service.key).map(|endpoints| endpoints.nodes.keys().collect::<BTreeSet<_>>()));
    let together = nodes.iter().all(|nodes| nodes.as_ref().is_some_and(|nodes| nodes.len() == 1)) && nodes[0] == nodes[1];
    (!together).then(|| Conflict::Apart(nodes.into_iter().flatten().flatten().cloned().collect()))
}

/// What a Service brings along that others may mind, as 16 hexadecimal digits.
pub fn terms(service: &Service) -> String {
    let ports: BTreeSet<String> = service.ports.iter().map(ToString::to_string).collect();
    let local = service.traffic_policy == TrafficPolicy::Local;
    let text = format!("{:?} {ports:?} {:?}", key(service), local.then_some(&service.selector));
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(text.as_bytes());
    format!("{:016x}", hasher.finish())
}

/// Who of the `holders` of one address has to give it up, and for whose sake: whoever has changed since sharing was found in order; of
/// equal ones who is in the way of more of the others; then the younger.
pub fn evicted<'a>(pool: &Pool, claim: &Claim, holders: &[&'a Service]) -> BTreeMap<&'a ServiceKey, (ServiceKey, Conflict)> {
    let changed = |service: &Service| {
        let recorded = claim.holders.iter().find(|holder| holder.service == service.key).map(|holder| holder.terms.as_str());
        recorded.is_some_and(|recorded| !recorded.is_empty() && recorded != terms(service))
    };
    let conflicts = |one: &Service| holders.iter().filter(|other| other.key != one.key && conflict(pool, one, other).is_some()).count();
    let mut order = holders.to_vec();
    order.sort_by_cached_key(|service| (changed(service), conflicts(service), service.created, service.key.clone()));
    let mut stay: Vec<&Service> = Vec::new();
    let mut evicted = BTreeMap::new();
    for service in order {
        let against = stay.iter().find_map(|other| Some((other.key.clone(), conflict(pool, service, other)?)));
        match against {
            Some(against) => drop(evicted.insert(&service.key, against)),
            None => stay.push(service),
        }
    }
    evicted
}

/// What is wrong and what to do.
impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("this Service has no annotation lanlord.dev/allow-shared-ip; give both the same"),
            Self::OtherWithoutKey => f.write_str("that Service has no annotation lanlord.dev/allow-shared-ip; give both the same"),
            Self::OtherKey => f.write_str("their annotations lanlord.dev/allow-shared-ip differ; give both the same"),
            Self::Namespace(pool) => write!(
                f,
                "they are in different namespaces; move one, or allow it with shareAcrossNamespaces: true in pool {pool}"
            ),
            Self::Port(port) => write!(f, "both have port {port}; change one of the two"),
            Self::Policy => f.write_str("one has externalTrafficPolicy Local and the other has not; make them equal"),
            Self::Apart(nodes) if nodes.is_empty() => f.write_str(
                "both have externalTrafficPolicy Local, and no pod of them is ready; they may share it once all their ready pods are on one node",
            ),
            Self::Apart(nodes) => {
                let nodes = nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(
                    f,
                    "both have externalTrafficPolicy Local, and their ready pods are not all on one node ({nodes}); bring them together (podAffinity), or use Cluster"
                )
            }
        }
    }
}
