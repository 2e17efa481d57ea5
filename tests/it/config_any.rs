//! What must hold for any configuration text: what is printed reads back as the same, two doors lead to the same, and no text, however
//! broken, makes a reader panic or takes more than a bounded time and memory.
//!
//! `LANLORD_MUTATIONS=100000 cargo test --test it config_any` is the long form.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::config::{accepted, cases, one, yaml};

/// Any valid configuration, in the words of native YAML.
struct Any {
    random: fastrand::Rng,
}

impl Any {
    fn chance(&mut self) -> bool {
        self.random.u8(0..3) == 0
    }

    fn some(&mut self, from: &[String]) -> Vec<String> {
        let mut chosen = from.to_vec();
        self.random.shuffle(&mut chosen);
        chosen.truncate(self.random.usize(1..=from.len().clamp(1, 3)));
        chosen
    }

    fn word(&mut self) -> String {
        let words = ["a", "b-1", "true", "012", "1e3", "null", "x.y", "Zone", "~", "yes"];
        // `~` is no label.
        words[self.random.usize(..words.len())].replace('~', "z")
    }

    fn selector(&mut self) -> Value {
        let mut selector = Map::new();
        if self.chance() {
            selector.insert("matchLabels".into(), json!({self.word(): self.word(), "example.org/zone": self.word()}));
        }
        let mut expressions = Vec::new();
        for number in 0..self.random.usize(0..3) {
            let operator = ["In", "NotIn", "Exists", "DoesNotExist"][self.random.usize(..4)];
            let mut expression = json!({"key": format!("{}.{number}", self.word()), "operator": operator});
            if operator.ends_with("In") {
                expression["values"] = json!([self.word(), ""]);
            }
            expressions.push(expression);
        }
        selector.insert("matchExpressions".into(), json!(expressions));
        Value::Object(selector)
    }

    fn maybe(&mut self, entry: &mut Value, field: &str, value: impl FnOnce(&mut Self) -> Value) {
        if self.chance() {
            let value = value(self);
            entry[field] = value;
        }
    }

    fn selectors(&mut self, entry: &mut Value, field: &str) {
        self.maybe(entry, field, |any| json!([any.selector(), {"matchLabels": {"only": "here"}}]));
    }

    fn pool(&mut self, n: usize) -> Value {
        let mut addresses = vec![format!("10.{n}.0.0/24")];
        if self.random.bool() {
            let first = self.random.u8(..);
            addresses.push(format!("10.{n}.1.{first}-10.{n}.{}.7", self.random.u8(3..9)));
            addresses.push(format!("fd00:{n}::/{}", self.random.u8(64..=128)));
        }
        self.random.shuffle(&mut addresses);
        let mut pool = json!({"name": format!("pool-{n}"), "addresses": addresses});
        self.maybe(&mut pool, "autoAssign", |any| json!(any.random.bool()));
        self.maybe(&mut pool, "avoidBuggyIPs", |any| json!(any.random.bool()));
        self.maybe(&mut pool, "shareAcrossNamespaces", |any| json!(any.random.bool()));
        self.maybe(&mut pool, "labels", |any| json!({any.word(): any.word()}));
        self.maybe(&mut pool, "serviceAllocation", |any| {
            let mut allocation = json!({"priority": any.random.u8(0..3)});
            any.maybe(&mut allocation, "namespaces", |_| json!(["media", "default"]));
            any.selectors(&mut allocation, "namespaceSelectors");
            any.selectors(&mut allocation, "serviceSelectors");
            allocation
        });
        pool
    }

    fn peer(&mut self, n: usize, profiles: &[String]) -> Value {
        let mut peer = json!({"name": format!("peer-{n}"), "myASN": self.random.u32(1..)});
        let internal = match self.random.u8(0..3) {
            0 => (peer["dynamicASN"] = json!("internal"), true).1,
            1 => (peer["dynamicASN"] = json!("external"), false).1,
            _ => (peer["peerASN"] = json!(peer["myASN"].as_u64().unwrap() / 2 + 1), true).1,
        };
        match self.random.u8(0..3) {
            0 => peer["peerAddress"] = json!(format!("192.168.1.{n}")),
            1 => peer["peerAddress"] = json!(format!("fd00::{n}")),
            _ => (peer["peerAddress"], peer["interface"]) = (json!(format!("fe80::{n}")), json!("eth0")),
        }
        self.maybe(&mut peer, "localASN", |any| json!(any.random.u32(1..)));
        self.maybe(&mut peer, "peerPort", |any| json!(any.random.u16(..)));
        self.maybe(&mut peer, "holdTime", |any| json!(format!("{}s", any.random.u16(3..))));
        if peer.get("holdTime").is_none() {
            self.maybe(&mut peer, "keepaliveTime", |any| json!(format!("{}m{}s", any.random.u8(1..200), any.random.u8(..60))));
        }
        self.maybe(&mut peer, "connectTime", |any| json!(format!("{}s", any.random.u16(1..))));
        self.maybe(&mut peer, "routerID", |any| json!(format!("{}.0.2.1", any.random.u8(1..))));
        self.selectors(&mut peer, "nodeSelectors");
        if self.random.bool() {
            self.maybe(&mut peer, "password", |any| json!(format!("{}\"' #{{: ü", any.word())));
        } else {
            self.maybe(&mut peer, "passwordSecret", |any| json!({"name": any.word()}));
        }
        if !profiles.is_empty() {
            self.maybe(&mut peer, "bfdProfile", |any| json!(any.random.choice(profiles).unwrap()));
        }
        if !internal {
            self.maybe(&mut peer, "ebgpMultiHop", |any| json!(any.random.bool()));
        }
        if peer.get("ebgpMultiHop") != Some(&json!(true)) {
            self.maybe(&mut peer, "ttlSecurityHops", |any| json!(any.random.u8(1..255)));
        }
        self.maybe(&mut peer, "vrf", |_| json!("red"));
        for flag in ["enableGracefulRestart", "disableMP", "dualStackAddressFamily"] {
            self.maybe(&mut peer, flag, |any| json!(any.random.bool()));
        }
        peer
    }

    fn advertisement(&mut self, n: usize, pools: &[String]) -> Value {
        let mut advertisement = json!({"name": format!("ad-{n}")});
        self.maybe(&mut advertisement, "ipAddressPools", |any| json!(any.some(pools)));
        self.selectors(&mut advertisement, "nodeSelectors");
        self.selectors(&mut advertisement, "serviceSelectors");
        advertisement
    }

    fn configuration(&mut self) -> Value {
        let named = |what: &str, count: usize| (0..count).map(|n| format!("{what}-{n}")).collect::<Vec<_>>();
        let pools = named("pool", self.random.usize(1..5));
        let profiles = named("profile", self.random.usize(0..3));
        let aliases = named("alias", self.random.usize(0..3));
        let peers = named("peer", self.random.usize(0..4));
        let (local_pref, prepend) = (self.random.u32(..), self.random.u8(0..=10));
        let bgp: Vec<Value> = (0..self.random.usize(0..4))
            .map(|n| {
                let mut entry = self.advertisement(n, &pools);
                (entry["localPref"], entry["asPathPrepend"]) = (json!(local_pref), json!(prepend));
                if entry.get("serviceSelectors").is_none() {
                    self.maybe(&mut entry, "aggregationLength", |any| json!(any.random.u8(24..=32)));
                }
                let mut communities =
                    vec!["no-export".to_owned(), format!("{}:7", self.random.u16(..)), format!("large:{}:0:1", self.random.u32(..))];
                communities.extend(aliases.iter().cloned());
                self.maybe(&mut entry, "communities", |any| json!(any.some(&communities)));
                self.maybe(&mut entry, "peers", |any| json!(any.some(&[peers.clone(), vec!["nobody".to_owned()]].concat())));
                entry
            })
            .collect();
        let l2: Vec<Value> = (0..self.random.usize(0..4))
            .map(|n| {
                let mut entry = self.advertisement(n, &pools);
                self.maybe(&mut entry, "interfaces", |_| json!(["eth1", "bond0"]));
                self.maybe(
                    &mut entry,
                    "preferredNodeSelectors",
                    |any| json!([{"weight": any.random.u8(1..=100), "preference": any.selector()}]),
                );
                entry
            })
            .collect();
        json!({
            "pools": (0..pools.len()).map(|n| self.pool(n)).collect::<Vec<_>>(),
            "l2Advertisements": l2,
            "bgpAdvertisements": bgp,
            "bgpPeers": (0..peers.len()).map(|n| self.peer(n, &profiles)).collect::<Vec<_>>(),
            "bfdProfiles": profiles.iter().map(|name| json!({
                "name": name, "receiveInterval": self.random.u16(10..60_000), "detectMultiplier": self.random.u8(2..),
                "passiveMode": self.random.bool(), "minimumTtl": self.random.u8(1..255)
            })).collect::<Vec<_>>(),
            "communities": aliases.iter().map(|name| json!({"name": name, "value": format!("{}:{}", self.random.u16(..), self.random.u16(..))})).collect::<Vec<_>>(),
        })
    }
}

/// The same as MetalLB's documents, in a `kind: List`.
fn documents(native: &Value) -> Value {
    let kinds = [
        ("pools", "IPAddressPool", "v1beta1"),
        ("l2Advertisements", "L2Advertisement", "v1beta1"),
        ("bgpAdvertisements", "BGPAdvertisement", "v1beta1"),
        ("bgpPeers", "BGPPeer", "v1beta2"),
        ("bfdProfiles", "BFDProfile", "v1beta1"),
        ("communities", "Community", "v1beta1"),
    ];
    let object = |kind: &str, version: &str, entry: &Value| {
        let mut spec = entry.clone();
        let fields = spec.as_object_mut().unwrap();
        let (name, labels) = (fields.remove("name"), fields.remove("labels"));
        if kind == "Community" {
            spec = json!({"communities": [entry]});
        }
        json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec})
    };
    let items: Vec<Value> = kinds
        .iter()
        .flat_map(|(list, kind, version)| native[list].as_array().unwrap().iter().map(move |entry| object(kind, version, entry)))
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_configuration_is_the_same_after_it_was_printed_and_read_again(seed: u64) {
        let native = Any { random: fastrand::Rng::with_seed(seed) }.configuration();
        let config = accepted(&native.to_string());
        let printed = yaml(&config);
        let again = accepted(&printed);
        prop_assert_eq!(&again, &config, "{}\n{}", native, printed);
        prop_assert_eq!(yaml(&again), printed);
    }

    #[test]
    fn metallbs_documents_mean_the_same_as_native_yaml_with_the_same_fields(seed: u64) {
        let mut native = Any { random: fastrand::Rng::with_seed(seed) }.configuration();
        // Without any advertisement the two differ: see the rule in `resolve.rs`. So they do in what MetalLB allows without a word.
        native["l2Advertisements"] = json!([{"name": "all"}]);
        for pool in native["pools"].as_array_mut().unwrap() {
            pool.as_object_mut().unwrap().entry("shareAcrossNamespaces").or_insert(json!(true));
        }
        let list = documents(&native).to_string();
        let several = documents(&native)["items"].as_array().unwrap().iter().map(|item| format!("---\n{item}\n")).collect::<String>();
        let config = accepted(&native.to_string());
        prop_assert_eq!(&accepted(&list), &config, "{}", list);
        prop_assert_eq!(&accepted(&several), &config);
    }
}

const PIECES: [&str; 37] = [
    "\t",
    "- ",
    ": ",
    "\n",
    "---\n",
    "|",
    ">",
    "&a ",
    "*a",
    "<<: *a",
    "[",
    "}",
    "\"",
    "'",
    "#",
    "\u{feff}",
    "é",
    "–",
    "\0",
    "-",
    "/",
    "999999999999",
    "::",
    "null",
    "!!int ",
    "AS",
    ":",
    "0.0.0.0",
    "fe80::1",
    "1h",
    "large:",
    "0s",
    "65535",
    ",",
    "true",
    "name: ",
    "kind: List\n",
];

/// Far above what any of these texts needs, on a busy machine and without optimization.
const LONGEST: Duration = Duration::from_secs(10);
/// Of the process that reads them all; it starts with about 10 MiB.
const MOST_KIB: u64 = 128 << 10;

/// A process of its own, so that memory can be told from that of other tests.
#[test]
fn no_text_makes_a_reader_panic_or_take_much_time_or_memory() {
    const CHILD: &str = "LANLORD_MUTATING";
    if std::env::var_os(CHILD).is_some() {
        return mutate();
    }
    let name = "config_any::no_text_makes_a_reader_panic_or_take_much_time_or_memory";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child ran no test");
}

fn mutate() {
    let count = std::env::var("LANLORD_MUTATIONS").map_or(5000, |count| count.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(7);
    let (bombs, seeds): (Vec<_>, Vec<_>) = cases().into_iter().partition(|(name, _)| name == "broken-alias-bomb");
    let mut seeds: Vec<String> = seeds.into_iter().map(|(_, input)| input).collect();
    seeds.extend((0..5).map(|seed| documents(&Any { random: fastrand::Rng::with_seed(seed) }.configuration()).to_string()));
    for n in 0..count {
        // A bomb takes long to refuse, compared with the others.
        let seed = if n % 500 == 0 { &bombs[0].1 } else { random.choice(&seeds).unwrap() };
        let mut text: Vec<char> = seed.chars().collect();
        for _ in 0..random.usize(1..5) {
            let at = random.usize(0..=text.len());
            let end = (at + random.usize(0..6)).min(text.len());
            let piece = if random.bool() { random.choice(PIECES).unwrap() } else { "" };
            text.splice(at..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        #[expect(clippy::disallowed_methods, reason = "this measures how long the reader takes")]
        let start = Instant::now();
        match one(&text) {
            Ok(accepted) => assert_eq!(accepted.config.hash.len(), 16),
            Err(problems) => {
                assert!(!problems.is_empty() && !problems.rendered().is_empty());
                for problem in &problems {
                    let (line, lines) = (problem.place.line as usize, text.split(['\n', '\r']).count());
                    assert!((1..=lines + 1).contains(&line) && problem.place.column > 0, "{problem}\n{text}");
                }
            }
        }
        assert!(start.elapsed() < LONGEST, "{:?} for\n{text}", start.elapsed());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MOST_KIB, "{peak} KiB");
}
