//! One piece of the leader's work: the writes for a Service or for an address, in an order that is safe to be cut off anywhere.

use std::net::IpAddr;

use tokio::sync::mpsc;

use crate::api::events::Recorder;
use crate::api::patch::ServiceStatus;
use crate::api::watch::Feedback;
use crate::api::{Api, WriteError};
use crate::facts::{Claim, Holder, Moved, Placement, ServiceKey, Snapshot, is_at_least};
use crate::leader::decide::{Tend, Work};

/// The versions a Snapshot must have reached before the same thing is looked at again.
#[derive(Clone, Default, Debug)]
pub(super) struct Written {
    service: Option<(ServiceKey, String)>,
    claims: Vec<(IpAddr, String)>,
}

impl Written {
    /// Whether it is in `snapshot`, or something newer.
    pub(super) fn is_in(&self, snapshot: &Snapshot) -> bool {
        let service = self
            .service
            .as_ref()
            .is_none_or(|(key, version)| snapshot.services.get(key).is_none_or(|known| is_at_least(&known.resource_version, version)));
        service
            && self
                .claims
                .iter()
                .all(|(address, version)| snapshot.claims.get(address).is_some_and(|known| is_at_least(&known.resource_version, version)))
    }
}

/// A closed queue means that the agent is shutting down.
async fn feed(feedback: &mpsc::Sender<Feedback>, answer: Feedback) {
    drop(feedback.send(answer).await);
}

/// One Service's work, in the order that makes a late patch of a former leader fail.
pub(super) async fn carry_out(
    api: &Api,
    recorder: &Recorder,
    feedback: &mpsc::Sender<Feedback>,
    work: Work,
    written: &mut Written,
) -> Result<(), WriteError> {
    let key = &work.service.key;
    check_gone(api, &work.gone).await?;
    for claim in &work.take {
        write_claim(api, feedback, claim, written).await?;
    }
    if let Some(publish) = work.publish {
        let status = ServiceStatus { ingress: publish.ingress, annotations: publish.annotations, condition: publish.condition };
        if let Some(service) = api.patch_service_status(&work.service, &status).await? {
            written.service = Some((key.clone(), service.resource_version.clone()));
            feed(feedback, Feedback::Service(Box::new(service))).await;
        }
    }
    for claim in &work.release {
        write_claim(api, feedback, claim, written).await?;
        tracing::info!(address = %claim.address, service = %key, "released");
    }
    for claim in &work.take {
        let node = claim.placement.as_ref().map(|placement| placement.node.to_string()).unwrap_or_default();
        tracing::info!(address = %claim.address, service = %key, pool = claim.pool, owner = node, "assigned");
    }
    for event in &work.events {
        recorder.publish(event).await;
    }
    Ok(())
}

/// What is to be done for one address alone.
pub(super) async fn care(api: &Api, feedback: &mpsc::Sender<Feedback>, tend: Tend, written: &mut Written) -> Result<(), WriteError> {
    check_gone(api, tend.gone()).await?;
    match tend {
        Tend::Replace(claim) | Tend::Release(claim, _) => {
            write_claim(api, feedback, &claim, written).await?;
            match (&claim.placement, &claim.last_holder) {
                (Some(placement), _) => tell_owner(&claim, placement),
                (None, Some(last)) => tracing::info!(address = %claim.address, service = %last, "released"),
                (None, None) => {}
            }
        }
        Tend::Delete(claim) => {
            api.delete_claim(&claim).await?;
            feed(feedback, Feedback::ClaimDeleted(claim)).await;
        }
    }
    Ok(())
}

/// A Service that is there after all was only not seen yet: as with any lost race, the watch has to catch up.
async fn check_gone(api: &Api, holders: &[Holder]) -> Result<(), WriteError> {
    for holder in holders {
        if !api.is_gone(holder).await? {
            return Err(WriteError::Conflict);
        }
    }
    Ok(())
}

fn tell_owner(claim: &Claim, placement: &Placement) {
    let (address, service, owner) = (claim.address, services(claim), &placement.node);
    match &claim.moved {
        Some(Moved { from, why }) => tracing::info!(%address, service, %owner, %from, reason = why, "owner recorded"),
        None => tracing::info!(%address, service, %owner, "owner recorded"),
    }
}

fn services(claim: &Claim) -> String {
    claim.holders.iter().map(|holder| holder.service.to_string()).collect::<Vec<_>>().join(",")
}

async fn write_claim(api: &Api, feedback: &mpsc::Sender<Feedback>, claim: &Claim, written: &mut Written) -> Result<(), WriteError> {
    let claim = api.write_claim(claim).await?;
    written.claims.push((claim.address, claim.resource_version.clone()));
    feed(feedback, Feedback::Claim(claim)).await;
    Ok(())
}
