//! The timers of one session (RFC 4271 §8, §10; RFC 9687 §3) and how long each runs. What happens when one expires is for `session`.
//!
//! Waits between attempts double from 1 s to 60 s unless a ConnectRetryTime is configured; everything that repeats has jitter.

use std::time::Duration;

use super::desired::SessionDesired;
use super::status::Agreed;
use crate::machine::{Instant, earliest};

/// First wait before another attempt.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest one.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// ConnectRetryTime is at least this where nothing is configured: TCP repeats its SYN after 1, 3 and 7 seconds.
const SHORTEST_CONNECT: Duration = Duration::from_secs(10);
/// Hold time while the peer's OPEN is waited for (§8.2.2, "a HoldTimer value of 4 minutes is suggested").
const LARGE_HOLD_TIME: Duration = Duration::from_secs(240);
/// SendHoldTime is at least this (RFC 9687 §4).
const SEND_HOLD_TIME: Duration = Duration::from_secs(480);
/// The shortest time between KEEPALIVEs (§4.4).
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);

/// Which timer is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Hold,
    SendHold,
    Keepalive,
    ConnectRetry,
    IdleHold,
}

/// All timers.
#[derive(Debug)]
pub(super) struct Timers {
    rng: fastrand::Rng,
    /// The next wait, before jitter.
    wait: Duration,
    /// ConnectRetryTimer: in Connect until the dial is given up, in Active until the next one.
    pub(super) connect_retry_timer: Option<Instant>,
    /// HoldTimer
    pub(super) hold_timer: Option<Instant>,
    /// KeepaliveTimer
    pub(super) keepalive_timer: Option<Instant>,
    /// IdleHoldTimer (§8.1.1, DampPeerOscillations)
    pub(super) idle_hold_timer: Option<Instant>,
    /// SendHoldTimer: since something was sent that is not written.
    pub(super) send_hold_timer: Option<Instant>,
}

impl Timers {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            wait: FIRST_WAIT,
            connect_retry_timer: None,
            hold_timer: None,
            keepalive_timer: None,
            idle_hold_timer: None,
            send_hold_timer: None,
        }
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        let [connect_retry, hold, keepalive] = [self.connect_retry_timer, self.hold_timer, self.keepalive_timer];
        earliest([connect_retry, hold, keepalive, self.idle_hold_timer, self.send_hold_timer])
    }

    /// One that is due; of several that which ends the session.
    pub(super) fn due(&self, now: Instant) -> Option<Due> {
        let timers = [
            (self.hold_timer, Due::Hold),
            (self.send_hold_timer, Due::SendHold),
            (self.keepalive_timer, Due::Keepalive),
            (self.connect_retry_timer, Due::ConnectRetry),
            (self.idle_hold_timer, Due::IdleHold),
        ];
        timers.into_iter().find(|(timer, _)| timer.is_some_and(|due| due <= now)).map(|(_, due)| due)
    }

    /// None runs any more.
    pub(super) fn stop(&mut self) {
        (self.connect_retry_timer, self.hold_timer, self.keepalive_timer) = (None, None, None);
        (self.idle_hold_timer, self.send_hold_timer) = (None, None);
    }

    /// §10: three quarters to the whole of it.
    fn jitter(&mut self, time: Duration) -> Duration {
        time.mul_f64(0.75 + self.rng.f64() / 4.0)
    }

    /// When to try again; later each time.
    pub(super) fn after_wait(&mut self, desired: Option<&SessionDesired>, now: Instant) -> Instant {
        let wait = desired.and_then(configured).unwrap_or(self.wait);
        self.wait_longer();
        now + self.jitter(wait)
    }

    /// The next wait is longer.
    pub(super) fn wait_longer(&mut self) {
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    /// The next wait is the first one again.
    pub(super) fn forget_waits(&mut self) {
        self.wait = FIRST_WAIT;
    }

    /// A session that was up for so long was a good one: the next wait is the first one again.
    pub(super) fn was_up_for(&mut self, time: Duration) {
        if time >= self.wait {
            self.forget_waits();
        }
    }

    /// A dial begins.
    pub(super) fn start_connect_retry(&mut self, desired: &SessionDesired, now: Instant) {
        let time = configured(desired).unwrap_or(self.wait.max(SHORTEST_CONNECT));
        self.connect_retry_timer = Some(now + self.jitter(time));
    }

    /// The peer's OPEN is waited for.
    pub(super) fn start_large_hold(&mut self, now: Instant) {
        self.hold_timer = Some(now + LARGE_HOLD_TIME);
    }

    /// Something came; without hold time nothing has to.
    pub(super) fn restart_hold(&mut self, agreed: Option<&Agreed>, now: Instant) {
        self.hold_timer = agreed.and_then(|agreed| agreed.hold_time).map(|time| now + time);
    }

    /// Something went out that shows that we live (§4.4, §10); without hold time nothing has to.
    pub(super) fn restart_keepalive(&mut self, agreed: Option<&Agreed>, now: Instant) {
        let time = agreed.filter(|agreed| agreed.hold_time.is_some()).map(|agreed| agreed.keepalive_time);
        self.keepalive_timer = time.map(|time| now + self.jitter(time).max(SHORTEST_KEEPALIVE));
    }

    /// Something was sent; earlier things that are not written count longer.
    pub(super) fn start_send_hold(&mut self, agreed: Option<&Agreed>, now: Instant) {
        let hold_time = agreed.and_then(|agreed| agreed.hold_time).unwrap_or_default();
        self.send_hold_timer = self.send_hold_timer.or(Some(now + SEND_HOLD_TIME.max(hold_time * 2)));
    }
}

fn configured(desired: &SessionDesired) -> Option<Duration> {
    desired.connect_retry_time.map(|seconds| Duration::from_secs(seconds.max(1).into()))
}
