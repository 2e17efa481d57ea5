//! The laws for membership: the judge of the others alone, and the own Lease and the judge as one machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::bfd::desired::SessionKey;
use lanlord::bfd::status::{SessionStatus, State as SessionState, Status};
use lanlord::facts::{Answer, Answers, Link, Links, Medium, Member, MemberLink, Node, NodeName, Question, Role, Snapshot};
use lanlord::machine::Machine;
use lanlord::membership::judge::{self, Judge, Watched};
use lanlord::membership::machine::{self, Membership};
use lanlord::membership::mesh::Timers;
use lanlord::membership::own;

use super::{SEEDS, STEPS, Subject, obeys_the_laws, play, version};

/// n1 is the machine's own node; n5 is known to nobody.
fn node(rng: &mut fastrand::Rng) -> NodeName {
    NodeName::new(&format!("n{}", rng.u8(1..=5)))
}

fn host(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

/// Most of these.
fn most(numbers: &[u8], rng: &mut fastrand::Rng) -> Vec<u8> {
    numbers.iter().copied().filter(|_| rng.u8(..4) > 0).collect()
}

fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

/// As `mesh` makes them of the links below.
fn session(number: u8) -> SessionKey {
    SessionKey { link: "eth0".into(), peer: host(number), port: 7474 }
}

/// The kernel of a member; number 9 is the gateway.
fn question(number: u8) -> Question {
    Question { link: "eth0".into(), address: host(number), mac: (number != 9).then(|| mac(number)) }
}

fn link(number: u8) -> MemberLink {
    let addresses = [format!("10.0.0.{number}/24").parse().unwrap()].into();
    MemberLink { name: "eth0".into(), mac: mac(number), medium: Medium::Wired, addresses }
}

fn member(rng: &mut fastrand::Rng, name: &NodeName, number: u8) -> Member {
    Member {
        node: name.clone(),
        instance: [Some("1"), Some("1"), Some("2"), None][rng.usize(..4)].map(ToOwned::to_owned),
        generation: rng.u32(1..3),
        links: (rng.u8(..3) > 0).then(|| link(number)).into_iter().collect(),
        gateways: [host(9)].into(),
        config: rng.bool().then(|| version(rng)),
        conflicts: [(host(40), mac(rng.u8(..3)))].into_iter().filter(|_| rng.bool()).collect(),
        dataplane_unhealthy: rng.u8(..6) == 0,
        suspect: (rng.u8(..3) == 0).then(|| "n2/1".to_owned()),
        resource_version: version(rng),
    }
}

fn sessions(rng: &mut fastrand::Rng) -> Arc<Status> {
    let states = [SessionState::Up, SessionState::Up, SessionState::Down, SessionState::Init, SessionState::AdminDown];
    let mut status = Status::default();
    for number in most(&[1, 2, 3, 4, 5], rng) {
        let state = states[rng.usize(..states.len())];
        let (expired, concatenated_path_down) = (state != SessionState::Up && rng.bool(), rng.bool());
        status.sessions.insert(session(number), SessionStatus { state, expired, concatenated_path_down, ..SessionStatus::default() });
    }
    Arc::new(status)
}

fn answers(rng: &mut fastrand::Rng) -> Arc<Answers> {
    let mut answers = Answers::new();
    for number in most(&[1, 2, 3, 4, 5, 9], rng) {
        let answer = Answer { unanswered: [0, 0, 2, 3, 7][rng.usize(..5)], mac: (rng.u8(..3) > 0).then(|| mac(number)) };
        answers.insert(question(number), answer);
    }
    Arc::new(answers)
}

struct JudgeSubject;

impl Subject for JudgeSubject {
    type Machine = Judge;

    fn machine(_seed: u64) -> Judge {
        Judge::new()
    }

    fn desired(rng: &mut fastrand::Rng) -> judge::Desired {
        let mut members = BTreeMap::new();
        for number in most(&[2, 3, 4], rng) {
            let name = NodeName::new(&format!("n{number}"));
            let watched = Watched {
                member: Arc::new(member(rng, &name, number)),
                sessions: (rng.u8(..4) > 0).then(|| session(number)).into_iter().collect(),
                questions: (rng.u8(..4) > 0).then(|| question(number)).into_iter().collect(),
                node_ready: rng.bool(),
                remote: rng.u8(..4) == 0,
            };
            members.insert(name, watched);
        }
        let restart_hold = Duration::from_millis([0, 5000][rng.usize(..2)]);
        let witnesses = (0..rng.usize(..2)).map(|_| question(9)).collect();
        judge::Desired { members, witnesses, place: rng.u32(..3), restart_hold, prove: rng.u8(..4) == 0, detached: rng.u8(..4) == 0 }
    }

    fn event(rng: &mut fastrand::Rng) -> judge::Event {
        match rng.u8(..8) {
            0..3 => judge::Event::Sessions(sessions(rng)),
            3..5 => judge::Event::Answers(answers(rng)),
            5 => judge::Event::Announced(node(rng)),
            6 => {
                let name = node(rng);
                judge::Event::Written(Box::new(member(rng, &name, 2)))
            }
            _ => judge::Event::Failed(node(rng)),
        }
    }

    fn nothing() -> Option<judge::Desired> {
        Some(judge::Desired::default())
    }
}

struct MembershipSubject;

impl MembershipSubject {
    fn snapshot(rng: &mut fastrand::Rng) -> Arc<Snapshot> {
        let mut snapshot = Snapshot::default();
        for number in 1..=4 {
            let name = NodeName::new(&format!("n{number}"));
            if rng.u8(..6) > 0 {
                let node = Node {
                    name: name.clone(),
                    addresses: vec![host(number)],
                    ready: rng.bool(),
                    out_of_service: rng.u8(..8) == 0,
                    ..Node::default()
                };
                Arc::make_mut(&mut snapshot.nodes).insert(name.clone(), Arc::new(node));
            }
            if rng.u8(..6) > 0 {
                let mut member = member(rng, &name, number);
                if number == 1 {
                    // Rarely another's: the machine falls silent for good.
                    member.instance =
                        [Some("me"), Some("me"), None, Some("newer")][rng.usize(..4).min(rng.usize(..12))].map(ToOwned::to_owned);
                }
                Arc::make_mut(&mut snapshot.members).insert(name, Arc::new(member));
            }
        }
        Arc::new(snapshot)
    }
}

impl Subject for MembershipSubject {
    type Machine = Membership;

    fn machine(seed: u64) -> Membership {
        Membership::new("n1".into(), "me".to_owned(), fastrand::Rng::with_seed(seed))
    }

    fn desired(rng: &mut fastrand::Rng) -> machine::Desired {
        let addresses = link(1).addresses;
        let (up, role, medium) = (rng.u8(..6) > 0, Role::Own, Medium::Wired);
        let own = Link { index: 2, name: "eth0".into(), mac: mac(1), up, role, medium, addresses };
        let own_lease = own::Desired {
            known: rng.u8(..6) > 0,
            links: MemberLink::of(&own).into_iter().collect(),
            config: rng.bool().then(|| version(rng)),
            leave: rng.u8(..100) == 0,
            ..own::Desired::default()
        };
        let gateways = (rng.u8(..3) > 0).then(|| host(9)).into_iter().collect();
        let restart_hold = Duration::from_millis([0, 5000][rng.usize(..2)]);
        let links = Arc::new(Links { links: [(own.name.clone(), own)].into(), gateways, ..Links::default() });
        machine::Desired { own: own_lease, links, timers: Timers::default(), restart_hold, heirs: Arc::default() }
    }

    fn event(rng: &mut fastrand::Rng) -> machine::Event {
        match rng.u8(..12) {
            0..3 => machine::Event::Snapshot(Self::snapshot(rng)),
            3 => machine::Event::Contact { reachable: rng.bool() },
            4..6 => machine::Event::Sessions(sessions(rng)),
            6..8 => machine::Event::Answers(answers(rng)),
            8 => machine::Event::Claimed { address: host(40), mac: mac(rng.u8(..6)) },
            9 => machine::Event::Own(own::Event::Failed),
            10 => {
                let written = Member { instance: Some("me".to_owned()), ..member(rng, &"n1".into(), 1) };
                machine::Event::Own(own::Event::Written(written))
            }
            _ => machine::Event::Judge(JudgeSubject::event(rng)),
        }
    }

    fn nothing() -> Option<machine::Desired> {
        None
    }
}

#[test]
fn the_judge_obeys_the_laws() {
    obeys_the_laws::<JudgeSubject>();
}

#[test]
fn membership_obeys_the_laws() {
    obeys_the_laws::<MembershipSubject>();
}

/// Laws 5 and 6 as far as they apply to who wants something for itself: who has left writes nothing more, on no Lease.
#[test]
fn who_has_left_judges_nobody() {
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut membership, mut now, _) = play::<MembershipSubject>(seed);
        let desired = Arc::new(MembershipSubject::desired(&mut rng));
        membership.set(desired.clone(), now, &mut Vec::new());
        let mut out = Vec::new();
        membership.set(desired.clone(), now, &mut out);
        assert_eq!(out, [], "seed {seed}: the same twice");

        let own = own::Desired { leave: true, ..desired.own.clone() };
        membership.set(Arc::new(machine::Desired { own, ..machine::Desired::clone(&desired) }), now, &mut out);
        for _ in 0..STEPS {
            membership.handle(MembershipSubject::event(&mut rng), now, &mut out);
            now = membership.poll_timeout().unwrap_or(now + Duration::from_secs(1)).max(now);
            membership.handle_timeout(now, &mut out);
        }
        assert!(matches!(membership.state(), own::State::Left | own::State::Superseded), "seed {seed}: {:?}", membership.state());
        for _ in 0..100 {
            let Some(due) = membership.poll_timeout() else { break };
            now = due;
            membership.handle_timeout(now, &mut out);
        }
        assert_eq!(membership.poll_timeout(), None, "seed {seed}");
        out.clear();
        for _ in 0..STEPS {
            membership.handle(MembershipSubject::event(&mut rng), now, &mut out);
            now = membership.poll_timeout().unwrap_or(now + Duration::from_secs(1)).max(now);
            membership.handle_timeout(now, &mut out);
        }
        assert_eq!(out, [], "seed {seed}: acts after it left");
    }
}
