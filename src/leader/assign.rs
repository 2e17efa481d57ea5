//! Which Service gets which address: a pure function of configuration and claims, whole and deterministic.
//!
//! In order: what Services hold and may keep; what their status says and nobody holds (first start, migration); what they ask for by
//! name; then the rest, oldest Service first. A Service deleted and created again gets the address it had; others get addresses that
//! nobody remembers, then those free the longest. An address nobody can announce comes last. One that another machine of the LAN uses is
//! exchanged for another, unless the Service asked for it or there is no other. A Service with a sharing key takes an address it may
//! share before a free one of the same pool.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::refusal::{Lost, Refusal};
use super::request::Request;
use super::reserve::{Reserved, reserved};
use super::share::{self, Conflict};
use super::suggest::Advice;
use super::supply::Supply;
use crate::addr::{Family, MacAddr};
use crate::config::{Config, Pool};
use crate::facts::{Claim, FamilyPolicy, Labels, Living, Service, ServiceKey, Snapshot};
use crate::plan::{Serving, is_served};

/// What one Service gets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assignment {
    /// Its addresses in the order of its families; those of one family in the order in which they were asked for.
    pub addresses: Vec<IpAddr>,
    /// Why it gets no (further) address.
    pub refusal: Option<Refusal>,
    /// Addresses it held and loses.
    pub lost: Vec<(IpAddr, Lost)>,
    /// Of its addresses, those that another machine of the LAN uses, too.
    pub contested: Vec<Contested>,
}

/// An address that a Service keeps although another machine of the LAN uses it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contested {
    /// Which.
    pub address: IpAddr,
    /// The other machine.
    pub mac: MacAddr,
    /// The Service asks for this very address; else there is no other.
    pub asked: bool,
}

/// The assignment of every Service that is ours.
pub fn assign(config: &Config, snapshot: &Snapshot, living: &Living) -> BTreeMap<ServiceKey, Assignment> {
    let mut assigner = Assigner::new(config, snapshot, living);
    let mut services: Vec<&Service> =
        snapshot.services.values().map(AsRef::as_ref).filter(|service| is_served(config, snapshot, service) == Serving::Ours).collect();
    services.sort_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
    let mut states: Vec<State> = services.into_iter().map(|service| State::new(service, snapshot)).collect();
    assigner.part(&states);
    for state in &mut states {
        assigner.keep(state);
    }
    for state in &mut states {
        assigner.adopt(state);
    }
    for state in &mut states {
        assigner.grant_request(state);
    }
    for state in &mut states {
        assigner.restore(state);
    }
    for state in &mut states {
        assigner.fill(state);
    }
    states.into_iter().map(|state| state.finish(&assigner.reserved)).collect()
}

/// A Service on its way through the passes.
struct State<'a> {
    service: &'a Service,
    request: Request,
    assigned: BTreeSet<IpAddr>,
    refusal: Option<Refusal>,
    lost: Vec<(IpAddr, Lost)>,
}

impl<'a> State<'a> {
    fn new(service: &'a Service, snapshot: &Snapshot) -> Self {
        let mut refusal = service.families.is_empty().then_some(Refusal::Headless);
        let request = Request::of(service).and_then(|request| request.check_families(service).map(|()| request)).unwrap_or_else(|error| {
            refusal.get_or_insert(error);
            // Nothing is changed on a request that cannot be read: what it has, it keeps.
            let shown = |claim: &&Claim| service.ingress.contains(&claim.address);
            let held = held_by(snapshot, service).filter(shown).map(|claim| claim.address).collect();
            Request { addresses: held, pool: None }
        });
        Self { service, request, assigned: BTreeSet::new(), refusal, lost: Vec::new() }
    }

    fn missing(&self) -> Vec<Family> {
        let had: BTreeSet<Family> = self.assigned.iter().map(|address| Family::of(*address)).collect();
        self.service.families.iter().copied().filter(|family| !had.contains(family)).collect()
    }

    fn finish(self, reserved: &BTreeMap<IpAddr, Reserved>) -> (ServiceKey, Assignment) {
        let asked = |address: &IpAddr| self.request.addresses.iter().position(|asked| asked == address).unwrap_or(usize::MAX);
        let family = |address: &IpAddr| self.service.families.iter().position(|family| *family == Family::of(*address));
        let mut addresses: Vec<IpAddr> = self.assigned.iter().copied().collect();
        addresses.sort_by_key(|address| (family(address), asked(address), *address));
        let contested = |address: &IpAddr| match reserved.get(address) {
            Some(Reserved::Conflict(mac)) => {
                Some(Contested { address: *address, mac: *mac, asked: self.request.addresses.contains(address) })
            }
            Some(Reserved::Node(_) | Reserved::Gateway | Reserved::Unusable(_)) | None => None,
        };
        let contested = addresses.iter().filter_map(contested).collect();
        (self.service.key.clone(), Assignment { addresses, refusal: self.refusal, lost: self.lost, contested })
    }
}

/// The claims `service` holds, by uid.
fn held_by<'a>(snapshot: &'a Snapshot, service: &'a Service) -> impl Iterator<Item = &'a Claim> {
    snapshot.claims.values().map(AsRef::as_ref).filter(|claim| holds(claim, service))
}

fn holds(claim: &Claim, service: &Service) -> bool {
    claim.holders.iter().any(|holder| holder.service == service.key && holder.uid == service.uid)
}

struct Assigner<'a> {
    config: &'a Config,
    snapshot: &'a Snapshot,
    reserved: BTreeMap<IpAddr, Reserved>,
    /// Addresses that belong to someone, held or assigned in this run.
    taken: BTreeMap<IpAddr, Vec<&'a ServiceKey>>,
    /// Addresses of Services with a sharing key, by key.
    shared: BTreeMap<&'a str, BTreeSet<IpAddr>>,
    /// Who may not share any longer what it holds, and for whose sake.
    parted: BTreeMap<(IpAddr, &'a ServiceKey), (ServiceKey, Conflict)>,
    /// What each Service holds.
    held: BTreeMap<&'a ServiceKey, Vec<&'a Claim>>,
    /// What each Service had before it was deleted.
    remembered: BTreeMap<&'a ServiceKey, Vec<&'a Claim>>,
    /// Supplies of free addresses, made when first asked for.
    supplies: BTreeMap<(usize, Family), Supply>,
    living: &'a Living,
}

impl<'a> Assigner<'a> {
    fn new(config: &'a Config, snapshot: &'a Snapshot, living: &'a Living) -> Self {
        let mut held: BTreeMap<&ServiceKey, Vec<&Claim>> = BTreeMap::new();
        let mut remembered: BTreeMap<&ServiceKey, Vec<&Claim>> = BTreeMap::new();
        let mut taken: BTreeMap<IpAddr, Vec<&ServiceKey>> = BTreeMap::new();
        let mut shared: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        for claim in snapshot.claims.values() {
            let mut free = true;
            for holder in &claim.holders {
                let Some(service) = snapshot.services.get(&holder.service).filter(|service| service.uid == holder.uid) else { continue };
                held.entry(&holder.service).or_default().push(claim);
                taken.entry(claim.address).or_default().push(&service.key);
                if let Some(key) = share::key(service) {
                    shared.entry(key).or_default().insert(claim.address);
                }
                free = false;
            }
            if free {
                let last = claim.holders.first().map(|holder| &holder.service).or(claim.last_holder.as_ref());
                if let Some(last) = last {
                    remembered.entry(last).or_default().push(claim);
                }
            }
        }
        let reserved = reserved(snapshot);
        let (parted, supplies) = (BTreeMap::new(), BTreeMap::new());
        Self { config, snapshot, reserved, taken, shared, parted, held, remembered, supplies, living }
    }

    /// Finds who may not go on sharing. Who is about to give an address up anyway is in nobody's way.
    fn part(&mut self, states: &[State<'a>]) {
        for (address, keys) in self.taken.iter().filter(|(_, keys)| keys.len() > 1) {
            let (Some(pool), Some(claim)) = (self.config.pool_of(*address), self.snapshot.claims.get(address)) else { continue };
            let stays = |state: &&State| match self.why_lost(state, *address) {
                None | Some(Lost::OtherRequested | Lost::Reserved(Reserved::Conflict(_))) => true,
                Some(_) => false,
            };
            let holders = states.iter().filter(|state| keys.contains(&&state.service.key)).filter(stays);
            let holders: Vec<&Service> = holders.map(|state| state.service).collect();
            self.parted.extend(share::evicted(pool, claim, &holders).into_iter().map(|(key, against)| ((*address, key), against)));
        }
    }

    /// Keeps what a Service holds, as far as configuration and its own wishes still allow it.
    fn keep(&mut self, state: &mut State) {
        for claim in self.held.get(&state.service.key).into_iter().flatten() {
            let address = claim.address;
            match self.why_lost(state, address) {
                None => {
                    state.assigned.insert(address);
                }
                Some(why) => state.lost.push((address, why)),
            }
        }
    }

    fn why_lost(&self, state: &State, address: IpAddr) -> Option<Lost> {
        let family = Family::of(address);
        let Some(pool) = self.config.pool_of(address) else { return Some(Lost::LeftPool) };
        if !self.allows(pool, state.service) {
            return Some(Lost::PoolNotForService(pool.name.clone()));
        }
        if pool.avoids(address) {
            return Some(Lost::Buggy(pool.name.clone()));
        }
        if let Some((with, why)) = self.parted.get(&(address, &state.service.key)) {
            return Some(Lost::NotShared { with: with.clone(), why: why.clone() });
        }
        if !state.service.families.contains(&family) {
            return Some(Lost::FamilyDropped(family));
        }
        let request = &state.request;
        let asked_for = request.addresses.contains(&address);
        if let Some(why) = self.reserved.get(&address).filter(|why| !(asked_for && matches!(why, Reserved::Conflict(_)))) {
            return Some(Lost::Reserved(why.clone()));
        }
        // A request for one family of two says nothing about the other.
        let asked: Vec<&IpAddr> = request.addresses.iter().filter(|other| Family::of(**other) == family).collect();
        let other_address = !asked.is_empty() && !asked.contains(&&address);
        if other_address || request.pool.as_deref().is_some_and(|asked| asked != pool.name.as_str()) {
            return Some(Lost::OtherRequested);
        }
        let surplus = asked.is_empty() && state.assigned.iter().any(|other| Family::of(*other) == family);
        surplus.then_some(Lost::Surplus)
    }

    /// Takes over addresses that stand in the status and that nobody holds: MetalLB's, or ours from a crash.
    fn adopt(&mut self, state: &mut State<'a>) {
        if self.held.contains_key(&state.service.key) || state.refusal.is_some() {
            return;
        }
        for address in &state.service.ingress {
            if !state.missing().contains(&Family::of(*address)) || self.why_lost(state, *address).is_some() {
                continue;
            }
            match self.in_the_way(state.service, *address, share::conflict) {
                None => self.take(state, *address),
                Some((with, why)) if share::key(state.service).is_some() => state.lost.push((*address, Lost::NotShared { with, why })),
                Some(_) => {}
            }
        }
    }

    /// Gives what is asked for by name: all of it or nothing.
    fn grant_request(&mut self, state: &mut State<'a>) {
        if state.refusal.is_some() {
            return;
        }
        let wanted: Vec<IpAddr> = state.request.addresses.iter().copied().filter(|address| !state.assigned.contains(address)).collect();
        for address in &wanted {
            if let Err(refusal) = self.check_wanted(state, *address) {
                state.refusal = Some(refusal);
                self.keep_old(state);
                return;
            }
        }
        for address in wanted {
            self.take(state, address);
        }
    }

    fn check_wanted(&self, state: &State, address: IpAddr) -> Result<(), Refusal> {
        let service = state.service;
        let pool = self.config.pool_of(address).ok_or(Refusal::NotInPool { address })?;
        if let Some(asked) = state.request.pool.as_deref().filter(|asked| *asked != pool.name.as_str()) {
            return Err(Refusal::InOtherPool { address, pool: pool.name.clone(), asked: asked.to_owned() });
        }
        if !self.allows(pool, service) {
            return Err(Refusal::PoolNotForService { pool: pool.name.clone() });
        }
        if let Some(why) = self.reserved.get(&address) {
            return Err(Refusal::Reserved { address, why: why.clone() });
        }
        if pool.avoids(address) {
            return Err(Refusal::Buggy { address, pool: pool.name.clone() });
        }
        match self.in_the_way(service, address, |pool, one, other| share::obstacle(self.snapshot, pool, one, other)) {
            Some((by, Conflict::NoKey)) => Err(Refusal::InUse { address, by }),
            Some((with, why)) => Err(Refusal::NotShared { address, with, why }),
            None => Ok(()),
        }
    }

    /// Another Service that has `address` and does not share it with `service`, and why.
    fn in_the_way(
        &self,
        service: &Service,
        address: IpAddr,
        conflict: impl Fn(&Pool, &Service, &Service) -> Option<Conflict>,
    ) -> Option<(ServiceKey, Conflict)> {
        let others =
            self.taken.get(&address)?.iter().filter(|key| **key != &service.key).filter_map(|key| self.snapshot.services.get(*key));
        let pool = self.config.pool_of(address)?;
        others.filter_map(|other| Some((other.key.clone(), conflict(pool, service, other)?))).min_by(|a, b| a.0.cmp(&b.0))
    }

    /// A wish that cannot be met takes nothing away: an address given up only for it stays.
    fn keep_old(&self, state: &mut State) {
        let (kept, lost): (Vec<_>, Vec<_>) = state.lost.drain(..).partition(|(_, why)| *why == Lost::OtherRequested);
        state.lost = lost;
        // Of a family that has several, all that are shown: what is held but not shown is from a crash.
        let (shown, unshown): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(address, _)| state.service.ingress.contains(address));
        state.assigned.extend(shown.into_iter().map(|(address, _)| address));
        for (address, why) in unshown {
            if state.missing().contains(&Family::of(address)) {
                state.assigned.insert(address);
            } else {
                state.lost.push((address, why));
            }
        }
    }

    /// Gives a Service that was deleted and created again what it had.
    fn restore(&mut self, state: &mut State<'a>) {
        if state.refusal.is_some() {
            return;
        }
        let had: Vec<IpAddr> = self.remembered.get(&state.service.key).into_iter().flatten().map(|claim| claim.address).collect();
        for address in had {
            let usable =
                self.pools_for(state).is_ok_and(|pools| pools.iter().any(|pool| self.config.pools[*pool].addresses.contains(address)));
            if usable && state.missing().contains(&Family::of(address)) && self.check_wanted(state, address).is_ok() {
                self.take(state, address);
            }
        }
    }

    /// Gives what is still missing from the pools, in their order.
    fn fill(&mut self, state: &mut State<'a>) {
        let missing = state.missing();
        if state.refusal.is_some() || missing.is_empty() {
            self.keep_contested(state);
            return;
        }
        let picked = self.pools_for(state).and_then(|pools| self.pick(state, &pools, &missing));
        match picked {
            Ok(addresses) => {
                for address in addresses {
                    self.take(state, address);
                }
            }
            Err(refusal) => {
                state.refusal = Some(refusal);
                self.keep_old(state);
            }
        }
        self.keep_contested(state);
    }

    /// An address that another machine uses, too, is better than none.
    fn keep_contested(&self, state: &mut State) {
        let missing = state.missing();
        let is_missing = |address: &IpAddr| missing.contains(&Family::of(*address));
        let is_kept = |(address, why): &(IpAddr, Lost)| matches!(why, Lost::Reserved(Reserved::Conflict(_))) && is_missing(address);
        let (kept, lost): (Vec<_>, Vec<_>) = state.lost.drain(..).partition(is_kept);
        state.lost = lost;
        let any = !kept.is_empty();
        state.assigned.extend(kept.into_iter().map(|(address, _)| address));
        if any && state.missing().is_empty() {
            // Refused was only what should have come in its place.
            state.refusal = state.refusal.take().filter(|refusal| !matches!(refusal, Refusal::Full { .. } | Refusal::NoAutoPool { .. }));
        }
    }

    /// Both families from one pool if one has both; else each from the first pool that has it.
    fn pick(&mut self, state: &State, pools: &[usize], missing: &[Family]) -> Result<Vec<IpAddr>, Refusal> {
        for reachable in [true, false] {
            for pool in pools {
                let all: Vec<IpAddr> = missing.iter().filter_map(|family| self.peek(state.service, *pool, *family, reachable)).collect();
                if all.len() == missing.len() {
                    return Ok(all);
                }
            }
        }
        let mut picked = Vec::new();
        let mut refusal = None;
        for family in missing {
            let mut peek = |reachable| pools.iter().find_map(|pool| self.peek(state.service, *pool, *family, reachable));
            let first = peek(true).or_else(|| peek(false));
            match first {
                Some(address) => picked.push(address),
                None => refusal = refusal.or_else(|| Some(self.why_none(pools, *family))),
            }
        }
        match refusal {
            // One family is enough unless both are required; what is missing comes when a pool has it.
            Some(refusal)
                if picked.is_empty() && state.assigned.is_empty() || state.service.family_policy == FamilyPolicy::RequireDualStack =>
            {
                Err(refusal)
            }
            Some(_) | None => Ok(picked),
        }
    }

    fn why_none(&self, pools: &[usize], family: Family) -> Refusal {
        let names = |pools: &mut dyn Iterator<Item = &Pool>| pools.map(|pool| pool.name.clone()).collect::<Vec<_>>();
        let pools: Vec<&Pool> = pools.iter().map(|pool| &self.config.pools[*pool]).collect();
        let of_family = names(&mut pools.iter().copied().filter(|pool| pool.ranges.iter().any(|range| range.family() == family)));
        if of_family.is_empty() {
            let tried = if pools.len() < self.config.pools.len() { names(&mut pools.into_iter()) } else { Vec::new() };
            return Refusal::NoFamily { family, tried };
        }
        Refusal::Full { family, pools: of_family }
    }

    /// The pools a Service may use, in order: the one it asks for, else those it has an address of and all that are used unasked. A pool
    /// is asked for by one of its addresses, too.
    fn pools_for(&self, state: &State) -> Result<Vec<usize>, Refusal> {
        let pools = &self.config.pools;
        if let Some(asked) = &state.request.pool {
            let known = || pools.iter().map(|pool| pool.name.clone()).collect();
            let index = pools
                .iter()
                .position(|pool| pool.name.as_str() == asked)
                .ok_or_else(|| Refusal::UnknownPool { pool: asked.clone(), known: known() })?;
            return if self.allows(&pools[index], state.service) {
                Ok(vec![index])
            } else {
                Err(Refusal::PoolNotForService { pool: pools[index].name.clone() })
            };
        }
        if pools.is_empty() {
            return Err(Refusal::NoPools(Advice::default()));
        }
        let allowed = pools.iter().enumerate().filter(|(_, pool)| self.allows(pool, state.service));
        let asks = |pool: &Pool| state.request.addresses.iter().any(|address| pool.addresses.contains(*address));
        let (mut unasked, named): (Vec<_>, Vec<_>) = allowed.partition(|(_, pool)| pool.auto_assign || asks(pool));
        if unasked.is_empty() && named.is_empty() {
            return Err(Refusal::NoPoolForService { pools: pools.iter().map(|pool| pool.name.clone()).collect() });
        }
        if unasked.is_empty() {
            return Err(Refusal::NoAutoPool { named: named.into_iter().map(|(_, pool)| pool.name.clone()).collect() });
        }
        unasked.sort_by_key(|(_, pool)| !state.assigned.iter().any(|address| pool.addresses.contains(*address)));
        Ok(unasked.into_iter().map(|(index, _)| index).collect())
    }

    fn allows(&self, pool: &Pool, service: &Service) -> bool {
        let Some(allocation) = &pool.allocation else { return true };
        let no_labels = Labels::new();
        let labels = self.snapshot.namespaces.get(&service.key.namespace).unwrap_or(&no_labels);
        let any_namespace = allocation.namespaces.is_empty() && allocation.namespace_selectors.is_empty();
        let namespace = any_namespace
            || allocation.namespaces.contains(&*service.key.namespace)
            || allocation.namespace_selectors.iter().any(|selector| selector.matches(labels));
        let selectors = &allocation.service_selectors;
        namespace && (selectors.is_empty() || selectors.iter().any(|selector| selector.matches(&service.labels)))
    }

    fn take(&mut self, state: &mut State<'a>, address: IpAddr) {
        self.taken.entry(address).or_default().push(&state.service.key);
        if let Some(key) = share::key(state.service) {
            self.shared.entry(key).or_default().insert(address);
        }
        state.assigned.insert(address);
    }

    /// The next address of a pool for a Service, which it may share or nobody has, that `reachable` members can announce, or none can.
    fn peek(&mut self, service: &Service, pool: usize, family: Family, reachable: bool) -> Option<IpAddr> {
        let of = &self.config.pools[pool];
        if !self.supplies.contains_key(&(pool, family)) {
            let free = self.remembered.values().flatten().copied();
            let supply = Supply::new(self.config, self.snapshot, self.living, (of, family), free);
            self.supplies.insert((pool, family), supply);
        }
        let supply = &self.supplies[&(pool, family)];
        let avoided = |address: &IpAddr| self.reserved.contains_key(address) || of.avoids(*address);
        let sharable = |address: &&IpAddr| {
            of.addresses.contains(**address)
                && Family::of(**address) == family
                && supply.reaches(**address) == reachable
                && !avoided(address)
                && self.in_the_way(service, **address, |pool, one, other| share::obstacle(self.snapshot, pool, one, other)).is_none()
        };
        let shared = share::key(service).and_then(|key| self.shared.get(key));
        if let Some(address) = shared.and_then(|addresses| addresses.iter().find(sharable)) {
            return Some(*address);
        }
        let (taken, claims) = (&self.taken, &self.snapshot.claims);
        let unusable = |address: &IpAddr| taken.contains_key(address) || avoided(address);
        let mut supplies = std::mem::take(&mut self.supplies);
        let next =
            supplies.get_mut(&(pool, family)).and_then(|supply| supply.peek(reachable, unusable, |address| claims.contains_key(address)));
        self.supplies = supplies;
        next
    }
}
