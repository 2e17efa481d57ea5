//! How many addresses moved, and why: counted by the leader from the claims it sees, so that moves recorded by `lanlord move` count, too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::facts::{Claim, Snapshot};
use crate::plan::departure::Departure;

/// Moves by [`Departure::reason`], since this agent started, while it led.
pub type Moves = BTreeMap<&'static str, u64>;

/// The claims seen last, and the moves counted.
#[derive(Debug, Default)]
pub struct Tally {
    claims: Option<Arc<BTreeMap<IpAddr, Arc<Claim>>>>,
    moves: Moves,
}

impl Tally {
    /// Compares with what was seen before; returns the moves if there are more of them.
    pub fn observe(&mut self, snapshot: &Snapshot) -> Option<&Moves> {
        let claims = &snapshot.claims;
        let before = match self.claims.replace(claims.clone()) {
            Some(before) if !Arc::ptr_eq(&before, claims) => before,
            Some(_) | None => return None,
        };
        let mut more = false;
        for (address, claim) in claims.iter() {
            if let (Some(moved), true) = (&claim.moved, before.get(address).is_some_and(|before| is_elsewhere(before, claim))) {
                *self.moves.entry(Departure::of(&moved.why).map_or("Other", Departure::reason)).or_default() += 1;
                more = true;
            }
        }
        more.then_some(&self.moves)
    }

    /// Another one leads and counts.
    pub fn pause(&mut self) {
        self.claims = None;
    }
}

fn is_elsewhere(before: &Claim, claim: &Claim) -> bool {
    match (&before.placement, &claim.placement) {
        (Some(before), Some(now)) => before.node != now.node,
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Moved, Placement};

    fn snapshot(node: &str, from: Option<(&str, String)>) -> Snapshot {
        let address: IpAddr = "192.168.1.240".parse().unwrap();
        let claim = Claim {
            address,
            holders: Vec::new(),
            pool: "default".to_owned(),
            placement: Some(Placement { node: node.into(), generation: 1 }),
            moved: from.map(|(from, why)| Moved { from: from.into(), why }),
            last_holder: None,
            freed: None,
            resource_version: "1".to_owned(),
        };
        Snapshot { claims: Arc::new([(address, Arc::new(claim))].into()), ..Snapshot::default() }
    }

    #[test]
    fn moves_are_counted_by_reason_while_leading() {
        let mut tally = Tally::default();
        assert_eq!(tally.observe(&snapshot("pi1", None)), None);
        let drained = snapshot("pi2", Some(("pi1", Departure::Drained.to_string())));
        assert_eq!(tally.observe(&drained), Some(&Moves::from([("Drained", 1)])));
        assert_eq!(tally.observe(&drained), None, "seen once, counted once");
        tally.pause();
        assert_eq!(tally.observe(&snapshot("pi1", Some(("pi2", Departure::Lost.to_string())))), None, "another leader counted it");
        let unheard_of = snapshot("pi2", Some(("pi1", "because".to_owned())));
        assert_eq!(tally.observe(&unheard_of), Some(&Moves::from([("Drained", 1), ("Other", 1)])));
    }
}
