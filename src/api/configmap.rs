//! Watches the one ConfigMap that holds the configuration.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Api, chain};
use crate::facts::{ConfigMapSeen, ConfigMapText, Uid};

/// Follows ConfigMap `namespace/name` until `shutdown`.
///
/// # Errors
/// Only if the watch ends, which it does not.
pub async fn run(
    api: Api,
    namespace: String,
    name: String,
    seen: watch::Sender<ConfigMapSeen>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let configmaps = kube::Api::<ConfigMap>::namespaced(api.client.clone(), &namespace);
    let stream = watcher(configmaps, watcher::Config::default().fields(&format!("metadata.name={name}"))).default_backoff();
    let mut stream = std::pin::pin!(stream.into_stream());
    let mut found = false;
    let mut failing = false;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = stream.next() => event.ok_or_else(|| anyhow::anyhow!("the watch of ConfigMap {namespace}/{name} ended"))?,
        };
        match event {
            Ok(watcher::Event::Apply(map) | watcher::Event::InitApply(map)) => {
                found = true;
                let text = ConfigMapText { uid: Uid(map.metadata.uid.unwrap_or_default().into()), data: map.data.unwrap_or_default() };
                set(&seen, ConfigMapSeen::Present(text));
            }
            Ok(watcher::Event::Delete(_)) => set(&seen, ConfigMapSeen::Absent),
            Ok(watcher::Event::Init) => found = false,
            Ok(watcher::Event::InitDone) => {
                failing = false;
                if !found {
                    set(&seen, ConfigMapSeen::Absent);
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(configmap = %format!("{namespace}/{name}"), error = chain(&error), "the configuration cannot be watched; the last one stays in force");
                }
                failing = true;
            }
        }
    }
}

fn set(sender: &watch::Sender<ConfigMapSeen>, value: ConfigMapSeen) {
    sender.send_if_modified(|current| {
        let changed = *current != value;
        *current = value;
        changed
    });
}
