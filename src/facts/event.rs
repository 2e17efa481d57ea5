//! Events as `kubectl describe` and `kubectl get events` show them: what happened to whom, why, and what to do.

use super::{NodeName, ObjectKey, ServiceKey, Uid};

/// The object an Event is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// A Service.
    Service(ServiceKey, Uid),
    /// A Node.
    Node(NodeName, Uid),
    /// A ConfigMap (namespace, name, uid).
    ConfigMap(String, String, Uid),
    /// A custom resource.
    Object(ObjectKey, Uid),
}

/// `type` of an Event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// A person may have to act.
    Warning,
}

/// An Event to be written once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Event {
    /// The object.
    pub subject: Subject,
    /// Normal or Warning.
    pub kind: EventKind,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What, why, and what to do; at most 1,024 bytes reach the API server.
    pub message: String,
}
