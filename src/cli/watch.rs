//! `lanlord watch`: what happens in the cluster, a line each, as the agent on this host sees it; until Ctrl-C.
//!
//! An agent that restarts is waited for. Each agent numbers what it saw, so nothing is told twice and what is missing is told.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::agent::Agent;
use super::answer::{Output, UNASKED, exit, printable};
use crate::app::report::{Report, TransitionReport, whole_seconds};
use crate::telemetry::client::follow;

/// Follow what happens: addresses assigned and moved, members lost, BGP peers up and down; a line each, until Ctrl-C
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "It asks the agent of this host, which answers nobody else. What concerns the cluster every agent sees; BGP peers are those of \
                  its own node. The last 200 transitions since the agent's start are kept; when it restarts, watching goes on.

Exit codes: 2 the agent could not be asked. Ctrl-C ends it; in a pod only with kubectl exec -it: without, Ctrl-C ends kubectl and leaves \
                  the watch behind, which keeps one of the agent's eight seats until the agent restarts.

Examples:
  lanlord watch
  lanlord watch --last 200
  lanlord watch -o json | jq -r 'select(.kind == \"owner\") | .text'
  kubectl exec -it -n lanlord ds/lanlord -- lanlord watch"
)]
pub struct Watch {
    #[command(flatten)]
    agent: Agent,

    /// How many of the transitions that are over to begin with
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    last: usize,

    /// What to print: text, or one JSON object a line
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    output: Output,
}

/// The agent gives a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two attempts: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// What was printed last.
#[derive(Default)]
struct Seen {
    instance: Option<String>,
    number: u64,
}

impl Watch {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdout(), &mut io::stderr()))
    }

    /// Runs on the streams given until one of them cannot be written, or returns the exit code if the agent cannot be asked at all.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        let (mut seen, mut pause, mut told) = (Seen::default(), RETRY.0, false);
        loop {
            let before = seen.instance.is_some();
            let mut heard = false;
            let why = self.follow(&mut |report| {
                heard = true;
                self.print(&report, &mut seen, out, err)
            })?;
            if heard {
                (pause, told) = (RETRY.0, false);
            } else if !before {
                writeln!(err, "lanlord: {why}")?;
                return Ok(UNASKED);
            }
            if !told {
                writeln!(err, "lanlord: {why}; trying on")?;
            }
            told = true;
            std::thread::sleep(pause);
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Follows one connection to its end, and says why it ended.
    fn follow(&self, each: &mut dyn FnMut(Report) -> io::Result<()>) -> io::Result<String> {
        let http = self.agent.http;
        let stream = match self.agent.connect(SILENCE) {
            Ok(stream) => stream,
            Err(why) => return Ok(why),
        };
        let followed = follow(stream, "/events", |data| match serde_json::from_str::<Report>(data) {
            Ok(report) => match each(report) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Err(error)),
            },
            Err(error) => ControlFlow::Break(Ok(format!("what answers at {http} is no status ({error})"))),
        });
        match followed {
            Ok(Ok(Some(broken))) => broken,
            Ok(Ok(None)) => Ok(format!("the agent at {http} ended")),
            Ok(Err((404, _))) => Ok(format!("the agent at {http} knows no events: it is older than this command; lanlord status asks it")),
            Ok(Err((code, line))) => Ok(format!("the agent at {http} answers {code}: {line}")),
            Err(error) => Ok(format!("the agent at {http} was lost ({error})")),
        }
    }

    fn print(&self, report: &Report, seen: &mut Seen, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        let (first, is_new) = (seen.instance.is_none(), seen.instance.as_deref() != Some(&report.instance));
        if is_new {
            *seen = Seen { instance: Some(report.instance.clone()), number: 0 };
        }
        let mut new: Vec<&TransitionReport> = report.transitions.iter().filter(|entry| entry.number > seen.number).collect();
        if first {
            new.drain(..new.len().saturating_sub(self.last));
        } else if let Some(missing) = new.first().map(|entry| entry.number - seen.number - 1).filter(|missing| *missing > 0) {
            writeln!(err, "lanlord: {missing} transitions are missing here: more happened at a time than the agent keeps")?;
        }
        for entry in new {
            match self.output {
                Output::Text => writeln!(out, "{}", line(entry))?,
                Output::Json => writeln!(out, "{}", serde_json::to_string(entry)?)?,
            }
        }
        seen.number = report.transitions.last().map_or(seen.number, |entry| entry.number);
        out.flush()
    }
}

fn line(entry: &TransitionReport) -> String {
    format!("{}  {:13}  {}", whole_seconds(&entry.at), entry.kind, printable(&entry.text).replace('\n', " "))
}
