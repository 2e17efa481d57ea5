//! BFD sessions: with the other members (liveness) and with routers. MetalLB knows the latter only.

use std::fmt;
use std::net::IpAddr;

use super::Figures;
use super::rows::Rows;

/// UDP ports of BFD with routers (RFC 5881 §4, RFC 5883 §5).
const ROUTER_PORTS: [u16; 2] = [3784, 4784];

/// A BFD session: with a router ([`ROUTER_PORTS`]), or with another member (any other port).
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

impl Figures {
    pub(super) fn sessions(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
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
        rows.counters("lanlord_bfd_session_downs", "Times the session went from Up to another state", of(|figures| figures.downs))?;
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
