//! `lanlord status`: what the agent on this host sees and does, for people; and what of it they should look at.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::answer::{Output, PROBLEMS, UNASKED, WELL, exit};
use super::table::{row, table};
use crate::app::report::{Report, SessionReport, whole_seconds};
use crate::telemetry::client::get;

/// Show what the agent on this host sees and does: members, sessions, addresses, problems and what to do
#[derive(Args, Clone, Debug)]
#[command(after_help = "It asks the agent of this host, which answers nobody else. From elsewhere, ask the pod on the node in question:
kubectl exec -n lanlord POD -- lanlord status (kubectl get pods -n lanlord -o wide says which one).

Exit codes: 0 all is well, 1 there is something to look at, 2 the agent could not be asked.

Examples:
  lanlord status
  kubectl exec -n lanlord ds/lanlord -- lanlord status
  lanlord status -o json | jq '.members[] | select(.living | not)'")]
pub struct Status {
    /// Where the agent's --http listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7475")]
    http: SocketAddr,

    /// What to print
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

/// For connecting, and for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
        match self.output {
            Output::Json => writeln!(out, "{answer}")?,
            Output::Text => write!(out, "{}", text(&report))?,
        }
        Ok(if report.problems.is_empty() { WELL } else { PROBLEMS })
    }

    fn ask(&self) -> Result<(String, Report), String> {
        let http = self.http;
        let exchange = || {
            let stream = TcpStream::connect_timeout(&http, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            get(stream, "/status")
        };
        let (code, answer) = exchange().map_err(|error| {
            format!(
                "no agent answers at {http}: {error}; see whether one runs on this host (kubectl get pods -n lanlord -o wide), \
                 and give --http what its own --http says"
            )
        })?;
        if code != 200 {
            let answer = answer.trim();
            return Err(format!(
                "{http} refuses ({code}: {answer}); ask on the agent's own host, at a loopback address such as 127.0.0.1:7475"
            ));
        }
        let report = serde_json::from_str(&answer)
            .map_err(|error| format!("what {http} answers is no status ({error}); give --http what the agent's own --http says"))?;
        Ok((answer, report))
    }
}

/// The answer for people.
pub fn text(report: &Report) -> String {
    let mut parts = vec![heading(report), members(report)];
    parts.extend(sessions(report));
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
    rows.extend(report.sessions.iter().map(session));
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
            rows.push(row([address, group.owner.as_deref().unwrap_or("nobody"), &group.services.join(",")]));
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
