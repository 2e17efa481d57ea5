//! What of a configuration has nothing to work on in this cluster: advertisements that match no node, interfaces that no node has,
//! pools that no one can announce. It cannot be seen in the configuration alone.

use std::collections::BTreeSet;
use std::fmt;

use super::announcers::View;
use super::eligible::{is_excluded, matches_any};
use crate::addr::{Family, Prefix, Range};
use crate::config::{BgpAdvertisement, Config, L2Advertisement, Pool, PoolName};
use crate::facts::{Labels, LinkName, Living, LivingMember, MemberLink, Node, NodeName, PODS, Requirement, Selector, Snapshot};

/// What has nothing to work on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unmatched {
    /// The `nodeSelectors` of an advertisement or a peer match no member's node.
    NoNode {
        /// `L2Advertisement`, `BGPAdvertisement` or `BGPPeer`.
        kind: &'static str,
        /// Its name.
        name: String,
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
    /// The pool goes over BGP only, and its advertisements are for no peer that there is.
    NoPeer {
        /// The pool.
        pool: PoolName,
    },
    /// The pool goes over BGP only, and no node that may announce it speaks with a peer that it is for.
    NoSession {
        /// The pool.
        pool: PoolName,
    },
    /// The pool goes over BGP only, and no session that its addresses could go to carries one of its families.
    FamilyNotSpoken {
        /// The pool.
        pool: PoolName,
        /// The family.
        family: Family,
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
        let over_bgp = || config.bgp.advertisements.iter().filter(|it| it.pools.contains(pool));
        match self {
            Self::NoNode { kind: "BGPPeer", name, .. } => over_bgp().any(|it| it.is_for(name)),
            Self::NoNode { kind: "BGPAdvertisement", name, .. } => over_bgp().any(|it| it.name.as_ref() == Some(name)),
            Self::NoNode { name, .. } | Self::NoInterface { advertisement: name, .. } => of(name),
            Self::NoAdvertisement { pool: about }
            | Self::NoPeer { pool: about }
            | Self::NoSession { pool: about }
            | Self::FamilyNotSpoken { pool: about, .. }
            | Self::NoNetwork { pool: about, .. } => about == pool,
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
    let on_layer_2 = config.l2_advertisements.iter().flat_map(|it| unmatched(it, snapshot, &members));
    let over_bgp = config.bgp.advertisements.iter().map(|it| ("BGPAdvertisement", called(it.name.as_ref()), &it.node_selectors));
    let peers = config.bgp.peers.iter().map(|it| ("BGPPeer", it.name.clone(), &it.node_selectors));
    let about_bgp = over_bgp.chain(peers).filter_map(|(kind, name, selectors)| {
        no_node(selectors, snapshot, &members).map(|missing| Unmatched::NoNode { kind, name, missing })
    });
    let view = View { config, snapshot, living };
    let pools = config.pools.iter().flat_map(|pool| unannounced(view, pool, &members));
    on_layer_2.chain(about_bgp).chain(pools).collect()
}

fn called(name: Option<&String>) -> String {
    name.cloned().unwrap_or_else(|| "without a name".to_owned())
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

/// Why none of `members` has what any of `selectors` asks for; `None`: one has, or nothing is asked for.
fn no_node(selectors: &[Selector], snapshot: &Snapshot, members: &[(&Node, &LivingMember)]) -> Option<Vec<Missing>> {
    if members.iter().any(|(node, _)| matches_any(selectors, &node.labels)) {
        return None;
    }
    let labels: Vec<&Labels> = members.iter().map(|(node, _)| &node.labels).collect();
    let without_agent = |selector: &Selector| {
        let nodes = snapshot.nodes.values().filter(|node| selector.matches(&node.labels)).map(|node| node.name.clone());
        Some(nodes.collect::<BTreeSet<_>>()).filter(|nodes| !nodes.is_empty())
    };
    let missing = selectors.iter().filter_map(|selector| match without_agent(selector) {
        Some(nodes) => Some(Missing::Agent { wanted: selector.clone(), nodes }),
        None => missing(selector, &labels),
    });
    Some(missing.collect())
}

fn unmatched(advertisement: &L2Advertisement, snapshot: &Snapshot, members: &[(&Node, &LivingMember)]) -> Vec<Unmatched> {
    let name = || called(advertisement.name.as_ref());
    if let Some(missing) = no_node(&advertisement.node_selectors, snapshot, members) {
        return vec![Unmatched::NoNode { kind: "L2Advertisement", name: name(), missing }];
    }
    let reached = members.iter().filter(|(node, _)| matches_any(&advertisement.node_selectors, &node.labels));
    let there: BTreeSet<LinkName> = reached.flat_map(|(_, member)| &member.links).map(|link| link.name.clone()).collect();
    let absent = advertisement.interfaces.iter().filter(|name| !there.contains(*name));
    absent.map(|interface| Unmatched::NoInterface { advertisement: name(), interface: interface.clone(), there: there.clone() }).collect()
}

fn unannounced(view: View<'_>, pool: &Pool, members: &[(&Node, &LivingMember)]) -> Vec<Unmatched> {
    let on_layer_2 = view.config.l2_advertisements.iter().any(|it| it.pools.contains(&pool.name));
    let over_bgp: Vec<&BgpAdvertisement> = view.config.bgp.advertisements.iter().filter(|it| it.pools.contains(&pool.name)).collect();
    match (on_layer_2, over_bgp.is_empty()) {
        (false, true) => vec![Unmatched::NoAdvertisement { pool: pool.name.clone() }],
        (false, false) => without_router(view, pool, &over_bgp, members),
        (true, _) => without_network(view, pool, members).into_iter().collect(),
    }
}

/// A pool that goes over BGP only. Where no node is matched, the advertisement or the peer tells it.
fn without_router(view: View<'_>, pool: &Pool, advertisements: &[&BgpAdvertisement], members: &[(&Node, &LivingMember)]) -> Vec<Unmatched> {
    let pool_name = || pool.name.clone();
    let has_node = |selectors: &[Selector]| members.iter().any(|(node, _)| matches_any(selectors, &node.labels));
    let advertisements: Vec<_> = advertisements.iter().filter(|it| has_node(&it.node_selectors)).collect();
    let peers: Vec<_> = view.config.bgp.peers.iter().filter(|peer| advertisements.iter().any(|it| it.is_for(&peer.name))).collect();
    if advertisements.is_empty() {
        return Vec::new();
    }
    if peers.is_empty() {
        return vec![Unmatched::NoPeer { pool: pool_name() }];
    }
    if !peers.iter().any(|peer| has_node(&peer.node_selectors)) {
        return Vec::new();
    }
    let families: BTreeSet<Family> = pool.ranges.iter().map(|range| range.family()).collect();
    let (carried, missing): (Vec<Family>, Vec<Family>) = [Family::V4, Family::V6].into_iter().partition(|it| view.reaches(&pool.name, *it));
    if carried.is_empty() {
        return vec![Unmatched::NoSession { pool: pool_name() }];
    }
    let missing = missing.into_iter().filter(|family| families.contains(family));
    missing.map(|family| Unmatched::FamilyNotSpoken { pool: pool_name(), family }).collect()
}

fn without_network(view: View<'_>, pool: &Pool, members: &[(&Node, &LivingMember)]) -> Option<Unmatched> {
    let config = view.config;
    if [Family::V4, Family::V6].into_iter().any(|family| view.reaches(&pool.name, family)) {
        return None;
    }
    let of_pool = config.l2_advertisements.iter().filter(|advertisement| advertisement.pools.contains(&pool.name));
    let mut prefixes = BTreeSet::new();
    let mut by_network = false;
    for (advertisement, (node, member)) in of_pool.flat_map(|advertisement| members.iter().map(move |member| (advertisement, member))) {
        if !matches_any(&advertisement.node_selectors, &node.labels) {
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
            Self::NoNode { kind, name, missing } => format!("{kind} {name} matches no node: {}", list(missing, "; ")),
            Self::NoInterface { advertisement, interface, there } => format!(
                "L2Advertisement {advertisement} names interface {interface}, which no node that it matches has (there is {})",
                list(there, ", ")
            ),
            Self::NoAdvertisement { pool } => format!("nobody can announce pool {pool}: no advertisement reaches it"),
            Self::NoPeer { pool } => format!("nobody can announce pool {pool}: its BGPAdvertisements are for no peer that there is"),
            Self::NoSession { pool } => {
                format!("nobody can announce pool {pool}: no node that its BGPAdvertisements match speaks with a peer that they are for")
            }
            Self::FamilyNotSpoken { pool, family } => {
                format!("nobody can announce the {family} addresses of pool {pool}: no session with a router carries that family")
            }
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
                format!("see why: {PODS}")
            }
            Self::NoNode { .. } => "label a node or change its nodeSelectors".to_owned(),
            Self::NoInterface { .. } => "correct `interfaces`".to_owned(),
            Self::NoAdvertisement { .. } => "add an L2Advertisement that names it".to_owned(),
            Self::NoPeer { .. } => "add a BGPPeer, or correct `peers` in the advertisement".to_owned(),
            Self::NoSession { .. } => "bring the nodeSelectors of peers and advertisements together".to_owned(),
            Self::FamilyNotSpoken { family, .. } => {
                format!("set dualStackAddressFamily: true on a peer, or add one at an {family} address")
            }
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
