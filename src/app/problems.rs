//! What of a status a person may have to look at, and what to do about it.

use std::collections::BTreeMap;

use super::report::{ConflictReport, GroupReport, LinkReport, MemberReport, PeerReport, Problem, Report, SessionReport, whole_seconds};
use crate::facts::PODS;

/// In order of weight.
pub fn problems(report: &Report) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(own(report));
    problems.extend(api(report));
    problems.extend(configuration(report));
    problems.extend(report.members.iter().filter_map(member));
    problems.extend(report.sessions.iter().filter_map(session));
    problems.extend(report.bgp.iter().flat_map(peer));
    problems.extend(report.links.iter().filter_map(link));
    problems.extend(report.groups.iter().filter_map(group));
    problems.extend(without_address(report));
    problems.extend(report.conflicts.iter().map(conflict));
    problems.extend(report.findings.iter().cloned());
    problems
}

fn problem(what: impl Into<String>, action: impl Into<String>) -> Problem {
    Problem { what: what.into(), action: action.into() }
}

fn conflict(conflict: &ConflictReport) -> Problem {
    let ConflictReport { address, mac, services, .. } = conflict;
    let what = match &services[..] {
        [] => format!("{address} is set aside: another machine of the LAN uses it ({mac})"),
        [..] => format!("{address} of {} is used by another machine of the LAN, too ({mac})", services.join(", ")),
    };
    problem(what, format!("give that machine another address, or take {address} out of the pool"))
}

fn own(report: &Report) -> Option<Problem> {
    match report.membership.as_str() {
        "Member" => None,
        "Superseded" => Some(problem("a newer instance on this node has taken over; this one only waits for its end", PODS)),
        "Left" => Some(problem("this agent has left: it announces nothing more", PODS)),
        _ => Some(problem(
            "this agent has not joined yet: it announces nothing",
            "wait a few seconds; then see in its log why its member Lease is not written",
        )),
    }
}

fn api(report: &Report) -> Vec<Problem> {
    if let Some(since) = &report.detached_since {
        let error = report.detached_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        return vec![problem(
            format!(
                "the API server does not answer since {}{error}: addresses stay announced, but nothing new is assigned",
                whole_seconds(since)
            ),
            "see to the control plane, and to this node's way to it",
        )];
    }
    let failing = report.api_problems.iter().map(|(resource, why)| {
        problem(
            format!("what is known of {resource} may be old: {why}"),
            "see that the agent's account may list and watch them (kubectl apply the manifest again)",
        )
    });
    let headless = (report.api_reachable == Some(true) && report.leader.is_none())
        .then(|| problem("no agent leads: nothing is assigned or moved", format!("wait a few seconds; then {PODS}")));
    failing.chain(headless).collect()
}

fn configuration(report: &Report) -> Option<Problem> {
    let check = "correct it; lanlord check FILE says all that is wrong before you apply it";
    let first = report.configuration_problem.as_ref().map(|first| format!(": {first}")).unwrap_or_default();
    let problems = |count| if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
    match (&report.configuration, report.configuration_problems) {
        (Some(_), 0) => None,
        (Some(_), count) => {
            let what = format!("the newest configuration is rejected, and the one before stays in force ({}){first}", problems(count));
            Some(problem(what, check))
        }
        (None, 0) => Some(problem("the configuration has not been read yet", "wait a few seconds; then see what keeps the API server")),
        (None, count) => Some(problem(format!("the configuration is rejected ({}){first}", problems(count)), check)),
    }
}

fn member(member: &MemberReport) -> Option<Problem> {
    let node = &member.node;
    match member.state.as_str() {
        _ if member.evidence.is_some() || member.state == "holding" => {
            let action = match (member.state.as_str(), member.evidence.as_deref()) {
                ("holding", _) | (_, Some("AgentGone")) => PODS.to_owned(),
                _ => format!("see to {node}"),
            };
            Some(problem(format!("{node} is {}", member.taken_for), action))
        }
        "left" => match member.node_ready {
            Some(true) => Some(problem(format!("{node} takes no part: its agent left or was lost, though its Node is Ready"), PODS)),
            Some(false) => Some(problem(format!("{node} takes no part, and its Node is not Ready"), format!("see to {node}"))),
            None => None,
        },
        _ if member.blocked => Some(problem(
            format!(
                "no liveness packets come from {node} although its kernel answers: its loss would be noticed in about 10 s instead of under 1 s"
            ),
            format!(
                "open the liveness port (UDP, 7474 if nothing else is configured) between the nodes, or see whether its agent runs: {PODS}"
            ),
        )),
        "refuted" => Some(problem(
            format!("{node} lives, as it says through the API server, but is not heard from here"),
            "see to the network between the two nodes",
        )),
        _ if member.detached => Some(problem(
            format!("{node} does not reach the API server: it keeps its addresses and is given no new ones"),
            format!("see to the way from {node} to the API server"),
        )),
        _ if member.dataplane_unhealthy => Some(problem(
            format!("kube-proxy on {node} fails its health check: addresses move away from there"),
            format!("see to kube-proxy on {node}"),
        )),
        _ => None,
    }
}

fn session(session: &SessionReport) -> Option<Problem> {
    let error = session.error.as_ref()?;
    let what = format!("no BFD packets can pass between here and {} on {}: {error}", session.peer, session.link);
    Some(problem(what, format!("see what else uses UDP {} on this node", session.port)))
}

fn peer(peer: &PeerReport) -> impl Iterator<Item = Problem> {
    let of = match &peer.remote {
        Some(remote) => format!("BGP peer {} ({remote})", peer.name),
        None => format!("BGP peer {}", peer.name),
    };
    peer.troubles.iter().map(move |trouble| problem(format!("{of}: {}", trouble.what), trouble.action.clone()))
}

fn link(link: &LinkReport) -> Option<Problem> {
    let error = link.error.as_ref()?;
    Some(problem(format!("nothing can be announced on {} ({}): {error}", link.link, link.family), "see to the link; it is tried again"))
}

fn group(group: &GroupReport) -> Option<Problem> {
    let why = group.not_announced.as_ref()?;
    let service = group.services.first()?;
    let (namespace, name) = service.split_once('/').unwrap_or(("default", service));
    let what = format!("{} ({}) not announced: {why}", group.addresses.join(" and "), group.services.join(", "));
    Some(problem(what, format!("kubectl describe service -n {namespace} {name}")))
}

/// Services that get no address, those of one reason together. Without a configuration that is said already.
fn without_address(report: &Report) -> Vec<Problem> {
    const NAMED: usize = 3;
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let pending = report.services.iter().filter(|service| service.state == "pending" && service.addresses.is_empty());
    for service in pending.filter(|_| report.configuration.is_some()) {
        by_reason.entry(service.why.as_deref().unwrap_or("nobody has said why")).or_default().push(&service.service);
    }
    let told = |(why, services): (&str, Vec<&str>)| {
        let more = services.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let (why, action) = why.split_once("; ").unwrap_or((why, "kubectl describe service tells more"));
        let verb = if services.len() == 1 { "has" } else { "have" };
        problem(format!("{}{more} {verb} no address: {why}", services.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ")), action)
    };
    by_reason.into_iter().map(told).collect()
}
