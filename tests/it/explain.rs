//! `lanlord explain` as a person runs it: a Service in, a row for each node out.

use clap::Parser;
use lanlord::cli::explain::Explain;
use serde_json::Value;

use crate::plan_command::{Outcome, args, expect};

#[derive(Parser)]
#[command(name = "lanlord explain")]
struct Cli {
    #[command(flatten)]
    explain: Explain,
}

pub(crate) fn run(args: &[String]) -> Outcome {
    let words = std::iter::once("lanlord explain".to_owned()).chain(args.iter().cloned());
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli.explain.run_on(&mut std::io::empty(), &mut out, &mut err).unwrap();
    Outcome { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

#[test]
fn each_node_is_told_why_or_why_not() {
    let cases = [
        ("home", "announced", "nginx", "config.yaml", 0),
        ("home", "local-policy", "jellyfin -n media", "config.yaml", 0),
        ("home", "no-ready-pod", "media/navidrome", "config.yaml", 1),
        ("home", "address-in-no-pool", "media/backup --namespace media", "config.yaml", 1),
        ("home", "label-missing", "nginx", "mistaken.yaml", 1),
        ("home", "some-nodes-only", "nginx", "moved.yaml", 0),
        ("home", "another-class", "cloud", "config.yaml", 1),
        ("metallb", "links-not-known", "dns", "config.yaml", 0),
        ("rack", "over-bgp", "web", "config.yaml", 0),
        ("rack", "over-bgp-from-one-node", "mail", "config.yaml", 0),
        ("rack", "both-ways", "printer", "config.yaml", 0),
        ("rack", "over-bgp-no-ready-pod", "batch", "config.yaml", 1),
    ];
    for (case, name, service, config, code) in cases {
        let outcome = run(&args(case, &format!("{service} --config {config} --cluster cluster.json")));
        expect(&format!("explain/{name}.txt"), &outcome.out);
        assert_eq!((outcome.code, outcome.err.as_str()), (code, ""), "{name}");
    }
}

#[test]
fn the_json_form_says_the_same_field_by_field() {
    let outcome = run(&args("home", "nginx --config moved.yaml --cluster cluster.json -o json"));
    expect("explain/some-nodes-only.json", &outcome.out);
    let value: Value = serde_json::from_str(&outcome.out).unwrap();
    let row = &value["nodes"][1];
    assert_eq!((&row["node"], &row["candidate"], &row["eligible"]), (&"pi1".into(), &true.into(), &true.into()));
}

#[test]
fn a_service_that_is_not_there_is_told_with_the_one_that_may_be_meant() {
    let files = "--config config.yaml --cluster cluster.json";
    let table = [
        ("jellyfin", "there is no Service default/jellyfin of type LoadBalancer; did you mean media/jellyfin?"),
        ("kubernetes", "there is no Service default/kubernetes of type LoadBalancer"),
        ("media/jellyfin -n default", "names a namespace, and --namespace another one"),
        ("a/b/c", "neither NAME nor NAMESPACE/NAME"),
    ];
    for (service, expected) in table {
        let outcome = run(&args("home", &format!("{service} {files}")));
        assert_eq!((outcome.code, outcome.out.as_str()), (2, ""), "{service}");
        assert!(outcome.err.starts_with("lanlord: ") && outcome.err.contains(expected), "{}", outcome.err);
    }
}
