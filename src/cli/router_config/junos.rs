//! Junos, as `set` commands. A group for each peer; BFD, limits and timers are the group's.

use super::router::{Group, Router};
use super::text::{Text, digit};
use crate::addr::Family;

/// From policies to neighbours.
pub(super) fn write(router: &Router, text: &mut Text) {
    text.part("Leave these two out if the router has an AS and a router-id already (for another AS of its own: local-as in the groups).");
    if let Some(identifier) = router.identifier {
        text.line(format!("set routing-options router-id {identifier}"));
    }
    text.line(format!("set routing-options autonomous-system {}", router.asn));
    text.part("What may come in: the pools, in the lengths in which they are announced, and nothing else. A node that is about to leave");
    text.say("says so with the community GRACEFUL_SHUTDOWN (RFC 8326): the others are preferred at once.");
    text.line("set policy-options community lanlord-graceful-shutdown members 65535:0");
    for (family, prefixes) in &router.accepted {
        let digit = digit(*family);
        for leaving in [true, false] {
            let name = if leaving { format!("leaving-v{digit}") } else { format!("pools-v{digit}") };
            let term = format!("set policy-options policy-statement lanlord-in term {name}");
            if leaving {
                text.line(format!("{term} from community lanlord-graceful-shutdown"));
            }
            for (net, length) in prefixes {
                text.line(format!("{term} from route-filter {net} prefix-length-range /{length}-/{length}"));
            }
            if leaving {
                text.line(format!("{term} then local-preference 0"));
            }
            text.line(format!("{term} then accept"));
        }
    }
    text.line("set policy-options policy-statement lanlord-in term rest then reject");
    text.part("What goes out to the nodes: nothing.");
    text.line("set policy-options policy-statement lanlord-out then reject");
    text.part(
        "All nodes carry traffic at the same time. per-packet is Junos's word for per flow. If forwarding-table has an export policy",
    );
    text.say("already, put load-balance per-packet there.");
    text.line("set policy-options policy-statement lanlord-ecmp then load-balance per-packet");
    text.line("set routing-options forwarding-table export lanlord-ecmp");
    text.say("Where flows between two hosts all take one way, hash ports, too (which statement, depends on the device), such as:");
    for family in router.accepted.keys() {
        let inet = inet(*family);
        text.say(format!("set forwarding-options hash-key family {inet} layer-3"));
        text.say(format!("set forwarding-options hash-key family {inet} layer-4"));
    }
    for group in &router.groups {
        self::group(router, group, text);
    }
}

fn group(router: &Router, group: &Group, text: &mut Text) {
    let mut notes = vec!["The nodes dial.".to_owned()];
    if group.port != 179 {
        notes.push(format!("Junos listens on port 179 only: remove peerPort ({}) from Lanlord's configuration.", group.port));
    }
    notes.extend(group.key.as_ref().and_then(|key| key.whence.as_ref()).map(|whence| format!("TCP MD5: {whence}")));
    if let Some(hops) = group.security {
        notes.push(format!(
            "GTSM (RFC 5082): what the nodes send has a TTL of 255, and so has this. What came over more than {hops} hop(s) only a \
             firewall filter drops. (If ttl is refused here, remove ttlSecurityHops of the peer.)"
        ));
    }
    if group.graceful_restart {
        notes.push("Junos helps others to restart (RFC 4724) unless it is told not to.".to_owned());
    }
    text.part(notes.remove(0));
    for note in notes {
        text.say(note);
    }
    let mut set = |what: &str| text.line(format!("set protocols bgp group {} {what}", group.name));
    set(if group.internal { "type internal" } else { "type external" });
    set(&format!("local-address {}", group.address));
    set("passive");
    set(&format!("hold-time {}", group.hold_time));
    set("import lanlord-in");
    set("export lanlord-out");
    set(if router.has_several_ases() { "multipath multiple-as" } else { "multipath" });
    for family in &group.families {
        let unicast = format!("family {} unicast prefix-limit", inet(*family));
        set(&format!("{unicast} maximum {}", router.limit(*family)));
        set(&format!("{unicast} teardown 80 idle-timeout 5"));
    }
    if !group.internal {
        set(&format!("peer-as {}", group.asn));
    }
    match group.security {
        Some(_) if group.adjacent => set("ttl 255"),
        Some(_) => set("multihop ttl 255"),
        None if !group.adjacent && !group.internal => set("multihop ttl 255"),
        None => {}
    }
    if let Some(key) = &group.key {
        set(&format!("authentication-key \"{}\"", key.printed()));
    }
    if let Some(bfd) = &group.bfd {
        set(&format!("bfd-liveness-detection minimum-receive-interval {}", bfd.receive));
        set(&format!("bfd-liveness-detection transmit-interval minimum-interval {}", bfd.transmit));
        set(&format!("bfd-liveness-detection multiplier {}", bfd.multiplier));
        set(if group.adjacent { "bfd-liveness-detection session-mode single-hop" } else { "bfd-liveness-detection session-mode multihop" });
    }
    for (node, address) in &group.nodes {
        set(&format!("neighbor {address} description {node}"));
    }
}

fn inet(family: Family) -> &'static str {
    match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    }
}
