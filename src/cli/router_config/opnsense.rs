//! OPNsense: its plugin writes `frr.conf` from what stands in its pages, so this says what to enter there, field by field.

use super::router::{Router, list};
use super::text::{Text, digit};

/// What to enter, as comments; what it should come to follows in FRR's words.
pub(super) fn pages(router: &Router, text: &mut Text) {
    text.part("Enter it in this order; what is not named stays as it is. What FRR then has (Routing > Diagnostics, or vtysh -c 'show");
    text.say("running-config' in a shell) should mean what follows below, as far as OPNsense has fields for it.");
    text.part("Routing > General: Enable");
    text.part("Routing > BGP > Prefix Lists (all: Action permit)");
    for (family, prefixes) in &router.accepted {
        for (n, (net, length)) in (1..).zip(prefixes) {
            let lengths = if net.prefix_len() == *length { String::new() } else { format!(" ge {length} le {length}") };
            let digit = digit(*family);
            text.say(format!("  Name lanlord-v{digit}, IP Version IPv{digit}, Number {}, Network {net}{lengths}", 5 * n));
        }
    }
    text.part("Routing > BGP > Community Lists");
    text.say("  Number 10, Sequence Number 5, Action permit, Community 65535:0");
    text.part("Routing > BGP > Route Maps");
    for (n, family) in (0..).zip(router.accepted.keys()) {
        let digit = digit(*family);
        let (leaving, all) = (20 * n + 10, 20 * n + 20);
        let name = "  Name lanlord-in, Action permit,";
        text.say(format!("{name} ID {leaving}, Prefix List lanlord-v{digit}, Community List 10, Set local-preference 0"));
        text.say(format!("{name} ID {all}, Prefix List lanlord-v{digit}"));
    }
    text.say("  Name lanlord-out, Action deny, ID 10");
    text.part("Routing > BGP > General");
    let identifier = router.identifier.map(|it| format!(", Router ID {it}")).unwrap_or_default();
    let (external, internal) = (router.groups.iter().any(|it| !it.internal), router.groups.iter().any(|it| it.internal));
    text.say(format!("  Enable, BGP AS Number {}{identifier}, Network: empty", router.asn));
    let paths = [(external, "Maximum Paths"), (internal, "Maximum Paths iBGP")];
    text.say(format!("  {}", list(paths.into_iter().filter(|it| it.0).map(|it| format!("{} {}", it.1, router.paths())))));
    if router.has_several_ases() {
        text.say("  Best path: as-path multipath-relax");
    }
    text.part("Routing > BGP > Neighbors");
    for group in &router.groups {
        if let Some(whence) = group.key.as_ref().and_then(|key| key.whence.as_ref()) {
            text.say(format!("  BGP MD5 Password: {whence}"));
        }
        let mut more = format!("Keepalive {}, Hold Down Time {}", group.keepalive_time, group.hold_time);
        if !group.internal && !group.adjacent {
            more += ", Multi-Hop";
        }
        if group.families.len() > 1 {
            more += ", Multi-Protocol";
        }
        if group.bfd.is_some() {
            more += ", BFD";
        }
        if let Some(key) = &group.key {
            more += &format!(", BGP MD5 Password {}", key.printed());
        }
        if group.security.is_some() {
            text.say("  There is no field for GTSM, so the nodes would not hear this router: remove ttlSecurityHops of the peer.");
        }
        for (node, address) in &group.nodes {
            text.say(format!("  Description {node}, Peer-IP {address}, Remote AS {}, {more},", group.asn));
            text.say("    Update-Source: the interface to the nodes, Route-Map In lanlord-in, Route-Map Out lanlord-out");
        }
    }
    if router.has_bfd() {
        text.part(
            "Routing > BFD: Enable, and a neighbor for each node. It has no intervals of its own: FRR's are 300 ms three times, and the",
        );
        text.say("slower side's interval holds.");
    }
    text.part("In FRR's words:");
}
