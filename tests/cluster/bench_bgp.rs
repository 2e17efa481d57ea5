//! From a Service that is created to its route in the router's kernel, and what restarts in place lose. Prints, asserts nothing.
//! `scripts/bench-bgp.sh` runs it.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bgp::{CONFIG, documents, ready, web};
use crate::support::Cluster;
use crate::support::Options;
use crate::support::seen::{name, service};

const SERVICES: usize = 50;
const RESTARTS: usize = 10;
const UPDATES: usize = 5;

/// Killed when dropped.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        // Ended already, if the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One request over the socket of `kubectl proxy`, for a new kubectl would be most of what is measured.
fn request(socket: &Path, verb: &str, path: &str, body: &str) {
    let mut stream = UnixStream::connect(socket).expect("kubectl proxy listens");
    let head = format!("{verb} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n");
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
}

/// When the kernel of the router got or lost which routes.
fn routes(cluster: &Cluster) -> (Beside, mpsc::Receiver<(Instant, String)>) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &cluster.namespace("gw"), "ip", "-4", "-o", "monitor", "route"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("ip runs");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (seen, all) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| seen.send((Instant::now(), line))));
    (Beside(child), all)
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    println!("{what:<70} p50 {:7.0}  p99 {:7.0} ms  ({} runs)", at(50), at(99), times.len());
}

#[test]
#[ignore = "a benchmark: scripts/bench-bgp.sh"]
fn from_a_service_to_the_route() {
    let cluster = Cluster::start(&Options::default());
    let router = cluster.router();
    cluster.backend("web", &["n1", "n2", "n3"]);
    let wide = documents("", "", "").replace("10.99.0.20", "10.99.0.200");
    cluster.configure("metallb.yaml", &wide);
    cluster.agents_start();
    router.wait_established();
    let socket = cluster.path("proxy.sock");
    let mut proxy = cluster.command(&["kubectl"]);
    let _proxy = Beside(proxy.arg("proxy").arg("--unix-socket").arg(&socket).stdout(Stdio::null()).spawn().expect("bash runs"));
    cluster.wait_until(10, "kubectl proxy listens", || socket.exists());
    let (_monitor, seen) = routes(&cluster);
    let (mut first, mut all, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..SERVICES {
        let object = service(&format!("one-{number}"), &json!({}), &json!({}));
        let begun = Instant::now();
        request(&socket, "POST", "/api/v1/namespaces/default/services", &object.to_string());
        let is_it = |line: &str| line.starts_with("10.99.0.") && line.contains("proto bgp");
        let next = |wanted: &dyn Fn(&str) -> bool| {
            loop {
                let (at, line) = seen.recv_timeout(Duration::from_secs(20)).expect("the route changes");
                if wanted(&line) {
                    return at - begun;
                }
            }
        };
        first.push(next(&is_it));
        if first[number] < Duration::from_secs(20) {
            // The nodes are heard one by one, or all at once.
            let address: IpAddr = cluster.address(&name(&object)).expect("it has one").parse().expect("an address");
            cluster.wait_until(10, "all ways", || router.ways(address).len() == 3);
            let last = seen.try_iter().filter(|(_, line)| is_it(line)).last().map(|(at, _)| at - begun);
            all.push(last.unwrap_or(first[number]));
        }
        let begun = Instant::now();
        request(&socket, "DELETE", &format!("/api/v1/namespaces/default/services/one-{number}"), "");
        loop {
            let (at, line) = seen.recv_timeout(Duration::from_secs(20)).expect("the route goes");
            if line.starts_with("Deleted 10.99.0.") {
                gone.push(at - begun);
                break;
            }
        }
        thread::sleep(Duration::from_millis(200));
        seen.try_iter().for_each(drop);
    }
    print("Service created → route in the router's kernel", first);
    print("Service created → ways by all three nodes there", all);
    print("Service deleted → route gone from there", gone);
}

#[test]
#[ignore = "a benchmark: scripts/bench-bgp.sh"]
fn restarts_in_place() {
    let cluster = Cluster::start(&Options::default());
    let router = cluster.router();
    cluster.backend("web", &["n3"]);
    cluster.configure("metallb.yaml", &documents("", "", ""));
    cluster.agents_start();
    let addresses = web(&cluster, &json!({}));
    ready(&cluster, &router, &addresses);
    let kill = |node: usize| {
        let node = format!("n{}", node % 3 + 1);
        cluster.node(&node).agent_kill();
        thread::sleep(Duration::from_secs(1)); // what a container takes to start again
        cluster.node(&node).agent_start(CONFIG);
    };
    let update = |_: usize| cluster.nodes().for_each(|node| node.agent_update(CONFIG));
    let measure = |what: &str, runs: usize, act: &dyn Fn(usize)| {
        let (mut sent, mut lost, mut resets) = (0, 0, 0);
        for run in 0..runs {
            let meter = cluster.meter_afar(addresses[0]);
            act(run);
            thread::sleep(Duration::from_secs(2));
            ready(&cluster, &router, &addresses);
            let report = meter.stop();
            (sent, lost, resets) = (sent + report.sent, lost + report.lost, resets + report.tcp.resets);
        }
        println!("{what:<70} {lost} of {sent} datagrams lost, {resets} of {} connections reset  ({runs} runs)", 20 * runs);
    };
    measure("an agent killed, started again 1 s later", RESTARTS, &kill);
    measure("all three agents updated in place", UPDATES, &update);
}
