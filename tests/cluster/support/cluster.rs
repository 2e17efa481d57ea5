//! A cluster that lives as long as its value.
//!
//! Its name carries this process's id, so tests run side by side, and what a killed test run left behind is found and removed
//! by the next one.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::support::place::Client;
use crate::support::place::Node;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DIRECTORIES: &str = "/tmp/lanlord-cluster-";
static STARTED: AtomicU32 = AtomicU32::new(0);

/// How the cluster differs from three nodes with kube-proxy in nftables mode.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Nodes n1, n2, …
    pub(crate) nodes: usize,
    /// Node and mode, where it is not nftables.
    pub(crate) proxy_mode_of: Vec<(&'static str, &'static str)>,
    /// Nodes with a second link eth1 in the same subnet.
    pub(crate) two_links: Vec<&'static str>,
    /// The bridge forwards multicast only where it was asked for.
    pub(crate) mld_snooping: bool,
    /// Seconds of silence after which a node is NotReady.
    pub(crate) grace: u32,
    /// Somebody is 10.77.0.1 and fd77::1, the next hop of all nodes.
    pub(crate) gateway: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { nodes: 3, proxy_mode_of: Vec::new(), two_links: Vec::new(), mld_snooping: false, grace: 8, gateway: true }
    }
}

impl Options {
    fn arguments(&self, prefix: &str) -> Vec<String> {
        let mut arguments: Vec<String> = ["--prefix", prefix].map(str::to_owned).into();
        arguments.extend(["--nodes".into(), self.nodes.to_string(), "--grace".into(), self.grace.to_string()]);
        for (node, mode) in &self.proxy_mode_of {
            arguments.extend(["--proxy-mode-of".into(), format!("{node}={mode}")]);
        }
        for node in &self.two_links {
            arguments.extend(["--two-links".into(), (*node).into()]);
        }
        if self.mld_snooping {
            arguments.push("--mld-snooping".into());
        }
        if !self.gateway {
            arguments.push("--no-gateway".into());
        }
        arguments
    }
}

/// A running cluster.
pub(crate) struct Cluster {
    /// Everything but its namespaces.
    pub(crate) directory: PathBuf,
    prefix: String,
    /// The client: a machine of the LAN that is no part of the cluster.
    pub(crate) client: Client,
    /// Another one, behind the router.
    pub(crate) far: Client,
    nodes: Vec<String>,
}

impl Cluster {
    /// A cluster with Lanlord's manifest applied: its namespace, its ServiceAccount with exactly those rights, its DaemonSet,
    /// whose Pods wait for [`Node::agent_start`]. There is no configuration yet.
    pub(crate) fn start(options: &Options) -> Cluster {
        let cluster = Cluster::bare(options);
        cluster.kubectl(&["apply", "-f", &format!("{ROOT}/manifests/lanlord.yaml")]);
        cluster
    }

    /// A cluster without Lanlord.
    pub(crate) fn bare(options: &Options) -> Cluster {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            remove_leftovers();
        }
        let me = std::process::id();
        let (directory, prefix) = (PathBuf::from(format!("{DIRECTORIES}{me}-{number}")), format!("lt{me}x{number}"));
        let [client, far] = ["cl", "far"].map(|place| Client::new(&prefix, place));
        let nodes = (1..=options.nodes).map(|i| format!("n{i}")).collect();
        // Made first: a start that fails half way is taken down as well.
        let cluster = Cluster { directory, prefix, client, far, nodes };
        let arguments = options.arguments(&cluster.prefix);
        cluster.script(&["up"], &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        cluster
    }

    /// The namespace of a place: cp, cl, sw, n1, …
    pub(crate) fn namespace(&self, place: &str) -> String {
        format!("{}-{place}", self.prefix)
    }

    /// Node n1, n2, …
    pub(crate) fn node<'a>(&'a self, name: &'a str) -> Node<'a> {
        Node { cluster: self, name }
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.nodes.iter().map(|name| self.node(name))
    }

    /// kubectl as administrator; what it printed, or a failed test with what it complained of.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|complaint| panic!("kubectl {}: {complaint}", arguments.join(" ")))
    }

    /// kubectl as administrator where a refusal is part of the test.
    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        result(&self.command(&["kubectl"]).args(arguments).output().expect("bash runs"))
    }

    /// `kubectl apply` of a text.
    #[track_caller]
    pub(crate) fn apply(&self, yaml: &str) {
        let mut command = self.command(&["kubectl"]);
        command.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("bash runs");
        child.stdin.take().expect("it is piped").write_all(yaml.as_bytes()).expect("kubectl reads");
        let output = child.wait_with_output().expect("it was started");
        assert!(output.status.success(), "kubectl apply: {}\n{yaml}", text(&output.stderr));
    }

    /// A Pod NAME-NODE on each of these nodes, labelled app=NAME, that answers HTTP with `pod=… node=… client=…`.
    #[track_caller]
    pub(crate) fn backend(&self, name: &str, nodes: &[&str]) {
        self.script(&["backend"], &[name, "--nodes", &nodes.join(",")]);
    }

    /// `control-plane` of `scripts/cluster.sh`: stop, start, kill, pause, resume.
    #[track_caller]
    pub(crate) fn control_plane(&self, action: &str) {
        self.script(&["control-plane", action], &[]);
    }

    /// One action of `scripts/cluster.sh`, for what has no method here.
    #[track_caller]
    pub(crate) fn script(&self, action: &[&str], arguments: &[&str]) -> String {
        let output = self.command(action).args(arguments).output().expect("bash runs");
        let said = action.iter().chain(arguments).copied().collect::<Vec<_>>().join(" ");
        result(&output).unwrap_or_else(|complaint| panic!("cluster.sh {said}: {complaint}"))
    }

    /// The same, not run yet.
    pub(crate) fn command(&self, action: &[&str]) -> Command {
        let mut command = Command::new(format!("{ROOT}/scripts/cluster.sh"));
        command.args(action).arg(&self.directory).stdin(Stdio::null());
        command
    }

    /// Nodes or `cp` lose power (`off`) or boot again (`on`), all at once.
    #[track_caller]
    pub(crate) fn power(&self, action: &str, places: &[&str]) {
        self.script(&["power", action], places);
    }

    /// `lan` of `scripts/cluster.sh`: block, unblock (from, to); filter, pass (port).
    #[track_caller]
    pub(crate) fn lan(&self, action: &str, arguments: &[&str]) {
        self.script(&["lan", action], arguments);
    }

    /// A file in the directory of this cluster.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What the agent on this node has printed, all its lives.
    pub(crate) fn log(&self, node: &str) -> String {
        fs::read_to_string(self.directory.join(format!("log/agent-{node}.log"))).unwrap_or_default()
    }

    /// Asks ten times a second until the condition holds.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "a test's patience is real time")]
    pub(crate) fn wait_until(&self, seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !holds() {
            assert!(Instant::now() < end, "waited {seconds} s in vain: {what}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the agents said last and what people would look at.
    fn report(&self) -> String {
        let looks: [&[&str]; 4] = [
            &["describe", "services", "-A"],
            &["get", "leases", "-n", "lanlord", "-o", "wide"],
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "events", "-A"],
        ];
        let shown = looks.map(|look| {
            let look = [look, &["--request-timeout=2s"]].concat();
            let answer = self.try_kubectl(&look).unwrap_or_else(|complaint| complaint);
            format!("--- kubectl {}\n{answer}", look.join(" "))
        });
        let logs = self.nodes.iter().map(|node| format!("--- agent on {node}\n{}", tail(&self.log(node), 30)));
        shown.into_iter().chain(logs).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stdout, reason = "what a failed test shows")]
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.report());
            if std::env::var_os("LANLORD_KEEP").is_some() {
                return;
            }
        }
        take_down(&self.directory);
    }
}

fn take_down(directory: &Path) {
    let status = Command::new(format!("{ROOT}/scripts/cluster.sh")).arg("down").arg(directory).stdin(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) {
        // Best effort: only logs are left, and the next run tries again.
        let _ = fs::remove_dir_all(directory);
    }
}

/// Takes down the clusters of test runs that were killed.
fn remove_leftovers() {
    let (folder, name) = DIRECTORIES.rsplit_once('/').expect("it is a path");
    for entry in fs::read_dir(folder).expect("/tmp is there").flatten() {
        let found = entry.file_name();
        let pid = found.to_str().and_then(|found| found.strip_prefix(name)).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            take_down(&entry.path());
        }
    }
}

/// Standard output, or the complaint.
pub(crate) fn result(output: &Output) -> Result<String, String> {
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
