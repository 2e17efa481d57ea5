//! The machine of all peers: a session for each, and how this process leaves them.
//!
//! ```text
//!  Leave:    GRACEFUL_SHUTDOWN on every route ──2 s──► withdraw ──all told, or 1 s──► Cease/Administrative Shutdown
//!  Silence:  every connection is closed without NOTIFICATION; routers that help to restart keep the routes
//! ```
//!
//! Either is for good: what is desired afterwards changes nothing any more. Leaving takes 3 s at most. Connections of a peer are numbered
//! over all its sessions, so that what is told of an old one never meets a new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::desired::{Desired, Ending, PeerKey, PeersDesired, Routes};
use super::session::{self, Restart, Session};
use super::status::{SessionStatus, State};
use crate::machine::{Instant, Machine, earliest};
use crate::wire::bgp::Codec;

/// How long routes say GRACEFUL_SHUTDOWN before they go: routers need that time to move their traffic (RFC 8326 §4.2).
const GRACEFUL_SHUTDOWN: Duration = Duration::from_secs(2);
/// How long the peers may take to hear what is withdrawn.
const WITHDRAWAL: Duration = Duration::from_secs(1);
/// For the router's log (RFC 9003).
const LEAVES: &str = "lanlord leaves this node";

/// What the world tells.
#[expect(clippy::large_enum_variant, reason = "the large one is the frequent one, and events are not kept")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Of one session.
    Session {
        /// Which.
        peer: PeerKey,
        /// What.
        event: session::Event,
    },
    /// This node leaves: its routes are taken back in order, then sessions end.
    Leave,
    /// Another process of this node takes over: every session ends at once, without a word.
    Silence,
}

/// What the owner has to do for one peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// Which.
    pub peer: PeerKey,
    /// What.
    pub action: session::Action,
}

/// How far leaving has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    /// Routes say GRACEFUL_SHUTDOWN.
    Telling,
    /// Routes are withdrawn.
    Withdrawing,
    /// No session is wanted any more.
    Over,
    /// Nor any word about that.
    Silent,
}

#[derive(Debug)]
struct Peer {
    desired: Arc<Desired>,
    session: Session,
}

/// All peers.
#[derive(Debug)]
pub struct Peers {
    rng: fastrand::Rng,
    restart: Option<Restart>,
    /// The highest number that a connection of a forgotten session had.
    connections: u64,
    peers: BTreeMap<PeerKey, Peer>,
    leaving: Option<Leaving>,
    leaving_timer: Option<Instant>,
}

impl Peers {
    /// No peers; `seed` makes jitter.
    pub fn new(seed: u64, restart: Option<Restart>) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { rng, restart, connections: 0, peers: BTreeMap::new(), leaving: None, leaving_timer: None }
    }

    /// How to read messages of this peer's connection now; see [`Session::codec`].
    pub fn codec(&self, peer: &PeerKey) -> Codec {
        self.peers.get(peer).map(|peer| peer.session.codec()).unwrap_or_default()
    }

    /// Every peer: what is wanted of it now, and its session.
    pub fn status(&self, now: Instant) -> impl Iterator<Item = (&PeerKey, &Desired, SessionStatus)> {
        self.peers.iter().map(move |(key, peer)| (key, peer.desired.as_ref(), peer.session.status(now)))
    }

    /// What is wanted of every peer now.
    pub fn desired(&self) -> impl Iterator<Item = (&PeerKey, &Desired)> {
        self.peers.iter().map(|(key, peer)| (key, peer.desired.as_ref()))
    }

    /// The peers have been left: nothing more will be done.
    pub fn is_over(&self) -> bool {
        matches!(self.leaving, Some(Leaving::Over | Leaving::Silent))
    }

    /// They have been left without a word.
    pub fn is_silent(&self) -> bool {
        self.leaving == Some(Leaving::Silent)
    }

    /// Lets one session act, and adds who it is to what it asks for.
    fn turn(&mut self, key: &PeerKey, out: &mut Vec<Action>, act: impl FnOnce(&mut Peer, &mut Vec<session::Action>)) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let mut actions = Vec::new();
        act(peer, &mut actions);
        out.extend(actions.into_iter().map(|action| Action { peer: key.clone(), action }));
    }

    fn want(&mut self, key: &PeerKey, desired: Desired, now: Instant, out: &mut Vec<Action>) {
        let (rng, restart, connections) = (&mut self.rng, self.restart, self.connections);
        let peer = self
            .peers
            .entry(key.clone())
            .or_insert_with(|| Peer { desired: Arc::default(), session: Session::new(rng.u64(..), restart).count_from(connections) });
        if *peer.desired != desired {
            self.turn(key, out, |peer, out| {
                peer.desired = Arc::new(desired);
                peer.session.set(Arc::clone(&peer.desired), now, out);
            });
        }
    }

    fn want_all(&mut self, now: Instant, out: &mut Vec<Action>, change: impl Fn(Desired) -> Desired) {
        let all: Vec<(PeerKey, Desired)> = self.peers.iter().map(|(key, peer)| (key.clone(), Desired::clone(&peer.desired))).collect();
        for (key, desired) in all {
            self.want(&key, change(desired), now, out);
        }
    }

    /// The next step of leaving.
    fn leave(&mut self, to: Leaving, now: Instant, out: &mut Vec<Action>) {
        self.leaving = Some(to);
        match to {
            Leaving::Telling => {
                self.leaving_timer = Some(now + GRACEFUL_SHUTDOWN);
                self.want_all(now, out, |desired| Desired { graceful_shutdown: true, ..desired });
            }
            Leaving::Withdrawing => {
                self.leaving_timer = Some(now + WITHDRAWAL);
                self.want_all(now, out, |desired| Desired { routes: Arc::new(Routes::new()), ..desired });
            }
            Leaving::Over => {
                self.leaving_timer = None;
                self.want_all(now, out, |desired| Desired { session: None, ending: Ending::Shutdown(LEAVES.to_owned()), ..desired });
            }
            Leaving::Silent => {
                self.leaving_timer = None;
                self.want_all(now, out, |desired| Desired { session: None, ending: Ending::Silent, ..desired });
            }
        }
    }

    /// Goes on with leaving as soon as nothing is left to wait for.
    fn go_on(&mut self, now: Instant, out: &mut Vec<Action>) {
        let knows = |peer: &Peer| peer.session.state() == State::Established && peer.session.status(now).announced > 0;
        if self.leaving == Some(Leaving::Telling) && !self.peers.values().any(knows) {
            self.leave(Leaving::Withdrawing, now, out);
        }
        if self.leaving == Some(Leaving::Withdrawing) && self.peers.values().all(|peer| peer.session.has_told_all()) {
            self.leave(Leaving::Over, now, out);
        }
    }
}

impl Machine for Peers {
    type Desired = PeersDesired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<PeersDesired>, now: Instant, out: &mut Vec<Action>) {
        if self.leaving.is_some() {
            return;
        }
        let gone: Vec<PeerKey> = self.peers.keys().filter(|key| !desired.contains_key(*key)).cloned().collect();
        for key in gone {
            self.want(&key, Desired::default(), now, out);
            let last = self.peers.remove(&key).map_or(0, |peer| peer.session.connections());
            self.connections = self.connections.max(last);
        }
        for (key, wanted) in desired.as_ref() {
            self.want(key, wanted.clone(), now, out);
        }
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        match event {
            Event::Session { peer, event } => self.turn(&peer, out, |peer, out| peer.session.handle(event, now, out)),
            Event::Leave if self.leaving.is_some() => {}
            Event::Leave => self.leave(Leaving::Telling, now, out),
            Event::Silence => self.leave(Leaving::Silent, now, out),
        }
        self.go_on(now, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        let due = |peer: &Peer| peer.session.poll_timeout().is_some_and(|due| due <= now);
        let keys: Vec<PeerKey> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.turn(&key, out, |peer, out| peer.session.handle_timeout(now, out));
        }
        if self.leaving_timer.is_some_and(|due| due <= now) {
            match self.leaving {
                Some(Leaving::Telling) => self.leave(Leaving::Withdrawing, now, out),
                Some(Leaving::Withdrawing) => self.leave(Leaving::Over, now, out),
                Some(Leaving::Over | Leaving::Silent) | None => self.leaving_timer = None,
            }
        }
        self.go_on(now, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let sessions = self.peers.values().map(|peer| peer.session.poll_timeout());
        earliest(sessions.chain([self.leaving_timer]))
    }
}
