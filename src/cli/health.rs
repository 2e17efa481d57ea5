//! `lanlord health`: what the probes of the pod ask.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::telemetry::health::{Probe, ask};

/// The socket that the manifest gives the agent.
pub const SOCKET: &str = "/run/lanlord/health.sock";

/// Ask the agent in this container whether it lives, or is ready (exit code 0: yes, 1: no, and why)
#[derive(Args, Clone, Debug)]
pub struct Health {
    /// The question
    #[arg(value_enum)]
    question: Question,

    /// The agent's --health-socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Question {
    /// Do all its loops make progress?
    Live,
    /// Has it seen the cluster and joined it?
    Ready,
}

impl Health {
    /// Asks and answers on standard error if the answer is no.
    pub fn run(self) -> ExitCode {
        let probe = match self.question {
            Question::Live => Probe::Live,
            Question::Ready => Probe::Ready,
        };
        match ask(&self.socket, probe, Duration::from_secs(2)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // The exit code has said it already if nobody reads this.
                drop(writeln!(std::io::stderr(), "{error}"));
                ExitCode::FAILURE
            }
        }
    }
}
