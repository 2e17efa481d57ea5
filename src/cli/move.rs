//! `lanlord move`: records another owner for the addresses of a Service, as the leader would, and waits until they are there.
//!
//! The Leases are the whole interface: what is written here by compare-and-swap is what every agent acts on. So it works with an
//! administrator's kubeconfig from anywhere, and in a pod with the agent's account.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::time::Instant;

use super::answer::{PROBLEMS, UNASKED, wait_for};
use super::eyes::Eyes;
use super::host::Place;
use super::named::Named;
use crate::api::WriteError;
use crate::config::Config;
use crate::config::origin::Origins;
use crate::facts::{Claim, Living, Moved, NodeName, Placement, Service, ServiceKey, Snapshot, annotation};
use crate::membership::living::{Senses, living};
use crate::plan::obstacle::obstacle;
use crate::plan::{Departure, GroupPlan, plan};

/// Move the addresses of a Service to another node, together with what shares them
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The new node announces first, so no packet is lost; TCP connections that are open end, for their state is on the old
node. The addresses stay there until something speaks against that node.

The Kubernetes API is found in the usual order: the file KUBECONFIG names or ~/.kube/config, else the service account of the pod.

Exit codes: 0 it is there (also if it was before), 1 it cannot be there, and why, 2 wrong arguments or no way to the API,
3 it is recorded, but was not announced from there in time.

Examples:
  lanlord move nginx pi2
  lanlord move jellyfin pi3 -n media
  kubectl exec -n lanlord ds/lanlord -- lanlord move media/jellyfin pi3"
)]
pub struct Move {
    #[command(flatten)]
    service: Named,

    /// The node it shall be announced by
    node: String,

    #[command(flatten)]
    place: Place,

    /// Seconds to wait until it is announced from there
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    timeout: u64,
}

/// It is recorded and not announced.
const UNSEEN: u8 = 3;
/// How often a write that came too late is tried again: the leader, or another person, was faster.
const ATTEMPTS: usize = 5;

impl Move {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        let (code, text) = match wait_for(self.relocate()) {
            Ok(Outcome::There(text)) => (0, text),
            Ok(Outcome::Refused(text)) => (PROBLEMS, text),
            Ok(Outcome::Unseen(text)) => (UNSEEN, text),
            Err(error) => (UNASKED, format!("{error:#}")),
        };
        // Without a reader the exit code is all there is to say.
        drop(if code == 0 { writeln!(io::stdout(), "{text}") } else { writeln!(io::stderr(), "lanlord: {text}") });
        ExitCode::from(code)
    }

    async fn relocate(&self) -> anyhow::Result<Outcome> {
        let begun = Instant::now();
        let service = self.service.key()?;
        let eyes = Eyes::open(&self.place.lease_namespace).await?;
        let result = self.relocate_with(&eyes, &service, begun).await;
        eyes.close();
        result
    }

    async fn relocate_with(&self, eyes: &Eyes, service: &ServiceKey, begun: Instant) -> anyhow::Result<Outcome> {
        let config = eyes.config(&Origins::try_from(self.place.config.clone())?).await?;
        let node = NodeName::new(&self.node);
        let mut from = None;
        for _ in 0..ATTEMPTS {
            let snapshot = eyes.snapshot().await?;
            let living = living(&snapshot, &Senses::default());
            match record(&config, &snapshot, &living, service, &node) {
                Err(why) => return Ok(Outcome::Refused(why)),
                Ok(claims) if claims.is_empty() => return self.wait(eyes, service, begun, from).await,
                Ok(claims) => {
                    from = from.or_else(|| claims.iter().find_map(|claim| claim.moved.as_ref()).map(|moved| moved.from.clone()));
                    self.write(eyes, service, &claims).await?;
                }
            }
        }
        anyhow::bail!("the Leases of {service} change all the time; try again")
    }

    /// Writes all, and waits until they are seen: also what somebody else wrote.
    async fn write(&self, eyes: &Eyes, service: &ServiceKey, claims: &[Claim]) -> anyhow::Result<()> {
        for claim in claims {
            match eyes.api.write_claim(claim).await {
                Ok(_) => say(&format!("{} of {service}: {} recorded as owner", claim.address, self.node)),
                Err(WriteError::Conflict) => {}
                Err(error) => return Err(error).context(format!("the Lease of {} could not be written", claim.address)),
            }
        }
        let changed = |snapshot: &Snapshot| {
            claims.iter().all(|claim| {
                let seen = snapshot.claims.get(&claim.address);
                seen.is_none_or(|seen| seen.resource_version != claim.resource_version)
            })
        };
        eyes.until(Instant::now() + Duration::from_secs(5), changed).await?;
        Ok(())
    }

    async fn wait(&self, eyes: &Eyes, service: &ServiceKey, begun: Instant, from: Option<NodeName>) -> anyhow::Result<Outcome> {
        let node = &self.node;
        let announced = |snapshot: &Snapshot| {
            snapshot.services.get(service).and_then(|service| announcer(service)).is_some_and(|by| by.as_str() == node)
        };
        if announced(&*eyes.snapshot().await?) && from.is_none() {
            return Ok(Outcome::There(format!("{service} is announced by {node} already; nothing to do")));
        }
        let deadline = begun + Duration::from_secs(self.timeout);
        if !eyes.until(deadline, announced).await? {
            let text = format!(
                "{node} is recorded as the owner of {service}, but that is not announced yet; look at kubectl describe service and kubectl get lease leader -n {}",
                self.place.lease_namespace
            );
            return Ok(Outcome::Unseen(text));
        }
        let from = from.map(|from| format!(" (before: {from})")).unwrap_or_default();
        Ok(Outcome::There(format!("{service} is announced by {node}{from}, after {:.1} s", begun.elapsed().as_secs_f64())))
    }
}

/// What came of it, in a sentence.
enum Outcome {
    There(String),
    Refused(String),
    Unseen(String),
}

/// Progress, for people; not part of the answer.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// The claims to write so that `node` is recorded as the owner; none if it is already.
///
/// # Errors
/// Why it cannot be there, and what to do.
pub fn record(config: &Config, snapshot: &Snapshot, living: &Living, service: &ServiceKey, node: &NodeName) -> Result<Vec<Claim>, String> {
    let plan = plan(config, snapshot, living);
    let Some(plan) = plan.group_of(service) else { return Err(no_group(snapshot, service)) };
    if let Some(why) = obstacle(config, snapshot, living, plan, node) {
        return Err(format!("{service} cannot be on {node}: {why}"));
    }
    let generation = living.members.get(node).map_or(0, |member| member.generation);
    Ok(claims(plan, &Placement { node: node.clone(), generation }))
}

fn no_group(snapshot: &Snapshot, service: &ServiceKey) -> String {
    if snapshot.services.contains_key(service) {
        return format!("{service} has no address yet; look at kubectl describe service -n {} {}", service.namespace, service.name);
    }
    not_found(snapshot, service)
}

/// There is no such Service; perhaps another one of the same name was meant.
pub(super) fn not_found(snapshot: &Snapshot, service: &ServiceKey) -> String {
    let elsewhere: Vec<String> = snapshot.services.keys().filter(|key| key.name == service.name).map(ToString::to_string).collect();
    let meant = if elsewhere.is_empty() { String::new() } else { format!("; did you mean {}?", elsewhere.join(" or ")) };
    format!("there is no Service {service} of type LoadBalancer{meant}")
}

fn claims(plan: &GroupPlan, to: &Placement) -> Vec<Claim> {
    let elsewhere = plan.group.claims.values().filter(|claim| claim.placement.as_ref() != Some(to));
    elsewhere
        .map(|claim| {
            let before = claim.placement.as_ref().filter(|before| before.node != to.node);
            let moved = before.map(|before| Moved { from: before.node.clone(), why: Departure::Asked.to_string() });
            Claim { placement: Some(to.clone()), moved: moved.or_else(|| claim.moved.clone()), ..Claim::clone(claim) }
        })
        .collect()
}

/// The node that the leader says announces it.
pub(super) fn announcer(service: &Service) -> Option<NodeName> {
    service.annotations.get(annotation::ANNOUNCED)?.split_once(" by ")?.1.split(' ').next().map(NodeName::new)
}
