//! Configuration, from text to [`Config`]: what people get to read (golden files) and what must hold for any text.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it config` writes the expected files anew; read the difference aloud before committing it.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use lanlord::config::texts::Texts;
use lanlord::config::{Accepted, Config, Problems, Source, effective, parse};

/// The keys of a ConfigMap as one configuration.
pub(crate) fn keys(called: &str, data: &[(&str, &str)]) -> Result<Accepted, Problems> {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    Texts::Keys(called.to_owned(), data).parse()
}

pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn cases() -> Vec<(String, String)> {
    let mut cases: Vec<(String, String)> = std::fs::read_dir(golden().join("config"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path().join("input.yaml")).unwrap())
        })
        .collect();
    cases.sort();
    cases
}

pub(crate) fn one(text: &str) -> Result<Accepted, Problems> {
    parse(&[Source::file("input.yaml", text)])
}

pub(crate) fn accepted(text: &str) -> Config {
    one(text).unwrap_or_else(|problems| panic!("{problems}")).config
}

pub(crate) fn rejected(text: &str) -> Problems {
    one(text).unwrap_err()
}

pub(crate) fn yaml(config: &Config) -> String {
    serde_yaml::to_string(&effective(config)).unwrap()
}

fn outcome(text: &str) -> String {
    match one(text) {
        Ok(accepted) => {
            let mut out = format!("{}\n", accepted.summary);
            for note in &accepted.notes {
                writeln!(out, "note: {note}").unwrap();
            }
            format!("{out}\n{}", yaml(&accepted.config))
        }
        Err(problems) => problems.rendered(),
    }
}

#[test]
fn every_golden_configuration_says_what_is_expected() {
    let mut wrong = Vec::new();
    for (name, input) in cases() {
        let expected = golden().join("config").join(&name).join("expected.txt");
        let outcome = outcome(&input);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &outcome).unwrap();
        }
        assert_eq!(one(&input).is_err(), name.starts_with("broken-"), "{name}: {outcome}");
        let expected = std::fs::read_to_string(expected).unwrap_or_default();
        if outcome != expected {
            wrong.push(format!("=== {name}\n--- expected\n{expected}--- is\n{outcome}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_broken_configurations_enough() {
    assert!(cases().iter().filter(|(name, _)| name.starts_with("broken-")).count() >= 12);
}

#[test]
fn every_problem_points_into_the_text_and_says_what_to_do() {
    for (name, input) in cases() {
        let Err(problems) = one(&input) else { continue };
        for problem in &problems {
            let line = input.lines().nth(problem.place.line as usize - 1).unwrap_or_else(|| panic!("{name}: {problem}"));
            assert!(problem.place.column as usize <= line.chars().count() + 1, "{name}: {problem}");
            assert!(!problem.message.is_empty() && !problem.help.is_empty(), "{name}: {problem}");
            assert!(!problem.to_string().contains('\n'), "{name}: {problem}");
        }
    }
}

#[test]
fn what_is_printed_as_effective_reads_back_as_the_same_configuration() {
    let mut seen = 0;
    for (name, input) in cases() {
        let Ok(first) = one(&input) else { continue };
        let again = accepted(&yaml(&first.config));
        assert_eq!(again.pools, first.config.pools, "{name}");
        assert_eq!(again.settings, first.config.settings, "{name}");
        assert_eq!(again.hash, first.config.hash, "{name}");
        assert_eq!(yaml(&again), yaml(&first.config), "{name}");
        seen += 1;
    }
    assert!(seen >= 8);
}

#[test]
fn nothing_at_all_is_a_healthy_configuration() {
    for accepted in [parse(&[]), one(""), one("---\n# nothing\n---\n"), keys("ConfigMap lanlord/lanlord", &[])] {
        let accepted = accepted.unwrap();
        assert!(accepted.config.pools.is_empty());
        assert!(accepted.notes.is_empty());
        assert_eq!(accepted.summary, "no pools, so no address can be assigned");
    }
}

#[test]
fn one_line_is_a_working_load_balancer() {
    let config = accepted("addresses: 192.168.1.240-192.168.1.250\n");
    assert_eq!(config.pools.len(), 1);
    assert_eq!(config.pools[0].name.as_str(), "default");
    assert_eq!(config.pools[0].addresses.len(), 11);
    assert!(config.pools[0].auto_assign && !config.pools[0].avoid_buggy_ips && config.pools[0].allocation.is_none());
    assert_eq!(config.l2_advertisements.len(), 1);
    assert!(config.l2_advertisements[0].name.is_none());
    assert!(config.l2_advertisements[0].pools.contains(&config.pools[0].name));
}

#[test]
fn every_way_of_writing_addresses_means_the_same() {
    let hash = |text: &str| accepted(text).hash;
    let expected = hash("addresses: 192.168.1.240-192.168.1.250, 10.0.0.7\n");
    for text in [
        "addresses: 192.168.1.240-250 10.0.0.7",
        "addresses: 192.168.1.240 - 192.168.1.250,10.0.0.7",
        "addresses: 192.168.1.240 -250;10.0.0.7/32",
        "addresses: 192.168.1.240– 250, 10.0.0.7",
        "addresses: |\n  # the house\n  - 192.168.1.240-250 # here\n  - 10.0.0.7-7\n",
        "addresses: |\n\n\n  192.168.1.240-.250\n\n  10.0.0.7",
        "pools: [{name: default, addresses: ['192.168.1.240-192.168.1.250 ', 10.0.0.7]}]",
        "pools: [{name: default, addresses: '192.168.1.240-192.168.1.250, 10.0.0.7'}]",
        "addresses:\n- 192.168.1.240-192.168.1.250\n- 10.0.0.7\n",
    ] {
        assert_eq!(hash(text), expected, "{text}");
    }
}

#[test]
fn a_configmap_of_the_api_and_its_manifest_mean_the_same_and_problems_name_the_key() {
    let with = |config: &str| {
        let data = [("addresses", "192.168.1.240-250"), ("addresses.media", "192.168.1.230"), ("config.yaml", config)];
        keys("ConfigMap lanlord/lanlord", &data)
    };
    let live = with("announceInterval: 5\n").unwrap();
    let manifest = accepted(
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: lanlord}\ndata:\n  config.yaml: 'announceInterval: 5'\n  addresses.media: 192.168.1.230\n  addresses: 192.168.1.240-250\n",
    );
    assert_eq!(live.config, manifest);
    assert_eq!(live.config.pools[0].name.as_str(), "default");

    let problems = with("\npools:\n- name: x\n  addresses:\n  - 192.168.1.240-x\n- name: media\n").unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(lines[0].starts_with("ConfigMap lanlord/lanlord, key config.yaml, line 5, column 5: `x` is not an IP address"), "{lines:?}");
    assert!(
        lines[1].starts_with("ConfigMap lanlord/lanlord, key config.yaml, line 6, column 9: a second pool is called `media`"),
        "{lines:?}"
    );
    assert!(lines[1].contains("the first is in ConfigMap lanlord/lanlord, key addresses.media, line 1, column 1"), "{lines:?}");
    let key = keys("ConfigMap lanlord/lanlord", &[("address", "192.168.1.240")]).unwrap_err();
    assert!(key.to_string().ends_with("did you mean `addresses`?"), "{key}");
}

#[test]
fn positions_in_a_manifest_are_those_of_the_file_whatever_the_style_of_the_text() {
    let place = |style: &str, text: &str| {
        let input = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: lanlord}}\ndata:\n  config.yaml: {style}{text}");
        let problems = rejected(&input);
        let place = &problems.iter().next().unwrap().place;
        (place.line, place.column)
    };
    assert_eq!(place("|", "\n    pools: []\n    adresses: x\n"), (7, 5));
    assert_eq!(place("|2-", "\n\n\n     pools: []\n     adresses: x\n"), (9, 6));
    assert_eq!(place("|", "\r\n    pools: []\r\n    adresses: x\r\n"), (7, 5));
    assert_eq!(place("", "{pools: [], adresses: x}\n"), (5, 16), "a mapping is no text: told at its start");
    assert_eq!(place("", "'{pools: [], adresses: x}'\n"), (5, 29));
    assert_eq!(place("", "\"pools: []\\nadresses: x\"\n"), (5, 16), "where lines cannot be told apart: the start of the text");
    assert_eq!(place(">", "\n    pools: []\n\n    adresses: x\n").0, 6);
    let documents = "    pools: []\n    ---\n    # second\n    pools: []\n    adresses: x\n";
    assert_eq!(place("|", &format!("\n{documents}")), (10, 5));
}

#[test]
fn pools_for_some_services_come_first_by_priority_then_the_others_as_written() {
    let pool = |name: &str, n: u8, allocation: &str| format!("- {{name: {name}, addresses: [10.0.0.{n}], {allocation}}}\n");
    let text = format!(
        "pools:\n{}{}{}{}{}",
        pool("plain", 1, "autoAssign: true"),
        pool("zero", 2, "serviceAllocation: {priority: 0, namespaces: [a]}"),
        pool("second", 3, "serviceAllocation: {priority: 2}"),
        pool("first", 4, "serviceAllocation: {priority: 1}"),
        pool("also-plain", 5, "autoAssign: false"),
    );
    let config = accepted(&text);
    let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "zero", "plain", "also-plain"]);
    assert_eq!(config.pools[2].allocation.as_ref().unwrap().priority, None);
}

#[test]
fn a_pool_without_advertisement_is_announced_unless_metallb_documents_mean_otherwise() {
    let document =
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: document}\nspec: {addresses: [10.0.0.1/32]}\n---\n";
    let advertisement =
        |name: &str| format!("l2Advertisements: [{{ipAddressPools: [{name}]}}]\npools: [{{name: own, addresses: [10.0.0.2]}}]\n");
    let announced = |text: &str| -> Vec<String> {
        let config = accepted(text);
        config.l2_advertisements.iter().flat_map(|l2| l2.pools.iter().map(ToString::to_string)).collect()
    };
    assert_eq!(announced(document), ["document"]);
    assert_eq!(announced(&format!("{document}{}", advertisement("document"))), ["document", "own"]);
    assert_eq!(announced(&format!("{document}{}", advertisement("own"))), ["own"]);
    let over_bgp = "bgpAdvertisements: [{name: wide}]\npools: [{name: own, addresses: [10.0.0.2]}]\n";
    assert!(announced(over_bgp).is_empty());
    assert!(one(over_bgp).unwrap().notes.iter().any(|note| note.message.contains("has no peer to announce to")));
}

#[test]
fn the_hash_is_one_of_meaning() {
    let hash = |text: &str| accepted(text).hash;
    let base = hash(
        "pools: [{name: a, addresses: [10.0.0.0/30]}]\nl2Advertisements: [{name: x, interfaces: [eth0]}, {name: y, interfaces: [eth1]}]\n",
    );
    assert_eq!(base.len(), 16);
    assert_eq!(base, "6172aaef65c0f756", "agents of different builds must agree");
    assert_eq!(
        base,
        hash(
            "l2Advertisements:\n- interfaces: [eth1]\n- {name: z, interfaces: [eth0], description: other}\npools:\n- {addresses: [10.0.0.0-10.0.0.3], name: a, autoAssign: true}\n"
        )
    );
    let changed = hash("pools: [{name: a, addresses: [10.0.0.0/30]}]\nl2Advertisements: [{name: x, interfaces: [eth0]}]\n");
    assert_ne!(base, changed);
}

#[test]
fn problems_of_all_sources_come_at_once_in_their_order() {
    let problems =
        parse(&[Source::file("b.yaml", "x: 1\ny: 2\n"), Source::file("a.yaml", "a: [\n"), Source::file("c.yaml", "z: 1\n")]).unwrap_err();
    let places: Vec<String> = problems.iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(&places[..2], ["b.yaml:1:1", "b.yaml:2:1"]);
    assert!(places[2].starts_with("a.yaml:"), "{places:?}");
    assert_eq!(places[3], "c.yaml:1:1");
}

#[test]
fn texts_made_to_exhaust_are_refused_in_bounded_time() {
    let deep = format!("pools: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("pools:\n{}", "- {name: a, addresses: [10.0.0.1]}\n".repeat(50_000));
    let huge = format!("addresses: {}", "10.0.0.1 ".repeat(400_000));
    let ranges = format!(
        "addresses: {}",
        (0..20_000).map(|n| format!("10.{}.{}.{}", n / 60_000, n / 250 % 250, n % 250)).collect::<Vec<_>>().join(",")
    );
    let advertisements = format!("pools: [{{name: a, addresses: [10.0.0.1]}}]\nbgpAdvertisements:\n{}", "- {}\n".repeat(20_000));
    let dangling: String = (0..10_000).map(|n| format!("- {{name: a{n}, addresses: [10.{}.{}.1]}}\n", n / 250, n % 250)).collect();
    let names: String = (0..10_000).map(|n| format!("b{n}, ")).collect();
    let dangling = format!("pools:\n{dangling}l2Advertisements: [{{ipAddressPools: [{names}]}}]\n");
    let nested = (0..8).fold("x: 1\n".to_owned(), |text, _| {
        let inner: String = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: lanlord}}\ndata:\n  config.yaml: |\n{inner}")
    });
    for text in [
        deep,
        "- ".repeat(100_000),
        "{a: ".repeat(100_000),
        long,
        huge,
        ranges,
        advertisements,
        dangling,
        nested,
        "---\n".repeat(200_000),
        "\u{0}".repeat(1000),
    ] {
        let start = text.chars().take(40).collect::<String>();
        let (done, waiting) = mpsc::channel();
        std::thread::spawn(move || done.send(one(&text).is_err()));
        let refused = waiting.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|error| panic!("{start}: {error}"));
        assert!(refused || start.starts_with("---"), "{start}");
    }
}
