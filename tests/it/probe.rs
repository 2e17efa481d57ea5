//! What the answers of the LAN mean, and what is said of links: words and exit codes of `lanlord probe` and `lanlord links`.

use lanlord::addr::MacAddr;
use lanlord::cli::links::link_report;
use lanlord::cli::probe::{Expected, Seen, meaning};
use lanlord::config::Config;
use lanlord::facts::{Link, Medium, NodeName, Role};

use crate::world::{config, ip, pool};

fn seen(nodes: &[&str], strangers: u8) -> Seen {
    let strangers = (0..strangers).map(|last| MacAddr([0x3c, 0x22, 0xfb, 0, 0, last])).collect();
    Seen { nodes: nodes.iter().map(|node| NodeName::new(node)).collect(), strangers }
}

#[test]
fn each_answer_is_judged_by_who_should_give_it() {
    let owner = || Expected::Owner("n2".into(), "default/web".to_owned());
    let silence = || Expected::Silence("default/web".to_owned(), "the Service has no endpoints".to_owned());
    let free = || Expected::Free("lan".to_owned());
    let node = || Expected::Node("n2".into());
    let over_bgp = || Expected::OverBgp("default/web".to_owned());
    for (expected, seen, well, words) in [
        (owner(), seen(&["n2"], 0), true, "n2 answers, which announces it for default/web"),
        (owner(), seen(&[], 0), false, "nobody answers, but n2 should"),
        (owner(), seen(&["n3"], 0), false, "n3 answers, but n2 should"),
        (owner(), seen(&["n2", "n3"], 0), false, "n3 answers beside n2"),
        (owner(), seen(&["n2"], 1), false, "another machine (3c:22:fb:00:00:00) uses it"),
        (silence(), seen(&[], 0), false, "not announced on layer 2: the Service has no endpoints"),
        (silence(), seen(&["n3"], 0), false, "n3 answers, but nobody should"),
        (silence(), seen(&[], 1), false, "another machine"),
        (free(), seen(&[], 0), true, "in pool lan, and no Service has it"),
        (free(), seen(&[], 1), false, "although it is in pool lan"),
        (free(), seen(&["n3"], 0), false, "no Service has it"),
        (Expected::Unknown, seen(&[], 0), true, "seems free, or its machine is off"),
        (Expected::Unknown, seen(&[], 1), true, "no part of this cluster"),
        (Expected::Unknown, seen(&[], 2), false, "several machines"),
        (node(), seen(&["n2"], 0), true, "the address of node n2"),
        (node(), seen(&[], 0), false, "nobody answers"),
        (node(), seen(&["n2"], 1), false, "uses the address of node n2"),
        (node(), seen(&["n2", "n3"], 0), false, "the address of node n2 is answered for by n2 and n3"),
        (over_bgp(), seen(&[], 0), true, "nobody should"),
        (over_bgp(), seen(&["n3"], 0), false, "announced over BGP for default/web"),
        (over_bgp(), seen(&[], 1), false, "another machine"),
        (Expected::Gateway, seen(&[], 1), true, "the gateway"),
        (Expected::Gateway, seen(&[], 2), false, "2 machines"),
    ] {
        let meaning = meaning(ip("192.168.1.240"), &expected, &seen, Some(&"n1".into()));
        assert!(meaning.means.contains(words), "{expected:?} {seen:?}: {}", meaning.means);
        assert_eq!((meaning.well, meaning.action.is_none()), (well, well), "{expected:?} {seen:?}: what is not well has a remedy");
    }
}

#[test]
fn the_node_that_announces_an_address_does_not_expect_to_hear_itself() {
    let owner = Expected::Owner("n2".into(), "default/web".to_owned());
    let from_n2 = |seen| meaning(ip("192.168.1.240"), &owner, &seen, Some(&"n2".into()));
    assert!(from_n2(seen(&[], 0)).well && from_n2(seen(&[], 0)).means.contains("ask from another node"));
    let both = from_n2(seen(&["n3"], 0));
    assert!(!both.well && both.means.contains("n3 answers beside n2") && both.action.unwrap().contains("strictARP"));
}

#[test]
fn each_link_says_what_is_announced_there_or_why_nothing_is() {
    let link = |name: &str, role, up, addresses: &[&str]| Link {
        index: 2,
        name: name.into(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        up,
        role,
        medium: Medium::Wired,
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
    };
    let config: Config = config(vec![pool("lan", &["192.168.1.240-192.168.2.10", "fd00::1-fd00::9"])]);
    let report = |link: Link| link_report(&config, &link);
    let eth0 = report(link("eth0", Role::Own, true, &["192.168.1.11/24", "fe80::11/64"]));
    assert_eq!(
        (eth0.used, eth0.addresses, eth0.pool_addresses),
        (true, vec!["192.168.1.11/24".to_owned()], vec!["192.168.1.240-192.168.1.255".to_owned()])
    );
    for (link, words) in [
        (link("lo", Role::NoArp, true, &["127.0.0.1/8"]), "cannot do ARP"),
        (link("veth1", Role::Port, true, &[]), "port of a bridge"),
        (link("eth1", Role::Own, false, &["10.0.0.1/24"]), "no carrier"),
        (link("eth2", Role::Own, true, &[]), "has no network"),
        (link("cni0", Role::Own, true, &["10.42.0.1/24"]), "excludeInterfaces"),
    ] {
        let report = report(link);
        assert!(!report.used && report.why_not.as_ref().unwrap().contains(words), "{report:?}");
    }
}
