//! The shell of BGP: one connection per session around the machine of all peers.
//!
//! ```text
//!  watch<PeersDesired> ──► Peers ──► connections, watch<Status>, log
//!  watch<Links> ─next hops─► ▲ └──desired sessions──► BFD ──those that expired──► Peers
//! ```
//!
//! Messages are read one at a time, for each may change how the next one is read; timers fire after the last. Nothing here ends the
//! process: a peer that cannot be reached is dialled again and shown.

mod line;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::desired::{Desired, PeerKey, PeersDesired, Transport};
use super::diary::{Diary, Entry};
use super::next_hops::{NextHops, link_towards};
use super::peers::{Action, Event, Peers};
use super::session;
use super::session::Restart;
use super::status::{NoConnection, PeerStatus, Reason, State, Status};
use super::trouble::troubles;
use crate::bfd::desired::{Desired as BfdDesired, SessionDesired as BfdSession, SessionKey};
use crate::bfd::status::Status as BfdStatus;
use crate::facts::{LinkName, Links, replace};
use crate::machine::{Driver, Input, Instant, earliest};
use crate::net::clock;
use crate::net::tcp;
use crate::net::tcp::{Connection, Dial};
use crate::wire::bgp::{Codec, DecodeError, Message, Received};
use line::{Closing, Line};

/// Status is published at most this often unless a state changes.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// How long a closed connection may take to be closed by the peer, too.
const CLOSE: Duration = Duration::from_millis(500);
/// Octets read at once.
const READ: usize = 64 << 10;
/// Reads, and likewise writes of everything that waits, of one connection in a row.
const BATCH: usize = 16;
/// UDP ports of BFD: one hop (RFC 5881 §4), several (RFC 5883 §5).
const BFD_PORTS: (u16, u16) = (3784, 4784);

/// What the task reads.
#[derive(Debug)]
pub struct Inputs {
    /// The peers and their routes. Empty until everything is known: a session that comes up without its routes makes the router forget
    /// those that it kept.
    pub desired: watch::Receiver<Arc<PeersDesired>>,
    /// Another process of this node has taken over: every session ends at once, without a word, and for good.
    pub superseded: watch::Receiver<bool>,
    /// This host's links: the next hops.
    pub links: watch::Receiver<Arc<Links>>,
    /// How the BFD sessions fare.
    pub bfd: watch::Receiver<Arc<BfdStatus>>,
}

/// What the task tells.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Every peer.
    pub status: watch::Sender<Arc<Status>>,
    /// The BFD sessions that peers want.
    pub bfd: watch::Sender<Arc<BfdDesired>>,
    /// What people are told: each entry counts.
    pub diary: mpsc::UnboundedSender<Entry>,
}

/// Keeps the desired sessions. On `leave` takes the routes back in order and returns when that is done, after 4 s at most; on `shutdown`
/// ends at once and without a word, for routers that help this process to restart. `restart`: what it follows on. `seed` makes jitter.
///
/// # Errors
/// None: what goes wrong is tried again, and shown.
pub async fn run(
    mut inputs: Inputs,
    outputs: Outputs,
    restart: Option<Restart>,
    seed: u64,
    leave: CancellationToken,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut shell = Shell::new(outputs, restart, seed);
    let (mut planned, mut leaving) = (true, false);
    loop {
        shell.take(&mut inputs);
        shell.turn().await;
        // Asked before waiting: of a peer that hangs up at once nothing is left to wake anybody.
        if leaving && shell.is_over() {
            break;
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = leave.cancelled(), if !leaving => {
                leaving = true;
                shell.feed(Input::Event(Event::Leave), clock::now());
            }
            // If nobody plans any more, the sessions stay until the process ends.
            changed = changed(&mut inputs), if planned => planned = changed.is_ok(),
            () = shell.woken() => {}
        }
    }
    if !shell.is_over() {
        shell.feed(Input::Event(Event::Silence), clock::now());
    }
    shell.turn().await;
    while !shell.closing.is_empty() {
        shell.woken().await;
        shell.turn().await;
    }
    Ok(())
}

async fn changed(inputs: &mut Inputs) -> Result<(), watch::error::RecvError> {
    tokio::select! {
        changed = inputs.desired.changed() => changed,
        changed = inputs.superseded.changed() => changed,
        changed = inputs.links.changed() => changed,
        changed = inputs.bfd.changed() => changed,
    }
}

/// Where the last connection with a peer ran.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    remote: IpAddr,
    local: IpAddr,
    link: Option<(LinkName, u32)>,
    /// The peer is on it, not behind a router.
    on_link: bool,
    next_hops: NextHops,
}

impl Place {
    fn of(local: IpAddr, transport: &Transport, links: &Links) -> Self {
        let link = link_towards(links, local, transport.remote, transport.link.as_ref());
        let next_hops = NextHops::of(local, transport.remote, link);
        let on_link = link.is_some_and(|link| transport.link.is_some() || link.on_link(transport.remote));
        Self { remote: transport.remote, local, link: link.map(|link| (link.name.clone(), link.index)), on_link, next_hops }
    }
}

#[derive(Debug)]
struct Shell {
    driver: Driver<Peers>,
    /// As last given to the machine.
    desired: Option<Arc<PeersDesired>>,
    lines: BTreeMap<PeerKey, Line>,
    closing: Vec<Closing>,
    places: BTreeMap<PeerKey, Place>,
    links: Arc<Links>,
    bfd: Arc<BfdStatus>,
    /// Peers that BFD has lost: each is told once.
    lost: BTreeSet<PeerKey>,
    since: BTreeMap<PeerKey, Timestamp>,
    /// The failure that was logged last.
    said: BTreeMap<PeerKey, String>,
    diary: Diary,
    outputs: Outputs,
    publish_timer: Option<Instant>,
    /// A state has changed since the status was published.
    changed: bool,
    scratch: Vec<u8>,
}

impl Shell {
    fn new(outputs: Outputs, restart: Option<Restart>, seed: u64) -> Self {
        Self {
            driver: Driver::new(Peers::new(seed, restart)),
            desired: None,
            lines: BTreeMap::new(),
            closing: Vec::new(),
            places: BTreeMap::new(),
            links: Arc::default(),
            bfd: Arc::default(),
            lost: BTreeSet::new(),
            since: BTreeMap::new(),
            said: BTreeMap::new(),
            diary: Diary::default(),
            outputs,
            publish_timer: None,
            changed: true,
            scratch: vec![0; READ],
        }
    }

    fn is_over(&self) -> bool {
        self.driver.machine().is_over()
    }

    /// Returns once a connection or a timer needs a turn.
    async fn woken(&self) {
        let closing = self.closing.iter().map(|closing| Some(closing.until));
        let due = earliest(closing.chain([self.driver.poll_timeout(), self.publish_timer, self.diary.next()]));
        tokio::select! {
            () = poll_fn(|context| self.poll_ready(context)) => {}
            () = clock::sleep_until(due) => {}
        }
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        // Each has to be asked: that is how it learns whom to wake.
        let lines = self.lines.values().filter(|line| line.poll_ready(context).is_ready()).count();
        let closing = self.closing.iter().filter(|closing| closing.poll_ready(context).is_ready()).count();
        if lines + closing > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What others have told since.
    fn take(&mut self, inputs: &mut Inputs) {
        let now = clock::now();
        self.links = Arc::clone(&inputs.links.borrow_and_update());
        let bfd = Arc::clone(&inputs.bfd.borrow_and_update());
        if !Arc::ptr_eq(&bfd, &self.bfd) && self.driver.machine().desired().any(|(_, desired)| desired.bfd.is_some()) {
            self.publish_timer.get_or_insert(now + PUBLISH_INTERVAL);
        }
        self.bfd = bfd;
        let desired = Arc::clone(&inputs.desired.borrow_and_update());
        if *inputs.superseded.borrow_and_update() && !self.is_over() {
            self.feed(Input::Event(Event::Silence), now);
        }
        // Every host has a loopback link. Before that is seen nothing has a next hop, and a session that came up would tell End-of-RIB for
        // routes that it has left out: a router that kept them drops them (RFC 4724 §4.2).
        let known = !self.links.links.is_empty();
        if known && self.desired.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &desired)) {
            self.desired = Some(Arc::clone(&desired));
            self.changed = true;
            self.feed(Input::Set(desired), now);
        }
        self.look_at_links(now);
        self.look_at_bfd(now);
    }

    /// Next hops that are others now.
    fn look_at_links(&mut self, now: Instant) {
        let mut moved = Vec::new();
        for (key, transport) in transports(self.driver.machine()) {
            let place = self.places.get_mut(key).filter(|place| place.remote == transport.remote);
            let Some((place, line)) = place.zip(self.lines.get(key)) else { continue };
            let mut is = Place::of(place.local, transport, &self.links);
            if is.link.is_none() {
                // A link that goes, or the address that made it the way to the peer, takes packets with it: BFD has to notice, not to end.
                (is.link, is.on_link) = (place.link.clone(), place.on_link);
            }
            if *place != is {
                moved.push((key.clone(), session::Event::NextHopsChanged { connection: line.number, next_hops: is.next_hops }));
                *place = is;
            }
        }
        for (peer, event) in moved {
            self.tell(peer, event, now);
        }
    }

    /// Sessions that BFD has lost: they were Up, and nothing came within the detection time. What a neighbour says, or somebody in its
    /// name, is no such thing: a router that means it ends the BGP session itself.
    fn look_at_bfd(&mut self, now: Instant) {
        let expired = |key: &SessionKey| self.bfd.sessions.get(key).is_some_and(|session| session.expired);
        let lost: BTreeSet<PeerKey> = self
            .driver
            .machine()
            .desired()
            .filter(|(peer, desired)| self.bfd_key(peer, desired).is_some_and(|key| expired(&key)))
            .map(|(peer, _)| peer.clone())
            .collect();
        let news: Vec<PeerKey> = lost.difference(&self.lost).cloned().collect();
        self.lost = lost;
        for peer in news {
            self.tell(peer, session::Event::BfdDown, now);
        }
    }

    /// The BFD session of a peer that wants one and was connected.
    fn bfd_key(&self, peer: &PeerKey, desired: &Desired) -> Option<SessionKey> {
        desired.bfd.as_ref()?;
        let session = desired.session.as_ref()?;
        let place = self.places.get(peer).filter(|place| place.remote == session.transport.remote)?;
        let (link, _) = place.link.clone()?;
        let port = if place.on_link { BFD_PORTS.0 } else { BFD_PORTS.1 };
        Some(SessionKey { link, peer: session.transport.remote, port })
    }

    fn bfd_desired(&self) -> BfdDesired {
        // A router that sees AdminDown drops the routes; one that sees the connection close first may know better (RFC 5882 §4.3.2).
        let mut all = BfdDesired { silent: self.driver.machine().is_silent(), ..BfdDesired::default() };
        for (peer, desired) in self.driver.machine().desired() {
            let (Some(key), Some(bfd), Some(place)) = (self.bfd_key(peer, desired), &desired.bfd, self.places.get(peer)) else { continue };
            let session = BfdSession {
                index: place.link.as_ref().map_or(0, |(_, index)| *index),
                local: place.local,
                desired_min_tx: bfd.desired_min_tx,
                required_min_rx: bfd.required_min_rx,
                detect_mult: bfd.detect_mult,
                minimum_ttl: if place.on_link { u8::MAX } else { bfd.minimum_ttl },
                passive: bfd.passive,
                concatenated_path_down: false,
            };
            all.sessions.insert(key, session);
        }
        all
    }

    /// Everything there is to do after a wake-up: hear, then let timers fire, then speak.
    async fn turn(&mut self) {
        let now = clock::now();
        let mut more = false;
        for peer in self.lines.keys().cloned().collect::<Vec<_>>() {
            more |= self.listen(&peer, now);
        }
        let actions: Vec<Action> = self.driver.step([], now).collect();
        self.carry_out(actions, now);
        for peer in self.lines.keys().cloned().collect::<Vec<_>>() {
            more |= self.write(&peer, now);
        }
        let Self { closing, scratch, .. } = self;
        closing.retain(|closing| closing.drain(scratch, now));
        self.tidy();
        if self.changed || earliest([self.publish_timer, self.diary.next()]).is_some_and(|due| due <= now) {
            self.publish(now);
        }
        if more {
            // One peer's flood must not keep other tasks of this thread from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Reads what waits; whether more may.
    fn listen(&mut self, peer: &PeerKey, now: Instant) -> bool {
        for _ in 0..BATCH {
            let Some(line) = self.lines.get_mut(peer) else { return false };
            let connection = line.number;
            if !line.connected {
                match line.connection.try_connected() {
                    Ok(local) => {
                        line.connected = true;
                        self.connected(peer, connection, local, now);
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Err(error) => {
                        self.lines.remove(peer);
                        self.tell(peer.clone(), session::Event::Failed { connection, reason: no_connection(&error) }, now);
                        return false;
                    }
                }
            }
            match line.connection.try_read(&mut self.scratch) {
                Ok(0) => return self.closed(peer, NoConnection::Closed, now),
                Ok(length) => {
                    line.inbox.extend_from_slice(&self.scratch[..length]);
                    self.decode(peer, connection, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => return self.closed(peer, no_connection(&error), now),
            }
        }
        true
    }

    fn connected(&mut self, peer: &PeerKey, connection: u64, local: IpAddr, now: Instant) {
        let Some((_, transport)) = transports(self.driver.machine()).find(|(key, _)| *key == peer) else { return };
        let place = Place::of(local, transport, &self.links);
        let next_hops = place.next_hops;
        self.places.insert(peer.clone(), place);
        self.tell(peer.clone(), session::Event::Connected { connection, next_hops }, now);
    }

    /// Always false: nothing more comes.
    fn closed(&mut self, peer: &PeerKey, reason: NoConnection, now: Instant) -> bool {
        if let Some(Line { number: connection, .. }) = self.lines.remove(peer) {
            self.tell(peer.clone(), session::Event::Closed { connection, reason }, now);
        }
        false
    }

    /// Tells the session every whole message that has come.
    fn decode(&mut self, peer: &PeerKey, connection: u64, now: Instant) {
        let mut inbox = match self.lines.get_mut(peer) {
            Some(line) => std::mem::take(&mut line.inbox),
            None => return,
        };
        let mut read = 0;
        while self.lines.get(peer).is_some_and(|line| line.number == connection) {
            let (event, length) = match next_message(&inbox[read..], &self.driver.machine().codec(peer)) {
                Ok(None) => break,
                Ok(Some((received, length))) => (session::Event::Received { connection, received }, length),
                // The session ends with it, so it does not matter where the next message would begin.
                Err(error) => (session::Event::Malformed { connection, error }, inbox.len() - read),
            };
            read += length;
            self.tell(peer.clone(), event, now);
        }
        if let Some(line) = self.lines.get_mut(peer).filter(|line| line.number == connection) {
            inbox.drain(..read);
            line.inbox = inbox;
        }
    }

    /// Writes what waits, and what the session sends because of that; whether more may be.
    fn write(&mut self, peer: &PeerKey, now: Instant) -> bool {
        for _ in 0..BATCH {
            let Some(line) = self.lines.get_mut(peer).filter(|line| line.connected && line.owes_writable) else { return false };
            match line.flush() {
                Ok(false) => return false,
                Ok(true) => {
                    line.owes_writable = false;
                    let connection = line.number;
                    self.tell(peer.clone(), session::Event::Writable { connection }, now);
                }
                Err(error) => {
                    // What the peer said before it hung up says why: a NOTIFICATION, as a rule.
                    self.listen(peer, now);
                    return self.closed(peer, no_connection(&error), now);
                }
            }
        }
        true
    }

    fn tell(&mut self, peer: PeerKey, event: session::Event, now: Instant) {
        self.feed(Input::Event(Event::Session { peer, event }), now);
    }

    fn feed(&mut self, input: Input<PeersDesired, Event>, now: Instant) {
        self.publish_timer.get_or_insert(now + PUBLISH_INTERVAL);
        let actions: Vec<Action> = self.driver.feed(input, now).collect();
        self.carry_out(actions, now);
    }

    fn carry_out(&mut self, actions: Vec<Action>, now: Instant) {
        let mut actions = VecDeque::from(actions);
        while let Some(Action { peer, action }) = actions.pop_front() {
            self.publish_timer.get_or_insert(now + PUBLISH_INTERVAL);
            match action {
                session::Action::Connect { connection, transport } => {
                    self.say_failure(&peer, now);
                    if let Err(error) = self.dial(&peer, connection, &transport) {
                        let event = session::Event::Failed { connection, reason: no_connection(&error) };
                        actions.extend(self.driver.feed(Input::Event(Event::Session { peer, event }), now));
                    }
                }
                session::Action::Send { connection, message, codec } => {
                    let bytes = message.encode(&codec).expect("the session sends what fits");
                    if let Some(line) = self.line(&peer, connection) {
                        line.send(&bytes);
                    }
                }
                session::Action::Close { connection } => {
                    if self.line(&peer, connection).is_some()
                        && let Some(line) = self.lines.remove(&peer).filter(|line| line.connected)
                    {
                        self.closing.push(Closing::new(line, now + CLOSE));
                    }
                }
                session::Action::StateChanged { from, to, reason } => {
                    self.changed = true;
                    self.since.insert(peer.clone(), clock::wall());
                    if reason == Reason::Unwanted {
                        self.diary.unwanted(&peer);
                    }
                    self.log(&peer, from, to, &reason);
                }
                session::Action::FaultFound(fault) => tracing::debug!(%peer, ?fault, "BGP: an error in an UPDATE that does no harm"),
            }
        }
    }

    fn line(&mut self, peer: &PeerKey, connection: u64) -> Option<&mut Line> {
        self.lines.get_mut(peer).filter(|line| line.number == connection)
    }

    fn dial(&mut self, peer: &PeerKey, connection: u64, transport: &Transport) -> io::Result<()> {
        let dial = Dial {
            remote: transport.remote,
            port: transport.port,
            link: transport.link.as_ref(),
            local: transport.local,
            device: transport.vrf.as_ref(),
            ttl: transport.ttl,
            minimum_ttl: transport.minimum_ttl,
            key: transport.password.as_ref().map(|password| password.0.as_bytes()),
        };
        let line = Line::new(connection, Connection::dial(&dial)?);
        self.lines.insert(peer.clone(), line);
        Ok(())
    }

    /// One line when a session comes up or ends to be up; the steps between are for those who look closer.
    fn log(&mut self, peer: &PeerKey, from: State, to: State, reason: &Reason) {
        // One that is not wanted any more is wanted nowhere.
        let wanted = transports(self.driver.machine()).find(|(key, _)| *key == peer).map(|(_, transport)| transport.remote);
        let address = wanted.or_else(|| self.places.get(peer).map(|place| place.remote)).map(tracing::field::display);
        let lost = from == State::Established && matches!(reason, Reason::Failed(_));
        if let Reason::Failed(failure) = reason {
            let text = failure.to_string();
            let known = self.said.get(peer) == Some(&text) && !lost;
            self.said.insert(peer.clone(), text);
            if !known {
                return tracing::warn!(%peer, address, %from, %to, %reason, "BGP session");
            }
        }
        if from == State::Established || to == State::Established {
            tracing::info!(%peer, address, %from, %to, %reason, "BGP session");
        } else {
            tracing::debug!(%peer, address, %from, %to, %reason, "BGP session");
        }
    }

    /// A dial that nobody answered ends without a change of state.
    fn say_failure(&mut self, peer: &PeerKey, now: Instant) {
        let failure = self.driver.machine().status(now).find(|(key, ..)| *key == peer).and_then(|(.., session)| session.last_failure);
        let Some(reason) = failure.map(|failure| failure.to_string()) else { return };
        if self.said.get(peer) != Some(&reason) {
            tracing::warn!(%peer, %reason, "BGP: no session");
            self.said.insert(peer.clone(), reason);
        }
    }

    /// Forgets what belongs to peers that are not wanted any more.
    fn tidy(&mut self) {
        let wanted: BTreeSet<&PeerKey> =
            self.driver.machine().desired().filter(|(_, desired)| desired.session.is_some()).map(|(key, _)| key).collect();
        self.places.retain(|key, _| wanted.contains(key));
        self.since.retain(|key, _| wanted.contains(key));
        self.said.retain(|key, _| wanted.contains(key));
        let bfd = self.bfd_desired();
        self.outputs.bfd.send_if_modified(|known| replace(known, Arc::new(bfd)));
    }

    fn publish(&mut self, now: Instant) {
        (self.changed, self.publish_timer) = (false, None);
        let mut status = Status { at: now, peers: BTreeMap::new() };
        for (key, desired, session) in self.driver.machine().status(now) {
            let place = self.places.get(key);
            let transport = desired.session.as_ref().map(|session| &session.transport);
            let bfd = self.bfd_key(key, desired).map(|key| self.bfd.sessions.get(&key).cloned().unwrap_or_default());
            let mut shown = PeerStatus {
                remote: transport.map(|transport| SocketAddr::new(transport.remote, transport.port)),
                zone: transport.and_then(|transport| transport.link.clone()),
                vrf: transport.and_then(|transport| transport.vrf.clone()),
                session,
                since: self.since.get(key).copied(),
                local: place.map(|place| place.local),
                link: place.and_then(|place| place.link.clone()).map(|(link, _)| link),
                next_hops: place.map(|place| place.next_hops).unwrap_or_default(),
                bfd,
                troubles: Vec::new(),
            };
            shown.troubles = troubles(desired, &shown);
            status.peers.insert(key.clone(), shown);
        }
        for entry in self.diary.due(&status) {
            // Nobody listens only when the process is ending anyway.
            drop(self.outputs.diary.send(entry));
        }
        self.outputs.status.send_replace(Arc::new(status));
    }
}

/// What the kernel said, in words that say what to look for.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kernel's own words for all the others")]
fn no_connection(error: &io::Error) -> NoConnection {
    match error.kind() {
        ErrorKind::ConnectionRefused => NoConnection::Refused,
        ErrorKind::ConnectionReset => NoConnection::Reset,
        ErrorKind::HostUnreachable => NoConnection::HostUnreachable,
        ErrorKind::NetworkUnreachable => NoConnection::NetworkUnreachable,
        ErrorKind::TimedOut => NoConnection::Unanswered,
        _ => NoConnection::Other(tcp::plain(error)),
    }
}

/// How the peers that are wanted are dialled.
fn transports(peers: &Peers) -> impl Iterator<Item = (&PeerKey, &Transport)> {
    peers.desired().filter_map(|(key, desired)| Some((key, &desired.session.as_ref()?.transport)))
}

/// The first message, and its length.
fn next_message(bytes: &[u8], codec: &Codec) -> Result<Option<(Received, usize)>, DecodeError> {
    let Some(message) = Message::split(bytes, codec)? else { return Ok(None) };
    Ok(Some((Message::decode(message, codec)?, message.len())))
}
