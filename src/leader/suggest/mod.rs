//! Free addresses for who has configured none: where to look for them, which ones to ask the LAN for, and which range is best.
//!
//! ```text
//!  links, members ─► networks ─► candidates ─► (the LAN is asked) ─► choose ─► Offer ─► Advice, with the command that takes it
//! ```
//!
//! Silence proves little: a machine that is off does not answer, and a DHCP server may give the address away tomorrow. So this is never
//! more than a proposal, and whoever tells it says so.

pub mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::reserve::reserved;
use crate::addr::{Family, Prefix, Range, RangeSet};
use crate::config::Config;
use crate::config::origin::{Origin, Origins};
use crate::facts::{Answers, Link, LinkName, Links, MemberLink, Question, Questions, Role, Snapshot};
use crate::plan::eligible::may_announce;
use crate::plan::{Serving, is_served};

/// How many addresses are proposed unless somebody says otherwise.
pub const COUNT: usize = 11;
/// Most addresses that can be asked for: what is proposed lies in one block of 256.
pub const COUNT_MAX: usize = 128;
/// How far below the usual place is looked for others, if somebody uses addresses there.
const BELOW: usize = 21;
/// So many addresses at the end of a network are left to who counts from above: routers with .254, for example.
const TOP: usize = 15;
/// Requests without an answer after which nobody has the address. The asker sends the fifth after a second: telephones sleep that long.
const UNANSWERED: u32 = 5;

/// A network of this host where addresses could be announced.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Network {
    /// Its addresses.
    pub prefix: Prefix,
    /// This host's link there.
    pub link: LinkName,
    /// Members that are on it, as their Leases tell.
    pub nodes: usize,
}

/// The networks of this host, for each family the best one first: that of the most members, then that of a gateway, in IPv6 one that no
/// provider can renumber (RFC 4193).
pub fn networks(config: &Config, snapshot: &Snapshot, links: &Links) -> Vec<Network> {
    let usable = |link: &&Link| link.up && link.role == Role::Own && may_announce(config, link);
    let members = snapshot.members.values().filter(|member| member.instance.is_some());
    let of_members: Vec<BTreeSet<Prefix>> = members.map(|member| member.links.iter().flat_map(MemberLink::prefixes).collect()).collect();
    let mut networks: BTreeMap<Prefix, Network> = BTreeMap::new();
    for (prefix, link) in links.links.values().filter(usable).flat_map(|link| link.prefixes().map(move |prefix| (prefix, link))) {
        let nodes = of_members.iter().filter(|prefixes| prefixes.contains(&prefix)).count();
        networks.entry(prefix).or_insert_with(|| Network { prefix, link: link.name.clone(), nodes });
    }
    let mut networks: Vec<Network> = networks.into_values().filter(|network| block(network.prefix).len() >= 6).collect();
    let has_gateway = |prefix: Prefix| links.gateways.iter().any(|gateway| prefix.contains(*gateway));
    let is_local = |prefix: Prefix| matches!(prefix.first(), IpAddr::V6(v6) if v6.is_unique_local());
    networks.sort_by_key(|network| {
        let Network { prefix, nodes, .. } = *network;
        (Family::of(prefix.first()), !is_local(prefix), usize::MAX - nodes, !has_gateway(prefix), prefix)
    });
    networks
}

/// Addresses that are known to be taken, without asking anybody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    addresses: BTreeSet<IpAddr>,
    pools: RangeSet,
}

impl Taken {
    /// Those of nodes, gateways, conflicts, this host, pools, address Leases and Services.
    pub fn of(config: &Config, snapshot: &Snapshot, links: &Links) -> Self {
        let own = links.links.values().flat_map(|link| &link.addresses).map(ipnet::IpNet::addr);
        let services = snapshot.services.values().flat_map(|service| service.ingress.iter().copied());
        let known = reserved(snapshot).into_keys().chain(own).chain(links.gateways.iter().copied());
        let addresses = known.chain(services).chain(snapshot.claims.keys().copied()).collect();
        Self { addresses, pools: config.pools.iter().flat_map(|pool| pool.ranges.iter().copied()).collect() }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.pools.contains(address)
    }
}

/// The hosts of the block of 256 in which addresses are proposed, ascending: in IPv4 the last one of the network, in IPv6 the last one of
/// those that differ in 16 bits (`…::ff01` and on). The block's own ends are left out: old devices take .0 and .255 for something else.
fn block(prefix: Prefix) -> Vec<IpAddr> {
    match (prefix.first(), prefix.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (u32::from(first), u32::from(last));
            (first.max(last & !0xff) + 1..last).map(|number| Ipv4Addr::from(number).into()).collect()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let first = u128::from(first);
            let last = u128::from(last).min(first | 0xffff);
            (first.max(last & !0xff).saturating_add(1)..last).map(|number| Ipv6Addr::from(number).into()).collect()
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
    }
}

/// How many addresses of a block may be proposed, and from where on they usually are: .240 in a network of 254 hosts; of a small one at
/// most half.
fn usual(hosts: usize, count: usize) -> (usize, usize) {
    let count = count.clamp(1, COUNT_MAX).min(hosts / 2);
    let top = if hosts >= 4 * TOP { TOP.max(count) } else { count };
    (count, hosts - top)
}

/// The addresses of `prefix` to ask the LAN for before `count` of them are proposed, ascending.
pub fn candidates(prefix: Prefix, taken: &Taken, count: usize) -> Vec<IpAddr> {
    let hosts = block(prefix);
    let (count, start) = usual(hosts.len(), count);
    let from = start.saturating_sub(BELOW.max(count));
    hosts.into_iter().skip(from).filter(|address| !taken.contains(*address)).collect()
}

/// The best range of at most `count` of the `free` addresses: as many as asked for, in the usual place or next to it, else the longest
/// range there is. `None`: none is free.
pub fn choose(prefix: Prefix, free: &BTreeSet<IpAddr>, count: usize) -> Option<Range> {
    let hosts = block(prefix);
    let (count, usual) = usual(hosts.len(), count);
    let run = |start: usize| hosts[start..].iter().take(count).take_while(|address| free.contains(*address)).count();
    let best = (0..hosts.len()).max_by_key(|start| (run(*start), usize::MAX - start.abs_diff(usual), *start))?;
    let length = run(best).checked_sub(1)?;
    Range::new(hosts[best], hosts[best + length])
}

/// A range that seems to be free.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Nobody answered for any of these.
    pub range: Range,
    /// Where that was asked.
    pub network: Network,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ({})", self.range, self.network.link, self.network.prefix)
    }
}

/// What can be said to who has configured no addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Advice {
    /// What seems to be free, at most one range of each family; none: nobody knows.
    pub free: Vec<Offer>,
    /// Where the configuration comes from; nothing: from the usual ConfigMap.
    pub origins: Origins,
    /// Whether the ConfigMap is there already, and holds no addresses.
    pub exists: bool,
}

impl Advice {
    /// The command that configures what is offered; `None` where no command does.
    pub fn command(&self) -> Option<String> {
        let addresses = self.addresses();
        let (namespace, name) = match (&self.origins.text, &self.origins.namespaces[..]) {
            (Some(Origin::ConfigMap { namespace, name }), _) => (namespace.as_str(), name.as_str()),
            (None, []) => ("lanlord", "lanlord"),
            _ => return None,
        };
        Some(if self.exists {
            format!("kubectl patch configmap {name} -n {namespace} --type merge -p '{{\"data\":{{\"addresses\":\"{addresses}\"}}}}'")
        } else {
            format!("kubectl create configmap {name} -n {namespace} --from-literal addresses={addresses}")
        })
    }

    /// What to do, where that is no command.
    fn edit(&self) -> String {
        let addresses = self.addresses();
        match &self.origins.text {
            Some(Origin::Path(path)) => format!("write \"addresses: {addresses}\" into {}", path.display()),
            _ => format!(
                "create an IPAddressPool of {addresses} and an L2Advertisement in namespace {}",
                self.origins.namespaces.join(" or ")
            ),
        }
    }

    fn addresses(&self) -> String {
        let ranges: Vec<String> = self.free.iter().map(|offer| offer.range.to_string()).collect();
        if ranges.is_empty() { "FIRST-LAST".to_owned() } else { ranges.join(",") }
    }
}

/// The second half of a sentence about addresses that are not configured.
impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.command();
        if self.free.is_empty() {
            return write!(f, "give Lanlord a free range of your network: {}", command.unwrap_or_else(|| self.edit()));
        }
        let free: Vec<String> = self.free.iter().map(ToString::to_string).collect();
        let action = command.map_or_else(|| self.edit(), |command| format!("run: {command}"));
        write!(f, "nobody answers for {}: if your router's DHCP range leaves them out, {action}", free.join(" and for "))
    }
}

/// What the leader knows of free addresses at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Prospect {
    /// The LAN has not been asked yet: within seconds there is more to say.
    #[default]
    NotYet,
    /// All there is to say.
    Known(Advice),
}

/// Where and for what to ask.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inquiry {
    networks: Vec<Network>,
    /// The questions to the LAN.
    pub questions: Questions,
}

impl Inquiry {
    /// What is to be asked while Services wait and no address is configured; `None`: nobody needs an answer.
    pub fn of(config: &Config, snapshot: &Snapshot, links: &Links) -> Option<Self> {
        let waiting = || snapshot.services.values().filter(|service| is_served(config, snapshot, service) == Serving::Ours);
        if !config.pools.is_empty() || waiting().next().is_none() {
            return None;
        }
        let ipv6 = waiting().any(|service| service.families.contains(&Family::V6));
        let all = networks(config, snapshot, links);
        let best = |family| all.iter().find(|network| Family::of(network.prefix.first()) == family).cloned();
        let networks: Vec<Network> = best(Family::V4).into_iter().chain(best(Family::V6).filter(|_| ipv6)).collect();
        let taken = Taken::of(config, snapshot, links);
        let questions = networks.iter().flat_map(|network| {
            let link = network.link.clone();
            candidates(network.prefix, &taken, COUNT).into_iter().map(move |address| Question { link: link.clone(), address, mac: None })
        });
        Some(Self { questions: questions.collect(), networks })
    }

    /// Whether every question has its answer, or has waited long enough for one.
    pub fn is_settled(&self, answers: &Answers) -> bool {
        self.questions.iter().all(|question| answers.get(question).is_some_and(|it| it.mac.is_some() || it.unanswered >= UNANSWERED))
    }

    /// What came of it.
    pub fn offers(&self, answers: &Answers) -> Vec<Offer> {
        let silent = |question: &&Question| answers.get(*question).is_some_and(|it| it.mac.is_none() && it.unanswered >= UNANSWERED);
        let free: BTreeSet<IpAddr> = self.questions.iter().filter(silent).map(|question| question.address).collect();
        let offers =
            self.networks.iter().map(|network| Some(Offer { range: choose(network.prefix, &free, COUNT)?, network: network.clone() }));
        offers.flatten().collect()
    }
}
