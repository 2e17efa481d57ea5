//! The two writes that evict a member: it is suspected, and if it does not object, its Lease is cleared.
//!
//! They are made when the API server may have died together with the member. Each has little time, a connection of its own and no
//! second try: no answer is an answer, too, and the caller then acts on what it senses. A merge patch, because the Lease of another
//! member is its own: what we do not name (its owner, links, generation) stays as it is.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::lease::{Record, SUSPECT, member_name, read};
use super::{Api, WriteError, bounded};
use crate::facts::Member;

/// How long a write of an eviction may take.
const EVICTION_TIMEOUT: Duration = Duration::from_millis(500);

impl Api {
    /// Notes on the Lease of `member`, if it is still as it was seen, that `by` (`<node>/<instance>`) takes it for dead.
    ///
    /// # Errors
    /// `Conflict` or `NotFound`: the member moved, or went. `Timeout`: it may have been written or not.
    pub async fn suspect(&self, member: &Member, by: &str) -> Result<Member, WriteError> {
        self.patch_member(member, json!({"metadata": {"annotations": {SUSPECT: by}}})).await
    }

    /// Takes the Lease from `member`, if it is still as it was seen. Its generation stays: the next holder begins another.
    ///
    /// # Errors
    /// As [`Api::suspect`].
    pub async fn clear(&self, member: &Member) -> Result<Member, WriteError> {
        let spec = json!({"holderIdentity": null, "acquireTime": null});
        self.patch_member(member, json!({"metadata": {"annotations": {SUSPECT: null}}, "spec": spec})).await
    }

    async fn patch_member(&self, member: &Member, mut body: Value) -> Result<Member, WriteError> {
        body["metadata"]["resourceVersion"] = json!(member.resource_version);
        let leases = kube::Api::<Lease>::namespaced(self.ways.own()?, &self.namespace);
        let (name, params, patch) = (member_name(&member.node), PatchParams::default(), Patch::Merge(body));
        let answer = bounded(EVICTION_TIMEOUT, leases.patch(&name, &params, &patch)).await;
        match read(self.counted("patch", "leases", answer)?).map_err(WriteError::Invalid)? {
            Some(Record::Member(member)) => Ok(member),
            Some(Record::Leader(_) | Record::Claim(_)) | None => Err(WriteError::Invalid("another Lease came back".to_owned())),
        }
    }
}
