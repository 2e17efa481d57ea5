//! Above 32 members: who would inherit the addresses of an owner watches it, and nobody else is thought of. The loop of suspicion, plan,
//! heirs and sessions comes to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::Family;
use lanlord::bfd::status::{SessionStatus, State as SessionState, Status};
use lanlord::config::Config;
use lanlord::facts::{Answer, Answers, Evidence, FamilyPolicy, Heirs, Member, NodeName, Snapshot, TrafficPolicy};
use lanlord::machine::{Instant, Machine};
use lanlord::membership::living::{Senses, living};
use lanlord::membership::machine::{Desired, Event, Membership};
use lanlord::membership::mesh::Timers;
use lanlord::membership::own;
use lanlord::plan::heirs::Inheritance;
use lanlord::plan::plan;

use crate::mesh::{Ends, all_ends, assert_both_ends_agree, lead, links, world};
use crate::world::World;

/// The agent on `me` among the members of a world, hearing all whom it watches.
struct Agent {
    me: NodeName,
    membership: Membership,
    now: Instant,
    sessions: Status,
    answers: Answers,
}

impl Agent {
    fn new(world: &World, heirs: &Heirs, me: &str) -> Self {
        let membership = Membership::new(me.into(), "1".to_owned(), fastrand::Rng::with_seed(1));
        let now = Instant::from_nanos(1_000_000_000);
        let mut agent = Self { me: me.into(), membership, now, sessions: Status::default(), answers: Answers::new() };
        agent.see(world);
        agent.inherit(world, heirs);
        for key in agent.membership.sessions().sessions.keys() {
            agent.sessions.sessions.insert(key.clone(), SessionStatus { state: SessionState::Up, ..SessionStatus::default() });
        }
        agent.tell(Event::Sessions(Arc::new(agent.sessions.clone())));
        agent
    }

    fn tell(&mut self, event: Event) {
        self.membership.handle(event, self.now, &mut Vec::new());
    }

    fn see(&mut self, world: &World) {
        self.tell(Event::Snapshot(Arc::new(world.snapshot.clone())));
    }

    fn inherit(&mut self, world: &World, heirs: &Heirs) {
        let member = &world.snapshot.members[&self.me];
        let own = own::Desired { known: true, links: member.links.clone(), gateways: member.gateways.clone(), ..own::Desired::default() };
        let links = Arc::new(links(world, self.me.as_str(), ""));
        let (timers, restart_hold) = (Timers::default(), Duration::from_secs(5));
        let desired = Desired { own, links, timers, restart_hold, heirs: Arc::new(heirs.clone()) };
        self.membership.set(Arc::new(desired), self.now, &mut Vec::new());
    }

    fn watches(&self) -> BTreeSet<IpAddr> {
        self.membership.sessions().sessions.into_keys().map(|key| key.peer).collect()
    }

    /// Nothing is heard of the member at `peer` any more, nor of its kernel.
    fn lose(&mut self, peer: IpAddr) {
        let (_, session) = self.sessions.sessions.iter_mut().find(|(key, _)| key.peer == peer).expect("it is watched");
        (session.state, session.expired) = (SessionState::Down, true);
        self.tell(Event::Sessions(Arc::new(self.sessions.clone())));
        let question = self.membership.questions().into_iter().find(|question| question.address == peer).expect("it is asked for");
        self.answers.insert(question, Answer { unanswered: 3, mac: None });
        self.tell(Event::Answers(Arc::new(self.answers.clone())));
    }
}

#[test]
fn of_those_it_does_not_watch_a_member_thinks_nothing() {
    let world = world(40);
    let mut agent = Agent::new(&world, &Heirs::new(), "n1");
    assert_eq!((agent.watches().len(), agent.membership.judge().states().len()), (4, 4));
    for _ in 0..20 {
        agent.now = agent.membership.poll_timeout().unwrap_or(agent.now + Duration::from_secs(10));
        agent.membership.handle_timeout(agent.now, &mut Vec::new());
        let asked = agent.membership.questions();
        assert!(asked.iter().all(|question| question.mac.is_none()), "all it watches are heard: {asked:?}");
    }
    assert_eq!(agent.membership.living().unwrap().members.len(), 40);
}

/// Forty members and Services of every kind on them; then this and that happens to the nodes.
fn large(rng: &mut fastrand::Rng) -> World {
    let mut world = world(40);
    let some = |rng: &mut fastrand::Rng| format!("n{}", rng.u8(1..=40));
    for number in 0..rng.u8(4..12) {
        let (name, local, dual) = (format!("s{number}"), rng.bool(), rng.u8(..3) == 0);
        world.create(&name, |service| {
            service.traffic_policy = if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
            if dual {
                service.families = vec![Family::V4, Family::V6];
                service.family_policy = FamilyPolicy::RequireDualStack;
            }
        });
        let endpoints: Vec<String> = (0..rng.usize(1..4)).map(|_| some(rng)).collect();
        world.endpoints(&name, &endpoints.iter().map(String::as_str).collect::<Vec<_>>());
    }
    world.settle();
    for _ in 0..rng.u8(..30) {
        let name = some(rng);
        match rng.u8(..7) {
            0 => world.node(&name, |node| node.ready = false),
            1 => world.node(&name, |node| node.unschedulable = true),
            2 => world.node(&name, |node| node.excluded = true),
            3 => world.node(&name, |node| node.network_unavailable = true),
            4 => world.node(&name, |node| node.out_of_service = true),
            5 => world.member(&name, |member| member.dataplane_unhealthy = true),
            _ => world.member(&name, |member| member.links[0].addresses.retain(|net| net.addr().is_ipv4())),
        }
    }
    world
}

/// Who owns each group if the senses say that `lost` is lost.
fn owners(world: &World, lost: Option<&NodeName>) -> BTreeMap<String, NodeName> {
    let evidence = lost.map(|node| (node.clone(), Evidence::SessionExpired)).into_iter().collect();
    let living = living(&world.snapshot, &Senses { evidence, ..Senses::default() });
    let groups = plan(&world.config, &world.snapshot, &living).groups.into_values();
    groups.filter_map(|plan| Some((plan.group.name(), plan.owner.as_ref().ok()?.node.clone()))).collect()
}

fn address(world: &World, node: &NodeName) -> IpAddr {
    world.snapshot.members[node].links[0].addresses.first().unwrap().addr()
}

fn watches(world: &World, ends: &Ends, watcher: &NodeName, watched: &NodeName) -> bool {
    let (watcher, watched) = (address(world, watcher), address(world, watched));
    ends.iter().any(|(local, peer, ..)| (*local, *peer) == (watcher, watched))
}

#[test]
fn the_heirs_of_a_member_are_those_who_own_its_groups_when_it_is_lost() {
    let mut inherited = 0;
    for seed in 0..30 {
        let world = large(&mut fastrand::Rng::with_seed(seed));
        let mut expected = Heirs::new();
        for (group, owner) in owners(&world, None) {
            if let Some(heir) = owners(&world, Some(&owner)).remove(&group) {
                expected.entry(owner).or_default().insert(heir);
            }
        }
        inherited += expected.len();
        assert_eq!(heirs(&world.config, &world.snapshot), expected, "seed {seed}");
        let ends = all_ends(&world, &expected);
        assert_both_ends_agree(&ends);
        for (owner, heirs) in &expected {
            assert!(heirs.iter().all(|heir| watches(&world, &ends, heir, owner)), "seed {seed}: {owner} and its heirs {heirs:?}");
        }
    }
    assert!(inherited > 50);
}

fn heirs(config: &Config, snapshot: &Snapshot) -> Heirs {
    Inheritance::default().heirs(&Arc::new(config.clone()), snapshot)
}

#[test]
fn heirs_that_are_found_anew_where_something_changed_are_those_found_anew_everywhere() {
    let rng = &mut fastrand::Rng::with_seed(7);
    let mut world = large(rng);
    let (config, mut inheritance) = (Arc::new(world.config.clone()), Inheritance::default());
    let services: Vec<String> = world.snapshot.services.keys().map(ToString::to_string).collect();
    for step in 0..60 {
        let (service, node) = (services[rng.usize(..services.len())].clone(), format!("n{}", rng.u8(1..=33)));
        match rng.u8(0..8) {
            0 => world.leave(&node),
            1 => world.node(&node, |node| node.ready = !node.ready),
            2 => world.node(&node, |node| node.excluded = !node.excluded),
            3 => drop(world.settle()),
            _ => world.endpoints(&service, &[node.as_str()]),
        }
        assert_eq!(inheritance.heirs(&config, &world.snapshot), heirs(&config, &world.snapshot), "step {step}");
    }
}

#[test]
fn nothing_is_spent_on_heirs_where_everybody_watches_everybody() {
    let mut world = world(33);
    world.create("web", |_| ());
    world.settle();
    assert_eq!(heirs(&world.config, &world.snapshot).len(), 1);
    world.leave("n33");
    assert_eq!(heirs(&world.config, &world.snapshot), Heirs::new());
}

/// Suspicion → plan → heirs → sessions → suspicion comes to rest: an heir that inherits goes on watching whom it suspects, and the next
/// heir watches once the Lease is cleared.
#[test]
fn an_heir_that_takes_over_keeps_its_suspicion_until_the_lease_is_cleared_and_has_heirs_of_its_own_then() {
    let mut world = world(40);
    lead(&mut world, Some("n20"));
    (0..10).for_each(|number| world.create(&format!("s{number}"), |_| ()));
    world.settle();
    let first = heirs(&world.config, &world.snapshot);
    // One that watches the owner only as its heir, and inherits just one group from it.
    let inherits = |(group, owner): (String, NodeName)| {
        let heir = first.get(&owner).filter(|heirs| heirs.len() == 1)?.first()?.clone();
        let watched = Agent::new(&world, &Heirs::new(), heir.as_str()).watches();
        (!watched.contains(&address(&world, &owner))).then_some((group, owner, heir))
    };
    let (group, owner, heir) = owners(&world, None).into_iter().find_map(inherits).unwrap();
    let (address, mut agent) = (address(&world, &owner), Agent::new(&world, &first, heir.as_str()));
    let watched = agent.watches();
    agent.lose(address);
    for _ in 0..3 {
        let living = agent.membership.living().unwrap();
        assert!(!living.members.contains_key(&owner));
        let plan = plan(&world.config, &world.snapshot, &living);
        let inherited = plan.groups.values().find(|plan| plan.group.name() == group).unwrap();
        assert_eq!(inherited.owner.as_ref().unwrap().node, heir);
        agent.inherit(&world, &heirs(&world.config, &world.snapshot));
        assert_eq!(agent.watches(), watched);
    }
    world.member(owner.as_str(), |member: &mut Member| {
        (member.instance, member.resource_version) = (None, "2".to_owned());
    });
    let second = heirs(&world.config, &world.snapshot);
    agent.see(&world);
    agent.inherit(&world, &second);
    assert!(!agent.watches().contains(&address));
    let ends = all_ends(&world, &second);
    assert!(second[&heir].iter().all(|next| watches(&world, &ends, next, &heir)));
    assert_both_ends_agree(&ends);
}
