//! Placeholder main of the it tests.

mod config;
mod config_guides;
mod config_task;
