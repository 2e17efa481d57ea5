//! `lanlord status`: what the agent on this host sees and does, for people; and what of it they should look at.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::agent::Agent;
use super::answer::{Output, PROBLEMS, UNASKED, WELL, exit, printable};
use super::table::{row, table};
use crate::app::report::{PeerReport, Report, SessionReport, whole_seconds};
use crate::facts::BgpMessages;

/// Show what the agent on this host sees and does: members, sessions, addresses, problems and what to do
#[derive(Args, Clone, Debug)]
#[command(after_help = "It asks the agent of this host, which answers nobody else. From elsewhere, ask the pod on the node in question:
kubectl exec -n lanlord POD -- lanlord status (kubectl get pods -n lanlord -o wide says which one).

Exit codes: 0 all is well, 1 there is something to look at, 2 the agent could not be asked.

Examples:
  lanlord status
  kubectl exec -n lanlord ds/lanlord -- lanlord status
  lanlord status bgp
  lanlord status -o json | jq '.members[] | select(.living | not)'")]
pub struct Status {
    #[command(flatten)]
    agent: Agent,

    /// Only this part, in full
    #[arg(value_enum)]
    part: Option<Part>,

    /// What to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

/// A part of the status.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// The BGP peers of this node: sessions, timers, counters, and what to check
    Bgp,
}

impl Status {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        let (answer, report) = match self.ask() {
            Ok(answered) => answered,
            Err(why) => {
                writeln!(err, "lanlord: {why}")?;
                return Ok(UNASKED);
            }
        };
        let well = match self.part {
            Some(Part::Bgp) => report.bgp.iter().all(|peer| peer.troubles.is_empty()),
            None => report.problems.is_empty(),
        };
        match (self.output, self.part) {
            (Output::Json, None) => writeln!(out, "{answer}")?,
            (Output::Json, Some(Part::Bgp)) => writeln!(out, "{}", json!({ "node": report.node, "bgp": report.bgp }))?,
            (Output::Text, None) => write!(out, "{}", printable(&text(&report)))?,
            (Output::Text, Some(Part::Bgp)) => write!(out, "{}", printable(&bgp(&report)))?,
        }
        Ok(if well { WELL } else { PROBLEMS })
    }

    fn ask(&self) -> Result<(String, Report), String> {
        let answer = self.agent.get("/status")?;
        let http = self.agent.http;
        let report = serde_json::from_str(&answer)
            .map_err(|error| format!("what {http} answers is no status ({error}); give --http what the agent's own --http says"))?;
        Ok((answer, report))
    }
}

/// The answer for people.
pub fn text(report: &Report) -> String {
    let mut parts = vec![heading(report), members(report)];
    parts.extend(sessions(report));
    parts.extend(peers(report));
    parts.extend(announced(report));
    parts.extend(owned(report));
    parts.push(problems(report));
    parts.join("\n")
}

/// For people, whole seconds.
fn moment(at: Option<&str>) -> String {
    at.map_or("-".to_owned(), whole_seconds)
}

fn heading(report: &Report) -> String {
    let api = match (&report.detached_since, report.api_reachable) {
        (Some(since), _) => {
            let from = if report.remembered { "; it works with what it remembers from before its start" } else { "" };
            format!("not reachable since {}{from}", moment(Some(since)))
        }
        (None, Some(true)) => format!("reachable since {}", moment(report.api_reachable_since.as_deref())),
        (None, _) => "not asked yet".to_owned(),
    };
    let leader = match (&report.leader, report.leading) {
        (_, true) => "this agent".to_owned(),
        (Some(leader), false) => leader.split('/').next().unwrap_or(leader).to_owned(),
        (None, false) => "none".to_owned(),
    };
    let counts = report.counts;
    let counts = format!("{} since its start, {} refuted, {} Leases cleared", counts.suspicions, counts.refutations, counts.evictions);
    table(&[
        row(["node", &report.node]),
        row(["agent", &format!("lanlord {}, instance {}, {}", report.version, report.instance, report.membership.to_lowercase())]),
        row(["API server", &api]),
        row(["leader", &leader]),
        row(["configuration", report.configuration.as_deref().unwrap_or("none")]),
        row(["suspicions", &counts]),
    ])
}

fn members(report: &Report) -> String {
    let mut rows = vec![row(["MEMBER", "STATE", "SINCE", "LINKS", "TAKEN FOR"])];
    for member in &report.members {
        let mut taken_for = member.taken_for.clone();
        for (holds, note) in [
            (member.detached, "does not reach the API server"),
            (member.dataplane_unhealthy, "its kube-proxy fails"),
            (member.node_ready == Some(false), "its Node is not Ready"),
        ] {
            if holds {
                taken_for = format!("{taken_for}; {note}");
            }
        }
        let links = if member.links.is_empty() { "-".to_owned() } else { member.links.join(",") };
        rows.push(row([&member.node, &member.state, &moment(member.since.as_deref()), &links, &taken_for]));
    }
    table(&rows)
}

fn sessions(report: &Report) -> Option<String> {
    let mut rows = vec![row(["LIVENESS WITH", "ADDRESS", "LINK", "STATE", "SINCE", "NOTICED AFTER", "SENT", "TAKEN", "DISCARDED"])];
    // BFD with routers is shown with them.
    rows.extend(report.sessions.iter().filter(|session| !report.bgp.iter().any(|peer| is_of(session, peer))).map(session));
    (rows.len() > 1).then(|| table(&rows))
}

fn session(session: &SessionReport) -> Vec<String> {
    let detection = if session.detection_time_ms == 0 { "-".to_owned() } else { format!("{} ms", session.detection_time_ms) };
    let state = if session.expired { format!("{} (expired)", session.state) } else { session.state.clone() };
    let since = moment(session.since.as_deref());
    let node = session.node.as_deref().unwrap_or("-");
    let [sent, received, discarded] = [session.sent, session.received, session.discarded].map(|count| count.to_string());
    row([node, &session.peer, &session.link, &state, &since, &detection, &sent, &received, &discarded])
}

fn peers(report: &Report) -> Option<String> {
    let mut rows = vec![row(["BGP PEER", "ADDRESS", "AS", "STATE", "SINCE", "BFD", "ROUTES"])];
    for peer in &report.bgp {
        let [remote, bfd] = [&peer.remote, &peer.bfd].map(|text| text.as_deref().unwrap_or("-"));
        let remote_as = peer.remote_as.map_or("-".to_owned(), |number| number.to_string());
        let routes = if peer.pending > 0 { format!("{}, {} to come", peer.announced, peer.pending) } else { peer.announced.to_string() };
        rows.push(row([&peer.name, remote, &remote_as, &peer.state, &moment(peer.since.as_deref()), bfd, &routes]));
    }
    (rows.len() > 1).then(|| table(&rows))
}

fn is_of(session: &SessionReport, peer: &PeerReport) -> bool {
    let address = peer.remote.as_ref().and_then(|remote| remote.parse::<SocketAddr>().ok());
    session.node.is_none() && address.is_some_and(|address| address.ip().to_string() == session.peer)
}

/// The BGP peers in full, for people.
pub fn bgp(report: &Report) -> String {
    if report.bgp.is_empty() {
        return format!("{} speaks with no BGP peer: none is configured for it.\n", report.node);
    }
    report.bgp.iter().map(|peer| one_peer(report, peer)).collect::<Vec<_>>().join("\n")
}

fn one_peer(report: &Report, peer: &PeerReport) -> String {
    let ms = |time: Option<u64>| time.map(|ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100));
    let listed = |list: &[String]| Some(list.join(", ")).filter(|list| !list.is_empty());
    let seconds = |time: Option<u64>| time.map(|time| format!("{time} s"));
    let times = [("hold", seconds(peer.hold_time)), ("keepalive", seconds(peer.keepalive_time))];
    let due = [("peer lost", ms(peer.hold_in_ms)), ("keepalive", ms(peer.keepalive_in_ms)), ("next attempt", ms(peer.retry_in_ms))];
    let named = |named: &[(&str, Option<String>)]| {
        let each = named.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")));
        listed(&each.collect::<Vec<_>>())
    };
    let restart = if peer.graceful_restart { "the peer keeps the routes while the agent restarts" } else { "no" };
    let agreed = peer.remote_as.is_some();
    let router = peer.remote_as.map(|number| format!("AS {number}, identifier {}", peer.identifier.as_deref().unwrap_or("-")));
    let local = peer.local.as_ref().map(|local| format!("{local} on {}", peer.link.as_deref().unwrap_or("no link of this node")));
    let bfd = report.sessions.iter().find(|session| is_of(session, peer)).map(|session| {
        format!(
            "{} since {}, noticed after {} ms, up {} times",
            session.state,
            moment(session.since.as_deref()),
            session.detection_time_ms,
            session.ups
        )
    });
    let lines = [
        ("state", Some(format!("{} since {}", peer.state, moment(peer.since.as_deref())))),
        ("peer", router),
        ("our address", local),
        ("next hops", listed(&peer.next_hops)),
        ("families", listed(&peer.families)),
        ("times agreed", named(&times).filter(|_| agreed)),
        ("due in", named(&due)),
        ("graceful restart", agreed.then(|| restart.to_owned())),
        ("BFD", bfd.or_else(|| peer.bfd.clone())),
        ("routes", Some(format!("{} announced, {} to come", peer.announced, peer.pending))),
        ("sent", Some(counted(&peer.sent))),
        ("received", Some(counted(&peer.received))),
        ("sessions", Some(format!("{} times up, {} times lost or ended", peer.established, peer.lost))),
        ("last failure", peer.last_failure.clone()),
    ];
    let rows: Vec<Vec<String>> = lines.into_iter().filter_map(|(name, value)| Some(row([&format!("  {name}"), &value?]))).collect();
    let heading = format!("{} at {} from {}\n", peer.name, peer.remote.as_deref().unwrap_or("-"), report.node);
    let troubles = peer.troubles.iter().map(|trouble| format!("  ! {}\n    → {}\n", trouble.what, trouble.action));
    heading + &table(&rows) + &troubles.collect::<String>()
}

fn counted(messages: &BgpMessages) -> String {
    let BgpMessages { opens, updates, notifications, keepalives, route_refreshes } = *messages;
    format!("{opens} OPEN, {updates} UPDATE, {keepalives} KEEPALIVE, {route_refreshes} ROUTE-REFRESH, {notifications} NOTIFICATION")
}

fn announced(report: &Report) -> Option<String> {
    let mut rows = vec![row(["ANNOUNCED HERE", "LINK", "SERVICE", "SINCE", "ANSWERED"])];
    for link in &report.links {
        for address in &link.addresses {
            let since = moment(Some(&address.since));
            rows.push(row([&address.address, &link.link, &address.service, &since, &address.answered.to_string()]));
        }
    }
    (rows.len() > 1).then(|| table(&rows))
}

fn owned(report: &Report) -> Option<String> {
    let mut rows = vec![row(["ADDRESS", "OWNER", "SERVICES"])];
    for group in &report.groups {
        for address in &group.addresses {
            let over_bgp = format!("{} over BGP", group.over_bgp.join(","));
            let owner = match (&group.owner, group.over_bgp.is_empty()) {
                (Some(owner), true) => owner.clone(),
                (Some(owner), false) => format!("{owner}, {over_bgp}"),
                (None, false) => over_bgp,
                (None, true) => "nobody".to_owned(),
            };
            rows.push(row([address, &owner, &group.services.join(",")]));
        }
    }
    (rows.len() > 1).then(|| table(&rows))
}

fn problems(report: &Report) -> String {
    if report.problems.is_empty() {
        return "All is well.\n".to_owned();
    }
    let lines = report.problems.iter().map(|problem| format!("  {}\n    → {}\n", problem.what, problem.action));
    format!("To look at:\n{}", lines.collect::<String>())
}
