//! The agent on this host, asked over its own port: for the verbs that show what it sees.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use crate::facts::PODS;
use crate::telemetry::client::get;

/// For connecting, and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where it is.
#[derive(Args, Clone, Debug)]
pub(super) struct Agent {
    /// Where the agent's --http listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7475")]
    pub(super) http: SocketAddr,
}

impl Agent {
    /// Connects to it; what it sends may have pauses of `silence`.
    ///
    /// # Errors
    /// That nobody is there, and what to do.
    pub(super) fn connect(&self, silence: Duration) -> Result<TcpStream, String> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&self.http, PATIENCE)?;
            stream.set_read_timeout(Some(silence))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        connect().map_err(|error: io::Error| self.nobody(error))
    }

    /// What it answers at `path`.
    ///
    /// # Errors
    /// That it does not answer, or refuses, and what to do.
    pub(super) fn get(&self, path: &str) -> Result<String, String> {
        let http = self.http;
        let (code, answer) = get(self.connect(PATIENCE)?, path).map_err(|error| self.nobody(error))?;
        if code == 200 {
            return Ok(answer);
        }
        let answer = answer.trim();
        Err(format!("{http} refuses ({code}: {answer}); ask on the agent's own host, at a loopback address such as 127.0.0.1:7475"))
    }

    fn nobody(&self, error: impl Display) -> String {
        format!(
            "no agent answers at {}: {error}; see whether one runs on this host ({PODS}), and give --http what \
             its own --http says",
            self.http
        )
    }
}
