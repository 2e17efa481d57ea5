//! `lanlord explain`: one Service, and for each node whether it could announce it, and if not, why not.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::answer::{Output, exit, write_report};
use super::cluster::{Cluster, Origins};
use super::r#move::{announcer, not_found};
use super::named::Named;
use super::peers::{self, PeerRow};
use super::report::{ServiceReport, Settled, others_at_work};
use super::table::{row, table};
use crate::config::Config;
use crate::facts::{LinkName, Living, Node, NodeName, Service};
use crate::leader::assign::assign;
use crate::leader::left;
use crate::leader::paper::{UNKNOWN_LINK, settle};
use crate::plan::obstacle::{Obstacle, obstacle};
use crate::plan::survey::survey;
use crate::plan::{Departure, GroupPlan, NotAnnounced, Serving, View, is_served, plan, servicelb};

/// Explain a Service: its addresses, who announces them since when, and for each node why, or why not
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A candidate could announce the addresses: its agent runs, an advertisement lets it, and it has a link for them. It is eligible if \
pods are in reach from there, too. One eligible node is the owner: it announces them on layer 2. Over BGP all that may announce them \
at the same time: a line for each peer says to whom, as what, and from where.

Without --cluster it asks the Kubernetes API, found in the usual order: the file KUBECONFIG names or ~/.kube/config, else the \
service account of the pod.

Exit codes: 0 the Service is announced, 1 it is not, or not wholly, and why, 2 the question could not be asked.

Examples:
  lanlord explain nginx
  lanlord explain jellyfin -n media
  lanlord explain media/jellyfin -o json
  lanlord explain nginx --config lanlord.yaml --cluster cluster.json")]
pub struct Explain {
    #[command(flatten)]
    service: Named,

    #[command(flatten)]
    origins: Origins,

    /// What to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

/// What is to be said of one Service: the JSON form is this, field by field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainReport {
    /// As in `lanlord plan`: namespace, name, addresses, pool, problems.
    #[serde(flatten)]
    pub service: ServiceReport,
    /// The Services that share an address with it and so move with it, as `namespace/name`.
    pub shares_with: Vec<String>,
    /// The node that announces it on layer 2; `null`: none.
    pub owner: Option<NodeName>,
    /// Since when it is announced, by whatever node (RFC 3339); `null`: it is not, or not known.
    pub since: Option<String>,
    /// The node that announced it before the owner, and why it moved; `null`: it never did.
    pub moved: Option<String>,
    /// A row for each node.
    pub nodes: Vec<NodeRow>,
    /// A row for each BGP peer of the configuration.
    pub peers: Vec<PeerRow>,
    /// What has to be known of the answer.
    pub notes: Vec<String>,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NodeRow {
    /// Its name.
    pub node: NodeName,
    /// It could announce the addresses.
    pub candidate: bool,
    /// Serving endpoints are in reach from there, too.
    pub eligible: bool,
    /// It announces them on layer 2.
    pub owner: bool,
    /// It announces them over BGP.
    pub bgp: bool,
    /// The links on which it does, or would.
    pub interfaces: BTreeSet<LinkName>,
    /// What is in the way, or speaks against it, and what to do; `null`: nothing.
    pub why: Option<String>,
}

impl Explain {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdin(), &mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        write_report(self.ask(input), self.output, text, |report| report.service.problems.is_empty(), out, err)
    }

    fn ask(&self, input: &mut dyn Read) -> anyhow::Result<ExplainReport> {
        let key = self.service.key()?;
        let cluster = self.origins.read(input)?;
        let Some(service) = cluster.snapshot.services.get(&key).cloned() else {
            anyhow::bail!(not_found(&cluster.snapshot, &key));
        };
        Ok(report(cluster, &service))
    }
}

/// Explains `service` as it is; where no address is recorded for it, as the leader would have it.
fn report(mut cluster: Cluster, service: &Service) -> ExplainReport {
    let (key, living) = (&service.key, cluster.living());
    let serving = is_served(&cluster.config, &cluster.snapshot, service);
    let others = others_at_work(&cluster.config, &cluster.snapshot, &living).remove(key).unwrap_or_default();
    let recorded = plan(&cluster.config, &cluster.snapshot, &living).group_of(key).is_some();
    if !recorded {
        cluster.snapshot = settle(&cluster.config, &cluster.snapshot, &living);
        if !cluster.assumed && serving == Serving::Ours {
            cluster.notes.push("no Lease records an address for it yet: this is what the leader would do".to_owned());
        }
    }
    let Cluster { config, snapshot, mut notes, assumed } = cluster;
    let (plan, homeless) = (plan(&config, &snapshot, &living), BTreeSet::new());
    let settled = Settled { config: &config, snapshot: &snapshot, living: &living, homeless: &homeless };
    let assignment = assign(&config, &snapshot, &living).remove(key).unwrap_or_default();
    let group = plan.group_of(key);
    let mut of_service = ServiceReport::of(&settled, key, &assignment, group);
    of_service.problems.extend(others);
    match serving {
        Serving::Ours => {}
        Serving::Deleting => of_service.problems.push("it is being deleted, so its addresses are withdrawn".to_owned()),
        Serving::Foreign => {
            let why =
                "Lanlord leaves it alone, for its loadBalancerClass or its annotation lanlord.dev/ignore says so (or serviceClasses does)";
            of_service.problems.push(why.to_owned());
        }
        Serving::LeftToServiceLb => of_service.problems.push(left::told(&servicelb(&snapshot), key)),
    }
    let pools: BTreeSet<_> = of_service.addresses.iter().filter_map(|address| config.pool_of(*address)).map(|pool| &pool.name).collect();
    let about = survey(&config, &snapshot, &living).into_iter().filter(|it| pools.iter().any(|pool| it.is_about(&config, pool)));
    notes.extend(about.map(|unmatched| unmatched.to_string()));
    let owner = group.and_then(|group| group.owner.as_ref().ok()).map(|owner| owner.node.clone());
    let over_bgp: BTreeSet<NodeName> = group
        .iter()
        .flat_map(|group| group.group.claims.keys().filter_map(|address| group.over_bgp(*address)))
        .flat_map(|announcers| announcers.nodes.iter().cloned())
        .collect();
    let is_so = if owner.is_some() { owner == announcer(service) } else { !over_bgp.is_empty() };
    let announced = service.condition.as_ref().filter(|it| it.announced && recorded && is_so);
    let view = View { config: &config, snapshot: &snapshot, living: &living };
    let claims = || group.iter().flat_map(|group| group.group.claims.values());
    let nodes = snapshot.nodes.values().filter_map(|node| {
        let group = group?;
        let on_layer_2 = obstacle(&config, &snapshot, &living, group, &node.name);
        if owner.is_none() && over_bgp.contains(&node.name) {
            return Some(node_row(group, node, None, &over_bgp, None));
        }
        if owner.is_none() && !over_bgp.is_empty() && matches!(on_layer_2, Some(Obstacle::NotAnnounced(_))) {
            return Some(node_row(group, node, None, &over_bgp, alone(view, group, service, &node.name)));
        }
        let why = on_layer_2.map(|why| {
            if assumed && why == Obstacle::NoMember {
                return "its Node is not Ready, or out of service; look at kubectl describe node".to_owned();
            }
            lacking(&config, node, &why).unwrap_or_else(|| why.to_string())
        });
        Some(node_row(group, node, owner.as_ref(), &over_bgp, why))
    });
    ExplainReport {
        shares_with: group.iter().flat_map(|it| &it.group.services).filter(|it| *it != key).map(ToString::to_string).collect(),
        since: announced.map(|condition| condition.since.clone()),
        moved: claims().find_map(|claim| claim.moved.as_ref()).map(|moved| format!("from {}: {}", moved.from, moved.why)),
        nodes: nodes.collect(),
        peers: group.map(|group| peers::of_service(view, group, service)).unwrap_or_default(),
        service: of_service,
        owner,
        notes,
    }
}

/// Why `node` announces nothing over BGP: because it could not even if it were the only one, or because others are better off.
fn alone(view: View<'_>, group: &GroupPlan, service: &Service, node: &NodeName) -> Option<String> {
    let member = view.living.members.get(node)?.clone();
    let living = Living { members: [(node.clone(), member)].into(), ..view.living.clone() };
    let alone = View { living: &living, ..view }.of_service(&group.group, service);
    let unhealthy = living.members.values().any(|member| member.dataplane_unhealthy);
    let Some(why) = alone.into_values().find_map(Result::err) else {
        return unhealthy.then(|| format!("{}: others carry the traffic; look at kube-proxy there", Departure::DataplaneUnhealthy));
    };
    let NotAnnounced::NoLocalEndpoint { nodes } = &why else { return Some(why.to_string()) };
    Some(Obstacle::NoLocalEndpoint { nodes: nodes.iter().map(|node| NodeName::new(node)).collect() }.to_string())
}

fn node_row(group: &GroupPlan, node: &Node, owner: Option<&NodeName>, over_bgp: &BTreeSet<NodeName>, why: Option<String>) -> NodeRow {
    let candidate = group.candidates.nodes.get(&node.name);
    let links = candidate.iter().flat_map(|candidate| candidate.links.values().flatten());
    NodeRow {
        node: node.name.clone(),
        candidate: candidate.is_some(),
        eligible: candidate.is_some_and(|candidate| candidate.eligible),
        owner: owner == Some(&node.name),
        bgp: over_bgp.contains(&node.name),
        interfaces: links.filter(|link| link.as_str() != UNKNOWN_LINK).cloned().collect(),
        why,
    }
}

/// Which labels `node` lacks, if that is what is in the way.
fn lacking(config: &Config, node: &Node, why: &Obstacle) -> Option<String> {
    let Obstacle::NotAnnounced(NotAnnounced::NoNodeMatch { pool, .. }) = why else { return None };
    let on_layer_2 = config.l2_advertisements.iter().filter(|it| it.pools.contains(pool));
    let over_bgp = config.bgp.advertisements.iter().filter(|it| it.pools.contains(pool));
    let mut of_pool: Vec<_> = on_layer_2.map(|it| ("L2Advertisement", &it.name, &it.node_selectors)).collect();
    if of_pool.is_empty() {
        of_pool.extend(over_bgp.map(|it| ("BGPAdvertisement", &it.name, &it.node_selectors)));
    }
    let wanted = of_pool.into_iter().flat_map(|(kind, name, selectors)| {
        let name = name.as_deref().unwrap_or("without a name");
        selectors.iter().filter_map(|selector| selector.failing(&node.labels)).map(move |requirement| {
            let here = node.labels.get(&requirement.key).map_or_else(|| "it has none".to_owned(), |value| format!("it has {value}"));
            format!("{requirement} for {kind} {name} ({here})")
        })
    });
    let wanted: BTreeSet<String> = wanted.collect();
    let wanted: Vec<String> = wanted.into_iter().collect();
    Some(format!("it lacks the label {}; label the node or change nodeSelectors", wanted.join(", or ")))
}

/// The answer for people.
pub fn text(report: &ExplainReport) -> String {
    let mut parts = vec![heading(report)];
    parts.extend((!report.nodes.is_empty()).then(|| nodes(report)));
    parts.extend((!report.peers.is_empty()).then(|| peers::rows(&report.peers)));
    let line = |what: &str, text: &String| format!("{what}{text}\n");
    let problems: String = report.service.problems.iter().map(|text| line("  ", text)).collect();
    parts.extend((!problems.is_empty()).then(|| format!("To look at:\n{problems}")));
    parts.extend((!report.notes.is_empty()).then(|| report.notes.iter().map(|text| line("note: ", text)).collect()));
    parts.join("\n")
}

fn heading(report: &ExplainReport) -> String {
    let service = &report.service;
    let addresses: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
    let addresses = if addresses.is_empty() { "none".to_owned() } else { addresses.join(", ") };
    let nobody = if report.nodes.iter().any(|node| node.bgp) { "none: it goes over BGP" } else { "nobody" };
    let owner = report.owner.as_ref().map_or_else(|| nobody.to_owned(), ToString::to_string);
    let since = report.since.as_ref().map(|since| format!("announced since {since}")).unwrap_or_default();
    let mut rows = vec![
        row(["service", &format!("{}/{}", service.namespace, service.name)]),
        row(["addresses", &addresses]),
        row(["pool", service.pool.as_deref().unwrap_or("none")]),
        row(["owner", &if since.is_empty() { owner } else { format!("{owner} ({since})") }]),
    ];
    rows.extend(report.moved.as_ref().map(|moved| row(["last move", moved])));
    rows.extend((!report.shares_with.is_empty()).then(|| row(["shares with", &report.shares_with.join(", ")])));
    table(&rows)
}

fn nodes(report: &ExplainReport) -> String {
    let yes = |holds: bool| if holds { "yes" } else { "no" };
    // Without peers nothing is said of BGP.
    let bgp = |text: &str| (!report.peers.is_empty()).then(|| text.to_owned());
    let head = row(["NODE", "CANDIDATE", "ELIGIBLE", "OWNER"]).into_iter().chain(bgp("BGP")).chain(row(["ON", "WHY NOT"]));
    let mut rows: Vec<Vec<String>> = vec![head.collect()];
    for node in &report.nodes {
        let on: Vec<&str> = node.interfaces.iter().map(LinkName::as_str).collect();
        let on = if on.is_empty() { "-".to_owned() } else { on.join(",") };
        let cells = row([node.node.as_str(), yes(node.candidate), yes(node.eligible), yes(node.owner)]);
        let why = row([&on, node.why.as_deref().unwrap_or("")]);
        rows.push(cells.into_iter().chain(bgp(yes(node.bgp))).chain(why).collect());
    }
    table(&rows)
}
