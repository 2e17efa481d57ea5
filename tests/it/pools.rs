//! Pools, families and requests: `serviceAllocation`, `avoidBuggyIPs`, `autoAssign`, dual stack, several addresses, pool edits
//! (features B2, B3, B8, B9, B10, B13, B14; MetalLB's rules: reference §1.1, §2.3, §2.5–§2.7, §7.1).

use lanlord::addr::Family;
use lanlord::config::{Config, Pool, ServiceAllocation, Source, parse};
use lanlord::facts::{FamilyPolicy, Labels, Operator, Requirement, Selector, Service};

use crate::world::{World, config, ip, pool};

fn annotate(name: &str, value: &str) -> impl FnOnce(&mut Service) + use<> {
    let (name, value) = (name.to_owned(), value.to_owned());
    move |service| drop(service.annotations.insert(name, value))
}

fn has(label: &str, value: &str) -> Selector {
    Selector { requirements: vec![Requirement { key: label.to_owned(), operator: Operator::In(vec![value.to_owned()]) }] }
}

fn anybody() -> ServiceAllocation {
    ServiceAllocation { priority: None, namespaces: [].into(), namespace_selectors: Vec::new(), service_selectors: Vec::new() }
}

fn allocated(name: &str, ranges: &[&str], allocation: ServiceAllocation) -> Pool {
    Pool { allocation: Some(allocation), ..pool(name, ranges) }
}

/// What MetalLB's documents say, resolved.
fn documents(text: &str) -> Config {
    parse(&[Source::file("metallb.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}")).config
}

fn namespace(world: &mut World, name: &str, labels: &[(&str, &str)]) {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Labels>();
    std::sync::Arc::make_mut(&mut world.snapshot.namespaces).insert(name.into(), labels);
}

fn first(world: &World, name: &str) -> String {
    world.ingress(name).join(" ")
}

const NONE: [String; 0] = [];

#[test]
fn service_allocation_1_1_namespaces_or_namespace_selectors_and_any_service_selector() {
    let team = ServiceAllocation { namespaces: ["team".to_owned()].into(), ..anybody() };
    let labelled = ServiceAllocation { namespace_selectors: vec![has("tier", "x"), has("tier", "y")], ..anybody() };
    let both = ServiceAllocation { namespace_selectors: vec![has("tier", "x")], ..team.clone() };
    let service = ServiceAllocation { service_selectors: vec![has("app", "a"), has("app", "b")], ..anybody() };
    let all = ServiceAllocation { service_selectors: vec![has("app", "a")], ..both.clone() };
    let nobody = ServiceAllocation { namespace_selectors: vec![has("tier", "nowhere")], ..anybody() };
    let nobody_but = ServiceAllocation { service_selectors: vec![has("app", "a")], ..nobody.clone() };
    let table: [(&str, ServiceAllocation, &[&str]); 8] = [
        ("no restriction", anybody(), &["plain/a", "plain/c", "team/a", "team/c", "x/a", "y/c"]),
        ("namespaces by name", team, &["team/a", "team/c"]),
        ("namespaces by label, any of several", labelled, &["x/a", "y/c"]),
        ("namespaces by name or by label", both, &["team/a", "team/c", "x/a"]),
        ("Services by label, any of several", service, &["plain/a", "team/a", "x/a"]),
        ("namespaces and Services", all, &["team/a", "x/a"]),
        ("a namespace selector that matches nothing restricts to nothing (§8.3, 15)", nobody, &[]),
        ("also beside a service selector", nobody_but, &[]),
    ];
    for (rule, allocation, expected) in table {
        for wish in [None, Some(("metallb.io/address-pool", "special"))] {
            let mut world = World::new(2, config(vec![allocated("special", &["192.168.1.100-192.168.1.120"], allocation.clone())]));
            namespace(&mut world, "x", &[("tier", "x")]);
            namespace(&mut world, "y", &[("tier", "y")]);
            for name in ["plain/a", "plain/c", "team/a", "team/c", "x/a", "y/c"] {
                world.create(name, |service| {
                    drop(service.labels.insert("app".to_owned(), name.split_once('/').unwrap().1.to_owned()));
                    service.annotations.extend(wish.map(|(name, value)| (name.to_owned(), value.to_owned())));
                });
            }
            let told = world.settle();
            let served: Vec<String> = world
                .snapshot
                .services
                .values()
                .filter(|service| !service.ingress.is_empty())
                .map(|service| service.key.to_string())
                .collect();
            assert_eq!(served, expected, "{rule}");
            let refused = if wish.is_some() {
                "AllocationFailed: pool special is not for this Service (its serviceAllocation); use another pool or change serviceAllocation"
            } else {
                "AllocationFailed: no pool is for this Service (serviceAllocation of special); change its namespace or labels, or serviceAllocation"
            };
            assert_eq!(told.iter().filter(|event| *event == refused).count(), 6 - expected.len(), "{rule}: {told:?}");
        }
    }
}

#[test]
fn an_address_of_a_pool_for_others_is_refused_and_one_that_is_kept_for_others_now_is_exchanged() {
    let team = ServiceAllocation { namespaces: ["team".to_owned()].into(), ..anybody() };
    let mut world =
        World::new(2, config(vec![allocated("special", &["192.168.1.100"], team.clone()), pool("default", &["192.168.1.240-250"])]));
    world.create("web", annotate("metallb.io/loadBalancerIPs", "192.168.1.100"));
    let told = world.settle();
    assert_eq!(
        told,
        ["AllocationFailed: pool special is not for this Service (its serviceAllocation); use another pool or change serviceAllocation"]
    );
    world.config.pools[0].allocation = None;
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.100");
    world.edit("web", |service| service.annotations.retain(|name, _| !name.ends_with("IPs")));
    world.config.pools[0].allocation = Some(team);
    let told = world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.240");
    assert_eq!(told[0], "ClearAssignment: 192.168.1.100 is released: it is in pool special, which is not for this Service any more");
}

#[test]
fn a_namespace_that_gains_or_loses_a_label_moves_its_services_into_the_pool_and_out_of_it() {
    let gold = ServiceAllocation { namespace_selectors: vec![has("tier", "gold")], ..anybody() };
    let mut world = World::new(2, config(vec![allocated("gold", &["192.168.1.100"], gold)]));
    world.create("web", |_| ());
    world.settle();
    assert_eq!(first(&world, "web"), "");
    namespace(&mut world, "default", &[("tier", "gold")]);
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.100");
    namespace(&mut world, "default", &[]);
    world.settle();
    assert_eq!(first(&world, "web"), "");
}

#[test]
fn pool_order_2_6_priority_then_pinned_without_then_the_others_each_as_written_and_full_ones_spill() {
    let pool = |name: &str, address: &str, allocation: &str| {
        format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
             spec: {{addresses: [{address}-{address}]{allocation}}}\n---\n"
        )
    };
    let text = pool("plain-b", "192.168.1.100", "")
        + &pool("plain-a", "192.168.1.101", "")
        + &pool("pinned", "192.168.1.102", ", serviceAllocation: {namespaces: [default]}")
        + &pool("second", "192.168.1.103", ", serviceAllocation: {priority: 20}")
        + &pool("first", "192.168.1.104", ", serviceAllocation: {priority: 10, namespaces: [default]}")
        + &pool("others", "192.168.1.105", ", serviceAllocation: {priority: 1, namespaces: [team]}");
    let mut world = World::new(2, documents(&text));
    for name in ["a", "b", "c", "d", "e", "f"] {
        world.create(name, |_| ());
    }
    let told = world.settle();
    let given: Vec<String> = ["a", "b", "c", "d", "e", "f"].into_iter().map(|name| first(&world, name)).collect();
    assert_eq!(given, ["192.168.1.104", "192.168.1.103", "192.168.1.102", "192.168.1.100", "192.168.1.101", ""]);
    let full = "AllocationFailed: all IPv4 addresses of first, second, pinned, plain-b, plain-a are taken; add addresses to the configuration or delete a Service";
    assert!(told.contains(&full.to_owned()), "{told:?}");
}

#[test]
fn auto_assign_turned_off_keeps_what_is_held_and_gives_only_by_pool_or_address() {
    let mut world = World::new(2, config(vec![pool("default", &["192.168.1.240-250"])]));
    world.create("held", |_| ());
    world.settle();
    world.config.pools[0].auto_assign = false;
    world.create("unasked", |_| ());
    world.create("pool", annotate("metallb.universe.tf/address-pool", "default"));
    world.create("address", annotate("metallb.io/loadBalancerIPs", "192.168.1.250"));
    let told = world.settle();
    let given = ["held", "unasked", "pool", "address"].map(|name| first(&world, name));
    assert_eq!(given, ["192.168.1.240", "", "192.168.1.241", "192.168.1.250"]);
    let why = "AllocationFailed: no pool is used unasked for this Service; ask for one with the annotation lanlord.dev/address-pool: NAME (there is default)";
    assert!(told.contains(&why.to_owned()), "{told:?}");
}

#[test]
fn avoid_buggy_ips_refuses_them_by_name_too_and_exchanges_one_that_is_held_when_turned_on_and_leaves_ipv6_alone() {
    let mut world = World::new(2, config(vec![pool("default", &["10.0.0.255-10.0.1.1", "fd00::-fd00::1", "fd00::ff"])]));
    world.create("web", |_| ());
    world.settle();
    assert_eq!(first(&world, "web"), "10.0.0.255");
    world.config.pools[0].avoid_buggy_ips = true;
    let told = world.settle();
    assert_eq!(first(&world, "web"), "10.0.1.1");
    assert_eq!(told[0], "ClearAssignment: 10.0.0.255 is released: it ends in .0 or .255, which pool default avoids now");
    world.create("asks", annotate("metallb.io/loadBalancerIPs", "10.0.1.0"));
    let told = world.settle();
    assert_eq!(
        told,
        ["AllocationFailed: 10.0.1.0 was asked for, but pool default avoids addresses that end in .0 or .255; ask for another address"]
    );
    world.create("six", |service| {
        service.families = vec![Family::V6];
        annotate("metallb.io/loadBalancerIPs", "fd00::ff")(service);
    });
    world.settle();
    assert_eq!(first(&world, "six"), "fd00::ff");
}

fn dual(policy: FamilyPolicy) -> impl FnOnce(&mut Service) {
    move |service| (service.families, service.family_policy) = (vec![Family::V4, Family::V6], policy)
}

#[test]
fn families_2_5_what_each_policy_gets_from_which_pools() {
    use Family::{V4, V6};
    use FamilyPolicy::{PreferDualStack as Prefer, RequireDualStack as Require, SingleStack as Single};
    let (four, six) = (&["192.168.1.240"][..], &["fd00::240"][..]);
    let both = &["192.168.1.240", "fd00::240"][..];
    type Case<'a> = (FamilyPolicy, &'a [Family], &'a [&'a [&'a str]], &'a str);
    let table: &[Case] = &[
        (Single, &[V4], &[both], "192.168.1.240"),
        (Single, &[V6], &[both], "fd00::240"),
        (Single, &[V6], &[four], ""),
        (Require, &[V4, V6], &[both], "192.168.1.240 fd00::240"),
        (Require, &[V6, V4], &[both], "fd00::240 192.168.1.240"),
        (Require, &[V4, V6], &[four, six], "192.168.1.240 fd00::240"),
        (Require, &[V4, V6], &[four], ""),
        (Require, &[V4, V6], &[six], ""),
        (Prefer, &[V4, V6], &[both], "192.168.1.240 fd00::240"),
        (Prefer, &[V4, V6], &[four, six], "192.168.1.240 fd00::240"),
        (Prefer, &[V4, V6], &[four], "192.168.1.240"),
        (Prefer, &[V4, V6], &[six], "fd00::240"),
        (Prefer, &[V6, V4], &[six, four], "fd00::240 192.168.1.240"),
        (Prefer, &[V4], &[both], "192.168.1.240"),
        (Prefer, &[V4, V6], &[&["192.168.1.241"], both], "192.168.1.240 fd00::240"),
    ];
    for (policy, families, pools, expected) in table {
        let pools = pools.iter().enumerate().map(|(number, ranges)| pool(&format!("p{number}"), ranges)).collect();
        let mut world = World::new(2, config(pools));
        world.create("web", |service| (service.families, service.family_policy) = (families.to_vec(), *policy));
        let told = world.settle();
        assert_eq!(first(&world, "web"), *expected, "{policy:?} {families:?}: {told:?}");
    }
}

#[test]
fn a_family_that_is_missing_is_told_and_comes_when_a_pool_has_it_and_what_is_held_stays() {
    let single = || config(vec![pool("p", &["192.168.1.240-250"])]);
    let mut world = World::new(2, single());
    world.create("require", dual(FamilyPolicy::RequireDualStack));
    world.create("prefer", dual(FamilyPolicy::PreferDualStack));
    let told = world.settle();
    let why = "AllocationFailed: no pool has IPv6 addresses; add some to the configuration, or change the Service's ipFamilies";
    assert!(told.contains(&why.to_owned()), "{told:?}");
    assert_eq!((first(&world, "require"), first(&world, "prefer")), (String::new(), "192.168.1.240".to_owned()));
    world.config = config(vec![pool("p", &["192.168.1.240-250"]), pool("six", &["fd00::240-fd00::250"])]);
    let told = world.settle();
    assert_eq!(
        (first(&world, "require"), first(&world, "prefer")),
        ("192.168.1.241 fd00::240".to_owned(), "192.168.1.240 fd00::241".to_owned())
    );
    assert!(told.iter().any(|event| event.starts_with("IPAllocated: assigned fd00::241 from pool p and six")), "{told:?}");
    world.config = single();
    world.settle();
    assert_eq!(
        (first(&world, "require"), first(&world, "prefer")),
        ("192.168.1.241".to_owned(), "192.168.1.240".to_owned()),
        "half is better than nothing"
    );
    let message = &world.service("require").condition.as_ref().unwrap().message;
    assert!(message.contains("; but no pool has IPv6 addresses"), "{message}");
}

#[test]
fn a_family_that_only_other_pools_have_is_told_with_the_pools_the_service_may_use() {
    let mut world = World::new(2, config(vec![pool("four", &["192.168.1.240-250"]), pool("six", &["fd00::240-fd00::250"])]));
    world.create("web", |service| {
        dual(FamilyPolicy::RequireDualStack)(service);
        annotate("metallb.io/address-pool", "four")(service);
    });
    let told = world.settle();
    let why = "AllocationFailed: no IPv6 addresses are in four, and this Service may use no other pool; add some, or change the Service's ipFamilies";
    assert_eq!(told, [why]);
}

#[test]
fn prefer_and_require_dual_stack_7_1_on_a_single_stack_pool_changed_live_take_nothing_away() {
    let mut world = World::new(2, config(vec![pool("p", &["192.168.1.240-250"])]));
    world.create("web", dual(FamilyPolicy::PreferDualStack));
    world.settle();
    world.edit("web", dual(FamilyPolicy::RequireDualStack));
    let why = "no pool has IPv6 addresses; add some to the configuration, or change the Service's ipFamilies";
    assert_eq!(world.settle(), [format!("AllocationFailed: {why}")]);
    assert_eq!(first(&world, "web"), "192.168.1.240");
    world.edit("web", dual(FamilyPolicy::PreferDualStack));
    assert_eq!(world.settle(), NONE);
    assert_eq!(first(&world, "web"), "192.168.1.240");
}

#[test]
fn a_live_service_that_changes_its_families_keeps_the_address_that_still_fits() {
    let mut world = World::new(2, config(vec![pool("p", &["192.168.1.240-250", "fd00::240-fd00::250"])]));
    world.create("web", |_| ());
    world.create("other", dual(FamilyPolicy::RequireDualStack));
    world.settle();
    world.edit("web", dual(FamilyPolicy::PreferDualStack));
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.240 fd00::241");
    world.edit("web", |service| (service.families, service.family_policy) = (vec![Family::V6], FamilyPolicy::SingleStack));
    let told = world.settle();
    assert_eq!(first(&world, "web"), "fd00::241");
    assert_eq!(told[0], "ClearAssignment: 192.168.1.240 is released: it is IPv4, and the Service has no IPv4 cluster IP any more");
    world.edit("web", |service| service.families = vec![Family::V4]);
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.240");
}

#[test]
fn prefer_dual_stack_does_not_leave_its_single_stack_pool_for_a_dual_one() {
    let mut world = World::new(2, config(vec![pool("four", &["192.168.1.240-250"])]));
    world.create("web", dual(FamilyPolicy::PreferDualStack));
    world.settle();
    world.config = config(vec![pool("both", &["192.168.1.100-110", "fd00::240-fd00::250"]), pool("four", &["192.168.1.240-250"])]);
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.240 fd00::240", "the family it lacks comes from there");
}

#[test]
fn several_addresses_of_one_family_are_given_on_request_in_the_order_written_all_or_none() {
    let mut world =
        World::new(2, config(vec![pool("a", &["192.168.1.240-250", "fd00::240-fd00::250"]), pool("b", &["192.168.1.100-110"])]));
    world.create("web", |service| {
        dual(FamilyPolicy::PreferDualStack)(service);
        annotate("lanlord.dev/loadBalancerIPs", "192.168.1.245,fd00::245, 192.168.1.242 192.168.1.100,192.168.1.242")(service);
    });
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.245 192.168.1.242 192.168.1.100 fd00::245");
    assert_eq!(world.service("web").annotations["lanlord.dev/ip-allocated-from-pool"], "a,b");
    assert_eq!(world.settle(), NONE);
    let plan = lanlord::plan::plan(&world.config, &world.snapshot, &world.living());
    assert_eq!(plan.groups.len(), 1, "they move together");
    world.create("other", annotate("metallb.io/loadBalancerIPs", "192.168.1.250"));
    world.settle();
    world.edit("web", annotate("lanlord.dev/loadBalancerIPs", "192.168.1.245,192.168.1.250"));
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.245 192.168.1.100 192.168.1.242 fd00::245", "one cannot be had, so nothing is taken away");
    world.edit("web", |service| service.annotations.retain(|name, _| !name.ends_with("IPs")));
    world.settle();
    assert_eq!(world.ingress("web").len(), 2, "one of each family is enough for who does not ask");
}

#[test]
fn requests_in_several_spellings_agree_or_are_told_and_nothing_is_changed_meanwhile() {
    let (own, new, old, vip) =
        ("lanlord.dev/loadBalancerIPs", "metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs", "kube-vip.io/loadbalancerIPs");
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Result<&'a str, &'a str>);
    let table: &[Case] = &[
        (&[(new, "192.168.1.241"), (old, "192.168.1.242")], None, Ok("192.168.1.241")),
        (&[(own, "192.168.1.243"), (new, "192.168.1.241"), (old, "192.168.1.242")], None, Ok("192.168.1.243")),
        (&[(new, "192.168.1.241"), (vip, "192.168.1.241")], Some("192.168.1.241"), Ok("192.168.1.241")),
        (
            &[(new, "192.168.1.241"), (vip, "192.168.1.242")],
            None,
            Err("annotation loadBalancerIPs and annotation kube-vip.io/loadbalancerIPs ask for different addresses; remove one of them"),
        ),
        (
            &[(old, "192.168.1.241")],
            Some("192.168.1.242"),
            Err("annotation loadBalancerIPs and spec.loadBalancerIP ask for different addresses; remove one of them"),
        ),
        (&[(new, "192.168.1.241,")], None, Ok("192.168.1.241")),
        (&[(new, " ")], Some("192.168.1.241"), Ok("192.168.1.241")),
        (
            &[(new, "192.168.1.241/32")],
            None,
            Err("\"192.168.1.241/32\" in annotation loadBalancerIPs is not an IP address; correct or remove it"),
        ),
        (
            &[(vip, "0.0.0.0")],
            None,
            Err(
                "0.0.0.0 in annotation kube-vip.io/loadbalancerIPs asks for an address from DHCP, which Lanlord does not use; remove it, and a pool gives one",
            ),
        ),
        (&[], Some("web.lan"), Err("\"web.lan\" in spec.loadBalancerIP is not an IP address; correct or remove it")),
        (&[(new, "fd00::1")], None, Err("fd00::1 was asked for, but the Service has no IPv6 cluster IP; change ipFamilies or the address")),
        (&[(new, "192.168.7.1")], None, Err("192.168.7.1 was asked for, but is in no pool; add it to one, or ask for another address")),
        (
            &[(new, "192.168.1.241"), ("metallb.io/address-pool", "other")],
            None,
            Err("192.168.1.241 was asked for from pool other, but is in pool default; change one of the two"),
        ),
        (&[(new, "192.168.1.241"), ("metallb.io/address-pool", "default")], None, Ok("192.168.1.241")),
        (&[(new, "192.168.1.1")], None, Err("192.168.1.1 was asked for, but is the gateway; ask for another address")),
        (&[("metallb.io/address-pool", "defualt")], None, Err("pool defualt was asked for, but there is only default, other")),
    ];
    for (annotations, spec, expected) in table {
        for live in [false, true] {
            let pools = vec![pool("default", &["192.168.1.240-250", "192.168.1.1"]), pool("other", &["192.168.1.100-110"])];
            let mut world = World::new(2, config(pools));
            if live {
                world.create("web", |_| ());
                world.settle();
            }
            let edit = |service: &mut Service| {
                service.annotations.extend(annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
                service.load_balancer_ip = spec.map(ToOwned::to_owned);
            };
            if live {
                world.edit("web", edit);
            } else {
                world.create("web", edit);
            }
            let told = world.settle();
            match expected {
                Ok(address) => assert_eq!(first(&world, "web"), *address, "{annotations:?}: {told:?}"),
                Err(why) => {
                    assert!(told.contains(&format!("AllocationFailed: {why}")), "{annotations:?}: {told:?}");
                    assert_eq!(first(&world, "web"), if live { "192.168.1.240" } else { "" }, "{annotations:?}");
                }
            }
        }
    }
}

#[test]
fn a_crash_between_two_addresses_and_a_request_that_cannot_be_read_leave_the_one_that_is_shown() {
    let mut world = World::new(2, config(vec![pool("p", &["192.168.1.240-250"])]));
    world.create("web", |_| ());
    world.settle();
    world.edit("web", annotate("metallb.io/loadBalancerIPs", "192.168.1.245"));
    let half = world.decide().work.remove(0);
    for claim in half.take {
        world.write_claim(claim).unwrap();
    }
    world.edit("web", annotate("metallb.io/loadBalancerIPs", "192.168.1.x"));
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.240");
    assert_eq!(world.snapshot.claims[&ip("192.168.1.245")].holders, [], "given back");
}

#[test]
fn both_families_are_required_of_a_request_where_the_service_requires_both_and_one_is_enough_where_it_prefers() {
    for (policy, expected) in [(FamilyPolicy::RequireDualStack, ""), (FamilyPolicy::PreferDualStack, "192.168.1.245 fd00::240")] {
        let mut world = World::new(2, config(vec![pool("p", &["192.168.1.240-250", "fd00::240-fd00::250"])]));
        world.create("web", |service| {
            dual(policy)(service);
            service.load_balancer_ip = Some("192.168.1.245".to_owned());
        });
        let told = world.settle();
        assert_eq!(first(&world, "web"), expected, "{told:?}");
        let why = "AllocationFailed: the Service requires dual stack, but an address of only one family was asked for; name one of each";
        assert_eq!(told.contains(&why.to_owned()), expected.is_empty(), "{told:?}");
    }
}

#[test]
fn a_pool_asked_for_later_moves_the_service_and_one_that_is_full_takes_nothing_away() {
    let mut world = World::new(2, config(vec![pool("default", &["192.168.1.240-250"]), pool("small", &["192.168.1.100"])]));
    world.create("web", |_| ());
    world.create("late", |_| ());
    world.settle();
    world.edit("web", annotate("metallb.io/address-pool", "small"));
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.100");
    world.edit("late", annotate("metallb.io/address-pool", "small"));
    let told = world.settle();
    assert_eq!(told, ["AllocationFailed: all IPv4 addresses of small are taken; add addresses to the configuration or delete a Service"]);
    assert_eq!(first(&world, "late"), "192.168.1.241");
    world.delete("web");
    world.settle();
    assert_eq!(first(&world, "late"), "192.168.1.100");
}

#[test]
fn a_pool_that_is_renamed_split_or_joined_keeps_every_address_where_it_is_and_says_the_new_name() {
    let before = || config(vec![pool("old", &["192.168.1.240-192.168.1.250"])]);
    let table = [
        vec![pool("new", &["192.168.1.240-192.168.1.250"])],
        vec![pool("upper", &["192.168.1.241-192.168.1.250"]), pool("new", &["192.168.1.240"])],
        vec![pool("new", &["192.168.1.200-192.168.1.255"])],
        vec![pool("new", &["192.168.1.0/24"])],
    ];
    for after in table {
        let mut world = World::new(3, before());
        for name in ["web", "two", "three"] {
            world.create(name, |_| ());
        }
        world.settle();
        let nodes: Vec<_> = world.snapshot.claims.values().map(|claim| claim.placement.clone()).collect();
        world.config = config(after);
        assert_eq!(world.settle(), NONE, "nothing happened to anybody");
        let given = ["web", "two", "three"].map(|name| first(&world, name));
        assert_eq!(given, ["192.168.1.240", "192.168.1.241", "192.168.1.242"]);
        assert_eq!(world.service("web").annotations["lanlord.dev/ip-allocated-from-pool"], "new");
        assert_eq!(world.snapshot.claims[&ip("192.168.1.240")].pool, "new");
        assert_eq!(world.snapshot.claims.values().map(|claim| claim.placement.clone()).collect::<Vec<_>>(), nodes);
    }
}

#[test]
fn a_renamed_pool_that_a_service_asks_for_by_its_old_name_is_told_and_the_address_stays() {
    let mut world = World::new(2, config(vec![pool("old", &["192.168.1.240-250"])]));
    world.create("web", annotate("metallb.io/address-pool", "old"));
    world.settle();
    world.config = config(vec![pool("new", &["192.168.1.240-250"])]);
    assert_eq!(world.settle(), ["AllocationFailed: pool old was asked for, but there is only new"]);
    assert_eq!(first(&world, "web"), "192.168.1.240");
}

#[test]
fn a_pool_that_grows_serves_who_waits_oldest_first_and_one_that_shrinks_moves_only_those_outside() {
    let mut world = World::new(3, config(vec![pool("p", &["192.168.1.240"])]));
    for name in ["c", "b", "a"] {
        world.create(name, |_| ());
    }
    world.settle();
    assert_eq!(["c", "b", "a"].map(|name| first(&world, name)), ["192.168.1.240", "", ""]);
    world.config = config(vec![pool("p", &["192.168.1.240-242"])]);
    world.settle();
    assert_eq!(["c", "b", "a"].map(|name| first(&world, name)), ["192.168.1.240", "192.168.1.241", "192.168.1.242"]);
    world.config = config(vec![pool("p", &["192.168.1.241-243"])]);
    let told = world.settle();
    assert_eq!(["c", "b", "a"].map(|name| first(&world, name)), ["192.168.1.243", "192.168.1.241", "192.168.1.242"]);
    assert!(told.iter().all(|event| !event.contains("192.168.1.241") && !event.contains("192.168.1.242")), "{told:?}");
}

#[test]
fn without_pools_services_lose_their_addresses_and_get_them_again_when_the_pools_come_back() {
    let pools = || config(vec![pool("p", &["192.168.1.240-250"])]);
    let mut world = World::new(2, pools());
    world.create("web", annotate("metallb.io/address-pool", "p"));
    world.create("any", |_| ());
    world.settle();
    world.config = config(vec![]);
    let told = world.settle();
    assert_eq!((first(&world, "web"), first(&world, "any")), (String::new(), String::new()));
    assert!(told.contains(&"AllocationFailed: pool p was asked for, but no pool is configured".to_owned()), "{told:?}");
    assert!(world.snapshot.claims.is_empty(), "nothing leaks");
    world.config = pools();
    world.settle();
    assert_eq!((first(&world, "web"), first(&world, "any")), ("192.168.1.240".to_owned(), "192.168.1.241".to_owned()));
}

#[test]
fn change_scenarios_2_7_type_change_hands_the_address_on_and_a_class_change_does_too() {
    for edit in [
        |world: &mut World| world.delete("a"),
        |world: &mut World| {
            world.edit("a", |service| {
                service.class = Some("other.example/lb".to_owned());
                service.ingress.clear();
            });
        },
    ] {
        let mut world = World::new(2, config(vec![pool("p", &["192.168.1.240"])]));
        world.create("a", |_| ());
        world.create("b", |_| ());
        world.settle();
        assert_eq!(first(&world, "b"), "");
        edit(&mut world);
        world.settle();
        assert_eq!(first(&world, "b"), "192.168.1.240");
    }
}

#[test]
fn a_status_edited_by_hand_is_replaced_and_a_headless_service_gets_nothing() {
    let mut world = World::new(2, config(vec![pool("p", &["192.168.1.240-250"])]));
    world.create("web", |_| ());
    world.create("headless", |service| service.families.clear());
    let told = world.settle();
    let why = "AllocationFailed: the Service has no cluster IP (clusterIP: None), so no node would forward to its pods; remove clusterIP";
    assert!(told.contains(&why.to_owned()), "{told:?}");
    world.edit("web", |service| service.ingress = vec![ip("192.168.1.249")]);
    world.settle();
    assert_eq!(first(&world, "web"), "192.168.1.240");
}

#[test]
fn a_restart_of_everything_keeps_every_address_also_when_the_pool_is_full_and_some_wait() {
    let mut world = World::new(3, config(vec![pool("p", &["192.168.1.240-242"])]));
    for name in ["e", "d", "c", "b", "a"] {
        world.create(name, |_| ());
    }
    world.settle();
    let before: Vec<String> = ["e", "d", "c", "b", "a"].into_iter().map(|name| first(&world, name)).collect();
    for _ in 0..5 {
        for node in ["n1", "n2", "n3"] {
            world.leave(node);
        }
        world.settle();
        for number in 1..=3 {
            world.join(number);
        }
        world.settle();
        let after: Vec<String> = ["e", "d", "c", "b", "a"].into_iter().map(|name| first(&world, name)).collect();
        assert_eq!(after, before);
    }
}
