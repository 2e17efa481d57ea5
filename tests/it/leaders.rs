//! Several leaders at once, simulated: real `decide`, real electors, one API server that compares and swaps, and every accident between
//! them. Each leader has its own copies of what the watches tell, kind by kind older than the truth, and its own configuration. Any
//! number of steps lies between two writes of one piece of work: that is a leader stopped and resumed.
//!
//! After every step: no address is on two Services that may not share it, and what a Service shows is claimed for it. In the end one leader
//! brings all to rest.
//!
//! A failing seed is printed; `LEADERS_SEED=17 cargo test --test it leaders` plays it alone and tells each step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lanlord::config::Config;
use lanlord::facts::{Claim, Holder, LeaderRecord, Protocol, Service, ServicePort, Snapshot};
use lanlord::leader::decide::{Tend, Work, decide};
use lanlord::leader::election::{Action, Desired, Elector, Event};
use lanlord::leader::suggest::{Advice, Prospect};
use lanlord::leader::tell::Now;
use lanlord::machine::{Driver, Input, Instant};
use lanlord::membership::living::{Senses, living};
use lanlord::plan::plan;

use crate::world::{World, config, ip, key, pool};

const SEEDS: u64 = 4000;
const STEPS: usize = 150;
const SERVICES: u8 = 5;
/// First address of the pools in the last byte: few, so that everybody wants the same.
const FIRST: u8 = 240;

/// One write of a piece of work.
#[derive(Clone, Debug)]
enum Request {
    /// A question first: are they gone?
    Gone(Vec<Holder>),
    Claim(Claim),
    Publish(Box<Work>),
    Tend(Tend),
}

/// A piece of work under way: the rest is dropped when a step fails.
type Job = VecDeque<Request>;

struct Leader {
    identity: String,
    elector: Driver<Elector>,
    view: Snapshot,
    config: Config,
    jobs: Vec<Job>,
    /// A write of the leader's Lease under way.
    lease: Option<LeaderRecord>,
}

impl Leader {
    fn new(number: usize, instance: u64, world: &World) -> Self {
        let identity = format!("n{}/{instance}", number + 1);
        let elector = Driver::new(Elector::new(identity.clone(), fastrand::Rng::with_seed(instance)));
        Self { identity, elector, view: world.snapshot.clone(), config: world.config.clone(), jobs: Vec::new(), lease: None }
    }

    /// Tells the elector what is known and carries its first action out later. `suspicious`: this one takes the holder for lost.
    fn elect(&mut self, event: Option<Event>, suspicious: bool, now: Instant) {
        let record = self.view.leader.clone();
        let holder_lost = suspicious && record.as_ref().is_some_and(|record| record.holder.as_ref() != Some(&self.identity));
        let observed = Event::Observed { record, holder_lost, holder_heard: false };
        let inputs = [Input::Set(Arc::new(Desired { stand: true, heard_by_all: false })), Input::Event(event.unwrap_or(observed))];
        for action in self.elector.step(inputs, now) {
            match action {
                Action::Write(record) => self.lease = Some(record),
                Action::StateChanged { .. } => {}
            }
        }
    }

    /// As `leader::task` does: claims first, then the Service, then what is given back.
    fn decide(&mut self, seconds: i64) {
        let living = living(&self.view, &Senses::default());
        let decision = decide(
            &self.config,
            &self.view,
            &living,
            &plan(&self.config, &self.view, &living),
            &Now { text: format!("t{seconds}"), seconds, quiet: false, prospect: Prospect::Known(Advice::default()), ..Now::default() },
        );
        self.jobs = decision.tend.into_iter().map(|tend| Job::from([Request::Gone(tend.gone().to_vec()), Request::Tend(tend)])).collect();
        for work in decision.work {
            let mut job = Job::from([Request::Gone(work.gone.clone())]);
            job.extend(work.take.iter().cloned().map(Request::Claim));
            job.push_back(Request::Publish(Box::new(work.clone())));
            job.extend(work.release.into_iter().map(Request::Claim));
            self.jobs.push(job);
        }
    }
}

struct Simulation {
    rng: fastrand::Rng,
    world: World,
    leaders: Vec<Leader>,
    now: Instant,
    instances: u64,
    log: Vec<String>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let world = World::new(2, config(vec![pool("default", &["192.168.1.240-192.168.1.241"])]));
        let leaders = (0..rng.usize(2..4)).map(|number| Leader::new(number, number as u64, &world)).collect();
        Self { rng, world, leaders, now: Instant::from_nanos(0), instances: 10, log: Vec::new() }
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_millis(self.rng.u64(..3000));
        let who = self.rng.usize(..self.leaders.len());
        match self.rng.u8(..20) {
            0..4 => self.operator(),
            4..8 => self.watch(who),
            8..12 => self.election(who),
            12 => {
                self.leaders[who].config = self.world.config.clone();
                self.log.push(format!("{who} has the configuration"));
            }
            13 if self.rng.u8(..6) == 0 => {
                self.instances += 1;
                self.log.push(format!("{who} starts anew"));
                self.leaders[who] = Leader::new(who, self.instances, &self.world);
            }
            _ => self.work(who),
        }
    }

    /// Somebody edits Services, the pool, or a node leaves.
    fn operator(&mut self) {
        let name = format!("s{}", self.rng.u8(..SERVICES));
        let exists = self.world.snapshot.services.contains_key(&key(&name));
        let address = format!("192.168.1.{}", FIRST + self.rng.u8(..4));
        let what = self.rng.u8(..12);
        match what {
            0..5 if !exists => {
                let (sharing, port) = (self.rng.u8(..4), self.rng.u16(80..82));
                self.log.push(format!("{name} is created with key {sharing} and port {port}"));
                self.world.create(&name, |service| {
                    service.ports = vec![ServicePort { protocol: Protocol::Tcp, port }];
                    if sharing < 2 {
                        service.annotations.insert("lanlord.dev/allow-shared-ip".to_owned(), sharing.to_string());
                    }
                });
            }
            5..7 => self.world.delete(&name),
            7 if exists => self.world.edit(&name, |service| service.ingress.clear()),
            8 if exists => self
                .world
                .edit(&name, |service| drop(service.annotations.insert("lanlord.dev/loadBalancerIPs".to_owned(), address.clone()))),
            9 if exists => self.world.edit(&name, |service| {
                if service.annotations.remove("lanlord.dev/ignore").is_none() {
                    service.annotations.insert("lanlord.dev/ignore".to_owned(), "true".to_owned());
                }
            }),
            10 if exists => self.world.edit(&name, |service| service.deleting = true),
            11 => {
                let (first, last) = (FIRST + self.rng.u8(..2), FIRST + self.rng.u8(1..3));
                self.world.config = config(vec![pool("default", &[&format!("192.168.1.{first}-192.168.1.{last}")])]);
                self.log.push(format!("the pool is now {first}-{last}"));
                return;
            }
            _ => return,
        }
        self.log.push(format!("operator: {what} {name} {address}"));
    }

    /// One kind of object, or all, arrives at one leader.
    fn watch(&mut self, who: usize) {
        let (view, truth) = (&mut self.leaders[who].view, &self.world.snapshot);
        let what = self.rng.u8(..5).min(3);
        if matches!(what, 0 | 1) {
            view.services.clone_from(&truth.services);
        }
        if matches!(what, 0 | 2) {
            (view.claims, view.leader, view.members) = (truth.claims.clone(), truth.leader.clone(), truth.members.clone());
        }
        if matches!(what, 0 | 3) {
            (view.endpoints, view.nodes) = (truth.endpoints.clone(), truth.nodes.clone());
        }
        let kinds = ["everything", "Services", "Leases", "endpoints and nodes"];
        self.log.push(format!("{who} sees {}", kinds[usize::from(what)]));
    }

    fn election(&mut self, who: usize) {
        let suspicious = self.rng.u8(..3) == 0;
        let leader = &mut self.leaders[who];
        let led = leader.elector.machine().leads();
        match leader.lease.take() {
            Some(record) => {
                let written = self.world.write_leader(record);
                if let Some(record) = &written {
                    leader.view.leader = Some(record.clone());
                }
                leader.elect(Some(written.map_or(Event::Failed, Event::Written)), false, self.now);
            }
            None => leader.elect(None, suspicious, self.now),
        }
        let leads = leader.elector.machine().leads();
        if leads != led {
            self.log.push(format!("{who} leads: {leads}"));
        }
    }

    /// One write of some job; a new decision if there is none and this one leads.
    fn work(&mut self, who: usize) {
        let leader = &mut self.leaders[who];
        if leader.jobs.is_empty() {
            if leader.elector.machine().leads() {
                self.world.seconds += 1;
                leader.decide(self.world.seconds);
                self.log.push(format!("{who} decides: {} jobs", leader.jobs.len()));
            }
            return;
        }
        let index = self.rng.usize(..leader.jobs.len());
        let mut job = leader.jobs.swap_remove(index);
        let Some(write) = job.pop_front() else { return };
        let done = self.write(&write);
        // The answer may be lost although the write was done.
        let answered = self.rng.u8(..20) > 0;
        self.log.push(format!(
            "{who} {}{} {}",
            if done { "writes" } else { "is refused" },
            if answered { "" } else { " (unanswered)" },
            text(&write)
        ));
        if done && answered {
            self.feedback(who, &write);
            if !job.is_empty() {
                self.leaders[who].jobs.push(job);
            }
        }
    }

    fn write(&mut self, write: &Request) -> bool {
        let done = match write {
            Request::Gone(holders) => self.world.are_gone(holders),
            Request::Claim(claim) => self.world.write_claim(claim.clone()),
            Request::Publish(work) => self.world.publish(work),
            Request::Tend(tend) => self.world.tend(tend.clone()),
        };
        done.is_some()
    }

    /// The answer to a leader's own write goes into its own view.
    fn feedback(&mut self, who: usize, write: &Request) {
        let (view, truth) = (&mut self.leaders[who].view, &self.world.snapshot);
        let address = match write {
            Request::Gone(_) => return,
            Request::Claim(claim) => claim.address,
            Request::Tend(tend) => tend.claim().address,
            Request::Publish(work) => {
                if let Some(service) = truth.services.get(&work.service.key) {
                    Arc::make_mut(&mut view.services).insert(service.key.clone(), service.clone());
                }
                return;
            }
        };
        let claims = Arc::make_mut(&mut view.claims);
        match truth.claims.get(&address) {
            Some(claim) => drop(claims.insert(address, claim.clone())),
            None => drop(claims.remove(&address)),
        }
    }

    fn check(&self) -> Result<(), String> {
        let mut shown: BTreeMap<IpAddr, Vec<&Service>> = BTreeMap::new();
        for service in self.world.snapshot.services.values() {
            for address in &service.ingress {
                let others = shown.entry(*address).or_default();
                if let Some(other) = others.iter().find(|other| !may_share(service, other)) {
                    return Err(format!("{address} is on {} and {}", other.key, service.key));
                }
                others.push(service);
                let claim = self.world.snapshot.claims.get(address);
                if !claim.is_some_and(|claim| claim.holders.iter().any(|holder| holder.uid == service.uid)) {
                    return Err(format!("{} shows {address}, which is claimed by {:?}", service.key, claim.map(|claim| &claim.holders)));
                }
            }
        }
        Ok(())
    }

    /// One leader with a fresh view is left.
    fn rest(&mut self) -> Result<(), String> {
        self.world.settle();
        self.check()?;
        let told = self.world.settle();
        if !told.is_empty() {
            return Err(format!("not at rest: {told:?}"));
        }
        for claim in self.world.snapshot.claims.values() {
            let shows = |holder: &Holder| {
                self.world
                    .snapshot
                    .services
                    .get(&holder.service)
                    .is_some_and(|service| service.uid == holder.uid && (service.deleting || service.ingress.contains(&claim.address)))
            };
            if !claim.holders.iter().all(shows) {
                return Err(format!("a claim leaked: {claim:?}"));
            }
        }
        let free = (0..8).map(|number| ip(&format!("192.168.1.{}", FIRST + number))).filter(|address| {
            self.world.config.pool_of(*address).is_some()
                && self.world.snapshot.claims.get(address).is_none_or(|claim| claim.holders.is_empty())
        });
        let free: BTreeSet<_> = free.collect();
        let waiting = self.world.snapshot.services.values().find(|service| {
            service.ingress.is_empty()
                && !service.deleting
                && !service.annotations.keys().any(|name| name.ends_with("IPs") || name.ends_with("ignore"))
        });
        match waiting {
            Some(service) if !free.is_empty() => Err(format!("{} waits while {free:?} are free", service.key)),
            Some(_) | None => Ok(()),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step();
            self.check()?;
        }
        self.rest()
    }
}

/// Keys and ports stay as they were created.
fn may_share(one: &Service, other: &Service) -> bool {
    let key = one.annotation("allow-shared-ip");
    key.is_some() && key == other.annotation("allow-shared-ip") && one.ports != other.ports
}

fn text(write: &Request) -> String {
    let claim = |claim: &Claim| {
        let holders: Vec<String> = claim.holders.iter().map(|holder| format!("{} ({})", holder.service, holder.uid)).collect();
        format!("{} for {holders:?} over {:?}", claim.address, claim.resource_version)
    };
    match write {
        Request::Claim(written) => format!("claim {}", claim(written)),
        Request::Publish(work) => {
            let ingress = work.publish.as_ref().and_then(|publish| publish.ingress.as_ref());
            format!("{} ({}) {ingress:?}", work.service.key, work.service.uid)
        }
        Request::Gone(holders) => format!("a question for {holders:?}"),
        Request::Tend(Tend::Replace(replaced) | Tend::Release(replaced, _)) => format!("tended claim {}", claim(replaced)),
        Request::Tend(Tend::Delete(deleted)) => format!("no claim {}", deleted.address),
    }
}

/// Plays one seed; on failure what happened, with the steps before.
fn play(seed: u64, tail: usize) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    simulation.run().map_err(|violation| {
        let mut text = format!("seed {seed}: {violation}\n");
        for line in simulation.log.iter().skip(simulation.log.len().saturating_sub(tail)) {
            let _ = writeln!(text, "  {line}");
        }
        text
    })
}

#[test]
fn leaders_that_act_at_once_never_give_one_address_twice() {
    if let Ok(seed) = std::env::var("LEADERS_SEED") {
        return play(seed.parse().unwrap(), usize::MAX).unwrap();
    }
    let failed: Vec<String> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || (0..SEEDS).filter(|seed| seed % 2 == half).filter_map(|seed| play(seed, 60).err()).collect::<Vec<_>>())
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    let shortest = failed.iter().min_by_key(|text| text.len());
    assert!(failed.is_empty(), "{} of {SEEDS} seeds fail, among them:\n{}", failed.len(), shortest.unwrap());
}

/// What a leader does who sees `view`, as far as the API server lets it.
fn act(world: &mut World, view: &Snapshot) {
    let living = living(view, &Senses::default());
    let decision = decide(
        &world.config,
        view,
        &living,
        &plan(&world.config, view, &living),
        &Now { text: "now".to_owned(), seconds: 0, quiet: false, prospect: Prospect::Known(Advice::default()), ..Now::default() },
    );
    for work in decision.work {
        world.carry_out(work);
    }
    for tend in decision.tend {
        world.tend(tend);
    }
}

fn wish(address: &str) -> impl FnOnce(&mut lanlord::facts::Service) + use<> {
    let address = address.to_owned();
    move |service| drop(service.annotations.insert("lanlord.dev/loadBalancerIPs".to_owned(), address))
}

#[test]
fn a_leader_that_sees_new_services_and_old_claims_gives_nothing_back_to_who_lost_it() {
    let mut world = World::new(2, config(vec![pool("default", &["192.168.1.240-192.168.1.241"])]));
    world.create("a", wish("192.168.1.240"));
    world.settle();
    let old = world.snapshot.claims.clone();
    world.edit("a", wish("192.168.1.241"));
    world.settle();
    world.create("b", wish("192.168.1.240"));
    world.settle();
    world.edit("a", |service| service.annotations.clear());
    let view = Snapshot { claims: old, ..world.snapshot.clone() };
    act(&mut world, &view);
    assert_eq!(world.ingress("a"), ["192.168.1.241"], "the other is not its own any more");
    world.settle();
    assert_eq!((world.ingress("a"), world.ingress("b")), (vec!["192.168.1.241".to_owned()], vec!["192.168.1.240".to_owned()]));
}

#[test]
fn a_claim_whose_service_is_not_seen_yet_is_neither_given_back_nor_taken_over() {
    let mut world = World::new(2, config(vec![pool("default", &["192.168.1.240"])]));
    world.create("b", |service| service.deleting = true);
    let old = world.snapshot.services.clone();
    world.create("a", |_| ());
    world.settle();
    world.edit("b", |service| service.deleting = false);
    let mut view = Snapshot { services: old, ..world.snapshot.clone() };
    act(&mut world, &view);
    Arc::make_mut(&mut view.services).insert(key("b"), world.snapshot.services[&key("b")].clone());
    act(&mut world, &view);
    assert_eq!(world.snapshot.claims[&ip("192.168.1.240")].holders[0].service, key("a"));
    assert!(world.ingress("b").is_empty());
}

#[test]
fn a_service_that_is_not_served_any_more_is_told_so_before_its_address_goes_to_another() {
    let mut world = World::new(2, config(vec![pool("default", &["192.168.1.240"])]));
    world.create("a", |_| ());
    let mut paused = world.decide().work.remove(0);
    for claim in std::mem::take(&mut paused.take) {
        world.write_claim(claim).unwrap();
    }
    world.config.settings.classes = lanlord::config::Classes::Own;
    world.create("b", |service| service.class = Some("lanlord.dev/lb".to_owned()));
    world.settle();
    assert_eq!(world.ingress("b"), ["192.168.1.240"]);
    assert_eq!(world.publish(&paused), None, "what was decided before is refused");
    assert!(world.ingress("a").is_empty());
    let condition = world.service("a").condition.clone().unwrap();
    assert_eq!((condition.announced, &condition.reason[..]), (false, "NotServed"));
}
