//! What a configuration amounts to, in one line: the confirmation of every accepted edit.

use super::{BgpPeer, Config, Pool, RemoteAs};
use crate::addr::Family;

/// Pools, and peers, named in the line; an Event holds 1024 characters.
const NAMED: usize = 6;
/// Ranges named of each pool.
const RANGES: usize = 3;

/// `2 pools, 17 addresses: default 192.168.1.240-192.168.1.250 (11), media 192.168.1.230-192.168.1.235 (6, on request only)`, and `; 1 BGP
/// peer: router 192.168.1.1 AS64512` if there is one.
pub(crate) fn summary(config: &Config) -> String {
    if config.pools.is_empty() {
        return "no pools, so no address can be assigned".to_owned();
    }
    let addresses = config.pools.iter().fold(0, |sum: u128, pool| sum.saturating_add(usable(pool)));
    let (pools, peers) = (count(config.pools.len() as u128, "pool"), &config.bgp.peers);
    let pools = format!("{pools}, {}: {}", count(addresses, "address"), named(&config.pools, pool));
    if peers.is_empty() {
        return pools;
    }
    format!("{pools}; {}: {}", count(peers.len() as u128, "BGP peer"), named(peers, peer))
}

fn named<T>(all: &[T], words: fn(&T) -> String) -> String {
    let mut texts: Vec<String> = all.iter().take(NAMED).map(words).collect();
    if all.len() > NAMED {
        texts.push(format!("and {} more", all.len() - NAMED));
    }
    texts.join(", ")
}

fn peer(peer: &BgpPeer) -> String {
    let of = match peer.remote_as {
        RemoteAs::Number(number) => format!("AS{number}"),
        RemoteAs::Internal => "of our AS".to_owned(),
        RemoteAs::External => "of another AS".to_owned(),
    };
    format!("{} {} {of}", peer.name, peer.neighbor)
}

fn pool(pool: &Pool) -> String {
    let mut ranges: Vec<String> = pool.ranges.iter().take(RANGES).map(ToString::to_string).collect();
    if pool.ranges.len() > RANGES {
        ranges.push("…".to_owned());
    }
    let only = if pool.auto_assign { "" } else { ", on request only" };
    format!("{} {} ({}{only})", pool.name, ranges.join(" "), short(usable(pool)))
}

fn count(n: u128, what: &str) -> String {
    let plural = match (n, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {what}{plural}", short(n))
}

/// Numbers nobody counts with are given as a power of two.
fn short(n: u128) -> String {
    match n {
        0..1_000_000_000 => n.to_string(),
        u128::MAX => "2^128".to_owned(),
        _ => format!("about 2^{}", n.ilog2()),
    }
}

fn usable(pool: &Pool) -> u128 {
    pool.usable(Family::V4).saturating_add(pool.usable(Family::V6))
}
