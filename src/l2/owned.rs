//! What ARP and NDP have in common: the owned addresses of one link, when each is announced next, and which conflicts were told.
//!
//! A takeover is announced at once and then in steps of [`ANNOUNCE_STEP`], [`ANNOUNCE_NUM`] times in all; after that every
//! `announce_interval`, jittered by a quarter so that the addresses of a cluster do not speak in chorus. Bounded: memory grows with
//! the owned addresses only, never with what is received.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::desired::LinkDesired;
use super::{Action, Reason, State};
use crate::addr::MacAddr;
use crate::machine::Instant;

/// Time between the announcements of a takeover. RFC 5227's ANNOUNCE_INTERVAL of 2 s is made for hosts that are just starting; 1.1 s
/// is what MetalLB found: some switches and hosts ignore more than one gratuitous packet a second.
pub(super) const ANNOUNCE_STEP: Duration = Duration::from_millis(1100);
/// Announcements of a takeover: 5 cover the first 4.4 s (RFC 5227 asks for ANNOUNCE_NUM 2, RFC 4861 for at most
/// MAX_NEIGHBOR_ADVERTISEMENT 3 in a burst; a switch that is still learning needs more).
pub(super) const ANNOUNCE_NUM: u8 = 5;
/// RFC 5227 §2.4: a conflict is answered, and here told, at most once in this time.
pub(super) const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A takeover of many addresses is spread: so many at a time …
const PACE_BATCH: u32 = 64;
/// … every so often, which no queue of a slow link or of a switch overflows from.
const PACE: Duration = Duration::from_millis(2);

/// One address.
#[derive(Debug)]
struct Announcement {
    /// Announcements of the takeover still to come.
    remaining: u8,
    /// When it is announced next.
    announce_timer: Option<Instant>,
    /// Conflicts are not told again before.
    defend_timer: Option<Instant>,
}

/// The addresses of one family that are owned on one link.
#[derive(Debug)]
pub(super) struct Owned<A> {
    /// The link's own MAC.
    pub(super) mac: MacAddr,
    known_macs: BTreeSet<MacAddr>,
    announce_interval: Option<Duration>,
    leaving: bool,
    addresses: BTreeMap<A, Announcement>,
    /// Every `announce_timer`, earliest first: with thousands of addresses a packet must not cost a walk over all of them.
    timers: BTreeSet<(Instant, A)>,
    rng: fastrand::Rng,
}

/// What [`Owned::set`] changed.
#[derive(Debug)]
pub(super) struct Change<A> {
    pub(super) withdrawn: Vec<A>,
    pub(super) added: Vec<A>,
    /// Kept, but to be announced anew because the MAC is another.
    pub(super) moved: Vec<A>,
}

impl<A: Copy + Into<IpAddr>> Change<A> {
    /// One per address, withdrawn ones first.
    pub(super) fn state_changes<P>(&self) -> impl Iterator<Item = Action<P>> {
        let all = |addresses: &[A], from, to, reason| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|address| (*address).into()).collect();
            addresses.into_iter().map(move |address| Action::StateChanged { address, from, to, reason })
        };
        all(&self.withdrawn, State::Announcing, State::Silent, Reason::Withdrawn)
            .chain(all(&self.moved, State::Announcing, State::Announcing, Reason::MacChanged))
            .chain(all(&self.added, State::Silent, State::Announcing, Reason::Desired))
    }
}

impl<A: Copy + Ord> Owned<A> {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            mac: MacAddr::ZERO,
            known_macs: BTreeSet::new(),
            announce_interval: None,
            leaving: false,
            addresses: BTreeMap::new(),
            timers: BTreeSet::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    pub(super) fn contains(&self, address: A) -> bool {
        self.addresses.contains_key(&address)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = A> {
        self.addresses.keys().copied()
    }

    /// Replaces everything. What is added or moved is due for its first announcement now, or a few milliseconds later if it is much.
    pub(super) fn set(&mut self, desired: &LinkDesired, wanted: &BTreeSet<A>, now: Instant) -> Change<A> {
        let withdrawn: Vec<A> = self.iter().filter(|address| !wanted.contains(address)).collect();
        for address in &withdrawn {
            self.schedule(*address, None);
            self.addresses.remove(address);
        }
        let kept: Vec<A> = self.iter().collect();
        let added: Vec<A> = wanted.iter().copied().filter(|address| !self.contains(*address)).collect();
        let mac_changed = std::mem::replace(&mut self.mac, desired.mac) != desired.mac;
        let interval = desired.announce_interval.filter(|_| !desired.leaving);
        let interval_changed = std::mem::replace(&mut self.announce_interval, interval) != interval;
        self.leaving = desired.leaving;
        self.known_macs.clone_from(&desired.known_macs);
        let moved = if mac_changed { kept.clone() } else { Vec::new() };
        for (position, address) in (0..).zip(moved.iter().chain(&added)) {
            let announcement = Announcement { remaining: ANNOUNCE_NUM, announce_timer: None, defend_timer: None };
            let old = self.addresses.insert(*address, announcement);
            if let Some(due) = old.and_then(|old| old.announce_timer) {
                self.timers.remove(&(due, *address));
            }
            self.schedule(*address, Some(now + PACE * (position / PACE_BATCH)));
        }
        if interval_changed && !mac_changed {
            for address in kept {
                self.refresh_at_rest(address, now);
            }
        }
        if self.leaving {
            self.announce_no_more();
        }
        Change { withdrawn, added, moved }
    }

    /// The next address due at `now`; its timer is set to what comes after.
    pub(super) fn due(&mut self, now: Instant) -> Option<A> {
        let (due, address) = *self.timers.first().filter(|(due, _)| *due <= now)?;
        let announcement = self.addresses.get_mut(&address)?;
        announcement.remaining = announcement.remaining.saturating_sub(1);
        if announcement.remaining > 0 {
            // From when it was due, so that a late wake-up does not stretch the takeover; but never into the past.
            self.schedule(address, Some((due + ANNOUNCE_STEP).max(now + ANNOUNCE_STEP / 2)));
        } else {
            self.refresh_at_rest(address, now);
        }
        Some(address)
    }

    /// Sets the refresh of an address that has told its takeover; leaves others alone.
    fn refresh_at_rest(&mut self, address: A, now: Instant) {
        if self.addresses.get(&address).is_some_and(|announcement| announcement.remaining == 0) {
            let next = self.announce_interval.map(|interval| now + jittered(interval, &mut self.rng));
            self.schedule(address, next);
        }
    }

    fn announce_no_more(&mut self) {
        self.timers.clear();
        for announcement in self.addresses.values_mut() {
            (announcement.remaining, announcement.announce_timer) = (0, None);
        }
    }

    fn schedule(&mut self, address: A, at: Option<Instant>) {
        let Some(announcement) = self.addresses.get_mut(&address) else { return };
        if let Some(old) = std::mem::replace(&mut announcement.announce_timer, at) {
            self.timers.remove(&(old, address));
        }
        if let Some(at) = at {
            self.timers.insert((at, address));
        }
    }

    /// Whether it is to be told now that `mac` claims `address`.
    pub(super) fn tell_conflict(&mut self, address: A, mac: MacAddr, now: Instant) -> bool {
        if self.leaving || self.known_macs.contains(&mac) {
            return false;
        }
        let Some(announcement) = self.addresses.get_mut(&address) else { return false };
        let tell = announcement.defend_timer.is_none_or(|until| until <= now);
        if tell {
            announcement.defend_timer = Some(now + DEFEND_INTERVAL);
        }
        tell
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }
}

/// `interval` ± 25 %, at least a millisecond: an interval of zero must not become a busy loop.
fn jittered(interval: Duration, rng: &mut fastrand::Rng) -> Duration {
    interval.mul_f64(0.75 + rng.f64() / 2.0).max(Duration::from_millis(1))
}
