//! What `status` of an IPAddressPool says, as MetalLB's users know it: how many addresses Services have, and how many are left.

pub mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::reserve::{left_out, reserved};
use crate::addr::{Range, RangeSet};
use crate::config::{Config, Pool, PoolName};
use crate::facts::{Counters, ObjectKey, Objects, Snapshot};

/// The counters of each pool.
pub fn counters(config: &Config, snapshot: &Snapshot) -> BTreeMap<PoolName, Counters> {
    let reserved: BTreeSet<IpAddr> = left_out(config, &reserved(snapshot)).into_keys().collect();
    let assigned = snapshot.claims.values().filter(|claim| !claim.holders.is_empty()).map(|claim| claim.address).collect();
    config.pools.iter().map(|pool| (pool.name.clone(), of(pool, &assigned, &reserved))).collect()
}

fn of(pool: &Pool, assigned: &BTreeSet<IpAddr>, reserved: &BTreeSet<IpAddr>) -> Counters {
    let one = |v4: bool| {
        let ours = |address: &&IpAddr| address.is_ipv4() == v4 && pool.addresses.contains(**address);
        let ranges: RangeSet = pool.ranges.iter().copied().filter(|range: &Range| range.first().is_ipv4() == v4).collect();
        let usable = Pool { addresses: ranges, ..pool.clone() }.usable();
        let taken = assigned.iter().filter(ours).count();
        // A buggy address is no usable one in the first place.
        let buggy = |address: &IpAddr| pool.avoid_buggy_ips && matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255));
        let kept = reserved.iter().filter(ours).filter(|address| !assigned.contains(*address) && !buggy(address)).count();
        let available = usable.saturating_sub(taken as u128).saturating_sub(kept as u128);
        (i64::try_from(taken).unwrap_or(i64::MAX), i64::try_from(available).unwrap_or(i64::MAX))
    };
    let ((assigned_ipv4, available_ipv4), (assigned_ipv6, available_ipv6)) = (one(true), one(false));
    Counters { assigned_ipv4, assigned_ipv6, available_ipv4, available_ipv6 }
}

/// The IPAddressPools whose status is not what it should be, each with the counters to write: those of the pool of its name. Where
/// there is none, because it was rejected, it keeps what it has.
pub fn stale(config: &Config, snapshot: &Snapshot, objects: &Objects) -> Vec<(ObjectKey, Counters)> {
    let counters = counters(config, snapshot);
    let pools = objects.iter().filter(|(key, _)| key.kind == "IPAddressPool");
    let wanted = pools.filter_map(|(key, object)| Some((key, object, counters.get(key.name.as_str())?)));
    wanted
        .filter(|(_, object, counters)| object.counters.as_ref() != Some(*counters))
        .map(|(key, _, counters)| (key.clone(), *counters))
        .collect()
}
