//! Placeholder main of the cluster tests.
