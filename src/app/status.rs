//! What `/metrics`, `/status` and `/events` show, read from the wires when somebody asks; only the timeline is kept up all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use siphasher::sip::SipHasher13;

use super::Options;
use super::problems::problems;
use super::report::{
    AddressReport, ConflictReport, CountsReport, GroupReport, LinkReport, MemberReport, PeerReport, Problem, Report, SessionReport,
};
use super::services;
use super::transitions::{Moment, transitions};
use super::wires::Wires;
use crate::addr::{Family, MacAddr};
use crate::api::state::Contact;
use crate::bfd::desired::SessionKey;
use crate::bfd::status::SessionStatus;
use crate::bgp::status::PeerStatus;
use crate::facts::{Evidence, LinkName, Living, Medium, Member, NodeName, ObjectsSeen, Snapshot};
use crate::l2::status::LinkStatus;
use crate::leader::suggest::Advice;
use crate::leader::warnings::{self, Sources, Warning};
use crate::membership::judge::State;
use crate::membership::task::Status;
use crate::plan::GroupPlan;
use crate::plan::kernel::{self, answered_by_kernel};
use crate::telemetry::live::State as LiveState;

/// Changes within this time are one for the timeline: some come in two steps.
const TOGETHER: Duration = Duration::from_millis(50);

/// What of the configuration has nothing to work on, as this agent sees it.
pub(super) fn idle(wires: &Wires) -> Vec<Warning> {
    let (config, snapshot, living) = (wires.config.borrow().clone(), wires.snapshot.borrow().clone(), wires.living.borrow().clone());
    let objects = if let ObjectsSeen::Present(objects) = &*wires.objects.borrow() { objects.clone() } else { Arc::default() };
    let sources = Sources { text: None, objects: Some(&objects) };
    config.zip(snapshot).map(|(config, snapshot)| warnings::idle(&config, &snapshot, &living, &sources)).unwrap_or_default()
}

/// What the configuration and this host's links say that something is amiss.
fn findings(view: &View, snapshot: &Snapshot) -> Vec<Problem> {
    let (wires, node) = (&view.wires, &view.options.node);
    let none = wires.config.borrow().as_ref().is_some_and(|config| config.pools.is_empty());
    let (origins, exists) = (view.options.config.clone(), wires.edits.borrow().text().is_some());
    let advice = none.then(|| Advice { free: Vec::new(), origins, exists }.to_string());
    let none = advice.map(|advice| ("no addresses are configured: nothing is assigned".to_owned(), advice));
    let idle = idle(wires).into_iter().map(|it| (it.what, it.action));
    let kernel = answered_by_kernel(snapshot, &wires.links.borrow());
    let kernel = kernel.into_iter().map(|(link, addresses)| kernel::told(node, &link, &addresses));
    none.into_iter().chain(idle).chain(kernel).map(|(what, action)| Problem { what, action }).collect()
}

/// What the status of this agent is made of.
#[derive(Clone)]
pub(super) struct View {
    pub wires: Arc<Wires>,
    pub options: Options,
    pub instance: String,
}

impl View {
    /// The status for `curl localhost:7475/status` and `lanlord status`.
    pub(super) fn json(&self) -> String {
        text(&report(self))
    }

    /// The same for those who keep watching, with a digest that stays the same while only figures change.
    pub(super) fn state(&self) -> LiveState {
        let report = report(self);
        let digest = SipHasher13::new_with_keys(0, 0).hash(text(&report.without_figures()).as_bytes());
        LiveState { text: text(&report), digest }
    }
}

fn text(report: &Report) -> String {
    serde_json::to_string(report).expect("maps have text as keys")
}

/// Follows what every agent sees happening, whether anybody looks or not. Changes of 50 ms are one.
pub(super) async fn follow(wires: &Wires, me: &NodeName) -> anyhow::Result<()> {
    let (mut snapshot, mut planned) = (wires.snapshot.subscribe(), wires.planned.subscribe());
    let (mut membership, mut bgp) = (wires.membership.subscribe(), wires.bgp.subscribe());
    let (mut config, mut rejected) = (wires.config.subscribe(), wires.rejected.subscribe());
    let mut before = Moment::default();
    loop {
        let rejection = rejected.borrow_and_update().clone();
        let after = Moment {
            me: me.clone(),
            snapshot: snapshot.borrow_and_update().clone(),
            plan: planned.borrow_and_update().as_ref().map(|planned| planned.plan.clone()),
            lost: membership.borrow_and_update().lost.clone(),
            peers: bgp.borrow_and_update().clone(),
            config: config.borrow_and_update().clone(),
            rejected: rejection.problems,
            why_rejected: rejection.first,
        };
        let found = transitions(&before, &after);
        if !found.is_empty() {
            wires.timeline.send_modify(|timeline| timeline.push(found, &time(Timestamp::now())));
        }
        before = after;
        tokio::select! {
            changed = snapshot.changed() => changed?,
            changed = planned.changed() => changed?,
            changed = membership.changed() => changed?,
            changed = bgp.changed() => changed?,
            changed = config.changed() => changed?,
            changed = rejected.changed() => changed?,
        }
        tokio::time::sleep(TOGETHER).await;
    }
}

fn report(view: &View) -> Report {
    let View { wires, options: Options { node, .. }, instance } = view;
    let rejected = wires.rejected.borrow().clone();
    let config = wires.config.borrow().clone();
    let plan = wires.planned.borrow().as_ref().map(|planned| planned.plan.clone());
    let snapshot = wires.snapshot.borrow().clone().unwrap_or_default();
    let membership = wires.membership.borrow().clone();
    let l2 = wires.l2_status.borrow().clone();
    let api = wires.api.borrow().clone();
    let (bfd, bgp, living) = (wires.bfd.borrow().clone(), wires.bgp.borrow().clone(), wires.living.borrow().clone());
    let mut report = Report {
        node: node.to_string(),
        instance: instance.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        membership: format!("{:?}", *wires.member.borrow()),
        leader: snapshot.leader.as_ref().and_then(|leader| leader.holder.clone()),
        leading: *wires.leading.borrow(),
        remembered: snapshot.remembered,
        api_problems: api.failing.iter().map(|(resource, why)| ((*resource).to_owned(), why.clone())).collect(),
        configuration: config.as_ref().map(|config| config.hash.clone()),
        configuration_problems: rejected.problems,
        configuration_problem: rejected.first,
        members: members(&snapshot, &membership, &living, node),
        counts: CountsReport { suspicions: membership.suspicions, refutations: membership.refutations, evictions: membership.evictions },
        sessions: bfd.sessions.iter().map(|(key, status)| session(&snapshot, key, status)).collect(),
        bgp: bgp.peers.iter().map(|(key, status)| peer(key.to_string(), status)).collect(),
        groups: plan.iter().flat_map(|plan| plan.groups.values().map(|plan| group(plan))).collect(),
        links: l2.links.iter().map(|((link, family), status)| link_report(link, *family, status)).collect(),
        conflicts: conflicts(&snapshot, &l2.conflicts, node),
        findings: findings(view, &snapshot),
        at: time(Timestamp::now()),
        pools: config.as_ref().map(|config| services::pools(config, &snapshot)).unwrap_or_default(),
        services: services::services(config.as_deref(), rejected.problems > 0, &snapshot, plan.as_deref()),
        transitions: wires.timeline.borrow().entries(),
        ..Report::default()
    };
    contact(&mut report, &api.contact);
    report.problems = problems(&report);
    report
}

/// RFC 3339, with milliseconds.
fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn contact(report: &mut Report, contact: &Contact) {
    match contact {
        Contact::Unknown => {}
        Contact::Reachable { since } => {
            report.api_reachable = Some(true);
            report.api_reachable_since = Some(time(*since));
        }
        Contact::Unreachable { since, error } => {
            report.api_reachable = Some(false);
            report.detached_since = Some(time(*since));
            report.detached_error = Some(error.clone());
        }
    }
}

fn members(snapshot: &Snapshot, membership: &Status, living: &Living, me: &NodeName) -> Vec<MemberReport> {
    let report = |member: &Arc<Member>| {
        let node = &member.node;
        let taken = membership.members.get(node);
        let suspected = taken.and_then(|taken| match taken.state {
            State::Suspected(evidence) => Some(evidence),
            State::Unheard | State::Up | State::Asking | State::Holding | State::Refuted | State::Remote => None,
        });
        let evidence = suspected.or_else(|| membership.lost.get(node).copied()).filter(|_| member.instance.is_some());
        let lives = living.members.get(node);
        let blocked = membership.blocked.contains(node);
        let state = match (&member.instance, taken) {
            (None, _) => "left",
            (Some(_), _) if node == me => "self",
            (Some(_), taken) => taken.map_or("unwatched", |taken| taken.state.name()),
        };
        MemberReport {
            node: node.to_string(),
            state: state.to_owned(),
            taken_for: taken_for(state, evidence, blocked),
            since: taken.filter(|_| node != me).map(|taken| time(taken.since)),
            living: lives.is_some(),
            evidence: evidence.map(|evidence| format!("{evidence:?}")),
            instance: member.instance.clone(),
            generation: member.generation,
            links: member.links.iter().map(|link| link.name.to_string()).collect(),
            addresses: member.links.iter().flat_map(|link| &link.addresses).map(ToString::to_string).collect(),
            wireless: member.links.iter().any(|link| link.medium == Medium::Wireless),
            gateways: member.gateways.iter().map(ToString::to_string).collect(),
            configuration: member.config.clone(),
            cordoned: snapshot.nodes.get(node).is_some_and(|node| node.unschedulable),
            heard: lives.is_some_and(|lives| lives.heard),
            detached: lives.is_some_and(|lives| lives.detached),
            blocked,
            dataplane_unhealthy: member.dataplane_unhealthy,
            node_ready: snapshot.nodes.get(node).map(|node| node.ready),
            suspected_by: member.suspect.clone(),
        }
    };
    snapshot.members.values().map(report).collect()
}

/// A state in words.
fn taken_for(state: &str, evidence: Option<Evidence>, blocked: bool) -> String {
    if let Some(evidence) = evidence {
        return format!("lost: {evidence}");
    }
    match state {
        "self" => "alive, this agent",
        "up" => "alive, heard",
        "unheard" | "asking" if blocked => "alive: its kernel answers, but its liveness packets do not come",
        "unheard" => "alive as its Lease says, not heard yet",
        "unwatched" => "alive as its Lease says, watched by others",
        "asking" => "silent: its kernel is being asked",
        "holding" => "alive: its kernel answers, its agent has to come back",
        "remote" => "alive as its Lease says; no network is shared with it",
        "refuted" => "alive as it says through the API server, not heard",
        _ => "gone: it left in order or was lost",
    }
    .to_owned()
}

fn session(snapshot: &Snapshot, key: &SessionKey, status: &SessionStatus) -> SessionReport {
    let is_its = |member: &&Arc<Member>| member.links.iter().flat_map(|link| &link.addresses).any(|net| net.addr() == key.peer);
    SessionReport {
        node: snapshot.members.values().find(is_its).map(|member| member.node.to_string()),
        peer: key.peer.to_string(),
        link: key.link.to_string(),
        port: key.port,
        state: format!("{:?}", status.state),
        since: status.since.map(time),
        detection_time_ms: u64::try_from(status.detection_time.as_millis()).unwrap_or(u64::MAX),
        expired: status.expired,
        sent: status.sent,
        received: status.received,
        discarded: status.discarded,
        ups: status.ups,
        downs: status.downs,
        error: status.error.clone(),
    }
}

fn peer(name: String, status: &PeerStatus) -> PeerReport {
    let (session, agreed) = (&status.session, status.session.agreed.as_ref());
    let ms = |time: Option<Duration>| time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let hops = status.next_hops;
    let hops = [hops.v4.map(IpAddr::V4), hops.v6.map(IpAddr::V6), hops.v6_link_local.map(IpAddr::V6)];
    PeerReport {
        name,
        remote: status.remote.map(|remote| remote.to_string()),
        state: session.state.to_string(),
        since: status.since.map(time),
        local: status.local.map(|local| local.to_string()),
        link: status.link.as_ref().map(ToString::to_string),
        next_hops: hops.into_iter().flatten().map(|hop| hop.to_string()).collect(),
        remote_as: agreed.map(|agreed| agreed.remote_as),
        identifier: agreed.map(|agreed| agreed.identifier.to_string()),
        families: agreed.iter().flat_map(|agreed| &agreed.families).map(ToString::to_string).collect(),
        hold_time: agreed.and_then(|agreed| agreed.hold_time).map(|time| time.as_secs()),
        keepalive_time: agreed.filter(|agreed| agreed.hold_time.is_some()).map(|agreed| agreed.keepalive_time.as_secs()),
        graceful_restart: agreed.is_some_and(|agreed| agreed.graceful_restart),
        hold_in_ms: ms(session.hold_in),
        keepalive_in_ms: ms(session.keepalive_in),
        retry_in_ms: ms(session.retry_in),
        announced: session.announced,
        pending: session.pending,
        sent: session.sent,
        received: session.received,
        faults: session.faults,
        established: session.established,
        lost: session.lost,
        last_failure: session.last_failure.as_ref().map(ToString::to_string),
        bfd: status.bfd.as_ref().map(|bfd| format!("{:?}", bfd.state)),
        troubles: status.troubles.iter().map(|it| Problem { what: it.what.clone(), action: it.action.clone() }).collect(),
    }
}

fn group(plan: &GroupPlan) -> GroupReport {
    let announced = plan.group.claims.keys().all(|address| plan.is_announced(*address));
    let announcers = plan.group.claims.keys().filter_map(|address| plan.over_bgp(*address));
    let over_bgp: BTreeSet<&NodeName> = announcers.flat_map(|announcers| &announcers.nodes).collect();
    GroupReport {
        addresses: plan.group.claims.keys().map(ToString::to_string).collect(),
        services: plan.group.services.iter().map(ToString::to_string).collect(),
        owner: plan.owner.as_ref().ok().map(|owner| owner.node.to_string()),
        over_bgp: over_bgp.iter().map(ToString::to_string).collect(),
        not_announced: plan.owner.as_ref().err().filter(|_| !announced).map(ToString::to_string),
    }
}

fn link_report(link: &LinkName, family: Family, status: &LinkStatus) -> LinkReport {
    let addresses = status.addresses.iter().map(|(address, status)| AddressReport {
        address: address.to_string(),
        service: status.service.to_string(),
        since: time(status.since),
        answered: status.answered,
        announced: status.announced,
        conflict: status.conflict.as_ref().map(|conflict| conflict.mac.to_string()),
    });
    LinkReport {
        link: link.to_string(),
        family: family.to_string(),
        mac: status.mac.to_string(),
        error: status.error.clone(),
        addresses: addresses.collect(),
    }
}

fn conflicts(snapshot: &Snapshot, own: &BTreeMap<IpAddr, MacAddr>, me: &NodeName) -> Vec<ConflictReport> {
    let others = snapshot.members.values().filter(|member| member.node != *me);
    let others = others.flat_map(|member| member.conflicts.iter().map(|(address, mac)| (*address, *mac, member.node.to_string())));
    let mut seen: BTreeMap<(IpAddr, MacAddr), Vec<String>> = BTreeMap::new();
    for (address, mac, node) in own.iter().map(|(address, mac)| (*address, *mac, me.to_string())).chain(others) {
        seen.entry((address, mac)).or_default().push(node);
    }
    let holders = |address: &IpAddr| snapshot.claims.get(address).into_iter().flat_map(|claim| &claim.holders);
    let report = |((address, mac), seen_by): ((IpAddr, MacAddr), Vec<String>)| ConflictReport {
        services: holders(&address).map(|holder| holder.service.to_string()).collect(),
        address: address.to_string(),
        mac: mac.to_string(),
        seen_by,
    };
    seen.into_iter().map(report).collect()
}
