//! Assignment: rules one by one, then any sequence of events keeps the invariants.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lanlord::addr::{Family, MacAddr};
use lanlord::facts::{FamilyPolicy, TrafficPolicy};
use lanlord::leader::decide::decide;
use lanlord::leader::tell::Now;
use lanlord::plan::plan;
use proptest::prelude::*;

use crate::world::{World, config, ip, key, pool};

fn home() -> World {
    World::new(3, config(vec![pool("default", &["192.168.1.240-192.168.1.250"])]))
}

fn annotate(name: &str, value: &str) -> impl FnOnce(&mut lanlord::facts::Service) + use<> {
    let (name, value) = (name.to_owned(), value.to_owned());
    move |service| {
        service.annotations.insert(name, value);
    }
}

#[test]
fn a_service_gets_the_first_address_and_one_event_that_tells_all() {
    let mut world = home();
    world.create("web", |_| ());
    let told = world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.240"]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("IPAllocated: assigned 192.168.1.240 from pool default, announced by n"), "{told:?}");
    assert!(told[0].ends_with("on eth0 (layer2)"), "{told:?}");
    assert!(world.service("web").condition.as_ref().unwrap().announced);
}

#[test]
fn a_service_without_endpoints_gets_an_address_and_hears_why_it_is_not_announced() {
    let mut world = home();
    world.create("web", |_| ());
    world.endpoints("web", &[]);
    let told = world.settle();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("not announced yet: the Service has endpoints, but none is ready"), "{told:?}");
    world.endpoints("web", &["n2"]);
    let told = world.settle();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("nodeAssigned: announcing from node \"n"), "{told:?}");
}

#[test]
fn local_policy_is_announced_where_an_endpoint_is() {
    let mut world = home();
    world.create("web", |service| service.traffic_policy = TrafficPolicy::Local);
    world.endpoints("web", &["n3"]);
    world.settle();
    assert!(world.service("web").annotations["lanlord.dev/announced"].starts_with("192.168.1.240 by n3 on eth0"));
    world.endpoints("web", &["n2"]);
    world.settle();
    assert!(world.service("web").annotations["lanlord.dev/announced"].starts_with("192.168.1.240 by n2 on eth0"));
}

#[test]
fn node_addresses_gateway_and_broadcast_are_left_out() {
    let mut world = World::new(2, config(vec![pool("all", &["192.168.1.0/28", "192.168.1.254-192.168.1.255"])]));
    for number in 0..20 {
        world.create(&format!("s{number}"), |_| ());
    }
    world.settle();
    let given: Vec<String> = (0..20).flat_map(|number| world.ingress(&format!("s{number}"))).collect();
    assert_eq!(given.len(), 18 - 5 + 1 - 1, "16 + 2 less .0, .1, .11, .12, .255: {given:?}");
    for never in ["192.168.1.0", "192.168.1.1", "192.168.1.11", "192.168.1.12", "192.168.1.255"] {
        assert!(!given.contains(&never.to_owned()), "{never}");
    }
}

/// Member n1 says that `address` is used by another machine; or that none is.
fn conflict(world: &mut World, address: Option<&str>) {
    let members = std::sync::Arc::make_mut(&mut world.snapshot.members);
    let member = std::sync::Arc::make_mut(members.get_mut("n1").unwrap());
    member.conflicts = address.iter().map(|address| (ip(address), MacAddr([2, 0, 0, 0, 0, 0x66]))).collect();
}

#[test]
fn an_address_that_another_machine_uses_is_exchanged_for_another_with_one_event_and_given_to_nobody_until_it_is_free() {
    let mut world = home();
    world.create("web", |_| ());
    world.settle();
    conflict(&mut world, Some("192.168.1.240"));
    let told = world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.241"]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("AddressInUse: assigned 192.168.1.241 from pool default, announced by n"), "{told:?}");
    let why = "; 192.168.1.240 is released, for another machine of the LAN uses it (02:00:00:00:00:66); \
               give that machine another address, or take 192.168.1.240 out of the pool";
    assert!(told[0].ends_with(why), "{told:?}");
    world.create("second", |_| ());
    world.create("asks", annotate("metallb.io/loadBalancerIPs", "192.168.1.240"));
    let told = world.settle();
    assert_eq!((world.ingress("second"), world.ingress("asks")), (vec!["192.168.1.242".to_owned()], vec![]));
    let refused = "AllocationFailed: 192.168.1.240 was asked for, but is used by another machine of the LAN (02:00:00:00:00:66); ask for another address";
    assert!(told.iter().any(|event| event == refused), "{told:?}");
    conflict(&mut world, None);
    world.settle();
    assert_eq!((world.ingress("web"), world.ingress("asks")), (vec!["192.168.1.241".to_owned()], vec!["192.168.1.240".to_owned()]));
}

#[test]
fn what_a_member_that_left_saw_counts_no_more() {
    let mut world = home();
    conflict(&mut world, Some("192.168.1.240"));
    world.leave("n1");
    world.create("web", |_| ());
    world.endpoints("web", &["n2"]);
    world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.240"]);
}

#[test]
fn a_contested_address_that_was_asked_for_or_is_the_only_one_is_kept_and_said_once() {
    for (addresses, asks, why) in [
        (
            "192.168.1.240-192.168.1.250",
            true,
            "it is kept, for the Service asks for it; give that machine another address, or ask for another one",
        ),
        (
            "192.168.1.240",
            false,
            "it is kept, for no other address is free; give that machine another address, or add addresses to the configuration",
        ),
    ] {
        let mut world = World::new(2, config(vec![pool("default", &[addresses])]));
        world.create("web", |service| service.load_balancer_ip = asks.then(|| "192.168.1.240".to_owned()));
        world.settle();
        conflict(&mut world, Some("192.168.1.240"));
        let expected = format!("192.168.1.240 is used by another machine of the LAN, too (02:00:00:00:00:66); {why}");
        assert_eq!(world.settle(), [format!("AddressInUse: {expected}")]);
        assert_eq!(world.ingress("web"), ["192.168.1.240"]);
        let condition = world.service("web").condition.clone().unwrap();
        assert!(condition.announced && condition.message.ends_with(&expected), "{}", condition.message);
        assert_eq!(world.settle(), [] as [String; 0]);
        conflict(&mut world, None);
        world.settle();
        assert!(!world.service("web").condition.as_ref().unwrap().message.contains("another machine"));
    }
}

#[test]
fn a_node_address_asked_for_by_name_is_refused_with_the_reason() {
    let mut world = World::new(2, config(vec![pool("all", &["192.168.1.0/24"])]));
    world.create("web", annotate("metallb.universe.tf/loadBalancerIPs", "192.168.1.11"));
    let told = world.settle();
    assert_eq!(told, ["AllocationFailed: 192.168.1.11 was asked for, but is an address of node n1; ask for another address"]);
    assert!(world.ingress("web").is_empty());
}

#[test]
fn an_address_asked_for_in_any_spelling_is_given() {
    for annotation in
        ["metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs", "lanlord.dev/loadBalancerIPs", "kube-vip.io/loadbalancerIPs"]
    {
        let mut world = home();
        world.create("web", annotate(annotation, " 192.168.1.245 "));
        world.settle();
        assert_eq!(world.ingress("web"), ["192.168.1.245"], "{annotation}");
    }
    let mut world = home();
    world.create("web", |service| service.load_balancer_ip = Some("192.168.1.245".to_owned()));
    world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.245"]);
}

#[test]
fn an_address_in_use_is_refused_and_given_when_it_becomes_free() {
    let mut world = home();
    world.create("first", annotate("metallb.io/loadBalancerIPs", "192.168.1.245"));
    world.create("second", annotate("metallb.io/loadBalancerIPs", "192.168.1.245"));
    let told = world.settle();
    assert!(told.iter().any(|event| event.contains("belongs to Service default/first")), "{told:?}");
    assert!(world.ingress("second").is_empty());
    world.delete("first");
    world.settle();
    assert_eq!(world.ingress("second"), ["192.168.1.245"]);
}

#[test]
fn a_wish_that_cannot_be_met_takes_nothing_away() {
    let mut world = home();
    world.create("first", |_| ());
    world.create("second", |_| ());
    world.settle();
    world.edit("second", annotate("metallb.io/loadBalancerIPs", "192.168.1.240"));
    let told = world.settle();
    assert_eq!(world.ingress("second"), ["192.168.1.241"], "{told:?}");
    assert!(told.iter().any(|event| event.starts_with("AllocationFailed: 192.168.1.240 was asked for")), "{told:?}");
}

#[test]
fn a_pool_asked_for_by_name_is_used_even_without_auto_assign() {
    let mut named = pool("named", &["192.168.1.100-110"]);
    named.auto_assign = false;
    let mut world = World::new(3, config(vec![pool("default", &["192.168.1.240-250"]), named]));
    world.create("plain", |_| ());
    world.create("special", annotate("metallb.universe.tf/address-pool", "named"));
    world.create("lost", annotate("metallb.universe.tf/address-pool", "nmed"));
    let told = world.settle();
    assert_eq!((world.ingress("plain"), world.ingress("special")), (vec!["192.168.1.240".to_owned()], vec!["192.168.1.100".to_owned()]));
    assert!(told.iter().any(|event| event.contains("pool nmed was asked for, but there is only default, named")), "{told:?}");
}

#[test]
fn buggy_addresses_are_avoided_where_the_pool_says_so() {
    let mut avoiding = pool("default", &["192.168.0.255-192.168.1.3"]);
    avoiding.avoid_buggy_ips = true;
    let mut world = World::new(0, config(vec![avoiding]));
    world.join(1);
    world.create("web", |_| ());
    world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.2"], "not .0, and .1 is the gateway");
}

#[test]
fn an_address_nobody_can_announce_comes_last_but_can_be_asked_for() {
    let mut world = World::new(2, config(vec![pool("far", &["10.9.9.1-10.9.9.9"]), pool("near", &["192.168.1.240-241"])]));
    for name in ["a", "b", "c"] {
        world.create(name, |_| ());
    }
    world.create("asks", annotate("metallb.io/loadBalancerIPs", "10.9.9.5"));
    let told = world.settle();
    assert_eq!([world.ingress("a"), world.ingress("b"), world.ingress("c")].concat(), ["192.168.1.240", "192.168.1.241", "10.9.9.1"]);
    assert!(told.iter().any(|event| event.contains("not announced yet: 10.9.9.5 is on no node's network (192.168.1.0/24)")), "{told:?}");
}

#[test]
fn a_service_deleted_and_created_again_gets_its_address_back_and_others_get_unremembered_ones_first() {
    let mut world = World::new(3, config(vec![pool("default", &["192.168.1.240-242"])]));
    world.create("a", |_| ());
    world.create("b", |_| ());
    world.settle();
    world.delete("a");
    world.settle();
    world.create("c", |_| ());
    world.settle();
    assert_eq!(world.ingress("c"), ["192.168.1.242"], "not .240: it is remembered for a");
    world.create("a", |_| ());
    world.settle();
    assert_eq!(world.ingress("a"), ["192.168.1.240"]);
}

#[test]
fn a_full_pool_gives_the_address_free_the_longest() {
    let mut world = World::new(3, config(vec![pool("default", &["192.168.1.240-242"])]));
    for name in ["a", "b", "c"] {
        world.create(name, |_| ());
    }
    world.settle();
    for name in ["b", "a"] {
        world.delete(name);
        world.settle();
    }
    world.create("new", |_| ());
    world.settle();
    assert_eq!(world.ingress("new"), ["192.168.1.241"], "b's, free longer than a's");
}

#[test]
fn a_full_pool_says_so_and_the_next_freed_address_goes_to_who_waits() {
    let mut world = World::new(3, config(vec![pool("default", &["192.168.1.240"])]));
    world.create("a", |_| ());
    world.create("b", |_| ());
    let told = world.settle();
    assert!(
        told.contains(
            &"AllocationFailed: all IPv4 addresses of default are taken; add addresses to the configuration or delete a Service".to_owned()
        ),
        "{told:?}"
    );
    world.delete("a");
    world.settle();
    assert_eq!(world.ingress("b"), ["192.168.1.240"]);
}

#[test]
fn addresses_in_the_status_at_first_start_are_adopted_and_the_older_service_wins() {
    let mut world = home();
    for name in ["older", "younger"] {
        world.create(name, |service| service.ingress = vec![ip("192.168.1.247")]);
    }
    world.settle();
    assert_eq!(world.ingress("older"), ["192.168.1.247"]);
    assert_eq!(world.ingress("younger"), ["192.168.1.240"]);
}

#[test]
fn a_status_wiped_by_someone_else_is_written_back_unchanged() {
    let mut world = home();
    world.create("web", |_| ());
    world.settle();
    world.edit("web", |service| service.ingress.clear());
    let decision = world.decide();
    assert!(decision.work[0].repair);
    let told = world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.240"]);
    assert!(told[0].starts_with("StatusOverwritten: "), "{told:?}");
}

#[test]
fn an_address_that_leaves_the_pool_is_replaced_and_the_event_says_why() {
    let mut world = home();
    world.create("web", |_| ());
    world.settle();
    world.config = config(vec![pool("default", &["192.168.1.242-250"])]);
    let told = world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.242"]);
    assert!(told.contains(&"ClearAssignment: 192.168.1.240 is released: it is in no pool any more".to_owned()), "{told:?}");
    assert!(!world.snapshot.claims.contains_key(&ip("192.168.1.240")), "a claim outside all pools is forgotten");
}

#[test]
fn other_classes_and_ignored_services_are_never_touched() {
    let mut world = home();
    world.create("foreign", |service| {
        service.class = Some("other.example/lb".to_owned());
        service.ingress = vec![ip("192.168.1.240")];
    });
    world.create("ignored", annotate("lanlord.dev/ignore", "true"));
    world.create("ours", |service| service.class = Some("lanlord.dev/lb".to_owned()));
    world.settle();
    assert_eq!(world.ingress("foreign"), ["192.168.1.240"]);
    assert!(world.ingress("ignored").is_empty() && world.service("ignored").condition.is_none());
    assert!(!world.ingress("ours").is_empty());
}

#[test]
fn dual_stack_gets_both_families_in_the_order_of_the_service() {
    let pools = vec![pool("four", &["192.168.1.240-250"]), pool("six", &["fd00::240-250"])];
    let mut world = World::new(3, config(pools));
    world.create("web", |service| {
        service.families = vec![Family::V6, Family::V4];
        service.family_policy = FamilyPolicy::RequireDualStack;
    });
    world.settle();
    assert_eq!(world.ingress("web"), ["fd00::240", "192.168.1.240"]);
    world.edit("web", |service| service.families = vec![Family::V4]);
    let told = world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.240"], "one address goes, the other stays: {told:?}");
}

#[test]
fn require_dual_stack_waits_and_prefer_takes_what_there_is() {
    for (policy, expected) in [(FamilyPolicy::RequireDualStack, vec![]), (FamilyPolicy::PreferDualStack, vec!["192.168.1.240".to_owned()])]
    {
        let mut world = home();
        world.create("web", |service| {
            service.families = vec![Family::V4, Family::V6];
            service.family_policy = policy;
        });
        world.settle();
        assert_eq!(world.ingress("web"), expected, "{policy:?}");
    }
}

#[test]
fn without_any_pool_a_status_of_others_is_left_alone_and_the_service_hears_what_to_do() {
    let mut world = World::new(1, config(vec![]));
    world.create("web", |service| service.ingress = vec![ip("192.168.1.99")]);
    let told = world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.99"]);
    assert!(told[0].contains("kubectl create configmap lanlord -n lanlord --from-literal addresses="), "{told:?}");
}

#[test]
fn groups_are_spread_evenly_and_stay_where_they_are_when_a_node_joins() {
    let mut world = home();
    for number in 0..9 {
        world.create(&format!("s{number}"), |_| ());
    }
    world.settle();
    let announced = |world: &World| -> Vec<String> {
        (0..9)
            .map(|number| {
                world.service(&format!("s{number}")).annotations["lanlord.dev/announced"].split(" since ").next().unwrap().to_owned()
            })
            .collect()
    };
    let before = announced(&world);
    for node in ["n1", "n2", "n3"] {
        assert_eq!(before.iter().filter(|text| text.contains(&format!("by {node} "))).count(), 3, "{before:?}");
    }
    world.join(4);
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(announced(&world), before);
}

#[test]
fn services_whose_work_is_still_being_written_count_where_the_next_are_placed() {
    let mut world = home();
    let mut under_way = BTreeMap::new();
    for number in 0..9 {
        world.create(&format!("s{number}"), |_| ());
        let now = Now { under_way: under_way.clone(), ..Now::default() };
        let decision =
            decide(&world.config, &world.snapshot, &world.living(), &plan(&world.config, &world.snapshot, &world.living()), &now);
        let [work] = &decision.work[..] else { panic!("only s{number} is new: {decision:?}") };
        assert_eq!(work.service.key, key(&format!("s{number}")));
        let node = work.take[0].placement.as_ref().map(|placement| placement.node.clone());
        under_way.insert(work.service.key.clone(), node);
    }
    for node in world.snapshot.nodes.keys() {
        assert_eq!(under_way.values().flatten().filter(|given| *given == node).count(), 3, "{under_way:?}");
    }
}

#[test]
fn when_a_member_leaves_only_its_groups_move_and_they_do_not_move_back() {
    let mut world = home();
    for number in 0..9 {
        world.create(&format!("s{number}"), |_| ());
    }
    world.settle();
    world.leave("n2");
    let told = world.settle();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|event| event.starts_with("nodeAssigned: announcing from node ")), "{told:?}");
    let members = std::sync::Arc::make_mut(&mut world.snapshot.members);
    let member = std::sync::Arc::make_mut(members.get_mut("n2").unwrap());
    (member.instance, member.generation) = (Some("2".to_owned()), 2);
    assert_eq!(world.settle(), Vec::<String>::new());
}

#[test]
fn a_node_out_of_service_loses_its_groups_and_a_node_not_ready_does_not() {
    let mut world = World::new(2, config(vec![pool("default", &["192.168.1.240-250"])]));
    world.create("web", |_| ());
    world.settle();
    let by = |world: &World| world.service("web").annotations["lanlord.dev/announced"].split(' ').nth(2).unwrap().to_owned();
    let owner = by(&world);
    world.node(&owner, |node| node.ready = false);
    assert_eq!(world.settle(), Vec::<String>::new());
    world.node(&owner, |node| node.out_of_service = true);
    world.settle();
    assert_ne!(by(&world), owner);
}

/// A leader stopped after any number of steps, while another acts, and resumed: no address is ever on two Services.
#[test]
fn a_paused_leader_resumed_after_another_acted_gives_no_address_twice() {
    for paused_after in 0..3 {
        let mut world = World::new(3, config(vec![pool("default", &["192.168.1.240-241"])]));
        world.create("a", |_| ());
        let mut old = world.decide().work.remove(0);
        if paused_after > 0 {
            world.write_claim(old.take.remove(0)).unwrap();
        }
        world.create("b", |_| ());
        world.config = config(vec![pool("default", &["192.168.1.241"])]);
        world.settle();
        world.config = config(vec![pool("default", &["192.168.1.240-241"])]);
        world.delete("a");
        world.create("a", |_| ());
        world.create("c", |_| ());
        world.settle();
        if paused_after == 2 {
            world.publish(&old);
        } else {
            world.carry_out(old);
        }
        assert_no_double_use(&world);
        world.settle();
        assert_no_double_use(&world);
    }
}

fn assert_no_double_use(world: &World) {
    let mut seen = std::collections::BTreeMap::new();
    for service in world.snapshot.services.values() {
        for address in &service.ingress {
            let other = seen.insert(*address, service.key.clone());
            assert!(other.is_none(), "{address} is on {} and {}", service.key, other.unwrap());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Delete(u8),
    Pool(u8, u8),
    Wish(u8, u8),
    Wipe(u8),
    Leave(u8),
    /// Another machine uses this address, and no other any more.
    Conflict(u8),
    /// A leader decides and is stopped in the middle of its work: only so many writes get through.
    Crash(u8),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..12u8).prop_map(Step::Create),
        3 => (0..12u8).prop_map(Step::Delete),
        1 => (0..8u8, 1..8u8).prop_map(|(first, length)| Step::Pool(first, length)),
        2 => (0..12u8, 0..16u8).prop_map(|(service, address)| Step::Wish(service, address)),
        1 => (0..12u8).prop_map(Step::Wipe),
        1 => (1..4u8).prop_map(Step::Leave),
        1 => (0..16u8).prop_map(Step::Conflict),
        2 => (0..6u8).prop_map(Step::Crash),
        3 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// No double use, rules of the pool kept, nothing moves without a cause, nothing leaks, and it always comes to rest.
    #[test]
    fn any_sequence_of_events_keeps_the_invariants(steps in steps()) {
        let mut world = World::new(3, config(vec![pool("default", &["192.168.1.240-192.168.1.244"])]));
        for step in steps {
            apply(&mut world, &step);
            assert_no_double_use(&world);
        }
        world.settle();
        let before: Vec<_> = world.snapshot.services.values().map(|service| service.ingress.clone()).collect();
        prop_assert_eq!(world.settle(), Vec::<String>::new());
        let after: Vec<_> = world.snapshot.services.values().map(|service| service.ingress.clone()).collect();
        prop_assert_eq!(before, after);
        for claim in world.snapshot.claims.values() {
            prop_assert!(world.config.pool_of(claim.address).is_some());
            for holder in &claim.holders {
                prop_assert!(world.snapshot.services[&holder.service].ingress.contains(&claim.address), "a claim leaked");
            }
        }
        let waiting = world.snapshot.services.values().filter(|service| service.ingress.is_empty() && service.annotation("loadBalancerIPs").is_none()).count();
        let used_elsewhere = |address: &IpAddr| world.snapshot.members["n1"].instance.is_some() && world.snapshot.members["n1"].conflicts.contains_key(address);
        let free = world.config.pools[0].addresses.iter().filter(|address| !used_elsewhere(address)).filter(|address| world.snapshot.claims.get(address).is_none_or(|claim| claim.holders.is_empty())).count();
        prop_assert!(waiting == 0 || free == 0, "{} wait while {} addresses are free", waiting, free);
    }
}

fn apply(world: &mut World, step: &Step) {
    let name = |number: &u8| format!("s{number}");
    let exists = |world: &World, number: &u8| world.snapshot.services.contains_key(&crate::world::key(&name(number)));
    match step {
        Step::Create(number) if !exists(world, number) => world.create(&name(number), |_| ()),
        Step::Delete(number) => world.delete(&name(number)),
        Step::Pool(first, length) => {
            let range = format!("192.168.1.{}-192.168.1.{}", 238 + first, 238 + first + length);
            world.config = config(vec![pool("default", &[&range])]);
        }
        Step::Wish(number, address) if exists(world, number) => {
            let address = format!("192.168.1.{}", 236 + address);
            world.edit(&name(number), annotate("metallb.io/loadBalancerIPs", &address));
        }
        Step::Wipe(number) if exists(world, number) => world.edit(&name(number), |service| service.ingress.clear()),
        Step::Leave(number) => world.leave(&format!("n{number}")),
        Step::Conflict(address) => conflict(world, Some(&format!("192.168.1.{}", 236 + address))),
        Step::Crash(writes) => crash(world, *writes),
        Step::Settle => drop(world.settle()),
        Step::Create(_) | Step::Wish(..) | Step::Wipe(_) => {}
    }
}

fn crash(world: &mut World, writes: u8) {
    let mut left = usize::from(writes);
    for mut work in world.decide().work {
        if left < work.take.len() + 1 {
            work.take.truncate(left);
            for claim in work.take {
                world.write_claim(claim);
            }
            return;
        }
        left -= work.take.len() + 1;
        work.release.clear();
        world.carry_out(work);
    }
}
