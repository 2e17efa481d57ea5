//! The plan, rule by rule: who could announce, who does, on which links; and if nobody does, why, in the words people read.

use std::collections::BTreeMap;
use std::sync::Arc;

use lanlord::addr::{Family, MacAddr};
use lanlord::config::{Config, L2Advertisement, Preferred};
use lanlord::facts::{
    Evidence, FamilyPolicy, Labels, LeaderRecord, Link, Links, Medium, Member, MemberLink, NodeName, Operator, Requirement, Role, Selector,
    TrafficPolicy,
};
use lanlord::l2::desired::LinkDesired;
use lanlord::membership::living::{Senses, living};
use lanlord::plan::{GroupPlan, Plan, l2_desired, plan};

use crate::world::{World, config, ip, key, pool};

/// Three nodes, one Service `web` with 192.168.1.240, served on n1.
fn home() -> World {
    World::new(3, config(vec![pool("default", &["192.168.1.240-192.168.1.250", "fd00::240-fd00::250"])]))
}

/// Assigned and settled under the home configuration, so that only what follows changes the plan.
fn settled() -> World {
    let mut world = home();
    world.create("web", |_| ());
    world.settle();
    world
}

fn planned(world: &World) -> Plan {
    plan(&world.config, &world.snapshot, &world.living())
}

fn web(world: &World) -> GroupPlan {
    planned(world).group_of(&key("web")).expect("web has a claim").clone()
}

fn candidates(world: &World) -> Vec<String> {
    web(world).candidates.nodes.keys().map(ToString::to_string).collect()
}

/// `reason: text` of why web is not announced.
fn why(world: &World) -> String {
    let reason = web(world).owner.expect_err("nobody can announce it");
    format!("{}: {reason}", reason.reason())
}

/// `n1 on eth0` for each address of web.
fn owner(world: &World) -> Vec<String> {
    let owner = web(world).owner.unwrap();
    owner.links.iter().map(|(address, links)| format!("{address} by {} on {links:?}", owner.node)).collect()
}

fn ad(world: &mut World, edit: impl FnOnce(&mut L2Advertisement)) {
    edit(&mut world.config.l2_advertisements[0]);
}

fn has(label: &str, value: &str) -> Selector {
    Selector { requirements: vec![Requirement { key: label.to_owned(), operator: Operator::In(vec![value.to_owned()]) }] }
}

fn host(name: &str) -> Selector {
    has("kubernetes.io/hostname", name)
}

fn member(world: &mut World, node: &str, edit: impl FnOnce(&mut Member)) {
    world.member(node, edit);
}

fn link(name: &str, medium: Medium, nets: &[&str]) -> MemberLink {
    let mac = MacAddr([2, 0, 0, 0, 9, 9]);
    MemberLink { name: name.into(), mac, medium, addresses: nets.iter().map(|net| net.parse().unwrap()).collect() }
}

/// Every member has exactly these links.
fn links(world: &mut World, links: &[MemberLink]) {
    for node in ["n1", "n2", "n3"] {
        member(world, node, |member| member.links = links.to_vec());
    }
}

#[test]
fn every_reason_has_its_words() {
    type Edit = fn(&mut World);
    let table: &[(Edit, &str)] = &[
        (
            |world| ["n1", "n2", "n3"].into_iter().for_each(|node| world.leave(node)),
            "NoMember: no Lanlord agent is running; look at kubectl get pods -A -l app=lanlord -o wide",
        ),
        (
            |world| world.config.l2_advertisements.clear(),
            "NoAdvertisement: no advertisement reaches pool default; add an L2Advertisement for it, or one without ipAddressPools, which means all",
        ),
        (
            |world| ad(world, |ad| ad.service_selectors = vec![has("app", "other")]),
            "NoServiceMatch: the serviceSelectors of every advertisement of pool default leave this Service out; change its labels or the selectors",
        ),
        (
            |world| ad(world, |ad| ad.node_selectors = vec![has("zone", "a"), has("zone", "b")]),
            "NoNodeMatch: no running node matches the nodeSelectors for pool default (zone=a or zone=b); label a node or change the selectors",
        ),
        (
            |world| ad(world, |ad| ad.interfaces = ["eth7".into(), "eth8".into()].into()),
            "NoInterface: no node has interface eth7 or eth8 up; correct `interfaces` in the advertisement or connect it",
        ),
        (
            |world| links(world, &[link("eth0", Medium::Wired, &["10.0.0.1/8", "fd00::1/64"])]),
            "NoLink: 192.168.1.240 is on no node's network (10.0.0.0/8); use a pool inside one of them, or name `interfaces` in an L2Advertisement",
        ),
        (
            |world| links(world, &[link("eth0", Medium::Wired, &["fd00::1/64"])]),
            "NoLink: 192.168.1.240 is on no node's network: the nodes have no IPv4 network (excludeInterfaces aside); give them one, or name `interfaces` in an L2Advertisement",
        ),
        (
            |world| ["n1", "n2", "n3"].into_iter().for_each(|node| world.node(node, |node| node.network_unavailable = true)),
            "NetworkUnavailable: every node that could announce it has the condition NetworkUnavailable; look at kubectl describe node",
        ),
        (|world| world.endpoints("web", &[]), "NoServingEndpoint: the Service has endpoints, but none is ready; look at its pods"),
        (
            |world| drop(Arc::make_mut(&mut world.snapshot.endpoints).remove(&key("web"))),
            "EndpointsUnknown: the Service has no EndpointSlice yet; without a selector it needs one made by hand",
        ),
        (
            |world| drop(Arc::make_mut(&mut world.snapshot.endpoints).insert(key("web"), Arc::default())),
            "NoServingEndpoint: the Service has no endpoints; check that its selector matches running pods",
        ),
        (
            |world| {
                world.edit("web", |service| service.traffic_policy = TrafficPolicy::Local);
                world.endpoints("web", &["n2"]);
                world.leave("n2");
            },
            "NoLocalEndpoint: externalTrafficPolicy is Local and the nodes with ready pods (n2) cannot announce the address; use Cluster, or run a pod on a node that can",
        ),
        (
            |world| {
                world.edit("web", |service| service.traffic_policy = TrafficPolicy::Local);
                world.endpoints("web", &["n1"]);
                let endpoints = Arc::make_mut(Arc::make_mut(&mut world.snapshot.endpoints).get_mut(&key("web")).unwrap());
                endpoints.nodes.clear();
            },
            "NoLocalEndpoint: externalTrafficPolicy is Local and no endpoint has a node; use Cluster, or pods instead of plain addresses",
        ),
        (
            |world| {
                let claims = Arc::make_mut(&mut world.snapshot.claims);
                Arc::make_mut(claims.get_mut(&ip("192.168.1.240")).unwrap()).placement = None;
            },
            "NotPlaced: a node is being chosen",
        ),
    ];
    for (edit, expected) in table {
        let mut world = settled();
        edit(&mut world);
        assert_eq!(why(&world), *expected);
    }
}

#[test]
fn node_selectors_and_service_selectors_choose_by_any_of_several() {
    let mut world = settled();
    ad(&mut world, |ad| ad.node_selectors = vec![host("n2"), host("n3")]);
    assert_eq!(candidates(&world), ["n2", "n3"]);
    ad(&mut world, |ad| ad.service_selectors = vec![has("app", "other"), has("app", "web")]);
    world.edit("web", |service| service.labels = Labels::from([("app".to_owned(), "web".to_owned())]));
    assert_eq!(candidates(&world), ["n2", "n3"]);
}

#[test]
fn without_names_one_link_per_address_is_used_and_a_wired_one_first() {
    let mut world = settled();
    let net = &["192.168.1.9/24"];
    links(&mut world, &[link("a-wlan", Medium::Wireless, net), link("eth1", Medium::Wired, net), link("eth0", Medium::Wired, net)]);
    assert!(owner(&world)[0].ends_with("on [eth0]"), "{:?}", owner(&world));
    links(&mut world, &[link("wlan1", Medium::Wireless, net), link("wlan0", Medium::Wireless, net)]);
    assert!(owner(&world)[0].ends_with("on [wlan0]"));
}

#[test]
fn named_interfaces_are_all_used_also_where_the_address_is_not_on_link() {
    let mut world = settled();
    links(&mut world, &[link("eth0", Medium::Wired, &["10.0.0.1/8"]), link("eth1", Medium::Wired, &[]), link("eth2", Medium::Wired, &[])]);
    ad(&mut world, |ad| ad.interfaces = ["eth0".into(), "eth1".into()].into());
    assert!(owner(&world)[0].ends_with("on [eth0, eth1]"), "{:?}", owner(&world));
}

#[test]
fn an_excluded_link_is_not_used_unless_it_is_named() {
    let mut world = settled();
    links(&mut world, &[link("docker0", Medium::Wired, &["192.168.1.9/24"]), link("lxcbr1", Medium::Wired, &["192.168.1.9/24"])]);
    world.config.settings.exclude_interfaces = vec!["docker0".to_owned(), "lxc*".to_owned()];
    assert_eq!(
        why(&world),
        "NoLink: 192.168.1.240 is on no node's network: the nodes have no IPv4 network (excludeInterfaces aside); give them one, or name `interfaces` in an L2Advertisement"
    );
    ad(&mut world, |ad| ad.interfaces = ["docker0".into()].into());
    assert!(owner(&world)[0].ends_with("on [docker0]"));
}

#[test]
fn a_host_prefix_and_a_link_local_one_hold_nobody_elses_address() {
    let mut world = settled();
    links(&mut world, &[link("eth0", Medium::Wired, &["192.168.1.240/32"])]);
    assert!(why(&world).starts_with("NoLink"));
}

#[test]
fn excluded_nodes_are_left_out_unless_all_are() {
    let mut world = settled();
    world.node("n1", |node| node.excluded = true);
    assert_eq!(candidates(&world), ["n2", "n3"]);
    assert!(!web(&world).candidates.all_excluded);
    for node in ["n2", "n3"] {
        world.node(node, |node| node.excluded = true);
    }
    assert_eq!(candidates(&world), ["n1", "n2", "n3"]);
    assert!(web(&world).candidates.all_excluded);
}

#[test]
fn a_node_without_network_is_no_candidate_and_the_others_are() {
    let mut world = settled();
    world.node("n1", |node| node.network_unavailable = true);
    assert_eq!(candidates(&world), ["n2", "n3"]);
}

#[test]
fn the_recorded_node_owns_until_its_generation_ends() {
    let mut world = settled();
    let recorded = web(&world).owner.unwrap().node;
    for node in ["n1", "n2", "n3"].iter().filter(|node| **node != recorded.as_str()) {
        // Others become better: that moves nothing.
        world.node(node, |node| drop(node.labels.insert("fast".to_owned(), "yes".to_owned())));
    }
    ad(&mut world, |ad| ad.preferred_node_selectors = vec![Preferred { weight: 100, selector: has("fast", "yes") }]);
    assert_eq!(web(&world).owner.unwrap().node, recorded);
    member(&mut world, recorded.as_str(), |member| member.instance = Some("restarted in place".to_owned()));
    assert_eq!(web(&world).owner.unwrap().node, recorded);
    member(&mut world, recorded.as_str(), |member| member.generation += 1);
    assert_ne!(web(&world).owner.unwrap().node, recorded, "a preferred node is better now");
}

#[test]
fn of_those_that_may_take_over_the_preferred_ready_uncordoned_wired_one_does() {
    type Edit = fn(&mut World);
    let worse: [Edit; 3] = [
        |world| ["n1", "n3"].into_iter().for_each(|node| world.node(node, |node| node.ready = false)),
        |world| ["n1", "n3"].into_iter().for_each(|node| world.node(node, |node| node.unschedulable = true)),
        |world| ["n1", "n3"].into_iter().for_each(|node| member(world, node, |member| member.links[0].medium = Medium::Wireless)),
    ];
    for edit in worse {
        let mut world = settled();
        // A cordoned node without an endpoint is one to be left.
        world.endpoints("web", &["n1", "n2", "n3"]);
        let claims = Arc::make_mut(&mut world.snapshot.claims);
        let placement = &mut Arc::make_mut(claims.get_mut(&ip("192.168.1.240")).unwrap()).placement;
        placement.as_mut().unwrap().node = "gone".into();
        edit(&mut world);
        assert_eq!(web(&world).owner.unwrap().node.as_str(), "n2");
        ad(&mut world, |ad| ad.preferred_node_selectors = vec![Preferred { weight: 1, selector: host("n3") }]);
        assert_eq!(web(&world).owner.unwrap().node.as_str(), "n3", "preference comes first");
    }
}

#[test]
fn local_policy_is_owned_where_an_endpoint_serves_and_cluster_policy_anywhere() {
    let mut world = settled();
    world.edit("web", |service| service.traffic_policy = TrafficPolicy::Local);
    for node in ["n1", "n2", "n3"] {
        world.endpoints("web", &[node]);
        assert_eq!(owner(&world), [format!("192.168.1.240 by {node} on [eth0]")]);
    }
    world.edit("web", |service| service.traffic_policy = TrafficPolicy::Cluster);
    assert_eq!(web(&world).candidates.nodes.values().filter(|candidate| candidate.eligible).count(), 3);
}

fn dual() -> World {
    let mut world = home();
    world.create("web", |service| {
        service.families = vec![Family::V4, Family::V6];
        service.family_policy = FamilyPolicy::RequireDualStack;
    });
    world.settle();
    world
}

#[test]
fn a_dual_stack_group_goes_to_nodes_that_reach_both_networks_while_there_is_one() {
    let mut world = dual();
    assert_eq!(candidates(&world), ["n1", "n2", "n3"]);
    for node in ["n1", "n3"] {
        member(&mut world, node, |member| member.links[0].addresses = ["192.168.1.9/24".parse().unwrap()].into());
    }
    assert_eq!(candidates(&world), ["n2"]);
    assert_eq!(owner(&world), ["192.168.1.240 by n2 on [eth0]", "fd00::240 by n2 on [eth0]"]);
    world.leave("n2");
    assert_eq!(candidates(&world), ["n1", "n3"], "half is better than nothing");
    assert_eq!(owner(&world).len(), 1);
}

#[test]
fn both_addresses_of_a_dual_stack_service_are_one_group() {
    let world = dual();
    let plan = planned(&world);
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups.values().next().unwrap().group.claims.len(), 2);
}

#[test]
fn a_claim_of_a_service_that_is_gone_or_ends_is_announced_by_nobody() {
    let mut world = settled();
    world.edit("web", |service| service.deleting = true);
    assert_eq!(planned(&world), Plan::default());
    world.delete("web");
    assert_eq!(planned(&world), Plan::default());
    world.create("web", |_| ());
    assert_eq!(planned(&world), Plan::default(), "another uid is another Service");
}

#[test]
fn evidence_against_a_member_excludes_it() {
    let world = settled();
    for evidence in [Evidence::NodeGone, Evidence::OutOfService, Evidence::SessionExpired] {
        let living = living(&world.snapshot, &Senses { evidence: BTreeMap::from([("n2".into(), evidence)]), ..Senses::default() });
        let plan = plan(&world.config, &world.snapshot, &living);
        assert!(!plan.groups.values().next().unwrap().candidates.nodes.contains_key("n2"), "{evidence:?}");
        assert_eq!(plan.groups.values().next().unwrap().candidates.nodes.len(), 2);
    }
}

#[test]
fn a_node_desires_only_what_it_owns_and_only_on_links_that_exist_and_are_up() {
    let world = settled();
    let plan = planned(&world);
    let owner = plan.groups.values().next().unwrap().owner.as_ref().unwrap().node.clone();
    let host = |name: &str, up: bool, index: u32| {
        let mac = MacAddr([2, 0, 0, 0, 1, u8::try_from(index).unwrap()]);
        let link = Link { index, name: name.into(), mac, up, role: Role::Own, medium: Medium::Wired, addresses: Default::default() };
        (link.name.clone(), link)
    };
    let with = |links: Vec<_>| Links { links: links.into_iter().collect(), ..Links::default() };
    let desired = |links: &Links, me: &NodeName| l2_desired(&world.config, &world.snapshot, &world.living(), &plan, links, me);
    let links = with(vec![host("eth0", true, 7), host("eth1", true, 8)]);
    let mine = desired(&links, &owner);
    assert_eq!(mine.links.keys().map(ToString::to_string).collect::<Vec<_>>(), ["eth0"]);
    let eth0 = &mine.links["eth0"];
    assert_eq!((eth0.index, eth0.mac, eth0.known_macs.len()), (7, links.links["eth0"].mac, 2 + 3), "its own links and the members'");
    assert_eq!(eth0.addresses[&ip("192.168.1.240")].as_ref(), "default/web");
    assert_eq!(eth0.announce_interval, Config::default().settings.announce_interval);
    for other in ["n1", "n2", "n3"].into_iter().filter(|node| *node != owner.as_str()) {
        assert!(desired(&links, &other.into()).links.values().all(|link| link.addresses.is_empty()), "{other}");
    }
    assert!(desired(&with(vec![host("eth0", false, 7)]), &owner).links.is_empty(), "down");
    assert!(desired(&with(vec![host("eth1", true, 8)]), &owner).links.is_empty(), "gone");
}

/// `eth0` of node `me`, as the world tells it to others.
fn own_links(world: &World, me: &str) -> Links {
    let told = &world.snapshot.members[me].links[0];
    let (name, mac, addresses) = (told.name.clone(), told.mac, told.addresses.clone());
    let link = Link { index: 7, name: name.clone(), mac, up: true, role: Role::Own, medium: Medium::Wired, addresses };
    Links { links: [(name, link)].into(), ..Links::default() }
}

/// What `me` has to do on `eth0`; `None`: nothing at all.
fn eth0(world: &World, me: &str) -> Option<LinkDesired> {
    let links = own_links(world, me);
    l2_desired(&world.config, &world.snapshot, &world.living(), &planned(world), &links, &me.into()).links.remove("eth0")
}

#[test]
fn who_does_not_own_an_address_knows_by_which_macs_its_owner_announces_it_and_who_does_not_live_owes_no_hand_over() {
    let mut world = settled();
    let owner = web(&world).owner.unwrap().node;
    let others: Vec<&str> = ["n1", "n2", "n3"].into_iter().filter(|node| *node != owner.as_str()).collect();
    let mac = world.snapshot.members[&owner].links[0].mac;
    for other in &others {
        assert_eq!(*eth0(&world, other).unwrap().successors, [(ip("192.168.1.240"), [mac].into())].into());
    }
    assert!(eth0(&world, owner.as_str()).unwrap().successors.is_empty());
    world.leave(others[0]);
    assert_eq!(eth0(&world, others[0]), None, "evicted");
    world.delete("web");
    assert!(eth0(&world, others[1]).unwrap().successors.is_empty(), "the Service is gone");
}

#[test]
fn an_address_recorded_for_this_node_is_fresh_and_one_taken_over_is_not() {
    let mut world = settled();
    let first = web(&world).owner.unwrap().node;
    assert_eq!(eth0(&world, first.as_str()).unwrap().fresh, [ip("192.168.1.240")].into());
    world.leave(first.as_str());
    let heir = web(&world).owner.unwrap().node;
    let mine = eth0(&world, heir.as_str()).unwrap();
    assert!(mine.addresses.contains_key(&ip("192.168.1.240")) && mine.fresh.is_empty());
    world.settle();
    assert_eq!(eth0(&world, heir.as_str()).unwrap().fresh.len(), 1, "recorded since");
}

#[test]
fn the_leaders_node_watches_the_pools_on_its_networks_but_for_addresses_that_others_have_by_right() {
    let mut world =
        World::new(2, config(vec![pool("all", &["192.168.1.10-192.168.1.20", "192.168.1.1", "10.0.0.0/8", "fd00::240-fd00::250"])]));
    assert!(eth0(&world, "n1").unwrap().watched.is_empty(), "nobody leads");
    world.snapshot.leader = Some(LeaderRecord {
        holder: Some("n1/1".to_owned()),
        lease_duration: 30,
        transitions: 0,
        acquired: None,
        resource_version: "1".to_owned(),
    });
    assert_eq!(eth0(&world, "n1").unwrap().watched.to_string(), "192.168.1.10, 192.168.1.13-192.168.1.20, fd00::240-fd00::250");
    assert!(eth0(&world, "n2").unwrap().watched.is_empty());
}

/// Who owns web in the eyes of its owner, and who does in truth; `other` was heard announcing it. `heard`: nodes with "detached" behind
/// those that say so.
fn conceded(world: &World, detached: bool, other: &str, heard: &[&str]) -> (NodeName, NodeName) {
    let owner = web(world).owner.unwrap().node;
    let mut living = world.living();
    living.detached = detached;
    living.contested = [(ip("192.168.1.240"), other.into())].into();
    for name in heard {
        let (name, said) = name.split_once(' ').unwrap_or((name, ""));
        let member = living.members.get_mut(name).unwrap();
        (member.heard, member.detached) = (true, said == "detached");
    }
    living.members.get_mut(&owner).unwrap().heard = true;
    let plan = plan(&world.config, &world.snapshot, &living);
    (plan.groups.values().next().unwrap().owner.as_ref().unwrap().node.clone(), owner)
}

#[test]
fn who_does_not_reach_the_api_server_gives_an_address_up_only_to_a_member_that_announces_it_and_knows_more() {
    let mut world = settled();
    let owner = web(&world).owner.unwrap().node;
    let others: Vec<&str> = ["n1", "n2", "n3"].into_iter().filter(|node| *node != owner.as_str()).collect();
    let (other, third) = (others[0], others[1]);
    let other_detached = format!("{other} detached");
    let table: [(&str, bool, &[&str], bool); 8] = [
        ("hears nobody: it was evicted, most likely", true, &[], true),
        ("hears the other, who reaches the API server", true, &[other], true),
        ("and a third", true, &[other, third], true),
        ("hears the other, who is detached, too", true, &[&other_detached], false),
        ("and a third who is not: but it is not he who announces", true, &[&other_detached, third], false),
        ("hears a third, and the other through the address only", true, &[third], false),
        ("reaches the API server: the record counts", false, &[other, third], false),
        ("reaches the API server and hears nobody", false, &[], false),
    ];
    for (case, detached, heard, gives_up) in table {
        let (owns, owned) = conceded(&world, detached, other, heard);
        assert_eq!(owns.as_str(), if gives_up { other } else { owned.as_str() }, "{case}");
    }
    world.edit("web", |service| service.traffic_policy = TrafficPolicy::Local);
    world.endpoints("web", &[owner.as_str(), third]);
    for heard in [&[][..], &[other]] {
        assert_eq!(conceded(&world, true, other, heard).0, owner, "no endpoint serves on the other's node");
    }
    world.endpoints("web", &[owner.as_str(), other]);
    assert_eq!(conceded(&world, true, other, &[]).0.as_str(), other);
    world.node(other, |node| node.network_unavailable = true);
    assert_eq!(conceded(&world, true, other, &[]).0, owner, "the other is no candidate");
}
