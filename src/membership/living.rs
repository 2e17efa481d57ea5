//! Who lives: a member that holds its Lease and against whom nothing speaks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::facts::{Evidence, Living, LivingMember, Member, NodeName, Snapshot};

/// What this agent's senses say beside the API server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Senses {
    /// What speaks against members that hold their Leases.
    pub evidence: BTreeMap<NodeName, Evidence>,
    /// Who is heard, this agent itself among them, and whether it says that it does not reach the API server.
    pub heard: BTreeMap<NodeName, bool>,
    /// This agent does not reach the API server.
    pub detached: bool,
    /// Who was heard announcing what this agent announces, while it was detached.
    pub contested: BTreeMap<IpAddr, NodeName>,
}

/// The members that may own addresses.
pub fn living(snapshot: &Snapshot, senses: &Senses) -> Living {
    let members =
        snapshot.members.values().filter(|member| member.instance.is_some() && verdict(snapshot, member, &senses.evidence).is_none()).map(
            |member| {
                let heard = senses.heard.get(&member.node);
                let (heard, detached) = (heard.is_some(), heard.is_some_and(|detached| *detached));
                (member.node.clone(), LivingMember { heard, detached, ..LivingMember::of(member) })
            },
        );
    Living { members: members.collect(), detached: senses.detached, contested: senses.contested.clone() }
}

/// What speaks against a member that holds its Lease.
pub fn verdict(snapshot: &Snapshot, member: &Member, evidence: &BTreeMap<NodeName, Evidence>) -> Option<Evidence> {
    snapshot.against(member).or_else(|| evidence.get(&member.node).copied())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::facts::Node;

    fn snapshot(out_of_service: bool) -> Snapshot {
        let node = Node { name: "n1".into(), out_of_service, ..Node::default() };
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
        let living = living(&snapshot(false), &Senses::default());
        assert_eq!(living.members.keys().map(NodeName::as_str).collect::<Vec<_>>(), ["n1"]);
    }

    #[test]
    fn a_node_out_of_service_is_lost() {
        assert!(living(&snapshot(true), &Senses::default()).members.is_empty());
    }

    #[test]
    fn evidence_of_the_senses_counts() {
        let evidence = BTreeMap::from([("n1".into(), Evidence::SessionExpired)]);
        assert!(living(&snapshot(false), &Senses { evidence, ..Senses::default() }).members.is_empty());
    }
}
