//! The ConfigMap `kubevip` of kube-vip's cloud provider.
//!
//! | key | is |
//! |---|---|
//! | `cidr-global`, `range-global` | the pool `global`, for everybody |
//! | `cidr-NAMESPACE`, `range-NAMESPACE` | a pool for the Services of that namespace, which is tried first |
//! | `interface-global`, `interface-NAMESPACE` | the link on which the pool is announced |
//! | `skip-end-ips-in-cidr` | whether the first and last address of IPv4 prefixes are left out |
//!
//! Two things are better than there: a namespace whose pool is full takes addresses of `global`, and `range-NAMESPACE` counts also
//! where there is a `cidr-global`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::fields::{self, Fields};
use super::oneline;
use super::problem::Place;
use super::raw::{At, Implied, Protocol, RawAdvertisement, RawPool, RawRange, Reading};
use super::tree::{Key, Node, quoted};
use super::{ServiceAllocation, spec};
use crate::addr::{Range, RangeSet};
use crate::facts::Labels;

/// The pool for everybody.
const GLOBAL: &str = "global";

/// Whether a ConfigMap with this key is meant, whatever it is called.
pub(crate) fn has_addresses(name: &str) -> bool {
    scope(name, "cidr-").or_else(|| scope(name, "range-")).is_some()
}

fn scope<'k>(key: &'k str, prefix: &str) -> Option<&'k str> {
    key.strip_prefix(prefix).filter(|scope| !scope.is_empty())
}

/// All keys of this form.
pub(crate) fn read(fields: &mut Fields<'_>, reading: &mut Reading) {
    let skip_ends = fields.take("skip-end-ips-in-cidr").and_then(Node::as_text).is_some_and(|text| text.text.trim() == "true");
    if let Some(place) = fields.key_place("search-order")
        && fields.text("search-order", reading).is_some_and(|order| order.value.trim() == "desc")
    {
        reading.note(&place, "`search-order: desc` is not kept: addresses are handed out from the first to the last");
    }
    for (key, name, _) in fields.take_where(|key| scope(key, "allow-share-").map(|_| key)) {
        let message =
            format!("`{name}` is not read: Services that may share an address say so themselves (annotation lanlord.dev/allow-shared-ip)");
        reading.note(&key.place, message);
    }
    let mut pools: BTreeMap<&str, &Key> = BTreeMap::new();
    for (key, scope, node) in fields.take_where(|key| scope(key, "cidr-")) {
        pool(scope, key, node, skip_ends, reading);
        pools.insert(scope, key);
    }
    for (key, scope, node) in fields.take_where(|key| scope(key, "range-")) {
        if let Some(first) = pools.get(scope) {
            let message = format!("`{}` is not read, as with kube-vip, because `{}` goes before it", key.name, first.name);
            reading.note(&key.place, message);
        } else {
            pool(scope, key, node, false, reading);
            pools.insert(scope, key);
        }
    }
    interfaces(&pools, fields, reading);
}

fn pool(scope: &str, key: &Key, node: &Node, skip_ends: bool, reading: &mut Reading) {
    let name = At { value: scope.to_owned(), place: key.place.clone() };
    spec::check_name(&name, "a pool", reading);
    let before = reading.problems.len();
    let mut addresses = RangeSet::default();
    let Some(text) = node.as_text() else {
        reading.problem(
            &node.place,
            format!("`{}` has to be a text, not {}", key.name, node.description()),
            "write prefixes or ranges, separated by commas",
        );
        return;
    };
    for (entry, place) in oneline::entries(text) {
        if let Some(range) = range(&entry, &place, skip_ends, reading) {
            addresses.insert(range);
        }
    }
    // Entries may overlap there, and the lowest free address is taken.
    let at = |range: Range| At { value: RawRange { range, text: range.to_string() }, place: key.place.clone() };
    let allocation = (scope != GLOBAL).then(|| ServiceAllocation {
        priority: None,
        namespaces: BTreeSet::from([scope.to_owned()]),
        namespace_selectors: Vec::new(),
        service_selectors: Vec::new(),
    });
    reading.raw.pools.push(RawPool {
        name,
        labels: Labels::new(),
        ranges: addresses.ranges().map(at).collect(),
        unreadable: reading.problems.len() > before,
        auto_assign: true,
        avoid_buggy_ips: false,
        share_across_namespaces: false,
        allocation,
        implied: Implied::Always,
    });
}

fn range(entry: &str, place: &Place, skip_ends: bool, reading: &mut Reading) -> Option<Range> {
    let address = entry.split(['/', '-']).next().and_then(|address| address.parse::<IpAddr>().ok());
    if address.is_some_and(|address| address.is_unspecified()) {
        let message = format!("{} asks a DHCP server for addresses, which Lanlord does not do", quoted(entry));
        reading.problem(place, message, "write a range that your DHCP server does not hand out, such as 192.168.1.240-192.168.1.250");
        return None;
    }
    let range = oneline::range(entry, place, reading)?.value.range;
    if !skip_ends || range.len() <= 2 || !range.first().is_ipv4() {
        return Some(range);
    }
    let inner = range.difference(Range::single(range.first()));
    inner.into_iter().flat_map(|inner| inner.difference(Range::single(range.last()))).next()
}

/// `interface-global` is for pools that have none of their own.
fn interfaces(pools: &BTreeMap<&str, &Key>, keys: &mut Fields<'_>, reading: &mut Reading) {
    let written = keys.take_where(|key| scope(key, "interface-"));
    let mut by_scope: BTreeMap<&str, At<String>> = BTreeMap::new();
    for (key, scope, node) in written {
        let Some(link) = fields::text(node, &format!("`{}`", key.name), reading) else { continue };
        if !oneline::is_link_name(&link.value) {
            let message = format!("{} cannot be the name of an interface", quoted(&link.value));
            reading.problem(&link.place, message, "write a name as `ip link` shows it, such as `eth0`");
        } else if scope != GLOBAL && !pools.contains_key(scope) {
            reading.note(
                &key.place,
                format!("`{}` is not read: there is no `range-{scope}` or `cidr-{scope}` whose addresses it could announce", key.name),
            );
        } else {
            by_scope.insert(scope, link);
        }
    }
    for (scope, key) in pools {
        let Some(link) = by_scope.get(scope).or_else(|| by_scope.get(GLOBAL)) else { continue };
        let pool = At { value: (*scope).to_owned(), place: key.place.clone() };
        let advertisement = RawAdvertisement::of(Protocol::L2, vec![pool], link.place.clone());
        reading.raw.advertisements.push(RawAdvertisement { interfaces: vec![link.value.clone()], ..advertisement });
    }
}
