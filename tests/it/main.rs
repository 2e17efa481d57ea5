//! Placeholder main of the it tests.

mod config;
mod config_check;
mod config_guides;
mod config_task;
