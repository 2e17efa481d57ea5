//! The watches: everything seen through the API server, as one [`Snapshot`].
//!
//! ```text
//!  services ─┐                                   ┌─► Arc<Snapshot>   (plan, leader, membership)
//!  slices    ┤                                   │
//!  nodes     ┼─► slim facts ─► Store ── 10 ms ───┤
//!  namespaces┤                   ▲               └─► ApiState        (status, metrics)
//!  leases   ─┘                   │
//!  answers to our own writes ────┘   so that nothing is decided on what we know to be old
//! ```
//!
//! Objects are cut down to our facts before the next one is looked at; the full ones are never kept.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node as NodeObject, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dial::{Watch, dial};
use super::memory::{Memory, recall_snapshot};
use super::state::ApiState;
pub use super::store::Feedback;
use super::store::{Item, Kind, Store, Update};
use super::{Api, heartbeat};
use crate::facts::Snapshot;

/// Changes that come within so short a time become one Snapshot; the first after a quiet time is published at once.
const COALESCE: Duration = Duration::from_millis(10);
/// Objects in one page of a list: bounds the memory a list takes at its peak.
const PAGE: u32 = 200;

/// Where the watches publish.
#[derive(Debug)]
pub struct Outputs {
    /// `None` until every list was complete once, or something was remembered.
    pub snapshot: watch::Sender<Option<Arc<Snapshot>>>,
    /// The health of the watches.
    pub state: watch::Sender<ApiState>,
}

type Updates = BoxStream<'static, Update>;

fn updates<K: Send + 'static>(kind: Kind, watch: Watch<K>, slim: impl Fn(K) -> Item + Send + 'static) -> Updates {
    watch
        .events()
        .map(move |event| match event {
            Event::Apply(object) | Event::InitApply(object) => Update::Apply(slim(object)),
            Event::Delete(object) => Update::Delete(slim(object)),
            Event::Init => Update::Init(kind),
            Event::InitDone => Update::InitDone(kind),
        })
        .boxed()
}

fn streams(api: &Api, state: &watch::Sender<ApiState>) -> SelectAll<Updates> {
    let namespace = api.namespace.clone();
    let pages = || Config::default().page_size(PAGE);
    // Services become LoadBalancers and cease to be: with this selector the server tells both as if created and deleted.
    let balanced = pages().fields("spec.type=LoadBalancer");
    let mut all = SelectAll::new();
    all.push(updates(Kind::Services, dial("services", api, kube::Api::<ServiceObject>::all, balanced, state), Item::of_service));
    all.push(updates(Kind::Slices, dial("endpointslices", api, kube::Api::<EndpointSlice>::all, pages(), state), Item::of_slice));
    all.push(updates(Kind::Nodes, dial("nodes", api, kube::Api::<NodeObject>::all, pages(), state), Item::of_node));
    let bare = kube::Api::<PartialObjectMeta<Namespace>>::all;
    all.push(updates(Kind::Namespaces, dial("namespaces", api, bare, pages(), state), |object| Item::of_namespace(object.metadata)));
    let ours = move |client| kube::Api::<Lease>::namespaced(client, &namespace);
    all.push(updates(Kind::Leases, dial("leases", api, ours, pages(), state), |object| {
        let (item, problem) = Item::of_lease(object);
        if let Some(problem) = problem {
            tracing::warn!(problem, "a Lease cannot be read and is left out; correct or delete it");
        }
        item
    }));
    all
}

/// Follows everything until `shutdown`. `memory` stands in for an API server that cannot be reached at the start.
///
/// # Errors
/// Only if all watches end, which they do not.
pub async fn run(
    api: Api,
    memory: Option<Memory>,
    mut feedback: mpsc::Receiver<Feedback>,
    outputs: Outputs,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut streams = streams(&api, &outputs.state);
    let heartbeat = heartbeat::run(&api, &outputs.state);
    let mut heartbeat = std::pin::pin!(heartbeat);
    let mut remembered = std::pin::pin!(recall_snapshot(memory, outputs.state.subscribe()).fuse());
    let mut store = Store::default();
    let mut quiet_until = Instant::now();
    let mut publish_at: Option<Instant> = None;
    loop {
        let (due, unknown) = (publish_at, outputs.snapshot.borrow().is_none());
        let timer = async move {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = &mut heartbeat => {}
            snapshot = &mut remembered, if unknown => {
                outputs.snapshot.send_replace(Some(Arc::new(snapshot)));
                continue;
            }
            () = timer => {
                publish_at = None;
                let begun = Instant::now();
                outputs.snapshot.send_replace(Some(Arc::new(store.snapshot())));
                quiet_until = begun + COALESCE.max(begun.elapsed() * 10);
                continue;
            }
            Some(answer) = feedback.recv() => store.feedback(answer),
            update = streams.next() => {
                let update = update.ok_or_else(|| anyhow::anyhow!("all watches ended"))?;
                store.apply(update);
            }
        }
        if store.changed && store.is_complete() {
            store.changed = false;
            publish_at = publish_at.or_else(|| Some(quiet_until.max(Instant::now())));
        }
    }
}
