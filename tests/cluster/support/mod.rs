//! What the cluster tests are written with: a cluster that ends with its test, its nodes, its client, and waiting for a
//! condition. Everything is done by `scripts/cluster.sh`, so that a person can do by hand what a test does.

#![allow(dead_code, reason = "a vocabulary: not every word is used at all times")]

pub(crate) mod browser;
pub(crate) mod cluster;
pub(crate) mod meter;
pub(crate) mod place;
pub(crate) mod router;
#[expect(clippy::unwrap_used, reason = "the lab's routers, as they are there")]
#[path = "../../lab/support/routers.rs"]
pub(crate) mod routers;
pub(crate) mod seen;
pub(crate) mod service;

pub(crate) use cluster::Cluster;
pub(crate) use cluster::Options;
use router::Namespace;
use router::eventually;
