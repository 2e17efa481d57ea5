//! What happened: the difference between two moments, as entries for the timeline of the status page and `lanlord watch`.
//!
//! Pure, and cheap when nothing happened: what is shared between the two moments is not looked into. Only what every agent sees in the
//! API server or decides alike is compared, and the BGP peers of this node. Time is stamped by whoever keeps the entries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::report::TransitionReport;
use super::services::not_announced;
use crate::bgp::status::{State as BgpState, Status as BgpStatus};
use crate::config::{Config, summary};
use crate::facts::{Claim, Evidence, Member, NodeName, Service, Snapshot};
use crate::plan::{GroupPlan, Plan, differing};

/// Entries that are kept.
pub const KEPT: usize = 200;
/// Entries of one kind between two moments; the rest is counted.
const ALIKE: usize = 20;

/// One moment, as far as it is compared.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// The agent's own node.
    pub me: NodeName,
    /// What the API server says; `None`: it has not yet.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Who announces what; `None`: nothing is known.
    pub plan: Option<Arc<Plan>>,
    /// Members that this agent takes for lost.
    pub lost: BTreeMap<NodeName, Evidence>,
    /// The BGP peers of this node.
    pub peers: Arc<BgpStatus>,
    /// The configuration in force.
    pub config: Option<Arc<Config>>,
    /// Problems of a newer one, which was rejected.
    pub rejected: u64,
    /// The first of them.
    pub why_rejected: Option<String>,
}

/// What happened between two moments: entries without number and time. Of the first Snapshot of an agent nothing is told but that.
pub fn transitions(before: &Moment, after: &Moment) -> Vec<TransitionReport> {
    let mut found = configuration(before, after);
    match (&before.snapshot, &after.snapshot) {
        (Some(old), Some(new)) => {
            found.extend(leader(old, new));
            found.extend(members(before, (old, new), after));
            found.extend(nodes(old, new));
            found.extend(claims(old, new));
        }
        (None, Some(new)) => found.push(started(&after.me, new)),
        (Some(_) | None, None) => {}
    }
    if let (Some(old), Some(new)) = (&before.plan, &after.plan) {
        found.extend(owners(old, new));
    }
    if let (Some(old), Some(new)) = (&before.snapshot, &after.snapshot) {
        found.extend(pending(old, new));
    }
    found.extend(peers(&before.peers, &after.peers));
    fold(found)
}

/// The last entries.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    entries: VecDeque<TransitionReport>,
    count: u64,
}

impl Timeline {
    /// Adds what happened by `at`.
    pub fn push(&mut self, found: Vec<TransitionReport>, at: &str) {
        for entry in found {
            self.count += 1;
            self.entries.push_back(TransitionReport { number: self.count, at: at.to_owned(), ..entry });
        }
        self.entries.drain(..self.entries.len().saturating_sub(KEPT));
    }

    /// Oldest first.
    pub fn entries(&self) -> Vec<TransitionReport> {
        self.entries.iter().cloned().collect()
    }
}

fn entry(kind: &str, text: String) -> TransitionReport {
    TransitionReport { kind: kind.to_owned(), text, ..TransitionReport::default() }
}

fn of_node(kind: &str, node: &NodeName, text: String) -> TransitionReport {
    TransitionReport { node: Some(node.to_string()), ..entry(kind, text) }
}

fn started(me: &NodeName, snapshot: &Snapshot) -> TransitionReport {
    let members = snapshot.members.values().filter(|member| member.instance.is_some()).count();
    let claims = snapshot.claims.values().filter(|claim| !claim.holders.is_empty()).count();
    let from = if snapshot.remembered { ", as it remembers: the API server has not answered yet" } else { "" };
    of_node("started", me, format!("the agent of {me} started; Leases name {members} members and {claims} assigned addresses{from}"))
}

fn configuration(before: &Moment, after: &Moment) -> Vec<TransitionReport> {
    let hash = |moment: &Moment| moment.config.as_ref().map(|config| config.hash.clone());
    let accepted = after.config.as_ref().filter(|_| hash(before) != hash(after));
    let accepted = accepted.map(|config| entry("configuration", format!("configuration accepted: {}", summary(config))));
    let rejected = (after.rejected > 0 && after.rejected != before.rejected).then(|| {
        let instead = if after.config.is_some() { "the one before stays in force" } else { "none is in force" };
        let plural = if after.rejected == 1 { "" } else { "s" };
        let text = format!("configuration rejected: {} problem{plural}; {instead}", after.rejected);
        TransitionReport { why: after.why_rejected.clone(), ..entry("rejected", text) }
    });
    accepted.into_iter().chain(rejected).collect()
}

fn leader(old: &Snapshot, new: &Snapshot) -> Option<TransitionReport> {
    let node = |snapshot: &Snapshot| -> Option<String> {
        let holder = snapshot.leader.as_ref()?.holder.as_ref()?;
        Some(holder.split('/').next().unwrap_or(holder).to_owned())
    };
    let (from, to) = (node(old), node(new));
    let text = match (&from, &to) {
        _ if from == to => return None,
        (None, Some(to)) => format!("{to} leads"),
        (Some(from), Some(to)) => format!("{to} leads, {from} does no more"),
        (Some(from), None) => format!("{from} leads no more, and nobody does yet"),
        (None, None) => return None,
    };
    Some(TransitionReport { from, to, ..entry("leader", text) })
}

fn members(before: &Moment, (old, new): (&Snapshot, &Snapshot), after: &Moment) -> Vec<TransitionReport> {
    let mut found = Vec::new();
    for (node, evidence) in after.lost.iter().filter(|(node, evidence)| before.lost.get(*node) != Some(*evidence)) {
        let why = Some(evidence.to_string());
        found.push(TransitionReport { why, ..of_node("lost", node, format!("{node} is lost: {evidence}")) });
    }
    for node in differing(&old.members, &new.members) {
        let [was, is] = [old, new].map(|snapshot| snapshot.members.get(&node).map(AsRef::as_ref));
        let known = before.lost.contains_key(&node) || after.lost.contains_key(&node);
        found.extend(instance(&node, was, is, known));
        found.extend(suspicion(&node, was, is));
    }
    found
}

fn instance(node: &NodeName, was: Option<&Member>, is: Option<&Member>, known_lost: bool) -> Option<TransitionReport> {
    let of = |member: Option<&Member>| member.and_then(|member| member.instance.clone());
    let accused = was.is_some_and(|member| member.suspect.is_some());
    match (of(was), of(is)) {
        (None, Some(_)) => Some(of_node("joined", node, format!("{node} joined"))),
        (Some(a), Some(b)) if a != b => Some(of_node("restarted", node, format!("the agent of {node} restarted in place"))),
        (Some(_), None) if known_lost => None,
        (Some(_), None) if accused => Some(of_node("lost", node, format!("{node} is lost: its Lease was cleared by another member"))),
        (Some(_), None) => Some(of_node("left", node, format!("{node} left"))),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn suspicion(node: &NodeName, was: Option<&Member>, is: Option<&Member>) -> Option<TransitionReport> {
    let by = |member: Option<&Member>| member.and_then(|member| member.suspect.clone());
    match (by(was), by(is)) {
        (None, Some(by)) => {
            let by = by.split('/').next().unwrap_or(&by).to_owned();
            Some(of_node("suspected", node, format!("{node} is suspected by {by}")))
        }
        (Some(_), None) if is.is_some_and(|member| member.instance.is_some()) => {
            Some(of_node("refuted", node, format!("{node} lives: it removed the suspicion")))
        }
        (Some(_), Some(_) | None) | (None, None) => None,
    }
}

fn nodes(old: &Snapshot, new: &Snapshot) -> Vec<TransitionReport> {
    let mut found = Vec::new();
    for name in differing(&old.nodes, &new.nodes) {
        let (Some(was), Some(is)) = (old.nodes.get(&name), new.nodes.get(&name)) else { continue };
        let words = [
            (was.ready != is.ready, if is.ready { "is Ready" } else { "is not Ready" }),
            (was.unschedulable != is.unschedulable, if is.unschedulable { "is cordoned" } else { "is not cordoned any more" }),
            (was.out_of_service != is.out_of_service, if is.out_of_service { "is out of service" } else { "is in service again" }),
        ];
        found.extend(words.into_iter().filter(|(differs, _)| *differs).map(|(_, how)| of_node("node", &name, format!("{name} {how}"))));
    }
    found
}

fn claims(old: &Snapshot, new: &Snapshot) -> Vec<TransitionReport> {
    let mut found = Vec::new();
    for address in differing(&old.claims, &new.claims) {
        let holders = |claim: Option<&Arc<Claim>>| -> BTreeSet<String> {
            claim.iter().flat_map(|claim| &claim.holders).map(|holder| holder.service.to_string()).collect()
        };
        let (was, is) = (old.claims.get(&address), new.claims.get(&address));
        let (had, has) = (holders(was), holders(is));
        let about = |kind: &str, service: &String, text: String| TransitionReport {
            address: Some(address.to_string()),
            services: vec![service.clone()],
            ..entry(kind, text)
        };
        found.extend(had.difference(&has).map(|service| about("released", service, format!("{address} released: {service} had it"))));
        let pool = is.map(|claim| claim.pool.as_str()).unwrap_or_default();
        let assigned = |service: &String| about("assigned", service, format!("{address} assigned to {service} from pool {pool}"));
        found.extend(has.difference(&had).map(assigned));
    }
    found
}

/// Services that have just been told that they get no address.
fn pending(old: &Snapshot, new: &Snapshot) -> Vec<TransitionReport> {
    let told = |service: Option<&Arc<Service>>| {
        let service = service.filter(|service| service.ingress.is_empty())?;
        service.condition.as_ref().filter(|condition| !condition.announced).map(|condition| condition.message.clone())
    };
    let mut found = Vec::new();
    for key in differing(&old.services, &new.services) {
        let Some(why) = told(new.services.get(&key)).filter(|why| told(old.services.get(&key)).as_ref() != Some(why)) else { continue };
        let text = format!("{key} has no address: {why}");
        found.push(TransitionReport { services: vec![key.to_string()], why: Some(why), ..entry("pending", text) });
    }
    found
}

/// Who announces an address.
#[derive(Clone, PartialEq, Eq)]
struct Announced<'a> {
    group: &'a GroupPlan,
    owner: Option<&'a NodeName>,
    over_bgp: bool,
}

fn announced(plan: &Plan, groups: &BTreeSet<crate::facts::ServiceKey>) -> BTreeMap<IpAddr, Arc<GroupPlan>> {
    let of = groups.iter().filter_map(|key| plan.groups.get(key));
    of.flat_map(|group| group.group.claims.keys().map(|address| (*address, group.clone()))).collect()
}

impl<'a> Announced<'a> {
    fn of(group: &'a GroupPlan, address: IpAddr) -> Self {
        let owner = group.owner.as_ref().ok().filter(|owner| owner.links.contains_key(&address)).map(|owner| &owner.node);
        Self { group, owner, over_bgp: group.over_bgp(address).is_some() }
    }

    /// `by n1`, `over BGP by n1 and n2 to router`
    fn by(&self, address: IpAddr) -> String {
        let list = |names: Vec<String>| match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            Some(_) | None => names.concat(),
        };
        let bgp = self.group.over_bgp(address).map(|it| {
            let nodes = list(it.nodes.iter().map(ToString::to_string).collect());
            format!("over BGP by {nodes} to {}", list(it.peers.iter().cloned().collect()))
        });
        let owner = self.owner.map(|owner| format!("by {owner}"));
        owner.into_iter().chain(bgp).collect::<Vec<_>>().join(", ")
    }
}

fn owners(old: &Plan, new: &Plan) -> Vec<TransitionReport> {
    let differ = differing(&old.groups, &new.groups);
    let (was, is) = (announced(old, &differ), announced(new, &differ));
    // An address that is in no group any more is released, which its claim tells.
    is.iter()
        .filter_map(|(address, group)| {
            let before = was.get(address).map(|group| Announced::of(group, *address));
            owner(*address, before.as_ref(), &Announced::of(group, *address))
        })
        .collect()
}

fn owner(address: IpAddr, was: Option<&Announced<'_>>, is: &Announced<'_>) -> Option<TransitionReport> {
    let services: Vec<String> = is.group.group.services.iter().map(ToString::to_string).collect();
    let of = format!("{address} ({})", services.join(", "));
    let [from, to] = [was.and_then(|was| was.owner), is.owner].map(|owner| owner.map(ToString::to_string));
    let (was_announced, over_bgp) = (was.is_some_and(|was| was.owner.is_some() || was.over_bgp), was.is_some_and(|was| was.over_bgp));
    let about = |kind: &str, text: String, why: Option<String>| {
        let (address, services, from, to) = (Some(address.to_string()), services.clone(), from.clone(), to.clone());
        Some(TransitionReport { address, services, from, to, why, ..entry(kind, text) })
    };
    match (&from, &to) {
        (Some(old), Some(new)) if old != new => {
            let moved = is.group.group.claims.get(&address).and_then(|claim| claim.moved.as_ref());
            let why = moved.filter(|moved| moved.from.as_str() == old).map(|moved| moved.why.clone());
            let because = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            about("owner", format!("{of} moved from {old} to {new}{because}"), why)
        }
        _ if was_announced && to.is_none() && !is.over_bgp => {
            let why = not_announced(is.group, &[address].into());
            about("withdrawn", format!("{of} is withdrawn: {}", why.as_deref().unwrap_or("nobody may announce it")), why)
        }
        (None, Some(_)) => about("announcing", format!("{of} is announced {}", is.by(address)), None),
        _ if is.over_bgp && !over_bgp => about("announcing", format!("{of} is announced {}", is.by(address)), None),
        (Some(_) | None, Some(_) | None) => None,
    }
}

fn peers(old: &BgpStatus, new: &BgpStatus) -> Vec<TransitionReport> {
    let is_up = |status: &BgpStatus, key| status.peers.get(key).is_some_and(|peer| peer.session.state == BgpState::Established);
    let mut found = Vec::new();
    for key in old.peers.keys().chain(new.peers.keys().filter(|key| !old.peers.contains_key(*key))) {
        let peer = new.peers.get(key).or_else(|| old.peers.get(key));
        let remote = peer.and_then(|peer| peer.remote).map(|remote| format!(" ({})", remote.ip())).unwrap_or_default();
        match (is_up(old, key), is_up(new, key)) {
            (false, true) => found.push(entry("peer-up", format!("the BGP session with {key}{remote} is Established"))),
            (true, false) => {
                let why = new.peers.get(key).map(|peer| peer.session.last_failure.as_ref().map(ToString::to_string));
                let why = why.unwrap_or_else(|| Some("it is configured no more".to_owned()));
                let because = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                found.push(TransitionReport { why, ..entry("peer-down", format!("the BGP session with {key}{remote} ended{because}")) });
            }
            (true, true) | (false, false) => {}
        }
    }
    found
}

/// A thousand addresses that move together would drive everything else out of the timeline.
fn fold(found: Vec<TransitionReport>) -> Vec<TransitionReport> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept = Vec::new();
    for entry in found {
        let count = seen.entry(entry.kind.clone()).or_default();
        *count += 1;
        if *count <= ALIKE {
            kept.push(entry);
        }
    }
    kept.extend(
        seen.into_iter()
            .filter(|(_, count)| *count > ALIKE)
            .map(|(kind, count)| entry(&kind, format!("and {} more of this kind at the same time", count - ALIKE))),
    );
    kept
}
