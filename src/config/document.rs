//! Which door a text comes through: each document is a Kubernetes object, MetalLB's old form, or native YAML.

use super::raw::Reading;
use super::tree::{LARGEST, Text, Value};
use super::{legacy, metallb, native};

/// All documents of a text. One that is not YAML costs only itself.
pub(crate) fn read(text: Text<'_>, reading: &mut Reading) {
    if text.text.len() > LARGEST {
        reading.problem(&text.place(1, 1), format!("this text is larger than {} MiB", LARGEST >> 20), "cut it into smaller files");
        return;
    }
    for document in text.documents() {
        let Some(node) = document.parse(&mut reading.problems) else { continue };
        match &node.value {
            Value::Null => {}
            Value::Map(_) if metallb::is_object(&node) => metallb::object(&node, reading),
            Value::Map(_) if legacy::is_legacy(&node) => legacy::read(&node, reading),
            Value::Map(_) => native::read(&node, reading),
            Value::Scalar(_) | Value::List(_) => {
                let message = format!("this is {}, not a configuration", node.description());
                reading.problem(&node.place, message, "write `addresses: 192.168.1.240-192.168.1.250` with the addresses of your network");
            }
        }
    }
}
