//! The ConfigMap that holds the configuration, as text.

use std::collections::BTreeMap;

use super::Uid;

/// A ConfigMap's data.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigMapText {
    /// For Events on it.
    pub uid: Uid,
    /// Its keys and texts.
    pub data: BTreeMap<String, String>,
}
