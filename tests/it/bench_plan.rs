//! What a change costs an agent that knows many Services: the plan anew, the plan after one changed EndpointSlice, and what follows from
//! it. Prints, asserts nothing. `scripts/bench-plan.sh` runs it.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::Duration;

use lanlord::config::{Source, parse};
use lanlord::leader::decide::decide;
use lanlord::leader::tell::Now;
use lanlord::net::clock;
use lanlord::plan::heirs::Inheritance;
use lanlord::plan::{Planner, bgp_desired, plan};

use crate::world::{World, config, pool};

const TIMES: usize = 11;

#[test]
#[ignore = "a benchmark: scripts/bench-plan.sh"]
fn a_change_costs() {
    println!(
        "{:>6} {:>9} | {:>10} {:>14} {:>14} {:>10} {:>14}",
        "nodes", "Services", "plan, all", "one endpoint", "decide then", "heirs, all", "one endpoint"
    );
    for (nodes, services) in [(3, 100), (3, 1_000), (3, 10_000), (100, 1_000), (200, 1_000), (200, 10_000)] {
        let mut world = large(nodes, services);
        let living = std::sync::Arc::new(world.living());
        let whole = median(|| {
            black_box(plan(&world.config, &world.snapshot, &living));
        });
        let config = std::sync::Arc::new(world.config.clone());
        let mut planner = Planner::default();
        planner.plan(&config, &world.snapshot, &living);
        let mut turn = 0;
        let mut one = Vec::new();
        let mut then = Vec::new();
        for _ in 0..TIMES {
            turn += 1;
            world.endpoints("s7", if turn % 2 == 0 { &["n1"] } else { &["n2"] });
            one.push(timed(|| {
                black_box(planner.plan(&config, &world.snapshot, &living));
            }));
            let plan = planner.plan(&config, &world.snapshot, &living);
            then.push(timed(|| {
                black_box(decide(&config, &world.snapshot, &living, &plan, &Now::default()));
            }));
        }
        let mut inheritance = Inheritance::default();
        let first = timed(|| {
            black_box(inheritance.heirs(&config, &world.snapshot));
        });
        world.endpoints("s7", &["n3"]);
        let after = timed(|| {
            black_box(inheritance.heirs(&config, &world.snapshot));
        });
        println!("{nodes:>6} {services:>9} | {whole:>10.2?} {:>14.2?} {:>14.2?} {first:>10.2?} {after:>14.2?}", middle(one), middle(then));
    }
}

#[test]
#[ignore = "a benchmark: scripts/bench-plan.sh"]
fn routes_cost() {
    println!("{:>6} {:>9} {:>6} | {:>10} {:>14} {:>12}", "nodes", "Services", "peers", "plan, all", "one endpoint", "routes, all");
    for (nodes, services) in [(3, 100), (3, 1_000), (3, 10_000), (100, 1_000), (200, 10_000)] {
        let mut world = large(nodes, services);
        let peer = |number: u8| {
            let asn = 64_512 + u32::from(number);
            format!("{{name: peer{number}, myASN: 64513, peerASN: {asn}, peerAddress: 192.168.1.{number}}}")
        };
        let peers: Vec<String> = [1, 2, 3, 4].map(|number| peer(2 * number)).into();
        let text = format!("addresses: 192.168.64.0-192.168.191.255\nbgpPeers: [{}]\n", peers.join(", "));
        world.config = parse(&[Source::file("bench.yaml", text)]).unwrap_or_else(|problems| panic!("{problems}")).config;
        let (living, config) = (std::sync::Arc::new(world.living()), std::sync::Arc::new(world.config.clone()));
        let whole = median(|| {
            black_box(plan(&world.config, &world.snapshot, &living));
        });
        let mut planner = Planner::default();
        planner.plan(&config, &world.snapshot, &living);
        world.endpoints("s7", &["n2"]);
        let one = timed(|| {
            black_box(planner.plan(&config, &world.snapshot, &living));
        });
        let me = "n1".into();
        let routes = median(|| {
            black_box(bgp_desired(&world.config, &world.snapshot, &living, &me));
        });
        let told = bgp_desired(&world.config, &world.snapshot, &living, &me);
        assert_eq!((told.len(), told["peer2"].desired.routes.len()), (4, services));
        println!("{nodes:>6} {services:>9} {:>6} | {whole:>10.2?} {one:>14.2?} {routes:>12.2?}", told.len());
    }
}

/// A LAN of 65,534 addresses, and the Services at rest.
fn large(nodes: u8, services: usize) -> World {
    let mut world = World::new(nodes, config(vec![pool("default", &["192.168.64.0-192.168.191.255"])]));
    for number in 1..=nodes {
        world.member(&format!("n{number}"), |member| {
            member.links[0].addresses = [format!("192.168.1.{}/16", 10 + number).parse().unwrap()].into();
        });
    }
    for number in 0..services {
        world.create(&format!("s{number}"), |_| ());
    }
    world.settle();
    world
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = clock::now();
    work();
    clock::now().since(begun)
}

fn median(mut work: impl FnMut()) -> Duration {
    middle((0..TIMES).map(|_| timed(&mut work)).collect())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
