//! Free addresses for who has configured none: where they are looked for, which range is best, and what is told.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lanlord::addr::{Family, MacAddr, Prefix};
use lanlord::config::Config;
use lanlord::config::origin::Origins;
use lanlord::facts::{Answer, Answers, Link, Links, Medium, Role};
use lanlord::leader::decide::{Decision, decide};
use lanlord::leader::suggest::{Advice, Inquiry, Prospect, Taken, candidates, choose, networks};
use lanlord::leader::tell::Now;
use lanlord::plan::plan;

use crate::world::{World, config, ip, pool};

const STRANGER: MacAddr = MacAddr([0x3c, 0x22, 0xfb, 0, 0, 1]);

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// What is proposed of a network where some addresses are in use.
fn proposed(network: &str, count: usize, used: &[&str]) -> Option<String> {
    let used: BTreeSet<IpAddr> = used.iter().map(|address| ip(address)).collect();
    let asked = candidates(prefix(network), &Taken::default(), count);
    let free = asked.into_iter().filter(|address| !used.contains(address)).collect();
    choose(prefix(network), &free, count).map(|range| range.to_string())
}

fn link(name: &str, addresses: &[&str]) -> Link {
    Link {
        index: 2,
        name: name.into(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        up: true,
        role: Role::Own,
        medium: Medium::Wired,
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
    }
}

fn links(links: impl IntoIterator<Item = Link>) -> Links {
    Links {
        links: links.into_iter().map(|link| (link.name.clone(), link)).collect(),
        gateways: [ip("192.168.1.1")].into(),
        ..Links::default()
    }
}

/// Node n1 of a [`World`].
fn n1() -> Links {
    links([link("eth0", &["192.168.1.11/24", "fd00::11/64", "fe80::11/64"]), link("cni0", &["10.42.0.1/24"])])
}

/// Everybody silent but those.
fn silence_but(inquiry: &Inquiry, used: &[&str]) -> Answers {
    let mac = |address: IpAddr| used.iter().any(|it| ip(it) == address).then_some(STRANGER);
    let answer = |address| mac(address).map_or(Answer { unanswered: 5, mac: None }, |mac| Answer { unanswered: 0, mac: Some(mac) });
    inquiry.questions.iter().map(|question| (question.clone(), answer(question.address))).collect()
}

#[test]
fn a_range_near_the_top_of_the_network_is_proposed() {
    for (network, range) in [
        ("192.168.1.0/24", Some("192.168.1.240-192.168.1.250")),
        ("172.18.0.0/16", Some("172.18.255.240-172.18.255.250")),
        ("10.0.0.0/22", Some("10.0.3.240-10.0.3.250")),
        ("192.168.1.64/26", Some("192.168.1.112-192.168.1.122")),
        ("192.168.1.16/28", Some("192.168.1.24-192.168.1.30")),
        ("fd00:1::/64", Some("fd00:1::fff0-fd00:1::fffa")),
        ("2001:db8::/48", Some("2001:db8::fff0-2001:db8::fffa")),
        ("fd00::100/120", Some("fd00::1f0-fd00::1fa")),
    ] {
        assert_eq!(proposed(network, 11, &[]).as_deref(), range, "{network}");
    }
    assert_eq!(proposed("192.168.1.0/24", 1, &[]).as_deref(), Some("192.168.1.240"));
    assert_eq!(proposed("192.168.1.0/24", 50, &[]).as_deref(), Some("192.168.1.205-192.168.1.254"));
    assert_eq!(proposed("192.168.1.0/24", 9999, &[]).as_deref(), Some("192.168.1.128-192.168.1.254"), "at most half of it");
}

#[test]
fn addresses_in_use_are_stepped_over_to_the_nearest_range_that_is_long_enough() {
    let in_24 = |used: &[&str]| proposed("192.168.1.0/24", 11, used).unwrap();
    assert_eq!(in_24(&["192.168.1.250"]), "192.168.1.239-192.168.1.249");
    assert_eq!(in_24(&["192.168.1.240"]), "192.168.1.241-192.168.1.251");
    assert_eq!(in_24(&["192.168.1.245"]), "192.168.1.234-192.168.1.244");
    let many: Vec<String> = (219..=254).filter(|last| last % 4 == 0).map(|last| format!("192.168.1.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(in_24(&many), "192.168.1.241-192.168.1.243", "the longest there is, in the usual place");
    let all = candidates(prefix("192.168.1.0/24"), &Taken::default(), 11);
    assert_eq!((all.len(), all[0], all[35]), (36, ip("192.168.1.219"), ip("192.168.1.254")), "few are asked for, and no .0 or .255");
    assert_eq!(choose(prefix("192.168.1.0/24"), &BTreeSet::new(), 11), None);
}

#[test]
fn what_is_known_to_be_taken_is_not_asked_for() {
    let mut world = World::new(2, config(vec![pool("lan", &["192.168.1.240-192.168.1.242"])]));
    world.node("n2", |node| node.addresses = vec![ip("192.168.1.253")]);
    world.member("n1", |member| member.gateways = [ip("192.168.1.254")].into());
    world.create("web", |service| service.ingress = vec![ip("192.168.1.249")]);
    let taken = Taken::of(&world.config, &world.snapshot, &n1());
    let asked = candidates(prefix("192.168.1.0/24"), &taken, 11);
    for address in ["192.168.1.240", "192.168.1.242", "192.168.1.249", "192.168.1.253", "192.168.1.254"] {
        assert!(!asked.contains(&ip(address)), "{address}");
    }
    assert!(asked.contains(&ip("192.168.1.243")));
}

#[test]
fn networks_of_most_nodes_come_first_and_those_of_pods_tunnels_and_ports_not_at_all() {
    let world = World::new(3, Config::default());
    let down = Link { up: false, ..link("eth5", &["10.5.0.1/24"]) };
    let port = Link { role: Role::Port, ..link("eth6", &["10.6.0.1/24"]) };
    let own = link("eth0", &["192.168.1.11/24", "fd00::11/64", "2001:db8::11/64", "fe80::11/64"]);
    let links = links([own, link("storage", &["10.0.0.1/24", "10.9.9.1/30"]), link("cni0", &["10.42.0.1/24"]), down, port]);
    let found: Vec<(String, usize)> =
        networks(&Config::default(), &world.snapshot, &links).into_iter().map(|it| (it.prefix.to_string(), it.nodes)).collect();
    let expected = [("192.168.1.0/24", 3), ("10.0.0.0/24", 0), ("fd00::/64", 3), ("2001:db8::/64", 0)];
    assert_eq!(found, expected.map(|(prefix, nodes)| (prefix.to_owned(), nodes)));
}

#[test]
fn the_lan_is_asked_only_while_a_service_waits_and_no_pool_is_configured() {
    let mut world = World::new(2, Config::default());
    assert_eq!(Inquiry::of(&world.config, &world.snapshot, &n1()), None, "nobody waits");
    world.create("web", |service| service.class = Some("somebody.else/lb".to_owned()));
    assert_eq!(Inquiry::of(&world.config, &world.snapshot, &n1()), None, "it is not ours");
    world.create("web", |_| ());
    let inquiry = Inquiry::of(&world.config, &world.snapshot, &n1()).expect("it waits");
    assert_eq!(inquiry.questions.len(), 36);
    assert!(inquiry.questions.iter().all(|question| question.link.as_str() == "eth0" && question.address.is_ipv4()));
    let pools = config(vec![pool("lan", &["10.0.0.0/28"])]);
    assert_eq!(Inquiry::of(&pools, &world.snapshot, &n1()), None);
    world.create("both", |service| service.families = vec![Family::V4, Family::V6]);
    let inquiry = Inquiry::of(&world.config, &world.snapshot, &n1()).expect("they wait");
    assert!(inquiry.questions.iter().any(|question| question.address.is_ipv6()));
    assert!(!inquiry.is_settled(&Answers::new()));
    assert!(inquiry.is_settled(&silence_but(&inquiry, &["192.168.1.245"])));
    let offers = inquiry.offers(&silence_but(&inquiry, &["192.168.1.245"]));
    let offers: Vec<String> = offers.iter().map(ToString::to_string).collect();
    assert_eq!(offers, ["192.168.1.234-192.168.1.244 on eth0 (192.168.1.0/24)", "fd00::fff0-fd00::fffa on eth0 (fd00::/64)"]);
    assert!(inquiry.offers(&Answers::new()).is_empty(), "what could not be asked for is not offered");
}

#[test]
fn the_advice_carries_the_command_for_a_configmap_that_is_there_or_is_not() {
    let mut world = World::new(1, Config::default());
    world.create("web", |_| ());
    let inquiry = Inquiry::of(&world.config, &world.snapshot, &n1()).unwrap();
    let free = inquiry.offers(&silence_but(&inquiry, &[]));
    let advice = Advice { free, ..Advice::default() };
    assert_eq!(
        advice.to_string(),
        "nobody answers for 192.168.1.240-192.168.1.250 on eth0 (192.168.1.0/24): if your router's DHCP range leaves them out, run: \
         kubectl create configmap lanlord -n lanlord --from-literal addresses=192.168.1.240-192.168.1.250"
    );
    let there = Advice { exists: true, ..advice };
    let patch = r#"run: kubectl patch configmap lanlord -n lanlord --type merge -p '{"data":{"addresses":"192.168.1.240-192.168.1.250"}}'"#;
    assert!(there.to_string().ends_with(patch), "{there}");
    let elsewhere = |origin: &str| {
        let origins = Origins::try_from(vec![origin.parse().unwrap()]).unwrap();
        Advice { origins, exists: false, free: there.free.clone() }.to_string()
    };
    assert!(
        elsewhere("configmap:kube-system/lan")
            .ends_with("run: kubectl create configmap lan -n kube-system --from-literal addresses=192.168.1.240-192.168.1.250")
    );
    assert!(elsewhere("/etc/lanlord").ends_with("leaves them out, write \"addresses: 192.168.1.240-192.168.1.250\" into /etc/lanlord"));
    assert!(
        elsewhere("crds:metallb-system")
            .ends_with("create an IPAddressPool of 192.168.1.240-192.168.1.250 and an L2Advertisement in namespace metallb-system")
    );
    let nothing = Advice::default().to_string();
    assert_eq!(
        nothing,
        "give Lanlord a free range of your network: kubectl create configmap lanlord -n lanlord --from-literal addresses=FIRST-LAST"
    );
}

#[test]
fn a_service_waits_for_the_answer_of_the_lan_and_is_told_once() {
    let mut world = World::new(1, Config::default());
    world.create("web", |_| ());
    let now = |prospect| Now { text: "t1".to_owned(), prospect, ..Now::default() };
    let decide = |world: &World, prospect| {
        let living = world.living();
        decide(&world.config, &world.snapshot, &living, &plan(&world.config, &world.snapshot, &living), &now(prospect))
    };
    assert_eq!(decide(&world, Prospect::NotYet), Decision::default());
    let inquiry = Inquiry::of(&world.config, &world.snapshot, &n1()).unwrap();
    let advice = Advice { free: inquiry.offers(&silence_but(&inquiry, &[])), ..Advice::default() };
    let prospect = Prospect::Known(advice);
    let mut decision = decide(&world, prospect.clone());
    let told = world.carry_out(decision.work.remove(0)).unwrap();
    assert!(
        told[0].starts_with("AllocationFailed: no addresses are configured; nobody answers for 192.168.1.240-192.168.1.250"),
        "{told:?}"
    );
    assert!(world.service("web").condition.as_ref().unwrap().message.contains("--from-literal addresses=192.168.1.240-192.168.1.250"));
    assert_eq!(decide(&world, prospect), Decision::default());
    world.config = config(vec![pool("lan", &["192.168.1.240-192.168.1.250"])]);
    assert_ne!(decide(&world, Prospect::NotYet), Decision::default(), "who has pools waits for nothing");
}
