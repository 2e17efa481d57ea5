//! One BGP session: the transition table of RFC 4271 §8.2.2, what is negotiated and refused, timers, and which UPDATEs follow from routes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::{Family, Prefix};
use lanlord::bgp::desired::{Bfd, Desired, Ending, RemoteAs, Route, Routes, SessionDesired, Transport};
use lanlord::bgp::session::{Action, Event, NextHops, Restart, Session};
use lanlord::bgp::status::State::{self, Active, Connect, Established, Idle, OpenConfirm, OpenSent};
use lanlord::bgp::status::{Failure, NoConnection, SessionStatus};
use lanlord::machine::{Instant, Machine};
use lanlord::wire::bgp::{
    Capability, Code, Codec, DecodeError, ExtendedNextHop, Message, Nlri, Notification, Open, Received, RefreshSubtype, RestartFamily,
    Update,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn start() -> Instant {
    Instant::from_nanos(1_000_000_000_000)
}

pub(crate) fn parameters() -> SessionDesired {
    SessionDesired {
        transport: Transport {
            remote: Ipv4Addr::new(192, 0, 2, 1).into(),
            port: 179,
            link: None,
            local: None,
            vrf: None,
            ttl: 255,
            minimum_ttl: 0,
            password: None,
        },
        local_as: 64600,
        remote_as: RemoteAs::Number(64512),
        identifier: Ipv4Addr::new(192, 0, 2, 11),
        hold_time: 90,
        keepalive_time: 30,
        connect_retry_time: None,
        families: [Family::V4].into(),
        multiprotocol: true,
        restart_time: None,
    }
}

pub(crate) fn desired(session: SessionDesired) -> Desired {
    Desired { session: Some(session), ..Desired::default() }
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(crate) fn routes<'a>(routes: impl IntoIterator<Item = (&'a str, Route)>) -> Arc<Routes> {
    Arc::new(routes.into_iter().map(|(text, route)| (prefix(text), Arc::new(route))).collect())
}

pub(crate) fn many(count: u32, route: &Route) -> Arc<Routes> {
    let net = |n: u32| Prefix::new(ipnet::IpNet::new(Ipv4Addr::from_bits(0x0a00_0000 + n).into(), 32).unwrap());
    let route = Arc::new(route.clone());
    Arc::new((0..count).map(|n| (net(n), Arc::clone(&route))).collect())
}

pub(crate) fn capabilities() -> Vec<Capability> {
    vec![
        Capability::Multiprotocol(Family::V4.into()),
        Capability::Multiprotocol(Family::V6.into()),
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
        Capability::FourOctetAs(64512),
    ]
}

pub(crate) fn their_open() -> Open {
    Open { my_as: 64512, hold_time: 90, identifier: Ipv4Addr::new(192, 0, 2, 1), capabilities: capabilities() }
}

pub(crate) fn restart(notification: bool) -> Capability {
    let families = vec![RestartFamily { family: Family::V4.into(), forwarding: true }];
    Capability::GracefulRestart { restarting: false, notification, restart_time: 120, families }
}

/// A session and its surroundings.
pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) connection: u64,
    pub(crate) desired: Desired,
    pub(crate) out: Vec<Action>,
}

impl World {
    pub(crate) fn with(session: Session, desired: Desired) -> Self {
        let mut world = Self { session, now: start(), connection: 0, desired, out: Vec::new() };
        world.set(|_| {});
        world
    }

    pub(crate) fn new(desired: Desired) -> Self {
        Self::with(Session::new(1, None), desired)
    }

    /// Brought to a state, everything up to there forgotten.
    pub(crate) fn at(state: State, desired: Desired) -> Self {
        Self::brought(state, desired, their_open())
    }

    pub(crate) fn brought(state: State, desired: Desired, open: Open) -> Self {
        let mut world = Self::new(desired);
        world.bring(state, open);
        world.out.clear();
        world
    }

    pub(crate) fn bring(&mut self, state: State, open: Open) {
        match state {
            Connect => {}
            Idle => self.fails("connection refused"),
            OpenSent => self.connects(),
            Active => {
                self.connects();
                self.fails("closed by the peer");
            }
            OpenConfirm => {
                self.connects();
                self.receives(Message::Open(open));
            }
            Established => {
                self.bring(OpenConfirm, open);
                self.receives(Message::Keepalive);
            }
        }
        assert_eq!(self.session.state(), state);
    }

    pub(crate) fn set(&mut self, edit: impl FnOnce(&mut Desired)) {
        edit(&mut self.desired);
        self.session.set(Arc::new(self.desired.clone()), self.now, &mut self.out);
        self.note_connection();
    }

    pub(crate) fn handle(&mut self, event: Event) {
        self.session.handle(event, self.now, &mut self.out);
        self.note_connection();
    }

    pub(crate) fn note_connection(&mut self) {
        for action in &self.out {
            if let Action::Connect { connection, .. } = action {
                self.connection = self.connection.max(*connection);
            }
        }
    }

    pub(crate) fn connects(&mut self) {
        let next_hops = NextHops { v4: Some(Ipv4Addr::new(192, 0, 2, 11)), ..NextHops::default() };
        self.connects_with(next_hops);
    }

    pub(crate) fn connects_with(&mut self, next_hops: NextHops) {
        self.handle(Event::Connected { connection: self.connection, next_hops });
    }

    pub(crate) fn fails(&mut self, reason: &str) {
        self.handle(Event::Failed { connection: self.connection, reason: reason.into() });
    }

    pub(crate) fn receives(&mut self, message: Message) {
        self.handle(Event::Received { connection: self.connection, received: message.into() });
    }

    pub(crate) fn malformed(&mut self, code: Code) {
        let error = DecodeError { notification: code.into(), what: "wrong" };
        self.handle(Event::Malformed { connection: self.connection, error });
    }

    pub(crate) fn writable(&mut self) {
        self.handle(Event::Writable { connection: self.connection });
    }

    /// Lets time pass until `timer`; false if it does not run. Everything is written meanwhile, unless that is what the timer is for.
    pub(crate) fn expires(&mut self, timer: impl Fn(&SessionStatus) -> Option<Duration>) -> bool {
        let Some(time) = timer(&self.session.status(self.now)) else { return false };
        let end = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.out.clear();
            self.now = due;
            self.session.handle_timeout(due, &mut self.out);
            self.note_connection();
        }
        true
    }

    pub(crate) fn passes(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.session.handle_timeout(due, &mut self.out);
        }
        self.now = end;
    }

    pub(crate) fn status(&self) -> SessionStatus {
        self.session.status(self.now)
    }

    /// What was done, in a few words; and forgets it.
    pub(crate) fn done(&mut self) -> String {
        let words = self.out.drain(..).map(|action| match action {
            Action::Connect { .. } => "connect".to_owned(),
            Action::Close { .. } => "close".to_owned(),
            Action::StateChanged { to, .. } => format!("→ {to}"),
            Action::FaultFound(fault) => fault.to_string(),
            Action::Send { message, .. } => match message {
                Message::Open(_) => "OPEN".to_owned(),
                Message::Keepalive => "KEEPALIVE".to_owned(),
                Message::Update(_) => "UPDATE".to_owned(),
                Message::RouteRefresh(refresh) => format!("ROUTE-REFRESH {:?}", refresh.subtype),
                Message::Notification(Notification { code: Code(code, subcode), .. }) => format!("NOTIFICATION {code}/{subcode}"),
            },
        });
        words.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn messages(&mut self) -> Vec<Message> {
        let message = |action| match action {
            Action::Send { message, .. } => Some(message),
            Action::Connect { .. } | Action::Close { .. } | Action::StateChanged { .. } | Action::FaultFound(_) => None,
        };
        self.out.drain(..).filter_map(message).collect()
    }

    pub(crate) fn updates(&mut self) -> Vec<Update> {
        let update = |message| match message {
            Message::Update(update) => Some(update),
            Message::Open(_) | Message::Keepalive | Message::Notification(_) | Message::RouteRefresh(_) => None,
        };
        self.messages().into_iter().filter_map(update).collect()
    }

    pub(crate) fn our_open(&mut self) -> Open {
        let open = |message| match message {
            Message::Open(open) => Some(open),
            Message::Update(_) | Message::Keepalive | Message::Notification(_) | Message::RouteRefresh(_) => None,
        };
        self.messages().into_iter().find_map(open).unwrap()
    }
}

/// The events of §8.1 that a dialler meets, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum E {
    ManualStart1,
    ManualStop2,
    AutomaticStop8,
    ConnectRetryTimerExpires9,
    HoldTimerExpires10,
    KeepaliveTimerExpires11,
    IdleHoldTimerExpires13,
    TcpCrAcked16,
    TcpConnectionFails18,
    BgpOpen19,
    BgpHeaderErr21,
    BgpOpenMsgErr22,
    NotifMsgVerErr24,
    NotifMsg25,
    KeepAliveMsg26,
    UpdateMsg27,
    UpdateMsgErr28,
    RouteRefresh,
}

use E::*;

const EVENTS: [E; 18] = [
    ManualStart1,
    ManualStop2,
    AutomaticStop8,
    ConnectRetryTimerExpires9,
    HoldTimerExpires10,
    KeepaliveTimerExpires11,
    IdleHoldTimerExpires13,
    TcpCrAcked16,
    TcpConnectionFails18,
    BgpOpen19,
    BgpHeaderErr21,
    BgpOpenMsgErr22,
    NotifMsgVerErr24,
    NotifMsg25,
    KeepAliveMsg26,
    UpdateMsg27,
    UpdateMsgErr28,
    RouteRefresh,
];

/// State, event, what follows, where it is written. `-`: the timer does not run. Events 4 to 7, 12, 14, 15, 17, 20 and 23 belong to options
/// that are not offered (passive establishment, DelayOpen, tracking of TCP, a second connection); 17 is 16 of the other side.
#[rustfmt::skip]
const TABLE: &[(State, E, &str, &str)] = &[
    // Idle, waiting for IdleHoldTimer: everything from a connection is of one that is gone.
    (Idle, ManualStart1,              "",                                "wanted already"),
    (Idle, ManualStop2,               "",                                "§8.2.2 Idle: ignored"),
    (Idle, AutomaticStop8,            "",                                "§8.2.2 Idle: ignored"),
    (Idle, ConnectRetryTimerExpires9, "-",                               "§8.2.2 Idle"),
    (Idle, HoldTimerExpires10,        "-",                               "§8.2.2 Idle"),
    (Idle, KeepaliveTimerExpires11,   "-",                               "§8.2.2 Idle"),
    (Idle, IdleHoldTimerExpires13,    "connect, → Connect",              "§8.1.1 DampPeerOscillations, §8.2.2 Idle"),
    (Idle, TcpCrAcked16,              "",                                "§8.2.2 Idle: any other event"),
    (Idle, TcpConnectionFails18,      "",                                "§8.2.2 Idle: any other event"),
    (Idle, BgpOpen19,                 "",                                "§8.2.2 Idle: any other event"),
    (Idle, BgpHeaderErr21,            "",                                "§8.2.2 Idle: any other event"),
    (Idle, BgpOpenMsgErr22,           "",                                "§8.2.2 Idle: any other event"),
    (Idle, NotifMsgVerErr24,          "",                                "§8.2.2 Idle: any other event"),
    (Idle, NotifMsg25,                "",                                "§8.2.2 Idle: any other event"),
    (Idle, KeepAliveMsg26,            "",                                "§8.2.2 Idle: any other event"),
    (Idle, UpdateMsg27,               "",                                "§8.2.2 Idle: any other event"),
    (Idle, UpdateMsgErr28,            "",                                "§8.2.2 Idle: any other event"),
    (Idle, RouteRefresh,              "",                                "§8.2.2 Idle: any other event"),

    (Connect, ManualStart1,              "",                             "§8.2.2 Connect: ignored"),
    (Connect, ManualStop2,               "close, → Idle",                "§8.2.2 Connect"),
    (Connect, AutomaticStop8,            "close, → Idle",                "§8.2.2 Connect: any other event"),
    (Connect, ConnectRetryTimerExpires9, "close, connect",               "§8.2.2 Connect"),
    (Connect, HoldTimerExpires10,        "-",                            "§8.2.2 Connect"),
    (Connect, KeepaliveTimerExpires11,   "-",                            "§8.2.2 Connect"),
    (Connect, IdleHoldTimerExpires13,    "-",                            "§8.2.2 Connect"),
    (Connect, TcpCrAcked16,              "OPEN, → OpenSent",             "§8.2.2 Connect"),
    (Connect, TcpConnectionFails18,      "→ Idle",                       "§8.2.2 Connect, DelayOpenTimer not running"),
    (Connect, BgpOpen19,                 "close, → Idle",                "§8.2.2 Connect: any other event"),
    (Connect, BgpHeaderErr21,            "close, → Idle",                "§8.2.2 Connect"),
    (Connect, BgpOpenMsgErr22,           "close, → Idle",                "§8.2.2 Connect"),
    (Connect, NotifMsgVerErr24,          "close, → Idle",                "§8.2.2 Connect"),
    (Connect, NotifMsg25,                "close, → Idle",                "§8.2.2 Connect: any other event"),
    (Connect, KeepAliveMsg26,            "close, → Idle",                "§8.2.2 Connect: any other event"),
    (Connect, UpdateMsg27,               "close, → Idle",                "§8.2.2 Connect: any other event"),
    (Connect, UpdateMsgErr28,            "close, → Idle",                "§8.2.2 Connect: any other event"),
    (Connect, RouteRefresh,              "close, → Idle",                "§8.2.2 Connect: any other event"),

    // Active, waiting for ConnectRetryTimer: nothing listens, so there is no connection either.
    (Active, ManualStart1,              "",                              "§8.2.2 Active: ignored"),
    (Active, ManualStop2,               "→ Idle",                        "§8.2.2 Active"),
    (Active, AutomaticStop8,            "→ Idle",                        "§8.2.2 Active: any other event"),
    (Active, ConnectRetryTimerExpires9, "connect, → Connect",            "§8.2.2 Active"),
    (Active, HoldTimerExpires10,        "-",                             "§8.2.2 Active"),
    (Active, KeepaliveTimerExpires11,   "-",                             "§8.2.2 Active"),
    (Active, IdleHoldTimerExpires13,    "-",                             "§8.2.2 Active"),
    (Active, TcpCrAcked16,              "",                              "of a connection that is gone"),
    (Active, TcpConnectionFails18,      "",                              "of a connection that is gone"),
    (Active, BgpOpen19,                 "",                              "of a connection that is gone"),
    (Active, BgpHeaderErr21,            "",                              "of a connection that is gone"),
    (Active, BgpOpenMsgErr22,           "",                              "of a connection that is gone"),
    (Active, NotifMsgVerErr24,          "",                              "of a connection that is gone"),
    (Active, NotifMsg25,                "",                              "of a connection that is gone"),
    (Active, KeepAliveMsg26,            "",                              "of a connection that is gone"),
    (Active, UpdateMsg27,               "",                              "of a connection that is gone"),
    (Active, UpdateMsgErr28,            "",                              "of a connection that is gone"),
    (Active, RouteRefresh,              "",                              "of a connection that is gone"),

    (OpenSent, ManualStart1,              "",                                      "§8.2.2 OpenSent: ignored"),
    (OpenSent, ManualStop2,               "NOTIFICATION 6/3, close, → Idle",       "§8.2.2 OpenSent"),
    (OpenSent, AutomaticStop8,            "NOTIFICATION 6/10, close, → Idle",      "§8.2.2 OpenSent, RFC 9384"),
    (OpenSent, ConnectRetryTimerExpires9, "-",                                     "§8.2.2 OpenSent"),
    (OpenSent, HoldTimerExpires10,        "NOTIFICATION 4/0, close, → Idle",       "§8.2.2 OpenSent"),
    (OpenSent, KeepaliveTimerExpires11,   "-",                                     "§8.2.2 OpenSent"),
    (OpenSent, IdleHoldTimerExpires13,    "-",                                     "§8.2.2 OpenSent"),
    (OpenSent, TcpCrAcked16,              "",                                      "§8.2.2 OpenSent: a second connection"),
    (OpenSent, TcpConnectionFails18,      "→ Active",                              "§8.2.2 OpenSent"),
    (OpenSent, BgpOpen19,                 "KEEPALIVE, → OpenConfirm",              "§8.2.2 OpenSent"),
    (OpenSent, BgpHeaderErr21,            "NOTIFICATION 1/1, close, → Idle",       "§8.2.2 OpenSent"),
    (OpenSent, BgpOpenMsgErr22,           "NOTIFICATION 2/6, close, → Idle",       "§8.2.2 OpenSent"),
    (OpenSent, NotifMsgVerErr24,          "close, → Idle",                         "§8.2.2 OpenSent"),
    (OpenSent, NotifMsg25,                "close, → Idle",                         "§6.4: never answered"),
    (OpenSent, KeepAliveMsg26,            "NOTIFICATION 5/1, close, → Idle",       "§8.2.2 OpenSent, RFC 6608"),
    (OpenSent, UpdateMsg27,               "NOTIFICATION 5/1, close, → Idle",       "§8.2.2 OpenSent, RFC 6608"),
    (OpenSent, UpdateMsgErr28,            "NOTIFICATION 5/1, close, → Idle",       "§8.2.2 OpenSent, RFC 6608"),
    (OpenSent, RouteRefresh,              "NOTIFICATION 5/1, close, → Idle",       "RFC 6608"),

    (OpenConfirm, ManualStart1,              "",                                   "§8.2.2 OpenConfirm: ignored"),
    (OpenConfirm, ManualStop2,               "NOTIFICATION 6/3, close, → Idle",    "§8.2.2 OpenConfirm"),
    (OpenConfirm, AutomaticStop8,            "NOTIFICATION 6/10, close, → Idle",   "§8.2.2 OpenConfirm, RFC 9384"),
    (OpenConfirm, ConnectRetryTimerExpires9, "-",                                  "§8.2.2 OpenConfirm"),
    (OpenConfirm, HoldTimerExpires10,        "NOTIFICATION 4/0, close, → Idle",    "§8.2.2 OpenConfirm"),
    (OpenConfirm, KeepaliveTimerExpires11,   "KEEPALIVE",                          "§8.2.2 OpenConfirm"),
    (OpenConfirm, IdleHoldTimerExpires13,    "-",                                  "§8.2.2 OpenConfirm"),
    (OpenConfirm, TcpCrAcked16,              "",                                   "§8.2.2 OpenConfirm: a second connection"),
    (OpenConfirm, TcpConnectionFails18,      "→ Idle",                             "§8.2.2 OpenConfirm"),
    (OpenConfirm, BgpOpen19,                 "NOTIFICATION 5/2, close, → Idle",    "RFC 6608: on the same connection"),
    (OpenConfirm, BgpHeaderErr21,            "NOTIFICATION 1/1, close, → Idle",    "§8.2.2 OpenConfirm"),
    (OpenConfirm, BgpOpenMsgErr22,           "NOTIFICATION 2/6, close, → Idle",    "§8.2.2 OpenConfirm"),
    (OpenConfirm, NotifMsgVerErr24,          "close, → Idle",                      "§8.2.2 OpenConfirm"),
    (OpenConfirm, NotifMsg25,                "close, → Idle",                      "§8.2.2 OpenConfirm"),
    (OpenConfirm, KeepAliveMsg26,            "→ Established",                      "§8.2.2 OpenConfirm"),
    (OpenConfirm, UpdateMsg27,               "NOTIFICATION 5/2, close, → Idle",    "§8.2.2 OpenConfirm, RFC 6608"),
    (OpenConfirm, UpdateMsgErr28,            "NOTIFICATION 5/2, close, → Idle",    "§8.2.2 OpenConfirm, RFC 6608"),
    (OpenConfirm, RouteRefresh,              "NOTIFICATION 5/2, close, → Idle",    "RFC 6608"),

    (Established, ManualStart1,              "",                                   "§8.2.2 Established: ignored"),
    (Established, ManualStop2,               "NOTIFICATION 6/3, close, → Idle",    "§8.2.2 Established"),
    (Established, AutomaticStop8,            "NOTIFICATION 6/10, close, → Idle",   "§8.2.2 Established, RFC 9384"),
    (Established, ConnectRetryTimerExpires9, "-",                                  "§8.2.2 Established"),
    (Established, HoldTimerExpires10,        "NOTIFICATION 4/0, close, → Idle",    "§8.2.2 Established"),
    (Established, KeepaliveTimerExpires11,   "KEEPALIVE",                          "§8.2.2 Established"),
    (Established, IdleHoldTimerExpires13,    "-",                                  "§8.2.2 Established"),
    (Established, TcpCrAcked16,              "",                                   "§8.2.2 Established: a second connection"),
    (Established, TcpConnectionFails18,      "→ Idle",                             "§8.2.2 Established"),
    (Established, BgpOpen19,                 "NOTIFICATION 5/3, close, → Idle",    "§8.2.2 Established, RFC 6608"),
    (Established, BgpHeaderErr21,            "NOTIFICATION 1/1, close, → Idle",    "§6.1"),
    (Established, BgpOpenMsgErr22,           "NOTIFICATION 5/3, close, → Idle",    "§8.2.2 Established, RFC 6608"),
    (Established, NotifMsgVerErr24,          "close, → Idle",                      "§8.2.2 Established"),
    (Established, NotifMsg25,                "close, → Idle",                      "§8.2.2 Established"),
    (Established, KeepAliveMsg26,            "",                                   "§8.2.2 Established: HoldTimer"),
    (Established, UpdateMsg27,               "",                                   "§8.2.2 Established: HoldTimer"),
    (Established, UpdateMsgErr28,            "NOTIFICATION 3/1, close, → Idle",    "§8.2.2 Established"),
    (Established, RouteRefresh,              "ROUTE-REFRESH Begin, ROUTE-REFRESH End", "RFC 2918, RFC 7313: no routes"),
];

fn happens(world: &mut World, event: E) -> bool {
    match event {
        ManualStart1 => world.set(|_| {}),
        ManualStop2 => world.set(|desired| desired.session = None),
        AutomaticStop8 => world.handle(Event::BfdDown),
        ConnectRetryTimerExpires9 => {
            let running = matches!(world.session.state(), Connect | Active);
            return running && world.expires(|status| status.retry_in);
        }
        IdleHoldTimerExpires13 => return world.session.state() == Idle && world.expires(|status| status.retry_in),
        HoldTimerExpires10 => return world.expires(|status| status.hold_in),
        KeepaliveTimerExpires11 => return world.expires(|status| status.keepalive_in),
        TcpCrAcked16 => world.connects(),
        TcpConnectionFails18 => world.fails("gone"),
        BgpOpen19 => world.receives(Message::Open(their_open())),
        BgpHeaderErr21 => world.malformed(Code::CONNECTION_NOT_SYNCHRONIZED),
        BgpOpenMsgErr22 => world.malformed(Code::UNACCEPTABLE_HOLD_TIME),
        NotifMsgVerErr24 => world.receives(Message::Notification(Code::UNSUPPORTED_VERSION_NUMBER.into())),
        NotifMsg25 => world.receives(Message::Notification(Code::BAD_PEER_AS.into())),
        KeepAliveMsg26 => world.receives(Message::Keepalive),
        UpdateMsg27 => world.receives(Message::Update(Update::default())),
        UpdateMsgErr28 => world.malformed(Code::MALFORMED_ATTRIBUTE_LIST),
        RouteRefresh => world.receives(Message::RouteRefresh(request(Family::V4))),
    }
    true
}

pub(crate) fn request(family: Family) -> lanlord::wire::bgp::RouteRefresh {
    lanlord::wire::bgp::RouteRefresh { family: family.into(), subtype: RefreshSubtype::Request }
}

#[test]
fn every_event_in_every_state_does_what_rfc_4271_section_8_says() {
    let mut seen = BTreeSet::new();
    for (state, event, expected, section) in TABLE {
        assert!(seen.insert((*state, *event)), "{state} {event:?} stands there twice");
        let mut world = World::at(*state, desired(parameters()));
        let happened = happens(&mut world, *event);
        let done = if happened { world.done() } else { "-".to_owned() };
        assert_eq!(done, *expected, "{state}, {event:?} ({section})");
        let status = world.status();
        // Timers of the state that was reached, and of no other.
        let running = (status.retry_in.is_some(), status.hold_in.is_some(), status.keepalive_in.is_some());
        let wanted = world.desired.session.is_some();
        let timers = match status.state {
            Idle => (wanted, false, false),
            Connect | Active => (true, false, false),
            OpenSent => (false, true, false),
            OpenConfirm | Established => (false, true, true),
        };
        assert_eq!(running, timers, "{state}, {event:?}: timers in {}", status.state);
    }
    for state in [Idle, Connect, Active, OpenSent, OpenConfirm, Established] {
        for event in EVENTS {
            assert!(seen.contains(&(state, event)), "no row for {state}, {event:?}");
        }
    }
}

#[test]
fn the_connect_retry_counter_counts_failures_and_a_stop_forgets_them() {
    let mut world = World::at(Idle, desired(parameters()));
    assert_eq!(world.status().connect_retry_counter, 1);
    world.expires(|status| status.retry_in);
    world.connects();
    world.receives(Message::Notification(Code::UNSUPPORTED_VERSION_NUMBER.into()));
    assert_eq!(world.status().connect_retry_counter, 1, "event 24 does not count");
    world.expires(|status| status.retry_in);
    world.connects();
    world.receives(Message::Keepalive);
    assert_eq!(world.status().connect_retry_counter, 2);
    world.set(|desired| desired.session = None);
    assert_eq!((world.status().connect_retry_counter, world.session.poll_timeout()), (0, None));
}

#[test]
fn waits_double_from_one_second_to_sixty_with_jitter_and_a_good_session_forgets_them() {
    let mut world = World::new(desired(parameters()));
    for whole in [1, 2, 4, 8, 16, 32, 60, 60] {
        world.fails("connection refused");
        let wait = world.status().retry_in.unwrap();
        assert!(wait >= SECOND * whole * 3 / 4 && wait <= SECOND * whole, "{wait:?} of {whole} s");
        world.expires(|status| status.retry_in);
    }
    world.bring(Established, their_open());
    world.receives(Message::Keepalive);
    world.passes(SECOND * 70);
    world.fails("closed by the peer");
    assert!(world.status().retry_in.unwrap() <= SECOND);
    // One that is lost as soon as it is up is not good.
    world.expires(|status| status.retry_in);
    world.bring(Established, their_open());
    world.fails("closed by the peer");
    assert!(world.status().retry_in.unwrap() > SECOND);
    // What is configured is used as it is.
    let mut world = World::new(desired(SessionDesired { connect_retry_time: Some(20), ..parameters() }));
    for _ in 0..5 {
        world.fails("connection refused");
        let wait = world.status().retry_in.unwrap();
        assert!(wait >= SECOND * 15 && wait <= SECOND * 20, "{wait:?}");
        world.expires(|status| status.retry_in);
    }
}

#[test]
fn a_dial_that_nobody_answers_is_given_up_and_repeated() {
    let mut world = World::new(desired(parameters()));
    let first = world.connection;
    assert!(world.expires(|status| status.retry_in));
    assert!(world.now.since(start()) >= SECOND * 7, "a SYN may be lost");
    assert_eq!((world.session.state(), world.connection), (Connect, first + 1));
    assert_eq!(world.status().last_failure, Some(Failure::Connection(NoConnection::Unanswered)));
    // The first dial comes to life after all: it is not ours any more.
    world.out.clear();
    let next_hops = NextHops::default();
    world.handle(Event::Connected { connection: first, next_hops });
    assert_eq!(world.done(), "");
}

#[test]
fn the_shorter_hold_time_counts_and_keepalives_come_three_times_as_often() {
    let hold = |ours: u16, keepalive: u16, theirs: u16| {
        let session = SessionDesired { hold_time: ours, keepalive_time: keepalive, ..parameters() };
        let world = World::brought(Established, desired(session), Open { hold_time: theirs, ..their_open() });
        let agreed = world.status().agreed.unwrap();
        (agreed.hold_time.map(|time| time.as_secs()), agreed.keepalive_time.as_secs())
    };
    assert_eq!(hold(90, 30, 180), (Some(90), 30));
    assert_eq!(hold(90, 30, 9), (Some(9), 3));
    assert_eq!(hold(90, 10, 90), (Some(90), 10));
    assert_eq!(hold(3, 1, 90), (Some(3), 1));
    assert_eq!(hold(90, 30, 0).0, None);
    let mut world = World::brought(Established, desired(parameters()), Open { hold_time: 9, ..their_open() });
    let mut last = world.now;
    for _ in 0..20 {
        world.receives(Message::Keepalive);
        assert!(world.expires(|status| status.keepalive_in));
        let gap = world.now.since(last);
        assert!(gap >= SECOND * 9 / 4 && gap <= SECOND * 3, "{gap:?}");
        last = world.now;
        world.writable();
    }
    // Without hold time there is neither timer, for ever.
    let mut world = World::brought(Established, desired(parameters()), Open { hold_time: 0, ..their_open() });
    assert_eq!(world.session.poll_timeout(), None);
    world.passes(SECOND * 100_000);
    assert_eq!(world.session.state(), Established);
}

#[test]
fn silence_ends_the_session_and_updates_count_as_life() {
    let mut world = World::at(Established, desired(parameters()));
    world.passes(SECOND * 80);
    world.receives(Message::Update(Update::default()));
    world.passes(SECOND * 80);
    assert_eq!(world.session.state(), Established);
    world.passes(SECOND * 10);
    let failure = world.status().last_failure.unwrap();
    assert_eq!(failure.to_string(), "nothing came within the hold time: sent Hold Timer Expired");
    assert_eq!((world.status().established, world.status().lost), (1, 1));
}

#[test]
fn the_as_has_to_be_the_configured_one() {
    let with = |remote_as: RemoteAs, local_as: u32, theirs: u32| {
        let mut capabilities = capabilities();
        capabilities[4] = Capability::FourOctetAs(theirs);
        let open = Open { my_as: Open::two_octets(theirs), capabilities, ..their_open() };
        let mut world = World::at(OpenSent, desired(SessionDesired { remote_as, local_as, ..parameters() }));
        world.receives(Message::Open(open));
        match world.status() {
            SessionStatus { state: OpenConfirm, agreed: Some(agreed), .. } => Ok((agreed.remote_as, agreed.internal)),
            status => Err(status.last_failure.unwrap().to_string()),
        }
    };
    assert_eq!(with(RemoteAs::Number(64512), 64600, 64512), Ok((64512, false)));
    assert_eq!(with(RemoteAs::Number(4_200_000_000), 64600, 4_200_000_000), Ok((4_200_000_000, false)));
    assert_eq!(with(RemoteAs::Number(64512), 64512, 64512), Ok((64512, true)));
    assert_eq!(with(RemoteAs::Internal, 64600, 64600), Ok((64600, true)));
    assert_eq!(with(RemoteAs::External, 64600, 64999), Ok((64999, false)));
    let sent = "sent OPEN Message Error/Bad Peer AS";
    assert_eq!(with(RemoteAs::Number(64512), 64600, 64513), Err(format!("the peer is of AS 64513, 64512 is configured: {sent}")));
    assert_eq!(with(RemoteAs::Internal, 64600, 64512), Err(format!("the peer is of AS 64512, it should be our own, 64600: {sent}")));
    assert_eq!(with(RemoteAs::External, 64600, 64600), Err(format!("the peer is of AS 64600, it should not be our own: {sent}")));
}

#[test]
fn two_routers_of_one_as_have_two_identifiers() {
    let ours = parameters().identifier;
    let mut world = World::at(OpenSent, desired(parameters()));
    world.receives(Message::Open(Open { identifier: ours, ..their_open() }));
    assert_eq!(world.session.state(), OpenConfirm, "RFC 6286: of another AS it may be the same");
    let mut world = World::at(OpenSent, desired(SessionDesired { remote_as: RemoteAs::Internal, local_as: 64512, ..parameters() }));
    world.receives(Message::Open(Open { identifier: ours, ..their_open() }));
    assert_eq!(world.done(), "NOTIFICATION 2/3, close, → Idle");
}

#[test]
fn families_are_those_that_both_speak() {
    let both: BTreeSet<Family> = [Family::V4, Family::V6].into();
    let agreed = |families: &BTreeSet<Family>, multiprotocol: bool, capabilities: Vec<Capability>| {
        let session = SessionDesired { families: families.clone(), multiprotocol, ..parameters() };
        let mut world = World::at(OpenSent, desired(session));
        world.receives(Message::Open(Open { capabilities, ..their_open() }));
        world.status().agreed.map(|agreed| agreed.families)
    };
    let (v4, v6): (BTreeSet<_>, BTreeSet<_>) = ([Family::V4].into(), [Family::V6].into());
    let only = |family: Family| vec![Capability::Multiprotocol(family.into())];
    assert_eq!(agreed(&both, true, capabilities()), Some(both.clone()));
    assert_eq!(agreed(&both, true, only(Family::V6)), Some(v6.clone()));
    assert_eq!(agreed(&both, true, vec![]), Some(v4.clone()), "without the capability it is IPv4 (RFC 4760 §8)");
    assert_eq!(agreed(&v4, false, only(Family::V4)), Some(v4.clone()), "disableMP");
    assert_eq!(agreed(&v6, false, only(Family::V6)), Some(v6.clone()), "disableMP means nothing for IPv6");
    assert_eq!(agreed(&v4, true, only(Family::V6)), None);
    let mut world = World::at(OpenSent, desired(SessionDesired { families: v6, ..parameters() }));
    world.receives(Message::Open(Open { capabilities: vec![], ..their_open() }));
    let messages = world.messages();
    let [Message::Notification(notification)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((notification.code, &notification.data[..]), (Code::UNSUPPORTED_CAPABILITY, &[1, 4, 0, 2, 0, 1][..]));
    let failure = world.status().last_failure.unwrap().to_string();
    assert_eq!(failure, "the peer does not speak IPv6 on this session: sent OPEN Message Error/Unsupported Capability");
}

#[test]
fn our_open_offers_what_we_can() {
    let session =
        SessionDesired { local_as: 4_200_000_000, families: [Family::V4, Family::V6].into(), restart_time: Some(120), ..parameters() };
    let families = [Family::V4, Family::V6].map(|family| RestartFamily { family: family.into(), forwarding: true }).to_vec();
    let expected = |restarting| Open {
        my_as: 23456,
        hold_time: 90,
        identifier: parameters().identifier,
        capabilities: vec![
            Capability::Multiprotocol(Family::V4.into()),
            Capability::Multiprotocol(Family::V6.into()),
            Capability::RouteRefresh,
            Capability::ExtendedNextHop(vec![ExtendedNextHop { afi: 1, safi: 1, next_hop_afi: 2 }]),
            Capability::ExtendedMessage,
            Capability::GracefulRestart { restarting, notification: true, restart_time: 120, families: families.clone() },
            Capability::FourOctetAs(4_200_000_000),
            Capability::EnhancedRouteRefresh,
        ],
    };
    let mut world = World::new(desired(session.clone()));
    world.connects();
    assert_eq!(world.our_open(), expected(false));
    // Who has taken over says so until a session is up, and not after that (RFC 4724 §3).
    let mut world = World::with(Session::new(1, Some(Restart { forwarding: true })), desired(session));
    world.connects();
    assert_eq!(world.our_open(), expected(true));
    world.fails("closed by the peer");
    world.expires(|status| status.retry_in);
    world.bring(Established, their_open());
    assert_eq!(world.our_open(), expected(true));
    world.fails("closed by the peer");
    world.expires(|status| status.retry_in);
    world.connects();
    assert_eq!(world.our_open(), expected(false));
    let mut plain = World::new(desired(SessionDesired { multiprotocol: false, ..parameters() }));
    plain.connects();
    assert!(plain.our_open().capabilities.iter().all(|capability| !matches!(capability.code(), 1 | 5)), "disableMP");
}

#[test]
fn what_the_peer_cannot_bear_is_left_out_next_time_and_offered_again_after_that() {
    let offered = |world: &mut World| {
        world.expires(|status| status.retry_in);
        world.out.clear();
        world.connects();
        world.our_open().capabilities.iter().map(Capability::code).collect::<Vec<_>>()
    };
    let refused = |world: &mut World, code: Code, data: &[u8]| {
        world.receives(Message::Notification(Notification { code, data: data.to_vec() }));
    };
    let mut world = World::at(OpenSent, desired(parameters()));
    refused(&mut world, Code::UNSUPPORTED_OPTIONAL_PARAMETER, &[]);
    assert_eq!(offered(&mut world), [0; 0], "an old router without capabilities");
    refused(&mut world, Code::UNSUPPORTED_OPTIONAL_PARAMETER, &[]);
    assert_eq!(offered(&mut world), [1, 2, 5, 6, 65, 70]);
    refused(&mut world, Code::UNSUPPORTED_CAPABILITY, &[6, 0]);
    assert_eq!(offered(&mut world), [1, 2, 5, 65, 70]);
    refused(&mut world, Code::UNSUPPORTED_CAPABILITY, &[70, 0]);
    assert_eq!(offered(&mut world), [1, 2, 5, 65]);
    refused(&mut world, Code::BAD_PEER_AS, &[]);
    assert_eq!(offered(&mut world), [1, 2, 5, 6, 65, 70], "another reason: everything again");
    // A session that came up without them and is lost: the router may be a newer one now.
    refused(&mut world, Code::UNSUPPORTED_OPTIONAL_PARAMETER, &[]);
    assert_eq!(offered(&mut world), [0; 0]);
    world.receives(Message::Open(Open { capabilities: vec![], ..their_open() }));
    world.receives(Message::Keepalive);
    assert_eq!(world.session.state(), Established);
    world.fails("closed by the peer");
    assert_eq!(offered(&mut world), [1, 2, 5, 6, 65, 70]);
    let mut v6 = World::at(OpenSent, desired(SessionDesired { families: [Family::V6].into(), ..parameters() }));
    refused(&mut v6, Code::UNSUPPORTED_OPTIONAL_PARAMETER, &[]);
    assert_eq!(offered(&mut v6), [1], "IPv6 needs it");
}

#[test]
fn why_a_router_refuses_is_kept_in_its_words() {
    let mut world = World::at(OpenSent, desired(parameters()));
    world.receives(Message::Notification(Notification::with_text(Code::ADMINISTRATIVE_SHUTDOWN, "maintenance until 20:00")));
    let failure = world.status().last_failure.unwrap();
    assert_eq!(failure.to_string(), "the peer sent Cease/Administrative Shutdown (\"maintenance until 20:00\")");
    assert!(matches!(failure, Failure::Received(notification) if notification.code == Code::ADMINISTRATIVE_SHUTDOWN));
    world.expires(|status| status.retry_in);
    world.connects();
    world.fails("closed by the peer");
    assert_eq!(world.status().last_failure.unwrap().to_string(), "closed by the peer");
}

#[test]
fn a_farewell_says_why_and_is_hard_where_notifications_are_graceful() {
    let graceful = SessionDesired { restart_time: Some(120), ..parameters() };
    let farewell = |session: &SessionDesired, capability: Option<Capability>, ending: Ending| {
        let open = Open { capabilities: capabilities().into_iter().chain(capability).collect(), ..their_open() };
        let mut world = World::brought(Established, desired(session.clone()), open);
        world.out.clear();
        world.set(|desired| (desired.session, desired.ending) = (None, ending));
        assert_eq!(world.session.poll_timeout(), None);
        assert!(matches!(world.out.last(), Some(Action::StateChanged { to: Idle, .. })));
        world.messages()
    };
    let shutdown = || Ending::Shutdown("node drained".to_owned());
    let said = Notification::with_text(Code::ADMINISTRATIVE_SHUTDOWN, "node drained");
    assert_eq!(farewell(&parameters(), None, shutdown()), [Message::Notification(said.clone())]);
    assert_eq!(farewell(&graceful, Some(restart(false)), shutdown()), [Message::Notification(said.clone())]);
    assert_eq!(farewell(&graceful, Some(restart(true)), shutdown()), [Message::Notification(said.into_hard_reset())]);
    let removed = Notification::from(Code::PEER_DE_CONFIGURED);
    assert_eq!(farewell(&parameters(), None, Ending::Deconfigured), [Message::Notification(removed.clone())]);
    assert_eq!(farewell(&graceful, Some(restart(true)), Ending::Deconfigured), [Message::Notification(removed.into_hard_reset())]);
    assert_eq!(farewell(&graceful, Some(restart(true)), Ending::Silent), [], "restart in place: the routes stay");
}

#[test]
fn after_a_restart_the_peers_bfd_may_end_before_it_is_dialled() {
    let bfd = Bfd { desired_min_tx: SECOND / 10, required_min_rx: SECOND / 5, detect_mult: 3, passive: false, minimum_ttl: 254 };
    let graceful = SessionDesired { restart_time: Some(120), ..parameters() };
    let wanted = Desired { bfd: Some(bfd), ..desired(graceful) };
    let again = || Session::new(1, Some(Restart { forwarding: true }));
    let mut world = World::with(again(), wanted.clone());
    assert_eq!((world.done().as_str(), world.session.state()), ("", Idle));
    assert_eq!(world.status().retry_in, Some(SECOND * 9 / 10), "three times 200 ms, and the handover");
    world.expires(|status| status.retry_in);
    assert_eq!(world.done(), "connect, → Connect");
    // Nobody waits who does not ask for help, or whom nobody watches, or before whom nobody spoke.
    for (session, wanted) in [
        (again(), Desired { session: Some(parameters()), ..wanted.clone() }),
        (again(), Desired { bfd: None, ..wanted.clone() }),
        (Session::new(1, None), wanted),
    ] {
        assert_eq!(World::with(session, wanted).done(), "connect, → Connect");
    }
}

#[test]
fn another_configuration_begins_the_session_anew() {
    let session = SessionDesired { restart_time: Some(120), ..parameters() };
    let mut world = World::at(Established, desired(session));
    world.set(|desired| desired.session.as_mut().unwrap().hold_time = 30);
    assert_eq!(world.done(), "NOTIFICATION 6/6, close, → Idle, connect, → Connect");
    assert_eq!(world.connection, 2);
}

#[test]
fn what_the_peer_announces_is_checked_and_forgotten() {
    let mut world = World::at(Established, desired(parameters()));
    let nlri = Nlri::V4((0..1000u32).map(|n| ipnet::Ipv4Net::new(Ipv4Addr::from_bits(n << 8), 24).unwrap()).collect());
    let update = Update { unreachable: Some(nlri), ..Update::default() };
    for _ in 0..1000 {
        world.receives(Message::Update(update.clone()));
    }
    assert_eq!((world.done(), world.status().received.updates), (String::new(), 1000));
    let fault =
        lanlord::wire::bgp::Fault { attribute: 1, reaction: lanlord::wire::bgp::Reaction::TreatAsWithdraw, what: "its length is not 1" };
    let received = Received { message: Message::Update(update), faults: vec![fault] };
    world.handle(Event::Received { connection: world.connection, received });
    assert_eq!((world.done(), world.status().faults), ("path attribute 1: its length is not 1".to_owned(), 1));
}

#[test]
fn the_codec_follows_the_opens() {
    let mut world = World::at(OpenSent, desired(parameters()));
    assert_eq!(world.session.codec(), Codec::default());
    world.receives(Message::Open(their_open()));
    let codec = Codec { takes_extended: true, four_octet_as: true, ..Codec::default() };
    assert_eq!(world.session.codec(), codec, "we take long messages from whoever was told so (RFC 8654 §4)");
    world.fails("closed by the peer");
    assert_eq!(world.session.codec(), Codec::default());
    // RFC 6793 §4.2.2: an old peer gets two octets.
    let mut world = World::at(OpenSent, desired(SessionDesired { local_as: 4_200_000_000, ..parameters() }));
    world.receives(Message::Open(Open { capabilities: vec![], ..their_open() }));
    assert_eq!(world.session.codec(), Codec { takes_extended: true, ..Codec::default() });
}
