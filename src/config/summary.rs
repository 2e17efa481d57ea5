//! What a configuration amounts to, in one line: the confirmation of every accepted edit.

use super::{Config, Pool};

/// Pools named in the line; an Event holds 1024 characters.
const NAMED: usize = 6;
/// Ranges named of each pool.
const RANGES: usize = 3;

/// `2 pools, 17 addresses: default 192.168.1.240-192.168.1.250 (11), media 192.168.1.230-192.168.1.235 (6, on request only)`.
pub(crate) fn summary(config: &Config) -> String {
    if config.pools.is_empty() {
        return "no pools, so no address can be assigned".to_owned();
    }
    let addresses = config.pools.iter().fold(0, |sum: u128, pool| sum.saturating_add(pool.usable()));
    let mut pools: Vec<String> = config.pools.iter().take(NAMED).map(pool).collect();
    if config.pools.len() > NAMED {
        pools.push(format!("and {} more", config.pools.len() - NAMED));
    }
    format!("{}, {}: {}", count(config.pools.len() as u128, "pool"), count(addresses, "address"), pools.join(", "))
}

fn pool(pool: &Pool) -> String {
    let mut ranges: Vec<String> = pool.ranges.iter().take(RANGES).map(ToString::to_string).collect();
    if pool.ranges.len() > RANGES {
        ranges.push("…".to_owned());
    }
    let only = if pool.auto_assign { "" } else { ", on request only" };
    format!("{} {} ({}{only})", pool.name, ranges.join(" "), short(pool.usable()))
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
