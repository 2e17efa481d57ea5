//! FRR, as in `frr.conf`. A peer group for each peer; route maps both ways, without which FRR takes and gives nothing over eBGP (RFC 8212).

use super::router::{Bfd, Group, Router};
use super::text::{Text, digit};
use crate::addr::Family;

/// From prefix lists to neighbours.
pub(super) fn write(router: &Router, text: &mut Text) {
    text.part("What may come in: the pools, in the lengths in which they are announced, and nothing else.");
    for (family, prefixes) in &router.accepted {
        let (ip, digit) = (ip(*family), digit(*family));
        for (n, (net, length)) in (1..).zip(prefixes) {
            let lengths = if net.prefix_len() == *length { String::new() } else { format!(" ge {length} le {length}") };
            text.line(format!("{ip} prefix-list lanlord-v{digit} seq {} permit {net}{lengths}", 5 * n));
        }
    }
    text.part("A node that is about to leave says so with the community GRACEFUL_SHUTDOWN (RFC 8326): the others are preferred at once.");
    text.line("bgp community-list standard lanlord-graceful-shutdown seq 5 permit 65535:0");
    for (n, family) in (0..).zip(router.accepted.keys()) {
        let pools = format!(" match {} address prefix-list lanlord-v{}", ip(*family), digit(*family));
        text.line(format!("route-map lanlord-in permit {}", 20 * n + 10));
        text.line(" match community lanlord-graceful-shutdown");
        text.line(&pools);
        text.line(" set local-preference 0");
        text.line("exit");
        text.line(format!("route-map lanlord-in permit {}", 20 * n + 20));
        text.line(&pools);
        text.line("exit");
    }
    text.part("What goes out to the nodes: nothing.");
    text.line("route-map lanlord-out deny 10");
    text.line("exit");
    if router.has_bfd() {
        text.part("BFD: the nodes' own intervals, seen from here.");
        text.line("bfd");
        let mut written = Vec::new();
        for bfd in router.groups.iter().filter_map(|group| group.bfd.as_ref()) {
            if !written.contains(&&bfd.name) {
                profile(bfd, text);
                written.push(&bfd.name);
            }
        }
        text.line("exit");
    }
    text.part("If there is a router bgp already, its AS and router-id stay: put the lines below it there.");
    bgp(router, text);
}

fn profile(bfd: &Bfd, text: &mut Text) {
    text.line(format!(" profile {}", bfd.name));
    text.line(format!("  receive-interval {}", bfd.receive));
    text.line(format!("  transmit-interval {}", bfd.transmit));
    text.line(format!("  detect-multiplier {}", bfd.multiplier));
    if let Some(ttl) = bfd.minimum_ttl {
        text.line(format!("  minimum-ttl {ttl}"));
    }
    text.line(" exit");
}

fn bgp(router: &Router, text: &mut Text) {
    text.line(format!("router bgp {}", router.asn));
    if let Some(identifier) = router.identifier {
        text.line(format!(" bgp router-id {identifier}"));
    }
    if router.has_several_ases() {
        text.say("Nodes are of different ASes here: ways through them are equal all the same.");
        text.line(" bgp bestpath as-path multipath-relax");
    }
    for group in &router.groups {
        self::group(group, text);
    }
    for family in router.accepted.keys() {
        let digit = digit(*family);
        text.line(format!(" address-family ipv{digit} unicast"));
        for group in &router.groups {
            let name = &group.name;
            if !group.families.contains(family) {
                // It is on for IPv4 unless it is said to be off.
                text.line(format!("  no neighbor {name} activate"));
                continue;
            }
            text.line(format!("  neighbor {name} activate"));
            text.line(format!("  neighbor {name} route-map lanlord-in in"));
            text.line(format!("  neighbor {name} route-map lanlord-out out"));
            text.line(format!("  neighbor {name} maximum-prefix {} restart 5", router.limit(*family)));
            text.line(format!("  neighbor {name} soft-reconfiguration inbound"));
        }
        text.say("All nodes carry traffic at the same time.");
        if router.groups.iter().any(|group| !group.internal) {
            text.line(format!("  maximum-paths {}", router.paths()));
        }
        if router.groups.iter().any(|group| group.internal) {
            text.line(format!("  maximum-paths ibgp {}", router.paths()));
        }
        text.line(" exit-address-family");
    }
    if !router.accepted.contains_key(&Family::V4) {
        text.line(" address-family ipv4 unicast");
        for group in &router.groups {
            text.line(format!("  no neighbor {} activate", group.name));
        }
        text.line(" exit-address-family");
    }
    text.line("exit");
}

fn group(group: &Group, text: &mut Text) {
    let name = &group.name;
    text.line(format!(" neighbor {name} peer-group"));
    text.line(format!(" neighbor {name} remote-as {}", group.asn));
    text.say("The nodes dial.");
    text.line(format!(" neighbor {name} passive"));
    text.line(format!(" neighbor {name} timers {} {}", group.keepalive_time, group.hold_time));
    if let Some(key) = &group.key {
        if let Some(whence) = &key.whence {
            text.say(format!("TCP MD5: {whence}"));
        }
        text.line(format!(" neighbor {name} password {}", key.printed()));
    }
    match group.security {
        Some(hops) => {
            text.say(format!("GTSM: packets that came over more than {hops} hop(s) are dropped (RFC 5082)."));
            text.line(format!(" neighbor {name} ttl-security hops {hops}"));
        }
        None if !group.internal && !group.adjacent => text.line(format!(" neighbor {name} ebgp-multihop 255")),
        None => {}
    }
    if let Some(bfd) = &group.bfd {
        text.line(format!(" neighbor {name} bfd profile {}", bfd.name));
    }
    if group.extended_next_hop {
        text.line(format!(" neighbor {name} capability extended-nexthop"));
    }
    if group.graceful_restart {
        text.say("Routes stay while an agent restarts (RFC 4724): FRR helps, unless the file says bgp graceful-restart-disable.");
    }
    for (node, address) in &group.nodes {
        text.line(format!(" neighbor {address} peer-group {name}"));
        text.line(format!(" neighbor {address} description {node}"));
    }
}

fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ipv6",
    }
}
