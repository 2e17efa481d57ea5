//! The links of this network namespace, their addresses and default routes, followed by rtnetlink(7).
//!
//! ```text
//!   kernel ──events──► "something changed" ──► dump of links, addresses, routes ──► watch<Arc<Links>>
//! ```
//!
//! An event is only a reason to look again: the kernel does not announce everything (routes that vanish with their link) and loses
//! events when its buffer overruns, so the state is always read whole. Nothing is polled but `arp_ignore`, and that in IPVS mode only.

#![expect(clippy::wildcard_enum_match_arm, reason = "enums of the kernel, of which we want a few variants")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, StreamExt, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::addr::MacAddr;
use crate::facts::{Link, LinkName, Links, Medium, Role, replace};

/// Shortest time between two dumps: a burst of events is one change.
const COALESCE: Duration = Duration::from_millis(10);

/// Between two looks at `arp_ignore` where it matters.
const SYSCTL: Duration = Duration::from_secs(30);

type Events = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// Publishes the links now and after every change, until `shutdown`.
pub async fn run(links: watch::Sender<Arc<Links>>, shutdown: CancellationToken) -> anyhow::Result<()> {
    // Two connections: events that overrun one buffer must not take part of a dump with them.
    let mut connections = JoinSet::new();
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let (connection, _, mut events) = rtnetlink::new_multicast_connection(&groups).context("cannot follow links by rtnetlink")?;
    connections.spawn(connection);
    let (connection, handle, _) = rtnetlink::new_connection().context("cannot read links by rtnetlink")?;
    connections.spawn(connection);
    loop {
        match dump(&handle).await {
            Ok(read) => {
                links.send_if_modified(|known| replace(known, Arc::new(read)));
            }
            Err(error) => tracing::warn!("cannot read links: {error}"),
        }
        let answers = has_ipvs(&links.borrow());
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(SYSCTL), if answers => {}
            closed = something_changed(&mut events) => closed?,
        }
    }
}

/// kube-proxy in IPVS mode sets `arp_ignore` if it is told to, and nothing tells of that.
fn has_ipvs(links: &Links) -> bool {
    links.answers_for_all && links.links.contains_key("kube-ipvs0")
}

/// Returns once links, addresses or default routes may have changed, and not sooner than [`COALESCE`] after the call.
async fn something_changed(events: &mut Events) -> anyhow::Result<()> {
    tokio::time::sleep(COALESCE).await;
    let mut matters = false;
    while !matters {
        let (event, _) = events.next().await.context("the rtnetlink socket was closed")?;
        matters = is_relevant(&event.payload);
    }
    while let Some(Some(_)) = events.next().now_or_never() {}
    Ok(())
}

/// Everything but routes that are not default routes: a router's node may learn a million of those.
fn is_relevant(payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)) => {
            route.header.destination_prefix_length == 0
        }
        _ => true,
    }
}

async fn dump(handle: &Handle) -> Result<Links, rtnetlink::Error> {
    let mut links: BTreeMap<u32, Link> =
        handle.link().get().execute().try_filter_map(|message| async move { Ok(link(&message)) }).try_collect().await?;
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        if let (Some(link), Some(net)) = (links.get_mut(&message.header.index), address(&message)) {
            link.addresses.insert(net);
        }
    }
    let mut gateways = BTreeSet::new();
    let families = [RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(), RouteMessageBuilder::<std::net::Ipv6Addr>::new().build()];
    for all in families {
        let mut routes = handle.route().get(all).execute();
        while let Some(route) = routes.try_next().await? {
            gateways.extend(default_gateways(&route));
        }
    }
    let answers_for_all = answers_for_all(links.values());
    Ok(Links { links: links.into_values().map(|link| (link.name.clone(), link)).collect(), gateways, answers_for_all })
}

/// Of a link's own `arp_ignore` and that of `all` the larger one counts.
fn answers_for_all<'l>(links: impl Iterator<Item = &'l Link>) -> bool {
    let ignores = |name: &str| {
        let file = format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore");
        std::fs::read_to_string(file).is_ok_and(|text| text.trim() != "0")
    };
    !ignores("all") && links.filter(|link| link.role == Role::Own && link.up).any(|link| !ignores(link.name.as_str()))
}

fn link(message: &LinkMessage) -> Option<(u32, Link)> {
    let (mut name, mut mac, mut port, mut routed) = (None, None, false, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(LinkName::new(text)),
            LinkAttribute::Address(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr),
            LinkAttribute::Controller(_) => port = true,
            // A VRF is a master too, but routes: its members carry their own addresses.
            LinkAttribute::LinkInfo(infos) => routed = infos.contains(&LinkInfo::PortKind(InfoPortKind::Vrf)),
            _ => {}
        }
    }
    let (name, mac) = (name?, mac.filter(|mac| *mac != MacAddr::ZERO));
    let flags = message.header.flags;
    let role = if port && !routed {
        Role::Port
    } else if mac.is_none() || flags.intersects(LinkFlags::Loopback | LinkFlags::Noarp | LinkFlags::Pointopoint) {
        Role::NoArp
    } else {
        Role::Own
    };
    let medium = if is_wireless(&name) { Medium::Wireless } else { Medium::Wired };
    let up = flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    let index = message.header.index;
    Some((index, Link { index, name, mac: mac.unwrap_or_default(), up, role, medium, addresses: BTreeSet::new() }))
}

/// Wireless extensions or cfg80211: either directory appears for IEEE 802.11 links only.
fn is_wireless(name: &LinkName) -> bool {
    let directory = Path::new("/sys/class/net").join(name.as_str());
    directory.join("phy80211").exists() || directory.join("wireless").exists()
}

/// The address with its prefix; `IFA_ADDRESS` is the peer's on point-to-point links, so `IFA_LOCAL` wins.
fn address(message: &AddressMessage) -> Option<IpNet> {
    let (mut address, mut local) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            _ => {}
        }
    }
    IpNet::new(local.or(address)?, message.header.prefix_len).ok()
}

fn default_gateways(route: &RouteMessage) -> Vec<IpAddr> {
    if route.header.destination_prefix_length != 0 {
        return Vec::new();
    }
    let hops = route.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.iter().flat_map(|hop| &hop.attributes).collect(),
        other => vec![other],
    });
    hops.filter_map(gateway).collect()
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
