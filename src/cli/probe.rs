//! `lanlord probe`: who answers for an address on the LAN, as seen from this host, and what that means.

mod meaning;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::answer::{Output, PROBLEMS, UNASKED, WELL, exit, wait_for, write_report};
use super::host::{Heard, Host, Place, Sender, ask, may_ask};
use crate::facts::{Link, LinkName, NodeName, Role};
pub use meaning::{Expected, Meaning, Seen, meaning};

/// Ask the LAN who answers for an address, and say what the answers mean
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It asks by ARP or Neighbor Solicitation on each link of this host whose network holds the address, and gathers every answer of about a \
second: two machines with one address are seen, too. What the kernel believes to know is not asked.

The node that announces an address does not hear itself. Run it on another node as well: kubectl lanlord probe IP asks from all of them. \
A connection to the address from a node would prove nothing, for kube-proxy on that very node takes it.

Exit codes: 0 all is as it should be, 1 there is something to look at, 2 nobody could be asked from here.

Examples:
  lanlord probe 192.168.1.240
  lanlord probe fd00::240 --link eth0
  kubectl exec -n lanlord POD -- /lanlord probe 192.168.1.240
  lanlord probe 192.168.1.240 -o json | jq '.addresses[].answers[].mac'")]
pub struct Probe {
    /// The addresses
    #[arg(required = true, value_name = "IP")]
    addresses: Vec<IpAddr>,

    /// Ask on this link only, whatever its networks are
    #[arg(long, value_name = "NAME")]
    link: Option<String>,

    #[command(flatten)]
    place: Place,

    /// What to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

/// What was heard: the JSON form is this, field by field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReport {
    /// The node it was asked from, if this host is one.
    pub node: Option<NodeName>,
    /// An entry for each address asked for.
    pub addresses: Vec<AddressReport>,
    /// What has to be known of the answer.
    pub notes: Vec<String>,
}

/// One address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressReport {
    /// Which address.
    pub address: IpAddr,
    /// The links it was asked on; none: it is on no network of this host.
    pub asked: Vec<LinkName>,
    /// Everybody who answered.
    pub answers: Vec<Answer>,
    /// All is as it should be; `null`: nobody was asked.
    pub well: Option<bool>,
    /// What that means.
    pub means: String,
    /// What to do about it; `null`: nothing.
    pub action: Option<String>,
}

/// One that answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Where.
    pub link: LinkName,
    /// Who.
    pub mac: String,
    /// The node that is; `null`: none that an agent runs on.
    pub node: Option<NodeName>,
}

impl Probe {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        let (report, mut code) = (self.look(), UNASKED);
        if let Ok(report) = &report {
            let well: Vec<bool> = report.addresses.iter().filter_map(|address| address.well).collect();
            code = if well.is_empty() {
                UNASKED
            } else if well.contains(&false) {
                PROBLEMS
            } else {
                WELL
            };
        }
        write_report(report, self.output, text, |_| true, out, err).map(|_| code)
    }

    fn look(&self) -> anyhow::Result<ProbeReport> {
        may_ask()?;
        wait_for(async {
            let host = self.place.read().await?;
            if let Some(link) = &self.link {
                let usable = host.links.links.get(link.as_str()).is_some_and(can_ask);
                anyhow::ensure!(
                    usable,
                    "nobody can be asked on {link}: there is no such link, or it is down, or cannot do ARP; see lanlord links --all"
                );
            }
            let asked: BTreeMap<IpAddr, Vec<LinkName>> =
                self.addresses.iter().map(|address| (*address, self.links(&host, *address))).collect();
            let questions: BTreeSet<(LinkName, IpAddr)> =
                asked.iter().flat_map(|(address, links)| links.iter().map(|link| (link.clone(), *address))).collect();
            let heard = ask(&host.links, &questions, Sender::Host).await?;
            let addresses = asked.into_iter().map(|(address, links)| report(&host, address, links, &heard)).collect();
            Ok(ProbeReport { node: host.node().cloned(), addresses, notes: host.notes })
        })
    }

    /// Where to ask for `address`.
    fn links(&self, host: &Host, address: IpAddr) -> Vec<LinkName> {
        let named = |link: &&Link| match &self.link {
            Some(name) => link.name.as_str() == name,
            None => can_ask(link) && link.on_link(address),
        };
        host.links.links.values().filter(named).map(|link| link.name.clone()).collect()
    }
}

fn can_ask(link: &Link) -> bool {
    link.up && link.role == Role::Own
}

fn report(host: &Host, address: IpAddr, asked: Vec<LinkName>, heard: &Heard) -> AddressReport {
    let (mut answers, mut seen) = (Vec::new(), Seen::default());
    for link in &asked {
        for mac in heard.get(&(link.clone(), address)).into_iter().flatten() {
            let node = host.node_of(*mac).cloned();
            match &node {
                Some(node) => drop(seen.nodes.insert(node.clone())),
                None => drop(seen.strangers.insert(*mac)),
            }
            answers.push(Answer { link: link.clone(), mac: mac.to_string(), node });
        }
    }
    if asked.is_empty() {
        let networks: Vec<String> = host
            .links
            .links
            .values()
            .filter(|link| can_ask(link))
            .flat_map(|link| link.prefixes().map(|prefix| format!("{prefix} on {}", link.name)))
            .collect();
        let means = format!("it is on no network of this host ({}), so nobody can be asked from here", networks.join(", "));
        let action = Some("ask on a node that is on its network, or name a link with --link".to_owned());
        return AddressReport { address, asked, answers, well: None, means, action };
    }
    let expected = Expected::of(host, address);
    let Meaning { well, means, action } = meaning(address, &expected, &seen, host.node());
    AddressReport { address, asked, answers, well: Some(well), means, action }
}

/// The answer for people.
pub fn text(report: &ProbeReport) -> String {
    let from = report.node.as_ref().map(|node| format!(" from {node}")).unwrap_or_default();
    let mut lines = String::new();
    for address in &report.addresses {
        let links: Vec<&str> = address.asked.iter().map(LinkName::as_str).collect();
        let on = if links.is_empty() { "not asked".to_owned() } else { format!("asked{from} on {}", links.join(" and ")) };
        lines += &format!("{}: {on}\n", address.address);
        for answer in &address.answers {
            let who = answer.node.as_ref().map_or_else(|| "no node of this cluster".to_owned(), |node| format!("node {node}"));
            lines += &format!("  {} answers on {}: {who}\n", answer.mac, answer.link);
        }
        lines += &format!("  {} {}\n", if address.well == Some(true) { "ok:" } else { "look:" }, address.means);
        lines += &address.action.iter().map(|action| format!("    → {action}\n")).collect::<String>();
    }
    lines + &report.notes.iter().map(|text| format!("note: {text}\n")).collect::<String>()
}
