//! Bidirectional Forwarding Detection, asynchronous mode (RFC 5880, RFC 5881): notices within a few packets that a neighbour is gone.
//!
//! One machine for every session of this node, whoever wants them: routers (BGP) and the other members. What a session is for is
//! not known here. Without authentication, Echo, and Demand mode of our own; a neighbour may use Demand mode.

pub mod desired;
mod lateness;
mod poll;
mod session;
pub mod sessions;
pub mod status;
pub mod task;
