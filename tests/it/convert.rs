//! `lanlord convert`: what comes out means what went in, and what could not be kept is told.

use std::path::PathBuf;

use clap::Parser;
use lanlord::cli::convert::{Convert, Form, converted};
use lanlord::config::{Accepted, Config, PeerPassword, Settings, Source, parse};

use crate::config::{cases, golden, one};
use crate::plan_command::expect;

#[derive(Parser)]
#[command(name = "lanlord convert")]
struct Cli {
    #[command(flatten)]
    convert: Convert,
}

fn run(args: &[&str], input: &str) -> (u8, String, String) {
    let cli = Cli::try_parse_from(std::iter::once("lanlord convert").chain(args.iter().copied())).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli.convert.run_on(&mut input.as_bytes(), &mut out, &mut err).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// Every good configuration among the golden files and the guides.
fn good() -> Vec<(String, Accepted)> {
    let mut texts = cases();
    let mut guides: Vec<PathBuf> = std::fs::read_dir(golden().join("guides")).unwrap().map(|entry| entry.unwrap().path()).collect();
    guides.sort();
    texts.extend(guides.iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())));
    let good: Vec<_> = texts.into_iter().filter_map(|(name, text)| Some((name, one(&text).ok()?))).collect();
    assert!(good.len() > 20);
    good
}

fn read(name: &str, text: &str) -> Config {
    parse(&[Source::file("converted", text)]).unwrap_or_else(|problems| panic!("{name}: {}\n{text}", problems.rendered())).config
}

#[test]
fn native_yaml_means_the_same_and_is_converted_into_itself() {
    for (name, accepted) in good() {
        let text = converted(&accepted, Form::Native).unwrap();
        let again = parse(&[Source::file("converted", text.as_str())]).unwrap_or_else(|problems| panic!("{name}: {}", problems.rendered()));
        assert_eq!(again.config.hash, accepted.config.hash, "{name}\n{text}");
        let plain = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert_eq!(plain(&converted(&again, Form::Native).unwrap()), plain(&text), "{name}");
    }
}

/// As far as MetalLB's documents can say it.
fn sayable(mut config: Config) -> Config {
    config.settings = Settings::default();
    config.hash.clear();
    config.l2_advertisements.retain(|it| !it.pools.is_empty());
    config.bgp.advertisements.retain(|it| !it.pools.is_empty());
    for pool in &mut config.pools {
        pool.share_across_namespaces = true;
    }
    for advertisement in &mut config.l2_advertisements {
        advertisement.name = None;
    }
    for advertisement in &mut config.bgp.advertisements {
        advertisement.name = None;
    }
    for peer in &mut config.bgp.peers {
        peer.ttl_security_hops = None;
        if let Some(PeerPassword::Secret { key, .. }) = &mut peer.password {
            "password".clone_into(key);
        }
    }
    config
}

#[test]
fn metallb_documents_mean_the_same_as_far_as_they_can_say_it() {
    for (name, accepted) in good() {
        let text = converted(&accepted, Form::Metallb).unwrap();
        if text.contains("# no advertisement is written") {
            continue;
        }
        assert_eq!(sayable(read(&name, &text)), sayable(accepted.config.clone()), "{name}\n{text}");
    }
}

#[test]
fn people_read_the_result_and_what_could_not_be_kept() {
    for name in
        ["good-metallb-with-loose-ends", "good-old-configmap-in-full", "good-kube-vip", "good-one-line", "good-native", "good-native-bgp"]
    {
        let input = std::fs::read_to_string(golden().join("config").join(name).join("input.yaml")).unwrap();
        for to in ["native", "metallb"] {
            let (code, out, err) = run(&["--to", to, "-"], &input);
            assert_eq!((code, err.as_str()), (0, ""), "{name}");
            expect(&format!("convert/{}.{to}.yaml", name.trim_start_matches("good-")), &out);
        }
    }
}

#[test]
fn a_wrong_configuration_is_not_converted() {
    let (code, out, err) = run(&["-"], "adresses: 10.0.0.1\n");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("did you mean `addresses`?") && err.ends_with("nothing is converted: correct the configuration first\n"), "{err}");
    let (code, _, err) = run(&["/missing.yaml"], "");
    assert_eq!((code, err.as_str()), (2, "error: /missing.yaml does not exist\n"));
}
