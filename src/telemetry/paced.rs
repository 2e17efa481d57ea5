//! A text that is computed for who asks, and again only when nine times as long has passed as that took: however many ask how often,
//! the agent's other work keeps nine tenths of its core.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use tokio::time::Instant;

/// Parts of the time that are not spent on computing, for each that is.
const REST: u32 = 9;

/// The text. Cheap to clone.
#[derive(Clone)]
pub struct Paced(Arc<Inner>);

struct Inner {
    compute: Box<dyn Fn() -> String + Send + Sync>,
    /// The last text, and until when it is the answer.
    last: Mutex<Option<(Bytes, Instant)>>,
}

impl Paced {
    /// What `compute` says. It must not wait.
    pub fn new(compute: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { compute: Box::new(compute), last: Mutex::new(None) }))
    }

    /// The text of this moment, or of one shortly before.
    pub(super) fn text(&self) -> Bytes {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        if let Some((text, _)) = last.as_ref().filter(|(_, until)| begun < *until) {
            return text.clone();
        }
        let text = Bytes::from((self.0.compute)());
        let ended = Instant::now();
        *last = Some((text.clone(), ended + (ended - begun) * REST));
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_takes_long_is_not_computed_for_each_who_asks() {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let paced = Paced::new(move || {
            sleep(Duration::from_millis(20));
            counted.fetch_add(1, Ordering::Relaxed).to_string()
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            paced.text();
        }
        // Each takes at least 20 ms, and then 180 ms of rest.
        let most = begun.elapsed().as_millis() / 200 + 1;
        assert!(u128::from(count.load(Ordering::Relaxed)) <= most, "{count:?} in {:?}", begun.elapsed());
    }
}
