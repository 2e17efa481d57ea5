//! Watches the custom resources of group `metallb.io` that configure something, whoever's CRDs they are.
//!
//! ```text
//!  6 kinds × namespaces ─► one watch each ─► Object ─► Objects ── 10 ms ──► ObjectsSeen (all lists complete)
//! ```
//!
//! A kind that the API server does not serve has no objects, and is asked for again: CRDs come and go at run time. An API server
//! that does not answer changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{SelectAll, Stream, StreamExt};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{Config, Event};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dial::{Seen, dial};
use super::memory::{Memory, recall};
use super::state::ApiState;
use super::{Api, WriteError};
use crate::facts::{Counters, OBJECT_KINDS, Object, ObjectKey, Objects, ObjectsSeen, Uid};

/// Several objects are applied one after the other.
const COALESCE: Duration = Duration::from_millis(10);
/// Where the objects are remembered.
const MEMORY: &str = "objects.json";
/// kubectl's own copy of the whole object.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn resource(kind: &str, plural: &str, version: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("metallb.io", version, kind), plural)
}

/// One watch: the place among all, and what it says.
type Update = (usize, Seen<DynamicObject>);

fn streams(api: &Api, namespaces: &[String], state: &watch::Sender<ApiState>) -> SelectAll<impl Stream<Item = Update> + Send + use<>> {
    let mut all = SelectAll::new();
    for namespace in namespaces {
        for (kind, plural, version) in OBJECT_KINDS {
            let (resource, namespace) = (resource(kind, plural, version), namespace.clone());
            let select = move |client| kube::Api::<DynamicObject>::namespaced_with(client, &namespace, &resource);
            let number = all.len();
            let seen = dial(plural, api, select, Config::default(), state).optional();
            all.push(seen.map(move |seen| (number, seen)).boxed());
        }
    }
    all
}

/// Follows the objects in `namespaces` until `shutdown`. `memory` stands in for an API server that cannot be reached at the start.
///
/// # Errors
/// Only if the watches end, which they do not.
pub async fn run(
    api: Api,
    memory: Option<Memory>,
    namespaces: Vec<String>,
    seen: watch::Sender<ObjectsSeen>,
    state: watch::Sender<ApiState>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut streams = streams(&api, &namespaces, &state);
    let mut store = Store { parts: vec![Part::default(); streams.len()], objects: Objects::new() };
    let mut remembered = std::pin::pin!(recall::<Vec<(ObjectKey, Object)>>(memory.as_ref(), MEMORY, state.subscribe()).fuse());
    let mut publish_at: Option<Instant> = None;
    loop {
        let (due, unknown) = (publish_at, *seen.borrow() == ObjectsSeen::NotYet);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            objects = &mut remembered, if unknown => {
                let objects = objects.into_iter().map(|(key, object)| (key, Arc::new(object))).collect();
                seen.send_replace(ObjectsSeen::Present(Arc::new(objects)));
            }
            () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                publish_at = None;
                publish(&seen, memory.as_ref(), &store.objects);
            }
            update = streams.next() => {
                let (number, update) = update.ok_or_else(|| anyhow::anyhow!("all watches of custom resources ended"))?;
                let (kind, ..) = OBJECT_KINDS[number % OBJECT_KINDS.len()];
                store.apply(number, kind, &namespaces[number / OBJECT_KINDS.len()], update);
                if store.parts.iter().all(|part| part.complete) {
                    publish_at = publish_at.or_else(|| Some(Instant::now() + COALESCE));
                }
            }
        }
    }
}

/// Publishes what is new, and remembers it.
fn publish(seen: &watch::Sender<ObjectsSeen>, memory: Option<&Memory>, objects: &Objects) {
    if matches!(&*seen.borrow(), ObjectsSeen::Present(before) if **before == *objects) {
        return;
    }
    if let Some(memory) = memory {
        memory.write(MEMORY, objects.iter().map(|(key, object)| (key, &**object)).collect::<Vec<_>>());
    }
    seen.send_replace(ObjectsSeen::Present(Arc::new(objects.clone())));
}

/// What one watch has said.
#[derive(Clone, Default)]
struct Part {
    complete: bool,
    /// A list is under way, and had these so far.
    listed: Option<BTreeSet<ObjectKey>>,
}

struct Store {
    parts: Vec<Part>,
    objects: Objects,
}

impl Store {
    fn apply(&mut self, number: usize, kind: &str, namespace: &str, seen: Seen<DynamicObject>) {
        let part = &mut self.parts[number];
        match seen {
            Seen::Event(Event::Init) => part.listed = Some(BTreeSet::new()),
            Seen::Event(Event::Apply(object) | Event::InitApply(object)) => {
                let (key, object) = slim(kind, namespace, object);
                if let Some(listed) = &mut part.listed {
                    listed.insert(key.clone());
                }
                self.objects.insert(key, Arc::new(object));
            }
            Seen::Event(Event::Delete(object)) => drop(self.objects.remove(&slim(kind, namespace, object).0)),
            Seen::Event(Event::InitDone) => {
                let listed = part.listed.take().unwrap_or_default();
                part.complete = true;
                self.objects.retain(|key, _| !(key.kind == kind && key.namespace == namespace) || listed.contains(key));
            }
            Seen::NotServed => {
                *part = Part { complete: true, listed: None };
                self.objects.retain(|key, _| !(key.kind == kind && key.namespace == namespace));
            }
        }
    }
}

fn slim(kind: &str, namespace: &str, object: DynamicObject) -> (ObjectKey, Object) {
    let meta = object.metadata;
    let key = ObjectKey::new(kind, namespace, &meta.name.unwrap_or_default());
    let annotations: BTreeMap<String, String> = meta.annotations.into_iter().flatten().filter(|(name, _)| name != APPLIED).collect();
    let metadata =
        json!({"name": key.name, "namespace": key.namespace, "labels": meta.labels.unwrap_or_default(), "annotations": annotations});
    let mut text = json!({"apiVersion": key.api_version(), "kind": kind, "metadata": metadata});
    if let Some(spec) = object.data.get("spec") {
        text["spec"] = spec.clone();
    }
    let counters = object.data.get("status").and_then(|status| serde_json::from_value(status.clone()).ok());
    let object = Object {
        uid: Uid(meta.uid.unwrap_or_default().into()),
        created: meta.creation_timestamp.map(|time| time.0.to_string()).unwrap_or_default(),
        text: format!("{text:#}"),
        counters: counters.filter(|_| kind == "IPAddressPool"),
    };
    (key, object)
}

impl Api {
    /// Writes the status of the IPAddressPool `key` that has this uid.
    ///
    /// # Errors
    /// `NotFound`: it is gone, or its CRD has no status; `Conflict`: another one has its name now.
    pub async fn patch_pool_status(&self, key: &ObjectKey, uid: &Uid, counters: &Counters) -> Result<(), WriteError> {
        let (kind, plural, version) = OBJECT_KINDS[0];
        let pools = kube::Api::<DynamicObject>::namespaced_with(self.client(), &key.namespace, &resource(kind, plural, version));
        let patch = json!({"metadata": {"uid": uid.to_string()}, "status": counters});
        let params = PatchParams::default();
        self.write("patch", "ipaddresspools/status", pools.patch_status(&key.name, &params, &Patch::Merge(patch))).await.map(drop)
    }
}
