//! The end of an agent: the plan freezes (what is announced stays announced), leadership is given up, the member Lease is released, the
//! others take over, then layer 2 falls silent and the rest ends. A second signal ends everything at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinSet};

use super::wires::{Phases, Wires};
use crate::membership::own::State as MemberState;

/// How long this node goes on answering after it left, so that the others can take over first.
const HAND_OVER: Duration = Duration::from_secs(1);

/// The tasks of an agent: how each is called, and how it ended.
pub(super) type Tasks = JoinSet<(&'static str, anyhow::Result<()>)>;

/// Waits for a signal, then ends the phases one after the other; a task that ends unasked ends everything with its error.
pub(super) async fn supervise(mut tasks: Tasks, wires: &Wires, phases: &Phases) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = tasks.join_next() => return Err(unasked(ended)),
    }
    tracing::info!("lanlord leaves");
    tokio::select! {
        result = leave(&mut tasks, wires, phases) => result,
        _ = terminate.recv() => anyhow::bail!("ended by a second signal"),
        _ = interrupt.recv() => anyhow::bail!("ended by a second signal"),
    }
}

async fn leave(tasks: &mut Tasks, wires: &Wires, phases: &Phases) -> anyhow::Result<()> {
    phases.planning.cancel();
    wait_for(tasks, "plan").await?;
    // From here on whoever takes over is not to be outshouted.
    wires.l2.send_modify(|desired| *desired = Arc::new(desired.leaving()));
    phases.leading.cancel();
    wait_for(tasks, "leader").await?;
    phases.membership.cancel();
    wait_for(tasks, "membership").await?;
    phases.routes.cancel();
    wait_for(tasks, "bgp").await?;
    let announcing = wires.l2.borrow().links.values().any(|link| !link.addresses.is_empty());
    if *wires.member.borrow() == MemberState::Left && announcing {
        tracing::info!(answering_for = ?HAND_OVER, "the others take over");
        tokio::time::sleep(HAND_OVER).await;
    }
    phases.rest.cancel();
    while let Some(ended) = tasks.join_next().await {
        // All end at once, so some find that the other end of a channel is gone already.
        if let (name, Err(error)) = ended.context("a task panicked")? {
            tracing::debug!(task = name, error = format!("{error:#}"), "ended");
        }
    }
    tracing::info!("lanlord has left");
    Ok(())
}

async fn wait_for(tasks: &mut Tasks, name: &str) -> anyhow::Result<()> {
    match tasks.join_next().await {
        Some(Ok((ended, result))) if ended == name => result.with_context(|| format!("{name} while leaving")),
        ended => Err(unasked(ended)),
    }
}

fn unasked(ended: Option<Result<(&'static str, anyhow::Result<()>), JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok((name, Err(error)))) => error.context(format!("{name} ended")),
        Some(Ok((name, Ok(())))) => anyhow::anyhow!("{name} ended unasked"),
        Some(Err(error)) => anyhow::Error::from(error).context("a task panicked"),
        None => anyhow::anyhow!("no task runs"),
    }
}
