//! Membership as one machine: the own Lease and the judge of the others, fed from the same facts.
//!
//! ```text
//!  Snapshot ─┬─► own ──────────────► write of the own Lease      doubted ─┐        ┌─ link proven
//!            └─► mesh ─► judge ────► suspicions, clearings         ▲       └─► judge ┘    │
//!  Sessions, Answers ──►   │                                       └──────── own ◄────────┘
//!                          └─► living() · sessions() · questions()       what plan and leader, BFD and layer 2 are told
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::judge::{self, Judge};
use super::living::{Senses, living};
use super::mesh::{Timers, View, desired};
use super::own::{self, OwnLease, State};
use crate::addr::MacAddr;
use crate::bfd::desired::Desired as Sessions;
use crate::bfd::status::Status;
use crate::facts::{Answers, Heirs, Links, Living, NodeName, Questions, Snapshot};
use crate::machine::{Instant, Machine, earliest};

/// What membership works with, beside what happens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// What the own Lease should say.
    pub own: own::Desired,
    /// The links of this host.
    pub links: Arc<Links>,
    /// How liveness sessions are run.
    pub timers: Timers,
    /// `restartHold`: how long a member whose kernel answers may take to come back.
    pub restart_hold: Duration,
    /// Who would inherit the addresses of whom.
    pub heirs: Arc<Heirs>,
}

/// What membership is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// What the API server says.
    Snapshot(Arc<Snapshot>),
    /// Whether it answers.
    Contact {
        /// It does, or it is not known yet.
        reachable: bool,
    },
    /// The liveness sessions as they are now.
    Sessions(Arc<Status>),
    /// The answers to our questions.
    Answers(Arc<Answers>),
    /// Somebody announced an address that this node announces.
    Claimed {
        /// The address.
        address: IpAddr,
        /// From this MAC.
        mac: MacAddr,
    },
    /// What became of a write of our own Lease.
    Own(own::Event),
    /// What became of a write of another member's Lease.
    Judge(judge::Event),
}

/// What membership wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// With our own Lease.
    Own(own::Action),
    /// With the Lease of another member.
    Judge(judge::Action),
}

/// The machine.
#[derive(Debug)]
pub struct Membership {
    me: NodeName,
    own: OwnLease,
    judge: Judge,
    desired: Arc<Desired>,
    snapshot: Option<Arc<Snapshot>>,
    detached: bool,
    /// Whom this agent heard announcing which of its own addresses while it was detached. Kept until the API server is back:
    /// nothing more is heard of an address once this node has given it up.
    contested: BTreeMap<IpAddr, NodeName>,
}

impl Membership {
    /// `instance` is unique to this process; `rng` spreads attempts.
    pub fn new(me: NodeName, instance: String, rng: fastrand::Rng) -> Self {
        let own = OwnLease::new(me.clone(), instance, rng);
        Self { me, own, judge: Judge::new(), desired: Arc::default(), snapshot: None, detached: false, contested: BTreeMap::new() }
    }

    /// Where this agent stands.
    pub fn state(&self) -> State {
        self.own.state()
    }

    /// What the others are taken for.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Who may own addresses; `None` before the API server was heard.
    pub fn living(&self) -> Option<Living> {
        let mut heard = self.judge.heard();
        heard.insert(self.me.clone(), self.detached);
        let senses = Senses { evidence: self.judge.evidence(), heard, detached: self.detached, contested: self.contested.clone() };
        Some(living(self.snapshot.as_ref()?, &senses))
    }

    /// The liveness sessions wanted; none for an instance that a newer one on its node has replaced.
    pub fn sessions(&self) -> Sessions {
        match (self.own.state(), &self.snapshot) {
            (State::Superseded, _) => Sessions { silent: true, ..Sessions::default() },
            (State::Left, _) | (_, None) => Sessions::default(),
            (State::Joining | State::Member, Some(snapshot)) => self.view(snapshot).sessions(&self.desired.timers, self.detached),
        }
    }

    /// What is to be asked on the LAN.
    pub fn questions(&self) -> Questions {
        self.judge.questions()
    }

    /// Only an agent announces: who is heard doing so lives, whatever our senses said.
    fn claimed(&mut self, address: IpAddr, mac: MacAddr, now: Instant, out: &mut Vec<Action>) {
        let Some(snapshot) = self.snapshot.clone() else { return };
        let mut members = snapshot.members.values().filter(|member| member.node != self.me);
        let Some(member) = members.find(|member| member.links.iter().any(|link| link.mac == mac)) else { return };
        if self.detached {
            self.contested.insert(address, member.node.clone());
        }
        let event = judge::Event::Announced(member.node.clone());
        self.step_judge(|judge, actions| judge.handle(event, now, actions), out);
    }

    fn view<'a>(&'a self, snapshot: &'a Snapshot) -> View<'a> {
        View { me: &self.me, snapshot, links: &self.desired.links, own: &self.desired.own.links, heirs: &self.desired.heirs }
    }

    fn observe(&mut self, now: Instant, out: &mut Vec<Action>) {
        if let Some(snapshot) = self.snapshot.clone() {
            let member = snapshot.members.get(&self.me).cloned();
            let event = own::Event::Observed { member, node_exists: snapshot.nodes.contains_key(&self.me) };
            self.step_own(|own, actions| own.handle(event, now, actions), out);
        }
    }

    /// The view of the others; then whether our own links are proven, for the own Lease.
    fn consider(&mut self, now: Instant, out: &mut Vec<Action>) {
        if let Some(snapshot) = self.snapshot.clone() {
            // Who leaves, or has been replaced, ends its sessions: that it does not hear the others says nothing about them.
            let desired = if self.desired.own.leave || matches!(self.own.state(), State::Superseded | State::Left) {
                Arc::default()
            } else {
                desired(&self.view(&snapshot), &self.desired.timers, self.desired.restart_hold, self.own.is_doubted(), self.detached)
            };
            self.step_judge(|judge, actions| judge.set(desired, now, actions), out);
        }
        let own = own::Desired { unproven: !self.judge.link_proven(), ..self.desired.own.clone() };
        self.step_own(|own_lease, actions| own_lease.set(Arc::new(own), now, actions), out);
    }

    fn step_own(&mut self, step: impl FnOnce(&mut OwnLease, &mut Vec<own::Action>), out: &mut Vec<Action>) {
        let mut actions = Vec::new();
        step(&mut self.own, &mut actions);
        out.extend(actions.into_iter().map(Action::Own));
    }

    fn step_judge(&mut self, step: impl FnOnce(&mut Judge, &mut Vec<judge::Action>), out: &mut Vec<Action>) {
        let mut actions = Vec::new();
        step(&mut self.judge, &mut actions);
        out.extend(actions.into_iter().map(Action::Judge));
    }
}

impl Machine for Membership {
    type Desired = Desired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<Desired>, now: Instant, out: &mut Vec<Action>) {
        self.desired = desired;
        self.consider(now, out);
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Snapshot(snapshot) => {
                self.snapshot = Some(snapshot);
                self.observe(now, out);
            }
            Event::Contact { reachable } => {
                self.detached = !reachable;
                if reachable {
                    self.contested.clear();
                }
            }
            Event::Claimed { address, mac } => self.claimed(address, mac, now, out),
            Event::Own(event) => {
                self.step_own(|own, actions| own.handle(event, now, actions), out);
                // What came in while a write was under way was not looked at.
                self.observe(now, out);
            }
            Event::Sessions(sessions) => {
                self.step_judge(|judge, actions| judge.handle(judge::Event::Sessions(sessions), now, actions), out);
            }
            Event::Answers(answers) => self.step_judge(|judge, actions| judge.handle(judge::Event::Answers(answers), now, actions), out),
            Event::Judge(event) => self.step_judge(|judge, actions| judge.handle(event, now, actions), out),
        }
        self.consider(now, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.step_own(|own, actions| own.handle_timeout(now, actions), out);
        self.step_judge(|judge, actions| judge.handle_timeout(now, actions), out);
        self.consider(now, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest([self.own.poll_timeout(), self.judge.poll_timeout()])
    }
}
