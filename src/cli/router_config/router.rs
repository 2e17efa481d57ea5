//! What a router has to know of the nodes that speak BGP with it, whatever its language: a pure function from configuration and Nodes.
//!
//! Everything is seen from the router: its own AS first, intervals of BFD turned around, of the routes only those that Lanlord may send.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::addr::{Family, Range};
use crate::config::{BfdProfile, BgpAdvertisement, BgpPeer, Config, Neighbor, Password, PeerPassword, RemoteAs};
use crate::facts::{LivingMember, Node, NodeName, Snapshot};
use crate::plan::eligible::matches_any;
use crate::plan::peers::{next_hop, peers_of, speaks};

/// What stands for a password that is not printed.
pub(super) const NO_PASSWORD: &str = "THE-PASSWORD";
/// Names on the router begin with it, so that they are nobody else's.
pub(super) const PREFIX: &str = "lanlord";

/// What is asked for beside the configuration.
pub(super) struct Question<'a> {
    /// Peers by name; empty: all, if they are one router.
    pub(super) peers: &'a [String],
    /// The router's AS, where the configuration leaves it open.
    pub(super) asn: Option<u32>,
    /// Print passwords that the configuration holds.
    pub(super) show_passwords: bool,
    /// Where the agents run, and so the Secrets.
    pub(super) namespace: &'a str,
    /// What members say of their links is not known: addresses of sessions are those of the Nodes.
    pub(super) assumed: bool,
}

/// One router.
#[derive(Debug)]
pub(super) struct Router {
    /// Its AS.
    pub(super) asn: u32,
    /// Its BGP Identifier, if one of the peers has an IPv4 address for it.
    pub(super) identifier: Option<Ipv4Addr>,
    /// How the nodes speak with it, one for each peer of the configuration.
    pub(super) groups: Vec<Group>,
    /// What it may accept, by family: a prefix, and the only length that routes within it have. No family is empty.
    pub(super) accepted: BTreeMap<Family, BTreeSet<(IpNet, u8)>>,
    /// Nodes that should speak with it, but from which address is not known, with the peer's name.
    pub(super) unknown: Vec<(NodeName, String)>,
    /// The addresses of the neighbours are those of the Nodes; no member told of its links.
    pub(super) assumed: bool,
}

/// The nodes that speak with the router in one way.
#[derive(Debug)]
pub(super) struct Group {
    /// The name on the router.
    pub(super) name: String,
    /// The router's address on these sessions.
    pub(super) address: IpAddr,
    /// The AS the router sees the nodes in.
    pub(super) asn: u32,
    /// They are of the router's own AS.
    pub(super) internal: bool,
    /// The port that is dialled.
    pub(super) port: u16,
    /// Seconds.
    pub(super) hold_time: u64,
    /// Seconds.
    pub(super) keepalive_time: u64,
    /// What the sessions carry, of the families in [`Router::accepted`].
    pub(super) families: BTreeSet<Family>,
    /// IPv4 routes may come with IPv6 next hops (RFC 8950).
    pub(super) extended_next_hop: bool,
    /// Nodes and router are on one link.
    pub(super) adjacent: bool,
    /// GTSM (RFC 5082): so many hops at most.
    pub(super) security: Option<u8>,
    /// How BFD watches the sessions.
    pub(super) bfd: Option<Bfd>,
    /// The key of TCP MD5.
    pub(super) key: Option<Key>,
    /// The nodes ask for their routes to be kept while they restart (RFC 4724).
    pub(super) graceful_restart: bool,
    /// The nodes, and the addresses their sessions come from. Not empty.
    pub(super) nodes: Vec<(NodeName, IpAddr)>,
}

/// BFD as the router has to be told: it may send as often as the nodes take, and take as often as they send. Milliseconds.
#[derive(Debug)]
pub(super) struct Bfd {
    pub(super) name: String,
    pub(super) receive: u128,
    pub(super) transmit: u128,
    pub(super) multiplier: u8,
    /// Over several hops (RFC 5883): the TTL packets have to have at least.
    pub(super) minimum_ttl: Option<u8>,
}

/// A password.
#[derive(Debug)]
pub(super) struct Key {
    text: Option<Password>,
    /// How to know it; `None`: it is printed.
    pub(super) whence: Option<String>,
}

impl Key {
    /// What to print for it.
    pub(super) fn printed(&self) -> &str {
        self.text.as_ref().map_or(NO_PASSWORD, |Password(text)| text)
    }
}

impl Router {
    /// The router that is asked about.
    ///
    /// # Errors
    /// Why it cannot be told apart, or what is not known of it, and what to do.
    pub(super) fn new(config: &Config, snapshot: &Snapshot, question: &Question<'_>) -> anyhow::Result<Self> {
        anyhow::ensure!(!snapshot.nodes.is_empty(), "there is no Node, so nobody to let the router speak with");
        let peers = choose(&config.bgp.peers, question.peers)?;
        let asn = agree(&peers, question.asn)?;
        let (mut groups, mut unknown, mut accepted) = (Vec::new(), Vec::new(), BTreeMap::new());
        for peer in &peers {
            let Neighbor::Address(address) = peer.neighbor else {
                anyhow::bail!(
                    "peer {} is at a link-local address, so its sessions come from link-local addresses of the nodes, which nothing \
                     records; use an address of the network, or write the router's side by hand",
                    peer.name
                );
            };
            let nodes: Vec<&Node> =
                snapshot.nodes.values().map(AsRef::as_ref).filter(|node| peers_of(config, node).any(|it| it == *peer)).collect();
            anyhow::ensure!(!nodes.is_empty(), "no node speaks with peer {}: its nodeSelectors match none", peer.name);
            accept(config, peer, &nodes, &mut accepted);
            let member = |node: &Node| {
                let member = snapshot.members.get(&node.name).filter(|_| !question.assumed);
                member.map_or_else(LivingMember::default, |member| LivingMember::of(member))
            };
            let from =
                |node: &&Node| next_hop(peer, node, &member(node), Family::of(address)).filter(|it| it.is_ipv4() == address.is_ipv4());
            let known: Vec<(NodeName, IpAddr)> = nodes.iter().filter_map(|node| Some((node.name.clone(), from(node)?))).collect();
            unknown.extend(nodes.iter().filter(|node| from(node).is_none()).map(|node| (node.name.clone(), peer.name.clone())));
            anyhow::ensure!(!known.is_empty(), "no node that speaks with peer {} has an {} address", peer.name, Family::of(address));
            let adjacent = |name: &NodeName| is_adjacent(peer, &member(&snapshot.nodes[name]), address);
            let (near, far): (Vec<_>, Vec<_>) = known.into_iter().partition(|(name, _)| adjacent(name));
            let suffix = if near.is_empty() { "" } else { "-far" };
            for (suffix, nodes, adjacent) in [("", near, true), (suffix, far, false)] {
                if !nodes.is_empty() {
                    groups.push(Group::new(config, peer, address, adjacent, nodes, suffix, question));
                }
            }
        }
        let names = list(peers.iter().map(|peer| &peer.name));
        anyhow::ensure!(!accepted.is_empty(), "nothing is announced to {names}: no BGPAdvertisement for it reaches a pool of its families");
        for group in &mut groups {
            group.families.retain(|family| accepted.contains_key(family));
        }
        let identifier = groups.iter().find_map(|group| if let IpAddr::V4(v4) = group.address { Some(v4) } else { None });
        Ok(Self { asn, identifier, groups, accepted, unknown, assumed: question.assumed })
    }

    /// Room for the ways to one address: each session may be one.
    pub(super) fn paths(&self) -> usize {
        self.groups.iter().map(|group| group.nodes.len()).sum::<usize>().max(8)
    }

    /// Ways through different ASes have to count as equal.
    pub(super) fn has_several_ases(&self) -> bool {
        self.groups.iter().filter(|group| !group.internal).map(|group| group.asn).collect::<BTreeSet<_>>().len() > 1
    }

    /// More routes than the pools can make, so that only a mistake is above it. A pool of IPv6 has addresses without number: 20,000 then.
    pub(super) fn limit(&self, family: Family) -> u128 {
        let possible = |(net, length): &(IpNet, u8)| 1_u128.checked_shl(u32::from(length - net.prefix_len())).unwrap_or(u128::MAX);
        let all = self.accepted.get(&family).into_iter().flatten().map(possible).fold(0, u128::saturating_add);
        all.saturating_mul(2).clamp(100, 20_000)
    }

    /// Whether a session is watched by BFD.
    pub(super) fn has_bfd(&self) -> bool {
        self.groups.iter().any(|group| group.bfd.is_some())
    }

    /// The ports of TCP that the nodes dial.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.groups.iter().map(|group| group.port).collect::<BTreeSet<_>>().into_iter()
    }

    /// The ports of UDP that BFD uses (RFC 5881 §4, RFC 5883 §5).
    pub(super) fn bfd_ports(&self) -> impl Iterator<Item = u16> {
        let watched = self.groups.iter().filter(|group| group.bfd.is_some());
        watched.map(|group| if group.adjacent { 3784 } else { 4784 }).collect::<BTreeSet<_>>().into_iter()
    }

    /// All nodes with the group they are in.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (&Group, &NodeName, IpAddr)> {
        self.groups.iter().flat_map(|group| group.nodes.iter().map(move |(node, address)| (group, node, *address)))
    }
}

impl Group {
    fn new(
        config: &Config,
        peer: &BgpPeer,
        address: IpAddr,
        adjacent: bool,
        nodes: Vec<(NodeName, IpAddr)>,
        suffix: &str,
        question: &Question<'_>,
    ) -> Self {
        let families: BTreeSet<Family> = [Family::V4, Family::V6].into_iter().filter(|family| speaks(peer, *family)).collect();
        Self {
            name: format!("{PREFIX}-{}{suffix}", peer.name),
            address,
            asn: peer.local_asn.unwrap_or(peer.my_asn),
            internal: peer.is_internal(),
            port: peer.peer_port,
            hold_time: peer.hold_time.as_secs(),
            keepalive_time: peer.keepalive_time.as_secs(),
            extended_next_hop: address.is_ipv6() && families.contains(&Family::V4),
            families,
            adjacent,
            // What comes from the link itself came over one hop, whatever is allowed.
            security: peer.ttl_security_hops.map(|hops| if adjacent { 1 } else { hops }),
            bfd: peer.bfd_profile.as_ref().and_then(|name| Some(bfd(name, config.bgp.bfd_profiles.get(name)?, adjacent))),
            key: peer.password.as_ref().map(|password| key(password, peer, question)),
            graceful_restart: peer.graceful_restart,
            nodes,
        }
    }

    /// Seconds, as in `hold time 90, keepalive time 30`; the router has no better ones of its own.
    pub(super) fn has_keepalives(&self) -> bool {
        self.hold_time > 0
    }
}

/// The peers that are meant.
fn choose<'c>(peers: &'c [BgpPeer], wanted: &[String]) -> anyhow::Result<Vec<&'c BgpPeer>> {
    let all = || list(peers.iter().map(|peer| format!("{} ({})", peer.name, peer.neighbor)));
    anyhow::ensure!(!peers.is_empty(), "the configuration has no BGP peer, so there is nothing to tell a router");
    if wanted.is_empty() {
        let one = peers.iter().all(|peer| peer.neighbor == peers[0].neighbor);
        anyhow::ensure!(one, "there is more than one router: say with --peer which one is meant: {}", all());
        return Ok(peers.iter().collect());
    }
    if let Some(name) = wanted.iter().find(|name| !peers.iter().any(|peer| peer.name == **name)) {
        anyhow::bail!("there is no peer {name}; there is {}", all());
    }
    Ok(peers.iter().filter(|peer| wanted.contains(&peer.name)).collect())
}

/// The AS that all of them say the router is of.
fn agree(peers: &[&BgpPeer], given: Option<u32>) -> anyhow::Result<u32> {
    let of = |peer: &BgpPeer| match peer.remote_as {
        RemoteAs::Number(number) => Some(number),
        RemoteAs::Internal => Some(peer.local_asn.unwrap_or(peer.my_asn)),
        RemoteAs::External => given,
    };
    let mut agreed: Option<(u32, &str)> = given.map(|asn| (asn, "--asn"));
    for peer in peers {
        let Some(asn) = of(peer) else {
            anyhow::bail!("peer {} takes a router of any other AS (dynamicASN: external): say with --asn of which it is", peer.name);
        };
        match agreed {
            Some((other, name)) if other != asn => {
                anyhow::bail!("the router is of AS {other} by {name} and of AS {asn} by peer {}: choose with --peer", peer.name);
            }
            Some(_) | None => agreed = Some((asn, &peer.name)),
        }
    }
    Ok(agreed.expect("there is a peer").0)
}

/// Whether node and router share a link. The agent asks its routes, and speaks BFD of the one kind or the other by it; here, what its Lease
/// says of its links has to do. Where nothing is known, a router is as far away as the configuration allows.
fn is_adjacent(peer: &BgpPeer, member: &LivingMember, router: IpAddr) -> bool {
    let is_said_to_be_far = peer.ebgp_multi_hop || peer.ttl_security_hops.is_some_and(|hops| hops > 1);
    if !is_said_to_be_far && (member.links.is_empty() || !peer.is_internal()) {
        return true;
    }
    member.links.iter().any(|link| link.on_link(router))
}

/// Adds what `peer` may be told by `nodes`.
fn accept(config: &Config, peer: &BgpPeer, nodes: &[&Node], accepted: &mut BTreeMap<Family, BTreeSet<(IpNet, u8)>>) {
    let its = |it: &&BgpAdvertisement| it.is_for(&peer.name) && nodes.iter().any(|node| matches_any(&it.node_selectors, &node.labels));
    for advertisement in config.bgp.advertisements.iter().filter(its) {
        let pools = config.pools.iter().filter(|pool| advertisement.pools.contains(&pool.name));
        for range in pools.flat_map(|pool| pool.addresses.ranges()).filter(|range| speaks(peer, range.family())) {
            let length = match range.family() {
                Family::V4 => advertisement.aggregation_length,
                Family::V6 => advertisement.aggregation_length_v6,
            };
            // The end of a range may be shorter than an aggregate, which then is the whole of it.
            let whole = |block: IpNet| {
                let net = IpNet::new(block.addr(), block.prefix_len().min(length)).expect("not longer than it was");
                (net.trunc(), length)
            };
            accepted.entry(range.family()).or_default().extend(blocks(range).into_iter().map(whole));
        }
    }
}

/// The fewest prefixes that are exactly `range`.
fn blocks(range: Range) -> Vec<IpNet> {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
        (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
        _ => Vec::new(),
    }
}

fn bfd(name: &str, profile: &BfdProfile, adjacent: bool) -> Bfd {
    Bfd {
        name: format!("{PREFIX}-{name}"),
        receive: profile.transmit_interval.as_millis(),
        transmit: profile.receive_interval.as_millis(),
        multiplier: profile.detect_multiplier,
        minimum_ttl: (!adjacent).then_some(profile.minimum_ttl),
    }
}

fn key(password: &PeerPassword, peer: &BgpPeer, question: &Question<'_>) -> Key {
    let hidden = |whence: String| Key { text: None, whence: Some(format!("replace {NO_PASSWORD} by {whence}")) };
    match password {
        PeerPassword::Secret { name, key } => hidden(format!(
            "what this prints: kubectl get secret -n {} {name} -o go-template='{{{{index .data \"{key}\" | base64decode}}}}'",
            question.namespace
        )),
        PeerPassword::Text(_) if !question.show_passwords => {
            hidden(format!("the password of peer {} in Lanlord's configuration (--show-passwords prints it here)", peer.name))
        }
        PeerPassword::Text(Password(text)) if !is_plain(text) => {
            hidden(format!("the password of peer {} in Lanlord's configuration: some of its characters mean something here", peer.name))
        }
        PeerPassword::Text(text) => Key { text: Some(text.clone()), whence: None },
    }
}

/// Whether every router takes it as it stands, in quotation marks or not.
fn is_plain(password: &str) -> bool {
    password.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '$' | '?'))
}

/// `a, b`
pub(super) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
