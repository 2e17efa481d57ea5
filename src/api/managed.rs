//! Who wrote what of a Service, by `metadata.managedFields`: traces of other load balancers. `kubectl get` leaves them out unless
//! told `--show-managed-fields`, so on paper there are none.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use crate::facts::Traces;

/// Our own name among the managers.
pub(super) const MANAGER: &str = "lanlord";

/// Annotations that another load balancer puts on a Service it has served.
const MARKS: [&str; 3] = ["metallb.io/ip-allocated-from-pool", "metallb.universe.tf/ip-allocated-from-pool", "kube-vip.io/vipHost"];
/// Conditions, likewise.
const CONDITIONS: [&str; 2] = ["cilium.io/IPAMRequestSatisfied", "io.cilium/lb-ipam-request-satisfied"];

/// Reads the entries of one Service.
pub(super) fn traces(entries: &[ManagedFieldsEntry]) -> Traces {
    let is_ours = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(MANAGER);
    let foreign = || entries.iter().filter(|entry| !is_ours(entry)).filter_map(|entry| Some((entry, &entry.fields_v1.as_ref()?.0)));
    let of_ingress = |fields: &Value| at(fields, &["f:status", "f:loadBalancer", "f:ingress"]).is_some();
    let ingress_by = foreign().find(|(_, fields)| of_ingress(fields)).and_then(|(entry, _)| entry.manager.clone());
    let written = entries.iter().filter(is_ours).filter_map(|entry| entry.time.as_ref()).max();
    let later = foreign().filter(|(entry, _)| written.is_some() && entry.time.as_ref() > written);
    let later_mark = later.into_iter().find_map(|(_, fields)| mark(fields)).map(str::to_owned);
    Traces { ingress_by, later_mark }
}

fn mark(fields: &Value) -> Option<&'static str> {
    let annotated = |mark: &&&str| at(fields, &["f:metadata", "f:annotations", &format!("f:{mark}")]).is_some();
    let stated = |mark: &&&str| at(fields, &["f:status", "f:conditions", &format!("k:{{\"type\":\"{mark}\"}}")]).is_some();
    MARKS.iter().find(annotated).or_else(|| CONDITIONS.iter().find(stated)).copied()
}

fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(entries: Value) -> Traces {
        traces(&serde_json::from_value::<Vec<ManagedFieldsEntry>>(entries).unwrap())
    }

    fn entry(manager: &str, second: u8, fields: &Value) -> Value {
        json!({"manager": manager, "operation": "Update", "time": format!("2026-01-01T00:00:{second:02}Z"), "fieldsV1": fields})
    }

    #[test]
    fn who_wrote_the_ingress_is_known_and_we_ourselves_are_nobody_else() {
        let ingress = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
        assert_eq!(read(json!([entry("k3s", 1, &ingress)])).ingress_by.as_deref(), Some("k3s"));
        assert_eq!(read(json!([entry(MANAGER, 1, &ingress)])), Traces::default());
        assert_eq!(read(json!([entry("kubectl-patch", 1, &json!({"f:status": {"f:loadBalancer": {}}}))])), Traces::default());
    }

    #[test]
    fn a_mark_counts_only_if_it_was_written_after_we_wrote() {
        let ours = entry(MANAGER, 30, &json!({"f:status": {}}));
        let metallb =
            |second| entry("controller", second, &json!({"f:metadata": {"f:annotations": {".": {}, format!("f:{}", MARKS[0]): {}}}}));
        let later = |entries| read(entries).later_mark;
        assert_eq!(later(json!([metallb(10), ours])), None, "it was migrated from MetalLB");
        assert_eq!(later(json!([metallb(31), ours])).as_deref(), Some(MARKS[0]));
        assert_eq!(later(json!([metallb(31)])), None, "we have not written yet");
        let cilium = json!({"f:status": {"f:conditions": {format!("k:{{\"type\":\"{}\"}}", CONDITIONS[0]): {"f:status": {}}}}});
        assert_eq!(later(json!([ours, entry("cilium-operator-generic", 40, &cilium)])).as_deref(), Some(CONDITIONS[0]));
    }
}
