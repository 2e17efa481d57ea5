//! A small world for tests of plan and assignment: configurations and snapshots by the line, and an API server that obeys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lanlord::addr::{Family, MacAddr};
use lanlord::config::{Bgp, Config, L2Advertisement, Pool, PoolName, Settings};
use lanlord::facts::{
    Claim, Endpoints, FamilyPolicy, Holder, Labels, LeaderRecord, Living, Medium, Member, MemberLink, Node, NodeName, Service, ServiceKey,
    Snapshot, TrafficPolicy, Uid,
};
use lanlord::leader::decide::{Decision, Tend, Work, decide};
use lanlord::leader::suggest::{Advice, Prospect};
use lanlord::leader::tell::Now;
use lanlord::membership::living::{Senses, living};
use lanlord::plan::plan;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `name` in namespace default, or `namespace/name`.
pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::parse(name).unwrap_or_else(|| ServiceKey::new("default", name))
}

pub(crate) fn pool(name: &str, ranges: &[&str]) -> Pool {
    let ranges: Vec<lanlord::addr::Range> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    Pool {
        name: PoolName::new(name),
        labels: Labels::new(),
        addresses: ranges.iter().copied().collect(),
        ranges,
        auto_assign: true,
        avoid_buggy_ips: false,
        share_across_namespaces: false,
        allocation: None,
    }
}

/// Pools in the order given, all announced.
pub(crate) fn config(pools: Vec<Pool>) -> Config {
    let advertisement = L2Advertisement {
        name: None,
        pools: pools.iter().map(|pool| pool.name.clone()).collect(),
        node_selectors: Vec::new(),
        interfaces: BTreeSet::new(),
        service_selectors: Vec::new(),
        preferred_node_selectors: Vec::new(),
    };
    Config { pools, l2_advertisements: vec![advertisement], bgp: Bgp::default(), settings: Settings::default(), hash: "test".to_owned() }
}

/// An API server as far as Services, Leases and resource versions go.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) snapshot: Snapshot,
    version: u64,
    uids: u64,
    pub(crate) seconds: i64,
    /// Members that do not reach the API server.
    pub(crate) detached: BTreeSet<NodeName>,
    /// Whether a move for evenness is allowed.
    pub(crate) quiet: bool,
}

impl World {
    /// Nodes n1… on 192.168.1.0/24 and fd00::/64 at .11…, gateway .1.
    pub(crate) fn new(nodes: u8, config: Config) -> Self {
        let mut world =
            Self { config, snapshot: Snapshot::default(), version: 0, uids: 0, seconds: 1_000, detached: BTreeSet::new(), quiet: false };
        for number in 1..=nodes {
            world.join(number);
        }
        world
    }

    pub(crate) fn join(&mut self, number: u8) {
        let name = NodeName::new(&format!("n{number}"));
        let node = Node {
            name: name.clone(),
            labels: Labels::from([("kubernetes.io/hostname".to_owned(), name.to_string())]),
            addresses: vec![ip(&format!("192.168.1.{}", 10 + number))],
            ready: true,
            ..Node::default()
        };
        let addresses = [format!("192.168.1.{}/24", 10 + number), format!("fd00::{}/64", 10 + number)];
        let link = MemberLink {
            name: "eth0".into(),
            mac: MacAddr([2, 0, 0, 0, 0, number]),
            medium: Medium::Wired,
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        };
        let member = Member {
            node: name.clone(),
            instance: Some("1".to_owned()),
            generation: 1,
            links: vec![link],
            gateways: [ip("192.168.1.1")].into(),
            resource_version: "1".to_owned(),
            ..Member::default()
        };
        Arc::make_mut(&mut self.snapshot.nodes).insert(name.clone(), Arc::new(node));
        Arc::make_mut(&mut self.snapshot.members).insert(name, Arc::new(member));
    }

    pub(crate) fn leave(&mut self, node: &str) {
        let members = Arc::make_mut(&mut self.snapshot.members);
        if let Some(member) = members.get_mut(node) {
            Arc::make_mut(member).instance = None;
        }
    }

    pub(crate) fn node(&mut self, name: &str, edit: impl FnOnce(&mut Node)) {
        edit(Arc::make_mut(Arc::make_mut(&mut self.snapshot.nodes).get_mut(name).unwrap()));
    }

    pub(crate) fn living(&self) -> Living {
        let mut living = living(&self.snapshot, &Senses::default());
        for (name, member) in &mut living.members {
            member.detached = self.detached.contains(name);
        }
        living
    }

    pub(crate) fn member(&mut self, node: &str, edit: impl FnOnce(&mut Member)) {
        edit(Arc::make_mut(Arc::make_mut(&mut self.snapshot.members).get_mut(node).unwrap()));
    }

    /// Grows with every write.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Compare-and-swap of a member's Lease; `None`: refused.
    pub(crate) fn write_member(&mut self, mut member: Member) -> Option<Member> {
        let current = self.snapshot.members.get(&member.node).map(|member| member.resource_version.clone()).unwrap_or_default();
        if current != member.resource_version {
            return None;
        }
        member.resource_version = self.next_version();
        Arc::make_mut(&mut self.snapshot.members).insert(member.node.clone(), Arc::new(member.clone()));
        Some(member)
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// Creates an IPv4 Service with a serving endpoint on n1; `edit` changes it before anyone sees it.
    pub(crate) fn create(&mut self, name: &str, edit: impl FnOnce(&mut Service)) {
        self.uids += 1;
        self.seconds += 1;
        let mut service = Service {
            key: key(name),
            uid: Uid(self.uids.to_string().into()),
            resource_version: self.next_version(),
            created: self.seconds,
            labels: Labels::new(),
            annotations: BTreeMap::new(),
            class: None,
            family_policy: FamilyPolicy::SingleStack,
            families: vec![Family::V4],
            traffic_policy: TrafficPolicy::Cluster,
            load_balancer_ip: None,
            selector: format!("app={name}"),
            ports: Vec::new(),
            deleting: false,
            ingress: Vec::new(),
            foreign_ingress: false,
            condition: None,
            traces: None,
        };
        edit(&mut service);
        self.endpoints(name, &["n1"]);
        Arc::make_mut(&mut self.snapshot.services).insert(service.key.clone(), Arc::new(service));
    }

    pub(crate) fn endpoints(&mut self, name: &str, nodes: &[&str]) {
        let mut endpoints = Endpoints { serving: !nodes.is_empty(), any: true, ..Endpoints::default() };
        for node in nodes {
            *endpoints.nodes.entry(NodeName::new(node)).or_default() += 1;
        }
        Arc::make_mut(&mut self.snapshot.endpoints).insert(key(name), Arc::new(endpoints));
    }

    pub(crate) fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Service)) {
        let version = self.next_version();
        let service = Arc::make_mut(Arc::make_mut(&mut self.snapshot.services).get_mut(&key(name)).unwrap());
        service.resource_version = version;
        edit(service);
    }

    pub(crate) fn delete(&mut self, name: &str) {
        Arc::make_mut(&mut self.snapshot.services).remove(&key(name));
    }

    pub(crate) fn service(&self, name: &str) -> &Service {
        &self.snapshot.services[&key(name)]
    }

    pub(crate) fn ingress(&self, name: &str) -> Vec<String> {
        self.service(name).ingress.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn decide(&mut self) -> Decision {
        self.seconds += 1;
        let now = Now {
            text: format!("t{}", self.seconds),
            seconds: self.seconds,
            quiet: self.quiet,
            prospect: Prospect::Known(Advice::default()),
            ..Now::default()
        };
        let living = self.living();
        decide(&self.config, &self.snapshot, &living, &plan(&self.config, &self.snapshot, &living), &now)
    }

    /// Lets the leader work until nothing is left; returns the Events as `Reason: message`. Panics if it does not come to rest.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..40 {
            let decision = self.decide();
            if decision == Decision::default() {
                return told;
            }
            for work in decision.work {
                told.extend(self.carry_out(work).into_iter().flatten());
            }
            for tend in decision.tend {
                self.tend(tend);
            }
        }
        panic!("the leader does not come to rest");
    }

    pub(crate) fn tend(&mut self, tend: Tend) -> Option<()> {
        self.are_gone(tend.gone())?;
        match tend {
            Tend::Replace(claim) | Tend::Release(claim, _) => self.write_claim(claim),
            Tend::Delete(claim) => {
                let current = self.snapshot.claims.get(&claim.address)?;
                if current.resource_version != claim.resource_version {
                    return None;
                }
                Arc::make_mut(&mut self.snapshot.claims).remove(&claim.address);
                Some(())
            }
        }
    }

    /// What the API server says when asked for these Services; `None`: one is there.
    pub(crate) fn are_gone(&self, holders: &[Holder]) -> Option<()> {
        let is_there = |holder: &Holder| self.snapshot.services.get(&holder.service).is_some_and(|service| service.uid == holder.uid);
        (!holders.iter().any(is_there)).then_some(())
    }

    /// Compare-and-swap, as the API server does it; `None`: refused.
    pub(crate) fn write_claim(&mut self, mut claim: Claim) -> Option<()> {
        let current = self.snapshot.claims.get(&claim.address).map(|claim| claim.resource_version.clone()).unwrap_or_default();
        if current != claim.resource_version {
            return None;
        }
        claim.resource_version = self.next_version();
        Arc::make_mut(&mut self.snapshot.claims).insert(claim.address, Arc::new(claim));
        Some(())
    }

    /// Compare-and-swap of the leader's Lease.
    pub(crate) fn write_leader(&mut self, mut record: LeaderRecord) -> Option<LeaderRecord> {
        let current = self.snapshot.leader.as_ref().map(|leader| leader.resource_version.clone()).unwrap_or_default();
        if current != record.resource_version {
            return None;
        }
        record.resource_version = self.next_version();
        self.snapshot.leader = Some(record.clone());
        Some(record)
    }

    pub(crate) fn publish(&mut self, work: &Work) -> Option<()> {
        let Some(publish) = &work.publish else { return Some(()) };
        let current = self.snapshot.services.get(&work.service.key)?;
        if current.resource_version != work.service.resource_version || current.uid != work.service.uid {
            return None;
        }
        let publish = publish.clone();
        let name = work.service.key.to_string();
        self.edit(&name, |service| {
            if let Some(ingress) = publish.ingress {
                service.ingress = ingress;
                service.foreign_ingress = false;
            }
            service.condition = Some(publish.condition);
            for (annotation, value) in publish.annotations {
                match value {
                    Some(value) => service.annotations.insert(annotation, value),
                    None => service.annotations.remove(&annotation),
                };
            }
        });
        Some(())
    }

    /// One Service's work, step by step; `None`: a step was refused and the rest dropped.
    pub(crate) fn carry_out(&mut self, work: Work) -> Option<Vec<String>> {
        self.are_gone(&work.gone)?;
        for claim in work.take.clone() {
            self.write_claim(claim)?;
        }
        self.publish(&work)?;
        for claim in work.release {
            self.write_claim(claim)?;
        }
        Some(work.events.into_iter().map(|event| format!("{}: {}", event.reason, event.message)).collect())
    }
}
