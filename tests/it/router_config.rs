//! `lanlord router-config` as a person runs it, for every kind of router: what is printed is kept in golden files; what FRR and BIRD make
//! of it, the tests of the lab see.

use clap::Parser;
use lanlord::cli::router_config::RouterConfig;

use crate::config::golden;
use crate::kubectl;
use crate::plan_command::{Outcome, expect};
use crate::world::World;

const KINDS: [&str; 10] = ["frr", "bird", "bird3", "routeros", "opnsense", "pfsense", "unifi", "openwrt", "ios-xe", "junos"];

#[derive(Parser)]
#[command(name = "lanlord router-config")]
struct Cli {
    #[command(flatten)]
    verb: RouterConfig,
}

fn run(words: &[&str]) -> Outcome {
    let cli = Cli::try_parse_from(std::iter::once("lanlord router-config").chain(words.iter().copied())).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli.verb.run_on(&mut [].as_slice(), &mut out, &mut err).unwrap();
    Outcome { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn file(name: &str) -> String {
    golden().join("router-config").join(name).display().to_string()
}

/// With the files of the case.
fn ask(case: &str, words: &[&str]) -> Outcome {
    let cluster = if case == "home" { "home/nodes.yaml" } else { "rack/cluster.yaml" };
    run(&[words, &["--config", &file(&format!("{case}/config.yaml")), "--cluster", &file(cluster)]].concat())
}

fn printed(case: &str, words: &[&str]) -> String {
    let outcome = ask(case, words);
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{words:?}");
    outcome.out
}

/// Why there is no answer.
fn refused(case: &str, words: &[&str]) -> String {
    let outcome = ask(case, words);
    assert_eq!((outcome.code, outcome.out.as_str()), (2, ""), "{words:?}");
    outcome.err
}

const TOR: [&str; 4] = ["--peer", "tor.four", "--peer", "tor.six"];

#[test]
fn every_kind_of_router_is_told_in_its_language() {
    for kind in KINDS {
        expect(&format!("router-config/home/{kind}.txt"), &printed("home", &[kind]));
        expect(&format!("router-config/rack/{kind}.txt"), &printed("rack", &[&[kind], &TOR[..]].concat()));
        expect(&format!("router-config/pair/{kind}.txt"), &printed("pair", &[kind, "--peer", "four", "--peer", "six"]));
        expect(&format!("router-config/rack/far-{kind}.txt"), &printed("rack", &[kind, "--peer", "far", "--asn", "AS64999"]));
    }
}

#[test]
fn other_words_for_a_router_mean_the_same() {
    for (word, kind) in [("MikroTik", "routeros"), ("cisco", "ios-xe"), ("BIRD2", "bird"), ("juniper", "junos"), ("udm", "unifi")] {
        assert_eq!(printed("home", &[word]), printed("home", &[kind]), "{word}");
    }
}

#[test]
fn an_unknown_router_gets_the_list_of_those_that_are_known() {
    let err = refused("home", &["fritzbox"]);
    assert!(err.contains("\"fritzbox\" is no kind of router"), "{err}");
    let lines: Vec<&str> = err.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(lines, KINDS);
}

#[test]
fn the_page_about_routers_names_every_kind() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/routers.md")).unwrap();
    let table: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for kind in KINDS {
        assert!(table.iter().any(|line| line.split('|').nth(1).unwrap().contains(&format!("`{kind}`"))), "{kind}");
    }
}

#[test]
fn passwords_are_printed_only_when_asked_for() {
    for kind in KINDS {
        let hidden = printed("rack", &[&[kind], &TOR[..]].concat());
        assert!(!hidden.contains("hunter2") && hidden.contains("THE-PASSWORD"), "{kind}");
        let secret = "kubectl get secret -n lanlord bgp -o go-template='{{index .data \"password\" | base64decode}}'";
        assert!(hidden.contains(secret), "{kind}\n{hidden}");
        assert!(printed("rack", &[kind, "--peer", "tor.six", "--show-passwords"]).contains("hunter2"), "{kind}");
    }
}

#[test]
fn a_password_that_would_be_read_as_something_else_is_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    for password in ["a\\\"b", "a b", "$x", "line\\nneighbor 10.0.0.9 remote-as 1", "tr\u{e4}um"] {
        let peer = format!("{{name: r, peerASN: 64512, peerAddress: 192.168.1.1, password: \"{password}\"}}");
        std::fs::write(&path, format!("asn: 64513\naddresses: 192.168.100.0/24\nbgpPeers: [{peer}]\n")).unwrap();
        for kind in KINDS {
            let outcome = run(&[kind, "--show-passwords", "--config", &path.display().to_string(), "--cluster", &file("home/nodes.yaml")]);
            assert_eq!(outcome.code, 0, "{}", outcome.err);
            assert!(outcome.out.contains("some of its characters mean something here"), "{kind} {password}\n{}", outcome.out);
            assert!(!outcome.out.contains("10.0.0.9"), "{kind}");
        }
    }
}

#[test]
fn what_cannot_be_told_is_refused_with_what_to_do() {
    let table: [(&str, &[&str], &str); 7] = [
        (
            "rack",
            &[],
            "say with --peer which one is meant: tor.four (10.0.0.1), tor.six (fd00::1), far (198.51.100.1), link (fe80::1%eth0)",
        ),
        ("rack", &["--peer", "tor"], "there is no peer tor; there is tor.four (10.0.0.1)"),
        ("rack", &["--peer", "far"], "peer far takes a router of any other AS (dynamicASN: external): say with --asn of which it is"),
        ("rack", &["--peer", "tor.six", "--asn", "64999"], "of AS 64999 by --asn and of AS 64512 by peer tor.six"),
        ("rack", &["--peer", "tor.six", "--peer", "far", "--asn", "64999"], "choose with --peer"),
        ("rack", &["--peer", "link"], "peer link is at a link-local address"),
        ("home", &["--peer", "other"], "there is no peer other; there is router (192.168.1.1)"),
    ];
    for (case, words, expected) in table {
        let err = refused(case, &[&["frr"], words].concat());
        assert!(err.contains(expected), "{words:?}: {err}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let table = [
        ("addresses: 10.9.0.0/24\n", "the configuration has no BGP peer"),
        (
            "asn: 64513\npools: [{name: v6, addresses: ['fd01::/120']}]\nbgpPeers: [{name: r, peerASN: 1, peerAddress: 10.0.0.1}]\n",
            "nothing is announced to r",
        ),
        (
            "asn: 64513\naddresses: 10.9.0.0/24\nbgpPeers: [{name: r, peerASN: 1, peerAddress: 10.0.0.1, nodeSelectors: [{matchLabels: {a: b}}]}]\n",
            "no node speaks with peer r: its nodeSelectors match none",
        ),
        ("asn: 64513\naddresses: fd01::/120\nbgpPeers: [{name: r, peerASN: 1, peerAddress: 'fd00::1'}]\n", "has an IPv6 address"),
    ];
    for (config, expected) in table {
        std::fs::write(&path, config).unwrap();
        let outcome = run(&["frr", "--config", &path.display().to_string(), "--cluster", &file("home/nodes.yaml")]);
        assert_eq!((outcome.code, outcome.out.as_str()), (2, ""), "{config}");
        assert!(outcome.err.contains(expected), "{config}: {}", outcome.err);
    }
}

/// What is printed for a configuration and a world in which agents have left Leases: n1 and n2 are 192.168.1.11 and .12.
fn with_leases(kind: &str, config: &str, edit: impl FnOnce(&mut World)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["config.yaml", "cluster.json"].map(|name| dir.path().join(name));
    std::fs::write(&paths[0], config).unwrap();
    let mut world = World::new(2, crate::world::config(Vec::new()));
    edit(&mut world);
    std::fs::write(&paths[1], kubectl::list(&world.snapshot).to_string()).unwrap();
    let [config, cluster] = paths.map(|path| path.display().to_string());
    let outcome = run(&[kind, "--config", &config, "--cluster", &cluster]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    outcome.out
}

#[test]
fn with_leases_a_session_comes_from_the_address_in_the_routers_network() {
    let peer = "asn: 64513\naddresses: 192.168.100.0/24\nbgpPeers: [{name: r, peerASN: 64512, peerAddress: 192.168.1.1}]\n";
    // Their Node objects name another network.
    let out = with_leases("bird", peer, |world| world.node("n1", |node| node.addresses = vec![crate::world::ip("10.0.0.1")]));
    assert!(out.contains("description \"n1\"; neighbor 192.168.1.11 as 64513;"), "{out}");
    assert!(!out.contains("Node objects"), "{out}");
}

#[test]
fn a_router_is_as_far_away_as_the_nodes_links_show() {
    let config = |peer: &str| {
        let profile = "bfdProfiles: [{name: b}]\n";
        format!("asn: 64513\naddresses: 192.168.100.0/24\n{profile}bgpPeers: [{{name: r, bfdProfile: b, {peer}}}]\n")
    };
    let has = |peer: &str, edit: fn(&mut World), expected: &[&str]| {
        let out = with_leases("bird", &config(peer), edit);
        for text in expected {
            assert!(out.contains(text), "{peer}: {text}\n{out}");
        }
    };
    let same = |_: &mut World| {};
    has("peerASN: 64513, peerAddress: 192.168.1.1", same, &["  direct;", "UDP 3784 (BFD)"]);
    has("peerASN: 64513, peerAddress: 10.9.9.9", same, &["  multihop;", "UDP 4784 (BFD)"]);
    // BFD is of the kind that the link decides, whatever may be.
    has("peerASN: 1, peerAddress: 192.168.1.1, ebgpMultiHop: true", same, &["  direct;", "UDP 3784 (BFD)"]);
    has("peerASN: 1, peerAddress: 10.9.9.9, ebgpMultiHop: true", same, &["  multihop;", "UDP 4784 (BFD)"]);
    has("peerASN: 1, peerAddress: 10.9.9.9, ttlSecurityHops: 3", same, &["  multihop 3;", "  ttl security on;"]);
    has("peerASN: 1, peerAddress: 192.168.1.1, ttlSecurityHops: 3", same, &["  direct;", "  ttl security on;"]);
    // eBGP without a word of hops is on the link, or is not at all.
    has("peerASN: 1, peerAddress: 10.9.9.9", same, &["  direct;", "UDP 3784 (BFD)"]);
    let apart = |world: &mut World| world.member("n2", |member| member.links.clear());
    let both = ["lanlord_r_template {", "lanlord_r_far_template {", "lanlord_r_far_n2 ", "UDP 3784, 4784 (BFD)"];
    has("peerASN: 1, peerAddress: 192.168.1.1, ebgpMultiHop: true", apart, &both);
}
