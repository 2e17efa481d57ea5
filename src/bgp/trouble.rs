//! What is amiss with a peer, and what to check. A function of what is wanted and what is so, for the same words everywhere: Events,
//! `lanlord status`, the log.

use super::desired::{Desired, SessionDesired};
use super::status::{Failure, NoConnection, PeerStatus, State, Trouble};
use crate::bfd::status::State as BfdState;
use crate::facts::reason;
use crate::wire::bgp::{Code, Notification};

/// All there is, the gravest first; nothing before the first attempt has failed.
pub fn troubles(desired: &Desired, status: &PeerStatus) -> Vec<Trouble> {
    let trouble = |reason, what: String, action: String| Trouble { reason, what, action };
    if let Some(why) = &desired.withheld {
        return vec![trouble(
            reason::BGP_SESSION_REFUSED,
            format!("no session is begun: {why}"),
            "it begins by itself once that is so".to_owned(),
        )];
    }
    let Some(session) = &desired.session else { return Vec::new() };
    if status.session.state != State::Established {
        // What went wrong before the session was wanted in this way says nothing.
        let failure = status.session.last_failure.iter().filter(|_| status.session.failed);
        return failure
            .map(|failure| trouble(reason::BGP_SESSION_REFUSED, failure.to_string(), of_failure(failure, session, status)))
            .collect();
    }
    let mut all: Vec<Trouble> = without_bfd(session, status).into_iter().collect();
    for family in &status.session.without_next_hop {
        let what = format!("{family} routes are not announced: no {family} address is on the link to it");
        let action = match &status.link {
            Some(link) => format!("give {link} an {family} address"),
            None => format!("set `sourceAddress` to an address of a link that has an {family} address, too"),
        };
        all.push(trouble(reason::BGP_ROUTES_LEFT_OUT, what, action));
    }
    if !status.session.too_long.is_empty() {
        let routes: Vec<String> = status.session.too_long.iter().map(ToString::to_string).collect();
        let what = format!("{} not announced: the communities alone fill a message (RFC 4271 §9.2)", routes.join(", "));
        all.push(trouble(reason::BGP_ROUTES_LEFT_OUT, what, "give them fewer communities".to_owned()));
    }
    all
}

fn without_bfd(session: &SessionDesired, status: &PeerStatus) -> Option<Trouble> {
    let bfd = status.bfd.as_ref().filter(|bfd| bfd.state != BfdState::Up)?;
    let held = status.session.agreed.as_ref().and_then(|agreed| agreed.hold_time);
    let noticed = held.map_or("never".to_owned(), |time| format!("after {} s only", time.as_secs()));
    let never = if bfd.ups == 0 { "never came up" } else { "is down" };
    let what = format!("BFD {never}: a loss would be noticed {noticed}");
    let us = ours(status);
    let action = match &bfd.error {
        Some(error) => format!("see why this node cannot speak it: {error}"),
        None => format!(
            "switch BFD on for {us} at the router, and let UDP 3784 (4784 over several hops) through; `passiveMode` at one end only ({})",
            session.transport.remote
        ),
    };
    Some(Trouble { reason: reason::BGP_WITHOUT_BFD, what, action })
}

/// How the router knows us.
fn ours(status: &PeerStatus) -> String {
    status.local.map_or("this node's address".to_owned(), |local| local.to_string())
}

fn of_failure(failure: &Failure, session: &SessionDesired, status: &PeerStatus) -> String {
    match failure {
        Failure::Connection(why) => of_connection(why, session, status),
        Failure::Received(notification) => received(notification, session, status),
        Failure::Sent { notification, .. } => sent(notification.code, session, status),
    }
}

fn of_connection(why: &NoConnection, session: &SessionDesired, status: &PeerStatus) -> String {
    let (transport, us) = (&session.transport, ours(status));
    let (remote, port) = (transport.remote, transport.port);
    let neighbour = format!("that the router has {us} as a neighbour with AS {}", session.local_as);
    let far = if transport.ttl == 1 { "; a router more than one hop away needs `ebgpMultiHop: true`" } else { "" };
    match why {
        NoConnection::Refused => format!("see that BGP runs there on TCP port {port}, and {neighbour}"),
        NoConnection::Reset | NoConnection::Closed => format!("see {neighbour}; its log says why it hung up"),
        NoConnection::Unanswered => {
            let password = if transport.password.is_some() {
                "a wrong password looks the same: compare it with the router's"
            } else {
                "a router that expects a password looks the same"
            };
            let ttl = if transport.minimum_ttl > 0 {
                format!(
                    "; `ttlSecurityHops` takes packets with a TTL of {} and more only: the router has to do the same",
                    transport.minimum_ttl
                )
            } else {
                String::new()
            };
            format!("see that {remote} is right, that no firewall drops TCP port {port}, and {neighbour}; {password}{far}{ttl}")
        }
        NoConnection::HostUnreachable => format!("see that {remote} is right and the router is up: ping it from this node{far}"),
        NoConnection::NetworkUnreachable => format!("give this node a route to {remote}, or correct `peerAddress`"),
        NoConnection::BfdDown => "see the link, and BFD at the router".to_owned(),
        NoConnection::Other(_) => "correct this peer's configuration, or this node's network".to_owned(),
    }
}

/// What the router says, and what it means for us.
fn received(notification: &Notification, session: &SessionDesired, status: &PeerStatus) -> String {
    let us = ours(status);
    if let Some(inner) = notification.hard_reset() {
        return received(&inner, session, status);
    }
    match notification.code {
        Code::BAD_PEER_AS => {
            format!("compare `myASN` (it is told AS {}) with the AS that the router has for neighbour {us}", session.local_as)
        }
        Code::BAD_BGP_IDENTIFIER => format!("another speaker has BGP identifier {}, too: set another `routerID`", session.identifier),
        Code::UNACCEPTABLE_HOLD_TIME => format!("the router wants another `holdTime` than {} s", session.hold_time),
        Code::UNSUPPORTED_CAPABILITY | Code::UNSUPPORTED_OPTIONAL_PARAMETER => {
            "what the router cannot bear is left out next time; if that does not help, try `disableMP: true`".to_owned()
        }
        Code::AUTHENTICATION_FAILURE => "compare the password with the router's".to_owned(),
        Code::HOLD_TIMER_EXPIRED => "the router heard nothing from here: see the link, and whether this node is overloaded".to_owned(),
        Code::MAXIMUM_NUMBER_OF_PREFIXES_REACHED => {
            format!("raise the router's limit of prefixes for neighbour {us}, or announce fewer routes with `aggregationLength`")
        }
        Code::ADMINISTRATIVE_SHUTDOWN => format!("neighbour {us} is shut down at the router: switch it on there"),
        Code::PEER_DE_CONFIGURED => format!("the router has neighbour {us} no more: configure it there again"),
        Code::CONNECTION_REJECTED => format!("see that neighbour {us} is configured and not shut down at the router"),
        Code::CONNECTION_COLLISION_RESOLUTION => {
            "the router has another session with this node: see whether another BGP speaker runs here (MetalLB, Calico, Cilium, kube-vip)"
                .to_owned()
        }
        Code::ADMINISTRATIVE_RESET | Code::OTHER_CONFIGURATION_CHANGE => {
            "the router was reconfigured; the session comes back by itself".to_owned()
        }
        Code::BFD_DOWN => "the router's BFD has lost this node: see the link, and compare the intervals of both ends".to_owned(),
        Code(..) => "see the router's log".to_owned(),
    }
}

/// What we said, and what that means for the router.
fn sent(code: Code, session: &SessionDesired, status: &PeerStatus) -> String {
    match code {
        Code::BAD_PEER_AS => "set `peerASN` to the router's AS, or correct the router's".to_owned(),
        Code::BAD_BGP_IDENTIFIER => "give this node another `routerID`, or the router".to_owned(),
        Code::UNSUPPORTED_CAPABILITY => {
            format!("switch the address family on for neighbour {} at the router, or see `dualStackAddressFamily`", ours(status))
        }
        Code::HOLD_TIMER_EXPIRED | Code::SEND_HOLD_TIMER_EXPIRED => {
            format!("see the router, and the way to {}: a firewall may have forgotten the connection", session.transport.remote)
        }
        Code::BFD_DOWN => "see the link and the router".to_owned(),
        Code::CONNECTION_COLLISION_RESOLUTION => "see whether another BGP speaker runs on this node".to_owned(),
        Code(..) => "the router breaks the protocol: see its log, and whether there is a newer version of it".to_owned(),
    }
}
