//! What `lanlord plan` answers, as a value: the JSON form is this, field by field, and the form for people is printed from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use super::peers::{PeerReport, peers};
use crate::config::Config;
use crate::facts::{LinkName, Living, NodeName, Service, ServiceKey, Snapshot};
use crate::leader::assign::{Assignment, assign};
use crate::leader::left;
use crate::leader::others::{all_overwritten, at_work, marked, two_balancers};
use crate::leader::paper::UNKNOWN_LINK;
use crate::leader::tell::contested_text;
use crate::plan::survey::survey;
use crate::plan::wishes::mistakes;
use crate::plan::{GroupPlan, NotAnnounced, Plan, Serving, is_served, plan, servicelb};

/// The whole answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PlanReport {
    /// Every Service of `type: LoadBalancer` that is Lanlord's, by namespace and name.
    pub services: Vec<ServiceReport>,
    /// Every address that a Service has, ascending, IPv4 first.
    pub addresses: Vec<AddressReport>,
    /// What each node tells each of its BGP peers, by peer and node.
    pub peers: Vec<PeerReport>,
    /// What becomes different, by address: from the cluster as it is; with `against` from that configuration, with `drain` from the
    /// cluster before.
    pub changes: Vec<Change>,
    /// What of the configuration has nothing to work on in this cluster.
    pub problems: Vec<String>,
    /// What has to be known of the answer.
    pub notes: Vec<String>,
}

/// One Service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ServiceReport {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The addresses it has or would get, in the order of its families.
    pub addresses: Vec<IpAddr>,
    /// The pool they are from; two, with a comma between, if each family is from another one; `null` without an address.
    pub pool: Option<String>,
    /// Why it gets no (further) address, or why one of them is not announced; empty: all is well.
    pub problems: Vec<String>,
}

/// One address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AddressReport {
    /// The address.
    pub address: IpAddr,
    /// The Services that have it, as `namespace/name`.
    pub services: Vec<String>,
    /// The nodes that could announce it, serving endpoints or not.
    pub candidates: Vec<NodeName>,
    /// Those of them from which serving endpoints are in reach.
    pub eligible: Vec<NodeName>,
    /// The node that announces it on layer 2; `null`: none.
    pub owner: Option<NodeName>,
    /// For each candidate the links on which it would announce it; none where they are not known.
    pub interfaces: BTreeMap<NodeName, Vec<LinkName>>,
    /// The nodes that announce it over BGP, all at the same time.
    pub bgp: Vec<NodeName>,
}

/// Something that becomes different.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    /// Which address.
    pub address: IpAddr,
    /// The Services that have it, or had it, as `namespace/name`.
    pub services: Vec<String>,
    /// What happens to it.
    pub what: What,
    /// The node that announced it on layer 2 before; `null`: none, or not known.
    pub from: Option<NodeName>,
    /// The node that announces it on layer 2 then; `null`: none.
    pub to: Option<NodeName>,
    /// The nodes that announce it over BGP then.
    pub bgp: BTreeSet<NodeName>,
    /// Why, as the second half of a sentence; `null`: it is what was asked for.
    pub why: Option<String>,
}

/// What happens to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A Service gets it.
    Assigned,
    /// A Service loses it.
    Released,
    /// Another node announces it.
    Moved,
    /// It is announced, and was not.
    Announced,
    /// It is announced no more.
    Withdrawn,
    /// Other nodes announce it over BGP.
    Spread,
}

/// A cluster that has come to rest under a configuration.
#[derive(Debug)]
pub struct Settled<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What the API server says.
    pub snapshot: &'a Snapshot,
    /// Who may own addresses.
    pub living: &'a Living,
    /// Services all of whose pods have to start again, nobody knows where.
    pub homeless: &'a BTreeSet<ServiceKey>,
}

impl Settled<'_> {
    /// Why nobody announces `group`.
    fn why(&self, group: &GroupPlan) -> Option<String> {
        let why = group.owner.as_ref().err()?;
        let homeless = group.group.services.iter().any(|service| self.homeless.contains(service));
        if homeless && matches!(why, NotAnnounced::NoLocalEndpoint { .. }) {
            return Some("externalTrafficPolicy is Local, so it is announced again by a node on which its pods start".to_owned());
        }
        Some(why.to_string())
    }
}

impl PlanReport {
    /// What holds in `settled`.
    pub fn of(settled: &Settled<'_>) -> Self {
        let Settled { config, snapshot, living, .. } = settled;
        let (plan, assignments) = (plan(config, snapshot, living), assign(config, snapshot, living));
        let services =
            assignments.iter().map(|(key, assignment)| ServiceReport::of(settled, key, assignment, plan.group_of(key))).collect();
        let mut addresses: Vec<AddressReport> = plan.groups.values().flat_map(|group| addresses(group)).collect();
        addresses.sort_by_key(|report| report.address);
        let note = |service: &Service| match is_served(config, snapshot, service) {
            Serving::Ours | Serving::Deleting => None,
            Serving::Foreign => Some(format!("{} is left alone (its class, or the annotation lanlord.dev/ignore)", service.key)),
            Serving::LeftToServiceLb => Some(format!("{}: {}", service.key, left::why(&servicelb(snapshot)))),
        };
        let notes = snapshot.services.values().filter_map(|service| note(service));
        let problems = survey(config, snapshot, living).iter().map(ToString::to_string).collect();
        let peers = peers(config, snapshot, living);
        Self { services, addresses, peers, changes: Vec::new(), problems, notes: notes.collect() }
    }

    /// Adds what other load balancers do to the cluster as it was seen.
    pub fn tell_others(&mut self, config: &Config, seen: &Snapshot, living: &Living) {
        for (key, texts) in others_at_work(config, seen, living) {
            let is_it = |service: &&mut ServiceReport| *service.namespace == *key.namespace && *service.name == *key.name;
            if let Some(service) = self.services.iter_mut().find(is_it) {
                service.problems.extend(texts);
            }
        }
        let ours = seen.services.values().find(|service| is_served(config, seen, service) == Serving::Ours);
        let (servers, ours) = (servicelb(seen), ours.map(|service| &service.key));
        self.problems.extend(ours.filter(|_| !servers.is_empty()).map(|service| {
            let (what, action) = two_balancers(servers, service);
            format!("{what}; {action}")
        }));
    }

    /// Whether there is nothing to look at.
    pub fn is_well(&self) -> bool {
        self.problems.is_empty() && self.services.iter().all(|service| service.problems.is_empty())
    }
}

impl ServiceReport {
    /// What holds for one Service, which is in `group` if it has an address.
    pub fn of(settled: &Settled<'_>, key: &ServiceKey, assignment: &Assignment, group: Option<&GroupPlan>) -> Self {
        let addresses = &assignment.addresses;
        let pools = addresses.iter().filter_map(|address| settled.config.pool_of(*address)).map(|pool| pool.name.as_str());
        let pools: BTreeSet<&str> = pools.collect();
        let pool = (!pools.is_empty()).then(|| pools.into_iter().collect::<Vec<_>>().join(","));
        let mut problems: Vec<String> = assignment.refusal.iter().map(ToString::to_string).collect();
        problems.extend(assignment.contested.iter().map(contested_text));
        problems.extend(group.filter(|_| !addresses.is_empty()).and_then(|group| silent(settled, group)));
        problems.extend(settled.snapshot.services.get(key).into_iter().flat_map(|service| mistakes(settled.config, service)));
        Self { namespace: key.namespace.to_string(), name: key.name.to_string(), addresses: addresses.clone(), pool, problems }
    }
}

/// What other load balancers do to Services, as far as it can be seen.
pub fn others_at_work(config: &Config, seen: &Snapshot, living: &Living) -> BTreeMap<ServiceKey, Vec<String>> {
    let mut told: BTreeMap<ServiceKey, Vec<String>> = BTreeMap::new();
    for (service, text) in all_overwritten(config, seen, living) {
        told.entry(service).or_default().push(text);
    }
    for (other, services) in marked(config, seen) {
        for service in services {
            let text = format!("{}; {}", at_work(&other, &[service.clone()].into()), other.action(&service));
            told.entry(service).or_default().push(text);
        }
    }
    told
}

/// What of the group nobody announces, and why.
fn silent(settled: &Settled<'_>, group: &GroupPlan) -> Option<String> {
    let silent: Vec<&IpAddr> = group.group.claims.keys().filter(|address| !group.is_announced(**address)).collect();
    let which = || silent.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    match &group.owner {
        _ if silent.is_empty() => None,
        Ok(owner) => Some(format!("{} not announced: it is on none of the networks of {}", which(), owner.node)),
        // Of two pools one may be announced over BGP only.
        Err(NotAnnounced::OverBgp { .. }) => {
            let why = silent.iter().find_map(|address| group.bgp.get(*address)?.as_ref().err())?;
            Some(format!("{} not announced: {why}", which()))
        }
        Err(_) if silent.len() < group.group.claims.len() => settled.why(group).map(|why| format!("{} not announced: {why}", which())),
        Err(_) => settled.why(group).map(|why| format!("not announced: {why}")),
    }
}

fn addresses(group: &GroupPlan) -> impl Iterator<Item = AddressReport> {
    group.group.claims.values().map(|claim| {
        let of_group = claim.holders.iter().map(|holder| &holder.service).filter(|service| group.group.services.contains(service));
        let services: BTreeSet<&ServiceKey> = of_group.collect();
        let candidates = || group.candidates.nodes.iter().filter(|(_, candidate)| candidate.links.contains_key(&claim.address));
        let known = |links: &Vec<LinkName>| links.iter().filter(|link| link.as_str() != UNKNOWN_LINK).cloned().collect();
        AddressReport {
            address: claim.address,
            services: services.into_iter().map(ToString::to_string).collect(),
            candidates: candidates().map(|(node, _)| node.clone()).collect(),
            eligible: candidates().filter(|(_, candidate)| candidate.eligible).map(|(node, _)| node.clone()).collect(),
            owner: owner(group, claim.address).cloned(),
            interfaces: candidates().map(|(node, candidate)| (node.clone(), known(&candidate.links[&claim.address]))).collect(),
            bgp: group.over_bgp(claim.address).iter().flat_map(|it| &it.nodes).cloned().collect(),
        }
    })
}

fn owner(group: &GroupPlan, address: IpAddr) -> Option<&NodeName> {
    group.owner.as_ref().ok().filter(|owner| owner.links.contains_key(&address)).map(|owner| &owner.node)
}

/// Who has what, and where: before, or after.
#[derive(Debug, Default)]
pub struct State {
    services: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    owners: BTreeMap<IpAddr, NodeName>,
    /// Who announces it over BGP.
    bgp: BTreeMap<IpAddr, BTreeSet<NodeName>>,
    /// Owners are those that are recorded: an address without one may be announced all the same.
    recorded: bool,
}

impl State {
    /// As Services and Leases say it; where addresses are announced is known only of those that have a Lease.
    pub fn recorded(config: &Config, snapshot: &Snapshot) -> Self {
        let mut state = Self { recorded: true, ..Self::default() };
        for service in snapshot.services.values().filter(|service| is_served(config, snapshot, service) == Serving::Ours) {
            for address in &service.ingress {
                state.services.entry(*address).or_default().insert(service.key.clone());
            }
        }
        let placed = |address: &IpAddr| Some(snapshot.claims.get(address)?.placement.as_ref()?.node.clone());
        state.owners = state.services.keys().filter_map(|address| Some((*address, placed(address)?))).collect();
        state
    }

    /// As the plan has it.
    pub fn planned(settled: &Settled<'_>) -> Self {
        let plan: Plan = plan(settled.config, settled.snapshot, settled.living);
        let mut state = Self::default();
        for group in plan.groups.values() {
            for claim in group.group.claims.values() {
                let holders = claim.holders.iter().map(|holder| holder.service.clone());
                state.services.insert(claim.address, holders.filter(|service| group.group.services.contains(service)).collect());
                state.owners.extend(owner(group, claim.address).map(|owner| (claim.address, owner.clone())));
                state.bgp.extend(group.over_bgp(claim.address).map(|it| (claim.address, it.nodes.clone())));
            }
        }
        state
    }
}

/// What is different in `after`, which began with `begun`.
pub fn changes(before: &State, begun: &Snapshot, after: &Settled<'_>) -> Vec<Change> {
    let now = State::planned(after);
    let plan = plan(after.config, after.snapshot, after.living);
    let groups: BTreeMap<&IpAddr, &GroupPlan> =
        plan.groups.values().flat_map(|group| group.group.claims.keys().map(move |address| (address, group.as_ref()))).collect();
    let first = assign(after.config, begun, after.living);
    let mut changes = Vec::new();
    let every: BTreeSet<&IpAddr> = before.services.keys().chain(now.services.keys()).collect();
    let none = BTreeSet::new();
    for address in every {
        let [had, has] = [before, &now].map(|state| state.services.get(address).unwrap_or(&none));
        let [from, to] = [before, &now].map(|state| state.owners.get(address).cloned());
        let names = |services: Vec<&ServiceKey>| services.into_iter().map(ToString::to_string).collect::<Vec<_>>();
        let [told, tell] = [before, &now].map(|state| state.bgp.get(address).cloned().unwrap_or_default());
        let change =
            |services, what, why| Change { address: *address, services, what, from: from.clone(), to: to.clone(), bgp: tell.clone(), why };
        let (lost, new) = (names(had.difference(has).collect()), names(has.difference(had).collect()));
        for service in had.difference(has) {
            let lost = first.get(service).and_then(|assignment| assignment.lost.iter().find(|(lost, _)| lost == address));
            changes.push(change(vec![service.to_string()], What::Released, lost.map(|(_, why)| format!("it {why}"))));
        }
        if !new.is_empty() {
            changes.push(change(new, What::Assigned, None));
        } else if lost.is_empty() || !has.is_empty() {
            let group = groups.get(address).copied();
            let (what, why) = match (&from, &to) {
                (Some(from), Some(to)) if from != to => (What::Moved, moved(group, *address, from)),
                (None, Some(_)) if !before.recorded => (What::Announced, None),
                (Some(_), None) if !before.recorded => (What::Withdrawn, group.and_then(|group| after.why(group))),
                (Some(_) | None, Some(_) | None) if !before.recorded && told != tell => (What::Spread, None),
                (Some(_) | None, Some(_) | None) => continue,
            };
            changes.push(change(names(has.iter().collect()), what, why));
        }
    }
    changes
}

/// Why it left `from`, as its claim says.
fn moved(group: Option<&GroupPlan>, address: IpAddr, from: &NodeName) -> Option<String> {
    let claim = group?.group.claims.get(&address)?;
    claim.moved.as_ref().filter(|moved| moved.from == *from).map(|moved| moved.why.clone())
}
