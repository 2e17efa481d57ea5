//! What this process knows of the API server itself: whether it answers, and which watches fail. The heartbeat and the watches write
//! it; the status and the metrics show it, and whoever starts without the server goes by it.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// What this process knows of the API server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ApiState {
    /// Whether it answers.
    pub contact: Contact,
    /// Watches that fail (by resource) and why: what a Snapshot says of those may be old.
    pub failing: BTreeMap<&'static str, String>,
}

/// Whether the API server answers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Contact {
    /// Not asked yet.
    #[default]
    Unknown,
    /// It answers.
    Reachable {
        /// First answer.
        since: Timestamp,
    },
    /// It does not answer, or only says that it cannot work.
    Unreachable {
        /// First failure.
        since: Timestamp,
        /// What went wrong then.
        error: String,
    },
}

impl Contact {
    /// This agent is *detached*: it asked the API server and got no answer.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
