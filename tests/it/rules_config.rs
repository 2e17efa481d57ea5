//! MetalLB's rules of its documents (reference §1, §7.3), what is refused, and how; beside the tests of each kind in `config_*.rs`. And:
//! no message shows a password.

use clap::Parser;
use lanlord::cli::check::Check;
use lanlord::cli::convert::Convert;
use lanlord::config::{Source, parse};

use crate::scenario::{document, l2, pool};

#[derive(Parser)]
enum Cli {
    Check(Check),
    Convert(Convert),
}

/// Exit code, and everything that was printed: results, then messages.
fn run(words: &str, input: &str) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = match Cli::try_parse_from(std::iter::once("lanlord").chain(words.split_whitespace())).unwrap() {
        Cli::Check(check) => check.run_on(&mut input.as_bytes(), &mut out, &mut err).unwrap(),
        Cli::Convert(convert) => convert.run_on(&mut input.as_bytes(), &mut out, &mut err).unwrap(),
    };
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The problems of a text; none if it is accepted.
fn problems(text: &str) -> Vec<String> {
    match parse(&[Source::file("x", text)]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| format!("{}: {}", problem.message, problem.help)).collect(),
    }
}

#[test]
fn duplicates_1_0_in_lists_selectors_expressions_and_values_are_refused() {
    let p = pool("p", "10.0.0.0/24", "");
    let labels = "{matchLabels: {a: b}}";
    let expressed = |values: &str| format!("{{matchExpressions: [{{key: a, operator: In, values: [{values}]}}]}}");
    let twice = |list: &str, item: &str| format!("{list}: [{item}, {item}]");
    let mut table: Vec<(String, &str)> = Vec::new();
    for list in ["namespaceSelectors", "serviceSelectors"] {
        table
            .push((pool("p", "10.0.0.0/24", &format!("serviceAllocation: {{{}}}", twice(list, labels))), "the same selector stands twice"));
    }
    table.push((pool("p", "10.0.0.0/24", "serviceAllocation: {namespaces: [a, a]}"), "`a` stands twice in `namespaces`"));
    for list in ["ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors"] {
        table.push((p.clone() + &l2("l", &twice(list, labels)), "the same selector stands twice"));
        table.push((p.clone() + &document("BGPAdvertisement", "b", &twice(list, labels)), "the same selector stands twice"));
    }
    table.extend([
        (p.clone() + &l2("l", "ipAddressPools: [p, p]"), "`p` stands twice in `ipAddressPools`"),
        (p.clone() + &document("BGPAdvertisement", "b", "peers: [a, a]"), "`a` stands twice in `peers`"),
        (p.clone() + &document("BGPAdvertisement", "b", "communities: ['1:2', '1:2']"), "`1:2` stands twice in `communities`"),
        (p.clone() + &l2("l", &format!("nodeSelectors: [{}, {}]", expressed("x, y"), expressed("y, x"))), "the same selector stands twice"),
        (p.clone() + &l2("l", &format!("nodeSelectors: [{}]", expressed("x, x"))), "`x` stands twice in `values`"),
        (
            p.clone() + &l2("l", "nodeSelectors: [{matchExpressions: [{key: a, operator: Exists}, {key: a, operator: Exists}]}]"),
            "the same expression stands twice in `matchExpressions`",
        ),
        (document("BGPPeer", "r", &format!("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, {}", twice("nodeSelectors", labels))), "twice"),
        (document("Community", "c", "communities: [{name: a, value: '1:2'}, {name: a, value: '1:3'}]"), "a second community is called `a`"),
        (pool("p", "10.0.0.0/24", "") + &pool("p", "10.0.1.0/24", ""), "a second pool is called `p`"),
    ]);
    for (text, expected) in table {
        let problems = problems(&text);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{text}\n{problems:?}");
    }
    assert_eq!(problems(&(p + &l2("l", &format!("nodeSelectors: [{}, {}]", expressed("x"), expressed("y"))))), [""; 0]);
}

#[test]
fn numbers_out_of_range_are_told_with_the_range_to_write() {
    let p = pool("p", "10.0.0.0/24", "");
    let advertisement = |spec: &str| p.clone() + &document("BGPAdvertisement", "b", spec);
    let peer = |spec: &str| document("BGPPeer", "r", &format!("peerAddress: 10.0.0.1, {spec}"));
    let table = [
        (advertisement("aggregationLength: 0"), "write a number from 1 to 32"),
        (advertisement("aggregationLength: 33"), "write a number from 1 to 32"),
        (advertisement("aggregationLengthV6: 129"), "write a number from 1 to 128"),
        (advertisement("localPref: 4294967296"), "write a number from 0 to 4294967295"),
        (peer("myASN: 0, peerASN: 1"), "write a number from 1 to 4294967295"),
        (peer("myASN: 1, peerASN: 4294967296"), "write a number from 0 to 4294967295"),
        (peer("myASN: 1, peerASN: 2, peerPort: 65536"), "write a number from 0 to 65535"),
        (document("BFDProfile", "x", "receiveInterval: 9"), "write a number from 10 to 60000"),
        (document("BFDProfile", "x", "detectMultiplier: 1"), "write a number from 2 to 255"),
        (pool("p", "10.0.0.0/24", "serviceAllocation: {priority: -1}"), "write a number from 0 to 4294967295"),
        (p.clone() + &l2("l", "preferredNodeSelectors: [{weight: 101, preference: {}}]"), "write a number from 1 to 100"),
        (
            p.clone() + &l2("l", "preferredNodeSelectors: [{weight: '5', preference: {}}]"),
            "write `weight: 5`, digits only and without quotes",
        ),
        (p.clone() + &l2("l", "preferredNodeSelectors: [{weight: 1.5, preference: {}}]"), "write digits only, without quotes"),
    ];
    for (text, expected) in table {
        let problems = problems(&text);
        assert!(problems.len() == 1 && problems[0].ends_with(expected), "{text}\n{problems:?}");
    }
    // What MetalLB's schema refuses although it means something (reference §8.3, 24).
    assert_eq!(problems(&(advertisement("localPref: 4294967295") + &peer("myASN: 1, peerASN: 2, peerPort: 50000"))), [""; 0]);
}

#[test]
fn mixed_and_reversed_ranges_1_1_are_refused_and_not_silently_empty() {
    let table = [
        ("10.0.0.1-fd00::1", "mixes IPv4 and IPv6"),
        ("'fd00::1-10.0.0.1'", "mixes IPv4 and IPv6"),
        ("10.0.0.9-10.0.0.1", "runs backwards: swap the two ends: 10.0.0.1-10.0.0.9"),
        ("10.0.0.0/33", "is not a prefix"),
        ("10.0.0.1-", "lacks one end"),
        ("ten", "is not an IP address"),
        ("10.0.0.0/24, 10.0.0.7/32", "overlaps `10.0.0.0/24` in pool `p`"),
    ];
    for (addresses, expected) in table {
        let problems = problems(&pool("p", addresses, ""));
        assert!(problems.len() == 1 && problems[0].contains(expected), "{addresses}\n{problems:?}");
    }
    for addresses in ["' 10.0.0.1 - 10.0.0.9 '", "10.0.0.7/29", "10.0.0.1", "10.0.0.1-9", "10.0.0.1/32, 'fd00::/64'"] {
        assert_eq!(problems(&pool("p", addresses, "")), [""; 0], "{addresses}");
    }
}

#[test]
fn the_old_configmap_is_known_by_its_keys_whatever_it_is_called() {
    for name in ["config", "metallb-config", "lanlord"] {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: metallb-system}}\ndata:\n  config: |\n    \
             address-pools:\n    - {{name: default, protocol: layer2, addresses: [10.0.0.0/24]}}\n"
        );
        let (code, out, err) = run("check -", &text);
        assert_eq!((code, out.as_str()), (0, "1 pool, 256 addresses: default 10.0.0.0-10.0.0.255 (256)\n"), "{err}");
    }
    let text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {config: '{peers: [{my-asn: 1, peer-asn: 2, peer-address: x}]}'}";
    assert_eq!(run("check -", text).0, 1, "peers alone are one as well");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {config: 'a: b'}";
    let (_, out, err) = run("check -", text);
    assert!((out + &err).contains("ConfigMap `other` is skipped"), "somebody else's");
}

/// Wrong, and with a password in it: `hunter2`.
const WITH_PASSWORDS: [&str; 18] = [
    "bgpPeers:\n- name: a\n  myASN: 1\n  pasword: hunter2\n",
    "bgpPeers:\n- name: a\n  passwd: hunter2\n",
    "bgpPeers:\n- name: a\n  password: hunter2\n  password: hunter2\n",
    "bgpPeers:\n- name: a\n  password: [hunter2]\n",
    "bgpPeers:\n- name: a\n  password: {a: hunter2}\n",
    "bgpPeers:\n- name: a\n  password:\n    a: hunter2\n",
    "bgpPeers:\n- name: a\n  password: hunter2: x\n",
    "bgpPeers:\n- name: a\n  password: *hunter2\n",
    "bgpPeers:\n- name: a\n  password: 'hunter2\n",
    "bgpPeers:\n- name: a\n  password: |\n hunter2\n",
    "bgpPeers:\n- name: a\n   password: hunter2\n",
    "bgpPeers:\n- name: a\n  passwordSecret: hunter2\n",
    "bgpPeers:\n- name: a\n  passwordSecret: [hunter2]\n",
    "bgpPeers:\n- {name: a, myASN: 0, password: hunter2, x: 1}\n",
    "bgpPeers: [{\"name\": \"a\", \"password\": \"hun,ter2 hunter2\", \"x\": 1}]\n",
    "peers:\n- {my-asn: 0, peer-asn: 2, password: hunter2, peer-address: x}\n",
    "peers: 10.0.0.1 AS64512 password=hunter2\nasn: 1\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: lanlord}\ndata: {config: 'bgpPeers: [{name: a, password: hunter2, x: 1}]'}\n",
];

#[test]
fn no_message_of_check_and_convert_shows_a_password() {
    for text in WITH_PASSWORDS {
        for words in ["check -", "check -o json -", "check -o yaml -", "convert -", "convert --to metallb -"] {
            let (code, out, err) = run(words, text);
            assert_eq!(code, 1, "{words}\n{text}");
            assert!(!out.contains("hunter2") && !err.contains("hunter2"), "{words}\n{text}\n{out}{err}");
        }
        for problem in &parse(&[Source::file("x", text)]).unwrap_err() {
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
    }
}

#[test]
fn convert_keeps_a_password_and_says_that_a_secret_is_better() {
    let open = "bgpPeers:\n- {name: rack, myASN: 64513, peerASN: 64512, peerAddress: 10.0.0.1, password: hunter2}\n";
    for (words, namespace) in [("convert -", "lanlord"), ("convert --to metallb -", "metallb-system")] {
        let (code, out, _) = run(words, open);
        assert_eq!(code, 0);
        let (comments, result): (Vec<&str>, Vec<&str>) = out.lines().partition(|line| line.starts_with('#'));
        assert!(result.iter().any(|line| line.trim() == "password: hunter2"), "{out}");
        let hint = comments.iter().find(|line| line.contains("passwordSecret")).unwrap_or_else(|| panic!("{out}"));
        assert!(
            hint.contains("peer rack") && hint.contains(&format!("-n {namespace} ")) && !comments.concat().contains("hunter2"),
            "{hint}"
        );
    }
    let secret = open.replace("password: hunter2", "passwordSecret: {name: rack}");
    assert!(!run("convert -", &secret).1.contains("a Secret is better"));
}

#[test]
fn items_of_a_typed_list_are_what_the_list_says_as_the_api_server_prints_them() {
    let text = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPoolList\nmetadata: {resourceVersion: '7'}\nitems:\n\
                - {metadata: {name: one}, spec: {addresses: [192.168.1.240/32]}}\n\
                - {apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: two}, spec: {addresses: [192.168.1.241/32]}}\n";
    let config = parse(&[Source::file("list.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}")).config;
    let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
}
