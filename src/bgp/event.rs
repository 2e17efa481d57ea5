//! What a session is told, and what it asks for. Both name the connection they are about by its number.

use super::desired::Transport;
use super::next_hops::NextHops;
use super::status::{NoConnection, Reason, State};
use crate::wire::bgp::{Codec, DecodeError, Fault, Message, Received};

/// What the world tells.
#[expect(clippy::large_enum_variant, reason = "the large one is the frequent one, and events are not kept")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The connection is made (events 16 and 17).
    Connected {
        /// Which.
        connection: u64,
        /// Our addresses there.
        next_hops: NextHops,
    },
    /// It could not be made (event 18).
    Failed {
        /// Which.
        connection: u64,
        /// In words.
        reason: NoConnection,
    },
    /// It is gone: the peer closed it, or the kernel gave it up (event 18).
    Closed {
        /// Which.
        connection: u64,
        /// In words.
        reason: NoConnection,
    },
    /// A message came (events 19 and 24 to 27).
    Received {
        /// Through which connection.
        connection: u64,
        /// The message, read with [`Session::codec`](super::session::Session::codec).
        received: Received,
    },
    /// What came is no message (events 21, 22 and 28).
    Malformed {
        /// Through which connection.
        connection: u64,
        /// What is wrong.
        error: DecodeError,
    },
    /// Our addresses on the link of the connection have changed.
    NextHopsChanged {
        /// Of which connection.
        connection: u64,
        /// All of them.
        next_hops: NextHops,
    },
    /// Everything to be sent has been handed to the kernel.
    Writable {
        /// Of which connection.
        connection: u64,
    },
    /// BFD has lost the peer (AutomaticStop, event 8; RFC 5882 §4.3).
    BfdDown,
}

/// What the owner has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Dial. What becomes of it is told under this number.
    Connect {
        /// A number that was never used before.
        connection: u64,
        /// Whom, and how.
        transport: Transport,
    },
    /// Send through the connection, in order; after all that is at hand is written, tell [`Event::Writable`].
    Send {
        /// Which.
        connection: u64,
        /// What.
        message: Message,
        /// How to write it; it fits.
        codec: Codec,
    },
    /// Close the connection, or give up dialling. What was sent before is written first, as far as the peer takes it at once. A connection
    /// that [`Event::Failed`] or [`Event::Closed`] told of is closed already.
    Close {
        /// Which.
        connection: u64,
    },
    /// For the log, the metrics and the status.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        reason: Reason,
    },
    /// An error in an UPDATE that the session survives (RFC 7606), for the log.
    FaultFound(Fault),
}
