//! Adj-RIB-Out of one session (RFC 4271 §3.2): the routes that are wanted, those the peer was told, and the messages in between.
//!
//! The difference is worked out anew from the whole wanted set whenever that changes; [`AdjRibOut::next`] gives one message at a time, so
//! a peer that reads slowly costs no memory. Withdrawals come first, then announcements grouped by equal attributes, then withdrawals of
//! what those replace, then the marks that everything of a family has been told: End-of-RIB (RFC 4724 §2) and EoRR (RFC 7313 §4). Nothing
//! waits for a MinRouteAdvertisementInterval (RFC 4271 §9.2.1.1): a failover cannot, and routers of our kind set it to 0.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::desired::{Route, Routes};
use super::update::Context;
use crate::addr::{Family, Prefix};
use crate::wire::bgp::{Attributes, Message, Nlri, RefreshSubtype, RouteRefresh, Update};

/// The routes of one session.
#[derive(Debug, Default)]
pub(super) struct AdjRibOut {
    wanted: BTreeMap<Prefix, Arc<Attributes>>,
    told: BTreeMap<Prefix, Arc<Attributes>>,
    /// Told and not wanted.
    withdraw: BTreeSet<Prefix>,
    /// Likewise, but a prefix around it or within it is still to be announced: until then it is the only way to its addresses.
    replaced: BTreeSet<Prefix>,
    /// Wanted and not told, or told with other attributes.
    announce: BTreeMap<(Family, Arc<Attributes>), BTreeSet<Prefix>>,
    /// Told, and to be told again because the peer asked.
    again: BTreeSet<Prefix>,
    /// Families whose told prefixes are all in `again`: one more request changes nothing, so that a flood of them costs nothing.
    all_again: BTreeSet<Family>,
    /// Families whose End-of-RIB is owed.
    end_of_rib: BTreeSet<Family>,
    /// Families that were asked for again by a peer that wants to see the beginning.
    begin: BTreeSet<Family>,
    /// And the end.
    refreshing: BTreeSet<Family>,
    /// Families that were asked for before their End-of-RIB: "MUST NOT send a BoRR … before it sends the EoR" (RFC 7313 §4.1).
    asked_early: BTreeSet<Family>,
    too_long: BTreeSet<Prefix>,
}

fn family(prefix: Prefix) -> Family {
    Family::of(prefix.first())
}

impl AdjRibOut {
    /// Of a session that has just come up: nothing is told. `end_of_rib`: families whose end is marked.
    pub(super) fn new(end_of_rib: BTreeSet<Family>) -> Self {
        Self { end_of_rib, ..Self::default() }
    }

    /// How many routes the peer was told.
    pub(super) fn told(&self) -> usize {
        self.told.len()
    }

    /// How many it is still to be told of.
    pub(super) fn pending(&self) -> usize {
        self.withdraw.len() + self.replaced.len() + self.announce.values().map(BTreeSet::len).sum::<usize>()
    }

    /// Routes that fit into no message.
    pub(super) fn too_long(&self) -> &BTreeSet<Prefix> {
        &self.too_long
    }

    /// The whole wanted set.
    pub(super) fn want(&mut self, routes: &Routes, context: &Context) {
        self.wanted.clear();
        self.too_long.clear();
        let mut known: BTreeMap<&Route, Arc<Attributes>> = BTreeMap::new();
        for (prefix, route) in routes {
            let family = family(*prefix);
            if !context.agreed.families.contains(&family) || context.next_hop(family).is_none() {
                continue;
            }
            let attributes = known.entry(route.as_ref()).or_insert_with(|| Arc::new(context.attributes(route)));
            self.wanted.insert(*prefix, Arc::clone(attributes));
        }
        self.leave_out_too_long(context);
        self.compare();
    }

    /// RFC 4271 §9.2: what fits into no message is not advertised.
    fn leave_out_too_long(&mut self, context: &Context) {
        let mut fits: BTreeMap<(Family, Arc<Attributes>), bool> = BTreeMap::new();
        // The longest prefix of a family decides for all, so that equal attributes always have one answer.
        let longest = |family| match family {
            Family::V4 => Prefix::new(ipnet::IpNet::new_assert(std::net::Ipv4Addr::UNSPECIFIED.into(), 32)),
            Family::V6 => Prefix::new(ipnet::IpNet::new_assert(std::net::Ipv6Addr::UNSPECIFIED.into(), 128)),
        };
        self.wanted.retain(|prefix, attributes| {
            let family = family(*prefix);
            let fits = *fits
                .entry((family, Arc::clone(attributes)))
                .or_insert_with(|| context.announce(family, attributes, std::iter::once(longest(family))).is_some());
            if !fits {
                self.too_long.insert(*prefix);
            }
            fits
        });
    }

    fn compare(&mut self) {
        self.withdraw = self.told.keys().filter(|prefix| !self.wanted.contains_key(prefix)).copied().collect();
        self.announce.clear();
        for (prefix, attributes) in &self.wanted {
            if self.told.get(prefix) != Some(attributes) || self.again.contains(prefix) {
                self.announce.entry((family(*prefix), Arc::clone(attributes))).or_default().insert(*prefix);
            }
        }
        let new: BTreeSet<Prefix> = self.announce.values().flatten().filter(|prefix| !self.told.contains_key(prefix)).copied().collect();
        let lengths: BTreeSet<u8> = new.iter().map(|prefix| prefix.length()).collect();
        self.replaced = self.withdraw.iter().filter(|prefix| overlaps(**prefix, &new, &lengths)).copied().collect();
        self.withdraw.retain(|prefix| !self.replaced.contains(prefix));
    }

    /// The peer asks for all routes of a family again (RFC 2918 §4); `enhanced`: it wants to see where they begin and end (RFC 7313 §4.1).
    pub(super) fn refresh(&mut self, of: Family, enhanced: bool) {
        if enhanced && self.end_of_rib.contains(&of) {
            self.asked_early.insert(of);
            return;
        }
        if enhanced {
            self.begin.insert(of);
            self.refreshing.insert(of);
        }
        if self.all_again.insert(of) {
            self.again.extend(self.told.keys().filter(|prefix| family(**prefix) == of));
            self.compare();
        }
    }

    /// The next message and its length; what it says counts as told.
    pub(super) fn next(&mut self, context: &Context) -> Option<(Message, usize)> {
        if let Some(family) = self.begin.pop_first() {
            return Some(mark(family, RefreshSubtype::Begin));
        }
        let update = self.next_withdrawal(context).or_else(|| self.next_announcement(context)).or_else(|| {
            self.withdraw = std::mem::take(&mut self.replaced);
            self.next_withdrawal(context)
        });
        if let Some((update, length)) = update {
            return Some((Message::Update(update), length));
        }
        // Nothing is left to be told, of no family.
        if let Some(family) = self.end_of_rib.pop_first() {
            if self.asked_early.remove(&family) {
                self.refresh(family, true);
            }
            return Some((Message::Update(Update::end_of_rib(family)), 30));
        }
        self.refreshing.pop_first().map(|family| mark(family, RefreshSubtype::End))
    }

    fn next_withdrawal(&mut self, context: &Context) -> Option<(Update, usize)> {
        let of = family(*self.withdraw.first()?);
        let (update, length) = context.withdraw(of, self.withdraw.iter().copied().filter(|prefix| family(*prefix) == of))?;
        for prefix in withdrawn(&update) {
            self.withdraw.remove(&prefix);
            self.told.remove(&prefix);
            self.again.remove(&prefix);
        }
        Some((update, length))
    }

    fn next_announcement(&mut self, context: &Context) -> Option<(Update, usize)> {
        let mut entry = self.announce.first_entry()?;
        let (family, attributes) = entry.key().clone();
        let (update, length) = context.announce(family, &attributes, entry.get().iter().copied())?;
        self.all_again.remove(&family);
        for prefix in announced(&update) {
            entry.get_mut().remove(&prefix);
            self.again.remove(&prefix);
            self.told.insert(prefix, Arc::clone(&attributes));
        }
        if entry.get().is_empty() {
            entry.remove();
        }
        Some((update, length))
    }
}

/// Whether one of `all`, which have these `lengths`, is around `prefix` or within it.
fn overlaps(prefix: Prefix, all: &BTreeSet<Prefix>, lengths: &BTreeSet<u8>) -> bool {
    let around = |length: &u8| ipnet::IpNet::new(prefix.first(), *length).is_ok_and(|net| all.contains(&Prefix::new(net)));
    // By address, then by length: the next one is within if any is.
    all.range(prefix..).next().is_some_and(|next| prefix.contains(next.first())) || lengths.range(..prefix.length()).any(around)
}

/// BoRR or EoRR, and its length.
fn mark(family: Family, subtype: RefreshSubtype) -> (Message, usize) {
    (Message::RouteRefresh(RouteRefresh { family: family.into(), subtype }), 23)
}

fn withdrawn(update: &Update) -> Vec<Prefix> {
    let plain = update.withdrawn.iter().map(|net| Prefix::new((*net).into()));
    plain.chain(update.unreachable.iter().flat_map(Nlri::prefixes)).collect()
}

fn announced(update: &Update) -> Vec<Prefix> {
    let plain = update.nlri.iter().map(|net| Prefix::new((*net).into()));
    plain.chain(update.reachable.iter().flat_map(|reachable| reachable.nlri.prefixes())).collect()
}
