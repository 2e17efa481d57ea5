//! The one shape of every protocol: no I/O, no clock, no log, no metric.
//!
//! A machine is fed events and time and answers with actions. Its owner (a `task.rs`) carries the actions out. Decisions without
//! time in them are functions, not machines.
//!
//! The laws, checked for every machine by `tests/it/laws.rs`:
//! 1. after `handle_timeout(now)` the next deadline is later than `now`;
//! 2. an early or repeated timeout does nothing;
//! 3. same seed and script, same actions;
//! 4. no event in any state panics;
//! 5. (protocols) the same `Desired` twice: nothing the second time;
//! 6. (protocols) an empty `Desired` leads to silence after finitely many actions.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds since an origin that only `net::clock` knows. Tests make their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The earliest of several deadlines. `Option::min` would let one idle timer (`None`, the smallest) hide all others.
pub fn earliest(deadlines: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}

/// A protocol without I/O and without a clock.
pub trait Machine {
    /// Everything wanted of the machine, whole.
    type Desired;
    /// What the world tells it.
    type Event;
    /// What its owner has to do.
    type Action;

    /// Replaces the whole desired set.
    fn set(&mut self, desired: Arc<Self::Desired>, now: Instant, out: &mut Vec<Self::Action>);

    /// Feeds one event. What must be done now is pushed to `out`, in order.
    fn handle(&mut self, event: Self::Event, now: Instant, out: &mut Vec<Self::Action>);

    /// Fires everything due at `now`. Calling it early or twice is harmless.
    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Self::Action>);

    /// When to call `handle_timeout` next; `None` while nothing is due ever.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What a machine's owner has to say to it.
#[derive(Debug)]
pub enum Input<D, E> {
    /// A new desired set.
    Set(Arc<D>),
    /// Something happened.
    Event(E),
}

/// The generic driver: owns a machine and one buffer of actions, and keeps the order that `task.rs` files rely on: **input is
/// drained before timers fire**, so that a stalled process hears what waited for it before it acts on silence.
#[derive(Debug)]
pub struct Driver<M: Machine> {
    machine: M,
    out: Vec<M::Action>,
}

impl<M: Machine> Driver<M> {
    /// Takes the machine over.
    pub fn new(machine: M) -> Self {
        Self { machine, out: Vec::new() }
    }

    /// The machine, to read its status.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Feeds all `inputs`, then fires what is due at `now`. Returns the actions to carry out, in order.
    pub fn step(&mut self, inputs: impl IntoIterator<Item = Input<M::Desired, M::Event>>, now: Instant) -> std::vec::Drain<'_, M::Action> {
        for input in inputs {
            self.take(input, now);
        }
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now, &mut self.out);
        }
        self.out.drain(..)
    }

    /// Feeds one input and fires nothing: for owners who have to look at the machine, or act, between the inputs of one wake-up. `step`
    /// without inputs comes after the last one.
    pub fn feed(&mut self, input: Input<M::Desired, M::Event>, now: Instant) -> std::vec::Drain<'_, M::Action> {
        self.take(input, now);
        self.out.drain(..)
    }

    fn take(&mut self, input: Input<M::Desired, M::Event>, now: Instant) {
        match input {
            Input::Set(desired) => self.machine.set(desired, now, &mut self.out),
            Input::Event(event) => self.machine.handle(event, now, &mut self.out),
        }
    }

    /// When to call `step` even without input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_timer_does_not_hide_another() {
        let soon = Instant::from_nanos(1);
        assert_eq!(earliest([None, Some(soon), Some(soon + Duration::from_secs(1))]), Some(soon));
        assert_eq!(earliest([None, None]), None);
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        assert_eq!(Instant::from_nanos(5) - Duration::from_secs(1), Instant::from_nanos(0));
        assert_eq!(Instant::from_nanos(5).since(Instant::from_nanos(9)), Duration::ZERO);
    }
}
