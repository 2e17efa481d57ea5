//! The real `bgp::task` inside a namespace, with `bfd::task` and `net::link` beside it.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lanlord::bfd;
use lanlord::bgp::desired::{Desired, PeerKey, PeersDesired};
use lanlord::bgp::diary::Entry;
use lanlord::bgp::session::Restart;
use lanlord::bgp::status::{PeerStatus, State, Status};
use lanlord::bgp::task::{self, Inputs, Outputs};
use lanlord::net::link;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::bfd::cpu_of_this_thread;
use super::{Namespace, now};

/// Runs until dropped. Then it ends as a restart does: without a word.
pub(crate) struct BgpAgent {
    desired: watch::Sender<Arc<PeersDesired>>,
    superseded: watch::Sender<bool>,
    status: watch::Receiver<Arc<Status>>,
    entries: RefCell<mpsc::UnboundedReceiver<Entry>>,
    told: RefCell<Vec<String>>,
    leave: CancellationToken,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<Duration>>,
}

impl BgpAgent {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        let entrance = namespace.entrance();
        Self::start_where(|| entrance.enter())
    }

    /// Where this process is.
    pub(crate) fn start_here() -> Self {
        Self::start_where(|| ())
    }

    fn start_where(enter: impl FnOnce() + Send + 'static) -> Self {
        let (leave, shutdown) = (CancellationToken::new(), CancellationToken::new());
        let (desired, desired_in) = watch::channel(Arc::default());
        let (superseded, superseded_in) = watch::channel(false);
        let (status_out, status) = watch::channel(Arc::default());
        let (diary, entries) = mpsc::unbounded_channel();
        let tokens = (leave.clone(), shutdown.clone());
        let thread = std::thread::spawn(move || {
            enter();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (links_out, links) = watch::channel(Arc::default());
            let (bfd_out, bfd) = watch::channel(Arc::default());
            let (sessions, sessions_in) = watch::channel(Arc::default());
            let inputs = Inputs { desired: desired_in, superseded: superseded_in, links, bfd };
            let outputs = Outputs { status: status_out, bfd: sessions, diary };
            let rest = CancellationToken::new();
            let all = async {
                let bgp = async {
                    let result = task::run(inputs, outputs, Some(Restart { forwarding: true }), 1, tokens.0, tokens.1).await;
                    rest.cancel();
                    result
                };
                tokio::try_join!(link::run(links_out, rest.clone()), bfd::task::run(sessions_in, bfd_out, 1, rest.clone()), bgp)
            };
            runtime.block_on(all).unwrap();
            cpu_of_this_thread()
        });
        Self {
            desired,
            superseded,
            status,
            entries: RefCell::new(entries),
            told: RefCell::default(),
            leave,
            shutdown,
            thread: Some(thread),
        }
    }

    pub(crate) fn want<'a>(&self, peers: impl IntoIterator<Item = (&'a str, Desired)>) {
        self.desired.send_replace(Arc::new(peers.into_iter().map(|(name, desired)| (PeerKey::from(name), desired)).collect()));
    }

    pub(crate) fn peer(&self, name: &str) -> PeerStatus {
        self.status.borrow().peers.get(&PeerKey::from(name)).cloned().unwrap_or_default()
    }

    pub(crate) fn state(&self, name: &str) -> State {
        self.peer(name).session.state
    }

    /// The last failure, in words.
    pub(crate) fn failure(&self, name: &str) -> String {
        self.peer(name).session.last_failure.map(|failure| failure.to_string()).unwrap_or_default()
    }

    /// Waits until people are told something with both in it that was not asked for before.
    #[track_caller]
    pub(crate) fn tells(&self, one: &str, other: &str) {
        let start = now();
        let mut told = self.told.borrow_mut();
        loop {
            while let Ok(entry) = self.entries.borrow_mut().try_recv() {
                told.push(format!("{}: {}", entry.reason, entry.message));
            }
            if let Some(at) = told.iter().position(|told| told.contains(one) && told.contains(other)) {
                told.remove(at);
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{one:?} with {other:?} was expected, {told:?} is told");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits longer than attempts are apart.
    #[track_caller]
    pub(crate) fn comes_up(&self, name: &str) {
        let start = now();
        while self.state(name) != State::Established {
            assert!(start.elapsed() < Duration::from_secs(20), "{name} is {}: {}", self.state(name), self.failure(name));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What another instance of the node makes of this one.
    pub(crate) fn superseded(&self) {
        self.superseded.send_replace(true);
    }

    /// Ends without a word; the processor time it took.
    pub(crate) fn end(mut self) -> Duration {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Takes everything back in order.
    pub(crate) fn leave(mut self) {
        self.leave.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for BgpAgent {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!failed || std::thread::panicking(), "the task failed");
    }
}
