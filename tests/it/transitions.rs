//! What the timeline says of two moments, and what the status says of Services and pools: a small world changes, and each change is told
//! once, in words.

use std::collections::BTreeMap;
use std::sync::Arc;

use lanlord::app::problems::problems;
use lanlord::app::report::{Report, TransitionReport};
use lanlord::app::services::{pools, services};
use lanlord::app::transitions::{KEPT, Moment, Timeline, transitions};
use lanlord::bgp::status::{Failure, NoConnection, PeerStatus, State, Status};
use lanlord::facts::{Evidence, LeaderRecord, NodeName};
use lanlord::plan::plan;

use crate::world::{World, config, pool};

fn world() -> World {
    World::new(3, config(vec![pool("default", &["192.168.1.240-192.168.1.241"])]))
}

fn moment(world: &World) -> Moment {
    Moment {
        me: NodeName::new("n1"),
        snapshot: Some(Arc::new(world.snapshot.clone())),
        plan: Some(Arc::new(plan(&world.config, &world.snapshot, &world.living()))),
        config: Some(Arc::new(world.config.clone())),
        ..Moment::default()
    }
}

fn told(before: &Moment, after: &Moment) -> Vec<String> {
    transitions(before, after).iter().map(|entry| format!("{}: {}", entry.kind, entry.text)).collect()
}

/// What the change of `world` by `change` amounts to.
fn after(world: &mut World, change: impl FnOnce(&mut World)) -> Vec<String> {
    let before = moment(world);
    change(world);
    told(&before, &moment(world))
}

#[test]
fn an_address_is_assigned_announced_moved_withdrawn_and_released() {
    let mut world = world();
    let begun = after(&mut world, |world| {
        world.create("web", |_| {});
        world.settle();
    });
    let owner = services(Some(&world.config), false, &world.snapshot, Some(&plan(&world.config, &world.snapshot, &world.living())))[0]
        .owner
        .clone();
    let owner = owner.expect("it is announced");
    let expected = [
        "assigned: 192.168.1.240 assigned to default/web from pool default".to_owned(),
        format!("announcing: 192.168.1.240 (default/web) is announced by {owner}"),
    ];
    assert_eq!(begun, expected);
    assert!(after(&mut world, |_| {}).is_empty(), "what did not change is not told");

    let moved = after(&mut world, |world| {
        world.leave(&owner);
        world.settle();
    });
    assert_eq!(moved.len(), 2, "{moved:?}");
    assert_eq!(moved[0], format!("left: {owner} left"));
    assert!(moved[1].starts_with(&format!("owner: 192.168.1.240 (default/web) moved from {owner} to n")), "{moved:?}");

    let withdrawn = after(&mut world, |world| world.endpoints("web", &[]));
    assert!(withdrawn.len() == 1 && withdrawn[0].starts_with("withdrawn: 192.168.1.240 (default/web) is withdrawn: "), "{withdrawn:?}");
    let again = after(&mut world, |world| world.endpoints("web", &["n2"]));
    assert!(again.len() == 1 && again[0].starts_with("announcing: 192.168.1.240 (default/web) is announced by n"), "{again:?}");

    let released = after(&mut world, |world| {
        world.delete("web");
        world.settle();
    });
    assert_eq!(released, ["released: 192.168.1.240 released: default/web had it"]);
}

#[test]
fn a_full_pool_is_told_with_what_to_do_and_is_a_problem() {
    let mut world = world();
    let told = after(&mut world, |world| {
        ["a", "b", "c"].iter().for_each(|name| world.create(name, |_| {}));
        world.settle();
    });
    assert_eq!(told.iter().filter(|line| line.starts_with("assigned:")).count(), 2, "{told:?}");
    let pending = "pending: default/c has no address: all IPv4 addresses of default are taken; add addresses to the configuration or delete a Service";
    assert!(told.contains(&pending.to_owned()), "{told:?}");

    let plan = plan(&world.config, &world.snapshot, &world.living());
    let services = services(Some(&world.config), false, &world.snapshot, Some(&plan));
    let states: Vec<(&str, &str)> = services.iter().map(|it| (it.service.as_str(), it.state.as_str())).collect();
    assert_eq!(states, [("default/a", "announced"), ("default/b", "announced"), ("default/c", "pending")]);
    assert_eq!((services[0].pools.as_slice(), services[0].since.is_some()), (["default".to_owned()].as_slice(), true));
    let usage = pools(&world.config, &world.snapshot)[0].v4.unwrap();
    assert_eq!((usage.total, usage.used, usage.free), (2, 2, 0));

    let report = Report { services, configuration: Some("hash".to_owned()), membership: "Member".to_owned(), ..Report::default() };
    let problems = problems(&report);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].what, "default/c has no address: all IPv4 addresses of default are taken");
    assert_eq!(problems[0].action, "add addresses to the configuration or delete a Service");
}

#[test]
fn services_without_endpoints_of_other_classes_and_without_configuration_say_why() {
    let mut world = world();
    world.create("web", |_| {});
    world.create("foreign", |service| service.class = Some("other/lb".to_owned()));
    world.create("new", |_| {});
    let before_the_leader = services(Some(&world.config), false, &world.snapshot, None);
    let states: BTreeMap<&str, &str> = before_the_leader.iter().map(|it| (it.service.as_str(), it.state.as_str())).collect();
    assert_eq!(states, [("default/foreign", "foreign"), ("default/new", "new"), ("default/web", "new")].into());
    assert!(before_the_leader[0].why.as_ref().unwrap().contains("other/lb"));
    assert!(services(None, false, &world.snapshot, None).iter().all(|it| it.state == "new"), "it has not been read yet");
    let rejected = services(None, true, &world.snapshot, None);
    assert!(rejected.iter().all(|it| it.state == "pending" && it.why.as_ref().unwrap().contains("lanlord status")));

    world.settle();
    world.endpoints("web", &[]);
    let plan = plan(&world.config, &world.snapshot, &world.living());
    let web =
        services(Some(&world.config), false, &world.snapshot, Some(&plan)).into_iter().find(|it| it.service == "default/web").unwrap();
    assert_eq!((web.state.as_str(), web.addresses.len(), web.owner), ("pending", 1, None));
    assert!(web.why.as_ref().unwrap().contains("not announced: "), "{:?}", web.why);
}

#[test]
fn members_leaders_and_nodes_are_told() {
    let mut world = world();
    assert_eq!(after(&mut world, |world| world.join(4)), ["joined: n4 joined"]);
    assert_eq!(
        after(&mut world, |world| world.member("n4", |it| it.instance = Some("2".to_owned()))),
        ["restarted: the agent of n4 restarted in place"]
    );
    assert_eq!(
        after(&mut world, |world| world.member("n4", |it| it.suspect = Some("n1/1".to_owned()))),
        ["suspected: n4 is suspected by n1"]
    );
    assert_eq!(after(&mut world, |world| world.member("n4", |it| it.suspect = None)), ["refuted: n4 lives: it removed the suspicion"]);
    world.member("n4", |it| it.suspect = Some("n2/1".to_owned()));
    assert_eq!(after(&mut world, |world| world.leave("n4")), ["lost: n4 is lost: its Lease was cleared by another member"]);

    let record = |holder: &str| LeaderRecord {
        holder: Some(holder.to_owned()),
        lease_duration: 30,
        transitions: 0,
        acquired: None,
        resource_version: String::new(),
    };
    assert_eq!(after(&mut world, |world| world.snapshot.leader = Some(record("n1/a"))), ["leader: n1 leads"]);
    assert!(after(&mut world, |world| world.snapshot.leader = Some(record("n1/b"))).is_empty(), "the same node after a restart");
    assert_eq!(after(&mut world, |world| world.snapshot.leader = Some(record("n2/a"))), ["leader: n2 leads, n1 does no more"]);
    assert_eq!(after(&mut world, |world| world.snapshot.leader = None), ["leader: n2 leads no more, and nobody does yet"]);

    assert_eq!(after(&mut world, |world| world.node("n3", |it| it.unschedulable = true)), ["node: n3 is cordoned"]);
    assert_eq!(after(&mut world, |world| world.node("n3", |it| it.ready = false)), ["node: n3 is not Ready"]);
}

#[test]
fn what_this_agents_senses_say_is_told_once_though_the_lease_follows() {
    let mut world = world();
    let before = moment(&world);
    let mut sensed = moment(&world);
    sensed.lost.insert(NodeName::new("n3"), Evidence::SessionExpired);
    assert_eq!(told(&before, &sensed), ["lost: n3 is lost: its liveness packets ceased and its kernel is silent, too"]);
    world.leave("n3");
    let written = Moment { lost: sensed.lost.clone(), ..moment(&world) };
    assert!(told(&sensed, &written).is_empty(), "{:?}", told(&sensed, &written));
}

#[test]
fn configurations_and_bgp_peers_are_told() {
    let world = world();
    let before = moment(&world);
    let rejected = Moment { rejected: 2, why_rejected: Some("pools[0]".to_owned()), ..before.clone() };
    assert_eq!(told(&before, &rejected), ["rejected: configuration rejected: 2 problems; the one before stays in force"]);
    let mut edited = lanlord::config::Config::clone(&world.config);
    edited.hash = "other".to_owned();
    let accepted = Moment { config: Some(Arc::new(edited)), ..before.clone() };
    let expected = "configuration: configuration accepted: 1 pool, 2 addresses: default 192.168.1.240-192.168.1.241 (2)";
    assert_eq!(told(&rejected, &accepted), [expected]);

    let peer = |state: State, failure: Option<&str>| {
        let mut peer = PeerStatus { remote: Some("192.168.1.1:179".parse().unwrap()), ..PeerStatus::default() };
        peer.session.state = state;
        peer.session.last_failure = failure.map(|text| Failure::Connection(NoConnection::from(text)));
        Moment { peers: Arc::new(Status { peers: [("tor".into(), peer)].into(), ..Status::default() }), ..before.clone() }
    };
    let (up, down) = (peer(State::Established, None), peer(State::Idle, Some("the cellar is flooded")));
    assert_eq!(told(&before, &up), ["peer-up: the BGP session with tor (192.168.1.1) is Established"]);
    assert_eq!(told(&up, &down), ["peer-down: the BGP session with tor (192.168.1.1) ended: the cellar is flooded"]);
    assert_eq!(told(&up, &before), ["peer-down: the BGP session with tor (192.168.1.1) ended: it is configured no more"]);
    assert!(told(&down, &before).is_empty());
}

#[test]
fn the_first_sight_is_one_entry_and_a_thousand_at_a_time_leave_room_for_the_rest() {
    let mut world = World::new(3, config(vec![pool("big", &["10.0.0.0/16", "192.168.1.100-192.168.1.200"])]));
    let empty = moment(&world);
    for number in 0..60 {
        world.create(&format!("web{number}"), |_| {});
    }
    world.settle();
    let full = moment(&world);
    let first = told(&Moment::default(), &full);
    assert_eq!(first.len(), 2, "the configuration, and the Snapshot: {first:?}");
    assert_eq!(first[1], "started: the agent of n1 started; Leases name 3 members and 60 assigned addresses");

    let many = told(&empty, &full);
    assert_eq!(many.iter().filter(|line| line.starts_with("assigned: ")).count(), 21);
    assert!(many.contains(&"assigned: and 40 more of this kind at the same time".to_owned()), "{many:?}");

    let mut timeline = Timeline::default();
    for _ in 0..KEPT {
        timeline.push(vec![TransitionReport::default(), TransitionReport::default()], "2026-11-21T12:00:00.000Z");
    }
    let entries = timeline.entries();
    assert_eq!((entries.len(), entries[0].number, entries[KEPT - 1].number), (KEPT, KEPT as u64 + 1, 2 * KEPT as u64));
}

#[test]
fn whatever_a_service_is_called_stays_text_on_one_line_of_json() {
    let mut world = world();
    let name = "default/</script><img src=x onerror=alert(1)>\u{2028}\n\ndata: {}";
    world.snapshot.services = Arc::default();
    world.create("web", |service| service.key = lanlord::facts::ServiceKey::new("default", &name["default/".len()..]));
    let report = Report { services: services(Some(&world.config), false, &world.snapshot, None), ..Report::default() };
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains('\n') && !text.contains('\r'), "an event is one line");
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap().services[0].service, name);
}

#[test]
fn figures_alone_are_no_news() {
    let mut before: Report =
        serde_json::from_str(&std::fs::read_to_string(crate::config::golden().join("status/trouble.json")).unwrap()).unwrap();
    before.at = "2026-11-21T12:00:00.000Z".to_owned();
    let mut after = before.clone();
    after.at = "2026-11-21T12:00:01.000Z".to_owned();
    (after.sessions[0].sent, after.bgp[0].retry_in_ms, after.links[0].addresses[0].answered) = (99_999, Some(1), 99_999);
    assert_ne!(before, after);
    assert_eq!(before.without_figures(), after.without_figures());
    after.sessions[0].state = "Up".to_owned();
    assert_ne!(before.without_figures(), after.without_figures());
}
