//! The Kubernetes API (I/O): objects come in through watches as our slim facts, Leases, status patches and Events go out.
//!
//! Every request has a deadline and none is retried here: who asks knows whether the question still makes sense.

pub mod configmap;
pub mod convert;
pub mod crds;
mod dial;
pub mod events;
mod heartbeat;
pub mod kube_proxy;
pub mod lease;
mod managed;
pub mod memory;
pub mod objects;
pub mod patch;
pub mod secrets;
pub mod state;
mod store;
pub mod suspicion;
pub mod watch;
mod ways;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ways::Ways;

/// How long one request may take. The API server answers in milliseconds; what takes longer is stalled.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to the API server.
#[derive(Clone)]
pub struct Api {
    ways: Arc<Ways>,
    /// The namespace of our Leases.
    pub(crate) namespace: String,
    writes: Arc<Mutex<BTreeMap<Write, u64>>>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) events_dropped: Arc<AtomicU64>,
}

/// What the watches brought, since the start.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) updates: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// One sort of write: verb, resource, and `ok` or the [`WriteError`] in one word.
pub type Write = (&'static str, &'static str, &'static str);

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Why a write did not happen (or may not have: see [`WriteError::Timeout`]).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// The object changed since it was read.
    #[error("the object changed meanwhile")]
    Conflict,
    /// It exists already.
    #[error("the object exists already")]
    AlreadyExists,
    /// It is gone.
    #[error("the object is gone")]
    NotFound,
    /// RBAC or an admission policy says no.
    #[error("not allowed: {0}; compare the ClusterRole and Role with manifests/lanlord.yaml")]
    Forbidden(String),
    /// No answer in time; the write may have happened all the same.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or the server is in trouble.
    #[error("the API server cannot be used: {0}")]
    Unreachable(String),
    /// The API server does not accept it.
    #[error("refused: {0}")]
    Invalid(String),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&kube::Error> for WriteError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all that is not the API server's own answer means the same: it was not reached")]
    fn from(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_already_exists() => Self::AlreadyExists,
            kube::Error::Api(status) if status.is_conflict() => Self::Conflict,
            kube::Error::Api(status) if status.is_not_found() => Self::NotFound,
            kube::Error::Api(status) if status.is_forbidden() || status.code == 401 => Self::Forbidden(status.message.clone()),
            // Deleted and created again under its name: as much too late as a stale version.
            kube::Error::Api(status) if status.is_invalid() && status.message.contains("metadata.uid") => Self::Conflict,
            kube::Error::Api(status) if status.code == 429 || status.code >= 500 => Self::Unreachable(status.message.clone()),
            kube::Error::Api(status) => Self::Invalid(status.message.clone()),
            other => Self::Unreachable(chain(other)),
        }
    }
}

impl WriteError {
    /// One word, for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::AlreadyExists => "already_exists",
            Self::NotFound => "not_found",
            Self::Forbidden(_) => "forbidden",
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Invalid(_) => "invalid",
        }
    }

    /// The server as a whole cannot be used at the moment; the request itself may be all right.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable(_))
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut texts: Vec<String> = Vec::new();
    for text in causes {
        // Many errors print their cause themselves.
        if !texts.iter().any(|before| before.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// Bounds one request.
pub(crate) async fn bounded<T>(limit: Duration, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(WriteError::from),
        Err(_) => Err(WriteError::Timeout),
    }
}

impl Api {
    /// Finds the API server in kube's usual order: `KUBECONFIG` or `~/.kube/config`, else the pod's service account.
    ///
    /// # Errors
    /// Neither is there, or what is there cannot be read.
    pub async fn discover(namespace: &str) -> anyhow::Result<Self> {
        Ok(Self::over(Ways::discover().await?, namespace))
    }

    /// With these ways to the API server, the best one first.
    ///
    /// # Errors
    /// There is none, or one that no client can be made of.
    pub fn new(ways: Vec<kube::Config>, namespace: &str) -> anyhow::Result<Self> {
        Ok(Self::over(Ways::new(ways)?, namespace))
    }

    fn over(ways: Ways, namespace: &str) -> Self {
        Self {
            ways: Arc::new(ways),
            namespace: namespace.to_owned(),
            writes: Arc::default(),
            seen: Arc::default(),
            events_dropped: Arc::default(),
        }
    }

    /// The client of now, for requests that are each bounded by [`REQUEST_TIMEOUT`].
    pub(crate) fn client(&self) -> kube::Client {
        self.ways.client()
    }

    /// Asks for a heartbeat now: something happened that may begin or end an outage. Cheap, and never too often.
    pub fn poke(&self) {
        self.ways.poke();
    }

    /// Writes since the start, by sort.
    pub fn writes(&self) -> BTreeMap<Write, u64> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Objects that watches told of, and watches that failed, since the start.
    pub fn seen(&self) -> (u64, u64) {
        (self.seen.updates.load(Ordering::Relaxed), self.seen.failures.load(Ordering::Relaxed))
    }

    /// Events that were not written since the start.
    pub fn events_dropped(&self) -> u64 {
        self.events_dropped.load(Ordering::Relaxed)
    }

    /// A write, bounded and counted. When another route comes into use, the connection it waits on may lead nowhere.
    pub(crate) async fn write<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        let mut route = self.ways.follow();
        let answer = tokio::select! {
            biased;
            answer = bounded(REQUEST_TIMEOUT, request) => answer,
            Ok(()) = route.changed() => Err(WriteError::Timeout),
        };
        self.counted(verb, resource, answer)
    }

    /// Counts a write, and asks for a heartbeat if it got no answer.
    fn counted<T>(&self, verb: &'static str, resource: &'static str, answer: Result<T, WriteError>) -> Result<T, WriteError> {
        if answer.as_ref().is_err_and(WriteError::is_outage) {
            self.poke();
        }
        let outcome = answer.as_ref().map_or_else(WriteError::word, |_| "ok");
        *self.writes.lock().unwrap_or_else(PoisonError::into_inner).entry((verb, resource, outcome)).or_default() += 1;
        answer
    }
}
