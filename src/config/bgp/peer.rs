//! `BGPPeer`, v1beta1 and v1beta2, and peers in one line. Whether a profile exists, and what one peer does to another, is for `resolve`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{BgpPeer, Neighbor, Password, PeerPassword, RemoteAs, asn, time};
use crate::addr::Family;
use crate::config::fields::Fields;
use crate::config::oneline;
use crate::config::problem::{Place, nearest};
use crate::config::raw::{At, Reading};
use crate::config::selector;
use crate::config::spec::check_name;
use crate::config::tree::{Node, Value, quoted};
use crate::facts::LinkName;

/// The longest key of TCP MD5 that the kernel takes (`TCP_MD5SIG_MAXKEYLEN`).
const LONGEST_PASSWORD: usize = 80;
/// RFC 4271 §10 suggests 90 s; three keepalives fit into it.
const HOLD_TIME: Duration = Duration::from_secs(90);

/// A peer as written.
#[derive(Debug)]
pub(crate) struct RawPeer {
    pub(crate) place: Place,
    pub(crate) name: Option<At<String>>,
    /// `None`: the number of `asn` is meant.
    pub(crate) my_asn: Option<At<u32>>,
    /// Where our AS is written for this peer: `asn`, `myASN` or `my-asn`; `None` where that is there, but could not be read.
    pub(crate) my_asn_name: Option<&'static str>,
    pub(crate) remote_asn: Option<At<u32>>,
    pub(crate) bfd_profile: Option<At<String>>,
    pub(crate) multi_hop: Option<Place>,
    /// Without name and `my_asn`. `None`: what is missing was told.
    pub(crate) peer: Option<BgpPeer>,
}

/// One peer.
pub(crate) fn read(name: Option<At<String>>, place: &Place, fields: &mut Fields<'_>, reading: &mut Reading) {
    if let Some(name) = &name {
        check_name(name, "a peer", reading);
    }
    let before = reading.problems.len();
    let my_asn = number(fields, "myASN", 1, reading);
    let my_asn_name = (reading.problems.len() == before).then(|| fields.name("myASN"));
    let (remote_as, remote_asn) = remote_as(place, fields, reading);
    let neighbor = neighbor(place, fields, reading);
    let (hold_time, keepalive_time) = timers(fields, reading);
    let multi_hop = fields.key_place("ebgpMultiHop");
    let ebgp_multi_hop = fields.flag("ebgpMultiHop", reading).unwrap_or(false);
    let bfd_profile = fields.text("bfdProfile", reading);
    let peer = BgpPeer {
        name: String::new(),
        my_asn: 0,
        local_asn: number(fields, "localASN", 1, reading).map(|at| at.value),
        remote_as: remote_as.unwrap_or(RemoteAs::External),
        peer_port: port(fields, reading),
        source_address: source_address(neighbor.as_ref(), fields, reading),
        hold_time,
        keepalive_time,
        connect_time: seconds(fields, "connectTime", 1, reading).map(|at| at.value),
        router_id: router_id(fields, reading),
        node_selectors: selector::plain_list(fields, "nodeSelectors", reading),
        password: password(fields, reading),
        bfd_profile: None,
        graceful_restart: fields.flag("enableGracefulRestart", reading).unwrap_or(false),
        ebgp_multi_hop,
        ttl_security_hops: ttl_security_hops(ebgp_multi_hop, fields, reading),
        vrf: link(fields, "vrf", reading),
        disable_mp: fields.flag("disableMP", reading).unwrap_or(false),
        dual_stack: fields.flag("dualStackAddressFamily", reading).unwrap_or(false),
        neighbor: neighbor.clone().unwrap_or(Neighbor::Address(Ipv4Addr::UNSPECIFIED.into())),
    };
    let peer = (remote_as.is_some() && neighbor.is_some() && my_asn_name.is_some()).then_some(peer);
    let multi_hop = multi_hop.filter(|_| ebgp_multi_hop);
    reading.raw.peers.push(RawPeer { place: place.clone(), name, my_asn, my_asn_name, remote_asn, bfd_profile, multi_hop, peer });
}

/// `192.168.1.1 AS64512`: everything else has its default.
pub(crate) fn one_line(text: &str, place: &Place, reading: &mut Reading) {
    let (address, number) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let Ok(address) = address.parse::<IpAddr>() else {
        let help = "write the router's address and its AS number, such as `192.168.1.1 AS64512`";
        reading.problem(place, format!("{} is not an IP address", quoted(address)), help);
        return;
    };
    if number.trim().is_empty() {
        let message = format!("the peer {address} has no AS number");
        reading.problem(place, message, format!("add the router's AS number, such as `{address} AS64512`"));
        return;
    }
    let words: Vec<&str> = number.split_whitespace().collect();
    if let [first, second, ..] = words[..]
        && [first.to_owned(), format!("{first} {second}")].iter().any(|number| asn::parse(number).is_some())
        && asn::parse(number.trim()).is_none()
    {
        // Whatever it is, a password perhaps: it is not repeated.
        let message = format!("more than an AS number stands after the address {address}");
        reading.problem(place, message, "write a peer that needs more than these two under `bgpPeers:`");
        return;
    }
    let Some(remote) = asn::read(number, place, reading) else { return };
    let Some(neighbor) = at_address(address, None, place, "peers", reading) else { return };
    let peer = BgpPeer {
        name: String::new(),
        my_asn: 0,
        local_asn: None,
        remote_as: RemoteAs::Number(remote.value),
        neighbor,
        peer_port: PORT,
        source_address: None,
        hold_time: HOLD_TIME,
        keepalive_time: HOLD_TIME / 3,
        connect_time: None,
        router_id: None,
        node_selectors: Vec::new(),
        password: None,
        bfd_profile: None,
        graceful_restart: false,
        ebgp_multi_hop: false,
        ttl_security_hops: None,
        vrf: None,
        disable_mp: false,
        dual_stack: false,
    };
    let raw = RawPeer {
        place: place.clone(),
        name: None,
        my_asn: None,
        my_asn_name: Some("asn"),
        remote_asn: Some(remote),
        bfd_profile: None,
        multi_hop: None,
        peer: Some(peer),
    };
    reading.raw.peers.push(raw);
}

fn number(fields: &mut Fields<'_>, name: &'static str, least: u64, reading: &mut Reading) -> Option<At<u32>> {
    let at = fields.number(name, least, u64::from(u32::MAX), reading)?;
    Some(At { value: u32::try_from(at.value).expect("the range was checked"), place: at.place })
}

fn remote_as(place: &Place, fields: &mut Fields<'_>, reading: &mut Reading) -> (Option<RemoteAs>, Option<At<u32>>) {
    let before = reading.problems.len();
    let remote = number(fields, "peerASN", 0, reading).filter(|at| at.value > 0);
    let dynamic = fields.text("dynamicASN", reading);
    let (number, word) = (fields.name("peerASN"), "dynamicASN");
    let remote_as = match (&remote, dynamic) {
        (Some(number_at), Some(_)) => {
            reading.problem(&number_at.place, format!("this peer has both `{number}` and `{word}`"), "keep one of the two");
            None
        }
        (Some(remote), None) => Some(RemoteAs::Number(remote.value)),
        (None, Some(word)) => match word.value.as_str() {
            "internal" => Some(RemoteAs::Internal),
            "external" => Some(RemoteAs::External),
            other => {
                let help = nearest(other, ["internal", "external"]).map_or_else(
                    || "write `internal` (our own AS) or `external` (any other)".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                reading.problem(&word.place, format!("{} is not a value of `dynamicASN`", quoted(other)), help);
                None
            }
        },
        (None, None) => {
            if reading.problems.len() == before {
                let help = format!("add `{number}:` with the AS number of the router, such as 64512");
                reading.problem(place, format!("this peer has no `{number}`"), help);
            }
            None
        }
    };
    (remote_as, remote)
}

fn neighbor(place: &Place, fields: &mut Fields<'_>, reading: &mut Reading) -> Option<Neighbor> {
    let before = reading.problems.len();
    let address = address(fields, "peerAddress", reading);
    let name = fields.name("peerAddress");
    let interface = link(fields, "interface", reading);
    match (address, interface) {
        (Some(address), interface) => at_address(address.value, interface, &address.place, name, reading),
        _ if reading.problems.len() > before || fields.resembles("peerAddress") => None,
        (None, Some(_)) => {
            // It would have to send router advertisements for the router to find it: in a LAN, every host would take the node for one.
            let message = "a peer by `interface` alone (\"unnumbered\") is not supported: it needs router advertisements, which harm a LAN";
            let help = format!("add `{name}:` with the address of the router; a link-local one (fe80::…) does beside `interface`");
            reading.problem(place, message, help);
            None
        }
        (None, None) => {
            reading.problem(
                place,
                format!("this peer has no `{name}`"),
                format!("add `{name}:` with the address of the router, such as 192.168.1.1"),
            );
            None
        }
    }
}

fn at_address(address: IpAddr, interface: Option<LinkName>, place: &Place, name: &str, reading: &mut Reading) -> Option<Neighbor> {
    if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        reading.problem(place, format!("{address} cannot be the address of a router"), "write the address the router has in your network");
        return None;
    }
    let link_local = match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    };
    match (link_local, interface) {
        (Some(address), Some(interface)) => Some(Neighbor::LinkLocal(address, interface)),
        (None, None) => Some(Neighbor::Address(address)),
        (Some(_), None) => {
            let message = format!("the address {address} in `{name}` means nothing without its link");
            let help = match name {
                "peers" => "write another address of the router, or this one under `bgpPeers:` with its `interface:`",
                _ => "add `interface:` with the name of the link, or write another address of the router",
            };
            reading.problem(place, message, help);
            None
        }
        (None, Some(_)) => {
            let message = format!("this peer has both `{name}` and `interface`");
            reading.problem(place, message, "keep one of the two; both belong together for addresses of fe80::/10 only");
            None
        }
    }
}

fn address(fields: &mut Fields<'_>, name: &'static str, reading: &mut Reading) -> Option<At<IpAddr>> {
    let text = fields.text(name, reading)?;
    let written = text.value.trim();
    let parsed = written.parse().ok();
    if parsed.is_none() {
        let message = format!("{} is not an IP address", quoted(written));
        let help = format!("`{}` takes one address, without port, zone or prefix length, such as 192.168.1.1", fields.name(name));
        reading.problem(&text.place, message, help);
    }
    parsed.map(|value| At { value, place: text.place })
}

fn link(fields: &mut Fields<'_>, name: &'static str, reading: &mut Reading) -> Option<LinkName> {
    let text = fields.text(name, reading)?;
    if !oneline::is_link_name(&text.value) {
        let message = format!("{} cannot be the name of a link", quoted(&text.value));
        reading.problem(&text.place, message, "write a name as `ip link` shows it, such as `eth0`");
        return None;
    }
    Some(LinkName::new(&text.value))
}

const PORT: u16 = 179;

/// 0 was allowed in v1beta1 and means the default.
fn port(fields: &mut Fields<'_>, reading: &mut Reading) -> u16 {
    let port = fields.number("peerPort", 0, u64::from(u16::MAX), reading).filter(|at| at.value > 0);
    port.map_or(PORT, |at| u16::try_from(at.value).expect("the range was checked"))
}

fn source_address(neighbor: Option<&Neighbor>, fields: &mut Fields<'_>, reading: &mut Reading) -> Option<IpAddr> {
    let source = address(fields, "sourceAddress", reading)?;
    let of = |family: Family| family != Family::of(source.value);
    let wrong = match neighbor {
        Some(Neighbor::Address(address)) => of(Family::of(*address)),
        Some(Neighbor::LinkLocal(..)) => of(Family::V6),
        None => false,
    };
    if wrong {
        let message = format!("`{}` is not of the family of the router's address", fields.name("sourceAddress"));
        reading.problem(&source.place, message, "write an address of the same family, or remove it");
    }
    Some(source.value)
}

/// Both at once would contradict each other, as FRR has it.
fn ttl_security_hops(multi_hop: bool, fields: &mut Fields<'_>, reading: &mut Reading) -> Option<u8> {
    let hops = fields.number("ttlSecurityHops", 1, 254, reading)?;
    if multi_hop {
        let message = format!("this peer has both `ttlSecurityHops` and `{}`", fields.name("ebgpMultiHop"));
        reading.problem(&hops.place, message, "keep `ttlSecurityHops`, with the number of hops to the router");
    }
    Some(u8::try_from(hops.value).expect("the range was checked"))
}

/// MetalLB takes any IP address for it; on the wire are four octets that must not be zero (RFC 6286 §2.1).
fn router_id(fields: &mut Fields<'_>, reading: &mut Reading) -> Option<Ipv4Addr> {
    let text = fields.text("routerID", reading)?;
    let id = text.value.trim().parse().ok().filter(|id: &Ipv4Addr| !id.is_unspecified());
    if id.is_none() {
        let message = format!("{} cannot be a router ID", quoted(text.value.trim()));
        reading.problem(&text.place, message, "write four numbers as in an IPv4 address, not all of them 0, such as 10.0.0.1");
    }
    id
}

/// Hold time and keepalive time; one follows from the other. Rounded down to seconds, as MetalLB does.
fn timers(fields: &mut Fields<'_>, reading: &mut Reading) -> (Duration, Duration) {
    let hold = seconds(fields, "holdTime", 0, reading);
    let keepalive = seconds(fields, "keepaliveTime", 0, reading);
    let (hold_name, keepalive_name) = (fields.name("holdTime"), fields.name("keepaliveTime"));
    let hold_time = hold.as_ref().map_or_else(|| keepalive.as_ref().map_or(HOLD_TIME, |keepalive| keepalive.value * 3), |hold| hold.value);
    let keepalive_time = keepalive.as_ref().map_or_else(|| Duration::from_secs(hold_time.as_secs() / 3), |keepalive| keepalive.value);
    let Some(place) = keepalive.as_ref().or(hold.as_ref()).map(|at| at.place.clone()) else { return (hold_time, keepalive_time) };
    if !hold_time.is_zero() && hold_time < Duration::from_secs(3) {
        let place = hold.as_ref().map_or(&place, |hold| &hold.place);
        let help = "write 3s or more (90s is usual), or 0s for a session without keepalives";
        reading.problem(place, format!("`{hold_name}` has to be 0s or at least 3s, not {}s", hold_time.as_secs()), help);
    } else if hold_time.as_secs() > u64::from(u16::MAX) {
        let help = "write a third of 65535s at most, or remove it: a third of the hold time is usual";
        reading.problem(&place, format!("`{keepalive_name}` makes the hold time {}s, and 65535s is the most", hold_time.as_secs()), help);
    } else if keepalive_time > hold_time {
        let message = format!("`{keepalive_name}` ({}s) is longer than `{hold_name}` ({}s)", keepalive_time.as_secs(), hold_time.as_secs());
        reading.problem(&place, message, "remove it: a third of the hold time is usual");
    } else if keepalive_time.is_zero() && !hold_time.is_zero() {
        let message =
            format!("`{keepalive_name}` is less than a second, but the router waits {}s only for a sign of life", hold_time.as_secs());
        reading.problem(&place, message, "remove it: a third of the hold time is usual");
    }
    (hold_time, keepalive_time)
}

/// Whole seconds, from `least` to 65535.
fn seconds(fields: &mut Fields<'_>, name: &'static str, least: u64, reading: &mut Reading) -> Option<At<Duration>> {
    let time = time::read(fields, name, reading)?;
    let seconds = time.value.as_secs();
    if !(least..=u64::from(u16::MAX)).contains(&seconds) {
        let message = format!("`{}` has to be from {least}s to 65535s, not {}s", fields.name(name), time.value.as_secs_f64());
        reading.problem(&time.place, message, "write whole seconds within these bounds, or remove it");
        return None;
    }
    Some(At { value: Duration::from_secs(seconds), place: time.place })
}

fn password(fields: &mut Fields<'_>, reading: &mut Reading) -> Option<PeerPassword> {
    let text = fields.text("password", reading);
    let secret = fields.take("passwordSecret").map(|node| (&node.place, secret(node, fields, reading)));
    match (text, secret) {
        (Some(_), Some((secret, _))) => {
            reading.problem(
                secret,
                "this peer has both `password` and `passwordSecret`",
                "keep `passwordSecret`, which shows nobody the password",
            );
            None
        }
        (Some(text), None) => {
            if text.value.len() > LONGEST_PASSWORD {
                let message = format!("this password has {} octets, and {LONGEST_PASSWORD} is the most", text.value.len());
                reading.problem(&text.place, message, "choose a shorter one, here and at the router");
            }
            Some(PeerPassword::Text(Password(text.value)))
        }
        (None, secret) => secret?.1,
    }
}

/// MetalLB reads it by name in its own namespace, whatever the namespace here says.
fn secret(node: &Node, outer: &Fields<'_>, reading: &mut Reading) -> Option<PeerPassword> {
    if matches!(node.value, Value::Scalar(_)) {
        // It may be the password itself, so it is not repeated.
        let message = "`passwordSecret` has to be a mapping that names a Secret, not a text";
        reading.problem(
            &node.place,
            message,
            "write `passwordSecret: {name: NAME}`, and the password in that Secret under the key `password`",
        );
        return None;
    }
    let mut fields = outer.inner(node, "`passwordSecret`", reading)?;
    let name = fields.text("name", reading);
    if let Some(namespace) = fields.text("namespace", reading) {
        let message = format!("the Secret is read from the namespace Lanlord runs in, whether or not that is {}", quoted(&namespace.value));
        reading.note(&namespace.place, message);
    }
    let key = fields.text("key", reading).map_or_else(|| "password".to_owned(), |at| at.value);
    fields.finish(reading);
    if name.is_none() && node.get("name").is_none() {
        reading.problem(&node.place, "`passwordSecret` has no `name`", "add `name:` with the name of the Secret");
    }
    Some(PeerPassword::Secret { name: name?.value, key })
}
