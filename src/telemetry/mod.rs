//! What the program shows of itself: log lines, metrics, health, and the server that hands them out.
//!
//! Nothing here decides anything, and nothing waits for it: whoever asks gets the state of that moment.

pub mod client;
pub mod guard;
pub mod health;
pub mod live;
pub mod log;
pub mod metrics;
pub mod paced;
pub mod page;
mod seats;
pub mod server;
