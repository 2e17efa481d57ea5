//! Native YAML: lists of entries, each a `name`, optional `labels` and `description`, and the fields of MetalLB's `spec`.
//!
//! ```yaml
//! pools:
//!   - name: media
//!     addresses: [192.168.1.230-192.168.1.239]
//! l2Advertisements:
//!   - name: wired
//!     ipAddressPools: [media]
//!     interfaces: [eth0]
//! announceInterval: 60        # and the other settings: settings.rs
//! ```
//!
//! `shareAcrossNamespaces: true` on a pool: Services of different namespaces may share its addresses, as with MetalLB.
//! `announce: false` on a pool: no advertisement is implied for it. Whatever can be said in one line can be said here too, so that a whole
//! file can be the line `addresses: …`.

use super::fields::Fields;
use super::oneline;
use super::problem::Place;
use super::raw::{At, Implied, Reading};
use super::tree::Node;
use super::{bgp, spec};

/// One document.
pub(crate) fn read(node: &Node, reading: &mut Reading) {
    let Some(mut fields) = Fields::of(node, "the configuration", reading) else { return };
    oneline::read(&mut fields, reading);
    for entry in fields.list("pools", reading) {
        pool(entry, reading);
    }
    for entry in fields.list("l2Advertisements", reading) {
        let Some(mut fields) = entry_fields(entry, "an entry of `l2Advertisements`", reading) else { continue };
        // Nothing refers to an advertisement, so it may go without a name.
        let name = fields.text("name", reading);
        fields.labels("labels", reading);
        spec::l2_advertisement(name, &entry.place, &mut fields, reading);
        fields.finish(reading);
    }
    bgp(&mut fields, reading);
    fields.finish(reading);
}

fn bgp(fields: &mut Fields<'_>, reading: &mut Reading) {
    type Read = fn(Option<At<String>>, &Place, &mut Fields<'_>, &mut Reading);
    let kinds: [(_, Read); 4] = [
        ("bgpPeers", bgp::peer::read),
        ("bgpAdvertisements", spec::bgp_advertisement),
        ("bfdProfiles", bgp::bfd::read),
        ("communities", community),
    ];
    for (list, read) in kinds {
        for entry in fields.list(list, reading) {
            let Some(mut fields) = entry_fields(entry, &format!("an entry of `{list}`"), reading) else { continue };
            let name = fields.text("name", reading);
            fields.labels("labels", reading);
            read(name, &entry.place, &mut fields, reading);
            fields.finish(reading);
        }
    }
}

/// A document's list of aliases, or one alias in short: `{name: vpn, value: 64512:1}`.
fn community(name: Option<At<String>>, place: &Place, fields: &mut Fields<'_>, reading: &mut Reading) {
    if fields.key_place("communities").is_some() {
        bgp::community::aliases(fields, reading);
    } else {
        bgp::community::alias(name, place, fields, reading);
    }
}

fn entry_fields<'n>(entry: &'n Node, what: &str, reading: &mut Reading) -> Option<Fields<'n>> {
    let mut fields = Fields::of(entry, what, reading)?;
    fields.text("description", reading);
    Some(fields)
}

fn pool(entry: &Node, reading: &mut Reading) {
    let Some(mut fields) = entry_fields(entry, "an entry of `pools`", reading) else { return };
    let labels = fields.labels("labels", reading);
    match fields.text("name", reading) {
        Some(name) => {
            let announced = fields.flag("announce", reading).unwrap_or(true);
            spec::pool(name, labels, if announced { Implied::Always } else { Implied::Never }, &mut fields, reading);
        }
        None => {
            reading.problem(&entry.place, "this pool has no `name`", "add `name:`, such as `name: default`");
            return;
        }
    }
    fields.finish(reading);
}
