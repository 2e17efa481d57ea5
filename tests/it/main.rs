//! Tests that need nothing: no rights, no network, no cluster.
#![allow(clippy::unwrap_used)]

mod architecture;
mod assignment;
mod laws;
mod world;
