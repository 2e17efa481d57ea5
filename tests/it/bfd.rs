//! BFD, one session at a time: the whole state table (RFC 5880 §6.2, §6.8.6), every rule of reception, timers, demultiplexing, lateness.
//! The neighbour is played by hand; two real machines meet in `bfd_pairs`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use lanlord::bfd::desired::{Desired, SessionDesired, SessionKey};
use lanlord::bfd::sessions::{Action, Event, Sessions};
use lanlord::bfd::status::SessionStatus;
use lanlord::machine::{Instant, Machine};
use lanlord::wire::DecodeError;
use lanlord::wire::bfd::State::{AdminDown, Down, Init, Up};
use lanlord::wire::bfd::{Diagnostic, Packet, State};

const MS: Duration = Duration::from_millis(1);
/// What the neighbour calls itself.
const THEIRS: u32 = 77;

pub(crate) fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, last))
}

pub(crate) fn key(peer: u8) -> SessionKey {
    SessionKey { link: "eth0".into(), peer: address(peer), port: 7474 }
}

/// 100 ms × 4.
pub(crate) fn session(local: u8) -> SessionDesired {
    SessionDesired {
        index: 2,
        local: address(local),
        desired_min_tx: 100 * MS,
        required_min_rx: 100 * MS,
        detect_mult: 4,
        minimum_ttl: 255,
        passive: false,
        concatenated_path_down: false,
    }
}

pub(crate) fn desired(sessions: impl IntoIterator<Item = (SessionKey, SessionDesired)>) -> Arc<Desired> {
    Arc::new(Desired { sessions: sessions.into_iter().collect(), silent: false })
}

pub(crate) fn start() -> Instant {
    Instant::from_nanos(3_600_000_000_000)
}

/// One machine with one session (to host 2), and a neighbour played by the test.
struct One {
    machine: Sessions,
    now: Instant,
    /// Since the last look.
    out: Vec<Action>,
    discr: u32,
}

impl One {
    fn new(session: SessionDesired) -> Self {
        let mut one = Self { machine: Sessions::new(1), now: start(), out: Vec::new(), discr: 0 };
        one.machine.set(desired([(key(2), session)]), one.now, &mut one.out);
        one.discr = one.out.iter().find_map(|action| sent(action).map(|packet| packet.my_discriminator)).unwrap_or(0);
        one.out.clear();
        one
    }

    /// A session in that state, of a neighbour with 100 ms × 4.
    fn in_state(state: State) -> Self {
        let mut one = Self::new(session(1));
        match state {
            AdminDown => {
                one = Self::in_state(Up);
                one.machine.set(desired([]), one.now, &mut one.out);
            }
            Down => {}
            Init => drop(one.hears(one.says(Down))),
            Up => {
                one.hears(one.says(Down));
                one.hears(one.says(Up));
            }
        }
        assert_eq!(one.state(), state);
        one.out.clear();
        one
    }

    /// A packet of the neighbour, which knows our discriminator by now.
    fn says(&self, state: State) -> Packet {
        Packet {
            state,
            detect_mult: 4,
            my_discriminator: THEIRS,
            your_discriminator: self.discr,
            desired_min_tx_interval: 100_000,
            required_min_rx_interval: 100_000,
            ..Packet::default()
        }
    }

    fn receives(&mut self, link: &str, source: u8, port: u16, ttl: u8, packet: Result<Packet, DecodeError>) -> Vec<Action> {
        let event = Event::Received { link: link.into(), source: address(source), port, ttl, packet };
        self.machine.handle(event, self.now, &mut self.out);
        self.machine.handle_timeout(self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn hears(&mut self, packet: Packet) -> Vec<Action> {
        // As it would have come through the wire.
        self.receives("eth0", 2, 7474, 255, Packet::decode(&packet.encode()))
    }

    fn sets(&mut self, desired: Arc<Desired>) -> Vec<Action> {
        self.machine.set(desired, self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// Wakes at each deadline until `span` has passed; what was done, and when.
    fn passes(&mut self, span: Duration) -> Vec<(Instant, Action)> {
        let (end, mut all) = (self.now + span, Vec::new());
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now, &mut self.out);
            all.extend(self.out.drain(..).map(|action| (self.now, action)));
        }
        self.now = end;
        all
    }

    fn status(&self) -> SessionStatus {
        self.machine.status().next().unwrap().1
    }

    fn state(&self) -> State {
        self.status().state
    }
}

fn sent(action: &Action) -> Option<&Packet> {
    match action {
        Action::Send { packet, .. } => Some(packet),
        Action::StateChanged { .. } | Action::PathChanged { .. } => None,
    }
}

fn packets(actions: &[Action]) -> Vec<Packet> {
    actions.iter().filter_map(sent).copied().collect()
}

fn times(actions: &[(Instant, Action)]) -> Vec<Instant> {
    actions.iter().filter(|(_, action)| sent(action).is_some()).map(|(at, _)| *at).collect()
}

#[test]
fn the_state_table_of_section_6_8_6_holds_in_every_cell() {
    // Rows: our state. Columns: AdminDown, Down, Init, Up received.
    let table = [(Down, [Down, Init, Up, Down]), (Init, [Down, Init, Up, Up]), (Up, [Down, Down, Up, Up])];
    for (from, row) in table {
        for (received, to) in [AdminDown, Down, Init, Up].into_iter().zip(row) {
            let mut one = One::in_state(from);
            let actions = one.hears(one.says(received));
            assert_eq!(one.state(), to, "{from} hears {received}");
            let told: Vec<_> = actions
                .iter()
                .filter_map(|action| match action {
                    Action::StateChanged { from, to, diagnostic, .. } => Some((*from, *to, *diagnostic)),
                    Action::Send { .. } | Action::PathChanged { .. } => None,
                })
                .collect();
            let signaled = matches!((from, to), (Init | Up, Down));
            let diagnostic = if signaled { Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN } else { Diagnostic::NO_DIAGNOSTIC };
            let expected = if from == to { vec![] } else { vec![(from, to, diagnostic)] };
            assert_eq!(told, expected, "{from} hears {received}");
            if from != to {
                let packet = packets(&actions)[0];
                assert_eq!((packet.state, packet.diagnostic), (to, diagnostic), "told at once");
                assert_eq!((packet.my_discriminator, packet.your_discriminator), (one.discr, THEIRS));
            }
            assert!(!one.status().expired, "what a neighbour says is never an expiry");
        }
    }
    for received in [AdminDown, Down, Init, Up] {
        let mut one = One::in_state(AdminDown);
        assert_eq!(packets(&one.hears(Packet { poll: true, ..one.says(received) })), [], "AdminDown discards");
        let over = one.machine.status().next().is_none();
        assert_eq!(over, matches!(received, AdminDown | Down), "who is not Up any more has heard our AdminDown: {received}");
    }
}

#[test]
fn the_detection_time_ends_init_and_up_and_is_forgotten_in_down() {
    for from in [Down, Init, Up] {
        let mut one = One::in_state(from);
        if from == Down {
            one.hears(one.says(AdminDown));
        }
        let begun = one.now;
        assert_eq!(one.status().detection_time, 400 * MS);
        one.passes(400 * MS - Duration::from_nanos(1));
        assert_eq!(one.state(), from, "not before the detection time");
        let actions = one.passes(Duration::from_nanos(1));
        assert_eq!(one.state(), Down);
        assert_eq!(one.now, begun + 400 * MS);
        assert_eq!(one.status().expired, from == Up, "a level of sessions that were Up, from {from}");
        let packet = actions.iter().filter_map(|(_, action)| sent(action)).next_back().copied().expect("told at once");
        let diagnostic = if from == Down { Diagnostic::NO_DIAGNOSTIC } else { Diagnostic::CONTROL_DETECTION_TIME_EXPIRED };
        assert_eq!((packet.state, packet.diagnostic), (Down, diagnostic));
        assert_eq!(packet.your_discriminator, 0, "bfd.RemoteDiscr is reset (§6.8.1)");
        assert_eq!(packet.desired_min_tx_interval, 1_000_000, "§6.8.3");
    }
}

#[test]
fn expired_lasts_until_the_session_is_up_again_and_no_longer() {
    let mut one = One::in_state(Up);
    one.passes(400 * MS);
    assert!(one.status().expired);
    one.hears(one.says(AdminDown));
    assert!(one.status().expired, "has not been Up since");
    one.hears(one.says(Down));
    assert!(one.status().expired && one.state() == Init);
    one.hears(one.says(Init));
    assert_eq!((one.status().expired, one.state()), (false, Up));
    assert_eq!((one.status().ups, one.status().downs), (2, 1));
}

#[test]
fn a_down_from_a_neighbour_that_then_falls_silent_is_not_an_expiry() {
    for received in [Down, AdminDown] {
        let mut one = One::in_state(Up);
        one.hears(Packet { your_discriminator: 0, ..one.says(received) });
        assert_eq!(one.state(), Down);
        one.passes(Duration::from_secs(60));
        assert_eq!((one.state(), one.status().expired), (Down, false));
    }
}

#[test]
fn packets_that_break_a_rule_change_nothing_and_are_counted() {
    for state in [Down, Init, Up] {
        let one = One::in_state(state);
        let good = one.says(Down);
        let discr = one.discr;
        let wrong = [
            ("TTL 254", "eth0", 2, 7474, 254, Ok(good)),
            ("no TTL", "eth0", 2, 7474, 0, Ok(good)),
            ("another link", "eth1", 2, 7474, 255, Ok(good)),
            ("another port", "eth0", 2, 3784, 255, Ok(good)),
            ("an unknown discriminator", "eth0", 2, 7474, 255, Ok(Packet { your_discriminator: discr ^ 1, ..good })),
            ("an unknown source", "eth0", 3, 7474, 255, Ok(Packet { your_discriminator: 0, ..good })),
            ("another link, no discriminator", "eth1", 2, 7474, 255, Ok(Packet { your_discriminator: 0, ..good })),
            ("no BFD at all", "eth0", 2, 7474, 255, Err(DecodeError::Truncated)),
            ("no BFD at all from a stranger", "eth0", 3, 7474, 255, Err(DecodeError::Truncated)),
        ];
        for (what, link, source, port, ttl, packet) in wrong {
            let mut one = One::in_state(state);
            let (before, timer) = (one.status(), one.machine.poll_timeout());
            assert_eq!(one.receives(link, source, port, ttl, packet), [], "{what}");
            let after = one.status();
            let counted = u64::from(source == 2 && link == "eth0" && port == 7474);
            assert_eq!(after.discarded, before.discarded + counted, "{what}");
            assert_eq!(SessionStatus { discarded: before.discarded, ..after }, before, "{what}");
            assert_eq!(one.machine.poll_timeout(), timer, "{what}");
            assert_eq!(one.machine.status().count(), 1, "{what}: nothing is created");
        }
    }
}

#[test]
fn the_discriminator_selects_the_session_and_the_source_may_change() {
    let mut one = One::in_state(Init);
    let up = one.says(Up);
    one.receives("eth0", 9, 7474, 255, Ok(up));
    assert_eq!(one.state(), Up, "§6.3: the source address is not looked at once the discriminator is known");
}

#[test]
fn discriminators_are_unique_random_and_never_zero() {
    let many = (0..200).map(|peer| (key(peer), session(201)));
    let (mut one, mut other) = (Sessions::new(1), Sessions::new(2));
    let (mut a, mut b) = (Vec::new(), Vec::new());
    one.set(desired(many.clone()), start(), &mut a);
    other.set(desired(many), start(), &mut b);
    let discrs =
        |actions: &[Action]| packets(actions).iter().map(|packet| packet.my_discriminator).collect::<std::collections::BTreeSet<u32>>();
    let (a, b) = (discrs(&a), discrs(&b));
    assert_eq!((a.len(), b.len()), (200, 200));
    assert!(!a.contains(&0) && a.is_disjoint(&b));
}

#[test]
fn while_not_up_a_packet_a_second_and_while_up_as_negotiated_both_jittered() {
    let mut one = One::new(session(1));
    let gaps = |times: &[Instant]| times.windows(2).map(|pair| pair[1].since(pair[0])).collect::<Vec<_>>();
    let slow = gaps(&times(&one.passes(Duration::from_secs(100))));
    assert!(slow.len() > 100 && slow.iter().all(|gap| (750 * MS..=1000 * MS).contains(gap)), "{slow:?}");
    for (detect_mult, most, theirs) in [(4, 100, 100_000), (1, 90, 100_000), (4, 300, 300_000), (4, 100, 1)] {
        let mut one = One::in_state(Up);
        one.sets(desired([(key(2), SessionDesired { detect_mult, ..session(1) })]));
        let alive = Packet { required_min_rx_interval: theirs, final_: true, ..one.says(Up) };
        let mut all = Vec::new();
        for _ in 0..400 {
            one.hears(alive);
            all.extend(one.passes(50 * MS));
        }
        let gaps = gaps(&times(&all));
        let (least, most) = (MS * most.max(100) * 3 / 4, MS * most);
        let least = if detect_mult == 1 { 75 * MS } else { least };
        assert!(gaps.len() > 60 && gaps.iter().all(|gap| (least..=most).contains(gap)), "{detect_mult} {theirs}: {gaps:?}");
        let (smallest, largest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*largest - *smallest > (most - least) / 2, "the jitter uses its room");
    }
}

#[test]
fn polls_are_answered_at_once_and_never_with_a_poll() {
    for state in [Down, Init, Up] {
        let mut one = One::in_state(state);
        one.sets(desired([(key(2), SessionDesired { required_min_rx: 150 * MS, ..session(1) })]));
        let answer = packets(&one.hears(Packet { poll: true, ..one.says(Up) }));
        let finals: Vec<_> = answer.iter().filter(|packet| packet.final_).collect();
        assert_eq!(finals.len(), 1, "{state}: {answer:?}");
        assert!(!finals[0].poll, "P and F are never set both");
    }
}

#[test]
fn coming_up_starts_a_poll_sequence_that_ends_with_a_final() {
    let mut one = One::in_state(Init);
    let up = packets(&one.hears(one.says(Up)))[0];
    assert!(up.poll && up.desired_min_tx_interval == 100_000, "1 s becomes 100 ms: {up:?}");
    assert!(one.passes(200 * MS).iter().filter_map(|(_, action)| sent(action)).all(|packet| packet.poll), "until F comes");
    one.hears(Packet { final_: true, ..one.says(Up) });
    let after = one.passes(200 * MS);
    assert!(!times(&after).is_empty() && after.iter().filter_map(|(_, action)| sent(action)).all(|packet| !packet.poll));
}

#[test]
fn a_slower_transmission_and_a_faster_expectation_wait_for_the_final() {
    let mut one = One::in_state(Up);
    one.hears(Packet { final_: true, ..one.says(Up) });
    one.hears(Packet { required_min_rx_interval: 1, ..one.says(Up) });
    let changed = SessionDesired { desired_min_tx: 300 * MS, required_min_rx: 50 * MS, ..session(1) };
    let fast = Packet { desired_min_tx_interval: 10_000, required_min_rx_interval: 1, ..one.says(Up) };
    one.hears(fast);
    let told = packets(&one.sets(desired([(key(2), changed.clone())])))[0];
    assert!(told.poll && (told.desired_min_tx_interval, told.required_min_rx_interval) == (300_000, 50_000));
    assert_eq!(one.status().detection_time, 400 * MS, "4 × the old 100 ms");
    for _ in 0..10 {
        assert!(!times(&one.passes(100 * MS)).is_empty(), "still the old interval");
        one.hears(fast);
    }
    one.hears(Packet { final_: true, ..fast });
    assert_eq!(one.status().detection_time, 200 * MS);
    assert!(times(&one.passes(150 * MS)).len() <= 1, "now slower");

    // A change during the sequence makes another one, which starts after a packet without F.
    let mut one = One::in_state(Up);
    let (first, second) = (150 * MS, 250 * MS);
    one.sets(desired([(key(2), SessionDesired { desired_min_tx: first, ..session(1) })]));
    one.sets(desired([(key(2), SessionDesired { desired_min_tx: second, ..session(1) })]));
    one.hears(Packet { final_: true, ..one.says(Up) });
    let quick = times(&one.passes(200 * MS)).len();
    assert!(quick >= 1, "the first F may answer the first change: 100 ms stays in force");
    one.hears(one.says(Up));
    let polling = one.passes(100 * MS);
    assert!(polling.iter().filter_map(|(_, action)| sent(action)).all(|packet| packet.poll) && !times(&polling).is_empty());
    one.hears(Packet { final_: true, ..one.says(Up) });
    one.passes(250 * MS);
    one.hears(one.says(Up));
    assert!(times(&one.passes(180 * MS)).len() <= 1, "the second change is in force");
}

#[test]
fn a_neighbour_that_asks_for_more_gets_the_next_packet_in_time() {
    let mut one = One::in_state(Up);
    one.hears(Packet { required_min_rx_interval: 60_000_000, detect_mult: 255, ..one.says(Up) });
    assert_eq!(times(&one.passes(10 * Duration::from_secs(1))).len(), 0);
    let now = packets(&one.hears(Packet { required_min_rx_interval: 100_000, detect_mult: 255, ..one.says(Up) }));
    assert_eq!(now.len(), 1, "the new interval has passed already: as soon as practicable (§6.8.3)");
}

#[test]
fn nothing_periodic_is_sent_to_who_wants_none_or_is_in_demand_mode_and_sees_both_up() {
    for silence in [
        Packet { required_min_rx_interval: 0, ..One::in_state(Up).says(Up) },
        Packet { demand: true, final_: true, ..One::in_state(Up).says(Up) },
    ] {
        let mut one = One::in_state(Up);
        assert_eq!(one.discr, silence.your_discriminator);
        let mut all = Vec::new();
        for _ in 0..50 {
            one.hears(silence);
            all.extend(one.passes(100 * MS));
        }
        assert_eq!(times(&all).len(), 0, "{silence:?}");
        assert_eq!(packets(&one.hears(Packet { poll: true, final_: false, ..silence })).len(), 1, "a Poll is answered all the same");
        let after = one.passes(10 * Duration::from_secs(1));
        assert!(one.status().expired && times(&after).len() > 5, "once it is lost it is called again");
    }
}

#[test]
fn the_passive_role_waits_to_be_spoken_to() {
    let mut one = One::new(SessionDesired { passive: true, ..session(1) });
    assert_eq!(one.discr, 0, "nothing was sent");
    assert_eq!(one.passes(Duration::from_secs(60)), []);
    let answer = packets(&one.hears(Packet { your_discriminator: 0, ..one.says(Down) }))[0];
    assert_eq!((answer.state, answer.your_discriminator), (Init, THEIRS));
    one.discr = answer.my_discriminator;
    one.hears(one.says(Up));
    assert_eq!(one.state(), Up);
    let after = one.passes(Duration::from_secs(60));
    assert!(one.status().expired);
    let last = *times(&after).last().unwrap();
    assert!(last.since(start()) < Duration::from_secs(61), "silent again once bfd.RemoteDiscr is 0: {last:?}");
}

#[test]
fn a_lost_path_behind_us_is_told_at_once_and_leaves_the_session_up() {
    let mut one = One::in_state(Up);
    let told = packets(&one.sets(desired([(key(2), SessionDesired { concatenated_path_down: true, ..session(1) })])));
    assert_eq!((told[0].state, told[0].diagnostic), (Up, Diagnostic::CONCATENATED_PATH_DOWN));
    let told = packets(&one.sets(desired([(key(2), session(1))])));
    assert_eq!((told[0].state, told[0].diagnostic), (Up, Diagnostic::NO_DIAGNOSTIC));
    for (diagnostic, down) in [(Diagnostic::CONCATENATED_PATH_DOWN, true), (Diagnostic::NO_DIAGNOSTIC, false)] {
        let actions = one.hears(Packet { diagnostic, ..one.says(Up) });
        assert_eq!(actions, [Action::PathChanged { key: key(2), down }]);
        assert_eq!((one.state(), one.status().concatenated_path_down), (Up, down));
    }
}

#[test]
fn a_session_that_ends_in_order_says_admin_down_and_a_silent_one_nothing() {
    let mut one = One::in_state(Up);
    let told = packets(&one.sets(desired([])))[0];
    assert_eq!((told.state, told.diagnostic), (AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN));
    let repeated = one.passes(Duration::from_secs(60));
    assert!((3..10).contains(&times(&repeated).len()), "for a detection time, in case the first was lost: {repeated:?}");
    assert!(repeated.iter().filter_map(|(_, action)| sent(action)).all(|packet| packet.state == AdminDown));
    assert_eq!((one.machine.poll_timeout(), one.machine.status().count()), (None, 0));

    let mut one = One::in_state(Up);
    assert_eq!(one.sets(Arc::new(Desired { sessions: BTreeMap::new(), silent: true })), []);
    assert_eq!((one.machine.poll_timeout(), one.machine.status().count()), (None, 0));
    assert_eq!(one.hears(one.says(Up)), []);

    let mut one = One::in_state(AdminDown);
    assert_eq!(one.sets(Arc::new(Desired { sessions: BTreeMap::new(), silent: true })), [], "also while it still tells AdminDown");
    assert_eq!(one.machine.poll_timeout(), None);
}

#[test]
fn another_link_or_address_of_ours_begins_the_session_anew() {
    for changed in [SessionDesired { index: 3, ..session(1) }, session(9)] {
        let mut one = One::in_state(Up);
        let actions = one.sets(desired([(key(2), changed)]));
        let packet = packets(&actions)[0];
        assert_eq!((packet.state, packet.your_discriminator, packet.diagnostic), (Down, 0, Diagnostic::NO_DIAGNOSTIC));
        assert_ne!(packet.my_discriminator, one.discr);
        let told = actions.iter().any(|action| matches!(action, Action::StateChanged { from: Up, to: Down, .. }));
        assert!(told && !one.status().expired);
    }
}

#[test]
fn forged_packets_cause_no_storm_of_ours() {
    let mut one = One::in_state(Up);
    let mut sent = 0;
    for n in 0..100_000_u32 {
        let state = [Down, AdminDown][n as usize % 2];
        let forged = Packet { poll: true, your_discriminator: 0, my_discriminator: 1 + n, detect_mult: 1 + n as u8 / 2, ..one.says(state) };
        sent += packets(&one.hears(forged)).len() + times(&one.passes(MS / 10)).len();
    }
    // 10 s of it.
    assert!(sent < 8 + 100 + 20, "{sent} packets sent for 100,000 forged ones");
    one.hears(one.says(Down));
    one.hears(one.says(Init));
    assert_eq!(one.state(), Up, "and it goes on as if nothing had been");
}

/// Lets a machine sleep through `pause`, then feeds it what waited, as the driver does: input first.
fn sleeps(one: &mut One, pause: Duration, waiting: &[Packet]) -> Vec<Action> {
    one.now = one.now + pause;
    for packet in waiting {
        let event = Event::Received { link: "eth0".into(), source: address(2), port: 7474, ttl: 255, packet: Ok(*packet) };
        one.machine.handle(event, one.now, &mut one.out);
    }
    one.machine.handle_timeout(one.now, &mut one.out);
    std::mem::take(&mut one.out)
}

#[test]
fn a_late_wake_up_excuses_the_neighbour_once() {
    let mut one = One::in_state(Up);
    sleeps(&mut one, Duration::from_secs(5), &[]);
    assert_eq!(one.state(), Up, "who slept for so long has no proof");
    one.passes(400 * MS - Duration::from_nanos(1));
    assert_eq!(one.state(), Up);
    one.passes(Duration::from_nanos(1));
    assert!(one.status().expired, "a whole detection time awake is proof");

    let mut one = One::in_state(Up);
    sleeps(&mut one, Duration::from_secs(5), &[]);
    sleeps(&mut one, Duration::from_secs(5), &[]);
    assert!(one.status().expired, "a process that is always late still notices: what came would have waited in the socket");

    let mut one = One::in_state(Up);
    for _ in 0..20 {
        let waiting = [one.says(Up)];
        sleeps(&mut one, Duration::from_secs(5), &waiting);
        assert_eq!(one.state(), Up);
    }
    let mut one = One::in_state(Up);
    one.passes(350 * MS);
    sleeps(&mut one, 60 * MS, &[]);
    assert!(one.status().expired, "a little late is no excuse");
}

#[test]
fn who_runs_late_advertises_a_larger_detect_mult_for_a_while() {
    let mut one = One::in_state(Up);
    let alive = Packet { final_: true, ..one.says(Up) };
    let told = |one: &mut One, rounds: u32| {
        let mut last = 0;
        for _ in 0..rounds {
            let mut actions = one.hears(alive);
            actions.extend(one.passes(100 * MS).into_iter().map(|(_, action)| action));
            last = packets(&actions).last().map_or(last, |packet| packet.detect_mult);
        }
        last
    };
    assert_eq!(told(&mut one, 10), 4);
    let at_once = packets(&sleeps(&mut one, 350 * MS, &[alive]));
    assert!(at_once.iter().any(|packet| (6..=8).contains(&packet.detect_mult) && !packet.poll), "without a Poll Sequence: {at_once:?}");
    assert!(told(&mut one, 50) > 4, "for a while");
    assert_eq!(told(&mut one, 600), 4, "then as before");
    let at_once = packets(&sleeps(&mut one, Duration::from_secs(60), &[alive]));
    assert_eq!(at_once[0].detect_mult, 12, "bounded");
    assert_eq!(told(&mut one, 2000), 4);
}
