//! Keeps this agent's member Lease and publishes who lives.
//!
//! ```text
//!  own links, configuration ─► OwnLease ─► PUT node.<node> ─► API server ─► api::watch ─┐
//!  Snapshot ◄──────────────────────────────────────────────────────────────────────────┘
//!     └─► living ─► Arc<Living>   (plan, leader)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::living::{living, verdict};
use super::own::{Action, Desired, Event, OwnLease, State};
use crate::api::watch::Feedback;
use crate::api::{Api, WriteError};
use crate::facts::{Evidence, Living, Member, NodeName, Snapshot};
use crate::machine::{Driver, Input};
use crate::net::clock;

/// How long an orderly leave may wait for the API server.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the task reads.
#[derive(Debug)]
pub struct Inputs {
    /// What the API server says.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// What the Lease should say.
    pub desired: watch::Receiver<Arc<Desired>>,
}

/// What the task tells.
#[derive(Debug)]
pub struct Outputs {
    /// Who may own addresses.
    pub living: watch::Sender<Arc<Living>>,
    /// Where this agent stands.
    pub state: watch::Sender<State>,
    /// Answers to our writes. An mpsc, for none may be lost: what is decided next rests on it.
    pub feedback: mpsc::Sender<Feedback>,
}

/// Runs until `leave`, then releases the Lease (unless a newer instance has it) and returns.
///
/// # Errors
/// None: the API server's weather is waited out.
pub async fn run(
    api: Api,
    node: NodeName,
    instance: String,
    seed: u64,
    mut inputs: Inputs,
    outputs: Outputs,
    leave: CancellationToken,
) -> anyhow::Result<()> {
    let machine = OwnLease::new(node.clone(), instance, fastrand::Rng::with_seed(seed));
    let mut keeper = Keeper { api, node, driver: Driver::new(machine), writes: JoinSet::new(), outputs, lost: BTreeMap::new() };
    keeper.step([Input::Set(inputs.desired.borrow_and_update().clone())], None);
    loop {
        let snapshot = inputs.snapshot.borrow_and_update().clone();
        keeper.observe(snapshot.as_deref());
        tokio::select! {
            biased;
            () = leave.cancelled() => break,
            changed = inputs.snapshot.changed() => changed?,
            changed = inputs.desired.changed() => {
                changed?;
                let desired = inputs.desired.borrow_and_update().clone();
                keeper.step([Input::Set(desired)], snapshot.as_deref());
            }
            Some(written) = keeper.writes.join_next() => keeper.written(written?, snapshot.as_deref()),
            () = clock::sleep_until(keeper.driver.poll_timeout()) => keeper.step([], snapshot.as_deref()),
        }
    }
    let desired = Desired { leave: true, ..Desired::clone(&inputs.desired.borrow()) };
    let snapshot = inputs.snapshot.borrow_and_update().clone();
    keeper.step([Input::Set(Arc::new(desired))], snapshot.as_deref());
    if tokio::time::timeout(LEAVE_TIMEOUT, keeper.finish(&mut inputs.snapshot)).await.is_err() {
        tracing::warn!("the API server did not answer in time: the member Lease is left behind");
    }
    Ok(())
}

struct Keeper {
    api: Api,
    node: NodeName,
    driver: Driver<OwnLease>,
    writes: JoinSet<Result<Member, WriteError>>,
    outputs: Outputs,
    /// Who was found lost, so that it is logged once.
    lost: BTreeMap<NodeName, Evidence>,
}

impl Keeper {
    fn observe(&mut self, snapshot: Option<&Snapshot>) {
        let Some(snapshot) = snapshot else { return };
        let event =
            Event::Observed { member: snapshot.members.get(&self.node).cloned(), node_exists: snapshot.nodes.contains_key(&self.node) };
        self.step([Input::Event(event)], Some(snapshot));
        self.tell_lost(snapshot);
        let living = living(snapshot, &BTreeMap::new());
        self.outputs.living.send_if_modified(|current| {
            let changed = **current != living;
            if changed {
                *current = Arc::new(living);
            }
            changed
        });
    }

    fn tell_lost(&mut self, snapshot: &Snapshot) {
        let members = snapshot.members.values().filter(|member| member.instance.is_some());
        let lost: BTreeMap<NodeName, Evidence> =
            members.filter_map(|member| Some((member.node.clone(), verdict(snapshot, member, &BTreeMap::new())?))).collect();
        for (node, evidence) in &lost {
            if self.lost.get(node) != Some(evidence) {
                tracing::warn!(node = %node, evidence = ?evidence, "member lost");
            }
        }
        self.lost = lost;
    }

    fn step<const N: usize>(&mut self, inputs: [Input<Desired, Event>; N], snapshot: Option<&Snapshot>) {
        let node_uid = snapshot.and_then(|snapshot| snapshot.nodes.get(&self.node)).map(|node| node.uid.clone()).unwrap_or_default();
        for action in self.driver.step(inputs, clock::now()) {
            match action {
                Action::Write(member) => {
                    let (api, node_uid) = (self.api.clone(), node_uid.clone());
                    self.writes.spawn(async move { api.write_member(&member, &node_uid).await });
                }
                Action::StateChanged { from, to, reason } => {
                    tracing::info!(?from, ?to, reason, "membership");
                    self.outputs.state.send_replace(to);
                }
            }
        }
    }

    fn written(&mut self, written: Result<Member, WriteError>, snapshot: Option<&Snapshot>) {
        let event = match written {
            Ok(member) => {
                // A full queue means that the watch task is far behind; it will hear of this Lease from the API server.
                drop(self.outputs.feedback.try_send(Feedback::Member(member.clone())));
                Event::Written(member)
            }
            Err(error) => {
                tracing::warn!(%error, "the member Lease could not be written; trying again");
                Event::Failed
            }
        };
        self.step([Input::Event(event)], snapshot);
    }

    /// Until the Lease is released, or a newer instance has it.
    async fn finish(&mut self, snapshots: &mut watch::Receiver<Option<Arc<Snapshot>>>) {
        while matches!(self.driver.machine().state(), State::Joining | State::Member) {
            let snapshot = snapshots.borrow_and_update().clone();
            tokio::select! {
                Some(Ok(written)) = self.writes.join_next() => self.written(written, snapshot.as_deref()),
                Ok(()) = snapshots.changed() => {
                    let snapshot = snapshots.borrow_and_update().clone();
                    self.observe(snapshot.as_deref());
                }
                () = clock::sleep_until(self.driver.poll_timeout()) => self.step([], snapshot.as_deref()),
            }
        }
    }
}
