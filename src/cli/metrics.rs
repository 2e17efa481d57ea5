//! `lanlord metrics`: the metrics of the agent on this host, as text.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::agent::Agent;
use super::answer::{PROBLEMS, UNASKED, WELL, exit};

/// Print the metrics of the agent on this host, or some of them
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit codes: 0 there are some, 1 none has that text in it, 2 the agent could not be asked.

Examples:
  lanlord metrics
  lanlord metrics --filter announced
  kubectl exec -n lanlord POD -- /lanlord metrics --filter lanlord_members")]
pub struct Metrics {
    /// Only lines with this text in them
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    #[command(flatten)]
    agent: Agent,
}

impl Metrics {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        let answer = match self.agent.get("/metrics") {
            Ok(answer) => answer,
            Err(why) => {
                writeln!(err, "lanlord: {why}")?;
                return Ok(UNASKED);
            }
        };
        let mut lines = answer.lines().filter(|line| line.contains(&self.filter)).peekable();
        let found = lines.peek().is_some();
        for line in lines {
            writeln!(out, "{line}")?;
        }
        Ok(if found { WELL } else { PROBLEMS })
    }
}
