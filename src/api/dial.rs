//! One watch that never ends: kube's `watcher` (list, then watch, then list again when the server forgot our place), with back-off,
//! one log line per change of its state, and a new connection where the old one may be dead without our knowing.
//!
//! # Why not `default_backoff`
//! kube's stream says `Init` before each attempt to list, and its back-off takes that for success: a list that is forbidden would
//! be tried at full speed for ever.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Config, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use super::WriteError;
use super::watch::ApiState;

/// The first and the longest pause between attempts: an API server restarts in seconds, and all agents come back at once.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Watches `resource` for ever. Failures go to `state` and the log.
pub(super) fn dial<K>(
    resource: &'static str,
    api: kube::Api<K>,
    config: Config,
    state: &watch::Sender<ApiState>,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Clone + Send + Sync,
{
    let dial = Box::new(move || watcher(api.clone(), config.clone()).boxed());
    let mut contact = state.subscribe();
    let lost = contact.borrow_and_update().contact.is_unreachable();
    let line = Line { resource, stream: dial(), dial, state: state.clone(), contact, lost, heard: false, trouble: None, pause: PAUSE.0 };
    futures::stream::unfold(line, |mut line| async {
        let event = line.next().await;
        Some((event, line))
    })
}

type Attempts<K> = BoxStream<'static, watcher::Result<Event<K>>>;

struct Line<K> {
    resource: &'static str,
    stream: Attempts<K>,
    dial: Box<dyn Fn() -> Attempts<K> + Send>,
    state: watch::Sender<ApiState>,
    contact: watch::Receiver<ApiState>,
    /// The server is unreachable.
    lost: bool,
    /// Something came, be it an error, since it was lost.
    heard: bool,
    /// The failure that was told.
    trouble: Option<WriteError>,
    pause: Duration,
}

impl<K> Line<K> {
    async fn next(&mut self) -> Event<K> {
        loop {
            tokio::select! {
                item = self.stream.next() => match item {
                    Some(Ok(event)) => {
                        self.heard = true;
                        if !matches!(event, Event::Init) {
                            self.recovered();
                        }
                        return event;
                    }
                    Some(Err(error)) => {
                        self.heard = true;
                        self.failed(&error);
                        self.pause().await;
                    }
                    None => self.stream = (self.dial)(),
                },
                Ok(()) = self.contact.changed() => { self.follow(); },
            }
        }
    }

    /// A stream that was silent through an outage may hang in a connection whose other end is gone. True at the outage's end.
    fn follow(&mut self) -> bool {
        let lost = self.contact.borrow_and_update().contact.is_unreachable();
        let (begins, ends) = (lost && !self.lost, !lost && self.lost);
        self.lost = lost;
        if ends && !self.heard {
            self.stream = (self.dial)();
        }
        self.heard &= !begins;
        ends
    }

    async fn pause(&mut self) {
        let pause = tokio::time::sleep(self.pause.mul_f32(0.5 + fastrand::f32()));
        tokio::pin!(pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
        loop {
            tokio::select! {
                () = &mut pause => return,
                Ok(()) = self.contact.changed() => if self.follow() {
                    self.pause = PAUSE.0;
                    // All agents see the end of an outage at once.
                    pause.as_mut().reset(Instant::now() + PAUSE.0.mul_f32(fastrand::f32()));
                },
            }
        }
    }

    fn recovered(&mut self) {
        self.pause = PAUSE.0;
        if let Some(trouble) = self.trouble.take() {
            if !trouble.is_outage() {
                tracing::info!(resource = self.resource, "watching again");
            }
            self.state.send_modify(|state| drop(state.failing.remove(self.resource)));
        }
    }

    fn failed(&mut self, error: &watcher::Error) {
        let Some(error) = meaning(error) else { return };
        if self.trouble.as_ref().is_some_and(|told| told.word() == error.word()) {
            return;
        }
        let text = self.explain(&error);
        if error.is_outage() {
            // Told once by the heartbeat, for all watches.
            tracing::debug!(resource = self.resource, error = text, "watch interrupted");
        } else {
            tracing::warn!(resource = self.resource, error = text, "cannot watch");
        }
        self.state.send_modify(|state| drop(state.failing.insert(self.resource, text)));
        self.trouble = Some(error);
    }

    fn explain(&self, error: &WriteError) -> String {
        let (role, group) = match self.resource {
            "leases" => ("Role", "coordination.k8s.io"),
            "configmaps" => ("Role", "\"\""),
            "endpointslices" => ("ClusterRole", "discovery.k8s.io"),
            _ => ("ClusterRole", "\"\""),
        };
        let resource = self.resource;
        if let WriteError::Forbidden(words) = error {
            format!(
                "{words}; our {role} needs a rule with apiGroups [{group}], resources [{resource}], verbs [get, list, watch]: apply the \
                 manifest of this version"
            )
        } else {
            error.to_string()
        }
    }
}

/// `None`: in order (the server forgot our place, a new list follows).
fn meaning(error: &watcher::Error) -> Option<WriteError> {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            Some(WriteError::from(error)).filter(|_| !is_gone(error))
        }
        watcher::Error::WatchError(status) if status.code == 410 => None,
        watcher::Error::WatchError(status) => Some(WriteError::from(&kube::Error::Api(status.clone()))),
        watcher::Error::NoResourceVersion => Some(WriteError::Invalid("an object without resourceVersion".to_owned())),
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}
