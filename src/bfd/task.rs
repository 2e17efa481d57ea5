//! The shell of BFD: the sockets of all sessions around one machine.
//!
//! ```text
//!  watch<Desired> ──► Shell ──those whose sockets are open──► Sessions ──► packets, watch<Status>, log
//!                       ▲ one receiver per (link, family, port), one sender per session
//! ```
//!
//! A session starts when its sockets are open, not before: while another instance of this node has the port, that one speaks for the
//! node. A port in use or a missing link is tried again and shown; it never ends the task.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::desired::{Desired, SessionDesired, SessionKey};
use super::sessions::{Action, Event, Sessions};
use super::status::{SessionStatus, State, Status};
use crate::addr::Family;
use crate::facts::{LinkName, replace};
use crate::machine::{Driver, Input, Instant, earliest};
use crate::net::clock;
use crate::net::udp::{Receiver, Sender};
use crate::wire::bfd::{Diagnostic, Packet};

/// Pauses before a socket is tried again: the first, doubled up to the last. A port in use is tried at the first pace throughout: the
/// instance that has it lets go within a detection time, or the neighbours miss us.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Counters are published at most this often.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// Datagrams taken from one socket in a row: more than a socket holds, so that everything is heard before timers fire.
const BATCH: usize = 1024;
/// UDP source ports of sessions (RFC 5881 §4).
const SOURCE_PORTS: RangeInclusive<u16> = 49152..=65535;
/// How many of them are tried at once.
const SOURCE_PORT_TRIES: usize = 16;
/// At shutdown: how long the neighbours may take to hear AdminDown.
const FAREWELL: Duration = Duration::from_millis(500);

/// Keeps the `desired` sessions until `shutdown`, then tells AdminDown (unless silence is desired). Belongs on a thread that nothing
/// delays. `seed` makes discriminators, ports and jitter.
pub async fn run(
    mut desired: watch::Receiver<Arc<Desired>>,
    status: watch::Sender<Arc<Status>>,
    seed: u64,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut shell = Shell::new(status, seed);
    let mut planned = true;
    desired.mark_changed();
    while !shutdown.is_cancelled() {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            changed = desired.changed(), if planned => match changed {
                Ok(()) => shell.desired = Arc::clone(&desired.borrow_and_update()),
                // Nobody plans any more: the sessions stay until the process ends.
                Err(_) => planned = false,
            },
            () = shell.woken() => {}
        }
        shell.turn().await;
    }
    shell.desired = Arc::new(Desired { sessions: BTreeMap::new(), silent: desired.borrow().silent });
    let end = clock::now() + FAREWELL;
    shell.turn().await;
    while !shell.senders.is_empty() && clock::now() < end {
        tokio::select! {
            () = clock::sleep_until(Some(end)) => {}
            () = shell.woken() => {}
        }
        shell.turn().await;
    }
    Ok(())
}

/// A socket, or why there is none yet.
#[derive(Debug)]
struct Opening<T> {
    socket: Option<T>,
    error: Option<String>,
    pause: Duration,
    retry_timer: Option<Instant>,
}

impl<T> Default for Opening<T> {
    fn default() -> Self {
        Self { socket: None, error: None, pause: RETRY.0, retry_timer: None }
    }
}

impl<T> Opening<T> {
    /// Opens, if it is time to. Returns the error to log, if it is another one than the last time.
    fn attempt(&mut self, now: Instant, open: impl FnOnce() -> io::Result<T>) -> Option<&str> {
        if self.socket.is_some() || self.retry_timer.is_some_and(|due| due > now) {
            return None;
        }
        let error = match open() {
            Ok(socket) => {
                *self = Self { socket: Some(socket), ..Self::default() };
                return None;
            }
            Err(error) => error,
        };
        self.retry_timer = Some(now + self.pause);
        if error.kind() != ErrorKind::AddrInUse {
            self.pause = (self.pause * 2).min(RETRY.1);
        }
        let text = error.to_string();
        let new = self.error.as_deref() != Some(&text);
        self.error = Some(text);
        self.error.as_deref().filter(|_| new)
    }
}

/// Where datagrams of sessions arrive: the link's number, the family, the port.
type PortKey = (u32, Family, u16);

/// A port of a link.
#[derive(Debug)]
struct Port {
    link: LinkName,
    receiver: Opening<Receiver>,
}

/// What a session sends through.
#[derive(Debug)]
struct Outlet {
    index: u32,
    local: IpAddr,
    source_port: u16,
    sender: Opening<Sender>,
    /// Why the last packet was not sent.
    unsent: Option<String>,
}

#[derive(Debug)]
struct Shell {
    desired: Arc<Desired>,
    /// As last given to `outfit`.
    outfitted: Option<Arc<Desired>>,
    driver: Driver<Sessions>,
    ports: BTreeMap<PortKey, Port>,
    senders: BTreeMap<SessionKey, Outlet>,
    since: BTreeMap<SessionKey, Timestamp>,
    status: watch::Sender<Arc<Status>>,
    publish_timer: Option<Instant>,
    /// Empty between two steps.
    actions: Vec<Action>,
    rng: fastrand::Rng,
}

impl Shell {
    fn new(status: watch::Sender<Arc<Status>>, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            desired: Arc::default(),
            outfitted: None,
            driver: Driver::new(Sessions::new(rng.u64(..))),
            ports: BTreeMap::new(),
            senders: BTreeMap::new(),
            since: BTreeMap::new(),
            status,
            publish_timer: None,
            actions: Vec::new(),
            rng,
        }
    }

    /// Returns once something arrived or a timer is due.
    async fn woken(&self) {
        let due = earliest([self.driver.poll_timeout(), self.publish_timer, self.retry_timer()]);
        tokio::select! {
            () = poll_fn(|context| self.poll_readable(context)) => {}
            () = clock::sleep_until(due) => {}
        }
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let open = self.ports.values().filter_map(|port| port.receiver.socket.as_ref());
        // Each has to be asked: that is how it learns whom to wake.
        let ready = open.filter(|receiver| receiver.poll_readable(context).is_ready()).count();
        if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn retry_timer(&self) -> Option<Instant> {
        let ports = self.ports.values().map(|port| port.receiver.retry_timer);
        earliest(ports.chain(self.senders.values().map(|outlet| outlet.sender.retry_timer)))
    }

    /// Everything there is to do after a wake-up.
    async fn turn(&mut self) {
        let now = clock::now();
        let changed = self.outfitted.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &self.desired));
        if changed || self.retry_timer().is_some_and(|due| due <= now) {
            self.outfit(now);
        }
        let (mut told, full) = self.step(now);
        if self.senders.len() > self.desired.sessions.len() {
            self.tidy();
        }
        told |= changed || self.publish_timer.is_some_and(|due| due <= now);
        if told {
            self.publish();
        } else if !self.desired.sessions.is_empty() {
            self.publish_timer.get_or_insert(now + PUBLISH_INTERVAL);
        }
        if full {
            // A flood must not keep other tasks of this thread from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Opens what is missing, and gives the machine the sessions that have their sockets.
    fn outfit(&mut self, now: Instant) {
        let desired = Arc::clone(&self.desired);
        let mut equipped = Desired { sessions: BTreeMap::new(), silent: desired.silent };
        for (key, session) in &desired.sessions {
            let can_receive = self.open_port(key, session, now);
            if self.open_sender(key, session, now) && can_receive {
                equipped.sessions.insert(key.clone(), session.clone());
                self.since.entry(key.clone()).or_insert_with(clock::wall);
            }
        }
        self.actions.extend(self.driver.step([Input::Set(Arc::new(equipped))], now));
        self.carry_out();
        self.outfitted = Some(desired);
        self.tidy();
    }

    fn open_port(&mut self, key: &SessionKey, session: &SessionDesired, now: Instant) -> bool {
        let place = (session.index, Family::of(key.peer), key.port);
        let port = self.ports.entry(place).or_insert_with(|| Port { link: key.link.clone(), receiver: Opening::default() });
        if let Some(error) = port.receiver.attempt(now, || Receiver::open(place.0, place.1, place.2)) {
            tracing::warn!(link = %key.link, family = %place.1, port = key.port, "cannot receive BFD: {error}");
        }
        port.receiver.socket.is_some()
    }

    fn open_sender(&mut self, key: &SessionKey, session: &SessionDesired, now: Instant) -> bool {
        let fits = |outlet: &Outlet| (outlet.index, outlet.local) == (session.index, session.local);
        if !self.senders.get(key).is_some_and(fits) {
            let outlet = Outlet { index: session.index, local: session.local, source_port: 0, sender: Opening::default(), unsent: None };
            self.senders.insert(key.clone(), outlet);
        }
        let taken: BTreeSet<u16> = match self.senders.get(key) {
            Some(outlet) if outlet.sender.socket.is_some() => return true,
            _ => self.senders.values().map(|outlet| outlet.source_port).collect(),
        };
        let rng = &mut self.rng;
        let free = std::iter::repeat_with(|| rng.u16(SOURCE_PORTS)).filter(|port| !taken.contains(port));
        let tries: Vec<u16> = free.take(SOURCE_PORT_TRIES).collect();
        let outlet = self.senders.get_mut(key).expect("it was there a moment ago");
        let mut source_port = 0;
        let error = outlet.sender.attempt(now, || {
            let mut result = Err(ErrorKind::AddrInUse.into());
            for port in tries {
                (result, source_port) = (Sender::open(session.index, session.local, port), port);
                if result.as_ref().err().is_none_or(|error| error.kind() != ErrorKind::AddrInUse) {
                    break;
                }
            }
            result
        });
        if let Some(error) = error {
            tracing::warn!(peer = %key.peer, link = %key.link, local = %session.local, "cannot send BFD: {error}");
        }
        outlet.source_port = source_port;
        outlet.sender.socket.is_some()
    }

    /// Closes the sockets that no session needs any more; one that tells AdminDown still needs them.
    fn tidy(&mut self) {
        let (desired, machine) = (&self.desired.sessions, self.driver.machine());
        self.senders.retain(|key, _| desired.contains_key(key) || machine.has(key));
        self.since.retain(|key, _| desired.contains_key(key));
        let used: BTreeSet<PortKey> = self.senders.iter().map(|(key, outlet)| (outlet.index, Family::of(key.peer), key.port)).collect();
        self.ports.retain(|place, _| used.contains(place));
    }

    /// Takes what waits in the sockets, then fires what is due. Returns whether something happened that people should see at once, and
    /// whether more may wait.
    fn step(&mut self, now: Instant) -> (bool, bool) {
        let mut most = 0;
        let mut events = Vec::new();
        for ((_, _, port), Port { link, receiver }) in &mut self.ports {
            let Some(receiver) = &mut receiver.socket else { continue };
            let before = events.len();
            let received = std::iter::from_fn(|| {
                receiver.receive(|datagram| {
                    let packet = Packet::decode(datagram.payload);
                    Event::Received { link: link.clone(), source: datagram.source, port: *port, ttl: datagram.ttl, packet }
                })
            });
            events.extend(received.take(BATCH).map(Input::Event));
            most = most.max(events.len() - before);
        }
        self.actions.extend(self.driver.step(events, now));
        (self.carry_out(), most == BATCH)
    }

    fn carry_out(&mut self) -> bool {
        let mut told = false;
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { key, packet } => self.send(&key, &packet),
                Action::StateChanged { key, from, to, diagnostic, remote } => {
                    told = true;
                    log(&key, from, to, diagnostic, remote);
                    self.since.insert(key, clock::wall());
                }
                Action::PathChanged { key, down } => {
                    told = true;
                    tracing::info!(peer = %key.peer, link = %key.link, port = key.port, down, "BFD: the path behind the neighbour");
                }
            }
        }
        self.actions = actions;
        told
    }

    fn send(&mut self, key: &SessionKey, packet: &Packet) {
        let Some(outlet) = self.senders.get_mut(key) else { return };
        let Some(sender) = &outlet.sender.socket else { return };
        outlet.unsent = sender.send(&packet.encode(), key.peer, key.port).err().map(|error| {
            tracing::trace!(peer = %key.peer, link = %key.link, "cannot send: {error}");
            error.to_string()
        });
    }

    fn publish(&mut self) {
        self.publish_timer = None;
        let mut running: BTreeMap<&SessionKey, SessionStatus> = self.driver.machine().status().collect();
        let mut status = Status::default();
        for (key, session) in &self.desired.sessions {
            let mut shown = running.remove(key).unwrap_or_default();
            shown.since = self.since.get(key).copied();
            shown.error = self.error(key, session);
            status.sessions.insert(key.clone(), shown);
        }
        self.status.send_if_modified(|known| replace(known, Arc::new(status)));
    }

    fn error(&self, key: &SessionKey, session: &SessionDesired) -> Option<String> {
        let port = self.ports.get(&(session.index, Family::of(key.peer), key.port)).and_then(|port| port.receiver.error.as_ref());
        let outlet = self.senders.get(key);
        let sender = outlet.and_then(|outlet| outlet.sender.error.as_ref().or(outlet.unsent.as_ref()));
        match (port, sender) {
            (Some(error), _) => Some(format!("cannot receive on UDP port {}: {error}", key.port)),
            (None, Some(error)) => Some(format!("cannot send from {}: {error}", session.local)),
            (None, None) => None,
        }
    }
}

/// One line when a session comes Up or ends to be Up; the steps between are for those who look closer.
fn log(key: &SessionKey, from: State, to: State, diagnostic: Diagnostic, remote: Diagnostic) {
    let SessionKey { link, peer, port } = key;
    if from == State::Up || to == State::Up {
        tracing::info!(%peer, %link, port, %from, %to, reason = %diagnostic, neighbour = %remote, "BFD session");
    } else {
        tracing::debug!(%peer, %link, port, %from, %to, reason = %diagnostic, neighbour = %remote, "BFD session");
    }
}
