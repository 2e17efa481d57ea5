//! RouterOS 7, as commands for its terminal: each line stands for itself, and the `rule` of a filter is in a language of its own.

use std::net::IpAddr;

use super::router::{Bfd, Group, Router, list};
use super::text::{Text, host};
use crate::addr::Family;

/// From the instance to the connections.
pub(super) fn write(router: &Router, text: &mut Text) {
    text.part("This is for RouterOS 7.20 and later. Before, leave this line and instance=lanlord out, and put as= and router-id= on each");
    text.say("connection (and address-families= instead of afi= where that is not known yet).");
    let identifier = router.identifier.map(|it| format!(" router-id={it}")).unwrap_or_default();
    text.line(format!("/routing/bgp/instance/add name=lanlord as={}{identifier}", router.asn));
    text.part("All nodes carry traffic at the same time: several ways to an address, chosen by addresses and ports of a connection.");
    text.say("(A release that does not know multipath refuses this one line, and the rest holds without it.)");
    text.line(format!("/routing/bgp/instance/set [find name=lanlord] multipath={}", router.paths()));
    for family in router.accepted.keys() {
        text.line(match family {
            Family::V4 => "/ip/settings/set ipv4-multipath-hash-policy=l4",
            Family::V6 => "/ipv6/settings/set multipath-hash-policy=l4",
        });
    }
    text.part("What may come in: the pools, in the lengths in which they are announced, and nothing else. A node that is about to leave");
    text.say("says so with the community GRACEFUL_SHUTDOWN (RFC 8326): the others are preferred at once.");
    for (net, length) in router.accepted.values().flatten() {
        let pool = format!("dst in {net} && dst-len=={length}");
        let leaving = format!("if ({pool} && bgp-communities includes 65535:0) {{ set bgp-local-pref 0; accept }}");
        text.line(format!("/routing/filter/rule/add chain=lanlord-in rule=\"{leaving}\""));
        text.line(format!("/routing/filter/rule/add chain=lanlord-in rule=\"if ({pool}) {{ accept }}\""));
    }
    text.line("/routing/filter/rule/add chain=lanlord-in rule=\"reject\"");
    text.part("What goes out to the nodes: nothing.");
    text.line("/routing/filter/rule/add chain=lanlord-out rule=\"reject\"");
    if router.has_bfd() {
        text.part("BFD: the nodes' own intervals, seen from here. RouterOS brings a BGP session up only when BFD is up.");
    }
    for (group, node, address) in router.sessions() {
        if let Some(bfd) = &group.bfd {
            text.line(self::bfd(bfd, node.as_str(), address));
        }
    }
    for group in &router.groups {
        self::group(router, group, text);
    }
    text.part("The firewall, if its chain input drops what it does not know (move these lines before the one that drops):");
    for address in router.sessions().map(|(_, _, address)| address) {
        let ip = if address.is_ipv4() { "ip" } else { "ipv6" };
        let rule = format!("/{ip}/firewall/filter/add chain=input action=accept src-address={}", host(address));
        text.say(format!("{rule} protocol=tcp dst-port={}", list(router.ports())));
        if router.has_bfd() {
            text.say(format!("{rule} protocol=udp dst-port={}", list(router.bfd_ports())));
        }
    }
}

fn bfd(bfd: &Bfd, node: &str, address: IpAddr) -> String {
    let times = format!("min-rx={}ms min-tx={}ms multiplier={}", bfd.receive, bfd.transmit, bfd.multiplier);
    format!("/routing/bfd/configuration/add addresses={address} {times} comment=\"{node}\"")
}

fn group(router: &Router, group: &Group, text: &mut Text) {
    text.part("The nodes dial.");
    if let Some(whence) = group.key.as_ref().and_then(|key| key.whence.as_ref()) {
        text.say(format!("TCP MD5: {whence}"));
    }
    if group.graceful_restart {
        text.say("Graceful restart (RFC 4724) is not in the list of what RouterOS does: without it routes go while an agent restarts.");
    }
    let families = list(group.families.iter().map(|family| if *family == Family::V4 { "ip" } else { "ipv6" })).replace(", ", ",");
    let role = if group.internal { "ibgp" } else { "ebgp" };
    let port = if group.port == 179 { String::new() } else { format!(" local.port={}", group.port) };
    let mut more = String::new();
    match group.security {
        Some(hops) => more += &format!(" local.ttl=255 remote.ttl={}", 256 - u16::from(hops)),
        None if !group.adjacent && !group.internal => more += " multihop=yes",
        None => {}
    }
    if group.bfd.is_some() {
        more += " use-bfd=yes";
    }
    if let Some(key) = &group.key {
        more += &format!(" tcp-md5-key=\"{}\"", key.printed());
    }
    for family in &group.families {
        let digit = super::text::digit(*family);
        more += &format!(" input.limit-process-routes-ipv{digit}={}", router.limit(*family));
    }
    for (node, address) in &group.nodes {
        text.line(format!(
            "/routing/bgp/connection/add name={}-{node} instance=lanlord afi={families} local.address={}{port} local.role={role} \
             remote.address={} remote.as={} listen=yes connect=no hold-time={} keepalive-time={} input.filter=lanlord-in \
             output.filter-chain=lanlord-out{more}",
            group.name,
            group.address,
            host(*address),
            group.asn,
            seconds(group.hold_time),
            seconds(group.keepalive_time),
        ));
    }
}

fn seconds(seconds: u64) -> String {
    if seconds == 0 { "infinity".to_owned() } else { format!("{seconds}s") }
}
