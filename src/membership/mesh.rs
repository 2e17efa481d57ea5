//! Whom to watch, and how: the liveness sessions of this node, and where each other member and our own links can be asked for.
//!
//! One session per pair of an announcing link of ours and one of the other member that share a network: bound to the device, between
//! the addresses both have in that network, IPv4 if there is one. Up to [`FULL_MESH`] members everybody watches everybody; above that a
//! member is watched by those who would inherit from it, by a few neighbours in the order of names, and by the leader, so that packets
//! grow with the members and not with their square. Both ends compute the same sessions from the same facts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::judge::Watched;
use crate::addr::Prefix;
use crate::bfd::desired::{Desired, SessionDesired, SessionKey};
use crate::facts::{FULL_MESH, Heirs, Link, Links, Medium, Member, MemberLink, NodeName, Question, Questions, Snapshot};

/// Above [`FULL_MESH`]: neighbours watched on either side in the order of names, so that nobody is watched by nobody.
const NEIGHBOURS: usize = 2;

/// How liveness sessions are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// Interval and detect multiplier between wired links.
    pub wired: (Duration, u8),
    /// The same where either end is wireless.
    pub wireless: (Duration, u8),
    /// UDP port.
    pub port: u16,
}

impl Default for Timers {
    /// 100 ms × 4 wired, 500 ms × 8 wireless, port 7474 (docs/liveness.md).
    fn default() -> Self {
        Self { wired: (Duration::from_millis(100), 4), wireless: (Duration::from_millis(500), 8), port: 7474 }
    }
}

/// What this node knows of itself and of the others.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// This node.
    pub me: &'a NodeName,
    /// What the API server says.
    pub snapshot: &'a Snapshot,
    /// All links of this host.
    pub links: &'a Links,
    /// Those that may announce, as our own Lease tells them.
    pub own: &'a [MemberLink],
    /// Who would inherit the addresses of whom.
    pub heirs: &'a Heirs,
}

/// One pair of links that share a network.
struct Pair<'a> {
    own: &'a Link,
    local: IpAddr,
    peer: IpAddr,
    theirs: &'a MemberLink,
}

impl View<'_> {
    /// The members to watch. Of the others nothing is known: that they are not heard speaks neither against them nor against the LAN.
    pub fn members(&self, timers: &Timers) -> BTreeMap<NodeName, Watched> {
        let watched = |member: &Arc<Member>| {
            let pairs = self.pairs(member);
            let sessions = pairs.iter().map(|pair| key(pair, timers)).collect();
            let questions = pairs.iter().map(question).collect();
            let node_ready = self.snapshot.nodes.get(&member.node).is_some_and(|node| node.ready);
            let remote = pairs.is_empty() && self.is_remote(member);
            (member.node.clone(), Watched { member: member.clone(), sessions, questions, node_ready, remote })
        };
        self.watched_members().map(watched).collect()
    }

    /// The sessions wanted of BFD: also with those who lost their Leases, for an evicted member that does not know it yet (it was cut off)
    /// must not take us for lost because we do not speak to it.
    pub fn sessions(&self, timers: &Timers, detached: bool) -> Desired {
        let mut sessions = BTreeMap::new();
        let gone = self.snapshot.members.values().filter(|member| member.instance.is_none() && member.node != *self.me);
        let gone = gone.take(FULL_MESH.saturating_sub(self.holders().count()));
        for pair in self.watched_members().chain(gone).flat_map(|member| self.pairs(member)) {
            let wireless = pair.own.medium == Medium::Wireless || pair.theirs.medium == Medium::Wireless;
            let (interval, detect_mult) = if wireless { timers.wireless } else { timers.wired };
            let session = SessionDesired {
                index: pair.own.index,
                local: pair.local,
                desired_min_tx: interval,
                required_min_rx: interval,
                detect_mult,
                minimum_ttl: 255,
                passive: false,
                concatenated_path_down: detached,
            };
            sessions.insert(key(&pair, timers), session);
        }
        Desired { sessions, silent: false }
    }

    /// Those who can prove that our links work, beside the members: gateways.
    pub fn witnesses(&self) -> Questions {
        let ask = |link: &MemberLink| {
            let gateways = self.links.gateways.iter().filter(|gateway| link.on_link(**gateway));
            gateways.map(|address| Question { link: link.name.clone(), address: *address, mac: None }).collect::<Vec<_>>()
        };
        self.own.iter().flat_map(ask).collect()
    }

    /// Our place among the members, in the order of names.
    pub fn place(&self) -> u32 {
        let before = self.holders().filter(|member| member.node < *self.me);
        u32::try_from(before.count()).unwrap_or(u32::MAX)
    }

    fn holders(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.snapshot.members.values().filter(|member| member.instance.is_some())
    }

    fn watched_members(&self) -> impl Iterator<Item = &Arc<Member>> {
        let watched = self.watched();
        self.holders().filter(move |member| watched.contains(&member.node))
    }

    /// Those with whom this node has sessions, itself left out.
    fn watched(&self) -> BTreeSet<NodeName> {
        let names: Vec<&NodeName> = self.holders().map(|member| &member.node).collect();
        let others = || names.iter().copied().filter(|name| *name != self.me).cloned();
        let leader = self.snapshot.leader.as_ref().and_then(|leader| leader.holder.as_deref()).and_then(|holder| holder.rsplit_once('/'));
        if names.len() <= FULL_MESH || leader.is_some_and(|(node, _)| node == self.me.as_str()) {
            return others().collect();
        }
        let mut watched: BTreeSet<NodeName> = leader.map(|(node, _)| NodeName::new(node)).into_iter().collect();
        if let Some(place) = names.iter().position(|name| *name == self.me) {
            for step in 1..=NEIGHBOURS {
                watched.insert(names[(place + step) % names.len()].clone());
                watched.insert(names[(place + names.len() - step) % names.len()].clone());
            }
        }
        watched.extend(self.heirs.get(self.me).into_iter().flatten().cloned());
        watched.extend(self.heirs.iter().filter(|(_, heirs)| heirs.contains(self.me)).map(|(node, _)| node.clone()));
        watched.remove(self.me);
        watched
    }

    /// Nobody could hear `member`, not even we if all our links were up: it announces in networks where no other member has an address.
    /// Not to be told apart from a broken link of our own where we have none that works.
    fn is_remote(&self, member: &Member) -> bool {
        // More than a session needs: in doubt it is near, and the LAN is believed.
        let near = |a: &IpNet, b: &IpNet| Prefix::new(*a).contains(b.addr()) || Prefix::new(*b).contains(a.addr());
        let shares = |net: &IpNet| member.links.iter().flat_map(|theirs| &theirs.addresses).any(|their| near(net, their));
        let ours = || self.links.links.values().flat_map(|link| &link.addresses);
        let others =
            || self.holders().filter(|other| other.node != member.node).flat_map(|other| &other.links).flat_map(|link| &link.addresses);
        let connected = self.own.iter().any(|link| self.links.links.get(&link.name).is_some_and(|link| link.up));
        connected && !member.links.is_empty() && !ours().any(shares) && !others().any(shares)
    }

    /// Each of our links with each link of `member` that it shares a network with, and the addresses of both there.
    fn pairs<'a>(&'a self, member: &'a Member) -> Vec<Pair<'a>> {
        let own = self.own.iter().filter_map(|link| self.links.links.get(&link.name)).filter(|link| link.up);
        own.flat_map(|own| member.links.iter().filter_map(|theirs| pair(own, theirs))).collect()
    }
}

/// The addresses of the two links in a network they share, IPv4 first. Of several the lowest, by an order that both ends find alike.
fn pair<'a>(own: &'a Link, theirs: &'a MemberLink) -> Option<Pair<'a>> {
    let shared = own.addresses.iter().flat_map(|local| {
        let peers = theirs.addresses.iter().filter(|peer| share_a_network(local, peer));
        peers.map(|peer| (local.addr(), peer.addr()))
    });
    // IPv4 addresses come before IPv6 ones.
    let (local, peer) = shared.min_by_key(|(local, peer)| (*local.min(peer), *local.max(peer)))?;
    Some(Pair { own, local, peer, theirs })
}

fn share_a_network(a: &IpNet, b: &IpNet) -> bool {
    a.addr() != b.addr() && a.prefix_len() < a.max_prefix_len() && Prefix::new(*a).contains(b.addr()) && Prefix::new(*b).contains(a.addr())
}

fn key(pair: &Pair<'_>, timers: &Timers) -> SessionKey {
    SessionKey { link: pair.own.name.clone(), peer: pair.peer, port: timers.port }
}

fn question(pair: &Pair<'_>) -> Question {
    Question { link: pair.own.name.clone(), address: pair.peer, mac: Some(pair.theirs.mac) }
}

/// The judge's desired set.
pub fn desired(view: &View<'_>, timers: &Timers, restart_hold: Duration, prove: bool, detached: bool) -> Arc<super::judge::Desired> {
    let (members, witnesses) = (view.members(timers), view.witnesses());
    Arc::new(super::judge::Desired { members, witnesses, place: view.place(), restart_hold, prove, detached })
}
