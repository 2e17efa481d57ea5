//! Events for people: `kubectl describe` and `kubectl get events` show them.
//!
//! Written once, on transitions; one that is refused is dropped and counted, for a load balancer must not wait for its diary.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event as EventObject, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;

use super::{Api, WriteError};
use crate::facts::{Event, EventKind, Subject};

/// Longest message the API server takes.
const MESSAGE_LIMIT: usize = 1024;
/// Events that may be written at once: a thousand Services created together get theirs.
const BURST: f64 = 2000.0;
/// Events a second after that.
const RATE: f64 = 20.0;

/// Writes Events, within a token bucket.
#[derive(Debug)]
pub struct Recorder {
    api: Api,
    node: String,
    bucket: Mutex<(f64, tokio::time::Instant)>,
}

impl Recorder {
    /// `node` is where this agent runs, shown as the Event's source host.
    pub fn new(api: Api, node: &str) -> Self {
        Self { api, node: node.to_owned(), bucket: Mutex::new((BURST, tokio::time::Instant::now())) }
    }

    fn token(&self) -> bool {
        let Ok(mut bucket) = self.bucket.lock() else { return false };
        let (tokens, at) = *bucket;
        let tokens = (tokens + at.elapsed().max(Duration::ZERO).as_secs_f64() * RATE).min(BURST);
        let granted = tokens >= 1.0;
        *bucket = (if granted { tokens - 1.0 } else { tokens }, tokio::time::Instant::now());
        granted
    }

    /// Writes one Event. One that cannot be written is dropped and counted: what it tells stands in a status as well.
    pub async fn publish(&self, event: &Event) {
        let written = if self.token() { self.write(event).await } else { Err(WriteError::Invalid("too many Events at once".to_owned())) };
        if let Err(error) = written {
            tracing::debug!(reason = event.reason, %error, "Event dropped");
            self.api.events_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn write(&self, event: &Event) -> Result<(), WriteError> {
        let object = self.object(event, Timestamp::now());
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let events = kube::Api::<EventObject>::namespaced(self.api.client(), &namespace);
        self.api.write("create", "events", events.create(&PostParams::default(), &object)).await.map(drop)
    }

    fn object(&self, event: &Event, now: Timestamp) -> EventObject {
        let involved = |api: &str, kind: &str, namespace: Option<String>, name: String, uid: &str| ObjectReference {
            api_version: Some(api.to_owned()),
            kind: Some(kind.to_owned()),
            namespace,
            name: Some(name),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let involved = match &event.subject {
            Subject::Service(key, uid) => involved("v1", "Service", Some(key.namespace.to_string()), key.name.to_string(), &uid.0),
            // Kubernetes finds Events of a Node by its name in place of a uid.
            Subject::Node(name, _) => involved("v1", "Node", None, name.to_string(), name.as_str()),
            Subject::ConfigMap(namespace, name, uid) => involved("v1", "ConfigMap", Some(namespace.clone()), name.clone(), &uid.0),
            Subject::Object(key, uid) => involved(&key.api_version(), &key.kind, Some(key.namespace.clone()), key.name.clone(), &uid.0),
        };
        let name = involved.name.clone().unwrap_or_default();
        EventObject {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}{:04x}", now.as_nanosecond(), fastrand::u16(..))),
                namespace: Some(involved.namespace.clone().unwrap_or_else(|| "default".to_owned())),
                ..ObjectMeta::default()
            },
            involved_object: involved,
            reason: Some(event.reason.to_owned()),
            message: Some(cut(&event.message)),
            type_: Some(if event.kind == EventKind::Warning { "Warning" } else { "Normal" }.to_owned()),
            source: Some(EventSource { component: Some("lanlord".to_owned()), host: Some(self.node.clone()) }),
            // What `kubectl get events --field-selector reportingComponent=lanlord` looks for.
            reporting_component: Some("lanlord".to_owned()),
            reporting_instance: Some(self.node.clone()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..EventObject::default()
        }
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let end = (0..=MESSAGE_LIMIT - '…'.len_utf8()).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ü".repeat(600);
        let cut = cut(&long);
        assert!(cut.len() <= MESSAGE_LIMIT && cut.ends_with("ü…"));
    }
}
