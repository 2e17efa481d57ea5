//! The fields of MetalLB's `spec`, which native YAML and MetalLB's documents share (metallb.io/v1beta1, BGPPeer also v1beta2).
//! Here are pools and advertisements; peers, BFD profiles and communities are in `bgp`.

use super::fields::{self, Fields};
use super::problem::Place;
use super::raw::{At, Implied, Protocol, RawAdvertisement, RawPool, RawRange, Reading};
use super::tree::{Node, Value, quoted};
use super::{Preferred, ServiceAllocation, bgp, oneline, selector};
use crate::facts::Labels;

/// Whether `name` can name an object: what Kubernetes allows, and capital letters.
pub(crate) fn is_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 253
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Tells a name that cannot be one.
pub(crate) fn check_name(name: &At<String>, what: &str, reading: &mut Reading) {
    if !is_name(&name.value) {
        let message = format!("{} cannot be the name of {what}", quoted(&name.value));
        reading.problem(&name.place, message, "use letters, digits, `-` and `.`, with a letter or digit at both ends");
    }
}

/// An `IPAddressPool`.
pub(crate) fn pool(name: At<String>, labels: Labels, implied: Implied, fields: &mut Fields<'_>, reading: &mut Reading) {
    check_name(&name, "a pool", reading);
    let before = reading.problems.len();
    let ranges = fields.take("addresses").map(|node| addresses(node, reading)).unwrap_or_default();
    let unreadable = reading.problems.len() > before || fields.resembles("addresses");
    let auto_assign = fields.flag("autoAssign", reading).unwrap_or(true);
    let avoid_buggy_ips = fields.flag("avoidBuggyIPs", reading).unwrap_or(false);
    // MetalLB never looks at namespaces here, and its users may rely on it.
    let share_across_namespaces = fields.flag("shareAcrossNamespaces", reading).unwrap_or(implied == Implied::Alone);
    let allocation = fields.take("serviceAllocation").and_then(|node| allocation(node, reading));
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

/// `addresses`: a list, or the text of the one-line form.
pub(crate) fn addresses(node: &Node, reading: &mut Reading) -> Vec<At<RawRange>> {
    match (&node.value, node.as_text()) {
        (Value::List(items), _) => items.iter().filter_map(|item| address(item, reading)).collect(),
        (_, Some(text)) => oneline::ranges(text, reading),
        (_, None) => {
            let message = format!("`addresses` has to be a list of ranges, not {}", node.description());
            reading.problem(&node.place, message, "put each range on a line of its own below `addresses:`, starting with `- `");
            Vec::new()
        }
    }
}

fn address(item: &Node, reading: &mut Reading) -> Option<At<RawRange>> {
    let text = fields::text(item, "an entry of `addresses`", reading)?;
    oneline::range(&text.value, &text.place, reading)
}

fn allocation(node: &Node, reading: &mut Reading) -> Option<ServiceAllocation> {
    let mut fields = Fields::of(node, "`serviceAllocation`", reading)?;
    let priority = fields.number("priority", 0, u64::from(u32::MAX), reading);
    let allocation = ServiceAllocation {
        priority: priority.and_then(|at| u32::try_from(at.value).ok()).filter(|priority| *priority > 0),
        namespaces: fields.texts("namespaces", reading).into_iter().map(|at| at.value).collect(),
        namespace_selectors: selector::plain_list(&mut fields, "namespaceSelectors", reading),
        service_selectors: selector::plain_list(&mut fields, "serviceSelectors", reading),
    };
    fields.finish(reading);
    Some(allocation)
}

/// An `L2Advertisement`.
pub(crate) fn l2_advertisement(name: Option<At<String>>, place: &Place, fields: &mut Fields<'_>, reading: &mut Reading) {
    let advertisement = RawAdvertisement {
        node_selectors: selector::plain_list(fields, "nodeSelectors", reading),
        interfaces: interfaces(fields, reading),
        preferred: preferred(fields, reading),
        ..advertisement(Protocol::L2, name, place, fields, reading)
    };
    reading.raw.advertisements.push(advertisement);
}

/// What advertisements of both protocols have.
fn advertisement(
    protocol: Protocol,
    name: Option<At<String>>,
    place: &Place,
    fields: &mut Fields<'_>,
    reading: &mut Reading,
) -> RawAdvertisement {
    if let Some(name) = &name {
        check_name(name, "an advertisement", reading);
    }
    let pools = fields.texts("ipAddressPools", reading);
    RawAdvertisement {
        name,
        pool_selectors: selector::list(fields, "ipAddressPoolSelectors", reading),
        service_selectors: selector::plain_list(fields, "serviceSelectors", reading),
        ..RawAdvertisement::of(protocol, pools, place.clone())
    }
}

fn interfaces(fields: &mut Fields<'_>, reading: &mut Reading) -> Vec<String> {
    let names = fields.texts("interfaces", reading);
    for name in &names {
        if name.value.contains('*') {
            reading.problem(
                &name.place,
                format!("{} has a star, but interfaces are named exactly here", quoted(&name.value)),
                "list each interface by its full name",
            );
        } else if !oneline::is_link_name(&name.value) {
            let message = format!("{} cannot be the name of an interface", quoted(&name.value));
            reading.problem(&name.place, message, "write a name as `ip link` shows it, such as `eth0`");
        }
    }
    names.into_iter().map(|name| name.value).collect()
}

fn preferred(fields: &mut Fields<'_>, reading: &mut Reading) -> Vec<Preferred> {
    let mut preferred = Vec::new();
    for node in fields.list("preferredNodeSelectors", reading) {
        let Some(mut fields) = Fields::of(node, "an entry of `preferredNodeSelectors`", reading) else { continue };
        let weight = fields.number("weight", 1, 100, reading);
        let selector = fields.take("preference").map(|node| selector::read(&fields, node, "preference", reading));
        for (name, present) in [("weight", weight.is_some()), ("preference", selector.is_some())] {
            if !present && node.get(name).is_none() {
                reading.problem(&node.place, format!("this preference has no `{name}`"), format!("add `{name}:`"));
            }
        }
        fields.finish(reading);
        if let (Some(weight), Some(Some(selector))) = (weight, selector) {
            preferred.push(Preferred { weight: u32::try_from(weight.value).unwrap_or(1), selector });
        }
    }
    preferred
}

/// A `BGPAdvertisement`.
pub(crate) fn bgp_advertisement(name: Option<At<String>>, place: &Place, fields: &mut Fields<'_>, reading: &mut Reading) {
    let advertisement = RawAdvertisement {
        node_selectors: selector::plain_list(fields, "nodeSelectors", reading),
        routes: bgp::advertisement::read(fields, reading),
        ..advertisement(Protocol::Bgp, name, place, fields, reading)
    };
    let for_services = !advertisement.service_selectors.is_empty();
    bgp::advertisement::check_services(&advertisement.routes, for_services, fields.name("aggregationLength"), reading);
    reading.raw.advertisements.push(advertisement);
}
