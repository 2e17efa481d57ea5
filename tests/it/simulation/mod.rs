//! The cluster in one process: real membership, BFD, election, assignment, plan and ARP machines of up to seven agents, an API server
//! that stalls, forgets to answer and answers late, and a LAN that loses, delays, repeats and splits. Nodes lose power, agents crash and
//! hang; a seed decides all of it, and the same seed does it again.
//!
//! At any time: no address is on two Services, and nobody is evicted who could prove itself. In the end, when all is well again or a
//! fault has come to stay: exactly one announces each address among those that reach each other, and nothing is written any more.
//! A failing seed is printed; `SIMULATION_SEED=17 cargo test --test it simulation` plays it alone and tells each step.

mod agent;
mod lan;
mod server;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use lanlord::bfd::sessions::Event as BfdEvent;
use lanlord::facts::Snapshot;
use lanlord::l2::asker::Event as Heard;
use lanlord::machine::Instant;
use lanlord::wire::arp::Packet;

use self::agent::{Agent, Effect, Input};
use self::lan::Lan;
use self::server::{Request, Server};
use crate::world::{config, pool};

/// Seeds of a normal test run.
const SEEDS: u64 = 100;
/// Faults of one run.
const FAULTS: std::ops::Range<u32> = 1..6;
/// Longest pause between two faults.
const PAUSE: Duration = Duration::from_secs(12);
/// Within so long after the last fault everything is at rest: the longest hold-down (5 s), two searches for a member not heard (10 s
/// each), an agent's time to come back (5 s), and the API server's ways.
const SETTLE: Duration = Duration::from_secs(60);
/// At rest for so long: nothing is written.
const QUIET: Duration = Duration::from_secs(12);
const SERVICES: u32 = 4;

/// What happens at some time.
enum Happening {
    /// An agent's timers.
    Wake(usize),
    /// A packet or an answer reaches an agent.
    Input(usize, Box<Input>),
    /// A request reaches the API server.
    Request(usize, Box<Request>),
    /// The watches tell an agent what there is.
    Tell(usize),
    /// An agent's heartbeat.
    Beat(usize),
    /// A container comes back, or a machine has booted.
    Start(usize),
    /// Something goes wrong, or is mended.
    Fault(Fault),
}

/// What can go wrong. Everything but `Create` and `Delete` is mended in the end, unless it has come to stay.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// A node loses power, and boots again after a while if a time is given.
    PowerCut(usize, Option<Duration>),
    /// An agent is killed and its container comes back.
    Crash(usize, Duration),
    /// An agent hangs.
    Hang(usize, Duration),
    /// A part of the LAN is cut off from the rest, the API server being with the rest.
    Split(BTreeSet<usize>),
    /// Two nodes do not reach each other.
    Pair(usize, usize),
    /// The second does not hear the first.
    OneWay(usize, usize),
    /// UDP is filtered at a node.
    Filter(usize),
    /// A node does not reach the API server.
    CutOff(usize),
    /// The API server is down, or stalled.
    Outage,
    /// The API server loses one in so many answers.
    Forgetful(u32),
    /// The LAN loses so many packets of a hundred.
    Loss(u32),
    /// All is well again.
    Mend,
    /// A Service appears.
    Create(u32),
    /// A Service goes.
    Delete(u32),
}

struct Simulation {
    seed: u64,
    rng: fastrand::Rng,
    now: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    count: u64,
    lan: Lan,
    server: Server,
    agents: Vec<Agent>,
    log: Vec<String>,
    verbose: bool,
}

impl Simulation {
    fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let nodes = rng.u8(2..8);
        let mut config = config(vec![pool("default", &["192.168.1.240-192.168.1.245"])]);
        if rng.u8(..8) > 0 {
            // Slower packets make a run cheaper; the proportions stay.
            config.settings.liveness.wired.interval = Duration::from_millis(400);
        }
        let gateway = rng.u8(..5) > 0;
        let lan = Lan::new(usize::from(nodes), gateway, rng.fork());
        let server = Server::new(nodes, config.clone());
        let agents = (0..usize::from(nodes)).map(|node| Agent::new(node, seed, config.clone())).collect();
        let now = Instant::from_nanos(1_000_000_000_000);
        let mut simulation = Self {
            seed,
            rng,
            now,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            count: 0,
            lan,
            server,
            agents,
            log: Vec::new(),
            verbose,
        };
        for node in 0..usize::from(nodes) {
            let start = simulation.within(Duration::from_millis(500));
            simulation.at(start, Happening::Start(node));
        }
        for service in 0..SERVICES {
            let time = simulation.within(Duration::from_secs(2));
            simulation.at(time, Happening::Fault(Fault::Create(service)));
        }
        simulation
    }

    fn at(&mut self, wait: Duration, happening: Happening) {
        self.count += 1;
        self.happenings.insert(self.count, happening);
        self.queue.push(Reverse((self.now + wait, self.count)));
    }

    fn within(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.rng.f64())
    }

    #[expect(clippy::print_stdout, reason = "one seed, for a person")]
    fn note(&mut self, text: impl FnOnce() -> String) {
        let line = format!("{:9.3} {}", self.now.since(Instant::from_nanos(1_000_000_000_000)).as_secs_f64(), text());
        if self.verbose {
            println!("{line}");
        }
        self.log.push(line);
    }

    /// Everything up to `time` from now.
    fn run(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        while let Some(Reverse((at, number))) = self.queue.peek().copied().filter(|Reverse((at, _))| *at <= end) {
            self.queue.pop();
            self.now = at;
            let happening = self.happenings.remove(&number).expect("queued once");
            let wrote = matches!(happening, Happening::Request(..));
            self.happen(happening);
            if wrote {
                self.server.check()?;
            }
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(agent) => self.wake(agent),
            Happening::Input(agent, input) => self.input(agent, *input),
            Happening::Request(agent, request) => self.request(agent, &request),
            Happening::Tell(agent) => self.tell(agent),
            Happening::Beat(agent) => self.beat(agent),
            Happening::Start(agent) => self.start(agent),
            Happening::Fault(fault) => self.strike(fault),
        }
    }

    fn start(&mut self, agent: usize) {
        if !self.lan.powered[agent] {
            return;
        }
        let seed = self.rng.u64(..);
        self.agents[agent].start(seed);
        self.note(|| format!("n{} starts", agent + 1));
        self.at(Duration::from_millis(100), Happening::Tell(agent));
        self.at(Duration::from_secs(1), Happening::Beat(agent));
        self.wake(agent);
    }

    fn wake(&mut self, agent: usize) {
        if self.agents[agent].is_due(self.now) {
            self.input(agent, Input::Nothing);
        }
    }

    fn input(&mut self, agent: usize, input: Input) {
        if !self.agents[agent].running {
            return;
        }
        if self.agents[agent].hangs {
            self.agents[agent].waiting.push_back(input);
            return;
        }
        self.step(agent, vec![input]);
    }

    fn step(&mut self, agent: usize, inputs: Vec<Input>) {
        let now = self.now;
        let mut effects = Vec::new();
        self.agents[agent].step(inputs, now, &mut effects);
        for effect in effects {
            self.effect(agent, effect);
        }
        if let Some(due) = self.agents[agent].next_wake(now) {
            self.at(due.since(now), Happening::Wake(agent));
        }
    }

    fn effect(&mut self, agent: usize, effect: Effect) {
        match effect {
            Effect::Bfd(to, packet) => {
                let Some(to) = self.lan.node_of(to) else { return };
                for delay in self.lan.carry_udp(agent, to) {
                    let event =
                        BfdEvent::Received { link: "eth0".into(), source: Lan::address(agent), port: 7474, ttl: 255, packet: Ok(packet) };
                    self.at(delay, Happening::Input(to, Box::new(Input::Bfd(event))));
                }
            }
            Effect::Arp(packet) => {
                for to in 0..self.agents.len() {
                    for delay in if to == agent { Vec::new() } else { self.lan.carry(agent, to) } {
                        self.at(delay, Happening::Input(to, Box::new(Input::Arp(packet))));
                    }
                }
            }
            Effect::Ask(address) => {
                if let Some((delay, mac)) = self.lan.ask(agent, address) {
                    let heard = Heard::Heard { address, mac };
                    self.at(delay, Happening::Input(agent, Box::new(Input::Heard(heard))));
                }
            }
            Effect::Request(request) => {
                let delay = Duration::from_millis(1) + self.within(Duration::from_millis(5));
                self.at(delay, Happening::Request(agent, Box::new(request)));
            }
            Effect::Poke => self.at(Duration::ZERO, Happening::Beat(agent)),
            Effect::Note(text) => self.note(|| format!("n{} {text}", agent + 1)),
        }
    }

    fn reaches_server(&self, agent: usize) -> bool {
        self.server.up && self.lan.powered[agent] && !self.lan.cut_off.contains(&agent) && !self.lan.split.contains(&agent)
    }

    fn request(&mut self, agent: usize, request: &Request) {
        let running = self.agents[agent].running.then_some(self.agents[agent].instance);
        let deadline = request.deadline();
        let lost = self.server.forgetful > 0 && self.rng.u32(..self.server.forgetful) == 0;
        if !self.reaches_server(agent) {
            self.at(deadline, Happening::Input(agent, Box::new(request.failed(running))));
            return;
        }
        if let Some(verdict) = self.unjust(agent, request) {
            self.server.violation.get_or_insert(verdict);
        }
        let before = self.server.version();
        let answer = self.server.serve(request, running);
        if self.server.version() != before {
            self.note(|| format!("n{} writes {}", agent + 1, request.text()));
            self.tell_all();
        }
        let (wait, answer) = if lost { (deadline, request.failed(running)) } else { (self.within(Duration::from_millis(4)), answer) };
        self.at(wait, Happening::Input(agent, Box::new(answer)));
    }

    /// Whether this write evicts a member that could have proven itself.
    fn unjust(&self, by: usize, request: &Request) -> Option<String> {
        let Request::Clear(member) = request else { return None };
        let victim = self.agents.iter().position(|agent| agent.name == member.node)?;
        let well = |since: Option<Instant>| since.is_some_and(|since| self.now.since(since) > Duration::from_millis(700));
        let could = well(self.agents[victim].well_since) && well(self.lan.well_since[victim]) && self.server.forgetful == 0;
        let holds = self.server.holds(member);
        (could && holds && self.agents[victim].instance_name() == member.instance)
            .then(|| format!("{} evicts {}, which could have proven itself", self.agents[by].name, member.node))
    }

    fn tell_all(&mut self) {
        for agent in 0..self.agents.len() {
            if self.reaches_server(agent) && !std::mem::replace(&mut self.agents[agent].told, true) {
                let delay = Duration::from_millis(2) + self.within(Duration::from_millis(20));
                self.at(delay, Happening::Tell(agent));
            }
        }
    }

    fn tell(&mut self, agent: usize) {
        self.agents[agent].told = false;
        if self.reaches_server(agent) && self.agents[agent].running {
            let snapshot = self.server.snapshot();
            self.input(agent, Input::Snapshot(snapshot));
        }
    }

    fn beat(&mut self, agent: usize) {
        if !self.agents[agent].running {
            return;
        }
        let reachable = self.reaches_server(agent);
        let again = !self.agents[agent].reachable;
        if reachable && again {
            // Watches are dialled anew.
            let delay = self.within(Duration::from_millis(500));
            self.at(delay, Happening::Tell(agent));
        }
        let patience = if reachable { Duration::ZERO } else { Duration::from_secs(1) };
        self.at(patience, Happening::Input(agent, Box::new(Input::Contact(reachable))));
        let next = if reachable { Duration::from_secs(3) } else { Duration::from_millis(500) };
        if self.agents[agent].beats(self.now + next) {
            self.at(patience + next, Happening::Beat(agent));
        }
    }

    fn strike(&mut self, fault: Fault) {
        self.note(|| format!("--- {fault:?}"));
        let now = self.now;
        match fault {
            Fault::PowerCut(node, back) => {
                self.lan.powered[node] = false;
                self.agents[node].stop(now);
                if let Some(back) = back {
                    self.at(back, Happening::Fault(Fault::Mend));
                }
            }
            Fault::Crash(agent, back) => {
                self.agents[agent].stop(now);
                self.at(back, Happening::Start(agent));
            }
            Fault::Hang(agent, time) => {
                self.agents[agent].hang(true, now);
                self.at(time, Happening::Fault(Fault::Mend));
            }
            Fault::Split(part) => self.lan.split = part,
            Fault::Pair(a, b) => self.lan.deaf.extend([(a, b), (b, a)]),
            Fault::OneWay(a, b) => drop(self.lan.deaf.insert((a, b))),
            Fault::Filter(node) => drop(self.lan.filtered.insert(node)),
            Fault::CutOff(node) => drop(self.lan.cut_off.insert(node)),
            Fault::Outage => self.server.up = false,
            Fault::Forgetful(one_in) => self.server.forgetful = one_in,
            Fault::Loss(percent) => self.lan.loss = percent,
            Fault::Mend => self.mend(),
            Fault::Create(service) => self.server.create(service),
            Fault::Delete(service) => self.server.delete(service),
        }
        self.judge_wellness();
        self.tell_all();
    }

    fn mend(&mut self) {
        self.lan.mend();
        self.server.up = true;
        self.server.forgetful = 0;
        for node in 0..self.agents.len() {
            if !std::mem::replace(&mut self.lan.powered[node], true) {
                self.at(Duration::from_millis(500), Happening::Start(node));
            }
            if self.agents[node].hangs {
                self.agents[node].hang(false, self.now);
                let waiting = self.agents[node].waiting.drain(..).collect();
                self.step(node, waiting);
            }
        }
    }

    fn judge_wellness(&mut self) {
        for node in 0..self.agents.len() {
            let well = self.reaches_server(node) && self.lan.is_well(node);
            let since = self.lan.well_since[node].filter(|_| well);
            self.lan.well_since[node] = since.or_else(|| well.then_some(self.now));
        }
    }

    fn random_fault(&mut self) -> Fault {
        let nodes = self.agents.len();
        let node = self.rng.usize(..nodes);
        let other = (node + self.rng.usize(1..nodes)) % nodes;
        let seconds = |rng: &mut fastrand::Rng, most: f64| Duration::from_secs_f64(0.05 + rng.f64() * most);
        match self.rng.u8(..16) {
            0 | 1 => Fault::PowerCut(node, Some(seconds(&mut self.rng, 20.0))),
            2 => Fault::PowerCut(node, None),
            3 | 4 => Fault::Crash(node, seconds(&mut self.rng, 8.0)),
            5 | 6 => Fault::Hang(node, seconds(&mut self.rng, 15.0)),
            7 => Fault::Split((0..nodes).filter(|_| self.rng.bool()).collect()),
            8 => Fault::Pair(node, other),
            9 => Fault::OneWay(node, other),
            10 => Fault::CutOff(node),
            11 => Fault::Outage,
            12 => Fault::Forgetful(self.rng.u32(2..6)),
            13 => Fault::Loss(self.rng.u32(1..30)),
            14 => [Fault::Create(self.rng.u32(..SERVICES)), Fault::Delete(self.rng.u32(..SERVICES))][self.rng.usize(..2)].clone(),
            _ => [Fault::Filter(node), Fault::Mend][self.rng.usize(..2)].clone(),
        }
    }

    /// The whole play.
    fn play(&mut self) -> Result<(), String> {
        self.run(Duration::from_secs(8))?;
        self.at_rest("after the start")?;
        for _ in 0..self.rng.u32(FAULTS) {
            let fault = self.random_fault();
            self.strike(fault);
            let pause = self.within(PAUSE);
            self.run(pause)?;
        }
        let stays = self.rng.bool();
        if !stays {
            self.strike(Fault::Mend);
        }
        self.run(SETTLE)?;
        self.at_rest(if stays { "with the faults that stay" } else { "after all was mended" })
    }

    /// Whether those who reach no API server can agree at all: they were told the same, and nobody's liveness packets are filtered.
    /// After two divisions on top of each other different ends are remembered, and nobody can tell which one holds.
    fn can_agree(&self, part: &BTreeSet<usize>) -> bool {
        let mut told = part.iter().filter_map(|node| self.agents[*node].view.as_ref()).map(|view| (&view.members, &view.claims));
        let first = told.next();
        told.all(|other| Some(other) == first) && part.is_disjoint(&self.lan.filtered)
    }

    /// Whether nobody was told that another of them is gone and has been cut off from the API server since.
    fn know_each_other(&self, part: &BTreeSet<usize>) -> bool {
        let views = part.iter().filter_map(|node| self.agents[*node].view.as_ref());
        let gone =
            |view: &Snapshot, node: &usize| view.members.get(&self.agents[*node].name).is_some_and(|member| member.instance.is_none());
        !views.into_iter().any(|view| part.iter().any(|node| gone(view, node)))
    }

    /// One announcer for each address among those that reach each other; nothing written.
    fn at_rest(&mut self, when: &str) -> Result<(), String> {
        let able: BTreeSet<usize> = (0..self.agents.len()).filter(|node| self.lan.powered[*node] && self.agents[*node].is_well()).collect();
        let attached: BTreeSet<usize> = able.iter().copied().filter(|node| self.reaches_server(*node)).collect();
        let parts = self.lan.parts();
        // Who cannot reach the API server still announces for those who can, as far as they hear him.
        let mut with_server: BTreeSet<usize> = parts.iter().filter(|part| !part.is_disjoint(&attached)).flatten().copied().collect();
        let heard = |by: &BTreeSet<usize>| able.iter().copied().filter(|from| by.iter().any(|to| self.lan.hears(*from, *to))).collect();
        let heard: BTreeSet<usize> = heard(&with_server);
        with_server.extend(heard);
        with_server.retain(|node| able.contains(node));
        for (address, service) in self.server.addresses() {
            let announcers = |of: &BTreeSet<usize>| -> BTreeSet<usize> {
                of.iter().copied().filter(|node| self.agents[*node].announces(address)).collect()
            };
            let wrong = |of: &BTreeSet<usize>, why: &str| {
                let names: Vec<&str> = announcers(of).into_iter().map(|node| self.agents[node].name.as_str()).collect();
                Err(format!("{when}: {address} of {service} is announced by {names:?} among {of:?}, {why}"))
            };
            // Lost packets promise nothing but that it is one in the end.
            if self.lan.loss > 0 {
                continue;
            }
            if !attached.is_empty() && announcers(&attached).len() != 1 && announcers(&with_server).len() != 1 {
                return wrong(&attached, "who all reach the API server");
            }
            for part in parts.iter().filter(|part| self.lan.is_whole(part)) {
                let part: BTreeSet<usize> = part.intersection(&able).copied().collect();
                let alone = part.is_disjoint(&attached);
                if alone && !self.can_agree(&part) {
                    continue;
                }
                if announcers(&part).len() > 1 && self.know_each_other(&part) {
                    return wrong(&part, "who all hear each other");
                }
                let knows = part.len() > 1 && part.iter().any(|node| self.agents[*node].view.is_some());
                if knows && alone && announcers(&part).is_empty() {
                    return wrong(&part, "who hear nobody else");
                }
            }
        }
        let all_is_well = self.lan.all_is_well() && self.server.up && self.server.forgetful == 0 && self.agents.iter().all(Agent::is_well);
        let writes = self.server.version();
        self.run(QUIET)?;
        if all_is_well && self.server.version() != writes {
            return Err(format!("{when}: not at rest, {} writes in {QUIET:?}", self.server.version() - writes));
        }
        Ok(())
    }
}

fn play(seed: u64, verbose: bool) -> Result<(), String> {
    let mut simulation = Simulation::new(seed, verbose);
    simulation.play().map_err(|violation| {
        let mut text = format!("seed {}: {violation}\n", simulation.seed);
        for line in simulation.log.iter().skip(simulation.log.len().saturating_sub(60)) {
            let _ = writeln!(text, "  {line}");
        }
        text
    })
}

#[test]
fn whatever_goes_wrong_one_announces_each_address_in_the_end() {
    if let Ok(seed) = std::env::var("SIMULATION_SEED") {
        return play(seed.parse().unwrap(), true).unwrap();
    }
    let seeds = std::env::var("SIMULATION_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let failed: Vec<String> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || (0..seeds).filter(|seed| seed % 2 == half).filter_map(|seed| play(seed, false).err()).collect::<Vec<_>>())
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    let first = failed.first().map(String::as_str).unwrap_or_default();
    let heads: Vec<&str> = failed.iter().filter_map(|text| text.lines().next()).collect();
    assert!(failed.is_empty(), "{} of {seeds} seeds failed; the first:\n{first}\nall:\n{}", failed.len(), heads.join("\n"));
}

fn address(last: usize) -> IpAddr {
    IpAddr::from([192, 168, 1, u8::try_from(last).expect("a few")])
}

/// An ARP packet as the simulation carries it.
type Frame = Packet;
