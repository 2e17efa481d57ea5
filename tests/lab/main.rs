//! Tests with real packets between network namespaces that each test makes and removes itself. They need root (CAP_SYS_ADMIN and
//! CAP_NET_ADMIN), the command `ip`, FRR, BIRD and GoBGP as opponents, and Prometheus; without they fail, they never skip.
#![allow(clippy::unwrap_used, missing_docs)]

mod arp;
mod ask;
mod bench_arp;
mod bench_bgp;
mod bfd;
mod bgp;
mod conflicts;
#[path = "../it/figures.rs"]
mod figures;
mod flood;
mod handover;
mod link;
mod ndp;
mod router_config;
mod rules;
mod support;
mod verbs;
