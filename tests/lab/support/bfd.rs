//! The real `bfd::task` inside a namespace, and its opponents: FRR's bfdd and BIRD.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lanlord::bfd::desired::{Desired, SessionDesired, SessionKey};
use lanlord::bfd::status::{SessionStatus, State, Status};
use lanlord::bfd::task;
use tempfile::TempDir;
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
fn cpu_of_this_thread() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.map(|ticks| 10 * ticks.parse::<u64>().unwrap()).sum())
}

/// A daemon in a namespace, killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(namespace: &Namespace, program: &str, arguments: &[&str]) -> Self {
        assert!(Path::new(program).exists(), "{program} is missing: apt-get install frr bird2");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace.name(), program]).args(arguments);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// FRR's zebra and bfdd.
pub(crate) struct Frr {
    // Dropped in this order.
    daemons: Vec<Daemon>,
    folder: TempDir,
}

impl Frr {
    /// `bfd` is what stands between `bfd` and its `exit`.
    pub(crate) fn start(namespace: &Namespace, bfd: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(format!("{path}/run")).unwrap();
        assert!(Command::new("chown").args(["frr:frr", &format!("{path}/run")]).status().unwrap().success(), "apt-get install frr");
        fs::write(format!("{path}/zebra.conf"), "").unwrap();
        fs::write(format!("{path}/bfdd.conf"), format!("bfd\n{bfd}\nexit\n")).unwrap();
        let mut frr = Self { daemons: Vec::new(), folder };
        for daemon in ["zebra", "bfdd"] {
            frr.start_daemon(namespace, daemon);
        }
        frr
    }

    fn start_daemon(&mut self, namespace: &Namespace, daemon: &str) {
        let path = self.folder.path().to_str().unwrap();
        let (config, pid, sockets) = (format!("{path}/{daemon}.conf"), format!("{path}/run/{daemon}.pid"), format!("{path}/run"));
        let (zebra, control) = (format!("{path}/run/zserv.api"), format!("{path}/run/bfdd.sock"));
        let mut arguments = vec!["-f", &config, "-i", &pid, "--vty_socket", &sockets, "-z", &zebra, "-u", "frr", "-g", "frr", "-P", "0"];
        if daemon == "bfdd" {
            arguments.extend(["--bfdctl", &control]);
        }
        let socket = self.folder.path().join(format!("run/{daemon}.vty"));
        let _ = fs::remove_file(&socket);
        self.daemons.push(Daemon::start(namespace, &format!("/usr/lib/frr/{daemon}"), &arguments));
        eventually(&format!("{daemon} runs"), || socket.exists());
    }

    /// kill -9 of bfdd, and a new one.
    pub(crate) fn restart(&mut self, namespace: &Namespace) {
        drop(self.daemons.pop());
        self.start_daemon(namespace, "bfdd");
    }

    pub(crate) fn configure(&self, lines: &[&str]) {
        let run = self.folder.path().join("run");
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(run).args(["-c", "configure terminal", "-c", "bfd"]);
        command.args(lines.iter().flat_map(|line| ["-c", line]));
        let output = output(&mut command);
        assert!(!output.contains('%'), "{output}");
    }

    /// The member `name` of the session with `peer`, as text; empty if there is none.
    pub(crate) fn peer(&self, peer: IpAddr, name: &str) -> String {
        let run = self.folder.path().join("run");
        let text = output(Command::new("vtysh").arg("--vty_socket").arg(run).args(["-c", "show bfd peers json"]));
        let all: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let peers = all.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = peers.iter().find(|entry| entry["peer"].as_str().and_then(|text| text.parse().ok()) == Some(peer));
        match found.map(|entry| &entry[name]) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

/// BIRD with one BFD protocol.
pub(crate) struct Bird {
    _daemon: Daemon,
    folder: TempDir,
}

impl Bird {
    /// `bfd` is what stands inside of `protocol bfd`.
    pub(crate) fn start(namespace: &Namespace, bfd: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        fs::write(format!("{path}/bird.conf"), Self::config(bfd)).unwrap();
        let [config, control, pid] = ["conf", "ctl", "pid"].map(|end| format!("{path}/bird.{end}"));
        let daemon = Daemon::start(namespace, "/usr/sbin/bird", &["-f", "-c", &config, "-s", &control, "-P", &pid]);
        eventually("BIRD runs", || Path::new(&control).exists());
        Self { _daemon: daemon, folder }
    }

    fn config(bfd: &str) -> String {
        format!("router id 10.77.0.2;\nprotocol device {{}}\nprotocol bfd {{ {bfd} }}\n")
    }

    fn ask(&self, words: &[&str]) -> String {
        output(Command::new("/usr/sbin/birdc").arg("-s").arg(self.folder.path().join("bird.ctl")).args(words))
    }

    pub(crate) fn configure(&self, bfd: &str) {
        fs::write(self.folder.path().join("bird.conf"), Self::config(bfd)).unwrap();
        let answer = self.ask(&["configure"]);
        assert!(answer.contains("Reconfigur"), "{answer}");
    }

    /// The words of the line about `peer`: address, interface, state, since, interval, timeout.
    pub(crate) fn peer(&self, peer: IpAddr) -> Vec<String> {
        let answer = self.ask(&["show", "bfd", "sessions"]);
        let line = answer.lines().find(|line| line.split_whitespace().next().and_then(|text| text.parse().ok()) == Some(peer));
        line.unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect()
    }
}
