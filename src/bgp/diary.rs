//! What is to be told of sessions, once: that one is up, that it is lost, and what else is amiss and stays so.
//!
//! A session that is lost is told at once. Other trouble has to last a little: a router that starts after its nodes refuses them first,
//! and after a restart BFD comes up after BGP. One whose session comes and goes gets a few Events, then one a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use super::desired::PeerKey;
use super::status::{PeerStatus, State, Status};

use crate::facts::{EventKind, reason};
use crate::machine::{Instant, earliest};

/// How long trouble lasts before it is told.
const LASTS: Duration = Duration::from_secs(5);
/// Events of one peer that may be written in a row, and how long until it may have another one.
const BUDGET: (u32, Duration) = (10, Duration::from_secs(60));

/// Something to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Whether a person may have to act.
    pub kind: EventKind,
    /// `BGPSessionUp`, `BGPSessionDown`, or the reason of the trouble.
    pub reason: &'static str,
    /// What, and what to check.
    pub message: String,
}

/// What has been told.
#[derive(Debug, Default)]
pub struct Diary {
    peers: BTreeMap<PeerKey, Told>,
}

#[derive(Debug)]
struct Told {
    up: bool,
    /// By what is amiss: since when, and whether that was told.
    troubles: BTreeMap<String, (Instant, bool)>,
    budget: (u32, Instant),
}

impl Diary {
    /// The session of this peer ends because it is not wanted any more in this way: that is no news.
    pub fn unwanted(&mut self, peer: &PeerKey) {
        if let Some(told) = self.peers.get_mut(peer) {
            told.up = false;
        }
    }

    /// What is to be told now that this is so.
    pub fn due(&mut self, status: &Status) -> Vec<Entry> {
        self.peers.retain(|key, _| status.peers.contains_key(key));
        let mut entries = Vec::new();
        for (key, peer) in &status.peers {
            let fresh = || Told { up: false, troubles: BTreeMap::new(), budget: (BUDGET.0, status.at) };
            let told = self.peers.entry(key.clone()).or_insert_with(fresh);
            entries.extend(told.due(key, peer, status.at));
        }
        entries
    }

    /// When to look again even if nothing changes.
    pub fn next(&self) -> Option<Instant> {
        let troubles = self.peers.values().flat_map(|told| told.troubles.values());
        earliest(troubles.filter(|(_, told)| !told).map(|(since, _)| Some(*since + LASTS)))
    }
}

impl Told {
    fn due(&mut self, key: &PeerKey, peer: &PeerStatus, now: Instant) -> Vec<Entry> {
        let of = match peer.remote {
            Some(remote) => format!("BGP peer {key} ({})", remote.ip()),
            None => format!("BGP peer {key}"),
        };
        let mut entries = Vec::new();
        self.troubles.retain(|what, _| peer.troubles.iter().any(|trouble| trouble.what == *what));
        let (was, is) = (self.up, peer.session.state == State::Established);
        self.up = is;
        if is && !was {
            let message = format!("{of}: the session is up");
            entries.push(Entry { kind: EventKind::Normal, reason: reason::BGP_SESSION_UP, message });
        }
        for trouble in &peer.troubles {
            let lost = was && !is && trouble.reason == reason::BGP_SESSION_REFUSED;
            let (since, told) = self.troubles.entry(trouble.what.clone()).or_insert((now, false));
            if !*told && (lost || *since + LASTS <= now) {
                *told = true;
                let (reason, what) = if lost { (reason::BGP_SESSION_DOWN, "the session is lost: ") } else { (trouble.reason, "") };
                let message = format!("{of}: {what}{}; {}", trouble.what, trouble.action);
                entries.push(Entry { kind: EventKind::Warning, reason, message });
            }
        }
        entries.retain(|_| self.may(now));
        entries
    }

    fn may(&mut self, now: Instant) -> bool {
        let (left, since) = &mut self.budget;
        while *left < BUDGET.0 && *since + BUDGET.1 <= now {
            (*left, *since) = (*left + 1, *since + BUDGET.1);
        }
        if *left == BUDGET.0 {
            *since = now;
        }
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}
