//! Custom resources as pieces of one configuration: each is judged by itself, and what is wrong with one costs no other.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lanlord::api::memory::Memory;
use lanlord::config::Config;
use lanlord::config::objects::{Gathered, gather};
use lanlord::config::task::{Outlet, Report, run_configmap, run_objects};
use lanlord::config::texts::Texts;
use lanlord::facts::{ConfigMapSeen, ConfigMapText, Object, ObjectKey, Objects, ObjectsSeen, Subject, Uid};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine; a test waits this long only when it fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// An object in namespace `lanlord`, created at this second.
fn object(kind: &str, name: &str, created: u8, spec: &Value) -> (ObjectKey, Arc<Object>) {
    let key = ObjectKey::new(kind, "lanlord", name);
    let text = json!({"apiVersion": key.api_version(), "kind": kind, "metadata": {"name": name, "namespace": "lanlord"}, "spec": spec});
    let created = format!("2026-01-01T00:00:{created:02}Z");
    let object = Object { uid: Uid(format!("uid-{name}").into()), created, text: format!("{text:#}"), counters: None };
    (key, Arc::new(object))
}

fn pool(name: &str, created: u8, range: &str) -> (ObjectKey, Arc<Object>) {
    object("IPAddressPool", name, created, &json!({"addresses": [range]}))
}

fn keys(data: &[(&str, &str)]) -> Texts {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    Texts::Keys("ConfigMap lanlord/lanlord".to_owned(), data)
}

fn alone(objects: &Objects) -> Gathered {
    gather(&Texts::Absent, objects, &Objects::new()).unwrap()
}

fn pools(gathered: &Gathered) -> Vec<&str> {
    gathered.accepted.config.pools.iter().map(|pool| pool.name.as_str()).collect()
}

#[track_caller]
fn assert_rejected(gathered: &Gathered, expected: &[(&str, &str)]) {
    let rejected: Vec<(String, String)> =
        gathered.rejected.iter().map(|(key, problems)| (key.name.clone(), problems.to_string())).collect();
    assert_eq!(rejected.len(), expected.len(), "{rejected:?}");
    for ((name, text), (wanted, words)) in rejected.iter().zip(expected) {
        assert!(name == wanted && text.contains(words), "{name}: {text}");
    }
}

#[test]
fn objects_and_a_configmap_are_one_configuration() {
    let objects = Objects::from([
        pool("second", 1, "10.0.1.1-10.0.1.9"),
        pool("first", 2, "10.0.2.1-10.0.2.9"),
        object("L2Advertisement", "l2", 3, &json!({"ipAddressPools": ["first", "default"]})),
        object("BFDProfile", "fast", 4, &json!({"receiveInterval": 100})),
        object("BGPPeer", "router", 5, &json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1", "bfdProfile": "fast"})),
        object("Community", "names", 6, &json!({"communities": [{"name": "mine", "value": "64512:1"}]})),
        object("BGPAdvertisement", "bgp", 7, &json!({"ipAddressPools": ["second"], "communities": ["mine"]})),
    ]);
    let gathered = gather(&keys(&[("addresses", "10.0.0.1-9"), ("onCordon", "stay")]), &objects, &Objects::new()).unwrap();
    assert_rejected(&gathered, &[]);
    assert_eq!(pools(&gathered), ["default", "first", "second"], "those of the ConfigMap, then by name as MetalLB sorts them");
    assert_eq!(gathered.accepted.config.bgp.peers.len(), 1);
    assert_eq!(gathered.used, objects);
}

#[test]
fn a_broken_object_is_left_out_and_told_without_lines_nobody_can_see() {
    let objects = Objects::from([
        pool("good", 1, "10.0.1.1-10.0.1.9"),
        pool("bad", 2, "10.0.2.300"),
        object("IPAddressPool", "odd", 3, &json!({"adresses": ["10.0.3.1-10.0.3.9"]})),
        object("BGPPeer", "peer", 4, &json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1", "bfdProfile": "none"})),
    ]);
    let gathered = alone(&objects);
    assert_eq!(pools(&gathered), ["good"]);
    assert_rejected(&gathered, &[("peer", "none"), ("bad", "10.0.2.300"), ("odd", "did you mean `addresses`?")]);
    let text = gathered.rejected[&ObjectKey::new("IPAddressPool", "lanlord", "bad")].to_string();
    assert!(text.starts_with("IPAddressPool lanlord/bad: `10.0.2.300` is"), "{text}");
}

#[test]
fn an_edit_that_breaks_an_object_leaves_its_last_good_version_in_force() {
    let before = Objects::from([pool("a", 1, "10.0.1.1-10.0.1.9"), pool("b", 2, "10.0.2.1-10.0.2.9")]);
    let now = Objects::from([pool("a", 1, "10.0.1.1-x"), pool("b", 2, "10.0.2.1-10.0.2.5")]);
    let gathered = gather(&Texts::Absent, &now, &before).unwrap();
    assert_rejected(&gathered, &[("a", "`x` is not")]);
    let sizes: Vec<u128> = gathered.accepted.config.pools.iter().map(|pool| pool.addresses.len()).collect();
    assert_eq!(sizes, [9, 5], "the other edit takes effect");
    // It stays through further edits, and until the object goes.
    let gathered = gather(&Texts::Absent, &now, &gathered.used).unwrap();
    assert_eq!(pools(&gathered), ["a", "b"]);
    let without = now.into_iter().filter(|(key, _)| key.name != "a").collect();
    assert_eq!(pools(&gather(&Texts::Absent, &without, &gathered.used).unwrap()), ["b"]);
}

#[test]
fn of_two_that_contradict_each_other_what_is_in_force_stays_then_the_older_one() {
    let (old, new) = (pool("z", 1, "10.0.1.1-10.0.1.9"), pool("a", 2, "10.0.1.5-10.0.1.20"));
    let both = Objects::from([old.clone(), new.clone()]);
    let gathered = alone(&both);
    assert_eq!(pools(&gathered), ["z"]);
    assert_rejected(&gathered, &[("a", "overlaps")]);
    let gathered = gather(&Texts::Absent, &both, &Objects::from([new])).unwrap();
    assert_eq!(pools(&gathered), ["a"]);
    assert_rejected(&gathered, &[("z", "overlaps")]);
    // A ConfigMap comes first.
    let gathered = gather(&keys(&[("addresses", "10.0.1.9")]), &both, &both).unwrap();
    assert_eq!(pools(&gathered), ["default"], "both hold 10.0.1.9");
    assert_rejected(&gathered, &[("a", "ConfigMap lanlord/lanlord"), ("z", "ConfigMap lanlord/lanlord")]);
    // Only who contradicts what is used is left out: the third overlaps the second, which is not used.
    let three = Objects::from([pool("a", 1, "10.0.1.1-10.0.1.5"), pool("b", 2, "10.0.1.5-10.0.1.9"), pool("c", 3, "10.0.1.9-10.0.1.20")]);
    assert_eq!(pools(&alone(&three)), ["a", "c"]);
}

#[test]
fn two_namespaces_cannot_have_a_pool_of_one_name() {
    let (key, first) = pool("pool", 1, "10.0.1.1-10.0.1.9");
    let (_, second) = pool("pool", 2, "10.0.2.1-10.0.2.9");
    let other = ObjectKey::new("IPAddressPool", "metallb-system", "pool");
    let gathered = alone(&Objects::from([(key, first), (other.clone(), second)]));
    assert_eq!(gathered.rejected.keys().collect::<Vec<_>>(), [&other]);
    assert!(gathered.rejected[&other].to_string().contains("the first is in IPAddressPool lanlord/pool"), "{}", gathered.rejected[&other]);
}

#[test]
fn an_advertisement_that_is_left_out_does_not_make_everything_announced_everywhere() {
    let broken = json!({"nodeSelectors": [{"matchLabels": 7}]});
    let objects = Objects::from([pool("pool", 1, "10.0.1.1-10.0.1.9"), object("L2Advertisement", "l2", 2, &broken)]);
    let gathered = alone(&objects);
    assert_eq!(gathered.rejected.len(), 1);
    assert!(gathered.accepted.config.l2_advertisements.is_empty());
}

#[test]
fn many_that_contradict_each_other_take_bounded_time() {
    let all: Objects = (0..400_u16).map(|n| pool(&format!("p{n:03}"), 1, "10.0.1.1-10.0.1.9")).collect();
    let gathered = alone(&all);
    assert_eq!((pools(&gathered), gathered.rejected.len()), (vec!["p000"], 399));
}

#[test]
fn what_is_wrong_with_the_configmap_is_not_blamed_on_objects() {
    let objects = Objects::from([pool("a", 1, "10.0.1.1-10.0.1.9")]);
    let problems = gather(&keys(&[("addresses", "10.0.0.9-1")]), &objects, &Objects::new()).unwrap_err();
    assert!(problems.to_string().starts_with("ConfigMap lanlord/lanlord, key addresses"), "{problems}");
}

struct Followed {
    config: watch::Receiver<Option<Arc<Config>>>,
    reports: mpsc::UnboundedReceiver<Report>,
    objects: watch::Sender<ObjectsSeen>,
    config_map: watch::Sender<ConfigMapSeen>,
}

/// `beside`: a ConfigMap is a source too.
fn follow(beside: bool) -> Followed {
    follow_with(beside, None)
}

fn follow_with(beside: bool, memory: Option<Memory>) -> Followed {
    let (config, seen) = watch::channel(None);
    let (reports, reported) = mpsc::unbounded_channel();
    let (objects, watched) = watch::channel(ObjectsSeen::NotYet);
    let (config_map, text) = watch::channel(ConfigMapSeen::NotYet);
    let (outlet, cancel) = (Outlet { config, reports, memory }, CancellationToken::new());
    tokio::spawn(async move {
        if beside {
            run_configmap("lanlord", "lanlord", text, Some(watched), outlet, cancel).await
        } else {
            run_objects("crds:lanlord".to_owned(), watched, outlet, cancel).await
        }
    });
    Followed { config: seen, reports: reported, objects, config_map }
}

impl Followed {
    fn objects<const N: usize>(&self, objects: [(ObjectKey, Arc<Object>); N]) {
        self.objects.send_replace(ObjectsSeen::Present(Arc::new(objects.into())));
    }

    fn text(&self, text: &str) {
        let data = BTreeMap::from([("addresses".to_owned(), text.to_owned())]);
        self.config_map.send_replace(ConfigMapSeen::Present(ConfigMapText { uid: Uid("u".into()), data }));
    }

    async fn report(&mut self) -> Report {
        timeout(DEADLINE, self.reports.recv()).await.expect("a report in time").unwrap()
    }

    async fn pools(&mut self, wanted: &[&str]) {
        let names = |config: &Config| config.pools.iter().map(|pool| pool.name.as_str().to_owned()).collect::<Vec<_>>();
        let waited = self.config.wait_for(|config| config.as_deref().is_some_and(|config| names(config) == wanted));
        timeout(DEADLINE, waited).await.expect("the configuration in time").unwrap();
    }
}

#[tokio::test]
async fn every_edit_of_an_object_is_told_on_itself() {
    let mut followed = follow(false);
    followed.objects([pool("a", 1, "10.0.1.1-10.0.1.9"), pool("b", 2, "x")]);
    followed.pools(&["a"]).await;
    let first = followed.report().await;
    assert_eq!((first.source.as_str(), first.subject, first.problems), ("crds:lanlord", None, 1));
    let report = followed.report().await;
    assert_eq!((report.source.as_str(), report.kept), ("IPAddressPool lanlord/b", false));
    assert_eq!(report.subject, Some(Subject::Object(ObjectKey::new("IPAddressPool", "lanlord", "b"), Uid("uid-b".into()))));
    assert!(report.outcome.is_err());

    followed.objects([pool("a", 1, "10.0.1.1-y"), pool("b", 2, "10.0.2.1-10.0.2.9")]);
    followed.pools(&["a", "b"]).await;
    let (a, b) = (followed.report().await, followed.report().await);
    assert!(a.source.ends_with("/a") && a.outcome.is_err() && a.kept && a.problems == 1);
    assert!(b.first.as_ref().unwrap().contains("/a"), "of the other one, which still is wrong: {:?}", b.first);
    assert!(b.source.ends_with("/b") && b.outcome.unwrap().summary.starts_with("2 pools, 18 addresses"));

    followed.objects([]);
    followed.pools(&[]).await;
    assert_eq!(followed.report().await.source, "IPAddressPool lanlord/a, deleted");
}

#[tokio::test]
async fn nothing_is_in_force_before_both_sources_were_seen_and_a_broken_configmap_holds_up_no_object() {
    let mut followed = follow(true);
    followed.text("10.0.0.1");
    tokio::task::yield_now().await;
    assert!(followed.config.borrow().is_none(), "half a configuration would take addresses away");
    followed.objects([pool("a", 1, "10.0.1.1-10.0.1.9")]);
    followed.pools(&["default", "a"]).await;
    assert!(followed.report().await.outcome.is_ok());

    followed.text("10.0.0.9-1");
    let report = followed.report().await;
    assert!(report.outcome.is_err() && report.kept);
    followed.objects([pool("a", 1, "10.0.1.1-10.0.1.9"), pool("b", 2, "10.0.2.1-10.0.2.9")]);
    followed.pools(&["default", "a", "b"]).await;
    assert_eq!(followed.report().await.problems, 1);
    followed.config_map.send_replace(ConfigMapSeen::Absent);
    let gone = followed.report().await;
    assert!(matches!(gone.subject, Some(Subject::ConfigMap(..))) && gone.gone, "an Event says so");
    assert!(gone.outcome.unwrap_err().to_string().contains("it is gone"));
    followed.objects([]);
    followed.pools(&["default"]).await;
}

#[tokio::test]
async fn an_agent_that_starts_anew_and_finds_broken_what_was_good_keeps_the_last_good_version_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let memory = |node: &str| Some(Memory::open(directory.path(), &node.into()).unwrap());
    let good = pool("a", 1, "10.0.1.1-10.0.1.9");
    let mut before = follow_with(true, memory("n1"));
    before.text("10.0.0.1-10.0.0.5");
    before.objects([good.clone(), pool("gone", 2, "10.0.2.1-10.0.2.9")]);
    before.pools(&["default", "a", "gone"]).await;
    before.report().await;
    drop(before);

    let mut again = follow_with(true, memory("n1"));
    again.text("10.0.0.5-1");
    again.objects([pool("a", 1, "10.0.1.1-x"), pool("never", 3, "y")]);
    again.pools(&["default", "a"]).await;
    let sizes: Vec<u128> = again.config.borrow().as_ref().unwrap().pools.iter().map(|pool| pool.addresses.len()).collect();
    assert_eq!(sizes, [5, 9], "what went meanwhile is gone, what is broken is as it was");
    let kept: Vec<(String, bool)> =
        [again.report().await, again.report().await, again.report().await].map(|it| (it.source, it.kept)).into();
    let expected = [("ConfigMap lanlord/lanlord", true), ("IPAddressPool lanlord/a", true), ("IPAddressPool lanlord/never", false)];
    assert_eq!(kept, expected.map(|(source, kept)| (source.to_owned(), kept)));

    let mut stranger = follow_with(true, memory("n2"));
    stranger.text("10.0.0.1");
    stranger.objects([pool("a", 1, "10.0.1.1-x")]);
    stranger.pools(&["default"]).await;
}
