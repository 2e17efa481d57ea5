//! `lanlord metrics`: the metrics of the agent on this host, as text.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::answer::{PROBLEMS, UNASKED, WELL, exit};
use crate::telemetry::client::get;

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

    /// Where the agent's --http listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7475")]
    http: SocketAddr,
}

/// For connecting, and for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
        let (code, answer) = match self.ask() {
            Ok(answered) => answered,
            Err(error) => {
                writeln!(
                    err,
                    "lanlord: no agent answers at {}: {error}; see whether one runs on this host (kubectl get pods -n lanlord -o wide)",
                    self.http
                )?;
                return Ok(UNASKED);
            }
        };
        if code != 200 {
            writeln!(err, "lanlord: {} refuses ({code}): {}", self.http, answer.trim())?;
            return Ok(UNASKED);
        }
        let mut lines = answer.lines().filter(|line| line.contains(&self.filter)).peekable();
        let found = lines.peek().is_some();
        for line in lines {
            writeln!(out, "{line}")?;
        }
        Ok(if found { WELL } else { PROBLEMS })
    }

    fn ask(&self) -> io::Result<(u16, String)> {
        let stream = TcpStream::connect_timeout(&self.http, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        get(stream, "/metrics")
    }
}
