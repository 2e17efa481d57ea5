//! Waiting longer each time something has to be done again for the same thing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::machine::Instant;

/// Longest wait: 5 minutes.
const LONGEST: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    length: Duration,
}

/// Waits by key: doubled each time, up to 5 minutes; forgotten after a quiet time as long as the last wait.
#[derive(Debug)]
pub struct Backoff<K> {
    first: Duration,
    waits: BTreeMap<K, Wait>,
}

impl<K: Ord + Clone> Backoff<K> {
    /// `first` is the first wait.
    pub fn new(first: Duration) -> Self {
        Self { first, waits: BTreeMap::new() }
    }

    /// Whether `key` need not wait.
    pub fn is_ready(&self, key: &K, now: Instant) -> bool {
        self.waits.get(key).is_none_or(|wait| wait.until <= now)
    }

    /// Notes that `key` was attempted now. Returns whether this was the first time in a row.
    pub fn attempted(&mut self, key: &K, now: Instant) -> bool {
        self.waits.retain(|_, wait| now < wait.until + wait.length);
        let before = self.waits.get(key).map(|wait| wait.length);
        let length = before.map_or(self.first, |before| (before * 2).min(LONGEST));
        self.waits.insert(key.clone(), Wait { until: now + length, length });
        before.is_none()
    }

    /// Forgets `key`: all is well.
    pub fn clear(&mut self, key: &K) {
        self.waits.remove(key);
    }

    /// When the next wait ends.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.waits.values().map(|wait| wait.until).filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn waits_double_up_to_five_minutes_and_are_forgotten_after_quiet() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        assert!(backoff.attempted(&"a", at(0)));
        assert!(!backoff.is_ready(&"a", at(0)) && backoff.is_ready(&"a", at(1)) && backoff.is_ready(&"b", at(0)));
        assert!(!backoff.attempted(&"a", at(1)));
        assert_eq!(backoff.next(at(1)), Some(at(3)));
        let mut now = at(3);
        for _ in 0..12 {
            assert!(!backoff.attempted(&"a", now));
            let next = backoff.next(now).unwrap();
            assert!(next.since(now) <= LONGEST);
            now = next;
        }
        assert!(!backoff.attempted(&"a", now));
        assert_eq!(backoff.next(now), Some(now + LONGEST));
        assert!(backoff.attempted(&"a", now + LONGEST * 2), "quiet for as long as the last wait: the first in a row again");
    }
}
