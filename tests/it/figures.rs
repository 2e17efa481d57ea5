//! Every figure of the agent at once, in a cluster where everything is amiss: what `/metrics` can show, for all who must know its names.
//!
//! No field is left to its default, so that a new figure has to be given here, and with it reaches the reference page and the checks of
//! alerts and dashboard.

use std::collections::{BTreeMap, BTreeSet};

use lanlord::addr::MacAddr;
use lanlord::facts::{BgpMessages, LinkName, NodeName, ServiceKey};
use lanlord::telemetry::metrics::{
    Announced, Count, Figures, Layer2Figures, MemberFigures, PeerFigures, PeerLabels, PoolFigures, SessionFigures, SessionLabels,
    Unannounced,
};

/// The expressions of MetalLB's alerts (its chart 0.16.1 with its values, under the name `metallb`).
pub(crate) const ALERTS_OF_METALLB: [(&str, &str); 7] = [
    ("MetalLBStaleConfig", r#"metallb_k8s_client_config_stale_bool{job=~"metallb.*"} == 1"#),
    ("MetalLBConfigNotLoaded", r#"metallb_k8s_client_config_loaded_bool{job=~"metallb.*"} == 0"#),
    ("MetalLBAddressPoolExhausted", r#"metallb_allocator_addresses_in_use_total{pool!~""} >= on(pool) metallb_allocator_addresses_total"#),
    (
        "MetalLBAddressPoolUsage75Percent",
        r#"( metallb_allocator_addresses_in_use_total{pool!~""} / on(pool) metallb_allocator_addresses_total ) * 100 > 75"#,
    ),
    (
        "MetalLBAddressPoolUsage85Percent",
        r#"( metallb_allocator_addresses_in_use_total{pool!~""} / on(pool) metallb_allocator_addresses_total ) * 100 > 85"#,
    ),
    (
        "MetalLBAddressPoolUsage95Percent",
        r#"( metallb_allocator_addresses_in_use_total{pool!~""} / on(pool) metallb_allocator_addresses_total ) * 100 > 95"#,
    ),
    ("MetalLBBGPSessionDown", r#"metallb_bgp_session_up{job=~"metallb.*"} == 0"#),
];

/// An agent that has something to say of everything.
pub(crate) fn everything() -> Figures {
    let ip = "192.168.1.240".parse().unwrap();
    let service = || ServiceKey::new("default", "web");
    let announced = |protocol, ip: &str| Announced { service: service(), protocol, node: NodeName::new("pi1"), ip: ip.parse().unwrap() };
    Figures {
        pools: [("lan".to_owned(), PoolFigures { usable: Count { v4: 2, v6: 3 }, in_use: Count { v4: 2, v6: 3 } })].into(),
        announced: [announced("layer2", "192.168.1.240"), announced("bgp", "192.168.1.241")].into(),
        layer2: [(ip, Layer2Figures { received: 3, responses: 2, gratuitous: 1 })].into(),
        unannounced: [Unannounced { service: service(), ip, reason: "NoLink" }].into(),
        conflicts: [(ip, MacAddr([2, 0, 0, 0, 0, 1]))].into(),
        kernel_answers: [(LinkName::new("kube-ipvs0"), 1)].into(),
        config_loaded: false,
        config_stale: true,
        config_problems: 1,
        config_unmatched: 1,
        leader: false,
        members: 3,
        others: MemberFigures {
            states: [(NodeName::new("pi2"), "suspected")].into(),
            blocked: [NodeName::new("pi2")].into(),
            missing: [NodeName::new("pi3")].into(),
            suspicions: 1,
            refutations: 1,
            evictions: 1,
        },
        sessions: sessions(),
        peers: peers(),
        moves: [("Drained", 1)].into(),
        rivals: BTreeSet::from(["MetalLB".to_owned()]),
        repairs: 1,
        dataplane_unhealthy: true,
        services_pending: 1,
        services_assigned: 1,
        api_reachable: false,
        detached: true,
        updates: 1,
        update_errors: 1,
        api_writes: [(("patch", "leases", "forbidden"), 1)].into(),
        events_dropped: 1,
    }
}

fn sessions() -> BTreeMap<SessionLabels, SessionFigures> {
    let session = |peer: &str, port| {
        let labels = SessionLabels { peer: peer.parse().unwrap(), link: "eth0".to_owned(), port };
        (labels, SessionFigures { up: false, sent: 1, received: 1, discarded: 1, ups: 1, downs: 1 })
    };
    [session("192.168.1.12", 7474), session("192.168.1.1", 3784)].into()
}

fn peers() -> BTreeMap<PeerLabels, PeerFigures> {
    let labels = PeerLabels { peer: "192.168.1.1:179".parse().unwrap(), link: None, vrf: Some(LinkName::new("red")) };
    let messages = BgpMessages { opens: 1, updates: 1, notifications: 1, keepalives: 1, route_refreshes: 1 };
    let figures =
        PeerFigures { up: false, announced: 1, pending: 1, sent: messages, received: messages, faults: 1, established: 1, lost: 1 };
    [(labels, figures)].into()
}
