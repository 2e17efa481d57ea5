//! Tests that need nothing: no rights, no network, no cluster.
#![allow(clippy::unwrap_used, missing_docs)]

mod l2;
mod laws;
mod wire;
