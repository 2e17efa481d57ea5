//! The machine: every session of this node. Selects the session of a packet (RFC 5880 §6.3, RFC 5881 §3), keeps all timers in one ordered
//! set, and notices when the process runs late.
//!
//! Memory is bounded by what is desired: a packet of an unknown neighbour creates nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::desired::{Desired, SessionDesired, SessionKey};
use super::lateness::{Lateness, NOTICEABLE};
pub use super::session::Action;
use super::session::{Session, Turn};
use super::status::SessionStatus;
use crate::facts::LinkName;
use crate::machine::{Instant, Machine, earliest};
use crate::wire::DecodeError;
use crate::wire::bfd::{Packet, State};

/// What the world tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A UDP datagram came.
    Received {
        /// Through which link.
        link: LinkName,
        /// From whom.
        source: IpAddr,
        /// To which port of ours.
        port: u16,
        /// TTL or hop limit it arrived with.
        ttl: u8,
        /// What it says; if nothing that is BFD, it counts against its source.
        packet: Result<Packet, DecodeError>,
    },
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    rng: fastrand::Rng,
    /// By bfd.LocalDiscr, unique and random so that they cannot be guessed.
    sessions: BTreeMap<u32, Session>,
    keys: BTreeMap<SessionKey, u32>,
    /// The next timer of each session that has one, and the session's discriminator.
    timers: BTreeSet<(Instant, u32)>,
    lateness: Lateness,
    /// Until when lateness has been looked for: once per wake-up is enough.
    noticed: Instant,
}

impl Sessions {
    /// No sessions; `seed` makes discriminators and jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            sessions: BTreeMap::new(),
            keys: BTreeMap::new(),
            timers: BTreeSet::new(),
            lateness: Lateness::default(),
            noticed: Instant::default(),
        }
    }

    /// Every session, those that only tell AdminDown any more included. Without `since` and `error`.
    pub fn status(&self) -> impl Iterator<Item = (&SessionKey, SessionStatus)> {
        self.sessions.values().map(|session| (&session.key, session.status()))
    }

    /// Whether there is such a session, if only to tell AdminDown.
    pub fn has(&self, key: &SessionKey) -> bool {
        self.keys.contains_key(key)
    }

    fn start(&mut self, key: &SessionKey, desired: &SessionDesired, now: Instant, out: &mut Vec<Action>) {
        let discr = loop {
            let discr = self.rng.u32(1..);
            if !self.sessions.contains_key(&discr) {
                break discr;
            }
        };
        self.keys.insert(key.clone(), discr);
        self.sessions.insert(discr, Session::new(key.clone(), desired.clone(), discr, now));
        self.turn(discr, now, out, Session::settle);
    }

    fn forget(&mut self, discr: u32) {
        let Some(session) = self.sessions.remove(&discr) else { return };
        session.timer().map(|due| self.timers.remove(&(due, discr)));
        self.keys.remove(&session.key);
    }

    /// Lets a session act and files its next timer.
    fn turn<T>(&mut self, discr: u32, now: Instant, out: &mut Vec<Action>, act: impl FnOnce(&mut Session, &mut Turn) -> T) -> Option<T> {
        let session = self.sessions.get_mut(&discr)?;
        let before = session.timer();
        let result = act(session, &mut Turn { now, late: self.lateness.worst(), rng: &mut self.rng, out });
        let after = session.timer();
        if before != after {
            before.map(|due| self.timers.remove(&(due, discr)));
            after.map(|due| self.timers.insert((due, discr)));
        }
        Some(result)
    }

    fn turn_all(&mut self, now: Instant, out: &mut Vec<Action>, mut act: impl FnMut(&mut Session, &mut Turn)) {
        let all: Vec<u32> = self.sessions.keys().copied().collect();
        for discr in all {
            self.turn(discr, now, out, &mut act);
        }
    }

    /// Looks, before anything else is done at `now`, how late we are.
    fn notice(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.noticed >= now {
            return;
        }
        self.noticed = now;
        let late = self.timers.first().map_or(Duration::ZERO, |(due, _)| now.since(*due));
        if late >= NOTICEABLE {
            self.lateness.note(late, now);
            self.turn_all(now, out, |session, turn| session.excuse(late, turn));
        }
    }

    /// §6.3: by Your Discriminator, whatever the source address; if it is 0, by where the packet comes from (RFC 5881 §3).
    fn select(&self, from: &SessionKey, ttl: u8, packet: &Packet) -> Option<u32> {
        let discr = match packet.your_discriminator {
            0 => *self.keys.get(from)?,
            discr => discr,
        };
        let session = self.sessions.get(&discr)?;
        let acceptable = session.key.link == from.link && session.key.port == from.port && ttl >= session.desired.minimum_ttl;
        acceptable.then_some(discr)
    }
}

impl Machine for Sessions {
    type Desired = Desired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<Desired>, now: Instant, out: &mut Vec<Action>) {
        self.notice(now, out);
        let known: Vec<(SessionKey, u32)> = self.keys.iter().map(|(key, discr)| (key.clone(), *discr)).collect();
        for (key, discr) in known {
            let session = &self.sessions[&discr];
            let leaving = session.state() == State::AdminDown;
            match desired.sessions.get(&key) {
                None if desired.silent => self.forget(discr),
                None if leaving => {}
                None => {
                    let stays = self.turn(discr, now, out, Session::leave).unwrap_or(false);
                    if !stays {
                        self.forget(discr);
                    }
                }
                Some(new) if leaving || (new.index, new.local) != (session.desired.index, session.desired.local) => {
                    out.extend(session.ends_for_another());
                    self.forget(discr);
                }
                Some(new) if *new == session.desired => {}
                Some(new) => drop(self.turn(discr, now, out, |session, turn| session.desire(new, turn))),
            }
        }
        for (key, new) in &desired.sessions {
            if !self.keys.contains_key(key) {
                self.start(key, new, now, out);
            }
        }
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        self.notice(now, out);
        let Event::Received { link, source, port, ttl, packet } = event;
        let from = SessionKey { link, peer: source, port };
        match packet.ok().and_then(|packet| Some((self.select(&from, ttl, &packet)?, packet))) {
            Some((discr, packet)) => drop(self.turn(discr, now, out, |session, turn| session.receive(&packet, turn))),
            None => {
                let neighbour = self.keys.get(&from).and_then(|discr| self.sessions.get_mut(discr));
                neighbour.into_iter().for_each(Session::discard);
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.notice(now, out);
        if self.lateness.fire(now) {
            self.turn_all(now, out, Session::settle);
        }
        while let Some((_, discr)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.turn(discr, now, out, Session::fire);
            if self.sessions[&discr].is_over(now) {
                self.forget(discr);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let first = self.timers.first().map(|(due, _)| *due);
        earliest([first, self.lateness.timer()])
    }
}
