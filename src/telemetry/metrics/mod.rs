//! Every metric of the program: one struct of plain figures, and the names under which they are shown.
//!
//! Names and labels are MetalLB's where the meaning is the same, so that its dashboards and alerts work; the rest is `lanlord_*`.
//! The figures are gathered anew for each answer: a pool or Service that is gone leaves no stale series behind.

mod agent;
mod bfd;
mod bgp;
mod layer2;
mod members;
mod pools;
mod process;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

pub use bfd::{SessionFigures, SessionLabels};
pub use bgp::{PeerFigures, PeerLabels};
pub use layer2::{Announced, Layer2Figures, Unannounced};
pub use members::MemberFigures;
pub use pools::{Count, PoolFigures};
pub use process::resident_memory;
use rows::Rows;

use crate::addr::MacAddr;
use crate::facts::LinkName;

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything `/metrics` shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// By name; of the leader only, for rules divide one figure of a pool by the other.
    pub pools: BTreeMap<String, PoolFigures>,
    /// What this node announces.
    pub announced: BTreeSet<Announced>,
    /// By address.
    pub layer2: BTreeMap<IpAddr, Layer2Figures>,
    /// Addresses that nobody announces; of the leader only.
    pub unannounced: BTreeSet<Unannounced>,
    /// Addresses that another machine uses, with its MAC.
    pub conflicts: BTreeMap<IpAddr, MacAddr>,
    /// Addresses that this node's kernel answers for by itself, by link.
    pub kernel_answers: BTreeMap<LinkName, u64>,
    /// A valid configuration was read at least once.
    pub config_loaded: bool,
    /// The newest configuration is not valid, and the last good one is in force.
    pub config_stale: bool,
    /// Problems of the newest configuration.
    pub config_problems: u64,
    /// Advertisements, interfaces and pools of the configuration in force that have nothing to work on in this cluster.
    pub config_unmatched: u64,
    /// This instance is the leader.
    pub leader: bool,
    /// Living members.
    pub members: u64,
    /// The other members, one by one.
    pub others: MemberFigures,
    /// The liveness sessions.
    pub sessions: BTreeMap<SessionLabels, SessionFigures>,
    /// The BGP sessions.
    pub peers: BTreeMap<PeerLabels, PeerFigures>,
    /// Addresses that moved while this agent led, by reason.
    pub moves: BTreeMap<&'static str, u64>,
    /// Other load balancers at work on the same Services, by name; of the leader only.
    pub rivals: BTreeSet<String>,
    /// Times that a status which something else had changed was written back, while this agent led.
    pub repairs: u64,
    /// kube-proxy of this node fails its health check.
    pub dataplane_unhealthy: bool,
    /// Services that wait for an address.
    pub services_pending: u64,
    /// Services with an address.
    pub services_assigned: u64,
    /// The API server answers.
    pub api_reachable: bool,
    /// This agent asked the API server and got no answer: it works on with what it knows.
    pub detached: bool,
    /// Objects that the API server told of.
    pub updates: u64,
    /// Watches of the API server that failed.
    pub update_errors: u64,
    /// Writes to the API server by (verb, resource, outcome).
    pub api_writes: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// Kubernetes Events that were not written.
    pub events_dropped: u64,
}

impl Figures {
    /// The text of `/metrics`.
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes everything");
        text
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut rows = Rows { encoder: &mut encoder };
        self.pools(&mut rows)?;
        self.layer2(&mut rows)?;
        self.agent(&mut rows)?;
        self.members(&mut rows)?;
        self.sessions(&mut rows)?;
        self.peers(&mut rows)?;
        process::write(&mut rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{NodeName, ServiceKey};

    #[test]
    fn metrics_have_the_names_and_labels_of_metallb() {
        let mut figures = Figures::default();
        let usable = Count { v4: 11, v6: 2 };
        figures.pools.insert("a".to_owned(), PoolFigures { usable, in_use: Count { v4: 3, v6: 0 } });
        figures.announced.insert(Announced {
            service: ServiceKey::new("default", "nginx"),
            protocol: "layer2",
            node: NodeName::new("pi1"),
            ip: "192.168.1.240".parse().unwrap(),
        });
        figures.layer2.insert("192.168.1.240".parse().unwrap(), Layer2Figures { received: 7, responses: 6, gratuitous: 5 });
        figures.api_writes.insert(("patch", "leases", "ok"), 4);
        let text = figures.text();
        for line in [
            "# TYPE metallb_allocator_addresses_total gauge",
            "metallb_allocator_addresses_total{pool=\"a\"} 13.0",
            "metallb_allocator_ipv6_addresses_total{pool=\"a\"} 2.0",
            "metallb_allocator_addresses_in_use_total{pool=\"a\"} 3.0",
            "metallb_speaker_announced{service=\"default/nginx\",protocol=\"layer2\",node=\"pi1\",ip=\"192.168.1.240\"} 1.0",
            "metallb_layer2_requests_received{ip=\"192.168.1.240\"} 7.0",
            "metallb_layer2_gratuitous_sent{ip=\"192.168.1.240\"} 5.0",
            "metallb_k8s_client_config_loaded_bool 0.0",
            "lanlord_api_writes_total{verb=\"patch\",resource=\"leases\",outcome=\"ok\"} 4.0",
            "lanlord_events_dropped_total 0.0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn members_sessions_and_moves_are_shown_one_by_one() {
        let mut figures = Figures::default();
        let states = [(NodeName::new("pi2"), "up"), (NodeName::new("pi3"), "suspected")].into();
        figures.others = MemberFigures {
            states,
            blocked: ["pi4".into()].into(),
            missing: ["pi5".into()].into(),
            suspicions: 3,
            refutations: 1,
            evictions: 2,
        };
        let labels = SessionLabels { peer: "192.168.1.12".parse().unwrap(), link: "eth0".to_owned(), port: 7474 };
        figures.sessions.insert(labels, SessionFigures { up: true, sent: 9, received: 8, discarded: 7, ups: 6, downs: 5 });
        let labels = SessionLabels { peer: "192.168.1.1".parse().unwrap(), link: "eth0".to_owned(), port: 3784 };
        figures.sessions.insert(labels, SessionFigures { up: true, sent: 4, received: 3, discarded: 2, ups: 1, downs: 0 });
        figures.moves.insert("Drained", 5);
        figures.detached = true;
        let text = figures.text();
        assert!(!text.contains("metallb_bfd_session_up{peer=\"192.168.1.12\"}"), "a member is no router");
        for line in [
            "# TYPE lanlord_member_state gauge",
            "lanlord_member_state{node=\"pi2\",state=\"up\"} 1.0",
            "lanlord_member_state{node=\"pi3\",state=\"suspected\"} 1.0",
            "lanlord_member_blocked{node=\"pi4\"} 1.0",
            "lanlord_member_missing{node=\"pi5\"} 1.0",
            "lanlord_member_suspicions_total 3.0",
            "lanlord_member_refutations_total 1.0",
            "lanlord_member_evictions_total 2.0",
            "lanlord_bfd_session_up{peer=\"192.168.1.12\",link=\"eth0\",port=\"7474\"} 1.0",
            "lanlord_bfd_control_packets_sent_total{peer=\"192.168.1.12\",link=\"eth0\",port=\"7474\"} 9.0",
            "lanlord_bfd_control_packets_received_total{peer=\"192.168.1.12\",link=\"eth0\",port=\"7474\"} 8.0",
            "lanlord_bfd_control_packets_discarded_total{peer=\"192.168.1.12\",link=\"eth0\",port=\"7474\"} 7.0",
            "metallb_bfd_session_up{peer=\"192.168.1.1\"} 1.0",
            "metallb_bfd_control_packet_input{peer=\"192.168.1.1\"} 3.0",
            "metallb_bfd_control_packet_output{peer=\"192.168.1.1\"} 4.0",
            "metallb_bfd_session_up_events{peer=\"192.168.1.1\"} 1.0",
            "metallb_bfd_session_down_events{peer=\"192.168.1.1\"} 0.0",
            "lanlord_moves_total{reason=\"Drained\"} 5.0",
            "lanlord_detached 1.0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_process_tells_of_itself() {
        assert!(resident_memory().unwrap() > 1 << 20);
        assert!(Figures::default().text().contains("process_cpu_seconds_total"));
    }
}
