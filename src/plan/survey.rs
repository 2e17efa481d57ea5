//! What of a configuration has nothing to work on in this cluster: advertisements that match no node, interfaces that no node has,
//! pools that no one can announce. It cannot be seen in the configuration alone.

use std::collections::BTreeSet;
use std::fmt;

use super::eligible::is_excluded;
use crate::addr::{Family, Prefix, Range};
use crate::config::{Config, L2Advertisement, Pool, PoolName};
use crate::facts::{Labels, LinkName, Living, LivingMember, MemberLink, Node, NodeName, Requirement, Selector, Snapshot};

/// What has nothing to work on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unmatched {
    /// The `nodeSelectors` of an advertisement match no member's node.
    NoNode {
        /// The advertisement.
        advertisement: String,
        /// What is missing, a selector each.
        missing: Vec<Missing>,
    },
    /// An interface that an advertisement names is on none of the nodes it matches.
    NoInterface {
        /// The advertisement.
        advertisement: String,
        /// The name.
        interface: LinkName,
        /// What those nodes have instead.
        there: BTreeSet<LinkName>,
    },
    /// No advertisement reaches the pool.
    NoAdvertisement {
        /// The pool.
        pool: PoolName,
    },
    /// The pool's addresses are on no network of the nodes that would announce them.
    NoNetwork {
        /// The pool.
        pool: PoolName,
        /// Its addresses.
        ranges: Vec<Range>,
        /// The networks of those nodes, of the same family.
        prefixes: BTreeSet<Prefix>,
    },
}

/// Why one selector matches no node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Missing {
    /// No node at all meets this one of its requirements.
    Label {
        /// What is asked for.
        wanted: Requirement,
        /// The values of that label that nodes have.
        there: BTreeSet<String>,
    },
    /// Each requirement is met by some node, but no node meets all.
    Together {
        /// What is asked for.
        wanted: Selector,
    },
    /// Nodes match it on which no agent is a member.
    Agent {
        /// What is asked for.
        wanted: Selector,
        /// Those nodes.
        nodes: BTreeSet<NodeName>,
    },
}

impl Unmatched {
    /// Whether it is about `pool`, or an advertisement of it.
    pub fn is_about(&self, config: &Config, pool: &PoolName) -> bool {
        let of = |name: &String| config.l2_advertisements.iter().any(|it| it.name.as_ref() == Some(name) && it.pools.contains(pool));
        match self {
            Self::NoNode { advertisement, .. } | Self::NoInterface { advertisement, .. } => of(advertisement),
            Self::NoAdvertisement { pool: about } | Self::NoNetwork { pool: about, .. } => about == pool,
        }
    }
}

/// Everything in `config` that has nothing to work on; nothing if no member lives, for then it says nothing about the configuration.
pub fn survey(config: &Config, snapshot: &Snapshot, living: &Living) -> Vec<Unmatched> {
    let members: Vec<(&Node, &LivingMember)> =
        living.members.iter().filter_map(|(name, member)| Some((snapshot.nodes.get(name)?.as_ref(), member))).collect();
    if members.is_empty() {
        return Vec::new();
    }
    let of_advertisements = config.l2_advertisements.iter().flat_map(|advertisement| unmatched(advertisement, snapshot, &members));
    of_advertisements.chain(config.pools.iter().filter_map(|pool| unannounced(config, pool, &members))).collect()
}

/// Why `selector` matches none of `nodes`; `None`: it matches one.
fn missing(selector: &Selector, nodes: &[&Labels]) -> Option<Missing> {
    let nodes = || nodes.iter().copied();
    if nodes().any(|labels| selector.matches(labels)) {
        return None;
    }
    let alone = |requirement: &Requirement| Selector { requirements: vec![requirement.clone()] };
    let unmet = selector.requirements.iter().find(|requirement| !nodes().any(|labels| alone(requirement).matches(labels)));
    Some(unmet.map_or_else(
        || Missing::Together { wanted: selector.clone() },
        |wanted| Missing::Label { wanted: wanted.clone(), there: nodes().filter_map(|labels| labels.get(&wanted.key)).cloned().collect() },
    ))
}

fn reaches(advertisement: &L2Advertisement, labels: &Labels) -> bool {
    let selectors = &advertisement.node_selectors;
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}

fn unmatched(advertisement: &L2Advertisement, snapshot: &Snapshot, members: &[(&Node, &LivingMember)]) -> Vec<Unmatched> {
    let called = || advertisement.name.clone().unwrap_or_else(|| "without a name".to_owned());
    let reached: Vec<_> = members.iter().filter(|(node, _)| reaches(advertisement, &node.labels)).collect();
    if reached.is_empty() {
        let labels: Vec<&Labels> = members.iter().map(|(node, _)| &node.labels).collect();
        let without_agent = |selector: &Selector| {
            let nodes = snapshot.nodes.values().filter(|node| selector.matches(&node.labels)).map(|node| node.name.clone());
            Some(nodes.collect::<BTreeSet<_>>()).filter(|nodes| !nodes.is_empty())
        };
        let missing = advertisement.node_selectors.iter().filter_map(|selector| match without_agent(selector) {
            Some(nodes) => Some(Missing::Agent { wanted: selector.clone(), nodes }),
            None => missing(selector, &labels),
        });
        let missing = missing.collect();
        return vec![Unmatched::NoNode { advertisement: called(), missing }];
    }
    let there: BTreeSet<LinkName> = reached.iter().flat_map(|(_, member)| &member.links).map(|link| link.name.clone()).collect();
    let absent = advertisement.interfaces.iter().filter(|name| !there.contains(*name));
    absent.map(|name| Unmatched::NoInterface { advertisement: called(), interface: name.clone(), there: there.clone() }).collect()
}

fn unannounced(config: &Config, pool: &Pool, members: &[(&Node, &LivingMember)]) -> Option<Unmatched> {
    let of_pool = || config.l2_advertisements.iter().filter(|advertisement| advertisement.pools.contains(&pool.name));
    if of_pool().next().is_none() {
        let over_bgp = config.bgp.advertisements.iter().any(|advertisement| advertisement.pools.contains(&pool.name));
        return (!over_bgp).then(|| Unmatched::NoAdvertisement { pool: pool.name.clone() });
    }
    let mut prefixes = BTreeSet::new();
    let mut by_network = false;
    for (advertisement, (node, member)) in of_pool().flat_map(|advertisement| members.iter().map(move |member| (advertisement, member))) {
        if !reaches(advertisement, &node.labels) {
            continue;
        }
        if !advertisement.interfaces.is_empty() {
            if member.links.iter().any(|link| advertisement.interfaces.contains(&link.name)) {
                return None;
            }
            continue;
        }
        by_network = true;
        prefixes.extend(member.links.iter().filter(|link| !is_excluded(config, &link.name)).flat_map(MemberLink::prefixes));
    }
    prefixes.retain(|prefix| pool.ranges.iter().any(|range| range.family() == Family::of(prefix.first())));
    let on_link = pool.ranges.iter().any(|range| prefixes.iter().any(|prefix| range.overlaps(Range::from(*prefix))));
    // Where no node is matched, or no interface is there, the advertisement tells it.
    (by_network && !on_link).then(|| Unmatched::NoNetwork { pool: pool.name.clone(), ranges: pool.ranges.clone(), prefixes })
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { wanted, there } if there.is_empty() => write!(f, "no node has the label {wanted}"),
            Self::Label { wanted, there } => {
                write!(f, "no node has the label {wanted} (of {} there is {})", wanted.key, list(there, ", "))
            }
            Self::Together { wanted } => write!(f, "no node has {wanted} together"),
            Self::Agent { wanted, nodes } => write!(f, "no agent runs on {}, which has {wanted}", list(nodes, ", ")),
        }
    }
}

impl Unmatched {
    /// What is wrong.
    pub fn what(&self) -> String {
        match self {
            Self::NoNode { advertisement, missing } => {
                format!("L2Advertisement {advertisement} matches no node: {}", list(missing, "; "))
            }
            Self::NoInterface { advertisement, interface, there } => format!(
                "L2Advertisement {advertisement} names interface {interface}, which no node that it matches has (there is {})",
                list(there, ", ")
            ),
            Self::NoAdvertisement { pool } => format!("nobody can announce pool {pool}: no advertisement reaches it"),
            Self::NoNetwork { pool, ranges, prefixes } if prefixes.is_empty() => {
                format!(
                    "nobody can announce pool {pool}: the nodes have no network of the family of {} (excludeInterfaces aside)",
                    list(ranges, ", ")
                )
            }
            Self::NoNetwork { pool, ranges, prefixes } => {
                format!("nobody can announce pool {pool}: {} is on no node's network ({})", list(ranges, ", "), list(prefixes, ", "))
            }
        }
    }

    /// What to do.
    pub fn action(&self) -> String {
        match self {
            Self::NoNode { missing, .. } if missing.iter().all(|it| matches!(it, Missing::Agent { .. })) => {
                "see why: kubectl get pods -n lanlord -o wide".to_owned()
            }
            Self::NoNode { .. } => "label a node or change its nodeSelectors".to_owned(),
            Self::NoInterface { .. } => "correct `interfaces`".to_owned(),
            Self::NoAdvertisement { .. } => "add an L2Advertisement that names it".to_owned(),
            Self::NoNetwork { prefixes, .. } if prefixes.is_empty() => {
                "give them one, or name `interfaces` in an L2Advertisement".to_owned()
            }
            Self::NoNetwork { .. } => "use addresses of one of them, or name `interfaces` in an L2Advertisement".to_owned(),
        }
    }
}

/// What is wrong and what to do.
impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what(), self.action())
    }
}
