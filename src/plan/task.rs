//! Joins what the plan reads and publishes what comes out.
//!
//! ```text
//!  Config ─┐
//!  Snapshot ┼─► plan ─► Arc<Planned>       (leader, status)
//!  Living ─┤       ├──► Arc<l2::Desired>   (l2, on its own thread)
//!  Links ──┘       ├──► Arc<Heirs>         (membership)
//!                  └──► Arc<Peers>         (bgp, with the passwords)
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::heirs::Inheritance;
use super::peers::Peers;
use super::{Planned, Planner, bgp_desired, l2_desired};
use crate::config::Config;
use crate::facts::{Heirs, Links, Living, NodeName, Snapshot, replace};
use crate::l2::desired::Desired;

/// Everything the plan reads. `None` until it was seen once.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The configuration in force.
    pub config: watch::Receiver<Option<Arc<Config>>>,
    /// What the API server says.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Who may own addresses.
    pub living: watch::Receiver<Arc<Living>>,
    /// This host's links.
    pub links: watch::Receiver<Arc<Links>>,
    /// A newer instance on this node announces what the node owns. Only this instance's own part is empty then: the node lives, and
    /// a plan without it would move its addresses.
    pub superseded: watch::Receiver<bool>,
    /// This instance speaks for the node: it has had the Lease, or nobody can be asked who has it.
    pub speaks: watch::Receiver<bool>,
}

/// Where the plan goes.
#[derive(Debug)]
pub struct Outputs {
    /// The whole plan, for every change of what it was made from.
    pub planned: watch::Sender<Option<Arc<Planned>>>,
    /// This node's part on layer 2.
    pub l2: watch::Sender<Arc<Desired>>,
    /// Who would inherit the addresses of whom.
    pub heirs: watch::Sender<Arc<Heirs>>,
    /// What BGP peers are told, from when this instance speaks for a member on: a session that came up before would make the router forget
    /// the routes that it kept, and one beside that of an instance before would be refused.
    pub peers: watch::Sender<Option<Arc<Peers>>>,
}

/// What is kept from one time to the next.
#[derive(Default)]
struct Known {
    planner: Planner,
    inheritance: Inheritance,
    /// What the heirs were computed from last: a suspicion changes neither, and must not wait for them.
    recorded: Option<(Arc<Config>, Arc<Snapshot>)>,
}

/// Plans anew whenever an input changes, until `shutdown`; after that the last plan stays published, so that nothing is withdrawn
/// before the others have taken over.
///
/// While configuration or snapshot were never seen, nothing is published: an agent that cannot reach the API server at start says
/// nothing rather than something wrong.
///
/// # Errors
/// Only if an input ends, which none does.
pub async fn run(me: NodeName, mut inputs: Inputs, outputs: Outputs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut known = Known::default();
    loop {
        let begun = tokio::time::Instant::now();
        publish(&me, &mut inputs, &outputs, &mut known);
        // A burst of changes costs at most a twentieth of one core, however large the cluster; a single change does not wait, nor does
        // the loss of a member.
        let rest = begun.elapsed().saturating_mul(19).min(Duration::from_secs(1));
        let mut living = inputs.living.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            changed = living.changed() => changed?,
            changed = async {
                tokio::time::sleep(rest).await;
                changed(&mut inputs).await
            } => changed?,
        }
    }
}

async fn changed(inputs: &mut Inputs) -> Result<(), watch::error::RecvError> {
    tokio::select! {
        changed = inputs.config.changed() => changed,
        changed = inputs.snapshot.changed() => changed,
        changed = inputs.living.changed() => changed,
        changed = inputs.links.changed() => changed,
        changed = inputs.superseded.changed() => changed,
        changed = inputs.speaks.changed() => changed,
    }
}

fn publish(me: &NodeName, inputs: &mut Inputs, outputs: &Outputs, known: &mut Known) {
    let config = inputs.config.borrow_and_update().clone();
    let snapshot = inputs.snapshot.borrow_and_update().clone();
    let living = inputs.living.borrow_and_update().clone();
    let links = inputs.links.borrow_and_update().clone();
    let (Some(config), Some(snapshot)) = (config, snapshot) else { return };
    let plan = known.planner.plan(&config, &snapshot, &living);
    let desired = if *inputs.superseded.borrow_and_update() {
        Desired::default()
    } else {
        l2_desired(&config, &snapshot, &living, &plan, &links, me)
    };
    outputs.l2.send_if_modified(|known| replace(known, Arc::new(desired)));
    if *inputs.speaks.borrow_and_update() && living.members.contains_key(me) || outputs.peers.borrow().is_some() {
        let peers = bgp_desired(&config, &snapshot, &living, me);
        outputs.peers.send_if_modified(|known| replace(known, Some(Arc::new(peers))));
    }
    outputs.planned.send_replace(Some(Arc::new(Planned { config: config.clone(), snapshot: snapshot.clone(), living, plan })));
    let same = |(before, seen): &(Arc<Config>, Arc<Snapshot>)| Arc::ptr_eq(before, &config) && Arc::ptr_eq(seen, &snapshot);
    if !known.recorded.as_ref().is_some_and(same) {
        let heirs = known.inheritance.heirs(&config, &snapshot);
        outputs.heirs.send_if_modified(|known| replace(known, Arc::new(heirs)));
        known.recorded = Some((config, snapshot));
    }
}
