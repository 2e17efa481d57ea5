//! Placeholder main of the lab tests.
