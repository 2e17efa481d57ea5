//! The verbs of the command line, one file each.

mod agent;
mod answer;
pub mod check;
mod cluster;
pub mod convert;
pub mod explain;
mod eyes;
mod files;
pub mod health;
mod host;
pub mod links;
pub mod metrics;
pub mod r#move;
mod named;
pub mod peers;
pub mod plan;
pub mod probe;
pub mod report;
pub mod router_config;
pub mod run;
pub mod status;
pub mod suggest;
mod table;
pub mod watch;
mod yaml;

use clap::{Parser, Subcommand};

/// LAN addresses for Kubernetes Services of type LoadBalancer
#[derive(Parser, Clone, Debug)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Start here: put `addresses: 192.168.1.240-192.168.1.250` into ConfigMap lanlord in namespace lanlord; Services of type
LoadBalancer get an address each, and `kubectl describe service` tells who announces it, or why nobody does."
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Subcommand, Clone, Debug)]
#[expect(missing_docs, reason = "each verb says in its own file what it does, and that is its help, too")]
pub enum Verb {
    Run(run::Run),
    Check(check::Check),
    Explain(explain::Explain),
    Plan(plan::Plan),
    Convert(convert::Convert),
    Move(r#move::Move),
    RouterConfig(router_config::RouterConfig),
    Status(status::Status),
    Suggest(suggest::Suggest),
    Probe(probe::Probe),
    Links(links::Links),
    Metrics(metrics::Metrics),
    Watch(watch::Watch),
    Health(health::Health),
}
