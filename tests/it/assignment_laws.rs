//! Assignment under everything at once: pools of all kinds, sharing, families, wishes, policies, other classes, members that come and
//! go, leaders that stop in the middle. Any sequence keeps the laws; a failing one is shrunk and printed.
//!
//! Laws: no address is on two Services that may not share it; every rule of its pool is kept; what is shown is claimed, and what is
//! claimed is shown; it comes to rest; nobody waits while an address is free for it; what others do takes no address away; the same
//! facts give the same assignment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lanlord::addr::Family;
use lanlord::config::{Config, Pool, ServiceAllocation};
use lanlord::facts::{FamilyPolicy, Operator, Protocol, Requirement, Selector, Service, ServiceKey, ServicePort, TrafficPolicy};
use lanlord::leader::assign::assign;
use lanlord::plan::{Serving, is_served};
use proptest::prelude::*;

use crate::world::{World, config, key, pool};

const NAMES: [&str; 6] = ["a", "b", "c", "team/a", "team/b", "team/c"];

const SHARING: &str = "metallb.io/allow-shared-ip";

/// What a Service is made of.
#[derive(Clone, Debug)]
struct Traits {
    sharing: Option<u8>,
    port: u16,
    local: bool,
    selector: u8,
    families: u8,
    wish: Option<u8>,
    pool: Option<u8>,
    labelled: bool,
    ignored: bool,
}

#[derive(Clone, Debug)]
struct PoolTraits {
    first: u8,
    length: u8,
    six: bool,
    auto_assign: bool,
    avoids: bool,
    across: bool,
    restricted: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize, Traits),
    Edit(usize, Traits),
    /// Another key, port or policy.
    Terms(usize, Traits),
    Delete(usize),
    Pools(Vec<PoolTraits>),
    Endpoints(usize, u8),
    Leave(u8),
    Join(u8),
    /// A leader decides and is stopped in the middle of its work: only so many writes get through.
    Crash(usize),
    Settle,
}

fn traits() -> impl Strategy<Value = Traits> {
    let sharing = (prop::option::weighted(0.8, prop_oneof![4 => Just(0u8), 1 => Just(1u8)]), 80..84u16, prop::bool::weighted(0.3), 0..3u8);
    let wishes = (0..5u8, prop::option::weighted(0.2, 0..24u8), prop::option::weighted(0.15, 0..4u8));
    (sharing, wishes, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |((sharing, port, local, selector), (families, wish, pool), labelled, ignored)| Traits {
            sharing,
            port,
            local,
            selector,
            families,
            wish,
            pool,
            labelled,
            ignored,
        },
    )
}

fn pools() -> impl Strategy<Value = Vec<PoolTraits>> {
    let traits = (0..6u8, 1..4u8, any::<bool>(), prop::bool::weighted(0.8), any::<bool>(), any::<bool>(), 0..12u8);
    let traits = traits.prop_map(|(first, length, six, auto_assign, avoids, across, restricted)| PoolTraits {
        first,
        length,
        six,
        auto_assign,
        avoids,
        across,
        restricted,
    });
    prop::collection::vec(traits, 1..4)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..NAMES.len(), traits()).prop_map(|(name, traits)| Step::Create(name, traits)),
        3 => (0..NAMES.len(), traits()).prop_map(|(name, traits)| Step::Edit(name, traits)),
        5 => (0..NAMES.len(), traits()).prop_map(|(name, traits)| Step::Terms(name, traits)),
        2 => (0..NAMES.len()).prop_map(Step::Delete),
        2 => pools().prop_map(Step::Pools),
        2 => (0..NAMES.len(), 0..8u8).prop_map(|(name, nodes)| Step::Endpoints(name, nodes)),
        1 => (1..4u8).prop_map(Step::Leave),
        1 => (1..4u8).prop_map(Step::Join),
        2 => (0..6usize).prop_map(Step::Crash),
        4 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..40)
}

/// Addresses 10.0.0.250 to 10.0.1.17 in thirds, so that .255 and .0 are among them.
fn pools_of(traits: &[PoolTraits]) -> Config {
    let build = |(number, traits): (usize, &PoolTraits)| -> Pool {
        let first = u32::from_be_bytes([10, 0, 0, 250]) + u32::try_from(number).unwrap() * 8 + u32::from(traits.first.min(4));
        let last = first + u32::from(traits.length);
        let four = format!("{}-{}", std::net::Ipv4Addr::from(first), std::net::Ipv4Addr::from(last));
        let six = format!("fd00::1{number}00-fd00::1{number}01");
        let allocation = ServiceAllocation {
            priority: None,
            namespaces: if traits.restricted == 1 { ["team".to_owned()].into() } else { [].into() },
            namespace_selectors: if traits.restricted == 2 { vec![has("nobody", "x")] } else { Vec::new() },
            service_selectors: if traits.restricted == 3 { vec![has("app", "web")] } else { Vec::new() },
        };
        Pool {
            auto_assign: traits.auto_assign,
            avoid_buggy_ips: traits.avoids,
            share_across_namespaces: traits.across,
            allocation: (1..4).contains(&traits.restricted).then_some(allocation),
            ..pool(&format!("p{number}"), &if traits.six { vec![&*four, &*six] } else { vec![&*four] })
        }
    };
    config(traits.iter().enumerate().map(build).collect())
}

fn has(label: &str, value: &str) -> Selector {
    Selector { requirements: vec![Requirement { key: label.to_owned(), operator: Operator::In(vec![value.to_owned()]) }] }
}

fn dress(traits: &Traits) -> impl FnOnce(&mut Service) + use<> {
    let traits = traits.clone();
    move |service| {
        service
            .annotations
            .retain(|name, _| ["announced", "released", "pool"].iter().any(|end| name.ends_with(end)) && !name.ends_with("address-pool"));
        let mut set = |name: &str, value: Option<String>| service.annotations.extend(value.map(|value| (name.to_owned(), value)));
        set(SHARING, traits.sharing.map(|number| format!("k{number}")));
        set(
            "metallb.io/loadBalancerIPs",
            traits.wish.map(|last| std::net::Ipv4Addr::from(u32::from_be_bytes([10, 0, 0, 250]) + u32::from(last)).to_string()),
        );
        set("metallb.io/address-pool", traits.pool.map(|number| format!("p{number}")));
        set("lanlord.dev/ignore", traits.ignored.then(|| "true".to_owned()));
        service.ports = vec![ServicePort { protocol: Protocol::Tcp, port: traits.port }];
        service.traffic_policy = if traits.local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        service.selector = if traits.selector == 0 { String::new() } else { format!("app={}", traits.selector) };
        service.labels = traits.labelled.then(|| ("app".to_owned(), "web".to_owned())).into_iter().collect();
        (service.families, service.family_policy) = match traits.families {
            0 => (vec![Family::V6], FamilyPolicy::SingleStack),
            1 => (vec![Family::V4, Family::V6], FamilyPolicy::PreferDualStack),
            2 => (vec![Family::V6, Family::V4], FamilyPolicy::RequireDualStack),
            _ => (vec![Family::V4], FamilyPolicy::SingleStack),
        };
    }
}

/// Says nothing about where pods are: who shares already goes on sharing when they part.
fn may_share(pool: &Pool, one: &Service, other: &Service) -> bool {
    let key = |service: &Service| service.annotation("allow-shared-ip").map(ToOwned::to_owned);
    let binds = |service: &Service| service.traffic_policy == TrafficPolicy::Local && !service.selector.is_empty();
    key(one).is_some()
        && key(one) == key(other)
        && (one.key.namespace == other.key.namespace || pool.share_across_namespaces)
        && one.ports[0].port != other.ports[0].port
        && (one.traffic_policy == other.traffic_policy || !binds(one) && !binds(other))
}

struct Laws {
    world: World,
    /// Nothing was edited since it came to rest, so that sharing rules hold at each moment.
    clean: bool,
}

impl Laws {
    fn apply(&mut self, step: &Step) {
        let world = &mut self.world;
        let exists = |world: &World, number: &usize| world.snapshot.services.contains_key(&key(NAMES[*number]));
        match step {
            Step::Create(number, traits) if !exists(world, number) => {
                let before = self.rest();
                self.world.create(NAMES[*number], dress(traits));
                self.world.settle();
                self.nothing_taken(&before, NAMES[*number]);
            }
            Step::Delete(number) if exists(world, number) => {
                let before = self.rest();
                self.world.delete(NAMES[*number]);
                self.world.settle();
                self.nothing_taken(&before, NAMES[*number]);
            }
            Step::Edit(number, traits) if exists(world, number) => {
                world.edit(NAMES[*number], dress(traits));
                self.clean = false;
            }
            Step::Terms(number, traits) if exists(world, number) => {
                world.edit(NAMES[*number], |service| {
                    let (annotations, labels) = (service.annotations.clone(), service.labels.clone());
                    let families = (service.families.clone(), service.family_policy);
                    dress(traits)(service);
                    let key = service.annotations.remove(SHARING);
                    (service.annotations, service.labels) = (annotations, labels);
                    (service.families, service.family_policy) = families;
                    service.annotations.remove(SHARING);
                    service.annotations.extend(key.map(|key| (SHARING.to_owned(), key)));
                });
                self.clean = false;
            }
            Step::Pools(traits) => {
                world.config = pools_of(traits);
                self.clean = false;
            }
            Step::Endpoints(number, nodes) if exists(world, number) => {
                let nodes: Vec<String> = (1..4).filter(|node| nodes >> (node - 1) & 1 == 1).map(|node| format!("n{node}")).collect();
                world.endpoints(NAMES[*number], &nodes.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Step::Leave(number) => world.leave(&format!("n{number}")),
            Step::Join(number) => world.join(*number),
            Step::Crash(writes) => crash(world, *writes),
            Step::Settle => self.settle(),
            Step::Create(..) | Step::Edit(..) | Step::Terms(..) | Step::Delete(_) | Step::Endpoints(..) => {}
        }
        if self.clean {
            self.no_double_use();
        }
    }

    fn rest(&mut self) -> BTreeMap<ServiceKey, Vec<IpAddr>> {
        self.settle();
        let unasked = self.world.snapshot.services.values().filter(|service| asks_nothing(service));
        unasked.map(|service| (service.key.clone(), service.ingress.clone())).collect()
    }

    /// What one Service does takes no address from another that asks for nothing by name.
    fn nothing_taken(&self, before: &BTreeMap<ServiceKey, Vec<IpAddr>>, but: &str) {
        for (name, addresses) in before.iter().filter(|(name, _)| **name != key(but)) {
            let after = &self.world.snapshot.services[name].ingress;
            assert!(addresses.iter().all(|address| after.contains(address)), "{name} had {addresses:?} and has {after:?}");
        }
    }

    fn settle(&mut self) {
        self.world.settle();
        self.clean = true;
        self.no_double_use();
        self.rules_of_pools();
        self.nothing_leaks();
        self.nobody_waits_in_vain();
        self.same_facts_same_assignment();
        assert_eq!(self.world.settle(), [] as [String; 0], "at rest");
    }

    fn no_double_use(&self) {
        // One that is to be left alone goes on showing what it showed, whatever was edited since.
        let services: Vec<&Arc<Service>> = self.ours().collect();
        for (index, one) in services.iter().enumerate() {
            for other in &services[index + 1..] {
                for address in one.ingress.iter().filter(|address| other.ingress.contains(address)) {
                    let pool = self.world.config.pool_of(*address);
                    assert!(pool.is_some_and(|pool| may_share(pool, one, other)), "{address} is on {} and {}", one.key, other.key);
                }
            }
        }
    }

    fn ours(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.world
            .snapshot
            .services
            .values()
            .filter(|service| is_served(&self.world.config, &self.world.snapshot, service) == Serving::Ours)
    }

    fn rules_of_pools(&self) {
        for service in self.ours() {
            for address in &service.ingress {
                let pool = self.world.config.pool_of(*address).unwrap_or_else(|| panic!("{address} of {} is in no pool", service.key));
                assert!(self.may_use(pool, service), "{} uses {address} of {:?}", service.key, pool.name);
                assert!(!pool.avoid_buggy_ips || !is_buggy(*address), "{address}");
                assert!(service.families.contains(&Family::of(*address)), "{address} of {}", service.key);
            }
            let families = service.ingress.iter().map(|address| Family::of(*address));
            let one_each = service.families.iter().all(|family| families.clone().filter(|other| other == family).count() <= 1);
            assert!(one_each, "{:?}", service.ingress);
        }
    }

    fn may_use(&self, pool: &Pool, service: &Service) -> bool {
        pool.allocation.as_ref().is_none_or(|allocation| {
            (allocation.namespaces.is_empty() || &*service.key.namespace == "team")
                && allocation.namespace_selectors.is_empty()
                && (allocation.service_selectors.is_empty() || !service.labels.is_empty())
        })
    }

    fn nothing_leaks(&self) {
        let snapshot = &self.world.snapshot;
        for claim in snapshot.claims.values() {
            for holder in &claim.holders {
                let service = snapshot.services.get(&holder.service).unwrap_or_else(|| panic!("{} is held by nobody", claim.address));
                assert!(service.uid == holder.uid && service.ingress.contains(&claim.address), "a claim leaked: {claim:?}");
            }
            let mut holders: Vec<_> = claim.holders.iter().map(|holder| &holder.service).collect();
            holders.sort();
            holders.dedup();
            assert_eq!(holders.len(), claim.holders.len(), "held twice: {claim:?}");
            assert!(self.world.config.pool_of(claim.address).is_some() || !claim.holders.is_empty(), "remembered in vain: {claim:?}");
        }
        for service in self.ours() {
            for address in &service.ingress {
                assert!(snapshot.claims[address].holders.iter().any(|holder| holder.uid == service.uid), "{address} is not claimed");
            }
        }
    }

    fn nobody_waits_in_vain(&self) {
        let free = |pool: &Pool, family: Family| {
            pool.addresses.iter().filter(|address| Family::of(*address) == family).any(|address| {
                let held = self.world.snapshot.claims.get(&address).is_some_and(|claim| !claim.holders.is_empty());
                !(held || pool.avoid_buggy_ips && is_buggy(address))
            })
        };
        for service in self.ours().filter(|service| service.ingress.is_empty()) {
            let condition = service.condition.as_ref().unwrap();
            assert_eq!(condition.reason, "AllocationFailed", "{}: {}", service.key, condition.message);
            if asks_nothing(service) {
                let usable = || self.world.config.pools.iter().filter(|pool| pool.auto_assign && self.may_use(pool, service));
                let found = service.families.iter().filter(|family| usable().any(|pool| free(pool, **family))).count();
                let enough = if service.family_policy == FamilyPolicy::RequireDualStack { 2 } else { 1 };
                assert!(found < enough, "{} waits: {}", service.key, condition.message);
            }
        }
    }

    /// The order in which the holders of a claim are written says nothing.
    fn same_facts_same_assignment(&self) {
        let (config, living) = (&self.world.config, self.world.living());
        let mut snapshot = self.world.snapshot.clone();
        let before = assign(config, &snapshot, &living);
        for claim in Arc::make_mut(&mut snapshot.claims).values_mut() {
            Arc::make_mut(claim).holders.reverse();
        }
        assert_eq!(assign(config, &snapshot, &living), before);
    }
}

fn asks_nothing(service: &Service) -> bool {
    service.annotation("loadBalancerIPs").is_none() && service.annotation("address-pool").is_none()
}

fn is_buggy(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if [0, 255].contains(&v4.octets()[3]))
}

fn crash(world: &mut World, writes: usize) {
    let mut left = writes;
    for mut work in world.decide().work {
        if left < work.take.len() + 1 {
            work.take.truncate(left);
            if world.are_gone(&work.gone).is_some() {
                work.take.into_iter().all(|claim| world.write_claim(claim).is_some());
            }
            return;
        }
        left -= work.take.len() + 1;
        work.release.clear();
        world.carry_out(work);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_services_pools_members_and_crashes_keeps_the_laws(first in pools(), steps in steps()) {
        let mut laws = Laws { world: World::new(3, pools_of(&first)), clean: true };
        for step in &steps {
            laws.apply(step);
        }
        laws.settle();
    }
}
