//! What membership works with, and what this node's Lease tells: made of configuration, links and what layer 2 saw. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{Config, Liveness, Settings};
use crate::facts::{Heirs, Link, Links, MemberLink};
use crate::l2;
use crate::membership;
use crate::membership::mesh::Timers;
use crate::plan::eligible::may_announce;

/// What other members announced last of that which this node announces.
pub(super) fn claims(status: &l2::status::Status) -> membership::task::Claims {
    let addresses = status.links.values().flat_map(|link| &link.addresses);
    addresses.filter_map(|(address, status)| status.member.map(|member| (*address, (member.mac, member.at)))).collect()
}

/// What membership works with.
pub(super) fn desired(
    own: membership::own::Desired,
    links: &Arc<Links>,
    config: Option<&Config>,
    heirs: &Arc<Heirs>,
) -> membership::machine::Desired {
    let settings = config.map_or_else(Settings::default, |config| config.settings.clone());
    let Liveness { wired, wireless, port } = settings.liveness;
    membership::machine::Desired {
        own,
        links: links.clone(),
        timers: Timers { wired: (wired.interval, wired.multiplier), wireless: (wireless.interval, wireless.multiplier), port },
        restart_hold: settings.restart_hold,
        heirs: heirs.clone(),
    }
}

/// What this node's Lease tells the others of its links: none without a configuration, for nothing can be announced without one.
pub(super) fn lease_text(known: bool, links: &Links, config: Option<&Config>) -> membership::own::Desired {
    let may = |link: &&Link| config.is_some_and(|config| may_announce(config, link));
    membership::own::Desired {
        known,
        links: links.links.values().filter(may).filter_map(MemberLink::of).collect(),
        gateways: links.gateways.iter().copied().collect::<BTreeSet<_>>(),
        config: config.map(|config| config.hash.clone()),
        leave: false,
        ..membership::own::Desired::default()
    }
}
