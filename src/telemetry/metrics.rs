//! Every metric of the program: one struct of plain figures, and the names under which they are shown.
//!
//! Names and labels are MetalLB's where the meaning is the same, so that its dashboards and alerts work; the rest is `lanlord_*`.
//! Tasks replace whole sets of figures: a pool or Service that is gone leaves no stale series behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::facts::{LinkName, NodeName, ServiceKey};

/// UDP ports of BFD with routers (RFC 5881 §4, RFC 5883 §5).
const ROUTER_PORTS: [u16; 2] = [3784, 4784];

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Addresses of a pool, or those in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// IPv4.
    pub v4: u128,
    /// IPv6.
    pub v6: u128,
}

/// One pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolFigures {
    /// Addresses that can be assigned.
    pub usable: Count,
    /// Addresses that are.
    pub in_use: Count,
}

/// An address this node announces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Announced {
    /// For this Service.
    pub service: ServiceKey,
    /// `layer2` or `bgp`.
    pub protocol: &'static str,
    /// This node.
    pub node: NodeName,
    /// The address.
    pub ip: IpAddr,
}

/// ARP and NDP of one address, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layer2Figures {
    /// Requests heard.
    pub received: u64,
    /// Answers sent.
    pub responses: u64,
    /// Announcements sent.
    pub gratuitous: u64,
}

/// A BFD session: with another member (port 7474) or a router (3784).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SessionLabels {
    /// The neighbour's address.
    pub peer: IpAddr,
    /// Our link.
    pub link: String,
    /// UDP destination port.
    pub port: u16,
}

impl SessionLabels {
    /// A link-local address means nothing without its link.
    fn router(&self) -> String {
        match self.peer {
            IpAddr::V6(peer) if peer.is_unicast_link_local() => format!("{peer}%{}", self.link),
            IpAddr::V4(_) | IpAddr::V6(_) => self.peer.to_string(),
        }
    }
}

/// How it goes; packets since it was configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionFigures {
    /// Both hear each other.
    pub up: bool,
    /// Control packets sent.
    pub sent: u64,
    /// Control packets taken.
    pub received: u64,
    /// Control packets that a rule of reception discards.
    pub discarded: u64,
    /// Times it came Up.
    pub ups: u64,
    /// Times it went from Up to another state.
    pub downs: u64,
}

/// A BGP peer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PeerLabels {
    /// Its address and TCP port.
    pub peer: SocketAddr,
    /// The link of a link-local address: routers often have the same one on all theirs.
    pub link: Option<LinkName>,
    /// The device it is reached through; no label where none is set.
    pub vrf: Option<LinkName>,
}

impl PeerLabels {
    fn words(&self) -> Vec<(&'static str, String)> {
        let peer = match &self.link {
            Some(link) => format!("[{}%{link}]:{}", self.peer.ip(), self.peer.port()),
            None => self.peer.to_string(),
        };
        let vrf = self.vrf.as_ref().map(|vrf| ("vrf", vrf.to_string()));
        std::iter::once(("peer", peer)).chain(vrf).collect()
    }
}

/// BGP messages of each type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BgpMessages {
    /// OPEN
    pub opens: u64,
    /// UPDATE
    pub updates: u64,
    /// NOTIFICATION
    pub notifications: u64,
    /// KEEPALIVE
    pub keepalives: u64,
    /// ROUTE-REFRESH
    pub route_refreshes: u64,
}

impl BgpMessages {
    fn total(&self) -> u64 {
        self.opens + self.updates + self.notifications + self.keepalives + self.route_refreshes
    }
}

/// How it goes with a peer; counts since it was configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PeerFigures {
    /// The session is Established.
    pub up: bool,
    /// Routes that the peer was told.
    pub announced: u64,
    /// Routes that it is still to be told of.
    pub pending: u64,
    /// Messages sent.
    pub sent: BgpMessages,
    /// Messages received.
    pub received: BgpMessages,
    /// Errors in UPDATEs that the session survived.
    pub faults: u64,
    /// Times the session came up.
    pub established: u64,
    /// Times it was lost or ended.
    pub lost: u64,
}

/// What this agent takes the other members for. Counts are since the start of this agent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemberFigures {
    /// One word for each.
    pub states: BTreeMap<NodeName, &'static str>,
    /// Those whose kernel answers and whose liveness packets do not come through.
    pub blocked: BTreeSet<NodeName>,
    /// Suspicions by this agent.
    pub suspicions: u64,
    /// Of these, such as the member removed itself.
    pub refutations: u64,
    /// Leases that this agent cleared.
    pub evictions: u64,
}

/// Everything `/metrics` shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// By name; only the leader knows them.
    pub pools: BTreeMap<String, PoolFigures>,
    /// What this node announces.
    pub announced: BTreeSet<Announced>,
    /// By address.
    pub layer2: BTreeMap<IpAddr, Layer2Figures>,
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
    /// Services that wait for an address.
    pub services_pending: u64,
    /// Services with an address.
    pub services_assigned: u64,
    /// The API server answers.
    pub api_reachable: bool,
    /// This agent asked the API server and got no answer: it works on with what it knows.
    pub detached: bool,
    /// Writes to the API server by (verb, resource, outcome).
    pub api_writes: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// Kubernetes Events that were not written.
    pub events_dropped: u64,
}

type Refresh = Box<dyn Fn(&mut Figures) + Send + Sync>;

#[derive(Default)]
struct State {
    figures: Figures,
    refresh: Vec<Refresh>,
}

/// The figures, shared by all tasks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<State>>);

impl Metrics {
    /// All figures unset.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces figures.
    pub fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.state().figures);
    }

    /// Before each answer, `refresh` brings figures up to date that are kept elsewhere. It must not wait.
    pub fn on_scrape(&self, refresh: impl Fn(&mut Figures) + Send + Sync + 'static) {
        self.state().refresh.push(Box::new(refresh));
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        let figures = {
            let State { figures, refresh } = &mut *self.state();
            refresh.iter().for_each(|refresh| refresh(figures));
            figures.clone()
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(figures));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes everything");
        text
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One metric being written.
struct Rows<'a, 'b> {
    encoder: &'a mut DescriptorEncoder<'b>,
}

impl Rows<'_, '_> {
    fn gauges<L: EncodeLabelSet>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (L, f64)>) -> fmt::Result {
        self.plain(name, help, MetricType::Gauge, rows)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn bool(&mut self, name: &str, help: &str, value: bool) -> fmt::Result {
        self.gauge(name, help, f64::from(u8::from(value)))
    }

    /// MetalLB's counters whose name does not end in `_total`: a counter of OpenMetrics would be renamed, and dashboards look for
    /// the name, so their type is told as unknown.
    fn untyped<L: EncodeLabelSet>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (L, f64)>) -> fmt::Result {
        self.plain(name, help, MetricType::Unknown, rows)
    }

    fn plain<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        type_: MetricType,
        rows: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut metric = self.encoder.encode_descriptor(name, help, None, type_)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    fn counters<L: EncodeLabelSet>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (L, f64)>) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
        }
        Ok(())
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut rows = Rows { encoder: &mut encoder };
        self.pools(&mut rows)?;
        self.layer2(&mut rows)?;
        self.state(&mut rows)?;
        self.members(&mut rows)?;
        self.sessions(&mut rows)?;
        self.peers(&mut rows)?;
        process(&mut rows)
    }
}

impl Figures {
    fn pools(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        let both = |count: Count| count.v4.saturating_add(count.v6);
        let pools = |figure: fn(&PoolFigures) -> Count, part: fn(Count) -> u128| {
            self.pools.iter().map(move |(pool, figures)| ([("pool", pool.clone())], part(figure(figures)) as f64))
        };
        rows.gauges("metallb_allocator_addresses_total", "Addresses that can be assigned", pools(|p| p.usable, both))?;
        rows.gauges("metallb_allocator_ipv4_addresses_total", "IPv4 addresses that can be assigned", pools(|p| p.usable, |c| c.v4))?;
        rows.gauges("metallb_allocator_ipv6_addresses_total", "IPv6 addresses that can be assigned", pools(|p| p.usable, |c| c.v6))?;
        rows.gauges("metallb_allocator_addresses_in_use_total", "Addresses in use", pools(|p| p.in_use, both))?;
        rows.gauges("metallb_allocator_ipv4_addresses_in_use_total", "IPv4 addresses in use", pools(|p| p.in_use, |c| c.v4))?;
        rows.gauges("metallb_allocator_ipv6_addresses_in_use_total", "IPv6 addresses in use", pools(|p| p.in_use, |c| c.v6))
    }

    fn layer2(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        let announced = self.announced.iter().map(|announced| {
            let labels = [
                ("service", announced.service.to_string()),
                ("protocol", announced.protocol.to_owned()),
                ("node", announced.node.to_string()),
                ("ip", announced.ip.to_string()),
            ];
            (labels, 1.0)
        });
        rows.gauges("metallb_speaker_announced", "Addresses announced by this node", announced)?;
        let of = |figure: fn(&Layer2Figures) -> u64| {
            self.layer2.iter().map(move |(ip, figures)| ([("ip", ip.to_string())], figure(figures) as f64))
        };
        rows.untyped("metallb_layer2_requests_received", "ARP and NDP requests heard", of(|f| f.received))?;
        rows.untyped("metallb_layer2_responses_sent", "ARP and NDP answers sent", of(|f| f.responses))?;
        rows.untyped("metallb_layer2_gratuitous_sent", "ARP and NDP announcements sent", of(|f| f.gratuitous))
    }

    fn state(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        rows.bool("metallb_k8s_client_config_loaded_bool", "1 if a valid configuration was read at least once", self.config_loaded)?;
        rows.bool("metallb_k8s_client_config_stale_bool", "1 if the newest configuration is not valid", self.config_stale)?;
        rows.gauge("lanlord_config_problems", "Problems of the newest configuration", self.config_problems as f64)?;
        rows.gauge(
            "lanlord_config_unmatched",
            "Advertisements that match no node or interface, and pools that nobody can announce",
            self.config_unmatched as f64,
        )?;
        rows.bool("lanlord_leader", "1 if this instance is the leader", self.leader)?;
        rows.gauge("lanlord_members", "Living members", self.members as f64)?;
        rows.gauge("lanlord_services_assigned", "Services with an address", self.services_assigned as f64)?;
        rows.gauge("lanlord_services_pending", "Services that wait for an address", self.services_pending as f64)?;
        rows.bool("lanlord_api_reachable", "1 if the API server answers", self.api_reachable)?;
        rows.bool("lanlord_detached", "1 while the API server gives no answer and this agent works with what it knows", self.detached)?;
        let writes = self
            .api_writes
            .iter()
            .map(|((verb, resource, outcome), count)| ([("verb", *verb), ("resource", *resource), ("outcome", *outcome)], *count as f64));
        rows.counters("lanlord_api_writes", "Writes to the API server", writes)?;
        rows.counter("lanlord_events_dropped", "Kubernetes Events that were not written", self.events_dropped as f64)?;
        rows.gauges("lanlord_build_info", "1, with the version", [([("version", env!("CARGO_PKG_VERSION"))], 1.0)])
    }
}

impl Figures {
    fn members(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        let MemberFigures { states, blocked, suspicions, refutations, evictions } = &self.others;
        let states = states.iter().map(|(node, state)| ([("node", node.to_string()), ("state", (*state).to_owned())], 1.0));
        rows.gauges("lanlord_member_state", "1 for what this agent takes another member for", states)?;
        let blocked = blocked.iter().map(|node| ([("node", node.to_string())], 1.0));
        rows.gauges("lanlord_member_blocked", "1 for a member whose kernel answers and whose liveness packets do not come", blocked)?;
        rows.counter("lanlord_member_suspicions", "Members suspected by this agent", *suspicions as f64)?;
        rows.counter("lanlord_member_refutations", "Suspicions that the member removed itself", *refutations as f64)?;
        rows.counter("lanlord_member_evictions", "Member Leases cleared by this agent", *evictions as f64)?;
        let moves = self.moves.iter().map(|(reason, count)| ([("reason", *reason)], *count as f64));
        rows.counters("lanlord_moves", "Addresses that moved to another node while this agent led", moves)
    }

    fn sessions(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        let of = |figure: fn(&SessionFigures) -> u64| {
            self.sessions.iter().map(move |(labels, figures)| {
                let SessionLabels { peer, link, port } = labels;
                ([("peer", peer.to_string()), ("link", link.clone()), ("port", port.to_string())], figure(figures) as f64)
            })
        };
        rows.gauges("lanlord_bfd_session_up", "1 if the session is Up", of(|figures| u64::from(figures.up)))?;
        rows.counters("lanlord_bfd_control_packets_sent", "Control packets sent", of(|figures| figures.sent))?;
        rows.counters("lanlord_bfd_control_packets_received", "Control packets taken", of(|figures| figures.received))?;
        rows.counters("lanlord_bfd_control_packets_discarded", "Control packets discarded by a rule of reception", of(|f| f.discarded))?;
        // MetalLB knows BFD with routers only.
        let routers = |figure: fn(&SessionFigures) -> u64| {
            let sessions = self.sessions.iter().filter(|(labels, _)| ROUTER_PORTS.contains(&labels.port));
            sessions.map(move |(labels, figures)| ([("peer", labels.router())], figure(figures) as f64))
        };
        rows.gauges("metallb_bfd_session_up", "1 if the session is Up", routers(|figures| u64::from(figures.up)))?;
        rows.untyped("metallb_bfd_control_packet_input", "Control packets taken", routers(|figures| figures.received))?;
        rows.untyped("metallb_bfd_control_packet_output", "Control packets sent", routers(|figures| figures.sent))?;
        rows.untyped("metallb_bfd_session_up_events", "Times the session came Up", routers(|figures| figures.ups))?;
        rows.untyped("metallb_bfd_session_down_events", "Times the session went from Up to another state", routers(|figures| figures.downs))
    }
}

impl Figures {
    fn peers(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        let of = |figure: fn(&PeerFigures) -> u64| self.peers.iter().map(move |(labels, figures)| (labels.words(), figure(figures) as f64));
        rows.gauges("metallb_bgp_session_up", "1 if the BGP session is Established", of(|peer| u64::from(peer.up)))?;
        rows.gauges("metallb_bgp_announced_prefixes_total", "Routes that the peer was told", of(|peer| peer.announced))?;
        rows.gauges("metallb_bgp_pending_prefixes_total", "Routes that the peer is still to be told of", of(|peer| peer.pending))?;
        // The encoder adds `_total`.
        rows.counters("metallb_bgp_updates", "UPDATEs sent", of(|peer| peer.sent.updates))?;
        rows.untyped("metallb_bgp_updates_total_received", "UPDATEs received", of(|peer| peer.received.updates))?;
        rows.untyped("metallb_bgp_opens_sent", "OPENs sent", of(|peer| peer.sent.opens))?;
        rows.untyped("metallb_bgp_opens_received", "OPENs received", of(|peer| peer.received.opens))?;
        rows.untyped("metallb_bgp_notifications_sent", "NOTIFICATIONs sent", of(|peer| peer.sent.notifications))?;
        rows.untyped("metallb_bgp_keepalives_sent", "KEEPALIVEs sent", of(|peer| peer.sent.keepalives))?;
        rows.untyped("metallb_bgp_keepalives_received", "KEEPALIVEs received", of(|peer| peer.received.keepalives))?;
        rows.untyped("metallb_bgp_route_refresh_sent", "ROUTE-REFRESHes sent", of(|peer| peer.sent.route_refreshes))?;
        rows.untyped("metallb_bgp_total_sent", "Messages sent", of(|peer| peer.sent.total()))?;
        rows.untyped("metallb_bgp_total_received", "Messages received", of(|peer| peer.received.total()))?;
        rows.counters("lanlord_bgp_notifications_received", "NOTIFICATIONs received", of(|peer| peer.received.notifications))?;
        rows.counters("lanlord_bgp_update_faults", "Errors in UPDATEs that the session survived (RFC 7606)", of(|peer| peer.faults))?;
        rows.counters("lanlord_bgp_session_established", "Times the session came up", of(|peer| peer.established))?;
        rows.counters("lanlord_bgp_session_lost", "Times the session was lost or ended", of(|peer| peer.lost))
    }
}

/// Under the names every Prometheus client has for them.
fn process(rows: &mut Rows<'_, '_>) -> fmt::Result {
    if let Some(bytes) = resident_memory() {
        rows.gauge("process_resident_memory_bytes", "Resident memory (VmRSS)", bytes as f64)?;
    }
    if let Some(seconds) = cpu_seconds() {
        rows.counter("process_cpu_seconds", "CPU time, user and system", seconds)?;
    }
    Ok(())
}

/// In bytes.
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// `utime` and `stime` of proc_pid_stat(5), in ticks of 1/100 s on every Linux architecture we build for.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may contain anything; the fields after it are the 3rd and on.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_names_and_labels_of_metallb() {
        let metrics = Metrics::new();
        metrics.update(|figures| {
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
        });
        let text = metrics.text();
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
        let metrics = Metrics::new();
        metrics.update(|figures| {
            let states = [(NodeName::new("pi2"), "up"), (NodeName::new("pi3"), "suspected")].into();
            figures.others = MemberFigures { states, blocked: ["pi4".into()].into(), suspicions: 3, refutations: 1, evictions: 2 };
            let labels = SessionLabels { peer: "192.168.1.12".parse().unwrap(), link: "eth0".to_owned(), port: 7474 };
            figures.sessions.insert(labels, SessionFigures { up: true, sent: 9, received: 8, discarded: 7, ups: 6, downs: 5 });
            let labels = SessionLabels { peer: "192.168.1.1".parse().unwrap(), link: "eth0".to_owned(), port: 3784 };
            figures.sessions.insert(labels, SessionFigures { up: true, sent: 4, received: 3, discarded: 2, ups: 1, downs: 0 });
            figures.moves.insert("Drained", 5);
            figures.detached = true;
        });
        let text = metrics.text();
        assert!(!text.contains("metallb_bfd_session_up{peer=\"192.168.1.12\"}"), "a member is no router");
        for line in [
            "# TYPE lanlord_member_state gauge",
            "lanlord_member_state{node=\"pi2\",state=\"up\"} 1.0",
            "lanlord_member_state{node=\"pi3\",state=\"suspected\"} 1.0",
            "lanlord_member_blocked{node=\"pi4\"} 1.0",
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

    fn labels(peer: &str, link: Option<&str>, vrf: Option<&str>) -> PeerLabels {
        PeerLabels { peer: peer.parse().unwrap(), link: link.map(LinkName::new), vrf: vrf.map(LinkName::new) }
    }

    #[test]
    fn routers_with_the_same_address_are_not_taken_for_one() {
        let metrics = Metrics::new();
        metrics.update(|figures| {
            for (announced, vrf) in [(1, None), (2, Some("red")), (3, Some("blue"))] {
                figures.peers.insert(labels("10.0.0.1:179", None, vrf), PeerFigures { announced, ..PeerFigures::default() });
            }
            for (announced, link) in [(4, "eth0"), (5, "eth1")] {
                figures.peers.insert(labels("[fe80::1]:179", Some(link), None), PeerFigures { announced, ..PeerFigures::default() });
                let labels = SessionLabels { peer: "fe80::1".parse().unwrap(), link: link.to_owned(), port: 3784 };
                figures.sessions.insert(labels, SessionFigures { ups: announced, ..SessionFigures::default() });
            }
        });
        let text = metrics.text();
        for line in [
            "metallb_bgp_announced_prefixes_total{peer=\"10.0.0.1:179\"} 1.0",
            "metallb_bgp_announced_prefixes_total{peer=\"10.0.0.1:179\",vrf=\"red\"} 2.0",
            "metallb_bgp_announced_prefixes_total{peer=\"10.0.0.1:179\",vrf=\"blue\"} 3.0",
            "metallb_bgp_announced_prefixes_total{peer=\"[fe80::1%eth0]:179\"} 4.0",
            "metallb_bgp_announced_prefixes_total{peer=\"[fe80::1%eth1]:179\"} 5.0",
            "metallb_bfd_session_up_events{peer=\"fe80::1%eth0\"} 4.0",
            "metallb_bfd_session_up_events{peer=\"fe80::1%eth1\"} 5.0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn bgp_peers_have_the_names_of_metallb() {
        let metrics = Metrics::new();
        metrics.update(|figures| {
            let sent = BgpMessages { opens: 1, updates: 2, notifications: 3, keepalives: 4, route_refreshes: 5 };
            let received = BgpMessages { opens: 6, updates: 7, notifications: 8, keepalives: 9, route_refreshes: 10 };
            let peer = PeerFigures { up: true, announced: 11, pending: 12, sent, received, faults: 13, established: 14, lost: 15 };
            figures.peers.insert(labels("[fd00::1]:179", None, None), peer);
        });
        let text = metrics.text();
        for (name, value) in [
            ("metallb_bgp_session_up", 1),
            ("metallb_bgp_announced_prefixes_total", 11),
            ("metallb_bgp_pending_prefixes_total", 12),
            ("metallb_bgp_updates_total", 2),
            ("metallb_bgp_updates_total_received", 7),
            ("metallb_bgp_opens_sent", 1),
            ("metallb_bgp_opens_received", 6),
            ("metallb_bgp_notifications_sent", 3),
            ("metallb_bgp_keepalives_sent", 4),
            ("metallb_bgp_keepalives_received", 9),
            ("metallb_bgp_route_refresh_sent", 5),
            ("metallb_bgp_total_sent", 15),
            ("metallb_bgp_total_received", 40),
            ("lanlord_bgp_notifications_received_total", 8),
            ("lanlord_bgp_update_faults_total", 13),
            ("lanlord_bgp_session_established_total", 14),
            ("lanlord_bgp_session_lost_total", 15),
        ] {
            let line = format!("{name}{{peer=\"[fd00::1]:179\"}} {value}.0");
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_is_gone_leaves_no_series() {
        let metrics = Metrics::new();
        metrics.update(|figures| figures.pools = BTreeMap::from([("old".to_owned(), PoolFigures::default())]));
        assert!(metrics.text().contains("old"));
        metrics.update(|figures| figures.pools = BTreeMap::new());
        assert!(!metrics.text().contains("old"));
    }

    #[test]
    fn figures_kept_elsewhere_are_fetched_for_each_answer() {
        let metrics = Metrics::new();
        metrics.on_scrape(|figures| figures.events_dropped += 1);
        assert!(metrics.text().contains("lanlord_events_dropped_total 1.0"));
        assert!(metrics.text().contains("lanlord_events_dropped_total 2.0"));
        assert!(resident_memory().unwrap() > 1 << 20);
        assert!(metrics.text().contains("process_cpu_seconds_total"));
    }
}
