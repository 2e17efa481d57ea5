//! What the watches gather: slim objects in, one [`Snapshot`] out. Pure, so that objects on paper are gathered alike.
//!
//! Watches and the answers to our own writes come in any order: a version never gives way to an older one, and what a new list does not
//! have is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as NodeObject, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::convert;
use super::lease::{Record, read};
use crate::facts::{Claim, Endpoints, Labels, LeaderRecord, Member, Node, NodeName, Service, ServiceKey, Snapshot, is_at_least};

/// The answer to one of our own writes.
#[derive(Clone, Debug)]
pub enum Feedback {
    /// An address Lease was written.
    Claim(Claim),
    /// This address Lease was deleted.
    ClaimDeleted(Claim),
    /// A Service was patched.
    Service(Box<Service>),
    /// Our member Lease was written.
    Member(Member),
    /// The leader's Lease was written.
    Leader(LeaderRecord),
}

/// One thing that happened to one object, slim. `None` as the value: not one we keep.
pub(super) enum Item {
    Service(ServiceKey, Option<Service>, String),
    Slice(String, Option<(ServiceKey, Endpoints)>),
    Node(NodeName, Box<Node>),
    Namespace(String, Labels),
    Lease(String, Option<Record>, String),
}

impl Item {
    pub(super) fn of_service(object: ServiceObject) -> Self {
        let key = ServiceKey::new(&object.namespace().unwrap_or_default(), &object.name_any());
        let version = version(&object.metadata);
        Self::Service(key, convert::service(object), version)
    }

    pub(super) fn of_slice(object: EndpointSlice) -> Self {
        let name = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
        Self::Slice(name, convert::endpoints(object))
    }

    pub(super) fn of_node(object: NodeObject) -> Self {
        let node = convert::node(object);
        Self::Node(node.name.clone(), Box::new(node))
    }

    pub(super) fn of_namespace(metadata: ObjectMeta) -> Self {
        Self::Namespace(metadata.name.unwrap_or_default(), metadata.labels.unwrap_or_default())
    }

    /// And what is wrong with it, if it cannot be read: then it says nothing.
    pub(super) fn of_lease(object: Lease) -> (Self, Option<String>) {
        let (name, version) = (object.name_any(), version(&object.metadata));
        match read(object) {
            Ok(record) => (Self::Lease(name, record, version), None),
            Err(problem) => (Self::Lease(name, None, version), Some(problem)),
        }
    }
}

fn version(meta: &ObjectMeta) -> String {
    meta.resource_version.clone().unwrap_or_default()
}

/// What a watch says about its objects.
pub(super) enum Update {
    Apply(Item),
    Delete(Item),
    Init(Kind),
    InitDone(Kind),
}

/// What is watched.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Services,
    Slices,
    Nodes,
    Namespaces,
    Leases,
}

/// A keyed collection that forgets, at the end of a list, what the list did not have.
#[derive(Debug)]
struct Listed<K> {
    complete: bool,
    seen: Option<BTreeSet<K>>,
}

impl<K> Default for Listed<K> {
    fn default() -> Self {
        Self { complete: false, seen: None }
    }
}

impl<K: Ord + Clone> Listed<K> {
    fn begin(&mut self) {
        self.seen = Some(BTreeSet::new());
    }

    fn saw(&mut self, key: &K) {
        if let Some(seen) = &mut self.seen {
            seen.insert(key.clone());
        }
    }

    /// Ends a list; tells which keys it had.
    fn end(&mut self) -> BTreeSet<K> {
        self.complete = true;
        self.seen.take().unwrap_or_default()
    }
}

fn is_news<T: PartialEq>(before: Option<&T>, now: &T, version: fn(&T) -> &str) -> bool {
    before.is_none_or(|before| is_at_least(version(now), version(before)) && before != now)
}

/// Everything that was seen, and what keeps it right.
#[derive(Default)]
pub(super) struct Store {
    snapshot: Snapshot,
    /// Since whoever publishes it looked last.
    pub(super) changed: bool,
    services: Listed<ServiceKey>,
    slices: Listed<String>,
    nodes: Listed<NodeName>,
    namespaces: Listed<String>,
    leases: Listed<String>,
    /// Each slice's share, by Service; and whose each slice is.
    shares: BTreeMap<ServiceKey, BTreeMap<Arc<str>, Endpoints>>,
    slice_of: BTreeMap<Arc<str>, ServiceKey>,
    /// The Leases the store has something from.
    lease_names: BTreeSet<String>,
    /// Versions of the address Leases that we deleted, until the watch says so too.
    deleted: BTreeMap<IpAddr, String>,
}

impl Store {
    /// Every list was complete once.
    pub(super) fn is_complete(&self) -> bool {
        self.services.complete && self.slices.complete && self.nodes.complete && self.namespaces.complete && self.leases.complete
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    pub(super) fn apply(&mut self, update: Update) {
        match update {
            Update::Apply(item) => self.put(item),
            Update::Delete(item) => self.remove(item),
            Update::Init(kind) => self.begin(kind),
            Update::InitDone(kind) => self.end(kind),
        }
    }

    pub(super) fn feedback(&mut self, answer: Feedback) {
        match answer {
            Feedback::Claim(claim) => self.put_record(Record::Claim(claim)),
            Feedback::ClaimDeleted(claim) => {
                Arc::make_mut(&mut self.snapshot.claims).remove(&claim.address);
                self.changed = true;
                self.deleted.insert(claim.address, claim.resource_version);
            }
            Feedback::Service(service) => self.put_service(*service),
            Feedback::Member(member) => self.put_record(Record::Member(member)),
            Feedback::Leader(record) => self.put_record(Record::Leader(record)),
        }
    }

    fn begin(&mut self, kind: Kind) {
        match kind {
            Kind::Services => self.services.begin(),
            Kind::Slices => self.slices.begin(),
            Kind::Nodes => self.nodes.begin(),
            Kind::Namespaces => self.namespaces.begin(),
            Kind::Leases => self.leases.begin(),
        }
    }

    fn end(&mut self, kind: Kind) {
        self.changed = true;
        match kind {
            Kind::Services => {
                let seen = self.services.end();
                Arc::make_mut(&mut self.snapshot.services).retain(|key, _| seen.contains(key));
            }
            Kind::Slices => {
                let seen = self.slices.end();
                let gone: Vec<Arc<str>> = self.slice_of.keys().filter(|name| !seen.contains(&***name)).cloned().collect();
                for name in gone {
                    self.put_slice(&name, None);
                }
            }
            Kind::Nodes => {
                let seen = self.nodes.end();
                Arc::make_mut(&mut self.snapshot.nodes).retain(|name, _| seen.contains(name));
            }
            Kind::Namespaces => {
                let seen = self.namespaces.end();
                Arc::make_mut(&mut self.snapshot.namespaces).retain(|name, _| seen.contains(&**name));
            }
            Kind::Leases => {
                let seen = self.leases.end();
                let gone: Vec<String> = self.lease_names.difference(&seen).cloned().collect();
                for name in gone {
                    self.remove_lease(&name, None);
                }
            }
        }
    }

    fn put(&mut self, item: Item) {
        match item {
            Item::Service(key, service, version) => match service {
                Some(service) => {
                    self.services.saw(&key);
                    self.put_service(service);
                }
                None => self.remove(Item::Service(key, None, version)),
            },
            Item::Slice(name, share) => {
                self.slices.saw(&name);
                self.put_slice(&Arc::from(name), share);
            }
            Item::Node(name, node) => {
                self.nodes.saw(&name);
                // A kubelet's heartbeat changes nothing we read.
                if self.snapshot.nodes.get(&name).is_none_or(|before| **before != *node) {
                    Arc::make_mut(&mut self.snapshot.nodes).insert(name, Arc::from(node));
                    self.changed = true;
                }
            }
            Item::Namespace(name, labels) => {
                self.namespaces.saw(&name);
                let name: Arc<str> = name.into();
                if self.snapshot.namespaces.get(&name) != Some(&labels) {
                    Arc::make_mut(&mut self.snapshot.namespaces).insert(name, labels);
                    self.changed = true;
                }
            }
            Item::Lease(name, record, _) => {
                self.leases.saw(&name);
                match record {
                    Some(record) => self.put_record(record),
                    None => self.remove_lease(&name, None),
                }
            }
        }
    }

    fn put_service(&mut self, service: Service) {
        let before = self.snapshot.services.get(&service.key).map(AsRef::as_ref);
        if is_news(before, &service, |service| &service.resource_version) {
            Arc::make_mut(&mut self.snapshot.services).insert(service.key.clone(), Arc::new(service));
            self.changed = true;
        }
    }

    fn put_slice(&mut self, name: &Arc<str>, share: Option<(ServiceKey, Endpoints)>) {
        let before = self.slice_of.remove(name);
        if let Some(before) = &before
            && let Some(shares) = self.shares.get_mut(before)
        {
            shares.remove(name);
            if share.as_ref().is_none_or(|(service, _)| service != before) {
                self.sum(before);
            }
        }
        if let Some((service, endpoints)) = share {
            self.slice_of.insert(name.clone(), service.clone());
            self.shares.entry(service.clone()).or_default().insert(name.clone(), endpoints);
            self.sum(&service);
        }
    }

    fn sum(&mut self, service: &ServiceKey) {
        let shares = self.shares.get(service).filter(|shares| !shares.is_empty());
        let sum = shares.map(|shares| Arc::new(convert::merged(shares.values())));
        if shares.is_none() {
            self.shares.remove(service);
        }
        if self.snapshot.endpoints.get(service) == sum.as_ref() {
            return;
        }
        // Most Services are no LoadBalancer: their pods may come and go without waking anybody.
        self.changed |= self.snapshot.services.contains_key(service);
        let endpoints = Arc::make_mut(&mut self.snapshot.endpoints);
        match sum {
            Some(sum) => endpoints.insert(service.clone(), sum),
            None => endpoints.remove(service),
        };
    }

    fn put_record(&mut self, record: Record) {
        match record {
            Record::Leader(record) => {
                let before = self.snapshot.leader.as_ref();
                self.lease_names.insert(super::lease::LEADER.to_owned());
                if is_news(before, &record, |record| &record.resource_version) {
                    self.snapshot.leader = Some(record);
                    self.changed = true;
                }
            }
            Record::Member(member) => {
                self.lease_names.insert(super::lease::member_name(&member.node));
                let before = self.snapshot.members.get(&member.node).map(AsRef::as_ref);
                if is_news(before, &member, |member| &member.resource_version) {
                    Arc::make_mut(&mut self.snapshot.members).insert(member.node.clone(), Arc::new(member));
                    self.changed = true;
                }
            }
            Record::Claim(claim) => {
                // The last version of a Lease that we deleted may still be on its way to us.
                if self.deleted.get(&claim.address).is_some_and(|last| is_at_least(last, &claim.resource_version)) {
                    return;
                }
                self.deleted.remove(&claim.address);
                self.lease_names.insert(super::lease::claim_name(claim.address));
                let before = self.snapshot.claims.get(&claim.address).map(AsRef::as_ref);
                if is_news(before, &claim, |claim| &claim.resource_version) {
                    Arc::make_mut(&mut self.snapshot.claims).insert(claim.address, Arc::new(claim));
                    self.changed = true;
                }
            }
        }
    }

    fn remove(&mut self, item: Item) {
        match item {
            Item::Service(key, _, version) => {
                let known = self.snapshot.services.get(&key);
                if known.is_some_and(|known| is_at_least(&version, &known.resource_version)) {
                    Arc::make_mut(&mut self.snapshot.services).remove(&key);
                    self.changed = true;
                }
            }
            Item::Slice(name, ..) => self.put_slice(&Arc::from(name), None),
            Item::Node(name, ..) => {
                self.changed |= Arc::make_mut(&mut self.snapshot.nodes).remove(&name).is_some();
            }
            Item::Namespace(name, ..) => {
                self.changed |= Arc::make_mut(&mut self.snapshot.namespaces).remove(&*name).is_some();
            }
            Item::Lease(name, _, version) => self.remove_lease(&name, Some(&version)),
        }
    }

    /// Removes what Lease `name` said, unless it is newer than `version`.
    fn remove_lease(&mut self, name: &str, version: Option<&str>) {
        let is_older = |known: &str| version.is_none_or(|version| is_at_least(version, known));
        if name == super::lease::LEADER {
            if self.snapshot.leader.as_ref().is_some_and(|leader| is_older(&leader.resource_version)) {
                self.snapshot.leader = None;
                self.changed = true;
            }
        } else if let Some(node) = super::lease::member_of(name) {
            if self.snapshot.members.get(node).is_some_and(|member| is_older(&member.resource_version)) {
                Arc::make_mut(&mut self.snapshot.members).remove(node);
                self.changed = true;
            }
        } else if let Some(address) = super::lease::claim_address(name)
            && self.deleted.remove(&address).is_none()
            && self.snapshot.claims.get(&address).is_some_and(|claim| is_older(&claim.resource_version))
        {
            Arc::make_mut(&mut self.snapshot.claims).remove(&address);
            self.changed = true;
        }
        self.lease_names.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(address: &str, pool: &str, version: &str) -> Claim {
        Claim {
            address: address.parse().unwrap(),
            holders: Vec::new(),
            pool: pool.to_owned(),
            placement: None,
            moved: None,
            last_holder: None,
            freed: None,
            resource_version: version.to_owned(),
        }
    }

    fn lease(store: &mut Store, claim: Claim) {
        let (name, version) = (super::super::lease::claim_name(claim.address), claim.resource_version.clone());
        store.apply(Update::Apply(Item::Lease(name, Some(Record::Claim(claim)), version)));
    }

    #[test]
    fn an_older_watch_event_does_not_undo_what_our_own_write_told() {
        let mut store = Store::default();
        lease(&mut store, claim("10.0.0.1", "first", "5"));
        store.feedback(Feedback::Claim(claim("10.0.0.1", "ours", "9")));
        lease(&mut store, claim("10.0.0.1", "between", "7"));
        assert_eq!(store.snapshot.claims.values().next().unwrap().pool, "ours");
        let name = super::super::lease::claim_name("10.0.0.1".parse().unwrap());
        store.apply(Update::Delete(Item::Lease(name.clone(), None, "8".to_owned())));
        assert_eq!(store.snapshot.claims.len(), 1, "a deletion before our write");
        store.apply(Update::Delete(Item::Lease(name, None, "10".to_owned())));
        assert!(store.snapshot.claims.is_empty());
    }

    #[test]
    fn the_last_version_of_a_lease_we_deleted_does_not_bring_it_back() {
        let mut store = Store::default();
        lease(&mut store, claim("10.0.0.1", "a", "5"));
        store.feedback(Feedback::ClaimDeleted(claim("10.0.0.1", "a", "7")));
        lease(&mut store, claim("10.0.0.1", "a", "7"));
        assert!(store.snapshot.claims.is_empty());
        lease(&mut store, claim("10.0.0.1", "b", "9"));
        assert_eq!(store.snapshot.claims.len(), 1, "made anew by somebody");
    }

    #[test]
    fn what_a_new_list_does_not_have_is_gone() {
        let mut store = Store::default();
        lease(&mut store, claim("10.0.0.1", "a", "1"));
        lease(&mut store, claim("10.0.0.2", "a", "2"));
        store.apply(Update::Init(Kind::Leases));
        lease(&mut store, claim("10.0.0.2", "a", "2"));
        store.apply(Update::InitDone(Kind::Leases));
        assert_eq!(store.snapshot.claims.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2"]);
    }

    #[test]
    fn endpoints_are_the_sum_of_all_slices() {
        let mut store = Store::default();
        let key = ServiceKey::new("a", "b");
        let share = |node: &str| Endpoints { nodes: [(node.into(), 1)].into(), serving: true, any: true };
        store.put_slice(&"a/s1".into(), Some((key.clone(), share("n1"))));
        store.put_slice(&"a/s2".into(), Some((key.clone(), share("n2"))));
        assert_eq!(store.snapshot.endpoints[&key].nodes.len(), 2);
        store.put_slice(&"a/s1".into(), None);
        assert_eq!(store.snapshot.endpoints[&key].nodes.first_key_value().unwrap().0.as_str(), "n2");
        store.put_slice(&"a/s2".into(), None);
        assert!(store.snapshot.endpoints.is_empty());
    }

    #[test]
    fn a_heartbeat_that_changes_nothing_we_read_wakes_nobody() {
        let mut store = Store::default();
        lease(&mut store, claim("10.0.0.1", "a", "1"));
        store.changed = false;
        lease(&mut store, claim("10.0.0.1", "a", "1"));
        assert!(!store.changed);
    }
}
