//! Placeholder main of the it tests.
