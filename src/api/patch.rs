//! The one write to a Service: status, condition and annotations in one request to its status subresource.
//!
//! A strategic merge patch, so that foreign conditions stay (their list is merged by `type`); with uid and resourceVersion, so that
//! a patch made for a Service as it was does nothing to a Service as it has become (409), or to another of its name (409 or 422).

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service as ServiceObject;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::convert::{self, CONDITION};
use super::managed::MANAGER;
use super::{Api, REQUEST_TIMEOUT, WriteError, bounded};
use crate::facts::{AnnouncedCondition, Holder, Service};

/// What to write; `None` leaves as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceStatus {
    /// `status.loadBalancer.ingress`, whole: each with `ipMode: VIP`, `ports` unset.
    pub ingress: Option<Vec<IpAddr>>,
    /// Annotations to set or (with `None`) remove.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Our condition.
    pub condition: AnnouncedCondition,
}

fn body(service: &Service, status: &ServiceStatus) -> serde_json::Value {
    let condition = &status.condition;
    let mut patch = json!({
        "metadata": {"uid": service.uid.to_string(), "resourceVersion": service.resource_version, "annotations": status.annotations},
        "status": {"conditions": [{
            "type": CONDITION,
            "status": if condition.announced { "True" } else { "False" },
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": condition.since,
        }]},
    });
    if let Some(ingress) = &status.ingress {
        let entries: Vec<_> = ingress.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
        patch["status"]["loadBalancer"] = json!({"ingress": entries});
    }
    patch
}

impl Api {
    /// Writes `status` to the Service as it was seen. Returns it as it is now; `None` if it stopped being of `type: LoadBalancer`.
    ///
    /// # Errors
    /// `Conflict` or `NotFound`: the Service changed or went; look again.
    pub async fn patch_service_status(&self, service: &Service, status: &ServiceStatus) -> Result<Option<Service>, WriteError> {
        let services = kube::Api::<ServiceObject>::namespaced(self.client(), &service.key.namespace);
        let patch = Patch::Strategic(body(service, status));
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let written = self.write("patch", "services/status", services.patch_status(&service.key.name, &params, &patch)).await?;
        Ok(convert::service(written))
    }

    /// Asks the API server itself, not a watch, whether a Service is no longer there, or no longer of `type: LoadBalancer`.
    ///
    /// # Errors
    /// The API server did not answer.
    pub async fn is_gone(&self, holder: &Holder) -> Result<bool, WriteError> {
        let services = kube::Api::<ServiceObject>::namespaced(self.client(), &holder.service.namespace);
        let known = bounded(REQUEST_TIMEOUT, services.get_opt(&holder.service.name)).await?;
        Ok(known.and_then(convert::service).is_none_or(|service| service.uid != holder.uid))
    }
}
