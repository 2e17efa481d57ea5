//! Two real BGP sessions against each other over a network that refuses, delays, cuts, restarts and reads slowly, down to the bytes.
//!
//! What must hold in every world: when it becomes quiet, both are Established and each knows exactly what the other wants told, whatever
//! happened before; and a restart in place loses no route on the way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::{Family, Prefix};
use lanlord::bgp::desired::{Desired, Ending, RemoteAs, Route, SessionDesired};
use lanlord::bgp::session::{Action, Event, NextHops, Restart, Session};
use lanlord::bgp::status::NoConnection;
use lanlord::bgp::status::State::{self, Established, Idle};
use lanlord::machine::{Instant, Machine};
use lanlord::wire::bgp::{Attributes, Capability, Code, Message, Nlri, RefreshSubtype, RouteRefresh, Update};

use crate::bgp_session::{SECOND, parameters, start};
use crate::bgp_wire::end_of_rib;

const MS: Duration = Duration::from_millis(1);

/// Adj-RIB-In as a router keeps it, graceful restart (RFC 4724 §4.2) and enhanced route refresh (RFC 7313 §4.1) included.
#[derive(Debug, Default)]
struct Heard {
    routes: BTreeMap<Prefix, Attributes>,
    stale: BTreeSet<Prefix>,
}

impl Heard {
    fn hears(&mut self, update: &Update) {
        let plain = |nets: &[ipnet::Ipv4Net]| nets.iter().map(|net| Prefix::new((*net).into())).collect::<Vec<_>>();
        let unreachable = update.unreachable.iter().flat_map(Nlri::prefixes);
        for prefix in plain(&update.withdrawn).into_iter().chain(unreachable) {
            assert!(self.routes.remove(&prefix).is_some(), "{prefix} was withdrawn and never announced");
            self.stale.remove(&prefix);
        }
        let reachable = update.reachable.iter().flat_map(|reachable| reachable.nlri.prefixes());
        for prefix in plain(&update.nlri).into_iter().chain(reachable) {
            self.routes.insert(prefix, Attributes { next_hop: None, ..update.attributes.clone() });
            self.stale.remove(&prefix);
        }
        if let Some(family) = end_of_rib(update) {
            self.sweep(family);
        }
    }

    fn marks(&mut self, refresh: RouteRefresh) {
        let Some(family) = refresh.family.family() else { return };
        match refresh.subtype {
            RefreshSubtype::Begin => self.stale.extend(self.routes.keys().filter(|prefix| of(**prefix) == family)),
            RefreshSubtype::End => self.sweep(family),
            RefreshSubtype::Request | RefreshSubtype::Unknown(_) => {}
        }
    }

    fn sweep(&mut self, family: Family) {
        let swept: Vec<Prefix> = self.stale.iter().filter(|prefix| of(**prefix) == family).copied().collect();
        for prefix in swept {
            self.routes.remove(&prefix);
            self.stale.remove(&prefix);
        }
    }

    /// The session is gone.
    fn lost(&mut self, keep: bool) {
        if keep {
            self.stale.extend(self.routes.keys());
        } else {
            *self = Self::default();
        }
    }
}

fn of(prefix: Prefix) -> Family {
    Family::of(prefix.first())
}

/// What travels to one side, in order.
#[derive(Debug)]
enum Packet {
    Established,
    Octets(Vec<u8>),
    Closed,
}

/// One end.
struct Side {
    session: Session,
    desired: Desired,
    /// The dial or connection that the machine believes in.
    connection: Option<u64>,
    connected: bool,
    /// What is on its way here.
    inbox: VecDeque<(Instant, Packet)>,
    buffer: Vec<u8>,
    heard: Heard,
    /// Seen in the other's last OPEN: it helps to restart.
    asked_to_keep: bool,
    /// Sent and not told to be written.
    unwritten: Option<Instant>,
    ups: usize,
}

struct Pair {
    sides: [Side; 2],
    now: Instant,
    rng: fastrand::Rng,
    /// Nothing arrives, and no connection comes to be.
    cut: bool,
    out: Vec<Action>,
}

fn session(side: usize, graceful: bool) -> SessionDesired {
    SessionDesired {
        local_as: [64600, 64512][side],
        remote_as: RemoteAs::Number([64512, 64600][side]),
        identifier: Ipv4Addr::new(192, 0, 2, [11, 1][side]),
        families: [Family::V4, Family::V6].into(),
        restart_time: graceful.then_some(120),
        ..parameters()
    }
}

impl Pair {
    fn new(seed: u64, graceful: bool) -> Self {
        let side = |number: usize| Side {
            session: Session::new(2 * seed + number as u64, None),
            desired: Desired { session: Some(session(number, graceful)), ..Desired::default() },
            connection: None,
            connected: false,
            inbox: VecDeque::new(),
            buffer: Vec::new(),
            heard: Heard::default(),
            asked_to_keep: false,
            unwritten: None,
            ups: 0,
        };
        let sides = [side(0), side(1)];
        let rng = fastrand::Rng::with_seed(seed);
        let mut pair = Self { sides, now: start(), rng, cut: false, out: Vec::new() };
        pair.set(0);
        pair.set(1);
        pair
    }

    fn set(&mut self, side: usize) {
        self.sides[side].session.set(Arc::new(self.sides[side].desired.clone()), self.now, &mut self.out);
        self.carry_out(side);
    }

    fn edit(&mut self, side: usize, edit: impl FnOnce(&mut Desired)) {
        edit(&mut self.sides[side].desired);
        self.set(side);
    }

    fn handle(&mut self, side: usize, event: Event) {
        self.sides[side].session.handle(event, self.now, &mut self.out);
        self.carry_out(side);
    }

    /// A network that keeps the order of what it carries, and takes up to 50 ms.
    fn carry(&mut self, to: usize, packet: Packet) {
        let after = self.sides[to].inbox.back().map_or(self.now, |(at, _)| *at).max(self.now);
        let at = after + Duration::from_micros(self.rng.u64(100..50_000));
        self.sides[to].inbox.push_back((at, packet));
    }

    fn carry_out(&mut self, side: usize) {
        for action in std::mem::take(&mut self.out) {
            match action {
                Action::Connect { connection, .. } => self.sides[side].connection = Some(connection),
                Action::Close { connection } => {
                    assert_eq!(self.sides[side].connection, Some(connection));
                    self.drop_connection(side, true);
                }
                Action::Send { connection, message, codec } => {
                    let this = &mut self.sides[side];
                    assert!(this.connected && this.connection == Some(connection), "{message:?} without connection");
                    let octets = message.encode(&codec).unwrap();
                    this.unwritten = Some(self.now + Duration::from_micros(self.rng.u64(10..20_000)));
                    self.carry(1 - side, Packet::Octets(octets));
                }
                Action::StateChanged { from, to, .. } => {
                    self.sides[side].ups += usize::from(to == Established);
                    if from == Established {
                        let keep = self.sides[side].asked_to_keep;
                        self.sides[side].heard.lost(keep);
                    }
                }
                Action::FaultFound(fault) => panic!("{fault}"),
            }
        }
    }

    /// This end has nothing any more; the other hears of it unless the network is cut.
    fn drop_connection(&mut self, side: usize, tell: bool) {
        let this = &mut self.sides[side];
        this.connection = None;
        this.inbox.clear();
        this.buffer.clear();
        this.unwritten = None;
        if std::mem::take(&mut this.connected) && tell {
            self.carry(1 - side, Packet::Closed);
        }
    }

    /// Both dial: their connections meet. One that dials alone is refused now and then, as by a router that is not there.
    fn meet(&mut self) {
        let dials = |side: &Side| side.connection.is_some() && !side.connected && side.inbox.is_empty();
        if self.cut || !self.sides.iter().all(dials) {
            return;
        }
        for side in [0, 1] {
            self.sides[side].connected = true;
            self.carry(side, Packet::Established);
        }
    }

    fn arrives(&mut self, side: usize, packet: Packet) {
        let this = &mut self.sides[side];
        // What is late for a connection that this end has left is nothing to the next one.
        let Some(connection) = this.connection.filter(|_| this.connected) else { return };
        match packet {
            Packet::Established => {
                let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 11), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 11));
                let next_hops = NextHops { v4: Some(v4), v6: Some(v6), v6_link_local: None };
                self.handle(side, Event::Connected { connection, next_hops });
            }
            Packet::Closed => {
                self.drop_connection(side, false);
                self.handle(side, Event::Closed { connection, reason: NoConnection::Closed });
            }
            Packet::Octets(octets) => {
                this.buffer.extend(octets);
                self.reads(side, connection);
            }
        }
    }

    fn reads(&mut self, side: usize, connection: u64) {
        loop {
            let this = &mut self.sides[side];
            let codec = this.session.codec();
            let Some(message) = Message::split(&this.buffer, &codec).unwrap().map(<[u8]>::to_vec) else { return };
            this.buffer.drain(..message.len());
            let received = Message::decode(&message, &codec).unwrap();
            assert!(received.faults.is_empty(), "{:?}", received.faults);
            match &received.message {
                Message::Open(open) => {
                    this.asked_to_keep =
                        open.capabilities.iter().any(|capability| matches!(capability, Capability::GracefulRestart { .. }));
                    if !this.asked_to_keep {
                        this.heard.lost(false);
                    }
                }
                Message::Update(update) => this.heard.hears(update),
                Message::RouteRefresh(refresh) => this.heard.marks(*refresh),
                Message::Notification(notification) => {
                    // RFC 8538 §4: what is hard, and what comes without its agreement, ends everything.
                    let agreed = this.session.status(self.now).agreed;
                    let graceful = agreed.is_some_and(|agreed| agreed.graceful_notification);
                    this.asked_to_keep &= graceful && notification.hard_reset().is_none();
                }
                Message::Keepalive => {}
            }
            self.handle(side, Event::Received { connection, received });
            if self.sides[side].connection != Some(connection) {
                return;
            }
        }
    }

    /// The next thing that happens, if it happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        self.meet();
        let arrival = |side: &Side| side.inbox.front().map(|(at, _)| *at).filter(|_| !self.cut);
        let next =
            |side: &Side| [arrival(side), side.unwritten.filter(|_| !self.cut), side.session.poll_timeout()].into_iter().flatten().min();
        let Some(next) = self.sides.iter().filter_map(next).min().filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        for side in [0, 1] {
            let due = |at: Instant| at <= self.now;
            if !self.cut && self.sides[side].inbox.front().is_some_and(|(at, _)| due(*at)) {
                let (_, packet) = self.sides[side].inbox.pop_front().unwrap();
                self.arrives(side, packet);
            }
            if !self.cut && self.sides[side].unwritten.is_some_and(|at| at <= self.now) {
                self.sides[side].unwritten = None;
                if let Some(connection) = self.sides[side].connection {
                    self.handle(side, Event::Writable { connection });
                }
            }
            if self.sides[side].session.poll_timeout().is_some_and(|at| at <= self.now) {
                self.sides[side].session.handle_timeout(self.now, &mut self.out);
                self.carry_out(side);
            }
        }
        true
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|side| self.sides[side].session.state())
    }

    /// A crash: nobody is told anything by the process, only the kernel closes what is open.
    fn restarts(&mut self, side: usize, seed: u64) {
        self.drop_connection(side, true);
        self.sides[side].session = Session::new(seed, Some(Restart { forwarding: true }));
        self.sides[side].heard = Heard::default();
        self.set(side);
    }

    fn check(&self, world: &str) {
        assert_eq!(self.states(), [Established; 2], "{world}");
        for side in [0, 1] {
            let (this, other) = (&self.sides[side], &self.sides[1 - side]);
            let heard: Vec<(&Prefix, Option<u32>)> =
                this.heard.routes.iter().map(|(prefix, attributes)| (prefix, attributes.med)).collect();
            let wanted: Vec<(&Prefix, Option<u32>)> = other.desired.routes.iter().map(|(prefix, route)| (prefix, route.med)).collect();
            assert_eq!(heard, wanted, "{world}: side {side}");
            assert!(this.heard.stale.is_empty(), "{world}: side {side} keeps {:?}", this.heard.stale);
        }
    }
}

fn some_routes(rng: &mut fastrand::Rng, most: u16) -> Arc<lanlord::bgp::desired::Routes> {
    let prefix = |rng: &mut fastrand::Rng, n: u16| match rng.bool() {
        true => Prefix::new(ipnet::IpNet::new(Ipv4Addr::new(203, 0, (n >> 8) as u8, n as u8).into(), 32).unwrap()),
        false => Prefix::new(ipnet::IpNet::new(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, n).into(), 128).unwrap()),
    };
    let count = rng.u16(..most);
    let routes = (0..count).map(|n| (prefix(rng, n), Arc::new(Route { med: rng.bool().then(|| rng.u32(..3)), ..Route::default() })));
    Arc::new(routes.collect())
}

#[test]
fn both_come_up_and_know_each_others_routes() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed, seed % 2 == 0);
        for side in [0, 1] {
            let routes = some_routes(&mut fastrand::Rng::with_seed(seed + side as u64), 3000);
            pair.edit(side, |desired| desired.routes = routes);
        }
        pair.run(SECOND * 60);
        pair.check(&format!("seed {seed}"));
        assert_eq!([pair.sides[0].ups, pair.sides[1].ups], [1, 1], "seed {seed}");
    }
}

#[test]
fn whatever_happens_both_agree_when_it_is_quiet_again() {
    for seed in 0..120 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut pair = Pair::new(seed, rng.bool());
        for n in 0..25 {
            let side = rng.usize(..2);
            match rng.u8(..10) {
                0..4 => {
                    let routes = some_routes(&mut rng, 40);
                    pair.edit(side, |desired| desired.routes = routes);
                }
                4 => pair.edit(side, |desired| desired.graceful_shutdown ^= true),
                5 => pair.cut = !pair.cut,
                6 => pair.restarts(side, 1000 * seed + n),
                7 => {
                    let session = pair.sides[side].desired.session.take();
                    pair.edit(side, |desired| {
                        desired.ending = [Ending::Deconfigured, Ending::Shutdown("bye".to_owned())][rng.usize(..2)].clone();
                    });
                    pair.run(MS * rng.u32(1..3000));
                    pair.edit(side, |desired| desired.session = session);
                }
                8 => {
                    let hold_time = [9, 30, 90][rng.usize(..3)];
                    pair.edit(side, |desired| desired.session.as_mut().unwrap().hold_time = hold_time);
                }
                _ => {
                    let connection = pair.sides[side].connection.filter(|_| pair.states() == [Established; 2]);
                    let family = [Family::V4, Family::V6][rng.usize(..2)].into();
                    let request = Message::RouteRefresh(RouteRefresh { family, subtype: RefreshSubtype::Request });
                    if let Some(connection) = connection {
                        pair.handle(side, Event::Received { connection, received: request.into() });
                    }
                }
            }
            let span = [MS * 30, MS * 800, SECOND * 7, SECOND * 40][rng.usize(..4)];
            pair.run(span);
        }
        pair.cut = false;
        for side in [0, 1] {
            pair.edit(side, |desired| desired.graceful_shutdown = false);
        }
        // A cut shorter than the hold time leaves the connection; longer ones end it, and waits grow to a minute.
        pair.run(SECOND * 600);
        pair.check(&format!("seed {seed}"));
    }
}

#[test]
fn a_cut_is_noticed_within_the_hold_time_and_healed_within_the_longest_wait() {
    let mut pair = Pair::new(7, false);
    pair.run(SECOND * 30);
    assert_eq!(pair.states(), [Established; 2]);
    pair.cut = true;
    pair.run(SECOND * 91);
    assert!(pair.states().iter().all(|state| *state != Established));
    pair.run(SECOND * 600);
    pair.cut = false;
    pair.run(SECOND * 130);
    assert_eq!(pair.states(), [Established; 2]);
}

#[test]
fn a_restart_in_place_loses_no_route_with_graceful_restart() {
    for (seed, silent) in [(1, false), (2, true), (3, false), (4, true)] {
        let mut pair = Pair::new(seed, true);
        let routes = some_routes(&mut fastrand::Rng::with_seed(99), 400);
        assert!(routes.len() > 100);
        for side in [0, 1] {
            let routes = Arc::clone(&routes);
            pair.edit(side, |desired| desired.routes = routes);
        }
        pair.run(SECOND * 20);
        pair.check("before");
        let router = 1;
        if silent {
            // The old process goes in order, without a word.
            let session = pair.sides[0].desired.session.take();
            pair.edit(0, |desired| desired.ending = Ending::Silent);
            pair.sides[0].desired.session = session;
        }
        pair.restarts(0, seed + 50);
        let end = pair.now + SECOND * 60;
        while pair.step(end) {
            assert_eq!(pair.sides[router].heard.routes.len(), routes.len(), "the router lost routes");
        }
        pair.check("after");
        assert_eq!(pair.sides[router].ups, 2);
        // What is not there any more after a restart is swept.
        let fewer = Arc::new(routes.iter().take(10).map(|(prefix, route)| (*prefix, Arc::clone(route))).collect());
        pair.sides[0].desired.routes = fewer;
        pair.restarts(0, seed + 90);
        pair.run(SECOND * 60);
        pair.check("after another one with fewer routes");
    }
}

#[test]
fn a_farewell_takes_the_routes_with_it_even_where_restarts_are_graceful() {
    let mut pair = Pair::new(5, true);
    let routes = some_routes(&mut fastrand::Rng::with_seed(99), 400);
    pair.edit(0, |desired| desired.routes = routes);
    pair.run(SECOND * 20);
    assert!(!pair.sides[1].heard.routes.is_empty());
    pair.edit(0, |desired| (desired.session, desired.ending) = (None, Ending::Shutdown("bye".to_owned())));
    pair.run(SECOND);
    assert_eq!((pair.sides[0].session.state(), pair.sides[1].heard.routes.len()), (Idle, 0));
    let failure = pair.sides[1].session.status(pair.now).last_failure.unwrap().to_string();
    assert_eq!(failure, "the peer sent Cease/Hard Reset for Cease/Administrative Shutdown (\"bye\")");
}

#[test]
fn two_that_disagree_about_the_as_both_say_so() {
    let mut pair = Pair::new(6, false);
    pair.edit(0, |desired| desired.session.as_mut().unwrap().remote_as = RemoteAs::Number(64999));
    pair.run(SECOND * 30);
    let failures = [0, 1].map(|side| pair.sides[side].session.status(pair.now).last_failure.unwrap().to_string());
    assert_eq!(failures[0], "the peer is of AS 64512, 64999 is configured: sent OPEN Message Error/Bad Peer AS");
    assert_eq!(failures[1], format!("the peer sent {}", Code::BAD_PEER_AS));
}
