//! BGP-4 (RFC 4271): tells routers which prefixes this node has. Dials out, announces, and forgets what it is told.
//!
//! | file | is |
//! |---|---|
//! | `peers` | the machine of all peers, and how they are left |
//! | `session` | the machine of one peer: RFC 4271 §8 |
//! | `event` | what it is told, and what it asks for |
//! | `timers` | how long things take |
//! | `open` | what we offer, and what both OPENs agree on |
//! | `rib` | Adj-RIB-Out: wanted and told routes, and what is to be sent because they differ |
//! | `next_hops` | our addresses on the way to a peer |
//! | `trouble` | what is amiss with a peer, and what to check |
//! | `diary` | what people are told of that, once |
//! | `update` | attributes of a route towards one peer, and how many prefixes one UPDATE holds |

pub mod desired;
pub mod diary;
mod event;
pub mod next_hops;
mod open;
pub mod peers;
mod rib;
pub mod session;
pub mod status;
pub mod task;
mod timers;
pub mod trouble;
mod update;
