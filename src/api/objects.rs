//! Objects as `kubectl get … -o json` (or `-o yaml`) prints them → the [`Snapshot`] that the watches would have gathered: by the same
//! conversions and the same store, so that a cluster on paper is seen as a live one.

use std::collections::BTreeSet;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::store::{Item, Store, Update};
use crate::facts::Snapshot;

/// Why a text is no list of objects.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// Neither JSON nor YAML.
    #[error(
        "{source_name} is neither JSON nor YAML ({error}); give what kubectl get svc,endpointslices,nodes,namespaces,leases -A -o json printed"
    )]
    Text {
        /// What the text is called.
        source_name: String,
        /// What the parser says.
        error: String,
    },
    /// Something in it is no Kubernetes object.
    #[error("{source_name} holds something that is no Kubernetes object (it has no kind); give what kubectl get … -o json printed")]
    NoObject {
        /// What the text is called.
        source_name: String,
    },
    /// An object that is not what its kind says.
    #[error("{source_name}: {kind} {name} cannot be read: {error}")]
    Object {
        /// What the text is called.
        source_name: String,
        /// Its kind.
        kind: String,
        /// `metadata.name`.
        name: String,
        /// What the parser says.
        error: String,
    },
}

/// Gathers objects from texts.
#[derive(Default)]
pub struct Objects {
    store: Store,
    namespace: String,
    /// Kinds that we read and that were there.
    there: BTreeSet<&'static str>,
    unread: BTreeSet<String>,
    problems: Vec<String>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("there", &self.there).finish_non_exhaustive()
    }
}

/// Kinds that are read, and what `kubectl get` calls them.
pub const KINDS: [(&str, &str); 5] =
    [("Service", "services"), ("EndpointSlice", "endpointslices"), ("Node", "nodes"), ("Namespace", "namespaces"), ("Lease", "leases")];

impl Objects {
    /// Nothing yet. Of Leases only those in `namespace` are ours.
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::default() }
    }

    /// Takes in all objects of a text: one or several, alone or in lists.
    ///
    /// # Errors
    /// It holds something else.
    pub fn read(&mut self, source_name: &str, text: &str) -> Result<(), Unreadable> {
        for document in documents(text).map_err(|error| Unreadable::Text { source_name: source_name.to_owned(), error })? {
            if !document.is_null() {
                self.object(source_name, document)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, source_name: &str, mut object: Value) -> Result<(), Unreadable> {
        let Some(kind) = object.get("kind").and_then(Value::as_str).map(str::to_owned) else {
            return Err(Unreadable::NoObject { source_name: source_name.to_owned() });
        };
        if let Some(of) = kind.strip_suffix("List")
            && let Some(Value::Array(items)) = object.get_mut("items").map(Value::take)
        {
            // `kubectl get --raw` prints a `ServiceList` whose items do not say what they are.
            let version = object.get("apiVersion").cloned();
            for mut item in items {
                if let (Some(item), false) = (item.as_object_mut(), of.is_empty()) {
                    item.entry("kind").or_insert_with(|| of.into());
                    item.entry("apiVersion").or_insert_with(|| version.clone().unwrap_or_default());
                }
                self.object(source_name, item)?;
            }
            return Ok(());
        }
        let Some((known, _)) = KINDS.iter().find(|(known, _)| **known == *kind) else {
            self.unread.insert(kind);
            return Ok(());
        };
        in_a_namespace(known, &mut object);
        let item = self.item(known, object).map_err(|(name, error)| {
            let source_name = source_name.to_owned();
            Unreadable::Object { source_name, kind, name, error }
        })?;
        self.there.insert(known);
        if let Some(item) = item {
            self.store.apply(Update::Apply(item));
        }
        Ok(())
    }

    fn item(&mut self, kind: &str, object: Value) -> Result<Option<Item>, (String, String)> {
        Ok(match kind {
            "Service" => Some(Item::of_service(typed(object)?)),
            "EndpointSlice" => Some(Item::of_slice(typed(object)?)),
            "Node" => Some(Item::of_node(typed(object)?)),
            "Namespace" => Some(Item::of_namespace(typed::<Bare>(object)?.metadata)),
            _ => {
                let lease: Lease = typed(object)?;
                let ours = lease.metadata.namespace.as_ref() == Some(&self.namespace);
                ours.then(|| {
                    let (item, problem) = Item::of_lease(lease);
                    self.problems.extend(problem.map(|problem| format!("{problem}; it is left out, correct or delete it")));
                    item
                })
            }
        })
    }

    /// What all texts say together.
    pub fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    /// What `kubectl get` calls the kinds of which there is no object at all.
    pub fn missing(&self) -> Vec<&'static str> {
        KINDS.iter().filter(|(kind, _)| !self.there.contains(kind)).map(|(_, plural)| *plural).collect()
    }

    /// Kinds that were there and are not read.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(String::as_str)
    }

    /// Leases that cannot be read, and why.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// A manifest written by hand may leave its namespace to `kubectl apply`.
fn in_a_namespace(kind: &str, object: &mut Value) {
    if let (false, Some(metadata)) = (["Node", "Namespace"].contains(&kind), object.get_mut("metadata").and_then(Value::as_object_mut)) {
        metadata.entry("namespace").or_insert_with(|| "default".into());
    }
}

#[derive(Deserialize)]
struct Bare {
    #[serde(default)]
    metadata: ObjectMeta,
}

fn typed<T: DeserializeOwned>(object: Value) -> Result<T, (String, String)> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    serde_json::from_value(object).map_err(|error| (name, error.to_string()))
}

fn documents(text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string());
    }
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).map_err(|error| error.to_string())).collect()
}
