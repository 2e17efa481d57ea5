//! Network namespaces with names of our own, and a LAN of them: a bridge in one namespace, hosts in others.

use std::fs::File;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use lanlord::addr::MacAddr;
use nix::sched::{CloneFlags, setns};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace; removed when dropped.
pub(crate) struct Namespace(String);

impl Namespace {
    /// With `lo` up, IPv6 without duplicate address detection and without router advertisements.
    pub(crate) fn new(label: &str) -> Self {
        let name = format!("ll{}-{}-{label}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        let namespace = Self(name);
        namespace.ip("link set lo up");
        for (key, value) in [("accept_dad", "0"), ("dad_transmits", "0"), ("accept_ra", "0")] {
            namespace.sysctl(&format!("net/ipv6/conf/default/{key}"), value);
        }
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// `ip -n NAMESPACE …`; fails the test if it fails.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let all: Vec<&str> = ["-n", &self.0].into_iter().chain(arguments.split_whitespace()).collect();
        run("ip", &all)
    }

    /// Runs `work` on a thread inside this namespace.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.entrance().enter();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// The way in, for a thread that outlives a borrow.
    pub(crate) fn entrance(&self) -> Entrance {
        Entrance(File::open(format!("/run/netns/{}", self.0)).unwrap())
    }

    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        self.enter(|| std::fs::write(format!("/proc/sys/{key}"), value).unwrap_or_else(|error| panic!("{key}: {error}")));
    }

    /// The neighbour entry of `address` on `link`: its MAC and its state, such as `REACHABLE`.
    pub(crate) fn neighbour(&self, link: &str, address: IpAddr) -> Option<(MacAddr, String)> {
        let line = self.ip(&format!("neigh show {address} dev {link}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        let mac = words.iter().position(|word| *word == "lladdr").and_then(|at| words.get(at + 1)?.parse().ok())?;
        Some((mac, (*words.last()?).to_owned()))
    }

    /// Makes the kernel resolve `address`, as any traffic does.
    pub(crate) fn send_datagram(&self, address: IpAddr) {
        self.enter(|| {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = std::net::UdpSocket::bind(any).unwrap();
            // The kernel may report that an earlier attempt found nobody.
            let _ = socket.send_to(b"x", (address, 9));
        });
    }
}

/// An open namespace.
pub(crate) struct Entrance(File);

impl Entrance {
    /// Moves the calling thread into it.
    pub(crate) fn enter(self) {
        setns(self.0, CloneFlags::CLONE_NEWNET).expect("lab tests need root (CAP_SYS_ADMIN)");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {errors}(lab tests need root)", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The MAC of `eth0` of host `number`, as [`Lan::host`] sets it.
pub(crate) fn mac_of(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

/// A bridge `br0` that hosts are attached to. Host N has `eth0` with 10.77.0.N/24, fd77::N/64 and [`mac_of`]`(N)`.
pub(crate) struct Lan {
    pub(crate) switch: Namespace,
}

impl Lan {
    pub(crate) fn new() -> Self {
        let switch = Namespace::new("sw");
        switch.ip("link add br0 type bridge mcast_snooping 0");
        switch.ip("link set br0 up");
        Self { switch }
    }

    pub(crate) fn host(&self, number: u8) -> Namespace {
        self.host_and_port(number).0
    }

    /// A host, and the name of the switch's port it is plugged into.
    pub(crate) fn host_and_port(&self, number: u8) -> (Namespace, String) {
        let host = Namespace::new(&format!("h{number}"));
        let port = self.attach(&host, "eth0", mac_of(number));
        host.ip(&format!("addr add 10.77.0.{number}/24 dev eth0"));
        host.ip(&format!("addr add fd77::{number}/64 dev eth0 nodad"));
        (host, port)
    }

    /// Cuts a port silently, carrier and all stays; or heals it.
    pub(crate) fn cut(&self, port: &str, cut: bool) {
        let state = if cut { "0" } else { "3" };
        run("bridge", &["-n", self.switch.name(), "link", "set", "dev", port, "state", state]);
    }

    /// Plugs a new link of `host` into the switch; returns the name of the switch's port.
    pub(crate) fn attach(&self, host: &Namespace, link: &str, mac: MacAddr) -> String {
        let port = format!("p{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        host.ip(&format!("link add {link} address {mac} type veth peer name {port} netns {}", self.switch.name()));
        self.switch.ip(&format!("link set {port} master br0 up"));
        host.ip(&format!("link set {link} up"));
        port
    }
}
