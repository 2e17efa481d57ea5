//! MetalLB's configuration before 0.13: one ConfigMap `config` with `address-pools`, `peers`, `bgp-communities`, `bfd-profiles`.
//!
//! A pool says itself how it is announced (`protocol: layer2` or `bgp`), so each one becomes a pool and an advertisement. The fields
//! of peers, advertisements and profiles are today's in another spelling.

use super::fields::Fields;
use super::problem::nearest;
use super::raw::{At, Implied, Protocol, RawAdvertisement, RawPool, Reading};
use super::tree::{Node, Value, quoted};
use super::{bgp, spec};
use crate::facts::Labels;

/// Today's names and the old ones.
const SPELLING: [(&str, &str); 24] = [
    ("myASN", "my-asn"),
    ("peerASN", "peer-asn"),
    ("peerAddress", "peer-address"),
    ("sourceAddress", "source-address"),
    ("peerPort", "peer-port"),
    ("holdTime", "hold-time"),
    ("keepaliveTime", "keepalive-time"),
    ("routerID", "router-id"),
    ("nodeSelectors", "node-selectors"),
    ("matchLabels", "match-labels"),
    ("matchExpressions", "match-expressions"),
    ("bfdProfile", "bfd-profile"),
    ("ebgpMultiHop", "ebgp-multihop"),
    ("aggregationLength", "aggregation-length"),
    ("aggregationLengthV6", "aggregation-length-v6"),
    ("localPref", "localpref"),
    ("receiveInterval", "receive-interval"),
    ("transmitInterval", "transmit-interval"),
    ("detectMultiplier", "detect-multiplier"),
    ("echoInterval", "echo-interval"),
    ("echoMode", "echo-mode"),
    ("passiveMode", "passive-mode"),
    ("minimumTtl", "minimum-ttl"),
    ("autoAssign", "auto-assign"),
];

fn spelling(name: &'static str) -> &'static str {
    SPELLING.iter().find(|(today, _)| *today == name).map_or(name, |(_, old)| old)
}

/// By these, `peers` of this form are told from those in one line.
const OF_A_PEER: [&str; 3] = ["my-asn", "peer-asn", "peer-address"];

/// Whether a document is of this form.
pub(crate) fn is_legacy(node: &Node) -> bool {
    let peers = || match &node.get("peers")?.value {
        Value::List(items) => Some(items.iter().any(|peer| OF_A_PEER.iter().any(|name| peer.get(name).is_some()))),
        Value::Null | Value::Scalar(_) | Value::Map(_) => None,
    };
    ["address-pools", "bgp-communities", "bfd-profiles"].iter().any(|name| node.get(name).is_some()) || peers().unwrap_or(false)
}

/// One document.
pub(crate) fn read(node: &Node, reading: &mut Reading) {
    let Some(mut fields) = Fields::spelt(node, "the configuration", spelling, reading) else { return };
    for entry in fields.list("address-pools", reading) {
        if let Some(fields) = fields.inner(entry, "an entry of `address-pools`", reading) {
            pool(entry, fields, reading);
        }
    }
    for entry in fields.list("peers", reading) {
        if let Some(fields) = fields.inner(entry, "an entry of `peers`", reading) {
            peer(entry, fields, reading);
        }
    }
    for entry in fields.list("bfd-profiles", reading) {
        let Some(mut fields) = fields.inner(entry, "an entry of `bfd-profiles`", reading) else { continue };
        let name = fields.text("name", reading);
        bgp::bfd::read(name, &entry.place, &mut fields, reading);
        fields.finish(reading);
    }
    if let Some(communities) = fields.take("bgp-communities").and_then(|node| Fields::of(node, "`bgp-communities`", reading)) {
        communities.each(|key, node| {
            bgp::community::named(At { value: key.name.clone(), place: key.place.clone() }, node, reading);
        });
    }
    fields.finish(reading);
}

fn peer(entry: &Node, mut fields: Fields<'_>, reading: &mut Reading) {
    if let Some(place) = fields.key_place("peer-autodiscovery") {
        fields.ignore(&["peer-autodiscovery"]);
        reading.note(&place, "`peer-autodiscovery` was never part of MetalLB and is not read: write each peer out");
    }
    // Names came later.
    bgp::peer::read(None, &entry.place, &mut fields, reading);
    fields.finish(reading);
}

fn pool(entry: &Node, mut fields: Fields<'_>, reading: &mut Reading) {
    let name = fields.text("name", reading);
    let protocol = protocol(entry, &mut fields, reading);
    let before = reading.problems.len();
    let ranges = fields.take("addresses").map(|node| spec::addresses(node, reading)).unwrap_or_default();
    let unreadable = reading.problems.len() > before || fields.resembles("addresses");
    let auto_assign = fields.flag("autoAssign", reading).unwrap_or(true);
    let avoid_buggy_ips = fields.flag("avoid-buggy-ips", reading).unwrap_or(false);
    let routes = fields.list("bgp-advertisements", reading);
    let Some(name) = name else {
        reading.problem(&entry.place, "this pool has no `name`", "add `name:`, such as `name: default`");
        return;
    };
    spec::check_name(&name, "a pool", reading);
    for node in routes {
        let Some(mut fields) = fields.inner(node, "an entry of `bgp-advertisements`", reading) else { continue };
        let routes = bgp::advertisement::read(&mut fields, reading);
        fields.finish(reading);
        let advertisement = RawAdvertisement::of(Protocol::Bgp, vec![name.clone()], node.place.clone());
        reading.raw.advertisements.push(RawAdvertisement { routes, ..advertisement });
    }
    // One that is announced over BGP without saying how is announced plainly.
    let protocol = protocol.unwrap_or(Protocol::L2);
    if protocol == Protocol::L2 || routes.is_empty() {
        reading.raw.advertisements.push(RawAdvertisement::of(protocol, vec![name.clone()], entry.place.clone()));
    }
    fields.finish(reading);
    let (labels, allocation, implied) = (Labels::new(), None, Implied::Alone);
    let share_across_namespaces = true;
    reading.raw.pools.push(RawPool {
        name,
        labels,
        ranges,
        unreadable,
        auto_assign,
        avoid_buggy_ips,
        share_across_namespaces,
        allocation,
        implied,
    });
}

fn protocol(entry: &Node, fields: &mut Fields<'_>, reading: &mut Reading) -> Option<Protocol> {
    let Some(At { value, place }) = fields.text("protocol", reading) else {
        reading.problem(&entry.place, "this pool has no `protocol`", "add `protocol: layer2` or `protocol: bgp`");
        return None;
    };
    match value.as_str() {
        "layer2" => Some(Protocol::L2),
        "bgp" => Some(Protocol::Bgp),
        other => {
            let help = nearest(other, ["layer2", "bgp"])
                .map_or_else(|| "write `layer2` or `bgp`".to_owned(), |near| format!("did you mean `{near}`?"));
            reading.problem(&place, format!("{} is not a protocol", quoted(other)), help);
            None
        }
    }
}
