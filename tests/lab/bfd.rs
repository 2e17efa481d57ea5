//! BFD on a real LAN: against FRR's bfdd and BIRD, and between two of our own.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use lanlord::bfd::desired::{SessionDesired, SessionKey};
use lanlord::bfd::status::State;
use lanlord::wire::bfd::Packet;

use crate::support::{BfdAgent, Bird, Frr, Lan, Namespace, eventually, now, within};

const MS: Duration = Duration::from_millis(1);
/// RFC 5881 §4.
const BFD: u16 = 3784;
/// Between members.
const MESH: u16 = 7474;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// From `eth0` of `namespace`.
fn session(namespace: &Namespace, local: &str, peer: &str, port: u16, interval: Duration, detect_mult: u8) -> (SessionKey, SessionDesired) {
    let desired = SessionDesired {
        index: index(namespace, "eth0"),
        local: ip(local),
        desired_min_tx: interval,
        required_min_rx: interval,
        detect_mult,
        minimum_ttl: 255,
        passive: false,
        concatenated_path_down: false,
    };
    (SessionKey { link: "eth0".into(), peer: ip(peer), port }, desired)
}

fn index(namespace: &Namespace, link: &str) -> u32 {
    let line = namespace.ip(&format!("-o link show dev {link}"));
    line.split(':').next().unwrap().trim().parse().unwrap()
}

fn link_local(namespace: &Namespace) -> String {
    let line = namespace.ip("-6 -o addr show dev eth0 scope link");
    line.split_whitespace().find(|word| word.starts_with("fe80")).unwrap().split('/').next().unwrap().to_owned()
}

/// On a busy machine we run late and advertise more than what is desired, up to three times as much.
fn is_detect_mult(told: &str, desired: u8) -> bool {
    told.parse::<u8>().is_ok_and(|told| (desired..=3 * desired).contains(&told))
}

/// BIRD's detection time is three or more times this many milliseconds.
fn bird_expects(bird: &Bird, peer: &str, interval: u32) -> bool {
    let timeout = bird.peer(ip(peer)).last().and_then(|timeout| timeout.replace('.', "").parse::<u32>().ok());
    timeout.is_some_and(|timeout| timeout % interval == 0 && is_detect_mult(&(timeout / interval).to_string(), 3))
}

#[test]
fn sessions_with_frr_over_both_families_notice_a_cut_and_are_noticed() {
    let lan = Lan::new();
    let ((node, port), router) = (lan.host_and_port(1), lan.host(2));
    let (ours, theirs) = (link_local(&node), link_local(&router));
    let pairs = [("10.77.0.1", "10.77.0.2"), ("fd77::1", "fd77::2"), (ours.as_str(), theirs.as_str())];
    let agent = BfdAgent::start(&node, 1);
    let sessions = pairs.map(|(local, peer)| session(&node, local, peer, BFD, 50 * MS, 3));
    agent.want(sessions.clone());
    let profile = " profile p\n  receive-interval 50\n  transmit-interval 50\n  detect-multiplier 3\n exit\n";
    let peers = pairs.map(|(ours, theirs)| format!(" peer {ours} local-address {theirs} interface eth0\n  profile p\n exit\n"));
    let mut frr = Frr::start(&router, &(profile.to_owned() + &peers.concat()));
    for ((key, _), (local, _)) in sessions.iter().zip(pairs) {
        agent.comes_up(key);
        eventually("FRR says so, too", || frr.peer(ip(local), "status") == "up");
        eventually("the timers are negotiated", || agent.session(key).detection_time == 150 * MS);
        eventually("on both sides", || frr.peer(ip(local), "remote-transmit-interval") == "50");
        assert!(is_detect_mult(&frr.peer(ip(local), "remote-detect-multiplier"), 3));
    }

    for _ in 0..3 {
        lan.cut(&port, true);
        let cut = now();
        for ((key, _), (local, _)) in sessions.iter().zip(pairs) {
            within(Duration::from_secs(2), "we notice", || agent.session(key).expired);
            assert!(cut.elapsed() < Duration::from_secs(1), "after {:?}", cut.elapsed());
            eventually("FRR notices", || frr.peer(ip(local), "status") == "down");
            assert_eq!(frr.peer(ip(local), "diagnostic"), "control detection time expired");
        }
        lan.cut(&port, false);
        for (key, _) in &sessions {
            agent.comes_up(key);
            assert!(!agent.session(key).expired);
        }
    }

    let downs = agent.session(&sessions[0].0).downs;
    frr.restart(&router, "bfdd");
    within(Duration::from_secs(10), "the session was Down", || agent.session(&sessions[0].0).downs > downs);
    agent.comes_up(&sessions[0].0);

    agent.want([sessions[1].clone()]);
    eventually("FRR hears AdminDown", || frr.peer(ip("10.77.0.1"), "status") == "down");
    assert_eq!(frr.peer(ip("10.77.0.1"), "remote-diagnostic"), "administratively down");
    eventually("the other session stays", || frr.peer(ip("fd77::1"), "status") == "up");
    agent.end();
    eventually("in order at shutdown", || frr.peer(ip("fd77::1"), "remote-diagnostic") == "administratively down");
}

#[test]
fn intervals_change_at_run_time_on_either_side_without_a_flap() {
    let lan = Lan::new();
    let (node, router) = (lan.host(1), lan.host(2));
    let agent = BfdAgent::start(&node, 1);
    let (key, desired) = session(&node, "10.77.0.1", "10.77.0.2", BFD, 100 * MS, 5);
    agent.want([(key.clone(), desired.clone())]);
    let peer = "peer 10.77.0.1 local-address 10.77.0.2 interface eth0";
    let frr = Frr::start(&router, &format!(" {peer}\n  receive-interval 100\n  transmit-interval 100\n  detect-multiplier 5\n exit"));
    agent.comes_up(&key);
    eventually("500 ms", || agent.session(&key).detection_time == 500 * MS);
    let (ups, downs) = (agent.session(&key).ups, agent.session(&key).downs);

    for interval in [400, 60, 200] {
        frr.configure(&[peer, &format!("transmit-interval {interval}")]);
        let expected = 5 * MS * interval.max(100);
        eventually("their slower or faster packets", || agent.session(&key).detection_time == expected);
    }
    for (interval, mult) in [(300, 4), (50, 6), (150, 3)] {
        let changed =
            SessionDesired { desired_min_tx: MS * interval, required_min_rx: MS * interval, detect_mult: mult, ..desired.clone() };
        agent.want([(key.clone(), changed)]);
        eventually("FRR knows our intervals", || frr.peer(ip("10.77.0.1"), "remote-transmit-interval") == interval.to_string());
        assert_eq!(frr.peer(ip("10.77.0.1"), "remote-receive-interval"), interval.to_string());
        eventually("and our Detect Mult", || is_detect_mult(&frr.peer(ip("10.77.0.1"), "remote-detect-multiplier"), mult));
        eventually("the Poll Sequence is over", || agent.session(&key).detection_time == 5 * MS * interval.max(200));
    }
    frr.configure(&[peer, "detect-multiplier 9"]);
    eventually("their Detect Mult", || agent.session(&key).detection_time == 9 * MS * 200);
    assert_eq!((agent.session(&key).ups, agent.session(&key).downs), (ups, downs), "not one flap");
    frr.configure(&[peer, "shutdown"]);
    eventually("FRR's AdminDown", || agent.session(&key).state == State::Down);
    assert!(!agent.session(&key).expired, "what a neighbour says is no expiry");
    frr.configure(&[peer, "no shutdown"]);
    agent.comes_up(&key);
}

#[test]
fn sessions_with_bird_over_both_families_notice_a_cut_and_change_intervals() {
    let lan = Lan::new();
    let ((node, port), router) = (lan.host_and_port(1), lan.host(2));
    let agent = BfdAgent::start(&node, 1);
    let pairs = [("10.77.0.1", "10.77.0.2"), ("fd77::1", "fd77::2")];
    let sessions = pairs.map(|(local, peer)| session(&node, local, peer, BFD, 50 * MS, 3));
    // We wait for BIRD to speak first.
    let passive = |(key, desired): (SessionKey, SessionDesired)| (key, SessionDesired { passive: true, ..desired });
    agent.want(sessions.clone().map(passive));
    let config = |interval: u32| {
        format!(
            "interface \"eth0\" {{ interval {interval} ms; multiplier 3; }}; neighbor 10.77.0.1 dev \"eth0\" local 10.77.0.2; neighbor fd77::1 dev \"eth0\" local fd77::2;"
        )
    };
    let bird = Bird::start(&router, &config(50));
    for ((key, _), (local, _)) in sessions.iter().zip(pairs) {
        agent.comes_up(key);
        eventually("BIRD says so, too", || bird.peer(ip(local)).get(2).is_some_and(|state| state == "Up"));
        eventually("the timers are negotiated", || agent.session(key).detection_time == 150 * MS);
        eventually("on both sides", || bird_expects(&bird, local, 50));
    }
    lan.cut(&port, true);
    for ((key, _), (local, _)) in sessions.iter().zip(pairs) {
        within(Duration::from_secs(2), "we notice", || agent.session(key).expired);
        eventually("BIRD notices", || bird.peer(ip(local)).get(2).is_some_and(|state| state == "Down"));
    }
    lan.cut(&port, false);
    for (key, _) in &sessions {
        agent.comes_up(key);
    }
    let key = &sessions[0].0;
    eventually("the timers are negotiated", || agent.session(key).detection_time == 150 * MS);
    let before = agent.session(key);
    for interval in [300, 80] {
        bird.configure(&config(interval));
        eventually("their interval", || agent.session(key).detection_time == 3 * MS * interval);
        agent.want(sessions.clone().map(|(key, desired)| (key, SessionDesired { desired_min_tx: MS * (interval + 20), ..desired })));
        eventually("our interval", || bird_expects(&bird, "10.77.0.1", interval + 20));
    }
    let after = agent.session(key);
    assert_eq!((after.ups, after.downs), (before.ups, before.downs), "not one flap");
}

/// Two of ours over the mesh's port, both Up.
fn two_agents(lan: &Lan) -> ([Namespace; 2], String, [BfdAgent; 2], [SessionKey; 2]) {
    let ((first, port), second) = (lan.host_and_port(1), lan.host(2));
    let agents = [BfdAgent::start(&first, 1), BfdAgent::start(&second, 2)];
    let (a, b) = mesh(&first, &second);
    let keys = [a.0.clone(), b.0.clone()];
    agents[0].want([a]);
    agents[1].want([b]);
    agents.iter().zip(&keys).for_each(|(agent, key)| agent.comes_up(key));
    ([first, second], port, agents, keys)
}

fn mesh(first: &Namespace, second: &Namespace) -> ((SessionKey, SessionDesired), (SessionKey, SessionDesired)) {
    let a = session(first, "10.77.0.1", "10.77.0.2", MESH, 100 * MS, 4);
    (a, session(second, "10.77.0.2", "10.77.0.1", MESH, 100 * MS, 4))
}

#[test]
fn two_instances_on_one_node_pass_the_port_on_without_an_accusation() {
    let lan = Lan::new();
    let ([first, second], _, [old, other], [key, back]) = two_agents(&lan);
    let new = BfdAgent::start(&first, 3);
    new.want([mesh(&first, &second).0]);
    eventually("the port is in use", || new.session(&key).error.is_some_and(|error| error.contains("UDP port 7474")));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((new.session(&key).sent, other.session(&back).state), (0, State::Up), "one instance speaks for a node");
    let before = other.session(&back);
    old.superseded();
    new.comes_up(&key);
    other.comes_up(&back);
    let after = other.session(&back);
    assert_eq!(after.downs, before.downs + 1, "it was told of the new instance, and not of an end");
    assert!(!after.expired && new.session(&key).error.is_none());
    assert_eq!(old.status().sessions.len(), 0);
}

#[test]
fn garbage_and_forgeries_that_break_a_rule_change_nothing() {
    let lan = Lan::new();
    let ([_, second], _, [agent, other], [key, back]) = two_agents(&lan);
    let stranger = lan.host(3);
    let before = (agent.session(&key), other.session(&back));
    let down = Packet { detect_mult: 3, my_discriminator: 9, state: State::Down, ..Packet::default() };
    let send = |namespace: &Namespace, from: &str, ttl: u32, payload: &[u8]| {
        namespace.enter(|| {
            let socket = UdpSocket::bind((ip(from), 0)).unwrap();
            socket.set_ttl(ttl).unwrap();
            socket.send_to(payload, ("10.77.0.1", MESH)).unwrap();
        });
    };
    for round in 0..50_u8 {
        send(&second, "10.77.0.2", 254, &down.encode());
        send(&second, "10.77.0.2", 64, &down.encode());
        send(&stranger, "10.77.0.3", 255, &down.encode());
        send(&stranger, "10.77.0.3", 255, &Packet { your_discriminator: u32::from(round) + 1, state: State::Up, ..down }.encode());
        send(&second, "10.77.0.2", 255, &vec![round; usize::from(round) * 29]);
    }
    eventually("what came from the neighbour is counted", || agent.session(&key).discarded == 150);
    let after = (agent.session(&key), other.session(&back));
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        assert_eq!((after.state, after.ups, after.downs), (State::Up, before.ups, before.downs));
    }
    assert_eq!(agent.status().sessions.len(), 1);

    send(&second, "10.77.0.2", 255, &down.encode());
    eventually("a perfect forgery costs a moment", || agent.session(&key).downs == 1 && agent.session(&key).state == State::Up);
    assert!(!agent.session(&key).expired && !other.session(&back).expired, "and is never evidence");
}

#[test]
fn a_stalled_process_accuses_nobody_and_a_cut_is_noticed() {
    let lan = Lan::new();
    let (_namespaces, port, [agent, other], [key, back]) = two_agents(&lan);
    agent.stall(Duration::from_secs(3));
    eventually("who hears nothing of it says so", || other.session(&back).expired);
    other.comes_up(&back);
    agent.comes_up(&key);
    assert!(!agent.session(&key).expired);
    // What the neighbour knows of us by now: we run late.
    eventually("a larger Detect Mult is advertised", || other.session(&back).detection_time > 400 * MS);
    lan.cut(&port, true);
    let took = within(Duration::from_secs(3), "the cut is noticed", || agent.session(&key).expired);
    assert!(took >= 200 * MS && took < 1500 * MS, "{took:?}");
}

#[test]
fn a_link_that_is_missing_is_waited_for() {
    let lan = Lan::new();
    let (node, router) = (Namespace::new("late"), lan.host(2));
    let other = BfdAgent::start(&router, 2);
    let agent = BfdAgent::start(&node, 1);
    let (key, mut desired) = mesh(&router, &router).0;
    desired.index = 4711;
    agent.want([(key.clone(), desired)]);
    other.want([mesh(&router, &router).1]);
    eventually("it is said", || agent.session(&key).error.is_some());
    let port = "plate";
    node.ip(&format!("link add eth0 index 4711 type veth peer name {port} netns {}", lan.switch.name()));
    lan.switch.ip(&format!("link set {port} master br0 up"));
    node.ip("link set eth0 up");
    eventually("now the address is missing", || agent.session(&key).error.is_some_and(|error| error.contains("10.77.0.1")));
    node.ip("addr add 10.77.0.1/24 dev eth0");
    agent.comes_up(&key);
    assert_eq!(agent.session(&key).error, None);
    node.ip("link set eth0 down");
    eventually("the session ends and the reason is shown", || {
        let session = agent.session(&key);
        session.expired && session.error.is_some()
    });
    node.ip("link set eth0 up");
    agent.comes_up(&key);
}

#[test]
#[expect(clippy::print_stdout, reason = "the cost is for people: `cargo test --test lab bfd -- --nocapture`")]
fn a_hundred_sessions_of_ten_packets_a_second_cost_little() {
    const COUNT: u8 = 100;
    let lan = Lan::new();
    let (first, second) = (lan.host(1), lan.host(2));
    for n in 1..=COUNT {
        first.ip(&format!("addr add 10.78.0.{n}/16 dev eth0"));
        second.ip(&format!("addr add 10.78.1.{n}/16 dev eth0"));
    }
    let sessions = |host: &Namespace, from: u8, to: u8| -> Vec<_> {
        (1..=COUNT).map(|n| session(host, &format!("10.78.{from}.{n}"), &format!("10.78.{to}.{n}"), MESH, 100 * MS, 4)).collect()
    };
    let (a, b) = (BfdAgent::start(&first, 1), BfdAgent::start(&second, 2));
    a.want(sessions(&first, 0, 1));
    b.want(sessions(&second, 1, 0));
    let up = |agent: &BfdAgent| agent.status().sessions.values().filter(|session| session.state == State::Up).count();
    let took = within(Duration::from_secs(10), "all are Up", || up(&a) == usize::from(COUNT) && up(&b) == usize::from(COUNT));
    std::thread::sleep(Duration::from_secs(5));
    let status = a.status();
    let (sent, downs) = status.sessions.values().fold((0, 0), |(sent, downs), session| (sent + session.sent, downs + session.downs));
    let cpu = a.end();
    println!("100 sessions: Up after {took:?}; {sent} packets sent in 5 s, {cpu:?} of processor time");
    assert_eq!(downs, 0);
    assert!(sent > 4000 && cpu < Duration::from_secs(2), "{sent} packets, {cpu:?}");
}
