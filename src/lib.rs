//! Lanlord gives Kubernetes Services of `type: LoadBalancer` an address of the LAN and answers for it.
//!
//! # The map
//!
//! ```text
//!  config ──Arc<Config>──┐  api::watch ──Arc<Snapshot>──┐  net::link ──Arc<Links>──┐
//!                        └──────────────┬───────────────┴──────────────────────────┘
//!                                       ▼
//!                                     plan        pure: (Config, Snapshot, Links, Living, me) → Desired
//!                                       │
//!               ┌───────────────────────┼───────────────────────┐
//!               ▼                       ▼                       ▼
//!         l2 (arp, ndp)            bgp sessions ◄──losses── bfd sessions ──evidence──► membership
//!               └───────────────────────┼───────────────────────┘
//!                                       ▼ typed packets
//!                                     wire  ──bytes──►  net
//!
//!  membership:   Links, Config → the own member Lease → API server → api::watch;  Snapshot → Living
//!  leader only:  (Config, Snapshot, Living) → leader::decide (assign, place, tell) → api → API server → api::watch
//! ```
//!
//! Data flows one way, in whole sets. In a domain folder `task.rs` may touch tokio, sockets, the clock and the API; every other
//! file is pure. `tests/it/architecture.rs` holds the import table and checks it.

pub mod addr;
pub mod api;
pub mod app;
pub mod bfd;
pub mod bgp;
pub mod cli;
pub mod config;
pub mod facts;
pub mod l2;
pub mod leader;
pub mod machine;
pub mod membership;
pub mod net;
pub mod plan;
pub mod telemetry;
pub mod wire;
