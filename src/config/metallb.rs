//! MetalLB's documents as they are: Kubernetes objects of group `metallb.io`, alone or in lists.
//!
//! The namespace is not looked at. Objects of other groups are skipped with a note, so that a directory of manifests can be given
//! as it is; `status` and what the API server adds to `metadata` are ignored.

use super::bgp;
use super::configmap;
use super::fields::{self, Fields};
use super::problem::nearest;
use super::raw::{At, Implied, Reading};
use super::spec;
use super::tree::{Node, quoted};
use crate::facts::Labels;

const GROUP: &str = "metallb.io";

/// Kinds that configure something.
const KINDS: [&str; 6] = ["IPAddressPool", "L2Advertisement", "BGPPeer", "BGPAdvertisement", "BFDProfile", "Community"];

/// Kinds that only report something.
const REPORTS: [&str; 3] = ["ConfigurationState", "ServiceL2Status", "ServiceBGPStatus"];

/// Fields of `metadata` that mean nothing here (`metav1.ObjectMeta`).
const METADATA: [&str; 13] = [
    "namespace",
    "annotations",
    "generateName",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Whether a document is a Kubernetes object.
pub(crate) fn is_object(node: &Node) -> bool {
    node.get("kind").is_some() || node.get("apiVersion").is_some()
}

/// One object.
pub(crate) fn object(node: &Node, reading: &mut Reading) {
    item(node, None, reading);
}

/// One object, perhaps of a typed list, in whose items the API server leaves out version and kind.
fn item(node: &Node, of: Option<(&At<String>, &At<String>)>, reading: &mut Reading) {
    let Some(mut fields) = Fields::of(node, "a Kubernetes object", reading) else { return };
    let implied = of.filter(|_| !is_object(node));
    let api_version = fields.text("apiVersion", reading).or_else(|| implied.map(|(version, _)| version.clone()));
    let Some(kind) = fields.text("kind", reading).or_else(|| implied.map(|(_, kind)| kind.clone())) else {
        reading.problem(&node.place, "this object has an `apiVersion` but no `kind`", format!("add `kind:`, one of {}", KINDS.join(", ")));
        return;
    };
    let written = api_version;
    let api_version = written.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let ours = group == GROUP;
    if kind.value == "List" || ours && kind.value.ends_with("List") {
        let single = kind.value.strip_suffix("List").filter(|single| !single.is_empty());
        let single = single.map(|single| At { value: single.to_owned(), place: kind.place.clone() });
        for entry in fields.list("items", reading) {
            item(entry, written.as_ref().zip(single.as_ref()), reading);
        }
    } else if group.is_empty() && kind.value == "ConfigMap" {
        configmap::manifest(node, reading);
    } else if KINDS.contains(&kind.value.as_str()) {
        let expected = if kind.value == "BGPPeer" { "metallb.io/v1beta2" } else { "metallb.io/v1beta1" };
        if !ours || !(version == "v1beta1" || api_version == expected) {
            let (place, message) = match node.get("apiVersion") {
                Some(node) => (&node.place, format!("`{}` is of `{expected}`, not of {}", kind.value, quoted(&api_version))),
                None => (&kind.place, format!("this {} has no `apiVersion`", kind.value)),
            };
            reading.problem(place, message, format!("write `apiVersion: {expected}`"));
        }
        known(node, &kind, fields, reading);
    } else if ours && REPORTS.contains(&kind.value.as_str()) {
        reading.note(&node.place, format!("{} is skipped: it reports, and configures nothing", described(node, &kind.value)));
    } else if ours {
        let help = match nearest(&kind.value, KINDS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("MetalLB's kinds are {}", KINDS.join(", ")),
        };
        reading.problem(&kind.place, format!("unknown kind {}", quoted(&kind.value)), help);
    } else {
        reading.note(&node.place, format!("{} is skipped: not a configuration of addresses", described(node, &kind.value)));
    }
}

/// The kind, and the name if there is one.
pub(crate) fn described(node: &Node, kind: &str) -> String {
    match node.get("metadata").and_then(|metadata| metadata.get_text("name")) {
        Some(name) => format!("{kind} {}", quoted(name)),
        None => kind.to_owned(),
    }
}

fn known(node: &Node, kind: &At<String>, mut fields: Fields<'_>, reading: &mut Reading) {
    let metadata = fields.take("metadata").and_then(|node| metadata(node, reading));
    let spec = fields.take("spec");
    fields.ignore(&["status"]);
    fields.finish(reading);
    let Some((name, labels)) = metadata else {
        reading.problem(&node.place, format!("this {} has no name", kind.value), "add `metadata:` with `name:`");
        return;
    };
    let what = format!("the `spec` of {} {}", kind.value, quoted(&name.value));
    // `spec: {}`, `spec:` and no spec at all are one to MetalLB's users.
    let empty = Node { place: node.place.clone(), value: super::tree::Value::Null };
    let Some(mut fields) = Fields::of(spec.unwrap_or(&empty), what, reading) else { return };
    let place = &name.place.clone();
    match kind.value.as_str() {
        "IPAddressPool" => spec::pool(name, labels, Implied::Alone, &mut fields, reading),
        "L2Advertisement" => spec::l2_advertisement(Some(name), place, &mut fields, reading),
        "BGPPeer" => bgp::peer::read(Some(name), place, &mut fields, reading),
        "BGPAdvertisement" => spec::bgp_advertisement(Some(name), place, &mut fields, reading),
        "BFDProfile" => bgp::bfd::read(Some(name), place, &mut fields, reading),
        _ => bgp::community::aliases(&mut fields, reading),
    }
    fields.finish(reading);
}

fn metadata(node: &Node, reading: &mut Reading) -> Option<(At<String>, Labels)> {
    let mut fields = Fields::of(node, "`metadata`", reading)?;
    let name = fields.take("name").and_then(|node| fields::text(node, "`name`", reading));
    let labels = fields.labels("labels", reading);
    if let Some(annotations) = node.get("annotations") {
        unread_annotations(annotations, reading);
    }
    fields.ignore(&METADATA);
    fields.finish(reading);
    Some((name?, labels))
}

/// Annotations of these prefixes belong on Services; on a pool somebody expects something of them.
fn unread_annotations(node: &Node, reading: &mut Reading) {
    let super::tree::Value::Map(entries) = &node.value else { return };
    for (key, _) in entries {
        if ["lanlord.dev/", "metallb.io/", "metallb.universe.tf/"].iter().any(|prefix| key.name.starts_with(prefix)) {
            reading.note(&key.place, format!("annotation `{}` has no meaning here: it belongs on a Service", key.name));
        }
    }
}
