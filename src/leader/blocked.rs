//! Members whose kernel answers and whose liveness packets do not come through: told once each by the leader, for all would see the same.
//!
//! Nothing is lost by it but time: such a member's death is noticed by its silent kernel, after about ten seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::facts::{Event, EventKind, NodeName, Snapshot, Subject};
use crate::machine::Instant;

/// What lasts is told again, but no more often than this: Events vanish after an hour.
pub const AGAIN: Duration = Duration::from_secs(3600);

/// Who was told of, and when.
#[derive(Debug, Default)]
pub struct Blocked {
    told: BTreeMap<NodeName, Instant>,
}

impl Blocked {
    /// Those of `blocked` to be told of now. One that is blocked on and off is told of no more often than one that stays so.
    pub fn due(&mut self, blocked: &BTreeSet<NodeName>, now: Instant) -> Vec<NodeName> {
        self.told.retain(|_, at| now.since(*at) < AGAIN);
        let due: Vec<NodeName> = blocked.iter().filter(|node| !self.told.contains_key(*node)).cloned().collect();
        self.told.extend(due.iter().map(|node| (node.clone(), now)));
        due
    }

    /// When one that is still blocked is to be told of again.
    pub fn next(&self, blocked: &BTreeSet<NodeName>) -> Option<Instant> {
        self.told.iter().filter(|(node, _)| blocked.contains(*node)).map(|(_, at)| *at + AGAIN).min()
    }
}

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
    fn each_member_is_told_of_once_an_hour_while_it_is_blocked() {
        let (mut told, start) = (Blocked::default(), Instant::default());
        let blocked: BTreeSet<NodeName> = ["pi2".into(), "pi3".into()].into();
        assert_eq!(told.due(&blocked, start), ["pi2".into(), "pi3".into()]);
        assert!(told.due(&blocked, start + AGAIN / 2).is_empty());
        assert_eq!(told.next(&blocked), Some(start + AGAIN));
        assert_eq!(told.due(&blocked, start + AGAIN), ["pi2".into(), "pi3".into()]);
    }

    #[test]
    fn one_that_flaps_is_not_told_of_each_time_and_another_one_is_told_of_at_once() {
        let (mut told, start) = (Blocked::default(), Instant::default());
        told.due(&["pi2".into()].into(), start);
        assert_eq!(told.next(&BTreeSet::new()), None);
        told.due(&BTreeSet::new(), start + AGAIN / 4);
        assert_eq!(told.due(&["pi2".into(), "pi3".into()].into(), start + AGAIN / 2), ["pi3".into()]);
    }

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
