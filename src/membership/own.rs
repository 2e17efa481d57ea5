//! This agent's own member Lease: a machine.
//!
//! An agent takes its node's Lease at once, also from an instance that still holds it (a restart in place, a surge): the generation
//! stays, so no address moves. The instance that sees a successor falls silent for good. After a leave or an eviction the generation
//! grows: what was recorded for the old one is nobody's.
//!
//! A suspicion is removed at once by who can prove that its own links work. An evicted member joins again under the same condition,
//! and the more often it was evicted, the later.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::MacAddr;
use crate::facts::{Member, MemberLink, NodeName, is_at_least};
use crate::machine::{Instant, Machine, earliest};

/// Changes of links and configuration are gathered for so long before they are written: boot changes several things at once.
const GATHER: Duration = Duration::from_millis(100);
/// Two writes for such changes are at least so far apart: a flapping link must not become a storm of writes.
const SPACING: Duration = Duration::from_secs(1);

/// After a write, for how long at most an observation that does not have it yet is taken for an old one.
const SETTLE: Duration = Duration::from_secs(5);

/// How long an evicted member waits before it joins again: nothing the first time, then the first of these, doubled up to the second.
const HOLD_DOWN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// A member for so long is steady: evictions of before are forgotten.
const STEADY: Duration = Duration::from_secs(600);

/// What the Lease should say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// What follows is known. Before, the Lease stays as a former instance left it: one without links would move its addresses.
    pub known: bool,
    /// Links that may announce and have carrier.
    pub links: Vec<MemberLink>,
    /// Next hops of default routes.
    pub gateways: BTreeSet<IpAddr>,
    /// Hash of the configuration in force.
    pub config: Option<String>,
    /// Addresses of pools that another machine of the LAN uses.
    pub conflicts: BTreeMap<IpAddr, MacAddr>,
    /// kube-proxy answered its health check once and does not now.
    pub dataplane_unhealthy: bool,
    /// Our own links may be dead: a suspicion is not refuted, and who was evicted does not join again.
    pub unproven: bool,
    /// Leave in order: release the Lease.
    pub leave: bool,
}

/// What the machine is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The Lease as the API server has it now, and whether the Node object exists.
    Observed {
        /// The Lease; `None`: there is none.
        member: Option<Arc<Member>>,
        /// A Lease needs the Node as its owner.
        node_exists: bool,
    },
    /// The write asked for went through.
    Written(Member),
    /// The write asked for failed.
    Failed,
}

/// Where this agent stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Not a member yet.
    #[default]
    Joining,
    /// Holds the Lease.
    Member,
    /// A newer instance on this node holds the Lease.
    Superseded,
    /// Left in order.
    Left,
}

/// What the machine wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write this over the Lease with its `resource_version` (empty: create).
    Write(Member),
    /// The state changed.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        reason: &'static str,
    },
}

/// The keeper of one member Lease.
#[derive(Debug)]
pub struct OwnLease {
    node: NodeName,
    instance: String,
    rng: fastrand::Rng,
    state: State,
    desired: Arc<Desired>,
    /// Nothing is known before the first observation.
    observed: bool,
    node_exists: bool,
    lease: Option<Arc<Member>>,
    writing: bool,
    /// When to write; at most one write is under way.
    write_at: Option<Instant>,
    /// The version written last, until it was observed or the time is over.
    settling: Option<(String, Instant)>,
    /// No write for changed links or configuration before this.
    spacing_until: Option<Instant>,
    /// Evictions since this member was steady last.
    evictions: u32,
    joined: Option<Instant>,
    /// Evicted: not before this does it join again, so that a flapping node does not flap the addresses.
    hold_down_timer: Option<Instant>,
}

impl OwnLease {
    /// `instance` is unique to this process.
    pub fn new(node: NodeName, instance: String, rng: fastrand::Rng) -> Self {
        Self {
            node,
            instance,
            rng,
            state: State::Joining,
            desired: Arc::default(),
            observed: false,
            node_exists: false,
            lease: None,
            writing: false,
            write_at: None,
            settling: None,
            spacing_until: None,
            evictions: 0,
            joined: None,
            hold_down_timer: None,
        }
    }

    /// Where this agent stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether somebody doubts this member: it has to prove itself.
    pub fn is_doubted(&self) -> bool {
        let evicted = self.state == State::Joining && self.evictions > 0;
        evicted || self.lease.as_ref().is_some_and(|lease| lease.suspect.is_some())
    }

    fn is_mine(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.instance.as_deref() == Some(&self.instance))
    }

    fn enter(&mut self, to: State, reason: &'static str, out: &mut Vec<Action>) {
        if self.state != to {
            out.push(Action::StateChanged { from: self.state, to, reason });
            self.state = to;
        }
    }

    /// The Lease as it should be; `None` if it is right, or not ours to write.
    fn wanted(&self) -> Option<Member> {
        let desired = &self.desired;
        let lease = self.lease.as_deref();
        let instance = match (self.state, desired.leave) {
            (State::Superseded | State::Left, _) => return None,
            (State::Joining | State::Member, true) if self.is_mine() => None,
            (State::Joining | State::Member, true) => return None,
            (State::Joining | State::Member, false) if !desired.known => return None,
            (State::Joining, false) if self.evictions > 0 && (desired.unproven || self.hold_down_timer.is_some()) => return None,
            (State::Joining | State::Member, false) => Some(self.instance.clone()),
        };
        let rejoins = instance.is_some() && lease.is_some_and(|lease| lease.instance.is_none());
        let wanted = Member {
            node: self.node.clone(),
            instance,
            generation: lease.map_or(1, |lease| lease.generation) + u32::from(rejoins),
            links: desired.links.clone(),
            gateways: desired.gateways.clone(),
            config: desired.config.clone(),
            conflicts: desired.conflicts.clone(),
            dataplane_unhealthy: desired.dataplane_unhealthy,
            suspect: lease.filter(|_| desired.unproven).and_then(|lease| lease.suspect.clone()),
            resource_version: lease.map(|lease| lease.resource_version.clone()).unwrap_or_default(),
        };
        (lease != Some(&wanted)).then_some(wanted)
    }

    fn consider(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.writing {
            return;
        }
        if self.desired.leave && !self.is_mine() && matches!(self.state, State::Joining | State::Member) {
            self.enter(State::Left, "the Lease was not held", out);
        }
        if !self.observed {
            return;
        }
        if self.wanted().is_none() || !self.node_exists {
            self.write_at = None;
        } else if self.desired.leave || !self.is_mine() || self.is_doubted() {
            self.write_at = Some(self.write_at.unwrap_or(now).min(now));
        } else if self.write_at.is_none() {
            self.write_at = Some((now + GATHER).max(self.spacing_until.unwrap_or(now)));
        }
        self.write_if_due(now, out);
    }

    fn write_if_due(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.writing || self.write_at.is_none_or(|at| at > now) {
            return;
        }
        self.write_at = None;
        if let Some(wanted) = self.wanted() {
            self.writing = true;
            self.spacing_until = Some(now + SPACING);
            out.push(Action::Write(wanted));
        }
    }

    fn is_old(&self, seen: Option<&Member>, now: Instant) -> bool {
        let Some((written, until)) = &self.settling else { return false };
        now < *until && !seen.is_some_and(|seen| is_at_least(&seen.resource_version, written))
    }

    /// Compares the Lease with what this instance knows of itself.
    fn judge(&mut self, now: Instant, out: &mut Vec<Action>) {
        let holder = self.lease.as_ref().and_then(|lease| lease.instance.clone());
        match (self.state, holder) {
            (State::Joining, _) if self.is_mine() => {
                self.joined = Some(now);
                self.enter(State::Member, "took the node's Lease", out);
            }
            (State::Member, Some(holder)) if holder != self.instance => {
                self.enter(State::Superseded, "a newer instance took the Lease", out);
            }
            (State::Member, None) if self.desired.leave => self.enter(State::Left, "released the Lease", out),
            (State::Member, None) => {
                let steady = self.joined.is_some_and(|joined| now.since(joined) >= STEADY);
                self.evictions = if steady { 1 } else { self.evictions + 1 };
                let hold_down = HOLD_DOWN.0.saturating_mul(1 << self.evictions.saturating_sub(2).min(8)).min(HOLD_DOWN.1);
                self.hold_down_timer = (self.evictions > 1).then(|| now + hold_down);
                self.enter(State::Joining, "the Lease was taken away", out);
            }
            (State::Joining | State::Member | State::Superseded | State::Left, _) => {}
        }
    }
}

impl Machine for OwnLease {
    type Desired = Desired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<Desired>, now: Instant, out: &mut Vec<Action>) {
        self.desired = desired;
        self.consider(now, out);
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            // Between a write and its answer the watch may still tell what was before.
            Event::Observed { .. } if self.writing => return,
            Event::Observed { member, .. } if self.is_old(member.as_deref(), now) => return,
            Event::Observed { member, node_exists } => {
                self.settling = None;
                self.observed = true;
                self.lease = member;
                self.node_exists = node_exists;
                self.judge(now, out);
            }
            Event::Written(member) => {
                self.writing = false;
                self.settling = Some((member.resource_version.clone(), now + SETTLE));
                self.lease = Some(Arc::new(member));
                self.judge(now, out);
            }
            Event::Failed => {
                self.writing = false;
                if self.observed && self.wanted().is_some() {
                    self.write_at = Some(now + Duration::from_secs(1).mul_f64(0.5 + self.rng.f64()));
                }
                return;
            }
        }
        self.consider(now, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.hold_down_timer.is_some_and(|at| at <= now) {
            self.hold_down_timer = None;
            self.consider(now, out);
        }
        self.write_if_due(now, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        earliest([self.write_at.filter(|_| !self.writing), self.hold_down_timer])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn newer(member: Member) -> Member {
        Member { resource_version: "8".to_owned(), ..member }
    }

    fn lease(instance: Option<&str>, generation: u32) -> Member {
        Member {
            node: "n1".into(),
            instance: instance.map(ToOwned::to_owned),
            generation,
            resource_version: "7".to_owned(),
            ..Member::default()
        }
    }

    fn own() -> OwnLease {
        let mut own = OwnLease::new("n1".into(), "me".to_owned(), fastrand::Rng::with_seed(1));
        own.set(Arc::new(Desired { known: true, ..Desired::default() }), at(0), &mut Vec::new());
        own
    }

    fn observe(own: &mut OwnLease, member: Option<Member>, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        own.handle(Event::Observed { member: member.map(Arc::new), node_exists: true }, now, &mut out);
        out
    }

    fn joined() -> OwnLease {
        let mut own = own();
        observe(&mut own, None, at(0));
        own.handle(Event::Written(lease(Some("me"), 1)), at(1), &mut Vec::new());
        assert_eq!(own.state(), State::Member);
        own
    }

    #[test]
    fn what_was_before_our_own_write_is_not_taken_for_what_is_now() {
        let mut own = joined();
        assert_eq!(observe(&mut own, None, at(2)), []);
        assert_eq!(observe(&mut own, Some(Member { resource_version: "6".to_owned(), ..lease(Some("before"), 1) }), at(3)), []);
        assert_eq!(own.state(), State::Member);
        assert!(matches!(&observe(&mut own, None, at(6000))[..], [Action::StateChanged { .. }, Action::Write(_)]), "deleted after all");
    }

    #[test]
    fn a_missing_lease_is_created_at_once() {
        let out = observe(&mut own(), None, at(0));
        assert!(matches!(&out[..], [Action::Write(member)] if member.resource_version.is_empty() && member.generation == 1));
    }

    #[test]
    fn the_lease_of_a_former_instance_stays_until_links_and_configuration_are_known() {
        let mut own = OwnLease::new("n1".into(), "me".to_owned(), fastrand::Rng::with_seed(1));
        assert_eq!(observe(&mut own, Some(lease(Some("before"), 4)), at(0)), []);
        assert_eq!(own.poll_timeout(), None);
        let mut out = Vec::new();
        own.set(Arc::new(Desired { known: true, ..Desired::default() }), at(10), &mut out);
        assert!(matches!(&out[..], [Action::Write(member)] if member.generation == 4));
    }

    #[test]
    fn a_restart_in_place_keeps_the_generation() {
        let out = observe(&mut own(), Some(lease(Some("before"), 4)), at(0));
        assert!(matches!(&out[..], [Action::Write(member)] if member.generation == 4 && member.instance.as_deref() == Some("me")));
    }

    #[test]
    fn a_join_after_a_leave_begins_a_new_generation() {
        let out = observe(&mut own(), Some(lease(None, 4)), at(0));
        assert!(matches!(&out[..], [Action::Write(member)] if member.generation == 5));
    }

    #[test]
    fn the_older_instance_yields_to_the_newer_and_never_takes_the_lease_back() {
        let mut own = joined();
        let out = observe(&mut own, Some(newer(lease(Some("newer"), 1))), at(10));
        assert!(matches!(&out[..], [Action::StateChanged { to: State::Superseded, .. }]));
        assert_eq!(observe(&mut own, Some(lease(None, 1)), at(20)), []);
        assert_eq!(own.poll_timeout(), None);
    }

    #[test]
    fn an_eviction_is_answered_by_joining_again() {
        let mut own = joined();
        let out = observe(&mut own, Some(newer(lease(None, 1))), at(10));
        assert!(matches!(&out[..], [Action::StateChanged { to: State::Joining, .. }, Action::Write(member)] if member.generation == 2));
    }

    fn doubted(version: &str) -> Member {
        Member { suspect: Some("n2/x".to_owned()), resource_version: version.to_owned(), ..lease(Some("me"), 1) }
    }

    #[test]
    fn a_suspicion_is_removed_at_once_by_who_can_prove_itself() {
        let mut own = joined();
        let out = observe(&mut own, Some(doubted("8")), at(10));
        assert!(matches!(&out[..], [Action::Write(member)] if member.suspect.is_none() && member.resource_version == "8"), "{out:?}");
    }

    #[test]
    fn who_cannot_prove_that_its_links_work_does_not_remove_a_suspicion_and_does_not_join_again() {
        let mut own = joined();
        let unproven = Desired { known: true, unproven: true, ..Desired::default() };
        own.set(Arc::new(unproven), at(5), &mut Vec::new());
        assert_eq!(observe(&mut own, Some(doubted("8")), at(10)), []);
        assert!(own.is_doubted());
        let out = observe(&mut own, Some(Member { resource_version: "9".to_owned(), ..lease(None, 1) }), at(200));
        assert!(matches!(&out[..], [Action::StateChanged { to: State::Joining, .. }]), "{out:?}");
        assert!(own.is_doubted());
        let mut out = Vec::new();
        own.set(Arc::new(Desired { known: true, ..Desired::default() }), at(300), &mut out);
        assert!(matches!(&out[..], [Action::Write(member)] if member.generation == 2), "{out:?}");
    }

    #[test]
    fn who_is_evicted_again_and_again_joins_later_and_later() {
        let (mut own, mut now, mut waits) = (joined(), at(10), Vec::new());
        for round in 0..4u32 {
            let version = (10 + 2 * round).to_string();
            let mut out = observe(&mut own, Some(Member { resource_version: version, ..lease(None, round + 1) }), now);
            let evicted = now;
            while !out.iter().any(|action| matches!(action, Action::Write(_))) {
                now = own.poll_timeout().expect("it joins again");
                own.handle_timeout(now, &mut out);
            }
            waits.push(now.since(evicted).as_secs());
            let version = (11 + 2 * round).to_string();
            own.handle(Event::Written(Member { resource_version: version, ..lease(Some("me"), round + 2) }), now, &mut Vec::new());
        }
        assert_eq!(waits, [0, 5, 10, 20]);
    }

    #[test]
    fn an_orderly_leave_releases_the_lease_once() {
        let mut own = joined();
        let mut out = Vec::new();
        own.set(Arc::new(Desired { leave: true, ..Desired::default() }), at(10), &mut out);
        assert!(matches!(&out[..], [Action::Write(member)] if member.instance.is_none() && member.generation == 1));
        out.clear();
        own.handle(Event::Written(lease(None, 1)), at(12), &mut out);
        assert!(matches!(&out[..], [Action::StateChanged { to: State::Left, .. }]));
    }

    #[test]
    fn who_never_saw_the_api_server_has_nothing_to_release() {
        let mut own = own();
        let mut out = Vec::new();
        own.set(Arc::new(Desired { leave: true, ..Desired::default() }), at(10), &mut out);
        assert!(matches!(&out[..], [Action::StateChanged { to: State::Left, .. }]), "{out:?}");
    }

    #[test]
    fn changes_of_links_are_gathered_and_spaced() {
        let mut own = joined();
        let mut out = Vec::new();
        own.set(Arc::new(Desired { known: true, config: Some("a".to_owned()), ..Desired::default() }), at(10), &mut out);
        assert_eq!(out, []);
        assert!(own.poll_timeout().is_some_and(|due| due >= at(1000)), "the join was a write, too");
    }

    #[test]
    fn a_node_that_does_not_exist_gets_no_lease() {
        let mut own = own();
        let mut out = Vec::new();
        own.handle(Event::Observed { member: None, node_exists: false }, at(0), &mut out);
        assert_eq!((out, own.poll_timeout()), (Vec::new(), None));
    }
}
