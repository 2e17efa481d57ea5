//! L2Advertisements, from MetalLB's documents to who announces what where (feature C4; MetalLB's rules: reference §1.2, §3.2–§3.4, and
//! the scenarios of its e2e tests: §7.1).

use std::sync::Arc;

use lanlord::config::{Config, Source, parse};
use lanlord::facts::{Medium, MemberLink, Moved, Placement, Service};
use lanlord::plan::Departure;

use crate::world::{World, ip, key};

/// Pool `one` (label team=red): .240 to .249; pool `two` (team=blue): .250 to .254; and these advertisements, by their `spec`.
fn documents(advertisements: &[&str]) -> Config {
    let mut text = String::new();
    for (name, team, range) in [("one", "red", "192.168.1.240-192.168.1.249"), ("two", "blue", "192.168.1.250-192.168.1.254")] {
        text += &format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, labels: {{team: {team}}}}}\n\
             spec: {{addresses: [{range}], autoAssign: {}}}\n---\n",
            name == "one"
        );
    }
    for (number, spec) in advertisements.iter().enumerate() {
        text += &format!("apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: ad{number}}}\nspec: {{{spec}}}\n---\n");
    }
    parse(&[Source::file("metallb.yaml", &*text)]).unwrap_or_else(|problems| panic!("{problems}")).config
}

/// Nodes n1 to n3, each with eth0 and eth1 and an interface of its own (own1 …); each labelled with its host name.
fn world(advertisements: &[&str]) -> World {
    let mut world = World::new(3, documents(advertisements));
    for number in 1..=3u8 {
        world.member(&format!("n{number}"), |member| {
            for name in ["eth1".to_owned(), format!("own{number}")] {
                let mac = lanlord::addr::MacAddr([2, 0, 0, 0, 1, number]);
                member.links.push(MemberLink { name: (*name).into(), mac, medium: Medium::Wired, addresses: [].into() });
            }
        });
    }
    world
}

/// `n2 eth0 eth1`, or the reason.
fn announced(world: &World, name: &str) -> String {
    let plan = lanlord::plan::plan(&world.config, &world.snapshot, &world.living());
    match &plan.group_of(&key(name)).unwrap_or_else(|| panic!("{name} has no address")).owner {
        Ok(owner) => {
            let links: std::collections::BTreeSet<String> = owner.links.values().flatten().map(ToString::to_string).collect();
            format!("{} {}", owner.node, links.into_iter().collect::<Vec<_>>().join(" "))
        }
        Err(why) => why.reason().to_owned(),
    }
}

/// The candidates of the Service, and the links each would use.
fn candidates(world: &World, name: &str) -> Vec<String> {
    let plan = lanlord::plan::plan(&world.config, &world.snapshot, &world.living());
    let candidates = plan.group_of(&key(name)).unwrap().candidates.nodes.clone();
    let links = |candidate: &lanlord::plan::Candidate| {
        candidate
            .links
            .values()
            .flatten()
            .map(ToString::to_string)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    candidates.iter().map(|(name, candidate)| format!("{name} {}", links(candidate))).collect()
}

fn label(service: &mut Service, value: &str) {
    service.labels.insert("app".to_owned(), value.to_owned());
}

fn from_two(service: &mut Service) {
    service.annotations.insert("metallb.io/address-pool".to_owned(), "two".to_owned());
}

#[test]
fn advertisements_1_2_reach_pools_by_name_by_label_by_both_and_all_without_either() {
    let table: [(&[&str], &str, &str); 7] = [
        (&[""], "n", "n"),
        (&["ipAddressPools: [one]"], "n", "NoAdvertisement"),
        (&["ipAddressPoolSelectors: [{matchLabels: {team: blue}}]"], "NoAdvertisement", "n"),
        (
            &["ipAddressPoolSelectors: [{matchLabels: {team: blue}}, {matchExpressions: [{key: team, operator: In, values: [red]}]}]"],
            "n",
            "n",
        ),
        (&["ipAddressPools: [one], ipAddressPoolSelectors: [{matchLabels: {team: blue}}]"], "n", "n"),
        (&["ipAddressPools: [one]", "ipAddressPools: [two]"], "n", "n"),
        (&["ipAddressPools: [gone]"], "NoAdvertisement", "NoAdvertisement"),
    ];
    for (advertisements, one, two) in table {
        let mut world = world(advertisements);
        world.create("one", |_| ());
        world.create("two", from_two);
        world.settle();
        for (name, expected) in [("one", one), ("two", two)] {
            assert!(announced(&world, name).starts_with(expected), "{advertisements:?}: {name} {}", announced(&world, name));
        }
    }
}

#[test]
fn node_selectors_3_2_any_of_several_in_one_advertisement_or_over_several() {
    let host = |node: &str| format!("{{matchLabels: {{kubernetes.io/hostname: {node}}}}}");
    let table: [(Vec<String>, &[&str]); 5] = [
        (vec![format!("nodeSelectors: [{}]", host("n2"))], &["n2 eth0"]),
        (vec![format!("nodeSelectors: [{}, {}]", host("n2"), host("n3"))], &["n2 eth0", "n3 eth0"]),
        (vec![format!("nodeSelectors: [{}]", host("n1")), format!("nodeSelectors: [{}]", host("n3"))], &["n1 eth0", "n3 eth0"]),
        (vec![format!("nodeSelectors: [{}]", host("n1")), String::new()], &["n1 eth0", "n2 eth0", "n3 eth0"]),
        (
            vec![format!("nodeSelectors: [{}], ipAddressPools: [two]", host("n1")), "ipAddressPools: [one]".to_owned()],
            &["n1 eth0", "n2 eth0", "n3 eth0"],
        ),
    ];
    for (advertisements, expected) in table {
        let advertisements: Vec<&str> = advertisements.iter().map(String::as_str).collect();
        let mut world = world(&advertisements);
        world.create("web", |_| ());
        world.settle();
        assert_eq!(candidates(&world, "web"), expected, "{advertisements:?}");
    }
}

#[test]
fn a_node_relabelled_out_of_the_selection_hands_over_and_one_relabelled_into_it_may_serve() {
    let mut world = world(&["nodeSelectors: [{matchLabels: {lb: 'yes'}}]"]);
    world.create("web", |_| ());
    let told = world.settle();
    assert!(
        told[0].ends_with(
            "not announced yet: no running node matches the nodeSelectors for pool one (lb=yes); label a node or change the selectors"
        ),
        "{told:?}"
    );
    for node in ["n2", "n3"] {
        world.node(node, |node| drop(node.labels.insert("lb".to_owned(), "yes".to_owned())));
        world.settle();
        assert_eq!(announced(&world, "web"), "n2 eth0", "and it stays there");
    }
    world.node("n2", |node| drop(node.labels.remove("lb")));
    world.settle();
    assert_eq!(announced(&world, "web"), "n3 eth0");
}

#[test]
fn service_selectors_3_1_any_of_several_and_node_and_service_of_one_advertisement_together() {
    let a = "serviceSelectors: [{matchLabels: {app: a}}], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]";
    let b = "serviceSelectors: [{matchLabels: {app: b}}, {matchLabels: {app: c}}], nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n2}}]";
    let two = "serviceSelectors: [{matchLabels: {app: d}}], ipAddressPools: [two]";
    let mut world = world(&[a, b, two]);
    for app in ["a", "b", "c", "d", "e"] {
        world.create(app, |service| label(service, app));
    }
    world.create("two", |service| {
        label(service, "d");
        from_two(service);
    });
    world.settle();
    let given = ["a", "b", "c", "d", "e"].map(|name| announced(&world, name));
    assert_eq!(given, ["n1 eth0", "n2 eth0", "n2 eth0", "NoServiceMatch", "NoServiceMatch"]);
    assert!(announced(&world, "two").starts_with('n'));
    world.edit("a", |service| label(service, "c"));
    world.settle();
    assert_eq!(announced(&world, "a"), "n2 eth0");
    world.edit("a", |service| label(service, "x"));
    let told = world.settle();
    assert_eq!(
        told,
        [
            "NotAnnounced: 192.168.1.240 not announced: the serviceSelectors of every advertisement of pool one leave this Service out; change its labels or the selectors"
        ]
    );
}

#[test]
fn two_advertisements_for_different_nodes_that_both_match_give_one_owner() {
    let ad = |node: &str| {
        format!("serviceSelectors: [{{matchLabels: {{app: a}}}}], nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: {node}}}}}]")
    };
    let (first, second) = (ad("n1"), ad("n3"));
    let mut world = world(&[&first, &second]);
    world.create("web", |service| label(service, "a"));
    world.settle();
    assert_eq!(candidates(&world, "web"), ["n1 eth0", "n3 eth0"]);
    assert!(["n1 eth0", "n3 eth0"].contains(&&*announced(&world, "web")));
}

#[test]
fn a_shared_address_is_announced_also_under_service_selectors_that_match_one_of_its_services() {
    let mut world = world(&["serviceSelectors: [{matchLabels: {app: a}}]"]);
    for (name, port) in [("a", 80), ("b", 81)] {
        world.create(name, |service| {
            label(service, name);
            service.ports = vec![lanlord::facts::ServicePort { protocol: lanlord::facts::Protocol::Tcp, port }];
            service.annotations.insert("metallb.io/allow-shared-ip".to_owned(), "k".to_owned());
        });
    }
    world.settle();
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec!["192.168.1.240".to_owned()], vec!["192.168.1.240".to_owned()]));
    assert!(announced(&world, "a").starts_with('n'));
}

#[test]
fn interfaces_3_4_are_united_over_the_advertisements_that_apply_to_the_node() {
    let on = |node: &str, interfaces: &str| format!("nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: {node}}}}}]{interfaces}");
    let table: [(Vec<String>, &[&str]); 7] = [
        (vec!["interfaces: [eth1]".to_owned()], &["n1 eth1", "n2 eth1", "n3 eth1"]),
        (vec!["interfaces: [eth0]".to_owned(), "interfaces: [eth1]".to_owned()], &["n1 eth0 eth1", "n2 eth0 eth1", "n3 eth0 eth1"]),
        (vec!["interfaces: [eth1]".to_owned(), String::new()], &["n1 eth0 eth1", "n2 eth0 eth1", "n3 eth0 eth1"]),
        (vec!["interfaces: [own2]".to_owned()], &["n2 own2"]),
        (vec!["interfaces: [own2, own3]".to_owned()], &["n2 own2", "n3 own3"]),
        (vec![on("n1", ", interfaces: [eth1]"), on("n2", ", interfaces: [eth0]")], &["n1 eth1", "n2 eth0"]),
        (vec![on("n1", ", interfaces: [own2]"), on("n3", "")], &["n3 eth0"]),
    ];
    for (advertisements, expected) in table {
        let advertisements: Vec<&str> = advertisements.iter().map(String::as_str).collect();
        let mut world = world(&advertisements);
        world.create("web", |_| ());
        world.settle();
        assert_eq!(candidates(&world, "web"), expected, "{advertisements:?}");
        assert!(expected.contains(&&*announced(&world, "web")), "who cannot answer is never the owner (§8.3, 12)");
    }
}

#[test]
fn an_interface_that_exists_nowhere_is_told_and_one_that_is_edited_takes_effect_at_once() {
    let mut world = world(&["interfaces: [eth7]"]);
    world.create("web", |_| ());
    let told = world.settle();
    assert!(
        told[0].ends_with("not announced yet: no node has interface eth7 up; correct `interfaces` in the advertisement or connect it"),
        "{told:?}"
    );
    world.config = documents(&["interfaces: [own3]"]);
    world.settle();
    assert_eq!(announced(&world, "web"), "n3 own3");
    world.config = documents(&["interfaces: [eth1]"]);
    world.settle();
    assert_eq!(announced(&world, "web"), "n3 eth1", "and it stays on its node");
    world.member("n3", |member| member.links.retain(|link| link.name.as_str() != "eth1"));
    world.settle();
    assert_ne!(&announced(&world, "web")[..2], "n3");
}

#[test]
fn without_advertisements_the_address_stays_assigned_and_is_announced_by_nobody() {
    let mut world = world(&[""]);
    world.create("web", |_| ());
    world.settle();
    world.config = documents(&["ipAddressPools: [two]"]);
    let told = world.settle();
    assert_eq!(world.ingress("web"), ["192.168.1.240"]);
    assert_eq!(announced(&world, "web"), "NoAdvertisement");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(world.snapshot.claims.contains_key(&ip("192.168.1.240")));
}

/// Label `zone` of each node.
fn zones(world: &mut World, zones: [&str; 3]) {
    for (number, zone) in zones.iter().enumerate() {
        world.node(&format!("n{}", number + 1), |node| drop(node.labels.insert("zone".to_owned(), (*zone).to_owned())));
    }
}

#[test]
fn preferred_node_selectors_choose_among_candidates_by_the_sum_of_weights_over_all_advertisements() {
    let prefer =
        |zone: &str, weight: u8| format!("preferredNodeSelectors: [{{weight: {weight}, preference: {{matchLabels: {{zone: {zone}}}}}}}]");
    let hard = |zone: &str| format!("nodeSelectors: [{{matchLabels: {{zone: {zone}}}}}], ");
    let only = |app: &str| format!("serviceSelectors: [{{matchLabels: {{app: {app}}}}}], ");
    let table: [(&str, Vec<String>, Option<&str>); 9] = [
        ("the labelled node", vec![prefer("b", 1)], Some("n2")),
        ("the heavier weight", vec![prefer("a", 10), prefer("c", 20)], Some("n3")),
        ("sums over advertisements", vec![prefer("c", 30), prefer("a", 20), prefer("a", 20)], Some("n1")),
        ("a node selector is a hard filter", vec![hard("b") + &prefer("c", 100)], Some("n2")),
        ("disjoint: the hard set wins, and others' preferences do not reach into it", vec![hard("c") + &prefer("a", 100)], Some("n3")),
        ("a preference is of its own advertisement's nodes", vec![hard("a") + &prefer("b", 100), prefer("c", 1)], Some("n3")),
        ("scoped by service selectors: not this Service's", vec![only("other") + &prefer("a", 100), prefer("c", 1)], Some("n3")),
        ("scoped by service selectors: this Service's", vec![only("web") + &prefer("a", 100), prefer("c", 1)], Some("n1")),
        ("nobody matches: as without", vec![prefer("nowhere", 100)], None),
    ];
    for (rule, advertisements, expected) in table {
        let advertisements: Vec<&str> = advertisements.iter().map(String::as_str).collect();
        let mut world = world(&advertisements);
        zones(&mut world, ["a", "b", "c"]);
        world.create("web", |service| label(service, "web"));
        world.settle();
        let owner = announced(&world, "web");
        assert!(owner.starts_with(expected.unwrap_or("n")), "{rule}: {owner}");
    }
}

#[test]
fn a_preferred_node_that_is_lost_hands_over_and_gets_its_services_back_when_it_is_fit_again() {
    let mut world = world(&["preferredNodeSelectors: [{weight: 5, preference: {matchLabels: {zone: b}}}]"]);
    zones(&mut world, ["a", "b", "c"]);
    world.create("web", |_| ());
    world.settle();
    assert_eq!(announced(&world, "web"), "n2 eth0");
    world.leave("n2");
    world.settle();
    let heir = announced(&world, "web");
    assert_ne!(heir, "n2 eth0");
    world.member("n2", |member| (member.instance, member.generation) = (Some("2".to_owned()), 2));
    world.node("n2", |node| node.ready = false);
    assert_eq!(world.settle(), [] as [String; 0]);
    assert_eq!(announced(&world, "web"), heir, "not while anything speaks against it");
    world.node("n2", |node| node.ready = true);
    let told = world.settle();
    assert_eq!(announced(&world, "web"), "n2 eth0");
    assert!(told.iter().any(|event| event.contains("another node is preferred by preferredNodeSelectors")), "{told:?}");
    zones(&mut world, ["a", "a", "a"]);
    assert_eq!(world.settle(), [] as [String; 0], "nobody is preferred any more: nothing speaks for a move");
}

#[test]
fn a_preference_given_later_moves_what_it_speaks_for_and_not_what_a_person_moved() {
    let mut world = world(&[""]);
    zones(&mut world, ["a", "b", "c"]);
    world.create("web", |_| ());
    world.settle();
    let before = announced(&world, "web");
    let zone = if before.starts_with("n2") { "a" } else { "b" };
    let preferring = documents(&[&format!("preferredNodeSelectors: [{{weight: 5, preference: {{matchLabels: {{zone: {zone}}}}}}}]")]);
    world.member("n3", |member| member.config = Some("another".into()));
    world.member("n1", |member| member.config = Some("one".into()));
    world.config = preferring;
    assert_eq!(world.settle(), [] as [String; 0], "not while the agents' configurations differ");
    world.member("n3", |member| member.config = Some("one".into()));
    world.settle();
    let preferred = announced(&world, "web");
    assert_ne!(preferred, before);

    let asked = Moved { from: "n9".into(), why: Departure::Asked.to_string() };
    let claims = Arc::make_mut(&mut world.snapshot.claims);
    for claim in claims.values_mut().map(Arc::make_mut) {
        claim.placement = Some(Placement { node: before[..2].into(), generation: 1 });
        claim.moved = Some(asked.clone());
    }
    world.settle();
    assert_eq!(announced(&world, "web"), before);
}

#[test]
fn an_address_that_only_unselected_nodes_could_announce_is_given_last() {
    let mut world = world(&["nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]"]);
    world.member("n1", |member| member.links[0].addresses = ["192.168.1.245/30".parse().unwrap()].into());
    world.create("web", |_| ());
    world.settle();
    assert_eq!((world.ingress("web"), announced(&world, "web")), (vec!["192.168.1.246".to_owned()], "n1 eth0".to_owned()));
}
