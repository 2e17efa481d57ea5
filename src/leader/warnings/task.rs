//! Tells warnings while this agent leads, looking at most once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Diary, Sources, Warning, idle, rivals};
use crate::api::Api;
use crate::api::events::Recorder;
use crate::config::Config;
use crate::facts::{Links, Living, NodeName, ObjectsSeen, Snapshot};
use crate::leader::edits::Edits;
use crate::machine::Instant;
use crate::net::clock;

/// The least time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// What the task reads.
#[derive(Debug)]
pub struct Inputs {
    /// Whether this agent leads.
    pub leading: watch::Receiver<bool>,
    /// The configuration in force.
    pub config: watch::Receiver<Option<Arc<Config>>>,
    /// What the API server says.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Who may own addresses.
    pub living: watch::Receiver<Arc<Living>>,
    /// The links of this host.
    pub links: watch::Receiver<Arc<Links>>,
    /// Edits of the configuration: its ConfigMap is known by them.
    pub edits: watch::Receiver<Edits>,
    /// The custom resources of the configuration.
    pub objects: watch::Receiver<ObjectsSeen>,
}

/// Runs until `shutdown`.
///
/// # Errors
/// When an input ends, which none does.
pub async fn run(api: Api, node: NodeName, mut inputs: Inputs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let recorder = Recorder::new(api, node.as_str());
    let mut diary = Diary::default();
    loop {
        let (due, wake) = look(&mut diary, &node, &mut inputs, clock::now());
        for warning in due {
            tracing::warn!(reason = warning.reason, "{}", warning.message());
            let Some(event) = warning.event() else { continue };
            recorder.publish(&event).await;
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(PERIOD) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = clock::sleep_until(wake) => {}
            changed = inputs.leading.changed() => changed?,
            changed = inputs.config.changed() => changed?,
            changed = inputs.snapshot.changed() => changed?,
            changed = inputs.living.changed() => changed?,
            changed = inputs.links.changed() => changed?,
            changed = inputs.edits.changed() => changed?,
            changed = inputs.objects.changed() => changed?,
        }
    }
}

/// What is to be told now, and when to look again even if nothing happens.
fn look(diary: &mut Diary, me: &NodeName, inputs: &mut Inputs, now: Instant) -> (Vec<Warning>, Option<Instant>) {
    let leading = *inputs.leading.borrow_and_update();
    let (config, snapshot) = (inputs.config.borrow_and_update().clone(), inputs.snapshot.borrow_and_update().clone());
    let (living, links) = (inputs.living.borrow_and_update().clone(), inputs.links.borrow_and_update().clone());
    let (edits, objects) = (inputs.edits.borrow_and_update().clone(), inputs.objects.borrow_and_update().clone());
    let (Some(config), Some(snapshot)) = (config, snapshot) else { return (Vec::new(), None) };
    let at_rest = diary.at_rest(&config, &snapshot, &living, now);
    if !leading || !at_rest {
        return (Vec::new(), diary.next(now).filter(|_| leading));
    }
    let objects = if let ObjectsSeen::Present(objects) = objects { objects } else { Arc::default() };
    let sources = Sources { text: edits.text(), objects: Some(&objects) };
    let mut warnings = idle(&config, &snapshot, &living, &sources);
    warnings.extend(rivals(&config, &snapshot, me, &links));
    let due = diary.due(warnings, now);
    (due, diary.next(now))
}
