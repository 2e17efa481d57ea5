//! `lanlord links`: the links of this host, which of them announce which addresses, and why others do not.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::answer::{Output, exit, wait_for, write_report};
use super::host::{Host, Place};
use super::table::{row, table};
use crate::addr::{MacAddr, Range};
use crate::config::Config;
use crate::facts::{Link, LinkName, Medium, Role};
use crate::plan::eligible::may_announce;

/// Show the links of this host: which ones Lanlord announces addresses on, which addresses, and why others are left out
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit codes: 0 addresses can be announced here, 1 no link can announce any, 2 the question could not be asked.

Examples:
  lanlord links
  kubectl exec -n lanlord POD -- /lanlord links --all
  lanlord links -o json | jq '.links[] | select(.used)'")]
pub struct Links {
    /// Also links without a network of their own: those of pods, ports of bridges, tunnels
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    place: Place,

    /// What to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

/// What there is: the JSON form is this, field by field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinksReport {
    /// Every link that is shown.
    pub links: Vec<LinkReport>,
    /// What has to be known of the answer.
    pub notes: Vec<String>,
}

/// One link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkReport {
    /// Its name.
    pub name: LinkName,
    /// Its link-layer address; `null`: it has none.
    pub mac: Option<String>,
    /// `wired` or `wireless`.
    pub medium: Medium,
    /// Switched on, with carrier.
    pub up: bool,
    /// Its addresses with their networks' lengths, without those that are valid on this link alone.
    pub addresses: Vec<String>,
    /// The addresses of pools that are on its networks.
    pub pool_addresses: Vec<String>,
    /// Addresses may be announced there.
    pub used: bool,
    /// Why not; `null`: they may.
    pub why_not: Option<String>,
}

impl Links {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        write_report(self.look(), self.output, text, |report| report.links.iter().any(|link| link.used), out, err)
    }

    fn look(&self) -> anyhow::Result<LinksReport> {
        let host = wait_for(self.place.read())?;
        Ok(report(host, self.all))
    }
}

fn report(host: Host, all: bool) -> LinksReport {
    let Host { links, config, mut notes, .. } = host;
    let config = config.unwrap_or_default();
    let total = links.links.len();
    let shown: Vec<LinkReport> =
        links.links.values().map(|link| link_report(&config, link)).filter(|link| all || link.used || !link.addresses.is_empty()).collect();
    if shown.len() < total {
        notes.push(format!("{} links without a network of their own are not shown; --all shows them", total - shown.len()));
    }
    if config.pools.is_empty() {
        notes.push("no pool is configured; lanlord suggest finds free addresses".to_owned());
    }
    LinksReport { links: shown, notes }
}

/// What is to be said of one link.
pub fn link_report(config: &Config, link: &Link) -> LinkReport {
    let prefixes: Vec<Range> = link.prefixes().map(Range::from).collect();
    let ranges = config.pools.iter().flat_map(|pool| &pool.ranges);
    let pool_addresses = ranges.flat_map(|range| prefixes.iter().filter_map(|prefix| range.intersection(*prefix)));
    let why_not = why_not(config, link);
    LinkReport {
        name: link.name.clone(),
        mac: (link.mac != MacAddr::ZERO).then(|| link.mac.to_string()),
        medium: link.medium,
        up: link.up,
        addresses: link.addresses.iter().filter(|net| !is_local(net)).map(ToString::to_string).collect(),
        pool_addresses: pool_addresses.map(|range| range.to_string()).collect(),
        used: why_not.is_none(),
        why_not: why_not.map(str::to_owned),
    }
}

fn is_local(net: &ipnet::IpNet) -> bool {
    matches!(net, ipnet::IpNet::V6(v6) if v6.addr().is_unicast_link_local())
}

fn why_not(config: &Config, link: &Link) -> Option<&'static str> {
    match link.role {
        Role::NoArp => Some("it cannot do ARP: a loopback, a tunnel or point-to-point"),
        Role::Port => Some("it is a port of a bridge or bond, which announces in its place"),
        Role::Own if !link.up => Some("it is down, or has no carrier"),
        Role::Own if may_announce(config, link) => None,
        Role::Own if link.prefixes().next().is_none() => Some("it has no network, and no advertisement names it"),
        Role::Own => Some("its name is left out (excludeInterfaces)"),
    }
}

/// The answer for people.
pub fn text(report: &LinksReport) -> String {
    let mut rows = vec![row(["LINK", "MAC", "MEDIUM", "STATE", "ADDRESSES", "POOL ADDRESSES", "USED"])];
    for link in &report.links {
        let listed = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(",") };
        let medium = match link.medium {
            Medium::Wired => "wired",
            Medium::Wireless => "wireless",
        };
        let used = link.why_not.as_ref().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
        rows.push(row([
            link.name.as_str(),
            link.mac.as_deref().unwrap_or("-"),
            medium,
            if link.up { "up" } else { "down" },
            &listed(&link.addresses),
            &listed(&link.pool_addresses),
            &used,
        ]));
    }
    table(&rows) + &report.notes.iter().map(|text| format!("note: {text}\n")).collect::<String>()
}
