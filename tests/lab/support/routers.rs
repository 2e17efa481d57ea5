//! Routers of other people inside a namespace: FRR, BIRD, GoBGP.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Namespace, eventually};

/// A daemon in a namespace, killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(namespace: &Namespace, program: &str, arguments: &[&str]) -> Self {
        assert!(Path::new(program).exists(), "{program} is missing: apt-get install frr bird2 gobgpd");
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

/// FRR: zebra and one or more of its other daemons.
pub(crate) struct Frr {
    // Dropped in this order.
    daemons: Vec<(&'static str, Daemon)>,
    folder: TempDir,
}

impl Frr {
    /// With BFD alone; `bfd` is what stands between `bfd` and its `exit`.
    pub(crate) fn start(namespace: &Namespace, bfd: &str) -> Self {
        Self::run(namespace, &[("bfdd", &format!("bfd\n{bfd}\nexit\n"))])
    }

    /// With these daemons and their configurations.
    pub(crate) fn run(namespace: &Namespace, daemons: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(format!("{path}/run")).unwrap();
        assert!(Command::new("chown").args(["frr:frr", &format!("{path}/run")]).status().unwrap().success(), "apt-get install frr");
        let mut frr = Self { daemons: Vec::new(), folder };
        for (daemon, config) in [("zebra", "")].iter().chain(daemons) {
            fs::write(format!("{path}/{daemon}.conf"), config).unwrap();
            frr.start_daemon(namespace, daemon);
        }
        frr
    }

    fn start_daemon(&mut self, namespace: &Namespace, daemon: &'static str) {
        let path = self.folder.path().to_str().unwrap();
        let (config, pid, sockets) = (format!("{path}/{daemon}.conf"), format!("{path}/run/{daemon}.pid"), format!("{path}/run"));
        let (zebra, control) = (format!("{path}/run/zserv.api"), format!("{path}/run/bfdd.sock"));
        let mut arguments = vec!["-f", &config, "-i", &pid, "--vty_socket", &sockets, "-z", &zebra, "-u", "frr", "-g", "frr", "-P", "0"];
        if daemon == "bfdd" {
            arguments.extend(["--bfdctl", &control]);
        }
        let socket = self.folder.path().join(format!("run/{daemon}.vty"));
        let _ = fs::remove_file(&socket);
        self.daemons.push((daemon, Daemon::start(namespace, &format!("/usr/lib/frr/{daemon}"), &arguments)));
        eventually(&format!("{daemon} runs"), || socket.exists());
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, daemon: &str) {
        self.daemons.retain(|(name, _)| *name != daemon);
    }

    /// kill -9 of a daemon, and a new one.
    pub(crate) fn restart(&mut self, namespace: &Namespace, daemon: &'static str) {
        self.kill(daemon);
        self.start_daemon(namespace, daemon);
    }

    /// The answer to a command such as `show bgp summary`.
    pub(crate) fn show(&self, command: &str) -> String {
        let run = self.folder.path().join("run");
        output(Command::new("vtysh").arg("--vty_socket").arg(run).args(["-c", command]))
    }

    /// The answer to a command that ends in `json`; null if it is no JSON.
    pub(crate) fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.show(command)).unwrap_or_default()
    }

    /// Lines for `configure terminal`.
    pub(crate) fn change(&self, lines: &[&str]) {
        let run = self.folder.path().join("run");
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(run).args(["-c", "configure terminal"]);
        command.args(lines.iter().flat_map(|line| ["-c", line]));
        let output = output(&mut command);
        assert!(!output.contains('%'), "{output}");
    }

    /// A whole `frr.conf`, given as a person would; what FRR does not take of it.
    pub(crate) fn load(&self, config: &str) -> String {
        let file = self.folder.path().join("frr.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("vtysh");
        let output = command.arg("--vty_socket").arg(self.folder.path().join("run")).arg("-f").arg(file).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        // It reports each line that it reads a block of.
        said.lines().filter(|line| !line.contains("Configuration Read in Took")).collect::<Vec<_>>().join("\n")
    }

    /// The only path to a prefix; null if there is none.
    pub(crate) fn path(&self, prefix: &str) -> Value {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let mut route = self.json(&format!("show bgp {family} unicast {prefix} json"));
        route["paths"].get_mut(0).map(Value::take).unwrap_or_default()
    }

    /// A member of the neighbour's description.
    pub(crate) fn neighbour(&self, address: &str, name: &str) -> Value {
        self.json(&format!("show bgp neighbors {address} json"))[address][name].take()
    }

    /// Lines inside of `bfd`.
    pub(crate) fn configure(&self, lines: &[&str]) {
        self.change(&[&["bfd"], lines].concat());
    }

    /// The member `name` of the session with `peer`, as text; empty if there is none.
    pub(crate) fn peer(&self, peer: IpAddr, name: &str) -> String {
        let all = self.json("show bfd peers json");
        let peers = all.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = peers.iter().find(|entry| entry["peer"].as_str().and_then(|text| text.parse().ok()) == Some(peer));
        match found.map(|entry| &entry[name]) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

/// BIRD.
pub(crate) struct Bird {
    daemon: Option<Daemon>,
    folder: TempDir,
}

impl Bird {
    /// With BFD alone; `bfd` is what stands inside of `protocol bfd`.
    pub(crate) fn start(namespace: &Namespace, bfd: &str) -> Self {
        Self::run(namespace, &Self::config(bfd))
    }

    /// With this configuration, beside router id and devices.
    pub(crate) fn run(namespace: &Namespace, config: &str) -> Self {
        Self::run_whole(namespace, &Self::whole(config))
    }

    /// With a whole `bird.conf`.
    pub(crate) fn run_whole(namespace: &Namespace, config: &str) -> Self {
        let mut bird = Self { daemon: None, folder: tempfile::tempdir().unwrap() };
        bird.write(config);
        bird.restart(namespace);
        bird
    }

    /// What BIRD does not take of a whole `bird.conf`.
    pub(crate) fn check(config: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bird.conf");
        fs::write(&file, config).unwrap();
        let output = Command::new("/usr/sbin/bird").arg("-p").arg("-c").arg(file).output().unwrap();
        assert!(output.status.success() || !output.stderr.is_empty(), "BIRD says why");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn whole(config: &str) -> String {
        format!("router id 10.77.0.2;\nprotocol device {{}}\n{config}\n")
    }

    fn write(&self, config: &str) {
        fs::write(self.folder.path().join("bird.conf"), config).unwrap();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.daemon = None;
    }

    /// kill -9, and a new one.
    pub(crate) fn restart(&mut self, namespace: &Namespace) {
        self.kill();
        let path = self.folder.path().to_str().unwrap();
        let [config, control, pid] = ["conf", "ctl", "pid"].map(|end| format!("{path}/bird.{end}"));
        let _ = fs::remove_file(&control);
        self.daemon = Some(Daemon::start(namespace, "/usr/sbin/bird", &["-f", "-c", &config, "-s", &control, "-P", &pid]));
        eventually("BIRD runs", || Path::new(&control).exists());
    }

    fn config(bfd: &str) -> String {
        format!("protocol bfd {{ {bfd} }}")
    }

    /// The answer to a command.
    pub(crate) fn ask(&self, command: &str) -> String {
        let words = command.split_whitespace();
        output(Command::new("/usr/sbin/birdc").arg("-s").arg(self.folder.path().join("bird.ctl")).args(words))
    }

    pub(crate) fn configure(&self, bfd: &str) {
        self.change(&Self::config(bfd));
    }

    /// Another configuration.
    pub(crate) fn change(&self, config: &str) {
        self.write(&Self::whole(config));
        let answer = self.ask("configure");
        assert!(answer.contains("Reconfigur"), "{answer}");
    }

    /// The words of the line about `peer`: address, interface, state, since, interval, timeout.
    pub(crate) fn peer(&self, peer: IpAddr) -> Vec<String> {
        let answer = self.ask("show bfd sessions");
        let line = answer.lines().find(|line| line.split_whitespace().next().and_then(|text| text.parse().ok()) == Some(peer));
        line.unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect()
    }

    /// The attributes of the only route to a prefix, such as `med: 5`, in BIRD's order.
    pub(crate) fn attributes(&self, prefix: &str) -> Vec<String> {
        let answer = self.ask(&format!("show route all {prefix}"));
        answer.lines().filter_map(|line| line.trim().strip_prefix("BGP.")).map(ToOwned::to_owned).collect()
    }
}

/// GoBGP.
pub(crate) struct GoBgp {
    _daemon: Daemon,
    folder: TempDir,
}

impl GoBgp {
    /// With this configuration.
    pub(crate) fn run(namespace: &Namespace, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gobgpd.toml");
        fs::write(&file, config).unwrap();
        let api = format!("unix://{}", folder.path().join("api.sock").display());
        let arguments = ["-f", file.to_str().unwrap(), "--api-hosts", &api, "--pprof-disable", "--log-plain"];
        let gobgp = Self { _daemon: Daemon::start(namespace, "/usr/bin/gobgpd", &arguments), folder };
        eventually("gobgpd runs", || gobgp.ask("global").contains("AS:"));
        gobgp
    }

    /// The answer to a command.
    pub(crate) fn ask(&self, command: &str) -> String {
        let api = format!("unix://{}", self.folder.path().join("api.sock").display());
        output(Command::new("/usr/bin/gobgp").args(["--target", &api]).args(command.split_whitespace()))
    }

    /// The words of the line about the route to a prefix: next hop, AS path, age, attributes; empty if there is none.
    pub(crate) fn route(&self, prefix: &str) -> Vec<String> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let answer = self.ask(&format!("global rib -a {family}"));
        let line = answer.lines().find_map(|line| line.split_once(prefix).map(|(_, rest)| rest));
        line.unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect()
    }
}
