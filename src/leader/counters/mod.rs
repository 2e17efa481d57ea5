//! What `status` of an IPAddressPool says, as MetalLB's users know it: how many addresses Services have, and how many are left.

pub mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::reserve::{left_out, reserved};
use crate::addr::Family;
use crate::config::{Config, Pool, PoolName};
use crate::facts::{Counters, ObjectKey, Objects, Snapshot};

/// The counters of each pool.
pub fn counters(config: &Config, snapshot: &Snapshot) -> BTreeMap<PoolName, Counters> {
    let reserved: BTreeSet<IpAddr> = left_out(config, &reserved(snapshot)).into_keys().collect();
    let assigned = snapshot.claims.values().filter(|claim| !claim.holders.is_empty()).map(|claim| claim.address).collect();
    config.pools.iter().map(|pool| (pool.name.clone(), of(pool, &assigned, &reserved))).collect()
}

fn of(pool: &Pool, assigned: &BTreeSet<IpAddr>, reserved: &BTreeSet<IpAddr>) -> Counters {
    let one = |family: Family| {
        let ours = |address: &&IpAddr| Family::of(**address) == family && pool.addresses.contains(**address);
        let taken = assigned.iter().filter(ours).count();
        // One that is avoided is no usable one in the first place.
        let kept = reserved.iter().filter(ours).filter(|address| !assigned.contains(*address) && !pool.avoids(**address)).count();
        let available = pool.usable(family).saturating_sub(taken as u128).saturating_sub(kept as u128);
        (i64::try_from(taken).unwrap_or(i64::MAX), i64::try_from(available).unwrap_or(i64::MAX))
    };
    let ((assigned_ipv4, available_ipv4), (assigned_ipv6, available_ipv6)) = (one(Family::V4), one(Family::V6));
    Counters { assigned_ipv4, assigned_ipv6, available_ipv4, available_ipv6 }
}

/// The IPAddressPools whose status is not what it should be, each with the counters to write: those of the pool of its name. Where
/// there is none, because it was rejected, it keeps what it has.
pub fn stale(config: &Config, snapshot: &Snapshot, objects: &Objects) -> BTreeMap<ObjectKey, Counters> {
    let counters = counters(config, snapshot);
    let pools = objects.iter().filter(|(key, _)| key.kind == "IPAddressPool");
    let wanted = pools.filter_map(|(key, object)| Some((key, object, counters.get(key.name.as_str())?)));
    wanted
        .filter(|(_, object, counters)| object.counters.as_ref() != Some(*counters))
        .map(|(key, _, counters)| (key.clone(), *counters))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::texts::Texts;
    use crate::facts::{Claim, Holder, Object, ServiceKey, Uid};

    fn config(keys: &[(&str, &str)]) -> Config {
        let data = keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        Texts::Keys("ConfigMap lanlord/lanlord".to_owned(), data).parse().unwrap().config
    }

    fn claim(address: &str, holders: usize) -> (IpAddr, Arc<Claim>) {
        let holder = Holder { service: ServiceKey::new("default", "web"), uid: Uid("u".into()), terms: String::new() };
        let address = address.parse().unwrap();
        let claim = Claim {
            address,
            holders: vec![holder; holders],
            pool: "default".to_owned(),
            placement: None,
            moved: None,
            last_holder: None,
            freed: None,
            resource_version: "1".to_owned(),
        };
        (address, Arc::new(claim))
    }

    fn of_default(keys: &[(&str, &str)], claims: &[(&str, usize)]) -> [i64; 4] {
        let claims = claims.iter().map(|(address, holders)| claim(address, *holders)).collect();
        let snapshot = Snapshot { claims: Arc::new(claims), ..Snapshot::default() };
        let counters = counters(&config(keys), &snapshot)["default"];
        [counters.assigned_ipv4, counters.available_ipv4, counters.assigned_ipv6, counters.available_ipv6]
    }

    #[test]
    fn a_shared_address_counts_once_and_a_remembered_one_not() {
        let keys = [("addresses", "10.0.0.1-10.0.0.9, fd00::1-fd00::4")];
        assert_eq!(of_default(&keys, &[]), [0, 9, 0, 4]);
        assert_eq!(of_default(&keys, &[("10.0.0.1", 2), ("10.0.0.2", 0), ("fd00::1", 1), ("10.0.1.1", 1)]), [1, 8, 1, 3]);
    }

    #[test]
    fn buggy_addresses_are_not_available_and_what_does_not_fit_is_the_largest_number() {
        let text = "pools: [{name: default, avoidBuggyIPs: true, addresses: [10.0.0.0/24, fd00::/64]}]";
        assert_eq!(of_default(&[("config.yaml", text)], &[]), [0, 254, 0, i64::MAX]);
    }

    #[test]
    fn only_a_status_that_differs_is_written() {
        let config = config(&[("addresses", "10.0.0.1-10.0.0.9")]);
        let right = Counters { available_ipv4: 9, ..Counters::default() };
        let key = ObjectKey::new("IPAddressPool", "lanlord", "default");
        let stale = |counters| {
            let object = Object { uid: Uid("u".into()), created: String::new(), text: String::new(), counters };
            stale(&config, &Snapshot::default(), &Objects::from([(key.clone(), Arc::new(object))]))
        };
        assert_eq!(stale(None), BTreeMap::from([(key.clone(), right)]));
        assert_eq!(stale(Some(right)), BTreeMap::new());
    }
}
