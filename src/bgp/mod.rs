//! BGP-4 (RFC 4271): tells routers which prefixes this node has. Dials out, announces, and forgets what it is told.
//!
//! | file | is |
//! |---|---|
//! | `session` | the machine of one peer: RFC 4271 §8 |
//! | `event` | what it is told, and what it asks for |
//! | `timers` | how long things take |
//! | `open` | what we offer, and what both OPENs agree on |
//! | `rib` | Adj-RIB-Out: wanted and told routes, and what is to be sent because they differ |
//! | `update` | attributes of a route towards one peer, and how many prefixes one UPDATE holds |

pub mod desired;
mod event;
mod open;
mod rib;
pub mod session;
pub mod status;
mod timers;
mod update;
