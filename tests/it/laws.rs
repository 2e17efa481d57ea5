//! The laws of `machine.rs`, checked for every machine with random scripts. A new machine: implement [`Subject`], add one test.

mod membership;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::{Family, MacAddr, solicited_node};
use lanlord::bfd;
use lanlord::bfd::desired::{SessionDesired, SessionKey};
use lanlord::bfd::sessions::Sessions;
use lanlord::bgp;
use lanlord::bgp::desired::{PeerKey, SessionDesired as SessionParameters};
use lanlord::bgp::peers::Peers;
use lanlord::bgp::session::{NextHops, Restart, Session};
use lanlord::facts::{Answer, LeaderRecord, LinkName, Member, Question, Questions};
use lanlord::l2::arp::{self, Arp};
use lanlord::l2::asker::{self, Asker};
use lanlord::l2::conflicts::{self, Conflicts};
use lanlord::l2::desired::LinkDesired;
use lanlord::l2::ndp::{self, Ndp};
use lanlord::l2::{Action, Protocol, State};
use lanlord::leader::election::{self, Elector};
use lanlord::machine::{Instant, Machine};
use lanlord::membership::own::{self, OwnLease};
use lanlord::wire;
use lanlord::wire::bgp::{Capability, Code, Message, Notification, Open, RefreshSubtype, RouteRefresh, Update};

/// A machine under the laws, and how to make scripts for it.
pub(crate) trait Subject {
    type Machine: Machine<Desired: Debug, Event: Clone + Debug, Action: PartialEq + Debug>;

    /// A fresh machine.
    fn machine(seed: u64) -> Self::Machine;
    /// Some desired set, small enough that scripts meet the same things again.
    fn desired(rng: &mut fastrand::Rng) -> <Self::Machine as Machine>::Desired;
    /// Some event, likely and unlikely ones.
    fn event(rng: &mut fastrand::Rng) -> <Self::Machine as Machine>::Event;
    /// The empty desired set, for protocols (laws 5 and 6); `None` for others.
    fn nothing() -> Option<<Self::Machine as Machine>::Desired>;
    /// Whether an action may still come after the empty set has been told to the network. Default: none may.
    fn is_silence(_action: &<Self::Machine as Machine>::Action) -> bool {
        false
    }
}

/// Seeds × steps per machine.
const SEEDS: u64 = 60;
const STEPS: usize = 150;

/// Runs one random script; checks laws 1 and 2 on the way, and 4 by surviving. Returns machine, time, and everything it did.
fn play<S: Subject>(seed: u64) -> (S::Machine, Instant, Vec<<S::Machine as Machine>::Action>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut machine, mut now) = (S::machine(seed), Instant::from_nanos(1_000_000_000_000));
    let (mut all, mut out) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        match rng.u32(0..10) {
            0 => machine.set(Arc::new(S::desired(&mut rng)), now, &mut out),
            1..6 => machine.handle(S::event(&mut rng), now, &mut out),
            6..8 => now = now + Duration::from_micros(rng.u64(0..3_000_000)),
            _ => now = machine.poll_timeout().unwrap_or(now).max(now),
        }
        all.append(&mut out);
        if machine.poll_timeout().is_some_and(|due| due > now) {
            machine.handle_timeout(now, &mut out);
            assert!(out.is_empty(), "law 2: an early timeout did {out:?}");
        }
        machine.handle_timeout(now, &mut out);
        all.append(&mut out);
        assert!(machine.poll_timeout().is_none_or(|due| due > now), "law 1: the next deadline is not later than now");
        machine.handle_timeout(now, &mut out);
        assert!(out.is_empty(), "law 2: a repeated timeout did {out:?}");
    }
    (machine, now, all)
}

/// All laws for one machine.
pub(crate) fn obeys_the_laws<S: Subject>() {
    let mut did_something = false;
    for seed in 0..SEEDS {
        let (mut machine, mut now, first) = play::<S>(seed);
        did_something |= !first.is_empty();
        assert_eq!(first, play::<S>(seed).2, "law 3: seed {seed} acted differently the second time");
        let mut out = Vec::new();
        let desired = Arc::new(S::desired(&mut fastrand::Rng::with_seed(seed)));
        let Some(nothing) = S::nothing() else { continue };
        machine.set(Arc::clone(&desired), now, &mut out);
        out.clear();
        machine.set(desired, now, &mut out);
        assert!(out.is_empty(), "law 5: the same desired set did {out:?}");
        machine.set(Arc::new(nothing), now, &mut out);
        for _ in 0..1000 {
            let Some(due) = machine.poll_timeout() else { break };
            now = due;
            machine.handle_timeout(now, &mut out);
        }
        assert_eq!(machine.poll_timeout(), None, "law 6: timers go on without anything desired");
        out.clear();
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..STEPS {
            machine.handle(S::event(&mut rng), now, &mut out);
        }
        assert!(out.iter().all(S::is_silence), "law 6: without anything desired it did {out:?}");
    }
    assert!(did_something, "the scripts never made the machine act");
}

fn mac(rng: &mut fastrand::Rng) -> MacAddr {
    let few = [MacAddr::ZERO, MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]), MacAddr([2, 0, 0, 0, 0, 3])];
    few[rng.usize(..few.len())]
}

fn v4(rng: &mut fastrand::Rng) -> Ipv4Addr {
    if rng.u8(..6) == 0 { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::new(10, 0, 0, rng.u8(..8)) }
}

/// Two addresses of each solicited-node group.
fn v6(rng: &mut fastrand::Rng) -> Ipv6Addr {
    if rng.u8(..6) == 0 { Ipv6Addr::UNSPECIFIED } else { Ipv6Addr::new(0xfd00, 0, 0, rng.u16(..2), 0, 0, 0, rng.u16(..4)) }
}

fn link_desired(rng: &mut fastrand::Rng) -> LinkDesired {
    let intervals = [None, Some(Duration::ZERO), Some(Duration::from_secs(60))];
    let addresses = (0..rng.usize(..6)).map(|_| {
        let address = if rng.bool() { IpAddr::V4(Ipv4Addr::new(10, 0, 0, rng.u8(..8))) } else { v6(rng).into() };
        (address, Arc::from("default/a"))
    });
    let addresses = addresses.collect();
    let known_macs = (0..rng.usize(..2)).map(|_| mac(rng)).collect();
    let some: Vec<IpAddr> =
        (0..rng.usize(..6)).map(|_| if rng.bool() { Ipv4Addr::new(10, 0, 0, rng.u8(..8)).into() } else { v6(rng).into() }).collect();
    let fresh = some.iter().filter(|_| rng.bool()).copied().collect();
    let successors = some.iter().map(|address| (*address, [mac(rng)].into())).collect();
    let watched = if rng.bool() {
        ["10.0.0.0/30", "fd00::/96"].map(|range| range.parse().unwrap()).into_iter().collect()
    } else {
        Default::default()
    };
    LinkDesired {
        index: 2,
        mac: MacAddr([2, 0, 0, 0, 0, rng.u8(..2)]),
        known_macs,
        addresses,
        fresh,
        successors: Arc::new(successors),
        watched,
        announce_interval: intervals[rng.usize(..3)],
        promiscuous: rng.bool(),
        until_heard: rng.u8(..4) == 0,
        leaving: rng.u8(..8) == 0,
    }
}

struct ArpSubject;

impl Subject for ArpSubject {
    type Machine = Arp;

    fn machine(seed: u64) -> Arp {
        Arp::new(seed)
    }

    fn desired(rng: &mut fastrand::Rng) -> LinkDesired {
        link_desired(rng)
    }

    fn event(rng: &mut fastrand::Rng) -> arp::Event {
        let operation = if rng.bool() { wire::arp::Operation::Request } else { wire::arp::Operation::Reply };
        let packet = wire::arp::Packet { operation, sha: mac(rng), spa: v4(rng), tha: mac(rng), tpa: v4(rng) };
        arp::Event::Received { destination: mac(rng), packet }
    }

    fn nothing() -> Option<LinkDesired> {
        Some(nothing_on_the_link())
    }
}

struct NdpSubject;

impl Subject for NdpSubject {
    type Machine = Ndp;

    fn machine(seed: u64) -> Ndp {
        Ndp::new(seed)
    }

    fn desired(rng: &mut fastrand::Rng) -> LinkDesired {
        link_desired(rng)
    }

    fn event(rng: &mut fastrand::Rng) -> ndp::Event {
        let (target, option) = (v6(rng), rng.bool().then(|| mac(rng)));
        let message = if rng.bool() {
            wire::ndp::Message::NeighborSolicitation { target, source_link_layer_address: option }
        } else {
            let [router, solicited, override_] = [rng.bool(), rng.bool(), rng.bool()];
            wire::ndp::Message::NeighborAdvertisement { router, solicited, override_, target, target_link_layer_address: option }
        };
        let packet = wire::ndp::Packet { source: v6(rng), destination: solicited_node(target), message };
        ndp::Event::Received { source: mac(rng), packet }
    }

    fn nothing() -> Option<LinkDesired> {
        Some(nothing_on_the_link())
    }
}

struct AskerSubject;

impl Subject for AskerSubject {
    type Machine = Asker;

    fn machine(_seed: u64) -> Asker {
        Asker::default()
    }

    fn desired(rng: &mut fastrand::Rng) -> Questions {
        let question = |_| Question { link: "eth0".into(), address: v4(rng).into(), mac: rng.bool().then(|| mac(rng)) };
        (0..3).map(question).collect()
    }

    fn event(rng: &mut fastrand::Rng) -> asker::Event {
        asker::Event::Heard { address: v4(rng).into(), mac: mac(rng) }
    }

    fn nothing() -> Option<Questions> {
        Some(Questions::new())
    }
}

struct ConflictsSubject;

impl Subject for ConflictsSubject {
    type Machine = Conflicts;

    fn machine(_seed: u64) -> Conflicts {
        Conflicts::default()
    }

    fn desired(rng: &mut fastrand::Rng) -> BTreeSet<LinkName> {
        ["eth0", "eth1"].into_iter().filter(|_| rng.u8(..4) > 0).map(LinkName::new).collect()
    }

    fn event(rng: &mut fastrand::Rng) -> conflicts::Event {
        let link = LinkName::new(["eth0", "eth1"][rng.usize(..2)]);
        let (address, mac) = (v4(rng).into(), mac(rng));
        if rng.bool() {
            return conflicts::Event::Claimed { link, address, mac };
        }
        let answer = Answer { unanswered: rng.u32(..5), mac: rng.bool().then_some(mac) };
        conflicts::Event::Answered(Question { link, address, mac: Some(mac) }, answer)
    }

    fn nothing() -> Option<BTreeSet<LinkName>> {
        Some(BTreeSet::new())
    }
}

#[test]
fn conflicts_obey_the_laws() {
    obeys_the_laws::<ConflictsSubject>();
}

#[test]
fn the_asker_obeys_the_laws() {
    obeys_the_laws::<AskerSubject>();
}

fn nothing_on_the_link() -> LinkDesired {
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    LinkDesired { index: 2, mac, announce_interval: Some(Duration::from_secs(60)), ..LinkDesired::default() }
}

struct BfdSubject;

impl BfdSubject {
    fn interval(rng: &mut fastrand::Rng) -> u32 {
        [0, 1, 20_000, 300_000, 2_000_000, u32::MAX][rng.usize(..6)]
    }
}

impl Subject for BfdSubject {
    type Machine = Sessions;

    fn machine(seed: u64) -> Sessions {
        Sessions::new(seed)
    }

    fn desired(rng: &mut fastrand::Rng) -> bfd::desired::Desired {
        let sessions = (0..rng.usize(..5)).map(|_| {
            let key = SessionKey { link: "eth0".into(), peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, rng.u8(..6))), port: 3784 };
            let session = SessionDesired {
                index: rng.u32(2..4),
                local: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)),
                desired_min_tx: Duration::from_micros(Self::interval(rng).into()),
                required_min_rx: Duration::from_micros(Self::interval(rng).into()),
                detect_mult: rng.u8(..4),
                minimum_ttl: [0, 255][rng.usize(..2)],
                passive: rng.bool(),
                concatenated_path_down: rng.bool(),
            };
            (key, session)
        });
        bfd::desired::Desired { sessions: sessions.collect(), silent: rng.u8(..8) == 0 }
    }

    fn event(rng: &mut fastrand::Rng) -> bfd::sessions::Event {
        // Discriminators cannot be guessed, so random packets do not come further than Init; pairs of machines do.
        let states = [wire::bfd::State::AdminDown, wire::bfd::State::Down, wire::bfd::State::Down, wire::bfd::State::Up];
        let state = states[rng.usize(..4)];
        let packet = wire::bfd::Packet {
            diagnostic: wire::bfd::Diagnostic(rng.u8(..32)),
            state,
            poll: rng.bool(),
            final_: rng.bool(),
            control_plane_independent: rng.bool(),
            demand: rng.bool(),
            detect_mult: rng.u8(1..),
            my_discriminator: rng.u32(1..3),
            your_discriminator: u32::from(state == wire::bfd::State::Up),
            desired_min_tx_interval: Self::interval(rng),
            required_min_rx_interval: Self::interval(rng),
            required_min_echo_rx_interval: 0,
        };
        let packet = if rng.u8(..8) == 0 { Err(wire::DecodeError::Truncated) } else { Ok(packet) };
        let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, rng.u8(..8)));
        bfd::sessions::Event::Received { link: "eth0".into(), source, port: 3784, ttl: [64, 255][rng.usize(..2)], packet }
    }

    fn nothing() -> Option<bfd::desired::Desired> {
        Some(bfd::desired::Desired::default())
    }
}

struct BgpSubject;

/// A session whose scripts cannot know the numbers of connections: 0 stands for the last one.
struct LastConnection(Session, u64);

impl Machine for LastConnection {
    type Desired = bgp::desired::Desired;
    type Event = bgp::session::Event;
    type Action = bgp::session::Action;

    fn set(&mut self, desired: Arc<Self::Desired>, now: Instant, out: &mut Vec<Self::Action>) {
        self.0.set(desired, now, out);
        self.note(out);
    }

    fn handle(&mut self, mut event: Self::Event, now: Instant, out: &mut Vec<Self::Action>) {
        Self::stand_in(&mut event, self.1);
        self.0.handle(event, now, out);
        self.note(out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Self::Action>) {
        self.0.handle_timeout(now, out);
        self.note(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

impl LastConnection {
    /// The last connection, if the script means it.
    fn stand_in(event: &mut bgp::session::Event, last: u64) {
        use bgp::session::Event;
        match event {
            Event::Connected { connection, .. }
            | Event::Failed { connection, .. }
            | Event::Closed { connection, .. }
            | Event::Received { connection, .. }
            | Event::Malformed { connection, .. }
            | Event::NextHopsChanged { connection, .. }
            | Event::Writable { connection } => *connection = if *connection == 0 { last } else { *connection },
            Event::BfdDown => {}
        }
    }

    fn note(&mut self, out: &[bgp::session::Action]) {
        let dialled = out.iter().rev().find_map(|action| match action {
            bgp::session::Action::Connect { connection, .. } => Some(*connection),
            bgp::session::Action::Send { .. }
            | bgp::session::Action::Close { .. }
            | bgp::session::Action::StateChanged { .. }
            | bgp::session::Action::FaultFound(_) => None,
        });
        self.1 = dialled.unwrap_or(self.1);
    }
}

impl BgpSubject {
    fn open(rng: &mut fastrand::Rng) -> Open {
        let restart = Capability::GracefulRestart { restarting: rng.bool(), notification: rng.bool(), restart_time: 120, families: vec![] };
        let all = [
            Capability::Multiprotocol(Family::V4.into()),
            Capability::Multiprotocol(Family::V6.into()),
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessage,
            Capability::FourOctetAs(64512),
            restart,
        ];
        let capabilities = all.into_iter().filter(|_| rng.u8(..4) > 0).collect();
        let my_as = if rng.u8(..8) == 0 { 64513 } else { 64512 };
        Open { my_as, hold_time: [0, 3, 90][rng.usize(..3)], identifier: Ipv4Addr::new(10, 0, 0, rng.u8(1..4)), capabilities }
    }

    fn message(rng: &mut fastrand::Rng) -> Message {
        match rng.u8(..8) {
            0..2 => Message::Open(Self::open(rng)),
            2 => Message::Update(Update::default()),
            3 if rng.u8(..3) == 0 => {
                let code = Code::ALL[rng.usize(..Code::ALL.len())];
                Message::Notification(Notification { code, data: vec![6, 0] })
            }
            4 => {
                let subtype = [RefreshSubtype::Request, RefreshSubtype::Begin][rng.usize(..2)];
                Message::RouteRefresh(RouteRefresh { family: Family::V4.into(), subtype })
            }
            _ => Message::Keepalive,
        }
    }
}

impl Subject for BgpSubject {
    type Machine = LastConnection;

    fn machine(seed: u64) -> LastConnection {
        LastConnection(Session::new(seed, seed.is_multiple_of(2).then_some(Restart { forwarding: true })), 0)
    }

    fn desired(rng: &mut fastrand::Rng) -> bgp::desired::Desired {
        let families = [Family::V4, Family::V6].into_iter().filter(|family| *family == Family::V4 || rng.bool()).collect();
        let session = SessionParameters {
            hold_time: [0, 1, 3, 90][rng.usize(..4)],
            keepalive_time: [0, 1, 30][rng.usize(..3)],
            connect_retry_time: [None, Some(0), Some(5)][rng.usize(..3)],
            families,
            restart_time: rng.bool().then_some(120),
            ..crate::bgp_session::parameters()
        };
        let prefixes = ["10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/24", "fd00::1/128"];
        let mut routes = bgp::desired::Routes::new();
        for prefix in prefixes {
            let route = bgp::desired::Route { med: rng.bool().then_some(1), ..Default::default() };
            routes.extend(rng.bool().then(|| (prefix.parse().unwrap(), Arc::new(route))));
        }
        bgp::desired::Desired {
            routes: Arc::new(routes),
            // Mostly the same, else no session comes far.
            session: match rng.u8(..4) {
                0 => None,
                1 => Some(session),
                _ => Some(crate::bgp_session::parameters()),
            },
            graceful_shutdown: rng.bool(),
            ending: [bgp::desired::Ending::Silent, bgp::desired::Ending::Deconfigured][rng.usize(..2)].clone(),
            ..Default::default()
        }
    }

    fn event(rng: &mut fastrand::Rng) -> bgp::session::Event {
        use bgp::session::Event;
        let connection = if rng.u8(..8) == 0 { rng.u64(1..8) } else { 0 };
        let next_hops = NextHops { v4: Some(Ipv4Addr::new(10, 0, 0, 9)), ..NextHops::default() };
        match rng.u8(..16) {
            0..4 => Event::Connected { connection, next_hops },
            4 => Event::Failed { connection, reason: "".into() },
            5 if rng.u8(..3) == 0 => Event::BfdDown,
            5 => Event::Closed { connection, reason: "".into() },
            6 if rng.u8(..3) == 0 => {
                let notification = Code::ALL[rng.usize(..Code::ALL.len())].into();
                Event::Malformed { connection, error: wire::bgp::DecodeError { notification, what: "wrong" } }
            }
            6..9 => Event::Writable { connection },
            9 => Event::NextHopsChanged {
                connection,
                next_hops: NextHops { v4: rng.bool().then_some(Ipv4Addr::new(10, 0, 0, 8)), ..next_hops },
            },
            _ => Event::Received { connection, received: Self::message(rng).into() },
        }
    }

    fn nothing() -> Option<bgp::desired::Desired> {
        Some(bgp::desired::Desired::default())
    }
}

#[test]
fn bgp_obeys_the_laws_and_comes_to_every_state() {
    obeys_the_laws::<BgpSubject>();
    let mut reached = BTreeSet::new();
    for seed in 0..SEEDS {
        for action in play::<BgpSubject>(seed).2 {
            if let bgp::session::Action::StateChanged { to, .. } = action {
                reached.insert(to);
            }
        }
    }
    assert_eq!(reached.len(), 6, "only {reached:?}");
}

struct PeersSubject;

/// All peers; of each the last connection stands for 0, as in [`LastConnection`].
struct LastConnections(Peers, BTreeMap<PeerKey, u64>);

impl LastConnections {
    fn note(&mut self, out: &[bgp::peers::Action]) {
        for bgp::peers::Action { peer, action } in out {
            if let bgp::session::Action::Connect { connection, .. } = action {
                let before = self.1.insert(peer.clone(), *connection);
                assert!(before < Some(*connection), "no number is used twice");
            }
        }
    }
}

impl Machine for LastConnections {
    type Desired = bgp::desired::PeersDesired;
    type Event = bgp::peers::Event;
    type Action = bgp::peers::Action;

    fn set(&mut self, desired: Arc<Self::Desired>, now: Instant, out: &mut Vec<Self::Action>) {
        let before = out.len();
        self.0.set(desired, now, out);
        self.note(&out[before..]);
    }

    fn handle(&mut self, event: Self::Event, now: Instant, out: &mut Vec<Self::Action>) {
        let before = out.len();
        let event = match event {
            bgp::peers::Event::Session { peer, mut event } => {
                LastConnection::stand_in(&mut event, self.1.get(&peer).copied().unwrap_or_default());
                bgp::peers::Event::Session { peer, event }
            }
            bgp::peers::Event::Leave | bgp::peers::Event::Silence => event,
        };
        self.0.handle(event, now, out);
        self.note(&out[before..]);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Self::Action>) {
        let before = out.len();
        self.0.handle_timeout(now, out);
        self.note(&out[before..]);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

impl Subject for PeersSubject {
    type Machine = LastConnections;

    fn machine(seed: u64) -> LastConnections {
        LastConnections(Peers::new(seed, seed.is_multiple_of(2).then_some(Restart { forwarding: true })), BTreeMap::new())
    }

    fn desired(rng: &mut fastrand::Rng) -> bgp::desired::PeersDesired {
        let some = ["a", "b", "c"].into_iter().filter(|_| rng.u8(..4) > 0).collect::<Vec<_>>();
        some.into_iter().map(|name| (name.into(), BgpSubject::desired(rng))).collect()
    }

    fn event(rng: &mut fastrand::Rng) -> bgp::peers::Event {
        match rng.u8(..200) {
            0 => bgp::peers::Event::Leave,
            1 => bgp::peers::Event::Silence,
            _ => bgp::peers::Event::Session { peer: ["a", "b", "c"][rng.usize(..3)].into(), event: BgpSubject::event(rng) },
        }
    }

    fn nothing() -> Option<bgp::desired::PeersDesired> {
        Some(bgp::desired::PeersDesired::new())
    }
}

#[test]
fn all_bgp_peers_together_obey_the_laws() {
    obeys_the_laws::<PeersSubject>();
}

/// A version that is sometimes older than another.
fn version(rng: &mut fastrand::Rng) -> String {
    rng.u8(1..20).to_string()
}

struct ElectorSubject;

impl Subject for ElectorSubject {
    type Machine = Elector;

    fn machine(seed: u64) -> Elector {
        Elector::new("a/1".to_owned(), fastrand::Rng::with_seed(seed))
    }

    fn desired(rng: &mut fastrand::Rng) -> election::Desired {
        election::Desired { stand: rng.u8(..4) > 0, heard_by_all: rng.bool() }
    }

    fn event(rng: &mut fastrand::Rng) -> election::Event {
        let record = |rng: &mut fastrand::Rng, holders: &[Option<&str>]| LeaderRecord {
            holder: holders[rng.usize(..holders.len())].map(ToOwned::to_owned),
            lease_duration: [0, 1, 30, u32::MAX][rng.usize(..4)],
            transitions: rng.u32(..3),
            acquired: None,
            resource_version: version(rng),
        };
        match rng.u8(..4) {
            0 => election::Event::Failed,
            1 => election::Event::Written(record(rng, &[Some("a/1"), None])),
            _ => {
                let record = (rng.u8(..5) > 0).then(|| record(rng, &[Some("a/1"), Some("a/0"), Some("b/1"), None]));
                election::Event::Observed { record, holder_lost: rng.bool(), holder_heard: rng.bool() }
            }
        }
    }

    fn nothing() -> Option<election::Desired> {
        None
    }
}

struct OwnLeaseSubject;

impl Subject for OwnLeaseSubject {
    type Machine = OwnLease;

    fn machine(seed: u64) -> OwnLease {
        OwnLease::new("n1".into(), "me".to_owned(), fastrand::Rng::with_seed(seed))
    }

    fn desired(rng: &mut fastrand::Rng) -> own::Desired {
        let config = (rng.u8(..4) > 0).then(|| version(rng));
        own::Desired { known: rng.u8(..6) > 0, config, leave: rng.u8(..60) == 0, ..own::Desired::default() }
    }

    fn event(rng: &mut fastrand::Rng) -> own::Event {
        let member = |rng: &mut fastrand::Rng, instances: &[Option<&str>]| Member {
            node: "n1".into(),
            instance: instances[rng.usize(..instances.len())].map(ToOwned::to_owned),
            generation: rng.u32(..3),
            config: rng.bool().then(|| version(rng)),
            resource_version: version(rng),
            ..Member::default()
        };
        match rng.u8(..30) {
            0..5 => own::Event::Failed,
            5..12 => own::Event::Written(member(rng, &[Some("me"), Some("me"), None])),
            // Rare: the machine falls silent for good.
            12 => own::Event::Observed { member: Some(Arc::new(member(rng, &[Some("newer")]))), node_exists: true },
            _ => {
                let member = (rng.u8(..5) > 0).then(|| Arc::new(member(rng, &[Some("me"), Some("me"), None])));
                own::Event::Observed { member, node_exists: rng.u8(..6) > 0 }
            }
        }
    }

    fn nothing() -> Option<own::Desired> {
        None
    }
}

#[test]
fn the_elector_obeys_the_laws() {
    obeys_the_laws::<ElectorSubject>();
}

#[test]
fn the_own_lease_obeys_the_laws() {
    obeys_the_laws::<OwnLeaseSubject>();
}

/// Laws 5 and 6, as far as they apply to machines that want something for themselves: the same twice does nothing the second time, and
/// who does not want to lead, or has left, writes nothing more, whatever happens.
#[test]
fn who_does_not_stand_or_has_left_falls_silent() {
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut out = Vec::new();
        let (mut elector, mut now, _) = play::<ElectorSubject>(seed);
        elector.set(Arc::new(election::Desired { stand: false, heard_by_all: false }), now, &mut out);
        out.clear();
        elector.set(Arc::new(election::Desired { stand: false, heard_by_all: false }), now, &mut out);
        for _ in 0..STEPS {
            // An answer that says that it holds the Lease after all is left out: that Lease it gives back.
            let event = Some(ElectorSubject::event(&mut rng)).filter(|event| !matches!(event, election::Event::Written(_)));
            event.into_iter().for_each(|event| elector.handle(event, now, &mut out));
            now = elector.poll_timeout().unwrap_or(now + Duration::from_secs(1));
            elector.handle_timeout(now, &mut out);
        }
        assert_eq!(out, [], "seed {seed}: an elector that does not stand acts");

        let mut out = Vec::new();
        let (mut lease, mut now, _) = play::<OwnLeaseSubject>(seed);
        let leave = Arc::new(own::Desired { leave: true, ..own::Desired::default() });
        lease.set(leave.clone(), now, &mut out);
        out.clear();
        lease.set(leave, now, &mut out);
        assert_eq!(out, [], "seed {seed}: leaving twice");
        for _ in 0..STEPS {
            lease.handle(OwnLeaseSubject::event(&mut rng), now, &mut out);
            now = lease.poll_timeout().unwrap_or(now + Duration::from_secs(1));
            lease.handle_timeout(now, &mut out);
        }
        lease.handle_timeout(now + Duration::from_secs(10), &mut out);
        assert!(matches!(lease.state(), own::State::Left | own::State::Superseded), "seed {seed}: {:?}", lease.state());
        assert_eq!(lease.poll_timeout(), None);
        let after = out.len();
        lease.handle(OwnLeaseSubject::event(&mut rng), now, &mut out);
        assert_eq!(out.len(), after, "seed {seed}: acts after it left");
    }
}

#[test]
fn arp_obeys_the_laws() {
    obeys_the_laws::<ArpSubject>();
}

#[test]
fn ndp_obeys_the_laws() {
    obeys_the_laws::<NdpSubject>();
}

#[test]
fn bfd_obeys_the_laws() {
    obeys_the_laws::<BfdSubject>();
}

#[test]
fn groups_and_states_of_ndp_always_balance() {
    for seed in 0..SEEDS {
        let (mut machine, now, mut all) = play::<NdpSubject>(seed);
        machine.set(Arc::new(nothing_on_the_link()), now, &mut all);
        let (mut joined, mut announcing) = (BTreeSet::new(), BTreeSet::new());
        for action in all {
            match action {
                Action::JoinGroup(group) => assert!(joined.insert(group), "{group} joined twice"),
                Action::LeaveGroup(group) => assert!(joined.remove(&group), "{group} left but not joined"),
                Action::StateChanged { address, to: State::Announcing, .. } => drop(announcing.insert(address)),
                Action::StateChanged { to: State::Yielding, .. } | Action::Sighted { .. } => {}
                Action::StateChanged { address, to: State::Silent, .. } => assert!(announcing.remove(&address)),
                Action::Send { address, .. } | Action::Conflict { address, .. } | Action::MemberClaim { address, .. } => {
                    assert!(announcing.contains(&address));
                }
            }
        }
        assert!(joined.is_empty() && announcing.is_empty());
    }
}
