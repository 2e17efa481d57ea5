//! Who lives: a member that holds its Lease and against whom nothing speaks.

use std::collections::BTreeMap;

use crate::facts::{Evidence, Living, LivingMember, Member, NodeName, Snapshot};

/// The members that may own addresses. `evidence` is what this agent's senses say beside the API server.
pub fn living(snapshot: &Snapshot, evidence: &BTreeMap<NodeName, Evidence>) -> Living {
    let members =
        snapshot.members.values().filter(|member| member.instance.is_some() && verdict(snapshot, member, evidence).is_none()).map(
            |member| {
                (
                    member.node.clone(),
                    LivingMember {
                        generation: member.generation,
                        links: member.links.clone(),
                        detached: false,
                        dataplane_unhealthy: member.dataplane_unhealthy,
                    },
                )
            },
        );
    Living { members: members.collect() }
}

/// What speaks against a member that holds its Lease.
pub fn verdict(snapshot: &Snapshot, member: &Member, evidence: &BTreeMap<NodeName, Evidence>) -> Option<Evidence> {
    match snapshot.nodes.get(&member.node) {
        None => Some(Evidence::NodeGone),
        Some(node) if node.out_of_service => Some(Evidence::OutOfService),
        Some(_) => evidence.get(&member.node).copied(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::facts::{Labels, Node, Uid};

    fn snapshot(out_of_service: bool) -> Snapshot {
        let node = Node {
            name: "n1".into(),
            uid: Uid::default(),
            labels: Labels::new(),
            addresses: Vec::new(),
            ready: false,
            network_unavailable: false,
            unschedulable: false,
            out_of_service,
            excluded: false,
        };
        let member = |name: &str, instance: Option<&str>| Member {
            node: name.into(),
            instance: instance.map(ToOwned::to_owned),
            generation: 3,
            resource_version: "1".to_owned(),
            ..Member::default()
        };
        let members = [member("n1", Some("a")), member("gone", Some("b")), member("left", None)];
        Snapshot {
            nodes: Arc::new([("n1".into(), Arc::new(node))].into()),
            members: Arc::new(members.into_iter().map(|member| (member.node.clone(), Arc::new(member))).collect()),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_member_lives_while_it_holds_its_lease_and_its_node_exists_ready_or_not() {
        let living = living(&snapshot(false), &BTreeMap::new());
        assert_eq!(living.members.keys().map(NodeName::as_str).collect::<Vec<_>>(), ["n1"]);
    }

    #[test]
    fn a_node_out_of_service_is_lost() {
        assert!(living(&snapshot(true), &BTreeMap::new()).members.is_empty());
    }

    #[test]
    fn evidence_of_the_senses_counts() {
        let evidence = BTreeMap::from([("n1".into(), Evidence::SessionExpired)]);
        assert!(living(&snapshot(false), &evidence).members.is_empty());
    }
}
