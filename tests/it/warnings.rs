//! What the leader tells although no Service asks: what of the configuration has nothing to work on (feature A12), once, at rest.

use std::sync::Arc;
use std::time::Duration;

use lanlord::config::{Config, Source, parse};
use lanlord::facts::{EventKind, Object, ObjectKey, Objects, Subject, Uid};
use lanlord::leader::told::AGAIN;
use lanlord::leader::warnings::{Diary, EDITED, REST, Sources, Warning, idle};
use lanlord::machine::Instant;

use crate::world::World;

/// Pool `default` is announced by `good`, and `racked` wants a label that no node has; pool `far` is on no network.
const MISTAKEN: &str = "
pools:
- {name: default, addresses: [192.168.1.240-192.168.1.250]}
- {name: far, addresses: [10.9.0.0/28]}
l2Advertisements:
- {name: good, ipAddressPools: [default, far]}
- {name: racked, ipAddressPools: [default], nodeSelectors: [{matchLabels: {rack: \"12\"}}]}
";

fn text(text: &str) -> Config {
    parse(&[Source::file("lanlord.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}")).config
}

fn warnings(world: &World, sources: &Sources<'_>) -> Vec<Warning> {
    idle(&world.config, &world.snapshot, &world.living(), sources)
}

/// The leader's diary, told of one world after the other.
#[derive(Default)]
struct Leader {
    diary: Diary,
    now: Instant,
}

impl Leader {
    /// What is told after `wait`, by what it is about.
    fn look(&mut self, world: &World, wait: Duration) -> Vec<String> {
        self.now = self.now + wait;
        if !self.diary.at_rest(&world.config, &world.snapshot, &world.living(), self.now) {
            return Vec::new();
        }
        let due = self.diary.due(warnings(world, &Sources::default()), self.now);
        due.into_iter().map(|warning| warning.about).collect()
    }
}

const BOTH: [&str; 2] = ["L2Advertisement racked nodes", "IPAddressPool far network"];
const NONE: [&str; 0] = [];

#[test]
fn an_advertisement_that_matches_no_node_and_a_pool_that_nobody_announces_are_told_with_what_to_do() {
    let world = World::new(3, text(MISTAKEN));
    let subject = Subject::ConfigMap("lanlord".to_owned(), "lanlord".to_owned(), Uid("u".into()));
    let sources = Sources { text: Some(&subject), objects: None };
    let events: Vec<_> = warnings(&world, &sources).iter().filter_map(Warning::event).collect();
    assert!(events.iter().all(|event| event.subject == subject && event.kind == EventKind::Warning), "{events:?}");
    let told: Vec<String> = events.iter().map(|event| format!("{}: {}", event.reason, event.message)).collect();
    assert_eq!(
        told,
        [
            "AdvertisementMatchesNothing: L2Advertisement racked matches no node: no node has the label rack=12; label a node or change its \
             nodeSelectors",
            "PoolNotAnnounced: nobody can announce pool far: 10.9.0.0-10.9.0.15 is on no node's network (192.168.1.0/24); use addresses of one \
             of them, or name `interfaces` in an L2Advertisement",
        ]
    );
}

#[test]
fn each_is_told_on_the_custom_resource_it_stands_in_and_one_in_a_file_in_the_log_alone() {
    let world = World::new(3, text(MISTAKEN));
    let object = |uid: &str| Arc::new(Object { uid: Uid(uid.into()), created: String::new(), text: String::new(), counters: None });
    let keys = [("L2Advertisement", "racked"), ("IPAddressPool", "far"), ("IPAddressPool", "racked")];
    let objects: Objects =
        keys.iter().map(|(kind, name)| (ObjectKey::new(kind, "metallb-system", name), object(&format!("{kind}-{name}")))).collect();
    let told = warnings(&world, &Sources { text: None, objects: Some(&objects) });
    let subjects: Vec<Subject> = told.into_iter().filter_map(|warning| warning.subject).collect();
    let [Subject::Object(first, uid), Subject::Object(second, _)] = &subjects[..] else { panic!("{subjects:?}") };
    assert_eq!((first.to_string().as_str(), &*uid.0), ("L2Advertisement metallb-system/racked", "L2Advertisement-racked"));
    assert_eq!(second.to_string(), "IPAddressPool metallb-system/far");
    assert!(warnings(&world, &Sources::default()).iter().all(|warning| warning.event().is_none()), "a file is no object");
}

#[test]
fn nothing_is_told_while_members_join_and_then_once_and_again_after_an_hour() {
    let mut world = World::new(1, text(MISTAKEN));
    let mut leader = Leader::default();
    assert_eq!(leader.look(&world, Duration::ZERO), NONE);
    world.join(2);
    assert_eq!(leader.look(&world, REST - Duration::from_secs(1)), NONE);
    world.join(3);
    assert_eq!(leader.look(&world, REST - Duration::from_secs(1)), NONE, "the rest begins anew");
    assert_eq!(leader.diary.next(leader.now), Some(leader.now + REST));
    assert_eq!(leader.look(&world, REST), BOTH);
    assert_eq!(leader.diary.next(leader.now), Some(leader.now + AGAIN));
    assert_eq!(leader.look(&world, AGAIN / 2), NONE);
    assert_eq!(leader.look(&world, AGAIN / 2), BOTH);
}

#[test]
fn a_node_that_joins_late_with_the_label_is_waited_for() {
    let mut world = World::new(2, text(MISTAKEN));
    let mut leader = Leader::default();
    leader.look(&world, Duration::ZERO);
    world.join(3);
    leader.look(&world, REST / 2);
    world.node("n3", |node| drop(node.labels.insert("rack".to_owned(), "12".to_owned())));
    assert_eq!(leader.look(&world, REST), ["IPAddressPool far network"]);
}

#[test]
fn an_edit_is_judged_after_a_few_seconds_for_what_belongs_together_is_applied_one_by_one() {
    let good = MISTAKEN.replace("10.9.0.0/28", "192.168.1.230");
    let good = good.replace("rack: \"12\"", "kubernetes.io/hostname: n1");
    let mut world = World::new(2, text(&good));
    let mut leader = Leader::default();
    leader.look(&world, Duration::ZERO);
    assert_eq!(leader.look(&world, REST * 2), NONE);
    world.config = Config { hash: "pool alone".to_owned(), ..text(MISTAKEN) };
    assert_eq!(leader.look(&world, Duration::ZERO), NONE);
    world.config = Config { hash: "and its advertisement".to_owned(), ..text(&good) };
    assert_eq!(leader.look(&world, EDITED / 2), NONE);
    assert_eq!(leader.look(&world, EDITED), NONE, "all is well by now");
    world.config = Config { hash: "mistaken".to_owned(), ..text(MISTAKEN) };
    leader.look(&world, Duration::ZERO);
    assert_eq!(leader.look(&world, EDITED), BOTH);
}

#[test]
fn what_was_put_right_and_comes_back_is_told_again() {
    let mut world = World::new(2, text(MISTAKEN));
    let mut leader = Leader::default();
    leader.look(&world, Duration::ZERO);
    assert_eq!(leader.look(&world, REST), BOTH);
    world.node("n1", |node| drop(node.labels.insert("rack".to_owned(), "12".to_owned())));
    assert_eq!(leader.look(&world, EDITED), NONE);
    world.node("n1", |node| drop(node.labels.remove("rack")));
    assert_eq!(leader.look(&world, EDITED), [BOTH[0]]);
}

#[test]
fn a_node_with_the_label_on_which_no_agent_runs_is_named() {
    let mut world = World::new(3, text(MISTAKEN));
    world.node("n3", |node| drop(node.labels.insert("rack".to_owned(), "12".to_owned())));
    world.leave("n3");
    let told = warnings(&world, &Sources::default());
    assert_eq!(
        told[0].message(),
        "L2Advertisement racked matches no node: no agent runs on n3, which has rack=12; see why: kubectl get pods -A -l app=lanlord -o wide"
    );
}

#[test]
fn that_no_advertisement_reaches_a_pool_may_be_meant_so_but_not_where_it_is_a_custom_resource() {
    let world = World::new(1, text("pools: [{name: spare, addresses: [192.168.1.230], announce: false}]"));
    assert_eq!(warnings(&world, &Sources::default()), []);
    let object = Object { uid: Uid("u".into()), created: String::new(), text: String::new(), counters: None };
    let objects = Objects::from([(ObjectKey::new("IPAddressPool", "lanlord", "spare"), Arc::new(object))]);
    let told = warnings(&world, &Sources { text: None, objects: Some(&objects) });
    assert_eq!(told[0].message(), "nobody can announce pool spare: no advertisement reaches it; add an L2Advertisement that names it");
}
