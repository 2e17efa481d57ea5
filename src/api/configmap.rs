//! Watches the one ConfigMap that holds the configuration.

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{Config, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::dial::dial;
use super::watch::ApiState;
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
    state: watch::Sender<ApiState>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (config, of) = (Config::default().fields(&format!("metadata.name={name}")), namespace.clone());
    let configmaps = move |client| kube::Api::<ConfigMap>::namespaced(client, &of);
    let mut stream = std::pin::pin!(dial("configmaps", &api, configmaps, config, &state));
    let mut found = false;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = stream.next() => event.ok_or_else(|| anyhow::anyhow!("the watch of ConfigMap {namespace}/{name} ended"))?,
        };
        match event {
            Event::Apply(map) | Event::InitApply(map) => {
                found = true;
                let text = ConfigMapText { uid: Uid(map.metadata.uid.unwrap_or_default().into()), data: map.data.unwrap_or_default() };
                set(&seen, ConfigMapSeen::Present(text));
            }
            Event::Delete(_) => set(&seen, ConfigMapSeen::Absent),
            Event::Init => found = false,
            Event::InitDone if !found => set(&seen, ConfigMapSeen::Absent),
            Event::InitDone => {}
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
