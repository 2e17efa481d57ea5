//! When another member is lost, as a table: what the senses say, step by step, and what comes of it (docs/liveness.md).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lanlord::bfd::desired::SessionKey;
use lanlord::bfd::status::{SessionStatus, State as SessionState, Status};
use lanlord::facts::{Answer, Answers, Evidence, Member, Question};
use lanlord::machine::{Instant, Machine};
use lanlord::membership::judge::{Action, Desired, Event, Judge, NOTICE, REFUTE, RETURN, State, UNHEARD, Watched};

use crate::world::ip;

const HOLD: Duration = Duration::from_secs(5);

fn question(last: u8) -> Question {
    Question { link: "eth0".into(), address: ip(&format!("192.168.1.{last}")), mac: None }
}

fn session(number: u8) -> SessionKey {
    SessionKey { link: "eth0".into(), peer: ip(&format!("192.168.1.{}", 10 + number)), port: 7474 }
}

fn member(number: u8, version: &str) -> Member {
    Member {
        node: format!("n{number}").as_str().into(),
        instance: Some("1".to_owned()),
        generation: 1,
        resource_version: version.to_owned(),
        ..Member::default()
    }
}

/// Member n1 judges n2 and n3; 192.168.1.1 is the gateway.
struct Court {
    judge: Judge,
    now: Instant,
    desired: Desired,
    sessions: Status,
    answers: Answers,
    out: Vec<Action>,
}

impl Court {
    fn new() -> Self {
        let watched = |number: u8| Watched {
            member: Arc::new(member(number, "5")),
            sessions: [session(number)].into(),
            questions: [question(10 + number)].into(),
            node_ready: true,
            remote: false,
        };
        let members = [2, 3].map(|number| (format!("n{number}").as_str().into(), watched(number))).into();
        let desired = Desired { members, witnesses: [question(1)].into(), place: 0, restart_hold: HOLD, prove: false, detached: false };
        let mut court = Self {
            judge: Judge::new(),
            now: Instant::from_nanos(1_000_000_000),
            desired,
            sessions: Status::default(),
            answers: Answers::new(),
            out: Vec::new(),
        };
        court.set();
        court.answer(1, 0);
        court
    }

    fn set(&mut self) {
        self.judge.set(Arc::new(self.desired.clone()), self.now, &mut self.out);
    }

    fn lease(&mut self, member: Member) {
        let watched = self.desired.members.get_mut(&member.node).unwrap();
        watched.member = Arc::new(member);
        self.set();
    }

    fn session(&mut self, number: u8, state: SessionState, expired: bool) {
        self.sessions.sessions.insert(session(number), SessionStatus { state, expired, ..SessionStatus::default() });
        self.judge.handle(Event::Sessions(Arc::new(self.sessions.clone())), self.now, &mut self.out);
    }

    fn up(&mut self, number: u8) {
        self.session(number, SessionState::Up, false);
    }

    fn expire(&mut self, number: u8) {
        self.session(number, SessionState::Down, true);
    }

    fn answer(&mut self, last: u8, unanswered: u32) {
        let mac = (unanswered == 0).then_some(lanlord::addr::MacAddr([2, 0, 0, 0, 0, last]));
        self.answers.insert(question(last), Answer { unanswered, mac });
        self.judge.handle(Event::Answers(Arc::new(self.answers.clone())), self.now, &mut self.out);
    }

    /// Lets time pass, firing what is due on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.judge.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.judge.handle_timeout(due, &mut self.out);
        }
        self.now = end;
    }

    fn state(&self, node: &str) -> State {
        self.judge.states()[node]
    }

    fn writes(&mut self) -> Vec<String> {
        let writes = self.out.drain(..).filter_map(|action| match action {
            Action::Suspect(member) => Some(format!("suspect {} {}", member.node, member.resource_version)),
            Action::Clear(member) => Some(format!("clear {} {}", member.node, member.resource_version)),
            Action::StateChanged { .. } => None,
        });
        writes.collect()
    }

    fn written(&mut self, member: Member) {
        self.judge.handle(Event::Written(Box::new(member)), self.now, &mut self.out);
    }

    /// n2's session has expired, and its kernel is silent.
    fn n2_dies(&mut self) {
        self.up(2);
        self.expire(2);
        self.answer(12, 3);
    }
}

fn suspected(number: u8, version: &str) -> Member {
    Member { suspect: Some("n1/1".to_owned()), ..member(number, version) }
}

#[test]
fn a_member_whose_session_expired_and_whose_kernel_is_silent_is_suspected_and_cleared() {
    let mut court = Court::new();
    court.up(3);
    court.up(2);
    court.expire(2);
    assert_eq!(court.state("n2"), State::Asking);
    assert!(court.judge.questions().contains(&question(12)), "its kernel is asked");
    court.answer(12, 2);
    assert_eq!(court.state("n2"), State::Asking, "two lost packets are no proof");
    court.answer(12, 3);
    assert_eq!(court.judge.evidence(), BTreeMap::from([("n2".into(), Evidence::SessionExpired)]), "at once, before any write is answered");
    assert_eq!(court.writes(), ["suspect n2 5"]);
    court.written(suspected(2, "6"));
    court.pass(REFUTE - Duration::from_millis(1));
    assert_eq!(court.writes(), [""; 0], "it has its time to refute");
    court.pass(Duration::from_millis(2));
    assert_eq!(court.writes(), ["clear n2 6"]);
    court.written(Member { instance: None, ..member(2, "7") });
    assert_eq!(court.judge.evidence().len(), 1);
    court.desired.members.remove("n2");
    court.set();
    assert_eq!((court.judge.evidence().len(), court.judge.states().len()), (0, 1), "the Lease says it now");
}

#[test]
fn a_down_that_was_received_is_never_evidence() {
    let mut court = Court::new();
    court.up(3);
    court.up(2);
    court.session(2, SessionState::Down, false);
    assert_eq!(court.state("n2"), State::Unheard);
    court.answer(12, 5);
    court.pass(UNHEARD / 2);
    assert_eq!((court.state("n2"), court.writes()), (State::Unheard, Vec::new()));
}

#[test]
fn a_session_that_was_never_up_does_not_expire() {
    let mut court = Court::new();
    court.up(3);
    court.expire(2);
    court.answer(12, 5);
    assert_eq!(court.state("n2"), State::Unheard);
}

#[test]
fn who_cannot_prove_its_own_link_accuses_nobody_until_it_can() {
    let mut court = Court::new();
    court.up(2);
    court.up(3);
    court.answer(1, 3);
    court.expire(2);
    court.expire(3);
    court.answer(12, 3);
    court.answer(13, 3);
    assert_eq!((court.state("n2"), court.state("n3")), (State::Asking, State::Asking));
    assert!(court.judge.questions().contains(&question(1)), "the gateway is asked");
    court.answer(1, 0);
    assert_eq!(court.writes(), [""; 0], "before that all were silent");
    court.answer(12, 6);
    court.answer(13, 6);
    assert_eq!(court.writes(), ["suspect n2 5", "suspect n3 5"]);
}

#[test]
fn a_gateway_that_never_answered_is_no_witness_against_our_link() {
    let mut court = Court::new();
    court.desired.witnesses = [question(254)].into();
    court.set();
    court.n2_dies();
    assert_eq!(court.state("n2"), State::Suspected(Evidence::SessionExpired));
}

#[test]
fn an_agent_whose_kernel_answers_has_time_to_come_back() {
    let mut court = Court::new();
    court.up(3);
    court.up(2);
    court.expire(2);
    court.answer(12, 0);
    assert_eq!(court.state("n2"), State::Holding);
    court.pass(HOLD / 2);
    court.lease(Member { instance: Some("2".to_owned()), ..member(2, "6") });
    assert_eq!(court.state("n2"), State::Unheard, "a new instance took the Lease");
    court.up(2);
    assert_eq!((court.state("n2"), court.writes()), (State::Up, Vec::new()));
}

#[test]
fn an_agent_that_does_not_come_back_is_lost_after_the_hold_and_at_once_when_its_kernel_falls_silent() {
    let mut court = Court::new();
    court.up(2);
    court.up(3);
    for number in [2, 3] {
        court.expire(number);
        court.answer(10 + number, 0);
    }
    court.answer(13, 3);
    assert_eq!(court.state("n3"), State::Suspected(Evidence::SessionExpired));
    court.pass(HOLD);
    assert_eq!(court.state("n2"), State::Suspected(Evidence::AgentGone));
}

#[test]
fn a_living_member_refutes_and_is_trusted_for_long() {
    let mut court = Court::new();
    court.up(3);
    court.n2_dies();
    court.written(suspected(2, "6"));
    court.lease(member(2, "5"));
    assert_eq!(court.state("n2"), State::Suspected(Evidence::SessionExpired), "what was before the accusation refutes nothing");
    court.lease(member(2, "7"));
    assert_eq!((court.state("n2"), court.judge.evidence()), (State::Refuted, BTreeMap::new()));
    court.writes();
    court.answers.remove(&question(12));
    court.pass(Duration::from_secs(59));
    assert_eq!((court.state("n2"), court.writes()), (State::Refuted, Vec::new()));
    court.pass(Duration::from_secs(2));
    assert_eq!(court.state("n2"), State::Asking, "asked for again, but not for ever");
    court.answer(12, 3);
    assert_eq!(court.writes(), ["suspect n2 7"]);
    court.written(suspected(2, "8"));
    court.lease(member(2, "9"));
    court.answers.remove(&question(12));
    court.pass(Duration::from_secs(119));
    assert_eq!(court.state("n2"), State::Refuted, "twice as long the second time");
    court.up(2);
    assert_eq!(court.state("n2"), State::Up);
}

#[test]
fn a_suspicion_of_somebody_else_is_not_repeated_but_carried_to_its_end() {
    let mut court = Court::new();
    court.up(3);
    court.lease(suspected(2, "6"));
    assert_eq!(court.writes(), [""; 0], "what others say is no evidence of ours");
    court.n2_dies();
    assert_eq!(court.writes(), [""; 0]);
    court.pass(REFUTE + Duration::from_millis(200));
    assert_eq!(court.writes(), ["clear n2 6"]);
}

#[test]
fn the_duty_stays_while_the_api_server_does_not_answer_and_the_senses_count_at_once() {
    let mut court = Court::new();
    court.up(3);
    court.n2_dies();
    for _ in 0..3 {
        assert_eq!(court.writes(), ["suspect n2 5"]);
        court.judge.handle(Event::Failed("n2".into()), court.now, &mut court.out);
        assert_eq!(court.judge.evidence().len(), 1);
        court.pass(Duration::from_secs(1));
    }
    court.up(2);
    court.judge.handle(Event::Failed("n2".into()), court.now, &mut court.out);
    court.writes();
    court.pass(Duration::from_secs(20));
    assert_eq!((court.writes(), court.judge.evidence().len()), (Vec::new(), 0), "it is heard again: nothing more is written");
}

#[test]
fn an_agent_that_is_not_back_soon_although_its_kernel_answers_is_told_of_until_it_is_heard() {
    let mut court = Court::new();
    court.up(3);
    court.up(2);
    court.expire(2);
    court.answer(12, 0);
    assert_eq!(court.state("n2"), State::Holding);
    court.pass(NOTICE - Duration::from_millis(1));
    assert!(court.judge.blocked().is_empty(), "a container that starts again is no news");
    court.pass(Duration::from_millis(1));
    assert_eq!(court.judge.blocked(), ["n2".into()].into());
    court.up(2);
    assert!(court.judge.blocked().is_empty());
}

#[test]
fn a_member_never_heard_is_asked_for_and_suspected_only_if_its_kernel_is_silent() {
    let mut court = Court::new();
    court.up(3);
    court.pass(UNHEARD);
    assert_eq!(court.state("n2"), State::Asking);
    court.answer(12, 0);
    assert_eq!((court.state("n2"), court.judge.blocked()), (State::Unheard, ["n2".into()].into()), "its UDP port is filtered, say");
    court.answers.remove(&question(12));
    court.pass(UNHEARD);
    court.answer(12, 3);
    assert_eq!(court.state("n2"), State::Suspected(Evidence::NeverHeard));
}

#[test]
fn a_member_not_heard_whose_node_is_not_ready_is_lost() {
    let mut court = Court::new();
    court.up(3);
    court.desired.members.get_mut("n2").unwrap().node_ready = false;
    court.set();
    court.pass(UNHEARD);
    court.answer(12, 0);
    assert_eq!(court.state("n2"), State::Suspected(Evidence::AgentGone));
}

#[test]
fn a_member_that_shares_no_network_is_lost_when_its_node_stays_not_ready_and_never_before() {
    let mut court = Court::new();
    court.up(3);
    let ready = |court: &mut Court, ready: bool| {
        let watched = court.desired.members.get_mut("n2").unwrap();
        (watched.sessions, watched.questions, watched.remote, watched.node_ready) = ([].into(), [].into(), true, ready);
        court.set();
    };
    ready(&mut court, true);
    court.pass(UNHEARD * 5);
    assert_eq!((court.state("n2"), court.writes()), (State::Remote, Vec::new()));
    ready(&mut court, false);
    court.pass(UNHEARD / 2);
    ready(&mut court, true);
    court.pass(UNHEARD);
    ready(&mut court, false);
    court.pass(UNHEARD / 2);
    assert_eq!(court.state("n2"), State::Remote, "Nodes that are not Ready for a moment, as while they boot, are no evidence");
    court.pass(UNHEARD / 2);
    assert_eq!((court.state("n2"), court.judge.evidence()), (State::Suspected(Evidence::NodeNotReady), BTreeMap::new()));
    assert_eq!(court.writes(), ["suspect n2 5"]);
    court.written(suspected(2, "6"));
    court.pass(Duration::from_millis(500));
    assert_eq!(court.judge.evidence(), [("n2".into(), Evidence::NodeNotReady)].into());
    assert_eq!(court.writes(), ["clear n2 6"]);
}

#[test]
fn what_nodes_say_counts_neither_while_we_are_detached_nor_once_somebody_shares_a_network_again() {
    let mut court = Court::new();
    court.up(3);
    let watched = court.desired.members.get_mut("n2").unwrap();
    (watched.sessions, watched.questions, watched.remote, watched.node_ready) = ([].into(), [].into(), true, false);
    court.desired.detached = true;
    court.set();
    court.pass(UNHEARD * 5);
    assert_eq!(court.state("n2"), State::Remote);
    court.desired.detached = false;
    court.set();
    court.pass(UNHEARD);
    assert_eq!((court.state("n2"), court.writes()), (State::Suspected(Evidence::NodeNotReady), vec!["suspect n2 5".to_owned()]));
    court.judge.handle(Event::Failed("n2".into()), court.now, &mut court.out);
    let watched = court.desired.members.get_mut("n2").unwrap();
    (watched.questions, watched.remote) = ([question(12)].into(), false);
    court.set();
    court.pass(Duration::from_secs(5));
    assert_eq!((court.state("n2"), court.writes()), (State::Unheard, Vec::new()), "it has the time of one that was never heard");
}

#[test]
fn a_member_that_lives_behind_a_node_that_is_not_ready_refutes_it_and_one_that_shares_a_network_again_is_heard() {
    let mut court = Court::new();
    court.up(3);
    let watched = court.desired.members.get_mut("n2").unwrap();
    (watched.sessions, watched.questions, watched.remote, watched.node_ready) = ([].into(), [].into(), true, false);
    court.set();
    court.pass(UNHEARD);
    court.written(suspected(2, "6"));
    court.lease(member(2, "7"));
    assert_eq!((court.state("n2"), court.judge.evidence()), (State::Refuted, BTreeMap::new()));
    court.pass(UNHEARD * 2);
    assert_eq!(court.state("n2"), State::Refuted);
    court.pass(Duration::from_secs(40));
    assert_eq!(court.state("n2"), State::Remote);
    let watched = court.desired.members.get_mut("n2").unwrap();
    (watched.sessions, watched.questions, watched.remote) = ([session(2)].into(), [question(12)].into(), false);
    court.set();
    assert_eq!(court.state("n2"), State::Unheard);
    court.up(2);
    assert_eq!(court.state("n2"), State::Up);
}

#[test]
fn who_is_doubted_asks_its_witnesses() {
    let mut court = Court::new();
    court.pass(UNHEARD);
    court.answer(12, 0);
    court.answer(13, 0);
    court.answers = Answers::new();
    court.answer(99, 0);
    assert_eq!(court.judge.questions(), [].into());
    court.desired.prove = true;
    court.set();
    assert_eq!(court.judge.questions(), [question(1)].into());
    assert!(!court.judge.link_proven());
    court.answer(1, 0);
    assert!(court.judge.link_proven());
}

#[test]
fn a_suspect_whose_kernel_answers_again_is_not_accused_before_it_had_time_to_come_back_and_others_keep_its_place() {
    let gone = || BTreeMap::from([("n2".into(), Evidence::AgentGone)]);
    for comes_back in [true, false] {
        let mut court = Court::new();
        court.up(3);
        court.n2_dies();
        assert_eq!(court.writes(), ["suspect n2 5"]);
        court.written(suspected(2, "6"));
        assert!(court.judge.questions().contains(&question(12)), "a suspect goes on being asked");
        court.answer(12, 0);
        assert_eq!((court.state("n2"), court.judge.evidence()), (State::Suspected(Evidence::AgentGone), gone()));
        court.pass(RETURN - Duration::from_millis(1));
        assert_eq!((court.judge.evidence(), court.writes()), (gone(), Vec::new()));
        if comes_back {
            court.up(2);
            court.pass(HOLD * 10);
            assert_eq!((court.state("n2"), court.writes()), (State::Up, Vec::new()));
        } else {
            court.pass(Duration::from_millis(1));
            assert_eq!((court.judge.evidence(), court.writes()), (gone(), vec!["clear n2 6".to_owned()]));
        }
    }
}

#[test]
fn the_answer_of_a_write_that_comes_while_a_suspect_has_time_does_not_lead_to_a_clearing() {
    let mut court = Court::new();
    court.up(3);
    court.n2_dies();
    court.writes();
    court.answer(12, 0);
    court.written(suspected(2, "6"));
    court.pass(RETURN - Duration::from_millis(1));
    assert_eq!(court.writes(), [""; 0]);
}

#[test]
fn who_was_never_heard_has_the_same_time_and_is_accused_at_once_when_its_kernel_falls_silent_again() {
    let mut court = Court::new();
    court.up(3);
    court.pass(UNHEARD);
    court.answer(12, 3);
    assert_eq!(court.judge.evidence(), BTreeMap::from([("n2".into(), Evidence::NeverHeard)]));
    court.written(suspected(2, "6"));
    court.writes();
    court.answer(12, 0);
    assert_eq!(court.judge.evidence(), BTreeMap::from([("n2".into(), Evidence::AgentGone)]));
    court.pass(RETURN / 2);
    court.answer(12, 3);
    assert_eq!(court.judge.evidence(), BTreeMap::from([("n2".into(), Evidence::SessionExpired)]), "without a gap");
    court.pass(Duration::from_millis(250));
    assert_eq!(court.writes(), ["clear n2 6"]);
}

#[test]
fn silence_from_before_the_own_link_was_proven_accuses_nobody() {
    let mut court = Court::new();
    court.up(2);
    court.answer(1, 0);
    court.expire(2);
    court.answer(1, 3);
    court.answer(12, 9);
    assert_eq!(court.state("n2"), State::Asking, "the own link may be dead");
    court.answer(1, 0);
    assert_eq!(court.state("n2"), State::Asking, "all were silent then");
    court.answer(12, 11);
    assert_eq!(court.state("n2"), State::Asking);
    court.answer(12, 12);
    assert_eq!(court.state("n2"), State::Suspected(Evidence::SessionExpired));
}

/// Without evidence for as long as a living member may take to prove itself, with it from then on.
fn is_doubted_first(court: &mut Court, evidence: Evidence) {
    assert_eq!((court.state("n2"), court.judge.evidence()), (State::Suspected(evidence), BTreeMap::new()));
    court.pass(Duration::from_millis(499));
    assert_eq!(court.judge.evidence(), BTreeMap::new());
    court.pass(Duration::from_millis(1));
    assert_eq!(court.judge.evidence(), BTreeMap::from([("n2".into(), evidence)]));
}

#[test]
fn a_member_that_proved_itself_before_is_suspected_for_half_a_second_before_it_owns_nothing() {
    for refutes_again in [false, true] {
        let mut court = Court::new();
        court.up(3);
        court.n2_dies();
        court.written(suspected(2, "6"));
        court.lease(member(2, "7"));
        court.answers.remove(&question(12));
        court.pass(Duration::from_secs(60));
        court.answer(12, 3);
        if refutes_again {
            court.written(suspected(2, "8"));
            court.pass(Duration::from_millis(100));
            court.lease(member(2, "9"));
            court.pass(Duration::from_secs(1));
            assert_eq!((court.state("n2"), court.judge.evidence()), (State::Refuted, BTreeMap::new()));
        } else {
            is_doubted_first(&mut court, Evidence::NeverHeard);
        }
    }
}

#[test]
fn an_agent_that_did_not_come_back_is_suspected_for_half_a_second_before_it_owns_nothing() {
    let mut court = Court::new();
    court.up(2);
    court.up(3);
    court.expire(2);
    court.answer(12, 0);
    court.pass(HOLD);
    is_doubted_first(&mut court, Evidence::AgentGone);
    court.up(2);
    assert_eq!(court.judge.evidence(), BTreeMap::new());
}
