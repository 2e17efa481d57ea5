//! What people are told of BGP peers: every failure with what to check, once, and not at every breath of a router that restarts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lanlord::addr::Family;
use lanlord::bfd;
use lanlord::bgp::desired::{Desired, Password, PeerKey};
use lanlord::bgp::diary::{Diary, Entry};
use lanlord::bgp::status::State::{self, Established, Idle, OpenSent};
use lanlord::bgp::status::{Failure, NoConnection, PeerStatus, SessionStatus, Status, Trouble};
use lanlord::bgp::trouble::troubles;
use lanlord::wire::bgp::{Code, Message, Notification};

use crate::bgp_session::{self, SECOND, desired, parameters, start};

fn failed(failure: Failure) -> PeerStatus {
    let session = SessionStatus { failed: true, last_failure: Some(failure), ..SessionStatus::default() };
    PeerStatus { session, local: Some("192.168.1.11".parse().unwrap()), ..PeerStatus::default() }
}

fn one(desired: &Desired, status: &PeerStatus) -> Trouble {
    let troubles = troubles(desired, status);
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    troubles.into_iter().next().unwrap()
}

#[test]
fn every_failure_says_what_to_check() {
    let wanted = desired(parameters());
    let received = |code: Code| Failure::Received(code.into());
    let sent = |code: Code| Failure::Sent { notification: code.into(), why: "why".to_owned() };
    for (failure, word) in [
        (Failure::Connection(NoConnection::Refused), "that the router has 192.168.1.11 as a neighbour with AS 64600"),
        (Failure::Connection(NoConnection::Unanswered), "a router that expects a password looks the same"),
        (Failure::Connection(NoConnection::HostUnreachable), "ping it from this node"),
        (Failure::Connection(NoConnection::NetworkUnreachable), "a route to"),
        (Failure::Connection(NoConnection::Closed), "its log says why"),
        (received(Code::BAD_PEER_AS), "compare `myASN`"),
        (received(Code::MAXIMUM_NUMBER_OF_PREFIXES_REACHED), "limit of prefixes"),
        (received(Code::ADMINISTRATIVE_SHUTDOWN), "shut down at the router"),
        (Failure::Received(Notification::from(Code::ADMINISTRATIVE_SHUTDOWN).into_hard_reset()), "shut down at the router"),
        (sent(Code::BAD_PEER_AS), "set `peerASN`"),
        (sent(Code::HOLD_TIMER_EXPIRED), "a firewall may have forgotten the connection"),
    ] {
        let trouble = one(&wanted, &failed(failure.clone()));
        assert!(trouble.action.contains(word) && trouble.reason == "BGPSessionRefused", "{failure:?}: {trouble:?}");
        assert_eq!(trouble.what, failure.to_string());
    }
    // No code is without advice, and none of the advice is empty.
    for code in Code::ALL {
        for failure in [received(*code), sent(*code)] {
            assert!(one(&wanted, &failed(failure)).action.len() > 10, "{code}");
        }
    }
}

#[test]
fn what_is_configured_is_among_what_to_check() {
    let mut wanted = desired(parameters());
    let transport = &mut wanted.session.as_mut().unwrap().transport;
    (transport.password, transport.minimum_ttl, transport.ttl) = (Some(Password("secret".to_owned())), 254, 1);
    let trouble = one(&wanted, &failed(Failure::Connection(NoConnection::Unanswered)));
    for word in ["a wrong password looks the same", "`ttlSecurityHops` takes packets with a TTL of 254", "`ebgpMultiHop: true`"] {
        assert!(trouble.action.contains(word), "{word} is not in {}", trouble.action);
    }
    assert!(!trouble.action.contains("secret"));
    let withheld = Desired { session: None, withheld: Some("there is no Secret tor".to_owned()), ..Desired::default() };
    assert_eq!(one(&withheld, &PeerStatus::default()).what, "no session is begun: there is no Secret tor");
}

#[test]
fn whatever_ends_an_attempt_is_told_also_where_rfc_4271_counts_no_failure() {
    let wanted = desired(parameters());
    // A router that does not know the node accepts and closes: OpenSent, event 18.
    let mut world = bgp_session::World::at(State::Active, wanted.clone());
    let status = |world: &bgp_session::World| PeerStatus { session: world.status(), ..PeerStatus::default() };
    assert_eq!(one(&wanted, &status(&world)).what, "closed by the peer");
    // Nobody answers: the state never changes.
    world = bgp_session::World::at(State::Connect, wanted.clone());
    assert_eq!(troubles(&wanted, &status(&world)), [], "the first attempt");
    world.expires(|status| status.retry_in);
    assert_eq!(one(&wanted, &status(&world)).what, "the peer does not answer");
    // Event 24.
    world = bgp_session::World::at(OpenSent, wanted.clone());
    world.receives(Message::Notification(Code::UNSUPPORTED_VERSION_NUMBER.into()));
    assert!(one(&wanted, &status(&world)).what.contains("Unsupported Version Number"));
    // In another way: a new beginning.
    world.set(|desired| desired.session.as_mut().unwrap().hold_time = 30);
    assert_eq!(troubles(&wanted, &status(&world)), []);
}

#[test]
fn a_session_that_is_up_is_told_what_it_lacks() {
    let wanted = desired(parameters());
    let up =
        SessionStatus { state: Established, last_failure: Some(Failure::Connection(NoConnection::Refused)), ..SessionStatus::default() };
    let up = PeerStatus { session: up, ..PeerStatus::default() };
    assert_eq!(troubles(&wanted, &up), [], "what once went wrong is over");
    let mut lame = PeerStatus { bfd: Some(bfd::status::SessionStatus::default()), ..up };
    assert!(one(&wanted, &lame).what.starts_with("BFD never came up: a loss would be noticed"));
    lame.bfd.as_mut().unwrap().state = bfd::status::State::Up;
    assert_eq!(troubles(&wanted, &lame), []);
    lame.session.without_next_hop = [Family::V6].into();
    lame.session.too_long = ["10.0.0.1/32".parse().unwrap()].into();
    let told: Vec<String> = troubles(&wanted, &lame).into_iter().map(|trouble| trouble.what).collect();
    assert!(told[0].starts_with("IPv6 routes are not announced") && told[1].starts_with("10.0.0.1/32 not announced"), "{told:?}");
}

struct World {
    diary: Diary,
    status: Status,
}

impl World {
    fn new() -> Self {
        Self { diary: Diary::default(), status: Status { at: start(), peers: [(PeerKey::from("tor"), PeerStatus::default())].into() } }
    }

    /// After some time the peer is so.
    fn is(&mut self, after: Duration, state: State, failure: Option<&Failure>) -> Vec<String> {
        self.status.at = self.status.at + after;
        let trouble = |failure: &Failure| Trouble { reason: "BGPSessionRefused", what: failure.to_string(), action: "check it".to_owned() };
        let remote: SocketAddr = "192.168.1.1:179".parse().unwrap();
        let session = SessionStatus { state, ..SessionStatus::default() };
        let troubles = failure.map(trouble).into_iter().collect();
        let peer = PeerStatus { remote: Some(remote), session, troubles, ..PeerStatus::default() };
        self.status.peers.insert(PeerKey(Arc::from("tor")), peer);
        let told = self.diary.due(&self.status).into_iter();
        told.map(|Entry { kind, reason, message }| format!("{kind:?} {reason}: {message}")).collect()
    }
}

const UP: &str = "Normal BGPSessionUp: BGP peer tor (192.168.1.1): the session is up";

#[test]
fn comings_and_goings_are_told_once_and_refusals_only_if_they_last() {
    let (refused, closed) = (Failure::Connection(NoConnection::Refused), Failure::Connection(NoConnection::Closed));
    let mut world = World::new();
    let nothing: [&str; 0] = [];
    assert_eq!(world.is(SECOND, Idle, Some(&refused)), nothing, "the router may be starting");
    assert_eq!(world.is(SECOND, Established, None), [UP]);
    assert_eq!(world.is(SECOND, Established, None), nothing);
    let lost = "Warning BGPSessionDown: BGP peer tor (192.168.1.1): the session is lost: the peer closed the connection; check it";
    assert_eq!(world.is(SECOND, Idle, Some(&closed)), [lost], "at once");
    assert_eq!(world.is(SECOND * 20, Idle, Some(&closed)), nothing, "but not twice");
    assert_eq!(world.is(SECOND, OpenSent, Some(&refused)), nothing);
    assert_eq!(world.diary.next(), Some(world.status.at + SECOND * 5));
    let told = "Warning BGPSessionRefused: BGP peer tor (192.168.1.1): the peer refuses connections; check it";
    assert_eq!(world.is(SECOND * 5, Idle, Some(&refused)), [told]);
    assert_eq!((world.is(SECOND * 60, Idle, Some(&refused)), world.diary.next()), (vec![], None));
    assert_eq!(world.is(SECOND, Established, None), [UP]);
    // Another configuration ends it: that is no news, but that it works is.
    world.diary.unwanted(&PeerKey::from("tor"));
    assert_eq!(world.is(SECOND, Idle, Some(&refused)), nothing);
    assert_eq!(world.is(SECOND, Established, None), [UP]);
}

#[test]
fn a_session_that_comes_and_goes_all_the_time_is_told_ten_times_and_then_once_a_minute() {
    let closed = Failure::Connection(NoConnection::Closed);
    let mut world = World::new();
    let mut told = 0;
    for _ in 0..150 {
        told += world.is(SECOND, Established, None).len();
        told += world.is(SECOND, Idle, Some(&closed)).len();
    }
    assert_eq!(told, 10 + 300 / 60 - 1, "of 300");
}
