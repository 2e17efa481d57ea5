//! Garbage and floods: no crash, bounded memory, still answering.

use std::net::{Ipv4Addr, Ipv6Addr};

use lanlord::addr::MacAddr;

use crate::support::{Agent, Lan, Prober, SILENCE, eventually, mac_of};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Frames as the prober sends them to the LAN, to be mutated.
fn samples(prober: &Prober, tap: &Prober) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    prober.request(MacAddr::BROADCAST, CLIENT, VIP);
    frames.push(tap.receive(SILENCE, |frame| frame.starts_with(&[0xff; 6]).then(|| frame.to_vec())).unwrap());
    prober.solicit(CLIENT6, VIP6);
    frames.push(tap.receive(SILENCE, |frame| frame.starts_with(&[0x33, 0x33, 0xff]).then(|| frame.to_vec())).unwrap());
    prober.solicitation(mac_of(1), CLIENT6, VIP6, VIP6, None);
    frames.push(tap.receive(SILENCE, |frame| frame.starts_with(&mac_of(1).0).then(|| frame.to_vec())).unwrap());
    frames
}

/// Runs one test of this program in a process of its own and asserts that it succeeds.
fn alone(test: &str) {
    let program = std::env::current_exe().unwrap();
    let status = std::process::Command::new(program).args(["--ignored", "--exact", test]).status().unwrap();
    assert!(status.success(), "{test}: {status}");
}

#[test]
fn garbage_and_a_flood_change_nothing() {
    alone("flood::after_garbage_and_a_flood_from_made_up_senders_it_still_answers_in_the_same_memory");
}

#[test]
#[ignore = "measures the memory of its process: run by garbage_and_a_flood_change_nothing in one of its own"]
fn after_garbage_and_a_flood_from_made_up_senders_it_still_answers_in_the_same_memory() {
    const FRAMES: usize = 200_000;
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["10.77.0.200", "fd77::200"]);
    let (prober, tap) = (Prober::open(&client, "eth0"), Prober::open(&node, "eth0"));
    let samples = samples(&prober, &tap);
    drop(tap);
    let before = resident();
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..FRAMES {
        let mut frame = samples[rng.usize(..samples.len())].clone();
        // Another sender every time, and often something broken behind the header.
        frame[9..12].copy_from_slice(&rng.u32(..).to_be_bytes()[1..]);
        match rng.u8(..3) {
            0 => frame[22..28].copy_from_slice(&[2, rng.u8(..), rng.u8(..), rng.u8(..), rng.u8(..), rng.u8(..)]),
            1 => {
                let position = rng.usize(14..frame.len());
                frame[position] = rng.u8(..);
            }
            _ => frame.truncate(rng.usize(14..frame.len())),
        }
        prober.send(&frame);
    }
    eventually("ARP is answered", || prober.who_has(MacAddr::BROADCAST, CLIENT, VIP).is_some());
    eventually("NDP is answered", || {
        prober.solicit(CLIENT6, VIP6);
        prober.advertisement(SILENCE, VIP6).is_some()
    });
    let counted: u64 = agent.status().links.values().map(|link| link.counters.received + link.counters.dropped).sum();
    assert!(counted > FRAMES as u64 / 10, "the flood did reach the agent: {counted} frames");
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 << 20, "memory grew by {grown} bytes");
}

#[test]
fn a_solicitation_that_crossed_a_router_is_not_answered() {
    let lan = Lan::new();
    let (node, client) = (lan.host(1), lan.host(100));
    let agent = Agent::start(&node);
    agent.announce("eth0", &["10.77.0.200", "fd77::200"]);
    let (prober, tap) = (Prober::open(&client, "eth0"), Prober::open(&node, "eth0"));
    let mut frame = samples(&prober, &tap).remove(1);
    agent.at_rest("fd77::200");
    // The answers to the samples.
    while prober.advertisement(SILENCE, VIP6).is_some() {}
    frame[21] = 254;
    prober.send(&frame);
    assert_eq!(prober.advertisement(SILENCE, VIP6), None);
    frame[21] = 255;
    prober.send(&frame);
    assert!(prober.advertisement(SILENCE, VIP6).is_some(), "the same with hop limit 255 is answered");
}
