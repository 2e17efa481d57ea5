//! The machines of the LAN: nodes with their agents, and the client.

use std::net::IpAddr;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::support::cluster::Cluster;
use crate::support::cluster::result;

/// The socket of the probes, as the agent sees it.
const HEALTH: &str = "/run/lanlord/health.sock";

/// One node of a cluster.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: &'a str,
}

impl Node<'_> {
    /// Starts lanlord as the container of its Pod on this node: `lanlord run --config CONFIG`, and the socket of the manifest.
    #[track_caller]
    pub(crate) fn agent_start(&self, config: &str) {
        self.agent_command(&[&lanlord(), "run", "--config", config, "--health-socket", HEALTH], &[]);
    }

    /// The same, with the API server found as a Pod finds it instead of by a kubeconfig.
    #[track_caller]
    pub(crate) fn agent_start_in_cluster(&self, config: &str) {
        self.agent_command(&[&lanlord(), "run", "--config", config, "--health-socket", HEALTH], &["--in-cluster"]);
    }

    /// Starts any command in the agent's place, with the agent's rights.
    #[track_caller]
    pub(crate) fn agent_command(&self, command: &[&str], options: &[&str]) {
        self.cluster.script(&["agent", "start"], &[&[self.name], options, &["--"], command].concat());
    }

    /// Starts a second lanlord beside the first, as an update with surge does.
    #[track_caller]
    pub(crate) fn agent_beside(&self, config: &str) {
        let command = [&lanlord(), "run", "--config", config, "--health-socket", HEALTH];
        self.cluster.script(&["agent", "beside"], &[&[self.name, "--"], &command[..]].concat());
    }

    /// The first lanlord is stopped, the one beside it is the agent of this node now.
    #[track_caller]
    pub(crate) fn agent_succeed(&self) {
        self.cluster.script(&["agent", "succeed"], &[self.name]);
    }

    /// A whole update with surge: the old instance is stopped once the new one is ready.
    #[track_caller]
    pub(crate) fn agent_update(&self, config: &str) {
        self.agent_beside(config);
        let ready = || self.health_in("beside", "ready").is_ok();
        self.cluster.wait_until(20, &format!("the second agent on {} is ready", self.name), ready);
        self.agent_succeed();
    }

    /// SIGTERM; returns when it has ended.
    #[track_caller]
    pub(crate) fn agent_stop(&self) {
        self.cluster.script(&["agent", "stop"], &[self.name]);
    }

    /// SIGKILL.
    #[track_caller]
    pub(crate) fn agent_kill(&self) {
        self.cluster.script(&["agent", "kill"], &[self.name]);
    }

    /// SIGSTOP.
    #[track_caller]
    pub(crate) fn agent_pause(&self) {
        self.cluster.script(&["agent", "pause"], &[self.name]);
    }

    /// SIGCONT.
    #[track_caller]
    pub(crate) fn agent_resume(&self) {
        self.cluster.script(&["agent", "resume"], &[self.name]);
    }

    /// The node falls silent towards the API server (`pause`), or speaks again (`resume`).
    #[track_caller]
    pub(crate) fn kubelet(&self, action: &str) {
        self.cluster.script(&["kubelet", action], &[self.name]);
    }

    /// kube-proxy is killed (`stop`), or starts again (`start`).
    #[track_caller]
    pub(crate) fn proxy(&self, action: &str) {
        self.cluster.script(&["proxy", action], &[self.name]);
    }

    /// `link` of `scripts/cluster.sh`: down, up, cut, heal, add, delete.
    #[track_caller]
    pub(crate) fn link(&self, action: &str, interface: &str) {
        self.cluster.script(&["link", action], &[self.name, interface]);
    }

    /// This node alone loses the API server (`cut`), or finds it again (`heal`).
    #[track_caller]
    pub(crate) fn api(&self, action: &str) {
        self.cluster.script(&["api", action], &[self.name]);
    }

    /// What a command prints on this node.
    #[track_caller]
    pub(crate) fn run(&self, command: &[&str]) -> String {
        run_in(&self.cluster.namespace(self.name), command)
            .unwrap_or_else(|complaint| panic!("{} on {}: {complaint}", command.join(" "), self.name))
    }

    /// The agent's metrics page.
    pub(crate) fn metrics(&self) -> Result<String, String> {
        let namespace = self.cluster.namespace(self.name);
        run_in(&namespace, &["curl", "-sSf", "--max-time", "2", "http://127.0.0.1:7475/metrics"])
    }

    /// What a probe of the Pod asks: `live` or `ready`. Not yes: why.
    pub(crate) fn health(&self, question: &str) -> Result<String, String> {
        self.health_in(".", question)
    }

    fn health_in(&self, instance: &str, question: &str) -> Result<String, String> {
        let socket = self.cluster.path("agent").join(self.name).join(instance).join(HEALTH.trim_start_matches('/'));
        let output = Command::new(lanlord()).args(["health", question, "--socket"]).arg(socket).stdin(Stdio::null()).output();
        result(&output.expect("lanlord runs"))
    }

    /// What the agent has printed, all its lives.
    pub(crate) fn log(&self) -> String {
        self.cluster.log(self.name)
    }

    /// Whether the agent that was started last on this node hears that of another one, by the last that it says of it.
    pub(crate) fn hears(&self, other: &str) -> bool {
        let (log, of_it) = (self.log(), format!(" node={other} "));
        let lines = log.lines().rev().take_while(|line| !line.contains("\"lanlord starts\""));
        let mut said =
            lines.filter(|line| line.contains("msg=member") || line.contains("msg=\"member ")).filter(|line| line.contains(&of_it));
        said.next().is_some_and(|line| line.contains(" to=Up "))
    }

    /// The hardware address of an interface.
    #[track_caller]
    pub(crate) fn mac(&self, interface: &str) -> String {
        self.run(&["cat", &format!("/sys/class/net/{interface}/address")])
    }
}

/// A machine that knows nothing of Kubernetes.
pub(crate) struct Client {
    namespace: String,
}

impl Client {
    pub(crate) fn new(prefix: &str, place: &str) -> Client {
        Client { namespace: format!("{prefix}-{place}") }
    }

    /// What a command prints on the client, or its complaint.
    pub(crate) fn run(&self, command: &[&str]) -> Result<String, String> {
        run_in(&self.namespace, command)
    }

    /// The body at this URL within two seconds, over a new connection.
    pub(crate) fn http(&self, url: &str) -> Result<String, String> {
        self.run(&["curl", "-gsSf", "--max-time", "2", url])
    }

    /// Who answers for an address on the LAN right now: the hardware address, if anyone does within a second.
    ///
    /// The client forgets what it knew and sends a datagram, so that its kernel has to ask by ARP or NDP.
    pub(crate) fn mac_of(&self, address: IpAddr) -> Option<String> {
        let address = address.to_string();
        self.run(&["ip", "neigh", "flush", "to", &address, "dev", "eth0"]).expect("ip neigh flush");
        // The datagram may be refused; only the question counts.
        let _ = self.run(&["bash", "-c", &format!("echo >/dev/udp/{address}/9")]);
        (0..20).find_map(|_| {
            let shown = self.run(&["ip", "neigh", "show", "to", &address, "dev", "eth0"]).expect("ip neigh show");
            let mut words = shown.split_whitespace().skip_while(|word| *word != "lladdr");
            let mac = words.nth(1).filter(|_| !shown.contains("FAILED")).map(str::to_owned);
            if mac.is_none() {
                thread::sleep(Duration::from_millis(50));
            }
            mac
        })
    }

    /// The node that answers for an address, as `n1`. Nodes' hardware addresses end in 10 + their number, on eth1 in 110 +.
    pub(crate) fn owner_of(&self, address: IpAddr) -> Option<String> {
        let mac = self.mac_of(address)?;
        let host = u8::from_str_radix(mac.strip_prefix("02:77:")?.rsplit(':').next()?, 16).ok()?;
        Some(format!("n{}", host % 100 - 10))
    }

    /// Binds an address to a hardware address by hand, as if somebody had answered.
    pub(crate) fn neighbour(&self, address: IpAddr, mac: &str) {
        let address = address.to_string();
        self.run(&["ip", "neigh", "replace", &address, "lladdr", mac, "dev", "eth0", "nud", "permanent"]).expect("ip neigh replace");
    }
}

/// The binary under test.
pub(crate) fn lanlord() -> String {
    std::env::var("LANLORD_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_lanlord").to_owned())
}

/// What a command prints in a network namespace, or its complaint.
pub(crate) fn run_in(namespace: &str, command: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(["netns", "exec", namespace]).args(command).stdin(Stdio::null()).output();
    result(&output.expect("ip runs"))
}
