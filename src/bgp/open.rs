//! Our OPEN, and what both agree on (RFC 4271 §4.2, §6.2; RFC 5492 §3).
//!
//! Functions: the session remembers which OPEN it sent. A refusal is the NOTIFICATION that goes out, with the two sides of the
//! disagreement in words, for people look for exactly that.

use std::collections::BTreeSet;
use std::time::Duration;

use super::desired::{RemoteAs, SessionDesired};
use super::status::Agreed;
use crate::addr::Family;
use crate::wire::bgp::{AfiSafi, Capability, Code, Codec, ExtendedNextHop, Notification, Open, RestartFamily, afi};

/// Why the peer's OPEN is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) notification: Notification,
    pub(super) why: String,
}

/// What both agree on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Negotiated {
    pub(super) agreed: Agreed,
    /// How messages are read and written from now on.
    pub(super) codec: Codec,
    /// The peer knows End-of-RIB.
    pub(super) end_of_rib: bool,
}

/// Another process of this node may have spoken before, and routers may still use its routes: the first OPEN says so (RFC 4724 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restart {
    /// Packets for the routes were forwarded all the time since, for the kernel does it. False after the node itself began anew.
    pub forwarding: bool,
}

/// Our OPEN, without capabilities whose codes are in `left_out`.
pub(super) fn ours(desired: &SessionDesired, restart: Option<Restart>, left_out: &BTreeSet<u8>) -> Open {
    let v4_only = desired.families.iter().eq([&Family::V4]);
    let multiprotocol = desired.multiprotocol || !v4_only;
    let mut capabilities = Vec::new();
    if multiprotocol {
        capabilities.extend(desired.families.iter().map(|family| Capability::Multiprotocol((*family).into())));
    }
    capabilities.push(Capability::RouteRefresh);
    if multiprotocol && desired.families.contains(&Family::V4) {
        capabilities.push(Capability::ExtendedNextHop(vec![V4_THROUGH_V6]));
    }
    capabilities.push(Capability::ExtendedMessage);
    capabilities.extend(desired.restart_time.map(|restart_time| Capability::GracefulRestart {
        restarting: restart.is_some(),
        notification: true,
        restart_time,
        families: desired.families.iter().map(|family| restart_family(*family, restart.is_none_or(|restart| restart.forwarding))).collect(),
    }));
    capabilities.push(Capability::FourOctetAs(desired.local_as));
    capabilities.push(Capability::EnhancedRouteRefresh);
    // Without it nothing but IPv4 can be spoken, so an OPEN without it is no way out.
    let indispensable = |capability: &Capability| !v4_only && matches!(capability, Capability::Multiprotocol(_));
    capabilities.retain(|capability| indispensable(capability) || !left_out.contains(&capability.code()));
    // §4.2: 0 or at least three seconds.
    let hold_time = if desired.hold_time == 0 { 0 } else { desired.hold_time.max(3) };
    Open { my_as: Open::two_octets(desired.local_as), hold_time, identifier: desired.identifier, capabilities }
}

/// RFC 8950 §4: IPv4 unicast through IPv6.
const V4_THROUGH_V6: ExtendedNextHop = ExtendedNextHop { afi: 1, safi: 1, next_hop_afi: 2 };

fn restart_family(family: Family, forwarding: bool) -> RestartFamily {
    RestartFamily { family: family.into(), forwarding }
}

/// What both agree on, `sent` being ours.
pub(super) fn negotiate(desired: &SessionDesired, sent: &Open, received: &Open) -> Result<Negotiated, Refusal> {
    let remote_as = received.asn();
    let internal = check_as(desired, remote_as)?;
    if internal && received.identifier == desired.identifier {
        // RFC 6286 §2.2
        let why = format!("the peer of our own AS has our own BGP identifier {}", desired.identifier);
        return Err(Refusal { notification: Code::BAD_BGP_IDENTIFIER.into(), why });
    }
    let both = |code: u8| has(sent, code) && has(received, code);
    let hold_time = sent.hold_time.min(received.hold_time);
    let agreed = Agreed {
        remote_as,
        identifier: received.identifier,
        internal,
        hold_time: (hold_time > 0).then(|| Duration::from_secs(hold_time.into())),
        // §4.4: a third of the hold time is "a reasonable maximum", and once a second the most.
        keepalive_time: Duration::from_secs(u64::from(desired.keepalive_time).min(u64::from(hold_time) / 3).max(1)),
        families: families(desired, sent, received)?,
        graceful_restart: both(GRACEFUL_RESTART),
        graceful_notification: graceful_notification(sent) && graceful_notification(received),
        route_refresh: both(Capability::RouteRefresh.code()),
        enhanced_route_refresh: both(Capability::EnhancedRouteRefresh.code()),
        extended_messages: both(Capability::ExtendedMessage.code()),
        extended_next_hop: v4_through_v6(sent) && v4_through_v6(received),
    };
    let codec = Codec {
        takes_extended: has(sent, Capability::ExtendedMessage.code()),
        sends_extended: agreed.extended_messages,
        four_octet_as: both(FOUR_OCTET_AS),
        extended_next_hop: agreed.extended_next_hop,
        internal,
    };
    Ok(Negotiated { agreed, codec, end_of_rib: has(received, GRACEFUL_RESTART) })
}

const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;

fn has(open: &Open, code: u8) -> bool {
    open.capabilities.iter().any(|capability| capability.code() == code)
}

/// Whether the peer is of our AS.
fn check_as(desired: &SessionDesired, remote_as: u32) -> Result<bool, Refusal> {
    let internal = remote_as == desired.local_as;
    let expected = match desired.remote_as {
        RemoteAs::Number(number) if number == remote_as => return Ok(internal),
        RemoteAs::Internal if internal => return Ok(true),
        RemoteAs::External if !internal => return Ok(false),
        RemoteAs::Number(number) => format!("{number} is configured"),
        RemoteAs::Internal => format!("it should be our own, {}", desired.local_as),
        RemoteAs::External => "it should not be our own".to_owned(),
    };
    Err(Refusal { notification: Code::BAD_PEER_AS.into(), why: format!("the peer is of AS {remote_as}, {expected}") })
}

/// The unicast families of an OPEN; one without the capability speaks IPv4 (RFC 4760 §8).
fn spoken(open: &Open) -> BTreeSet<Family> {
    let mut any = false;
    let mut families = BTreeSet::new();
    for capability in &open.capabilities {
        if let Capability::Multiprotocol(family) = capability {
            any = true;
            families.extend(family.family());
        }
    }
    if any { families } else { [Family::V4].into() }
}

fn families(desired: &SessionDesired, sent: &Open, received: &Open) -> Result<BTreeSet<Family>, Refusal> {
    let families: BTreeSet<Family> = spoken(sent).intersection(&spoken(received)).copied().collect();
    if !families.is_empty() {
        return Ok(families);
    }
    // RFC 5492 §5: the data are the capabilities that are required.
    let mut data = Vec::new();
    for family in &desired.families {
        Capability::Multiprotocol((*family).into()).encode(&mut data).expect("four octets fit");
    }
    let names: Vec<String> = desired.families.iter().map(ToString::to_string).collect();
    let why = format!("the peer does not speak {} on this session", names.join(" or "));
    Err(Refusal { notification: Notification { code: Code::UNSUPPORTED_CAPABILITY, data }, why })
}

/// N of the Graceful Restart capability that counts: the last one (RFC 4724 §3).
fn graceful_notification(open: &Open) -> bool {
    let last = open.capabilities.iter().rev().find(|capability| capability.code() == GRACEFUL_RESTART);
    matches!(last, Some(Capability::GracefulRestart { notification: true, .. }))
}

fn v4_through_v6(open: &Open) -> bool {
    let wanted = |tuple: &ExtendedNextHop| {
        let v4 = AfiSafi::from(Family::V4);
        (tuple.afi, tuple.safi, tuple.next_hop_afi) == (v4.afi, v4.safi.into(), afi(Family::V6))
    };
    open.capabilities.iter().any(|capability| matches!(capability, Capability::ExtendedNextHop(tuples) if tuples.iter().any(wanted)))
}

/// What to leave out of the next OPEN after the peer refused `sent` (RFC 5492 §3, "MAY … re-establish … without"): what it names, or
/// everything. `None`: it is no such refusal, or everything it can be about is left out already.
pub(super) fn left_out_after(notification: &Notification, sent: &Open) -> Option<BTreeSet<u8>> {
    let offered: BTreeSet<u8> = sent.capabilities.iter().map(Capability::code).collect();
    let named = match notification.code {
        Code::UNSUPPORTED_OPTIONAL_PARAMETER => BTreeSet::new(),
        Code::UNSUPPORTED_CAPABILITY => {
            // Some name what they miss, others what they do not know: only the latter can be left out.
            Capability::decode_all(&notification.data).unwrap_or_default().iter().map(Capability::code).collect()
        }
        Code(..) => return None,
    };
    let named: BTreeSet<u8> = named.intersection(&offered).copied().collect();
    Some(if named.is_empty() { offered } else { named }).filter(|codes| !codes.is_empty())
}
