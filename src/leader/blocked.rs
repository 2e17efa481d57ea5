//! Members whose kernel answers and whose liveness packets do not come through: told once each by the leader, for all would see the same.
//!
//! Nothing is lost by it but time: such a member's death is noticed by its silent kernel, after about ten seconds.

use crate::facts::{Event, EventKind, NodeName, Snapshot, Subject};

/// The words for it; `None` if the Node does not exist (any more). `me` is the node that does not hear it.
pub fn event(snapshot: &Snapshot, me: &NodeName, node: &NodeName, port: u16) -> Option<Event> {
    let uid = snapshot.nodes.get(node)?.uid.clone();
    let message = format!(
        "no liveness packets (UDP {port}) pass between {me} and {node}, although the kernel of {node} answers: its loss would be noticed \
         in about 10 s instead of under 1 s; open UDP {port} between the nodes, or see whether its agent runs (kubectl get pods -n lanlord -o wide)"
    );
    Some(Event { subject: Subject::Node(node.clone(), uid), kind: EventKind::Warning, reason: "LivenessBlocked", message })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::facts::{Labels, Node, Uid};

    #[test]
    fn the_event_says_what_it_means_and_what_to_do() {
        let node = Node {
            name: "pi3".into(),
            uid: Uid::default(),
            labels: Labels::new(),
            addresses: Vec::new(),
            ready: true,
            network_unavailable: false,
            unschedulable: false,
            out_of_service: false,
            excluded: false,
            servicelb: false,
        };
        let snapshot = Snapshot { nodes: Arc::new([("pi3".into(), Arc::new(node))].into()), ..Snapshot::default() };
        let event = event(&snapshot, &"pi1".into(), &"pi3".into(), 7474).unwrap();
        assert!(matches!(event.subject, Subject::Node(ref name, _) if name.as_str() == "pi3"));
        for words in ["UDP 7474", "between pi1 and pi3", "10 s instead of under 1 s", "open UDP 7474", "kubectl get pods"] {
            assert!(event.message.contains(words), "{}", event.message);
        }
        assert_eq!(super::event(&snapshot, &"pi1".into(), &"gone".into(), 7474), None);
    }
}
