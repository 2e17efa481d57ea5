//! Tests that need nothing: no rights, no network, no cluster.
#![allow(clippy::unwrap_used)]

mod api;
mod architecture;
mod assignment;
mod bfd;
mod bfd_pairs;
mod config;
mod config_any;
mod config_bgp;
mod config_check;
mod config_guides;
mod config_objects;
mod config_old;
mod config_peers;
mod config_pools;
mod config_task;
mod heirs;
mod judge;
mod l2;
mod laws;
mod leaders;
mod manifests;
mod mesh;
mod moves;
mod plan;
mod simulation;
mod status;
mod telemetry;
mod wire;
mod world;
