//! What BFD shows of its sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::desired::SessionKey;
pub use crate::wire::bfd::State;

/// Every session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// As desired.
    pub sessions: BTreeMap<SessionKey, SessionStatus>,
}

/// One session. Published on every change of state and of the neighbour's diagnostic, else at most once a second.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionStatus {
    /// Our state.
    pub state: State,
    /// A level: the session was Up and went Down because the detection time passed, and has not been Up since.
    ///
    /// Down or AdminDown that the neighbour said, or that somebody forged in its name, never sets it. That has a price: a neighbour
    /// that is lost between its Down and the next Up (it restarted and died, or its last packet was forged) is Down and not expired.
    pub expired: bool,
    /// The neighbour says that something behind it is lost (diagnostic 6), while Up.
    pub concatenated_path_down: bool,
    /// Since when the state is as it is.
    pub since: Option<Timestamp>,
    /// The detection time in force (RFC 5880 §6.8.4); zero before the neighbour was heard.
    pub detection_time: Duration,
    /// Control packets sent.
    pub sent: u64,
    /// Control packets taken.
    pub received: u64,
    /// Packets of this neighbour that a MUST of the reception rules (RFC 5880 §6.8.6) discards.
    pub discarded: u64,
    /// Times the session came Up.
    pub ups: u64,
    /// Times it went from Up to another state.
    pub downs: u64,
    /// Why no packet can be sent or taken: the port is in use, the link is gone.
    pub error: Option<String>,
}
