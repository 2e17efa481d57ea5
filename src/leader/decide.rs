//! What the leader has to write so that the API server says what assignment and plan say.
//!
//! Three rules keep an address off two Services whoever leads, however old what he sees (`tests/it/leaders.rs` plays it):
//! 1. An address that a patch adds to a status is claimed by a write just before, also one that seems to be held already: leaders that
//!    see old claims fail there.
//! 2. A claim of a Service that still exists is given back only after a patch that changed the Service, so that a late patch of a
//!    former leader, made for the old resourceVersion, is refused.
//! 3. A claim whose Service is not seen is given back or taken over only after the API server itself said that the Service is gone:
//!    Services and claims come through different watches, and the claim of a new Service may be seen before the Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::assign::{Assignment, assign};
use super::moves::{Move, moves};
use super::others;
use super::place::place;
use super::refusal::Refusal;
use super::share;
use super::suggest::Prospect;
use super::tell::{Announcement, Now, Publish, events, farewell, publish};
use crate::config::Config;
use crate::facts::{Claim, Event, Holder, Living, Moved, NodeName, Placement, Service, ServiceKey, Snapshot, annotation};
use crate::plan::departure::departure;
use crate::plan::eligible::{candidates, reached};
use crate::plan::group::Group;
use crate::plan::owner::owner;
use crate::plan::{GroupPlan, NotAnnounced, OverBgp, Plan, View, is_served};

/// How many free addresses are remembered for their last holder: a Lease of about 500 bytes each.
const REMEMBERED: usize = 4096;

/// Everything to be written now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// Service by Service, the oldest first; independent of each other.
    pub work: Vec<Work>,
    /// Claims to be written beside that; independent of each other.
    pub tend: Vec<Tend>,
}

/// What is to be done for one Service, in this order; the rest is dropped when a step fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Work {
    /// The Service as it was seen: its uid and resourceVersion guard the patch.
    pub service: Arc<Service>,
    /// Holders of the claims to take over that are not seen: the API server is asked first whether they are gone.
    pub gone: Vec<Holder>,
    /// Then claims to create (empty `resource_version`), to take over, or to hold once more.
    pub take: Vec<Claim>,
    /// Then the status.
    pub publish: Option<Publish>,
    /// Then claims to give back.
    pub release: Vec<Claim>,
    /// Then what to tell.
    pub events: Vec<Event>,
    /// Someone else undid what we had published: to be written back with back-off.
    pub repair: bool,
}

/// Care of claims that no Service waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tend {
    /// Record a new placement or pool.
    Replace(Claim),
    /// Give the address back if these holders are gone.
    Release(Claim, Vec<Holder>),
    /// Forget the address if its holders are gone: it is in no pool any more, or too many are remembered.
    Delete(Claim),
}

impl Tend {
    /// The claim to be written.
    pub fn claim(&self) -> &Claim {
        let (Self::Replace(claim) | Self::Release(claim, _) | Self::Delete(claim)) = self;
        claim
    }

    /// Those of whom the API server has to say that they are gone.
    pub fn gone(&self) -> &[Holder] {
        match self {
            Self::Replace(_) => &[],
            Self::Release(_, gone) => gone,
            Self::Delete(claim) => &claim.holders,
        }
    }
}

/// Compares what should be with what is.
pub fn decide(config: &Config, snapshot: &Snapshot, living: &Living, plan: &Plan, now: &Now) -> Decision {
    let mut decider = Decider::new(config, snapshot, living, now, plan);
    let assignments = advised(assign(config, snapshot, living), &now.prospect);
    let mut services: Vec<(&ServiceKey, &Assignment)> = assignments.iter().collect();
    services.sort_by_key(|(key, _)| snapshot.services.get(*key).map(|service| (service.created, *key)));
    for (key, assignment) in services.into_iter().filter(|(key, _)| !now.under_way.contains_key(*key)) {
        if let Some(service) = snapshot.services.get(key) {
            decider.serve(service, assignment);
        }
    }
    decider.part();
    decider.sweep();
    decider.decision
}

/// With what can be said to who has configured no addresses; who would be told so is left alone as long as that is not known.
fn advised(mut assignments: BTreeMap<ServiceKey, Assignment>, prospect: &Prospect) -> BTreeMap<ServiceKey, Assignment> {
    let lacks_pools = |assignment: &Assignment| matches!(assignment.refusal, Some(Refusal::NoPools(_)));
    match prospect {
        Prospect::NotYet => assignments.retain(|_, assignment| !lacks_pools(assignment)),
        Prospect::Known(advice) => {
            for assignment in assignments.values_mut().filter(|assignment| lacks_pools(assignment)) {
                assignment.refusal = Some(Refusal::NoPools(advice.clone()));
            }
        }
    }
    assignments
}

struct Decider<'a> {
    config: &'a Config,
    snapshot: &'a Snapshot,
    living: &'a Living,
    now: &'a Now,
    groups: BTreeMap<&'a ServiceKey, &'a GroupPlan>,
    held: BTreeMap<&'a ServiceKey, Vec<&'a Arc<Claim>>>,
    load: BTreeMap<NodeName, usize>,
    moves: BTreeMap<&'a ServiceKey, Move>,
    /// Addresses whose claims this decision writes already.
    written: BTreeSet<IpAddr>,
    decision: Decision,
}

impl<'a> Decider<'a> {
    fn new(config: &'a Config, snapshot: &'a Snapshot, living: &'a Living, now: &'a Now, plan: &'a Plan) -> Self {
        let groups: BTreeMap<&ServiceKey, &GroupPlan> =
            plan.groups.values().flat_map(|plan| plan.group.services.iter().map(move |service| (service, plan.as_ref()))).collect();
        let mut held: BTreeMap<&ServiceKey, Vec<&Arc<Claim>>> = BTreeMap::new();
        for claim in snapshot.claims.values() {
            for holder in claim.holders.iter().filter(|holder| exists(snapshot, holder)) {
                held.entry(&holder.service).or_default().push(claim);
            }
        }
        let mut load = BTreeMap::new();
        for plan in plan.groups.values() {
            let node =
                plan.owner.as_ref().ok().map(|owner| &owner.node).or_else(|| plan.group.placement().map(|placement| &placement.node));
            if let Some(node) = node {
                *load.entry(node.clone()).or_default() += 1;
            }
        }
        for node in now.under_way.iter().filter(|(service, _)| !groups.contains_key(service)).filter_map(|(_, node)| node.as_ref()) {
            *load.entry(node.clone()).or_default() += 1;
        }
        let moves = moves(plan, &mut load, now.quiet);
        Self { config, snapshot, living, now, groups, held, load, moves, written: BTreeSet::new(), decision: Decision::default() }
    }

    fn serve(&mut self, service: &Arc<Service>, assignment: &Assignment) {
        let held = self.held.get(&service.key).cloned().unwrap_or_default();
        let (kept, given_up): (Vec<&Arc<Claim>>, Vec<&Arc<Claim>>) =
            held.into_iter().partition(|claim| assignment.addresses.contains(&claim.address));
        let new: Vec<IpAddr> =
            assignment.addresses.iter().filter(|address| !kept.iter().any(|claim| claim.address == **address)).copied().collect();
        let mut take: Vec<Claim> = new.iter().map(|address| self.claim(service, *address)).collect();
        let overwritten = new.iter().filter_map(|address| self.snapshot.claims.get(address)).flat_map(|claim| &claim.holders);
        let gone = overwritten.filter(|holder| !exists(self.snapshot, holder)).cloned().collect();
        let added = kept.iter().filter(|claim| !service.ingress.contains(&claim.address));
        let again: Vec<Claim> = added.map(|claim| Claim::clone(claim)).collect();
        self.written.extend(again.iter().map(|claim| claim.address));
        let unchanged = new.is_empty() && given_up.is_empty();
        let known = self.groups.get(&service.key).copied().filter(|_| unchanged);
        if known.is_some_and(|known| self.is_in_doubt(known)) {
            return;
        }
        let (mut announcement, moved) = match known {
            Some(known) => {
                let (owner, moved) = self.settle(known);
                (Announcement { owner, bgp: self.over_bgp(known, service) }, moved)
            }
            None => (self.found(service, &kept, &mut take), None),
        };
        announcement.owner = announcement.owner.and_then(|owner| reached(self.snapshot, service, &owner).map(|()| owner));
        let mut publish = publish(self.config, service, assignment, &announcement, self.now);
        let repair = unchanged && publish.ingress.is_some() && service.annotations.contains_key(annotation::POOL);
        let repaired = repair.then(|| others::overwritten(self.snapshot, service, &assignment.addresses));
        let told = events(self.config, service, assignment, &announcement, &publish, repaired, moved.as_ref());
        take.extend(again);
        let release: Vec<Claim> = given_up.iter().map(|claim| self.without(claim, |holder| holder.service == service.key)).collect();
        if let Some(claim) = release.first() {
            publish.annotations.insert(annotation::RELEASED.to_owned(), Some(self.released(service, claim.address)));
        }
        self.written.extend(take.iter().chain(&release).map(|claim| claim.address));
        let publish = differs(service, &publish).then_some(publish);
        if !take.is_empty() || publish.is_some() || !release.is_empty() {
            self.decision.work.push(Work { service: service.clone(), gone, take, publish, release, events: told, repair });
        }
    }

    /// Whether the recorded owner is suspected and may still prove itself, within a moment: who announces meanwhile is no matter for the
    /// record, or a suspicion that was none would move the group for good.
    fn is_in_doubt(&self, known: &GroupPlan) -> bool {
        known.group.placement().is_some_and(|placement| {
            let member = self.snapshot.members.get(&placement.node);
            let holds = member.is_some_and(|member| member.instance.is_some() && member.generation == placement.generation);
            let exists = self.snapshot.nodes.get(&placement.node).is_some_and(|node| !node.out_of_service);
            holds && exists && !self.living.members.contains_key(&placement.node)
        })
    }

    /// What annotation `released` says now: never what it said before, even within one second.
    fn released(&self, service: &Service, address: IpAddr) -> String {
        let text = format!("{address} at {}", self.now.text);
        if service.annotations.get(annotation::RELEASED) == Some(&text) { format!("{text} again") } else { text }
    }

    /// A claim on `address` for `service`: beside those who hold it, or over whatever free claim is there.
    fn claim(&self, service: &Service, address: IpAddr) -> Claim {
        let before = self.snapshot.claims.get(&address);
        let resource_version = before.map(|claim| claim.resource_version.clone()).unwrap_or_default();
        let pool = self.config.pool_of(address).map(|pool| pool.name.to_string()).unwrap_or_default();
        let others = before.iter().flat_map(|claim| &claim.holders).filter(|holder| exists(self.snapshot, holder));
        let mut holders: Vec<Holder> = others.cloned().collect();
        let joined = before.filter(|_| !holders.is_empty());
        let (placement, moved) = joined.map(|claim| (claim.placement.clone(), claim.moved.clone())).unwrap_or_default();
        if let [alone] = &mut holders[..] {
            alone.terms = self.terms(alone);
        }
        let terms = if joined.is_some() { share::terms(service) } else { String::new() };
        holders.push(Holder { service: service.key.clone(), uid: service.uid.clone(), terms });
        Claim { address, holders, pool, placement, moved, last_holder: None, freed: None, resource_version }
    }

    fn terms(&self, holder: &Holder) -> String {
        self.snapshot.services.get(&holder.service).map(|service| share::terms(service)).unwrap_or_default()
    }

    /// The holders of a shared claim with their terms of now, if those are not the recorded ones and nobody minds them.
    fn on_terms(&self, claim: &Claim) -> Option<Vec<Holder>> {
        let pool = self.config.pool_of(claim.address).filter(|_| claim.holders.len() > 1)?;
        let services = claim.holders.iter().map(|holder| self.snapshot.services.get(&holder.service).map(AsRef::as_ref));
        let services: Vec<&Service> = services.collect::<Option<_>>()?;
        let holders =
            claim.holders.iter().zip(&services).map(|(holder, service)| Holder { terms: share::terms(service), ..holder.clone() });
        let holders: Vec<Holder> = holders.collect();
        (holders != claim.holders && share::evicted(pool, claim, &services).is_empty()).then_some(holders)
    }

    /// The owner of a group that changes its addresses: placed at once, so that the owner announces as soon as it sees the claims.
    fn found(&mut self, service: &Service, kept: &[&Arc<Claim>], take: &mut [Claim]) -> Announcement {
        let claims = kept
            .iter()
            .map(|claim| (claim.address, (*claim).clone()))
            .chain(take.iter().map(|claim| (claim.address, Arc::new(claim.clone()))));
        let mut group = Group { claims: claims.collect(), services: BTreeSet::from([service.key.clone()]) };
        if group.claims.is_empty() {
            return Announcement { owner: Err(NotAnnounced::NotPlaced), bgp: OverBgp::new() };
        }
        self.join(service, &mut group);
        let candidates = candidates(self.config, self.snapshot, self.living, &group);
        let placement = group.placement().cloned().or_else(|| place(self.snapshot, &group, &candidates, &mut self.load));
        for claim in take.iter_mut() {
            claim.placement.clone_from(&placement);
            group.claims.insert(claim.address, Arc::new(claim.clone()));
        }
        let view = View { config: self.config, snapshot: self.snapshot, living: self.living };
        Announcement { owner: owner(&group, &candidates), bgp: view.of_service(&group, service) }
    }

    /// Who announces the addresses of `service` for its own sake, whoever shares them.
    fn over_bgp(&self, known: &GroupPlan, service: &Service) -> OverBgp {
        if known.group.services.len() == 1 || known.bgp.is_empty() {
            return known.bgp.clone();
        }
        View { config: self.config, snapshot: self.snapshot, living: self.living }.of_service(&known.group, service)
    }

    /// Adds those with whom `service` shares an address of `group`, and all that they have.
    fn join(&self, service: &Service, group: &mut Group) {
        let holders = group.claims.values().flat_map(|claim| &claim.holders).filter(|holder| holder.service != service.key);
        let joined: Vec<&GroupPlan> = holders.filter_map(|holder| self.groups.get(&holder.service).copied()).collect();
        for plan in joined {
            let others = plan.group.claims.values().filter(|claim| claim.holders.iter().any(|holder| holder.service != service.key));
            for claim in others {
                group.claims.entry(claim.address).or_insert_with(|| claim.clone());
            }
            group.services.extend(plan.group.services.iter().cloned());
        }
    }

    /// The owner of a group that stays as it is, and where it was before; records where the claims say otherwise, and planned moves. What
    /// is published follows the record: only when it is written do all agents turn to the new owner.
    fn settle(&mut self, known: &GroupPlan) -> (Result<crate::plan::Owner, NotAnnounced>, Option<Moved>) {
        let mut owned = known.owner.clone();
        let mut placement = owned.as_ref().ok().map(|owner| Placement { node: owner.node.clone(), generation: owner.generation });
        if placement.is_none() && known.group.placement().is_none() {
            placement = place(self.snapshot, &known.group, &known.candidates, &mut self.load);
            if placement.is_some() {
                owned = owner(&with_placement(&known.group, placement.as_ref()), &known.candidates);
            }
        }
        let moving = known.group.services.first().and_then(|service| self.moves.get(service));
        let placement = moving.map(|moving| moving.to.clone()).or(placement);
        let before = known.group.placement().filter(|before| placement.as_ref().is_some_and(|now| now.node != before.node));
        let moved = before.map(|before| {
            let why = moving.map_or_else(|| departure(self.snapshot, self.living, known, before), |moving| moving.why);
            Moved { from: before.node.clone(), why: why.to_string() }
        });
        for claim in known.group.claims.values() {
            let placement = placement.clone().or_else(|| claim.placement.clone());
            let pool = self.config.pool_of(claim.address).map_or_else(|| claim.pool.clone(), |pool| pool.name.to_string());
            let holders = self.on_terms(claim);
            if (placement != claim.placement || pool != claim.pool || holders.is_some()) && self.written.insert(claim.address) {
                let moved = moved.clone().or_else(|| claim.moved.clone());
                let holders = holders.unwrap_or_else(|| claim.holders.clone());
                self.decision.tend.push(Tend::Replace(Claim { placement, pool, moved, holders, ..Claim::clone(claim) }));
            }
        }
        let recorded = known.group.claims.values().find_map(|claim| claim.moved.clone());
        (owned, moved.filter(|_| moving.is_none()).or(recorded))
    }

    /// The claim without some of its holders; free if none is left.
    fn without(&self, claim: &Claim, gone: impl Fn(&Holder) -> bool) -> Claim {
        let (left, holders): (Vec<Holder>, Vec<Holder>) = claim.holders.iter().cloned().partition(gone);
        if !holders.is_empty() {
            return Claim { holders, ..claim.clone() };
        }
        let last_holder = left.into_iter().next().map(|holder| holder.service).or_else(|| claim.last_holder.clone());
        Claim { holders, placement: None, moved: None, last_holder, freed: Some(self.now.seconds), ..claim.clone() }
    }

    /// Gives back what Services held that are to be left alone now, once their status does not show it any more. One that is being
    /// deleted keeps its claims until it is gone.
    fn part(&mut self) {
        for (key, claims) in std::mem::take(&mut self.held) {
            let Some(service) =
                self.snapshot.services.get(key).filter(|service| is_served(self.config, self.snapshot, service).is_left_alone())
            else {
                continue;
            };
            let unshown = claims.iter().filter(|claim| !service.ingress.contains(&claim.address));
            let release: Vec<Claim> = unshown.map(|claim| self.without(claim, |holder| holder.service == service.key)).collect();
            let Some(first) = release.first() else { continue };
            let publish = farewell(service, self.released(service, first.address), self.now);
            self.written.extend(release.iter().map(|claim| claim.address));
            let (service, publish) = (service.clone(), Some(publish));
            self.decision.work.push(Work {
                service,
                gone: Vec::new(),
                take: Vec::new(),
                publish,
                release,
                events: Vec::new(),
                repair: false,
            });
        }
    }

    /// Claims that no work of this decision writes: give back those of vanished Services, forget what need not be remembered.
    fn sweep(&mut self) {
        let mut free: Vec<&Arc<Claim>> = Vec::new();
        for claim in self.snapshot.claims.values().filter(|claim| !self.written.contains(&claim.address)) {
            let in_pool = self.config.pool_of(claim.address).is_some();
            let gone = |holder: &Holder| !exists(self.snapshot, holder);
            if claim.holders.iter().any(gone) {
                let left = self.without(claim, gone);
                let delete = left.holders.is_empty() && !in_pool;
                let gone = claim.holders.iter().filter(|holder| gone(holder)).cloned().collect();
                self.decision.tend.push(if delete { Tend::Delete(Claim::clone(claim)) } else { Tend::Release(left, gone) });
            } else if claim.holders.is_empty() && !in_pool {
                self.decision.tend.push(Tend::Delete(Claim::clone(claim)));
            } else if claim.holders.is_empty() {
                free.push(claim);
            }
        }
        free.sort_by_key(|claim| claim.freed);
        let surplus = free.len().saturating_sub(REMEMBERED);
        self.decision.tend.extend(free.into_iter().take(surplus).map(|claim| Tend::Delete(Claim::clone(claim))));
    }
}

fn exists(snapshot: &Snapshot, holder: &Holder) -> bool {
    snapshot.services.get(&holder.service).is_some_and(|service| service.uid == holder.uid)
}

fn with_placement(group: &Group, placement: Option<&Placement>) -> Group {
    let claims =
        group.claims.iter().map(|(address, claim)| (*address, Arc::new(Claim { placement: placement.cloned(), ..Claim::clone(claim) })));
    Group { claims: claims.collect(), services: group.services.clone() }
}

/// Whether the patch would change anything.
fn differs(service: &Service, publish: &Publish) -> bool {
    publish.ingress.is_some()
        || service.condition.as_ref() != Some(&publish.condition)
        || publish.annotations.iter().any(|(key, value)| service.annotations.get(key) != value.as_ref())
}
