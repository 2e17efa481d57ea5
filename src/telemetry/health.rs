//! Whether the process lives (its loops make progress) and is ready (each part that must be up has said so).
//!
//! Both are asked over a unix socket by the exec probes (`lanlord health live|ready`), because two instances run side by side
//! during a rolling update and only one of them has the TCP port: a probe must speak of its own instance. [`ask`] is the asking
//! side and needs no runtime.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::client::get;

struct Loop {
    deadline: Duration,
    beaten: Instant,
}

#[derive(Default)]
struct State {
    loops: BTreeMap<String, Loop>,
    parts: BTreeMap<String, bool>,
}

/// The health of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

impl Health {
    /// Without loops and parts: alive and ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now until the [`Heartbeat`] is dropped, the loop `name` must beat at least every `deadline`.
    pub fn heartbeat(&self, name: &str, deadline: Duration) -> Heartbeat {
        self.state().loops.insert(name.to_owned(), Loop { deadline, beaten: Instant::now() });
        Heartbeat { health: self.clone(), name: name.to_owned() }
    }

    /// From now on the process is ready only while the part `name` is.
    pub fn part(&self, name: &str) -> Part {
        self.state().parts.insert(name.to_owned(), false);
        Part { health: self.clone(), name: name.to_owned() }
    }

    /// Alive, or the loops that are stuck.
    pub fn live(&self) -> Result<(), String> {
        let stuck: Vec<String> = self
            .state()
            .loops
            .iter()
            .map(|(name, loop_)| (name, loop_.beaten.elapsed(), loop_.deadline))
            .filter(|(_, silent, deadline)| silent > deadline)
            .map(|(name, silent, _)| format!("{name} is stuck since {} s", silent.as_secs()))
            .collect();
        if stuck.is_empty() { Ok(()) } else { Err(stuck.join(", ")) }
    }

    /// Ready, or the parts that are not.
    pub fn ready(&self) -> Result<(), String> {
        let missing: Vec<String> =
            self.state().parts.iter().filter(|(_, ready)| !**ready).map(|(name, _)| format!("{name} is not ready")).collect();
        if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A loop's sign of life. Dropping it ends the duty.
pub struct Heartbeat {
    health: Health,
    name: String,
}

impl Heartbeat {
    /// Progress was made.
    pub fn beat(&self) {
        if let Some(loop_) = self.health.state().loops.get_mut(&self.name) {
            loop_.beaten = Instant::now();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.state().loops.remove(&self.name);
    }
}

/// One of the parts that must be up before the process is ready.
pub struct Part {
    health: Health,
    name: String,
}

impl Part {
    /// Says whether it is up.
    pub fn set(&self, ready: bool) {
        self.health.state().parts.insert(self.name.clone(), ready);
    }
}

/// What a probe asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// Do all loops make progress?
    Live,
    /// Are all parts up?
    Ready,
}

impl Probe {
    fn path(self) -> &'static str {
        match self {
            Self::Live => "/healthz",
            Self::Ready => "/readyz",
        }
    }
}

/// No good answer to a probe.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody answers.
    #[error("no answer at {socket}: {error}")]
    Silent {
        /// The socket.
        socket: String,
        /// Why.
        error: io::Error,
    },
    /// It says what is wrong.
    #[error("{0}")]
    Unhealthy(String),
}

/// Asks the instance that listens at `socket`, waiting at most `timeout` for each of connection and answer.
pub fn ask(socket: &Path, probe: Probe, timeout: Duration) -> Result<(), ProbeError> {
    let (code, body) =
        exchange(socket, probe, timeout).map_err(|error| ProbeError::Silent { socket: socket.display().to_string(), error })?;
    if code == 200 { Ok(()) } else { Err(ProbeError::Unhealthy(body.trim().to_owned())) }
}

fn exchange(socket: &Path, probe: Probe, timeout: Duration) -> io::Result<(u16, String)> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    get(stream, probe.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_loop_fails_liveness_until_it_beats_or_ends() {
        let health = Health::new();
        let patient = health.heartbeat("patient", Duration::from_secs(3600));
        let stuck = health.heartbeat("l2", Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(health.live().unwrap_err(), "l2 is stuck since 0 s");
        patient.beat();
        drop(stuck);
        assert_eq!(health.live(), Ok(()));
    }

    #[test]
    fn ready_means_that_every_part_is() {
        let health = Health::new();
        assert_eq!(health.ready(), Ok(()));
        let (config, sockets) = (health.part("configuration"), health.part("sockets"));
        assert_eq!(health.ready().unwrap_err(), "configuration is not ready, sockets is not ready");
        config.set(true);
        sockets.set(true);
        assert_eq!(health.ready(), Ok(()));
        config.set(false);
        assert!(health.ready().is_err());
    }
}
