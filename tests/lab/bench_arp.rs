//! How fast ARP is answered, beside the kernel's own answer in the same run; and how many answers are lost under load. Prints, asserts
//! nothing. `scripts/bench-arp.sh` runs it.

use std::net::Ipv4Addr;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::wire::arp::Operation;

use crate::support::{Agent, Lan, Namespace, Prober, SILENCE, now};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const QUESTIONS: usize = 10_000;
const LOAD: Duration = Duration::from_secs(5);

#[test]
#[ignore = "a benchmark: scripts/bench-arp.sh"]
fn arp_answers_beside_the_kernel() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["10.77.0.200"]);
    let prober = Prober::open_for_arp(&client, "eth0");
    // In turns, so that both meet the same machine.
    let (mut ours, mut kernel) = (Vec::new(), Vec::new());
    for _ in 0..QUESTIONS {
        kernel.extend(latency(&prober, KERNEL));
        ours.extend(latency(&prober, OURS));
    }
    for (who, mut times) in [("kernel", kernel), ("lanlord", ours)] {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1000.0;
        println!(
            "{who:>8}: answer p50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs ({} of {QUESTIONS} answered)",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            times.len()
        );
    }
    for rate in [10_000, 20_000] {
        for (who, target) in [("kernel", KERNEL), ("lanlord", OURS)] {
            let (sent, answered) = load(&client, target, rate);
            let lost = 100.0 * sent.saturating_sub(answered) as f64 / sent as f64;
            println!("{who:>8}: {rate} requests/s for {} s: {sent} sent, {answered} answered, {lost:.3} % lost", LOAD.as_secs());
        }
    }
    let counters = agent.port("eth0").unwrap().counters;
    println!("{:>8}: {counters:?}", "lanlord");
}

/// From rest: every broadcast wakes the agent, also the question to the kernel, and an agent still awake would answer faster than one
/// that has to be scheduled.
fn latency(prober: &Prober, target: Ipv4Addr) -> Option<Duration> {
    std::thread::sleep(Duration::from_micros(500));
    let start = now();
    prober.who_has(MacAddr::BROADCAST, CLIENT, target).map(|_| start.elapsed())
}

/// Asks at a steady rate from one thread while another counts answers; returns questions and answers.
fn load(client: &Namespace, target: Ipv4Addr, rate: u32) -> (usize, usize) {
    let (asking, counting) = (Prober::open_for_arp(client, "eth0"), Prober::open_for_arp(client, "eth0"));
    std::thread::scope(|scope| {
        let counter = scope.spawn(|| {
            let mut answered = 0;
            while counting.arp(SILENCE, |packet| packet.operation == Operation::Reply && packet.spa == target).is_some() {
                answered += 1;
            }
            answered
        });
        let (start, mut sent) = (now(), 0);
        while start.elapsed() < LOAD {
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as usize;
            while sent < due {
                asking.request(MacAddr::BROADCAST, CLIENT, target);
                sent += 1;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        (sent, counter.join().unwrap())
    })
}
