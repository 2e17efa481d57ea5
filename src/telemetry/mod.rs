//! What the program shows of itself: log lines, metrics, health, and the server that hands them out.
//!
//! Nothing here decides anything, and nothing waits for it: tasks put figures and signs of life in, and whoever asks gets the
//! state of that moment.

pub mod client;
pub mod guard;
pub mod health;
pub mod live;
pub mod log;
pub mod metrics;
pub mod page;
pub mod server;
