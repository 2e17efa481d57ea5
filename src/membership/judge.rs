//! Whether another member is lost: a machine that turns what the senses say into evidence, and evidence into an eviction.
//!
//! ```text
//!            session Up                 expired               kernel silent, own link proven
//!  Unheard ─────────────► Up ──────────────────────► Asking ────────────────────────────────► Suspected ──► cleared Lease: forgotten
//!     ▲                    ▲                           │ kernel answers        restart_hold      │   ▲
//!     │ says Down          └── session Up, any state   └──────────────────► Holding ─────────────│───┘
//!     └────────────────────                                                                      └──► Refuted: it removed the suspicion
//! ```
//!
//! Evidence is a level and never silence of a writer: a session that *was Up* with this generation of the Lease and whose detection
//! time passed. A received Down is none: one forged packet must not evict. A member that was not heard for [`UNHEARD`] and whose kernel
//! is silent, too, is suspected likewise: that is how the power cut of a whole cluster, or a filtered UDP port, is got over.
//!
//! A member that shares no network with anybody cannot be heard or asked. Of it nothing tells but its Node: not Ready for [`UNHEARD`], it
//! is suspected, and refutes that through the API server if it lives.
//!
//! A suspect goes on being asked. A kernel that answers again boots, or the LAN is whole again: others keep its addresses until its agent
//! is heard, and nobody accuses it before it had [`RETURN`] for that.

mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use trial::Trial;
pub use trial::{Action, REFUTE, State, UNHEARD, Watched};

use crate::bfd::desired::SessionKey;
use crate::bfd::status::{State as SessionState, Status};
use crate::facts::{Answers, Evidence, Member, NodeName, Question, Questions};
use crate::machine::{Instant, Machine, earliest};

/// Requests in a row that a kernel leaves unanswered before it counts as silent: one lost packet must not.
const SILENT: u32 = 3;
/// A suspect whose kernel answers again is not accused for so long: where the LAN is whole again, a living agent is heard within three of
/// its slow packets (RFC 5880 §6.8.3: one a second).
pub const RETURN: Duration = Duration::from_secs(3);
/// A member whose agent is not back after so long is told of: a container that ended is started again within two seconds.
pub const NOTICE: Duration = Duration::from_secs(3);
/// Members accuse one after the other, in the order of their names, so that the first write is seen before the second is made.
const STAGGER: Duration = Duration::from_millis(20);

/// What the machine works on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// The other members.
    pub members: BTreeMap<NodeName, Watched>,
    /// Who can prove that our own links work, beside the members: gateways.
    pub witnesses: Questions,
    /// Our place among the members, from 0: who accuses first.
    pub place: u32,
    /// How long a member whose kernel answers may take to come back.
    pub restart_hold: Duration,
    /// Somebody doubts us (our Lease is suspected or cleared): our own links are to be proven.
    pub prove: bool,
    /// We do not reach the API server: what Nodes say is old.
    pub detached: bool,
}

/// What the machine is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The sessions as they are now.
    Sessions(Arc<Status>),
    /// The answers to our questions as they are now.
    Answers(Arc<Answers>),
    /// This member was heard announcing an address: its agent lives.
    Announced(NodeName),
    /// The write asked for went through: the Lease as it is now.
    Written(Box<Member>),
    /// The write on this member's Lease failed: no answer, or somebody was faster.
    Failed(NodeName),
}

/// The judge of all other members.
#[derive(Debug)]
pub struct Judge {
    desired: Arc<Desired>,
    trials: BTreeMap<NodeName, Trial>,
    sessions: Arc<Status>,
    answers: Answers,
    /// Our own link was proven when this was last looked at.
    proven: bool,
    /// Requests that were unanswered when it came to be proven: while our own link was dead everybody was silent.
    excused: BTreeMap<Question, u32>,
    /// Witnesses that answered once: a gateway that never did cannot be held against our link.
    known: BTreeSet<Question>,
    /// Witnesses are asked until then, so that we know which of them answer at all.
    acquaint_timer: Option<Instant>,
    met: Questions,
}

impl Default for Judge {
    fn default() -> Self {
        Self::new()
    }
}

impl Judge {
    /// Knows nobody yet.
    pub fn new() -> Self {
        Self {
            desired: Arc::default(),
            trials: BTreeMap::new(),
            sessions: Arc::default(),
            answers: Answers::new(),
            proven: true,
            excused: BTreeMap::new(),
            known: BTreeSet::new(),
            acquaint_timer: None,
            met: Questions::new(),
        }
    }

    /// What speaks against members that hold their Leases.
    pub fn evidence(&self) -> BTreeMap<NodeName, Evidence> {
        let suspected = self.trials.iter().filter_map(|(node, trial)| match trial.state {
            State::Suspected(evidence) if trial.doubt_timer.is_none() => Some((node.clone(), evidence)),
            State::Suspected(_) | State::Unheard | State::Up | State::Asking | State::Holding | State::Refuted | State::Remote => None,
        });
        suspected.collect()
    }

    /// What each other member is taken for.
    pub fn states(&self) -> BTreeMap<NodeName, State> {
        self.trials.iter().map(|(node, trial)| (node.clone(), trial.state)).collect()
    }

    /// Members that are heard, and whether each says that it does not reach the API server.
    pub fn heard(&self) -> BTreeMap<NodeName, bool> {
        let up = |session: &SessionKey| self.sessions.sessions.get(session).filter(|status| status.state == SessionState::Up);
        let heard = self.trials.iter().filter(|(_, trial)| trial.state == State::Up);
        heard
            .map(|(node, trial)| (node.clone(), trial.watched.sessions.iter().filter_map(up).all(|status| status.concatenated_path_down)))
            .collect()
    }

    /// Members whose kernel answers and whose liveness packets do not come through.
    pub fn blocked(&self) -> BTreeSet<NodeName> {
        self.trials.iter().filter(|(_, trial)| trial.blocked).map(|(node, _)| node.clone()).collect()
    }

    /// What is to be asked on the LAN now.
    pub fn questions(&self) -> Questions {
        let asked = self.trials.values().filter(|trial| matches!(trial.state, State::Asking | State::Holding | State::Suspected(_)));
        let mut questions: Questions = asked.flat_map(|trial| trial.watched.questions.iter().cloned()).collect();
        if !questions.is_empty() || self.desired.prove || self.acquaint_timer.is_some() {
            questions.extend(self.desired.witnesses.iter().cloned());
        }
        questions
    }

    /// Whether one of our own links carries traffic: somebody else is heard, or a witness answers, or there is nobody to ask.
    pub fn link_proven(&self) -> bool {
        let heard = self.trials.values().any(|trial| trial.state == State::Up);
        let answers = |question: &Question| self.answers.get(question).is_some_and(|answer| answer.mac.is_some() && answer.unanswered == 0);
        let kernels = self.trials.values().flat_map(|trial| &trial.watched.questions);
        let mut known = self.desired.witnesses.iter().filter(|witness| self.known.contains(*witness)).peekable();
        heard || kernels.chain(&self.desired.witnesses).any(answers) || known.peek().is_none()
    }

    fn is_silent(&self, questions: &Questions) -> bool {
        let excused = |question: &Question| self.excused.get(question).copied().unwrap_or(0);
        let silent = |question| self.answers.get(question).is_some_and(|answer| answer.unanswered >= SILENT + excused(question));
        !questions.is_empty() && questions.iter().all(silent)
    }

    /// Whether our own link is proven now, and which silence says nothing because it was not a moment ago.
    fn prove_link(&mut self) -> bool {
        let unanswered = |question: &Question| self.answers.get(question).map_or(0, |answer| answer.unanswered);
        self.excused.retain(|question, excused| unanswered(question) >= *excused);
        if self.link_proven() && !self.proven {
            self.excused = self.answers.iter().map(|(question, answer)| (question.clone(), answer.unanswered)).collect();
        }
        self.proven = self.link_proven();
        self.proven
    }

    fn answers(&self, questions: &Questions) -> bool {
        questions.iter().any(|question| self.answers.get(question).is_some_and(|answer| answer.unanswered == 0 && answer.mac.is_some()))
    }

    /// Brings every trial on, as far as what is known allows.
    fn consider(&mut self, now: Instant, out: &mut Vec<Action>) {
        let proven = self.prove_link();
        let mut trials = std::mem::take(&mut self.trials);
        for trial in trials.values_mut() {
            self.hear(trial, now, out);
            self.weigh(trial, proven, now, out);
            trial.write_if_due(now, out);
        }
        self.trials = trials;
    }

    fn turn(&self) -> Duration {
        STAGGER * self.desired.place.min(10)
    }

    /// Answers to what was asked in an earlier case say nothing in this one.
    fn ask(&mut self, trial: &mut Trial, reason: &'static str, out: &mut Vec<Action>) {
        self.answers.retain(|question, _| !trial.watched.questions.contains(question));
        trial.enter(State::Asking, reason, out);
    }

    /// What the sessions say.
    fn hear(&mut self, trial: &mut Trial, now: Instant, out: &mut Vec<Action>) {
        let sessions: Vec<_> = trial.watched.sessions.iter().filter_map(|key| self.sessions.sessions.get(key)).collect();
        let up = sessions.iter().any(|session| session.state == SessionState::Up);
        let expired = sessions.iter().any(|session| session.expired);
        match trial.state {
            State::Up if up => {}
            State::Up if expired => {
                trial.expired = true;
                self.ask(trial, "its liveness session expired", out);
            }
            State::Up => trial.wait_unheard(UNHEARD, "its liveness session went down in order", now, out),
            State::Unheard | State::Asking | State::Holding | State::Suspected(_) | State::Refuted | State::Remote if up => {
                (trial.accused, trial.refutations, trial.blocked) = (None, 0, false);
                trial.enter(State::Up, "its liveness session is up", out);
            }
            State::Unheard | State::Asking | State::Holding | State::Suspected(_) | State::Refuted | State::Remote => {}
        }
    }

    /// What the kernel says.
    fn weigh(&self, trial: &mut Trial, proven: bool, now: Instant, out: &mut Vec<Action>) {
        if trial.watched.remote {
            return trial.weigh_remote(self.desired.detached, now, out);
        }
        let silent = self.is_silent(&trial.watched.questions);
        let answers = self.answers(&trial.watched.questions);
        match trial.state {
            State::Asking if silent && proven => {
                let evidence = if trial.expired { Evidence::SessionExpired } else { Evidence::NeverHeard };
                trial.suspect(evidence, "its kernel is silent, too", self.turn(), now, out);
            }
            State::Asking if answers && trial.expired => {
                trial.enter(State::Holding, "its kernel answers: waiting for its agent to come back", out);
                (trial.restart_hold_timer, trial.notice_timer) = (Some(now + self.desired.restart_hold), Some(now + NOTICE));
            }
            State::Asking if answers && trial.watched.node_ready => {
                trial.blocked = true;
                trial.wait_unheard(UNHEARD, "its kernel answers", now, out);
            }
            // It boots, or the LAN is whole again. Its place is taken until its agent is heard, but the accusation waits for that, too.
            State::Suspected(Evidence::SessionExpired | Evidence::NeverHeard) if answers => {
                let write_timer = trial.write_timer;
                trial.enter(State::Suspected(Evidence::AgentGone), "its kernel answers again: waiting for its agent to come back", out);
                (trial.write_timer, trial.restart_hold_timer) = (write_timer, Some(now + RETURN));
            }
            State::Suspected(Evidence::AgentGone) if silent && proven => {
                trial.suspect(Evidence::SessionExpired, "its kernel fell silent, too", self.turn(), now, out);
            }
            State::Remote | State::Suspected(Evidence::NodeNotReady) => {
                trial.wait_unheard(UNHEARD, "it shares a network with somebody", now, out);
            }
            State::Asking if answers => trial.suspect(Evidence::AgentGone, "not heard, and its Node is not Ready", self.turn(), now, out),
            State::Holding if silent && proven => {
                trial.suspect(Evidence::SessionExpired, "its kernel fell silent, too", self.turn(), now, out);
            }
            State::Unheard | State::Up | State::Asking | State::Holding | State::Suspected(_) | State::Refuted => {}
        }
    }
}

impl Machine for Judge {
    type Desired = Desired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<Desired>, now: Instant, out: &mut Vec<Action>) {
        if !desired.witnesses.is_subset(&self.met) {
            self.met.extend(desired.witnesses.iter().cloned());
            self.acquaint_timer = Some(now + UNHEARD);
        }
        self.desired = desired.clone();
        self.trials.retain(|node, _| desired.members.contains_key(node));
        for (node, watched) in &desired.members {
            match self.trials.remove(node) {
                Some(mut trial) => {
                    trial.follow(watched.clone(), self.turn(), now, out);
                    self.trials.insert(node.clone(), trial);
                }
                None => drop(self.trials.insert(node.clone(), Trial::new(watched.clone(), now))),
            }
        }
        self.consider(now, out);
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Sessions(sessions) => self.sessions = sessions,
            Event::Answers(answers) => {
                let witnesses = self.desired.witnesses.iter();
                self.known.extend(witnesses.filter(|witness| answers.get(witness).is_some_and(|answer| answer.mac.is_some())).cloned());
                self.answers = Answers::clone(&answers);
            }
            Event::Announced(node) => {
                let doubted = |trial: &&mut Trial| matches!(trial.state, State::Asking | State::Holding | State::Suspected(_));
                if let Some(trial) = self.trials.get_mut(&node).filter(doubted) {
                    trial.refute("it announces an address", now, out);
                }
            }
            Event::Written(member) => {
                let turn = self.turn();
                if let Some(trial) = self.trials.get_mut(&member.node) {
                    trial.written(*member, turn, now);
                }
            }
            Event::Failed(node) => {
                if let Some(trial) = self.trials.get_mut(&node) {
                    trial.write_failed(now);
                }
            }
        }
        self.consider(now, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        let due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if due(self.acquaint_timer) {
            self.acquaint_timer = None;
        }
        let mut trials = std::mem::take(&mut self.trials);
        for trial in trials.values_mut() {
            let is_due = due(trial.unheard_timer);
            if is_due && trial.state == State::Remote {
                trial.suspect(Evidence::NodeNotReady, "its Node is not Ready", self.turn(), now, out);
            } else if is_due {
                self.ask(trial, "not heard for long", out);
            }
            if due(trial.notice_timer) {
                (trial.notice_timer, trial.blocked) = (None, true);
            }
            if due(trial.doubt_timer) {
                trial.doubt_timer = None;
            }
            if due(trial.restart_hold_timer.take_if(|at| *at <= now)) && trial.state == State::Holding {
                trial.suspect(Evidence::AgentGone, "its agent did not come back", self.turn(), now, out);
            }
        }
        self.trials = trials;
        self.consider(now, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.trials.values().map(Trial::poll_timeout).chain([self.acquaint_timer]))
    }
}
