//! The real `bfd::task` inside a namespace.

use std::fs;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lanlord::bfd::desired::{Desired, SessionDesired, SessionKey};
use lanlord::bfd::status::{SessionStatus, State, Status};
use lanlord::bfd::task;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Namespace, eventually};

/// Runs until dropped, or killed.
pub(crate) struct BfdAgent {
    desired: watch::Sender<Arc<Desired>>,
    status: watch::Receiver<Arc<Status>>,
    stalls: mpsc::UnboundedSender<Duration>,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<Duration>>,
}

impl BfdAgent {
    pub(crate) fn start(namespace: &Namespace, seed: u64) -> Self {
        let shutdown = CancellationToken::new();
        let (desired, desired_in) = watch::channel(Arc::default());
        let (status_out, status) = watch::channel(Arc::default());
        let (stalls, mut pauses) = mpsc::unbounded_channel();
        let (token, entrance) = (shutdown.clone(), namespace.entrance());
        let thread = std::thread::spawn(move || {
            entrance.enter();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.spawn(async move {
                while let Some(pause) = pauses.recv().await {
                    std::thread::sleep(pause);
                }
            });
            runtime.block_on(task::run(desired_in, status_out, seed, token)).unwrap();
            cpu_of_this_thread()
        });
        Self { desired, status, stalls, shutdown, thread: Some(thread) }
    }

    pub(crate) fn want(&self, sessions: impl IntoIterator<Item = (SessionKey, SessionDesired)>) {
        self.desired.send_replace(Arc::new(Desired { sessions: sessions.into_iter().collect(), silent: false }));
    }

    /// Nothing runs on its thread for so long.
    pub(crate) fn stall(&self, pause: Duration) {
        self.stalls.send(pause).unwrap();
    }

    /// What another instance of the node makes of this one: it ends without a word.
    pub(crate) fn superseded(&self) {
        self.desired.send_replace(Arc::new(Desired { silent: true, ..Desired::default() }));
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    pub(crate) fn session(&self, key: &SessionKey) -> SessionStatus {
        self.status().sessions.get(key).cloned().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn comes_up(&self, key: &SessionKey) {
        eventually(&format!("{key:?} is Up"), || self.session(key).state == State::Up);
    }

    /// Ends in order; the processor time it took.
    pub(crate) fn end(mut self) -> Duration {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for BfdAgent {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!failed || std::thread::panicking(), "the task failed");
    }
}

/// utime and stime of `/proc/thread-self/stat`, in hundredths of a second.
pub(super) fn cpu_of_this_thread() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.map(|ticks| 10 * ticks.parse::<u64>().unwrap()).sum())
}
