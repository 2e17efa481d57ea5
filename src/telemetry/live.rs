//! Server-sent events: the status again whenever it has changed, for those who keep watching.
//!
//! Nothing is computed while nobody watches, and however many do, the status is computed at most twice a second for all of them
//! together. Watchers are few; each gets the whole state, so one that was away has missed nothing.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{Stream, unfold};
use hyper::body::{Bytes, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// Watchers at once.
pub const WATCHERS: usize = 8;

/// Between two computations.
const PACE: Duration = Duration::from_millis(500);

/// Figures alone (packets counted, timers) are news no sooner than this.
const FIGURES: Duration = Duration::from_secs(30);

/// A sign of life where there is no news, so that both ends notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A status.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The text of a JSON object, on one line.
    pub text: String,
    /// The same as long as only figures differ.
    pub digest: u64,
}

/// What is watched. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    compute: Box<dyn Fn() -> State + Send + Sync>,
    last: Mutex<Option<News>>,
    seats: Arc<Semaphore>,
}

/// The state as it was sent last.
#[derive(Clone)]
struct News {
    number: u64,
    event: Bytes,
    digest: u64,
    computed: Instant,
    sent: Instant,
}

impl Live {
    /// Of what `compute` says.
    pub fn new(compute: impl Fn() -> State + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { compute: Box::new(compute), last: Mutex::new(None), seats: Arc::new(Semaphore::new(WATCHERS)) }))
    }

    /// The events for one more watcher, if there is a seat; it is free again when the stream is dropped. `pulse` is told of each.
    pub(super) fn watch(&self, pulse: watch::Sender<()>) -> Option<impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + use<>> {
        let seat = self.0.seats.clone().try_acquire_owned().ok()?;
        let watcher = Watcher { live: self.clone(), pulse, seen: 0, spoken: Instant::now(), _seat: seat };
        Some(unfold(watcher, |mut watcher| async move {
            let event = watcher.next().await;
            watcher.spoken = Instant::now();
            watcher.pulse.send_replace(());
            Some((Ok(Frame::data(event)), watcher))
        }))
    }

    /// What is so, computed anew if that was long enough ago.
    fn news(&self) -> News {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(news) = last.as_ref().filter(|news| now < news.computed + PACE) {
            return news.clone();
        }
        let state = (self.0.compute)();
        let news = match last.take() {
            Some(news) if news.digest == state.digest && now < news.sent + FIGURES => News { computed: now, ..news },
            before => {
                let number = before.map_or(1, |news| news.number + 1);
                News { number, event: event(number, &state.text), digest: state.digest, computed: now, sent: now }
            }
        };
        *last = Some(news.clone());
        news
    }
}

fn event(number: u64, text: &str) -> Bytes {
    Bytes::from(format!("id: {number}\nretry: 1000\nevent: state\ndata: {text}\n\n"))
}

struct Watcher {
    live: Live,
    pulse: watch::Sender<()>,
    /// Number of the last event.
    seen: u64,
    spoken: Instant,
    _seat: OwnedSemaphorePermit,
}

impl Watcher {
    async fn next(&mut self) -> Bytes {
        loop {
            let news = self.live.news();
            if news.number != self.seen {
                self.seen = news.number;
                return news.event;
            }
            if self.spoken.elapsed() >= HEARTBEAT {
                return Bytes::from_static(b": nothing new\n\n");
            }
            tokio::time::sleep_until(news.computed + PACE).await;
        }
    }
}
