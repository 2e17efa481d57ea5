//! The tests that need nothing: no rights, no network, no cluster.

mod manifests;
