//! A [`Config`] as native YAML with every default written out: what `lanlord check --output yaml` prints. Reading it again gives
//! the same configuration. The hash is taken over the same form, so it is one of meaning, not of text.

use std::collections::BTreeMap;
use std::hash::Hasher;

use serde::Serialize;
use siphasher::sip::SipHasher13;

use super::bgp::effective::EffectiveBgp;
use super::{Classes, Config, L2Advertisement, OnCordon, Pace, Pool, Promiscuous, ServiceAllocation};
use crate::facts::{Operator, Selector};

/// The whole configuration in the words of native YAML.
#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Effective<'c> {
    service_classes: &'static str,
    exclude_interfaces: Vec<&'c str>,
    /// Seconds; 0: never.
    announce_interval: u64,
    on_cordon: &'static str,
    rebalance: bool,
    promiscuous: &'static str,
    /// Seconds.
    restart_hold: u64,
    liveness: EffectiveLiveness,
    pools: Vec<EffectivePool<'c>>,
    l2_advertisements: Vec<EffectiveAdvertisement<'c>>,
    #[serde(flatten)]
    bgp: EffectiveBgp<'c>,
}

#[derive(Serialize, Debug)]
struct EffectiveLiveness {
    wired: EffectivePace,
    wireless: EffectivePace,
    port: u16,
}

#[derive(Serialize, Debug)]
struct EffectivePace {
    interval: String,
    multiplier: u8,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct EffectivePool<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'c BTreeMap<String, String>,
    addresses: Vec<String>,
    auto_assign: bool,
    #[serde(rename = "avoidBuggyIPs")]
    avoid_buggy_ips: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    share_across_namespaces: bool,
    /// Whether any advertisement of layer 2 reaches it.
    announce: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_allocation: Option<EffectiveAllocation<'c>>,
}

#[derive(Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct EffectiveAllocation<'c> {
    /// 0: none.
    priority: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<&'c str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespace_selectors: Vec<EffectiveSelector<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_selectors: Vec<EffectiveSelector<'c>>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "camelCase")]
struct EffectiveAdvertisement<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    ip_address_pools: Vec<&'c str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_selectors: Vec<EffectiveSelector<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<&'c str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_selectors: Vec<EffectiveSelector<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preferred_node_selectors: Vec<EffectivePreferred<'c>>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct EffectivePreferred<'c> {
    weight: u32,
    preference: EffectiveSelector<'c>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EffectiveSelector<'c> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    match_labels: BTreeMap<&'c str, &'c str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    match_expressions: Vec<Expression<'c>>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Expression<'c> {
    key: &'c str,
    operator: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    values: &'c [String],
}

/// `config` in the words of native YAML. Advertisements that reach no pool do nothing and are left out.
pub fn effective(config: &Config) -> Effective<'_> {
    Effective {
        service_classes: match config.settings.classes {
            Classes::Both => "both",
            Classes::Classless => "classless",
            Classes::Own => "own",
        },
        exclude_interfaces: config.settings.exclude_interfaces.iter().map(String::as_str).collect(),
        announce_interval: config.settings.announce_interval.map_or(0, |interval| interval.as_secs()),
        on_cordon: match config.settings.on_cordon {
            OnCordon::Drained => "drained",
            OnCordon::Move => "move",
            OnCordon::Stay => "stay",
        },
        rebalance: config.settings.rebalance,
        promiscuous: match config.settings.promiscuous {
            Promiscuous::Never => "never",
            Promiscuous::Wireless => "wireless",
            Promiscuous::Always => "always",
        },
        restart_hold: config.settings.restart_hold.as_secs(),
        liveness: EffectiveLiveness {
            wired: pace(config.settings.liveness.wired),
            wireless: pace(config.settings.liveness.wireless),
            port: config.settings.liveness.port,
        },
        pools: config.pools.iter().map(|pool| self::pool(pool, config)).collect(),
        l2_advertisements: config.l2_advertisements.iter().filter(|l2| !l2.pools.is_empty()).map(advertisement).collect(),
        bgp: EffectiveBgp::new(&config.bgp),
    }
}

/// SipHash-1-3 with keys 0 over the JSON of the effective form, in 16 hexadecimal digits. What advertisements are called, and
/// their order, means nothing.
pub(crate) fn hash(config: &Config) -> String {
    let mut effective = effective(config);
    for advertisement in &mut effective.l2_advertisements {
        advertisement.name = None;
    }
    effective.l2_advertisements.sort();
    effective.bgp = effective.bgp.for_hash();
    effective.exclude_interfaces.sort_unstable();
    let json = serde_json::to_vec(&effective).expect("texts, numbers and lists are JSON");
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(&json);
    format!("{:016x}", hasher.finish())
}

fn pace(pace: Pace) -> EffectivePace {
    EffectivePace { interval: format!("{}ms", pace.interval.as_millis()), multiplier: pace.multiplier }
}

fn pool<'c>(pool: &'c Pool, config: &Config) -> EffectivePool<'c> {
    EffectivePool {
        name: pool.name.as_str(),
        labels: &pool.labels,
        addresses: pool.ranges.iter().map(ToString::to_string).collect(),
        auto_assign: pool.auto_assign,
        avoid_buggy_ips: pool.avoid_buggy_ips,
        share_across_namespaces: pool.share_across_namespaces,
        announce: config.l2_advertisements.iter().any(|l2| l2.pools.contains(&pool.name)),
        service_allocation: pool.allocation.as_ref().map(allocation),
    }
}

fn allocation(allocation: &ServiceAllocation) -> EffectiveAllocation<'_> {
    EffectiveAllocation {
        priority: allocation.priority.unwrap_or(0),
        namespaces: allocation.namespaces.iter().map(String::as_str).collect(),
        namespace_selectors: selectors(&allocation.namespace_selectors),
        service_selectors: selectors(&allocation.service_selectors),
    }
}

fn advertisement(l2: &L2Advertisement) -> EffectiveAdvertisement<'_> {
    let preferred = l2.preferred_node_selectors.iter();
    EffectiveAdvertisement {
        name: l2.name.as_deref(),
        ip_address_pools: l2.pools.iter().map(super::PoolName::as_str).collect(),
        node_selectors: selectors(&l2.node_selectors),
        interfaces: l2.interfaces.iter().map(crate::facts::LinkName::as_str).collect(),
        service_selectors: selectors(&l2.service_selectors),
        preferred_node_selectors: preferred
            .map(|entry| EffectivePreferred { weight: entry.weight, preference: selector(&entry.selector) })
            .collect(),
    }
}

pub(crate) fn selectors(selectors: &[Selector]) -> Vec<EffectiveSelector<'_>> {
    selectors.iter().map(selector).collect()
}

fn selector(selector: &Selector) -> EffectiveSelector<'_> {
    let mut effective = EffectiveSelector { match_labels: BTreeMap::new(), match_expressions: Vec::new() };
    for requirement in &selector.requirements {
        let key = requirement.key.as_str();
        let (operator, values) = match &requirement.operator {
            Operator::In(values) if values.len() == 1 && !effective.match_labels.contains_key(key) => {
                effective.match_labels.insert(key, &values[0]);
                continue;
            }
            Operator::In(values) => ("In", values.as_slice()),
            Operator::NotIn(values) => ("NotIn", values.as_slice()),
            Operator::Exists => ("Exists", [].as_slice()),
            Operator::DoesNotExist => ("DoesNotExist", [].as_slice()),
        };
        effective.match_expressions.push(Expression { key, operator, values });
    }
    effective
}
