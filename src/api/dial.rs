//! One watch that never ends: kube's `watcher` (list, then watch, then list again when the server forgot our place), with back-off,
//! one log line per change of its state, and a new connection when the heartbeat finds that the old ones may lead nowhere.
//!
//! # Why not `default_backoff`
//! kube's stream says `Init` before each attempt to list, and its back-off takes that for success: a list that is forbidden would
//! be tried at full speed for ever.

use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Config, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::state::ApiState;
use super::ways::Route;
use super::{Api, WriteError};

/// The first and the longest pause between attempts: an API server restarts in seconds, and all agents come back at once.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What a watch of a resource that may not exist says.
pub(super) enum Seen<K> {
    /// Something about its objects.
    Event(Event<K>),
    /// The API server does not serve it (404): there are no objects. It is asked again and again.
    NotServed,
}

/// The longest pause before a resource is asked for that does not exist.
const PAUSE_MISSING: Duration = Duration::from_secs(2);
/// An API server that starts may not know its resources for a moment: it has to say so twice.
const MISSING: u32 = 2;

type Attempts<K> = BoxStream<'static, watcher::Result<Event<K>>>;
type Dial<K> = Box<dyn Fn(kube::Client) -> Attempts<K> + Send>;

/// A watch that goes on through everything that may befall the API server.
pub(super) struct Watch<K> {
    resource: &'static str,
    stream: Attempts<K>,
    dial: Dial<K>,
    api: Api,
    route: watch::Receiver<Route>,
    state: watch::Sender<ApiState>,
    /// The failure that was told.
    trouble: Option<WriteError>,
    pause: Duration,
    /// It may not exist.
    optional: bool,
    /// So often in a row it did not.
    missing: u32,
}

/// Watches `resource`, as `select` takes it from a client, for ever. Failures go to `state` and the log.
pub(super) fn dial<K, F>(resource: &'static str, api: &Api, select: F, config: Config, state: &watch::Sender<ApiState>) -> Watch<K>
where
    F: Fn(kube::Client) -> kube::Api<K> + Send + 'static,
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Clone + Send + Sync,
{
    let mut route = api.ways.follow();
    let dial: Dial<K> = Box::new(move |client| watcher(select(client), config.clone()).boxed());
    let stream = dial(route.borrow_and_update().client.clone());
    Watch {
        resource,
        stream,
        dial,
        api: api.clone(),
        route,
        state: state.clone(),
        trouble: None,
        pause: PAUSE.0,
        optional: false,
        missing: 0,
    }
}

impl<K: Send + 'static> Watch<K> {
    /// What it says.
    pub(super) fn events(self) -> impl Stream<Item = Event<K>> + Send {
        futures::stream::unfold(self, |mut watch| async {
            loop {
                if let Seen::Event(event) = watch.next().await {
                    return Some((event, watch));
                }
            }
        })
    }

    /// The same for a resource that comes and goes.
    pub(super) fn optional(self) -> impl Stream<Item = Seen<K>> + Send {
        futures::stream::unfold(Self { optional: true, ..self }, |mut watch| async {
            let seen = watch.next().await;
            Some((seen, watch))
        })
    }

    async fn next(&mut self) -> Seen<K> {
        if self.missing >= MISSING {
            self.pause = self.pause.min(PAUSE_MISSING);
            self.pause().await;
        }
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.route.changed() => self.redial().await,
                item = self.stream.next() => match item {
                    Some(Ok(event)) => {
                        if !matches!(event, Event::Init) {
                            self.missing = 0;
                            self.recovered();
                        }
                        if matches!(event, Event::Apply(_) | Event::InitApply(_) | Event::Delete(_)) {
                            self.api.seen.updates.fetch_add(1, Ordering::Relaxed);
                        }
                        return Seen::Event(event);
                    }
                    Some(Err(error)) if self.optional && is_missing(&error) => {
                        self.missing = self.missing.saturating_add(1);
                        self.recovered_from_outage();
                        if self.missing >= MISSING {
                            // What it said before is of objects that are gone, so the next one begins with a list.
                            let client = self.route.borrow_and_update().client.clone();
                            self.stream = (self.dial)(client);
                            return Seen::NotServed;
                        }
                        self.pause().await;
                    }
                    Some(Err(error)) => {
                        self.failed(&error);
                        self.pause().await;
                    }
                    None => self.redial().await,
                },
            }
        }
    }

    /// Begins anew over the route of now: the connections of before may lead nowhere.
    async fn redial(&mut self) {
        let client = self.route.borrow_and_update().client.clone();
        self.pause = PAUSE.0;
        self.stream = (self.dial)(client);
        // All agents see the end of an outage at once.
        tokio::time::sleep(PAUSE.0.mul_f32(fastrand::f32())).await;
    }

    async fn pause(&mut self) {
        let pause = self.pause.mul_f32(0.5 + fastrand::f32());
        self.pause = (self.pause * 2).min(PAUSE.1);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Ok(()) = self.route.changed() => self.redial().await,
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

    /// It answered, if only that it does not know the resource.
    fn recovered_from_outage(&mut self) {
        let pause = self.pause;
        self.recovered();
        self.pause = pause;
    }

    fn failed(&mut self, error: &watcher::Error) {
        let Some(error) = meaning(error) else { return };
        self.api.seen.failures.fetch_add(1, Ordering::Relaxed);
        if self.trouble.as_ref().is_some_and(|told| told.word() == error.word()) {
            return;
        }
        let text = self.explain(&error);
        if error.is_outage() {
            // Told once by the heartbeat, for all watches.
            self.api.poke();
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
            _ if self.optional => ("ClusterRole", "metallb.io"),
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

/// By its code: where a whole group is missing the answer is a plain text without a reason.
fn is_missing(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            status.code == 404
        }
        watcher::Error::WatchError(status) => status.code == 404,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}
