//! `lanlord plan`: what the agents would do with a configuration and a cluster, by the functions that they run, on paper.
//!
//! Nothing is written anywhere. What was seen is given to the leader, whose decisions are carried out on a copy until nothing is left to
//! do; then the plan says who announces what.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::answer::{Output, exit, write_report};
use super::cluster::{Cluster, Origins, configuration};
use super::peers;
use super::report::{AddressReport, Change, PlanReport, ServiceReport, Settled, State, What, changes};
use super::table::{row, table};
use crate::config::Config;
use crate::facts::{Living, NodeName, ServiceKey, Snapshot};
use crate::leader::paper::{adopt_configuration, drain, settle};

/// Say which Service would have which address, and which node would announce it; write nothing
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It asks the functions that the agents run, so its answer is what they would do. What only a running agent knows (links of the nodes, \
other machines that use an address) it takes from the agents' Leases.

Without --cluster it asks the Kubernetes API, once, found as explain finds it; without --config the ConfigMap lanlord/lanlord there is \
the configuration.

Exit codes: 0 every Service is served, 1 there is something to look at, 2 the question could not be asked.

Examples:
  kubectl get svc,endpointslices,nodes,namespaces,leases -A -o json > cluster.json
  lanlord plan --config lanlord.yaml --cluster cluster.json
  lanlord plan --config new.yaml --cluster cluster.json --against old.yaml
  lanlord plan --drain pi2
  lanlord plan -o json | jq '.services[] | select(.problems != [])'")]
pub struct Plan {
    #[command(flatten)]
    origins: Origins,

    /// Has no effect: without --cluster the cluster is seen through the Kubernetes API anyway
    #[arg(long, conflicts_with = "cluster")]
    live: bool,

    /// Say what would change if this configuration were in force now, and --config came after it
    #[arg(long, value_name = "FILE", num_args = 1..)]
    against: Vec<PathBuf>,

    /// Say what would change if this node were cordoned and its pods started elsewhere (kubectl drain)
    #[arg(long, value_name = "NODE")]
    drain: Option<String>,

    /// What to print; in JSON: services, addresses, peers, changes, problems, notes
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

impl Plan {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdin(), &mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        write_report(self.ask(input), self.output, text, PlanReport::is_well, out, err)
    }

    fn ask(&self, input: &mut dyn Read) -> anyhow::Result<PlanReport> {
        let cluster = self.origins.read(input)?;
        let living = cluster.living();
        let Cluster { config, mut snapshot, mut notes, .. } = cluster;
        let seen = snapshot.clone();
        let (mut before, mut homeless) = (State::recorded(&config, &snapshot), BTreeSet::new());
        let against = if self.against.is_empty() { None } else { Some(configuration(&self.against, input)?) };
        if against.is_some() || self.drain.is_some() {
            let config = against.as_ref().unwrap_or(&config);
            snapshot = rest(config, &snapshot, &living);
            before = State::planned(&Settled { config, snapshot: &snapshot, living: &living, homeless: &homeless });
        }
        if let Some(node) = &self.drain {
            homeless = drained(&mut snapshot, &NodeName::new(node), &mut notes)?;
        }
        let after = rest(&config, &snapshot, &living);
        let settled = Settled { config: &config, snapshot: &after, living: &living, homeless: &homeless };
        let mut report = PlanReport::of(&settled);
        report.tell_others(&config, &seen, &living);
        report.changes = changes(&before, &snapshot, &settled);
        notes.append(&mut report.notes);
        report.notes = notes;
        Ok(report)
    }
}

/// Drains `node`; returns whose pods have to start again, nobody knows where.
fn drained(snapshot: &mut Snapshot, node: &NodeName, notes: &mut Vec<String>) -> anyhow::Result<BTreeSet<ServiceKey>> {
    if !snapshot.nodes.contains_key(node) {
        let nodes: Vec<&NodeName> = snapshot.nodes.keys().collect();
        anyhow::bail!("there is no node {node} to drain; there is {}", list(&nodes));
    }
    let homeless = drain(snapshot, node);
    if !homeless.is_empty() {
        notes.push(format!("all pods of {} are on {node}: where they start again is not known", list(&homeless)));
    }
    Ok(homeless.into_iter().collect())
}

/// The cluster at rest under `config`.
fn rest(config: &Config, snapshot: &Snapshot, living: &Living) -> Snapshot {
    let mut snapshot = snapshot.clone();
    adopt_configuration(config, &mut snapshot);
    settle(config, &snapshot, living)
}

/// The answer for people.
pub fn text(report: &PlanReport) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(services(report));
    parts.extend(addresses(report));
    parts.extend(peers::text(&report.peers));
    parts.push(changed(&report.changes));
    parts.push(problems(report));
    parts.extend((!report.notes.is_empty()).then(|| report.notes.iter().map(|note| format!("note: {note}\n")).collect()));
    parts.join("\n")
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",") }
}

fn services(report: &PlanReport) -> Option<String> {
    let mut rows = vec![row(["SERVICE", "ADDRESSES", "POOL", "ANNOUNCED BY"])];
    let announced: BTreeMap<IpAddr, String> = report.addresses.iter().filter_map(|it| Some((it.address, by(it)?))).collect();
    for service in &report.services {
        let by: BTreeSet<&str> = service.addresses.iter().filter_map(|address| announced.get(address)).map(String::as_str).collect();
        let by: Vec<&str> = by.into_iter().collect();
        let by = if by.is_empty() { "nobody".to_owned() } else { by.join(" and ") };
        rows.push(row([&called(service), &list(&service.addresses), service.pool.as_deref().unwrap_or("-"), &by]));
    }
    if rows.len() == 1 {
        return Some("There is no Service of type LoadBalancer for Lanlord.\n".to_owned());
    }
    Some(table(&rows))
}

fn called(service: &ServiceReport) -> String {
    format!("{}/{}", service.namespace, service.name)
}

/// `pi1 on eth0 and pi1,pi2 over BGP`
fn by(address: &AddressReport) -> Option<String> {
    let on_layer_2 = address.owner.as_ref().map(|owner| {
        let links = address.interfaces.get(owner).filter(|links| !links.is_empty());
        links.map_or_else(|| owner.to_string(), |links| format!("{owner} on {}", list(links)))
    });
    let over_bgp = (!address.bgp.is_empty()).then(|| format!("{} over BGP", list(&address.bgp)));
    let both: Vec<String> = on_layer_2.into_iter().chain(over_bgp).collect();
    (!both.is_empty()).then(|| both.join(" and "))
}

fn addresses(report: &PlanReport) -> Option<String> {
    let mut rows = vec![row(["ADDRESS", "OWNER", "ELIGIBLE", "CANDIDATES", "SERVICES"])];
    for address in &report.addresses {
        let nobody = if address.bgp.is_empty() { "nobody" } else { "over BGP" };
        let owner = address.owner.as_ref().map_or_else(|| nobody.to_owned(), ToString::to_string);
        let (eligible, candidates) = (list(&address.eligible), list(&address.candidates));
        rows.push(row([&address.address.to_string(), &owner, &eligible, &candidates, &list(&address.services)]));
    }
    (rows.len() > 1).then(|| table(&rows))
}

fn changed(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "Nothing changes.\n".to_owned();
    }
    let lines: String = changes.iter().map(|change| format!("  {}\n", change_text(change))).collect();
    format!("Changes:\n{lines}")
}

fn change_text(change: &Change) -> String {
    let Change { address, services, what, from, to, bgp, why } = change;
    let services = services.join(" and ");
    let node = |node: &Option<NodeName>| node.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
    let over_bgp: Vec<&NodeName> = bgp.iter().collect();
    let by = match (to, over_bgp.is_empty()) {
        (None, false) => format!("{} over BGP", list(&over_bgp)),
        (Some(to), false) => format!("{to}, and by {} over BGP", list(&over_bgp)),
        (to, true) => node(to),
    };
    let (from, to) = (node(from), node(to));
    let text = match what {
        What::Assigned => format!("{address} is assigned to {services}, announced by {by}"),
        What::Released => format!("{address} is released by {services}"),
        What::Moved => format!("{address} ({services}) moves from {from} to {to}"),
        What::Announced => format!("{address} ({services}) is announced, by {to}"),
        What::Spread if bgp.is_empty() => format!("{address} ({services}) is announced over BGP by nobody any more"),
        What::Spread => format!("{address} ({services}) is announced over BGP by {}", list(&over_bgp)),
        What::Withdrawn => format!("{address} ({services}) is withdrawn from {from}"),
    };
    why.as_ref().map_or_else(|| text.clone(), |why| format!("{text}: {why}"))
}

fn problems(report: &PlanReport) -> String {
    let of_services = report.services.iter().flat_map(|service| service.problems.iter().map(|why| format!("{}: {why}", called(service))));
    let lines: String = of_services.chain(report.problems.iter().cloned()).map(|line| format!("  {line}\n")).collect();
    if lines.is_empty() { "All is well.\n".to_owned() } else { format!("To look at:\n{lines}") }
}
