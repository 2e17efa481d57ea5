//! Keeps this agent's member Lease, watches the other members, and publishes who lives.
//!
//! ```text
//!  own links, configuration ─┐                    ┌─► PUT node.<node>, suspicions, clearings ─► API server ─► api::watch ─┐
//!  Snapshot ◄────────────────│────────────────────│───────────────────────────────────────────────────────────────────────┘
//!     └──────────────────────┼─► Membership ──────┼─► Arc<Living>           (plan, leader)
//!  liveness sessions ────────┤                    ├─► Arc<bfd::Desired>     (bfd)
//!  answers of the LAN ───────┘                    └─► Arc<Questions>        (l2)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::judge;
use super::living::verdict;
use super::machine::{Action, Desired, Event, Membership};
use super::own::{self, State};
use crate::addr::MacAddr;
use crate::api::state::ApiState;
use crate::api::watch::Feedback;
use crate::api::{Api, WriteError};
use crate::bfd::desired::Desired as SessionsDesired;
use crate::bfd::status::Status as SessionsStatus;
use crate::facts::{Answers, Evidence, Living, Member, NodeName, Questions, Snapshot, replace};
use crate::machine::{Driver, Input};
use crate::net::clock;

/// How long an orderly leave may wait for the API server.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the task reads.
#[derive(Debug)]
pub struct Inputs {
    /// What the API server says.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Whether the API server answers.
    pub api: watch::Receiver<ApiState>,
    /// What the own Lease should say, and what the mesh is made of.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// The liveness sessions.
    pub sessions: watch::Receiver<Arc<SessionsStatus>>,
    /// What the LAN answered.
    pub answers: watch::Receiver<Arc<Answers>>,
    /// Which member announced last what this node announces, and when.
    pub claims: watch::Receiver<Claims>,
}

/// By address.
pub type Claims = BTreeMap<IpAddr, (MacAddr, Timestamp)>;

/// What the task tells.
#[derive(Debug)]
pub struct Outputs {
    /// Who may own addresses.
    pub living: watch::Sender<Arc<Living>>,
    /// Where this agent stands.
    pub state: watch::Sender<State>,
    /// The liveness sessions wanted.
    pub sessions: watch::Sender<Arc<SessionsDesired>>,
    /// What is to be asked on the LAN.
    pub questions: watch::Sender<Arc<Questions>>,
    /// What the others are taken for.
    pub status: watch::Sender<Arc<Status>>,
    /// Answers to our writes. An mpsc, for none may be lost: what is decided next rests on it.
    pub feedback: mpsc::Sender<Feedback>,
}

/// What membership shows of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// What each other member is taken for.
    pub members: BTreeMap<NodeName, Taken>,
    /// Members whose kernel answers and whose liveness packets do not come through.
    pub blocked: BTreeSet<NodeName>,
    /// Members that lost their Lease or their right to addresses, and why.
    pub lost: BTreeMap<NodeName, Evidence>,
    /// Suspicions since the start.
    pub suspicions: u64,
    /// Members that removed a suspicion themselves, since the start.
    pub refutations: u64,
    /// Leases of others that this agent cleared, since the start.
    pub evictions: u64,
}

/// What a member is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// For this.
    pub state: judge::State,
    /// Since when; not counting the questions asked again and again of a member that is not heard.
    pub since: Timestamp,
}

/// Runs until `leave`, then releases the Lease (unless a newer instance has it) and returns.
///
/// # Errors
/// None: the API server's weather is waited out.
pub async fn run(
    api: Api,
    node: NodeName,
    instance: String,
    seed: u64,
    mut inputs: Inputs,
    outputs: Outputs,
    leave: CancellationToken,
) -> anyhow::Result<()> {
    let identity = format!("{node}/{instance}");
    let machine = Membership::new(node.clone(), instance, fastrand::Rng::with_seed(seed));
    let mut shell = Shell {
        api,
        node,
        identity,
        driver: Driver::new(machine),
        jobs: JoinSet::new(),
        outputs,
        status: Status::default(),
        own_failed: false,
        snapshot: None,
        claims: Claims::new(),
    };
    // What was published before this task began counts, too.
    inputs.snapshot.mark_changed();
    inputs.desired.mark_changed();
    loop {
        shell.publish();
        tokio::select! {
            biased;
            () = leave.cancelled() => break,
            stepped = shell.follow(&mut inputs) => stepped?,
        }
    }
    let desired = inputs.desired.borrow().clone();
    let leaving = Desired { own: own::Desired { leave: true, ..desired.own.clone() }, ..Desired::clone(&desired) };
    shell.step(vec![Input::Set(Arc::new(leaving))]);
    if tokio::time::timeout(LEAVE_TIMEOUT, shell.finish(&mut inputs)).await.is_err() {
        tracing::warn!("the API server did not answer in time: the member Lease is left behind");
    }
    shell.publish();
    Ok(())
}

/// What came of a write.
enum Done {
    Own(Result<Member, WriteError>),
    Suspected(NodeName, Result<Member, WriteError>),
    Cleared(NodeName, Result<Member, WriteError>),
}

struct Shell {
    api: Api,
    node: NodeName,
    identity: String,
    driver: Driver<Membership>,
    jobs: JoinSet<Done>,
    outputs: Outputs,
    status: Status,
    /// The own Lease could not be written, which was told.
    own_failed: bool,
    snapshot: Option<Arc<Snapshot>>,
    claims: Claims,
}

impl Shell {
    /// Waits for whatever comes first and takes it in.
    async fn follow(&mut self, inputs: &mut Inputs) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            changed = inputs.sessions.changed() => {
                changed?;
                let sessions = inputs.sessions.borrow_and_update().clone();
                self.step(vec![Input::Event(Event::Sessions(sessions))]);
            }
            changed = inputs.answers.changed() => {
                changed?;
                let answers = inputs.answers.borrow_and_update().clone();
                self.step(vec![Input::Event(Event::Answers(answers))]);
            }
            changed = inputs.claims.changed() => {
                changed?;
                let claims = inputs.claims.borrow_and_update().clone();
                let new = claims.iter().filter(|(address, claim)| self.claims.get(*address) != Some(claim));
                let events = new.map(|(address, (mac, _))| Input::Event(Event::Claimed { address: *address, mac: *mac })).collect();
                self.step(events);
                self.claims = claims;
            }
            Some(done) = self.jobs.join_next() => self.finished(done?),
            changed = inputs.snapshot.changed() => {
                changed?;
                self.snapshot.clone_from(&inputs.snapshot.borrow_and_update());
                let events = self.snapshot.iter().map(|snapshot| Input::Event(Event::Snapshot(snapshot.clone())));
                let events = events.collect();
                self.step(events);
            }
            changed = inputs.api.changed() => {
                changed?;
                let reachable = !inputs.api.borrow_and_update().contact.is_unreachable();
                self.step(vec![Input::Event(Event::Contact { reachable })]);
            }
            changed = inputs.desired.changed() => {
                changed?;
                let desired = inputs.desired.borrow_and_update().clone();
                self.step(vec![Input::Set(desired)]);
            }
            () = clock::sleep_until(self.driver.poll_timeout()) => self.step(Vec::new()),
        }
        Ok(())
    }

    fn step(&mut self, inputs: Vec<Input<Desired, Event>>) {
        let actions: Vec<Action> = self.driver.step(inputs, clock::now()).collect();
        for action in actions {
            match action {
                Action::Own(action) => self.carry_out_own(action),
                Action::Judge(action) => self.carry_out(action),
            }
        }
    }

    fn carry_out_own(&mut self, action: own::Action) {
        match action {
            own::Action::Write(member) => {
                let node = self.snapshot.as_ref().and_then(|snapshot| snapshot.nodes.get(&self.node));
                let (api, node_uid) = (self.api.clone(), node.map(|node| node.uid.clone()).unwrap_or_default());
                self.jobs.spawn(async move { Done::Own(api.write_member(&member, &node_uid).await) });
            }
            own::Action::StateChanged { from, to, reason } => {
                tracing::info!(?from, ?to, reason, "membership");
                self.outputs.state.send_replace(to);
            }
        }
    }

    fn carry_out(&mut self, action: judge::Action) {
        let api = self.api.clone();
        match action {
            judge::Action::Suspect(member) => {
                let by = self.identity.clone();
                self.jobs.spawn(async move { Done::Suspected(member.node.clone(), api.suspect(&member, &by).await) });
            }
            judge::Action::Clear(member) => {
                self.jobs.spawn(async move { Done::Cleared(member.node.clone(), api.clear(&member).await) });
            }
            judge::Action::StateChanged { node, from, to, reason } => self.state_changed(&node, from, to, reason),
        }
    }

    fn state_changed(&mut self, node: &NodeName, from: judge::State, to: judge::State, reason: &str) {
        match to {
            judge::State::Suspected(evidence) => {
                self.status.suspicions += 1;
                tracing::warn!(%node, ?evidence, reason, "member suspected");
            }
            judge::State::Refuted => {
                self.status.refutations += 1;
                tracing::warn!(%node, reason, "member not lost");
            }
            // A member that is not heard is asked for again and again.
            judge::State::Unheard | judge::State::Asking if is_asked_for(from) && is_asked_for(to) => {
                tracing::debug!(%node, ?from, ?to, reason, "member");
            }
            judge::State::Unheard | judge::State::Up | judge::State::Asking | judge::State::Holding | judge::State::Remote => {
                tracing::info!(%node, ?from, ?to, reason, "member");
            }
        }
    }

    fn finished(&mut self, done: Done) {
        let event = match done {
            Done::Own(Ok(member)) => {
                self.own_failed = false;
                self.feed_back(&member);
                Event::Own(own::Event::Written(member))
            }
            Done::Own(Err(error)) => {
                if !std::mem::replace(&mut self.own_failed, true) {
                    tracing::warn!(%error, "the member Lease could not be written; trying again");
                }
                Event::Own(own::Event::Failed)
            }
            Done::Suspected(_, Ok(member)) => {
                self.feed_back(&member);
                Event::Judge(judge::Event::Written(Box::new(member)))
            }
            Done::Cleared(node, Ok(member)) => {
                self.status.evictions += 1;
                tracing::warn!(%node, "member lost: its Lease is cleared");
                self.feed_back(&member);
                Event::Judge(judge::Event::Written(Box::new(member)))
            }
            Done::Suspected(node, Err(error)) | Done::Cleared(node, Err(error)) => {
                tracing::debug!(%node, %error, "the suspicion was not written");
                Event::Judge(judge::Event::Failed(node))
            }
        };
        self.step(vec![Input::Event(event)]);
    }

    fn feed_back(&self, member: &Member) {
        // A full queue means that the watch task is far behind; it will hear of this Lease from the API server.
        drop(self.outputs.feedback.try_send(Feedback::Member(member.clone())));
    }

    fn publish(&mut self) {
        self.tell_lost();
        let machine = self.driver.machine();
        if let Some(living) = machine.living() {
            self.outputs.living.send_if_modified(|known| replace(known, Arc::new(living)));
        }
        let (sessions, questions) = (machine.sessions(), machine.questions());
        self.outputs.sessions.send_if_modified(|known| replace(known, Arc::new(sessions)));
        self.outputs.questions.send_if_modified(|known| replace(known, Arc::new(questions)));
        self.status.members = taken(&self.status.members, machine.judge().states(), clock::wall());
        let blocked = machine.judge().blocked();
        tell_blocked(&self.status.blocked, &blocked, &self.status.members);
        self.status.blocked = blocked;
        let status = Arc::new(self.status.clone());
        self.outputs.status.send_if_modified(|known| replace(known, status));
    }

    /// Who is lost by word of the API server: the judge's own verdicts are told when they fall.
    fn tell_lost(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        let evidence = self.driver.machine().judge().evidence();
        let members = snapshot.members.values().filter(|member| member.instance.is_some());
        let lost: BTreeMap<NodeName, Evidence> =
            members.filter_map(|member| Some((member.node.clone(), verdict(snapshot, member, &evidence)?))).collect();
        for (node, evidence) in lost.iter().filter(|(_, evidence)| matches!(evidence, Evidence::NodeGone | Evidence::OutOfService)) {
            if self.status.lost.get(node) != Some(evidence) {
                tracing::warn!(%node, ?evidence, "member lost");
            }
        }
        self.status.lost = lost;
    }

    /// Until the Lease is released, or a newer instance has it.
    async fn finish(&mut self, inputs: &mut Inputs) {
        while matches!(self.driver.machine().state(), State::Joining | State::Member) && self.follow(inputs).await.is_ok() {}
    }
}

fn is_asked_for(state: judge::State) -> bool {
    matches!(state, judge::State::Unheard | judge::State::Asking)
}

/// Each state with its beginning.
fn taken(before: &BTreeMap<NodeName, Taken>, states: BTreeMap<NodeName, judge::State>, now: Timestamp) -> BTreeMap<NodeName, Taken> {
    let with_since = |(node, state): (NodeName, judge::State)| {
        let same = |taken: &&Taken| taken.state == state || (is_asked_for(taken.state) && is_asked_for(state));
        let since = before.get(&node).filter(same).map_or(now, |taken| taken.since);
        (node, Taken { state, since })
    };
    states.into_iter().map(with_since).collect()
}

fn tell_blocked(before: &BTreeSet<NodeName>, blocked: &BTreeSet<NodeName>, members: &BTreeMap<NodeName, Taken>) {
    for node in blocked.difference(before) {
        tracing::warn!(%node, "no liveness packets from this member although its kernel answers: UDP is filtered, or its agent does not run");
    }
    for node in before.difference(blocked).filter(|node| members.get(*node).is_some_and(|taken| taken.state == judge::State::Up)) {
        tracing::info!(%node, "liveness packets from this member arrive");
    }
}
