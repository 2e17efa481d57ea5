//! What `/metrics` shows, read from the wires when somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::status::idle;
use super::wires::Wires;
use crate::addr::Family;
use crate::api::Api;
use crate::api::state::Contact;
use crate::bfd::desired::SessionKey;
use crate::bfd::status::{SessionStatus, State as SessionState};
use crate::bgp::status::{PeerStatus, State, Status as BgpStatus};
use crate::config::{Config, Pool};
use crate::facts::{Links, NodeName, Service, ServiceKey, Snapshot};
use crate::l2::status::Status as L2Status;
use crate::leader::warnings;
use crate::membership::task::Status;
use crate::plan::kernel::answered_by_kernel;
use crate::plan::{GroupPlan, NotAnnounced, Planned, Serving, is_served};
use crate::telemetry::metrics::{
    Announced, Count, Figures, Layer2Figures, MemberFigures, PeerFigures, PeerLabels, PoolFigures, SessionFigures, SessionLabels,
    Unannounced,
};

/// The figures of this agent at this moment.
pub(super) fn figures(wires: &Wires, node: &NodeName, api: &Api) -> Figures {
    // None of them stays borrowed while figures are made of it: layer 2 would wait.
    let (l2, bfd, bgp, membership) =
        (wires.l2_status.borrow().clone(), wires.bfd.borrow().clone(), wires.bgp.borrow().clone(), wires.membership.borrow().clone());
    let (planned, links, contact) = (wires.planned.borrow().clone(), wires.links.borrow().clone(), wires.api.borrow().contact.clone());
    let snapshot = wires.snapshot.borrow().clone().unwrap_or_default();
    let config = wires.config.borrow().clone();
    let problems = wires.rejected.borrow().problems;
    let waits = |service: &&Arc<Service>| {
        service.ingress.is_empty() && config.as_ref().is_none_or(|config| is_served(config, &snapshot, service) == Serving::Ours)
    };
    let assigned = |service: &&Arc<Service>| !service.ingress.is_empty();
    let kernel = answered_by_kernel(&snapshot, &links);
    let (updates, update_errors) = api.seen();
    let figures = Figures {
        announced: announced(&l2, planned.as_deref(), node),
        layer2: layer2(&l2),
        conflicts: l2.conflicts.clone(),
        kernel_answers: kernel.into_iter().map(|(link, addresses)| (link, addresses.len() as u64)).collect(),
        config_loaded: config.is_some(),
        config_stale: problems > 0,
        config_problems: problems,
        config_unmatched: idle(wires).len() as u64,
        leader: *wires.leading.borrow(),
        members: wires.living.borrow().members.len() as u64,
        others: others(&membership, &snapshot),
        sessions: bfd.sessions.iter().map(|(key, status)| session(key, status)).collect(),
        peers: peers(&bgp),
        moves: wires.moves.borrow().clone(),
        repairs: *wires.repairs.borrow(),
        dataplane_unhealthy: *wires.dataplane_unhealthy.borrow(),
        services_pending: snapshot.services.values().filter(waits).count() as u64,
        services_assigned: snapshot.services.values().filter(assigned).count() as u64,
        api_reachable: matches!(contact, Contact::Reachable { .. }),
        detached: contact.is_unreachable(),
        updates,
        update_errors,
        api_writes: api.writes(),
        events_dropped: api.events_dropped(),
        pools: BTreeMap::new(),
        unannounced: BTreeSet::new(),
        rivals: BTreeSet::new(),
    };
    match config.filter(|_| figures.leader) {
        Some(config) => of_leader(figures, planned.as_deref(), &links, &snapshot, &config, node),
        None => figures,
    }
}

/// What only the leader shows: with the same figures from all agents, a rule that joins two of them on `pool` would find several.
fn of_leader(figures: Figures, planned: Option<&Planned>, links: &Links, snapshot: &Snapshot, config: &Config, node: &NodeName) -> Figures {
    let rivals = warnings::rivals(config, snapshot, node, links).into_iter();
    Figures {
        pools: config.pools.iter().map(|it| (it.name.to_string(), pool(it, snapshot))).collect(),
        unannounced: planned.iter().flat_map(|planned| planned.plan.groups.values().flat_map(|plan| unannounced(plan))).collect(),
        rivals: rivals.filter(|it| it.reason != "KernelAnswersARP").map(|it| it.about).collect(),
        ..figures
    }
}

fn pool(pool: &Pool, snapshot: &Snapshot) -> PoolFigures {
    let held = || snapshot.claims.values().filter(|claim| !claim.holders.is_empty() && pool.addresses.contains(claim.address));
    let used = |family| held().filter(|claim| Family::of(claim.address) == family).count() as u128;
    PoolFigures {
        usable: Count { v4: pool.usable(Family::V4), v6: pool.usable(Family::V6) },
        in_use: Count { v4: used(Family::V4), v6: used(Family::V6) },
    }
}

fn unannounced(plan: &GroupPlan) -> impl Iterator<Item = Unannounced> {
    let why = |ip: &IpAddr| {
        let over_bgp = plan.bgp.get(ip).and_then(|announcers| announcers.as_ref().err());
        plan.owner.as_ref().err().or(over_bgp).map_or("NoLink", NotAnnounced::reason)
    };
    let silent = plan.group.claims.iter().filter(|(ip, _)| !plan.is_announced(**ip));
    silent.flat_map(move |(ip, claim)| {
        claim.holders.iter().map(move |holder| Unannounced { service: holder.service.clone(), ip: *ip, reason: why(ip) })
    })
}

/// What this node announces, over layer 2 and over BGP.
fn announced(l2: &L2Status, planned: Option<&Planned>, node: &NodeName) -> BTreeSet<Announced> {
    let mut announced = BTreeSet::new();
    for (ip, status) in l2.links.values().flat_map(|link| &link.addresses) {
        let services = status.service.split(',').filter_map(ServiceKey::parse);
        announced.extend(services.map(|service| Announced { service, protocol: "layer2", node: node.clone(), ip: *ip }));
    }
    for plan in planned.iter().flat_map(|planned| planned.plan.groups.values()) {
        let here = |address: &IpAddr| plan.over_bgp(*address).is_some_and(|announcers| announcers.nodes.contains(node));
        for (ip, claim) in plan.group.claims.iter().filter(|(address, _)| here(address)) {
            let services = claim.holders.iter().map(|holder| holder.service.clone());
            announced.extend(services.map(|service| Announced { service, protocol: "bgp", node: node.clone(), ip: *ip }));
        }
    }
    announced
}

fn layer2(l2: &L2Status) -> BTreeMap<IpAddr, Layer2Figures> {
    let mut figures = BTreeMap::new();
    for (address, status) in l2.links.values().flat_map(|link| &link.addresses) {
        let of_address = figures.entry(*address).or_insert(Layer2Figures { received: 0, responses: 0, gratuitous: 0 });
        of_address.received += status.answered;
        of_address.responses += status.answered;
        of_address.gratuitous += status.announced;
    }
    figures
}

fn others(status: &Status, snapshot: &Snapshot) -> MemberFigures {
    let is_ready = |node: &NodeName| snapshot.nodes.get(node).is_some_and(|node| node.ready);
    let missing = snapshot.members.values().filter(|member| member.instance.is_none() && is_ready(&member.node));
    MemberFigures {
        missing: missing.map(|member| member.node.clone()).collect(),
        states: status.members.iter().map(|(node, taken)| (node.clone(), taken.state.name())).collect(),
        blocked: status.blocked.clone(),
        suspicions: status.suspicions,
        refutations: status.refutations,
        evictions: status.evictions,
    }
}

fn session(key: &SessionKey, status: &SessionStatus) -> (SessionLabels, SessionFigures) {
    let labels = SessionLabels { peer: key.peer, link: key.link.to_string(), port: key.port };
    let SessionStatus { sent, received, discarded, ups, downs, .. } = *status;
    (labels, SessionFigures { up: status.state == SessionState::Up, sent, received, discarded, ups, downs })
}

fn peers(status: &BgpStatus) -> BTreeMap<PeerLabels, PeerFigures> {
    let figures = |peer: &PeerStatus| {
        let session = &peer.session;
        let figures = PeerFigures {
            up: session.state == State::Established,
            announced: session.announced as u64,
            pending: session.pending as u64,
            sent: session.sent,
            received: session.received,
            faults: session.faults,
            established: session.established,
            lost: session.lost,
        };
        Some((PeerLabels { peer: peer.remote?, link: peer.zone.clone(), vrf: peer.vrf.clone() }, figures))
    };
    status.peers.values().filter_map(figures).collect()
}
