//! Writes the counters of IPAddressPools while this agent leads: what changed, at most once a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::stale;
use crate::api::{Api, WriteError};
use crate::config::Config;
use crate::facts::{Counters, ObjectKey, ObjectsSeen, Snapshot};

/// The least time between two looks: a burst of Services is counted once.
const PERIOD: Duration = Duration::from_secs(1);
/// A write that failed is tried again after this time even if nothing changes.
const RETRY: Duration = Duration::from_secs(10);

/// What the task reads.
#[derive(Debug)]
pub struct Inputs {
    /// Whether this agent leads.
    pub leading: watch::Receiver<bool>,
    /// The configuration in force.
    pub config: watch::Receiver<Option<Arc<Config>>>,
    /// What the API server says.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// The IPAddressPools are among them.
    pub objects: watch::Receiver<ObjectsSeen>,
}

/// What was written, and what was to be seen before. Where the CRD does not know the counters they never are to be seen, and are
/// not written over and over.
type Written = BTreeMap<ObjectKey, (Counters, Option<Counters>)>;

/// Runs until `shutdown`.
///
/// # Errors
/// When nobody watches the API server any more.
pub async fn run(api: Api, mut inputs: Inputs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut written = Written::new();
    loop {
        let retry = write(&api, &mut inputs, &mut written).await;
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(PERIOD) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            changed = inputs.leading.changed() => changed?,
            changed = inputs.config.changed() => changed?,
            changed = inputs.snapshot.changed() => changed?,
            changed = inputs.objects.changed() => changed?,
        }
    }
}

/// Writes what is stale; returns when to try again what failed.
async fn write(api: &Api, inputs: &mut Inputs, written: &mut Written) -> Option<Duration> {
    let leading = *inputs.leading.borrow_and_update();
    let (config, snapshot) = (inputs.config.borrow_and_update().clone(), inputs.snapshot.borrow_and_update().clone());
    let seen = inputs.objects.borrow_and_update().clone();
    let (true, Some(config), Some(snapshot), ObjectsSeen::Present(objects)) = (leading, config, snapshot, seen) else { return None };
    let mut failed = false;
    let stale = stale(&config, &snapshot, &objects);
    written.retain(|key, _| stale.contains_key(key));
    for (key, counters) in stale {
        let Some(object) = objects.get(&key) else { continue };
        let write = (counters, object.counters);
        if written.get(&key) == Some(&write) {
            continue;
        }
        match api.patch_pool_status(&key, &object.uid, &counters).await {
            // Deleted or made anew: the watch tells. Or the CRD has no status.
            Ok(()) | Err(WriteError::Conflict | WriteError::NotFound) => drop(written.insert(key, write)),
            Err(error) => {
                tracing::debug!(pool = %key, %error, "its counters were not written");
                failed = true;
            }
        }
    }
    failed.then_some(RETRY)
}
