//! BGP sessions, under MetalLB's names.

use std::fmt;
use std::net::SocketAddr;

use super::Figures;
use super::rows::Rows;
use crate::facts::{BgpMessages, LinkName};

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

impl Figures {
    pub(super) fn peers(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{SessionFigures, SessionLabels};

    fn labels(peer: &str, link: Option<&str>, vrf: Option<&str>) -> PeerLabels {
        PeerLabels { peer: peer.parse().unwrap(), link: link.map(LinkName::new), vrf: vrf.map(LinkName::new) }
    }

    #[test]
    fn routers_with_the_same_address_are_not_taken_for_one() {
        let mut figures = Figures::default();
        for (announced, vrf) in [(1, None), (2, Some("red")), (3, Some("blue"))] {
            figures.peers.insert(labels("10.0.0.1:179", None, vrf), PeerFigures { announced, ..PeerFigures::default() });
        }
        for (announced, link) in [(4, "eth0"), (5, "eth1")] {
            figures.peers.insert(labels("[fe80::1]:179", Some(link), None), PeerFigures { announced, ..PeerFigures::default() });
            let labels = SessionLabels { peer: "fe80::1".parse().unwrap(), link: link.to_owned(), port: 3784 };
            figures.sessions.insert(labels, SessionFigures { ups: announced, ..SessionFigures::default() });
        }
        let text = figures.text();
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
        let mut figures = Figures::default();
        let sent = BgpMessages { opens: 1, updates: 2, notifications: 3, keepalives: 4, route_refreshes: 5 };
        let received = BgpMessages { opens: 6, updates: 7, notifications: 8, keepalives: 9, route_refreshes: 10 };
        let peer = PeerFigures { up: true, announced: 11, pending: 12, sent, received, faults: 13, established: 14, lost: 15 };
        figures.peers.insert(labels("[fd00::1]:179", None, None), peer);
        let text = figures.text();
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
}
