//! What becomes of each edit of the configuration: log lines, what the leader has to tell, what the status says is rejected.

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::wires::Rejected;
use crate::config::task::Report;
use crate::facts::EventKind;
use crate::leader::edits::{Edit, Edits};
use crate::net::clock;

/// Runs until `shutdown`.
pub(super) async fn follow(
    mut reports: mpsc::UnboundedReceiver<Report>,
    edits: watch::Sender<Edits>,
    rejected: watch::Sender<Rejected>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let report = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            report = reports.recv() => report.context("nobody follows the configuration")?,
        };
        rejected.send_replace(Rejected { problems: report.problems as u64, first: report.first.clone() });
        let (kind, message) = match &report.outcome {
            Ok(accepted) => {
                tracing::info!(source = %report.source, summary = accepted.summary, hash = accepted.config.hash, "configuration loaded");
                for note in &accepted.notes {
                    tracing::info!(%note, "configuration note");
                }
                (EventKind::Normal, accepted.summary.clone())
            }
            Err(problems) => {
                let instead = if report.kept { "the last good one stays in force" } else { "it is left out" };
                for problem in problems {
                    tracing::error!(%problem, "configuration rejected; {instead}");
                }
                let instead = if report.kept { "the last good configuration stays in force" } else { "this is left out" };
                (EventKind::Warning, format!("{instead}: {problems}"))
            }
        };
        if let Some(subject) = report.subject {
            let edit = Edit { subject, gone: report.gone, kind, message, at: clock::now() };
            edits.send_modify(|edits| edits.push(edit));
        }
    }
}
