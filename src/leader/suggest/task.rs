//! Has the LAN asked for free addresses while this agent leads, Services wait and none are configured; then, and rarely again.
//!
//! ```text
//!  config, Snapshot, links ─► Inquiry ─► watch<Questions> ─► l2 ─► watch<Answers> ─► watch<Prospect> ─► leader
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Advice, Inquiry, Prospect};
use crate::config::Config;
use crate::config::origin::Origins;
use crate::facts::{Answers, Links, Questions, Snapshot, replace};
use crate::leader::edits::Edits;
use crate::machine::Instant;
use crate::net::clock;

/// The LAN is asked again after so long, if still nothing is configured.
const AGAIN: Duration = Duration::from_secs(600);
/// The least time between two inquiries, whatever changes.
const SPACING: Duration = Duration::from_secs(10);
/// The questions take a little over a second; where they cannot be asked, nothing is known after this.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the task reads.
#[derive(Debug)]
pub struct Inputs {
    /// Where the configuration comes from.
    pub origins: Origins,
    /// Whether this agent leads.
    pub leading: watch::Receiver<bool>,
    /// The configuration in force.
    pub config: watch::Receiver<Option<Arc<Config>>>,
    /// What the API server says.
    pub snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// The links of this host.
    pub links: watch::Receiver<Arc<Links>>,
    /// Edits of the configuration: whether there is a ConfigMap is known by them.
    pub edits: watch::Receiver<Edits>,
    /// What the LAN answered.
    pub answers: watch::Receiver<Arc<Answers>>,
}

/// What the task tells.
#[derive(Debug)]
pub struct Outputs {
    /// What is to be asked on the LAN.
    pub questions: watch::Sender<Arc<Questions>>,
    /// What came of it.
    pub prospect: watch::Sender<Prospect>,
}

/// What is known, and since when.
struct Known {
    inquiry: Inquiry,
    advice: Advice,
    at: Instant,
}

/// Runs until `shutdown`.
///
/// # Errors
/// When an input ends, which none does.
pub async fn run(mut inputs: Inputs, outputs: Outputs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut known: Option<Known> = None;
    loop {
        let wanted = inquiry(&mut inputs);
        let exists = inputs.edits.borrow_and_update().text().is_some();
        let now = clock::now();
        known = known.filter(|known| now.since(known.at) < AGAIN);
        let spaced = |known: &Known| now.since(known.at) < SPACING;
        let is_answered =
            |inquiry: &Inquiry| known.as_ref().is_some_and(|known| known.inquiry.questions == inquiry.questions || spaced(known));
        if let Some(inquiry) = wanted.filter(|inquiry| !is_answered(inquiry)) {
            let Some(advice) = shutdown.run_until_cancelled(ask(&inquiry, &mut inputs, &outputs)).await else { return Ok(()) };
            known = Some(Known { inquiry, advice, at: clock::now() });
            continue;
        }
        let prospect = known.as_ref().map_or(Prospect::NotYet, |known| Prospect::Known(Advice { exists, ..known.advice.clone() }));
        outputs.prospect.send_if_modified(|known| replace(known, prospect));
        let wake = known.as_ref().map(|known| known.at + if spaced(known) { SPACING } else { AGAIN });
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = clock::sleep_until(wake) => {}
            changed = inputs.leading.changed() => changed?,
            changed = inputs.config.changed() => changed?,
            changed = inputs.snapshot.changed() => changed?,
            changed = inputs.links.changed() => changed?,
            changed = inputs.edits.changed() => changed?,
        }
    }
}

/// What is to be asked at this moment.
fn inquiry(inputs: &mut Inputs) -> Option<Inquiry> {
    let leading = *inputs.leading.borrow_and_update();
    let (config, snapshot) = (inputs.config.borrow_and_update().clone(), inputs.snapshot.borrow_and_update().clone());
    let links = inputs.links.borrow_and_update().clone();
    // Every host has a loopback link: without one nothing is known of them yet.
    let known = leading && !links.links.is_empty();
    Inquiry::of(&*config?, &*snapshot?, &links).filter(|_| known)
}

/// Asks, and waits for what comes of it.
async fn ask(inquiry: &Inquiry, inputs: &mut Inputs, outputs: &Outputs) -> Advice {
    outputs.questions.send_replace(Arc::new(inquiry.questions.clone()));
    let settled = inputs.answers.wait_for(|answers| inquiry.is_settled(answers));
    // What was not answered in time is not offered.
    drop(tokio::time::timeout(PATIENCE, settled).await);
    let free = inquiry.offers(&inputs.answers.borrow_and_update());
    outputs.questions.send_replace(Arc::default());
    tracing::info!(free = ?free.iter().map(ToString::to_string).collect::<Vec<_>>(), "no addresses are configured: the LAN was asked");
    Advice { free, origins: inputs.origins.clone(), exists: false }
}
