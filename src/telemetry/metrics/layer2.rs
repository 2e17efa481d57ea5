//! What this node announces, and its ARP and NDP.

use std::fmt;
use std::net::IpAddr;

use super::Figures;
use super::rows::Rows;
use crate::facts::{NodeName, ServiceKey};

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

impl Figures {
    pub(super) fn layer2(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
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
}
