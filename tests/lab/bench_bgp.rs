//! What 10,000 routes cost, and how soon the way by a node that is cut off is gone: beside GoBGP and FRR in the same run, with FRR and BIRD
//! as routers. Prints, asserts nothing. `scripts/bench-bgp.sh` runs it.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lanlord::bgp::desired::{Bfd, Desired, Route, Routes};

use crate::bgp::{bird_config, frr_config, session, two, with};
use crate::support::{BgpAgent, Bird, Frr, GoBgp, Lan, Namespace, now};

const MS: Duration = Duration::from_millis(1);
const ROUTES: usize = 10_000;
const ROUNDS: usize = 5;
const CUTS: usize = 20;
const PEERS: u8 = 4;
const PATIENCE: Duration = Duration::from_secs(30);
/// What the child process of the measurement of memory is told by.
const CHILD: &str = "LANLORD_BENCH_BGP_CHILD";

fn prefixes() -> impl Iterator<Item = Ipv4Addr> {
    (0..ROUTES as u32).map(|n| Ipv4Addr::from_bits(0x6440_0000 + n))
}

/// With the attributes that [`dump`] has.
fn routes() -> Arc<Routes> {
    let route = Arc::new(Route { med: Some(42), communities: [(64512 << 16) + 7].into(), ..Route::default() });
    Arc::new(prefixes().map(|address| (format!("{address}/32").parse().unwrap(), Arc::clone(&route))).collect())
}

/// The same routes as GoBGP takes many at once: MRT, TABLE_DUMP_V2 (RFC 6396 §4.3). Some of them twice, for its client ends before the
/// last have arrived.
fn dump() -> Vec<u8> {
    let peer = [&[2][..], &[10, 77, 0, 1], &[10, 77, 0, 1], &64600_u32.to_be_bytes()].concat();
    let mut all = record(1, &[&[10, 77, 0, 1, 0, 0, 0, 1][..], &peer].concat());
    let attributes = [
        &[0x40, 1, 1, 0][..],         // ORIGIN IGP
        &[0x40, 2, 0],                // AS_PATH, empty
        &[0x40, 3, 4, 10, 77, 0, 1],  // NEXT_HOP
        &[0x80, 4, 4, 0, 0, 0, 42],   // MULTI_EXIT_DISC
        &[0xc0, 8, 4, 0xfc, 0, 0, 7], // COMMUNITIES
    ]
    .concat();
    for (sequence, address) in (0_u32..).zip(prefixes().chain(prefixes().take(ROUTES / 3))) {
        let entry = [&[0, 1, 0, 0, 0, 0, 0, 0][..], &(attributes.len() as u16).to_be_bytes(), &attributes].concat();
        all.extend(record(2, &[&sequence.to_be_bytes()[..], &[32], &address.octets(), &entry].concat()));
    }
    all
}

fn record(subtype: u16, body: &[u8]) -> Vec<u8> {
    let head = [&[0; 4][..], &13_u16.to_be_bytes(), &subtype.to_be_bytes(), &(body.len() as u32).to_be_bytes()].concat();
    [&head[..], body].concat()
}

/// GoBGP in the place of Lanlord.
struct Rival {
    gobgp: GoBgp,
    folder: tempfile::TempDir,
}

impl Rival {
    fn start(node: &Namespace, routers: impl Iterator<Item = u8>) -> Self {
        let neighbour = |number: u8| {
            format!(
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"10.77.0.{number}\"\npeer-as = 64512\n\
                 [neighbors.timers.config]\nconnect-retry = 1\nhold-time = 9\nkeepalive-interval = 3\n"
            )
        };
        let global = "[global.config]\nas = 64600\nrouter-id = \"10.77.0.1\"\n[global.apply-policy.config]\n\
                      default-export-policy = \"reject-route\"\n[[policy-definitions]]\nname = \"all\"\n\
                      [[policy-definitions.statements]]\nname = \"all\"\n[policy-definitions.statements.actions]\n\
                      route-disposition = \"accept-route\"\n"
            .to_owned();
        let gobgp = GoBgp::run(node, &(global + &routers.map(neighbour).collect::<String>()));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("dump"), dump()).unwrap();
        Self { gobgp, folder }
    }

    fn wait_established(&self, peers: u8) {
        until(|| self.gobgp.ask("neighbor").matches("Establ").count() == usize::from(peers));
    }

    /// It has all routes then, and tells nobody.
    fn learn(&self) {
        let file = self.folder.path().join("dump");
        let has_all = || self.gobgp.ask("global rib summary").contains(&format!("Destination: {ROUTES},"));
        until(|| {
            self.gobgp.ask(&format!("mrt inject global {}", file.display()));
            has_all()
        });
    }

    fn announce(&self) {
        self.gobgp.ask("global policy export add all default reject");
        self.gobgp.ask("neighbor all softresetout");
    }

    fn withdraw(&self) {
        self.gobgp.ask("global rib del all");
    }
}

/// How many IPv4 prefixes a kernel has, those of its own addresses with them.
fn in_kernel(router: &Namespace) -> usize {
    router.enter(|| {
        let text = fs::read_to_string("/proc/thread-self/net/fib_triestat").unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("Prefixes:")).unwrap();
        line.trim().parse().unwrap()
    })
}

/// How long it takes until the condition holds, looked at every millisecond.
#[track_caller]
fn until(mut condition: impl FnMut() -> bool) -> Duration {
    let start = now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "nothing came of it");
        thread::sleep(MS);
    }
    start.elapsed()
}

/// A line for people: the smallest, the median and the largest in milliseconds.
fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |index: usize| times[index].as_secs_f64() * 1000.0;
    let last = times.len() - 1;
    println!("{what:<70} min {:7.0}  p50 {:7.0}  max {:7.0} ms  ({} runs)", at(0), at(last / 2), at(last), times.len());
}

/// A router; it runs as long as it is kept.
#[expect(dead_code, reason = "only its kernel is asked")]
enum Opponent {
    Frr(Frr),
    Bird(Bird),
}

impl Opponent {
    fn start(name: &str, router: &Namespace) -> Self {
        match name {
            "FRR" => Self::Frr(Frr::run(router, &[("bgpd", &frr_config(&["10.77.0.1"], "64600", " timers bgp 3 9\n"))])),
            _ => Self::Bird(Bird::run(router, &bird_config("10.77.0.1", 64600, ""))),
        }
    }
}

#[test]
#[ignore = "a benchmark: scripts/bench-bgp.sh"]
fn ten_thousand_routes_beside_gobgp() {
    let all = routes();
    for name in ["FRR", "BIRD"] {
        let mut times: Times<'_> = BTreeMap::new();
        // In turns, so that both meet the same machine.
        for _ in 0..ROUNDS {
            {
                let (_lan, node, router) = two();
                let (_opponent, before) = (Opponent::start(name, &router), in_kernel(&router));
                let agent = BgpAgent::start(&node);
                let peer = Desired { routes: Arc::clone(&all), ..with(session("10.77.0.2"), &[]) };
                let none = || agent.want([("router", with(session("10.77.0.2"), &[]))]);
                none();
                agent.comes_up("router");
                run(&mut times, "Lanlord", &router, before, || agent.want([("router", peer.clone())]), none);
            }
            let (_lan, node, router) = two();
            let (_opponent, before) = (Opponent::start(name, &router), in_kernel(&router));
            let rival = Rival::start(&node, [2].into_iter());
            rival.wait_established(1);
            rival.learn();
            run(&mut times, "GoBGP", &router, before, || rival.announce(), || rival.withdraw());
        }
        for ((what, who), times) in times {
            print(&format!("10,000 routes {what} the kernel of {name}: {who}"), times);
        }
    }
}

/// By what was done, and who did it.
type Times<'a> = BTreeMap<(&'a str, &'a str), Vec<Duration>>;

/// Announces and withdraws all, and measures from the command on.
fn run<'a>(times: &mut Times<'a>, who: &'a str, router: &Namespace, before: usize, announce: impl Fn(), withdraw: impl Fn()) {
    // An interval between advertisements that follow each other (RFC 4271 §9.2.1.1) is no part of this.
    thread::sleep(Duration::from_secs(2));
    for (what, action, count) in [("into", &announce as &dyn Fn(), ROUTES), ("out of", &withdraw, 0)] {
        let start = now();
        action();
        until(|| in_kernel(router) == before + count);
        times.entry((what, who)).or_default().push(start.elapsed());
        thread::sleep(Duration::from_secs(1));
    }
}

#[test]
#[ignore = "a benchmark: scripts/bench-bgp.sh"]
fn memory_with_ten_thousand_routes_and_four_peers() {
    let routers = || 2..2 + PEERS;
    let lan = Lan::new();
    let node = lan.host(1);
    let hosts: Vec<Namespace> = routers().map(|number| lan.host(number)).collect();
    let config = bird_config("10.77.0.1", 64600, "");
    let birds: Vec<Bird> = hosts.iter().map(|host| Bird::run(host, &config)).collect();
    let all_have = |count: usize| hosts.iter().all(|host| in_kernel(host) > count);
    {
        // A process of its own, as an agent is.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", node.name()]).arg(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "bench_bgp::child_of_the_measurement_of_memory"]).env(CHILD, "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut reached = |word: &str| assert!(lines.any(|line| line.ends_with(word)), "the child ends early");
        reached("connected");
        let before = rss(child.id());
        reached("announced");
        until(|| all_have(ROUTES));
        thread::sleep(Duration::from_secs(1));
        println!("memory, 4 peers: Lanlord's BGP task {} kB without routes, {} kB with 10,000", before, rss(child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    drop(birds);
    let _birds: Vec<Bird> = hosts.iter().map(|host| Bird::run(host, &config)).collect();
    until(|| !hosts.iter().any(|host| in_kernel(host) > 100));
    let rival = Rival::start(&node, routers());
    rival.wait_established(PEERS);
    let pid = pid_of(&node, "gobgpd");
    let before = rss(pid);
    rival.learn();
    rival.announce();
    until(|| all_have(ROUTES));
    thread::sleep(Duration::from_secs(1));
    println!("memory, 4 peers: gobgpd             {} kB without routes, {} kB with 10,000", before, rss(pid));
}

/// In the namespace of the node already; ends with its standard input.
#[test]
#[ignore = "a process of scripts/bench-bgp.sh"]
fn child_of_the_measurement_of_memory() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let agent = BgpAgent::start_here();
    let names: Vec<(String, String)> = (2..2 + PEERS).map(|number| (format!("peer{number}"), format!("10.77.0.{number}"))).collect();
    let want = |routes: &Arc<Routes>| {
        let peer = |remote: &str| Desired { routes: Arc::clone(routes), ..with(session(remote), &[]) };
        agent.want(names.iter().map(|(name, remote)| (name.as_str(), peer(remote))));
    };
    want(&Arc::default());
    names.iter().for_each(|(name, _)| agent.comes_up(name));
    println!("connected");
    // What is read here has to be seen before more is made.
    thread::sleep(Duration::from_secs(1));
    want(&routes());
    until(|| names.iter().all(|(name, _)| agent.peer(name).session.announced == ROUTES));
    println!("announced");
    let _ = std::io::stdin().lines().next();
}

fn pid_of(namespace: &Namespace, name: &str) -> u32 {
    let pids = Command::new("ip").args(["netns", "pids", namespace.name()]).output().unwrap().stdout;
    let pids = String::from_utf8(pids).unwrap();
    let is_it = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    pids.split_whitespace().find(is_it).unwrap().parse().unwrap()
}

/// Resident memory in kB.
fn rss(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "a benchmark: scripts/bench-bgp.sh"]
fn a_link_cut_with_bfd_beside_frr() {
    for interval in [50, 300] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        {
            let (lan, node, port, router, _frr) = watched(interval);
            let agent = BgpAgent::start(&node);
            let each = interval * MS;
            let bfd = Bfd { desired_min_tx: each, required_min_rx: each, detect_mult: 3, passive: false, minimum_ttl: u8::MAX };
            let route = Route::default();
            agent.want([("router", Desired { bfd: Some(bfd), ..with(session("10.77.0.2"), &[("203.0.113.1/32", &route)]) })]);
            let up = || agent.peer("router").bfd.is_some_and(|bfd| bfd.ups > 0 && bfd.detection_time == 3 * each);
            ours.extend((0..CUTS).map(|_| cut(&lan, &port, &router, up)));
        }
        let (lan, node, port, router, frr) = watched(interval);
        let speaker = "router bgp 64600\n bgp router-id 10.77.0.1\n no bgp ebgp-requires-policy\n no bgp network import-check\n timers bgp 3 9\n \
             neighbor 10.77.0.2 remote-as 64512\n neighbor 10.77.0.2 bfd profile fast\n neighbor 10.77.0.2 timers connect 1\n \
             address-family ipv4 unicast\n  network 203.0.113.1/32\n exit-address-family\nexit\n";
        let _speaker = Frr::run(&node, &[("bfdd", &profile(interval)), ("bgpd", speaker)]);
        let up = || frr.peer("10.77.0.1".parse().unwrap(), "status") == "up";
        theirs.extend((0..CUTS).map(|_| cut(&lan, &port, &router, up)));
        print(&format!("link cut, BFD {interval} ms × 3, until out of FRR's kernel: Lanlord"), ours);
        print(&format!("link cut, BFD {interval} ms × 3, until out of FRR's kernel: FRR"), theirs);
    }
}

fn profile(interval: u32) -> String {
    format!("bfd\n profile fast\n  receive-interval {interval}\n  transmit-interval {interval}\n  detect-multiplier 3\n exit\nexit\n")
}

/// A router that watches the node 10.77.0.1 by BFD.
fn watched(interval: u32) -> (Lan, Namespace, String, Namespace, Frr) {
    let lan = Lan::new();
    let ((node, port), router) = (lan.host_and_port(1), lan.host(2));
    let config = frr_config(&["10.77.0.1"], "64600", " neighbor 10.77.0.1 bfd profile fast\n neighbor 10.77.0.1 timers connect 1\n");
    let frr = Frr::run(&router, &[("bfdd", &profile(interval)), ("bgpd", &config)]);
    (lan, node, port, router, frr)
}

/// One cut, once BFD is up and the route is there; the link is whole again afterwards.
fn cut(lan: &Lan, port: &str, router: &Namespace, up: impl Fn() -> bool) -> Duration {
    let (known, start) = (|| router.enter(|| fs::read_to_string("/proc/thread-self/net/route").unwrap().contains("017100CB")), now());
    until(|| known() && up());
    // Not in step with anything: BFD notices between two and three intervals after the last packet.
    thread::sleep(Duration::from_secs(1) + Duration::from_micros(u64::from(start.elapsed().subsec_micros()) % 300_000));
    lan.cut(port, true);
    let took = until(|| !known());
    lan.cut(port, false);
    took
}
