//! Edits of the configuration that are to be told as Events: the last ones, and how many there ever were. One text is edited now and
//! then; custom resources are applied by the dozen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::facts::{EventKind, Subject};
use crate::machine::Instant;

/// An edit older than this was told by whoever led then.
const FRESH: Duration = Duration::from_secs(30);
/// More are not told: nobody reads so many Events.
const MOST: usize = 200;

/// An edit of the configuration, accepted or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// What was edited.
    pub subject: Subject,
    /// It was removed.
    pub gone: bool,
    /// Normal if accepted.
    pub kind: EventKind,
    /// What to tell; for an accepted edit what is left out is added.
    pub message: String,
    /// When this agent saw it.
    pub at: Instant,
}

/// The last edits, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edits {
    last: VecDeque<Arc<Edit>>,
    count: u64,
    text: Option<Subject>,
}

impl Edits {
    /// One more.
    pub fn push(&mut self, edit: Edit) {
        if matches!(edit.subject, Subject::ConfigMap(..)) {
            self.text = (!edit.gone).then(|| edit.subject.clone());
        }
        self.last.push_back(Arc::new(edit));
        if self.last.len() > MOST {
            self.last.pop_front();
        }
        self.count += 1;
    }

    /// How many there ever were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The ConfigMap, if there is one.
    pub fn text(&self) -> Option<&Subject> {
        self.text.as_ref()
    }

    /// Those after the first `told` that are not too old to be told at `now`.
    pub fn since(&self, told: u64, now: Instant) -> impl Iterator<Item = &Arc<Edit>> {
        let new = usize::try_from(self.count.saturating_sub(told)).unwrap_or(usize::MAX);
        let known = self.last.len().saturating_sub(new);
        self.last.iter().skip(known).filter(move |edit| now.since(edit.at) <= FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Uid;

    #[test]
    fn a_configmap_that_was_removed_is_none_to_tell_anything_on() {
        let mut edits = Edits::default();
        for (gone, there) in [(false, true), (true, false), (false, true)] {
            let subject = Subject::ConfigMap("lanlord".to_owned(), "lanlord".to_owned(), Uid::default());
            edits.push(Edit { subject, gone, kind: EventKind::Normal, message: String::new(), at: Instant::default() });
            assert_eq!(edits.text().is_some(), there);
        }
        assert_eq!(edits.count(), 3, "that it was is told all the same");
    }
}
