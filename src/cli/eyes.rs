//! The eyes of a command: the watches of an agent, and the configuration, for as long as one question takes.

use std::sync::Arc;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::state::ApiState;
use crate::api::{self, Api};
use crate::config::objects::gather;
use crate::config::origin::{Origin, Origins};
use crate::config::task::path::read_path;
use crate::config::texts::Texts;
use crate::config::{Config, Problems};
use crate::facts::{ConfigMapSeen, Objects, ObjectsSeen, Snapshot};

/// What was found of the agents' configuration.
pub(super) struct Found {
    /// Its ConfigMap, file or directory is there, whatever stands in it.
    pub(super) exists: bool,
    /// What it says; `None`: there is none.
    pub(super) config: anyhow::Result<Option<Config>>,
}

/// The watches of an agent, for as long as one question takes.
pub(super) struct Eyes {
    /// For writes.
    pub(super) api: Api,
    snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    state: watch::Sender<ApiState>,
    shutdown: CancellationToken,
}

impl Eyes {
    /// Begins to look.
    pub(super) async fn open(namespace: &str) -> anyhow::Result<Self> {
        let api = Api::discover(namespace).await?;
        let (snapshots, snapshot) = watch::channel(None);
        let (state, shutdown) = (watch::Sender::default(), CancellationToken::new());
        // Nothing is fed back: what was written comes through the watch.
        let (_, answers) = mpsc::channel(1);
        let outputs = api::watch::Outputs { snapshot: snapshots, state: state.clone() };
        tokio::spawn(api::watch::run(api.clone(), None, answers, outputs, shutdown.clone()));
        Ok(Self { api, snapshot, state, shutdown })
    }

    pub(super) fn close(&self) {
        self.shutdown.cancel();
    }

    /// What the API server says now.
    pub(super) async fn snapshot(&self) -> anyhow::Result<Arc<Snapshot>> {
        self.first(self.snapshot.clone(), Option::clone).await
    }

    /// Whether it came to hold in time.
    pub(super) async fn until(&self, deadline: Instant, holds: impl Fn(&Snapshot) -> bool) -> anyhow::Result<bool> {
        let mut snapshot = self.snapshot.clone();
        let held = snapshot.wait_for(|snapshot| snapshot.as_ref().is_some_and(|snapshot| holds(snapshot)));
        match tokio::time::timeout_at(deadline, held).await {
            Ok(held) => held.map(|_| true).context("the watches ended"),
            Err(_) => Ok(false),
        }
    }

    /// The first value that `get` takes, or what is wrong with the way to the API.
    async fn first<T: Clone, V>(&self, mut from: watch::Receiver<T>, get: impl Fn(&T) -> Option<V>) -> anyhow::Result<V> {
        let wait = from.wait_for(|value| get(value).is_some());
        let value = tokio::time::timeout(api::REQUEST_TIMEOUT, wait).await;
        let value = value.map_err(|_| self.trouble())?.context("the watches ended")?;
        get(&value).context("it was awaited")
    }

    fn trouble(&self) -> anyhow::Error {
        let failing: Vec<String> = self.state.borrow().failing.iter().map(|(what, why)| format!("{what}: {why}")).collect();
        let failing = if failing.is_empty() { String::new() } else { format!(" ({})", failing.join("; ")) };
        anyhow::anyhow!("the API server gave no complete answer within {} s{failing}", api::REQUEST_TIMEOUT.as_secs())
    }

    /// The agents' configuration, which has to be there.
    pub(super) async fn config(&self, origins: &Origins) -> anyhow::Result<Config> {
        let config = self.look_for_config(origins).await?.config?;
        config.with_context(|| format!("{origins} does not exist; say where the configuration is with --config"))
    }

    /// The agents' configuration, as far as there is one.
    pub(super) async fn look_for_config(&self, origins: &Origins) -> anyhow::Result<Found> {
        let wrong = |problems: Problems| anyhow::anyhow!("the configuration {origins} is wrong; correct it first: {problems}");
        let texts = match &origins.text {
            Some(Origin::Path(path)) => read_path(path).map_err(|problem| anyhow::anyhow!("{problem}"))?,
            Some(Origin::ConfigMap { namespace, name }) => self.config_map(namespace, name).await?.unwrap_or(Texts::Absent),
            Some(Origin::Crds(_)) | None => Texts::Absent,
        };
        let exists = texts != Texts::Absent;
        if !exists && origins.namespaces.is_empty() {
            return Ok(Found { exists, config: Ok(None) });
        }
        let objects = if origins.namespaces.is_empty() { Arc::default() } else { self.objects(&origins.namespaces).await? };
        let config = gather(&texts, &objects, &Objects::new()).map(|gathered| Some(gathered.accepted.config)).map_err(wrong);
        Ok(Found { exists, config })
    }

    async fn config_map(&self, namespace: &str, name: &str) -> anyhow::Result<Option<Texts>> {
        let (seen, watched) = watch::channel(ConfigMapSeen::default());
        let (api, of, named, state, until) =
            (self.api.clone(), namespace.to_owned(), name.to_owned(), self.state.clone(), self.shutdown.clone());
        tokio::spawn(api::configmap::run(api, None, of, named, seen, state, until));
        let text = self.first(watched, |seen| match seen {
            ConfigMapSeen::Present(text) => Some(Some(text.clone())),
            ConfigMapSeen::Absent => Some(None),
            ConfigMapSeen::NotYet => None,
        });
        Ok(text.await?.map(|text| Texts::Keys(format!("ConfigMap {namespace}/{name}"), text.data)))
    }

    async fn objects(&self, namespaces: &[String]) -> anyhow::Result<Arc<Objects>> {
        let (seen, watched) = watch::channel(ObjectsSeen::default());
        let (api, of, state, until) = (self.api.clone(), namespaces.to_vec(), self.state.clone(), self.shutdown.clone());
        tokio::spawn(api::crds::run(api, None, of, seen, state, until));
        let objects = self.first(watched, |seen| match seen {
            ObjectsSeen::Present(objects) => Some(objects.clone()),
            ObjectsSeen::NotYet => None,
        });
        objects.await
    }
}
