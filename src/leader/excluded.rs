//! The label that keeps nodes from announcing, on every node there is: honouring it would serve nobody, so it is not honoured, and that
//! is told once. kubeadm, Talos and kind put it on control plane nodes, which may be all there are.

use crate::facts::{EXCLUDE_LABEL, Event, EventKind, NodeName, Snapshot, Subject, reason};

/// What to tell if every Node carries the label: on `text`, the ConfigMap, or on the first Node.
pub fn event(snapshot: &Snapshot, text: Option<&Subject>) -> Option<Event> {
    let first = snapshot.nodes.values().next().filter(|_| snapshot.nodes.values().all(|node| node.excluded))?;
    let subject = text.cloned().unwrap_or_else(|| Subject::Node(first.name.clone(), first.uid.clone()));
    let nodes = snapshot.nodes.keys().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
    let message = format!(
        "all nodes ({nodes}) are labelled {EXCLUDE_LABEL}; then nobody could announce anything, so Lanlord goes on as if none was; remove the label \
         from the nodes that shall announce: kubectl label nodes --all {EXCLUDE_LABEL}-"
    );
    Some(Event { subject, kind: EventKind::Warning, reason: reason::EXCLUDE_LABEL_IGNORED, message })
}
