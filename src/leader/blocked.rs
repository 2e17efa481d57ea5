//! Members whose kernel answers and whose liveness packets do not come through: told once each by the leader, for all would see the same.
//! On their Nodes, and on the ConfigMap, where people look who have just installed Lanlord.
//!
//! Nothing is lost by it but time: such a member's death is noticed by its silent kernel, after about ten seconds.

use crate::facts::{Event, EventKind, NodeName, PODS, Snapshot, Subject, Uid, reason};

/// The Events for it: one for each Node that exists, and one for all of them on `text`. `me` is the node that does not hear them.
pub fn events(snapshot: &Snapshot, me: &NodeName, nodes: &[NodeName], port: u16, text: Option<&Subject>) -> Vec<Event> {
    let there: Vec<(&NodeName, Uid)> = nodes.iter().filter_map(|node| Some((node, snapshot.nodes.get(node)?.uid.clone()))).collect();
    let event = |subject, names: &str| {
        let message = format!(
            "no liveness packets (UDP {port}) pass between {me} and {names}, although the kernel there answers: a loss would be noticed in \
             about 10 s instead of under 1 s; open UDP {port} between the nodes, or see whether an agent runs there ({PODS})"
        );
        Event { subject, kind: EventKind::Warning, reason: reason::LIVENESS_BLOCKED, message }
    };
    let names = there.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>().join(", ");
    let whole = text.filter(|_| !there.is_empty()).map(|text| event(text.clone(), &names));
    there.into_iter().map(|(node, uid)| event(Subject::Node(node.clone(), uid), node.as_str())).chain(whole).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::facts::Node;

    #[test]
    fn the_event_says_what_it_means_and_what_to_do() {
        let node = Node { name: "pi3".into(), ready: true, ..Node::default() };
        let snapshot = Snapshot { nodes: Arc::new([("pi3".into(), Arc::new(node))].into()), ..Snapshot::default() };
        let text = Subject::ConfigMap("lanlord".to_owned(), "lanlord".to_owned(), Uid::default());
        let told = events(&snapshot, &"pi1".into(), &["pi3".into(), "gone".into()], 7474, Some(&text));
        let [node, whole] = &told[..] else { panic!("{told:?}") };
        assert!(matches!(node.subject, Subject::Node(ref name, _) if name.as_str() == "pi3"));
        assert_eq!(whole.subject, text);
        for words in ["UDP 7474", "between pi1 and pi3,", "10 s instead of under 1 s", "open UDP 7474", "kubectl get pods"] {
            assert!(node.message.contains(words) && whole.message.contains(words), "{told:?}");
        }
        assert_eq!(events(&snapshot, &"pi1".into(), &["gone".into()], 7474, Some(&text)), []);
    }
}
