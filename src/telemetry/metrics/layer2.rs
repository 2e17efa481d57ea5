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

/// An assigned address that nobody announces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Unannounced {
    /// Of this Service.
    pub service: ServiceKey,
    /// The address.
    pub ip: IpAddr,
    /// Why, in one word.
    pub reason: &'static str,
}

/// ARP and NDP of one address, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layer2Figures {
    /// Requests heard that were ours to answer.
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
        rows.gauges("metallb_speaker_announced", "1 for each address that this node announces", announced)?;
        let unannounced = self.unannounced.iter().map(|Unannounced { service, ip, reason }| {
            ([("service", service.to_string()), ("ip", ip.to_string()), ("reason", (*reason).to_owned())], 1.0)
        });
        rows.gauges("lanlord_service_not_announced", "1 for each assigned address that nobody announces (leader only)", unannounced)?;
        let conflicts = self.conflicts.iter().map(|(ip, mac)| ([("ip", ip.to_string()), ("mac", mac.to_string())], 1.0));
        rows.gauges("lanlord_address_conflict", "1 for each address that this node sees another machine of the LAN use", conflicts)?;
        let kernel = self.kernel_answers.iter().map(|(link, count)| ([("link", link.to_string())], *count as f64));
        rows.gauges("lanlord_kernel_answers_arp", "Assigned addresses that this node's kernel answers for by itself", kernel)?;
        let of = |figure: fn(&Layer2Figures) -> u64| {
            self.layer2.iter().map(move |(ip, figures)| ([("ip", ip.to_string())], figure(figures) as f64))
        };
        rows.untyped("metallb_layer2_requests_received", "ARP and NDP requests for the address that were answered", of(|f| f.received))?;
        rows.untyped("metallb_layer2_responses_sent", "ARP and NDP answers sent", of(|f| f.responses))?;
        rows.untyped("metallb_layer2_gratuitous_sent", "ARP and NDP announcements sent", of(|f| f.gratuitous))
    }
}
