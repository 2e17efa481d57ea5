//! The ConfigMap that holds the configuration, as the API server has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Uid;

/// What is known of the ConfigMap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ConfigMapSeen {
    /// The API server has not answered yet.
    #[default]
    NotYet,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(ConfigMapText),
}

/// Its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigMapText {
    /// `metadata.uid`, for Events about it.
    pub uid: Uid,
    /// `data`.
    pub data: BTreeMap<String, String>,
}
