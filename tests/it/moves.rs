//! Planned moves, rule by rule: what moves a group, where to, what is told; and what does not move it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::Family;
use lanlord::cli::r#move::record;
use lanlord::config::OnCordon;
use lanlord::facts::{
    Evidence, FamilyPolicy, LinkName, Medium, Moved, NodeName, Operator, Placement, Requirement, Selector, ServiceKey, TrafficPolicy,
};
use lanlord::leader::decide::{Decision, decide};
use lanlord::leader::moves::moves;
use lanlord::leader::quiet::{QUIET, Quiet, SPACING};
use lanlord::leader::suggest::{Advice, Prospect};
use lanlord::leader::tell::Now;
use lanlord::machine::Instant;
use lanlord::membership::living::{Senses, living};
use lanlord::plan::departure::Departure;
use lanlord::plan::plan;

use crate::world::{World, config, ip, key, pool};

/// Three nodes, Services web-1 … with endpoints on all of them, assigned; every web is on the node that `where_is` tells.
fn world(services: usize) -> World {
    let mut world = World::new(3, config(vec![pool("default", &["192.168.1.200-192.168.1.250", "fd00::200-fd00::250"])]));
    for number in 1..=services {
        world.create(&format!("web-{number}"), |_| ());
        world.endpoints(&format!("web-{number}"), &["n1", "n2", "n3"]);
    }
    world.settle();
    world
}

fn owner(world: &World, service: &str) -> String {
    let plan = plan(&world.config, &world.snapshot, &world.living());
    plan.group_of(&key(service)).expect("a group").owner.as_ref().expect("an owner").node.to_string()
}

fn owners(world: &World) -> Vec<String> {
    let names = world.snapshot.services.keys().map(|key| key.name.to_string());
    names.map(|name| owner(world, &name)).collect()
}

/// One Service, recorded on n1.
fn on_n1() -> World {
    let mut world = world(1);
    put(&mut world, "192.168.1.200", "n1");
    world.settle();
    assert_eq!(owner(&world, "web-1"), "n1");
    world
}

fn put(world: &mut World, address: &str, node: &str) {
    let claims = Arc::make_mut(&mut world.snapshot.claims);
    Arc::make_mut(claims.get_mut(&ip(address)).unwrap()).placement = Some(Placement { node: node.into(), generation: 1 });
}

fn host(name: &str) -> Selector {
    let operator = Operator::In(vec![name.to_owned()]);
    Selector { requirements: vec![Requirement { key: "kubernetes.io/hostname".to_owned(), operator }] }
}

fn cordon(world: &mut World, node: &str) {
    world.node(node, |node| node.unschedulable = true);
}

fn unhealthy(world: &mut World, node: &str, unhealthy: bool) {
    world.member(node, |member| member.dataplane_unhealthy = unhealthy);
}

#[test]
fn what_speaks_against_the_owner_moves_a_group_if_another_node_is_better_and_the_reason_is_told() {
    type Edit = fn(&mut World);
    let cases: &[(&str, Edit, Option<&str>)] = &[
        ("nothing", |_| (), None),
        ("cordoned, with endpoints", |world| cordon(world, "n1"), None),
        (
            "cordoned, no endpoint there",
            |world| {
                cordon(world, "n1");
                world.endpoints("web-1", &["n2", "n3"]);
            },
            Some("it is cordoned and no endpoint serves there"),
        ),
        (
            "cordoned, no endpoint anywhere: nobody announces it, so nothing moves",
            |world| {
                cordon(world, "n1");
                world.endpoints("web-1", &[]);
            },
            None,
        ),
        (
            "onCordon: move",
            |world| {
                world.config.settings.on_cordon = OnCordon::Move;
                cordon(world, "n1");
            },
            Some("it is cordoned"),
        ),
        (
            "onCordon: stay",
            |world| {
                world.config.settings.on_cordon = OnCordon::Stay;
                cordon(world, "n1");
                world.endpoints("web-1", &["n2"]);
            },
            None,
        ),
        (
            "all are cordoned",
            |world| {
                world.config.settings.on_cordon = OnCordon::Move;
                ["n1", "n2", "n3"].into_iter().for_each(|node| cordon(world, node));
            },
            None,
        ),
        (
            "cordoned, the others are NotReady, detached or unhealthy",
            |world| {
                world.config.settings.on_cordon = OnCordon::Move;
                cordon(world, "n1");
                world.node("n2", |node| node.ready = false);
                world.detached.insert("n3".into());
            },
            None,
        ),
        ("kube-proxy unhealthy", |world| unhealthy(world, "n1", true), Some("its kube-proxy fails its health check")),
        ("kube-proxy unhealthy everywhere", |world| ["n1", "n2", "n3"].into_iter().for_each(|node| unhealthy(world, node, true)), None),
        (
            "kube-proxy unhealthy, and the others are cordoned: better than no traffic",
            |world| {
                unhealthy(world, "n1", true);
                ["n2", "n3"].into_iter().for_each(|node| cordon(world, node));
            },
            Some("its kube-proxy fails its health check"),
        ),
        ("NotReady", |world| world.node("n1", |node| node.ready = false), None),
        ("all NotReady", |world| ["n1", "n2", "n3"].into_iter().for_each(|name| world.node(name, |node| node.ready = false)), None),
        ("detached", |world| world.detached.extend(["n1".into()]), None),
        (
            "network unavailable",
            |world| world.node("n1", |node| node.network_unavailable = true),
            Some("it has the condition NetworkUnavailable"),
        ),
        (
            "excluded",
            |world| world.node("n1", |node| node.excluded = true),
            Some("it is labelled node.kubernetes.io/exclude-from-external-load-balancers"),
        ),
        ("all excluded", |world| ["n1", "n2", "n3"].into_iter().for_each(|name| world.node(name, |node| node.excluded = true)), None),
        ("left", |world| world.leave("n1"), Some("it left or was lost")),
        ("left and came back", |world| world.member("n1", |member| member.generation = 2), Some("it left or was lost")),
        ("no link any more", |world| world.member("n1", |member| member.links.clear()), Some("it cannot announce the address any more")),
        (
            "Local, and the endpoint went",
            |world| {
                world.edit("web-1", |service| service.traffic_policy = TrafficPolicy::Local);
                world.endpoints("web-1", &["n3"]);
            },
            Some("externalTrafficPolicy is Local and no endpoint serves there any more"),
        ),
    ];
    for (name, edit, why) in cases {
        let mut world = on_n1();
        edit(&mut world);
        let told = world.settle();
        let now = plan(&world.config, &world.snapshot, &world.living()).group_of(&key("web-1")).unwrap().owner.clone();
        let claim = &world.snapshot.claims[&ip("192.168.1.200")];
        let Some(why) = why else {
            assert!(now.is_err() || now.unwrap().node.as_str() == "n1", "{name}");
            assert_eq!(claim.placement.as_ref().unwrap().node.as_str(), "n1", "{name}");
            continue;
        };
        let now = now.unwrap().node;
        // One that left and came back may be chosen anew; that is no move.
        if now.as_str() == "n1" {
            assert_eq!(*name, "left and came back");
            continue;
        }
        assert_eq!(claim.placement.as_ref().unwrap().node, now, "{name}");
        let moved = claim.moved.clone().unwrap_or_else(|| panic!("{name}: the record says where it came from"));
        assert_eq!((moved.from.as_str(), moved.why.as_str()), ("n1", *why), "{name}");
        let expected = format!(
            "nodeAssigned: announcing from node \"{now}\" with protocol \"layer2\" on eth0: 192.168.1.200; moved from \"n1\": {why}"
        );
        assert_eq!(told, [expected], "{name}");
        assert!(world.service("web-1").condition.as_ref().unwrap().announced, "{name}");
    }
}

#[test]
fn a_planned_move_is_recorded_before_anybody_turns_to_the_new_owner() {
    let mut world = on_n1();
    unhealthy(&mut world, "n1", true);
    assert_eq!(owner(&world, "web-1"), "n1", "the plan alone does not move it: agents that see this at different times agree");
    let decision = world.decide();
    assert_eq!(decision.work, [], "nothing is published before it is so");
    for tend in decision.tend {
        world.tend(tend);
    }
    assert_ne!(owner(&world, "web-1"), "n1");
}

#[test]
fn nothing_moves_back_when_the_reason_is_over() {
    let mut world = on_n1();
    world.config.settings.on_cordon = OnCordon::Move;
    cordon(&mut world, "n1");
    unhealthy(&mut world, "n1", true);
    world.settle();
    let moved = owner(&world, "web-1");
    assert_ne!(moved, "n1");
    world.node("n1", |node| node.unschedulable = false);
    unhealthy(&mut world, "n1", false);
    assert_eq!(world.settle(), [""; 0]);
    assert_eq!(owner(&world, "web-1"), moved);
}

#[test]
fn a_drain_spreads_what_the_node_had_evenly_over_the_others() {
    let mut world = world(12);
    world.config.settings.on_cordon = OnCordon::Move;
    cordon(&mut world, "n2");
    world.settle();
    let owners = owners(&world);
    let count = |node: &str| owners.iter().filter(|owner| *owner == node).count();
    assert_eq!((count("n1"), count("n2"), count("n3")), (6, 0, 6));
}

#[test]
fn both_addresses_of_a_dual_stack_service_move_as_one() {
    let mut world = world(0);
    world.create("dual", |service| {
        service.families = vec![Family::V4, Family::V6];
        service.family_policy = FamilyPolicy::RequireDualStack;
    });
    world.settle();
    put(&mut world, "192.168.1.200", "n1");
    put(&mut world, "fd00::200", "n1");
    world.settle();
    cordon(&mut world, "n1");
    world.endpoints("dual", &["n2"]);
    world.settle();
    let nodes: Vec<&NodeName> =
        world.snapshot.claims.values().filter_map(|claim| claim.placement.as_ref()).map(|placement| &placement.node).collect();
    assert_eq!(nodes.len(), 2);
    assert!(nodes[0] == nodes[1] && nodes[0].as_str() != "n1", "{nodes:?}");
}

#[test]
fn a_shared_address_leaves_a_cordoned_node_with_the_last_endpoint_of_the_last_service() {
    let mut world = world(2);
    // Both Services on the first address.
    let claims = Arc::make_mut(&mut world.snapshot.claims);
    let second = claims.remove(&ip("192.168.1.201")).unwrap();
    Arc::make_mut(claims.get_mut(&ip("192.168.1.200")).unwrap()).holders.extend(second.holders.clone());
    put(&mut world, "192.168.1.200", "n1");
    cordon(&mut world, "n1");
    let planned = |world: &World| {
        let plan = plan(&world.config, &world.snapshot, &world.living());
        assert_eq!(plan.groups.len(), 1);
        moves(&plan, &mut plan.load(), false).into_values().map(|moving| moving.why).collect::<Vec<_>>()
    };
    world.endpoints("web-1", &["n2"]);
    assert_eq!(planned(&world), [], "web-2 still has an endpoint there");
    world.endpoints("web-2", &["n3"]);
    assert_eq!(planned(&world), [Departure::Drained]);
}

#[test]
fn a_detached_member_keeps_what_it_has_and_is_given_nothing_new_while_another_can_take_it() {
    let mut world = on_n1();
    world.detached.extend(["n1".into(), "n2".into()]);
    for number in 2..=5 {
        world.create(&format!("web-{number}"), |_| ());
    }
    world.settle();
    assert_eq!(owners(&world), ["n1", "n3", "n3", "n3", "n3"]);
    world.leave("n3");
    world.settle();
    assert!(owners(&world)[1..].iter().all(|owner| owner == "n1" || owner == "n2"), "better than nobody");
}

#[test]
fn while_configurations_differ_only_loss_moves_a_group() {
    let hashes = |world: &mut World, hashes: [&str; 3]| {
        for (node, hash) in ["n1", "n2", "n3"].into_iter().zip(hashes) {
            world.member(node, |member| member.config = Some(hash.to_owned()));
        }
    };
    // Everything that may differ from one configuration to the next, as seen by one who has the new one already.
    type Edit = fn(&mut World);
    let edits: [Edit; 4] = [
        |world| {
            world.config.settings.on_cordon = OnCordon::Move;
            cordon(world, "n1");
        },
        |world| {
            world.config.l2_advertisements[0].node_selectors = vec![host("n2"), host("n3")];
        },
        |world| world.config.l2_advertisements[0].interfaces = [LinkName::new("eth1")].into(),
        |world| unhealthy(world, "n1", true),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut world = on_n1();
        hashes(&mut world, ["new", "old", "new"]);
        edit(&mut world);
        world.settle();
        assert_eq!(owner(&world, "web-1"), "n1", "edit {number}");
        let plan = plan(&world.config, &world.snapshot, &world.living());
        let links = &plan.groups.values().next().unwrap().owner.as_ref().unwrap().links;
        assert_eq!(links[&ip("192.168.1.200")], [LinkName::new("eth0")], "edit {number}: it goes on announcing");
    }
    let mut world = on_n1();
    hashes(&mut world, ["new", "old", "new"]);
    unhealthy(&mut world, "n1", true);
    world.settle();
    hashes(&mut world, ["new", "new", "new"]);
    world.settle();
    assert_ne!(owner(&world, "web-1"), "n1", "all have the same now");
    let mut world = on_n1();
    hashes(&mut world, ["new", "old", "new"]);
    world.leave("n1");
    world.settle();
    assert_ne!(owner(&world, "web-1"), "n1", "lost");
}

#[test]
fn evenness_alone_moves_groups_one_at_a_time_until_the_loads_differ_by_one_at_most_and_then_never_again() {
    for services in [1_usize, 2, 3, 4, 7, 12] {
        let mut world = world(services);
        for number in 0..services {
            put(&mut world, &format!("192.168.1.{}", 200 + number), "n1");
        }
        world.settle();
        assert!(owners(&world).iter().all(|owner| owner == "n1"), "not asked for: nothing moves");
        world.quiet = true;
        let mut moves = 0;
        loop {
            let before = owners(&world);
            let decision = world.decide();
            assert!(decision.tend.len() <= 1, "one at a time");
            let moving = !decision.tend.is_empty();
            for tend in decision.tend {
                assert_eq!(tend.claim().moved.as_ref().unwrap().why, "to even out the load");
                world.tend(tend);
            }
            for work in decision.work {
                world.carry_out(work);
            }
            let after = owners(&world);
            assert!(before.iter().zip(&after).filter(|(before, after)| before != after).count() <= 1);
            moves += usize::from(moving);
            assert!(moves <= services, "it comes to an end");
            if before == after && !moving {
                break;
            }
        }
        let mut load: BTreeMap<String, usize> = ["n1", "n2", "n3"].map(|node| (node.to_owned(), 0)).into();
        for owner in owners(&world) {
            *load.get_mut(&owner).unwrap() += 1;
        }
        let (least, most) = (load.values().min().unwrap(), load.values().max().unwrap());
        assert!(most - least <= 1, "{services} Services: {load:?}");
        assert_eq!(moves, services - most.min(&services), "no more moves than needed");
    }
}

#[test]
fn evenness_moves_nothing_to_a_node_that_is_worse() {
    let mut world = world(4);
    for number in 0..4 {
        put(&mut world, &format!("192.168.1.{}", 200 + number), "n1");
    }
    cordon(&mut world, "n2");
    world.member("n3", |member| member.links[0].medium = Medium::Wireless);
    world.settle();
    world.quiet = true;
    world.settle();
    assert!(owners(&world).iter().all(|owner| owner == "n1"), "{:?}", owners(&world));
}

#[test]
fn quiet_is_a_minute_after_the_last_change_and_ten_seconds_after_a_move_of_its_own() {
    let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
    let mut world = on_n1();
    let mut quiet = Quiet::default();
    let mut look = |world: &World, seconds: u64| quiet.observe(&world.snapshot, &world.living(), at(seconds));
    let minute = QUIET.as_secs();
    assert!(!look(&world, 100), "whoever begins to lead waits first");
    assert!(!look(&world, 100 + minute - 1));
    assert!(look(&world, 100 + minute));
    world.member("n2", |member| member.suspect = Some("n3/1".to_owned()));
    assert!(!look(&world, 200));
    world.member("n2", |member| member.suspect = None);
    assert!(!look(&world, 200 + minute - 1));
    assert!(look(&world, 200 + minute));
    put(&mut world, "192.168.1.200", "n2");
    assert!(!look(&world, 300), "somebody else's move");
    assert!(!look(&world, 300 + minute - 1));
    assert!(look(&world, 300 + minute));
    put(&mut world, "192.168.1.200", "n3");
    let claims = Arc::make_mut(&mut world.snapshot.claims);
    let why = "to even out the load".to_owned();
    Arc::make_mut(claims.get_mut(&ip("192.168.1.200")).unwrap()).moved = Some(Moved { from: "n2".into(), why });
    assert!(!look(&world, 400));
    assert!(look(&world, 400 + SPACING.as_secs()));
    world.leave("n1");
    assert!(!look(&world, 500));
    assert_eq!(quiet.until(at(500)), Some(at(500) + Duration::from_secs(minute)));
    assert_eq!(quiet.until(at(600)), None);
}

/// What `lanlord move web-1 NODE` would write, as `address → node`, or why it refuses.
fn asked(world: &World, service: &str, node: &str) -> Result<Vec<String>, String> {
    let service = ServiceKey::parse(service).unwrap();
    let claims = record(&world.config, &world.snapshot, &world.living(), &service, &node.into())?;
    Ok(claims.iter().map(|claim| format!("{} → {}", claim.address, claim.placement.as_ref().unwrap().node)).collect())
}

#[test]
fn who_asks_for_a_move_that_cannot_be_is_told_why_and_what_to_do() {
    type Edit = fn(&mut World);
    let table: &[(Edit, &str)] = &[
        (|world| drop(Arc::make_mut(&mut world.snapshot.nodes).remove("n2")), "there is no node of that name; there are n1, n3"),
        (
            |world| world.leave("n2"),
            "no agent runs there, or it has not joined; look at kubectl get pods -A -l app=lanlord -o wide, and at its log",
        ),
        (
            |world| world.member("n2", |member| member.suspect = Some("n3/1".to_owned())),
            "n3/1 takes it for dead; wait until that is settled",
        ),
        (
            |world| world.node("n2", |node| node.network_unavailable = true),
            "it has the condition NetworkUnavailable; look at kubectl describe node",
        ),
        (
            |world| world.node("n2", |node| node.excluded = true),
            "it is labelled node.kubernetes.io/exclude-from-external-load-balancers; remove the label (kubectl label node NODE node.kubernetes.io/exclude-from-external-load-balancers-)",
        ),
        (
            |world| world.config.l2_advertisements[0].node_selectors = vec![host("n1")],
            "the nodeSelectors for pool default (kubernetes.io/hostname=n1) leave it out; label the node or change the selectors",
        ),
        (
            |world| world.member("n2", |member| member.links[0].addresses = ["10.0.0.2/8".parse().unwrap()].into()),
            "192.168.1.200 is not on its network (10.0.0.0/8)",
        ),
        (
            |world| {
                world.edit("web-1", |service| service.traffic_policy = TrafficPolicy::Local);
                world.endpoints("web-1", &["n1", "n3"]);
            },
            "externalTrafficPolicy is Local and no endpoint serves there (but on n1, n3); run a pod there, or use Cluster",
        ),
        (|world| world.endpoints("web-1", &[]), "the Service has endpoints, but none is ready; look at its pods"),
        (
            |world| {
                cordon(world, "n2");
                world.endpoints("web-1", &["n1"]);
            },
            "it is cordoned and no endpoint serves there, so the addresses would leave it again at once; kubectl uncordon it, or configure onCordon: stay",
        ),
        (|world| unhealthy(world, "n2", true), "its kube-proxy fails its health check, so the addresses would leave it again at once"),
    ];
    for (edit, why) in table {
        let mut world = on_n1();
        edit(&mut world);
        assert_eq!(asked(&world, "default/web-1", "n2"), Err(format!("default/web-1 cannot be on n2: {why}")));
    }
    let mut world = on_n1();
    assert_eq!(
        asked(&world, "media/web-1", "n2"),
        Err("there is no Service media/web-1 of type LoadBalancer; did you mean default/web-1?".to_owned())
    );
    world.create("new", |_| ());
    let unassigned = "default/new has no address yet; look at kubectl describe service -n default new";
    assert_eq!(asked(&world, "default/new", "n2"), Err(unassigned.to_owned()));
}

#[test]
fn what_was_asked_for_is_recorded_stays_and_is_told() {
    let mut world = on_n1();
    assert_eq!(asked(&world, "default/web-1", "n1"), Ok(Vec::new()), "it is there");
    assert_eq!(asked(&world, "default/web-1", "n2"), Ok(vec!["192.168.1.200 → n2".to_owned()]));
    cordon(&mut world, "n2");
    assert!(asked(&world, "default/web-1", "n2").is_ok(), "cordoned and not drained: it would stay");
    let key = ServiceKey::parse("default/web-1").unwrap();
    for claim in record(&world.config, &world.snapshot, &world.living(), &key, &"n2".into()).unwrap() {
        world.write_claim(claim);
    }
    assert_eq!(
        world.settle(),
        [
            "nodeAssigned: announcing from node \"n2\" with protocol \"layer2\" on eth0: 192.168.1.200; moved from \"n1\": asked for by `lanlord move`"
        ]
    );
    assert_eq!(owner(&world, "web-1"), "n2");
}

/// The node that a decision records for the only address.
fn recorded(decision: &Decision) -> String {
    let [tend] = &decision.tend[..] else { panic!("{decision:?}") };
    tend.claim().placement.as_ref().unwrap().node.to_string()
}

#[test]
fn the_record_follows_a_loss_when_it_is_certain_and_not_a_suspicion() {
    let mut world = on_n1();
    let evidence = BTreeMap::from([("n1".into(), Evidence::SessionExpired)]);
    let suspected = living(&world.snapshot, &Senses { evidence, ..Senses::default() });
    let now = Now { text: "now".to_owned(), seconds: 1, quiet: false, prospect: Prospect::Known(Advice::default()), ..Now::default() };
    let plan = plan(&world.config, &world.snapshot, &suspected);
    assert_ne!(plan.group_of(&key("web-1")).unwrap().owner.as_ref().unwrap().node.as_str(), "n1", "whoever hears nothing of it takes over");
    assert_eq!(decide(&world.config, &world.snapshot, &suspected, &plan, &now), Decision::default(), "it may still prove itself");
    world.node("n1", |node| node.out_of_service = true);
    assert_ne!(recorded(&world.decide()), "n1", "an operator says that it is gone");
    world.node("n1", |node| node.out_of_service = false);
    assert_eq!(world.decide(), Decision::default());
    world.leave("n1");
    assert_ne!(recorded(&world.decide()), "n1", "its Lease is cleared");
}
