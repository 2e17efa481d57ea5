//! [`Raw`] → [`Config`]: names are looked up, defaults filled in, and what only the whole can show is checked.
//!
//! # Pools that no advertisement reaches
//!
//! A pool written in one line or in native YAML that no advertisement of any protocol reaches is announced on layer 2, by every
//! node, on the link whose on-link prefix holds the address: no advertisement is needed (`announce: false` says no). Where there are
//! BGP peers it is announced to all of them as well. A pool from a MetalLB document is treated the same as long as no advertisement
//! is written at all; where one is, MetalLB's meaning is kept (the pool is not announced) and a note says so.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{Note, Place, Problems};
use super::raw::{At, Implied, Protocol, Raw, RawAdvertisement, RawPool, RawRange, Reading};
use super::tree::quoted;
use super::{BgpAdvertisement, Config, L2Advertisement, Pool, PoolName, bgp, effective};
use crate::addr::Range;
use crate::facts::LinkName;

/// Ranges of all pools together: enough for anybody, and it bounds the work.
const MOST_RANGES: usize = 4096;
/// Advertisements, peers, and whatever else has a name and is compared with others of its kind.
const MOST_NAMED: usize = 1000;

/// Addresses no Service can have, and what they are.
const SPECIAL: [(&str, &str); 7] = [
    ("0.0.0.0/8", "\"this network\" (RFC 1122)"),
    ("127.0.0.0/8", "loopback"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255", "the broadcast address"),
    ("::/127", "unspecified and loopback"),
    ("::ffff:0:0/96", "IPv4 written as IPv6"),
    ("ff00::/8", "multicast"),
];

/// The configuration, or everything that is wrong.
pub(crate) fn resolve(mut reading: Reading) -> Result<(Config, Vec<Note>), Problems> {
    let raw = std::mem::take(&mut reading.raw);
    if too_many(&raw, &mut reading) {
        return Err(reading.problems);
    }
    unique_names(&raw, &mut reading);
    for pool in &raw.pools {
        check_addresses(pool, &mut reading);
    }
    check_overlaps(&raw.pools, &mut reading);
    let reached: Vec<BTreeSet<PoolName>> =
        raw.advertisements.iter().map(|advertisement| reach(advertisement, &raw, &mut reading)).collect();
    let mut bgp = bgp::resolve::resolve(&raw, &reached, &mut reading);
    if !reading.problems.is_empty() {
        return Err(reading.problems);
    }
    let mut l2_advertisements: Vec<L2Advertisement> = raw
        .advertisements
        .iter()
        .zip(&reached)
        .filter(|(advertisement, _)| advertisement.protocol == Protocol::L2)
        .map(|(advertisement, pools)| l2(advertisement, pools.clone()))
        .collect();
    let unreached = implied(&raw, &reached, &mut reading);
    if !unreached.is_empty() {
        if !bgp.peers.is_empty() {
            bgp.advertisements.push(BgpAdvertisement::everywhere(unreached.clone()));
        }
        l2_advertisements.push(L2Advertisement::everywhere(unreached));
    }
    let mut config = Config { pools: ordered(&raw.pools), l2_advertisements, bgp, settings: raw.settings.resolve(), hash: String::new() };
    config.hash = effective::hash(&config);
    Ok((config, reading.notes))
}

/// Whether comparing everything with everything would take too long.
fn too_many(raw: &Raw, reading: &mut Reading) -> bool {
    fn beyond<'p>(mut places: impl Iterator<Item = &'p Place>, most: usize) -> Option<&'p Place> {
        places.nth(most)
    }
    let named = "let one serve for several";
    let found = [
        (beyond(raw.pools.iter().map(|it| &it.name.place), MOST_RANGES), MOST_RANGES, "pools", named),
        (
            beyond(raw.pools.iter().flat_map(|pool| &pool.ranges).map(|it| &it.place), MOST_RANGES),
            MOST_RANGES,
            "ranges",
            "join neighbouring addresses into ranges",
        ),
        (beyond(raw.advertisements.iter().map(|it| &it.place), MOST_NAMED), MOST_NAMED, "advertisements", named),
        (beyond(raw.peers.iter().map(|it| &it.place), MOST_NAMED), MOST_NAMED, "peers", named),
        (beyond(raw.bfd_profiles.iter().map(|it| &it.name.place), MOST_NAMED), MOST_NAMED, "BFD profiles", named),
        (beyond(raw.aliases.iter().map(|it| &it.name.place), MOST_NAMED), MOST_NAMED, "communities", named),
    ];
    let before = reading.problems.len();
    for (place, most, what, help) in found {
        if let Some(place) = place {
            reading.problem(place, format!("there are more than {most} {what}"), help);
        }
    }
    reading.problems.len() > before
}

fn unique_names(raw: &Raw, reading: &mut Reading) {
    let mut seen: BTreeMap<(&str, &str), &At<String>> = BTreeMap::new();
    let pools = raw.pools.iter().map(|pool| ("pool", &pool.name));
    let advertisements =
        raw.advertisements.iter().filter_map(|advertisement| Some((advertisement.protocol.kind(), advertisement.name.as_ref()?)));
    let peers = raw.peers.iter().filter_map(|peer| Some(("peer", peer.name.as_ref()?)));
    let profiles = raw.bfd_profiles.iter().map(|profile| ("BFD profile", &profile.name));
    let communities = raw.aliases.iter().map(|alias| ("community", &alias.name));
    for (what, name) in pools.chain(advertisements).chain(peers).chain(profiles).chain(communities) {
        match seen.get(&(what, name.value.as_str())) {
            None => {
                seen.insert((what, &name.value), name);
            }
            Some(first) => {
                let message =
                    format!("a second {what} is called {}, the first is in {}", quoted(&name.value), name.place.mention(&first.place));
                reading.problem(&name.place, message, "give one of the two another name, or merge them");
            }
        }
    }
}

fn check_addresses(pool: &RawPool, reading: &mut Reading) {
    if pool.ranges.is_empty() && !pool.unreadable {
        let help = "add `addresses:` with a range such as 192.168.1.240-192.168.1.250";
        reading.problem(&pool.name.place, format!("pool {} has no addresses", quoted(&pool.name.value)), help);
    }
    let special: Vec<Range> = SPECIAL.iter().map(|(prefix, _)| prefix.parse().expect("the table holds ranges")).collect();
    for range in &pool.ranges {
        let first = SPECIAL.iter().zip(&special).find(|(_, special)| range.value.range.overlaps(**special));
        if let Some(((prefix, what), _)) = first {
            let message =
                format!("{} in pool {} holds addresses of {prefix}, which is {what}", quoted(&range.value.text), quoted(&pool.name.value));
            reading.problem(&range.place, message, "use addresses of your own network");
        }
    }
}

/// One pass over all ranges in ascending order, remembering the one that reaches furthest.
fn check_overlaps(pools: &[RawPool], reading: &mut Reading) {
    let mut ranges: Vec<(usize, &At<RawRange>, &RawPool)> = pools
        .iter()
        .flat_map(|pool| pool.ranges.iter().map(move |range| (range, pool)))
        .enumerate()
        .map(|(written, (range, pool))| (written, range, pool))
        .collect();
    ranges.sort_by_key(|(written, range, _)| (range.value.range, *written));
    let mut furthest: Option<(usize, &At<RawRange>, &RawPool)> = None;
    for &next in &ranges {
        let Some(widest) = furthest else {
            furthest = Some(next);
            continue;
        };
        if widest.1.value.range.overlaps(next.1.value.range) {
            let (first, second) = if widest.0 < next.0 { (widest, next) } else { (next, widest) };
            let message = format!(
                "{} in pool {} overlaps {} in pool {} ({})",
                quoted(&second.1.value.text),
                quoted(&second.2.name.value),
                quoted(&first.1.value.text),
                quoted(&first.2.name.value),
                second.1.place.mention(&first.1.place),
            );
            reading.problem(&second.1.place, message, "an address can be in one range of one pool only: shrink or remove one of the two");
        }
        if next.1.value.range.last() > widest.1.value.range.last() {
            furthest = Some(next);
        }
    }
}

/// The pools an advertisement reaches: by name and by label; all if it says nothing.
fn reach(advertisement: &RawAdvertisement, raw: &Raw, reading: &mut Reading) -> BTreeSet<PoolName> {
    let mut reached = BTreeSet::new();
    let names = || raw.pools.iter().map(|pool| pool.name.value.as_str());
    for name in &advertisement.pools {
        if names().any(|known| known == name.value) {
            reached.insert(PoolName::new(&name.value));
        } else {
            let near = reading.guess(&name.value, names()).map_or_else(String::new, |near| format!("; did you mean {}?", quoted(near)));
            reading.note(&name.place, format!("there is no pool {}{near}", quoted(&name.value)));
        }
    }
    for selector in &advertisement.pool_selectors {
        let before = reached.len();
        let chosen = raw.pools.iter().filter(|pool| selector.value.matches(&pool.labels));
        let mut any = false;
        for pool in chosen {
            any = true;
            reached.insert(PoolName::new(&pool.name.value));
        }
        if !any && reached.len() == before {
            reading.note(&selector.place, format!("no pool has the labels {}, so this selector chooses none", selector.value));
        }
    }
    if advertisement.pools.is_empty() && advertisement.pool_selectors.is_empty() {
        reached.extend(names().map(PoolName::new));
        if reached.is_empty() {
            reading.note(&advertisement.place, format!("this {} has no pool to announce yet", advertisement.protocol.kind()));
        }
    }
    reached
}

fn l2(raw: &RawAdvertisement, pools: BTreeSet<PoolName>) -> L2Advertisement {
    L2Advertisement {
        name: raw.name.as_ref().map(|name| name.value.clone()),
        pools,
        node_selectors: raw.node_selectors.clone(),
        interfaces: raw.interfaces.iter().map(|name| LinkName::new(name)).collect(),
        service_selectors: raw.service_selectors.clone(),
        preferred_node_selectors: raw.preferred.clone(),
    }
}

/// The pools of the implied advertisement, by the rule at the top.
fn implied(raw: &Raw, reached: &[BTreeSet<PoolName>], reading: &mut Reading) -> BTreeSet<PoolName> {
    let mut implied = BTreeSet::new();
    for pool in &raw.pools {
        let name = PoolName::new(&pool.name.value);
        if reached.iter().any(|pools| pools.contains(&name)) || pool.implied == Implied::Never {
            continue;
        }
        if pool.implied == Implied::Always || raw.advertisements.is_empty() && !raw.advertisement_left_out {
            implied.insert(name);
        } else {
            reading.note(
                &pool.name.place,
                format!(
                    "no advertisement reaches pool {}, so nobody announces its addresses: add an L2Advertisement that names it",
                    quoted(&pool.name.value)
                ),
            );
        }
    }
    implied
}

/// In the order in which pools are tried: those meant for some Services, by priority; then the others; each as written.
fn ordered(raw: &[RawPool]) -> Vec<Pool> {
    let mut pools: Vec<Pool> = raw.iter().map(pool).collect();
    let rank = |pool: &Pool| match &pool.allocation {
        Some(allocation) => (0, allocation.priority.unwrap_or(u32::MAX)),
        None => (1, 0),
    };
    pools.sort_by_key(rank);
    pools
}

fn pool(raw: &RawPool) -> Pool {
    let ranges: Vec<Range> = raw.ranges.iter().map(|range| range.value.range).collect();
    Pool {
        name: PoolName::new(&raw.name.value),
        labels: raw.labels.clone(),
        addresses: ranges.iter().copied().collect(),
        ranges,
        auto_assign: raw.auto_assign,
        avoid_buggy_ips: raw.avoid_buggy_ips,
        share_across_namespaces: raw.share_across_namespaces,
        allocation: raw.allocation.clone(),
    }
}
