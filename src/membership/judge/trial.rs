//! The case of one member: what it is taken for, what is due next, and what is written on its Lease.
//!
//! It knows nothing of the senses: the judge tells it what they say. Whoever is accused has [`REFUTE`] to remove the accusation before
//! its Lease is cleared, and who did so is trusted longer each time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::bfd::desired::SessionKey;
use crate::facts::{Evidence, Member, NodeName, Questions, is_at_least};
use crate::machine::{Instant, earliest};

/// A member not heard for so long is asked for.
pub const UNHEARD: Duration = Duration::from_secs(10);
/// From an accusation to the clearing of the Lease: the time a living member has to remove it.
pub const REFUTE: Duration = Duration::from_millis(150);
/// How long an accusation stays without effect on who owns what where the accused may well prove itself: it did so before, or its kernel
/// answers. Watches bring its answer within this time.
const DOUBT: Duration = Duration::from_millis(500);
/// Pause before a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a member that refuted a suspicion is trusted without being heard; doubled up to the second for each further time.
const TRUST: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

/// Another member, and how it can be sensed from here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// Its Lease; held by an instance.
    pub member: Arc<Member>,
    /// Our liveness sessions with it.
    pub sessions: BTreeSet<SessionKey>,
    /// Where its kernel can be asked.
    pub questions: Questions,
    /// Its Node is Ready.
    pub node_ready: bool,
    /// It shares no network with anybody, so that nothing but its Lease and its Node tells of it.
    pub remote: bool,
}

/// What another member is taken for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Not heard, or not any more because it said so.
    Unheard,
    /// A session with it is Up.
    Up,
    /// Its kernel is being asked.
    Asking,
    /// Its kernel answers; its agent has `restartHold` to come back.
    Holding,
    /// Lost as far as our senses go.
    Suspected(Evidence),
    /// It proved itself although we do not hear it: it removed our suspicion, or announces an address.
    Refuted,
    /// It shares no network with anybody: only its Lease and its Node tell of it.
    Remote,
}

impl State {
    /// One word, for metrics and the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unheard => "unheard",
            Self::Up => "up",
            Self::Asking => "asking",
            Self::Holding => "holding",
            Self::Suspected(_) => "suspected",
            Self::Refuted => "refuted",
            Self::Remote => "remote",
        }
    }
}

/// What the machine wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Mark this Lease (over its `resource_version`) as suspected by us.
    Suspect(Arc<Member>),
    /// Clear this Lease (over its `resource_version`).
    Clear(Arc<Member>),
    /// A member is taken for something else than before.
    StateChanged {
        /// The member.
        node: NodeName,
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        reason: &'static str,
    },
}

/// The case of one member.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) watched: Watched,
    pub(super) state: State,
    /// A session with it was Up in this generation and expired; else it was never heard or said Down.
    pub(super) expired: bool,
    /// Unheard, Refuted: when it is asked for. Remote: when it is lost unless its Node is Ready by then.
    pub(super) unheard_timer: Option<Instant>,
    /// Holding, or Suspected though its kernel answers again: how long it may take to be heard.
    pub(super) restart_hold_timer: Option<Instant>,
    /// Holding: when people are told that its packets do not come through.
    pub(super) notice_timer: Option<Instant>,
    /// Suspected: until then it is no evidence yet.
    pub(super) doubt_timer: Option<Instant>,
    /// Suspected: when the next write on its Lease is due.
    pub(super) write_timer: Option<Instant>,
    writing: bool,
    /// The version of the Lease in which it was suspected, by us or another.
    pub(super) accused: Option<String>,
    pub(super) refutations: u32,
    /// Its packets are missed although its kernel answers: UDP is filtered, or its agent does not run.
    pub(super) blocked: bool,
}

impl Trial {
    pub(super) fn new(watched: Watched, now: Instant) -> Self {
        Self {
            watched,
            state: State::Unheard,
            expired: false,
            unheard_timer: Some(now + UNHEARD),
            restart_hold_timer: None,
            notice_timer: None,
            doubt_timer: None,
            write_timer: None,
            writing: false,
            accused: None,
            refutations: 0,
            blocked: false,
        }
    }

    pub(super) fn enter(&mut self, to: State, reason: &'static str, out: &mut Vec<Action>) {
        self.unheard_timer = None;
        self.restart_hold_timer = None;
        self.notice_timer = None;
        self.doubt_timer = None;
        self.write_timer = None;
        if self.state != to {
            out.push(Action::StateChanged { node: self.watched.member.node.clone(), from: self.state, to, reason });
            self.state = to;
        }
    }

    /// Not heard, and asked for after `wait`.
    pub(super) fn wait_unheard(&mut self, wait: Duration, reason: &'static str, now: Instant, out: &mut Vec<Action>) {
        self.enter(State::Unheard, reason, out);
        self.expired = false;
        self.unheard_timer = Some(now + wait);
    }

    pub(super) fn refute(&mut self, reason: &'static str, now: Instant, out: &mut Vec<Action>) {
        self.refutations += 1;
        let trust = TRUST.0.saturating_mul(1 << self.refutations.saturating_sub(1).min(8)).min(TRUST.1);
        self.enter(State::Refuted, reason, out);
        (self.accused, self.expired, self.unheard_timer) = (None, false, Some(now + trust));
    }

    fn same_instance(&self, member: &Member) -> bool {
        (self.watched.member.generation, &self.watched.member.instance) == (member.generation, &member.instance)
    }

    /// What the Node of a member says that nothing else tells of; nothing new while we are `detached` from the API server.
    pub(super) fn weigh_remote(&mut self, detached: bool, now: Instant, out: &mut Vec<Action>) {
        let lives = self.watched.node_ready || detached;
        match self.state {
            State::Unheard => self.enter(State::Remote, "it shares no network with anybody", out),
            // One that was heard before, and expired, is another case.
            State::Asking if !self.expired => self.enter(State::Remote, "it shares no network with anybody", out),
            State::Suspected(Evidence::NodeNotReady) if lives => self.enter(State::Remote, "nothing speaks against its Node", out),
            State::Remote | State::Up | State::Asking | State::Holding | State::Suspected(_) | State::Refuted => {}
        }
        if self.state == State::Remote {
            self.unheard_timer = if lives { None } else { self.unheard_timer.or(Some(now + UNHEARD)) };
        }
    }

    /// `turn`: how long those of our kind who accuse before us are left to it.
    pub(super) fn suspect(&mut self, evidence: Evidence, reason: &'static str, turn: Duration, now: Instant, out: &mut Vec<Action>) {
        let believed = matches!(self.state, State::Suspected(_)) && self.doubt_timer.is_none();
        self.enter(State::Suspected(evidence), reason, out);
        let doubted = !believed && (self.refutations > 0 || matches!(evidence, Evidence::AgentGone | Evidence::NodeNotReady));
        self.doubt_timer = doubted.then(|| now + DOUBT);
        self.accused = self.watched.member.suspect.as_ref().map(|_| self.watched.member.resource_version.clone());
        let patience = if self.accused.is_some() { REFUTE } else { Duration::ZERO };
        self.write_timer = Some(now + patience + turn);
    }

    /// Takes in what the API server says of it.
    pub(super) fn follow(&mut self, watched: Watched, turn: Duration, now: Instant, out: &mut Vec<Action>) {
        if !is_at_least(&watched.member.resource_version, &self.watched.member.resource_version) {
            self.watched = Watched { member: self.watched.member.clone(), ..watched };
            return;
        }
        let known = self.same_instance(&watched.member);
        let version = watched.member.resource_version.clone();
        let newer = |than: &String| is_at_least(&version, than) && version != *than;
        let suspected = watched.member.suspect.is_some();
        let is_new = version != self.watched.member.resource_version;
        self.watched = watched;
        if !known {
            // A new instance took the Lease, so its agent lives; whoever held it before is of no interest.
            self.accused = None;
            if self.state != State::Up {
                self.wait_unheard(UNHEARD, "a new instance holds the Lease", now, out);
            }
            return;
        }
        if !matches!(self.state, State::Suspected(_)) || !is_new {
            return;
        }
        if suspected && self.accused.is_none() {
            // Somebody was faster: the Lease is cleared once its holder has had its time.
            self.accused = Some(version);
            self.write_timer = Some(now + REFUTE + turn);
        } else if !suspected && self.accused.as_ref().is_some_and(newer) {
            self.refute("it removed the suspicion itself", now, out);
        }
    }

    pub(super) fn write_if_due(&mut self, now: Instant, out: &mut Vec<Action>) {
        let held = self.restart_hold_timer.is_some_and(|at| at > now);
        if self.writing || held || self.write_timer.is_none_or(|at| at > now) {
            return;
        }
        self.write_timer = None;
        self.writing = true;
        let member = self.watched.member.clone();
        out.push(if self.accused.is_some() { Action::Clear(member) } else { Action::Suspect(member) });
    }

    pub(super) fn written(&mut self, member: Member, turn: Duration, now: Instant) {
        self.writing = false;
        if matches!(self.state, State::Suspected(_)) && member.suspect.is_some() {
            self.accused = Some(member.resource_version.clone());
            self.write_timer = Some(now + REFUTE + turn);
        }
        if is_at_least(&member.resource_version, &self.watched.member.resource_version) {
            self.watched.member = Arc::new(member);
        }
    }

    pub(super) fn write_failed(&mut self, now: Instant) {
        self.writing = false;
        if matches!(self.state, State::Suspected(_)) {
            // The duty stays until the Lease is cleared, refuted or changes its holder.
            self.write_timer = Some(now + RETRY);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        // What waits for `restart_hold` is due with it.
        let write_timer = self.write_timer.filter(|_| !self.writing && self.restart_hold_timer.is_none());
        earliest([self.unheard_timer, self.restart_hold_timer, self.notice_timer, self.doubt_timer, write_timer])
    }
}
