//! BIRD 2 and 3, as in `bird.conf`: both read this. A template for each peer, a protocol for each node.

use std::collections::BTreeSet;

use super::router::{Group, Router, list};
use super::text::{Text, digit};

/// From the kernel's tables to neighbours.
pub(super) fn write(router: &Router, text: &mut Text) {
    text.part(
        "Leave out what the file has already: router id, protocol device, protocol bfd, and protocol kernel, of which BIRD takes one",
    );
    text.say("for each table (then export these routes there, too, and let it merge paths).");
    if let Some(identifier) = router.identifier {
        text.line(format!("router id {identifier};"));
    }
    text.line("protocol device { }");
    text.part("Into the kernel's table, all ways to an address together: all nodes carry traffic at the same time.");
    for family in router.accepted.keys() {
        let digit = digit(*family);
        text.line(format!("protocol kernel lanlord_kernel{digit} {{"));
        text.line(format!("  ipv{digit} {{ import none; export where proto ~ \"lanlord_*\"; }};"));
        text.line(format!("  merge paths on limit {};", router.paths()));
        text.line("}");
    }
    if router.has_bfd() {
        text.line("protocol bfd lanlord_bfd { }");
    }
    text.part("What may come in: the pools, in the lengths in which they are announced, and nothing else. A node that is about to leave");
    text.say("says so with the community GRACEFUL_SHUTDOWN (RFC 8326): the others are preferred at once.");
    for (family, prefixes) in &router.accepted {
        let pools = list(prefixes.iter().map(|(net, length)| format!("{net}{{{length},{length}}}")));
        text.line(format!("filter lanlord_in{} {{", digit(*family)));
        text.line(format!("  if net !~ [ {pools} ] then reject;"));
        text.line("  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;");
        text.line("  accept;");
        text.line("}");
    }
    text.part("The nodes.");
    let mut names = BTreeSet::new();
    for group in &router.groups {
        let template = name(&format!("{}_template", group.name), &mut names);
        self::template(router, group, &template, text);
        for (node, address) in &group.nodes {
            let protocol = name(&format!("{}_{node}", group.name), &mut names);
            text.line(format!(
                "protocol bgp {protocol} from {template} {{ description \"{node}\"; neighbor {address} as {}; }}",
                group.asn
            ));
        }
    }
}

fn template(router: &Router, group: &Group, name: &str, text: &mut Text) {
    text.line(format!("template bgp {name} {{"));
    let port = if group.port == 179 { String::new() } else { format!(" port {}", group.port) };
    text.line(format!("  local {}{port} as {};", group.address, router.asn));
    text.line("  passive on;                 # the nodes dial");
    match (group.adjacent, group.security) {
        (true, _) => text.line("  direct;"),
        (false, Some(hops)) => text.line(format!("  multihop {hops};")),
        (false, None) => text.line("  multihop;"),
    }
    if group.security.is_some() {
        text.line("  ttl security on;            # packets from further away are dropped (RFC 5082)");
    }
    text.line(format!("  hold time {};", group.hold_time));
    if group.has_keepalives() {
        text.line(format!("  keepalive time {};", group.keepalive_time));
    }
    if let Some(key) = &group.key {
        if let Some(whence) = &key.whence {
            text.line(format!("  # TCP MD5: {whence}"));
        }
        text.line(format!("  password \"{}\";", key.printed()));
    }
    if let Some(bfd) = &group.bfd {
        let (receive, transmit) = (bfd.receive, bfd.transmit);
        text.line("  bfd {                       # the nodes' own intervals, seen from here");
        text.line(format!("    min rx interval {receive} ms; min tx interval {transmit} ms; multiplier {};", bfd.multiplier));
        text.line("  };");
    }
    if group.graceful_restart {
        text.line("  graceful restart aware;     # routes stay while an agent restarts (RFC 4724)");
    }
    for family in &group.families {
        let digit = digit(*family);
        let extended = if digit == 4 && group.extended_next_hop { " extended next hop on;" } else { "" };
        let limit = router.limit(*family);
        text.line(format!(
            "  ipv{digit} {{ import filter lanlord_in{digit}; import limit {limit} action block; export none;{extended} }};"
        ));
    }
    text.line("}");
}

/// A name that BIRD takes, unlike all `names`.
fn name(text: &str, names: &mut BTreeSet<String>) -> String {
    let plain: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut name = plain.clone();
    let mut n = 2;
    while !names.insert(name.clone()) {
        name = format!("{plain}_{n}");
        n += 1;
    }
    name
}
