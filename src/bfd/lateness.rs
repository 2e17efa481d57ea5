//! How late this process runs, from how late its timers fire: a starved process hears late, and sends late.
//!
//! Who sends late looks dead. So while it lasts, a larger Detect Mult is advertised; that takes effect at the neighbour at once, without
//! a Poll Sequence (RFC 5880 §6.8.4: "the value of Detect Mult received").

use std::time::Duration;

use crate::machine::Instant;

/// Less is the ordinary coarseness of timers.
pub(super) const NOTICEABLE: Duration = Duration::from_millis(5);
/// More makes no difference: [`LIMIT`] is reached.
const WORST: Duration = Duration::from_secs(2);
/// The worst is remembered this long, then half of it, and so on.
const HOLD: Duration = Duration::from_secs(10);
/// No more than this many times the desired Detect Mult: a neighbour must not wait much longer for a dead sender.
const LIMIT: u8 = 3;

/// The worst lateness of late.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    worst: Duration,
    decay_timer: Option<Instant>,
}

impl Lateness {
    /// A timer fired so late.
    pub(super) fn note(&mut self, late: Duration, now: Instant) {
        let late = late.min(WORST);
        if late >= NOTICEABLE && late >= self.worst / 2 {
            self.worst = self.worst.max(late);
            self.decay_timer = Some(now + HOLD);
        }
    }

    /// Forgets half, when it is time. Returns whether it did.
    pub(super) fn fire(&mut self, now: Instant) -> bool {
        let due = self.decay_timer.is_some_and(|due| due <= now);
        if due {
            self.worst = Some(self.worst / 2).filter(|worst| *worst >= NOTICEABLE).unwrap_or_default();
            self.decay_timer = (!self.worst.is_zero()).then(|| now + HOLD);
        }
        due
    }

    /// When to call `fire`.
    pub(super) fn timer(&self) -> Option<Instant> {
        self.decay_timer
    }

    /// The worst that is remembered.
    pub(super) fn worst(&self) -> Duration {
        self.worst
    }
}

/// The Detect Mult to advertise: `desired`, and one more for every `interval` (rounded) that we run `late`.
pub(super) fn detect_mult(desired: u8, late: Duration, interval: Duration) -> u8 {
    let intervals = (late + interval / 2).as_nanos() / interval.as_nanos().max(1);
    let more = u8::try_from(intervals).unwrap_or(u8::MAX);
    desired.saturating_add(more).min(desired.saturating_mul(LIMIT)).max(1)
}
