//! One agent: the real machines, wired as `app.rs` and the tasks wire them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use lanlord::bfd::sessions::{Action as BfdAction, Event as BfdEvent, Sessions};
use lanlord::bfd::status::{State as SessionState, Status};
use lanlord::config::Config;
use lanlord::facts::{Answers, Link, LinkName, Links, Living, Medium, MemberLink, NodeName, Role, Snapshot};
use lanlord::l2::arp::{self, Arp};
use lanlord::l2::asker::{self, Asker};
use lanlord::l2::desired::LinkDesired;
use lanlord::l2::{Action as ArpAction, Protocol, Purpose, State as ArpState};
use lanlord::leader::decide::{Decision, decide};
use lanlord::leader::election::{self, Elector, heard_by_all, observed, stands};
use lanlord::leader::suggest::{Advice, Prospect};
use lanlord::leader::tell::Now;
use lanlord::machine::{Driver, Input as Step, Instant, earliest};
use lanlord::membership::machine::{Action, Desired, Event, Membership};
use lanlord::membership::mesh::Timers;
use lanlord::membership::{judge, own};
use lanlord::plan::{Planner, l2_desired};
use lanlord::wire::bfd::Packet as BfdPacket;

use super::Frame;
use super::lan::Lan;
use super::server::Request;

/// What reaches an agent.
pub(super) enum Input {
    /// Only time.
    Nothing,
    Snapshot(Arc<Snapshot>),
    Contact(bool),
    Bfd(BfdEvent),
    Arp(Frame),
    Heard(asker::Event),
    /// An answer to a request that this instance made.
    Answer(Option<u32>, Box<Input>),
    Membership(Event),
    Election(election::Event),
    /// What the leader wanted was written, or not.
    Decided,
}

/// What an agent does to the world.
pub(super) enum Effect {
    Bfd(IpAddr, BfdPacket),
    Arp(Frame),
    Ask(IpAddr),
    Request(Request),
    Poke,
    Note(String),
}

/// What a process has, and loses when it dies.
struct Process {
    membership: Driver<Membership>,
    bfd: Driver<Sessions>,
    arp: Driver<Arp>,
    asker: Driver<Asker>,
    elector: Driver<Elector>,
    living: Arc<Living>,
    planner: Planner,
    sessions: Status,
    /// Who was heard last, to notice who came up.
    heard: usize,
    detached: bool,
    deciding: bool,
    /// The next timer of all but BFD: most steps are a packet of BFD and change none.
    due: Option<Instant>,
}

impl Process {
    fn timers(&self) -> Option<Instant> {
        let (membership, asker) = (self.membership.poll_timeout(), self.asker.poll_timeout());
        earliest([membership, asker, self.arp.poll_timeout(), self.elector.poll_timeout()])
    }
}

pub(super) struct Agent {
    node: usize,
    pub(super) name: NodeName,
    pub(super) instance: u32,
    config: Arc<Config>,
    links: Arc<Links>,
    process: Option<Process>,
    pub(super) running: bool,
    pub(super) hangs: bool,
    pub(super) waiting: VecDeque<Input>,
    pub(super) view: Option<Arc<Snapshot>>,
    /// A delivery of the watches is under way.
    pub(super) told: bool,
    pub(super) reachable: bool,
    pub(super) well_since: Option<Instant>,
    announced: BTreeSet<IpAddr>,
    /// Heard from other members, not yet told to membership.
    claims: Vec<Event>,
    next: Option<Instant>,
    next_beat: Instant,
    seconds: i64,
}

impl Agent {
    pub(super) fn new(node: usize, seed: u64, config: Config) -> Self {
        let addresses = BTreeSet::from([format!("192.168.1.{}/24", 11 + node).parse().expect("an address")]);
        let name = LinkName::from("eth0");
        let link = Link { index: 2, name: name.clone(), mac: Lan::mac(node), up: true, role: Role::Own, medium: Medium::Wired, addresses };
        Self {
            node,
            name: NodeName::new(&format!("n{}", node + 1)),
            instance: u32::try_from(seed % 1000).expect("small"),
            config: Arc::new(config),
            links: Arc::new(Links { links: BTreeMap::from([(name, link)]), gateways: [super::address(1)].into(), ..Links::default() }),
            process: None,
            running: false,
            hangs: false,
            waiting: VecDeque::new(),
            view: None,
            told: false,
            reachable: true,
            well_since: None,
            announced: BTreeSet::new(),
            claims: Vec::new(),
            next: None,
            next_beat: Instant::default(),
            seconds: 0,
        }
    }

    pub(super) fn instance_name(&self) -> Option<String> {
        self.running.then(|| self.instance.to_string())
    }

    /// Runs and does not hang.
    pub(super) fn is_well(&self) -> bool {
        self.running && !self.hangs
    }

    pub(super) fn announces(&self, address: IpAddr) -> bool {
        self.announced.contains(&address)
    }

    pub(super) fn stop(&mut self, _now: Instant) {
        self.running = false;
        self.process = None;
        self.view = None;
        self.hangs = false;
        self.waiting.clear();
        self.announced.clear();
        self.claims.clear();
        self.next = None;
        self.well_since = None;
    }

    pub(super) fn hang(&mut self, hangs: bool, now: Instant) {
        self.hangs = hangs && self.running;
        self.well_since = (!hangs && self.running).then_some(now);
    }

    pub(super) fn start(&mut self, seed: u64) {
        if self.running {
            return;
        }
        self.instance += 1;
        self.running = true;
        self.reachable = true;
        let rng = fastrand::Rng::with_seed(seed);
        let instance = self.instance.to_string();
        let membership = Membership::new(self.name.clone(), instance.clone(), rng.clone());
        let liveness = &self.config.settings.liveness;
        let (wired, wireless) = (liveness.wired, liveness.wireless);
        let own = self.links.links.values().filter_map(MemberLink::of).collect();
        let own = own::Desired {
            known: true,
            links: own,
            gateways: self.links.gateways.clone(),
            config: Some(self.config.hash.clone()),
            ..own::Desired::default()
        };
        let desired = Desired {
            own,
            links: self.links.clone(),
            timers: Timers {
                wired: (wired.interval, wired.multiplier),
                wireless: (wireless.interval, wireless.multiplier),
                port: liveness.port,
            },
            restart_hold: self.config.settings.restart_hold,
            heirs: Arc::default(),
        };
        let mut process = Process {
            membership: Driver::new(membership),
            bfd: Driver::new(Sessions::new(seed)),
            arp: Driver::new(Arp::new(seed)),
            asker: Driver::new(Asker::default()),
            elector: Driver::new(Elector::new(format!("{}/{instance}", self.name), rng)),
            living: Arc::default(),
            planner: Planner::default(),
            sessions: Status::default(),
            heard: 0,
            detached: false,
            deciding: false,
            due: None,
        };
        drop(process.membership.step([Step::Set(Arc::new(desired))], Instant::default()));
        self.process = Some(process);
    }

    /// Whether a beat is due at `next` and none else is planned.
    pub(super) fn beats(&mut self, next: Instant) -> bool {
        let plans = next > self.next_beat;
        self.next_beat = self.next_beat.max(next);
        plans
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// When to wake it, unless that is arranged already.
    pub(super) fn next_wake(&mut self, now: Instant) -> Option<Instant> {
        let process = self.process.as_ref()?;
        let due = earliest([process.due, process.bfd.poll_timeout()])?;
        let due = due.max(now);
        let arranged = self.next.is_some_and(|next| next > now && next <= due);
        (!arranged).then(|| {
            self.next = Some(due);
            due
        })
    }

    /// Takes everything in, then lets the machines work until they have nothing more to tell each other.
    pub(super) fn step(&mut self, inputs: Vec<Input>, now: Instant, out: &mut Vec<Effect>) {
        let Some(mut process) = self.process.take() else { return };
        self.well_since.get_or_insert(now);
        let mut inbox = Inbox::default();
        for input in inputs {
            self.sort(input, &mut inbox, &mut process);
        }
        for _ in 0..20 {
            if !self.round(&mut process, &mut inbox, now, out) {
                break;
            }
        }
        self.process = Some(process);
    }

    fn sort(&mut self, input: Input, inbox: &mut Inbox, process: &mut Process) {
        match input {
            Input::Nothing => {}
            Input::Snapshot(snapshot) => {
                self.view = Some(snapshot.clone());
                inbox.facts = true;
                inbox.membership.push(Event::Snapshot(snapshot));
            }
            Input::Contact(reachable) => {
                if self.reachable != reachable {
                    self.reachable = reachable;
                    process.detached = !reachable;
                    inbox.membership.push(Event::Contact { reachable });
                }
            }
            Input::Bfd(event) => inbox.bfd.push(event),
            Input::Arp(frame) => inbox.arp.push(frame),
            Input::Heard(event) => inbox.asker.push(event),
            Input::Answer(of, answer) => {
                if of == Some(self.instance) {
                    self.sort(*answer, inbox, process);
                }
            }
            Input::Membership(event) => inbox.membership.push(event),
            Input::Election(event) => inbox.election.push(event),
            Input::Decided => {
                process.deciding = false;
                inbox.facts = true;
            }
        }
    }

    fn round(&mut self, process: &mut Process, inbox: &mut Inbox, now: Instant, out: &mut Vec<Effect>) -> bool {
        let mut busy = false;
        // Only what membership wants anew is told: most steps are a packet of BFD.
        let (sessions, questions) = inbox.desired.take().unzip();
        let events = std::mem::take(&mut inbox.bfd).into_iter().map(Step::Event);
        let told = sessions.is_some() || !inbox.asker.is_empty();
        let mut changed = sessions.is_some();
        for action in process.bfd.step(sessions.map(Step::Set).into_iter().chain(events), now) {
            match action {
                BfdAction::Send { key, packet } => out.push(Effect::Bfd(key.peer, packet)),
                BfdAction::StateChanged { .. } | BfdAction::PathChanged { .. } => changed = true,
            }
        }
        if changed {
            let status = Status { sessions: process.bfd.machine().status().map(|(key, status)| (key.clone(), levels(&status))).collect() };
            if status != process.sessions {
                process.sessions = status.clone();
                inbox.membership.push(Event::Sessions(Arc::new(status)));
                busy = true;
            }
        }
        let heard = std::mem::take(&mut inbox.asker).into_iter().map(Step::Event);
        let mut changed = false;
        for action in process.asker.step(questions.map(Step::Set).into_iter().chain(heard), now) {
            match action {
                asker::Action::Ask(question) => out.push(Effect::Ask(question.address)),
                asker::Action::AnswersChanged => changed = true,
            }
        }
        if changed {
            let answers: Answers = process.asker.machine().answers().map(|(question, answer)| (question.clone(), answer)).collect();
            inbox.membership.push(Event::Answers(Arc::new(answers)));
            busy = true;
        }
        let due = process.due.is_some_and(|due| due <= now);
        if due || !inbox.membership.is_empty() {
            let events = std::mem::take(&mut inbox.membership).into_iter().map(Step::Event);
            for action in process.membership.step(events, now) {
                self.carry_out(action, out);
            }
            let machine = process.membership.machine();
            inbox.desired = Some((Arc::new(machine.sessions()), Arc::new(machine.questions())));
            inbox.moved = true;
            busy = true;
        }
        let news = inbox.facts || inbox.decide || !inbox.election.is_empty() || !inbox.arp.is_empty();
        if news || due || std::mem::take(&mut inbox.moved) {
            self.publish(process, inbox, now, out);
            busy |= !self.claims.is_empty();
            inbox.membership.append(&mut self.claims);
        }
        if busy || due || told {
            process.due = process.timers();
        }
        busy
    }

    fn carry_out(&self, action: Action, out: &mut Vec<Effect>) {
        match action {
            Action::Own(own::Action::Write(member)) => out.push(Effect::Request(Request::Own(member))),
            Action::Own(own::Action::StateChanged { to, reason, .. }) => out.push(Effect::Note(format!("is {to:?}: {reason}"))),
            Action::Judge(judge::Action::Suspect(member)) => {
                out.push(Effect::Request(Request::Suspect(member, format!("{}/{}", self.name, self.instance))));
            }
            Action::Judge(judge::Action::Clear(member)) => out.push(Effect::Request(Request::Clear(member))),
            Action::Judge(judge::Action::StateChanged { node, to, reason, .. }) => {
                out.push(Effect::Note(format!("takes {node} for {to:?}: {reason}")));
            }
        }
    }

    /// Living, plan, layer 2, election and, while leading, assignment.
    fn publish(&mut self, process: &mut Process, inbox: &mut Inbox, now: Instant, out: &mut Vec<Effect>) {
        let (Some(view), Some(living)) = (self.view.clone(), process.membership.machine().living()) else { return };
        let heard = living.members.values().filter(|member| member.heard).count();
        if heard > std::mem::replace(&mut process.heard, heard) && process.detached {
            out.push(Effect::Poke);
        }
        if *process.living != living {
            process.living = Arc::new(living);
            inbox.facts = true;
        }
        let living = process.living.clone();
        if std::mem::take(&mut inbox.facts) {
            let plan = process.planner.plan(&self.config, &view, &living);
            let desired = l2_desired(&self.config, &view, &living, &plan, &self.links, &self.name);
            let link = desired.links.get("eth0").cloned().unwrap_or_else(|| self.nothing());
            self.arp(process, Some(Step::Set(Arc::new(link))), now, out);
            inbox.decide = true;
        }
        self.arp(process, None, now, out);
        for frame in std::mem::take(&mut inbox.arp) {
            let event = arp::Event::Received { destination: lanlord::addr::MacAddr::BROADCAST, packet: frame };
            self.arp(process, Some(Step::Event(event)), now, out);
        }
        let is_member = process.membership.machine().state() == own::State::Member;
        let desired = election::Desired { stand: stands(is_member, true, &view), heard_by_all: heard_by_all(&view, &living) };
        let events = [observed(&view, &living)].into_iter().chain(std::mem::take(&mut inbox.election)).map(Step::Event);
        for action in process.elector.step(std::iter::once(Step::Set(Arc::new(desired))).chain(events), now) {
            match action {
                election::Action::Write(record) => out.push(Effect::Request(Request::Leader(record))),
                election::Action::StateChanged { leading, reason } => {
                    inbox.decide = true;
                    out.push(Effect::Note(format!("leads: {leading}: {reason}")));
                }
            }
        }
        if inbox.decide && process.elector.machine().leads() && !process.deciding {
            self.seconds += 1;
            let plan = process.planner.plan(&self.config, &view, &living);
            let decision = decide(
                &self.config,
                &view,
                &living,
                &plan,
                &Now {
                    text: format!("t{}", self.seconds),
                    seconds: self.seconds,
                    quiet: false,
                    prospect: Prospect::Known(Advice::default()),
                    ..Now::default()
                },
            );
            if decision != Decision::default() {
                process.deciding = true;
                out.push(Effect::Request(Request::Decision(Box::new(decision))));
            }
            inbox.decide = false;
        }
    }

    fn arp(&mut self, process: &mut Process, step: Option<Step<LinkDesired, arp::Event>>, now: Instant, out: &mut Vec<Effect>) {
        for action in process.arp.step(step, now) {
            match action {
                ArpAction::Send { purpose: Purpose::Announcement | Purpose::Probe, packet, .. } => out.push(Effect::Arp(packet)),
                ArpAction::Send { .. } | ArpAction::JoinGroup(_) | ArpAction::LeaveGroup(_) => {}
                ArpAction::StateChanged { address, to, .. } => {
                    out.push(Effect::Note(format!("{address} {to:?}")));
                    match to {
                        ArpState::Announcing | ArpState::Yielding => drop(self.announced.insert(address)),
                        ArpState::Silent => drop(self.announced.remove(&address)),
                    }
                }
                ArpAction::MemberClaim { address, mac } => self.claims.push(Event::Claimed { address, mac }),
                ArpAction::Sighted { .. } => {}
                ArpAction::Conflict { address, mac } => out.push(Effect::Note(format!("{address} is claimed by {mac}"))),
            }
        }
    }

    fn nothing(&self) -> LinkDesired {
        LinkDesired {
            index: 2,
            mac: Lan::mac(self.node),
            known_macs: BTreeSet::new(),
            addresses: BTreeMap::new(),
            fresh: BTreeSet::new(),
            successors: Arc::default(),
            watched: Default::default(),
            announce_interval: None,
            promiscuous: false,
            until_heard: false,
            leaving: false,
        }
    }
}

/// What is still to be taken in by each machine.
#[derive(Default)]
struct Inbox {
    membership: Vec<Event>,
    bfd: Vec<BfdEvent>,
    arp: Vec<Frame>,
    asker: Vec<asker::Event>,
    election: Vec<election::Event>,
    /// What membership wants now of BFD and of the asker.
    desired: Option<(Arc<lanlord::bfd::desired::Desired>, Arc<lanlord::facts::Questions>)>,
    /// Membership was stepped.
    moved: bool,
    facts: bool,
    decide: bool,
}

/// What membership reads of a session; counters would wake it with every packet.
fn levels(status: &lanlord::bfd::status::SessionStatus) -> lanlord::bfd::status::SessionStatus {
    let up = status.state == SessionState::Up;
    lanlord::bfd::status::SessionStatus {
        state: status.state,
        expired: status.expired,
        concatenated_path_down: up && status.concatenated_path_down,
        ..Default::default()
    }
}
