//! `lanlord check` as a person runs it: arguments in, words and exit code out.
#![allow(clippy::unwrap_used)]

use clap::Parser;
use lanlord::cli::check::Check;

#[derive(Parser)]
#[command(name = "lanlord check")]
struct Cli {
    #[command(flatten)]
    check: Check,
}

struct Outcome {
    code: u8,
    out: String,
    err: String,
}

fn check(args: &[&str], input: &str) -> Outcome {
    let cli = Cli::try_parse_from(std::iter::once("lanlord check").chain(args.iter().copied())).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli.check.run_on(&mut input.as_bytes(), &mut out, &mut err).unwrap();
    Outcome { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

#[test]
fn a_good_configuration_is_summed_up() {
    let outcome = check(&["-"], "addresses: 192.168.1.240-192.168.1.250\n");
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    assert_eq!(outcome.out, "1 pool, 11 addresses: default 192.168.1.240-192.168.1.250 (11)\n");
}

#[test]
fn a_bad_one_says_where_and_what_to_do() {
    let outcome = check(&["-"], "adresses: 192.168.1.240\n");
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    assert!(outcome.err.starts_with("standard input:1:1: unknown field `adresses`"), "{}", outcome.err);
    assert!(outcome.err.contains("did you mean `addresses`?") && outcome.err.ends_with("1 problem\n"), "{}", outcome.err);
}

#[test]
fn the_json_form_holds_everything_in_one_object() {
    let good: serde_json::Value =
        serde_json::from_str(&check(&["--output", "json", "-"], "addresses: 10.0.0.1\nbgpAdvertisements: [{name: wide}]\n").out).unwrap();
    assert_eq!(good["accepted"], true);
    assert_eq!(good["config"]["pools"][0]["addresses"][0], "10.0.0.1");
    assert_eq!(good["notes"][0]["line"], 2);
    assert_eq!(good["hash"].as_str().unwrap().len(), 16);
    let bad = check(&["-o", "json", "-"], "a: 1\nb: 2\n");
    assert_eq!(bad.code, 1);
    let bad: serde_json::Value = serde_json::from_str(&bad.out).unwrap();
    assert_eq!(bad["accepted"], false);
    assert_eq!((&bad["problems"][1]["line"], &bad["problems"][1]["source"]), (&2.into(), &"standard input".into()));
}

#[test]
fn the_yaml_form_can_be_checked_again() {
    let first = check(&["-o", "yaml", "-"], "addresses.media: 10.0.0.1-10.0.0.9\nannounceInterval: 5\n");
    assert_eq!(first.code, 0);
    let second = check(&["-o", "yaml", "-"], &first.out);
    assert_eq!(second.out, first.out);
}

#[test]
fn a_directory_is_one_configuration_in_the_order_of_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("b.yml", "addresses.b: 10.0.0.1\n");
    write("a.yaml", "addresses.a: 10.0.0.2\n");
    write("c.json", r#"{"addresses.c": "10.0.0.3"}"#);
    write("kustomization.yaml", "resources: [a.yaml]\n");
    write(".hidden.yaml", "nonsense\n");
    write("README.md", "nonsense\n");
    let path = dir.path().to_str().unwrap();
    let outcome = check(&[path], "");
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    assert_eq!(outcome.out, "3 pools, 3 addresses: a 10.0.0.2 (1), b 10.0.0.1 (1), c 10.0.0.3 (1)\n");
    let twice = check(&[path, dir.path().join("a.yaml").to_str().unwrap()], "");
    assert_eq!(twice.code, 1);
    assert!(twice.err.contains("a second pool is called `a`, the first is in "), "{}", twice.err);
}

#[test]
fn a_mounted_configmap_is_read_by_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("..2026")).unwrap();
    std::fs::write(dir.path().join("..2026/addresses"), "10.0.0.1-9").unwrap();
    std::os::unix::fs::symlink("..2026", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/addresses", dir.path().join("addresses")).unwrap();
    let outcome = check(&[dir.path().to_str().unwrap()], "");
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "1 pool, 9 addresses: default 10.0.0.1-10.0.0.9 (9)\n"));
}

#[test]
fn what_cannot_be_read_is_another_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let missing = check(&[dir.path().join("missing.yaml").to_str().unwrap()], "");
    assert_eq!(missing.code, 2);
    assert!(missing.err.ends_with("missing.yaml does not exist\n"), "{}", missing.err);
    assert_eq!(check(&[dir.path().to_str().unwrap()], "").code, 2, "a directory without files");
    std::fs::write(dir.path().join("x.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    let binary = check(&[dir.path().to_str().unwrap()], "");
    assert_eq!(binary.code, 2);
    assert!(binary.err.contains("cannot be read") && binary.err.contains("UTF-8"), "{}", binary.err);
}

#[test]
fn the_manifest_of_the_configmap_is_checked_as_kubectl_prints_it() {
    let manifest =
        |text: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: lanlord\n  namespace: lanlord\ndata:\n  {text}\n");
    let good = check(&["-"], &manifest("addresses: 10.0.0.1-9"));
    assert_eq!((good.code, good.out.as_str()), (0, "1 pool, 9 addresses: default 10.0.0.1-10.0.0.9 (9)\n"));
    let bad = check(&["-o", "json", "-"], &manifest("config.yaml: |\n    pools:\n    - nam: x"));
    let answer: serde_json::Value = serde_json::from_str(&bad.out).unwrap();
    let first = &answer["problems"][0];
    assert_eq!((bad.code, &first["source"], &first["line"]), (1, &"standard input".into(), &9.into()), "{answer}");
}

#[test]
fn no_argument_and_a_wrong_one_are_usage_errors() {
    assert_eq!(Cli::try_parse_from(["lanlord check"]).err().unwrap().exit_code(), 2);
    let wrong = Cli::try_parse_from(["lanlord check", "--output", "xml", "-"]).err().unwrap();
    assert_eq!(wrong.exit_code(), 2);
    assert!(wrong.to_string().contains("text, json, yaml"), "{wrong}");
}
