//! What a client sees of an address while things go wrong: the program `tests/cluster/kube/meter`, on the client.
//!
//! While it runs nothing else may make the client's kernel ask for the address (`Client::mac_of` does): that would heal what is measured.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::net::IpAddr;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Stdio;

use serde::Deserialize;

use crate::support::Cluster;
use crate::support::service::url;

/// Connections that are held.
pub(crate) const CONNECTIONS: usize = 20;

/// A running measurement.
pub(crate) struct Meter {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// What it measured; `tests/cluster/kube/meter/main.go` says it in full.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Report {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// The longest outage in milliseconds, by times of sending.
    pub(crate) longest_ms: f64,
    /// How late the meter itself was at most, in milliseconds.
    pub(crate) late_ms: f64,
    pub(crate) tcp: Held,
    pub(crate) who: Vec<Answerer>,
    /// For how many milliseconds at most two machines answered for the address.
    pub(crate) two_ms: f64,
}

/// What became of the TCP connections.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Held {
    /// How many ended unasked; each was made anew.
    pub(crate) resets: u64,
    /// The longest wait for an answer, a new connection included, in milliseconds.
    pub(crate) longest_ms: f64,
}

/// A machine that answered for the address.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Answerer {
    pub(crate) mac: String,
}

impl Cluster {
    /// Measures at this address from now on: returns when traffic flows.
    #[track_caller]
    pub(crate) fn meter(&self, address: IpAddr) -> Meter {
        self.meter_at("cl", address, &["--who", "eth0"])
    }

    /// The same at the client behind the router, who cannot ask the LAN. Its datagrams are one flow, its connections several.
    #[track_caller]
    pub(crate) fn meter_afar(&self, address: IpAddr) -> Meter {
        self.meter_at("far", address, &[])
    }

    #[track_caller]
    fn meter_at(&self, place: &str, address: IpAddr, more: &[&str]) -> Meter {
        let (address, connections) = (address.to_string(), CONNECTIONS.to_string());
        let mut command = self.command(&["exec"]);
        command.args([place, "meter", "--to", &address, "--connections", &connections]).args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash runs");
        let mut meter = Meter { output: BufReader::new(child.stdout.take().expect("it is piped")), child };
        let mut line = String::new();
        meter.output.read_line(&mut line).expect("it is piped");
        assert_eq!(line, "{\"running\":true}\n", "the meter begins");
        meter
    }

    /// Waits until the client is served at this address, over the hardware address its kernel believes in.
    #[track_caller]
    pub(crate) fn wait_served(&self, seconds: u64, address: IpAddr) {
        self.wait_until(seconds, &format!("{address} serves the client"), || self.client.http(&url(address)).is_ok());
    }
}

impl Meter {
    /// Ends the measurement.
    pub(crate) fn stop(mut self) -> Report {
        drop(self.child.stdin.take());
        let mut report = String::new();
        self.output.read_to_string(&mut report).expect("it is piped");
        serde_json::from_str(&report).unwrap_or_else(|error| panic!("the meter ends with a report: {error}: {report}"))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // Ended already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    /// One line for people.
    #[expect(clippy::print_stdout, reason = "a measurement is for people")]
    pub(crate) fn print(&self, what: &str) -> &Report {
        println!(
            "{what}: {} of {} datagrams lost, the client without an answer for {:.0} ms; {} of {CONNECTIONS} connections reset, longest wait \
             {:.0} ms; two answered for {:.0} ms (the meter was late by {:.0} ms)",
            self.lost, self.sent, self.longest_ms, self.tcp.resets, self.tcp.longest_ms, self.two_ms, self.late_ms
        );
        self
    }

    /// Nothing was lost, no connection ended.
    #[track_caller]
    pub(crate) fn assert_unnoticed(&self, what: &str) {
        self.print(what);
        assert_eq!((self.lost, self.tcp.resets), (0, 0), "{what}: {self:?}");
    }

    /// The client was without an answer for some time, but not for longer than this.
    #[track_caller]
    pub(crate) fn assert_outage(&self, what: &str, most_ms: f64) {
        self.print(what);
        assert!(self.lost > 0 && self.longest_ms < most_ms, "{what}: {self:?}");
    }
}
