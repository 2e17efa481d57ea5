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
//! `announce: false` on a pool: no advertisement is implied for it. Whatever can be said in one line can be said here too, so that a whole file can be the line `addresses: …`.

use super::fields::Fields;
use super::oneline;
use super::raw::{Implied, Reading};
use super::spec::{self, BgpKind};
use super::tree::Node;

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
        spec::l2_advertisement(name, entry.place.clone(), &mut fields, reading);
        fields.finish(reading);
    }
    let kinds = [
        ("bgpPeers", BgpKind::Peer),
        ("bgpAdvertisements", BgpKind::Advertisement),
        ("bfdProfiles", BgpKind::BfdProfile),
        ("communities", BgpKind::Community),
    ];
    for (list, kind) in kinds {
        for entry in fields.list(list, reading) {
            let Some(mut fields) = entry_fields(entry, &format!("an entry of `{list}`"), reading) else { continue };
            let name = fields.text("name", reading);
            spec::bgp(kind, name, entry.place.clone(), &mut fields, reading);
            fields.finish(reading);
        }
    }
    fields.finish(reading);
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
