//! `lanlord suggest`: free addresses of this host's networks, and the command that takes them.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::answer::{Output, exit, wait_for, write_report};
use super::host::{Heard, Host, Place, Sender, ask, may_ask};
use super::table::{row, table};
use crate::addr::{Family, Range};
use crate::facts::LinkName;
use crate::leader::suggest::{Advice, COUNT, COUNT_MAX, Network, Offer, Taken, candidates, choose, networks};

/// Suggest free addresses: ask the networks of this host who uses what, and print the command that configures a free range
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It asks by ARP probes and Neighbor Solicitations for the addresses near the top of each network, which takes about a second. Nobody's \
caches change by it. Addresses of nodes, gateways, pools and Services are left out without asking.

A machine that is off does not answer, and a DHCP server may give away tomorrow what is free today: look up the DHCP range of your \
router, and keep out of it.

Exit codes: 0 there is a free range, 1 there is none, 2 nobody could be asked.

Examples:
  lanlord suggest
  kubectl exec -n lanlord ds/lanlord -- /lanlord suggest
  lanlord suggest --count 30
  lanlord suggest -o json | jq -r .command")]
pub struct Suggest {
    /// How many addresses
    #[arg(long, value_name = "N", default_value_t = COUNT, value_parser = count)]
    count: usize,

    #[command(flatten)]
    place: Place,

    /// What to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count));
    count.ok_or_else(|| format!("a number from 1 to {COUNT_MAX}"))
}

/// What was found: the JSON form is this, field by field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SuggestReport {
    /// Every network that was asked, the best one of each family first.
    pub networks: Vec<NetworkReport>,
    /// The command that configures the best ranges; `null`: there is none, or pools are configured already.
    pub command: Option<String>,
    /// What has to be known of the answer.
    pub notes: Vec<String>,
}

/// One network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkReport {
    /// Its addresses.
    pub network: String,
    /// This host's link there.
    pub link: LinkName,
    /// Nodes on it, as the agents' Leases tell.
    pub nodes: usize,
    /// The addresses that were asked for; those that are known to be taken are not.
    pub asked: Vec<IpAddr>,
    /// Who answered.
    pub answered: Vec<Answered>,
    /// The range that is suggested; `null`: none is free.
    pub range: Option<String>,
}

/// An address that somebody uses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// Which address.
    pub address: IpAddr,
    /// Who answered for it.
    pub mac: String,
    /// The node that is, if it is one.
    pub node: Option<String>,
}

impl Suggest {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        let found = |report: &SuggestReport| report.networks.iter().any(|network| network.range.is_some());
        write_report(self.look(), self.output, text, found, out, err)
    }

    fn look(&self) -> anyhow::Result<SuggestReport> {
        may_ask()?;
        wait_for(async {
            let host = self.place.read().await?;
            let config = host.config.clone().unwrap_or_default();
            let taken = Taken::of(&config, &host.snapshot, &host.links);
            let all = networks(&config, &host.snapshot, &host.links);
            anyhow::ensure!(!all.is_empty(), "this host is on no network where addresses could be announced; see lanlord links");
            let asked: Vec<(Network, Vec<IpAddr>)> =
                all.into_iter().map(|network| (network.clone(), candidates(network.prefix, &taken, self.count))).collect();
            let questions = asked.iter().flat_map(|(network, addresses)| addresses.iter().map(|address| (network.link.clone(), *address)));
            let heard = ask(&host.links, &questions.collect(), Sender::Nobody).await?;
            Ok(report(&host, asked, &heard, self.count))
        })
    }
}

fn report(host: &Host, asked: Vec<(Network, Vec<IpAddr>)>, heard: &Heard, count: usize) -> SuggestReport {
    let mut notes = host.notes.clone();
    let mut free: Vec<Offer> = Vec::new();
    let mut networks = Vec::new();
    let ipv6 = host.snapshot.nodes.values().flat_map(|node| &node.addresses).any(IpAddr::is_ipv6);
    for (network, asked) in asked {
        let who = |address: IpAddr| heard.get(&(network.link.clone(), address)).into_iter().flatten().map(move |mac| (address, *mac));
        let answered = asked.iter().copied().flat_map(who).map(|(address, mac)| {
            let node = host.node_of(mac).map(ToString::to_string);
            Answered { address, mac: mac.to_string(), node }
        });
        let answered: Vec<Answered> = answered.collect();
        let silent: BTreeSet<IpAddr> =
            asked.iter().copied().filter(|address| !answered.iter().any(|answer| answer.address == *address)).collect();
        let range = choose(network.prefix, &silent, count);
        let family = Family::of(network.prefix.first());
        let first = !free.iter().any(|offer| offer.range.family() == family);
        free.extend(range.filter(|_| first && (ipv6 || family == Family::V4)).map(|range| Offer { range, network: network.clone() }));
        let (prefix, range) = (network.prefix.to_string(), range.as_ref().map(Range::to_string));
        networks.push(NetworkReport { network: prefix, link: network.link, nodes: network.nodes, asked, answered, range });
    }
    let configured = host.config.as_ref().is_some_and(|config| !config.pools.is_empty());
    if configured {
        notes.push("pools are configured already: add what you want of this to them".to_owned());
    }
    let advice = Advice { free, origins: host.origins.clone(), exists: host.exists };
    let command = advice.command().filter(|_| !configured && !advice.free.is_empty());
    SuggestReport { networks, command, notes }
}

/// The answer for people.
pub fn text(report: &SuggestReport) -> String {
    let mut rows = vec![row(["NETWORK", "LINK", "NODES", "FREE", "ASKED", "ANSWERED"])];
    for network in &report.networks {
        let answered = if network.answered.is_empty() { "nobody".to_owned() } else { network.answered.len().to_string() };
        let (nodes, asked) = (network.nodes.to_string(), network.asked.len().to_string());
        rows.push(row([&network.network, network.link.as_str(), &nodes, network.range.as_deref().unwrap_or("none"), &asked, &answered]));
    }
    let mut parts = vec![table(&rows)];
    let answered: String = report.networks.iter().flat_map(|network| &network.answered).map(one_answer).collect();
    parts.extend((!answered.is_empty()).then(|| format!("In use:\n{answered}")));
    parts.extend(report.command.as_ref().map(|command| format!("If your router's DHCP range leaves them out, run:\n\n  {command}\n")));
    parts.push(
        "note: a machine that is off does not answer\n".to_owned()
            + &report.notes.iter().map(|text| format!("note: {text}\n")).collect::<String>(),
    );
    parts.join("\n")
}

fn one_answer(answer: &Answered) -> String {
    let node = answer.node.as_ref().map(|node| format!(" (node {node})")).unwrap_or_default();
    format!("  {} by {}{node}\n", answer.address, answer.mac)
}
