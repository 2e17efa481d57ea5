//! The verbs of the command line, one file each.

pub mod check;
mod cluster;
pub mod convert;
pub mod explain;
mod eyes;
mod files;
pub mod health;
pub mod r#move;
pub mod plan;
pub mod report;
pub mod run;
pub mod status;
mod table;
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
pub enum Verb {
    /// Run the agent.
    Run(run::Run),
    /// Check configuration.
    Check(check::Check),
    /// Explain a Service.
    Explain(explain::Explain),
    /// Plan on paper.
    Plan(plan::Plan),
    /// Convert configuration.
    Convert(convert::Convert),
    /// Move a Service.
    Move(r#move::Move),
    /// Show what the agent sees.
    Status(status::Status),
    /// Probe an agent.
    Health(health::Health),
}
