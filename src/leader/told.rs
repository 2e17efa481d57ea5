//! What was told, so that what lasts is told once: again only when it comes back, or after an hour, for Events vanish then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::machine::Instant;

/// What lasts is told again, but no more often than this.
pub const AGAIN: Duration = Duration::from_secs(3600);

/// What was told, and when.
#[derive(Debug)]
pub struct Told<K> {
    told: BTreeMap<K, Instant>,
}

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self { told: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Told<K> {
    /// Those of `so` to be told now. What is so on and off is told no more often than what stays so.
    pub fn due(&mut self, so: &BTreeSet<K>, now: Instant) -> Vec<K> {
        self.told.retain(|_, at| now.since(*at) < AGAIN);
        let due: Vec<K> = so.iter().filter(|key| !self.told.contains_key(*key)).cloned().collect();
        self.told.extend(due.iter().map(|key| (key.clone(), now)));
        due
    }

    /// What is not among `so` is over: when it comes back it is told at once.
    pub fn forget_all_but(&mut self, so: &BTreeSet<K>) {
        self.told.retain(|key, _| so.contains(key));
    }

    /// When something that still is so is to be told again.
    pub fn next(&self, so: &BTreeSet<K>) -> Option<Instant> {
        self.told.iter().filter(|(key, _)| so.contains(*key)).map(|(_, at)| *at + AGAIN).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_an_hour_while_it_lasts() {
        let (mut told, start) = (Told::default(), Instant::default());
        let so: BTreeSet<&str> = ["pi2", "pi3"].into();
        assert_eq!(told.due(&so, start), ["pi2", "pi3"]);
        assert!(told.due(&so, start + AGAIN / 2).is_empty());
        assert_eq!(told.next(&so), Some(start + AGAIN));
        assert_eq!(told.due(&so, start + AGAIN), ["pi2", "pi3"]);
    }

    #[test]
    fn one_that_flaps_is_not_told_each_time_and_another_one_is_told_at_once() {
        let (mut told, start) = (Told::default(), Instant::default());
        told.due(&["pi2"].into(), start);
        assert_eq!(told.next(&BTreeSet::new()), None);
        told.due(&BTreeSet::new(), start + AGAIN / 4);
        assert_eq!(told.due(&["pi2", "pi3"].into(), start + AGAIN / 2), ["pi3"]);
    }

    #[test]
    fn what_was_over_for_good_is_told_when_it_comes_back() {
        let (mut told, start) = (Told::default(), Instant::default());
        told.due(&["a", "b"].into(), start);
        told.forget_all_but(&["b"].into());
        assert_eq!(told.due(&["a", "b"].into(), start + AGAIN / 2), ["a"]);
    }
}
