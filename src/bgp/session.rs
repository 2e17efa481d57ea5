//! One session: RFC 4271 §8 for a speaker that dials and never listens. DelayOpen, PassiveTcpEstablishment and TrackTcpState are not
//! offered; DampPeerOscillations is: Idle waits before another attempt, 1 s to 60 s, with jitter (§10).
//!
//! Every connection has a number, and events of any but the current one mean nothing: so "the connection" of the RFC is always the one
//! that the machine believes in, and nothing is left to collide (§6.8). Two departures from the letter of §8.2.2, both for what §6 says:
//! a NOTIFICATION is never answered (§6.4), and a wrong header in Established is answered with the error it is (§6.1).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::desired::{Desired, Ending, Routes, SessionDesired};
pub use super::event::{Action, Event};
pub use super::next_hops::NextHops;
pub use super::open::Restart;
use super::open::{self, Negotiated};
use super::rib::AdjRibOut;
use super::status::{Agreed, Failure, NoConnection, Reason, SessionStatus, State};
use super::timers::{Due, Timers};
use super::update::Context;
use crate::facts::BgpMessages;
use crate::machine::{Instant, Machine, earliest};
use crate::wire::bgp::{Code, Codec, DecodeError, Message, Notification, Open, Received, RefreshSubtype, RouteRefresh};

/// Octets of UPDATEs that may wait to be written.
const SEND_BUDGET: usize = 64 << 10;

/// How long the process before goes on while this one has begun, and a router's BFD takes to tell its BGP.
const HANDOVER: Duration = Duration::from_millis(300);

/// The machine of one peer.
#[derive(Debug)]
pub struct Session {
    desired: Option<SessionDesired>,
    routes: Arc<Routes>,
    graceful_shutdown: bool,
    /// Not told to this peer yet (RFC 4724 §4.1).
    restart: Option<Restart>,
    /// Capabilities that the peer could not bear.
    left_out: BTreeSet<u8>,

    // §8: the session attributes.
    state: State,
    connect_retry_counter: u32,
    timers: Timers,

    connections: u64,
    connection: Option<u64>,
    next_hops: NextHops,
    sent_open: Option<Open>,
    negotiated: Option<Negotiated>,
    established_at: Option<Instant>,
    /// UPDATEs are on their way to the kernel: no more of them before [`Event::Writable`].
    awaits_writable: bool,
    rib: AdjRibOut,
    /// Counters and the last failure; the rest is filled in when asked.
    status: SessionStatus,
}

impl Session {
    /// No session yet; `seed` makes the jitter.
    pub fn new(seed: u64, restart: Option<Restart>) -> Self {
        Self {
            desired: None,
            routes: Arc::default(),
            graceful_shutdown: false,
            restart,
            left_out: BTreeSet::new(),
            state: State::Idle,
            connect_retry_counter: 0,
            timers: Timers::new(seed),
            connections: 0,
            connection: None,
            next_hops: NextHops::default(),
            sent_open: None,
            negotiated: None,
            established_at: None,
            awaits_writable: false,
            rib: AdjRibOut::default(),
            status: SessionStatus::default(),
        }
    }

    /// Its connections count on from `connections`, so that no number is used twice where a session follows another one of the same peer.
    pub(super) fn count_from(mut self, connections: u64) -> Self {
        self.connections = connections;
        self
    }

    /// The number of the last connection.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    /// Whether the peer has been told everything, as far as the kernel took it: nothing can be told while not Established.
    pub(super) fn has_told_all(&self) -> bool {
        self.state != State::Established || (self.rib.pending() == 0 && !self.awaits_writable)
    }

    /// How to read messages of the current connection now. Ask before each message: an OPEN changes it.
    pub fn codec(&self) -> Codec {
        self.negotiated.as_ref().map(|negotiated| negotiated.codec).unwrap_or_default()
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Everything to show.
    pub fn status(&self, now: Instant) -> SessionStatus {
        let until = |timer: Option<Instant>| timer.map(|due| due.since(now));
        let agreed = self.negotiated.as_ref().map(|negotiated| negotiated.agreed.clone());
        let context = self.context();
        let families = agreed.iter().flat_map(|agreed| &agreed.families).copied();
        SessionStatus {
            state: self.state,
            connect_retry_counter: self.connect_retry_counter,
            retry_in: until(earliest([self.timers.idle_hold_timer, self.timers.connect_retry_timer])),
            hold_in: until(self.timers.hold_timer),
            keepalive_in: until(self.timers.keepalive_timer),
            announced: self.rib.told(),
            pending: self.rib.pending(),
            without_next_hop: families
                .filter(|family| context.as_ref().is_some_and(|context| context.next_hop(*family).is_none()))
                .collect(),
            too_long: self.rib.too_long().clone(),
            agreed,
            ..self.status.clone()
        }
    }

    fn context(&self) -> Option<Context> {
        let (desired, Negotiated { agreed, codec, .. }) = (self.desired.as_ref()?, self.negotiated.as_ref()?);
        Some(Context {
            agreed: agreed.clone(),
            codec: *codec,
            local_as: desired.local_as,
            next_hops: self.next_hops,
            graceful_shutdown: self.graceful_shutdown,
        })
    }

    // What several states do.

    fn enter(&mut self, to: State, reason: Reason, out: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.state, to);
        if from == State::Established && to != State::Established {
            self.status.lost += 1;
        }
        if let Reason::Failed(failure) = &reason {
            (self.status.failed, self.status.last_failure) = (true, Some(failure.clone()));
        }
        // A dial that had to be repeated leaves the state as it is.
        if from != to {
            out.push(Action::StateChanged { from, to, reason });
        }
    }

    /// "Releases all BGP resources" and "drops the TCP connection".
    fn release(&mut self, now: Instant, out: &mut Vec<Action>) {
        out.extend(self.connection.take().map(|connection| Action::Close { connection }));
        self.timers.stop();
        (self.sent_open, self.negotiated, self.awaits_writable) = (None, None, false);
        self.rib = AdjRibOut::default();
        if let Some(since) = self.established_at.take() {
            // What worked may work again at once, and with everything it has.
            self.timers.was_up_for(now.since(since));
            self.left_out.clear();
        }
    }

    /// An initiated connection, in Connect.
    fn connect(&mut self, reason: Reason, now: Instant, out: &mut Vec<Action>) {
        let Some(desired) = &self.desired else { return };
        self.connections += 1;
        self.connection = Some(self.connections);
        self.timers.start_connect_retry(desired, now);
        out.push(Action::Connect { connection: self.connections, transport: desired.transport.clone() });
        self.enter(State::Connect, reason, out);
    }

    fn send(&mut self, message: Message, now: Instant, out: &mut Vec<Action>) {
        let Some(connection) = self.connection else { return };
        count(&mut self.status.sent, &message);
        if matches!(message, Message::Keepalive | Message::Update(_)) {
            self.timers.restart_keepalive(agreed(&self.negotiated), now);
        }
        if self.state == State::Established {
            self.timers.start_send_hold(agreed(&self.negotiated), now);
        }
        out.push(Action::Send { connection, message, codec: self.codec() });
    }

    /// To Idle because of an error, and from there to another attempt: "increments the ConnectRetryCounter by 1" and
    /// "performs peer oscillation damping".
    fn fail(&mut self, failure: Failure, now: Instant, out: &mut Vec<Action>) {
        self.connect_retry_counter += 1;
        self.give_up(failure, now, out);
    }

    fn give_up(&mut self, failure: Failure, now: Instant, out: &mut Vec<Action>) {
        if let Failure::Sent { notification, .. } = &failure {
            self.send(Message::Notification(notification.clone()), now, out);
        }
        self.release(now, out);
        self.enter(State::Idle, Reason::Failed(failure), out);
        self.timers.idle_hold_timer = Some(self.timers.after_wait(self.desired.as_ref(), now));
    }

    fn refuse(&mut self, notification: impl Into<Notification>, why: &str, now: Instant, out: &mut Vec<Action>) {
        self.fail(Failure::Sent { notification: notification.into(), why: why.to_owned() }, now, out);
    }

    /// ManualStop (event 2).
    fn stop(&mut self, notification: Option<Notification>, now: Instant, out: &mut Vec<Action>) {
        let notification = match self.state {
            State::Idle | State::Connect | State::Active => None,
            State::OpenSent | State::OpenConfirm | State::Established => notification,
        };
        if let Some(notification) = notification {
            self.send(Message::Notification(notification), now, out);
        }
        self.release(now, out);
        (self.connect_retry_counter, self.status.failed) = (0, false);
        self.timers.forget_waits();
        self.left_out.clear();
        self.enter(State::Idle, Reason::Unwanted, out);
    }

    /// AutomaticStop (event 8).
    fn automatic_stop(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.state {
            State::Idle => {}
            State::Connect | State::Active => self.fail(Failure::Connection(NoConnection::BfdDown), now, out),
            State::OpenSent | State::OpenConfirm | State::Established => {
                self.refuse(Code::BFD_DOWN, &NoConnection::BfdDown.to_string(), now, out);
            }
        }
    }

    /// What the peer is told when the session ends for good: under RFC 8538 routes stay after a NOTIFICATION, unless it is a Hard Reset.
    fn farewell(&self, ending: &Ending) -> Option<Notification> {
        let notification = match ending {
            Ending::Silent => return None,
            Ending::Deconfigured => Code::PEER_DE_CONFIGURED.into(),
            Ending::Shutdown(text) => Notification::with_text(Code::ADMINISTRATIVE_SHUTDOWN, text),
        };
        let graceful = self.negotiated.as_ref().is_some_and(|negotiated| negotiated.agreed.graceful_notification);
        Some(if graceful { notification.into_hard_reset() } else { notification })
    }

    // Events, state by state.

    /// Events 16 and 17.
    fn tcp_connected(&mut self, next_hops: NextHops, now: Instant, out: &mut Vec<Action>) {
        match self.state {
            State::Connect => {}
            // There is no connection in Idle and Active, and only one in the others.
            State::Idle | State::Active | State::OpenSent | State::OpenConfirm | State::Established => return,
        }
        let Some(desired) = &self.desired else { return };
        let open = open::ours(desired, self.restart, &self.left_out);
        (self.next_hops, self.sent_open) = (next_hops, Some(open.clone()));
        self.timers.connect_retry_timer = None;
        self.timers.start_large_hold(now);
        self.send(Message::Open(open), now, out);
        self.enter(State::OpenSent, Reason::Connected, out);
    }

    /// Event 18. There is nothing left to close.
    fn tcp_fails(&mut self, reason: NoConnection, now: Instant, out: &mut Vec<Action>) {
        self.connection = None;
        let failure = Failure::Connection(reason);
        match self.state {
            State::Idle | State::Active => {}
            State::Connect | State::OpenConfirm | State::Established => self.fail(failure, now, out),
            State::OpenSent => {
                self.release(now, out);
                self.timers.connect_retry_timer = Some(self.timers.after_wait(self.desired.as_ref(), now));
                self.enter(State::Active, Reason::Failed(failure), out);
            }
        }
    }

    fn received(&mut self, Received { message, faults }: Received, now: Instant, out: &mut Vec<Action>) {
        count(&mut self.status.received, &message);
        if let Message::Notification(notification) = message {
            return self.notified(notification, now, out);
        }
        match self.state {
            State::Idle | State::Active => {}
            // "Any other event": nothing can be received before the connection is made.
            State::Connect => self.fail(Failure::Connection("a message came before the connection was made".into()), now, out),
            State::OpenSent => match message {
                Message::Open(open) => self.open(&open, now, out),
                Message::Update(_) | Message::Notification(_) | Message::Keepalive | Message::RouteRefresh(_) => {
                    self.refuse(Code::UNEXPECTED_MESSAGE_IN_OPEN_SENT, "the peer did not begin with OPEN", now, out);
                }
            },
            State::OpenConfirm => match message {
                Message::Keepalive => self.establish(now, out),
                Message::Open(_) | Message::Update(_) | Message::Notification(_) | Message::RouteRefresh(_) => {
                    self.refuse(Code::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM, "the peer did not confirm our OPEN", now, out);
                }
            },
            State::Established => match message {
                Message::Keepalive => self.timers.restart_hold(agreed(&self.negotiated), now),
                Message::Update(_) => {
                    self.timers.restart_hold(agreed(&self.negotiated), now);
                    self.status.faults += faults.len() as u64;
                    out.extend(faults.into_iter().map(Action::FaultFound));
                }
                Message::RouteRefresh(refresh) => self.refresh(refresh, now, out),
                Message::Open(_) | Message::Notification(_) => {
                    self.refuse(Code::UNEXPECTED_MESSAGE_IN_ESTABLISHED, "the peer sent a second OPEN", now, out);
                }
            },
        }
    }

    /// Event 19, in OpenSent.
    fn open(&mut self, open: &Open, now: Instant, out: &mut Vec<Action>) {
        let (Some(desired), Some(sent)) = (&self.desired, &self.sent_open) else { return };
        match open::negotiate(desired, sent, open) {
            Ok(negotiated) => self.negotiated = Some(negotiated),
            Err(refusal) => return self.refuse(refusal.notification, &refusal.why, now, out),
        }
        self.timers.restart_hold(agreed(&self.negotiated), now);
        self.send(Message::Keepalive, now, out);
        self.enter(State::OpenConfirm, Reason::OpenAccepted, out);
    }

    /// Event 26, in OpenConfirm.
    fn establish(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.timers.restart_hold(agreed(&self.negotiated), now);
        self.enter(State::Established, Reason::Confirmed, out);
        self.status.established += 1;
        (self.established_at, self.restart) = (Some(now), None);
        let families = |negotiated: &Negotiated| if negotiated.end_of_rib { negotiated.agreed.families.clone() } else { BTreeSet::new() };
        self.rib = AdjRibOut::new(self.negotiated.as_ref().map(families).unwrap_or_default());
        self.want();
        self.flush(now, out);
    }

    /// Events 24 and 25.
    fn notified(&mut self, notification: Notification, now: Instant, out: &mut Vec<Action>) {
        if let (State::OpenSent | State::OpenConfirm, Some(sent)) = (self.state, &self.sent_open) {
            // RFC 5492 §3. Where nothing is left to leave out, everything is offered again: the peer may have changed.
            let more = open::left_out_after(&notification, sent).filter(|codes| !codes.is_subset(&self.left_out));
            self.left_out = more.map(|codes| &codes | &self.left_out).unwrap_or_default();
        }
        let wrong_version = notification.code == Code::UNSUPPORTED_VERSION_NUMBER;
        let failure = Failure::Received(notification);
        match self.state {
            State::Idle | State::Active => {}
            State::OpenSent | State::OpenConfirm if wrong_version => self.give_up(failure, now, out),
            State::Connect | State::OpenSent | State::OpenConfirm | State::Established => self.fail(failure, now, out),
        }
    }

    /// Events 21, 22 and 28.
    fn malformed(&mut self, error: DecodeError, now: Instant, out: &mut Vec<Action>) {
        // Of a message that has no place in the state, that is the error.
        let misplaced = match (self.state, error.notification.code) {
            (State::Idle | State::Active, _) => return,
            (State::Connect, _) => return self.fail(Failure::Connection(error.what.into()), now, out),
            (State::OpenSent, Code(3 | 7, _)) => Some(Code::UNEXPECTED_MESSAGE_IN_OPEN_SENT),
            (State::OpenConfirm, Code(3 | 7, _)) => Some(Code::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM),
            (State::Established, Code(2, _)) => Some(Code::UNEXPECTED_MESSAGE_IN_ESTABLISHED),
            (State::OpenSent | State::OpenConfirm | State::Established, _) => None,
        };
        let notification = misplaced.map_or(error.notification, Notification::from);
        self.refuse(notification, error.what, now, out);
    }

    /// RFC 2918 §4, RFC 7313 §4.2: only an ordinary request asks for anything.
    fn refresh(&mut self, RouteRefresh { family, subtype }: RouteRefresh, now: Instant, out: &mut Vec<Action>) {
        let Some(agreed) = self.negotiated.as_ref().map(|negotiated| &negotiated.agreed) else { return };
        let enhanced = agreed.enhanced_route_refresh;
        let wanted = family.family().filter(|family| agreed.families.contains(family));
        match (subtype, wanted) {
            (RefreshSubtype::Request, Some(family)) => self.rib.refresh(family, enhanced),
            (RefreshSubtype::Request, None) | (RefreshSubtype::Begin | RefreshSubtype::End | RefreshSubtype::Unknown(_), _) => return,
        }
        self.flush(now, out);
    }

    /// Our addresses on the link have changed: routes go through others from now on.
    fn next_hops_changed(&mut self, next_hops: NextHops, now: Instant, out: &mut Vec<Action>) {
        let before = self.context();
        self.next_hops = next_hops;
        let (State::Established, Some(before), Some(after)) = (self.state, before, self.context()) else { return };
        for family in after.agreed.families.iter().filter(|family| before.next_hop(**family) != after.next_hop(**family)) {
            self.rib.refresh(*family, false);
        }
        self.want();
        self.flush(now, out);
    }

    fn want(&mut self) {
        if let Some(context) = self.context() {
            self.rib.want(&self.routes, &context);
        }
    }

    /// Sends what the peer does not know, as much as may be on its way at once.
    fn flush(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.state != State::Established || self.awaits_writable {
            return;
        }
        let Some(context) = self.context() else { return };
        let mut sent = 0;
        while sent < SEND_BUDGET {
            let Some((message, length)) = self.rib.next(&context) else { break };
            sent += length;
            self.send(message, now, out);
        }
        self.awaits_writable = sent > 0;
    }

    /// Starts a session that is wanted, ends one that is not, begins one anew that is wanted in another way.
    fn desire(&mut self, desired: &Desired, now: Instant, out: &mut Vec<Action>) {
        let goes_on = match (&self.desired, &desired.session) {
            (None, None) => true,
            (Some(is), Some(wanted)) => is == wanted,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !goes_on && self.desired.is_some() {
            let changed = || Some(Code::OTHER_CONFIGURATION_CHANGE.into());
            let notification = if desired.session.is_some() { changed() } else { self.farewell(&desired.ending) };
            self.stop(notification, now, out);
        }
        self.desired.clone_from(&desired.session);
        if !goes_on {
            match self.until_bfd_is_over(desired) {
                Some(time) => self.timers.idle_hold_timer = Some(now + time),
                None => self.connect(Reason::Wanted, now, out),
            }
        }
    }

    /// The BFD session of the process before ends with it, and the peer may take that for a loss. While it keeps our routes for a restart
    /// that costs nothing; a session that is up again already would end with it (RFC 5882 §4.3.2).
    fn until_bfd_is_over(&self, desired: &Desired) -> Option<Duration> {
        self.restart?;
        desired.session.as_ref()?.restart_time?;
        desired.bfd.as_ref().map(|bfd| bfd.detection_time() + HANDOVER)
    }
}

impl Machine for Session {
    type Desired = Desired;
    type Event = Event;
    type Action = Action;

    fn set(&mut self, desired: Arc<Desired>, now: Instant, out: &mut Vec<Action>) {
        let same = self.routes == desired.routes && self.graceful_shutdown == desired.graceful_shutdown;
        self.routes = Arc::clone(&desired.routes);
        self.graceful_shutdown = desired.graceful_shutdown;
        self.desire(&desired, now, out);
        if !same && self.state == State::Established {
            self.want();
            self.flush(now, out);
        }
    }

    fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Action>) {
        let current = match event {
            Event::Connected { connection, .. }
            | Event::Failed { connection, .. }
            | Event::Closed { connection, .. }
            | Event::Received { connection, .. }
            | Event::Malformed { connection, .. }
            | Event::NextHopsChanged { connection, .. }
            | Event::Writable { connection } => Some(connection) == self.connection,
            Event::BfdDown => true,
        };
        match event {
            _ if !current => {}
            Event::Connected { next_hops, .. } => self.tcp_connected(next_hops, now, out),
            Event::Failed { reason, .. } | Event::Closed { reason, .. } => self.tcp_fails(reason, now, out),
            Event::Received { received, .. } => self.received(received, now, out),
            Event::Malformed { error, .. } => self.malformed(error, now, out),
            Event::NextHopsChanged { next_hops, .. } => self.next_hops_changed(next_hops, now, out),
            Event::Writable { .. } => {
                (self.awaits_writable, self.timers.send_hold_timer) = (false, None);
                self.flush(now, out);
            }
            Event::BfdDown => self.automatic_stop(now, out),
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.timers.due(now) {
            None => {}
            // Event 10.
            Some(Due::Hold) => {
                let opened = self.negotiated.is_some();
                let why = if opened { "nothing came within the hold time" } else { "no OPEN came in four minutes" };
                self.refuse(Code::HOLD_TIMER_EXPIRED, why, now, out);
            }
            // RFC 9687 §4, event 29.
            Some(Due::SendHold) => self.refuse(Code::SEND_HOLD_TIMER_EXPIRED, "the peer reads nothing any more", now, out),
            // Event 11.
            Some(Due::Keepalive) => self.send(Message::Keepalive, now, out),
            // Event 9.
            Some(Due::ConnectRetry) => {
                if self.connection.is_some() {
                    self.connect_retry_counter += 1;
                    self.timers.wait_longer();
                    let unanswered = Failure::Connection(NoConnection::Unanswered);
                    (self.status.failed, self.status.last_failure) = (true, Some(unanswered));
                }
                self.release(now, out);
                self.connect(Reason::Retry, now, out);
            }
            // Event 13, and with it AutomaticStart (event 3).
            Some(Due::IdleHold) => {
                self.timers.idle_hold_timer = None;
                self.connect(Reason::Retry, now, out);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

/// What both OPENs agreed on, for borrowers of other fields.
fn agreed(negotiated: &Option<Negotiated>) -> Option<&Agreed> {
    negotiated.as_ref().map(|negotiated| &negotiated.agreed)
}

fn count(counters: &mut BgpMessages, message: &Message) {
    *match message {
        Message::Open(_) => &mut counters.opens,
        Message::Update(_) => &mut counters.updates,
        Message::Notification(_) => &mut counters.notifications,
        Message::Keepalive => &mut counters.keepalives,
        Message::RouteRefresh(_) => &mut counters.route_refreshes,
    } += 1;
}
