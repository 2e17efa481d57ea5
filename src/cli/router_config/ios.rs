//! IOS-XE, as in its configuration mode. Neighbours one by one: peer groups of IOS hold one family only.

use std::net::IpAddr;

use super::router::{Group, Router};
use super::text::{Text, digit, host};
use crate::addr::Family;

/// From prefix lists to neighbours.
pub(super) fn write(router: &Router, text: &mut Text) {
    text.part("What may come in: the pools, in the lengths in which they are announced, and nothing else.");
    for (family, prefixes) in &router.accepted {
        let (ip, digit) = (ip(*family), digit(*family));
        for (n, (net, length)) in (1..).zip(prefixes) {
            let longest = if net.addr().is_ipv4() { 32 } else { 128 };
            let lengths = match *length {
                length if length == net.prefix_len() => String::new(),
                length if length == longest => format!(" ge {length}"),
                length => format!(" ge {length} le {length}"),
            };
            text.line(format!("{ip} prefix-list LANLORD-V{digit} seq {} permit {net}{lengths}", 5 * n));
        }
    }
    text.part("A node that is about to leave says so with the community GRACEFUL_SHUTDOWN (RFC 8326): the others are preferred at once.");
    text.line("ip bgp-community new-format");
    text.line("ip community-list standard LANLORD-GRACEFUL-SHUTDOWN permit 65535:0");
    for (n, family) in (0..).zip(router.accepted.keys()) {
        let pools = format!(" match {} address prefix-list LANLORD-V{}", ip(*family), digit(*family));
        text.line(format!("route-map LANLORD-IN permit {}", 20 * n + 10));
        text.line(" match community LANLORD-GRACEFUL-SHUTDOWN");
        text.line(&pools);
        text.line(" set local-preference 0");
        text.line(format!("route-map LANLORD-IN permit {}", 20 * n + 20));
        text.line(&pools);
    }
    text.part("What goes out to the nodes: nothing.");
    text.line("route-map LANLORD-OUT deny 10");
    text.part("Flows are spread by addresses and ports.");
    for family in router.accepted.keys() {
        text.line(format!("{} cef load-sharing algorithm include-ports source destination", ip(*family)));
    }
    bfd(router, text);
    text.part("If there is a router bgp already, its AS and router-id stay: put the lines below it there.");
    bgp(router, text);
}

fn bfd(router: &Router, text: &mut Text) {
    let mut last = None;
    for (group, _, address) in router.sessions() {
        let Some(bfd) = &group.bfd else { continue };
        let name = bfd.name.to_uppercase();
        let times = (bfd.transmit, bfd.receive, bfd.multiplier);
        if last.as_ref() != Some(&(name.clone(), group.adjacent)) {
            last = Some((name.clone(), group.adjacent));
            text.part("BFD: the nodes' own intervals, seen from here. IOS has them");
            if group.adjacent {
                text.say("on the interface that the nodes are behind, so this is to be put in there by hand:");
                text.say(format!(" bfd interval {} min_rx {} multiplier {}", times.0, times.1, times.2));
                text.say(" no bfd echo");
            } else {
                text.say("in a template.");
                text.line(format!("bfd-template multi-hop {name}"));
                text.line(format!(" interval min-tx {} min-rx {} multiplier {}", times.0, times.1, times.2));
            }
        }
        if !group.adjacent {
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            text.line(format!("bfd map {family} {} {} {name}", host(address), host(group.address)));
        }
    }
}

fn bgp(router: &Router, text: &mut Text) {
    text.line(format!("router bgp {}", router.asn));
    if let Some(identifier) = router.identifier {
        text.line(format!(" bgp router-id {identifier}"));
    }
    text.line(" bgp log-neighbor-changes");
    if router.has_several_ases() {
        text.say("Nodes are of different ASes here: ways through them are equal all the same.");
        text.line(" bgp bestpath as-path multipath-relax");
    }
    for group in &router.groups {
        for note in notes(group) {
            text.say(note);
        }
        for (node, address) in &group.nodes {
            neighbour(group, node.as_str(), *address, text);
        }
    }
    for family in [Family::V4, Family::V6] {
        self::family(router, family, text);
    }
}

fn notes(group: &Group) -> Vec<String> {
    let mut notes = Vec::new();
    if group.port != 179 {
        notes.push(format!("IOS listens on port 179 only: remove peerPort ({}) from Lanlord's configuration.", group.port));
    }
    notes.extend(group.key.as_ref().and_then(|key| key.whence.as_ref()).map(|whence| format!("TCP MD5: {whence}")));
    if group.security.is_some() && group.internal {
        notes.push("GTSM (RFC 5082): if ttl-security is refused for neighbours of the same AS, leave it out.".to_owned());
    }
    notes
}

fn neighbour(group: &Group, node: &str, address: IpAddr, text: &mut Text) {
    let mut say = |what: &str| text.line(format!(" neighbor {address} {what}"));
    say(&format!("remote-as {}", group.asn));
    say(&format!("description {node}"));
    // The nodes dial.
    say("transport connection-mode passive");
    say(&format!("timers {} {}", group.keepalive_time, group.hold_time));
    if let Some(key) = &group.key {
        say(&format!("password {}", key.printed()));
    }
    match group.security {
        Some(hops) => say(&format!("ttl-security hops {hops}")),
        None if !group.adjacent && !group.internal => say("ebgp-multihop 255"),
        None => {}
    }
    if group.bfd.is_some() {
        let hops = if group.adjacent { "single-hop" } else { "multi-hop" };
        say(&format!("fall-over bfd {hops}"));
    }
    if group.graceful_restart {
        say("ha-mode graceful-restart");
    }
}

fn family(router: &Router, family: Family, text: &mut Text) {
    let (digit, is_accepted) = (digit(family), router.accepted.contains_key(&family));
    // Neighbours are active for IPv4 unless it is said that they are not.
    if !is_accepted && family == Family::V6 {
        return;
    }
    let unicast = if family == Family::V6 { " unicast" } else { "" };
    text.line(format!(" address-family ipv{digit}{unicast}"));
    for (group, _, address) in router.sessions() {
        if !group.families.contains(&family) {
            text.line(format!("  no neighbor {address} activate"));
            continue;
        }
        text.line(format!("  neighbor {address} activate"));
        text.line(format!("  neighbor {address} route-map LANLORD-IN in"));
        text.line(format!("  neighbor {address} route-map LANLORD-OUT out"));
        text.line(format!("  neighbor {address} maximum-prefix {} 80 restart 5", router.limit(family)));
    }
    if is_accepted {
        text.say("All nodes carry traffic at the same time.");
        if router.groups.iter().any(|group| !group.internal) {
            text.line(format!("  maximum-paths {}", router.paths()));
        }
        if router.groups.iter().any(|group| group.internal) {
            text.line(format!("  maximum-paths ibgp {}", router.paths()));
        }
    }
    text.line(" exit-address-family");
}

fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ipv6",
    }
}
