//! `lanlord convert`: any form of configuration → native YAML, or MetalLB's documents for the way back.
//!
//! The text is read as the agents read it and written from what it means, without what is the default anyway. What the other form
//! cannot say stands above it in comments.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_yaml::{Mapping, Value};

use super::answer::{PROBLEMS, UNASKED, WELL, exit};
use super::files::read_configuration;
use super::yaml::yaml;
use crate::config::{Accepted, BgpPeer, Config, PeerPassword, Source, effective, parse};

/// Write any form of configuration as native YAML, or as MetalLB's documents for the way back
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Nothing has to be converted for Lanlord: it reads all these forms as they are. What the other form cannot say is told in comments \
above the result. Comments, descriptions and the namespaces of the source are not kept.

Exit codes: 0 converted, 1 the configuration is wrong, 2 wrong arguments or nothing to read.

Examples:
  kubectl get ipaddresspools,l2advertisements -n metallb-system -o yaml | lanlord convert -
  kubectl get configmap -n metallb-system config -o yaml | lanlord convert -
  lanlord convert --to metallb lanlord.yaml > metallb.yaml")]
pub struct Convert {
    /// Files and directories, which are one configuration together; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The form to write
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Form::Native)]
    to: Form,
}

/// A form of configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Form {
    /// Lanlord's own YAML: a file, or the key config.yaml of its ConfigMap
    #[default]
    Native,
    /// MetalLB's documents (metallb.io), for kubectl apply
    Metallb,
}

impl Convert {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdin(), &mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        match read_configuration(&self.files, input) {
            Err(message) => {
                writeln!(err, "error: {message}")?;
                Ok(UNASKED)
            }
            Ok(Err(problems)) => {
                writeln!(err, "{}", problems.rendered())?;
                writeln!(err, "nothing is converted: correct the configuration first")?;
                Ok(PROBLEMS)
            }
            Ok(Ok(accepted)) => {
                write!(out, "{}", converted(&accepted, self.to).map_err(io::Error::other)?)?;
                Ok(WELL)
            }
        }
    }
}

/// The configuration in that form, with comments above.
///
/// # Errors
/// When YAML cannot hold it, which it can.
pub fn converted(accepted: &Accepted, to: Form) -> Result<String, serde_yaml::Error> {
    let mut comments: Vec<String> = accepted.notes.iter().map(ToString::to_string).collect();
    comments.extend(accepted.config.bgp.peers.iter().filter_map(|peer| open_password(peer, to)));
    let whole = concise(&accepted.config)?;
    let body = match to {
        Form::Native => native(&accepted.config, whole),
        Form::Metallb => documents(whole, &mut comments).iter().map(yaml).collect::<Vec<_>>().join("---\n"),
    };
    let comments: String = comments.iter().map(|comment| format!("# {}\n", comment.replace('\n', " "))).collect();
    Ok(comments + &body)
}

/// Where a better place for the password of `peer` is, if it is written out.
fn open_password(peer: &BgpPeer, to: Form) -> Option<String> {
    let Some(PeerPassword::Text(_)) = peer.password else { return None };
    let namespace = match to {
        Form::Native => "lanlord",
        Form::Metallb => "metallb-system",
    };
    let name = &peer.name;
    Some(format!(
        "peer {name}: its `password` stands below for everybody to read; a Secret is better: kubectl create secret generic bgp-{name} -n {namespace} \
         --type kubernetes.io/basic-auth --from-literal password=…, and here `passwordSecret: {{name: bgp-{name}}}` instead"
    ))
}

/// Lists of things that have names, in the order in which people write them.
const LISTS: [&str; 6] = ["pools", "l2Advertisements", "bgpPeers", "bgpAdvertisements", "bfdProfiles", "communities"];

/// The configuration in native words without what is the default; what is implied is written out.
fn concise(config: &Config) -> Result<Mapping, serde_yaml::Error> {
    let (mut whole, usual) =
        (mapping(serde_yaml::to_value(effective(config))?), mapping(serde_yaml::to_value(effective(&Config::default()))?));
    whole.retain(|key, value| usual.get(key) != Some(value));
    for list in LISTS {
        for entry in entries(&mut whole, list) {
            entry.retain(|key, value| !is_default(list, key.as_str().unwrap_or_default(), value));
            let text = |value: Option<&Value>| value.and_then(Value::as_str).and_then(|time| time.strip_suffix('s')?.parse::<u64>().ok());
            let [hold, keepalive] = ["holdTime", "keepaliveTime"].map(|name| text(entry.get(name)));
            if hold.is_some() && keepalive == hold.map(|hold| hold / 3) {
                entry.retain(|key, _| key.as_str() != Some("keepaliveTime") && !(hold == Some(90) && key.as_str() == Some("holdTime")));
            }
            if let Some(Value::Mapping(allocation)) = entry.get_mut("serviceAllocation") {
                allocation.retain(|key, value| !(key.as_str() == Some("priority") && value.as_u64() == Some(0)));
            }
        }
    }
    Ok(whole)
}

fn is_default(list: &str, key: &str, value: &Value) -> bool {
    let (flag, number) = (value.as_bool(), value.as_u64());
    match (list, key) {
        ("pools", "autoAssign" | "announce") => flag == Some(true),
        ("bgpPeers", "peerPort") => number == Some(179),
        ("bgpAdvertisements", "aggregationLength") => number == Some(32),
        ("bgpAdvertisements", "aggregationLengthV6") => number == Some(128),
        ("bgpAdvertisements", "asPathPrepend") => number == Some(0),
        ("bfdProfiles", "receiveInterval" | "transmitInterval") => number == Some(300),
        ("bfdProfiles", "detectMultiplier") => number == Some(3),
        ("bfdProfiles", "minimumTtl") => number == Some(254),
        ("pools" | "bgpPeers" | "bfdProfiles", _) => flag == Some(false) && key != "announce",
        (_, _) => false,
    }
}

fn mapping(value: Value) -> Mapping {
    if let Value::Mapping(mapping) = value { mapping } else { Mapping::new() }
}

fn entries<'m>(whole: &'m mut Mapping, list: &str) -> impl Iterator<Item = &'m mut Mapping> + use<'m> {
    let list = whole.get_mut(list).and_then(Value::as_sequence_mut);
    list.into_iter().flatten().filter_map(Value::as_mapping_mut)
}

/// Takes out `announce` where an advertisement says it.
fn drop_announce(whole: &mut Mapping) {
    let routes = whole.get("bgpAdvertisements").and_then(Value::as_sequence).into_iter().flatten();
    let pools = routes.filter_map(|it| it.get("ipAddressPools")?.as_sequence()).flatten().filter_map(Value::as_str);
    let advertised: BTreeSet<String> = pools.map(str::to_owned).collect();
    for pool in entries(whole, "pools") {
        let reached = pool.get("name").and_then(Value::as_str).is_some_and(|name| advertised.contains(name));
        pool.retain(|key, _| !(reached && key.as_str() == Some("announce")));
    }
}

/// Without the advertisements that native YAML may imply: they say nothing but pools.
fn without_implied(whole: &Mapping) -> Mapping {
    let mut brief = whole.clone();
    let says_only_pools = |entry: &Value| entry.as_mapping().is_some_and(|entry| entry.len() == 1 && entry.contains_key("ipAddressPools"));
    for list in ["l2Advertisements", "bgpAdvertisements"] {
        if let Some(entries) = brief.get_mut(list).and_then(Value::as_sequence_mut) {
            entries.retain(|entry| !says_only_pools(entry));
        }
    }
    brief.retain(|_, value| value.as_sequence().is_none_or(|list| !list.is_empty()));
    brief
}

/// As native YAML, the shorter way if it means the same.
fn native(config: &Config, mut whole: Mapping) -> String {
    drop_announce(&mut whole);
    let brief = yaml(&without_implied(&whole));
    let same = parse(&[Source::file("brief", brief.as_str())]).is_ok_and(|accepted| accepted.config.hash == config.hash);
    if same { brief } else { yaml(&whole) }
}

/// Kind and version of the entries of each list.
const KINDS: [(&str, &str, &str); 6] = [
    ("pools", "IPAddressPool", "metallb.io/v1beta1"),
    ("l2Advertisements", "L2Advertisement", "metallb.io/v1beta1"),
    ("bgpPeers", "BGPPeer", "metallb.io/v1beta2"),
    ("bgpAdvertisements", "BGPAdvertisement", "metallb.io/v1beta1"),
    ("bfdProfiles", "BFDProfile", "metallb.io/v1beta1"),
    ("communities", "Community", "metallb.io/v1beta1"),
];

/// As MetalLB's documents; what they cannot say goes into `comments`.
fn documents(mut whole: Mapping, comments: &mut Vec<String>) -> Vec<Mapping> {
    let settings = whole.keys().filter_map(Value::as_str).filter(|key| !KINDS.iter().any(|(list, ..)| list == key));
    comments.extend(settings.map(|key| format!("`{key}` is not kept: MetalLB has no such setting")));
    let advertised = ["l2Advertisements", "bgpAdvertisements"].iter().any(|list| entries(&mut whole, list).next().is_some());
    if !advertised && entries(&mut whole, "pools").next().is_some() {
        comments.push(
            "no advertisement is written: MetalLB announces nothing then, and Lanlord, reading this, would announce every pool".to_owned(),
        );
    }
    let mut documents = Vec::new();
    for (list, kind, version) in KINDS {
        let mut names: BTreeSet<String> =
            entries(&mut whole, list).filter_map(|entry| Some(entry.get("name")?.as_str()?.to_owned())).collect();
        if list == "communities" && !names.is_empty() {
            // One document holds all aliases.
            let mut spec = Mapping::new();
            spec.insert(list.into(), whole.get(list).cloned().unwrap_or_default());
            documents.push(document(kind, version, "communities", None, spec));
            continue;
        }
        for entry in entries(&mut whole, list) {
            let mut entry = entry.clone();
            let name = entry.shift_remove("name").and_then(|name| Some(name.as_str()?.to_owned()));
            let name = name.unwrap_or_else(|| unused(&mut names, &kind.to_lowercase()));
            if name.chars().any(|c| c.is_ascii_uppercase() || c == '_') {
                comments.push(format!(
                    "{kind} {name}: Kubernetes allows no such name for an object; write it in small letters, wherever it stands"
                ));
            }
            let labels = entry.shift_remove("labels");
            entry.shift_remove("announce");
            // With MetalLB, Services of all namespaces share, and there is nothing to say about it.
            entry.shift_remove("shareAcrossNamespaces");
            if entry.contains_key("preferredNodeSelectors") {
                comments.push(format!("{kind} {name}: `preferredNodeSelectors` needs a MetalLB later than 0.16"));
            }
            if entry.shift_remove("ttlSecurityHops").is_some() {
                comments.push(format!("{kind} {name}: `ttlSecurityHops` is not kept: MetalLB has no TTL security"));
            }
            if let Some(Value::Mapping(secret)) = entry.get_mut("passwordSecret")
                && let Some(key) = secret.shift_remove("key").filter(|key| key.as_str() != Some("password"))
            {
                let key = key.as_str().unwrap_or_default();
                comments.push(format!("{kind} {name}: key {key} of its Secret is not kept: MetalLB reads the key `password`"));
            }
            documents.push(document(kind, version, &name, labels, entry));
        }
    }
    documents
}

fn unused(names: &mut BTreeSet<String>, of: &str) -> String {
    let name = (1..).map(|number| format!("{of}{number}")).find(|name| !names.contains(name)).expect("numbers do not end");
    names.insert(name.clone());
    name
}

fn document(kind: &str, version: &str, name: &str, labels: Option<Value>, spec: Mapping) -> Mapping {
    let mut metadata: Mapping =
        [("name", name), ("namespace", "metallb-system")].map(|(key, value)| (key.into(), value.into())).into_iter().collect();
    metadata.extend(labels.map(|labels| ("labels".into(), labels)));
    let head = [("apiVersion", Value::from(version)), ("kind", kind.into()), ("metadata", metadata.into()), ("spec", spec.into())];
    head.map(|(key, value)| (key.into(), value)).into_iter().collect()
}
