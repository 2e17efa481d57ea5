//! From a route to the UPDATE of one peer: which attributes it gets there (RFC 4271 §5), through which next hop, and how many prefixes
//! fit behind them.

use super::desired::Route;
use super::next_hops::NextHops;
use super::status::Agreed;
use crate::addr::{Family, Prefix};
use crate::wire::bgp::{
    Attributes, Codec, GRACEFUL_SHUTDOWN, Message, NextHop, Nlri, Origin, Reachable, Segment, SegmentKind, Update, encoded_length,
    link_bandwidth,
};

/// LOCAL_PREF where none is set; what every router takes as default.
const LOCAL_PREF: u32 = 100;
/// Octets per second of one Gbit/s: what one endpoint counts as a link.
const GBIT: f32 = 125e6;
/// A route that is about to go (RFC 8326 §4.2).
const LOCAL_PREF_LEAVING: u32 = 0;

/// What routes become towards this peer on this connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Context {
    pub(super) agreed: Agreed,
    pub(super) codec: Codec,
    pub(super) local_as: u32,
    pub(super) next_hops: NextHops,
    pub(super) graceful_shutdown: bool,
}

impl Context {
    /// IPv4 routes go through IPv4 if they can, else through IPv6 if that was agreed on (RFC 8950).
    pub(super) fn next_hop(&self, family: Family) -> Option<NextHop> {
        let v6 = self.next_hops.v6();
        match family {
            Family::V4 => self.next_hops.v4.map(NextHop::V4).or(v6.filter(|_| self.agreed.extended_next_hop)),
            Family::V6 => v6,
        }
    }

    /// What a route has beside its next hop.
    pub(super) fn attributes(&self, route: &Route) -> Attributes {
        let internal = self.agreed.internal;
        let asns = vec![self.local_as; 1 + usize::from(route.prepend)];
        let own = || Segment { kind: SegmentKind::Sequence, asns };
        let preference = if self.graceful_shutdown { LOCAL_PREF_LEAVING } else { route.local_pref.unwrap_or(LOCAL_PREF) };
        let mut communities = route.communities.clone();
        communities.extend(self.graceful_shutdown.then_some(GRACEFUL_SHUTDOWN));
        Attributes {
            origin: Some(Origin::Igp),
            as_path: Some(if internal { Vec::new() } else { vec![own()] }),
            next_hop: None,
            med: route.med,
            local_pref: internal.then_some(preference),
            communities: communities.into_iter().collect(),
            large_communities: route.large_communities.iter().copied().collect(),
            others: route.weight.map(|weight| link_bandwidth(self.local_as, weight as f32 * GBIT)).into_iter().collect(),
        }
    }

    /// An UPDATE that announces as many of `prefixes` as fit, and its length; none: not even the first one does.
    pub(super) fn announce(
        &self,
        family: Family,
        attributes: &Attributes,
        prefixes: impl Iterator<Item = Prefix>,
    ) -> Option<(Update, usize)> {
        let next_hop = self.next_hop(family)?;
        let mut update = Update { attributes: attributes.clone(), ..Update::default() };
        match next_hop {
            NextHop::V4(address) => update.attributes.next_hop = Some(address),
            NextHop::V6(_) | NextHop::V6LinkLocal(..) => update.reachable = Some(Reachable { next_hop, nlri: Nlri::none(family) }),
        }
        let (nlri, length) = self.fill(&update, family, prefixes)?;
        match (&mut update.reachable, nlri) {
            (Some(reachable), nlri) => reachable.nlri = nlri,
            (None, Nlri::V4(nlri)) => update.nlri = nlri,
            (None, Nlri::V6(_)) => {}
        }
        Some((update, length))
    }

    /// An UPDATE that withdraws as many of `prefixes` as fit, and its length: in the form that announces them, and IPv4 prefixes that have
    /// no next hop any more in the one that every peer understands (RFC 4271 §4.3).
    pub(super) fn withdraw(&self, family: Family, prefixes: impl Iterator<Item = Prefix>) -> Option<(Update, usize)> {
        let plain = family == Family::V4 && matches!(self.next_hop(family), Some(NextHop::V4(_)) | None);
        let mut update = Update { unreachable: (!plain).then(|| Nlri::none(family)), ..Update::default() };
        let (nlri, length) = self.fill(&update, family, prefixes)?;
        match (&mut update.unreachable, nlri) {
            (Some(unreachable), nlri) => *unreachable = nlri,
            (None, Nlri::V4(nlri)) => update.withdrawn = nlri,
            (None, Nlri::V6(_)) => {}
        }
        Some((update, length))
    }

    /// As many of `prefixes` as fit beside what `update` holds already, and the length that it gets.
    fn fill(&self, update: &Update, family: Family, prefixes: impl Iterator<Item = Prefix>) -> Option<(Nlri, usize)> {
        // One octet more: an attribute that grows beyond 255 has a longer length.
        let mut length = Message::Update(update.clone()).encode(&self.codec).ok()?.len() + 1;
        let mut nlri = Nlri::none(family);
        for prefix in prefixes {
            length += encoded_length(prefix);
            if length > self.codec.longest() {
                length -= encoded_length(prefix);
                break;
            }
            nlri.push(prefix);
        }
        (!nlri.is_empty()).then_some((nlri, length))
    }
}
