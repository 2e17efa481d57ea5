//! `lanlord plan` as a person runs it: a configuration and what kubectl printed in, words and exit code out; and what it says is what
//! the agents' plan says.

use std::collections::BTreeMap;

use clap::Parser;
use lanlord::cli::plan::Plan;
use lanlord::facts::{Service, Snapshot, TrafficPolicy};
use serde_json::{Value, json};

use crate::config::golden;
use crate::kubectl;
use crate::world::{World, config, pool};

#[derive(Parser)]
#[command(name = "lanlord plan")]
struct Cli {
    #[command(flatten)]
    plan: Plan,
}

pub(crate) struct Outcome {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(args: &[&str], input: &str) -> Outcome {
    let cli = Cli::try_parse_from(std::iter::once("lanlord plan").chain(args.iter().copied())).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli.plan.run_on(&mut input.as_bytes(), &mut out, &mut err).unwrap();
    Outcome { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// Words with a dot are files of the case.
pub(crate) fn args(case: &str, words: &str) -> Vec<String> {
    let file = |word: &str| golden().join("plan").join(case).join(word).display().to_string();
    words.split_whitespace().map(|word| if word.contains('.') { file(word) } else { word.to_owned() }).collect()
}

/// Compares with a golden file, or writes it.
pub(crate) fn expect(name: &str, is: &str) {
    let path = golden().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, is).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(is == expected, "{name}\n--- expected\n{expected}--- is\n{is}");
}

#[test]
fn people_read_what_would_be_and_what_to_look_at() {
    let cases = [
        ("home", "as-it-is", "--config config.yaml --cluster cluster.json", 1),
        ("home", "mistaken", "--config mistaken.yaml --cluster cluster.json", 1),
        ("home", "against", "--config moved.yaml --cluster cluster.json --against config.yaml", 1),
        ("home", "drain-pi1", "--config config.yaml --cluster cluster.json --drain pi1", 1),
        ("home", "drain-pi3", "--config config.yaml --cluster cluster.json --drain pi3", 1),
        ("metallb", "before-the-move-to-lanlord", "--config config.yaml --cluster cluster.json", 0),
        ("rack", "over-bgp", "--config config.yaml --cluster cluster.json", 1),
        ("rack", "drain-pi2", "--config config.yaml --cluster cluster.json --drain pi2", 1),
    ];
    for (case, name, words, code) in cases {
        let args = args(case, words);
        let outcome = run(&args.iter().map(String::as_str).collect::<Vec<_>>(), "");
        expect(&format!("plan/{case}/{name}.txt"), &outcome.out);
        assert_eq!((outcome.code, outcome.err.as_str()), (code, ""), "{case} {name}");
    }
}

#[test]
fn the_json_form_says_the_same_field_by_field() {
    let args = args("home", "--config moved.yaml --cluster cluster.json --against config.yaml -o json");
    let outcome = run(&args.iter().map(String::as_str).collect::<Vec<_>>(), "");
    expect("plan/home/against.json", &outcome.out);
    let value: Value = serde_json::from_str(&outcome.out).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&value), ["addresses", "changes", "notes", "peers", "problems", "services"]);
    assert_eq!(keys(&value["services"][0]), ["addresses", "name", "namespace", "pool", "problems"]);
    assert_eq!(keys(&value["addresses"][0]), ["address", "bgp", "candidates", "eligible", "interfaces", "owner", "services"]);
}

#[test]
fn the_json_form_says_what_each_peer_is_told() {
    let args = args("rack", "--config config.yaml --cluster cluster.json -o json");
    let outcome = run(&args.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let peers = &serde_json::from_str::<Value>(&outcome.out).unwrap()["peers"];
    expect("plan/rack/peers.json", &(serde_json::to_string_pretty(peers).unwrap() + "\n"));
    let fields = ["communities", "localPref", "med", "nextHop", "prefix", "prepend"];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (keys(&peers[0]), keys(&peers[0]["routes"][0])),
        (vec!["name".into(), "node".into(), "routes".into()], fields.map(String::from).into())
    );
}

#[test]
fn a_question_that_cannot_be_asked_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (good, bad) = (write("good.yaml", "addresses: 10.0.0.1-9\n"), write("bad.yaml", "adresses: 10.0.0.1\n"));
    let (empty, none) = (write("empty.json", r#"{"kind":"List","apiVersion":"v1","items":[]}"#), write("none.json", r#"{"items": []}"#));
    let broken = write("broken.json", r#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"n1"},"status":{"conditions":3}}"#);
    let table = [
        (vec!["--config", &good, "--cluster", "/missing.json"], "/missing.json cannot be read"),
        (vec!["--config", &good, "--cluster", &none], "holds something that is no Kubernetes object"),
        (vec!["--config", &good, "--cluster", &broken], "Node n1 cannot be read"),
        (vec!["--config", &bad, "--cluster", &empty], "did you mean `addresses`?"),
        (vec!["--cluster", &empty], "say with --config which file"),
        (vec!["--config", "configmap:a/b", "--cluster", &empty], "save the ConfigMap"),
        (vec!["--config", &good, "--cluster", &empty, "--drain", "n9"], "there is no node n9"),
        (vec!["--config", &good, "--cluster", &empty, "--against", &bad], "the configuration is wrong"),
    ];
    for (args, expected) in table {
        let outcome = run(&args, "");
        assert_eq!((outcome.code, outcome.out.as_str()), (2, ""), "{args:?}");
        assert!(outcome.err.starts_with("lanlord: ") && outcome.err.contains(expected), "{}", outcome.err);
    }
    let both = Cli::try_parse_from(["lanlord plan", "--live", "--cluster", &empty]).err().unwrap();
    assert_eq!(both.exit_code(), 2);
}

#[test]
fn what_is_live_needs_no_flag_and_takes_the_one_of_old() {
    for args in [&[][..], &["--live"], &["-o", "json"], &["--config", "new.yaml", "--drain", "pi2"]] {
        let parsed = Cli::try_parse_from(std::iter::once(&"lanlord plan").chain(args)).map(drop);
        assert!(parsed.is_ok(), "{args:?}: {parsed:?}");
    }
}

#[test]
fn several_files_yaml_and_standard_input_are_read_alike() {
    let text = std::fs::read_to_string(golden().join("plan/home/cluster.json")).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = golden().join("plan/home/config.yaml").display().to_string();
    let expected = std::fs::read_to_string(golden().join("plan/home/as-it-is.txt")).unwrap();
    assert_eq!(run(&["--config", &config, "--cluster", "-"], &text).out, expected);
    assert_eq!(run(&["--config", &config, "--cluster", "-"], &serde_yaml::to_string(&whole).unwrap()).out, expected);
    let mut files: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for item in whole["items"].as_array().unwrap() {
        files.entry(item["kind"].as_str().unwrap().to_owned()).or_default().push(item.clone());
    }
    let mut args = vec!["--config".to_owned(), config, "--cluster".to_owned()];
    for (kind, mut items) in files {
        // As `kubectl get --raw` lists them: the items do not say what they are.
        let version = items[0]["apiVersion"].clone();
        for item in &mut items {
            item.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
        }
        let path = dir.path().join(format!("{kind}.json"));
        std::fs::write(&path, json!({"kind": format!("{kind}List"), "apiVersion": version, "items": items}).to_string()).unwrap();
        args.push(path.display().to_string());
    }
    assert_eq!(run(&args.iter().map(String::as_str).collect::<Vec<_>>(), "").out, expected);
}

/// A world by chance: nodes of several kinds, Services of several kinds, settled or half-way.
fn some_world(rng: &mut fastrand::Rng) -> World {
    let mut pools =
        vec![pool("default", &["192.168.1.200-192.168.1.205", "fd00::200-fd00::203"]), pool("media", &["192.168.1.230-192.168.1.231"])];
    pools[1].auto_assign = false;
    if rng.bool() {
        pools.push(pool("elsewhere", &["10.0.0.1-10.0.0.2"]));
    }
    let mut world = World::new(rng.u8(1..5), config(pools));
    let nodes: Vec<String> = world.snapshot.nodes.keys().map(ToString::to_string).collect();
    for node in &nodes {
        world.node(node, |it| {
            it.unschedulable = rng.u8(..5) == 0;
            it.ready = rng.u8(..5) > 0;
            it.excluded = rng.u8(..7) == 0;
            it.out_of_service = rng.u8(..9) == 0;
            it.network_unavailable = rng.u8(..9) == 0;
            if it.excluded {
                it.labels.insert("node.kubernetes.io/exclude-from-external-load-balancers".to_owned(), String::new());
            }
        });
        world.member(node, |it| it.dataplane_unhealthy = rng.u8(..6) == 0);
    }
    for number in 0..rng.u8(1..9) {
        let name = format!("s{number}");
        world.create(&name, |service| some_service(service, rng));
        let with: Vec<&str> = nodes.iter().map(String::as_str).filter(|_| rng.bool()).collect();
        world.endpoints(&name, &with);
        if rng.bool() {
            world.settle();
        }
    }
    if rng.u8(..3) == 0 {
        world.delete("s0");
    }
    if rng.u8(..3) == 0 {
        world.leave(&nodes[0]);
    }
    world
}

fn some_service(service: &mut Service, rng: &mut fastrand::Rng) {
    use lanlord::addr::Family;
    use lanlord::facts::FamilyPolicy;
    match rng.u8(..8) {
        0 => service.load_balancer_ip = Some("192.168.1.204".to_owned()),
        1 => drop(service.annotations.insert("metallb.io/address-pool".to_owned(), "media".to_owned())),
        2 => (service.family_policy, service.families) = (FamilyPolicy::PreferDualStack, vec![Family::V4, Family::V6]),
        3 => service.class = Some("example.com/other".to_owned()),
        4 => service.traffic_policy = TrafficPolicy::Local,
        5 => service.deleting = true,
        _ => {}
    }
}

fn owners(snapshot: &Snapshot, world: &World) -> BTreeMap<String, Value> {
    let plan = lanlord::plan::plan(&world.config, snapshot, &world.living());
    let mut owners = BTreeMap::new();
    for group in plan.groups.values() {
        for address in group.group.claims.keys() {
            let owner = group.owner.as_ref().ok().filter(|owner| owner.links.contains_key(address)).map(|owner| owner.node.to_string());
            let nodes = |eligible: bool| {
                let can = group.candidates.nodes.iter().filter(|(_, it)| it.links.contains_key(address) && (it.eligible || !eligible));
                can.map(|(node, _)| node.to_string()).collect::<Vec<_>>()
            };
            owners.insert(address.to_string(), json!({"owner": owner, "candidates": nodes(false), "eligible": nodes(true)}));
        }
    }
    owners
}

#[test]
fn what_is_printed_is_what_the_agents_plan_for_any_world() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for seed in 0..150 {
        let mut world = some_world(&mut fastrand::Rng::with_seed(seed));
        std::fs::write(path("config.yaml"), crate::config::yaml(&world.config)).unwrap();
        std::fs::write(path("cluster.json"), kubectl::list(&world.snapshot).to_string()).unwrap();
        let outcome = run(&["--config", &path("config.yaml"), "--cluster", &path("cluster.json"), "-o", "json"], "");
        let said: Value = serde_json::from_str(&outcome.out).unwrap_or_else(|_| panic!("seed {seed}: {}", outcome.err));
        world.settle();
        let addresses = said["addresses"].as_array().unwrap().iter().map(|it| {
            let address = it["address"].as_str().unwrap().to_owned();
            (address, json!({"owner": it["owner"], "candidates": it["candidates"], "eligible": it["eligible"]}))
        });
        assert_eq!(addresses.collect::<BTreeMap<_, _>>(), owners(&world.snapshot, &world), "seed {seed}");
        for service in said["services"].as_array().unwrap() {
            let of_world = world.ingress(service["name"].as_str().unwrap());
            assert_eq!(service["addresses"], json!(of_world), "seed {seed}: {service}");
        }
    }
}
