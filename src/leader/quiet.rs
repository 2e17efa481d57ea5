//! When a move for evenness is allowed (`rebalance: true`): a minute after the last change of members and the last other move, and ten
//! seconds after the last one of its own kind, so that a cluster that starts, is drained or is updated is left to come to rest first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::facts::{Claim, Living, NodeName, Snapshot};
use crate::machine::Instant;
use crate::plan::departure::Departure;

/// How long nothing may have happened.
pub const QUIET: Duration = Duration::from_secs(60);
/// Between two moves for evenness.
pub const SPACING: Duration = Duration::from_secs(10);

/// What was seen last, and until when to keep still.
#[derive(Debug, Default)]
pub struct Quiet {
    members: Option<Living>,
    owners: BTreeMap<IpAddr, NodeName>,
    until: Option<Instant>,
}

impl Quiet {
    /// Looks at the world; returns whether a move is allowed now.
    pub fn observe(&mut self, snapshot: &Snapshot, living: &Living, now: Instant) -> bool {
        let owners: BTreeMap<IpAddr, NodeName> =
            snapshot.claims.values().filter_map(|claim| Some((claim.address, claim.placement.as_ref()?.node.clone()))).collect();
        let moved: Vec<&IpAddr> = owners
            .iter()
            .filter(|(address, node)| self.owners.get(*address).is_some_and(|before| before != *node))
            .map(|(a, _)| a)
            .collect();
        let for_evenness = |address: &IpAddr| snapshot.claims.get(address).is_some_and(|claim| evened_out(claim));
        let disturbed = self.members.as_ref() != Some(living)
            || moved.iter().any(|address| !for_evenness(address))
            || snapshot
                .members
                .values()
                .any(|member| member.suspect.is_some() || (member.instance.is_some() && !living.members.contains_key(&member.node)));
        let rest = if disturbed { Some(QUIET) } else { (!moved.is_empty()).then_some(SPACING) };
        if let Some(rest) = rest {
            self.until = self.until.max(Some(now + rest));
        }
        if self.members.as_ref() != Some(living) {
            self.members = Some(living.clone());
        }
        self.owners = owners;
        self.until.is_none_or(|until| until <= now)
    }

    /// A move for evenness is being written.
    pub fn moving(&mut self, now: Instant) {
        self.until = self.until.max(Some(now + SPACING));
    }

    /// When the rest that was ordered last is over.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

/// Whether the last move of `claim` was for evenness.
pub fn evened_out(claim: &Claim) -> bool {
    claim.moved.as_ref().is_some_and(|moved| moved.why == Departure::Rebalance.to_string())
}
