//! What ARP and NDP have in common: the owned addresses of one link and how far each has come.
//!
//! ```text
//!               fresh              silence              not desired, and another member takes over
//!   (desired) ────────► Probing ─────────────► Announcing ───────────────────────────► Yielding ──► (silent)
//!       │                ▲ │ answered               ▲
//!       │     after 60 s │ ▼                        │
//!       │              Contested                    │
//!       └────────── a takeover ─────────────────────┘
//! ```
//!
//! All but Contested answer whoever asks: there the address is another machine's. A takeover is announced at once and then in steps of
//! [`ANNOUNCE_STEP`], [`ANNOUNCE_NUM`] times in all; after that every `announce_interval`, jittered by a quarter so that the addresses of a
//! cluster do not speak in chorus. Bounded: memory grows with the owned addresses only, never with what is received.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::desired::LinkDesired;
use super::{Action, Reason, State};
use crate::addr::MacAddr;
use crate::machine::Instant;

/// Time between the announcements of a takeover. RFC 5227's ANNOUNCE_INTERVAL of 2 s is made for hosts that are just starting; 1.1 s
/// is what MetalLB found: some switches and hosts ignore more than one gratuitous packet a second.
const ANNOUNCE_STEP: Duration = Duration::from_millis(1100);
/// Announcements of a takeover: 5 cover the first 4.4 s (RFC 5227 asks for ANNOUNCE_NUM 2, RFC 4861 for at most
/// MAX_NEIGHBOR_ADVERTISEMENT 3 in a burst; a switch that is still learning needs more).
const ANNOUNCE_NUM: u8 = 5;
/// RFC 5227 §1.1.
const PROBE_NUM: u8 = 3;
/// Time between probes, and from the last one to the announcement. RFC 5227's PROBE_MIN of 1 s and PROBE_MAX of 2 s give a host time
/// whose link has just come up and whose switch does not forward yet, once per boot; here the link is in use, a machine that has the
/// address answers within milliseconds, and a Service waits.
const PROBE_STEP: Duration = Duration::from_millis(80);
/// RFC 5227 §2.1.1, RATE_LIMIT_INTERVAL: an address whose probe was answered is probed again after so long.
const RATE_LIMIT_INTERVAL: Duration = Duration::from_secs(60);
/// RFC 5227 §2.4: an address is defended by one announcement, and the conflict told, at most once in this time.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// How long an address is still answered for that another member takes over, if nothing is heard of that; and how often it is asked for
/// where it has to be heard.
const HAND_OVER: Duration = Duration::from_secs(1);
/// What members say of an address is told at most once in this time.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// A takeover of many addresses is spread: so many at a time …
const PACE_BATCH: u32 = 64;
/// … every so often, which no queue of a slow link or of a switch overflows from.
const PACE: Duration = Duration::from_millis(2);

/// How far an address has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// So many probes are still to be sent; nothing is announced before they came back silent.
    Probing { remaining: u8 },
    /// Another machine answered a probe: the address is its, until probes come back silent.
    Contested,
    /// So many announcements of the takeover are still to be sent.
    Announcing { remaining: u8 },
    /// Not desired any more, answered until its new owner announces it.
    Yielding,
}

/// One address.
#[derive(Debug)]
struct Address {
    phase: Phase,
    /// When the phase goes on.
    timer: Option<Instant>,
    /// Conflicts are not told, and the address not defended, again before.
    defend_timer: Option<Instant>,
    /// What members say is not told again before.
    tell_timer: Option<Instant>,
}

/// What is due for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Ask whether somebody has it.
    Probe,
    /// Announce it.
    Announce,
}

/// The addresses of one family that are owned on one link.
#[derive(Debug)]
pub(super) struct Owned<A> {
    desired: Arc<LinkDesired>,
    addresses: BTreeMap<A, Address>,
    /// Every `timer`, earliest first: with thousands of addresses a packet must not cost a walk over all of them.
    timers: BTreeSet<(Instant, A)>,
    rng: fastrand::Rng,
}

impl<A: Copy + Ord + Into<IpAddr>> Owned<A> {
    pub(super) fn new(seed: u64) -> Self {
        Self { desired: Arc::default(), addresses: BTreeMap::new(), timers: BTreeSet::new(), rng: fastrand::Rng::with_seed(seed) }
    }

    /// The link's own MAC.
    pub(super) fn mac(&self) -> MacAddr {
        self.desired.mac
    }

    pub(super) fn contains(&self, address: A) -> bool {
        self.addresses.contains_key(&address)
    }

    /// Whether who asks for `address` is answered.
    pub(super) fn answers(&self, address: A) -> bool {
        self.addresses.get(&address).is_some_and(|address| address.phase != Phase::Contested)
    }

    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = A> {
        self.addresses.keys().copied()
    }

    /// Replaces everything. What is new is due for its first packet now, or a few milliseconds later if it is much.
    pub(super) fn set<P>(&mut self, desired: Arc<LinkDesired>, wanted: &BTreeSet<A>, now: Instant, out: &mut Vec<Action<P>>) {
        let before = std::mem::replace(&mut self.desired, desired);
        for address in self.iter().filter(|address| !wanted.contains(address)).collect::<Vec<_>>() {
            self.part_with(address, now, out);
        }
        let (held, added): (Vec<A>, Vec<A>) = wanted.iter().partition(|address| self.is_ours(**address));
        let mac_changed = before.mac != self.desired.mac;
        let moved = if mac_changed { held.clone() } else { Vec::new() };
        let reason = |address| if moved.contains(address) { Reason::MacChanged } else { Reason::Desired };
        for (position, address) in (0..).zip(moved.iter().chain(&added)) {
            let from = self.state(*address);
            self.begin(*address, now + PACE * (position / PACE_BATCH));
            out.push(Action::StateChanged { address: (*address).into(), from, to: State::Announcing, reason: reason(address) });
        }
        if interval(&before) != interval(&self.desired) && !mac_changed {
            for address in held {
                self.refresh_at_rest(address, now);
            }
        }
        if self.desired.leaving {
            self.announce_no_more();
        }
    }

    fn is_ours(&self, address: A) -> bool {
        self.state(address) == State::Announcing
    }

    fn state(&self, address: A) -> State {
        match self.addresses.get(&address).map(|address| address.phase) {
            None => State::Silent,
            Some(Phase::Probing { .. } | Phase::Contested | Phase::Announcing { .. }) => State::Announcing,
            Some(Phase::Yielding) => State::Yielding,
        }
    }

    /// An address that is not wanted any more goes on until its new owner announces it; where nobody takes over, it is silent now.
    fn part_with<P>(&mut self, address: A, now: Instant, out: &mut Vec<Action<P>>) {
        let from = self.state(address);
        if !self.answers(address) || !self.desired.successors.contains_key(&address.into()) {
            self.fall_silent(address, Reason::Withdrawn, out);
        } else if from == State::Announcing {
            self.go_on(address, Phase::Yielding, Some(now + HAND_OVER));
            out.push(Action::StateChanged { address: address.into(), from, to: State::Yielding, reason: Reason::Withdrawn });
        }
    }

    fn begin(&mut self, address: A, at: Instant) {
        let fresh = self.desired.fresh.contains(&address.into());
        let phase = match self.addresses.get(&address).map(|address| address.phase) {
            None if fresh => Phase::Probing { remaining: PROBE_NUM },
            Some(Phase::Probing { .. } | Phase::Contested) => Phase::Probing { remaining: PROBE_NUM },
            None | Some(Phase::Announcing { .. } | Phase::Yielding) => Phase::Announcing { remaining: ANNOUNCE_NUM },
        };
        self.schedule(address, None);
        self.addresses.insert(address, Address { phase, timer: None, defend_timer: None, tell_timer: None });
        self.schedule(address, Some(at));
    }

    /// The next address due at `now`, and for what; its timer is set to what comes after. What was not handed over in time is dropped.
    pub(super) fn due<P>(&mut self, now: Instant, out: &mut Vec<Action<P>>) -> Option<(A, Due)> {
        loop {
            let (due, address) = *self.timers.first().filter(|(due, _)| *due <= now)?;
            match self.addresses.get(&address)?.phase {
                // Each probe has its time to be answered, also after a late wake-up.
                Phase::Probing { remaining: probes @ 1.. } => {
                    self.go_on(address, Phase::Probing { remaining: probes - 1 }, Some(now + PROBE_STEP));
                    return Some((address, Due::Probe));
                }
                Phase::Contested => {
                    self.go_on(address, Phase::Probing { remaining: PROBE_NUM - 1 }, Some(now + PROBE_STEP));
                    return Some((address, Due::Probe));
                }
                Phase::Probing { remaining: 0 } => {
                    self.go_on(address, Phase::Announcing { remaining: ANNOUNCE_NUM - 1 }, Some(now + ANNOUNCE_STEP));
                    return Some((address, Due::Announce));
                }
                // From when it was due, so that a late wake-up does not stretch the takeover; but never into the past.
                Phase::Announcing { remaining: announcements @ 2.. } => {
                    let next = (due + ANNOUNCE_STEP).max(now + ANNOUNCE_STEP / 2);
                    self.go_on(address, Phase::Announcing { remaining: announcements - 1 }, Some(next));
                    return Some((address, Due::Announce));
                }
                Phase::Announcing { remaining: 0..=1 } => {
                    self.go_on(address, Phase::Announcing { remaining: 0 }, None);
                    self.refresh_at_rest(address, now);
                    return Some((address, Due::Announce));
                }
                Phase::Yielding if self.desired.until_heard => {
                    self.go_on(address, Phase::Yielding, Some(now + HAND_OVER));
                    return Some((address, Due::Probe));
                }
                Phase::Yielding => self.fall_silent(address, Reason::HandOverExpired, out),
            }
        }
    }

    /// Sets the refresh of an address that has told its takeover; leaves others alone.
    fn refresh_at_rest(&mut self, address: A, now: Instant) {
        if self.addresses.get(&address).is_some_and(|address| address.phase == Phase::Announcing { remaining: 0 }) {
            let next = interval(&self.desired).map(|interval| now + jittered(interval, &mut self.rng));
            self.schedule(address, next);
        }
    }

    fn announce_no_more(&mut self) {
        for address in self.iter().filter(|address| self.is_ours(*address)).collect::<Vec<_>>() {
            let phase = if self.answers(address) { Phase::Announcing { remaining: 0 } } else { Phase::Contested };
            self.go_on(address, phase, None);
        }
    }

    fn schedule(&mut self, address: A, at: Option<Instant>) {
        let Some(known) = self.addresses.get_mut(&address) else { return };
        if let Some(old) = std::mem::replace(&mut known.timer, at) {
            self.timers.remove(&(old, address));
        }
        if let Some(at) = at {
            self.timers.insert((at, address));
        }
    }

    /// Somebody else says that `address` is theirs; `announced`: unasked and to everyone.
    pub(super) fn claimed<P>(&mut self, address: A, mac: MacAddr, announced: bool, now: Instant, out: &mut Vec<Action<P>>) {
        let known = self.desired.known_macs.contains(&mac);
        let Some(phase) = self.addresses.get(&address).map(|address| address.phase) else {
            if !known && self.desired.watched.contains(address.into()) {
                out.push(Action::Sighted { address: address.into(), mac });
            }
            return;
        };
        match phase {
            Phase::Yielding => self.handed_over(address, mac, announced, out),
            Phase::Probing { .. } | Phase::Contested | Phase::Announcing { .. } if self.desired.leaving => {}
            Phase::Probing { .. } | Phase::Contested | Phase::Announcing { .. } if known => {
                self.claimed_by_member(address, phase, mac, announced, now, out);
            }
            Phase::Probing { .. } | Phase::Contested | Phase::Announcing { .. } => self.contested(address, phase, mac, now, out),
        }
    }

    fn handed_over<P>(&mut self, address: A, mac: MacAddr, announced: bool, out: &mut Vec<Action<P>>) {
        let successor = self.desired.successors.get(&address.into()).is_some_and(|macs| macs.contains(&mac));
        let member = self.desired.until_heard && self.desired.known_macs.contains(&mac);
        if announced && successor || member {
            self.fall_silent(address, Reason::HandedOver, out);
        }
    }

    fn claimed_by_member<P>(&mut self, address: A, phase: Phase, mac: MacAddr, announced: bool, now: Instant, out: &mut Vec<Action<P>>) {
        if matches!(phase, Phase::Probing { .. }) {
            // A former owner still answers: this is a takeover, and it waits for our announcement to fall silent.
            self.go_on(address, Phase::Announcing { remaining: ANNOUNCE_NUM }, Some(now));
        }
        let Some(known) = self.addresses.get_mut(&address) else { return };
        if announced && known.tell_timer.is_none_or(|until| until <= now) {
            known.tell_timer = Some(now + TELL_INTERVAL);
            out.push(Action::MemberClaim { address: address.into(), mac });
        }
    }

    /// RFC 5227 §2.1.1 and §2.4 (c), RFC 4862 §5.4.4: who probes steps back; who uses the address defends it, but not against every packet.
    fn contested<P>(&mut self, address: A, phase: Phase, mac: MacAddr, now: Instant, out: &mut Vec<Action<P>>) {
        if matches!(phase, Phase::Probing { .. } | Phase::Contested) {
            self.go_on(address, Phase::Contested, Some(now + RATE_LIMIT_INTERVAL));
        }
        let Some(known) = self.addresses.get_mut(&address) else { return };
        if known.defend_timer.is_none_or(|until| until <= now) {
            known.defend_timer = Some(now + DEFEND_INTERVAL);
            out.push(Action::Conflict { address: address.into(), mac });
            if matches!(phase, Phase::Announcing { .. }) {
                self.schedule(address, Some(now));
            }
        }
    }

    fn go_on(&mut self, address: A, phase: Phase, at: Option<Instant>) {
        if let Some(known) = self.addresses.get_mut(&address) {
            known.phase = phase;
            self.schedule(address, at);
        }
    }

    fn fall_silent<P>(&mut self, address: A, reason: Reason, out: &mut Vec<Action<P>>) {
        let from = self.state(address);
        self.schedule(address, None);
        self.addresses.remove(&address);
        out.push(Action::StateChanged { address: address.into(), from, to: State::Silent, reason });
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }
}

/// How often an address at rest is announced again.
fn interval(desired: &LinkDesired) -> Option<Duration> {
    desired.announce_interval.filter(|_| !desired.leaving)
}

/// `interval` ± 25 %, at least a millisecond: an interval of zero must not become a busy loop.
fn jittered(interval: Duration, rng: &mut fastrand::Rng) -> Duration {
    interval.mul_f64(0.75 + rng.f64() / 2.0).max(Duration::from_millis(1))
}
