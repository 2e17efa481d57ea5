//! How many messages of each type a BGP session has seen, as its status, `/metrics` and `lanlord status` tell it.

use serde::{Deserialize, Serialize};

/// BGP messages by type (RFC 4271 §4, RFC 2918).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpMessages {
    /// OPEN
    pub opens: u64,
    /// UPDATE
    pub updates: u64,
    /// NOTIFICATION
    pub notifications: u64,
    /// KEEPALIVE
    pub keepalives: u64,
    /// ROUTE-REFRESH
    pub route_refreshes: u64,
}

impl BgpMessages {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.opens + self.updates + self.notifications + self.keepalives + self.route_refreshes
    }
}
