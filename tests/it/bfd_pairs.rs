//! Two real BFD machines against each other through a wire that loses, delays, duplicates and cuts, down to the last pattern.
//!
//! What must hold in every world: both come Up when packets pass, whatever was lost before; nobody is declared dead who could be heard;
//! who cannot be heard is declared dead within the detection time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lanlord::bfd::desired::{Desired, SessionDesired};
use lanlord::bfd::sessions::{Action, Event, Sessions};
use lanlord::bfd::status::SessionStatus;
use lanlord::machine::{Instant, Machine};
use lanlord::wire::bfd::State::{AdminDown, Down, Init, Up};
use lanlord::wire::bfd::{Diagnostic, Packet, State};

use crate::bfd::{address, desired, key, session, start};

const MS: Duration = Duration::from_millis(1);
/// Two times this is a round trip of the wire.
const DELAY: Duration = Duration::from_micros(200);

/// What becomes of a packet: the delays of its copies; none: it is lost.
type Fate<'a> = Box<dyn FnMut(&Sent) -> Vec<Duration> + 'a>;

/// A packet on its way.
struct Sent {
    from: usize,
    /// Counts all packets of both sides.
    number: usize,
    at: Instant,
    packet: Packet,
}

/// A transition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Changed {
    side: usize,
    at: Instant,
    from: State,
    to: State,
    diagnostic: Diagnostic,
}

/// Hosts 1 and 2 as sides 0 and 1.
struct Pair<'a> {
    sides: [Sessions; 2],
    desired: [SessionDesired; 2],
    now: Instant,
    fate: Fate<'a>,
    wire: BTreeMap<(Instant, usize), (usize, Packet)>,
    copies: usize,
    log: Vec<Sent>,
    changes: Vec<Changed>,
    out: Vec<Action>,
}

fn passes() -> Fate<'static> {
    Box::new(|_| vec![DELAY])
}

impl<'a> Pair<'a> {
    fn new(seed: u64, desired: [SessionDesired; 2], fate: Fate<'a>) -> Self {
        let mut pair = Self {
            sides: [Sessions::new(2 * seed), Sessions::new(2 * seed + 1)],
            desired,
            now: start(),
            fate,
            wire: BTreeMap::new(),
            copies: 0,
            log: Vec::new(),
            changes: Vec::new(),
            out: Vec::new(),
        };
        pair.set(0);
        pair.set(1);
        pair
    }

    fn wired(seed: u64, fate: Fate<'a>) -> Self {
        Self::new(seed, [session(1), session(2)], fate)
    }

    /// Both Up, and the exchange that belongs to it over.
    fn up(seed: u64) -> Self {
        let mut pair = Self::wired(seed, passes());
        pair.run(Duration::from_secs(2));
        assert_eq!(pair.states(), [Up, Up]);
        pair.changes.clear();
        pair.log.clear();
        pair
    }

    fn set(&mut self, side: usize) {
        let desired = desired([(key(peer(side)), self.desired[side].clone())]);
        self.sides[side].set(desired, self.now, &mut self.out);
        self.carry_out(side);
    }

    fn removes(&mut self, side: usize, silent: bool) {
        self.sides[side].set(Arc::new(Desired { sessions: BTreeMap::new(), silent }), self.now, &mut self.out);
        self.carry_out(side);
    }

    /// A crash and a new start: another machine that knows nothing.
    fn restarts(&mut self, side: usize, seed: u64) {
        self.sides[side] = Sessions::new(seed);
        self.set(side);
    }

    fn carry_out(&mut self, side: usize) {
        for action in self.out.drain(..) {
            match action {
                Action::Send { packet, .. } => {
                    assert!(!(packet.poll && packet.final_), "P and F in one packet");
                    let sent = Sent { from: side, number: self.log.len(), at: self.now, packet };
                    for delay in (self.fate)(&sent) {
                        self.copies += 1;
                        // What arrives went through bytes.
                        self.wire.insert((self.now + delay, self.copies), (1 - side, Packet::decode(&packet.encode()).unwrap()));
                    }
                    self.log.push(sent);
                }
                Action::StateChanged { from, to, diagnostic, .. } => {
                    let legal = matches!((from, to), (_, AdminDown) | (Down, Init | Up) | (Init, Up | Down) | (Up, Down));
                    assert!(legal, "{from} to {to}");
                    self.changes.push(Changed { side, at: self.now, from, to, diagnostic });
                }
                Action::PathChanged { .. } => {}
            }
        }
    }

    /// The next thing that happens, if it happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.wire.first_key_value().map(|(at, _)| at.0);
        let timers = [0, 1].map(|side| self.sides[side].poll_timeout());
        let Some(next) = [arrival, timers[0], timers[1]].into_iter().flatten().min().filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let (_, (side, packet)) = self.wire.pop_first().unwrap();
            let source = address(peer(side));
            let event = Event::Received { link: "eth0".into(), source, port: 7474, ttl: 255, packet: Ok(packet) };
            self.sides[side].handle(event, self.now, &mut self.out);
            self.carry_out(side);
        }
        for side in [0, 1] {
            if self.sides[side].poll_timeout().is_some_and(|due| due <= self.now) {
                self.sides[side].handle_timeout(self.now, &mut self.out);
                self.carry_out(side);
            }
        }
        true
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    /// Runs until `condition` holds; how long that took.
    #[track_caller]
    fn until(&mut self, limit: Duration, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now;
        while !condition(self) {
            assert!(self.step(begun + limit), "not within {limit:?}: {what}; {:?}", self.changes);
        }
        self.now.since(begun)
    }

    fn status(&self, side: usize) -> SessionStatus {
        self.sides[side].status().next().map(|(_, status)| status).unwrap_or_default()
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|side| self.status(side).state)
    }

    fn both_up(&self) -> bool {
        self.states() == [Up, Up]
    }
}

fn peer(side: usize) -> u8 {
    [2, 1][side]
}

#[test]
fn two_machines_are_up_within_two_round_trips() {
    for seed in 0..100 {
        let mut pair = Pair::wired(seed, passes());
        let took = pair.until(Duration::from_secs(1), "both are Up", Pair::both_up);
        assert!(took <= 4 * DELAY, "{took:?}");
        assert!(pair.log.len() <= 12, "{} packets", pair.log.len());
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.changes.len(), 4, "and they stay: {:?}", pair.changes);
        let last = pair.log.iter().rev().take(20);
        assert!(last.into_iter().all(|sent| !sent.packet.poll && sent.packet.desired_min_tx_interval == 100_000), "at rest nobody polls");
    }
}

#[test]
fn whatever_pattern_of_the_first_packets_is_lost_both_come_up_in_the_end() {
    const DEPTH: usize = 11;
    for (passive, limit) in [([false, false], 12), ([false, true], 14)] {
        for pattern in 0..1_u32 << DEPTH {
            let lost = move |sent: &Sent| if sent.number < DEPTH && pattern >> sent.number & 1 == 1 { vec![] } else { vec![DELAY] };
            let sides = [SessionDesired { passive: passive[0], ..session(1) }, SessionDesired { passive: passive[1], ..session(2) }];
            let mut pair = Pair::new(pattern.into(), sides, Box::new(lost));
            pair.until(Duration::from_secs(limit), &format!("pattern {pattern:011b}: both are Up"), |pair| {
                pair.both_up() && pair.log.len() >= DEPTH
            });
            // What the last losses still end has ended by then.
            pair.run(Duration::from_secs(4));
            pair.until(Duration::from_secs(2), "both are Up", Pair::both_up);
            pair.changes.clear();
            pair.run(Duration::from_secs(2));
            assert_eq!((pair.changes.as_slice(), pair.states()), ([].as_slice(), [Up, Up]), "pattern {pattern:011b}");
        }
    }
}

#[test]
fn of_an_established_session_every_pattern_of_losses_that_leaves_two_of_four_is_survived() {
    const DEPTH: usize = 12;
    let mut survived = 0;
    for pattern in 0..1_u32 << DEPTH {
        let mut pair = Pair::up(pattern.into());
        let mut of_side = [0_usize; 2];
        // Six packets of each side; bit n of a side's half: its packet n is lost.
        let halves = [pattern & 0x3f, pattern >> 6];
        pair.fate = Box::new(move |sent| {
            let number = of_side[sent.from];
            of_side[sent.from] += 1;
            if number < 6 && halves[sent.from] >> number & 1 == 1 { vec![] } else { vec![DELAY] }
        });
        pair.run(Duration::from_secs(2));
        // Three lost in a row are a silence of up to 400 ms.
        let bearable = halves.iter().all(|half| half & (half >> 1) & (half >> 2) == 0);
        survived += u32::from(bearable);
        if bearable {
            assert_eq!(pair.changes, [], "pattern {pattern:012b}");
        }
        pair.until(Duration::from_secs(8), "both are Up again", Pair::both_up);
    }
    assert!(survived > 1500, "{survived}");
}

#[test]
fn who_falls_silent_is_dead_within_the_detection_time_and_not_before() {
    for seed in 0..200 {
        let mut pair = Pair::up(seed);
        pair.run(MS * u32::try_from(seed).unwrap());
        pair.fate = Box::new(|_| vec![]);
        let cut = pair.now;
        let took = pair.until(Duration::from_secs(1), "both are Down", |pair| pair.states() == [Down, Down]);
        assert!(took <= 400 * MS + DELAY, "{took:?}");
        assert!(pair.changes.iter().all(|changed| changed.at.since(cut) >= 300 * MS), "{:?}", pair.changes);
        for side in [0, 1] {
            assert!(pair.status(side).expired);
        }
        pair.run(Duration::from_secs(30));
        pair.fate = passes();
        pair.until(Duration::from_secs(2), "both are Up after the heal", Pair::both_up);
        assert!(!pair.status(0).expired && !pair.status(1).expired);
    }
}

#[test]
fn of_a_one_way_loss_both_go_down_and_only_who_hears_nothing_has_evidence() {
    for deaf in [0, 1] {
        let mut pair = Pair::up(5);
        pair.fate = Box::new(move |sent| if sent.from == deaf { vec![DELAY] } else { vec![] });
        let took = pair.until(Duration::from_secs(1), "both are Down", |pair| pair.states() == [Down, Down]);
        assert!(took <= 401 * MS, "{took:?}");
        let diagnostics = pair.changes.iter().map(|changed| (changed.side, changed.diagnostic)).collect::<Vec<_>>();
        let expected = [(deaf, Diagnostic::CONTROL_DETECTION_TIME_EXPIRED), (1 - deaf, Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN)];
        assert_eq!(diagnostics, expected);
        pair.run(Duration::from_secs(60));
        assert!(pair.states().iter().all(|state| *state != Up));
        assert_eq!([0, 1].map(|side| pair.status(side).expired), [deaf == 0, deaf == 1]);
        pair.fate = passes();
        pair.until(Duration::from_secs(2), "both are Up after the heal", Pair::both_up);
    }
}

#[test]
fn a_side_that_restarts_is_up_again_in_milliseconds_and_was_never_lost() {
    for seed in 0..200 {
        let mut pair = Pair::up(seed);
        for n in 0..5 {
            pair.run(MS * (500 + u32::try_from(seed).unwrap()));
            let side = usize::try_from(seed % 2).unwrap();
            pair.restarts(side, 1000 + 10 * seed + n);
            let took = pair.until(Duration::from_secs(2), "both are Up again", Pair::both_up);
            assert!(took < 10 * MS, "{took:?}");
            assert!(!pair.status(1 - side).expired);
        }
        let expiries = pair.changes.iter().filter(|changed| changed.diagnostic == Diagnostic::CONTROL_DETECTION_TIME_EXPIRED);
        assert_eq!(expiries.count(), 0, "{:?}", pair.changes);
    }
}

#[test]
fn a_restart_amid_losses_ends_up_too() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut pair = Pair::up(seed);
        let until = pair.now + Duration::from_secs(5);
        pair.fate = Box::new(move |sent| if sent.at < until && rng.u8(..2) == 0 { vec![] } else { vec![DELAY] });
        for n in 0..10 {
            pair.restarts(usize::from(n % 3 == 0), 10_000 + 100 * seed + n);
            pair.run(500 * MS);
        }
        pair.until(Duration::from_secs(8), "both are Up", Pair::both_up);
    }
}

#[test]
fn delays_and_duplicates_in_any_order_end_nothing() {
    for seed in 0..100 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let fate = move |_: &Sent| (0..rng.usize(1..4)).map(|_| Duration::from_micros(rng.u64(100..50_000))).collect();
        let mut pair = Pair::wired(seed, Box::new(fate));
        // A duplicate of the handshake may arrive after it: it is a Down like any other.
        pair.until(Duration::from_secs(3), "both are Up", Pair::both_up);
        pair.run(Duration::from_secs(3));
        pair.until(Duration::from_secs(1), "both are Up", Pair::both_up);
        pair.changes.clear();
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.changes, [], "seed {seed}");
    }
}

#[test]
fn changes_at_run_time_take_a_poll_sequence_and_never_end_a_session() {
    let intervals = [30 * MS, 50 * MS, 100 * MS, 250 * MS, 700 * MS, 1500 * MS];
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut pair = Pair::up(seed);
        // Every fourth packet of a side is lost in half of the worlds: two in a row never are.
        // What left first arrives first: a packet from before a change that comes after it is beyond what §6.8.3 can order.
        let (lossy, mut of_side, mut last) = (seed % 2 == 0, [0; 2], [start(); 2]);
        let mut delays = fastrand::Rng::with_seed(seed);
        pair.fate = Box::new(move |sent| {
            of_side[sent.from] += 1;
            let lost = lossy && of_side[sent.from] % 4 == 0;
            last[sent.from] = last[sent.from].max(sent.at + Duration::from_micros(delays.u64(100..3000)));
            if lost { vec![] } else { vec![last[sent.from].since(sent.at)] }
        });
        for _ in 0..40 {
            let side = rng.usize(..2);
            let session = &mut pair.desired[side];
            match rng.u8(..3) {
                0 => session.desired_min_tx = intervals[rng.usize(..6)],
                1 => session.required_min_rx = intervals[rng.usize(..6)],
                _ => session.detect_mult = rng.u8(3..8),
            }
            pair.set(side);
            pair.run(Duration::from_micros(rng.u64(0..2_000_000)));
        }
        assert_eq!(pair.changes, [], "seed {seed}");
        pair.run(Duration::from_secs(20));
        let (end, since) = (pair.now, pair.log.len());
        pair.run(Duration::from_secs(30));
        for side in [0, 1] {
            let interval = pair.desired[side].desired_min_tx.max(pair.desired[1 - side].required_min_rx);
            let detection_time = interval * u32::from(pair.desired[side].detect_mult);
            assert_eq!(pair.status(1 - side).detection_time, detection_time, "seed {seed}: of the other side");
            let times: Vec<Instant> =
                pair.log[since..].iter().filter(|sent| sent.from == side && sent.at > end).map(|sent| sent.at).collect();
            let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
            assert!(!gaps.is_empty() && gaps.iter().all(|gap| (interval * 3 / 4..=interval).contains(gap)), "seed {seed}: {gaps:?}");
        }
        assert!(pair.log[since..].iter().all(|sent| !sent.packet.poll), "seed {seed}: the Poll Sequences are over");
    }
}

#[test]
fn a_removed_session_brings_the_other_side_down_at_once_and_unaccused() {
    for seed in 0..50 {
        let mut pair = Pair::up(seed);
        pair.removes(0, false);
        let took = pair.until(Duration::from_secs(1), "it is Down", |pair| pair.status(1).state == Down);
        assert!(took <= DELAY, "{took:?}");
        assert_eq!(pair.changes.last().unwrap().diagnostic, Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN);
        pair.until(10 * MS, "who has told it is gone", |pair| pair.sides[0].poll_timeout().is_none());
        pair.run(Duration::from_secs(60));
        assert!(!pair.status(1).expired);
        pair.set(0);
        pair.until(Duration::from_secs(2), "desired again", Pair::both_up);
        // Silently: the other side has to notice by itself.
        pair.removes(0, true);
        let took = pair.until(Duration::from_secs(1), "it is Down", |pair| pair.status(1).state == Down);
        assert!(took > 300 * MS && pair.status(1).expired, "{took:?}");
    }
}

#[test]
fn an_instance_that_takes_over_silently_is_up_before_anybody_is_accused() {
    for seed in 0..100 {
        let mut pair = Pair::up(seed);
        pair.removes(0, true);
        // The new instance tries the port every 50 ms.
        pair.run(MS * u32::try_from(seed % 60).unwrap());
        pair.restarts(0, 7000 + seed);
        let took = pair.until(Duration::from_secs(1), "both are Up", Pair::both_up);
        assert!(took < 10 * MS, "{took:?}");
        assert!(pair.changes.iter().all(|changed| changed.diagnostic != Diagnostic::CONTROL_DETECTION_TIME_EXPIRED));
    }
}

#[test]
fn both_sides_that_restart_meet_again_from_any_pair_of_states() {
    // One side in Init, Down or Up while the other one starts anew at any moment of the handshake.
    for moment in 0..40_u32 {
        let mut pair = Pair::wired(u64::from(moment), passes());
        pair.run(DELAY / 8 * moment);
        pair.restarts(0, 500 + u64::from(moment));
        pair.run(DELAY / 8 * (moment % 7));
        pair.restarts(1, 600 + u64::from(moment));
        let took = pair.until(Duration::from_secs(3), "both are Up", Pair::both_up);
        assert!(took < 20 * MS, "moment {moment}: {took:?} from {:?}", pair.states());
        assert!(pair.changes.iter().all(|changed| changed.from != Init || changed.to != AdminDown));
    }
}
