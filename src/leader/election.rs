//! Leader election on one Lease, in client-go's words: a machine.
//!
//! Where every member hears the holder over the liveness mesh, evidence takes the place of renewals and nothing is written. Expiry is timed
//! from when *this* process saw the record change; `renewTime` is written, never compared. The Lease is also free at once when its holder's
//! member Lease is no longer held by that instance: a dead leader is replaced as fast as a dead member.

use std::sync::Arc;
use std::time::Duration;

use crate::facts::{LeaderRecord, Living, Snapshot, is_at_least};
use crate::machine::{Instant, Machine, earliest};

/// `leaseDuration`: how long others wait for a silent holder.
const LEASE_DURATION: Duration = Duration::from_secs(30);
/// `renewDeadline`: a holder that could not renew for so long stops leading, before others may take over.
const RENEW_DEADLINE: Duration = Duration::from_secs(20);
/// `retryPeriod`: how often a holder renews.
const RETRY_PERIOD: Duration = Duration::from_secs(10);
/// After a write, for how long at most an observation that does not have it yet is taken for an old one.
const SETTLE: Duration = Duration::from_secs(5);
/// Longest wait before taking a free Lease, so that not all members write at once.
const SPREAD: Duration = Duration::from_millis(200);

/// Whether an agent stands for election: as a member that has a configuration; or without one where no member has any, for somebody
/// has to tell what is wrong with it.
pub fn stands(is_member: bool, has_config: bool, snapshot: &Snapshot) -> bool {
    let nobody_has = || !snapshot.members.values().any(|member| member.instance.is_some() && member.config.is_some());
    is_member && (has_config || nobody_has())
}

/// The leader's Lease as the API server has it, and what member Leases and the liveness mesh say of its holder.
pub fn observed(snapshot: &Snapshot, living: &Living) -> Event {
    let record = snapshot.leader.clone();
    let holder = record.as_ref().and_then(|record| record.holder.as_deref()).and_then(|holder| holder.rsplit_once('/'));
    let member = holder.and_then(|(node, instance)| {
        let holds = snapshot.members.get(node).is_some_and(|member| member.instance.as_deref() == Some(instance));
        living.members.get(node).filter(|_| holds)
    });
    // Where nobody reaches the API server nobody can lead in its holder's place.
    let cut_off = member.is_some_and(|member| member.detached && !living.detached);
    let holder_lost = holder.is_some() && (member.is_none() || cut_off);
    Event::Observed { record, holder_lost, holder_heard: member.is_some_and(|member| member.heard && !member.detached) }
}

/// Whether every member hears this one, as far as it can tell: a session is up only where both ends hear each other.
pub fn heard_by_all(snapshot: &Snapshot, living: &Living) -> bool {
    let mut members = snapshot.members.values().filter(|member| member.instance.is_some());
    !living.detached && members.all(|member| living.members.get(&member.node).is_some_and(|member| member.heard))
}

/// Whether this member stands for election.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desired {
    /// It holds its member Lease and has a configuration to act on.
    pub stand: bool,
    /// Every other member hears this one over the liveness mesh: evidence takes the place of renewals, and nothing is written.
    pub heard_by_all: bool,
}

/// What the elector is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The Lease as the API server has it now; `None`: there is none. `holder_lost`: its holder's member Lease is no longer held by
    /// that instance.
    Observed {
        /// The record.
        record: Option<LeaderRecord>,
        /// The holder is known to be gone.
        holder_lost: bool,
        /// The holder is heard over the liveness mesh and reaches the API server: its Lease does not expire.
        holder_heard: bool,
    },
    /// The write asked for went through.
    Written(LeaderRecord),
    /// The write asked for failed: lost race, time-out or refusal.
    Failed,
}

/// What the elector wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write this record over the one with its `resource_version` (empty: create).
    Write(LeaderRecord),
    /// Leadership began or ended.
    StateChanged {
        /// Leading now.
        leading: bool,
        /// Why.
        reason: &'static str,
    },
}

/// Where the elector is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Someone else leads, or nobody, or it is not known yet.
    Following,
    /// This instance leads.
    Leading,
}

/// One candidate for one Lease.
#[derive(Debug)]
pub struct Elector {
    identity: String,
    rng: fastrand::Rng,
    state: State,
    stand: bool,
    observed: bool,
    record: Option<LeaderRecord>,
    holder_lost: bool,
    holder_heard: bool,
    heard_by_all: bool,
    writing: bool,
    /// The version written last, until it was observed or the time is over.
    settling: Option<(String, Instant)>,
    /// Others: when the record seen last expires.
    expires_at: Option<Instant>,
    /// When to try to take the Lease.
    acquire_at: Option<Instant>,
    /// Holder: when to renew.
    retry_at: Option<Instant>,
    /// Holder: when to stop leading for want of a renewal.
    renew_deadline: Option<Instant>,
}

impl Elector {
    /// `identity` is `<node>/<instance>`; `rng` spreads attempts.
    pub fn new(identity: String, rng: fastrand::Rng) -> Self {
        Self {
            identity,
            rng,
            state: State::Following,
            stand: false,
            observed: false,
            record: None,
            holder_lost: false,
            holder_heard: false,
            heard_by_all: false,
            writing: false,
            settling: None,
            expires_at: None,
            acquire_at: None,
            retry_at: None,
            renew_deadline: None,
        }
    }

    /// Whether this instance leads.
    pub fn leads(&self) -> bool {
        self.state == State::Leading
    }

    fn is_mine(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.holder.as_deref() == Some(&self.identity))
    }

    fn is_free(&self, now: Instant) -> bool {
        let vacant = self.record.as_ref().is_none_or(|record| record.holder.is_none());
        vacant || self.holder_lost || self.is_mine() || (!self.holder_heard && self.expires_at.is_some_and(|at| at <= now))
    }

    fn lead(&mut self, now: Instant, reason: &'static str, out: &mut Vec<Action>) {
        self.retry_at = Some(now + RETRY_PERIOD);
        self.renew_deadline = Some(now + RENEW_DEADLINE);
        self.expires_at = None;
        self.acquire_at = None;
        if self.state == State::Following {
            self.state = State::Leading;
            out.push(Action::StateChanged { leading: true, reason });
        }
    }

    fn follow(&mut self, reason: &'static str, out: &mut Vec<Action>) {
        self.retry_at = None;
        self.renew_deadline = None;
        if self.state == State::Leading {
            self.state = State::Following;
            out.push(Action::StateChanged { leading: false, reason });
        }
    }

    fn is_old(&self, seen: Option<&LeaderRecord>, now: Instant) -> bool {
        let Some((written, until)) = &self.settling else { return false };
        now < *until && !seen.is_some_and(|seen| is_at_least(&seen.resource_version, written))
    }

    /// Plans an attempt at once if nobody ever held the Lease, else a little later than at once.
    fn consider(&mut self, now: Instant) {
        if !self.stand || !self.observed || self.state == State::Leading || !self.is_free(now) {
            self.acquire_at = None;
        } else if self.acquire_at.is_none() {
            let spread = if self.record.is_none() { Duration::ZERO } else { SPREAD.mul_f64(self.rng.f64()) };
            self.acquire_at = Some(now + spread);
        }
    }

    fn write(&mut self, holder: Option<String>, out: &mut Vec<Action>) {
        let before = self.record.as_ref();
        let taken = before.is_some_and(|before| before.holder != holder && holder.is_some());
        out.push(Action::Write(LeaderRecord {
            acquired: before.filter(|before| before.holder == holder).and_then(|before| before.acquired.clone()),
            holder,
            lease_duration: u32::try_from(LEASE_DURATION.as_secs()).unwrap_or(u32::MAX),
            transitions: before.map_or(0, |before| before.transitions) + u32::from(taken),
            resource_version: before.map(|before| before.resource_version.clone()).unwrap_or_default(),
        }));
        self.writing = true;
    }
}

impl Machine for Elector {
    type Desired = Desired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<Desired>, now: Instant, out: &mut Vec<Action>) {
        let resign = self.stand && !desired.stand && self.state == State::Leading;
        self.stand = desired.stand;
        let was_heard = std::mem::replace(&mut self.heard_by_all, desired.heard_by_all);
        if was_heard && !self.heard_by_all && self.state == State::Leading {
            // Who does not hear us any more times our Lease from now, so there is time; often a member has only just joined.
            self.retry_at = Some(now + RETRY_PERIOD);
            self.renew_deadline = Some(now + RENEW_DEADLINE);
        }
        if resign {
            self.follow("resigned", out);
            // A renewal under way is given back when its answer comes: of two writes on one version one would fail.
            if !self.writing {
                self.write(None, out);
            }
        }
        self.consider(now);
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Observed { record, .. } if self.is_old(record.as_ref(), now) => return,
            Event::Observed { record, holder_lost, holder_heard } => {
                self.settling = None;
                let changed =
                    !self.observed || self.record.as_ref().map(|r| &r.resource_version) != record.as_ref().map(|r| &r.resource_version);
                self.observed = true;
                self.holder_lost = holder_lost;
                let fell_silent = std::mem::replace(&mut self.holder_heard, holder_heard) && !holder_heard;
                if changed {
                    self.record = record;
                }
                if changed || fell_silent {
                    self.expires_at = self.record.as_ref().map(|record| now + Duration::from_secs(u64::from(record.lease_duration)));
                }
                if self.state == State::Leading && !self.is_mine() && !self.writing {
                    self.follow("another instance holds the Lease", out);
                }
            }
            Event::Written(record) => {
                self.writing = false;
                self.observed = true;
                self.holder_lost = false;
                self.settling = Some((record.resource_version.clone(), now + SETTLE));
                self.record = Some(record);
                if self.is_mine() && self.stand {
                    self.lead(now, "took the Lease", out);
                } else if self.is_mine() {
                    self.write(None, out);
                }
            }
            Event::Failed => {
                self.writing = false;
                if self.state == State::Leading {
                    self.retry_at = Some(now + Duration::from_secs(2));
                } else if self.stand && self.is_free(now) {
                    self.acquire_at = Some(now + Duration::from_secs(1).mul_f64(0.5 + self.rng.f64()));
                } else {
                    self.acquire_at = None;
                }
            }
        }
        self.consider(now);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.heard_by_all && self.state == State::Leading && !self.writing {
            let due = self.retry_at.is_some_and(|at| at <= now);
            if due || self.renew_deadline.is_some_and(|at| at <= now) {
                (self.retry_at, self.renew_deadline) = (Some(now + RETRY_PERIOD), Some(now + RENEW_DEADLINE));
            }
        }
        if self.renew_deadline.is_some_and(|at| at <= now) {
            self.follow("the Lease could not be renewed in time", out);
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = Some(now + RETRY_PERIOD);
            if !self.writing {
                self.write(Some(self.identity.clone()), out);
            }
        }
        if self.expires_at.is_some_and(|at| at <= now) && self.state == State::Following {
            self.consider(now);
        }
        if self.acquire_at.is_some_and(|at| at <= now) {
            self.acquire_at = Some(now + RETRY_PERIOD);
            if self.is_free(now) && !self.writing {
                self.write(Some(self.identity.clone()), out);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.stand && self.state == State::Following && self.acquire_at.is_none() && !self.holder_heard;
        let expires_at = self.expires_at.filter(|_| waits);
        earliest([expires_at, self.acquire_at, self.retry_at, self.renew_deadline])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn elector(identity: &str) -> Elector {
        let mut elector = Elector::new(identity.to_owned(), fastrand::Rng::with_seed(1));
        elector.set(Arc::new(Desired { stand: true, heard_by_all: false }), at(0), &mut Vec::new());
        elector
    }

    fn record(holder: Option<&str>, version: &str) -> LeaderRecord {
        LeaderRecord {
            holder: holder.map(ToOwned::to_owned),
            lease_duration: 30,
            transitions: 0,
            acquired: None,
            resource_version: version.to_owned(),
        }
    }

    fn observe(elector: &mut Elector, record: Option<LeaderRecord>, holder_lost: bool, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        elector.handle(Event::Observed { record, holder_lost, holder_heard: false }, now, &mut out);
        out
    }

    fn fire(elector: &mut Elector, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        elector.handle_timeout(now, &mut out);
        out
    }

    fn leading(version: &str) -> Elector {
        let mut elector = elector("a/1");
        observe(&mut elector, None, false, at(0));
        fire(&mut elector, at(0));
        let mut out = Vec::new();
        elector.handle(Event::Written(record(Some("a/1"), version)), at(0), &mut out);
        assert_eq!(out, [Action::StateChanged { leading: true, reason: "took the Lease" }]);
        elector
    }

    #[test]
    fn a_lease_that_does_not_exist_is_created_at_once() {
        let mut elector = elector("a/1");
        assert_eq!(observe(&mut elector, None, false, at(0)), []);
        assert!(
            matches!(&fire(&mut elector, at(0))[..], [Action::Write(record)] if record.resource_version.is_empty() && record.holder.as_deref() == Some("a/1"))
        );
    }

    #[test]
    fn an_agent_without_configuration_stands_only_where_no_member_has_one() {
        let member = |config: Option<&str>| crate::facts::Member {
            node: "n2".into(),
            instance: Some("1".to_owned()),
            generation: 1,
            config: config.map(ToOwned::to_owned),
            resource_version: "1".to_owned(),
            ..crate::facts::Member::default()
        };
        let snapshot = |config| Snapshot { members: Arc::new([("n2".into(), Arc::new(member(config)))].into()), ..Snapshot::default() };
        assert!(stands(true, true, &snapshot(Some("x"))) && stands(true, false, &snapshot(None)));
        assert!(!stands(true, false, &snapshot(Some("x"))) && !stands(false, true, &snapshot(None)));
    }

    #[test]
    fn nothing_is_written_before_the_lease_was_seen() {
        assert_eq!(elector("a/1").poll_timeout(), None);
    }

    #[test]
    fn a_holder_seen_renewing_is_never_challenged() {
        let mut elector = elector("b/1");
        for second in 0..20 {
            observe(&mut elector, Some(record(Some("a/1"), &second.to_string())), false, at(second * 10));
            assert_eq!(fire(&mut elector, at(second * 10 + 9)), []);
        }
    }

    #[test]
    fn expiry_counts_from_when_the_change_was_seen() {
        let mut elector = elector("b/1");
        observe(&mut elector, Some(record(Some("a/1"), "7")), false, at(5));
        observe(&mut elector, Some(record(Some("a/1"), "7")), false, at(30));
        assert_eq!(fire(&mut elector, at(34)), []);
        assert_eq!(elector.poll_timeout(), Some(at(35)));
        fire(&mut elector, at(35));
        assert!(matches!(&fire(&mut elector, at(36))[..], [Action::Write(record)] if record.resource_version == "7"));
    }

    #[test]
    fn a_leader_that_everybody_hears_writes_nothing_and_renews_again_when_somebody_does_not() {
        let mut elector = leading("1");
        let mut out = Vec::new();
        elector.set(Arc::new(Desired { stand: true, heard_by_all: true }), at(1), &mut out);
        for second in 1..200 {
            elector.handle_timeout(at(second), &mut out);
        }
        assert_eq!(out, []);
        elector.set(Arc::new(Desired { stand: true, heard_by_all: false }), at(200), &mut out);
        elector.handle_timeout(at(210), &mut out);
        assert!(matches!(&out[..], [Action::Write(_)]), "{out:?}");
        assert!(elector.leads());
    }

    #[test]
    fn the_lease_of_a_holder_that_is_heard_does_not_expire_and_runs_on_from_when_it_falls_silent() {
        let mut elector = elector("b/1");
        let observed = |holder_heard| Event::Observed { record: Some(record(Some("a/1"), "7")), holder_lost: false, holder_heard };
        let mut out = Vec::new();
        elector.handle(observed(true), at(5), &mut out);
        assert_eq!(elector.poll_timeout(), None);
        elector.handle(observed(true), at(500), &mut out);
        elector.handle_timeout(at(500), &mut out);
        elector.handle(observed(false), at(501), &mut out);
        assert_eq!((elector.poll_timeout(), &out[..]), (Some(at(531)), &[][..]));
    }

    #[test]
    fn a_lost_holder_is_replaced_without_waiting() {
        let mut elector = elector("b/1");
        observe(&mut elector, Some(record(Some("a/1"), "7")), true, at(5));
        assert!(matches!(&fire(&mut elector, at(6))[..], [Action::Write(record)] if record.transitions == 1));
    }

    #[test]
    fn a_leader_that_cannot_renew_steps_down_before_others_step_in() {
        let mut elector = leading("1");
        assert!(matches!(&fire(&mut elector, at(10))[..], [Action::Write(_)]));
        elector.handle(Event::Failed, at(11), &mut Vec::new());
        let mut out = Vec::new();
        for second in 11..30 {
            out.extend(fire(&mut elector, at(second)));
            elector.handle(Event::Failed, at(second), &mut out);
        }
        assert!(out.contains(&Action::StateChanged { leading: false, reason: "the Lease could not be renewed in time" }));
        assert!(!elector.leads());
    }

    #[test]
    fn a_leader_that_sees_another_holder_steps_down() {
        let mut elector = leading("1");
        let out = observe(&mut elector, Some(record(Some("b/1"), "2")), false, at(3));
        assert_eq!(out, [Action::StateChanged { leading: false, reason: "another instance holds the Lease" }]);
    }

    #[test]
    fn what_was_before_our_own_write_is_not_taken_for_what_is_now() {
        let mut elector = leading("5");
        assert_eq!(observe(&mut elector, None, false, at(1)), []);
        assert_eq!(observe(&mut elector, Some(record(Some("b/1"), "4")), false, at(1)), []);
        assert!(elector.leads());
    }

    #[test]
    fn resigning_frees_the_lease() {
        let mut elector = leading("1");
        let mut out = Vec::new();
        elector.set(Arc::new(Desired { stand: false, heard_by_all: false }), at(3), &mut out);
        assert!(matches!(&out[..], [Action::StateChanged { leading: false, .. }, Action::Write(record)] if record.holder.is_none()));
        assert_eq!(elector.poll_timeout(), None);
        elector.handle(Event::Failed, at(4), &mut out);
        assert_eq!(elector.poll_timeout(), None, "who does not stand does not take the Lease back");
    }

    #[test]
    fn a_renewal_that_comes_through_after_resigning_is_given_back() {
        let mut elector = leading("1");
        assert!(matches!(&fire(&mut elector, at(10))[..], [Action::Write(_)]));
        let mut out = Vec::new();
        elector.set(Arc::new(Desired { stand: false, heard_by_all: false }), at(11), &mut out);
        assert_eq!(out, [Action::StateChanged { leading: false, reason: "resigned" }], "one write at a time");
        out.clear();
        elector.handle(Event::Written(record(Some("a/1"), "2")), at(12), &mut out);
        assert!(matches!(&out[..], [Action::Write(record)] if record.holder.is_none() && record.resource_version == "2"), "{out:?}");
        assert!(!elector.leads());
    }
}
