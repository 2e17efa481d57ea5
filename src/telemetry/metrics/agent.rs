//! The agent itself: its configuration, its way to the API server, whether it leads.

use std::fmt;

use super::Figures;
use super::rows::Rows;

impl Figures {
    pub(super) fn agent(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        rows.bool("metallb_k8s_client_config_loaded_bool", "1 if a valid configuration was read at least once", self.config_loaded)?;
        rows.bool("metallb_k8s_client_config_stale_bool", "1 if the newest configuration is not valid", self.config_stale)?;
        rows.counter("metallb_k8s_client_updates", "Objects that the API server told of", self.updates as f64)?;
        rows.counter("metallb_k8s_client_update_errors", "Watches of the API server that failed", self.update_errors as f64)?;
        rows.gauge("lanlord_config_problems", "Problems of the newest configuration", self.config_problems as f64)?;
        rows.gauge(
            "lanlord_config_unmatched",
            "Advertisements that match no node or interface, and pools that nobody can announce",
            self.config_unmatched as f64,
        )?;
        rows.bool("lanlord_leader", "1 if this instance is the leader", self.leader)?;
        rows.gauge("lanlord_members", "Living members", self.members as f64)?;
        rows.gauge("lanlord_services_assigned", "Services with an address", self.services_assigned as f64)?;
        rows.gauge("lanlord_services_pending", "Services of ours that wait for an address", self.services_pending as f64)?;
        let rivals = self.rivals.iter().map(|name| ([("name", name.clone())], 1.0));
        rows.gauges("lanlord_other_load_balancer", "1 for another load balancer at work on the same Services (leader only)", rivals)?;
        rows.counter(
            "lanlord_status_repairs",
            "Times a Service status that something else had changed was written back",
            self.repairs as f64,
        )?;
        rows.bool("lanlord_dataplane_unhealthy", "1 while kube-proxy of this node fails its health check", self.dataplane_unhealthy)?;
        rows.bool("lanlord_api_reachable", "1 if the API server answers", self.api_reachable)?;
        rows.bool("lanlord_detached", "1 while the API server gives no answer and this agent works with what it knows", self.detached)?;
        let writes = self
            .api_writes
            .iter()
            .map(|((verb, resource, outcome), count)| ([("verb", *verb), ("resource", *resource), ("outcome", *outcome)], *count as f64));
        rows.counters("lanlord_api_writes", "Writes to the API server, by what became of them", writes)?;
        rows.counter("lanlord_events_dropped", "Kubernetes Events that were not written", self.events_dropped as f64)?;
        rows.gauges("lanlord_build_info", "1, with the version of this agent", [([("version", env!("CARGO_PKG_VERSION"))], 1.0)])
    }
}
