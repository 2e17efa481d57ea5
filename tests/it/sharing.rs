//! Shared addresses (`allow-shared-ip`; features B6, B7; MetalLB's rules: reference §2.4), rule by rule.

use lanlord::config::{Config, Source, parse};
use lanlord::facts::{Protocol, Service, ServicePort, TrafficPolicy};

use crate::world::{World, config, ip, key, pool};

const ADDRESS: &str = "192.168.1.240";

fn home() -> World {
    World::new(3, pools())
}

fn pools() -> Config {
    config(vec![pool("default", &["192.168.1.240-192.168.1.250"])])
}

fn tcp(port: u16) -> ServicePort {
    ServicePort { protocol: Protocol::Tcp, port }
}

fn udp(port: u16) -> ServicePort {
    ServicePort { protocol: Protocol::Udp, port }
}

fn set(service: &mut Service, annotation: &str, value: &str) {
    service.annotations.insert(annotation.to_owned(), value.to_owned());
}

/// Carries the key `k` and one TCP port.
fn sharer(port: u16) -> impl FnOnce(&mut Service) {
    move |service| {
        set(service, "metallb.io/allow-shared-ip", "k");
        service.ports = vec![tcp(port)];
    }
}

/// The same, and asks for [`ADDRESS`].
fn asker(port: u16) -> impl FnOnce(&mut Service) {
    move |service| {
        sharer(port)(service);
        set(service, "metallb.io/loadBalancerIPs", ADDRESS);
    }
}

fn holders(world: &World, address: &str) -> Vec<String> {
    world.snapshot.claims.get(&ip(address)).iter().flat_map(|claim| &claim.holders).map(|holder| holder.service.to_string()).collect()
}

fn node(world: &World, name: &str) -> String {
    let text = world.service(name).annotations.get("lanlord.dev/announced").cloned().unwrap_or_default();
    text.split_once(" by ").map(|(_, by)| by.split(' ').next().unwrap().to_owned()).unwrap_or_default()
}

fn message(world: &World, name: &str) -> String {
    world.service(name).condition.as_ref().unwrap().message.clone()
}

#[test]
fn services_with_one_key_and_different_ports_get_one_address_and_one_owner_under_every_prefix() {
    for prefix in ["metallb.io", "metallb.universe.tf", "lanlord.dev"] {
        let mut world = home();
        for (name, port) in [("a", tcp(53)), ("b", udp(53)), ("c", tcp(80))] {
            world.create(name, |service| {
                set(service, &format!("{prefix}/allow-shared-ip"), "dns");
                service.ports = vec![port];
            });
        }
        world.create("alone", |service| service.ports = vec![tcp(8080)]);
        world.settle();
        for name in ["a", "b", "c"] {
            assert_eq!(world.ingress(name), [ADDRESS], "{prefix}: {name}");
            assert_eq!(node(&world, name), node(&world, "a"));
        }
        assert_eq!(world.ingress("alone"), ["192.168.1.241"]);
        assert_eq!(holders(&world, ADDRESS).len(), 3);
        assert_eq!(world.settle(), [] as [String; 0], "at rest");
    }
}

#[test]
fn an_address_that_may_be_shared_is_taken_before_a_lower_free_one() {
    let mut world = home();
    world.create("low", |_| ());
    world.create("a", sharer(80));
    world.settle();
    world.delete("low");
    world.settle();
    world.create("b", sharer(81));
    world.settle();
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec!["192.168.1.241".to_owned()], vec!["192.168.1.241".to_owned()]));
}

/// What one Service has, what the other one has who asks for its address, and what the other hears; `None`: it gets it.
type Rule = (&'static str, fn(&mut Service), fn(&mut Service), Option<&'static str>);

#[test]
fn sharing_conditions_2_4_when_an_address_in_use_is_asked_for() {
    let table: &[Rule] = &[
        ("equal keys, other ports", |_| (), |service| service.ports = vec![tcp(81)], None),
        ("one port number, other protocol", |_| (), |service| service.ports = vec![udp(80)], None),
        (
            "no key",
            |_| (),
            |service| drop(service.annotations.remove("metallb.io/allow-shared-ip")),
            Some(
                "belongs to Service default/a; ask for another address, or share it: give both Services the same annotation lanlord.dev/allow-shared-ip",
            ),
        ),
        (
            "the holder has no key",
            |service| drop(service.annotations.remove("metallb.io/allow-shared-ip")),
            |_| (),
            Some("cannot be shared with Service default/a: that Service has no annotation lanlord.dev/allow-shared-ip; give both the same"),
        ),
        (
            "an empty key is none",
            |service| set(service, "metallb.io/allow-shared-ip", ""),
            |_| (),
            Some("cannot be shared with Service default/a: that Service has no annotation lanlord.dev/allow-shared-ip; give both the same"),
        ),
        (
            "other keys",
            |_| (),
            |service| set(service, "metallb.io/allow-shared-ip", "K"),
            Some("cannot be shared with Service default/a: their annotations lanlord.dev/allow-shared-ip differ; give both the same"),
        ),
        (
            "a port in common",
            |_| (),
            |service| service.ports = vec![tcp(81), tcp(80)],
            Some("cannot be shared with Service default/a: both have port TCP 80; change one of the two"),
        ),
        (
            "Cluster and Local",
            |_| (),
            |service| service.traffic_policy = TrafficPolicy::Local,
            Some("cannot be shared with Service default/a: one has externalTrafficPolicy Local and the other has not; make them equal"),
        ),
        (
            "Local and Local with one selector, wherever the pods are",
            |service| (service.traffic_policy, service.selector) = (TrafficPolicy::Local, "app=x".to_owned()),
            |service| (service.traffic_policy, service.selector) = (TrafficPolicy::Local, "app=x".to_owned()),
            None,
        ),
        (
            "a Local Service without a selector goes with Cluster, as with MetalLB",
            |_| (),
            |service| (service.traffic_policy, service.selector) = (TrafficPolicy::Local, String::new()),
            None,
        ),
    ];
    for (rule, first, second, refused) in table {
        let mut world = home();
        world.create("a", |service| {
            asker(80)(service);
            first(service);
        });
        world.settle();
        world.create("b", |service| {
            asker(81)(service);
            second(service);
        });
        world.endpoints("b", &["n1", "n2"]);
        let told = world.settle();
        assert_eq!(world.ingress("a"), [ADDRESS], "{rule}");
        match refused {
            None => assert_eq!(world.ingress("b"), [ADDRESS], "{rule}: {told:?}"),
            Some(why) => {
                assert_eq!(told, [format!("AllocationFailed: {ADDRESS} was asked for, but {why}")], "{rule}");
                assert!(world.ingress("b").is_empty(), "{rule}");
            }
        }
    }
}

#[test]
fn who_does_not_ask_for_the_address_gets_another_one_where_it_may_not_share() {
    let mut world = home();
    world.create("a", sharer(80));
    world.create("b", sharer(80));
    assert!(world.settle().iter().all(|event| event.starts_with("IPAllocated")));
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec![ADDRESS.to_owned()], vec!["192.168.1.241".to_owned()]));
}

#[test]
fn sharing_ends_at_the_namespace_unless_the_pool_allows_more() {
    for allows in [false, true] {
        let mut pools = pools();
        pools.pools[0].share_across_namespaces = allows;
        let mut world = World::new(3, pools);
        world.create("a", asker(80));
        world.create("other/b", asker(81));
        let told = world.settle();
        assert_eq!(world.ingress("other/b").is_empty(), !allows, "{told:?}");
        let refused = "AllocationFailed: 192.168.1.240 was asked for, but cannot be shared with Service default/a: they are in different \
                       namespaces; move one, or allow it with shareAcrossNamespaces: true in pool default";
        assert_eq!(told.contains(&refused.to_owned()), !allows, "{told:?}");
    }
}

#[test]
fn metallb_documents_share_across_namespaces_as_with_metallb_and_our_own_pools_when_told_to() {
    let table = [
        ("addresses: 192.168.1.240-192.168.1.250", false),
        ("pools: [{name: default, addresses: [192.168.1.240-192.168.1.250]}]", false),
        ("pools: [{name: default, addresses: [192.168.1.240-192.168.1.250], shareAcrossNamespaces: true}]", true),
        (
            "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: default}, spec: {addresses: [192.168.1.240-192.168.1.250]}}",
            true,
        ),
        ("address-pools: [{name: default, protocol: layer2, addresses: [192.168.1.240-192.168.1.250]}]", true),
    ];
    for (text, shares) in table {
        let accepted = parse(&[Source::file("config.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}"));
        let mut world = World::new(3, accepted.config);
        world.create("a", sharer(80));
        world.create("other/b", sharer(81));
        world.settle();
        assert_eq!(world.ingress("a") == world.ingress("other/b"), shares, "{text}");
    }
}

#[test]
fn local_services_with_other_selectors_share_while_all_their_ready_pods_are_on_one_node() {
    let table: [(&[&str], &[&str], Option<&str>); 4] = [
        (&["n2"], &["n2"], None),
        (&["n2"], &["n3"], Some("their ready pods are not all on one node (n2, n3); bring them together (podAffinity), or use Cluster")),
        (
            &["n2", "n3"],
            &["n2"],
            Some("their ready pods are not all on one node (n2, n3); bring them together (podAffinity), or use Cluster"),
        ),
        (&[], &[], Some("no pod of them is ready; they may share it once all their ready pods are on one node")),
    ];
    for (first, second, refused) in table {
        let mut world = home();
        for (name, port, nodes) in [("a", 80, first), ("b", 81, second)] {
            world.create(name, |service| {
                asker(port)(service);
                service.traffic_policy = TrafficPolicy::Local;
            });
            world.endpoints(name, nodes);
        }
        let told = world.settle();
        match refused {
            None => {
                assert_eq!(world.ingress("b"), [ADDRESS], "{told:?}");
                assert_eq!((node(&world, "a"), node(&world, "b")), ("n2".to_owned(), "n2".to_owned()));
            }
            Some(why) => {
                let why = format!(
                    "AllocationFailed: {ADDRESS} was asked for, but cannot be shared with Service default/a: both have externalTrafficPolicy Local, and {why}"
                );
                assert!(told.contains(&why), "{told:?}");
                world.endpoints("a", &["n1"]);
                world.endpoints("b", &["n1"]);
                world.settle();
                assert_eq!(world.ingress("b"), [ADDRESS], "granted when it became possible");
            }
        }
    }
}

/// Two Local Services with different selectors on 192.168.1.240, both on n1.
fn local() -> World {
    let mut world = home();
    for (name, port) in [("a", 80), ("b", 81)] {
        world.create(name, |service| {
            sharer(port)(service);
            service.traffic_policy = TrafficPolicy::Local;
        });
    }
    world.settle();
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec![ADDRESS.to_owned()], vec![ADDRESS.to_owned()]));
    world
}

#[test]
fn local_sharers_whose_pods_part_keep_the_address_and_the_one_left_out_is_told() {
    let mut world = local();
    world.endpoints("b", &["n2"]);
    let told = world.settle();
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec![ADDRESS.to_owned()], vec![ADDRESS.to_owned()]));
    assert_eq!(node(&world, "a"), "n1", "no reason to move");
    let why = "192.168.1.240 not announced: externalTrafficPolicy is Local, and no ready pod is on n1 (but on n2), where the address is for the \
               Services that share it; bring their pods together (podAffinity), or use Cluster";
    assert_eq!(told, [format!("NotAnnounced: {why}")]);
    assert_eq!(message(&world, "b"), why);
    assert!(!world.service("b").condition.as_ref().unwrap().announced && world.service("a").condition.as_ref().unwrap().announced);
    world.endpoints("a", &["n2"]);
    world.settle();
    assert_eq!((node(&world, "a"), node(&world, "b")), ("n2".to_owned(), "n2".to_owned()));
}

#[test]
fn a_sharer_without_ready_pods_withdraws_nobody_else_and_hears_why_nobody_gets_to_it() {
    let mut world = home();
    world.create("a", sharer(80));
    world.create("b", sharer(81));
    world.settle();
    world.endpoints("b", &[]);
    world.settle();
    assert!(world.service("a").condition.as_ref().unwrap().announced);
    assert_eq!(message(&world, "b"), "192.168.1.240 not announced: the Service has endpoints, but none is ready; look at its pods");
}

#[test]
fn a_sharer_that_may_not_share_any_more_gets_another_address_and_hears_why() {
    type Edit = fn(&mut Service);
    let table: [(Edit, &str); 4] = [
        (|service| service.ports = vec![tcp(80)], "both have port TCP 80; change one of the two"),
        (
            |service| set(service, "metallb.io/allow-shared-ip", "z"),
            "their annotations lanlord.dev/allow-shared-ip differ; give both the same",
        ),
        (
            |service| drop(service.annotations.remove("metallb.io/allow-shared-ip")),
            "this Service has no annotation lanlord.dev/allow-shared-ip; give both the same",
        ),
        (
            |service| service.traffic_policy = TrafficPolicy::Local,
            "one has externalTrafficPolicy Local and the other has not; make them equal",
        ),
    ];
    for (edit, why) in table {
        let mut world = home();
        world.create("a", sharer(80));
        world.create("b", sharer(81));
        world.settle();
        world.edit("b", edit);
        let told = world.settle();
        assert_eq!((world.ingress("a"), world.ingress("b")), (vec![ADDRESS.to_owned()], vec!["192.168.1.241".to_owned()]), "{why}");
        let expected = format!("ClearAssignment: 192.168.1.240 is released: it cannot be shared with Service default/a: {why}");
        assert!(told.contains(&expected), "{told:?}");
        assert_eq!(holders(&world, ADDRESS), ["default/a"]);
        assert_eq!(world.settle(), [] as [String; 0]);
    }
}

#[test]
fn of_several_sharers_the_one_that_changed_gives_way_however_old_it_is() {
    let mut world = home();
    for (name, port) in [("a", 80), ("b", 81), ("c", 82)] {
        world.create(name, sharer(port));
    }
    world.settle();
    world.edit("a", |service| set(service, "metallb.io/allow-shared-ip", "z"));
    world.settle();
    assert_eq!([world.ingress("a"), world.ingress("b"), world.ingress("c")].concat(), ["192.168.1.241", ADDRESS, ADDRESS]);
}

#[test]
fn of_two_sharers_the_one_that_changed_gives_way_however_old_it_is() {
    let mut world = home();
    world.create("a", sharer(80));
    world.create("b", sharer(81));
    world.settle();
    world.edit("a", |service| service.ports.push(tcp(81)));
    world.settle();
    assert_eq!([world.ingress("a"), world.ingress("b")].concat(), ["192.168.1.241", ADDRESS]);
}

#[test]
fn sharers_are_drained_together_each_with_its_own_event_and_one_that_is_ignored_leaves_the_others_alone() {
    let mut world = home();
    world.create("a", sharer(80));
    world.create("b", sharer(81));
    world.settle();
    let before = node(&world, "a");
    for name in ["a", "b"] {
        world.endpoints(name, &["n1", "n2", "n3"]);
    }
    world.config.settings.on_cordon = lanlord::config::OnCordon::Move;
    world.node(&before, |node| node.unschedulable = true);
    let told = world.settle();
    assert_ne!(node(&world, "a"), before);
    assert_eq!(node(&world, "a"), node(&world, "b"));
    let moved = format!("192.168.1.240; moved from \"{before}\": it is cordoned");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|event| event.starts_with("nodeAssigned: announcing from node") && event.ends_with(&moved)), "{told:?}");
    world.edit("b", |service| {
        set(service, "lanlord.dev/ignore", "true");
        service.ingress.clear();
    });
    world.settle();
    assert_eq!(holders(&world, ADDRESS), ["default/a"]);
    assert!(world.service("a").condition.as_ref().unwrap().announced);
}

#[test]
fn a_sharer_changes_its_ports_or_the_only_holder_its_key_in_place_where_nobody_minds() {
    let mut world = home();
    world.create("a", sharer(80));
    world.settle();
    world.edit("a", |service| set(service, "metallb.io/allow-shared-ip", "z"));
    assert_eq!(world.settle(), [] as [String; 0]);
    world.edit("a", |service| set(service, "metallb.io/allow-shared-ip", "k"));
    world.create("b", sharer(81));
    world.settle();
    world.edit("b", |service| service.ports = vec![tcp(82)]);
    assert_eq!(world.settle(), [] as [String; 0]);
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec![ADDRESS.to_owned()], vec![ADDRESS.to_owned()]));
    world.create("c", sharer(81));
    world.settle();
    assert_eq!(world.ingress("c"), [ADDRESS], "the port given up is free for others");
}

#[test]
fn a_sharer_that_goes_leaves_the_address_to_the_others_and_the_last_one_leaves_it_to_all() {
    let mut world = home();
    world.create("a", sharer(80));
    world.create("b", sharer(81));
    world.settle();
    world.delete("a");
    world.settle();
    assert_eq!(holders(&world, ADDRESS), ["default/b"]);
    world.create("c", |service| set(service, "metallb.io/loadBalancerIPs", ADDRESS));
    world.settle();
    assert!(world.ingress("c").is_empty());
    world.delete("b");
    world.settle();
    assert_eq!(world.ingress("c"), [ADDRESS]);
}

#[test]
fn a_shared_address_stays_where_it_is_when_one_more_joins_and_dual_stack_sharers_are_one_group() {
    use lanlord::addr::Family;
    let mut world = World::new(3, config(vec![pool("default", &["192.168.1.240-250", "fd00::240-250"])]));
    world.create("a", |service| {
        sharer(80)(service);
        service.families = vec![Family::V4, Family::V6];
    });
    world.settle();
    let before = node(&world, "a");
    world.create("b", sharer(81));
    world.create("c", |service| {
        sharer(82)(service);
        service.families = vec![Family::V6];
    });
    world.settle();
    assert_eq!((world.ingress("b"), world.ingress("c")), (vec![ADDRESS.to_owned()], vec!["fd00::240".to_owned()]));
    for name in ["a", "b", "c"] {
        assert_eq!(node(&world, name), before, "{name}");
    }
    let plan = lanlord::plan::plan(&world.config, &world.snapshot, &world.living());
    assert_eq!(plan.groups.len(), 1);
    world.leave(&before);
    world.settle();
    let after = node(&world, "a");
    assert_ne!(after, before);
    assert!(["b", "c"].iter().all(|name| node(&world, name) == after), "they move together");
}

#[test]
fn shared_addresses_in_the_status_at_first_start_are_adopted_and_who_may_not_share_is_told() {
    let mut world = home();
    let held = |service: &mut Service| service.ingress = vec![ip("192.168.1.247")];
    for (name, port) in [("a", 80), ("b", 81), ("c", 80)] {
        world.create(name, |service| {
            sharer(port)(service);
            held(service);
        });
    }
    let told = world.settle();
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec!["192.168.1.247".to_owned()], vec!["192.168.1.247".to_owned()]));
    assert_ne!(world.ingress("c"), ["192.168.1.247"]);
    let why = "ClearAssignment: 192.168.1.247 is released: it cannot be shared with Service default/a: both have port TCP 80; change one of the two";
    assert!(told.contains(&why.to_owned()), "{told:?}");
}

#[test]
fn a_wish_for_an_address_that_cannot_be_shared_takes_nothing_away() {
    let mut world = home();
    world.create("a", sharer(80));
    world.create("b", sharer(80));
    world.settle();
    world.edit("b", |service| set(service, "metallb.io/loadBalancerIPs", ADDRESS));
    let told = world.settle();
    assert_eq!(world.ingress("b"), ["192.168.1.241"]);
    assert!(told.iter().any(|event| event.contains("both have port TCP 80")), "{told:?}");
    world.edit("b", |service| service.ports = vec![tcp(81)]);
    world.settle();
    assert_eq!(world.ingress("b"), [ADDRESS]);
    assert!(world.snapshot.services.contains_key(&key("b")));
}
