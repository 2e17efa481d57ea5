//! MetalLB's configuration before 0.13: one ConfigMap `config` with `address-pools`, `peers`, `bgp-communities`, `bfd-profiles`.
//!
//! A pool says itself how it is announced (`protocol: layer2` or `bgp`), so each one becomes a pool and an advertisement.

use super::fields::Fields;
use super::problem::nearest;
use super::raw::{At, Implied, Protocol, RawAdvertisement, RawPool, Reading};
use super::spec;
use super::tree::{Node, Value, quoted};
use crate::facts::Labels;

/// Whether a document is of this form.
pub(crate) fn is_legacy(node: &Node) -> bool {
    let peers = || match &node.get("peers")?.value {
        Value::List(items) => Some(items.iter().any(|peer| peer.get("my-asn").is_some())),
        Value::Null | Value::Scalar(_) | Value::Map(_) => None,
    };
    ["address-pools", "bgp-communities", "bfd-profiles"].iter().any(|name| node.get(name).is_some()) || peers().unwrap_or(false)
}

/// One document.
pub(crate) fn read(node: &Node, reading: &mut Reading) {
    let Some(mut fields) = Fields::of(node, "the configuration", reading) else { return };
    for entry in fields.list("address-pools", reading) {
        pool(entry, reading);
    }
    for name in ["peers", "bgp-communities", "bfd-profiles"] {
        if let Some(node) = fields.take(name) {
            reading.note(&node.place, format!("`{name}` is read, but this version does not speak BGP yet"));
        }
    }
    fields.finish(reading);
}

fn pool(entry: &Node, reading: &mut Reading) {
    let Some(mut fields) = Fields::of(entry, "an entry of `address-pools`", reading) else { return };
    let name = fields.text("name", reading);
    let protocol = protocol(entry, &mut fields, reading);
    let before = reading.problems.len();
    let ranges = fields.take("addresses").map(|node| spec::addresses(node, reading)).unwrap_or_default();
    let unreadable = reading.problems.len() > before || fields.resembles("addresses");
    let auto_assign = fields.flag("auto-assign", reading).unwrap_or(true);
    let avoid_buggy_ips = fields.flag("avoid-buggy-ips", reading).unwrap_or(false);
    fields.ignore(&["bgp-advertisements"]);
    fields.finish(reading);
    let Some(name) = name else {
        reading.problem(&entry.place, "this pool has no `name`", "add `name:`, such as `name: default`");
        return;
    };
    spec::check_name(&name, "a pool", reading);
    reading.raw.advertisements.push(RawAdvertisement {
        protocol: protocol.unwrap_or(Protocol::L2),
        place: entry.place.clone(),
        name: None,
        pools: vec![name.clone()],
        pool_selectors: Vec::new(),
        node_selectors: Vec::new(),
        interfaces: Vec::new(),
        service_selectors: Vec::new(),
        preferred: Vec::new(),
    });
    let labels = Labels::new();
    reading.raw.pools.push(RawPool {
        name,
        labels,
        ranges,
        unreadable,
        auto_assign,
        avoid_buggy_ips,
        share_across_namespaces: true,
        allocation: None,
        implied: Implied::Alone,
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
