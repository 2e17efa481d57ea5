//! A ConfigMap, as the API server has it or as a manifest in a file: which key is read how.
//!
//! | key | is |
//! |---|---|
//! | `addresses`, `addresses.NAME`, `peers`, `asn`, settings | one line each |
//! | `config.yaml`, `config`, any `*.yaml`, `*.yml`, `*.json` | what a file may hold |
//! | `cidr-NAMESPACE`, `range-NAMESPACE` and others of kube-vip's | ranges, as its cloud provider reads them |
//! | any other whose text holds Kubernetes objects | the same |

use super::document;
use super::fields::Fields;
use super::metallb::described;
use super::raw::Reading;
use super::tree::{Node, Value};
use super::{kubevip, oneline};

/// The name our ConfigMap has unless the person chose another.
const NAME: &str = "lanlord";

/// A manifest of `kind: ConfigMap`; somebody else's is skipped with a note.
pub(crate) fn manifest(node: &Node, reading: &mut Reading) {
    let metadata = node.get("metadata");
    let name = metadata.and_then(|metadata| metadata.get_text("name")).unwrap_or_default();
    let called = match metadata.and_then(|metadata| metadata.get_text("namespace")) {
        Some(namespace) => format!("ConfigMap {namespace}/{name}"),
        None => format!("ConfigMap {name}"),
    };
    if reading.inside_configmap {
        reading.problem(&node.place, format!("{called} stands inside a ConfigMap"), "put its keys into the outer one");
        return;
    }
    let Some(data) = node.get("data") else { return };
    // MetalLB's was called `config` unless told otherwise, and its charts told otherwise.
    let legacy = data.get_text("config").is_some_and(|text| ["address-pools", "peer-asn"].iter().any(|key| text.contains(key)));
    let kube_vip = matches!(&data.value, Value::Map(keys) if keys.iter().any(|(key, _)| kubevip::has_addresses(&key.name)));
    if name == NAME || legacy || kube_vip || data.get("addresses").is_some() {
        read(data, &called, reading);
    } else {
        reading.note(&node.place, format!("{} is skipped: the configuration is in one called `{NAME}`", described(node, "ConfigMap")));
    }
}

/// The keys of `data`.
pub(crate) fn read(data: &Node, called: &str, reading: &mut Reading) {
    let Some(fields) = Fields::of(data, called, reading) else { return };
    let mut fields = fields.sorted();
    oneline::read(&mut fields, reading);
    kubevip::read(&mut fields, reading);
    let mut texts: Vec<&Node> = ["config.yaml", "config"].into_iter().filter_map(|name| fields.take(name)).collect();
    let ending = |name: &str| [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
    texts.extend(fields.take_where(|name| ending(name).then_some(name)).into_iter().map(|(_, _, node)| node));
    texts.extend(fields.take_objects());
    reading.inside_configmap = true;
    for node in texts {
        match node.as_text() {
            Some(text) => document::read(text, reading),
            None => {
                let message = format!("a key of a ConfigMap holds a text, not {}", node.description());
                reading.problem(&node.place, message, "put ` |` after the colon, so that what follows is a text");
            }
        }
    }
    reading.inside_configmap = false;
    fields.finish(reading);
}
