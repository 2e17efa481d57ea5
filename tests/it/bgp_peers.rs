//! All peers as one machine: who is spoken with, that nobody hears what is meant for another, and how this process leaves.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lanlord::bgp::desired::{Desired, PeersDesired, Route, Routes};
use lanlord::bgp::peers::{Action, Event, Peers};
use lanlord::bgp::session::{self, NextHops, Restart};
use lanlord::bgp::status::State;
use lanlord::machine::{Instant, Machine};
use lanlord::wire::bgp::{Code, GRACEFUL_SHUTDOWN, Message, Notification, Open};

use crate::bgp_session::{SECOND, capabilities, desired, many, parameters, restart, start, their_open};

/// The machine, and the last connection of each peer it dialled.
struct World {
    peers: Peers,
    now: Instant,
    out: Vec<Action>,
}

impl World {
    fn new() -> Self {
        Self { peers: Peers::new(1, Some(Restart { forwarding: true })), now: start(), out: Vec::new() }
    }

    fn set<'a>(&mut self, peers: impl IntoIterator<Item = (&'a str, Desired)>) {
        let all: PeersDesired = peers.into_iter().map(|(name, desired)| (name.into(), desired)).collect();
        self.peers.set(Arc::new(all), self.now, &mut self.out);
    }

    fn handle(&mut self, event: Event) {
        self.peers.handle(event, self.now, &mut self.out);
    }

    fn tell(&mut self, peer: &str, event: session::Event) {
        self.handle(Event::Session { peer: peer.into(), event });
    }

    /// The number of the last dial; forgets what else was done.
    fn dialled(&mut self, peer: &str) -> u64 {
        let connect = |action: &Action| match action.action {
            session::Action::Connect { connection, .. } if action.peer == peer.into() => Some(connection),
            session::Action::Connect { .. }
            | session::Action::Send { .. }
            | session::Action::Close { .. }
            | session::Action::StateChanged { .. }
            | session::Action::FaultFound(_) => None,
        };
        self.out.iter().rev().find_map(connect).unwrap()
    }

    /// To Established, and everything is written; the number of the connection.
    fn comes_up(&mut self, peer: &str, open: Open) -> u64 {
        let connection = self.dialled(peer);
        self.out.clear();
        let next_hops = NextHops { v4: Some(Ipv4Addr::new(192, 0, 2, 11)), ..NextHops::default() };
        self.tell(peer, session::Event::Connected { connection, next_hops });
        for message in [Message::Open(open), Message::Keepalive] {
            self.tell(peer, session::Event::Received { connection, received: message.into() });
        }
        self.tell(peer, session::Event::Writable { connection });
        assert_eq!(self.state(peer), Some(State::Established));
        connection
    }

    fn passes(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.peers.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.peers.handle_timeout(due, &mut self.out);
        }
        self.now = end;
    }

    fn state(&self, peer: &str) -> Option<State> {
        self.peers.status(self.now).find(|(key, ..)| **key == peer.into()).map(|(.., status)| status.state)
    }

    /// What was done for a peer since the last time, in a few words.
    fn done(&mut self, peer: &str) -> String {
        let (own, others): (Vec<Action>, Vec<Action>) = self.out.drain(..).partition(|action| action.peer == peer.into());
        self.out = others;
        let words = own.into_iter().map(|Action { action, .. }| match action {
            session::Action::Connect { .. } => "connect".to_owned(),
            session::Action::Close { .. } => "close".to_owned(),
            session::Action::StateChanged { to, .. } => format!("→ {to}"),
            session::Action::FaultFound(fault) => fault.to_string(),
            session::Action::Send { message, .. } => said(&message),
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

fn said(message: &Message) -> String {
    match message {
        Message::Update(update) if update.attributes.communities.contains(&GRACEFUL_SHUTDOWN) => format!("leaving {}", update.nlri.len()),
        Message::Update(update) if !update.withdrawn.is_empty() => format!("withdraw {}", update.withdrawn.len()),
        Message::Update(update) => format!("announce {}", update.nlri.len()),
        Message::Notification(Notification { code, .. }) => format!("{code}"),
        Message::Open(_) | Message::Keepalive | Message::RouteRefresh(_) => "…".to_owned(),
    }
}

fn speaks(routes: Arc<Routes>) -> Desired {
    Desired { routes, ..desired(parameters()) }
}

#[test]
fn each_peer_has_its_own_session_and_its_own_routes() {
    let mut world = World::new();
    world.set([("a", speaks(many(1, &Route::default()))), ("b", speaks(many(2, &Route::default())))]);
    let (a, b) = (world.dialled("a"), world.dialled("b"));
    assert_eq!(a, b, "each counts for itself");
    world.comes_up("b", their_open());
    assert_eq!((world.state("a"), world.state("b")), (Some(State::Connect), Some(State::Established)));
    assert!(world.done("b").contains("announce 2"));
    assert_eq!(world.done("a"), "");
    world.set([("b", speaks(many(3, &Route::default())))]);
    assert_eq!(world.done("a"), "close, → Idle");
    assert_eq!((world.done("b"), world.state("a")), ("announce 1".to_owned(), None));
    world.tell("a", session::Event::Connected { connection: a, next_hops: NextHops::default() });
    world.passes(SECOND * 30);
    assert_eq!(world.done("a"), "", "nobody is there to hear it");
}

#[test]
fn a_peer_that_comes_back_does_not_hear_of_its_old_connection() {
    let mut world = World::new();
    world.set([("a", speaks(Arc::default()))]);
    let old = world.comes_up("a", their_open());
    world.set([]);
    assert!(world.done("a").ends_with("Cease/Peer De-configured, close, → Idle"));
    world.set([("a", speaks(Arc::default()))]);
    assert!(world.dialled("a") > old);
    world.done("a");
    world.tell("a", session::Event::Connected { connection: old, next_hops: NextHops::default() });
    world.tell("a", session::Event::Closed { connection: old, reason: "late".into() });
    assert_eq!((world.done("a").as_str(), world.state("a")), ("", Some(State::Connect)));
}

#[test]
fn leaving_tells_graceful_shutdown_then_withdraws_then_ceases() {
    let mut world = World::new();
    world.set([("a", speaks(many(3, &Route::default()))), ("away", speaks(many(3, &Route::default())))]);
    let connection = world.comes_up("a", their_open());
    world.done("a");
    world.handle(Event::Leave);
    assert_eq!(world.done("a"), "leaving 3");
    world.tell("a", session::Event::Writable { connection });
    world.set([("a", speaks(many(9, &Route::default())))]);
    world.handle(Event::Leave);
    world.passes(SECOND * 19 / 10);
    assert_eq!(world.done("a"), "", "the routers move their traffic, and nothing new is wanted");
    assert!(!world.peers.is_over());
    world.passes(SECOND / 5);
    assert_eq!(world.done("a"), "withdraw 3");
    assert!(!world.peers.is_over(), "that is on its way");
    world.tell("a", session::Event::Writable { connection });
    assert_eq!(world.done("a"), "Cease/Administrative Shutdown, close, → Idle");
    assert!(world.peers.is_over());
    assert_eq!((world.peers.poll_timeout(), world.state("away")), (None, Some(State::Idle)));
    world.set([("a", speaks(many(9, &Route::default())))]);
    assert_eq!(world.done("a"), "", "for good");
}

#[test]
fn a_router_that_keeps_routes_over_a_notification_gets_a_hard_reset() {
    let mut world = World::new();
    let session = lanlord::bgp::desired::SessionDesired { restart_time: Some(120), ..parameters() };
    world.set([("a", desired(session))]);
    let open = Open { capabilities: capabilities().into_iter().chain([restart(true)]).collect(), ..their_open() };
    world.comes_up("a", open);
    world.done("a");
    world.handle(Event::Leave);
    assert_eq!(world.done("a"), format!("{}, close, → Idle", Code::HARD_RESET), "at once: nothing was announced");
}

#[test]
fn a_peer_that_reads_nothing_delays_leaving_by_a_second() {
    let mut world = World::new();
    world.set([("a", speaks(many(3, &Route::default())))]);
    world.comes_up("a", their_open());
    world.handle(Event::Leave);
    world.passes(SECOND * 29 / 10);
    assert!(!world.peers.is_over());
    world.passes(SECOND / 5);
    assert!(world.peers.is_over());
    assert!(world.done("a").ends_with("Cease/Administrative Shutdown, close, → Idle"));
}

#[test]
fn nobody_waits_where_nobody_was_told_anything() {
    let mut world = World::new();
    world.set([("a", speaks(many(3, &Route::default()))), ("b", speaks(Arc::default()))]);
    world.comes_up("b", their_open());
    world.handle(Event::Leave);
    assert!(world.peers.is_over());
}

#[test]
fn silence_is_no_notification_also_while_leaving() {
    for leaving in [false, true] {
        let mut world = World::new();
        world.set([("a", speaks(many(3, &Route::default())))]);
        world.comes_up("a", their_open());
        if leaving {
            world.handle(Event::Leave);
        }
        world.done("a");
        world.handle(Event::Silence);
        assert_eq!(world.done("a"), "close, → Idle");
        assert!(world.peers.is_over());
        assert_eq!(world.peers.poll_timeout(), None);
    }
}
