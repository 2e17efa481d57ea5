//! Tests in a real Kubernetes cluster: etcd, API server, controllers, scheduler and kube-proxy are the genuine ones; nodes,
//! LAN and client are network namespaces (`scripts/cluster.sh` draws them). Each test starts a cluster of its own and takes it
//! down; it fails, and says what is missing, where it may not make namespaces.
//!
//! Run by `scripts/test.sh --tier cluster` as root. `LANLORD_BIN` names another lanlord than the one cargo has just built;
//! with `LANLORD_KEEP=1` the cluster of a failed test stays up for a look.

mod assignment;
mod bench_bgp;
mod bgp;
mod config;
mod crds;
mod demo;
mod diagnosis;
mod guides;
mod hardened;
mod image;
mod journey;
mod lab;
mod links;
mod losses;
mod monitoring;
mod moves;
mod outages;
mod page;
mod restarts;
mod scenarios;
mod support;
mod verbs;
