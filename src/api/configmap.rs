//! Watches the one ConfigMap that holds the configuration, and remembers it for a start without the API server.

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{Config, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::dial::dial;
use super::memory::{Memory, recall};
use super::state::ApiState;
use crate::facts::{ConfigMapSeen, ConfigMapText, Uid};

/// Follows ConfigMap `namespace/name` until `shutdown`. `memory` stands in for an API server that cannot be reached at the start.
///
/// # Errors
/// Only if the watch ends, which it does not.
pub async fn run(
    api: Api,
    memory: Option<Memory>,
    namespace: String,
    name: String,
    seen: watch::Sender<ConfigMapSeen>,
    state: watch::Sender<ApiState>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (config, of) = (Config::default().fields(&format!("metadata.name={name}")), namespace.clone());
    let configmaps = move |client| kube::Api::<ConfigMap>::namespaced(client, &of);
    let mut stream = std::pin::pin!(dial("configmaps", &api, configmaps, config, &state).events());
    let file = format!("configmap.{namespace}.{name}.json");
    let mut remembered = std::pin::pin!(recall(memory.as_ref(), &file, state.subscribe()).fuse());
    let mut found = false;
    loop {
        let unknown = *seen.borrow() == ConfigMapSeen::NotYet;
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            text = &mut remembered, if unknown => {
                set(&seen, None, ConfigMapSeen::Present(text));
                continue;
            }
            event = stream.next() => event.ok_or_else(|| anyhow::anyhow!("the watch of ConfigMap {namespace}/{name} ended"))?,
        };
        let to = memory.as_ref().map(|memory| (memory, &*file));
        match event {
            Event::Apply(map) | Event::InitApply(map) => {
                found = true;
                let text = ConfigMapText { uid: Uid(map.metadata.uid.unwrap_or_default().into()), data: map.data.unwrap_or_default() };
                set(&seen, to, ConfigMapSeen::Present(text));
            }
            Event::Delete(_) => set(&seen, to, ConfigMapSeen::Absent),
            Event::Init => found = false,
            Event::InitDone if !found => set(&seen, to, ConfigMapSeen::Absent),
            Event::InitDone => {}
        }
    }
}

/// Publishes `value` if it is new; what the API server said is written `to` the memory, too.
fn set(sender: &watch::Sender<ConfigMapSeen>, to: Option<(&Memory, &str)>, value: ConfigMapSeen) {
    if *sender.borrow() == value {
        return;
    }
    match (to, &value) {
        (Some((memory, file)), ConfigMapSeen::Present(text)) => memory.write(file, text),
        (Some((memory, file)), ConfigMapSeen::Absent | ConfigMapSeen::NotYet) => memory.remove(file),
        (None, _) => {}
    }
    sender.send_replace(value);
}
